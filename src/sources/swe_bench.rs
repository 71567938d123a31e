//! Reports of SWE-bench: lists of instance ids by outcome (`resolved_ids` and its kin), the
//! reports of single instances (`{id: {"resolved": …}}`), and maps `{id: true}`.
//!
//! None names the model inside; a run's report is called `<model>.<run>.json`, and that of an
//! instance lies in `<run>/<model>/<id>/report.json`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::detect;
use super::json_reader::{JsonReader, Shape};
use super::objects::{Object, Place, Reader, Remarks, Rows};
use super::source::Column;
use super::source::bad_document;
use crate::store::{Error, Result};

/// Outcomes by the lists of a report, the more decisive ones first: an instance is in several.
const LISTS: [(&str, Outcome); 6] = [
    ("resolved_ids", Outcome::Resolved),
    ("error_ids", Outcome::Error),
    ("empty_patch_ids", Outcome::Empty),
    ("unresolved_ids", Outcome::Unresolved),
    ("completed_ids", Outcome::Unresolved),
    ("submitted_ids", Outcome::Unresolved),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Resolved,
    Error,
    Empty,
    Unresolved,
}

/// A report.
#[derive(Debug)]
pub(crate) struct SweBench {
    size: u64,
    instances: BTreeMap<String, Outcome>,
    model: Option<String>,
    run: Option<String>,
}

/// Whether the names and shapes in a document are those of such a report.
pub(crate) fn is_report(names: &[(String, Shape)]) -> bool {
    let has = |name: &str| names.iter().any(|(found, _)| found == name);
    let lists = has("resolved_ids")
        && (has("submitted_ids") || has("unresolved_ids") || has("completed_ids"));
    lists
        || names
            .iter()
            .all(|(name, shape)| is_instance(name) && matches!(shape, Shape::Object | Shape::Plain))
            && !names.is_empty()
}

/// `django__django-11099`.
fn is_instance(name: &str) -> bool {
    name.split_once("__").is_some_and(|(owner, rest)| {
        let number = rest.rsplit_once('-').map(|(_, number)| number);
        !owner.is_empty()
            && number.is_some_and(|number| {
                !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
            })
    })
}

