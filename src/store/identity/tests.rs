use std::collections::BTreeSet;

use arrow::array::{Array, Float64Array, Int64Array};

use super::*;
use crate::store::RealDisk;
use crate::store::testing::fixture::Fixture;

const NAME: &str = "increment_7_20260131_120000.parquet";

/// Rows of one model with ids and times (µs) and something that differs.
fn rows(rows: &[(Option<&str>, Option<i64>, f64)]) -> RecordBatch {
    let texts = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let times: arrow::array::TimestampMicrosecondArray = rows.iter().map(|row| row.1).collect();
    RecordBatch::try_from_iter_with_nullable([
        (
            "test_id",
            texts(rows.iter().map(|row| row.0).collect()),
            true,
        ),
        ("model", texts(vec![Some("m"); rows.len()]), true),
        (
            "success",
            Arc::new(arrow::array::BooleanArray::from(vec![true; rows.len()])) as ArrayRef,
            true,
        ),
        (
            "timestamp",
            Arc::new(times.with_timezone("UTC")) as ArrayRef,
            true,
        ),
        (
            "score",
            Arc::new(rows.iter().map(|row| Some(row.2)).collect::<Float64Array>()) as ArrayRef,
            true,
        ),
    ])
    .unwrap()
}

fn file(fixture: &Fixture, name: &str, batch: &RecordBatch) -> ParquetFile {
    fixture.increment(name, batch);
    ParquetFile::open(&RealDisk, &fixture.store.layout.incremental().join(name)).unwrap()
}

fn ids(batches: crate::store::parquet::Batches) -> Vec<String> {
    let mut ids = Vec::new();
    for batch in batches {
        let batch = batch.unwrap();
        let column = batch["test_id"].as_string::<i32>().clone();
        ids.extend((0..column.len()).map(|row| {
            assert!(column.is_valid(row), "no row is without an id");
            column.value(row).to_owned()
        }));
    }
    ids
}

fn namer() -> Namer {
    Namer {
        store: "s".to_owned(),
        zone: TimeZone::UTC,
    }
}

#[test]
fn every_row_gets_an_id_whichever_part_of_the_file_is_read() {
    let fixture = Fixture::new();
    let batch = rows(&[
        (Some("a"), Some(5), 1.0),
        (None, Some(1_000_001), 1.0),
        (Some("nan"), Some(2_000_000), 1.0),
        (None, Some(2_000_000), 1.0),
        (None, None, 1.0),
        (None, None, 1.0),
        (None, Some(1_000_001), 1.0),
        (None, None, 2.0),
    ]);
    let file = namer().file(&file(&fixture, NAME, &batch), "increment_7");
    let all = ids(file.batches(None, 0).unwrap());
    assert_eq!(all[0], "a");
    assert_eq!(
        all.iter().collect::<BTreeSet<_>>().len(),
        all.len(),
        "{all:?}"
    );
    assert!(
        all[1..]
            .iter()
            .all(|id| crate::store::format::is_derived(id)),
        "{all:?}"
    );
    assert_eq!(ids(file.batches(Some(&["test_id"]), 3).unwrap()), all[3..]);
    let some = [all[2].clone(), all[5].clone(), all[6].clone()];
    assert_eq!(
        ids(file
            .rows_at(Some(&["test_id", "model"]), &[2, 5, 6])
            .unwrap()),
        some
    );
    let models = file
        .batches(Some(&["model"]), 0)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(models.num_columns(), 1);
}

#[test]
fn a_row_with_a_unique_time_has_one_id_in_every_file() {
    let fixture = Fixture::new();
    let batch = rows(&[
        (None, Some(1_000_001), 1.0),
        (None, Some(1_000_000), 1.0),
        (None, None, 1.0),
    ]);
    let stored = file(&fixture, NAME, &batch);
    let of = |file: ParquetFile| ids(file.batches(None, 0).unwrap());
    let here = of(namer().file(&stored, "increment_7"));
    for other in [namer().file(&stored, "increment_8"), namer().main(&stored)] {
        let there = of(other);
        assert_eq!(here[0], there[0]);
        assert!(
            here[1] != there[1] && here[2] != there[2],
            "{here:?} {there:?}"
        );
    }
    assert_eq!(here, of(namer().file(&stored, "increment_7")));
}

#[test]
fn main_gives_no_id_twice() {
    let fixture = Fixture::new();
    let bare = [(None, None, 1.0), (None, Some(1_000_001), 1.0)];
    let first = namer().main(&file(&fixture, NAME, &rows(&bare)));
    let first = ids(first.batches(None, 0).unwrap());
    // Other code adds the same rows once more, in front.
    let again = rows(&[
        bare[0],
        bare[1],
        (Some(&first[0]), None, 1.0),
        (Some(&first[1]), Some(1_000_001), 1.0),
        bare[0],
    ]);
    let again = ids(namer()
        .main(&file(&fixture, NAME, &again))
        .batches(None, 0)
        .unwrap());
    assert_eq!(again[1], again[3], "its time says that it is the same row");
    let bare: BTreeSet<&String> = [&again[0], &again[2], &again[4]].into();
    assert_eq!(bare.len(), 3, "{again:?}");
}

#[test]
fn types_columns_and_order_change_no_id() {
    let fixture = Fixture::new();
    let batch = rows(&[(None, Some(1_000_001), 3.0), (None, None, 4.0)]);
    let of = |batch: &RecordBatch| {
        let file = namer().file(&file(&fixture, NAME, batch), "increment_7");
        ids(file.batches(None, 0).unwrap())
    };
    let before = of(&batch);
    let others = RecordBatch::try_from_iter_with_nullable([
        (
            "score",
            Arc::new(Int64Array::from(vec![3, 4])) as ArrayRef,
            true,
        ),
        ("model", batch["model"].clone(), true),
        (
            "judge",
            Arc::new(StringArray::from(vec![None::<&str>, Some("")])) as ArrayRef,
            true,
        ),
        ("success", batch["success"].clone(), true),
        (
            "timestamp",
            Arc::new(StringArray::from(vec![
                Some("1970-01-01T00:00:01.000001"),
                None,
            ])) as ArrayRef,
            true,
        ),
    ]);
    assert_eq!(of(&others.unwrap()), before);
}

#[test]
fn a_file_whose_rows_have_ids_is_read_as_it_is() {
    let fixture = Fixture::new();
    let whole = file(
        &fixture,
        NAME,
        &rows(&[(Some("t1"), None, 1.0), (Some("t2"), None, 1.0)]),
    );
    assert!(namer().file(&whole, "x").ids().is_none());
    // The footer does not say: between these lies a spelling of none.
    let unclear = file(
        &fixture,
        NAME,
        &rows(&[(Some("a"), None, 1.0), (Some("z"), None, 1.0)]),
    );
    let unclear = namer().file(&unclear, "x");
    assert!(unclear.ids().is_some() && !unclear.lacks_ids().unwrap());
    assert_eq!(ids(unclear.batches(None, 0).unwrap()), ["a", "z"]);
}
