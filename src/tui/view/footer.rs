//! Last row: the keys that matter now.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::{activity, groups, help, layout, overlay, prompt};
use crate::observation::StoreState;
use crate::text::numbers::plural;
use crate::text::width;
use crate::tui::input::action::{Action, FOOTER};
use crate::tui::state::model::{Model, Overlay, Prompt};
use crate::tui::view::theme::Role;

/// The last row.
pub(super) struct Footer<'a>(pub &'a Model);

impl Widget for Footer<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        if let Some(line) = typing(model, area.width) {
            line.render(area, buffer);
            return;
        }
        // Where the activity has no pane, what just happened stands here until a key is pressed.
        if let Some(notice) = model
            .notice
            .as_ref()
            .filter(|_| !layout::is_full(model.area))
        {
            let text = width::truncate(
                &format!(" {}", activity::within(model, notice)),
                area.width.into(),
            );
            Line::from(model.span(Role::Text, text)).render(area, buffer);
            return;
        }
        let keys: Vec<Vec<Span<'_>>> = hints(model)
            .into_iter()
            .map(|(key, what)| hint(model, &key, &what))
            .collect();
        let mut line = Line::from(" ");
        line.extend(groups(keys, 2, area.width.saturating_sub(2)));
        line.render(area, buffer);
    }
}

fn hint(model: &Model, key: &str, what: &str) -> Vec<Span<'static>> {
    if key.is_empty() {
        return vec![model.span(Role::Dim, what.to_owned())];
    }
    vec![
        model.span(Role::Key, key.to_owned()),
        model.span(Role::Dim, format!(" {what}")),
    ]
}

/// Keys and what they do, the most important first.
fn hints(model: &Model) -> Vec<(String, String)> {
    let key = |action| model.settings.keymap.key(action);
    let pair = |action, what: &str| (key(action), what.to_owned());
    let both = |a, b, what: &str| (format!("{}/{}", key(a), key(b)), what.to_owned());
    match &model.prompt {
        Prompt::Confirm(plan, _) => {
            let yes = if plan.needs_yes {
                pair(Action::Yes, "do it")
            } else {
                both(Action::Yes, Action::Open, "do it")
            };
            let mut hints = vec![yes, both(Action::No, Action::Back, "leave it")];
            if prompt::last_plan_line(plan, layout::areas(model).prompt) > 0 {
                hints.push(both(Action::Up, Action::Down, "scroll"));
            }
            hints
        }
        Prompt::CancelJob => {
            vec![
                pair(Action::Yes, "cancel it"),
                both(Action::No, Action::Back, "let it run"),
            ]
        }
        Prompt::QuitJob => vec![
            pair(Action::Open, "wait, then quit"),
            ("c".to_owned(), "cancel it and quit".to_owned()),
            pair(Action::Back, "stay"),
        ],
        Prompt::Notice(_, entry, _) => {
            let mut hints = vec![both(Action::Open, Action::Back, "close")];
            if prompt::last_notice_line(entry, layout::areas(model).prompt) > 0 {
                hints.push(both(Action::Up, Action::Down, "scroll"));
            }
            hints
        }
        Prompt::Planning(..) => vec![pair(Action::Back, "leave it")],
        Prompt::Export(form) if form.in_name => vec![
            ("Enter".to_owned(), "show the plan".to_owned()),
            ("Tab".to_owned(), "format".to_owned()),
            ("Esc".to_owned(), "leave it".to_owned()),
        ],
        Prompt::Export(_) => vec![
            ("←/→".to_owned(), "choose".to_owned()),
            ("Enter".to_owned(), "file name".to_owned()),
            ("Esc".to_owned(), "leave it".to_owned()),
        ],
        Prompt::None if !model.overlays.is_empty() => {
            let mut hints = vec![pair(Action::Back, "back")];
            let body = layout::areas(model).body;
            let rows = usize::from(body.height.saturating_sub(1));
            if model
                .overlays
                .last()
                .is_some_and(|top| overlay::height(model, top, body.width) > rows)
            {
                hints.push(both(Action::Up, Action::Down, "scroll"));
            }
            match model.overlays.last() {
                Some(Overlay::Help(_)) => hints.push(pair(Action::Filter, "search")),
                Some(Overlay::History(_)) => {
                    hints.push(both(Action::Left, Action::Right, "period"));
                }
                Some(Overlay::Drill(..)) => {
                    hints.push(both(Action::Left, Action::Right, "other models"));
                    hints.push(pair(Action::Open, "failed tests"));
                }
                Some(Overlay::Sessions(_)) => {
                    hints.push(pair(Action::Open, "show it alone"));
                    hints.push(pair(Action::Mark, "mark"));
                    hints.push(pair(Action::Compare, "compare"));
                }
                Some(Overlay::Metrics(_)) => hints.push(pair(Action::Open, "show it")),
                Some(Overlay::Failed(..)) => hints.push(pair(Action::Open, "the whole row")),
                Some(Overlay::Row(row, _)) if row.log.is_some() => {
                    hints.push(pair(Action::OpenLog, "its log"));
                    hints.push(pair(Action::CopyLog, "copy where it is"));
                }
                _ => {}
            }
            if !matches!(model.overlays.last(), Some(Overlay::Help(_))) {
                hints.push(pair(Action::Help, "help"));
            }
            hints.push(pair(Action::Quit, "quit"));
            hints
        }
        Prompt::None if !matches!(model.store_state(), Some(StoreState::Ready)) => {
            let mut hints = vec![pair(Action::Help, "help"), pair(Action::Quit, "quit")];
            if model.settings.is_listed {
                hints.insert(0, pair(Action::Back, "all stores"));
            }
            if matches!(model.store_state(), Some(StoreState::Unreadable(_)))
                && !model.settings.readonly
            {
                hints.insert(0, pair(Action::Validate, "validate"));
            }
            hints
        }
        Prompt::None => panes(model),
    }
}

