//! A JSON object, as somebody else's runner wrote it, to a record. Lenient where
//! the meaning is clear (0/1 for false/true, 3.0 for 3, NaN for absent), and
//! otherwise a reason that names the field.

use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Record;
use super::fields::Fields;
use crate::store::schema;

/// A JSON object by its names.
pub(crate) fn object(line: &[u8]) -> Result<Map<String, Value>, String> {
    lenient(line)
}

/// A JSON object; NaN and Infinity, which Python's json.dumps writes and JSON does
/// not know, are null.
fn lenient<T: DeserializeOwned>(line: &[u8]) -> Result<T, String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("not UTF-8 (byte {} on)", error.valid_up_to() + 1))?;
    let error = match serde_json::from_str(text) {
        Ok(object) => return Ok(object),
        Err(error) => error,
    };
    if error.is_data() {
        return Err("not a JSON object".to_owned());
    }
    if let Some(object) = without_nan(text).and_then(|text| serde_json::from_str(&text).ok()) {
        return Ok(object);
    }
    // Here there is one line only, so its number would mislead.
    let (said, column) = (error.to_string(), error.column());
    let what = said
        .strip_suffix(&format!(" at line 1 column {column}"))
        .unwrap_or(&said);
    Err(format!("not JSON: {what} at byte {column}"))
}

/// Unix times at or above this magnitude are not in seconds, and so on upwards.
const SECONDS_BELOW: f64 = 1e11;
const MILLISECONDS_BELOW: f64 = 1e14;
const MICROSECONDS_BELOW: f64 = 1e17;

impl Record {
    /// Reads one JSON object. Times without a zone are read in the system's.
    /// The error says which field is wrong, and why.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        Self::parse_in(line, &TimeZone::system())
    }

    /// Reads one JSON object; times without a zone are read in `zone`.
    pub fn parse_in(line: &[u8], zone: &TimeZone) -> Result<Self, String> {
        let mut fields: Fields = lenient(line)?;
        fields.extra.retain(|_, value| !value.is_null());
        let f = &mut fields;
        let record = Self {
            test_id: id(f, "test_id")?.filter(|id| !is_absent(id)),
            model: text(f, "model")?
                .filter(|m| !m.trim().is_empty())
                .ok_or("field 'model' is missing")?,
            task_type: text(f, "task_type")?,
            prompt_type: text(f, "prompt_type")?,
            difficulty: text(f, "difficulty")?,
            tool_success_rate: float(f, "tool_success_rate")?,
            success: truth(f, "success")?.ok_or("field 'success' is missing")?,
            partial_success: truth(f, "partial_success")?,
            execution_time: float(f, "execution_time")?,
            turns: int(f, "turns")?,
            tool_calls: int(f, "tool_calls")?,
            tool_coverage_rate: float(f, "tool_coverage_rate")?,
            workflow_score: float(f, "workflow_score")?,
            phase2_score: float(f, "phase2_score")?,
            quality_score: float(f, "quality_score")?,
            final_score: float(f, "final_score")?,
            error_type: text(f, "error_type")?,
            error_message: text(f, "error_message")?,
            is_flawed: truth(f, "is_flawed")?,
            flaw_type: text(f, "flaw_type")?,
            task_id: id(f, "task_id")?,
            session_id: id(f, "session_id")?,
            timestamp: time(f, zone)?,
            process_id: id(f, "process_id")?,
            extra: Map::new(),
        };
        // Acknowledgements are lines.
        if record
            .test_id
            .as_ref()
            .is_some_and(|id| id.chars().any(char::is_control))
        {
            return Err("field 'test_id' has a control character in it".to_owned());
        }
        if fields.extra.contains_key("") {
            return Err("a field has an empty name".to_owned());
        }
        Ok(Self {
            extra: fields.extra,
            ..record
        })
    }
}

/// Ids that stand for "none": what pandas and `str(None)` leave behind.
fn is_absent(id: &str) -> bool {
    matches!(id, "" | "nan" | "None")
}

fn wrong(name: &str, expected: &str, found: &Value) -> String {
    let kind = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let mut shown = found.to_string();
    if let Some((at, _)) = shown.char_indices().nth(40) {
        shown.truncate(at);
        shown.push('…');
    }
    format!("field '{name}' must be {expected}, not {kind} ({shown})")
}

fn text(fields: &mut Fields, name: &str) -> Result<Option<String>, String> {
    match fields.take(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(wrong(name, "text", &other)),
    }
}

/// Text, or a whole number taken as text.
fn id(fields: &mut Fields, name: &str) -> Result<Option<String>, String> {
    match fields.take(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
        Some(other) => Err(wrong(name, "text", &other)),
    }
}

fn float(fields: &mut Fields, name: &str) -> Result<Option<f64>, String> {
    match fields.take(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(number.as_f64()),
        Some(other) => Err(wrong(name, "a number", &other)),
    }
}

fn int(fields: &mut Fields, name: &str) -> Result<Option<i64>, String> {
    let Some(value) = fields.take(name) else {
        return Ok(None);
    };
    let whole = |v: f64| (v.fract() == 0.0 && v.abs() < 9e15).then_some(v as i64);
    let number = value.as_i64().or_else(|| value.as_f64().and_then(whole));
    number
        .map(Some)
        .ok_or_else(|| wrong(name, "a whole number", &value))
}

fn truth(fields: &mut Fields, name: &str) -> Result<Option<bool>, String> {
    match fields.take(name) {
        None => Ok(None),
        Some(Value::Bool(truth)) => Ok(Some(truth)),
        Some(Value::Number(n)) if n.as_f64() == Some(1.0) => Ok(Some(true)),
        Some(Value::Number(n)) if n.as_f64() == Some(0.0) => Ok(Some(false)),
        Some(other) => Err(wrong(name, "true or false (or 1 or 0)", &other)),
    }
}

