//! Columns that differ between main, increments and journals.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::DataType;
use serde_json::{Value, json};

use super::{Options, Outcome, SkipKind, run};
use crate::store::maintain::validate::{Level, check};
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot::{FileState, Scanner, Snapshot};
use crate::store::testing::fixture::{Fixture, batch, record};
use crate::store::write::writer::{Writer, WriterOptions};
use crate::store::{Control, Record};

fn with(id: &str, extra: &[(&str, Value)]) -> Record {
    Record {
        extra: extra
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect(),
        ..record(id, true, 1)
    }
}

impl Fixture {
    fn merged(&self) -> Outcome {
        run(
            &self.store,
            &Options::default(),
            self.now,
            &Control::default(),
        )
        .unwrap()
    }

    fn seen(&self) -> Snapshot {
        Scanner::new()
            .scan(&self.store, self.now, &Control::default())
            .unwrap()
    }

    fn counted(&self) -> u64 {
        self.seen().cells.values().map(|tally| tally.tests).sum()
    }

    /// A column of main, with what its rows have, by id.
    fn column(&self, name: &str) -> (DataType, Vec<(String, bool)>) {
        let main = ParquetFile::open(&*self.store.disk, &self.store.layout.main()).unwrap();
        let data_type = main
            .schema()
            .field_with_name(name)
            .unwrap()
            .data_type()
            .clone();
        let mut rows = Vec::new();
        for batch in main.batches(None, 0).unwrap() {
            let batch = batch.unwrap();
            let ids = arrow::array::AsArray::as_string::<i32>(&*batch["test_id"]).clone();
            rows.extend(
                (0..batch.num_rows())
                    .map(|row| (ids.value(row).to_owned(), batch[name].is_valid(row))),
            );
        }
        rows.sort();
        (data_type, rows)
    }

    /// A legacy increment with one column more.
    fn legacy_with(&self, name: &str, id: &str, column: (&str, ArrayRef)) {
        let own = batch(&[record(id, true, 1)]);
        let schema = own.schema();
        let columns = schema
            .fields()
            .iter()
            .zip(own.columns())
            .map(|(f, c)| (f.name().clone(), c.clone()));
        let others = columns.filter(|(name, _)| name != column.0);
        let all = others.chain([(column.0.to_owned(), column.1)]);
        self.increment(name, &RecordBatch::try_from_iter(all).unwrap());
    }
}

fn has(rows: &[(&str, bool)]) -> Vec<(String, bool)> {
    rows.iter()
        .map(|(id, has)| ((*id).to_owned(), *has))
        .collect()
}

#[test]
fn columns_come_go_and_widen() {
    let f = Fixture::new();
    f.legacy_with(
        "increment_1.parquet",
        "a",
        ("tokens", Arc::new(Int32Array::from(vec![1]))),
    );
    assert_eq!(f.merged().rows_total, 1);
    // Missing, then wider, then added.
    f.increment("increment_2.parquet", &batch(&[record("b", true, 1)]));
    f.legacy_with(
        "increment_3.parquet",
        "c",
        ("tokens", Arc::new(Float64Array::from(vec![1.5]))),
    );
    f.legacy_with(
        "increment_4.parquet",
        "d",
        ("host", Arc::new(StringArray::from(vec!["x"]))),
    );
    assert_eq!(f.counted(), 4);
    let done = f.merged();
    assert_eq!((done.rows_total, done.skipped.len()), (4, 0));
    assert_eq!(
        f.column("tokens"),
        (
            DataType::Float64,
            has(&[("a", true), ("b", false), ("c", true), ("d", false)])
        )
    );
    assert_eq!(
        f.column("host"),
        (
            DataType::Utf8,
            has(&[("a", false), ("b", false), ("c", false), ("d", true)])
        )
    );
    // Narrower again: main stays as wide as it is.
    f.legacy_with(
        "increment_5.parquet",
        "e",
        ("tokens", Arc::new(Int64Array::from(vec![7]))),
    );
    assert_eq!(f.merged().rows_total, 5);
    assert_eq!(f.column("tokens").0, DataType::Float64);
}

