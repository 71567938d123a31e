//! Chunks of columns that an old file lacks: all null, encoded once for each number
//! of rows.

use std::collections::HashMap;

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnPath;

use super::{Indexes, Kept, MAGIC, Shift, encoded};
use crate::store::table;

/// All-null chunks of the missing columns.
#[derive(Debug)]
pub(in crate::store) struct Nulls {
    columns: SchemaRef,
    /// By rows: the bytes of the chunks, and what a footer says of them.
    known: HashMap<i64, (Vec<u8>, Kept)>,
    /// Where the bytes of the current row group were put.
    shift: Shift,
}

impl Nulls {
    pub(super) fn of(columns: SchemaRef) -> Self {
        Self { columns, known: HashMap::new(), shift: Shift::default() }
    }

    /// The bytes for a row group of so many rows, which go to `position`.
    pub(in crate::store) fn place(&mut self, rows: i64, position: u64) -> Result<&[u8], ParquetError> {
        if self.columns.fields().is_empty() {
            return Ok(&[]);
        }
        if !self.known.contains_key(&rows) {
            self.known.insert(rows, encode(&self.columns, rows)?);
        }
        let (bytes, _) = self.known.get(&rows).ok_or(ParquetError::EOF("no null chunks".into()))?;
        self.shift = Shift::default();
        self.shift.push(MAGIC..bytes.len() as u64, position);
        Ok(bytes.get(MAGIC as usize..).unwrap_or_default())
    }

    /// A column of the row group that was placed last.
    pub(super) fn column(&self, path: &ColumnPath, rows: i64) -> Option<(ColumnChunkMetaData, Indexes)> {
        let (_, kept) = self.known.get(&rows)?;
        let at = kept.group.columns().iter().position(|column| column.column_path() == path)?;
        let (chunk, index) = (kept.group.columns().get(at)?, kept.indexes.get(at)?);
        Some((self.shift.chunk(chunk)?, self.shift.index(index.clone())?))
    }
}

fn encode(columns: &SchemaRef, rows: i64) -> Result<(Vec<u8>, Kept), ParquetError> {
    let length = usize::try_from(rows).unwrap_or(0);
    let arrays = columns.fields().iter().map(|field| new_null_array(field.data_type(), length));
    let batch = RecordBatch::try_new(columns.clone(), arrays.collect())?;
    let properties = table::properties(columns).into_builder().set_max_row_group_row_count(None).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), columns.clone(), Some(properties))?;
    writer.write(&batch)?;
    writer.flush()?;
    writer.sync()?;
    let bytes = writer.inner().clone();
    let footer = writer.finish()?;
    let kept = encoded(&footer).next().ok_or(ParquetError::EOF("no null chunks".into()))?;
    Ok((bytes, kept))
}
