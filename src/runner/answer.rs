//! What a command says of its test on stdout, read as it comes. A result is one JSON object on
//! a line of its own; what looks like one and can't be read is an error of the test, because
//! to pass over it would turn failures into successes.

use serde_json::{Map, Value};

use crate::store::format::record::{Mended, is_absent, object_mended};

/// Bytes of the longest line that is read, as `record` has it.
pub(super) const LONGEST: usize = 16 << 20;
/// What is said of what can't be read: how it begins.
const SHOWN: usize = 60;

/// What a command's stdout comes to.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Answer {
    /// Nothing that looks like a result.
    #[default]
    Nothing,
    /// The result.
    Fields(Map<String, Value>),
    /// Something looks like a result, and this is wrong with it.
    Unreadable(String),
}

/// Reads stdout piece by piece; holds one line and one result at most.
#[derive(Debug, Default)]
pub(super) struct Listener {
    line: Vec<u8>,
    /// Of the line, more than is held was there.
    too_long: bool,
    /// The lines of an object that began on one and did not end on it.
    block: Option<Block>,
    answer: Answer,
    /// A line named a `success` and was not an object.
    mentioned: Option<String>,
    /// What the result had to be read as.
    mended: Mended,
}

impl Listener {
    /// Takes in what was read.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            let room = LONGEST.saturating_sub(self.line.len());
            self.too_long |= text.len() > room;
            self.line
                .extend_from_slice(text.get(..room).unwrap_or(text));
            if ends {
                self.end_line();
            }
        }
    }

    /// What the last object had to be read as.
    pub(super) fn mended(&self) -> Mended {
        self.mended
    }

    /// What it came to, after the end.
    pub(super) fn finish(mut self) -> Answer {
        if !self.line.is_empty() {
            self.end_line();
        }
        self.end_block();
        match (self.answer, self.mentioned) {
            (Answer::Nothing, Some(line)) => Answer::Unreadable(format!(
                "a line has a 'success' and is not a JSON object ({line}): print the object alone on its line"
            )),
            (Answer::Fields(fields), Some(line)) if !is_result(&fields) => {
                Answer::Unreadable(format!(
                    "the last JSON object has no 'success', and a line before it names one ({line}): print \
                     one object with all of it"
                ))
            }
            (answer, _) => answer,
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let too_long = std::mem::take(&mut self.too_long);
        let text = shown_last(line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&line));
        if let Some(block) = &mut self.block {
            match block.take(text) {
                Step::On => return,
                Step::Over => return self.end_block(),
                // It was not JSON; this line may be.
                Step::Broken => self.end_block(),
            }
        }
        self.read(text, too_long);
        // Seldom more than a pipe's worth, and then not worth to be kept.
        if line.capacity() <= 1 << 20 {
            self.line = line;
            self.line.clear();
        }
    }

    fn end_block(&mut self) {
        if self.block.take().is_some_and(|block| block.object) {
            self.refuse(SEVERAL_LINES.to_owned());
        }
    }

    fn read(&mut self, text: &[u8], too_long: bool) {
        let begins = text.first().copied();
        if too_long {
            if matches!(begins, Some(b'{' | b'[')) || mentions(text) {
                self.refuse(format!(
                    "a line that looks like one is longer than {} MiB",
                    LONGEST >> 20
                ));
            }
            return;
        }
        match begins {
            Some(b'{') => match object_mended(text) {
                Ok((fields, mended)) => {
                    self.mended = mended;
                    self.accept(fields);
                }
                Err(_) if Block::begins(text) => self.block = Some(Block::of(text)),
                Err(why) => self.refuse(format!("{} is {why}", start(text))),
            },
            Some(b'[') => match serde_json::from_slice::<Vec<Value>>(text) {
                Ok(values) if values.iter().any(Value::is_object) => {
                    self.refuse("it is a list: print one object, alone on its line".to_owned());
                }
                Err(error) if error.is_eof() && Block::begins(text) => {
                    self.block = Some(Block::of(text));
                }
                // Most of what begins so is a log.
                _ => self.mention(text),
            },
            _ => self.mention(text),
        }
    }

    fn mention(&mut self, text: &[u8]) {
        if mentions(text) {
            self.mentioned = Some(start(text));
        }
    }

    /// An object: the last one counts. One without `success` after one that has it, or after
    /// what could not be read, does not take its place.
    fn accept(&mut self, fields: Map<String, Value>) {
        if is_result(&fields) {
            self.answer = Answer::Fields(fields);
            return;
        }
        let alike = |name: &&String| name.trim().eq_ignore_ascii_case("success");
        if let Some(name) = fields.keys().find(alike) {
            return self.refuse(format!("its '{name}' is not called 'success'"));
        }
        match &self.answer {
            Answer::Fields(before) if is_result(before) => self.refuse(
                "the last JSON object has no 'success', and one before it has: print the result last"
                    .to_owned(),
            ),
            Answer::Unreadable(_) => {}
            // Where it agrees with the exit status it may as well be of a tool.
            _ if fields.values().any(denies) => self.refuse(
                "a 'success' inside of another field is false: print 'success' in the object itself"
                    .to_owned(),
            ),
            _ => self.answer = Answer::Fields(fields),
        }
    }

    fn refuse(&mut self, why: String) {
        self.answer = Answer::Unreadable(why);
    }
}

