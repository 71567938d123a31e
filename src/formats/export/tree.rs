//! What a store knows of each cell, for the JSON database: read in bounded memory, and reported
//! model by model.

use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::limits::LIMITS;
use crate::stats::{Cell, Sum, Tally};
use crate::store::aggregate::external::{Gather, Gathered};
use crate::store::aggregate::summary::{Convention, Meanings};
use crate::store::aggregate::{Columns, text_column};
use crate::store::format::cast::cast;
use crate::store::format::schema;
use crate::store::read::query;
use crate::store::read::query::{Filter, Selection};
use crate::store::{Control, Result, Store};

/// Scores of a record; their means are `avg_<score>`.
pub(crate) const SCORES: [&str; 4] = [
    "workflow_score",
    "phase2_score",
    "quality_score",
    "final_score",
];

/// Counts that only summary rows have; they are passed on.
pub(super) const ASSISTED: [&str; 4] = [
    "tests_with_assistance",
    "assisted_success",
    "assisted_failure",
    "total_assisted_turns",
];

/// The leaves of the tree, whose records and summary rows are all read.
#[derive(Debug)]
pub struct Tree {
    leaves: Gathered<Key, Known>,
    meanings: Meanings,
    /// When the last of them changed.
    pub(super) last: Option<i64>,
}

/// How much a tree holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Leaves: one a cell.
    pub leaves: u64,
    /// Tests.
    pub tests: u64,
}

/// Of what cell, and whose: the summary rows of a source are distinguished from those of others
/// and from the records, until all that says the meaning of their `success` is read.
type Key = (Cell, Kind);

/// Records, or summary rows with the source that they may name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Kind {
    Records,
    Summaries(Option<Arc<str>>),
}

/// What is known of a cell's tests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Leaf {
    pub(crate) tally: Tally,
    pub(crate) scores: [Sum; SCORES.len()],
    /// Counts of [`ASSISTED`], from summary rows; no record has them.
    pub(super) assisted: [u64; ASSISTED.len()],
    pub(super) first: Option<i64>,
    pub(crate) last: Option<i64>,
}

/// What a source says of a cell's tests.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    leaf: Leaf,
    /// Full and partial successes, if `success` counts full ones alone.
    alone: [u64; 2],
}

impl Known {
    #[allow(clippy::needless_pass_by_value)] // as Gather wants it
    fn add(&mut self, other: Self) {
        self.leaf.add(&other.leaf);
        for (count, more) in self.alone.iter_mut().zip(other.alone) {
            *count = count.saturating_add(more);
        }
    }
}

/// Reads the matching records and summary rows. Memory is bounded: what is known of
/// further cells waits in a temporary file.
pub fn tree(store: &Store, filter: &Filter, control: &Control) -> Result<Tree> {
    let mut reading = Reading::default();
    let columns = Columns::always()
        .iter()
        .chain(&SCORES)
        .map(|name| (*name).to_owned())
        .collect();
    let records = Selection {
        filter: filter.clone(),
        columns: Some(columns),
        ..Selection::default()
    };
    let mut done = 0;
    for batch in query::rows(store, &records, control)? {
        control.check()?;
        let batch = batch?;
        reading.add_records(&batch)?;
        done += batch.num_rows() as u64;
        control.progress("reading", done, done);
    }
    let summaries = Selection {
        filter: filter.clone(),
        summaries: true,
        ..Selection::default()
    };
    for batch in query::rows(store, &summaries, control)? {
        control.check()?;
        reading.add_summaries(&batch?, &store.zone)?;
    }
    reading.finish()
}

impl Leaf {
    pub(super) fn add(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        for (sum, own) in self.scores.iter_mut().zip(&other.scores) {
            sum.add(own);
        }
        for (count, own) in self.assisted.iter_mut().zip(other.assisted) {
            *count = count.saturating_add(own);
        }
        self.last = self.last.max(other.last);
        self.first = [self.first, other.first].into_iter().flatten().min();
    }
}

