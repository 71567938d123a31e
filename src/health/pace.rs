//! The run as it moves: rows that come in far more slowly than they did, and rows that
//! mostly replace others.

use super::{Finding, Remedy, Rule, Severity, plural};
use crate::config::Thresholds;
use crate::config::show_count;
use crate::observation::{Observation, WriterState};

/// The stretch over which throughput is judged, in seconds.
const STRETCH: i64 = 300;
/// Stretches of the hour before, whose median is usual, and the fewest that show it.
const STRETCHES: [usize; 2] = [12, 3];
/// Rows of a usual stretch below which chance alone makes stretches this different.
const LEAST_ROWS: f64 = 10.0;
/// Replaced rows below which the share says nothing.
const LEAST_REPLACED: u64 = 10;

/// Rows come in at less than a fifth of the last hour's median, though writers live.
pub(super) struct SlowThroughput;

impl Rule for SlowThroughput {
    fn name(&self) -> &'static str {
        "slow_throughput"
    }

    fn explanation(&self) -> &'static str {
        "Over the last five minutes far fewer rows came in than usual, measured by the median of the hour before, \
         and writers are still there. A rate limit, a slow endpoint, a machine that swaps, or \
         writers that all wait for one thing are the usual causes. Look at the writers' last rows and at what \
         their runners print."
    }

    fn findings(&self, seen: &Observation, limits: &Thresholds) -> Vec<Finding> {
        let alive = |state| matches!(state, WriterState::Live | WriterState::Stalled);
        if !seen.writers.iter().any(|writer| alive(writer.state)) {
            return Vec::new();
        }
        let Some(usual) = usual(seen) else {
            return Vec::new();
        };
        let now = seen.at.as_second();
        let rows = seen.history.between(now + 1 - STRETCH, now + 1, now).rows;
        if usual < LEAST_ROWS || rows >= limits.slow_percent / 100.0 * usual {
            return Vec::new();
        }
        let minutes = STRETCH as f64 / 60.0;
        let message = format!(
            "{:.1} rows/min for 5m, usually {:.1}: see the writers",
            rows / minutes,
            usual / minutes
        );
        vec![Finding::new(Severity::Warning, message, Remedy::Writer)]
    }
}

/// The median of the rows of the stretches of the hour before the last one.
fn usual(seen: &Observation) -> Option<f64> {
    let [most, least] = STRETCHES;
    let now = seen.at.as_second();
    let begin = now + 1 - STRETCH;
    let since = begin - seen.history.first()?;
    let stretches = usize::try_from(since / STRETCH).unwrap_or(0).min(most);
    if stretches < least {
        return None;
    }
    let before = seen
        .history
        .columns(begin - 1, stretches as i64 * STRETCH, stretches);
    let mut rows: Vec<f64> = before.iter().map(|bucket| bucket.rows).collect();
    rows.sort_by(f64::total_cmp);
    rows.get(rows.len() / 2).copied()
}

/// More than one in a hundred rows of the last hour replaced others.
pub(super) struct Superseding;

impl Rule for Superseding {
    fn name(&self) -> &'static str {
        "superseding_rows"
    }

    fn explanation(&self) -> &'static str {
        "These rows have the test id and the cell of rows that are there already, with other values; the newest \
         counts and the others leave main. A few are tests that were tried again. Many mean that two runners do \
         the same tests, or that a runner gives its tests ids that repeat: then results get lost, so make the ids \
         unique."
    }

    fn findings(&self, seen: &Observation, limits: &Thresholds) -> Vec<Finding> {
        let now = seen.at.as_second();
        let rows = seen
            .history
            .between(now + 1 - 3_600, now + 1, now)
            .rows
            .round();
        let replaced = seen.superseded_lately;
        if replaced < LEAST_REPLACED || replaced as f64 <= limits.superseding_percent / 100.0 * rows
        {
            return Vec::new();
        }
        // After a restart of a clock there may be fewer rows than replacements.
        let rows = (rows as u64).max(replaced);
        let message = format!(
            "{} of the last hour's {} replace others",
            show_count(replaced),
            plural(rows, "row", "rows")
        );
        vec![Finding::new(Severity::Warning, message, Remedy::None)]
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::observation::WriterView;

    /// Two hours at `usual` rows a minute, but `lately` over the last five.
    fn seen(usual: u64, lately: u64, state: WriterState) -> Observation {
        let at: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let mut seen = Observation {
            at,
            ..Observation::default()
        };
        for minute in 0..120_i64 {
            let rows = if minute < 5 { lately } else { usual };
            seen.history.add(at.as_second() - minute * 60 - 30, rows, 0);
        }
        seen.writers.push(WriterView {
            process_id: "1_20260131_110000".to_owned(),
            state,
            rows: 1,
            journal_bytes: 0,
            last_row: None,
            model: None,
            limit_seconds: 60.0,
            ..WriterView::default()
        });
        seen
    }

    fn messages(rule: &dyn Rule, seen: &Observation) -> Vec<String> {
        rule.findings(seen, &Thresholds::default())
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn a_fifth_of_the_usual_throughput_is_slow_while_writers_live() {
        let slow = seen(40, 7, WriterState::Live);
        assert_eq!(
            messages(&SlowThroughput, &slow),
            ["7.0 rows/min for 5m, usually 40.0: see the writers"]
        );
        assert_eq!(
            messages(&SlowThroughput, &seen(40, 0, WriterState::Stalled)).len(),
            1
        );
        assert!(messages(&SlowThroughput, &seen(40, 9, WriterState::Live)).is_empty());
        assert!(
            messages(&SlowThroughput, &seen(40, 0, WriterState::Finished)).is_empty(),
            "the run is over"
        );
        assert!(
            messages(&SlowThroughput, &seen(1, 0, WriterState::Live)).is_empty(),
            "that is chance"
        );
    }

    #[test]
    fn a_young_run_has_no_usual_throughput() {
        let mut young = seen(40, 0, WriterState::Live);
        young.history = crate::stats::history::History::default();
        young.history.add(young.at.as_second() - 1_000, 1, 0);
        young.history.add(young.at.as_second() - 400, 4_000, 0);
        assert!(messages(&SlowThroughput, &young).is_empty());
        assert!(messages(&SlowThroughput, &Observation::default()).is_empty());
    }

    #[test]
    fn an_hour_in_which_many_rows_replace_others() {
        let mut some = seen(40, 40, WriterState::Live);
        some.superseded_lately = 23;
        assert!(
            messages(&Superseding, &some).is_empty(),
            "one in a hundred is forgiven"
        );
        some.superseded_lately = 25;
        assert_eq!(
            messages(&Superseding, &some),
            ["25 of the last hour's 2,399 rows replace others"]
        );
        let mut few = seen(1, 1, WriterState::Live);
        few.superseded_lately = 9;
        assert!(messages(&Superseding, &few).is_empty());
        few.superseded_lately = 10;
        assert_eq!(messages(&Superseding, &few).len(), 1);
    }
}
