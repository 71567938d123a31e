//! What a report says, as plain data: everything is counted before a line is drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::observation::spending::Spent;
use crate::stats::interval::{Interval, wilson};
use crate::stats::metric::Metric;
use crate::stats::paired::Comparison;
use crate::stats::prices::{Price, Prices};
use crate::store::format::zone;
use crate::store::read::query::aggregation::{Aggregate, Aggregation, aggregate};
use crate::store::read::query::contrast::{Contender, Contrast, Flip, contrasts, flips, means};
use crate::store::read::query::spending::spending;
use crate::store::read::query::{Filter, Group, Selection, grouped, rows};
use crate::store::{Control, Result, Store};

/// Models that are shown.
pub(super) const MODELS: usize = 100;
/// Tasks of the heat map.
pub(super) const TASKS: usize = 50;
/// Slowest tests that are listed.
const SLOWEST: usize = 10;
/// Cells in the CSV.
const CELLS: usize = 2_000;
/// Kinds of error that have a column.
const ERRORS: usize = 12;

/// What is reported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Request {
    /// Which rows.
    pub filter: Filter,
    /// This session only.
    pub session: Option<String>,
    /// The session that it is compared with.
    pub baseline: Option<String>,
    /// What is shown and compared.
    pub metric: Metric,
    /// What is instead where no test of any model has a verdict, and rows bring it.
    pub unjudged: Option<Metric>,
    /// Texts of results too: error messages, logs.
    pub with_texts: bool,
    /// Tests that were planned.
    pub planned: Option<u64>,
    /// Prices of tokens, for tests that bring no cost.
    pub prices: Arc<Prices>,
    /// What happened to writers and providers, and when, in microseconds.
    pub marks: Vec<(i64, String)>,
    /// What is known of the session beyond its rows: names and values.
    pub metadata: Vec<(String, String)>,
}

/// A model's figures.
#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) contender: Contender,
    /// The mean of the metric: of successes, their rate.
    pub(super) rate: Option<f64>,
    /// Tests that say something of the metric.
    pub(super) measured: u64,
    pub(super) interval: Option<Interval>,
    /// Best and worst place.
    pub(super) ranks: (usize, usize),
    /// What its tests cost, billed and derived.
    pub(super) spent: Spent,
    pub(super) seconds: Option<f64>,
    pub(super) p95: Option<f64>,
}

/// A test that is listed by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Example {
    /// The kind of error, or how long the test took.
    pub(super) what: String,
    pub(super) model: String,
    pub(super) test: String,
    pub(super) message: String,
    pub(super) log: String,
}

/// One stretch of time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) at: i64,
    pub(super) tests: u64,
    pub(super) rate: Option<f64>,
}

/// Everything that is shown.
#[derive(Debug, Default)]
pub struct Report {
    pub(super) name: String,
    pub(super) request: Request,
    pub(super) made: Timestamp,
    pub(super) zone: String,
    pub(super) window: Option<(i64, i64)>,
    pub(super) models: Vec<Model>,
    pub(super) more_models: usize,
    pub(super) contrasts: Vec<Contrast>,
    /// p-values of these, adjusted, and whether they are significant.
    pub(super) significant: Vec<(Option<f64>, bool)>,
    pub(super) overall: Option<Comparison>,
    pub(super) against: BTreeMap<String, Comparison>,
    pub(super) flips: (Vec<Flip>, u64),
    pub(super) tasks: Vec<String>,
    pub(super) more_tasks: usize,
    /// By model and task: tests, rate.
    pub(super) heat: BTreeMap<(usize, usize), (i64, Option<f64>)>,
    pub(super) errors: Vec<String>,
    pub(super) more_errors: usize,
    pub(super) errors_of: BTreeMap<(usize, usize), i64>,
    /// One failed test of each kind.
    pub(super) examples: Vec<Example>,
    /// The tests that took longest.
    pub(super) slowest: Vec<Example>,
    /// Prices that derived costs are made of.
    pub(super) prices: Vec<Price>,
    /// Tests by cell.
    pub(super) cells: Vec<Group>,
    pub(super) more_cells: usize,
    pub(super) moments: Vec<Moment>,
    pub(super) width: i64,
    /// The least and the greatest value that is drawn.
    pub(super) scale: (f64, f64),
    columns: Vec<String>,
    /// Files, rows and tests that were left out: sentences.
    pub(super) left_out: Vec<String>,
}

