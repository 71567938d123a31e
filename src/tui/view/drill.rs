//! One model: its figures, what went wrong and what was said of it, success over time,
//! heatmaps and bars by every dimension, how long its tests took.

use std::collections::BTreeMap;

use ratatui::text::Line;
use strum::IntoEnumIterator;

use super::facts::widest;
use super::models::bar;
use super::overlay::Content;
use super::{gauge, groups};
use crate::monitor::observation::ModelView;
use crate::stats::cell::UNKNOWN;
use crate::stats::interval::wilson;
use crate::stats::{Cell, ErrorCategory, Tally};
use crate::tui::format::{count, interval, mean_time, per_minute, percent, plural, thousands, whole_percent};
use crate::tui::model::Model;
use crate::tui::text;
use crate::tui::theme::Role;

mod failures;
mod heat;
mod time;

/// Cells of the bars.
const BAR: usize = 20;

type Cells<'a> = Vec<(&'a Cell, &'a Tally)>;

/// The drill-down into a model.
pub(super) fn content(model: &Model, name: &str, width: u16) -> Content {
    let title = text::name(name).into_owned();
    let seen = model.seen.as_ref();
    let view = seen.and_then(|o| o.models.iter().find(|m| m.model == name));
    let (Some(seen), Some(view)) = (seen, view) else {
        return Content { title, lines: vec![Line::from(model.span(Role::Dim, " no test of it is left"))] };
    };
    let cells: Cells<'_> = seen.cells.iter().filter(|(cell, _)| *cell.model == *name).collect();
    let mut lines = figures(model, view, width);
    lines.extend(errors(model, view));
    lines.extend(failures::latest(model, view, width));
    lines.extend(time::success(model, seen, view, width));
    lines.extend(heat::map(model, &cells, width, &heat::PROMPT_AND_TASK));
    lines.extend(heat::map(model, &cells, width, &heat::DIFFICULTY_AND_RATE));
    for (dimension, key) in dimensions() {
        lines.extend(by(model, dimension, &cells, key));
    }
    lines.extend(time::spread(model, &view.detail.times));
    lines.extend(failures::earlier(model, view, width));
    Content { title, lines }
}

fn figures(model: &Model, view: &ModelView, width: u16) -> Vec<Line<'static>> {
    let tally = &view.tally;
    let figure =
        |value: String, unit: String| vec![model.span(Role::Text, value), model.span(Role::Dim, unit)];
    let ci = view.interval().map(|i| format!(" ({})", interval(i.low, i.high)));
    let share = |n: u64| percent((tally.tests > 0).then(|| n as f64 / tally.tests as f64));
    let full = percent(tally.success_rate());
    let first = vec![
        figure(thousands(tally.tests), " tests".to_owned()),
        vec![
            model.span(Role::Title, full.clone()),
            model.span(Role::Dim, format!(" full{}", ci.unwrap_or_default())),
        ],
        figure(share(tally.partial), " partial".to_owned()),
        figure(share(tally.failed()), " failed".to_owned()),
    ];
    let mut second = Vec::new();
    if let Some(last) = view.last_row {
        second.push(vec![model.span(Role::Dim, "last row "), model.span(Role::Text, model.when(last))]);
    }
    second.push(figure(per_minute(view.per_minute), "/min".to_owned()));
    if let Some(mean) = tally.execution_time.mean() {
        second.push(figure(mean_time(mean), " a test".to_owned()));
    }
    for (sum, unit) in [(&tally.turns, " turns"), (&tally.tool_calls, " tool calls")] {
        second.extend(sum.mean().map(|mean| figure(format!("{mean:.1}"), unit.to_owned())));
    }
    if tally.tool_coverage_rate.n > 0 {
        let mean = whole_percent(tally.tool_coverage_rate.mean());
        second.push(figure(mean, " tool coverage".to_owned()));
    }
    let mut rows = vec![first, second];
    if let Some(effective) = view.effective {
        let like = plural(effective.round() as u64, "independent one");
        rows.push(vec![vec![model.span(Role::Dim, format!("tasks repeat: the tests count like {like}"))]]);
    }
    if tally.infrastructure() > 0 {
        let scored = percent(tally.scored_rate());
        rows.push(vec![figure(scored, " of scored".to_owned()), figure(full, " of all".to_owned())]);
    }
    let margin = |groups_of| {
        let mut line = Line::from(" ");
        line.extend(groups(groups_of, 2, width.saturating_sub(2)));
        line
    };
    let mut lines: Vec<_> = rows.into_iter().map(margin).collect();
    if let Some(burst) = &view.burst {
        let text = format!(
            " ▲ {} of the last {} failed, usually {}",
            thousands(burst.failed),
            thousands(burst.of),
            whole_percent(Some(burst.usual))
        );
        lines.push(Line::from(model.span(Role::Warning, text)));
    }
    lines
}