fn panes(model: &Model) -> Vec<(String, String)> {
    let pair = |action: &Action| {
        (
            model.settings.keymap.key(*action),
            action.about().hint.to_owned(),
        )
    };
    let mut hints: Vec<_> = Vec::new();
    if model.settings.is_listed {
        let back = model.settings.keymap.key(Action::Back);
        hints.push((back, "all stores".to_owned()));
    }
    if model.settings.readonly {
        let off: Vec<String> = FOOTER
            .iter()
            .filter(|a| a.is_maintenance())
            .map(|a| model.settings.keymap.key(*a))
            .collect();
        hints.push((
            String::new(),
            format!("read-only: {} are off", off.join(" ")),
        ));
    }
    let offered = FOOTER
        .iter()
        .filter(|a| !(model.settings.readonly && a.is_maintenance()));
    hints.extend(offered.map(pair).filter(|(key, _)| !key.is_empty()));
    // Help and quit stay when there is no room for all.
    let wide = |hints: &[(String, String)]| {
        hints
            .iter()
            .map(|(k, w)| width::width(k) + width::width(w) + 3)
            .sum::<usize>()
    };
    while wide(&hints) > usize::from(model.area.width) && hints.len() > 3 {
        hints.remove(hints.len() - 3);
    }
    hints
}

/// The filter being typed, with what it leaves.
fn typing(model: &Model, width: u16) -> Option<Line<'static>> {
    let typing = model.typing.as_ref()?;
    let count = if matches!(model.overlays.last(), Some(Overlay::Help(_))) {
        format!("{} keys", help::found(model).len())
    } else {
        let all = model.seen.as_ref().map_or(0, |o| o.models.len());
        format!(
            "{} of {}",
            model.table.order.len(),
            plural(all as u64, "model")
        )
    };
    let mut left = Line::from(vec![
        model.span(Role::Key, " /"),
        model.span(Role::Text, width::clean(typing.input.value()).into_owned()),
    ]);
    if typing.input.value().is_empty() && !matches!(model.overlays.last(), Some(Overlay::Help(_))) {
        left.push_span(model.span(
            Role::Dim,
            " part of a name, tests:>100, difficulty:hard, score > 0.5 …",
        ));
    }
    let keys = if width < 60 {
        String::new()
    } else {
        "   Enter keep  Esc undo".to_owned()
    };
    let right = vec![model.span(Role::Dim, count), model.span(Role::Dim, keys)];
    Some(super::with_right(left, right, width))
}

/// Where the cursor stands while a filter is typed.
pub(super) fn cursor(model: &Model) -> Option<Position> {
    let typing = model.typing.as_ref()?;
    let x = (2 + typing.input.visual_cursor()).min(usize::from(model.area.width).saturating_sub(1));
    Some(Position::new(x as u16, model.area.height.saturating_sub(1)))
}
