//! What needs somebody, worst first, each with the key that helps.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::{heading, status, with_right};
use crate::health::{Alert, Remedy, Severity};
use crate::tui::action::Action;
use crate::tui::book::Quiet;
use crate::tui::model::{Focus, Model};
use crate::tui::table::window;
use crate::tui::theme::Role;

/// The alerts with their heading.
pub(super) struct Alerts<'a>(pub &'a Model);

impl Widget for Alerts<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        if area.height == 0 {
            return;
        }
        let alerts = model.alerts();
        let focused = model.focus == Focus::Alerts;
        let title = if alerts.is_empty() { "ALERTS".to_owned() } else { format!("ALERTS {}", alerts.len()) };
        let rows = usize::from(area.height - 1);
        let first = window(0, model.alert.at, alerts.len(), rows);
        let hidden = alerts.len().saturating_sub(rows);
        let more = if hidden > 0 { format!("{hidden} more") } else { String::new() };
        heading(model, &title, &more, area.width, focused).render(area, buffer);
        if alerts.is_empty() && rows > 0 {
            let row = Rect { y: area.y + 1, height: 1, ..area };
            Line::from(model.span(Role::Dim, " nothing needs anybody")).render(row, buffer);
        }
        for (i, (row, alert)) in area.rows().skip(1).zip(alerts.iter().skip(first)).enumerate() {
            let chosen = focused && first + i == model.alert.at;
            let style = if chosen { model.style(Role::Selected) } else { Style::new() };
            line(model, alert, chosen, row.width).style(style).render(row, buffer);
        }
    }
}

/// The sign of a severity.
pub(super) fn sign(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "✖",
        Severity::Warning => "▲",
        Severity::Healthy => "·",
    }
}

/// The key that helps: in the alert's row, the one for its explanation.
fn row_hint(model: &Model, alert: &Alert) -> String {
    let why = || format!("{}: why", model.settings.keymap.key(Action::Open));
    status::job(model, alert).unwrap_or_else(why)
}

/// The key that helps once the explanation is open.
pub(super) fn help(model: &Model, alert: &Alert) -> Option<String> {
    let key = model.settings.keymap.key(Action::Open);
    status::job(model, alert).or_else(|| match alert.action {
        Remedy::Errors => Some(format!("{key}: its errors")),
        Remedy::Writer => Some(format!("{key}: the writers")),
        _ => None,
    })
}

fn line(model: &Model, alert: &Alert, chosen: bool, width: u16) -> Line<'static> {
    let marker = if chosen { "›" } else { " " };
    let noted = model.is_quiet(alert);
    let (of_sign, of_text) = if noted { (Role::Dim, Role::Dim) } else { (alert.severity.into(), Role::Text) };
    let right = match model.book.quiet(alert) {
        Some(Quiet::Snoozed(_, until)) => format!("snoozed until {}", model.until(until)),
        Some(Quiet::Acknowledged(_)) => "acknowledged".to_owned(),
        None => row_hint(model, alert),
    };
    let left = Line::from(vec![
        model.span(Role::Text, marker),
        model.span(of_sign, if noted { "·" } else { sign(alert.severity) }),
        model.span(of_text, format!(" {}", status::said(alert, &right))),
    ]);
    with_right(left, vec![model.span(Role::Dim, right)], width)
}
