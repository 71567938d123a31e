//! The table of models: bar with full and partial segments, rate, interval, counts.
//! Narrow terminals lose columns from the right, wide ones gain longer bars, the mean
//! time of a test, and how the last tests went.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::facts::widest;
use super::overlay::paragraph;
use super::{missing, spark};
use crate::monitor::observation::ModelView;
use crate::stats::Tally;
use crate::stats::interval::Interval;
use crate::tui::action::Action;
use crate::tui::format::{
    count, count_or_dot, interval, mean_time, per_minute, percent, thousands,
};
use crate::tui::model::{Focus, Model};
use crate::tui::table::Column;
use crate::tui::text;
use crate::tui::theme::Role;

/// The table with its heading.
pub(super) struct Models<'a>(pub &'a Model);

/// The numbers beside the bar in the order in which they stand, each with its width,
/// the gap before it included, and the terminal width from which on it is shown.
const NUMBERS: [(Number, &str, usize, u16); 8] = [
    (Number::Rate, "FULL", 7, 0),
    (Number::Interval, "95% CI", 7, 56),
    (Number::Tests, "TESTS", 8, 0),
    (Number::Left, "LEFT", 8, 64),
    (Number::PerMinute, "/MIN", 6, 64),
    (Number::Infra, "INFRA", 6, 72),
    (Number::Time, "TIME", 7, 100),
    (Number::Trend, "TREND", 10, 110),
];

#[derive(Clone, Copy)]
enum Number {
    Rate,
    Interval,
    Tests,
    Left,
    PerMinute,
    Infra,
    Time,
    Trend,
}

impl Number {
    /// The column of the order that it is.
    fn column(self) -> Option<Column> {
        Some(match self {
            Self::Rate => Column::Rate,
            Self::Interval => Column::Ci,
            Self::Tests => Column::Tests,
            Self::Left => return None,
            Self::PerMinute => Column::PerMinute,
            Self::Infra => Column::Infra,
            Self::Time => Column::Time,
            Self::Trend => Column::Trend,
        })
    }
}

/// What is left of a plan is shown where there is a plan that names models.
fn is_wanted(model: &Model, number: Number) -> bool {
    !matches!(number, Number::Left)
        || model
            .progress
            .as_ref()
            .is_some_and(|p| !p.models.is_empty())
}

struct Columns {
    name: usize,
    bar: usize,
    numbers: Vec<(Number, &'static str, usize)>,
}

impl Columns {
    /// At 80 columns: 21 to 25 for the name, the rest of 43 for the bar.
    fn new(model: &Model, width: u16) -> Self {
        let numbers: Vec<_> = NUMBERS
            .iter()
            .filter(|(number, .., from)| width >= *from && is_wanted(model, *number))
            .map(|(number, title, cells, _)| (*number, *title, *cells))
            .collect();
        let fixed: usize = numbers.iter().map(|(.., cells)| cells).sum();
        // Marker, gap before the bar, margin.
        let room = usize::from(width).saturating_sub(fixed + 3);
        let longest = widest(model.table.order.iter().map(String::as_str));
        let least = (room / 2).min(21);
        // A bar can be shorter than a name that says which model it is.
        let name = longest.clamp(least, (room * 3 / 5).max(least));
        Self {
            name,
            bar: room - name,
            numbers,
        }
    }
}

/// The column whose heading stands at a cell of a table that is so wide.
pub(crate) fn column_at(model: &Model, width: u16, x: u16) -> Option<Column> {
    let columns = Columns::new(model, width);
    let mut end = columns.name + 2;
    let x = usize::from(x);
    if x < end {
        return Some(Column::Name);
    }
    end += columns.bar;
    if x < end {
        return Some(Column::Partial);
    }
    let mut numbers = columns.numbers.iter();
    let hit = numbers.find(|(.., cells)| {
        end += cells;
        x < end
    });
    hit.and_then(|(number, ..)| number.column())
}

/// Where among all rows the shown ones are, at the right edge: nothing where all are shown.
fn thumb(model: &Model, area: Rect, first: usize, buffer: &mut Buffer) {
    let (rows, all) = (usize::from(area.height), model.table.order.len());
    if rows == 0 || all <= rows || area.width == 0 {
        return;
    }
    let long = (rows * rows / all).max(1);
    let from = (first * (rows - long)).div_ceil(all - rows);
    for row in area.rows().skip(from).take(long) {
        buffer.set_string(row.right() - 1, row.y, "▐", model.style(Role::Rule));
    }
}

impl Widget for Models<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        let Some(seen) = model.seen.as_ref().filter(|_| area.height > 0) else {
            return;
        };
        let columns = Columns::new(model, area.width);
        title(model, &columns, area.width).render(area, buffer);
        let rows = usize::from(area.height - 1);
        let first = model.table.window(rows);
        let shown = model.table.order.iter().skip(first).take(rows);
        for (row, name) in area.rows().skip(1).zip(shown) {
            let found = seen.models.binary_search_by(|m| m.model.as_str().cmp(name));
            if let Some(view) = found.ok().and_then(|i| seen.models.get(i)) {
                let chosen = model.table.selected.as_ref() == Some(name);
                let style = if chosen && model.focus == Focus::Models {
                    model.style(Role::Selected)
                } else {
                    Style::new()
                };
                line(model, view, &columns, chosen)
                    .style(style)
                    .render(row, buffer);
            }
        }
        let below = Rect {
            y: area.y + 1,
            height: area.height - 1,
            ..area
        };
        thumb(model, below, first, buffer);
        if model.table.order.is_empty() {
            for (row, line) in below.rows().zip(nothing(model, area.width)) {
                line.render(row, buffer);
            }
        }
    }
}

