use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};

use super::*;
use crate::store::commit::consolidate::{Options, SkipKind};
use crate::store::disk::hash;
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::layout::summaries_hash;
use crate::store::read::query::{Filter, Selection, grouped, rows};
use crate::store::read::snapshot::{MainKind, Scanner, Snapshot};
use crate::store::testing::fixture::{Fixture, LEGACY, batch, record};
use crate::store::write::increment::{self, Stems};

/// Summary rows: model, total and success.
fn summary(rows: &[(&str, i64, i64)]) -> RecordBatch {
    let column = |get: fn(&(&str, i64, i64)) -> i64| -> ArrayRef {
        Arc::new(rows.iter().map(get).collect::<Int64Array>())
    };
    RecordBatch::try_from_iter([
        (
            "model",
            Arc::new(rows.iter().map(|row| Some(row.0)).collect::<StringArray>()) as ArrayRef,
        ),
        ("total", column(|row| row.1)),
        ("success", column(|row| row.2)),
    ])
    .unwrap()
}

/// A file in which legacy code put summary rows (as above) among records (ids).
fn mixed(ids: &[&str], rows: &[(&str, i64, i64)]) -> RecordBatch {
    let n = ids.len() + rows.len();
    let models = ids.iter().map(|_| "m").chain(rows.iter().map(|row| row.0));
    let id = ids
        .iter()
        .copied()
        .map(Some)
        .chain(rows.iter().map(|_| None));
    let total = ids
        .iter()
        .map(|_| None)
        .chain(rows.iter().map(|row| Some(row.1 as f64)));
    let success = ids
        .iter()
        .map(|_| 1.0)
        .chain(rows.iter().map(|row| row.2 as f64));
    RecordBatch::try_from_iter([
        (
            "model",
            Arc::new(models.map(Some).collect::<StringArray>()) as ArrayRef,
        ),
        ("test_id", Arc::new(id.collect::<StringArray>())),
        ("total", Arc::new(total.collect::<Float64Array>())),
        (
            "success",
            Arc::new(success.map(Some).collect::<Float64Array>()),
        ),
        ("note", Arc::new(StringArray::from(vec!["x"; n]))),
    ])
    .unwrap()
}

impl Fixture {
    fn import(&self, source: &str, rows: &[(&str, i64, i64)]) -> Outcome {
        let batch = summary(rows);
        replace_one(&self.store, source, &batch, self.now).unwrap()
    }

    fn consolidate(&self, convert_main: bool) -> consolidate::Outcome {
        let options = Options {
            convert_main,
            ..Options::default()
        };
        consolidate::run(&self.store, &options, self.now, &Control::default()).unwrap()
    }

    fn scan(&self) -> Snapshot {
        Scanner::new()
            .scan(&self.store, self.now, &Control::default())
            .unwrap()
    }

    /// Tests and full successes by model, and that all ways of asking agree on them.
    fn tests(&self) -> Vec<(String, u64, u64)> {
        let control = Control::default();
        let groups = grouped(
            &self.store,
            &Filter::default(),
            &["model".to_owned()],
            &control,
        )
        .unwrap();
        let mut models = std::collections::BTreeMap::<String, (u64, u64)>::new();
        for (cell, tally) in self.scan().cells.iter() {
            let entry = models.entry(cell.model.to_string()).or_default();
            (entry.0, entry.1) = (entry.0 + tally.tests, entry.1 + tally.full);
        }
        let models: Vec<_> = models
            .into_iter()
            .map(|(model, (tests, full))| (model, tests, full))
            .collect();
        let grouped: u64 = groups.iter().map(|group| group.tally.tests).sum();
        let all: u64 = models.iter().map(|(_, tests, _)| tests).sum();
        let counted = self.rows(false) + self.total();
        assert_eq!((grouped, counted), (all, all));
        models
    }

    fn rows(&self, summaries: bool) -> u64 {
        let selection = Selection {
            summaries,
            ..Selection::default()
        };
        let found = rows(&self.store, &selection, &Control::default()).unwrap();
        found.map(|batch| batch.unwrap().num_rows() as u64).sum()
    }

