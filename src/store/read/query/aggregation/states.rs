//! What is known of the tests of each group so far.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use foldhash::{HashMap, HashMapExt, HashSet};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::function::Function;
use crate::limits::LIMITS;
use crate::stats::Tally;
use crate::stats::decimal_sum::DecimalSum;
use crate::stats::paired::Trials;
use crate::stats::quantiles::Quantiles;
use crate::store::aggregate::Columns;
use crate::store::aggregate::external::Gather;
use crate::store::{Error, Result};

/// Different values that are counted.
const MOST_DIFFERENT: usize = 1 << 23;
/// Values that are held for exact percentiles, over all groups.
const MOST_VALUES: usize = 1 << 22;

/// n, mean and Σ(x − mean)², added up as in Chan, Golub and LeVeque 1979.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Moments {
    pub(super) n: f64,
    pub(super) mean: f64,
    pub(super) squares: f64,
}

impl Moments {
    fn push(&mut self, value: f64) {
        self.n += 1.0;
        let apart = value - self.mean;
        self.mean += apart / self.n;
        self.squares += apart * (value - self.mean);
    }

    pub(super) fn add(&mut self, other: Self) {
        let n = self.n + other.n;
        if other.n == 0.0 {
            return;
        }
        let apart = other.mean - self.mean;
        self.squares += other.squares + apart * apart * self.n * other.n / n;
        self.mean += apart * other.n / n;
        self.n = n;
    }
}

/// Of one task in one group: how many values and their sum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct TaskSum {
    pub(super) n: u64,
    pub(super) sum: f64,
}

/// The state of one aggregate in every group of a batch.
pub(super) enum Partial {
    Counts(Vec<u64>),
    Sums(Vec<DecimalSum>),
    Moments(Vec<Moments>),
    /// The least and the greatest value.
    Ends(Vec<Option<(f64, f64)>>),
    Wholes(Vec<Option<(i64, i64)>>),
    Values(Vec<Vec<f64>>),
    Hashes(Vec<HashSet<u64>>),
    /// Trials by group and task.
    Trials(HashMap<(u32, u128), Trials>),
    /// Sums; of tasks; of tests without one.
    Metric(Vec<DecimalSum>, HashMap<(u32, u64), TaskSum>, Vec<Moments>),
    Tallies(Vec<Tally>),
}

impl Partial {
    /// Of the rows of a batch: `of` says which of so many groups each is in.
    pub(super) fn new(
        function: Function,
        argument: Option<&ArrayRef>,
        columns: Option<&Columns>,
        of: &[u32],
        groups: usize,
    ) -> Self {
        match (function, argument) {
            (Function::Count, None) => {
                let mut counts = vec![0; groups];
                each(of, &mut counts, |_, count: &mut u64| *count += 1);
                Self::Counts(counts)
            }
            (Function::Count, Some(values)) => {
                let mut counts = vec![0; groups];
                let there = present(values);
                each(of, &mut counts, |row, count: &mut u64| {
                    *count += u64::from(there(row));
                });
                Self::Counts(counts)
            }
            (Function::CountDistinct, Some(values)) => {
                let mut hashes = vec![HashSet::default(); groups];
                let hash = hasher(values);
                each(of, &mut hashes, |row, hashes: &mut HashSet<u64>| {
                    hashes.extend(hash(row));
                });
                Self::Hashes(hashes)
            }
            (Function::Sum | Function::Mean, Some(values)) => {
                let mut sums = vec![DecimalSum::default(); groups];
                push_sums(values, of, &mut sums);
                Self::Sums(sums)
            }
            (Function::Deviation, Some(values)) => {
                let mut moments = vec![Moments::default(); groups];
                let number = numbers(values);
                each(of, &mut moments, |row, own: &mut Moments| {
                    if let Some(value) = number(row) {
                        own.push(value);
                    }
                });
                Self::Moments(moments)
            }
            (Function::Min | Function::Max, Some(values)) if !values.data_type().is_floating() => {
                let mut ends = vec![None; groups];
                let whole = wholes(values);
                each(of, &mut ends, |row, ends: &mut Option<(i64, i64)>| {
                    if let Some(value) = whole(row) {
                        let (low, high) = ends.unwrap_or((value, value));
                        *ends = Some((low.min(value), high.max(value)));
                    }
                });
                Self::Wholes(ends)
            }
            (Function::Min | Function::Max, Some(values)) => {
                let mut ends = vec![None; groups];
                let number = numbers(values);
                each(of, &mut ends, |row, ends: &mut Option<(f64, f64)>| {
                    if let Some(value) = number(row) {
                        let (low, high) = ends.unwrap_or((value, value));
                        *ends = Some((low.min(value), high.max(value)));
                    }
                });
                Self::Ends(ends)
            }
            (Function::Percentile(_), Some(values)) => {
                let mut found = vec![Vec::new(); groups];
                let number = numbers(values);
                each(of, &mut found, |row, own: &mut Vec<f64>| {
                    own.extend(number(row));
                });
                Self::Values(found)
            }
            (Function::PassAt(_) | Function::PassHat(_), _) => {
                let mut trials: HashMap<(u32, u128), Trials> = HashMap::new();
                for (row, group) in of.iter().enumerate() {
                    let Some(columns) = columns else { break };
                    if let Some(full) = columns.truth("success", row)
                        && let Some(task) = columns.task_key(row, "")
                    {
                        trials.entry((*group, task)).or_default().add(full);
                    }
                }
                Self::Trials(trials)
            }
            (Function::Metric, Some(values)) => {
                let mut sums = vec![DecimalSum::default(); groups];
                push_sums(values, of, &mut sums);
                let mut tasks: HashMap<(u32, u64), TaskSum> = HashMap::new();
                let mut alone = vec![Moments::default(); groups];
                let number = numbers(values);
                for (row, group) in of.iter().enumerate() {
                    let Some(value) = number(row) else { continue };
                    match columns.and_then(|columns| columns.task(row)) {
                        Some(task) => {
                            let own = tasks.entry((*group, task)).or_default();
                            own.n += 1;
                            own.sum += value;
                        }
                        None => {
                            if let Some(alone) = alone.get_mut(*group as usize) {
                                alone.push(value);
                            }
                        }
                    }
                }
                Self::Metric(sums, tasks, alone)
            }
            (Function::Tally, _) => {
                let mut tallies = vec![Tally::default(); groups];
                each(of, &mut tallies, |row, tally: &mut Tally| {
                    if let Some(columns) = columns {
                        columns.outcome(row).add_to(tally);
                    }
                });
                Self::Tallies(tallies)
            }
            // Every function but these has an argument: they are read so.
            (_, None) => Self::Counts(vec![0; groups]),
        }
    }
}

