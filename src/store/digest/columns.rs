//! The canonical columns of an adapted batch, row by row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, TimestampMicrosecondType};
use xxhash_rust::xxh3::xxh3_64;

use super::category::category;
use super::key::{is_id, key_in, parts_key};
use crate::stats::cell::UNKNOWN;
use crate::stats::paired::Trials;
use crate::stats::{Cell, ErrorCategory, Rate, Tally};
use crate::store::cast::cast;
use crate::store::error::{Error, Result};
use crate::store::schema::TIMESTAMP_TEXT;

/// Typed access to the columns that statistics need. Columns that the batch lacks
/// read as null.
#[derive(Debug)]
pub struct Columns {
    /// By [`slot`].
    texts: [Option<Texts>; SLOTS],
    truths: [Option<BooleanArray>; SLOTS],
    numbers: [Option<Float64Array>; SLOTS],
    timestamp: Option<ArrayRef>,
}

/// A column of texts.
#[derive(Debug)]
enum Texts {
    Plain(StringArray),
    /// Each text once, and for each row which one it is.
    Keyed(Int32Array, StringArray),
}

impl Texts {
    #[inline]
    fn get(&self, row: usize) -> Option<&str> {
        match self {
            Self::Plain(texts) => {
                (row < texts.len() && texts.is_valid(row)).then(|| texts.value(row))
            }
            Self::Keyed(keys, texts) => {
                let at =
                    (row < keys.len() && keys.is_valid(row)).then(|| keys.value(row) as usize)?;
                (at < texts.len() && texts.is_valid(at)).then(|| texts.value(at))
            }
        }
    }
}

/// How one test ended and what it took: all that tallies need of a record.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Succeeded in full.
    pub full: bool,
    /// Succeeded in part only.
    pub partial: bool,
    /// What went wrong, where it did not succeed in full and something is recorded.
    pub error: Option<ErrorCategory>,
    /// Seconds; NaN where absent, like the three below.
    pub execution_time: f64,
    /// Conversation turns.
    pub turns: f64,
    /// Tool calls.
    pub tool_calls: f64,
    /// Share of the required tools that were called.
    pub tool_coverage_rate: f64,
}

impl Outcome {
    /// This one test as a trial of its task.
    pub fn trials(&self) -> Trials {
        Trials {
            n: 1,
            full: u64::from(self.full),
        }
    }

    /// Adds this one test.
    pub fn add_to(&self, tally: &mut Tally) {
        tally.tests += 1;
        tally.full += u64::from(self.full);
        tally.partial += u64::from(self.partial);
        tally.execution_time.push(self.execution_time);
        tally.turns.push(self.turns);
        tally.tool_calls.push(self.tool_calls);
        tally.tool_coverage_rate.push(self.tool_coverage_rate);
        if let Some(count) = self
            .error
            .and_then(|error| tally.errors.get_mut(error as usize))
        {
            *count += 1;
        }
    }

    /// A tally of this one test.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        self.add_to(&mut tally);
        tally
    }
}

/// Slots of a row's columns: those of [`Columns::NAMES`], the text of a time, nothing.
const SLOTS: usize = 19;

/// The place of a column. Where the name is known when this is compiled, it costs nothing.
#[inline(always)]
// It is called several times a row, always with a constant.
#[allow(clippy::inline_always)]
fn slot(name: &str) -> usize {
    match name {
        "test_id" => 0,
        "model" => 1,
        "prompt_type" => 2,
        "tool_success_rate" => 3,
        "difficulty" => 4,
        "task_type" => 5,
        "success" => 6,
        "partial_success" => 7,
        "execution_time" => 8,
        "turns" => 9,
        "tool_calls" => 10,
        "tool_coverage_rate" => 11,
        "error_type" => 12,
        "error_message" => 13,
        "timestamp" => 14,
        "process_id" => 15,
        "task_id" => 16,
        TIMESTAMP_TEXT => 17,
        _ => 18,
    }
}

fn put<T>(slots: &mut [Option<T>; SLOTS], name: &str, column: T) {
    if let Some(place) = slots.get_mut(slot(name)) {
        *place = Some(column);
    }
}

/// The dimensions that are text.
const DIMENSIONS: [&str; 4] = ["model", "prompt_type", "difficulty", "task_type"];

/// A hash of a cell with one more of its texts.
fn with_text(hash: u128, text: u64) -> u128 {
    const MIX: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let hash = (hash ^ u128::from(text)).wrapping_mul(MIX);
    hash ^ (hash >> 64)
}

