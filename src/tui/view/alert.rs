//! One alert: what is wrong, since when, why the rule exists, what to do.

use ratatui::text::Line;

use super::alerts::{hint, sign};
use super::overlay::{Content, paragraph};
use crate::tui::action::Action;
use crate::tui::model::{AlertKey, Model, alert_key};
use crate::tui::theme::Role;
use crate::tui::{format, text};

/// The explanation of an alert.
pub(super) fn content(model: &Model, key: &AlertKey, width: u16) -> Content {
    let cells = usize::from(width).saturating_sub(3);
    let title = format!("ALERT {}", key.0);
    let Some(alert) = model.alerts().into_iter().find(|a| alert_key(a) == *key) else {
        let lines = vec![Line::default(), Line::from(model.span(Role::Healthy, " ✓ This is over."))];
        return Content { title, lines };
    };
    let mut lines = vec![Line::default()];
    let severity: Role = alert.severity.into();
    for (i, line) in text::wrap(&alert.message, cells.saturating_sub(2)).into_iter().enumerate() {
        let lead = if i == 0 { format!(" {} ", sign(alert.severity)) } else { "   ".to_owned() };
        lines.push(Line::from(vec![model.span(severity, lead), model.span(Role::Title, line)]));
    }
    if let Some(since) = model.alert_since.get(key) {
        let age = format::span(model.age(*since));
        let text = if model.moving() {
            format!("   seen for {age}, since {}", model.clock(*since))
        } else {
            format!("   seen since {}", model.clock(*since))
        };
        let noted = if model.is_acknowledged(alert) { ", acknowledged" } else { "" };
        lines.push(Line::from(model.span(Role::Dim, format!("{text}{noted}"))));
    }
    lines.push(Line::default());
    lines.extend(paragraph(model, Role::Text, &alert.explanation, cells));
    if let Some(subject) = &alert.subject {
        lines.push(Line::default());
        lines.extend(paragraph(model, Role::Dim, &format!("about {}", text::name(subject)), cells));
    }
    let help = hint(model, alert);
    if !help.ends_with("why") {
        lines.push(Line::default());
        lines.push(Line::from(model.span(Role::Key, format!(" {help}"))));
    }
    let key = model.settings.keymap.key(Action::Acknowledge);
    if !key.is_empty() && !model.is_acknowledged(alert) {
        lines.push(Line::from(model.span(Role::Key, format!(" {key}: acknowledge"))));
    }
    Content { title, lines }
}