/// Text in RFC 3339 or ISO 8601, or Unix seconds, milliseconds, microseconds or
/// nanoseconds by magnitude, to microseconds.
fn time(fields: &mut Fields, zone: &TimeZone) -> Result<Option<i64>, String> {
    const NAME: &str = "timestamp";
    const EXPECTED: &str = "a time (2026-01-31T12:00:00Z, or Unix seconds)";
    let Some(value) = fields.take(NAME) else {
        return Ok(None);
    };
    let micros = match &value {
        Value::String(text) if text.trim().is_empty() || is_absent(text) => return Ok(None),
        Value::String(text) => schema::parse_time(text, zone),
        Value::Number(number) => number.as_f64().and_then(unix_time),
        _ => None,
    };
    micros
        .map(Some)
        .ok_or_else(|| wrong(NAME, EXPECTED, &value))
}

/// Microseconds since the epoch of a Unix time in seconds, milli-, micro- or
/// nanoseconds, by its magnitude; `None` for what no calendar reaches.
pub(crate) fn unix_time(number: f64) -> Option<i64> {
    let micros = match number.abs() {
        n if n < SECONDS_BELOW => number * 1e6,
        n if n < MILLISECONDS_BELOW => number * 1e3,
        n if n < MICROSECONDS_BELOW => number,
        _ => number / 1e3,
    };
    jiff::Timestamp::from_microsecond(micros.round() as i64)
        .ok()
        .map(jiff::Timestamp::as_microsecond)
}

/// `NaN`, `Infinity` and `-Infinity` outside of strings as `null`; `None` when
/// there are none.
fn without_nan(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut inside, mut found) = (text, false, false);
    while let Some(next) = rest.chars().next() {
        let literal = ["NaN", "-Infinity", "Infinity"]
            .into_iter()
            .find(|l| !inside && rest.starts_with(l));
        let step = match (literal, next) {
            (Some(literal), _) => {
                out.push_str("null");
                found = true;
                rest = rest.get(literal.len()..)?;
                continue;
            }
            (None, '\\') if inside => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            (None, other) => {
                inside ^= other == '"';
                other.len_utf8()
            }
        };
        let (head, tail) = rest.split_at_checked(step)?;
        out.push_str(head);
        rest = tail;
    }
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Record, String> {
        Record::parse_in(line.as_bytes(), &TimeZone::UTC)
    }

    #[test]
    fn takes_canonical_names_and_keeps_the_rest() {
        let record = parse(
            r#"{"test_id":17,"model":"m","success":1.0,"turns":3.0,"tool_success_rate":0.1,"note":{"a":1},"gone":null}"#,
        )
        .unwrap();
        assert_eq!(record.test_id.as_deref(), Some("17"));
        assert!(record.success);
        assert_eq!(record.turns, Some(3));
        assert_eq!(record.tool_success_rate, Some(0.1));
        assert_eq!(record.extra.len(), 1);
    }

    #[test]
    fn absent_ids_and_nan_are_absent() {
        for id in [r#""""#, r#""nan""#, r#""None""#, "NaN", "null"] {
            let record = parse(&format!(
                r#"{{"model":"a \"NaN\" b","success":true,"test_id":{id}}}"#
            ))
            .unwrap();
            assert_eq!(record.test_id, None, "{id}");
            assert_eq!(record.model, "a \"NaN\" b");
        }
        let record =
            parse(r#"{"model":"m","success":0,"final_score":NaN,"turns":-Infinity,"note":"NaN"}"#)
                .unwrap();
        assert_eq!((record.final_score, record.turns), (None, None));
        assert_eq!(record.extra["note"], "NaN");
    }

    #[test]
    fn times_come_in_many_forms() {
        let noon = 1_753_956_000_000_000_i64;
        for time in [
            r#""2025-07-31T10:00:00Z""#,
            r#""2025-07-31T12:00:00+02:00""#,
            r#""2025-07-31 10:00:00""#,
            "1753956000",
            "1753956000.0",
            "1753956000000",
            "1753956000000000",
            "1753956000000000000",
        ] {
            let record = parse(&format!(
                r#"{{"model":"m","success":true,"timestamp":{time}}}"#
            ))
            .unwrap();
            assert_eq!(record.timestamp, Some(noon), "{time}");
        }
    }

    #[test]
    fn a_reason_names_the_field() {
        for (line, part) in [
            ("{", "not JSON: EOF while parsing an object at byte 1"),
            ("[1]", "not a JSON object"),
            (r#"{"success":true}"#, "'model' is missing"),
            (r#"{"model":"m"}"#, "'success' is missing"),
            (
                r#"{"model":3,"success":true}"#,
                "'model' must be text, not a number (3)",
            ),
            (
                r#"{"model":"m","success":"yes"}"#,
                "'success' must be true or false",
            ),
            (
                r#"{"model":"m","success":2}"#,
                "'success' must be true or false",
            ),
            (
                r#"{"model":"m","success":true,"turns":1.5}"#,
                "'turns' must be a whole number",
            ),
            (
                r#"{"model":"m","success":true,"timestamp":"noon"}"#,
                "'timestamp' must be a time",
            ),
            (
                r#"{"model":"m","success":true,"execution_time":"1"}"#,
                "'execution_time' must be a number",
            ),
        ] {
            let reason = parse(line).unwrap_err();
            assert!(reason.contains(part), "{line}: {reason}");
        }
        assert!(
            Record::parse(b"{\"model\":\"\xff\"}")
                .unwrap_err()
                .contains("not UTF-8")
        );
    }
}
