//! What each action does while no question is open: to the overlay on top, else to
//! the focused pane.

use super::{choose, compare, filter, job, observe};
use crate::health::{Alert, Remedy, Severity};
use crate::jobs::{CleanupOptions, ConsolidateOptions, Request, RestoreOptions};
use crate::tui::input::action::Action;
use crate::tui::state::alert_history::alert_key;
use crate::tui::state::model::{Focus, Model, Overlay, Prompt, Scroll, Typing};
use crate::tui::state::table::Table;
use crate::tui::update::message::Effect;
use crate::tui::view::{self, layout};

/// Does an action.
pub(super) fn act(model: &mut Model, action: Action) -> Vec<Effect> {
    if action.is_maintenance() {
        return maintain(model, action);
    }
    match action {
        Action::Rescan => return vec![Effect::Scan, Effect::Repaint],
        Action::Quit => return job::quit(model),
        Action::Suspend => return vec![Effect::Suspend],
        Action::Help => {
            model.help_filter.clear();
            toggle(model, Overlay::Help(Scroll::default()));
        }
        Action::History => toggle(model, Overlay::History(Scroll::default())),
        Action::Left | Action::Right
            if matches!(model.overlays.last(), Some(Overlay::History(_))) =>
        {
            model.period = model
                .period
                .step(if action == Action::Right { 1 } else { -1 });
        }
        Action::Left | Action::Right
            if matches!(model.overlays.last(), Some(Overlay::Drill(..))) =>
        {
            neighbour(model, if action == Action::Right { 1 } else { -1 });
        }
        Action::Progress => toggle(model, Overlay::Progress(Scroll::default())),
        Action::Writers => toggle(model, Overlay::Writers(Scroll::default())),
        Action::Files => toggle(model, Overlay::Files(Scroll::default())),
        Action::Inspect => inspect(
            model,
            if model.focus == Focus::Alerts {
                model.alert.at
            } else {
                0
            },
        ),
        Action::Acknowledge | Action::Snooze => return silence(model, action),
        Action::AlertLog => toggle(model, Overlay::AlertLog(Scroll::default())),
        Action::Cost => toggle(model, Overlay::Cost(Scroll::default())),
        Action::Metric => return choose::metrics(model),
        Action::Sessions => return choose::sessions(model),
        Action::OpenLog | Action::CopyLog => return choose::log(model, action),
        Action::Mark if matches!(model.overlays.last(), Some(Overlay::Sessions(_))) => {
            choose::mark(model);
        }
        Action::Mark => compare::mark(model),
        Action::Compare if matches!(model.overlays.last(), Some(Overlay::Sessions(_))) => {
            return choose::compare_sessions(model);
        }
        Action::Compare => return compare::open(model),
        Action::Freeze => observe::freeze(model),
        Action::Zoom if model.overlays.is_empty() => model.zoomed = !model.zoomed,
        Action::Back => return back(model),
        Action::Filter => filter(model),
        // What can't be seen is not changed.
        Action::Sort if model.overlays.is_empty() => sort(model, Table::next_column),
        Action::Reverse if model.overlays.is_empty() => {
            sort(model, |table| table.reversed = !table.reversed);
        }
        Action::NextPane | Action::Right => focus(model, 1),
        Action::PreviousPane | Action::Left => focus(model, 2),
        Action::Open if model.overlays.last().is_some_and(Overlay::chooses) => {
            return choose::open(model);
        }
        Action::Open => open(model),
        Action::Up => step(model, Step::By(-1)),
        Action::Down => step(model, Step::By(1)),
        Action::PageUp => step(model, Step::Page(-1)),
        Action::PageDown => step(model, Step::Page(1)),
        Action::Top => step(model, Step::To(0)),
        Action::Bottom => step(model, Step::To(usize::MAX)),
        _ => {}
    }
    Vec::new()
}

/// Begins to type a filter of the models, or of the help where that is open.
fn filter(model: &mut Model) {
    let before = match model.overlays.last() {
        Some(Overlay::Help(_)) => model.help_filter.clone(),
        Some(_) => return,
        None => {
            model.focus = Focus::Models;
            model.table.filter.clone()
        }
    };
    model.typing = Some(Typing {
        input: before.clone().into(),
        before,
    });
}

