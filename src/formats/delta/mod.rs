//! A store as a Delta table, for engines that outgrow one machine: immutable Parquet parts in which
//! each test counts once, a log that says which parts belong to the table, and a manifest for
//! readers without the log.
//!
//! A later export writes only what changed: parts whose rows are all as they were keep their names,
//! the others are removed from the log and what is left of them is written again, in one commit. A
//! part's rows are known by its key file, so a table costs its keys to read and not its rows. Files
//! that are in the log without a key file (another program's `optimize` made them) are replaced.
//!
//! Parts that the log no longer names stay until a vacuum: a pattern over the folder counts twice.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::store::aggregate::Columns;
use crate::store::read::query::{self, Filter, Selection};
use crate::store::{Control, Error, Result, Store, row_hashes};

mod checkpoint;
mod log;
mod parts;
mod place;
mod schema;

use log::{Action, Log};
use parts::{Keys, Part};
pub use place::{Folder, Place};
use schema::Shape;

/// What is not of the table itself: engines pass over names that begin so.
const OWN: &str = "_evaltop";
/// Rows of a part.
const ROWS: usize = 250_000;
/// Bytes of a part: a bucket takes each in one request, from memory.
const BYTES: usize = 128 << 20;
/// Of parts with fewer rows than that, so many are left alone; then they become one.
const SMALL: usize = ROWS / 4;
const FEW: usize = 16;

/// What an export did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// The version of the table now.
    pub version: u64,
    /// Rows of the table.
    pub rows: u64,
    /// Rows that were written now.
    pub written: u64,
    /// Parts of the table, those that were written now, and those that went out of it.
    pub parts: usize,
    /// Parts that were added.
    pub added: usize,
    /// Files that are no longer part of the table.
    pub removed: usize,
    /// Columns that have another name or type in the table, a sentence each.
    pub notes: Vec<String>,
}

/// Brings the table at a place up to date, and makes it where there is none.
///
/// # Errors
/// Another program wrote the same version at the same time; the log does not reach back to its
/// beginning.
pub fn export(
    store: &Store,
    filter: &Filter,
    place: &dyn Place,
    now: Timestamp,
    control: &Control,
) -> Result<Exported> {
    let mut log = Log::read(place)?;
    let shape = Shape::new(&rows(store, filter, control)?.schema().clone());
    let now_there = key_hashes(store, filter, control)?;
    // Where a column has another type now, nothing of before can stay.
    let kept_shape = log
        .schema
        .as_ref()
        .is_none_or(|before| shape.extends(before));
    let (kept, gone) = sort_out(place, &log, &now_there, kept_shape, control)?;
    let covered: HashSet<u128> = kept.iter().flat_map(|part| part.keys.iter()).collect();
    let mut done = Exported {
        notes: shape.notes.clone(),
        removed: gone.len(),
        ..Exported::default()
    };
    let mut new = write_parts(store, filter, place, &shape, &covered, control)?;
    done.added = new.len();
    done.written = new.iter().map(|part| part.rows).sum();
    let changed = log.version.is_none() || done.added + done.removed > 0 || !log.has(&shape);
    if changed {
        let mut actions: Vec<Action> = gone
            .into_iter()
            .map(|(path, size)| Action::Remove { path, size })
            .collect();
        actions.extend(new.iter().map(|part| Action::Add {
            path: part.name.clone(),
            bytes: part.bytes,
            rows: part.rows,
        }));
        log.commit(place, &shape, &actions, now, control)?;
    }
    new.extend(kept);
    new.sort_by(|a, b| a.name.cmp(&b.name));
    done.version = log.version.unwrap_or_default();
    done.rows = new.iter().map(|part| part.rows).sum();
    done.parts = new.len();
    // The version is there: from here on nothing is cancelled.
    manifest(place, &done, &new, &Control::default())?;
    Ok(done)
}

/// A table between the files of a store, or of a mailbox, would be read as theirs.
pub fn belongs_to_a_store(name: &str) -> Error {
    Error::Refused(format!(
        "{name} belongs to a store: name a place of its own for the table"
    ))
}

fn rows(store: &Store, filter: &Filter, control: &Control) -> Result<query::Rows> {
    let selection = Selection {
        filter: filter.clone(),
        ..Selection::default()
    };
    query::rows(store, &selection, control)
}

/// The keys of a batch's rows, each with the hash of its row.
fn hashed(batch: &RecordBatch, store: &Store) -> Result<Vec<Option<(u128, u128)>>> {
    let columns = Columns::new(batch)?;
    let hashes = row_hashes(batch, &store.zone)?;
    let row = |(row, hash): (usize, crate::store::RowHash)| Some((columns.key(row)?, hash.hash));
    Ok(hashes.into_iter().enumerate().map(row).collect())
}

