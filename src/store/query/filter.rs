//! Whether a row matches.

use super::Filter;
use crate::stats::{Cell, Rate};
use crate::store::digest::Columns;

impl Filter {
    /// The text dimensions and the values that are asked for.
    pub(super) fn texts(&self) -> [(&'static str, &[String]); 4] {
        [
            ("model", &self.models),
            ("prompt_type", &self.prompt_types),
            ("difficulty", &self.difficulties),
            ("task_type", &self.task_types),
        ]
    }

    /// Whether tests of a cell match, whenever they were.
    pub fn matches_cell(&self, cell: &Cell) -> bool {
        let own = [&cell.model, &cell.prompt_type, &cell.difficulty, &cell.task_type];
        self.texts().into_iter().zip(own).all(|((_, wanted), own)| accepts(wanted, own))
            && self.accepts_rate(cell.tool_success_rate)
    }

    /// Whether a row of an adapted batch matches.
    pub(super) fn matches(&self, columns: &Columns, row: usize) -> bool {
        self.texts().into_iter().all(|(name, wanted)| accepts(wanted, columns.dimension(name, row)))
            && self.accepts_rate(columns.rate(row))
            && self.accepts_time(columns.timestamp(row))
    }

    fn accepts_rate(&self, rate: Option<Rate>) -> bool {
        self.tool_success_rates.is_empty() || rate.is_some_and(|rate| self.tool_success_rates.contains(&rate))
    }

    fn accepts_time(&self, time: Option<i64>) -> bool {
        self.since.is_none_or(|since| time.is_some_and(|time| time >= since.as_microsecond()))
            && self.until.is_none_or(|until| time.is_some_and(|time| time < until.as_microsecond()))
    }
}

fn accepts(wanted: &[String], own: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|value| value == own)
}
