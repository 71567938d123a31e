//! JSON lines: one object a line. NaN and Infinity, which Python writes, are absent
//! values; nested values are kept as JSON text.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::detect;
use super::objects::{Object, Place, Reader, Rows};
use super::source::bad_row;
use crate::store::{Error, Result, record};

/// A line: its number, its object, how far the file is read after it.
pub(super) type Line = (u64, Map<String, Value>, u64);

/// Bytes of the longest line that is accepted.
const LONGEST: u64 = 64 << 20;

/// A file of JSON lines.
#[derive(Debug)]
pub(super) struct Jsonl {
    path: PathBuf,
    size: u64,
}

impl Jsonl {
    /// Looks at the file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let size = detect::open(path)?
            .metadata()
            .map_err(Error::io("read", path))?
            .len();
        Ok(Self {
            path: path.to_path_buf(),
            size,
        })
    }

    /// The objects with the numbers of their lines, and how far the file is then read.
    pub(super) fn lines(&self) -> Result<impl Iterator<Item = Result<Line>> + use<>> {
        let mut lines = Lines::open(&self.path)?;
        Ok(std::iter::from_fn(move || lines.next().transpose()))
    }
}

impl Reader for Jsonl {
    fn rows(&self) -> Result<Rows<'_>> {
        Ok(Box::new(self.lines()?.map(|line| {
            let (line, fields, read) = line?;
            Ok(Object {
                place: Place::Line(line),
                fields: Some(fields),
                remark: None,
                read,
            })
        })))
    }

    fn size(&self) -> u64 {
        self.size
    }
}

/// The objects of a file with the numbers of their lines. Empty lines are passed over.
struct Lines {
    path: PathBuf,
    reader: BufReader<File>,
    buffer: Vec<u8>,
    line: u64,
    read: u64,
}

impl Lines {
    fn open(path: &Path) -> Result<Self> {
        let reader = BufReader::with_capacity(256 << 10, detect::open(path)?);
        Ok(Self {
            path: path.to_path_buf(),
            reader,
            buffer: Vec::new(),
            line: 0,
            read: 0,
        })
    }

    fn next(&mut self) -> Result<Option<Line>> {
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
            return match record::object(line) {
                Ok(object) => Ok(Some((self.line, object, self.read))),
                Err(why) => Err(bad_row(&self.path, &format!("line {}", self.line), &why)),
            };
        }
    }
}
