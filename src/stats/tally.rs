//! Counts and sums of a group of tests: mergeable, and invertible, so that a row
//! that is replaced by a newer attempt can be taken out again exactly.

use serde::{Deserialize, Serialize};

use super::money::{Money, Tokens};
use strum::{EnumCount, EnumIter, EnumString, IntoStaticStr};

/// What went wrong in a test that did not succeed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    EnumCount,
    EnumIter,
    EnumString,
    IntoStaticStr,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum ErrorCategory {
    /// The test ran out of time.
    Timeout,
    /// A tool call that could not be parsed.
    ToolCallFormat,
    /// The wrong tool.
    ToolSelection,
    /// The right tool with wrong parameters.
    ParameterConfig,
    /// The right tools in the wrong order.
    SequenceOrder,
    /// A step that another one depends on was left out.
    Dependency,
    /// The conversation ran out of turns.
    MaxTurns,
    /// Not the model's fault: rate limit, authentication, connection.
    Infrastructure,
    /// Anything else.
    Other,
}

/// The sum of a measured value over the rows that have it, kept in millionths so
/// that adding and subtracting in any order gives the same result.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sum {
    /// Rows (or tests, for a summary row) that have the value.
    pub n: u64,
    /// The sum in millionths of the unit.
    pub micros: i128,
}

impl Sum {
    /// Values beyond this magnitude are clamped; no real measurement is near it.
    const LIMIT: f64 = 1e18;

    /// One value; absent where it is not a finite number.
    pub fn of(value: Option<f64>) -> Self {
        Self::weighted(value, 1)
    }

    /// A mean of `n` tests, as a summary row has it.
    pub fn weighted(mean: Option<f64>, n: u64) -> Self {
        match mean {
            Some(v) if v.is_finite() => Self {
                n,
                micros: Self::micros(v) * i128::from(n),
            },
            _ => Self::default(),
        }
    }

    /// A value in millionths, rounded half away from zero.
    #[inline]
    fn micros(value: f64) -> i128 {
        /// Every fraction below is distinguished from its neighbours.
        const EXACT: f64 = 4e15;
        /// The largest number below one half: added to it, what is below one half stays below one.
        const HALF: f64 = 0.499_999_999_999_999_94;
        let scaled = value * 1e6;
        if scaled.abs() < EXACT {
            return i128::from((scaled + HALF.copysign(scaled)) as i64);
        }
        (value.clamp(-Self::LIMIT, Self::LIMIT) * 1e6).round() as i128
    }

    /// Adds one value; what is not a finite number counts for nothing.
    #[inline]
    pub fn push(&mut self, value: f64) {
        if value.is_finite() {
            self.n = self.n.saturating_add(1);
            self.micros = self.micros.saturating_add(Self::micros(value));
        }
    }

    /// The mean, `None` when nothing was summed.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.micros as f64 / 1e6 / self.n as f64)
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        self.micros = self.micros.saturating_add(other.micros);
    }

    /// Takes out what was added before.
    pub fn subtract(&mut self, other: &Self) {
        self.n = self.n.saturating_sub(other.n);
        self.micros = self.micros.saturating_sub(other.micros);
    }
}

/// Counts and sums of a group of tests. A summary row weighs its `total`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Tests, after superseding.
    pub tests: u64,
    /// Tests that succeeded in full.
    pub full: u64,
    /// Tests that succeeded in part only.
    pub partial: u64,
    /// Tests without a verdict: no success and no failure.
    pub unscored: u64,
    /// Of these, the ones with an error, which counts in `errors` too.
    pub unscored_errors: u64,
    /// Of these, the ones with an infrastructure error.
    pub unscored_infrastructure: u64,
    /// Tests without full success, by what went wrong (index: `ErrorCategory as usize`).
    pub errors: [u64; ErrorCategory::COUNT],
    /// Seconds a test.
    pub execution_time: Sum,
    /// Conversation turns a test.
    pub turns: Sum,
    /// Tool calls a test.
    pub tool_calls: Sum,
    /// Share of the required tools that were called.
    pub tool_coverage_rate: Sum,
    /// What the tests were billed.
    #[serde(default)]
    pub cost: Money,
    /// What judging them was billed.
    #[serde(default)]
    pub judge_cost: Money,
    /// Their tokens.
    #[serde(default)]
    pub tokens: Tokens,
}

