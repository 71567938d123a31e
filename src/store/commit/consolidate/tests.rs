use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use jiff::SignedDuration;
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;

use super::*;
use crate::store::aggregate::increment_digest::{IncrementDigest, passed_over};
use crate::store::commit::log;
use crate::store::format::commit_record;
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::layout::{journal_name, stem};
use crate::store::format::record::{Record, to_batch};
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot::Scanner;
use crate::store::threads::with_cores;
use crate::store::write::increment;
use crate::store::write::increment::Stems;
use crate::store::write::journal::{Journal, to_lines};
use crate::store::write::writer::{Writer, WriterOptions};

/// As legacy writers name their files.
const NAME: &str = "increment_7_20260131_120000.parquet";

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
    stems: Stems,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::new(folder.path());
    store.zone = jiff::tz::TimeZone::UTC;
    store
        .disk
        .create_folder(&store.layout.incremental())
        .unwrap();
    let stems = Stems::new(&*store.disk, Timestamp::now());
    Fixture {
        _folder: folder,
        store,
        stems,
    }
}

fn record(id: &str, time: i64) -> Record {
    Record {
        test_id: Some(id.to_owned()).filter(|id| !id.is_empty()),
        model: "m".into(),
        success: Some(true),
        timestamp: Some(time),
        ..Record::default()
    }
}

impl Fixture {
    fn increment(&mut self, records: &[Record]) -> String {
        let batch = to_batch(records).unwrap();
        let stem = self.stems.next_stem();
        increment::publish(&self.store, &stem, &batch.schema(), [Ok(batch)])
            .unwrap()
            .name
    }

    /// A file as legacy code writes it: in place, under any name.
    fn legacy(&self, name: &str, columns: Vec<(&str, ArrayRef)>) -> PathBuf {
        let path = self.store.layout.incremental().join(name);
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }

    /// The same, and still open for writing.
    fn held(&self, name: &str, columns: Vec<(&str, ArrayRef)>) -> std::fs::File {
        std::fs::OpenOptions::new()
            .append(true)
            .open(self.legacy(name, columns))
            .unwrap()
    }

    fn run(&self) -> Outcome {
        self.run_at(Timestamp::now())
    }

    fn run_at(&self, now: Timestamp) -> Outcome {
        run(&self.store, &Options::default(), now, &Control::default()).unwrap()
    }

    fn main(&self) -> ParquetFile {
        ParquetFile::open(&*self.store.disk, &self.store.layout.main()).unwrap()
    }

    /// `test_id`s of main with their times, sorted.
    fn rows(&self) -> Vec<(Option<String>, Option<i64>)> {
        let mut rows = Vec::new();
        for batch in self.main().batches(None, 0).unwrap() {
            let batch = batch.unwrap();
            let ids = batch["test_id"].as_string::<i32>();
            let times =
                batch["timestamp"].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            rows.extend(
                ids.iter()
                    .zip(times.iter())
                    .map(|(id, time)| (id.map(reported), time)),
            );
        }
        rows.sort();
        rows
    }

    fn ids(&self) -> Vec<String> {
        self.rows()
            .into_iter()
            .map(|(id, _)| id.unwrap_or_default())
            .collect()
    }

    fn names(&self) -> Vec<String> {
        let entries = self
            .store
            .disk
            .list(&self.store.layout.incremental())
            .unwrap();
        let mut names: Vec<_> = entries.into_iter().map(|entry| entry.name).collect();
        names.retain(|name| name != crate::store::format::layout::CONSUMED);
        names.sort();
        names
    }

    fn commit(&self) -> CommitRecord {
        CommitRecord::of(&self.main()).unwrap().unwrap()
    }
}

fn batch(ids: &[&str]) -> Vec<(&'static str, ArrayRef)> {
    vec![
        (
            "test_id",
            Arc::new(StringArray::from(ids.to_vec())) as ArrayRef,
        ),
        ("model", Arc::new(StringArray::from(vec!["m"; ids.len()]))),
        (
            "success",
            Arc::new(arrow::array::BooleanArray::from(vec![true; ids.len()])),
        ),
    ]
}

