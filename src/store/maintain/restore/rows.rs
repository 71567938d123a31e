//! The rows of a restore: those of the backup, to be found again, and those of the current main
//! that the backup lacks.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;
use jiff::tz::TimeZone;

use super::Restore;
use crate::store::commit::merge::{Keys, complete, filtered, records};
use crate::store::error::Result;
use crate::store::parquet::{Batches, ParquetFile};
use crate::store::resolve::Rank;

/// The rows of the backup, as far as needed to find them again.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// How many.
    pub(crate) rows: u64,
    keys: HashMap<u128, Rank>,
}

/// What was found about the rows that the store has now.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Rows that the backup lacks.
    pub(crate) newer: u64,
    /// Of those, newer attempts at tests that it has.
    pub(crate) attempts: u64,
    /// Attempts at tests of which the backup has a newer one.
    pub(crate) older: u64,
    /// Attempts at tests of which the store has a newer one now.
    pub(crate) superseded: u64,
    /// Rows identical to another one that the store has now.
    pub(crate) repeated: u64,
    /// Keys of the backup's rows that lose against newer attempts which are kept.
    pub(crate) beaten: HashSet<u128>,
}

/// A test of which the store has several attempts now.
struct Several {
    best: Rank,
    /// Hashes of those that came.
    seen: HashSet<u128>,
}

/// The tests of which a main that other code wrote has several attempts, which nobody resolved.
fn several(restore: &Restore<'_>) -> Result<HashMap<u128, Several>> {
    let mut all: HashMap<u128, (Rank, bool)> = HashMap::new();
    if !restore.base.foreign {
        return Ok(HashMap::new());
    }
    for file in files(restore) {
        for batch in file.batches(None, 0)? {
            restore.control.check()?;
            let batch = records(&batch?, &restore.schema, &restore.zone)?;
            let mut keys = Keys::of(&batch, &restore.zone)?;
            for row in 0..batch.num_rows() {
                let Some(key) = keys.key(row) else { continue };
                let rank = keys.rank(&batch, row)?;
                let again = |(best, several): &mut (Rank, bool)| {
                    (*best, *several) = (rank.max(*best), true);
                };
                all.entry(key).and_modify(again).or_insert((rank, false));
            }
        }
    }
    let several = all.into_iter().filter(|(_, (_, several))| *several);
    Ok(several
        .map(|(key, (best, _))| {
            (
                key,
                Several {
                    best,
                    seen: HashSet::new(),
                },
            )
        })
        .collect())
}

/// Where the rows are that the store has now.
fn files<'a>(restore: &'a Restore<'_>) -> Vec<&'a ParquetFile> {
    restore.base.main.iter().collect()
}

impl Held {
    /// Key and rank of each row that has a key.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = (u128, Rank)> + '_ {
        self.keys.iter().map(|(key, rank)| (*key, *rank))
    }

    /// The rank of the row with a key.
    pub(crate) fn rank(&self, key: u128) -> Option<&Rank> {
        self.keys.get(&key)
    }

    pub(crate) fn add(&mut self, batch: &RecordBatch, zone: &TimeZone) -> Result<()> {
        let mut keys = Keys::of(batch, zone)?;
        self.rows += batch.num_rows() as u64;
        for row in 0..batch.num_rows() {
            let rank = keys.rank(batch, row)?;
            if let Some(key) = keys.key(row) {
                self.keys.insert(key, rank);
            }
        }
        Ok(())
    }
}

/// The rows that the store has now and the backup lacks, batch by batch.
pub(crate) struct Newer<'a> {
    restore: &'a Restore<'a>,
    held: Held,
    several: HashMap<u128, Several>,
    left: std::vec::IntoIter<&'a ParquetFile>,
    current: Option<(&'a ParquetFile, Batches, u64)>,
    pub(crate) found: Found,
}

impl<'a> Newer<'a> {
    pub(crate) fn new(restore: &'a Restore<'a>, held: Held) -> Result<Self> {
        let (several, left) = (several(restore)?, files(restore).into_iter());
        Ok(Self {
            restore,
            held,
            several,
            left,
            current: None,
            found: Found::default(),
        })
    }

    /// Reads all of them; says what was found.
    pub(crate) fn count(restore: &'a Restore<'a>, held: Held) -> Result<(Held, Found)> {
        let mut newer = Self::new(restore, held)?;
        for batch in &mut newer {
            batch?;
        }
        Ok((newer.held, newer.found))
    }

    /// For each row whether the backup lacks it, or has an older attempt at the same test. Of several
    /// attempts the newest alone is asked for.
    fn lacks(&mut self, batch: &RecordBatch) -> Result<Vec<bool>> {
        let Self {
            held,
            several,
            found,
            restore,
            ..
        } = self;
        let mut keys = Keys::of(batch, &restore.zone)?;
        let mut lacks = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let rank = keys.rank(batch, row)?;
            let key = keys.key(row);
            if key.is_some_and(|key| restore.removed.removes(key, &rank)) {
                lacks.push(false);
                continue;
            }
            if let Some(Several { best, seen }) = key.and_then(|key| several.get_mut(&key)) {
                let first = seen.insert(rank.hash);
                if !first || rank != *best {
                    *(if first {
                        &mut found.superseded
                    } else {
                        &mut found.repeated
                    }) += 1;
                    lacks.push(false);
                    continue;
                }
            }
            let lacking = match key.and_then(|key| held.keys.get(&key)) {
                None => true,
                Some(held) if held.hash == rank.hash => false,
                Some(held) if restore.keep && rank > *held => {
                    found.attempts += 1;
                    if !restore.waits() {
                        found.beaten.extend(key);
                    }
                    true
                }
                Some(_) => {
                    found.older += 1;
                    false
                }
            };
            found.newer += u64::from(lacking);
            lacks.push(lacking);
        }
        Ok(lacks)
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            self.restore.control.check()?;
            let Some((file, batches, read)) = &mut self.current else {
                let Some(file) = self.left.next() else {
                    return Ok(None);
                };
                self.current = Some((file, file.batches(None, 0)?, 0));
                continue;
            };
            let Some(batch) = batches.next() else {
                complete(file, *read)?;
                self.current = None;
                continue;
            };
            let batch = batch?;
            *read += batch.num_rows() as u64;
            self.restore
                .control
                .progress("looking for newer rows", *read, file.rows());
            let batch = records(&batch, &self.restore.schema, &self.restore.zone)?;
            let lacks = self.lacks(&batch)?;
            return filtered(&batch, lacks).map(Some);
        }
    }
}

impl Iterator for Newer<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}
