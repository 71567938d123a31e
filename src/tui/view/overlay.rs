//! What lies over the panes: a title and lines to scroll through. Each overlay says
//! its lines for a width; here they are cut to the area.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::{
    alert, alert_log, compare, drill, files, fit, heading, help, history, progress, writers,
};
use crate::tui::model::{Entry, Model, Overlay};
use crate::tui::text;
use crate::tui::theme::Role;

/// An overlay's text.
pub(super) struct Content {
    /// Heading.
    pub title: String,
    /// All lines.
    pub lines: Vec<Line<'static>>,
    /// So many of the first ones stay when the others scroll: the heads of columns.
    pub head: usize,
}

impl Content {
    /// A title and lines.
    pub(super) fn new(title: impl Into<String>, lines: Vec<Line<'static>>) -> Self {
        Self {
            title: title.into(),
            lines,
            head: 0,
        }
    }

    /// A title and a table whose first line says what its columns are.
    pub(super) fn table(title: impl Into<String>, lines: Vec<Line<'static>>) -> Self {
        Self {
            head: 1,
            ..Self::new(title, lines)
        }
    }
}

/// The overlay on top.
pub(super) struct Pane<'a>(pub &'a Model, pub &'a Overlay);

impl Widget for Pane<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let Pane(model, overlay) = self;
        if area.height == 0 {
            return;
        }
        let content = content(model, overlay, area.width);
        let head = content.head.min(usize::from(area.height - 1));
        let rows = usize::from(area.height - 1) - head;
        let all = content.lines.len().saturating_sub(head);
        let first = overlay.first_line().min(all.saturating_sub(rows));
        let place = if all > rows {
            format!("{}–{} of {all}", first + 1, (first + rows).min(all))
        } else {
            String::new()
        };
        heading(model, &content.title, &place, area.width, true).render(area, buffer);
        let shown = content.lines.into_iter().enumerate();
        let shown = shown
            .filter(|(i, _)| *i < head || *i >= head + first)
            .map(|(_, line)| line);
        for (row, line) in area.rows().skip(1).zip(shown) {
            fit(line, usize::from(row.width)).render(row, buffer);
        }
    }
}

/// Lines that an overlay has at a width: how far it can be scrolled.
pub(crate) fn height(model: &Model, overlay: &Overlay, width: u16) -> usize {
    content(model, overlay, width).lines.len()
}

fn content(model: &Model, overlay: &Overlay, width: u16) -> Content {
    match overlay {
        Overlay::Help(_) => help::content(model, width),
        Overlay::Drill(name, _) => drill::content(model, name, width),
        Overlay::Alert(key, _) => alert::content(model, key, width),
        Overlay::AlertLog(_) => alert_log::content(model, width),
        Overlay::Compare(both, _) => compare::content(model, both, width),
        Overlay::History(_) => history::content(model, width),
        Overlay::Progress(_) => progress::content(model, width),
        Overlay::Writers(_) => writers::content(model, width),
        Overlay::Files(_) => files::content(model, width),
        Overlay::Entry(entry, _) => entry_content(model, entry, width),
    }
}

fn entry_content(model: &Model, entry: &Entry, width: u16) -> Content {
    let cells = usize::from(width).saturating_sub(2);
    let mut lines = vec![Line::default()];
    lines.extend(paragraph(model, Role::Text, &entry.text, cells));
    for line in &entry.lines {
        lines.extend(paragraph(model, Role::Dim, line, cells));
    }
    Content::new(format!("ACTIVITY {}", model.clock(entry.at)), lines)
}

/// Wrapped text with a margin.
pub(super) fn paragraph<'t>(
    model: &'t Model,
    role: Role,
    words: &str,
    cells: usize,
) -> impl Iterator<Item = Line<'static>> + use<'t> {
    text::wrap(words, cells)
        .into_iter()
        .map(move |l| Line::from(model.span(role, format!(" {l}"))))
}
