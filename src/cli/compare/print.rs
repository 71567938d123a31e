//! A comparison as text, JSON, Markdown and JUnit.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::gates::{Gates, Outcome};
use super::ranks::{Judged, Standing};
use crate::config::{show_count, show_counted};
use crate::formats::plot::forest::{self, Whisker};
use crate::stats::paired::{Difference, Method, Verdict};
use crate::store::Store;
use crate::store::read::query::contrast::Flip;
use crate::text::sanitise::sanitise;

/// What there is to say.
pub(super) struct Report<'a> {
    pub(super) column: &'a str,
    pub(super) standing: &'a Standing,
    /// Changed tests, and how many there are.
    pub(super) flipped: Option<&'a (Vec<Flip>, u64)>,
    pub(super) gates: &'a Gates,
    /// What did not count, a sentence each.
    pub(super) left_out: Vec<String>,
}

/// So many tests are distinguished by name in a report that people read.
const NAMED: usize = 50;

/// What makes two tests a pair.
const PAIRING: &str = "tests pair by task_id, or by test_id where they have none, within the same prompt type, \
     difficulty, task type and tool success rate; import with --map task_id=COLUMN names the tasks";

impl Report<'_> {
    fn name(&self, at: usize) -> String {
        sanitise(self.standing.name(at)).into_owned()
    }

    fn names(&self, judged: &Judged) -> [String; 2] {
        [self.name(judged.first), self.name(judged.second)]
    }

    pub(super) fn text(&self) -> String {
        let mut lines = match self.standing.judged.as_slice() {
            [only] => self.pair(only),
            _ => self.many(),
        };
        lines.extend(self.careful());
        if let Some((flips, count)) = self.flipped {
            lines.extend(self.flips(flips, *count));
        }
        for gate in &self.gates.0 {
            let (name, value) = (&gate.name, self.name(gate.value));
            lines.push(format!(
                "{}: {name} of {value}: {}",
                word(gate.outcome),
                gate.why
            ));
        }
        lines.join("\n") + "\n"
    }

    /// Two values in a few lines.
    fn pair(&self, judged: &Judged) -> Vec<String> {
        let [first, second] = &self.names(judged);
        let found = &judged.found;
        let mut lines = Vec::new();
        if found.pairs == 0 {
            lines.push(format!(
                "{first} and {second} have no test in common: {PAIRING}"
            ));
        } else {
            let tests = show_counted(found.tests, "test");
            let trials = if found.pairs == found.tests {
                String::new()
            } else {
                format!(", {}", show_counted(found.pairs, "trial"))
            };
            let metric = &self.standing.metric;
            let (one, other) = (
                metric.show(found.first_rate),
                metric.show(found.second_rate),
            );
            let what = if metric.is_success() {
                String::new()
            } else {
                format!("{}: ", metric.name)
            };
            lines.push(format!(
                "{what}{first} {one}, {second} {other} on {tests} that both had{trials}"
            ));
        }
        if let Some(difference) = &found.difference {
            let metric = &self.standing.metric;
            lines.push(format!(
                "difference {}, 95% interval {} to {} ({})",
                metric.difference(difference.value),
                metric.signed(difference.interval.low),
                metric.signed(difference.interval.high),
                method(difference),
            ));
        }
        if found.pairs > 0 {
            let (one, other) = (number(found.only_first), number(found.only_second));
            lines.push(if self.standing.metric.is_success() {
                format!("only {first} passed {one}, only {second} passed {other}")
            } else {
                format!("{first} is higher in {one}, {second} in {other}")
            });
        }
        if found.unmatched_first + found.unmatched_second > 0 {
            lines.push(format!(
                "without a partner: {} of {first}, {} of {second}",
                show_count(found.unmatched_first),
                show_count(found.unmatched_second)
            ));
        }
        lines.push(judged.words([first, second], &self.standing.metric));
        lines
    }

    /// Any number of values: a leaderboard, then the differences.
    fn many(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let order = self.order();
        let names: Vec<String> = order.iter().map(|at| self.name(*at)).collect();
        let wide = names
            .iter()
            .map(|name| crate::text::sanitise::width(name))
            .max()
            .unwrap_or(0);
        for (at, name) in order.iter().zip(&names) {
            let Some(own) = self.standing.contenders.get(*at) else {
                continue;
            };
            let rate = self.level(*at);
            let tests = show_counted(own.tally.tests, "test");
            let pad = wide - crate::text::sanitise::width(name);
            lines.push(format!(
                "{name}{:pad$}  {rate:>6}  {}  {tests}",
                "",
                self.place(*at)
            ));
        }
        lines.push(String::new());
        for judged in &self.standing.judged {
            let [first, second] = &self.names(judged);
            let found = match &judged.found.difference {
                Some(difference) => format!(
                    "{} ({} to {}){}",
                    self.standing.metric.difference(difference.value),
                    self.standing.metric.signed(difference.interval.low),
                    self.standing.metric.signed(difference.interval.high),
                    judged
                        .p
                        .map_or_else(String::new, |p| format!(", {}", p_value(p))),
                ),
                None => format!("{} in common", show_counted(judged.found.tests, "test")),
            };
            lines.push(format!(
                "{first} – {second}: {found}: {}",
                judged.words([first, second], &self.standing.metric)
            ));
        }
        if self.standing.judged.iter().all(|own| own.found.pairs == 0) {
            lines.push(format!("no test in common: {PAIRING}"));
        } else if self.standing.judged.len() > 1 {
            lines.push(format!(
                "p-values are adjusted for {} comparisons (Holm)",
                self.standing.judged.len()
            ));
        }
        lines
    }

    /// Places in the order in which they are shown: the best first.
    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.standing.contenders.len()).collect();
        let level = |at: &usize| {
            let level = self.standing.level(*at);
            level.map_or(f64::NEG_INFINITY, |level| self.standing.metric.gain(level))
        };
        order.sort_by(|one, other| level(other).total_cmp(&level(one)));
        order
    }

    fn level(&self, at: usize) -> String {
        let level = self.standing.level(at);
        level.map_or_else(|| "–".to_owned(), |level| self.standing.metric.show(level))
    }

    fn place(&self, at: usize) -> String {
        if self.standing.baseline.is_some() {
            return if self.standing.baseline == Some(at) {
                "baseline"
            } else {
                "        "
            }
            .to_owned();
        }
        let (best, worst) = self.standing.rank(at);
        match (best, worst) {
            (1, 1) => "best".to_owned(),
            (1, worst) => format!("best, or tied with the best (rank 1–{worst})"),
            (best, worst) if best == worst => format!("rank {best}"),
            (best, worst) => format!("rank {best}–{worst}"),
        }
    }

    /// What makes a verdict doubtful.
    fn careful(&self) -> Vec<String> {
        let line = |(at, own): (usize, &crate::store::read::query::contrast::Contender)| {
            let lost = self.standing.silent(at);
            (lost * 5 > own.tally.tests).then(|| {
                format!(
                    "careful: {} of the {} of {} are unscored or lost to the infrastructure, and left out",
                    show_count(lost),
                    show_counted(own.tally.tests, "test"),
                    self.name(at)
                )
            })
        };
        self.standing
            .contenders
            .iter()
            .enumerate()
            .filter_map(line)
            .collect()
    }

    fn flips(&self, flips: &[Flip], count: u64) -> Vec<String> {
        let Some(judged) = self.standing.judged.first() else {
            return Vec::new();
        };
        let [first, second] = self.names(judged);
        let mut lines = vec![format!("{} ended otherwise:", show_counted(count, "test"))];
        for flip in flips.iter().take(NAMED) {
            let [one, other] = flip.rates;
            let (passed, note, log) = if one > other {
                (&first, flip.notes.last(), flip.logs.last())
            } else {
                (&second, flip.notes.first(), flip.logs.first())
            };

            let cell = if flip.cell.is_empty() {
                String::new()
            } else {
                format!(" ({})", flip.cell)
            };
            let note = note.filter(|note| !note.is_empty());
            let note = note.map_or_else(String::new, |note| format!(": {note}"));
            let log = log.filter(|log| !log.is_empty());
            let log = log.map_or_else(String::new, |log| format!(", log {log}"));
            let line = format!("  {}{cell}: only {passed} passed{note}{log}", flip.test);
            lines.push(sanitise(&line).into_owned());
        }
        let more = count.saturating_sub(flips.len().min(NAMED) as u64);
        if more > 0 {
            lines.push(format!(
                "  and {} more: --format json has them",
                show_count(more)
            ));
        }
        lines
    }

    /// Each difference with its interval, as SVG.
    pub(super) fn plot(&self, store: &Store) -> String {
        let metric = &self.standing.metric;
        let whisker = |judged: &Judged| {
            let [first, second] = self.names(judged);
            let difference = judged.found.difference.as_ref();
            let found = difference.map(|of| (of.value, [of.interval.low, of.interval.high]));
            let value = difference.map_or_else(|| "–".to_owned(), |of| metric.signed(of.value));
            Whisker {
                label: format!("{first} – {second}"),
                found,
                significant: judged.significant,
                figures: format!("{value}, n = {}", show_count(judged.found.tests)),
            }
        };
        let whiskers: Vec<Whisker> = self.standing.judged.iter().map(whisker).collect();
        let title = format!(
            "difference in {} by {}, 95 % intervals",
            metric.name, self.column
        );
        let tests = self.standing.contenders.iter().map(|own| own.tally.tests);
        let below = crate::cli::query::below(store, tests.sum());
        forest::render(&whiskers, &title, &below, |value| metric.signed(value))
    }

    pub(super) fn json(&self) -> Value {
        let standing = self.standing;
        let comparisons: Vec<Value> = standing
            .judged
            .iter()
            .map(|judged| Value::Object(self.comparison(judged)))
            .collect();
        let values: Vec<Value> = standing
            .contenders
            .iter()
            .enumerate()
            .map(|(at, own)| {
                let (best, worst) = standing.rank(at);
                let mut value = json!({
                    "value": own.value, "tests": own.tally.tests, "success": own.tally.full,
                    "unscored": own.tally.unscored, "infrastructure": own.tally.infrastructure(),
                    "success_rate": own.tally.success_rate(), "baseline": standing.baseline == Some(at),
                    "rank_best": best, "rank_worst": worst, "best_or_tied": standing.best().contains(&at),
                });
                if let (Some(Some(mean)), Value::Object(value)) = (standing.means.get(at), &mut value) {
                    value.insert("n".to_owned(), json!(mean.n));
                    value.insert("mean".to_owned(), json!(mean.mean));
                    value.insert("standard_error".to_owned(), json!(mean.error));
                    value.insert("ci_low".to_owned(), json!(mean.interval.map(|own| own.low)));
                    value.insert("ci_high".to_owned(), json!(mean.interval.map(|own| own.high)));
                }
                value
            })
            .collect();
        let gates: Vec<Value> = self
            .gates
            .0
            .iter()
            .map(|gate| {
                json!({
                    "gate": gate.name, "value": standing.name(gate.value),
                    "outcome": word(gate.outcome), "why": gate.why,
                })
            })
            .collect();
        let mut all = Map::new();
        all.insert("schema_version".to_owned(), json!(1));
        all.insert("left_out".to_owned(), json!(self.left_out));
        all.insert("by".to_owned(), json!(self.column));
        let metric = &self.standing.metric;
        let range = metric.range.map(|(low, high)| [low, high]);
        all.insert(
            "metric".to_owned(),
            json!({"name": metric.name, "better": metric.better, "range": range}),
        );
        // Of two values the comparison stands at the top.
        match standing.judged.as_slice() {
            [only] => all.extend(self.comparison(only)),
            _ => {
                all.insert("comparisons".to_owned(), json!(comparisons));
            }
        }
        all.insert("values".to_owned(), json!(values));
        if !gates.is_empty() {
            all.insert("gates".to_owned(), json!(gates));
        }
        if let Some((flips, count)) = self.flipped {
            let flips: Vec<Value> = flips
                .iter()
                .map(|flip| {
                    json!({
                        "test": flip.test, "cell": flip.cell, "first_rate": flip.rates.first(),
                        "second_rate": flip.rates.last(), "first_note": flip.notes.first(),
                        "second_note": flip.notes.last(), "first_log": flip.logs.first(),
                        "second_log": flip.logs.last(),
                    })
                })
                .collect();
            all.insert(
                "flipped".to_owned(),
                json!({"count": count, "tests": flips}),
            );
        }
        Value::Object(all)
    }

    fn comparison(&self, judged: &Judged) -> Map<String, Value> {
        let found = &judged.found;
        let difference = found.difference.map(|difference| {
            let (verdict, more) = match difference.verdict {
                Verdict::Separated => ("separated", None),
                Verdict::Tied => ("tied", None),
                Verdict::More(tests) => ("undecided", Some(tests)),
            };
            let method = match difference.method {
                Method::Normal => "normal",
                Method::Exact => "exact",
                Method::Clustered => "clustered",
                Method::PairedT => "paired_t",
            };
            json!({
                "value": difference.value, "standard_error": difference.error,
                "ci_low": difference.interval.low, "ci_high": difference.interval.high,
                "p": difference.p, "p_adjusted": judged.p, "significant": judged.significant,
                "method": method, "verdict": verdict, "more_tests": more,
            })
        });
        let (first, second) = (
            self.standing.name(judged.first),
            self.standing.name(judged.second),
        );
        let mut all = json!({
            "first": first, "second": second, "pairs": found.pairs, "tests": found.tests,
            "first_rate": found.first_rate, "second_rate": found.second_rate,
            "only_first": found.only_first, "only_second": found.only_second,
            "unmatched_first": found.unmatched_first, "unmatched_second": found.unmatched_second,
            "difference": difference, "in_words": judged.words([first, second], &self.standing.metric),
        });
        let Value::Object(all) = &mut all else {
            return Map::new();
        };
        if !self.standing.metric.is_success() {
            for (rate, mean) in [
                ("first_rate", "first_mean"),
                ("second_rate", "second_mean"),
                ("only_first", "first_higher"),
                ("only_second", "second_higher"),
            ] {
                if let Some(value) = all.remove(rate) {
                    all.insert(mean.to_owned(), value);
                }
            }
        }
        std::mem::take(all)
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        let cell = |text: &str| crate::formats::markdown::escape(text);
        // Writing to a string can't fail.
        let _ = writeln!(
            text,
            "| {} | tests | {} | rank |\n| --- | ---: | ---: | --- |",
            cell(self.column),
            cell(&self.standing.metric.name)
        );
        for at in self.order() {
            let Some(own) = self.standing.contenders.get(at) else {
                continue;
            };
            let rate = self.level(at);
            let _ = writeln!(
                text,
                "| {} | {} | {rate} | {} |",
                cell(&self.name(at)),
                own.tally.tests,
                self.place(at).trim()
            );
        }
        let _ = writeln!(
            text,
            "\n| compared | {} | 95 % interval | p | verdict |\n| --- | ---: | --- | ---: | --- |",
            if self.standing.metric.is_success() {
                "points"
            } else {
                "difference"
            }
        );
        for judged in &self.standing.judged {
            let [first, second] = &self.names(judged);
            let (points, interval) = match &judged.found.difference {
                Some(difference) => (
                    self.standing.metric.signed(difference.value),
                    format!(
                        "{} to {}",
                        self.standing.metric.signed(difference.interval.low),
                        self.standing.metric.signed(difference.interval.high)
                    ),
                ),
                None => ("–".to_owned(), "–".to_owned()),
            };
            let p = judged.p.map_or_else(
                || "–".to_owned(),
                |p| {
                    p_value(p)
                        .trim_start_matches("p = ")
                        .trim_start_matches("p ")
                        .to_owned()
                },
            );
            let _ = writeln!(
                text,
                "| {} – {} | {points} | {interval} | {} | {} |",
                cell(first),
                cell(second),
                cell(&p),
                cell(&judged.words([first, second], &self.standing.metric))
            );
        }
        let mut lines = self.careful();
        if let Some((flips, count)) = self.flipped {
            lines.extend(self.flips(flips, *count));
        }
        for gate in &self.gates.0 {
            lines.push(format!(
                "{}: {} of {}: {}",
                word(gate.outcome),
                gate.name,
                self.name(gate.value),
                gate.why
            ));
        }
        if !lines.is_empty() {
            text.push('\n');
        }
        for line in lines {
            let _ = writeln!(text, "- {}", cell(line.trim()));
        }
        text
    }

    /// A test case for each gate, or for each comparison where there is none.
    pub(super) fn junit(&self) -> String {
        let mut cases = String::new();
        let (mut failures, mut errors, mut tests) = (0, 0, 0);
        let mut case = |name: &str, outcome: Outcome, why: &str| {
            tests += 1;
            let (name, why) = (xml(name), xml(why));
            let inner = match outcome {
                Outcome::Passed => format!("<system-out>{why}</system-out>"),
                Outcome::Failed => {
                    failures += 1;
                    format!("<failure message=\"{why}\"/>")
                }
                Outcome::Undecided => {
                    errors += 1;
                    format!("<error message=\"{why}\"/>")
                }
            };
            let _ = writeln!(
                cases,
                "    <testcase classname=\"evaltop.compare\" name=\"{name}\">{inner}</testcase>"
            );
        };
        if self.gates.0.is_empty() {
            for judged in &self.standing.judged {
                let [first, second] = &self.names(judged);
                case(
                    &format!("{first} – {second}"),
                    Outcome::Passed,
                    &judged.words([first, second], &self.standing.metric),
                );
            }
        }
        for gate in &self.gates.0 {
            case(
                &format!("{} {}", gate.name, self.name(gate.value)),
                gate.outcome,
                &gate.why,
            );
        }
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite name=\"evaltop compare by {}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\">\n{cases}  </testsuite>\n</testsuites>\n",
            xml(self.column)
        )
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "passed",
        Outcome::Failed => "failed",
        Outcome::Undecided => "undecided",
    }
}

/// Text for an attribute or an element; what XML 1.0 can't hold was made visible before.
fn xml(text: &str) -> String {
    sanitise(text)
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

fn p_value(p: f64) -> String {
    if p < 0.001 {
        "p < 0.001".to_owned()
    } else {
        format!("p = {p:.3}")
    }
}

fn method(difference: &Difference) -> String {
    let how = match difference.method {
        Method::Exact => "exact",
        Method::Clustered => "clustered by task",
        Method::PairedT => "paired t, clustered by task",
        Method::Normal => "paired",
    };
    difference
        .p
        .map_or_else(|| how.to_owned(), |p| format!("{how}, {}", p_value(p)))
}

/// Whole where it is.
fn number(value: f64) -> String {
    if value.fract().abs() < 1e-9 {
        show_count(value as u64)
    } else {
        format!("{value:.1}")
    }
}
