//! A store in the form of Every Eval Ever: of each model one aggregate, and its tests as JSON lines,
//! in the folders that its repository has. What a store does not know is said to be unknown, never
//! made up.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::json_text;
use crate::stats::interval::wilson;
use crate::store::read::query::{self, Filter, Selection};
use crate::store::{Control, Error, Result, Store};

/// The version of the schema that is written.
const SCHEMA: &str = "0.3.0";
/// The name of an evaluation whose rows have no task type.
const UNNAMED: &str = "unknown";
/// Files of models that are open at once.
const MOST_OPEN: usize = 128;

/// What an export did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exported {
    /// Models, each with an aggregate.
    pub models: usize,
    /// Tests that were written.
    pub tests: u64,
    /// Tests without a verdict, which the form has no place for.
    pub unscored: u64,
}

/// The tests of one evaluation of one model.
#[derive(Debug, Default)]
struct Evaluation {
    tests: u64,
    success: u64,
    tasks: HashSet<String>,
}

/// A model's files.
struct Model {
    /// `data/evaltop/DEVELOPER/MODEL/UUID`, to which the endings of both files are added.
    place: String,
    evaluations: BTreeMap<String, Evaluation>,
    rows: u64,
}

/// Writes a folder, which must not be there yet or be empty. It appears as a whole.
///
/// # Errors
/// The folder has something in it, or can't be written.
pub fn export(
    store: &Store,
    filter: &Filter,
    folder: &Path,
    now: Timestamp,
    control: &Control,
) -> Result<Exported> {
    if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) || folder.is_file() {
        return Err(Error::Refused(format!(
            "{} is there already: give another folder for -o",
            folder.display()
        )));
    }
    let mut name = folder.as_os_str().to_owned();
    name.push(format!(".{:08x}.tmp", store.disk.id() as u32));
    let temporary = PathBuf::from(name);
    fs::create_dir_all(&temporary).map_err(Error::io("create", &temporary))?;
    let done = write(store, filter, &temporary, now, control).and_then(|done| {
        // An empty folder gives way.
        let _ = fs::remove_dir(folder);
        fs::rename(&temporary, folder).map_err(Error::io("create", folder))?;
        Ok(done)
    });
    if done.is_err() {
        let _ = fs::remove_dir_all(&temporary);
    }
    done
}

fn write(
    store: &Store,
    filter: &Filter,
    folder: &Path,
    now: Timestamp,
    control: &Control,
) -> Result<Exported> {
    let selection = Selection {
        filter: filter.clone(),
        ..Selection::default()
    };
    let (mut done, mut models) = (Exported::default(), BTreeMap::<String, Model>::new());
    let mut open: HashMap<String, BufWriter<File>> = HashMap::new();
    for batch in query::rows(store, &selection, control)? {
        control.check()?;
        for row in objects(&batch?)? {
            let model = text(&row, "model").unwrap_or(UNNAMED).to_owned();
            let Some(success) = row.get("success").and_then(Value::as_bool) else {
                done.unscored += 1;
                continue;
            };
            if !models.contains_key(&model) {
                let place = place(&model);
                let path = folder.join(&place);
                let parent = path.parent().unwrap_or(folder);
                fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
                let of = Model {
                    place,
                    evaluations: BTreeMap::new(),
                    rows: 0,
                };
                models.insert(model.clone(), of);
            }
            let Some(of) = models.get_mut(&model) else {
                continue;
            };
            let name = text(&row, "task_type").unwrap_or(UNNAMED).to_owned();
            let evaluation = of.evaluations.entry(name.clone()).or_default();
            evaluation.tests += 1;
            evaluation.success += u64::from(success);
            if let Some(task) = text(&row, "task_id") {
                evaluation.tasks.insert(task.to_owned());
            }
            of.rows += 1;
            done.tests += 1;
            let path = folder.join(format!("{}_samples.jsonl", of.place));
            if open.len() >= MOST_OPEN && !open.contains_key(&model) {
                for (_, mut file) in open.drain() {
                    file.flush().map_err(Error::io("write", folder))?;
                }
            }
            if !open.contains_key(&model) {
                let file = File::options().create(true).append(true).open(&path);
                let file = file.map_err(Error::io("create", &path))?;
                open.insert(model.clone(), BufWriter::new(file));
            }
            if let Some(file) = open.get_mut(&model) {
                let line = instance(&row, &model, &name, success, &id(&model, now));
                writeln!(file, "{line}").map_err(Error::io("write", &path))?;
            }
        }
        control.progress("exporting", done.tests, done.tests);
    }
    for (_, file) in open {
        let file = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all())
            .map_err(Error::io("write", folder))?;
    }
    done.models = models.len();
    for (model, of) in models {
        let path = folder.join(format!("{}.json", of.place));
        let text = format!("{:#}\n", aggregate(&model, &of, now));
        fs::write(&path, text).map_err(Error::io("write", &path))?;
    }
    Ok(done)
}

