//! Any number of values of one column, compared on the tests that they share.
//!
//! A test is known as in [`super::pairs()`]. Memory is bounded, however many tests there are.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::aggregation::{Aggregate, Aggregation, aggregate, numbers};
use super::{Control, Filter, Result, Rows, Selection, Store, rows_chosen};
use crate::expr::{Bound, Context, Expr, Type};
use crate::limits::LIMITS;
use crate::stats::interval::Interval;
use crate::stats::metric::Metric;
use crate::stats::paired::{Comparison, Pair, PairSum, Trials};
use crate::stats::paired_means::{MeanSum, Values};
use crate::stats::{Tally, cell::UNKNOWN};
use crate::store::Error;
use crate::store::aggregate::Columns;
use crate::store::aggregate::external::Gather;
use crate::store::format::cast::cast;
use crate::store::format::schema::DIMENSIONS;
use arrow::array::{Array, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, SchemaRef};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Changed tests that are listed.
const LISTED: usize = 10_000;

/// One value of the column.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contender {
    /// The value, as text.
    pub value: String,
    /// All its tests.
    pub tally: Tally,
}

/// The comparison of two values, by their place in the list.
#[derive(Debug, Clone, PartialEq)]
pub struct Contrast {
    /// The first.
    pub first: usize,
    /// The second.
    pub second: usize,
    /// The first compared with the second.
    pub found: Comparison,
}

/// A test with another result on the other side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Flip {
    /// The `task_id`, or the `test_id` where there is none.
    pub test: String,
    /// The rest of its cell: what the test is of.
    pub cell: String,
    /// Share of successes on either side.
    pub rates: [f64; 2],
    /// What the rows say of the side that failed.
    pub notes: [String; 2],
    /// Where the logs of either side are.
    pub logs: [String; 2],
}

/// The mean of a metric over the tests of one value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mean {
    /// Values.
    pub n: u64,
    /// Their mean.
    pub mean: f64,
    /// Its standard error, clustered by task.
    pub error: Option<f64>,
    /// Its 95 % interval.
    pub interval: Option<Interval>,
}

/// The mean of a metric by the values of a column.
pub fn means(
    store: &Store,
    filter: &Filter,
    (column, metric): (&str, &Metric),
    control: &Control,
) -> Result<BTreeMap<String, Mean>> {
    let refused = |error: crate::expr::Error| Error::Refused(error.to_string());
    let of: Expr = metric.name.parse().map_err(refused)?;
    let name = of.text().to_owned();
    let aggregation = Aggregation {
        filter: filter.clone(),
        by: vec![format!("`{column}`").parse().map_err(refused)?],
        aggregates: vec![Aggregate::metric(of)],
    };
    let batch = aggregate(store, &aggregation, control)?.batch;
    let values = texts(&batch, column)?;
    let number = |name: String, row: usize| {
        let column = batch.column_by_name(&name)?;
        numbers(column)(row)
    };
    let mean = |row: usize| {
        let low = number(format!("ci_low_{name}"), row);
        let high = number(format!("ci_high_{name}"), row);
        Some((
            value_of(&values, column, row)?.to_owned(),
            Mean {
                n: number(format!("n_{name}"), row)? as u64,
                mean: number(format!("mean_{name}"), row)?,
                error: number(format!("standard_error_{name}"), row),
                interval: low.zip(high).map(|(low, high)| Interval { low, high }),
            },
        ))
    };
    Ok((0..batch.num_rows()).filter_map(mean).collect())
}

type Seen = Vec<(u32, Values)>;

fn add(all: &mut Seen, more: Seen) {
    for (at, values) in more {
        match all.iter_mut().find(|(own, _)| *own == at) {
            Some((_, own)) => own.add_all(values),
            None => all.push((at, values)),
        }
    }
}

/// What is compared: successes, or the values of a column or expression.
struct Measure {
    expr: Option<Expr>,
    tie: Option<f64>,
    bound: RefCell<Option<Bound>>,
}

impl Measure {
    fn of(metric: &Metric) -> Result<Self> {
        let expr = (!metric.is_success()).then(|| metric.name.parse());
        let expr = expr
            .transpose()
            .map_err(|error: crate::expr::Error| Error::Refused(error.to_string()))?;
        Ok(Self {
            expr,
            tie: metric.tie(),
            bound: RefCell::default(),
        })
    }

