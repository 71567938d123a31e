//! Which rows of a Parquet file may match a filter, found without decoding the others:
//! by the statistics of row groups, by those of pages where there is a page index, and
//! then by the columns that the filter asks about, whose dictionaries say it for all
//! rows at once.
//!
//! Promises: no matching row is left out. Rows that don't match may come along; who
//! reads them looks again.

use std::ops::Range;

use arrow::array::{Array, AsArray, BooleanArray, BooleanBufferBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Float64Type, Int32Type, TimestampMicrosecondType};
use jiff::Timestamp;
use parquet::arrow::arrow_reader::{RowSelection, RowSelector};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::statistics::Statistics;

use super::filter::Filter;
use super::{Batches, ParquetFile};
use crate::limits::LIMITS;
use crate::stats::cell::UNKNOWN;
use crate::store::error::{Error, Result};
use crate::store::format::cast::cast;
use crate::store::format::schema::timestamp_type;
use crate::store::threads;

mod keys;

/// Half of what rates are rounded to, and some more.
const ROUNDING: f64 = 0.000_06;

/// How many threads read so many things.
pub(crate) fn readers(things: usize) -> usize {
    threads::cores().min(things)
}

/// Rows of one row group that lie together.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    group: usize,
    /// Position in the file of the row group's first row.
    start: u64,
    /// Within the row group.
    rows: Range<usize>,
    group_rows: usize,
}

/// Rows of one row group.
#[derive(Debug)]
pub(crate) struct Found {
    group: usize,
    start: u64,
    rows: RowSelection,
}

/// A file in which rows are looked for.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    file: ParquetFile,
    /// The same, its text dimensions as dictionaries.
    keys: ParquetFile,
    tests: Vec<Test>,
}

/// What is asked of one column.
#[derive(Debug, Clone)]
enum Test {
    Text(&'static str, Vec<String>),
    Rate(Vec<f64>),
    /// At or after, before; microseconds.
    Time(Option<i64>, Option<i64>),
}

/// The least and the greatest value of some rows.
enum Bounds<'a> {
    Bytes(&'a [u8], &'a [u8]),
    Number(f64, f64),
    Whole(i64, i64),
    /// Not one value.
    Nulls,
}

impl Search {
    /// For the rows that match.
    pub(crate) fn new(file: &ParquetFile, filter: &Filter) -> Self {
        let tests = if file.rows() < LIMITS.search_rows {
            Vec::new()
        } else {
            tests(file, filter)
        };
        if tests.is_empty() {
            return Self {
                file: file.clone(),
                keys: file.clone(),
                tests,
            };
        }
        let texts: Vec<&str> = tests.iter().map(Test::column).collect();
        let file = file.with_page_index();
        let keys = file.with_dictionaries(&texts);
        Self { file, keys, tests }
    }

    /// The file.
    pub(crate) fn file(&self) -> &ParquetFile {
        &self.file
    }

