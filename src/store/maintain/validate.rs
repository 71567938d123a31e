//! Checks every file of a store, and mends what can be mended safely.
//!
//! Promises: checking changes nothing; mending never loses a row: it rebuilds
//! derived files, publishes the journals of dead writers, and moves what can't be
//! read into quarantine, each file with its reason next to it.

pub(crate) mod others;
pub(crate) mod pending;

use jiff::Timestamp;

use crate::store::read::snapshot;
use crate::store::read::snapshot::{Files, Scanner, retrying};
use crate::store::{Control, Error, Result, Store};

mod lineage;
mod main;
mod repair;
mod summaries;

pub use repair::repair;

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
    /// Write `model_stats.parquet` and `metadata.json` again.
    RebuildDerived,
    /// Publish a dead writer's journal (its name) as an increment.
    RecoverJournal(String),
    /// Publish the rows of a legacy transaction (its name) as an increment.
    RecoverTransaction(String),
    /// Move a file of `incremental/` into `quarantine/`, with the reason next to it.
    Quarantine {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
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

impl Report {
    fn add(&mut self, level: Level, file: impl Into<String>, message: impl Into<String>) {
        self.findings.push(Finding {
            level,
            file: file.into(),
            message: message.into(),
            repair: None,
        });
    }

    fn mendable(
        &mut self,
        level: Level,
        file: impl Into<String>,
        message: impl Into<String>,
        repair: Repair,
    ) {
        let (file, message) = (file.into(), message.into());
        self.findings.push(Finding {
            level,
            file,
            message,
            repair: Some(repair),
        });
    }
}

/// Checks every file. Changes nothing.
pub fn check(store: &Store, now: Timestamp, control: &Control) -> Result<Report> {
    store.check()?;
    let mut report = Report::default();
    let looked = retrying(store, || {
        let files = snapshot::files(store, now)?;
        let snapshot = Scanner::new().scan(store, now, control)?;
        Ok((files, snapshot))
    });
    match looked {
        Ok((files, snapshot)) => {
            main::check(store, &files, &snapshot, &mut report, control)?;
            lineage::check(store, &files, &snapshot, &mut report, control)?;
            pending::check(store, &files, &snapshot, &mut report, control)?;
            summaries::check(store, &files, &mut report)?;
            others::derived(store, &files, &snapshot, &mut report);
        }
        Err(error @ (Error::Cancelled | Error::NoStore { .. } | Error::Unstable { .. })) => {
            return Err(error);
        }
        // Says nothing about the store.
        Err(error) if error.is_exhausted() => return Err(error),
        Err(Error::Unreadable { path, reason, .. }) if path == store.layout.main() => {
            report.files += 1;
            report.add(
                Level::Critical,
                crate::store::format::layout::MAIN,
                format!(
                    "it can't be read ({reason}): bring back a backup (evaltop restore); without one, move this \
                     file away and go on with the pending rows (evaltop consolidate --accept-main)"
                ),
            );
            pending::alone(store, &mut report, control)?;
        }
        // What else ends a scan is the fault of the file that it names, or main's.
        Err(error) => {
            let named = error
                .path()
                .and_then(|path| path.strip_prefix(store.layout.root()).ok());
            let file = named.map_or(crate::store::format::layout::MAIN.to_owned(), |path| {
                path.display().to_string()
            });
            report.files += 1;
            report.add(Level::Critical, file, error.to_string());
        }
    }
    others::backups(store, &mut report, control)?;
    others::others(store, now, &mut report)?;
    report
        .findings
        .sort_by(|a, b| (b.level, &a.file).cmp(&(a.level, &b.file)));
    Ok(report)
}

/// A name in `incremental/`, relative to the store.
fn incremental(name: &str) -> String {
    format!("incremental/{name}")
}

/// The generation that main is at.
fn generation(files: &Files) -> u64 {
    files
        .main
        .as_ref()
        .and_then(|main| main.commit.as_ref())
        .map_or(0, |commit| commit.generation)
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod tests;