    /// The rows of a comparison of a column's values.
    fn rows(
        &self,
        store: &Store,
        filter: &Filter,
        column: &str,
        control: &Control,
    ) -> Result<Rows> {
        let choose = |schema: &SchemaRef, zone: &TimeZone| {
            let mut more: Vec<String> = Vec::new();
            if let Some(expr) = &self.expr {
                let context = Context {
                    zone: zone.clone(),
                    now: Timestamp::now(),
                };
                let bound = expr.bind(schema, &context);
                let bound = bound.map_err(|error| Error::Refused(error.to_string()))?;
                if !bound.of().is_number() && bound.of() != Type::Null {
                    return Err(Error::Refused(format!(
                        "{} can't be averaged: it holds {}",
                        expr.text(),
                        bound.of()
                    )));
                }
                more.extend(bound.columns().into_iter().map(str::to_owned));
                // A view that had to be made again may have other columns.
                self.bound.replace(Some(bound));
            }
            let more: Vec<&str> = more.iter().map(String::as_str).collect();
            Ok(selection(filter, column, &more))
        };
        rows_chosen(store, filter, false, &choose, control)
    }

    /// The value of each row; none where the test was not judged, or the infrastructure lost it.
    fn values(&self, batch: &RecordBatch, columns: &Columns) -> Result<Vec<Option<f64>>> {
        let rows = 0..batch.num_rows();
        let Some(bound) = &*self.bound.borrow() else {
            let value = |row| scored(columns, row).map(f64::from);
            return Ok(rows.map(value).collect());
        };
        let values = bound.evaluate(batch);
        let values = values.map_err(|error| Error::Refused(error.to_string()))?;
        let number = numbers(&values);
        let value = |row| number(row).filter(|_| !is_lost(columns, row));
        Ok(rows.map(value).collect())
    }

    fn sum(&self) -> Sum {
        match self.expr {
            None => Sum::Successes(PairSum::default()),
            Some(_) => Sum::Means(MeanSum::default(), self.tie),
        }
    }
}

/// A comparison while its tests come in.
#[derive(Debug, Clone)]
enum Sum {
    Successes(PairSum),
    Means(MeanSum, Option<f64>),
}

impl Sum {
    fn push(&mut self, first: Values, second: Values, task: Option<u64>) {
        match self {
            Self::Successes(sum) => sum.push(&Pair {
                first: first.trials(),
                second: second.trials(),
                task,
            }),
            Self::Means(sum, _) => sum.push(first, second, task),
        }
    }

    fn finish(self) -> Comparison {
        match self {
            Self::Successes(sum) => sum.finish(),
            Self::Means(sum, tie) => sum.finish(tie),
        }
    }
}

/// What a row's column holds, as text; numbers in their shortest digits.
pub(crate) fn texts(batch: &RecordBatch, column: &str) -> Result<StringArray> {
    let values = batch
        .column_by_name(column)
        .ok_or_else(|| Error::Refused(format!("no column '{column}'")))?;
    let texts = cast(values, &DataType::Utf8).map_err(|error| {
        Error::Refused(format!("the values of {column} can't be compared: {error}"))
    })?;
    Ok(texts.as_string::<i32>().clone())
}

fn selection(filter: &Filter, column: &str, more: &[&str]) -> Selection {
    let mut columns: Vec<String> = Columns::always()
        .iter()
        .map(|name| (*name).to_owned())
        .collect();
    for name in more.iter().copied().chain([column]) {
        if !columns.iter().any(|own| own == name) {
            columns.push(name.to_owned());
        }
    }
    Selection {
        filter: filter.clone(),
        columns: Some(columns),
        ..Selection::default()
    }
}

fn value_of<'a>(values: &'a StringArray, column: &str, row: usize) -> Option<&'a str> {
    let text = values.is_valid(row).then(|| values.value(row));
    let text = text.filter(|text| !text.is_empty());
    // A missing dimension reads "unknown", everywhere.
    text.or_else(|| DIMENSIONS.contains(&column).then_some(UNKNOWN))
}