    /// What the summary rows that a query returns stand for.
    fn total(&self) -> u64 {
        let selection = Selection {
            summaries: true,
            ..Selection::default()
        };
        let mut all = Summaries::default();
        for batch in rows(&self.store, &selection, &Control::default()).unwrap() {
            all.push(&batch.unwrap()).unwrap();
        }
        let mut tests = 0;
        all.each_without(&[], |_, tally| tests += tally.tests);
        tests
    }

    fn named(&self) -> Vec<crate::store::format::commit_record::Summaries> {
        Base::open(&self.store, false)
            .unwrap()
            .record
            .map_or_else(Vec::new, |record| record.summaries)
    }
}

fn models(rows: &[(&str, u64, u64)]) -> Vec<(String, u64, u64)> {
    rows.iter()
        .map(|(model, tests, full)| ((*model).to_owned(), *tests, *full))
        .collect()
}

#[test]
fn the_rows_of_a_source_are_replaced_in_one_commit() {
    let f = Fixture::new();
    let done = f.import("a.json", &[("m", 10, 4), ("n", 5, 5)]);
    assert_eq!(
        (done.changed, done.generation, done.rows, done.rows_before),
        (true, 1, 2, 0)
    );
    assert_eq!(f.tests(), models(&[("m", 10, 4), ("n", 5, 5)]));
    // A main came to be for it, without a row.
    let main = f.scan().main;
    assert_eq!(
        (main.exists, main.rows, main.kind),
        (true, 0, MainKind::Empty)
    );
    // The same again changes nothing, not even a file.
    let again = f.import("a.json", &[("m", 10, 4), ("n", 5, 5)]);
    assert_eq!(
        (again.changed, again.generation, again.rows_before),
        (false, 1, 2)
    );
    f.import("b.json", &[("o", 7, 0)]);
    let newer = f.import("a.json", &[("m", 20, 9)]);
    assert_eq!(
        (
            newer.rows,
            newer.rows_before,
            newer.rows_total,
            newer.generation
        ),
        (1, 2, 2, 3)
    );
    assert_eq!(f.tests(), models(&[("m", 20, 9), ("o", 7, 0)]));
    // Whichever was replaced last: the same rows make the same file.
    let before = f.named();
    assert!(!f.import("b.json", &[("o", 7, 0)]).changed);
    assert_eq!(f.named(), before);
    let name = &before[0].name;
    let path = f.store.layout.root().join(name);
    assert_eq!(
        summaries_hash(name),
        Some(hash(&*f.store.disk, &path).unwrap().as_str())
    );
    // Nothing is left where a source has no rows any more.
    f.import("a.json", &[]);
    f.import("b.json", &[]);
    assert_eq!((f.tests(), f.named()), (Vec::new(), Vec::new()));
}

#[test]
fn records_stay_when_summary_rows_come() {
    let f = Fixture::new();
    f.increment(LEGACY, &batch(&[record("a", true, 1)]));
    f.consolidate(false);
    let done = f.import("a.json", &[("m", 10, 4)]);
    assert!(done.notes.is_empty(), "{:?}", done.notes);
    f.increment(
        "increment_8_20260131_120000.parquet",
        &batch(&[record("b", true, 1)]),
    );
    assert_eq!(f.tests(), models(&[("m", 12, 6)]));
    f.consolidate(false);
    assert_eq!(f.tests(), models(&[("m", 12, 6)]));
    assert_eq!((f.scan().main.rows, f.rows(true)), (2, 1));
    let shared = f.import("b.json", &[("m", 1, 1)]);
    assert!(
        shared.notes[0].starts_with("1 of the rows are of cells"),
        "{:?}",
        shared.notes
    );
}

