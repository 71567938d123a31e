//! How a test's record follows from how its command ended: its answer on stdout, its exit
//! status, and the end of its stderr.
//!
//! What a test is (its id and cell) is the plan's to say; everything else is the
//! command's. A command that does not exit with 0 has no full success. One that does and
//! reports a score or an error without `success` leaves its test unscored.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::answer::{self, Answer, RESULTS, has};
use super::plan::Row;
use super::process::{End, Ended};
use crate::config::show_exact;
use crate::stats::ErrorCategory;
use crate::store::Record;
use crate::store::aggregate;

/// Characters of stderr's end that an error message keeps.
const MESSAGE: usize = 2_000;
/// Columns of a plan that are a record's too.
const OF_PLAN: [&str; 3] = ["task_id", "is_flawed", "flaw_type"];

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
        let exited = ended.end == End::Exited(0);
        let (reported, mut fields) = match &ended.answer {
            Answer::Fields(fields) => (true, fields.clone()),
            // What failed anyway says so by itself.
            Answer::Unreadable(why) if exited => {
                return Outcome {
                    record: self.unusable(row, test_id, ended, why),
                    broken: false,
                    infrastructure: false,
                };
            }
            Answer::Nothing if exited && answer::denies_success(&ended.stderr) => {
                return Outcome {
                    record: self.unusable(
                        row,
                        test_id,
                        ended,
                        "it stands on stderr: print it on stdout",
                    ),
                    broken: false,
                    infrastructure: false,
                };
            }
            Answer::Nothing | Answer::Unreadable(_) => (false, Map::new()),
        };
        for name in OF_PLAN {
            if let Some(value) = row.fields.get(name) {
                fields.entry(name).or_insert_with(|| value.clone());
            }
        }
        fields
            .entry("execution_time")
            .or_insert_with(|| ended.took.as_secs_f64().into());
        let unscored =
            exited && !has(&fields, "success") && RESULTS.iter().any(|name| has(&fields, name));
        if !exited || !(unscored || fields.contains_key("success")) {
            fields.insert("success".to_owned(), exited.into());
        }
        let full = matches!(fields.get("success"), Some(Value::Bool(true)))
            || fields.get("success").and_then(Value::as_f64) == Some(1.0);
        if !full && !unscored {
            self.explain(&mut fields, ended);
        }
        self.place(&mut fields, row, test_id);
        let record =
            record(fields, &zone).unwrap_or_else(|why| self.unusable(row, test_id, ended, &why));
        let category = aggregate::category(
            record.error_type.as_deref(),
            record.error_message.as_deref(),
        );
        let infrastructure =
            record.success != Some(true) && category == Some(ErrorCategory::Infrastructure);
        let crashed = !exited && !matches!(ended.end, End::TimedOut);
        Outcome {
            broken: infrastructure || (crashed && !reported),
            infrastructure,
            record,
        }
    }

    /// The record of a test of which nothing can be believed.
    fn unusable(&self, row: &Row, test_id: &str, ended: &Ended, why: &str) -> Record {
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        let mut fields = Map::new();
        let message = format!("the command's result line is not usable: {why}");
        fields.insert("success".to_owned(), false.into());
        fields.insert("error_type".to_owned(), name(ErrorCategory::Other).into());
        fields.insert("error_message".to_owned(), message.into());
        fields.insert("execution_time".to_owned(), ended.took.as_secs_f64().into());
        for name in OF_PLAN {
            if let Some(value) = row.fields.get(name) {
                fields.insert(name.to_owned(), value.clone());
            }
        }
        self.place(&mut fields, row, test_id);
        record(fields, &zone).unwrap_or_default()
    }

    /// Says what the test is.
    fn place(&self, fields: &mut Map<String, Value>, row: &Row, test_id: &str) {
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
        // The session is a part of what the test is: a command's own one would hide its result
        // from the next run, which looks for the plan's.
        let session = row.session(self.session.as_deref());
        let reported = match &session {
            Some(session) => fields.insert("session_id".to_owned(), session.as_str().into()),
            None => fields.remove("session_id"),
        };
        if let Some(reported) = reported.filter(|own| own.as_str() != session.as_deref()) {
            fields.insert("reported_session_id".to_owned(), reported);
        }
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
    use super::*;
    use crate::runner::answer::Listener;
    use crate::runner::plan::{Dimensions, product};
    use crate::store::format::record::Mended;

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
        let mut listener = Listener::default();
        listener.take(stdout.as_bytes());
        let ended = Ended {
            end,
            mended: Mended::default(),
            answer: listener.finish(),
            stderr: stderr.into(),
            took,
        };
        reading.read(&row(), "t1", &ended)
    }

    /// Success, error type and message, whether it is tried again.
    fn short(outcome: &Outcome) -> (bool, Option<&str>, Option<&str>, bool) {
        let record = &outcome.record;
        (
            record.success == Some(true),
            record.error_type.as_deref(),
            record.error_message.as_deref(),
            outcome.broken,
        )
    }

    #[test]
    fn the_last_object_on_stdout_is_the_result() {
        let outcome = read(
            End::Exited(0),
            "log\n{\"turns\":1}\n{\"success\":true,\"turns\":7,\"cost\":0.5,\"test_id\":\"x\",\"model\":\"other\"}\nbye\n",
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
        assert_eq!(record.cost, Some(0.5));
    }

    #[test]
    fn a_score_alone_leaves_the_test_unscored() {
        let scored = read(End::Exited(0), "{\"score\":0.4}", "noise");
        let record = &scored.record;
        assert_eq!((record.success, record.score), (None, Some(0.4)));
        assert_eq!(
            (record.error_message.as_deref(), scored.broken),
            (None, false)
        );
        let failed = read(End::Exited(3), "{\"score\":0.4}", "");
        assert_eq!(failed.record.success, Some(false));
        let error = read(End::Exited(0), "{\"error_type\":\"timeout\"}", "noise");
        assert_eq!(error.record.success, None);
        assert_eq!(short(&error), (false, Some("timeout"), None, false));
        let later = read(
            End::Exited(0),
            "{\"error_type\":\"timeout\"}\n{\"tokens\":3}",
            "",
        );
        assert_eq!(later.record.success, Some(false));
        let empty = read(End::Exited(0), "{\"error_type\":\"\"}", "");
        assert_eq!(empty.record.success, Some(true));
        let nothing = read(End::Exited(0), "{\"score\":null}", "");
        assert_eq!(nothing.record.success, Some(true));
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
        let outcome = read(
            End::Exited(0),
            "{\"success\":false,\"error_message\":\"HTTP 429\"}",
            "",
        );
        assert!(outcome.infrastructure && outcome.broken);
    }

    #[test]
    fn what_is_no_result_is_reported() {
        let odd = read(End::Exited(0), "{\"success\":true,\"turns\":\"many\"}", "");
        let message = odd.record.error_message.as_deref().unwrap();
        assert!(
            message.starts_with("the command's result line is not usable: field 'turns'"),
            "{message}"
        );
        assert_eq!(odd.record.success, Some(false));
        let pretty = read(End::Exited(0), "{\n  \"success\": true\n}\n", "");
        let message = pretty.record.error_message.as_deref().unwrap();
        assert!(
            message.starts_with("the command's result line is not usable: it is spread over"),
            "{message}"
        );
        assert_eq!(pretty.record.tool_success_rate, Some(0.8));
        assert_eq!((pretty.record.success, pretty.broken), (Some(false), false));
        let crash = read(End::Exited(3), "{\n  \"success\": true\n}\n", "no");
        assert_eq!(
            short(&crash),
            (false, None, Some("exit status 3: no"), true)
        );
        let aside = read(End::Exited(0), "", "log\n{\"success\":false}\n");
        let message = aside.record.error_message.as_deref().unwrap();
        assert!(message.contains("on stderr"), "{message}");
        assert_eq!(aside.record.success, Some(false));
        for (stdout, stderr) in [
            ("", "{\"level\":\"info\"}\n"),
            ("", "{\"event\":\"tool_call\",\"success\":true}\n"),
            (
                "{\"turns\":3,\"tool\":{\"name\":\"ls\",\"success\":true}}\n",
                "",
            ),
            (
                "{\"turns\":3,\"output\":\"call({\\\"success\\\": false})\"}\n",
                "",
            ),
        ] {
            let logged = read(End::Exited(0), stdout, stderr);
            assert_eq!(logged.record.success, Some(true), "{stdout}{stderr}");
        }
        let long = read(End::Exited(1), "", &"é".repeat(5_000));
        let message = long.record.error_message.unwrap();
        assert!(
            message.chars().count() < 2_100 && message.contains(": …é"),
            "{message}"
        );
    }
}
