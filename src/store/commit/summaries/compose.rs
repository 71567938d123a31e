//! Writes a file of summary rows: those that were there, but for some, and new ones.
//!
//! Promises: the file appears whole and synced, under a name that carries the hash of
//! its bytes; it counts only once a commit names it. The same rows in the same order
//! make the same bytes, and so the same name.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use jiff::tz::TimeZone;

use crate::store::aggregate::summary::SOURCE;
use crate::store::commit::named_by_hash;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::Summaries;
use crate::store::format::layout::summaries_name;
use crate::store::format::schema::{Union, adapt};
use crate::store::format::{RowHash, row_hashes};
use crate::store::parquet::ParquetFile;
use crate::store::parquet::table::TableWriter;
use crate::store::{Control, Store};

/// New rows of one source.
pub(crate) struct Part<'a> {
    pub(crate) source: String,
    pub(crate) schema: SchemaRef,
    pub(crate) rows: Box<dyn Iterator<Item = Result<RecordBatch>> + 'a>,
    /// The position of an old row that it takes the place of; `None` for the end.
    pub(crate) at: Option<u64>,
}

/// What stays of the files that are there.
pub(crate) struct Old<'a> {
    pub(crate) files: &'a [ParquetFile],
    /// Positions, counted over all files, of the rows that go, ascending; and the number of the
    /// part that takes their place.
    pub(crate) losers: &'a [(u64, usize)],
}

/// What was written.
pub(crate) struct Written {
    /// The file; none where no row is left.
    pub(crate) files: Vec<Summaries>,
    /// By part, whether its rows differ from those whose place it takes. Known where there are
    /// several parts.
    pub(crate) differs: Vec<bool>,
}

/// Writes the file.
pub(crate) fn write(
    store: &Store,
    old: &Old<'_>,
    parts: Vec<Part<'_>>,
    control: &Control,
) -> Result<Written> {
    let root = store.layout.root();
    let temporary = format!(".summaries_{}.tmp", uuid::Uuid::now_v7().simple());
    let path = root.join(&temporary);
    let clean = || drop(store.disk.remove(root, &[&temporary]));
    let (rows, differs) = write_to(store, &path, old, parts, control).inspect_err(|_| clean())?;
    if rows == 0 {
        clean();
        return Ok(Written {
            files: Vec::new(),
            differs,
        });
    }
    let name = named_by_hash::publish(store, &temporary, summaries_name)?;
    Ok(Written {
        files: vec![Summaries { name, rows }],
        differs,
    })
}

fn write_to(
    store: &Store,
    path: &std::path::Path,
    old: &Old<'_>,
    parts: Vec<Part<'_>>,
    control: &Control,
) -> Result<(u64, Vec<bool>)> {
    let target = columns(old, &parts)?;
    let file = store.disk.create(path).map_err(Error::io("create", path))?;
    let several = parts.len() > 1;
    let mut out = Out {
        table: TableWriter::new(file, path, &target)?,
        target,
        rows: 0,
        seen: vec![Seen::default(); if several { parts.len() } else { 0 }],
    };
    let mut parts: Vec<(usize, Part<'_>)> = parts.into_iter().enumerate().collect();
    // In the order of their places: those for the end come last, in the order that they have.
    parts.sort_by_key(|(_, part)| part.at.unwrap_or(u64::MAX));
    let mut parts = parts.into_iter().peekable();
    let mut position = 0;
    for file in old.files {
        for batch in file.batches(None, 0)? {
            control.check()?;
            let mut rest = batch?;
            let end = position + rest.num_rows() as u64;
            while let Some((at, part)) =
                parts.next_if(|(_, part)| part.at.is_some_and(|at| at < end))
            {
                let cut = part.at.unwrap_or(0).saturating_sub(position) as usize;
                out.kept(&rest.slice(0, cut), position, old.losers)?;
                rest = rest.slice(cut, rest.num_rows() - cut);
                position += cut as u64;
                out.new_rows(at, part, control)?;
            }
            out.kept(&rest, position, old.losers)?;
            position = end;
        }
    }
    for (at, part) in parts {
        out.new_rows(at, part, control)?;
    }
    out.table.finish()?;
    let differs = out.seen.iter().map(|own| own.old != own.new);
    Ok((out.rows, differs.collect()))
}

struct Out<'a> {
    table: TableWriter<'a>,
    target: SchemaRef,
    rows: u64,
    /// By part.
    seen: Vec<Seen>,
}

