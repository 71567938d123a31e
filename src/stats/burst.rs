//! Failure bursts: whether a model fails more often now than it usually does. A
//! fixed "five in a row" is wrong for weak models, so each model is its own measure.
//!
//! Bernoulli CUSUM (Reynolds & Stoumbos 1999, J. Quality Technology 31, 87–108):
//! `S = max(0, S + w)` with `w = ln(p1/p0)` on a failure and `ln((1−p1)/(1−p0))` on
//! a pass; p0 is the model's own failure rate before the last 20 tests, p1 =
//! 1 − (1 − p0)/4 (three of four passes lost), alarm at S > 11.
//!
//! Where this refines the formula:
//! - p0 is smoothed by one failure and one pass; until thirty tests are known, the
//!   first ten stand for "usual", and before those nothing is judged.
//! - A model that has failed more than 95 % of the time can't be seen to get worse:
//!   its failures add nothing, or every such model would alarm for ever.
//! - A model whose first ten tests all passed alarms at 8.5 until thirty are known: four
//!   failures in a row after a clean start, as a rate limit or an expired key makes them.
//! - S is capped at 7 above the alarm level. That delays no alarm; it only lets one
//!   end a few passes after the failures do.
//!
//! The level is chosen by simulation: of 2,000 runs of 2,000 tests, all with one failure rate,
//! 0.4 to 2.6 % ever alarm at rates from 2 to 95 % (at 7, a third of them did).
//!
//! ```
//! use evaltop::internals::stats::burst::{Before, detect};
//!
//! let usual = Before { tests: 400, failed: 80 };
//! assert!(detect(usual, &[false, true, false, false, true, false]).is_none());
//! let alarm = detect(usual, &[true; 9]).expect("nine in a row are no accident at 20 %");
//! assert_eq!((alarm.failed, alarm.of), (9, 9));
//! ```

/// S above this is an alarm.
pub const ALARM: f64 = 11.0;
/// The same for a model that has not failed yet and of which little is known.
const CLEAN_START: f64 = 8.5;
/// S is at most so far above the level.
const ABOVE: f64 = 7.0;
/// The newest tests, which never count as usual.
const LAG: u64 = 20;
/// The fewest tests that say what is usual.
const BASELINE: u64 = 10;

/// Tests of a model before those that are looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// Tests.
    pub tests: u64,
    /// Those without full success.
    pub failed: u64,
}

/// A burst that has not ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alarm {
    /// Index of its first test among those that were looked at.
    pub start: usize,
    /// Failures since then.
    pub failed: u64,
    /// Tests since then.
    pub of: u64,
    /// The failure rate before it began, 0 to 1.
    pub usual: f64,
}

/// Judges tests in time order (`true` = failed) that follow `before`. Returns the
/// burst that is on at the last of them, if any.
pub fn detect(before: Before, failures: &[bool]) -> Option<Alarm> {
    follow(before, failures, |_| {})
}

/// [`detect`], calling `on` with the index of each test after which a burst is on.
fn follow(before: Before, failures: &[bool], mut on: impl FnMut(usize)) -> Option<Alarm> {
    // Failures among the first n tests: what was usual some tests ago.
    let mut known = vec![before.failed];
    let mut sum = 0.0_f64;
    let mut level = ALARM;
    let mut since: Option<Alarm> = None;
    for (index, &failed) in failures.iter().enumerate() {
        let so_far = known.last().copied().unwrap_or_default();
        known.push(so_far + u64::from(failed));
        let tests = before.tests + index as u64;
        let usual_tests = tests
            .saturating_sub(LAG)
            .max(BASELINE)
            .max(before.tests.min(tests));
        if tests < usual_tests {
            continue;
        }
        let usual_failed = known
            .get((usual_tests - before.tests) as usize)
            .copied()
            .unwrap_or(so_far);
        let usual = (usual_failed as f64 + 1.0) / (usual_tests as f64 + 2.0);
        level = if usual_tests == BASELINE && usual_failed == 0 {
            CLEAN_START
        } else {
            ALARM
        };
        sum = (sum + weight(usual, failed)).clamp(0.0, ALARM + ABOVE);
        if sum <= 0.0 {
            since = None;
            continue;
        }
        let run = since.get_or_insert(Alarm {
            start: index,
            failed: 0,
            of: 0,
            usual,
        });
        run.of += 1;
        run.failed += u64::from(failed);
        if sum > level {
            on(index);
        }
    }
    since.filter(|_| sum > level)
}

