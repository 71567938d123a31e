//! What legacy writers do to their files, in any order, between any two scans.

use std::fs;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray,
};
use arrow::datatypes::Int8Type;
use jiff::{SignedDuration, Timestamp};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

use super::{Options, Outcome, SkipKind, plan, prepare, run};
use crate::expr::Expr;
use crate::store::disk::lock::StoreLock;
use crate::store::error::Error;
use crate::store::format::commit_record::KEY;
use crate::store::format::layout::moved_name;
use crate::store::maintain::remove;
use crate::store::maintain::validate::{Level, check};
use crate::store::parquet::ParquetFile;
use crate::store::read::query::Filter;
use crate::store::read::snapshot::Scanner;
use crate::store::testing::fixture::{Fixture, LEGACY, batch, records};
use crate::store::{Control, Record};

/// One thing that happens to the file of a legacy writer.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// More rows, in place.
    Grow(u8),
    /// The same rows in other types, in place.
    Reencode,
    /// More rows, in another file that is renamed over it.
    Replace(u8),
    /// Half of it, as a scan in the middle of writing finds it; then all of it.
    Torn(u8),
    /// A query removes it once it is in main; the next rewrite brings the old rows back.
    Vanish,
    /// More rows, by a writer that had the file open when a commit moved it.
    WriteOn(u8),
    /// Consolidate while the writer may have it open.
    Merge,
    /// Consolidate long after.
    MergeLater,
    /// A dashboard looks.
    Look,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..4_u8).prop_map(Step::Grow),
        Just(Step::Reencode),
        (0..4_u8).prop_map(Step::Replace),
        (0..4_u8).prop_map(Step::Torn),
        Just(Step::Vanish),
        (1..4_u8).prop_map(Step::WriteOn),
        Just(Step::Merge),
        Just(Step::MergeLater),
        Just(Step::Look),
    ]
}

struct Writer {
    fixture: Fixture,
    rows: usize,
    /// Whether each row has an id; else none has.
    ids: bool,
    /// Rows of the last commit.
    merged: usize,
    clock: Timestamp,
    scanner: Scanner,
}

impl Writer {
    fn new(ids: bool) -> Self {
        let fixture = Fixture::new();
        let clock = fixture.now;
        Self {
            fixture,
            rows: 0,
            ids,
            merged: 0,
            clock,
            scanner: Scanner::new(),
        }
    }

    fn batch(&self, plain: bool) -> RecordBatch {
        let ids = (0..self.rows).map(|at| self.ids.then(|| format!("t{at}")));
        let models = vec!["m"; self.rows];
        let models: ArrayRef = if plain {
            Arc::new(StringArray::from(models))
        } else {
            Arc::new(models.into_iter().collect::<DictionaryArray<Int8Type>>())
        };
        let success: Vec<bool> = (0..self.rows).map(|at| at % 3 == 0).collect();
        let success: ArrayRef = Arc::new(BooleanArray::from(success));
        let turns: ArrayRef = if plain {
            Arc::new(
                (0..self.rows)
                    .map(|at| Some(at as f64))
                    .collect::<Float64Array>(),
            )
        } else {
            Arc::new(
                (0..self.rows)
                    .map(|at| Some(at as i32))
                    .collect::<Int32Array>(),
            )
        };
        RecordBatch::try_from_iter_with_nullable([
            (
                "test_id",
                Arc::new(ids.collect::<StringArray>()) as ArrayRef,
                true,
            ),
            ("model", models, true),
            ("success", success, true),
            ("turns", turns, true),
        ])
        .unwrap()
    }

    fn bytes(&self, plain: bool) -> Vec<u8> {
        let batch = self.batch(plain);
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.into_inner().unwrap()
    }

    fn path(&self) -> std::path::PathBuf {
        self.fixture.store.layout.incremental().join(LEGACY)
    }

    /// The file where a commit moved it last.
    fn moved(&self) -> Option<std::path::PathBuf> {
        let folders = fs::read_dir(self.fixture.store.layout.consumed()).ok()?;
        let mut files: Vec<_> = folders
            .map(|folder| folder.unwrap().path().join(moved_name(LEGACY)))
            .filter(|path| path.exists())
            .collect();
        files.sort();
        files.pop()
    }

