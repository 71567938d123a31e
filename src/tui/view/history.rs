//! The run over time: rows a minute below the models where there is room for it, on wide
//! terminals success next to it, and an overlay with waiting files and their sizes as well. The stretch that is
//! shown is chosen with the left and right keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::chart::{self, Stretch};
use super::overlay::Content;
use super::{heading, layout, spark};
use crate::monitor::Observation;
use crate::stats::history::History;
use crate::stats::levels::Level;
use crate::text::numbers::{bytes, count, per_minute, percent, span, thousands};
use crate::text::width;
use crate::tui::state::model::{Model, Period};
use crate::tui::view::theme::Role;

/// The chart with its heading.
pub(super) struct Chart<'a>(pub &'a Model);

impl Widget for Chart<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        let Some(seen) = model.seen.as_ref().filter(|_| area.height > 1) else {
            return;
        };
        let beside = area.width >= layout::WIDE;
        let left = Rect {
            width: if beside { area.width / 2 } else { area.width },
            ..area
        };
        let columns = usize::from(left.width).saturating_sub(chart::AXIS + 1);
        let longest = model.period.seconds();
        let Some(stretch) = Stretch::new(model, seen, model.history(seen), columns, longest) else {
            return;
        };
        let last = format!("last {}", span(stretch.seconds() as f64));
        let rates = stretch.per_minute(model.history(seen));
        let most = rates.iter().copied().fold(0.0, f64::max);
        // The last row is the time.
        let rows = usize::from(area.height - 1);
        let axis = rows >= AXIS_ROWS;
        let rows = rows - usize::from(axis);
        let time = axis.then(|| chart::times(model, &stretch));
        let mut draw = |area: Rect, title: &str, lines: Vec<Line<'static>>| {
            heading(model, title, &last, area.width, false).render(area, buffer);
            for (row, line) in area
                .rows()
                .skip(1)
                .zip(lines.into_iter().chain(time.clone()))
            {
                line.render(row, buffer);
            }
        };
        let mut lines: Vec<_> = towers(model, &rates, rows, |most| {
            count(most.round() as u64, chart::AXIS - 1)
        })
        .collect();
        if let Some(top) = lines.first_mut() {
            chart::mark(model, seen, &stretch, top);
        }
        let legend = chart::legend(seen, &stretch);
        let title = format!("ROWS/MIN  most {}{legend}", per_minute(most));
        draw(left, &title, lines);
        if beside {
            let right = Rect {
                x: left.right(),
                width: area.width - left.width,
                ..area
            };
            let (of, title) = measured(model, seen);
            let found = stretch.success(of, stretch.room() * chart::dots(model));
            let lines = chart::line(model, &found.rates, stretch.room(), rows);
            draw(right, &title, lines.into_iter().map(Line::from).collect());
        }
    }
}

/// What the line of success shows, and its heading.
fn measured<'a>(model: &'a Model, seen: &'a Observation) -> (&'a History, String) {
    match &seen.metric {
        None => (model.history(seen), "FULL SUCCESS".to_owned()),
        Some(chosen) => (
            &chosen.history,
            width::name(&chosen.metric.name).to_uppercase(),
        ),
    }
}

/// From so many rows on, one is for the time.
const AXIS_ROWS: usize = 4;
/// Rows of a chart's heading.
const HEAD: usize = 1;
/// Charts above each other.
const CHARTS: usize = 4;

/// Everything over time.
pub(super) fn content(model: &Model, width: u16) -> Content {
    // The last row is the time.
    let room = usize::from(layout::areas(model).body.height.saturating_sub(2));
    let rows = (room.saturating_sub(1) / CHARTS)
        .saturating_sub(HEAD)
        .clamp(2, 12);
    // What the division leaves goes to the first two.
    let spare = room.saturating_sub(1 + CHARTS * (rows + HEAD)) / 2;
    let first = (rows + spare).min(12);
    let columns = usize::from(width).saturating_sub(chart::AXIS + 1);
    let stretch = model.seen.as_ref().and_then(|seen| {
        Some((
            seen,
            Stretch::new(
                model,
                seen,
                model.history(seen),
                columns,
                model.period.seconds(),
            )?,
        ))
    });
    let mut lines = vec![periods(model, stretch.map(|(_, stretch)| stretch))];
    match stretch {
        None => lines.push(Line::from(model.span(Role::Dim, " no row has a time yet"))),
        Some((seen, stretch)) => {
            lines.extend(throughput(model, seen, &stretch, first));
            lines.extend(success(model, seen, &stretch, first));
            lines.extend(waiting(model, seen, &stretch, rows));
            lines.push(chart::times(model, &stretch));
        }
    }
    Content::new("HISTORY", lines)
}

/// The periods, the chosen one marked, and the times at both ends.
fn periods(model: &Model, stretch: Option<Stretch>) -> Line<'static> {
    let mut line = Line::from(model.span(Role::Dim, " ←/→ "));
    for period in Period::all() {
        let name: &str = period.into();
        let (role, text) = if period == model.period {
            (Role::Title, format!(" [{name}]"))
        } else {
            (Role::Dim, format!("  {name} "))
        };
        line.push_span(model.span(role, text));
    }
    let clock = |second: i64| {
        jiff::Timestamp::from_second(second)
            .ok()
            .map(|at| model.clock(at))
    };
    if let Some((from, to)) =
        stretch.and_then(|s| Some((clock(s.end + 1 - s.seconds())?, clock(s.end + 1)?)))
    {
        line.push_span(model.span(Role::Dim, format!("    {from} to {to}")));
    }
    line
}

