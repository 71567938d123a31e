//! How far pulls are: see [`SourceNote`].

use std::io::ErrorKind;

use crate::store::Store;
use crate::store::disk;
use crate::store::error::{Error, Result};
use crate::store::format::source_note::SourceNote;

/// What is known of a place; nothing where there is no note, or a torn one.
pub fn of(store: &Store, name: &str) -> SourceNote {
    let path = store.layout.sources().join(SourceNote::file(name));
    let bytes = disk::read(&*store.disk, &path).ok();
    bytes
        .as_deref()
        .and_then(SourceNote::read)
        .filter(|note| note.name == name)
        .unwrap_or_else(|| SourceNote::new(name))
}

/// Keeps what is known now.
pub fn keep(store: &Store, note: &SourceNote) -> Result<()> {
    let path = store.layout.sources().join(SourceNote::file(&note.name));
    let written = store.disk.write_hint(&path, &note.to_bytes());
    written.map_err(Error::io("write", &path))
}

/// All places, by name. What can't be read is left out: no row depends on it.
pub fn all(store: &Store) -> Result<Vec<SourceNote>> {
    let folder = store.layout.sources();
    let entries = match store.disk.list(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        entries => entries.map_err(Error::io("read", &folder))?,
    };
    let read = |name: &String| {
        let bytes = disk::read(&*store.disk, &folder.join(name)).ok()?;
        SourceNote::read(&bytes)
    };
    let mut found: Vec<SourceNote> = entries
        .iter()
        .filter_map(|entry| read(&entry.name))
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}
