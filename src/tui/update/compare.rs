//! Two models against each other: which are marked, when they are compared, and again
//! when there is more to compare.

use jiff::SignedDuration;

use crate::health::Severity;
use crate::stats::metric::Metric;
use crate::stats::paired::Comparison;
use crate::tui::input::action::Action;
use crate::tui::state::model::{Compared, Focus, Model, Overlay, Scroll};
use crate::tui::update::message::Effect;

/// The least time between two comparisons of the same two: each reads their rows.
const EVERY: SignedDuration = SignedDuration::from_secs(15);

/// Marks the selected model, or takes the mark back; of three marks the oldest goes.
pub(super) fn mark(model: &mut Model) {
    if !model.overlays.is_empty() || model.focus != Focus::Models {
        return;
    }
    let Some(selected) = model.table.selected.clone() else {
        return;
    };
    let marked = &mut model.table.marked;
    if let Some(at) = marked.iter().position(|m| *m == selected) {
        marked.remove(at);
    } else {
        marked.push(selected);
        let surplus = marked.len().saturating_sub(2);
        marked.drain(..surplus);
    }
}

/// Compares the two that are marked; with one mark, that one and the selected one.
pub(super) fn open(model: &mut Model) -> Vec<Effect> {
    if let Some(Overlay::Compare(..)) = model.overlays.last() {
        model.overlays.pop();
        return Vec::new();
    }
    let mut both = model.table.marked.clone();
    both.extend(
        model
            .table
            .selected
            .clone()
            .filter(|s| both.len() == 1 && !both.contains(s)),
    );
    let Ok(both) = <[String; 2]>::try_from(both) else {
        let key = model.settings.keymap.key(Action::Mark);
        model.note(
            Severity::Healthy,
            format!("mark two models with {key} to compare them"),
        );
        return Vec::new();
    };
    model
        .overlays
        .retain(|o| !matches!(o, Overlay::Compare(..)));
    model
        .overlays
        .push(Overlay::Compare(both.clone(), Scroll::default()));
    ask(model, both)
}

/// More rows may have come for the comparison on top.
pub(super) fn refresh(model: &mut Model) -> Vec<Effect> {
    let Some(Overlay::Compare(both, _)) = model.overlays.last() else {
        return Vec::new();
    };
    let both = both.clone();
    let current = model
        .compared
        .as_ref()
        .filter(|compared| compared.both == both);
    let due = current.is_none_or(|compared| {
        let since = model.now.duration_since(compared.asked);
        compared.result.is_some()
            && compared.tests != tests(model, &both)
            && (since >= EVERY || since.is_negative())
    });
    if due { ask(model, both) } else { Vec::new() }
}

fn ask(model: &mut Model, both: [String; 2]) -> Vec<Effect> {
    let tests = tests(model, &both);
    let before = model
        .compared
        .take()
        .filter(|compared| compared.both == both);
    // What is known stays on the screen until there is something newer.
    let shown = before.and_then(|compared| compared.result.or(compared.shown));
    model.compared = Some(Compared {
        both: both.clone(),
        tests,
        asked: model.now,
        result: None,
        shown,
    });
    let metric = metric(model);
    let expression = model
        .filtered
        .as_ref()
        .and_then(|found| found.expression.clone());
    vec![Effect::Compare(both, metric, expression)]
}

/// What is shown instead of the success rate.
pub(super) fn metric(model: &Model) -> Option<Box<Metric>> {
    let chosen = model.seen.as_ref()?.metric.as_ref()?;
    Some(Box::new(chosen.metric.clone()))
}

/// Two sessions are being compared.
pub(super) fn asked(model: &mut Model, both: &[String; 2]) {
    model.compared = Some(Compared {
        both: both.clone(),
        tests: tests(model, both),
        asked: model.now,
        result: None,
        shown: None,
    });
}

/// The answer.
pub(super) fn compared(model: &mut Model, both: &[String; 2], result: Result<Comparison, String>) {
    if let Some(compared) = model
        .compared
        .as_mut()
        .filter(|compared| compared.both == *both)
    {
        compared.result = Some(result);
        compared.shown = None;
    }
}

/// How many tests the two have: whether there is anything new to compare.
fn tests(model: &Model, both: &[String; 2]) -> u64 {
    let models = model.models().iter();
    models
        .filter(|m| both.contains(&m.model))
        .map(|m| m.tally.tests)
        .sum()
}
