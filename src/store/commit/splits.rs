//! The rows of a commit in the pieces in which they are read: files that are small
//! together, one that is large in parts.

use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use jiff::tz::TimeZone;
use parquet::arrow::arrow_reader::RowSelection;

use super::choice::Choice;
use super::input::Input;
use super::merge::{filtered, records};
use super::round::Trouble;
use crate::store::error::{Error, Result};
use crate::store::parquet::table::group_rows;
use crate::store::parquet::{Batches, ParquetFile};
use crate::store::{Control, Store};

/// Bytes that a piece of a large file takes, about.
const PIECE_BYTES: u64 = 16 << 20;

/// Rows that are read together.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    source: Source<'a>,
    part: Part,
}

impl Piece<'_> {
    /// Rows.
    pub(crate) fn rows(&self) -> u64 {
        self.part.rows
    }
}

/// A part of a file.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Of the row group of a number some of its rows; all of the file where there is none.
    within: Option<(usize, Range<usize>, usize)>,
    /// Rows.
    pub(crate) rows: u64,
    /// Of those, records.
    pub(crate) records: u64,
}

#[derive(Debug)]
enum Source<'a> {
    /// An increment, and the number of the first record among the new ones.
    New(&'a Input<'a>, usize),
    /// Main, the position of the first record, and those of the records that go.
    Old(&'a ParquetFile, u64, &'a [u64]),
}

/// Pieces that one thread reads.
pub(crate) type Job<'a> = Vec<Piece<'a>>;

/// What they hold, without the rows that are left out.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) batches: Vec<RecordBatch>,
    /// For each batch, whether main's tallies don't have it yet.
    pub(crate) new: Vec<bool>,
    /// Rows, those included that are left out.
    pub(crate) read: u64,
}

/// How pieces are read.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) store: &'a Store,
    /// The united columns, texts as dictionaries ([`crate::store::format::schema::keyed`]).
    pub(crate) target: SchemaRef,
    pub(crate) zone: &'a TimeZone,
    pub(crate) choice: &'a Choice<'a>,
    pub(crate) control: &'a Control,
}

/// Rows that are read at once: about an eighth of a row group, where a file has so many.
fn job_rows() -> u64 {
    (group_rows() as u64 / 8).max(1)
}

impl Part {
    /// All rows of a file but the first `skip`.
    pub(crate) fn whole(file: &ParquetFile, skip: u64) -> Self {
        let rows = file.rows().saturating_sub(skip);
        Self {
            within: None,
            rows,
            records: rows,
        }
    }

    /// Cuts row groups of a file into parts of bounded size.
    pub(crate) fn of(file: &ParquetFile, groups: Range<usize>) -> Vec<Self> {
        let mut parts = Vec::new();
        let all = file.metadata().row_groups().iter().enumerate();
        for (group, metadata) in all.take(groups.end).skip(groups.start) {
            let rows = usize::try_from(metadata.num_rows()).unwrap_or_default();
            let bytes = u64::try_from(metadata.total_byte_size())
                .unwrap_or_default()
                .max(1);
            let fit =
                usize::try_from(PIECE_BYTES.saturating_mul(rows as u64) / bytes).unwrap_or(rows);
            // To begin in the middle of a page costs what comes before it there.
            let step = if rows <= group_rows() {
                fit
            } else {
                fit.min(group_rows() / 2)
            }
            .max(1);
            for start in (0..rows).step_by(step) {
                let range = start..rows.min(start + step);
                let length = range.len() as u64;
                parts.push(Self {
                    within: Some((group, range, rows)),
                    rows: length,
                    records: length,
                });
            }
        }
        parts
    }

    /// Its batches, of some columns.
    pub(crate) fn batches(
        &self,
        file: &ParquetFile,
        columns: Option<&[&str]>,
        skip: u64,
    ) -> Result<Batches> {
        match &self.within {
            None => file.batches(columns, skip),
            Some((group, rows, of)) if *rows == (0..*of) => file.row_groups(columns, vec![*group]),
            Some((group, rows, of)) => {
                let rows =
                    RowSelection::from_consecutive_ranges(std::iter::once(rows.clone()), *of);
                file.selected(columns, *group, rows)
            }
        }
    }
}

