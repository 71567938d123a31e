//! Rows that are attempts at a test which other rows may be about too, with all that
//! deciding between them needs. Only these are kept row by row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::stats::Cell;
use crate::store::Control;
use crate::store::digest::{Columns, Outcome, Reading, row_hashes};
use crate::store::error::Result;
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::adapt;

/// An attempt at a test.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Hit {
    /// The key of its test.
    pub(super) key: u128,
    /// Microseconds since the epoch.
    pub(super) timestamp: Option<i64>,
    /// Hash of the canonical row.
    pub(super) hash: u64,
    /// Its position in the file.
    pub(super) at: u64,
    /// How it ended.
    pub(super) outcome: Outcome,
    /// Hash of its `task_id`, where it has one.
    pub(super) task: Option<u64>,
    /// What was tested.
    pub(super) cell: Arc<Cell>,
}

impl Hit {
    /// What decides between attempts: the larger one counts.
    pub(super) fn rank(&self) -> (Option<i64>, u64) {
        (self.timestamp, self.hash)
    }
}

/// Gathers hits; those of one cell share it.
#[derive(Debug, Default)]
pub(super) struct Hits {
    /// What was found.
    pub(super) found: Vec<Hit>,
    cells: HashMap<u128, Arc<Cell>>,
}

impl Hits {
    /// Takes the rows of a batch that have a key; `positions` has where each row is.
    pub(super) fn take(
        &mut self,
        batch: &RecordBatch,
        reading: &Reading,
        positions: impl Iterator<Item = u64>,
    ) -> Result<()> {
        let batch = adapt(batch, &reading.target, &reading.zone)?;
        let columns = Columns::new(&batch)?;
        for ((row, hash), at) in row_hashes(&batch)?.into_iter().enumerate().zip(positions) {
            let Some(key) = columns.key(row) else {
                continue;
            };
            let cell = self
                .cells
                .entry(columns.cell_key(row))
                .or_insert_with(|| columns.cell(row).into());
            let (timestamp, outcome, task) = (
                columns.timestamp(row),
                columns.outcome(row),
                columns.task(row),
            );
            self.found.push(Hit {
                key,
                timestamp,
                hash,
                at,
                outcome,
                task,
                cell: Arc::clone(cell),
            });
        }
        Ok(())
    }

    /// Takes the rows at some positions (ascending, without repetition) of a file.
    pub(super) fn take_at(
        &mut self,
        file: &ParquetFile,
        reading: &Reading,
        positions: &[u64],
        control: &Control,
    ) -> Result<()> {
        let mut left = positions.iter().copied();
        for batch in file.rows_at(None, positions)? {
            control.check()?;
            self.take(&batch?, reading, &mut left)?;
        }
        Ok(())
    }
}
