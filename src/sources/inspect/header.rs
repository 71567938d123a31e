//! What a log says of the whole evaluation: task, model, which scorer decides.

use std::io::Read;

use serde_json::Value;

use crate::sources::json_reader::{Fault, JsonReader};

/// What all samples of a log share.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Header {
    pub(crate) task: Option<String>,
    pub(crate) model: Option<String>,
    /// The same for all attempts at one evaluation.
    pub(crate) task_id: Option<String>,
    pub(crate) run_id: Option<String>,
    /// The same for all evaluations of a set, and through its retries.
    pub(crate) eval_set_id: Option<String>,
    /// Where the log is.
    pub(crate) log: Option<String>,
    pub(crate) solver: Option<String>,
    pub(crate) created: Option<String>,
    /// "success", "error", "cancelled", "started".
    pub(crate) status: Option<String>,
    /// The scorer that comes first.
    pub(crate) scorer: Option<String>,
    /// Which of its values comes first, where it gives several.
    pub(crate) value: Option<String>,
    /// What the results list, as the columns of records are called.
    pub(crate) columns: Vec<String>,
    /// What ended the evaluation.
    pub(crate) error: Option<String>,
}

impl Header {
    /// Reads the header, or a whole log without its samples.
    pub(crate) fn read(json: &mut JsonReader<impl Read>) -> Result<Self, Fault> {
        let mut header = Self::default();
        let mut results = Value::Null;
        json.enter_object()?;
        while let Some(name) = json.key()? {
            match name.as_str() {
                "eval" => header.evaluation(&json.value()?),
                "status" => header.status = text(&json.value()?, &[]),
                "error" => header.error = text(&json.value()?, &["message"]),
                "results" => results = json.value()?,
                _ => json.skip()?,
            }
        }
        json.end()?;
        header.results(&results);
        Ok(header)
    }

    /// What was scored. A scorer that gives several values is listed once a value, by its name.
    fn results(&mut self, results: &Value) {
        let scores = results.get("scores").and_then(Value::as_array);
        for score in scores.into_iter().flatten() {
            let (name, scorer) = (text(score, &["name"]), text(score, &["scorer"]));
            let Some(first) = scorer.or(name.clone()) else {
                continue;
            };
            let value = name.filter(|name| *name != first);
            let column = value.as_ref().map_or(format!("score_{first}"), |value| {
                format!("score_{first}_{value}")
            });
            if self.columns.is_empty() {
                (self.scorer, self.value) = (Some(first), value);
            }
            // Listed once more for each way to sum up several epochs.
            if !self.columns.contains(&column) {
                self.columns.push(column);
            }
        }
    }

    fn evaluation(&mut self, eval: &Value) {
        let field = |name| text(eval, &[name]);
        self.task = field("task");
        self.model = field("model");
        self.task_id = field("task_id");
        self.run_id = field("run_id");
        self.eval_set_id = field("eval_set_id");
        self.solver = field("solver");
        self.created = field("created");
        let first = eval.get("scorers").and_then(|scorers| scorers.get(0));
        self.scorer = first.and_then(|first| text(first, &["name"]));
    }

    /// What all attempts at one evaluation share.
    pub(crate) fn evaluation_id(&self) -> Option<&str> {
        [&self.task_id, &self.run_id, &self.created, &self.task]
            .into_iter()
            .flatten()
            .next()
            .map(String::as_str)
    }

    /// Whether it says what was evaluated.
    pub(crate) fn complete(&self) -> bool {
        self.task.is_some() && self.model.is_some()
    }
}

/// The text at a path; an empty one is none.
pub(crate) fn text(value: &Value, path: &[&str]) -> Option<String> {
    let found = path.iter().try_fold(value, |value, name| value.get(name))?;
    found
        .as_str()
        .filter(|text| !text.trim().is_empty())
        .map(str::to_owned)
}
