use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{
    DataType, Field, Float64Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::*;

fn schema(fields: &[(&str, DataType)]) -> Schema {
    Schema::new(
        fields
            .iter()
            .map(|(n, t)| Field::new(*n, t.clone(), true))
            .collect::<Vec<_>>(),
    )
}

fn type_of(schema: &Schema, name: &str) -> Option<DataType> {
    schema
        .field_with_name(name)
        .ok()
        .map(|f| f.data_type().clone())
}

fn dictionary() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
}

#[test]
fn widens_storage_types_to_the_canonical_ones() {
    let mut union = Union::new();
    let file = schema(&[
        ("model", dictionary()),
        ("tool_success_rate", DataType::Float32),
        ("turns", DataType::Int32),
        ("error_type", DataType::Null),
        ("timestamp", DataType::LargeUtf8),
        ("note", DataType::Utf8View),
        ("nothing", DataType::Null),
        ("__index_level_0__", DataType::Int64),
    ]);
    union.add("a.parquet", &file).unwrap();
    let united = union.finish();
    assert_eq!(type_of(&united, "model"), Some(DataType::Utf8));
    assert_eq!(
        type_of(&united, "tool_success_rate"),
        Some(DataType::Float64)
    );
    assert_eq!(type_of(&united, "turns"), Some(DataType::Int64));
    assert_eq!(type_of(&united, "error_type"), Some(DataType::Utf8));
    assert_eq!(type_of(&united, "timestamp"), Some(timestamp_type()));
    assert_eq!(type_of(&united, "note"), Some(DataType::Utf8));
    assert_eq!(type_of(&united, TIMESTAMP_TEXT), Some(DataType::Utf8));
    assert_eq!(type_of(&united, "nothing"), None);
    assert_eq!(type_of(&united, "__index_level_0__"), None);
    assert_eq!(united.field(0).name(), "test_id");
}

#[test]
fn a_conflict_names_the_file_the_column_and_both_types_and_takes_nothing() {
    let mut union = Union::new();
    union
        .add("a.parquet", &schema(&[("note", DataType::Int32)]))
        .unwrap();
    let bad = schema(&[("added", DataType::Utf8), ("note", DataType::Utf8)]);
    let error = union.add("b.parquet", &bad).unwrap_err().to_string();
    for part in ["b.parquet", "'note'", "text", "int64", "a.parquet"] {
        assert!(error.contains(part), "{error} lacks {part}");
    }
    assert_eq!(type_of(&union.finish(), "added"), None);
    let error = union
        .add("c.parquet", &schema(&[("execution_time", DataType::Utf8)]))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("'execution_time' is text, but double"),
        "{error}"
    );
}

#[test]
fn text_naive_and_numeric_times_become_instants() {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let read = |column: ArrayRef| {
        let batch = RecordBatch::try_from_iter([("timestamp", column)]).unwrap();
        let mut union = Union::new();
        union.add("x", &batch.schema()).unwrap();
        adapt(&batch, &union.finish(), &zone).unwrap()
    };
    let times = |batch: &RecordBatch| -> Vec<Option<i64>> {
        batch["timestamp"]
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .collect()
    };
    let noon = 1_753_956_000_000_000; // 2025-07-31T10:00:00Z
    let text = read(Arc::new(StringArray::from(vec![
        Some("2025-07-31T12:00:00.000000"),
        Some("2025-07-31 12:00:00"),
        Some("2025-07-31T10:00:00Z"),
        Some("2025-07-31T11:00:00+01:00"),
        Some("yesterday"),
        Some("nan"),
        None,
    ])));
    assert_eq!(
        times(&text),
        [
            Some(noon),
            Some(noon),
            Some(noon),
            Some(noon),
            None,
            None,
            None
        ]
    );
    let kept = text[TIMESTAMP_TEXT].as_string::<i32>();
    assert_eq!(kept.iter().flatten().collect::<Vec<_>>(), ["yesterday"]);
    let seconds = read(Arc::new(Float64Array::from(vec![
        1_753_956_000.0,
        f64::NAN,
        1e300,
    ])));
    assert_eq!(times(&seconds), [Some(noon), None, None]);
    let naive = arrow::array::TimestampNanosecondArray::from(vec![1_753_963_200_000_000_000]);
    assert_eq!(times(&read(Arc::new(naive))), [Some(noon)]);
    let typed = arrow::array::TimestampMillisecondArray::from(vec![1_753_956_000_000])
        .with_timezone("+02:00");
    assert_eq!(times(&read(Arc::new(typed))), [Some(noon)]);
}

