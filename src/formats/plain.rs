//! Makes a batch ready for text: values that text has no form for become null,
//! times get an offset that every library knows, nested values become JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json::writer::{EncoderOptions, make_encoder};

use crate::store::format::cast::{at_offset_zero, cast, zones_at_zero};

/// The batch with its floats finite or null and its zoned times at offset 0;
/// with `flat`, nested and binary values are JSON text.
pub(super) fn plain(batch: &RecordBatch, flat: bool) -> Result<RecordBatch, ArrowError> {
    let schema = batch.schema();
    let columns = batch
        .columns()
        .iter()
        .zip(schema.fields())
        .map(|(column, field)| match field.data_type() {
            DataType::Float64 => Ok(Arc::new(
                column
                    .as_primitive::<Float64Type>()
                    .unary_opt::<_, Float64Type>(finite),
            ) as _),
            DataType::Float32 => Ok(Arc::new(
                column
                    .as_primitive::<Float32Type>()
                    .unary_opt::<_, Float32Type>(|v| v.is_finite().then_some(v)),
            ) as _),
            // The same instants; the name of a zone would need a zone database.
            DataType::Timestamp(_, Some(_)) => cast(column, &plain_type(field, flat)),
            t if flat && needs_json(t) => {
                let column = at_offset_zero(column);
                let of = Field::clone(field).with_data_type(column.data_type().clone());
                json_text(&Arc::new(of), &column)
            }
            _ => Ok(at_offset_zero(column)),
        })
        .collect::<Result<Vec<ArrayRef>, _>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(plain_schema(&schema, flat), columns, &options)
}

/// The schema that [`plain`] gives its batches.
fn plain_schema(schema: &SchemaRef, flat: bool) -> SchemaRef {
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| Field::new(f.name(), plain_type(f, flat), true))
        .collect();
    Arc::new(Schema::new(fields))
}

fn plain_type(field: &Field, flat: bool) -> DataType {
    match field.data_type() {
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("+00:00".into())),
        t if flat && needs_json(t) => DataType::Utf8,
        other => zones_at_zero(other),
    }
}

fn needs_json(data_type: &DataType) -> bool {
    use DataType as T;
    data_type.is_nested()
        || matches!(
            data_type,
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_)
        )
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// Lists, structs and maps as the JSON that they are.
pub(crate) fn nested_text(column: &ArrayRef) -> Result<StringArray, ArrowError> {
    let column = at_offset_zero(column);
    let field = Field::new("", column.data_type().clone(), true);
    let texts = json_text(&Arc::new(field), &column)?;
    Ok(texts.as_string::<i32>().clone())
}

fn json_text(field: &Arc<Field>, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default();
    let mut encoder = make_encoder(field, column, &options)?;
    let mut texts = StringBuilder::new();
    let mut buffer = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        buffer.clear();
        encoder.encode(row, &mut buffer);
        texts.append_value(String::from_utf8_lossy(&buffer));
    }
    Ok(Arc::new(texts.finish()))
}
