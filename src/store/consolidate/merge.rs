//! The rows of a commit on their way: read from main and the increments in united
//! columns, and written sorted by what queries ask for.

use std::ops::Range;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::choice::Rank;
use crate::store::digest::{Columns, Digest, key_in, row_hashes};
use crate::store::error::{Error, Result};
use crate::store::graft::Stock;
use crate::store::kind::split;
use crate::store::parquet_file::{BATCH_ROWS, ParquetFile};
use crate::store::schema::adapt;
use crate::store::table::{TableWriter, group_rows};

/// Bytes of new rows that are sorted at once.
const SORT_BYTES: usize = 96 << 20;

/// An error of Arrow's kernels, which only hostile data causes.
fn kernel(error: &ArrowError) -> Error {
    Error::Refused(format!("rows can't be merged ({error}): validate the store (evaltop validate)"))
}

/// The records of a batch as its file holds it, in the united columns.
pub(in crate::store) fn records(
    batch: &RecordBatch,
    target: &SchemaRef,
    zone: &TimeZone,
) -> Result<RecordBatch> {
    match split(batch)?.records {
        Some(records) => adapt(&records, target, zone),
        None => Ok(RecordBatch::new_empty(target.clone())),
    }
}

/// Keys and ranks of the rows of a batch.
pub(in crate::store) struct Keys {
    columns: Columns,
    hashes: Option<Vec<u64>>,
}

impl Keys {
    pub(in crate::store) fn of(batch: &RecordBatch) -> Result<Self> {
        Ok(Self { columns: Columns::new(batch)?, hashes: None })
    }

    /// The key of a row.
    pub(in crate::store) fn key(&self, row: usize) -> Option<u128> {
        key_in(self.columns.text("test_id", row), self.columns.cell_key(row))
    }

    /// What decides between a row and other attempts at its test.
    pub(in crate::store) fn rank(&mut self, batch: &RecordBatch, row: usize) -> Result<Rank> {
        let hashes = match self.hashes.take() {
            Some(hashes) => hashes,
            None => row_hashes(batch)?,
        };
        let hash = hashes.get(row).copied().unwrap_or_default();
        self.hashes = Some(hashes);
        Ok((self.columns.timestamp(row), hash))
    }
}

/// Fewer rows than the footer says would be rows lost.
pub(in crate::store) fn complete(file: &ParquetFile, rows: u64) -> Result<()> {
    if rows == file.rows() {
        return Ok(());
    }
    Err(Error::unreadable(file.path(), format!("it has {rows} rows where its footer says {}", file.rows())))
}

/// The rows of a batch for which `keep` is true.
pub(in crate::store) fn filtered(batch: &RecordBatch, keep: Vec<bool>) -> Result<RecordBatch> {
    if keep.iter().all(|keep| *keep) {
        return Ok(batch.clone());
    }
    filter_record_batch(batch, &BooleanArray::from(keep)).map_err(|error| kernel(&error))
}

/// Writes a new main: first what stays of the old one, in its order, then the new
/// rows, sorted by the dimensions in runs of bounded size.
pub(in crate::store) struct Merged<'a> {
    table: TableWriter<'a>,
    /// Of what is written.
    tallies: Digest,
    now: i64,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// Their rows.
    order: Vec<Waits>,
}

/// A row that waits to be sorted.
struct Waits {
    /// The number of its cell.
    cell: u32,
    time: Option<i64>,
    /// Batch, and row in it.
    at: (u32, u32),
}

impl<'a> Merged<'a> {
    pub(in crate::store) fn new(table: TableWriter<'a>, now: Timestamp) -> Self {
        let (tallies, now) = (Digest::default(), now.as_microsecond());
        Self { table, tallies, now, waiting: Vec::new(), waiting_bytes: 0, order: Vec::new() }
    }

    /// Goes on from the tallies of what stays of the old main.
    pub(in crate::store) fn continuing(self, tallies: Digest) -> Self {
        Self { tallies, ..self }
    }

    /// Rows of the old main that are in the tallies already.
    pub(in crate::store) fn stays(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 { Ok(()) } else { self.table.write(batch) }
    }

    /// Row groups of the old main that are in the tallies already.
    pub(in crate::store) fn graft(&mut self, stock: &Stock<'_>, groups: Range<usize>) -> Result<()> {
        self.table.graft(stock, groups)
    }

    /// Rows of the old main.
    pub(in crate::store) fn old(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = Columns::new(batch)?;
        for row in 0..batch.num_rows() {
            self.tallies.tally(&columns, row, self.now);
        }
        self.stays(batch)
    }

    /// New rows.
    pub(in crate::store) fn new_rows(&mut self, batch: RecordBatch) -> Result<()> {
        let now = self.now;
        self.wait(batch, |tallies, columns, row| tallies.tally(columns, row, now))
    }

    /// Rows of the old main's end that are in the tallies already, to be sorted with the new ones.
    pub(in crate::store) fn joins(&mut self, batch: RecordBatch) -> Result<()> {
        self.wait(batch, Digest::number_of_cell)
    }

    fn wait(
        &mut self,
        batch: RecordBatch,
        mut cell: impl FnMut(&mut Digest, &Columns, usize) -> u32,
    ) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let columns = Columns::new(&batch)?;
        let number = self.waiting.len() as u32;
        for row in 0..batch.num_rows() {
            let cell = cell(&mut self.tallies, &columns, row);
            self.order.push(Waits { cell, time: columns.timestamp(row), at: (number, row as u32) });
        }
        self.waiting_bytes += batch.get_array_memory_size();
        self.waiting.push(batch);
        if self.order.len() >= 4 * group_rows() || self.waiting_bytes >= SORT_BYTES {
            self.sort_and_write()?;
        }
        Ok(())
    }

    /// What is to be sealed, and the tallies of everything written.
    pub(in crate::store) fn finish(mut self) -> Result<(TableWriter<'a>, Digest)> {
        self.sort_and_write()?;
        Ok((self.table, self.tallies))
    }

    fn sort_and_write(&mut self) -> Result<()> {
        let (waiting, mut order) = (std::mem::take(&mut self.waiting), std::mem::take(&mut self.order));
        self.waiting_bytes = 0;
        let places = self.tallies.places_of_cells();
        order.sort_unstable_by_key(|row| (places.get(row.cell as usize), row.time, row.at));
        let batches: Vec<&RecordBatch> = waiting.iter().collect();
        for rows in order.chunks(BATCH_ROWS) {
            let rows: Vec<_> = rows.iter().map(|row| (row.at.0 as usize, row.at.1 as usize)).collect();
            let sorted = interleave_record_batch(&batches, &rows).map_err(|error| kernel(&error))?;
            self.table.write(&sorted)?;
        }
        Ok(())
    }
}
