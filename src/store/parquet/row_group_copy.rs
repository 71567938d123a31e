//! Row groups that a new file takes over from an old one byte for byte: the chunks
//! are copied, what points at them is shifted, and one new footer names them next to
//! the row groups that were encoded again.
//!
//! Promises: only files that this program wrote, whose columns the new file has too, are
//! grafted; statistics, page indexes and bloom filters stay with their chunks; a column that
//! the old file lacks is all null and costs one small chunk per row group; one of whole
//! numbers that is to hold fractions is encoded again, and no other. Whatever can't be grafted
//! safely is [`Stock::of`]'s `None`.

use std::ops::Range;
use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema, SchemaRef};
use parquet::arrow::ArrowSchemaConverter;
use parquet::file::metadata::page_index::PageIndexProvider;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::schema::types::{ColumnDescPtr, SchemaDescPtr, SchemaDescriptor};

use super::ParquetFile;
use crate::store::error::{Error, Result};

mod footer;
mod fresh;
mod shift;

pub(crate) use footer::{Footer, Indexes, Kept, Skipping, advance};
pub(crate) use fresh::Fresh;
pub(crate) use shift::Shift;

/// What `created_by` of our files begins with.
pub(crate) const CREATED_BY: &str = "evaltop version ";

/// Bytes of the magic that a Parquet file begins with.
pub(crate) const MAGIC: u64 = 4;

/// A file whose row groups can be grafted into one with the columns of `schema`.
#[derive(Debug)]
pub(crate) struct Stock<'a> {
    pub(crate) file: &'a ParquetFile,
    /// The columns of the new file.
    pub(crate) columns: SchemaDescPtr,
    page_index: Option<Arc<dyn PageIndexProvider>>,
    /// For each leaf column of the new file, the old file's; `None` where it is not copied.
    from: Vec<Option<usize>>,
    /// The fields that the old file lacks, or has in a narrower type.
    fresh: SchemaRef,
}

impl<'a> Stock<'a> {
    /// `None` when the file's row groups have to be encoded again.
    pub(crate) fn of(file: &'a ParquetFile, schema: &SchemaRef) -> Result<Option<Self>> {
        let footer = file.metadata().file_metadata();
        if !footer
            .created_by()
            .is_some_and(|by| by.starts_with(CREATED_BY))
        {
            return Ok(None);
        }
        // What is gone, or of a type that is not a wider one, makes the whole file another one.
        let copied = |own: &FieldRef, new: &Field| own.data_type() == new.data_type();
        let stays = |own: &FieldRef| {
            let new = schema.field_with_name(own.name()).ok();
            let new = new.filter(|new| new.is_nullable() == own.is_nullable());
            new.is_some_and(|new| {
                copied(own, new) || fresh::widens(own.data_type(), new.data_type())
            })
        };
        if !file.schema().fields().iter().all(stays)
            || file.metadata().row_groups().iter().any(is_odd)
        {
            return Ok(None);
        }
        let columns = ArrowSchemaConverter::new()
            .convert(schema)
            .map_err(|error| unwritable(&error))?;
        let is_fresh = |new: &FieldRef| match file.schema().fields().find(new.name()) {
            Some((_, own)) => !copied(own, new),
            None => true,
        };
        let fresh = schema
            .fields()
            .iter()
            .filter(|field| is_fresh(field))
            .cloned();
        let fresh = Arc::new(Schema::new(fresh.collect::<Vec<_>>()));
        let Some(from) = sources(&columns, footer.schema_descr(), &fresh) else {
            return Ok(None);
        };
        let page_index = file.page_index()?;
        Ok(Some(Self {
            file,
            columns: Arc::new(columns),
            page_index,
            from,
            fresh,
        }))
    }

