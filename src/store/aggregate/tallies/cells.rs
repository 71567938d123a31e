//! Tallies by cell as columns: each text once, each count next to its like, sums as
//! multiples of what they have in common. So they compress to a tenth.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::stats::money::{Money, Tokens};
use crate::stats::{Cell, Rate, Sum, Tally};

type Counts = Vec<u64>;

/// The cells in their order, column by column.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Cells {
    texts: Vec<Arc<str>>,
    /// Model, prompt type, difficulty and task type, as numbers of texts.
    dimensions: [Vec<u32>; 4],
    rates: Vec<Option<Rate>>,
    /// Tests, full, partial, the three of unscored ones; errors by category; tokens.
    counts: Vec<Counts>,
    /// Execution time, turns, tool calls, tool coverage rate, in millionths; cost and the
    /// judge's cost, in billionths.
    sums: [Sums; 6],
}

#[derive(Debug, Serialize, Deserialize)]
struct Sums {
    n: Counts,
    /// What all sums are multiples of.
    unit: i128,
    multiples: Vec<i128>,
}

impl Sums {
    fn of(sums: impl Iterator<Item = Sum> + Clone) -> Self {
        let common = sums
            .clone()
            .fold(0, |unit, sum| divisor(unit, sum.micros.unsigned_abs()));
        let unit = i128::try_from(common).unwrap_or(1).max(1);
        Self {
            n: sums.clone().map(|sum| sum.n).collect(),
            unit,
            multiples: sums.map(|s| s.micros / unit).collect(),
        }
    }

    fn get(&self, at: usize) -> Option<Sum> {
        Some(Sum {
            n: *self.n.get(at)?,
            micros: self.multiples.get(at)?.checked_mul(self.unit)?,
        })
    }
}

/// The greatest common divisor.
fn divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

fn texts(cell: &Cell) -> [&Arc<str>; 4] {
    [
        &cell.model,
        &cell.prompt_type,
        &cell.difficulty,
        &cell.task_type,
    ]
}

fn counts(tally: &Tally) -> impl Iterator<Item = u64> {
    let counts = [
        tally.tests,
        tally.full,
        tally.partial,
        tally.unscored,
        tally.unscored_errors,
        tally.unscored_infrastructure,
    ];
    let tokens = &tally.tokens;
    let tokens = [
        tokens.n,
        tokens.input,
        tokens.output,
        tokens.reasoning,
        tokens.cache_read,
        tokens.cache_write,
    ];
    counts.into_iter().chain(tally.errors).chain(tokens)
}

fn sums(tally: &Tally) -> [Sum; 6] {
    let money = |own: Money| Sum {
        n: own.n,
        micros: own.billionths,
    };
    [
        tally.execution_time,
        tally.turns,
        tally.tool_calls,
        tally.tool_coverage_rate,
        money(tally.cost),
        money(tally.judge_cost),
    ]
}

impl Cells {
    pub(crate) fn of<'a>(cells: impl Iterator<Item = (&'a Cell, &'a Tally)>) -> Self {
        let mut cells: Vec<_> = cells.collect();
        cells.sort_unstable_by_key(|(cell, _)| *cell);
        let mut numbers: BTreeMap<&Arc<str>, u32> = BTreeMap::new();
        for text in cells.iter().flat_map(|(cell, _)| texts(cell)) {
            numbers.insert(text, 0);
        }
        for (at, number) in numbers.values_mut().enumerate() {
            *number = at as u32;
        }
        let number = |text: &Arc<str>| numbers.get(text).copied().unwrap_or_default();
        let [model, prompt_type, difficulty, task_type] = [0, 1, 2, 3].map(|at| {
            cells
                .iter()
                .filter_map(|(cell, _)| texts(cell).get(at).map(|text| number(text)))
                .collect()
        });
        let mut columns: Vec<Counts> = Vec::new();
        for (at, (_, tally)) in cells.iter().enumerate() {
            for (column, count) in counts(tally).enumerate() {
                if at == 0 {
                    columns.push(Vec::with_capacity(cells.len()));
                }
                columns
                    .get_mut(column)
                    .into_iter()
                    .for_each(|column| column.push(count));
            }
        }
        let of = |at: usize| {
            Sums::of(
                cells
                    .iter()
                    .filter_map(move |(_, tally)| sums(tally).get(at).copied()),
            )
        };
        Self {
            texts: numbers.into_keys().cloned().collect(),
            dimensions: [model, prompt_type, difficulty, task_type],
            rates: cells
                .iter()
                .map(|(cell, _)| cell.tool_success_rate)
                .collect(),
            counts: columns,
            sums: [of(0), of(1), of(2), of(3), of(4), of(5)],
        }
    }

    /// The cells; `None` where the columns don't fit each other.
    pub(crate) fn unpack(&self) -> Option<Vec<(Cell, Tally)>> {
        self.rates
            .iter()
            .enumerate()
            .map(|(at, rate)| self.row(at, *rate))
            .collect()
    }

    fn row(&self, at: usize, tool_success_rate: Option<Rate>) -> Option<(Cell, Tally)> {
        let text = |column: &Vec<u32>| self.texts.get(*column.get(at)? as usize).cloned();
        let [model, prompt_type, difficulty, task_type] = self.dimensions.each_ref().map(text);
        let cell = Cell {
            model: model?,
            prompt_type: prompt_type?,
            tool_success_rate,
            difficulty: difficulty?,
            task_type: task_type?,
        };
        let mut counts = self.counts.iter().map(|column| column.get(at).copied());
        let mut next = || counts.next().flatten();
        let [time, turns, calls, coverage, cost, judge] =
            self.sums.each_ref().map(|sums| sums.get(at));
        let money = |own: Sum| Money {
            n: own.n,
            billionths: own.micros,
        };
        let mut tally = Tally {
            tests: next()?,
            full: next()?,
            partial: next()?,
            unscored: next()?,
            unscored_errors: next()?,
            unscored_infrastructure: next()?,
            execution_time: time?,
            turns: turns?,
            tool_calls: calls?,
            tool_coverage_rate: coverage?,
            cost: money(cost?),
            judge_cost: money(judge?),
            ..Tally::default()
        };
        for error in &mut tally.errors {
            *error = next()?;
        }
        tally.tokens = Tokens {
            n: next()?,
            input: next()?,
            output: next()?,
            reasoning: next()?,
            cache_read: next()?,
            cache_write: next()?,
        };
        Some((cell, tally))
    }
}