#[test]
fn an_older_main_gets_its_rows_back_before_summary_rows_come() {
    let f = Fixture::new();
    let mut stems = Stems::new(&*f.store.disk, f.now);
    let mut add = |id: &str| {
        let (stem, batch) = (stems.next_stem(), batch(&[record(id, true, 1)]));
        increment::publish(&f.store, &stem, &batch.schema(), [Ok(batch)]).unwrap();
        f.consolidate(false);
    };
    add("a");
    let (main, copy) = (f.store.layout.main(), f.store.layout.root().join("copy"));
    std::fs::copy(&main, &copy).unwrap();
    add("b");
    std::fs::rename(&copy, &main).unwrap();
    f.import("a.json", &[("m", 10, 4)]);
    assert_eq!(f.tests(), models(&[("m", 12, 6)]));
    assert_eq!(f.scan().main.rows, 2);
}

#[test]
fn what_is_no_summary_row_is_refused() {
    let f = Fixture::new();
    let records = batch(&[record("a", true, 1)]);
    let refused = replace_one(&f.store, "x", &records, f.now);
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("are not summary rows")
    );
    f.main(&summary(&[("m", 9, 5)]), None);
    let rows = summary(&[("m", 1, 1)]);
    let refused = replace_one(&f.store, "x", &rows, f.now);
    assert!(refused.unwrap_err().to_string().contains("--convert-main"));
    let left = f.store.disk.list(f.store.layout.root()).unwrap();
    assert!(left.iter().all(|entry| !entry.name.contains("summaries_")));
}

#[test]
fn a_legacy_main_is_converted_when_asked() {
    let f = Fixture::new();
    f.main(&summary(&[("m", 9, 5), ("n", 3, 1)]), None);
    f.increment(LEGACY, &batch(&[record("a", true, 1)]));
    f.increment(
        "increment_8_20260131_120000.parquet",
        &summary(&[("o", 2, 2)]),
    );
    let expected = models(&[("m", 10, 6), ("n", 3, 1), ("o", 2, 2)]);
    assert_eq!(f.tests(), expected);
    let before = std::fs::read(f.store.layout.main()).unwrap();
    let waits = f.consolidate(false);
    assert_eq!((waits.commits, waits.skipped.len()), (0, 2));
    assert!(
        waits
            .skipped
            .iter()
            .all(|s| s.kind == SkipKind::Summaries && s.reason.contains("--convert-main"))
    );
    assert_eq!(std::fs::read(f.store.layout.main()).unwrap(), before);
    assert_eq!(f.tests(), expected);
    let options = Options {
        convert_main: true,
        ..Options::default()
    };
    let plan = consolidate::plan(&f.store, &options, f.now).unwrap();
    assert_eq!(
        (plan.summaries, plan.increments.len(), plan.skipped.len()),
        (2, 2, 0)
    );
    let done = f.consolidate(true);
    assert_eq!(
        (
            done.commits,
            done.summaries_moved,
            done.rows_total,
            done.rows_added
        ),
        (1, 3, 1, 1)
    );
    assert!(
        done.notes
            .iter()
            .any(|note| note.contains("3 summary rows moved")),
        "{:?}",
        done.notes
    );
    assert_eq!(f.tests(), expected);
    assert_eq!(f.scan().main.kind, MainKind::Records);
    // Summary columns stay with the summary rows.
    let main = ParquetFile::open(&*f.store.disk, &f.store.layout.main()).unwrap();
    assert!(!main.has_column("total") && main.has_column("test_id"));
    assert_eq!(f.consolidate(true).commits, 0);
}

#[test]
fn converting_needs_nothing_that_waits() {
    let f = Fixture::new();
    f.main(&summary(&[("m", 9, 5)]), None);
    assert_eq!(f.consolidate(true).summaries_moved, 1);
    assert_eq!(f.tests(), models(&[("m", 9, 5)]));
    assert_eq!((f.scan().main.rows, f.rows(true)), (0, 1));
}

