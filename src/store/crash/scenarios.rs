//! What is done to a store while it crashes.

use std::io::ErrorKind;

use serde_json::json;

use super::{Ledger, Scenario, explore, explore_recovery, fail, now, record};
use crate::store::increment::{Stems, publish};
use crate::store::journal::{Journal, to_lines};
use crate::store::record::to_batch;
use crate::store::table::with_group_rows;
use crate::store::writer::{Durability, Writer, WriterOptions};
use crate::store::{Control, Record, Result, Store, consolidate};

impl Ledger {
    pub(super) fn attempt(&mut self, records: &[Record]) -> Vec<String> {
        let ids: Vec<_> = records.iter().filter_map(|record| record.test_id.clone()).collect();
        self.attempted.extend(ids.iter().cloned());
        ids
    }

    /// Everything that was acknowledged is on disk for good.
    pub(super) fn all_durable(&mut self) {
        self.durable = self.acknowledged.clone();
    }
}

fn records(ids: std::ops::Range<u32>, attempt: i64) -> Vec<Record> {
    ids.map(|id| record(&format!("t{id}"), attempt)).collect()
}

fn write(
    store: &Store,
    ledger: &mut Ledger,
    durability: Durability,
    batches: &[Vec<Record>],
) -> Result<Writer> {
    let mut writer = Writer::open(store, WriterOptions { durability, ..WriterOptions::default() })?;
    for batch in batches {
        let ids = ledger.attempt(batch);
        writer.append_all(batch.clone())?;
        ledger.acknowledged.extend(ids.iter().cloned());
        if durability == Durability::Disk {
            ledger.durable.extend(ids);
        }
    }
    Ok(writer)
}

// A scenario like the others.
#[allow(clippy::unnecessary_wraps)]
fn nothing(_: &Store, _: &mut Ledger) -> Result<()> {
    Ok(())
}

fn append(store: &Store, ledger: &mut Ledger) -> Result<()> {
    let batches = [records(0..2, 0), records(2..3, 0), records(3..6, 0)];
    write(store, ledger, Durability::Process, &batches).map(std::mem::forget)
}

fn append_durably(store: &Store, ledger: &mut Ledger) -> Result<()> {
    let batches = [records(0..2, 0), records(2..3, 0)];
    write(store, ledger, Durability::Disk, &batches).map(std::mem::forget)
}

fn append_and_publish(store: &Store, ledger: &mut Ledger) -> Result<()> {
    write(store, ledger, Durability::Process, &[records(0..3, 0), records(3..5, 0)])?.close()?;
    ledger.all_durable();
    Ok(())
}

/// A writer died: its journal is there, its increment is not.
fn dead_writer(store: &Store, ledger: &mut Ledger) -> Result<()> {
    let batch = records(0..4, 0);
    let ids = ledger.attempt(&batch);
    store
        .disk
        .create_folder(&store.layout.incremental())
        .map_err(crate::store::Error::io("create", "/store"))?;
    let mut journal = Journal::create(&*store.disk, &store.layout, &Stems::new(now()).next_stem())?;
    journal.append(&to_lines(&batch)?, batch.len() as u64, true)?;
    ledger.acknowledged.extend(ids);
    Ok(())
}

fn increments(store: &Store, ledger: &mut Ledger) -> Result<()> {
    for (at, ids) in [(0, 0..3), (1, 3..6)] {
        increment(store, ledger, &records(ids, at))?;
    }
    Ok(())
}

pub(super) fn increment(store: &Store, ledger: &mut Ledger, batch: &[Record]) -> Result<()> {
    let ids = ledger.attempt(batch);
    store
        .disk
        .create_folder(&store.layout.incremental())
        .map_err(crate::store::Error::io("create", "/store"))?;
    let batch = to_batch(batch)?;
    publish(store, &Stems::new(now()).next_stem(), &batch.schema(), [Ok(batch)])?;
    ledger.acknowledged.extend(ids);
    ledger.all_durable();
    Ok(())
}

