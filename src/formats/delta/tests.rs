use std::fs;

use super::*;
use crate::store::Record;
use crate::store::write::writer::{Writer, WriterOptions};

fn add(store: &Store, ids: std::ops::Range<u64>, change: impl Fn(u64, &mut Record)) {
    let mut writer = Writer::open(store, WriterOptions::default()).unwrap();
    let record = |id: u64| {
        let mut record = Record {
            model: "m".into(),
            test_id: Some(format!("t{id}")),
            success: Some(true),
            ..Record::default()
        };
        change(id, &mut record);
        record
    };
    writer.append_all(ids.map(record).collect()).unwrap();
    writer.close().unwrap();
}

fn exported(store: &Store, folder: &Path) -> Exported {
    let (filter, control) = (Filter::default(), Control::default());
    let place = Folder::open(store, folder).unwrap();
    export(store, &filter, &place, Timestamp::now(), &control).unwrap()
}

fn read(folder: &Path) -> Log {
    let nobodys = Store::new(folder.join("no such store"));
    Log::read(&Folder::open(&nobodys, folder).unwrap()).unwrap()
}

/// The rows of the parts that the log names.
fn rows_of(folder: &Path) -> usize {
    let log = read(folder);
    let rows = |name: &String| {
        let file = fs::File::open(folder.join(name)).unwrap();
        let reader =
            parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        reader.metadata().file_metadata().num_rows() as usize
    };
    log.files.keys().map(rows).sum()
}

#[test]
fn a_second_export_writes_only_what_changed() {
    let place = tempfile::tempdir().unwrap();
    let (store, table) = (Store::new(place.path().join("s")), place.path().join("t"));
    add(&store, 0..10, |_, _| {});
    let first = exported(&store, &table);
    assert_eq!((first.version, first.rows, first.added), (0, 10, 1));
    let again = exported(&store, &table);
    assert_eq!((again.version, again.written, again.removed), (0, 0, 0));
    add(&store, 10..15, |_, _| {});
    let more = exported(&store, &table);
    assert_eq!((more.version, more.rows, more.written), (1, 15, 5));
    assert_eq!((more.added, more.removed), (1, 0));
    // A newer attempt: the part with the older one goes in the same commit.
    add(&store, 12..13, |_, record| record.success = Some(false));
    let newer = exported(&store, &table);
    assert_eq!(
        (newer.rows, newer.written, newer.added, newer.removed),
        (15, 5, 1, 1)
    );
    assert_eq!(rows_of(&table), 15);
    // A column more: parts without it stay.
    add(&store, 15..16, |_, record| record.score = Some(0.5));
    let wider = exported(&store, &table);
    assert_eq!((wider.rows, wider.written, wider.removed), (16, 1, 0));
    assert_eq!(rows_of(&table), 16);
}

#[test]
fn files_of_other_programs_are_replaced_and_small_parts_become_one() {
    let place = tempfile::tempdir().unwrap();
    let (store, table) = (Store::new(place.path().join("s")), place.path().join("t"));
    add(&store, 0..4, |_, _| {});
    exported(&store, &table);
    // As an optimize does: another file with the same rows.
    let log = read(&table);
    let (own, size) = log.files.first_key_value().unwrap();
    fs::copy(table.join(own), table.join("other part.parquet")).unwrap();
    let line = format!(
        "{{\"remove\":{{\"path\":\"{own}\",\"dataChange\":false}}}}\n\
         {{\"add\":{{\"path\":\"other%20part.parquet\",\"size\":{size},\"dataChange\":false}}}}\n"
    );
    fs::write(table.join("_delta_log/00000000000000000001.json"), line).unwrap();
    let after = exported(&store, &table);
    assert_eq!(
        (after.version, after.rows, after.added, after.removed),
        (2, 4, 1, 1)
    );
    assert_eq!(rows_of(&table), 4);
    for id in 4..24 {
        add(&store, id..id + 1, |_, _| {});
        exported(&store, &table);
    }
    let parts = read(&table).files.len();
    assert!(parts <= FEW + 1, "{parts}");
    assert_eq!(rows_of(&table), 24);
}

