//! The tallies and what happened, as bytes. Every text stands once, at the beginning; cells,
//! messages, models and processes are numbers of it.

use std::collections::HashMap;
use std::sync::Arc;

use strum::IntoEnumIterator;
use xxhash_rust::xxh3::xxh3_64;

use super::bytes::{In, Out};
use crate::stats::clusters::Clusters;
use crate::stats::history::History;
use crate::stats::money::{Money, Tokens};
use crate::stats::paired::Trials;
use crate::stats::{Cell, ErrorCategory, Rate, Sum, Tally};
use crate::store::aggregate::columns::quick_cell;
use crate::store::aggregate::{Activity, Digest, Failure, ModelActivity, Process, Recent};

/// What a file says but for the keys of its rows.
#[derive(Debug)]
pub(super) struct Body {
    texts: Vec<Arc<str>>,
    cells: Vec<(Place, Tally)>,
    records: u64,
    bad_values: u64,
    pub(super) activity: Activity,
    clusters: Clusters,
}

/// A cell: the numbers of its texts, and its rate.
#[derive(Debug, Clone, Copy)]
struct Place {
    texts: [usize; 4],
    rate: Option<Rate>,
}

/// Texts and their numbers, in the order in which they came.
#[derive(Default)]
struct Texts<'a> {
    numbers: HashMap<&'a str, usize>,
    all: Vec<&'a str>,
}

impl<'a> Texts<'a> {
    fn number(&mut self, text: &'a str) -> usize {
        *self.numbers.entry(text).or_insert_with(|| {
            self.all.push(text);
            self.all.len() - 1
        })
    }
}

/// The body of a digest; `None` where it has something that does not fit in it.
pub(super) fn of(digest: &Digest) -> Option<Vec<u8>> {
    if digest.clusters.is_overflown() {
        return None;
    }
    let (mut out, mut texts) = (Out::default(), Texts::default());
    out.number(digest.bad_values);
    let cells: Vec<_> = digest.cells().collect();
    let places: HashMap<&Cell, usize> = cells.iter().map(|(cell, _)| *cell).zip(0..).collect();
    out.size(cells.len());
    for (cell, tally) in &cells {
        for text in [
            &cell.model,
            &cell.prompt_type,
            &cell.difficulty,
            &cell.task_type,
        ] {
            out.size(texts.number(text));
        }
        let rate = cell
            .tool_success_rate
            .map(|rate| (rate.get() * RATE).round() as i64);
        out.maybe(rate);
        put_tally(&mut out, tally);
    }
    let activity = &digest.activity;
    out.maybe(activity.oldest);
    out.size(activity.models.len());
    for (name, model) in &activity.models {
        out.size(texts.number(name));
        out.maybe(model.last_row);
        put_history(&mut out, &model.history)?;
        let times: Vec<_> = model.times.counts().collect();
        out.steps(times.iter().map(|(bucket, _)| i64::from(*bucket)));
        for (_, count) in &times {
            out.number(*count);
        }
        out.steps(model.recent.iter().map(|test| test.timestamp));
        for test in &model.recent {
            let ended = u8::from(test.full) + 2 * u8::from(test.unscored);
            out.byte(ended | error_byte(test.error) << 2);
        }
        out.steps(model.failures.iter().map(|failure| failure.timestamp));
        for failure in &model.failures {
            out.byte(error_byte(failure.error));
            out.size(texts.number(&failure.message));
            out.text(&failure.test_id);
            out.size(*places.get(&failure.cell)?);
        }
    }
    out.size(activity.processes.len());
    for (id, process) in &activity.processes {
        out.size(texts.number(id));
        out.number(process.rows);
        out.maybe(process.last_row);
        let model = process
            .last_model
            .as_deref()
            .map(|model| texts.number(model));
        out.maybe(model.map(|model| model as i64));
        out.steps(process.times.iter().copied());
    }
    let models: Vec<_> = digest.clusters.models().collect();
    out.size(models.len());
    for (model, tasks) in models {
        out.size(texts.number(model));
        let tasks: Vec<_> = tasks.collect();
        out.size(tasks.len());
        for (task, trials) in tasks {
            out.0.extend(task.to_le_bytes());
            out.number(trials.n);
            out.number(trials.full);
        }
    }
    let mut whole = Out::default();
    whole.size(texts.all.len());
    for text in texts.all {
        whole.text(text);
    }
    whole.0.append(&mut out.0);
    Some(whole.0)
}

/// Rates have four decimals.
const RATE: f64 = 1e4;

fn error_byte(error: Option<ErrorCategory>) -> u8 {
    error.map_or(0, |error| error as u8 + 1)
}