fn later(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

#[test]
fn increments_go_into_main_and_away() {
    let mut f = fixture();
    f.increment(&[record("a", 1), record("b", 2)]);
    f.increment(&[record("c", 3)]);
    let done = f.run();
    assert_eq!(
        (
            done.increments_merged,
            done.rows_added,
            done.rows_total,
            done.generation
        ),
        (2, 3, 3, 1)
    );
    assert_eq!((done.backup, done.commits), (None, 1));
    assert_eq!(f.ids(), ["a", "b", "c"]);
    assert!(f.names().is_empty());
    f.increment(&[record("d", 4)]);
    let done = f.run();
    assert_eq!(
        (done.rows_added, done.rows_total, done.generation),
        (1, 4, 2)
    );
    assert!(done.backup.is_some());
    let commit = f.commit();
    assert_eq!(
        (commit.generation, commit.rows, commit.consumed.len()),
        (2, 4, 1)
    );
    assert_eq!(log::newest_done(&f.store).unwrap().unwrap(), commit);
    assert_eq!(log::list(&f.store).unwrap().len(), 2);
    assert_eq!(
        f.run(),
        Outcome {
            rows_total: 4,
            generation: 2,
            ..Outcome::default()
        }
    );
}

#[test]
fn the_newest_attempt_counts_and_repeats_are_counted_apart() {
    let mut f = fixture();
    f.increment(&[
        record("a", 1),
        record("a", 1),
        record("b", 1),
        record("", 1),
        record("", 1),
    ]);
    let done = f.run();
    assert_eq!(
        (done.rows_added, done.rows_repeated, done.rows_superseded),
        (4, 1, 0)
    );
    f.increment(&[record("a", 2), record("b", 0), record("b", 1)]);
    let done = f.run();
    assert_eq!(
        (
            done.rows_added,
            done.rows_repeated,
            done.rows_superseded,
            done.rows_total
        ),
        (1, 1, 2, 4)
    );
    let a = |id: &str, time| (Some(id.to_owned()), Some(time));
    assert_eq!(f.rows(), [a("", 1), a("", 1), a("a", 2), a("b", 1)]);
    assert_eq!((f.commit().superseded, f.commit().repeated), (2, 2));
}

#[test]
fn new_rows_are_sorted_by_the_dimensions() {
    let mut f = fixture();
    let of = |model: &str, time| Record {
        model: model.into(),
        ..record(&format!("{model}{time}"), time)
    };
    f.increment(&[of("b", 1), of("a", 2)]);
    f.increment(&[of("a", 1), of("c", 1)]);
    f.run();
    let batch = f.main().batches(None, 0).unwrap().next().unwrap().unwrap();
    let ids: Vec<_> = batch["test_id"]
        .as_string::<i32>()
        .iter()
        .flatten()
        .collect();
    assert_eq!(ids, ["a1", "a2", "b1", "c1"]);
}

#[test]
fn a_dead_writers_journal_is_recovered_and_a_live_ones_is_left() {
    let f = fixture();
    let mut dead = Writer::open(&f.store, WriterOptions::default()).unwrap();
    dead.append(record("a", 1)).unwrap();
    let journal = f.names().remove(0);
    let content = std::fs::read(f.store.layout.incremental().join(&journal)).unwrap();
    dead.close().unwrap();
    // As kill -9 leaves it: no increment, and half a line.
    let increment = increment_of(&journal);
    std::fs::remove_file(f.store.layout.incremental().join(increment)).unwrap();
    std::fs::write(
        f.store.layout.incremental().join(&journal),
        [&content[..], b"{\"mod"].concat(),
    )
    .unwrap();
    let mut live = Writer::open(&f.store, WriterOptions::default()).unwrap();
    live.append(record("b", 1)).unwrap();
    let planned = plan(&f.store, &Options::default(), Timestamp::now()).unwrap();
    assert_eq!((planned.journals.len(), planned.rows), (1, 1));
    let done = f.run();
    assert_eq!((done.journals_recovered, done.rows_added), (1, 1));
    assert_eq!(f.ids(), ["a"]);
    assert_eq!(f.names().len(), 1, "{:?}", f.names());
    live.close().unwrap();
    f.run();
    assert_eq!(f.ids(), ["a", "b"]);
    assert!(f.names().is_empty());
}

fn increment_of(journal: &str) -> String {
    crate::store::format::layout::increment_name(stem(journal).unwrap())
}

#[test]
fn the_journal_of_a_writer_that_lives_stays_and_is_not_counted_again() {
    let f = fixture();
    let mut writer = Writer::open(&f.store, WriterOptions::default()).unwrap();
    writer.append(record("a", 1)).unwrap();
    writer.publish().unwrap();
    for _ in 0..3 {
        f.run();
        assert_eq!(f.ids(), ["a"]);
    }
    assert_eq!(f.names().len(), 1);
    assert_eq!(f.commit().consumed.len(), 1);
    writer.append(record("b", 1)).unwrap();
    writer.close().unwrap();
    f.run();
    assert_eq!(f.ids(), ["a", "b"]);
    assert!(f.names().is_empty());
}

#[test]
fn an_increment_that_legacy_code_deleted_comes_back_from_its_journal() {
    let f = fixture();
    let mut writer = Writer::open(&f.store, WriterOptions::default()).unwrap();
    writer.append(record("a", 1)).unwrap();
    writer.close().unwrap();
    let journal = f
        .names()
        .into_iter()
        .find(|name| name.starts_with("journal_"))
        .unwrap();
    std::fs::remove_file(f.store.layout.incremental().join(increment_of(&journal))).unwrap();
    f.run();
    assert_eq!(f.ids(), ["a"]);
}

#[test]
fn what_cannot_go_in_stays_and_is_named() {
    let mut f = fixture();
    f.increment(&[Record {
        extra: [("note".to_owned(), "x".into())].into_iter().collect(),
        ..record("a", 1)
    }]);
    f.run();
    f.increment(&[Record {
        extra: [("note".to_owned(), 1.into())].into_iter().collect(),
        ..record("b", 1)
    }]);
    f.increment(&[record("c", 1)]);
    let incremental = f.store.layout.incremental();
    std::fs::write(
        incremental.join("increment_torn.parquet"),
        b"PAR1 but nothing that ends well",
    )
    .unwrap();
    std::fs::write(incremental.join("increment_empty.parquet"), b"").unwrap();
    let mut summary = batch(&["x"]);
    summary[0] = ("total", Arc::new(Int64Array::from(vec![9])));
    summary[2] = ("success", Arc::new(Int64Array::from(vec![5])));
    f.legacy("increment_summary.parquet", summary);
    let kinds = |done: &Outcome| done.skipped.iter().map(|s| s.kind).collect::<Vec<_>>();
    let done = f.run();
    assert_eq!(f.ids(), ["a", "c"]);
    assert_eq!(
        kinds(&done),
        [
            SkipKind::Conflict,
            SkipKind::InProgress,
            SkipKind::InProgress
        ]
    );
    assert_eq!((done.summaries_moved, done.rows_added), (1, 1));
    assert!(
        done.skipped[0].reason.contains("'note'"),
        "{}",
        done.skipped[0].reason
    );
    let done = f.run_at(later(100));
    assert_eq!(kinds(&done), [SkipKind::Conflict, SkipKind::Unreadable]);
    assert_eq!((done.commits, f.names().len()), (0, 3));
}

#[test]
fn a_main_of_summary_rows_is_left_alone() {
    let mut f = fixture();
    let mut summary = batch(&["x"]);
    summary[0] = ("total", Arc::new(Int64Array::from(vec![9])));
    summary[2] = ("success", Arc::new(Int64Array::from(vec![5])));
    let path = f.legacy("main", summary);
    std::fs::rename(path, f.store.layout.main()).unwrap();
    let name = f.increment(&[record("a", 1)]);
    let before = std::fs::read(f.store.layout.main()).unwrap();
    let done = f.run();
    assert_eq!((done.commits, done.skipped.len()), (0, 1));
    assert!(done.skipped[0].reason.contains("summary rows"));
    assert_eq!(std::fs::read(f.store.layout.main()).unwrap(), before);
    assert_eq!(f.names(), [name]);
}

#[test]
fn a_legacy_file_is_an_append_only_list() {
    let f = fixture();
    let writer = f.held(NAME, batch(&["a", "", ""]));
    assert_eq!(f.run().rows_added, 3);
    // It stays while its writer may still hold it, and counts no second time.
    assert_eq!((f.names(), f.run().commits), (vec![NAME.to_owned()], 0));
    // Rewritten in place with more rows, in other types.
    let dictionary: arrow::array::DictionaryArray<arrow::datatypes::Int8Type> =
        ["a", "", "", "d", ""].into_iter().collect();
    let mut more = batch(&["a", "", "", "d", ""]);
    more[0] = ("test_id", Arc::new(dictionary));
    f.legacy(NAME, more);
    assert_eq!(f.run().rows_added, 2);
    assert_eq!(f.ids(), ["", "", "", "a", "d"]);
    // Nobody has it open, and it was quiet for a minute: it goes.
    drop(writer);
    assert_eq!(f.run_at(later(100)).commits, 0);
    assert!(f.names().is_empty());
    // It comes back with the old rows in it: only the new one counts.
    f.legacy(NAME, batch(&["a", "", "", "d", "", ""]));
    assert_eq!(f.run_at(later(200)).rows_added, 1);
    // And as a new list: rows that say what earlier ones said, without a time or an id, are those.
    f.legacy(NAME, batch(&["", "", "e"]));
    assert_eq!(f.run().rows_added, 1);
    assert_eq!(f.main().rows(), 7);
}

#[test]
fn a_journal_that_somebody_else_consolidates_while_we_plan_is_left_out() {
    let f = fixture();
    let stem = "1_20260131_120000_h_0a_0";
    let mut journal =
        crate::store::write::journal::Journal::create(&*f.store.disk, &f.store.layout, stem)
            .unwrap();
    journal
        .append(b"{\"model\":\"m\",\"success\":true}\n", 1, false)
        .unwrap();
    let path = journal.path().to_path_buf();
    assert_eq!(super::journal_rows(&f.store, &path, 0).unwrap(), Some(1));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(super::journal_rows(&f.store, &path, 0).unwrap(), None);
}

const RETIRED: &str = "increment_retired_7_20260131_120000.parquet";

/// The writer had its file open when that was retired, wrote on into it, and then
/// made it again with all of its rows.
#[test]
fn a_legacy_file_that_is_there_twice_counts_once() {
    let f = fixture();
    f.legacy(NAME, batch(&["", "a"]));
    assert_eq!(f.run().rows_added, 2);
    f.legacy(RETIRED, batch(&["", "a", "", "b"]));
    f.legacy(NAME, batch(&["", "a", "", "b", "", "c"]));
    assert_eq!(f.run().rows_added, 4);
    assert_eq!(f.ids(), ["", "", "", "a", "b", "c"]);
    // Whichever of the two comes back as it was, nothing is new.
    for (name, rows) in [
        (RETIRED, &["", "a", "", "b"][..]),
        (NAME, &["", "a", "", "b"]),
        (NAME, &["", "a"]),
    ] {
        f.legacy(name, batch(rows));
        assert_eq!(f.run_at(later(90)).rows_added, 0, "{name} {rows:?}");
    }
    assert_eq!(f.main().rows(), 6);
}

/// Who had opened the retired file may keep it for long, while the new one has one version
/// after another.
#[test]
fn a_retired_file_that_stays_is_known_however_often_the_new_one_changes() {
    let f = fixture();
    f.legacy(NAME, batch(&["", ""]));
    assert_eq!(f.run().rows_added, 2);
    let _writer = f.held(RETIRED, batch(&["", ""]));
    for rows in 3..20 {
        f.legacy(NAME, batch(&vec![""; rows]));
        assert_eq!(f.run().rows_added, 1, "{rows} rows");
    }
    assert_eq!(f.main().rows(), 19);
}

#[test]
fn repeated_tests_in_a_main_of_other_code_are_resolved() {
    let mut f = fixture();
    let times = |times: Vec<i64>| -> ArrayRef {
        Arc::new(arrow::array::TimestampMicrosecondArray::from(times).with_timezone("UTC"))
    };
    let mut rows = batch(&["a", "b", "a", "a", "", "c", "c"]);
    rows.push(("timestamp", times(vec![1, 1, 3, 2, 0, 5, 5])));
    let path = f.legacy("main", rows);
    std::fs::rename(path, f.store.layout.main()).unwrap();
    f.increment(&[record("b", 2)]);
    let done = f.run();
    assert_eq!(
        (
            done.rows_added,
            done.rows_superseded,
            done.rows_repeated,
            done.rows_total
        ),
        (1, 3, 1, 4)
    );
    let row = |id: &str, time| (Some(id.to_owned()), Some(time));
    assert_eq!(
        f.rows(),
        [row("", 0), row("a", 3), row("b", 2), row("c", 5)]
    );
}

#[test]
fn a_main_rewritten_with_our_record_in_it_is_other_codes_all_the_same() {
    let mut f = fixture();
    f.increment(&[record("a", 1)]);
    f.run();
    let main = f.main();
    let kept = main.key_value(commit_record::KEY).unwrap().to_owned();
    let all = main.batches(None, 0).unwrap().next().unwrap().unwrap();
    let file = std::fs::File::create(f.store.layout.main()).unwrap();
    let mut writer = ArrowWriter::try_new(file, all.schema(), None).unwrap();
    writer.write(&all).unwrap();
    writer.write(&all).unwrap();
    writer.append_key_value_metadata(KeyValue::new(commit_record::KEY.to_owned(), kept));
    writer.close().unwrap();
    let seen = Scanner::new()
        .scan(&f.store, Timestamp::now(), &Control::default())
        .unwrap();
    assert_eq!(seen.cells.values().map(|tally| tally.tests).sum::<u64>(), 1);
    f.increment(&[record("b", 1)]);
    assert_eq!(f.run().rows_total, 2);
    assert_eq!(f.ids(), ["a", "b"]);
}

#[test]
fn a_main_that_other_code_rewrote_inherits_the_last_commit() {
    let mut f = fixture();
    f.increment(&[record("a", 1)]);
    f.legacy(NAME, batch(&["", ""]));
    f.run();
    let all = f.main().batches(None, 0).unwrap().next().unwrap().unwrap();
    let rewrite = |rows: &RecordBatch| {
        let file = std::fs::File::create(f.store.layout.main()).unwrap();
        let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
        writer.write(rows).unwrap();
        writer.close().unwrap();
    };
    rewrite(&all);
    // Nothing says any more what main contains: all that is there is read again, once.
    let done = f.run();
    assert_eq!((done.commits, done.rows_added, done.rows_total), (1, 0, 3));
    assert_eq!(f.run().commits, 0);
    rewrite(&all);
    let mut more = batch(&["", "", "b"]);
    more.truncate(3);
    f.legacy(NAME, more);
    let done = f.run();
    assert_eq!((done.rows_added, done.generation), (1, 3));
    assert_eq!(f.ids(), ["", "", "a", "b"]);
    // Fewer rows than the last commit left, and nothing brings them back: nothing happens until
    // reported.
    rewrite(&all.slice(0, 1));
    for folder in std::fs::read_dir(f.store.layout.consumed()).unwrap() {
        let folder = folder.unwrap().path();
        std::fs::remove_dir_all(&folder).unwrap();
        std::fs::create_dir(&folder).unwrap();
    }
    std::fs::remove_file(f.store.layout.incremental().join(NAME)).unwrap();
    f.legacy("increment_8_20260131_120000.parquet", batch(&["e"]));
    let error = run(
        &f.store,
        &Options::default(),
        Timestamp::now(),
        &Control::default(),
    )
    .unwrap_err();
    assert!(error.to_string().contains("--accept-main"), "{error}");
    assert!(
        error
            .to_string()
            .contains("lacks 3 tests that the last commit had"),
        "{error}"
    );
    let accept = Options {
        accept_main: true,
        ..Options::default()
    };
    let done = run(&f.store, &accept, Timestamp::now(), &Control::default()).unwrap();
    assert_eq!(
        (done.rows_added, done.rows_total, done.generation),
        (1, 2, 4)
    );
}

#[test]
fn what_a_crashed_commit_left_is_finished() {
    let mut f = fixture();
    let first = f.increment(&[record("a", 1)]);
    let kept = std::fs::read(f.store.layout.incremental().join(&first)).unwrap();
    f.run();
    // Before the rename: a temporary file and an announcement.
    let record_of = f.commit();
    let next = CommitRecord {
        generation: 2,
        commit_id: "dead".into(),
        ..record_of.clone()
    };
    log::announce(&f.store, &next).unwrap();
    std::fs::write(
        f.store.layout.root().join(".test_results.dead.tmp"),
        b"half",
    )
    .unwrap();
    // Between link and rename: a backup that is main's own file.
    f.store
        .disk
        .create_folder(&f.store.layout.backups())
        .unwrap();
    let own = f
        .store
        .layout
        .backups()
        .join("test_results_20260131_120000.parquet");
    std::fs::hard_link(f.store.layout.main(), &own).unwrap();
    // After the rename: a consumed increment is still there.
    std::fs::write(f.store.layout.incremental().join(&first), kept).unwrap();
    assert_eq!(f.run().commits, 0);
    assert!(
        !own.exists()
            && !f
                .store
                .layout
                .root()
                .join(".test_results.dead.tmp")
                .exists()
    );
    assert_eq!((f.names().len(), f.ids()), (0, vec!["a".to_owned()]));
    assert!(
        log::list(&f.store)
            .unwrap()
            .iter()
            .all(|copy| copy.commit_id == f.commit().commit_id)
    );
    // After the rename and before its folder is made.
    std::fs::remove_dir_all(f.store.layout.consumed()).unwrap();
    f.run();
    assert_eq!(log::newest_done(&f.store).unwrap(), Some(record_of));
}

#[test]
fn nothing_changes_when_it_is_cancelled_or_fails() {
    let mut f = fixture();
    f.increment(&[record("a", 1)]);
    f.run();
    let name = f.increment(&[record("b", 1)]);
    let before = f.main().stat();
    let control = Control::default();
    control.cancel();
    let error = run(&f.store, &Options::default(), Timestamp::now(), &control).unwrap_err();
    assert!(matches!(error, Error::Cancelled));
    assert_eq!((f.main().stat(), f.names()), (before, vec![name]));
    let left: Vec<_> = f.store.disk.list(f.store.layout.root()).unwrap();
    assert!(
        left.iter()
            .all(|entry| !crate::store::format::layout::is_temporary(&entry.name)),
        "{left:?}"
    );
    assert!(
        log::list(&f.store)
            .unwrap()
            .iter()
            .all(|copy| copy.commit_id == f.commit().commit_id)
    );
}

#[test]
fn the_derived_files_say_what_main_holds() {
    let mut f = fixture();
    let failed = Record {
        success: Some(false),
        model: "n".into(),
        ..record("b", 1)
    };
    f.increment(&[record("a", 1), failed]);
    f.run();
    let read = || -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(f.store.layout.metadata()).unwrap()).unwrap()
    };
    let written = read();
    assert_eq!(
        (&written["generation"], &written["totals"]["tests"]),
        (&1.into(), &2.into())
    );
    assert_eq!(written["models"]["m"]["success_rate"], 1.0);
    let stats = ParquetFile::open(&*f.store.disk, &f.store.layout.model_stats()).unwrap();
    assert_eq!(stats.rows(), 2);
    std::fs::remove_file(f.store.layout.metadata()).unwrap();
    rebuild_derived(&f.store, Timestamp::now(), &Control::default()).unwrap();
    assert_eq!(read(), written);
}