impl Tally {
    /// All that was billed, in billionths of a dollar; `None` where no test says.
    pub fn billed(&self) -> Option<i128> {
        (self.cost.n + self.judge_cost.n > 0).then(|| {
            self.cost
                .billionths
                .saturating_add(self.judge_cost.billionths)
        })
    }

    /// Tests with a verdict.
    pub fn judged(&self) -> u64 {
        self.tests.saturating_sub(self.unscored)
    }

    /// Tests that did not succeed, not even in part.
    pub fn failed(&self) -> u64 {
        self.judged()
            .saturating_sub(self.full)
            .saturating_sub(self.partial)
    }

    /// Tests lost to the infrastructure rather than to the model.
    pub fn infrastructure(&self) -> u64 {
        self.errors
            .get(ErrorCategory::Infrastructure as usize)
            .copied()
            .unwrap_or(0)
    }

    /// Tests with a verdict that say something about the model.
    pub fn scored(&self) -> u64 {
        let infrastructure = self
            .infrastructure()
            .saturating_sub(self.unscored_infrastructure);
        self.judged().saturating_sub(infrastructure)
    }

    /// A number of tests as a share of those with a verdict, 0 to 1; `None` without any.
    pub fn share(&self, tests: u64) -> Option<f64> {
        (self.judged() > 0).then(|| tests as f64 / self.judged() as f64)
    }

    /// full / (tests − unscored), 0 to 1; `None` without a verdict.
    pub fn success_rate(&self) -> Option<f64> {
        self.share(self.full)
    }

    /// full / tests without infrastructure errors; `None` without scored tests.
    pub fn scored_rate(&self) -> Option<f64> {
        (self.scored() > 0).then(|| self.full as f64 / self.scored() as f64)
    }

