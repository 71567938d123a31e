use std::collections::BTreeMap;

use super::*;
use crate::expr::Expr;
use crate::store::commit::consolidate;
use crate::store::maintain::merge::Merge;
use crate::store::maintain::{cleanup, restore, validate};
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot::Scanner;
use crate::store::testing::fixture::{Fixture, LEGACY, batch, legacy, record};
use crate::store::write::increment;
use crate::store::write::increment::Stems;
use crate::store::{RealDisk, Record};

const QUIET: fn() -> Control = Control::default;

/// A store into which several kinds of program write.
struct Made {
    f: Fixture,
    stems: Stems,
}

impl Made {
    fn new() -> Self {
        let f = Fixture::new();
        let stems = Stems::new(&*f.store.disk, f.now);
        Self { f, stems }
    }

    /// Publishes records, given as id and second; the file's name.
    fn write(&mut self, rows: &[(&str, i64)]) -> String {
        let stem = self.stems.next_stem();
        let batch = batch(&made(rows));
        let done = increment::publish(&self.f.store, &stem, &batch.schema(), [Ok(batch)]);
        done.unwrap().name
    }

    fn consolidate(&self) -> consolidate::Outcome {
        let options = consolidate::Options::default();
        consolidate::run(&self.f.store, &options, Timestamp::now(), &QUIET()).unwrap()
    }

    fn remove(&self, condition: &str) -> Outcome {
        let plan = plan(&self.f.store, &filter(condition), &QUIET()).unwrap();
        run(&self.f.store, &plan, Timestamp::now(), &QUIET()).unwrap()
    }

    fn undo(&self) {
        let options = restore::Options::default();
        restore::run(&self.f.store, &options, Timestamp::now(), &QUIET()).unwrap();
    }

    /// Ids and seconds of the rows that count, which all readers agree on.
    fn rows(&self) -> Vec<(String, i64)> {
        let store = &self.f.store;
        let mut found = Vec::new();
        for batch in rows(store, &Selection::default(), &QUIET()).unwrap() {
            let batch = batch.unwrap();
            let columns = Columns::new(&batch).unwrap();
            let ids = batch["test_id"].as_string::<i32>();
            let times = (0..batch.num_rows()).map(|row| columns.timestamp(row).unwrap());
            let ids = ids.iter().map(|id| id.unwrap().to_owned());
            found.extend(ids.zip(times.map(|time| time / 1_000_000)));
        }
        found.sort();
        let snapshot = Scanner::new().scan(store, Timestamp::now(), &QUIET());
        let snapshot = snapshot.unwrap();
        let tests: u64 = snapshot.cells.iter().map(|(_, tally)| tally.tests).sum();
        assert_eq!(tests, found.len() as u64, "{found:?}");
        assert_eq!(snapshot.removed_unread, None);
        found
    }

    fn main(&self) -> Vec<u8> {
        std::fs::read(self.f.store.layout.main()).unwrap()
    }

    fn write_main(&self, bytes: &[u8]) {
        let (main, other) = (self.f.store.layout.main(), "other");
        let other = self.f.store.layout.root().join(other);
        std::fs::write(&other, bytes).unwrap();
        std::fs::rename(other, main).unwrap();
    }

    fn sets(&self) -> Vec<std::path::PathBuf> {
        let names = std::fs::read_dir(self.f.store.layout.root()).unwrap();
        let paths = names.map(|entry| entry.unwrap().path());
        let is_set = |path: &std::path::PathBuf| path.to_string_lossy().contains("/removed_");
        paths.filter(is_set).collect()
    }
}

fn made(rows: &[(&str, i64)]) -> Vec<Record> {
    let made = |(id, second): &(&str, i64)| record(id, true, second * 1_000_000);
    rows.iter().map(made).collect()
}

fn filter(condition: &str) -> Filter {
    Filter {
        condition: Some(Box::new(condition.parse::<Expr>().unwrap())),
        ..Filter::default()
    }
}

fn row(id: &str, second: i64) -> (String, i64) {
    (id.to_owned(), second)
}

