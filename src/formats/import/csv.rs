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
use super::source::{BATCH, Chunk, Column, Places, Source, Stands, bad_row, batch};
use crate::store::{Error, Result};

/// Bytes of the longest record that is accepted: a quote that is never closed makes one
/// of the whole file.
const LONGEST: u64 = 64 << 20;

/// A batch also ends at this many bytes.
const BATCH_BYTES: u64 = 16 << 20;

/// A CSV file.
#[derive(Debug)]
pub(super) struct Csv {
    path: PathBuf,
    delimiter: u8,
    size: u64,
    columns: Vec<Column>,
    /// Which of the file's fields the columns are.
    fields: Vec<usize>,
}

impl Csv {
    /// Reads the file once, to learn what its columns stand for.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = detect::open(path)?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        let delimiter = delimiter(file).map_err(Error::io("read", path))?;
        let mut csv = Self {
            path: path.to_path_buf(),
            delimiter,
            size,
            columns: Vec::new(),
            fields: Vec::new(),
        };
        let mut reader = csv.reader()?;
        let header = reader.headers().map_err(|error| csv.bad(&error))?.clone();
        for (at, name) in header.iter().enumerate() {
            let name = name.trim();
            // A column without a name is the index that pandas writes.
            if name.is_empty() {
                continue;
            }
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
            });
        }
        let mut stands = vec![Stands::Nothing; csv.fields.len()];
        let mut record = StringRecord::new();
        while next(&mut reader, &mut record).map_err(|error| csv.bad(&error))? {
            for (stands, field) in stands.iter_mut().zip(&csv.fields) {
                if *stands != Stands::Text {
                    *stands = stands.and(Stands::of(record.get(*field).unwrap_or_default().trim()));
                }
            }
        }
        for (column, stands) in csv.columns.iter_mut().zip(stands) {
            column.stands_for = stands.data_type();
            column.whole = stands.whole();
        }
        Ok(csv)
    }

    fn reader(&self) -> Result<Reader<Bounded>> {
        let file = Bounded {
            file: detect::open(&self.path)?,
            left: Cell::new(LONGEST),
        };
        Ok(ReaderBuilder::new()
            .delimiter(self.delimiter)
            .from_reader(file))
    }

    fn bad(&self, error: &csv::Error) -> Error {
        let line = error.position().map_or(0, csv::Position::line);
        let place = format!("line {line}");
        match error.kind() {
            csv::ErrorKind::UnequalLengths {
                expected_len, len, ..
            } => {
                let why = format!("{len} fields, but the header has {expected_len}");
                bad_row(&self.path, &place, &why)
            }
            csv::ErrorKind::Utf8 { .. } => {
                bad_row(&self.path, &place, "not UTF-8: convert the file")
            }
            _ => bad_row(&self.path, &place, &error.to_string()),
        }
    }

    fn chunk(&self, reader: &mut Reader<Bounded>) -> Result<Option<Chunk>> {
        let mut texts: Vec<StringBuilder> =
            self.fields.iter().map(|_| StringBuilder::new()).collect();
        let mut lines = Vec::new();
        let mut record = StringRecord::new();
        let begin = reader.position().byte();
        while lines.len() < BATCH
            && reader.position().byte() - begin < BATCH_BYTES
            && next(reader, &mut record).map_err(|error| self.bad(&error))?
        {
            lines.push(record.position().map_or(0, csv::Position::line));
            for (text, field) in texts.iter_mut().zip(&self.fields) {
                text.append_option(record.get(*field).filter(|value| !value.is_empty()));
            }
        }
        if lines.is_empty() {
            return Ok(None);
        }
        let arrays = texts
            .iter_mut()
            .map(|text| Arc::new(text.finish()) as ArrayRef)
            .collect();
        let batch = batch(&self.columns, arrays, lines.len())?;
        Ok(Some(Chunk {
            batch,
            places: Places::Lines(lines),
            read: reader.position().byte(),
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

    fn chunks(&self) -> Result<Box<dyn Iterator<Item = Result<Chunk>> + '_>> {
        let mut reader = self.reader()?;
        // The header was read already; here it is only passed over.
        reader.headers().map_err(|error| self.bad(&error))?;
        Ok(Box::new(std::iter::from_fn(move || {
            self.chunk(&mut reader).transpose()
        })))
    }
}

/// The next record; an error where it is too long.
fn next(reader: &mut Reader<Bounded>, record: &mut StringRecord) -> csv::Result<bool> {
    reader.get_ref().left.set(LONGEST);
    reader.read_record(record)
}

/// A file of which only so much is read for one record.
#[derive(Debug)]
struct Bounded {
    file: File,
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
