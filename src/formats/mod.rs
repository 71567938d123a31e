//! Rows on their way out of a store and into it: one small file a format.
//!
//! Writers take record batches one by one and keep none of them, so memory is
//! bounded whatever the number of rows. Text forms write times as RFC 3339 in UTC
//! and NaN, infinities and nulls as `null` or as an empty field; Parquet keeps
//! values as they are.

pub mod json_mirror;

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use crate::store::{Error, Result};

mod cells;
pub mod csv;
pub mod delta;
pub mod eee;
pub mod export;
pub mod json;
pub mod markdown;
pub mod output;
pub mod parquet;
pub(crate) mod plain;
pub mod plot;
mod rows;
pub mod table;

pub use output::Output;
pub use rows::write_rows;

/// A form in which rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// Aligned columns for people.
    Table {
        /// Columns of the terminal to fit into; `None` writes every cell in full.
        width: Option<usize>,
    },
    /// A Markdown table, for a pull request.
    Markdown,
    /// One array of objects.
    Json,
    /// One object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// One Parquet file.
    Parquet,
}

/// Writes record batches, all of one schema, in one form.
pub trait RowWriter {
    /// Writes the rows of a batch.
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    /// Writes what ends the output; without it the output is incomplete.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A writer of `form` for rows of `schema`.
pub fn writer(
    form: Form,
    schema: &SchemaRef,
    out: impl Write + Send + 'static,
) -> Result<Box<dyn RowWriter>> {
    Ok(match form {
        Form::Table { width } => {
            Box::new(table::Table::new(out, schema, width, TimeZone::system()))
        }
        Form::Markdown => Box::new(markdown::Markdown::new(out, schema, TimeZone::system())?),
        Form::Json => Box::new(json::Array::new(out)),
        Form::Jsonl => Box::new(json::Lines(out)),
        Form::Csv => Box::new(csv::Csv::new(out, schema)?),
        Form::Parquet => Box::new(parquet::Parquet::new(out, schema)?),
    })
}

/// Batches as one JSON text: an array of objects, one a row.
pub fn json_text(batches: &[RecordBatch]) -> Result<String> {
    let mut text = Vec::new();
    let mut writer = json::Array::new(&mut text);
    for batch in batches {
        writer.write(batch)?;
    }
    Box::new(writer).finish()?;
    String::from_utf8(text).map_err(refused)
}

/// A value or a write that a format's library refused, as one sentence. Failures
/// of the file behind it are distinguished by [`Output::explain`].
fn refused(error: impl std::fmt::Display) -> Error {
    Error::Refused(format!("cannot write the rows: {error}"))
}
