//! How a test's record follows from how its command ended: the last JSON object that
//! stands on a line of its stdout, its exit status, and the end of its stderr.
//!
//! What a test is (its id and cell) is the plan's to say; everything else is the
//! command's. A command that does not exit with 0 has no full success.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::plan::Row;
use super::process::{End, Ended};
use crate::config::show_exact;
use crate::stats::ErrorCategory;
use crate::store::Record;
use crate::store::digest;
use crate::store::record::object;

/// Characters of stderr's end that an error message keeps.
const MESSAGE: usize = 2_000;
/// Columns of a plan that are a record's too.
const OF_PLAN: [&str; 4] = ["task_id", "is_flawed", "flaw_type", "session_id"];

/// What a command's end means.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) record: Record,
    /// Whether the end says nothing about the model: worth another attempt.
    pub(super) broken: bool,
    /// Whether it is the infrastructure's fault.
    pub(super) infrastructure: bool,
}

/// How ends are read.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    /// Exit statuses that mean a rate limit and the like.
    pub(super) infrastructure: Vec<i32>,
    pub(super) timeout: Duration,
    pub(super) session: Option<String>,
    pub(super) zone: Option<TimeZone>,
}

impl Reading {
    /// The record of a test.
    pub(super) fn read(&self, row: &Row, test_id: &str, ended: &Ended) -> Outcome {
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        let line = result_line(&ended.stdout);
        let reported = line.is_some();
        let mut fields = line.unwrap_or_default();
        if let Some(session) = &self.session {
            fields
                .entry("session_id")
                .or_insert_with(|| session.as_str().into());
        }
        for name in OF_PLAN {
            if let Some(value) = row.fields.get(name) {
                fields.entry(name).or_insert_with(|| value.clone());
            }
        }
        fields
            .entry("execution_time")
            .or_insert_with(|| ended.took.as_secs_f64().into());
        let exited = ended.end == End::Exited(0);
        if !exited || !fields.contains_key("success") {
            fields.insert("success".to_owned(), exited.into());
        }
        let full = matches!(fields.get("success"), Some(Value::Bool(true)))
            || fields.get("success").and_then(Value::as_f64) == Some(1.0);
        if !full {
            self.explain(&mut fields, ended);
        }
        Self::place(&mut fields, row, test_id);
        let record = record(fields, &zone).unwrap_or_else(|why| {
            let mut fields = Map::new();
            let message = format!("the command's result line is not usable: {why}");
            fields.insert("success".to_owned(), false.into());
            fields.insert("error_type".to_owned(), name(ErrorCategory::Other).into());
            fields.insert("error_message".to_owned(), message.into());
            fields.insert("execution_time".to_owned(), ended.took.as_secs_f64().into());
            Self::place(&mut fields, row, test_id);
            record(fields, &zone).unwrap_or_default()
        });
        let category = digest::category(
            record.error_type.as_deref(),
            record.error_message.as_deref(),
        );
        let infrastructure = !record.success && category == Some(ErrorCategory::Infrastructure);
        let crashed = !exited && !matches!(ended.end, End::TimedOut);
        Outcome {
            broken: infrastructure || (crashed && !reported),
            infrastructure,
            record,
        }
    }

    /// Says what the test is.
    fn place(fields: &mut Map<String, Value>, row: &Row, test_id: &str) {
        for name in [
            "model",
            "prompt_type",
            "difficulty",
            "task_type",
            "tool_success_rate",
        ] {
            match row.fields.get(name) {
                Some(value) => fields.insert(name.to_owned(), value.clone()),
                None => fields.remove(name),
            };
        }
        fields.insert("test_id".to_owned(), test_id.into());
        // Ours is stamped when the record is written.
        fields.remove("process_id");
    }

    /// Why there is no full success, as far as the command does not say it itself.
    fn explain(&self, fields: &mut Map<String, Value>, ended: &Ended) {
        let kind = match ended.end {
            End::TimedOut => Some(ErrorCategory::Timeout),
            End::Exited(code) if self.infrastructure.contains(&code) => {
                Some(ErrorCategory::Infrastructure)
            }
            _ => None,
        };
        if let Some(kind) = kind {
            fields.insert("error_type".to_owned(), name(kind).into());
        }
        if fields
            .get("error_message")
            .is_some_and(|message| !message.is_null())
        {
            return;
        }
        let mut message = match ended.end {
            End::TimedOut => format!("no result within {}", length(self.timeout)),
            End::Exited(0) | End::Stopped => String::new(),
            End::Exited(code) => format!("exit status {code}"),
            End::Signalled(signal) => format!("ended by signal {signal}"),
        };
        let said = tail(&ended.stderr);
        if !said.is_empty() {
            let colon = if message.is_empty() { "" } else { ": " };
            // Writing to a string can't fail.
            let _ = write!(message, "{colon}{said}");
        }
        if !message.is_empty() {
            fields.insert("error_message".to_owned(), message.into());
        }
    }
}

/// The same reading of fields as for every other record.
fn record(fields: Map<String, Value>, zone: &TimeZone) -> Result<Record, String> {
    Record::parse_in(Value::Object(fields).to_string().as_bytes(), zone)
}

