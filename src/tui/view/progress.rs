//! How far the run is: throughput over several windows, and where tests are planned,
//! what is done and left by model, those that have not begun included.

use jiff::SignedDuration;
use ratatui::text::{Line, Span};

use super::facts::widest;
use super::gauge;
use super::overlay::{Content, paragraph};
use crate::monitor::Observation;
use crate::observation::{WriterState, WriterView};
use crate::stats::eta::{Eta, eta};
use crate::stats::history::History;
use crate::stats::progress::{Part, RunProgress};
use crate::text::numbers::{per_minute, span, thousands, whole_percent};
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// Windows of the throughput, in seconds.
const WINDOWS: [(i64, &str); 3] = [(300, "5m"), (3_600, "1h"), (86_400, "24h")];

/// Throughput and progress.
pub(super) fn content(model: &Model, width: u16) -> Content {
    let title = "PROGRESS";
    let Some(seen) = &model.seen else {
        return Content::new(title, Vec::new());
    };
    let mut lines = vec![Line::default(), throughput(model, seen)];
    lines.push(Line::default());
    let Some(progress) = &model.progress else {
        let how = "Start evaltop watch with --target N, or with --plan FILE that says how many tests of each \
                   cell are expected, to see what is left and how long it takes.";
        lines.extend(paragraph(
            model,
            Role::Dim,
            how,
            usize::from(width).saturating_sub(2),
        ));
        return Content::new(title, lines);
    };
    let name = widest(progress.models.keys().map(|name| &**name)).clamp(5, 30);
    let bar = usize::from(width).saturating_sub(name + 52).clamp(4, 60);
    let head = format!(
        " {} {}{}{}{}  {}",
        width::left("MODEL", name),
        " ".repeat(bar + 6),
        width::right("DONE", 9),
        width::right("OF", 9),
        width::right("LEFT", 9),
        "TIME LEFT",
    );
    lines.push(Line::from(model.span(Role::Dim, head)));
    lines.push(row(
        model,
        ("all", &progress.total),
        total_left(progress, seen).map(|left| left.text),
        name,
        bar,
    ));
    for (of, part) in &progress.models {
        let view = seen.models.iter().find(|m| m.model == **of);
        let none = History::default();
        let (history, tests) =
            view.map_or((&none, 0), |view| (&view.detail.history, view.tally.tests));
        let left = time_left(history, seen, part, tests).map(show);
        lines.push(row(model, (of, part), left, name, bar));
    }
    Content::new(title, lines)
}

fn throughput(model: &Model, seen: &Observation) -> Line<'static> {
    let now = seen.at.as_second();
    let mut line = Line::from(model.span(Role::Dim, " rows/min"));
    let run = seen.history.first().map_or(0, |first| now + 1 - first);
    let whole = (run, "the whole run");
    for (seconds, name) in WINDOWS
        .into_iter()
        .filter(|(seconds, _)| *seconds < run)
        .chain([whole])
    {
        let window = seen.history.window(now, seconds);
        let rate = per_minute(seen.history.per_minute(now, window));
        line.push_span(Span::raw("   "));
        line.push_span(model.span(Role::Text, if rate == "·" { "0".to_owned() } else { rate }));
        line.push_span(model.span(Role::Dim, format!(" over {name}")));
    }
    line
}

fn row(
    model: &Model,
    (name, part): (&str, &Part),
    time_left: Option<String>,
    cells: usize,
    bar: usize,
) -> Line<'static> {
    let share = if part.planned > 0 {
        part.done as f64 / part.planned as f64
    } else {
        1.0
    };
    let mut line = Line::from(model.span(
        Role::Text,
        format!(" {} ", width::left(&width::name(name), cells)),
    ));
    line.extend(gauge(model, share, bar, Role::Bar));
    // Rounded down, so that 100 % means all.
    let percent = whole_percent(Some((share * 100.0).floor() / 100.0));
    line.push_span(model.span(Role::Dim, width::right(&percent, 6)));
    for n in [part.done, part.planned, part.left()] {
        line.push_span(model.span(Role::Text, width::right(&thousands(n), 9)));
    }
    let (role, left) = if part.left() == 0 {
        (Role::Healthy, "done".to_owned())
    } else {
        let still = if part.done == 0 {
            "not begun"
        } else {
            "stands still"
        };
        (Role::Dim, time_left.unwrap_or_else(|| still.to_owned()))
    };
    line.push_span(model.span(role, format!("  {left}")));
    line
}

/// The time that the whole plan still takes; `None` where nothing moves. A model that has not
/// begun has no pace yet, so with one of those nobody knows the end.
pub(super) fn total_left(progress: &RunProgress, seen: &Observation) -> Option<Left> {
    // Where nobody writes any more, nothing is on its way.
    let writes =
        |writer: &WriterView| writer.state.is_open() || writer.state == WriterState::Unknown;
    if !seen.writers.is_empty() && !seen.writers.iter().any(writes) {
        return None;
    }
    // What the session itself plans takes all of the throughput.
    let own = seen.session.as_ref().is_some_and(|session| {
        progress.models.is_empty() && session.planned == Some(progress.total.planned)
    });
    let tests = if own {
        progress.total.done
    } else {
        seen.totals.tests
    };
    let eta = time_left(&seen.history, seen, &progress.total, tests)?;
    let unknown = progress
        .models
        .values()
        .any(|part| part.done == 0 && part.left() > 0);
    let high = eta.high.filter(|_| !unknown);
    Some(Left {
        text: show(Eta { high, ..eta }),
        until: high.and_then(|seconds| SignedDuration::try_from_secs_f64(seconds).ok()),
    })
}

/// How long something still takes.
pub(super) struct Left {
    /// "8m–10m".
    pub(super) text: String,
    /// At most, where that is known.
    pub(super) until: Option<SignedDuration>,
}

/// The time that a part still takes, when as much of the throughput goes into it as of the
/// `tests` so far.
fn time_left(history: &History, seen: &Observation, part: &Part, tests: u64) -> Option<Eta> {
    let share = part.done as f64 / tests.max(1) as f64;
    eta(history, seen.at.as_second(), part.left(), share).filter(|eta| eta.low.is_finite())
}

fn show(eta: Eta) -> String {
    match eta.high {
        Some(high) if span(high) == span(eta.low) => span(high),
        Some(high) => {
            let (low, high) = (span(eta.low), span(high));
            // The same unit once: "8–10m".
            let units = |text: &str| {
                text.trim_start_matches(|c: char| c.is_ascii_digit())
                    .to_owned()
            };
            let unit = units(&high);
            match low.strip_suffix(&unit).filter(|_| units(&low) == unit) {
                Some(digits) => format!("{digits}–{high}"),
                None => format!("{low}–{high}"),
            }
        }
        None => format!("{} or more", span(eta.low)),
    }
}
