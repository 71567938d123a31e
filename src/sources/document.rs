//! One JSON document with rows in it: an array of objects, at the top or somewhere inside,
//! or an object whose members are the rows.
//!
//! Read twice, piece by piece: first to find the rows and what the document says beside
//! them, then for the rows.

use std::fs::File;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::detect;
use super::json_reader::{Fault, JsonReader, Shape};
use super::objects::{Object, Place, Reader, Remarks, Rows};
use super::source::{Column, bad_document};
use crate::config::show_counted;
use crate::store::{Error, Result};

/// The field that names a row where the members of an object are the rows.
pub(crate) const KEY: &str = "key";

/// Stands for each member of an object, in the name of rows that are in several lists.
const EACH: &str = "*";

/// Single values of a document that are kept, and bytes of the longest of them.
const SHARED: usize = 1_000;
const LONGEST: usize = 4_096;
/// Objects inside each other that are looked into for rows.
const DEEPEST: usize = 8;

/// A list of objects, or an object of objects, in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    path: Vec<String>,
    rows: u64,
    bytes: u64,
    array: bool,
}

/// A document and where its rows are.
#[derive(Debug)]
pub(crate) struct Document {
    path: PathBuf,
    size: u64,
    rows: Vec<String>,
    /// Single values of the document by their names, with dots between.
    shared: Map<String, Value>,
}

impl Document {
    /// Finds the rows: those of that name, or the list that dominates.
    pub(crate) fn open(path: &Path, rows: Option<&str>) -> Result<Self> {
        Self::with(path, &Survey::of(path)?, rows)
    }

    /// The same of a document that was read before.
    pub(crate) fn with(path: &Path, survey: &Survey, rows: Option<&str>) -> Result<Self> {
        let rows = match rows {
            Some(".") => Vec::new(),
            Some(name) => {
                let wanted: Vec<String> = name.split('.').map(str::to_owned).collect();
                let found = |found: &Candidate| match wanted.as_slice() {
                    [lists @ .., last] if last == EACH => {
                        found.array
                            && found.path.len() == wanted.len()
                            && found.path.starts_with(lists)
                    }
                    _ => found.path == wanted,
                };
                if !survey.found.iter().any(found) {
                    return Err(Error::Refused(format!(
                        "{} has no rows under '{name}'{}",
                        path.display(),
                        survey.there_are()
                    )));
                }
                wanted
            }
            None => survey.dominating().ok_or_else(|| {
                Error::Refused(format!(
                    "{} is one JSON document{}",
                    path.display(),
                    survey.there_are()
                ))
            })?,
        };
        let inside = |name: &str| {
            // What lies under the rows' own list is not a value of the document.
            let path: Vec<&str> = name.split('.').collect();
            !(path.len() > rows.len() && path.iter().zip(&rows).all(|(one, other)| one == other))
                || rows.is_empty()
        };
        let shared = survey.shared.iter().filter(|(name, _)| inside(name));
        Ok(Self {
            path: path.to_path_buf(),
            size: survey.size,
            shared: shared
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            rows,
        })
    }

    /// Single values of the document by their names, with dots between.
    pub(crate) fn shared(&self) -> &Map<String, Value> {
        &self.shared
    }

    /// What is said of a row by what holds its list: names without dots, the nearest first.
    fn around(&self) -> Map<String, Value> {
        let mut around = Map::new();
        for depth in 0..self.rows.len().max(1) {
            let parent = self.rows.get(..depth).unwrap_or_default();
            for (name, value) in &self.shared {
                let path: Vec<&str> = name.split('.').collect();
                let beside = path.len() == depth + 1
                    && path.iter().zip(parent).all(|(one, other)| one == other);
                if let (true, Some(last)) = (beside, path.last()) {
                    around.insert((*last).to_owned(), value.clone());
                }
            }
        }
        around
    }
}

