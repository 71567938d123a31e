//! The session as a whole, and how fast its rows come in.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::observation::{SessionState, SessionView, ThrottleView, WriterState, WriterView};
use crate::store::format::session_note::SessionNote;
use crate::store::read::snapshot::WriterFacts;

/// Throughput is taken over this many microseconds at most, and at least over `LEAST`.
const MOST: i64 = 300 * 1_000_000;
const LEAST: i64 = 5 * 1_000_000;

/// What the writers come to; `None` where none of them says anything of itself. A plan that
/// none of them names is the one of the session's notes.
pub(super) fn session(writers: &[WriterView], notes: &[SessionNote]) -> Option<SessionView> {
    use WriterState as S;
    let newest = writers
        .iter()
        .filter(|writer| writer.began.is_some())
        .max_by_key(|writer| writer.began)?;
    let of: Vec<&WriterView> = writers
        .iter()
        .filter(|writer| writer.began.is_some() && writer.session == newest.session)
        .collect();
    let any = |is: &dyn Fn(&WriterView) -> bool| of.iter().any(|writer| is(writer));
    let is = |state: S| any(&|writer| writer.state == state);
    let (planned, done) = plan(&of);
    let noted = || {
        let own = notes.iter().filter(|note| note.session == newest.session);
        own.filter_map(|note| note.plan).max()
    };
    let planned = planned.or_else(noted);
    let missing = planned.is_some_and(|planned| done < planned);
    let state = match () {
        () if any(&|writer| writer.state.is_open()) => {
            if is(S::Finished) {
                SessionState::Finishing
            } else {
                SessionState::Running
            }
        }
        () if any(&|writer| writer.is_missed()) => SessionState::Dead,
        () if any(&|writer| writer.interrupted) => SessionState::Interrupted,
        () if missing || is(S::Failed) => SessionState::Incomplete,
        () => SessionState::Finished,
    };
    // Programs that say nothing of themselves write now: what they do is not known.
    let others = || {
        writers
            .iter()
            .any(|own| own.began.is_none() && own.state.is_open())
    };
    let over = !matches!(state, SessionState::Running | SessionState::Finishing);
    if over && others() {
        return None;
    }
    Some(SessionView {
        state,
        id: newest.session.clone(),
        planned,
        done,
        began: of.iter().filter_map(|writer| writer.began).min(),
        ended: of
            .iter()
            .filter_map(|writer| writer.since)
            .max()
            .filter(|_| over),
    })
}

/// How many tests were planned and how many of them are there. Writers that say the same speak
/// of one plan; others have one each.
fn plan(writers: &[&WriterView]) -> (Option<u64>, u64) {
    // What was there when one began counts the rows of those that had ended by then.
    let resumed = writers
        .iter()
        .filter(|writer| writer.there > 0)
        .filter_map(|writer| writer.began)
        .max();
    let counted = |writer: &&&WriterView| {
        let over = writer.since.filter(|_| !writer.state.is_open());
        over.zip(resumed).is_some_and(|(end, began)| end <= began)
    };
    // So do plans that were taken up again.
    let mut plans: Vec<u64> = writers
        .iter()
        .filter(|writer| !counted(writer))
        .filter_map(|writer| writer.planned)
        .collect();
    let recorded: u64 = writers
        .iter()
        .filter(|writer| !counted(writer))
        .map(|writer| writer.recorded)
        .sum();
    let there = writers.iter().map(|writer| writer.there).max().unwrap_or(0);
    let all = plans.len();
    plans.dedup();
    let planned = match plans.as_slice() {
        [] => None,
        [one] => Some(*one),
        _ if all > 1 => Some(plans.iter().sum()),
        _ => None,
    };
    (planned, there.saturating_add(recorded))
}

/// Rows a minute, from the times of the last rows of each process, of which at most `kept` are
/// known: over the time since rows began, at least five seconds, at most five minutes.
pub(super) fn per_minute(times: &[Vec<i64>], kept: usize, now: Timestamp) -> f64 {
    let now = now.as_microsecond();
    let recent = |times: &[i64]| -> Vec<i64> {
        let in_window = |time: &&i64| **time <= now + LEAST && now - **time < MOST;
        times.iter().filter(in_window).copied().collect()
    };
    let recent: Vec<(Vec<i64>, bool)> = times
        .iter()
        .map(|times| {
            let found = recent(times);
            // Older ones may have been forgotten.
            let cut = times.len() >= kept && found.len() == times.len();
            (found, cut)
        })
        .collect();
    let first = recent
        .iter()
        .filter_map(|(times, _)| times.iter().min())
        .min();
    let Some(first) = first else { return 0.0 };
    let window = (now - first).clamp(LEAST, MOST);
    let rate = |(times, cut): &(Vec<i64>, bool)| {
        let since = times
            .iter()
            .min()
            .map_or(window, |first| (now - first).max(1));
        let window = if *cut { since } else { window };
        times.len() as f64 * 60e6 / window as f64
    };
    recent.iter().map(rate).sum()
}

