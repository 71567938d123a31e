//! The session, success, what is pending, workers: a row each, with thresholds next to the values.

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::progress::total_left;
use super::{gauge, groups, spark};
use crate::monitor::Observation;
use crate::observation::SessionState;
use crate::observation::{MainKind, WriterState};
use crate::text::numbers::{
    bytes, bytes_of, interval, per_minute, percent, plural, span, thousands,
};
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// Cells of the gauge of pending files.
const GAUGE: usize = 10;
/// Cells of the gauge of the plan.
const PLAN: usize = 20;
/// Cells of a source's name.
const SOURCE: usize = 24;
/// From this width on there is room for main's details.
const ROOMY: u16 = 110;

/// The rows of facts, as many as there is room for.
pub(super) struct Facts<'a>(pub &'a Model);

type Row = fn(&Model, &Observation, u16) -> Line<'static>;

impl Widget for Facts<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Some(seen) = &self.0.seen else { return };
        let rows: &[Row] = match area.height {
            1 => &[run],
            2 => &[run, pending],
            3 => &[run, success, pending],
            _ => &[run, success, pending, writers],
        };
        for (row, line) in area.rows().zip(rows) {
            line(self.0, seen, row.width).render(row, buffer);
        }
    }
}

type Group = Vec<Span<'static>>;

fn figure(model: &Model, value: String, unit: &'static str) -> Group {
    vec![model.span(Role::Text, value), model.span(Role::Dim, unit)]
}

/// The session: its state, how far it is, how fast, and when it will be through.
fn run(model: &Model, seen: &Observation, width: u16) -> Line<'static> {
    let alone = seen.session.is_none() && model.progress.is_some();
    let mut parts = Vec::new();
    if !alone {
        parts.push(state(model, seen));
    }
    parts.extend(planned(model, seen, width).map(|mut group| {
        if alone {
            group.insert(0, Span::raw(" "));
        }
        group
    }));
    // As wide as it can become, so that nothing after it moves while it changes.
    let rate = match per_minute(seen.per_minute) {
        nothing if nothing == "·" => "–".to_owned(),
        rate => format!("{rate:>4}"),
    };
    parts.push(figure(model, rate, "/min"));
    let gap = if width >= ROOMY { 3 } else { 2 };
    let left = model
        .progress
        .as_ref()
        .filter(|progress| !progress.is_done())
        .and_then(|progress| total_left(progress, seen));
    if let Some(left) = left {
        let end = left.until.and_then(|more| seen.at.checked_add(more).ok());
        let until = end.map(|end| format!("{}, until {}", left.text, model.until(end)));
        let wide = |group: &Group| {
            group
                .iter()
                .map(|s| width::width(&s.content))
                .sum::<usize>()
        };
        let used: usize = parts.iter().map(|group| wide(group) + gap).sum();
        let room = usize::from(width).saturating_sub(used);
        parts.push(match until.filter(|text| width::width(text) < room) {
            Some(text) => vec![model.span(Role::Text, text)],
            None => vec![
                model.span(Role::Text, left.text),
                model.span(Role::Dim, " left"),
            ],
        });
    }
    if seen.reading.is_some() {
        parts.push(vec![model.span(Role::Warning, "of main alone")]);
    }
    if seen.behind.is_some() {
        parts.push(vec![model.span(Role::Warning, "of an earlier scan")]);
    }
    groups(parts, gap, width)
}

/// "RUNNING 41m", "FINISHED 12:31", or the number of tests where nobody says what runs.
fn state(model: &Model, seen: &Observation) -> Group {
    use SessionState as S;
    let Some(session) = &seen.session else {
        return tests(model, seen, " ");
    };
    let role = match session.state {
        S::Running | S::Finishing => Role::Title,
        S::Finished => Role::Healthy,
        S::Incomplete | S::Interrupted | S::Dead => Role::Warning,
    };
    let word = <&str>::from(session.state).to_uppercase();
    let when = match session.ended {
        Some(ended) => model.clock(ended),
        None => session
            .began
            .map_or_else(String::new, |began| model.when(began)),
    };
    vec![
        model.span(role, format!(" {word}")),
        model.span(Role::Text, format!(" {when}")),
    ]
}

/// The number of all tests.
fn tests(model: &Model, seen: &Observation, before: &str) -> Group {
    // What is pending only adds to them.
    let least = if seen.reading.is_some() { "≥ " } else { "" };
    let tests = seen.totals.tests;
    let unit = if tests == 1 { " test" } else { " tests" };
    vec![
        model.span(Role::Title, format!("{before}{least}{}", thousands(tests))),
        model.span(Role::Dim, unit),
    ]
}

