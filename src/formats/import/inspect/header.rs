//! What a log says of the whole evaluation: task, model, which scorer decides.

use std::io::Read;

use serde_json::Value;

use crate::formats::import::pull::{Fault, Pull};

/// What all samples of a log share.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Header {
    pub(super) task: Option<String>,
    pub(super) model: Option<String>,
    /// The same for all attempts at one evaluation.
    pub(super) task_id: Option<String>,
    pub(super) run_id: Option<String>,
    pub(super) solver: Option<String>,
    pub(super) created: Option<String>,
    /// "success", "error", "cancelled", "started".
    pub(super) status: Option<String>,
    /// The scorer that comes first.
    pub(super) scorer: Option<String>,
    /// Which of its values comes first, where it gives several.
    pub(super) value: Option<String>,
    /// What the results list, as the columns of records are called.
    pub(super) columns: Vec<String>,
    /// What ended the evaluation.
    pub(super) error: Option<String>,
}

impl Header {
    /// Reads the header, or a whole log without its samples.
    pub(super) fn read(pull: &mut Pull<impl Read>) -> Result<Self, Fault> {
        let mut header = Self::default();
        let mut results = Value::Null;
        pull.enter_object()?;
        while let Some(name) = pull.key()? {
            match name.as_str() {
                "eval" => header.evaluation(&pull.value()?),
                "status" => header.status = text(&pull.value()?, &[]),
                "error" => header.error = text(&pull.value()?, &["message"]),
                "results" => results = pull.value()?,
                _ => pull.skip()?,
            }
        }
        pull.end()?;
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
        self.solver = field("solver");
        self.created = field("created");
        let first = eval.get("scorers").and_then(|scorers| scorers.get(0));
        self.scorer = first.and_then(|first| text(first, &["name"]));
    }

    /// Whether it tells what was evaluated.
    pub(super) fn complete(&self) -> bool {
        self.task.is_some() && self.model.is_some()
    }
}

/// The text at a path; an empty one is none.
pub(super) fn text(value: &Value, path: &[&str]) -> Option<String> {
    let found = path.iter().try_fold(value, |value, name| value.get(name))?;
    found
        .as_str()
        .filter(|text| !text.trim().is_empty())
        .map(str::to_owned)
}
