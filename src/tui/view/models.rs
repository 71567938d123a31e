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
use crate::health::Alert;
use crate::observation::{MetricView, ModelView};
use crate::stats::Tally;
use crate::stats::interval::Interval;
use crate::text::numbers::{
    count, count_or_dot, dollars, interval, mean_time, per_minute, percent, thousands,
};
use crate::text::width;
use crate::tui::input::action::Action;
use crate::tui::state::model::{Focus, Model};
use crate::tui::state::table::Column;
use crate::tui::view::theme::Role;

/// The table with its heading.
pub(super) struct Models<'a>(pub &'a Model);

/// The numbers next to the bar in the order in which they stand, each with its width,
/// the gap before it included, and the terminal width from which on it is shown.
const NUMBERS: [(Number, &str, usize, u16); 10] = [
    (Number::Rate, "SUCCESS", 8, 0),
    (Number::Interval, "95% CI", 7, 56),
    (Number::Tests, "TESTS", 8, 0),
    (Number::Left, "LEFT", 8, 64),
    (Number::PerMinute, "/MIN", 6, 64),
    (Number::Infra, "INFRA", 6, 72),
    (Number::Cost, "COST", 9, 76),
    (Number::PerPass, "$/PASS", 9, 120),
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
    Cost,
    PerPass,
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
            Self::Left | Self::PerPass => return None,
            Self::PerMinute => Column::PerMinute,
            Self::Infra => Column::Infra,
            Self::Cost => Column::Cost,
            Self::Time => Column::Time,
            Self::Trend => Column::Trend,
        })
    }
}

/// What is left of a plan is shown where there is a plan that names models, money where there is
/// some; a narrow screen then goes without rows a minute.
fn is_wanted(model: &Model, number: Number, width: u16) -> bool {
    let spending = model.seen.as_ref().and_then(|seen| seen.spending.as_ref());
    let money = spending.is_some_and(|view| view.all.total().is_some());
    match number {
        Number::Left => model
            .progress
            .as_ref()
            .is_some_and(|p| !p.models.is_empty()),
        Number::Cost | Number::PerPass => money,
        Number::PerMinute => !money || width >= 88,
        _ => true,
    }
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
            .filter(|(number, .., from)| width >= *from && is_wanted(model, *number, width))
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
        if model.seen.is_none() || area.height == 0 {
            return;
        }
        let columns = Columns::new(model, area.width);
        title(model, &columns, area.width).render(area, buffer);
        let rows = usize::from(area.height - 1);
        let first = model.table.window(rows);
        let shown = model.table.order.iter().skip(first).take(rows);
        for (row, name) in area.rows().skip(1).zip(shown) {
            if let Some(view) = model.model(name) {
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
        let what = if model.filtering.is_some() {
            "test"
        } else {
            "model"
        };
        let text = if model
            .filtering
            .as_ref()
            .is_some_and(|filtering| filtering.busy)
        {
            "reading the tests that the filter leaves …".to_owned()
        } else {
            format!(
                "no {what} matches “{}”; {key} shows all",
                model.table.filter
            )
        };
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
        model.seen.as_ref().map_or(0, |seen| seen.models.len()),
    );
    let mut name = match all {
        1 => format!("1 MODEL {arrow}{column}"),
        all => format!("{} MODELS {arrow}{column}", thousands(all as u64)),
    };
    if !table.filter.is_empty() {
        name = format!("{models} of {all} {arrow}{column}");
    }
    // A narrow terminal needs the legend's place.
    let spills = width::width(&name) > columns.name;
    let legend = if spills && table.filter.is_empty() {
        String::new()
    } else if !table.filter.is_empty() {
        width::truncate(&format!("/{}", table.filter), columns.bar.saturating_sub(1))
    } else if let Some(chosen) = metric(model) {
        width::truncate(
            &format!("█ {}", width::name(&chosen.metric.name)),
            columns.bar.saturating_sub(1),
        )
    } else if columns.bar > 16 {
        "█ full ▒ partial".to_owned()
    } else {
        "█ full".to_owned()
    };
    let name = width::truncate(
        &name,
        if legend.is_empty() {
            columns.name + columns.bar
        } else {
            columns.name
        },
    );
    let rule = |n: usize| model.span(Role::Rule, "─".repeat(n));
    let mut spans = vec![rule(1)];
    let wide = width::width(&name);
    let gap = (columns.name + 1).saturating_sub(wide);
    spans.extend([model.span(role, name), rule(gap)]);
    let used = width::width(&legend) + wide.saturating_sub(columns.name + 1);
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
        let title = match (number, metric(model)) {
            (Number::Rate, Some(_)) => "MEAN",
            _ => title,
        };
        spans.extend([
            rule(cells - title.len().min(*cells)),
            model.span(role, title),
        ]);
    }
    let used: usize = spans.iter().map(|s| width::width(&s.content)).sum();
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
    let mark = throttled(model, &view.model).unwrap_or_default();
    let room = columns.name.saturating_sub(width::width(&mark));
    let mut spans = vec![
        model.span(Role::Text, sign),
        model.span(role, width::left_middle(&width::name(&view.model), room)),
        model.span(Role::Warning, mark),
        Span::raw(" "),
    ];
    match (metric(model), view.measured) {
        (Some(chosen), measured) => {
            let mean = measured.and_then(|own| chosen.share(own.mean));
            let range = measured.and_then(|own| own.interval).and_then(|own| {
                Some(Interval {
                    low: chosen.share(own.low)?,
                    high: chosen.share(own.high)?,
                })
            });
            spans.extend(share(model, mean, 0.0, range, columns.bar));
        }
        (None, _) => spans.extend(bar(model, &view.tally, view.interval(), columns.bar)),
    }
    for (number, _, cells) in &columns.numbers {
        let (role, text) = figure(model, view, *number, cells - 1);
        spans.push(model.span(role, width::right(&text, *cells)));
    }
    Line::from(spans)
}

