//! The JSON database (v3) for tools that know it: models, then prompt types, rates
//! of successful tool calls, difficulties and kinds of task, with counts at every
//! level that agree with each other.
//!
//! `success` counts full successes alone, next to `full_success` and `successful`
//! that say the same, so that no reader can take it for anything else. Averages
//! that no row has are left out, as are the rates of errors, whose denominator
//! differs between tools: their counts are there.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;
use serde::ser::{Error as _, SerializeMap, Serializer};
use serde_json::{Map, Value};
use strum::IntoEnumIterator;

use super::tree::{ASSISTED, Extent, Leaf, SCORES, Tree};
use crate::formats::Output;
use crate::stats::cell::UNKNOWN;
use crate::stats::{Cell, ErrorCategory, Rate, Tally};
use crate::store::{Error, Result};

impl Tree {
    /// Writes the tree as one JSON document.
    pub fn write(self, now: Timestamp, output: &Output) -> Result<Extent> {
        let mut handle = output.handle();
        let refused = |error: &dyn std::fmt::Display| {
            Error::Refused(format!("cannot write the tree: {error}"))
        };
        let document = Document::new(self, now);
        serde_json::to_writer_pretty(&mut handle, &document).map_err(|error| refused(&error))?;
        handle.write_all(b"\n").map_err(|error| refused(&error))?;
        let whole = document.models.whole.into_inner();
        Ok(Extent {
            leaves: whole.leaves,
            tests: whole.tally.tests,
        })
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
        Self {
            last: tree.last,
            now,
            models: Models {
                tree: tree.into(),
                whole: RefCell::default(),
            },
        }
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_map(None)?;
        document.serialize_entry("version", "3.0")?;
        document.serialize_entry("created_at", &iso(self.now.as_microsecond()))?;
        document.serialize_entry(
            "last_updated",
            &iso(self.last.unwrap_or(self.now.as_microsecond())),
        )?;
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

/// What was reported of all models.
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
        while let Some(leaves) = self
            .tree
            .borrow_mut()
            .next_model()
            .map_err(S::Error::custom)?
        {
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
        node.serialize_entry(
            "by_prompt_type",
            &Below {
                leaves: &self.0,
                levels: &LEVELS,
            },
        )?;
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
        serializer.collect_map(groups.iter().map(|(name, leaves)| {
            (
                name,
                Node {
                    leaves,
                    below,
                    levels,
                },
            )
        }))
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
        node.serialize_entry(
            self.below,
            &Below {
                leaves: self.leaves,
                levels: self.levels,
            },
        )?;
        node.end()
    }
}

/// "0.8", "1.0": as Python writes a float.
pub(crate) fn rate_name(rate: Option<Rate>) -> String {
    rate.map_or_else(|| UNKNOWN.to_owned(), |rate| format!("{:?}", rate.get()))
}

fn counts(tally: &Tally) -> Map<String, Value> {
    let mut node = Map::new();
    node.insert("total".into(), tally.tests.into());
    node.insert("success".into(), tally.full.into());
    node.insert("partial".into(), tally.partial.into());
    node.insert("failed".into(), tally.failed().into());
    if tally.unscored > 0 {
        node.insert("unscored".into(), tally.unscored.into());
    }
    if let Some(rate) = tally.success_rate() {
        node.insert("success_rate".into(), rate.into());
    }
    node
}

/// Everything that is known of a group of tests.
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
        let count = tally
            .errors
            .get(category as usize)
            .copied()
            .unwrap_or_default();
        node.insert(format!("{name}_errors"), count.into());
    }
    let share = |count: u64| tally.share(count);
    let weighted = (tally.judged() > 0)
        .then(|| (tally.full as f64 + 0.5 * tally.partial as f64) / tally.judged() as f64);
    let mut figures = vec![
        ("full_success_rate".to_owned(), share(tally.full)),
        ("partial_success_rate".to_owned(), share(tally.partial)),
        ("partial_rate".to_owned(), share(tally.partial)),
        ("failure_rate".to_owned(), share(tally.failed())),
        ("weighted_success_score".to_owned(), weighted),
        ("avg_execution_time".to_owned(), tally.execution_time.mean()),
        ("avg_turns".to_owned(), tally.turns.mean()),
        ("avg_tool_calls".to_owned(), tally.tool_calls.mean()),
        (
            "tool_coverage_rate".to_owned(),
            tally.tool_coverage_rate.mean(),
        ),
    ];
    figures.extend(
        SCORES
            .iter()
            .zip(&leaf.scores)
            .map(|(name, sum)| (format!("avg_{name}"), sum.mean())),
    );
    // Sums are in millionths, and what an import reads back must be the same sums.
    let rounded = |figure: f64| (figure * 1e6).round() / 1e6;
    node.extend(
        figures
            .into_iter()
            .filter_map(|(name, figure)| Some((name, rounded(figure?).into()))),
    );
    let assisted = ASSISTED
        .iter()
        .zip(leaf.assisted)
        .filter(|(_, count)| *count > 0);
    node.extend(assisted.map(|(name, count)| ((*name).to_owned(), count.into())));
    if let Some(last) = leaf.last {
        node.insert("last_updated".into(), iso(last));
    }
    node
}

/// ISO 8601 with an offset in figures, which old Pythons read too.
pub(crate) fn iso(micros: i64) -> Value {
    let time = Timestamp::from_microsecond(micros).unwrap_or_default();
    time.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")
        .to_string()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::export::tree::tests::sample;

    fn document(tree: Tree) -> Value {
        serde_json::to_value(Document::new(tree, Timestamp::UNIX_EPOCH)).unwrap()
    }

    /// Adds up `total` over the leaves below a node, checking each level's own.
    fn total(node: &Value) -> u64 {
        let below = node
            .as_object()
            .unwrap()
            .iter()
            .find(|(name, _)| name.starts_with("by_"));
        let own = node
            .get("total")
            .or(node.get("total_tests"))
            .and_then(Value::as_u64)
            .unwrap();
        if let Some((_, below)) = below {
            assert_eq!(
                own,
                below.as_object().unwrap().values().map(total).sum::<u64>()
            );
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
    fn leaves_stand_where_old_tools_look_for_them() {
        let json = document(sample());
        let prompts = &json["models"]["a b"]["by_prompt_type"];
        let leaf = &prompts["cot"]["by_tool_success_rate"]["0.8"]["by_difficulty"]["easy"]["by_task_type"]
            ["x"];
        assert_eq!(leaf["full_success"], 3);
        assert_eq!(leaf["success"], 3);
        assert_eq!(leaf["weighted_success_score"], 0.7);
        assert_eq!(leaf["avg_workflow_score"], 0.5);
        assert!(leaf.get("avg_turns").is_none(), "no row has turns");
        assert!(prompts["cot"]["by_tool_success_rate"].get("1.0").is_some());
        assert!(
            prompts["baseline"]["by_tool_success_rate"]
                .get("unknown")
                .is_some()
        );
        for key in [
            "version",
            "created_at",
            "last_updated",
            "test_groups",
            "models",
            "summary",
        ] {
            assert!(json.get(key).is_some(), "{key}");
        }
    }
}
