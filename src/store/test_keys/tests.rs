use super::*;
use crate::store::commit::CommitRecord;
use crate::store::digest::short;
use crate::store::fixture::{Fixture, LEGACY, batch, record};
use crate::store::table::with_group_rows;
use crate::store::{Control, consolidate};

fn consolidate(fixture: &Fixture) -> (ParquetFile, CommitRecord) {
    let options = consolidate::Options::default();
    let done = consolidate::run(&fixture.store, &options, fixture.now, &Control::default()).unwrap();
    assert!(done.notes.is_empty(), "{:?}", done.notes);
    let main = ParquetFile::open(&*fixture.store.disk, &fixture.store.layout.main()).unwrap();
    let commit = CommitRecord::of(&main).unwrap().unwrap();
    (main, commit)
}

fn entries(index: &TestKeys) -> Vec<Entry> {
    (0..index.blocks()).flat_map(|at| index.block(at).unwrap()).collect()
}

/// What the index should hold: main's keys, read.
fn expected(main: &ParquetFile) -> Vec<Entry> {
    let mut found = Vec::new();
    let groups: Vec<usize> = (0..main.metadata().num_row_groups()).collect();
    let zone = jiff::tz::TimeZone::UTC;
    each_key(main, &zone, &groups, &Control::default(), |group, _, key| {
        found.push((short(key), group as u16));
    })
    .unwrap();
    found.sort_unstable();
    found
}

fn rows(ids: std::ops::Range<i64>, time: i64) -> arrow::array::RecordBatch {
    batch(&ids.map(|id| record(&format!("t{id:03}"), true, time)).collect::<Vec<_>>())
}

#[test]
fn each_commit_carries_the_index_on() {
    with_group_rows(20, || {
        let fixture = Fixture::new();
        // Many new rows, few, attempts at old tests in one row group, and in all.
        for (at, ids) in [0..170, 200..205, 30..33, 0..204].into_iter().enumerate() {
            fixture.increment(&LEGACY.replace("7_", &format!("{at}7_")), &rows(ids, at as i64));
            let (main, commit) = consolidate(&fixture);
            let index = TestKeys::of(&fixture.store, &main, &commit).expect("an index");
            assert_eq!(entries(&index), expected(&main));
            assert_eq!(index.entries as u64, main.rows());
        }
        let names = fixture.store.disk.list(fixture.store.layout.root()).unwrap();
        assert_eq!(names.iter().filter(|entry| layout::test_keys_of(&entry.name).is_some()).count(), 1);
    });
}

#[test]
fn every_key_is_found_in_its_row_group() {
    with_group_rows(20, || {
        let fixture = Fixture::new();
        fixture.increment(LEGACY, &rows(0..170, 1));
        let (main, commit) = consolidate(&fixture);
        let index = TestKeys::of(&fixture.store, &main, &commit).unwrap();
        for (hash, group) in expected(&main) {
            assert_eq!(index.groups(&HashSet::from([hash])).unwrap(), [usize::from(group)]);
        }
        let all: HashSet<u64> = expected(&main).iter().map(|(hash, _)| *hash).collect();
        assert_eq!(index.groups(&all).unwrap().len(), 9);
        for absent in [0, 1 << 63, u64::MAX] {
            assert!(index.groups(&HashSet::from([absent])).unwrap().is_empty());
        }
    });
}

#[test]
fn a_damaged_index_or_one_of_another_main_is_not_believed() {
    let fixture = Fixture::new();
    fixture.increment(LEGACY, &rows(0..50, 1));
    let (main, commit) = consolidate(&fixture);
    let path = fixture.store.layout.root().join(layout::test_keys_name(&commit.commit_id));
    let good = std::fs::read(&path).unwrap();
    let wanted: HashSet<u64> = expected(&main).iter().map(|(hash, _)| *hash).collect();
    let believed = || {
        let index = TestKeys::of(&fixture.store, &main, &commit)?;
        index.groups(&wanted).ok()
    };
    assert_eq!(believed(), Some(vec![0]));
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert_eq!(believed(), None, "byte {at}");
    }
    for length in [0, 1, good.len() - 1, good.len() / 2] {
        std::fs::write(&path, &good[..length]).unwrap();
        assert_eq!(believed(), None, "{length} bytes");
    }
    std::fs::write(&path, &good).unwrap();
    assert!(TestKeys::open(fixture.store.disk.open(&path).unwrap(), 7, &commit.commit_id).is_err());
    assert!(TestKeys::open(fixture.store.disk.open(&path).unwrap(), main.stat().bytes, "other").is_err());
    // Whatever it is, second attempts are found.
    std::fs::write(&path, &good[1..]).unwrap();
    fixture.increment(&LEGACY.replace("7_", "8_"), &rows(0..10, 2));
    let (main, commit) = consolidate(&fixture);
    assert_eq!(main.rows(), 50);
    assert_eq!(entries(&TestKeys::of(&fixture.store, &main, &commit).unwrap()), expected(&main));
}
