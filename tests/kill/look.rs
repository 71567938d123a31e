//! Looks at a store through the library.

use std::path::Path;

use arrow::array::{Array, AsArray, RecordBatch};
use evaltop::internals::store::read::query::{Selection, rows as query};
use evaltop::internals::store::read::snapshot::Scanner;
use evaltop::internals::store::{Control, Result, Store};
use jiff::Timestamp;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::view::View;

/// All rows, as `query` returns them. They have no columns before the first row.
pub fn rows(dir: &Path) -> Result<View> {
    let rows = query(&Store::new(dir), &Selection::default(), &Control::default())?;
    Ok(of_batches(&rows.collect::<Result<Vec<_>>>()?))
}

/// The rows of one Parquet file.
pub fn file(path: &Path) -> parquet::errors::Result<View> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(std::fs::File::open(path)?)?.build()?;
    Ok(of_batches(
        &reader.collect::<std::result::Result<Vec<_>, _>>()?,
    ))
}

fn of_batches(batches: &[RecordBatch]) -> View {
    let texts = |batch: &RecordBatch, name: &str| -> Vec<String> {
        let column = batch.column_by_name(name).unwrap();
        let column = arrow::compute::cast(column, &arrow::datatypes::DataType::Utf8).unwrap();
        assert_eq!(column.null_count(), 0, "every row has its {name}");
        column
            .as_string::<i32>()
            .iter()
            .flatten()
            .map(str::to_owned)
            .collect()
    };
    let pairs: Vec<_> = batches
        .iter()
        .flat_map(|batch| {
            texts(batch, "model")
                .into_iter()
                .zip(texts(batch, "task_id"))
        })
        .collect();
    View::of_rows(
        pairs
            .iter()
            .map(|(model, number)| (model.as_str(), number.as_str())),
    )
}

/// One scan after another with the same scanner, as the dashboard does.
#[derive(Debug)]
pub struct Scans {
    store: Store,
    scanner: Scanner,
}

impl Scans {
    pub fn new(dir: &Path) -> Self {
        Self {
            store: Store::new(dir),
            scanner: Scanner::new(),
        }
    }

    pub fn next(&mut self) -> Result<View> {
        let seen = self
            .scanner
            .scan(&self.store, Timestamp::now(), &Control::default())?;
        let mut view = View {
            replaced: seen.superseded + seen.repeated,
            ..View::default()
        };
        for (cell, tally) in seen.cells.iter() {
            view.add_count(&cell.model, tally.tests);
        }
        Ok(view)
    }
}
