//! Summary rows: what legacy stores keep for many tests in one row, as tallies.
//!
//! Promises: a row weighs its `total`; everything is derived from counts, never
//! from stored rates, which are often stale; zero-filled aliases and both meanings
//! of `success` (full + partial, or full alone) are distinguished by evidence, and
//! where there is none a note says what was assumed.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};

use super::text_column;
use crate::stats::cell::UNKNOWN;
use crate::stats::{Cell, ErrorCategory, Rate, Sum, Tally};
use crate::store::error::{Error, Result};
use crate::store::format::cast::cast;

mod meaning;

pub use meaning::Meanings;

/// The column of a `summaries_<xxh3>.parquet` that says where a row came from: rows
/// of one source are replaced together and share the meaning of `success`.
pub const SOURCE: &str = "summary_source";

/// The columns that become tallies.
pub const NAMES: [&str; 29] = [
    "model",
    "prompt_type",
    "tool_success_rate",
    "difficulty",
    "task_type",
    "total",
    "success",
    "successful",
    "full_success",
    "partial",
    "partial_success",
    "failed",
    "unscored",
    "weighted_success_score",
    "avg_execution_time",
    "avg_turns",
    "avg_tool_calls",
    "tool_coverage_rate",
    "tool_call_format_errors",
    "timeout_errors",
    "dependency_errors",
    "parameter_config_errors",
    "tool_selection_errors",
    "sequence_order_errors",
    "max_turns_errors",
    "other_errors",
    "infrastructure_errors",
    "test_id",
    SOURCE,
];

const ERRORS: [(&str, ErrorCategory); 9] = [
    ("tool_call_format_errors", ErrorCategory::ToolCallFormat),
    ("timeout_errors", ErrorCategory::Timeout),
    ("dependency_errors", ErrorCategory::Dependency),
    ("parameter_config_errors", ErrorCategory::ParameterConfig),
    ("tool_selection_errors", ErrorCategory::ToolSelection),
    ("sequence_order_errors", ErrorCategory::SequenceOrder),
    ("max_turns_errors", ErrorCategory::MaxTurns),
    ("other_errors", ErrorCategory::Other),
    ("infrastructure_errors", ErrorCategory::Infrastructure),
];

/// What `success` counts in the rows of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Convention {
    /// Full and partial successes.
    FullAndPartial,
    /// Full successes alone.
    FullOnly,
    /// Nothing in the file says; read as full and partial.
    Assumed,
}

/// One row's counts as stored, aliases resolved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counts {
    source: Option<Arc<str>>,
    cell: Cell,
    total: u64,
    success: u64,
    partial: u64,
    /// Where present and not zero-filled.
    full: Option<u64>,
    weighted: Option<f64>,
    /// Without full and partial, which depend on the convention.
    tally: Tally,
}

/// The summary rows of one file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summaries {
    rows: Vec<Counts>,
}

