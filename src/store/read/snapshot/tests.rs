use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};

use jiff::SignedDuration;

use super::*;
use crate::stats::Tally;
use crate::store::commit::consolidate;
use crate::store::format::commit_record::Consumed;
use crate::store::legacy::format1::fingerprint;
use crate::store::parquet::ParquetFile;
use crate::store::read::query;
use crate::store::read::query::Filter;
use crate::store::testing::fixture::{Fixture, LEGACY, STEM, batch, legacy, record, records};
use crate::store::write::writer::{Writer, WriterOptions};
use crate::store::{Control, Error, Store, disk};

fn scan(fixture: &Fixture) -> Snapshot {
    Scanner::new()
        .scan(&fixture.store, fixture.now, &Control::default())
        .unwrap()
}

pub(crate) fn totals(snapshot: &Snapshot) -> (u64, u64, u64) {
    let mut sum = Tally::default();
    for tally in snapshot.cells.values() {
        sum.add(tally);
    }
    (sum.tests, sum.full, sum.partial)
}

#[test]
fn an_empty_store_and_none() {
    let fixture = Fixture::new();
    let empty = Snapshot {
        zone: ZoneFacts {
            name: "UTC".to_owned(),
            ..ZoneFacts::default()
        },
        ..Snapshot::default()
    };
    assert_eq!(scan(&fixture), empty);
    let nowhere = Store::new(fixture.store.layout.root().join("nowhere"));
    let error = Scanner::new()
        .scan(&nowhere, fixture.now, &Control::default())
        .unwrap_err();
    assert!(matches!(error, Error::NoStore { .. }), "{error}");
}

#[test]
fn main_increments_and_journals_count_each_record_once() {
    let fixture = Fixture::new();
    fixture.main(&batch(&records(0, 10)), Some(vec![]));
    fixture.increment(
        &format!("increment_{STEM}.parquet"),
        &batch(&records(10, 14)),
    );
    // Its journal is still there, and another one has no increment yet.
    let _published = fixture.journal(STEM, &records(10, 14));
    let mut live = fixture.journal("12_20260131_120000_host_0a1b_1", &records(14, 16));
    live.append(b"{\"model\":\"half", 0, false).unwrap();
    let mut scanner = Scanner::new();
    let snapshot = scanner
        .scan(&fixture.store, fixture.now, &Control::default())
        .unwrap();
    assert_eq!(totals(&snapshot), (16, 8, 0));
    assert_eq!(
        (
            snapshot.superseded,
            snapshot.superseded_waiting,
            snapshot.repeated
        ),
        (10, 0, 20)
    );
    assert_eq!(snapshot.main.generation, 3);
    assert_eq!(
        snapshot.waiting.iter().map(|file| file.rows).sum::<u64>(),
        6
    );
    assert_eq!(snapshot.writers.len(), 1);
    assert!(snapshot.writers[0].lock_held && !snapshot.writers[0].unclosed);
    assert_eq!(snapshot.writers[0].rows, 6);
    // The next scan reads on where the last one ended.
    live.append(b"\",\"success\":true}\n", 1, false).unwrap();
    let snapshot = scanner
        .scan(&fixture.store, fixture.now, &Control::default())
        .unwrap();
    assert_eq!(totals(&snapshot), (17, 9, 0));
    assert_eq!(snapshot, scan(&fixture));
    drop(live);
    let writer = &scan(&fixture).writers[0];
    assert!(writer.unclosed, "{writer:?}");
}

#[test]
fn newer_attempts_supersede_and_repeats_are_no_attempts() {
    let fixture = Fixture::new();
    fixture.main(&batch(&records(0, 10)), Some(vec![]));
    // t1 failed in main; a newer attempt succeeds. t2's is older. t4 is the same row.
    let attempts = [
        record("t1", true, 99_000_000),
        record("t2", false, 1),
        record("t4", true, 4_000_000),
    ];
    let ours = format!("increment_{STEM}.parquet");
    // Other code writes its file again and again with all its rows: a repeat there says nothing.
    for (name, repeated) in [(ours.as_str(), 21), (LEGACY, 20)] {
        fixture.increment(name, &batch(&attempts));
        let mut scanner = Scanner::new();
        for _ in 0..2 {
            let snapshot = scanner
                .scan(&fixture.store, fixture.now, &Control::default())
                .unwrap();
            assert_eq!(totals(&snapshot), (10, 6, 0));
            assert_eq!(
                (snapshot.superseded_waiting, snapshot.repeated),
                (2, repeated)
            );
        }
        fs::remove_file(fixture.store.layout.incremental().join(name)).unwrap();
    }
}

