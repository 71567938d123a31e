//! The JSON database from front to back, piece by piece: leaves of its tree, what it
//! says of models and groups besides, and the instances of the oldest version.

use std::fs::File;
use std::path::Path;

use serde_json::{Map, Value};

use crate::sources::json_reader::{Fault, JsonReader, Shape};

/// The levels of the tree below a model, from the top: the key that opens each, and
/// the column that its names are.
const LEVELS: [(&str, &str); 4] = [
    ("by_prompt_type", "prompt_type"),
    ("by_tool_success_rate", "tool_success_rate"),
    ("by_difficulty", "difficulty"),
    ("by_task_type", "task_type"),
];
const DEEPEST: usize = LEVELS.len() - 1;

/// One piece of a database.
#[derive(Debug)]
pub(crate) enum Piece {
    /// A field of the root that is neither models nor groups.
    Root(String, Value),
    /// Counts of a cell, or of a model's kind of task where the tree has no levels.
    Leaf(Leaf),
    /// A model is over: its name, the fields next to its levels.
    Model(String, Map<String, Value>),
    /// One test of a group, by the number of the group.
    Instance(usize, Value),
    /// A group of tests is over: its name and its fields.
    Group(String, Map<String, Value>),
    /// Something stands where it makes no sense.
    Odd,
}

/// Where a leaf is, and what it holds.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) model: String,
    /// Column and name of each level.
    pub(crate) names: Vec<(&'static str, String)>,
    pub(crate) fields: Value,
}

impl Leaf {
    /// Whether it stands under all levels, as version 3 has it.
    pub(crate) fn nested(&self) -> bool {
        self.names.len() == LEVELS.len()
    }
}

/// An object or list that is open.
#[derive(Debug)]
enum Open {
    Root,
    Models,
    Model,
    /// The names of a level.
    Names(usize),
    /// What is under one of them.
    Inside(usize),
    Groups {
        list: bool,
    },
    Group,
    Instances,
}

/// Reads a database.
#[derive(Debug)]
pub(crate) struct Walk {
    json: JsonReader<File>,
    open: Vec<Open>,
    model: String,
    names: Vec<(&'static str, String)>,
    /// Fields of the model or group that is open.
    fields: Map<String, Value>,
    group: String,
    groups: usize,
}

impl Walk {
    /// Begins; the document must be an object.
    pub(crate) fn open(path: &Path) -> Result<Self, Fault> {
        let mut json = JsonReader::new(File::open(path)?)?;
        json.enter_object()?;
        Ok(Self {
            json,
            open: vec![Open::Root],
            model: String::new(),
            names: Vec::new(),
            fields: Map::new(),
            group: String::new(),
            groups: 0,
        })
    }

    /// Bytes read so far.
    pub(crate) fn offset(&self) -> u64 {
        self.json.offset()
    }

    /// The next piece; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Piece>, Fault> {
        loop {
            let Some(open) = self.open.last() else {
                return Ok(None);
            };
            let piece = match *open {
                Open::Root => self.root()?,
                Open::Models => self.models()?,
                Open::Model => self.model()?,
                Open::Names(level) => self.name(level)?,
                Open::Inside(level) => self.inside(level)?,
                Open::Groups { list } => self.groups(list)?,
                Open::Group => self.group()?,
                Open::Instances => self.instance()?,
            };
            if piece.is_some() {
                return Ok(piece);
            }
        }
    }

    fn root(&mut self) -> Result<Option<Piece>, Fault> {
        let Some(name) = self.json.key()? else {
            self.open.pop();
            self.json.end()?;
            return Ok(None);
        };
        match (name.as_str(), self.json.shape()?) {
            ("models", Shape::Object) => {
                self.json.enter_object()?;
                self.open.push(Open::Models);
            }
            ("test_groups", Shape::Object) => {
                self.json.enter_object()?;
                self.open.push(Open::Groups { list: false });
            }
            ("test_groups", Shape::Array) => {
                self.json.enter_array()?;
                self.open.push(Open::Groups { list: true });
            }
            ("models" | "test_groups", _) => {
                let empty = self.json.value()?.is_null();
                return Ok((!empty).then_some(Piece::Odd));
            }
            ("summary" | "version" | "last_updated", _) => {
                return Ok(Some(Piece::Root(name, self.json.value()?)));
            }
            _ => {
                self.json.skip()?;
                return Ok(Some(Piece::Root(name, Value::Null)));
            }
        }
        Ok(None)
    }

