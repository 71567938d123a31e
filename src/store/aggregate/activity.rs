//! What happened in a file, beyond its tallies: each model's tests over time, how long
//! they took, its last tests and failures, each writer process's last rows. Every
//! attempt counts here, those that a newer one replaced too. All of it is bounded,
//! whatever the file holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::Outcome;
use crate::stats::collections::Hashed;
use crate::stats::history::{Bucket, History};
use crate::stats::spread::Spread;
use crate::stats::{Cell, ErrorCategory};

mod packed;

/// How far back the processes reach, in microseconds: two days.
pub(super) const SPAN: i64 = 2 * 86_400 * 1_000_000;
/// Rows further in the future than this many microseconds are no part of the history.
const FUTURE: i64 = 300 * 1_000_000;
/// Times before 2000-01-01 are of clocks that were never set.
const EARLIEST: i64 = 946_684_800 * 1_000_000;
/// Rows further in the future than this many microseconds, a day, are of clocks that are wrong.
const LATEST: i64 = 86_400 * 1_000_000;
/// How many of a model's last tests are kept.
pub(crate) const RECENT: usize = 200;
/// How many of a model's last failures are kept.
const FAILURES: usize = 20;
/// How much of an error message is kept, in bytes.
const MESSAGE: usize = 400;
/// How many of a process's last rows are kept, for the gaps between them.
pub const LAST_ROWS: usize = 200;
/// Processes kept; the ones that were silent for longest go first.
pub(super) const PROCESSES: usize = 4_096;

/// One test, as it happened.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// What was tested.
    pub cell: &'a Cell,
    /// Its id.
    pub test_id: Option<&'a str>,
    /// Who recorded it.
    pub process: Option<&'a str>,
    /// When it ended, microseconds since the epoch.
    pub time: Option<i64>,
    /// How it ended.
    pub outcome: Outcome,
    /// What its runner said of the error.
    pub message: Option<&'a str>,
}

/// One of a model's last tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recent {
    /// Microseconds since the epoch.
    pub timestamp: i64,
    /// Full success.
    pub full: bool,
    /// Not judged: kept for its error only.
    pub unscored: bool,
    /// What went wrong.
    pub error: Option<ErrorCategory>,
}

/// One of a model's last tests that did not succeed, not even in part, or ended with an
/// error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Failure {
    /// Microseconds since the epoch.
    pub timestamp: i64,
    /// What went wrong.
    pub error: Option<ErrorCategory>,
    /// The beginning of what its runner said of it; as the data has it.
    pub message: Box<str>,
    /// Its id, or nothing.
    pub test_id: Box<str>,
    /// What was tested.
    pub cell: Cell,
}

/// What happened to one model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "packed::PackedModel", from = "packed::PackedModel")]
pub struct ModelActivity {
    /// Its tests over time.
    pub history: Arc<History>,
    /// How long they took, in seconds.
    pub times: Spread,
    /// The last ones, in no order until [`Activity::settle`].
    pub recent: Vec<Recent>,
    /// The last failures, likewise.
    pub failures: Vec<Failure>,
    /// The newest, microseconds since the epoch.
    pub last_row: Option<i64>,
}

/// What a process wrote last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "packed::PackedProcess", from = "packed::PackedProcess")]
pub struct Process {
    /// Rows.
    pub rows: u64,
    /// Its newest row, microseconds since the epoch.
    pub last_row: Option<i64>,
    /// The model of that row.
    pub last_model: Option<Arc<str>>,
    /// Times of its last rows, in no order.
    pub times: Vec<i64>,
}

/// What happened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Activity {
    /// By model.
    pub models: BTreeMap<Arc<str>, Arc<ModelActivity>>,
    /// Processes by id.
    pub processes: HashMap<Arc<str>, Process>,
    /// The oldest row.
    pub oldest: Option<i64>,
    /// Rows whose time can't be right: they are in no history, where one of them would flatten
    /// every chart, and are nobody's last row.
    #[serde(default)]
    pub implausible: u64,
    /// Whether rows are of their processes however old they are: the reader decides.
    #[serde(skip)]
    pub(super) reaches_back: bool,
}

/// Whether a test can have ended then; all in microseconds.
fn is_plausible(time: i64, now: i64) -> bool {
    (EARLIEST..=now.saturating_add(LATEST)).contains(&time)
}

