//! The tests that two models, or two prompt types, both had.
//!
//! A test is known by its `task_id`, or by its `test_id` where it has none, within
//! its cell without the compared dimension; tests with one `task_id` in several cells
//! are one cluster. Rows with neither, and summary rows,
//! have no partner. Unscored tests are left out. Memory is bounded, however many tests there are.

use super::{Control, Filter, Result, Selection, Store, rows};
use crate::limits::LIMITS;
use crate::stats::paired::{Pair, Trials};
use crate::store::aggregate::Columns;
use crate::store::aggregate::external::Gather;
use crate::store::format::schema::DIMENSIONS;

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
/// [`crate::stats::paired::compare`], those of a task together. What the filter says of the
/// compared dimension is set aside; rows that nothing identifies come as pairs without a partner.
pub fn pairs(
    store: &Store,
    filter: &Filter,
    side: Side,
    [first, second]: [&str; 2],
    control: &Control,
) -> Result<impl Iterator<Item = Result<Pair>> + use<>> {
    let mut filter = filter.clone();
    let wanted = vec![first.to_owned(), second.to_owned()];
    match side {
        Side::Model => filter.models = wanted,
        Side::PromptType => filter.prompt_types = wanted,
    }
    let columns = ["test_id", "task_id", "success"]
        .into_iter()
        .chain(DIMENSIONS)
        .map(str::to_owned)
        .collect();
    let selection = Selection {
        filter,
        columns: Some(columns),
        ..Selection::default()
    };
    let mut tests = Gather::new(
        LIMITS.held_tests,
        |pair: &mut [Trials; 2], more: [Trials; 2]| {
            for (trials, more) in pair.iter_mut().zip(more) {
                trials.add_all(more);
            }
        },
    );
    let mut unknown = [Trials::default(); 2];
    for batch in rows(store, &selection, control)? {
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        for row in 0..batch.num_rows() {
            let Some(full) = columns.truth("success", row) else {
                continue;
            };
            let pair = match columns.task_key(row, side.column()) {
                Some(key) => tests.of((columns.task(row), key))?,
                None => &mut unknown,
            };
            let [on_first, on_second] = pair;
            let own = columns.dimension(side.column(), row);
            if own == first {
                on_first.add(full);
            }
            if own == second {
                on_second.add(full);
            }
        }
    }
    // Nothing says that these are the same tests on both sides.
    let [first, second] = unknown;
    let alone = [
        Pair {
            first,
            ..Pair::default()
        },
        Pair {
            second,
            ..Pair::default()
        },
    ];
    let pairs = tests.finish()?.map(|test| {
        let ((task, _), [first, second]) = test?;
        Ok(Pair {
            first,
            second,
            task,
        })
    });
    Ok(pairs.chain(alone.map(Ok)))
}