/// The rows that a part replaces, and those that it brings.
#[derive(Debug, Clone, Default)]
struct Seen {
    old: Vec<RowHash>,
    new: Vec<RowHash>,
}

impl Out<'_> {
    /// Rows that are there, from a position on.
    fn kept(&mut self, batch: &RecordBatch, position: u64, losers: &[(u64, usize)]) -> Result<()> {
        let part = |at: u64| {
            let found = losers.binary_search_by_key(&at, |(loser, _)| *loser).ok()?;
            losers.get(found).map(|(_, part)| *part)
        };
        let parts: Vec<Option<usize>> = (position..).take(batch.num_rows()).map(part).collect();
        if !self.seen.is_empty() && parts.iter().any(Option::is_some) {
            let hashes = hashes(&self.adapted(batch)?)?;
            for (part, hash) in parts.iter().zip(hashes) {
                if let Some(seen) = part.and_then(|part| self.seen.get_mut(part)) {
                    seen.old.push(hash);
                }
            }
        }
        let stays: BooleanArray = parts.iter().map(|part| Some(part.is_none())).collect();
        let batch = filter_record_batch(batch, &stays).map_err(refused)?;
        let batch = self.adapted(&batch)?;
        self.write(&batch)
    }

    fn new_rows(&mut self, at: usize, part: Part<'_>, control: &Control) -> Result<()> {
        for batch in part.rows {
            control.check()?;
            let batch = self.adapted(&with_source(&batch?, &part.source)?)?;
            if self.seen.get(at).is_some() {
                let hashes = hashes(&batch)?;
                if let Some(seen) = self.seen.get_mut(at) {
                    seen.new.extend(hashes);
                }
            }
            self.write(&batch)?;
        }
        Ok(())
    }

    // Summary rows have no time of their own, so the zone does not matter.
    fn adapted(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        adapt(batch, &self.target, &TimeZone::UTC)
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows() as u64;
        self.table.write(batch)
    }
}

/// Hashes of rows with all that they say. Those of records leave out counts, which are what matters
/// here.
fn hashes(batch: &RecordBatch) -> Result<Vec<RowHash>> {
    let own = batch.schema();
    let named = |field: &Arc<Field>| {
        let name = format!("own {}", field.name());
        Field::new(name, field.data_type().clone(), true)
    };
    let schema = Schema::new(own.fields().iter().map(named).collect::<Vec<_>>());
    let columns = batch.columns().to_vec();
    let batch = RecordBatch::try_new(Arc::new(schema), columns).map_err(refused)?;
    row_hashes(&batch, &TimeZone::UTC)
}

/// The united columns, times as text and truth values as numbers, as legacy files
/// have them in one or the other form.
fn columns(old: &Old<'_>, parts: &[Part<'_>]) -> Result<SchemaRef> {
    let mut union = Union::of_summaries();
    let source = Schema::new(vec![Field::new(SOURCE, DataType::Utf8, true)]);
    union.add(SOURCE, &source)?;
    for file in old.files {
        union.add(&file.path().display().to_string(), &plain(file.schema()))?;
    }
    for part in parts {
        union.add(&part.source, &plain(&part.schema))?;
    }
    Ok(union.finish())
}

fn plain(schema: &Schema) -> Schema {
    let fields = schema
        .fields()
        .iter()
        .filter(|field| field.name() != SOURCE)
        .map(|field| {
            let data_type = match field.data_type() {
                DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => DataType::Utf8,
                DataType::Boolean => DataType::Int64,
                other => other.clone(),
            };
            Field::new(field.name(), data_type, true)
        });
    Schema::new(fields.collect::<Vec<_>>())
}

fn with_source(batch: &RecordBatch, source: &str) -> Result<RecordBatch> {
    let names: ArrayRef = Arc::new(StringArray::from(vec![source; batch.num_rows()]));
    let own = batch.schema();
    let columns = own
        .fields()
        .iter()
        .zip(batch.columns())
        .filter(|(field, _)| field.name() != SOURCE);
    let mut columns: Vec<(&str, ArrayRef)> = columns
        .map(|(field, column)| (field.name().as_str(), column.clone()))
        .collect();
    columns.push((SOURCE, names));
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .map_err(refused)
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
pub(crate) fn refused(error: arrow::error::ArrowError) -> Error {
    Error::Refused(format!("summary rows can't be put together: {error}"))
}
