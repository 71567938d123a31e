//! The store on a simulated disk, stopped and disturbed in every way that we know.
//!
//! `explore` stops a scenario at every step that it takes and looks at every state
//! that the machine could wake up with; `oracle` says what must hold there; `mutants`
//! shows that it would notice if any fsync were missing or any two steps of the
//! protocol swapped. `schedule` lets several programs take turns at every operation.
//!
//! Variables for long runs: `EVALTOP_CRASH_STATES` is the number of random states a step after
//! a loss of power (none; where it is set, each step fails in both ways), `EVALTOP_SCHEDULES` the number of schedules a scenario,
//! `EVALTOP_SCHEDULE_SEED` the first of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::store::commit::consolidate::Options;
use crate::store::disk::Disk;
use crate::store::disk::sim::SimDisk;
use crate::store::parquet::table::pack_quickly;
use crate::store::write::journal::Journal;
use crate::store::{Record, Result, Store};

mod aside;
mod beside;
mod copied;
mod explore;
mod interleavings;
mod known;
mod legacy;
mod matrix;
mod mutant;
mod mutants;
mod oracle;
mod programs;
mod scenarios;
mod schedule;
mod union;

/// When all scenarios take place.
const NOW: &str = "2026-02-01T12:00:00Z";

pub(crate) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// What the store promised so far. Every row has the name of its test in `task_id`,
/// whether it has a `test_id` or not, and the number of its attempt in `turns`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    /// Tests and attempts that were handed to a writer.
    attempted: BTreeSet<(String, i64)>,
    /// Newest acknowledged attempts: they survive the death of every process.
    acknowledged: BTreeMap<String, i64>,
    /// Those acknowledged after an fsync, or committed: they survive loss of power.
    durable: BTreeMap<String, i64>,
    /// Hashes of files that must not be lost, under whichever name.
    kept: Vec<u64>,
    /// Files that were reported as made, and so are there for good, with their hashes.
    made: Vec<(PathBuf, u64)>,
    /// Rows of other code, which count when it has ended.
    late: Vec<Record>,
}

impl Ledger {
    fn attempt(&mut self, records: &[Record]) {
        self.attempted.extend(records.iter().map(named));
    }

    fn acknowledge(&mut self, records: &[Record]) {
        promise(&mut self.acknowledged, records);
    }

    fn acknowledge_durably(&mut self, records: &[Record]) {
        self.acknowledge(records);
        promise(&mut self.durable, records);
    }

    /// Everything that was acknowledged is on disk for good.
    fn all_durable(&mut self) {
        self.durable = self.acknowledged.clone();
    }

    /// A file that must survive, under this name or another.
    fn keep(&mut self, disk: &SimDisk, path: &Path) {
        let files = disk.files();
        self.kept.extend(
            files
                .iter()
                .filter(|(at, _)| at == path)
                .map(|(_, bytes)| oracle::hash(bytes)),
        );
    }

    /// Files that were reported as made: this one, or all in this folder.
    fn made(&mut self, disk: &SimDisk, path: &Path) {
        let files = disk
            .files()
            .into_iter()
            .filter(|(at, _)| at.starts_with(path));
        self.made
            .extend(files.map(|(at, bytes)| (at, oracle::hash(&bytes))));
    }
}

fn promise(to: &mut BTreeMap<String, i64>, records: &[Record]) {
    for (test, attempt) in records.iter().map(named) {
        let newest = to.entry(test).or_insert(attempt);
        *newest = attempt.max(*newest);
    }
}

fn named(record: &Record) -> (String, i64) {
    (record.task_id.clone().unwrap(), record.turns.unwrap())
}

/// A disk, the store on it, and what the store promised.
#[derive(Debug)]
pub(crate) struct World {
    disk: SimDisk,
    pub(crate) store: Store,
    ledger: Ledger,
    /// Steps of the disk with the promises up to there.
    history: Vec<(u64, Ledger)>,
    /// Journals of writers that live.
    live: Vec<Journal>,
}

