//! Filtered rows and grouped tallies of a snapshot. Never changes the store.

use jiff::Timestamp;

use crate::stats::Rate;

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
}
