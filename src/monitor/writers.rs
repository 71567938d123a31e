//! What became of each writer, from scan to scan: what it says of itself, whether its process
//! lives, and its rows. A writer whose files are all consumed is remembered for a while.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use super::time;
use crate::config::Thresholds;
use crate::observation::{InFlightView, WriterState, WriterView};
use crate::store::disk::process::{Exit, Watched, lives};
use crate::store::format::heartbeat::{Ended, Heartbeat, InFlight};
use crate::store::read::snapshot::WriterFacts;

/// Writers that ended are left out after so many seconds without a row.
const FORGET: f64 = 3_600.0;
/// Those of which no file is left after so many.
const FORGET_GONE: f64 = 86_400.0;
/// Lost ones after so many.
const FORGET_LOST: f64 = 7.0 * 86_400.0;
/// A writer is stalled after so many times its usual longest gap.
const GAPS: f64 = 5.0;
/// Fewer gaps say nothing about what is usual.
const KNOWN_GAPS: usize = 20;
/// Then it is stalled after so many seconds.
const UNKNOWN_GAP: f64 = 900.0;
/// A test in flight is young for so many seconds where nothing is known of its model.
const YOUNG: f64 = 7_200.0;
/// Without a heartbeat for so many seconds a writer that can't be seen is silent.
const SILENT: f64 = 120.0;
/// So many processes are watched at once.
const WATCHED: usize = 256;

/// The writers of one store, from scan to scan.
#[derive(Debug, Default)]
pub(super) struct Writers {
    seen: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    view: WriterView,
    /// Its last heartbeat, and when that was first seen.
    beat: u64,
    changed: Timestamp,
    /// Its process was seen alive.
    alive: bool,
    /// Its process, until it ends.
    watched: Option<Watched>,
    exit: Option<Exit>,
    /// Of a writer of other code: the owner of its files.
    owner: Option<u32>,
}

/// What usual test times are: the 95th percentile of a model's, in seconds, where known.
pub(super) type Times<'a> = &'a dyn Fn(&str) -> Option<f64>;

impl Writers {
    /// Takes in what the store says now; returns all writers, those first that need eyes.
    /// Those that [`stays`] has no room for any more speak of their session only.
    pub(super) fn update(
        &mut self,
        facts: &[WriterFacts],
        now: Timestamp,
        limits: &Thresholds,
        times: Times<'_>,
    ) -> Vec<WriterView> {
        for known in self.seen.values_mut() {
            known.leave(now);
        }
        let mut watched = self.seen.values().filter(|k| k.watched.is_some()).count();
        for fact in facts.iter().filter(|fact| !is_consumed(fact)) {
            let known = self
                .seen
                .entry(fact.writer.clone())
                .or_insert_with(|| Known::new(fact, now));
            known.look(fact, now, watched < WATCHED);
            watched += usize::from(known.watched.is_some());
            let judged = judge(fact, known, now, limits, times);
            known.view = view(fact, judged, now, limits, times);
        }
        let there: HashSet<&str> = facts.iter().map(|fact| fact.writer.as_str()).collect();
        let kept = |id: &str, known: &Known| {
            there.contains(id) || stays(&known.view, now) && !is_long_gone(&known.view, now)
        };
        self.seen.retain(|id, known| kept(id, known));
        let mut all: Vec<WriterView> = self.seen.values().map(|known| known.view.clone()).collect();
        all.sort_by(|a, b| (a.state, &a.writer).cmp(&(b.state, &b.writer)));
        all
    }
}

/// Whether nothing but this memory says of a writer that ended a day ago.
fn is_long_gone(view: &WriterView, now: Timestamp) -> bool {
    !view.state.is_open() && silence(view.last_row.max(view.since), now) > FORGET_GONE
}

/// Whether nothing is left of a writer of other code but what commits took in: that says nothing
/// of it, and what is known of it stands.
fn is_consumed(fact: &WriterFacts) -> bool {
    let silent = fact.host.is_none() && fact.heartbeat.is_none() && fact.alive.is_none();
    silent && fact.rows == 0 && fact.journal_bytes == 0
}

