//! Whole numbers and decimals as decimals of another precision.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Decimal256Array};
use arrow::datatypes::{
    DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type, Int64Type, UInt64Type,
    i256,
};
use arrow::error::ArrowError;

/// The column as decimals; `None` where it holds anything but whole numbers and decimals. A
/// value with more digits than the other type has becomes null.
pub(crate) fn decimals(
    column: &dyn Array,
    target: &DataType,
) -> Result<Option<ArrayRef>, ArrowError> {
    let (DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale)) = target
    else {
        return Ok(None);
    };
    let (values, own): (Vec<Option<i256>>, i8) = match column.data_type() {
        DataType::UInt64 => {
            let values = column.as_primitive::<UInt64Type>().iter();
            (
                values
                    .map(|v| v.map(|v| i256::from_i128(v.into())))
                    .collect(),
                0,
            )
        }
        DataType::Decimal32(_, scale) => {
            let values = column.as_primitive::<Decimal32Type>().iter();
            (
                values
                    .map(|v| v.map(|v| i256::from_i128(v.into())))
                    .collect(),
                *scale,
            )
        }
        DataType::Decimal64(_, scale) => {
            let values = column.as_primitive::<Decimal64Type>().iter();
            (
                values
                    .map(|v| v.map(|v| i256::from_i128(v.into())))
                    .collect(),
                *scale,
            )
        }
        DataType::Decimal128(_, scale) => {
            let values = column.as_primitive::<Decimal128Type>().iter();
            (values.map(|v| v.map(i256::from_i128)).collect(), *scale)
        }
        DataType::Decimal256(_, scale) => (
            column.as_primitive::<Decimal256Type>().iter().collect(),
            *scale,
        ),
        integer if integer.is_integer() => {
            let Some(values) = super::whole(column) else {
                return Ok(None);
            };
            let values = values.as_primitive::<Int64Type>().iter();
            (
                values
                    .map(|v| v.map(|v| i256::from_i128(v.into())))
                    .collect(),
                0,
            )
        }
        _ => return Ok(None),
    };
    let limit = power(i16::from(*precision));
    let scaled = |value: Option<i256>| {
        let value = rescaled(value?, i16::from(*scale) - i16::from(own))?;
        let fits = limit.is_none_or(|limit| value < limit && value > limit.wrapping_neg());
        fits.then_some(value)
    };
    let values = values.into_iter().map(scaled);
    Ok(Some(if matches!(target, DataType::Decimal128(..)) {
        let values: Decimal128Array = values.map(|value| value?.to_i128()).collect();
        Arc::new(values.with_precision_and_scale(*precision, *scale)?) as ArrayRef
    } else {
        let values: Decimal256Array = values.collect();
        Arc::new(values.with_precision_and_scale(*precision, *scale)?)
    }))
}

/// A value times a power of ten; `None` when digits would be lost.
fn rescaled(value: i256, places: i16) -> Option<i256> {
    if value == i256::ZERO {
        return Some(value);
    }
    let factor = power(places.abs())?;
    if places >= 0 {
        value.checked_mul(factor)
    } else {
        let exact = value.checked_rem(factor)? == i256::ZERO;
        exact.then(|| value.checked_div(factor)).flatten()
    }
}

/// A power of ten; `None` beyond what memory holds.
fn power(places: i16) -> Option<i256> {
    let ten = i256::from_i128(10);
    (0..places).try_fold(i256::ONE, |power, _| power.checked_mul(ten))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, UInt64Array};

    use super::*;
    use crate::store::format::cast::cast;

    #[test]
    fn whole_numbers_and_decimals_keep_every_digit() {
        let whole: ArrayRef = Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]));
        let negative: ArrayRef = Arc::new(Int64Array::from(vec![i64::MIN, -1]));
        let texts = |column: &ArrayRef, target: DataType| {
            let texts = cast(&cast(column, &target).unwrap(), &DataType::Utf8).unwrap();
            let texts = texts.as_string::<i32>().iter();
            texts
                .map(|text| text.map(str::to_owned))
                .collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            texts(&whole, DataType::Decimal128(20, 0)),
            [some("18446744073709551615"), None, some("0")]
        );
        assert_eq!(
            texts(&negative, DataType::Decimal256(60, 20)),
            [
                some("-9223372036854775808.00000000000000000000"),
                some("-1.00000000000000000000")
            ]
        );
        // Too many digits for the place.
        assert_eq!(
            texts(&negative, DataType::Decimal128(3, 0)),
            [None, some("-1")]
        );
        let cents = cast(&negative, &DataType::Decimal128(38, 2)).unwrap();
        assert_eq!(
            texts(&cents, DataType::Decimal128(19, 0)),
            [some("-9223372036854775808"), some("-1")]
        );
    }
}
