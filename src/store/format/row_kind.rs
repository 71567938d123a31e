//! Says records (one row a test) from summary rows (one row for many tests).
//!
//! Boolean `success` means records. Numeric `success`, or none but `successful` and
//! `total`, means summary rows, except a row with a `test_id`, or one without
//! counts, which is a record: legacy code that writes a summary into a main of records
//! turns the column into numbers. The presence of `total` alone means nothing: real
//! record files carry group totals on every row. Without any `success`, rows with a
//! `score` or an `error_type` are unscored records.
//!
//! What is not a count and neither true nor false is a score, and the file is refused with
//! the way to map it: rounded to a truth value it would be a wrong result.

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::{DataType, Float64Type, Schema};
use arrow::error::ArrowError;

use super::cast::cast;
use crate::store::aggregate::is_id;
use crate::store::error::{Error, Result};

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
    /// Numeric `success`: each row says for itself.
    Numeric,
    /// No `success`, but `successful` and `total`: all are summary rows.
    Counts,
    /// No test results at all.
    Neither,
}

/// What the columns of a file say about its rows.
pub fn shape(schema: &Schema) -> Shape {
    let has = |name: &&str| schema.field_with_name(name).is_ok();
    match schema
        .field_with_name("success")
        .map(arrow::datatypes::Field::data_type)
    {
        Ok(number) if number.is_numeric() => Shape::Numeric,
        Ok(DataType::Dictionary(_, value)) if value.is_numeric() => Shape::Numeric,
        Ok(_) => Shape::Records,
        Err(_) if ["successful", "total"].iter().all(has) => Shape::Counts,
        Err(_) if has(&"model") && ["score", "error_type"].iter().any(has) => Shape::Records,
        Err(_) => Shape::Neither,
    }
}

/// Why a file of [`Shape::Neither`] is left out.
pub const NEITHER: &str =
    "it has no column 'success', nor 'successful' and 'total', so it holds no test results";

/// Why a file with these columns can't count, whatever its rows hold.
pub fn refusal(schema: &Schema) -> Option<&'static str> {
    match shape(schema) {
        Shape::Neither => Some(NEITHER),
        _ if schema.field_with_name("model").is_err() => Some(
            "it has no column 'model', so its tests are nobody's: add the column, or import the file \
             (evaltop import FILE --map model=COLUMN)",
        ),
        _ => None,
    }
}

/// Why a file with such a `success` can't count.
fn is_score(value: f64) -> Error {
    Error::Refused(format!(
        "column 'success' holds {value}, which is a score and neither true nor false: put it into a column \
         'score', or import the file (evaltop import FILE --map score=success --success-from 'success>=1')"
    ))
}

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
            let (records, score) = records(batch).map_err(unreadable)?;
            if let Some(score) = score {
                return Err(is_score(score));
            }
            let parts = || -> Result<_, ArrowError> {
                let at = records.values().set_indices().collect();
                let summaries = filter_record_batch(batch, &not(&records)?)?;
                Ok((filter_record_batch(batch, &records)?, summaries, at))
            };
            let (records, summaries, at) = parts().map_err(unreadable)?;
            Ok(Split {
                records: some(records),
                summaries: some(summaries),
                at,
            })
        }
    }
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
fn unreadable(error: ArrowError) -> Error {
    Error::Refused(format!("the column 'success' can't be read: {error}"))
}

/// For each row of a batch with numeric `success`, whether it is a record, and a score
/// among the values, if there is one.
fn records(batch: &RecordBatch) -> Result<(BooleanArray, Option<f64>), ArrowError> {
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
    let mut score = None;
    let records = (0..batch.num_rows()).map(|row| {
        let uncounted = counts.iter().all(|column| value(column, row).is_none());
        let record = has_id(row) || uncounted;
        let success = value(&success, row);
        let odd = |v: &f64| {
            let truth = *v == 0.0 || (v - 1.0).abs() < f64::EPSILON;
            v.fract() != 0.0 || (record && !truth)
        };
        score = score.or(success.filter(odd));
        Some(record)
    });
    let records = records.collect();
    Ok((records, score))
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
    fn a_mixed_file_is_distinguished_row_by_row() {
        // A record by its id, one without id or counts, a summary, a summary of one test.
        assert_eq!(
            split_of(vec![
                (
                    "success",
                    Arc::new(Float64Array::from(vec![1.0, f64::NAN, 40.0, 1.0])) as ArrayRef
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
        let alone: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), Some(0), None]));
        assert_eq!(split_of(vec![("success", alone)]), (3, 0));
    }

    #[test]
    fn scores_are_no_successes() {
        let refused = |success: &[f64], beside: Vec<(&str, ArrayRef)>| {
            let success: ArrayRef = Arc::new(Float64Array::from(success.to_vec()));
            let columns = beside.into_iter().chain([("success", success)]);
            let found = split(&RecordBatch::try_from_iter(columns).unwrap());
            found.err().map(|error| error.to_string())
        };
        let ids = || -> ArrayRef { Arc::new(StringArray::from(vec!["a", "b"])) };
        let total = || -> ArrayRef { Arc::new(Int64Array::from(vec![60, 60])) };
        for (success, beside) in [
            ([1.0, 0.73], vec![("test_id", ids())]),
            ([7.0, 1.0], vec![("test_id", ids())]),
            ([0.0, 7.0], vec![]),
            ([0.25, 0.5], vec![("total", total())]),
        ] {
            let why = refused(&success, beside).unwrap_or_default();
            assert!(
                why.contains("which is a score") && why.contains("--map score=success"),
                "{why}"
            );
        }
        assert_eq!(refused(&[1.0, 0.0], vec![("test_id", ids())]), None);
        assert_eq!(refused(&[40.0, 7.0], vec![("total", total())]), None);
    }

    #[test]
    fn without_success_a_score_or_an_error_makes_a_record() {
        let text = || -> ArrayRef { Arc::new(StringArray::from(vec!["m"])) };
        let score = || -> ArrayRef { Arc::new(Float64Array::from(vec![0.5])) };
        assert_eq!(
            split_of(vec![("model", text()), ("score", score())]),
            (1, 0)
        );
        assert_eq!(
            split_of(vec![("model", text()), ("error_type", text())]),
            (1, 0)
        );
        assert_eq!(split_of(vec![("score", score())]), (0, 0));
    }
}
