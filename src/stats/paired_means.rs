//! Means of any numeric column on two sides, compared on the tests that both had.
//!
//! Each test counts by its mean on either side, weighted by the pairs of trials that it has.
//! Δ = Σ w·(x̄ − ȳ)/Σ w; its standard error is clustered by task, or by test where it names none,
//! √(C/(C−1)·Σ(d_c − m_c·Δ)²)/n (Miller 2024, arXiv 2411.00640), and the interval is
//! Δ ± t·SE with t of C − 1 degrees of freedom. With one trial of each test and one test a task
//! that is the paired t test (Student 1908, Biometrika 6, 1–25).
//!
//! Where all clusters differ by the same amount there is no error to go by: the sign test
//! decides, p = 2·½^C.

use serde::{Deserialize, Serialize};

use super::interval::Interval;
use super::paired::{Comparison, Difference, HARDLY, Method, Trials, Verdict};
use super::student::{p_of_t, t_95};

/// Values of one test on one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(into = "(u64, f64)", from = "(u64, f64)")]
pub struct Values {
    /// Values.
    pub n: u64,
    /// Their sum.
    pub sum: f64,
}

impl From<Values> for (u64, f64) {
    fn from(values: Values) -> Self {
        (values.n, values.sum)
    }
}

impl From<(u64, f64)> for Values {
    fn from((n, sum): (u64, f64)) -> Self {
        Self { n, sum }
    }
}

impl Values {
    /// Takes in a value.
    pub fn add(&mut self, value: f64) {
        self.n += 1;
        self.sum += value;
    }

    /// Takes in others.
    pub fn add_all(&mut self, other: Self) {
        self.n += other.n;
        self.sum += other.sum;
    }

    /// Their mean; 0 without any.
    pub fn mean(self) -> f64 {
        if self.n == 0 {
            return 0.0;
        }
        self.sum / self.n as f64
    }

    /// The same as trials, where each value is 1 for a success and 0 for a failure.
    pub fn trials(self) -> Trials {
        Trials {
            n: self.n,
            full: self.sum as u64,
        }
    }
}

/// So many clusters that all differ one way are significant: 2·½⁶ is 0.03.
const SIGNS: f64 = 6.0;

/// A comparison while its tests come in.
#[derive(Debug, Clone, Default)]
pub struct MeanSum {
    found: Comparison,
    first: f64,
    second: f64,
    clusters: f64,
    dd: f64,
    dm: f64,
    mm: f64,
    /// The task of the last tests, with their difference and weight.
    current: (Option<u64>, f64, f64),
}

impl MeanSum {
    /// Takes in a test; those of a task must come together.
    pub fn push(&mut self, first: Values, second: Values, task: Option<u64>) {
        let both = first.n.min(second.n);
        self.found.unmatched_first += first.n - both;
        self.found.unmatched_second += second.n - both;
        if both == 0 {
            return;
        }
        self.found.pairs += both;
        self.found.tests += 1;
        let (weight, x, y) = (both as f64, first.mean(), second.mean());
        if x > y {
            self.found.only_first += weight;
        } else if x < y {
            self.found.only_second += weight;
        }
        self.first += weight * x;
        self.second += weight * y;
        let apart = weight * (x - y);
        if task.is_some() && task == self.current.0 {
            self.current = (task, self.current.1 + apart, self.current.2 + weight);
        } else {
            self.close();
            self.current = (task, apart, weight);
        }
    }

    fn close(&mut self) {
        let (_, d, m) = self.current;
        if m > 0.0 {
            self.clusters += 1.0;
            self.dd += d * d;
            self.dm += d * m;
            self.mm += m * m;
        }
    }