impl Summaries {
    /// Takes in summary rows as the file holds them.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let reader = Reader::new(batch)?;
        self.rows
            .extend((0..batch.num_rows()).map(|row| reader.counts(row)));
        Ok(())
    }

    /// Rows taken in.
    pub fn rows(&self) -> u64 {
        self.rows.len() as u64
    }

    /// What `success` counts, by the evidence of all rows of a source: assumed where it
    /// is so for any of them.
    pub fn convention(&self) -> Convention {
        self.meanings().convention()
    }

    fn meanings(&self) -> Meanings {
        let mut meanings = Meanings::default();
        for row in &self.rows {
            meanings.add(row);
        }
        meanings
    }

    /// Says the cell and the tests of each row but those at these positions (ascending).
    pub fn each_without(&self, losers: &[u64], mut each: impl FnMut(&Cell, &Tally)) {
        let meanings = self.meanings();
        for (row, _) in self
            .rows
            .iter()
            .zip(0..)
            .filter(|(_, at)| losers.binary_search(at).is_err())
        {
            each(&row.cell, &row.tally(meanings.of(row.source.as_ref())));
        }
    }

    /// Positions of the rows of a source, ascending.
    pub fn of_source(&self, source: &str) -> Vec<u64> {
        let rows = self.rows.iter().zip(0..);
        rows.filter(|(row, _)| row.source.as_deref() == Some(source))
            .map(|(_, at)| at)
            .collect()
    }

    /// The cell and the source of each row.
    pub fn sources(&self) -> impl Iterator<Item = (&Cell, Option<&str>)> {
        self.rows
            .iter()
            .map(|row| (&row.cell, row.source.as_deref()))
    }

    /// Positions of the rows of `source` that `newer` rows continue: legacy code counts
    /// on in its rows, so of one cell a row whose counts are no smaller is the same
    /// tests and some more. A row with smaller counts began again, and both count. Each
    /// newer row continues one row at most.
    pub fn continued_by(&self, source: &str, newer: &Self) -> Vec<u64> {
        self.continued(self.of_source(source), newer)
    }

    /// The same for all rows, where all are of one source.
    pub fn continued_in(&self, newer: &Self) -> Vec<u64> {
        self.continued((0..self.rows()).collect(), newer)
    }

    fn continued(&self, positions: Vec<u64>, newer: &Self) -> Vec<u64> {
        let mut waiting = BTreeMap::<&Cell, Vec<&Counts>>::new();
        for row in &newer.rows {
            waiting.entry(&row.cell).or_default().push(row);
        }
        let mut losers = Vec::new();
        for at in positions {
            let Some(row) = self.rows.get(at as usize) else {
                continue;
            };
            let Some(waiting) = waiting.get_mut(&row.cell) else {
                continue;
            };
            if let Some(found) = waiting.iter().position(|newer| newer.continues(row)) {
                waiting.swap_remove(found);
                losers.push(at);
            }
        }
        losers
    }
}

impl Counts {
    /// Whether this row is an older one, counted on.
    fn continues(&self, older: &Self) -> bool {
        let counts = |row: &Self| [row.total, row.success, row.partial, row.full.unwrap_or(0)];
        self.cell == older.cell
            && counts(self)
                .iter()
                .zip(counts(older))
                .all(|(new, old)| *new >= old)
    }

    fn tally(&self, convention: Convention) -> Tally {
        let full = self.full.unwrap_or(match convention {
            Convention::FullOnly => self.success,
            _ => self.success.saturating_sub(self.partial),
        });
        let full = full.min(self.total);
        let partial = self.partial.min(self.total - full);
        Tally {
            full,
            partial,
            unscored: self.tally.unscored.min(self.total - full - partial),
            ..self.tally.clone()
        }
    }
}

/// For which meaning of `success` a row speaks: 1 for full alone, −1 for full and
/// partial, `None` where it says nothing.
fn vote(row: &Counts) -> Option<i64> {
    if row.partial == 0 || row.total == 0 {
        return None;
    }
    if let Some(full) = row.full {
        return match row.success {
            success if success == full => Some(1),
            success if success == full + row.partial => Some(-1),
            _ => None,
        };
    }
    let (success, partial, total) = (row.success as f64, row.partial as f64, row.total as f64);
    let distance = |full: f64| {
        row.weighted
            .map(|stored| ((full + 0.5 * partial) / total - stored).abs())
    };
    let (alone, both) = (distance(success)?, distance(success - partial)?);
    // The two differ by partial / total; a stale score is near neither.
    let near = 0.25 * partial / total;
    match () {
        () if alone < near => Some(1),
        () if both < near => Some(-1),
        () => None,
    }
}

