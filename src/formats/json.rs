//! JSON: one array of objects, or one object a line. Absent values are `null`,
//! so every object has every column.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};

use super::cells::{Cells, Style};
use super::plain::plain;
use super::{RowWriter, refused};
use crate::store::Result;

/// One array of objects.
#[derive(Debug)]
pub struct Array<W: Write> {
    out: W,
    begun: bool,
}

impl<W: Write> Array<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out, begun: false }
    }
}

impl<W: Write> RowWriter for Array<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let first: &[u8] = if self.begun { b"," } else { b"[" };
        self.begun |= batch.num_rows() > 0;
        self.out
            .write_all(&objects(batch, first, b",", b"")?)
            .map_err(refused)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let end: &[u8] = if self.begun { b"]\n" } else { b"[]\n" };
        self.out.write_all(end).map_err(refused)
    }
}

/// One object a line.
#[derive(Debug)]
pub struct Lines<W: Write>(pub W);

/// The rows of a batch, a line each.
pub fn lines(batch: &RecordBatch) -> Result<Vec<u8>> {
    objects(batch, b"", b"", b"\n")
}

/// The rows of a batch, and what stands before the first, before each other, and after each.
fn objects(batch: &RecordBatch, first: &[u8], next: &[u8], after: &[u8]) -> Result<Vec<u8>> {
    let written = plain(batch, false).and_then(|batch| objects_of(&batch, first, next, after));
    written.map_err(refused)
}

const STYLE: Style = Style {
    null: b"null",
    text: quoted,
    after_time: b"Z\"",
};

fn objects_of(
    batch: &RecordBatch,
    first: &[u8],
    next: &[u8],
    after: &[u8],
) -> Result<Vec<u8>, ArrowError> {
    let (schema, options) = (
        batch.schema(),
        EncoderOptions::default().with_explicit_nulls(true),
    );
    let columns = schema.fields().iter().zip(batch.columns()).enumerate();
    let keyed = columns.map(|(at, (field, column))| {
        let mut key = if at > 0 { b",".to_vec() } else { Vec::new() };
        quoted(field.name(), &mut key);
        key.push(b':');
        let mut encoder = make_encoder(field, column, &options)?;
        let spelling = Box::new(move |row, out: &mut Vec<u8>| {
            encoder.encode(row, out);
            Ok(())
        });
        Ok((key, Cells::new(column, STYLE, spelling)))
    });
    let mut columns = keyed.collect::<Result<Vec<_>, ArrowError>>()?;
    let mut out = Vec::with_capacity(batch.num_rows() * columns.len() * 25);
    for row in 0..batch.num_rows() {
        out.extend_from_slice(if row == 0 { first } else { next });
        out.push(b'{');
        for (key, column) in &mut columns {
            out.extend_from_slice(key);
            column.write(row, &mut out)?;
        }
        out.push(b'}');
        out.extend_from_slice(after);
    }
    Ok(out)
}

/// Writes a text in quotes.
fn quoted(text: &str, out: &mut Vec<u8>) {
    // Memory takes whatever is written, and a text has nothing that JSON can't say.
    let _ = serde_json::to_writer(out, text);
}

impl<W: Write> RowWriter for Lines<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write_all(&lines(batch)?).map_err(refused)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.0.flush().map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use arrow::json::writer::{JsonArray, LineDelimited};
    use arrow::json::{Writer, WriterBuilder};

    use super::*;
    use crate::formats::cells::fixture::batches;

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn writes_what_arrow_writes() {
        for batch in batches() {
            let mut arrows: Writer<_, LineDelimited> = WriterBuilder::new()
                .with_explicit_nulls(true)
                .build(Vec::new());
            arrows.write(&plain(&batch, false).unwrap()).unwrap();
            assert_eq!(text(lines(&batch).unwrap()), text(arrows.into_inner()));
        }
    }

    #[test]
    fn an_array_of_several_batches_is_one() {
        for batches in [&batches()[..], &batches()[..1], &[]] {
            let mut arrows: Writer<_, JsonArray> = WriterBuilder::new()
                .with_explicit_nulls(true)
                .build(Vec::new());
            let mut ours = Vec::new();
            let mut array = Box::new(Array::new(&mut ours));
            for batch in batches {
                arrows.write(&plain(batch, false).unwrap()).unwrap();
                array.write(batch).unwrap();
            }
            arrows.finish().unwrap();
            array.finish().unwrap();
            assert_eq!(text(ours), text(arrows.into_inner()) + "\n");
        }
    }
}
