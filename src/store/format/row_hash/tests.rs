use std::sync::Arc;

use arrow::array::{
    BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array,
    Int8Array, Int32Array, Int64Array, LargeStringArray, ListArray, NullArray, StringArray,
    StringViewArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, UInt64Array, new_null_array,
};
use arrow::datatypes::{Field, Fields, Int32Type};

use super::*;

fn berlin() -> TimeZone {
    TimeZone::get("Europe/Berlin").unwrap()
}

fn hashes(columns: Vec<(&str, ArrayRef)>) -> Vec<RowHash> {
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    row_hashes(
        &RecordBatch::try_from_iter_with_nullable(columns).unwrap(),
        &berlin(),
    )
    .unwrap()
}

/// The hash of a row with one value in the column `x`.
fn of(value: impl Array + 'static) -> Option<u128> {
    let row = hashes(vec![("x", Arc::new(value))])[0];
    (row.values > 0).then_some(row.hash)
}

fn spelled(text: &str) -> Option<u128> {
    of(StringArray::from(vec![text]))
}

fn double_of(number: f64) -> Option<u128> {
    of(Float64Array::from(vec![number]))
}

#[test]
fn numbers_are_what_they_are_however_they_are_stored_or_spelled() {
    let seven = double_of(7.0);
    assert!(seven.is_some());
    for other in [
        of(Int8Array::from(vec![7])),
        of(UInt64Array::from(vec![7])),
        of(Float32Array::from(vec![7.0])),
        of(Decimal128Array::from(vec![700])
            .with_precision_and_scale(9, 2)
            .unwrap()),
        spelled("7"),
        spelled("7.0"),
        spelled("7.00"),
        spelled("7e0"),
        spelled("0.7e1"),
        of(LargeStringArray::from(vec!["7"])),
        of(StringViewArray::from(vec!["7"])),
        of(vec!["7"]
            .into_iter()
            .collect::<DictionaryArray<Int32Type>>()),
    ] {
        assert_eq!(other, seven);
    }
    for text in [
        "07", "+7", " 7", "7 ", "7.", ".7", "7e", "0x7", "7_0", "--7", "1e999", "inf",
    ] {
        let expected = xxh3_128_with_seed(format!("s{text}").as_bytes(), xxh3_64(b"x"));
        assert_eq!(spelled(text), Some(expected), "{text}");
    }
    assert_eq!(double_of(-0.0), double_of(0.0));
    assert_eq!(spelled("-0.0"), double_of(0.0));
    assert_eq!(of(BooleanArray::from(vec![true])), double_of(1.0));
    assert_eq!(spelled("True"), double_of(1.0));
    assert_eq!(spelled("false"), double_of(0.0));
    // What was cut to 32 bits is the decimal that it was.
    assert_eq!(of(Float32Array::from(vec![0.8])), double_of(0.8));
    assert_eq!(double_of(f64::from(0.8_f32)), double_of(0.8));
    assert_eq!(spelled("0.8"), double_of(0.8));
    // All digits count where a double would drop some.
    let large = 9_007_199_254_740_993_i64;
    assert_eq!(
        spelled(&large.to_string()),
        of(Int64Array::from(vec![large]))
    );
    assert_ne!(
        of(Int64Array::from(vec![large])),
        of(Int64Array::from(vec![large - 1]))
    );
    assert_eq!(
        of(Int64Array::from(vec![large - 1])),
        double_of(9_007_199_254_740_992.0)
    );
    assert_ne!(spelled("0.1000000000000000055"), double_of(0.1));
}

#[test]
fn nothing_is_left_out_however_it_is_spelled() {
    for absent in ["", "nan", "NaN", "None", "NaT", "<NA>", "null"] {
        assert_eq!(spelled(absent), None, "{absent}");
    }
    assert_eq!(double_of(f64::NAN), None);
    assert_eq!(of(NullArray::new(1)), None);
    assert_eq!(of(new_null_array(&DataType::Int64, 1)), None);
    let excluded = [
        "test_id",
        "recorded_at",
        "__index_level_0__",
        "total",
        "last_updated",
    ];
    for name in excluded {
        assert_eq!(
            hashes(vec![(name, Arc::new(Int64Array::from(vec![1])))])[0].values,
            0,
            "{name}"
        );
    }
    assert!(spelled("none").is_some() && spelled("NULL").is_some());
}

