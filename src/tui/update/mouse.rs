//! The mouse: a click focuses a pane and selects its row, a click on the selected row
//! opens it, one on the heading of a column sorts by it, one on the sentence explains it;
//! the wheel scrolls.

use crossterm::event::{MouseButton, MouseEvent, MouseEventKind};
use ratatui::layout::{Position, Rect};

use super::act::{Step, act, sort, step};
use crate::tui::input::action::Action;
use crate::tui::state::model::{Focus, Model, Prompt};
use crate::tui::state::table::Table;
use crate::tui::update::message::Effect;
use crate::tui::view::{activity, alerts, layout, models};

/// Rows that one notch of the wheel scrolls.
const NOTCH: isize = 3;

/// The mouse did something.
pub(super) fn mouse(model: &mut Model, event: MouseEvent) -> Vec<Effect> {
    let at = Position::new(event.column, event.row);
    let areas = layout::areas(model);
    let panes = [
        (Focus::Models, areas.models),
        (Focus::Alerts, areas.alerts),
        (Focus::Activity, areas.activity),
    ];
    let hit = panes
        .into_iter()
        .find(|(_, area)| model.overlays.is_empty() && area.contains(at));
    match event.kind {
        MouseEventKind::ScrollDown | MouseEventKind::ScrollUp => {
            if let Some((focus, _)) = hit {
                model.focus = focus;
            }
            let down = event.kind == MouseEventKind::ScrollDown;
            step(model, Step::By(if down { NOTCH } else { -NOTCH }));
        }
        // What was reported needs no answer.
        MouseEventKind::Down(MouseButton::Left) if matches!(model.prompt, Prompt::Notice(..)) => {
            model.prompt = Prompt::None;
        }
        MouseEventKind::Down(MouseButton::Left) if matches!(model.prompt, Prompt::None) => {
            if areas.status.contains(at) {
                return act(model, Action::Inspect);
            }
            if let Some((focus, area)) = hit {
                let before = (model.focus, chosen(model, focus));
                model.focus = focus;
                if focus == Focus::Models && at.y == area.y {
                    if let Some(column) = models::column_at(model, area.width, at.x - area.x) {
                        sort(model, |table: &mut Table| table.sort_by(column));
                    }
                } else if select(model, focus, area, at) && before == (focus, chosen(model, focus))
                {
                    return act(model, Action::Open);
                }
            }
        }
        _ => {}
    }
    Vec::new()
}

/// The selected row of a pane.
fn chosen(model: &Model, focus: Focus) -> usize {
    match focus {
        Focus::Models => model.table.row(),
        Focus::Alerts => model.alert.at,
        Focus::Activity => model.entry.at,
    }
}

/// Selects what was clicked on; whether that was a row.
fn select(model: &mut Model, focus: Focus, area: Rect, at: Position) -> bool {
    // The heading is not a row.
    let Some(line) = at.y.checked_sub(area.y + 1).map(usize::from) else {
        return false;
    };
    let placed = |rows: Vec<(usize, usize)>| rows.get(line).map(|(item, _)| *item);
    let found = match focus {
        Focus::Models => {
            model.table.offset = model.table.window(usize::from(area.height - 1));
            Some(model.table.offset + line).filter(|row| *row < model.table.order.len())
        }
        Focus::Alerts => placed(alerts::placed(model, area)),
        Focus::Activity => placed(activity::placed(model, area)),
    };
    let Some(row) = found else { return false };
    match focus {
        Focus::Models => {
            model.table.select(row);
            model.table.hold(model.now);
        }
        Focus::Alerts => model.alert.at = row,
        Focus::Activity => model.entry.at = row,
    }
    true
}
