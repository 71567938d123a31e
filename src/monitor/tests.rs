//! Looks at real stores in temporary folders: what a look shows when main, or the
//! whole store, can't be read at that moment.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use jiff::{SignedDuration, Timestamp};
use parquet::arrow::ArrowWriter;

use super::{Monitor, StoreState, WatchMode};
use crate::config::Config;
use crate::health::Severity;
use crate::observation::{MainKind, Reading, WriterState};
use crate::store::writer::{Writer, WriterOptions};
use crate::store::{Control, Record, Store, consolidate};

fn monitor(root: &Path) -> Monitor {
    let mut config = Config::default();
    // How full this machine's disk is has no say here.
    config.thresholds.disk_percent = 0.0;
    config.thresholds.disk_bytes = 0;
    Monitor::new(Store::new(root), config)
}

fn write_main(root: &Path, rows: usize) {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("model", Arc::new(StringArray::from(vec!["a"; rows]))),
        ("success", Arc::new(BooleanArray::from(vec![true; rows]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    // In place, as legacy code does it.
    let file = File::create(root.join("test_results.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn tear_main(root: &Path, age: Duration) {
    let main = root.join("test_results.parquet");
    let file = File::options().write(true).open(main).unwrap();
    file.set_len(file.metadata().unwrap().len() - 10).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

fn records(count: usize, success: bool) -> Vec<Record> {
    let record = Record {
        model: "m".to_owned(),
        success,
        ..Record::default()
    };
    vec![record; count]
}

#[test]
fn a_main_that_is_being_written_leaves_the_figures_standing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_main(root, 40);
    let mut monitor = monitor(root);
    let seen = monitor.observe(Timestamp::now());
    assert_eq!(
        (seen.totals.tests, seen.totals.full, seen.main.kind),
        (40, 40, MainKind::Records)
    );
    assert_eq!((seen.behind, seen.alerts.len()), (None, 0));

    tear_main(root, Duration::ZERO);
    let seen = monitor.observe(Timestamp::now());
    assert_eq!(
        (seen.totals.tests, seen.main.rows, seen.models.len()),
        (40, 40, 1)
    );
    assert_eq!(
        (seen.state, seen.alerts.len()),
        (StoreState::Ready, 0),
        "nothing is wrong yet"
    );
    assert!(
        seen.behind
            .is_some_and(|why| why.contains("test_results.parquet"))
    );

    write_main(root, 41);
    let seen = monitor.observe(Timestamp::now());
    assert_eq!((seen.totals.tests, seen.behind), (41, None));
}

#[test]
fn files_that_wait_at_the_start_tell_when_they_began_to() {
    let folder = tempfile::tempdir().unwrap();
    let incremental = folder.path().join("incremental");
    fs::create_dir(&incremental).unwrap();
    let now = Timestamp::now();
    for (index, minutes) in [45_u64, 25, 5].into_iter().enumerate() {
        write_main(folder.path(), 3);
        let name = format!("increment_{index}_20260131_120000.parquet");
        fs::rename(
            folder.path().join("test_results.parquet"),
            incremental.join(&name),
        )
        .unwrap();
        let file = File::options()
            .write(true)
            .open(incremental.join(name))
            .unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(minutes * 60))
            .unwrap();
    }
    let mut monitor = monitor(folder.path());
    let seen = monitor.observe(now);
    let files = |seen: &super::Observation| -> Vec<u64> {
        let levels = seen.levels.columns(now.as_second(), 3_600, 6);
        levels
            .into_iter()
            .map(|level| level.map_or(0, |l| l.files))
            .collect()
    };
    assert_eq!(files(&seen), [0, 1, 1, 2, 2, 3]);
    fs::remove_file(incremental.join("increment_0_20260131_120000.parquet")).unwrap();
    let later = now + SignedDuration::from_mins(2);
    let seen = monitor.observe(later);
    let last = seen.levels.columns(later.as_second(), 60, 1);
    assert_eq!(
        last[0].map(|l| l.files),
        Some(2),
        "and from then on every look does"
    );
}

#[test]
fn a_torn_main_is_critical_and_leaves_the_figures_standing() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    write_main(root, 40);
    let mut monitor = monitor(root);
    monitor.observe(Timestamp::now());
    tear_main(root, Duration::from_secs(3_600));
    let seen = monitor.observe(Timestamp::now());
    assert_eq!(seen.totals.tests, 40);
    assert!(seen.has_figures() && seen.behind.is_some());
    assert!(
        matches!(&seen.state, StoreState::Unreadable(why) if why.contains("test_results.parquet"))
    );
    assert_eq!(seen.alerts[0].severity, Severity::Critical);
    assert!(
        !self::monitor(root).observe(Timestamp::now()).has_figures(),
        "a first look has none to show"
    );
}

#[test]
fn a_store_appears_vanishes_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let mut monitor = monitor(&root);
    let seen = monitor.observe(Timestamp::now());
    assert_eq!(
        (&seen.state, seen.has_figures()),
        (&StoreState::Missing, false)
    );
    assert_eq!(
        (seen.alerts[0].rule.as_str(), seen.alerts[0].severity),
        ("store_missing", Severity::Warning)
    );

    let mut writer = Writer::open(&Store::new(&root), WriterOptions::default()).unwrap();
    writer.append_all(records(3, true)).unwrap();
    let seen = monitor.observe(Timestamp::now());
    assert_eq!(
        (&seen.state, seen.totals.tests, seen.waiting.journal_rows),
        (&StoreState::Ready, 3, 3)
    );
    writer.close().unwrap();

    fs::remove_dir_all(&root).unwrap();
    let seen = monitor.observe(Timestamp::now());
    assert_eq!((&seen.state, seen.totals.tests), (&StoreState::Missing, 3));
    assert_eq!(seen.alerts[0].severity, Severity::Critical);

    fs::create_dir_all(root.join("incremental")).unwrap();
    let seen = monitor.observe(Timestamp::now());
    assert_eq!(
        (&seen.state, seen.totals.tests, seen.behind),
        (&StoreState::Ready, 0, None)
    );
}

#[test]
fn a_writer_is_live_then_quiet_then_done() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
    let mut monitor = monitor(folder.path());
    let state = |monitor: &mut Monitor, later: i64| {
        let now = Timestamp::now() + SignedDuration::from_secs(later);
        let seen = monitor.observe(now);
        (
            seen.writers
                .iter()
                .map(|writer| writer.state)
                .collect::<Vec<_>>(),
            seen.alerts.len(),
        )
    };
    writer.append_all(records(2, true)).unwrap();
    assert_eq!(state(&mut monitor, 0), (vec![WriterState::Live], 0));
    assert_eq!(state(&mut monitor, 120), (vec![WriterState::Quiet], 1));
    writer.append_all(records(1, true)).unwrap();
    assert_eq!(state(&mut monitor, 0), (vec![WriterState::Live], 0));
    writer.close().unwrap();
    assert_eq!(state(&mut monitor, 120), (vec![WriterState::Done], 0));
}

#[test]
fn failures_that_begin_are_seen_while_they_last() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
    let mut monitor = monitor(folder.path());
    writer.append_all(records(60, true)).unwrap();
    assert_eq!(monitor.observe(Timestamp::now()).models[0].burst, None);
    writer.append_all(records(10, false)).unwrap();
    let seen = monitor.observe(Timestamp::now());
    assert_eq!(seen.alerts[0].message, "m: 10 of last 10 failed (usual 2%)");
    assert!(seen.per_minute > 0.0 && !seen.history.is_empty());
    writer.append_all(records(10, true)).unwrap();
    assert_eq!(monitor.observe(Timestamp::now()).alerts, []);
    writer.close().unwrap();
}

