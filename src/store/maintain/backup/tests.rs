use crate::store::maintain::restore;
use arrow::array::AsArray;

use super::*;
use crate::store::commit::consolidate;
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::record::{Record, to_batch};
use crate::store::maintain::restore::{Options, Restored};
use crate::store::read::snapshot::{Scanner, Snapshot};
use crate::store::write::increment;
use crate::store::write::increment::Stems;

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
    stems: Stems,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    store.create().unwrap();
    let stems = Stems::new(&*store.disk, Timestamp::now());
    Fixture {
        _folder: folder,
        store,
        stems,
    }
}

/// Records, given as (id, time).
fn batch_of(rows: &[(&str, i64)]) -> arrow::array::RecordBatch {
    let record = |(id, time): &(&str, i64)| Record {
        test_id: Some((*id).to_owned()).filter(|id| !id.is_empty()),
        model: "m".into(),
        timestamp: Some(*time),
        ..Record::default()
    };
    to_batch(&rows.iter().map(record).collect::<Vec<_>>()).unwrap()
}

impl Fixture {
    /// Commits records, given as (id, time).
    fn commit(&mut self, rows: &[(&str, i64)]) {
        let batch = batch_of(rows);
        let stem = self.stems.next_stem();
        increment::publish(&self.store, &stem, &batch.schema(), [Ok(batch)]).unwrap();
        let options = consolidate::Options::default();
        consolidate::run(&self.store, &options, Timestamp::now(), &Control::default()).unwrap();
    }

    fn rows(&self) -> Vec<(String, i64)> {
        let main = ParquetFile::open(&*self.store.disk, &self.store.layout.main()).unwrap();
        let mut rows = Vec::new();
        for batch in main.batches(None, 0).unwrap() {
            let batch = batch.unwrap();
            let ids = batch["test_id"].as_string::<i32>();
            let times =
                batch["timestamp"].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            // Those that are derived differ from store to store.
            let own = |id: &&str| !crate::store::format::is_derived(id);
            let ids = ids
                .iter()
                .map(|id| id.filter(own).unwrap_or_default().to_owned());
            rows.extend(ids.zip(times.iter().flatten()));
        }
        rows.sort();
        rows
    }

    fn backup(&self) -> String {
        run(&self.store, Timestamp::now(), &Control::default())
            .unwrap()
            .name
    }

    fn restore(&self, from: &str, exactly: bool) -> Restored {
        self.restore_with(&Options {
            from: Some(from.into()),
            exactly,
        })
    }

    fn undo(&self) -> Restored {
        self.restore_with(&Options::default())
    }

    fn restore_with(&self, options: &Options) -> Restored {
        let planned = restore::plan(&self.store, options, &Control::default()).unwrap();
        let done =
            restore::run(&self.store, options, Timestamp::now(), &Control::default()).unwrap();
        let figures = |r: &Restored| {
            (
                r.rows_restored,
                r.rows_kept,
                r.rows_waiting,
                r.rows_dropped,
                r.rows_total,
            )
        };
        assert_eq!(figures(&planned), figures(&done));
        done
    }
}

fn row(id: &str, time: i64) -> (String, i64) {
    (id.to_owned(), time)
}

#[test]
fn a_backup_is_a_copy_of_its_own() {
    let mut f = fixture();
    let error = run(&f.store, Timestamp::now(), &Control::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("nothing to back up"), "{error}");
    f.commit(&[("a", 1)]);
    let names = [f.backup(), f.backup()];
    let main = f.store.disk.stat(&f.store.layout.main()).unwrap();
    assert_eq!(main.links, 1);
    let listed = list(&f.store).unwrap();
    assert_eq!(listed.len(), 2);
    for entry in listed {
        assert!(
            names.contains(&entry.name)
                && entry.stat.bytes == main.bytes
                && entry.stat.inode != main.inode
        );
    }
}

