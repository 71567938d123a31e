//! Tests by any columns, with any aggregates, each test once, in bounded memory.
//!
//! Batches are read and summed up on all cores; what they come to is added in the order of the
//! rows, so that the same store gives the same digits.

use std::cell::RefCell;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use foldhash::{HashMap, HashMapExt};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::rows::refused;
use super::{Control, Filter, Result, Selection, Store, rows_chosen};
use crate::config::show_counted;
use crate::expr::{Bound, Context, Expr, Type};
use crate::stats::interval::{Interval, wilson};
use crate::stats::student::t_95;
use crate::stats::trials::{pass_at_k, pass_hat_k};
use crate::store::Error;
use crate::store::aggregate::Columns;
use crate::store::format::schema::DIMENSIONS;

mod function;
mod keys;
mod states;

pub use function::{Aggregate, Function};
pub(crate) use states::numbers;

use keys::{Groups, Key};
use states::{Partial, State};

/// Groups beyond which a query is refused: they are held in memory.
const MOST_GROUPS: usize = 1 << 20;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Aggregation {
    /// Which rows.
    pub filter: Filter,
    /// Columns and expressions to group by.
    pub by: Vec<Expr>,
    /// What to compute of each group.
    pub aggregates: Vec<Aggregate>,
}

/// The answer.
#[derive(Debug, Clone)]
pub struct Aggregated {
    /// The columns of the groups, then those of the aggregates; a row a group, in the order of
    /// the groups' values.
    pub batch: RecordBatch,
    /// What people must know about it: sentences.
    pub notes: Vec<String>,
}

/// Groups the matching records. Unknown columns are refused in one sentence.
pub fn aggregate(
    store: &Store,
    aggregation: &Aggregation,
    control: &Control,
) -> Result<Aggregated> {
    let planned: RefCell<Option<Arc<Plan>>> = RefCell::default();
    let choose = |schema: &SchemaRef, zone: &TimeZone| {
        let plan = Plan::new(aggregation, schema, zone)?;
        let columns = plan.columns(schema);
        // A view that had to be made again may have other columns: only the last one counts.
        planned.replace(Some(Arc::new(plan)));
        Ok(Selection {
            filter: aggregation.filter.clone(),
            columns: Some(columns),
            keyed: true,
            ..Selection::default()
        })
    };
    let rows = rows_chosen(store, &aggregation.filter, false, &choose, control)?;
    let Some(plan) = planned.take() else {
        return Err(Error::Refused(
            "the rows can't be grouped: try again".to_owned(),
        ));
    };
    let mut states: Vec<State> = plan
        .aggregates
        .iter()
        .map(|(function, argument)| {
            State::new(*function, argument.as_ref().map(data_type).as_ref())
        })
        .collect();
    let mut groups: HashMap<Vec<Key>, u32> = HashMap::new();
    let own = Arc::clone(&plan);
    for found in rows.through(move |batch| own.partial(batch))? {
        let (_, (keys, partials)) = found?;
        let to: Vec<u32> = keys
            .into_iter()
            .map(|key| {
                let next = groups.len() as u32;
                *groups.entry(key).or_insert(next)
            })
            .collect();
        if groups.len() > MOST_GROUPS {
            return Err(Error::Refused(format!(
                "more than {MOST_GROUPS} groups: group by fewer columns, or choose fewer rows with --where"
            )));
        }
        for (state, partial) in states.iter_mut().zip(partials) {
            state.add(partial, &to)?;
        }
    }
    plan.table(aggregation, groups, states)
}

fn check(aggregate: &Aggregate, argument: Option<&Bound>) -> Result<()> {
    let Some(argument) = argument else {
        return Ok(());
    };
    let fits = match aggregate.function {
        Function::Count | Function::CountDistinct => argument.of() != Type::Other,
        Function::Min | Function::Max => argument.of().is_number() || argument.of() == Type::Time,
        _ => argument.of().is_number(),
    };
    if fits || argument.of() == Type::Null {
        return Ok(());
    }
    Err(Error::Refused(format!(
        "{} needs numbers, but its column holds {}",
        aggregate.name,
        argument.of()
    )))
}

/// The type in which [`Bound::evaluate`] gives it.
fn data_type(bound: &Bound) -> DataType {
    match bound.of() {
        Type::Bool => DataType::Boolean,
        Type::Int => DataType::Int64,
        Type::Text => DataType::Utf8,
        Type::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::Float | Type::Null | Type::Other => DataType::Float64,
    }
}