    /// Adds another group's counts and sums.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add, Sum::add);
        self.cost.add(&other.cost);
        self.judge_cost.add(&other.judge_cost);
        self.tokens.add(&other.tokens);
    }

    /// Takes out a group that was added before.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, u64::saturating_sub, Sum::subtract);
        self.cost.subtract(&other.cost);
        self.judge_cost.subtract(&other.judge_cost);
        self.tokens.subtract(&other.tokens);
    }

    fn combine(&mut self, other: &Self, count: fn(u64, u64) -> u64, sum: fn(&mut Sum, &Sum)) {
        self.tests = count(self.tests, other.tests);
        self.full = count(self.full, other.full);
        self.partial = count(self.partial, other.partial);
        self.unscored = count(self.unscored, other.unscored);
        self.unscored_errors = count(self.unscored_errors, other.unscored_errors);
        self.unscored_infrastructure =
            count(self.unscored_infrastructure, other.unscored_infrastructure);
        for (mine, theirs) in self.errors.iter_mut().zip(other.errors) {
            *mine = count(*mine, theirs);
        }
        sum(&mut self.execution_time, &other.execution_time);
        sum(&mut self.turns, &other.turns);
        sum(&mut self.tool_calls, &other.tool_calls);
        sum(&mut self.tool_coverage_rate, &other.tool_coverage_rate);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum() -> impl Strategy<Value = Sum> {
        (prop::option::of(-1e6_f64..1e6), 0_u64..1_000).prop_map(|(mean, n)| Sum::weighted(mean, n))
    }

    fn tally() -> impl Strategy<Value = Tally> {
        (
            0_u64..1_000,
            0_u64..1_000,
            0_u64..1_000,
            prop::array::uniform9(0_u64..100),
            sum(),
            sum(),
        )
            .prop_map(|(full, partial, failed, errors, time, turns)| Tally {
                tests: full + partial + failed,
                full,
                partial,
                unscored: failed / 2,
                unscored_errors: failed / 3,
                unscored_infrastructure: failed / 4,
                errors,
                execution_time: time,
                turns,
                ..Tally::default()
            })
    }

    proptest! {
        #[test]
        fn millionths_are_rounded_half_away_from_zero(
            value in prop_oneof![any::<f64>(), -1e10_f64..1e10, (-5_000_i64..5_000).prop_map(|n| n as f64 * 5e-7)],
        ) {
            let mut pushed = Sum::default();
            pushed.push(value);
            prop_assert_eq!(pushed, Sum::of(Some(value)));
            if value.is_finite() {
                let expected = (value.clamp(-Sum::LIMIT, Sum::LIMIT) * 1e6).round() as i128;
                prop_assert_eq!(pushed.micros, expected);
            }
        }

        #[test]
        fn subtracting_undoes_adding(a in tally(), b in tally()) {
            let mut both = a.clone();
            both.add(&b);
            both.subtract(&b);
            prop_assert_eq!(both, a);
        }

        #[test]
        fn the_order_does_not_matter(mut parts in prop::collection::vec(tally(), 0..8), seed in any::<u64>()) {
            let total = |parts: &[Tally]| {
                parts.iter().fold(Tally::default(), |mut sum, part| {
                    sum.add(part);
                    sum
                })
            };
            let before = total(&parts);
            if !parts.is_empty() {
                let turn = seed as usize % parts.len();
                parts.rotate_left(turn);
                parts.reverse();
            }
            prop_assert_eq!(total(&parts), before);
        }

        #[test]
        fn survives_json(tally in tally()) {
            let text = serde_json::to_string(&tally).unwrap();
            prop_assert_eq!(serde_json::from_str::<Tally>(&text).unwrap(), tally);
        }
    }

    #[test]
    fn rates_are_absent_rather_than_zero() {
        let mut tally = Tally::default();
        assert_eq!(
            (
                tally.success_rate(),
                tally.scored_rate(),
                tally.execution_time.mean()
            ),
            (None, None, None)
        );
        tally.tests = 4;
        tally.full = 1;
        tally.errors[ErrorCategory::Infrastructure as usize] = 2;
        assert_eq!(
            (tally.success_rate(), tally.scored_rate()),
            (Some(0.25), Some(0.5))
        );
        assert_eq!(
            (tally.failed(), tally.scored(), tally.infrastructure()),
            (3, 2, 2)
        );
    }

    #[test]
    fn unscored_tests_are_neither_success_nor_failure() {
        let mut tally = Tally {
            tests: 10,
            full: 3,
            partial: 1,
            unscored: 4,
            unscored_errors: 2,
            unscored_infrastructure: 1,
            ..Tally::default()
        };
        tally.errors[ErrorCategory::Infrastructure as usize] = 2;
        tally.errors[ErrorCategory::Timeout as usize] = 1;
        assert_eq!((tally.judged(), tally.failed(), tally.scored()), (6, 2, 5));
        assert_eq!(
            (tally.success_rate(), tally.scored_rate(), tally.share(2)),
            (Some(0.5), Some(0.6), Some(2.0 / 6.0))
        );
        tally.unscored = 10;
        assert_eq!((tally.success_rate(), tally.failed()), (None, 0));
    }

    #[test]
    fn a_mean_weighs_its_tests_and_ignores_what_is_no_number() {
        let mut sum = Sum::weighted(Some(2.0), 3);
        sum.add(&Sum::of(Some(6.0)));
        sum.add(&Sum::of(Some(f64::NAN)));
        sum.add(&Sum::of(None));
        assert_eq!(sum.mean(), Some(3.0));
        assert!(Sum::of(Some(f64::MAX)).mean().is_some_and(f64::is_finite));
    }
}