#[test]
fn a_main_of_other_code_is_resolved_too() {
    let fixture = Fixture::new();
    let rows = [
        records(0, 4),
        vec![record("t1", true, 99_000_000), record("t0", true, 0)],
    ]
    .concat();
    fixture.main(&batch(&rows), None);
    fixture.increment(LEGACY, &batch(&[record("t1", false, 100_000_000)]));
    let snapshot = scan(&fixture);
    assert_eq!(totals(&snapshot), (4, 2, 0));
    assert_eq!((snapshot.superseded, snapshot.repeated), (2, 1));
}

#[test]
fn what_main_consumed_does_not_count_again() {
    let fixture = Fixture::new();
    let ours = format!("increment_{STEM}.parquet");
    fixture.increment(&ours, &batch(&records(0, 4)));
    let _journal = fixture.journal(STEM, &records(0, 4));
    fixture.increment(LEGACY, &legacy(&["a", "b"], &[true, false]));
    let path = |name: &str| fixture.store.layout.incremental().join(name);
    let consumed = |name: &str, xxh3: String, rows, legacy| Consumed {
        name: name.to_owned(),
        bytes: fs::metadata(path(name)).unwrap().len(),
        rows,
        xxh3,
        legacy,
        at: fixture.now,
        journal: None,
        modified: 0,
    };
    let open = ParquetFile::open(&*fixture.store.disk, &path(LEGACY)).unwrap();
    let entries = vec![
        consumed(
            &ours,
            disk::hash(&*fixture.store.disk, &path(&ours)).unwrap(),
            4,
            false,
        ),
        consumed(LEGACY, fingerprint(&open, 2).unwrap(), 2, true),
    ];
    fixture.main(&batch(&records(0, 6)), Some(entries));
    let snapshot = scan(&fixture);
    assert_eq!(totals(&snapshot), (6, 3, 0));
    assert_eq!(snapshot.waiting, []);
    let listed = files(&fixture.store, fixture.now).unwrap();
    assert_eq!(listed.leftovers.len(), 3);
    // Its writer extends it, with other types: only the rows after the old ones are new.
    fixture.increment(LEGACY, &legacy(&["a", "b", "c"], &[true, false, true]));
    let snapshot = scan(&fixture);
    assert_eq!(
        (totals(&snapshot), snapshot.waiting[0].rows),
        ((7, 4, 0), 1)
    );
    // It was made again: all of it is new.
    fixture.increment(LEGACY, &legacy(&["c", "b"], &[true, false]));
    assert_eq!(totals(&scan(&fixture)), (8, 4, 0));
}

#[test]
fn fresh_files_without_a_footer_are_in_progress_and_old_ones_unreadable() {
    let mut fixture = Fixture::new();
    let folder = fixture.store.layout.incremental();
    fs::write(folder.join(LEGACY), b"PAR1 and no more than that").unwrap();
    fs::write(folder.join("increment_8_20260131_120000.parquet"), b"").unwrap();
    fs::create_dir(folder.join("increment_9_20260131_120000.parquet")).unwrap();
    for stray in [
        ".DS_Store",
        "increment_1_20260131_120000.parquet.lock",
        "notes.txt",
    ] {
        fs::write(folder.join(stray), b"x").unwrap();
    }
    let snapshot = scan(&fixture);
    let states: Vec<_> = snapshot.waiting.iter().map(|file| &file.state).collect();
    assert_eq!(states, [&FileState::InProgress, &FileState::InProgress]);
    fixture.now = fixture
        .now
        .checked_add(jiff::SignedDuration::from_secs(61))
        .unwrap();
    let snapshot = scan(&fixture);
    assert_eq!(
        snapshot.waiting.len(),
        1,
        "nothing is missing in an empty one"
    );
    assert!(matches!(
        snapshot.waiting[0].state,
        FileState::Unreadable(_)
    ));
}

