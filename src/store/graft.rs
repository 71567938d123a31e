//! Row groups that a new file takes over from an old one byte for byte: the chunks
//! are copied, what points at them is shifted, and one new footer names them next to
//! the row groups that were encoded anew.
//!
//! Promises: only files that this program wrote, whose columns the new file has in
//! the same types, are grafted; statistics, page indexes and bloom filters stay with
//! their chunks; a column that the old file lacks is all null and costs one small
//! chunk per row group. Whatever can't be grafted safely is [`Stock::of`]'s `None`.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::file::metadata::page_index::PageIndexProvider;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::{SchemaDescPtr, SchemaDescriptor};

use super::error::{Error, Result};
use super::parquet_file::ParquetFile;

mod footer;
mod nulls;
mod shift;

pub(super) use footer::{Footer, Indexes, Kept, Skipping, advance};
pub(super) use nulls::Nulls;
pub(super) use shift::Shift;

/// What `created_by` of our files begins with.
pub(super) const CREATED_BY: &str = "evaltop version ";

/// Bytes of the magic that a Parquet file begins with.
pub(super) const MAGIC: u64 = 4;

/// A file whose row groups can be grafted into one with the columns of `schema`.
#[derive(Debug)]
pub(super) struct Stock<'a> {
    pub(super) file: &'a ParquetFile,
    /// The columns of the new file.
    pub(super) columns: SchemaDescPtr,
    page_index: Option<Arc<dyn PageIndexProvider>>,
    /// For each leaf column of the new file, the old file's; `None` where it has none.
    from: Vec<Option<usize>>,
    /// The fields that the old file lacks.
    missing: SchemaRef,
}

impl<'a> Stock<'a> {
    /// `None` when the file's row groups have to be encoded anew.
    pub(super) fn of(file: &'a ParquetFile, schema: &SchemaRef) -> Result<Option<Self>> {
        let footer = file.metadata().file_metadata();
        if !footer.created_by().is_some_and(|by| by.starts_with(CREATED_BY)) {
            return Ok(None);
        }
        // A column that is gone or of another type.
        let stays = |own: &arrow::datatypes::FieldRef| {
            let new = schema.field_with_name(own.name());
            new.is_ok_and(|new| (new.data_type(), new.is_nullable()) == (own.data_type(), own.is_nullable()))
        };
        if !file.schema().fields().iter().all(stays) || file.metadata().row_groups().iter().any(is_odd) {
            return Ok(None);
        }
        let columns = ArrowSchemaConverter::new().convert(schema).map_err(|error| {
            Error::Refused(format!("the united columns can't be written as Parquet ({error})"))
        })?;
        let Some(from) = sources(&columns, footer.schema_descr()) else { return Ok(None) };
        let missing = schema.fields().iter().filter(|field| !file.has_column(field.name()));
        let missing = Arc::new(Schema::new(missing.cloned().collect::<Vec<_>>()));
        let page_index = file.page_index()?;
        Ok(Some(Self { file, columns: Arc::new(columns), page_index, from, missing }))
    }

    /// The extents of the row groups' bytes, in the file's order, adjacent ones joined.
    pub(super) fn extents(&self, groups: Range<usize>) -> Vec<Range<u64>> {
        let groups = self.file.metadata().row_groups().get(groups).unwrap_or_default();
        let mut extents: Vec<Range<u64>> =
            groups.iter().flat_map(RowGroupMetaData::columns).flat_map(ranges).collect();
        extents.sort_unstable_by_key(|range| range.start);
        extents.dedup_by(|next, last| {
            let adjacent = next.start <= last.end;
            if adjacent {
                last.end = last.end.max(next.end);
            }
            adjacent
        });
        extents
    }

    /// A row group as it is after its bytes were moved.
    pub(super) fn moved(&self, group: usize, shift: &Shift, nulls: &mut Nulls) -> Result<Kept> {
        let damaged = || Error::unreadable(self.file.path(), "its footer contradicts itself");
        let old = self.file.metadata().row_groups().get(group).ok_or_else(damaged)?;
        let mut columns = Vec::with_capacity(self.from.len());
        let mut indexes = Vec::with_capacity(self.from.len());
        for (at, from) in self.from.iter().enumerate() {
            let (chunk, index) = match from {
                Some(from) => {
                    let chunk = old.columns().get(*from).ok_or_else(damaged)?;
                    let index = Indexes::of(self.page_index.as_deref(), group, *from);
                    (shift.chunk(chunk).ok_or_else(damaged)?, shift.index(index).ok_or_else(damaged)?)
                }
                None => nulls.column(self.columns.column(at).path(), old.num_rows()).ok_or_else(damaged)?,
            };
            columns.push(shift::described(chunk, &self.columns.column(at)).map_err(|_| damaged())?);
            indexes.push(index);
        }
        let start = columns.iter().map(|column| column.byte_range().0).min().unwrap_or_default();
        let group = RowGroupMetaData::builder(self.columns.clone())
            .set_num_rows(old.num_rows())
            .set_total_byte_size(columns.iter().map(ColumnChunkMetaData::uncompressed_size).sum())
            .set_sorting_columns(old.sorting_columns().cloned())
            .set_file_offset(start as i64)
            .set_column_metadata(columns)
            .build()
            .map_err(|_| damaged())?;
        Ok(Kept { group, indexes })
    }

    /// The columns that the old file lacks.
    pub(super) fn nulls(&self) -> Nulls {
        Nulls::of(self.missing.clone())
    }

    /// Rows of a row group.
    pub(super) fn rows(&self, group: usize) -> i64 {
        self.file.metadata().row_groups().get(group).map_or(0, RowGroupMetaData::num_rows)
    }
}

/// The bytes that belong to a chunk.
fn ranges(chunk: &ColumnChunkMetaData) -> impl Iterator<Item = Range<u64>> {
    let (start, length) = chunk.byte_range();
    let bloom = chunk.bloom_filter_offset().zip(chunk.bloom_filter_length());
    let bloom = bloom.map(|(start, length)| start as u64..start as u64 + length as u64);
    [Some(start..start + length), bloom].into_iter().flatten()
}

/// Whether something about a row group is not as this program writes it.
fn is_odd(group: &RowGroupMetaData) -> bool {
    group.columns().iter().any(|chunk| {
        let unmeasured = chunk.bloom_filter_offset().is_some() != chunk.bloom_filter_length().is_some();
        unmeasured || chunk.file_path().is_some() || chunk.index_page_offset().is_some()
    })
}

/// For each leaf column of the new file the old one; `None` when a type differs.
fn sources(new: &SchemaDescriptor, old: &SchemaDescriptor) -> Option<Vec<Option<usize>>> {
    let find = |column: &parquet::schema::types::ColumnDescPtr| {
        old.columns().iter().position(|other| other.path() == column.path())
    };
    let from: Vec<_> = new.columns().iter().map(find).collect();
    let same = |(column, from): (&parquet::schema::types::ColumnDescPtr, &Option<usize>)| {
        from.is_none_or(|from| old.column(from) == *column)
    };
    let all = from.iter().flatten().count() == old.num_columns();
    (all && new.columns().iter().zip(&from).all(same)).then_some(from)
}

/// The chunks and page indexes of a file that was just encoded.
pub(super) fn encoded(footer: &ParquetMetaData) -> impl Iterator<Item = Kept> {
    let index = footer.page_index();
    footer.row_groups().iter().enumerate().map(move |(at, group)| Kept {
        group: group.clone(),
        indexes: (0..group.num_columns())
            .map(|column| Indexes::of(index.map(|index| &**index), at, column))
            .collect(),
    })
}

#[cfg(test)]
mod tests;
