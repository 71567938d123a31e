//! `status --format text`: for people, the screen's figures without the screen.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::age;
use crate::config::{show_count, show_counted, show_duration, show_size};
use crate::formats::text::{sanitise, truncate, width};
use crate::health::{Severity, worst};
use crate::observation::{MainKind, ModelView, Observation, WriterState};
use crate::stats::{Tally, interval};

/// Columns for the names of models.
const NAME: usize = 36;

/// The sign of a health, told apart without colour.
pub(super) fn symbol(severity: Severity) -> &'static str {
    match severity {
        Severity::Healthy => "✓",
        Severity::Warning => "▲",
        Severity::Critical => "✗",
    }
}

/// The observation as a short page, times in `zone`.
pub(in crate::cli) fn render(seen: &Observation, zone: &TimeZone) -> String {
    let mut page = String::new();
    let health = worst(&seen.alerts);
    let name = match health {
        Severity::Healthy => "HEALTHY",
        Severity::Warning => "WARNING",
        Severity::Critical => "CRITICAL",
    };
    line(&mut page, "store", &sanitise(&seen.store.to_string_lossy()));
    line(&mut page, "health", &format!("{} {name}", symbol(health)));
    if seen.has_figures() {
        figures(&mut page, seen, zone);
    }
    if !seen.alerts.is_empty() {
        page.push('\n');
    }
    for alert in &seen.alerts {
        let _ = writeln!(page, "{} {}", symbol(alert.severity), sanitise(&alert.message));
    }
    page
}

fn line(page: &mut String, name: &str, text: &str) {
    let _ = writeln!(page, "{name:<9} {text}");
}