#[test]
fn a_conflict_with_main_is_reported_with_file_column_and_both_types() {
    let f = Fixture::new();
    f.legacy_with(
        "increment_1.parquet",
        "a",
        ("tokens", Arc::new(Int64Array::from(vec![1]))),
    );
    f.merged();
    f.legacy_with(
        "increment_2.parquet",
        "b",
        ("tokens", Arc::new(StringArray::from(vec!["many"]))),
    );
    f.increment("increment_3.parquet", &batch(&[record("c", true, 1)]));
    let done = f.merged();
    assert_eq!((done.rows_total, done.skipped.len()), (2, 1));
    assert_eq!(
        (done.skipped[0].file.as_str(), done.skipped[0].kind),
        ("increment_2.parquet", SkipKind::Conflict)
    );
    let FileState::Conflict(sentence) = &f.seen().waiting[0].state else {
        panic!()
    };
    for reported in [&done.skipped[0].reason, sentence] {
        for part in [
            "increment_2.parquet",
            "'tokens'",
            "text",
            "int64",
            "test_results.parquet",
        ] {
            assert!(reported.contains(part), "{part} in {reported}");
        }
    }
    // A canonical column that holds what it can't hold.
    f.legacy_with(
        "increment_4.parquet",
        "d",
        ("turns", Arc::new(StringArray::from(vec!["few"]))),
    );
    assert_eq!(f.merged().skipped.len(), 2);
    let report = check(&f.store, f.now, &Control::default()).unwrap();
    assert_eq!(
        report
            .findings
            .iter()
            .filter(|finding| finding.level == Level::Warning)
            .count(),
        2
    );
}

/// One writer gives a column a number in one segment and a text in the next.
#[test]
fn segments_of_one_writer_that_disagree_are_reported_and_nothing_is_lost() {
    let f = Fixture::new();
    let options = WriterOptions {
        segment_rows: 1,
        ..WriterOptions::default()
    };
    let mut writer = Writer::open(&f.store, options).unwrap();
    for (id, value) in [("a", json!(1)), ("b", json!("text")), ("c", json!(2))] {
        writer.append(with(id, &[("note", value)])).unwrap();
    }
    writer.close().unwrap();
    let reported = |f: &Fixture| -> Vec<String> {
        let waiting = f.seen().waiting.into_iter();
        waiting
            .filter_map(|file| {
                if let FileState::Conflict(reported) = file.state {
                    Some(reported)
                } else {
                    None
                }
            })
            .collect()
    };
    let sentences = reported(&f);
    assert_eq!((sentences.len(), f.counted()), (1, 2));
    for part in ["increment_", "'note'", "text", "int64"] {
        assert!(sentences[0].contains(part), "{part} in {}", sentences[0]);
    }
    let done = f.merged();
    assert_eq!((done.rows_total, done.skipped.len()), (2, 1));
    assert_eq!((reported(&f).len(), f.counted()), (1, 2));
    // In one segment the column is text, and all rows go in: mending the file is enough.
    let stays = f.store.layout.incremental().join(&done.skipped[0].file);
    std::fs::rename(&stays, f.store.layout.root().join("aside.parquet")).unwrap();
    let journal = done.skipped[0]
        .file
        .replace("increment_", "journal_")
        .replace(".parquet", ".jsonl");
    let journal = f.store.layout.incremental().join(journal);
    let text =
        std::fs::read_to_string(&journal).expect("the journal stays until its rows are in main");
    std::fs::write(&journal, text.replace("\"note\":\"text\"", "\"note\":3")).unwrap();
    let done = f.merged();
    assert_eq!(
        (done.rows_total, done.skipped.len(), f.counted()),
        (3, 0, 3)
    );
}
