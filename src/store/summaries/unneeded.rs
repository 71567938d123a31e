//! Files of summary rows that nothing needs any more: no main, backup or copy of a
//! commit record names them.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::store::Store;
use crate::store::commit::{CommitRecord, log};
use crate::store::disk::Entry;
use crate::store::error::{Error, Result};
use crate::store::layout::{LOCK, MAIN, summaries_hash};
use crate::store::parquet_file::ParquetFile;

/// The files that nothing needs, by name. None while main, or a commit under way,
/// can't be read: it may need any of them.
pub(in crate::store) fn unneeded(store: &Store) -> Result<Vec<Entry>> {
    let root = store.layout.root();
    let mut files = entries(store, root)?;
    files.retain(|entry| entry.stat.is_file && summaries_hash(&entry.name).is_some());
    if files.is_empty() {
        return Ok(files);
    }
    let mut named: HashSet<String> = HashSet::new();
    for copy in log::list(store)? {
        match log::read(store, &copy) {
            Ok(record) => named.extend(record.summaries.into_iter().map(|file| file.name)),
            Err(_) if copy.done => {}
            Err(_) => return Ok(Vec::new()),
        }
    }
    for (folder, entry) in mains(store)? {
        // What can't be opened can't be restored.
        let opened = ParquetFile::open(&*store.disk, &folder.join(&entry.name)).map_err(drop);
        match opened.and_then(|file| CommitRecord::of(&file).map_err(drop)) {
            Ok(record) => named.extend(
                record
                    .into_iter()
                    .flat_map(|r| r.summaries)
                    .map(|file| file.name),
            ),
            Err(()) if entry.name == MAIN => return Ok(Vec::new()),
            Err(()) => {}
        }
    }
    files.retain(|entry| !named.contains(&entry.name));
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Main and everything that may once have been it: backups, and the copies that people
/// and other programs leave beside main.
fn mains(store: &Store) -> Result<Vec<(PathBuf, Entry)>> {
    let mut found = Vec::new();
    for folder in [store.layout.root().to_path_buf(), store.layout.backups()] {
        let entries = entries(store, &folder)?.into_iter().filter(|entry| {
            entry.stat.is_file && entry.name.starts_with("test_results") && entry.name != LOCK
        });
        found.extend(entries.map(|entry| (folder.clone(), entry)));
    }
    Ok(found)
}

fn entries(store: &Store, folder: &std::path::Path) -> Result<Vec<Entry>> {
    match store.disk.list(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        other => other.map_err(Error::io("read", folder)),
    }
}
