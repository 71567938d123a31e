//! A column as another type: the conversions that stores and foreign files need, and no
//! others, because those between all types of Arrow are a seventh of a program.
//!
//! Promises: a value that the other type can't hold becomes null; every conversion gives
//! what [`arrow::compute::cast`] gives. [`exact`] is an error instead where a value would
//! become null or another one.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, BinaryArray, DictionaryArray, Float64Array, Int64Array,
    PrimitiveArray, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array, make_array, new_null_array,
};
use arrow::compute::take;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Field, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

pub use digits::double_holds;

mod decimal;
mod digits;

const MICROS_A_DAY: i64 = 86_400_000_000;

/// The column as text, text by key, doubles, 64-bit whole numbers, bytes, or times of another
/// precision or, where both have a zone, of another zone. Anything else is an error.
pub fn cast(column: &dyn Array, target: &DataType) -> Result<ArrayRef, ArrowError> {
    let source = column.data_type();
    if source == target {
        return Ok(column.slice(0, column.len()));
    }
    if *source == DataType::Null {
        return Ok(new_null_array(target, column.len()));
    }
    if let Some(dictionary) = column.as_any_dictionary_opt() {
        return take(&cast(dictionary.values(), target)?, dictionary.keys(), None);
    }
    let cast = match (source, target) {
        (_, DataType::Utf8) => text(column)?,
        (_, DataType::Dictionary(key, value))
            if (&**key, &**value) == (&DataType::Int32, &DataType::Utf8) =>
        {
            let texts = cast(column, value)?;
            Some(Arc::new(
                texts
                    .as_string::<i32>()
                    .iter()
                    .collect::<DictionaryArray<Int32Type>>(),
            ) as ArrayRef)
        }
        (_, DataType::Float64) => doubles(column)?,
        (_, DataType::Int64) => whole(column),
        (_, DataType::UInt64) => whole(column).map(|whole| {
            let whole: UInt64Array =
                (whole.as_primitive::<Int64Type>()).unary_opt(|number| number.try_into().ok());
            Arc::new(whole) as ArrayRef
        }),
        (_, DataType::Decimal128(..) | DataType::Decimal256(..)) => {
            decimal::decimals(column, target)?
        }
        (DataType::LargeBinary, DataType::Binary) => {
            Some(Arc::new(column.as_binary::<i64>().iter().collect::<BinaryArray>()) as ArrayRef)
        }
        (DataType::BinaryView, DataType::Binary) => {
            Some(Arc::new(column.as_binary_view().iter().collect::<BinaryArray>()) as ArrayRef)
        }
        (_, DataType::Timestamp(unit, zone)) => {
            let micros = match source {
                DataType::Timestamp(from, own) if own.is_some() == zone.is_some() => {
                    Some(scaled(instants(column, *from), *from, *unit))
                }
                DataType::Date32 if *unit == TimeUnit::Microsecond && zone.is_none() => Some(
                    column
                        .as_primitive::<Date32Type>()
                        .unary_opt(|day| i64::from(day).checked_mul(MICROS_A_DAY)),
                ),
                DataType::Date64 if *unit == TimeUnit::Microsecond && zone.is_none() => Some(
                    column
                        .as_primitive::<Date64Type>()
                        .unary_opt(|milli| milli.checked_mul(1_000)),
                ),
                _ => None,
            };
            micros.map(|micros| times(&micros, *unit, zone.clone()))
        }
        _ => None,
    };
    cast.ok_or_else(|| ArrowError::CastError(format!("{source} can't become {target}")))
}

/// The same values with all zones inside of it at offset 0, also in lists, structs and maps:
/// Arrow's writers know the names of no zones, not even "UTC".
pub fn at_offset_zero(column: &ArrayRef) -> ArrayRef {
    let target = zones_at_zero(column.data_type());
    if target == *column.data_type() {
        return Arc::clone(column);
    }
    make_array(retyped(column.to_data(), &target))
}

