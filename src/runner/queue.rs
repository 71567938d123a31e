//! Which test is next, and when it may start: models take turns, limits are kept, a test
//! that is tried again waits.
//!
//! A worker takes a test together with its start time and sleeps until then, so that a
//! limit of one test a second wakes one worker a second, however many there are.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use super::plan::{Row, Test};

/// A test that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) test: Test,
    /// Which attempt, counted from 1.
    pub(super) attempt: u32,
}

/// How many tests a second may start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Of all models together.
    pub all: Option<f64>,
    /// Of each model that is named.
    pub models: BTreeMap<String, f64>,
    /// Of each other model.
    pub each: Option<f64>,
}

/// When the next start is free.
#[derive(Debug)]
struct Pace {
    between: Duration,
    next: Instant,
}

impl Pace {
    fn new(per_second: Option<f64>, now: Instant) -> Self {
        let between = per_second.map_or(Duration::ZERO, |qps| Duration::from_secs_f64(1.0 / qps));
        Self { between, next: now }
    }

    fn take(&mut self, start: Instant) {
        self.next = start + self.between;
    }
}

#[derive(Debug)]
struct Line {
    pace: Pace,
    fresh: VecDeque<Test>,
    again: VecDeque<(Job, Instant)>,
    /// When it was served last, in turns.
    served: u64,
}

/// Tests that are to be started.
#[derive(Debug)]
pub(super) struct Queue {
    pace: Pace,
    lines: Vec<Line>,
    line_of_row: Vec<usize>,
    turn: u64,
}

impl Queue {
    pub(super) fn new(rows: &[Row], tests: &[Test], limits: &Limits, now: Instant) -> Self {
        let mut lines: Vec<Line> = Vec::new();
        let mut line_of_model = BTreeMap::new();
        let line_of_row: Vec<usize> = rows
            .iter()
            .map(|row| {
                *line_of_model
                    .entry(row.cell.model.clone())
                    .or_insert_with(|| {
                        let qps = limits.models.get(&*row.cell.model).copied().or(limits.each);
                        let pace = Pace::new(qps, now);
                        lines.push(Line {
                            pace,
                            fresh: VecDeque::new(),
                            again: VecDeque::new(),
                            served: 0,
                        });
                        lines.len() - 1
                    })
            })
            .collect();
        for test in tests {
            let line = line_of_row
                .get(test.row as usize)
                .and_then(|line| lines.get_mut(*line));
            if let Some(line) = line {
                line.fresh.push_back(*test);
            }
        }
        Self {
            pace: Pace::new(limits.all, now),
            lines,
            line_of_row,
            turn: 0,
        }
    }

    /// The next test and when it may start; `None` when there is no more. The start is
    /// reserved for it.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Job, Instant)> {
        let global = self.pace.next.max(now);
        let start = |line: &Line| {
            let ready = match (line.fresh.front(), line.again.front()) {
                (None, None) => return None,
                (None, Some((_, ready))) => *ready,
                (Some(_), _) => now,
            };
            Some(line.pace.next.max(global).max(ready))
        };
        let (start, line) = self
            .lines
            .iter_mut()
            .filter_map(|line| Some((start(line)?, line)))
            .min_by_key(|(start, line)| (*start, line.served))?;
        self.turn += 1;
        line.served = self.turn;
        line.pace.take(start);
        self.pace.take(start);
        // What is tried again goes first once its time has come.
        let again = line.again.front().is_some_and(|(_, ready)| *ready <= start);
        let job = if again {
            line.again.pop_front().map(|(job, _)| job)
        } else {
            line.fresh.pop_front().map(|test| Job { test, attempt: 1 })
        };
        job.map(|job| (job, start))
    }

    /// Puts a test back, to be started no sooner than `ready`.
    pub(super) fn again(&mut self, job: Job, ready: Instant) {
        let line = self
            .line_of_row
            .get(job.test.row as usize)
            .and_then(|line| self.lines.get_mut(*line));
        if let Some(line) = line {
            let at = line.again.partition_point(|(_, other)| *other <= ready);
            line.again.insert(at, (job, ready));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runner::plan::{Dimensions, product, tests};

    fn queue(models: &[&str], instances: u64, limits: &Limits, now: Instant) -> (Vec<Row>, Queue) {
        let models = models.iter().map(|model| (*model).to_owned()).collect();
        let rows = product(
            &Dimensions {
                models,
                ..Dimensions::default()
            },
            instances,
            None,
        )
        .unwrap();
        let all: Vec<_> = tests(&rows).collect();
        let queue = Queue::new(&rows, &all, limits, now);
        (rows, queue)
    }

    /// Model and start in milliseconds of everything, taken at once.
    fn taken(rows: &[Row], queue: &mut Queue, now: Instant) -> Vec<(String, u128)> {
        std::iter::from_fn(|| queue.next(now))
            .map(|(job, start)| {
                (
                    rows[job.test.row as usize].cell.model.to_string(),
                    (start - now).as_millis(),
                )
            })
            .collect()
    }

    fn shown(starts: &[(String, u128)]) -> String {
        starts
            .iter()
            .map(|(model, at)| format!("{model}{at}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn models_take_turns() {
        let now = Instant::now();
        let (rows, mut queue) = queue(&["a", "b"], 2, &Limits::default(), now);
        assert_eq!(shown(&taken(&rows, &mut queue, now)), "a0 b0 a0 b0");
    }

    #[test]
    fn limits_space_the_starts() {
        let now = Instant::now();
        let limits = Limits {
            all: Some(4.0),
            ..Limits::default()
        };
        let (rows, mut all) = queue(&["a", "b"], 2, &limits, now);
        assert_eq!(shown(&taken(&rows, &mut all, now)), "a0 b250 a500 b750");
        let limits = Limits {
            each: Some(4.0),
            models: [("a".to_owned(), 1.0)].into(),
            all: None,
        };
        let (rows, mut each) = queue(&["a", "b"], 3, &limits, now);
        assert_eq!(
            shown(&taken(&rows, &mut each, now)),
            "a0 b0 b250 b500 a1000 a2000"
        );
    }

    #[test]
    fn what_is_tried_again_waits_and_holds_nobody_up() {
        let now = Instant::now();
        let (rows, mut queue) = queue(&["a"], 3, &Limits::default(), now);
        let (first, _) = queue.next(now).unwrap();
        let later = now + Duration::from_secs(5);
        queue.again(
            Job {
                attempt: 2,
                ..first
            },
            later,
        );
        assert_eq!(shown(&taken(&rows, &mut queue, now)), "a0 a0 a5000");
        assert!(queue.next(now).is_none());
    }
}