/// A column as text; a null-typed one is all null.
pub fn text_column(column: &ArrayRef) -> Result<StringArray> {
    let texts = cast(column, &DataType::Utf8)
        .map_err(|e| Error::Refused(format!("a column can't be read as text: {e}")))?;
    Ok(texts.as_string::<i32>().clone())
}

impl Columns {
    /// The columns that [`Columns`] looks at.
    pub const NAMES: [&str; 17] = [
        "test_id",
        "model",
        "prompt_type",
        "tool_success_rate",
        "difficulty",
        "task_type",
        "success",
        "partial_success",
        "execution_time",
        "turns",
        "tool_calls",
        "tool_coverage_rate",
        "error_type",
        "error_message",
        "timestamp",
        "process_id",
        "task_id",
    ];

    /// Of these, the ones that only tell what happened.
    pub const ACTIVITY: [&str; 3] = ["timestamp", "process_id", "task_id"];

    /// Of a batch that [`crate::store::schema::adapt`] made.
    pub fn new(batch: &RecordBatch) -> Result<Self> {
        let mut columns = Self {
            texts: [const { None }; SLOTS],
            truths: [const { None }; SLOTS],
            numbers: [const { None }; SLOTS],
            timestamp: batch.column_by_name("timestamp").cloned(),
        };
        for name in Self::NAMES.into_iter().chain([TIMESTAMP_TEXT]) {
            let Some(column) = batch.column_by_name(name) else {
                continue;
            };
            match column.data_type() {
                DataType::Utf8 => {
                    put(
                        &mut columns.texts,
                        name,
                        Texts::Plain(column.as_string::<i32>().clone()),
                    );
                }
                DataType::Dictionary(..) => {
                    let keyed = column.as_dictionary_opt::<Int32Type>();
                    let texts = keyed.and_then(|keyed| {
                        Some(Texts::Keyed(
                            keyed.keys().clone(),
                            keyed.values().as_string_opt::<i32>()?.clone(),
                        ))
                    });
                    let plain = || text_column(column).map(Texts::Plain);
                    put(&mut columns.texts, name, texts.map_or_else(plain, Ok)?);
                }
                DataType::Boolean => {
                    put(&mut columns.truths, name, column.as_boolean().clone());
                }
                DataType::Int64 | DataType::Float64 => {
                    let doubles = cast(column, &DataType::Float64).map_err(|e| {
                        Error::Refused(format!("column '{name}' can't be read: {e}"))
                    })?;
                    put(
                        &mut columns.numbers,
                        name,
                        doubles.as_primitive::<Float64Type>().clone(),
                    );
                }
                _ => {}
            }
        }
        Ok(columns)
    }

    /// A text; `None` where it is null.
    #[inline]
    pub fn text(&self, name: &str, row: usize) -> Option<&str> {
        self.texts.get(slot(name))?.as_ref()?.get(row)
    }

    /// The texts of a column that has each of them once, and for each row which one it is.
    pub(super) fn keyed(&self, name: &str) -> Option<(&Int32Array, &StringArray)> {
        match self.texts.get(slot(name))?.as_ref()? {
            Texts::Keyed(keys, texts) => Some((keys, texts)),
            Texts::Plain(_) => None,
        }
    }

    /// A truth value.
    #[inline]
    pub fn truth(&self, name: &str, row: usize) -> Option<bool> {
        let column = self.truths.get(slot(name))?.as_ref()?;
        (row < column.len() && column.is_valid(row)).then(|| column.value(row))
    }

    /// A number; `None` where it is null or NaN.
    #[inline]
    pub fn number(&self, name: &str, row: usize) -> Option<f64> {
        let column = self.numbers.get(slot(name))?.as_ref()?;
        let value = (row < column.len() && column.is_valid(row)).then(|| column.value(row));
        value.filter(|v| !v.is_nan())
    }

    /// Microseconds since the epoch.
    pub fn timestamp(&self, row: usize) -> Option<i64> {
        let column = self
            .timestamp
            .as_ref()?
            .as_primitive_opt::<TimestampMicrosecondType>()?;
        (row < column.len() && column.is_valid(row)).then(|| column.value(row))
    }

    /// A dimension that is text; "unknown" where it is missing.
    #[inline]
    pub fn dimension(&self, name: &str, row: usize) -> &str {
        self.text(name, row)
            .filter(|text| !text.is_empty())
            .unwrap_or(UNKNOWN)
    }

