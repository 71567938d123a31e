//! Files of summary rows and removed sets next to main: those that count, and those that do not.

use super::{Level, Report};
use crate::store::commit::summaries::unneeded;
use crate::store::disk;
use crate::store::format::layout::{MAIN, removed_hash, summaries_hash};
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot::{Files, Main};
use crate::store::{Result, Store};

/// Their rows against the commit record, and their bytes against their names.
pub(crate) fn check(store: &Store, files: &Files, report: &mut Report) -> Result<()> {
    let record = files.main.as_ref().and_then(Main::record);
    for named in record.map_or(&[][..], |record| &record.summaries) {
        let path = store.layout.root().join(&named.name);
        let rows = files
            .summaries
            .iter()
            .find(|file| file.path() == path)
            .map_or(0, ParquetFile::rows);
        if rows != named.rows {
            let message = format!(
                "main's commit record says {} rows and it has {rows}",
                named.rows
            );
            report.add(Level::Critical, named.name.clone(), message);
        }
        let hash = disk::hash(&*store.disk, &path).unwrap_or_default();
        if summaries_hash(&named.name) != Some(hash.as_str()) {
            let message = "its bytes don't match the hash in its name, so somebody changed it: import again, \
                           or bring back a backup (evaltop restore)";
            report.add(Level::Critical, named.name.clone(), message);
        }
    }
    if let Some(why) = &files.removed_unread {
        report.add(Level::Critical, MAIN, why.clone());
    }
    if let Some(named) = files.main.as_ref().and_then(|main| main.removed.as_ref()) {
        let path = store.layout.root().join(&named.name);
        let hash = disk::hash(&*store.disk, &path).unwrap_or_default();
        if files.removed_unread.is_none() && removed_hash(&named.name) != Some(hash.as_str()) {
            let message = "its bytes don't match the hash in its name, so somebody changed what was removed: \
                           bring the file back from a copy of the store";
            report.add(Level::Critical, named.name.clone(), message);
        }
    }
    for entry in unneeded(store)? {
        let message = match removed_hash(&entry.name) {
            Some(_) => {
                "a removed set that neither main nor a backup names; cleanup removes the file"
            }
            None => "summary rows that neither main nor a backup counts; cleanup removes the file",
        };
        report.add(Level::Note, entry.name, message);
    }
    Ok(())
}