fn asked(
    store: &Store,
    filter: &Filter,
    by: &str,
    list: &str,
    control: &Control,
) -> Result<RecordBatch> {
    let refuse = |error: crate::expr::Error| crate::store::Error::Refused(error.to_string());
    let aggregation = Aggregation {
        filter: filter.clone(),
        by: crate::expr::Expr::list(by).map_err(refuse)?,
        aggregates: Aggregate::list(list)?,
    };
    Ok(aggregate(store, &aggregation, control)?.batch)
}

/// The name of the mean among the columns of such a list of aggregates.
fn mean_column(list: &str) -> Result<String> {
    let last = Aggregate::list(list)?.pop();
    Ok(last.map(|own| own.name).unwrap_or_default())
}

fn text(batch: &RecordBatch, name: &str, row: usize) -> Option<String> {
    let column = batch.column_by_name(name)?.as_string_opt::<i32>()?;
    column.is_valid(row).then(|| column.value(row).to_owned())
}

fn number(batch: &RecordBatch, name: &str, row: usize) -> Option<f64> {
    let column: &ArrayRef = batch.column_by_name(name)?;
    if !column.is_valid(row) {
        return None;
    }
    if let Some(whole) = column.as_primitive_opt::<Int64Type>() {
        return Some(whole.value(row) as f64);
    }
    Some(column.as_primitive_opt::<Float64Type>()?.value(row))
}

fn time(batch: &RecordBatch, name: &str, row: usize) -> Option<i64> {
    let column = batch
        .column_by_name(name)?
        .as_primitive_opt::<TimestampMicrosecondType>()?;
    column.is_valid(row).then(|| column.value(row))
}

