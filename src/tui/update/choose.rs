//! What is chosen from a list: a session, a metric, a failed test and its log.

use crate::health::Severity;
use crate::sources::transcript::{self, Place};
use crate::tui::input::action::Action;
use crate::tui::state::model::{LogView, Model, Overlay, RowView, Scroll, SessionRow};
use crate::tui::update::message::Effect;

use super::compare;

/// Opens the list of sessions, or closes it.
pub(super) fn sessions(model: &mut Model) -> Vec<Effect> {
    if let Some(Overlay::Sessions(_)) = model.overlays.last() {
        model.overlays.pop();
        return Vec::new();
    }
    model
        .overlays
        .retain(|own| !matches!(own, Overlay::Sessions(_)));
    model.overlays.push(Overlay::Sessions(Scroll { at: 1 }));
    model.sessions = None;
    model.marked_sessions.clear();
    vec![Effect::Sessions(compare::metric(model))]
}

/// Opens the list of metrics, or closes it.
pub(super) fn metrics(model: &mut Model) -> Vec<Effect> {
    if let Some(Overlay::Metrics(_)) = model.overlays.last() {
        model.overlays.pop();
        return Vec::new();
    }
    model
        .overlays
        .retain(|own| !matches!(own, Overlay::Metrics(_)));
    model.overlays.push(Overlay::Metrics(Scroll::default()));
    vec![Effect::Metrics]
}

/// The session of a row of the list; `None` for all of them.
fn session_at(model: &Model, at: usize) -> Option<&SessionRow> {
    let Some(Ok(list)) = &model.sessions else {
        return None;
    };
    list.rows.get(at.checked_sub(1)?)
}

/// Enter in a list.
pub(super) fn open(model: &mut Model) -> Vec<Effect> {
    match model.overlays.last().cloned() {
        Some(Overlay::Sessions(scroll)) if matches!(model.sessions, Some(Ok(_))) => {
            let session = session_at(model, scroll.at).map(|row| row.session.id.clone());
            model.overlays.pop();
            let what = session.as_ref().map_or_else(
                || "all sessions are shown".to_owned(),
                |id| format!("only session {id} is shown"),
            );
            model.note(Severity::Healthy, what);
            vec![Effect::Session(session), Effect::Scan]
        }
        Some(Overlay::Metrics(scroll)) => {
            let Some(Ok(names)) = &model.metrics else {
                return Vec::new();
            };
            let name = names.get(scroll.at).cloned();
            model.overlays.pop();
            model.compared = None;
            vec![Effect::Metric(name), Effect::Scan]
        }
        Some(Overlay::Drill(name, _)) => {
            let failures = model
                .seen
                .iter()
                .flat_map(|seen| &seen.models)
                .find(|view| view.model == name)
                .map_or(0, |view| view.detail.failures.len());
            if failures > 0 {
                model
                    .overlays
                    .push(Overlay::Failed(name, Scroll::default()));
            }
            Vec::new()
        }
        Some(Overlay::Failed(name, scroll)) => {
            let failure = model
                .seen
                .iter()
                .flat_map(|seen| &seen.models)
                .find(|view| view.model == name)
                .and_then(|view| view.detail.failures.get(scroll.at).cloned());
            failure.map_or_else(Vec::new, |failure| {
                vec![Effect::Row(name, Box::new(failure))]
            })
        }
        _ => Vec::new(),
    }
}

/// Marks a session for a comparison; of three marks the oldest goes.
pub(super) fn mark(model: &mut Model) {
    let Some(Overlay::Sessions(scroll)) = model.overlays.last() else {
        return;
    };
    let Some(id) = session_at(model, scroll.at).map(|row| row.session.id.clone()) else {
        return;
    };
    let marked = &mut model.marked_sessions;
    if let Some(at) = marked.iter().position(|own| *own == id) {
        marked.remove(at);
    } else {
        marked.push(id);
        let surplus = marked.len().saturating_sub(2);
        marked.drain(..surplus);
    }
}

/// Compares the two marked sessions; else the marked or selected one with the selected one or
/// the one before it. The newer one is measured by the older one.
pub(super) fn compare_sessions(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Sessions(scroll)) = model.overlays.last() else {
        return Vec::new();
    };
    let at = scroll.at;
    let Some(Ok(list)) = &model.sessions else {
        return Vec::new();
    };
    let rows = &list.rows;
    let id = |at: usize| rows.get(at).map(|row| row.session.id.clone());
    let mut both = model.marked_sessions.clone();
    let selected = at.checked_sub(1).and_then(id);
    if both.len() < 2 {
        both.extend(selected.clone().filter(|own| !both.contains(own)));
    }
    if both.len() < 2 {
        both.extend(id(at).filter(|own| !both.contains(own)));
    }
    // The list begins with the newest one.
    both.sort_by_key(|own| rows.iter().position(|row| row.session.id == *own));
    let Ok(both) = <[String; 2]>::try_from(both) else {
        model.note(Severity::Healthy, "there is no session before it");
        return Vec::new();
    };
    model
        .overlays
        .retain(|own| !matches!(own, Overlay::Compare(..)));
    model
        .overlays
        .push(Overlay::Compare(both.clone(), Scroll::default()));
    compare::asked(model, &both);
    let metric = compare::metric(model);
    vec![Effect::CompareSessions(both, metric)]
}

/// The row of a failed test came, or why it did not.
pub(super) fn found(model: &mut Model, row: Result<Box<RowView>, String>) {
    match row {
        Ok(row) => model.overlays.push(Overlay::Row(*row, Scroll::default())),
        Err(why) => model.note(Severity::Warning, why),
    }
}

/// The row that is open, or whose log is.
fn row(model: &Model) -> Option<&RowView> {
    model.overlays.iter().rev().find_map(|own| match own {
        Overlay::Row(row, _) => Some(row),
        _ => None,
    })
}

/// `o` opens the log of the open row, `Y` copies where it is.
pub(super) fn log(model: &mut Model, action: Action) -> Vec<Effect> {
    let Some(row) = row(model) else {
        return Vec::new();
    };
    let Some(log) = row.log.clone() else {
        model.note(Severity::Healthy, "the row names no log");
        return Vec::new();
    };
    if action == Action::CopyLog {
        model.note(Severity::Healthy, format!("copied: {log}"));
        return vec![Effect::Copy(log)];
    }
    match transcript::place(&log, row.source.as_deref(), &model.settings.store) {
        Err(why) => {
            unopened(model, Severity::Warning, &why);
            Vec::new()
        }
        Ok(place) if !model.settings.log_command.is_empty() => {
            let words = transcript::command(&model.settings.log_command, &place);
            vec![Effect::Start(words)]
        }
        Ok(Place::Web(_)) => {
            let why = "the log is on the web: Y copies its address, or set log.open to a program";
            unopened(model, Severity::Healthy, why);
            Vec::new()
        }
        Ok(Place::File(path, sample)) => vec![Effect::Log(path, sample, row.trial)],
    }
}

/// Why no log opens: shown where it would be, since the row lies over the activity.
pub(super) fn unopened(model: &mut Model, severity: Severity, why: &str) {
    model.note(severity, why);
    let view = LogView {
        title: "NOT OPENED".to_owned(),
        text: why.into(),
    };
    model.overlays.push(Overlay::Log(view, Scroll::default()));
}

/// The text of a log came, or why it did not.
pub(super) fn read(model: &mut Model, log: Result<LogView, String>) {
    match log {
        Ok(log) => model.overlays.push(Overlay::Log(log, Scroll::default())),
        Err(why) => unopened(model, Severity::Warning, &why),
    }
}
