//! A consolidation that stops at each of its steps: what counted before counts the
//! same right after, and the next consolidation ends where the first would have.

use std::io::{ErrorKind, Write};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;

use super::*;
use crate::store::disk::sim::{Fault, SimDisk, Survival, Sync};
use crate::store::increment;
use crate::store::journal::{Journal, to_lines};
use crate::store::layout::Layout;
use crate::store::parquet_file::ParquetFile;
use crate::store::record::{Record, to_batch};
use crate::store::snapshot::Scanner;

const START: i64 = 1_800_000_000;
/// Ids of main after everything went in.
const EXPECTED: [&str; 8] = ["", "", "", "", "a@2", "b@1", "j@1", "l@0"];

fn store(disk: &SimDisk) -> Store {
    Store { layout: Layout::new("/s"), disk: Arc::new(disk.clone()), zone: TimeZone::UTC }
}

fn now(seconds: i64) -> Timestamp {
    Timestamp::from_second(START + seconds).unwrap()
}

fn record(id: &str, time: i64) -> Record {
    Record {
        test_id: Some(id.to_owned()).filter(|id| !id.is_empty()),
        model: "m".into(),
        timestamp: Some(time),
        ..Record::default()
    }
}

fn publish(store: &Store, seq: u32, records: &[Record]) {
    let batch = to_batch(records).unwrap();
    let stem = format!("1_20260131_120000_h_0a_{seq}");
    increment::publish(store, &stem, &batch.schema(), [Ok(batch)]).unwrap();
}

