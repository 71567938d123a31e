//! Filtered rows and grouped tallies of a snapshot. Never changes the store.
//!
//! ```
//! use evaltop::internals::store::Control;
//! use evaltop::internals::store::read::query::{Filter, Selection, grouped, rows};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use evaltop::internals::store::write::writer::{Writer, WriterOptions};
//! # use evaltop::internals::store::{Record, Store};
//! # let folder = tempfile::tempdir()?;
//! # let store = Store::new(folder.path().join("my_store"));
//! # let mut writer = Writer::open(&store, WriterOptions::default())?;
//! # for n in 0..20 {
//! #     let model = if n % 2 == 0 { "large" } else { "small" };
//! #     let task_id = Some(format!("book-{}", n / 2));
//! #     writer.append(Record { model: model.into(), task_id, success: Some(n != 3), ..Record::default() })?;
//! # }
//! # writer.close()?;
//! let by = ["model".to_owned()];
//! let groups = grouped(&store, &Filter::default(), &by, &Control::default())?;
//! let full: Vec<u64> = groups.iter().map(|group| group.tally.full).collect();
//! assert_eq!(full, [10, 9]); // large, small
//!
//! let filter = Filter { models: vec!["small".to_owned()], ..Filter::default() };
//! let columns = Some(vec!["test_id".to_owned(), "success".to_owned()]);
//! let selection = Selection { filter, columns, ..Selection::default() };
//! let mut count = 0;
//! for batch in rows(&store, &selection, &Control::default())? {
//!     count += batch?.num_rows(); // Batches of Arrow, so that no store is too large.
//! }
//! assert_eq!(count, 10);
//! # Ok(())
//! # }
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::snapshot::{Depth, Scanner, retrying};
use crate::stats::Tally;
use crate::stats::interval::{self, Interval};
pub use crate::store::parquet::filter::Filter;
use crate::store::resolve::{Rank, Removed};
use crate::store::{Control, Result, Store};

pub mod aggregation;
mod computed;
pub mod contrast;
mod copy;
mod group;
mod ordered;
mod pairs;
mod part;
mod rows;
pub mod sessions;
pub mod spending;
mod words;

pub(crate) use computed::DERIVED_COST;
pub use group::{grouped, spreads};
pub use pairs::{Side, pairs};
pub(crate) use rows::rows_chosen;
pub use rows::{Rows, columns, rows};

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
    /// Text may come as dictionaries, whatever the schema says: cheaper to group.
    pub keyed: bool,
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
    /// Its counts and sums.
    pub tally: Tally,
    /// How many tests it is worth where it is all of one model and tasks of that repeat
    /// ([`crate::stats::clusters`]).
    pub effective: Option<f64>,
}

impl Group {
    /// The 95 % interval of its success rate.
    pub fn interval(&self) -> Option<Interval> {
        match (self.effective, self.tally.success_rate()) {
            (Some(effective), Some(rate)) => Some(interval::wilson_of(rate, effective)),
            _ => interval::wilson(self.tally.full, self.tally.judged()),
        }
    }
}

/// Which of some tests (`format::key`) the store has, with the
/// timestamp and the hash of the newest attempt.
#[allow(clippy::implicit_hasher)] // one caller's set
pub fn existing(
    store: &Store,
    keys: &HashSet<u128>,
    control: &Control,
) -> Result<HashMap<u128, Rank>> {
    Ok(known(store, keys, control)?.newest)
}

/// What a store knows of some tests.
#[derive(Debug)]
pub(crate) struct Known {
    /// The newest attempts at those that it has.
    pub(crate) newest: HashMap<u128, Rank>,
    /// What was removed on purpose, of these tests and of others.
    pub(crate) removed: Arc<Removed>,
    /// The zone of times that name none.
    pub(crate) zone: TimeZone,
}

/// What a store knows of some tests (`format::key`).
pub(crate) fn known(store: &Store, keys: &HashSet<u128>, control: &Control) -> Result<Known> {
    let mut scanner = Scanner::new();
    retrying(store, || {
        let view = scanner.view(
            store,
            Timestamp::now(),
            Depth::Rows(&Filter::default()),
            control,
        )?;
        Ok(Known {
            newest: scanner.attempts(store, &view, keys, control)?,
            removed: Arc::clone(&view.files.removed),
            zone: view.files.zone,
        })
    })
}

#[cfg(test)]
mod tests;