/// An error by its byte.
struct Errors(Vec<ErrorCategory>);

impl Errors {
    /// None or one of them, if it is known.
    #[allow(clippy::option_option)]
    fn get(&self, byte: u8) -> Option<Option<ErrorCategory>> {
        match usize::from(byte).checked_sub(1) {
            None => Some(None),
            Some(at) => Some(Some(*self.0.get(at)?)),
        }
    }
}

/// The counts of a tally but for its tests.
fn counts(tally: &mut Tally) -> impl Iterator<Item = &mut u64> {
    let Tokens {
        n,
        input,
        output,
        reasoning,
        cache_read,
        cache_write,
    } = &mut tally.tokens;
    [
        &mut tally.full,
        &mut tally.partial,
        &mut tally.unscored,
        &mut tally.unscored_errors,
        &mut tally.unscored_infrastructure,
        n,
        input,
        output,
        reasoning,
        cache_read,
        cache_write,
    ]
    .into_iter()
    .chain(&mut tally.errors)
}

/// The sums of a tally: how many values, and what they come to.
fn sums(tally: &mut Tally) -> [(&mut u64, &mut i128); 6] {
    fn sum(own: &mut Sum) -> (&mut u64, &mut i128) {
        (&mut own.n, &mut own.micros)
    }
    fn money(own: &mut Money) -> (&mut u64, &mut i128) {
        (&mut own.n, &mut own.billionths)
    }
    [
        sum(&mut tally.execution_time),
        sum(&mut tally.turns),
        sum(&mut tally.tool_calls),
        sum(&mut tally.tool_coverage_rate),
        money(&mut tally.cost),
        money(&mut tally.judge_cost),
    ]
}

/// First which of its numbers are there, a bit each: most are zero.
fn put_tally(out: &mut Out, tally: &Tally) {
    let mut tally = tally.clone();
    let tests = tally.tests;
    out.number(tests);
    let counted = counts(&mut tally).map(|count| *count).collect::<Vec<_>>();
    let summed = sums(&mut tally).map(|(n, sum)| (*n, *sum));
    let there = counted.iter().map(|count| *count > 0);
    let there = there.chain(summed.iter().map(|(n, sum)| *n > 0 || *sum != 0));
    let bits = there.zip(0..).map(|(is, bit)| u64::from(is) << bit);
    out.number(bits.sum::<u64>());
    for count in counted.into_iter().filter(|count| *count > 0) {
        out.number(count);
    }
    for (n, sum) in summed.into_iter().filter(|(n, sum)| *n > 0 || *sum != 0) {
        out.signed(i128::from(tests) - i128::from(n));
        out.signed(sum);
    }
}

fn tally_of(read: &mut In<'_>) -> Option<Tally> {
    let tests = read.number()?;
    let mut tally = Tally {
        tests,
        ..Tally::default()
    };
    let mut bits = read.number()?;
    let mut is_there = || {
        let is = bits & 1 == 1;
        bits >>= 1;
        is
    };
    for count in counts(&mut tally) {
        if is_there() {
            *count = read.number()?;
        }
    }
    for (n, sum) in sums(&mut tally) {
        if is_there() {
            *n = u64::try_from(i128::from(tests).checked_sub(read.signed()?)?).ok()?;
            *sum = read.signed()?;
        }
    }
    Some(tally)
}

type Level = (Vec<i64>, Vec<f64>, Vec<f64>, Vec<f64>);

/// `None` where it holds parts of rows.
fn put_history(out: &mut Out, history: &Arc<History>) -> Option<()> {
    let levels: [Level; 3] = History::clone(history).into();
    for (steps, rows, full, unscored) in levels {
        out.size(steps.len());
        for step in &steps {
            out.signed(*step);
        }
        for count in rows.into_iter().chain(full).chain(unscored) {
            if count.fract() != 0.0 || !(0.0..1e15).contains(&count) {
                return None;
            }
            out.number(count as u64);
        }
    }
    Some(())
}

fn history_of(read: &mut In<'_>) -> Option<History> {
    let mut level = || -> Option<Level> {
        let size = read.size()?;
        let steps = (0..size).map(|_| i64::try_from(read.signed()?).ok());
        let steps = steps.collect::<Option<Vec<i64>>>()?;
        let mut counts = || {
            let counts = (0..size).map(|_| Some(read.number()? as f64));
            counts.collect::<Option<Vec<f64>>>()
        };
        Some((steps, counts()?, counts()?, counts()?))
    };
    Some([level()?, level()?, level()?].into())
}

