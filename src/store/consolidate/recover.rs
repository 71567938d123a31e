//! What a crashed predecessor left is finished or removed, before anything new
//! begins. The caller holds the store's lock.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::Skipped;
use super::inputs::because;
use super::merge::{Keys, records};
use crate::store::Store;
use crate::store::commit::base::Base;
use crate::store::commit::{CommitRecord, log};
use crate::store::error::{Error, Result};
use crate::store::layout::{self, MAIN};
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::Union;
use crate::store::{backup, increment, snapshot};

/// A temporary file younger than this may belong to a process that has not locked it yet.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// Finishes what can be finished, removes what cannot.
pub(in crate::store) fn finish(store: &Store, now: Timestamp) -> Result<()> {
    let root = store.layout.root();
    // A rename that a crashed process did not live to sync must be durable before
    // anything that relies on it is unlinked.
    store.disk.sync_folder(root).map_err(Error::io("sync", root))?;
    pending(store)?;
    temporaries(store, now)?;
    backup::unlink_own(store)
}

/// Decides announced commits that nobody confirmed.
fn pending(store: &Store) -> Result<()> {
    for copy in log::list(store)?.iter().filter(|copy| !copy.done) {
        // A main that can't be read decides nothing; what is announced can wait.
        let Ok(base) = Base::open(store, true) else { continue };
        // Torn: it was never synced, so the rename never came.
        let Ok(announced) = log::read(store, copy) else {
            log::forget(store, std::iter::once(copy))?;
            continue;
        };
        let happened = match (&base.main, &base.record) {
            (None, _) => false,
            (Some(main), _) if base.foreign => contains(store, main, &announced)?,
            (_, record) => record.as_ref().is_some_and(|own| own.commit_id == announced.commit_id),
        };
        if happened {
            log::confirm(store, &announced)?;
        } else {
            log::forget(store, std::iter::once(copy))?;
        }
    }
    Ok(())
}

/// Whether a main that other code has rewritten since contains an announced commit:
/// all rows of its files that are still there. "No" is the safe answer where nothing
/// can be compared: rows with an id find each other again.
fn contains(store: &Store, main: &ParquetFile, announced: &CommitRecord) -> Result<bool> {
    let base = Base::open(store, true)?;
    let zone = base.zone(store);
    let mut union = Union::new();
    let mut files = Vec::new();
    if union.add(MAIN, main.schema()).is_err() {
        return Ok(false);
    }
    for entry in announced.consumed.iter().filter(|entry| entry.at == announced.created) {
        let Ok(file) = ParquetFile::open(&*store.disk, &store.layout.incremental().join(&entry.name)) else {
            continue;
        };
        if union.add(&entry.name, file.schema()).is_err() {
            return Ok(false);
        }
        files.push((file, entry.rows));
    }
    let schema = union.finish();
    let (mut keys, mut hashes) = (HashSet::new(), HashMap::<u64, u64>::new());
    let mut compared = 0_u64;
    for (file, rows) in &files {
        let mut left = *rows;
        for batch in file.batches(None, 0)? {
            let batch = records(&batch?, &schema, &zone)?;
            let mut of = Keys::of(&batch)?;
            for row in 0..batch.num_rows().min(usize::try_from(left).unwrap_or(usize::MAX)) {
                compared += 1;
                match of.key(row) {
                    Some(key) => drop(keys.insert(key)),
                    None => *hashes.entry(of.rank(&batch, row)?.1).or_default() += 1,
                }
            }
            left = left.saturating_sub(batch.num_rows() as u64);
        }
    }
    if compared == 0 {
        return Ok(false);
    }
    for batch in main.batches(None, 0)? {
        let batch = records(&batch?, &schema, &zone)?;
        let mut of = Keys::of(&batch)?;
        for row in 0..batch.num_rows() {
            match of.key(row) {
                Some(key) => drop(keys.remove(&key)),
                None if hashes.is_empty() => {}
                None => {
                    let hash = of.rank(&batch, row)?.1;
                    if let Some(count) = hashes.get_mut(&hash) {
                        *count -= 1;
                        if *count == 0 {
                            hashes.remove(&hash);
                        }
                    }
                }
            }
        }
    }
    Ok(keys.is_empty() && hashes.is_empty())
}

/// Removes temporary files of processes that ended. In the store's own folder and in
/// `backups/` only holders of the lock make them, and we hold it.
fn temporaries(store: &Store, now: Timestamp) -> Result<()> {
    let ours = [store.layout.root().to_path_buf(), store.layout.backups()];
    for (folder, shared) in
        ours.into_iter().map(|folder| (folder, false)).chain([(store.layout.incremental(), true)])
    {
        let entries = match store.disk.list(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(Error::io("read", &folder))?,
        };
        let stale = |entry: &&crate::store::disk::Entry| {
            let age = now.as_nanosecond() - entry.stat.modified_ns;
            let free = || !store.disk.is_locked(&folder.join(&entry.name)).unwrap_or(true);
            let is_file = entry.stat.is_file;
            is_file && layout::is_temporary(&entry.name) && (!shared || (age > FRESH.as_nanos() && free()))
        };
        let names: Vec<&str> = entries.iter().filter(stale).map(|entry| entry.name.as_str()).collect();
        if !names.is_empty() {
            store.disk.remove(&folder, &names).map_err(Error::io("clean up", &folder))?;
        }
    }
    Ok(())
}

/// Publishes the journals of dead writers as increments; returns how many. Their
/// locks are held meanwhile.
pub(super) fn journals(
    store: &Store,
    now: Timestamp,
    skipped: &mut BTreeMap<String, Skipped>,
) -> Result<u64> {
    let folder = store.layout.incremental();
    let mut recovered = 0;
    for file in snapshot::files(store, now)?.journals {
        let path = folder.join(&file.name);
        if file.locked {
            continue;
        }
        let _lock = match store.disk.try_lock(&path).map_err(Error::io("read", &path)) {
            Ok(Some(lock)) => lock,
            Ok(None) => continue,
            Err(error) => {
                skipped.insert(file.name.clone(), because(&file.name, error)?);
                continue;
            }
        };
        if file.stat.bytes == 0 {
            store.disk.remove(&folder, &[&file.name]).map_err(Error::io("clean up", &folder))?;
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
