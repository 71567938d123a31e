//! No value changes between a file and what reads it back, whatever Arrow type it has: it comes
//! out equal, or its file or column is named.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use arrow::array::*;
use arrow::datatypes::*;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::support::evaltop;

mod kinds;
mod named;

use kinds::{Dice, column, types};

const ROWS: usize = 12;

/// What a cell says, whatever type it is stored in.
fn said(column: &ArrayRef, row: usize) -> String {
    use DataType as T;
    if column.is_null(row)
        || column
            .logical_nulls()
            .is_some_and(|nulls| nulls.is_null(row))
    {
        return "null".to_owned();
    }
    let all =
        |items: &ArrayRef| -> Vec<String> { (0..items.len()).map(|at| said(items, at)).collect() };
    let one = column.slice(row, 1);
    let shown = || {
        let options = FormatOptions::default();
        let shown = ArrayFormatter::try_new(&one, &options).unwrap();
        shown.value(0).to_string()
    };
    let nanoseconds = |unit: &TimeUnit| {
        let scale = match unit {
            TimeUnit::Second => 1_000_000_000_i128,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1_000,
            TimeUnit::Nanosecond => 1,
        };
        let whole = arrow::compute::cast(&one, &T::Int64).unwrap();
        i128::from(whole.as_primitive::<Int64Type>().value(0)) * scale
    };
    match column.data_type() {
        T::Float16 | T::Float32 | T::Float64 => {
            let wide = arrow::compute::cast(&one, &T::Float64).unwrap();
            format!("{:?}", wide.as_primitive::<Float64Type>().value(0))
        }
        T::Timestamp(unit, zone) => format!("{}, zone: {}", nanoseconds(unit), zone.is_some()),
        T::Duration(unit) => format!("{} ns", nanoseconds(unit)),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => format!("{:?}", shown()),
        T::Dictionary(_, values) => said(&arrow::compute::cast(&one, values).unwrap(), 0),
        T::List(_) => format!("{:?}", all(&one.as_list::<i32>().value(0))),
        T::LargeList(_) => format!("{:?}", all(&one.as_list::<i64>().value(0))),
        T::FixedSizeList(..) => format!("{:?}", all(&one.as_fixed_size_list().value(0))),
        T::Struct(fields) => {
            let columns = one.as_struct().columns();
            let said: Vec<String> = fields
                .iter()
                .zip(columns)
                .map(|(field, column)| format!("{}: {}", field.name(), said(column, 0)))
                .collect();
            format!("{{{}}}", said.join(", "))
        }
        T::Map(..) => {
            let entries: ArrayRef = Arc::new(one.as_map().value(0));
            format!("{:?}", all(&entries))
        }
        T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..) => {
            let text = shown();
            if text.contains('.') {
                text.trim_end_matches('0').trim_end_matches('.').to_owned()
            } else {
                text
            }
        }
        _ => shown(),
    }
}

/// The cells of a file by test and column.
type Cells = BTreeMap<(String, String), String>;

fn cells(batch: &RecordBatch) -> Cells {
    let mut cells = Cells::new();
    let ids = arrow::compute::cast(&batch["test_id"], &DataType::Utf8).unwrap();
    let ids = ids.as_string::<i32>();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.name().starts_with("c_") {
            for row in 0..batch.num_rows() {
                let at = (ids.value(row).to_owned(), field.name().clone());
                cells.insert(at, said(column, row));
            }
        }
    }
    cells
}

fn read(path: &Path) -> Cells {
    let file = fs::File::open(path).unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
        .unwrap()
        .build()
        .unwrap();
    reader.flat_map(|batch| cells(&batch.unwrap())).collect()
}

