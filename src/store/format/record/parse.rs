//! A JSON object, as somebody else's runner wrote it, to a record. Lenient where
//! the meaning is clear (0/1 for false/true, 3.0 for 3, NaN for absent), and
//! otherwise a reason that names the field.

use std::borrow::Cow;

use jiff::tz::TimeZone;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::Record;
use super::exact;
use super::fields::{Fields, Object};
use crate::store::format::schema;

/// What a line had to be read as, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mended {
    /// Half a surrogate pair, which stands for no character, became U+FFFD.
    pub surrogates: bool,
    /// A name was there twice: the last one counts.
    pub repeated: bool,
}

/// What is said of rows with [`Mended::surrogates`].
pub(crate) const SURROGATES: &str =
    "text with half a surrogate pair (\\ud800 to \\udfff), read as U+FFFD";

/// What is said of rows with [`Mended::repeated`].
pub(crate) const REPEATED: &str = "a field that is there twice, of which the last one counts";

/// What is said of rows with both.
pub(crate) const BOTH: &str = "a field that is there twice, of which the last one counts, and text with half a \
                    surrogate pair, read as U+FFFD";

impl Mended {
    /// What is said of a row with it.
    pub(crate) fn remark(self) -> Option<&'static str> {
        match (self.repeated, self.surrogates) {
            (true, true) => Some(BOTH),
            (true, false) => Some(REPEATED),
            (false, true) => Some(SURROGATES),
            (false, false) => None,
        }
    }
}

/// A JSON object by its names. A number that no 64-bit type holds exactly is its text.
pub(crate) fn object(line: &[u8]) -> Result<Map<String, Value>, String> {
    object_mended(line).map(|(object, _)| object)
}

/// The same, with what had to be mended.
pub(crate) fn object_mended(line: &[u8]) -> Result<(Map<String, Value>, Mended), String> {
    let (object, text, mended): (Object, _, _) = lenient(line)?;
    let (mut fields, repeated) = (object.fields, object.repeated);
    if exact::has_long_number(&text) {
        exact::keep_digits(&text, &mut fields);
    }
    Ok((fields, Mended { repeated, ..mended }))
}

/// A JSON object and the text that it was read from; NaN and Infinity, which Python's
/// json.dumps writes and JSON does not know, are null.
fn lenient<T: DeserializeOwned>(line: &[u8]) -> Result<(T, Cow<'_, str>, Mended), String> {
    let text = std::str::from_utf8(line)
        .map_err(|error| format!("not UTF-8 (byte {} on)", error.valid_up_to() + 1))?;
    let error = match serde_json::from_str(text) {
        Ok(object) => return Ok((object, text.into(), Mended::default())),
        Err(error) => error,
    };
    if error.is_data() {
        return Err("not a JSON object".to_owned());
    }
    if let Some((text, mended)) = mended(text)
        && let Ok(object) = serde_json::from_str(&text)
    {
        return Ok((object, text.into(), mended));
    }
    // Without its end the line is one, and one that was cut is said to be that.
    let text = text.trim_end();
    let error = serde_json::from_str::<serde::de::IgnoredAny>(text)
        .err()
        .unwrap_or(error);
    // Its number would mislead.
    let (said, column) = (error.to_string(), error.column());
    let what = said
        .strip_suffix(&format!(" at line 1 column {column}"))
        .unwrap_or(&said);
    Err(format!("not JSON: {what} at byte {column}"))
}

