//! Who is better than whom, and which places that leaves.

use crate::stats::metric::Metric;
use crate::stats::paired::{Comparison, HARDLY, Verdict, holm};
use crate::store::read::query::contrast::{Contender, Contrast, Mean};

/// The level of all comparisons together.
const LEVEL: f64 = 0.05;

/// A comparison and what it comes to among the others.
#[derive(Debug, Clone)]
pub(super) struct Judged {
    pub(super) first: usize,
    pub(super) second: usize,
    pub(super) found: Comparison,
    /// p, adjusted for the number of comparisons.
    pub(super) p: Option<f64>,
    /// Whether the sides differ at 5 %, all comparisons together.
    pub(super) significant: bool,
}

impl Judged {
    /// The difference, positive where the first is better; `None` where nothing can be said.
    pub(super) fn gain(&self, metric: &Metric) -> Option<f64> {
        self.found
            .difference
            .map(|difference| metric.gain(difference.value))
    }

    /// The verdict in plain words.
    pub(super) fn words(&self, [first, second]: [&str; 2], metric: &Metric) -> String {
        let Some(difference) = self.found.difference else {
            return "undecided: too few tests in common".to_owned();
        };
        if self.significant {
            let better = if metric.gain(difference.value) > 0.0 {
                first
            } else {
                second
            };
            return format!("significant at 5 %: {better} is better");
        }
        match difference.verdict {
            Verdict::Separated => {
                "no significant difference, adjusted for the number of comparisons".to_owned()
            }
            Verdict::Tied => format!("no significant difference ({})", metric.within()),
            Verdict::More(HARDLY..) => {
                "no significant difference: further tests would hardly show one".to_owned()
            }
            Verdict::More(tests) => format!(
                "no significant difference: about {} needed",
                crate::config::show_counted(tests, "more test")
            ),
        }
    }
}

/// All values with their comparisons.
#[derive(Debug)]
pub(super) struct Standing {
    /// What is compared.
    pub(super) metric: Metric,
    /// Means of the values, where it is not the success rate.
    pub(super) means: Vec<Option<Mean>>,
    pub(super) contenders: Vec<Contender>,
    /// With a baseline each value against it, the value first; else every pair.
    pub(super) judged: Vec<Judged>,
    pub(super) baseline: Option<usize>,
    /// Best and worst place of each value, 1 being the best.
    pub(super) ranks: Vec<(usize, usize)>,
}

impl Standing {
    pub(super) fn new(
        metric: Metric,
        contenders: Vec<Contender>,
        contrasts: Vec<Contrast>,
        baseline: Option<usize>,
    ) -> Self {
        let wanted = contrasts.into_iter().filter_map(|contrast| match baseline {
            Some(base) if contrast.second == base => Some((contrast.first, base, contrast.found)),
            Some(base) if contrast.first == base => {
                Some((contrast.second, base, turned(contrast.found)))
            }
            Some(_) => None,
            None => Some((contrast.first, contrast.second, contrast.found)),
        });
        let wanted: Vec<(usize, usize, Comparison)> = wanted.collect();
        let p = |found: &Comparison| found.difference.and_then(|difference| difference.p);
        let there: Vec<f64> = wanted.iter().filter_map(|(.., found)| p(found)).collect();
        let mut adjusted = holm(&there).into_iter();
        let judged: Vec<Judged> = wanted
            .into_iter()
            .map(|(first, second, found)| {
                let separated = found
                    .difference
                    .is_some_and(|difference| difference.verdict == Verdict::Separated);
                let p = p(&found).and_then(|_| adjusted.next());
                Judged {
                    first,
                    second,
                    p,
                    significant: separated && p.is_none_or(|p| p < LEVEL),
                    found,
                }
            })
            .collect();
        let ranks = (0..contenders.len())
            .map(|at| {
                let count = |better: bool| {
                    let is = |own: &&Judged| {
                        let points = own.gain(&metric).unwrap_or_default();
                        own.significant
                            && ((own.first == at && (points < 0.0) == better)
                                || (own.second == at && (points > 0.0) == better))
                    };
                    judged.iter().filter(is).count()
                };
                (1 + count(true), contenders.len() - count(false))
            })
            .collect();
        Self {
            metric,
            means: vec![None; contenders.len()],
            contenders,
            judged,
            baseline,
            ranks,
        }
    }

    /// What a value comes to: its success rate, or the mean of its metric.
    pub(super) fn level(&self, at: usize) -> Option<f64> {
        if self.metric.is_success() {
            return self.contenders.get(at)?.tally.success_rate();
        }
        self.means.get(at)?.as_ref().map(|own| own.mean)
    }

    /// Tests that say nothing about a value: not measured, or lost to the infrastructure.
    pub(super) fn silent(&self, at: usize) -> u64 {
        let Some(tally) = self.contenders.get(at).map(|own| &own.tally) else {
            return 0;
        };
        let heard = match self.means.get(at) {
            Some(Some(mean)) => mean.n,
            _ if self.metric.is_success() => tally.scored(),
            _ => 0,
        };
        tally.tests.saturating_sub(heard)
    }

    pub(super) fn name(&self, at: usize) -> &str {
        self.contenders.get(at).map_or("", |own| &own.value)
    }

    pub(super) fn rank(&self, at: usize) -> (usize, usize) {
        self.ranks.get(at).copied().unwrap_or((1, 1))
    }

    /// Those that no other is significantly better than.
    pub(super) fn best(&self) -> Vec<usize> {
        (0..self.contenders.len())
            .filter(|at| self.rank(*at).0 == 1)
            .collect()
    }

    /// Both values, where there are two: the one that is measured first.
    pub(super) fn sides(&self) -> Option<[String; 2]> {
        match self.judged.as_slice() {
            [only] => Some([
                self.name(only.first).to_owned(),
                self.name(only.second).to_owned(),
            ]),
            _ => None,
        }
    }
}

/// The same with its sides exchanged.
fn turned(found: Comparison) -> Comparison {
    let difference = found.difference.map(|mut difference| {
        difference.value = -difference.value;
        let (low, high) = (difference.interval.low, difference.interval.high);
        difference.interval.low = -high;
        difference.interval.high = -low;
        difference
    });
    Comparison {
        only_first: found.only_second,
        only_second: found.only_first,
        first_rate: found.second_rate,
        second_rate: found.first_rate,
        unmatched_first: found.unmatched_second,
        unmatched_second: found.unmatched_first,
        difference,
        ..found
    }
}