impl SweBench {
    pub(crate) fn open(path: &Path, name: &Path) -> Result<Self> {
        let file = detect::open(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let bad = |fault| bad_document(path, None, fault);
        let mut instances = BTreeMap::new();
        let mut json = JsonReader::new(file).map_err(bad)?;
        json.enter_object().map_err(bad)?;
        while let Some(name) = json.key().map_err(bad)? {
            let value = json.value().map_err(bad)?;
            let list = LISTS.iter().find(|(list, _)| *list == name);
            match (list, &value) {
                (Some((_, outcome)), Value::Array(ids)) => {
                    for id in ids.iter().filter_map(Value::as_str) {
                        let known = instances.entry(id.to_owned()).or_insert(*outcome);
                        *known = (*known).min(*outcome);
                    }
                }
                (None, Value::Bool(resolved)) if is_instance(&name) => {
                    instances.insert(name, outcome(*resolved));
                }
                (None, Value::Object(report)) if is_instance(&name) => {
                    let is = |name: &str| report.get(name).and_then(Value::as_bool);
                    let resolved = is("resolved").unwrap_or(false);
                    let empty = is("patch_is_None") == Some(true);
                    let found = if empty {
                        Outcome::Empty
                    } else {
                        outcome(resolved)
                    };
                    instances.insert(name, found);
                }
                _ => {}
            }
        }
        let (model, run) = named(name);
        Ok(Self {
            size,
            instances,
            model,
            run,
        })
    }

    fn fields(&self, id: &str, outcome: Outcome) -> Map<String, Value> {
        let (kind, message) = match outcome {
            Outcome::Error => (Some("other"), Some("the evaluation ended with an error")),
            Outcome::Empty => (Some("other"), Some("empty patch")),
            _ => (None, None),
        };
        let row = json!({
            "model": self.model, "task_type": "swe-bench", "task_id": id,
            "session_id": self.run, "success": outcome == Outcome::Resolved,
            "error_type": kind, "error_message": message,
        });
        match row {
            Value::Object(fields) => fields.into_iter().filter(|(_, v)| !v.is_null()).collect(),
            _ => Map::new(),
        }
    }
}

fn outcome(resolved: bool) -> Outcome {
    if resolved {
        Outcome::Resolved
    } else {
        Outcome::Unresolved
    }
}

/// Model and run by the names of the file and its folders.
fn named(path: &Path) -> (Option<String>, Option<String>) {
    let text =
        |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    if path.file_name().is_some_and(|name| name == "report.json") {
        let mut folders: Vec<PathBuf> = path.ancestors().skip(1).map(Path::to_path_buf).collect();
        folders.truncate(3);
        let at = |n: usize| folders.get(n).and_then(|folder| text(folder.file_name()));
        return match at(0).filter(|name| is_instance(name)) {
            Some(_) => (at(1).map(|model| model.replace("__", "/")), at(2)),
            None => (None, None),
        };
    }
    let stem = text(path.file_stem()).unwrap_or_default();
    match stem.rsplit_once('.') {
        Some((model, run)) if !model.is_empty() => {
            (Some(model.replace("__", "/")), Some(run.to_owned()))
        }
        _ => (None, None),
    }
}

impl Reader for SweBench {
    fn rows(&self) -> Result<Rows<'_>> {
        Ok(Box::new(self.instances.iter().map(|(id, outcome)| {
            Ok(Object {
                place: Place::Named(id.clone()),
                fields: Some(self.fields(id, *outcome)),
                remark: None,
                read: self.size,
                rejected: None,
            })
        })))
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn notes(&self, _remarks: &Remarks, _columns: &[Column]) -> Vec<String> {
        match &self.model {
            Some(model) => vec![format!("the model is '{model}' by the file's name")],
            None => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_model_and_run() {
        for (path, model, run) in [
            ("gpt-4.my_run.json", Some("gpt-4"), Some("my_run")),
            ("org__m-1.5.r1.json", Some("org/m-1.5"), Some("r1")),
            ("results.json", None, None),
            (
                "logs/run_evaluation/r1/org__m/django__django-1/report.json",
                Some("org/m"),
                Some("r1"),
            ),
        ] {
            let named = named(Path::new(path));
            assert_eq!(
                named,
                (model.map(str::to_owned), run.map(str::to_owned)),
                "{path}"
            );
        }
    }

    #[test]
    fn an_instance_has_its_most_decisive_outcome() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.r.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let report = SweBench::open(&path, &path).unwrap();
            let rows = report
                .rows()
                .unwrap()
                .map(|row| row.unwrap().fields.unwrap());
            rows.map(|row| {
                (
                    row["task_id"].as_str().unwrap().to_owned(),
                    row["success"] == true,
                )
            })
            .collect::<Vec<_>>()
        };
        let of = |rows: &[(&str, bool)]| -> Vec<(String, bool)> {
            rows.iter()
                .map(|(id, resolved)| ((*id).to_owned(), *resolved))
                .collect()
        };
        assert_eq!(
            read(
                r#"{"submitted_ids":["a__a-1","a__a-2","a__a-3"],"resolved_ids":["a__a-2"],"error_ids":["a__a-3"]}"#
            ),
            of(&[("a__a-1", false), ("a__a-2", true), ("a__a-3", false)])
        );
        assert_eq!(
            read(r#"{"a__a-1": true, "a__a-2": false}"#),
            of(&[("a__a-1", true), ("a__a-2", false)])
        );
        assert_eq!(
            read(r#"{"a__a-1": {"resolved": true}}"#),
            of(&[("a__a-1", true)])
        );
    }
}
