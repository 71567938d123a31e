//! Summary rows next to main: `summaries_<xxh3>.parquet`, one file, replaced as a whole.
//!
//! Promises: the file counts only when main's commit record names it, so that one
//! rename changes records and summary rows together; it is never changed in place, and
//! its name carries the hash of its bytes. Each row says in `summary_source` where it
//! came from; the rows of one source are replaced together.

use std::collections::HashSet;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;

use super::base::Base;
use super::fence::Fence;
use super::{consolidate, pending_files};
use crate::stats::{Cell, Tally};
use crate::store::aggregate::cell_key;
use crate::store::aggregate::summary::{Meanings, Summaries};
use crate::store::disk::lock::StoreLock;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record;
use crate::store::format::layout::{MAIN, bare_name, unretired_name};
use crate::store::format::row_kind::split;
use crate::store::parquet::{OpenError, ParquetFile};
use crate::store::{Control, Store};
use compose::{Old, Part};

mod compose;
mod moved;
mod unneeded;

pub(crate) use moved::Moved;
pub(crate) use unneeded::unneeded;

/// What replacing did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Whether a commit was made; not where the rows were there already.
    pub changed: bool,
    /// Rows that the source has now.
    pub rows: u64,
    /// Rows that it had.
    pub rows_before: u64,
    /// Summary rows of all sources.
    pub rows_total: u64,
    /// Number of the last commit.
    pub generation: u64,
    /// The backup of the previous main.
    pub backup: Option<String>,
    /// What people should know.
    pub notes: Vec<String>,
}

/// Makes these the summary rows of a source, in one commit: the rows that it had go,
/// those of other sources and all records stay. The same rows again change nothing.
///
/// `rows` are batches of `schema`: the five dimensions, and counts (`total`, `success`
/// or `successful`, …). They are read once, and not all of them are held at a time. A
/// store without a main gets one without rows; a main that holds summary rows itself is
/// refused.
pub fn replace(
    store: &Store,
    source: &str,
    schema: &SchemaRef,
    rows: impl IntoIterator<Item = Result<RecordBatch>>,
    now: Timestamp,
    control: &Control,
) -> Result<Outcome> {
    store.create()?;
    let _lock = StoreLock::take(store, "import", control)?;
    let first = Base::open(store, false)?;
    if pending_files::main_blocks(first.main.as_ref(), first.record.as_ref())? {
        return Err(Error::Refused(format!(
            "{} holds summary rows itself: stop what writes them and move them out first \
             (evaltop consolidate --convert-main)",
            store.layout.main().display()
        )));
    }
    consolidate::prepare(store, now, control)?;
    let fence = Fence::ahead(store, control)?;
    let base = Base::open(store, false)?;
    let named = base
        .record
        .as_ref()
        .map_or(&[][..], |record| &record.summaries);
    let files = open(store, named)?;
    let (losers, others) = sides(&files, source, control)?;
    let (mut count, mut shared) = (0, 0);
    let checked = rows.into_iter().map(|batch| {
        let batch = batch?;
        let mut new = Summaries::default();
        match split(&batch)? {
            parts if parts.records.is_none() && parts.summaries.is_some() => new.push(&batch)?,
            _ if batch.num_rows() == 0 => {}
            _ => {
                return Err(Error::Refused(format!(
                    "{source}: some rows are not summary rows (they have no counts)"
                )));
            }
        }
        count += new.rows();
        shared += new
            .sources()
            .filter(|(cell, _)| others.contains(&cell_key(cell)))
            .count();
        Ok(batch)
    });
    let part = Part {
        source: source.to_owned(),
        schema: schema.clone(),
        rows: Box::new(checked),
    };
    let place = Old {
        files: &files,
        losers: &losers,
        at: losers.first().copied(),
    };
    let written = compose::write(store, &place, vec![part], control)?;
    let mut outcome = Outcome {
        rows: count,
        rows_before: losers.len() as u64,
        rows_total: written.iter().map(|file| file.rows).sum(),
        generation: base.generation,
        ..Outcome::default()
    };
    if shared > 0 {
        outcome.notes.push(format!(
            "{shared} of the rows are of cells that another source has too: where both stand for the same tests, \
             these count twice"
        ));
    }
    if written == named {
        return Ok(outcome);
    }
    let done = consolidate::with_summaries(store, &base, fence, &written, now, control)?;
    outcome.changed = true;
    outcome.generation = done.generation;
    outcome.backup = done.backup;
    outcome.notes.extend(done.notes);
    Ok(outcome)
}

/// Opens the files that a record names.
pub(crate) fn open(store: &Store, named: &[commit_record::Summaries]) -> Result<Vec<ParquetFile>> {
    let open = |file: &commit_record::Summaries| {
        let path = store.layout.root().join(&file.name);
        ParquetFile::open(&*store.disk, &path).map_err(|error| match error {
            OpenError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Error::unreadable(path, format!("{MAIN} counts its rows, and it is missing"))
            }
            error => error.at(path),
        })
    };
    named.iter().map(open).collect()
}

/// All rows of some files.
pub(crate) fn read(files: &[ParquetFile], control: &Control) -> Result<Summaries> {
    let mut all = Summaries::default();
    for file in files {
        for batch in file.batches(None, 0)? {
            control.check()?;
            all.push(&batch?)?;
        }
    }
    Ok(all)
}

/// Positions of the rows of a source, and [`cell_key`]s of the others.
fn sides(
    files: &[ParquetFile],
    source: &str,
    control: &Control,
) -> Result<(Vec<u64>, HashSet<u128>)> {
    let (mut own, mut others, mut position) = (Vec::new(), HashSet::new(), 0);
    for file in files {
        for batch in file.batches(None, 0)? {
            control.check()?;
            let mut rows = Summaries::default();
            rows.push(&batch?)?;
            for (cell, of) in rows.sources() {
                if of == Some(source) {
                    own.push(position);
                } else {
                    others.insert(cell_key(cell));
                }
                position += 1;
            }
        }
    }
    Ok((own, others))
}

/// Tells the tests that each row of some files stands for; no more than a batch of them
/// is held at a time.
pub(crate) fn each(
    store: &Store,
    named: &[commit_record::Summaries],
    mut tell: impl FnMut(Cell, Tally),
) -> Result<()> {
    let files = open(store, named)?;
    let mut meanings = Meanings::default();
    for file in &files {
        for batch in file.batches(None, 0)? {
            meanings.push(&batch?)?;
        }
    }
    for file in &files {
        for batch in file.batches(None, 0)? {
            meanings.each(&batch?, &mut tell)?;
        }
    }
    Ok(())
}

/// The source of the rows that a file of the store held: its first name.
pub(crate) fn source_of(name: &str) -> String {
    unretired_name(bare_name(name))
}

/// Whether a source is a file of the store rather than an import.
pub(crate) fn is_of_store(source: &str) -> bool {
    source == MAIN || source.starts_with("increment_")
}

#[cfg(test)]
mod tests;