fn objects(batch: &RecordBatch) -> Result<Vec<Map<String, Value>>> {
    let text = json_text(std::slice::from_ref(batch))?;
    serde_json::from_str(&text).map_err(super::refused)
}

fn text<'a>(row: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    row.get(name)?.as_str().filter(|text| !text.is_empty())
}

/// The name of the run of a model.
fn id(model: &str, now: Timestamp) -> String {
    format!("evaltop/{model}/{}", now.as_second())
}

/// A name that a folder may have on every system, as the validator of the form wants it.
fn safe(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mapped = text
        .chars()
        .take(100)
        .map(|c| if is_safe(c) { c } else { '_' });
    let mut name: String = mapped.collect();
    // A dot in front would hide it, or lead elsewhere; one at the end is lost on Windows.
    if name.starts_with('.') {
        name.replace_range(..1, "_");
    }
    if name.ends_with('.') {
        name.pop();
        name.push('_');
    }
    let device = name.split('.').next().unwrap_or_default();
    let device = device.to_ascii_uppercase();
    let numbered = |own: &str| {
        let number = device.strip_prefix(own);
        number.is_some_and(|own| own.len() == 1 && own.bytes().all(|own| own.is_ascii_digit()))
    };
    let reserved = ["CON", "PRN", "AUX", "NUL"].contains(&device.as_str())
        || numbered("COM")
        || numbered("LPT");
    if reserved || name == "data" {
        name.insert(0, '_');
    }
    if name.is_empty() {
        UNNAMED.clone_into(&mut name);
    }
    name
}

/// Where a model's files are; no two have the same.
fn place(model: &str) -> String {
    let (developer, name) = model.split_once('/').unwrap_or((UNNAMED, model));
    let id = uuid::Uuid::new_v4();
    format!("data/evaltop/{}/{}/{id}", safe(developer), safe(name))
}

/// A test.
fn instance(row: &Map<String, Value>, model: &str, name: &str, success: bool, id: &str) -> Value {
    let whole = |name: &str| row.get(name).and_then(Value::as_i64);
    let number = |name: &str| row.get(name).and_then(Value::as_f64);
    let sample = text(row, "task_id")
        .or_else(|| text(row, "test_id"))
        .unwrap_or(UNNAMED);
    let list = |name: &str| text(row, name).map_or_else(Vec::new, |text| vec![text]);
    let mut evaluation = json!({
        "score": number("score").unwrap_or(f64::from(u8::from(success))),
        "is_correct": success,
    });
    let put = |of: &mut Value, name: &str, value: Option<Value>| {
        if let (Some(value), Some(of)) = (value, of.as_object_mut()) {
            of.insert(name.to_owned(), value);
        }
    };
    put(
        &mut evaluation,
        "num_turns",
        whole("turns").filter(|n| *n > 0).map(Value::from),
    );
    put(
        &mut evaluation,
        "tool_calls_count",
        whole("tool_calls").map(Value::from),
    );
    let mut line = json!({
        "schema_version": format!("instance_level_eval_{SCHEMA}"),
        "evaluation_id": id,
        "model_id": model,
        "evaluation_name": name,
        "evaluation_result_id": format!("{id}#{name}"),
        "sample_id": sample,
        "interaction_type": "single_turn",
        "input": {
            "raw": text(row, "prompt").or_else(|| text(row, "input")).unwrap_or_default(),
            "reference": list("target"),
        },
        "output": {"raw": list("output")},
        "answer_attribution": [],
        "evaluation": evaluation,
    });
    if let (Some(input), Some(output)) = (whole("input_tokens"), whole("output_tokens")) {
        let mut usage = json!({
            "input_tokens": input, "output_tokens": output, "total_tokens": input + output,
        });
        for (theirs, own) in [
            ("reasoning_tokens", "reasoning_tokens"),
            ("input_tokens_cache_read", "cache_read_tokens"),
            ("input_tokens_cache_write", "cache_write_tokens"),
        ] {
            put(&mut usage, theirs, whole(own).map(Value::from));
        }
        put(&mut line, "token_usage", Some(usage));
    }
    if let Some(seconds) = number("execution_time") {
        put(
            &mut line,
            "performance",
            Some(json!({"latency_ms": seconds * 1000.0})),
        );
    }
    put(
        &mut line,
        "error",
        text(row, "error_message").map(Value::from),
    );
    let more: Map<String, Value> = ["test_id", "session_id", "trial", "error_type", "log"]
        .into_iter()
        .filter_map(|name| {
            let value = row.get(name).filter(|value| !value.is_null())?;
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            Some((name.to_owned(), text.into()))
        })
        .collect();
    put(&mut line, "metadata", Some(more.into()));
    line
}

