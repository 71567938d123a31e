//! How the Parquet files of the store are written.

use std::fmt;
use std::io;
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::schema::types::ColumnPath;

use super::disk::WriteFile;
use super::error::{Error, Result};

/// Rows in a full row group.
pub const GROUP_ROWS: usize = 131_072;

/// How the Parquet files of the store are written: zstd, dictionaries where values
/// repeat, statistics and page indexes.
fn properties() -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_max_row_group_row_count(Some(GROUP_ROWS))
        .set_created_by(concat!("evaltop version ", env!("CARGO_PKG_VERSION")).to_owned());
    for unique in ["test_id", "timestamp"] {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(unique), false);
    }
    builder.build()
}

/// Writes batches of one schema as a Parquet file.
pub struct TableWriter<'a> {
    inner: ArrowWriter<io::BufWriter<Box<dyn WriteFile>>>,
    path: &'a Path,
}

impl fmt::Debug for TableWriter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl<'a> TableWriter<'a> {
    /// Into a new file; `path` is for messages.
    pub fn new(file: Box<dyn WriteFile>, path: &'a Path, schema: &SchemaRef) -> Result<Self> {
        let options = ArrowWriterOptions::new().with_properties(properties());
        let inner = ArrowWriter::try_new_with_options(
            io::BufWriter::with_capacity(1 << 20, file),
            schema.clone(),
            options,
        );
        Ok(Self { inner: inner.map_err(|error| parquet_error(path, error))?, path })
    }

    /// Adds rows; row groups are closed as they fill.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.inner.write(batch).map_err(|error| parquet_error(self.path, error))
    }

    /// Closes the current row group.
    pub fn flush(&mut self) -> Result<()> {
        self.inner.flush().map_err(|error| parquet_error(self.path, error))
    }

    /// Adds a value to the footer's metadata.
    pub fn key_value(&mut self, key: &str, value: String) {
        let pair = KeyValue::new(key.to_owned(), value);
        self.inner.append_key_value_metadata(pair);
    }

    /// Writes the footer and syncs the file.
    pub fn finish(self) -> Result<Box<dyn WriteFile>> {
        let buffered = self.inner.into_inner().map_err(|error| parquet_error(self.path, error))?;
        let mut file = buffered.into_inner().map_err(|error| Error::Io {
            action: "write",
            path: self.path.to_path_buf(),
            source: error.into_error(),
        })?;
        file.sync().map_err(Error::io("sync", self.path))?;
        Ok(file)
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
    Error::Io { action: "write", path: path.to_path_buf(), source }
}
