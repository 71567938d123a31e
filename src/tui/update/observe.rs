//! A new look at the store: figures, order, and what changed since the look before,
//! whoever changed it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::health::{Remedy, Severity};
use crate::monitor::Observation;
use crate::monitor::observation::StoreState;
use crate::tui::format::{plural, thousands};
use crate::tui::message::Effect;
use crate::tui::model::{Model, alert_key};

/// Time went on.
pub(super) fn tick(model: &mut Model, now: Timestamp) -> Vec<Effect> {
    model.now = now;
    if let Some(seen) = model.seen.clone()
        && model.frozen.is_none()
        && model.table.next_reorder().is_some_and(|at| at <= now)
    {
        model.table.refresh(&seen.models, now);
    }
    Vec::new()
}

/// Shows a new look, or keeps it for later while the picture is held still.
pub(super) fn observed(model: &mut Model, observation: Observation) -> Vec<Effect> {
    let observation = Arc::new(observation);
    if model.frozen.is_some() {
        model.held = Some(observation);
    } else {
        show(model, &observation);
    }
    Vec::new()
}

/// Holds the picture still, or lets it go on.
pub(super) fn freeze(model: &mut Model) {
    if model.frozen.take().is_none() {
        model.frozen = Some(model.now);
    } else if let Some(held) = model.held.take() {
        show(model, &held);
    }
}

fn show(model: &mut Model, new: &Arc<Observation>) {
    if let Some(old) = model.seen.replace(Arc::clone(new)) {
        note_state(model, &old.state, &new.state);
        note_generation(model, &old, new);
        note_alerts(model, &old, new);
        for note in new.notes.iter().filter(|n| !old.notes.contains(n)) {
            model.note(Severity::Healthy, note.clone());
        }
    } else {
        model.alert_since = new.alerts.iter().map(|a| (alert_key(a), new.at)).collect();
        note_history(model, new);
    }
    model.was_there |= new.state == StoreState::Ready;
    model.jobs.ours = model.jobs.running.is_some();
    let first = model.table.selected.is_none();
    model.table.refresh(&new.models, model.now);
    if first && let Some(subject) = new.alerts.iter().find_map(|a| a.subject.as_ref()) {
        let row = model.table.order.iter().position(|m| m == subject);
        model.table.select(row.unwrap_or(0));
    }
    model.alert.at = model.alert.at.min(new.alerts.len().saturating_sub(1));
}

/// At the start: what the store itself tells of its past.
fn note_history(model: &mut Model, new: &Observation) {
    if let Some(committed) = new.main.committed.filter(|_| new.main.generation > 0) {
        model.note(
            Severity::Healthy,
            format!("committed generation {}: {} in main", new.main.generation, plural(new.main.rows, "row")),
        );
        model.notice = None;
        if let Some(entry) = model.activity.front_mut() {
            entry.at = committed;
        }
    }
    for note in &new.notes {
        model.note(Severity::Healthy, note.clone());
    }
}

fn note_state(model: &mut Model, old: &StoreState, new: &StoreState) {
    if old == new {
        return;
    }
    match new {
        StoreState::Ready => model.note(Severity::Healthy, "the store is there"),
        StoreState::Missing => {
            model.note(Severity::Critical, "the store is gone: waiting for it to come back");
        }
        StoreState::Unreadable(why) => model.note(Severity::Critical, why.clone()),
    }
}

/// A commit that no job of ours made.
fn note_generation(model: &mut Model, old: &Observation, new: &Observation) {
    let both_ready = old.state == StoreState::Ready && new.state == StoreState::Ready;
    if !both_ready || model.jobs.ours || old.main.generation == new.main.generation {
        return;
    }
    let (before, after) = (old.main.rows, new.main.rows);
    let rows = if after >= before {
        format!("{} more rows", thousands(after - before))
    } else {
        format!("{} fewer rows", thousands(before - after))
    };
    let severity = if after >= before { Severity::Healthy } else { Severity::Warning };
    model.note(severity, format!("another process committed generation {}: {rows}", new.main.generation));
}

/// Alerts that appeared or are over.
fn note_alerts(model: &mut Model, old: &Observation, new: &Observation) {
    let mut since = BTreeMap::new();
    for alert in &new.alerts {
        let key = alert_key(alert);
        let started = model.alert_since.get(&key).copied();
        if started.is_none() {
            model.note(alert.severity, alert.message.clone());
        }
        since.insert(key, started.unwrap_or(new.at));
    }
    for alert in &old.alerts {
        // What a job of ours mended is told by the job's outcome.
        let mended = model.jobs.ours
            && matches!(alert.action, Remedy::Consolidate | Remedy::Cleanup | Remedy::Validate);
        if !mended && !since.contains_key(&alert_key(alert)) {
            model.note(Severity::Healthy, format!("over: {}", alert.message));
        }
    }
    // What is over, or has become worse, is new when it is seen again.
    model.acknowledged.retain(|key, severity| {
        new.alerts.iter().any(|alert| alert_key(alert) == *key && alert.severity <= *severity)
    });
    model.alert_since = since;
}
