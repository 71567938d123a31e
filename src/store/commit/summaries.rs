//! Summary rows next to main: `summaries_<xxh3>.parquet`, one file, replaced as a whole.
//!
//! Promises: the file counts only when main's commit record names it, so that one
//! rename changes records and summary rows together; it is never changed in place, and
//! its name carries the hash of its bytes. Each row says in `summary_source` where it
//! came from; the rows of one source are replaced together.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

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

/// New summary rows of a source.
pub struct New<'a> {
    /// The source.
    pub source: &'a str,
    /// The five dimensions, and counts (`total`, `success` or `successful`, …).
    pub schema: &'a SchemaRef,
    /// Batches of that schema. They are read once, and not all of them are held at a time.
    pub rows: Box<dyn Iterator<Item = Result<RecordBatch>> + 'a>,
}

/// Makes these the summary rows of their sources, each source once, in one commit: the rows that a
/// source had go, those of other sources and all records stay. The same rows again change nothing.
///
/// A store without a main gets one without rows; a main that holds summary rows itself is refused.
/// What became of each source, in order.
pub fn replace(
    store: &Store,
    sources: Vec<New<'_>>,
    now: Timestamp,
    control: &Control,
) -> Result<Vec<Outcome>> {
    if sources.is_empty() {
        return Ok(Vec::new());
    }
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
    let names: Vec<&str> = sources.iter().map(|new| new.source).collect();
    let sides = Sides::of(&files, &names, control)?;
    let (mut first, mut before) = (vec![None; names.len()], vec![0; names.len()]);
    for (position, number) in &sides.losers {
        if let (Some(first), Some(before)) = (first.get_mut(*number), before.get_mut(*number)) {
            first.get_or_insert(*position);
            *before += 1;
        }
    }
    let seen: Vec<RefCell<Vec<u128>>> = names.iter().map(|_| RefCell::default()).collect();
    let parts = sources.into_iter().zip(&seen).enumerate();
    let parts = parts.map(|(at, (new, seen))| Part {
        source: new.source.to_owned(),
        schema: new.schema.clone(),
        rows: Box::new(
            new.rows
                .map(|batch| checked(batch?, new.source, &mut seen.borrow_mut())),
        ),
        at: first.get(at).copied().flatten(),
    });
    let parts = parts.collect();
    let place = Old {
        files: &files,
        losers: &sides.losers,
    };
    let written = compose::write(store, &place, parts, control)?;
    let rows_total = written.files.iter().map(|file| file.rows).sum();
    let changed = written.files != named;
    let mut outcomes: Vec<Outcome> = Vec::new();
    // As if they were taken in one after another.
    let mut earlier: HashSet<u128> = HashSet::new();
    for (at, cells) in seen.iter().map(RefCell::borrow).enumerate() {
        let is_other = |cell: &&u128| {
            let later = |of: &Vec<usize>| of.iter().any(|other| *other > at);
            earlier.contains(*cell) || sides.cells.get(*cell).is_some_and(later)
        };
        let shared = cells.iter().filter(is_other).count();
        let mut notes = Vec::new();
        if shared > 0 {
            notes.push(format!(
                "{shared} of the rows are of cells that another source has too: where both stand for the same tests, \
                 these count twice"
            ));
        }
        if at + 1 < seen.len() {
            earlier.extend(&*cells);
        }
        outcomes.push(Outcome {
            changed: changed && written.differs.get(at).is_none_or(|differs| *differs),
            rows: cells.len() as u64,
            rows_before: before.get(at).copied().unwrap_or(0),
            rows_total,
            generation: base.generation,
            notes,
            ..Outcome::default()
        });
    }
    if changed {
        let done = consolidate::with_summaries(store, &base, fence, &written.files, now, control)?;
        for outcome in &mut outcomes {
            outcome.generation = done.generation;
            outcome.backup.clone_from(&done.backup);
        }
        // They are said once.
        if let Some(last) = outcomes.last_mut() {
            last.notes.extend(done.notes);
        }
    }
    Ok(outcomes)
}

/// The same of one source.
#[cfg(test)]
pub(crate) fn replace_one(
    store: &Store,
    source: &str,
    batch: &RecordBatch,
    now: Timestamp,
) -> Result<Outcome> {
    let new = New {
        source,
        schema: &batch.schema(),
        rows: Box::new(std::iter::once(Ok(batch.clone()))),
    };
    let mut outcomes = replace(store, vec![new], now, &Control::default())?;
    Ok(outcomes.pop().unwrap_or_default())
}

/// A batch of nothing but summary rows; their cells are added to `cells`.
fn checked(batch: RecordBatch, source: &str, cells: &mut Vec<u128>) -> Result<RecordBatch> {
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
    cells.extend(new.sources().map(|(cell, _)| cell_key(cell)));
    Ok(batch)
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

/// The rows of some files, by whether their sources are replaced.
struct Sides {
    /// Positions of the rows that are, ascending, and the number of their source.
    losers: Vec<(u64, usize)>,
    /// By cell, the numbers of the sources that have it; those that stay have the last number
    /// together.
    cells: HashMap<u128, Vec<usize>>,
}

impl Sides {
    fn of(files: &[ParquetFile], sources: &[&str], control: &Control) -> Result<Self> {
        let numbers: HashMap<&str, usize> = sources.iter().copied().zip(0..).collect();
        let (mut losers, mut position) = (Vec::new(), 0);
        let mut cells: HashMap<u128, Vec<usize>> = HashMap::new();
        for file in files {
            for batch in file.batches(None, 0)? {
                control.check()?;
                let mut rows = Summaries::default();
                rows.push(&batch?)?;
                for (cell, of) in rows.sources() {
                    let number = of.and_then(|of| numbers.get(of)).copied();
                    if let Some(number) = number {
                        losers.push((position, number));
                    }
                    let number = number.unwrap_or(usize::MAX);
                    let of = cells.entry(cell_key(cell)).or_default();
                    if !of.contains(&number) {
                        of.push(number);
                    }
                    position += 1;
                }
            }
        }
        Ok(Self { losers, cells })
    }
}

/// Says the tests that each row of some files stands for; no more than a batch of them
/// is held at a time.
pub(crate) fn each(
    store: &Store,
    named: &[commit_record::Summaries],
    mut each: impl FnMut(Cell, Tally),
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
            meanings.each(&batch?, &mut each)?;
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