#[test]
fn the_journal_stands_in_for_a_damaged_increment() {
    let fixture = Fixture::new();
    let name = format!("increment_{STEM}.parquet");
    fixture.increment(&name, &batch(&records(0, 4)));
    let _journal = fixture.journal(STEM, &records(0, 4));
    let path = fixture.store.layout.incremental().join(&name);
    let whole = fs::read(&path).unwrap();
    // Pages damaged, footer whole; then no footer at all.
    let mut pages = whole.clone();
    let middle = pages.len() / 4;
    pages[4..middle].fill(0xff);
    for damaged in [pages, whole[..whole.len() / 2].to_vec()] {
        fs::write(&path, damaged).unwrap();
        let snapshot = scan(&fixture);
        assert_eq!(totals(&snapshot), (4, 2, 0));
        assert_eq!(snapshot.waiting.len(), 2);
    }
}

#[test]
fn columns_that_conflict_are_reported_and_left_out() {
    let fixture = Fixture::new();
    fixture.main(&batch(&records(0, 2)), Some(vec![]));
    let bad = RecordBatch::try_from_iter([
        ("model", Arc::new(StringArray::from(vec!["m"])) as ArrayRef),
        ("success", Arc::new(BooleanArray::from(vec![true]))),
        ("execution_time", Arc::new(StringArray::from(vec!["fast"]))),
    ])
    .unwrap();
    fixture.increment(LEGACY, &bad);
    let snapshot = scan(&fixture);
    let FileState::Conflict(sentence) = &snapshot.waiting[0].state else {
        panic!("{snapshot:?}")
    };
    assert!(
        sentence.contains(LEGACY) && sentence.contains("'execution_time'"),
        "{sentence}"
    );
    assert_eq!(totals(&snapshot), (2, 1, 0));
}

#[test]
fn a_torn_main_is_in_progress_while_it_is_fresh_and_unreadable_later() {
    let mut fixture = Fixture::new();
    fixture.main(&batch(&records(0, 2)), None);
    let mut scanner = Scanner::new();
    scanner
        .scan(&fixture.store, fixture.now, &Control::default())
        .unwrap();
    let whole = fs::read(fixture.store.layout.main()).unwrap();
    fs::write(fixture.store.layout.main(), &whole[..whole.len() - 5]).unwrap();
    let error = scanner
        .scan(&fixture.store, fixture.now, &Control::default())
        .unwrap_err();
    assert!(matches!(error, Error::InProgress { .. }), "{error}");
    fixture.now = fixture
        .now
        .checked_add(jiff::SignedDuration::from_secs(120))
        .unwrap();
    let error = scanner
        .scan(&fixture.store, fixture.now, &Control::default())
        .unwrap_err();
    assert!(matches!(error, Error::Unreadable { .. }), "{error}");
}

#[test]
fn a_main_that_other_code_empties_under_the_lock_is_being_written() {
    let fixture = Fixture::new();
    fixture.main(&batch(&records(0, 3)), Some(vec![]));
    fs::write(fixture.store.layout.main(), b"").unwrap();
    let lock = fixture
        .store
        .disk
        .try_lock(&fixture.store.layout.lock())
        .unwrap();
    let scan = || {
        Scanner::new()
            .scan(&fixture.store, fixture.now, &Control::default())
            .unwrap_err()
    };
    assert!(matches!(scan(), Error::InProgress { .. }));
    drop(lock);
    assert!(matches!(scan(), Error::Unreadable { .. }));
}

