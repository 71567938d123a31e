//! Tells what a file is by its first bytes; its name decides nothing.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use super::inspect;
use super::pull::{Fault, Pull, Shape};
use crate::store::{Error, Result};

/// What a file to import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One JSON object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// Parquet.
    Parquet,
    /// A log of the Inspect framework.
    Inspect,
    /// Samples of lm-evaluation-harness.
    LmEval,
    /// The JSON database of older tools.
    JsonDatabase,
}

impl Kind {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "JSON lines",
            Self::Csv => "CSV",
            Self::Parquet => "Parquet",
            Self::Inspect => "an Inspect log",
            Self::LmEval => "samples of lm-evaluation-harness",
            Self::JsonDatabase => "a JSON database",
        }
    }

    /// Its name for `--from`.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Inspect => "inspect",
            Self::LmEval => "lm-eval",
            Self::JsonDatabase => "json-database",
        }
    }
}

/// Enough to see the first line of most files.
const LOOK: u64 = 64 << 10;

/// Tells what the file is, or says what it looks like instead.
pub fn detect(path: &Path) -> Result<Kind> {
    let file = open(path)?;
    let mut head = Vec::new();
    file.take(LOOK)
        .read_to_end(&mut head)
        .map_err(Error::io("read", path))?;
    if head.starts_with(b"PK\x03\x04") && inspect::is_log(path)? {
        return Ok(Kind::Inspect);
    }
    kind_of(&head).map_err(|looks| Error::Refused(format!("{} {looks}", path.display())))
}

/// Opens a regular file; a FIFO would block, and every file is read twice.
pub(super) fn open(path: &Path) -> Result<File> {
    let meta = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if !meta.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(Error::io("read", path)(source));
    }
    File::open(path).map_err(Error::io("read", path))
}

/// Whether a file's name ends so, in any case.
pub(super) fn has_extension(name: &str, extension: &str) -> bool {
    Path::new(name)
        .extension()
        .is_some_and(|found| found.eq_ignore_ascii_case(extension))
}

fn kind_of(head: &[u8]) -> Result<Kind, &'static str> {
    let text = head
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(head)
        .trim_ascii_start();
    match head {
        [b'P', b'A', b'R', b'1', ..] => return Ok(Kind::Parquet),
        [0x1f, 0x8b, ..]
        | [b'P', b'K', 3, 4, ..]
        | [0x28, 0xb5, 0x2f, 0xfd, ..]
        | [b'B', b'Z', b'h', ..] => {
            return Err("is compressed: unpack it, then import what is inside");
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Err("is UTF-16: convert it to UTF-8"),
        _ if head.contains(&0) => {
            return Err("is neither JSON lines nor CSV nor Parquet: it holds binary data");
        }
        _ => {}
    }
    match text.first() {
        None => Err("is empty: there is nothing to import"),
        Some(b'[') => {
            Err("is one JSON array, not JSON lines: make one object a line of it (jq -c '.[]')")
        }
        Some(b'<') => {
            Err("is HTML or XML, perhaps an error page instead of the file: fetch it again")
        }
        Some(b'{') => object(text),
        Some(_) => Ok(Kind::Csv),
    }
}

/// What a file that begins with this JSON object is.
fn object(text: &[u8]) -> Result<Kind, &'static str> {
    let names = names(text);
    let is = |name: &str, shape| names.contains(&(name.to_owned(), shape));
    let has = |name: &str| names.iter().any(|(other, _)| other == name);
    if is("eval", Shape::Object) && (has("status") || has("plan") || has("samples")) {
        return Ok(Kind::Inspect);
    }
    let groups = is("test_groups", Shape::Object) || is("test_groups", Shape::Array);
    if (is("models", Shape::Object) || groups) && !has("model") {
        return Ok(Kind::JsonDatabase);
    }
    if has("doc_id") && (has("filtered_resps") || has("resps")) {
        return Ok(Kind::LmEval);
    }
    if is("results", Shape::Object) && is("configs", Shape::Object) {
        return Err(
            "holds the results of lm-evaluation-harness, not the tests: import the samples_*.jsonl beside it",
        );
    }
    let first_line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    if text.len() < LOOK as usize && spans_lines(first_line) {
        return Err("is one JSON document, not JSON lines: each line must be one whole object");
    }
    Ok(Kind::Jsonl)
}

/// The names in the first object, as far as it goes, and what stands under them.
fn names(text: &[u8]) -> Vec<(String, Shape)> {
    let mut names = Vec::new();
    let mut read = || -> Result<(), Fault> {
        let mut pull = Pull::new(text)?;
        pull.enter_object()?;
        while let Some(name) = pull.key()? {
            names.push((name, pull.shape()?));
            pull.skip()?;
        }
        Ok(())
    };
    // Where the look ends the object goes on; what was seen is enough.
    let _ = read();
    names
}

/// Whether a first line opens an object that ends on a later line.
fn spans_lines(line: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(line).is_err_and(|error| error.is_eof())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_by_content() {
        for (head, expected) in [
            (&b"PAR1\x15\x04"[..], Ok(Kind::Parquet)),
            (b"{\"a\": 1}\n{\"a\": 2}\n", Ok(Kind::Jsonl)),
            (b"\xef\xbb\xbf{\"a\": NaN}\n", Ok(Kind::Jsonl)),
            (b"\xef\xbb\xbfa,b\n1,2\n", Ok(Kind::Csv)),
            (b"\"a b\",c\n", Ok(Kind::Csv)),
            (b"model\n", Ok(Kind::Csv)),
        ] {
            assert_eq!(kind_of(head), expected);
        }
        for (head, said) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (b"[{\"a\": 1}]", "array"),
            (b"{\n  \"version\": 3\n}", "one JSON document"),
            (b"\x1f\x8b\x08", "compressed"),
            (b"a\0b", "binary"),
            (b"<!DOCTYPE html>", "error page"),
        ] {
            assert!(kind_of(head).unwrap_err().contains(said), "{said}");
        }
    }
}