    /// The extents of the bytes that are copied, in the file's order, adjacent ones joined.
    pub(crate) fn extents(&self, groups: Range<usize>) -> Vec<Range<u64>> {
        let groups = self
            .file
            .metadata()
            .row_groups()
            .get(groups)
            .unwrap_or_default();
        let copied = |group: &'a RowGroupMetaData| {
            self.from
                .iter()
                .flatten()
                .filter_map(|from| group.columns().get(*from))
                .flat_map(ranges)
        };
        let mut extents: Vec<Range<u64>> = groups.iter().flat_map(copied).collect();
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
    pub(crate) fn moved(&self, group: usize, shift: &Shift, fresh: Option<&Fresh>) -> Result<Kept> {
        let damaged = || Error::unreadable(self.file.path(), "its footer contradicts itself");
        let old = self
            .file
            .metadata()
            .row_groups()
            .get(group)
            .ok_or_else(damaged)?;
        let mut columns = Vec::with_capacity(self.from.len());
        let mut indexes = Vec::with_capacity(self.from.len());
        for (at, from) in self.from.iter().enumerate() {
            let (chunk, index) = if let Some(from) = from {
                let chunk = old.columns().get(*from).ok_or_else(damaged)?;
                let index = Indexes::of(self.page_index.as_deref(), group, *from);
                (
                    shift.chunk(chunk).ok_or_else(damaged)?,
                    shift.index(index).ok_or_else(damaged)?,
                )
            } else {
                let column = self.columns.column(at);
                fresh
                    .and_then(|fresh| fresh.column(column.path()))
                    .ok_or_else(damaged)?
            };
            columns.push(shift::described(chunk, &self.columns.column(at)).map_err(|_| damaged())?);
            indexes.push(index);
        }
        let start = columns
            .iter()
            .map(|column| column.byte_range().0)
            .min()
            .unwrap_or_default();
        let group = RowGroupMetaData::builder(self.columns.clone())
            .set_num_rows(old.num_rows())
            .set_total_byte_size(
                columns
                    .iter()
                    .map(ColumnChunkMetaData::uncompressed_size)
                    .sum(),
            )
            .set_sorting_columns(old.sorting_columns().cloned())
            .set_file_offset(start as i64)
            .set_column_metadata(columns)
            .build()
            .map_err(|_| damaged())?;
        Ok(Kept { group, indexes })
    }

    /// The chunks of a row group that are not copied; `before` are those of another one.
    pub(crate) fn fresh(&self, group: usize, before: Option<Fresh>) -> Result<Option<Fresh>> {
        Fresh::of(self, group, before)
    }

    /// Rows of a row group.
    pub(crate) fn rows(&self, group: usize) -> i64 {
        self.file
            .metadata()
            .row_groups()
            .get(group)
            .map_or(0, RowGroupMetaData::num_rows)
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
        let unmeasured =
            chunk.bloom_filter_offset().is_some() != chunk.bloom_filter_length().is_some();
        unmeasured || chunk.file_path().is_some() || chunk.index_page_offset().is_some()
    })
}

/// For each leaf column of the new file the old one, but for those of `fresh` fields; `None`
/// when another type differs.
fn sources(
    new: &SchemaDescriptor,
    old: &SchemaDescriptor,
    fresh: &Schema,
) -> Option<Vec<Option<usize>>> {
    let is_fresh = |column: &ColumnDescPtr| {
        column
            .path()
            .parts()
            .first()
            .is_some_and(|root| fresh.field_with_name(root).is_ok())
    };
    let find = |column: &ColumnDescPtr| {
        let find = || {
            old.columns()
                .iter()
                .position(|other| other.path() == column.path())
        };
        if is_fresh(column) { None } else { find() }
    };
    let from: Vec<_> = new.columns().iter().map(find).collect();
    let same = |(column, from): (&ColumnDescPtr, &Option<usize>)| {
        from.is_none_or(|from| old.column(from) == *column)
    };
    let all = from.iter().flatten().count()
        == old
            .columns()
            .iter()
            .filter(|column| !is_fresh(column))
            .count();
    (all && new.columns().iter().zip(&from).all(same)).then_some(from)
}

/// Columns that Parquet has no place for.
fn unwritable(error: &dyn std::fmt::Display) -> Error {
    Error::Refused(format!(
        "the united columns can't be written as Parquet ({error})"
    ))
}

/// The chunks and page indexes of a file that was just encoded.
pub(crate) fn encoded(footer: &ParquetMetaData) -> impl Iterator<Item = Kept> {
    let index = footer.page_index();
    footer
        .row_groups()
        .iter()
        .enumerate()
        .map(move |(at, group)| Kept {
            group: group.clone(),
            indexes: (0..group.num_columns())
                .map(|column| Indexes::of(index.map(|index| &**index), at, column))
                .collect(),
        })
}

#[cfg(test)]
mod tests;
