//! The row hash: what a row says, whatever its file stores it as.
//!
//! It is the wrapping sum of xxh3-128 over the row's values, each seeded with the xxh3-64 of its
//! column's name, so neither the order of columns nor absent ones matter. Each value is a tag
//! and its canonical bytes (`docs/row-hash.md`, with test vectors). Pandas rewrites
//! files with other widths, categories, zones and spellings of null: none of these changes it.

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, GenericListArray, MapArray, OffsetSizeTrait,
    RecordBatch, StructArray,
};
use arrow::datatypes::{
    DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use crate::store::error::{Error, Result};
use crate::store::format::cast::cast;
use crate::store::format::schema::{TIMESTAMP_TEXT, is_index, parse_time};

/// Columns that say nothing of what a row is: its id, when it was accepted, and what legacy
/// files write on every row of their running totals.
const EXCLUDED: [&str; 29] = [
    "test_id",
    "recorded_at",
    "total",
    "successful",
    "full_success",
    "partial",
    "failed",
    "success_rate",
    "full_success_rate",
    "partial_success_rate",
    "partial_rate",
    "failure_rate",
    "weighted_success_score",
    "last_updated",
    "avg_execution_time",
    "avg_turns",
    "avg_tool_calls",
    "avg_quality_score",
    "tool_call_format_errors",
    "timeout_errors",
    "dependency_errors",
    "parameter_config_errors",
    "tool_selection_errors",
    "sequence_order_errors",
    "max_turns_errors",
    "other_errors",
    "infrastructure_errors",
    "total_errors",
    "summary_source",
];

/// What a row says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RowHash {
    /// The sum over its values.
    pub hash: u128,
    /// How many values it has that are not null.
    pub values: u32,
}

/// The hash of every row of a batch; naive times are in `zone`.
///
/// # Errors
/// A column of a type that can't be displayed.
pub fn row_hashes(batch: &RecordBatch, zone: &TimeZone) -> Result<Vec<RowHash>> {
    let mut rows = vec![RowHash::default(); batch.num_rows()];
    let schema = batch.schema();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        let name = field.name().as_str();
        if is_index(name) || EXCLUDED.contains(&name) {
            continue;
        }
        // A timestamp that can't be parsed is its text.
        let seed = match name {
            TIMESTAMP_TEXT => xxh3_64(b"timestamp"),
            name => xxh3_64(name.as_bytes()),
        };
        add_column(&mut rows, column, seed, zone)
            .map_err(|e| Error::Refused(format!("column '{name}' can't be hashed: {e}")))?;
    }
    Ok(rows)
}

fn add_column(
    rows: &mut [RowHash],
    column: &ArrayRef,
    seed: u64,
    zone: &TimeZone,
) -> Result<(), ArrowError> {
    if *column.data_type() == DataType::Null {
        return Ok(());
    }
    let mut bytes = Vec::new();
    if let Some(keyed) = column.as_any_dictionary_opt() {
        // Each of its values is hashed once.
        let values = Values::of(keyed.values(), zone)?;
        let mut hashes = Vec::with_capacity(keyed.values().len());
        for at in 0..keyed.values().len() {
            bytes.clear();
            let has = values.write(at, &mut bytes)?;
            hashes.push(has.then(|| xxh3_128_with_seed(&bytes, seed)));
        }
        let keys = keyed.normalized_keys();
        for (at, (row, key)) in rows.iter_mut().zip(keys).enumerate() {
            let hash = hashes.get(key).copied().flatten();
            if let Some(hash) = hash.filter(|_| column.is_valid(at)) {
                row.add(hash);
            }
        }
        return Ok(());
    }
    let values = Values::of(column, zone)?;
    for (at, row) in rows.iter_mut().enumerate() {
        bytes.clear();
        if values.write(at, &mut bytes)? {
            row.add(xxh3_128_with_seed(&bytes, seed));
        }
    }
    Ok(())
}

impl RowHash {
    fn add(&mut self, hash: u128) {
        self.hash = self.hash.wrapping_add(hash);
        self.values += 1;
    }
}

