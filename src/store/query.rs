//! Filtered rows and grouped tallies of a snapshot. Never changes the store.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

pub use super::filter::Filter;
use super::snapshot::{Depth, Scanner, retrying};
use super::{Control, Result, Store};
use crate::stats::Tally;

mod copy;
mod group;
mod ordered;
mod pairs;
mod part;
mod rows;

pub use group::{grouped, spreads};
pub use pairs::{Side, pairs};
pub use rows::{Rows, rows};

/// What is wanted of the rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Selection {
    /// Which rows.
    pub filter: Filter,
    /// Which columns, in this order; `None` for all.
    pub columns: Option<Vec<String>>,
    /// At most so many rows.
    pub limit: Option<u64>,
    /// Summary rows instead of records.
    pub summaries: bool,
}

/// One value of a group column.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupValue {
    /// Text; a missing one reads "unknown".
    Text(String),
    /// A rate of successful tool calls; `None` where it is missing.
    Rate(Option<f64>),
}

/// One group of tests.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The values of the group columns, in the order asked for.
    pub values: Vec<GroupValue>,
    /// Its counts and sums; the interval comes from [`crate::stats::interval`].
    pub tally: Tally,
}

/// Which of some tests ([`crate::store::digest::key`]) the store has, with the
/// timestamp and the hash of the newest attempt.
#[allow(clippy::implicit_hasher)] // one caller's set
pub fn existing(
    store: &Store,
    keys: &HashSet<u128>,
    control: &Control,
) -> Result<HashMap<u128, (Option<i64>, u64)>> {
    retrying(store, || {
        let mut scanner = Scanner::new();
        let view = scanner.view(store, Timestamp::now(), Depth::Rows(&Filter::default()), control)?;
        scanner.attempts(&view, keys, control)
    })
}

#[cfg(test)]
mod tests;
