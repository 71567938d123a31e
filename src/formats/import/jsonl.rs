//! JSON lines: one object a line. NaN and Infinity, which Python writes, are absent
//! values; nested values are kept as JSON text.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, new_null_array};
use arrow::datatypes::DataType;
use serde_json::{Map, Value};

use super::detect;
use super::source::{BATCH, Chunk, Column, Places, Source, Stands, bad_row, batch};
use crate::store::{Error, Result, record};

/// A batch also ends at this many bytes of lines.
const BATCH_BYTES: u64 = 16 << 20;

/// A file of JSON lines.
#[derive(Debug)]
pub(super) struct Jsonl {
    path: PathBuf,
    size: u64,
    columns: Vec<Column>,
}

impl Jsonl {
    /// Reads the file once, to learn its columns and their types.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let size = detect::open(path)?.metadata().map_err(Error::io("read", path))?.len();
        let mut names: Vec<String> = Vec::new();
        let mut found: HashMap<String, Stands> = HashMap::new();
        let mut lines = Lines::open(path)?;
        while let Some((_, object)) = lines.next()? {
            for (name, value) in object {
                let stands = stands(&value);
                if let Some(seen) = found.get_mut(&name) {
                    *seen = seen.and(stands);
                } else {
                    names.push(name.clone());
                    found.insert(name, stands);
                }
            }
        }
        let columns = names
            .into_iter()
            .map(|name| {
                let stands = found.get(&name).copied().unwrap_or(Stands::Nothing);
                let data_type = stands.data_type();
                Column { name, data_type: data_type.clone(), stands_for: data_type, whole: stands.whole() }
            })
            .collect();
        Ok(Self { path: path.to_path_buf(), size, columns })
    }

    fn chunk(&self, lines: &mut Lines) -> Result<Option<Chunk>> {
        let (mut places, mut objects) = (Vec::new(), Vec::new());
        let begin = lines.read;
        while objects.len() < BATCH && lines.read - begin < BATCH_BYTES {
            let Some((line, object)) = lines.next()? else { break };
            places.push(line);
            objects.push(object);
        }
        if objects.is_empty() {
            return Ok(None);
        }
        let arrays = self.columns.iter().map(|column| array(column, &objects)).collect();
        let batch = batch(&self.columns, arrays, objects.len())?;
        Ok(Some(Chunk { batch, places: Places::Lines(places), read: lines.read }))
    }
}

impl Source for Jsonl {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn chunks(&self) -> Result<Box<dyn Iterator<Item = Result<Chunk>> + '_>> {
        let mut lines = Lines::open(&self.path)?;
        Ok(Box::new(std::iter::from_fn(move || self.chunk(&mut lines).transpose())))
    }
}

fn stands(value: &Value) -> Stands {
    match value {
        Value::Null => Stands::Nothing,
        Value::Bool(_) => Stands::Truth,
        Value::Number(number) if number.is_i64() => Stands::Int,
        Value::Number(number) if number.is_f64() => Stands::number(number.as_f64().unwrap_or(f64::NAN)),
        // Beyond 64 bits only text keeps every digit.
        _ => Stands::Text,
    }
}

fn array(column: &Column, objects: &[Map<String, Value>]) -> ArrayRef {
    let values = objects.iter().map(|object| object.get(&column.name).filter(|value| !value.is_null()));
    match column.data_type {
        DataType::Null => new_null_array(&DataType::Null, objects.len()),
        DataType::Boolean => {
            let mut builder = BooleanBuilder::new();
            values.for_each(|value| builder.append_option(value.and_then(Value::as_bool)));
            Arc::new(builder.finish())
        }
        DataType::Int64 => {
            let mut builder = Int64Builder::new();
            values.for_each(|value| builder.append_option(value.and_then(Value::as_i64)));
            Arc::new(builder.finish())
        }
        DataType::Float64 => {
            let mut builder = Float64Builder::new();
            values.for_each(|value| builder.append_option(value.and_then(Value::as_f64)));
            Arc::new(builder.finish())
        }
        _ => {
            let mut builder = StringBuilder::new();
            for value in values {
                match value {
                    None => builder.append_null(),
                    Some(Value::String(text)) => builder.append_value(text),
                    Some(other) => builder.append_value(other.to_string()),
                }
            }
            Arc::new(builder.finish())
        }
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
        Ok(Self { path: path.to_path_buf(), reader, buffer: Vec::new(), line: 0, read: 0 })
    }

    fn next(&mut self) -> Result<Option<(u64, Map<String, Value>)>> {
        loop {
            self.buffer.clear();
            let bytes = self.reader.read_until(b'\n', &mut self.buffer);
            let bytes = bytes.map_err(Error::io("read", &self.path))?;
            if bytes == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.read += bytes as u64;
            let line = match self.line {
                1 => self.buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.buffer),
                _ => &self.buffer,
            };
            if line.trim_ascii().is_empty() {
                continue;
            }
            return match record::object(line) {
                Ok(object) => Ok(Some((self.line, object))),
                Err(why) => Err(bad_row(&self.path, &format!("line {}", self.line), &why)),
            };
        }
    }
}
