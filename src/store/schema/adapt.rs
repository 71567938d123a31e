//! A batch as a file holds it, converted to the united columns.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, StringArray,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Float64Type, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use super::{Kind, TIMESTAMP_TEXT, kind_of, timestamp_type};
use crate::store::cast::cast;
use crate::store::error::{Error, Result};

const MICROS: i64 = 1_000_000;

/// Converts a batch to the columns of `target` (from [`super::Union`] with the
/// batch's file in it): missing columns become null, types are widened, times that
/// are text, naive (read in `zone`) or Unix seconds become timestamps. Text that is
/// no time becomes null and is kept in `timestamp_text`, where `target` has it.
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
                    convert_column(column, kind_of(field.name()), field.data_type(), zone)?
                }
            }
        };
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(target.clone(), columns, &options)
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
            Ok(Arc::new(times(column, zone)?))
        }
        (Some(Kind::Bool), DataType::Boolean) => truths(column),
        (Some(Kind::Id), DataType::Utf8) if column.data_type().is_floating() => ids(column),
        _ => cast(column, target),
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
    let numbers = cast(column, &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    let texts: StringArray = numbers
        .iter()
        .map(|v| v.filter(|v| !v.is_nan()).map(|v| v.to_string()))
        .collect();
    Ok(Arc::new(texts))
}

fn times(column: &ArrayRef, zone: &TimeZone) -> Result<TimestampMicrosecondArray, ArrowError> {
    let micros: Vec<Option<i64>> = match column.data_type() {
        DataType::Timestamp(_, Some(_)) => {
            let typed = cast(column, &timestamp_type())?;
            return Ok(typed.as_primitive::<TimestampMicrosecondType>().clone());
        }
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => {
            let wall = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
            let wall = wall.as_primitive::<TimestampMicrosecondType>();
            wall.iter()
                .map(|micros| micros.and_then(|micros| in_zone(wall_time(micros)?, zone)))
                .collect()
        }
        number if number.is_numeric() => {
            let seconds = cast(column, &DataType::Float64)?;
            seconds
                .as_primitive::<Float64Type>()
                .iter()
                .map(|v| v.and_then(from_seconds))
                .collect()
        }
        _ => {
            let texts = cast(column, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>();
            texts
                .iter()
                .map(|text| text.and_then(|text| parse_time(text, zone)))
                .collect()
        }
    };
    Ok(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}

/// The texts that are no time: what the column already has, else what `timestamp`
/// holds and can't be read.
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
    if !super::is_text(timestamp.data_type()) {
        return Ok(kept);
    }
    let texts = cast(timestamp, &DataType::Utf8)?;
    let pairs = kept
        .as_string::<i32>()
        .iter()
        .zip(texts.as_string::<i32>().iter());
    let merged: StringArray = pairs
        .map(|(kept, text)| {
            kept.or_else(|| {
                text.filter(|text| !is_absent(text) && parse_time(text, zone).is_none())
            })
        })
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
    in_zone(text.parse::<civil::DateTime>().ok()?, zone)
}

fn in_zone(wall: civil::DateTime, zone: &TimeZone) -> Option<i64> {
    zone.to_timestamp(wall).ok().map(Timestamp::as_microsecond)
}

fn wall_time(micros: i64) -> Option<civil::DateTime> {
    let as_utc = Timestamp::from_microsecond(micros).ok()?;
    Some(TimeZone::UTC.to_datetime(as_utc))
}

/// Unix seconds; `None` for NaN and for what no calendar reaches.
fn from_seconds(seconds: f64) -> Option<i64> {
    if !seconds.is_finite() {
        return None;
    }
    let micros = seconds * MICROS as f64;
    Timestamp::from_microsecond(micros.round() as i64)
        .ok()
        .map(Timestamp::as_microsecond)
}