/// What stands in place of rows where there are none: why, and what to do.
fn nothing(model: &Model, width: u16) -> Vec<Line<'static>> {
    let cells = usize::from(width).saturating_sub(2);
    if !model.table.filter.is_empty() {
        let key = model.settings.keymap.key(Action::Back);
        let text = format!("no model matches “{}”; {key} shows all", model.table.filter);
        return paragraph(model, Role::Dim, &text, cells).collect();
    }
    let begin = "No test yet. Results appear here as soon as something records one:";
    paragraph(model, Role::Dim, begin, cells)
        .chain(missing::ways(model, cells))
        .collect()
}

fn title(model: &Model, columns: &Columns, width: u16) -> Line<'static> {
    let table = &model.table;
    let arrow = if table.reversed == (table.column == Column::Name) {
        '▼'
    } else {
        '▲'
    };
    let column: &str = table.column.into();
    let role = if model.focus == Focus::Models {
        Role::Title
    } else {
        Role::Dim
    };
    let (models, all) = (
        table.order.len(),
        model.seen.as_ref().map_or(0, |o| o.models.len()),
    );
    let mut name = match all {
        1 => format!("1 MODEL {arrow}{column}"),
        all => format!("{} MODELS {arrow}{column}", thousands(all as u64)),
    };
    if !table.filter.is_empty() {
        name = format!("{models} of {all} {arrow}{column}");
    }
    // A narrow terminal needs the legend's place.
    let spills = text::width(&name) > columns.name;
    let legend = if spills && table.filter.is_empty() {
        String::new()
    } else if !table.filter.is_empty() {
        text::truncate(&format!("/{}", table.filter), columns.bar.saturating_sub(1))
    } else if columns.bar > 16 {
        "█ full ▒ partial".to_owned()
    } else {
        "█ full".to_owned()
    };
    let name = text::truncate(
        &name,
        if legend.is_empty() {
            columns.name + columns.bar
        } else {
            columns.name
        },
    );
    let rule = |n: usize| model.span(Role::Rule, "─".repeat(n));
    let mut spans = vec![rule(1)];
    let wide = text::width(&name);
    let gap = (columns.name + 1).saturating_sub(wide);
    spans.extend([model.span(role, name), rule(gap)]);
    let used = text::width(&legend) + wide.saturating_sub(columns.name + 1);
    spans.extend([
        model.span(Role::Dim, legend),
        rule(columns.bar.saturating_sub(used)),
    ]);
    for (number, title, cells) in &columns.numbers {
        let role = if number.column() == Some(table.column) {
            role
        } else {
            Role::Dim
        };
        spans.extend([
            rule(cells - title.len().min(*cells)),
            model.span(role, *title),
        ]);
    }
    let used: usize = spans.iter().map(|s| text::width(&s.content)).sum();
    spans.push(rule(usize::from(width).saturating_sub(used)));
    Line::from(spans)
}

