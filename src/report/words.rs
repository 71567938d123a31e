//! Figures and sentences as people read them, shared by HTML and Markdown.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::data::{Model, Report};
use crate::observation::spending::Spent;
use crate::stats::interval::Interval;
use crate::stats::metric::Metric;
use crate::stats::paired::{Comparison, Verdict};
use crate::store::read::query::GroupValue;
use crate::text::sanitise::sanitise;

/// Characters of a name or text that are shown.
const LONGEST: usize = 80;

/// Text of others: control and direction characters made harmless, long ones cut.
pub(super) fn name(text: &str) -> String {
    cut(text, LONGEST)
}

/// The beginning of a message, for a row of a table.
pub(super) fn snippet(text: &str) -> String {
    cut(text, 2 * LONGEST)
}

/// The same for sentences and messages.
pub(super) fn prose(text: &str) -> String {
    cut(text, 10 * LONGEST)
}

fn cut(text: &str, longest: usize) -> String {
    let text = sanitise(text);
    if text.chars().count() <= longest {
        return text.into_owned();
    }
    text.chars().take(longest - 1).chain(['…']).collect()
}

/// A value of the metric.
pub(super) fn value(metric: &Metric, value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| metric.show(value))
}

pub(super) fn interval(metric: &Metric, interval: Option<Interval>) -> String {
    interval.map_or_else(String::new, |own| {
        if metric.is_success() {
            return format!("{:.0}–{:.0}%", own.low * 100.0, own.high * 100.0);
        }
        format!("{}–{}", metric.show(own.low), metric.show(own.high))
    })
}

/// What the metric is called at the head of a column.
pub(super) fn heading(metric: &Metric) -> String {
    if metric.is_success() {
        return "Success".to_owned();
    }
    name(&metric.name)
}

pub(super) fn dollars(cost: Option<f64>) -> String {
    match cost {
        Some(cost) if cost != 0.0 && cost.abs() < 0.01 => format!("${cost:.4}"),
        Some(cost) => format!("${cost:.2}"),
        None => "–".to_owned(),
    }
}

/// A difference, without its unit.
pub(super) fn difference(metric: &Metric, found: &Comparison) -> String {
    let difference = found.difference;
    difference.map_or_else(|| "–".to_owned(), |own| metric.signed(own.value))
}

pub(super) fn range(metric: &Metric, found: &Comparison) -> String {
    found.difference.map_or_else(String::new, |own| {
        let (low, high) = (own.interval.low, own.interval.high);
        format!("{} to {}", metric.signed(low), metric.signed(high))
    })
}

pub(super) fn p(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.001 => "< 0.001".to_owned(),
        Some(p) => format!("{p:.3}"),
        None => "–".to_owned(),
    }
}

pub(super) fn is_apart(found: &Comparison) -> bool {
    found
        .difference
        .is_some_and(|own| own.verdict == Verdict::Separated)
}

pub(super) fn date(micros: i64, report: &Report) -> String {
    Timestamp::from_microsecond(micros).map_or_else(
        |_| String::new(),
        |time| {
            time.to_zoned(report.zone())
                .strftime("%Y-%m-%d %H:%M")
                .to_string()
        },
    )
}

pub(super) fn rank(model: &Model) -> String {
    match model.ranks {
        (best, worst) if best == worst => best.to_string(),
        (best, worst) => format!("{best}–{worst}"),
    }
}

/// The three sentences that most readers want.
pub(super) fn sentences(report: &Report) -> Vec<String> {
    let mut all = Vec::new();
    let metric = &report.request.metric;
    let of = if metric.is_success() {
        String::new()
    } else {
        format!(" a mean {} of", heading(metric))
    };
    let ranked = report.ranked();
    let best: Vec<&Model> = ranked
        .into_iter()
        .filter(|model| model.ranks.0 == 1 && model.rate.is_some())
        .collect();
    match best.as_slice() {
        [] if metric.is_success() => all.push("No test has a verdict yet.".to_owned()),
        [] => all.push(format!("No test has a value of {}.", heading(metric))),
        [only] if report.models.len() == 1 => {
            let verb = if of.is_empty() { "succeeds in" } else { "has" };
            all.push(format!(
                "{} {verb}{of} {}.",
                name(&only.contender.value),
                value(metric, only.rate)
            ));
        }
        [only] => all.push(format!(
            "{} is best, with{of} {} (95 % interval {}).",
            name(&only.contender.value),
            value(metric, only.rate),
            interval(metric, only.interval)
        )),
        [first, others @ ..] => {
            let listed: Vec<String> = others
                .iter()
                .take(4)
                .map(|own| name(&own.contender.value))
                .collect();
            let more = others.len().saturating_sub(listed.len());
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            all.push(format!(
                "{} is best or tied with the best, with{of} {}; no significant difference to {}{more}.",
                name(&first.contender.value),
                value(metric, first.rate),
                listed.join(", ")
            ));
        }
    }
    if let Some(found) = &report.overall {
        all.push(match found.difference {
            None => "Against the baseline nothing can be said: too few tests in common.".to_owned(),
            Some(own) => {
                let tied = format!(
                    "As good as the baseline {}",
                    metric.within().replace('±', "")
                );
                let verdict = match own.verdict {
                    Verdict::Separated if metric.gain(own.value) > 0.0 => {
                        "Better than the baseline"
                    }
                    Verdict::Separated => "Worse than the baseline",
                    Verdict::Tied => &tied,
                    Verdict::More(_) => "No significant difference to the baseline",
                };
                format!(
                    "{verdict}: {} (95 % interval {}, p {}).",
                    metric.difference(own.value),
                    range(metric, found),
                    p(own.p)
                )
            }
        });
    }
    let mut spent = Spent::default();
    report.models.iter().for_each(|own| spent.add(&own.spent));
    match spent.dollars() {
        None => all.push("The rows bring no cost.".to_owned()),
        Some(total) => {
            let each = spent.per_pass().map_or_else(String::new, |each| {
                format!(", {} a success", dollars(Some(each)))
            });
            let derived = spent.derived;
            let derived = if derived.n > 0 {
                let part = crate::stats::money::dollars(derived.billionths);
                format!("; {} of it derived from prices", dollars(Some(part)))
            } else {
                String::new()
            };
            all.push(format!("It cost {}{each}{derived}.", dollars(Some(total))));
        }
    }
    all
}

