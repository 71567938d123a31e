//! CSV after RFC 4180: a header, fields quoted where they need it, quotes doubled;
//! lines end in a line feed, as every tool on Unix writes and reads them. Absent
//! values are empty fields, nested ones JSON text.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv::WriterBuilder;
use arrow::datatypes::SchemaRef;

use super::plain::{plain, plain_schema};
use super::{RowWriter, refused};
use crate::store::Result;

/// Comma-separated values.
#[derive(Debug)]
pub struct Csv<W: Write>(W);

impl<W: Write> Csv<W> {
    /// Writes to `out`; the header at once, so that no rows are still a table.
    pub fn new(mut out: W, schema: &SchemaRef) -> Result<Self> {
        let mut header = WriterBuilder::new().with_header(true).build(Vec::new());
        header.write(&RecordBatch::new_empty(plain_schema(schema, true))).map_err(refused)?;
        out.write_all(&header.into_inner()).map_err(refused)?;
        Ok(Self(out))
    }
}

/// The rows of a batch, without a header.
pub fn lines(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer = WriterBuilder::new().with_header(false).build(Vec::new());
    writer.write(&plain(batch, true).map_err(refused)?).map_err(refused)?;
    Ok(writer.into_inner())
}

impl<W: Write> RowWriter for Csv<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write_all(&lines(batch)?).map_err(refused)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.0.flush().map_err(refused)
    }
}
