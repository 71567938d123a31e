//! The rows of a restore: those of the backup, to be found again, and those of the
//! current main and of staged files that the backup lacks.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;

use super::Restore;
use crate::store::consolidate::choice::Rank;
use crate::store::consolidate::merge::{Keys, complete, filtered, records};
use crate::store::error::Result;
use crate::store::parquet_file::{Batches, ParquetFile};

/// The rows of the backup, as far as needed to find them again.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// How many.
    pub(super) rows: u64,
    keys: HashMap<u128, Rank>,
    /// Hashes of the rows without a key.
    hashes: HashMap<u64, u64>,
}

/// What was found about the rows that the store has now.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Rows that the backup lacks.
    pub(super) newer: u64,
    /// Of those, newer attempts at tests that it has.
    pub(super) attempts: u64,
    /// Of those, rows without a key.
    pub(super) keyless: u64,
    /// Attempts at tests of which the backup has a newer one.
    pub(super) older: u64,
    /// Attempts at tests of which the store has a newer one now.
    pub(super) superseded: u64,
    /// Rows identical to another one that the store has now.
    pub(super) repeated: u64,
}

/// A test of which the store has several attempts now.
struct Several {
    best: Rank,
    /// Hashes of those that came.
    seen: HashSet<u64>,
}

/// The tests of which the store has several attempts now, which nobody resolved: in a main that
/// other code wrote, and between main and what waits after an undo.
fn several(restore: &Restore<'_>) -> Result<HashMap<u128, Several>> {
    let mut all: HashMap<u128, (Rank, bool)> = HashMap::new();
    if !restore.base.foreign && restore.staged.is_empty() {
        return Ok(HashMap::new());
    }
    for file in files(restore) {
        for batch in file.batches(None, 0)? {
            restore.control.check()?;
            let batch = records(&batch?, &restore.schema, &restore.zone)?;
            let mut keys = Keys::of(&batch)?;
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
    restore
        .base
        .main
        .iter()
        .chain(restore.staged.iter().map(|(_, file)| file))
        .collect()
}

impl Held {
    pub(super) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut keys = Keys::of(batch)?;
        self.rows += batch.num_rows() as u64;
        for row in 0..batch.num_rows() {
            let rank = keys.rank(batch, row)?;
            match keys.key(row) {
                Some(key) => drop(self.keys.insert(key, rank)),
                None => *self.hashes.entry(rank.1).or_default() += 1,
            }
        }
        Ok(())
    }
}

/// The rows that the store has now and the backup lacks, batch by batch.
pub(super) struct Newer<'a> {
    restore: &'a Restore<'a>,
    held: Held,
    several: HashMap<u128, Several>,
    left: std::vec::IntoIter<&'a ParquetFile>,
    current: Option<(&'a ParquetFile, Batches, u64)>,
    pub(super) found: Found,
}

impl<'a> Newer<'a> {
    pub(super) fn new(restore: &'a Restore<'a>, held: Held) -> Result<Self> {
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

    /// For each row whether the backup lacks it; in an undo, also where it has an older attempt
    /// at the same test. Of several attempts the newest alone is asked for.
    fn lacks(&mut self, batch: &RecordBatch) -> Result<Vec<bool>> {
        let Self {
            held,
            several,
            found,
            restore,
            ..
        } = self;
        let mut keys = Keys::of(batch)?;
        let mut lacks = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let rank = keys.rank(batch, row)?;
            let key = keys.key(row);
            if let Some(Several { best, seen }) = key.and_then(|key| several.get_mut(&key)) {
                let first = seen.insert(rank.1);
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
            let lacking = match key {
                Some(key) => match held.keys.get(&key) {
                    None => true,
                    Some(held) if held.1 == rank.1 => false,
                    Some(held) if restore.waits() && rank > *held => {
                        found.attempts += 1;
                        true
                    }
                    Some(_) => {
                        found.older += 1;
                        false
                    }
                },
                None => match held.hashes.get_mut(&rank.1) {
                    Some(left) if *left > 0 => {
                        *left -= 1;
                        false
                    }
                    _ => {
                        found.keyless += 1;
                        true
                    }
                },
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
