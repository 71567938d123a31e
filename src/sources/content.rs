//! What a row of a foreign file says, whatever the file stores it as: CSV, JSON lines and
//! Parquet of one table have the same contents.
//!
//! A content is the wrapping sum over the values, each hashed with its column's name, so
//! neither the order of columns nor absent values matter. `1`, `1.0` and `"1.0"` are one
//! number, `true` and `True` are 1, a complete date-time is its instant.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::convert::{self, Bad, plain};
use super::source::Column;
use crate::store::format::cast::cast;
use crate::store::format::schema;

/// The contents of the rows of a batch with these columns; naive times are in `zone`.
pub(crate) fn contents(
    batch: &RecordBatch,
    columns: &[Column],
    zone: &TimeZone,
) -> Result<Vec<u128>, Bad> {
    let mut contents = vec![0_u128; batch.num_rows()];
    // Where a log lies says nothing of what a row is.
    let columns = columns.iter().zip(batch.columns());
    for (column, array) in columns.filter(|(column, _)| column.name != "log") {
        add(&mut contents, array, xxh3_64(column.name.as_bytes()), zone)?;
    }
    Ok(contents)
}

fn add(contents: &mut [u128], array: &ArrayRef, seed: u64, zone: &TimeZone) -> Result<(), Bad> {
    let mut add = |at: usize, tag: u8, bytes: &[u8]| {
        let mut tagged = Vec::with_capacity(bytes.len() + 1);
        tagged.push(tag);
        tagged.extend_from_slice(bytes);
        if let Some(content) = contents.get_mut(at) {
            *content = content.wrapping_add(xxh3_128_with_seed(&tagged, seed));
        }
    };
    let array = plain(array)?;
    let unreadable = |error: arrow::error::ArrowError| Bad {
        row: 0,
        why: error.to_string(),
    };
    match array.data_type() {
        DataType::Boolean => each(array.as_boolean().iter(), |at, truth| {
            add(
                at,
                b'n',
                &f64::from(u8::from(truth)).to_bits().to_le_bytes(),
            );
        }),
        DataType::UInt64 => each(array.as_primitive::<UInt64Type>().iter(), |at, value| {
            put(&value.to_string(), zone, |tag, bytes| add(at, tag, bytes));
        }),
        number if number.is_integer() => {
            let whole = cast(&array, &DataType::Int64).map_err(unreadable)?;
            each(whole.as_primitive::<Int64Type>().iter(), |at, value| {
                put(&value.to_string(), zone, |tag, bytes| add(at, tag, bytes));
            });
        }
        number if number.is_floating() => {
            let doubles = cast(&array, &DataType::Float64).map_err(unreadable)?;
            each(doubles.as_primitive::<Float64Type>().iter(), |at, value| {
                if let Some(bits) = double(value) {
                    add(at, b'n', &bits.to_le_bytes());
                }
            });
        }
        DataType::Timestamp(_, of) => {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, of.clone());
            let micros = cast(&array, &micros).map_err(unreadable)?;
            let naive = of.is_none();
            let micros = micros.as_primitive::<TimestampMicrosecondType>();
            each(micros.iter(), |at, value| {
                let wall = |micros| {
                    let as_utc = Timestamp::from_microsecond(micros).ok()?;
                    let instant = zone.to_timestamp(TimeZone::UTC.to_datetime(as_utc)).ok()?;
                    Some(instant.as_microsecond())
                };
                let instant = if naive { wall(value) } else { None };
                add(at, b't', &instant.unwrap_or(value).to_le_bytes());
            });
        }
        _ => each(convert::texts(&array)?.iter(), |at, text| {
            put(text, zone, |tag, bytes| add(at, tag, bytes));
        }),
    }
    Ok(())
}

/// Returns the tag and the bytes of a text; nothing for one that stands for no value.
fn put(text: &str, zone: &TimeZone, mut add: impl FnMut(u8, &[u8])) {
    if matches!(text, "" | "nan" | "NaN" | "None" | "NaT" | "<NA>" | "null") {
        return;
    }
    if let Some(number) = number(text) {
        if let Some(bits) = double(number) {
            add(b'n', &bits.to_le_bytes());
        }
    } else if let Some(instant) = instant(text, zone) {
        add(b't', &instant.to_le_bytes());
    } else {
        add(b's', text.as_bytes());
    }
}

