//! The keys, generated from the table of actions, and what the signs mean; `/` leaves
//! what has all the words that are typed.

use ratatui::text::Line;
use strum::IntoEnumIterator;

use super::overlay::{Content, paragraph};
use crate::text::width;
use crate::tui::input::action::{Action, Group};
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

const SIGNS: [&str; 8] = [
    "█ full success, ▒ partial success. The paler end of a bar lies within the 95 % interval, \
     which also stands in figures (±0.4 where it is narrow).",
    "› is the selected model, ● a marked one, ◆ both; a name in the colour of a warning fails in a burst.",
    "FULL counts every test; INFRA are tests lost to rate limits, authentication and connections.",
    "pending: rows that are safe on disk and not yet merged into main.",
    "While nothing is written, ages are shown as clock times.",
    "A filter's words all have to hold: parts of the name, or name: rate: partial: ci: tests: min: infra: time: \
     trend: with < <= > >= and a number.",
    "The mouse: a click selects, a second one opens, one on a column's heading sorts by it; the wheel scrolls.",
    "The activity is also kept in evaltop/evaltop.log in the state folder (~/.local/state).",
];

/// The help.
pub(super) fn content(model: &Model, width: u16) -> Content {
    let mut lines = Vec::new();
    let found = found(model);
    for group in Group::iter() {
        let actions: Vec<&Action> = found.iter().filter(|a| a.about().group == group).collect();
        if actions.is_empty() {
            continue;
        }
        let name: &'static str = group.into();
        let off = group == Group::Maintenance && model.settings.readonly;
        let note = if off {
            "  off: opened with --readonly"
        } else {
            ""
        };
        lines.push(Line::from(vec![
            model.span(Role::Title, format!(" {name}")),
            model.span(Role::Dim, note),
        ]));
        for action in actions {
            let keys = model.settings.keymap.keys(*action);
            let role = if off { Role::Dim } else { Role::Key };
            lines.push(Line::from(vec![
                model.span(role, format!("   {}", width::left(&keys, 14))),
                model.span(
                    if off { Role::Dim } else { Role::Text },
                    action.about().help,
                ),
            ]));
        }
    }
    let signs: Vec<&str> = SIGNS
        .into_iter()
        .filter(|sign| matches(&model.help_filter, sign))
        .collect();
    if !signs.is_empty() {
        lines.push(Line::from(model.span(Role::Title, " Signs")));
    }
    for sign in signs {
        let cells = usize::from(width).saturating_sub(5);
        lines.extend(paragraph(model, Role::Text, sign, cells).map(|l| {
            let mut line = Line::from("  ");
            line.extend(l);
            line
        }));
    }
    if lines.is_empty() {
        lines.push(Line::from(
            model.span(Role::Dim, " nothing has all these words"),
        ));
    }
    let search = match model.help_filter.as_str() {
        "" => String::new(),
        words => format!("  /{}", width::clean(words)),
    };
    Content::new(format!("KEYS{search}"), lines)
}

/// The actions that have a key and what is searched for.
pub(super) fn found(model: &Model) -> Vec<Action> {
    Action::iter()
        .filter(|action| {
            let keys = model.settings.keymap.keys(*action);
            let (about, name): (_, &str) = (action.about(), action.into());
            let group: &str = about.group.into();
            let said = format!("{keys} {name} {} {} {group}", about.hint, about.help);
            !keys.is_empty() && matches(&model.help_filter, &said)
        })
        .collect()
}

/// Whether a text has all the words, in any case.
fn matches(words: &str, text: &str) -> bool {
    let text = text.to_lowercase();
    words
        .to_lowercase()
        .split_whitespace()
        .all(|word| text.contains(word))
}