#[test]
fn the_observation_says_how_changes_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("incremental")).unwrap();
    let mut monitor = monitor(folder.path());
    monitor.set_watch(WatchMode::Polling("NFS".to_owned()));
    let seen = monitor.observe(Timestamp::now());
    assert_eq!(seen.alerts[0].rule, "watch_polling");
    assert!(seen.disk.is_some_and(|(free, total)| free <= total));
}

#[test]
fn before_much_is_read_main_is_shown_alone_and_marked_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    let write = |rows: usize| {
        let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
        writer.append_all(records(rows, true)).unwrap();
        writer.close().unwrap();
    };
    write(5);
    consolidate::run(
        &store,
        &consolidate::Options::default(),
        Timestamp::now(),
        &Control::default(),
    )
    .unwrap();
    assert_eq!(
        monitor(folder.path()).glance(Timestamp::now()),
        None,
        "a look takes no longer"
    );
    (0..64).for_each(|_| write(1));
    let mut monitor = monitor(folder.path());
    let seen = monitor.glance(Timestamp::now()).unwrap();
    assert_eq!((seen.totals.tests, seen.waiting.increments), (5, 64));
    assert_eq!(seen.reading, Some(Reading { read: 0, files: 64 }));
    let seen = monitor.observe(Timestamp::now());
    assert_eq!((seen.totals.tests, seen.reading), (69, None));
    assert_eq!(
        monitor.glance(Timestamp::now()),
        None,
        "only before the first look"
    );
}
