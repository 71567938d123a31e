//! Totals, waiting, main, writers: a row each, with thresholds beside the values.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::progress::total_left;
use super::{gauge, groups, spark};
use crate::monitor::Observation;
use crate::monitor::observation::{MainKind, WriterState};
use crate::tui::format::{bytes, bytes_of, per_minute, percent, plural, thousands};
use crate::tui::model::Model;
use crate::tui::text;
use crate::tui::theme::Role;

/// Cells of the gauge of waiting files.
const GAUGE: usize = 10;

/// The rows of facts, as many as there is room for.
pub(super) struct Facts<'a>(pub &'a Model);

impl Widget for Facts<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Some(seen) = &self.0.seen else { return };
        let rows = [totals, waiting, main, writers];
        for (row, line) in area.rows().zip(rows) {
            line(self.0, seen, row.width).render(row, buffer);
        }
    }
}

type Group = Vec<Span<'static>>;

fn figure(model: &Model, value: String, unit: &'static str) -> Group {
    vec![model.span(Role::Text, value), model.span(Role::Dim, unit)]
}

fn totals(model: &Model, seen: &Observation, width: u16) -> Line<'static> {
    let totals = &seen.totals;
    // What waits only adds to them.
    let least = if seen.reading.is_some() { "≥ " } else { "" };
    let tests = vec![
        model.span(Role::Title, format!(" {least}{}", thousands(totals.tests))),
        model.span(
            Role::Dim,
            if totals.tests == 1 { " test" } else { " tests" },
        ),
    ];
    let partial = (totals.tests > 0).then(|| totals.partial as f64 / totals.tests as f64);
    let mut parts = vec![
        tests,
        vec![
            model.span(Role::Title, percent(totals.success_rate())),
            model.span(Role::Dim, " full"),
        ],
        figure(model, percent(partial), " partial"),
    ];
    if totals.tests == 0 {
        parts.truncate(1);
    }
    // As wide as it can become, so that nothing after it moves while it changes.
    let rate = match per_minute(seen.per_minute) {
        nothing if nothing == "·" => "0".to_owned(),
        rate => text::right(&rate, 5),
    };
    parts.push(figure(model, rate, "/min"));
    parts.extend(left(model, seen));
    if seen.reading.is_some() {
        parts.push(vec![model.span(Role::Warning, "of main alone")]);
    }
    if seen.behind.is_some() {
        parts.push(vec![model.span(Role::Warning, "of an earlier look")]);
    }
    if totals.infrastructure() > 0 {
        parts.push(figure(model, percent(totals.scored_rate()), " of scored"));
    }
    groups(parts, 2, width)
}

/// What is left of the planned tests.
fn left(model: &Model, seen: &Observation) -> Option<Group> {
    let progress = model.progress.as_ref()?;
    let total = &progress.total;
    let planned = model.span(Role::Text, thousands(total.planned));
    if progress.is_done() {
        return Some(vec![planned, model.span(Role::Healthy, " done")]);
    }
    let share = total.done as f64 / total.planned.max(1) as f64;
    let text = match total_left(progress, seen) {
        Some(left) => format!(" in {left}"),
        None => format!(" {:.0}% there", (share * 100.0).floor()),
    };
    Some(vec![planned, model.span(Role::Dim, text)])
}

fn label(model: &Model, text: &'static str) -> Span<'static> {
    model.span(Role::Dim, format!(" {text:<10}"))
}

/// Role of a value with two thresholds, and the threshold that is next or broken.
fn judge(value: u64, warning: u64, critical: u64) -> (Role, u64) {
    match value {
        v if v > critical => (Role::Critical, critical),
        v if v > warning => (Role::Warning, warning),
        _ => (Role::Text, warning),
    }
}

fn waiting(model: &Model, seen: &Observation, width: u16) -> Line<'static> {
    let limits = &model.settings.thresholds;
    let waiting = &seen.waiting;
    let (role, limit) = judge(
        waiting.increments,
        limits.increments_warning,
        limits.increments_critical,
    );
    let mut files = vec![
        label(model, "waiting"),
        model.span(
            role,
            format!("{}/{}", thousands(waiting.increments), thousands(limit)),
        ),
        model.span(Role::Dim, " files "),
    ];
    let bar = if role == Role::Text { Role::Bar } else { role };
    let share = waiting.increments as f64 / limit.max(1) as f64;
    files.extend(gauge(model, share, GAUGE, bar));
    let (role, limit) = judge(
        waiting.increment_bytes,
        limits.bytes_warning,
        limits.bytes_critical,
    );
    let rows = waiting.increment_rows + waiting.journal_rows;
    let mut parts = vec![
        files,
        vec![model.span(role, bytes_of(waiting.increment_bytes, limit))],
        match seen.reading {
            Some(_) => figure(model, "…".to_owned(), " rows"),
            None => figure(
                model,
                thousands(rows),
                if rows == 1 { " row" } else { " rows" },
            ),
        },
    ];
    if let Some(oldest) = waiting.oldest.filter(|_| rows > 0) {
        let late = seen.at.duration_since(oldest).as_secs_f64() > limits.oldest_seconds as f64;
        let role = if late { Role::Warning } else { Role::Text };
        parts.push(vec![
            model.span(Role::Dim, "oldest "),
            model.span(role, model.when(oldest)),
        ]);
    }
    if waiting.in_progress > 0 {
        parts.push(figure(
            model,
            thousands(waiting.in_progress),
            " in progress",
        ));
    }
    groups(parts, 3, width)
}

