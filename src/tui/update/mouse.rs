//! The mouse: a click focuses a pane and selects its row, the wheel scrolls.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::act::{Step, step};
use crate::tui::message::Effect;
use crate::tui::model::{Focus, Model, Prompt};
use crate::tui::table::window;
use crate::tui::view::layout;

/// Rows that one notch of the wheel scrolls.
const NOTCH: isize = 3;

/// The mouse did something.
pub(super) fn mouse(model: &mut Model, event: MouseEvent) -> Vec<Effect> {
    let at = Position::new(event.column, event.row);
    let areas = layout::areas(model);
    let panes =
        [(Focus::Models, areas.models), (Focus::Alerts, areas.alerts), (Focus::Activity, areas.activity)];
    let hit = panes.into_iter().find(|(_, area)| model.overlays.is_empty() && area.contains(at));
    match event.kind {
        MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
            if let Some((focus, _)) = hit {
                model.focus = focus;
            }
            let down = event.kind == MouseEventKind::ScrollDown;
            step(model, Step::By(if down { NOTCH } else { -NOTCH }));
        }
        MouseEventKind::Down(MouseButton::Left) if matches!(model.prompt, Prompt::None) => {
            if let Some((focus, area)) = hit {
                model.focus = focus;
                select(model, focus, area, at);
            }
        }
        _ => {}
    }
    Vec::new()
}

fn select(model: &mut Model, focus: Focus, area: Rect, at: Position) {
    // The heading is no row.
    let Some(line) = at.y.checked_sub(area.y + 1).map(usize::from) else { return };
    let rows = usize::from(area.height - 1);
    match focus {
        Focus::Models => {
            model.table.offset = model.table.window(rows);
            let row = model.table.offset + line;
            if row < model.table.order.len() {
                model.table.select(row);
            }
        }
        Focus::Alerts => {
            let len = model.alerts().len();
            let row = window(0, model.alert.at, len, rows) + line;
            if row < len {
                model.alert.at = row;
            }
        }
        Focus::Activity => {
            let len = model.activity.len();
            let row = window(0, model.entry.at, len, rows) + line;
            if row < len {
                model.entry.at = row;
            }
        }
    }
}