/// A column whose values can be written canonically.
enum Values<'a> {
    Doubles(ArrayRef),
    Whole(ArrayRef),
    Unsigned(ArrayRef),
    Truths(&'a dyn Array),
    Texts(ArrayRef, &'a TimeZone),
    /// Numbers of other kinds, as they are displayed.
    Digits(ArrayFormatter<'a>, &'a dyn Array),
    /// Instants in µs.
    Instants(Vec<Option<i64>>),
    Bytes(BinaryArray),
    List(Vec<Option<ArrayRef>>, &'a TimeZone),
    Struct(&'a StructArray, Vec<(String, ArrayRef)>, &'a TimeZone),
    Map(&'a MapArray, &'a TimeZone),
    Shown(ArrayFormatter<'a>, &'a dyn Array, &'a TimeZone),
}

impl<'a> Values<'a> {
    fn of(column: &'a ArrayRef, zone: &'a TimeZone) -> Result<Self, ArrowError> {
        let shown = || ArrayFormatter::try_new(column, &SHOWN);
        Ok(match column.data_type() {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                Self::Texts(cast(column, &DataType::Utf8)?, zone)
            }
            DataType::Boolean => Self::Truths(column),
            DataType::UInt64 => Self::Unsigned(column.clone()),
            number if number.is_integer() => Self::Whole(cast(column, &DataType::Int64)?),
            number if number.is_floating() => Self::Doubles(cast(column, &DataType::Float64)?),
            number if number.is_decimal() => Self::Digits(shown()?, column),
            DataType::Timestamp(unit, of) => Self::Instants(instants(
                column,
                *unit,
                of.as_ref().map_or(Some(zone), |_| None),
            )),
            DataType::Binary => Self::Bytes(column.as_binary::<i32>().clone()),
            DataType::LargeBinary => {
                Self::Bytes(column.as_binary::<i64>().iter().collect::<BinaryArray>())
            }
            DataType::BinaryView => {
                Self::Bytes(column.as_binary_view().iter().collect::<BinaryArray>())
            }
            DataType::FixedSizeBinary(_) => Self::Bytes(
                column
                    .as_fixed_size_binary()
                    .iter()
                    .collect::<BinaryArray>(),
            ),
            DataType::List(_) => Self::List(items(column.as_list::<i32>()), zone),
            DataType::LargeList(_) => Self::List(items(column.as_list::<i64>()), zone),
            DataType::FixedSizeList(..) => {
                let lists = column.as_fixed_size_list();
                let all = (0..lists.len()).map(|at| lists.is_valid(at).then(|| lists.value(at)));
                Self::List(all.collect(), zone)
            }
            DataType::Struct(fields) => {
                let of = column.as_struct();
                let mut parts: Vec<(String, ArrayRef)> = fields
                    .iter()
                    .zip(of.columns())
                    .map(|(field, part)| (field.name().clone(), part.clone()))
                    .collect();
                parts.sort_by(|(one, _), (other, _)| one.cmp(other));
                Self::Struct(of, parts, zone)
            }
            DataType::Map(..) => Self::Map(column.as_map(), zone),
            _ => Self::Shown(shown()?, column, zone),
        })
    }

    /// Writes tag and bytes of a value; `false` where there is none.
    fn write(&self, at: usize, out: &mut Vec<u8>) -> Result<bool, ArrowError> {
        Ok(match self {
            Self::Doubles(column) => {
                let column = column.as_primitive::<Float64Type>();
                column.is_valid(at) && double(column.value(at), out)
            }
            Self::Whole(column) => {
                let column = column.as_primitive::<Int64Type>();
                column.is_valid(at) && whole(i128::from(column.value(at)), out)
            }
            Self::Unsigned(column) => {
                let column = column.as_primitive::<UInt64Type>();
                column.is_valid(at) && whole(i128::from(column.value(at)), out)
            }
            Self::Truths(column) => {
                let column = column.as_boolean();
                column.is_valid(at) && double(f64::from(u8::from(column.value(at))), out)
            }
            Self::Texts(column, zone) => {
                let column = column.as_string::<i32>();
                column.is_valid(at) && text(column.value(at), zone, out)
            }
            Self::Digits(shown, column) => {
                if column.is_null(at) {
                    return Ok(false);
                }
                let shown = shown.value(at).try_to_string()?;
                if !number(&shown, out) {
                    out.push(b'n');
                    out.extend(shown.as_bytes());
                }
                true
            }
            Self::Instants(instants) => match instants.get(at).copied().flatten() {
                Some(micros) => instant(micros, out),
                None => false,
            },
            Self::Bytes(column) => {
                if column.is_null(at) {
                    return Ok(false);
                }
                out.push(b'b');
                out.extend(column.value(at));
                true
            }
            Self::List(lists, zone) => {
                let Some(Some(list)) = lists.get(at) else {
                    return Ok(false);
                };
                out.push(b'l');
                let list = plain(list)?;
                // By position: what is absent has no bytes.
                if *list.data_type() == DataType::Null {
                    (0..list.len()).for_each(|_| sized(&[], out));
                    return Ok(true);
                }
                let values = Values::of(&list, zone)?;
                for at in 0..list.len() {
                    let mut value = Vec::new();
                    values.write(at, &mut value)?;
                    sized(&value, out);
                }
                true
            }
            Self::Struct(of, parts, zone) => {
                if of.is_null(at) {
                    return Ok(false);
                }
                out.push(b'm');
                for (name, part) in parts {
                    let part = plain(&part.slice(at, 1))?;
                    member(name.as_bytes(), &part, zone, out)?;
                }
                true
            }
            Self::Map(of, zone) => {
                if of.is_null(at) {
                    return Ok(false);
                }
                out.push(b'm');
                let entries = of.value(at);
                let keys = cast(entries.column(0), &DataType::Utf8)?;
                let keys = keys.as_string::<i32>();
                let mut order: Vec<usize> = (0..entries.len()).collect();
                order.sort_by_key(|entry| keys.value(*entry));
                for entry in order {
                    let value = plain(&entries.column(1).slice(entry, 1))?;
                    member(keys.value(entry).as_bytes(), &value, zone, out)?;
                }
                true
            }
            Self::Shown(shown, column, zone) => {
                column.is_valid(at) && text(&shown.value(at).try_to_string()?, zone, out)
            }
        })
    }
}

const SHOWN: FormatOptions<'static> = FormatOptions::new();

/// A value of a dictionary as itself.
fn plain(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.as_any_dictionary_opt() {
        Some(keyed) => arrow::compute::take(keyed.values(), keyed.keys(), None),
        None => Ok(column.clone()),
    }
}

fn items<O: OffsetSizeTrait>(lists: &GenericListArray<O>) -> Vec<Option<ArrayRef>> {
    let all = (0..lists.len()).map(|at| lists.is_valid(at).then(|| lists.value(at)));
    all.collect()
}

/// A named value of one row, unless it is absent.
fn member(
    name: &[u8],
    one: &ArrayRef,
    zone: &TimeZone,
    out: &mut Vec<u8>,
) -> Result<(), ArrowError> {
    if *one.data_type() == DataType::Null {
        return Ok(());
    }
    let mut value = Vec::new();
    if Values::of(one, zone)?.write(0, &mut value)? {
        sized(name, out);
        sized(&value, out);
    }
    Ok(())
}

fn sized(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

/// µs since the epoch, of naive times in the zone; finer ones are floored.
fn instants(column: &ArrayRef, unit: TimeUnit, naive: Option<&TimeZone>) -> Vec<Option<i64>> {
    let raw: Vec<Option<i64>> = match unit {
        TimeUnit::Second => {
            let times = column.as_primitive::<TimestampSecondType>().iter();
            times.map(|time| time?.checked_mul(1_000_000)).collect()
        }
        TimeUnit::Millisecond => {
            let times = column.as_primitive::<TimestampMillisecondType>().iter();
            times.map(|time| time?.checked_mul(1_000)).collect()
        }
        TimeUnit::Microsecond => column
            .as_primitive::<TimestampMicrosecondType>()
            .iter()
            .collect(),
        TimeUnit::Nanosecond => {
            let times = column.as_primitive::<TimestampNanosecondType>().iter();
            times.map(|time| Some(time?.div_euclid(1_000))).collect()
        }
    };
    let Some(zone) = naive else { return raw };
    let placed = |wall: i64| {
        let wall = TimeZone::UTC.to_datetime(Timestamp::from_microsecond(wall).ok()?);
        zone.to_timestamp(wall).ok().map(Timestamp::as_microsecond)
    };
    raw.into_iter().map(|wall| wall.and_then(placed)).collect()
}

fn instant(micros: i64, out: &mut Vec<u8>) -> bool {
    out.push(b't');
    out.extend(micros.to_le_bytes());
    true
}

/// A double: −0 is 0, and a fraction that is exactly an f32 is that f32's shortest decimal.
fn double(value: f64, out: &mut Vec<u8>) -> bool {
    if value.is_nan() {
        return false;
    }
    let narrow = value as f32;
    let value = if value.fract() != 0.0 && f64::from(narrow).to_bits() == value.to_bits() {
        narrow.to_string().parse().unwrap_or(value)
    } else {
        value
    };
    out.push(b'n');
    out.extend((value + 0.0).to_bits().to_le_bytes());
    true
}

/// A whole number: the double that it is, or all of its digits where none is.
fn whole(value: i128, out: &mut Vec<u8>) -> bool {
    let near = value as f64;
    if near as i128 == value {
        return double(near, out);
    }
    out.push(b'n');
    out.extend(value.to_string().as_bytes());
    true
}

/// A text: what it spells, if that is a number, a truth value, a time or nothing.
fn text(value: &str, zone: &TimeZone, out: &mut Vec<u8>) -> bool {
    let bytes = value.as_bytes();
    match bytes.first() {
        None => return false,
        Some(b'-' | b'0'..=b'9') => {
            if number(value, out) {
                return true;
            }
            if is_complete(bytes)
                && let Some(micros) = parse_time(value, zone)
            {
                return instant(micros, out);
            }
        }
        Some(_) if is_absent(value) => return false,
        Some(b't' | b'T') if value.eq_ignore_ascii_case("true") => return double(1.0, out),
        Some(b'f' | b'F') if value.eq_ignore_ascii_case("false") => return double(0.0, out),
        Some(_) => {}
    }
    out.push(b's');
    out.extend(bytes);
    true
}

/// Texts that stand for a missing value, as Python programs spell it.
pub(crate) fn is_absent(value: &str) -> bool {
    matches!(value, "" | "nan" | "NaN" | "None" | "NaT" | "<NA>" | "null")
}

/// Whether a text has date and time as ISO 8601 has them, down to seconds.
fn is_complete(bytes: &[u8]) -> bool {
    let at = |place: usize| bytes.get(place).copied();
    bytes.len() >= 19
        && [at(4), at(7), at(13), at(16)] == [Some(b'-'), Some(b'-'), Some(b':'), Some(b':')]
        && matches!(at(10), Some(b'T' | b't' | b' '))
}

/// The number that a text is: as somebody would write it, and no digits that a double drops.
fn number(value: &str, out: &mut Vec<u8>) -> bool {
    let Some(spelled) = Spelled::of(value) else {
        return false;
    };
    if spelled.is_whole
        && let Ok(number) = value.parse::<i128>()
    {
        return whole(number, out);
    }
    let Some(near) = value.parse::<f64>().ok().filter(|near| near.is_finite()) else {
        return false;
    };
    let shortest = format!("{near:e}");
    let shortest = Spelled::of(&shortest).map(|shortest| shortest.digits);
    shortest == Some(spelled.digits) && double(near, out)
}

/// A number as a text spells it.
struct Spelled {
    /// Significant ones, without zeros at either end.
    digits: Vec<u8>,
    /// Without fraction and exponent.
    is_whole: bool,
}

impl Spelled {
    /// `None` where the text is none: it has another character, a leading zero, a part missing.
    fn of(value: &str) -> Option<Self> {
        let unsigned = value.strip_prefix('-').unwrap_or(value);
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, Some(fraction)),
            None => (mantissa, None),
        };
        let all_digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let exponent_fits = exponent.is_none_or(|exponent| {
            all_digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
        });
        let fits = all_digits(whole)
            && fraction.is_none_or(all_digits)
            && exponent_fits
            && (whole.len() == 1 || !whole.starts_with('0'));
        if !fits {
            return None;
        }
        let digits: Vec<u8> = whole
            .bytes()
            .chain(fraction.unwrap_or_default().bytes())
            .collect();
        let first = digits
            .iter()
            .position(|digit| *digit != b'0')
            .unwrap_or(digits.len());
        let last = digits
            .iter()
            .rposition(|digit| *digit != b'0')
            .map_or(first, |at| at + 1);
        Some(Self {
            digits: digits.get(first..last).unwrap_or_default().to_vec(),
            is_whole: fraction.is_none() && exponent.is_none(),
        })
    }
}

#[cfg(test)]
mod tests;
