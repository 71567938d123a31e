//! The keys, generated from the table of actions, and what the signs mean.

use ratatui::text::Line;
use strum::IntoEnumIterator;

use super::overlay::{Content, paragraph};
use crate::tui::action::{Action, Group};
use crate::tui::model::Model;
use crate::tui::text;
use crate::tui::theme::Role;

const SIGNS: [&str; 4] = [
    "█ full success, ▒ partial success. The paler end of a bar lies within the 95 % interval, \
     which also stands in figures (±0.4 where it is narrow).",
    "FULL counts every test; INFRA are tests lost to rate limits, authentication and connections.",
    "waiting: rows that are safe on disk and not yet merged into main.",
    "While nothing is written, ages are shown as clock times.",
];

/// The help.
pub(super) fn content(model: &Model, width: u16) -> Content {
    let mut lines = Vec::new();
    for group in Group::iter() {
        let name: &'static str = group.into();
        let off = group == Group::Maintenance && model.settings.readonly;
        let note = if off { "  off: opened with --readonly" } else { "" };
        lines
            .push(Line::from(vec![model.span(Role::Title, format!(" {name}")), model.span(Role::Dim, note)]));
        for action in Action::iter().filter(|a| a.about().group == group) {
            let keys = model.settings.keymap.keys(action);
            if keys.is_empty() {
                continue;
            }
            let role = if off { Role::Dim } else { Role::Key };
            lines.push(Line::from(vec![
                model.span(role, format!("   {}", text::left(&keys, 14))),
                model.span(if off { Role::Dim } else { Role::Text }, action.about().help),
            ]));
        }
    }
    lines.push(Line::from(model.span(Role::Title, " Signs")));
    for sign in SIGNS {
        let cells = usize::from(width).saturating_sub(5);
        lines.extend(paragraph(model, Role::Text, sign, cells).map(|l| {
            let mut line = Line::from("  ");
            line.extend(l);
            line
        }));
    }
    Content { title: "KEYS".to_owned(), lines }
}
