//! The rows of a restore: those of the backup, to be found again, and those of the
//! current main and of staged files that the backup lacks.

use std::collections::HashMap;

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

    /// For each row whether the backup lacks it; with `attempts`, also where it has an
    /// older attempt at the same test.
    fn lacks(&mut self, batch: &RecordBatch, attempts: bool, found: &mut Found) -> Result<Vec<bool>> {
        let mut keys = Keys::of(batch)?;
        let mut lacks = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let rank = keys.rank(batch, row)?;
            let lacking = match keys.key(row) {
                Some(key) => match self.keys.get(&key) {
                    None => true,
                    Some(held) if held.1 == rank.1 => false,
                    Some(held) if attempts && rank > *held => {
                        found.attempts += 1;
                        true
                    }
                    Some(_) => {
                        found.older += 1;
                        false
                    }
                },
                None => match self.hashes.get_mut(&rank.1) {
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
}

/// The rows that the store has now and the backup lacks, batch by batch.
pub(super) struct Newer<'a> {
    restore: &'a Restore<'a>,
    held: Held,
    left: std::vec::IntoIter<&'a ParquetFile>,
    current: Option<(&'a ParquetFile, Batches, u64)>,
    pub(super) found: Found,
}

impl<'a> Newer<'a> {
    pub(super) fn new(restore: &'a Restore<'a>, held: Held) -> Self {
        let main = restore.base.main.iter();
        let files: Vec<_> = main.chain(restore.staged.iter().map(|(_, file)| file)).collect();
        Self { restore, held, left: files.into_iter(), current: None, found: Found::default() }
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            self.restore.control.check()?;
            let Some((file, batches, read)) = &mut self.current else {
                let Some(file) = self.left.next() else { return Ok(None) };
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
            self.restore.control.progress("looking for newer rows", *read, file.rows());
            let batch = records(&batch, &self.restore.schema, &self.restore.zone)?;
            let lacks = self.held.lacks(&batch, self.restore.undo, &mut self.found)?;
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