    /// The comparison; `tie` is a difference that is as good as none.
    pub fn finish(mut self, tie: Option<f64>) -> Comparison {
        if self.found.pairs == 0 {
            return self.found;
        }
        self.close();
        let n = self.found.pairs as f64;
        self.found.first_rate = self.first / n;
        self.found.second_rate = self.second / n;
        let c = self.clusters;
        if c < 2.0 {
            return self.found;
        }
        let value = (self.first - self.second) / n;
        let squares = (self.dd - 2.0 * value * self.dm + value * value * self.mm).max(0.0);
        let error = (c / (c - 1.0) * squares).sqrt() / n;
        // Below this the sum of squares is nothing but rounding.
        let same = squares <= self.dd * 1e-14 * c;
        let (half, p) = if same {
            let sign = if value == 0.0 {
                1.0
            } else {
                0.5_f64.powf(c - 1.0)
            };
            (0.0, sign)
        } else {
            (t_95(c - 1.0) * error, p_of_t(value / error, c - 1.0))
        };
        let interval = Interval {
            low: value - half,
            high: value + half,
        };
        self.found.difference = Some(Difference {
            value,
            error: if same { 0.0 } else { error },
            interval,
            p: Some(p),
            method: Method::PairedT,
            verdict: if same && value != 0.0 && p >= 0.05 {
                Verdict::More(((SIGNS - c) * n / c).ceil() as u64)
            } else {
                verdict(value, half, p, n, tie)
            },
        });
        self.found
    }
}

fn verdict(value: f64, half: f64, p: f64, n: f64, tie: Option<f64>) -> Verdict {
    if p < 0.05 {
        return Verdict::Separated;
    }
    if half == 0.0 && value == 0.0 || tie.is_some_and(|tie| value.abs() + half <= tie) {
        return Verdict::Tied;
    }
    // The half width that would leave out zero, or fit into a tie, whichever comes first.
    let needed = value.abs().max(tie.unwrap_or(0.0) - value.abs());
    let all = n * (half / needed).powi(2);
    let more = (all - n).ceil();
    Verdict::More(if more.is_finite() && more < HARDLY as f64 {
        (more as u64).max(1)
    } else {
        HARDLY
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(pairs: &[(f64, f64)], tie: Option<f64>) -> Comparison {
        let mut sum = MeanSum::default();
        for (at, (first, second)) in pairs.iter().enumerate() {
            let one = |value: f64| Values { n: 1, sum: value };
            sum.push(one(*first), one(*second), Some(at as u64));
        }
        sum.finish(tie)
    }

    /// Student's own data (1908): ten patients, two soporifics. t = −4.062, p = 0.00283.
    #[test]
    fn one_trial_of_each_test_is_the_paired_t_test() {
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let pairs: Vec<_> = first.into_iter().zip(second).collect();
        let found = compared(&pairs, None);
        let difference = found.difference.unwrap();
        assert!((difference.value + 1.58).abs() < 1e-12);
        assert!((difference.value / difference.error + 4.062_127_683_4).abs() < 1e-9);
        assert!((difference.p.unwrap() - 0.002_832_890_197_4).abs() < 1e-10);
        assert!((difference.interval.low + 2.459_885_769_8).abs() < 1e-8);
        assert_eq!(difference.verdict, Verdict::Separated);
        assert_eq!((found.only_first, found.only_second), (0.0, 9.0));
    }

    #[test]
    fn tests_of_one_task_are_one_cluster() {
        let mut sum = MeanSum::default();
        for (task, x, y) in [(1, 1.0, 0.0), (1, 1.0, 0.0), (2, 0.0, 1.0)] {
            sum.push(
                Values { n: 2, sum: 2.0 * x },
                Values { n: 1, sum: y },
                Some(task),
            );
        }
        let found = sum.finish(None);
        let difference = found.difference.unwrap();
        // Weights 2 and 1: Δ = (2 − 1)/3; √(2·((2 − 2/3)² + (−1 − 1/3)²))/3.
        assert!((difference.value - 1.0 / 3.0).abs() < 1e-12);
        assert!((difference.error - (2.0_f64 * 2.0 * 16.0 / 9.0).sqrt() / 3.0).abs() < 1e-12);
        assert_eq!((found.pairs, found.tests, found.unmatched_first), (3, 3, 3));
    }

    #[test]
    fn equal_differences_are_decided_by_their_number() {
        let all = |n: usize, apart: f64| compared(&vec![(1.0 + apart, 1.0); n], Some(0.02));
        let few = all(4, 0.5).difference.unwrap();
        assert_eq!(few.p, Some(0.125));
        assert_eq!(few.verdict, Verdict::More(2));
        assert_eq!(all(8, 0.5).difference.unwrap().verdict, Verdict::Separated);
        assert_eq!(all(8, 0.0).difference.unwrap().verdict, Verdict::Tied);
        assert_eq!(all(1, 0.5).difference, None);
        assert_eq!(compared(&[], None), Comparison::default());
    }
}