fn section(model: &Model, title: &str) -> [Line<'static>; 2] {
    [Line::default(), Line::from(model.span(Role::Title, format!(" {title}")))]
}

fn errors(model: &Model, view: &ModelView) -> Vec<Line<'static>> {
    let mut found: Vec<(u64, ErrorCategory)> = ErrorCategory::iter()
        .filter_map(|category| view.tally.errors.get(category as usize).map(|n| (*n, category)))
        .filter(|(n, _)| *n > 0)
        .collect();
    let all: u64 = found.iter().map(|(n, _)| n).sum();
    if all == 0 {
        return Vec::new();
    }
    found.sort_by_key(|(n, _)| std::cmp::Reverse(*n));
    let mut lines = section(model, &format!("{} by category", plural(all, "error"))).to_vec();
    for (n, category) in found {
        let name: &'static str = category.into();
        let share = n as f64 / all as f64;
        let mut line =
            Line::from(model.span(Role::Text, format!("   {} ", text::left(&name.replace('_', " "), 20))));
        line.extend(gauge(model, share, BAR, Role::Bar));
        line.push_span(model.span(Role::Text, text::right(&thousands(n), 9)));
        line.push_span(model.span(Role::Dim, text::right(&whole_percent(Some(share)), 6)));
        lines.push(line);
    }
    lines
}

type Key = fn(&Cell) -> String;

fn rate(cell: &Cell) -> String {
    cell.tool_success_rate.map_or_else(|| UNKNOWN.to_owned(), |r| r.to_string())
}

fn dimensions() -> [(&'static str, Key); 4] {
    [
        ("difficulty", |c| c.difficulty.to_string()),
        ("tool success rate", rate),
        ("prompt type", |c| c.prompt_type.to_string()),
        ("task type", |c| c.task_type.to_string()),
    ]
}

fn by(model: &Model, dimension: &str, cells: &Cells<'_>, key: Key) -> Vec<Line<'static>> {
    let mut groups: BTreeMap<String, Tally> = BTreeMap::new();
    for (cell, tally) in cells {
        groups.entry(key(cell)).or_default().add(tally);
    }
    if groups.is_empty() {
        return Vec::new();
    }
    let mut lines = section(model, &format!("by {dimension}")).to_vec();
    let name = widest(groups.keys().map(String::as_str)).clamp(8, 28);
    for (value, tally) in &groups {
        let mut line =
            Line::from(model.span(Role::Text, format!("   {} ", text::left(&text::name(value), name))));
        let sure = wilson(tally.full, tally.tests);
        line.extend(bar(model, tally, sure, BAR));
        line.push_span(model.span(Role::Text, text::right(&percent(tally.success_rate()), 7)));
        let ci = sure.map(|i| interval(i.low, i.high)).unwrap_or_default();
        line.push_span(model.span(Role::Dim, text::right(&ci, 8)));
        line.push_span(model.span(Role::Text, text::right(&count(tally.tests, 8), 9)));
        lines.push(line);
    }
    lines
}