#[test]
fn what_was_removed_stays_out_whatever_brings_it_again() {
    let mut made = Made::new();
    let name = made.write(&[("a", 2), ("b", 2)]);
    let increments = made.f.store.layout.incremental();
    let copy = std::fs::read(increments.join(&name)).unwrap();
    made.consolidate();
    let before = made.main();
    made.write(&[("c", 3)]);
    let planned = plan(&made.f.store, &filter("test_id != b"), &QUIET()).unwrap();
    assert_eq!(
        (planned.rows, planned.times),
        (2, Some((2_000_000, 3_000_000)))
    );
    assert_eq!(planned.models, BTreeMap::from([("m".to_owned(), 2)]));
    assert_eq!(made.rows().len(), 3);
    let done = run(&made.f.store, &planned, Timestamp::now(), &QUIET()).unwrap();
    assert_eq!((done.rows, done.of_main, done.rows_total), (2, 1, 1));
    assert_eq!(made.rows(), [row("b", 2)]);
    // A copy of the increment, an older attempt, and what was pending.
    std::fs::write(
        increments.join("increment_1_20260101_000000.parquet"),
        &copy,
    )
    .unwrap();
    made.write(&[("a", 1)]);
    assert_eq!(made.rows(), [row("b", 2)]);
    let done = made.consolidate();
    assert_eq!((done.rows_added, done.rows_removed), (0, 3));
    assert_eq!(made.rows(), [row("b", 2)]);
    // The main of before, as a copy or from the memory of other code.
    made.write_main(&before);
    assert_eq!(made.rows(), [row("b", 2)]);
    let file = ParquetFile::open(&RealDisk, &made.f.store.layout.main()).unwrap();
    let rows: Vec<_> = file.batches(None, 0).unwrap().map(Result::unwrap).collect();
    drop(file);
    made.f.main_in_groups(&rows, None);
    assert_eq!(made.rows(), [row("b", 2)]);
    made.write(&[("d", 4)]);
    made.consolidate();
    assert_eq!(made.rows(), [row("b", 2), row("d", 4)]);
    // A later attempt counts, and so does its removal.
    made.write(&[("a", 9), ("c", 9)]);
    assert_eq!(made.rows().len(), 4);
    made.consolidate();
    assert_eq!(made.remove("test_id = c").rows, 1);
    assert_eq!(made.rows(), [row("a", 9), row("b", 2), row("d", 4)]);
}

#[test]
fn an_older_main_gets_its_rows_back_before_others_are_removed() {
    let mut made = Made::new();
    made.write(&[("a", 1)]);
    made.consolidate();
    let older = made.main();
    made.write(&[("b", 1)]);
    made.consolidate();
    made.write_main(&older);
    assert_eq!(made.rows(), [row("a", 1), row("b", 1)]);
    assert_eq!(made.remove("test_id = a").rows_total, 1);
    assert_eq!(made.rows(), [row("b", 1)]);
    made.consolidate();
    assert_eq!(made.rows(), [row("b", 1)]);
}

#[test]
fn an_undo_brings_back_what_was_removed_and_the_set_of_before() {
    let mut made = Made::new();
    made.write(&[("a", 1), ("b", 1)]);
    made.consolidate();
    made.write(&[("c", 1)]);
    made.remove("test_id = a");
    made.remove("success = true");
    assert_eq!(made.rows(), []);
    made.undo();
    assert_eq!(made.rows(), [row("b", 1), row("c", 1)]);
    made.consolidate();
    assert_eq!(made.rows(), [row("b", 1), row("c", 1)]);
}

/// Rows that bring no id are named by the store's, which the first commit gives.
#[test]
fn rows_without_ids_go_before_any_commit() {
    let made = Made::new();
    made.f
        .increment(LEGACY, &legacy(&["a", "b", "a"], &[true, false, true]));
    let plan = |text: &str| plan(&made.f.store, &filter(text), &QUIET()).unwrap();
    let planned = plan("model = a");
    assert_eq!((planned.rows, plan("turns = 7").rows), (2, 0));
    run(&made.f.store, &planned, Timestamp::now(), &QUIET()).unwrap();
    assert_eq!(made.rows().len(), 1);
    made.consolidate();
    assert_eq!(made.rows().len(), 1);
}

#[test]
fn a_backup_restored_exactly_is_what_counts_and_one_that_is_restored_brings_removed_rows() {
    let mut made = Made::new();
    made.write(&[("a", 1), ("b", 1)]);
    made.consolidate();
    let now = Timestamp::now();
    let backup = crate::store::maintain::backup::run(&made.f.store, now, &QUIET()).unwrap();
    made.remove("test_id = b");
    let again = made.write(&[("a", 2), ("c", 2)]);
    let path = made.f.store.layout.incremental().join(&again);
    let copy = std::fs::read(&path).unwrap();
    made.consolidate();
    made.write(&[("d", 3)]);
    let restore = |exactly| {
        let options = restore::Options {
            from: Some(backup.name.clone().into()),
            exactly,
        };
        let planned = restore::plan(&made.f.store, &options, &QUIET()).unwrap();
        let done = restore::run(&made.f.store, &options, Timestamp::now(), &QUIET()).unwrap();
        assert_eq!(planned.rows_dropped, done.rows_dropped);
        assert!(
            done.notes[0].starts_with("1 row that had been removed"),
            "{:?}",
            done.notes
        );
        (done.rows_restored, done.rows_dropped, done.rows_total)
    };
    // The attempt at a of second 2, c, and d, which is pending.
    assert_eq!(restore(true), (2, 3, 2));
    let exactly = [row("a", 1), row("b", 1)];
    assert_eq!(made.rows(), exactly);
    // Nothing comes back by files, and later attempts count.
    std::fs::write(
        path.with_file_name("increment_2_20260101_000000.parquet"),
        copy,
    )
    .unwrap();
    assert_eq!(made.rows(), exactly);
    made.consolidate();
    assert_eq!(made.rows(), exactly);
    made.undo();
    made.undo();
    assert_eq!(made.rows(), exactly);
    made.write(&[("c", 7)]);
    assert_eq!(made.rows(), [row("a", 1), row("b", 1), row("c", 7)]);
}

