//! Samples of lm-evaluation-harness: `samples_<task>_<date>.jsonl`, with what the
//! results file next to it says of the model and the run. A line is a record; the
//! first of the task's metrics decides about success.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::detect;
use super::json_reader::{Fault, JsonReader};
use super::jsonl::{self, Jsonl};
use super::objects::{Object, Place, Reader, Remarks, Rows};
use super::score;
use super::source::Column;
use super::source::{bad_document, bad_row};
use crate::config::show_counted;
use crate::store::{Error, Result};

/// A line that repeats a sample under another of the task's answer filters.
const OTHER_FILTER: &str = "other filter";

/// A file of samples.
#[derive(Debug)]
pub(crate) struct LmEval {
    path: PathBuf,
    lines: Jsonl,
    task: String,
    /// When the run began, as the names of its files have it.
    date: Option<String>,
    run: Run,
    /// Where the model's name comes from, and which of several metrics decides.
    notes: Vec<String>,
}

/// What a results file says of all samples of a run.
#[derive(Debug, Default)]
struct Run {
    model: Option<String>,
    began: Option<Value>,
    shots: Map<String, Value>,
    higher_is_better: Map<String, Value>,
}

impl LmEval {
    /// Reads the results file next to the samples.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let lines = Jsonl::open(path)?;
        let stem = path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default();
        let (task, date) = task_and_date(&stem);
        let beside = results(path, date.as_deref());
        let mut run = match &beside {
            Some(results) => {
                let file = detect::open(results)?;
                let run = JsonReader::new(file).and_then(|mut json| Run::read(&mut json));
                run.map_err(|fault| bad_document(results, None, fault))?
            }
            None => Run::default(),
        };
        let mut notes = Vec::new();
        if run.model.is_none() {
            run.model = folder(path)
                .filter(|name| name.contains("__"))
                .map(|name| name.replacen("__", "/", 1));
            notes.push(
                "there is no results file next to it: the model is the folder's name".to_owned(),
            );
        }
        if run.model.is_none() {
            return Err(Error::Refused(format!(
                "{} does not say the model: keep it next to its results_*.json, as the harness wrote them",
                path.display()
            )));
        }
        let mut samples = Self {
            path: path.to_path_buf(),
            lines,
            task,
            date,
            run,
            notes,
        };
        let first = samples.lines.lines()?.next().transpose()?;
        let metrics = first
            .as_ref()
            .map(|line| metrics(&line.fields))
            .unwrap_or_default();
        if let (Some((decides, _)), [_, _, ..]) = (samples.deciding(&metrics), metrics.as_slice()) {
            let names: Vec<&str> = metrics.iter().map(|(name, _)| *name).collect();
            samples.notes.push(format!(
                "success is {decides} >= 1, of {}: --success-from 'score_NAME>=1' takes another",
                names.join(", ")
            ));
        }
        Ok(samples)
    }

    /// The metric that decides about success: the first that is better when it is higher.
    fn deciding<'a>(&self, metrics: &[(&'a str, f64)]) -> Option<(&'a str, f64)> {
        let better = self.run.higher_is_better.get(&self.task);
        let rises =
            |name: &str| better.and_then(|better| better.get(name)) != Some(&Value::Bool(false));
        metrics.iter().copied().find(|(name, _)| rises(name))
    }

    /// The fields of a record.
    fn fields(&self, line: u64, sample: &Map<String, Value>) -> Result<Map<String, Value>> {
        let id = match sample.get("doc_id") {
            Some(Value::String(id)) => id.clone(),
            Some(Value::Number(id)) => id.to_string(),
            _ => return Err(bad_row(&self.path, &format!("line {line}"), "no 'doc_id'")),
        };
        let task = &self.task;
        let metrics: Vec<(&str, f64)> = metrics(sample);
        let Some((_, score)) = self.deciding(&metrics) else {
            let why = "no metric that is a number, so nothing says whether it is a success";
            return Err(bad_row(&self.path, &format!("line {line}"), why));
        };
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| {
            if !value.is_null() {
                fields.insert(name.to_owned(), value);
            }
        };
        // Without a date the run has no name; then the newest run counts.
        let run = self
            .date
            .as_ref()
            .map(|date| format!("{date}/"))
            .unwrap_or_default();
        put("test_id", format!("{run}{task}/{id}").into());
        put("model", json!(self.run.model));
        put("task_type", task.as_str().into());
        put("task_id", format!("{task}/{id}").into());
        let shots = self.run.shots.get(task).and_then(Value::as_u64);
        put(
            "prompt_type",
            shots.map_or(Value::Null, |shots| format!("{shots}-shot").into()),
        );
        put("success", (score >= 1.0).into());
        put("partial_success", (score > 0.0 && score < 1.0).into());
        put("score", score.into());
        put("final_score", score.into());
        let named = self
            .date
            .as_ref()
            .and_then(|date| time(date))
            .map(Value::from);
        put(
            "timestamp",
            self.run.began.clone().or(named).unwrap_or_default(),
        );
        put("filter", sample.get("filter").cloned().unwrap_or_default());
        for (name, value) in &metrics {
            put(&format!("score_{name}"), (*value).into());
        }
        Ok(fields)
    }
}

