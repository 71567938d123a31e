//! When the picture changes although nothing happens: ages grow, an order falls due.
//! The event loop sleeps until then, so it wakes for nothing else.

use jiff::Timestamp;

use crate::text::numbers::span_changes_in;
use crate::tui::state::model::{MOVING_SECONDS, Model, Overlay};

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
    let still = newest
        .map(|t| MOVING_SECONDS - model.age(t))
        .filter(|s| *s > 0.0);
    let oldest = seen.waiting.oldest.map(grows);
    let flying = least(
        seen.writers
            .iter()
            .flat_map(|writer| &writer.tests)
            .map(|test| grows(test.since)),
    );
    let running = seen.session.as_ref().and_then(|session| session.began);
    let running = running.map(grows);
    let pulled = seen.sources.iter().filter_map(|source| source.at);
    let pulled = least(pulled.map(grows));
    // The time of day in the first row.
    let second = model.now.as_millisecond().rem_euclid(60_000) as f64 / 1e3;
    let minute = Some(60.0 - second);
    let shown = model.overlays.last().and_then(|overlay| match overlay {
        Overlay::Writers(_) => least(seen.writers.iter().filter_map(|w| w.last_row).map(grows)),
        Overlay::Files(_) => least(seen.waiting.files.iter().map(|f| grows(f.modified))),
        Overlay::Drill(name, _) => seen
            .models
            .iter()
            .find(|m| m.model == *name)
            .and_then(|m| m.last_row)
            .map(grows),
        Overlay::Alert(key, _) => model.book.since(key).map(grows),
        Overlay::AlertLog(_) => least(
            model
                .book
                .present()
                .filter_map(|(key, _)| model.book.since(key))
                .map(grows),
        ),
        Overlay::Help(_)
        | Overlay::Entry(..)
        | Overlay::Compare(..)
        | Overlay::Progress(_)
        | Overlay::Cost(_)
        | Overlay::Sessions(_)
        | Overlay::Metrics(_)
        | Overlay::Failed(..)
        | Overlay::Row(..)
        | Overlay::Log(..)
        | Overlay::History(_) => None,
    });
    let all = [
        reorder, awake, still, oldest, flying, running, pulled, minute, shown,
    ];
    least(all.into_iter().flatten())
}

fn least(values: impl Iterator<Item = f64>) -> Option<f64> {
    values.min_by(f64::total_cmp)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use ratatui::buffer::Buffer;
    use ratatui::widgets::Widget;

    use super::*;
    use crate::tui::state::fixture;
    use crate::tui::state::model::Scroll;
    use crate::tui::view::Screen;

    fn picture(model: &Model) -> Buffer {
        let mut buffer = Buffer::empty(model.area);
        Screen(model).render(model.area, &mut buffer);
        buffer
    }

    /// The event loop relies on it: before that moment it draws nothing for the time alone.
    #[test]
    fn until_then_the_picture_stays() {
        let scroll = Scroll::default();
        let overlays = [
            None,
            Some(Overlay::Writers(scroll)),
            Some(Overlay::Files(scroll)),
        ];
        let mut pulling = fixture::healthy();
        pulling.sources = vec![crate::observation::SourceView {
            name: "node7:/runs".to_owned(),
            at: pulling.at.checked_sub(SignedDuration::from_secs(20)).ok(),
            ..crate::observation::SourceView::default()
        }];
        for seen in [
            pulling,
            fixture::healthy(),
            fixture::warning(),
            fixture::critical(),
            fixture::ended(),
        ] {
            for overlay in &overlays {
                let mut model = fixture::showing(100, 30, seen.clone());
                model.overlays.extend(overlay.clone());
                for step in 0..60 {
                    let before = picture(&model);
                    let Some(seconds) = next(&model) else { break };
                    let then = model.now;
                    for part in [0.3, 0.6, 0.99] {
                        let later = SignedDuration::from_secs_f64(seconds.min(3_600.0) * part);
                        model.now = then + later;
                        assert_eq!(
                            before,
                            picture(&model),
                            "{overlay:?}, step {step}: {part} of {seconds} s"
                        );
                    }
                    model.now = then + SignedDuration::from_secs_f64(seconds.max(0.05));
                }
            }
        }
    }
}
