//! What a column holds in all files so far, and the narrowest type that holds each of these
//! values exactly. The union does not depend on the order of files.

use std::sync::Arc;

use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Field, TimeUnit,
};

use super::range::Range;

/// Digits of the largest value of a 64-bit column, and of one within ±2^53.
const LONG_DIGITS: i16 = 20;
const SHORT_DIGITS: i16 = 16;

/// What a column holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Held {
    Numbers(Numbers),
    Times(Times),
    /// One type, which only null widens to.
    Other(DataType),
}

/// Numbers of several types.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Numbers {
    whole: bool,
    range: Range,
    double: bool,
    decimal: Option<Decimal>,
}

/// Digits before and after the point; `long` when some value has more than 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decimal {
    before: i16,
    after: i16,
    long: bool,
}

/// Times of several units; `far` when some of them can't be counted in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Times {
    coarsest: TimeUnit,
    finest: TimeUnit,
    zone: Option<Arc<str>>,
    far: bool,
}

impl Held {
    /// What the column of a file holds.
    pub(crate) fn of(field: &Field) -> Self {
        let range = Range::known(field);
        let data_type = normal(field.data_type());
        match data_type {
            DataType::Int64 => Self::Numbers(Numbers {
                whole: true,
                range,
                ..Numbers::default()
            }),
            DataType::UInt64 => Self::Numbers(Numbers {
                whole: true,
                // Without a footer that says otherwise, the largest are in it.
                range: Range {
                    huge: range.huge || !range.fits,
                    wide: range.wide || !range.fits,
                    fits: false,
                    ..range
                },
                ..Numbers::default()
            }),
            DataType::Float64 => Self::Numbers(Numbers {
                double: true,
                ..Numbers::default()
            }),
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                let (precision, scale) = (i16::from(precision), i16::from(scale));
                Self::Numbers(Numbers {
                    decimal: Some(Decimal {
                        before: (precision - scale).max(0),
                        after: scale.max(0),
                        long: range.wide,
                    }),
                    ..Numbers::default()
                })
            }
            DataType::Timestamp(unit, zone) => Self::Times(Times {
                coarsest: unit,
                finest: unit,
                zone,
                far: range.wide,
            }),
            other => Self::Other(other),
        }
    }

    /// A column of one type, about whose values nothing is known.
    pub(crate) fn plain(data_type: DataType) -> Self {
        Self::of(&Field::new("", data_type, true))
    }

    /// What both hold; `None` when no type holds every value.
    pub(crate) fn and(&self, other: &Self) -> Option<Self> {
        let both = match (self, other) {
            _ if self == other => self.clone(),
            (Self::Other(DataType::Null), held) | (held, Self::Other(DataType::Null)) => {
                held.clone()
            }
            (Self::Numbers(one), Self::Numbers(two)) => Self::Numbers(one.and(*two)),
            (Self::Times(one), Self::Times(two)) if one.zone == two.zone => Self::Times(Times {
                coarsest: one.coarsest.min(two.coarsest),
                finest: one.finest.max(two.finest),
                zone: one.zone.clone(),
                far: one.far || two.far,
            }),
            _ => return None,
        };
        both.data_type().is_some().then_some(both)
    }

    /// The type that holds every value.
    pub(crate) fn data_type(&self) -> Option<DataType> {
        match self {
            Self::Numbers(numbers) => numbers.data_type(),
            Self::Times(times) => (!times.far || times.coarsest == times.finest)
                .then(|| DataType::Timestamp(times.finest, times.zone.clone())),
            Self::Other(data_type) => Some(data_type.clone()),
        }
    }

    /// What is known of the values.
    pub(crate) fn range(&self) -> Range {
        match self {
            Self::Numbers(numbers) => Range {
                wide: numbers.range.wide || numbers.decimal.is_some_and(|decimal| decimal.long),
                fits: !numbers.range.huge,
                ..numbers.range
            },
            Self::Times(times) => Range {
                wide: times.far,
                ..Range::default()
            },
            Self::Other(_) => Range::default(),
        }
    }

    /// Whether there is nothing but nulls.
    pub(crate) fn is_null(&self) -> bool {
        *self == Self::Other(DataType::Null)
    }

    /// The same numbers, if doubles are to hold them all.
    pub(crate) fn as_doubles(&self) -> Option<Self> {
        self.and(&Self::plain(DataType::Float64))
            .map(|_| Self::plain(DataType::Float64))
    }

    /// The type for people, and what keeps it from widening.
    pub(crate) fn describe(&self) -> String {
        let data_type = self.data_type().unwrap_or(DataType::Null);
        let name = describe(&data_type);
        match self {
            Self::Numbers(numbers) if numbers.whole && numbers.range.wide => {
                format!("{name} with numbers beyond 2^53")
            }
            Self::Numbers(Numbers {
                decimal: Some(Decimal { long: true, .. }),
                ..
            }) => format!("{name} with more than 15 digits"),
            Self::Times(times) if times.far => {
                format!("{name} with times that nanoseconds can't count")
            }
            _ => name,
        }
    }
}

impl Numbers {
    fn and(self, other: Self) -> Self {
        let decimal = match (self.decimal, other.decimal) {
            (Some(one), Some(two)) => Some(Decimal {
                before: one.before.max(two.before),
                after: one.after.max(two.after),
                long: one.long || two.long,
            }),
            (one, two) => one.or(two),
        };
        Self {
            whole: self.whole || other.whole,
            range: self.range.and(other.range),
            double: self.double || other.double,
            decimal,
        }
    }

    fn data_type(self) -> Option<DataType> {
        let Self {
            whole,
            range,
            double,
            decimal,
        } = self;
        if double {
            let rounds = whole && range.wide || decimal.is_some_and(|decimal| decimal.long);
            return (!rounds).then_some(DataType::Float64);
        }
        match decimal {
            Some(decimal) => {
                let digits = match (whole, range.wide) {
                    (false, _) => 0,
                    (true, false) => SHORT_DIGITS,
                    (true, true) => LONG_DIGITS,
                };
                decimal_type(decimal.before.max(digits), decimal.after)
            }
            None if range.huge && range.negative => decimal_type(LONG_DIGITS, 0),
            None if range.huge => Some(DataType::UInt64),
            None => Some(DataType::Int64),
        }
    }
}

fn decimal_type(before: i16, after: i16) -> Option<DataType> {
    let (precision, scale) = (
        u8::try_from((before + after).max(1)).ok()?,
        i8::try_from(after).ok()?,
    );
    if precision <= DECIMAL128_MAX_PRECISION {
        Some(DataType::Decimal128(precision, scale))
    } else if precision <= DECIMAL256_MAX_PRECISION {
        Some(DataType::Decimal256(precision, scale))
    } else {
        None
    }
}

/// A type without what only concerns its storage.
pub(crate) fn normal(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => normal(value),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::UInt64 => DataType::UInt64,
        integer if integer.is_integer() => DataType::Int64,
        float if float.is_floating() => DataType::Float64,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
        other => other.clone(),
    }
}

/// A type's name for people.
pub(crate) fn describe(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Null => "null".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Timestamp(_, Some(_)) => "timestamp".into(),
        DataType::Timestamp(_, None) => "timestamp without a zone".into(),
        DataType::Dictionary(_, value) => describe(value),
        other => other.to_string().to_lowercase(),
    }
}
