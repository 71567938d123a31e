//! All rows of a query in one form: put into it on the threads that read them, or, where
//! that is what they are already, copied.

use std::io::Write;

use arrow::array::RecordBatch;

use super::{Form, Output, csv, json, refused, writer};
use crate::store::Result;
use crate::store::read::query::Rows;

/// Writes the rows and returns their number. `reported` hears after each step how many are
/// written, and may end the work.
pub fn write_rows(
    form: Form,
    rows: Rows,
    output: &Output,
    mut progress: impl FnMut(u64) -> Result<()>,
) -> Result<u64> {
    match form {
        Form::Csv => {
            csv::Csv::new(output.handle(), rows.schema())?;
            texts(rows, csv::lines, output, progress)
        }
        Form::Jsonl => texts(rows, json::lines, output, progress),
        Form::Parquet if rows.are_whole() => {
            rows.copy_to(Box::new(output.handle()), output.path(), &mut progress)
        }
        _ => {
            let mut writer = writer(form, rows.schema(), output.handle())?;
            let mut done = 0;
            for batch in rows {
                let batch = batch?;
                writer.write(&batch)?;
                done += batch.num_rows() as u64;
                progress(done)?;
            }
            writer.finish()?;
            Ok(done)
        }
    }
}

fn texts(
    rows: Rows,
    lines: fn(&RecordBatch) -> Result<Vec<u8>>,
    output: &Output,
    mut progress: impl FnMut(u64) -> Result<()>,
) -> Result<u64> {
    let mut out = output.handle();
    let mut done = 0;
    for step in rows.through(lines)? {
        let (rows, text) = step?;
        out.write_all(&text).map_err(refused)?;
        done += rows;
        progress(done)?;
    }
    out.flush().map_err(refused)?;
    Ok(done)
}
