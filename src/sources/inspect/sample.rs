//! One sample of a log as the fields of a record. Messages are counted and events
//! passed over as they are read, so a long conversation costs no memory.

use std::collections::HashSet;
use std::io::Read;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::header::{Header, text};
use crate::sources::json_reader::{Fault, JsonReader, Shape};
use crate::sources::score::Scores;
use crate::store::aggregate::category;

/// A sample's score is a word: `left`, `both`.
pub(crate) const WORDED: &str = "worded";
/// A sample has neither score nor error.
pub(crate) const UNSCORED: &str = "unscored";
/// What its record says then.
const NO_SCORE: &str = "no score";

/// What is read of a sample.
#[derive(Debug, Default)]
struct Sample {
    id: Option<String>,
    epoch: Option<u64>,
    scores: Scores,
    metadata: Option<Value>,
    error: Option<String>,
    limit: Option<String>,
    usage: Value,
    total_time: Option<f64>,
    working_time: Option<f64>,
    started: Option<String>,
    completed: Option<String>,
    /// Times of the first and the last event.
    events: (Option<String>, Option<String>),
    turns: Option<u64>,
    tool_calls: u64,
    /// A field is there twice.
    repeated: bool,
}

/// The fields of a record with the name of the sample, and what is to be reported of it.
pub(crate) type Row = (String, Map<String, Value>, Option<&'static str>);

/// Reads one sample.
pub(crate) fn read(json: &mut JsonReader<impl Read>, header: &Header) -> Result<Row, Fault> {
    let begin = json.fault("a sample without an id");
    let sample = Sample::read(json)?;
    let mut mended = json.mended();
    mended.repeated |= sample.repeated;
    let Some(id) = sample.id.clone() else {
        return Err(begin);
    };
    let epoch = sample.epoch.unwrap_or(1);
    let name = format!("sample {id}, epoch {epoch}");
    let (scorer, value) = (header.scorer.as_deref(), header.value.as_deref());
    let score = sample.scores.deciding(scorer, value);
    // What is not a number is a value all the same.
    let worded = score.is_none() && sample.error.is_none() && sample.scores.said(scorer);
    let unscored = score.is_none() && sample.error.is_none() && !worded;
    let task = header.task.clone().unwrap_or_default();
    // An evaluation keeps its id when it is tried again, so the newest attempt counts.
    let evaluation = header.evaluation_id();
    let mut fields = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    put(
        "test_id",
        format!("{}/{id}/{epoch}", evaluation.unwrap_or(&task)).into(),
    );
    put("model", json!(header.model));
    put("task_type", json!(header.task));
    put("prompt_type", json!(header.solver));
    put(
        "difficulty",
        sample.metadata.as_ref().map_or(Value::Null, difficulty),
    );
    put("task_id", format!("{task}/{id}").into());
    put("epoch", epoch.into());
    if !worded {
        put("success", score.is_some_and(|score| score >= 1.0).into());
        let partial = score.is_some_and(|score| score > 0.0 && score < 1.0);
        put("partial_success", partial.into());
    }
    put("trial", epoch.into());
    put("score", json!(score));
    put("final_score", json!(score));
    put("execution_time", json!(sample.execution_time()));
    put("working_time", json!(sample.working_time));
    put("turns", json!(sample.turns));
    put(
        "tool_calls",
        sample
            .turns
            .map_or(Value::Null, |_| sample.tool_calls.into()),
    );
    put("timestamp", json!(sample.timestamp(header, unscored)));
    // A retry has another run id, so that one says nothing.
    let session = header.eval_set_id.as_deref().or(header.evaluation_id());
    put("session_id", json!(session));
    let log = header.log.as_ref().map(|log| format!("{log}#{id}"));
    put("log", json!(log));
    if score.is_none_or(|score| score < 1.0) {
        let (kind, message) = sample.failure(unscored);
        put("error_type", json!(kind));
        put("error_message", json!(message));
    }
    put("limit", json!(sample.limit));
    put("metadata", sample.metadata.clone().unwrap_or_default());
    let model = header.model.as_deref();
    for (name, tokens) in tokens(&sample.usage, model) {
        put(name, tokens.into());
    }
    let (cost, judge_cost) = costs(&sample.usage, model);
    put("cost", json!(cost));
    put("judge_cost", json!(judge_cost));
    sample.scores.columns(&mut fields);
    let remark = match (unscored, worded) {
        (true, _) => Some(UNSCORED),
        (_, true) => Some(WORDED),
        _ => mended.remark(),
    };
    Ok((name, fields, remark))
}

impl Sample {
    fn read(json: &mut JsonReader<impl Read>) -> Result<Self, Fault> {
        let mut sample = Self::default();
        let mut names = HashSet::new();
        json.enter_object()?;
        while let Some(name) = json.key()? {
            sample.repeated |= !names.insert(name.clone());
            match name.as_str() {
                "id" => {
                    sample.id = match json.value()? {
                        Value::String(id) => Some(id),
                        Value::Number(id) => Some(id.to_string()),
                        _ => None,
                    }
                }
                "epoch" => sample.epoch = json.value()?.as_u64(),
                "score" | "scores" => sample.scores = Scores::new(json.value()?, &name),
                "metadata" => {
                    let empty = |value: &Value| value.as_object().is_none_or(Map::is_empty);
                    sample.metadata = Some(json.value()?).filter(|value| !empty(value));
                }
                "error" => sample.error = text(&json.value()?, &["message"]),
                "limit" => sample.limit = text(&json.value()?, &["type"]),
                "model_usage" => sample.usage = json.value()?,
                "total_time" => sample.total_time = json.value()?.as_f64(),
                "working_time" => sample.working_time = json.value()?.as_f64(),
                "started_at" => sample.started = text(&json.value()?, &[]),
                "completed_at" => sample.completed = text(&json.value()?, &[]),
                "messages" if json.shape()? == Shape::Array => sample.messages(json)?,
                "events" if json.shape()? == Shape::Array => sample.events(json)?,
                _ => json.skip()?,
            }
        }
        Ok(sample)
    }

    fn messages(&mut self, json: &mut JsonReader<impl Read>) -> Result<(), Fault> {
        let mut turns = 0;
        json.enter_array()?;
        while json.element()? {
            let (mut assistant, mut calls) = (false, 0);
            json.enter_object()?;
            while let Some(name) = json.key()? {
                match name.as_str() {
                    "role" => assistant = json.value()? == "assistant",
                    "tool_calls" => calls = json.value()?.as_array().map_or(0, Vec::len) as u64,
                    _ => json.skip()?,
                }
            }
            if assistant {
                turns += 1;
                self.tool_calls += calls;
            }
        }
        self.turns = Some(turns);
        Ok(())
    }

    fn events(&mut self, json: &mut JsonReader<impl Read>) -> Result<(), Fault> {
        json.enter_array()?;
        while json.element()? {
            json.enter_object()?;
            while let Some(name) = json.key()? {
                if name == "timestamp" {
                    let time = text(&json.value()?, &[]);
                    self.events = (
                        self.events.0.take().or(time.clone()),
                        time.or(self.events.1.take()),
                    );
                } else {
                    json.skip()?;
                }
            }
        }
        Ok(())
    }

    /// Seconds from beginning to end.
    fn execution_time(&self) -> Option<f64> {
        let between = |from: &Option<String>, to: &Option<String>| {
            let (from, to): (Timestamp, Timestamp) =
                (from.as_ref()?.parse().ok()?, to.as_ref()?.parse().ok()?);
            Some(to.duration_since(from).as_secs_f64()).filter(|seconds| *seconds >= 0.0)
        };
        self.total_time
            .or_else(|| between(&self.started, &self.completed))
            .or_else(|| between(&self.events.0, &self.events.1))
    }

    /// When it ended, or the last that is known of it. A sample without a score is a
    /// little older, so that the same one with a score takes its place.
    fn timestamp(&self, header: &Header, unscored: bool) -> Option<String> {
        let known = [
            &self.completed,
            &self.events.1,
            &self.started,
            &header.created,
        ];
        let time = known.into_iter().flatten().next()?;
        match time.parse::<Timestamp>() {
            Ok(at) if unscored => Some(
                Timestamp::from_microsecond(at.as_microsecond() - 1)
                    .unwrap_or(at)
                    .to_string(),
            ),
            _ => Some(time.clone()),
        }
    }

    /// The kind of failure and what was said of it.
    fn failure(&self, unscored: bool) -> (Option<&str>, Option<String>) {
        if let Some(message) = &self.error {
            // Most begin with the name of an exception.
            let name = message.split(['(', ':']).next().filter(|name| {
                !name.contains(' ')
                    && ["Error", "Exception", "Exceeded"]
                        .iter()
                        .any(|end| name.ends_with(end))
            });
            return (
                category(name, Some(message)).map(Into::into),
                Some(message.clone()),
            );
        }
        match self.limit.as_deref() {
            Some("time" | "working") => (Some("timeout"), Some("time limit".to_owned())),
            Some("message" | "turn") => (Some("max_turns"), Some("message limit".to_owned())),
            Some(other) => (Some("other"), Some(format!("{other} limit"))),
            None if unscored => (Some("infrastructure"), Some(NO_SCORE.to_owned())),
            None => (None, None),
        }
    }
}

/// The difficulty, where the dataset says.
fn difficulty(metadata: &Value) -> Value {
    let found = ["difficulty", "level"]
        .iter()
        .find_map(|name| metadata.get(name));
    match found {
        Some(Value::String(text)) => text.clone().into(),
        Some(Value::Number(number)) => number.to_string().into(),
        _ => Value::Null,
    }
}

/// What the evaluated model used: its own entry, or all where none has its name. The others
/// are those of judges.
fn own_usage<'a>(usage: &'a Value, model: Option<&str>) -> Vec<&'a Value> {
    let entries = usage.as_object();
    match entries.and_then(|entries| entries.get(model?)) {
        Some(own) => vec![own],
        None => entries.into_iter().flat_map(Map::values).collect(),
    }
}

