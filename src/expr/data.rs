//! Values while an expression is evaluated: a few types out of Arrow's many.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array,
    NullArray, PrimitiveArray, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Error, Type};

/// One value a row, or one for all rows.
#[derive(Debug, Clone)]
pub(super) struct Data {
    pub(super) values: Values,
    /// The first value stands for every row.
    pub(super) constant: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Values {
    Bool(BooleanArray),
    Int(Int64Array),
    /// Some are 2^63 or above.
    Unsigned(UInt64Array),
    Float(Float64Array),
    Text(StringArray),
    /// Text by key.
    Keyed(Int32Array, StringArray),
    /// Microseconds since the Unix epoch.
    Time(Int64Array),
    /// Only whether they are null.
    Other(ArrayRef),
}

/// What a column of that type is to an expression.
pub(super) fn type_of(data_type: &DataType) -> Type {
    match data_type {
        DataType::Boolean => Type::Bool,
        DataType::Float64 | DataType::Float32 => Type::Float,
        integer if integer.is_integer() => Type::Int,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Type::Text,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Type::Time,
        DataType::Dictionary(_, value) => type_of(value),
        DataType::Null => Type::Null,
        _ => Type::Other,
    }
}

impl Data {
    pub(super) fn rows(values: Values) -> Self {
        Self {
            values,
            constant: false,
        }
    }

    pub(super) fn constant(values: Values) -> Self {
        Self {
            values,
            constant: true,
        }
    }

    /// A column of a batch; times without a zone are in `zone`.
    pub(super) fn column(column: &ArrayRef, zone: &TimeZone) -> Result<Self, Error> {
        Ok(Self::rows(match column.data_type() {
            DataType::Boolean => Values::Bool(column.as_boolean().clone()),
            DataType::Float64 => Values::Float(column.as_primitive::<Float64Type>().clone()),
            // The shortest digits of a float, not those of the double nearby.
            DataType::Float32 => Values::Float(
                column
                    .as_primitive::<Float32Type>()
                    .iter()
                    .map(|value| value?.to_string().parse().ok())
                    .collect(),
            ),
            DataType::Int64 => Values::Int(column.as_primitive::<Int64Type>().clone()),
            DataType::Int32 => whole::<Int32Type>(column),
            DataType::Int16 => whole::<Int16Type>(column),
            DataType::Int8 => whole::<Int8Type>(column),
            DataType::UInt64 => {
                let values = column.as_primitive::<UInt64Type>();
                let huge = |value: u64| i64::try_from(value).is_err();
                if values.iter().flatten().any(huge) {
                    Values::Unsigned(values.clone())
                } else {
                    whole::<UInt64Type>(column)
                }
            }
            DataType::UInt32 => whole::<UInt32Type>(column),
            DataType::UInt16 => whole::<UInt16Type>(column),
            DataType::UInt8 => whole::<UInt8Type>(column),
            DataType::Utf8 => Values::Text(column.as_string::<i32>().clone()),
            DataType::LargeUtf8 => Values::Text(column.as_string::<i64>().iter().collect()),
            DataType::Utf8View => Values::Text(column.as_string_view().iter().collect()),
            DataType::Timestamp(unit, own) => {
                let micros = match unit {
                    TimeUnit::Second => {
                        times::<TimestampSecondType>(column, |v| v.saturating_mul(1_000_000))
                    }
                    TimeUnit::Millisecond => {
                        times::<TimestampMillisecondType>(column, |v| v.saturating_mul(1_000))
                    }
                    TimeUnit::Microsecond => times::<TimestampMicrosecondType>(column, |v| v),
                    TimeUnit::Nanosecond => {
                        times::<TimestampNanosecondType>(column, |v| v.div_euclid(1_000))
                    }
                };
                Values::Time(if own.is_some() {
                    micros
                } else {
                    in_zone(&micros, zone)
                })
            }
            DataType::Date32 => {
                let days = column.as_primitive::<Date32Type>().iter();
                let micros = days.map(|day| Some(i64::from(day?).saturating_mul(86_400_000_000)));
                Values::Time(in_zone(&micros.collect(), zone))
            }
            DataType::Date64 => {
                let millis = column.as_primitive::<Date64Type>().iter();
                let micros = millis.map(|milli| Some(milli?.saturating_mul(1_000)));
                Values::Time(in_zone(&micros.collect(), zone))
            }
            DataType::Dictionary(..) => return Self::dictionary(column, zone),
            _ => Values::Other(Arc::clone(column)),
        }))
    }