/// What was retried in the last five minutes by writers that go on, model by model.
pub(super) fn throttled(facts: &[WriterFacts], now: Timestamp) -> Vec<ThrottleView> {
    /// Count, seconds of waiting, writers, first minute, last status.
    type Sum = (u64, f64, u64, i64, Option<i64>);
    let since = now.as_second() - MOST / 1_000_000;
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    let open = facts
        .iter()
        .filter_map(|fact| fact.heartbeat.as_deref())
        .filter(|said| said.ended.is_none());
    for said in open {
        let mut models = BTreeSet::new();
        // A minute that began before the window counts whole: it is not known more exactly.
        for retries in said.retries.iter().filter(|of| of.minute + 60 > since) {
            let sum = sums
                .entry(&retries.model)
                .or_insert((0, 0.0, 0, retries.minute, None));
            sum.0 += retries.count;
            sum.1 += retries.waited;
            sum.2 += u64::from(models.insert(&retries.model));
            sum.3 = sum.3.min(retries.minute);
            sum.4 = retries.status.or(sum.4);
        }
    }
    let mut minutes: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
    let retried = facts.iter().filter_map(|fact| fact.heartbeat.as_deref());
    for retries in retried.flat_map(|said| &said.retries) {
        let own = minutes.entry(&retries.model).or_default();
        own.insert(retries.minute);
    }
    // Back to the last pause that is as long as the window.
    let began = |model: &str| {
        let mut since = now.as_second();
        for minute in minutes.get(model).into_iter().flatten().rev() {
            if since - minute > MOST / 1_000_000 {
                break;
            }
            since = *minute;
        }
        Timestamp::from_second(since).unwrap_or(now)
    };
    let view = |(model, (count, waited, writers, first, status)): (&str, Sum)| {
        let seconds = (now.as_second() + 1 - first).clamp(60, MOST / 1_000_000) as f64;
        ThrottleView {
            model: model.to_owned(),
            per_minute: count as f64 * 60.0 / seconds,
            share: (waited / (seconds * writers.max(1) as f64)).clamp(0.0, 1.0),
            status,
            since: began(model),
        }
    };
    sums.into_iter().map(view).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_769_860_800;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn writer(state: WriterState) -> WriterView {
        WriterView {
            state,
            began: Some(now()),
            ..WriterView::default()
        }
    }

    fn state(writers: &[WriterView]) -> Option<SessionState> {
        session(writers, &[]).map(|session| session.state)
    }

    #[test]
    fn the_session_is_what_its_writers_come_to() {
        use SessionState as S;
        use WriterState as W;
        for (writers, expected) in [
            (vec![W::Live, W::Ended], S::Running),
            (vec![W::Stalled, W::Lost], S::Running),
            (vec![W::Live, W::Finished], S::Finishing),
            (vec![W::Finished, W::Ended], S::Finished),
            (vec![W::Finished, W::Failed], S::Incomplete),
            (vec![W::Finished, W::Lost], S::Dead),
        ] {
            let writers: Vec<_> = writers.into_iter().map(writer).collect();
            assert_eq!(state(&writers), Some(expected), "{writers:?}");
        }
        let stopped = WriterView {
            interrupted: true,
            ..writer(W::Ended)
        };
        assert_eq!(state(&[stopped, writer(W::Finished)]), Some(S::Interrupted));
        let legacy = WriterView {
            began: None,
            ..writer(W::Unknown)
        };
        assert_eq!(state(&[legacy]), None);
    }

    #[test]
    fn a_plan_that_is_not_reached_leaves_it_incomplete() {
        let planned = |planned: u64, recorded: u64| WriterView {
            planned: Some(planned),
            recorded,
            there: 10,
            ..writer(WriterState::Finished)
        };
        let found = session(&[planned(600, 290), planned(600, 300)], &[]).unwrap();
        assert_eq!(
            (found.state, found.planned, found.done),
            (SessionState::Finished, Some(600), 600)
        );
        let found = session(&[planned(300, 200), planned(310, 300)], &[]).unwrap();
        assert_eq!(
            (found.state, found.planned, found.done),
            (SessionState::Incomplete, Some(610), 510)
        );
        // Of a writer that is counted in what the next one found there.
        let killed = WriterView {
            recorded: 312,
            planned: Some(600),
            since: Timestamp::from_second(NOW - 60).ok(),
            ..writer(WriterState::Lost)
        };
        let next = WriterView {
            recorded: 188,
            there: 312,
            planned: Some(600),
            ..writer(WriterState::Live)
        };
        let found = session(&[killed, next], &[]).unwrap();
        assert_eq!((found.planned, found.done), (Some(600), 500));
        let other = WriterView {
            session: Some("older".into()),
            began: Timestamp::from_second(NOW - 900).ok(),
            ..writer(WriterState::Lost)
        };
        assert_eq!(state(&[other, planned(1, 1)]), Some(SessionState::Finished));
    }

    /// Times of `n` rows, one each `every` milliseconds, the last one now.
    fn rows(n: i64, every: i64) -> Vec<i64> {
        (0..n)
            .map(|at| NOW * 1_000_000 - at * every * 1_000)
            .collect()
    }

    #[test]
    fn the_rate_is_right_from_the_fifth_second_on() {
        let near = |found: f64, expected: f64| {
            assert!(
                (found - expected).abs() < expected * 0.05,
                "{found}, not {expected}"
            );
        };
        // 45 tests in five seconds, of one writer and of three.
        near(per_minute(&[rows(45, 111)], 200, now()), 540.0);
        near(
            per_minute(&[rows(15, 333), rows(15, 333), rows(15, 333)], 200, now()),
            540.0,
        );
        // A long run, of which only the last rows are known, or all of the last minutes.
        near(per_minute(&[rows(200, 100)], 200, now()), 600.0);
        near(per_minute(&[rows(150, 4_000)], 200, now()), 15.0);
        near(
            per_minute(&[rows(200, 100), rows(150, 4_000)], 200, now()),
            615.0,
        );
        assert!(per_minute(&[], 200, now()).abs() < 1e-9);
        let old = rows(45, 111)
            .iter()
            .map(|time| time - 400 * 1_000_000)
            .collect();
        assert!(per_minute(&[old], 200, now()).abs() < 1e-9);
    }
}