#[test]
fn pruning_keeps_the_newest_and_one_a_day() {
    let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let mut names = Vec::new();
    for day in (10..=31).rev() {
        for hour in [9, 8] {
            names.push(format!("test_results_202601{day}_{hour:02}0000.parquet"));
        }
    }
    names.push("test_results_by_hand.parquet".to_owned());
    let gone = superfluous(&names, now);
    let kept: Vec<_> = names
        .iter()
        .filter(|name| !gone.contains(name))
        .map(String::as_str)
        .collect();
    let expected = [
        "31_09", "31_08", "30_09", "30_08", "29_09", "28_09", "27_09", "26_09", "25_09",
    ];
    let mut expected: Vec<_> = expected
        .iter()
        .map(|day| format!("test_results_202601{day}0000.parquet"))
        .collect();
    expected.push("test_results_by_hand.parquet".to_owned());
    assert_eq!(kept, expected);
}

/// Before the clock was set back, backups were made at times that are still to come.
#[test]
fn pruning_keeps_the_newest_when_the_clock_was_set_back() {
    let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
    let later: Vec<_> = (13..20)
        .rev()
        .map(|hour| format!("test_results_20260131_{hour}0000.parquet"))
        .collect();
    let newest = "test_results_20260131_120000.parquet".to_owned();
    let gone = superfluous(&[later, vec![newest]].concat(), now);
    assert!(gone.is_empty(), "{gone:?}");
}

#[test]
fn restoring_keeps_what_the_backup_lacks() {
    let mut f = fixture();
    f.commit(&[("a", 1), ("b", 1), ("", 1)]);
    let name = f.backup();
    f.commit(&[("a", 2), ("c", 1), ("", 2)]);
    let done = f.restore(&name, false);
    assert_eq!(
        (done.rows_restored, done.rows_kept, done.generation),
        (2, 3, 3)
    );
    assert_eq!(
        f.rows(),
        [
            row("", 1),
            row("", 2),
            row("a", 2),
            row("b", 1),
            row("c", 1)
        ]
    );
    assert!(done.replaced.unwrap().starts_with(f.store.layout.backups()));
    let main = ParquetFile::open(&*f.store.disk, &f.store.layout.main()).unwrap();
    let record = CommitRecord::of(&main).unwrap().unwrap();
    assert_eq!(
        (record.generation, record.rows, record.consumed.len()),
        (3, 5, 1)
    );
    f.commit(&[("d", 1)]);
    assert_eq!(f.rows().len(), 6);
}

#[test]
fn restoring_can_drop_what_the_backup_lacks() {
    let mut f = fixture();
    f.commit(&[("a", 1)]);
    let name = f.backup();
    f.commit(&[("b", 1)]);
    let done = f.restore(&name, true);
    assert_eq!((done.rows_dropped, done.rows_total), (1, 1));
    assert_eq!(f.rows(), [row("a", 1)]);
    // Consolidating again brings nothing back, and main is not taken for a shrunken one.
    f.commit(&[("c", 1)]);
    assert_eq!(f.rows(), [row("a", 1), row("c", 1)]);
}

#[test]
fn a_torn_or_missing_main_is_replaced_and_a_torn_one_kept() {
    let mut f = fixture();
    f.commit(&[("a", 1)]);
    let name = f.backup();
    std::fs::write(f.store.layout.main(), b"PAR1 torn").unwrap();
    let done = f.restore(&name, false);
    assert!(done.unreadable.is_some());
    assert_eq!(std::fs::read(done.replaced.unwrap()).unwrap(), b"PAR1 torn");
    assert_eq!(f.rows(), [row("a", 1)]);
    std::fs::remove_file(f.store.layout.main()).unwrap();
    assert_eq!(f.restore(&name, false).generation, 3);
    assert_eq!(f.rows(), [row("a", 1)]);
}

