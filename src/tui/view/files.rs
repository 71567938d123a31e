//! Every file that waits to be consolidated: size, rows, age, how it
//! stands, and why it can't be read.

use ratatui::text::Line;

use super::overlay::{Content, paragraph};
use crate::observation::{FileState, WaitingFile};
use crate::text::numbers::{bytes, plural, thousands};
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// The table of files.
pub(super) fn content(model: &Model, width: u16) -> Content {
    let files = model
        .seen
        .as_ref()
        .map(|o| o.waiting.files.as_slice())
        .unwrap_or_default();
    let (changed, when) = if model.moving() {
        ("AGE", 8)
    } else {
        ("CHANGED", 14)
    };
    let name = usize::from(width).saturating_sub(37 + when).clamp(12, 80);
    let head = format!(
        " {}{}{}{}  {}",
        width::left("FILE", name),
        width::right("SIZE", 11),
        width::right("ROWS", 9),
        width::right(changed, when),
        width::left("STATE", 14),
    );
    let mut lines = vec![Line::from(model.span(Role::Dim, head))];
    let mut order: Vec<&WaitingFile> = files.iter().collect();
    // What needs somebody first; the newest of the others first, as they come.
    order.sort_by_key(|file| state(file).2);
    for file in order {
        let (role, word, _) = state(file);
        let counted = matches!(file.state, FileState::Ready);
        let rows = if counted {
            thousands(file.rows)
        } else {
            "–".to_owned()
        };
        lines.push(Line::from(vec![
            model.span(
                Role::Text,
                format!(" {}", width::left_middle(&file.name, name)),
            ),
            model.span(Role::Dim, width::right(&bytes(file.bytes), 11)),
            model.span(Role::Text, width::right(&rows, 9)),
            model.span(Role::Dim, width::right(&model.when(file.modified), when)),
            model.span(role, format!("  {word}")),
        ]));
        if let FileState::Unreadable(why) | FileState::Conflict(why) = &file.state {
            for mut line in paragraph(model, role, why, usize::from(width).saturating_sub(5)) {
                line.spans.insert(0, model.span(role, "  "));
                lines.push(line);
            }
        }
    }
    if files.is_empty() {
        lines.push(Line::from(model.span(Role::Dim, " no file is pending")));
    }
    Content::table(title(files), lines)
}

/// How many of which kind.
fn title(files: &[WaitingFile]) -> String {
    let journals = files.iter().filter(|file| file.journal).count() as u64;
    let increments = files.len() as u64 - journals;
    let mut title = format!("WAITING {}", plural(increments, "INCREMENT").to_uppercase());
    if journals > 0 {
        title = format!("{title}, {}", plural(journals, "JOURNAL").to_uppercase());
    }
    title
}

/// How a file stands, and its place in the order.
fn state(file: &WaitingFile) -> (Role, &'static str, u8) {
    match &file.state {
        FileState::Unreadable(_) => (Role::Warning, "unreadable", 0),
        FileState::Conflict(_) => (Role::Warning, "conflict", 0),
        FileState::InProgress => (Role::Dim, "being written", 1),
        FileState::Ready if file.dead => (Role::Warning, "writer died", 1),
        FileState::Ready if file.journal => (Role::Dim, "journal", 2),
        FileState::Ready => (Role::Dim, "ready", 2),
    }
}
