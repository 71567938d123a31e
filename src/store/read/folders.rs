//! The folders into which commits move what they took in. A folder whose commit main contains is
//! settled: its files don't count, but for those that other code has changed since. The files of
//! any other folder are pending.

use std::io::ErrorKind;

use crate::stats::collections::ByName;
use crate::store::Store;
use crate::store::disk::{Entry, ListAction, Stat};
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::Consumed;
use crate::store::format::layout::{
    IncrementalName, bare_name, classify, folder_commit, is_moved, moved_place,
};

/// A folder of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    /// Its name.
    pub name: String,
    /// Number of the commit.
    pub generation: u64,
    /// Its id.
    pub commit_id: String,
    /// What the system says of it.
    pub stat: Stat,
}

/// All folders, oldest first.
pub fn list(store: &Store) -> Result<Vec<Folder>> {
    let path = store.layout.consumed();
    let entries = match store.disk.list(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", &path))?,
    };
    let folder = |entry: Entry| {
        let (generation, commit_id) = folder_commit(&entry.name)?;
        Some(Folder {
            generation,
            commit_id: commit_id.to_owned(),
            stat: entry.stat,
            name: entry.name,
        })
    };
    let mut folders: Vec<Folder> = entries
        .into_iter()
        .filter(|entry| !entry.stat.is_file)
        .filter_map(folder)
        .collect();
    folders.sort_by(|a, b| (a.generation, &a.name).cmp(&(b.generation, &b.name)));
    folders.dedup();
    Ok(folders)
}

/// The files in a folder by their places in `incremental/`; none where it is gone.
pub(crate) fn files(store: &Store, folder: &str) -> Result<Vec<Entry>> {
    files_that(store, folder, |_| true)
}

/// Of these, those of other code.
pub(crate) fn files_of_others(store: &Store, folder: &str) -> Result<Vec<Entry>> {
    files_that(store, folder, |place| {
        classify(place) == IncrementalName::LegacyIncrement
    })
}

fn files_that(store: &Store, folder: &str, take: impl Fn(&str) -> bool) -> Result<Vec<Entry>> {
    let path = store.layout.consumed().join(folder);
    let known = |name: &str, _| {
        if take(&moved_place(folder, name)) {
            ListAction::Unknown
        } else {
            ListAction::Passed
        }
    };
    let mut entries = match store.disk.list_knowing(&path, &known) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", &path))?,
    };
    entries.retain(|entry| entry.stat.is_file && is_moved(&entry.name));
    for entry in &mut entries {
        entry.name = moved_place(folder, &entry.name);
    }
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(entries)
}

/// Whether a file of other code is what was read when a commit took it in.
pub(crate) fn is_as_read(consumed: &[&Consumed], stat: &Stat) -> bool {
    consumed.iter().any(|entry| {
        !entry.legacy && entry.bytes == stat.bytes && i128::from(entry.modified) == stat.modified_ns
    })
}

/// What a record says of a file in a folder: under its place there, or the name that it had.
pub(crate) fn entries_of<'a>(
    known: &ByName<&str, Vec<&'a Consumed>>,
    place: &str,
) -> Vec<&'a Consumed> {
    let names = [place, bare_name(place)];
    let found = names.iter().filter_map(|name| known.get(*name));
    found.flatten().copied().collect()
}
