//! One column of a foreign file as the type that a record wants. Strict: a value
//! that does not fit is an error that names its row, never a silent null.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::tz::TimeZone;

use crate::formats::plain::nested_text;
use crate::store::format::cast::{at_offset_zero, cast, double_holds, exact};
use crate::store::format::schema;
use crate::store::format::schema::Kind;

/// A value that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bad {
    /// Its row in the batch.
    pub(crate) row: usize,
    /// What is wrong with it.
    pub(crate) why: String,
}

impl Bad {
    fn new(row: usize, why: impl Into<String>) -> Self {
        Self {
            row,
            why: why.into(),
        }
    }

    fn unreadable(error: impl std::fmt::Display) -> Self {
        Self::new(0, error.to_string())
    }
}

/// A column as a canonical one of that kind; `all_whole` says whether every number
/// of the column, in the whole file, is a whole one.
pub(crate) fn canonical(
    column: &ArrayRef,
    kind: Kind,
    all_whole: bool,
    zone: &TimeZone,
) -> Result<ArrayRef, Bad> {
    Ok(match kind {
        Kind::Id | Kind::Text => Arc::new(words(column)?),
        Kind::Bool => Arc::new(truths(column)?),
        Kind::Int if all_whole => whole(column)?,
        Kind::Float | Kind::Int => numbers(column)?,
        Kind::Time => Arc::new(times(column, zone)?),
    })
}

/// An array without dictionaries, and text as plain text.
pub(crate) fn plain(column: &ArrayRef) -> Result<ArrayRef, Bad> {
    let target = match column.data_type() {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        _ => return Ok(Arc::clone(column)),
    };
    let column = cast(column, &target).map_err(Bad::unreadable)?;
    if column.data_type() == &target
        && target != DataType::LargeUtf8
        && target != DataType::Utf8View
    {
        return Ok(column);
    }
    plain(&column)
}

/// Text as it is; numbers without a needless fraction; times in microseconds.
pub(crate) fn texts(column: &ArrayRef) -> Result<StringArray, Bad> {
    let column = plain(column)?;
    Ok(match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().clone(),
        // As JSON lines have them.
        nested if nested.is_nested() => nested_text(&column).map_err(Bad::unreadable)?,
        // An array of nulls alone has no bitmap that would say so.
        DataType::Null => StringArray::new_null(column.len()),
        DataType::Float32 => {
            // Its own shortest digits, not those of the double nearby.
            let values = column.as_primitive::<arrow::datatypes::Float32Type>();
            values
                .iter()
                .map(|v| v.filter(|v| !v.is_nan()).map(|v| v.to_string()))
                .collect()
        }
        DataType::Float64 | DataType::Float16 => {
            let values = cast(&column, &DataType::Float64).map_err(Bad::unreadable)?;
            let values = values.as_primitive::<Float64Type>();
            values
                .iter()
                .map(|v| v.filter(|v| !v.is_nan()).map(|v| v.to_string()))
                .collect()
        }
        DataType::Timestamp(_, zone) => {
            let micros = cast(
                &column,
                &DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            );
            let micros = micros.map_err(Bad::unreadable)?;
            let micros = micros.as_primitive::<TimestampMicrosecondType>();
            micros.iter().map(|v| v.map(|v| v.to_string())).collect()
        }
        _ => {
            let options = FormatOptions::default();
            let column = at_offset_zero(&column);
            let formatter = ArrayFormatter::try_new(&column, &options).map_err(Bad::unreadable)?;
            (0..column.len())
                .map(|row| {
                    column
                        .is_valid(row)
                        .then(|| formatter.value(row).to_string())
                })
                .collect()
        }
    })
}