/// The success rates of a model.
fn aggregate(model: &str, of: &Model, now: Timestamp) -> Value {
    let id = id(model, now);
    let result = |(name, evaluation): (&String, &Evaluation)| {
        let (n, rate) = (
            evaluation.tests,
            evaluation.success as f64 / evaluation.tests as f64,
        );
        let interval = wilson(evaluation.success, n);
        json!({
            "evaluation_result_id": format!("{id}#{name}"),
            "evaluation_name": name,
            "source_data": {
                "dataset_name": name,
                "source_type": "other",
                "additional_details": {"tasks": evaluation.tasks.len().to_string()},
            },
            "metric_config": {
                "evaluation_description": "Share of the tests that succeeded",
                "metric_id": "success_rate",
                "metric_name": "Success rate",
                "metric_kind": "accuracy",
                "metric_unit": "proportion",
                "lower_is_better": false,
                "score_type": "continuous",
                "min_score": 0,
                "max_score": 1,
            },
            "score_details": {
                "score": rate,
                "uncertainty": {
                    "standard_error": {
                        "value": (rate * (1.0 - rate) / n as f64).sqrt(), "method": "analytic",
                    },
                    "confidence_interval": {
                        "lower": interval.map(|interval| interval.low),
                        "upper": interval.map(|interval| interval.high),
                        "confidence_level": 0.95,
                        "method": "wilson",
                    },
                    "num_samples": n,
                },
            },
        })
    };
    let results: Vec<Value> = of.evaluations.iter().map(result).collect();
    json!({
        "schema_version": SCHEMA,
        "evaluation_id": id,
        "retrieved_timestamp": now.as_second().to_string(),
        "source_metadata": {
            "source_name": "evaltop",
            "source_type": "evaluation_run",
            "source_organization_name": UNNAMED,
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": UNNAMED, "version": UNNAMED},
        "model_info": {
            "name": model,
            "id": model,
            "additional_details": {"deployment_type": UNNAMED, "model_availability": UNNAMED},
        },
        "evaluation_results": results,
        "detailed_evaluation_results": {
            "format": "jsonl",
            "file_path": format!("{}_samples.jsonl", of.place),
            "total_rows": of.rows,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_names_that_every_system_takes() {
        for (model, expected) in [
            ("org/model-7b.v2", "org/model-7b.v2"),
            ("a:b c", "unknown/a_b_c"),
            ("org/..", "org/__"),
            (".hidden/x.", "_hidden/x_"),
            ("con/aux.1", "_con/_aux.1"),
            ("lpt1/com", "_lpt1/com"),
            ("org/", "org/unknown"),
            ("data/data", "_data/_data"),
        ] {
            let place = place(model);
            let (folders, _) = place.rsplit_once('/').unwrap();
            assert_eq!(folders, format!("data/evaltop/{expected}"), "{model}");
        }
    }
}
