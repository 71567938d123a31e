//! Two models, or two ways to prompt, compared on the tests that both had: what is
//! hard for both cancels out, so far fewer tests distinguish them than two separate
//! intervals would need.
//!
//! - One trial of each test on both sides: with b tests that only the first passed
//!   and c that only the second did, Δ = (b − c)/n and SE = √(b + c − (b − c)²/n)/n
//!   (McNemar 1947, Psychometrika 12, 153–157; the standard error as in Fleiss 1981,
//!   "Statistical Methods for Rates and Proportions", ch. 8). With fewer than 25 such
//!   tests, and where the two disagree, the exact binomial test of b in b + c decides, and the
//!   interval is
//!   Clopper and Pearson's of b/(b + c) (1934, Biometrika 26, 404–413), times (b + c)/n.
//! - Several trials of a test, or several tests of a task: each test counts by its mean
//!   on either side, and the standard error is clustered by task, or by test where it
//!   names none, √(C/(C−1)·Σ(d_c − m_c·Δ)²)/n (Miller 2024, arXiv 2411.00640). Few clusters
//!   tell little of the error: interval and p are those of t with C − 1 degrees of freedom.
//!
//! ```
//! use evaltop::internals::store::Control;
//! use evaltop::internals::store::read::query::{Filter, Side, pairs};
//! use evaltop::internals::stats::paired::compare;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use evaltop::internals::store::write::writer::{Writer, WriterOptions};
//! # use evaltop::internals::store::{Record, Store};
//! # let folder = tempfile::tempdir()?;
//! # let store = Store::new(folder.path().join("my_store"));
//! # let mut writer = Writer::open(&store, WriterOptions::default())?;
//! # for n in 0..20 {
//! #     let model = if n % 2 == 0 { "large" } else { "small" };
//! #     let task_id = Some(format!("book-{}", n / 2));
//! #     writer.append(Record { model: model.into(), task_id, success: Some(n != 3), ..Record::default() })?;
//! # }
//! # writer.close()?;
//! let tests = pairs(&store, &Filter::default(), Side::Model, ["large", "small"], &Control::default())?;
//! let found = compare(tests)?;
//! assert_eq!((found.pairs, found.unmatched_first), (10, 0));
//! assert_eq!((found.first_rate, found.second_rate), (1.0, 0.9));
//! # Ok(())
//! # }
//! ```

use serde::{Deserialize, Serialize};

use super::interval::{Interval, Z95};
use super::student::{incomplete_beta, p_of_t, t_95};

/// Below this number of discordant tests the exact test decides.
const EXACT_BELOW: f64 = 25.0;
/// A difference within ± this much is a tie.
pub const TIE: f64 = 0.02;
/// So many further tests are as good as "never".
pub const HARDLY: u64 = 1_000_000_000;
/// The level of a two-sided test that goes with a 95 % interval.
const ALPHA: f64 = 0.05;

/// Trials of one test on one side.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(u64, u64)", from = "(u64, u64)")]
pub struct Trials {
    /// Trials.
    pub n: u64,
    /// Those with full success.
    pub full: u64,
}

impl From<Trials> for (u64, u64) {
    fn from(trials: Trials) -> Self {
        (trials.n, trials.full)
    }
}

impl From<(u64, u64)> for Trials {
    fn from((n, full): (u64, u64)) -> Self {
        Self { n, full }
    }
}

impl Trials {
    /// Takes in a trial.
    pub fn add(&mut self, full: bool) {
        self.n += 1;
        self.full += u64::from(full);
    }

    /// Takes in other trials.
    pub(crate) fn add_all(&mut self, other: Self) {
        self.n += other.n;
        self.full += other.full;
    }

    fn rate(self) -> f64 {
        self.full.min(self.n) as f64 / self.n as f64
    }
}

/// One test on both sides; a side without a trial leaves it unmatched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pair {
    /// On the first side.
    pub first: Trials,
    /// On the second side.
    pub second: Trials,
    /// The task that other tests share, in other words the cluster; `None` stands alone.
    pub task: Option<u64>,
}

