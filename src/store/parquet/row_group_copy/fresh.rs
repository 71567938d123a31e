//! Chunks that an old file does not have as the new one needs them: those of columns that
//! it lacks are all null, and those of columns that it has in a narrower type are encoded
//! again.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef};
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnPath;

use super::{Indexes, Kept, MAGIC, Shift, Stock, encoded, unwritable};
use crate::store::error::{Error, Result};
use crate::store::format::schema::adapt;
use crate::store::parquet::table;

/// Such chunks of one row group.
#[derive(Debug)]
pub(crate) struct Fresh {
    rows: i64,
    /// A file of its own.
    bytes: Vec<u8>,
    kept: Kept,
    /// Where the bytes were put.
    shift: Shift,
}

/// Whether values of one type are written again as values of the other while the other columns
/// are copied: no key is made of such a column.
pub(crate) fn widens(from: &DataType, to: &DataType) -> bool {
    (from, to) == (&DataType::Int64, &DataType::Float64)
}

impl Fresh {
    /// Those of a row group; `None` where every column is copied. `before` are those of
    /// another one.
    pub(crate) fn of(
        stock: &Stock<'_>,
        group: usize,
        before: Option<Self>,
    ) -> Result<Option<Self>> {
        if stock.fresh.fields().is_empty() {
            return Ok(None);
        }
        let rows = stock.rows(group);
        let fields = stock
            .fresh
            .fields()
            .iter()
            .map(|field| field.name().as_str());
        let widened: Vec<&str> = fields.filter(|name| stock.file.has_column(name)).collect();
        if widened.is_empty() && before.as_ref().is_some_and(|before| before.rows == rows) {
            return Ok(before);
        }
        let mut batches = Vec::new();
        for batch in stock.file.row_groups(Some(&widened), vec![group])? {
            batches.push(adapt(&batch?, &stock.fresh, &TimeZone::UTC)?);
        }
        let batch = concat_batches(&stock.fresh, &batches);
        let batch = batch.map_err(|error| unwritable(&error))?;
        if i64::try_from(batch.num_rows()) != Ok(rows) {
            return Err(Error::unreadable(
                stock.file.path(),
                "it has fewer rows than its footer says",
            ));
        }
        let (bytes, kept) = encode(&stock.fresh, &batch).map_err(|error| unwritable(&error))?;
        Ok(Some(Self {
            rows,
            bytes,
            kept,
            shift: Shift::default(),
        }))
    }

    /// The bytes, which go to `position`.
    pub(crate) fn place(&mut self, position: u64) -> &[u8] {
        self.shift = Shift::default();
        self.shift.push(MAGIC..self.bytes.len() as u64, position);
        self.bytes.get(MAGIC as usize..).unwrap_or_default()
    }

    /// A column of the row group that was placed last.
    pub(crate) fn column(&self, path: &ColumnPath) -> Option<(ColumnChunkMetaData, Indexes)> {
        let at = self
            .kept
            .group
            .columns()
            .iter()
            .position(|column| column.column_path() == path)?;
        let (chunk, index) = (
            self.kept.group.columns().get(at)?,
            self.kept.indexes.get(at)?,
        );
        Some((self.shift.chunk(chunk)?, self.shift.index(index.clone())?))
    }
}

fn encode(columns: &SchemaRef, batch: &RecordBatch) -> Result<(Vec<u8>, Kept), ParquetError> {
    let properties = table::properties(columns)
        .into_builder()
        .set_max_row_group_row_count(None)
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(columns), Some(properties))?;
    writer.write(batch)?;
    writer.flush()?;
    writer.sync()?;
    let bytes = writer.inner().clone();
    let footer = writer.finish()?;
    let kept = encoded(&footer)
        .next()
        .ok_or(ParquetError::EOF("no chunks".into()))?;
    Ok((bytes, kept))
}
