//! A foreign file as batches of its own columns: what all readers have in common.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};

use super::convert::{self, Bad};
use super::json_reader::Fault;
use super::objects::Place;
use crate::store::format::cast::double_holds;
use crate::store::format::schema::{EXACT_IN_DOUBLE, Range};
use crate::store::{Error, Result};

/// Rows a batch.
pub(crate) const BATCH: usize = 8_192;

/// A column of a foreign file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Column {
    /// Its name in the file.
    pub(crate) name: String,
    /// How its values come.
    pub(crate) data_type: DataType,
    /// What they are, when they are text that stands for something: the type in
    /// which the column is kept when it is none of the canonical ones.
    pub(crate) stands_for: DataType,
    /// Whether every number in it is a whole one.
    pub(crate) whole: bool,
    /// What is known of its numbers.
    pub(crate) range: Range,
}

/// Some rows of a foreign file, in order.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The file's columns.
    pub(crate) batch: RecordBatch,
    /// Where each row is in the file.
    pub(crate) places: Places,
    /// How far the file is read, out of its total.
    pub(crate) read: u64,
    /// What was left out since the rows before.
    pub(crate) rejected: Vec<Rejected>,
}

/// A part of a file that is not a row and was left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rejected {
    /// Where it is.
    pub(crate) place: String,
    /// What is wrong with it.
    pub(crate) why: String,
    /// The part itself.
    pub(crate) raw: String,
}

/// Where rows are in their file.
#[derive(Debug)]
pub(crate) enum Places {
    /// The byte at which each row of a text file begins.
    Bytes(PathBuf, Vec<u64>),
    /// Each by itself.
    Each(Vec<Place>),
    /// The number of each row, from 1.
    Rows(Vec<u64>),
}

impl Places {
    /// Takes a row out.
    pub(crate) fn remove(&mut self, row: usize) {
        match self {
            Self::Bytes(_, numbers) | Self::Rows(numbers) if row < numbers.len() => {
                numbers.remove(row);
            }
            Self::Each(places) if row < places.len() => {
                places.remove(row);
            }
            _ => {}
        }
    }

    /// "line 7" or "row 7".
    pub(crate) fn of(&self, row: usize) -> String {
        match self {
            Self::Bytes(path, bytes) => line_at(path, bytes.get(row).copied().unwrap_or_default()),
            Self::Each(places) => match places.get(row) {
                Some(Place::Line(line)) => format!("line {line}"),
                Some(Place::Named(name)) => name.clone(),
                None => String::new(),
            },
            Self::Rows(rows) => format!("row {}", rows.get(row).copied().unwrap_or_default()),
        }
    }
}

/// "line 7" for what begins there, after ends of lines that may come first. The lines are
/// counted only where there is something to say of one.
pub(crate) fn line_at(path: &Path, byte: u64) -> String {
    let count = || -> std::io::Result<u64> {
        let mut reader = BufReader::new(File::open(path)?);
        let (mut line, mut at) = (1_u64, 0_u64);
        loop {
            let part = reader.fill_buf()?;
            if part.is_empty() {
                return Ok(line);
            }
            for found in part {
                if at >= byte && !matches!(found, b'\n' | b'\r') {
                    return Ok(line);
                }
                line += u64::from(*found == b'\n');
                at += 1;
            }
            let length = part.len();
            reader.consume(length);
        }
    };
    match count() {
        Ok(line) => format!("line {line}"),
        Err(_) => format!("byte {}", byte + 1),
    }
}

/// A file that can be read from its beginning.
pub(crate) trait Source {
    /// The columns, in the file's order.
    fn columns(&self) -> &[Column];
    /// The file's size, in the unit of [`Chunk::read`].
    fn size(&self) -> u64;
    /// What there is to say of the file, a sentence each.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
    /// The name of the source where the file has one, whose rows then have ids that stay
    /// through retries and copies.
    fn label(&self) -> Option<String> {
        None
    }
    /// The rows.
    fn chunks(&self) -> Result<Box<dyn Iterator<Item = Result<Chunk>> + '_>>;
}

/// What the texts of a column stand for, found out value by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stands {
    /// Nothing seen yet.
    Nothing,
    Truth,
    Int,
    /// A whole number that a double does not hold.
    Long,
    /// A number that is whole, written with a fraction or exponent.
    Whole,
    Float,
    Text,
}

impl Stands {
    /// What one text stands for.
    pub(crate) fn of(text: &str) -> Self {
        let first = text.bytes().next();
        if !first.is_some_and(|b| b.is_ascii_digit() || b == b'-' || b == b'.') {
            let truth = matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE");
            return match text {
                "" => Self::Nothing,
                "NaN" | "nan" => Self::Whole,
                _ if truth => Self::Truth,
                _ => Self::Text,
            };
        }
        // Leading zeros and the like make it a name rather than a number.
        if let Ok(number) = text.parse::<i64>()
            && number.to_string() == text
        {
            return Self::whole_number(number);
        }
        let padded = text.strip_prefix('-').unwrap_or(text);
        let padded = padded.len() > 1 && padded.starts_with('0') && !padded.starts_with("0.");
        match text.parse::<f64>() {
            Ok(number) if !padded && text.contains(['.', 'e', 'E']) => {
                // With more digits than a double gives back it stays what it is.
                let holds = text.len() <= 15 || double_holds(text, number);
                if holds {
                    Self::number(number)
                } else {
                    Self::Text
                }
            }
            _ => Self::Text,
        }
    }

