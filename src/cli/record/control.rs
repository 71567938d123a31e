//! Lines that say something about the program instead of a test:
//! `{"evaltop":"start","model":"m","task_id":"x"}` and the like.

use serde_json::{Map, Value};

use crate::store::format::heartbeat::InFlight;
use crate::store::format::record::object;

/// What such a line says.
#[derive(Debug, PartialEq)]
pub(super) enum Control {
    /// A test begins.
    Start(InFlight),
    /// A test is tried again after a wait, because of a status.
    Retry(InFlight, Option<i64>, f64),
    /// So many tests are to be run, in a session.
    Plan(u64, Option<String>),
    /// There is nothing to do for now.
    Idle,
    /// The program is through.
    Finished,
    /// It ends because of an error.
    Failed(Option<String>),
}

/// What a line says, if it is not a test result: one that has the field `evaltop`, and no field of
/// a result.
pub(super) fn control(line: &[u8]) -> Option<Result<Control, String>> {
    const FIELD: &[u8] = b"\"evaltop\"";
    // Nearly all lines are results, and are not read twice.
    if !line.windows(FIELD.len()).any(|part| part == FIELD) {
        return None;
    }
    let fields = object(line).ok()?;
    let word = fields.get("evaltop")?.as_str()?;
    if ["success", "score", "error_type"]
        .iter()
        .any(|name| fields.contains_key(*name))
    {
        return None;
    }
    Some(read(word, &fields))
}

fn read(word: &str, fields: &Map<String, Value>) -> Result<Control, String> {
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    };
    let number = |name: &str| fields.get(name).and_then(Value::as_f64);
    let test = || -> Result<InFlight, String> {
        let missing = |what: &str| format!("a line '{word}' must name its {what}");
        let test = InFlight {
            model: text("model").ok_or_else(|| missing("model"))?,
            test_id: text("test_id"),
            task_id: text("task_id"),
            trial: fields.get("trial").and_then(Value::as_i64),
            since: jiff::Timestamp::now().as_microsecond(),
            retries: 0,
        };
        if test.test_id.is_none() && test.task_id.is_none() {
            return Err(missing("task_id or test_id"));
        }
        Ok(test)
    };
    match word {
        "start" => test().map(Control::Start),
        "retry" => {
            let status = fields.get("status").and_then(Value::as_i64);
            let wait = number("wait").filter(|wait| wait.is_finite() && *wait >= 0.0);
            Ok(Control::Retry(test()?, status, wait.unwrap_or(0.0)))
        }
        "plan" => {
            let tests = fields.get("tests").and_then(Value::as_u64);
            let tests = tests.ok_or("a line 'plan' must say how many 'tests' there will be")?;
            Ok(Control::Plan(
                tests,
                text("session_id").or_else(|| text("session")),
            ))
        }
        "idle" => Ok(Control::Idle),
        "finished" => Ok(Control::Finished),
        "failed" => Ok(Control::Failed(text("reason"))),
        other => Err(format!(
            "'{other}' is nothing that a program can say: start, retry, plan, idle, finished or failed"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> Option<Result<Control, String>> {
        control(line.as_bytes())
    }

    #[test]
    fn lines_about_the_program_are_distinguished_from_results() {
        assert_eq!(said(r#"{"model":"m","success":true}"#), None);
        assert_eq!(
            said(r#"{"model":"m","success":true,"evaltop":"finished"}"#),
            None
        );
        assert_eq!(
            said(r#"{"model":"m","note":"\"evaltop\"","success":true}"#),
            None
        );
        assert_eq!(
            said(r#"{"evaltop":"finished"}"#),
            Some(Ok(Control::Finished))
        );
        let failed = said(r#"{"evaltop":"failed","reason":"no key"}"#);
        assert_eq!(failed, Some(Ok(Control::Failed(Some("no key".to_owned())))));
        let plan = said(r#"{"evaltop":"plan","tests":600,"session_id":"s"}"#);
        assert_eq!(plan, Some(Ok(Control::Plan(600, Some("s".to_owned())))));
    }

    #[test]
    fn tests_in_flight_are_named() {
        let Some(Ok(Control::Start(test))) =
            said(r#"{"evaltop":"start","model":"m","task_id":7,"trial":1}"#)
        else {
            panic!("no start");
        };
        assert_eq!(
            (test.model.as_str(), test.task_id.as_deref(), test.trial),
            ("m", Some("7"), Some(1))
        );
        let retry = said(r#"{"evaltop":"retry","model":"m","test_id":"t","status":429,"wait":30}"#);
        let Some(Ok(Control::Retry(test, status, wait))) = retry else {
            panic!("no retry");
        };
        assert_eq!((test.test_id.as_deref(), status), (Some("t"), Some(429)));
        assert!((wait - 30.0).abs() < 1e-9);
        for (line, why) in [
            (r#"{"evaltop":"start"}"#, "must name its model"),
            (
                r#"{"evaltop":"start","model":"m"}"#,
                "must name its task_id or test_id",
            ),
            (r#"{"evaltop":"plan"}"#, "how many 'tests'"),
            (
                r#"{"evaltop":"done"}"#,
                "'done' is nothing that a program can say",
            ),
        ] {
            let found = said(line).unwrap().unwrap_err();
            assert!(found.contains(why), "{found}");
        }
    }
}
