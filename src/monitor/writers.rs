//! What became of each writer: alive, silent, done or dead. A writer whose files are
//! all consumed leaves the store, so the ones that were seen before are remembered.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::time;
use crate::config::Thresholds;
use crate::observation::{WriterState, WriterView};
use crate::store::snapshot::WriterFacts;

/// Writers without files and without a row for so long are left out, in seconds.
const FORGET: f64 = 3_600.0;
/// A writer is quiet after so many times its usual longest gap.
const GAPS: f64 = 5.0;

/// The writers of one store, from look to look.
#[derive(Debug, Default)]
pub(super) struct Writers {
    /// By process id and host: pids and start times repeat between machines.
    seen: BTreeMap<(String, Option<String>), WriterView>,
}

impl Writers {
    /// Takes in what the store tells now; returns all writers by state, then by id.
    pub(super) fn update(
        &mut self,
        facts: &[WriterFacts],
        now: Timestamp,
        limits: &Thresholds,
    ) -> Vec<WriterView> {
        for gone in self.seen.values_mut() {
            gone.rows = 0;
            gone.journal_bytes = 0;
            // Without files: a live writer keeps its journal, so it must have closed it.
            if gone.state != WriterState::Unknown {
                gone.state = WriterState::Done;
            }
        }
        for fact in facts {
            let state = state(fact, now, limits);
            self.seen.insert(
                (fact.process_id.clone(), fact.host.clone()),
                view(fact, state, limits),
            );
        }
        self.seen.retain(|_, writer| {
            let open = matches!(
                writer.state,
                WriterState::Live | WriterState::Quiet | WriterState::Gone
            );
            open || writer.rows > 0 || silence(writer.last_row, now) < FORGET
        });
        let mut all: Vec<WriterView> = self.seen.values().cloned().collect();
        all.sort_by(|a, b| (a.state, &a.process_id).cmp(&(b.state, &b.process_id)));
        all
    }
}

fn state(fact: &WriterFacts, now: Timestamp, limits: &Thresholds) -> WriterState {
    if fact.lock_held {
        let last = fact.last_row.and_then(time);
        // One that has recorded nothing yet may be at its first, long test.
        let quiet = last.is_some() && silence(last, now) > limit(fact, limits);
        return if quiet {
            WriterState::Quiet
        } else {
            WriterState::Live
        };
    }
    // Only this machine's own locks tell for sure that nobody holds one; legacy files have none.
    match fact.on_this_host {
        true if fact.unclosed => WriterState::Gone,
        true => WriterState::Done,
        false => WriterState::Unknown,
    }
}

fn view(fact: &WriterFacts, state: WriterState, limits: &Thresholds) -> WriterView {
    WriterView {
        process_id: fact.process_id.clone(),
        state,
        rows: fact.rows,
        last_row: fact.last_row.and_then(time),
        model: fact.last_model.as_deref().map(str::to_owned),
        journal_bytes: fact.journal_bytes,
        limit_seconds: limit(fact, limits),
    }
}

/// The silence after which a writer counts as quiet:
/// max(60 s, 5 × the 95th percentile of its gaps).
fn limit(fact: &WriterFacts, limits: &Thresholds) -> f64 {
    (limits.stalled_seconds as f64).max(GAPS * fact.p95_gap.unwrap_or_default())
}

fn silence(last_row: Option<Timestamp>, now: Timestamp) -> f64 {
    last_row.map_or(f64::INFINITY, |last| now.duration_since(last).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_769_860_800;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn fact(id: &str, silent: i64) -> WriterFacts {
        WriterFacts {
            process_id: id.to_owned(),
            host: Some("here".to_owned()),
            on_this_host: true,
            lock_held: true,
            unclosed: false,
            rows: 3,
            journal_bytes: 700,
            last_row: Some((NOW - silent) * 1_000_000),
            last_model: Some("m".into()),
            p95_gap: None,
        }
    }

    fn states(writers: &mut Writers, facts: &[WriterFacts]) -> Vec<(String, WriterState)> {
        let views = writers.update(facts, now(), &Thresholds::default());
        views
            .into_iter()
            .map(|writer| (writer.process_id, writer.state))
            .collect()
    }

    fn state(fact: WriterFacts) -> WriterState {
        states(&mut Writers::default(), &[fact]).remove(0).1
    }

    #[test]
    fn silence_is_judged_by_the_writers_own_gaps() {
        assert_eq!(state(fact("a", 60)), WriterState::Live);
        assert_eq!(state(fact("a", 61)), WriterState::Quiet);
        assert_eq!(
            state(WriterFacts {
                p95_gap: Some(20.0),
                ..fact("a", 100)
            }),
            WriterState::Live
        );
        assert_eq!(
            state(WriterFacts {
                p95_gap: Some(20.0),
                ..fact("a", 101)
            }),
            WriterState::Quiet
        );
        assert_eq!(
            state(WriterFacts {
                last_row: None,
                rows: 0,
                ..fact("a", 0)
            }),
            WriterState::Live
        );
    }

    #[test]
    fn without_its_lock_a_writer_is_done_or_gone() {
        assert_eq!(
            state(WriterFacts {
                lock_held: false,
                ..fact("a", 5)
            }),
            WriterState::Done
        );
        let dead = WriterFacts {
            lock_held: false,
            unclosed: true,
            ..fact("a", 5)
        };
        assert_eq!(state(dead.clone()), WriterState::Gone);
        let elsewhere = WriterFacts {
            on_this_host: false,
            host: Some("there".into()),
            ..dead
        };
        assert_eq!(state(elsewhere), WriterState::Unknown);
        let legacy = WriterFacts {
            on_this_host: false,
            host: None,
            lock_held: false,
            ..fact("a", 5)
        };
        assert_eq!(state(legacy), WriterState::Unknown);
    }

    #[test]
    fn writers_are_remembered_after_their_files() {
        let mut writers = Writers::default();
        let elsewhere = WriterFacts {
            host: Some("there".into()),
            on_this_host: false,
            ..fact("a", 400)
        };
        let found = states(&mut writers, &[fact("a", 5), elsewhere]);
        assert_eq!(
            found,
            [
                ("a".to_owned(), WriterState::Live),
                ("a".to_owned(), WriterState::Quiet)
            ]
        );
        // Consolidated: a live writer keeps its journal, so these have closed theirs.
        let found = states(&mut writers, &[]);
        assert_eq!(found[0], ("a".to_owned(), WriterState::Done));
    }

    #[test]
    fn old_ones_are_forgotten() {
        let mut writers = Writers::default();
        let old = WriterFacts {
            host: None,
            on_this_host: false,
            lock_held: false,
            rows: 0,
            ..fact("a", 3_600)
        };
        assert!(states(&mut writers, std::slice::from_ref(&old)).is_empty());
        let waiting = WriterFacts { rows: 1, ..old };
        assert_eq!(states(&mut writers, &[waiting]).len(), 1);
        assert!(states(&mut writers, &[]).is_empty());
    }

    #[test]
    fn the_ones_that_need_eyes_come_in_a_stable_order() {
        let facts = [
            WriterFacts {
                lock_held: false,
                ..fact("a", 5)
            },
            fact("c", 400),
            fact("b", 5),
            WriterFacts {
                lock_held: false,
                unclosed: true,
                ..fact("d", 5)
            },
        ];
        let order: Vec<String> = states(&mut Writers::default(), &facts)
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        assert_eq!(order, ["b", "c", "a", "d"]);
    }
}