/// A main, two increments, a dead writer's journal and a legacy file that wait.
fn waiting() -> SimDisk {
    let disk = SimDisk::new(i128::from(START) * 1_000_000_000);
    let store = store(&disk);
    store.create().unwrap();
    publish(&store, 0, &[record("a", 1), record("", 1)]);
    run(&store, &Options::default(), now(0), &Control::default()).unwrap();
    publish(&store, 1, &[record("a", 2), record("", 1)]);
    publish(&store, 2, &[record("b", 1), record("b", 1)]);
    let mut journal = Journal::create(&*store.disk, &store.layout, "2_20260131_120000_h_0a_0").unwrap();
    let records = [record("j", 1), record("", 2)];
    journal.append(&to_lines(&records).unwrap(), 2, true).unwrap();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("test_id", Arc::new(StringArray::from(vec!["l", ""]))),
        ("model", Arc::new(StringArray::from(vec!["m", "m"]))),
        ("success", Arc::new(BooleanArray::from(vec![true, false]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let legacy = store.layout.incremental().join("increment_7_20260131_120000.parquet");
    let mut file = store.disk.create(&legacy).unwrap();
    file.write_all(&bytes).unwrap();
    file.sync().unwrap();
    store.disk.sync_folder(&store.layout.incremental()).unwrap();
    disk.after_kill()
}

/// Tests that a snapshot counts.
fn visible(store: &Store, when: Timestamp) -> Result<u64, String> {
    let snapshot = Scanner::new().scan(store, when, &Control::default());
    let snapshot = snapshot.map_err(|error| error.to_string())?;
    Ok(snapshot.cells.values().map(|tally| tally.tests).sum())
}

fn main_rows(store: &Store) -> Vec<String> {
    let main = ParquetFile::open(&*store.disk, &store.layout.main()).unwrap();
    let mut rows = Vec::new();
    for batch in main.batches(None, 0).unwrap() {
        let batch = batch.unwrap();
        let ids = batch["test_id"].as_string::<i32>();
        let times = batch["timestamp"].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        rows.extend(ids.iter().zip(times.iter()).map(|(id, time)| match id {
            None | Some("") => String::new(),
            Some(id) => format!("{id}@{}", time.unwrap_or_default()),
        }));
    }
    rows.sort();
    rows
}

/// What must hold on any disk that a stopped consolidation leaves: `Err` says what does not.
fn check(disk: &SimDisk) -> Result<(), String> {
    let store = store(disk);
    let seen = visible(&store, now(100))?;
    if seen != EXPECTED.len() as u64 {
        return Err(format!("{seen} tests are visible"));
    }
    let control = Control::default();
    for _ in 0..2 {
        run(&store, &Options::default(), now(200), &control).map_err(|error| error.to_string())?;
        let rows = main_rows(&store);
        if rows != EXPECTED {
            return Err(format!("main has {rows:?}"));
        }
    }
    let left: Vec<_> = store.disk.list(&store.layout.incremental()).unwrap();
    let root = store.disk.list(store.layout.root()).unwrap();
    if !left.is_empty() || root.iter().any(|entry| crate::store::layout::is_temporary(&entry.name)) {
        return Err(format!("{left:?} stay"));
    }
    Ok(())
}

/// Disks that a machine may wake up with.
fn survivors(disk: &SimDisk, seed: u64) -> Vec<SimDisk> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        [Survival::Kept, Survival::Lost, Survival::Torn][(state % 3) as usize]
    };
    let mut all = vec![disk.after_kill(), disk.after_power_loss(|| Survival::Lost)];
    if disk.pending() > 0 {
        all.extend((0..4).map(|_| disk.after_power_loss(&mut random)));
    }
    all
}

/// Stops a consolidation at every step; returns the first disk on which something is lost.
fn crash_everywhere(prepare: impl Fn(&SimDisk)) -> Result<u64, String> {
    let waiting = waiting();
    for step in 0.. {
        let disk = waiting.after_kill();
        prepare(&disk);
        disk.fault(step, Fault::Crash);
        let _ = run(&store(&disk), &Options::default(), now(10), &Control::default());
        for survivor in survivors(&disk, step) {
            check(&survivor).map_err(|why| format!("step {step}: {why}; {:#?}", disk.log()))?;
        }
        if !disk.crashed() {
            return Ok(step);
        }
    }
    Ok(0)
}

#[test]
fn a_crash_at_any_step_loses_nothing_and_counts_nothing_twice() {
    let steps = crash_everywhere(|_| {}).unwrap();
    assert!(steps > 30, "{steps} steps are too few to be all");
}

#[test]
fn every_fsync_of_the_commit_is_needed() {
    for skipped in [Sync::File(".test_results."), Sync::Folder("s")] {
        assert!(crash_everywhere(|disk| disk.skip(skipped)).is_err(), "{skipped:?} could be left out");
    }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    let waiting = waiting();
    for first in (0..).step_by(5) {
        let disk = waiting.after_kill();
        disk.fault(first, Fault::Crash);
        let _ = run(&store(&disk), &Options::default(), now(10), &Control::default());
        if !disk.crashed() {
            break;
        }
        for second in (0..).step_by(7) {
            let again = disk.after_kill();
            again.fault(second, Fault::Crash);
            let _ = run(&store(&again), &Options::default(), now(20), &Control::default());
            check(&again.after_kill()).unwrap_or_else(|why| panic!("steps {first} and {second}: {why}"));
            if !again.crashed() {
                break;
            }
        }
    }
}

#[test]
fn a_full_disk_or_a_failing_one_at_any_step_changes_nothing_that_counts() {
    let waiting = waiting();
    for kind in [ErrorKind::StorageFull, ErrorKind::Other] {
        for step in 0.. {
            let disk = waiting.after_kill();
            disk.fault(step, Fault::Error(kind));
            let result = run(&store(&disk), &Options::default(), now(10), &Control::default());
            let steps = disk.steps();
            if let (Err(error), ErrorKind::StorageFull) = (&result, kind) {
                let text = error.to_string();
                assert!(text.contains("free some space") || text.contains("parquet"), "step {step}: {text}");
            }
            check(&disk.after_kill()).unwrap_or_else(|why| panic!("step {step}, {kind:?}: {why}"));
            if steps <= step {
                break;
            }
        }
    }
}