impl Reader for Document {
    fn rows(&self) -> Result<Rows<'_>> {
        let bad = |fault| bad_document(&self.path, None, fault);
        let mut reading = Reading::open(&self.path, &self.rows).map_err(bad)?;
        let around = self.around();
        let mut number = 0_u64;
        Ok(Box::new(std::iter::from_fn(move || {
            let next = reading.next();
            let (key, value) = match next.map_err(bad).transpose()? {
                Ok(row) => row,
                Err(error) => return Some(Err(error)),
            };
            number += 1;
            let mut fields = around.clone();
            match value {
                Value::Object(own) => fields.extend(own),
                other => {
                    fields.insert("value".to_owned(), other);
                }
            }
            let name = match key {
                Some(key) => {
                    let name = format!("'{key}'");
                    fields.insert(KEY.to_owned(), key.into());
                    name
                }
                None => format!("row {number}"),
            };
            Some(Ok(Object {
                place: Place::Named(name),
                fields: Some(fields),
                remark: reading.json.mended().remark(),
                read: reading.json.offset(),
                rejected: None,
            }))
        })))
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn notes(&self, remarks: &Remarks, _columns: &[Column]) -> Vec<String> {
        let note =
            |(remark, rows): (&&str, &u64)| format!("{} with {remark}", show_counted(*rows, "row"));
        remarks.iter().map(note).collect()
    }
}

/// What a first reading found.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    size: u64,
    found: Vec<Candidate>,
    shared: Map<String, Value>,
}

impl Survey {
    /// Reads a document.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let file = detect::open(path)?;
        let mut survey = Self {
            size: file.metadata().map_err(Error::io("read", path))?.len(),
            ..Self::default()
        };
        let bad = |fault| bad_document(path, None, fault);
        let mut json = JsonReader::new(file).map_err(bad)?;
        survey.look(&mut json, &mut Vec::new()).map_err(bad)?;
        json.end().map_err(bad)?;
        Ok(survey)
    }

    fn look(&mut self, json: &mut JsonReader<File>, path: &mut Vec<String>) -> Result<(), Fault> {
        let begin = json.offset();
        match json.shape()? {
            Shape::Array => {
                let (mut rows, mut objects) = (0, 0);
                json.enter_array()?;
                while json.element()? {
                    rows += 1;
                    objects += u64::from(json.shape()? == Shape::Object);
                    json.skip()?;
                }
                // A list of texts is a value, not rows.
                if objects > 0 && objects == rows {
                    self.add(path, rows, json.offset() - begin, true);
                }
            }
            Shape::Object if path.len() < DEEPEST => {
                let (mut members, mut objects) = (0, 0);
                json.enter_object()?;
                while let Some(name) = json.key()? {
                    members += 1;
                    objects += u64::from(json.shape()? == Shape::Object);
                    // Names of thousands of members are keys of rows, not of columns.
                    if members > SHARED as u64 {
                        json.skip()?;
                        continue;
                    }
                    path.push(name);
                    self.look(json, path)?;
                    path.pop();
                }
                if objects > 1 && objects == members {
                    self.add(path, members, json.offset() - begin, false);
                }
            }
            Shape::Plain | Shape::Text => {
                let value = json.value()?;
                let short = value.as_str().is_none_or(|text| text.len() <= LONGEST);
                if short && !path.is_empty() && self.shared.len() < SHARED {
                    self.shared.insert(path.join("."), value);
                }
            }
            _ => json.skip()?,
        }
        Ok(())
    }

    fn add(&mut self, path: &[String], rows: u64, bytes: u64, array: bool) {
        self.found.push(Candidate {
            path: path.to_vec(),
            rows,
            bytes,
            array,
        });
    }

    /// The list that holds most of the document; an object of objects where there is no list.
    fn dominating(&self) -> Option<Vec<String>> {
        let arrays = || self.found.iter().filter(|found| found.array);
        let most = |of: &mut dyn Iterator<Item = &Candidate>| {
            let mut all: Vec<&Candidate> = of.collect();
            all.sort_by_key(|found| std::cmp::Reverse(found.bytes));
            match all.as_slice() {
                [only] => Some(only.path.clone()),
                [first, second, ..] if first.bytes >= 2 * second.bytes => Some(first.path.clone()),
                _ => None,
            }
        };
        if arrays().next().is_some() {
            return most(&mut arrays());
        }
        // The outermost object of objects: those inside are its rows' own.
        let shortest = self.found.iter().map(|found| found.path.len()).min()?;
        most(
            &mut self
                .found
                .iter()
                .filter(|found| found.path.len() == shortest),
        )
    }

    /// ", with rows under a (10) or b.c (3): give --rows a".
    fn there_are(&self) -> String {
        let mut all: Vec<&Candidate> = self.found.iter().collect();
        all.sort_by_key(|found| {
            (
                std::cmp::Reverse(found.array),
                std::cmp::Reverse(found.bytes),
            )
        });
        let name = |found: &&Candidate| match found.path.as_slice() {
            [] => ".".to_owned(),
            path => super::convert::brief(&path.join(".")),
        };
        match all.first() {
            None => " without a list of objects, so nothing in it is rows".to_owned(),
            Some(first) => {
                let some: Vec<String> = all
                    .iter()
                    .take(3)
                    .map(|found| format!("{} ({})", name(found), found.rows))
                    .collect();
                format!(
                    ", with rows under {}: give --rows {}",
                    some.join(" or "),
                    name(first)
                )
            }
        }
    }
}