impl World {
    fn new(disk: SimDisk, mutant: Option<mutant::Mutant>, ledger: Ledger) -> Self {
        let shared: Arc<dyn Disk> = match mutant {
            None => Arc::new(disk.clone()),
            Some(mutant) => Arc::new(mutant::Mutated::new(Arc::new(disk.clone()), mutant)),
        };
        let history = vec![(0, ledger.clone())];
        Self {
            store: store_on(shared),
            disk,
            ledger,
            history,
            live: Vec::new(),
        }
    }

    /// Writes down what holds from the disk's next step on.
    fn note(&mut self, change: impl FnOnce(&mut Ledger, &SimDisk)) {
        change(&mut self.ledger, &self.disk);
        self.history.push((self.disk.steps(), self.ledger.clone()));
    }

    /// These rows may be there from now on.
    pub(crate) fn expect(&mut self, records: &[Record]) {
        self.note(|ledger, _| ledger.attempt(records));
    }

    /// They are there from now on, whatever happens.
    pub(crate) fn promise(&mut self, records: &[Record]) {
        self.note(|ledger, _| ledger.acknowledge_durably(records));
    }

    /// What was promised before a step.
    fn promised(&self, step: u64) -> &Ledger {
        let before = self.history.iter().take_while(|(from, _)| *from <= step);
        before.last().map_or(&self.ledger, |(_, ledger)| ledger)
    }
}

pub(crate) fn store_on(disk: Arc<dyn Disk>) -> Store {
    pack_quickly();
    Store {
        disk,
        zone: TimeZone::UTC,
        ..Store::new("/store")
    }
}

/// Works on a store, and writes down what the store promised. Ends at the first error.
pub(crate) type Scenario = fn(&mut World) -> Result<()>;

/// What is done to a store, and what it was before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) setup: Scenario,
    pub(crate) run: Scenario,
    /// Files that can't be read are part of it.
    pub(crate) damaged: bool,
    /// Whether the rows say what happened if other code rewrites main right after: they
    /// don't when an undo takes rows without an id out of main.
    pub(crate) says_when_done: bool,
    /// What has to be said to consolidate.
    pub(crate) remedy: Remedy,
}

/// What has to be said to consolidate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Remedy {
    Nothing,
    /// Main has fewer rows than the last commit left in it.
    AcceptMain,
    /// Main holds summary rows.
    ConvertMain,
    /// Main is to be sorted.
    Optimize,
}

impl Remedy {
    fn options(self) -> Options {
        Options {
            accept_main: self == Self::AcceptMain,
            convert_main: self == Self::ConvertMain,
            optimize: self == Self::Optimize,
        }
    }
}

/// Stops a case at every step that it takes, and lets the disk fail at every step.
pub(crate) fn withstands(case: Case) -> std::result::Result<(), String> {
    let prepared = explore::Prepared::new(case, explore::Change::None, explore::thorough())?;
    prepared.explore()?;
    prepared.fail(0)
}

/// An attempt at a test; later attempts have later timestamps.
fn attempt(test: &str, attempt: i64) -> Record {
    Record {
        test_id: Some(test.to_owned()),
        ..loose(test, attempt)
    }
}

/// The same without a `test_id`: should it count twice, nothing would find it out later.
fn loose(test: &str, attempt: i64) -> Record {
    Record {
        model: format!("model-{}", test.len() % 3),
        success: Some(attempt % 2 == 0),
        task_id: Some(test.to_owned()),
        turns: Some(attempt),
        timestamp: Some(now().as_microsecond() - 3_600_000_000 + attempt),
        ..Record::default()
    }
}

/// Attempts at tests, and a row without an id.
fn records(ids: std::ops::Range<u32>, number: i64) -> Vec<Record> {
    let id = loose(&format!("loose-{}-{number}", ids.start), 0);
    ids.map(|id| attempt(&format!("t{id}"), number))
        .chain([id])
        .collect()
}

/// Only attempts with an id, as [`crate::store::write::writer::Writer`] writes them.
fn with_ids(ids: std::ops::Range<u32>) -> Vec<Record> {
    ids.map(|id| attempt(&format!("t{id}"), 0)).collect()
}
