//! A batch as a file holds it, converted to the united columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit,
    TimestampMicrosecondType,
};
use arrow::error::ArrowError;
use jiff::fmt::temporal::Pieces;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use super::{Kind, TIMESTAMP_TEXT, kind_of, timestamp_type};
use crate::store::error::{Error, Result};
use crate::store::format::cast::{cast, check, exact};

const MICROS: i64 = 1_000_000;

/// Converts a batch to the columns of `target` (from [`super::Union`] with the
/// batch's file in it): missing columns become null, types are widened, times that
/// are text, naive (read in `zone`) or Unix times become timestamps. What is not a time
/// becomes null and is kept in `timestamp_text`, where `target` has it. A value that
/// would become another one, or none, is an error that names it.
pub fn adapt(batch: &RecordBatch, target: &SchemaRef, zone: &TimeZone) -> Result<RecordBatch> {
    convert(batch, target, zone).map_err(|error| {
        Error::Refused(format!(
            "a column can't be converted ({error}): convert it in its file"
        ))
    })
}

fn convert(
    batch: &RecordBatch,
    target: &SchemaRef,
    zone: &TimeZone,
) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    let mut columns = Vec::with_capacity(target.fields().len());
    for field in target.fields() {
        let own = batch.column_by_name(field.name());
        let column = if field.name() == TIMESTAMP_TEXT {
            no_times(own, batch.column_by_name("timestamp"), zone, rows)?
        } else {
            match own {
                None => new_null_array(field.data_type(), rows),
                Some(column) => {
                    convert_column(column, kind_of(field.name()), field.data_type(), zone)
                        .map_err(|error| of_column(field.name(), error))?
                }
            }
        };
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(target.clone(), columns, &options)
}

/// An error that says which column it is about.
fn of_column(name: &str, error: ArrowError) -> ArrowError {
    match error {
        ArrowError::CastError(why) => ArrowError::CastError(format!("'{name}': {why}")),
        other => other,
    }
}

fn convert_column(
    column: &ArrayRef,
    kind: Option<Kind>,
    target: &DataType,
    zone: &TimeZone,
) -> Result<ArrayRef, ArrowError> {
    if column.data_type() == target {
        return Ok(column.clone());
    }
    if *column.data_type() == DataType::Null {
        return Ok(new_null_array(target, column.len()));
    }
    if let DataType::Dictionary(_, values) = target {
        return cast(&convert_column(column, kind, values, zone)?, target);
    }
    match (kind, target) {
        (Some(Kind::Time), target) if *target == timestamp_type() => {
            let times: ArrayRef = Arc::new(times(column, zone)?);
            // What is kept as text is not lost.
            if !super::may_be_no_time(column.data_type()) {
                check(column, &times)?;
            }
            Ok(times)
        }
        (Some(Kind::Bool), DataType::Boolean) => truths(column),
        (Some(Kind::Id), DataType::Utf8)
            if super::normal(column.data_type()) == DataType::Float64 =>
        {
            ids(column)
        }
        _ => exact(column, target),
    }
}

