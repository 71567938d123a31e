use arrow::array::AsArray;

use super::restore::{Options, Restored};
use super::*;
use crate::store::commit::CommitRecord;
use crate::store::consolidate;
use crate::store::increment::{self, Stems};
use crate::store::record::{Record, to_batch};

struct Fixture {
    _folder: tempfile::TempDir,
    store: Store,
    stems: Stems,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    store.create().unwrap();
    Fixture { _folder: folder, store, stems: Stems::new(Timestamp::now()) }
}

impl Fixture {
    /// Commits records, told as (id, time).
    fn commit(&mut self, rows: &[(&str, i64)]) {
        let records: Vec<_> = rows
            .iter()
            .map(|(id, time)| Record {
                test_id: Some((*id).to_owned()).filter(|id| !id.is_empty()),
                model: "m".into(),
                timestamp: Some(*time),
                ..Record::default()
            })
            .collect();
        let batch = to_batch(&records).unwrap();
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
            let times = batch["timestamp"].as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            let ids = ids.iter().map(|id| id.unwrap_or_default().to_owned());
            rows.extend(ids.zip(times.iter().flatten()));
        }
        rows.sort();
        rows
    }

    fn backup(&self) -> String {
        run(&self.store, Timestamp::now(), &Control::default()).unwrap().name
    }

    fn restore(&self, from: &str, discard_newer: bool) -> Restored {
        let options = Options { from: from.into(), discard_newer };
        let planned = restore::plan(&self.store, &options, &Control::default()).unwrap();
        let done = restore::run(&self.store, &options, Timestamp::now(), &Control::default()).unwrap();
        let figures =
            |r: &Restored| (r.rows_restored, r.rows_kept, r.rows_dropped, r.rows_total, r.generation);
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
    let error = run(&f.store, Timestamp::now(), &Control::default()).unwrap_err().to_string();
    assert!(error.contains("nothing to back up"), "{error}");
    f.commit(&[("a", 1)]);
    let names = [f.backup(), f.backup()];
    let main = f.store.disk.stat(&f.store.layout.main()).unwrap();
    assert_eq!(main.links, 1);
    let listed = list(&f.store).unwrap();
    assert_eq!(listed.len(), 2);
    for entry in listed {
        assert!(
            names.contains(&entry.name) && entry.stat.bytes == main.bytes && entry.stat.inode != main.inode
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
    let kept: Vec<_> = names.iter().filter(|name| !gone.contains(name)).map(String::as_str).collect();
    let expected = ["31_09", "31_08", "30_09", "30_08", "29_09", "28_09", "27_09", "26_09", "25_09"];
    let mut expected: Vec<_> =
        expected.iter().map(|day| format!("test_results_202601{day}0000.parquet")).collect();
    expected.push("test_results_by_hand.parquet".to_owned());
    assert_eq!(kept, expected);
}

#[test]
fn restoring_keeps_what_the_backup_lacks() {
    let mut f = fixture();
    f.commit(&[("a", 1), ("b", 1), ("", 1)]);
    let name = f.backup();
    f.commit(&[("a", 2), ("c", 1), ("", 1)]);
    let done = f.restore(&name, false);
    assert_eq!((done.rows_restored, done.rows_kept, done.generation), (3, 2, 3));
    assert_eq!(f.rows(), [row("", 1), row("", 1), row("a", 1), row("b", 1), row("c", 1)]);
    assert!(done.replaced.unwrap().starts_with(f.store.layout.backups()));
    let main = ParquetFile::open(&*f.store.disk, &f.store.layout.main()).unwrap();
    let record = CommitRecord::of(&main).unwrap().unwrap();
    assert_eq!((record.generation, record.rows, record.consumed.len()), (3, 5, 1));
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
        let options = Options { from, discard_newer: false };
        restore::plan(&f.store, &options, &Control::default()).unwrap_err().to_string()
    };
    assert!(plan(f.store.layout.main()).contains("is main itself"));
    assert!(plan("nowhere.parquet".into()).contains("cannot read nowhere.parquet"));
}
