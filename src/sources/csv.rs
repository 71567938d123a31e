//! CSV with a header: quoted fields, fields of several lines, commas, semicolons
//! or tabs. Every value comes as text; empty fields are absent values.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::DataType;
use csv::{Reader, ReaderBuilder, StringRecord};

use super::detect;
use super::jsonl::TORN;
use super::source::{
    BATCH, Chunk, Column, Places, Rejected, Source, Stands, bad_row, batch, line_at,
};
use crate::quotes::{self, OpenQuote};
use crate::store::format::schema::Range;
use crate::store::{Error, Result};

/// Bytes of the longest record that is accepted: a quote that is never closed makes one
/// of the whole file.
const LONGEST: u64 = 64 << 20;

/// What is said of a record that is no text.
const NOT_UTF8: &str = "not UTF-8: convert the file";

/// What pandas calls a first column without a name.
const INDEX: &str = "Unnamed: 0";

/// A batch also ends at this many bytes.
const BATCH_BYTES: u64 = 16 << 20;

/// A CSV file.
#[derive(Debug)]
pub(crate) struct Csv {
    path: PathBuf,
    delimiter: u8,
    size: u64,
    /// Whether its last line ends.
    ends: bool,
    /// Whether its last line is not whole yet.
    torn: Cell<bool>,
    /// Whether records that do not fit the header are left out rather than refused.
    skip_bad: bool,
    columns: Vec<Column>,
    /// Which of the file's fields the columns are.
    fields: Vec<usize>,
}

impl Csv {
    /// Reads the file once, to learn what its columns stand for.
    pub(crate) fn open(path: &Path, skip_bad: bool) -> Result<Self> {
        Self::read(path, skip_bad, false)
    }

    /// The same; a first column without a name is called [`INDEX`].
    pub(crate) fn with_index(path: &Path) -> Result<Self> {
        Self::read(path, false, true)
    }

