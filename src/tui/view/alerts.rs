//! What needs somebody, worst first, each with the key that helps.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::{heading, rows, status, with_right};
use crate::health::{Alert, Remedy, Severity};
use crate::text::width;
use crate::tui::input::action::Action;
use crate::tui::state::alert_history::Quiet;
use crate::tui::state::model::{Focus, Model};
use crate::tui::view::theme::Role;

/// Cells before the message: marker, sign, gap.
const BEFORE: usize = 3;

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
        let title = if alerts.is_empty() {
            "ALERTS".to_owned()
        } else {
            format!("ALERTS {}", alerts.len())
        };
        let placed = placed(model, area);
        let granted = granted(model, area);
        let hidden = alerts.len()
            - placed
                .iter()
                .filter(|(_, part)| *part == 0)
                .count()
                .min(alerts.len());
        let more = if hidden > 0 {
            format!("{hidden} more")
        } else {
            String::new()
        };
        heading(model, &title, &more, area.width, focused).render(area, buffer);
        if alerts.is_empty() && area.height > 1 {
            let row = Rect {
                y: area.y + 1,
                height: 1,
                ..area
            };
            let reading = model
                .seen
                .as_ref()
                .is_some_and(|seen| seen.reading.is_some());
            let text = if reading {
                " not checked yet"
            } else {
                " nothing needs anybody"
            };
            Line::from(model.span(Role::Dim, text)).render(row, buffer);
        }
        for (row, (item, part)) in area.rows().skip(1).zip(placed) {
            let Some(alert) = alerts.get(item) else {
                continue;
            };
            let chosen = focused && item == model.alert.at;
            let style = if chosen {
                model.style(Role::Selected)
            } else {
                Style::new()
            };
            let last = granted.get(item).is_none_or(|rows| part + 1 == *rows);
            line(model, alert, chosen, (part, last), area.width)
                .style(style)
                .render(row, buffer);
        }
    }
}

/// Which alert stands in which row below the heading, and which of its lines.
pub(crate) fn placed(model: &Model, area: Rect) -> Vec<(usize, usize)> {
    let granted = granted(model, area);
    let height = |item: usize| granted.get(item).copied().unwrap_or(1);
    rows::place(granted.len(), height, model.alert.at, area)
}

/// Rows that all alerts take in full at a width.
pub(super) fn lines(model: &Model, width: u16) -> usize {
    model
        .alerts()
        .into_iter()
        .map(|alert| broken(model, alert, width).len())
        .sum()
}

/// Rows for each alert: one, so that as many as can be are seen, and what is left over for
/// the worst ones' further lines.
fn granted(model: &Model, area: Rect) -> Vec<usize> {
    let alerts = model.alerts();
    let mut spare = usize::from(area.height.saturating_sub(1)).saturating_sub(alerts.len());
    let rows = |alert: &Alert| {
        let further = (broken(model, alert, area.width).len().max(1) - 1).min(spare);
        spare -= further;
        1 + further
    };
    alerts.into_iter().map(rows).collect()
}

/// The sign of a severity.
pub(super) fn sign(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "✖",
        Severity::Warning => "▲",
        Severity::Healthy => "·",
    }
}

/// What stands at the right: the key that helps, in the alert's row the one for its
/// explanation; else who silenced it.
fn right(model: &Model, alert: &Alert) -> String {
    match model.book.quiet(alert) {
        Some(Quiet::Snoozed(_, until)) => format!("snoozed until {}", model.until(until)),
        Some(Quiet::Acknowledged(_)) => "acknowledged".to_owned(),
        None => {
            let why = || format!("{}: why", model.settings.keymap.key(Action::Open));
            status::job(model, alert).unwrap_or_else(why)
        }
    }
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

/// The message in lines that leave room for what stands at the right.
fn broken(model: &Model, alert: &Alert, width: u16) -> Vec<String> {
    let right = right(model, alert);
    let room = usize::from(width).saturating_sub(BEFORE + width::width(&right) + 2);
    width::wrap(&status::said(alert, &right), room)
}

fn line(
    model: &Model,
    alert: &Alert,
    chosen: bool,
    (part, last): (usize, bool),
    width: u16,
) -> Line<'static> {
    let noted = model.is_quiet(alert);
    let (of_sign, of_text) = if noted {
        (Role::Dim, Role::Dim)
    } else {
        (alert.severity.into(), Role::Text)
    };
    let right = right(model, alert);
    let mut parts = broken(model, alert, width).into_iter().skip(part);
    // The last row that it has says that there is more.
    let text = if last {
        parts.collect::<Vec<_>>().join(" ")
    } else {
        parts.next().unwrap_or_default()
    };
    let (marker, sign) = match part {
        0 => (
            if chosen { "›" } else { " " },
            if noted { "·" } else { sign(alert.severity) },
        ),
        _ => (" ", " "),
    };
    let left = Line::from(vec![
        model.span(Role::Text, marker),
        model.span(of_sign, sign),
        model.span(of_text, format!(" {text}")),
    ]);
    let right = if part == 0 { right } else { String::new() };
    with_right(left, vec![model.span(Role::Dim, right)], width)
}
