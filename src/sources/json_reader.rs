//! A JSON document piece by piece, so that memory is bounded by its largest value
//! that someone asks for, not by the document. Takes what Python's json writes: NaN
//! and Infinity are null. Every complaint names the byte.

use crate::limits::LIMITS;
use std::io::{self, Read};

use serde_json::{Map, Number, Value};

use crate::store::format::record::Mended;

/// Deeper documents are refused: values are built by recursion.
const DEEPEST: usize = 128;
const BUFFER: usize = 64 << 10;

/// Why a document can't be read on.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The file behind it failed.
    Io(io::Error),
    /// It is not JSON, or not of the shape that was asked for.
    Json {
        /// The byte, from 1.
        at: u64,
        /// What is wrong there.
        why: String,
    },
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

type Result<T> = std::result::Result<T, Fault>;

/// What the next value is, by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Object,
    Array,
    Text,
    /// A number, true, false, null, NaN, Infinity.
    Plain,
    /// Nothing follows.
    End,
}

/// Reads a document from front to back.
#[derive(Debug)]
pub(crate) struct JsonReader<R> {
    reader: R,
    buffer: Vec<u8>,
    /// The part of the buffer that is not consumed yet.
    next: usize,
    filled: usize,
    /// Bytes before the buffer.
    before: u64,
    /// The objects and lists that are open: whether nothing in them was read yet.
    open: Vec<bool>,
    /// What had to be mended since it was asked for.
    mended: Mended,
}

impl<R: Read> JsonReader<R> {
    /// Begins; a byte order mark is passed over.
    pub(crate) fn new(reader: R) -> Result<Self> {
        let buffer = vec![0; BUFFER];
        let mut json = Self {
            reader,
            buffer,
            next: 0,
            filled: 0,
            before: 0,
            open: Vec::new(),
            mended: Mended::default(),
        };
        for mark in [0xef, 0xbb, 0xbf] {
            if json.byte()? != Some(mark) {
                break;
            }
            json.next += 1;
        }
        Ok(json)
    }

    /// What the values since the last call had to be read as.
    pub(crate) fn mended(&mut self) -> Mended {
        std::mem::take(&mut self.mended)
    }

    /// Bytes consumed so far.
    pub(crate) fn offset(&self) -> u64 {
        self.before + self.next as u64
    }

    /// What the next value is.
    pub(crate) fn shape(&mut self) -> Result<Shape> {
        Ok(match self.peek()? {
            None => Shape::End,
            Some(b'{') => Shape::Object,
            Some(b'[') => Shape::Array,
            Some(b'"') => Shape::Text,
            Some(_) => Shape::Plain,
        })
    }

    /// Enters an object, to be read with [`JsonReader::key`] until that says `None`.
    pub(crate) fn enter_object(&mut self) -> Result<()> {
        self.enter(b'{', "an object")
    }

    /// Enters a list, to be read with [`JsonReader::element`] until that says `false`.
    pub(crate) fn enter_array(&mut self) -> Result<()> {
        self.enter(b'[', "a list")
    }

    /// The next name in the object, whose value must be read next; `None` at its end.
    pub(crate) fn key(&mut self) -> Result<Option<String>> {
        if !self.more(b'}')? {
            return Ok(None);
        }
        if self.peek()? != Some(b'"') {
            return Err(self.found("a name in quotes"));
        }
        let name = self.text(self.offset())?;
        self.expect(b':', "':' after a name")?;
        Ok(Some(name))
    }

    /// Whether the list has another value, which must be read next.
    pub(crate) fn element(&mut self) -> Result<bool> {
        self.more(b']')
    }

    /// The next value as a whole, which must not be longer than `value_bytes` of [`LIMITS`].
    pub(crate) fn value(&mut self) -> Result<Value> {
        self.shape()?;
        let begin = self.offset();
        self.value_from(begin)
    }

    fn value_from(&mut self, begin: u64) -> Result<Value> {
        match self.shape()? {
            Shape::Object => {
                self.enter_object()?;
                let mut fields = Map::new();
                while let Some(name) = self.key()? {
                    let value = self.value_from(begin)?;
                    self.mended.repeated |= fields.insert(name, value).is_some();
                }
                Ok(Value::Object(fields))
            }
            Shape::Array => {
                self.enter_array()?;
                let mut values = Vec::new();
                while self.element()? {
                    values.push(self.value_from(begin)?);
                }
                Ok(Value::Array(values))
            }
            Shape::Text => Ok(Value::String(self.text(begin)?)),
            Shape::Plain => {
                self.short(begin)?;
                self.plain()
            }
            Shape::End => Err(self.found("a value")),
        }
    }

