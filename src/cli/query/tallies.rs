//! Tallies as rows, so that every form writes them, and as bars.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{Field, Float64Type, Int64Type, Schema};
use arrow::util::display::array_value_to_string;

use crate::formats::plot::Bar;
use crate::stats::Tally;
use crate::stats::interval::Interval;
use crate::stats::spread::Spread;
use crate::store::read::query::{Group, GroupValue};
use crate::store::{Error, Result as StoreResult};

/// One row a group.
pub(super) fn table(by: &[String], groups: &[Group]) -> StoreResult<RecordBatch> {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (at, name) in by.iter().enumerate() {
        let values = groups.iter().map(|group| group.values.get(at));
        let column: ArrayRef = if name == "tool_success_rate" {
            let rate = |value: Option<&GroupValue>| match value {
                Some(GroupValue::Rate(rate)) => *rate,
                _ => None,
            };
            Arc::new(values.map(rate).collect::<Float64Array>())
        } else {
            let text = |value: Option<&GroupValue>| match value {
                Some(GroupValue::Text(text)) => Some(text.clone()),
                _ => None,
            };
            Arc::new(values.map(text).collect::<StringArray>())
        };
        columns.push((name, column));
    }
    let count = |of: fn(&Tally) -> u64| -> ArrayRef {
        Arc::new(
            groups
                .iter()
                .map(|group| Some(of(&group.tally) as i64))
                .collect::<Int64Array>(),
        )
    };
    let figure = |of: fn(&Tally) -> Option<f64>| -> ArrayRef {
        Arc::new(
            groups
                .iter()
                .map(|group| of(&group.tally))
                .collect::<Float64Array>(),
        )
    };
    let interval = |of: fn(Interval) -> f64| -> ArrayRef {
        Arc::new(
            groups
                .iter()
                .map(|group| group.interval().map(of))
                .collect::<Float64Array>(),
        )
    };
    columns.extend([
        ("tests", count(|t| t.tests)),
        ("success", count(|t| t.full)),
        ("partial", count(|t| t.partial)),
        ("failed", count(Tally::failed)),
        ("unscored", count(|t| t.unscored)),
        ("success_rate", figure(Tally::success_rate)),
        ("ci_low", interval(|i| i.low)),
        ("ci_high", interval(|i| i.high)),
        ("mean_execution_time", figure(|t| t.execution_time.mean())),
        ("mean_turns", figure(|t| t.turns.mean())),
        ("mean_tool_calls", figure(|t| t.tool_calls.mean())),
        (
            "mean_tool_coverage_rate",
            figure(|t| t.tool_coverage_rate.mean()),
        ),
    ]);
    RecordBatch::try_from_iter_with_nullable(
        columns
            .into_iter()
            .map(|(name, column)| (name, column, true)),
    )
    .map_err(super::refused)
}

/// Adds columns such as `p95_execution_time`.
pub(super) fn with_percentiles(
    batch: &RecordBatch,
    groups: &[Group],
    spreads: &[(Vec<GroupValue>, Spread)],
    percentiles: &[f64],
) -> StoreResult<RecordBatch> {
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    let mut columns = batch.columns().to_vec();
    for percentile in percentiles {
        let of = |group: &Group| {
            let (_, spread) = spreads.iter().find(|(values, _)| *values == group.values)?;
            spread.quantile(percentile / 100.0)
        };
        let values: Float64Array = groups.iter().map(of).collect();
        fields.push(Arc::new(Field::new(
            format!("p{percentile}_execution_time"),
            values.data_type().clone(),
            true,
        )));
        columns.push(Arc::new(values));
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).map_err(super::refused)
}

/// One bar a row: of the rate, or of the column that `figure` names.
pub(super) fn bars(batch: &RecordBatch, by: &[String], figure: &str) -> StoreResult<Vec<Bar>> {
    let number = |name: &str, row: usize| {
        let column = batch
            .column_by_name(name)?
            .as_primitive_opt::<Float64Type>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let label = |name: &String, row: usize| {
        let text = batch
            .column_by_name(name)
            .and_then(|column| column.as_string_opt::<i32>());
        match text {
            Some(text) => text.value(row).to_owned(),
            None => match number(name, row) {
                Some(rate) => rate.to_string(),
                None => batch
                    .column_by_name(name)
                    .filter(|column| column.is_valid(row))
                    .and_then(|column| array_value_to_string(column, row).ok())
                    .unwrap_or_else(|| "unknown".to_owned()),
            },
        }
    };
    // A metric's interval is named after it; that of the success rate is not.
    let of = figure
        .strip_prefix("mean_")
        .map_or_else(String::new, |of| format!("_{of}"));
    let (low, high) = (format!("ci_low{of}"), format!("ci_high{of}"));
    let within = |row| number(figure, row).is_none_or(|share| (0.0..=1.0).contains(&share));
    if !(0..batch.num_rows()).all(within) {
        return Err(Error::Refused(format!(
            "bars show shares from 0 to 1, and {figure} has other values: leave out --plot"
        )));
    }
    Ok((0..batch.num_rows())
        .map(|row| Bar {
            label: by
                .iter()
                .map(|name| label(name, row))
                .collect::<Vec<_>>()
                .join(" "),
            rate: number(figure, row),
            interval: number(&low, row).zip(number(&high, row)),
            tests: batch
                .column_by_name("tests")
                .or_else(|| batch.columns().get(by.len()))
                .and_then(|column| column.as_primitive_opt::<Int64Type>())
                .map_or(0, |tests| tests.value(row) as u64),
        })
        .collect())
}
