//! What recently happened in a file: rows over time, each model's last tests, each
//! writer process's last rows. All of it is bounded, whatever the file holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Outcome;
use crate::stats::ErrorCategory;

/// How far back the timeline and the processes reach, in microseconds: two days.
const SPAN: i64 = 2 * 86_400 * 1_000_000;
/// Rows further in the future than this many microseconds are no part of it.
const FUTURE: i64 = 300 * 1_000_000;
/// A minute in microseconds.
const MINUTE: i64 = 60 * 1_000_000;
/// How many of a model's last tests are kept.
pub const RECENT: usize = 200;
/// How many of a process's last rows are kept, for the gaps between them.
const LAST_ROWS: usize = 200;
/// Processes kept; the ones that were silent for longest go first.
const PROCESSES: usize = 4_096;

/// Rows of one model in one minute.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MinuteCount {
    /// Rows.
    pub rows: u64,
    /// Those with full success.
    pub full: u64,
}

/// Minutes since the epoch → model → count.
pub type Timeline = BTreeMap<i64, BTreeMap<Arc<str>, MinuteCount>>;

/// One of a model's last tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Recent {
    /// Microseconds since the epoch.
    pub timestamp: i64,
    /// Full success.
    pub full: bool,
    /// What went wrong.
    pub error: Option<ErrorCategory>,
}

/// What a process wrote last.
#[derive(Debug, Clone, Default, PartialEq)]
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

/// What recently happened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Activity {
    /// Rows over time.
    pub timeline: Timeline,
    /// Last tests by model, in no order until [`Activity::settle`].
    pub recent: BTreeMap<Arc<str>, Vec<Recent>>,
    /// Newest row by model.
    pub last_row: BTreeMap<Arc<str>, i64>,
    /// Processes by id.
    pub processes: HashMap<Arc<str>, Process>,
    /// The oldest row.
    pub oldest: Option<i64>,
}

impl Activity {
    /// Takes in a row. `now` and the row's time are microseconds since the epoch.
    pub fn add(
        &mut self,
        model: &Arc<str>,
        process: Option<&str>,
        time: Option<i64>,
        outcome: &Outcome,
        now: i64,
    ) {
        self.add_process(process, model, time, now);
        let Some(time) = time else { return };
        self.oldest = Some(self.oldest.map_or(time, |oldest| oldest.min(time)));
        let last = self.last_row.entry(model.clone()).or_insert(time);
        *last = time.max(*last);
        if (now - SPAN..=now + FUTURE).contains(&time) {
            let minute = self.timeline.entry(time.div_euclid(MINUTE)).or_default();
            let count = minute.entry(model.clone()).or_default();
            count.rows += 1;
            count.full += u64::from(outcome.full);
        }
        let recent = self.recent.entry(model.clone()).or_default();
        recent.push(Recent { timestamp: time, full: outcome.full, error: outcome.error });
        trim(recent, RECENT);
    }

    fn add_process(&mut self, id: Option<&str>, model: &Arc<str>, time: Option<i64>, now: i64) {
        let old = time.is_some_and(|time| time < now - SPAN);
        let Some(id) = id.filter(|id| !id.is_empty() && !old) else { return };
        if !self.processes.contains_key(id) {
            self.processes.insert(id.into(), Process::default());
        }
        let Some(process) = self.processes.get_mut(id) else { return };
        process.rows += 1;
        if let Some(time) = time {
            if process.last_row.is_none_or(|last| time >= last) {
                process.last_row = Some(time);
                process.last_model = Some(model.clone());
            }
            process.times.push(time);
            trim(&mut process.times, LAST_ROWS);
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
        for (minute, models) in &other.timeline {
            let mine = self.timeline.entry(*minute).or_default();
            for (model, count) in models {
                let sum = mine.entry(model.clone()).or_default();
                sum.rows += count.rows;
                sum.full += count.full;
            }
        }
        for (model, rows) in &other.recent {
            let mine = self.recent.entry(model.clone()).or_default();
            mine.extend_from_slice(rows);
            trim(mine, RECENT);
        }
        for (model, time) in &other.last_row {
            let last = self.last_row.entry(model.clone()).or_insert(*time);
            *last = (*last).max(*time);
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
    }

    /// Brings the last tests into their order and forgets what is over.
    pub fn settle(&mut self, now: i64) {
        self.timeline = self.timeline.split_off(&(now - SPAN).div_euclid(MINUTE));
        for recent in self.recent.values_mut() {
            recent.sort_unstable();
            recent.drain(..recent.len().saturating_sub(RECENT));
        }
    }
}

/// Keeps the largest `keep` values, now and then.
fn trim<T: Ord>(values: &mut Vec<T>, keep: usize) {
    if values.len() >= 2 * keep {
        values.sort_unstable();
        values.drain(..values.len() - keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(full: bool) -> Outcome {
        Outcome {
            full,
            partial: false,
            error: None,
            execution_time: f64::NAN,
            turns: f64::NAN,
            tool_calls: f64::NAN,
            tool_coverage_rate: f64::NAN,
        }
    }

    #[test]
    fn keeps_the_last_tests_of_each_model_in_their_order() {
        let now = 10 * SPAN;
        let model: Arc<str> = "m".into();
        let mut one = Activity::default();
        let mut two = Activity::default();
        for second in 0..900_i64 {
            let half = if second % 2 == 0 { &mut one } else { &mut two };
            half.add(&model, Some("7"), Some(now - second * 1_000_000), &outcome(second % 3 == 0), now);
        }
        one.merge(&two);
        one.settle(now);
        let recent = &one.recent[&model];
        assert_eq!(recent.len(), RECENT);
        assert!(recent.is_sorted());
        assert_eq!(recent.last().unwrap().timestamp, now);
        assert_eq!(one.processes["7"].rows, 900);
        assert_eq!(one.processes["7"].last_row, Some(now));
        assert_eq!(one.timeline.values().map(|m| m[&model].rows).sum::<u64>(), 900);
        assert_eq!(one.oldest, Some(now - 899 * 1_000_000));
    }

    #[test]
    fn the_far_past_and_the_future_are_no_activity() {
        let now = 10 * SPAN;
        let mut activity = Activity::default();
        for time in [None, Some(now - SPAN - 1), Some(now + FUTURE + 1)] {
            activity.add(&"m".into(), None, time, &outcome(true), now);
        }
        assert!(activity.timeline.is_empty());
        assert_eq!(activity.last_row["m"], now + FUTURE + 1);
    }
}
