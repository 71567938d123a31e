//! A Markdown table, as pull requests and issues show it: figures as in the table for
//! people, numbers to the right, and nothing of the data can end a cell.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use jiff::tz::TimeZone;

use super::plain::plain;
use super::table::cells;
use super::{RowWriter, refused};
use crate::store::Result;
use crate::text::sanitise;

/// A Markdown table.
#[derive(Debug)]
pub struct Markdown<W: Write> {
    out: W,
    zone: TimeZone,
}

impl<W: Write> Markdown<W> {
    /// Writes to `out`; the header at once, so that no rows are still a table.
    pub fn new(out: W, schema: &Schema, zone: TimeZone) -> Result<Self> {
        let mut table = Self { out, zone };
        table.line(
            schema
                .fields()
                .iter()
                .map(|field| escape(&sanitise::sanitise(field.name()))),
        )?;
        let rule = |data_type: &DataType| {
            if data_type.is_numeric() {
                "---:"
            } else {
                "---"
            }
        };
        table.line(
            schema
                .fields()
                .iter()
                .map(|field| rule(field.data_type()).to_owned()),
        )?;
        Ok(table)
    }

    fn line(&mut self, cells: impl Iterator<Item = String>) -> Result<()> {
        let cells: Vec<String> = cells.collect();
        writeln!(self.out, "| {} |", cells.join(" | ")).map_err(refused)
    }
}

impl<W: Write> RowWriter for Markdown<W> {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = plain(batch, true).map_err(refused)?;
        let schema = batch.schema();
        let columns = batch.columns().iter().zip(schema.fields());
        let columns = columns.map(|(column, field)| cells(column, field.name(), &self.zone));
        let mut columns: Vec<_> = columns
            .map(|c| c.map(Vec::into_iter))
            .collect::<Result<_>>()?;
        for _ in 0..batch.num_rows() {
            let row: Vec<String> = columns
                .iter_mut()
                .map(|column| escape(&column.next().unwrap_or_default()))
                .collect();
            self.line(row.into_iter())?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        self.out.flush().map_err(refused)
    }
}

/// What Markdown would take for something else, taken as it stands.
pub(crate) fn escape(cell: &str) -> String {
    let mut escaped = String::with_capacity(cell.len());
    for c in cell.chars() {
        if matches!(c, '|' | '\\' | '`' | '*' | '<' | '[' | '_') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, StringArray};

    use super::*;

    #[test]
    fn a_table_that_data_can_not_break() {
        let columns: [(&str, ArrayRef); 2] = [
            (
                "model",
                Arc::new(StringArray::from(vec!["a|b\nc", "<img>"])),
            ),
            (
                "success_rate",
                Arc::new(Float64Array::from(vec![Some(0.5), None])),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut out = Vec::new();
        let mut table = Box::new(Markdown::new(&mut out, &batch.schema(), TimeZone::UTC).unwrap());
        table.write(&batch).unwrap();
        table.finish().unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap(), @r"
        | model | success\_rate |
        | --- | ---: |
        | a\|b c | 50.0% |
        | \<img> |  |
        ");
    }
}
