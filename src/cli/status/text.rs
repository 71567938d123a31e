//! `status --format text`: for people, the screen's figures without the screen.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::forms::age;
use crate::config::{show_count, show_counted, show_duration, show_size};
use crate::health::{Severity, worst};
use crate::observation::{MainKind, ModelView, Observation, WriterState};
use crate::stats::interval::Interval;
use crate::stats::money;
use crate::text::numbers::{count, dollars};
use crate::text::sanitise::{sanitise, width};
use crate::text::width::{left_middle, truncate_front, wrap};

/// Columns of a page that is not for a terminal.
const PAGE: usize = 80;
/// Columns before the figures.
const MARGIN: usize = 10;
/// Names of models are cut to no less before columns are left out.
const NAME: usize = 20;

/// The sign of a health, distinguished without colour.
pub(crate) fn symbol(severity: Severity) -> &'static str {
    match severity {
        Severity::Healthy => "✓",
        Severity::Warning => "▲",
        Severity::Critical => "✗",
    }
}

/// The observation as a short page, times in `zone`. On a terminal nothing is wider than
/// its `columns`; elsewhere the figures fit 80, and paths and alerts are one line each.
pub(crate) fn render(seen: &Observation, zone: &TimeZone, columns: Option<usize>) -> String {
    let mut page = Page {
        text: String::new(),
        columns: columns.unwrap_or(PAGE),
    };
    let health = worst(&seen.alerts);
    let name = match health {
        Severity::Healthy => "HEALTHY",
        Severity::Warning => "WARNING",
        Severity::Critical => "CRITICAL",
    };
    let store = sanitise(&seen.store.to_string_lossy()).into_owned();
    let store = columns.map_or(store.clone(), |columns| {
        truncate_front(&store, columns.saturating_sub(MARGIN))
    });
    // One piece, whatever its length.
    page.say(format_args!("{:1$} {store}", "store", MARGIN - 1));
    page.line("health", [format!("{} {name}", symbol(health))]);
    page.line(
        "only",
        seen.only_session
            .iter()
            .map(|id| format!("session {}", sanitise(id))),
    );
    if seen.has_figures() {
        figures(&mut page, seen, zone);
    }
    if !seen.alerts.is_empty() {
        page.text.push('\n');
    }
    for alert in &seen.alerts {
        let message = match columns {
            Some(columns) => wrap(&alert.message, columns.saturating_sub(2)).join("\n  "),
            None => sanitise(&alert.message).into_owned(),
        };
        page.say(format_args!("{} {message}", symbol(alert.severity)));
    }
    page.text
}

/// The page as far as it is written.
struct Page {
    text: String,
    columns: usize,
}

impl Page {
    fn say(&mut self, line: impl std::fmt::Display) {
        // Writing to a string can't fail.
        let _ = writeln!(self.text, "{line}");
    }

    /// A name and what there is to say, in as many lines as that needs; nothing where
    /// there is nothing.
    fn line(&mut self, name: &str, parts: impl IntoIterator<Item = String>) {
        let mut line = format!("{name:<width$}", width = MARGIN - 1);
        let mut empty = true;
        let room = self.columns.saturating_sub(MARGIN);
        for part in parts.into_iter().flat_map(|part| wrap(&part, room)) {
            if !empty && width(&line) + 3 + width(&part) > self.columns {
                self.say(&line);
                line = " ".repeat(MARGIN - 1);
                empty = true;
            }
            line.push_str(if empty { " " } else { "   " });
            line.push_str(&part);
            empty = false;
        }
        if !empty {
            self.say(line);
        }
    }
}