#[test]
fn times_are_instants_in_whatever_column() {
    // 12:00 in Berlin is 11:00 UTC.
    let micros = 1_769_857_200_123_456_i64;
    let instant = of(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC"));
    let wall = micros + 3_600_000_000;
    for other in [
        of(TimestampMicrosecondArray::from(vec![micros]).with_timezone("Europe/Berlin")),
        of(TimestampNanosecondArray::from(vec![micros * 1_000 + 999]).with_timezone("UTC")),
        of(TimestampMicrosecondArray::from(vec![wall])),
        of(TimestampNanosecondArray::from(vec![wall * 1_000])),
        spelled("2026-01-31T12:00:00.123456"),
        spelled("2026-01-31 12:00:00.123456"),
        spelled("2026-01-31T11:00:00.123456Z"),
        spelled("2026-01-31T13:00:00.123456+02:00"),
    ] {
        assert_eq!(other, instant);
    }
    let cut = of(TimestampMillisecondArray::from(vec![micros / 1_000]).with_timezone("UTC"));
    assert_ne!(cut, instant);
    // A date is not an instant.
    assert_eq!(of(Date32Array::from(vec![20_484])), spelled("2026-01-31"));
    assert_ne!(spelled("2026-01-31"), spelled("2026-01-31T00:00:00"));
    // Floored, also before the epoch.
    let before = of(TimestampNanosecondArray::from(vec![-1]).with_timezone("UTC"));
    assert_eq!(
        before,
        of(TimestampMicrosecondArray::from(vec![-1]).with_timezone("UTC"))
    );
    // The text of a timestamp that can't be parsed is kept in a column of its own.
    let kept = hashes(vec![(
        TIMESTAMP_TEXT,
        Arc::new(StringArray::from(vec!["soon"])),
    )]);
    assert_eq!(
        kept,
        hashes(vec![(
            "timestamp",
            Arc::new(StringArray::from(vec!["soon"]))
        )])
    );
}

#[test]
fn lists_are_by_position_and_structs_by_name() {
    let list = |values: Vec<Option<i32>>| {
        of(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(
            values,
        )]))
    };
    assert_ne!(list(vec![Some(1), None]), list(vec![None, Some(1)]));
    assert_ne!(list(vec![]), None);
    let field = |name: &str| Field::new(name, DataType::Int32, true);
    let number = |value: Option<i32>| Arc::new(Int32Array::from(vec![value])) as ArrayRef;
    let record = |parts: Vec<(&str, Option<i32>)>| {
        let fields: Fields = parts.iter().map(|(name, _)| field(name)).collect();
        let columns = parts.iter().map(|(_, value)| number(*value)).collect();
        of(StructArray::new(fields, columns, None))
    };
    let plain = record(vec![("a", Some(1)), ("b", Some(2))]);
    assert_eq!(
        record(vec![("b", Some(2)), ("a", Some(1)), ("c", None)]),
        plain
    );
    assert_ne!(record(vec![("a", Some(2)), ("b", Some(1))]), plain);
}

#[test]
fn a_value_counts_for_its_column_and_columns_in_any_order() {
    let text = |value: &str| Arc::new(StringArray::from(vec![value])) as ArrayRef;
    let one = hashes(vec![("a", text("x")), ("b", text("y"))]);
    assert_eq!(one, hashes(vec![("b", text("y")), ("a", text("x"))]));
    assert_ne!(one, hashes(vec![("a", text("y")), ("b", text("x"))]));
    assert_eq!(one[0].values, 2);
}

/// The vectors of `docs/row-hash.md`: a column's name, a value in JSON with its type, and the hash.
#[test]
fn the_documented_vectors_hold() {
    let document = include_str!("../../../../docs/row-hash.md");
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter(|line| line.starts_with("| v"))
        .map(|line| {
            line.split(" | ")
                .map(|cell| cell.trim_matches([' ', '|', '`']))
                .collect()
        })
        .collect();
    let mut wrong = Vec::new();
    for row in &rows {
        let [number, name, kind, value, expected] = row[..] else {
            panic!("{row:?} is no vector")
        };
        let column = vector(kind, value);
        let row = hashes(vec![(name, column)])[0];
        let found = if row.values == 0 {
            "left out".to_owned()
        } else {
            format!("{:032x}", row.hash)
        };
        if found != expected {
            wrong.push(format!("{number}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(rows.len(), 30);
}

fn vector(kind: &str, value: &str) -> ArrayRef {
    let value = value.trim_matches('"');
    match kind {
        "text" => Arc::new(StringArray::from(vec![value])),
        "double" => Arc::new(Float64Array::from(vec![value.parse::<f64>().unwrap()])),
        "float" => Arc::new(Float32Array::from(vec![value.parse::<f32>().unwrap()])),
        "int64" => Arc::new(Int64Array::from(vec![value.parse::<i64>().unwrap()])),
        "uint64" => Arc::new(UInt64Array::from(vec![value.parse::<u64>().unwrap()])),
        "boolean" => Arc::new(BooleanArray::from(vec![value == "true"])),
        "decimal(9, 2)" => Arc::new(
            Decimal128Array::from(vec![value.replace('.', "").parse::<i128>().unwrap()])
                .with_precision_and_scale(9, 2)
                .unwrap(),
        ),
        "date32" => Arc::new(Date32Array::from(vec![value.parse::<i32>().unwrap()])),
        "timestamp(us, UTC)" => Arc::new(
            TimestampMicrosecondArray::from(vec![value.parse::<i64>().unwrap()])
                .with_timezone("UTC"),
        ),
        "timestamp(us)" => Arc::new(TimestampMicrosecondArray::from(vec![
            value.parse::<i64>().unwrap(),
        ])),
        "timestamp(ns, UTC)" => Arc::new(
            TimestampNanosecondArray::from(vec![value.parse::<i64>().unwrap()])
                .with_timezone("UTC"),
        ),
        "binary" => Arc::new(BinaryArray::from_iter_values([value.as_bytes()])),
        "null" => Arc::new(NullArray::new(1)),
        "list of int64" => {
            let values: Vec<Option<i64>> = serde_json::from_str(value).unwrap();
            Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>([Some(
                values,
            )]))
        }
        "struct of int64" => {
            let values: serde_json::Map<String, serde_json::Value> =
                serde_json::from_str(value).unwrap();
            let fields: Fields = values
                .keys()
                .map(|name| Field::new(name, DataType::Int64, true))
                .collect();
            let columns = values
                .values()
                .map(|value| Arc::new(Int64Array::from(vec![value.as_i64()])) as ArrayRef);
            Arc::new(StructArray::new(fields, columns.collect(), None))
        }
        other => panic!("no vector is of the type {other}"),
    }
}
