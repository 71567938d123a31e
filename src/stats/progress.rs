//! How far a planned run is: tests expected by cell against those that are there. What
//! a cell has beyond its plan is not progress elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Cell, Cells};

/// What is expected of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// So many tests in all.
    Tests(u64),
    /// So many tests of each cell.
    Cells(Arc<BTreeMap<Cell, u64>>),
}

impl Expected {
    /// Tests in all.
    pub fn tests(&self) -> u64 {
        match self {
            Self::Tests(tests) => *tests,
            Self::Cells(cells) => cells.values().sum(),
        }
    }
}

/// Tests planned and done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Planned.
    pub planned: u64,
    /// Of those, there.
    pub done: u64,
}

impl Part {
    /// Still to come.
    pub fn left(&self) -> u64 {
        self.planned.saturating_sub(self.done)
    }
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunProgress {
    /// In all.
    pub total: Part,
    /// By model, where the plan names models.
    pub models: BTreeMap<Arc<str>, Part>,
}

impl RunProgress {
    /// Of the tests that are there; `total` is their number.
    pub fn of(expected: &Expected, cells: &Cells, total: u64) -> Self {
        let mut progress = Self::default();
        match expected {
            Expected::Tests(planned) => {
                progress.total = Part {
                    planned: *planned,
                    done: total.min(*planned),
                };
            }
            Expected::Cells(plan) => {
                for (cell, planned) in &**plan {
                    let done = cells.get(cell).map_or(0, |tally| tally.tests).min(*planned);
                    for part in [
                        &mut progress.total,
                        progress.models.entry(cell.model.clone()).or_default(),
                    ] {
                        part.planned += planned;
                        part.done += done;
                    }
                }
            }
        }
        progress
    }

    /// Whether every planned test is there.
    pub fn is_done(&self) -> bool {
        self.total.left() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Tally;

    fn cell(model: &str, difficulty: &str) -> Cell {
        Cell {
            model: model.into(),
            prompt_type: "p".into(),
            tool_success_rate: None,
            difficulty: difficulty.into(),
            task_type: "t".into(),
        }
    }

    #[test]
    fn what_is_beyond_the_plan_of_a_cell_is_no_progress_elsewhere() {
        let plan = BTreeMap::from([
            (cell("a", "easy"), 10),
            (cell("a", "hard"), 10),
            (cell("b", "easy"), 5),
        ]);
        let tests = |tests| Tally {
            tests,
            ..Tally::default()
        };
        let mut cells: Cells = [
            (cell("a", "easy"), tests(14)),
            (cell("a", "hard"), tests(3)),
            (cell("c", "easy"), tests(99)),
        ]
        .into_iter()
        .collect();
        let expected = Expected::Cells(Arc::new(plan));
        let found = RunProgress::of(&expected, &cells, 116);
        assert_eq!(
            found.total,
            Part {
                planned: 25,
                done: 13
            }
        );
        assert_eq!(
            found.models["a"],
            Part {
                planned: 20,
                done: 13
            }
        );
        assert_eq!(
            (
                found.models["b"].left(),
                found.models.len(),
                found.is_done()
            ),
            (5, 2, false)
        );
        cells.add(&cell("a", "hard"), &tests(7));
        cells.add(&cell("b", "easy"), &tests(6));
        assert!(RunProgress::of(&expected, &cells, 129).is_done());
    }

    #[test]
    fn a_number_of_tests_is_met_by_any() {
        let found = RunProgress::of(&Expected::Tests(100), &Cells::default(), 120);
        assert_eq!(
            found.total,
            Part {
                planned: 100,
                done: 100
            }
        );
        assert!(found.is_done() && found.models.is_empty());
    }
}
