//! What lies over the panes: a title and lines to scroll through. Each overlay says
//! its lines for a width; here they are cut to the area.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::{
    alert, alert_log, choose, compare, cost, drill, files, fit, heading, help, history, progress,
    row, writers,
};
use crate::text::width;
use crate::tui::state::model::{Entry, Model, Overlay};
use crate::tui::view::theme::Role;

/// An overlay's text.
pub(super) struct Content {
    /// Heading.
    pub title: String,
    /// All lines.
    pub lines: Vec<Line<'static>>,
    /// So many of the first ones stay when the others scroll: the heads of columns.
    pub head: usize,
    /// Of a list to choose from: the selected one below the head.
    pub selected: Option<usize>,
}

impl Content {
    /// A title and lines.
    pub(super) fn new(title: impl Into<String>, lines: Vec<Line<'static>>) -> Self {
        Self {
            title: title.into(),
            lines,
            head: 0,
            selected: None,
        }
    }

    /// A title and a list to choose from below so many lines.
    pub(super) fn list(
        title: impl Into<String>,
        lines: Vec<Line<'static>>,
        head: usize,
        selected: usize,
    ) -> Self {
        Self {
            head,
            selected: Some(selected),
            ..Self::new(title, lines)
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
        let first = match content.selected {
            // The selected row is the last one shown, where it is not among the first.
            Some(at) => (at + 1).saturating_sub(rows),
            None => overlay.first_line(),
        };
        let first = first.min(all.saturating_sub(rows));
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
        Overlay::Cost(_) => cost::content(model, width),
        Overlay::Sessions(scroll) => choose::sessions(model, scroll.at, width),
        Overlay::Metrics(scroll) => choose::metrics(model, scroll.at),
        Overlay::Failed(name, scroll) => choose::failed(model, name, scroll.at, width),
        Overlay::Row(view, _) => row::row(model, view, width),
        Overlay::Log(view, _) => row::log(model, view, width),
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
    width::wrap(words, cells)
        .into_iter()
        .map(move |l| Line::from(model.span(role, format!(" {l}"))))
}
