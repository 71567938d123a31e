//! Increments and journals.

use super::{Level, Repair, Report, incremental};
use crate::store::snapshot::{FileState, Files, Snapshot};

pub(super) fn check(files: &Files, snapshot: &Snapshot, report: &mut Report) {
    report.files += snapshot.waiting.len() as u64;
    for file in &snapshot.waiting {
        let path = incremental(&file.name);
        report.rows += file.rows;
        match &file.state {
            FileState::Ready if file.dead => report.mendable(
                Level::Warning,
                path,
                format!(
                    "its writer died and left {} rows; they count, and the next consolidate takes them in",
                    file.rows
                ),
                Repair::RecoverJournal(file.name.clone()),
            ),
            FileState::Ready => {}
            FileState::InProgress => {
                report.add(Level::Note, path, "it is being written; it counts when it is whole");
            }
            FileState::Unreadable(reason) => report.mendable(
                Level::Warning,
                path,
                format!("it can't be read as Parquet ({reason}) and does not count: mend its writer, or move it away"),
                Repair::Quarantine { name: file.name.clone(), reason: reason.clone() },
            ),
            FileState::Conflict(sentence) => report.add(Level::Warning, path, sentence.clone()),
        }
    }
    if !files.leftovers.is_empty() {
        report.add(
            Level::Note,
            "incremental/",
            format!(
                "{} files are in main or published already and don't count; consolidate and cleanup remove them",
                files.leftovers.len()
            ),
        );
    }
}
