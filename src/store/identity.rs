//! Ids for the rows of a file that bring none, so that every row is an attempt at some test.
//!
//! Promises: the ids depend on what the rows say, on the file's source and on how many equal rows
//! are before them in it; not on the order of columns, on types, or on which rows are read. A file
//! whose rows all have ids costs a scan of its footer, or at that one column.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;
use parquet::file::statistics::Statistics;

use super::aggregate::{Columns, is_id};
use super::commit::external_main::more_than_once;
use super::error::{Error, Result};
use super::format::derived_id::{Origin, Source, derived_id};
use super::format::row_hash::{RowHash, row_hashes};
use super::format::row_kind::{Shape, shape, split};
use super::format::schema::{Union, adapt, project};
use super::parquet::{Ids, ParquetFile};
use super::threads;

/// What identifies a store to those who derive ids in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Namer {
    /// The store's id; empty before its first commit.
    pub(crate) store: String,
    /// Zone of naive times.
    pub(crate) zone: TimeZone,
}

impl Default for Namer {
    fn default() -> Self {
        Self::without_store(&TimeZone::UTC)
    }
}

/// The source of main's own rows.
pub(crate) const MAIN_SOURCE: &str = "main";

impl Namer {
    /// For files that are in no store.
    pub(crate) fn without_store(zone: &TimeZone) -> Self {
        Self {
            store: String::new(),
            zone: zone.clone(),
        }
    }

    /// A main, or a backup of one, whose rows all have ids when they are read.
    pub(crate) fn main(&self, file: &ParquetFile) -> ParquetFile {
        self.name(file, MAIN_SOURCE, true)
    }

    /// A file whose rows all have ids when they are read; `source` is a name that stays.
    pub(crate) fn file(&self, file: &ParquetFile, source: &str) -> ParquetFile {
        self.name(file, source, false)
    }

    fn name(&self, file: &ParquetFile, source: &str, is_main: bool) -> ParquetFile {
        let records = matches!(shape(file.stored()), Shape::Records | Shape::Numeric);
        if !records || is_complete(file) {
            return file.clone();
        }
        let mut union = Union::new();
        // Where the columns conflict, the file is refused by all who read it.
        if union.add(source, file.stored()).is_err() {
            return file.clone();
        }
        let ids = Derived {
            source: Source::new(&self.store, source),
            zone: self.zone.clone(),
            target: union.finish(),
            is_main,
            found: Mutex::default(),
        };
        file.with_ids(Some(Arc::new(ids)))
    }
}

/// Derives the ids of one file.
#[derive(Debug)]
struct Derived {
    source: Source,
    zone: TimeZone,
    /// The file's columns, united.
    target: SchemaRef,
    /// In main, rows that were consumed with an id lie among those without.
    is_main: bool,
    found: Mutex<Found>,
}

/// What is known of the file.
#[derive(Debug, Default)]
struct Found {
    lacking: Option<bool>,
    /// Of rows that have an equal one before them: position and how many, ascending.
    occurrences: Option<Arc<Vec<(u64, u32)>>>,
}

impl Ids for Derived {
    fn lacking(&self, file: &ParquetFile) -> Result<bool> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lacking) = found.lacking {
            return Ok(lacking);
        }
        let lacking = lacks_some(file)?;
        found.lacking = Some(lacking);
        Ok(lacking)
    }

    fn of(&self, file: &ParquetFile, batch: &RecordBatch, positions: &[u64]) -> Result<ArrayRef> {
        let occurrences = self.occurrences(file)?;
        let mut ids: Vec<Option<String>> = own_ids(batch)?;
        let rows = split(batch)?;
        let (Some(records), true) = (&rows.records, ids.iter().any(Option::is_none)) else {
            return Ok(Arc::new(ids.into_iter().collect::<StringArray>()));
        };
        let records = adapt(records, &self.target, &self.zone)?;
        let (columns, hashes) = (Columns::new(&records)?, row_hashes(&records, &self.zone)?);
        for ((row, at), hash) in rows.at.iter().enumerate().zip(&hashes) {
            let (Some(id @ None), Some(position)) = (ids.get_mut(*at), positions.get(*at)) else {
                continue;
            };
            let occurrence = occurrences
                .binary_search_by_key(position, |(at, _)| *at)
                .ok()
                .and_then(|found| occurrences.get(found))
                .map_or(0, |(_, occurrence)| *occurrence);
            *id = Some(derived_id(
                &origin(&columns, row, *hash),
                &self.source,
                occurrence,
            ));
        }
        Ok(Arc::new(ids.into_iter().collect::<StringArray>()))
    }
}