impl Record {
    /// Reads one JSON object. Times without a zone are read in the system's.
    /// The error says which field is wrong, and why.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        Self::parse_in(line, &TimeZone::system())
    }

    /// Reads one JSON object; times without a zone are read in `zone`.
    pub fn parse_in(line: &[u8], zone: &TimeZone) -> Result<Self, String> {
        Self::parse_mended(line, zone).map(|(record, _)| record)
    }

    /// The same, with what had to be mended.
    pub fn parse_mended(line: &[u8], zone: &TimeZone) -> Result<(Self, Mended), String> {
        let (mut fields, read, mended): (Fields, _, _) = lenient(line)?;
        if !fields.extra.is_empty() && exact::has_long_number(&read) {
            exact::keep_digits(&read, &mut fields.extra);
        }
        let repeated = fields.repeated;
        Ok((
            Self::from_fields(fields, zone)?,
            Mended { repeated, ..mended },
        ))
    }

    /// A record of values that were read one by one; times without a zone are read in `zone`.
    /// The error says which field is wrong, and why.
    pub fn from_fields(mut fields: Fields, zone: &TimeZone) -> Result<Self, String> {
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
            success: success(f)?,
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
            // It says when this store accepted the row, so what a line brings is another one's.
            recorded_at: f.take("recorded_at").and(None),
            trial: int(f, "trial")?,
            score: float(f, "score")?,
            input_tokens: int(f, "input_tokens")?,
            output_tokens: int(f, "output_tokens")?,
            reasoning_tokens: int(f, "reasoning_tokens")?,
            cache_read_tokens: int(f, "cache_read_tokens")?,
            cache_write_tokens: int(f, "cache_write_tokens")?,
            cost: float(f, "cost")?,
            judge_cost: float(f, "judge_cost")?,
            log: log(f),
            extra: Map::new(),
        };
        let says_why = |text: &Option<String>| {
            let text = text.as_deref().map(str::trim);
            text.is_some_and(|text| !is_absent(text))
        };
        if record.success.is_none() && record.score.is_none() && !says_why(&record.error_type) {
            return Err(
                "field 'success' is missing, and neither 'score' nor 'error_type' is there"
                    .to_owned(),
            );
        }
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
pub(crate) fn is_absent(id: &str) -> bool {
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
        Some(Value::Number(number)) => match number.as_f64() {
            Some(double) if is_double(&number, double) => Ok(Some(double)),
            _ => {
                let number = Value::Number(number);
                Err(wrong(name, "a number that a double holds", &number))
            }
        },
        Some(other) => Err(wrong(name, "a number", &other)),
    }
}

/// Whether a double is that number: a whole one may have too many digits.
fn is_double(number: &Number, double: f64) -> bool {
    let whole = number.as_i64().map(i128::from);
    let whole = whole.or_else(|| number.as_u64().map(i128::from));
    whole.is_none_or(|whole| double as i128 == whole)
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

/// Whether the test succeeded; a number between the two is a score.
fn success(fields: &mut Fields) -> Result<Option<bool>, String> {
    truth(fields, "success").map_err(|why| {
        let score = why.contains("not a number");
        format!(
            "{why}{}",
            if score {
                ": put a score into 'score'"
            } else {
                ""
            }
        )
    })
}

/// Where the transcript is; what is not text is kept as JSON, as in any further column.
fn log(fields: &mut Fields) -> Option<String> {
    match fields.take("log")? {
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
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
        Value::Number(number) => match number.as_i64() {
            Some(whole) => schema::unix_micros(whole),
            None => number.as_f64().and_then(schema::unix_time),
        },
        _ => None,
    };
    micros
        .map(Some)
        .ok_or_else(|| wrong(NAME, EXPECTED, &value))
}

/// The text with `NaN`, `Infinity` and `-Infinity` outside of strings as `null`, and half
/// surrogate pairs inside of them as U+FFFD; `None` when there are none.
fn mended(text: &str) -> Option<(String, Mended)> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut inside, mut found) = (text, false, false);
    let mut mended = Mended::default();
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
            (None, '\\') if inside => match surrogate(rest) {
                Surrogate::Half => {
                    out.push('\u{fffd}');
                    (found, mended.surrogates) = (true, true);
                    rest = rest.get(6..)?;
                    continue;
                }
                Surrogate::Pair => 12,
                Surrogate::None => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            },
            (None, other) => {
                inside ^= other == '"';
                other.len_utf8()
            }
        };
        let (head, tail) = rest.split_at_checked(step)?;
        out.push_str(head);
        rest = tail;
    }
    found.then_some((out, mended))
}

