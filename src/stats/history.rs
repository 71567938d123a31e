//! Rows over time in bounded memory: minutes for the last day, hours for the last
//! two months, days before. Times are Unix seconds; a bucket belongs to the span
//! that starts at a multiple of its width.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Bucket widths in seconds, finest first, and how many of each are kept. The
/// oldest of one level fold into the next; the last level holds ten years.
const LEVELS: [(i64, usize); 3] = [(60, 1_440), (3_600, 1_440), (86_400, 3_650)];

/// Rows of one stretch of time.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bucket {
    /// Rows; a fraction where a stretch cuts a stored bucket.
    pub rows: f64,
    /// Those with full success.
    pub full: f64,
    /// Those without a verdict.
    pub unscored: f64,
}

impl Bucket {
    /// Full successes of those with a verdict, 0 to 1; `None` where there is not half a row.
    pub fn success_rate(&self) -> Option<f64> {
        let judged = self.rows - self.unscored;
        (judged >= 0.5).then(|| (self.full / judged).clamp(0.0, 1.0))
    }

    fn add(&mut self, other: Self, share: f64) {
        self.rows += other.rows * share;
        self.full += other.full * share;
        self.unscored += other.unscored * share;
    }
}

/// Rows over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "[Packed; LEVELS.len()]", from = "[Packed; LEVELS.len()]")]
pub struct History {
    /// Buckets by their starts, ascending. A copy shares the levels that are not changed in it.
    levels: [Arc<VecDeque<(i64, Bucket)>>; LEVELS.len()],
}

/// The buckets of a level: how many widths each begins after the one before, rows, full,
/// unscored.
type Packed = (Vec<i64>, Vec<f64>, Vec<f64>, Vec<f64>);

impl From<History> for [Packed; LEVELS.len()] {
    fn from(history: History) -> Self {
        let mut widths = LEVELS.iter().map(|(width, _)| *width);
        history.levels.map(|level| {
            let width = widths.next().unwrap_or(1);
            let mut last = 0;
            let steps = level
                .iter()
                .map(|(start, _)| (start - std::mem::replace(&mut last, *start)) / width)
                .collect();
            let (rows, full, unscored) = level
                .iter()
                .map(|(_, bucket)| (bucket.rows, bucket.full, bucket.unscored))
                .collect();
            (steps, rows, full, unscored)
        })
    }
}

impl From<[Packed; LEVELS.len()]> for History {
    fn from(levels: [Packed; LEVELS.len()]) -> Self {
        let mut widths = LEVELS.iter().map(|(width, _)| *width);
        let levels = levels.map(|(steps, rows, full, unscored)| {
            let width = widths.next().unwrap_or(1);
            let starts = steps.into_iter().scan(0_i64, |last, step| {
                *last = last.wrapping_add(step.wrapping_mul(width));
                Some(*last)
            });
            let buckets =
                rows.into_iter()
                    .zip(full)
                    .zip(unscored)
                    .map(|((rows, full), unscored)| Bucket {
                        rows,
                        full,
                        unscored,
                    });
            // Whoever wrote them may have written them in no order.
            let sorted: BTreeMap<i64, Bucket> = starts.zip(buckets).collect();
            Arc::new(sorted.into_iter().collect())
        });
        Self { levels }
    }
}

impl History {
    /// Adds rows with a verdict that ended at `second`.
    pub fn add(&mut self, second: i64, rows: u64, full: u64) {
        self.add_bucket(
            second,
            Bucket {
                rows: rows as f64,
                full: full as f64,
                unscored: 0.0,
            },
        );
    }

    /// Adds rows that ended at `second`.
    pub fn add_bucket(&mut self, second: i64, rows: Bucket) {
        self.insert(0, second, rows);
    }

    fn insert(&mut self, level: usize, second: i64, what: Bucket) {
        let (Some(&(width, keep)), Some(buckets)) = (LEVELS.get(level), self.levels.get_mut(level))
        else {
            return;
        };
        let buckets = Arc::make_mut(buckets);
        let start = second - second.rem_euclid(width);
        let at = buckets.partition_point(|(other, _)| *other < start);
        match buckets.get_mut(at) {
            Some((same, bucket)) if *same == start => {
                bucket.add(what, 1.0);
            }
            _ => buckets.insert(at, (start, what)),
        }
        if buckets.len() > keep
            && let Some((start, oldest)) = buckets.pop_front()
        {
            self.insert(level + 1, start, oldest);
        }
    }

    /// Adds other rows.
    pub fn merge(&mut self, other: &Self) {
        for (level, buckets) in other.levels.iter().enumerate() {
            for (start, bucket) in buckets.iter() {
                self.insert(level, *start, *bucket);
            }
        }
    }

