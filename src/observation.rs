//! What one look at a store tells: plain data without behaviour, the same for
//! `status` and for the dashboard.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumIter, IntoStaticStr};

use crate::stats::history::History;
use crate::stats::interval::{self, Interval};
use crate::stats::levels::Levels;
use crate::stats::{Cells, ErrorCategory, Tally};

pub mod alert;
pub mod detail;

pub use alert::{Alert, Remedy, Severity};
pub use detail::{Detail, Failure};

/// What is at the store's path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoreState {
    /// A store (it may be empty).
    #[default]
    Ready,
    /// Nothing, or a folder that is no store: the dashboard waits for one.
    Missing,
    /// Something that can't be read; the sentence says why and what to do.
    Unreadable(String),
}

/// How changes are noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WatchMode {
    /// Not watching: a single look.
    #[default]
    Off,
    /// Native events, by their name: "inotify", "fsevent", …
    Native(&'static str),
    /// Polling, with the reason.
    Polling(String),
}

/// What main holds.
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
    /// Both in one file (legacy code wrote into a main of records).
    Mixed,
}

/// Main and its last commit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MainView {
    /// Number of the last commit; 0 before the first.
    pub generation: u64,
    /// When it was made.
    pub committed: Option<Timestamp>,
    /// Rows.
    pub rows: u64,
    /// Size.
    pub bytes: u64,
    /// What the rows are.
    pub kind: MainKind,
    /// Modification time of the file.
    pub modified: Option<Timestamp>,
    /// How many rows the last commit left in it, where it has fewer by now or is missing.
    pub expected_rows: Option<u64>,
}

/// State of one increment or journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// Readable and counted.
    Ready,
    /// Fresh and without a footer yet: a legacy writer is at it.
    InProgress,
    /// Can't be read; the reason.
    Unreadable(String),
    /// Can't be united with the other files; the reason.
    Conflict(String),
}

/// One file that waits to be consolidated.
#[derive(Debug, Clone, PartialEq)]
pub struct FileView {
    /// File name.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// Rows that are not yet in main.
    pub rows: u64,
    /// Modification time.
    pub modified: Timestamp,
    /// Whether it could be read.
    pub state: FileState,
    /// Whether it is a journal rather than an increment.
    pub journal: bool,
    /// A journal whose writer is dead.
    pub dead: bool,
}

/// Everything that waits to be consolidated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WaitingView {
    /// Increment files that hold rows not in main.
    pub increments: u64,
    /// Their size.
    pub increment_bytes: u64,
    /// Their rows.
    pub increment_rows: u64,
    /// Increments that are being written by legacy code at this moment.
    pub in_progress: u64,
    /// Files that can't be read.
    pub unreadable: u64,
    /// Journals whose stem has no increment yet.
    pub journals: u64,
    /// Their acknowledged rows.
    pub journal_rows: u64,
    /// Journals whose writer is dead and that no commit has consumed.
    pub dead_journals: u64,
    /// When the oldest waiting row began to wait.
    pub oldest: Option<Timestamp>,
    /// The same, of increments alone.
    pub oldest_increment: Option<Timestamp>,
    /// Every waiting file, newest first.
    pub files: Arc<Vec<FileView>>,
}

/// One model's figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelView {
    /// Name as the data has it; sanitise before drawing.
    pub model: String,
    /// Its counts and sums.
    pub tally: Tally,
    /// Rows a minute over the throughput window.
    pub per_minute: f64,
    /// Its newest row.
    pub last_row: Option<Timestamp>,
    /// Set while the CUSUM of its failures is over the alarm level.
    pub burst: Option<Burst>,
    /// Success over its last tests, twenty to a point, oldest first; 0 to 1.
    pub trend: Vec<f64>,
    /// How many independent tests its own stand for, where a task was tried more than
    /// once.
    pub effective: Option<f64>,
    /// What its drill-down shows beyond its tally.
    pub detail: Arc<Detail>,
}

impl ModelView {
    /// The 95 % interval of its success rate, clustered by task where tasks repeat.
    pub fn interval(&self) -> Option<Interval> {
        match (self.effective, self.tally.success_rate()) {
            (Some(effective), Some(rate)) => Some(interval::wilson_of(rate, effective)),
            _ => interval::wilson(self.tally.full, self.tally.tests),
        }
    }
}

/// A failure burst of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Burst {
    /// Failures since the burst began.
    pub failed: u64,
    /// Tests since the burst began.
    pub of: u64,
    /// The model's usual failure rate, 0 to 1.
    pub usual: f64,
    /// The most frequent category among them.
    pub category: Option<ErrorCategory>,
}

