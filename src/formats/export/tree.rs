//! The JSON database (v3) for tools that know it: models, then prompt types, rates
//! of successful tool calls, difficulties and kinds of task, with counts at every
//! level that agree with each other.
//!
//! `success` counts full successes alone, beside `full_success` and `successful`
//! that say the same, so that no reader can take it for anything else. Averages
//! that no row has are left out, as are the rates of errors, whose denominator
//! differs between tools: their counts are there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Float64Type};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::ser::{Error as _, SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::IntoEnumIterator;

use crate::formats::Output;
use crate::stats::cell::UNKNOWN;
use crate::stats::{Cell, ErrorCategory, Rate, Sum, Tally};
use crate::store::cast::cast;
use crate::store::digest::{Columns, text_column};
use crate::store::gather::{Gather, Gathered};
use crate::store::query::{self, Filter, Selection};
use crate::store::summary::{Convention, Meanings};
use crate::store::{Control, Error, Result, Store, schema};

/// Scores of a record; their means are `avg_<score>`.
pub(in crate::formats) const SCORES: [&str; 4] =
    ["workflow_score", "phase2_score", "quality_score", "final_score"];

/// Counts that only summary rows have; they are passed on.
const ASSISTED: [&str; 4] =
    ["tests_with_assistance", "assisted_success", "assisted_failure", "total_assisted_turns"];

/// Cells that are held in memory while their tests are counted.
const HELD: usize = if cfg!(test) { 2 } else { 1 << 15 };

/// The leaves of the tree, whose records and summary rows are all read.
#[derive(Debug)]
pub struct Tree {
    leaves: Gathered<Key, Known>,
    meanings: Meanings,
    last: Option<i64>,
}

/// How much a tree holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Leaves: one a cell.
    pub leaves: u64,
    /// Tests.
    pub tests: u64,
}

/// Of what cell, and whose: the summary rows of a source are told apart from those of others
/// and from the records, until all that tells the meaning of their `success` is read.
type Key = (Cell, Kind);

/// Records, or summary rows with the source that they may name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum Kind {
    Records,
    Summaries(Option<Arc<str>>),
}

/// What is known of a cell's tests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(in crate::formats) struct Leaf {
    pub(in crate::formats) tally: Tally,
    pub(in crate::formats) scores: [Sum; SCORES.len()],
    /// Counts of [`ASSISTED`], from summary rows; no record has them.
    assisted: [u64; ASSISTED.len()],
    first: Option<i64>,
    pub(in crate::formats) last: Option<i64>,
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
    let columns = Columns::NAMES.iter().chain(&SCORES).map(|name| (*name).to_owned()).collect();
    let records = Selection { filter: filter.clone(), columns: Some(columns), ..Selection::default() };
    let mut done = 0;
    for batch in query::rows(store, &records, control)? {
        control.check()?;
        let batch = batch?;
        reading.add_records(&batch)?;
        done += batch.num_rows() as u64;
        control.progress("reading", done, done);
    }
    let summaries = Selection { filter: filter.clone(), summaries: true, ..Selection::default() };
    for batch in query::rows(store, &summaries, control)? {
        control.check()?;
        reading.add_summaries(&batch?, &store.zone)?;
    }
    reading.finish()
}