/// The jobs of reading new rows.
pub(crate) fn of_inputs<'a>(inputs: &'a [Input<'a>]) -> Vec<Job<'a>> {
    let mut first = 0;
    let parts = inputs
        .iter()
        .flat_map(|input| input.parts.iter().map(move |part| (input, part)));
    let pieces = parts.map(|(input, part)| {
        let source = Source::New(input, first);
        first += part.records as usize;
        Piece {
            source,
            part: part.clone(),
        }
    });
    jobs(pieces, |piece| piece.part.rows)
}

/// The jobs of reading parts of main, whose first record is at `start`.
pub(crate) fn of_main<'a>(
    main: &'a ParquetFile,
    parts: impl IntoIterator<Item = Part>,
    start: u64,
    lost: &'a [u64],
) -> Vec<Job<'a>> {
    let mut at = start;
    let pieces = parts.into_iter().map(|part| {
        let source = Source::Old(main, at, lost);
        at += part.records;
        Piece { source, part }
    });
    jobs(pieces, |piece| piece.part.rows)
}

/// Puts small things together until a job has rows enough.
pub(crate) fn jobs<T>(things: impl Iterator<Item = T>, rows_of: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let mut jobs: Vec<Vec<T>> = Vec::new();
    let mut rows = u64::MAX;
    for thing in things {
        if rows >= job_rows() {
            jobs.push(Vec::new());
            rows = 0;
        }
        rows += rows_of(&thing);
        if let Some(job) = jobs.last_mut() {
            job.push(thing);
        }
    }
    jobs
}

impl Reading<'_> {
    /// Reads the rows of some pieces.
    pub(crate) fn decode(&self, job: &Job<'_>) -> Result<Decoded, Trouble> {
        let mut decoded = Decoded::default();
        for Piece { source, part } in job {
            match source {
                Source::New(input, first) => {
                    let read = input.open(self.store).and_then(|file| {
                        let keeps = |at| self.choice.keeps(at);
                        self.rows(
                            &file,
                            part,
                            input.increment.skip,
                            *first,
                            keeps,
                            &mut decoded,
                        )
                    });
                    read.map_err(|error| input.blame(self.store, error))?;
                    decoded.new.resize(decoded.batches.len(), true);
                }
                Source::Old(main, start, lost) => {
                    let lost = within(lost, *start..*start + part.records);
                    let keeps = |at| lost.binary_search(&(at as u64)).is_err();
                    self.rows(main, part, 0, *start as usize, keeps, &mut decoded)?;
                    decoded.new.resize(decoded.batches.len(), false);
                }
            }
            decoded.read += part.rows;
        }
        Ok(decoded)
    }

    /// Reads the records of a part, of which the first has a number, but for those that are not kept.
    fn rows(
        &self,
        file: &ParquetFile,
        part: &Part,
        skip: u64,
        first: usize,
        keeps: impl Fn(usize) -> bool,
        decoded: &mut Decoded,
    ) -> Result<()> {
        let texts = self.target.fields().iter();
        let texts = texts.filter(|field| matches!(field.data_type(), DataType::Dictionary(..)));
        let file =
            file.with_dictionaries(&texts.map(|field| field.name().as_str()).collect::<Vec<_>>());
        let (mut at, mut read) = (first, 0);
        for batch in part.batches(&file, None, skip)? {
            self.control.check()?;
            let batch = batch?;
            read += batch.num_rows() as u64;
            let batch = records(&batch, &self.target, self.zone)?;
            let keep = (at..at + batch.num_rows()).map(&keeps).collect();
            at += batch.num_rows();
            let kept = filtered(&batch, keep)?;
            if kept.num_rows() > 0 {
                decoded.batches.push(kept);
            }
        }
        if read == part.rows {
            return Ok(());
        }
        Err(Error::unreadable(
            file.path(),
            "it has fewer rows than its footer says",
        ))
    }
}

impl Decoded {
    /// Rows that are not left out.
    pub(crate) fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// The positions that lie within a range.
pub(crate) fn within(positions: &[u64], range: Range<u64>) -> &[u64] {
    let from = positions.partition_point(|at| *at < range.start);
    let to = positions.partition_point(|at| *at < range.end);
    positions.get(from..to).unwrap_or_default()
}
