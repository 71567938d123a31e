//! The tests that two models, or two prompt types, both had.
//!
//! A test is known by its `task_id`, or by its `test_id` where it has none, within
//! its cell without the compared dimension; tests with one `task_id` in several cells
//! are one cluster. Rows with neither, and summary rows,
//! have no partner. Memory grows with the tests of the two sides, about 50 bytes each.

use std::collections::HashMap;

use super::{Control, Filter, Result, Selection, Store, rows};
use crate::stats::paired::Pair;
use crate::store::digest::Columns;
use crate::store::schema::DIMENSIONS;

/// The dimension whose values are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Side {
    /// Two models.
    #[default]
    Model,
    /// Two prompt types.
    PromptType,
}

impl Side {
    /// The column.
    pub fn column(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::PromptType => "prompt_type",
        }
    }
}

/// Every test of `first` and `second` among the matching records, for
/// [`crate::stats::paired::compare`]. What the filter says of the compared dimension
/// is set aside; rows that nothing identifies come as pairs without a partner.
pub fn pairs(
    store: &Store,
    filter: &Filter,
    side: Side,
    [first, second]: [&str; 2],
    control: &Control,
) -> Result<Vec<Pair>> {
    let mut filter = filter.clone();
    let wanted = vec![first.to_owned(), second.to_owned()];
    match side {
        Side::Model => filter.models = wanted,
        Side::PromptType => filter.prompt_types = wanted,
    }
    let columns =
        ["test_id", "task_id", "success"].into_iter().chain(DIMENSIONS).map(str::to_owned).collect();
    let selection = Selection { filter, columns: Some(columns), ..Selection::default() };
    let mut tests: HashMap<u128, Pair> = HashMap::new();
    let mut unknown = Pair::default();
    for batch in rows(store, &selection, control)? {
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        for row in 0..batch.num_rows() {
            let pair = match columns.task_key(row, side.column()) {
                Some(key) => {
                    let task = columns.task(row);
                    tests.entry(key).or_insert_with(|| Pair { task, ..Pair::default() })
                }
                None => &mut unknown,
            };
            let full = columns.truth("success", row) == Some(true);
            let own = columns.dimension(side.column(), row);
            if own == first {
                pair.first.add(full);
            }
            if own == second {
                pair.second.add(full);
            }
        }
    }
    // Nothing says that these are the same tests on both sides.
    let alone = [
        Pair { first: unknown.first, ..Pair::default() },
        Pair { second: unknown.second, ..Pair::default() },
    ];
    Ok(tests.into_values().chain(alone).collect())
}
