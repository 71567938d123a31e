use super::*;
use crate::store::format::layout::{IncrementalName, classify, increment_name, journal_name, stem};
use crate::store::parquet::ParquetFile;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("store"));
    (folder, store)
}

fn record(model: &str) -> Record {
    Record {
        model: model.into(),
        success: Some(true),
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
    let chunk = crate::store::write::journal::read(
        &*store.disk,
        &store.layout.incremental().join(&journals[0]),
        0,
    )
    .unwrap();
    let found = &chunk.records[0];
    assert_eq!(found.test_id.as_deref(), Some(id.as_str()));
    assert_eq!(found.process_id.as_deref(), Some(writer.process_id()));
    assert!(found.timestamp.is_some() && found.recorded_at >= found.timestamp);
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
fn every_row_is_accepted_later_than_the_one_before() {
    let (_folder, store) = store();
    let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
    let from_elsewhere = Record {
        recorded_at: Some(7),
        ..record("m")
    };
    writer.append_all(vec![from_elsewhere; 3]).unwrap();
    writer.append(record("m")).unwrap();
    let journal = named(&store, IncrementalName::Journal).remove(0);
    let path = store.layout.incremental().join(journal);
    let lines = crate::store::write::journal::read(&*store.disk, &path, 0).unwrap();
    let times: Vec<i64> = lines.records.iter().filter_map(|r| r.recorded_at).collect();
    assert!(times.len() == 4 && times[0] > 7, "{times:?}");
    assert!(times.windows(2).all(|two| two[0] < two[1]), "{times:?}");
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

/// A writer with some rows, and the path of its journal.
fn writer_with_rows(store: &Store, rows: usize) -> (Writer, std::path::PathBuf) {
    let mut writer = Writer::open(store, WriterOptions::default()).unwrap();
    writer.append_all(vec![record("m"); rows]).unwrap();
    let journal = named(store, IncrementalName::Journal).remove(0);
    let path = store.layout.incremental().join(journal);
    (writer, path)
}

fn published(store: &Store) -> u64 {
    let increments = named(store, IncrementalName::Increment);
    increments.iter().map(|name| rows(store, name)).sum()
}

#[test]
fn publishing_fails_without_losing_rows() {
    let (_folder, store) = store();
    let (writer, path) = writer_with_rows(&store, 1);
    // Nothing can be made in place of it.
    let away = store.layout.root().with_file_name("away");
    std::fs::rename(store.layout.root(), &away).unwrap();
    std::fs::write(store.layout.root(), "in the way").unwrap();
    assert!(writer.close().is_err());
    std::fs::remove_file(store.layout.root()).unwrap();
    std::fs::rename(away, store.layout.root()).unwrap();
    assert!(named(&store, IncrementalName::Increment).is_empty());
    let chunk = crate::store::write::journal::read(&*store.disk, &path, 0).unwrap();
    assert_eq!(chunk.records.len(), 1);
}

#[test]
fn a_journal_that_is_gone_at_close_is_written_again_and_published() {
    let (_folder, store) = store();
    let (writer, path) = writer_with_rows(&store, 3);
    let notes = writer.notes();
    std::fs::remove_dir_all(store.layout.root()).unwrap();
    writer.close().unwrap();
    assert_eq!(published(&store), 3);
    let reported = notes.take().remove(0);
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(
        reported.contains(name) && reported.contains("3 rows"),
        "{reported}"
    );
}

#[test]
fn what_another_program_cut_off_is_not_published_as_if_it_were_all() {
    let (_folder, store) = store();
    let (writer, path) = writer_with_rows(&store, 3);
    let file = std::fs::File::options().write(true).open(&path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    let error = writer.close().unwrap_err().to_string();
    assert!(
        error.contains("of its") && error.contains("3 rows"),
        "{error}"
    );
    assert_eq!(published(&store), 0);
    assert_eq!(named(&store, IncrementalName::Journal).len(), 1);
}
