//! Copies of the last commit records in `commits/`, each written before the rename that commits.
//! Main's footer is the truth; the copies are for the case that other code rewrites main and
//! drops it. A copy whose commit has no folder may be of a commit that never happened.

use std::collections::HashSet;
use std::io::Write;

use jiff::Timestamp;
use serde::de::IgnoredAny;

use crate::store::Store;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::{CommitRecord, FORMAT};
use crate::store::read::folders;

/// Copies that are kept.
const KEPT: usize = 10;

/// A commit takes no longer from its copy to its rename.
const UNDER_WAY_NS: i128 = 60 * 1_000_000_000;

/// One copy, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// The file's name.
    pub name: String,
    /// Number of the commit.
    pub generation: u64,
    /// Its id.
    pub commit_id: String,
    /// A program of format 1 announced the commit, and did not live to say that it happened.
    pub announced: bool,
}

impl Copy {
    fn of(name: &str) -> Option<Self> {
        let (stem, announced) = match (name.strip_suffix(".done"), name.strip_suffix(".pending")) {
            (Some(stem), _) => (stem, false),
            (None, Some(stem)) => (stem, true),
            (None, None) => return None,
        };
        let (generation, commit_id) = stem.split_once('_')?;
        let (generation, commit_id) = (generation.parse().ok()?, commit_id.to_owned());
        Some(Self {
            name: name.to_owned(),
            generation,
            commit_id,
            announced,
        })
    }
}

fn name(record: &CommitRecord) -> String {
    format!("{:08}_{}.done", record.generation, record.commit_id)
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
    let text = text(store, copy)?;
    CommitRecord::parse(&text, &store.layout.commits().join(&copy.name))
}

fn text(store: &Store, copy: &Copy) -> Result<String> {
    let path = store.layout.commits().join(&copy.name);
    let text = crate::store::disk::read(&*store.disk, &path).map_err(Error::io("read", &path))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The newest record of those that `take`; torn copies are passed over.
fn newest_that(
    store: &Store,
    mut take: impl FnMut(&Copy, &CommitRecord) -> bool,
) -> Result<Option<CommitRecord>> {
    let mut last = Ok(None);
    for copy in list(store)?.iter().filter(|copy| !copy.announced) {
        match text(store, copy) {
            // It was never synced, so its commit never happened: the one before will do.
            Ok(text) if serde_json::from_str::<IgnoredAny>(&text).is_err() => {}
            Ok(text) => {
                let record = CommitRecord::parse(&text, &store.layout.commits().join(&copy.name))?;
                if take(copy, &record) {
                    return Ok(Some(record));
                }
            }
            // Pruned since it was listed.
            Err(error) if error.is_not_found() => {}
            Err(error) => last = Err(error),
        }
    }
    last
}

/// The record of the last commit that is known to have happened: it has a folder, or a program of
/// format 1 has said so.
pub fn newest_done(store: &Store) -> Result<Option<CommitRecord>> {
    let known: HashSet<String> = folders::list(store)?
        .into_iter()
        .map(|folder| folder.commit_id)
        .collect();
    newest_that(store, |copy, record| {
        record.format < FORMAT || known.contains(&copy.commit_id)
    })
}

/// The newest commit that is recorded here after that of this main, and did not happen here. In a
/// living store that one was ended in its last moments; in a copy it happened while that was made.
pub fn ahead(store: &Store, main: &CommitRecord, now: Timestamp) -> Result<Option<u64>> {
    let folder = store.layout.commits();
    let Some(newest) = list(store)?.into_iter().find(|copy| !copy.announced) else {
        return Ok(None);
    };
    if newest.generation <= main.generation || main.has_merged(&newest.commit_id) {
        return Ok(None);
    }
    let stat = match store.disk.stat(&folder.join(&newest.name)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        stat => stat.map_err(Error::io("read", &folder))?,
    };
    let under_way = now.as_nanosecond() - stat.modified_ns < UNDER_WAY_NS;
    let mut folders = folders::list(store)?.into_iter();
    let happened = folders.any(|folder| folder.commit_id == newest.commit_id);
    Ok((!under_way && !happened).then_some(newest.generation))
}

/// The record that says what a main without one can't: the zone, the store's id, and which
/// summary rows count. That of a commit which never happened does no harm: what its file of
/// summary rows took from main, main's own rows continue.
pub fn speaks(store: &Store) -> Result<Option<CommitRecord>> {
    let there = |name: &str| store.disk.stat(&store.layout.root().join(name)).is_ok();
    newest_that(store, |_, record| {
        record.summaries.iter().all(|file| there(&file.name))
    })
}

/// Writes the copy of a commit that is about to happen, durably.
pub fn announce(store: &Store, record: &CommitRecord) -> Result<()> {
    let folder = store.layout.commits();
    store.create_part(&folder)?;
    let path = folder.join(name(record));
    let json = record.to_json()?;
    let written = store.disk.create(&path).and_then(|mut file| {
        file.write_all(json.as_bytes())?;
        file.sync()?;
        store.disk.sync_folder(&folder)
    });
    written.map_err(Error::io("write", &path))
}

/// Removes the copies that nothing needs after a commit: all but the last ones, and those of
/// commits that never happened. Copies of format 1 go too: programs of that format would take the
/// newest of them for what main is, and count rows twice.
pub fn prune(store: &Store, last: &CommitRecord) -> Result<()> {
    let known: HashSet<String> = folders::list(store)?
        .into_iter()
        .map(|folder| folder.commit_id)
        .collect();
    let copies = list(store)?;
    let (mut kept, mut gone) = (0, Vec::new());
    for copy in &copies {
        let happened = copy.commit_id == last.commit_id || known.contains(&copy.commit_id);
        let older = || read(store, copy).is_ok_and(|record| record.format < FORMAT);
        let torn = || {
            text(store, copy).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(&text).is_err())
        };
        let stays = !copy.announced
            && kept < KEPT
            && (happened || last.has_merged(&copy.commit_id) || copy.generation < last.generation)
            && !older()
            && !torn();
        if stays {
            kept += 1;
        } else {
            gone.push(copy.name.as_str());
        }
    }
    forget(store, &gone)
}

/// Notes that an announced commit did not happen.
pub fn withdraw(store: &Store, record: &CommitRecord) -> Result<()> {
    forget(store, &[&name(record)])
}

fn forget(store: &Store, names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let folder = store.layout.commits();
    store
        .disk
        .remove(&folder, names)
        .map_err(Error::io("clean up", folder))
}