#[test]
fn numbers_stand_for_truth_and_identity() {
    let batch = RecordBatch::try_from_iter([
        (
            "success",
            Arc::new(Float64Array::from(vec![
                Some(1.0),
                Some(0.0),
                Some(f64::NAN),
                None,
            ])) as ArrayRef,
        ),
        (
            "task_id",
            Arc::new(Float64Array::from(vec![Some(12.0), Some(1.5), None, None])) as ArrayRef,
        ),
        (
            "turns",
            Arc::new(Float64Array::from(vec![Some(3.0), Some(2.5), None, None])) as ArrayRef,
        ),
        (
            "tool_calls",
            Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as ArrayRef,
        ),
    ])
    .unwrap();
    let mut union = Union::new();
    union.add("x", &batch.schema()).unwrap();
    let out = adapt(&batch, &union.finish(), &TimeZone::UTC).unwrap();
    let success: Vec<_> = out["success"].as_boolean().iter().collect();
    assert_eq!(success, [Some(true), Some(false), None, None]);
    assert_eq!(
        out["task_id"]
            .as_string::<i32>()
            .iter()
            .flatten()
            .collect::<Vec<_>>(),
        ["12", "1.5"]
    );
    assert_eq!(
        out["turns"].as_primitive::<Float64Type>().iter().nth(1),
        Some(Some(2.5))
    );
    assert_eq!(out["tool_calls"].as_primitive::<Int64Type>().value(3), 4);
    assert_eq!(out["model"].null_count(), 4);
}

fn any_type() -> impl Strategy<Value = DataType> {
    prop_oneof![
        Just(DataType::Null),
        Just(DataType::Int8),
        Just(DataType::Int32),
        Just(DataType::UInt16),
        Just(DataType::Int64),
        Just(DataType::UInt64),
        Just(DataType::Decimal128(12, 2)),
        Just(DataType::Decimal64(16, 3)),
        Just(DataType::Decimal256(70, 20)),
        Just(DataType::Date32),
        Just(DataType::Float32),
        Just(DataType::Float64),
        Just(DataType::Utf8),
        Just(DataType::LargeUtf8),
        Just(dictionary()),
        Just(DataType::Boolean),
        Just(DataType::Timestamp(TimeUnit::Nanosecond, None)),
        Just(DataType::Timestamp(TimeUnit::Second, None)),
        Just(DataType::Timestamp(TimeUnit::Second, Some("+01:00".into()))),
    ]
}

fn any_schema() -> impl Strategy<Value = Schema> {
    let names = prop::sample::subsequence(
        vec![
            "model",
            "turns",
            "tool_success_rate",
            "success",
            "timestamp",
            "test_id",
            "note",
            "extra",
        ],
        0..=8,
    );
    names.prop_flat_map(|names| {
        let n = names.len();
        (Just(names), prop::collection::vec(any_type(), n)).prop_map(|(names, types)| {
            Schema::new(
                names
                    .iter()
                    .zip(types)
                    .map(|(n, t)| Field::new(*n, t, true))
                    .collect::<Vec<_>>(),
            )
        })
    })
}

proptest! {
    #[test]
    fn the_order_of_files_does_not_matter(schemas in prop::collection::vec(any_schema(), 1..5), seed in any::<u64>()) {
        let unite = |order: &[usize]| -> Option<SchemaRef> {
            let mut union = Union::new();
            for &at in order {
                union.add(&format!("{at}"), &schemas[at]).ok()?;
            }
            Some(union.finish())
        };
        let forwards: Vec<usize> = (0..schemas.len()).collect();
        let mut shuffled = forwards.clone();
        shuffled.rotate_left(seed as usize % schemas.len());
        shuffled.reverse();
        let united = unite(&forwards);
        prop_assert_eq!(&united, &unite(&shuffled));
        if let Some(united) = united {
            let mut again = Union::new();
            again.add("main", &united).unwrap();
            for (at, schema) in schemas.iter().enumerate() {
                again.add(&format!("{at}"), schema).unwrap();
                let empty = RecordBatch::new_empty(Arc::new(schema.clone()));
                prop_assert!(adapt(&empty, &united, &TimeZone::UTC).is_ok());
            }
            prop_assert_eq!(united, again.finish());
        }
    }
}

#[test]
fn times_that_name_no_zone_are_counted() {
    use super::naive_rows;
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
    let count = |column: ArrayRef| {
        naive_rows(&RecordBatch::try_from_iter([("timestamp", column)]).unwrap())
    };
    let texts = [
        Some("2026-01-31T12:00:00"),
        Some("2026-01-31 12:00:00.123456"),
        Some("2026-01-31"),
        Some("20260131T120000"),
        Some("2026-01-31T12:00:00Z"),
        Some("2026-01-31T12:00:00+02:00"),
        Some("2026-01-31T12:00:00-0500"),
        Some("yesterday"),
        Some(""),
        None,
    ];
    assert_eq!(count(Arc::new(StringArray::from(texts.to_vec()))), 4);
    let times = TimestampMicrosecondArray::from(vec![Some(1), None, Some(2)]);
    assert_eq!(count(Arc::new(times.clone())), 2);
    assert_eq!(count(Arc::new(times.with_timezone("UTC"))), 0);
    assert_eq!(count(Arc::new(Int64Array::from(vec![1_769_860_800]))), 0);
}