/// The number that a text is, where a double holds all of its digits.
fn number(text: &str) -> Option<f64> {
    match text {
        "true" | "True" | "TRUE" => return Some(1.0),
        "false" | "False" | "FALSE" => return Some(0.0),
        _ => {}
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let first = digits.bytes().next()?;
    // Leading zeros, signs and words make it a name.
    let padded = digits.len() > 1 && first == b'0' && !digits.starts_with("0.");
    if !first.is_ascii_digit() || padded {
        return None;
    }
    let number = text
        .parse::<f64>()
        .ok()
        .filter(|number| number.is_finite())?;
    if let Ok(whole) = text.parse::<i128>() {
        return (number.abs() < 9_007_199_254_740_992.0 || number as i128 == whole)
            .then_some(number);
    }
    Some(number)
}

/// The bits under which a number is hashed; none for NaN. A fraction that a float holds
/// exactly is that float's shortest decimal: what pandas widened stays what it was.
fn double(number: f64) -> Option<u64> {
    if number.is_nan() {
        return None;
    }
    let float = number as f32;
    let widened = number.fract() != 0.0 && f64::from(float).to_bits() == number.to_bits();
    let number = if widened {
        float.to_string().parse().unwrap_or(number)
    } else {
        number
    };
    // Adding zero turns −0 into 0.
    Some((number + 0.0).to_bits())
}

/// The instant of a text that is a date and time, or a date: its midnight, which pandas
/// writes to CSV as a date.
fn instant(text: &str, zone: &TimeZone) -> Option<i64> {
    let bytes = text.as_bytes();
    if !bytes.first()?.is_ascii_digit() || bytes.get(4) != Some(&b'-') {
        return None;
    }
    if bytes.len() == 10 {
        let date: Date = text.parse().ok()?;
        let midnight = zone.to_timestamp(date.to_datetime(jiff::civil::Time::midnight()));
        return midnight.ok().map(Timestamp::as_microsecond);
    }
    text.contains(':')
        .then(|| schema::parse_time(text, zone))
        .flatten()
}

fn each<T>(values: impl Iterator<Item = Option<T>>, mut then: impl FnMut(usize, T)) {
    for (at, value) in values.enumerate() {
        if let Some(value) = value {
            then(at, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BooleanArray, Date32Array, Float32Array, Float64Array, Int64Array, StringArray,
        TimestampMicrosecondArray, UInt64Array,
    };

    use super::*;

    fn content(array: ArrayRef) -> Vec<u128> {
        let column = Column {
            name: "c".to_owned(),
            data_type: array.data_type().clone(),
            stands_for: array.data_type().clone(),
            whole: false,
            range: crate::store::format::schema::Range::default(),
        };
        let batch = RecordBatch::try_from_iter([("c", array)]).unwrap();
        contents(&batch, &[column], &TimeZone::UTC).unwrap()
    }

    #[test]
    fn one_value_in_many_spellings() {
        let texts = |texts: &[&str]| content(Arc::new(StringArray::from(texts.to_vec())));
        let same = |one: ArrayRef, spellings: &[&str]| {
            let one = content(one)[0];
            assert_eq!(
                texts(spellings),
                vec![one; spellings.len()],
                "{spellings:?}"
            );
        };
        same(
            Arc::new(Int64Array::from(vec![1])),
            &["1", "1.0", "1e0", "True"],
        );
        same(
            Arc::new(BooleanArray::from(vec![false])),
            &["0", "-0.0", "false", "False"],
        );
        same(
            Arc::new(Float64Array::from(vec![5.9e-6])),
            &["5.9e-06", "0.0000059", "5.9E-6"],
        );
        same(
            Arc::new(Float32Array::from(vec![0.8])),
            &["0.8", "0.800000011920929"],
        );
        same(
            Arc::new(UInt64Array::from(vec![u64::MAX])),
            &["18446744073709551615"],
        );
        same(
            Arc::new(Date32Array::from(vec![1])),
            &["1970-01-02", "1970-01-02T00:00:00Z"],
        );
        let day = 86_400_000_000;
        same(
            Arc::new(TimestampMicrosecondArray::from(vec![day])),
            &[
                "1970-01-02",
                "1970-01-02 00:00:00",
                "1970-01-02T01:00:00+01:00",
            ],
        );
        assert_eq!(texts(&["", "nan", "None"]), [0; 3], "no value");
        let names = texts(&[
            "007",
            "+1",
            "1_000",
            "inf",
            "9007199254740993",
            "9007199254740992",
        ]);
        for (at, one) in names.iter().enumerate() {
            assert!(!names[at + 1..].contains(one), "{at}");
        }
    }
}