    fn models(&mut self) -> Result<Option<Piece>, Fault> {
        let Some(name) = self.json.key()? else {
            self.open.pop();
            return Ok(None);
        };
        if !self.enter()? {
            return Ok(Some(Piece::Odd));
        }
        (self.model, self.fields) = (name, Map::new());
        self.open.push(Open::Model);
        Ok(None)
    }

    fn model(&mut self) -> Result<Option<Piece>, Fault> {
        let Some(name) = self.json.key()? else {
            self.open.pop();
            return Ok(Some(Piece::Model(
                self.model.clone(),
                std::mem::take(&mut self.fields),
            )));
        };
        // The tree begins with the first level; without it, kinds of task may stand alone.
        let level = LEVELS
            .iter()
            .position(|(key, _)| *key == name)
            .filter(|at| [0, DEEPEST].contains(at));
        match level {
            Some(level) => return self.level(level),
            // Only counts are looked for here; a text may be of any length.
            None if name == "overall_stats" || self.json.shape()? == Shape::Plain => {
                let value = self.json.value()?;
                self.fields.insert(name, value);
            }
            None => self.json.skip()?,
        }
        Ok(None)
    }

    fn level(&mut self, level: usize) -> Result<Option<Piece>, Fault> {
        if !self.enter()? {
            return Ok(Some(Piece::Odd));
        }
        self.open.push(Open::Names(level));
        Ok(None)
    }

    fn name(&mut self, level: usize) -> Result<Option<Piece>, Fault> {
        let Some(name) = self.json.key()? else {
            self.open.pop();
            return Ok(None);
        };
        let Some((_, column)) = LEVELS.get(level) else {
            return Ok(None);
        };
        if level == DEEPEST {
            let mut names = self.names.clone();
            names.push((column, name));
            let fields = self.json.value()?;
            if !fields.is_object() {
                return Ok(Some(Piece::Odd));
            }
            return Ok(Some(Piece::Leaf(Leaf {
                model: self.model.clone(),
                names,
                fields,
            })));
        }
        if !self.enter()? {
            return Ok(Some(Piece::Odd));
        }
        self.names.push((column, name));
        self.open.push(Open::Inside(level));
        Ok(None)
    }

    fn inside(&mut self, level: usize) -> Result<Option<Piece>, Fault> {
        let Some(name) = self.json.key()? else {
            self.open.pop();
            self.names.pop();
            return Ok(None);
        };
        if LEVELS.get(level + 1).is_some_and(|(key, _)| *key == name) {
            return self.level(level + 1);
        }
        self.json.skip()?;
        Ok(None)
    }

    fn groups(&mut self, list: bool) -> Result<Option<Piece>, Fault> {
        let name = if list {
            self.json.element()?.then(|| self.groups.to_string())
        } else {
            self.json.key()?
        };
        let Some(name) = name else {
            self.open.pop();
            return Ok(None);
        };
        if !self.enter()? {
            return Ok(Some(Piece::Odd));
        }
        self.group = name;
        self.fields = Map::new();
        self.groups += 1;
        self.open.push(Open::Group);
        Ok(None)
    }

    fn group(&mut self) -> Result<Option<Piece>, Fault> {
        let Some(name) = self.json.key()? else {
            self.open.pop();
            return Ok(Some(Piece::Group(
                self.group.clone(),
                std::mem::take(&mut self.fields),
            )));
        };
        match (name.as_str(), self.json.shape()?) {
            ("instances", Shape::Array) => {
                self.json.enter_array()?;
                self.open.push(Open::Instances);
            }
            (_, Shape::Text | Shape::Plain) => {
                let value = self.json.value()?;
                self.fields.insert(name, value);
            }
            _ => self.json.skip()?,
        }
        Ok(None)
    }

    fn instance(&mut self) -> Result<Option<Piece>, Fault> {
        if self.json.element()? {
            let group = self.groups.saturating_sub(1);
            return Ok(Some(Piece::Instance(group, self.json.value()?)));
        }
        self.open.pop();
        Ok(None)
    }

    /// Enters an object; passes over anything else and says `false`.
    fn enter(&mut self) -> Result<bool, Fault> {
        let object = self.json.shape()? == Shape::Object;
        if object {
            self.json.enter_object()?;
        } else {
            self.json.skip()?;
        }
        Ok(object)
    }
}