/// What is known of a writer.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WriterState {
    /// Its process lives and records.
    Live,
    /// Its process lives and has been silent for longer than is usual for it.
    Quiet,
    /// It closed its journal.
    Done,
    /// It died without closing its journal.
    Gone,
    /// Legacy files or another host: nothing can be told.
    Unknown,
}

/// One writer process.
#[derive(Debug, Clone, PartialEq)]
pub struct WriterView {
    /// `<pid>_<YYYYmmdd_HHMMSS>`.
    pub process_id: String,
    /// Alive or not.
    pub state: WriterState,
    /// Rows that it wrote and that still wait.
    pub rows: u64,
    /// Its newest row.
    pub last_row: Option<Timestamp>,
    /// The model that it last wrote for.
    pub model: Option<String>,
    /// Bytes of its journals, those included that wait for nothing but their removal.
    pub journal_bytes: u64,
    /// The silence after which it counts as quiet, in seconds.
    pub limit_seconds: f64,
}

/// Something that was done to the store, as its doer tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationView {
    /// When it ended.
    pub at: Timestamp,
    /// This process did it.
    pub own: bool,
    /// Which process did it.
    pub by: String,
    /// What it did, or why it failed; sanitise before drawing.
    pub summary: String,
    /// The commit that it made.
    pub generation: Option<u64>,
    /// It did not do what it should have.
    pub failed: bool,
}

/// How far a first look is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Waiting files that were read.
    pub read: u64,
    /// Waiting files to read.
    pub files: u64,
}

/// One look at a store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// When.
    pub at: Timestamp,
    /// The store's folder, as the user named it, made absolute.
    pub store: PathBuf,
    /// Whether there is one.
    pub state: StoreState,
    /// How changes are noticed.
    pub watch: WatchMode,
    /// Main.
    pub main: MainView,
    /// What waits.
    pub waiting: WaitingView,
    /// All tests: main, increments, journals, summary rows.
    pub totals: Tally,
    /// Attempts replaced by newer ones, over the store's life.
    pub superseded: u64,
    /// Of these, the ones of the last hour, as far as anybody looked.
    pub superseded_lately: u64,
    /// Canonically identical rows seen again, over the store's life.
    pub repeated: u64,
    /// Figures by model, sorted by name.
    pub models: Vec<ModelView>,
    /// The same tests by cell: what one model's figures are made of.
    pub cells: Arc<Cells>,
    /// Writers, sorted by state, then by id.
    pub writers: Vec<WriterView>,
    /// Rows over time, for the sparkline and the rates.
    pub history: History,
    /// Waiting files over time, as far as anybody looked.
    pub levels: Levels,
    /// Rows a minute now.
    pub per_minute: f64,
    /// Errors by category over all models.
    pub errors: BTreeMap<ErrorCategory, u64>,
    /// Free and total bytes of the store's file system.
    pub disk: Option<(u64, u64)>,
    /// What people should know about the data, a sentence each.
    pub notes: Vec<String>,
    /// The last things that were done to the store, oldest first.
    pub operations: Vec<OperationView>,
    /// What waits has not been read yet: the figures are those of main alone.
    pub reading: Option<Reading>,
    /// Why the figures are those of an earlier look, when they are.
    pub behind: Option<String>,
    /// What needs a person, worst first.
    pub alerts: Vec<Alert>,
}

impl Observation {
    /// The 95 % interval of the success rate over all tests: the only model's own, else the
    /// plain one. None where a model of several tried a task more than once.
    pub fn interval(&self) -> Option<Interval> {
        match self.models.as_slice() {
            [only] => only.interval(),
            models if models.iter().any(|model| model.effective.is_some()) => None,
            _ => interval::wilson(self.totals.full, self.totals.tests),
        }
    }

    /// Whether the figures are those of a look that worked, this one or an earlier
    /// one. Without, they are all zero and mean nothing: show none.
    pub fn has_figures(&self) -> bool {
        self.state == StoreState::Ready || self.behind.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tests_have_an_interval_unless_tasks_repeat_within_one_of_several_models() {
        let model = |effective| {
            let tally = Tally {
                tests: 100,
                full: 50,
                ..Tally::default()
            };
            ModelView {
                tally,
                effective,
                ..ModelView::default()
            }
        };
        let of = |models: Vec<ModelView>| {
            let mut seen = Observation {
                models,
                ..Observation::default()
            };
            for model in &seen.models {
                seen.totals.add(&model.tally);
            }
            seen.interval()
        };
        assert_eq!(of(vec![]), None);
        assert_eq!(
            of(vec![model(None), model(None)]),
            interval::wilson(100, 200)
        );
        assert_eq!(
            of(vec![model(Some(30.0))]),
            Some(interval::wilson_of(0.5, 30.0))
        );
        assert_eq!(of(vec![model(None), model(Some(30.0))]), None);
    }
}