    fn merge(&mut self, after: i64) -> Outcome {
        self.clock = self
            .clock
            .checked_add(SignedDuration::from_secs(after))
            .unwrap();
        let (options, control) = (Options::default(), Control::default());
        let done = run(&self.fixture.store, &options, self.clock, &control).unwrap();
        if done.skipped.is_empty() {
            self.merged = self.rows;
        }
        done
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Grow(more) => {
                self.rows += usize::from(more);
                fs::write(self.path(), self.bytes(true)).unwrap();
            }
            Step::Reencode if self.rows > 0 => fs::write(self.path(), self.bytes(false)).unwrap(),
            Step::Replace(more) if self.rows > 0 => {
                self.rows += usize::from(more);
                let beside = self.fixture.store.layout.root().join("beside");
                fs::write(&beside, self.bytes(true)).unwrap();
                fs::rename(beside, self.path()).unwrap();
            }
            Step::Torn(more) if self.rows > 0 => {
                self.rows += usize::from(more);
                let whole = self.bytes(true);
                fs::write(self.path(), &whole[..whole.len() / 2]).unwrap();
                let now = Timestamp::now();
                self.scanner
                    .scan(&self.fixture.store, now, &Control::default())
                    .unwrap();
                let done = run(
                    &self.fixture.store,
                    &Options::default(),
                    now,
                    &Control::default(),
                )
                .unwrap();
                assert!(
                    done.skipped
                        .iter()
                        .all(|skipped| skipped.kind == SkipKind::InProgress)
                );
                fs::write(self.path(), whole).unwrap();
            }
            Step::Vanish if self.merged == self.rows => drop(fs::remove_file(self.path())),
            Step::WriteOn(more) => {
                if let Some(moved) = self.moved() {
                    self.rows += usize::from(more);
                    fs::write(moved, self.bytes(true)).unwrap();
                }
            }
            Step::Merge => drop(self.merge(0)),
            Step::MergeLater => drop(self.merge(100)),
            _ => {}
        }
        // Whatever happened: every row counts once, in an eye that was open all along and a new one.
        for scanner in [&mut self.scanner, &mut Scanner::new()] {
            let seen = scanner
                .scan(&self.fixture.store, self.clock, &Control::default())
                .unwrap();
            let tests: u64 = seen.cells.values().map(|tally| tally.tests).sum();
            assert_eq!(tests, self.rows as u64, "after {step:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_row_counts_once_whatever_a_legacy_writer_does(
        ids: bool,
        steps in prop::collection::vec(step(), 1..14),
        often in 0..12_u8,
    ) {
        let mut writer = Writer::new(ids);
        for one in steps {
            writer.step(one);
        }
        for _ in 0..often {
            writer.step(Step::Grow(1));
            writer.step(Step::Merge);
        }
        let done = writer.merge(200);
        prop_assert!(done.skipped.is_empty());
        if writer.rows > 0 {
            prop_assert_eq!(done.rows_total, writer.rows as u64);
        }
    }
}

#[test]
fn a_rewrite_of_the_same_size_in_the_same_instant_is_seen() {
    let mut writer = Writer::new(true);
    writer.rows = 3;
    let first = writer.bytes(true);
    fs::write(writer.path(), &first).unwrap();
    let modified = fs::metadata(writer.path()).unwrap().modified().unwrap();
    writer.step(Step::Look);
    // The same length, other bytes: as if another model's rows.
    let mut other = writer.batch(true).columns().to_vec();
    other[1] = Arc::new(StringArray::from(vec!["n"; 3]));
    let other = RecordBatch::try_new(writer.batch(true).schema(), other).unwrap();
    let mut file = ArrowWriter::try_new(Vec::new(), other.schema(), None).unwrap();
    file.write(&other).unwrap();
    let second = file.into_inner().unwrap();
    assert_eq!(first.len(), second.len());
    fs::write(writer.path(), second).unwrap();
    fs::File::options()
        .append(true)
        .open(writer.path())
        .unwrap()
        .set_modified(modified)
        .unwrap();
    let seen = writer
        .scanner
        .scan(&writer.fixture.store, writer.clock, &Control::default())
        .unwrap();
    let models: Vec<_> = seen
        .cells
        .keys()
        .map(|cell| cell.model.to_string())
        .collect();
    assert_eq!(models, ["n"]);
}

fn merged(f: &Fixture) -> Result<Outcome, Error> {
    run(&f.store, &Options::default(), f.now, &Control::default())
}

fn rows_of_main(f: &Fixture) -> u64 {
    ParquetFile::open(&*f.store.disk, &f.store.layout.main())
        .unwrap()
        .rows()
}

#[test]
fn a_main_that_other_code_rewrites_while_it_holds_the_lock_is_waited_for() {
    let f = Fixture::new();
    f.increment(LEGACY, &batch(&records(0, 3)));
    merged(&f).unwrap();
    f.increment(LEGACY, &batch(&records(0, 5)));
    let held = StoreLock::take(&f.store, "another program", &Control::default()).unwrap();
    assert!(matches!(merged(&f), Err(Error::Locked { .. })));
    f.main(&batch(&records(0, 4)), None);
    drop(held);
    let done = merged(&f).unwrap();
    // t3 was in both, t4 waited.
    assert_eq!((done.rows_total, rows_of_main(&f)), (5, 5));
}

#[test]
fn a_main_that_other_code_rewrites_without_the_lock_stops_the_commit() {
    use crate::store::commit::base::Base;
    use crate::store::commit::transaction::Transaction;
    let f = Fixture::new();
    f.increment(LEGACY, &batch(&records(0, 3)));
    merged(&f).unwrap();
    let base = Base::open(&f.store, false).unwrap();
    let fence = crate::store::commit::fence::Fence::take(&f.store, &Control::default()).unwrap();
    let mut transaction = Transaction::begin(&f.store, &base, fence, f.now);
    fs::copy(f.store.layout.main(), transaction.temporary()).unwrap();
    // In place, in the middle of the commit.
    f.main(&batch(&records(0, 4)), None);
    assert!(matches!(
        transaction.commit(true, &Control::default()),
        Err(Error::MainChanged { .. })
    ));
    drop(transaction);
    f.increment(
        "increment_8_20260131_120000.parquet",
        &batch(&records(4, 6)),
    );
    assert_eq!(merged(&f).unwrap().rows_total, 6);
    let report = check(&f.store, f.now, &Control::default()).unwrap();
    assert!(
        report
            .findings
            .iter()
            .all(|finding| finding.level == Level::Note),
        "{report:?}"
    );
}

#[test]
fn a_main_that_shrank_is_critical_and_consolidate_waits_for_a_remedy() {
    let f = Fixture::new();
    f.increment(LEGACY, &batch(&records(0, 3)));
    merged(&f).unwrap();
    f.main(&batch(&records(0, 2)), None);
    // What it was made of is there no more.
    fs::remove_file(f.store.layout.incremental().join(LEGACY)).unwrap();
    let report = check(&f.store, f.now, &Control::default()).unwrap();
    assert_eq!(report.findings[0].level, Level::Critical);
    assert!(report.findings[0].message.contains("--accept-main"));
    f.increment(
        "increment_8_20260131_120000.parquet",
        &batch(&records(4, 6)),
    );
    assert!(
        merged(&f)
            .unwrap_err()
            .to_string()
            .contains("--accept-main")
    );
    let options = Options {
        accept_main: true,
        ..Options::default()
    };
    let done = run(&f.store, &options, f.now, &Control::default()).unwrap();
    assert_eq!(done.rows_total, 4);
    assert!(merged(&f).is_ok());
}

fn commit(f: &Fixture, name: &str, rows: std::ops::Range<i64>) -> Outcome {
    f.increment(name, &batch(&records(rows.start, rows.end)));
    merged(f).unwrap()
}

fn ours(number: u8) -> String {
    format!("increment_12_20260131_120000_host_0a1b_{number}.parquet")
}

fn tests(f: &Fixture) -> (u64, Vec<String>) {
    let seen = Scanner::new()
        .scan(&f.store, f.now, &Control::default())
        .unwrap();
    let tests = seen.cells.values().map(|tally| tally.tests).sum();
    (tests, seen.notes)
}

/// It read main, we committed, it wrote back what it had read, with more rows than are missing.
#[test]
fn what_other_code_overwrites_comes_back_from_the_folders() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..10);
    commit(&f, &ours(2), 10..15);
    let rows: Vec<_> = records(0, 10).into_iter().chain(records(20, 28)).collect();
    f.main(&batch(&rows), None);
    let (seen, notes) = tests(&f);
    assert_eq!(seen, 23);
    assert!(
        notes
            .iter()
            .any(|note| note.contains("other code wrote main")),
        "{notes:?}"
    );
    let done = merged(&f).unwrap();
    assert_eq!((done.rows_added, done.rows_total), (5, 23));
    let (seen, notes) = tests(&f);
    assert!(
        seen == 23 && notes.iter().all(|note| !note.contains("other code")),
        "{notes:?}"
    );
    // With fewer rows than the last commit left: nothing is lost, so nobody is asked.
    f.main(&batch(&records(0, 3)), None);
    assert_eq!(tests(&f).0, 23);
    assert_eq!(merged(&f).unwrap().rows_total, 23);
}

