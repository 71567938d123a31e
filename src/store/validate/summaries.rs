//! Files of summary rows beside main: those that count, and those that do not.

use super::{Level, Report};
use crate::store::disk;
use crate::store::layout::summaries_hash;
use crate::store::parquet_file::ParquetFile;
use crate::store::snapshot::{Files, Main};
use crate::store::summaries::unneeded;
use crate::store::{Result, Store};

/// Their rows against the commit record, and their bytes against their names.
pub(super) fn check(store: &Store, files: &Files, report: &mut Report) -> Result<()> {
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
            let message = "its bytes are not those that its name tells, so somebody changed it: import again, \
                           or bring back a backup (evaltop restore)";
            report.add(Level::Critical, named.name.clone(), message);
        }
    }
    for entry in unneeded(store)? {
        let message =
            "summary rows that neither main nor a backup counts; cleanup removes the file";
        report.add(Level::Note, entry.name, message);
    }
    Ok(())
}
