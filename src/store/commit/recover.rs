//! What a crashed predecessor left is finished or removed, before anything new
//! begins. The caller holds the store's lock.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::{SignedDuration, Timestamp};

use super::consolidate::Skipped;
use super::fence;
use super::folders::DEAD_NS;
use super::pending_files::because;
use crate::store::Store;
use crate::store::disk::{Lock, lock_of};
use crate::store::error::{Error, Result};
use crate::store::format::layout;
use crate::store::maintain::backup;
use crate::store::read::snapshot::{JournalFile, Lister};
use crate::store::write::increment::Published;
use crate::store::write::{increment, journal};

/// A temporary file younger than this may belong to a process that has not locked it yet.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// Finishes what can be finished, removes what cannot.
pub(crate) fn finish(store: &Store, now: Timestamp) -> Result<()> {
    let root = store.layout.root();
    // A rename that a crashed process did not live to sync must be durable before
    // anything that relies on it is unlinked.
    store
        .disk
        .sync_folder(root)
        .map_err(Error::io("sync", root))?;
    temporaries(store, now)?;
    backup::unlink_own(store)
}

/// Removes temporary files of processes that ended, but for those of commits where locks are not
/// believed: the fence removes these. In the store's own folder and in
/// `backups/` only holders of the lock make them, and we hold it.
fn temporaries(store: &Store, now: Timestamp) -> Result<()> {
    let root = store.layout.root();
    let believed = store.disk.believes_locks(root);
    let ours = [root.to_path_buf(), store.layout.backups()];
    for (folder, shared) in ours
        .into_iter()
        .map(|folder| (folder, false))
        .chain([(store.layout.incremental(), true)])
    {
        let entries = match store.disk.list(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(Error::io("read", &folder))?,
        };
        let stale = |entry: &&crate::store::disk::Entry| {
            let age = now.as_nanosecond() - entry.stat.modified_ns;
            let path = folder.join(&entry.name);
            let is_file = entry.stat.is_file;
            is_file
                && layout::is_temporary(&entry.name)
                && !(folder == root && !believed && fence::is_commit(&entry.name))
                && (!shared || (age > FRESH.as_nanos() && is_abandoned(store, &path, age)))
        };
        let names: Vec<&str> = entries
            .iter()
            .filter(stale)
            .map(|entry| entry.name.as_str())
            .collect();
        if !names.is_empty() {
            store
                .disk
                .remove(&folder, &names)
                .map_err(Error::io("clean up", &folder))?;
        }
    }
    Ok(())
}

/// A journal that was left alone for so long is taken in although its writer can't be seen to
/// be dead: the writer would have published it by then. It stays, and what is added counts.
const QUIET: SignedDuration = SignedDuration::from_secs(600);

/// A journal without a row goes after so long: its writer may have made it this moment, and
/// would say with its first row that its lock proves nothing.
const EMPTY: SignedDuration = SignedDuration::from_secs(900);

/// Publishes the journals of dead writers as increments; returns how many. Their
/// locks are held meanwhile.
pub(crate) fn journals(
    store: &Store,
    now: Timestamp,
    lister: &mut Lister,
    skipped: &mut BTreeMap<String, Skipped>,
) -> Result<u64> {
    let folder = store.layout.incremental();
    let mut recovered = 0;
    for file in lister.files(store, now)?.journals {
        if file.lock == Lock::Held {
            continue;
        }
        match journal(store, &folder, &file, now) {
            Ok(Some(_)) => recovered += 1,
            Ok(None) => {}
            Err(error) => {
                skipped.insert(file.name.clone(), because(&file.name, error)?);
            }
        }
    }
    Ok(recovered)
}

/// Whether nobody will give a temporary file its name any more, which was left alone for so
/// many nanoseconds.
pub(crate) fn is_abandoned(store: &Store, path: &Path, age: i128) -> bool {
    match lock_of(&*store.disk, path) {
        Ok(Lock::Free) => true,
        Ok(Lock::Unknown | Lock::Unsupported) => age > DEAD_NS,
        Ok(Lock::Held) | Err(_) => false,
    }
}

/// Whether a consolidation takes a journal in, as far as a scan says.
pub(crate) fn is_due(store: &Store, file: &JournalFile, now: Timestamp) -> bool {
    let sealed = || {
        let path = store.layout.incremental().join(&file.name);
        let open = store.disk.open(&path);
        open.and_then(|open| journal::is_sealed(&*open, file.stat.bytes))
    };
    match file.lock {
        Lock::Held => false,
        Lock::Free => true,
        // Its writer may be somewhere from where its lock is not seen, and is about to publish
        // what it has sealed just now.
        Lock::Unknown | Lock::Unsupported => {
            let age = now.as_nanosecond() - file.stat.modified_ns;
            age > QUIET.as_nanos() || (age > FRESH.as_nanos() && sealed().unwrap_or(false))
        }
    }
}

/// Publishes what follows in one journal, unless its writer may live.
fn journal(
    store: &Store,
    folder: &Path,
    file: &JournalFile,
    now: Timestamp,
) -> Result<Option<Published>> {
    let path = folder.join(&file.name);
    let io = || Error::io("read", &path);
    let Some(_lock) = store.disk.try_share(&path).map_err(io())? else {
        return Ok(None);
    };
    // Its writer may have written and died since it was listed.
    let open = store.disk.open(&path).map_err(io())?;
    let stat = open.stat().map_err(io())?;
    let now_there = JournalFile {
        stat,
        ..file.clone()
    };
    if !is_due(store, &now_there, now) {
        return Ok(None);
    }
    if !journal::has_line(&*open, stat.bytes, file.from).map_err(io())? {
        // A writer that died before its first row was acknowledged.
        let age = now.as_nanosecond() - stat.modified_ns;
        let free = || lock_of(&*store.disk, &path).is_ok_and(|lock| lock == Lock::Free);
        let dead = file.lock == Lock::Free || age > DEAD_NS || (age > EMPTY.as_nanos() && free());
        if file.from == 0 && dead {
            store
                .disk
                .remove(folder, &[&file.name])
                .map_err(Error::io("clean up", folder))?;
        }
        return Ok(None);
    }
    let ended = file.lock == Lock::Free || journal::is_sealed(&*open, stat.bytes).map_err(io())?;
    increment::recover_journal(store, &file.name, file.from, ended)
}
