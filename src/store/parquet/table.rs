//! How the Parquet files of the store are written.

use std::fmt;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use super::row_group_copy;
use super::row_group_copy::{Footer, Kept, MAGIC, Shift, Skipping, Stock, advance};
use crate::store::disk::WriteFile;
use crate::store::error::{Error, Result};

mod groups;

pub(crate) use groups::{Encoded, Groups};

/// Rows in a full row group.
const GROUP_ROWS: usize = 131_072;

/// Encoded bytes in a full row group: it stays in memory until it is full.
const GROUP_BYTES: usize = 64 << 20;

/// Bytes of a journal from which it is worth it to pack the ids of its rows closely: a hundred rows.
const CLOSELY: u64 = 64 << 10;

/// Rows in a full row group.
#[cfg(not(test))]
pub fn group_rows() -> usize {
    GROUP_ROWS
}

/// Encoded bytes in a full row group.
#[cfg(not(test))]
pub(crate) fn group_bytes() -> usize {
    GROUP_BYTES
}

/// Rows in a full row group: fewer where a test wants many groups of few rows.
#[cfg(test)]
pub fn group_rows() -> usize {
    FEWER.get().0
}

/// Encoded bytes in a full row group: fewer where a test wants many groups of few bytes.
#[cfg(test)]
pub(crate) fn group_bytes() -> usize {
    FEWER.get().1
}

#[cfg(test)]
thread_local! {
    static FEWER: std::cell::Cell<(usize, usize)> = const { std::cell::Cell::new((GROUP_ROWS, GROUP_BYTES)) };
}

/// How pages are packed.
fn compression() -> Compression {
    #[cfg(test)]
    if QUICK.get() {
        return Compression::SNAPPY;
    }
    Compression::ZSTD(ZstdLevel::default())
}

#[cfg(test)]
thread_local! {
    static QUICK: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// From here on this thread packs pages in a way that is quickly begun: where thousands of
/// stores of a few rows are made, zstd's beginning is a quarter of the time.
#[cfg(test)]
pub(crate) fn pack_quickly() {
    QUICK.set(true);
}

/// Does something with row groups of so many rows.
#[cfg(test)]
pub(crate) fn with_group_rows<T>(rows: usize, then: impl FnOnce() -> T) -> T {
    with_groups(rows, GROUP_BYTES, then)
}

/// Does something with row groups of so many rows or bytes.
#[cfg(test)]
pub(crate) fn with_groups<T>(rows: usize, bytes: usize, then: impl FnOnce() -> T) -> T {
    let before = FEWER.replace((rows, bytes));
    let result = then();
    FEWER.set(before);
    result
}

/// How the Parquet files of the store are written: zstd, dictionaries where values
/// repeat, statistics and page indexes. Ids and times differ from row to row but begin
/// alike: they are stored as what differs from the row before.
pub(crate) fn properties(schema: &Schema) -> WriterProperties {
    packed(schema, compression())
}

fn packed(schema: &Schema, compression: Compression) -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(compression)
        .set_created_by(format!(
            "{}{}",
            row_group_copy::CREATED_BY,
            env!("CARGO_PKG_VERSION")
        ));
    for unique in ["test_id", "timestamp"] {
        let column = ColumnPath::from(unique);
        builder = builder.set_column_dictionary_enabled(column.clone(), false);
        let encoding = match schema.field_with_name(unique).map(Field::data_type) {
            Ok(DataType::Utf8) => Encoding::DELTA_BYTE_ARRAY,
            Ok(DataType::Timestamp(..)) => Encoding::DELTA_BINARY_PACKED,
            _ => continue,
        };
        builder = builder.set_column_encoding(column, encoding);
    }
    builder.build()
}

/// Where the bytes go: those that are in the file already are dropped.
type Sink = Skipping<Output>;

/// The file, until it is handed back.
#[derive(Debug)]
struct Output(Option<io::BufWriter<Box<dyn WriteFile>>>);

impl Output {
    fn get(&mut self) -> io::Result<&mut io::BufWriter<Box<dyn WriteFile>>> {
        self.0
            .as_mut()
            .ok_or_else(|| io::Error::other("the file is finished"))
    }
}

impl Write for Output {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.get()?.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.get()?.flush()
    }
}

/// Writes batches of one schema as a Parquet file; takes over whole row groups of
/// another one byte for byte.
pub struct TableWriter<'a> {
    inner: SerializedFileWriter<Sink>,
    groups: Groups,
    /// Row groups that were taken over, each with the number of own ones before it.
    kept: Vec<(usize, Kept)>,
    /// Their numbers, here and where they came from.
    copied: Vec<(usize, usize)>,
    path: &'a Path,
}

impl fmt::Debug for TableWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl<'a> TableWriter<'a> {
    /// Into a new file; `path` is for messages.
    pub fn new(file: Box<dyn WriteFile>, path: &'a Path, schema: &SchemaRef) -> Result<Self> {
        Self::with(file, path, schema, properties(schema))
    }