/// Tokens of the evaluated model.
fn tokens(usage: &Value, model: Option<&str>) -> Vec<(&'static str, u64)> {
    const NAMES: [(&str, &str); 6] = [
        ("input_tokens", "input_tokens"),
        ("output_tokens", "output_tokens"),
        ("total_tokens", "total_tokens"),
        ("reasoning_tokens", "reasoning_tokens"),
        ("cache_read_tokens", "input_tokens_cache_read"),
        ("cache_write_tokens", "input_tokens_cache_write"),
    ];
    let own = own_usage(usage, model);
    let sum = |(name, field): (&'static str, &str)| {
        let counts = own.iter().filter_map(|usage| usage.get(field)?.as_u64());
        let sum = counts.fold(None, |sum: Option<u64>, count| {
            Some(sum.unwrap_or_default().saturating_add(count))
        });
        sum.map(|sum| (name, sum))
    };
    NAMES.into_iter().filter_map(sum).collect()
}

/// What the evaluated model and what the judges cost, where the log says so.
fn costs(usage: &Value, model: Option<&str>) -> (Option<f64>, Option<f64>) {
    let add = |entries: &mut dyn Iterator<Item = &Value>| {
        let costs = entries.filter_map(|usage| usage.get("total_cost")?.as_f64());
        costs.fold(None, |sum: Option<f64>, cost| {
            Some(sum.unwrap_or_default() + cost)
        })
    };
    let own = add(&mut own_usage(usage, model).into_iter());
    let named = usage
        .as_object()
        .filter(|entries| model.is_some_and(|model| entries.contains_key(model)));
    let judges = named.into_iter().flatten();
    let mut judges = judges
        .filter(|(name, _)| Some(name.as_str()) != model)
        .map(|(_, usage)| usage);
    (own, add(&mut judges))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sample: &Value) -> (Map<String, Value>, Option<&'static str>) {
        let text = serde_json::to_vec(sample).unwrap();
        let header = Header {
            task: Some("t".to_owned()),
            model: Some("m".to_owned()),
            task_id: Some("e".to_owned()),
            created: Some("2026-01-01T00:00:00+00:00".to_owned()),
            scorer: Some("match".to_owned()),
            ..Header::default()
        };
        let (_, fields, remark) =
            read(&mut JsonReader::new(text.as_slice()).unwrap(), &header).unwrap();
        (fields, remark)
    }

    #[test]
    fn a_sample_becomes_a_record() {
        let (fields, remark) = row(&json!({
            "id": "q 1", "epoch": 2,
            "scores": {"other": {"value": 0}, "match": {"value": "P"}},
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "tool_calls": [{"id": "1"}, {"id": "2"}]},
                {"role": "tool", "tool_calls": [{}]},
                {"role": "assistant", "content": "bye", "tool_calls": null},
            ],
            "events": [{"timestamp": "2026-01-01T00:00:01+00:00", "event": "x"},
                       {"timestamp": "2026-01-01T00:00:03.5+00:00"}],
            "model_usage": {"a": {"input_tokens": 3, "output_tokens": 1}, "b": {"input_tokens": 4}},
            "metadata": {"level": 3},
        }));
        assert_eq!(remark, None);
        for (name, expected) in [
            ("test_id", json!("e/q 1/2")),
            ("task_id", json!("t/q 1")),
            ("success", json!(false)),
            ("partial_success", json!(true)),
            ("final_score", json!(0.5)),
            ("turns", json!(2)),
            ("tool_calls", json!(2)),
            ("execution_time", json!(2.5)),
            ("timestamp", json!("2026-01-01T00:00:03.5+00:00")),
            ("input_tokens", json!(7)),
            ("output_tokens", json!(1)),
            ("difficulty", json!("3")),
            ("score_other", json!(0.0)),
        ] {
            assert_eq!(fields.get(name), Some(&expected), "{name}");
        }
        assert_eq!(fields.get("error_type"), None);
    }

    #[test]
    fn failures_have_their_kind() {
        for (sample, kind, message) in [
            (
                json!({"error": {"message": "RateLimitError('slow down')"}}),
                "infrastructure",
                "RateLimitError('slow down')",
            ),
            (
                json!({"error": {"message": "TimeoutError()"}}),
                "timeout",
                "TimeoutError()",
            ),
            (
                json!({"error": {"message": "it broke in order"}}),
                "other",
                "it broke in order",
            ),
            (
                json!({"limit": {"type": "message"}, "scores": {"match": {"value": "I"}}}),
                "max_turns",
                "message limit",
            ),
            (json!({"limit": {"type": "time"}}), "timeout", "time limit"),
            (json!({"scores": {}}), "infrastructure", NO_SCORE),
        ] {
            let mut sample = sample;
            sample["id"] = json!(1);
            let (fields, _) = row(&sample);
            assert_eq!(fields["success"], false);
            assert_eq!(
                (&fields["error_type"], &fields["error_message"]),
                (&json!(kind), &json!(message))
            );
        }
    }

    #[test]
    fn a_later_score_is_the_newer_attempt() {
        let (unscored, remark) = row(&json!({"id": 1}));
        assert_eq!(remark, Some(UNSCORED));
        let (scored, remark) = row(&json!({"id": 1, "scores": {"match": {"value": "C"}}}));
        assert_eq!(remark, None);
        assert_eq!(unscored["test_id"], scored["test_id"]);
        let time = |fields: &Map<String, Value>| {
            fields["timestamp"]
                .as_str()
                .unwrap()
                .parse::<Timestamp>()
                .unwrap()
        };
        assert!(time(&unscored) < time(&scored));
    }
}
