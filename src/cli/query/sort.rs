//! Sorted rows in bounded memory: only so many as are wanted are ever held.

use std::cmp::Ordering;

use arrow::array::{DynComparator, RecordBatch, UInt64Array, make_comparator};
use arrow::compute::{SortOptions, concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};

use crate::config::{did_you_mean, show_count};
use crate::store::{Error, Result};

/// Rows that are sorted at once, however few are wanted.
const AT_ONCE: usize = 16_384;
/// Rows that are sorted without a limit.
const UNASKED: usize = 100_000;
/// Rows that may be sorted.
pub(super) const MOST: usize = 1_000_000;

/// By which columns, and whether from large to small. Absent values come last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order(pub(super) Vec<(String, bool)>);

impl Order {
    /// Reads `column`, `column:asc` and `column:desc`; `descending` where none is said.
    pub(super) fn parse(columns: &[String], descending: bool) -> Self {
        Self(
            columns
                .iter()
                .map(|column| match column.rsplit_once(':') {
                    Some((name, "desc")) => (name.to_owned(), true),
                    Some((name, "asc")) => (name.to_owned(), false),
                    _ => (column.clone(), descending),
                })
                .collect(),
        )
    }

    /// The columns.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// The first `limit` rows in this order.
    pub(super) fn sort(&self, batch: &RecordBatch, limit: Option<usize>) -> Result<RecordBatch> {
        let columns = self.0.iter().map(|(name, descending)| {
            let options = SortOptions {
                descending: *descending,
                nulls_first: false,
            };
            let values = batch
                .column_by_name(name)
                .ok_or_else(|| unknown(name, &batch.schema()))?;
            make_comparator(values, values, options).map_err(refused)
        });
        let columns: Vec<DynComparator> = columns.collect::<Result<_>>()?;
        // Equal rows stay in the order in which they came.
        let compare = |one: &usize, two: &usize| {
            let unequal = columns
                .iter()
                .map(|column| column(*one, *two))
                .find(|order| order.is_ne());
            unequal.unwrap_or(Ordering::Equal).then(one.cmp(two))
        };
        let mut rows: Vec<usize> = (0..batch.num_rows()).collect();
        if let Some(limit) = limit.filter(|limit| *limit < rows.len()) {
            rows.select_nth_unstable_by(limit, compare);
            rows.truncate(limit);
        }
        rows.sort_unstable_by(compare);
        let rows: UInt64Array = rows.into_iter().map(|row| row as u64).collect();
        take_record_batch(batch, &rows).map_err(refused)
    }

    /// The first `limit` of any number of rows; without one, all of not too many.
    pub(super) fn first(
        &self,
        schema: &SchemaRef,
        batches: impl Iterator<Item = Result<RecordBatch>>,
        limit: Option<usize>,
    ) -> Result<RecordBatch> {
        let most = limit.unwrap_or(UNASKED + 1);
        let mut held = Vec::new();
        let mut rows = 0;
        let settle = |held: &[RecordBatch]| {
            let all = concat_batches(schema, held).map_err(refused)?;
            self.sort(&all, Some(most))
        };
        for batch in batches {
            let batch = batch?;
            rows += batch.num_rows();
            held.push(batch);
            if rows >= AT_ONCE.max(most.saturating_mul(2)) {
                let first = settle(&held)?;
                rows = first.num_rows();
                held = vec![first];
            }
        }
        let first = settle(&held)?;
        if limit.is_none() && first.num_rows() > UNASKED {
            return Err(Error::Refused(format!(
                "more than {} rows match, and sorted ones are held in memory: add --limit N or --top N, at most {}",
                show_count(UNASKED as u64),
                show_count(MOST as u64)
            )));
        }
        Ok(first)
    }
}

fn unknown(name: &str, schema: &Schema) -> Error {
    let there_are: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let meant = did_you_mean(name, there_are.iter().copied());
    Error::Refused(format!(
        "cannot sort by '{name}'{meant}: the columns are {}",
        there_are.join(", ")
    ))
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
fn refused(error: arrow::error::ArrowError) -> Error {
    Error::Refused(format!("the rows can't be sorted: {error}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    #[test]
    fn the_first_of_many_with_absent_ones_last() {
        let batch = |values: Vec<Option<i64>>| {
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values)) as ArrayRef)])
                .unwrap()
        };
        let batches = (0..100_i64).map(|at| {
            batch(
                (0..1_000)
                    .map(|n| Some((n * 7_919 + at) % 100_003))
                    .collect(),
            )
        });
        let schema = batch(vec![None]).schema();
        let numbers = |order: &Order, limit| {
            let all = batches.clone().chain([batch(vec![None])]).map(Ok);
            order.first(&schema, all, Some(limit)).unwrap()["n"]
                .as_primitive::<Int64Type>()
                .iter()
                .collect::<Vec<_>>()
        };
        let sorted = numbers(&Order::parse(&["n:desc".to_owned()], false), 3);
        assert!(
            sorted[0] >= sorted[1] && sorted[1] >= sorted[2] && sorted[0] > Some(99_000),
            "{sorted:?}"
        );
        let all = numbers(&Order::parse(&["n".to_owned()], false), 200_000);
        assert_eq!((all.len(), all.last()), (100_001, Some(&None)));
        assert!(all[..100_000].is_sorted());
        let order = Order::parse(&["n".to_owned()], false);
        assert_eq!(
            order
                .first(&schema, batches.clone().map(Ok), None)
                .unwrap()
                .num_rows(),
            100_000
        );
        let error = order.first(
            &schema,
            batches.clone().chain([batch(vec![None])]).map(Ok),
            None,
        );
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("add --limit N or --top N")
        );
    }
}
