//! What is done to summary rows beside main, and to commits that are undone, while it
//! crashes.

use std::io::ErrorKind;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};

use super::scenarios::{increment, main_and_increments, merge};
use super::{Ledger, Scenario, explore, explore_recovery, fail, now, record};
use crate::store::backup::restore;
use crate::store::{Control, Record, Result, Store, summaries};

/// The model that only summary rows have.
pub(super) const MODEL: &str = "summaries";
/// What they stand for at one time or another.
pub(super) const TOTALS: [u64; 2] = [5, 7];

fn import(store: &Store, total: u64) -> Result<()> {
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![total]));
    let models: ArrayRef = Arc::new(StringArray::from(vec![MODEL]));
    let columns = [("model", models), ("total", counts.clone()), ("success", counts)];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    summaries::replace(store, "a.json", &batch.schema(), [Ok(batch.clone())], now(), &Control::default())
        .map(drop)
}

fn main_and_summaries(store: &Store, ledger: &mut Ledger) -> Result<()> {
    main_and_increments(store, ledger)?;
    import(store, TOTALS[0])
}

fn import_again(store: &Store, _: &mut Ledger) -> Result<()> {
    import(store, TOTALS[1])
}

/// A commit whose rows have ids or none.
fn merged(store: &Store, ledger: &mut Ledger) -> Result<()> {
    main_and_increments(store, ledger)?;
    let nameless = Record { test_id: None, task_id: Some("no id".to_owned()), ..record("", 1) };
    increment(store, ledger, &[nameless])?;
    ledger.attempted.insert("no id".to_owned());
    ledger.acknowledged.insert("no id".to_owned());
    merge(store, ledger)
}

fn undo(store: &Store, _: &mut Ledger) -> Result<()> {
    restore::run(store, &restore::Options::default(), now(), &Control::default()).map(drop)
}

fn undo_and_merge(store: &Store, ledger: &mut Ledger) -> Result<()> {
    undo(store, ledger)?;
    merge(store, ledger)
}

const ALL: [(Scenario, Scenario); 2] = [(main_and_summaries, import_again), (merged, undo_and_merge)];

#[test]
fn replacing_summary_rows() {
    explore(ALL[0].0, ALL[0].1);
}

#[test]
fn undoing_a_consolidate() {
    explore(ALL[1].0, ALL[1].1);
}

#[test]
fn recovering_from_an_undo_that_crashed() {
    explore_recovery(merged, undo, 5);
}

#[test]
fn a_disk_that_fails_beside_main_loses_nothing() {
    for (setup, scenario) in ALL {
        for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
            fail(setup, scenario, kind);
        }
    }
}