/// How the interval was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// McNemar's standard error.
    Normal,
    /// The exact binomial test, since few tests differ.
    Exact,
    /// The standard error clustered by task, since tasks were tried more than once.
    Clustered,
    /// Of a metric: means of each test, t with the standard error clustered by task.
    PairedT,
}

/// What the comparison says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The interval leaves out zero.
    Separated,
    /// The interval lies within ± [`TIE`].
    Tied,
    /// Neither: about so many more tests on both sides would decide it.
    More(u64),
}

/// The difference, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Success rate of the first less that of the second, −1 to 1.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// Its 95 % interval, within −1 to 1.
    pub interval: Interval,
    /// Two-sided p: of the exact test for single trials, else of t = value / error with one degree
    /// of freedom less than there are clusters. `None` where every cluster says the same.
    pub p: Option<f64>,
    /// How the interval was found.
    pub method: Method,
    /// What that means.
    pub verdict: Verdict,
}

/// Two sides compared.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Comparison {
    /// Matched trials: pairs.
    pub pairs: u64,
    /// Different tests among them.
    pub tests: u64,
    /// Pairs that only the first side passed; an expected number, with a fraction,
    /// where tests were tried more than once.
    pub only_first: f64,
    /// Pairs that only the second side passed.
    pub only_second: f64,
    /// Success rate of the first side over the pairs; 0 without any.
    pub first_rate: f64,
    /// Success rate of the second side over the pairs.
    pub second_rate: f64,
    /// Trials of the first side that have no partner.
    pub unmatched_first: u64,
    /// Trials of the second side that have no partner.
    pub unmatched_second: u64,
    /// The difference; `None` where nothing can be said: no pair, or several trials
    /// of a single task.
    pub difference: Option<Difference>,
}

/// Compares two sides test by test, or passes on why there are no more tests; those of a
/// task must come together. The formulas stand at the top of this file.
pub fn compare<E>(pairs: impl IntoIterator<Item = Result<Pair, E>>) -> Result<Comparison, E> {
    let mut sum = PairSum::default();
    for pair in pairs {
        sum.push(&pair?);
    }
    Ok(sum.finish())
}

/// A comparison while its tests come in.
#[derive(Debug, Clone, Default)]
pub struct PairSum {
    found: Comparison,
    first: f64,
    second: f64,
    clusters: Clusters,
    /// The task of the last tests, with their difference and weight.
    current: (Option<u64>, f64, f64),
    repeated: bool,
}

impl PairSum {
    /// Takes in a test; those of a task must come together.
    pub fn push(&mut self, pair: &Pair) {
        let Pair {
            first: a,
            second: b,
            task,
        } = *pair;
        let both = a.n.min(b.n);
        self.found.unmatched_first += a.n - both;
        self.found.unmatched_second += b.n - both;
        if both == 0 {
            return;
        }
        self.repeated |= a.n > 1 || b.n > 1;
        self.found.pairs += both;
        self.found.tests += 1;
        let (weight, p, q) = (both as f64, a.rate(), b.rate());
        self.found.only_first += weight * p * (1.0 - q);
        self.found.only_second += weight * q * (1.0 - p);
        self.first += weight * p;
        self.second += weight * q;
        let apart = weight * (p - q);
        if task.is_some() && task == self.current.0 {
            self.repeated = true;
            self.current = (task, self.current.1 + apart, self.current.2 + weight);
        } else {
            self.clusters.add(self.current.1, self.current.2);
            self.current = (task, apart, weight);
        }
    }

    /// The comparison.
    pub fn finish(mut self) -> Comparison {
        if self.found.pairs == 0 {
            return self.found;
        }
        self.clusters.add(self.current.1, self.current.2);
        let n = self.found.pairs as f64;
        self.found.first_rate = self.first / n;
        self.found.second_rate = self.second / n;
        self.found.difference = if self.repeated {
            self.clusters.difference((self.first - self.second) / n, n)
        } else {
            Some(matched(self.found.only_first, self.found.only_second, n))
        };
        self.found
    }
}