#[test]
fn a_journal_without_a_row_of_a_dead_writer_goes() {
    let f = fixture();
    let name = journal_name("1_20260131_120000_h_0a_0");
    std::fs::write(f.store.layout.incremental().join(&name), b"").unwrap();
    // Its writer may be about to say that nobody sees its lock.
    f.run_at(later(14 * 60));
    assert_eq!(f.names(), [name]);
    f.run_at(later(16 * 60));
    assert!(f.names().is_empty());
}

#[test]
fn the_parts_of_a_journal_count_each_row_once_and_its_id_stays() {
    let mut f = fixture();
    let seen = |f: &Fixture| -> u64 {
        let view = Scanner::new().scan(&f.store, Timestamp::now(), &Control::default());
        view.unwrap().cells.values().map(|tally| tally.tests).sum()
    };
    let ids = |f: &Fixture| -> std::collections::BTreeSet<String> {
        let batches = f.main().batches(None, 0).unwrap();
        let texts = batches.flat_map(|batch| {
            let texts = batch.unwrap()["test_id"].as_string::<i32>().clone();
            texts
                .iter()
                .map(|id| id.unwrap().to_owned())
                .collect::<Vec<_>>()
        });
        texts.collect()
    };
    let stem = f.stems.next_stem();
    let mut journal = Journal::create(&*f.store.disk, &f.store.layout, &stem).unwrap();
    // All alike, and no id hides a double.
    let add = |journal: &mut Journal| {
        let rows = [record("", 1), record("", 1)];
        let lines = to_lines(&rows).unwrap();
        journal.append(&lines, 2, false).unwrap();
    };
    add(&mut journal);
    increment::recover_journal(&f.store, &journal_name(&stem), 0, false).unwrap();
    assert_eq!(seen(&f), 2);
    add(&mut journal);
    assert_eq!(seen(&f), 4, "the others are read from where the part ends");
    f.run();
    let first = ids(&f);
    assert_eq!((first.len(), f.main().rows(), seen(&f)), (2, 2, 4));
    add(&mut journal);
    journal.seal();
    let whole = increment::publish_journal(&f.store, &journal, None).unwrap();
    assert_eq!(whole.map(|whole| whole.rows), Some(6));
    assert_eq!(seen(&f), 6, "main has its first two");
    f.run();
    let all = ids(&f);
    assert_eq!((all.len(), f.main().rows(), seen(&f)), (6, 6, 6));
    assert!(first.is_subset(&all));
    drop(journal);
    f.run();
    assert!(f.names().is_empty(), "{:?}", f.names());
    assert_eq!((ids(&f), f.main().rows(), seen(&f)), (all, 6, 6));
}