/// What a link to a log may point to: an address, or a path below the report's folder.
pub(super) fn target(log: &str) -> Option<String> {
    let log = log.trim();
    let lower = log.to_ascii_lowercase();
    if lower.starts_with("https://") || lower.starts_with("http://") {
        return Some(log.to_owned());
    }
    let path = log.split('#').next().unwrap_or_default();
    let is_below = !path.is_empty()
        && !path.starts_with(['/', '\\'])
        && !path.contains(':')
        && !path.split(['/', '\\']).any(|part| part == "..");
    is_below.then(|| log.to_owned())
}

/// A `data:` link to a CSV.
struct Link(String);

impl Link {
    fn new() -> Self {
        Self("data:text/csv;charset=utf-8,".to_owned())
    }

    fn put(&mut self, text: &str) {
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.,".contains(&byte) {
                self.0.push(byte as char);
            } else {
                // Writing to a string can't fail.
                let _ = write!(self.0, "%{byte:02X}");
            }
        }
    }

    /// A text in quotes; what a spreadsheet would take for a formula stays text.
    fn quoted(&mut self, text: &str) {
        let own = name(text);
        let guard = if own.starts_with(['=', '+', '-', '@']) {
            "'"
        } else {
            ""
        };
        self.put(&format!("\"{guard}{}\"", own.replace('"', "\"\"")));
    }
}

fn figure(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// Every cell as a CSV `data:` link.
pub(super) fn cells(report: &Report) -> String {
    let mut link = Link::new();
    link.put("model,prompt_type,tool_success_rate,difficulty,task_type,tests,success,unscored,infrastructure,success_rate,ci_low,ci_high\n");
    for group in &report.cells {
        for value in &group.values {
            match value {
                GroupValue::Text(text) => link.quoted(text),
                GroupValue::Rate(rate) => link.put(&figure(*rate)),
            }
            link.put(",");
        }
        let (tally, range) = (&group.tally, group.interval());
        link.put(&format!(
            "{},{},{},{},{},{},{}\n",
            tally.tests,
            tally.full,
            tally.unscored,
            tally.infrastructure(),
            figure(tally.success_rate()),
            figure(range.map(|own| own.low)),
            figure(range.map(|own| own.high)),
        ));
    }
    link.0
}

/// The leaderboard as a CSV `data:` link.
pub(super) fn csv(report: &Report) -> String {
    let mut link = Link::new();
    let metric = &report.request.metric;
    link.put("model,tests,success,unscored,infrastructure,");
    if metric.is_success() {
        link.put("success_rate");
    } else {
        link.quoted(&format!("mean_{}", metric.name));
    }
    link.put(",ci_low,ci_high,cost\n");
    for model in &report.models {
        let tally = &model.contender.tally;
        link.quoted(&model.contender.value);
        link.put(&format!(
            ",{},{},{},{},{},{},{},{}\n",
            tally.tests,
            tally.full,
            tally.unscored,
            tally.infrastructure(),
            figure(model.rate),
            figure(model.interval.map(|own| own.low)),
            figure(model.interval.map(|own| own.high)),
            figure(model.spent.dollars())
        ));
    }
    link.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_paths_below_are_links() {
        for log in ["https://h/x", "HTTP://h", "logs/a.eval#7", "a.json"] {
            assert_eq!(target(log).as_deref(), Some(log));
        }
        for log in [
            "javascript:alert(1)",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "file:///x",
            "data:x",
            "",
            "\\\\host\\x",
        ] {
            assert_eq!(target(log), None, "{log}");
        }
    }
}