#[test]
fn a_set_that_is_missing_is_critical_and_not_forgotten() {
    let mut made = Made::new();
    let name = made.write(&[("a", 1), ("b", 1)]);
    let path = made.f.store.layout.incremental().join(&name);
    let copy = std::fs::read(&path).unwrap();
    made.consolidate();
    made.remove("test_id = a");
    let [set] = made.sets().try_into().unwrap();
    let bytes = std::fs::read(&set).unwrap();
    std::fs::write(path, copy).unwrap();
    std::fs::remove_file(&set).unwrap();
    let look = || {
        Scanner::new()
            .scan(&made.f.store, Timestamp::now(), &QUIET())
            .unwrap()
    };
    let why = look().removed_unread.unwrap();
    assert!(
        why.contains("is missing: test_results.parquet says"),
        "{why}"
    );
    let report = validate::check(&made.f.store, Timestamp::now(), &QUIET()).unwrap();
    let critical = |finding: &&validate::Finding| finding.level == validate::Level::Critical;
    assert_eq!(report.findings.iter().filter(critical).count(), 1);
    let options = consolidate::Options::default();
    let refused = consolidate::run(&made.f.store, &options, Timestamp::now(), &QUIET());
    assert!(refused.unwrap_err().to_string().contains("is missing"));
    let refused = restore::run(
        &made.f.store,
        &restore::Options {
            from: Some(made.f.store.layout.main()),
            exactly: true,
        },
        Timestamp::now(),
        &QUIET(),
    );
    refused.unwrap_err();
    // Another file under its name.
    std::fs::write(&set, b"PAR1").unwrap();
    assert!(look().removed_unread.unwrap().contains("can't be read"));
    std::fs::write(&set, bytes).unwrap();
    assert_eq!(made.rows(), [row("b", 1)]);
    made.consolidate();
    std::fs::remove_file(&set).unwrap();
    let options = consolidate::Options {
        accept_main: true,
        ..options
    };
    made.write(&[("c", 1)]);
    consolidate::run(&made.f.store, &options, Timestamp::now(), &QUIET()).unwrap();
    assert_eq!(made.rows(), [row("b", 1), row("c", 1)]);
}

#[test]
fn a_set_is_kept_for_as_long_as_a_backup_needs_it() {
    let mut made = Made::new();
    made.write(&[("a", 1), ("b", 1), ("c", 1)]);
    made.consolidate();
    made.remove("test_id = a");
    made.remove("test_id = b");
    assert_eq!(made.sets().len(), 2);
    let later = Timestamp::now() + jiff::SignedDuration::from_hours(1);
    let clean = || {
        let options = cleanup::Options::default();
        let plan = cleanup::plan(&made.f.store, &options, later).unwrap();
        cleanup::run(&made.f.store, &plan, &QUIET()).unwrap();
        made.sets().len()
    };
    assert_eq!(clean(), 2);
    // The copies of records name the files that the last commits need.
    std::fs::remove_dir_all(made.f.store.layout.backups()).unwrap();
    std::fs::remove_dir_all(made.f.store.layout.commits()).unwrap();
    assert_eq!(clean(), 1);
    assert_eq!(made.rows(), [row("c", 1)]);
}

#[test]
fn merged_files_lack_what_their_store_removed() {
    let mut made = Made::new();
    let name = made.write(&[("a", 1), ("b", 1)]);
    let path = made.f.store.layout.incremental().join(&name);
    let copy = made.f.store.layout.root().join("copy.parquet");
    std::fs::copy(&path, &copy).unwrap();
    made.consolidate();
    made.remove("test_id = a");
    let files = [made.f.store.layout.main(), copy];
    let plan = || Merge::plan(&RealDisk, &files, &made.f.store.zone, &QUIET());
    assert_eq!(plan().unwrap().rows(), 1);
    std::fs::remove_file(&made.sets()[0]).unwrap();
    assert!(
        plan()
            .unwrap_err()
            .to_string()
            .contains("copy that file too")
    );
}