impl Reader for LmEval {
    fn rows(&self) -> Result<Rows<'_>> {
        let mut counted: Option<Value> = None;
        let mut seen = HashSet::new();
        Ok(Box::new(self.lines.lines()?.map(move |line| {
            let line = line?;
            let filter = line.fields.get("filter").cloned().unwrap_or_default();
            // A task with several filters lists every sample once a filter; older harnesses
            // don't say which filter a line is of, and the first counts as in newer ones.
            let again = |seen: &mut HashSet<String>| {
                let document = line.fields.get("doc_id").map(Value::to_string);
                filter.is_null() && document.is_some_and(|document| !seen.insert(document))
            };
            let other =
                *counted.get_or_insert_with(|| filter.clone()) != filter || again(&mut seen);
            let fields = if other {
                None
            } else {
                Some(self.fields(line.number, &line.fields)?)
            };
            Ok(Object {
                place: Place::Line(line.number),
                fields,
                remark: if other {
                    Some(OTHER_FILTER)
                } else {
                    line.remark
                },
                read: line.read,
                rejected: None,
            })
        })))
    }

    fn size(&self) -> u64 {
        self.lines.size()
    }

    fn scores(&self) -> bool {
        true
    }

    fn label(&self) -> Option<String> {
        let model = self.run.model.as_deref().unwrap_or_default();
        let date = self.date.as_deref().unwrap_or("undated");
        Some(format!("lm-eval {} {model} {date}", self.task))
    }

    fn notes(&self, remarks: &Remarks, _columns: &[Column]) -> Vec<String> {
        let other = remarks.get(OTHER_FILTER).map(|lines| {
            format!(
                "{} of other answer filters left out: the same samples, scored another way",
                show_counted(*lines, "line")
            )
        });
        let remarks = remarks
            .iter()
            .filter(|(remark, _)| **remark != OTHER_FILTER);
        let others = remarks.map(jsonl::remarked);
        other
            .into_iter()
            .chain(others)
            .chain(self.notes.iter().cloned())
            .collect()
    }
}

impl Run {
    fn read(json: &mut JsonReader<impl Read>) -> std::result::Result<Self, Fault> {
        let mut run = Self::default();
        let (mut named, mut config) = (None, Value::Null);
        json.enter_object()?;
        while let Some(name) = json.key()? {
            match name.as_str() {
                "model_name" => named = json.value()?.as_str().map(str::to_owned),
                "config" => config = json.value()?,
                "date" => run.began = Some(json.value()?).filter(Value::is_number),
                "n-shot" => run.shots = object(json.value()?),
                "higher_is_better" => run.higher_is_better = object(json.value()?),
                _ => json.skip()?,
            }
        }
        json.end()?;
        run.model = named
            .filter(|name| !name.is_empty())
            .or_else(|| model(&config));
        Ok(run)
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// The model among the arguments of the run.
fn model(config: &Value) -> Option<String> {
    let args = config.get("model_args")?;
    // As the harness itself names a model; adapters come along with what they adapt.
    ["peft", "delta", "pretrained", "model", "path", "engine"]
        .iter()
        .find_map(|name| match args {
            Value::Object(args) => args.get(*name)?.as_str().map(str::to_owned),
            Value::String(args) => args
                .split(',')
                .find_map(|arg| arg.trim().strip_prefix(name)?.strip_prefix('='))
                .map(str::to_owned),
            _ => None,
        })
}

/// The metrics of a sample that are numbers, in the task's order.
fn metrics(sample: &Map<String, Value>) -> Vec<(&str, f64)> {
    /// Stands for a metric where nothing is scored.
    const NO_METRIC: &str = "bypass";
    const OWN: [&str; 12] = [
        NO_METRIC,
        "doc_id",
        "doc",
        "target",
        "arguments",
        "resps",
        "filtered_resps",
        "filter",
        "metrics",
        "doc_hash",
        "prompt_hash",
        "target_hash",
    ];
    let value = |name: &str| score::number(sample.get(name)?).filter(|_| name != NO_METRIC);
    match sample.get("metrics").and_then(Value::as_array) {
        Some(names) => names
            .iter()
            .filter_map(Value::as_str)
            .filter_map(|name| Some((name, value(name)?)))
            .collect(),
        // Older harnesses list no names: what is not their own is a metric.
        None => sample
            .keys()
            .map(String::as_str)
            .filter(|name| !OWN.contains(name))
            .filter_map(|name| Some((name, value(name)?)))
            .collect(),
    }
}

/// `samples_<task>_<date>`; the date may be missing.
fn task_and_date(stem: &str) -> (String, Option<String>) {
    let rest = stem.strip_prefix("samples_").unwrap_or(stem);
    match rest.rsplit_once('_') {
        Some((task, date)) if time(date).is_some() => (task.to_owned(), Some(date.to_owned())),
        _ => (rest.to_owned(), None),
    }
}

/// `2026-01-31T10-11-12.123` as ISO 8601 has it.
fn time(date: &str) -> Option<String> {
    let (day, clock) = date.split_once('T')?;
    let text = format!("{day}T{}", clock.replace('-', ":"));
    text.parse::<jiff::civil::DateTime>().ok().map(|_| text)
}

/// The results file of the same run, whose name ends with its date, whatever the user called
/// it; without a date, the newest in the folder.
fn results(samples: &Path, date: Option<&str>) -> Option<PathBuf> {
    let folder = samples.parent()?;
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let names = std::fs::read_dir(folder)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    let is_results = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        match date {
            Some(date) => name.ends_with(&format!("_{date}.json")),
            None => name.starts_with("results") && detect::has_extension(&name, "json"),
        }
    };
    // The names end with the date, so the last is the newest.
    names.filter(is_results).max()
}

/// The model of a results file.
pub(super) fn model_of(document: &Value) -> Option<String> {
    let named = document.get("model_name").and_then(Value::as_str);
    let named = named.filter(|name| !name.is_empty()).map(str::to_owned);
    named.or_else(|| model(document.get("config")?))
}

/// The samples of the run of a results file, in its folder.
pub(super) fn samples(results: &Path) -> Vec<PathBuf> {
    let stem = results.file_stem().unwrap_or_default().to_string_lossy();
    let date = stem.rsplit_once('_').map(|(_, date)| date);
    let date = date.filter(|date| time(date).is_some());
    let folder = results
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let names = std::fs::read_dir(folder.unwrap_or_else(|| Path::new(".")));
    let is_of_run = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let stem = name.strip_suffix(".jsonl").unwrap_or_default();
        stem.starts_with("samples_") && task_and_date(stem).1.as_deref() == date
    };
    let mut found: Vec<PathBuf> = names
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(is_of_run)
        .collect();
    found.sort();
    found
}

