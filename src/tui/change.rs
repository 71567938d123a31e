//! When the picture changes although nothing happens: ages grow, an order falls due.
//! The event loop sleeps until then, so it wakes for nothing else.

use jiff::Timestamp;

use super::format::span_changes_in;
use super::model::{MOVING_SECONDS, Model, Overlay};

/// Seconds until something visible changes by itself; `None` while nothing does.
pub(crate) fn next(model: &Model) -> Option<f64> {
    let until = |then: Timestamp| then.duration_since(model.now).as_secs_f64().max(0.0);
    let reorder = model.table.next_reorder().map(until);
    let awake = model.book.next_wake().map(until);
    if model.frozen.is_some() {
        return awake;
    }
    if !model.moving() {
        return least([reorder, awake].into_iter().flatten());
    }
    let grows = |then: Timestamp| span_changes_in(model.age(then));
    let seen = model.seen.as_ref()?;
    let newest = seen.writers.iter().filter_map(|w| w.last_row).max();
    // Then ages turn into clock times, unless more rows arrive.
    let still = newest.map(|t| MOVING_SECONDS - model.age(t)).filter(|s| *s > 0.0);
    let oldest = seen.waiting.oldest.map(grows);
    let shown = model.overlays.last().and_then(|overlay| match overlay {
        Overlay::Writers(_) => least(seen.writers.iter().filter_map(|w| w.last_row).map(grows)),
        Overlay::Files(_) => least(seen.waiting.files.iter().map(|f| grows(f.modified))),
        Overlay::Drill(name, _) => {
            seen.models.iter().find(|m| m.model == *name).and_then(|m| m.last_row).map(grows)
        }
        Overlay::Alert(key, _) => model.book.since(key).map(grows),
        Overlay::AlertLog(_) => {
            least(model.book.present().filter_map(|(key, _)| model.book.since(key)).map(grows))
        }
        Overlay::Help(_)
        | Overlay::Entry(..)
        | Overlay::Compare(..)
        | Overlay::Progress(_)
        | Overlay::History(_) => None,
    });
    least([reorder, awake, still, oldest, shown].into_iter().flatten())
}

fn least(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.min_by(f64::total_cmp)
}