fn figures(page: &mut String, seen: &Observation, zone: &TimeZone) {
    let (main, waiting) = (&seen.main, &seen.waiting);
    let mut tests = show_count(seen.totals.tests);
    if let Some(rate) = seen.totals.success_rate() {
        let partial = seen.totals.partial as f64 / seen.totals.tests as f64;
        let _ = write!(tests, "   {} full", percent(rate));
        if let Some(interval) = spread(&seen.totals) {
            let _ = write!(tests, " (95% CI {interval})");
        }
        let _ = write!(tests, "   {} partial", percent(partial));
    }
    line(page, "tests", &tests);
    if let (lost @ 1.., Some(rate)) = (seen.totals.infrastructure(), seen.totals.scored_rate()) {
        let lost = show_count(lost);
        line(page, "scored", &format!("{} full without {lost} infrastructure errors", percent(rate)));
    }
    line(page, "rate", &format!("{:.1} a minute", seen.per_minute));
    let kind = match main.kind {
        MainKind::Empty => "no rows yet".to_owned(),
        MainKind::Records => format!("{} rows", show_count(main.rows)),
        MainKind::Summaries => format!("{} summary rows", show_count(main.rows)),
        MainKind::Mixed => format!("{} rows, summaries among them", show_count(main.rows)),
    };
    let committed =
        main.committed.map(|time| format!("   generation {}, {}", main.generation, local(time, zone)));
    line(page, "main", &format!("{kind}   {}{}", show_size(main.bytes), committed.unwrap_or_default()));
    let mut waits = format!(
        "{}, {}, {}   {}, {}",
        show_counted(waiting.increments, "increment"),
        show_size(waiting.increment_bytes),
        show_counted(waiting.increment_rows, "row"),
        show_counted(waiting.journals, "journal"),
        show_counted(waiting.journal_rows, "row"),
    );
    if let Some(oldest) = waiting.oldest {
        let _ = write!(waits, "   oldest {}", show_duration(age(seen, oldest)));
    }
    line(page, "waiting", &waits);
    let counts = [
        (seen.superseded, "superseded"),
        (seen.repeated, "repeated"),
        (waiting.in_progress, "being written"),
        (waiting.unreadable, "unreadable"),
    ];
    list(page, "besides", counts);
    let writers =
        [WriterState::Live, WriterState::Quiet, WriterState::Done, WriterState::Gone, WriterState::Unknown];
    list(
        page,
        "writers",
        writers.map(|state| {
            let count = seen.writers.iter().filter(|writer| writer.state == state).count();
            (count as u64, <&'static str>::from(state))
        }),
    );
    models(page, &seen.models);
}

/// "11 live   1 quiet"; nothing where all are zero.
fn list<const N: usize>(page: &mut String, name: &str, counts: [(u64, &str); N]) {
    let there: Vec<String> = counts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", show_count(*count)))
        .collect();
    if !there.is_empty() {
        line(page, name, &there.join("   "));
    }
}

fn models(page: &mut String, models: &[ModelView]) {
    if models.is_empty() {
        return;
    }
    let names: Vec<_> =
        models.iter().map(|model| truncate(&sanitise(&model.model), NAME).into_owned()).collect();
    let widest = names.iter().map(|name| width(name)).max().unwrap_or(0).max("MODEL".len());
    let gap = " ".repeat(widest - "MODEL".len());
    let _ = writeln!(page, "\nMODEL{gap}    FULL    95% CI  PARTIAL    TESTS   /MIN  INFRA");
    for (name, model) in names.iter().zip(models) {
        let tally = &model.tally;
        let partial = (tally.tests > 0).then(|| tally.partial as f64 / tally.tests as f64);
        let _ = writeln!(
            page,
            "{name}{}  {:>6}  {:>8}  {:>7}  {:>7}  {:>5.1}  {:>5}",
            " ".repeat(widest - width(name)),
            tally.success_rate().map_or("–".to_owned(), percent),
            spread(tally).unwrap_or_default(),
            partial.map_or("–".to_owned(), percent),
            show_count(tally.tests),
            model.per_minute,
            show_count(tally.infrastructure()),
        );
    }
}

fn percent(rate: f64) -> String {
    format!("{:.1}%", rate * 100.0)
}

/// "75–80": the ends of the interval in per cent.
fn spread(tally: &Tally) -> Option<String> {
    let found = interval::wilson(tally.full, tally.tests)?;
    Some(format!("{:.0}–{:.0}", found.low * 100.0, found.high * 100.0))
}

fn local(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::report::sample;

    #[test]
    fn a_busy_store() {
        insta::assert_snapshot!(render(&sample::busy(), &TimeZone::UTC), @r###"
        store     /runs/pilot_bench_parquet_data
        health    ▲ WARNING
        tests     12,400   50.0% full (95% CI 49–51)   10.0% partial
        scored    51.7% full without 400 infrastructure errors
        rate      41.3 a minute
        main      10,452 rows   3.1 MiB   generation 7, 2026-01-31 11:50
        waiting   104 increments, 12.4 MiB, 1,978 rows   3 journals, 12 rows   oldest 14m
        besides   24 superseded   2 repeated   1 being written
        writers   1 quiet

        MODEL                           FULL    95% CI  PARTIAL    TESTS   /MIN  INFRA
        evil�[31m "m\odel" #[fg=red]   50.0%     49–51    10.0%   12,400    4.1    400
        模型                               –                  –        0    0.0      0

        ▲ writer 48213 (evil�[31m "m\odel" #[fg=red]) quiet 6m, process alive
        ▲ 104 increments wait (limit 100): consolidate
        "###);
    }

    #[test]
    fn a_store_that_cannot_be_read_shows_no_figures() {
        insta::assert_snapshot!(render(&sample::torn(), &TimeZone::UTC), @r###"
        store     /runs/torn
        health    ✗ CRITICAL

        ✗ test_results.parquet can't be read as Parquet
        "###);
    }

    #[test]
    fn an_empty_store() {
        let seen = Observation { store: "/runs/new".into(), ..Observation::default() };
        insta::assert_snapshot!(render(&seen, &TimeZone::UTC), @r###"
        store     /runs/new
        health    ✓ HEALTHY
        tests     0
        rate      0.0 a minute
        main      no rows yet   0 B
        waiting   0 increments, 0 B, 0 rows   0 journals, 0 rows
        "###);
    }
}