#[test]
fn summaries_and_mixed_mains_weigh_their_totals() {
    let fixture = Fixture::new();
    let summaries = RecordBatch::try_from_iter([
        (
            "model",
            Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef,
        ),
        ("total", Arc::new(Int64Array::from(vec![100, 50]))),
        ("successful", Arc::new(Int64Array::from(vec![60, 10]))),
        ("partial", Arc::new(Int64Array::from(vec![20, 30]))),
    ])
    .unwrap();
    fixture.main(&summaries, None);
    fixture.increment(LEGACY, &legacy(&["a"], &[true]));
    let snapshot = scan(&fixture);
    assert_eq!(snapshot.main.kind, MainKind::Summaries);
    assert_eq!(totals(&snapshot), (151, 71, 50));
    let mixed = RecordBatch::try_from_iter([
        (
            "model",
            Arc::new(StringArray::from(vec!["a", "b", "b"])) as ArrayRef,
        ),
        (
            "test_id",
            Arc::new(StringArray::from(vec![Some("1"), None, Some("2")])),
        ),
        (
            "success",
            Arc::new(Float64Array::from(vec![1.0, 30.0, 0.0])),
        ),
        (
            "total",
            Arc::new(Float64Array::from(vec![f64::NAN, 40.0, f64::NAN])),
        ),
    ])
    .unwrap();
    fixture.main(&mixed, None);
    let snapshot = scan(&fixture);
    assert_eq!(snapshot.main.kind, MainKind::Mixed);
    assert_eq!(totals(&snapshot), (43, 32, 0));
    assert_eq!(snapshot.notes.len(), 1, "{:?}", snapshot.notes);
}

#[test]
fn group_totals_on_every_record_are_not_trusted() {
    let fixture = Fixture::new();
    fixture.main(&legacy(&["a", "b", "a"], &[true, false, false]), None);
    let snapshot = scan(&fixture);
    assert_eq!(
        (snapshot.main.kind, totals(&snapshot)),
        (MainKind::Records, (3, 1, 0))
    );
    assert_eq!(snapshot.models["a"].last_row, Some(1_769_860_800_000_000));
}

#[test]
fn while_data_moves_every_acknowledged_record_counts_once() {
    const WRITERS: u64 = 2;
    const SEGMENTS: u64 = 10;
    const ROWS: u64 = 3;
    let fixture = Fixture::new();
    let acknowledged = AtomicU64::new(0);
    let attempted = AtomicU64::new(0);
    let live = AtomicU64::new(WRITERS);
    let write = |writer: u64| {
        for segment in 0..SEGMENTS {
            let mut journal = Writer::open(&fixture.store, WriterOptions::default()).unwrap();
            for at in 0..ROWS {
                attempted.fetch_add(1, SeqCst);
                journal
                    .append(record(&format!("{writer}-{segment}-{at}"), true, 1))
                    .unwrap();
                acknowledged.fetch_add(1, SeqCst);
            }
            journal.close().unwrap();
        }
        live.fetch_sub(1, SeqCst);
    };
    let consolidate = || {
        while live.load(SeqCst) > 0 {
            consolidate::run(
                &fixture.store,
                &consolidate::Options::default(),
                fixture.now,
                &Control::default(),
            )
            .unwrap();
        }
    };
    let mut scanner = Scanner::new();
    let mut look = || {
        let before = acknowledged.load(SeqCst);
        let seen = scanner
            .scan(&fixture.store, fixture.now, &Control::default())
            .unwrap();
        let (after, tests) = (attempted.load(SeqCst), totals(&seen).0);
        assert!(
            (before..=after).contains(&tests),
            "{tests} tests of {before} to {after}"
        );
        assert_eq!((seen.superseded, seen.repeated), (0, 0));
    };
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let write = &write;
            scope.spawn(move || write(writer));
        }
        scope.spawn(consolidate);
        while live.load(SeqCst) > 0 {
            look();
        }
    });
    look();
    assert_eq!(totals(&scan(&fixture)).0, WRITERS * SEGMENTS * ROWS);
}

fn trial(id: &str, task: &str, success: bool, timestamp: i64) -> crate::store::Record {
    crate::store::Record {
        task_id: Some(task.into()),
        ..record(id, success, timestamp)
    }
}