#[test]
fn a_backup_must_be_one() {
    let mut f = fixture();
    f.commit(&[("a", 1)]);
    let plan = |from: std::path::PathBuf| {
        let options = Options {
            from: Some(from),
            exactly: false,
        };
        restore::plan(&f.store, &options, &Control::default())
            .unwrap_err()
            .to_string()
    };
    assert!(plan(f.store.layout.main()).contains("is main itself"));
    assert!(plan("nowhere.parquet".into()).contains("cannot read nowhere.parquet"));
}

impl Fixture {
    fn scan(&self) -> Snapshot {
        Scanner::new()
            .scan(&self.store, Timestamp::now(), &Control::default())
            .unwrap()
    }

    /// All that counts: tests, superseded, repeated, and rows that wait.
    fn counts(&self) -> (u64, u64, u64, u64) {
        let seen = self.scan();
        let tests = seen.cells.values().map(|tally| tally.tests).sum();
        (
            tests,
            seen.superseded,
            seen.repeated,
            seen.waiting.iter().map(|file| file.rows).sum(),
        )
    }

    fn consolidate(&self) {
        let options = consolidate::Options::default();
        consolidate::run(&self.store, &options, Timestamp::now(), &Control::default()).unwrap();
    }
}

#[test]
fn what_an_undone_consolidate_merged_waits_again() {
    let mut f = fixture();
    f.commit(&[("a", 1), ("b", 1), ("", 1)]);
    f.commit(&[("a", 2), ("c", 1), ("", 3), ("", 2)]);
    let after = (f.rows(), f.counts());
    assert_eq!(f.counts(), (6, 1, 0, 0));
    let undone = f.undo();
    assert_eq!(
        (undone.rows_restored, undone.rows_waiting, undone.rows_total),
        (3, 4, 3)
    );
    assert_eq!(f.rows(), [row("", 1), row("a", 1), row("b", 1)]);
    // Every row counts as before.
    assert_eq!(f.counts(), (6, 1, 0, 4));
    // Undoing the undoing brings main back as it was, and nothing counts twice.
    let redone = f.undo();
    assert_eq!((redone.rows_restored, redone.rows_waiting), (6, 0));
    assert_eq!((f.rows(), f.counts()), after);
    // And so does consolidating again after an undoing.
    f.undo();
    f.consolidate();
    assert_eq!((f.rows(), f.counts()), after);
    f.consolidate();
    let left = f.store.disk.list(&f.store.layout.incremental()).unwrap();
    assert!(
        left.iter().all(|entry| !entry.name.contains("staged_")),
        "{left:?}"
    );
}

#[test]
fn rows_that_came_since_survive_an_undo_and_a_restore() {
    let mut f = fixture();
    f.commit(&[("", 1)]);
    f.commit(&[("", 2), ("x", 2)]);
    f.undo();
    // Waiting rows of other writers stay where they are, and restoring the main that was
    // undone takes in those that wait for it.
    let batch = to_batch(&[Record {
        model: "m".into(),
        timestamp: Some(3),
        ..Record::default()
    }])
    .unwrap();
    let stem = f.stems.next_stem();
    increment::publish(&f.store, &stem, &batch.schema(), [Ok(batch)]).unwrap();
    assert_eq!(f.counts(), (4, 0, 0, 3));
    let newest = list(&f.store).unwrap()[0].name.clone();
    let done = f.restore(&newest, false);
    assert_eq!(
        (done.rows_restored, done.rows_kept, done.rows_total),
        (3, 0, 3)
    );
    assert_eq!(f.counts(), (4, 0, 0, 1));
    f.consolidate();
    assert_eq!((f.counts(), f.rows().len()), ((4, 0, 0, 0), 4));
}

#[test]
fn there_may_be_nothing_to_undo() {
    let mut f = fixture();
    let refused = |f: &Fixture| {
        restore::run(
            &f.store,
            &Options::default(),
            Timestamp::now(),
            &Control::default(),
        )
        .unwrap_err()
        .to_string()
    };
    assert!(refused(&f).contains("nothing to undo"));
    f.commit(&[("a", 1)]);
    assert!(refused(&f).contains("no backup of what the last commit replaced"));
}