/// What each summary row has next to its tally.
pub(crate) fn beside_counts(batch: &RecordBatch, zone: &TimeZone) -> Result<Vec<Leaf>> {
    let total = doubles(batch, "total");
    let means = SCORES.map(|name| doubles(batch, &format!("avg_{name}")));
    let assisted = ASSISTED.map(|name| doubles(batch, name));
    let updated = batch
        .column_by_name("last_updated")
        .map(text_column)
        .transpose()?;
    let leaf = |row: usize| {
        let tests = value(total.as_ref(), row).unwrap_or_default() as u64;
        let count = |column: &Option<Float64Array>| {
            value(column.as_ref(), row).unwrap_or_default().max(0.0) as u64
        };
        let updated = updated
            .as_ref()
            .filter(|column| column.is_valid(row))
            .map(|column| column.value(row));
        Leaf {
            scores: means
                .each_ref()
                .map(|mean| Sum::weighted(value(mean.as_ref(), row), tests)),
            assisted: assisted.each_ref().map(count),
            last: updated.and_then(|time| schema::parse_time(time, zone)),
            ..Leaf::default()
        }
    };
    Ok((0..batch.num_rows()).map(leaf).collect())
}

/// A tree of which not everything is read.
struct Reading {
    leaves: Gather<Key, Known>,
    meanings: Meanings,
    last: Option<i64>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            leaves: Gather::new(LIMITS.held_cells, Known::add),
            meanings: Meanings::default(),
            last: None,
        }
    }
}

impl Reading {
    fn add_records(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = Columns::new(batch)?;
        let scores = SCORES.map(|name| doubles(batch, name));
        for row in 0..batch.num_rows() {
            let leaf = &mut self.leaves.of((columns.cell(row), Kind::Records))?.leaf;
            leaf.tally.add(&columns.outcome(row).tally());
            for (sum, score) in leaf.scores.iter_mut().zip(&scores) {
                sum.add(&Sum::of(value(score.as_ref(), row)));
            }
            if let Some(time) = columns.timestamp(row) {
                leaf.first = Some(leaf.first.map_or(time, |first| first.min(time)));
                leaf.last = leaf.last.max(Some(time));
                self.last = self.last.max(leaf.last);
            }
        }
        Ok(())
    }

    fn add_summaries(&mut self, batch: &RecordBatch, zone: &TimeZone) -> Result<()> {
        let mut beside = beside_counts(batch, zone)?.into_iter();
        let Self {
            leaves,
            meanings,
            last,
        } = self;
        meanings.undecided(batch, |source, cell, [tally, alone]| {
            let leaf = Leaf {
                tally,
                ..beside.next().unwrap_or_default()
            };
            *last = (*last).max(leaf.last);
            leaves.of((cell, Kind::Summaries(source)))?.add(Known {
                leaf,
                alone: [alone.full, alone.partial],
            });
            Ok(())
        })
    }

    fn finish(self) -> Result<Tree> {
        Ok(Tree {
            leaves: self.leaves.finish()?,
            meanings: self.meanings,
            last: self.last,
        })
    }
}

impl Tree {
    /// How much [`Tree::write`] would write.
    pub fn extent(mut self) -> Result<Extent> {
        let mut extent = Extent::default();
        while let Some(leaves) = self.next_model()? {
            extent.leaves += leaves.len() as u64;
            extent.tests += leaves.iter().map(|(_, leaf)| leaf.tally.tests).sum::<u64>();
        }
        Ok(extent)
    }

