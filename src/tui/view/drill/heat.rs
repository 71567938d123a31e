//! Two dimensions against each other: success as a shade and a figure, with n in every
//! cell.

use std::collections::{BTreeMap, BTreeSet};

use ratatui::text::{Line, Span};

use super::{Cells, Key, rate, section};
use crate::stats::Tally;
use crate::tui::format::{count, whole_percent};
use crate::tui::model::Model;
use crate::tui::text;
use crate::tui::theme::{Depth, Role};
use crate::tui::view::facts::widest;

/// What stands against what.
pub(super) struct Axes {
    title: &'static str,
    rows: Key,
    columns: Key,
    /// What the columns are called when some do not fit.
    many: &'static str,
}

/// How a task is put against what the task is.
pub(super) const PROMPT_AND_TASK: Axes = Axes {
    title: "prompt type × task type",
    rows: |cell| cell.prompt_type.to_string(),
    columns: |cell| cell.task_type.to_string(),
    many: "task types",
};

/// How hard the task is against how reliable the tools are.
pub(super) const DIFFICULTY_AND_RATE: Axes = Axes {
    title: "difficulty × tool success rate",
    rows: |cell| cell.difficulty.to_string(),
    columns: rate,
    many: "rates",
};

/// Cells of a column of the heatmap: rate, n, gap.
const COLUMN: usize = 12;

/// The heatmap; nothing where one of the dimensions has a single value.
pub(super) fn map(model: &Model, cells: &Cells<'_>, width: u16, axes: &Axes) -> Vec<Line<'static>> {
    let mut found: BTreeMap<(String, String), Tally> = BTreeMap::new();
    for (cell, tally) in cells {
        found.entry(((axes.rows)(cell), (axes.columns)(cell))).or_default().add(tally);
    }
    let rows: BTreeSet<&String> = found.keys().map(|(row, _)| row).collect();
    let columns: BTreeSet<&String> = found.keys().map(|(_, column)| column).collect();
    if rows.len() < 2 || columns.len() < 2 {
        return Vec::new();
    }
    let name = widest(rows.iter().map(|row| row.as_str())).clamp(6, 22);
    let fitting = usize::from(width).saturating_sub(name + 5) / COLUMN;
    let mut lines = section(model, &format!("{}, full success and n", axes.title)).to_vec();
    let mut head = Line::from(Span::raw(" ".repeat(name + 4)));
    for column in columns.iter().take(fitting) {
        head.push_span(model.span(Role::Dim, format!("{} ", text::left(&text::name(column), COLUMN - 1))));
    }
    lines.push(head);
    for row in rows {
        let title = format!("   {} ", text::left(&text::name(row), name));
        let mut line = Line::from(model.span(Role::Text, title));
        for column in columns.iter().take(fitting) {
            line.extend(heat(model, found.get(&(row.clone(), (*column).clone()))));
        }
        lines.push(line);
    }
    if columns.len() > fitting {
        let more = format!("   {} more {}: widen the terminal", columns.len() - fitting, axes.many);
        lines.push(Line::from(model.span(Role::Dim, more)));
    }
    lines
}

/// One cell: a shade where there are colours enough, else a block that grows.
fn heat(model: &Model, tally: Option<&Tally>) -> Vec<Span<'static>> {
    const SHADES: [&str; 4] = ["·", "░", "▒", "█"];
    let Some((tally, rate)) = tally.and_then(|t| Some((t, t.success_rate()?))) else {
        return vec![Span::raw(" ".repeat(COLUMN))];
    };
    let text = text::right(&whole_percent(Some(rate)), 4);
    let n = text::right(&count(tally.tests, 5), 6);
    if model.settings.theme.depth == Depth::True {
        let shade = model.settings.theme.shade(rate);
        return vec![
            Span::styled(text, model.style(Role::Text).patch(shade)),
            Span::styled(n, model.style(Role::Text).patch(shade)),
            Span::styled(" ", shade),
            Span::raw(" "),
        ];
    }
    let shade = SHADES.get((rate * 3.99) as usize).copied().unwrap_or(" ");
    vec![model.span(Role::Bar, shade), model.span(Role::Text, text), model.span(Role::Dim, n), Span::raw(" ")]
}