#[test]
fn an_older_main_of_equal_size_is_noticed_and_lacks_nothing() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..10);
    let older = fs::read(f.store.layout.main()).unwrap();
    commit(&f, &ours(2), 10..12);
    fs::write(f.store.layout.main(), older).unwrap();
    let (seen, notes) = tests(&f);
    assert_eq!(seen, 12);
    assert!(
        notes
            .iter()
            .any(|note| note.contains("main is of commit 1, and commit 2")),
        "{notes:?}"
    );
    let done = merged(&f).unwrap();
    assert_eq!((done.rows_total, done.generation), (12, 3));
    let (seen, notes) = tests(&f);
    assert!(
        seen == 12 && notes.iter().all(|note| !note.contains("main is of")),
        "{notes:?}"
    );
}

#[test]
fn what_an_older_main_lacks_may_lie_in_a_file_that_was_to_move() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..10);
    let older = fs::read(f.store.layout.main()).unwrap();
    let path = f.store.layout.incremental().join(LEGACY);
    let write = |rows: std::ops::Range<i64>| {
        f.increment(LEGACY, &batch(&records(rows.start, rows.end)));
    };
    // A moment ago: it can't move yet.
    write(10..15);
    let at = |seconds: i64| Timestamp::now() + SignedDuration::from_secs(seconds);
    let merge = |now| run(&f.store, &Options::default(), now, &Control::default());
    assert_eq!(merge(at(0)).unwrap().rows_total, 15);
    assert!(path.exists());
    fs::write(f.store.layout.main(), &older).unwrap();
    assert_eq!(tests(&f).0, 15);
    assert_eq!(merge(at(1)).unwrap().rows_total, 15);
    // Its writer goes on meanwhile.
    write(10..18);
    fs::write(f.store.layout.main(), &older).unwrap();
    assert_eq!(merge(at(2)).unwrap().rows_total, 18);
    // Without it, rows are missing, and somebody has to say what to do.
    fs::remove_file(&path).unwrap();
    fs::write(f.store.layout.main(), &older).unwrap();
    let error = merge(at(3)).unwrap_err().to_string();
    assert!(error.contains("lacks 8 tests"), "{error}");
}