    fn read(path: &Path, skip_bad: bool, indexed: bool) -> Result<Self> {
        let mut file = detect::open(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let ends = ends(&mut file, size).map_err(Error::io("read", path))?;
        let delimiter = delimiter(file).map_err(Error::io("read", path))?;
        let mut csv = Self {
            path: path.to_path_buf(),
            delimiter,
            size,
            ends,
            torn: Cell::new(false),
            skip_bad,
            columns: Vec::new(),
            fields: Vec::new(),
        };
        let mut reader = csv.reader()?;
        let header = reader.headers().map_err(|error| csv.bad(&error))?.clone();
        // A quote that is never closed makes one record of the rest.
        let mut last = header.position().map_or(0, csv::Position::byte);
        for (at, name) in header.iter().enumerate() {
            let name = name.trim();
            // A column without a name is the index that pandas writes.
            let name = match name {
                "" if indexed && at == 0 => INDEX,
                "" => continue,
                name => name,
            };
            if csv.columns.iter().any(|column| column.name == name) {
                return Err(bad_row(
                    path,
                    "line 1",
                    &format!("two columns are named '{name}'"),
                ));
            }
            csv.fields.push(at);
            csv.columns.push(Column {
                name: name.to_owned(),
                data_type: DataType::Utf8,
                stands_for: DataType::Null,
                whole: true,
                range: Range::default(),
            });
        }
        let mut stands = vec![Stands::Nothing; csv.fields.len()];
        let mut record = StringRecord::new();
        // Whether some record has several lines.
        let mut lines = false;
        while csv.next(&mut reader, &mut record, &mut Vec::new())? {
            last = record.position().map_or(0, csv::Position::byte);
            let open = !csv.ends && reader.position().byte() >= csv.size;
            let before = open.then(|| stands.clone());
            let first = record.position().map_or(0, csv::Position::line);
            lines |= reader.position().line() > first + 1;
            for (stands, field) in stands.iter_mut().zip(&csv.fields) {
                if *stands != Stands::Text {
                    *stands = stands.and(Stands::of(record.get(*field).unwrap_or_default().trim()));
                }
            }
            // A line without an end may be a part of one, although it has all fields.
            if let Some(before) = before {
                let cut = csv.fields.last() == record.len().checked_sub(1).as_ref();
                let quoted = csv.open_quote(last)?.is_some_and(|quote| !quote.spans);
                if quoted || (cut && spoilt(&before, &stands)) {
                    csv.torn.set(true);
                    (csv.size, stands) = (last, before);
                    break;
                }
            }
        }
        if let Some(quote) = csv.open_quote(last)? {
            return Err(csv.never_closed(last + quote.at));
        }
        if lines {
            csv.misled()?;
        }
        for (column, stands) in csv.columns.iter_mut().zip(stands) {
            column.stands_for = stands.data_type();
            column.whole = stands.whole();
            column.range = stands.range();
        }
        Ok(csv)
    }

    fn reader(&self) -> Result<Reader<Bounded>> {
        let file = Bounded {
            file: detect::open(&self.path)?.take(self.size),
            left: Cell::new(LONGEST),
        };
        Ok(ReaderBuilder::new()
            .delimiter(self.delimiter)
            .from_reader(file))
    }

    /// A quote of the record that begins at a byte, the last one, that is open at the end.
    fn open_quote(&self, begin: u64) -> Result<Option<OpenQuote>> {
        let mut rest = detect::open(&self.path)?;
        rest.seek(SeekFrom::Start(begin))
            .and_then(|_| OpenQuote::find(rest.take(self.size - begin), self.delimiter))
            .map_err(Error::io("read", &self.path))
    }

    /// An error where the quote of a record was closed by that of another one.
    fn misled(&self) -> Result<()> {
        let file = detect::open(&self.path)?.take(self.size);
        let quote = OpenQuote::misled(file, self.delimiter);
        match quote.map_err(Error::io("read", &self.path))? {
            Some(quote) => Err(bad_row(
                &self.path,
                &line_at(&self.path, quote.at),
                quotes::MISLED,
            )),
            None => Ok(()),
        }
    }

    fn never_closed(&self, at: u64) -> Error {
        bad_row(&self.path, &line_at(&self.path, at), quotes::NEVER_CLOSED)
    }

    fn bad(&self, error: &csv::Error) -> Error {
        let place = self.place(error);
        match error.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => {
                let why = format!("{len} fields, but the header has {expected_len}");
                bad_row(&self.path, &place, &why)
            }
            csv::ErrorKind::Utf8 { .. } => bad_row(&self.path, &place, NOT_UTF8),
            _ => bad_row(&self.path, &place, &error.to_string()),
        }
    }

    fn place(&self, error: &csv::Error) -> String {
        line_at(&self.path, error.position().map_or(0, csv::Position::byte))
    }

    /// The next record; `false` at the end, and where a last line begins that is not whole.
    fn next(
        &self,
        reader: &mut Reader<Bounded>,
        record: &mut StringRecord,
        rejected: &mut Vec<Rejected>,
    ) -> Result<bool> {
        loop {
            let error = match next(reader, record) {
                Ok(more) => return Ok(more),
                Err(error) => error,
            };
            let begin = error.position().map_or(0, csv::Position::byte);
            let (why, part) = match error.kind() {
                csv::ErrorKind::UnequalLengths {
                    expected_len, len, ..
                } => {
                    if let Some(quote) = self.open_quote(begin)?.filter(|quote| quote.spans) {
                        return Err(self.never_closed(begin + quote.at));
                    }
                    let why = format!("{len} fields, but the header has {expected_len}");
                    (why, len < expected_len)
                }
                // A character of which a part is there.
                csv::ErrorKind::Utf8 { .. } => (NOT_UTF8.to_owned(), true),
                _ => return Err(self.bad(&error)),
            };
            let end = reader.position().byte();
            if !self.ends && part && end >= self.size {
                self.torn.set(true);
                return Ok(false);
            }
            if !self.skip_bad {
                return Err(self.bad(&error));
            }
            rejected.push(Rejected {
                place: self.place(&error),
                why,
                raw: self.text(begin, end)?,
            });
        }
    }

