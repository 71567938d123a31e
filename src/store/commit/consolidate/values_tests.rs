//! No value changes on its way through queries and consolidations, whatever its type: it comes
//! out equal, or its file is named.

// Nearly all of Arrow's arrays and types are meant.
#![allow(clippy::wildcard_imports)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use proptest::prelude::*;

use super::{Options, Outcome, run};
use crate::store::Control;
use crate::store::parquet::ParquetFile;
use crate::store::read::query;
use crate::store::read::query::Selection;
use crate::store::read::snapshot::{FileState, Scanner};
use crate::store::testing::fixture::Fixture;

const UNITS: [TimeUnit; 4] = [
    TimeUnit::Second,
    TimeUnit::Millisecond,
    TimeUnit::Microsecond,
    TimeUnit::Nanosecond,
];

/// How many kinds of column there are.
const KINDS: usize = 54;

/// 64 bits that stand for a value: small numbers, the edges of types, anything.
fn seed() -> impl Strategy<Value = Option<i128>> {
    let edges = vec![
        0,
        1,
        -1,
        127,
        1 << 24,
        (1 << 24) + 1,
        1 << 53,
        (1 << 53) + 1,
        -(1 << 53) - 1,
        i128::from(i64::MAX),
        i128::from(i64::MIN),
        i128::from(u64::MAX),
        1_790_000_000,
        1_790_000_000_000,
        253_402_300_799,
        253_402_300_799_999,
        99_999_999_999_999_999_999_999_999_999_999_999_999,
    ];
    prop_oneof![
        1 => Just(None),
        4 => prop::sample::select(edges).prop_map(Some),
        3 => (-300_i128..300).prop_map(Some),
        2 => any::<i64>().prop_map(|v| Some(v.into())),
    ]
}

/// A column of a kind with the values that the seeds stand for, as far as it holds them.
fn column(kind: usize, seeds: &[Option<i128>]) -> ArrayRef {
    fn ints<T: ArrowPrimitiveType<Native: TryFrom<i128>>>(seeds: &[Option<i128>]) -> ArrayRef {
        let values = seeds.iter().map(|v| v.and_then(|v| v.try_into().ok()));
        Arc::new(values.collect::<PrimitiveArray<T>>())
    }
    fn times<T: ArrowPrimitiveType<Native = i64>>(
        seeds: &[Option<i128>],
        data_type: DataType,
    ) -> ArrayRef {
        let values = seeds.iter().map(|v| v.and_then(|v| i64::try_from(v).ok()));
        Arc::new(
            values
                .collect::<PrimitiveArray<T>>()
                .with_data_type(data_type),
        )
    }
    fn decimals(seeds: &[Option<i128>], precision: u8, scale: i8) -> ArrayRef {
        let limit = 10_i128.pow(precision.min(38).into());
        let values = seeds.iter().map(|v| v.filter(|v| v.abs() < limit));
        let values: Decimal128Array = values.collect();
        let values: ArrayRef = Arc::new(
            values
                .with_precision_and_scale(precision.min(38), scale)
                .unwrap(),
        );
        let target = match precision {
            ..=9 => DataType::Decimal32(precision, scale),
            10..=18 => DataType::Decimal64(precision, scale),
            19..=38 => return values,
            _ => DataType::Decimal256(precision, scale),
        };
        arrow::compute::cast(&values, &target).unwrap()
    }
    let floats = || seeds.iter().map(|v| v.map(|v| v as f64 / 8.0));
    let texts = || seeds.iter().map(|v| v.map(|v| format!("é{v}")));
    let bytes = || {
        let bytes = seeds
            .iter()
            .map(|v| v.map(|v| v.to_be_bytes()[13..].to_vec()));
        bytes.collect::<Vec<_>>()
    };
    let unit = UNITS[kind % 4];
    let timestamps = |zone: Option<&str>| {
        let data_type = DataType::Timestamp(unit, zone.map(Into::into));
        match unit {
            TimeUnit::Second => times::<TimestampSecondType>(seeds, data_type),
            TimeUnit::Millisecond => times::<TimestampMillisecondType>(seeds, data_type),
            TimeUnit::Microsecond => times::<TimestampMicrosecondType>(seeds, data_type),
            TimeUnit::Nanosecond => times::<TimestampNanosecondType>(seeds, data_type),
        }
    };
    match kind {
        0..=3 => timestamps(None),
        4..=7 => timestamps(Some("UTC")),
        8..=11 => timestamps(Some("+02:00")),
        12..=15 => {
            let data_type = DataType::Duration(unit);
            match unit {
                TimeUnit::Second => times::<DurationSecondType>(seeds, data_type),
                TimeUnit::Millisecond => times::<DurationMillisecondType>(seeds, data_type),
                TimeUnit::Microsecond => times::<DurationMicrosecondType>(seeds, data_type),
                TimeUnit::Nanosecond => times::<DurationNanosecondType>(seeds, data_type),
            }
        }
        16 => ints::<Int8Type>(seeds),
        17 => ints::<Int16Type>(seeds),
        18 => ints::<Int32Type>(seeds),
        19..=22 => ints::<Int64Type>(seeds),
        23 => ints::<UInt8Type>(seeds),
        24 => ints::<UInt16Type>(seeds),
        25 => ints::<UInt32Type>(seeds),
        26..=29 => ints::<UInt64Type>(seeds),
        30 => arrow::compute::cast(
            &(Arc::new(
                floats()
                    .map(|v| v.map(|v| v as f32))
                    .collect::<Float32Array>(),
            ) as ArrayRef),
            &DataType::Float16,
        )
        .unwrap(),
        31 => Arc::new(
            floats()
                .map(|v| v.map(|v| v as f32))
                .collect::<Float32Array>(),
        ),
        32..=35 => Arc::new(floats().collect::<Float64Array>()),
        36 => decimals(seeds, 9, 2),
        37 => decimals(seeds, 10, 2),
        38 => decimals(seeds, 18, 0),
        39 => decimals(seeds, 38, 0),
        40 => decimals(seeds, 38, 10),
        41 => decimals(seeds, 60, 12),
        42 => Arc::new(
            seeds
                .iter()
                .map(|v| v.map(|v| v % 2 == 0))
                .collect::<BooleanArray>(),
        ),
        43 => Arc::new(texts().collect::<StringArray>()),
        44 => Arc::new(texts().collect::<LargeStringArray>()),
        45 => Arc::new(texts().collect::<StringViewArray>()),
        46 => Arc::new(bytes().into_iter().collect::<BinaryArray>()),
        47 => Arc::new(bytes().into_iter().collect::<LargeBinaryArray>()),
        48 => {
            let values = bytes().into_iter();
            Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, 3).unwrap())
        }
        49 => ints::<Date32Type>(seeds),
        50 => {
            let days = seeds
                .iter()
                .map(|v| v.map(|v| (v % 3_000_000) as i64 * 86_400_000));
            Arc::new(days.collect::<Date64Array>())
        }
        51 => {
            let values = seeds
                .iter()
                .map(|v| v.map(|v| (v.unsigned_abs() % 86_400) as i32));
            Arc::new(values.collect::<Time32SecondArray>())
        }
        52 => {
            let values = seeds
                .iter()
                .map(|v| v.map(|v| (v.unsigned_abs() % 86_400_000_000) as i64));
            Arc::new(values.collect::<Time64MicrosecondArray>())
        }
        _ => {
            let texts: Vec<_> = texts().collect();
            let texts = texts.iter().map(Option::as_deref);
            Arc::new(texts.collect::<DictionaryArray<Int32Type>>())
        }
    }
}