#[test]
fn a_restore_unites_summary_rows() {
    let mut f = fixture();
    f.commit(&[("a", 1)]);
    let summary = |rows: &[(&str, i64)]| {
        let models: arrow::array::StringArray = rows.iter().map(|row| Some(row.0)).collect();
        let counts: arrow::array::Int64Array = rows.iter().map(|row| row.1).collect();
        let counts: arrow::array::ArrayRef = std::sync::Arc::new(counts);
        let models: arrow::array::ArrayRef = std::sync::Arc::new(models);
        let columns = [
            ("model", models),
            ("total", counts.clone()),
            ("success", counts),
        ];
        arrow::array::RecordBatch::try_from_iter(columns).unwrap()
    };
    let import = |f: &Fixture, source: &str, rows: &[(&str, i64)]| {
        let batch = summary(rows);
        let now = Timestamp::now();
        crate::store::commit::summaries::replace_one(&f.store, source, &batch, now).unwrap();
    };
    import(&f, "a.json", &[("s", 10)]);
    import(&f, "a.json", &[("s", 7)]);
    assert_eq!(f.counts().0, 8);
    // An import is undone; one of another source stays in a restore.
    f.undo();
    assert_eq!(f.counts().0, 11);
    // Where pruning does not reach.
    let kept = f.store.layout.root().join("kept.parquet");
    std::fs::copy(f.store.layout.backups().join(f.backup()), &kept).unwrap();
    let name = kept.to_str().unwrap().to_owned();
    import(&f, "b.json", &[("t", 5)]);
    import(&f, "a.json", &[("s", 20)]);
    assert_eq!(f.counts().0, 26);
    f.restore(&name, false);
    assert_eq!(f.counts().0, 16);
    f.restore(&name, true);
    assert_eq!(f.counts().0, 11);
    // What came out of an increment stays, whichever way.
    let path = f
        .store
        .layout
        .incremental()
        .join("increment_7_20260131_120000.parquet");
    let file = std::fs::File::create(path).unwrap();
    let batch = summary(&[("u", 3)]);
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    f.consolidate();
    assert_eq!(f.counts().0, 14);
    f.undo();
    assert_eq!(f.counts().0, 14);
    f.restore(&name, false);
    assert_eq!(f.counts().0, 14);
}

#[test]
fn a_main_of_summary_rows_comes_back_beside_main() {
    let mut f = fixture();
    let counts: arrow::array::ArrayRef =
        std::sync::Arc::new(arrow::array::Int64Array::from(vec![9]));
    let models: arrow::array::ArrayRef =
        std::sync::Arc::new(arrow::array::StringArray::from(vec!["s"]));
    let columns = [
        ("model", models),
        ("total", counts.clone()),
        ("success", counts),
    ];
    let batch = arrow::array::RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(f.store.layout.main()).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let options = consolidate::Options {
        convert_main: true,
        ..consolidate::Options::default()
    };
    consolidate::run(&f.store, &options, Timestamp::now(), &Control::default()).unwrap();
    f.commit(&[("a", 1)]);
    let oldest = list(&f.store).unwrap().pop().unwrap().name;
    f.restore(&oldest, false);
    assert_eq!((f.counts().0, f.rows().len()), (10, 1));
}

/// Attempts at one test may be both in main and among the rows that wait after an undo.
#[test]
fn of_what_a_backup_lacks_the_newest_attempt_is_kept() {
    let mut f = fixture();
    f.commit(&[("b", 1)]);
    let name = f.backup();
    f.commit(&[("a", 1)]);
    f.commit(&[("a", 2)]);
    f.undo();
    assert_eq!(f.counts(), (2, 1, 0, 1));
    f.restore(&name, false);
    // The undone commit's folder is pending as before.
    assert_eq!(f.rows(), [row("a", 1), row("b", 1)]);
    assert_eq!(f.counts(), (2, 1, 0, 1));
    f.consolidate();
    assert_eq!(f.rows(), [row("a", 2), row("b", 1)]);
}