    /// Whether no row was added.
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(|level| level.is_empty())
    }

    /// Start of the oldest bucket.
    pub fn first(&self) -> Option<i64> {
        self.levels
            .iter()
            .filter_map(|level| level.front().map(|(start, _)| *start))
            .min()
    }

    /// Rows between two seconds. A stored bucket that is cut counts in proportion;
    /// the one that holds `now` reaches only up to it.
    pub fn between(&self, from: i64, to: i64, now: i64) -> Bucket {
        let mut sum = Bucket::default();
        for (buckets, (width, _)) in self.levels.iter().zip(LEVELS) {
            let place = |second: i64| buckets.partition_point(|(start, _)| *start < second);
            let (first, end) = (place(from.saturating_sub(width)), place(to));
            for &(start, bucket) in buckets.range(first.min(end)..end) {
                let end = if (start..start + width).contains(&now) {
                    now + 1
                } else {
                    start + width
                };
                let overlap = to.min(end) - from.max(start);
                if overlap > 0 {
                    let share = overlap as f64 / (end - start) as f64;
                    sum.add(bucket, share);
                }
            }
        }
        sum
    }

    /// The last `span` seconds up to `now` in `columns` equal stretches, oldest first.
    pub fn columns(&self, now: i64, span: i64, columns: usize) -> Vec<Bucket> {
        let begin = now + 1 - span;
        let edge = |column: usize| begin + span * column as i64 / columns as i64;
        (0..columns)
            .map(|column| self.between(edge(column), edge(column + 1), now))
            .collect()
    }

    /// The seconds over which a rate is taken: the last `longest`; the time since the
    /// first row where that is shorter, but at least a minute.
    pub fn window(&self, now: i64, longest: i64) -> i64 {
        self.first()
            .map_or(longest, |first| longest.min(now + 1 - first))
            .max(60)
    }

    /// Rows a minute over the last `window` seconds up to `now`.
    pub fn per_minute(&self, now: i64, window: i64) -> f64 {
        self.between(now + 1 - window, now + 1, now).rows * 60.0 / window as f64
    }
}

/// The 95th percentile by nearest rank of a writer's gaps in seconds; `None`
/// without gaps. Sorts what it is given.
pub fn p95(gaps: &mut [f64]) -> Option<f64> {
    gaps.sort_by(f64::total_cmp);
    gaps.get((gaps.len() * 95).div_ceil(100).checked_sub(1)?)
        .copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_sparkline_of_an_hour() {
        let mut history = History::default();
        for minute in 0..60 {
            history.add(minute * 60 + 7, minute as u64, 0);
        }
        let columns = history.columns(3_599, 3_600, 4);
        let rows: Vec<f64> = columns.iter().map(|c| c.rows).collect();
        assert_eq!(rows, [105.0, 330.0, 555.0, 780.0]);
        assert!(history.columns(3_599, 3_600, 0).is_empty());
    }

    #[test]
    fn the_rate_counts_the_minute_that_is_not_over() {
        let mut history = History::default();
        for second in 0..=629 {
            history.add(second, 1, 1);
        }
        assert!((history.per_minute(629, 300) - 60.0).abs() < 1e-9);
        assert!(
            (history.per_minute(960, 300)).abs() < 1e-9,
            "nothing for five minutes"
        );
        assert!((History::default().per_minute(0, 300)).abs() < 1e-9);
    }

    #[test]
    fn a_young_run_is_not_averaged_over_time_before_it() {
        let mut history = History::default();
        for second in 6_000..6_120 {
            history.add(second, 1, 1);
        }
        assert_eq!(history.window(6_119, 300), 120);
        assert_eq!(history.window(6_010, 300), 60);
        assert_eq!(history.window(9_000, 300), 300);
        assert!((history.per_minute(6_119, 120) - 60.0).abs() < 1e-9);
    }

    #[test]
    fn the_95th_percentile_is_by_nearest_rank() {
        assert_eq!(p95(&mut []), None);
        assert_eq!(p95(&mut [3.0]), Some(3.0));
        let mut hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(p95(&mut hundred), Some(95.0));
    }

    #[test]
    fn years_of_minutes_stay_bounded() {
        let mut history = History::default();
        for hour in 0..30_000_i64 {
            history.add(hour * 1_800, 2, 1);
        }
        assert!(
            history
                .levels
                .iter()
                .map(|level| level.len())
                .sum::<usize>()
                < 6_600
        );
        let all = history.between(-1, 30_000 * 1_800, 30_000 * 1_800);
        assert!((all.rows - 60_000.0).abs() < 1e-6 && (all.full - 30_000.0).abs() < 1e-6);
    }

    #[test]
    fn parts_merge_into_the_whole() {
        let (mut whole, mut parts) = (History::default(), [History::default(), History::default()]);
        for minute in 0..3_000_i64 {
            whole.add(minute * 60, 3, 2);
            parts[minute as usize % 2].add(minute * 60, 3, 2);
        }
        let mut merged = parts[0].clone();
        merged.merge(&parts[1]);
        let sum = |history: &History| history.between(-1, 200_000, 200_000);
        assert_eq!(sum(&merged), sum(&whole));
        assert_eq!(merged.levels[0].len(), 1_440);
        assert!((merged.per_minute(179_999, 300) - 3.0).abs() < 1e-9);
    }

    proptest! {
        #[test]
        fn survives_json(seconds in prop::collection::vec(-200_000_i64..9_000_000, 0..3_000)) {
            let mut history = History::default();
            for second in seconds {
                history.add_bucket(second, Bucket { rows: 2.0, full: 1.0, unscored: 1.0 });
            }
            let text = serde_json::to_string(&history).unwrap();
            prop_assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
        }

        #[test]
        fn columns_lose_no_row(
            seconds in prop::collection::vec(0_i64..100_000, 0..200), columns in 1_usize..300,
        ) {
            let mut history = History::default();
            for &second in &seconds {
                history.add(second, 1, 0);
            }
            let sum: f64 = history.columns(99_999, 200_000, columns).iter().map(|c| c.rows).sum();
            prop_assert!((sum - seconds.len() as f64).abs() < 1e-6);
        }
    }
}
