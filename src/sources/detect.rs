//! Says what a file is by its first bytes; its name decides nothing.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use super::counts::Counted;
use super::inspect;
use super::json_reader::{Fault, JsonReader, Shape};
use super::mapped;
use super::promptfoo::PromptfooTable;
use super::spec::Spec;
use super::swe_bench;
use crate::store::{Error, Result};

/// What a file to import is.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// One JSON document with rows in it.
    Document,
    /// A report of SWE-bench.
    SweBench,
    /// The table that promptfoo writes as CSV.
    PromptfooTable,
    /// Counts of tests: summary rows.
    Counts(Counted),
    /// What a mapping file describes.
    Mapped(&'static Spec),
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
            Self::Document => "a JSON document",
            Self::SweBench => "a SWE-bench report",
            Self::PromptfooTable => "a table of promptfoo",
            Self::Counts(counted) => counted.name(),
            Self::Mapped(spec) => &spec.name,
        }
    }

    /// Whether its rows stand for many tests each.
    pub(crate) fn counts(self) -> bool {
        match self {
            Self::Counts(_) => true,
            Self::Mapped(spec) => spec.counts.is_some(),
            _ => false,
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
            Self::Document => "json",
            Self::SweBench => "swe-bench",
            Self::PromptfooTable => "promptfoo",
            Self::Counts(_) => "counts",
            Self::Mapped(_) => "mapping",
        }
    }
}

/// How the rows of a file come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Csv,
    Parquet,
}

/// How the rows of a file come, whatever they are.
pub(crate) fn form(path: &Path) -> Result<Form> {
    let mut head = Vec::new();
    let read = open(path)?.take(LOOK).read_to_end(&mut head);
    read.map_err(Error::io("read", path))?;
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&head);
    Ok(match text.trim_ascii_start() {
        [b'P', b'A', b'R', b'1', ..] => Form::Parquet,
        [b'{' | b'[', ..] | [] => Form::Json,
        _ => Form::Csv,
    })
}

/// Enough to see the first line of most files.
const LOOK: u64 = 64 << 10;

/// Says what the file is, or says what it looks like instead.
pub fn detect(path: &Path) -> Result<Kind> {
    let file = open(path)?;
    let mut head = Vec::new();
    file.take(LOOK)
        .read_to_end(&mut head)
        .map_err(Error::io("read", path))?;
    if head.starts_with(b"PK\x03\x04") && inspect::is_log(path)? {
        return Ok(Kind::Inspect);
    }
    let kind = kind_of(&head);
    let kind = kind.map_err(|looks| Error::Refused(format!("{} {looks}", path.display())))?;
    // One line is a document as well as a row.
    let alone = kind == Kind::Jsonl && is_one_line(path)?;
    Ok(match kind {
        Kind::Jsonl => alone
            .then(|| mapped::find(path, false))
            .flatten()
            .or_else(|| mapped::find(path, true))
            .map_or(kind, Kind::Mapped),
        Kind::Document => mapped::find(path, false).map_or(kind, Kind::Mapped),
        Kind::Csv if PromptfooTable::is(&head) => Kind::PromptfooTable,
        Kind::Csv => mapped::find_table(path, Form::Csv).map_or(kind, Kind::Mapped),
        Kind::Parquet => mapped::find_table(path, Form::Parquet).map_or(kind, Kind::Mapped),
        kind => kind,
    })
}

/// Whether a file has one line that is not empty.
fn is_one_line(path: &Path) -> Result<bool> {
    let mut reader = BufReader::new(open(path)?);
    let mut ended = false;
    loop {
        let part = reader.fill_buf().map_err(Error::io("read", path))?;
        if part.is_empty() {
            return Ok(true);
        }
        let rest = if ended {
            part
        } else {
            match part.iter().position(|byte| *byte == b'\n') {
                Some(at) => {
                    ended = true;
                    part.get(at..).unwrap_or_default()
                }
                None => &[],
            }
        };
        if !rest.trim_ascii().is_empty() {
            return Ok(false);
        }
        let length = part.len();
        reader.consume(length);
    }
}

/// Opens a regular file; a FIFO would block, and every file is read twice.
pub(crate) fn open(path: &Path) -> Result<File> {
    let meta = std::fs::metadata(path).map_err(Error::io("read", path))?;
    if !meta.is_file() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
        return Err(Error::io("read", path)(source));
    }
    File::open(path).map_err(Error::io("read", path))
}

/// Whether a file's name ends so, in any case.
pub(crate) fn has_extension(name: &str, extension: &str) -> bool {
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
        // Whose magic is PARE is encrypted; opening it says so.
        [b'P', b'A', b'R', b'1' | b'E', ..] => return Ok(Kind::Parquet),
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
        Some(b'[') => Ok(Kind::Document),
        Some(b'<') => {
            Err("is HTML or XML, perhaps an error page instead of the file: fetch it again")
        }
        Some(b'{') => Ok(object(text)),
        Some(_) if text.starts_with(b"version https://git-lfs.") => {
            Err("is a Git LFS pointer, not the file: run 'git lfs pull', then import it")
        }
        Some(_) if is_yaml(text) => {
            Err("is YAML: make JSON of it ('yq -o json . FILE | evaltop import -')")
        }
        Some(_) => Ok(Kind::Csv),
    }
}