    /// Where matching rows may be, in the file's order.
    pub(crate) fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut start = 0;
        for (group, metadata) in self.file.metadata().row_groups().iter().enumerate() {
            let rows = usize::try_from(metadata.num_rows()).unwrap_or_default();
            let may = self.tests.iter().all(|test| {
                let column = metadata
                    .columns()
                    .iter()
                    .find(|column| column.column_path().string() == test.column());
                let bounds = column
                    .and_then(|column| column.statistics())
                    .and_then(of_group);
                bounds.is_none_or(|bounds| test.may_be_within(&bounds))
            });
            if may {
                let pieces_of = (0..rows)
                    .step_by(LIMITS.read_rows)
                    .map(|from| from..rows.min(from + LIMITS.read_rows));
                pieces.extend(pieces_of.map(|rows_of| Piece {
                    group,
                    start,
                    rows: rows_of,
                    group_rows: rows,
                }));
            }
            start += rows as u64;
        }
        pieces
    }

    /// The rows of a piece that may match, but for those at positions before `skip` and
    /// the `lost` ones (ascending); `None` where there are none.
    pub(crate) fn find(&self, piece: &Piece, skip: u64, lost: &[u64]) -> Result<Option<Found>> {
        let mut rows = piece.counting(skip, lost);
        for test in &self.tests {
            if let Some(pages) = self.pages(piece.group, test) {
                let pages =
                    RowSelection::from_consecutive_ranges(pages.into_iter(), piece.group_rows);
                rows = rows.intersection(&pages);
            }
        }
        if !rows.selects_any() {
            return Ok(None);
        }
        if let Some(matching) = self.matching(piece.group, &rows)? {
            rows = rows.and_then(&RowSelection::from_filters(&[BooleanArray::new(
                matching, None,
            )]));
        }
        Ok(rows.selects_any().then_some(Found {
            group: piece.group,
            start: piece.start,
            rows,
        }))
    }

    /// What was found.
    pub(crate) fn read(&self, columns: Option<&[&str]>, found: &Found) -> Result<Batches> {
        self.file.selected(columns, found.group, found.rows.clone())
    }

    /// The rows of a row group whose pages may match; `None` where nothing is known of them.
    fn pages(&self, group: usize, test: &Test) -> Option<Vec<Range<usize>>> {
        let metadata = self.file.metadata();
        let chunks = metadata.row_groups().get(group)?;
        let rows = usize::try_from(chunks.num_rows()).ok()?;
        let column = chunks
            .columns()
            .iter()
            .position(|column| column.column_path().string() == test.column())?;
        let index = metadata.page_index()?;
        let (bounds, offsets) = (
            index.column_index(group, column)?,
            index.offset_index(group, column)?,
        );
        let starts = offsets
            .page_locations()
            .iter()
            .map(|page| usize::try_from(page.first_row_index).unwrap_or(rows));
        let ends = starts.clone().skip(1).chain([rows]);
        let may = |at: usize| of_page(bounds, at).is_none_or(|bounds| test.may_be_within(&bounds));
        let pages = starts.zip(ends).enumerate();
        Some(
            pages
                .filter(|(at, (start, end))| start < end && may(*at))
                .map(|(_, (start, end))| start..end)
                .collect(),
        )
    }

    /// Which of some rows match; `None` where nothing is asked. Column by column: where the
    /// first says that none do, the others are not read.
    fn matching(&self, group: usize, rows: &RowSelection) -> Result<Option<BooleanBuffer>> {
        let mut matching: Option<BooleanBuffer> = None;
        for test in &self.tests {
            if matching
                .as_ref()
                .is_some_and(|matching| matching.count_set_bits() == 0)
            {
                break;
            }
            let mut own = BooleanBufferBuilder::new(rows.row_count());
            for batch in self
                .keys
                .selected(Some(&[test.column()]), group, rows.clone())?
            {
                let batch = batch?;
                let mask = batch
                    .column_by_name(test.column())
                    .and_then(|column| test.mask(column));
                match mask {
                    Some(mask) => own.append_buffer(&mask),
                    None => own.append_n(batch.num_rows(), true),
                }
            }
            if own.len() != rows.row_count() {
                return Err(Error::unreadable(
                    self.file.path(),
                    "it has fewer rows than its footer says",
                ));
            }
            let own = own.finish();
            matching = Some(matching.map_or(own.clone(), |matching| &matching & &own));
        }
        Ok(matching)
    }
}

impl Piece {
    /// Position in the file of its first row, and of the row after it.
    pub(crate) fn span(&self) -> Range<u64> {
        self.start + self.rows.start as u64..self.start + self.rows.end as u64
    }

    /// Its rows but for the `lost` ones and those before `skip`.
    fn counting(&self, skip: u64, lost: &[u64]) -> RowSelection {
        let own = self.span();
        let within = |position: u64| {
            usize::try_from(position.saturating_sub(self.start)).unwrap_or(self.group_rows)
        };
        let mut from = own.start.max(skip.min(own.end));
        let mut ranges = Vec::new();
        let first = lost.partition_point(|at| *at < from);
        for at in lost
            .iter()
            .skip(first)
            .copied()
            .take_while(|at| *at < own.end)
        {
            ranges.push(within(from)..within(at));
            from = at + 1;
        }
        ranges.push(within(from)..within(own.end));
        RowSelection::from_consecutive_ranges(
            ranges.into_iter().filter(|range| !range.is_empty()),
            self.group_rows,
        )
    }
}

impl Found {
    /// The positions of its rows in the file.
    pub(crate) fn positions(&self) -> impl Iterator<Item = u64> {
        let mut at = self.start;
        self.rows
            .iter()
            .flat_map(move |RowSelector { row_count, skip }| {
                let from = at;
                at += *row_count as u64;
                if *skip { from..from } else { from..at }
            })
    }
}

fn tests(file: &ParquetFile, filter: &Filter) -> Vec<Test> {
    let of = |name: &str| {
        file.schema()
            .field_with_name(name)
            .map(|field| field.data_type().clone())
            .ok()
    };
    let mut tests = Vec::new();
    for (name, values) in filter.texts() {
        // Rows without a value count as "unknown".
        let missing = values.iter().any(|value| value == UNKNOWN);
        if !values.is_empty() && !missing && of(name) == Some(DataType::Utf8) {
            tests.push(Test::Text(name, values.to_vec()));
        }
    }
    let rates = &filter.tool_success_rates;
    if !rates.is_empty() && of("tool_success_rate").is_some_and(|rate| rate.is_floating()) {
        tests.push(Test::Rate(rates.iter().map(|rate| rate.get()).collect()));
    }
    let time = [filter.since, filter.until].map(|time| time.map(Timestamp::as_microsecond));
    if time != [None, None] && of("timestamp") == Some(timestamp_type()) {
        let [since, until] = time;
        tests.push(Test::Time(since, until));
    }
    tests
}

