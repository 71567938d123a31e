//! What lies next to main and the increments: derived files, backups, commit
//! records, leftovers, quarantine.

use std::io::{ErrorKind, Read};
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;

use super::{Level, Repair, Report, generation, incremental};
use crate::store::commit::log;
use crate::store::disk::{Entry, ReadFile};
use crate::store::error::is_exhaustion;
use crate::store::format::commit_record::{CommitRecord, Summaries};
use crate::store::format::layout::{
    IncrementalName, METADATA, MODEL_STATS, classify, is_backup, is_temporary,
};
use crate::store::legacy::transactions;
use crate::store::legacy::transactions::Content;
use crate::store::parquet::{OpenError, ParquetFile};
use crate::store::read::snapshot::{Files, Snapshot};
use crate::store::{Control, Error, Result, Store};

/// Derived files that are missing, damaged or behind.
pub(crate) fn derived(store: &Store, files: &Files, snapshot: &Snapshot, report: &mut Report) {
    let generation = generation(files);
    // Before the first commit nothing was derived, or other code did it.
    if generation == 0 {
        return;
    }
    let rebuild = |report: &mut Report, name: &str, what: &str| {
        let message =
            format!("{what}; nothing depends on it, and the next consolidate writes it again");
        report.mendable(Level::Note, name, message, Repair::RebuildDerived);
    };
    match ParquetFile::open(&*store.disk, &store.layout.model_stats()) {
        Ok(file) => {
            report.files += 1;
            let own = file
                .key_value("evaltop.generation")
                .and_then(|text| text.parse::<u64>().ok());
            if own != Some(generation) {
                rebuild(report, MODEL_STATS, "it is not of the last commit");
            }
        }
        Err(OpenError::Io(error)) if error.kind() == ErrorKind::NotFound => {
            rebuild(report, MODEL_STATS, "it is missing");
        }
        // Nothing is known against it.
        Err(OpenError::Io(error)) if is_exhaustion(&error) => {}
        Err(error) => rebuild(report, MODEL_STATS, &format!("it can't be read ({error})")),
    }
    match json(store, &store.layout.metadata()) {
        Ok(Some(metadata)) => {
            report.files += 1;
            let number = |name: &str| metadata.get(name).and_then(Value::as_u64);
            let current = number("generation") == Some(generation);
            if !current {
                rebuild(report, METADATA, "it is not of the last commit");
            } else if number("rows").is_some_and(|rows| rows != snapshot.main.rows) {
                rebuild(report, METADATA, "its totals are not main's");
            }
        }
        Ok(None) => rebuild(report, METADATA, "it is missing"),
        Err(reason) => rebuild(report, METADATA, &format!("it can't be read ({reason})")),
    }
}

/// A JSON file of moderate size; `None` where there is none.
fn json(store: &Store, path: &Path) -> Result<Option<Value>, String> {
    const LIMIT: u64 = 64 << 20;
    let file = match store.disk.open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| error.to_string())?,
    };
    let mut text = Vec::new();
    Onwards {
        file: &*file,
        at: 0,
    }
    .take(LIMIT)
    .read_to_end(&mut text)
    .map_err(|error| error.to_string())?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| error.to_string())
}

struct Onwards<'a> {
    file: &'a dyn ReadFile,
    at: u64,
}

impl Read for Onwards<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(self.at, buf)?;
        self.at += read as u64;
        Ok(read)
    }
}

fn entries(store: &Store, folder: &Path) -> Result<Vec<Entry>> {
    match store.disk.list(folder) {
        Ok(mut entries) => {
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(entries)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("read", folder)(error)),
    }
}

/// Backups: each must open, or it is none.
pub(crate) fn backups(store: &Store, report: &mut Report, control: &Control) -> Result<()> {
    let main = store.disk.stat(&store.layout.main()).ok();
    for entry in entries(store, &store.layout.backups())?
        .iter()
        .filter(|entry| is_backup(&entry.name))
    {
        control.check()?;
        report.files += 1;
        let name = format!("backups/{}", entry.name);
        match ParquetFile::open(&*store.disk, &store.layout.backups().join(&entry.name)) {
            Ok(_) if main.is_some_and(|main| main.inode == entry.stat.inode) => report.add(
                Level::Note,
                name,
                "it is main itself under a second name, left by an interrupted commit; the next one removes it",
            ),
            Ok(file) => backup(store, name, &file, report, control)?,
            Err(OpenError::Io(error)) if is_exhaustion(&error) => {
                let path = store.layout.backups().join(&entry.name);
                return Err(Error::io("read", path)(error));
            }
            Err(error) => {
                let message = format!("it can't be read ({error}), so nothing can be restored from it: remove it");
                report.add(Level::Warning, name, message);
            }
        }
    }
    Ok(())
}

