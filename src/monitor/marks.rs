//! What charts over time show: when writers were lost, and when models began to be throttled.
//! Heartbeats forget it, so the monitor remembers it from scan to scan.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::observation::{Mark, MarkKind, Observation, WriterState};

/// So many are remembered, the newest.
const KEPT: usize = 200;

/// The marks so far.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Models that are throttled now, and since when.
    throttled: BTreeMap<String, Timestamp>,
    seen: Vec<Mark>,
}

impl Marks {
    /// Takes in what an observation says, and fills in the marks and since when models are
    /// throttled.
    pub(super) fn fill(&mut self, seen: &mut Observation) {
        let much = seen.throttled.iter_mut().filter(|view| view.is_much());
        let mut throttled = BTreeMap::new();
        for view in much {
            let before = self.throttled.get(&view.model);
            match before {
                // Heartbeats say the last minutes only.
                Some(since) => view.since = *since,
                None => self.seen.push(Mark {
                    at: view.since,
                    kind: MarkKind::Throttled,
                }),
            }
            throttled.insert(view.model.clone(), view.since);
        }
        self.throttled = throttled;
        for writer in &seen.writers {
            let lost = matches!(writer.state, WriterState::Lost | WriterState::Failed);
            let at = writer.since.or(writer.last_row).filter(|_| lost);
            self.seen.extend(at.map(|at| Mark {
                at,
                kind: MarkKind::Lost,
            }));
        }
        self.seen.sort_unstable();
        self.seen.dedup();
        let more = self.seen.len().saturating_sub(KEPT);
        self.seen.drain(..more);
        seen.marks.clone_from(&self.seen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::{ThrottleView, WriterView};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn throttled(since: i64, per_minute: f64) -> Observation {
        let view = ThrottleView {
            model: "m".into(),
            per_minute,
            share: 0.0,
            status: None,
            since: at(since),
        };
        Observation {
            throttled: vec![view],
            ..Observation::default()
        }
    }

    #[test]
    fn what_begins_is_marked_once_and_remembered() {
        let mut marks = Marks::default();
        let mut fill = |mut seen: Observation| {
            marks.fill(&mut seen);
            seen
        };
        assert_eq!(fill(throttled(100, 1.0)).marks, [], "that is usual");
        let throttled_at = |second| Mark {
            at: at(second),
            kind: MarkKind::Throttled,
        };
        assert_eq!(fill(throttled(100, 9.0)).marks, [throttled_at(100)]);
        let later = fill(throttled(700, 9.0));
        assert_eq!(later.marks, [throttled_at(100)], "it goes on");
        assert_eq!(later.throttled[0].since, at(100));
        let lost = WriterView {
            state: WriterState::Lost,
            since: Some(at(50)),
            ..WriterView::default()
        };
        let mut ended = Observation {
            writers: vec![lost],
            ..Observation::default()
        };
        ended = fill(ended);
        assert_eq!(ended.marks.len(), 2, "in order of time, remembered");
        assert_eq!(ended.marks[0].kind, MarkKind::Lost);
        let again = fill(throttled(900, 9.0));
        assert_eq!(again.marks.len(), 3, "{:?}", again.marks);
    }
}
