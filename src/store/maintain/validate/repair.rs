//! The safe repairs.

use std::io::{ErrorKind, Write};

use jiff::Timestamp;

use super::{Repair, Report};
use crate::store::commit::consolidate::rebuild_derived;
use crate::store::disk::{self, Lock, Stat};
use crate::store::format::layout::bare_name;
use crate::store::legacy::transactions;
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot;
use crate::store::write::increment::recover_journal;
use crate::store::{Control, Error, Result, Store};

/// Does the repairs that a report proposes; says for each what was done. One that is
/// cancelled or fails when others were done says so.
pub fn repair(
    store: &Store,
    report: &Report,
    now: Timestamp,
    control: &Control,
) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let mut rebuilt = false;
    let repairs: Vec<&Repair> = report
        .findings
        .iter()
        .filter_map(|finding| finding.repair.as_ref())
        .collect();
    for (at, repair) in repairs.iter().enumerate() {
        control.progress("mending", at as u64, repairs.len() as u64);
        let mended = control.check().and_then(|()| match repair {
            Repair::RebuildDerived if rebuilt => Ok(None),
            Repair::RebuildDerived => {
                rebuild_derived(store, now, control)?;
                rebuilt = true;
                Ok(Some(
                    "rebuilt model_stats.parquet and metadata.json".to_owned(),
                ))
            }
            Repair::RecoverJournal(name) => recover(store, name, now),
            Repair::RecoverTransaction(name) => Ok(transactions::recover(
                store, name, now, control,
            )?
            .map(|(rows, increment)| format!("published {name} as {increment} ({rows} rows)"))),
            Repair::Quarantine { name, reason } => quarantine(store, name, reason),
        });
        match mended {
            Ok(mended) => done.extend(mended),
            Err(error) if done.is_empty() => return Err(error),
            Err(Error::Cancelled) => break,
            Err(source) => {
                let done = format!("{}; what else is wrong is as before", done.join(", "));
                return Err(Error::Partly {
                    done,
                    source: Box::new(source),
                });
            }
        }
    }
    Ok(done)
}

/// Publishes a journal, unless its writer lives after all or somebody was faster.
fn recover(store: &Store, name: &str, now: Timestamp) -> Result<Option<String>> {
    let path = store.layout.incremental().join(name);
    let files = snapshot::files(store, now)?;
    let Some(file) = files.journals.iter().find(|file| file.name == name) else {
        return Ok(None);
    };
    if file.lock != Lock::Free {
        return Ok(None);
    }
    let Some(_lock) = store
        .disk
        .try_share(&path)
        .map_err(Error::io("lock", &path))?
    else {
        return Ok(None);
    };
    let published = recover_journal(store, &file.name, file.from, true)?;
    Ok(published.map(|published| {
        format!(
            "published {name} as {} ({} rows)",
            published.name, published.rows
        )
    }))
}

/// Moves a file away, unless it can be read by now or somebody writes it.
fn quarantine(store: &Store, name: &str, reason: &str) -> Result<Option<String>> {
    let from = store.layout.incremental().join(name);
    let folder = store.layout.quarantine();
    let Ok(before) = store.disk.stat(&from) else {
        return Ok(None);
    };
    let is_written = store
        .disk
        .is_open_for_writing(&from)
        .is_ok_and(|open| open == Some(true));
    if is_written || is_whole(store, name) {
        return Ok(None);
    }
    store.create_part(&folder)?;
    let mut kept = bare_name(name).to_owned();
    let mut number = 1;
    // The second name first: a file is never without one.
    while let Err(error) = disk::second(&*store.disk, &from, &folder.join(&kept)) {
        if error.kind() != ErrorKind::AlreadyExists {
            return Err(Error::io("move to quarantine", from)(error));
        }
        kept = format!("{}.{number}", bare_name(name));
        number += 1;
    }
    let note = folder.join(format!("{kept}.reason.txt"));
    let text = format!("{name} was moved out of incremental/ because it can't be read: {reason}\n");
    let written = store.disk.create(&note).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync()
    });
    written
        .and_then(|()| store.disk.sync_folder(&folder))
        .map_err(Error::io("write", &note))?;
    // Whoever put another file there meanwhile, or wrote on into one that was copied, keeps it.
    let same = |now: Stat| {
        let linked = store.disk.stat(&folder.join(&kept));
        let linked = linked.is_ok_and(|kept| kept.inode == now.inode);
        now.inode == before.inode
            && (linked || (now.bytes, now.modified_ns) == (before.bytes, before.modified_ns))
    };
    if store.disk.stat(&from).is_ok_and(same) {
        store
            .disk
            .remove(&store.layout.incremental(), &[name])
            .map_err(Error::io("remove", &from))?;
    }
    Ok(Some(format!("moved {name} to quarantine/{kept}")))
}

/// Whether every page of a file can be read.
fn is_whole(store: &Store, name: &str) -> bool {
    let path = store.layout.incremental().join(name);
    let Ok(file) = ParquetFile::open(&*store.disk, &path) else {
        return false;
    };
    file.batches(None, 0)
        .is_ok_and(|mut batches| batches.all(|batch| batch.is_ok()))
}
