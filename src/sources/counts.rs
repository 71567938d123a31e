//! Files that say how many of their tests were successes, and not which: results of
//! lm-evaluation-harness, aggregates of Every Eval Ever, score files of BFCL. They become summary
//! rows, one of each task and model.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::detect;
use super::lm_eval;
use super::objects::{Object, Place, Reader, Remarks, Rows};
use super::source::Column;
use crate::config::show_counted;
use crate::store::{Error, Result};

/// Bytes of the largest file that is read.
const MOST: u64 = 64 << 20;

/// Whose file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Results of lm-evaluation-harness.
    LmEval,
    /// An aggregate of Every Eval Ever.
    EveryEval,
    /// A score file of the Berkeley Function Calling Leaderboard.
    Bfcl,
}

impl Counted {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LmEval => "results of lm-evaluation-harness",
            Self::EveryEval => "an aggregate of Every Eval Ever",
            Self::Bfcl => "a score file of BFCL",
        }
    }
}

/// Some tests of one model.
struct Group {
    model: String,
    task: String,
    prompt: Option<String>,
    tests: Option<f64>,
    rate: Option<f64>,
}

/// A file of counts.
pub(crate) struct Counts {
    rows: Vec<Map<String, Value>>,
    /// Why groups don't count, and how many: a sentence each.
    left: BTreeMap<&'static str, Vec<String>>,
    size: u64,
}

const UNKNOWN_TESTS: &str = "how many tests it is";
const NO_RATE: &str = "a share of successes";
const AGAIN: &str = "tests that another metric has";

impl Counts {
    /// Reads a file.
    pub(crate) fn open(path: &Path, name: &Path, counted: Counted) -> Result<Self> {
        let file = detect::open(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        if size > MOST {
            let why = "is too large for a file of counts";
            return Err(Error::Refused(format!("{} {why}", path.display())));
        }
        if let Some(samples) = samples(path, counted).first() {
            let samples = samples.file_name().unwrap_or_default().to_string_lossy();
            return Err(Error::Refused(format!(
                "{} is the sum of the samples in {samples}, which is in the same folder: import that",
                path.display()
            )));
        }
        let groups = match counted {
            Counted::LmEval => lm_eval_groups(&document(path, file)?, path)?,
            Counted::EveryEval => every_eval_groups(&document(path, file)?),
            Counted::Bfcl => bfcl_groups(path, name, file)?,
        };
        let mut counts = Self {
            rows: Vec::new(),
            left: BTreeMap::new(),
            size,
        };
        let mut seen = HashSet::new();
        for group in groups {
            counts.take(group, &mut seen);
        }
        Ok(counts)
    }

    fn take(&mut self, group: Group, seen: &mut HashSet<(String, String, Option<String>)>) {
        let mut leave = |why| self.left.entry(why).or_default().push(group.task.clone());
        let Some(rate) = group.rate.filter(|rate| (0.0..=1.0).contains(rate)) else {
            return leave(NO_RATE);
        };
        let Some(tests) = group.tests.filter(|tests| *tests >= 1.0) else {
            return leave(UNKNOWN_TESTS);
        };
        let cell = (
            group.model.clone(),
            group.task.clone(),
            group.prompt.clone(),
        );
        if !seen.insert(cell) {
            return leave(AGAIN);
        }
        let mut row = Map::new();
        row.insert("model".to_owned(), group.model.into());
        row.insert("task_type".to_owned(), group.task.into());
        if let Some(prompt) = group.prompt {
            row.insert("prompt_type".to_owned(), prompt.into());
        }
        row.insert("total".to_owned(), (tests.round() as i64).into());
        row.insert("success".to_owned(), ((rate * tests).round() as i64).into());
        self.rows.push(row);
    }
}

impl Reader for Counts {
    fn rows(&self) -> Result<Rows<'_>> {
        let size = self.size;
        let row = move |(at, fields): (usize, &Map<String, Value>)| {
            Ok(Object {
                place: Place::Named(format!("row {}", at + 1)),
                fields: Some(fields.clone()),
                remark: None,
                read: size,
                rejected: None,
            })
        };
        Ok(Box::new(self.rows.iter().enumerate().map(row)))
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn notes(&self, _remarks: &Remarks, _columns: &[Column]) -> Vec<String> {
        let note = |(why, tasks): (&&str, &Vec<String>)| {
            let first = tasks.first().map_or("", String::as_str);
            let (more, does) = match tasks.len() {
                1 => (String::new(), "does"),
                n => (
                    format!(" and {}", show_counted(n as u64 - 1, "other")),
                    "do",
                ),
            };
            let first = super::convert::brief(first);
            match *why {
                AGAIN => format!("{first}{more} left out: the same tests by another metric"),
                why => format!("{first}{more} left out: the file {does} not say {why}")
                    .replace("file do ", "file does "),
            }
        };
        self.left.iter().map(note).collect()
    }
}

/// Files in the same folder that have the tests which a file counts.
pub(super) fn samples(path: &Path, counted: Counted) -> Vec<PathBuf> {
    match counted {
        Counted::LmEval => lm_eval::samples(path),
        Counted::EveryEval => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let samples = path.with_file_name(format!("{stem}_samples.jsonl"));
            samples.is_file().then_some(samples).into_iter().collect()
        }
        Counted::Bfcl => Vec::new(),
    }
}