/// How much of the plan is there; without a plan, what the session recorded.
fn planned(model: &Model, seen: &Observation, width: u16) -> Option<Group> {
    let Some(progress) = &model.progress else {
        let session = seen.session.as_ref()?;
        return Some(figure(model, thousands(session.done), " done"));
    };
    let total = &progress.total;
    let (done, planned) = (thousands(total.done), thousands(total.planned));
    let mut group = vec![model.span(Role::Text, format!("{done}/{planned} "))];
    if progress.is_done() {
        group.push(model.span(Role::Healthy, "done"));
        return Some(group);
    }
    let share = total.done as f64 / total.planned.max(1) as f64;
    let cells = match width {
        ROOMY.. => PLAN,
        80.. => 16,
        _ => GAUGE,
    };
    group.extend(gauge(model, share, cells, Role::Bar));
    // Rounded down, so that 100 % means all.
    group.push(model.span(Role::Dim, format!(" {:.0}%", (share * 100.0).floor())));
    Some(group)
}

/// How good the tests are on the whole, and what does not count.
fn success(model: &Model, seen: &Observation, width: u16) -> Line<'static> {
    let totals = model.totals();
    let mut parts = Vec::new();
    let rate = percent(totals.success_rate());
    let mut first = vec![label(model, "success"), model.span(Role::Title, rate)];
    if let Some(found) = model.interval() {
        first.push(model.span(Role::Dim, format!(" ({})", interval(found.low, found.high))));
    }
    parts.push(first);
    if let Some(chosen) = &seen.metric {
        let mean = chosen.mean.map(|mean| chosen.metric.show(mean));
        parts = vec![vec![
            model.span(Role::Dim, " mean "),
            model.span(Role::Text, width::name(&chosen.metric.name).into_owned()),
            model.span(
                Role::Title,
                format!(" {}", mean.unwrap_or_else(|| "–".to_owned())),
            ),
        ]];
        if chosen.failed.is_some() {
            parts.push(vec![model.span(Role::Warning, "can't be told")]);
        }
    } else if totals.judged() == 0 {
        parts = vec![vec![label(model, "success"), model.span(Role::Dim, "–")]];
    }
    if seen.session.is_some() || model.filtered.is_some() {
        let count = thousands(totals.tests);
        let unit = if totals.tests == 1 { " test" } else { " tests" };
        parts.push(figure(model, count, unit));
    }
    if totals.judged() > 0 && seen.metric.is_none() {
        parts.push(figure(
            model,
            percent(totals.share(totals.partial)),
            " partial",
        ));
    }
    if totals.unscored > 0 {
        parts.push(figure(model, thousands(totals.unscored), " unscored"));
    }
    if totals.infrastructure() > 0 {
        let mut infra = figure(model, thousands(totals.infrastructure()), " infra");
        // Next to the number of tests a narrow screen has no room for it.
        let room = width >= ROOMY || parts.len() < 3;
        if totals.scored_rate().is_some() && room {
            let without = format!(" ({} without them)", percent(totals.scored_rate()));
            infra.push(model.span(Role::Dim, without));
        }
        parts.push(infra);
    }
    if model.filtered.is_some() {
        parts.push(vec![model.span(Role::Dim, "as filtered")]);
    }
    let spending = seen.spending.as_ref();
    if let Some(text) = spending.and_then(|view| super::cost::short(view)) {
        let limit = seen.alerts.iter().any(|alert| alert.rule == "budget");
        let role = if limit { Role::Warning } else { Role::Text };
        parts.push(vec![model.span(role, text)]);
    }
    groups(parts, if width >= ROOMY { 3 } else { 2 }, width)
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

fn pending(model: &Model, seen: &Observation, width: u16) -> Line<'static> {
    let limits = &model.settings.thresholds;
    let waiting = &seen.waiting;
    let (role, limit) = judge(
        waiting.increments,
        limits.increments_warning,
        limits.increments_critical,
    );
    let mut files = vec![
        label(model, "pending"),
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
    parts.push(main(model, seen));
    if let Some(oldest) = waiting.oldest.filter(|_| rows > 0) {
        let late = seen.at.duration_since(oldest).as_secs_f64() > limits.oldest_seconds as f64;
        let role = if late { Role::Warning } else { Role::Text };
        parts.push(vec![
            model.span(Role::Dim, "oldest "),
            model.span(role, model.when(oldest)),
        ]);
    }
    if waiting.unreadable > 0 {
        parts.push(vec![
            model.span(Role::Warning, thousands(waiting.unreadable)),
            model.span(Role::Dim, " unreadable"),
        ]);
    }
    if waiting.in_progress > 0 {
        parts.push(figure(
            model,
            thousands(waiting.in_progress),
            " in progress",
        ));
    }
    if width >= ROOMY && seen.reading.is_none() {
        parts.push(figure(model, bytes(seen.main.bytes), " main"));
        parts.push(figure(model, thousands(seen.superseded), " retried"));
        if seen.repeated > 0 {
            parts.push(figure(model, thousands(seen.repeated), " repeated"));
        }
    }
    groups(parts, if width >= ROOMY { 3 } else { 2 }, width)
}

