//! Several programs on one store, in many orders: no order loses a row, counts one
//! twice, or shows a reader something else.

use super::legacy;
use super::mutant::Mutant;
use super::oracle;
use super::programs::{self as p, Play, Script, Start};
use super::scenarios as s;
use super::schedule::Schedule;
use super::{Scenario, World, attempt, loose};
use crate::store::Result;

/// Rows that nobody has to read twice: no id makes them attempts at one test.
fn an_increment_without_ids(world: &mut World) -> Result<()> {
    s::main_and_increments(world)?;
    s::merge(world)?;
    s::increment(world, &[loose("w-0", 0), loose("w-1", 0)])
}

/// Newer attempts at tests in main: the next commit leaves as many rows as there are.
fn newer_attempts(world: &mut World) -> Result<()> {
    s::main_and_increments(world)?;
    s::merge(world)?;
    let newer: Vec<_> = (2..6).map(|id| attempt(&format!("t{id}"), 2)).collect();
    s::increment(world, &newer)
}

fn increments_and_legacy(world: &mut World) -> Result<()> {
    s::main_and_increments(world)?;
    s::legacy(world)
}

fn foreign_main(world: &mut World) -> Result<()> {
    s::main_and_increments(world)?;
    oracle::rewrite_main(&world.disk, &world.store);
    Ok(())
}

const fn play(name: &'static str, scripts: &'static [Script]) -> Play {
    Play {
        name,
        setup: s::main_and_increments,
        scripts,
        rewrites_main: false,
        split: false,
    }
}

const fn on(setup: Scenario, play: Play) -> Play {
    Play { setup, ..play }
}

const EVERYBODY: Play = play(
    "everybody",
    &[
        p::writer,
        p::writer_that_dies,
        p::consolidator,
        p::consolidator,
        p::reader,
        p::cleaner,
        legacy::writer,
    ],
);
const WRITERS: Play = play(
    "writers and a consolidator",
    &[p::writer, p::writer, p::consolidator],
);
const CONSOLIDATORS: Play = play("two consolidators", &[p::busy, p::busy]);
const READER: Play = play("a reader and commits", &[p::reader, p::busy]);
const READER_OF_LOOSE: Play = on(
    an_increment_without_ids,
    play(
        "a reader of rows without ids, and commits",
        &[p::reader, p::busy],
    ),
);
const READER_OF_ATTEMPTS: Play = on(
    newer_attempts,
    play(
        "a reader of newer attempts, and a commit",
        &[p::reader, p::consolidator],
    ),
);
const READER_OF_FOREIGN: Play = on(
    foreign_main,
    play(
        "a reader of a main that other code wrote",
        &[p::reader, p::busy],
    ),
);
const READER_OF_REWRITTEN: Play = Play {
    rewrites_main: true,
    ..play(
        "a reader of a main that other code rewrites",
        &[p::reader, legacy::locking_rewriter_of_main],
    )
};
const READER_OF_JOURNALS: Play = play(
    "a reader and a writer",
    &[p::reader, p::writer, p::consolidator],
);
const CLEANER: Play = play(
    "a cleanup",
    &[p::cleaner, p::writer, p::writer_that_dies, p::busy],
);
const BUSY: Play = play(
    "commits beside others",
    &[p::busy, p::writer, p::consolidator, p::cleaner],
);

/// The first one takes every lock that it does not see for free.
const SPLIT: Play = Play {
    split: true,
    ..play(
        "mounts that don't see each other's locks",
        &[p::patient, p::writer, p::writer_that_dies, p::reader],
    )
};
/// The writer is at home, where locks are believed, and the consolidator is not.
const SPLIT_AT_HOME: Play = Play {
    split: true,
    ..play(
        "a writer whose locks are not seen",
        &[p::writer, p::patient, p::reader],
    )
};

/// Committers that see nothing of each other but their files; the first takes every other one for dead.
const SPLIT_COMMITTERS: Play = Play {
    split: true,
    ..play(
        "committers that don't see each other's locks",
        &[p::patient, p::patient, p::patient, p::reader],
    )
};
/// Of these each believes that the other is dead, once it was silent for a minute.
const SPLIT_AWAY: Play = Play {
    split: true,
    ..play(
        "committers on other machines, and a writer",
        &[p::writer, p::patient, p::patient, p::reader],
    )
};