    /// Passes over the next value without keeping any of it.
    pub(crate) fn skip(&mut self) -> Result<()> {
        match self.shape()? {
            Shape::Object => {
                self.enter_object()?;
                while self.more(b'}')? {
                    self.skip_text()?;
                    self.expect(b':', "':' after a name")?;
                    self.skip()?;
                }
                Ok(())
            }
            Shape::Array => {
                self.enter_array()?;
                while self.element()? {
                    self.skip()?;
                }
                Ok(())
            }
            Shape::Text => self.skip_text(),
            Shape::Plain => self.plain().map(drop),
            Shape::End => Err(self.found("a value")),
        }
    }

    /// Nothing but space may follow.
    pub(crate) fn end(&mut self) -> Result<()> {
        match self.peek()? {
            None => Ok(()),
            Some(_) => Err(self.found("nothing more after the document")),
        }
    }

    /// A complaint about what stands here.
    pub(crate) fn fault(&self, why: impl Into<String>) -> Fault {
        Fault::Json {
            at: self.offset() + 1,
            why: why.into(),
        }
    }

    fn enter(&mut self, bracket: u8, what: &str) -> Result<()> {
        if self.peek()? != Some(bracket) {
            return Err(self.found(what));
        }
        self.next += 1;
        if self.open.len() >= DEEPEST {
            return Err(self.fault(format!("more than {DEEPEST} values inside each other")));
        }
        self.open.push(true);
        Ok(())
    }

    /// Whether the innermost open object or list goes on; closes it otherwise.
    fn more(&mut self, bracket: u8) -> Result<bool> {
        let found = self.peek()?;
        if found == Some(bracket) {
            self.next += 1;
            self.open.pop();
            return Ok(false);
        }
        let first = self.open.last_mut().is_some_and(std::mem::take);
        if !first {
            if found != Some(b',') {
                return Err(self.found(&format!("',' or '{}'", char::from(bracket))));
            }
            self.next += 1;
        }
        Ok(true)
    }

    fn expect(&mut self, byte: u8, what: &str) -> Result<()> {
        if self.peek()? != Some(byte) {
            return Err(self.found(what));
        }
        self.next += 1;
        Ok(())
    }

    fn found(&mut self, wanted: &str) -> Fault {
        let found = match self.byte() {
            Err(fault) => return fault,
            Ok(None) => "the end of the file".to_owned(),
            Ok(Some(byte)) if byte.is_ascii_graphic() => format!("'{}'", char::from(byte)),
            Ok(Some(byte)) => format!("the byte {byte:#04x}"),
        };
        self.fault(format!("expected {wanted}, found {found}"))
    }

    /// The next byte that is not a space, without consuming it.
    fn peek(&mut self) -> Result<Option<u8>> {
        loop {
            let rest = self.rest()?;
            if rest.is_empty() {
                return Ok(None);
            }
            match rest
                .iter()
                .position(|b| !matches!(b, b' ' | b'\t' | b'\n' | b'\r'))
            {
                Some(at) => {
                    let byte = rest.get(at).copied();
                    self.next += at;
                    return Ok(byte);
                }
                None => self.next = self.filled,
            }
        }
    }

    fn byte(&mut self) -> Result<Option<u8>> {
        Ok(self.rest()?.first().copied())
    }

