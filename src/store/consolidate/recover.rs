//! What a crashed predecessor left is finished or removed, before anything new
//! begins. The caller holds the store's lock.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::inputs::because;
use super::{Skipped, announced};
use crate::store::Store;
use crate::store::commit::base::Base;
use crate::store::commit::log;
use crate::store::error::{Error, Result};
use crate::store::layout;
use crate::store::snapshot::Lister;
use crate::store::{backup, increment};

/// A temporary file younger than this may belong to a process that has not locked it yet.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// Finishes what can be finished, removes what cannot.
pub(in crate::store) fn finish(store: &Store, now: Timestamp) -> Result<()> {
    let root = store.layout.root();
    // A rename that a crashed process did not live to sync must be durable before
    // anything that relies on it is unlinked.
    store
        .disk
        .sync_folder(root)
        .map_err(Error::io("sync", root))?;
    pending(store)?;
    temporaries(store, now)?;
    backup::unlink_own(store)
}

/// Decides announced commits that nobody confirmed.
fn pending(store: &Store) -> Result<()> {
    for copy in log::list(store)?.iter().filter(|copy| !copy.done) {
        // A main that can't be read decides nothing; what is announced can wait.
        let Ok(base) = Base::open(store, true) else {
            continue;
        };
        // Torn: it was never synced, so the rename never came.
        let Ok(announced) = log::read(store, copy) else {
            log::forget(store, std::iter::once(copy))?;
            continue;
        };
        // Other code that rewrites main may keep the record.
        let own = base
            .record
            .as_ref()
            .is_some_and(|own| own.commit_id == announced.commit_id);
        let happened = match &base.main {
            Some(main) if base.foreign && !own => {
                announced::happened(store, main, &announced)?.unwrap_or(false)
            }
            main => own && main.is_some(),
        };
        if happened {
            log::confirm(store, &announced)?;
        } else {
            log::forget(store, std::iter::once(copy))?;
        }
    }
    Ok(())
}

/// Removes temporary files of processes that ended. In the store's own folder and in
/// `backups/` only holders of the lock make them, and we hold it.
fn temporaries(store: &Store, now: Timestamp) -> Result<()> {
    let ours = [store.layout.root().to_path_buf(), store.layout.backups()];
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
            let free = || {
                !store
                    .disk
                    .is_locked(&folder.join(&entry.name))
                    .unwrap_or(true)
            };
            let is_file = entry.stat.is_file;
            is_file
                && layout::is_temporary(&entry.name)
                && (!shared || (age > FRESH.as_nanos() && free()))
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

/// Publishes the journals of dead writers as increments; returns how many. Their
/// locks are held meanwhile.
pub(super) fn journals(
    store: &Store,
    now: Timestamp,
    lister: &mut Lister,
    skipped: &mut BTreeMap<String, Skipped>,
) -> Result<u64> {
    let folder = store.layout.incremental();
    let mut recovered = 0;
    for file in lister.files(store, now)?.journals {
        let path = folder.join(&file.name);
        if file.locked {
            continue;
        }
        // Its writer may have written and died since it was listed.
        let locked = store
            .disk
            .try_lock(&path)
            .and_then(|lock| Ok(lock.zip(Some(store.disk.stat(&path)?))));
        let (_lock, stat) = match locked.map_err(Error::io("read", &path)) {
            Ok(Some(locked)) => locked,
            Ok(None) => continue,
            Err(error) => {
                skipped.insert(file.name.clone(), because(&file.name, error)?);
                continue;
            }
        };
        if stat.bytes == 0 {
            store
                .disk
                .remove(&folder, &[&file.name])
                .map_err(Error::io("clean up", &folder))?;
            continue;
        }
        match increment::publish_journal(store, &file.stem, None) {
            Ok(_) => recovered += 1,
            Err(error) if increment::already_published(&error) => {}
            Err(error) => {
                skipped.insert(file.name.clone(), because(&file.name, error)?);
            }
        }
    }
    Ok(recovered)
}