/// An older main is back, and what the last commit took in is gone, with the index of its keys.
fn lose(f: &Fixture, older: &[u8]) {
    let taken = fs::read_dir(f.store.layout.consumed()).unwrap();
    let taken = taken.map(|folder| folder.unwrap().path()).max().unwrap();
    for file in fs::read_dir(taken).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    fs::write(f.store.layout.main(), older).unwrap();
    for entry in fs::read_dir(f.store.layout.root()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().contains(".test_keys") {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn an_older_main_gets_back_what_is_more_than_one_commit_takes() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..10);
    let older = fs::read(f.store.layout.main()).unwrap();
    commit(&f, &ours(2), 10..1_510);
    commit(&f, &ours(3), 1_510..3_010);
    fs::write(f.store.layout.main(), &older).unwrap();
    let done = merged(&f).unwrap();
    assert_eq!((done.rows_total, done.rows_added), (3_010, 3_000));
    assert_eq!(done.commits, 2);
    // So does a commit of main alone, which leaves what is pending.
    f.increment(&ours(5), &batch(&records(4_000, 4_001)));
    fs::write(f.store.layout.main(), &older).unwrap();
    prepare(&f.store, f.now, &Control::default()).unwrap();
    let main = ParquetFile::open(&*f.store.disk, &f.store.layout.main()).unwrap();
    assert_eq!(main.rows(), 3_010);
    // Where they are not all there, none of the commits is made.
    commit(&f, &ours(4), 3_010..3_020);
    lose(&f, &older);
    let error = merged(&f).unwrap_err().to_string();
    assert!(error.contains("have 3,010 rows together"), "{error}");
    assert_eq!(fs::read(f.store.layout.main()).unwrap(), older);
}

#[test]
fn rows_removed_on_purpose_do_not_stand_for_lost_ones() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..10);
    let older = fs::read(f.store.layout.main()).unwrap();
    commit(&f, &ours(2), 10..1_510);
    commit(&f, &ours(3), 1_510..3_010);
    let condition = "test_id in (t20, t21, t22, t23, t24, t25, t26, t27, t28, t29)";
    let filter = Filter {
        condition: Some(Box::new(condition.parse::<Expr>().unwrap())),
        ..Filter::default()
    };
    let control = Control::default();
    let removal = remove::plan(&f.store, &filter, &control).unwrap();
    let removed = remove::run(&f.store, &removal, f.now, &control).unwrap();
    assert_eq!((removed.rows, removed.rows_total), (10, 3_000));
    commit(&f, &ours(4), 3_010..3_020);
    // As many as were removed are gone for good.
    lose(&f, &older);
    let error = merged(&f).unwrap_err().to_string();
    assert!(error.contains("have 3,000 rows together"), "{error}");
    assert_eq!(fs::read(f.store.layout.main()).unwrap(), older);
}

