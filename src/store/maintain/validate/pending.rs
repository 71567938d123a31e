//! Increments and journals.

use std::collections::HashSet;
use std::io::ErrorKind;

use super::{Level, Repair, Report, incremental};
use crate::config::show_counted;
use crate::store::error::is_exhaustion;
use crate::store::format::layout::{IncrementalName, classify};
use crate::store::parquet::{OpenError, ParquetFile};
use crate::store::read::snapshot::{FileState, Files, Snapshot};
use crate::store::{Control, Error, Result, Store};

pub(crate) fn check(
    store: &Store,
    files: &Files,
    snapshot: &Snapshot,
    report: &mut Report,
    control: &Control,
) -> Result<()> {
    report.files += snapshot.waiting.len() as u64;
    for file in &snapshot.waiting {
        let path = incremental(&file.name);
        report.rows += file.rows;
        match &file.state {
            FileState::Ready if file.dead => report.mendable(
                Level::Warning,
                path,
                format!(
                    "its writer died and left {}; what it left counts, and the next consolidate takes it in",
                    show_counted(file.rows, "row")
                ),
                Repair::RecoverJournal(file.name.clone()),
            ),
            FileState::Ready => {}
            FileState::InProgress => {
                report.add(Level::Note, path, "it is being written; it counts when it is whole");
            }
            FileState::Unreadable(reason) if may_not_be_opened(store, &file.name) => report.add(
                Level::Warning,
                path,
                format!("it may not be read and does not count ({reason}): check its owner and mode"),
            ),
            // Its owner, or its disk, may yet give it back.
            FileState::Unreadable(reason) if file.journal => report.add(
                Level::Warning,
                path,
                format!("it can't be read and does not count ({reason})"),
            ),
            FileState::Unreadable(reason) => report.mendable(
                Level::Warning,
                path,
                format!("it can't be read as Parquet ({reason}) and does not count: mend its writer, or move it away"),
                Repair::Quarantine { name: file.name.clone(), reason: reason.clone() },
            ),
            FileState::Conflict(sentence) => report.add(Level::Warning, path, sentence.clone()),
        }
    }
    // A snapshot reads only the columns that it needs.
    let ready = snapshot
        .waiting
        .iter()
        .filter(|file| file.state == FileState::Ready);
    let ready: HashSet<&str> = ready.map(|file| file.name.as_str()).collect();
    for increment in files
        .increments
        .iter()
        .filter(|increment| ready.contains(increment.name.as_str()))
    {
        match increment
            .open(store)
            .and_then(|file| file.check_pages(|| control.check()))
        {
            Err(Error::Unreadable { reason, .. }) => {
                let message = format!(
                    "it is damaged ({reason}), so it can't be consolidated: write it again"
                );
                report.add(Level::Warning, incremental(&increment.name), message);
            }
            // It was consolidated meanwhile, or rewritten.
            Err(error) if error.is_transient() => {}
            checked => checked?,
        }
    }
    if !files.leftovers.is_empty() {
        report.add(
            Level::Note,
            "incremental/",
            format!(
                "{} in main or published already, not counted again: consolidate and cleanup remove such",
                show_counted(files.leftovers.len() as u64, "file")
            ),
        );
    }
    Ok(())
}

/// Where main can't be read nobody knows which files count: only whether each is whole.
pub(crate) fn alone(store: &Store, report: &mut Report, control: &Control) -> Result<()> {
    let folder = store.layout.incremental();
    let entries = match store.disk.list(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(Error::io("read", &folder))?,
    };
    for entry in entries.into_iter().filter(|entry| entry.stat.is_file) {
        let kind = classify(&entry.name);
        if !matches!(
            kind,
            IncrementalName::Increment | IncrementalName::LegacyIncrement
        ) {
            continue;
        }
        report.files += 1;
        let path = folder.join(&entry.name);
        let file = ParquetFile::open(&*store.disk, &path).map_err(|error| error.at(&path));
        match file.and_then(|file| file.check_pages(|| control.check()).map(|()| file.rows())) {
            Ok(rows) => report.rows += rows,
            Err(Error::Unreadable { reason, .. }) => {
                let message = format!("it is damaged ({reason}): mend its writer, or move it away");
                report.add(Level::Warning, incremental(&entry.name), message);
            }
            Err(error) if error.is_transient() || error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the operating system refuses it: then nothing is known against the file itself.
fn may_not_be_opened(store: &Store, name: &str) -> bool {
    let path = store.layout.incremental().join(name);
    matches!(
        ParquetFile::open(&*store.disk, &path),
        Err(OpenError::Io(error)) if !is_exhaustion(&error)
    )
}