/// The columns of a batch of summary rows.
struct Reader {
    texts: Vec<(&'static str, arrow::array::StringArray)>,
    numbers: Vec<(&'static str, Float64Array)>,
    /// Texts that were reported before: most rows share them.
    known: RefCell<HashSet<Arc<str>>>,
}

impl Reader {
    fn new(batch: &RecordBatch) -> Result<Self> {
        let mut reader = Self {
            texts: Vec::new(),
            numbers: Vec::new(),
            known: RefCell::default(),
        };
        for name in NAMES {
            let Some(column) = batch.column_by_name(name) else {
                continue;
            };
            if matches!(
                name,
                "model" | "prompt_type" | "difficulty" | "task_type" | SOURCE
            ) {
                reader.texts.push((name, text_column(column)?));
                continue;
            }
            if *column.data_type() == DataType::Utf8 || *column.data_type() == DataType::Null {
                continue;
            }
            let doubles = cast(column, &DataType::Float64).map_err(|e| {
                Error::Refused(format!("column '{name}' of a summary can't be read: {e}"))
            })?;
            reader
                .numbers
                .push((name, doubles.as_primitive::<Float64Type>().clone()));
        }
        Ok(reader)
    }

    fn text(&self, name: &str, row: usize) -> Arc<str> {
        let column = self
            .texts
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, column)| column);
        let value = column
            .filter(|c| c.is_valid(row))
            .map(|c| c.value(row))
            .filter(|v| !v.is_empty());
        self.shared(value.unwrap_or(UNKNOWN))
    }

    fn shared(&self, text: &str) -> Arc<str> {
        let mut known = self.known.borrow_mut();
        if let Some(text) = known.get(text) {
            return Arc::clone(text);
        }
        let text: Arc<str> = text.into();
        known.insert(Arc::clone(&text));
        text
    }

    fn source(&self, row: usize) -> Option<Arc<str>> {
        let (_, column) = self.texts.iter().find(|(name, _)| *name == SOURCE)?;
        column.is_valid(row).then(|| self.shared(column.value(row)))
    }

    fn number(&self, name: &str, row: usize) -> Option<f64> {
        let (_, column) = self.numbers.iter().find(|(n, _)| *n == name)?;
        column
            .is_valid(row)
            .then(|| column.value(row))
            .filter(|v| v.is_finite())
    }

    /// A count; negative and absurd ones are nonsense and are cut.
    fn count(&self, name: &str, row: usize) -> u64 {
        self.number(name, row)
            .map_or(0, |v| v.clamp(0.0, 1e12).round() as u64)
    }

    fn counts(&self, row: usize) -> Counts {
        let count = |name| self.count(name, row);
        let success = count("success").max(count("successful"));
        let partial = count("partial").max(count("partial_success"));
        let full = Some(count("full_success")).filter(|full| *full > 0);
        let sum = full
            .unwrap_or(0)
            .max(success)
            .saturating_add(count("failed"))
            .saturating_add(count("unscored"));
        let total = Some(count("total"))
            .filter(|total| *total > 0)
            .unwrap_or(sum);
        let mean = |name| Sum::weighted(self.number(name, row), total);
        let mut tally = Tally {
            tests: total,
            unscored: count("unscored"),
            execution_time: mean("avg_execution_time"),
            turns: mean("avg_turns"),
            tool_calls: mean("avg_tool_calls"),
            tool_coverage_rate: mean("tool_coverage_rate"),
            ..Tally::default()
        };
        for (name, category) in ERRORS {
            if let Some(errors) = tally.errors.get_mut(category as usize) {
                *errors = count(name);
            }
        }
        Counts {
            source: self.source(row),
            cell: Cell {
                model: self.text("model", row),
                prompt_type: self.text("prompt_type", row),
                tool_success_rate: self.number("tool_success_rate", row).and_then(Rate::new),
                difficulty: self.text("difficulty", row),
                task_type: self.text("task_type", row),
            },
            total,
            success,
            partial,
            full,
            weighted: self.number("weighted_success_score", row),
            tally,
        }
    }
}

#[cfg(test)]
mod tests;