/// "▲429": requests of a model are turned away at the moment.
fn throttled(model: &Model, name: &str) -> Option<String> {
    let seen = model.seen.as_ref()?;
    let mut alerts = seen.alerts.iter();
    let alarms =
        |alert: &Alert| alert.rule == "throttled" && alert.subject.as_deref() == Some(name);
    alerts.any(alarms).then_some(())?;
    let view = seen.throttled.iter().find(|view| view.model == name)?;
    let status = view
        .status
        .map_or_else(String::new, |status| status.to_string());
    Some(format!(" ▲{status}"))
}

fn figure(model: &Model, view: &ModelView, number: Number, cells: usize) -> (Role, String) {
    let tally = &view.tally;
    match number {
        Number::Rate => match metric(model) {
            Some(chosen) => (
                Role::Text,
                view.measured
                    .map_or_else(|| "–".to_owned(), |own| chosen.metric.show(own.mean)),
            ),
            None => (Role::Text, percent(tally.success_rate())),
        },
        Number::Interval if metric(model).is_some() => {
            let half = view
                .measured
                .and_then(|own| own.interval)
                .map(|own| (own.high - own.low) / 2.0);
            let text = half.zip(metric(model)).map(|(half, chosen)| {
                let text = format!("±{}", chosen.metric.brief(half));
                width::truncate(&text, cells)
            });
            (Role::Dim, text.unwrap_or_else(|| "–".to_owned()))
        }
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
        Number::Cost => (
            Role::Text,
            view.cost.map_or_else(|| "·".to_owned(), dollars),
        ),
        Number::PerPass => {
            let each = view.cost.filter(|_| tally.full > 0);
            let each = each.map(|cost| dollars(cost / tally.full as f64));
            (Role::Dim, each.unwrap_or_else(|| "·".to_owned()))
        }
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
    let partial = tally.share(tally.partial).unwrap_or(0.0);
    share(model, tally.success_rate(), partial, interval, cells)
}

/// The metric that was chosen instead of the success rate.
pub(super) fn metric(model: &Model) -> Option<&MetricView> {
    model.seen.as_ref()?.metric.as_deref()
}

/// A share from 0 to 1 with one more next to it, and the interval of the first.
fn share(
    model: &Model,
    rate: Option<f64>,
    partial: f64,
    interval: Option<Interval>,
    cells: usize,
) -> Vec<Span<'static>> {
    let Some(rate) = rate else {
        return vec![model.span(Role::Rest, "·".repeat(cells))];
    };
    let to_cells = |rate: f64| ((rate.clamp(0.0, 1.0) * cells as f64).round() as usize).min(cells);
    let full = to_cells(rate);
    let end = to_cells(rate + partial).max(full);
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