fn each<T>(of: &[u32], states: &mut [T], mut take: impl FnMut(usize, &mut T)) {
    for (row, group) in of.iter().enumerate() {
        if let Some(state) = states.get_mut(*group as usize) {
            take(row, state);
        }
    }
}

fn push_sums(values: &ArrayRef, of: &[u32], sums: &mut [DecimalSum]) {
    if *values.data_type() == DataType::Float64 {
        let number = numbers(values);
        each(of, sums, |row, sum: &mut DecimalSum| {
            if let Some(value) = number(row) {
                sum.push(value);
            }
        });
    } else {
        let whole = wholes(values);
        each(of, sums, |row, sum: &mut DecimalSum| {
            if let Some(value) = whole(row) {
                sum.push_whole(value);
            }
        });
    }
}

/// Numbers by row; NaN and null are none.
pub(crate) fn numbers(values: &ArrayRef) -> Box<dyn Fn(usize) -> Option<f64> + '_> {
    if let Some(doubles) = values.as_primitive_opt::<Float64Type>() {
        return Box::new(|row| {
            (row < doubles.len() && doubles.is_valid(row))
                .then(|| doubles.value(row))
                .filter(|value| value.is_finite())
        });
    }
    let whole = wholes(values);
    Box::new(move |row| whole(row).map(|value| value as f64))
}

fn wholes(values: &ArrayRef) -> Box<dyn Fn(usize) -> Option<i64> + '_> {
    let there = |row: usize| row < values.len() && values.is_valid(row);
    if let Some(whole) = values.as_primitive_opt::<Int64Type>() {
        return Box::new(move |row| there(row).then(|| whole.value(row)));
    }
    if let Some(times) = values.as_primitive_opt::<TimestampMicrosecondType>() {
        return Box::new(move |row| there(row).then(|| times.value(row)));
    }
    if let Some(truths) = values.as_boolean_opt() {
        return Box::new(move |row| there(row).then(|| i64::from(truths.value(row))));
    }
    Box::new(|_| None)
}

fn present(values: &ArrayRef) -> Box<dyn Fn(usize) -> bool + '_> {
    if values.data_type().is_floating() {
        let number = numbers(values);
        return Box::new(move |row| number(row).is_some());
    }
    let nulls = values.logical_nulls();
    Box::new(move |row| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)))
}

fn hasher(values: &ArrayRef) -> Box<dyn Fn(usize) -> Option<u64> + '_> {
    if let Some(texts) = values.as_string_opt::<i32>() {
        return Box::new(|row| {
            texts
                .is_valid(row)
                .then(|| xxh3_64(texts.value(row).as_bytes()))
        });
    }
    let number = numbers(values);
    let whole = wholes(values);
    Box::new(move |row| {
        let bits = whole(row).map(|value| value as u64);
        let bits = bits.or_else(|| number(row).map(|value| (value + 0.0).to_bits()));
        bits.map(|bits| xxh3_64(&bits.to_le_bytes()))
    })
}