/// Whether a file may be results whose samples are being written.
pub(super) fn may_get_samples(path: &Path) -> bool {
    /// The harness writes results first.
    const SAMPLES_FOLLOW: Duration = Duration::from_secs(60);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let results = name.starts_with("results") && detect::has_extension(&name, "json");
    let modified = || std::fs::metadata(path).and_then(|meta| meta.modified());
    results
        && modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age < SAMPLES_FOLLOW))
        && samples(path).is_empty()
}

/// The name of the folder that a file is in.
fn folder(path: &Path) -> Option<String> {
    let path = std::fs::canonicalize(path).ok()?;
    Some(path.parent()?.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_say_task_and_date() {
        for (stem, task, date) in [
            (
                "samples_arc_easy_2026-01-31T10-11-12.123456",
                "arc_easy",
                Some("2026-01-31T10-11-12.123456"),
            ),
            ("samples_arc_easy", "arc_easy", None),
            ("mine", "mine", None),
        ] {
            assert_eq!(
                task_and_date(stem),
                (task.to_owned(), date.map(str::to_owned))
            );
        }
        assert_eq!(
            time("2026-01-31T10-11-12.5").as_deref(),
            Some("2026-01-31T10:11:12.5")
        );
    }

    #[test]
    fn the_model_is_named_or_among_the_arguments() {
        let read = |text: &str| {
            Run::read(&mut JsonReader::new(text.as_bytes()).unwrap())
                .unwrap()
                .model
        };
        for (text, expected) in [
            (
                r#"{"model_name": "org/m", "config": {"model_args": "pretrained=x"}}"#,
                Some("org/m"),
            ),
            (
                r#"{"config": {"model_args": "dtype=auto,pretrained=org/x"}}"#,
                Some("org/x"),
            ),
            (r#"{"config": {"model_args": {"model": "y"}}}"#, Some("y")),
            (
                r#"{"config": {"model_args": "pretrained=org/x,peft=org/adapter"}}"#,
                Some("org/adapter"),
            ),
            (r#"{"model_name": "", "config": {}}"#, None),
        ] {
            assert_eq!(read(text).as_deref(), expected);
        }
    }

    #[test]
    fn metrics_come_in_the_order_of_the_task() {
        let sample = json!({"acc_norm": 1.0, "acc": 0.0, "ppl": [1, 2], "metrics": ["acc", "acc_norm", "ppl"]});
        assert_eq!(
            metrics(sample.as_object().unwrap()),
            [("acc", 0.0), ("acc_norm", 1.0)]
        );
        let old = json!({"doc_id": 3, "exact_match": true, "target": "7"});
        assert_eq!(metrics(old.as_object().unwrap()), [("exact_match", 1.0)]);
        for unscored in [
            json!({"bypass": 999, "metrics": ["bypass"]}),
            json!({"bypass": 999}),
        ] {
            assert!(
                metrics(unscored.as_object().unwrap()).is_empty(),
                "{unscored}"
            );
        }
    }
}