#[derive(Debug)]
struct Plan {
    /// And whether it is a dimension of text.
    by: Vec<(Bound, bool)>,
    aggregates: Vec<(Function, Option<Bound>)>,
}

type Summed = (Vec<Vec<Key>>, Vec<Partial>);

impl Plan {
    fn new(aggregation: &Aggregation, schema: &SchemaRef, zone: &TimeZone) -> Result<Self> {
        let context = Context {
            zone: zone.clone(),
            now: Timestamp::now(),
        };
        let bind = |expr: &Expr| {
            let bound = expr.bind(schema, &context);
            bound.map_err(|error| Error::Refused(error.to_string()))
        };
        let by = |expr: &Expr| {
            let dimension = DIMENSIONS.contains(&expr.text()) && expr.text() != "tool_success_rate";
            Ok((bind(expr)?, dimension))
        };
        let of = |aggregate: &Aggregate| {
            let argument = aggregate.argument.as_ref().map(bind).transpose()?;
            check(aggregate, argument.as_ref())?;
            Ok((aggregate.function, argument))
        };
        Ok(Self {
            by: aggregation.by.iter().map(by).collect::<Result<_>>()?,
            aggregates: aggregation
                .aggregates
                .iter()
                .map(of)
                .collect::<Result<_>>()?,
        })
    }

    fn columns(&self, schema: &arrow::datatypes::Schema) -> Vec<String> {
        let mut names: Vec<&str> = Vec::new();
        for bound in self.bounds() {
            names.extend(bound.columns());
        }
        for (function, _) in &self.aggregates {
            match function {
                Function::Tally => names.extend(Columns::NAMES),
                Function::PassAt(_) | Function::PassHat(_) => {
                    names.extend(DIMENSIONS);
                    names.extend(["test_id", "task_id", "success"]);
                }
                Function::Metric => names.push("task_id"),
                _ => {}
            }
        }
        if names.is_empty() {
            names.push("model");
        }
        names.sort_unstable();
        names.dedup();
        names.retain(|name| schema.field_with_name(name).is_ok());
        names.into_iter().map(str::to_owned).collect()
    }

    fn bounds(&self) -> impl Iterator<Item = &Bound> {
        let arguments = self
            .aggregates
            .iter()
            .filter_map(|(_, argument)| argument.as_ref());
        self.by.iter().map(|(bound, _)| bound).chain(arguments)
    }

    /// What the rows of a batch come to.
    fn partial(&self, batch: &RecordBatch) -> Result<Summed> {
        let failed = |error: crate::expr::Error| Error::Refused(error.to_string());
        let by = self
            .by
            .iter()
            .map(|(bound, dimension)| {
                Ok((bound.evaluate_keyed(batch).map_err(failed)?, *dimension))
            })
            .collect::<Result<Vec<_>>>()?;
        let Groups { of, keys } = Groups::new(&by, batch.num_rows());
        let needs = |(function, _): &(Function, Option<Bound>)| {
            matches!(
                function,
                Function::Tally | Function::PassAt(_) | Function::PassHat(_) | Function::Metric
            )
        };
        let columns = self
            .aggregates
            .iter()
            .any(needs)
            .then(|| Columns::new(batch))
            .transpose()?;
        let mut partials = Vec::with_capacity(self.aggregates.len());
        for (function, argument) in &self.aggregates {
            let values = argument.as_ref().map(|bound| bound.evaluate(batch));
            let values = values.transpose().map_err(failed)?;
            partials.push(Partial::new(
                *function,
                values.as_ref(),
                columns.as_ref(),
                &of,
                keys.len(),
            ));
        }
        Ok((keys, partials))
    }

