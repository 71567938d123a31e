//! Every alert that is remembered, newest first: from when to when, for how long, what.

use ratatui::text::Line;

use super::alerts::sign;
use super::overlay::Content;
use crate::tui::book::Episode;
use crate::tui::model::Model;
use crate::tui::theme::Role;
use crate::tui::{format, text};

/// Cells of "from – to": a date and a time where it was another day.
const TIMES: usize = 27;

/// The history of the alerts.
pub(super) fn content(model: &Model, _: u16) -> Content {
    let episodes = model.book.episodes();
    let mut lines: Vec<Line<'static>> = episodes
        .iter()
        .map(|episode| line(model, episode))
        .collect();
    if lines.is_empty() {
        lines.push(Line::from(
            model.span(Role::Dim, " no alert since the dashboard was opened"),
        ));
    }
    Content::new(format!("ALERT HISTORY {}", episodes.len()), lines)
}

fn line(model: &Model, episode: &Episode) -> Line<'static> {
    let Episode {
        alert,
        since,
        until,
    } = episode;
    let from = model.clock(*since);
    let (times, length) = match until {
        Some(until) => (
            format!("{from} – {}", model.clock(*until)),
            format::span(format::age(*until, *since)),
        ),
        None if model.moving() => (format!("{from} – now"), format::span(model.age(*since))),
        None => (format!("{from} – now"), String::new()),
    };
    let there = until.is_none() && !model.is_quiet(alert);
    let (of_sign, of_text) = if there {
        (alert.severity.into(), Role::Text)
    } else {
        (Role::Dim, Role::Dim)
    };
    let wide = if text::width(&times) > 13 { TIMES } else { 13 };
    Line::from(vec![
        model.span(of_sign, format!(" {} ", sign(alert.severity))),
        model.span(
            Role::Dim,
            format!("{}{}  ", text::left(&times, wide), text::right(&length, 5)),
        ),
        model.span(of_text, text::clean(&alert.message).into_owned()),
    ])
}