fn key_hashes(store: &Store, filter: &Filter, control: &Control) -> Result<HashMap<u128, u128>> {
    let mut found = HashMap::new();
    for batch in rows(store, filter, control)? {
        control.check()?;
        found.extend(hashed(&batch?, store)?.into_iter().flatten());
    }
    Ok(found)
}

type Gone = Vec<(String, u64)>;

/// The table's parts that are as the store is, and the files that are not.
fn sort_out(
    place: &dyn Place,
    log: &Log,
    now_there: &HashMap<u128, u128>,
    kept_shape: bool,
    control: &Control,
) -> Result<(Vec<Part>, Gone)> {
    let (mut kept, mut gone) = (Vec::new(), Vec::new());
    let there: HashSet<String> = if log.files.is_empty() {
        HashSet::new()
    } else {
        place.list("")?.into_iter().collect()
    };
    for (path, size) in &log.files {
        control.check()?;
        let part = if kept_shape && there.contains(path) {
            Keys::read(place, path)?
        } else {
            None
        };
        let part = part.map(|keys| Part {
            name: path.clone(),
            bytes: *size,
            rows: keys.len() as u64,
            keys,
        });
        let whole = |part: &Part| {
            let same = |(key, hash): (u128, u128)| now_there.get(&key) == Some(&hash);
            part.keys.pairs().all(same)
        };
        match part {
            Some(part) if whole(&part) => kept.push(part),
            _ => gone.push((path.clone(), *size)),
        }
    }
    let small = |part: &Part| (part.rows as usize) < SMALL && part.bytes < BYTES as u64 / 4;
    if kept.iter().filter(|part| small(part)).count() > FEW {
        let (merged, rest): (Vec<Part>, Vec<Part>) = kept.into_iter().partition(small);
        gone.extend(merged.into_iter().map(|part| (part.name, part.bytes)));
        kept = rest;
    }
    Ok((kept, gone))
}

/// Writes the rows that no part covers.
fn write_parts(
    store: &Store,
    filter: &Filter,
    place: &dyn Place,
    shape: &Shape,
    covered: &HashSet<u128>,
    control: &Control,
) -> Result<Vec<Part>> {
    let mut written = Vec::new();
    let mut open: Option<parts::Writer> = None;
    for batch in rows(store, filter, control)? {
        control.check()?;
        let batch = batch?;
        let hashes = hashed(&batch, store)?;
        let fresh =
            |row: &Option<(u128, u128)>| row.is_some_and(|(key, _)| !covered.contains(&key));
        let keep: BooleanArray = hashes.iter().map(|row| Some(fresh(row))).collect();
        if keep.true_count() == 0 {
            continue;
        }
        let pairs: Vec<(u128, u128)> = hashes.into_iter().filter(fresh).flatten().collect();
        let rows = filter_record_batch(&batch, &keep)
            .map_err(|error| Error::Refused(format!("the rows can't be written: {error}")))?;
        let part = match &mut open {
            Some(part) => part,
            None => open.insert(parts::Writer::create(place, shape)?),
        };
        part.write(&shape.apply(&rows)?, &pairs)?;
        if (part.rows() >= ROWS || part.bytes() >= BYTES)
            && let Some(full) = open.take()
        {
            written.push(full.finish(place)?);
        }
    }
    if let Some(last) = open {
        written.push(last.finish(place)?);
    }
    Ok(written)
}

/// The names of the parts, for readers that don't read the log. One of a later version stays.
fn manifest(place: &dyn Place, done: &Exported, parts: &[Part], control: &Control) -> Result<()> {
    let parts: Vec<_> = parts
        .iter()
        .map(|part| json!({ "path": part.name, "rows": part.rows, "bytes": part.bytes }))
        .collect();
    let text = json!({
        "format": 1, "version": done.version, "rows": done.rows, "parts": parts,
    });
    let stays = |there: &[u8]| {
        let there: Option<Value> = serde_json::from_slice(there).ok();
        let there = there.and_then(|there| there.get("version")?.as_u64());
        there > Some(done.version)
    };
    let path = format!("{OWN}/manifest.json");
    place.replace(&path, format!("{text:#}\n").as_bytes(), &stays, control)
}

/// Whether a folder holds a table.
pub fn is_table(folder: &Path) -> bool {
    folder.join(log::FOLDER).is_dir()
}

#[cfg(test)]
mod tests;
