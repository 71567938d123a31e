use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::*;
use crate::store::Record;
use crate::store::commit::consolidate;
use crate::store::format::session_note::SessionNote;
use crate::store::maintain::remove;
use crate::store::write::writer::{Writer, WriterOptions};

fn record(id: u64) -> Record {
    Record {
        model: "m".into(),
        test_id: Some(format!("t{id}")),
        success: Some(id.is_multiple_of(2)),
        ..Record::default()
    }
}

fn consolidated(store: &Store) -> Result<consolidate::Outcome> {
    let options = consolidate::Options::default();
    consolidate::run(store, &options, Timestamp::now(), &Control::default())
}

fn ids(store: &Store) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for batch in query::rows(store, &Selection::default(), &Control::default()).unwrap() {
        let batch = batch.unwrap();
        let columns = Columns::new(&batch).unwrap();
        for row in 0..batch.num_rows() {
            assert!(found.insert(columns.text("test_id", row).unwrap().to_owned()));
        }
    }
    found
}

fn taken(store: &Store, source: &Store) -> Pulled {
    let place = Place::Folder(source.layout.root().to_path_buf());
    let (options, control) = (Options::default(), Control::default());
    pull(store, &place, &options, Timestamp::now(), &control).unwrap()
}

#[test]
fn a_place_is_a_folder_or_a_host_and_a_path() {
    let host = |host: &str, path: &str| Place::Host {
        host: host.into(),
        path: path.into(),
    };
    for (text, expected) in [
        ("node7:/runs/a", host("node7", "/runs/a")),
        ("me@node7:runs", host("me@node7", "runs")),
        ("node7:~/runs", host("node7", "runs")),
        ("node7:", host("node7", ".")),
        ("[::1]:/runs", host("::1", "/runs")),
        ("-oProxyCommand=x:/runs", host("-oProxyCommand=x", "/runs")),
        ("./a:b", Place::Folder("./a:b".into())),
        ("/runs/12:30", Place::Folder("/runs/12:30".into())),
        (":x", Place::Folder(":x".into())),
        ("runs", Place::Folder("runs".into())),
    ] {
        assert_eq!(Place::parse(text).unwrap(), expected, "{text}");
    }
}

#[test]
fn rows_of_a_living_writer_are_taken_once_whatever_becomes_of_their_files() {
    let folder = tempfile::tempdir().unwrap();
    let source = Store::new(folder.path().join("source"));
    let store = Store::new(folder.path().join("store"));
    let mut writer = Writer::open(&source, WriterOptions::default()).unwrap();
    writer.append_all((0..3).map(record).collect()).unwrap();
    assert_eq!(taken(&store, &source).rows, 3);
    assert!(taken(&store, &source).unchanged);
    writer.append_all((3..5).map(record).collect()).unwrap();
    assert_eq!(taken(&store, &source).rows, 2);
    writer.publish().unwrap();
    assert_eq!(
        taken(&store, &source).rows,
        0,
        "the journal became an increment"
    );
    writer.append_all(vec![record(5)]).unwrap();
    writer.close().unwrap();
    consolidated(&source).unwrap();
    assert_eq!(taken(&store, &source).rows, 1, "the increment became main");
    consolidated(&store).unwrap();
    // What was said of a session comes along.
    let note = SessionNote::new(Some("x".into()), Some(6), serde_json::Map::new()).unwrap();
    session_notes::keep(&source, &note).unwrap();
    std::fs::remove_dir_all(store.layout.sources()).unwrap();
    assert_eq!(taken(&store, &source).rows, 0);
    assert_eq!(
        session_notes::all(&store).unwrap(),
        std::slice::from_ref(&note)
    );
    // Also what is said when no row has come since.
    let other = SessionNote::new(Some("y".into()), Some(7), serde_json::Map::new()).unwrap();
    session_notes::keep(&source, &other).unwrap();
    assert!(taken(&store, &source).unchanged);
    assert_eq!(session_notes::all(&store).unwrap().len(), 2);
    // The memory is lost: everything is looked at again, and nothing is taken again.
    std::fs::remove_dir_all(store.layout.sources()).unwrap();
    assert_eq!(taken(&store, &source).rows, 0);
    assert_eq!(ids(&store), ids(&source));
}