/// What a value says, whatever type it is stored in.
fn meaning(column: &ArrayRef, row: usize, number: bool) -> Option<String> {
    if column.is_null(row)
        || column
            .logical_nulls()
            .is_some_and(|nulls| nulls.is_null(row))
    {
        return None;
    }
    let one = column.slice(row, 1);
    let shown = || {
        let options = FormatOptions::default();
        let shown = ArrayFormatter::try_new(&one, &options).unwrap();
        shown.value(0).to_string()
    };
    Some(match column.data_type() {
        DataType::Timestamp(unit, zone) => {
            let scale = match unit {
                TimeUnit::Second => 1_000_000_000_i128,
                TimeUnit::Millisecond => 1_000_000,
                TimeUnit::Microsecond => 1_000,
                TimeUnit::Nanosecond => 1,
            };
            let instant = crate::store::format::cast::instants(&one, *unit).value(0);
            format!("{} {}", zone.is_some(), i128::from(instant) * scale)
        }
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let double = arrow::compute::cast(&one, &DataType::Float64).unwrap();
            let double = double.as_primitive::<Float64Type>().value(0);
            // Rust fills the shortest digits up with zeros; what the double holds is exact.
            if double.fract() == 0.0 && double.abs() < 2_f64.powi(127) {
                plain(&(double as i128).to_string())
            } else {
                plain(&double.to_string())
            }
        }
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            let bytes = arrow::compute::cast(&one, &DataType::Binary).unwrap();
            format!("{:?}", bytes.as_binary::<i32>().value(0))
        }
        other if other.is_numeric() => plain(&shown()),
        DataType::Utf8 if number && shown().parse::<f64>().is_ok() => plain(&shown()),
        _ => shown(),
    })
}