/// The rows of a document being read.
struct Reading {
    json: JsonReader<File>,
    /// `None`: the rows are over.
    array: Option<bool>,
    /// Whether the members of the object are lists of rows, and the name of the one being read.
    in_lists: bool,
    list: Option<String>,
}

impl Reading {
    fn open(path: &Path, rows: &[String]) -> Result<Self, Fault> {
        let mut json = JsonReader::new(File::open(path)?)?;
        let (rows, in_lists) = match rows {
            [rows @ .., last] if last == EACH => (rows, true),
            rows => (rows, false),
        };
        for wanted in rows {
            json.enter_object()?;
            loop {
                match json.key()? {
                    Some(name) if name == *wanted => break,
                    Some(_) => json.skip()?,
                    None => {
                        return Ok(Self {
                            json,
                            array: None,
                            in_lists,
                            list: None,
                        });
                    }
                }
            }
        }
        let array = match json.shape()? {
            Shape::Array => {
                json.enter_array()?;
                Some(true)
            }
            Shape::Object => {
                json.enter_object()?;
                Some(false)
            }
            _ => None,
        };
        Ok(Self {
            json,
            array,
            in_lists,
            list: None,
        })
    }

    /// The next row of the lists in an object, with its list's name.
    fn next_of_lists(&mut self) -> Result<Option<(Option<String>, Value)>, Fault> {
        loop {
            if self.list.is_some() && self.json.element()? {
                return Ok(Some((self.list.clone(), self.json.value()?)));
            }
            self.list = None;
            let Some(name) = self.json.key()? else {
                self.array = None;
                return Ok(None);
            };
            if self.json.shape()? == Shape::Array {
                self.json.enter_array()?;
                self.list = Some(name);
            } else {
                self.json.skip()?;
            }
        }
    }

    fn next(&mut self) -> Result<Option<(Option<String>, Value)>, Fault> {
        if self.in_lists && self.array == Some(false) {
            return self.next_of_lists();
        }
        let row = match self.array {
            Some(true) if self.json.element()? => Some((None, self.json.value()?)),
            Some(false) => match self.json.key()? {
                Some(key) => Some((Some(key), self.json.value()?)),
                None => None,
            },
            _ => None,
        };
        if row.is_none() {
            self.array = None;
        }
        Ok(row)
    }
}

/// Rows in which fields inside others stand under their dotted names too, where these are
/// wanted.
pub(crate) struct Nested {
    inner: Box<dyn Reader>,
    wanted: Vec<String>,
    shared: Map<String, Value>,
}

impl Nested {
    /// Finds the wanted names in rows, else in what the document says around them.
    pub(crate) fn new(
        inner: Box<dyn Reader>,
        wanted: Vec<String>,
        shared: Map<String, Value>,
    ) -> Self {
        Self {
            inner,
            wanted,
            shared,
        }
    }
}

impl Reader for Nested {
    fn rows(&self) -> Result<Rows<'_>> {
        Ok(Box::new(self.inner.rows()?.map(|row| {
            let mut row = row?;
            if let Some(fields) = &mut row.fields {
                for name in self.wanted.iter().filter(|name| !name.is_empty()) {
                    let found = lookup(fields, name).or_else(|| self.shared.get(name));
                    if let Some(found) = found.cloned() {
                        fields.insert(name.clone(), found);
                    }
                }
            }
            Ok(row)
        })))
    }

    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn notes(&self, remarks: &Remarks, columns: &[Column]) -> Vec<String> {
        self.inner.notes(remarks, columns)
    }
}