/// The type that [`at_offset_zero`] gives.
pub fn zones_at_zero(of: &DataType) -> DataType {
    let field = |field: &Arc<Field>| {
        let of = zones_at_zero(field.data_type());
        Arc::new(Field::clone(field).with_data_type(of))
    };
    match of {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        DataType::List(item) => DataType::List(field(item)),
        DataType::LargeList(item) => DataType::LargeList(field(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(field(item), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(field).collect()),
        DataType::Map(entries, sorted) => DataType::Map(field(entries), *sorted),
        DataType::Dictionary(key, value) => {
            DataType::Dictionary(key.clone(), Box::new(zones_at_zero(value)))
        }
        other => other.clone(),
    }
}

fn retyped(data: ArrayData, target: &DataType) -> ArrayData {
    let types: Vec<&DataType> = match target {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            vec![item.data_type()]
        }
        DataType::Map(entries, _) => vec![entries.data_type()],
        DataType::Struct(fields) => fields.iter().map(|field| field.data_type()).collect(),
        DataType::Dictionary(_, value) => vec![value],
        _ => Vec::new(),
    };
    let children = data.child_data().iter().cloned().zip(types);
    let children: Vec<ArrayData> = children.map(|(child, of)| retyped(child, of)).collect();
    let same = data.clone();
    let builder = data.into_builder().data_type(target.clone());
    // Only names of zones differ, so that the values fit as they did before.
    builder.child_data(children).build().unwrap_or(same)
}

/// The same, but an error where a value would become null or another one.
pub fn exact(column: &ArrayRef, target: &DataType) -> Result<ArrayRef, ArrowError> {
    let cast = cast(column, target)?;
    check(column, &cast)?;
    if *target != DataType::Float64 {
        return Ok(cast);
    }
    let doubles = cast.as_primitive::<Float64Type>();
    let lost = match column.data_type() {
        DataType::Int64 => changed(column.as_primitive::<Int64Type>(), doubles),
        DataType::UInt64 => changed(column.as_primitive::<UInt64Type>(), doubles),
        decimal if decimal.is_decimal() => {
            let texts = self::cast(column, &DataType::Utf8)?;
            let mut pairs = texts.as_string::<i32>().iter().zip(doubles);
            pairs.position(|(text, double)| {
                let (text, double) = (text.unwrap_or_default(), double.unwrap_or_default());
                // Fewer digits than a double always gives back.
                text.len() > 15 && !double_holds(text, double)
            })
        }
        _ => None,
    };
    lost.map_or(Ok(cast.clone()), |row| Err(no_place(column, row, target)))
}

/// The first whole number that is another one as a double.
fn changed<T: ArrowPrimitiveType<Native: Into<i128>>>(
    whole: &PrimitiveArray<T>,
    doubles: &Float64Array,
) -> Option<usize> {
    let mut pairs = whole.iter().zip(doubles);
    pairs.position(|pair| matches!(pair, (Some(a), Some(b)) if b as i128 != a.into()))
}

/// An error when a value became null.
pub fn check(column: &ArrayRef, cast: &ArrayRef) -> Result<(), ArrowError> {
    if cast.null_count() <= column.logical_null_count() {
        return Ok(());
    }
    let nulls = column.logical_nulls();
    let was = |row: &usize| nulls.as_ref().is_none_or(|nulls| nulls.is_valid(*row));
    let lost = (0..column.len()).find(|row| cast.is_null(*row) && was(row));
    Err(no_place(column, lost.unwrap_or_default(), cast.data_type()))
}

fn no_place(column: &ArrayRef, row: usize, target: &DataType) -> ArrowError {
    let options = FormatOptions::default();
    let value = ArrayFormatter::try_new(column, &options)
        .and_then(|values| values.value(row).try_to_string())
        .unwrap_or_else(|_| format!("a value of {}", column.data_type()));
    ArrowError::CastError(format!("{value} has no exact place in {target}"))
}

/// Text as it is; anything else as it is displayed.
fn text(column: &dyn Array) -> Result<Option<ArrayRef>, ArrowError> {
    let texts: StringArray = match column.data_type() {
        DataType::LargeUtf8 => column.as_string::<i64>().iter().collect(),
        DataType::Utf8View => column.as_string_view().iter().collect(),
        bytes if bytes.is_nested() || is_bytes(bytes) => return Ok(None),
        _ => {
            let options = FormatOptions::default();
            let formatter = ArrayFormatter::try_new(column, &options)?;
            let text = |row| {
                column
                    .is_valid(row)
                    .then(|| formatter.value(row).try_to_string())
                    .transpose()
            };
            (0..column.len()).map(text).collect::<Result<_, _>>()?
        }
    };
    Ok(Some(Arc::new(texts)))
}

fn is_bytes(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_)
    )
}