    /// The leaves of the next model.
    pub(super) fn next_model(&mut self) -> Result<Option<Vec<(Cell, Leaf)>>> {
        let mut leaves: Vec<(Cell, Leaf)> = Vec::new();
        loop {
            let same = |(cell, _): &Key| {
                leaves
                    .first()
                    .is_none_or(|(first, _)| first.model == cell.model)
            };
            let Some(next) = self.leaves.next_if(same) else {
                break;
            };
            let (
                (cell, kind),
                Known {
                    mut leaf,
                    alone: [full, partial],
                },
            ) = next?;
            if let Kind::Summaries(source) = kind
                && self.meanings.of(source.as_ref()) == Convention::FullOnly
            {
                (leaf.tally.full, leaf.tally.partial) = (full, partial);
            }
            match leaves.last_mut().filter(|(last, _)| *last == cell) {
                Some((_, known)) => known.add(&leaf),
                None => leaves.push((cell, leaf)),
            }
        }
        Ok((!leaves.is_empty()).then_some(leaves))
    }
}

fn doubles(batch: &RecordBatch, name: &str) -> Option<Float64Array> {
    let column = batch.column_by_name(name)?;
    Some(
        cast(column, &DataType::Float64)
            .ok()?
            .as_primitive::<Float64Type>()
            .clone(),
    )
}

fn value(column: Option<&Float64Array>, row: usize) -> Option<f64> {
    column
        .filter(|column| column.is_valid(row))
        .map(|column| column.value(row))
}

#[cfg(test)]
pub(super) mod tests {
    use arrow::array::{ArrayRef, StringArray};

    use super::*;
    use crate::stats::Rate;
    use crate::store::aggregate::summary::SOURCE;

    /// Two models, and more cells than are held.
    pub(crate) fn sample() -> Tree {
        let mut tree = Reading::default();
        for (model, prompt, rate, task, full, tests) in [
            ("a b", "cot", Some(0.8), "x", 3, 5),
            ("a b", "cot", Some(1.0), "x", 0, 2),
            ("a b", "baseline", None, "y", 1, 1),
            ("c", "cot", Some(0.8), "x", 2, 4),
        ] {
            let cell = Cell {
                model: model.into(),
                prompt_type: prompt.into(),
                tool_success_rate: rate.and_then(Rate::new),
                difficulty: "easy".into(),
                task_type: task.into(),
            };
            let leaf = &mut tree.leaves.of((cell, Kind::Records)).unwrap().leaf;
            leaf.tally.tests = tests;
            leaf.tally.full = full;
            leaf.tally.partial = (tests - full) / 2;
            leaf.scores[0] = Sum::of(Some(0.5));
        }
        tree.finish().unwrap()
    }

    #[test]
    fn each_source_of_summary_rows_has_its_meaning_of_success() {
        let models = ["a", "a", "b", "c"];
        let rows = RecordBatch::try_from_iter([
            (
                "model",
                Arc::new(StringArray::from(models.to_vec())) as ArrayRef,
            ),
            ("total", Arc::new(Float64Array::from(vec![100.0; 4]))),
            ("success", Arc::new(Float64Array::from(vec![60.0; 4]))),
            ("partial", Arc::new(Float64Array::from(vec![20.0; 4]))),
            // Full successes alone are 60 of 100 in the first, full and partial ones in the others.
            (
                "weighted_success_score",
                Arc::new(Float64Array::from(vec![0.7, 0.5, 0.5, 0.5])),
            ),
            (
                SOURCE,
                Arc::new(StringArray::from(vec![
                    Some("one"),
                    Some("two"),
                    Some("two"),
                    None,
                ])),
            ),
        ]);
        let mut reading = Reading::default();
        reading
            .add_summaries(&rows.unwrap(), &TimeZone::UTC)
            .unwrap();
        let mut tree = reading.finish().unwrap();
        for (model, counts) in [
            ("a", [200, 100, 40]),
            ("b", [100, 40, 20]),
            ("c", [100, 40, 20]),
        ] {
            let leaves = tree.next_model().unwrap().unwrap();
            let [(cell, Leaf { tally, .. })] = leaves.as_slice() else {
                panic!("{leaves:?}")
            };
            assert_eq!(
                (&*cell.model, [tally.tests, tally.full, tally.partial]),
                (model, counts)
            );
        }
        assert_eq!(tree.next_model().unwrap(), None);
    }
}