pub(super) fn main_and_increments(store: &Store, ledger: &mut Ledger) -> Result<()> {
    increments(store, ledger)?;
    merge(store, ledger)?;
    increment(store, ledger, &records(6..9, 0))
}

/// Second attempts at tests in main and at each other, and a repeat.
fn second_attempts(store: &Store, ledger: &mut Ledger) -> Result<()> {
    main_and_increments(store, ledger)?;
    increment(store, ledger, &records(2..7, 2))?;
    increment(store, ledger, &records(5..8, 3))?;
    increment(store, ledger, &records(5..8, 3))
}

fn new_column(store: &Store, ledger: &mut Ledger) -> Result<()> {
    main_and_increments(store, ledger)?;
    let mut batch = records(9..12, 0);
    for record in &mut batch {
        record.extra.insert("tokens".to_owned(), json!(17));
    }
    increment(store, ledger, &batch)
}

fn everything(store: &Store, ledger: &mut Ledger) -> Result<()> {
    second_attempts(store, ledger)?;
    let batch = records(20..24, 0);
    let ids = ledger.attempt(&batch);
    let mut journal = Journal::create(&*store.disk, &store.layout, &Stems::new(now()).next_stem())?;
    journal.append(&to_lines(&batch)?, batch.len() as u64, true)?;
    ledger.acknowledged.extend(ids);
    Ok(())
}

pub(super) fn merge(store: &Store, ledger: &mut Ledger) -> Result<()> {
    consolidate::run(store, &consolidate::Options::default(), now(), &Control::default())?;
    ledger.all_durable();
    Ok(())
}

fn merge_twice(store: &Store, ledger: &mut Ledger) -> Result<()> {
    merge(store, ledger)?;
    increment(store, ledger, &records(30..32, 0))?;
    merge(store, ledger)
}

/// Legacy code answers a question by deleting every increment; the journals remain.
fn publish_and_legacy_query(store: &Store, ledger: &mut Ledger) -> Result<()> {
    append_and_publish(store, ledger)?;
    // With `Durability::Process` the journal alone survives processes, not loss of power.
    ledger.durable.clear();
    let folder = store.layout.incremental();
    let entries = store.disk.list(&folder).map_err(crate::store::Error::io("list", &folder))?;
    let names: Vec<_> = entries.iter().map(|e| e.name.as_str()).filter(|n| n.ends_with(".parquet")).collect();
    store.disk.remove(&folder, &names).map_err(crate::store::Error::io("remove", &folder))
}

/// All of them, for the failing disk and the mutants.
pub(super) const ALL: [(&str, Scenario, Scenario); 9] = [
    ("append", nothing, append),
    ("append durably", nothing, append_durably),
    ("append and publish", nothing, append_and_publish),
    ("recover a journal", dead_writer, merge),
    ("consolidate", main_and_increments, merge),
    ("consolidate second attempts", second_attempts, merge),
    ("consolidate a new column", new_column, merge),
    ("consolidate everything, twice", everything, merge_twice),
    ("legacy query", nothing, publish_and_legacy_query),
];

macro_rules! crash {
    ($($name:ident: $index:literal),*) => {$(
        #[test]
        fn $name() {
            let (_, setup, scenario) = ALL[$index];
            explore(setup, scenario);
        }
    )*};
}

crash!(
    appending: 0,
    appending_durably: 1,
    publishing: 2,
    recovering_a_journal: 3,
    consolidating: 4,
    consolidating_second_attempts: 5,
    consolidating_a_new_column: 6,
    consolidating_everything_twice: 7,
    being_asked_by_legacy_code: 8
);

#[test]
fn consolidating_with_row_groups_that_are_copied() {
    for (_, setup, scenario) in [ALL[5], ALL[6]] {
        with_group_rows(2, || explore(setup, scenario));
    }
}

#[test]
fn recoveries_crash_too() {
    for (_, setup, scenario) in [ALL[3], ALL[5]] {
        explore_recovery(setup, scenario, 3);
    }
}

#[test]
fn a_disk_that_is_full_or_fails_loses_nothing() {
    for (_, setup, scenario) in ALL {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            fail(setup, scenario, kind);
        }
    }
}
