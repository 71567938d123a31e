//! Removes files that main contains: increments first, then their journals. The
//! caller holds the store's lock, and main's record is durable.
//!
//! Promises: our own files go when main names them; a file that legacy code may
//! rewrite goes after five seconds of quiet when nobody has it open for writing (where
//! the system can't tell: after a minute), by way of a name that readers still count; the journal of a writer that lives stays, because its lock shows that.

use std::io::ErrorKind;
use std::path::Path;

use jiff::Timestamp;

use crate::store::Store;
use crate::store::commit::CommitRecord;
use crate::store::commit::base::Base;
use crate::store::disk::{Entry, Stat};
use crate::store::error::{Error, Result};
use crate::store::layout::{IncrementalName, classify, retired_name, stem};
use crate::store::snapshot::Files;

/// A legacy file that was modified within this time may still be open for writing.
const QUIET_NS: i128 = 60 * 1_000_000_000;
/// The same where a lease shows that it is not: a writer that rewrites it again and again
/// might open it between the look and the renaming.
const BREATH_NS: i128 = 5 * 1_000_000_000;

/// Removes what may go. What can't be removed is told, and does no harm: main's
/// record names it.
pub(super) fn run(
    store: &Store,
    base: &Base,
    files: &Files,
    now: Timestamp,
) -> Result<Vec<String>> {
    let Some(record) = &base.record else {
        return Ok(Vec::new());
    };
    match remove(store, record, files, now) {
        Err(error @ Error::Io { .. }) => Ok(vec![format!("consumed files stay for now: {error}")]),
        other => other.map(|()| Vec::new()),
    }
}

fn remove(store: &Store, record: &CommitRecord, files: &Files, now: Timestamp) -> Result<()> {
    let folder = store.layout.incremental();
    let known = record.consumed_by_name();
    let of = |kind| {
        files
            .leftovers
            .iter()
            .filter(move |entry| classify(&entry.name) == kind)
    };
    let gone = |names: &[&str]| {
        if names.is_empty() {
            return Ok(());
        }
        store
            .disk
            .remove(&folder, names)
            .map_err(Error::io("clean up", &folder))
    };
    let increments: Vec<&str> = of(IncrementalName::Increment)
        .map(|entry| entry.name.as_str())
        .collect();
    gone(&increments)?;
    for entry in of(IncrementalName::LegacyIncrement) {
        if known.contains_key(retired_name(&entry.name).as_str())
            && is_free(store, &folder.join(&entry.name), entry, now)?
        {
            retire(store, entry)?;
        }
    }
    let mut journals = Vec::new();
    for entry in of(IncrementalName::Journal) {
        let consumed = stem(&entry.name).is_some_and(|stem| known.contains_key(stem));
        let path = folder.join(&entry.name);
        if consumed
            && !store
                .disk
                .is_locked(&path)
                .map_err(Error::io("read", &path))?
        {
            journals.push(entry.name.as_str());
        }
    }
    gone(&journals)
}

/// Whether nobody writes a file at this moment.
fn is_free(store: &Store, path: &Path, entry: &Entry, now: Timestamp) -> Result<bool> {
    let quiet = now.as_nanosecond() - entry.stat.modified_ns;
    match store.disk.is_open_for_writing(path) {
        Ok(Some(open)) => Ok(!open && quiet >= BREATH_NS),
        Ok(None) => Ok(quiet >= QUIET_NS),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Takes a consumed legacy file out of its writer's way, looks whether the writer
/// came in between, and only then removes it. What it added stays and counts.
fn retire(store: &Store, entry: &Entry) -> Result<()> {
    let folder = store.layout.incremental();
    let retired = retired_name(&entry.name);
    let path = folder.join(&retired);
    if retired != entry.name {
        match store.disk.publish(&folder.join(&entry.name), &path) {
            // An earlier one is not gone yet, or the writer removed its file.
            Err(error)
                if matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::NotFound) =>
            {
                return Ok(());
            }
            other => other.map_err(Error::io("rename", folder.join(&entry.name)))?,
        }
    }
    // Who had opened it by its old name goes on writing to it.
    if store
        .disk
        .is_open_for_writing(&path)
        .map_err(Error::io("read", &path))?
        == Some(true)
    {
        return Ok(());
    }
    let now = store.disk.stat(&path).map_err(Error::io("read", &path))?;
    let same =
        |a: &Stat, b: &Stat| (a.inode, a.bytes, a.modified_ns) == (b.inode, b.bytes, b.modified_ns);
    if same(&now, &entry.stat) {
        store
            .disk
            .remove(&folder, &[&retired])
            .map_err(Error::io("clean up", &folder))?;
    }
    Ok(())
}