fn document(path: &Path, file: File) -> Result<Value> {
    serde_json::from_reader(BufReader::new(file)).map_err(|error| {
        Error::Refused(format!(
            "{} is not one JSON document: {error}",
            path.display()
        ))
    })
}

/// The tasks of a results file, but for groups of tasks: their tests are those of the tasks.
fn lm_eval_groups(document: &Value, path: &Path) -> Result<Vec<Group>> {
    let model = lm_eval::model_of(document)
        .ok_or_else(|| Error::Refused(format!("{} does not say the model", path.display())))?;
    let at = |name: &str, task: &str| document.get(name).and_then(|of| of.get(task));
    let is_group = |task: &str| {
        let inner = at("group_subtasks", task).and_then(Value::as_array);
        inner.is_some_and(|tasks| !tasks.is_empty())
    };
    let results = document.get("results").and_then(Value::as_object);
    let tasks = results
        .into_iter()
        .flatten()
        .filter(|(task, _)| !is_group(task));
    let group = |(task, result): (&String, &Value)| {
        let better = at("higher_is_better", task);
        let rises =
            |metric: &str| better.and_then(|of| of.get(metric)) != Some(&Value::Bool(false));
        let metrics = result.as_object().into_iter().flatten();
        let rate = metrics.filter_map(|(name, value)| {
            let metric = name.split(',').next().unwrap_or(name);
            let own = metric.ends_with("_stderr") || ["alias", "sample_len"].contains(&metric);
            value.as_f64().filter(|_| !own && rises(metric))
        });
        let samples = at("n-samples", task);
        let tests = samples.and_then(|n| n.get("effective").or_else(|| n.get("original")));
        let tests = tests
            .or_else(|| result.get("sample_len"))
            .and_then(Value::as_f64);
        let shots = at("n-shot", task).and_then(Value::as_u64);
        Group {
            model: model.clone(),
            task: task.clone(),
            prompt: shots.map(|shots| format!("{shots}-shot")),
            tests,
            rate: rate.into_iter().next(),
        }
    };
    Ok(tasks.map(group).collect())
}

/// The evaluations of an aggregate; of several metrics of the same tests the first counts.
fn every_eval_groups(document: &Value) -> Vec<Group> {
    let info = document.get("model_info");
    let text = |of: Option<&Value>| of.and_then(Value::as_str).map(str::to_owned);
    let model = text(info.and_then(|info| info.get("id").or_else(|| info.get("name"))));
    let model = model.unwrap_or_else(|| "unknown".to_owned());
    let results = document.get("evaluation_results").and_then(Value::as_array);
    let group = |result: &Value| {
        let at = |pointer: &str| result.pointer(pointer);
        let number = |pointer: &str| at(pointer).and_then(Value::as_f64);
        let tests = number("/score_details/uncertainty/num_samples")
            .or_else(|| number("/source_data/samples_number"));
        let falls = at("/metric_config/lower_is_better") == Some(&Value::Bool(true));
        let scale = match number("/metric_config/max_score") {
            _ if text(at("/metric_config/metric_unit")).as_deref() == Some("percent") => 100.0,
            Some(most) if most > 0.0 => most,
            _ => 1.0,
        };
        let low = number("/metric_config/min_score").unwrap_or(0.0);
        let rate = number("/score_details/score").filter(|_| !falls && low == 0.0);
        Group {
            model: model.clone(),
            task: text(at("/evaluation_name")).unwrap_or_default(),
            prompt: None,
            tests,
            rate: rate.map(|rate| rate / scale),
        }
    };
    results.into_iter().flatten().map(group).collect()
}