    /// What is in the buffer, filled again when it is used up; empty at the end.
    fn rest(&mut self) -> Result<&[u8]> {
        if self.next >= self.filled {
            self.before += self.filled as u64;
            self.next = 0;
            self.filled = loop {
                match self.reader.read(&mut self.buffer) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    other => break other?,
                }
            };
        }
        Ok(self.buffer.get(self.next..self.filled).unwrap_or_default())
    }

    /// Complains when what began there is too long to be held.
    fn short(&self, begin: u64) -> Result<()> {
        if self.offset() - begin <= LIMITS.value_bytes {
            return Ok(());
        }
        let size = LIMITS.value_bytes >> 20;
        let why = format!(
            "a value that begins here is longer than {size} MiB: take it out, or shorten it"
        );
        Err(Fault::Json { at: begin + 1, why })
    }

    /// Goes over a text; `keep` gets what stands between its escapes, and those, and says
    /// whether there is room for more.
    fn over_text(&mut self, mut keep: impl FnMut(&[u8]) -> bool) -> Result<()> {
        let begin = self.offset() + 1;
        let endless = || Fault::Json {
            at: begin,
            why: "a text that begins here does not end".to_owned(),
        };
        self.expect(b'"', "a text in quotes")?;
        loop {
            let rest = self.rest()?;
            if rest.is_empty() {
                return Err(endless());
            }
            let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'\\')) else {
                let room = keep(rest);
                self.next = self.filled;
                if room {
                    continue;
                }
                return Ok(());
            };
            let (plain, special) = rest.split_at(at);
            let room = keep(plain);
            let ends = special.first() == Some(&b'"');
            self.next += at + 1;
            if ends {
                return Ok(());
            }
            // The escaped byte comes along, so that an escaped quote ends nothing.
            let Some(escaped) = self.byte()? else {
                return Err(endless());
            };
            self.next += 1;
            if !(room && keep(&[b'\\', escaped])) {
                return Ok(());
            }
        }
    }

    fn skip_text(&mut self) -> Result<()> {
        self.peek()?;
        self.over_text(|_| true)
    }

    /// A text of a value that began at `from`.
    fn text(&mut self, from: u64) -> Result<String> {
        self.peek()?;
        let begin = self.offset() + 1;
        let room = (from + LIMITS.value_bytes).saturating_sub(begin);
        let (mut bytes, mut escapes) = (Vec::new(), false);
        self.over_text(|part| {
            escapes |= part.first() == Some(&b'\\');
            bytes.extend_from_slice(part);
            bytes.len() as u64 <= room
        })?;
        self.short(from)?;
        let text = String::from_utf8(bytes).map_err(|error| Fault::Json {
            at: begin + 1 + error.utf8_error().valid_up_to() as u64,
            why: "not UTF-8: convert the file".to_owned(),
        })?;
        if !escapes {
            return Ok(text);
        }
        unescape(&text, &mut self.mended.surrogates).map_err(|(at, why)| Fault::Json {
            at: begin + 1 + at as u64,
            why,
        })
    }

    /// A number or a word; what is not a number is null.
    fn plain(&mut self) -> Result<Value> {
        let at = self.offset() + 1;
        let mut word = Vec::new();
        while let Some(byte) = self
            .byte()?
            .filter(|b| b.is_ascii_alphanumeric() || b"+-.".contains(b))
        {
            // Longer ones are no numbers; they must not fill the memory.
            if word.len() > 400 {
                break;
            }
            word.push(byte);
            self.next += 1;
        }
        match word.as_slice() {
            b"true" => return Ok(Value::Bool(true)),
            b"false" => return Ok(Value::Bool(false)),
            b"null" | b"NaN" | b"nan" | b"Infinity" | b"-Infinity" => return Ok(Value::Null),
            b"" => return Err(self.found("a value")),
            _ => {}
        }
        let text = String::from_utf8_lossy(&word);
        match serde_json::from_str::<Number>(&text) {
            Ok(number) => Ok(Value::Number(number)),
            // Larger than any double: what Python would read as Infinity.
            Err(_) if text.parse::<f64>().is_ok_and(f64::is_infinite) => Ok(Value::Null),
            Err(_) => Err(Fault::Json {
                at,
                why: format!("'{}' is not a value", brief(&text)),
            }),
        }
    }
}

fn brief(text: &str) -> String {
    super::convert::brief(text)
}

/// A text without its escapes; half a surrogate pair, which Python lets pass, is
/// the replacement character, and is reported in `halves`.
fn unescape(text: &str, halves: &mut bool) -> std::result::Result<String, (usize, String)> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        let here = text.len() - escape.len();
        let wrong = || (here, "an escape that JSON does not know".to_owned());
        let mut chars = escape.chars();
        chars.next();
        plain.push(match chars.next() {
            Some('n') => '\n',
            Some('t') => '\t',
            Some('r') => '\r',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some(same @ ('"' | '\\' | '/')) => same,
            Some('u') => {
                let first = unit(chars.as_str()).ok_or_else(wrong)?;
                let second = chars
                    .as_str()
                    .get(4..)
                    .and_then(|rest| rest.strip_prefix("\\u"))
                    .and_then(unit);
                let pair =
                    second.and_then(|second| char::decode_utf16([first, second]).next()?.ok());
                let pair = pair.filter(|c| *c > '\u{ffff}');
                chars = chars
                    .as_str()
                    .get(if pair.is_some() { 10 } else { 4 }..)
                    .unwrap_or_default()
                    .chars();
                let alone = char::from_u32(u32::from(first));
                pair.or(alone).unwrap_or_else(|| {
                    *halves = true;
                    char::REPLACEMENT_CHARACTER
                })
            }
            _ => return Err(wrong()),
        });
        rest = chars.as_str();
    }
    plain.push_str(rest);
    Ok(plain)
}