#[test]
fn legacy_writers_that_rewrite_their_files_meanwhile_lose_no_row() {
    const ROWS: usize = 60;
    let f = fixture();
    let names = [
        "increment_7_20260131_120000.parquet",
        "increment_8_20260131_120000.parquet",
    ];
    std::thread::scope(|scope| {
        let writers: Vec<_> = names
            .iter()
            .map(|name| {
                let f = &f;
                // The whole list again with each row, in place; no row has an id.
                scope.spawn(move || {
                    for rows in 1..=ROWS {
                        f.legacy(name, batch(&vec![""; rows]));
                        std::thread::sleep(std::time::Duration::from_millis(7));
                    }
                })
            })
            .collect();
        while !writers
            .iter()
            .all(std::thread::ScopedJoinHandle::is_finished)
        {
            match run(
                &f.store,
                &Options::default(),
                Timestamp::now(),
                &Control::default(),
            ) {
                Ok(done) => assert!(
                    done.skipped.iter().all(|s| s.kind == SkipKind::InProgress),
                    "{done:?}"
                ),
                Err(error) => assert!(matches!(error, Error::Unstable { .. }), "{error}"),
            }
        }
    });
    f.run();
    assert_eq!(f.main().rows(), 2 * ROWS as u64);
    assert!(f.commit().generation > 1, "nothing was merged meanwhile");
}

