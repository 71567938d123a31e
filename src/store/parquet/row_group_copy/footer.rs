//! One footer over row groups from several places.

use std::any::Any;
use std::io::{self, Write};

use parquet::errors::ParquetError;
use parquet::file::metadata::page_index::PageIndexProvider;
use parquet::file::metadata::{
    FileMetaData, ParquetMetaDataBuilder, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::OffsetIndexMetaData;
use parquet::file::writer::TrackedWrite;

/// The page index of one chunk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Indexes {
    columns: Option<ColumnIndexMetaData>,
    /// Where the pages are.
    pub(crate) offsets: Option<OffsetIndexMetaData>,
}

impl Indexes {
    /// Of a chunk, as far as its file has one.
    pub(crate) fn of(index: Option<&dyn PageIndexProvider>, group: usize, column: usize) -> Self {
        Self {
            columns: index
                .and_then(|index| index.column_index(group, column))
                .cloned(),
            offsets: index
                .and_then(|index| index.offset_index(group, column))
                .cloned(),
        }
    }
}

/// A row group whose bytes are in the new file.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Its part of the footer.
    pub(crate) group: RowGroupMetaData,
    /// The page indexes of its chunks.
    pub(crate) indexes: Vec<Indexes>,
}

/// The row groups of a new file, in their order.
#[derive(Debug, Default)]
pub(crate) struct Footer {
    groups: Vec<RowGroupMetaData>,
    pages: Pages,
}

#[derive(Debug, Default)]
struct Pages {
    groups: Vec<Vec<Indexes>>,
}

impl Pages {
    fn get(&self, group: usize, column: usize) -> Option<&Indexes> {
        self.groups.get(group)?.get(column)
    }
}

impl PageIndexProvider for Pages {
    fn has_offset_indexes(&self) -> bool {
        self.groups
            .iter()
            .flatten()
            .any(|index| index.offsets.is_some())
    }

    fn has_column_indexes(&self) -> bool {
        self.groups
            .iter()
            .flatten()
            .any(|index| index.columns.is_some())
    }

    fn column_index(&self, group: usize, column: usize) -> Option<&ColumnIndexMetaData> {
        self.get(group, column)?.columns.as_ref()
    }

    fn offset_index(&self, group: usize, column: usize) -> Option<&OffsetIndexMetaData> {
        self.get(group, column)?.offsets.as_ref()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl Footer {
    /// Adds the next row group.
    pub(crate) fn push(&mut self, kept: Kept) -> Result<(), ParquetError> {
        let ordinal = i32::try_from(self.groups.len()).unwrap_or(i32::MAX);
        self.groups
            .push(kept.group.into_builder().set_ordinal(ordinal).build()?);
        self.pages.groups.push(kept.indexes);
        Ok(())
    }

    /// The bytes that end a file whose row groups end at `position`: page indexes,
    /// footer, its length, magic.
    pub(crate) fn bytes(self, file: &FileMetaData, position: u64) -> Result<Vec<u8>, ParquetError> {
        let rows = self.groups.iter().map(RowGroupMetaData::num_rows).sum();
        let file = FileMetaData::new(
            file.version(),
            rows,
            file.created_by().map(str::to_owned),
            file.key_value_metadata().cloned(),
            file.schema_descr_ptr(),
            file.column_orders().cloned(),
        );
        let metadata = ParquetMetaDataBuilder::new(file)
            .set_row_groups(self.groups)
            .set_page_index(Some(std::sync::Arc::new(self.pages)))
            .build();
        let mut bytes = Vec::new();
        let mut tracked = TrackedWrite::new(Skipping {
            skip: position,
            inner: &mut bytes,
        });
        advance(&mut tracked, position)?;
        let writer = ParquetMetaDataWriter::new_with_tracked(tracked, &metadata);
        writer.with_preserve_page_index_locations(false).finish()?;
        Ok(bytes)
    }
}

/// Drops the first bytes that it is given, and passes on the rest: with it a writer
/// that counts what it wrote can learn that something is there already.
#[derive(Debug)]
pub(crate) struct Skipping<W> {
    /// Bytes yet to drop.
    pub(crate) skip: u64,
    /// Where the others go.
    pub(crate) inner: W,
}

impl<W: Write> Write for Skipping<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.skip == 0 {
            return self.inner.write(buf);
        }
        let dropped = self.skip.min(buf.len() as u64);
        self.skip -= dropped;
        Ok(dropped as usize)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Gives a writer so many bytes of nothing.
pub(crate) fn advance(writer: &mut impl Write, mut bytes: u64) -> io::Result<()> {
    static NOTHING: [u8; 1 << 16] = [0; 1 << 16];
    while bytes > 0 {
        let now = bytes.min(NOTHING.len() as u64);
        writer.write_all(NOTHING.get(..now as usize).unwrap_or_default())?;
        bytes -= now;
    }
    writer.flush()
}
