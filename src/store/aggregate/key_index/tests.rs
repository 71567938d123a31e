use super::*;
use crate::store::Control;
use crate::store::aggregate::short;
use crate::store::commit::consolidate;
use crate::store::format::commit_record::CommitRecord;
use crate::store::parquet::table::with_group_rows;
use crate::store::testing::fixture::{Fixture, LEGACY, batch, record};

fn consolidate(fixture: &Fixture) -> (ParquetFile, CommitRecord) {
    let options = consolidate::Options::default();
    let done =
        consolidate::run(&fixture.store, &options, fixture.now, &Control::default()).unwrap();
    assert!(done.notes.is_empty(), "{:?}", done.notes);
    let main = ParquetFile::open(&*fixture.store.disk, &fixture.store.layout.main()).unwrap();
    let commit = CommitRecord::of(&main).unwrap().unwrap();
    (main, commit)
}

fn entries(index: &TestKeys) -> Vec<Entry> {
    index.entries().unwrap()
}

/// The index's files, by size.
fn files(fixture: &Fixture) -> Vec<(u64, String)> {
    let names = fixture
        .store
        .disk
        .list(fixture.store.layout.root())
        .unwrap()
        .into_iter();
    let keys = names.filter(|entry| layout::test_keys_of(&entry.name).is_some());
    let mut files: Vec<_> = keys.map(|entry| (entry.stat.bytes, entry.name)).collect();
    files.sort();
    files
}

/// What the index should hold: main's keys, read.
fn expected(main: &ParquetFile) -> Vec<Entry> {
    let mut found = Vec::new();
    let groups: Vec<usize> = (0..main.metadata().num_row_groups()).collect();
    let zone = jiff::tz::TimeZone::UTC;
    each_key(
        main,
        &zone,
        &groups,
        &Control::default(),
        |group, _, key| {
            found.push((short(key), group as u16));
        },
    )
    .unwrap();
    found.sort_unstable();
    found
}

fn rows(ids: std::ops::Range<i64>, time: i64) -> arrow::array::RecordBatch {
    batch(
        &ids.map(|id| record(&format!("t{id:03}"), true, time))
            .collect::<Vec<_>>(),
    )
}

#[test]
fn each_commit_carries_the_index_on() {
    with_group_rows(20, || {
        let fixture = Fixture::new();
        // Many new rows, few, attempts at old tests in one row group, and in all.
        for (at, ids) in [0..170, 200..205, 30..33, 0..204].into_iter().enumerate() {
            fixture.increment(
                &LEGACY.replace("7_", &format!("{at}7_")),
                &rows(ids, at as i64),
            );
            let (main, commit) = consolidate(&fixture);
            let index = TestKeys::of(&fixture.store, &main, &commit).expect("an index");
            assert_eq!(entries(&index), expected(&main));
            assert_eq!(entries(&index).len() as u64, main.rows());
        }
        assert_eq!(files(&fixture).len(), 1);
    });
}

#[test]
fn small_commits_write_a_small_file_beside_the_large_one() {
    with_group_rows(20, || {
        let fixture = Fixture::new();
        let commit = |at: i64, ids: std::ops::Range<i64>| {
            fixture.increment(&LEGACY.replace("7_", &format!("{at}7_")), &rows(ids, at));
            let (main, commit) = consolidate(&fixture);
            let index = TestKeys::of(&fixture.store, &main, &commit).expect("an index");
            assert_eq!(entries(&index), expected(&main), "commit {at}");
            for (hash, group) in expected(&main) {
                assert_eq!(
                    index.groups(&HashSet::from([hash])).unwrap(),
                    [usize::from(group)]
                );
            }
            files(&fixture)
        };
        let large = commit(1, 0..400).remove(0);
        for at in 0..12 {
            let found = commit(10 + at, 400 + at..401 + at);
            assert_eq!((found.len(), &found[1]), (2, &large), "the large one stays");
        }
        // A second attempt at what the large file knows: its row group is not what it was.
        assert_eq!(commit(30, 395..396).last(), Some(&large));
        // More than a fifth: one file again.
        assert_eq!(commit(40, 500..640).len(), 1);
        let large = commit(50, 700..701).pop();
        // An old test in the middle: what comes after moved, so all is written again.
        let found = commit(60, 100..101);
        assert!(
            !found.contains(&large.unwrap()) && found.len() == 1,
            "{found:?}"
        );
    });
}

#[test]
fn a_small_file_without_its_large_one_is_not_believed() {
    with_group_rows(20, || {
        let fixture = Fixture::new();
        fixture.increment(LEGACY, &rows(0..400, 1));
        consolidate(&fixture);
        fixture.increment(&LEGACY.replace("7_", "8_"), &rows(400..401, 1));
        let (main, commit) = consolidate(&fixture);
        let path = fixture.store.layout.root().join(&files(&fixture)[1].1);
        let good = std::fs::read(&path).unwrap();
        assert!(TestKeys::of(&fixture.store, &main, &commit).is_some());
        for length in [0, good.len() / 2, good.len() - 1] {
            std::fs::write(&path, &good[..length]).unwrap();
            assert!(TestKeys::of(&fixture.store, &main, &commit).is_none());
        }
        std::fs::remove_file(&path).unwrap();
        assert!(TestKeys::of(&fixture.store, &main, &commit).is_none());
        // Second attempts are found all the same, and the index is whole again.
        fixture.increment(&LEGACY.replace("7_", "9_"), &rows(0..2, 2));
        let (main, commit) = consolidate(&fixture);
        assert_eq!(main.rows(), 401);
        assert_eq!(
            entries(&TestKeys::of(&fixture.store, &main, &commit).unwrap()),
            expected(&main)
        );
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
            assert_eq!(
                index.groups(&HashSet::from([hash])).unwrap(),
                [usize::from(group)]
            );
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
    let path = fixture
        .store
        .layout
        .root()
        .join(layout::test_keys_name(&commit.commit_id));
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
    let other = CommitRecord {
        commit_id: "other".into(),
        ..commit.clone()
    };
    std::fs::copy(
        &path,
        fixture
            .store
            .layout
            .root()
            .join(layout::test_keys_name("other")),
    )
    .unwrap();
    assert!(TestKeys::of(&fixture.store, &main, &other).is_none());
    fixture.increment(&LEGACY.replace("7_", "6_"), &rows(60..61, 1));
    let (larger, _) = consolidate(&fixture);
    std::fs::write(&path, &good).unwrap();
    assert!(
        TestKeys::of(&fixture.store, &larger, &commit).is_none(),
        "of another size"
    );
    // Whatever it is, second attempts are found.
    let path = fixture.store.layout.root().join(&files(&fixture)[0].1);
    std::fs::write(path, &good[1..]).unwrap();
    fixture.increment(&LEGACY.replace("7_", "8_"), &rows(0..10, 2));
    let (main, commit) = consolidate(&fixture);
    assert_eq!(main.rows(), 51);
    assert_eq!(
        entries(&TestKeys::of(&fixture.store, &main, &commit).unwrap()),
        expected(&main)
    );
}