fn title(model: &Model, name: &str, figures: &str) -> Line<'static> {
    Line::from(vec![
        model.span(Role::Title, format!(" {name}")),
        model.span(Role::Dim, format!("  {figures}")),
    ])
}

/// Towers with the highest value at the left of the top row.
fn towers(
    model: &Model,
    values: &[f64],
    rows: usize,
    label: impl Fn(f64) -> String,
) -> impl Iterator<Item = Line<'static>> {
    let most = values.iter().copied().fold(0.0, f64::max);
    let top = label(most);
    (0..rows)
        .rev()
        .map(move |row| {
            let label = if row + 1 == rows && most > 0.0 {
                top.as_str()
            } else if row == 0 {
                "0"
            } else {
                ""
            };
            let blocks: String = values
                .iter()
                .map(|value| spark::tower(*value, most, row, rows))
                .collect();
            Line::from(vec![
                model.span(
                    Role::Dim,
                    format!("{} ", width::right(label, chart::AXIS - 1)),
                ),
                model.span(Role::Bar, blocks),
            ])
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn throughput(
    model: &Model,
    seen: &Observation,
    stretch: &Stretch,
    rows: usize,
) -> Vec<Line<'static>> {
    let rates = stretch.per_minute(model.history(seen));
    let all = model
        .history(seen)
        .between(
            stretch.end + 1 - stretch.seconds(),
            stretch.end + 1,
            stretch.end,
        )
        .rows;
    let now = per_minute(seen.per_minute);
    let now = if now == "·" { "0" } else { &now };
    let legend = chart::legend(seen, stretch);
    let all = thousands(all.round() as u64);
    let figures = format!("now {now}, {all} rows shown{legend}");
    let mut lines = vec![title(model, "rows/min", &figures)];
    lines.extend(towers(model, &rates, rows, |most| {
        count(most.round() as u64, chart::AXIS - 1)
    }));
    if let Some(top) = lines.get_mut(1) {
        chart::mark(model, seen, stretch, top);
    }
    lines
}

fn success(
    model: &Model,
    seen: &Observation,
    stretch: &Stretch,
    rows: usize,
) -> Vec<Line<'static>> {
    let (of, _) = measured(model, seen);
    let found = stretch.success(of, stretch.room() * chart::dots(model));
    let bucket = of.between(
        stretch.end + 1 - stretch.seconds(),
        stretch.end + 1,
        stretch.end,
    );
    let (name, mean) = match &seen.metric {
        None => (
            "full success".to_owned(),
            format!("{} of all attempts", percent(bucket.success_rate())),
        ),
        Some(chosen) => {
            let (low, high) = chosen.range.unwrap_or((0.0, 1.0));
            let show = |value: f64| chosen.metric.show(value);
            let mean = bucket
                .success_rate()
                .map_or_else(|| "–".to_owned(), |share| show(low + share * (high - low)));
            let name = width::name(&chosen.metric.name).into_owned();
            let scale = format!("mean {mean}, 0 % is {}, 100 % {}", show(low), show(high));
            (name, scale)
        }
    };
    let each = found
        .smoothed
        .map(|each| format!(", each point over {}", span(each as f64)))
        .unwrap_or_default();
    let mut lines = vec![title(model, &name, &format!("{mean}{each}"))];
    let line = |spans: Vec<Span<'static>>| Line::from(spans);
    lines.extend(
        chart::line(model, &found.rates, stretch.room(), rows)
            .into_iter()
            .map(line),
    );
    lines
}

fn waiting(
    model: &Model,
    seen: &Observation,
    stretch: &Stretch,
    rows: usize,
) -> Vec<Line<'static>> {
    let mut levels = seen
        .levels
        .columns(stretch.end, stretch.seconds(), stretch.columns);
    // The last column ends with what stands now.
    if let Some(last) = levels.last_mut() {
        *last = Some(Level {
            files: seen.waiting.increments,
            bytes: seen.waiting.increment_bytes,
        });
    }
    let files = stretch.spread(
        levels
            .iter()
            .map(|level| level.map_or(0.0, |l| l.files as f64)),
    );
    let sizes = stretch.spread(
        levels
            .iter()
            .map(|level| level.map_or(0.0, |l| l.bytes as f64)),
    );
    let now = &seen.waiting;
    let mut lines = vec![title(
        model,
        "pending files",
        &format!("now {}", thousands(now.increments)),
    )];
    lines.extend(towers(model, &files, rows, |most| {
        count(most as u64, chart::AXIS - 1)
    }));
    let most = sizes.iter().copied().fold(0.0, f64::max);
    let figures = format!(
        "now {}, most {}",
        bytes(now.increment_bytes),
        bytes(most as u64)
    );
    lines.push(title(model, "pending bytes", &figures));
    lines.extend(towers(model, &sizes, rows, |_| String::new()));
    lines
}
