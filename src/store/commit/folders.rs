//! The folders of commits: what a commit took in is not removed but moved into its own folder,
//! `incremental/.consumed/<generation>_<commit id>/`.
//!
//! Promises: a file is moved only when main names it, and it counts on wherever main does not
//! contain the folder's commit; a folder goes only when main contains its commit, two commits and
//! an hour later, and what other code wrote into its files since was read.

use std::collections::HashSet;

use jiff::{SignedDuration, Timestamp};

use super::log;
use crate::store::Store;
use crate::store::disk::{self, Lock, Move, Stat, lock_of};
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::{CommitRecord, Consumed, consumed_bytes};
use crate::store::format::layout::{
    IncrementalName, MAIN, classify, folder_name, folder_of, moved_name, moved_place,
    moved_version, stem,
};
use crate::store::parquet::ParquetFile;
use crate::store::read::folders::{Folder, entries_of, files_of_others, is_as_read, list};
use crate::store::read::snapshot::Files;
use crate::store::write::journal;

/// A file that was left alone for so long is a dead process's, although its lock proves nothing.
pub(crate) const DEAD_NS: i128 = 24 * 3_600 * 1_000_000_000;

/// A legacy file that was modified within this time may still be open for writing.
const QUIET_NS: i128 = 60 * 1_000_000_000;

/// How long a folder stays, at least; where other code wrote main in the last seven days, a day: it
/// may write back a main that it read hours before.
const RETENTION: SignedDuration = SignedDuration::from_hours(1);
const RETENTION_BESIDE_OTHERS: SignedDuration = SignedDuration::from_hours(24);
const LATELY: SignedDuration = SignedDuration::from_hours(7 * 24);

/// How many commits a folder stays, at least.
const GENERATIONS: u64 = 2;

/// Makes the folder of a commit. It is made also where there is nothing to move: it says that the
/// commit happened, should other code rewrite main.
pub(crate) fn make(store: &Store, record: &CommitRecord) -> Result<()> {
    let name = folder_name(record.generation, &record.commit_id);
    // One after the other, so that each takes group and mode from the one above it.
    store.create_part(&store.layout.consumed())?;
    store.create_part(&store.layout.consumed().join(name))
}

/// A modification time as a commit record has it.
pub(crate) fn modified(stat: &Stat) -> i64 {
    i64::try_from(stat.modified_ns).unwrap_or_default()
}

/// Moves what main contains into the folder of its last commit. What can't be moved is reported, and
/// does no harm: main's record names it.
pub(crate) fn settle(
    store: &Store,
    record: &CommitRecord,
    files: &Files,
    now: Timestamp,
) -> Result<Vec<String>> {
    match relocate(store, record, files, now) {
        Err(error @ Error::Io { .. }) => Ok(vec![format!("consumed files stay for now: {error}")]),
        other => other.map(|()| Vec::new()),
    }
}

fn relocate(store: &Store, record: &CommitRecord, files: &Files, now: Timestamp) -> Result<()> {
    // Its commit died before it made it.
    if !list(store)?
        .iter()
        .any(|folder| folder.commit_id == record.commit_id)
    {
        make(store, record)?;
    }
    log::prune(store, record)?;
    let folder = store.layout.incremental();
    let known = record.consumed_by_name();
    let mut moves = Vec::new();
    let here = files
        .leftovers
        .iter()
        .filter(|entry| folder_of(&entry.name).is_none());
    for entry in here {
        let name = entry.name.as_str();
        let goes = match classify(name) {
            IncrementalName::Increment => true,
            IncrementalName::LegacyIncrement => {
                now.as_nanosecond() - entry.stat.modified_ns >= QUIET_NS
            }
            IncrementalName::Journal => {
                let entries = stem(name).and_then(|stem| known.get(stem));
                let bytes = entries.map_or(0, |entries| consumed_bytes(entries));
                // One that can't be read stays: it counts nowhere.
                is_finished(store, &folder.join(name), bytes, now).unwrap_or(false)
            }
            _ => false,
        };
        if goes {
            // What other code may write on into keeps its name.
            let legacy = classify(name) == IncrementalName::LegacyIncrement;
            moves.push(Move {
                name,
                to: moved_name(name),
                replaces: !legacy,
            });
        }
    }
    if moves.is_empty() {
        return Ok(());
    }
    let to = folder_name(record.generation, &record.commit_id);
    let to = store.layout.consumed().join(to);
    if moves.iter().any(|one| !one.replaces) {
        let listed = store.disk.list(&to).map_err(Error::io("read", &to))?;
        let taken: HashSet<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
        for one in moves.iter_mut().filter(|one| !one.replaces) {
            let mut number = 0;
            while taken.contains(one.to.as_str()) {
                number += 1;
                one.to = moved_version(one.name, number);
            }
        }
    }
    store
        .disk
        .relocate(&folder, &to, &moves)
        .map_err(Error::io("move consumed files to", to))
}

/// Moves what a commit took in under a temporary name into its folder.
pub(crate) fn keep(
    store: &Store,
    record: &CommitRecord,
    temporary: &str,
    name: &str,
) -> Result<()> {
    let to = folder_name(record.generation, &record.commit_id);
    let to = store.layout.consumed().join(to);
    let moved = Move {
        name: temporary,
        to: moved_name(name),
        replaces: false,
    };
    store
        .disk
        .relocate(&store.layout.incremental(), &to, &[moved])
        .map_err(Error::io("move consumed files to", to))
}

