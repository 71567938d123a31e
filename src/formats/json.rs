//! JSON: one array of objects, or one object a line. Absent values are `null`,
//! so every object has every column.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::json::WriterBuilder;
use arrow::json::writer::{JsonArray, LineDelimited, Writer};

use super::plain::plain;
use super::{RowWriter, refused};
use crate::store::Result;

/// One array of objects.
#[derive(Debug)]
pub struct Array<W: Write>(Writer<W, JsonArray>);

impl<W: Write> Array<W> {
    /// Writes to `out`, which should be buffered.
    pub fn new(out: W) -> Self {
        Self(WriterBuilder::new().with_explicit_nulls(true).build(out))
    }
}

impl<W: Write> RowWriter for Array<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(&plain(batch, false).map_err(refused)?).map_err(refused)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.0.finish().map_err(refused)?;
        self.0.into_inner().write_all(b"\n").map_err(refused)
    }
}

/// One object a line.
#[derive(Debug)]
pub struct Lines<W: Write>(pub W);

/// The rows of a batch, a line each.
pub fn lines(batch: &RecordBatch) -> Result<Vec<u8>> {
    let mut writer: Writer<_, LineDelimited> =
        WriterBuilder::new().with_explicit_nulls(true).build(Vec::new());
    writer.write(&plain(batch, false).map_err(refused)?).map_err(refused)?;
    writer.finish().map_err(refused)?;
    Ok(writer.into_inner())
}

impl<W: Write> RowWriter for Lines<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write_all(&lines(batch)?).map_err(refused)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.0.flush().map_err(refused)
    }
}
