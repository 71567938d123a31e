//! One place where rows are: a Parquet file, or a journal.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::rows::Plan;
use super::{Filter, Result, Store};
use crate::stats::cell::UNKNOWN;
use crate::store::Error;
use crate::store::disk::ReadFile;
use crate::store::journal;
use crate::store::parquet_file::{Batches, ParquetFile};
use crate::store::record::Extras;
use crate::store::schema::timestamp_type;
use crate::store::snapshot::{Increment, JournalFile};

/// Rows in one place, read onwards.
#[derive(Debug)]
pub(super) struct Part {
    source: Source,
    /// Rows before this position are in main.
    skip: u64,
    /// Positions of the rows that don't count, ascending.
    losers: Vec<u64>,
    /// Whether it is a file of summary rows beside main.
    pub(super) beside_main: bool,
}

#[derive(Debug)]
enum Source {
    /// To be opened when its turn comes.
    Closed(Store, Increment),
    Parquet(Groups),
    Journal(Lines),
}

/// A Parquet file, row group by row group, those left out that can't match.
#[derive(Debug)]
struct Groups {
    file: ParquetFile,
    /// Number and first position of the row groups to come; `None` before the first look.
    left: Option<VecDeque<(usize, u64)>>,
    current: Option<(Batches, u64)>,
}

/// A journal up to the rows that it had when the view was made.
#[derive(Debug)]
struct Lines {
    file: Arc<dyn ReadFile>,
    path: PathBuf,
    bytes: u64,
    offset: u64,
    position: u64,
    rows: u64,
}

impl Part {
    pub(super) fn file(file: ParquetFile, losers: Vec<u64>) -> Self {
        Self { source: Source::Parquet(Groups::of(file)), skip: 0, losers, beside_main: false }
    }

    pub(super) fn summaries(file: ParquetFile, losers: Vec<u64>) -> Self {
        Self { beside_main: true, ..Self::file(file, losers) }
    }

    pub(super) fn increment(
        store: &Store,
        increment: Increment,
        open: Option<ParquetFile>,
        losers: Vec<u64>,
    ) -> Self {
        let skip = increment.skip;
        let source = match open {
            Some(file) => Source::Parquet(Groups::of(file)),
            None => Source::Closed(store.clone(), increment),
        };
        Self { source, skip, losers, beside_main: false }
    }

    pub(super) fn journal(store: &Store, journal: &JournalFile, rows: u64, losers: Vec<u64>) -> Result<Self> {
        let path = store.layout.incremental().join(&journal.name);
        let file = store.disk.open(&path).map_err(Error::io("read", &path))?;
        let bytes = file.stat().map_err(Error::io("read", &path))?.bytes;
        let lines = Lines { file, path, bytes, offset: 0, position: 0, rows };
        Ok(Self { source: Source::Journal(lines), skip: 0, losers, beside_main: false })
    }

    /// Whether the row at a position counts.
    pub(super) fn counts(&self, position: u64) -> bool {
        position >= self.skip && self.losers.binary_search(&position).is_err()
    }

    /// The next batch as stored, and the position of its first row.
    pub(super) fn next(&mut self, plan: &Plan) -> Result<Option<(u64, RecordBatch)>> {
        if let Source::Closed(store, increment) = &self.source {
            self.source = Source::Parquet(Groups::of(increment.open(store)?));
        }
        match &mut self.source {
            Source::Closed(..) => Ok(None),
            Source::Parquet(groups) => groups.next(plan),
            Source::Journal(lines) => lines.next(),
        }
    }
}

impl Groups {
    fn of(file: ParquetFile) -> Self {
        Self { file, left: None, current: None }
    }

    fn next(&mut self, plan: &Plan) -> Result<Option<(u64, RecordBatch)>> {
        let file = &self.file;
        let left = self.left.get_or_insert_with(|| groups(file, &plan.filter));
        loop {
            if let Some((batches, position)) = &mut self.current {
                if let Some(batch) = batches.next() {
                    // Rewritten in place meanwhile: whatever came of it says nothing.
                    file.check_unchanged()?;
                    let batch = batch?;
                    let first = *position;
                    *position += batch.num_rows() as u64;
                    return Ok(Some((first, batch)));
                }
                self.current = None;
            }
            let Some((group, position)) = left.pop_front() else { return Ok(None) };
            let columns = plan.columns(file.schema());
            self.current = Some((file.row_groups(Some(&columns), vec![group])?, position));
        }
    }
}

fn groups(file: &ParquetFile, filter: &Filter) -> VecDeque<(usize, u64)> {
    let mut position = 0;
    let typed =
        file.schema().field_with_name("timestamp").is_ok_and(|field| *field.data_type() == timestamp_type());
    let mut groups = VecDeque::new();
    for (at, group) in file.metadata().row_groups().iter().enumerate() {
        if may_match(group, filter, typed) {
            groups.push_back((at, position));
        }
        position += u64::try_from(group.num_rows()).unwrap_or(0);
    }
    groups
}

/// Whether a row group's statistics leave room for a matching row.
fn may_match(group: &RowGroupMetaData, filter: &Filter, typed_time: bool) -> bool {
    let statistics = |name: &str| {
        let column = group.columns().iter().find(|column| column.column_path().string() == name);
        column.and_then(|column| column.statistics())
    };
    let texts = filter.texts().into_iter().all(|(name, values)| {
        // Rows without a value count as "unknown", and statistics don't show them.
        if values.is_empty() || values.iter().any(|value| value == UNKNOWN) {
            return true;
        }
        let Some(Statistics::ByteArray(range)) = statistics(name) else { return true };
        let (Some(min), Some(max)) = (range.min_opt(), range.max_opt()) else { return true };
        values.iter().any(|value| (min.data()..=max.data()).contains(&value.as_bytes()))
    });
    let times = || {
        let Some(Statistics::Int64(range)) = statistics("timestamp").filter(|_| typed_time) else {
            return true;
        };
        let late = |since: i64| range.max_opt().is_none_or(|max| *max >= since);
        let early = |until: i64| range.min_opt().is_none_or(|min| *min < until);
        filter.since.is_none_or(|since| late(since.as_microsecond()))
            && filter.until.is_none_or(|until| early(until.as_microsecond()))
    };
    texts && times()
}

impl Lines {
    fn next(&mut self) -> Result<Option<(u64, RecordBatch)>> {
        while self.position < self.rows && self.offset < self.bytes {
            let chunk = journal::read_open(&self.file, self.bytes, self.offset)
                .map_err(Error::io("read", &self.path))?;
            let nothing = chunk.next_offset == self.offset;
            self.offset = if nothing { self.bytes } else { chunk.next_offset };
            let mut records = chunk.records;
            records.truncate(usize::try_from(self.rows - self.position).unwrap_or(usize::MAX));
            if records.is_empty() {
                continue;
            }
            let mut extras = Extras::default();
            extras.add(&records);
            let first = self.position;
            self.position += records.len() as u64;
            return Ok(Some((first, extras.to_batch(&records)?)));
        }
        Ok(None)
    }
}