    fn dictionary(column: &ArrayRef, zone: &TimeZone) -> Result<Self, Error> {
        let dictionary = column.as_any_dictionary();
        let values = Self::column(dictionary.values(), zone)?;
        let keys = dictionary.normalized_keys();
        let keys: Int32Array = keys
            .into_iter()
            .enumerate()
            .map(|(row, key)| dictionary.keys().is_valid(row).then_some(key as i32))
            .collect();
        if let Values::Text(texts) = values.values {
            return Ok(Self::rows(Values::Keyed(keys, texts)));
        }
        let plain = arrow::compute::take(&values.array(dictionary.values().len()), &keys, None);
        Self::column(&plain.map_err(|error| Error::new(error.to_string()))?, zone)
    }

    /// Whole numbers, a row each. What 64 bits with a sign can't hold is an error: a null would
    /// leave the row out of sums and means without a word.
    pub(super) fn integers(
        rows: usize,
        number: impl Fn(usize) -> Result<Option<i128>, Error>,
    ) -> Result<Self, Error> {
        let fitting =
            |value: Option<i128>| value.map(i64::try_from).transpose().map_err(|_| beyond());
        let values: Result<Int64Array, Error> =
            (0..rows).map(|row| fitting(number(row)?)).collect();
        Ok(Self::rows(Values::Int(values?)))
    }

    fn at(&self, row: usize) -> usize {
        if self.constant { 0 } else { row }
    }

    pub(super) fn bool(&self, row: usize) -> Option<bool> {
        match &self.values {
            Values::Bool(values) => get(values, self.at(row), BooleanArray::value),
            _ => None,
        }
    }

    pub(super) fn int(&self, row: usize) -> Option<i64> {
        match &self.values {
            Values::Int(values) => get(values, self.at(row), Int64Array::value),
            Values::Unsigned(_) => self.integer(row)?.try_into().ok(),
            Values::Bool(_) => self.bool(row).map(i64::from),
            _ => None,
        }
    }

    /// A whole number of any size.
    pub(super) fn integer(&self, row: usize) -> Option<i128> {
        match &self.values {
            Values::Unsigned(values) => {
                get(values, self.at(row), UInt64Array::value).map(i128::from)
            }
            _ => self.int(row).map(i128::from),
        }
    }

    /// As a double; NaN is none.
    pub(super) fn float(&self, row: usize) -> Option<f64> {
        match &self.values {
            Values::Float(values) => {
                get(values, self.at(row), Float64Array::value).filter(|value| !value.is_nan())
            }
            _ => self.integer(row).map(|value| value as f64),
        }
    }

    pub(super) fn text(&self, row: usize) -> Option<&str> {
        let row = self.at(row);
        match &self.values {
            Values::Text(values) => {
                (row < values.len() && values.is_valid(row)).then(|| values.value(row))
            }
            Values::Keyed(keys, values) => {
                let key = get(keys, row, Int32Array::value)? as usize;
                (key < values.len() && values.is_valid(key)).then(|| values.value(key))
            }
            _ => None,
        }
    }

    pub(super) fn time(&self, row: usize) -> Option<i64> {
        match &self.values {
            Values::Time(values) => get(values, self.at(row), Int64Array::value),
            _ => None,
        }
    }

    pub(super) fn is_null(&self, row: usize) -> bool {
        match &self.values {
            Values::Float(_) => self.float(row).is_none(),
            Values::Text(_) | Values::Keyed(..) => self.text(row).is_none(),
            Values::Bool(values) => values.is_null(self.at(row)),
            Values::Int(values) | Values::Time(values) => values.is_null(self.at(row)),
            Values::Unsigned(values) => values.is_null(self.at(row)),
            Values::Other(values) => values
                .logical_nulls()
                .is_some_and(|nulls| self.at(row) < nulls.len() && nulls.is_null(self.at(row))),
        }
    }