impl Activity {
    /// Takes in a test. `now` is in microseconds since the epoch.
    pub fn add(&mut self, event: Event<'_>, now: i64) {
        self.add_all(&[event], now);
    }

    /// Takes in tests in their order. Each model and each process is looked up once: with
    /// a million rows that is most of the work.
    pub fn add_all(&mut self, events: &[Event<'_>], now: i64) {
        let is_wrong = |event: &&Event<'_>| event.time.is_some_and(|time| !is_plausible(time, now));
        self.implausible += events.iter().filter(is_wrong).count() as u64;
        self.add_processes(events, now);
        let place = |event: &Event<'_>| event.cell.model.as_ptr() as usize;
        let mut order: Vec<(usize, u32)> = events
            .iter()
            .enumerate()
            .map(|(at, event)| (place(event), at as u32))
            .collect();
        order.sort_unstable();
        for group in order.chunk_by(|(one, _), (other, _)| one == other) {
            let of = group.iter().filter_map(|(_, at)| events.get(*at as usize));
            let Some(first) = of.clone().next() else {
                continue;
            };
            let model = match self.models.get_mut(&first.cell.model) {
                Some(model) => model,
                None => self.models.entry(first.cell.model.clone()).or_default(),
            };
            let oldest = Arc::make_mut(model).add_all(of, now);
            self.oldest = [self.oldest, oldest].into_iter().flatten().min();
        }
    }

    fn add_processes(&mut self, events: &[Event<'_>], now: i64) {
        let mut places: Hashed<u64, usize> = Hashed::default();
        let mut found: Vec<(&str, Vec<&Event<'_>>)> = Vec::new();
        // Most rows are of the process of the row before.
        let mut before: Option<(&str, usize)> = None;
        for event in events {
            let old = !self.reaches_back && event.time.is_some_and(|time| time < now - SPAN);
            let Some(id) = event.process.filter(|id| !id.is_empty() && !old) else {
                continue;
            };
            let place = match before {
                Some((same, place)) if same == id => place,
                _ => *places.entry(xxh3_64(id.as_bytes())).or_insert_with(|| {
                    found.push((id, Vec::new()));
                    found.len() - 1
                }),
            };
            before = Some((id, place));
            if let Some((_, rows)) = found.get_mut(place) {
                rows.push(event);
            }
        }
        for (id, rows) in found {
            if !self.processes.contains_key(id) {
                self.processes.insert(id.into(), Process::default());
            }
            let Some(process) = self.processes.get_mut(id) else {
                continue;
            };
            process.rows += rows.len() as u64;
            for event in rows {
                let Some(time) = event.time.filter(|time| is_plausible(*time, now)) else {
                    continue;
                };
                if process.last_row.is_none_or(|last| time >= last) {
                    process.last_row = Some(time);
                    process.last_model = Some(event.cell.model.clone());
                }
                process.times.push(time);
                trim(&mut process.times, LAST_ROWS);
            }
        }
        self.forget_processes();
    }

    fn forget_processes(&mut self) {
        if self.processes.len() > 2 * PROCESSES {
            let mut last: Vec<Option<i64>> = self.processes.values().map(|p| p.last_row).collect();
            last.sort_unstable();
            let limit = last.get(last.len() - PROCESSES).copied().flatten();
            self.processes.retain(|_, process| process.last_row > limit);
        }
    }

    /// Adds what happened in another file.
    pub fn merge(&mut self, other: &Self) {
        for (name, theirs) in &other.models {
            let mine = Arc::make_mut(self.models.entry(name.clone()).or_default());
            Arc::make_mut(&mut mine.history).merge(&theirs.history);
            mine.times.merge(&theirs.times);
            mine.last_row = mine.last_row.max(theirs.last_row);
            mine.recent.extend_from_slice(&theirs.recent);
            trim(&mut mine.recent, RECENT);
            mine.failures.extend_from_slice(&theirs.failures);
            trim(&mut mine.failures, FAILURES);
        }
        for (id, process) in &other.processes {
            let mine = self.processes.entry(id.clone()).or_default();
            mine.rows += process.rows;
            if process.last_row > mine.last_row || mine.last_model.is_none() {
                mine.last_row = process.last_row;
                mine.last_model.clone_from(&process.last_model);
            }
            mine.times.extend_from_slice(&process.times);
            trim(&mut mine.times, LAST_ROWS);
        }
        self.forget_processes();
        self.oldest = [self.oldest, other.oldest].into_iter().flatten().min();
        self.implausible += other.implausible;
    }

    /// Brings the last tests and failures into their order.
    pub fn settle(&mut self) {
        for model in self.models.values_mut() {
            let settled =
                is_settled(&model.recent, RECENT) && is_settled(&model.failures, FAILURES);
            if !settled {
                let model = Arc::make_mut(model);
                keep_largest(&mut model.recent, RECENT);
                keep_largest(&mut model.failures, FAILURES);
            }
        }
    }
}

impl ModelActivity {
    /// Takes in tests of this model; returns the time of the oldest.
    fn add_all<'a>(
        &mut self,
        events: impl Iterator<Item = &'a Event<'a>> + Clone,
        now: i64,
    ) -> Option<i64> {
        self.times
            .add_all(events.clone().map(|event| event.outcome.execution_time));
        let ahead = now.saturating_add(LATEST);
        let timed = events.filter_map(|event| Some((event.time?, event)));
        let timed = timed.filter(|(time, _)| *time <= ahead);
        let mut failed: Vec<(i64, &Event<'_>)> = Vec::new();
        let mut minute: Option<(i64, Bucket)> = None;
        for (time, event) in timed.clone() {
            let plausible = is_plausible(time, now);
            let Event { outcome, .. } = event;
            if plausible {
                self.last_row = self.last_row.max(Some(time));
            }
            let broken = outcome.unscored && outcome.error.is_some();
            if broken || !outcome.unscored {
                self.recent.push(Recent {
                    timestamp: time,
                    full: outcome.full,
                    unscored: outcome.unscored,
                    error: outcome.error,
                });
                trim(&mut self.recent, RECENT);
            }
            if plausible && time <= now + FUTURE {
                let second = time.div_euclid(1_000_000);
                let start = second - second.rem_euclid(60);
                let mut bucket = match minute {
                    Some((same, bucket)) if same == start => bucket,
                    other => {
                        self.add_minute(other);
                        Bucket::default()
                    }
                };
                bucket.rows += 1.0;
                bucket.full += f64::from(u8::from(outcome.full));
                bucket.unscored += f64::from(u8::from(outcome.unscored));
                minute = Some((start, bucket));
            }
            if broken || !(outcome.full || outcome.partial || outcome.unscored) {
                failed.push((time, event));
            }
        }
        self.add_minute(minute);
        // Only those that can be among the last ones are kept; texts are not copied before.
        let mut times: Vec<i64> = failed.iter().map(|(time, _)| *time).collect();
        times.sort_unstable();
        let since = times
            .len()
            .checked_sub(FAILURES)
            .and_then(|at| times.get(at))
            .copied();
        for (time, event) in failed
            .into_iter()
            .filter(|(time, _)| since.is_none_or(|since| *time >= since))
        {
            self.add_failure(time, event);
        }
        let times = timed.map(|(time, _)| time);
        times.filter(|time| is_plausible(*time, now)).min()
    }

    fn add_minute(&mut self, minute: Option<(i64, Bucket)>) {
        if let Some((second, bucket)) = minute {
            Arc::make_mut(&mut self.history).add_bucket(second, bucket);
        }
    }

    fn add_failure(&mut self, timestamp: i64, event: &Event<'_>) {
        let text = event.message.unwrap_or_default();
        let text = (0..=MESSAGE.min(text.len()))
            .rev()
            .find_map(|end| text.get(..end))
            .unwrap_or_default();
        self.failures.push(Failure {
            timestamp,
            error: event.outcome.error,
            message: text.into(),
            test_id: event.test_id.unwrap_or_default().into(),
            cell: event.cell.clone(),
        });
        trim(&mut self.failures, FAILURES);
    }
}

/// Keeps the largest `keep` values, now and then.
fn trim<T: Ord>(values: &mut Vec<T>, keep: usize) {
    if values.len() >= 2 * keep {
        let smaller = values.len() - keep;
        values.select_nth_unstable(smaller);
        values.drain(..smaller);
    }
}

/// Whether [`keep_largest`] would leave values as they are.
fn is_settled<T: Ord>(values: &[T], keep: usize) -> bool {
    values.len() <= keep && values.is_sorted()
}

/// Keeps the largest `keep` values, ascending.
fn keep_largest<T: Ord>(values: &mut Vec<T>, keep: usize) {
    values.sort_unstable();
    values.drain(..values.len().saturating_sub(keep));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(full: bool) -> Outcome {
        Outcome {
            full,
            partial: false,
            unscored: false,
            error: None,
            execution_time: f64::NAN,
            turns: f64::NAN,
            tool_calls: f64::NAN,
            tool_coverage_rate: f64::NAN,
            cost: f64::NAN,
            judge_cost: f64::NAN,
            tokens: crate::stats::money::Tokens::default(),
        }
    }

    fn cell(model: &str) -> Cell {
        Cell {
            model: model.into(),
            prompt_type: "p".into(),
            tool_success_rate: None,
            difficulty: "d".into(),
            task_type: "t".into(),
        }
    }

    /// In September 2026.
    const NOW: i64 = 1_790_000_000_000_000;

    fn event(cell: &Cell, time: Option<i64>, full: bool) -> Event<'_> {
        Event {
            cell,
            test_id: Some("x"),
            process: Some("7"),
            time,
            outcome: outcome(full),
            message: None,
        }
    }

    #[test]
    fn keeps_the_last_tests_of_each_model_in_their_order() {
        let now = NOW;
        let cell = cell("m");
        let mut one = Activity::default();
        let mut two = Activity::default();
        for second in 0..900_i64 {
            let half = if second % 2 == 0 { &mut one } else { &mut two };
            half.add(
                event(&cell, Some(now - second * 1_000_000), second % 3 == 0),
                now,
            );
        }
        one.merge(&two);
        one.settle();
        let model = &one.models["m"];
        assert_eq!(
            (model.recent.len(), model.failures.len()),
            (RECENT, FAILURES)
        );
        assert!(model.recent.is_sorted() && model.failures.is_sorted());
        assert_eq!(model.recent.last().unwrap().timestamp, now);
        assert_eq!(model.failures.last().unwrap().timestamp, now - 1_000_000);
        assert_eq!(one.processes["7"].rows, 900);
        assert_eq!(one.processes["7"].last_row, Some(now));
        let second = now / 1_000_000;
        let all = model.history.between(0, second + 1, second);
        assert!(
            (all.rows - 900.0).abs() < 1e-6 && (all.full - 300.0).abs() < 1e-6,
            "{all:?}"
        );
        assert_eq!(one.oldest, Some(now - 899 * 1_000_000));
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let cell = cell("m");
        let message = "é".repeat(MESSAGE);
        let mut activity = Activity::default();
        activity.add(
            Event {
                message: Some(&message),
                ..event(&cell, Some(1), false)
            },
            SPAN,
        );
        let partial = Outcome {
            partial: true,
            ..outcome(false)
        };
        activity.add(
            Event {
                outcome: partial,
                ..event(&cell, Some(2), false)
            },
            SPAN,
        );
        let failures = &activity.models["m"].failures;
        assert_eq!(failures.len(), 1, "a partial success is no failure");
        assert_eq!(
            (failures[0].message.len(), &*failures[0].test_id),
            (MESSAGE, "x")
        );
    }

    #[test]
    fn the_future_and_rows_without_a_time_are_no_history() {
        let now = NOW;
        let cell = cell("m");
        let mut activity = Activity::default();
        for time in [None, Some(now + FUTURE + 1)] {
            activity.add(event(&cell, time, true), now);
        }
        let model = &activity.models["m"];
        assert!(model.history.is_empty());
        assert_eq!(model.last_row, Some(now + FUTURE + 1));
    }
    #[test]
    fn a_time_that_cannot_be_right_is_in_no_chart() {
        let cell = cell("m");
        let mut activity = Activity::default();
        let good = NOW - 60_000_000;
        for time in [0, EARLIEST - 1, NOW + LATEST + 1, i64::MAX, good] {
            activity.add(event(&cell, Some(time), false), NOW);
        }
        let model = &activity.models["m"];
        assert_eq!(activity.implausible, 4);
        assert_eq!(model.history.first(), Some((good / 1_000_000) / 60 * 60));
        assert_eq!((model.last_row, activity.oldest), (Some(good), Some(good)));
        assert_eq!(activity.processes["7"].last_row, Some(good));
        // What failed is reported whenever it was, but for what would stay the newest.
        assert_eq!((model.recent.len(), model.failures.len()), (3, 3));
    }
}