    /// The same for a file that is soon taken in, of rows that take so many bytes as JSON: zstd has
    /// more to prepare for each column, on both sides, than most columns of such a file have to
    /// pack. Ids are the exception: of random ones, which are nearly half of what Snappy leaves,
    /// zstd leaves half, and so two thirds of what it would save in all columns.
    pub(crate) fn passing(
        file: Box<dyn WriteFile>,
        path: &'a Path,
        schema: &SchemaRef,
        bytes: u64,
    ) -> Result<Self> {
        let mut builder = packed(schema, Compression::SNAPPY).into_builder();
        if bytes >= CLOSELY {
            builder = builder.set_column_compression(ColumnPath::from("test_id"), compression());
        }
        Self::with(file, path, schema, builder.build())
    }

    fn with(
        file: Box<dyn WriteFile>,
        path: &'a Path,
        schema: &SchemaRef,
        properties: WriterProperties,
    ) -> Result<Self> {
        let options = ArrowWriterOptions::new().with_properties(properties);
        let output = Output(Some(io::BufWriter::with_capacity(1 << 20, file)));
        let sink = Skipping {
            skip: 0,
            inner: output,
        };
        let (inner, factory) = ArrowWriter::try_new_with_options(sink, schema.clone(), options)
            .and_then(ArrowWriter::into_serialized_writer)
            .map_err(|error| parquet_error(path, error))?;
        let leaves = inner.schema_descr();
        let fields = (0..leaves.num_columns())
            .map(|leaf| leaves.get_column_root_idx(leaf))
            .collect();
        Ok(Self {
            inner,
            groups: Groups::new(Arc::new(groups::Columns::new(
                schema.clone(),
                fields,
                factory,
                path,
            ))),
            kept: Vec::new(),
            copied: Vec::new(),
            path,
        })
    }

    /// Adds rows; row groups are closed as they fill.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.add(1, batch.num_rows(), |field, rows| {
            let column = batch.columns().get(field);
            let values = column.map(|column| column.slice(rows.start, rows.len()));
            values.ok_or_else(|| {
                Error::Refused("rows have other columns than their table".to_owned())
            })
        })
    }

    /// Adds rows, of which `column` says the values by the number of a field and a range.
    pub(crate) fn add(
        &mut self,
        threads: usize,
        rows: usize,
        column: impl Fn(usize, Range<usize>) -> Result<ArrayRef> + Sync,
    ) -> Result<()> {
        let Self {
            inner,
            groups,
            path,
            ..
        } = self;
        groups
            .add(threads, rows, column, &mut |encoded| {
                append(inner, encoded, path)
            })
            .map(drop)
    }

    /// Row groups with these columns, to be encoded elsewhere.
    pub(crate) fn groups(&self) -> Groups {
        self.groups.emptied()
    }

    /// Takes in a row group that was encoded elsewhere; returns its number.
    pub(crate) fn append(&mut self, encoded: Encoded) -> Result<usize> {
        self.flush()?;
        append(&mut self.inner, encoded, self.path)?;
        Ok(self.inner.flushed_row_groups().len() - 1 + self.kept.len())
    }

    /// Closes the current row group.
    pub fn flush(&mut self) -> Result<()> {
        match self.groups.close()? {
            Some(encoded) => append(&mut self.inner, encoded, self.path),
            None => Ok(()),
        }
    }

    /// Adds a value to the footer's metadata.
    pub fn key_value(&mut self, key: &str, value: String) {
        let pair = KeyValue::new(key.to_owned(), value);
        self.inner.append_key_value_metadata(pair);
    }

    /// Puts bytes that are not rows after those written so far; says where they begin.
    pub(crate) fn attach(&mut self, bytes: &[u8]) -> Result<u64> {
        self.flush()?;
        let position = self.inner.bytes_written() as u64;
        self.inner
            .write_all(bytes)
            .map_err(Error::io("write", self.path))?;
        Ok(position)
    }

    /// Takes over row groups of another file, after what was written so far.
    pub(crate) fn graft(&mut self, stock: &Stock<'_>, groups: Range<usize>) -> Result<()> {
        self.flush()?;
        let before = self.inner.flushed_row_groups().len();
        let copied = Error::io("write", self.path);
        let shift = self
            .copy(stock, &stock.extents(groups.clone()))
            .map_err(copied)?;
        let mut fresh = None;
        for group in groups {
            let position = self.inner.bytes_written() as u64;
            fresh = stock.fresh(group, fresh)?;
            if let Some(fresh) = &mut fresh {
                self.inner
                    .write_all(fresh.place(position))
                    .map_err(Error::io("write", self.path))?;
            }
            self.copied.push((before + self.kept.len(), group));
            self.kept
                .push((before, stock.moved(group, &shift, fresh.as_ref())?));
        }
        Ok(())
    }

    /// The row groups that were taken over: their numbers here, and where they came from.
    pub(crate) fn copied(&self) -> &[(usize, usize)] {
        &self.copied
    }

    fn copy(&mut self, stock: &Stock<'_>, extents: &[Range<u64>]) -> io::Result<Shift> {
        let mut shift = Shift::default();
        for extent in extents {
            let position = self.inner.bytes_written() as u64;
            shift.push(extent.clone(), position);
            let length = extent.end - extent.start;
            // The beginning of a file can be shared by both files, magic included.
            let whole = position == MAGIC && extent.start == MAGIC;
            if whole {
                self.inner.inner_mut().skip = MAGIC;
            }
            self.inner.flush()?;
            let from = if whole { 0 } else { extent.start };
            self.inner
                .inner_mut()
                .inner
                .get()?
                .get_mut()
                .copy_from(stock.file.raw(), from..extent.end)?;
            self.inner.inner_mut().skip = length;
            advance(&mut Counting(&mut self.inner), length)?;
        }
        Ok(shift)
    }

    /// Writes the footer and syncs the file.
    pub fn finish(mut self) -> Result<Box<dyn WriteFile>> {
        self.flush()?;
        self.end()
            .map_err(|error| parquet_error(self.path, error))?;
        let output = self.inner.inner_mut().inner.0.take();
        let buffered = output.ok_or_else(|| io::Error::other("the file is finished"));
        let file = buffered.and_then(|buffered| {
            buffered
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
        });
        let mut file = file.map_err(Error::io("write", self.path))?;
        file.sync().map_err(Error::io("sync", self.path))?;
        Ok(file)
    }

    fn end(&mut self) -> Result<(), ParquetError> {
        if self.kept.is_empty() {
            return self.inner.finish().map(drop);
        }
        self.inner.flush()?;
        let position = self.inner.bytes_written() as u64;
        // The writer's own footer knows nothing of what was taken over.
        self.inner.inner_mut().skip = u64::MAX;
        let own = self.inner.finish()?;
        self.inner.inner_mut().skip = 0;
        let mut kept = std::mem::take(&mut self.kept).into_iter().peekable();
        let mut footer = Footer::default();
        for (at, group) in row_group_copy::encoded(&own).enumerate() {
            while let Some((_, kept)) = kept.next_if(|(before, _)| *before <= at) {
                footer.push(kept)?;
            }
            footer.push(group)?;
        }
        kept.try_for_each(|(_, kept)| footer.push(kept))?;
        let bytes = footer.bytes(own.file_metadata(), position)?;
        self.inner.inner_mut().write_all(&bytes)?;
        Ok(())
    }
}

