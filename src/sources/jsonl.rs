//! JSON lines: one object a line. NaN and Infinity, which Python writes, are absent
//! values; nested values are kept as JSON text. A last line that is not whole yet is not
//! there yet.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::detect;
use super::objects::{Object, Place, Reader, Remarks, Rows};
use super::source::Column;
use super::source::{Rejected, bad_row};
use crate::config::show_counted;
use crate::store::format::record;
use crate::store::{Error, Result};

/// A line.
#[derive(Debug)]
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    pub(crate) fields: Map<String, Value>,
    /// How far the file is read after it.
    pub(crate) read: u64,
    /// Something to say of it.
    pub(crate) remark: Option<&'static str>,
}

/// Bytes of the longest line that is accepted.
const LONGEST: u64 = 64 << 20;

/// A file of JSON lines.
#[derive(Debug)]
pub(crate) struct Jsonl {
    path: PathBuf,
    /// Where its whole lines end.
    size: u64,
    /// Whether something follows there that is not whole.
    torn: bool,
    /// Whether lines that are no objects are left out rather than refused.
    skip_bad: bool,
}

/// What is said of a last line that is not whole.
pub(crate) const TORN: &str = "the last line is not whole yet (if it is, end it with a newline)";

impl Jsonl {
    /// Looks at the end of the file: what a program adds meanwhile is not read.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = detect::open(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let (size, torn) = whole(&mut file, size).map_err(Error::io("read", path))?;
        Ok(Self {
            path: path.to_path_buf(),
            size,
            torn,
            skip_bad: false,
        })
    }

    /// Leaves out lines that are no objects.
    pub(crate) fn skip_bad(mut self, skip_bad: bool) -> Self {
        self.skip_bad = skip_bad;
        self
    }

    /// The objects with the numbers of their lines, and how far the file is then read.
    pub(crate) fn lines(&self) -> Result<impl Iterator<Item = Result<Line>> + use<>> {
        let mut lines = Lines::open(&self.path, self.size)?;
        Ok(std::iter::from_fn(move || {
            Some(match lines.next().transpose()? {
                Ok(Found::Object(line)) => Ok(line),
                Ok(Found::Bad(bad, _)) => Err(bad_row(&lines.path, &bad.place, &bad.why)),
                Err(error) => Err(error),
            })
        }))
    }
}

/// Where the whole lines of a file end, and whether something follows there: a last line
/// without an end that is not JSON either. One that is too long to be a line is not torn.
fn whole(file: &mut File, size: u64) -> io::Result<(u64, bool)> {
    const STEP: u64 = 64 << 10;
    // From the end to the front: each part is searched once.
    let (mut from, mut parts) = (size, Vec::new());
    while from > 0 {
        if size - from > LONGEST {
            return Ok((size, false));
        }
        let step = STEP.min(from);
        from -= step;
        let mut part = vec![0; usize::try_from(step).unwrap_or_default()];
        file.seek(SeekFrom::Start(from))?;
        file.read_exact(&mut part)?;
        let end = part.iter().rposition(|byte| *byte == b'\n');
        if let Some(at) = end {
            part.drain(..=at);
        }
        parts.push(part);
        if end.is_some() {
            break;
        }
    }
    parts.reverse();
    let tail = parts.concat();
    let torn = !tail.trim_ascii().is_empty() && !too_deep(&tail) && record::object(&tail).is_err();
    Ok(if torn {
        (size - tail.len() as u64, true)
    } else {
        (size, false)
    })
}

/// Whether no end could make a whole object of it: nested deeper than the parser goes.
fn too_deep(tail: &[u8]) -> bool {
    const DEEPEST: usize = 128;
    let (mut depth, mut text, mut escaped) = (0_usize, false, false);
    for byte in tail {
        match (byte, text) {
            _ if escaped => escaped = false,
            (b'\\', true) => escaped = true,
            (b'"', _) => text = !text,
            (b'[' | b'{', false) => depth += 1,
            (b']' | b'}', false) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return true;
        }
    }
    false
}