/// Numbers as truth values: 1 and above is true, NaN is null.
fn truths(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let numbers = cast(column, &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let truths: BooleanArray = numbers
        .iter()
        .map(|v| v.filter(|v| !v.is_nan()).map(|v| v >= 1.0))
        .collect();
    Ok(Arc::new(truths))
}

/// Numbers as text; whole ones without a fraction (pandas turns whole numbers into
/// doubles where one of them is missing).
fn ids(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let texts: StringArray = if *column.data_type() == DataType::Float32 {
        // A fraction has its own shortest digits, not those of the double nearby.
        let numbers = column.as_primitive::<Float32Type>().iter();
        let shown = |number: f32| {
            if number.fract() == 0.0 {
                f64::from(number).to_string()
            } else {
                number.to_string()
            }
        };
        let text = |number: Option<f32>| number.filter(|v| !v.is_nan()).map(shown);
        numbers.map(text).collect()
    } else {
        let numbers = cast(column, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>().iter();
        let text = |number: Option<f64>| number.filter(|v| !v.is_nan()).map(|v| v.to_string());
        numbers.map(text).collect()
    };
    Ok(Arc::new(texts))
}

/// The instants of a column of times, numbers or texts: null where a value is none.
pub fn times(column: &ArrayRef, zone: &TimeZone) -> Result<TimestampMicrosecondArray, ArrowError> {
    let micros: TimestampMicrosecondArray = match column.data_type() {
        DataType::Dictionary(_, values) => return times(&cast(column, values)?, zone),
        DataType::Timestamp(_, Some(_)) => {
            let typed = cast(column, &timestamp_type())?;
            return Ok(typed.as_primitive::<TimestampMicrosecondType>().clone());
        }
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => {
            let wall = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            let wall = wall.as_primitive::<TimestampMicrosecondType>().iter();
            wall.map(|micros| in_zone(micros?, zone)).collect()
        }
        DataType::Int64 => {
            let numbers = column.as_primitive::<Int64Type>().iter();
            numbers.map(|number| unix_micros(number?)).collect()
        }
        number if number.is_integer() => match cast(column, &DataType::Int64) {
            Ok(numbers) => return times(&numbers, zone),
            Err(error) => return Err(error),
        },
        decimal if decimal.is_decimal() => {
            let texts = cast(column, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>().iter();
            texts.map(|text| decimal_time(text?)).collect()
        }
        number if number.is_numeric() => {
            let numbers = cast(column, &DataType::Float64)?;
            let numbers = numbers.as_primitive::<Float64Type>().iter();
            numbers.map(|number| unix_time(number?)).collect()
        }
        _ => {
            let texts = cast(column, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>().iter();
            texts.map(|text| parse_time(text?, zone)).collect()
        }
    };
    Ok(micros.with_timezone("UTC"))
}

/// The instant of a Unix time in decimal digits: of a whole number all of them count.
fn decimal_time(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.bytes().all(|digit| digit == b'0') {
        return unix_micros(whole.parse().ok()?);
    }
    unix_time(text.parse().ok()?)
}

/// How many of a batch's rows have a time that names no zone, so that the store's decides what it
/// means.
pub fn naive_rows(batch: &RecordBatch) -> u64 {
    let columns = ["timestamp", "recorded_at"].into_iter();
    let columns = columns.filter_map(|name| batch.column_by_name(name));
    columns.map(naive_values).max().unwrap_or(0)
}

/// Whether times in a file with these columns may name no zone.
pub fn may_be_naive(schema: &Schema) -> bool {
    schema.field_with_name("timestamp").is_ok_and(|field| {
        matches!(
            super::normal(field.data_type()),
            DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 | DataType::Utf8
        )
    })
}

fn naive_values(column: &ArrayRef) -> u64 {
    match super::normal(column.data_type()) {
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => {
            (column.len() - column.logical_null_count()) as u64
        }
        DataType::Utf8 => {
            let texts = cast(column, &DataType::Utf8);
            texts.map_or(0, |texts| {
                let texts = texts.as_string::<i32>().iter().flatten();
                texts.filter(|text| is_naive(text)).count() as u64
            })
        }
        _ => 0,
    }
}

/// Whether a text is a time that names no zone.
fn is_naive(text: &str) -> bool {
    let text = text.trim();
    // What follows the date of an instant has an offset or a Z: that is quicker to see than to parse.
    let names_zone = |rest: &[u8]| rest.iter().any(|b| matches!(b, b'Z' | b'z' | b'+' | b'-'));
    let rest = text.as_bytes().get(10..).unwrap_or_default();
    !names_zone(rest) && text.len() >= 8 && text.parse::<civil::DateTime>().is_ok()
}

/// The values of `timestamp` that are no time: what the column already has, else what
/// `timestamp` holds and can't be read.
fn no_times(
    kept: Option<&ArrayRef>,
    timestamp: Option<&ArrayRef>,
    zone: &TimeZone,
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    let kept = match kept {
        Some(kept) => cast(kept, &DataType::Utf8)?,
        None => new_null_array(&DataType::Utf8, rows),
    };
    let Some(timestamp) = timestamp else {
        return Ok(kept);
    };
    if !super::may_be_no_time(timestamp.data_type()) {
        return Ok(kept);
    }
    let times = times(timestamp, zone)?;
    if times.null_count() == timestamp.logical_null_count() {
        return Ok(kept);
    }
    let texts = cast(timestamp, &DataType::Utf8)?;
    let pairs = kept
        .as_string::<i32>()
        .iter()
        .zip(texts.as_string::<i32>().iter().zip(times.iter()));
    let no_time = |(text, time): (Option<&'_ str>, Option<i64>)| match time {
        Some(_) => None,
        None => text.filter(|text| !is_absent(text)).map(str::to_owned),
    };
    let merged: StringArray = pairs
        .map(|(kept, pair)| kept.map(str::to_owned).or_else(|| no_time(pair)))
        .collect();
    Ok(Arc::new(merged))
}

/// Text that stands for a missing value.
fn is_absent(text: &str) -> bool {
    matches!(text.trim(), "" | "nan" | "NaN" | "NaT" | "None" | "null")
}

/// Microseconds since the epoch of an ISO 8601 time: with an offset or `Z` an
/// instant, without one the wall time in `zone`; `None` for anything else.
pub fn parse_time(text: &str, zone: &TimeZone) -> Option<i64> {
    let text = text.trim();
    // A year, at least: the parsers below also take "T12" and the like.
    if !text.bytes().take(4).all(|b| b.is_ascii_digit()) || text.len() < 8 {
        return None;
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_microsecond());
    }
    if let Ok(wall) = text.parse::<civil::DateTime>() {
        return in_zone(wall_micros(wall)?, zone);
    }
    // The last hours of the year 9999, which stand for "never".
    let pieces = Pieces::parse(text).ok()?;
    let offset = pieces.to_numeric_offset()?;
    let wall = pieces.date().to_datetime(pieces.time()?);
    wall_micros(wall)?.checked_sub(i64::from(offset.seconds()) * MICROS)
}

/// Microseconds from 1970 to a wall time.
fn wall_micros(wall: civil::DateTime) -> Option<i64> {
    let since = wall.duration_since(civil::DateTime::constant(1970, 1, 1, 0, 0, 0, 0));
    i64::try_from(since.as_micros()).ok()
}

/// The instant of a wall time, which is given as if it were UTC. Beyond the calendar the
/// zone's first or last offset holds.
fn in_zone(wall: i64, zone: &TimeZone) -> Option<i64> {
    let instant = Timestamp::from_microsecond(wall)
        .map(|as_utc| TimeZone::UTC.to_datetime(as_utc))
        .and_then(|wall| zone.to_timestamp(wall));
    if let Ok(instant) = instant {
        return Some(instant.as_microsecond());
    }
    let end = if wall > 0 {
        Timestamp::MAX
    } else {
        Timestamp::MIN
    };
    wall.checked_sub(i64::from(zone.to_offset(end).seconds()) * MICROS)
}

/// The end of the year 9999 in seconds since the epoch: Unix times below it are seconds, below
/// a thousand times it milliseconds, and so on, so that "never" is read rightly and so is every
/// time after January 1978 in any unit.
const YEAR_10000: i64 = 253_402_300_800;

/// Microseconds since the epoch of a Unix time in seconds, milli-, micro- or nanoseconds, by
/// its magnitude.
pub fn unix_micros(number: i64) -> Option<i64> {
    let magnitude = number.unsigned_abs();
    let below = |factor: u64| magnitude < YEAR_10000.unsigned_abs() * factor;
    if below(1) {
        number.checked_mul(MICROS)
    } else if below(1_000) {
        number.checked_mul(1_000)
    } else if below(1_000_000) {
        Some(number)
    } else {
        Some(number.div_euclid(1_000))
    }
}

/// The same of a number with a fraction; `None` for what no calendar reaches.
pub fn unix_time(number: f64) -> Option<i64> {
    let end = YEAR_10000 as f64;
    let micros = match number.abs() {
        n if n < end => number * 1e6,
        n if n < end * 1e3 => number * 1e3,
        n if n < end * 1e6 => number,
        n if n < end * 1e9 => number / 1e3,
        _ => return None,
    };
    Some(micros.round() as i64)
}
