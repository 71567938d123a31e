//! One alert: what is wrong, since when, why the rule exists, what to do.

use ratatui::text::Line;

use super::alerts::{help, sign};
use super::overlay::{Content, paragraph};
use super::status::said;
use crate::text::{numbers, width};
use crate::tui::input::action::Action;
use crate::tui::state::alert_history::{AlertKey, Quiet, alert_key};
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// The explanation of an alert.
pub(super) fn content(model: &Model, key: &AlertKey, width: u16) -> Content {
    let cells = usize::from(width).saturating_sub(3);
    let title = format!("ALERT {}", key.0.replace('_', " "));
    let Some(alert) = model.alerts().into_iter().find(|a| alert_key(a) == *key) else {
        return Content::new(title, over(model, key, cells));
    };
    let mut lines = vec![Line::default()];
    let severity: Role = alert.severity.into();
    let help = help(model, alert);
    let message = said(alert, help.as_deref().unwrap_or_default());
    for (i, line) in width::wrap(&message, cells.saturating_sub(2))
        .into_iter()
        .enumerate()
    {
        let lead = if i == 0 {
            format!(" {} ", sign(alert.severity))
        } else {
            "   ".to_owned()
        };
        lines.push(Line::from(vec![
            model.span(severity, lead),
            model.span(Role::Title, line),
        ]));
    }
    if let Some(since) = model.book.since(key) {
        let age = numbers::span(model.age(since));
        let text = if model.moving() {
            format!("   seen for {age}, since {}", model.clock(since))
        } else {
            format!("   seen since {}", model.clock(since))
        };
        lines.push(Line::from(model.span(
            Role::Dim,
            format!("{text}{}", quiet(model, model.book.quiet(alert))),
        )));
    }
    lines.push(Line::default());
    lines.extend(paragraph(model, Role::Text, &alert.explanation, cells));
    if let Some(subject) = alert
        .subject
        .as_ref()
        .filter(|subject| !alert.message.contains(subject.as_str()))
    {
        lines.push(Line::default());
        lines.extend(paragraph(
            model,
            Role::Dim,
            &format!("about {}", width::name(subject)),
            cells,
        ));
    }
    lines.push(Line::default());
    lines.extend(help.map(|help| Line::from(model.span(Role::Key, format!(" {help}")))));
    lines.extend(silence(model, model.book.quiet(alert)));
    Content::new(title, lines)
}

fn quiet(model: &Model, quiet: Option<Quiet>) -> String {
    match quiet {
        Some(Quiet::Acknowledged(_)) => ", acknowledged".to_owned(),
        Some(Quiet::Snoozed(_, until)) => format!(", snoozed until {}", model.until(until)),
        None => String::new(),
    }
}

/// The keys that silence it, or take that back.
fn silence(model: &Model, quiet: Option<Quiet>) -> impl Iterator<Item = Line<'static>> {
    let snooze = format!("snooze for {}", numbers::span(model.settings.snooze as f64));
    let words = match quiet {
        None => [
            (Action::Acknowledge, "acknowledge".to_owned()),
            (Action::Snooze, snooze),
        ]
        .to_vec(),
        Some(Quiet::Acknowledged(_)) => {
            vec![(Action::Acknowledge, "not acknowledged after all".to_owned())]
        }
        Some(Quiet::Snoozed(..)) => vec![(Action::Snooze, "wake it".to_owned())],
    };
    let keyed = words
        .into_iter()
        .map(|(action, what)| (model.settings.keymap.key(action), what));
    keyed
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, what)| Line::from(model.span(Role::Key, format!(" {key}: {what}"))))
        .collect::<Vec<_>>()
        .into_iter()
}

/// What is remembered of an alert that is there no more.
fn over(model: &Model, key: &AlertKey, cells: usize) -> Vec<Line<'static>> {
    let mut lines = vec![
        Line::default(),
        Line::from(model.span(Role::Healthy, " ✓ This is over.")),
    ];
    if let Some(episode) = model
        .book
        .episodes()
        .iter()
        .find(|e| alert_key(&e.alert) == *key)
    {
        lines.push(Line::default());
        lines.extend(paragraph(model, Role::Text, &episode.alert.message, cells));
        let until = episode
            .until
            .map(|t| format!(" to {}", model.clock(t)))
            .unwrap_or_default();
        lines.push(Line::from(model.span(
            Role::Dim,
            format!(" seen from {}{until}", model.clock(episode.since)),
        )));
    }
    lines
}