#[test]
fn files_that_mix_both_are_separated_by_the_next_commit() {
    let f = Fixture::new();
    f.main(&mixed(&["a", "b"], &[("s", 9, 5)]), None);
    f.increment(LEGACY, &mixed(&["c"], &[("t", 4, 1)]));
    let expected = models(&[("m", 3, 3), ("s", 9, 5), ("t", 4, 1)]);
    assert_eq!(
        (f.tests(), f.scan().main.kind),
        (expected.clone(), MainKind::Mixed)
    );
    let done = f.consolidate(false);
    assert_eq!(
        (
            done.commits,
            done.summaries_moved,
            done.rows_added,
            done.rows_total
        ),
        (1, 2, 1, 3)
    );
    assert_eq!(
        (f.tests(), f.scan().main.kind),
        (expected, MainKind::Records)
    );
    let main = ParquetFile::open(&*f.store.disk, &f.store.layout.main()).unwrap();
    assert!(main.has_column("note") && !main.has_column("total"));
    let success = main.schema().field_with_name("success").unwrap();
    assert_eq!(*success.data_type(), arrow::datatypes::DataType::Boolean);
    // Its writer puts another summary row into main, which nothing else waits for.
    f.main(&mixed(&["a", "b", "c"], &[("u", 1, 1)]), None);
    assert_eq!(f.consolidate(false).summaries_moved, 1);
    assert_eq!(
        f.tests(),
        models(&[("m", 3, 3), ("s", 9, 5), ("t", 4, 1), ("u", 1, 1)])
    );
}

#[test]
fn a_summary_row_that_counts_on_counts_once() {
    let f = Fixture::new();
    f.main(&mixed(&["a"], &[("s", 9, 5)]), None);
    f.consolidate(false);
    // From a copy of before the commit, and one test further.
    f.main(&mixed(&["a"], &[("s", 10, 6)]), None);
    assert_eq!(f.tests(), models(&[("m", 1, 1), ("s", 10, 6)]));
    f.consolidate(false);
    assert_eq!(f.tests(), models(&[("m", 1, 1), ("s", 10, 6)]));
    // Counted again, since its row is gone from main.
    f.main(&mixed(&["a"], &[("s", 1, 0)]), None);
    assert_eq!(f.tests(), models(&[("m", 1, 1), ("s", 11, 6)]));
    f.consolidate(false);
    assert_eq!(
        (f.tests(), f.rows(true)),
        (models(&[("m", 1, 1), ("s", 11, 6)]), 2)
    );
    // The same in an increment that its writer keeps on rewriting.
    f.increment(LEGACY, &mixed(&["b"], &[("t", 2, 1)]));
    f.consolidate(false);
    f.increment(LEGACY, &mixed(&["b"], &[("t", 3, 1)]));
    let expected = models(&[("m", 2, 2), ("s", 11, 6), ("t", 3, 1)]);
    assert_eq!(f.tests(), expected);
    f.consolidate(false);
    assert_eq!((f.tests(), f.rows(true)), (expected, 3));
}

#[test]
fn a_file_that_is_named_and_missing_is_reported() {
    let f = Fixture::new();
    f.import("a.json", &[("m", 10, 4)]);
    std::fs::remove_file(f.store.layout.root().join(&f.named()[0].name)).unwrap();
    let error = Scanner::new()
        .scan(&f.store, f.now, &Control::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("summaries_") && error.contains("missing"),
        "{error}"
    );
}

#[test]
fn times_and_truth_values_of_summary_rows_do_not_conflict() {
    let f = Fixture::new();
    let with = |column: ArrayRef, flag: ArrayRef| {
        let own = summary(&[("m", 10, 4)]);
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("model", own.column(0).clone()),
            ("total", own.column(1).clone()),
        ];
        columns.extend([
            ("success", own.column(2).clone()),
            ("last_updated", column),
            ("flag", flag),
        ]);
        RecordBatch::try_from_iter(columns).unwrap()
    };
    let typed = arrow::array::TimestampMicrosecondArray::from(vec![1]);
    let one = with(Arc::new(typed), Arc::new(BooleanArray::from(vec![true])));
    let two = with(
        Arc::new(StringArray::from(vec!["2026-01-31"])),
        Arc::new(Int64Array::from(vec![0])),
    );
    for (source, batch) in [("a", one), ("b", two)] {
        replace_one(&f.store, source, &batch, f.now).unwrap();
    }
    assert_eq!(f.tests(), models(&[("m", 20, 8)]));
}