/// p-values as Holm adjusts them for their number (1979, Scandinavian Journal of Statistics 6,
/// 65–70), in the same order: the i-th smallest of m times m − i + 1, none below the one before.
pub fn holm(ps: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..ps.len()).collect();
    let p = |at: usize| ps.get(at).copied().unwrap_or(1.0);
    order.sort_by(|one, other| p(*one).total_cmp(&p(*other)));
    let mut adjusted = vec![1.0; ps.len()];
    let mut before: f64 = 0.0;
    for (rank, at) in order.into_iter().enumerate() {
        before = before.max((p(at) * (ps.len() - rank) as f64).min(1.0));
        if let Some(adjusted) = adjusted.get_mut(at) {
            *adjusted = before;
        }
    }
    adjusted
}

/// Sums over clusters of d², d·m and m², from which the clustered error follows.
#[derive(Debug, Clone, Default)]
struct Clusters {
    n: u64,
    dd: f64,
    dm: f64,
    mm: f64,
}

impl Clusters {
    /// Takes in a cluster, unless nothing is in it.
    fn add(&mut self, d: f64, m: f64) {
        self.n += u64::from(m > 0.0);
        self.dd += d * d;
        self.dm += d * m;
        self.mm += m * m;
    }

    fn difference(&self, value: f64, n: f64) -> Option<Difference> {
        if self.n < 2 {
            return None;
        }
        let c = self.n as f64;
        let squares = (self.dd - 2.0 * value * self.dm + value * value * self.mm).max(0.0);
        let error = (c / (c - 1.0) * squares).sqrt() / n;
        // Where every cluster says the same, only their number says how sure that is.
        let half = if error < 1e-12 {
            unseen(c)
        } else {
            t_95(c - 1.0) * error
        };
        let interval = within(value - half, value + half);
        let verdict = verdict(value, interval, n);
        Some(Difference {
            value,
            error,
            interval,
            p: (error >= 1e-12).then(|| p_of_t(value / error, c - 1.0)),
            method: Method::Clustered,
            verdict,
        })
    }
}

fn matched(b: f64, c: f64, n: f64) -> Difference {
    let (b, c) = (b.round(), c.round());
    let value = (b - c) / n;
    let error = (b + c - (b - c) * (b - c) / n).max(0.0).sqrt() / n;
    let discordant = b + c;
    let exact = (2.0 * at_most(b.min(c), discordant, 0.5)).min(1.0);
    let normal = within(value - Z95 * error, value + Z95 * error);
    let apart = normal.low > 0.0 || normal.high < 0.0;
    // Where the two disagree, the exact test decides.
    if discordant >= EXACT_BELOW && b.min(c) > 0.0 && apart == (exact < ALPHA) {
        let verdict = verdict(value, normal, n);
        return Difference {
            value,
            error,
            interval: normal,
            p: Some(exact),
            method: Method::Normal,
            verdict,
        };
    }
    let interval = if discordant > 0.0 {
        let share = clopper_pearson(b, discordant);
        let scale = |share: f64| (2.0 * share - 1.0) * discordant / n;
        within(scale(share.low), scale(share.high))
    } else {
        within(-unseen(n), unseen(n))
    };
    let verdict = verdict(value, interval, n);
    Difference {
        value,
        error,
        interval,
        p: Some(exact),
        method: Method::Exact,
        verdict,
    }
}

fn verdict(value: f64, interval: Interval, n: f64) -> Verdict {
    if interval.low > 0.0 || interval.high < 0.0 {
        return Verdict::Separated;
    }
    if interval.low >= -TIE && interval.high <= TIE {
        return Verdict::Tied;
    }
    // The half width that would leave out zero, or fit into a tie, whichever comes first.
    let needed = value.abs().max(TIE - value.abs());
    let half = (value - interval.low).max(interval.high - value);
    let all = if value == 0.0 && half <= unseen(n) * 1.000_001 {
        (ALPHA / 2.0).ln() / (1.0 - TIE).ln()
    } else {
        n * (half / needed).powi(2)
    };
    Verdict::More(((all - n).ceil() as u64).max(1))
}

fn within(low: f64, high: f64) -> Interval {
    Interval {
        low: low.clamp(-1.0, 1.0),
        high: high.clamp(-1.0, 1.0),
    }
}