    /// What a whole number stands for.
    pub(crate) fn whole_number(number: i64) -> Self {
        if number.unsigned_abs() > EXACT_IN_DOUBLE {
            Self::Long
        } else {
            Self::Int
        }
    }

    /// What a double stands for.
    pub(crate) fn number(number: f64) -> Self {
        if convert::is_whole(number) {
            Self::Whole
        } else {
            Self::Float
        }
    }

    /// What a column with both stands for.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, one) | (one, Self::Nothing) => one,
            (one, two) if one == two => one,
            (Self::Truth, _) | (_, Self::Truth) => Self::Text,
            (Self::Long, other) | (other, Self::Long) if other != Self::Int => Self::Text,
            (one, two) => one.max(two),
        }
    }

    pub(crate) fn data_type(self) -> DataType {
        match self {
            Self::Nothing => DataType::Null,
            Self::Truth => DataType::Boolean,
            Self::Int | Self::Long => DataType::Int64,
            Self::Whole | Self::Float => DataType::Float64,
            Self::Text => DataType::Utf8,
        }
    }

    pub(crate) fn range(self) -> Range {
        Range {
            wide: self == Self::Long,
            ..Range::default()
        }
    }

    pub(crate) fn whole(self) -> bool {
        matches!(self, Self::Nothing | Self::Int | Self::Long | Self::Whole)
    }
}

/// A column of texts as what it stands for.
pub(crate) fn stand_for(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, Bad> {
    Ok(match data_type {
        DataType::Null => arrow::array::new_null_array(data_type, column.len()),
        DataType::Boolean => Arc::new(convert::truths(column)?),
        DataType::Float64 => convert::numbers(column)?,
        DataType::Int64 => {
            let texts = convert::texts(column)?;
            let numbers = texts
                .iter()
                .map(|text| text.and_then(|text| text.parse::<i64>().ok()));
            Arc::new(numbers.collect::<Int64Array>())
        }
        _ => Arc::clone(column),
    })
}

/// A batch of columns of one length.
pub(crate) fn batch(columns: &[Column], arrays: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let fields: Vec<_> = columns
        .iter()
        .zip(&arrays)
        .map(|(column, array)| Field::new(&column.name, array.data_type().clone(), true))
        .collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &options)
        .map_err(|error| Error::Refused(format!("the rows can't be taken in: {error}")))
}

/// A document that can't be read on: the file, the byte, what is wrong there. `inside`
/// is the part of the file, when it has parts.
pub(crate) fn bad_document(path: &Path, inside: Option<&str>, fault: Fault) -> Error {
    match (fault, inside) {
        (Fault::Io(source), _) => Error::io("read", path)(source),
        (Fault::Json { at, why }, None) => bad_row(path, &format!("byte {at}"), &why),
        (Fault::Json { at, why }, Some(part)) => bad_row(path, &format!("{part}, byte {at}"), &why),
    }
}

/// One sentence: the file, the place, what is wrong, and that nothing came of it.
pub(crate) fn bad_row(path: &Path, place: &str, why: &str) -> Error {
    Error::Refused(format!(
        "{}, {place}: {why}; nothing was imported from this file",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_for_what_they_look_like() {
        use Stands as S;
        for (text, expected) in [
            ("", S::Nothing),
            ("True", S::Truth),
            ("12", S::Int),
            ("-3", S::Int),
            ("007", S::Text),
            ("00.5", S::Text),
            ("0.5", S::Float),
            ("-0.5", S::Float),
            ("3.0", S::Whole),
            ("1e3", S::Whole),
            ("nan", S::Whole),
            ("inf", S::Text),
            ("2026-01-31", S::Text),
            ("99999999999999999999", S::Text),
            ("9007199254740992", S::Int),
            ("9007199254740993", S::Long),
            ("9007199254740993.0", S::Text),
            ("0.1234567890123456789", S::Text),
            ("0.10000000000000000555", S::Float),
        ] {
            assert_eq!(S::of(text), expected, "{text}");
        }
        assert_eq!(S::Int.and(S::Float), S::Float);
        assert_eq!(S::Truth.and(S::Int), S::Text);
        assert_eq!(S::Int.and(S::Long), S::Long);
        assert_eq!(S::Long.and(S::Whole), S::Text);
        assert_eq!(S::Float.and(S::Long), S::Text);
        assert_eq!(S::Nothing.and(S::Truth), S::Truth);
    }
}