fn append(inner: &mut SerializedFileWriter<Sink>, encoded: Encoded, path: &Path) -> Result<()> {
    let add = || {
        let mut group = inner.next_row_group()?;
        encoded
            .chunks
            .into_iter()
            .try_for_each(|chunk| chunk.append_to_row_group(&mut group))?;
        group.close().map(drop)
    };
    add().map_err(|error| parquet_error(path, error))
}

/// The writer's counting way to its file.
struct Counting<'w>(&'w mut SerializedFileWriter<Sink>);

impl Write for Counting<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write_all(buf).map(|()| buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// What the Parquet writer says, with the operating system's error kept as such.
fn parquet_error(path: &Path, error: ParquetError) -> Error {
    let source = match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    };
    Error::Io {
        action: "write",
        path: path.to_path_buf(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;

    use super::*;
    use crate::store::disk::{Disk, RealDisk};
    use crate::store::parquet::ParquetFile;
    use crate::store::testing::fixture::{batch, record};

    #[test]
    fn ids_and_times_cost_what_differs_from_row_to_row() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        let records: Vec<_> = (0..4_000)
            .map(|at| record(&format!("a-long-prefix-of-every-id-{at}"), true, at))
            .collect();
        let rows = batch(&records);
        let mut table =
            TableWriter::new(RealDisk.create(&path).unwrap(), &path, &rows.schema()).unwrap();
        table.write(&rows).unwrap();
        table.finish().unwrap();
        let file = ParquetFile::open(&RealDisk, &path).unwrap();
        for name in ["test_id", "timestamp"] {
            let group = file.metadata().row_group(0);
            let chunk = group
                .columns()
                .iter()
                .find(|chunk| chunk.column_path().string() == name)
                .unwrap();
            // Before compression: what it would be as plain values is several times that.
            let bytes = chunk.uncompressed_size() / group.num_rows();
            assert!(bytes < 8, "{bytes} bytes for each {name}");
        }
        let read = file.batches(None, 0).unwrap().next().unwrap().unwrap();
        assert_eq!(
            read["test_id"].as_string::<i32>(),
            rows["test_id"].as_string::<i32>()
        );
    }
}
