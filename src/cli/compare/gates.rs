//! Verdicts for CI: passed, failed, or not to be decided.

use super::CompareArgs;
use super::ranks::Standing;
use crate::cli::Exit;

/// How a gate ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    Undecided,
}

/// One gate for one value.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// The option.
    pub(super) name: String,
    pub(super) value: usize,
    pub(super) outcome: Outcome,
    /// Why, in words.
    pub(super) why: String,
}

/// All gates of a comparison.
#[derive(Debug, Clone, Default)]
pub(super) struct Gates(pub(super) Vec<Gate>);

impl Gates {
    pub(super) fn judge(args: &CompareArgs, standing: &Standing) -> Self {
        let mut gates = Vec::new();
        for judged in &standing.judged {
            let value = judged.first;
            let mut gate = |name: String, outcome: Option<bool>, why: String| {
                let outcome = match outcome {
                    Some(true) => Outcome::Failed,
                    Some(false) => Outcome::Passed,
                    None => Outcome::Undecided,
                };
                let why = if outcome == Outcome::Undecided {
                    "nothing can be said: too few scored tests in common".to_owned()
                } else {
                    why
                };
                gates.push(Gate {
                    name,
                    value,
                    outcome,
                    why,
                });
            };
            let names = [standing.name(judged.first), standing.name(judged.second)];
            // Where most tests of a side were lost, the rest is not a verdict.
            let heard = [judged.first, judged.second].into_iter().all(|at| {
                let own = standing.contenders.get(at);
                own.is_none_or(|own| standing.silent(at) * 2 <= own.tally.tests)
            });
            let points = judged.gain(&standing.metric).filter(|_| heard);
            if args.fail_if_worse {
                let worse = points.map(|points| judged.significant && points < 0.0);
                gate(
                    "--fail-if-worse".to_owned(),
                    worse,
                    judged.words(names, &standing.metric),
                );
            }
            if let Some(most) = args.max_drop {
                let unit = if standing.metric.is_success() {
                    100.0
                } else {
                    1.0
                };
                let dropped = points.map(|points| points * unit < -most);
                let found = judged.found.difference.map_or(0.0, |own| own.value);
                let why = standing.metric.difference(found);
                gate(format!("--max-drop {most}"), dropped, why);
            }
        }
        let limits = [
            ("--fail-under", args.fail_under, -1.0),
            ("--fail-over", args.fail_over, 1.0),
        ];
        for (name, limit, side) in limits {
            let Some(limit) = limit else { continue };
            for value in 0..standing.contenders.len() {
                if standing.baseline == Some(value) {
                    continue;
                }
                let level = standing.level(value);
                gates.push(Gate {
                    name: format!("{name} {limit}"),
                    value,
                    outcome: match level {
                        Some(level) if (level - limit) * side > 0.0 => Outcome::Failed,
                        Some(_) => Outcome::Passed,
                        None => Outcome::Undecided,
                    },
                    why: level.map_or_else(
                        || "nothing can be said: no scored test".to_owned(),
                        |level| {
                            let what = if standing.metric.is_success() {
                                "success rate".to_owned()
                            } else {
                                format!("mean {}", standing.metric.name)
                            };
                            format!("{what} {}", standing.metric.show(level))
                        },
                    ),
                });
            }
        }
        Self(gates)
    }

    /// 30 where one failed, else 1 where one could not be decided.
    pub(super) fn exit(&self) -> Exit {
        let any = |outcome| self.0.iter().any(|gate| gate.outcome == outcome);
        if any(Outcome::Failed) {
            Exit::Gate
        } else if any(Outcome::Undecided) {
            Exit::Failed
        } else {
            Exit::Ok
        }
    }
}
