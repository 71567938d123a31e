//! The last failures, newest first, with what their runner said: a few next to the error
//! categories, all that are kept at the end.

use ratatui::text::Line;

use super::section;
use crate::observation::{Failure, ModelView};
use crate::stats::cell::UNKNOWN;
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::overlay::paragraph;
use crate::tui::view::theme::Role;

/// Failures next to the error categories.
const LATEST: usize = 5;

/// The newest few, a line each.
pub(super) fn latest(model: &Model, view: &ModelView, width: u16) -> Vec<Line<'static>> {
    let failures = &view.detail.failures;
    if failures.is_empty() {
        return Vec::new();
    }
    let mut lines = section(model, "last failures").to_vec();
    for failure in failures.iter().take(LATEST) {
        let room = usize::from(width).saturating_sub(35);
        lines.push(Line::from(vec![
            model.span(
                Role::Dim,
                format!("   {} ", width::left(&clock(model, failure), 12)),
            ),
            model.span(Role::Text, width::left(&category(failure), 17)),
            if failure.message.is_empty() {
                model.span(
                    Role::Dim,
                    format!(" {}", width::truncate(&what(failure), room)),
                )
            } else {
                model.span(
                    Role::Text,
                    format!(" {}", width::truncate(&failure.message, room)),
                )
            },
        ]));
    }
    lines
}

/// All that are kept, a line each, for a list to choose from.
pub(in crate::tui::view) fn list(model: &Model, name: &str, wide: u16) -> Vec<String> {
    let views = model.seen.iter().flat_map(|seen| &seen.models);
    let Some(view) = views.into_iter().find(|view| view.model == name) else {
        return Vec::new();
    };
    let room = usize::from(wide).saturating_sub(34);
    let line = |failure: &Failure| {
        let what = what(failure);
        let said = if failure.message.is_empty() {
            what
        } else {
            format!("{what}: {}", failure.message)
        };
        format!(
            "{} {} {}",
            width::left(&clock(model, failure), 12),
            width::left(&category(failure), 17),
            width::truncate(&said, room)
        )
    };
    view.detail.failures.iter().map(line).collect()
}

/// All that are kept, with what was tested and the whole message.
pub(super) fn earlier(model: &Model, view: &ModelView, width: u16) -> Vec<Line<'static>> {
    let failures = &view.detail.failures;
    if failures.is_empty() {
        return Vec::new();
    }
    let mut lines = section(
        model,
        &format!("the last {} failures in full", failures.len()),
    )
    .to_vec();
    let cells = usize::from(width).saturating_sub(6);
    for failure in failures {
        lines.push(Line::from(vec![
            model.span(
                Role::Dim,
                format!("   {} ", width::left(&clock(model, failure), 12)),
            ),
            model.span(Role::Text, width::left(&category(failure), 17)),
            model.span(
                Role::Dim,
                format!(
                    " {}",
                    width::truncate(&what(failure), usize::from(width).saturating_sub(35))
                ),
            ),
        ]));
        for mut line in paragraph(model, Role::Text, &failure.message, cells) {
            line.spans.insert(0, model.span(Role::Dim, "    "));
            lines.push(line);
        }
    }
    lines
}

/// What was tested, as far as it is named.
fn what(failure: &Failure) -> String {
    let cell = &failure.cell;
    let rate = super::rate(cell);
    let parts = [
        &*cell.task_type,
        &*cell.difficulty,
        &*cell.prompt_type,
        &rate,
        &failure.test_id,
    ];
    let named = parts
        .into_iter()
        .filter(|part| !part.is_empty() && *part != UNKNOWN);
    named.collect::<Vec<_>>().join(" · ")
}

fn clock(model: &Model, failure: &Failure) -> String {
    failure
        .at
        .map_or_else(|| "–".to_owned(), |at| model.clock(at))
}

fn category(failure: &Failure) -> String {
    let name: &'static str = failure.category.map_or("no category", Into::into);
    name.replace('_', " ")
}