fn doubles(column: &dyn Array) -> Result<Option<ArrayRef>, ArrowError> {
    /// The numbers of a column as doubles, by a function of each.
    fn of<T: ArrowPrimitiveType>(
        column: &dyn Array,
        double: impl Fn(T::Native) -> f64,
    ) -> Float64Array {
        column.as_primitive::<T>().unary(double)
    }
    Ok(Some(Arc::new(match column.data_type() {
        DataType::Int8 => of::<Int8Type>(column, f64::from),
        DataType::Int16 => of::<Int16Type>(column, f64::from),
        DataType::Int32 => of::<Int32Type>(column, f64::from),
        DataType::Int64 => of::<Int64Type>(column, |number| number as f64),
        DataType::UInt8 => of::<UInt8Type>(column, f64::from),
        DataType::UInt16 => of::<UInt16Type>(column, f64::from),
        DataType::UInt32 => of::<UInt32Type>(column, f64::from),
        DataType::UInt64 => of::<UInt64Type>(column, |number| number as f64),
        DataType::Float16 => of::<Float16Type>(column, f64::from),
        DataType::Float32 => of::<Float32Type>(column, f64::from),
        DataType::Boolean => column
            .as_boolean()
            .iter()
            .map(|truth| truth.map(|truth| f64::from(u8::from(truth))))
            .collect(),
        number if number.is_decimal() => return parsed(column),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => return parsed(column),
        _ => return Ok(None),
    })))
}

/// The doubles that the texts of a column are.
fn parsed(column: &dyn Array) -> Result<Option<ArrayRef>, ArrowError> {
    let texts = cast(column, &DataType::Utf8)?;
    let parse = |text: Option<&str>| text.and_then(|text| text.trim().parse::<f64>().ok());
    let doubles: Float64Array = texts.as_string::<i32>().iter().map(parse).collect();
    Ok(Some(Arc::new(doubles)))
}

fn whole(column: &dyn Array) -> Option<ArrayRef> {
    fn of<T: ArrowPrimitiveType<Native: Into<i64>>>(column: &dyn Array) -> Int64Array {
        column.as_primitive::<T>().unary(Into::into)
    }
    Some(Arc::new(match column.data_type() {
        DataType::Int8 => of::<Int8Type>(column),
        DataType::Int16 => of::<Int16Type>(column),
        DataType::Int32 => of::<Int32Type>(column),
        DataType::Int64 => of::<Int64Type>(column),
        DataType::UInt8 => of::<UInt8Type>(column),
        DataType::UInt16 => of::<UInt16Type>(column),
        DataType::UInt32 => of::<UInt32Type>(column),
        DataType::UInt64 => column
            .as_primitive::<UInt64Type>()
            .unary_opt(|number| number.try_into().ok()),
        DataType::Boolean => column
            .as_boolean()
            .iter()
            .map(|truth| truth.map(i64::from))
            .collect(),
        _ => return None,
    }))
}

/// The times of a column in its own unit.
pub fn instants(column: &dyn Array, unit: TimeUnit) -> Int64Array {
    match unit {
        TimeUnit::Second => column
            .as_primitive::<TimestampSecondType>()
            .reinterpret_cast(),
        TimeUnit::Millisecond => column
            .as_primitive::<TimestampMillisecondType>()
            .reinterpret_cast(),
        TimeUnit::Microsecond => column
            .as_primitive::<TimestampMicrosecondType>()
            .reinterpret_cast(),
        TimeUnit::Nanosecond => column
            .as_primitive::<TimestampNanosecondType>()
            .reinterpret_cast(),
    }
}

/// Times in another unit: cut off, or multiplied.
fn scaled(times: Int64Array, from: TimeUnit, to: TimeUnit) -> Int64Array {
    let a_second = |unit| match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000_i64,
    };
    let (from, to) = (a_second(from), a_second(to));
    match from.cmp(&to) {
        std::cmp::Ordering::Equal => times,
        std::cmp::Ordering::Greater => times.unary(|time| time / (from / to)),
        std::cmp::Ordering::Less => times.unary_opt(|time| time.checked_mul(to / from)),
    }
}

