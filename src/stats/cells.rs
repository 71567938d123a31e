//! The tallies of many cells, of which copies are cheap: a copy shares what is not changed
//! in it, but for a few cells around each that is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Cell, Tally};

/// Tallies by cell, in the order of the cells.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Cells {
    models: BTreeMap<Arc<str>, Arc<OfModel>>,
}

/// Cells that are copied at once when one of them changes.
const CHUNK: usize = 32;

/// The cells of one model, sorted, in chunks of a few; none is empty.
#[derive(Debug, Clone, Default)]
pub struct OfModel {
    chunks: Vec<Arc<Vec<(Cell, Tally)>>>,
    sum: Tally,
}

impl PartialEq for OfModel {
    /// How the cells lie in chunks says in which order they came, and no more.
    fn eq(&self, other: &Self) -> bool {
        self.sum == other.sum && self.iter().eq(other.iter())
    }
}

impl OfModel {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Cell, &Tally)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter().map(|(cell, tally)| (cell, tally)))
    }

    /// The sum of their tallies.
    pub fn sum(&self) -> &Tally {
        &self.sum
    }

    /// The chunk in which a cell is, or would be, and its place there.
    fn place(&self, cell: &Cell) -> (usize, Result<usize, usize>) {
        let first =
            |chunk: &Arc<Vec<(Cell, Tally)>>| chunk.first().is_some_and(|(first, _)| first <= cell);
        let at = self.chunks.partition_point(first).saturating_sub(1);
        let chunk = self
            .chunks
            .get(at)
            .map(|chunk| chunk.as_slice())
            .unwrap_or_default();
        (at, chunk.binary_search_by(|(known, _)| known.cmp(cell)))
    }

    fn get(&self, cell: &Cell) -> Option<&Tally> {
        let (at, place) = self.place(cell);
        self.chunks
            .get(at)?
            .get(place.ok()?)
            .map(|(_, tally)| tally)
    }

    fn add(&mut self, cell: &Cell, tally: &Tally) {
        self.sum.add(tally);
        let (at, place) = self.place(cell);
        let Some(chunk) = self.chunks.get_mut(at).map(Arc::make_mut) else {
            return self
                .chunks
                .push(Arc::new(vec![(cell.clone(), tally.clone())]));
        };
        match place {
            Ok(place) => chunk
                .get_mut(place)
                .into_iter()
                .for_each(|(_, sum)| sum.add(tally)),
            Err(place) if chunk.len() < CHUNK => chunk.insert(place, (cell.clone(), tally.clone())),
            Err(place) => {
                // What comes in its order fills the chunks.
                let half = if place == CHUNK { CHUNK } else { CHUNK / 2 };
                let mut rest = chunk.split_off(half);
                let (to, place) = if place < half {
                    (chunk, place)
                } else {
                    (&mut rest, place - half)
                };
                to.insert(place, (cell.clone(), tally.clone()));
                self.chunks.insert(at + 1, Arc::new(rest));
            }
        }
    }

    fn subtract(&mut self, cell: &Cell, tally: &Tally) {
        let (at, Ok(place)) = self.place(cell) else {
            return;
        };
        let Some(chunk) = self.chunks.get_mut(at).map(Arc::make_mut) else {
            return;
        };
        let Some((_, sum)) = chunk.get_mut(place) else {
            return;
        };
        sum.subtract(tally);
        self.sum.subtract(tally);
        if sum.tests == 0 {
            let (_, rest) = chunk.remove(place);
            self.sum.subtract(&rest);
            if chunk.is_empty() {
                self.chunks.remove(at);
            }
        }
    }
}

impl Cells {
    /// Adds a tally to its cell.
    pub fn add(&mut self, cell: &Cell, tally: &Tally) {
        let of_model = match self.models.get_mut(&cell.model) {
            Some(of_model) => of_model,
            None => self.models.entry(Arc::clone(&cell.model)).or_default(),
        };
        Arc::make_mut(of_model).add(cell, tally);
    }

