//! Every alert that is remembered, newest first: from when to when, for how long, what.

use ratatui::text::Line;

use super::alerts::sign;
use super::overlay::Content;
use crate::text::{numbers, width};
use crate::tui::state::alert_history::Episode;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

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
            numbers::span(numbers::age(*until, *since)),
        ),
        None if model.moving() => (format!("{from} – now"), numbers::span(model.age(*since))),
        None => (format!("{from} – now"), String::new()),
    };
    let there = until.is_none() && !model.is_quiet(alert);
    let (of_sign, of_text) = if there {
        (alert.severity.into(), Role::Text)
    } else {
        (Role::Dim, Role::Dim)
    };
    let wide = if width::width(&times) > 13 { TIMES } else { 13 };
    Line::from(vec![
        model.span(of_sign, format!(" {} ", sign(alert.severity))),
        model.span(
            Role::Dim,
            format!(
                "{}{}  ",
                width::left(&times, wide),
                width::right(&length, 5)
            ),
        ),
        model.span(of_text, width::clean(&alert.message).into_owned()),
    ])
}