fn times(times: &Int64Array, unit: TimeUnit, zone: Option<Arc<str>>) -> ArrayRef {
    fn of<T: ArrowPrimitiveType<Native = i64>>(times: &Int64Array) -> PrimitiveArray<T> {
        times.reinterpret_cast()
    }
    match unit {
        TimeUnit::Second => {
            let times: TimestampSecondArray = of(times);
            Arc::new(times.with_timezone_opt(zone))
        }
        TimeUnit::Millisecond => {
            let times: TimestampMillisecondArray = of(times);
            Arc::new(times.with_timezone_opt(zone))
        }
        TimeUnit::Microsecond => {
            let times: TimestampMicrosecondArray = of(times);
            Arc::new(times.with_timezone_opt(zone))
        }
        TimeUnit::Nanosecond => {
            let times: TimestampNanosecondArray = of(times);
            Arc::new(times.with_timezone_opt(zone))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small, large, negative and absent numbers.
    fn numbers() -> ArrayRef {
        Arc::new(Int64Array::from(vec![
            Some(0),
            Some(1),
            Some(-7),
            Some(120),
            Some(i64::MAX / 3),
            None,
        ]))
    }

    /// Columns of every type that a Parquet file may bring along, with nulls.
    fn columns() -> Vec<ArrayRef> {
        use DataType as T;
        let make = |column: &ArrayRef, target: &T| arrow::compute::cast(column, target).unwrap();
        let small: ArrayRef = Arc::new(Int64Array::from(vec![
            Some(0),
            Some(1),
            Some(7),
            Some(120),
            None,
        ]));
        let of_small = [
            T::Int8,
            T::Int16,
            T::Int32,
            T::UInt8,
            T::UInt16,
            T::UInt32,
            T::UInt64,
            T::Float16,
            T::Float32,
            T::Float64,
            T::Boolean,
            T::Utf8,
            T::LargeUtf8,
            T::Utf8View,
            T::Date32,
            T::Date64,
            T::Decimal128(12, 3),
            T::Decimal256(40, 2),
        ];
        let mut all: Vec<ArrayRef> = of_small.iter().map(|target| make(&small, target)).collect();
        for unit in [
            TimeUnit::Second,
            TimeUnit::Millisecond,
            TimeUnit::Microsecond,
            TimeUnit::Nanosecond,
        ] {
            for zone in [None, Some("UTC".into()), Some("+02:00".into())] {
                all.push(times(numbers().as_primitive(), unit, zone));
            }
        }
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            Some("a"),
            Some("1.5"),
            Some("-0"),
            Some("NaN"),
            Some("1e400"),
            Some(" 2"),
            Some(""),
            None,
        ]));
        for values in [T::Utf8, T::LargeUtf8] {
            all.push(make(
                &texts,
                &T::Dictionary(Box::new(T::Int8), Box::new(values)),
            ));
        }
        all.push(make(
            &small,
            &T::Dictionary(Box::new(T::UInt16), Box::new(T::Int32)),
        ));
        all.extend([numbers(), texts, new_null_array(&T::Null, 3)]);
        all.push(Arc::new(Float64Array::from(vec![
            Some(0.1),
            Some(f64::NAN),
            Some(-0.0),
            Some(1e300),
            None,
        ])));
        all.push(Arc::new(arrow::array::UInt64Array::from(vec![u64::MAX, 3])));
        let bytes: Vec<Option<&[u8]>> = vec![Some(b"a\xff"), None, Some(b"")];
        all.push(Arc::new(
            bytes
                .iter()
                .copied()
                .collect::<arrow::array::LargeBinaryArray>(),
        ));
        all.push(Arc::new(
            bytes.into_iter().collect::<arrow::array::BinaryViewArray>(),
        ));
        all
    }

    #[test]
    fn gives_what_arrow_gives() {
        use DataType as T;
        let time = |unit, zone: Option<&str>| T::Timestamp(unit, zone.map(Into::into));
        let targets = [
            T::Utf8,
            T::Float64,
            T::Int64,
            T::Binary,
            T::Dictionary(Box::new(T::Int32), Box::new(T::Utf8)),
            time(TimeUnit::Microsecond, None),
            time(TimeUnit::Microsecond, Some("UTC")),
            time(TimeUnit::Nanosecond, Some("+00:00")),
            time(TimeUnit::Millisecond, None),
        ];
        let mut compared = 0;
        for column in columns() {
            for target in &targets {
                let Ok(ours) = cast(&column, target) else {
                    continue;
                };
                let arrows = arrow::compute::cast(&column, target).unwrap();
                assert_eq!(&ours, &arrows, "{} as {target}", column.data_type());
                compared += 1;
            }
        }
        assert!(compared > 90, "{compared}");
    }

    #[test]
    fn what_is_not_meant_is_refused() {
        let column: ArrayRef = Arc::new(arrow::array::BooleanArray::from(vec![true]));
        let error = cast(&column, &DataType::Date32).unwrap_err().to_string();
        assert!(error.contains("Boolean can't become Date32"), "{error}");
    }
}
