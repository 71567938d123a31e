//! The filter: among models at once, among tests by reading the rows, and again when more came.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::health::Severity;
use crate::monitor::filtered::{Condition, Filtered};
use crate::tui::state::filter::split;
use crate::tui::state::model::{Filtering, Model, Overlay};
use crate::tui::update::message::Effect;

/// The least time between two readings of the rows.
const EVERY: SignedDuration = SignedDuration::from_secs(5);
/// Reading takes at most about this share of the time.
const SHARE: i32 = 10;

/// Shows the models that a filter leaves; while the help is open, the keys.
pub(super) fn show(model: &mut Model, text: &str) {
    if let Some(Overlay::Help(scroll)) = model.overlays.last_mut() {
        text.clone_into(&mut model.help_filter);
        scroll.at = 0;
        return;
    }
    text.clone_into(&mut model.table.filter);
    model.reorder();
}

/// Keeps the filter: where it chooses among tests, their rows are read.
pub(super) fn keep(model: &mut Model) -> Vec<Effect> {
    let condition = {
        let is_name = |word: &str| model.is_name(word);
        split(&model.table.filter, is_name).condition
    };
    let same = model
        .filtering
        .as_ref()
        .is_some_and(|filtering| Some(&filtering.condition) == condition.as_ref());
    if same {
        return Vec::new();
    }
    model.filtered = None;
    model.filtering = None;
    model.reorder();
    condition.map_or_else(Vec::new, |condition| ask(model, condition))
}

/// More rows may have come.
pub(super) fn refresh(model: &mut Model) -> Vec<Effect> {
    let rows = rows(model);
    let Some(filtering) = &model.filtering else {
        return Vec::new();
    };
    let since = model.now.duration_since(filtering.asked);
    let due = since >= EVERY.max(filtering.took * SHARE) || since.is_negative();
    if filtering.busy || filtering.rows == rows || !due {
        return Vec::new();
    }
    let condition = filtering.condition.clone();
    ask(model, condition)
}

fn ask(model: &mut Model, condition: Condition) -> Vec<Effect> {
    let took = model
        .filtering
        .as_ref()
        .map_or(SignedDuration::ZERO, |filtering| filtering.took);
    model.filtering = Some(Filtering {
        condition: condition.clone(),
        rows: rows(model),
        asked: model.now,
        took,
        busy: true,
    });
    vec![Effect::Filter(condition)]
}

fn rows(model: &Model) -> u64 {
    model.seen.as_ref().map_or(0, |seen| {
        seen.totals.tests + seen.superseded + seen.repeated
    })
}

/// The answer.
pub(super) fn answered(
    model: &mut Model,
    condition: &Condition,
    result: Result<Box<Filtered>, String>,
) {
    let now = model.now;
    let Some(filtering) = model
        .filtering
        .as_mut()
        .filter(|filtering| filtering.condition == *condition)
    else {
        return;
    };
    filtering.busy = false;
    filtering.took = now.duration_since(filtering.asked).abs();
    match result {
        Ok(found) => model.filtered = Some(Arc::from(found)),
        Err(why) => {
            model.filtered = None;
            model.filtering = None;
            model.table.filter.clear();
            model.note(Severity::Warning, format!("no filter: {why}"));
        }
    }
    model.reorder();
}