impl Test {
    fn column(&self) -> &'static str {
        match self {
            Self::Text(name, _) => name,
            Self::Rate(_) => "tool_success_rate",
            Self::Time(..) => "timestamp",
        }
    }

    fn may_be_within(&self, bounds: &Bounds) -> bool {
        match (self, bounds) {
            (_, Bounds::Nulls) => false,
            (Self::Text(_, values), Bounds::Bytes(min, max)) => values
                .iter()
                .any(|value| (*min..=*max).contains(&value.as_bytes())),
            (Self::Rate(rates), Bounds::Number(min, max)) => rates
                .iter()
                .any(|rate| (min - ROUNDING..=max + ROUNDING).contains(rate)),
            (Self::Time(since, until), Bounds::Whole(min, max)) => {
                since.is_none_or(|since| *max >= since) && until.is_none_or(|until| *min < until)
            }
            _ => true,
        }
    }

    /// Which values match; `None` where that is unknown.
    fn mask(&self, column: &dyn Array) -> Option<BooleanBuffer> {
        let rows = column.len();
        match self {
            Self::Text(_, wanted) => {
                let is_wanted = |text: &str| wanted.iter().any(|value| value == text);
                if let Some(keys) = column.as_dictionary_opt::<Int32Type>() {
                    let values = keys.values().as_string_opt::<i32>()?;
                    let matching: Vec<bool> = values
                        .iter()
                        .map(|text| text.is_some_and(is_wanted))
                        .collect();
                    let keys = keys.keys();
                    let matches = |key: i32| {
                        usize::try_from(key).is_ok_and(|key| matching.get(key) == Some(&true))
                    };
                    let mask = mask(keys.values(), |key| matches(*key));
                    return Some(match keys.nulls() {
                        Some(nulls) => &mask & nulls.inner(),
                        None => mask,
                    });
                }
                let texts = column.as_string_opt::<i32>()?;
                Some(BooleanBuffer::collect_bool(rows, |row| {
                    texts.is_valid(row) && is_wanted(texts.value(row))
                }))
            }
            Self::Rate(wanted) => {
                let numbers = cast(column, &DataType::Float64).ok()?;
                let numbers = numbers.as_primitive_opt::<Float64Type>()?;
                let is_wanted =
                    |number: &f64| wanted.iter().any(|rate| (rate - number).abs() < ROUNDING);
                let mask = mask(numbers.values(), is_wanted);
                Some(match numbers.nulls() {
                    Some(nulls) => &mask & nulls.inner(),
                    None => mask,
                })
            }
            Self::Time(since, until) => {
                let times = column.as_primitive_opt::<TimestampMicrosecondType>()?;
                let is_wanted = |time: &i64| {
                    since.is_none_or(|since| *time >= since)
                        && until.is_none_or(|until| *time < until)
                };
                let mask = mask(times.values(), is_wanted);
                Some(match times.nulls() {
                    Some(nulls) => &mask & nulls.inner(),
                    None => mask,
                })
            }
        }
    }
}

/// What is said of each value.
fn mask<T>(values: &[T], of: impl Fn(&T) -> bool) -> BooleanBuffer {
    BooleanBuffer::collect_bool(values.len(), |at| values.get(at).is_some_and(&of))
}

fn of_group(statistics: &Statistics) -> Option<Bounds<'_>> {
    // Written when nobody had said how text is ordered.
    if statistics.is_min_max_deprecated() {
        return None;
    }
    Some(match statistics {
        Statistics::ByteArray(range) => {
            Bounds::Bytes(range.min_opt()?.data(), range.max_opt()?.data())
        }
        Statistics::Double(range) => Bounds::Number(*range.min_opt()?, *range.max_opt()?),
        Statistics::Float(range) => {
            Bounds::Number(f64::from(*range.min_opt()?), f64::from(*range.max_opt()?))
        }
        Statistics::Int64(range) => Bounds::Whole(*range.min_opt()?, *range.max_opt()?),
        _ => return None,
    })
}

fn of_page(index: &ColumnIndexMetaData, at: usize) -> Option<Bounds<'_>> {
    if u64::try_from(at).ok()? >= index.num_pages() {
        return None;
    }
    if index.is_null_page(at) {
        return Some(Bounds::Nulls);
    }
    Some(match index {
        ColumnIndexMetaData::BYTE_ARRAY(pages) => {
            Bounds::Bytes(pages.min_value(at)?, pages.max_value(at)?)
        }
        ColumnIndexMetaData::DOUBLE(pages) => {
            Bounds::Number(*pages.min_value(at)?, *pages.max_value(at)?)
        }
        ColumnIndexMetaData::FLOAT(pages) => Bounds::Number(
            f64::from(*pages.min_value(at)?),
            f64::from(*pages.max_value(at)?),
        ),
        ColumnIndexMetaData::INT64(pages) => {
            Bounds::Whole(*pages.min_value(at)?, *pages.max_value(at)?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
