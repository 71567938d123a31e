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
use crate::store::parquet::ParquetFile;
use crate::store::parquet::table::TableWriter;
use crate::store::{Control, Store};

/// New rows of one source.
pub(crate) struct Part<'a> {
    pub(crate) source: String,
    pub(crate) schema: SchemaRef,
    pub(crate) rows: Box<dyn Iterator<Item = Result<RecordBatch>> + 'a>,
}

/// What stays of the files that are there.
pub(crate) struct Old<'a> {
    pub(crate) files: &'a [ParquetFile],
    /// Positions, counted over all files, of the rows that go; ascending.
    pub(crate) losers: &'a [u64],
    /// The position before which the new rows come; `None` for the end.
    pub(crate) at: Option<u64>,
}

/// Writes the file; none where no row is left.
pub(crate) fn write(
    store: &Store,
    old: &Old<'_>,
    parts: Vec<Part<'_>>,
    control: &Control,
) -> Result<Vec<Summaries>> {
    let root = store.layout.root();
    let temporary = format!(".summaries_{}.tmp", uuid::Uuid::now_v7().simple());
    let path = root.join(&temporary);
    let clean = || drop(store.disk.remove(root, &[&temporary]));
    let rows = write_to(store, &path, old, parts, control).inspect_err(|_| clean())?;
    if rows == 0 {
        clean();
        return Ok(Vec::new());
    }
    let name = named_by_hash::publish(store, &temporary, summaries_name)?;
    Ok(vec![Summaries { name, rows }])
}

fn write_to(
    store: &Store,
    path: &std::path::Path,
    old: &Old<'_>,
    parts: Vec<Part<'_>>,
    control: &Control,
) -> Result<u64> {
    let target = columns(old, &parts)?;
    let file = store.disk.create(path).map_err(Error::io("create", path))?;
    let mut out = Out {
        table: TableWriter::new(file, path, &target)?,
        target,
        rows: 0,
    };
    let mut parts = Some(parts);
    let mut position = 0;
    for file in old.files {
        for batch in file.batches(None, 0)? {
            control.check()?;
            let batch = batch?;
            let end = position + batch.num_rows() as u64;
            let cut = old
                .at
                .filter(|at| (position..end).contains(at))
                .map_or(0, |at| at - position);
            let (before, after) = halves(&batch, cut as usize);
            out.kept(&before, position, old.losers)?;
            if old.at.is_some_and(|at| at < end) {
                out.new_rows(parts.take(), control)?;
            }
            out.kept(&after, position + cut, old.losers)?;
            position = end;
        }
    }
    out.new_rows(parts.take(), control)?;
    out.table.finish()?;
    Ok(out.rows)
}

fn halves(batch: &RecordBatch, cut: usize) -> (RecordBatch, RecordBatch) {
    (
        batch.slice(0, cut),
        batch.slice(cut, batch.num_rows() - cut),
    )
}

struct Out<'a> {
    table: TableWriter<'a>,
    target: SchemaRef,
    rows: u64,
}

impl Out<'_> {
    /// Rows that are there, from a position on.
    fn kept(&mut self, batch: &RecordBatch, position: u64, losers: &[u64]) -> Result<()> {
        let stays = (position..)
            .take(batch.num_rows())
            .map(|at| losers.binary_search(&at).is_err());
        let stays: BooleanArray = stays.map(Some).collect();
        let batch = filter_record_batch(batch, &stays).map_err(refused)?;
        self.write(&batch)
    }

    fn new_rows(&mut self, parts: Option<Vec<Part<'_>>>, control: &Control) -> Result<()> {
        for part in parts.into_iter().flatten() {
            for batch in part.rows {
                control.check()?;
                self.write(&with_source(&batch?, &part.source)?)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows += batch.num_rows() as u64;
        // Summary rows have no time of their own, so the zone does not matter.
        self.table
            .write(&adapt(batch, &self.target, &TimeZone::UTC)?)
    }
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