/// From one model's details to those of the one before or after it in the table.
fn neighbour(model: &mut Model, by: isize) {
    let Some(Overlay::Drill(name, _)) = model.overlays.last() else {
        return;
    };
    let Some(row) = model.table.order.iter().position(|m| m == name) else {
        return;
    };
    model.table.select(row.saturating_add_signed(by));
    model.table.hold(model.now);
    if let (Some(Overlay::Drill(name, _)), Some(selected)) =
        (model.overlays.last_mut(), &model.table.selected)
    {
        name.clone_from(selected);
    }
}

fn maintain(model: &mut Model, action: Action) -> Vec<Effect> {
    if model.settings.readonly {
        let key = model.settings.keymap.key(action);
        model.note(
            Severity::Healthy,
            format!("{key} is off: opened with --readonly"),
        );
        return Vec::new();
    }
    match action {
        Action::Consolidate => job::ask(model, Request::Consolidate(ConsolidateOptions::default())),
        Action::Cleanup => job::ask(model, Request::Cleanup(CleanupOptions::default())),
        Action::Backup => job::ask_nothing(model, Request::Backup),
        Action::Undo => job::ask(
            model,
            Request::Restore(RestoreOptions {
                from: None,
                exactly: false,
            }),
        ),
        Action::Validate => job::ask_nothing(model, Request::Validate { repair: false }),
        _ => {
            job::ask_export(model);
            Vec::new()
        }
    }
}

/// Opens an overlay, or closes it when it is on top already.
fn toggle(model: &mut Model, overlay: Overlay) {
    let same = |top: &Overlay| std::mem::discriminant(top) == std::mem::discriminant(&overlay);
    if model.overlays.last().is_some_and(same) {
        model.overlays.pop();
    } else {
        model.overlays.retain(|o| !same(o));
        model.overlays.push(overlay);
    }
}

/// Opens the explanation of an alert.
fn inspect(model: &mut Model, row: usize) {
    if let Some(alert) = model.alerts().get(row) {
        let overlay = Overlay::Alert(alert_key(alert), Scroll::default());
        model.overlays.retain(|o| !matches!(o, Overlay::Alert(..)));
        model.overlays.push(overlay);
    }
}

/// Acknowledges or snoozes the alert that is open, else the selected one, else the
/// worst; the second time takes that back.
fn silence(model: &mut Model, action: Action) -> Vec<Effect> {
    let row = if model.focus == Focus::Alerts {
        model.alert.at
    } else {
        0
    };
    let alerts = model.alerts();
    let found = match model.overlays.last() {
        Some(Overlay::Alert(key, _)) => alerts.into_iter().find(|a| alert_key(a) == *key),
        // Which one it would be is not to be seen.
        Some(_) => None,
        None => alerts.get(row).copied(),
    };
    let Some(alert) = found.cloned() else {
        return Vec::new();
    };
    if action == Action::Snooze {
        model.book.snooze(&alert, model.now, model.settings.snooze);
    } else {
        model.book.acknowledge(&alert);
    }
    vec![Effect::Alerts]
}

/// One step back: the overlay, the zoom, the filter; in the end the running job,
/// which is asked about.
fn back(model: &mut Model) -> Vec<Effect> {
    if matches!(model.overlays.last(), Some(Overlay::Help(_))) && !model.help_filter.is_empty() {
        model.help_filter.clear();
    } else if model.overlays.pop().is_some() {
        // What lay below is shown.
    } else if let Some(running) = &model.jobs.running {
        if !running.cancelling {
            model.prompt = Prompt::CancelJob;
        }
    } else if model.zoomed {
        model.zoomed = false;
    } else if !model.table.filter.is_empty() {
        filter::show(model, "");
        filter::keep(model);
    } else if model.settings.is_listed {
        return vec![Effect::Back];
    }
    Vec::new()
}

pub(super) fn sort(model: &mut Model, change: impl FnOnce(&mut Table)) {
    change(&mut model.table);
    model.reorder();
}

fn focus(model: &mut Model, steps: usize) {
    const PANES: [Focus; 3] = [Focus::Models, Focus::Alerts, Focus::Activity];
    // A low terminal has the models only, unless a pane is given the whole of it.
    if model.overlays.is_empty() && (model.zoomed || layout::is_full(model.area)) {
        let at = PANES.iter().position(|p| *p == model.focus).unwrap_or(0);
        model.focus = PANES
            .into_iter()
            .cycle()
            .nth(at + steps)
            .unwrap_or_default();
    }
}

