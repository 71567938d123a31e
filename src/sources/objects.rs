//! Rows that come as JSON objects, whatever file they are in: read once to learn
//! their columns and the types of those, then again batch by batch.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, new_null_array,
};
use arrow::datatypes::DataType;
use serde_json::{Map, Value};

use super::source::{BATCH, Chunk, Column, Places, Rejected, Source, Stands, batch};
use crate::store::Result;

/// A batch also ends at this many bytes of the file.
const BATCH_BYTES: u64 = 16 << 20;

/// A row as a file holds it.
#[derive(Debug)]
pub(crate) struct Object {
    /// Where it is: "line 7", "sample 3".
    pub(crate) place: Place,
    /// Its fields; `None` when it is left out.
    pub(crate) fields: Option<Map<String, Value>>,
    /// Something to say of it; rows with the same remark are counted together.
    pub(crate) remark: Option<&'static str>,
    /// How far the file is read.
    pub(crate) read: u64,
    /// What is there instead of a row.
    pub(crate) rejected: Option<Rejected>,
}

/// Where a row is in its file.
#[derive(Debug)]
pub(crate) enum Place {
    /// The line on which it begins, from 1.
    Line(u64),
    /// Its name there.
    Named(String),
}

/// How many rows have each remark.
pub(crate) type Remarks = BTreeMap<&'static str, u64>;

/// Rows one by one.
pub(crate) type Rows<'a> = Box<dyn Iterator<Item = Result<Object>> + 'a>;

/// A file of objects that can be read from its beginning.
pub(crate) trait Reader {
    /// Its rows.
    fn rows(&self) -> Result<Rows<'_>>;
    /// Rows that have between them every column, and every type, that its rows have.
    fn examples(&self) -> Result<Rows<'_>> {
        self.rows()
    }
    /// Its size, in the unit of [`Object::read`].
    fn size(&self) -> u64;
    /// Whether its successes follow from its scores, so that these must be from 0 to 1.
    fn scores(&self) -> bool {
        false
    }
    /// The name of the source, where the file has one.
    fn label(&self) -> Option<String> {
        None
    }
    /// What there is to say of the file, a sentence each.
    fn notes(&self, _remarks: &Remarks, _columns: &[Column]) -> Vec<String> {
        Vec::new()
    }
}

/// What follows from a score of 0 to 1.
pub(crate) const JUDGED: [&str; 2] = ["success", "partial_success"];

/// A file of objects with its columns.
#[derive(Debug)]
pub(crate) struct Objects<R> {
    reader: R,
    columns: Vec<Column>,
    notes: Vec<String>,
}

impl<R: Reader> Objects<R> {
    /// Reads the file once.
    pub(crate) fn new(reader: R) -> Result<Self> {
        let mut names: Vec<String> = Vec::new();
        let mut found: HashMap<String, Stands> = HashMap::new();
        let mut remarks = Remarks::new();
        let mut range: Option<(f64, f64)> = None;
        for row in reader.examples()? {
            let row = row?;
            if let Some(remark) = row.remark {
                *remarks.entry(remark).or_default() += 1;
            }
            let score = row.fields.as_ref().and_then(|fields| fields.get("score"));
            if let Some(score) = score.and_then(Value::as_f64) {
                let (low, high) = range.unwrap_or((score, score));
                range = Some((low.min(score), high.max(score)));
            }
            for (name, value) in row.fields.into_iter().flatten() {
                let stands = stands(&value);
                if let Some(seen) = found.get_mut(&name) {
                    *seen = seen.and(stands);
                } else {
                    names.push(name.clone());
                    found.insert(name, stands);
                }
            }
        }
        let columns = names.into_iter().map(|name| {
            let stands = found.get(&name).copied().unwrap_or(Stands::Nothing);
            let data_type = stands.data_type();
            Column {
                name,
                data_type: data_type.clone(),
                stands_for: data_type,
                whole: stands.whole(),
                range: stands.range(),
            }
        });
        let mut columns: Vec<Column> = columns.collect();
        let mut notes = reader.notes(&remarks, &columns);
        let outside = range.filter(|(low, high)| *low < 0.0 || *high > 1.0);
        if let (true, Some((low, high))) = (reader.scores(), outside) {
            columns.retain(|column| !JUDGED.contains(&column.name.as_str()));
            notes.retain(|note| !note.starts_with("success is "));
            notes.push(format!(
                "scores go from {low} to {high}, so none is a success: --success-from 'score>={high}' \
                 says which are"
            ));
        }
        Ok(Self {
            reader,
            columns,
            notes,
        })
    }

    /// What reads the file.
    pub(crate) fn reader(&self) -> &R {
        &self.reader
    }

    fn chunk(&self, rows: &mut Rows<'_>, read: &mut u64) -> Result<Option<Chunk>> {
        let (mut places, mut objects) = (Vec::new(), Vec::new());
        let mut rejected = Vec::new();
        let begin = *read;
        while objects.len() < BATCH && *read - begin < BATCH_BYTES {
            let Some(row) = rows.next().transpose()? else {
                break;
            };
            *read = row.read.max(begin);
            rejected.extend(row.rejected);
            if let Some(fields) = row.fields {
                places.push(row.place);
                objects.push(fields);
            }
        }
        if objects.is_empty() && *read == begin {
            return Ok(None);
        }
        let arrays = self
            .columns
            .iter()
            .map(|column| array(column, &objects))
            .collect();
        let batch = batch(&self.columns, arrays, objects.len())?;
        Ok(Some(Chunk {
            batch,
            places: Places::Each(places),
            read: *read,
            rejected,
        }))
    }
}

impl<R: Reader> Source for Objects<R> {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn size(&self) -> u64 {
        self.reader.size()
    }

    fn label(&self) -> Option<String> {
        self.reader.label()
    }

    fn notes(&self) -> Vec<String> {
        self.notes.clone()
    }

    fn chunks(&self) -> Result<Box<dyn Iterator<Item = Result<Chunk>> + '_>> {
        let mut rows = self.reader.rows()?;
        let mut read = 0;
        Ok(Box::new(std::iter::from_fn(move || {
            self.chunk(&mut rows, &mut read).transpose()
        })))
    }
}

fn stands(value: &Value) -> Stands {
    match value {
        Value::Null => Stands::Nothing,
        Value::Bool(_) => Stands::Truth,
        Value::Number(number) if number.is_i64() => {
            Stands::whole_number(number.as_i64().unwrap_or_default())
        }
        Value::Number(number) if number.is_f64() => {
            Stands::number(number.as_f64().unwrap_or(f64::NAN))
        }
        // Beyond 64 bits only text keeps every digit.
        _ => Stands::Text,
    }
}

fn array(column: &Column, objects: &[Map<String, Value>]) -> ArrayRef {
    let values = objects
        .iter()
        .map(|object| object.get(&column.name).filter(|value| !value.is_null()));
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
