//! Every fsync left out in turn, and steps of the protocol swapped: the crash matrix
//! notices each. `docs/testing.md` lists them.

use std::collections::BTreeSet;

use super::Case;
use super::explore::{BRIEF, Change, Prepared};
use super::mutant::Mutant;
use super::scenarios as s;

/// What is wrong, what notices it, and whether a second program has to follow the first.
#[derive(Clone, Copy)]
struct Listed {
    change: Change,
    case: Case,
    then: Option<super::Scenario>,
}

const fn unsynced(sync: &'static str, case: Case) -> Listed {
    Listed {
        change: Change::Unsynced(sync),
        case,
        then: None,
    }
}

const fn swapped(mutant: Mutant, case: Case) -> Listed {
    Listed {
        change: Change::Mutant(mutant),
        case,
        then: None,
    }
}

const fn followed(by: super::Scenario, listed: Listed) -> Listed {
    Listed {
        then: Some(by),
        ..listed
    }
}

/// fsyncs that carry a promise.
const UNSYNCED: [Listed; 22] = [
    unsynced("make store", s::PUBLISH),
    unsynced("make incremental", s::PUBLISH),
    followed(s::append_durably, unsynced("folder above", s::APPEND)),
    followed(s::append_durably, unsynced("folder store", s::APPEND)),
    unsynced("publish journal", s::APPEND_DURABLY),
    unsynced("sync journal", s::APPEND_DURABLY),
    unsynced("sync increment", s::PUBLISH),
    unsynced("publish increment", s::PUBLISH),
    unsynced("sync main", s::CONSOLIDATE),
    unsynced("make backups", s::CONSOLIDATE),
    unsynced("link backup", s::CONSOLIDATE),
    unsynced("sync backup", s::BACKUP),
    unsynced("publish backup", s::BACKUP),
    unsynced("sync model_stats", s::CONSOLIDATE),
    unsynced("sync metadata", s::CONSOLIDATE),
    unsynced("make quarantine", s::REPAIR),
    unsynced("sync reason", s::REPAIR),
    unsynced("folder quarantine", s::REPAIR),
    unsynced("sync summaries", s::REPLACE),
    unsynced("publish summaries", s::REPLACE),
    unsynced("make folder of a commit", s::MERGE_UNDO),
    unsynced("move consumed", s::MERGE_UNDO),
];

/// fsyncs without which nothing would be lost, and why. They belong to operations that
/// carry a promise elsewhere.
const SPARE: [(&str, &str); 21] = [
    (
        "replace main",
        "the older main is back, and what it lacks lies in the commit's folder or in files that are \
         still to move; a folder goes two commits later, and derived files sync main's in between",
    ),
    (
        "folder commits",
        "rows have ids: after other code has rewritten main they come in as repeats",
    ),
    (
        "make commits",
        "the copy is for a main of other code: without it that main is read again",
    ),
    (
        "sync announcement",
        "a torn copy is passed over, and a main of other code is read again",
    ),
    (
        "make .consumed",
        "the first commit has nothing to undo, and main has its rows",
    ),
    (
        "move out of incremental",
        "files that come back bring repeats of main's rows",
    ),
    (
        "link main",
        "main has its rows, and other code that had it open is not there after a loss of power",
    ),
    (
        "folder incremental",
        "files that come back bring repeats of main's rows",
    ),
    (
        "copy backup",
        "the publication that follows syncs the same folder",
    ),
    (
        "link quarantined file",
        "the folder is synced once more after the reason, before anything is removed",
    ),
    ("remove increment", "its rows are in main or in its journal"),
    (
        "publish transaction",
        "its increment is published in the same folder before it is removed",
    ),
    (
        "remove transaction",
        "should it come back, its rows come in as repeats of themselves",
    ),
    (
        "remove legacy file",
        "should an unreadable file come back, it goes into quarantine once more",
    ),
    (
        "remove temporary increment",
        "should it come back, it is removed once more",
    ),
    (
        "remove temporary metadata",
        "should it come back, it is removed once more",
    ),
    (
        "remove temporary model_stats",
        "should it come back, it is removed once more",
    ),
    (
        "remove temporary test_keys",
        "should it come back, it is removed once more",
    ),
    (
        "replace test_keys",
        "one that is not of main's commit is never believed, and rebuilt",
    ),
    ("replace metadata", "an older one is rewritten; it is whole"),
    (
        "replace model_stats",
        "an older one is rewritten; it is whole",
    ),
];

const SWAPPED: [Listed; 10] = [
    swapped(Mutant::RemovedBeforeRename, s::CONSOLIDATE),
    swapped(Mutant::RenamedBeforeSync, s::CONSOLIDATE),
    swapped(Mutant::BackedUpAfterRename, s::CONSOLIDATE),
    swapped(Mutant::CopiedInPlace, s::BACKUP),
    swapped(Mutant::DerivedBeforeRename, s::CONSOLIDATE),
    swapped(Mutant::RemovedUnmoved, s::MERGE_UNDO),
    swapped(Mutant::JournalRemovedEarly, s::LEGACY_QUERY),
    swapped(Mutant::PublishedBeforeSync, s::PUBLISH),
    swapped(Mutant::AcknowledgedBeforeWrite, s::APPEND),
    swapped(Mutant::RemovedBeforeQuarantine, s::REPAIR),
];

fn run(listed: &Listed) -> Result<(), String> {
    let prepared = Prepared::new(listed.case, listed.change, BRIEF)?;
    match listed.then {
        None => prepared.explore(),
        Some(then) => prepared.explore_twice(then, 1),
    }
}

fn missed<'a>(listed: impl Iterator<Item = &'a Listed>) -> Vec<String> {
    let mut missed = Vec::new();
    for listed in listed {
        match run(listed) {
            Ok(()) => missed.push(format!("{:?} in '{}'", listed.change, listed.case.name)),
            Err(why) => println!("{:?} is noticed: {why}", listed.change),
        }
    }
    missed
}

#[test]
fn a_missing_fsync_is_noticed() {
    assert_eq!(missed(UNSYNCED[..11].iter()), [""; 0]);
}

#[test]
fn a_missing_fsync_of_what_follows_is_noticed() {
    assert_eq!(missed(UNSYNCED[11..].iter()), [""; 0]);
}

#[test]
fn swapped_steps_are_noticed() {
    assert_eq!(missed(SWAPPED.iter()), [""; 0]);
}

#[test]
fn every_fsync_is_listed() {
    let asked: BTreeSet<String> = s::ALL
        .iter()
        .flat_map(|case| Prepared::syncs(*case))
        .collect();
    let names = UNSYNCED.iter().filter_map(|listed| match listed.change {
        Change::Unsynced(name) => Some(name.to_owned()),
        _ => None,
    });
    let listed: BTreeSet<String> = names
        .chain(SPARE.iter().map(|(name, _)| (*name).to_owned()))
        .collect();
    assert_eq!(
        asked, listed,
        "each fsync needs a scenario that notices its absence, or a reason"
    );
}