impl Reader for Jsonl {
    fn rows(&self) -> Result<Rows<'_>> {
        let mut lines = Lines::open(&self.path, self.size)?;
        Ok(Box::new(std::iter::from_fn(move || {
            let found = match lines.next().transpose()? {
                Ok(found) => found,
                Err(error) => return Some(Err(error)),
            };
            Some(match found {
                Found::Object(line) => Ok(Object {
                    place: Place::Line(line.number),
                    fields: Some(line.fields),
                    remark: line.remark,
                    read: line.read,
                    rejected: None,
                }),
                Found::Bad(bad, read) if self.skip_bad => Ok(Object {
                    place: Place::Named(bad.place.clone()),
                    fields: None,
                    remark: None,
                    read,
                    rejected: Some(bad),
                }),
                Found::Bad(bad, _) => Err(bad_row(&self.path, &bad.place, &bad.why)),
            })
        })))
    }

    fn notes(&self, remarks: &Remarks, _columns: &[Column]) -> Vec<String> {
        let torn = self.torn.then(|| TORN.to_owned());
        torn.into_iter()
            .chain(remarks.iter().map(remarked))
            .collect()
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// What is said of lines with a remark.
pub(crate) fn remarked((remark, lines): (&&str, &u64)) -> String {
    format!("{} with {remark}", show_counted(*lines, "line"))
}

/// What a line holds.
enum Found {
    Object(Line),
    /// No object; how far the file is read after it.
    Bad(Rejected, u64),
}

/// The objects of a file with the numbers of their lines. Empty lines are passed over.
struct Lines {
    path: PathBuf,
    reader: BufReader<io::Take<File>>,
    buffer: Vec<u8>,
    line: u64,
    read: u64,
}

impl Lines {
    /// The lines before an end.
    fn open(path: &Path, end: u64) -> Result<Self> {
        let reader = BufReader::with_capacity(256 << 10, detect::open(path)?.take(end));
        Ok(Self {
            path: path.to_path_buf(),
            reader,
            buffer: Vec::new(),
            line: 0,
            read: 0,
        })
    }

    fn next(&mut self) -> Result<Option<Found>> {
        loop {
            self.buffer.clear();
            let bytes = self
                .reader
                .by_ref()
                .take(LONGEST + 1)
                .read_until(b'\n', &mut self.buffer);
            let bytes = bytes.map_err(Error::io("read", &self.path))?;
            if bytes as u64 > LONGEST {
                let why = format!("longer than {} MiB", LONGEST >> 20);
                return Err(bad_row(
                    &self.path,
                    &format!("line {}", self.line + 1),
                    &why,
                ));
            }
            if bytes == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.read += bytes as u64;
            let line = match self.line {
                1 => self
                    .buffer
                    .strip_prefix(b"\xef\xbb\xbf")
                    .unwrap_or(&self.buffer),
                _ => &self.buffer,
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            return Ok(Some(match record::object_mended(line) {
                Ok((fields, mended)) => Found::Object(Line {
                    number: self.line,
                    fields,
                    read: self.read,
                    remark: mended.remark(),
                }),
                Err(why) => {
                    let raw = String::from_utf8_lossy(line.trim_ascii()).into_owned();
                    let place = format!("line {}", self.line);
                    Found::Bad(Rejected { place, why, raw }, self.read)
                }
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_line_that_is_not_whole_is_not_there_yet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        for (text, lines, torn) in [
            ("{\"a\":1}\n{\"a\":2}\n", 2, false),
            ("{\"a\":1}\n{\"a\":2}", 2, false),
            ("{\"a\":1}\n{\"a\":", 1, true),
            ("{\"a\":1}\n  ", 1, false),
            ("{\"a\"", 0, true),
            ("", 0, false),
        ] {
            std::fs::write(&path, text).unwrap();
            let file = Jsonl::open(&path).unwrap();
            assert_eq!(file.torn, torn, "{text}");
            assert_eq!(
                file.lines().unwrap().map(Result::unwrap).count(),
                lines,
                "{text}"
            );
        }
        // A long line that is read in steps.
        let long = format!(
            "{{\"a\":\"{}\"}}\n{{\"b\":\"{}",
            "x".repeat(100),
            "y".repeat(200_000)
        );
        std::fs::write(&path, &long).unwrap();
        let file = Jsonl::open(&path).unwrap();
        assert_eq!(
            (file.size, file.torn),
            (long.find('\n').unwrap() as u64 + 1, true)
        );
    }
}
