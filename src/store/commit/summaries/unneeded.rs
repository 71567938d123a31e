//! Files of summary rows and removed sets that nothing needs any more: no main, backup or copy of a
//! commit record names them.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::store::Store;
use crate::store::commit::log;
use crate::store::disk::Entry;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::layout::{LOCK, MAIN, removed_hash, summaries_hash};
use crate::store::parquet::ParquetFile;

/// The files that nothing needs, by name. None while main, or a commit under way,
/// can't be read: it may need any of them.
pub(crate) fn unneeded(store: &Store) -> Result<Vec<Entry>> {
    let root = store.layout.root();
    let mut files = entries(store, root)?;
    files.retain(|entry| entry.stat.is_file && is_named(&entry.name));
    if files.is_empty() {
        return Ok(files);
    }
    let mut named: HashSet<String> = HashSet::new();
    for (at, copy) in log::list(store)?.iter().enumerate() {
        match log::read(store, copy) {
            Ok(record) => named.extend(names(record)),
            // Only the newest may be of a commit under way.
            Err(_) if at > 0 => {}
            Err(_) => return Ok(Vec::new()),
        }
    }
    for (folder, entry) in mains(store)? {
        // What can't be opened can't be restored.
        let opened = ParquetFile::open(&*store.disk, &folder.join(&entry.name)).map_err(drop);
        match opened.and_then(|file| CommitRecord::of(&file).map_err(drop)) {
            Ok(record) => named.extend(record.into_iter().flat_map(names)),
            Err(()) if entry.name == MAIN => return Ok(Vec::new()),
            Err(()) => {}
        }
    }
    files.retain(|entry| !named.contains(&entry.name));
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Whether a name is that of a file which only a commit record lets count.
fn is_named(name: &str) -> bool {
    summaries_hash(name).is_some() || removed_hash(name).is_some()
}

/// The files that a record names.
fn names(record: CommitRecord) -> impl Iterator<Item = String> {
    let summaries = record.summaries.into_iter().map(|file| file.name);
    summaries.chain(record.removed.map(|file| file.name))
}

/// Main and everything that may once have been it: backups, and the copies that people
/// and other programs leave next to main.
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