    /// Takes out what was added before; a cell without tests goes.
    pub fn subtract(&mut self, cell: &Cell, tally: &Tally) {
        let Some(of_model) = self.models.get_mut(&cell.model) else {
            return;
        };
        let of_model = Arc::make_mut(of_model);
        of_model.subtract(cell, tally);
        if of_model.chunks.is_empty() {
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
    pub fn models(&self) -> impl Iterator<Item = (&Arc<str>, &OfModel)> {
        self.models
            .iter()
            .map(|(model, of_model)| (model, &**of_model))
    }

    /// The cells of one model.
    pub fn of_model(&self, model: &str) -> impl Iterator<Item = (&Cell, &Tally)> {
        self.models
            .get(model)
            .into_iter()
            .flat_map(|of_model| of_model.iter())
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
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In whatever order cells come and go, what is there is theirs, sorted, and so is its sum.
        #[test]
        fn chunks_hold_what_a_map_holds(steps in prop::collection::vec((0_u32..200, any::<bool>()), 0..600)) {
            let (mut cells, mut map) = (Cells::default(), BTreeMap::new());
            for (at, goes) in steps {
                let cell = cell(["a", "b"][at as usize % 2], &format!("{at:03}"));
                match map.get_mut(&cell) {
                    Some(known) if goes => {
                        let tally = std::mem::take(known);
                        cells.subtract(&cell, &tally);
                        map.remove(&cell);
                    }
                    known => {
                        cells.add(&cell, &tests(u64::from(at) + 1));
                        match known {
                            Some(known) => known.tests += u64::from(at) + 1,
                            None => drop(map.insert(cell, tests(u64::from(at) + 1))),
                        }
                    }
                }
            }
            prop_assert!(cells.iter().eq(map.iter()));
            prop_assert!(map.iter().all(|(cell, tally)| cells.get(cell) == Some(tally)));
            let sorted: Cells = map.clone().into_iter().collect();
            prop_assert_eq!(&sorted, &cells, "however they lie in chunks");
            for (model, of_model) in cells.models() {
                let sum: u64 = map.iter().filter(|(cell, _)| cell.model == *model).map(|(_, t)| t.tests).sum();
                prop_assert_eq!(of_model.sum().tests, sum);
                prop_assert!(of_model.chunks.iter().all(|chunk| (1..=CHUNK).contains(&chunk.len())));
            }
        }
    }

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
        Tally {
            tests,
            ..Tally::default()
        }
    }

    #[test]
    fn a_copy_shares_all_chunks_but_those_that_change() {
        let task = |at: u64| format!("{:03}", at * 7 % 1_000);
        let mut after = Cells::default();
        (0..1_000).for_each(|at| after.add(&cell("a", &task(at)), &tests(at + 1)));
        let before = after.clone();
        after.add(&cell("a", "500"), &tests(8));
        after.subtract(&cell("a", "000"), &tests(1));
        let chunks = |cells: &Cells| cells.models["a"].chunks.clone();
        let (before, after) = (chunks(&before), chunks(&after));
        let same = before
            .iter()
            .zip(&after)
            .filter(|(one, other)| Arc::ptr_eq(one, other))
            .count();
        assert_eq!((after.len(), same), (before.len(), before.len() - 2));
        assert!(
            before.len() < 1_000 / (CHUNK / 2),
            "{} chunks",
            before.len()
        );
    }

    #[test]
    fn a_copy_shares_what_is_not_changed_in_it() {
        let all = [("a", "x", 1), ("b", "x", 2), ("b", "y", 4)];
        let before: Cells = all
            .map(|(model, task, n)| (cell(model, task), tests(n)))
            .into_iter()
            .collect();
        let mut after = before.clone();
        after.add(&cell("b", "x"), &tests(8));
        assert_eq!(
            before.values().map(|tally| tally.tests).collect::<Vec<_>>(),
            [1, 2, 4]
        );
        assert_eq!(
            after.values().map(|tally| tally.tests).collect::<Vec<_>>(),
            [1, 10, 4]
        );
        assert!(Arc::ptr_eq(&before.models["a"], &after.models["a"]));
        assert!(!Arc::ptr_eq(&before.models["b"], &after.models["b"]));
    }

    #[test]
    fn what_is_taken_out_whole_is_gone() {
        let mut cells: Cells = [(cell("a", "x"), tests(3)), (cell("a", "y"), tests(1))]
            .into_iter()
            .collect();
        cells.subtract(&cell("a", "y"), &tests(1));
        cells.subtract(&cell("other", "y"), &tests(1));
        assert_eq!(cells.keys().collect::<Vec<_>>(), [&cell("a", "x")]);
        cells.subtract(&cell("a", "x"), &tests(2));
        assert_eq!(cells.get(&cell("a", "x")), Some(&tests(1)));
        cells.subtract(&cell("a", "x"), &tests(1));
        assert_eq!(cells, Cells::default());
    }
}
