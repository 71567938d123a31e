//! Checks every file of a store, and mends what can be mended safely.
//!
//! Promises: checking changes nothing; mending never loses a row: it rebuilds
//! derived files, publishes the journals of dead writers, and moves what can't be
//! read into quarantine, each file with its reason beside it.

use super::{Control, Result, Store};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Worth knowing.
    Note,
    /// Something is wrong, and no result is in danger.
    Warning,
    /// Results are lost or in danger.
    Critical,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The file, relative to the store.
    pub file: String,
    /// What it is and what to do, in one sentence.
    pub message: String,
    /// What `--repair` would do about it; `None` where nothing is safe.
    pub repair: Option<Repair>,
}

/// A safe repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repair {
    /// Write `model_stats.parquet` and `metadata.json` anew.
    RebuildDerived,
    /// Publish a dead writer's journal as an increment.
    RecoverJournal(String),
    /// Move a file of `incremental/` into `quarantine/`.
    Quarantine(String),
}

/// What was checked and found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Files looked at.
    pub files: u64,
    /// Rows read.
    pub rows: u64,
    /// What was found, worst first.
    pub findings: Vec<Finding>,
}

/// Checks every file. Changes nothing.
pub fn check(_store: &Store, _now: jiff::Timestamp, _control: &Control) -> Result<Report> {
    Err(super::Error::Refused("validate is not there yet".into()))
}

/// Does the repairs that a report proposes; says for each what was done.
pub fn repair(_store: &Store, _report: &Report, _control: &Control) -> Result<Vec<String>> {
    Err(super::Error::Refused("validate is not there yet".into()))
}
