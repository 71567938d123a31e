//! The canonical columns of an adapted batch, row by row.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, RecordBatch, StringArray,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, TimestampMicrosecondType};
use xxhash_rust::xxh3::xxh3_64;

use super::category::category;
use crate::stats::cell::UNKNOWN;
use crate::stats::money::Tokens;
use crate::stats::paired::Trials;
use crate::stats::{Cell, ErrorCategory, Rate, Tally};
use crate::store::error::{Error, Result};
use crate::store::format::cast::cast;
use crate::store::format::key::{is_id, key_in, parts_key};
use crate::store::format::schema::TIMESTAMP_TEXT;
use crate::store::format::{RowHash, is_derived};
use crate::store::resolve::Rank;

/// Typed access to the columns that statistics need. Columns that the batch lacks
/// read as null.
#[derive(Debug)]
pub struct Columns {
    /// By [`slot`].
    texts: [Option<Texts>; SLOTS],
    truths: [Option<BooleanArray>; SLOTS],
    numbers: [Option<Float64Array>; SLOTS],
    timestamp: Option<ArrayRef>,
    recorded_at: Option<ArrayRef>,
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
    /// Was not judged.
    pub unscored: bool,
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
    /// Dollars that the test was billed; NaN where absent, like the next.
    pub cost: f64,
    /// Dollars that judging it was billed.
    pub judge_cost: f64,
    /// Its tokens; `n` is 0 where it says nothing of them.
    pub tokens: Tokens,
}

impl Outcome {
    /// This one test as a trial of its task; `None` where it was not judged.
    pub fn trials(&self) -> Option<Trials> {
        let full = u64::from(self.full);
        (!self.unscored).then_some(Trials { n: 1, full })
    }

    /// Adds this one test.
    pub fn add_to(&self, tally: &mut Tally) {
        tally.tests += 1;
        tally.full += u64::from(self.full);
        tally.partial += u64::from(self.partial);
        if self.unscored {
            let infrastructure = self.error == Some(ErrorCategory::Infrastructure);
            tally.unscored += 1;
            tally.unscored_errors += u64::from(self.error.is_some());
            tally.unscored_infrastructure += u64::from(infrastructure);
        }
        tally.execution_time.push(self.execution_time);
        tally.turns.push(self.turns);
        tally.tool_calls.push(self.tool_calls);
        tally.tool_coverage_rate.push(self.tool_coverage_rate);
        tally.cost.push(self.cost);
        tally.judge_cost.push(self.judge_cost);
        tally.tokens.add(&self.tokens);
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
const SLOTS: usize = 27;

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
        "session_id" => 18,
        "cost" => 19,
        "judge_cost" => 20,
        "input_tokens" => 21,
        "output_tokens" => 22,
        "reasoning_tokens" => 23,
        "cache_read_tokens" => 24,
        "cache_write_tokens" => 25,
        _ => 26,
    }
}

fn put<T>(slots: &mut [Option<T>; SLOTS], name: &str, column: T) {
    if let Some(place) = slots.get_mut(slot(name)) {
        *place = Some(column);
    }
}

fn is_empty(text: Option<&str>) -> bool {
    text.is_none_or(|text| text.trim().is_empty())
}

/// The dimensions that are text.
const DIMENSIONS: [&str; 4] = ["model", "prompt_type", "difficulty", "task_type"];

fn time(column: &ArrayRef, row: usize) -> Option<i64> {
    let column = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    (row < column.len() && column.is_valid(row)).then(|| column.value(row))
}

fn rate_hash(rate: Option<Rate>) -> u128 {
    rate.map_or(1, |rate| u128::from(rate.get().to_bits()))
}