fn weight(usual: f64, failed: bool) -> f64 {
    let p0 = usual.clamp(0.02, 0.95);
    let p1 = 1.0 - (1.0 - p0) / 4.0;
    match failed {
        true if usual > 0.95 => 0.0,
        true => (p1 / p0).ln(),
        false => ((1.0 - p1) / (1.0 - p0)).ln(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    /// The first index at which the burst is seen, judging test after test.
    fn first_alarm(before: Before, failures: &[bool]) -> Option<usize> {
        let mut first = None;
        follow(before, failures, |index| first = first.or(Some(index)));
        first
    }

    /// Failures at a rate, spread by a fixed generator (xorshift64*).
    fn spread(rate: f64, tests: usize, seed: u64) -> Vec<bool> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        (0..tests)
            .map(|_| {
                state ^= state >> 12;
                state ^= state << 25;
                state ^= state >> 27;
                let unit =
                    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1_u64 << 53) as f64;
                unit < rate
            })
            .collect()
    }

    #[test]
    fn alarms_within_four_tests_of_a_real_rate_limit() {
        let path =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/llmperf_lepton_7b.json");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("SKIPPED: {} is not there", path.display());
            return;
        };
        let rows: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let failures: Vec<bool> = rows
            .iter()
            .map(|row| !row["error_code"].is_null())
            .collect();
        assert_eq!(failures.iter().position(|&failed| failed), Some(10));
        let at = first_alarm(Before::default(), &failures).unwrap();
        assert!((10..=13).contains(&at), "alarm at row {at}");
        let alarm = detect(Before::default(), &failures[..60]).unwrap();
        assert_eq!((alarm.start, alarm.failed, alarm.of), (10, 50, 50));
        assert!(alarm.usual < 0.1);
    }

    #[test]
    fn weak_models_are_not_bursting() {
        // 65 % failures, evenly spread: 13 of every 20.
        let even: Vec<bool> = (0..2_000_u64)
            .map(|i| (i + 1) * 13 / 20 > i * 13 / 20)
            .collect();
        assert_eq!(first_alarm(Before::default(), &even), None);
        let always = vec![true; 1_000];
        assert_eq!(
            detect(
                Before {
                    tests: 1_000,
                    failed: 1_000
                },
                &always
            ),
            None
        );
    }

    /// The alarms of 500 runs of 2,000 tests that fail at one rate all the time.
    #[test]
    fn fewer_than_one_run_in_twenty_alarms_without_a_burst() {
        for rate in [0.05, 0.3, 0.5, 0.8] {
            let alarms = (1..=500)
                .filter(|&seed| {
                    first_alarm(Before::default(), &spread(rate, 2_000, seed)).is_some()
                })
                .count();
            assert!(alarms < 25, "{alarms} of 500 runs at {rate}");
        }
    }

    #[test]
    fn a_weak_model_that_stops_passing_is() {
        let mut failures = spread(0.65, 180, 3);
        assert_eq!(
            detect(
                Before {
                    tests: 400,
                    failed: 260
                },
                &failures
            ),
            None
        );
        failures.extend([true; 40]);
        let alarm = detect(
            Before {
                tests: 400,
                failed: 260,
            },
            &failures,
        )
        .unwrap();
        assert!((alarm.usual - 0.65).abs() < 0.05, "{alarm:?}");
        assert!(alarm.failed >= 40);
    }

    #[test]
    fn ends_soon_after_the_failures_do() {
        let before = Before {
            tests: 500,
            failed: 100,
        };
        let mut failures = vec![true; 100];
        assert!(detect(before, &failures).is_some());
        failures.extend([false; 6]);
        assert_eq!(detect(before, &failures), None);
    }

    #[test]
    fn judges_nothing_before_ten_tests() {
        assert_eq!(detect(Before::default(), &[true; 10]), None);
        assert_eq!(detect(Before::default(), &[]), None);
    }

    proptest! {
        #[test]
        fn counts_are_consistent(
            failures in prop::collection::vec(any::<bool>(), 0..300), tests in 0_u64..1_000, share in 0.0_f64..=1.0,
        ) {
            let before = Before { tests, failed: (tests as f64 * share) as u64 };
            if let Some(alarm) = detect(before, &failures) {
                prop_assert_eq!(alarm.start as u64 + alarm.of, failures.len() as u64);
                prop_assert!(alarm.failed <= alarm.of);
                prop_assert!(alarm.usual > 0.0 && alarm.usual < 1.0);
                let real = failures[alarm.start..].iter().filter(|&&failed| failed).count() as u64;
                prop_assert_eq!(alarm.failed, real);
            }
        }
    }
}
