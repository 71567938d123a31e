//! `status --format prometheus`: the text exposition format 0.0.4, for a textfile
//! collector. Every sample carries the store, so that several stores can share one
//! collector. What is not known has no sample.

use std::fmt::Write as _;

use strum::IntoEnumIterator;

use super::forms::age;
use crate::health::{Severity, worst};
use crate::observation::spending::SpendingView;
use crate::observation::{Observation, WriterState};
use crate::stats::Tally;
use crate::stats::interval::Interval;

/// The observation as metrics. All are gauges: a newer attempt at a test can lower
/// any of them.
pub(crate) fn render(seen: &Observation) -> String {
    let mut page = Page {
        text: String::new(),
        store: escape(&seen.store.to_string_lossy()),
    };
    let severity = worst(&seen.alerts);
    page.one(
        "health",
        "0 healthy, 1 warning, 2 critical",
        Some(f64::from(severity as u8)),
    );
    let alerts = [Severity::Warning, Severity::Critical].map(|severity| {
        let name = if severity == Severity::Warning {
            "warning"
        } else {
            "critical"
        };
        let count = seen
            .alerts
            .iter()
            .filter(|alert| alert.severity == severity)
            .count();
        (name.to_owned(), Some(count as f64))
    });
    page.many("alerts", "Alerts by severity", "severity", alerts);
    page.one(
        "disk_free_bytes",
        "Free bytes on the store's file system",
        seen.disk.map(|(free, _)| free as f64),
    );
    page.one(
        "disk_total_bytes",
        "Size of the store's file system",
        seen.disk.map(|(_, total)| total as f64),
    );
    if seen.has_figures() {
        figures(&mut page, seen);
    }
    page.text
}

fn figures(page: &mut Page, seen: &Observation) {
    let (main, waiting) = (&seen.main, &seen.waiting);
    let totals = tally(&seen.totals, seen.interval());
    let count = |value: u64| Some(value as f64);
    page.one(
        "generation",
        "Number of the last commit",
        count(main.generation),
    );
    page.one("main_rows", "Rows in main", count(main.rows));
    page.one("main_bytes", "Size of main", count(main.bytes));
    page.one(
        "increment_files",
        "Pending increments",
        count(waiting.increments),
    );
    page.one(
        "increment_bytes",
        "Size of the pending increments",
        count(waiting.increment_bytes),
    );
    page.one(
        "increment_rows",
        "Rows of the pending increments",
        count(waiting.increment_rows),
    );
    page.one(
        "increments_in_progress",
        "Increments that are being written",
        count(waiting.in_progress),
    );
    page.one(
        "increments_unreadable",
        "Increments that can't be read",
        count(waiting.unreadable),
    );
    page.one(
        "journal_files",
        "Journals without an increment",
        count(waiting.journals),
    );
    page.one(
        "journal_rows",
        "Acknowledged rows in journals",
        count(waiting.journal_rows),
    );
    page.one(
        "oldest_waiting_seconds",
        "How long the oldest pending row has waited",
        waiting.oldest.map(|time| age(seen, time)),
    );
    page.one(
        "superseded",
        "Attempts replaced by newer ones",
        count(seen.superseded),
    );
    page.one(
        "repeated",
        "Identical rows seen again",
        count(seen.repeated),
    );
    page.one(
        "rows_per_minute",
        "Rows a minute, lately",
        Some(seen.per_minute),
    );
    if let Some(view) = &seen.spending {
        money(page, view);
    }
    for (name, help, value) in totals {
        page.one(name, help, value);
    }
    let writers = WriterState::iter().map(|state| {
        let name: &'static str = state.into();
        let count = seen
            .writers
            .iter()
            .filter(|writer| writer.state == state)
            .count();
        (name.to_owned(), Some(count as f64))
    });
    page.many("writers", "Writers by state", "state", writers);
    let by_model: Vec<_> = seen
        .models
        .iter()
        .map(|model| (model, tally(&model.tally, model.interval())))
        .collect();
    for (index, (name, help, _)) in totals.into_iter().enumerate() {
        let samples = by_model.iter().map(|(model, values)| {
            (
                model.model.clone(),
                values.get(index).and_then(|(.., value)| *value),
            )
        });
        page.many(
            &format!("model_{name}"),
            &format!("{help}, by model"),
            "model",
            samples,
        );
    }
    page.many(
        "model_rows_per_minute",
        "Rows a minute, lately, by model",
        "model",
        seen.models
            .iter()
            .map(|model| (model.model.clone(), Some(model.per_minute))),
    );
}