pub(crate) fn write(path: &Path, batch: &RecordBatch) {
    let mut writer =
        ArrowWriter::try_new(fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// A file with a column of every type.
fn everything(seed: u64) -> RecordBatch {
    let mut dice = Dice(seed);
    let ids: StringArray = (0..ROWS).map(|row| Some(format!("t{row:02}"))).collect();
    let success: BooleanArray = (0..ROWS).map(|row| Some(row % 2 == 0)).collect();
    let mut columns: Vec<(String, ArrayRef, bool)> = vec![
        ("test_id".to_owned(), Arc::new(ids), true),
        (
            "model".to_owned(),
            Arc::new(StringArray::from(vec!["m"; ROWS])),
            true,
        ),
        ("success".to_owned(), Arc::new(success), true),
    ];
    for (at, of) in types().iter().enumerate() {
        columns.push((format!("c_{at:02}"), column(of, ROWS, &mut dice), true));
    }
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Columns that come out otherwise, with one cell each.
fn differences(batch: &RecordBatch, expected: &Cells, found: &Cells) -> Vec<String> {
    let mut columns = BTreeMap::new();
    for (at, value) in expected {
        // A column without a value in any file may be left out.
        let other = found.get(at).map_or("null", String::as_str);
        if other != value {
            let of = batch.schema();
            let of = of.field_with_name(&at.1).unwrap().data_type().to_string();
            columns
                .entry(at.1.clone())
                .or_insert(format!("{} {of}: {value} became {other}", at.1));
        }
    }
    columns.into_values().collect()
}

fn run(folder: &Path, args: &[&str]) -> String {
    let run = evaltop()
        .args(args)
        .current_dir(folder)
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let reported = String::from_utf8_lossy(&run.stderr).into_owned();
    assert!(run.status.success(), "{args:?}: {reported}");
    assert_eq!(reported, "", "{args:?}");
    String::from_utf8(run.stdout).unwrap()
}

/// The cells of JSON lines as their text.
/// Numbers and nested values stay the text that they are written with: as doubles some numbers would be others.
fn lines(text: &str) -> BTreeMap<String, BTreeMap<String, Value>> {
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let row: BTreeMap<String, &RawValue> = serde_json::from_str(line).unwrap();
        let value = |raw: &RawValue| match raw.get() {
            own if own.starts_with(|c: char| "-[{".contains(c) || c.is_ascii_digit()) => {
                Value::String(own.to_owned())
            }
            other => serde_json::from_str(other).unwrap(),
        };
        let row: BTreeMap<String, Value> = row
            .iter()
            .map(|(name, raw)| (name.clone(), value(raw)))
            .collect();
        rows.insert(row["test_id"].as_str().unwrap().to_owned(), row);
    }
    rows
}

proptest! {
    // Each case runs the program a hundred times: nothing is gained by a smaller number.
    #![proptest_config(ProptestConfig {
        cases: 4,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn values_of_every_type_pass_through_every_command(seed in any::<u64>()) {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let batch = everything(seed);
        let expected = cells(&batch);
        write(&folder.join("in.parquet"), &batch);
        let same = |file: &str, what: &str| {
            let found = differences(&batch, &expected, &read(&folder.join(file)));
            assert!(found.is_empty(), "{what}, seed {seed}:\n{}", found.join("\n"));
        };
        same("in.parquet", "the file itself");
        run(folder, &["merge", "in.parquet", "in.parquet", "-o", "merged.parquet"]);
        same("merged.parquet", "merge");
        run(folder, &["import", "in.parquet", "--into", "imported", "--create"]);
        fs::create_dir_all(folder.join("pending/incremental")).unwrap();
        fs::copy(
            folder.join("in.parquet"),
            folder.join("pending/incremental/increment_1_20260131_120000.parquet"),
        )
        .unwrap();
        for store in ["imported", "pending", "imported", "pending"] {
            let out = format!("{store}.parquet");
            run(folder, &["query", store, "-o", &out, "--yes"]);
            same(&out, &format!("query of {store}"));
            run(folder, &["query", store, "-o", &out, "--yes", "--where", "model = 'm' and test_id != 'x'"]);
            same(&out, &format!("query --where of {store}"));
            run(folder, &["export", store, "-o", &out, "--yes"]);
            same(&out, &format!("export of {store}"));
            run(folder, &["consolidate", store]);
        }
        // A condition on a column means what the column holds.
        let count = |condition: &str| -> usize {
            let text = run(folder, &["query", "pending", "--format", "jsonl", "--columns", "test_id", "--where", condition]);
            text.lines().count()
        };
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()).skip(3) {
            if field.data_type().is_nested() {
                continue;
            }
            let nulls = (0..ROWS).filter(|row| said(column, *row) == "null").count();
            if nulls < ROWS {
                prop_assert_eq!(count(&format!("{} is null", field.name())), nulls, "{}", field);
            }
        }
        texts(folder, &batch);
    }
}

/// JSON lines and CSV say what the columns hold, and say the same when they are read back.
fn texts(folder: &Path, batch: &RecordBatch) {
    let jsonl = run(folder, &["query", "pending", "--format", "jsonl"]);
    let rows = lines(&jsonl);
    assert_eq!(rows.len(), ROWS);
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()).skip(3) {
        for row in 0..ROWS {
            let found = rows[&format!("t{row:02}")]
                .get(field.name())
                .unwrap_or(&Value::Null);
            let parsed = match found {
                Value::String(text) if field.data_type().is_nested() => {
                    serde_json::from_str(text).unwrap()
                }
                other => other.clone(),
            };
            let (found, expected) = (&parsed, json(column, row));
            assert!(
                alike(&expected, found),
                "{field}, row {row}: {expected} became {found}"
            );
        }
    }
    fs::write(folder.join("again.jsonl"), &jsonl).unwrap();
    let csv = run(folder, &["query", "pending", "--format", "csv"]);
    fs::write(folder.join("again.csv"), &csv).unwrap();
    for form in ["jsonl", "csv"] {
        let (file, store) = (format!("again.{form}"), format!("again_{form}"));
        run(folder, &["import", &file, "--into", &store, "--create"]);
        let again = lines(&run(folder, &["query", &store, "--format", "jsonl"]));
        for (id, row) in &rows {
            for (name, value) in row.iter().filter(|(name, _)| name.starts_with("c_")) {
                // Nested values are text there, which may be spelled otherwise.
                let schema = batch.schema();
                if schema
                    .field_with_name(name)
                    .unwrap()
                    .data_type()
                    .is_nested()
                {
                    continue;
                }
                let found = again[id].get(name).unwrap_or(&Value::Null);
                assert!(
                    alike(value, found) || spelled(value) == spelled(found),
                    "{form}, {name} of {id}: {value} became {found}"
                );
            }
        }
    }
}

