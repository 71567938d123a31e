//! The columns of a batch, written cell by cell as text: the usual types in a few steps,
//! everything else as Arrow's writers spell it.
//!
//! Promises: what is written is what Arrow's writers of the form write, byte for byte.

use arrow::array::{
    Array, AsArray, BooleanArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;

/// Writes the value of a row, which is not null, as Arrow does.
pub(super) type Spelling<'a> = Box<dyn FnMut(usize, &mut Vec<u8>) -> Result<(), ArrowError> + 'a>;

/// One column.
pub(super) struct Cells<'a> {
    values: Values<'a>,
    nulls: Option<NullBuffer>,
    /// For all values of a type that is not known here, and for unusual ones of the others.
    spelling: Spelling<'a>,
    style: Style,
}

/// What differs between the forms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub(super) null: &'static [u8],
    pub(super) text: fn(&str, &mut Vec<u8>),
    /// What stands after a time.
    pub(super) after_time: &'static [u8],
}

enum Values<'a> {
    Texts(&'a StringArray),
    Truths(&'a BooleanArray),
    Whole(&'a Int64Array),
    Doubles(&'a Float64Array),
    Times(&'a TimestampMicrosecondArray, Day),
    Others,
}

/// The day that was written last, and its text up to the time.
#[derive(Debug, Default)]
struct Day {
    number: i64,
    text: Vec<u8>,
}

impl<'a> Cells<'a> {
    /// Of a column of a batch that [`super::plain`] made.
    pub(super) fn new(column: &'a dyn Array, style: Style, spelling: Spelling<'a>) -> Self {
        let values = match column.data_type() {
            DataType::Utf8 => Values::Texts(column.as_string()),
            DataType::Boolean => Values::Truths(column.as_boolean()),
            DataType::Int64 => Values::Whole(column.as_primitive::<Int64Type>()),
            DataType::Float64 => Values::Doubles(column.as_primitive::<Float64Type>()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Values::Times(
                column.as_primitive::<TimestampMicrosecondType>(),
                Day::default(),
            ),
            _ => Values::Others,
        };
        Self {
            values,
            nulls: column.logical_nulls(),
            spelling,
            style,
        }
    }

    /// Writes the cell of a row.
    pub(super) fn write(&mut self, row: usize, out: &mut Vec<u8>) -> Result<(), ArrowError> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(self.style.null);
            return Ok(());
        }
        match &mut self.values {
            Values::Texts(texts) => (self.style.text)(texts.value(row), out),
            Values::Truths(truths) => {
                out.extend_from_slice(if truths.value(row) { b"true" } else { b"false" });
            }
            Values::Whole(numbers) => {
                let number = numbers.value(row);
                if number < 0 {
                    out.push(b'-');
                }
                whole(number.unsigned_abs(), out);
            }
            Values::Doubles(numbers) if short(numbers.value(row), out) => {}
            Values::Times(times, day) if DAYS.contains(&times.value(row).div_euclid(DAY)) => {
                day.write(times.value(row), row, out, &mut self.spelling)?;
                out.extend_from_slice(self.style.after_time);
            }
            Values::Doubles(_) | Values::Times(..) | Values::Others => (self.spelling)(row, out)?,
        }
        Ok(())
    }
}

const DAY: i64 = 86_400_000_000;

/// The days of the years from 0 to 9999, which have four digits.
const DAYS: std::ops::RangeInclusive<i64> = -719_528..=2_932_896;

impl Day {
    /// Writes a time of a row but for what stands after it.
    fn write(
        &mut self,
        micros: i64,
        row: usize,
        out: &mut Vec<u8>,
        spelling: &mut Spelling,
    ) -> Result<(), ArrowError> {
        let number = micros.div_euclid(DAY);
        if number != self.number || self.text.is_empty() {
            self.text.clear();
            spelling(row, &mut self.text)?;
            let date = self
                .text
                .iter()
                .position(|byte| *byte == b'T')
                .map_or(0, |at| at + 1);
            self.text.truncate(date);
            self.number = number;
        }
        out.extend_from_slice(&self.text);
        let micros = micros.rem_euclid(DAY) as u64;
        let seconds = micros / 1_000_000;
        let mut clock = *b"00:00:00";
        for (place, part) in
            clock
                .chunks_mut(3)
                .zip([seconds / 3_600, seconds / 60 % 60, seconds % 60])
        {
            put(part, place);
        }
        out.extend_from_slice(&clock);
        let fraction = six(micros % 1_000_000);
        let kept = match fraction {
            [b'0', b'0', b'0', b'0', b'0', b'0'] => return Ok(()),
            [.., b'0', b'0', b'0'] => 3,
            _ => 6,
        };
        out.push(b'.');
        out.extend_from_slice(fraction.get(..kept).unwrap_or_default());
        Ok(())
    }
}

/// Puts a number of two digits in the beginning of a place.
fn put(number: u64, place: &mut [u8]) {
    if let Some(place) = place.first_chunk_mut() {
        *place = [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
    }
}

fn six(number: u64) -> [u8; 6] {
    let mut digits = [0; 6];
    for (place, part) in
        digits
            .chunks_mut(2)
            .zip([number / 10_000, number / 100 % 100, number % 100])
    {
        put(part, place);
    }
    digits
}

fn whole(mut number: u64, out: &mut Vec<u8>) {
    if number < 10 {
        return out.push(b'0' + number as u8);
    }
    let mut digits = [0; 20];
    let mut first = digits.len();
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        first -= 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(first..).unwrap_or_default());
}

/// Writes a number of at most six decimals and nine digits before them; otherwise writes
/// nothing and returns false.
///
/// A fraction of two whole numbers that doubles hold is rounded right, and no two decimals of
/// 15 digits are one double: where the millionths give back the number, their digits are the
/// shortest that do, and so those that others write, who use no exponents for such numbers.
fn short(number: f64, out: &mut Vec<u8>) -> bool {
    const ONE: i64 = 1_000_000;
    let size = number.abs();
    if size != 0.0 && !(1e-3..1e9).contains(&size) {
        return false;
    }
    let millionths = (size * ONE as f64 + 0.5) as i64;
    if (millionths as f64 / ONE as f64).to_bits() != size.to_bits() {
        return false;
    }
    if number.is_sign_negative() {
        out.push(b'-');
    }
    whole((millionths / ONE) as u64, out);
    let decimals = six((millionths % ONE) as u64);
    let kept = decimals
        .iter()
        .rposition(|digit| *digit != b'0')
        .map_or(1, |at| at + 1);
    out.push(b'.');
    out.extend_from_slice(decimals.get(..kept).unwrap_or_default());
    true
}

/// Batches with values of many kinds.
#[cfg(test)]
pub(super) mod fixture {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, Float32Array, ListArray, NullArray, RecordBatch, RecordBatchOptions,
    };
    use arrow::datatypes::{Int32Type, Schema};

    use super::*;

    /// Times that are absent, round, odd, before the epoch, of other than four digits, or no times.
    fn times() -> Vec<Option<i64>> {
        let days = [0, 1, -1, -719_529, -719_528, 2_932_896, 2_932_897, 20_454];
        let of_day = [
            0,
            1,
            250_000,
            59_999_999,
            86_399_999_999,
            45_296_123_456,
            45_296_120_000,
        ];
        let mut times = vec![None, Some(i64::MIN), Some(i64::MAX)];
        times.extend(
            days.iter()
                .flat_map(|day| of_day.map(|micros| Some(day * DAY + micros))),
        );
        times
    }

    /// Numbers of few and of many digits, and all kinds that are none.
    fn doubles() -> Vec<Option<f64>> {
        let mut numbers = vec![
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN,
            f64::MAX,
        ];
        numbers.extend([
            f64::MIN_POSITIVE,
            5e-324,
            f64::EPSILON,
            1.0 / 3.0,
            0.1 + 0.2,
            123_456.654_321,
        ]);
        numbers.extend((-30..30).map(|power| 10_f64.powi(power)));
        for size in [1e-3_f64, 1e-5, 1e9, 1e16, 4_503_599_627.370_496] {
            numbers.extend([
                size,
                f64::from_bits(size.to_bits() - 1),
                f64::from_bits(size.to_bits() + 1),
            ]);
        }
        // Among them some that are next to one of few digits.
        let mut state = 1_u64;
        for at in 0..4_000_u32 {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let digits = (state >> 40) as f64 / 10_f64.powi(at as i32 % 10);
            numbers.extend([
                f64::from_bits(state),
                digits,
                f64::from_bits(digits.to_bits() ^ 1),
            ]);
        }
        let negative: Vec<f64> = numbers.iter().map(|number| -number).collect();
        [0.0, -0.0]
            .into_iter()
            .chain(numbers)
            .chain(negative)
            .map(Some)
            .chain([None])
            .collect()
    }

    fn texts() -> Vec<Option<&'static str>> {
        let mut texts = vec![
            None,
            Some(""),
            Some(" "),
            Some("plain"),
            Some("a,b"),
            Some("\""),
            Some("say \"no\""),
        ];
        texts.extend(
            [
                "a\nb",
                "a\r",
                "\u{1b}[31m",
                "\u{0}\u{7f}\u{2028}",
                "schön 模型",
                "'",
                "\\t\t\\",
                "=1+1",
            ]
            .map(Some),
        );
        texts
    }

    /// Columns as long as the longest; their values come again and again.
    fn all() -> RecordBatch {
        let (times, doubles, texts) = (times(), doubles(), texts());
        let rows = doubles.len();
        let whole = [
            Some(0),
            Some(-7),
            Some(10),
            None,
            Some(99),
            Some(i64::MAX),
            Some(i64::MIN),
        ];
        let micros =
            || -> TimestampMicrosecondArray { times.iter().copied().cycle().take(rows).collect() };
        // Text forms know no instants beyond a quarter of a million years.
        let known: TimestampMicrosecondArray = micros()
            .iter()
            .map(|at| at.filter(|at| at.unsigned_abs() < DAY as u64 * 90_000_000))
            .collect();
        let list = ListArray::from_iter_primitive::<Int32Type, _, _>(
            (0..rows).map(|row| (row % 3 > 0).then(|| vec![Some(1), None])),
        );
        let columns: Vec<(&str, ArrayRef)> = vec![
            (
                "text",
                Arc::new(
                    texts
                        .iter()
                        .copied()
                        .cycle()
                        .take(rows)
                        .collect::<StringArray>(),
                ),
            ),
            (
                "truth, or \"not\"",
                Arc::new(
                    (0..rows)
                        .map(|row| [None, Some(true), Some(false)][row % 3])
                        .collect::<BooleanArray>(),
                ),
            ),
            (
                "whole",
                Arc::new(
                    whole
                        .iter()
                        .copied()
                        .cycle()
                        .take(rows)
                        .collect::<Int64Array>(),
                ),
            ),
            (
                "double",
                Arc::new(doubles.iter().copied().collect::<Float64Array>()),
            ),
            (
                "single",
                Arc::new(
                    doubles
                        .iter()
                        .map(|double| double.map(|double| double as f32))
                        .collect::<Float32Array>(),
                ),
            ),
            (
                "zoned",
                Arc::new(known.clone().with_timezone("Europe/Berlin")),
            ),
            ("time", Arc::new(known.clone().with_timezone("UTC"))),
            ("naive", Arc::new(known)),
            (
                "bytes",
                Arc::new(
                    texts
                        .iter()
                        .map(|text| text.map(str::as_bytes))
                        .cycle()
                        .take(rows)
                        .collect::<BinaryArray>(),
                ),
            ),
            ("list", Arc::new(list)),
            ("nothing", Arc::new(NullArray::new(rows))),
            (
                "",
                Arc::new(
                    texts
                        .iter()
                        .rev()
                        .copied()
                        .cycle()
                        .take(rows)
                        .collect::<StringArray>(),
                ),
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .unwrap()
    }

    /// All columns, each alone, some rows, none, and no columns.
    pub(crate) fn batches() -> Vec<RecordBatch> {
        let all = all();
        let mut batches: Vec<_> = (0..all.num_columns())
            .map(|at| all.project(&[at]).unwrap())
            .collect();
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let empty = RecordBatch::try_new_with_options(Schema::empty().into(), vec![], &options);
        batches.extend([all.slice(0, 0), all.slice(1, 50), empty.unwrap(), all]);
        batches
    }
}