impl Leaf {
    fn add(&mut self, other: &Self) {
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

/// What each summary row has beside its tally.
pub(in crate::formats) fn beside_counts(batch: &RecordBatch, zone: &TimeZone) -> Result<Vec<Leaf>> {
    let total = doubles(batch, "total");
    let means = SCORES.map(|name| doubles(batch, &format!("avg_{name}")));
    let assisted = ASSISTED.map(|name| doubles(batch, name));
    let updated = batch.column_by_name("last_updated").map(text_column).transpose()?;
    let leaf = |row: usize| {
        let tests = value(total.as_ref(), row).unwrap_or_default() as u64;
        let count =
            |column: &Option<Float64Array>| value(column.as_ref(), row).unwrap_or_default().max(0.0) as u64;
        let updated = updated.as_ref().filter(|column| column.is_valid(row)).map(|column| column.value(row));
        Leaf {
            scores: means.each_ref().map(|mean| Sum::weighted(value(mean.as_ref(), row), tests)),
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
        Self { leaves: Gather::new(HELD, Known::add), meanings: Meanings::default(), last: None }
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
        let Self { leaves, meanings, last } = self;
        meanings.undecided(batch, |source, cell, [tally, alone]| {
            let leaf = Leaf { tally, ..beside.next().unwrap_or_default() };
            *last = (*last).max(leaf.last);
            leaves
                .of((cell, Kind::Summaries(source)))?
                .add(Known { leaf, alone: [alone.full, alone.partial] });
            Ok(())
        })
    }

    fn finish(self) -> Result<Tree> {
        Ok(Tree { leaves: self.leaves.finish()?, meanings: self.meanings, last: self.last })
    }
}

impl Tree {
    /// Writes the tree as one JSON document.
    pub fn write(self, now: Timestamp, output: &Output) -> Result<Extent> {
        let mut handle = output.handle();
        let refused =
            |error: &dyn std::fmt::Display| Error::Refused(format!("cannot write the tree: {error}"));
        let document = Document::new(self, now);
        serde_json::to_writer_pretty(&mut handle, &document).map_err(|error| refused(&error))?;
        handle.write_all(b"\n").map_err(|error| refused(&error))?;
        let whole = document.models.whole.into_inner();
        Ok(Extent { leaves: whole.leaves, tests: whole.tally.tests })
    }

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
    fn next_model(&mut self) -> Result<Option<Vec<(Cell, Leaf)>>> {
        let mut leaves: Vec<(Cell, Leaf)> = Vec::new();
        loop {
            let same = |(cell, _): &Key| leaves.first().is_none_or(|(first, _)| first.model == cell.model);
            let Some(next) = self.leaves.next_if(same) else { break };
            let ((cell, kind), Known { mut leaf, alone: [full, partial] }) = next?;
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

/// The tree as a document, of which one model at a time is made.
struct Document {
    last: Option<i64>,
    now: Timestamp,
    models: Models,
}

impl Document {
    fn new(tree: Tree, now: Timestamp) -> Self {
        Self { last: tree.last, now, models: Models { tree: tree.into(), whole: RefCell::default() } }
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry("version", "3.0")?;
        document.serialize_entry("created_at", &iso(self.now.as_microsecond()))?;
        document.serialize_entry("last_updated", &iso(self.last.unwrap_or(self.now.as_microsecond())))?;
        document.serialize_entry("test_groups", &Map::new())?;
        document.serialize_entry("models", &self.models)?;
        let Whole { models, tally, .. } = &*self.models.whole.borrow();
        let mut summary = counts(tally);
        summary.insert("total_tests".into(), tally.tests.into());
        summary.insert("total_success".into(), tally.full.into());
        summary.insert("total_partial".into(), tally.partial.into());
        summary.insert("total_failed".into(), tally.failed().into());
        summary.insert("total_models".into(), (*models).into());
        document.serialize_entry("summary", &summary)?;
        document.end()
    }
}

/// The models, each read when its turn comes.
struct Models {
    tree: RefCell<Tree>,
    whole: RefCell<Whole>,
}

/// What was told of all models.
#[derive(Default)]
struct Whole {
    models: u64,
    leaves: u64,
    tally: Tally,
}

impl Serialize for Models {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut models = serializer.serialize_map(None)?;
        let mut whole = self.whole.borrow_mut();
        while let Some(leaves) = self.tree.borrow_mut().next_model().map_err(S::Error::custom)? {
            whole.models += 1;
            whole.leaves += leaves.len() as u64;
            for (_, leaf) in &leaves {
                whole.tally.add(&leaf.tally);
            }
            let model = Model(leaves.iter().map(|(cell, leaf)| (cell, leaf)).collect());
            models.serialize_entry(model.name(), &model)?;
        }
        models.end()
    }
}

type Leaves<'a> = Vec<(&'a Cell, &'a Leaf)>;

/// The leaves of one model.
struct Model<'a>(Leaves<'a>);

impl Model<'_> {
    fn name(&self) -> &str {
        self.0.first().map_or(UNKNOWN, |(cell, _)| &cell.model)
    }
}

impl Serialize for Model<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut whole = Leaf::default();
        for (_, leaf) in &self.0 {
            whole.add(leaf);
        }
        let mut node = serializer.serialize_map(None)?;
        node.serialize_entry("model_name", self.name())?;
        node.serialize_entry("total_tests", &whole.tally.tests)?;
        if let (Some(first), Some(last)) = (whole.first, whole.last) {
            node.serialize_entry("first_test_time", &iso(first))?;
            node.serialize_entry("last_test_time", &iso(last))?;
        }
        node.serialize_entry("overall_stats", &statistics(&whole))?;
        node.serialize_entry("by_prompt_type", &Below { leaves: &self.0, levels: &LEVELS })?;
        node.end()
    }
}

/// A level below the model: how its keys are made, and what holds the level below.
type Level = (fn(&Cell) -> String, &'static str);

const LEVELS: [Level; 4] = [
    (|cell| cell.prompt_type.to_string(), "by_tool_success_rate"),
    (|cell| rate_name(cell.tool_success_rate), "by_difficulty"),
    (|cell| cell.difficulty.to_string(), "by_task_type"),
    (|cell| cell.task_type.to_string(), ""),
];

/// Some leaves by the first of the levels.
struct Below<'a> {
    leaves: &'a Leaves<'a>,
    levels: &'static [Level],
}

impl Serialize for Below<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let Some(((key, below), levels)) = self.levels.split_first() else {
            return serializer.serialize_unit();
        };
        let mut groups = BTreeMap::<String, Leaves<'_>>::new();
        for (cell, leaf) in self.leaves {
            groups.entry(key(cell)).or_default().push((cell, leaf));
        }
        serializer.collect_map(groups.iter().map(|(name, leaves)| (name, Node { leaves, below, levels })))
    }
}