#[test]
fn rows_without_ids_get_the_ids_that_their_store_gives_them() {
    let folder = tempfile::tempdir().unwrap();
    let source = Store::new(folder.path().join("source"));
    let store = Store::new(folder.path().join("store"));
    source.create().unwrap();
    let mut writer = Writer::open(&source, WriterOptions::default()).unwrap();
    writer.append_all(vec![record(0)]).unwrap();
    writer.close().unwrap();
    consolidated(&source).unwrap();
    // As other programs write: no id, and a time of whole seconds.
    let table = RecordBatch::try_from_iter([
        (
            "model",
            std::sync::Arc::new(arrow::array::StringArray::from(vec!["m"; 4])) as _,
        ),
        (
            "success",
            std::sync::Arc::new(BooleanArray::from(vec![true; 4])) as _,
        ),
        (
            "timestamp",
            std::sync::Arc::new(arrow::array::StringArray::from(vec![
                "2026-01-31T10:00:00";
                4
            ])) as _,
        ),
    ])
    .unwrap();
    let path = source
        .layout
        .incremental()
        .join("increment_1_20260131_100000.parquet");
    let file = std::fs::File::create(path).unwrap();
    let mut parquet = ::parquet::arrow::ArrowWriter::try_new(file, table.schema(), None).unwrap();
    parquet.write(&table).unwrap();
    parquet.close().unwrap();
    assert_eq!(taken(&store, &source).rows, 5);
    consolidated(&source).unwrap();
    assert_eq!(
        taken(&store, &source).rows,
        0,
        "consumed, they keep their ids"
    );
    assert_eq!(ids(&store), ids(&source));
}

#[test]
fn a_source_that_was_replaced_is_noticed_and_the_store_itself_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let source = Store::new(folder.path().join("source"));
    let store = Store::new(folder.path().join("store"));
    for id in 0..2 {
        let mut writer = Writer::open(&source, WriterOptions::default()).unwrap();
        writer.append_all(vec![record(id)]).unwrap();
        writer.close().unwrap();
        consolidated(&source).unwrap();
        let pulled = taken(&store, &source);
        assert_eq!((pulled.rows, pulled.replaced), (1, id == 1));
        std::fs::remove_dir_all(source.layout.root()).unwrap();
    }
    let place = Place::Folder(store.layout.root().to_path_buf());
    let (options, control) = (Options::default(), Control::default());
    let error = pull(&store, &place, &options, Timestamp::now(), &control).unwrap_err();
    assert!(error.to_string().contains("is the store itself"), "{error}");
}

#[test]
fn what_was_removed_on_purpose_is_not_taken_again_and_stays_in_no_mailbox() {
    let folder = tempfile::tempdir().unwrap();
    let source = Store::new(folder.path().join("source"));
    let store = Store::new(folder.path().join("store"));
    source.create().unwrap();
    let write = |ids: std::ops::Range<u64>| {
        let mut writer = Writer::open(&source, WriterOptions::default()).unwrap();
        writer.append_all(ids.map(record).collect()).unwrap();
        writer.close().unwrap();
    };
    write(0..4);
    assert_eq!(taken(&store, &source).rows, 4);
    let (control, now) = (Control::default(), Timestamp::now());
    let filter = query::Filter {
        condition: Some(Box::new("test_id = t0".parse().unwrap())),
        ..query::Filter::default()
    };
    let plan = remove::plan(&store, &filter, &control).unwrap();
    assert_eq!(plan.rows, 1);
    remove::run(&store, &plan, now, &control).unwrap();
    consolidated(&store).unwrap();
    write(4..5);
    assert_eq!(taken(&store, &source).rows, 1);
    consolidated(&store).unwrap();
    // As senders put it: increments alone.
    let mailbox = folder.path().join("mailbox");
    std::fs::create_dir_all(mailbox.join("incremental")).unwrap();
    for entry in std::fs::read_dir(source.layout.incremental()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension() == Some("parquet".as_ref()) {
            let to = mailbox.join("incremental").join(path.file_name().unwrap());
            std::fs::copy(path, to).unwrap();
        }
    }
    let place = Place::Folder(mailbox);
    let options = Empty {
        older_than: SignedDuration::ZERO,
        dry_run: false,
    };
    let late = now + SignedDuration::from_mins(1);
    let emptied = empty(&store, &place, folder.path(), options, late, &control).unwrap();
    assert_eq!((emptied.removed, emptied.needed), (2, 0));
}