fn figures(page: &mut Page, seen: &Observation, zone: &TimeZone) {
    let (main, waiting) = (&seen.main, &seen.waiting);
    let mut tests = vec![show_count(seen.totals.tests)];
    if let Some(rate) = seen.totals.success_rate() {
        let partial = seen.totals.share(seen.totals.partial).unwrap_or(0.0);
        let interval = spread(seen.interval()).map(|interval| format!(" (95% CI {interval})"));
        tests.push(format!(
            "{} full{}",
            percent(rate),
            interval.unwrap_or_default()
        ));
        tests.push(format!("{} partial", percent(partial)));
    }
    if let Some((view, mean)) = seen
        .metric
        .as_ref()
        .and_then(|view| Some((view, view.mean?)))
    {
        tests.push(format!(
            "mean {} {}",
            view.metric.name,
            view.metric.show(mean)
        ));
    }
    if seen.totals.unscored > 0 {
        tests.push(format!("{} unscored", show_count(seen.totals.unscored)));
    }
    page.line("tests", tests);
    if let (lost @ 1.., Some(rate)) = (seen.totals.infrastructure(), seen.totals.scored_rate()) {
        let lost = show_counted(lost, "infrastructure error");
        page.line("infra", [format!("{} full without {lost}", percent(rate))]);
    }
    page.line(
        "rate",
        [format!("{} a minute", pace(seen.per_minute, PAGE))],
    );
    let naive = Some(&seen.zone).filter(|zone| zone.naive > 0);
    page.line(
        "zone",
        naive.map(|zone| {
            let rows = show_counted(zone.naive, "time");
            format!(
                "{rows} without a zone read as {}, {}",
                zone.name,
                zone.from.whose()
            )
        }),
    );
    let kind = match main.kind {
        MainKind::Empty => "no rows yet".to_owned(),
        MainKind::Records => show_counted(main.rows, "row"),
        MainKind::Summaries => show_counted(main.rows, "summary row"),
        MainKind::Mixed => format!("{}, summaries among them", show_counted(main.rows, "row")),
    };
    let mut there = vec![kind, show_size(main.bytes)];
    there.extend(
        main.committed
            .map(|time| format!("generation {}, {}", main.generation, local(time, zone))),
    );
    page.line("main", there);
    let mut waits = vec![
        format!(
            "{}, {}, {}",
            show_counted(waiting.increments, "increment"),
            show_size(waiting.increment_bytes),
            show_counted(waiting.increment_rows, "row"),
        ),
        format!(
            "{}, {}",
            show_counted(waiting.journals, "journal"),
            show_counted(waiting.journal_rows, "row")
        ),
    ];
    waits.extend(
        waiting
            .oldest
            .map(|oldest| format!("oldest {}", show_duration(age(seen, oldest)))),
    );
    page.line("pending", waits);
    let counts = [
        (seen.superseded, "retried"),
        (seen.repeated, "repeated"),
        (waiting.in_progress, "being written"),
        (waiting.unreadable, "unreadable"),
    ];
    page.line("besides", there_are(counts));
    let writers = [
        WriterState::Live,
        WriterState::Lost,
        WriterState::Failed,
        WriterState::Stalled,
        WriterState::Silent,
        WriterState::Idle,
        WriterState::Ended,
        WriterState::Finished,
        WriterState::Unknown,
    ];
    page.line(
        "writers",
        there_are(writers.map(|state| {
            let count = seen
                .writers
                .iter()
                .filter(|writer| writer.state == state)
                .count();
            (count as u64, <&'static str>::from(state))
        })),
    );
    let sources = seen.sources.iter().map(|note| {
        let age = note.at.map_or_else(
            || "never".to_owned(),
            |at| format!("{} ago", show_duration(age(seen, at))),
        );
        format!("{}: {age}", note.name)
    });
    page.line("sources", sources);
    page.line("session", session(seen, zone));
    page.line("cost", money(seen));
    models(page, &seen.models);
}

/// "finished", "2,000 of 2,000", "until 2026-01-31 12:31".
fn session(seen: &Observation, zone: &TimeZone) -> Vec<String> {
    let Some(session) = &seen.session else {
        return Vec::new();
    };
    let mut parts = vec![<&str>::from(session.state).to_owned()];
    if let Some(planned) = session.planned {
        let (done, planned) = (show_count(session.done), show_count(planned));
        parts.push(format!("{done} of {planned}"));
    }
    parts.extend(
        session
            .began
            .map(|began| format!("since {}", local(began, zone))),
    );
    parts.extend(
        session
            .ended
            .map(|ended| format!("until {}", local(ended, zone))),
    );
    if let Some((running, longest)) = seen.in_flight() {
        let age = show_duration(age(seen, longest.since));
        parts.push(format!("{} in flight, longest {age}", show_count(running)));
    }
    parts
}

/// "$14.20", "$0.02 a success", "$23.40 at the end", "budget $50.00".
fn money(seen: &Observation) -> Vec<String> {
    let Some(view) = &seen.spending else {
        return Vec::new();
    };
    let mut parts = Vec::new();
    if let Some(total) = view.all.dollars() {
        parts.push(dollars(total));
        let derived = view.all.derived;
        if derived.n > 0 {
            parts.push(format!(
                "{} of it derived",
                dollars(money::dollars(derived.billionths))
            ));
        }
        parts.extend(
            view.all
                .per_pass()
                .map(|each| format!("{} a success", dollars(each))),
        );
    }
    parts.extend(
        view.per_hour
            .map(|rate| format!("{} an hour", dollars(rate))),
    );
    parts.extend(
        view.forecast
            .map(|end| format!("{} at the end", dollars(end))),
    );
    parts.extend(
        view.retried
            .map(|cost| format!("≈ {} retried", dollars(cost))),
    );
    parts.extend(view.limit.map(|limit| format!("budget {}", dollars(limit))));
    if view.all.unpriced > 0 {
        let tests = show_counted(view.all.unpriced, "test");
        parts.push(format!("{tests} without a price"));
    }
    parts
}

/// "11 live", "1 quiet": those that are not zero.
fn there_are<const N: usize>(counts: [(u64, &'static str); N]) -> impl Iterator<Item = String> {
    let there = counts.into_iter().filter(|(count, _)| *count > 0);
    there.map(|(count, what)| format!("{} {what}", show_count(count)))
}

/// A column of figures about models.
struct Column {
    title: &'static str,
    width: usize,
    show: fn(&ModelView) -> String,
    /// Whether it says anything of a model.
    shown_if: fn(&ModelView) -> bool,
}

const fn always(_: &ModelView) -> bool {
    true
}

/// As they stand on the page.
const COLUMNS: [Column; 7] = [
    Column {
        title: "FULL",
        width: 8,
        show: |model| model.tally.success_rate().map_or("–".to_owned(), percent),
        shown_if: always,
    },
    Column {
        title: "MEAN",
        width: 8,
        show: |model| {
            let mean = model.measured.map(|own| format!("{:.3}", own.mean));
            mean.unwrap_or_default()
        },
        shown_if: |model| model.measured.is_some(),
    },
    Column {
        title: "95% CI",
        width: 10,
        show: |model| spread(model.interval()).unwrap_or_default(),
        shown_if: always,
    },
    Column {
        title: "PARTIAL",
        width: 9,
        show: partial,
        shown_if: |model| model.tally.partial > 0,
    },
    Column {
        title: "TESTS",
        width: 9,
        show: |model| show_count(model.tally.tests),
        shown_if: always,
    },
    Column {
        title: "/MIN",
        width: 7,
        show: |model| pace(model.per_minute, 6),
        shown_if: |model| model.per_minute > 0.0,
    },
    Column {
        title: "INFRA",
        width: 7,
        show: |model| show_count(model.tally.infrastructure()),
        shown_if: |model| model.tally.infrastructure() > 0,
    },
];

/// Titles in the order in which columns are left out where there is no room.
const LEAST_FIRST: [&str; 4] = ["/MIN", "PARTIAL", "INFRA", "95% CI"];

fn models(page: &mut Page, models: &[ModelView]) {
    if models.is_empty() {
        return;
    }
    let widest = models
        .iter()
        .map(|model| width(&sanitise(&model.model)))
        .max()
        .unwrap_or(0);
    let widest = widest.max("MODEL".len());
    let measured = models.iter().any(|model| model.measured.is_some());
    let mut columns: Vec<&Column> = COLUMNS
        .iter()
        .filter(|column| column.title != "MEAN" || measured)
        .collect();
    let room = |columns: &[&Column]| {
        page.columns
            .saturating_sub(columns.iter().map(|column| column.width).sum::<usize>())
    };
    // First what says nothing here, so that names stay whole; then what says least.
    for title in LEAST_FIRST {
        if room(&columns) < widest {
            columns.retain(|column| column.title != title || models.iter().any(column.shown_if));
        }
    }
    for title in LEAST_FIRST {
        if room(&columns) < widest.min(NAME) {
            columns.retain(|column| column.title != title);
        }
    }
    let names = widest.min(room(&columns));
    let row = |name: &str, cell: &dyn Fn(&Column) -> String| {
        let mut line = left_middle(name, names);
        for column in &columns {
            // Writing to a string can't fail.
            let _ = write!(line, "{:>1$}", cell(column), column.width);
        }
        line
    };
    page.say(format_args!(
        "\n{}",
        row("MODEL", &|column| column.title.to_owned())
    ));
    for model in models {
        page.say(row(&model.model, &|column| (column.show)(model)));
    }
}

fn partial(model: &ModelView) -> String {
    let tally = &model.tally;
    tally.share(tally.partial).map_or("–".to_owned(), percent)
}

/// Rows a minute in at most `cells`.
fn pace(rate: f64, cells: usize) -> String {
    if rate < 999.95 {
        format!("{rate:.1}")
    } else {
        count(rate.round() as u64, cells)
    }
}

fn percent(rate: f64) -> String {
    format!("{:.1}%", rate * 100.0)
}

/// "75–80": the ends of the interval in per cent.
fn spread(interval: Option<Interval>) -> Option<String> {
    interval.map(|found| format!("{:.0}–{:.0}", found.low * 100.0, found.high * 100.0))
}

fn local(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone())
        .strftime("%Y-%m-%d %H:%M %Z")
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::forms::sample;

    #[test]
    fn a_busy_store() {
        insta::assert_snapshot!(render(&sample::busy(), &TimeZone::UTC, None), @r###"
        store     /runs/pilot_bench_parquet_data
        health    ▲ WARNING
        tests     12,400   50.0% full (95% CI 49–51)   10.0% partial
        infra     51.7% full without 400 infrastructure errors
        rate      41.3 a minute
        main      10,452 rows   3.1 MiB   generation 7, 2026-01-31 11:50 UTC
        pending   104 increments, 12.4 MiB, 1,978 rows   3 journals, 12 rows
                  oldest 14m
        besides   24 retried   2 repeated   1 being written
        writers   1 stalled

        MODEL                           FULL    95% CI  PARTIAL    TESTS   /MIN  INFRA
        evil�[31m "m\odel" #[fg=red]   50.0%     49–51    10.0%   12,400    4.1    400
        模型                               –                  –        0    0.0      0

        ▲ node7:48213 (evil�[31m "m\odel" #[fg=red]) stalled for 6m, process alive
        ▲ 104 pending increments (limit 100): consolidate
        "###);
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        for seen in [sample::busy(), sample::torn()] {
            for columns in [20, 40, 60, 80, 200] {
                let page = render(&seen, &TimeZone::UTC, Some(columns));
                for line in page.lines().filter(|_| columns >= 40) {
                    assert!(width(line) <= columns, "{columns}: {line}");
                }
                assert!(
                    page.contains("pilot_bench_parquet_data")
                        || columns < 40
                        || !seen.has_figures()
                );
            }
        }
        let models = |columns| {
            let page = render(&sample::busy(), &TimeZone::UTC, Some(columns));
            page.lines()
                .skip_while(|line| !line.starts_with("MODEL"))
                .take(2)
                .collect::<Vec<_>>()
                .join("\n")
        };
        insta::assert_snapshot!(models(40), @r###"
        MODEL                      FULL    TESTS
        evil�[31m "m… #[fg=red]   50.0%   12,400
        "###);
        assert!(models(68).contains("95% CI") && models(68).contains("INFRA"));
        assert!(!models(68).contains("/MIN"), "what tells least goes first");
    }

    #[test]
    fn great_rates_have_grouped_digits_and_fit() {
        let mut seen = sample::busy();
        seen.per_minute = 17_884.0;
        seen.models[0].per_minute = 1_234_567.0;
        let page = render(&seen, &TimeZone::UTC, None);
        assert!(
            page.contains("rate      17,884 a minute\n") && page.contains("12,400  1.23M    400"),
            "{page}"
        );
    }

    #[test]
    fn a_store_that_cannot_be_read_shows_no_figures() {
        insta::assert_snapshot!(render(&sample::torn(), &TimeZone::UTC, None), @r###"
        store     /runs/torn
        health    ✗ CRITICAL

        ✗ test_results.parquet can't be read as Parquet
        "###);
    }

    #[test]
    fn an_empty_store() {
        let seen = Observation {
            store: "/runs/new".into(),
            ..Observation::default()
        };
        insta::assert_snapshot!(render(&seen, &TimeZone::UTC, None), @r###"
        store     /runs/new
        health    ✓ HEALTHY
        tests     0
        rate      0.0 a minute
        main      no rows yet   0 B
        pending   0 increments, 0 B, 0 rows   0 journals, 0 rows
        "###);
    }
}