/// A double as text columns spell it: the fewest digits that read back as the same double.
fn shortest(column: &ArrayRef, row: usize) -> Option<String> {
    if !column.data_type().is_floating() || column.is_null(row) {
        return None;
    }
    let double = arrow::compute::cast(&column.slice(row, 1), &DataType::Float64).unwrap();
    Some(plain(
        &double.as_primitive::<Float64Type>().value(0).to_string(),
    ))
}

/// A number without what only is its spelling.
fn plain(number: &str) -> String {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let text = format!(
        "{}.{}",
        whole.trim_start_matches('-'),
        fraction.trim_end_matches('0')
    );
    let text = text.trim_start_matches('0').to_owned();
    let sign = if number.starts_with('-') && text != "." {
        "-"
    } else {
        ""
    };
    format!("{sign}{text}")
}

fn file(at: usize, name: &str, column: &ArrayRef) -> RecordBatch {
    let ids: StringArray = (0..column.len())
        .map(|row| Some(format!("{at}-{row}")))
        .collect();
    let models = StringArray::from(vec!["m"; column.len()]);
    let success = BooleanArray::from(vec![true; column.len()]);
    RecordBatch::try_from_iter_with_nullable([
        ("test_id", Arc::new(ids) as ArrayRef, true),
        ("model", Arc::new(models), true),
        ("success", Arc::new(success), true),
        (name, column.clone(), true),
    ])
    .unwrap()
}

/// What the rows of some batches say, by id.
fn said(batches: &[RecordBatch], name: &str, numbers: bool) -> BTreeMap<String, Option<String>> {
    let mut said = BTreeMap::new();
    for batch in batches {
        let ids = batch["test_id"].as_string::<i32>().clone();
        for row in 0..batch.num_rows() {
            let value = batch
                .column_by_name(name)
                .and_then(|column| meaning(column, row, numbers));
            said.insert(ids.value(row).to_owned(), value);
        }
    }
    said
}

fn consolidate(f: &Fixture) -> Outcome {
    run(&f.store, &Options::default(), f.now, &Control::default()).unwrap()
}

fn queried(f: &Fixture) -> Vec<RecordBatch> {
    let rows = query::rows(&f.store, &Selection::default(), &Control::default()).unwrap();
    rows.map(Result::unwrap).collect()
}

fn main(f: &Fixture) -> Vec<RecordBatch> {
    let Ok(main) = ParquetFile::open(&*f.store.disk, &f.store.layout.main()) else {
        return Vec::new();
    };
    main.batches(None, 0).unwrap().map(Result::unwrap).collect()
}

/// The files that a scan names, and their rows' ids begin with these numbers.
fn named(f: &Fixture) -> Vec<String> {
    let seen = Scanner::new()
        .scan(&f.store, f.now, &Control::default())
        .unwrap();
    let waiting = seen.waiting.into_iter();
    let conflicts = waiting.filter(|file| matches!(file.state, FileState::Conflict(_)));
    conflicts.map(|file| file.name).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_goes_in_comes_out_or_its_file_is_named(
        columns in prop::collection::vec((0..KINDS, prop::collection::vec(seed(), 1..4)), 1..4),
        name in prop::sample::select(vec!["x", "x", "x", "turns", "final_score", "task_id"]),
        one_by_one in any::<bool>(),
    ) {
        let f = Fixture::new();
        let mut expected = BTreeMap::new();
        let mut spelled = BTreeMap::new();
        let mut numbers = false;
        for (at, (kind, seeds)) in columns.iter().enumerate() {
            let column = column(*kind, seeds);
            let batch = file(at, name, &column);
            numbers |= column.data_type().is_numeric();
            spelled.extend((0..column.len()).map(|row| (format!("{at}-{row}"), shortest(&column, row))));
            f.increment(&format!("increment_{at}.parquet"), &batch);
            expected.append(&mut said(&[batch], name, column.data_type().is_numeric()));
            if one_by_one {
                consolidate(&f);
            }
        }
        let mut seen = named(&f);
        let check = |rows: BTreeMap<String, Option<String>>, left_out: &[String]| {
            let at = |id: &str| format!("increment_{}.parquet", id.split('-').next().unwrap());
            for (id, value) in &expected {
                match rows.get(id) {
                    Some(found) if found.is_some() && found == &spelled[id] => {}
                    Some(found) => prop_assert_eq!(found, value, "{} of {:?}", id, columns),
                    None => prop_assert!(left_out.contains(&at(id)), "{} is gone: {:?}", id, columns),
                }
            }
            Ok(())
        };
        check(said(&queried(&f), name, numbers), &seen)?;
        let done = consolidate(&f);
        let mut left_out: Vec<String> = done.skipped.iter().map(|file| file.file.clone()).collect();
        check(said(&main(&f), name, numbers), &left_out)?;
        seen.sort();
        left_out.sort();
        prop_assert_eq!(seen, left_out);
    }
}