fn money(page: &mut Page, view: &SpendingView) {
    page.one(
        "cost_dollars",
        "What the tests cost, billed and derived",
        view.all.dollars(),
    );
    let derived = view.all.derived;
    page.one(
        "cost_derived_dollars",
        "Of this, what prices make of tokens",
        (derived.n > 0).then(|| crate::stats::money::dollars(derived.billionths)),
    );
    page.one(
        "cost_forecast_dollars",
        "What they cost when the plan is done",
        view.forecast,
    );
    page.one("budget_dollars", "What they may cost", view.limit);
    page.one(
        "tokens",
        "Tokens, reasoning as a part of the output",
        Some(view.all.tokens as f64),
    );
    page.one(
        "tests_without_cost",
        "Tests that neither a bill nor a price is known of",
        Some(view.all.unknown() as f64),
    );
    let by_model = view.models.iter();
    page.many(
        "model_cost_dollars",
        "What the tests cost, billed and derived, by model",
        "model",
        by_model.map(|(model, spent)| (model.clone(), spent.dollars())),
    );
}

/// Name, help and value of everything that a group of tests has.
fn tally(
    tally: &Tally,
    interval: Option<Interval>,
) -> [(&'static str, &'static str, Option<f64>); 11] {
    let count = |value: u64| Some(value as f64);
    [
        ("tests", "Tests, newest attempts only", count(tally.tests)),
        ("success", "Tests with full success", count(tally.full)),
        (
            "partial",
            "Tests with partial success",
            count(tally.partial),
        ),
        ("failed", "Tests without success", count(tally.failed())),
        ("unscored", "Tests without a verdict", count(tally.unscored)),
        (
            "infrastructure",
            "Tests lost to the infrastructure",
            count(tally.infrastructure()),
        ),
        (
            "success_rate",
            "Full successes per test with a verdict, 0 to 1",
            tally.success_rate(),
        ),
        (
            "scored_rate",
            "The same without infrastructure errors",
            tally.scored_rate(),
        ),
        (
            "success_rate_ci_low",
            "Lower end of the 95 % interval",
            interval.map(|found| found.low),
        ),
        (
            "success_rate_ci_high",
            "Upper end of the 95 % interval",
            interval.map(|found| found.high),
        ),
        (
            "mean_execution_seconds",
            "Mean execution time",
            tally.execution_time.mean(),
        ),
    ]
}

struct Page {
    text: String,
    store: String,
}

impl Page {
    fn one(&mut self, name: &str, help: &str, value: Option<f64>) {
        let Some(value) = value else { return };
        self.head(name, help);
        let store = &self.store;
        let _ = writeln!(self.text, "evaltop_{name}{{store=\"{store}\"}} {value}");
    }

    fn many(
        &mut self,
        name: &str,
        help: &str,
        label: &str,
        samples: impl IntoIterator<Item = (String, Option<f64>)>,
    ) {
        let mut headed = false;
        for (which, value) in samples {
            let Some(value) = value else { continue };
            if !headed {
                self.head(name, help);
                headed = true;
            }
            let (store, which) = (&self.store, escape(&which));
            let _ = writeln!(
                self.text,
                "evaltop_{name}{{store=\"{store}\",{label}=\"{which}\"}} {value}"
            );
        }
    }

    fn head(&mut self, name: &str, help: &str) {
        let _ = writeln!(
            self.text,
            "# HELP evaltop_{name} {help}\n# TYPE evaltop_{name} gauge"
        );
    }
}

/// A label's value, as the exposition format escapes it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::cli::status::forms::sample;

    #[test]
    fn is_valid_exposition_format() {
        let text = render(&sample::busy());
        assert!(text.ends_with('\n'));
        let mut typed = BTreeSet::new();
        let mut current = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                current = rest.strip_suffix(" gauge").unwrap();
                assert!(
                    typed.insert(current),
                    "{current} twice: the samples of a metric belong together"
                );
            } else if !line.starts_with("# HELP ") {
                let (name, rest) = line.split_once('{').unwrap();
                assert_eq!(name, current);
                let (labels, value) = rest.rsplit_once("} ").unwrap();
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(
                    labels.starts_with("store=\"/runs/pilot_bench_parquet_data\""),
                    "{line}"
                );
            }
        }
        assert!(typed.contains("evaltop_model_success_rate"));
    }

    #[test]
    fn labels_are_escaped_and_unknown_values_left_out() {
        let text = render(&sample::busy());
        assert!(
            text.contains("model=\"evil\u{1b}[31m \\\"m\\\\odel\\\"\\n#[fg=red]\"} 12400\n"),
            "{text}"
        );
        assert!(text.contains("model=\"模型\"} 0\n"));
        assert_eq!(
            text.matches("evaltop_model_success_rate{").count(),
            1,
            "none for a model without tests"
        );
        let torn = render(&sample::torn());
        assert!(torn.contains("evaltop_health{store=\"/runs/torn\"} 2\n"));
        assert!(!torn.contains("evaltop_tests"));
    }
}