/// The state of one aggregate in every group of all batches.
#[derive(Debug)]
pub(super) enum State {
    Counts(Vec<u64>),
    Sums(Vec<DecimalSum>),
    Moments(Vec<Moments>),
    Ends(Vec<Option<(f64, f64)>>),
    Wholes(Vec<Option<(i64, i64)>>),
    Quantiles(Vec<Quantiles>, usize),
    Hashes(Vec<HashSet<u64>>, usize),
    Trials(Gather<(u32, u128), Trials>),
    Metric(Vec<DecimalSum>, Gather<(u32, u64), TaskSum>, Vec<Moments>),
    Tallies(Vec<Tally>),
}

impl State {
    pub(super) fn new(function: Function, data_type: Option<&DataType>) -> Self {
        let floating = data_type.is_none_or(DataType::is_floating);
        match function {
            Function::Count => Self::Counts(Vec::new()),
            Function::CountDistinct => Self::Hashes(Vec::new(), 0),
            Function::Sum | Function::Mean => Self::Sums(Vec::new()),
            Function::Deviation => Self::Moments(Vec::new()),
            Function::Min | Function::Max if floating => Self::Ends(Vec::new()),
            Function::Min | Function::Max => Self::Wholes(Vec::new()),
            Function::Percentile(_) => Self::Quantiles(Vec::new(), 0),
            Function::PassAt(_) | Function::PassHat(_) => {
                Self::Trials(Gather::new(LIMITS.held_tests, |own: &mut Trials, more| {
                    own.add_all(more);
                }))
            }
            Function::Metric => {
                let tasks = Gather::new(LIMITS.held_tests, |own: &mut TaskSum, more: TaskSum| {
                    own.n += more.n;
                    own.sum += more.sum;
                });
                Self::Metric(Vec::new(), tasks, Vec::new())
            }
            Function::Tally => Self::Tallies(Vec::new()),
        }
    }

    /// Adds the groups of a batch: `to` says which group of all each of them is.
    pub(super) fn add(&mut self, partial: Partial, to: &[u32]) -> Result<()> {
        match (self, partial) {
            (Self::Counts(all), Partial::Counts(own)) => {
                merge(all, own, to, |all, own| *all += own);
            }
            (Self::Sums(all), Partial::Sums(own)) => {
                merge(all, own, to, |all, own| all.add(&own));
            }
            (Self::Moments(all), Partial::Moments(own)) => merge(all, own, to, Moments::add),
            (Self::Ends(all), Partial::Ends(own)) => merge(all, own, to, |all, own| {
                if let Some((low, high)) = own {
                    let (least, most) = all.unwrap_or((low, high));
                    *all = Some((least.min(low), most.max(high)));
                }
            }),
            (Self::Wholes(all), Partial::Wholes(own)) => merge(all, own, to, |all, own| {
                if let Some((low, high)) = own {
                    let (least, most) = all.unwrap_or((low, high));
                    *all = Some((least.min(low), most.max(high)));
                }
            }),
            (Self::Quantiles(all, held), Partial::Values(own)) => {
                *held += own.iter().map(Vec::len).sum::<usize>();
                merge(all, own, to, |all, own| {
                    for value in own {
                        all.add(value);
                    }
                });
                if *held > MOST_VALUES {
                    *held = 0;
                    all.iter_mut().for_each(Quantiles::coarsen);
                }
            }
            (Self::Hashes(all, held), Partial::Hashes(own)) => {
                merge(all, own, to, |all, own| {
                    let before = all.len();
                    all.extend(own);
                    *held += all.len() - before;
                });
                if *held > MOST_DIFFERENT {
                    return Err(Error::Refused(format!(
                        "count_distinct would hold more than {MOST_DIFFERENT} different values: choose fewer rows with --where, or group by fewer columns"
                    )));
                }
            }
            (Self::Trials(all), Partial::Trials(own)) => {
                for ((group, task), trials) in own {
                    all.of((place(to, group), task))?.add_all(trials);
                }
            }
            (Self::Metric(sums, tasks, alone), Partial::Metric(own, own_tasks, own_alone)) => {
                merge(sums, own, to, |all, own| all.add(&own));
                merge(alone, own_alone, to, Moments::add);
                for ((group, task), more) in own_tasks {
                    let own = tasks.of((place(to, group), task))?;
                    own.n += more.n;
                    own.sum += more.sum;
                }
            }
            (Self::Tallies(all), Partial::Tallies(own)) => {
                merge(all, own, to, |all, own| all.add(&own));
            }
            _ => return Err(Error::Refused("an aggregate changed its kind".to_owned())),
        }
        Ok(())
    }
}

fn place(to: &[u32], group: u32) -> u32 {
    to.get(group as usize).copied().unwrap_or_default()
}

fn merge<T: Default + Clone, U>(
    all: &mut Vec<T>,
    own: Vec<U>,
    to: &[u32],
    mut add: impl FnMut(&mut T, U),
) {
    for (own, to) in own.into_iter().zip(to) {
        let at = *to as usize;
        if at >= all.len() {
            all.resize(at + 1, T::default());
        }
        if let Some(all) = all.get_mut(at) {
            add(all, own);
        }
    }
}
