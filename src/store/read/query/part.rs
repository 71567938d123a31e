//! One place where rows are, read onwards: a Parquet file or a part of it, or a journal.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::rows::{Plan, refused};
use super::{Result, Store};
use crate::store::Error;
use crate::store::disk::ReadFile;
use crate::store::format::record::Extras;
use crate::store::parquet::prune::{Piece, Search};
use crate::store::parquet::{Batches, ParquetFile};
use crate::store::read::snapshot::{Increment, JournalFile};
use crate::store::write::journal;

/// Rows in one place.
#[derive(Debug)]
pub(crate) struct Part {
    source: Source,
    /// Rows before this position are in main.
    skip: u64,
    /// Positions of the rows that don't count, ascending.
    losers: Arc<[u64]>,
    /// Whether it is a file of summary rows next to main.
    pub(crate) beside_main: bool,
    /// About how many rows it has.
    pub(crate) rows: u64,
}

#[derive(Debug)]
enum Source {
    /// To be opened when its turn comes.
    Closed(Store, Increment),
    /// To be searched when its turn comes.
    Open(ParquetFile),
    Parquet(Box<Pieces>),
    Journal(Lines),
}

/// What of a Parquet file is yet to be read.
#[derive(Debug)]
struct Pieces {
    search: Search,
    left: VecDeque<Piece>,
    current: Option<Batches>,
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
    fn of(source: Source, rows: u64, losers: Vec<u64>) -> Self {
        Self {
            source,
            skip: 0,
            losers: losers.into(),
            beside_main: false,
            rows,
        }
    }

    /// A file, in parts that can be read at once.
    pub(crate) fn pieces(file: &ParquetFile, plan: &Plan, losers: Vec<u64>) -> Vec<Self> {
        let search = Search::new(file, &plan.filter);
        let losers: Arc<[u64]> = losers.into();
        let part = |piece: Piece| {
            let rows = piece.span().end - piece.span().start;
            let pieces = Box::new(Pieces {
                search: search.clone(),
                left: [piece].into(),
                current: None,
            });
            let losers = Arc::clone(&losers);
            Self {
                source: Source::Parquet(pieces),
                skip: 0,
                losers,
                beside_main: false,
                rows,
            }
        };
        search.pieces().into_iter().map(part).collect()
    }

    pub(crate) fn summaries(file: ParquetFile, losers: Vec<u64>) -> Self {
        let rows = file.rows();
        Self {
            beside_main: true,
            ..Self::of(Source::Open(file), rows, losers)
        }
    }

    pub(crate) fn increment(
        store: &Store,
        increment: Increment,
        open: Option<ParquetFile>,
        losers: Vec<u64>,
    ) -> Self {
        let (skip, rows) = (increment.skip, increment.rows);
        let source = match open {
            Some(file) => Source::Open(file),
            None => Source::Closed(store.clone(), increment),
        };
        Self {
            skip,
            ..Self::of(source, rows, losers)
        }
    }

    pub(crate) fn journal(
        store: &Store,
        journal: &JournalFile,
        rows: u64,
        losers: Vec<u64>,
    ) -> Result<Self> {
        let path = store.layout.incremental().join(&journal.name);
        let file = store.disk.open(&path).map_err(Error::io("read", &path))?;
        let bytes = file.stat().map_err(Error::io("read", &path))?.bytes;
        let lines = Lines {
            file,
            path,
            bytes,
            offset: journal.from,
            position: 0,
            rows,
        };
        Ok(Self::of(Source::Journal(lines), rows, losers))
    }

    /// The next batch as stored, without the rows that don't count.
    pub(crate) fn next(&mut self, plan: &Plan) -> Result<Option<RecordBatch>> {
        if let Source::Closed(store, increment) = &self.source {
            // Gone: its rows are elsewhere by now, where some may have been returned already.
            let open = increment.open(store).map_err(|error| match error {
                error if error.is_not_found() => Error::Changed {
                    path: increment.path(store),
                },
                error => error,
            });
            self.source = Source::Open(open?);
        }
        if let Source::Open(file) = &self.source {
            let search = Search::new(&plan.read_as(file.clone()), &plan.filter);
            let left = search.pieces().into();
            self.source = Source::Parquet(Box::new(Pieces {
                search,
                left,
                current: None,
            }));
        }
        match &mut self.source {
            Source::Closed(..) | Source::Open(_) => Ok(None),
            Source::Parquet(pieces) => pieces.next(plan, self.skip, &self.losers),
            Source::Journal(lines) => lines.next(&self.losers),
        }
    }
}

impl Pieces {
    fn next(&mut self, plan: &Plan, skip: u64, losers: &[u64]) -> Result<Option<RecordBatch>> {
        let batch = self.read(plan, skip, losers);
        // Rewritten in place meanwhile: whatever came of it says nothing.
        self.search.file().check_unchanged()?;
        batch
    }

    fn read(&mut self, plan: &Plan, skip: u64, losers: &[u64]) -> Result<Option<RecordBatch>> {
        loop {
            if let Some(batch) = self.current.as_mut().and_then(Iterator::next) {
                return batch.map(Some);
            }
            self.current = None;
            let Some(piece) = self.left.pop_front() else {
                return Ok(None);
            };
            if let Some(found) = self.search.find(&piece, skip, losers)? {
                let columns = plan.columns(self.search.file().schema());
                self.current = Some(self.search.read(Some(&columns), &found)?);
            }
        }
    }
}

impl Lines {
    fn next(&mut self, losers: &[u64]) -> Result<Option<RecordBatch>> {
        while self.position < self.rows && self.offset < self.bytes {
            let chunk = journal::read_open(&self.file, self.bytes, self.offset)
                .map_err(Error::io("read", &self.path))?;
            let nothing = chunk.next_offset == self.offset;
            self.offset = if nothing {
                self.bytes
            } else {
                chunk.next_offset
            };
            let mut records = chunk.records;
            records.truncate(usize::try_from(self.rows - self.position).unwrap_or(usize::MAX));
            if records.is_empty() {
                continue;
            }
            let mut extras = Extras::default();
            extras.add(&records);
            let first = self.position;
            self.position += records.len() as u64;
            let counts = |position: u64| losers.binary_search(&position).is_err();
            let counting: BooleanArray =
                (first..self.position).map(|at| Some(counts(at))).collect();
            let batch = extras.to_batch(&records)?;
            return filter_record_batch(&batch, &counting)
                .map(Some)
                .map_err(refused);
        }
        Ok(None)
    }
}
