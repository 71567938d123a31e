//! What happened, newest first: jobs and their outcomes, alerts, what other
//! processes did to the store.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::{fit, heading};
use crate::health::Severity;
use crate::tui::model::{Entry, Focus, Model};
use crate::tui::table::window;
use crate::tui::text;
use crate::tui::theme::Role;

/// The activity with its heading.
pub(super) struct Activity<'a>(pub &'a Model);

impl Widget for Activity<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        if area.height == 0 {
            return;
        }
        let focused = model.focus == Focus::Activity;
        heading(model, "ACTIVITY", "", area.width, focused).render(area, buffer);
        let rows = usize::from(area.height - 1);
        let first = window(0, model.entry.at, model.activity.len(), rows);
        for (i, (row, entry)) in area.rows().skip(1).zip(model.activity.iter().skip(first)).enumerate() {
            let chosen = focused && first + i == model.entry.at;
            let style = if chosen { model.style(Role::Selected) } else { Style::new() };
            line(model, entry, chosen, row.width).style(style).render(row, buffer);
        }
    }
}

fn line(model: &Model, entry: &Entry, chosen: bool, width: u16) -> Line<'static> {
    let role = match entry.severity {
        Severity::Healthy => Role::Text,
        severity => severity.into(),
    };
    let line = Line::from(vec![
        model.span(Role::Text, if chosen { "›" } else { " " }),
        model.span(Role::Dim, format!("{} ", model.clock(entry.at))),
        model.span(role, text::clean(&entry.text).into_owned()),
    ]);
    fit(line, width.saturating_sub(1).into())
}
