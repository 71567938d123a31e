//! CSV after RFC 4180: a header, fields quoted where they need it, quotes doubled;
//! lines end in a line feed, as every tool on Unix writes and reads them. Absent
//! values are empty fields, nested ones JSON text.

use std::io::Write;

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::cells::{Cells, Spelling, Style};
use super::plain::plain;
use super::{RowWriter, refused};
use crate::store::Result;

/// Comma-separated values.
#[derive(Debug)]
pub struct Csv<W: Write>(W);

impl<W: Write> Csv<W> {
    /// Writes to `out`; the header at once, so that no rows are still a table.
    pub fn new(mut out: W, schema: &SchemaRef) -> Result<Self> {
        let mut header = Vec::new();
        for (at, field) in schema.fields().iter().enumerate() {
            if at > 0 {
                header.push(b',');
            }
            quoted(field.name(), &mut header);
        }
        end(0, &mut header);
        out.write_all(&header).map_err(refused)?;
        Ok(Self(out))
    }
}

/// The rows of a batch, without a header.
pub fn lines(batch: &RecordBatch) -> Result<Vec<u8>> {
    plain(batch, true)
        .and_then(|batch| lines_of(&batch))
        .map_err(refused)
}

const STYLE: Style = Style {
    null: b"",
    text: quoted,
    after_time: b"Z",
};

fn lines_of(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let options = FormatOptions::default();
    let cells = |column| Ok(Cells::new(column, STYLE, spelling(column, &options)?));
    let columns = batch.columns().iter().map(AsRef::as_ref);
    let mut columns = columns.map(cells).collect::<Result<Vec<_>, ArrowError>>()?;
    let mut out = Vec::with_capacity(batch.num_rows() * columns.len() * 10);
    for row in 0..batch.num_rows() {
        let begin = out.len();
        for (at, column) in columns.iter_mut().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            column.write(row, &mut out)?;
        }
        end(begin, &mut out);
    }
    Ok(out)
}

/// Ends a line that began at a position. One without anything in it would be no row.
fn end(begin: usize, out: &mut Vec<u8>) {
    if out.len() == begin {
        out.extend_from_slice(b"\"\"");
    }
    out.push(b'\n');
}

fn spelling<'a>(
    column: &'a dyn Array,
    options: &FormatOptions<'a>,
) -> Result<Spelling<'a>, ArrowError> {
    let formatter = ArrayFormatter::try_new(column, options)?;
    let mut text = String::new();
    Ok(Box::new(move |row, out| {
        text.clear();
        formatter.value(row).write(&mut text)?;
        quoted(&text, out);
        Ok(())
    }))
}

/// Writes a field, in quotes where it needs them.
fn quoted(text: &str, out: &mut Vec<u8>) {
    let special = |byte: u8| matches!(byte, b',' | b'"' | b'\n' | b'\r');
    // All bytes, whatever the first ones are: that is several at once.
    if !text.bytes().fold(false, |any, byte| any | special(byte)) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    for (at, part) in text.split('"').enumerate() {
        if at > 0 {
            out.extend_from_slice(b"\"\"");
        }
        out.extend_from_slice(part.as_bytes());
    }
    out.push(b'"');
}

impl<W: Write> RowWriter for Csv<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write_all(&lines(batch)?).map_err(refused)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.0.flush().map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::cells::fixture::batches;

    #[test]
    fn writes_what_arrow_writes() {
        for batch in batches() {
            let mut arrows = arrow::csv::WriterBuilder::new()
                .with_header(true)
                .build(Vec::new());
            arrows.write(&plain(&batch, true).unwrap()).unwrap();
            let mut ours = Vec::new();
            Csv::new(&mut ours, &batch.schema()).unwrap();
            ours.extend(lines(&batch).unwrap());
            let text = |bytes| String::from_utf8(bytes).unwrap();
            assert_eq!(text(ours), text(arrows.into_inner()));
        }
    }
}
