//! Copies of the last commit records in `commits/`: `<generation>_<id>.pending`
//! before the rename that commits, `.done` after it. Main's footer is the truth;
//! the copies are for the case that other code rewrites main and drops it.

use std::io::Write;

use crate::store::Store;
use crate::store::commit::CommitRecord;
use crate::store::disk::Stat;
use crate::store::error::{Error, Result};
use crate::store::parquet_file::ParquetFile;

/// Copies that are kept.
const KEPT: usize = 10;

/// One copy, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The file's name.
    pub name: String,
    /// Number of the commit.
    pub generation: u64,
    /// Its id.
    pub commit_id: String,
    /// Whether the commit is known to have happened.
    pub done: bool,
}

impl Copy {
    fn of(name: &str) -> Option<Self> {
        let (stem, done) = match (name.strip_suffix(".done"), name.strip_suffix(".pending")) {
            (Some(stem), _) => (stem, true),
            (None, Some(stem)) => (stem, false),
            (None, None) => return None,
        };
        let (generation, commit_id) = stem.split_once('_')?;
        let (generation, commit_id) = (generation.parse().ok()?, commit_id.to_owned());
        Some(Self {
            name: name.to_owned(),
            generation,
            commit_id,
            done,
        })
    }
}

fn name(record: &CommitRecord, suffix: &str) -> String {
    format!("{:08}_{}.{suffix}", record.generation, record.commit_id)
}

/// All copies, newest first.
pub fn list(store: &Store) -> Result<Vec<Copy>> {
    let folder = store.layout.commits();
    let entries = match store.disk.list(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io("read", &folder))?,
    };
    let mut copies: Vec<_> = entries
        .iter()
        .filter(|entry| entry.stat.is_file)
        .filter_map(|entry| Copy::of(&entry.name))
        .collect();
    copies.sort_by(|a, b| (b.generation, &b.name).cmp(&(a.generation, &a.name)));
    Ok(copies)
}

/// The record that a copy holds.
pub fn read(store: &Store, copy: &Copy) -> Result<CommitRecord> {
    let path = store.layout.commits().join(&copy.name);
    let text = crate::store::disk::read(&*store.disk, &path).map_err(Error::io("read", &path))?;
    CommitRecord::parse(&String::from_utf8_lossy(&text), &path)
}

/// The record of the last commit that is known to have happened; a main that other
/// code rewrote inherits it.
pub fn newest_done(store: &Store) -> Result<Option<CommitRecord>> {
    let mut last = Ok(None);
    for copy in list(store)?.iter().filter(|copy| copy.done) {
        match read(store, copy) {
            Ok(record) => return Ok(Some(record)),
            // Pruned since it was listed, or torn by a failing disk: the one before will do.
            Err(error) if error.is_not_found() => {}
            Err(error) => last = Err(error),
        }
    }
    last
}

/// The record of the commit on which other code made a main that has no record, as far as its
/// time and its rows tell: the newest that is no younger and left no more rows.
pub fn speaks_for(store: &Store, main: &ParquetFile) -> Result<Option<CommitRecord>> {
    let Stat { modified_ns, .. } = main.stat();
    for copy in list(store)?.iter().filter(|copy| copy.done) {
        match read(store, copy) {
            Ok(record)
                if record.created.as_nanosecond() <= modified_ns && record.rows <= main.rows() =>
            {
                return Ok(Some(record));
            }
            // Later; pruned since it was listed, or torn: the one before may do.
            _ => {}
        }
    }
    Ok(None)
}

/// Announces a commit, durably.
pub fn announce(store: &Store, record: &CommitRecord) -> Result<()> {
    let folder = store.layout.commits();
    store.create_part(&folder)?;
    let path = folder.join(name(record, "pending"));
    let json = record.to_json()?;
    let written = store.disk.create(&path).and_then(|mut file| {
        file.write_all(json.as_bytes())?;
        file.sync()?;
        store.disk.sync_folder(&folder)
    });
    written.map_err(Error::io("write", &path))
}

/// Notes that an announced commit happened, durably; drops the oldest copies.
pub fn confirm(store: &Store, record: &CommitRecord) -> Result<()> {
    let folder = store.layout.commits();
    let (pending, done) = (
        folder.join(name(record, "pending")),
        folder.join(name(record, "done")),
    );
    store
        .disk
        .replace(&pending, &done)
        .map_err(Error::io("rename", &pending))?;
    let copies = list(store)?;
    forget(store, copies.iter().filter(|copy| copy.done).skip(KEPT))
}

/// Notes that an announced commit did not happen.
pub fn withdraw(store: &Store, record: &CommitRecord) -> Result<()> {
    let folder = store.layout.commits();
    store
        .disk
        .remove(&folder, &[&name(record, "pending")])
        .map_err(Error::io("clean up", folder))
}

/// Removes copies.
pub fn forget<'a>(store: &Store, copies: impl Iterator<Item = &'a Copy>) -> Result<()> {
    let names: Vec<&str> = copies.map(|copy| copy.name.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let folder = store.layout.commits();
    store
        .disk
        .remove(&folder, &names)
        .map_err(Error::io("clean up", folder))
}