#[test]
fn trials_of_a_task_are_counted_once_each_wherever_they_are() {
    let fixture = Fixture::new();
    fixture.main(
        &batch(&[trial("a", "x", false, 1), trial("b", "x", false, 1)]),
        Some(vec![]),
    );
    // One is tried again; one has no id, so nothing can replace it.
    let mut anonymous = trial("-", "y", true, 1);
    anonymous.test_id = None;
    fixture.increment(
        LEGACY,
        &batch(&[trial("a", "x", true, 2_000_000), anonymous]),
    );
    let _journal = fixture.journal(STEM, &[trial("c", "y", true, 3_000_000)]);
    let snapshot = scan(&fixture);
    let mut expected = crate::stats::clusters::Clusters::default();
    for task in ["x", "y"] {
        let trials = crate::stats::paired::Trials {
            n: 2,
            full: if task == "x" { 1 } else { 2 },
        };
        expected.add(
            &"m".into(),
            xxhash_rust::xxh3::xxh3_64(task.as_bytes()),
            trials,
        );
    }
    assert_eq!(snapshot.clusters, expected);
    assert_eq!(snapshot.superseding, [2_000_000]);
    let model = &snapshot.models["m"];
    assert_eq!(
        (model.recent.len(), model.failures.len()),
        (5, 2),
        "every attempt happened"
    );
    assert_eq!(&*model.failures[0].test_id, "a");
    // The same in a main that other code wrote, which nobody has resolved yet.
    let fixture = Fixture::new();
    fixture.main(
        &batch(&[
            trial("a", "x", false, 1),
            trial("a", "x", true, 2),
            trial("b", "x", true, 1),
        ]),
        None,
    );
    let mut expected = crate::stats::clusters::Clusters::default();
    expected.add(
        &"m".into(),
        xxhash_rust::xxh3::xxh3_64(b"x"),
        crate::stats::paired::Trials { n: 2, full: 2 },
    );
    assert_eq!(scan(&fixture).clusters, expected);
}

#[test]
fn many_increments_are_read_at_once_and_a_broken_one_is_still_reported() {
    let fixture = Fixture::new();
    let name = |at: i64| format!("increment_12_20260131_120000_host_0a1b_{at}.parquet");
    for at in 0..80 {
        // Each ends with the row that the next begins with.
        fixture.increment(&name(at), &batch(&records(at * 5, at * 5 + 6)));
    }
    let broken = fixture.store.layout.incremental().join(name(40));
    let mut bytes = fs::read(&broken).unwrap();
    bytes[4..60].fill(0xff);
    fs::write(&broken, bytes).unwrap();
    let snapshot = scan(&fixture);
    let bad: Vec<_> = snapshot
        .waiting
        .iter()
        .filter(|file| matches!(file.state, FileState::Unreadable(_)))
        .collect();
    assert_eq!(
        bad.iter().map(|file| &file.name).collect::<Vec<_>>(),
        [&name(40)]
    );
    let tests: u64 = snapshot.cells.values().map(|tally| tally.tests).sum();
    assert_eq!((tests, snapshot.repeated), (401 - 4, 77));
}

#[test]
fn a_writers_journals_are_weighed_also_when_their_rows_are_elsewhere() {
    let fixture = Fixture::new();
    fixture.increment(
        &format!("increment_{STEM}.parquet"),
        &batch(&records(10, 14)),
    );
    let _published = fixture.journal(STEM, &records(10, 14));
    let _live = fixture.journal("12_20260131_120000_host_0a1b_1", &records(14, 16));
    let size = |stem: &str| {
        fs::metadata(
            fixture
                .store
                .layout
                .incremental()
                .join(format!("journal_{stem}.jsonl")),
        )
        .unwrap()
        .len()
    };
    let writers = scan(&fixture).writers;
    assert_eq!((writers.len(), writers[0].rows), (1, 6));
    assert_eq!(
        writers[0].journal_bytes,
        size(STEM) + size("12_20260131_120000_host_0a1b_1")
    );
}

#[test]
fn a_time_that_is_no_time_is_reported_and_its_row_counts() {
    let fixture = Fixture::new();
    let columns: [(&str, ArrayRef); 3] = [
        ("model", Arc::new(StringArray::from(vec!["m", "m"]))),
        ("success", Arc::new(BooleanArray::from(vec![true, false]))),
        (
            "timestamp",
            Arc::new(StringArray::from(vec!["soon", "2026-01-31T12:00:00"])),
        ),
    ];
    fixture.increment(LEGACY, &RecordBatch::try_from_iter(columns).unwrap());
    let snapshot = scan(&fixture);
    assert_eq!(
        snapshot
            .cells
            .values()
            .map(|tally| tally.tests)
            .sum::<u64>(),
        2
    );
    assert!(
        snapshot.notes[0].starts_with("1 row has a timestamp"),
        "{:?}",
        snapshot.notes
    );
}