/// It had main open for writing when a commit replaced that, and writes on into it.
#[test]
fn what_other_code_writes_into_a_main_that_was_replaced_counts() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..3);
    f.main(&batch(&records(0, 4)), None);
    let open = fs::File::options().write(true).open(f.store.layout.main());
    let mut open = open.unwrap();
    commit(&f, &ours(2), 4..5);
    assert_eq!(tests(&f).0, 5);
    let rows = batch(&records(0, 8));
    let mut bytes = ArrowWriter::try_new(Vec::new(), rows.schema(), None).unwrap();
    bytes.write(&rows).unwrap();
    let bytes = bytes.into_inner().unwrap();
    open.set_len(0).unwrap();
    open.write_all(&bytes).unwrap();
    assert_eq!(tests(&f).0, 8);
    assert_eq!(merged(&f).unwrap().rows_total, 8);
    assert_eq!(merged(&f).unwrap().commits, 0);
    assert_eq!(tests(&f).0, 8);
}

#[test]
fn what_other_code_wrote_into_main_is_pending_after_an_undo() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..3);
    commit(&f, &ours(2), 3..5);
    let rows: Vec<_> = records(0, 3).into_iter().chain(records(10, 12)).collect();
    f.main(&batch(&rows), None);
    assert_eq!(tests(&f).0, 7);
    let undo = crate::store::maintain::restore::Options::default();
    let control = Control::default();
    let undone = crate::store::maintain::restore::run(&f.store, &undo, f.now, &control).unwrap();
    assert_eq!((undone.rows_total, undone.rows_waiting), (3, 2));
    assert_eq!(tests(&f).0, 7);
    assert_eq!(merged(&f).unwrap().rows_total, 7);
    assert_eq!(tests(&f).0, 7);
}

/// The folder of the first commit, which may go.
fn first_folder(f: &Fixture) -> std::path::PathBuf {
    let folders = fs::read_dir(f.store.layout.consumed()).unwrap();
    folders.map(|entry| entry.unwrap().path()).min().unwrap()
}

