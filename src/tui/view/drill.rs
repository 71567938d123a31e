//! One model: its figures, what went wrong and what was said of it, success over time,
//! heatmaps and bars by every dimension, how long its tests took. On wide terminals in
//! two columns.

use std::collections::BTreeMap;

use ratatui::text::{Line, Span};
use strum::IntoEnumIterator;

use super::facts::widest;
use super::models::bar;
use super::overlay::Content;
use super::{fit, gauge, groups};
use crate::observation::ModelView;
use crate::stats::cell::UNKNOWN;
use crate::stats::interval::wilson_of;
use crate::stats::{Cell, ErrorCategory, Tally};
use crate::text::numbers::{
    count, interval, mean_time, per_minute, percent, plural, thousands, whole_percent,
};
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

pub(super) mod failures;
mod heat;
mod time;

/// Cells of the bars.
const BAR: usize = 20;
/// From this width on there are two columns.
const TWO: u16 = 120;
/// Cells between them.
const GAP: u16 = 2;

type Cells<'a> = Vec<(&'a Cell, &'a Tally)>;

/// The drill-down into a model.
pub(super) fn content(model: &Model, name: &str, width: u16) -> Content {
    let place = model.table.order.iter().position(|m| m == name);
    let place = place
        .map(|at| format!("  {} of {}", at + 1, model.table.order.len()))
        .unwrap_or_default();
    let title = title(&width::name(name), &place, width);
    let seen = model.seen.as_ref();
    let view = model.model(name);
    let (Some(seen), Some(view)) = (seen, view) else {
        return Content::new(
            title,
            vec![Line::from(model.span(Role::Dim, " no test of it is left"))],
        );
    };
    let shown = model.cells();
    let cells: Cells<'_> = shown.of_model(name).collect();
    let half = if width >= TWO {
        (width - GAP) / 2
    } else {
        width
    };
    let mut parts = vec![
        errors(model, view),
        failures::latest(model, view, half),
        time::success(model, seen, view, half),
        heat::map(model, &cells, half, &heat::PROMPT_AND_TASK),
        heat::map(model, &cells, half, &heat::DIFFICULTY_AND_RATE),
    ];
    parts.extend(dimensions().map(|(dimension, key)| by(model, view, dimension, &cells, key)));
    parts.push(everywhere(model, &cells));
    parts.push(time::spread(model, &view.detail.times));
    let mut lines = figures(model, view, width);
    lines.extend(if width >= TWO {
        side_by_side(parts, half)
    } else {
        parts.concat()
    });
    lines.extend(failures::earlier(model, view, width));
    Content::new(title, lines)
}

/// The name, cut where its place would not fit next to it.
fn title(name: &str, place: &str, width: u16) -> String {
    let room = usize::from(width).saturating_sub("MODEL ".len() + place.len() + 2);
    format!("MODEL {}{place}", width::truncate_middle(name, room))
}

/// Parts in two columns of about the same height, the first ones at the left.
fn side_by_side(parts: Vec<Vec<Line<'static>>>, width: u16) -> Vec<Line<'static>> {
    let all: usize = parts.iter().map(Vec::len).sum();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for part in parts {
        let column = if right.is_empty() && left.len() + part.len() / 2 <= all / 2 {
            &mut left
        } else {
            &mut right
        };
        column.extend(part);
    }
    let height = left.len().max(right.len());
    left.resize(height, Line::default());
    right.resize(height, Line::default());
    let beside = |(left, right): (Line<'static>, Line<'static>)| {
        let mut line = fit(left, width.into());
        let gap = usize::from(width + GAP).saturating_sub(line.width());
        line.push_span(Span::raw(" ".repeat(gap)));
        line.extend(right);
        line
    };
    left.into_iter().zip(right).map(beside).collect()
}

fn figures(model: &Model, view: &ModelView, width: u16) -> Vec<Line<'static>> {
    let tally = &view.tally;
    let figure = |value: String, unit: String| {
        vec![model.span(Role::Text, value), model.span(Role::Dim, unit)]
    };
    let ci = view
        .interval()
        .map(|i| format!(" ({})", interval(i.low, i.high)));
    let share = |n: u64| percent(tally.share(n));
    let full = percent(tally.success_rate());
    let mut first = vec![
        figure(thousands(tally.tests), " tests".to_owned()),
        vec![
            model.span(Role::Title, full.clone()),
            model.span(Role::Dim, format!(" full{}", ci.unwrap_or_default())),
        ],
        figure(share(tally.partial), " partial".to_owned()),
        figure(share(tally.failed()), " failed".to_owned()),
    ];
    if tally.unscored > 0 {
        first.push(figure(thousands(tally.unscored), " unscored".to_owned()));
    }
    let mut second = Vec::new();
    if let Some(last) = view.last_row {
        second.push(vec![
            model.span(Role::Dim, "last row "),
            model.span(Role::Text, model.when(last)),
        ]);
    }
    let pace = per_minute(view.per_minute);
    second.push(figure(
        if pace == "·" { "0".to_owned() } else { pace },
        "/min".to_owned(),
    ));
    if let Some(mean) = tally.execution_time.mean() {
        second.push(figure(mean_time(mean), " a test".to_owned()));
    }
    for (sum, unit) in [(&tally.turns, " turns"), (&tally.tool_calls, " tool calls")] {
        second.extend(
            sum.mean()
                .map(|mean| figure(format!("{mean:.1}"), unit.to_owned())),
        );
    }
    if tally.tool_coverage_rate.n > 0 {
        let mean = whole_percent(tally.tool_coverage_rate.mean());
        second.push(figure(mean, " tool coverage".to_owned()));
    }
    let mut rows = vec![first, second];
    if let Some(effective) = view.effective {
        let like = plural(effective.round() as u64, "independent one");
        rows.push(vec![vec![model.span(
            Role::Dim,
            format!("tasks repeat: the tests count like {like}, here and below"),
        )]]);
    }
    if tally.infrastructure() > 0 {
        let scored = percent(tally.scored_rate());
        rows.push(vec![
            figure(scored, " without infra errors".to_owned()),
            figure(full, " of all".to_owned()),
        ]);
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
    [
        Line::default(),
        Line::from(model.span(Role::Title, format!(" {title}"))),
    ]
}

fn errors(model: &Model, view: &ModelView) -> Vec<Line<'static>> {
    let mut found: Vec<(u64, ErrorCategory)> = ErrorCategory::iter()
        .filter_map(|category| {
            view.tally
                .errors
                .get(category as usize)
                .map(|n| (*n, category))
        })
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
        let mut line = Line::from(model.span(
            Role::Text,
            format!("   {} ", width::left(&name.replace('_', " "), 20)),
        ));
        line.extend(gauge(model, share, BAR, Role::Bar));
        line.push_span(model.span(Role::Text, width::right(&thousands(n), 9)));
        line.push_span(model.span(Role::Dim, width::right(&whole_percent(Some(share)), 6)));
        lines.push(line);
    }
    lines
}