/// The first line has the counts; those that follow are the tests that failed.
fn bfcl_groups(path: &Path, name: &Path, file: File) -> Result<Vec<Group>> {
    let (mut summary, mut model, mut category) = (None, None, None);
    for line in BufReader::new(file).lines() {
        let line = line.map_err(Error::io("read", path))?;
        let Ok(row) = serde_json::from_str::<Value>(&line) else {
            break;
        };
        let text = |name: &str| row.get(name).and_then(Value::as_str).map(str::to_owned);
        (model, category) = (
            model.or(text("model_name")),
            category.or(text("test_category")),
        );
        summary = summary.or(Some(row));
        if model.is_some() && category.is_some() {
            break;
        }
    }
    // Where no test failed only the names say it: score/MODEL/GROUP/BFCL_v4_CATEGORY_score.json.
    let name = std::path::absolute(name).unwrap_or_else(|_| name.to_path_buf());
    let parts: Vec<String> = name
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    let after = parts
        .iter()
        .rposition(|part| part == "score")
        .map(|at| at + 1);
    let folder = after.filter(|at| at + 1 < parts.len());
    let folder = folder
        .or_else(|| parts.len().checked_sub(2))
        .and_then(|at| parts.get(at));
    let stem = name
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let named = stem.strip_suffix("_score").and_then(|stem| {
        let (_, rest) = stem.strip_prefix("BFCL_")?.split_once('_')?;
        Some(rest.to_owned())
    });
    let count = |name: &str| summary.as_ref()?.get(name)?.as_f64();
    let tests = count("total_count");
    let rate = count("correct_count")
        .zip(tests)
        .map(|(right, tests)| right / tests);
    Ok(vec![Group {
        model: model.or_else(|| folder.cloned()).unwrap_or_default(),
        task: category.or(named).unwrap_or(stem),
        prompt: None,
        tests,
        rate,
    }])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(name: &str, text: &str, counted: Counted) -> (Vec<Value>, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        let counts = Counts::open(&path, &path, counted).unwrap();
        let notes = counts.notes(&Remarks::new(), &[]);
        (counts.rows.into_iter().map(Value::Object).collect(), notes)
    }

    #[test]
    fn tasks_of_the_harness_count_and_their_groups_do_not() {
        let results = json!({
            "results": {
                "mmlu": {"acc,none": 0.6, "alias": "mmlu"},
                "mmlu_anatomy": {"alias": " - anatomy", "acc,none": 0.5, "acc_stderr,none": 0.04},
                "wikitext": {"word_perplexity,none": 12.5},
            },
            "group_subtasks": {"mmlu": ["mmlu_anatomy"], "wikitext": []},
            "higher_is_better": {"wikitext": {"word_perplexity": false}},
            "n-shot": {"mmlu_anatomy": 5},
            "n-samples": {"mmlu_anatomy": {"original": 135, "effective": 10}},
            "model_name": "org/m", "configs": {}, "versions": {}});
        let (rows, notes) = rows("results_x.json", &results.to_string(), Counted::LmEval);
        let expected = json!({"model": "org/m", "task_type": "mmlu_anatomy", "prompt_type": "5-shot",
            "total": 10, "success": 5});
        assert_eq!(rows, [expected]);
        assert_eq!(
            notes,
            ["wikitext left out: the file does not say a share of successes"]
        );
    }

    #[test]
    fn an_aggregate_counts_each_evaluation_once() {
        let result = |name: &str, score: f64, config: Value, n: Option<u64>| {
            json!({"evaluation_name": name, "score_details": {"score": score,
                "uncertainty": {"num_samples": n}}, "metric_config": config,
                "source_data": {"dataset_name": name}})
        };
        let share = json!({"lower_is_better": false, "min_score": 0, "max_score": 1});
        let percent = json!({"lower_is_better": false, "metric_unit": "percent"});
        let document = json!({"schema_version": "0.3.0", "model_info": {"id": "org/m", "name": "M"},
        "evaluation_results": [
            result("a", 0.25, share.clone(), Some(8)),
            result("a", 0.5, share.clone(), Some(8)),
            result("b", 75.0, percent, Some(4)),
            result("c", 0.5, share, None),
            result("d", 0.5, json!({"lower_is_better": true}), Some(4)),
        ]});
        let (rows, notes) = rows("e.json", &document.to_string(), Counted::EveryEval);
        let expected = |task: &str, total: u64, success: u64| json!({"model": "org/m", "task_type": task, "total": total, "success": success});
        assert_eq!(rows, [expected("a", 8, 2), expected("b", 4, 3)]);
        assert_eq!(notes.len(), 3, "{notes:?}");
    }

    #[test]
    fn the_first_line_of_a_score_file_is_the_summary() {
        let head = "{\"accuracy\": 0.75, \"correct_count\": 3, \"total_count\": 4}\n";
        let failed = "{\"id\": \"simple_1\", \"model_name\": \"m\", \"test_category\": \"simple\", \"valid\": false}\n";
        let name = "score/folder-m/non_live/BFCL_v4_multiple_score.json";
        let (of, _) = rows(name, &(head.to_owned() + failed), Counted::Bfcl);
        assert_eq!(
            of,
            [json!({"model": "m", "task_type": "simple", "total": 4, "success": 3})]
        );
        let (of, _) = rows(name, head, Counted::Bfcl);
        assert_eq!(
            of,
            [json!({"model": "folder-m", "task_type": "multiple", "total": 4, "success": 3})]
        );
    }
}