/// How a value is spelled in CSV, which has no types.
fn spelled(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        // Bytes have quotes around their digits there.
        Value::String(text) => text.trim_matches('"').to_owned(),
        other => other.to_string(),
    }
}

/// A cell as JSON.
fn json(column: &ArrayRef, row: usize) -> Value {
    use DataType as T;
    if column.is_null(row)
        || column
            .logical_nulls()
            .is_some_and(|nulls| nulls.is_null(row))
    {
        return Value::Null;
    }
    let one = column.slice(row, 1);
    let all = |items: &ArrayRef| Value::Array((0..items.len()).map(|at| json(items, at)).collect());
    match column.data_type() {
        T::Dictionary(_, values) => json(&arrow::compute::cast(&one, values).unwrap(), 0),
        T::List(_) => all(&one.as_list::<i32>().value(0)),
        T::LargeList(_) => all(&one.as_list::<i64>().value(0)),
        T::FixedSizeList(..) => all(&one.as_fixed_size_list().value(0)),
        T::Struct(fields) => {
            let columns = one.as_struct().columns();
            let fields = fields.iter().zip(columns);
            fields
                .map(|(field, column)| (field.name().clone(), json(column, 0)))
                .collect()
        }
        T::Map(..) => {
            let entries = one.as_map().value(0);
            let keys = entries.column(0).as_string::<i32>();
            (0..entries.len())
                .map(|at| (keys.value(at).to_owned(), json(entries.column(1), at)))
                .collect()
        }
        T::Boolean => one.as_boolean().value(0).into(),
        T::Float16 | T::Float32 | T::Float64 => serde_json::from_str(&said(&one, 0)).unwrap(),
        other if other.is_integer() => serde_json::from_str(&said(&one, 0)).unwrap(),
        T::Timestamp(unit, Some(_)) => {
            let zero = T::Timestamp(*unit, Some("+00:00".into()));
            let options = FormatOptions::default();
            let at_zero = arrow::compute::cast(&one, &zero).unwrap();
            ArrayFormatter::try_new(&at_zero, &options)
                .unwrap()
                .value(0)
                .to_string()
                .into()
        }
        _ => {
            let options = FormatOptions::default();
            ArrayFormatter::try_new(&one, &options)
                .unwrap()
                .value(0)
                .to_string()
                .into()
        }
    }
}

/// Whether two values are one, whatever marks times and numbers have around them.
fn alike(one: &Value, other: &Value) -> bool {
    let bare = |text: &str| {
        let text = text
            .trim_end_matches("+00:00")
            .trim_end_matches('Z')
            .to_owned();
        let is_number = text
            .trim_start_matches('-')
            .starts_with(|c: char| c.is_ascii_digit());
        if text.contains('.') && is_number {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text
        }
    };
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let null = Value::Null;
            let names = one.keys().chain(other.keys());
            names.into_iter().all(|name| {
                alike(
                    one.get(name).unwrap_or(&null),
                    other.get(name).unwrap_or(&null),
                )
            })
        }
        (Value::Number(one), Value::Number(other)) => {
            one == other || one.as_f64().map(f64::to_bits) == other.as_f64().map(f64::to_bits)
        }
        (Value::String(text), Value::Number(number))
        | (Value::Number(number), Value::String(text)) => {
            // A double is the same whatever its digits.
            let double = number.as_f64().filter(|_| number.is_f64());
            bare(text) == bare(&number.to_string())
                || double.is_some_and(|own| text.parse().map(f64::to_bits) == Ok(own.to_bits()))
        }
        (Value::String(one), Value::String(other)) => {
            let exact = decimal(one).is_some_and(|own| Some(own) == decimal(other));
            bare(one) == bare(other) || exact || gives_back(one, other)
        }
        (one, other) => one == other,
    }
}

/// Whether a number became the double that gives its digits back.
fn gives_back(number: &str, double: &str) -> bool {
    let Some((value, (_, digits, _))) = double.parse::<f64>().ok().zip(decimal(number)) else {
        return false;
    };
    let written = format!("{value:.*e}", digits.len().saturating_sub(1));
    number.parse().map(f64::to_bits) == Ok(value.to_bits()) && decimal(&written) == decimal(number)
}

/// A number exactly, however it is spelled: its sign, its digits from the first to the last that
/// is not zero, and the power of ten of the first.
fn decimal(text: &str) -> Option<(bool, String, i64)> {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let bare = whole.trim_start_matches('-');
    let all = format!("{bare}{fraction}");
    if bare.is_empty() || !all.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let digits = all.trim_start_matches('0');
    let zeros = all.len() - digits.len();
    let power = exponent.parse::<i64>().ok()? + bare.len() as i64 - 1 - zeros as i64;
    let digits = digits.trim_end_matches('0').to_owned();
    let power = if digits.is_empty() { 0 } else { power };
    Some((whole.starts_with('-'), digits, power))
}
