//! What `success` counts in the rows of each source, found out row by row, so that rows
//! can be counted in two readings without ever holding all of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{Convention, Counts, Reader, vote};
use crate::stats::{Cell, Tally};
use crate::store::error::Result;

/// What the rows of one source speak of it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Evidence {
    votes: i64,
    /// A row with partial successes does not say how many were full.
    unknown: bool,
    /// In such a row there are more partial successes than successes.
    exceeded: bool,
}

impl Evidence {
    pub(crate) fn add(&mut self, row: &Counts) {
        self.votes += vote(row).unwrap_or(0);
        if row.full.is_none() && row.partial > 0 {
            self.unknown = true;
            self.exceeded |= row.partial > row.success;
        }
    }

    pub(crate) fn convention(self) -> Convention {
        match self.votes {
            _ if self.exceeded => Convention::FullOnly,
            0 if self.unknown => Convention::Assumed,
            votes if votes > 0 => Convention::FullOnly,
            _ => Convention::FullAndPartial,
        }
    }
}

/// The meaning of `success` in the rows of each source.
#[derive(Debug, Default)]
pub struct Meanings(BTreeMap<Option<Arc<str>>, Evidence>);

impl Meanings {
    /// Takes in the evidence of some rows; the rows are not kept.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let reader = Reader::new(batch)?;
        for row in 0..batch.num_rows() {
            self.add(&reader.counts(row));
        }
        Ok(())
    }

    /// Takes in the evidence of some rows, and reports each its source, its cell and its
    /// tests: where `success` counts full and partial successes, and where full ones alone.
    pub fn undecided(
        &mut self,
        batch: &RecordBatch,
        mut each: impl FnMut(Option<Arc<str>>, Cell, [Tally; 2]) -> Result<()>,
    ) -> Result<()> {
        let reader = Reader::new(batch)?;
        for row in 0..batch.num_rows() {
            let counts = reader.counts(row);
            self.add(&counts);
            let tallies =
                [Convention::FullAndPartial, Convention::FullOnly].map(|c| counts.tally(c));
            each(counts.source, counts.cell, tallies)?;
        }
        Ok(())
    }

    pub(crate) fn add(&mut self, row: &Counts) {
        if let Some(evidence) = self.0.get_mut(&row.source) {
            return evidence.add(row);
        }
        self.0.entry(row.source.clone()).or_default().add(row);
    }

    /// What `success` counts in the rows of a source.
    pub fn of(&self, source: Option<&Arc<str>>) -> Convention {
        self.0
            .get(&source.cloned())
            .map_or(Convention::Assumed, |evidence| evidence.convention())
    }

    /// What `success` counts: assumed where it is so for any of the sources.
    pub fn convention(&self) -> Convention {
        let mut conventions = self.0.values().map(|evidence| evidence.convention());
        let first = conventions.next().unwrap_or(Convention::FullAndPartial);
        if conventions.any(|convention| convention == Convention::Assumed) {
            Convention::Assumed
        } else {
            first
        }
    }

    /// The cell and the tests of each row, once the evidence of all rows is taken in.
    pub fn each(&self, batch: &RecordBatch, mut each: impl FnMut(Cell, Tally)) -> Result<()> {
        let reader = Reader::new(batch)?;
        for row in 0..batch.num_rows() {
            let counts = reader.counts(row);
            let tally = counts.tally(self.of(counts.source.as_ref()));
            each(counts.cell, tally);
        }
        Ok(())
    }
}
