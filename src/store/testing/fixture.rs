//! Stores for tests: real folders with what legacy code and ours write into them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float32Array, Int32Array, RecordBatch, StringArray,
};
use arrow::datatypes::Int8Type;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use crate::store::format::commit_record;
use crate::store::format::commit_record::{CommitRecord, Consumed};
use crate::store::format::record;
use crate::store::parquet::row_group_copy;
use crate::store::write::journal;
use crate::store::{Record, Store};

/// A store in a folder that goes away with it.
pub(crate) struct Fixture {
    _folder: tempfile::TempDir,
    pub(crate) store: Store,
    pub(crate) now: Timestamp,
}

pub(crate) const STEM: &str = "12_20260131_120000_host_0a1b_0";
pub(crate) const LEGACY: &str = "increment_7_20260131_120000.parquet";

impl Fixture {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store {
            zone: TimeZone::UTC,
            ..Store::new(folder.path())
        };
        fs::create_dir(store.layout.incremental()).unwrap();
        Self {
            _folder: folder,
            store,
            now: Timestamp::now(),
        }
    }

    pub(crate) fn increment(&self, name: &str, batch: &RecordBatch) {
        write(
            &self.store.layout.incremental().join(name),
            std::slice::from_ref(batch),
            None,
        );
    }

    pub(crate) fn main(&self, batch: &RecordBatch, consumed: Option<Vec<Consumed>>) {
        self.main_in_groups(std::slice::from_ref(batch), consumed);
    }

    /// Main with a row group for each batch; without `consumed` as other code writes it.
    pub(crate) fn main_in_groups(&self, groups: &[RecordBatch], consumed: Option<Vec<Consumed>>) {
        let commit = consumed.map(|consumed| CommitRecord {
            lineage: Vec::new(),
            rewritten: None,
            format1: Vec::new(),
            format: commit_record::FORMAT,
            store: "s".into(),
            generation: 3,
            commit_id: "c".into(),
            parent_id: None,
            created: self.now,
            zone: "UTC".into(),
            rows: groups.iter().map(|group| group.num_rows() as u64).sum(),
            summaries: Vec::new(),
            removed: None,
            superseded: 10,
            repeated: 20,
            consumed,
        });
        write(
            &self.store.layout.main(),
            groups,
            commit.map(|commit| commit.to_json().unwrap()),
        );
    }

    /// Main with this record, whatever it says.
    pub(crate) fn main_with(&self, batch: &RecordBatch, record: &CommitRecord) {
        write(
            &self.store.layout.main(),
            std::slice::from_ref(batch),
            Some(record.to_json().unwrap()),
        );
    }

    pub(crate) fn journal(&self, stem: &str, records: &[Record]) -> journal::Journal {
        let mut journal =
            journal::Journal::create(&*self.store.disk, &self.store.layout, stem).unwrap();
        journal
            .append(
                &journal::to_lines(records).unwrap(),
                records.len() as u64,
                false,
            )
            .unwrap();
        journal
    }
}

fn write(path: &Path, groups: &[RecordBatch], commit: Option<String>) {
    let temporary = path.with_extension("writing");
    // With a commit record it is a main of ours.
    let by = commit
        .as_ref()
        .map_or("other code", |_| row_group_copy::CREATED_BY);
    let properties = WriterProperties::builder()
        .set_created_by(by.to_owned())
        .build();
    let file = fs::File::create(&temporary).unwrap();
    let mut writer = ArrowWriter::try_new(file, groups[0].schema(), Some(properties)).unwrap();
    for group in groups {
        writer.write(group).unwrap();
        writer.flush().unwrap();
    }
    if let Some(commit) = commit {
        writer.append_key_value_metadata(KeyValue::new(commit_record::KEY.to_owned(), commit));
    }
    writer.close().unwrap();
    fs::rename(temporary, path).unwrap();
}

pub(crate) fn record(id: &str, success: bool, timestamp: i64) -> Record {
    Record {
        test_id: Some(id.to_owned()),
        model: "m".into(),
        success: Some(success),
        timestamp: Some(timestamp),
        ..Record::default()
    }
}

pub(crate) fn records(from: i64, to: i64) -> Vec<Record> {
    (from..to)
        .map(|at| record(&format!("t{at}"), at % 2 == 0, at * 1_000_000))
        .collect()
}

pub(crate) fn batch(records: &[Record]) -> RecordBatch {
    record::to_batch(records).unwrap()
}

/// Records as legacy code writes them: dictionaries, floats, group totals on every row.
pub(crate) fn legacy(models: &[&str], success: &[bool]) -> RecordBatch {
    let n = models.len();
    RecordBatch::try_from_iter([
        (
            "model",
            Arc::new(
                models
                    .iter()
                    .copied()
                    .collect::<DictionaryArray<Int8Type>>(),
            ) as ArrayRef,
        ),
        (
            "tool_success_rate",
            Arc::new(Float32Array::from(vec![0.8; n])),
        ),
        ("total", Arc::new(Int32Array::from(vec![60; n]))),
        ("success", Arc::new(BooleanArray::from(success.to_vec()))),
        (
            "timestamp",
            Arc::new(StringArray::from(vec!["2026-01-31T12:00:00"; n])),
        ),
    ])
    .unwrap()
}