const LEGACY: Play = on(
    increments_and_legacy,
    play(
        "a legacy writer and an impatient consolidator",
        &[p::impatient_consolidator, legacy::writer],
    ),
);
const REMEMBERS: Play = on(
    increments_and_legacy,
    play(
        "a legacy writer that remembers",
        &[
            legacy::writer_that_remembers,
            p::impatient_consolidator,
            p::impatient_consolidator,
            p::reader,
        ],
    ),
);
const REMOVES: Play = on(
    increments_and_legacy,
    play(
        "a legacy writer that removes its file",
        &[
            legacy::writer_that_removes,
            p::impatient_consolidator,
            p::impatient_consolidator,
        ],
    ),
);
const REPLACES: Play = on(
    increments_and_legacy,
    play(
        "a legacy writer that renames",
        &[
            legacy::writer_that_replaces,
            p::impatient_consolidator,
            p::impatient_consolidator,
            p::reader,
        ],
    ),
);
const MAIN: Play = Play {
    rewrites_main: true,
    ..play(
        "other code adds to main without the lock",
        &[p::busy, legacy::rewriter_of_main],
    )
};
const STALE: Play = Play {
    rewrites_main: true,
    ..play(
        "other code writes back a main that it had read before",
        &[p::reader, p::busy, legacy::stale_rewriter_of_main],
    )
};
const MAIN_LOCKED: Play = Play {
    rewrites_main: true,
    ..play(
        "other code adds to main under the lock",
        &[
            p::busy,
            legacy::locking_rewriter_of_main,
            p::reader,
            p::writer,
        ],
    )
};

/// Faults that only others notice, and a play whose first program has them.
const FAULTS: [(Mutant, Play); 4] = [
    (Mutant::MainReadFirst, READER_OF_ATTEMPTS),
    (Mutant::NoLastScan, MAIN),
    (Mutant::RemovedUnmoved, LEGACY),
    (Mutant::FoldersUnread, STALE),
];

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(otherwise)
}

/// The first order, of so many, that shows something wrong.
fn wrong(play: Play, schedules: u64) -> Option<String> {
    let start = Start::of(play).unwrap();
    let first = number("EVALTOP_SCHEDULE_SEED", 0);
    (first..first + schedules).find_map(|seed| {
        let why = start.run(Schedule::Seed(seed), None).err()?;
        Some(format!(
            "{}: {why} (EVALTOP_SCHEDULE_SEED={seed} shows it again)",
            play.name
        ))
    })
}

/// The same where the first program stops once, at each of its operations in turn.
fn wrong_at_a_stop(play: Play, fault: Option<Mutant>) -> Option<String> {
    let start = Start::of(play).unwrap();
    for at in 1.. {
        match start.run(Schedule::Stop(at), fault) {
            Err(why) => return Some(format!("{}: {why} (stopped at operation {at})", play.name)),
            Ok(turns) if (turns.trace().iter().filter(|me| **me == 0).count() as u64) < at => {
                return None;
            }
            Ok(_) => {}
        }
    }
    None
}

/// The same where the first program dies at each of its operations in turn.
fn wrong_at_a_death(play: Play) -> Option<String> {
    let start = Start::of(play).unwrap();
    for at in 1.. {
        match start.run(Schedule::Dies(at), None) {
            Err(why) => return Some(format!("{}: {why} (died at operation {at})", play.name)),
            Ok(turns) if !turns.died() => return None,
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
    for play in [
        WRITERS,
        CONSOLIDATORS,
        READER,
        READER_OF_LOOSE,
        READER_OF_ATTEMPTS,
        READER_OF_JOURNALS,
        CLEANER,
        BUSY,
    ] {
        assert_eq!(wrong(play, number("EVALTOP_SCHEDULES", 12)), None);
    }
}

#[test]
fn mounts_that_see_no_locks_in_any_order() {
    for play in [SPLIT, SPLIT_AT_HOME, SPLIT_COMMITTERS, SPLIT_AWAY] {
        assert_eq!(wrong(play, number("EVALTOP_SCHEDULES", 12)), None);
        assert_eq!(wrong_at_a_stop(play, None), None);
        assert_eq!(wrong_at_a_death(play), None);
    }
}

#[test]
fn legacy_programs_in_any_order() {
    for play in [
        LEGACY,
        REMEMBERS,
        REMOVES,
        REPLACES,
        MAIN,
        MAIN_LOCKED,
        STALE,
    ] {
        assert_eq!(wrong(play, number("EVALTOP_SCHEDULES", 12)), None);
    }
}

#[test]
fn one_stops_while_the_others_go_on() {
    for play in [
        READER,
        READER_OF_ATTEMPTS,
        READER_OF_FOREIGN,
        READER_OF_REWRITTEN,
        LEGACY,
        REMEMBERS,
        REMOVES,
        REPLACES,
        MAIN,
    ] {
        assert_eq!(wrong_at_a_stop(play, None), None);
    }
}

#[test]
fn one_dies_while_the_others_go_on() {
    for play in [WRITERS, BUSY, CLEANER, MAIN] {
        assert_eq!(wrong_at_a_death(play), None);
    }
}

#[test]
fn looks_and_locks_that_are_left_out_are_noticed() {
    for (fault, play) in FAULTS {
        let start = Start::of(play).unwrap();
        let noticed = wrong_at_a_stop(play, Some(fault)).or_else(|| {
            (0..200).find_map(|seed| start.run(Schedule::Seed(seed), Some(fault)).err())
        });
        println!("{fault:?} is noticed: {noticed:?}");
        assert!(noticed.is_some(), "{fault:?} in '{}'", play.name);
    }
}

#[test]
fn a_schedule_plays_again() {
    let start = Start::of(EVERYBODY).unwrap();
    let again = || start.run(Schedule::Seed(5), None).unwrap().trace();
    assert_eq!(again(), again());
}