/// The same, where bytes are text: programs write it so that know no type for text.
pub(crate) fn words(column: &ArrayRef) -> Result<StringArray, Bad> {
    let column = plain(column)?;
    if !matches!(
        column.data_type(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView
    ) {
        return texts(&column);
    }
    let bytes = cast(&column, &DataType::Binary).map_err(Bad::unreadable)?;
    let mut words = StringBuilder::new();
    for (row, bytes) in bytes.as_binary::<i32>().iter().enumerate() {
        let word = bytes.map(std::str::from_utf8).transpose();
        words.append_option(word.map_err(|_| Bad::new(row, "these bytes are not text"))?);
    }
    Ok(words.finish())
}

/// Truth values: booleans, 0 and 1, true and false in any case.
pub(crate) fn truths(column: &ArrayRef) -> Result<BooleanArray, Bad> {
    if let Some(truths) = column.as_boolean_opt() {
        return Ok(truths.clone());
    }
    let mut truths = Vec::with_capacity(column.len());
    for (row, text) in texts(column)?.iter().enumerate() {
        truths.push(
            match text.map(|text| text.trim().to_ascii_lowercase()).as_deref() {
                None | Some("" | "nan" | "none" | "null") => None,
                Some("true" | "1" | "yes") => Some(true),
                Some("false" | "0" | "no") => Some(false),
                Some(other) => {
                    return Err(Bad::new(
                        row,
                        format!("'{}' is neither true nor false", brief(other)),
                    ));
                }
            },
        );
    }
    Ok(truths.into())
}

/// Doubles.
pub(crate) fn numbers(column: &ArrayRef) -> Result<ArrayRef, Bad> {
    let column = plain(column)?;
    if column.data_type().is_numeric() || *column.data_type() == DataType::Boolean {
        return exact(&column, &DataType::Float64).map_err(Bad::unreadable);
    }
    let mut numbers = Vec::with_capacity(column.len());
    for (row, text) in texts(&column)?.iter().enumerate() {
        numbers.push(match text.map(str::trim) {
            None | Some("" | "None" | "null") => None,
            Some(text) => {
                let bad = |what: &str| Bad::new(row, format!("'{}' {what}", brief(text)));
                let number: f64 = text.parse().map_err(|_| bad("is not a number"))?;
                // Digits of a fraction are rounded, those of a whole number are not.
                let whole = text.len() > 15 && !text.contains(['.', 'e', 'E']);
                if whole && !double_holds(text, number) {
                    return Err(bad("has more digits than a number of this column"));
                }
                Some(number)
            }
        });
    }
    Ok(Arc::new(Float64Array::from(numbers)))
}

/// Whole numbers, from a column in which all numbers are.
fn whole(column: &ArrayRef) -> Result<ArrayRef, Bad> {
    let column = plain(column)?;
    if column.data_type().is_integer() {
        return exact(&column, &DataType::Int64).map_err(Bad::unreadable);
    }
    if let Some(texts) = column.as_string_opt::<i32>()
        && let Some(whole) = long(texts)
    {
        return Ok(Arc::new(whole));
    }
    let doubles = numbers(&column)?;
    let values = doubles.as_primitive::<Float64Type>();
    let whole = values
        .iter()
        .map(|v| v.filter(|v| !v.is_nan()).map(|v| v as i64));
    Ok(Arc::new(whole.collect::<Int64Array>()))
}

/// Texts that are all whole numbers of 64 bits, or nothing.
fn long(texts: &StringArray) -> Option<Int64Array> {
    let number = |text: Option<&str>| match text.map(str::trim) {
        None | Some("" | "nan" | "NaN" | "None" | "null") => Some(None),
        Some(text) => text.parse::<i64>().ok().map(Some),
    };
    texts.iter().map(number).collect()
}

/// Whether a double can be stored as a whole number without a loss.
pub(crate) fn is_whole(value: f64) -> bool {
    value.is_nan() || (value.fract() == 0.0 && value.abs() < 9e15)
}

/// Times: typed, ISO 8601 text (naive in `zone`), or epoch numbers in seconds,
/// milliseconds, microseconds or nanoseconds by their magnitude.
fn times(column: &ArrayRef, zone: &TimeZone) -> Result<TimestampMicrosecondArray, Bad> {
    let column = plain(column)?;
    if column.data_type().is_numeric()
        || matches!(
            column.data_type(),
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
        )
    {
        return typed(&column, zone);
    }
    let micros = each(texts(&column)?.iter(), |text| {
        let text = text.trim();
        let absent = matches!(text, "" | "nan" | "NaN" | "NaT" | "None" | "null");
        if absent {
            return Ok(None);
        }
        let number = || {
            text.parse::<f64>()
                .ok()
                .and_then(|number| epoch(number).ok().flatten())
        };
        let time = schema::parse_time(text, zone)
            .filter(|_| text.contains(['-', ':', 'T']))
            .or_else(number);
        time.map(Some)
            .ok_or_else(|| format!("'{}' is not a time", brief(text)))
    })?;
    Ok(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}

/// The same of a column that has a type for it: every value is an instant but NaN.
fn typed(column: &ArrayRef, zone: &TimeZone) -> Result<TimestampMicrosecondArray, Bad> {
    let times = schema::times(column, zone).map_err(Bad::unreadable)?;
    let says = |row: &usize| column.is_valid(*row) && times.is_null(*row);
    for row in (0..column.len()).filter(says) {
        let value = texts(&column.slice(row, 1))?;
        if value.is_valid(0) {
            return Err(Bad::new(
                row,
                format!("{} is not a time", brief(value.value(0))),
            ));
        }
        if !column.data_type().is_floating() {
            return Err(Bad::new(row, "it is not a time of any calendar"));
        }
    }
    Ok(times)
}

fn each<T>(
    values: impl Iterator<Item = Option<T>>,
    convert: impl Fn(T) -> Result<Option<i64>, String>,
) -> Result<Vec<Option<i64>>, Bad> {
    let convert = |(row, value): (usize, Option<T>)| match value {
        None => Ok(None),
        Some(value) => convert(value).map_err(|why| Bad::new(row, why)),
    };
    values.enumerate().map(convert).collect()
}

/// A Unix time; NaN is none.
fn epoch(number: f64) -> Result<Option<i64>, String> {
    if number.is_nan() {
        return Ok(None);
    }
    schema::unix_time(number)
        .map(Some)
        .ok_or_else(|| format!("{number} is not a time"))
}

/// Enough of a value to find it.
pub(crate) fn brief(text: &str) -> String {
    crate::text::sanitise::truncate(&crate::text::sanitise::sanitise(text), 40).into_owned()
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Float32Array};
    use arrow::datatypes::Int8Type;

    use super::*;

    fn strings(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn times_in_many_forms() {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        let column = strings(&[
            Some("1970-01-01T02:00:01"),
            Some("1970-01-01T00:00:01Z"),
            Some("1"),
            Some("nan"),
            None,
        ]);
        let times = times(&column, &zone).unwrap();
        let second = Some(1_000_000);
        assert_eq!(
            times.iter().collect::<Vec<_>>(),
            [second, second, second, None, None]
        );
        let bad = super::times(&strings(&[None, Some("soon")]), &zone).unwrap_err();
        assert_eq!(bad, Bad::new(1, "'soon' is not a time"));
    }

    #[test]
    fn values_that_do_not_fit_name_their_row() {
        assert_eq!(
            numbers(&strings(&[Some("1.5"), Some("x")]))
                .unwrap_err()
                .row,
            1
        );
        assert_eq!(
            truths(&strings(&[Some("True"), Some("2")]))
                .unwrap_err()
                .row,
            1
        );
        let truths = truths(&strings(&[Some("True"), Some("0"), Some("")])).unwrap();
        assert_eq!(
            truths.iter().collect::<Vec<_>>(),
            [Some(true), Some(false), None]
        );
    }

    #[test]
    fn numbers_as_text_have_no_needless_fraction() {
        let doubles: ArrayRef = Arc::new(Float64Array::from(vec![
            Some(15.0),
            Some(0.25),
            Some(f64::NAN),
        ]));
        assert_eq!(
            texts(&doubles).unwrap(),
            StringArray::from(vec![Some("15"), Some("0.25"), None])
        );
        let floats: ArrayRef = Arc::new(Float32Array::from(vec![0.8]));
        assert_eq!(texts(&floats).unwrap(), StringArray::from(vec!["0.8"]));
        let dictionary: ArrayRef = Arc::new(
            vec!["a", "b"]
                .into_iter()
                .collect::<DictionaryArray<Int8Type>>(),
        );
        assert_eq!(
            texts(&dictionary).unwrap(),
            StringArray::from(vec!["a", "b"])
        );
    }
}
