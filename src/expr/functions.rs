//! The functions, by name.

use arrow::array::{Float64Array, Int64Array, StringArray};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::data::{Data, Values};
use super::{Error, Type};
use crate::text::suggest::did_you_mean;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Abs,
    Bucket,
    Coalesce,
    Date,
    Hour,
    Length,
    Lower,
    Round,
    Upper,
}

/// Their names and how they are called.
const ALL: [(&str, &str, Function); 9] = [
    ("abs", "abs(number)", Function::Abs),
    (
        "bucket",
        "bucket(number, width) or bucket(time, 15m)",
        Function::Bucket,
    ),
    (
        "coalesce",
        "coalesce(column, column or value)",
        Function::Coalesce,
    ),
    ("date", "date(time)", Function::Date),
    ("hour", "hour(time)", Function::Hour),
    ("length", "length(text)", Function::Length),
    ("lower", "lower(text)", Function::Lower),
    (
        "round",
        "round(number) or round(number, digits)",
        Function::Round,
    ),
    ("upper", "upper(text)", Function::Upper),
];

const MICROS: f64 = 1_000_000.0;

impl Function {
    /// The function with that name for such arguments, and what it gives.
    pub(super) fn named(name: &str, arguments: &[Type]) -> Result<(Self, Type), Error> {
        let Some((_, usage, function)) = ALL.iter().find(|(own, ..)| *own == name) else {
            let names = || ALL.iter().map(|(name, ..)| *name).chain(["now"]);
            let meant = did_you_mean(name, names());
            let all = names().collect::<Vec<_>>().join(", ");
            return Err(Error::new(format!(
                "no function '{name}'{meant}: there are {all}"
            )));
        };
        let of = match (function, arguments) {
            (Self::Abs | Self::Round, [own @ (Type::Int | Type::Float)]) => *own,
            (Self::Round, [Type::Float, Type::Int]) => Type::Float,
            (Self::Bucket, [Type::Int, Type::Int])
            | (Self::Hour, [Type::Time])
            | (Self::Length, [Type::Text]) => Type::Int,
            (Self::Bucket, [Type::Time, width]) if width.is_number() => Type::Time,
            (Self::Bucket, [value, width]) if value.is_number() && width.is_number() => Type::Float,
            (Self::Coalesce, [first, rest @ ..]) if !rest.is_empty() => {
                let number = |of: &Type| matches!(of, Type::Int | Type::Float);
                if rest.iter().all(|of| of == first) {
                    *first
                } else if arguments.iter().all(number) {
                    Type::Float
                } else {
                    return Err(Error::new("the arguments of coalesce differ in type"));
                }
            }
            (Self::Date, [Type::Time]) | (Self::Lower | Self::Upper, [Type::Text]) => Type::Text,
            _ => return Err(Error::new(format!("{name} is called as {usage}"))),
        };
        Ok((*function, of))
    }

    pub(super) fn call(
        self,
        of: Type,
        arguments: &[Data],
        rows: usize,
        zone: &TimeZone,
    ) -> Result<Data, Error> {
        let nothing = Data::constant(Values::Int(Int64Array::from(vec![None])));
        let first = arguments.first().unwrap_or(&nothing);
        let second = arguments.get(1).unwrap_or(&nothing);
        let texts = |change: fn(&str) -> String| {
            let texts = first.map_text(rows, |text| Some(change(text)));
            Values::Text(texts.into_iter().collect::<StringArray>())
        };
        let local = |row| {
            let time = Timestamp::from_microsecond(first.time(row)?).ok()?;
            Some(zone.to_datetime(time))
        };
        Ok(Data::rows(match self {
            Self::Abs if of == Type::Int => {
                return Data::integers(rows, |row| Ok(first.integer(row).map(i128::abs)));
            }
            Self::Abs => Values::Float(floats(rows, |row| Some(first.float(row)?.abs()))),
            Self::Round if of == Type::Int => {
                return Data::integers(rows, |row| Ok(first.integer(row)));
            }
            Self::Round => {
                let digits = |row| second.int(row).unwrap_or(0).clamp(-15, 15) as i32;
                Values::Float(floats(rows, |row| {
                    Some(rounded(first.float(row)?, digits(row)))
                }))
            }
            Self::Bucket => match of {
                Type::Time => Values::Time(ints(rows, |row| {
                    time_bucket(first.time(row)?, second.float(row)?, zone)
                })),
                Type::Int => {
                    let lower = |row| {
                        let (value, width) = (first.integer(row)?, second.integer(row)?);
                        (width > 0).then(|| value - value.rem_euclid(width))
                    };
                    return Data::integers(rows, |row| Ok(lower(row)));
                }
                _ => Values::Float(floats(rows, |row| {
                    bucket(first.float(row)?, second.float(row)?)
                })),
            },
            Self::Coalesce => {
                let at = |row| arguments.iter().find(|data| !data.is_null(row));
                match of {
                    Type::Int => {
                        return Data::integers(rows, |row| {
                            Ok(at(row).and_then(|data| data.integer(row)))
                        });
                    }
                    Type::Float => Values::Float(floats(rows, |row| at(row)?.float(row))),
                    Type::Time => Values::Time(ints(rows, |row| at(row)?.time(row))),
                    Type::Bool => Values::Bool((0..rows).map(|row| at(row)?.bool(row)).collect()),
                    _ => Values::Text((0..rows).map(|row| at(row)?.text(row)).collect()),
                }
            }
            Self::Date => {
                let date = |row| Some(local(row)?.date().to_string());
                Values::Text((0..rows).map(date).collect::<StringArray>())
            }
            Self::Hour => Values::Int(ints(rows, |row| Some(i64::from(local(row)?.hour())))),
            Self::Length => {
                let lengths = first.map_text(rows, |text| Some(text.chars().count() as i64));
                Values::Int(Int64Array::from(lengths))
            }
            Self::Lower => texts(str::to_lowercase),
            Self::Upper => texts(str::to_uppercase),
        }))
    }
}

fn ints(rows: usize, value: impl Fn(usize) -> Option<i64>) -> Int64Array {
    (0..rows).map(value).collect()
}

fn floats(rows: usize, value: impl Fn(usize) -> Option<f64>) -> Float64Array {
    (0..rows).map(value).collect()
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits.abs());
    if digits < 0 {
        (value / scale).round() * scale
    } else {
        (value * scale).round() / scale
    }
}

/// The lower end of the bucket. A value on a border, up to rounding, begins its bucket, and
/// ends read as they are typed: 0.3 and not 0.30000000000000004.
fn bucket(value: f64, width: f64) -> Option<f64> {
    if !(width > 0.0 && width.is_finite() && value.is_finite()) {
        return None;
    }
    let at = value / width;
    let near = at.round();
    let number = if (at - near).abs() <= 1e-9 * at.abs().max(1.0) {
        near
    } else {
        at.floor()
    };
    let parts = (1.0 / width).round();
    let divides = width < 1.0 && (parts * width - 1.0).abs() < 1e-12;
    Some(if divides {
        number / parts
    } else {
        number * width
    })
}

/// Buckets of a day and more begin at the zone's midnight.
fn time_bucket(micros: i64, seconds: f64, zone: &TimeZone) -> Option<i64> {
    let width = (seconds * MICROS).round() as i64;
    if width <= 0 {
        return None;
    }
    let time = Timestamp::from_microsecond(micros).ok()?;
    let offset = i64::from(zone.to_offset(time).seconds()) * 1_000_000;
    let wall = micros.checked_add(offset)?;
    Some(wall - wall.rem_euclid(width) - offset)
}