/// Whether a writer is one of those that are listed.
pub(super) fn stays(view: &WriterView, now: Timestamp) -> bool {
    use WriterState as S;
    match view.state {
        S::Live | S::Idle | S::Stalled | S::Silent => true,
        S::Lost | S::Failed => view.rows > 0 || silence(view.since, now) < FORGET_LOST,
        S::Finished | S::Ended | S::Unknown => {
            let last = view.last_row.max(view.since);
            view.rows > 0 || silence(last, now) < FORGET
        }
    }
}

impl Known {
    fn new(fact: &WriterFacts, now: Timestamp) -> Self {
        Self {
            view: WriterView::default(),
            beat: 0,
            // How long it has been silent is only known from its file.
            changed: fact.beat_at.unwrap_or(now).min(now),
            alive: false,
            watched: None,
            exit: None,
            owner: None,
        }
    }

    /// None of its files is there any more.
    fn leave(&mut self, now: Timestamp) {
        let view = &mut self.view;
        (view.rows, view.journal_bytes, view.running) = (0, 0, 0);
        view.tests.clear();
        if !view.state.is_open() {
            return;
        }
        // Other code goes on to write new files when its old ones were consumed.
        let pid = view.pid.zip(self.owner);
        let alive = pid.and_then(|(pid, owner)| lives(pid, owner, view.last_row));
        if alive == Some(true) {
            return;
        }
        view.state = WriterState::Ended;
        view.since = Some(now);
    }

    fn look(&mut self, fact: &WriterFacts, now: Timestamp, may_watch: bool) {
        self.owner = fact.owner;
        self.alive |= fact.alive == Some(true) || fact.lock_held;
        let Some(said) = &fact.heartbeat else { return };
        if self.beat != said.beat {
            if self.beat > 0 {
                self.changed = now;
            }
            self.beat = said.beat;
        }
        if said.ended.is_some() {
            self.watched = None;
        } else if let Some(watched) = &self.watched {
            if watched.has_ended() && self.exit.is_none() {
                self.exit = watched.exit();
            }
        } else if may_watch && fact.alive == Some(true) {
            let found = Watched::new(said.recorder.pid);
            self.watched = found.filter(|found| found.identity == said.recorder);
        }
    }
}

/// A state, why, and since when.
type Judged = (WriterState, Option<String>, Option<Timestamp>);

fn judge(
    fact: &WriterFacts,
    known: &Known,
    now: Timestamp,
    limits: &Thresholds,
    times: Times<'_>,
) -> Judged {
    use WriterState as S;
    let active = || (activity(fact, now, limits, times), None, None);
    let Some(said) = &fact.heartbeat else {
        return match (fact.alive, fact.host.is_some()) {
            _ if fact.lock_held => active(),
            (Some(true), _) => active(),
            // Only this machine's own locks say for sure that nobody holds one.
            (_, true) if fact.on_this_host && fact.unclosed => (S::Lost, None, last(fact)),
            (_, true) if fact.on_this_host && !fact.unseen => (S::Ended, None, last(fact)),
            (Some(false), false) if known.alive => {
                let since = if known.view.state == S::Ended {
                    known.view.since
                } else {
                    Some(now)
                };
                (S::Ended, None, since)
            }
            _ => (S::Unknown, None, None),
        };
    };
    if let Some(ended) = said.ended {
        let state = match ended {
            Ended::Finished => S::Finished,
            Ended::Ended => S::Ended,
            Ended::Failed => S::Failed,
            Ended::Lost => S::Lost,
        };
        let since = said.ended_at.and_then(time).or(fact.beat_at);
        return (state, said.reason.clone(), since);
    }
    match fact.alive {
        _ if fact.lock_held => active(),
        Some(false) => {
            let (state, reason) = gone(known.exit, said);
            (state, reason, Some(known.changed))
        }
        None if silence(Some(known.changed), now) > may_be_silent(said) => {
            // One that was pulled once says of that time only.
            let once = said.brought.is_some_and(|brought| brought.every.is_none());
            let state = if once { S::Unknown } else { S::Silent };
            (state, None, Some(known.changed))
        }
        Some(true) | None => active(),
    }
}