fn length(time: Duration) -> String {
    if time.subsec_nanos() == 0 {
        show_exact(time.as_secs())
    } else {
        format!("{}s", time.as_secs_f64())
    }
}

fn name(category: ErrorCategory) -> &'static str {
    category.into()
}

/// The last line that is a JSON object.
fn result_line(stdout: &[u8]) -> Option<Map<String, Value>> {
    let lines = stdout.rsplit(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines
        .filter(|line| line.starts_with(b"{"))
        .find_map(|line| object(line).ok())
}

/// The end of what was said on stderr.
fn tail(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let text = text.trim();
    let over = text.chars().count().saturating_sub(MESSAGE);
    let kept: String = text.chars().skip(over).collect();
    if over == 0 {
        kept
    } else {
        format!("…{kept}")
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::{Dimensions, product};
    use super::*;

    fn row() -> Row {
        let dimensions = Dimensions {
            models: vec!["m".into()],
            tool_success_rates: vec![0.8],
            ..Dimensions::default()
        };
        product(&dimensions, 1, None).unwrap().remove(0)
    }

    fn read(end: End, stdout: &str, stderr: &str) -> Outcome {
        let reading = Reading {
            infrastructure: vec![75],
            timeout: Duration::from_secs(90),
            ..Reading::default()
        };
        let took = Duration::from_millis(1_500);
        let ended = Ended {
            end,
            stdout: stdout.into(),
            stderr: stderr.into(),
            took,
        };
        reading.read(&row(), "t1", &ended)
    }

    /// Success, error type and message, whether it is tried again.
    fn short(outcome: &Outcome) -> (bool, Option<&str>, Option<&str>, bool) {
        let record = &outcome.record;
        (
            record.success,
            record.error_type.as_deref(),
            record.error_message.as_deref(),
            outcome.broken,
        )
    }

    #[test]
    fn the_last_object_on_stdout_is_the_result() {
        let outcome = read(
            End::Exited(0),
            "log\n{\"turns\":1}\n{\"success\":true,\"turns\":7,\"cost\":0.5,\"test_id\":\"x\",\"model\":\"other\"}\nbye\n{broken",
            "noise",
        );
        let record = &outcome.record;
        assert_eq!(short(&outcome), (true, None, None, false));
        assert_eq!((record.turns, record.execution_time), (Some(7), Some(1.5)));
        assert_eq!(
            (record.test_id.as_deref(), record.model.as_str()),
            (Some("t1"), "m"),
            "the plan's to say"
        );
        assert_eq!(record.tool_success_rate, Some(0.8));
        assert_eq!(record.extra["cost"], 0.5);
    }

    #[test]
    fn the_exit_status_counts() {
        assert_eq!(
            short(&read(End::Exited(0), "", "")),
            (true, None, None, false)
        );
        let wrong = read(
            End::Exited(0),
            "{\"success\":0,\"error_type\":\"max_turns\"}",
            "",
        );
        assert_eq!(short(&wrong), (false, Some("max_turns"), None, false));
        let crash = read(End::Exited(3), "", "Traceback\nValueError: no\n");
        assert_eq!(
            short(&crash),
            (
                false,
                None,
                Some("exit status 3: Traceback\nValueError: no"),
                true
            )
        );
        let late = read(
            End::Exited(1),
            "{\"success\":true,\"partial_success\":true}",
            "",
        );
        assert_eq!(
            short(&late),
            (false, None, Some("exit status 1"), false),
            "it reported and then failed"
        );
        assert_eq!(late.record.partial_success, Some(true));
        assert_eq!(
            short(&read(End::Signalled(9), "", "")),
            (false, None, Some("ended by signal 9"), true)
        );
    }

    #[test]
    fn timeouts_and_the_infrastructure() {
        let slow = read(End::TimedOut, "{\"turns\":3}", "still\n");
        assert_eq!(
            short(&slow),
            (
                false,
                Some("timeout"),
                Some("no result within 90s: still"),
                false
            )
        );
        assert_eq!(slow.record.turns, Some(3));
        let limit = read(End::Exited(75), "", "slow down");
        assert_eq!(
            short(&limit),
            (
                false,
                Some("infrastructure"),
                Some("exit status 75: slow down"),
                true
            )
        );
        assert!(limit.infrastructure);
        let told = read(
            End::Exited(0),
            "{\"success\":false,\"error_message\":\"HTTP 429\"}",
            "",
        );
        assert!(told.infrastructure && told.broken);
    }

    #[test]
    fn what_is_no_result_is_told() {
        let odd = read(End::Exited(0), "{\"success\":true,\"turns\":\"many\"}", "");
        let message = odd.record.error_message.as_deref().unwrap();
        assert!(
            message.starts_with("the command's result line is not usable: field 'turns'"),
            "{message}"
        );
        assert!(!odd.record.success);
        let long = read(End::Exited(1), "", &"é".repeat(5_000));
        let message = long.record.error_message.unwrap();
        assert!(
            message.chars().count() < 2_100 && message.contains(": …é"),
            "{message}"
        );
    }
}
