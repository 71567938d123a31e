//! Two dimensions against each other: success as a shade and a figure, with n in every
//! cell.

use std::collections::{BTreeMap, BTreeSet};

use ratatui::text::{Line, Span};

use super::{Cells, Key, natural, rate, section};
use crate::stats::Tally;
use crate::text::numbers::{count, whole_percent};
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::facts::widest;
use crate::tui::view::theme::{Depth, Role};

/// What stands against what.
pub(super) struct Axes {
    title: &'static str,
    rows: Key,
    columns: Key,
}

/// How a task is put against what the task is.
pub(super) const PROMPT_AND_TASK: Axes = Axes {
    title: "prompt type × task type",
    rows: |cell| cell.prompt_type.to_string(),
    columns: |cell| cell.task_type.to_string(),
};

/// How hard the task is against how reliable the tools are.
pub(super) const DIFFICULTY_AND_RATE: Axes = Axes {
    title: "difficulty × tool success rate",
    rows: |cell| cell.difficulty.to_string(),
    columns: rate,
};

/// A value with its place in the order.
type Value = (usize, String);

/// Cells of a column of the heatmap: rate, n, gap.
const COLUMN: usize = 12;

/// The heatmap; nothing where one of the dimensions has a single value.
pub(super) fn map(model: &Model, cells: &Cells<'_>, width: u16, axes: &Axes) -> Vec<Line<'static>> {
    let mut found: BTreeMap<(Value, Value), Tally> = BTreeMap::new();
    for (cell, tally) in cells {
        found
            .entry((natural((axes.rows)(cell)), natural((axes.columns)(cell))))
            .or_default()
            .add(tally);
    }
    let rows: BTreeSet<&Value> = found.keys().map(|(row, _)| row).collect();
    let columns: BTreeSet<&Value> = found.keys().map(|(_, column)| column).collect();
    let columns: Vec<&Value> = columns.into_iter().collect();
    if rows.len() < 2 || columns.len() < 2 {
        return Vec::new();
    }
    let name = widest(rows.iter().map(|(_, row)| row.as_str())).clamp(6, 28);
    // Where not all columns fit next to the longest name, names are cut before columns go below.
    let beside = |name: usize| usize::from(width).saturating_sub(name + 5) / COLUMN;
    let short = (6..name)
        .rev()
        .find(|short| beside(*short) >= columns.len());
    let name = short
        .filter(|short| *short >= 14 && beside(name) < columns.len())
        .unwrap_or(name);
    let mut lines = section(model, &format!("{}, full success and n", axes.title)).to_vec();
    for columns in columns.chunks(beside(name).max(1)) {
        let mut head = Line::from(Span::raw(" ".repeat(name + 4)));
        for (_, column) in columns {
            let title = width::left_middle(&width::name(column), COLUMN - 1);
            head.push_span(model.span(Role::Dim, format!("{title} ")));
        }
        lines.push(head);
        for row in &rows {
            let title = format!("   {} ", width::left_middle(&width::name(&row.1), name));
            let mut line = Line::from(model.span(Role::Text, title));
            for column in columns {
                line.extend(heat(model, found.get(&((*row).clone(), (*column).clone()))));
            }
            lines.push(line);
        }
    }
    lines
}

/// One cell: a shade where there are colours enough, else a block that grows.
fn heat(model: &Model, tally: Option<&Tally>) -> Vec<Span<'static>> {
    const SHADES: [&str; 4] = ["·", "░", "▒", "█"];
    let Some((tally, rate)) = tally.and_then(|t| Some((t, t.success_rate()?))) else {
        return vec![Span::raw(" ".repeat(COLUMN))];
    };
    let text = width::right(&whole_percent(Some(rate)), 4);
    let n = width::right(&count(tally.tests, 5), 6);
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
    vec![
        model.span(Role::Bar, shade),
        model.span(Role::Text, text),
        model.span(Role::Dim, n),
        Span::raw(" "),
    ]
}