    /// Something made of each text: once a key where texts have keys.
    pub(super) fn map_text<T: Clone>(
        &self,
        rows: usize,
        make: impl Fn(&str) -> Option<T>,
    ) -> Vec<Option<T>> {
        match &self.values {
            Values::Keyed(keys, values) if !self.constant => {
                let made: Vec<Option<T>> = values.iter().map(|text| text.and_then(&make)).collect();
                keys.iter()
                    .map(|key| made.get(key? as usize)?.clone())
                    .collect()
            }
            _ if self.constant => vec![self.text(0).and_then(make); rows],
            _ => (0..rows)
                .map(|row| self.text(row).and_then(&make))
                .collect(),
        }
    }

    /// Whether it has whole numbers that 64 bits with a sign don't hold.
    pub(super) fn is_unsigned(&self) -> bool {
        matches!(self.values, Values::Unsigned(_))
    }

    /// Text by key, where it is that.
    pub(super) fn dictionary_array(&self) -> Option<ArrayRef> {
        let Values::Keyed(keys, values) = &self.values else {
            return None;
        };
        let dictionary = DictionaryArray::try_new(keys.clone(), Arc::new(values.clone())).ok();
        Some(Arc::new(dictionary.filter(|_| !self.constant)?))
    }

    /// As an array with a value a row.
    pub(super) fn array(&self, rows: usize) -> ArrayRef {
        if !self.constant {
            return match &self.values {
                Values::Bool(values) => Arc::new(values.clone()),
                Values::Int(values) => Arc::new(values.clone()),
                // Whoever counts on has 64 bits with a sign.
                Values::Unsigned(_) => {
                    Arc::new((0..rows).map(|row| self.int(row)).collect::<Int64Array>())
                }
                Values::Float(values) => Arc::new(values.clone()),
                Values::Text(values) => Arc::new(values.clone()),
                Values::Keyed(..) => {
                    Arc::new((0..rows).map(|row| self.text(row)).collect::<StringArray>())
                }
                Values::Time(values) => Arc::new(instants(values)),
                Values::Other(values) => Arc::clone(values),
            };
        }
        match &self.values {
            Values::Bool(_) => Arc::new(BooleanArray::from(vec![self.bool(0); rows])),
            Values::Int(_) | Values::Unsigned(_) => {
                Arc::new(Int64Array::from(vec![self.int(0); rows]))
            }
            Values::Float(_) => Arc::new(Float64Array::from(vec![self.float(0); rows])),
            Values::Text(_) | Values::Keyed(..) => {
                Arc::new(StringArray::from(vec![self.text(0); rows]))
            }
            Values::Time(_) => Arc::new(instants(&Int64Array::from(vec![self.time(0); rows]))),
            Values::Other(_) => Arc::new(NullArray::new(rows)),
        }
    }
}

fn instants(micros: &Int64Array) -> TimestampMicrosecondArray {
    micros
        .reinterpret_cast::<TimestampMicrosecondType>()
        .with_timezone("UTC")
}

/// The error for a whole number that has no place.
pub(super) fn beyond() -> Error {
    Error::new(
        "a whole number beyond 64 bits with a sign came up: multiply by 1.0 to work with doubles",
    )
}

fn get<A: Array, T>(values: &A, row: usize, value: impl Fn(&A, usize) -> T) -> Option<T> {
    (row < values.len() && values.is_valid(row)).then(|| value(values, row))
}

/// Whole numbers of any width; one beyond 64 bits with a sign is null.
fn whole<T: ArrowPrimitiveType>(column: &ArrayRef) -> Values
where
    T::Native: TryInto<i64>,
{
    let values = column.as_primitive::<T>().iter();
    Values::Int(values.map(|value| value?.try_into().ok()).collect())
}

fn times<T: ArrowPrimitiveType<Native = i64>>(
    column: &ArrayRef,
    micros: impl Fn(i64) -> i64,
) -> Int64Array {
    let values: &PrimitiveArray<T> = column.as_primitive::<T>();
    values.iter().map(|value| value.map(&micros)).collect()
}

fn in_zone(micros: &Int64Array, zone: &TimeZone) -> Int64Array {
    let instant = |wall: i64| {
        let wall = TimeZone::UTC.to_datetime(Timestamp::from_microsecond(wall).ok()?);
        zone.to_timestamp(wall).ok().map(Timestamp::as_microsecond)
    };
    // Beyond what a calendar holds no zone is known; it is a time all the same.
    let known = |wall: i64| instant(wall).unwrap_or(wall);
    micros.iter().map(|wall| wall.map(known)).collect()
}