/// As `pq.write_table(pq.read_table(FROM), TO)` does, which keeps the commit record.
fn rewritten(f: &Fixture, rows: std::ops::Range<i64>, from: &[u8]) {
    let older = f.store.layout.root().join("older");
    fs::write(&older, from).unwrap();
    let record = ParquetFile::open(&*f.store.disk, &older).unwrap();
    let record = record.key_value(KEY).unwrap().to_owned();
    fs::remove_file(older).unwrap();
    let rows = batch(&records(rows.start, rows.end));
    let record = KeyValue::new(KEY.to_owned(), record);
    let kept = WriterProperties::builder().set_key_value_metadata(Some(vec![record]));
    let mut bytes = ArrowWriter::try_new(Vec::new(), rows.schema(), Some(kept.build())).unwrap();
    bytes.write(&rows).unwrap();
    fs::write(f.store.layout.main(), bytes.into_inner().unwrap()).unwrap();
}

fn lacking(f: &Fixture) -> u64 {
    let seen = Scanner::new().scan(&f.store, f.now, &Control::default());
    seen.unwrap().main.lacking_tests
}

#[test]
fn readers_miss_what_commits_miss_in_an_older_main() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..10);
    let older = fs::read(f.store.layout.main()).unwrap();
    commit(&f, &ours(2), 10..15);
    let second = fs::read_dir(f.store.layout.consumed()).unwrap();
    let second = second.map(|entry| entry.unwrap().path()).max().unwrap();
    commit(&f, &ours(3), 15..18);
    fs::remove_dir_all(second).unwrap();
    // More new rows than it lacks, so that their number says nothing.
    let last = fs::read_dir(f.store.layout.consumed()).unwrap();
    let last = last.map(|entry| entry.unwrap().path()).max().unwrap();
    f.increment(&ours(4), &batch(&records(40, 50)));
    let new = f.store.layout.incremental().join(ours(4));
    fs::rename(new, last.join(moved_name(&ours(4)))).unwrap();
    let whole = fs::read(f.store.layout.main()).unwrap();
    assert_eq!(lacking(&f), 0);
    let mains: [&dyn Fn(); 3] = [
        // By a program that keeps the record of the older main, or of the last one,
        &|| rewritten(&f, 0..10, &older),
        &|| rewritten(&f, 0..10, &whole),
        // and a copy.
        &|| fs::write(f.store.layout.main(), &older).unwrap(),
    ];
    for back in mains {
        back();
        assert_eq!(lacking(&f), 5);
        let validated = check(&f.store, f.now, &Control::default()).unwrap();
        let says = |finding: &crate::store::maintain::validate::Finding| {
            finding.level == Level::Critical && finding.message.contains("lacks 5 tests")
        };
        assert!(validated.findings.iter().any(says));
        let error = merged(&f).unwrap_err().to_string();
        assert!(error.contains("lacks 5 tests"), "{error}");
        // What says so stays, whatever is cleaned up.
        let options = crate::store::maintain::cleanup::Options {
            older_than: SignedDuration::ZERO,
            ..crate::store::maintain::cleanup::Options::default()
        };
        let late = f.now + SignedDuration::from_hours(1);
        let plan = crate::store::maintain::cleanup::plan(&f.store, &options, late).unwrap();
        let keys = |item: &&crate::store::maintain::cleanup::Item| item.name.contains("test_keys");
        assert_eq!(plan.items.iter().find(keys), None);
    }
}

#[test]
fn a_main_is_accepted_that_lacks_tests_and_next_to_which_nothing_is_pending() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..10);
    let last = fs::read(f.store.layout.main()).unwrap();
    fs::remove_dir_all(f.store.layout.consumed()).unwrap();
    rewritten(&f, 3..13, &last);
    assert_eq!(lacking(&f), 3);
    let accept = Options {
        accept_main: true,
        ..Options::default()
    };
    assert!(!plan(&f.store, &accept, f.now).unwrap().is_empty());
    let done = run(&f.store, &accept, f.now, &Control::default()).unwrap();
    assert_eq!((done.commits, done.rows_total), (1, 10));
    assert_eq!(lacking(&f), 0);
    assert_eq!(merged(&f).unwrap().commits, 0);
}

