//! Maintenance as plan → run → outcome: the dashboard's and the commands' one way
//! in. A plan says what would happen and changes nothing; running it reports its
//! progress, can be cancelled at safe points, and ends in an outcome.
//!
//! ```
//! use evaltop::internals::jobs::{self, ConsolidateOptions, Request};
//! use evaltop::internals::store::Control;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use evaltop::internals::store::write::writer::{Writer, WriterOptions};
//! # use evaltop::internals::store::{Record, Store};
//! # let folder = tempfile::tempdir()?;
//! # let store = Store::new(folder.path().join("my_store"));
//! # let mut writer = Writer::open(&store, WriterOptions::default())?;
//! # for n in 0..20 {
//! #     let model = if n % 2 == 0 { "large" } else { "small" };
//! #     let task_id = Some(format!("book-{}", n / 2));
//! #     writer.append(Record { model: model.into(), task_id, success: Some(n != 3), ..Record::default() })?;
//! # }
//! # writer.close()?;
//! let request = Request::Consolidate(ConsolidateOptions::default());
//! let plan = jobs::plan(&store, &request, &Control::default())?;
//! assert!(!plan.is_empty && plan.removes.is_empty());
//! let outcome = jobs::run(&store, &plan, &Control::default())?;
//! assert_eq!(outcome.json["rows_added"], 20);
//! # Ok(())
//! # }
//! ```

use std::path::PathBuf;

use serde_json::Value;

use crate::health::Severity;
use crate::store::maintain::operations;
use crate::store::maintain::operations::Operation;
use crate::store::{Control, Error, Result, Store};

mod backup;
mod cleanup;
mod consolidate;
mod export;
mod remove;
mod report;
mod restore;
mod text;
mod validate;

pub use crate::store::maintain::cleanup::Options as CleanupOptions;

/// A job that somebody asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Merge pending rows into main.
    Consolidate(ConsolidateOptions),
    /// Remove leftovers.
    Cleanup(CleanupOptions),
    /// Copy main into `backups/`.
    Backup,
    /// Bring a backup back, as a new commit.
    Restore(RestoreOptions),
    /// Take rows out on purpose.
    Remove(RemoveOptions),
    /// Check every file; with `repair`, mend what can be mended safely.
    Validate {
        /// Whether to mend.
        repair: bool,
    },
    /// Write the store, or a part of it, for other tools.
    Export(ExportOptions),
    /// Write the report.
    Report(ReportOptions),
}

/// How pending rows are merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsolidateOptions {
    /// Go on although main has fewer rows than its last commit left in it.
    pub accept_main: bool,
    /// Move the summary rows of a legacy main into a file next to it.
    pub convert_main: bool,
    /// Sort what other code left unsorted in main.
    pub optimize: bool,
}

/// What restore brings back.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoreOptions {
    /// The backup: a path, or a name inside `backups/`. `None` undoes the last operation:
    /// what it had brought into main waits again.
    pub from: Option<PathBuf>,
    /// Remove the rows that the store has and the backup lacks instead of keeping them.
    pub exactly: bool,
}

/// Which rows are removed.
#[derive(Debug, Clone, PartialEq)]
pub struct RemoveOptions {
    /// Those that match.
    pub filter: crate::store::read::query::Filter,
    /// Whether a file that does not count is a warning.
    pub strict: bool,
}

/// A form in which rows leave the store.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::EnumIter,
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
    pub filter: crate::store::read::query::Filter,
    /// Whether an existing file may be replaced.
    pub overwrite: bool,
    /// Whether a file that does not count is a warning.
    pub strict: bool,
}

/// What is reported where to.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportOptions {
    /// The file to write.
    pub output: PathBuf,
    /// What it says.
    pub request: Box<crate::report::Request>,
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
    /// What running it needs of its making.
    pub detail: Detail,
}

/// What running a plan needs of its making, so that it acts on exactly what was shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Detail {
    /// Nothing.
    #[default]
    None,
    /// The files that would go.
    Cleanup(crate::store::maintain::cleanup::Plan),
    /// How much is to be written, for the progress.
    Export {
        /// Rows, or tests.
        rows: u64,
    },
    /// The rows that would go.
    Remove(Box<crate::store::maintain::remove::Plan>),
    /// What was found, and so what would be mended.
    Validate(Box<crate::store::maintain::validate::Report>),
}

/// What a job did.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One line for people: "consolidated 41 files, 2,013 rows, 9 retried, 0.4 s".
    pub summary: String,
    /// More lines where there is more to say.
    pub lines: Vec<String>,
    /// For `--format json`.
    pub json: Value,
    /// Healthy, or what was found or skipped: decides the exit code.
    pub severity: Severity,
    /// Whether the store is another one now.
    pub changed: bool,
}

/// Says what a job would do. Changes nothing.
pub fn plan(store: &Store, request: &Request, control: &Control) -> Result<Plan> {
    match request {
        Request::Consolidate(options) => consolidate::plan(store, options),
        Request::Cleanup(options) => cleanup::plan(store, options),
        Request::Backup => backup::plan(store),
        Request::Restore(options) => restore::plan(store, options, control),
        Request::Remove(options) => remove::plan(store, options, control),
        Request::Validate { repair } => validate::plan(store, *repair, control),
        Request::Export(options) => export::plan(store, options, control),
        Request::Report(options) => report::plan(store, options),
    }
}

/// Does what a plan says, and notes in the store what was done to it.
pub fn run(store: &Store, plan: &Plan, control: &Control) -> Result<Outcome> {
    tracing::debug!("{}", plan.summary);
    let ended = perform(store, plan, control);
    if let Ok(outcome) = &ended {
        tracing::info!("{}", outcome.summary);
    }
    if let Some(operation) = noted(&plan.request, &ended) {
        operations::keep(store, &operation);
    }
    ended
}

/// What the store's own log says of a job: nothing where it changed nothing.
fn noted(request: &Request, ended: &Result<Outcome>) -> Option<Operation> {
    let name = match request {
        Request::Consolidate(_) => "consolidate",
        Request::Cleanup(_) => "cleanup",
        Request::Backup => "backup",
        Request::Restore(_) => "restore",
        Request::Remove(_) => "remove",
        Request::Validate { repair: true } => "repair",
        Request::Validate { repair: false } | Request::Export(_) | Request::Report(_) => {
            return None;
        }
    };
    match ended {
        Ok(outcome) => {
            let generation = outcome.json.get("generation").and_then(Value::as_u64);
            let done = Operation {
                generation,
                ..Operation::now(name, &outcome.summary)
            };
            outcome.changed.then_some(done)
        }
        Err(error) => Operation::failed(name, error),
    }
}

fn perform(store: &Store, plan: &Plan, control: &Control) -> Result<Outcome> {
    match (&plan.request, &plan.detail) {
        (Request::Consolidate(options), _) => consolidate::run(store, options, control),
        (Request::Cleanup(_), Detail::Cleanup(detail)) => cleanup::run(store, detail, control),
        (Request::Backup, _) => backup::run(store, control),
        (Request::Restore(options), _) => restore::run(store, options, control),
        (Request::Remove(_), Detail::Remove(detail)) => remove::run(store, detail, control),
        (Request::Validate { repair }, Detail::Validate(report)) => {
            validate::run(store, report, *repair, control)
        }
        (Request::Export(options), Detail::Export { rows }) => {
            export::run(store, options, *rows, control)
        }
        (Request::Report(options), _) => report::run(store, options, control),
        _ => Err(Error::Refused(
            "the plan does not belong to this job: plan it again".into(),
        )),
    }
}

#[cfg(test)]
mod tests;