/// An id; of a row that brought none the empty text, for it differs from store to store.
fn reported(id: &str) -> String {
    Some(id)
        .filter(|id| !crate::store::format::is_derived(id))
        .unwrap_or_default()
        .to_owned()
}

/// Main's rows, sorted: id and hash of all values.
fn sorted_rows(f: &Fixture) -> Vec<(Option<String>, u128)> {
    let mut rows = Vec::new();
    for batch in f.main().batches(None, 0).unwrap() {
        let batch = batch.unwrap();
        let hashes = crate::store::row_hashes(&batch, &jiff::tz::TimeZone::UTC).unwrap();
        let hashes = hashes.into_iter().map(|row| row.hash);
        rows.extend(
            batch["test_id"]
                .as_string::<i32>()
                .iter()
                .map(|id| id.map(reported))
                .zip(hashes),
        );
    }
    rows.sort();
    rows
}

mod row_groups;

#[test]
fn more_files_than_one_commit_names_are_several_commits() {
    let mut f = fixture();
    for at in 0..130 {
        f.increment(&[record(&format!("t{at}"), 1)]);
    }
    let done = f.run();
    assert_eq!(
        (done.commits, done.increments_merged, done.rows_total),
        (2, 130, 130)
    );
    assert!(f.names().is_empty());
}

