//! Every file that waits to be consolidated: size, rows, age, and why it can't be read.

use ratatui::text::Line;

use super::overlay::Content;
use crate::monitor::observation::FileState;
use crate::tui::format::{bytes, thousands};
use crate::tui::model::Model;
use crate::tui::text;
use crate::tui::theme::Role;

/// The table of files.
pub(super) fn content(model: &Model, width: u16) -> Content {
    let files = model.seen.as_ref().map(|o| o.waiting.files.as_slice()).unwrap_or_default();
    let name = usize::from(width).saturating_sub(36).clamp(12, 80);
    let head = format!(
        " {}{}{}{}",
        text::left("FILE", name),
        text::right("SIZE", 11),
        text::right("ROWS", 9),
        text::right(if model.moving() { "AGE" } else { "CHANGED" }, 13),
    );
    let mut lines = vec![Line::from(model.span(Role::Dim, head))];
    for file in files {
        let (role, note) = match &file.state {
            FileState::Ready => (Role::Text, None),
            FileState::InProgress => (Role::Dim, Some("is being written")),
            FileState::Unreadable(why) | FileState::Conflict(why) => (Role::Warning, Some(why.as_str())),
        };
        let rows =
            if matches!(file.state, FileState::Ready) { thousands(file.rows) } else { "–".to_owned() };
        lines.push(Line::from(vec![
            model.span(role, format!(" {}", text::left(&file.name, name))),
            model.span(Role::Dim, text::right(&bytes(file.bytes), 11)),
            model.span(Role::Text, text::right(&rows, 9)),
            model.span(Role::Dim, text::right(&model.when(file.modified), 13)),
        ]));
        if let Some(note) = note {
            let note = text::truncate(&format!("   {note}"), usize::from(width).saturating_sub(1));
            lines.push(Line::from(model.span(role, note)));
        }
    }
    if files.is_empty() {
        lines.push(Line::from(model.span(Role::Dim, " no file waits")));
    }
    Content { title: format!("WAITING FILES {}", files.len()), lines }
}