/// What a backup says of itself, and the summary rows that belong to it.
fn backup(
    store: &Store,
    name: String,
    file: &ParquetFile,
    report: &mut Report,
    control: &Control,
) -> Result<()> {
    match file.check_pages(|| control.check()) {
        Err(Error::Unreadable { reason, .. }) => {
            let message =
                format!("it is damaged ({reason}), and not all of it can be restored: remove it");
            report.add(Level::Warning, name, message);
            return Ok(());
        }
        checked => checked?,
    }
    let record = match CommitRecord::of(file) {
        Ok(Some(record)) => record,
        // Of a main of other code.
        Ok(None) => return Ok(()),
        Err(error) => {
            report.add(Level::Warning, name, error.to_string());
            return Ok(());
        }
    };
    let missing = |file: &&Summaries| {
        store
            .disk
            .stat(&store.layout.root().join(&file.name))
            .is_err()
    };
    if let Some(file) = record.summaries.iter().find(missing) {
        let message = format!(
            "{} is missing, so it can't be restored with its summary rows",
            file.name
        );
        report.add(Level::Warning, name, message);
    } else if let Some(set) = record.removed.as_ref().filter(|set| {
        let path = store.layout.root().join(&set.name);
        store.disk.stat(&path).is_err()
    }) {
        let message = format!(
            "{} is missing, so an undo can't bring it back with what was removed before it",
            set.name
        );
        report.add(Level::Warning, name, message);
    } else if record.rows != file.rows() {
        let message = format!(
            "its commit record says {} rows and it has {}",
            record.rows,
            file.rows()
        );
        report.add(Level::Warning, name, message);
    }
    Ok(())
}

/// Everything that is not data: said where somebody may want to know.
pub(crate) fn others(store: &Store, now: Timestamp, report: &mut Report) -> Result<()> {
    for entry in entries(store, &store.layout.incremental())? {
        let path = incremental(&entry.name);
        match classify(&entry.name) {
            IncrementalName::Transaction => transaction(store, &entry, path, now, report),
            IncrementalName::Rejected => {
                report.add(
                    Level::Note,
                    path,
                    "lines that were not records are kept in it; read it, then remove it",
                );
            }
            IncrementalName::Temporary => temporary(&entry, path, now, report),
            IncrementalName::Increment | IncrementalName::LegacyIncrement
                if entry.stat.bytes == 0 =>
            {
                report.add(Level::Note, path, "it is empty and does not count");
            }
            _ => {}
        }
    }
    for entry in entries(store, store.layout.root())?
        .iter()
        .filter(|entry| is_temporary(&entry.name))
    {
        temporary(entry, entry.name.clone(), now, report);
    }
    for copy in log::list(store)? {
        let name = format!("commits/{}", copy.name);
        match log::read(store, &copy) {
            Err(error) if !error.is_not_found() => {
                let message = format!(
                    "it can't be read, and would be missed if another program rewrote main: remove it ({error})"
                );
                report.add(Level::Warning, name, message);
            }
            _ => {}
        }
    }
    let quarantined = entries(store, &store.layout.quarantine())?;
    let files = quarantined
        .iter()
        .filter(|entry| !entry.name.ends_with(".reason.txt"))
        .count();
    if files > 0 {
        let message =
            format!("{files} files that could not be read are kept here, each with its reason");
        report.add(Level::Note, "quarantine/", message);
    }
    Ok(())
}

/// Rows that a legacy writer put aside.
fn transaction(store: &Store, entry: &Entry, path: String, now: Timestamp, report: &mut Report) {
    report.files += 1;
    match transactions::look(store, entry, now) {
        Content::InProgress => report.add(Level::Note, path, "a legacy writer is at it"),
        Content::Rows(rows) => report.mendable(
            Level::Warning,
            path,
            format!("a legacy writer left {rows} rows in it that were never published, and they don't count"),
            Repair::RecoverTransaction(entry.name.clone()),
        ),
        Content::Unreadable(reason) => report.mendable(
            Level::Warning,
            path,
            format!("a legacy writer left it, and its rows can't be read ({reason})"),
            Repair::Quarantine { name: entry.name.clone(), reason },
        ),
    }
}

/// A temporary file that nobody has touched for an hour.
fn temporary(entry: &Entry, path: String, now: Timestamp, report: &mut Report) {
    const HOUR_NS: i128 = 3_600 * 1_000_000_000;
    if now.as_nanosecond().saturating_sub(entry.stat.modified_ns) > HOUR_NS {
        report.add(
            Level::Note,
            path,
            "an interrupted program left it; cleanup removes it",
        );
    }
}
