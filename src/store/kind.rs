//! Tells records (one row a test) from summary rows (one row for many tests).
//!
//! Boolean `success` means records. Numeric `success`, or none but `successful` and
//! `total`, means summary rows, except a row with a `test_id`, or one without
//! counts whose success is 0 or 1, which is a record: legacy code that writes a
//! summary into a main of records turns the column into numbers. The presence of
//! `total` alone means nothing: real record files carry group totals on every row.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{DataType, Float64Type, Schema};
use arrow::error::ArrowError;

use super::cast::cast;
use super::digest::is_id;
use super::error::{Error, Result};

/// The columns that the rule looks at.
pub const NAMES: [&str; 6] = [
    "success",
    "test_id",
    "total",
    "successful",
    "partial",
    "failed",
];

/// What the columns of a file say about its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// All are records.
    Records,
    /// Numeric `success`: each row tells for itself.
    Numeric,
    /// No `success`, but `successful` and `total`: all are summary rows.
    Counts,
    /// No test results at all.
    Neither,
}

/// What the columns of a file say about its rows.
pub fn shape(schema: &Schema) -> Shape {
    match schema
        .field_with_name("success")
        .map(arrow::datatypes::Field::data_type)
    {
        Ok(number) if number.is_numeric() => Shape::Numeric,
        Ok(DataType::Dictionary(_, value)) if value.is_numeric() => Shape::Numeric,
        Ok(_) => Shape::Records,
        Err(_)
            if ["successful", "total"]
                .iter()
                .all(|n| schema.field_with_name(n).is_ok()) =>
        {
            Shape::Counts
        }
        Err(_) => Shape::Neither,
    }
}

/// Why a file of [`Shape::Neither`] is left out.
pub const NEITHER: &str =
    "it has no column 'success', nor 'successful' and 'total', so it holds no test results";

/// The rows of a batch by their kind; a part without rows is `None`.
#[derive(Debug)]
pub struct Split {
    /// One row a test.
    pub records: Option<RecordBatch>,
    /// One row for many tests.
    pub summaries: Option<RecordBatch>,
    /// Where in the batch the records were.
    pub at: Vec<usize>,
}

/// Splits a batch as its file holds it (not adapted).
pub fn split(batch: &RecordBatch) -> Result<Split> {
    let some = |batch: RecordBatch| (batch.num_rows() > 0).then_some(batch);
    match shape(&batch.schema()) {
        Shape::Records => {
            let at = (0..batch.num_rows()).collect();
            Ok(Split {
                records: some(batch.clone()),
                summaries: None,
                at,
            })
        }
        Shape::Counts => Ok(Split {
            records: None,
            summaries: some(batch.clone()),
            at: Vec::new(),
        }),
        Shape::Neither => Ok(Split {
            records: None,
            summaries: None,
            at: Vec::new(),
        }),
        Shape::Numeric => {
            let parts = || -> Result<_, ArrowError> {
                let records = records(batch)?;
                let at = records.values().set_indices().collect();
                let summaries = filter_record_batch(batch, &not(&records)?)?;
                Ok((filter_record_batch(batch, &records)?, summaries, at))
            };
            let (records, summaries, at) = parts()
                .map_err(|e| Error::Refused(format!("the column 'success' can't be read: {e}")))?;
            Ok(Split {
                records: some(records),
                summaries: some(summaries),
                at,
            })
        }
    }
}

/// For each row of a batch with numeric `success`, whether it is a record.
fn records(batch: &RecordBatch) -> Result<BooleanArray, ArrowError> {
    let number = |name: &str| -> Result<Option<_>, ArrowError> {
        let column = batch
            .column_by_name(name)
            .filter(|column| *column.data_type() != DataType::Null);
        column
            .map(|column| cast(column, &DataType::Float64))
            .transpose()
    };
    let value = |column: &Option<arrow::array::ArrayRef>, row: usize| {
        let column = column.as_ref()?.as_primitive_opt::<Float64Type>()?;
        column
            .is_valid(row)
            .then(|| column.value(row))
            .filter(|v| !v.is_nan())
    };
    let success = number("success")?;
    let mut counts = Vec::new();
    for name in ["total", "successful", "partial", "failed"] {
        counts.push(number(name)?);
    }
    let ids = batch
        .column_by_name("test_id")
        .filter(|ids| *ids.data_type() != DataType::Null);
    let ids = ids.map(|ids| cast(ids, &DataType::Utf8)).transpose()?;
    let has_id = |row: usize| {
        let ids = ids.as_ref().and_then(|ids| ids.as_string_opt::<i32>());
        ids.is_some_and(|ids| ids.is_valid(row) && is_id(ids.value(row)))
    };
    Ok((0..batch.num_rows())
        .map(|row| {
            let uncounted = counts.iter().all(|column| value(column, row).is_none());
            let truth =
                value(&success, row).is_some_and(|v| v == 0.0 || (v - 1.0).abs() < f64::EPSILON);
            Some(has_id(row) || (uncounted && truth))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray};

    use super::*;

    fn rows(split: &Split) -> (usize, usize) {
        let rows = |part: &Option<RecordBatch>| part.as_ref().map_or(0, RecordBatch::num_rows);
        (rows(&split.records), rows(&split.summaries))
    }

    fn split_of(columns: Vec<(&str, ArrayRef)>) -> (usize, usize) {
        rows(&split(&RecordBatch::try_from_iter(columns).unwrap()).unwrap())
    }

    #[test]
    fn group_totals_on_every_row_mean_nothing() {
        let total: ArrayRef = Arc::new(Int64Array::from(vec![60, 60]));
        let success: ArrayRef = Arc::new(BooleanArray::from(vec![true, false]));
        assert_eq!(
            split_of(vec![("total", total.clone()), ("success", success)]),
            (2, 0)
        );
        assert_eq!(
            split_of(vec![
                ("total", total.clone()),
                ("successful", total.clone())
            ]),
            (0, 2)
        );
        assert_eq!(split_of(vec![("total", total)]), (0, 0));
    }

    #[test]
    fn a_mixed_file_is_told_apart_row_by_row() {
        // A record by its id, one without id or counts, a summary, a summary of one test.
        assert_eq!(
            split_of(vec![
                (
                    "success",
                    Arc::new(Float64Array::from(vec![1.0, 0.0, 40.0, 1.0])) as ArrayRef
                ),
                (
                    "test_id",
                    Arc::new(StringArray::from(vec![
                        Some("a"),
                        None,
                        Some("nan"),
                        Some("")
                    ])) as ArrayRef
                ),
                (
                    "total",
                    Arc::new(Float64Array::from(vec![60.0, f64::NAN, 60.0, 1.0])) as ArrayRef
                ),
            ]),
            (2, 2)
        );
        let alone: ArrayRef = Arc::new(Int32Array::from(vec![1, 0, 7]));
        assert_eq!(split_of(vec![("success", alone)]), (2, 1));
    }
}