    fn table(
        &self,
        aggregation: &Aggregation,
        groups: HashMap<Vec<Key>, u32>,
        states: Vec<State>,
    ) -> Result<Aggregated> {
        let mut sorted: Vec<(Vec<Key>, u32)> = groups.into_iter().collect();
        sorted.sort_unstable();
        let order: Vec<usize> = sorted.iter().map(|(_, group)| *group as usize).collect();
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for (at, ((bound, _), expr)) in self.by.iter().zip(&aggregation.by).enumerate() {
            let keys: Vec<&Key> = sorted
                .iter()
                .map(|(keys, _)| keys.get(at).unwrap_or(&Key::Null))
                .collect();
            columns.push((
                expr.text().to_owned(),
                keys::column(&keys, &data_type(bound)),
            ));
        }
        let mut notes = Vec::new();
        for ((aggregate, (_, bound)), state) in aggregation
            .aggregates
            .iter()
            .zip(&self.aggregates)
            .zip(states)
        {
            let of = bound.as_ref().map(Bound::of);
            output(aggregate, of, state, &order, &mut columns, &mut notes)?;
        }
        let columns = columns
            .into_iter()
            .map(|(name, column)| (name, column, true));
        let batch = RecordBatch::try_from_iter_with_nullable(columns).map_err(refused)?;
        Ok(Aggregated { batch, notes })
    }
}

/// Of a metric: n, mean, standard error, interval.
type Figures = (u64, f64, Option<f64>, Option<Interval>);

/// The values of a state in the order of the groups.
fn sorted<T, U>(values: &[T], order: &[usize], of: impl Fn(&T) -> Option<U>) -> Vec<Option<U>> {
    order
        .iter()
        .map(|at| values.get(*at).and_then(&of))
        .collect()
}