/// Whether a text begins as YAML does: `---`, or `name: value` on each of its first lines.
fn is_yaml(text: &[u8]) -> bool {
    let lines = text
        .split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii_end)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"));
    let is_entry = |line: &[u8]| {
        let name = line
            .iter()
            .position(|byte| *byte == b':')
            .unwrap_or_default();
        let after = line.get(name + 1).copied();
        let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-. ".contains(byte);
        let begin = line.get(..name).unwrap_or_default();
        line.starts_with(b"- ")
            || line.starts_with(b"  ")
            || (name > 0 && begin.iter().all(word) && after.is_none_or(|byte| byte == b' '))
    };
    let first: Vec<&[u8]> = lines.take(4).collect();
    first.first().is_some_and(|line| *line == b"---")
        || (first.len() > 1
            && first.iter().all(|line| is_entry(line))
            && first.iter().any(|line| line.contains(&b':')))
}

/// What a file that begins with this JSON object is.
fn object(text: &[u8]) -> Kind {
    let names = names(text);
    let is = |name: &str, shape| names.contains(&(name.to_owned(), shape));
    let has = |name: &str| names.iter().any(|(other, _)| other == name);
    if is("eval", Shape::Object) && (has("status") || has("plan") || has("samples")) {
        return Kind::Inspect;
    }
    let groups = is("test_groups", Shape::Object) || is("test_groups", Shape::Array);
    if (is("models", Shape::Object) || groups) && !has("model") {
        return Kind::JsonDatabase;
    }
    if has("doc_id") && (has("filtered_resps") || has("resps")) {
        return Kind::LmEval;
    }
    let harness = is("configs", Shape::Object) || is("versions", Shape::Object);
    if is("results", Shape::Object) && harness {
        return Kind::Counts(Counted::LmEval);
    }
    if is("evaluation_results", Shape::Array) && is("model_info", Shape::Object) {
        return Kind::Counts(Counted::EveryEval);
    }
    if ["accuracy", "correct_count", "total_count"]
        .iter()
        .all(|name| has(name))
    {
        return Kind::Counts(Counted::Bfcl);
    }
    if swe_bench::is_report(&names) {
        return Kind::SweBench;
    }
    let first_line = text.split(|b| *b == b'\n').next().unwrap_or_default();
    if first_line.len() < text.len() && spans_lines(first_line) {
        return Kind::Document;
    }
    Kind::Jsonl
}

/// The names in the first object, as far as it goes, and what stands under them.
fn names(text: &[u8]) -> Vec<(String, Shape)> {
    let mut names = Vec::new();
    let mut read = || -> Result<(), Fault> {
        let mut json = JsonReader::new(text)?;
        json.enter_object()?;
        while let Some(name) = json.key()? {
            names.push((name, json.shape()?));
            json.skip()?;
        }
        Ok(())
    };
    // Where the scan ends the object goes on; what was seen is enough.
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
    fn detects_by_content() {
        for (head, expected) in [
            (&b"PAR1\x15\x04"[..], Ok(Kind::Parquet)),
            (b"PARE\x15\x04", Ok(Kind::Parquet)),
            (b"{\"a\": 1}\n{\"a\": 2}\n", Ok(Kind::Jsonl)),
            (b"\xef\xbb\xbf{\"a\": NaN}\n", Ok(Kind::Jsonl)),
            (b"\xef\xbb\xbfa,b\n1,2\n", Ok(Kind::Csv)),
            (b"\"a b\",c\n", Ok(Kind::Csv)),
            (b"model\n", Ok(Kind::Csv)),
            (b"[{\"a\": 1}]", Ok(Kind::Document)),
            (b"{\n  \"version\": 3\n}", Ok(Kind::Document)),
            (b"{\"a__a-1\": true, \"a__b-2\": fal", Ok(Kind::SweBench)),
            (b"{\"a\": tru", Ok(Kind::Jsonl)),
        ] {
            assert_eq!(kind_of(head), expected);
        }
        for (head, said) in [
            (&b""[..], "empty"),
            (b" \n", "empty"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
                "Git LFS pointer",
            ),
            (b"a: 1\nb:\n  c: 2\n", "YAML"),
            (b"---\n- a: 1\n", "YAML"),
            (b"\x1f\x8b\x08", "compressed"),
            (b"a\0b", "binary"),
            (b"<!DOCTYPE html>", "error page"),
        ] {
            assert!(kind_of(head).unwrap_err().contains(said), "{said}");
        }
    }
}
