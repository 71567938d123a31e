//! Several programs on one store, in many orders: no order loses a row, counts one
//! twice, or shows a reader something else.

use super::programs::{self as p, Script, run};
use super::scenarios as s;
use super::schedule::Schedule;
use super::{Scenario, World};
use crate::store::Result;

/// Programs that start on the same store.
#[derive(Clone, Copy)]
struct Play {
    name: &'static str,
    setup: Scenario,
    scripts: &'static [Script],
}

fn increments_and_legacy(world: &mut World) -> Result<()> {
    s::main_and_increments(world)?;
    s::legacy(world)
}

const EVERYBODY: Play = Play {
    name: "everybody",
    setup: s::main_and_increments,
    scripts: &[
        p::writer,
        p::writer_that_dies,
        p::consolidator,
        p::consolidator,
        p::reader,
        p::cleaner,
        p::legacy_writer,
    ],
};
const WRITERS: Play = Play {
    name: "writers and a consolidator",
    setup: s::main_and_increments,
    scripts: &[p::writer, p::writer, p::consolidator],
};
const CONSOLIDATORS: Play =
    Play { name: "two consolidators", setup: s::main_and_increments, scripts: &[p::busy, p::busy] };
const READER: Play =
    Play { name: "a reader and commits", setup: s::main_and_increments, scripts: &[p::reader, p::busy] };
const READER_OF_JOURNALS: Play = Play {
    name: "a reader and a writer",
    setup: s::main_and_increments,
    scripts: &[p::reader, p::writer, p::consolidator],
};
const LEGACY: Play = Play {
    name: "a legacy writer and an impatient consolidator",
    setup: increments_and_legacy,
    scripts: &[p::impatient_consolidator, p::legacy_writer],
};
fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(otherwise)
}

/// The first order, of so many, that shows something wrong.
fn wrong(play: Play, schedules: u64) -> Option<String> {
    let first = number("EVALTOP_SCHEDULE_SEED", 0);
    (first..first + schedules).find_map(|seed| {
        let why = run(play.setup, play.scripts, Schedule::Seed(seed)).err()?;
        Some(format!("{}: {why} (EVALTOP_SCHEDULE_SEED={seed} shows it again)", play.name))
    })
}

/// The same where the first program stops once, at each of its operations in turn.
fn wrong_at_a_stop(play: Play) -> Option<String> {
    for at in 1.. {
        match run(play.setup, play.scripts, Schedule::Stop(at)) {
            Err(why) => return Some(format!("{}: {why} (stopped at operation {at})", play.name)),
            Ok(trace) if (trace.iter().filter(|me| **me == 0).count() as u64) < at => return None,
            Ok(_) => {}
        }
    }
    None
}

#[test]
fn everybody_in_any_order() {
    assert_eq!(wrong(EVERYBODY, number("EVALTOP_SCHEDULES", 24)), None);
}

#[test]
fn a_few_in_any_order() {
    for play in [WRITERS, CONSOLIDATORS, READER, READER_OF_JOURNALS, LEGACY] {
        assert_eq!(wrong(play, number("EVALTOP_SCHEDULES", 12)), None);
    }
}

#[test]
fn one_stops_while_the_others_go_on() {
    assert_eq!(wrong_at_a_stop(READER), None);
}

#[test]
fn a_schedule_plays_again() {
    let again = || run(EVERYBODY.setup, EVERYBODY.scripts, Schedule::Seed(5)).unwrap();
    assert_eq!(again(), again());
}