/// So many seconds without a heartbeat are nothing to worry about: what a pull brings may be as old
/// as the time between two of them.
fn may_be_silent(said: &Heartbeat) -> f64 {
    let every = said.brought.and_then(|brought| brought.every);
    SILENT + every.unwrap_or_default() as f64
}

/// A process of this machine that is gone without a word.
fn gone(exit: Option<Exit>, said: &Heartbeat) -> (WriterState, Option<String>) {
    match exit {
        Some(Exit::Status(0)) if said.running == 0 => (WriterState::Ended, None),
        Some(Exit::Status(0)) | None => (WriterState::Lost, None),
        Some(Exit::Status(status)) => {
            let reason = format!("exit status {status}");
            (WriterState::Failed, Some(reason))
        }
        Some(exit @ Exit::Signal(_)) if exit.is_request() && said.running == 0 => {
            (WriterState::Ended, Some(exit.to_string()))
        }
        Some(exit) => (WriterState::Lost, Some(exit.to_string())),
    }
}

fn last(fact: &WriterFacts) -> Option<Timestamp> {
    fact.last_row.and_then(time)
}

/// What a writer that lives is about.
fn activity(
    fact: &WriterFacts,
    now: Timestamp,
    limits: &Thresholds,
    times: Times<'_>,
) -> WriterState {
    let said = fact.heartbeat.as_deref();
    let young = |test: &InFlight| {
        let usual = times(&test.model).map(|p95| (GAPS * p95).max(UNKNOWN_GAP));
        silence(time(test.since), now) <= usual.unwrap_or(YOUNG)
    };
    let in_flight = said.map_or(&[][..], |said| said.in_flight.as_slice());
    if in_flight.iter().any(young) {
        return WriterState::Live;
    }
    if said.is_some_and(|said| said.idle && said.running == 0) {
        return WriterState::Idle;
    }
    // One that has recorded nothing yet may be at its first, long test.
    let began = said.map(|said| said.began);
    let Some(last) = fact.last_row.max(began).and_then(time) else {
        return WriterState::Live;
    };
    if silence(Some(last), now) > limit(fact, limits) {
        WriterState::Stalled
    } else {
        WriterState::Live
    }
}

fn view(
    fact: &WriterFacts,
    judged: Judged,
    now: Timestamp,
    limits: &Thresholds,
    times: Times<'_>,
) -> WriterView {
    let (state, reason, since) = judged;
    let said = fact.heartbeat.as_deref();
    let open = state.is_open() || state == WriterState::Lost;
    let tests = said
        .filter(|_| open)
        .map_or(&[][..], |said| said.in_flight.as_slice());
    let test = |test: &InFlight| InFlightView {
        model: test.model.clone(),
        name: test.name().to_owned(),
        test_id: test.test_id.clone(),
        task_id: test.task_id.clone(),
        trial: test.trial,
        since: time(test.since).unwrap_or(now),
        retries: test.retries,
        p95: times(&test.model),
    };
    let pid = fact.process_id.split('_').next();
    WriterView {
        writer: fact.writer.clone(),
        process_id: fact.process_id.clone(),
        host: fact.host.clone(),
        pid: said
            .map(|said| said.program().pid)
            .or_else(|| pid?.parse().ok()),
        program: said.map(|said| said.program().name.clone()),
        state,
        reason,
        several_sessions: said.map_or(0, |said| said.several_sessions),
        since,
        rows: fact.rows,
        last_row: last(fact),
        model: fact.last_model.as_deref().map(str::to_owned),
        journal_bytes: fact.journal_bytes,
        limit_seconds: limit(fact, limits),
        running: said.filter(|_| open).map_or(0, |said| said.running),
        tests: tests.iter().map(test).collect(),
        settled: false,
        interrupted: said.is_some_and(|said| said.interrupted),
        began: said.and_then(|said| time(said.began)),
        session: said.and_then(|said| said.session.clone()),
        planned: said.and_then(|said| said.plan),
        there: said.map_or(0, |said| said.there),
        // A heartbeat that came by a mailbox may be older than the rows.
        recorded: said.map_or(0, |said| said.rows.max(fact.rows)),
    }
}

