//! The rows of CSV and Parquet as objects, for mappings.

use arrow::json::LineDelimitedWriter;
use serde_json::{Map, Value};

use super::objects::{Object, Place, Reader, Rows};
use super::source::{Chunk, Source, batch, stand_for};
use crate::store::{Error, Result};

/// A table whose rows are read as objects.
pub(crate) struct Table(pub(crate) Box<dyn Source>);

impl Table {
    fn objects(&self, chunk: &Chunk) -> Result<Vec<Map<String, Value>>> {
        let columns = self.0.columns();
        let mut arrays = Vec::with_capacity(columns.len());
        for (column, array) in columns.iter().zip(chunk.batch.columns()) {
            let array = if column.data_type == column.stands_for {
                array.clone()
            } else {
                let reported = stand_for(array, &column.stands_for);
                reported.map_err(|bad| {
                    Error::Refused(format!("column '{}' {}", column.name, bad.why))
                })?
            };
            arrays.push(array);
        }
        let rows = batch(columns, arrays, chunk.batch.num_rows())?;
        let mut writer = LineDelimitedWriter::new(Vec::new());
        let refused = |error: arrow::error::ArrowError| Error::Refused(error.to_string());
        writer.write(&rows).map_err(refused)?;
        writer.finish().map_err(refused)?;
        let text = writer.into_inner();
        let lines = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty());
        lines
            .map(|line| {
                serde_json::from_slice(line).map_err(|error| Error::Refused(error.to_string()))
            })
            .collect()
    }
}

impl Reader for Table {
    fn rows(&self) -> Result<Rows<'_>> {
        let mut before = 0_u64;
        let rows = self.0.chunks()?.flat_map(move |chunk| {
            let read = |chunk: Result<Chunk>| -> Result<(u64, Vec<Map<String, Value>>)> {
                let chunk = chunk?;
                Ok((chunk.read, self.objects(&chunk)?))
            };
            let objects: Vec<Result<Object>> = match read(chunk) {
                Err(error) => vec![Err(error)],
                Ok((read, rows)) => {
                    let first = before + 1;
                    before += rows.len() as u64;
                    let object = |(at, fields): (u64, Map<String, Value>)| {
                        Ok(Object {
                            place: Place::Named(format!("row {at}")),
                            fields: Some(fields),
                            remark: None,
                            read,
                            rejected: None,
                        })
                    };
                    (first..).zip(rows).map(object).collect()
                }
            };
            objects
        });
        Ok(Box::new(rows))
    }

    fn size(&self) -> u64 {
        self.0.size()
    }
}