/// What shows the cause of an alert, beyond its explanation.
fn evidence(alert: &Alert) -> Option<Overlay> {
    match (alert.action, &alert.subject) {
        (Remedy::Errors, Some(subject)) => Some(Overlay::Drill(subject.clone(), Scroll::default())),
        (Remedy::Writer, _) => Some(Overlay::Writers(Scroll::default())),
        _ => None,
    }
}

/// Details of what is selected.
fn open(model: &mut Model) {
    match model.overlays.last() {
        Some(Overlay::Alert(key, _)) => {
            let next = model
                .alerts()
                .into_iter()
                .find(|a| alert_key(a) == *key)
                .and_then(evidence);
            model.overlays.extend(next);
        }
        Some(_) => {}
        None => match model.focus {
            Focus::Models => model.overlays.extend(
                model
                    .table
                    .selected
                    .clone()
                    .map(|m| Overlay::Drill(m, Scroll::default())),
            ),
            Focus::Alerts => inspect(model, model.alert.at),
            Focus::Activity => {
                let entry = model.activity.get(model.entry.at).cloned();
                model
                    .overlays
                    .extend(entry.map(|e| Overlay::Entry(e, Scroll::default())));
            }
        },
    }
}

/// How far to move.
#[derive(Clone, Copy)]
pub(super) enum Step {
    /// Rows.
    By(isize),
    /// Pages.
    Page(isize),
    /// A row.
    To(usize),
}

impl Step {
    fn from(self, at: usize, page: usize, last: usize) -> usize {
        let by = |n: isize| at.saturating_add_signed(n).min(last);
        match self {
            Self::By(n) => by(n),
            Self::Page(n) => by(n.saturating_mul(page.max(1) as isize)),
            Self::To(row) => row.min(last),
        }
    }
}

/// Moves in the overlay on top, else in the focused pane.
pub(super) fn step(model: &mut Model, step: Step) {
    let areas = layout::areas(model);
    let rows = |area: ratatui::layout::Rect| usize::from(area.height.saturating_sub(1));
    if let Some(overlay) = model.overlays.last() {
        let page = rows(areas.body);
        let height = view::overlay::height(model, overlay, areas.body.width);
        let last = match overlay.head() {
            Some(head) => height.saturating_sub(head + 1),
            None => height.saturating_sub(page),
        };
        if let Some(scroll) = model.overlays.last_mut().map(Overlay::scroll) {
            scroll.at = step.from(scroll.at.min(last), page, last);
        }
        return;
    }
    match model.focus {
        Focus::Models => {
            let page = rows(areas.models);
            let last = model.table.order.len().saturating_sub(1);
            let row = step.from(model.table.row(), page, last);
            model.table.offset = model.table.window(page);
            model.table.select(row);
            model.table.hold(model.now);
            model.table.offset = model.table.window(page);
        }
        Focus::Alerts => {
            let last = model.alerts().len().saturating_sub(1);
            model.alert.at = step.from(model.alert.at, rows(areas.alerts), last);
        }
        Focus::Activity => {
            let last = model.activity.len().saturating_sub(1);
            model.entry.at = step.from(model.entry.at, rows(areas.activity), last);
        }
    }
}

impl Overlay {
    /// Where it is scrolled to.
    pub(crate) fn scroll(&mut self) -> &mut Scroll {
        match self {
            Self::Help(scroll)
            | Self::Drill(_, scroll)
            | Self::Alert(_, scroll)
            | Self::AlertLog(scroll)
            | Self::Compare(_, scroll)
            | Self::History(scroll)
            | Self::Progress(scroll)
            | Self::Writers(scroll)
            | Self::Files(scroll)
            | Self::Cost(scroll)
            | Self::Sessions(scroll)
            | Self::Metrics(scroll)
            | Self::Failed(_, scroll)
            | Self::Row(_, scroll)
            | Self::Log(_, scroll)
            | Self::Entry(_, scroll) => scroll,
        }
    }

    /// Whether Enter chooses something in it.
    fn chooses(&self) -> bool {
        self.head().is_some() || matches!(self, Self::Drill(..))
    }

    /// Of a list to choose from: how many lines stand above it.
    pub(crate) fn head(&self) -> Option<usize> {
        match self {
            Self::Sessions(_) | Self::Metrics(_) => Some(1),
            Self::Failed(..) => Some(0),
            _ => None,
        }
    }

    /// The first line to show.
    pub(crate) fn first_line(&self) -> usize {
        self.clone().scroll().at
    }
}