fn line(model: &Model, view: &ModelView, columns: &Columns, chosen: bool) -> Line<'static> {
    let role = if view.burst.is_some() {
        Role::Warning
    } else {
        Role::Text
    };
    let sign = match (chosen, model.table.marked.contains(&view.model)) {
        (true, true) => "◆",
        (false, true) => "●",
        (true, false) => "›",
        (false, false) => " ",
    };
    let mut spans = vec![
        model.span(Role::Text, sign),
        model.span(
            role,
            text::left_middle(&text::name(&view.model), columns.name),
        ),
        Span::raw(" "),
    ];
    spans.extend(bar(model, &view.tally, view.interval(), columns.bar));
    for (number, _, cells) in &columns.numbers {
        let (role, text) = figure(model, view, *number, cells - 1);
        spans.push(model.span(role, text::right(&text, *cells)));
    }
    Line::from(spans)
}

fn figure(model: &Model, view: &ModelView, number: Number, cells: usize) -> (Role, String) {
    let tally = &view.tally;
    match number {
        Number::Rate => (Role::Text, percent(tally.success_rate())),
        Number::Interval => {
            let text = view.interval().map(|i| interval(i.low, i.high));
            (Role::Dim, text.unwrap_or_else(|| "–".to_owned()))
        }
        Number::Tests => (Role::Text, count(tally.tests, cells)),
        Number::Left => match model
            .progress
            .as_ref()
            .and_then(|p| p.models.get(view.model.as_str()))
        {
            Some(part) if part.left() == 0 => (Role::Healthy, "done".to_owned()),
            Some(part) => (Role::Text, count(part.left(), cells)),
            None => (Role::Dim, "·".to_owned()),
        },
        Number::PerMinute => (Role::Dim, per_minute(view.per_minute)),
        Number::Infra => (Role::Text, count_or_dot(tally.infrastructure(), cells)),
        Number::Time => {
            let text = tally.execution_time.mean().map(mean_time);
            (Role::Dim, text.unwrap_or_else(|| "·".to_owned()))
        }
        Number::Trend => (Role::Bar, spark::rates(&view.trend)),
    }
}

/// Full and partial segments. Where the interval is wider than two cells, so that its
/// ends and something between them can be drawn, they are marked, and what lies
/// between is paler.
pub(super) fn bar(
    model: &Model,
    tally: &Tally,
    interval: Option<Interval>,
    cells: usize,
) -> Vec<Span<'static>> {
    let Some(rate) = tally.success_rate() else {
        return vec![model.span(Role::Rest, "·".repeat(cells))];
    };
    let share = |n: u64| n as f64 / tally.tests as f64;
    let to_cells = |rate: f64| ((rate.clamp(0.0, 1.0) * cells as f64).round() as usize).min(cells);
    let full = to_cells(rate);
    let end = to_cells(rate + share(tally.partial)).max(full);
    // The cells that the ends of the interval fall into.
    let marks = interval.and_then(|i| {
        let cell = |rate: f64| ((rate * cells as f64) as usize).min(cells.saturating_sub(1));
        ((i.high - i.low) * cells as f64 >= 2.0).then(|| (cell(i.low), cell(i.high)))
    });
    let segment = |at: usize| match at {
        at if at < full => (Role::Bar, '█'),
        at if at < end => (Role::Partial, '▒'),
        _ => (Role::Rest, '·'),
    };
    let mut spans: Vec<(Role, String)> = Vec::new();
    for at in 0..cells {
        let (role, symbol) = match (segment(at), marks) {
            (_, Some((low, _))) if at == low => (Role::Text, '├'),
            (_, Some((_, high))) if at == high => (Role::Text, '┤'),
            ((Role::Bar, symbol), Some((low, _))) if at > low => (Role::Uncertain, symbol),
            (segment, _) => segment,
        };
        match spans.last_mut() {
            Some((last, text)) if *last == role => text.push(symbol),
            _ => spans.push((role, symbol.to_string())),
        }
    }
    spans
        .into_iter()
        .map(|(role, text)| model.span(role, text))
        .collect()
}
