//! What happened, newest first: jobs and their outcomes, alerts, what other
//! processes did to the store.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::{fit, heading, rows};
use crate::health::Severity;
use crate::text::width;
use crate::tui::state::model::{Entry, Focus, Model};
use crate::tui::view::theme::Role;

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
        for (row, (item, part)) in area.rows().skip(1).zip(placed(model, area)) {
            let Some(entry) = model.activity.get(item) else {
                continue;
            };
            let chosen = focused && item == model.entry.at;
            let style = if chosen {
                model.style(Role::Selected)
            } else {
                Style::new()
            };
            let text = if rows::wraps(area) {
                broken(model, entry, area.width)
                    .into_iter()
                    .nth(part)
                    .unwrap_or_default()
            } else {
                width::clean(&within(model, &entry.text)).into_owned()
            };
            line(model, entry, text, chosen, part, row.width)
                .style(style)
                .render(row, buffer);
        }
    }
}

/// Which entry stands in which row below the heading, and which of its lines.
pub(crate) fn placed(model: &Model, area: Rect) -> Vec<(usize, usize)> {
    let height = |item: usize| match model.activity.get(item) {
        Some(entry) if rows::wraps(area) => broken(model, entry, area.width).len(),
        _ => 1,
    };
    rows::place(model.activity.len(), height, model.entry.at, area)
}

/// What was said, with paths of the store as seen from it: the header has the rest.
pub(super) fn within(model: &Model, said: &str) -> String {
    said.replace(&format!("{}/", model.settings.store.display()), "")
}

/// The text of an entry in lines that fit next to its time.
fn broken(model: &Model, entry: &Entry, width: u16) -> Vec<String> {
    let before = width::width(&model.clock(entry.at)) + 3;
    width::wrap(
        &within(model, &entry.text),
        usize::from(width).saturating_sub(before),
    )
}

fn line(
    model: &Model,
    entry: &Entry,
    text: String,
    chosen: bool,
    part: usize,
    width: u16,
) -> Line<'static> {
    let role = match entry.severity {
        Severity::Healthy => Role::Text,
        severity => severity.into(),
    };
    let clock = model.clock(entry.at);
    let time = if part == 0 {
        clock
    } else {
        " ".repeat(width::width(&clock))
    };
    let line = Line::from(vec![
        model.span(Role::Text, if chosen && part == 0 { "›" } else { " " }),
        model.span(Role::Dim, format!("{time} ")),
        model.span(role, text),
    ]);
    fit(line, width.saturating_sub(1).into())
}
