//! One model over time: its success as a line, and how long its tests took.

use ratatui::text::Line;

use super::{BAR, section};
use crate::monitor::Observation;
use crate::observation::ModelView;
use crate::stats::spread::Spread;
use crate::text::numbers::{mean_time, percent, plural, span, thousands, whole_percent};
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;
use crate::tui::view::{chart, gauge};

/// Rows of the chart.
const ROWS: usize = 4;
/// Rows of the distribution.
const STRETCHES: usize = 12;

/// Success over the run so far.
pub(super) fn success(
    model: &Model,
    seen: &Observation,
    view: &ModelView,
    width: u16,
) -> Vec<Line<'static>> {
    let history = &view.detail.history;
    let columns = usize::from(width).saturating_sub(chart::AXIS + 4);
    let Some(stretch) = chart::Stretch::new(model, seen, history, columns, None) else {
        return Vec::new();
    };
    let found = stretch.success(history, stretch.room() * chart::dots(model));
    // Too few tests for a line: each point would stand for all of them.
    if found.smoothed.is_some_and(|each| each >= stretch.seconds()) {
        return Vec::new();
    }
    let title = format!("success over the last {}", span(stretch.seconds() as f64));
    let mut lines = section(model, &title).to_vec();
    if let Some(each) = found.smoothed {
        let title = format!("  each point over {}", span(each as f64));
        lines
            .last_mut()
            .into_iter()
            .for_each(|line| line.push_span(model.span(Role::Dim, title.clone())));
    }
    for line in chart::line(model, &found.rates, stretch.room(), ROWS) {
        let mut indented = Line::from("  ");
        indented.extend(line);
        lines.push(indented);
    }
    lines
}

/// How long the tests took.
pub(super) fn spread(model: &Model, times: &Spread) -> Vec<Line<'static>> {
    let quantile = |share| times.quantile(share).map(mean_time);
    let (Some(median), Some(most)) = (quantile(0.5), quantile(0.95)) else {
        return Vec::new();
    };
    let title = format!("time of {}", plural(times.n(), "test"));
    let mut lines = section(model, &title).to_vec();
    let figures = format!("  half within {median}, 95% within {most}");
    lines
        .last_mut()
        .into_iter()
        .for_each(|line| line.push_span(model.span(Role::Dim, figures.clone())));
    let stretches = times.stretches(STRETCHES);
    let largest = stretches.iter().map(|(.., n)| *n).max().unwrap_or(1).max(1);
    for (low, high, n) in stretches {
        let range = format!("{}–{}", mean_time(low), mean_time(high));
        let mut line =
            Line::from(model.span(Role::Text, format!("   {} ", width::left(&range, 12))));
        line.extend(gauge(model, n as f64 / largest as f64, BAR, Role::Bar));
        line.push_span(model.span(Role::Text, width::right(&thousands(n), 9)));
        let share = n as f64 / times.n().max(1) as f64;
        let share = if n > 0 && share < 0.01 {
            percent(Some(share))
        } else {
            whole_percent(Some(share))
        };
        line.push_span(model.span(Role::Dim, width::right(&share, 7)));
        lines.push(line);
    }
    lines
}
