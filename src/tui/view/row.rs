//! One row of the store whole, and the log of a test: text of others, sanitised.

use ratatui::text::Line;

use super::overlay::{Content, paragraph};
use crate::text::sanitise;
use crate::text::width;
use crate::tui::state::model::{LogView, Model, RowView};
use crate::tui::view::theme::Role;

/// Lines of one value.
const MOST: usize = 2_000;

/// All columns of a row that have a value, long texts wrapped, JSON indented.
pub(super) fn row(model: &Model, view: &RowView, wide: u16) -> Content {
    let cells = usize::from(wide).saturating_sub(2);
    let name = view
        .fields
        .iter()
        .map(|(name, _)| sanitise::width(name))
        .max()
        .unwrap_or(0)
        .min(24);
    let mut lines = vec![Line::default()];
    for (column, value) in &view.fields {
        let label = width::left(&width::name(column), name);
        let short = !value.contains('\n') && sanitise::width(value) + name + 3 <= cells;
        if short {
            lines.push(Line::from(vec![
                model.span(Role::Dim, format!(" {label}  ")),
                model.span(Role::Text, width::clean(value).into_owned()),
            ]));
            continue;
        }
        lines.push(Line::from(model.span(Role::Dim, format!(" {label}"))));
        for line in value.lines().take(MOST) {
            lines.extend(
                hard(line, cells.saturating_sub(2))
                    .map(|part| Line::from(model.span(Role::Text, format!("   {part}")))),
            );
        }
    }
    if view.log.is_none() {
        lines.push(Line::default());
        lines.extend(paragraph(model, Role::Dim, "The row names no log.", cells));
    }
    Content::new(format!("TEST {}", width::name(&view.title)), lines)
}

/// The text of a log.
pub(super) fn log(model: &Model, view: &LogView, wide: u16) -> Content {
    let cells = usize::from(wide).saturating_sub(2);
    let lines = view.text.lines().flat_map(|line| {
        hard(line, cells)
            .map(|part| Line::from(model.span(Role::Text, format!(" {part}"))))
            .collect::<Vec<_>>()
    });
    Content::new(
        format!("LOG {}", width::clean(&view.title)),
        lines.collect(),
    )
}

/// A line in parts of so many cells, its indentation kept.
fn hard(line: &str, cells: usize) -> impl Iterator<Item = String> {
    let line = line.replace('\t', "    ");
    let clean = width::clean(&line).into_owned();
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut used = 0;
    for letter in clean.chars() {
        let wide = sanitise::width(letter.encode_utf8(&mut [0; 4]));
        if used + wide > cells.max(1) {
            parts.push(std::mem::take(&mut part));
            used = 0;
        }
        part.push(letter);
        used += wide;
    }
    parts.push(part);
    parts.into_iter()
}
