//! Rows that are attempts at a test which other rows may be about too, with all that
//! deciding between them needs. Only these are kept row by row.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::stats::Cell;
use crate::store::Control;
use crate::store::aggregate::{Columns, Outcome, Reading};
use crate::store::error::Result;
use crate::store::format::row_hashes;
use crate::store::format::schema::adapt;
use crate::store::parquet::ParquetFile;
use crate::store::resolve::Rank;

/// An attempt at a test.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Hit {
    /// The key of its test.
    pub(crate) key: u128,
    /// What decides between it and others.
    pub(crate) rank: Rank,
    /// Its position in the file.
    pub(crate) at: u64,
    /// How it ended.
    pub(crate) outcome: Outcome,
    /// Hash of its `task_id`, where it has one.
    pub(crate) task: Option<u64>,
    /// What was tested.
    pub(crate) cell: Arc<Cell>,
}

/// Gathers hits; those of one cell share it.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    /// What was found.
    pub(crate) found: Vec<Hit>,
    cells: HashMap<u128, Arc<Cell>>,
}

impl Hits {
    /// Takes the rows of a batch that have a key; `positions` has where each row is.
    pub(crate) fn take(
        &mut self,
        batch: &RecordBatch,
        reading: &Reading,
        positions: impl Iterator<Item = u64>,
    ) -> Result<()> {
        let batch = adapt(batch, &reading.target, &reading.zone)?;
        let columns = Columns::new(&batch)?;
        let hashes = row_hashes(&batch, &reading.zone)?;
        for ((row, hash), at) in hashes.into_iter().enumerate().zip(positions) {
            let Some(key) = columns.key(row) else {
                continue;
            };
            let cell = self
                .cells
                .entry(columns.cell_key(row))
                .or_insert_with(|| columns.cell(row).into());
            let (rank, outcome, task) = (
                columns.rank(row, hash),
                columns.outcome(row),
                columns.task(row),
            );
            self.found.push(Hit {
                key,
                rank,
                at,
                outcome,
                task,
                cell: Arc::clone(cell),
            });
        }
        Ok(())
    }

    /// Takes the rows at some positions (ascending, without repetition) of a file.
    pub(crate) fn take_at(
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
