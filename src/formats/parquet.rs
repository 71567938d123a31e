//! One Parquet file: Zstandard, dictionaries, row groups of 131,072 rows.

use std::io::Write;

use ::parquet::arrow::ArrowWriter;
use ::parquet::basic::{Compression, ZstdLevel};
use ::parquet::file::properties::WriterProperties;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{RowWriter, refused};
use crate::store::Result;

/// Rows a row group.
const ROW_GROUP: usize = 131_072;
/// A row group also ends at this size, so that wide rows can't fill the memory.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// One Parquet file.
#[derive(Debug)]
pub struct Parquet<W: Write + Send>(ArrowWriter<W>);

impl<W: Write + Send> Parquet<W> {
    /// Writes to `out`.
    pub fn new(out: W, schema: &SchemaRef) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(ROW_GROUP))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_created_by(concat!("evaltop ", env!("CARGO_PKG_VERSION")).to_owned())
            .build();
        Ok(Self(
            ArrowWriter::try_new(out, schema.clone(), Some(properties)).map_err(refused)?,
        ))
    }
}

impl<W: Write + Send> RowWriter for Parquet<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(batch).map_err(refused)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.close().map(drop).map_err(refused)
    }
}
