//! A new look at the store: figures, order, and what changed since the scan before,
//! whoever changed it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{compare, filter};
use crate::health::{Remedy, Severity};
use crate::monitor::Observation;
use crate::observation::{OperationView, StoreState};
use crate::stats::progress::{Expected, RunProgress};
use crate::text::numbers::{plural, span, thousands};
use crate::tui::state::alert_history::Change;
use crate::tui::state::model::{ACTIVITY_KEPT, Model, Unexplained};
use crate::tui::update::message::Effect;

/// How long whoever made a commit may take to say what it did.
const PATIENCE: SignedDuration = SignedDuration::from_secs(5);
/// What was done so long before the last scan is not news.
const PAST: SignedDuration = SignedDuration::from_mins(10);
/// How much of the store's own past is reported at the start.
const REMEMBERED: usize = 20;

/// Time went on.
pub(super) fn tick(model: &mut Model, now: Timestamp) -> Vec<Effect> {
    model.now = now;
    if model.seen.is_some()
        && model.frozen.is_none()
        && model.table.next_reorder().is_some_and(|at| at <= now)
    {
        model.refresh();
    }
    if model.book.wake(now) {
        vec![Effect::Alerts]
    } else {
        Vec::new()
    }
}

/// What was seen is older than it seems, or younger: look again.
pub(super) fn jumped(model: &mut Model, by: SignedDuration) -> Vec<Effect> {
    let length = span(by.unsigned_abs().as_secs_f64());
    let what = if by.is_negative() {
        format!("the clock was set back by {length}")
    } else {
        format!("{length} went by unseen: the machine slept, or the clock was set")
    };
    model.note(Severity::Healthy, what);
    vec![Effect::Scan]
}

/// Shows what is known before the first scan is done. Nothing is reported of it: it is not news.
pub(super) fn glimpsed(model: &mut Model, observation: Observation) -> Vec<Effect> {
    if model.seen.is_none() {
        model.seen = Some(Arc::new(observation));
        model.refresh();
    }
    Vec::new()
}

/// The first scan has read so many of the waiting files.
pub(super) fn read(model: &mut Model, files: u64) -> Vec<Effect> {
    if let Some(seen) = model.seen.as_mut().filter(|seen| seen.reading.is_some())
        && let Some(reading) = &mut Arc::make_mut(seen).reading
    {
        reading.read = reading.read.max(files);
    }
    Vec::new()
}

/// Shows a new look, or keeps it for later while the picture is held still.
pub(super) fn observed(model: &mut Model, observation: Observation) -> Vec<Effect> {
    let observation = Arc::new(observation);
    // Also while the picture is held still: those who don't look are notified.
    let changes = model.book.follow(&observation);
    if model.frozen.is_some() {
        model.unshown.extend(changes);
        let most = model.unshown.len().saturating_sub(ACTIVITY_KEPT);
        model.unshown.drain(..most);
        model.held = Some(observation);
    } else {
        show(model, &observation, changes);
    }
    let mut effects = vec![Effect::Alerts];
    if model.frozen.is_none() {
        effects.extend(compare::refresh(model));
        effects.extend(filter::refresh(model));
        effects.extend(model.unexplained.map(|_| Effect::Scan));
    }
    effects
}

/// The user's own program was notified of alerts. That it fails is said once, until it works again.
pub(super) fn notified(model: &mut Model, ended: Result<(), String>) -> Vec<Effect> {
    let failed = ended.err();
    if failed != model.hook_failed {
        match &failed {
            Some(why) => model.note(Severity::Warning, why.clone()),
            None => model.note(Severity::Healthy, "notify.hook works again"),
        }
    }
    model.hook_failed = failed;
    Vec::new()
}

/// Holds the picture still, or lets it go on.
pub(super) fn freeze(model: &mut Model) {
    if model.frozen.take().is_none() {
        model.frozen = Some(model.now);
    } else if let Some(held) = model.held.take() {
        let unshown = std::mem::take(&mut model.unshown);
        show(model, &held, unshown);
    }
}

fn show(model: &mut Model, new: &Arc<Observation>, changes: impl IntoIterator<Item = Change>) {
    let old = model
        .seen
        .replace(Arc::clone(new))
        .filter(|old| old.reading.is_none());
    let first = old.is_none();
    if let Some(old) = old {
        note_state(model, &old.state, &new.state);
        note_operations(model, news(&old, new));
        note_generation(model, &old, new);
        note_alerts(model, changes);
        for note in new.notes.iter().filter(|n| !old.notes.contains(n)) {
            model.note(Severity::Healthy, note.clone());
        }
    } else {
        note_history(model, new);
    }
    note_progress(model, new);
    model.was_there |= new.state == StoreState::Ready;
    model.jobs.ours = model.jobs.running.is_some();
    let first = first || model.table.selected.is_none();
    model.refresh();
    if first && let Some(subject) = new.alerts.iter().find_map(|a| a.subject.as_ref()) {
        let row = model.table.order.iter().position(|m| m == subject);
        model.table.select(row.unwrap_or(0));
    }
    model.alert.at = model.alert.at.min(new.alerts.len().saturating_sub(1));
}

