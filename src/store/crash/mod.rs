//! The crash matrix: every scenario is stopped at every step that it takes on the
//! simulated disk; every state that the machine could wake up with is read,
//! consolidated and read again.
//!
//! The oracle: acknowledged ⊆ visible ⊆ attempted, no record twice, main holds
//! everything after the next consolidation, and `validate` finds nothing critical.
//! `EVALTOP_CRASH_STATES` raises the number of states per step for long runs.

mod beside;
mod scenarios;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::AsArray;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::disk::sim::{Fault, SimDisk, Survival};
use super::query::{Selection, rows};
use super::snapshot::Scanner;
use super::validate::{self, Level};
use super::{Control, Layout, Record, Result, Store, consolidate};
use crate::stats::Cell;

/// When all scenarios take place.
const NOW: &str = "2026-02-01T12:00:00Z";
/// Pending operations up to which every subset is tried.
const ALL_SUBSETS: usize = 8;

/// What the store promised so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    /// Test ids that were handed to a writer.
    pub(super) attempted: BTreeSet<String>,
    /// Acknowledged: they survive the death of every process.
    pub(super) acknowledged: BTreeSet<String>,
    /// Acknowledged after an fsync, or committed: they survive loss of power.
    pub(super) durable: BTreeSet<String>,
}

/// Works on a store, and writes down what the store promised. Ends at the first error.
pub(super) type Scenario = fn(&Store, &mut Ledger) -> Result<()>;

pub(super) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

pub(super) fn store_on(disk: &SimDisk) -> Store {
    Store { layout: Layout::new("/store"), disk: Arc::new(disk.clone()), zone: TimeZone::UTC }
}

/// A record whose id says all; later attempts at one id have later timestamps.
pub(super) fn record(id: &str, attempt: i64) -> Record {
    Record {
        test_id: Some(id.to_owned()),
        model: format!("model-{}", id.len() % 3),
        success: attempt % 2 == 0,
        execution_time: Some(attempt as f64),
        timestamp: Some(now().as_microsecond() - 3_600_000_000 + attempt),
        ..Record::default()
    }
}

/// The ids that a reader sees.
fn visible(store: &Store, context: &str) -> BTreeSet<String> {
    let snapshot = Scanner::new().scan(store, now(), &Control::default());
    let snapshot = snapshot.unwrap_or_else(|error| panic!("{context}: a reader fails: {error}"));
    // Rows without an id are known by their task.
    let columns = Some(vec!["test_id".to_owned(), "task_id".to_owned()]);
    let selection = Selection { columns, ..Selection::default() };
    let mut seen = BTreeSet::new();
    for batch in rows(store, &selection, &Control::default()).expect("rows") {
        let batch = batch.expect("a batch");
        let names = batch.column(0).as_string::<i32>().iter().zip(batch.column(1).as_string::<i32>());
        for id in names.filter_map(|(id, task)| id.or(task)) {
            assert!(seen.insert(id.to_owned()), "{context}: {id} is there twice");
        }
    }
    let beside = |cell: &Cell| &*cell.model == beside::MODEL;
    let counted: u64 =
        snapshot.cells.iter().filter(|(cell, _)| !beside(cell)).map(|(_, tally)| tally.tests).sum();
    let summaries: Vec<_> = snapshot.cells.iter().filter(|(cell, _)| beside(cell)).collect();
    assert!(summaries.iter().all(|(_, tally)| beside::TOTALS.contains(&tally.tests)), "{context}");
    assert_eq!(counted, seen.len() as u64, "{context}: the tallies and the rows disagree");
    seen
}

/// Reads, consolidates and reads again a store that woke up after a crash.
fn check(disk: &SimDisk, must: &BTreeSet<String>, attempted: &BTreeSet<String>, context: &str) {
    let store = store_on(disk);
    let seen = visible(&store, context);
    let lost: Vec<_> = must.difference(&seen).collect();
    assert!(lost.is_empty(), "{context}: lost {lost:?}");
    let invented: Vec<_> = seen.difference(attempted).collect();
    assert!(invented.is_empty(), "{context}: never written {invented:?}");
    let outcome = consolidate::run(&store, &consolidate::Options::default(), now(), &Control::default());
    let outcome = outcome.unwrap_or_else(|error| panic!("{context}: consolidate fails: {error}"));
    assert_eq!(visible(&store, context), seen, "{context}: consolidate changed what is there");
    assert_eq!(outcome.rows_total, seen.len() as u64, "{context}: main does not hold everything");
    let report = validate::check(&store, now(), &Control::default()).expect("validate");
    let bad: Vec<_> = report.findings.iter().filter(|f| f.level > Level::Note).collect();
    assert!(bad.is_empty(), "{context}: validate finds {bad:?}");
}

