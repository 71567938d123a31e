//! No store yet: what that means and how to make one. Nothing to do but wait, so it
//! says so calmly; the dashboard appears by itself.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::header::store;
use crate::monitor::observation::StoreState;
use crate::tui::model::Model;
use crate::tui::text;
use crate::tui::theme::Role;

/// The waiting screen.
pub(super) struct Missing<'a>(pub &'a Model);

impl Widget for Missing<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        let width = usize::from(area.width.saturating_sub(6)).min(74);
        let store = store(model);
        let mut lines: Vec<(Role, String)> = Vec::new();
        if let Some(StoreState::Unreadable(why)) = model.store_state() {
            lines.extend(text::wrap(why, width).into_iter().map(|l| (Role::Text, l)));
            lines.push((Role::Text, String::new()));
            lines.push((Role::Dim, "The dashboard goes on by itself when that is mended.".to_owned()));
        } else {
            let title = if model.was_there { "The store is gone." } else { "There is no store here yet." };
            lines.push((Role::Title, title.to_owned()));
            lines.push((Role::Text, text::truncate_front(&store, width)));
            lines.push((Role::Text, String::new()));
            lines.push((Role::Dim, "It appears by itself as soon as something makes one:".to_owned()));
            let commands = [
                ("evaltop record DIR", "results as JSON lines"),
                ("evaltop import FILE --into DIR", "results from another file"),
                ("evaltop demo", "a made-up run to look at"),
            ];
            for (command, what) in commands {
                lines.push((Role::Text, text::truncate(&format!("  {command:<32}{what}"), width)));
            }
        }
        let top = usize::from(area.height).saturating_sub(lines.len()) / 3;
        for (row, (role, line)) in area.rows().skip(top).zip(lines) {
            Line::from(vec![model.span(Role::Text, "   "), model.span(role, line)]).render(row, buffer);
        }
    }
}
