//! Alerts about rows that bring no id, and about retries in sessions of their own.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;

use super::monitor;
use crate::store::commit::consolidate;
use crate::store::write::writer::{Writer, WriterOptions};
use crate::store::{Control, Record, Store};

/// A legacy writer's file; without times the rows have none.
fn write(root: &Path, number: u8, times: &[String], turns: i64) {
    let n = times.len();
    let turns: Int64Array = (0..n as i64).map(|at| at + turns).collect();
    let times: StringArray = times
        .iter()
        .map(|time| Some(time).filter(|t| !t.is_empty()))
        .collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("model", Arc::new(StringArray::from(vec!["a"; n]))),
        ("success", Arc::new(BooleanArray::from(vec![true; n]))),
        ("turns", Arc::new(turns)),
        ("timestamp", Arc::new(times)),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let name = format!("incremental/increment_{number}_20260131_120000.parquet");
    let file = File::create(root.join(name)).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn times(day: u8, rows: usize, digits: &str) -> Vec<String> {
    let time = |row| format!("2026-01-{day}T12:00:{row:02}.{digits}");
    (0..rows).map(time).collect()
}

/// Rule and message of each alert about rows; the tests that count.
fn said(root: &Path) -> (Vec<(String, String)>, u64) {
    const RULES: [&str; 4] = [
        "rows_without_identity",
        "identical_rows",
        "rewritten_rows",
        "tests_in_several_sessions",
    ];
    let seen = monitor(root).observe(Timestamp::now());
    let alerts = seen.alerts.into_iter();
    let alerts = alerts.filter(|alert| RULES.contains(&alert.rule.as_str()));
    let said = alerts.map(|alert| (alert.rule, alert.message));
    (said.collect(), seen.totals.tests)
}

fn one(rule: &str, message: &str) -> Vec<(String, String)> {
    vec![(rule.to_owned(), message.to_owned())]
}

fn store(root: &Path) -> Store {
    let store = Store::new(root);
    store.create().unwrap();
    store
}

#[test]
fn rows_with_neither_an_id_nor_a_time_are_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    write(folder.path(), 7, &times(30, 3, "123456"), 1);
    assert_eq!(said(folder.path()), (vec![], 3));
    write(folder.path(), 8, &[String::new(), String::new()], 1);
    let bare = "2 rows bring neither an id nor a time: add a test_id";
    assert_eq!(said(folder.path()), (one("rows_without_identity", bare), 5));
}

#[test]
fn rows_that_two_files_share_are_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    write(folder.path(), 7, &times(30, 3, "123456"), 1);
    write(folder.path(), 8, &times(30, 2, "123456"), 1);
    let lie = "2 rows lie in two files: count once";
    assert_eq!(said(folder.path()), (one("identical_rows", lie), 3));
    // At full seconds they are rows of their files.
    write(folder.path(), 8, &times(30, 2, "0"), 1);
    write(folder.path(), 7, &times(30, 2, "0"), 1);
    assert_eq!(said(folder.path()), (vec![], 4));
}

#[test]
fn rows_that_other_code_changed_after_they_were_taken_in_are_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    write(folder.path(), 7, &times(30, 4, "123456"), 1);
    let options = consolidate::Options::default();
    consolidate::run(&store, &options, Timestamp::now(), &Control::default()).unwrap();
    let reported = |column: &str| {
        let message =
            format!("4 rows rewritten in column {column} count twice: remove those of before");
        one("rewritten_rows", &message)
    };
    // Counted on with all its rows, or begun again: that is how legacy programs write.
    write(folder.path(), 7, &times(30, 6, "123456"), 1);
    assert_eq!(said(folder.path()), (vec![], 6));
    write(folder.path(), 7, &times(31, 5, "123456"), 1);
    assert_eq!(said(folder.path()), (vec![], 9));
    write(folder.path(), 7, &times(30, 4, "123456"), 90);
    assert_eq!(said(folder.path()), (reported("turns"), 8));
    write(folder.path(), 7, &times(30, 4, "123"), 1);
    assert_eq!(said(folder.path()), (reported("timestamp"), 8));
}

#[test]
fn retries_in_sessions_of_their_own_are_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let record = |test: usize, session: usize| Record {
        test_id: Some(format!("t{test}")),
        model: "m".to_owned(),
        success: Some(true),
        session_id: Some(format!("s{session}")),
        ..Record::default()
    };
    let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
    // Two sessions with the same tests.
    for session in 0..2 {
        for test in 0..20 {
            writer.append(record(test, session)).unwrap();
        }
    }
    writer.close().unwrap();
    assert_eq!(said(folder.path()), (vec![], 40));
    let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
    for retry in 0..7 {
        writer.append(record(50, 10 + retry)).unwrap();
    }
    writer.close().unwrap();
    let carry = "6 retries carry a new session: keep the session_id";
    assert_eq!(
        said(folder.path()),
        (one("tests_in_several_sessions", carry), 47)
    );
}