    /// The rate of successful tool calls.
    pub fn rate(&self, row: usize) -> Option<Rate> {
        self.number("tool_success_rate", row).and_then(Rate::new)
    }

    /// The model of a row.
    pub fn model(&self, row: usize) -> &str {
        self.dimension("model", row)
    }

    /// The cell of a row.
    pub fn cell(&self, row: usize) -> Cell {
        let text = |name| Arc::from(self.dimension(name, row));
        Cell {
            model: text("model"),
            prompt_type: text("prompt_type"),
            tool_success_rate: self.rate(row),
            difficulty: text("difficulty"),
            task_type: text("task_type"),
        }
    }

    /// [`super::cell_key`] of a row's cell.
    pub fn cell_key(&self, row: usize) -> u128 {
        // A closure over the names would look each of them up.
        let texts = [
            self.dimension("model", row),
            self.dimension("prompt_type", row),
            self.dimension("difficulty", row),
            self.dimension("task_type", row),
        ];
        parts_key(texts, self.rate(row))
    }

    /// Hashes of the cells of the first rows, cheaper than [`super::cell_key`] and good for this process
    /// only: of a column that has each text once, each is hashed once.
    pub(super) fn quick_cells(&self, rows: usize) -> Vec<u128> {
        let mut hashes: Vec<u128> = (0..rows).map(|row| self.rate_hash(row)).collect();
        for name in DIMENSIONS {
            match self.keyed(name).filter(|(_, texts)| texts.len() <= rows) {
                Some((keys, texts)) => {
                    let missing = xxh3_64(UNKNOWN.as_bytes());
                    let text = |text: Option<&str>| match text {
                        Some(text) if !text.is_empty() => xxh3_64(text.as_bytes()),
                        _ => missing,
                    };
                    let texts: Vec<u64> = texts.iter().map(text).collect();
                    for (hash, key) in hashes.iter_mut().zip(keys) {
                        let text = key.and_then(|key| texts.get(key as usize)).copied();
                        *hash = with_text(*hash, text.unwrap_or(missing));
                    }
                }
                None => {
                    for (row, hash) in hashes.iter_mut().enumerate() {
                        *hash = with_text(*hash, xxh3_64(self.dimension(name, row).as_bytes()));
                    }
                }
            }
        }
        hashes
    }

    fn rate_hash(&self, row: usize) -> u128 {
        self.rate(row)
            .map_or(1, |rate| u128::from(rate.get().to_bits()))
    }

    /// [`super::key`] of a row.
    pub fn key(&self, row: usize) -> Option<u128> {
        self.text("test_id", row)
            .filter(|id| is_id(id))
            .and_then(|id| key_in(Some(id), self.cell_key(row)))
    }

    /// What a row tests, whatever the value of one dimension is: its `task_id`, or its
    /// `test_id` where it has none, within the rest of its cell. `None` with neither.
    pub fn task_key(&self, row: usize, without: &str) -> Option<u128> {
        let id = |name: &str| {
            self.text(name, row)
                .filter(|id| is_id(id))
                .map(|id| format!("{name}:{id}"))
        };
        let id = id("task_id").or_else(|| id("test_id"))?;
        let texts = ["model", "prompt_type", "difficulty", "task_type"].map(|name| {
            if name == without {
                ""
            } else {
                self.dimension(name, row)
            }
        });
        key_in(Some(&id), parts_key(texts, self.rate(row)))
    }

    /// A hash of a row's `task_id`; `None` without one.
    pub fn task(&self, row: usize) -> Option<u64> {
        self.text("task_id", row)
            .filter(|id| is_id(id))
            .map(|id| xxh3_64(id.as_bytes()))
    }

    /// What a row's runner said of its error.
    pub fn message(&self, row: usize) -> Option<&str> {
        let said = |name| self.text(name, row).filter(|text| is_id(text.trim()));
        said("error_message").or_else(|| said("error_type"))
    }

    /// How the test of a row ended.
    pub fn outcome(&self, row: usize) -> Outcome {
        let full = self.truth("success", row) == Some(true);
        let number = |name| self.number(name, row).unwrap_or(f64::NAN);
        let error = || {
            category(
                self.text("error_type", row),
                self.text("error_message", row),
            )
        };
        Outcome {
            full,
            partial: !full && self.truth("partial_success", row) == Some(true),
            error: if full { None } else { error() },
            execution_time: number("execution_time"),
            turns: number("turns"),
            tool_calls: number("tool_calls"),
            tool_coverage_rate: number("tool_coverage_rate"),
        }
    }
}
