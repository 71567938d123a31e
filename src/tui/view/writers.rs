//! Every writer process, those that need somebody first: what it does, how much of it waits, when it was last heard of.

use ratatui::text::Line;

use super::overlay::Content;
use crate::observation::{InFlightView, WriterState, WriterView};
use crate::text::numbers::{bytes, span, thousands};
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// The test in flight for longest, with its age, else the model of the newest row.
pub(super) fn now(model: &Model, writer: &WriterView) -> String {
    match writer.oldest() {
        Some(test) => {
            let more = match writer.running {
                0 | 1 => String::new(),
                running => format!(" +{}", running - 1),
            };
            format!("{} {} {}{more}", test.name, test.model, age(model, test))
        }
        None => writer.model.clone().unwrap_or_else(|| "–".to_owned()),
    }
}

/// Colour of a state.
pub(super) fn role(state: WriterState) -> Role {
    match state {
        WriterState::Live | WriterState::Idle => Role::Healthy,
        WriterState::Ended | WriterState::Finished | WriterState::Unknown => Role::Dim,
        WriterState::Lost | WriterState::Failed | WriterState::Stalled | WriterState::Silent => {
            Role::Warning
        }
    }
}

/// All writers, those first that need somebody.
pub(super) fn sorted(model: &Model) -> Vec<&WriterView> {
    let mut writers: Vec<_> = model.seen.iter().flat_map(|o| &o.writers).collect();
    writers.sort_by_key(|w| match w.state {
        WriterState::Lost | WriterState::Failed | WriterState::Stalled | WriterState::Silent => 0,
        WriterState::Live | WriterState::Idle => 1,
        WriterState::Unknown => 2,
        WriterState::Ended | WriterState::Finished => 3,
    });
    writers
}

/// How long a test has been in flight, and what is usual for its model.
pub(super) fn age(model: &Model, test: &InFlightView) -> String {
    let age = span(model.age(test.since).max(0.0));
    match test.p95 {
        Some(p95) => format!("{age}/{}", span(p95)),
        None => age,
    }
}

/// The table of writers.
pub(super) fn content(model: &Model, width: u16) -> Content {
    let writers = sorted(model);
    // Narrow terminals keep the models rather than the limits.
    let limit = if width >= 96 { 7 } else { 0 };
    let moving = model.moving();
    let (last, when) = if moving {
        ("LAST ROW", 10)
    } else {
        ("LAST ROW AT", 14)
    };
    let name = usize::from(width)
        .saturating_sub(52 + when + limit)
        .clamp(8, 40);
    let head = format!(
        "   {}{}{}{}{}  {}",
        width::left("WORKER", 26),
        width::right("PENDING", 9),
        width::right("JOURNAL", 11),
        width::right(last, when),
        width::right("LIMIT", limit),
        width::left("NOW", name)
    );
    let mut lines = vec![Line::from(model.span(Role::Dim, head))];
    for writer in &writers {
        let word: &str = writer.state.into();
        let role = role(writer.state);
        let last = writer
            .last_row
            .map_or_else(|| "–".to_owned(), |t| model.when(t));
        lines.push(Line::from(vec![
            model.span(role, format!(" {}", width::left(word, 9))),
            model.span(
                Role::Text,
                width::left_middle(&width::name(&writer.label()), 19),
            ),
            model.span(Role::Text, width::right(&thousands(writer.rows), 9)),
            model.span(Role::Dim, width::right(&bytes(writer.journal_bytes), 11)),
            model.span(Role::Text, width::right(&last, when)),
            model.span(Role::Dim, width::right(&span(writer.limit_seconds), limit)),
            model.span(
                Role::Dim,
                format!(
                    "  {}",
                    width::left_middle(&width::name(&now(model, writer)), name)
                ),
            ),
        ]));
    }
    if writers.is_empty() {
        lines.push(Line::from(model.span(Role::Dim, " no writer is known")));
    }
    for source in model.seen.iter().flat_map(|seen| &seen.sources) {
        let role = if source.stale {
            Role::Warning
        } else {
            Role::Dim
        };
        let at = source
            .at
            .map_or_else(|| "–".to_owned(), |at| model.when(at));
        let name = width::left_middle(&width::name(&source.name), 38);
        lines.push(Line::from(vec![
            model.span(role, format!(" {}", width::left("source", 9))),
            model.span(Role::Text, name),
            model.span(Role::Dim, format!("  pulled {at}")),
            model.span(Role::Dim, format!("  {} rows", thousands(source.rows))),
        ]));
    }
    Content::table(format!("WORKERS {}", writers.len()), lines)
}