/// The upper 97.5 % limit of a share that was never seen among n.
fn unseen(n: f64) -> f64 {
    1.0 - (ALPHA / 2.0).powf(1.0 / n)
}

/// The exact 95 % interval of `x` out of `n`.
fn clopper_pearson(x: f64, n: f64) -> Interval {
    let low = if x > 0.0 {
        solve(|p| 1.0 - at_most(x - 1.0, n, p) > ALPHA / 2.0)
    } else {
        0.0
    };
    let high = if x < n {
        solve(|p| at_most(x, n, p) <= ALPHA / 2.0)
    } else {
        1.0
    };
    Interval { low, high }
}

/// The probability from which on something holds.
fn solve(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    f64::midpoint(low, high)
}

/// P(X ≤ k) of n trials that succeed with probability p.
fn at_most(k: f64, n: f64, p: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    if k < 0.0 {
        return 0.0;
    }
    incomplete_beta(n - k, k + 1.0, 1.0 - p)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;

    fn compare(pairs: impl IntoIterator<Item = Pair>) -> Comparison {
        super::compare(pairs.into_iter().map(Ok::<_, Infallible>)).unwrap()
    }

    fn once(first: bool, second: bool) -> Pair {
        let trials = |full| Trials {
            n: 1,
            full: u64::from(full),
        };
        Pair {
            first: trials(first),
            second: trials(second),
            task: None,
        }
    }

    fn table(both: usize, b: usize, c: usize, neither: usize) -> Vec<Pair> {
        [
            (both, true, true),
            (b, true, false),
            (c, false, true),
            (neither, false, false),
        ]
        .into_iter()
        .flat_map(|(n, first, second)| std::iter::repeat_n(once(first, second), n))
        .collect()
    }

    fn close(found: f64, expected: f64, tolerance: f64) {
        assert!(
            (found - expected).abs() < tolerance,
            "{found} is not {expected}"
        );
    }

    #[test]
    fn agrees_with_published_figures() {
        // Agresti 2002, "Categorical Data Analysis", section 10.1: approval ratings,
        // 794, 86, 150, 570 of 1,600: difference 0.04, standard error 0.0095.
        let found = compare(table(794, 86, 150, 570));
        let difference = found.difference.unwrap();
        close(difference.value, -0.04, 1e-9);
        close(difference.error, 0.0095, 5e-5);
        close(difference.interval.low, -0.059, 5e-4);
        close(difference.interval.high, -0.021, 5e-4);
        assert_eq!(
            (difference.method, difference.verdict),
            (Method::Normal, Verdict::Separated)
        );
    }

    #[test]
    fn the_exact_test_decides_where_it_and_the_normal_one_disagree() {
        // 24 against 12: z = 12/√(36 − 144/200) = 2.02, but the exact p is 0.0652.
        let found = compare(table(100, 24, 12, 64)).difference.unwrap();
        assert_eq!(found.method, Method::Exact);
        close(found.p.unwrap(), 0.065_245_4, 1e-6);
        assert!(
            found.interval.low < 0.0 && matches!(found.verdict, Verdict::More(_)),
            "{found:?}"
        );
        // So many that 0.5ⁿ is not a number any more.
        let many = compare(table(0, 2_000, 1_800, 0)).difference.unwrap();
        assert_eq!(many.method, Method::Normal);
        close(many.p.unwrap(), 0.001_245, 5e-5);
    }

    #[test]
    fn many_comparisons_are_adjusted() {
        // As statsmodels.stats.multitest.multipletests(method="holm").
        let found = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in found.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            close(*found, expected, 1e-12);
        }
        assert_eq!(holm(&[0.6, 0.7]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    #[test]
    fn the_exact_test_decides_where_few_tests_differ() {
        // 2 against 21: p = 2·(1 + 23 + 253)/2²³.
        let found = compare(table(168, 2, 21, 13)).difference.unwrap();
        assert_eq!(
            (found.method, found.verdict),
            (Method::Exact, Verdict::Separated)
        );
        close(found.p.unwrap(), 2.0 * 277.0 / 8_388_608.0, 1e-12);
        // Clopper and Pearson's interval of 2 in 23 is 0.0107 to 0.2804.
        close(
            found.interval.low,
            (2.0 * 0.0107 - 1.0) * 23.0 / 204.0,
            2e-4,
        );
        close(
            found.interval.high,
            (2.0 * 0.2804 - 1.0) * 23.0 / 204.0,
            2e-4,
        );
        // 7 against 2: p = 2·(1 + 9 + 36)/2⁹ = 0.1797.
        let found = compare(table(20, 7, 2, 20)).difference.unwrap();
        close(found.p.unwrap(), 0.1797, 5e-5);
        assert!(
            matches!(found.verdict, Verdict::More(n) if n > 10),
            "{found:?}"
        );
    }

    #[test]
    fn real_pairs_of_two_models() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data");
        for (name, pairs, passes, discordant, method) in [
            (
                "routellm_mmlu_anatomy.csv",
                135,
                [89, 110],
                [5.0, 26.0],
                Method::Normal,
            ),
            (
                "routellm_mmlu_high_school_us_history.csv",
                204,
                [170, 189],
                [2.0, 21.0],
                Method::Exact,
            ),
        ] {
            let path = folder.join(name);
            let Ok(mut reader) = csv::Reader::from_path(&path) else {
                eprintln!("SKIPPED: {} is not there", path.display());
                continue;
            };
            let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
            let passed = |side: usize| rows.iter().filter(|row| &row[side] == "True").count();
            assert_eq!([passed(1), passed(2)], passes, "{name}");
            let found = compare(
                rows.iter()
                    .map(|row| once(&row[1] == "True", &row[2] == "True")),
            );
            assert_eq!(
                (found.pairs, [found.only_first, found.only_second]),
                (pairs, discordant),
                "{name}"
            );
            let difference = found.difference.unwrap();
            assert_eq!(
                (difference.method, difference.verdict),
                (method, Verdict::Separated)
            );
            close(
                difference.value,
                (discordant[0] - discordant[1]) / pairs as f64,
                1e-12,
            );
        }
    }

    #[test]
    fn trials_of_one_test_are_one_cluster() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../shared/data/tau_bench_gpt4o_airline.jsonl");
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("SKIPPED: {} is not there", path.display());
            return;
        };
        let mut tasks = std::collections::BTreeMap::<String, Pair>::new();
        for line in text.lines() {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let pair = tasks.entry(row["task_id"].to_string()).or_default();
            pair.first.add(row["reward"].as_f64().unwrap() >= 1.0);
            // Against one that fails everything, the difference is the rate itself.
            pair.second.add(false);
        }
        let found = compare(tasks.into_values());
        assert_eq!((found.pairs, found.tests), (200, 50));
        let difference = found.difference.unwrap();
        close(difference.value, 0.42, 1e-12);
        close(difference.error, 0.052_216, 5e-7);
        assert_eq!(difference.method, Method::Clustered);
    }

    #[test]
    fn few_clusters_are_judged_by_t() {
        let pair = |first: u64, second: u64| {
            let trials = |full| Trials { n: 10, full };
            Pair {
                first: trials(first),
                second: trials(second),
                task: None,
            }
        };
        // scipy.stats.ttest_1samp([0.3, 0.2, 0.5], 0): t = 3.779645, p = 0.063414.
        let found = compare([pair(7, 4), pair(6, 4), pair(9, 4)]);
        let difference = found.difference.unwrap();
        close(difference.error, 0.088_191_710, 1e-9);
        close(difference.p.unwrap(), 0.063_414_188, 1e-8);
        close(difference.interval.low, -0.046_124_970, 1e-8);
        assert!(matches!(difference.verdict, Verdict::More(_)));
    }

    #[test]
    fn tests_of_one_task_are_one_cluster_as_its_trials_are() {
        // Each of 40 tasks was tried in five cells, with the same end in all of them.
        let of_task = |task: u64| {
            let pair = once(task.is_multiple_of(4), task.is_multiple_of(5));
            std::iter::repeat_n(
                Pair {
                    task: Some(task),
                    ..pair
                },
                5,
            )
        };
        let cells = compare((0..40).flat_map(of_task));
        let trials = |full: bool| Trials {
            n: 5,
            full: 5 * u64::from(full),
        };
        let pair = |task: u64| Pair {
            first: trials(task.is_multiple_of(4)),
            second: trials(task.is_multiple_of(5)),
            task: None,
        };
        let trials = compare((0..40).map(pair));
        assert_eq!(
            (cells.tests, trials.tests, cells.pairs),
            (200, 40, trials.pairs)
        );
        let (cells, trials) = (cells.difference.unwrap(), trials.difference.unwrap());
        assert_eq!(cells.method, Method::Clustered);
        close(cells.error, trials.error, 1e-12);
        let single = compare((0..40).map(|task| Pair {
            task: Some(task),
            ..once(task.is_multiple_of(4), true)
        }));
        assert_ne!(
            single.difference.unwrap().method,
            Method::Clustered,
            "no task stands twice"
        );
    }

    #[test]
    fn tests_without_a_partner_are_counted_and_left_out() {
        let first = Pair {
            first: Trials { n: 3, full: 1 },
            ..Pair::default()
        };
        let second = Pair {
            first: Trials { n: 1, full: 1 },
            second: Trials { n: 2, full: 1 },
            task: None,
        };
        let found = compare([first, second]);
        assert_eq!(
            (found.pairs, found.unmatched_first, found.unmatched_second),
            (1, 3, 1)
        );
        assert_eq!(found.difference, None, "one test says nothing of others");
        assert_eq!(compare([]), Comparison::default());
    }

    #[test]
    fn agreement_is_a_tie_only_among_enough_tests() {
        let verdict = |n: usize| {
            compare(table(n / 2, 0, 0, n - n / 2))
                .difference
                .unwrap()
                .verdict
        };
        assert_eq!(verdict(10), Verdict::More(173));
        assert_eq!(verdict(183), Verdict::Tied);
        let repeated = |n: usize| {
            let trials = Trials { n: 4, full: 2 };
            compare(vec![
                Pair {
                    first: trials,
                    second: trials,
                    task: None
                };
                n
            ])
            .difference
            .unwrap()
            .verdict
        };
        assert!(matches!(repeated(20), Verdict::More(_)));
        assert_eq!(repeated(200), Verdict::Tied);
    }

    proptest! {
        #[test]
        fn turning_sides_turns_the_sign(
            both in 0_usize..40, b in 0_usize..40, c in 0_usize..40, neither in 0_usize..40,
        ) {
            let (one, other) = (compare(table(both, b, c, neither)), compare(table(both, c, b, neither)));
            prop_assert_eq!(one.difference.is_some(), both + b + c + neither > 0);
            if let (Some(one), Some(other)) = (one.difference, other.difference) {
                prop_assert!((one.value + other.value).abs() < 1e-9);
                prop_assert!((one.interval.low + other.interval.high).abs() < 1e-6);
                prop_assert!(one.interval.low <= one.value && one.value <= one.interval.high, "{:?}", one);
                let p = one.p.unwrap_or(0.5);
                prop_assert!((0.0..=1.0).contains(&p));
                if one.method == Method::Exact {
                    prop_assert_eq!(one.verdict == Verdict::Separated, p < ALPHA);
                }
            }
        }

        #[test]
        fn the_clustered_error_does_not_depend_on_the_order(
            mut tests in prop::collection::vec((1_u64..5, 0_u64..5, 1_u64..5, 0_u64..5), 2..30),
        ) {
            let pair = |&(n, full, m, other): &(u64, u64, u64, u64)| Pair {
                first: Trials { n, full: full.min(n) },
                second: Trials { n: m, full: other.min(m) },
                task: None,
            };
            let one = compare(tests.iter().map(pair));
            tests.reverse();
            let other = compare(tests.iter().map(pair));
            let (a, b) = (one.difference.unwrap(), other.difference.unwrap());
            prop_assert!((a.error - b.error).abs() < 1e-9 && (a.value - b.value).abs() < 1e-9);
        }
    }
}