/// How far the run is now; its end is reported once.
fn note_progress(model: &mut Model, new: &Observation) {
    // Without a plan of the user's, the session's own.
    let own = || {
        let session = new.session.as_ref()?;
        Some((Expected::Tests(session.planned?), session.done))
    };
    let expected = match &model.settings.expected {
        Some(expected) => Some((expected.clone(), new.totals.tests)),
        None => own(),
    };
    let Some((expected, there)) = expected else {
        model.progress = None;
        return;
    };
    let progress = RunProgress::of(&expected, &new.cells, there);
    let was_open = model
        .progress
        .as_ref()
        .is_some_and(|before| !before.is_done());
    if was_open && progress.is_done() {
        let all = thousands(progress.total.planned);
        model.note(
            Severity::Healthy,
            format!("the run is done: all {all} planned tests are there"),
        );
    }
    model.progress = Some(progress);
}

/// At the start: what the store itself says of its past.
fn note_history(model: &mut Model, new: &Observation) {
    let first = new.operations.len().saturating_sub(REMEMBERED);
    note_operations(model, new.operations.iter().skip(first));
    model.notice = None;
    let reported = new
        .operations
        .iter()
        .any(|done| done.generation == Some(new.main.generation));
    if let Some(committed) = new
        .main
        .committed
        .filter(|_| new.main.generation > 0 && !reported)
    {
        model.note(
            Severity::Healthy,
            format!(
                "committed generation {}: {} in main",
                new.main.generation,
                plural(new.main.rows, "row")
            ),
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
            model.note(
                Severity::Critical,
                "the store is gone: waiting for it to come back",
            );
        }
        StoreState::Unreadable(why) => model.note(Severity::Critical, why.clone()),
    }
}

/// What other processes did since the scan before. What lies further back is the past of
/// a store that took this one's place.
fn news<'a>(old: &Observation, new: &'a Observation) -> impl Iterator<Item = &'a OperationView> {
    let before = old.at.saturating_sub(PAST).unwrap_or(Timestamp::MIN);
    // The clock of another machine may be behind; a commit that was not there before is new all the same.
    let committed = |done: &OperationView| {
        old.main.generation != new.main.generation && done.generation == Some(new.main.generation)
    };
    let is_new = |done: &&OperationView| {
        !old.operations.contains(done) && (done.at > before || committed(done))
    };
    new.operations
        .iter()
        .filter(is_new)
        .collect::<Vec<_>>()
        .into_iter()
}

fn note_operations<'a>(model: &mut Model, operations: impl Iterator<Item = &'a OperationView>) {
    for done in operations.filter(|done| !done.own) {
        let severity = if done.failed {
            Severity::Warning
        } else {
            Severity::Healthy
        };
        model.note(severity, format!("{} ({})", done.summary, done.by));
        if let Some(entry) = model.activity.front_mut() {
            entry.at = done.at.min(model.now);
        }
    }
}

/// A commit that no job of ours made, and of which its maker says nothing: older programs
/// don't, and others die before they can.
fn note_generation(model: &mut Model, old: &Observation, new: &Observation) {
    if new.state != StoreState::Ready {
        model.unexplained = None;
        return;
    }
    let changed = old.state == StoreState::Ready && old.main.generation != new.main.generation;
    if changed && !model.jobs.ours {
        let rows = model
            .unexplained
            .map_or(old.main.rows, |commit| commit.rows);
        model.unexplained = Some(Unexplained {
            rows,
            since: model.now,
        });
    }
    let Some(commit) = model.unexplained else {
        return;
    };
    if new
        .operations
        .iter()
        .any(|done| done.generation == Some(new.main.generation))
    {
        model.unexplained = None;
        return;
    }
    if model.now.duration_since(commit.since) < PATIENCE {
        return;
    }
    model.unexplained = None;
    let (before, after) = (commit.rows, new.main.rows);
    let rows = if after >= before {
        format!("{} more rows", thousands(after - before))
    } else {
        format!("{} fewer rows", thousands(before - after))
    };
    let severity = if after >= before {
        Severity::Healthy
    } else {
        Severity::Warning
    };
    model.note(
        severity,
        format!(
            "another process committed generation {}: {rows}",
            new.main.generation
        ),
    );
}

/// Alerts that appeared or are over, at the time when that was seen.
fn note_alerts(model: &mut Model, changes: impl IntoIterator<Item = Change>) {
    for Change {
        at,
        alert,
        appeared,
    } in changes
    {
        // What a job of ours mended is reported by the job's outcome.
        let mended = model.jobs.ours
            && matches!(
                alert.action,
                Remedy::Consolidate | Remedy::Cleanup | Remedy::Validate
            );
        // That the store is there now is said already.
        if !appeared && alert.rule == "store_missing" {
            continue;
        }
        if appeared {
            model.note(alert.severity, alert.message);
        } else if !mended {
            model.note(Severity::Healthy, format!("over: {}", alert.message));
        } else {
            continue;
        }
        if let Some(entry) = model.activity.front_mut() {
            entry.at = at;
        }
    }
}