/// A small generator of which pending operations survive: the same for the same seed.
fn survivals(mut seed: u64) -> impl FnMut() -> Survival {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (seed >> 33) % 5 {
            0 | 1 => Survival::Kept,
            2 | 3 => Survival::Lost,
            _ => Survival::Torn,
        }
    }
}

fn states() -> u64 {
    std::env::var("EVALTOP_CRASH_STATES").ok().and_then(|n| n.parse().ok()).unwrap_or(64)
}

/// Every state in which the machine could wake up after it lost power.
fn after_power_loss(disk: &SimDisk) -> Vec<SimDisk> {
    let pending = disk.pending();
    if pending <= ALL_SUBSETS {
        (0..1_u32 << pending)
            .map(|subset| {
                let mut turn = 0;
                disk.after_power_loss(|| {
                    turn += 1;
                    if subset >> (turn - 1) & 1 == 1 { Survival::Kept } else { Survival::Lost }
                })
            })
            .collect()
    } else {
        (0..states()).map(|seed| disk.after_power_loss(survivals(seed))).collect()
    }
}

/// Runs `setup` on a fresh disk and makes its result durable.
fn prepared(setup: Scenario) -> (SimDisk, Ledger) {
    let disk = SimDisk::new(now().as_nanosecond() - 3_600_000_000_000);
    let mut ledger = Ledger::default();
    setup(&store_on(&disk), &mut ledger).expect("the set-up works");
    ledger.durable = ledger.acknowledged.clone();
    (disk.after_kill().after_power_loss(|| Survival::Kept), ledger)
}

/// The number of steps that a scenario takes when nothing goes wrong.
fn steps(start: &SimDisk, ledger: &Ledger, scenario: Scenario) -> u64 {
    let (disk, mut ledger) = (start.after_kill(), ledger.clone());
    scenario(&store_on(&disk), &mut ledger).expect("the scenario works");
    check(&disk.after_kill(), &ledger.acknowledged, &ledger.attempted, "without a crash");
    disk.steps()
}

/// Crashes `scenario` at every step and checks every state that could follow.
pub(super) fn explore(setup: Scenario, scenario: Scenario) {
    let (start, ledger) = prepared(setup);
    let mut known = HashSet::new();
    for step in 0..steps(&start, &ledger, scenario) {
        let disk = start.after_kill();
        disk.fault(step, Fault::Crash);
        let mut ledger = ledger.clone();
        // It may end well all the same: derived files come after the commit and may fail.
        let _ = scenario(&store_on(&disk), &mut ledger);
        assert!(disk.crashed(), "step {step} is taken");
        let context =
            |kind: &str| format!("{kind} at step {step} ({})", disk.log().pop().unwrap_or_default());
        let killed = disk.after_kill();
        if known.insert((killed.content(), ledger.acknowledged.len())) {
            check(&killed, &ledger.acknowledged, &ledger.attempted, &context("killed"));
        }
        for state in after_power_loss(&disk) {
            if known.insert((state.content(), ledger.durable.len())) {
                check(&state, &ledger.durable, &ledger.attempted, &context("power lost"));
            }
        }
    }
}

/// Lets the disk fail with `kind` at every step: the scenario may fail, nothing is
/// lost, and the next consolidation succeeds.
pub(super) fn fail(setup: Scenario, scenario: Scenario, kind: std::io::ErrorKind) {
    let (start, ledger) = prepared(setup);
    for step in 0..steps(&start, &ledger, scenario) {
        let disk = start.after_kill();
        disk.fault(step, Fault::Error(kind));
        let mut ledger = ledger.clone();
        let ended = scenario(&store_on(&disk), &mut ledger);
        let context = format!("{kind} at step {step} ({:?})", ended.err().map(|e| e.to_string()));
        check(&disk.after_kill(), &ledger.acknowledged, &ledger.attempted, &context);
    }
}

/// Crashes the recovery of a killed scenario at every step of its own.
pub(super) fn explore_recovery(setup: Scenario, scenario: Scenario, stride: usize) {
    fn recover(store: &Store, _: &mut Ledger) -> Result<()> {
        consolidate::run(store, &consolidate::Options::default(), now(), &Control::default()).map(drop)
    }
    let (start, ledger) = prepared(setup);
    for step in (0..steps(&start, &ledger, scenario)).step_by(stride) {
        let disk = start.after_kill();
        disk.fault(step, Fault::Crash);
        let mut ledger = ledger.clone();
        let _ = scenario(&store_on(&disk), &mut ledger);
        let woken = disk.after_kill();
        let again = woken.after_kill();
        recover(&store_on(&again), &mut ledger).expect("recovery works");
        for second in 0..again.steps() {
            let twice = woken.after_kill();
            twice.fault(second, Fault::Crash);
            let _ = recover(&store_on(&twice), &mut ledger);
            let context = format!("killed at step {step}, again at step {second} of the recovery");
            check(&twice.after_kill(), &ledger.acknowledged, &ledger.attempted, &context);
        }
    }
}
