//! No store yet: what that means and how to make one. Nothing to do but wait, so it
//! says so calmly; the dashboard appears by itself. A store without a test is filled in
//! the same ways.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::header::store;
use crate::observation::StoreState;
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// The waiting screen.
pub(super) struct Missing<'a>(pub &'a Model);

impl Widget for Missing<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        let width = usize::from(area.width.saturating_sub(6)).min(74);
        let store = store(model);
        let mut lines: Vec<(Role, String)> = Vec::new();
        let mut ways = Vec::new();
        if let Some(StoreState::Unreadable(why)) = model.store_state() {
            lines.extend(width::wrap(why, width).into_iter().map(|l| (Role::Text, l)));
            lines.push((Role::Text, String::new()));
            lines.push((
                Role::Dim,
                "The dashboard goes on by itself when that is mended.".to_owned(),
            ));
        } else {
            let title = if model.was_there {
                "The store is gone."
            } else {
                "There is no store here yet."
            };
            lines.push((Role::Title, title.to_owned()));
            lines.push((Role::Text, width::truncate_front(&store, width)));
            lines.push((Role::Text, String::new()));
            lines.push((
                Role::Dim,
                "It appears by itself as soon as something makes one:".to_owned(),
            ));
            ways = self::ways(model, width);
            if !model.was_there {
                ways.push(Line::from(model.span(
                    Role::Dim,
                    "   Logs that are written here are followed, and no store is made here.",
                )));
            }
        }
        let top = usize::from(area.height).saturating_sub(lines.len() + ways.len()) / 3;
        let lines = lines.into_iter().map(|(role, line)| {
            Line::from(vec![model.span(Role::Text, "   "), model.span(role, line)])
        });
        for (row, line) in area.rows().skip(top).zip(lines.chain(ways)) {
            line.render(row, buffer);
        }
    }
}

/// What puts tests into a store.
pub(super) fn ways(model: &Model, cells: usize) -> Vec<Line<'static>> {
    let commands = [
        ("evaltop record DIR", "results as JSON lines"),
        (
            "evaltop import FILE --into DIR",
            "results from another file",
        ),
        ("evaltop run DIR … -- COMMAND", "a command, once a test"),
        ("evaltop demo", "a made-up run to look at"),
    ];
    let line = |(command, what): (&str, &str)| {
        let (command, what) = (
            format!("     {command:<32}"),
            width::truncate(what, cells.saturating_sub(37)),
        );
        Line::from(vec![
            model.span(Role::Text, command),
            model.span(Role::Dim, what),
        ])
    };
    commands.into_iter().map(line).collect()
}