/// Whether a program's output ends with an object of which `success` is false.
pub(super) fn denies_success(output: &[u8]) -> bool {
    let mut listener = Listener::default();
    listener.take(output);
    matches!(listener.finish(), Answer::Fields(fields) if fields.get("success").is_some_and(is_false))
}

fn is_false(value: &Value) -> bool {
    value == &Value::Bool(false) || value.as_f64() == Some(0.0)
}

/// Whether a `success` somewhere in a value is false. Texts are not looked into: models write them.
fn denies(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| (name == "success" && is_false(value)) || denies(value)),
        Value::Array(values) => values.iter().any(denies),
        _ => false,
    }
}

/// Whether an object says by itself how the test went.
fn is_result(fields: &Map<String, Value>) -> bool {
    fields.contains_key("success") || RESULTS.into_iter().any(|name| has(fields, name))
}

/// Fields that say it without a verdict.
pub(super) const RESULTS: [&str; 2] = ["score", "error_type"];

/// Whether a field has a value.
pub(super) fn has(fields: &Map<String, Value>, name: &str) -> bool {
    match fields.get(name) {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !is_absent(text.trim()),
        Some(_) => true,
    }
}

const SEVERAL_LINES: &str =
    "it is spread over several lines: print it on one (json.dumps without indent)";

/// What a terminal would show of a line: what follows the last carriage return.
fn shown_last(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    line.rsplit(|byte| *byte == b'\r')
        .next()
        .unwrap_or(line)
        .trim_ascii()
}

/// Whether a text has a field `success`, in JSON's or in Python's way to write it, or as JSON
/// inside of a text of JSON.
fn mentions(text: &[u8]) -> bool {
    [&b"\"success\""[..], b"'success'", b"\\\"success\\\""]
        .into_iter()
        .any(|name| {
            let mut rest = text;
            while let Some(at) = rest.windows(name.len()).position(|window| window == name) {
                rest = rest.get(at + name.len()..).unwrap_or_default();
                if rest.trim_ascii_start().first() == Some(&b':') {
                    return true;
                }
            }
            false
        })
}

/// How a line begins.
fn start(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("'{shown}'")
}

/// JSON over several lines, as far as it has to be known: where it ends.
#[derive(Debug, Default)]
struct Block {
    depth: usize,
    /// An object is in it.
    object: bool,
}

enum Step {
    On,
    Over,
    /// This line is not part of it.
    Broken,
}

impl Block {
    /// Whether something is begun on a line that may go on on the next.
    fn begins(text: &[u8]) -> bool {
        matches!(Self::default().take(text), Step::On)
    }

    fn of(text: &[u8]) -> Self {
        let mut block = Self::default();
        let _ = block.take(text);
        block
    }