/// What the record of a commit says of the main that other code wrote and that it took in. Its time
/// and size say whether it is as it was.
pub(crate) fn entry_of_main(record: &CommitRecord, main: &ParquetFile) -> Consumed {
    let folder = folder_name(record.generation, &record.commit_id);
    Consumed {
        name: moved_place(&folder, &moved_name(MAIN)),
        bytes: main.stat().bytes,
        rows: main.rows(),
        xxh3: String::new(),
        legacy: false,
        modified: modified(&main.stat()),
        at: record.created,
        journal: None,
    }
}

/// Gives the main that other code wrote, by now a backup, a name in the folder of the commit that
/// took it in, or that left it pending.
pub(crate) fn keep_main(
    store: &Store,
    record: &CommitRecord,
    backup: &str,
    is_pending: bool,
) -> Result<()> {
    let folder = folder_name(record.generation, &record.commit_id);
    let to = store.layout.consumed().join(folder).join(moved_name(MAIN));
    let backup = store.layout.backups().join(backup);
    if is_pending {
        return disk::second(&*store.disk, &backup, &to).map_err(Error::io("copy", to));
    }
    match store.disk.link(&backup, &to) {
        // Without hard links the backup is a copy, and no program has that open.
        Err(_) if store.disk.stat(&to).is_err() => Ok(()),
        linked => linked.map_err(Error::io("link", to)),
    }
}

/// Whether main has all of a journal, of which it has `consumed` bytes, and nothing can follow:
/// its writer has sealed it, or is dead. Where a lock that seems free proves nothing, a journal
/// that was left alone for a day is a dead writer's.
pub(crate) fn is_finished(
    store: &Store,
    path: &std::path::Path,
    consumed: u64,
    now: Timestamp,
) -> std::io::Result<bool> {
    if consumed == 0 {
        return Ok(false);
    }
    let disk = &*store.disk;
    let lock = lock_of(disk, path)?;
    if lock == Lock::Held {
        return Ok(false);
    }
    // Only now: a writer that lived until here may have added to it.
    let file = disk.open(path)?;
    let stat = file.stat()?;
    if consumed < stat.bytes && journal::has_line(&*file, stat.bytes, consumed)? {
        return Ok(false);
    }
    let believed = lock == Lock::Free && !journal::is_shared(&*file)?;
    let old = || now.as_nanosecond() - stat.modified_ns > DEAD_NS;
    Ok(believed || journal::is_sealed(&*file, stat.bytes)? || old())
}

/// The folders that nothing needs any more, by a main of ours with that record.
pub(crate) fn outdated(store: &Store, main: &Stat, record: &CommitRecord) -> Result<Vec<Folder>> {
    let mut found = Vec::new();
    let all = list(store)?;
    let newest = all.last().map(|folder| folder.generation);
    let known = record.consumed_by_name();
    let retention = retention(record);
    for folder in all {
        let merged = record
            .lineage
            .iter()
            .find(|merged| merged.id == folder.commit_id);
        let Some(merged) = merged.filter(|_| Some(folder.generation) != newest) else {
            continue;
        };
        // Times of one clock are compared: that of the file system, and that of commits.
        let age = main.modified_ns - folder.stat.modified_ns;
        let since = record.created.duration_since(merged.at);
        let settled = folder.generation.max(merged.generation) + GENERATIONS <= record.generation
            && age > retention.as_nanos()
            && since > retention;
        if !settled {
            continue;
        }
        let mut is_read = true;
        for entry in files_of_others(store, &folder.name)? {
            let entries = entries_of(&known, &entry.name);
            if is_as_read(&entries, &entry.stat) {
                continue;
            }
            let path = store.layout.incremental().join(&entry.name);
            let hash = disk::hash(&*store.disk, &path).map_err(Error::io("read", path))?;
            let same = |known: &&Consumed| (known.bytes, &known.xxh3) == (entry.stat.bytes, &hash);
            is_read &= entries.iter().any(same);
        }
        if is_read {
            found.push(folder);
        }
    }
    Ok(found)
}

fn retention(record: &CommitRecord) -> SignedDuration {
    let lately = |at: &Timestamp| record.created.duration_since(*at) < LATELY;
    if record.rewritten.as_ref().is_some_and(lately) {
        RETENTION_BESIDE_OTHERS
    } else {
        RETENTION
    }
}

/// Removes what [`outdated`] finds. What can't be removed is reported.
pub(crate) fn clean(store: &Store, main: &Stat, record: &CommitRecord) -> Vec<String> {
    let removed = outdated(store, main, record).and_then(|folders| {
        folders
            .iter()
            .try_for_each(|folder| remove(store, &folder.name))
    });
    match removed {
        Ok(()) => Vec::new(),
        Err(error) => vec![format!("consumed files stay for now: {error}")],
    }
}

fn remove(store: &Store, folder: &str) -> Result<()> {
    let path = store.layout.consumed().join(folder);
    let entries = store.disk.list(&path).map_err(Error::io("read", &path))?;
    let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    store
        .disk
        .remove(&path, &names)
        .and_then(|()| store.disk.remove_folder(&path))
        .map_err(Error::io("clean up", &path))
}