/// It wrote back what it had read long before, with more new rows than it dropped.
#[test]
fn a_main_without_tests_that_nothing_brings_back_is_refused() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..10);
    commit(&f, &ours(2), 10..15);
    fs::remove_dir_all(first_folder(&f)).unwrap();
    let rows: Vec<_> = records(3, 10).into_iter().chain(records(20, 28)).collect();
    f.main(&batch(&rows), None);
    f.increment(&ours(3), &batch(&records(30, 31)));
    let error = merged(&f).unwrap_err().to_string();
    assert!(
        error.contains("lacks 3 tests that the last commit had"),
        "{error}"
    );
    // Readers say so, and show what there is.
    let seen = Scanner::new().scan(&f.store, f.now, &Control::default());
    assert_eq!(seen.unwrap().main.lacking_tests, 3);
    assert_eq!(tests(&f).0, 21);
    // A pending file brings one of them back, a backup would the others.
    f.increment(&ours(4), &batch(&records(0, 1)));
    let error = merged(&f).unwrap_err().to_string();
    assert!(error.contains("lacks 2 tests"), "{error}");
    let accept = Options {
        accept_main: true,
        ..Options::default()
    };
    let done = run(&f.store, &accept, f.now, &Control::default()).unwrap();
    assert_eq!(done.rows_total, 22);
    // From here on they are not missed.
    f.increment(&ours(5), &batch(&records(31, 32)));
    assert_eq!(merged(&f).unwrap().rows_total, 23);
}

/// New rows make up for the number of those that are gone, not for them; and a commit of main alone
/// makes main ours, so that nobody would miss them any more.
#[test]
fn tests_that_are_gone_are_missed_behind_as_many_new_ones() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..10);
    commit(&f, &ours(2), 10..15);
    fs::remove_dir_all(first_folder(&f)).unwrap();
    for last in [24, 28] {
        let rows: Vec<_> = records(3, 10)
            .into_iter()
            .chain(records(20, last))
            .collect();
        f.main(&batch(&rows), None);
        let alone = prepare(&f.store, f.now, &Control::default());
        for refused in [merged(&f).unwrap_err(), alone.unwrap_err()] {
            assert!(refused.to_string().contains("lacks 3 tests"), "{refused}");
        }
    }
}

#[test]
fn a_main_without_the_ids_that_its_rows_had_is_refused() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..4);
    commit(&f, &ours(2), 4..6);
    fs::remove_dir_all(first_folder(&f)).unwrap();
    let rows = records(0, 6).into_iter().map(|row| Record {
        test_id: None,
        ..row
    });
    f.main(&batch(&rows.collect::<Vec<_>>()), None);
    let error = merged(&f).unwrap_err().to_string();
    assert!(error.contains("lacks 4 tests"), "{error}");
}

#[test]
fn a_row_that_was_edited_by_hand_stands() {
    let f = Fixture::new();
    commit(&f, &ours(1), 0..3);
    let mut rows = records(0, 3);
    rows[1].success = rows[1].success.map(|success| !success);
    rows[1].turns = None;
    f.main(&batch(&rows), None);
    let successes = || {
        let seen = Scanner::new()
            .scan(&f.store, f.now, &Control::default())
            .unwrap();
        seen.cells.values().map(|tally| tally.full).sum::<u64>()
    };
    let expected = rows.iter().filter(|row| row.success == Some(true)).count() as u64;
    assert_eq!(successes(), expected);
    assert_eq!(merged(&f).unwrap().rows_total, 3);
    assert_eq!(successes(), expected);
}

#[test]
fn the_main_of_another_store_is_refused_until_a_backup_is_back() {
    let (f, other) = (Fixture::new(), Fixture::new());
    commit(&f, &ours(1), 0..3);
    commit(&f, &ours(2), 3..5);
    commit(&other, &ours(3), 50..60);
    fs::copy(other.store.layout.main(), f.store.layout.main()).unwrap();
    let seen = || {
        Scanner::new()
            .scan(&f.store, f.now, &Control::default())
            .unwrap()
    };
    assert!(seen().main.of_other);
    let error = merged(&f).unwrap_err().to_string();
    assert!(error.contains("is the main of another store"), "{error}");
    let backups = crate::store::maintain::backup::list(&f.store).unwrap();
    let options = crate::store::maintain::restore::Options {
        from: Some(backups[0].name.clone().into()),
        exactly: true,
    };
    crate::store::maintain::restore::run(&f.store, &options, f.now, &Control::default()).unwrap();
    assert_eq!(merged(&f).unwrap().rows_total, 3);
    assert!(!seen().main.of_other);
}
