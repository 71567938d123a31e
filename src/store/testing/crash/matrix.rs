//! The crash matrix: every scenario stopped at every step, on a disk that fails at
//! every step, and stopped again while what follows recovers.

use super::beside::undo;
use super::explore::{Change, Prepared, is_long, thorough};
use super::scenarios as s;
use super::{Case, Scenario};
use crate::store::parquet::table::with_group_rows;

fn prepared(case: Case) -> Prepared {
    Prepared::new(case, Change::None, thorough()).unwrap_or_else(|why| panic!("{why}"))
}

fn explore(case: Case) {
    prepared(case)
        .explore()
        .unwrap_or_else(|why| panic!("{why}"));
}

fn explore_twice(case: Case, then: Scenario, stride: usize) {
    prepared(case)
        .explore_twice(then, stride)
        .unwrap_or_else(|why| panic!("{why}"));
}

fn fail(cases: &[Case]) {
    for case in cases {
        let prepared = prepared(*case);
        // Only the message depends on the kind, so each step fails in one way and the next
        // one in the other, unless there is time for both.
        let rounds = if is_long() { 2 } else { 1 };
        for first in 0..rounds {
            prepared.fail(first).unwrap_or_else(|why| panic!("{why}"));
        }
    }
}

macro_rules! crash {
    ($($name:ident: $case:ident),* $(,)?) => {$(
        #[test]
        fn $name() {
            explore(s::$case);
        }
    )*};
}

crash!(
    appending: APPEND,
    appending_durably: APPEND_DURABLY,
    publishing: PUBLISH,
    recovering_a_journal: RECOVER,
    consolidating: CONSOLIDATE,
    consolidating_second_attempts: ATTEMPTS,
    consolidating_a_new_column: COLUMN,
    consolidating_everything_twice: EVERYTHING,
    consolidating_beside_a_live_writer: LIVE,
    consolidating_a_legacy_file: LEGACY,
    consolidating_again_at_once: LATER,
    recovering_a_journal_and_consolidating_again: JOURNAL_LATER,
    being_asked_by_legacy_code: LEGACY_QUERY,
    backing_up: BACKUP,
    restoring: RESTORE,
    restoring_over_a_damaged_main: RESTORE_DAMAGED,
    repairing: REPAIR,
    cleaning_up: CLEANUP,
    replacing_summary_rows: REPLACE,
    undoing_a_consolidate: UNDO,
    undoing_and_consolidating_again: UNDO_LATER,
    undoing_a_restore: UNDO_RESTORE,
    taking_in_a_transaction: TRANSACTION,
    converting_main: CONVERT,
    accepting_main: ACCEPT,
    sorting_main: OPTIMIZE,
    consolidating_until_folders_go: AGED,
);

#[test]
fn consolidating_with_row_groups_that_are_copied() {
    for case in [s::ATTEMPTS, s::COLUMN] {
        with_group_rows(2, || explore(case));
    }
}

#[test]
fn recovering_from_an_undo_that_crashed() {
    explore_twice(s::UNDO, undo, 5);
}

#[test]
fn recoveries_crash_too() {
    explore_twice(s::RECOVER, s::merge, 3);
    explore_twice(s::ATTEMPTS, s::merge, 3);
}

/// A legacy file is written without any fsync.
#[test]
fn what_a_killed_commit_removed_is_not_forgotten_early() {
    explore_twice(s::CONSOLIDATE, s::legacy_then_merge, 1);
}

#[test]
fn a_second_writer_relies_on_nothing_that_a_killed_one_left() {
    explore_twice(s::APPEND, s::append_durably, 1);
}

#[test]
fn a_disk_that_is_full_or_fails_loses_nothing() {
    fail(&s::ALL[..7]);
}

#[test]
fn a_disk_that_is_full_or_fails_loses_nothing_later() {
    fail(&s::ALL[7..]);
}
