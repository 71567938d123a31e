//! How long a run still takes, as a range rather than a promise.

use super::history::History;
use super::interval::Z95;

/// Stretches of the last hour whose spread says how sure the mean is.
const STRETCHES: i64 = 12;

/// The time that is left, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Eta {
    /// At the fast end of the throughput.
    pub low: f64,
    /// At the slow end; `None` when the throughput can't be distinguished from standstill.
    pub high: Option<f64>,
}

/// Seconds until `left` more tests are there, of which `share` (0 to 1) of the rows are, from
/// the throughput of the last hour (or
/// since the first row): mean ± 1.96 standard errors `s/√k` of `k` equal stretches,
/// the error at least that of a Poisson count, `√rows/time`. `None` when nothing
/// came in that time; zero when nothing is left.
pub fn eta(history: &History, now: i64, left: u64, share: f64) -> Option<Eta> {
    let left = left as f64 / share.clamp(0.0, 1.0);
    if left.is_nan() || left <= 0.0 {
        return Some(Eta {
            low: 0.0,
            high: Some(0.0),
        });
    }
    let span = (now + 1 - history.first()?).clamp(60, 3_600);
    let stretches = (span / 60).clamp(1, STRETCHES);
    let counts: Vec<f64> = history
        .columns(now, span, stretches as usize)
        .iter()
        .map(|bucket| bucket.rows)
        .collect();
    let rows: f64 = counts.iter().sum();
    if rows <= 0.0 {
        return None;
    }
    let k = counts.len() as f64;
    let spread = counts
        .iter()
        .map(|count| (count - rows / k).powi(2))
        .sum::<f64>()
        / (k - 1.0).max(1.0);
    let seconds = span as f64;
    let error = (spread * k).max(rows).sqrt() / seconds;
    let mean = rows / seconds;
    let slow = mean - Z95 * error;
    Some(Eta {
        low: left / (mean + Z95 * error),
        high: (slow > 0.0).then(|| left / slow),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steady(rows: u64) -> History {
        let mut history = History::default();
        for minute in 0..60 {
            history.add(minute * 60, rows, 0);
        }
        history
    }

    #[test]
    fn a_range_around_the_mean() {
        let found = eta(&steady(40), 3_599, 7_600, 1.0).unwrap();
        let exact = 7_600.0 * 60.0 / 40.0;
        assert!(found.low < exact && exact < found.high.unwrap());
        assert!(
            found.low > exact * 0.95 && found.high.unwrap() < exact * 1.05,
            "{found:?}"
        );
    }

    #[test]
    fn an_uneven_run_is_less_sure() {
        let mut uneven = History::default();
        for minute in 0..60 {
            uneven.add(minute * 60, if minute < 30 { 80 } else { 0 }, 0);
        }
        let (even, uneven) = (
            eta(&steady(40), 3_599, 1_000, 1.0),
            eta(&uneven, 3_599, 1_000, 1.0),
        );
        let width = |found: Option<Eta>| {
            found
                .map(|e| e.high.unwrap_or(f64::INFINITY) - e.low)
                .unwrap()
        };
        assert!(width(uneven) > width(even));
    }

    #[test]
    fn the_ends() {
        assert_eq!(eta(&History::default(), 10, 5, 1.0), None);
        assert_eq!(
            eta(&History::default(), 10, 0, 1.0),
            Some(Eta {
                low: 0.0,
                high: Some(0.0)
            })
        );
        let mut stopped = steady(40);
        assert_eq!(
            eta(&stopped, 90_000, 5, 1.0),
            None,
            "nothing in the last hour"
        );
        stopped.add(90_000, 1, 0);
        assert_eq!(
            eta(&stopped, 90_000, 5, 1.0).unwrap().high,
            None,
            "one row tells little"
        );
    }

    #[test]
    fn what_goes_elsewhere_is_no_pace() {
        let whole = eta(&steady(40), 3_599, 1_000, 1.0).unwrap();
        let half = eta(&steady(40), 3_599, 1_000, 0.5).unwrap();
        assert!((half.low - 2.0 * whole.low).abs() < 1e-9);
        assert!(
            eta(&steady(40), 3_599, 1_000, 0.0)
                .unwrap()
                .low
                .is_infinite()
        );
    }
}
