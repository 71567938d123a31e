//! On large screens: the tests in flight, oldest first, next to the workers.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::{fit, heading, writers};
use crate::observation::{InFlightView, WriterView};
use crate::text::numbers::thousands;
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// Both panes.
pub(super) struct Work<'a>(pub &'a Model);

/// Rows that both want, the heading included; nothing where nothing is known to be in flight.
pub(super) fn rows(model: &Model) -> usize {
    let Some(seen) = &model.seen else { return 0 };
    let tests = in_flight(model).len();
    if tests == 0 {
        return 0;
    }
    1 + tests.max(seen.writers.len())
}

/// The tests in flight with their writers, oldest first.
fn in_flight(model: &Model) -> Vec<(&WriterView, &InFlightView)> {
    let writers = model.seen.iter().flat_map(|seen| &seen.writers);
    let mut tests: Vec<_> = writers
        .filter(|writer| writer.state.is_open())
        .flat_map(|writer| writer.tests.iter().map(move |test| (writer, test)))
        .collect();
    tests.sort_by_key(|(_, test)| test.since);
    tests
}

impl Widget for Work<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        if area.height < 2 {
            return;
        }
        let left = Rect {
            width: area.width / 2,
            ..area
        };
        let right = Rect {
            x: left.right(),
            width: area.width - left.width,
            ..area
        };
        let all = model.seen.as_ref().and_then(|seen| seen.in_flight());
        let count = all.map_or(0, |(count, _)| count);
        let title = format!("IN FLIGHT {}", thousands(count));
        heading(model, &title, "age/p95", left.width, false).render(left, buffer);
        for (row, (writer, test)) in left.rows().skip(1).zip(in_flight(model)) {
            let line = flying(model, writer, test, row.width);
            fit(line, usize::from(row.width)).render(row, buffer);
        }
        let workers = writers::sorted(model);
        let title = format!("WORKERS {}", workers.len());
        heading(model, &title, "w: all", right.width, false).render(right, buffer);
        for (row, writer) in right.rows().skip(1).zip(workers) {
            let line = worker(model, writer, row.width);
            fit(line, usize::from(row.width)).render(row, buffer);
        }
    }
}

fn flying(model: &Model, writer: &WriterView, test: &InFlightView, width: u16) -> Line<'static> {
    // Sign, gaps, age, worker.
    let room = usize::from(width).saturating_sub(2 + 12 + 18);
    let (name, of) = (room / 2, room - room / 2);
    let late = test.p95.is_some_and(|p95| model.age(test.since) > p95);
    let role = if late { Role::Warning } else { Role::Text };
    Line::from(vec![
        model.span(
            Role::Text,
            format!(" {} ", width::left_middle(&width::name(&test.name), name)),
        ),
        model.span(Role::Dim, width::left_middle(&width::name(&test.model), of)),
        model.span(role, width::right(&writers::age(model, test), 12)),
        model.span(
            Role::Dim,
            format!(
                "  {}",
                width::left_middle(&width::name(&writer.label()), 16)
            ),
        ),
    ])
}

fn worker(model: &Model, writer: &WriterView, width: u16) -> Line<'static> {
    let word: &str = writer.state.into();
    let last = writer
        .last_row
        .map_or_else(|| "–".to_owned(), |last| model.when(last));
    let room = usize::from(width).saturating_sub(1 + 9 + 20 + 8 + 9 + 2);
    Line::from(vec![
        model.span(
            writers::role(writer.state),
            format!(" {}", width::left(word, 9)),
        ),
        model.span(
            Role::Text,
            width::left_middle(&width::name(&writer.label()), 20),
        ),
        model.span(
            Role::Text,
            width::right(&thousands(writer.recorded.max(writer.rows)), 8),
        ),
        model.span(Role::Dim, width::right(&last, 9)),
        model.span(
            Role::Dim,
            format!(
                "  {}",
                width::left_middle(&width::name(&writers::now(model, writer)), room)
            ),
        ),
    ])
}