#[test]
fn a_log_goes_on_from_its_checkpoint_without_what_was_before() {
    let place = tempfile::tempdir().unwrap();
    let (store, table) = (Store::new(place.path().join("s")), place.path().join("t"));
    for id in 0..=checkpoint::EVERY {
        add(&store, id..id + 1, |_, _| {});
        exported(&store, &table);
    }
    let whole = read(&table);
    assert_eq!(whole.version, Some(checkpoint::EVERY));
    // As another program's cleanup of the log does.
    for version in 0..checkpoint::EVERY {
        fs::remove_file(table.join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    let rest = read(&table);
    assert_eq!((rest.version, &rest.files), (whole.version, &whole.files));
    assert_eq!(rest.schema, whole.schema);
    let next = checkpoint::EVERY + 1;
    add(&store, next..next + 1, |_, _| {});
    let more = exported(&store, &table);
    assert_eq!((more.version, more.rows, more.written), (next, next + 1, 1));
    assert_eq!(rows_of(&table) as u64, next + 1);
}

#[test]
fn what_is_no_place_for_a_table_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let (store, table) = (Store::new(place.path().join("s")), place.path().join("t"));
    add(&store, 0..2, |_, _| {});
    let refused = |folder: &Path| {
        let (filter, control) = (Filter::default(), Control::default());
        let done = Folder::open(&store, folder)
            .and_then(|place| export(&store, &filter, &place, Timestamp::now(), &control));
        done.unwrap_err().to_string()
    };
    assert!(refused(store.layout.root()).contains("belongs to a store"));
    exported(&store, &table);
    fs::rename(
        table.join("_delta_log/00000000000000000000.json"),
        table.join("_delta_log/00000000000000000007.json"),
    )
    .unwrap();
    assert!(refused(&table).contains("new folder"));
}

#[test]
fn names_and_types_that_a_table_lacks_are_changed_and_said() {
    use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
    let list = DataType::new_list(DataType::Int64, true);
    let shape = Shape::new(&Schema::new(vec![
        Field::new("a b", DataType::Utf8, true),
        Field::new("A_b", DataType::UInt64, true),
        Field::new("l", list, true),
    ]));
    assert_eq!(shape.notes.len(), 3, "{:?}", shape.notes);
    let names = shape.arrow();
    let names: Vec<&str> = names
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    assert_eq!(names, ["a_b", "A_b_2", "l"]);
    let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let shape = Shape::new(&Schema::new(vec![Field::new("t", nanoseconds, true)]));
    assert!(shape.notes[0].contains("cut to microseconds"));
}

#[test]
fn values_that_a_table_has_no_type_for_are_json_or_an_error() {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, StructArray, TimestampSecondArray,
    };
    use arrow::datatypes::{DataType, Field};
    let batch = |column: ArrayRef| RecordBatch::try_from_iter([("x", column)]).unwrap();
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x, n: 2"]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let fields = vec![
        (Arc::new(Field::new("t", DataType::Utf8, true)), texts),
        (Arc::new(Field::new("n", DataType::Int64, true)), numbers),
    ];
    let nested = batch(Arc::new(StructArray::from(fields)));
    let written = Shape::new(&nested.schema()).apply(&nested).unwrap();
    assert_eq!(
        written["x"].as_string::<i32>().value(0),
        r#"{"t":"x, n: 2","n":1}"#
    );
    let far = TimestampSecondArray::from(vec![1 << 60]).with_timezone("UTC");
    let far = batch(Arc::new(far));
    let refused = Shape::new(&far.schema()).apply(&far).unwrap_err();
    assert!(refused.to_string().contains("no exact place"), "{refused}");
}

/// Another program holds it, and perhaps for ever.
#[test]
fn who_waits_for_the_lock_of_a_table_can_be_cancelled() {
    let place = tempfile::tempdir().unwrap();
    let (store, table) = (Store::new(place.path().join("s")), place.path().join("t"));
    add(&store, 0..2, |_, _| {});
    exported(&store, &table);
    let held = fs::File::create(table.join("_evaltop/lock")).unwrap();
    held.lock().unwrap();
    let control = Control::default();
    let folder = Folder::open(&store, &table).unwrap();
    let files = || fs::read_dir(table.join("_evaltop")).unwrap().count();
    let before = files();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| folder.replace("_evaltop/x", b"x", &|_| false, &control));
        control.cancel();
        let begun = std::time::Instant::now();
        while !waits.is_finished() && begun.elapsed().as_secs() < 20 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        drop(held);
        assert!(matches!(waits.join().unwrap(), Err(Error::Cancelled)));
    });
    assert_eq!(files(), before);
}