/// What [`Columns::quick_cells`] says of a cell, by the hashes of its texts in the order of
/// the dimensions.
pub(crate) fn quick_cell(texts: [u64; 4], rate: Option<Rate>) -> u128 {
    texts.into_iter().fold(rate_hash(rate), with_text)
}

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
    pub const NAMES: [&str; 25] = [
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
        "session_id",
        "cost",
        "judge_cost",
        "input_tokens",
        "output_tokens",
        "reasoning_tokens",
        "cache_read_tokens",
        "cache_write_tokens",
    ];

    /// Of these, the ones that every store has.
    pub fn always() -> &'static [&'static str] {
        Self::NAMES.split_at(18).0
    }

    /// Of these, the ones that only say what happened.
    pub const ACTIVITY: [&str; 3] = ["timestamp", "process_id", "task_id"];

    /// Of a batch that [`crate::store::format::schema::adapt`] made.
    pub fn new(batch: &RecordBatch) -> Result<Self> {
        let mut columns = Self {
            texts: [const { None }; SLOTS],
            truths: [const { None }; SLOTS],
            numbers: [const { None }; SLOTS],
            timestamp: batch.column_by_name("timestamp").cloned(),
            recorded_at: batch.column_by_name("recorded_at").cloned(),
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
    pub(crate) fn keyed(&self, name: &str) -> Option<(&Int32Array, &StringArray)> {
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
        time(self.timestamp.as_ref()?, row)
    }

    /// What decides between a row, whose hash this is, and other attempts at its test.
    pub fn rank(&self, row: usize, hash: RowHash) -> Rank {
        let recorded_at = self.recorded_at.as_ref().and_then(|times| time(times, row));
        Rank::new(self.timestamp(row), recorded_at, hash)
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

    /// Whether a row has a negative time, or a rate outside 0 to 1.
    pub fn is_out_of_range(&self, row: usize) -> bool {
        let rate = |name| {
            self.number(name, row)
                .is_some_and(|rate| !(0.0..=1.0).contains(&rate))
        };
        let negative = |name| self.number(name, row).is_some_and(|value| value < 0.0);
        negative("execution_time") || rate("tool_success_rate") || rate("tool_coverage_rate")
    }

    /// The first row whose model is missing.
    pub fn without_model(&self, rows: usize) -> Option<usize> {
        let nulls = match self.texts.get(slot("model")).and_then(Option::as_ref) {
            Some(Texts::Plain(texts)) => texts.null_count() > 0 || texts.iter().any(is_empty),
            Some(Texts::Keyed(keys, texts)) => {
                keys.null_count() + texts.null_count() > 0 || texts.iter().any(is_empty)
            }
            None => true,
        };
        let missing = |row: &usize| is_empty(self.text("model", *row));
        (0..rows).find(|row| nulls && missing(row))
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
    pub(crate) fn quick_cells(&self, rows: usize) -> Vec<u128> {
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
        rate_hash(self.rate(row))
    }

    /// `format::key` of a row.
    pub fn key(&self, row: usize) -> Option<u128> {
        self.text("test_id", row)
            .filter(|id| is_id(id))
            .and_then(|id| key_in(Some(id), self.cell_key(row), self.session(row)))
    }

    /// What a row tests, whatever the value of one dimension is: its `task_id`, or its
    /// `test_id` where it has none, within the rest of its cell. `None` with neither.
    pub fn task_key(&self, row: usize, without: &str) -> Option<u128> {
        // A derived id is of one row alone.
        let id = |name: &str| {
            self.text(name, row)
                .filter(|id| is_id(id) && !is_derived(id))
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
        key_in(Some(&id), parts_key(texts, self.rate(row)), None)
    }

    /// The session of a row; `None` without one.
    pub fn session(&self, row: usize) -> Option<&str> {
        self.text("session_id", row)
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
        let success = self.truth("success", row);
        let full = success == Some(true);
        let number = |name| self.number(name, row).unwrap_or(f64::NAN);
        let error = || {
            category(
                self.text("error_type", row),
                self.text("error_message", row),
            )
        };
        Outcome {
            full,
            partial: success == Some(false) && self.truth("partial_success", row) == Some(true),
            unscored: success.is_none(),
            error: if full { None } else { error() },
            execution_time: number("execution_time"),
            turns: number("turns"),
            tool_calls: number("tool_calls"),
            tool_coverage_rate: number("tool_coverage_rate"),
            cost: number("cost"),
            judge_cost: number("judge_cost"),
            tokens: self.tokens(row),
        }
    }

    /// The tokens of a row's test.
    pub fn tokens(&self, row: usize) -> Tokens {
        let number = |name| self.number(name, row);
        let all = [
            number("input_tokens"),
            number("output_tokens"),
            number("reasoning_tokens"),
            number("cache_read_tokens"),
            number("cache_write_tokens"),
        ];
        // Casting cuts what is negative.
        let [input, output, reasoning, cache_read, cache_write] =
            all.map(|own| own.unwrap_or(0.0) as u64);
        Tokens {
            n: u64::from(all.iter().any(Option::is_some)),
            input,
            output,
            reasoning,
            cache_read,
            cache_write,
        }
    }
}
