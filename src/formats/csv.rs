//! CSV after RFC 4180: a header, fields quoted where they need it, quotes doubled;
//! lines end in a line feed, as every tool on Unix writes and reads them. Absent
//! values are empty fields, nested ones JSON text.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::csv::{Writer, WriterBuilder};
use arrow::datatypes::SchemaRef;

use super::plain::{plain, plain_schema};
use super::{RowWriter, refused};
use crate::store::Result;

/// Comma-separated values.
#[derive(Debug)]
pub struct Csv<W: Write>(Writer<W>);

impl<W: Write> Csv<W> {
    /// Writes to `out`; the header at once, so that no rows are still a table.
    pub fn new(out: W, schema: &SchemaRef) -> Result<Self> {
        let mut writer = WriterBuilder::new().with_header(true).build(out);
        let header = RecordBatch::new_empty(plain_schema(schema, true));
        writer.write(&header).map_err(refused)?;
        Ok(Self(writer))
    }
}

impl<W: Write> RowWriter for Csv<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(&plain(batch, true).map_err(refused)?).map_err(refused)
    }

    fn finish(self: Box<Self>) -> Result<()> {
        self.0.into_inner().flush().map_err(refused)
    }
}
