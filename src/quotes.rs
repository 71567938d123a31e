//! Quotes in CSV that are never closed: a reader takes all that follows for one field, and
//! ends without a word.

use std::io::{self, BufReader, Read};

/// Where a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    FieldBegins,
    Plain,
    Quoted,
    /// After a quote inside of a quoted field: it ends there, or the quote is doubled.
    QuoteInQuotes,
}

/// A quote that is open at the end of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OpenQuote {
    /// Bytes before it.
    pub(crate) at: u64,
    /// Line ends before it.
    pub(crate) lines: u64,
    /// Whether a line ends behind it.
    pub(crate) spans: bool,
}

impl OpenQuote {
    /// The one in what begins with a record and is read to its end.
    pub(crate) fn find(rest: impl Read, delimiter: u8) -> io::Result<Option<Self>> {
        Self::look(rest, delimiter, false)
    }

    /// The first one that was closed by the quote of another line: text follows it, where the
    /// field should end.
    pub(crate) fn misled(rest: impl Read, delimiter: u8) -> io::Result<Option<Self>> {
        Self::look(rest, delimiter, true)
    }

    fn look(rest: impl Read, delimiter: u8, misled: bool) -> io::Result<Option<Self>> {
        let (mut state, mut lines) = (State::FieldBegins, 0);
        let mut quote = Self {
            at: 0,
            lines: 0,
            spans: false,
        };
        let mut before = [0; 3];
        for (at, byte) in BufReader::new(rest).bytes().enumerate() {
            let byte = byte?;
            // A byte order mark is not part of the first field.
            if let Some(place) = before.get_mut(at) {
                *place = byte;
            }
            if at == 2 && before == *b"\xef\xbb\xbf" {
                state = State::FieldBegins;
                continue;
            }
            let ends = [delimiter, b'\n', b'\r', b'"', b' ', b'\t'].contains(&byte);
            if misled && quote.spans && state == State::QuoteInQuotes && !ends {
                return Ok(Some(quote));
            }
            state = match (state, byte) {
                (State::FieldBegins, b'"') => {
                    quote = Self {
                        at: at as u64,
                        lines,
                        spans: false,
                    };
                    State::Quoted
                }
                (State::Quoted, b'"') => State::QuoteInQuotes,
                (State::Quoted, _) | (State::QuoteInQuotes, b'"') => State::Quoted,
                (_, b'\n' | b'\r') => State::FieldBegins,
                (_, byte) if byte == delimiter => State::FieldBegins,
                _ => State::Plain,
            };
            lines += u64::from(byte == b'\n');
            quote.spans |= byte == b'\n';
        }
        Ok((state == State::Quoted && !misled).then_some(quote))
    }
}

/// What is said of it.
pub(crate) const NEVER_CLOSED: &str =
    "a quote opens here and is never closed, so the rest of the file would be one field";

/// What is said of [`OpenQuote::misled`].
pub(crate) const MISLED: &str = "a quote opens here, and text follows the one that closes it some \
     lines later, so the lines between would be one field: one of the two is missing or not doubled";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_quote_is_found_on_its_line() {
        for (text, line) in [
            ("a,b\n1,\"2\n3,4\n", Some(2)),
            ("a,b\n1,\"2\"\n3,\"\n\n4\n", Some(3)),
            ("a,b\n1,\"two\n\",\"three\n", Some(3)),
            ("\"a,b\n1,2\n", Some(1)),
            ("\u{feff}\"a,b\n1,2\n", Some(1)),
            ("\u{feff}\"a\",b\n1,2\n", None),
            ("a,b\n5\" disk,\"it said \"\"no\"\"\"\n", None),
            ("a,b\r\n1,\"2\r\n3\"\r\n", None),
            ("a,b\n\"x\"y,2\n", None),
            ("", None),
        ] {
            let found = OpenQuote::find(text.as_bytes(), b',').unwrap();
            assert_eq!(found.map(|quote| quote.lines + 1), line, "{text}");
        }
        let found = OpenQuote::find(&b"1;\"2"[..], b';').unwrap().unwrap();
        assert_eq!((found.at, found.spans), (2, false));
    }

    #[test]
    fn a_quote_that_another_line_closes_is_found_on_its_line() {
        for (text, line) in [
            ("a,b\n1,\"open\n2,\"c\"\n3,d\n", Some(2)),
            ("a,b\n1,x\n2,\"open\r\n3,y\r\n4,\"c\"\r\n", Some(3)),
            ("a,b\n1,\"two\nlines\"\n2,\"c\"\n", None),
            ("a,b\n1,\"two\nlines\" ,c\n", None),
            ("a,b\n1,\"it\nsaid \"\"no\"\"\"\n", None),
            ("a,b\n1,\"x\"y\n2,\"z\"\n", None),
            ("a,b\n1,\"open\n2,c\n", None),
            ("", None),
        ] {
            let found = OpenQuote::misled(text.as_bytes(), b',').unwrap();
            assert_eq!(found.map(|quote| quote.lines + 1), line, "{text}");
        }
    }
}