type Key = fn(&Cell) -> String;

fn rate(cell: &Cell) -> String {
    cell.tool_success_rate
        .map_or_else(|| UNKNOWN.to_owned(), |r| r.to_string())
}

fn dimensions() -> [(&'static str, Key); 4] {
    [
        ("difficulty", |c| c.difficulty.to_string()),
        ("tool success rate", rate),
        ("prompt type", |c| c.prompt_type.to_string()),
        ("task type", |c| c.task_type.to_string()),
    ]
}

/// A value's place: what says how hard something is goes from easy to hard, the rest by name.
fn natural(value: String) -> (usize, String) {
    const STEPS: [&str; 6] = [
        "trivial",
        "very_easy",
        "easy",
        "medium",
        "hard",
        "very_hard",
    ];
    let step = STEPS
        .iter()
        .position(|step| value.eq_ignore_ascii_case(step))
        .unwrap_or(STEPS.len());
    (
        if value == UNKNOWN {
            STEPS.len() + 1
        } else {
            step
        },
        value,
    )
}

/// The tests by the values of a dimension; nothing where they all have the same.
fn by(
    model: &Model,
    view: &ModelView,
    dimension: &str,
    cells: &Cells<'_>,
    key: Key,
) -> Vec<Line<'static>> {
    let mut groups: BTreeMap<(usize, String), Tally> = BTreeMap::new();
    for (cell, tally) in cells {
        groups.entry(natural(key(cell))).or_default().add(tally);
    }
    if groups.len() < 2 {
        return Vec::new();
    }
    let mut lines = section(model, &format!("by {dimension}")).to_vec();
    let name = widest(groups.keys().map(|(_, value)| value.as_str())).clamp(8, 28);
    // The heads of the columns, in the row of the title.
    if let Some(title) = lines.last_mut() {
        let gap = (name + BAR + 4).saturating_sub(title.width());
        let heads = format!(
            "{}{:>7}{:>8}{:>9}",
            " ".repeat(gap),
            "FULL",
            "95% CI",
            "TESTS"
        );
        title.push_span(model.span(Role::Dim, heads));
    }
    // A part of the tests repeats its tasks as much as all of them do.
    let independent = view.effective.map_or(1.0, |effective| {
        effective / view.tally.judged().max(1) as f64
    });
    for ((_, value), tally) in &groups {
        let mut line = Line::from(model.span(
            Role::Text,
            format!("   {} ", width::left(&width::name(value), name)),
        ));
        let size = tally.judged() as f64 * independent;
        let sure = tally
            .success_rate()
            .filter(|_| size > 0.0)
            .map(|rate| wilson_of(rate, size));
        line.extend(bar(model, tally, sure, BAR));
        line.push_span(model.span(Role::Text, width::right(&percent(tally.success_rate()), 7)));
        let ci = sure.map(|i| interval(i.low, i.high)).unwrap_or_default();
        line.push_span(model.span(Role::Dim, width::right(&ci, 8)));
        line.push_span(model.span(Role::Text, width::right(&count(tally.tests, 8), 9)));
        lines.push(line);
    }
    lines
}

/// The dimensions that have one value for all tests, in a line; nothing is said of those
/// that the rows do not name.
fn everywhere(model: &Model, cells: &Cells<'_>) -> Vec<Line<'static>> {
    let same = dimensions().into_iter().filter_map(|(dimension, key)| {
        let mut values = cells.iter().map(|(cell, _)| key(cell));
        let first = values.next().filter(|first| first != UNKNOWN)?;
        values
            .all(|value| value == first)
            .then(|| format!("{dimension} {}", width::name(&first)))
    });
    let same: Vec<String> = same.collect();
    if same.is_empty() {
        return Vec::new();
    }
    vec![
        Line::default(),
        Line::from(model.span(Role::Dim, format!(" all of them: {}", same.join(", ")))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_leaves_room_for_its_place() {
        assert_eq!(title("gpt-4o", "  3 of 23", 40), "MODEL gpt-4o  3 of 23");
        let found = title(&"long-name-".repeat(9), "  3 of 23", 80);
        assert!(
            found.ends_with("long-name-  3 of 23") && width::width(&found) == 78,
            "{found}"
        );
    }
}