/// What an escape is.
enum Surrogate {
    None,
    Half,
    Pair,
}

fn surrogate(escape: &str) -> Surrogate {
    let unit = |text: &str| {
        let figures = text.strip_prefix("\\u")?.get(..4)?;
        u16::from_str_radix(figures, 16).ok()
    };
    let second = || escape.get(6..).and_then(unit);
    match unit(escape) {
        Some(0xd800..=0xdbff) if matches!(second(), Some(0xdc00..=0xdfff)) => Surrogate::Pair,
        Some(0xd800..=0xdfff) => Surrogate::Half,
        _ => Surrogate::None,
    }
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
        assert_eq!(record.success, Some(true));
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
    fn a_test_without_a_verdict_has_a_score_or_an_error() {
        let scored = parse(
            r#"{"model":"m","success":null,"score":7.5,"log":{"path":"a"},"recorded_at":"x"}"#,
        )
        .unwrap();
        assert_eq!((scored.success, scored.score), (None, Some(7.5)));
        assert_eq!(scored.log.as_deref(), Some(r#"{"path":"a"}"#));
        assert_eq!((scored.recorded_at, scored.extra.len()), (None, 0));
        let broken = parse(r#"{"model":"m","error_type":"timeout"}"#).unwrap();
        assert_eq!(broken.success, None);
        for line in [
            r#"{"model":"m","success":NaN}"#,
            r#"{"model":"m","score":NaN,"error_type":""}"#,
            r#"{"model":"m","error_type":"None"}"#,
        ] {
            let why = parse(line).unwrap_err();
            assert!(
                why.contains("'success' is missing, and neither 'score'"),
                "{why}"
            );
        }
        let why = parse(r#"{"model":"m","success":0.73}"#).unwrap_err();
        assert!(
            why.ends_with("not a number (0.73): put a score into 'score'"),
            "{why}"
        );
    }

    #[test]
    fn half_a_surrogate_pair_is_the_replacement_character() {
        let line =
            br#"{"model":"a\ud83d\ude00b","success":true,"note":"x\ud800y\udc00\\ud800","n":NaN}"#;
        let (record, mended) = Record::parse_mended(line, &TimeZone::UTC).unwrap();
        assert_eq!(record.model, "a\u{1f600}b");
        assert_eq!(record.extra["note"], "x\u{fffd}y\u{fffd}\\ud800");
        assert!(mended.surrogates);
        let (_, mended) = object_mended(br#"{"a":"\ud83d\ude00","b":NaN}"#).unwrap();
        assert_eq!(mended, Mended::default());
    }

    #[test]
    fn every_digit_of_a_number_is_kept() {
        let record = parse(
            r#"{"model":"m","success":true,"a":9007199254740993,"b":18446744073709551615,"c":340282366920938463463374607431768211455,"d":0.1234567890123456789,"e":0.1,"f":[1,340282366920938463463374607431768211455],"g":"1234567890123456789012","h":{"x":1.5}}"#,
        )
        .unwrap();
        let shown = |name: &str| record.extra[name].to_string();
        assert_eq!(shown("a"), "9007199254740993");
        assert_eq!(shown("b"), "18446744073709551615");
        assert_eq!(record.extra["c"], "340282366920938463463374607431768211455");
        assert_eq!(record.extra["d"], "0.1234567890123456789");
        assert_eq!(shown("e"), "0.1");
        assert_eq!(
            record.extra["f"],
            "[1,340282366920938463463374607431768211455]"
        );
        assert_eq!(record.extra["g"], "1234567890123456789012");
        assert_eq!(shown("h"), r#"{"x":1.5}"#);
        let wrong = parse(r#"{"model":"m","success":true,"execution_time":9007199254740993}"#);
        assert!(wrong.unwrap_err().contains("that a double holds"));
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
            (
                "{\"model\":\"m\n",
                "not JSON: EOF while parsing a string at byte 11",
            ),
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