#[test]
fn cleanup_removes_what_neither_main_nor_a_backup_counts() {
    use crate::store::maintain::cleanup;
    let mut f = Fixture::new();
    f.import("a.json", &[("m", 1, 1)]);
    f.import("a.json", &[("m", 2, 1)]);
    let second = f.named()[0].name.clone();
    f.import("a.json", &[("m", 3, 1)]);
    let third = f.named()[0].name.clone();
    let there = |f: &Fixture| {
        let entries = f
            .store
            .disk
            .list(f.store.layout.root())
            .unwrap()
            .into_iter();
        let mut names: Vec<_> = entries.map(|entry| entry.name).collect();
        names.retain(|name| summaries_hash(name).is_some());
        names.sort();
        names
    };
    f.now = f
        .now
        .checked_add(jiff::SignedDuration::from_hours(1))
        .unwrap();
    let plan = |f: &Fixture| {
        let plan = cleanup::plan(&f.store, &cleanup::Options::default(), f.now).unwrap();
        let plan_of = plan
            .items
            .iter()
            .filter(|item| item.reason == cleanup::Reason::OldSummaries);
        (
            plan_of.map(|item| item.name.clone()).collect::<Vec<_>>(),
            plan,
        )
    };
    // Copies of commit records and backups still name all of them.
    assert_eq!((there(&f).len(), plan(&f).0.len()), (3, 0));
    std::fs::remove_dir_all(f.store.layout.commits()).unwrap();
    assert!(plan(&f).0.is_empty());
    let main = f
        .store
        .layout
        .root()
        .join("test_results.parquet.backup_by_hand");
    for backup in crate::store::maintain::backup::list(&f.store).unwrap() {
        let path = f.store.layout.backups().join(&backup.name);
        let record = CommitRecord::of(&ParquetFile::open(&*f.store.disk, &path).unwrap())
            .unwrap()
            .unwrap();
        if record.summaries[0].name == second {
            std::fs::copy(&path, &main).unwrap();
        }
        std::fs::remove_file(path).unwrap();
    }
    let (gone, planned) = plan(&f);
    assert_eq!(gone.len(), 1);
    assert!(!gone.contains(&second) && !gone.contains(&third));
    // An import that makes the same file again needs it: it stays.
    f.import("a.json", &[("m", 1, 1)]);
    let done = cleanup::run(&f.store, &planned, &Control::default()).unwrap();
    assert_eq!(
        (done.removed.len(), done.kept.len(), there(&f).len()),
        (0, 1, 3)
    );
}

#[test]
fn validate_reports_a_file_that_was_changed() {
    use crate::store::maintain::validate::{Level, check};
    let f = Fixture::new();
    f.import("a.json", &[("m", 1, 1)]);
    let found = |f: &Fixture| {
        check(&f.store, f.now, &Control::default())
            .unwrap()
            .findings
    };
    let bad = |f: &Fixture| {
        found(f)
            .iter()
            .filter(|finding| finding.level > Level::Note)
            .count()
    };
    assert_eq!(bad(&f), 0);
    let name = f.named()[0].name.clone();
    f.increment(LEGACY, &summary(&[("m", 9, 1), ("n", 9, 1)]));
    std::fs::rename(
        f.store.layout.incremental().join(LEGACY),
        f.store.layout.root().join(&name),
    )
    .unwrap();
    let messages: Vec<_> = found(&f)
        .into_iter()
        .filter(|f| f.file == name)
        .map(|f| f.message)
        .collect();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages
            .iter()
            .any(|m| m.contains("says 1 rows and it has 2"))
    );
    assert!(messages.iter().any(|m| m.contains("bytes don't match")));
}