/// Four hexadecimal figures.
fn unit(text: &str) -> Option<u16> {
    let figures = text
        .get(..4)
        .filter(|f| f.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u16::from_str_radix(figures, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// Gives one byte at a time, so that every boundary falls somewhere.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn whole(text: &[u8]) -> Result<Value> {
        let mut json = JsonReader::new(Drops(text))?;
        let value = json.value()?;
        json.end()?;
        Ok(value)
    }

    fn said(text: &[u8]) -> (u64, String) {
        let skipped = || {
            let mut json = JsonReader::new(text)?;
            json.skip()?;
            json.end()
        };
        match (whole(text), skipped()) {
            (Err(Fault::Json { at, why }), Err(_)) => (at, why),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn takes_what_python_writes() {
        let text = "\u{feff}{\"a\": [NaN, -Infinity, 1e999, 1.5, -2], \"\\u00e4\\ud83d\\ude00\\ud83d\": \"\\\\\\\"\\n\"}\n";
        assert_eq!(
            whole(text.as_bytes()).unwrap(),
            json!({"a": [null, null, null, 1.5, -2], "ä😀\u{fffd}": "\\\"\n"})
        );
        assert_eq!(whole(b"[]").unwrap(), json!([]));
        assert_eq!(whole(b"{}").unwrap(), json!({}));
    }

    #[test]
    fn complaints_name_the_byte() {
        for (text, at, why) in [
            (
                &b"{\"a\": 1,}"[..],
                9,
                "expected a name in quotes, found '}'",
            ),
            (b"{\"a\" 1}", 6, "expected ':' after a name, found '1'"),
            (b"[1 2]", 4, "expected ',' or ']', found '2'"),
            (b"[1, 2", 6, "found the end of the file"),
            (b"{} {}", 4, "nothing more"),
            (b"[\"abc", 2, "does not end"),
            (b"[nope]", 2, "'nope' is not a value"),
            (b"", 1, "expected a value, found the end"),
        ] {
            let (found, said) = said(text);
            assert!(said.contains(why), "{said}");
            assert_eq!(found, at, "{said}");
        }
        assert!(matches!(
            whole(b"[\"a\xff\"]"),
            Err(Fault::Json { at: 4, .. })
        ));
        assert!(matches!(
            whole(b"[\"a\\x\"]"),
            Err(Fault::Json { at: 4, .. })
        ));
        let deep = "[".repeat(1_000_000);
        assert!(said(deep.as_bytes()).1.contains("inside each other"));
    }

    #[test]
    fn what_cannot_be_held_is_refused_and_can_be_passed_over() {
        let many = |piece: &str| piece.repeat((1 << 20) / piece.len() + 1);
        for piece in ["x", "\\n", "ä\\n"] {
            assert_eq!(refused(&format!("[1, \"{}\"]", many(piece))), 4);
        }
        assert_eq!(
            refused(&format!("[{} 4]", many("[2, 3], "))),
            1,
            "many short ones together"
        );
    }

    /// Where the whole is refused, though it can be passed over, and its elements read.
    fn refused(text: &str) -> u64 {
        let mut json = JsonReader::new(text.as_bytes()).unwrap();
        json.skip().unwrap();
        json.end().unwrap();
        let mut json = JsonReader::new(text.as_bytes()).unwrap();
        match json.value() {
            Err(Fault::Json { at, why }) if why.contains("longer than 1 MiB") => assert_eq!(at, 1),
            other => panic!("{:?}", other.map(|_| ())),
        }
        let mut json = JsonReader::new(text.as_bytes()).unwrap();
        json.enter_array().unwrap();
        while json.element().unwrap() {
            let at = json.offset() + 1;
            if json.value().is_err() {
                return at;
            }
        }
        1
    }

    #[test]
    fn walks_and_passes_over() {
        let text = br#"{"skip": {"x": ["}", "\"]"]}, "list": [1, {"n": 2}], "last": null}"#;
        let mut json = JsonReader::new(Drops(text)).unwrap();
        json.enter_object().unwrap();
        assert_eq!(json.key().unwrap().as_deref(), Some("skip"));
        json.skip().unwrap();
        assert_eq!(json.key().unwrap().as_deref(), Some("list"));
        json.enter_array().unwrap();
        let mut seen = Vec::new();
        while json.element().unwrap() {
            seen.push(json.value().unwrap());
        }
        assert_eq!(seen, [json!(1), json!({"n": 2})]);
        assert_eq!(json.key().unwrap().as_deref(), Some("last"));
        assert_eq!(json.value().unwrap(), Value::Null);
        assert_eq!(json.key().unwrap(), None);
        json.end().unwrap();
        assert_eq!(json.offset(), text.len() as u64);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e300..1e300_f64).prop_map(Value::from),
            "\\PC{0,8}".prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_what_serde_writes(value in any_json()) {
            for text in [serde_json::to_vec(&value).unwrap(), serde_json::to_vec_pretty(&value).unwrap()] {
                prop_assert_eq!(&whole(&text).unwrap(), &value);
                let mut json = JsonReader::new(text.as_slice()).unwrap();
                json.skip().unwrap();
                json.end().unwrap();
            }
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = whole(&bytes);
        }
    }
}