fn main(model: &Model, seen: &Observation, width: u16) -> Line<'static> {
    let main = &seen.main;
    let rows = match main.kind {
        MainKind::Summaries => plural(main.rows, "summary row"),
        MainKind::Mixed => format!("{} of both kinds", plural(main.rows, "row")),
        MainKind::Empty | MainKind::Records => plural(main.rows, "row"),
    };
    let (figures, unit) = rows.split_once(' ').unwrap_or((rows.as_str(), ""));
    let unreadable = seen.waiting.unreadable;
    let role = if unreadable > 0 {
        Role::Warning
    } else {
        Role::Text
    };
    let mut parts = if main.bytes == 0 {
        vec![vec![
            label(model, "main"),
            model.span(Role::Dim, "no rows yet"),
        ]]
    } else {
        let rows = [
            model.span(Role::Text, figures.to_owned()),
            model.span(Role::Dim, format!(" {unit}")),
        ];
        vec![
            std::iter::once(label(model, "main")).chain(rows).collect(),
            vec![model.span(Role::Text, bytes(main.bytes))],
        ]
    };
    if seen.reading.is_some() {
        return groups(parts, 3, width);
    }
    parts.extend([
        figure(model, thousands(seen.superseded), " superseded"),
        vec![
            model.span(role, thousands(unreadable)),
            model.span(Role::Dim, " unreadable"),
        ],
    ]);
    if seen.repeated > 0 {
        parts.push(figure(model, thousands(seen.repeated), " repeated"));
    }
    groups(parts, 3, width)
}

fn writers(model: &Model, seen: &Observation, width: u16) -> Line<'static> {
    use WriterState::{Done, Gone, Live, Quiet, Unknown};
    if seen.reading.is_some() {
        return groups(
            vec![vec![label(model, "writers"), model.span(Role::Dim, "…")]],
            2,
            width,
        );
    }
    let count = |state| seen.writers.iter().filter(|w| w.state == state).count() as u64;
    let mut parts = vec![vec![
        label(model, "writers"),
        model.span(Role::Text, thousands(count(Live))),
        model.span(Role::Dim, " live"),
    ]];
    let others = [
        (Quiet, " quiet", Role::Warning),
        (Gone, " gone", Role::Warning),
        (Done, " done", Role::Text),
        (Unknown, " unknown", Role::Text),
    ];
    for (state, word, role) in others {
        if count(state) > 0 {
            parts.push(vec![
                model.span(role, thousands(count(state))),
                model.span(Role::Dim, word),
            ]);
        }
    }
    let mut line = groups(parts, 2, width);
    // The sparkline starts where it does in the usual case, so that it does not wander.
    let start = (line.width() + 3).max(39);
    let room = usize::from(width).saturating_sub(start + " rows/min  ".len() + 1);
    if room >= 8 && !seen.history.is_empty() {
        let gap = start - line.width();
        line.push_span(Span::raw(" ".repeat(gap)));
        line.push_span(model.span(Role::Dim, "rows/min  "));
        let end = spark::end(seen, model.moving());
        line.push_span(model.span(Role::Bar, spark::line(&seen.history, end, room)));
    }
    line
}

/// The newest row of all.
pub(super) fn newest(seen: &Observation) -> Option<Timestamp> {
    let of_models = seen.models.iter().filter_map(|m| m.last_row);
    of_models
        .chain(seen.writers.iter().filter_map(|w| w.last_row))
        .max()
}

/// Widest part of a text that names something, for callers that lay out columns.
pub(super) fn widest<'n>(names: impl Iterator<Item = &'n str>) -> usize {
    names
        .map(|n| text::width(&text::name(n)))
        .max()
        .unwrap_or(0)
}