/// What a dotted name means in a row: `provider.id`, `scores.0.value`; `scores.*` is the first.
pub(crate) fn lookup<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = fields.get(name) {
        return Some(value);
    }
    // Names may have dots themselves: the longest that is a field goes first.
    let dots: Vec<usize> = name.match_indices('.').map(|(at, _)| at).collect();
    dots.iter().rev().find_map(|at| {
        let (first, rest) = (name.get(..*at)?, name.get(at + 1..)?);
        inside(fields.get(first)?, rest)
    })
}

fn inside<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) if name == EACH => fields.values().next(),
        Value::Object(fields) => lookup(fields, name),
        Value::Array(values) => {
            let (at, rest) = match name.split_once('.') {
                Some((at, rest)) => (at, Some(rest)),
                None => (name, None),
            };
            let value = values.get(at.parse::<usize>().ok()?)?;
            rest.map_or(Some(value), |rest| inside(value, rest))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, name: Option<&str>) -> Result<Vec<Map<String, Value>>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("d.json");
        std::fs::write(&path, text).unwrap();
        let document = Document::open(&path, name)?;
        let rows = document.rows()?.map(|row| row.unwrap().fields.unwrap());
        Ok(rows.collect())
    }

    #[test]
    fn finds_the_list_that_dominates() {
        let text = r#"{"model": "m", "n": {"model": "x"}, "tags": ["a"],
            "results": {"version": 3, "stats": [{"s": 1}],
                        "results": [{"a": 1, "b": "long enough to dominate"}, {"a": 2}]}}"#;
        let found = rows(text, None).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(
            (&found[1]["a"], &found[1]["model"]),
            (&2.into(), &"m".into())
        );
        assert_eq!(found[0]["version"], 3, "of what is around the list");
        assert_eq!(rows(text, Some("results.stats")).unwrap().len(), 1);
        assert_eq!(rows("[{\"a\":1}]", None).unwrap().len(), 1);
        let members = rows(
            r#"{"t1": {"ok": true}, "t2": {"ok": false, "x": {"y": 1}}}"#,
            None,
        )
        .unwrap();
        assert_eq!(
            (&members[0]["key"], &members[1]["ok"]),
            (&"t1".into(), &false.into())
        );
    }

    #[test]
    fn rows_may_be_in_several_lists() {
        let text =
            r#"{"n": 3, "eval": {"t/1": [{"a": 1}, {"a": 2}], "none": [], "t.2": [{"a": 3}]}}"#;
        let found = rows(text, Some("eval.*")).unwrap();
        let found: Vec<_> = found.iter().map(|row| (&row["key"], &row["a"])).collect();
        let (one, two) = (Value::from("t/1"), Value::from("t.2"));
        assert_eq!(
            found,
            [(&one, &1.into()), (&one, &2.into()), (&two, &3.into())]
        );
        assert!(rows(text, Some("n.*")).is_err());
    }

    #[test]
    fn says_where_rows_may_be() {
        for (text, name, said) in [
            (
                r#"{"a": [{"x": 1}], "b": [{"x": 2}]}"#,
                None,
                "give --rows a",
            ),
            (
                r#"{"a": [{"x": 1}]}"#,
                Some("c"),
                "no rows under 'c', with rows under a (1)",
            ),
            (r#"{"a": 1}"#, None, "without a list of objects"),
        ] {
            let error = rows(text, name).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn dotted_names() {
        let row: Value =
            serde_json::from_str(r#"{"a": {"b.c": {"d": 1}, "l": [{"x": 2}]}, "a.b": 3}"#).unwrap();
        let row = row.as_object().unwrap();
        for (name, expected) in [
            ("a.b.c.d", Some(1)),
            ("a.l.0.x", Some(2)),
            ("a.b", Some(3)),
            ("a.z", None),
            ("a.l.1.x", None),
            ("a.b.c.*", Some(1)),
        ] {
            assert_eq!(
                lookup(row, name).and_then(Value::as_i64),
                expected,
                "{name}"
            );
        }
    }
}