/// Every pair of `values` of a column among the matching records, compared by a metric, and what
/// each has in all. Without values, all that rows have, at most `most` of them, those with the
/// most tests.
pub fn contrasts(
    store: &Store,
    filter: &Filter,
    (column, metric): (&str, &Metric),
    values: &[String],
    most: usize,
    control: &Control,
) -> Result<(Vec<Contender>, Vec<Contrast>)> {
    let measure = Measure::of(metric)?;
    let mut contenders: Vec<Contender> = values
        .iter()
        .map(|value| Contender {
            value: value.clone(),
            ..Contender::default()
        })
        .collect();
    let open = values.is_empty();
    let mut tests = Gather::new(LIMITS.held_pairs, add);
    let mut unknown: Seen = Vec::new();
    for batch in measure.rows(store, filter, column, control)? {
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        let own = texts(&batch, column)?;
        for (row, measured) in measure.values(&batch, &columns)?.into_iter().enumerate() {
            let Some(value) = value_of(&own, column, row) else {
                continue;
            };
            let at = contenders
                .iter()
                .position(|contender| contender.value == value);
            let at = match at {
                Some(at) => at,
                None if open && contenders.len() < 1_000 => {
                    contenders.push(Contender {
                        value: value.to_owned(),
                        ..Contender::default()
                    });
                    contenders.len() - 1
                }
                None if open => {
                    return Err(Error::Refused(format!(
                        "{column} has more than 1,000 values: name those to compare"
                    )));
                }
                None => continue,
            };
            if let Some(contender) = contenders.get_mut(at) {
                columns.outcome(row).add_to(&mut contender.tally);
            }
            // Neither an unscored test nor one that the infrastructure lost says anything.
            let Some(measured) = measured else {
                continue;
            };
            let mut values = Values::default();
            values.add(measured);
            let seen = vec![(at as u32, values)];
            match columns.task_key(row, column) {
                Some(key) => add(tests.of((columns.task(row), key))?, seen),
                None => add(&mut unknown, seen),
            }
        }
    }
    let mut kept: Vec<usize> = (0..contenders.len()).collect();
    if open {
        let tests = |at: &usize| contenders.get(*at).map_or(0, |own| own.tally.tests);
        kept.sort_by_key(|at| std::cmp::Reverse(tests(at)));
        kept.truncate(most);
        kept.sort_by(|one, other| {
            let name = |at: &usize| contenders.get(*at).map(|own| own.value.as_str());
            name(one).cmp(&name(other))
        });
    }
    let mut sums = vec![measure.sum(); kept.len() * kept.len()];
    let count = kept.len();
    let mut push = |seen: &Seen, task: Option<u64>, apart: bool| {
        let of = |at: &usize| {
            let found = seen.iter().find(|(own, _)| *own as usize == *at);
            found.map(|(_, values)| *values).unwrap_or_default()
        };
        let values: Vec<Values> = kept.iter().map(of).collect();
        for (i, first) in values.iter().enumerate() {
            for (j, second) in values.iter().enumerate().skip(i + 1) {
                let Some(sum) = sums.get_mut(i * count + j) else {
                    continue;
                };
                if apart {
                    // Nothing says that these are the same tests on both sides.
                    sum.push(*first, Values::default(), None);
                    sum.push(Values::default(), *second, None);
                } else if first.n + second.n > 0 {
                    sum.push(*first, *second, task);
                }
            }
        }
    };
    for test in tests.finish()? {
        control.check()?;
        let ((task, _), seen) = test?;
        push(&seen, task, false);
    }
    push(&unknown, None, true);
    let mut contrasts = Vec::new();
    for first in 0..count {
        for second in first + 1..count {
            if let Some(sum) = sums.get_mut(first * count + second) {
                contrasts.push(Contrast {
                    first,
                    second,
                    found: std::mem::replace(sum, measure.sum()).finish(),
                });
            }
        }
    }
    let contenders = kept
        .iter()
        .filter_map(|at| contenders.get(*at).cloned())
        .collect();
    Ok((contenders, contrasts))
}

fn scored(columns: &Columns, row: usize) -> Option<bool> {
    let full = columns.truth("success", row)?;
    (full || !is_lost(columns, row)).then_some(full)
}

/// Whether the infrastructure lost the test: an error that is none of the model's.
fn is_lost(columns: &Columns, row: usize) -> bool {
    columns.outcome(row).error == Some(crate::stats::ErrorCategory::Infrastructure)
}

#[derive(Debug, Clone, Default, serde::Serialize, serde::Deserialize)]
struct Sides {
    test: String,
    cell: String,
    trials: [Trials; 2],
    notes: [String; 2],
    logs: [String; 2],
}

