//! A first scan of a database: its version, which models have the whole tree, what
//! its groups share, and what is odd about it.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value};

use super::walk::{Piece, Walk};
use crate::config::show_counted;
use crate::sources::detect;
use crate::sources::detect::Kind;
use crate::sources::json_reader::Fault;
use crate::sources::source::bad_document;
use crate::store::{Error, Result};

/// What a first scan found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// As the root says.
    pub(crate) version: Option<String>,
    /// Models that have both leaves under all levels and kinds of task without any.
    pub(crate) mixed: BTreeSet<String>,
    /// Whether any model has leaves.
    leaves: bool,
    /// Models that have counts and no leaves.
    bare: u64,
    /// Models without any test.
    empty: u64,
    /// Name and fields of each group.
    pub(crate) groups: Vec<(String, Map<String, Value>)>,
    /// Tests in the groups.
    pub(crate) instances: u64,
    /// Groups without tests of their own.
    hollow: u64,
    odd: u64,
    /// The tests that the root says there are.
    pub(crate) said: Option<u64>,
    /// Time of the last change, as the root says.
    pub(crate) updated: Option<String>,
}

impl Survey {
    /// Reads the whole file once.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        detect::open(path)?;
        let mut walk = Walk::open(path).map_err(|_| not_a_database(path))?;
        let mut survey = Self::default();
        let mut other = Vec::new();
        let mut known = false;
        let mut in_group = 0;
        // Of the model that is being read: leaves under all levels, and others.
        let (mut nested, mut flat) = (false, false);
        while let Some(piece) = walk.next().map_err(|fault| unfinished(path, fault))? {
            match piece {
                Piece::Root(name, value) => match (name.as_str(), value) {
                    ("version", Value::String(version)) => survey.version = Some(version),
                    ("version", Value::Number(version)) => {
                        survey.version = Some(version.to_string());
                    }
                    ("last_updated", Value::String(time)) => survey.updated = Some(time),
                    ("summary", value) => {
                        survey.said = value.get("total_tests").and_then(Value::as_u64);
                    }
                    (_, Value::Null) => other.push(name),
                    _ => {}
                },
                Piece::Leaf(leaf) => {
                    nested |= leaf.nested();
                    flat |= !leaf.nested();
                    survey.leaves = true;
                }
                Piece::Model(name, fields) => {
                    known = true;
                    match (std::mem::take(&mut nested), std::mem::take(&mut flat)) {
                        (true, true) => drop(survey.mixed.insert(name)),
                        (false, false) if counts(fields).is_some() => survey.bare += 1,
                        (false, false) => survey.empty += 1,
                        _ => {}
                    }
                }
                Piece::Instance(..) => {
                    survey.instances += 1;
                    in_group += 1;
                }
                Piece::Group(name, fields) => {
                    known = true;
                    survey.hollow += u64::from(std::mem::take(&mut in_group) == 0);
                    survey.groups.push((name, fields));
                }
                Piece::Odd => survey.odd += 1,
            }
        }
        let named = survey.version.is_some() || survey.said.is_some();
        if known || named {
            return Ok(survey);
        }
        let has = if other.is_empty() {
            "is empty".to_owned()
        } else {
            format!("has {}", other.join(", "))
        };
        Err(Error::Refused(format!(
            "{} is not a JSON database of results: it has neither 'models' nor 'test_groups', it {has}",
            path.display()
        )))
    }

    /// Whether its tests stand in groups only, as version 1 has them.
    pub(crate) fn of_instances(&self) -> bool {
        !self.leaves && self.bare == 0 && self.instances > 0
    }

    /// What is odd about the file, a sentence each.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let mut say = |count: u64, one: &str, what: &str| {
            if count > 0 {
                notes.push(format!("{} {what}", show_counted(count, one)));
            }
        };
        say(self.empty, "model", "without tests passed over");
        say(self.odd, "value", "where an object should be passed over");
        if self.of_instances() {
            say(
                self.hollow,
                "group",
                "with statistics alone, without instances, left out",
            );
        } else {
            say(
                self.instances,
                "instance",
                "in test groups left out: the counts of the models stand for them",
            );
        }
        if self.bare > 0 {
            say(
                self.bare,
                "model",
                "with counts alone, of no cell, kept as such",
            );
        }
        notes
    }
}

/// The counts of a model without leaves: its own, and those of `overall_stats`.
pub(crate) fn counts(mut fields: Map<String, Value>) -> Option<Map<String, Value>> {
    if let Some(Value::Object(overall)) = fields.remove("overall_stats") {
        for (name, value) in overall {
            fields.entry(name).or_insert(value);
        }
    }
    for (count, alias) in [
        ("total", "total_tests"),
        ("success", "total_success"),
        ("partial", "total_partial"),
    ] {
        if let Some(value) = fields.remove(alias) {
            fields.entry(count).or_insert(value);
        }
    }
    let tests = fields
        .get("total")
        .and_then(Value::as_f64)
        .unwrap_or_default();
    (tests > 0.0).then_some(fields)
}

/// What is wrong with a document, unless it is something else altogether.
fn unfinished(path: &Path, fault: Fault) -> Error {
    match detect::detect(path) {
        Ok(kind) if kind != Kind::JsonDatabase => not_a_database(path),
        _ => bad_document(path, None, fault),
    }
}

/// Says what the file looks like instead.
fn not_a_database(path: &Path) -> Error {
    match detect::detect(path) {
        Ok(kind) => Error::Refused(format!(
            "{} is not a JSON database, it looks like {}: import it with --from {}",
            path.display(),
            kind.name(),
            kind.flag()
        )),
        Err(error) => error,
    }
}