impl Report {
    /// Counts everything. `notes` are what a scan of the store has to say.
    pub fn new(
        store: &Store,
        mut request: Request,
        name: String,
        notes: Vec<String>,
        made: Timestamp,
        control: &Control,
    ) -> Result<Self> {
        let mut report = Self {
            name,
            made,
            left_out: notes,
            zone: zone::name(&store.zone),
            ..Self::default()
        };
        let selection = Selection {
            filter: request.filter.clone(),
            limit: Some(0),
            ..Selection::default()
        };
        let there = rows(store, &selection, control)?;
        let names = there
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone());
        report.columns = names.collect();
        let mut filter = request.filter.clone();
        if let Some(session) = &request.session {
            let own = format!("session_id = '{}'", session.replace('\'', "''"));
            let all = match &filter.condition {
                Some(condition) => format!("({condition}) and {own}"),
                None => own,
            };
            let parsed = all.parse().map_err(|error: crate::expr::Error| {
                crate::store::Error::Refused(error.to_string())
            })?;
            filter.condition = Some(Box::new(parsed));
        }
        report.models(store, &filter, &mut request, control)?;
        report.scale = report.drawn(&request.metric);
        report.heat(store, &filter, &request.metric, control)?;
        report.errors(store, &filter, control)?;
        report.over_time(store, &filter, &request.metric, control)?;
        report.read_examples(store, &filter, &request, control)?;
        report.cells(store, &filter, control)?;
        if let (Some(session), Some(baseline)) = (&request.session, &request.baseline) {
            let sides = [session.clone(), baseline.clone()];
            let names = [session.as_str(), baseline.as_str()];
            let (_, found) = contrasts(
                store,
                &request.filter,
                ("session_id", &request.metric),
                &sides,
                2,
                control,
            )?;
            report.overall = found.into_iter().next().map(|contrast| contrast.found);
            report.against = crate::store::read::query::contrast::by_model(
                store,
                &request.filter,
                ("session_id", &request.metric),
                names,
                control,
            )?;
            if request.metric.is_success() {
                report.flips = flips(store, &request.filter, "session_id", names, control)?;
            }
        }
        report.request = request;
        report.unscored();
        Ok(report)
    }

    fn models(
        &mut self,
        store: &Store,
        filter: &Filter,
        request: &mut Request,
        control: &Control,
    ) -> Result<()> {
        let compared =
            |metric: &Metric| contrasts(store, filter, ("model", metric), &[], MODELS, control);
        let (mut contenders, mut found) = compared(&request.metric)?;
        let judged = |own: &Contender| own.tally.judged() > 0;
        let instead = request.unjudged.take();
        let instead = instead.filter(|metric| self.has(&metric.name));
        if let (Some(metric), false) = (instead, contenders.iter().any(judged)) {
            request.metric = metric;
            (contenders, found) = compared(&request.metric)?;
        }
        let metric = &request.metric;
        let means = if metric.is_success() {
            BTreeMap::new()
        } else {
            means(store, filter, ("model", metric), control)?
        };
        let list = "count(),mean(execution_time),p95(execution_time),min(timestamp),max(timestamp)";
        let figures = asked(store, filter, "model", list, control)?;
        let by = ["model".to_owned()];
        let spent = spending(store, filter, &by, &request.prices, control)?;
        self.more_models = figures.num_rows().saturating_sub(contenders.len());
        let ps: Vec<f64> = found
            .iter()
            .filter_map(|own| own.found.difference?.p)
            .collect();
        let mut adjusted = crate::stats::paired::holm(&ps).into_iter();
        self.significant = found
            .iter()
            .map(|own| {
                let difference = own.found.difference;
                let p = difference
                    .and_then(|own| own.p)
                    .and_then(|_| adjusted.next());
                let apart = difference
                    .is_some_and(|own| own.verdict == crate::stats::paired::Verdict::Separated);
                (p, apart && p.is_none_or(|p| p < 0.05))
            })
            .collect();
        let rows: BTreeMap<String, usize> = (0..figures.num_rows())
            .filter_map(|row| Some((text(&figures, "model", row)?, row)))
            .collect();
        for row in rows.values() {
            let ends = (
                time(&figures, "min_timestamp", *row),
                time(&figures, "max_timestamp", *row),
            );
            if let (Some(from), Some(to)) = ends {
                let (start, end) = self.window.unwrap_or((from, to));
                self.window = Some((start.min(from), end.max(to)));
            }
        }
        let models = contenders.into_iter().enumerate().map(|(at, contender)| {
            let row = rows.get(&contender.value).copied();
            let figure = |name: &str| number(&figures, name, row?);
            let better = |own: &&(usize, bool)| own.0 == at;
            let losses: Vec<(usize, bool)> = found
                .iter()
                .zip(&self.significant)
                .filter(|(_, (_, significant))| *significant)
                .filter_map(|(contrast, _)| {
                    let first = metric.gain(contrast.found.difference?.value) > 0.0;
                    Some(if first {
                        (contrast.second, first)
                    } else {
                        (contrast.first, first)
                    })
                })
                .collect();
            let wins =
                found
                    .iter()
                    .zip(&self.significant)
                    .filter(|(contrast, (_, significant))| {
                        let value = contrast.found.difference.map_or(0.0, |own| own.value);
                        let value = metric.gain(value);
                        *significant
                            && ((contrast.first == at && value > 0.0)
                                || (contrast.second == at && value < 0.0))
                    });
            let judged = contender.tally.judged();
            let mean = means.get(&contender.value);
            let (rate, measured, interval) = if metric.is_success() {
                let interval = wilson(contender.tally.full, judged);
                (contender.tally.success_rate(), judged, interval)
            } else {
                let measured = mean.map_or(0, |own| own.n);
                let interval = mean.and_then(|own| own.interval);
                (mean.map(|own| own.mean), measured, interval)
            };
            Model {
                rate,
                measured,
                interval,
                ranks: (1 + losses.iter().filter(better).count(), wins.count()),
                spent: spent
                    .get(&vec![contender.value.clone()])
                    .copied()
                    .unwrap_or_default(),
                seconds: figure("mean_execution_time"),
                p95: figure("p95_execution_time"),
                contender,
            }
        });
        self.models = models.collect();
        let count = self.models.len();
        for model in &mut self.models {
            model.ranks.1 = count - model.ranks.1;
        }
        self.contrasts = found;
        for model in self.models.iter().filter(|own| own.spent.derived.n > 0) {
            let price = request.prices.of(&model.contender.value, None);
            if let Some(price) = price.filter(|own| !self.prices.contains(own)) {
                self.prices.push(price.clone());
            }
        }
        Ok(())
    }

    /// The ends of the scale on which the metric is drawn: its range, else what there is.
    fn drawn(&self, metric: &Metric) -> (f64, f64) {
        if let Some(range) = metric.range {
            return range;
        }
        let own = self.models.iter().flat_map(|model| {
            let interval = model.interval.map(|own| [own.low, own.high]);
            interval.into_iter().flatten().chain(model.rate)
        });
        // What can't be less than nothing is drawn from there on.
        own.fold((0.0, 0.0), |(low, high), own| (low.min(own), high.max(own)))
    }

    /// The place of a value on that scale, 0 to 1.
    pub(super) fn share(&self, value: f64) -> f64 {
        let (low, high) = self.scale;
        if high > low {
            ((value - low) / (high - low)).clamp(0.0, 1.0)
        } else {
            0.5
        }
    }

    fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|own| own == column)
    }

    /// The place of each model by its name.
    fn places(&self) -> BTreeMap<String, usize> {
        let names = self
            .models
            .iter()
            .map(|model| model.contender.value.clone());
        names.zip(0..).collect()
    }

    fn heat(
        &mut self,
        store: &Store,
        filter: &Filter,
        metric: &Metric,
        control: &Control,
    ) -> Result<()> {
        let totals = asked(store, filter, "task_id", "count()", control)?;
        let mut tasks: Vec<(i64, String)> = (0..totals.num_rows())
            .filter_map(|row| {
                Some((
                    number(&totals, "count", row)? as i64,
                    text(&totals, "task_id", row)?,
                ))
            })
            .collect();
        // Those with the most tests; by name where they have as many.
        tasks.sort_by(|one, other| (other.0, &one.1).cmp(&(one.0, &other.1)));
        self.more_tasks = tasks.len().saturating_sub(TASKS);
        let kept: BTreeSet<String> = tasks
            .into_iter()
            .take(TASKS)
            .map(|(_, task)| task)
            .collect();
        self.tasks = kept.into_iter().collect();
        if self.tasks.is_empty() {
            return Ok(());
        }
        let places = self.places();
        let list = format!("count(),mean({})", metric.name);
        let cells = asked(store, filter, "model,task_id", &list, control)?;
        let mean = mean_column(&list)?;
        for row in 0..cells.num_rows() {
            let model = text(&cells, "model", row).and_then(|model| places.get(&model).copied());
            let task =
                text(&cells, "task_id", row).and_then(|task| self.tasks.binary_search(&task).ok());
            if let (Some(model), Some(task)) = (model, task) {
                let tests = number(&cells, "count", row).unwrap_or(0.0) as i64;
                self.heat
                    .insert((model, task), (tests, number(&cells, &mean, row)));
            }
        }
        Ok(())
    }

    fn errors(&mut self, store: &Store, filter: &Filter, control: &Control) -> Result<()> {
        let found = asked(store, filter, "error_type,model", "count()", control)?;
        let places = self.places();
        let mut totals: BTreeMap<String, i64> = BTreeMap::new();
        let rows: Vec<(String, Option<usize>, i64)> = (0..found.num_rows())
            .filter_map(|row| {
                let kind = text(&found, "error_type", row).filter(|kind| !kind.is_empty())?;
                let model =
                    text(&found, "model", row).and_then(|model| places.get(&model).copied());
                Some((kind, model, number(&found, "count", row)? as i64))
            })
            .collect();
        for (kind, _, count) in &rows {
            *totals.entry(kind.clone()).or_default() += count;
        }
        let mut kinds: Vec<(i64, String)> = totals
            .into_iter()
            .map(|(kind, count)| (count, kind))
            .collect();
        kinds.sort_by(|one, other| (other.0, &one.1).cmp(&(one.0, &other.1)));
        self.more_errors = kinds.len().saturating_sub(ERRORS);
        self.errors = kinds
            .into_iter()
            .take(ERRORS)
            .map(|(_, kind)| kind)
            .collect();
        for (kind, model, count) in rows {
            let at = self.errors.iter().position(|own| *own == kind);
            if let (Some(at), Some(model)) = (at, model) {
                *self.errors_of.entry((model, at)).or_default() += count;
            }
        }
        Ok(())
    }

    /// Tests that are listed by themselves: one of each kind of error, and the slowest.
    fn read_examples(
        &mut self,
        store: &Store,
        filter: &Filter,
        request: &Request,
        control: &Control,
    ) -> Result<()> {
        if !request.with_texts {
            // Their ids and figures are no texts: the slowest are shown without logs.
            self.slowest = self.tests_of(store, filter, "execution_time is not null", control)?;
            self.longest();
            return Ok(());
        }
        for kind in self.errors.clone() {
            let condition = format!("error_type = '{}'", kind.replace('\'', "''"));
            let mut found = self.tests_of(store, filter, &condition, control)?;
            if !found.is_empty() {
                let mut first = found.swap_remove(0);
                first.what = kind;
                self.examples.push(first);
            }
        }
        self.slowest = self.tests_of(store, filter, "execution_time is not null", control)?;
        self.longest();
        Ok(())
    }

    /// Keeps the tests that took longest.
    fn longest(&mut self) {
        let seconds = |own: &Example| own.what.parse::<f64>().unwrap_or(0.0);
        self.slowest
            .sort_by(|one, other| seconds(other).total_cmp(&seconds(one)));
        self.slowest.truncate(SLOWEST);
    }

    /// Tests that fulfil a condition: of all those that there are, the ten slowest of each batch.
    fn tests_of(
        &self,
        store: &Store,
        filter: &Filter,
        condition: &str,
        control: &Control,
    ) -> Result<Vec<Example>> {
        let all = match &filter.condition {
            Some(own) => format!("({own}) and {condition}"),
            None => condition.to_owned(),
        };
        let refuse = |error: crate::expr::Error| crate::store::Error::Refused(error.to_string());
        let narrowed = Filter {
            condition: Some(Box::new(all.parse().map_err(refuse)?)),
            ..filter.clone()
        };
        let names = [
            "model",
            "task_id",
            "test_id",
            "execution_time",
            "error_message",
            "log",
        ];
        let columns = names.into_iter().filter(|name| self.has(name));
        let selection = Selection {
            filter: narrowed,
            columns: Some(columns.map(str::to_owned).collect()),
            ..Selection::default()
        };
        let mut found: Vec<Example> = Vec::new();
        for batch in rows(store, &selection, control)? {
            let batch = batch?;
            let mut slow: Vec<(f64, usize)> = (0..batch.num_rows())
                .map(|row| (number(&batch, "execution_time", row).unwrap_or(0.0), row))
                .collect();
            slow.sort_by(|one, other| other.0.total_cmp(&one.0));
            for (seconds, row) in slow.into_iter().take(SLOWEST) {
                let own = |name: &str| text(&batch, name, row).unwrap_or_default();
                let test = Some(own("task_id")).filter(|id| !id.is_empty());
                found.push(Example {
                    what: seconds.to_string(),
                    model: own("model"),
                    test: test.unwrap_or_else(|| own("test_id")),
                    message: own("error_message"),
                    log: own("log"),
                });
            }
            if found.len() > 50 * SLOWEST {
                let seconds = |own: &Example| own.what.parse::<f64>().unwrap_or(0.0);
                found.sort_by(|one, other| seconds(other).total_cmp(&seconds(one)));
                found.truncate(SLOWEST);
            }
        }
        Ok(found)
    }

    fn cells(&mut self, store: &Store, filter: &Filter, control: &Control) -> Result<()> {
        let by = crate::store::format::schema::DIMENSIONS.map(str::to_owned);
        let mut groups = grouped(store, filter, &by, control)?;
        self.more_cells = groups.len().saturating_sub(CELLS);
        groups.truncate(CELLS);
        self.cells = groups;
        Ok(())
    }

    fn over_time(
        &mut self,
        store: &Store,
        filter: &Filter,
        metric: &Metric,
        control: &Control,
    ) -> Result<()> {
        let Some((from, to)) = self.window else {
            return Ok(());
        };
        let seconds = (to - from) / 1_000_000;
        // At most a hundred stretches, of lengths that people use.
        let lengths = [60, 300, 900, 3_600, 21_600, 86_400, 604_800, 2_592_000];
        self.width = lengths
            .into_iter()
            .find(|own| seconds / own <= 100)
            .unwrap_or(31_536_000);
        let by = format!("bucket(timestamp, {})", self.width);
        let list = format!("count(),mean({})", metric.name);
        let found = asked(store, filter, &by, &list, control)?;
        let mean = mean_column(&list)?;
        self.moments = (0..found.num_rows())
            .filter_map(|row| {
                Some(Moment {
                    at: time(&found, &by, row)?,
                    tests: number(&found, "count", row)? as u64,
                    rate: number(&found, &mean, row),
                })
            })
            .collect();
        Ok(())
    }

    fn unscored(&mut self) {
        let sum = |of: fn(&Model) -> u64| self.models.iter().map(of).sum::<u64>();
        let metric = &self.request.metric;
        let unscored = sum(|model| model.contender.tally.unscored);
        let unmeasured = if metric.is_success() {
            0
        } else {
            self.tests().saturating_sub(sum(|model| model.measured))
        };
        let without = format!(
            "tests without a value of {}: its means are without them",
            super::words::name(&metric.name)
        );
        let infrastructure = sum(|model| model.contender.tally.infrastructure());
        let (tests, free) = (
            sum(|model| model.contender.tally.tests),
            sum(|model| model.spent.unknown()),
        );
        let unpriced: Vec<String> = self
            .models
            .iter()
            .filter(|model| model.spent.unpriced > 0)
            .map(|model| super::words::name(&model.contender.value))
            .collect();
        let mut say = |count: u64, what: &str| {
            if count > 0 {
                self.left_out
                    .push(format!("{} {what}", crate::config::show_count(count)));
            }
        };
        say(unmeasured, &without);
        say(
            unscored,
            "tests are unscored: neither success nor failure, outside of every rate",
        );
        say(
            infrastructure,
            "tests were lost to the infrastructure; rates count them as failed, comparisons leave them out",
        );
        if free > 0 && free < tests {
            say(
                free,
                "tests bring no cost, and none can be derived: totals of money are without them",
            );
        }
        if !unpriced.is_empty() {
            say(
                unpriced.len() as u64,
                &format!(
                    "models with tokens and without a price: {}",
                    unpriced.join(", ")
                ),
            );
        }
        say(
            self.more_models as u64,
            "models with fewer tests are not shown",
        );
        say(
            self.more_tasks as u64,
            "tasks with fewer tests are not in the heat map",
        );
        if let Some(overall) = &self.overall {
            say(
                overall.unmatched_first + overall.unmatched_second,
                "tests have no partner in the other session and are not compared",
            );
        }
    }

    pub(super) fn tests(&self) -> u64 {
        self.models
            .iter()
            .map(|model| model.contender.tally.tests)
            .sum()
    }

    pub(super) fn zone(&self) -> TimeZone {
        zone::of(&self.zone).unwrap_or(TimeZone::UTC)
    }
}