/// The leaves under one name.
struct Node<'a> {
    leaves: &'a Leaves<'a>,
    below: &'static str,
    levels: &'static [Level],
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        if let ([(_, leaf)], []) = (self.leaves.as_slice(), self.levels) {
            return statistics(leaf).serialize(serializer);
        }
        let mut tally = Tally::default();
        for (_, leaf) in self.leaves {
            tally.add(&leaf.tally);
        }
        let mut node = serializer.serialize_map(None)?;
        for (name, value) in counts(&tally) {
            node.serialize_entry(&name, &value)?;
        }
        node.serialize_entry(self.below, &Below { leaves: self.leaves, levels: self.levels })?;
        node.end()
    }
}

/// "0.8", "1.0": as Python writes a float.
pub(in crate::formats) fn rate_name(rate: Option<Rate>) -> String {
    rate.map_or_else(|| UNKNOWN.to_owned(), |rate| format!("{:?}", rate.get()))
}

fn counts(tally: &Tally) -> Map<String, Value> {
    let mut node = Map::new();
    node.insert("total".into(), tally.tests.into());
    node.insert("success".into(), tally.full.into());
    node.insert("partial".into(), tally.partial.into());
    node.insert("failed".into(), tally.failed().into());
    if let Some(rate) = tally.success_rate() {
        node.insert("success_rate".into(), rate.into());
    }
    node
}

/// Everything that can be told of a group of tests.
fn statistics(leaf: &Leaf) -> Map<String, Value> {
    let tally = &leaf.tally;
    let mut node = counts(tally);
    for (name, count) in [
        ("full_success", tally.full),
        ("partial_success", tally.partial),
        ("successful", tally.full),
        ("total_errors", tally.errors.iter().sum()),
    ] {
        node.insert(name.into(), count.into());
    }
    for category in ErrorCategory::iter() {
        let name: &str = category.into();
        let count = tally.errors.get(category as usize).copied().unwrap_or_default();
        node.insert(format!("{name}_errors"), count.into());
    }
    let share = |count: u64| (tally.tests > 0).then(|| count as f64 / tally.tests as f64);
    let weighted =
        (tally.tests > 0).then(|| (tally.full as f64 + 0.5 * tally.partial as f64) / tally.tests as f64);
    let mut figures = vec![
        ("full_success_rate".to_owned(), share(tally.full)),
        ("partial_success_rate".to_owned(), share(tally.partial)),
        ("partial_rate".to_owned(), share(tally.partial)),
        ("failure_rate".to_owned(), share(tally.failed())),
        ("weighted_success_score".to_owned(), weighted),
        ("avg_execution_time".to_owned(), tally.execution_time.mean()),
        ("avg_turns".to_owned(), tally.turns.mean()),
        ("avg_tool_calls".to_owned(), tally.tool_calls.mean()),
        ("tool_coverage_rate".to_owned(), tally.tool_coverage_rate.mean()),
    ];
    figures.extend(SCORES.iter().zip(&leaf.scores).map(|(name, sum)| (format!("avg_{name}"), sum.mean())));
    // Sums are in millionths, and what an import reads back must be the same sums.
    let rounded = |figure: f64| (figure * 1e6).round() / 1e6;
    node.extend(figures.into_iter().filter_map(|(name, figure)| Some((name, rounded(figure?).into()))));
    let assisted = ASSISTED.iter().zip(leaf.assisted).filter(|(_, count)| *count > 0);
    node.extend(assisted.map(|(name, count)| ((*name).to_owned(), count.into())));
    if let Some(last) = leaf.last {
        node.insert("last_updated".into(), iso(last));
    }
    node
}

