//! Looks at real stores in temporary folders: what a scan shows when main, or the
//! whole store, can't be read at that moment.

use std::fs::{self, File};
use std::io::Write as _;
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
use crate::store::commit::consolidate;
use crate::store::write::writer::{Writer, WriterOptions};
use crate::store::{Control, Record, Store};

mod identity;

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
        success: Some(success),
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
fn files_that_wait_at_the_start_say_when_they_began_to() {
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
fn a_writer_is_live_then_stalled_then_finished() {
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
    assert_eq!(state(&mut monitor, 901), (vec![WriterState::Stalled], 1));
    writer.append_all(records(1, true)).unwrap();
    assert_eq!(state(&mut monitor, 0), (vec![WriterState::Live], 0));
    writer.close().unwrap();
    assert_eq!(state(&mut monitor, 120), (vec![WriterState::Finished], 0));
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

/// Replaces a file's content as pandas does: cut to nothing, then written from the start.
fn rewrite(path: &Path, rows: usize) {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("model", Arc::new(StringArray::from(vec!["a"; rows]))),
        ("success", Arc::new(BooleanArray::from(vec![true; rows]))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let bytes = writer.into_inner().unwrap();
    let mut file = File::create(path).unwrap();
    for part in bytes.chunks(bytes.len() / 3) {
        file.write_all(part).unwrap();
        std::thread::yield_now();
    }
}

#[test]
fn tests_never_become_fewer_while_a_file_is_rewritten_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let incremental = folder.path().join("incremental");
    fs::create_dir(&incremental).unwrap();
    let path = incremental.join("increment_7_20260131_120000.parquet");
    rewrite(&path, 10);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let mut monitor = monitor(folder.path());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut rows = 10;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                rows += 1;
                rewrite(&path, rows);
                std::thread::sleep(Duration::from_millis(150));
            }
        });
        let mut before = 0;
        for _ in 0..30 {
            let seen = monitor.observe(Timestamp::now());
            assert!(
                seen.totals.tests >= before,
                "{} after {before}",
                seen.totals.tests
            );
            before = seen.totals.tests;
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(before >= 10);
    });
}

#[test]
fn a_file_that_stays_half_written_keeps_its_rows_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let incremental = folder.path().join("incremental");
    fs::create_dir(&incremental).unwrap();
    let path = incremental.join("increment_7_20260131_120000.parquet");
    rewrite(&path, 10);
    let mut monitor = monitor(folder.path());
    let now = Timestamp::now();
    assert_eq!(monitor.observe(now).totals.tests, 10);
    let file = File::options().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 10).unwrap();
    let seen = monitor.observe(now + SignedDuration::from_secs(2));
    assert_eq!(seen.totals.tests, 10);
    assert_eq!(
        seen.behind.as_deref(),
        Some("increment_7_20260131_120000.parquet is being rewritten")
    );
    let seen = monitor.observe(now + SignedDuration::from_secs(60));
    assert_eq!((seen.totals.tests, seen.behind), (0, None));
    // A single scan has nothing to stand in, and says what is missing.
    let mut single = Monitor::new(Store::new(folder.path()), Config::default());
    let seen = single.observe(Timestamp::now());
    assert_eq!(seen.totals.tests, 0);
    let said = "increment_7_20260131_120000.parquet is being written again and again";
    assert!(
        seen.notes.iter().any(|note| note.starts_with(said)),
        "{:?}",
        seen.notes
    );
    rewrite(&path, 11);
    let seen = monitor.observe(Timestamp::now());
    assert_eq!((seen.totals.tests, seen.notes.len()), (11, 0));
}

/// A heartbeat of a program that was killed with two tests in flight.
fn lost(root: &Path, since: Timestamp) {
    let test = |task: &str| serde_json::json!({"model": "m", "task_id": task, "since": since.as_microsecond()});
    let said = serde_json::json!({
        "format": 1, "writer": "12_20260131_120000_elsewhere_0a", "host": "elsewhere",
        "recorder": {"pid": 12, "began": 1, "namespace": "n", "boot": "b", "name": "python"},
        "began": since.as_microsecond(), "beat": 3, "rows": 0, "running": 2,
        "in_flight": [test("t1"), test("t2")], "ended": "lost", "ended_at": since.as_microsecond(),
    });
    let live = root.join("live");
    fs::create_dir_all(&live).unwrap();
    fs::write(
        live.join("12_20260131_120000_elsewhere_0a.json"),
        said.to_string(),
    )
    .unwrap();
}

#[test]
fn the_alert_about_a_lost_writer_goes_when_its_tests_have_results() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("store"));
    let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
    let since = Timestamp::now();
    lost(store.layout.root(), since);
    let mut monitor = monitor(store.layout.root());
    let mut alerts = || {
        let seen = monitor.observe(Timestamp::now());
        let is_lost = |alert: &&crate::health::Alert| alert.rule == "lost_writers";
        seen.alerts.iter().filter(is_lost).count()
    };
    assert_eq!(alerts(), 1);
    for (task, left) in [("t1", 1), ("t2", 0)] {
        writer
            .append(Record {
                task_id: Some(task.to_owned()),
                ..records(1, true).remove(0)
            })
            .unwrap();
        if left == 0 {
            // Looking for results is rationed.
            while alerts() > 0 {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        assert_eq!(alerts(), left);
    }
    writer.close().unwrap();
    let options = consolidate::Options::default();
    consolidate::run(&store, &options, Timestamp::now(), &Control::default()).unwrap();
    assert_eq!(alerts(), 0, "nor does it come back with the commit");
}

/// Rows as a Poisson process brings them: the figure on the screen is the true rate, within what
/// chance explains, five seconds after the start, in the middle and late; and none at the end.
#[test]
fn rates_are_the_true_ones_from_the_start_to_the_end() {
    let mut state = 7_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) as f64 + 0.5) / 2_f64.powi(53)
    };
    for (writers, per_minute) in [(1, 90.0), (3, 540.0), (5, 4_000.0)] {
        for seconds in [5.0, 45.0, 280.0, 1_500.0] {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::new(folder.path());
            let now = Timestamp::now();
            let own = per_minute / f64::from(writers);
            let mut open = Vec::new();
            for _ in 0..writers {
                let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
                let mut rows = Vec::new();
                let mut ago = seconds;
                loop {
                    ago += uniform().ln() * 60.0 / own;
                    if ago < 0.0 {
                        break;
                    }
                    rows.push(Record {
                        timestamp: Some(now.as_microsecond() - (ago * 1e6) as i64),
                        ..records(1, true).remove(0)
                    });
                }
                writer.append_all(rows).unwrap();
                open.push(writer);
            }
            let expected = per_minute * f64::min(seconds, 300.0) / 60.0;
            let mut monitor = monitor(folder.path());
            let found = monitor.observe(now).per_minute;
            // Of each writer the last 200 rows are known.
            let known = expected.min(200.0 * f64::from(writers));
            let most = 4.0 / known.sqrt();
            let error = (found / per_minute - 1.0).abs();
            assert!(
                expected < 20.0 || error < most,
                "{per_minute} a minute by {writers} after {seconds} s: {found}"
            );
            for writer in open {
                writer.close().unwrap();
            }
            let seen = monitor.observe(now);
            assert!(seen.per_minute.abs() < 1e-9, "nobody writes: {seen:?}");
        }
    }
}
