//! A consistent view of a store: main, the increments that it has not consumed,
//! and the journals, each record counted exactly once.
//!
//! Promises: reading takes no lock and writes nothing; files are listed in the
//! order in which data moves (journals, increments, main), so that a record that
//! moves meanwhile is neither missed nor counted twice; when anything vanished or
//! changed while it was read, the reading starts over, and after a few rounds it
//! is [`crate::store::Error::Unstable`] rather than a wrong number.

use std::collections::BTreeMap;
use std::sync::Arc;

pub use super::identity_facts::{IdentityFacts, Rewritten};
pub(crate) use super::listing::retrying;
pub use super::listing::{Files, Increment, JournalFile, Lister, files};
pub use super::main::Main;
pub use super::scanner::Scanner;
pub(crate) use super::scanner::{Depth, View};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::stats::Cells;
use crate::stats::clusters::Clusters;
use crate::stats::history::History;
pub use crate::store::aggregate::{Failure, ModelActivity, Naive, Recent};
use crate::store::format::heartbeat::Heartbeat;

/// What main's rows are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MainKind {
    /// No rows, or no main.
    #[default]
    Empty,
    /// One row a test.
    Records,
    /// One row for many tests (legacy).
    Summaries,
    /// Both in one file.
    Mixed,
}

/// Main at the time of the snapshot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MainState {
    /// Whether there is a file.
    pub exists: bool,
    /// Number of the last commit; 0 before the first.
    pub generation: u64,
    /// When it was made.
    pub committed: Option<Timestamp>,
    /// Rows in the file.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// What the rows are.
    pub kind: MainKind,
    /// Modification time of the file.
    pub modified: Option<Timestamp>,
    /// How many rows the last commit left in it, where it has fewer by now or is missing.
    pub expected_rows: Option<u64>,
    /// Tests that the last commit had, and that neither this main has, which it did not make, nor
    /// any file that counts.
    pub lacking_tests: u64,
    /// It was copied here from another store.
    pub of_other: bool,
}

/// State of a file in `incremental/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// Read and counted.
    Ready,
    /// Fresh and without a footer: somebody is writing it.
    InProgress,
    /// Can't be read; the reason.
    Unreadable(String),
    /// Its columns can't be united with the other files'; the reason.
    Conflict(String),
}

/// A file whose rows are not (all) in main.
#[derive(Debug, Clone, PartialEq)]
pub struct WaitingFile {
    /// File name inside `incremental/`.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// Rows that are not yet in main.
    pub rows: u64,
    /// Modification time.
    pub modified: Timestamp,
    /// Whether it counts.
    pub state: FileState,
    /// Whether it is a journal rather than an increment.
    pub journal: bool,
    /// A journal whose writer is dead.
    pub dead: bool,
    /// The smallest timestamp of its rows, microseconds since the epoch.
    pub oldest: Option<i64>,
    /// Its rows whose time names no zone.
    pub naive: Naive,
}

/// How times that name no zone were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ZoneFacts {
    /// In this zone.
    pub name: String,
    /// The first commit fixed it.
    pub fixed: bool,
    /// Pending rows, and rows of a main of other code, with such a time.
    pub naive: u64,
    /// What contradicts the zone, where something does.
    pub off: Option<OffFacts>,
}

/// A file whose newest row is whole quarters of an hour away from when the file was written: as
/// if its rows were of another zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffFacts {
    /// The file.
    pub file: String,
    /// So many seconds the file was written after the row, as the zone has that.
    pub seconds: i64,
    /// The offset from UTC, in seconds, that would fit.
    pub fits: i32,
}

/// What the store says of one writer.
// Facts that are independent of each other.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, PartialEq)]
pub struct WriterFacts {
    /// What all its names share: pid, start time, host, random; of legacy files the first two.
    pub writer: String,
    /// `<pid>_<YYYYmmdd_HHMMSS>`.
    pub process_id: String,
    /// Its host as its file names have it; `None` for legacy files.
    pub host: Option<String>,
    /// Whether that is this machine; `false` for legacy files, which don't say.
    pub on_this_host: bool,
    /// Whether it holds the lock of one of its journals: it lives.
    pub lock_held: bool,
    /// A journal of it is neither locked nor published nor closed: it died.
    pub unclosed: bool,
    /// The locks of its journals can't be seen from here: whether it lives is unknown.
    pub unseen: bool,
    /// Its rows that wait.
    pub rows: u64,
    /// Bytes of its journals, those included whose rows are elsewhere by now.
    pub journal_bytes: u64,
    /// Its newest row, microseconds since the epoch. Where the times of other code name no zone,
    /// this is when the file was last written: what follows from a guessed zone is no fact.
    pub last_row: Option<i64>,
    /// The model of that row.
    pub last_model: Option<Arc<str>>,
    /// 95th percentile of the gaps between its rows, in seconds.
    pub p95_gap: Option<f64>,
    /// How many gaps that is of.
    pub gaps: usize,
    /// What it says of itself.
    pub heartbeat: Option<Arc<Heartbeat>>,
    /// When it said so, by the time of the file system.
    pub beat_at: Option<Timestamp>,
    /// Whether its process lives; `None` where that can't be seen from here.
    pub alive: Option<bool>,
    /// The user that owns its files, where other code wrote them.
    pub owner: Option<u32>,
}

/// A consistent view of a store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Main.
    pub main: MainState,
    /// All tests after superseding, by cell.
    pub cells: Arc<Cells>,
    /// Attempts replaced by newer ones: those of earlier commits and those that wait.
    pub superseded: u64,
    /// Of those, the ones that wait.
    pub superseded_waiting: u64,
    /// When the waiting rows that replaced others were recorded, microseconds since
    /// the epoch.
    pub superseding: Vec<i64>,
    /// Canonically identical rows seen again: of earlier commits and those that wait.
    pub repeated: u64,
    /// Every file in `incremental/` with rows that are not in main, newest first.
    pub waiting: Vec<WaitingFile>,
    /// Writers with files or recent rows, by process id.
    pub writers: Vec<WriterFacts>,
    /// Times of the last rows of each process that wrote lately, microseconds since the epoch.
    pub times: Vec<Vec<i64>>,
    /// What happened, by model: tests over time, the last ones, the last failures.
    pub models: BTreeMap<Arc<str>, Arc<ModelActivity>>,
    /// The tests of all models over time.
    pub history: History,
    /// Trials by model and task, as far as tasks are named.
    pub clusters: Clusters,
    /// What rows without ids of their own give to say.
    pub identity: IdentityFacts,
    /// How times that name no zone were read.
    pub zone: ZoneFacts,
    /// Why the rows that were removed on purpose are not known, where they are not.
    pub removed_unread: Option<String>,
    /// What people should know about the data: sentences, stable from scan to scan.
    pub notes: Vec<String>,
}

#[cfg(test)]
pub(crate) mod tests;
