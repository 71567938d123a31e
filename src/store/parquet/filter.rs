//! Which rows are meant, and whether one of them is.

use jiff::Timestamp;

use crate::expr::Expr;
use crate::stats::{Cell, Rate};
use crate::store::aggregate::Columns;

/// Which rows. Several values of one dimension are alternatives; empty means all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Models.
    pub models: Vec<String>,
    /// Prompt types.
    pub prompt_types: Vec<String>,
    /// Rates of successful tool calls.
    pub tool_success_rates: Vec<Rate>,
    /// Difficulties.
    pub difficulties: Vec<String>,
    /// Kinds of task.
    pub task_types: Vec<String>,
    /// Rows at or after.
    pub since: Option<Timestamp>,
    /// Rows before.
    pub until: Option<Timestamp>,
    /// Of these rows, the ones that fulfil it.
    pub condition: Option<Box<Expr>>,
}

impl Filter {
    /// The text dimensions and the values that are asked for.
    pub(crate) fn texts(&self) -> [(&'static str, &[String]); 4] {
        [
            ("model", &self.models),
            ("prompt_type", &self.prompt_types),
            ("difficulty", &self.difficulties),
            ("task_type", &self.task_types),
        ]
    }

    /// The same without its range of time and its condition: it chooses whole cells, and so all attempts
    /// at a test or none.
    pub(crate) fn of_cells(&self) -> Self {
        Self {
            since: None,
            until: None,
            condition: None,
            ..self.clone()
        }
    }

    /// Whether tests of a cell match, whenever they were and whatever the condition is.
    pub fn matches_cell(&self, cell: &Cell) -> bool {
        let own = [
            &cell.model,
            &cell.prompt_type,
            &cell.difficulty,
            &cell.task_type,
        ];
        self.texts()
            .into_iter()
            .zip(own)
            .all(|((_, wanted), own)| accepts(wanted, own))
            && self.accepts_rate(cell.tool_success_rate)
    }

    /// Whether a row of an adapted batch matches, whatever the condition is.
    pub(crate) fn matches(&self, columns: &Columns, row: usize) -> bool {
        self.texts()
            .into_iter()
            .all(|(name, wanted)| accepts(wanted, columns.dimension(name, row)))
            && self.accepts_rate(columns.rate(row))
            && self.accepts_time(columns.timestamp(row))
    }

    fn accepts_rate(&self, rate: Option<Rate>) -> bool {
        self.tool_success_rates.is_empty()
            || rate.is_some_and(|rate| self.tool_success_rates.contains(&rate))
    }

    fn accepts_time(&self, time: Option<i64>) -> bool {
        self.since
            .is_none_or(|since| time.is_some_and(|time| time >= since.as_microsecond()))
            && self
                .until
                .is_none_or(|until| time.is_some_and(|time| time < until.as_microsecond()))
    }
}

fn accepts(wanted: &[String], own: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|value| value == own)
}