#[test]
fn what_waits_after_an_undo_is_known_when_main_cannot_be_read() {
    for missing in [false, true] {
        let mut f = fixture();
        f.commit(&[("", 1)]);
        f.commit(&[("", 2)]);
        let name = f.backup();
        f.undo();
        assert_eq!(f.counts(), (2, 0, 0, 1));
        if missing {
            std::fs::remove_file(f.store.layout.main()).unwrap();
        } else {
            std::fs::write(f.store.layout.main(), b"PAR1 torn").unwrap();
        }
        f.restore(&name, false);
        assert_eq!((f.counts().0, f.rows().len()), (2, 2));
        f.consolidate();
        assert_eq!(f.rows().len(), 2);
    }
}

/// Main as other code writes it: perhaps with our record, and with other rows.
fn rewritten(f: &Fixture, rows: &[(&str, i64)], keep: bool) {
    let main = ParquetFile::open(&*f.store.disk, &f.store.layout.main()).unwrap();
    let kept = main
        .key_value(crate::store::format::commit_record::KEY)
        .map(str::to_owned)
        .filter(|_| keep);
    let batch = batch_of(rows);
    let file = std::fs::File::create(f.store.layout.main()).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let pair = |kept| {
        parquet::file::metadata::KeyValue::new(
            crate::store::format::commit_record::KEY.to_owned(),
            kept,
        )
    };
    if let Some(kept) = kept {
        writer.append_key_value_metadata(pair(kept));
    }
    writer.close().unwrap();
}

#[test]
fn repeated_tests_in_what_other_code_wrote_are_resolved_by_a_restore() {
    for keep in [false, true] {
        // In the backup.
        let mut f = fixture();
        f.commit(&[("a", 1)]);
        rewritten(&f, &[("a", 1), ("a", 2)], keep);
        let name = f.backup();
        f.commit(&[("b", 1)]);
        f.restore(&name, false);
        assert_eq!(f.rows(), [row("a", 2), row("b", 1)], "{keep}");
        // In main.
        let mut f = fixture();
        f.commit(&[("b", 1)]);
        let name = f.backup();
        rewritten(&f, &[("b", 1), ("a", 1), ("a", 2)], keep);
        f.restore(&name, false);
        assert_eq!(f.rows(), [row("a", 2), row("b", 1)], "{keep}");
    }
}

/// A legacy file that is still there, and a main that other code has rewritten without our record.
#[test]
fn a_backup_of_a_main_that_other_code_wrote_knows_what_it_contains() {
    let mut f = fixture();
    f.commit(&[("b", 1)]);
    let path = f
        .store
        .layout
        .incremental()
        .join("increment_7_20260131_120000.parquet");
    let write = |times: &[i64]| {
        let records: Vec<_> = times
            .iter()
            .map(|time| Record {
                model: "m".into(),
                timestamp: Some(*time),
                ..Record::default()
            })
            .collect();
        let batch = to_batch(&records).unwrap();
        let mut file = std::fs::File::create(&path).unwrap();
        let mut writer =
            parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    };
    let _writer = write(&[2]);
    f.consolidate();
    rewritten(&f, &[("b", 1), ("", 2)], false);
    let name = f.backup();
    let _writer = write(&[2, 3]);
    f.consolidate();
    assert_eq!(f.counts(), (3, 0, 0, 0));
    std::fs::write(f.store.layout.main(), b"PAR1 torn").unwrap();
    f.restore(&name, false);
    f.consolidate();
    assert_eq!(f.rows(), [row("", 2), row("", 3), row("b", 1)]);
}
