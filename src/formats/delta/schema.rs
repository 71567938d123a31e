//! Columns as a Delta table has them: names without blanks and punctuation, different also without
//! regard to case, and the types that every engine knows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Value, json};

use crate::formats::plain::nested_text;
use crate::store::format::cast::check;
use crate::store::{Error, Result};

/// A column of the table.
#[derive(Debug, Clone)]
struct Column {
    /// Its name in the store.
    from: String,
    name: String,
    /// Its type in the table.
    arrow: DataType,
    delta: String,
    /// It is written as text, because the table has no such type.
    as_text: bool,
}

/// The columns of a table.
#[derive(Debug)]
pub(super) struct Shape {
    columns: Vec<Column>,
    /// What is not as it is in the store, a sentence each.
    pub(super) notes: Vec<String>,
}

impl Shape {
    /// Of the store's columns.
    pub(super) fn new(schema: &Schema) -> Self {
        let (mut taken, mut notes, mut columns) = (HashSet::new(), Vec::new(), Vec::new());
        for field in schema.fields() {
            let clean: String = field
                .name()
                .chars()
                .map(|c| if " ,;{}()\n\t=".contains(c) { '_' } else { c })
                .collect();
            let mut name = clean.clone();
            let mut number = 2;
            while !taken.insert(name.to_lowercase()) {
                name = format!("{clean}_{number}");
                number += 1;
            }
            if name != *field.name() {
                notes.push(format!(
                    "column '{}' is '{name}' in the table",
                    field.name()
                ));
            }
            let (arrow, delta, as_text) = kind(field.data_type());
            if as_text {
                notes.push(format!(
                    "column '{name}' is {} in the store and text in the table",
                    field.data_type()
                ));
            }
            if matches!(
                field.data_type(),
                DataType::Timestamp(TimeUnit::Nanosecond, Some(_))
            ) {
                notes.push(format!(
                    "column '{name}' is in nanoseconds in the store and cut to microseconds in the table"
                ));
            }
            columns.push(Column {
                from: field.name().clone(),
                name,
                arrow,
                delta,
                as_text,
            });
        }
        Self { columns, notes }
    }

    /// As the log has it.
    pub(super) fn schema(&self) -> Value {
        let field = |column: &Column| {
            json!({
                "name": column.name, "type": column.delta, "nullable": true, "metadata": {},
            })
        };
        let fields: Vec<Value> = self.columns.iter().map(field).collect();
        json!({ "type": "struct", "fields": fields })
    }

    /// As parts have it.
    pub(super) fn arrow(&self) -> SchemaRef {
        let field = |column: &Column| Field::new(&column.name, column.arrow.clone(), true);
        Arc::new(Schema::new(
            self.columns.iter().map(field).collect::<Vec<_>>(),
        ))
    }

    /// Whether parts with the schema `before` belong to this table too: it has every column of
    /// before, with its type.
    pub(super) fn extends(&self, before: &Value) -> bool {
        let fields = before.get("fields").and_then(Value::as_array);
        fields.into_iter().flatten().all(|field| {
            let text = |name: &str| field.get(name).and_then(Value::as_str);
            let mut own = self.columns.iter();
            own.any(|column| {
                (Some(column.name.as_str()), Some(column.delta.as_str()))
                    == (text("name"), text("type"))
            })
        })
    }

    /// Rows of the store as rows of the table.
    pub(super) fn apply(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let bad = |error: arrow::error::ArrowError| {
            Error::Refused(format!("the rows can't be written: {error}"))
        };
        // The store goes on while it is read.
        let known = |field: &Arc<Field>| self.columns.iter().any(|own| own.from == *field.name());
        if !batch.schema().fields().iter().all(known) {
            return Err(Error::Refused(
                "the store got a column while it was exported: run this again".to_owned(),
            ));
        }
        let column = |column: &Column| match batch.column_by_name(&column.from) {
            None => Ok(new_null_array(&column.arrow, batch.num_rows())),
            Some(array) if column.as_text => texts(array).map_err(bad),
            Some(array) => {
                let values = cast(array, &column.arrow).map_err(bad)?;
                // A time that microseconds don't reach is no null.
                check(array, &values).map_err(bad)?;
                Ok(values)
            }
        };
        let columns = self.columns.iter().map(column);
        let columns: Vec<ArrayRef> = columns.collect::<Result<_>>()?;
        RecordBatch::try_new(self.arrow(), columns).map_err(bad)
    }
}

fn texts(array: &ArrayRef) -> std::result::Result<ArrayRef, arrow::error::ArrowError> {
    if array.data_type().is_nested() {
        return Ok(Arc::new(nested_text(array)?));
    }
    let options = FormatOptions::default();
    let shown = ArrayFormatter::try_new(array.as_ref(), &options)?;
    let text = |row: usize| array.is_valid(row).then(|| shown.value(row).to_string());
    Ok(Arc::new(
        (0..array.len()).map(text).collect::<StringArray>(),
    ))
}

/// The type in parts, its name in the log, and whether values become text.
fn kind(of: &DataType) -> (DataType, String, bool) {
    let micros = || DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let same = |name: &str| (of.clone(), name.to_owned(), false);
    match of {
        DataType::Boolean => same("boolean"),
        DataType::Int8 => same("byte"),
        DataType::Int16 => same("short"),
        DataType::Int32 => same("integer"),
        DataType::Int64 => same("long"),
        DataType::UInt8 => (DataType::Int16, "short".to_owned(), false),
        DataType::UInt16 => (DataType::Int32, "integer".to_owned(), false),
        DataType::UInt32 => (DataType::Int64, "long".to_owned(), false),
        DataType::UInt64 => {
            let decimal = DataType::Decimal128(20, 0);
            (decimal, "decimal(20,0)".to_owned(), false)
        }
        DataType::Float16 => (DataType::Float32, "float".to_owned(), false),
        DataType::Float32 => same("float"),
        DataType::Float64 => same("double"),
        DataType::Date32 => same("date"),
        DataType::Timestamp(_, Some(_)) => (micros(), "timestamp".to_owned(), false),
        DataType::Decimal128(precision, scale) if *scale >= 0 => {
            (of.clone(), format!("decimal({precision},{scale})"), false)
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            (DataType::Binary, "binary".to_owned(), false)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            (DataType::Utf8, "string".to_owned(), false)
        }
        DataType::Dictionary(_, value) => {
            let (arrow, delta, as_text) = kind(value);
            (arrow, delta, as_text)
        }
        DataType::Null => (DataType::Utf8, "string".to_owned(), false),
        // Lists, structs, times of day and without a zone.
        _ => (DataType::Utf8, "string".to_owned(), true),
    }
}
