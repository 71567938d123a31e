use super::*;
use crate::store::layout::{IncrementalName, classify, increment_name, journal_name, stem};
use crate::store::parquet_file::ParquetFile;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("store"));
    (folder, store)
}

fn record(model: &str) -> Record {
    Record {
        model: model.into(),
        success: true,
        ..Record::default()
    }
}

fn named(store: &Store, kind: IncrementalName) -> Vec<String> {
    let entries = store.disk.list(&store.layout.incremental()).unwrap();
    let mut names: Vec<_> = entries
        .into_iter()
        .map(|e| e.name)
        .filter(|n| classify(n) == kind)
        .collect();
    names.sort_by_key(|name| stem(name).and_then(|s| s.rsplit('_').next()?.parse::<u64>().ok()));
    names
}

fn rows(store: &Store, name: &str) -> u64 {
    ParquetFile::open(&*store.disk, &store.layout.incremental().join(name))
        .unwrap()
        .rows()
}

#[test]
fn a_record_is_stamped_and_in_the_journal_when_it_is_acknowledged() {
    let (_folder, store) = store();
    let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
    let id = writer.append(record("m")).unwrap();
    let journals = named(&store, IncrementalName::Journal);
    let chunk = crate::store::journal::read(
        &*store.disk,
        &store.layout.incremental().join(&journals[0]),
        0,
    )
    .unwrap();
    let found = &chunk.records[0];
    assert_eq!(found.test_id.as_deref(), Some(id.as_str()));
    assert_eq!(found.process_id.as_deref(), Some(writer.process_id()));
    assert!(found.timestamp.is_some());
    assert!(named(&store, IncrementalName::Increment).is_empty());
}

#[test]
fn closing_publishes_and_keeps_the_journal_unlocked() {
    let (_folder, store) = store();
    let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
    writer.append_all(vec![record("a"), record("b")]).unwrap();
    let journal = named(&store, IncrementalName::Journal).remove(0);
    let path = store.layout.incremental().join(&journal);
    assert!(store.disk.is_locked(&path).unwrap());
    writer.close().unwrap();
    assert!(!store.disk.is_locked(&path).unwrap());
    let stem = stem(&journal).unwrap();
    assert_eq!(rows(&store, &increment_name(stem)), 2);
    assert_eq!(
        named(&store, IncrementalName::Journal),
        [journal_name(stem)]
    );
    assert!(named(&store, IncrementalName::Temporary).is_empty());
}

#[test]
fn a_full_segment_is_followed_by_another() {
    let (_folder, store) = store();
    let options = WriterOptions {
        segment_rows: 2,
        ..WriterOptions::default()
    };
    let mut writer = Writer::open(&store, options).unwrap();
    for _ in 0..5 {
        writer.append(record("m")).unwrap();
    }
    writer.close().unwrap();
    let increments = named(&store, IncrementalName::Increment);
    assert_eq!(
        increments
            .iter()
            .map(|name| rows(&store, name))
            .collect::<Vec<_>>(),
        [2, 2, 1]
    );
}

#[test]
fn an_old_segment_is_published_and_its_lock_shows_that_the_writer_lives() {
    let (_folder, store) = store();
    let options = WriterOptions {
        segment_age: Duration::from_millis(1),
        ..WriterOptions::default()
    };
    let mut writer = Writer::open(&store, options).unwrap();
    writer.append(record("m")).unwrap();
    while named(&store, IncrementalName::Increment).is_empty()
        || writer.shared.lock().newest.is_none()
    {
        thread::sleep(Duration::from_millis(5));
    }
    let journal = named(&store, IncrementalName::Journal).remove(0);
    assert!(
        store
            .disk
            .is_locked(&store.layout.incremental().join(&journal))
            .unwrap()
    );
    writer.append(record("m")).unwrap();
    assert_eq!(named(&store, IncrementalName::Journal).len(), 2);
    writer.close().unwrap();
}

#[test]
fn publishing_fails_without_losing_rows() {
    let (_folder, store) = store();
    let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
    writer.append(record("m")).unwrap();
    let journal = named(&store, IncrementalName::Journal).remove(0);
    std::fs::rename(store.layout.incremental(), store.layout.root().join("away")).unwrap();
    assert!(writer.close().is_err());
    std::fs::rename(store.layout.root().join("away"), store.layout.incremental()).unwrap();
    assert!(named(&store, IncrementalName::Increment).is_empty());
    let chunk =
        crate::store::journal::read(&*store.disk, &store.layout.incremental().join(&journal), 0)
            .unwrap();
    assert_eq!(chunk.records.len(), 1);
}