/// Increments say nothing of rows of before 2000.
const NEW_YEAR: i64 = 1_767_225_600_000_000;

#[test]
fn keys_that_increments_report_are_those_of_their_rows() {
    let merged = |reported: bool| {
        let mut fixture = fixture();
        fixture.increment(&[
            record("a", NEW_YEAR + 1),
            record("b", NEW_YEAR + 2),
            record("c", NEW_YEAR + 3),
        ]);
        fixture.run();
        // A later attempt, an earlier one, a repeated row, a new one, and an attempt at that.
        let first = [
            record("b", NEW_YEAR + 5),
            record("c", NEW_YEAR + 1),
            record("a", NEW_YEAR + 1),
            record("d", NEW_YEAR + 4),
        ];
        let names = [
            fixture.increment(&first),
            fixture.increment(&[record("d", NEW_YEAR + 7)]),
        ];
        for name in names {
            let path = fixture.store.layout.incremental().join(&name);
            let file = ParquetFile::open(&*fixture.store.disk, &path).unwrap();
            assert!(IncrementDigest::keys(&file, &name).is_some());
        }
        let run = || fixture.run();
        let done = if reported { run() } else { passed_over(run) };
        let counts = (done.rows_added, done.rows_superseded, done.rows_repeated);
        (counts, fixture.rows())
    };
    // Threads of their own would know nothing of it.
    let (reported, read) = with_cores(1, || (merged(true), merged(false)));
    assert_eq!(reported, read);
    assert_eq!(reported.0, (2, 3, 1));
}

#[test]
fn an_increment_whose_rows_are_damaged_is_left_out_although_it_reports_its_keys() {
    let mut fixture = fixture();
    let damaged = fixture.increment(&[record("a", NEW_YEAR + 1), record("b", NEW_YEAR + 2)]);
    fixture.increment(&[record("c", NEW_YEAR + 3)]);
    let path = fixture.store.layout.incremental().join(&damaged);
    let mut bytes = std::fs::read(&path).unwrap();
    let file = ParquetFile::open(&*fixture.store.disk, &path).unwrap();
    let (start, length) = file.metadata().row_group(0).column(0).byte_range();
    bytes[start as usize..(start + length) as usize].fill(0xff);
    assert!(IncrementDigest::keys(&file, &damaged).is_some());
    std::fs::write(&path, bytes).unwrap();
    let done = fixture.run();
    assert_eq!((done.rows_added, fixture.ids()), (1, vec!["c".to_owned()]));
    let skipped: Vec<&str> = done.skipped.iter().map(|file| file.file.as_str()).collect();
    assert_eq!(skipped, [damaged.as_str()]);
    assert!(path.exists());
}