/// ISO 8601 with an offset in figures, which old Pythons read too.
pub(in crate::formats) fn iso(micros: i64) -> Value {
    let time = Timestamp::from_microsecond(micros).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string().into()
}

fn doubles(batch: &RecordBatch, name: &str) -> Option<Float64Array> {
    let column = batch.column_by_name(name)?;
    Some(cast(column, &DataType::Float64).ok()?.as_primitive::<Float64Type>().clone())
}

fn value(column: Option<&Float64Array>, row: usize) -> Option<f64> {
    column.filter(|column| column.is_valid(row)).map(|column| column.value(row))
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, StringArray};

    use super::*;
    use crate::store::summary::SOURCE;

    fn sample() -> Tree {
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

    fn document(tree: Tree) -> Value {
        serde_json::to_value(Document::new(tree, Timestamp::UNIX_EPOCH)).unwrap()
    }

    /// Adds up `total` over the leaves below a node, checking each level's own.
    fn total(node: &Value) -> u64 {
        let below = node.as_object().unwrap().iter().find(|(name, _)| name.starts_with("by_"));
        let own = node.get("total").or(node.get("total_tests")).and_then(Value::as_u64).unwrap();
        if let Some((_, below)) = below {
            assert_eq!(own, below.as_object().unwrap().values().map(total).sum::<u64>());
        }
        own
    }

    #[test]
    fn counts_agree_at_every_level() {
        let json = document(sample());
        let models = json["models"].as_object().unwrap();
        assert_eq!(models.values().map(total).sum::<u64>(), 12);
        assert_eq!(json["summary"]["total_tests"], 12);
        assert_eq!(json["models"]["a b"]["overall_stats"]["total"], 8);
    }

    #[test]
    fn each_source_of_summary_rows_has_its_meaning_of_success() {
        let models = ["a", "a", "b", "c"];
        let rows = RecordBatch::try_from_iter([
            ("model", Arc::new(StringArray::from(models.to_vec())) as ArrayRef),
            ("total", Arc::new(Float64Array::from(vec![100.0; 4]))),
            ("success", Arc::new(Float64Array::from(vec![60.0; 4]))),
            ("partial", Arc::new(Float64Array::from(vec![20.0; 4]))),
            // Full successes alone are 60 of 100 in the first, full and partial ones in the others.
            ("weighted_success_score", Arc::new(Float64Array::from(vec![0.7, 0.5, 0.5, 0.5]))),
            (SOURCE, Arc::new(StringArray::from(vec![Some("one"), Some("two"), Some("two"), None]))),
        ]);
        let mut reading = Reading::default();
        reading.add_summaries(&rows.unwrap(), &TimeZone::UTC).unwrap();
        let json = document(reading.finish().unwrap());
        for (model, tests, full, partial) in [("a", 200, 100, 40), ("b", 100, 40, 20), ("c", 100, 40, 20)] {
            let stats = &json["models"][model]["overall_stats"];
            let found = ["total", "full_success", "partial"].map(|name| stats[name].as_u64().unwrap());
            assert_eq!(found, [tests, full, partial], "{model}");
        }
    }

    #[test]
    fn leaves_stand_where_old_tools_look_for_them() {
        let json = document(sample());
        let prompts = &json["models"]["a b"]["by_prompt_type"];
        let leaf =
            &prompts["cot"]["by_tool_success_rate"]["0.8"]["by_difficulty"]["easy"]["by_task_type"]["x"];
        assert_eq!(leaf["full_success"], 3);
        assert_eq!(leaf["success"], 3);
        assert_eq!(leaf["weighted_success_score"], 0.7);
        assert_eq!(leaf["avg_workflow_score"], 0.5);
        assert!(leaf.get("avg_turns").is_none(), "no row has turns");
        assert!(prompts["cot"]["by_tool_success_rate"].get("1.0").is_some());
        assert!(prompts["baseline"]["by_tool_success_rate"].get("unknown").is_some());
        for key in ["version", "created_at", "last_updated", "test_groups", "models", "summary"] {
            assert!(json.get(key).is_some(), "{key}");
        }
    }
}
