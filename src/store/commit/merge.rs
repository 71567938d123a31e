//! The rows of a commit on their way: read from main and the increments in united
//! columns, and written sorted by what queries ask for.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::sorted_run::{At, SortedRun};
use crate::config::{show_count, show_counted};
use crate::store::aggregate::{Columns, Digest, places_of_cells};
use crate::store::error::{Error, Result};
use crate::store::format::row_kind::split;
use crate::store::format::schema::adapt;
use crate::store::format::{RowHash, row_hashes};
use crate::store::parquet::ParquetFile;
use crate::store::parquet::table::{TableWriter, group_rows};
use crate::store::resolve::Rank;
use crate::store::threads;

/// Bytes of new rows that are sorted at once.
pub(super) const SORT_BYTES: usize = 64 << 20;

/// An error of Arrow's kernels, which only hostile data causes.
pub(crate) fn kernel(error: &ArrowError) -> Error {
    Error::Refused(format!(
        "rows can't be merged ({error}): validate the store (evaltop validate)"
    ))
}

/// The records of a batch as its file holds it, in the united columns.
pub(crate) fn records(
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
pub(crate) struct Keys<'a> {
    columns: Columns,
    zone: &'a TimeZone,
    hashes: Option<Vec<RowHash>>,
}

impl<'a> Keys<'a> {
    pub(crate) fn of(batch: &RecordBatch, zone: &'a TimeZone) -> Result<Self> {
        Ok(Self {
            columns: Columns::new(batch)?,
            zone,
            hashes: None,
        })
    }

    /// The key of a row.
    pub(crate) fn key(&self, row: usize) -> Option<u128> {
        self.columns.key(row)
    }

    /// What decides between a row and other attempts at its test.
    pub(crate) fn rank(&mut self, batch: &RecordBatch, row: usize) -> Result<Rank> {
        let hashes = match self.hashes.take() {
            Some(hashes) => hashes,
            None => row_hashes(batch, self.zone)?,
        };
        let hash = hashes.get(row).copied().unwrap_or_default();
        self.hashes = Some(hashes);
        Ok(self.columns.rank(row, hash))
    }
}

/// Fewer rows than the footer says would be rows lost.
pub(crate) fn complete(file: &ParquetFile, rows: u64) -> Result<()> {
    if rows == file.rows() {
        return Ok(());
    }
    let (rows, footer) = (show_counted(rows, "row"), show_count(file.rows()));
    Err(Error::unreadable(
        file.path(),
        format!("it has {rows} where its footer says {footer}"),
    ))
}

/// The rows of a batch for which `keep` is true.
pub(crate) fn filtered(batch: &RecordBatch, keep: Vec<bool>) -> Result<RecordBatch> {
    if keep.iter().all(|keep| *keep) {
        return Ok(batch.clone());
    }
    filter_record_batch(batch, &BooleanArray::from(keep)).map_err(|error| kernel(&error))
}

/// Writes rows one after the other: those of an old main, and then new ones, sorted by
/// the dimensions in runs of bounded size.
pub(crate) struct Merged<'a> {
    table: TableWriter<'a>,
    schema: SchemaRef,
    /// Of what is written.
    tallies: Digest,
    now: i64,
    waiting: Vec<RecordBatch>,
    /// For each row the number of its cell.
    cells: Vec<Vec<u32>>,
    rows: usize,
    bytes: usize,
}

impl<'a> Merged<'a> {
    pub(crate) fn new(table: TableWriter<'a>, schema: &SchemaRef, now: Timestamp) -> Self {
        Self {
            table,
            schema: schema.clone(),
            tallies: Digest::default(),
            now: now.as_microsecond(),
            waiting: Vec::new(),
            cells: Vec::new(),
            rows: 0,
            bytes: 0,
        }
    }

    /// Rows of the old main.
    pub(crate) fn old(&mut self, batch: &RecordBatch) -> Result<()> {
        self.tallies.tally(
            &Columns::new(batch)?,
            batch.num_rows(),
            Some((self.now, None)),
        );
        if batch.num_rows() == 0 {
            Ok(())
        } else {
            self.table.write(batch)
        }
    }

    /// New rows.
    pub(crate) fn new_rows(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.cells.push(self.tallies.tally(
            &Columns::new(&batch)?,
            batch.num_rows(),
            Some((self.now, None)),
        ));
        self.rows += batch.num_rows();
        self.bytes += batch.get_array_memory_size();
        self.waiting.push(batch);
        if run_is_full(self.rows, self.bytes, group_rows()) {
            self.sort_and_write()
        } else {
            Ok(())
        }
    }

    /// What is to be sealed, and the tallies of everything written.
    pub(crate) fn finish(mut self) -> Result<(TableWriter<'a>, Digest)> {
        self.sort_and_write()?;
        Ok((self.table, self.tallies))
    }

    fn sort_and_write(&mut self) -> Result<()> {
        (self.rows, self.bytes) = (0, 0);
        let (waiting, cells) = (
            std::mem::take(&mut self.waiting),
            std::mem::take(&mut self.cells),
        );
        let places = places_of_cells(std::slice::from_ref(&self.tallies));
        let places = places.first().map(Vec::as_slice).unwrap_or_default();
        let cells: Vec<(&[u32], &[u32])> = cells
            .iter()
            .map(|cells| (cells.as_slice(), places))
            .collect();
        let order = sorted(&waiting, &cells, 1);
        let run = SortedRun::new(&self.schema, waiting, order, 1)?;
        self.table
            .add(1, run.rows(), |field, rows| run.column(field, rows))
    }
}

/// Whether so many decoded rows are enough to be sorted: clusters of rows that queries ask
/// for should be long, and memory is bounded.
pub(crate) fn run_is_full(rows: usize, bytes: usize, group_rows: usize) -> bool {
    rows >= 3 * group_rows || bytes >= SORT_BYTES
}

/// The order of rows by cell and time. For each batch there are the numbers of its rows'
/// cells, and the places of these cells.
pub(crate) fn sorted(
    batches: &[RecordBatch],
    cells: &[(&[u32], &[u32])],
    threads: usize,
) -> Vec<At> {
    let mut order = Vec::with_capacity(cells.iter().map(|(cells, _)| cells.len()).sum());
    for (number, (batch, (cells, places))) in batches.iter().zip(cells).enumerate() {
        let times = batch.column_by_name("timestamp");
        let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        for (row, cell) in cells.iter().enumerate() {
            let time = times
                .filter(|times| times.is_valid(row))
                .and_then(|times| times.values().get(row));
            let place = places.get(*cell as usize).copied().unwrap_or_default();
            // Without a time it comes first.
            order.push((
                place,
                time.copied().unwrap_or(i64::MIN),
                number as u32,
                row as u32,
            ));
        }
    }
    threads::sort(threads, &mut order, |row| *row);
    order
        .into_iter()
        .map(|(_, _, batch, row)| (batch as usize, row as usize))
        .collect()
}
