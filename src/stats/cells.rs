//! The tallies of many cells, of which copies are cheap: a copy shares every model that
//! is not changed in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Cell, Tally};

/// Tallies by cell, in the order of the cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cells {
    models: BTreeMap<Arc<str>, Arc<BTreeMap<Cell, Tally>>>,
}

impl Cells {
    /// Adds a tally to its cell.
    pub fn add(&mut self, cell: &Cell, tally: &Tally) {
        let of_model = match self.models.get_mut(&cell.model) {
            Some(of_model) => of_model,
            None => self.models.entry(Arc::clone(&cell.model)).or_default(),
        };
        let of_model = Arc::make_mut(of_model);
        match of_model.get_mut(cell) {
            Some(sum) => sum.add(tally),
            None => {
                of_model.insert(cell.clone(), tally.clone());
            }
        }
    }

    /// Takes out what was added before; a cell without tests goes.
    pub fn subtract(&mut self, cell: &Cell, tally: &Tally) {
        let Some(of_model) = self.models.get_mut(&cell.model) else { return };
        let of_model = Arc::make_mut(of_model);
        let Some(sum) = of_model.get_mut(cell) else { return };
        sum.subtract(tally);
        if sum.tests == 0 {
            of_model.remove(cell);
        }
        if of_model.is_empty() {
            self.models.remove(&cell.model);
        }
    }

    /// The tally of a cell.
    pub fn get(&self, cell: &Cell) -> Option<&Tally> {
        self.models.get(&cell.model)?.get(cell)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Cell, &Tally)> {
        self.models.values().flat_map(|of_model| of_model.iter())
    }

    /// The cells.
    pub fn keys(&self) -> impl Iterator<Item = &Cell> {
        self.iter().map(|(cell, _)| cell)
    }

    /// The tallies.
    pub fn values(&self) -> impl Iterator<Item = &Tally> {
        self.iter().map(|(_, tally)| tally)
    }

    /// Each model with its cells.
    pub fn models(&self) -> impl Iterator<Item = (&Arc<str>, &BTreeMap<Cell, Tally>)> {
        self.models.iter().map(|(model, of_model)| (model, &**of_model))
    }

    /// The cells of one model.
    pub fn of_model(&self, model: &str) -> impl Iterator<Item = (&Cell, &Tally)> {
        self.models.get(model).into_iter().flat_map(|of_model| of_model.iter())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }
}

impl FromIterator<(Cell, Tally)> for Cells {
    fn from_iter<I: IntoIterator<Item = (Cell, Tally)>>(all: I) -> Self {
        let mut cells = Self::default();
        for (cell, tally) in all {
            cells.add(&cell, &tally);
        }
        cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(model: &str, task: &str) -> Cell {
        Cell {
            model: model.into(),
            prompt_type: "p".into(),
            tool_success_rate: None,
            difficulty: "d".into(),
            task_type: task.into(),
        }
    }

    fn tests(tests: u64) -> Tally {
        Tally { tests, ..Tally::default() }
    }

    #[test]
    fn a_copy_shares_what_is_not_changed_in_it() {
        let all = [("a", "x", 1), ("b", "x", 2), ("b", "y", 4)];
        let before: Cells = all.map(|(model, task, n)| (cell(model, task), tests(n))).into_iter().collect();
        let mut after = before.clone();
        after.add(&cell("b", "x"), &tests(8));
        assert_eq!(before.values().map(|tally| tally.tests).collect::<Vec<_>>(), [1, 2, 4]);
        assert_eq!(after.values().map(|tally| tally.tests).collect::<Vec<_>>(), [1, 10, 4]);
        assert!(Arc::ptr_eq(&before.models["a"], &after.models["a"]));
        assert!(!Arc::ptr_eq(&before.models["b"], &after.models["b"]));
    }

    #[test]
    fn what_is_taken_out_whole_is_gone() {
        let mut cells: Cells = [(cell("a", "x"), tests(3)), (cell("a", "y"), tests(1))].into_iter().collect();
        cells.subtract(&cell("a", "y"), &tests(1));
        cells.subtract(&cell("other", "y"), &tests(1));
        assert_eq!(cells.keys().collect::<Vec<_>>(), [&cell("a", "x")]);
        cells.subtract(&cell("a", "x"), &tests(2));
        assert_eq!(cells.get(&cell("a", "x")), Some(&tests(1)));
        cells.subtract(&cell("a", "x"), &tests(1));
        assert_eq!(cells, Cells::default());
    }
}