impl Body {
    /// From bytes that stand for so many rows.
    pub(super) fn parse(bytes: &[u8], rows: u64) -> Option<Self> {
        let mut read = In(bytes);
        let texts = (0..read.size()?).map(|_| read.text().map(Arc::from));
        let texts = texts.collect::<Option<Vec<Arc<str>>>>()?;
        let text = |at: u64| texts.get(usize::try_from(at).ok()?);
        let bad_values = read.number()?;
        let mut cells = Vec::with_capacity(read.size()?);
        let mut records = 0_u64;
        for _ in 0..cells.capacity() {
            let mut places = [0; 4];
            for place in &mut places {
                *place = usize::try_from(read.number()?).ok()?;
                texts.get(*place)?;
            }
            let rate = match read.maybe()? {
                Some(rate) => Some(Rate::new(rate as f64 / RATE)?),
                None => None,
            };
            let tally = tally_of(&mut read)?;
            records = records.checked_add(tally.tests)?;
            let place = Place {
                texts: places,
                rate,
            };
            cells.push((place, tally));
        }
        let errors = Errors(ErrorCategory::iter().collect());
        let mut activity = Activity {
            oldest: read.maybe()?,
            ..Activity::default()
        };
        for _ in 0..read.size()? {
            let name = Arc::clone(text(read.number()?)?);
            let last_row = read.maybe()?;
            let history = Arc::new(history_of(&mut read)?);
            let mut times = Vec::new();
            for bucket in read.steps()? {
                times.push((i16::try_from(bucket).ok()?, read.number()?));
            }
            let mut recent = Vec::new();
            for timestamp in read.steps()? {
                let byte = read.byte()?;
                recent.push(Recent {
                    timestamp,
                    full: byte & 3 == 1,
                    unscored: byte & 3 == 2,
                    error: errors.get(byte >> 2)?,
                });
            }
            let mut failures = Vec::new();
            for timestamp in read.steps()? {
                let error = errors.get(read.byte()?)?;
                let message = text(read.number()?)?;
                let test_id = read.text()?.into();
                let (place, _) = cells.get(usize::try_from(read.number()?).ok()?)?;
                failures.push(Failure {
                    timestamp,
                    error,
                    message: message.as_ref().into(),
                    test_id,
                    cell: place.cell(&texts)?,
                });
            }
            let model = ModelActivity {
                history,
                times: times.into_iter().collect(),
                recent,
                failures,
                last_row,
            };
            activity.models.insert(name, Arc::new(model));
        }
        for _ in 0..read.size()? {
            let id = Arc::clone(text(read.number()?)?);
            let (rows, last_row) = (read.number()?, read.maybe()?);
            let last_model = match read.maybe()? {
                Some(model) => Some(Arc::clone(text(u64::try_from(model).ok()?)?)),
                None => None,
            };
            let process = Process {
                rows,
                last_row,
                last_model,
                times: read.steps()?,
            };
            activity.processes.insert(id, process);
        }
        let mut clusters = Clusters::default();
        for _ in 0..read.size()? {
            let model = text(read.number()?)?;
            let mut tasks = Vec::with_capacity(read.size()?);
            for _ in 0..tasks.capacity() {
                let (task, rest) = read.0.split_first_chunk()?;
                read.0 = rest;
                let (n, full) = (read.number()?, read.number()?);
                tasks.push((u64::from_le_bytes(*task), Trials { n, full }));
            }
            clusters.add_all(model, tasks);
        }
        (records == rows && read.0.is_empty()).then_some(Self {
            texts,
            cells,
            records,
            bad_values,
            activity,
            clusters,
        })
    }

    /// Adds all of it to a digest.
    pub(super) fn add_to(self, digest: &mut Digest) {
        let hashes: Vec<u64> = self
            .texts
            .iter()
            .map(|text| xxh3_64(text.as_bytes()))
            .collect();
        for (place, tally) in &self.cells {
            let hash = |at: usize| hashes.get(at).copied().unwrap_or_default();
            let quick = quick_cell(place.texts.map(hash), place.rate);
            digest.add_cell(quick, || place.cell(&self.texts), tally);
        }
        digest.records += self.records;
        digest.bad_values += self.bad_values;
        digest.activity.merge(&self.activity);
        digest.clusters.merge(&self.clusters);
    }
}

impl Place {
    fn cell(&self, texts: &[Arc<str>]) -> Option<Cell> {
        let text = |at: usize| texts.get(at).cloned();
        let [model, prompt_type, difficulty, task_type] = self.texts.map(text);
        Some(Cell {
            model: model?,
            prompt_type: prompt_type?,
            tool_success_rate: self.rate,
            difficulty: difficulty?,
            task_type: task_type?,
        })
    }
}