fn origin(columns: &Columns, row: usize, hash: RowHash) -> Origin {
    Origin {
        cell: columns.cell_key(row),
        timestamp: columns.timestamp(row),
        hash: hash.hash,
    }
}

/// The ids that rows bring, as text; `None` where there is no column for them.
fn id_texts(batch: &RecordBatch) -> Result<Option<StringArray>> {
    let Some(column) = batch.column_by_name("test_id") else {
        return Ok(None);
    };
    let mut union = Union::new();
    union.add(
        "",
        &batch
            .schema()
            .project(&[batch.schema().index_of("test_id").unwrap_or(0)])
            .map_err(refused)?,
    )?;
    let one = RecordBatch::try_from_iter([("test_id", column.clone())]).map_err(refused)?;
    let texts = adapt(
        &one,
        &project(&union.finish(), &["test_id"]),
        &TimeZone::UTC,
    )?;
    Ok(Some(texts.column(0).as_string::<i32>().clone()))
}

/// The id of each row that has one.
fn own_ids(batch: &RecordBatch) -> Result<Vec<Option<String>>> {
    let Some(texts) = id_texts(batch)? else {
        return Ok(vec![None; batch.num_rows()]);
    };
    let own = texts
        .iter()
        .map(|id| id.filter(|id| is_id(id)).map(str::to_owned));
    Ok(own.collect())
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
fn refused(error: arrow::error::ArrowError) -> Error {
    Error::Refused(format!("the ids of rows can't be read: {error}"))
}

/// Spellings of a missing id.
const ABSENT: [&[u8]; 7] = [b"", b"nan", b"NaN", b"None", b"NaT", b"<NA>", b"null"];

/// The row groups of which the footer does not say that all rows have ids.
fn unclear(file: &ParquetFile) -> Option<Vec<usize>> {
    let metadata = file.metadata();
    let leaves = metadata.file_metadata().schema_descr();
    let leaf =
        (0..leaves.num_columns()).find(|leaf| leaves.column(*leaf).path().string() == "test_id")?;
    let is_clear = |statistics: &Statistics| {
        let whole = statistics.null_count_opt() == Some(0);
        let spelled = match statistics {
            Statistics::ByteArray(range) if !statistics.is_min_max_deprecated() => {
                match (range.min_opt(), range.max_opt()) {
                    (Some(min), Some(max)) => ABSENT
                        .iter()
                        .any(|text| (min.data()..=max.data()).contains(text)),
                    _ => true,
                }
            }
            Statistics::Int32(_) | Statistics::Int64(_) => false,
            _ => true,
        };
        whole && !spelled
    };
    let groups = metadata
        .row_groups()
        .iter()
        .enumerate()
        .filter(|(_, group)| {
            let statistics = group
                .columns()
                .get(leaf)
                .and_then(|chunk| chunk.statistics());
            group.num_rows() > 0 && !statistics.is_some_and(is_clear)
        });
    Some(groups.map(|(group, _)| group).collect())
}

/// Whether the footer says that all rows have ids.
fn is_complete(file: &ParquetFile) -> bool {
    let marked = file.is_ours() && file.key_value(IDENTIFIED).is_some();
    marked || unclear(file).is_some_and(|groups| groups.is_empty())
}

/// The footer's key of files of ours whose rows all have ids.
pub(crate) const IDENTIFIED: &str = "evaltop.identified";

/// Whether all rows of a batch bring an id.
pub(crate) fn have_ids(batch: &RecordBatch) -> Result<bool> {
    Ok(match id_texts(batch)? {
        Some(texts) => texts.iter().all(|id| id.is_some_and(is_id)),
        None => batch.num_rows() == 0,
    })
}

/// Whether a row has no id, as the file is stored.
fn lacks_some(file: &ParquetFile) -> Result<bool> {
    let Some(groups) = unclear(file) else {
        return Ok(file.rows() > 0);
    };
    let rows = file.rows().saturating_mul(groups.len() as u64)
        / (file.metadata().num_row_groups() as u64).max(1);
    let found = threads::each(threads::for_rows(rows), groups, |group| {
        for batch in file.row_groups(Some(&["test_id"]), vec![group])? {
            if !have_ids(&batch?)? {
                return Ok(true);
            }
        }
        Ok(false)
    });
    found
        .into_iter()
        .try_fold(false, |lacks, found: Result<bool>| Ok(lacks | found?))
}

/// Columns that distinguish most rows of a file, and that are read quickly.
const DISTINGUISHING: [&str; 11] = [
    "model",
    "prompt_type",
    "tool_success_rate",
    "difficulty",
    "task_type",
    "test_id",
    "timestamp",
    "timestamp_text",
    "task_id",
    "execution_time",
    "success",
];

impl Derived {
    fn occurrences(&self, file: &ParquetFile) -> Result<Arc<Vec<(u64, u32)>>> {
        // Whoever comes second waits instead of reading it too.
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(occurrences) = &found.occurrences {
            return Ok(Arc::clone(occurrences));
        }
        let occurrences = Arc::new(self.count(file)?);
        found.occurrences = Some(Arc::clone(&occurrences));
        Ok(occurrences)
    }

    /// Finds rows that equal an earlier one: first those that are alike in a few columns.
    fn count(&self, file: &ParquetFile) -> Result<Vec<(u64, u32)>> {
        let mut hashes = Vec::new();
        self.each_alike(file, |_, hash| hashes.push(hash))?;
        let alike = more_than_once(hashes);
        if alike.is_empty() {
            return Ok(Vec::new());
        }
        let mut positions = Vec::new();
        self.each_alike(file, |at, hash| {
            positions.extend(alike.contains(&hash).then_some(at));
        })?;
        let mut known: HashMap<u128, Equal> = HashMap::new();
        let mut rows: Vec<(u64, Origin)> = Vec::new();
        let mut at = positions.iter().copied();
        for batch in file.rows_at(None, &positions)? {
            let batch = batch?;
            let own = own_ids(&batch)?;
            let here: Vec<u64> = at.by_ref().take(batch.num_rows()).collect();
            let rows_of = split(&batch)?;
            let Some(records) = rows_of.records else {
                continue;
            };
            let records = adapt(&records, &self.target, &self.zone)?;
            let (columns, hashes) = (Columns::new(&records)?, row_hashes(&records, &self.zone)?);
            for ((row, at), hash) in rows_of.at.iter().enumerate().zip(hashes) {
                match (own.get(*at), here.get(*at)) {
                    (Some(None), Some(position)) => {
                        rows.push((*position, origin(&columns, row, hash)));
                    }
                    (Some(Some(id)), _) => {
                        known.entry(hash.hash).or_default().ids.insert(id.clone());
                    }
                    _ => {}
                }
            }
        }
        let mut occurrences = Vec::new();
        for (position, row) in rows {
            let occurrence = known.entry(row.hash).or_default().next(&row, &self.source);
            if occurrence > 0 {
                occurrences.push((position, occurrence));
            }
        }
        Ok(occurrences)
    }

    /// Says position and a hash of each row that may need an id; in main of the others too.
    fn each_alike(&self, file: &ParquetFile, mut take: impl FnMut(u64, u64)) -> Result<()> {
        let plain = shape(file.stored()) == Shape::Records;
        let columns = plain.then_some(&DISTINGUISHING[..]);
        let target = project(&self.target, &DISTINGUISHING);
        let mut at = 0;
        for batch in file.batches(columns, 0)? {
            let batch = batch?;
            let own = own_ids(&batch)?;
            let rows_of = split(&batch)?;
            if let Some(records) = rows_of.records {
                let records = adapt(&records, &target, &self.zone)?;
                for (row, hash) in rows_of.at.iter().zip(row_hashes(&records, &self.zone)?) {
                    if self.is_main || own.get(*row).is_some_and(Option::is_none) {
                        take(at + *row as u64, hash.hash as u64);
                    }
                }
            }
            at += batch.num_rows() as u64;
        }
        Ok(())
    }
}

/// Rows that equal each other.
#[derive(Default)]
struct Equal {
    /// The ids of those that bring one.
    ids: HashSet<String>,
    /// The occurrence of the next one that brings none.
    next: u32,
}

impl Equal {
    /// A row whose time distinguishes it from every other is the one that has its id already; any other
    /// takes the first id that is not given yet.
    fn next(&mut self, row: &Origin, source: &Source) -> u32 {
        if !row.is_unique() {
            while self.ids.contains(&derived_id(row, source, self.next)) {
                self.next += 1;
            }
        }
        self.next += 1;
        self.next - 1
    }
}

#[cfg(test)]
mod tests;