/// The silence after which a writer counts as stalled: max(60 s, 5 × the 95th percentile of
/// its gaps), or a quarter of an hour where it has too few of them.
fn limit(fact: &WriterFacts, limits: &Thresholds) -> f64 {
    let least = limits.stalled_seconds as f64;
    match fact.p95_gap.filter(|_| fact.gaps >= KNOWN_GAPS) {
        Some(p95) => least.max(GAPS * p95),
        None => least.max(UNKNOWN_GAP),
    }
}

fn silence(since: Option<Timestamp>, now: Timestamp) -> f64 {
    since.map_or(f64::INFINITY, |since| {
        now.duration_since(since).as_secs_f64()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::format::heartbeat::Brought;

    const NOW: i64 = 1_769_860_800;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn micros(ago: i64) -> i64 {
        (NOW - ago) * 1_000_000
    }

    /// A writer of ours that lives, and whose last row is so many seconds old.
    fn fact(writer: &str, ago: i64) -> WriterFacts {
        let said = Heartbeat {
            writer: writer.to_owned(),
            beat: 5,
            began: micros(4_000),
            ..Heartbeat::default()
        };
        WriterFacts {
            writer: writer.to_owned(),
            process_id: "12_20260131_120000".to_owned(),
            host: Some("here".to_owned()),
            on_this_host: true,
            lock_held: false,
            unclosed: false,
            unseen: false,
            rows: 3,
            journal_bytes: 700,
            last_row: Some(micros(ago)),
            last_model: Some("m".into()),
            p95_gap: Some(1.0),
            gaps: 30,
            heartbeat: Some(Arc::new(said)),
            beat_at: Some(now()),
            alive: Some(true),
            owner: None,
        }
    }

    fn saying(fact: WriterFacts, change: impl FnOnce(&mut Heartbeat)) -> WriterFacts {
        let mut said = fact.heartbeat.as_deref().cloned().unwrap_or_default();
        change(&mut said);
        WriterFacts {
            heartbeat: Some(Arc::new(said)),
            ..fact
        }
    }

    fn legacy(writer: &str, alive: Option<bool>) -> WriterFacts {
        WriterFacts {
            heartbeat: None,
            host: None,
            on_this_host: false,
            alive,
            ..fact(writer, 5)
        }
    }

    fn update(writers: &mut Writers, facts: &[WriterFacts]) -> Vec<WriterView> {
        writers.update(facts, now(), &Thresholds::default(), &|model| {
            (model == "quick").then_some(30.0)
        })
    }

    fn state(fact: WriterFacts) -> WriterState {
        update(&mut Writers::default(), &[fact]).remove(0).state
    }

    fn in_flight(model: &str, ago: i64) -> InFlight {
        InFlight {
            model: model.into(),
            task_id: Some("x".into()),
            since: micros(ago),
            ..InFlight::default()
        }
    }

    fn running(fact: WriterFacts, test: InFlight) -> WriterFacts {
        saying(fact, |said| {
            (said.running, said.in_flight) = (1, vec![test]);
        })
    }

    #[test]
    fn a_writer_that_lives_is_judged_by_its_rows_and_tests() {
        use WriterState as S;
        assert_eq!(state(fact("a", 60)), S::Live);
        assert_eq!(state(fact("a", 61)), S::Stalled);
        let slow = |ago| WriterFacts {
            p95_gap: Some(20.0),
            ..fact("a", ago)
        };
        assert_eq!((state(slow(100)), state(slow(101))), (S::Live, S::Stalled));
        let new = |ago| WriterFacts {
            gaps: 19,
            ..fact("a", ago)
        };
        assert_eq!((state(new(900)), state(new(901))), (S::Live, S::Stalled));
        // A long test in flight is not a stall, where its model's tests may be long.
        assert_eq!(
            state(running(fact("a", 2_400), in_flight("agent", 2_400))),
            S::Live
        );
        assert_eq!(
            state(running(fact("a", 2_400), in_flight("quick", 2_400))),
            S::Stalled
        );
        assert_eq!(
            state(running(fact("a", 2_400), in_flight("quick", 800))),
            S::Live
        );
        assert_eq!(
            state(saying(fact("a", 400), |said| said.idle = true)),
            S::Idle
        );
        // Its lock shows that it lives, where its process can't be seen.
        let locked = WriterFacts {
            alive: None,
            lock_held: true,
            beat_at: Some(now() - jiff::SignedDuration::from_secs(600)),
            ..fact("a", 5)
        };
        assert_eq!(state(locked), S::Live);
    }

    #[test]
    fn what_a_writer_said_last_stands() {
        use WriterState as S;
        for (ended, expected) in [
            (Ended::Finished, S::Finished),
            (Ended::Ended, S::Ended),
            (Ended::Failed, S::Failed),
            (Ended::Lost, S::Lost),
        ] {
            let said = saying(fact("a", 5), |said| {
                said.ended = Some(ended);
                said.ended_at = Some(micros(3));
                said.reason = Some("why".into());
            });
            // Whatever its process does, and whether or not its journal was consumed.
            for alive in [Some(true), Some(false), None] {
                let found = update(
                    &mut Writers::default(),
                    &[WriterFacts {
                        alive,
                        ..said.clone()
                    }],
                );
                assert_eq!(found[0].state, expected);
                assert_eq!(found[0].reason.as_deref(), Some("why"));
                assert_eq!(found[0].since, time(micros(3)));
            }
        }
    }

    #[test]
    fn rows_that_are_there_count_though_the_heartbeat_does_not_know_them() {
        let recorded = |of_beat: u64| {
            let fact = saying(fact("a", 5), |said| said.rows = of_beat);
            update(&mut Writers::default(), &[fact])[0].recorded
        };
        assert_eq!((recorded(0), recorded(7)), (3, 7));
    }

    #[test]
    fn a_process_that_is_gone_without_a_word_is_lost() {
        use WriterState as S;
        let dead = WriterFacts {
            alive: Some(false),
            ..fact("a", 5)
        };
        assert_eq!(state(dead), WriterState::Lost);
        let said = Heartbeat::default();
        let with_test = Heartbeat {
            running: 1,
            ..Heartbeat::default()
        };
        for (exit, heartbeat, expected) in [
            (Some(Exit::Status(0)), &said, S::Ended),
            (Some(Exit::Status(0)), &with_test, S::Lost),
            (Some(Exit::Status(3)), &said, S::Failed),
            (Some(Exit::Signal(9)), &said, S::Lost),
            (Some(Exit::Signal(15)), &said, S::Ended),
            (Some(Exit::Signal(15)), &with_test, S::Lost),
            (None, &said, S::Lost),
        ] {
            assert_eq!(gone(exit, heartbeat).0, expected, "{exit:?}");
        }
    }

    #[test]
    fn who_cannot_be_seen_is_silent_when_the_heartbeat_stops() {
        let mut writers = Writers::default();
        let elsewhere = |beat: u64| {
            let fact = WriterFacts {
                alive: None,
                on_this_host: false,
                beat_at: None,
                ..fact("a", 5)
            };
            saying(fact, |said| said.beat = beat)
        };
        let mut at = |second: i64, beat: u64| {
            let now = Timestamp::from_second(NOW + second).unwrap();
            let fact = WriterFacts {
                last_row: Some((NOW + second) * 1_000_000),
                ..elsewhere(beat)
            };
            writers.update(&[fact], now, &Thresholds::default(), &|_| None)[0].clone()
        };
        assert_eq!(at(0, 1).state, WriterState::Live);
        assert_eq!(at(110, 2).state, WriterState::Live);
        assert_eq!(at(230, 2).state, WriterState::Live);
        let silent = at(231, 2);
        assert_eq!(silent.state, WriterState::Silent);
        assert_eq!(silent.since, Timestamp::from_second(NOW + 110).ok());
        assert_eq!(at(232, 3).state, WriterState::Live);
        // What is pulled every five minutes may be as old; what was pulled once says nothing of now.
        let brought = |every: Option<u64>, ago: i64| {
            let at = micros(ago);
            let fact = WriterFacts {
                beat_at: time(at),
                ..elsewhere(7)
            };
            state(saying(fact, |said| {
                said.brought = Some(Brought { at, every });
            }))
        };
        assert_eq!(brought(Some(300), 420), WriterState::Live);
        assert_eq!(brought(Some(300), 421), WriterState::Silent);
        assert_eq!(brought(None, 120), WriterState::Live);
        assert_eq!(brought(None, 121), WriterState::Unknown);
        // One scan knows what the file says.
        let old = WriterFacts {
            beat_at: Some(now() - jiff::SignedDuration::from_secs(121)),
            ..elsewhere(7)
        };
        assert_eq!(state(old), WriterState::Silent);
    }

    #[test]
    fn other_code_is_known_by_its_process() {
        use WriterState as S;
        assert_eq!(state(legacy("a", Some(true))), S::Live);
        assert_eq!(state(legacy("a", Some(false))), S::Unknown);
        assert_eq!(state(legacy("a", None)), S::Unknown);
        let mut writers = Writers::default();
        update(&mut writers, &[legacy("a", Some(true))]);
        assert_eq!(
            update(&mut writers, &[legacy("a", Some(false))])[0].state,
            S::Ended
        );
        // Its files were consumed, and nobody knows its process.
        let mut writers = Writers::default();
        update(&mut writers, &[legacy("a", Some(true))]);
        assert_eq!(update(&mut writers, &[])[0].state, S::Ended);
    }

    #[test]
    fn consolidating_changes_no_state() {
        use WriterState as S;
        let lost = saying(fact("a", 5), |said| said.ended = Some(Ended::Lost));
        let consumed = WriterFacts {
            rows: 0,
            journal_bytes: 0,
            unclosed: false,
            unseen: false,
            ..lost.clone()
        };
        let mut writers = Writers::default();
        assert_eq!(update(&mut writers, &[lost])[0].state, S::Lost);
        assert_eq!(
            update(&mut writers, std::slice::from_ref(&consumed))[0].state,
            S::Lost
        );
        assert_eq!(
            update(&mut Writers::default(), &[consumed])[0].state,
            S::Lost
        );
    }

    #[test]
    fn writers_without_a_heartbeat_are_known_by_their_locks() {
        use WriterState as S;
        let older = WriterFacts {
            heartbeat: None,
            alive: None,
            ..fact("a", 5)
        };
        let locked = WriterFacts {
            lock_held: true,
            ..older.clone()
        };
        assert_eq!((state(locked), state(older.clone())), (S::Live, S::Ended));
        let unclosed = WriterFacts {
            unclosed: true,
            ..older.clone()
        };
        assert_eq!(state(unclosed.clone()), S::Lost);
        let elsewhere = WriterFacts {
            on_this_host: false,
            ..unclosed
        };
        assert_eq!(state(elsewhere), S::Unknown);
    }

    #[test]
    fn old_ones_are_forgotten_and_those_that_need_eyes_come_first() {
        let old = WriterFacts {
            rows: 0,
            ..legacy("a", None)
        };
        let old = WriterFacts {
            last_row: Some(micros(3_600)),
            ..old
        };
        let listed = |fact: &WriterFacts| {
            let found = update(&mut Writers::default(), std::slice::from_ref(fact));
            found.iter().filter(|view| stays(view, now())).count()
        };
        assert_eq!(listed(&old), 0);
        let pending = WriterFacts { rows: 1, ..old };
        assert_eq!(listed(&pending), 1);
        let facts = [
            fact("live", 5),
            saying(fact("finished", 5), |said| {
                said.ended = Some(Ended::Finished);
            }),
            fact("stalled", 400),
            saying(fact("lost", 5), |said| said.ended = Some(Ended::Lost)),
        ];
        let order: Vec<String> = update(&mut Writers::default(), &facts)
            .into_iter()
            .map(|view| view.writer)
            .collect();
        assert_eq!(order, ["lost", "stalled", "live", "finished"]);
    }
}