    fn take(&mut self, text: &[u8]) -> Step {
        let (mut in_text, mut escaped) = (false, false);
        for byte in text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => in_text = !in_text,
                _ if in_text => {}
                b'{' | b'[' => {
                    self.depth += 1;
                    self.object |= *byte == b'{';
                }
                b'}' | b']' => match self.depth {
                    0 | 1 => return Step::Over,
                    _ => self.depth -= 1,
                },
                // Numbers, and the letters of true, false, null, NaN and Infinity.
                b' ' | b'\t' | b',' | b':' | b'+' | b'-' | b'.' | b'0'..=b'9' => {}
                byte if b"truefalsenNIiyE".contains(byte) => {}
                _ => return Step::Broken,
            }
        }
        // A text can't go on on the next line.
        if in_text { Step::Broken } else { Step::On }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(stdout: &str) -> Answer {
        let mut whole = Listener::default();
        whole.take(stdout.as_bytes());
        let whole = whole.finish();
        let mut torn = Listener::default();
        for byte in stdout.as_bytes().chunks(1) {
            torn.take(byte);
        }
        assert_eq!(torn.finish(), whole, "{stdout}");
        whole
    }

    fn success(stdout: &str) -> Option<bool> {
        match answer(stdout) {
            Answer::Fields(fields) => fields.get("success").and_then(Value::as_bool),
            other => panic!("{stdout}: {other:?}"),
        }
    }

    fn why(stdout: &str) -> String {
        match answer(stdout) {
            Answer::Unreadable(why) => why,
            other => panic!("{stdout}: {other:?}"),
        }
    }

    #[test]
    fn the_last_object_on_a_line_is_the_result() {
        for stdout in [
            "{\"success\":true}",
            "log\n{\"turns\":1}\n{\"success\":true}\nbye\n",
            "{\"success\":false}\n{\"success\":true}\r\n",
            "\u{feff}{\"success\":true}\n",
            "  50 %\r 100 %\r{\"success\":true}\n",
            "[INFO] begin {x}\n[1/10] step\n[2026-01-31] x\n[]\n[1,2]\n{\"success\":true}",
            // What could not be read is made good by a result after it.
            "{'success': False}\n{\"success\":true}\n",
            "{worker-1} began\n{\"success\":true}\n",
            "{\n  \"step\": 1\n}\n{\"success\":true}\n",
            "{\"success\":true,\"score\":NaN}",
            "sent {\"success\": false}\n{\"success\":true}\nsent {\"success\": false}",
        ] {
            assert_eq!(success(stdout), Some(true), "{stdout}");
        }
        assert_eq!(success("{\"turns\":7}\n{\"cost\":1}"), None);
        for stdout in [
            "",
            "done\n\n",
            "[1, 2]\n",
            "[1,\n 2]\n",
            "[1, 2\nINFO",
            "success: all",
            "it was a \"success\"\n",
        ] {
            assert_eq!(answer(stdout), Answer::Nothing, "{stdout}");
        }
    }

    #[test]
    fn what_looks_like_a_result_and_cannot_be_read_is_no_success() {
        let several = "several lines";
        for (stdout, said) in [
            ("{\n  \"success\": false\n}\n", several),
            ("{\"success\": true,\n \"turns\": 3}\n", several),
            (
                "{\n  \"steps\": [\n    {\"success\": true}\n  ],\n  \"success\": false\n}\nbye",
                several,
            ),
            ("{\n  \"usage\": {\n    \"a\": 1\n  }\n}", several),
            ("[\n  {\"success\": false}\n]\n", several),
            (
                "{\n  \"text\": \"a } in a \\\" text\",\n  \"success\": false\n}\n",
                several,
            ),
            ("{\"success\": true,", several),
            ("{\n  \"score\": NaN,\n  \"success\": false\n}", several),
            ("[{\"success\": false}]", "it is a list"),
            ("{'success': False}", "not JSON"),
            ("{\"success\": false", several),
            ("{\"success\": tru", several),
            ("{\"success\": \"cut of", "not JSON"),
            ("{\"success\": true} trailing", "not JSON"),
            ("{broken", "'{broken' is not JSON"),
            ("{\"success\":true}\n{broken\n", "not JSON"),
            (
                "{\"success\":true}\n{\"usage\":{\"tokens\":5}}\n",
                "print the result last",
            ),
            (
                "{\"success\":false}\nlog\n{\"level\":\"info\"}\n",
                "print the result last",
            ),
            ("{broken\n{\"level\":\"info\"}\n", "not JSON"),
            (
                "INFO result={\"success\": false}\n",
                "a line has a 'success'",
            ),
            (
                "INFO result={'success': False}\n{\"turns\": 3}",
                "names one",
            ),
            (
                "\u{1b}[32m{\"success\": false}\u{1b}[0m\n",
                "a line has a 'success'",
            ),
            ("data: {\"success\" : false}\n", "a line has a 'success'"),
            (
                "{\"result\": {\"success\": false}, \"turns\": 3}",
                "inside of another field",
            ),
            (
                "{\"turns\": 3, \"tools\": [{\"success\": true}, {\"success\": 0}]}",
                "inside of another field",
            ),
            ("\"{\\\"success\\\": false}\"\n", "a line has a 'success'"),
            ("{\"Success\": false}", "'Success' is not called 'success'"),
            ("{\"success \": false}", "is not called 'success'"),
        ] {
            let why = why(stdout);
            assert!(why.contains(said), "{stdout}: {why}");
        }
    }

    #[test]
    fn a_line_may_be_as_long_as_one_of_record() {
        let line = |bytes: usize| {
            let frame = "{\"success\":true,\"log\":\"\"}".len();
            format!(
                "{{\"success\":true,\"log\":\"{}\"}}",
                "x".repeat(bytes - frame)
            )
        };
        let mut listener = Listener::default();
        listener.take(line(LONGEST).as_bytes());
        assert!(matches!(listener.finish(), Answer::Fields(_)));
        let mut listener = Listener::default();
        for piece in format!("{}\nbye\n", line(LONGEST + 1))
            .as_bytes()
            .chunks(60_000)
        {
            listener.take(piece);
        }
        let Answer::Unreadable(why) = listener.finish() else {
            panic!("it was read")
        };
        assert_eq!(why, "a line that looks like one is longer than 16 MiB");
        // Other long lines are none of ours.
        let mut listener = Listener::default();
        listener.take("x".repeat(LONGEST + 10).as_bytes());
        listener.take(b"\n{\"success\":true}\n");
        assert!(matches!(listener.finish(), Answer::Fields(_)));
    }
}