    /// A part of the file, as far as it is text.
    fn text(&self, begin: u64, end: u64) -> Result<String> {
        let mut bytes = Vec::new();
        let mut file = detect::open(&self.path)?;
        file.seek(SeekFrom::Start(begin))
            .and_then(|_| file.take(end.saturating_sub(begin)).read_to_end(&mut bytes))
            .map_err(Error::io("read", &self.path))?;
        let text = String::from_utf8_lossy(bytes.trim_ascii());
        Ok(text.into_owned())
    }

    fn chunk(&self, reader: &mut Reader<Bounded>) -> Result<Option<Chunk>> {
        let mut texts: Vec<StringBuilder> =
            self.fields.iter().map(|_| StringBuilder::new()).collect();
        let (mut bytes, mut rejected) = (Vec::new(), Vec::new());
        let mut record = StringRecord::new();
        let begin = reader.position().byte();
        while bytes.len() < BATCH
            && reader.position().byte() - begin < BATCH_BYTES
            && self.next(reader, &mut record, &mut rejected)?
        {
            bytes.push(record.position().map_or(0, csv::Position::byte));
            for (text, field) in texts.iter_mut().zip(&self.fields) {
                text.append_option(record.get(*field).filter(|value| !value.is_empty()));
            }
        }
        if bytes.is_empty() && rejected.is_empty() {
            return Ok(None);
        }
        let arrays = texts
            .iter_mut()
            .map(|text| Arc::new(text.finish()) as ArrayRef)
            .collect();
        let batch = batch(&self.columns, arrays, bytes.len())?;
        Ok(Some(Chunk {
            batch,
            places: Places::Bytes(self.path.clone(), bytes),
            read: reader.position().byte(),
            rejected,
        }))
    }
}

impl Source for Csv {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn notes(&self) -> Vec<String> {
        let torn = self.torn.get();
        torn.then(|| TORN.to_owned()).into_iter().collect()
    }

    fn chunks(&self) -> Result<Box<dyn Iterator<Item = Result<Chunk>> + '_>> {
        let mut reader = self.reader()?;
        // The header was read already; here it is only passed over.
        reader.headers().map_err(|error| self.bad(&error))?;
        Ok(Box::new(std::iter::from_fn(move || {
            self.chunk(&mut reader).transpose()
        })))
    }
}

/// Whether the last value of a line without an end is none of those that its column has before
/// it: a part of one.
fn spoilt(before: &[Stands], after: &[Stands]) -> bool {
    let text = |stands: Option<&Stands>| stands == Some(&Stands::Text);
    text(after.last()) && !text(before.last()) && before.last() != Some(&Stands::Nothing)
}

/// The next record; an error where it is too long.
fn next(reader: &mut Reader<Bounded>, record: &mut StringRecord) -> csv::Result<bool> {
    reader.get_ref().left.set(LONGEST);
    reader.read_record(record)
}

/// A file of which only so much is read for one record.
#[derive(Debug)]
struct Bounded {
    file: io::Take<File>,
    left: Cell<u64>,
}

impl Read for Bounded {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 {
            let why = format!("longer than {} MiB: is a quote not closed?", LONGEST >> 20);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let read = self.file.read(buf)?;
        self.left.set(self.left.get().saturating_sub(read as u64));
        Ok(read)
    }
}

/// Whether the last line ends.
fn ends(file: &mut File, size: u64) -> io::Result<bool> {
    let mut last = [0];
    file.seek(SeekFrom::Start(size.saturating_sub(1)))?;
    Ok(size == 0 || (file.read(&mut last)? == 1 && matches!(last, [b'\n' | b'\r'])))
}

/// The separator that the header has: a comma unless there is none and another is.
fn delimiter(mut file: File) -> std::io::Result<u8> {
    file.seek(SeekFrom::Start(0))?;
    let mut header = Vec::new();
    BufReader::new(file)
        .take(LONGEST)
        .read_until(b'\n', &mut header)?;
    let quoted = |part: usize| part % 2 == 1;
    let outside: Vec<u8> = header
        .split(|b| *b == b'"')
        .enumerate()
        .filter(|(part, _)| !quoted(*part))
        .flat_map(|(_, text)| text.iter().copied())
        .collect();
    Ok([b',', b'\t', b';']
        .into_iter()
        .find(|candidate| outside.contains(candidate))
        .unwrap_or(b','))
}