#[test]
fn what_is_known_of_our_files_is_believed_only_while_main_stays_and_for_a_minute() {
    let fixture = Fixture::new();
    let name = |at: u8| format!("increment_12_20260131_120000_host_0a1b_{at}.parquet");
    for at in 0..2 {
        fixture.increment(
            &name(at),
            &batch(&records(10 * i64::from(at), 10 * i64::from(at) + 3)),
        );
    }
    let mut scanner = Scanner::new();
    let mut tests = |after: i64| {
        let now = fixture.now + jiff::SignedDuration::from_secs(after);
        totals(
            &scanner
                .scan(&fixture.store, now, &Control::default())
                .unwrap(),
        )
        .0
    };
    assert_eq!(tests(0), 6);
    // As no program of ours does it: other rows in place, under the same name.
    let path = fixture.store.layout.incremental().join(name(0));
    let other = Fixture::new();
    other.increment(&name(0), &batch(&records(20, 25)));
    fs::write(
        &path,
        fs::read(other.store.layout.incremental().join(name(0))).unwrap(),
    )
    .unwrap();
    assert_eq!(tests(59), 6, "it is not asked for");
    assert_eq!(tests(60), 8, "once a minute everything is");
    // One that goes is missed at once, and so is one that main takes in.
    fs::remove_file(&path).unwrap();
    assert_eq!(tests(61), 3);
    let options = consolidate::Options::default();
    consolidate::run(&fixture.store, &options, fixture.now, &Control::default()).unwrap();
    assert_eq!(tests(62), 3);
}

#[test]
fn a_main_by_other_code_is_tallied_in_parts_like_as_a_whole() {
    let fixture = Fixture::new();
    let rows = records(0, 300_000);
    fixture.main(&batch(&rows), None);
    let snapshot = scan(&fixture);
    let full = rows
        .iter()
        .filter(|record| record.success == Some(true))
        .count() as u64;
    assert_eq!(totals(&snapshot), (300_000, full, 0));
    let grouped = query::grouped(
        &fixture.store,
        &Filter::default(),
        &["model".into()],
        &Control::default(),
    );
    assert_eq!(
        grouped
            .unwrap()
            .iter()
            .map(|group| group.tally.tests)
            .sum::<u64>(),
        300_000
    );
}

/// `cp -r` had copied main before a commit, and the records after it.
#[test]
fn a_copy_that_was_made_during_a_commit_says_so() {
    let fixture = Fixture::new();
    let ours = |number: u8| format!("increment_12_20260131_120000_host_0a1b_{number}.parquet");
    let commit = |number: u8, from: i64, to: i64| {
        fixture.increment(&ours(number), &batch(&records(from, to)));
        consolidate::run(
            &fixture.store,
            &consolidate::Options::default(),
            fixture.now,
            &Control::default(),
        )
        .unwrap();
    };
    commit(0, 0, 3);
    let layout = &fixture.store.layout;
    let before = fs::read(layout.main()).unwrap();
    commit(1, 3, 5);
    let newest = fs::read_dir(layout.consumed()).unwrap();
    let newest = newest.map(|entry| entry.unwrap().path()).max().unwrap();
    fs::remove_dir_all(newest).unwrap();
    fs::write(layout.main(), before).unwrap();
    let later = |seconds: i64| fixture.now + SignedDuration::from_secs(seconds);
    let notes = |now| {
        let seen = Scanner::new().scan(&fixture.store, now, &Control::default());
        let mut notes = seen.unwrap().notes;
        notes.retain(|note| note.contains("commits/"));
        notes
    };
    // A commit may be under way.
    assert_eq!(notes(later(5)), Vec::<String>::new());
    let said = notes(later(120));
    assert!(
        said.len() == 1
            && said[0].starts_with("main is of commit 1, and commits/ has the record of commit 2"),
        "{said:?}"
    );
    // The next commit here forgets the other one.
    commit(2, 5, 6);
    assert_eq!(notes(later(120)), Vec::<String>::new());
}