/// The tests that ended otherwise on the second side: at most 10,000, with their number.
pub fn flips(
    store: &Store,
    filter: &Filter,
    column: &str,
    sides: [&str; 2],
    control: &Control,
) -> Result<(Vec<Flip>, u64)> {
    let mut tests = Gather::new(LIMITS.held_pairs / 2, |own: &mut Sides, more: Sides| {
        for (own, more) in own.trials.iter_mut().zip(more.trials) {
            own.add_all(more);
        }
        for (own, more) in own.notes.iter_mut().zip(more.notes) {
            if own.is_empty() {
                *own = more;
            }
        }
        for (own, more) in own.logs.iter_mut().zip(more.logs) {
            if own.is_empty() {
                *own = more;
            }
        }
        if own.test.is_empty() {
            (own.test, own.cell) = (more.test, more.cell);
        }
    });
    let choose = |schema: &SchemaRef, _: &TimeZone| {
        let log = schema.field_with_name("log").is_ok();
        let more: &[&str] = if log { &["log"] } else { &[] };
        Ok(selection(filter, column, more))
    };
    for batch in rows_chosen(store, filter, false, &choose, control)? {
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        let own = texts(&batch, column)?;
        let ids = [texts(&batch, "task_id")?, texts(&batch, "test_id")?];
        let log = batch.column_by_name("log").is_some();
        let logs = log.then(|| texts(&batch, "log")).transpose()?;
        for row in 0..batch.num_rows() {
            let value = value_of(&own, column, row);
            let Some(side) = sides.iter().position(|side| value == Some(*side)) else {
                continue;
            };
            let (Some(full), Some(key)) = (scored(&columns, row), columns.task_key(row, column))
            else {
                continue;
            };
            let sum = tests.of((columns.task(row), key))?;
            if sum.test.is_empty() {
                let id = ids
                    .iter()
                    .find(|ids| ids.is_valid(row) && !ids.value(row).is_empty());
                sum.test = id.map_or_else(String::new, |ids| ids.value(row).to_owned());
                let cell = columns.cell(row);
                let parts = [
                    ("model", &cell.model),
                    ("prompt_type", &cell.prompt_type),
                    ("difficulty", &cell.difficulty),
                    ("task_type", &cell.task_type),
                ];
                let parts = parts
                    .iter()
                    .filter(|(name, value)| *name != column && ***value != *UNKNOWN);
                let parts: Vec<&str> = parts.map(|(_, value)| &***value).collect();
                sum.cell = parts.join(" ");
            }
            if let Some(trials) = sum.trials.get_mut(side) {
                trials.add(full);
            }
            let log = logs.as_ref().filter(|logs| logs.is_valid(row));
            if let (Some(own), Some(log)) = (sum.logs.get_mut(side), log)
                && own.is_empty()
            {
                log.value(row).clone_into(own);
            }
            if !full && let Some(note) = sum.notes.get_mut(side).filter(|note| note.is_empty()) {
                columns.message(row).unwrap_or_default().clone_into(note);
            }
        }
    }
    let (mut flips, mut count) = (Vec::new(), 0);
    for test in tests.finish()? {
        let (_, own) = test?;
        let [first, second] = own.trials;
        if first.n == 0 || second.n == 0 {
            continue;
        }
        let rates = [first, second].map(|own| own.full as f64 / own.n as f64);
        let [one, other] = rates;
        if (one - other).abs() < f64::EPSILON {
            continue;
        }
        count += 1;
        if flips.len() < LISTED {
            flips.push(Flip {
                test: own.test,
                cell: own.cell,
                rates,
                notes: own.notes,
                logs: own.logs,
            });
        }
    }
    flips.sort_by(|one, other| (&one.cell, &one.test).cmp(&(&other.cell, &other.test)));
    Ok((flips, count))
}

/// Two values of a column, such as two sessions, compared by model.
pub fn by_model(
    store: &Store,
    filter: &Filter,
    (column, metric): (&str, &Metric),
    sides: [&str; 2],
    control: &Control,
) -> Result<BTreeMap<String, Comparison>> {
    type OfModel = (String, [Values; 2]);
    let measure = Measure::of(metric)?;
    let mut tests = Gather::new(LIMITS.held_pairs, |own: &mut OfModel, more: OfModel| {
        for (own, more) in own.1.iter_mut().zip(more.1) {
            own.add_all(more);
        }
        if own.0.is_empty() {
            own.0 = more.0;
        }
    });
    for batch in measure.rows(store, filter, column, control)? {
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        let own = texts(&batch, column)?;
        for (row, measured) in measure.values(&batch, &columns)?.into_iter().enumerate() {
            let value = value_of(&own, column, row);
            let side = sides.iter().position(|side| value == Some(*side));
            let (Some(side), Some(measured)) = (side, measured) else {
                continue;
            };
            // A test that nothing identifies has no partner.
            let Some(key) = columns.task_key(row, column) else {
                continue;
            };
            let (model, values) = tests.of((columns.task(row), key))?;
            if model.is_empty() {
                columns.dimension("model", row).clone_into(model);
            }
            if let Some(values) = values.get_mut(side) {
                values.add(measured);
            }
        }
    }
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for test in tests.finish()? {
        let ((task, _), (model, [first, second])) = test?;
        let sum = sums.entry(model).or_insert_with(|| measure.sum());
        sum.push(first, second, task);
    }
    let finished = sums.into_iter().map(|(model, sum)| (model, sum.finish()));
    Ok(finished.collect())
}