/// What main holds.
fn main(model: &Model, seen: &Observation) -> Group {
    let main = &seen.main;
    if main.bytes == 0 {
        return vec![model.span(Role::Dim, "main empty")];
    }
    let rows = match main.kind {
        MainKind::Summaries => plural(main.rows, "summary row"),
        MainKind::Mixed => format!("{} of both kinds", plural(main.rows, "row")),
        MainKind::Empty | MainKind::Records => plural(main.rows, "row"),
    };
    let (figures, unit) = rows.split_once(' ').unwrap_or((rows.as_str(), ""));
    vec![
        model.span(Role::Dim, "main "),
        model.span(Role::Text, figures.to_owned()),
        model.span(Role::Dim, format!(" {unit}")),
    ]
}

/// The source that was pulled longest ago: "node7:/runs 20s ago".
fn pulled(model: &Model, seen: &Observation) -> Option<Group> {
    let source = seen.sources.iter().min_by_key(|source| source.at)?;
    let role = if source.stale {
        Role::Warning
    } else {
        Role::Text
    };
    let when = match source.at {
        Some(at) if model.moving() => format!(" pulled {} ago", model.when(at)),
        Some(at) => format!(" pulled {}", model.when(at)),
        None => " not pulled yet".to_owned(),
    };
    let more = match seen.sources.len() {
        0 | 1 => String::new(),
        all => format!(" +{}", all - 1),
    };
    let name = width::truncate_middle(&width::name(&source.name), SOURCE);
    Some(vec![
        model.span(role, name),
        model.span(Role::Dim, format!("{when}{more}")),
    ])
}

fn writers(model: &Model, seen: &Observation, width: u16) -> Line<'static> {
    use WriterState as S;
    if seen.reading.is_some() {
        return groups(
            vec![vec![label(model, "workers"), model.span(Role::Dim, "…")]],
            2,
            width,
        );
    }
    let count = |state| seen.writers.iter().filter(|w| w.state == state).count() as u64;
    let mut parts = vec![vec![
        label(model, "workers"),
        model.span(Role::Text, thousands(count(S::Live))),
        model.span(Role::Dim, " live"),
    ]];
    let states = |states: &[(WriterState, &'static str, Role)]| -> Vec<Group> {
        let there = states.iter().filter(|(state, ..)| count(*state) > 0);
        there
            .map(|(state, word, role)| {
                vec![
                    model.span(*role, thousands(count(*state))),
                    model.span(Role::Dim, *word),
                ]
            })
            .collect()
    };
    parts.extend(states(&[
        (S::Lost, " lost", Role::Warning),
        (S::Failed, " failed", Role::Warning),
        (S::Stalled, " stalled", Role::Warning),
        (S::Silent, " silent", Role::Warning),
        (S::Idle, " idle", Role::Text),
    ]));
    if let Some((running, longest)) = seen.in_flight() {
        let mut group = vec![
            model.span(Role::Text, thousands(running)),
            model.span(Role::Dim, " in flight, longest "),
            model.span(Role::Text, span(model.age(longest.since).max(0.0))),
        ];
        // Its name has what room is left next to a few minutes of the sparkline.
        let wide = |group: &Group| {
            group
                .iter()
                .map(|s| width::width(&s.content) + 1)
                .sum::<usize>()
        };
        let used: usize = parts.iter().chain([&group]).map(wide).sum();
        let room = usize::from(width).saturating_sub(used + 14);
        if room >= 6 {
            let name = width::truncate_middle(&width::name(&longest.name), room);
            group.push(model.span(Role::Dim, format!(" {name}")));
        }
        parts.push(group);
    }
    parts.extend(states(&[
        (S::Ended, " ended", Role::Text),
        (S::Finished, " finished", Role::Text),
        (S::Unknown, " unknown", Role::Text),
    ]));
    parts.extend(pulled(model, seen));
    let mut line = groups(parts, 2, width);
    // The sparkline starts where it does in the usual case, so that it does not wander.
    let flying = seen.in_flight().is_some();
    let title = if flying { "" } else { "rows/min  " };
    let start = (line.width() + 3).max(if flying { 0 } else { 39 });
    let room = usize::from(width).saturating_sub(start + title.len() + 2);
    if room >= 8 && !seen.history.is_empty() {
        let gap = start - line.width();
        line.push_span(Span::raw(" ".repeat(gap)));
        line.push_span(model.span(Role::Dim, title));
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
        .map(|n| width::width(&width::name(n)))
        .max()
        .unwrap_or(0)
}
