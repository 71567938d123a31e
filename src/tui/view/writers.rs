//! Every writer process, those that need somebody first: what it does, how much of it waits, when it was last heard of.

use ratatui::text::Line;

use super::overlay::Content;
use crate::monitor::observation::WriterState;
use crate::tui::format::{bytes, span, thousands};
use crate::tui::model::Model;
use crate::tui::text;
use crate::tui::theme::Role;

/// The table of writers.
pub(super) fn content(model: &Model, width: u16) -> Content {
    let mut writers: Vec<_> = model.seen.iter().flat_map(|o| &o.writers).collect();
    writers.sort_by_key(|w| match w.state {
        WriterState::Quiet | WriterState::Gone => 0,
        WriterState::Live => 1,
        WriterState::Unknown => 2,
        WriterState::Done => 3,
    });
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
        text::left("PROCESS", 26),
        text::right("WAITING", 9),
        text::right("JOURNAL", 11),
        text::right(last, when),
        text::right("LIMIT", limit),
        text::left("MODEL", name)
    );
    let mut lines = vec![Line::from(model.span(Role::Dim, head))];
    for writer in &writers {
        let (role, word) = match writer.state {
            WriterState::Live => (Role::Healthy, "live"),
            WriterState::Quiet => (Role::Warning, "quiet"),
            WriterState::Gone => (Role::Warning, "gone"),
            WriterState::Done => (Role::Dim, "done"),
            WriterState::Unknown => (Role::Dim, "?"),
        };
        let last = writer
            .last_row
            .map_or_else(|| "–".to_owned(), |t| model.when(t));
        lines.push(Line::from(vec![
            model.span(role, format!(" {}", text::left(word, 6))),
            model.span(Role::Text, text::left(&writer.process_id, 22)),
            model.span(Role::Text, text::right(&thousands(writer.rows), 9)),
            model.span(Role::Dim, text::right(&bytes(writer.journal_bytes), 11)),
            model.span(Role::Text, text::right(&last, when)),
            model.span(Role::Dim, text::right(&span(writer.limit_seconds), limit)),
            model.span(
                Role::Dim,
                format!(
                    "  {}",
                    text::left_middle(&text::name(writer.model.as_deref().unwrap_or("–")), name)
                ),
            ),
        ]));
    }
    if writers.is_empty() {
        lines.push(Line::from(model.span(Role::Dim, " no writer is known")));
    }
    Content::table(format!("WRITERS {}", writers.len()), lines)
}
