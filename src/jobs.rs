//! Maintenance as plan → run → outcome: the dashboard's and the commands' one way
//! in. A plan says what would happen and changes nothing; running it reports its
//! progress, can be cancelled at safe points, and ends in an outcome.

use std::path::PathBuf;

use serde_json::Value;

use crate::health::Severity;
use crate::store::{Control, Result, Store};

/// A job that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Merge what waits into main.
    Consolidate(ConsolidateOptions),
    /// Remove leftovers.
    Cleanup(CleanupOptions),
    /// Copy main into `backups/`.
    Backup,
    /// Bring a backup back, as a new commit.
    Restore(RestoreOptions),
    /// Check every file; with `repair`, mend what can be mended safely.
    Validate {
        /// Whether to mend.
        repair: bool,
    },
    /// Write the store, or a part of it, for other tools.
    Export(ExportOptions),
}

/// How what waits is merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsolidateOptions {
    /// Go on although main has fewer rows than its last commit left in it.
    pub accept_main: bool,
}

/// What cleanup may remove.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanupOptions {
    /// Quarantined files older than this many seconds.
    pub older_than_seconds: u64,
    /// Backups to keep.
    pub keep: usize,
    /// Also remove waiting files whose rows are not in main. Loses results.
    pub include_unconsolidated: bool,
}

/// What restore brings back.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreOptions {
    /// The backup: a path, or a name inside `backups/`.
    pub from: PathBuf,
    /// Drop the rows that main has and the backup lacks instead of keeping them.
    pub discard_newer: bool,
}

/// A form in which rows leave the store.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, strum::EnumString, strum::IntoStaticStr, strum::EnumIter,
)]
#[strum(serialize_all = "lowercase")]
pub enum ExportFormat {
    /// The v3 tree of the JSON database.
    Json,
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// One Parquet file.
    Parquet,
}

/// What is exported where to.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportOptions {
    /// The form.
    pub format: ExportFormat,
    /// The file to write.
    pub output: PathBuf,
    /// Which rows.
    pub filter: crate::store::query::Filter,
    /// Whether an existing file may be replaced.
    pub overwrite: bool,
}

/// What a job would do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What was asked for.
    pub request: Request,
    /// One line: "consolidate 41 files, 2,013 rows, 3.1 MiB into test_results.parquet".
    pub summary: String,
    /// The details, a line each: files, rows, bytes, where to, what is left out and why.
    pub lines: Vec<String>,
    /// Files that the job would remove or replace, and nothing else.
    pub removes: Vec<PathBuf>,
    /// Whether something is removed or replaced that people should say yes to.
    pub needs_yes: bool,
    /// Nothing to do.
    pub is_empty: bool,
    /// The plan for `--dry-run --format json`.
    pub json: Value,
}

/// What a job did.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One line for people: "consolidated 41 files, 2,013 rows, 9 superseded, 0.4 s".
    pub summary: String,
    /// More lines where there is more to say.
    pub lines: Vec<String>,
    /// For `--format json`.
    pub json: Value,
    /// Healthy, or what was found or skipped: decides the exit code.
    pub severity: Severity,
}

/// Says what a job would do. Changes nothing.
pub fn plan(_store: &Store, request: &Request) -> Result<Plan> {
    Err(crate::store::Error::Refused(format!("{request:?} is not there yet")))
}

/// Does what a plan says.
pub fn run(_store: &Store, plan: &Plan, _control: &Control) -> Result<Outcome> {
    Err(crate::store::Error::Refused(format!("{:?} is not there yet", plan.request)))
}