fn output(
    aggregate: &Aggregate,
    of: Option<Type>,
    state: State,
    order: &[usize],
    columns: &mut Vec<(String, ArrayRef)>,
    notes: &mut Vec<String>,
) -> Result<()> {
    let name = &aggregate.name;
    let column: ArrayRef = match state {
        State::Counts(counts) => Arc::new(Int64Array::from(sorted(&counts, order, |count| {
            Some(*count as i64)
        }))),
        State::Hashes(hashes, _) => Arc::new(Int64Array::from(sorted(&hashes, order, |own| {
            Some(own.len() as i64)
        }))),
        State::Sums(sums) if aggregate.function == Function::Mean => Arc::new(Float64Array::from(
            sorted(&sums, order, crate::stats::decimal_sum::DecimalSum::mean),
        )),
        // Whole numbers stay whole where they fit.
        State::Sums(sums)
            if of != Some(Type::Float) && sums.iter().all(|sum| sum.whole().is_some()) =>
        {
            Arc::new(Int64Array::from(sorted(&sums, order, |sum| {
                sum.whole().filter(|_| sum.n > 0)
            })))
        }
        State::Sums(sums) => Arc::new(Float64Array::from(sorted(&sums, order, |sum| {
            (sum.n > 0).then(|| sum.value())
        }))),
        State::Moments(moments) => Arc::new(Float64Array::from(sorted(&moments, order, |own| {
            (own.n > 1.0).then(|| (own.squares / (own.n - 1.0)).sqrt())
        }))),
        State::Ends(ends) => {
            let least = aggregate.function == Function::Min;
            Arc::new(Float64Array::from(sorted(&ends, order, |ends| {
                ends.map(|(low, high)| if least { low } else { high })
            })))
        }
        State::Wholes(ends) => {
            let least = aggregate.function == Function::Min;
            let values = sorted(&ends, order, |ends: &Option<(i64, i64)>| {
                ends.map(|(low, high)| if least { low } else { high })
            });
            if of == Some(Type::Time) {
                Arc::new(TimestampMicrosecondArray::from(values).with_timezone("UTC"))
            } else {
                Arc::new(Int64Array::from(values))
            }
        }
        State::Quantiles(quantiles, _) => {
            let Function::Percentile(share) = aggregate.function else {
                return Ok(());
            };
            if !quantiles
                .iter()
                .all(crate::stats::quantiles::Quantiles::is_exact)
            {
                notes.push(format!(
                    "{name} is to within 0.5 % where a group has many values"
                ));
            }
            Arc::new(Float64Array::from(sorted(&quantiles, order, |own| {
                own.quantile(share / 100.0)
            })))
        }
        State::Trials(trials) => {
            let (k, at) = match aggregate.function {
                Function::PassAt(k) => (k, true),
                Function::PassHat(k) => (k, false),
                _ => return Ok(()),
            };
            let mut sums: HashMap<usize, (f64, u64)> = HashMap::new();
            let mut few = 0_u64;
            for found in trials.finish()? {
                let ((group, _), trials) = found?;
                let estimate = if at { pass_at_k } else { pass_hat_k };
                match estimate(trials.n, trials.full, k) {
                    Some(share) => {
                        let own = sums.entry(group as usize).or_insert((0.0, 0));
                        own.0 += share;
                        own.1 += 1;
                    }
                    None => few += 1,
                }
            }
            if few > 0 {
                let few = show_counted(few, "task");
                notes.push(format!(
                    "{name} leaves out {few} with fewer than {k} scored trials"
                ));
            }
            let mean = |at: &usize| sums.get(at).map(|(sum, tasks)| sum / *tasks as f64);
            Arc::new(order.iter().map(mean).collect::<Float64Array>())
        }
        State::Metric(sums, tasks, alone) => {
            let mut squares: HashMap<usize, (f64, f64)> = HashMap::new();
            let mean = |at: usize| {
                sums.get(at)
                    .and_then(crate::stats::decimal_sum::DecimalSum::mean)
            };
            for found in tasks.finish()? {
                let ((group, _), task) = found?;
                if let Some(mean) = mean(group as usize) {
                    let own = squares.entry(group as usize).or_insert((0.0, 0.0));
                    own.0 += (task.sum - mean * task.n as f64).powi(2);
                    own.1 += 1.0;
                }
            }
            let figures: Vec<Option<Figures>> = order
                .iter()
                .map(|at| {
                    let n = sums.get(*at)?.n;
                    let mean = mean(*at)?;
                    let (mut sum, mut clusters) = squares.get(at).copied().unwrap_or_default();
                    if let Some(alone) = alone.get(*at) {
                        sum += alone.squares + alone.n * (alone.mean - mean).powi(2);
                        clusters += alone.n;
                    }
                    let error = (clusters > 1.0)
                        .then(|| (clusters / (clusters - 1.0) * sum).sqrt() / n as f64);
                    let interval = error.map(|error| {
                        let half = t_95(clusters - 1.0) * error;
                        Interval {
                            low: mean - half,
                            high: mean + half,
                        }
                    });
                    Some((n, mean, error, interval))
                })
                .collect();
            let counts = figures
                .iter()
                .map(|own| Some(own.as_ref().map_or(0, |own| own.0 as i64)));
            columns.push((
                format!("n_{name}"),
                Arc::new(counts.collect::<Int64Array>()),
            ));
            let mut figure = |name: String, of: &dyn Fn(&Figures) -> Option<f64>| {
                let values = figures.iter().map(|own| own.as_ref().and_then(of));
                columns.push((name, Arc::new(values.collect::<Float64Array>())));
            };
            figure(format!("mean_{name}"), &|own| Some(own.1));
            figure(format!("standard_error_{name}"), &|own| own.2);
            figure(format!("ci_low_{name}"), &|own| {
                own.3.map(|interval| interval.low)
            });
            figure(format!("ci_high_{name}"), &|own| {
                own.3.map(|interval| interval.high)
            });
            return Ok(());
        }
        State::Tallies(tallies) => {
            use crate::stats::Tally;
            let mut count = |name: &str, of: fn(&Tally) -> u64| {
                let values = sorted(&tallies, order, |tally| Some(of(tally) as i64));
                columns.push((name.to_owned(), Arc::new(Int64Array::from(values))));
            };
            count("tests", |tally| tally.tests);
            count("success", |tally| tally.full);
            count("partial", |tally| tally.partial);
            count("failed", Tally::failed);
            count("unscored", |tally| tally.unscored);
            let mut figure = |name: &str, of: fn(&Tally) -> Option<f64>| {
                let values = sorted(&tallies, order, of);
                columns.push((name.to_owned(), Arc::new(Float64Array::from(values))));
            };
            figure("success_rate", Tally::success_rate);
            figure("ci_low", |tally| {
                Some(wilson(tally.full, tally.judged())?.low)
            });
            figure("ci_high", |tally| {
                Some(wilson(tally.full, tally.judged())?.high)
            });
            figure("mean_execution_time", |tally| tally.execution_time.mean());
            figure("mean_turns", |tally| tally.turns.mean());
            figure("mean_tool_calls", |tally| tally.tool_calls.mean());
            figure("mean_tool_coverage_rate", |tally| {
                tally.tool_coverage_rate.mean()
            });
            return Ok(());
        }
    };
    columns.push((name.clone(), column));
    Ok(())
}

#[cfg(test)]
mod tests;
