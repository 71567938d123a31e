//! Records to columns: the canonical ones in their fixed types, the others in the
//! narrowest type that holds what they have.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::Value;

use super::Record;
use crate::store::error::{Error, Result};
use crate::store::schema;

/// The records as one batch: all canonical columns, then the others by name.
pub fn to_batch(records: &[Record]) -> Result<RecordBatch> {
    let mut extras = Extras::default();
    extras.add(records);
    extras.to_batch(records)
}

/// The types of the columns that the store does not know, gathered from all
/// records of a file before the first batch of it is made.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    types: BTreeMap<String, DataType>,
}

impl Extras {
    /// Widens the types so that they hold these records too.
    pub fn add(&mut self, records: &[Record]) {
        for (name, value) in records.iter().flat_map(|record| &record.extra) {
            let own = match value {
                Value::Null => continue,
                Value::Bool(_) => DataType::Boolean,
                Value::Number(number) if number.is_i64() => DataType::Int64,
                Value::Number(_) => DataType::Float64,
                Value::String(_) | Value::Array(_) | Value::Object(_) => DataType::Utf8,
            };
            match self.types.get_mut(name) {
                Some(seen) if *seen == own => {}
                Some(seen) => *seen = wider(seen, &own),
                None => {
                    self.types.insert(name.clone(), own);
                }
            }
        }
    }

    /// The columns of the file.
    pub fn schema(&self) -> SchemaRef {
        let extra = self
            .types
            .iter()
            .map(|(name, kind)| Arc::new(Field::new(name, kind.clone(), true)));
        let fields: Vec<_> = schema::canonical()
            .fields()
            .iter()
            .cloned()
            .chain(extra)
            .collect();
        Arc::new(Schema::new(fields))
    }

    /// Records that were all added before, as one batch with these columns.
    pub fn to_batch(&self, records: &[Record]) -> Result<RecordBatch> {
        let schema = self.schema();
        let columns =
            schema
                .fields()
                .iter()
                .map(|field| match canonical_column(field.name(), records) {
                    Some(column) => column,
                    None => extra_column(field, records),
                });
        RecordBatch::try_new(schema.clone(), columns.collect())
            .map_err(|error| Error::Refused(format!("records don't fit their columns: {error}")))
    }
}

fn wider(one: &DataType, other: &DataType) -> DataType {
    let numbers = |kind: &DataType| matches!(kind, DataType::Int64 | DataType::Float64);
    if numbers(one) && numbers(other) {
        DataType::Float64
    } else {
        DataType::Utf8
    }
}

fn canonical_column(name: &str, records: &[Record]) -> Option<ArrayRef> {
    macro_rules! column {
        ($array:ty, |$record:ident| $value:expr) => {
            Arc::new(
                records
                    .iter()
                    .map(|$record: &Record| $value)
                    .collect::<$array>(),
            ) as ArrayRef
        };
    }
    Some(match name {
        "test_id" => column!(StringArray, |r| r.test_id.as_deref()),
        "model" => column!(StringArray, |r| Some(r.model.as_str())),
        "task_type" => column!(StringArray, |r| r.task_type.as_deref()),
        "prompt_type" => column!(StringArray, |r| r.prompt_type.as_deref()),
        "difficulty" => column!(StringArray, |r| r.difficulty.as_deref()),
        "tool_success_rate" => column!(Float64Array, |r| r.tool_success_rate),
        "success" => column!(BooleanArray, |r| Some(r.success)),
        "partial_success" => column!(BooleanArray, |r| r.partial_success),
        "execution_time" => column!(Float64Array, |r| r.execution_time),
        "turns" => column!(Int64Array, |r| r.turns),
        "tool_calls" => column!(Int64Array, |r| r.tool_calls),
        "tool_coverage_rate" => column!(Float64Array, |r| r.tool_coverage_rate),
        "workflow_score" => column!(Float64Array, |r| r.workflow_score),
        "phase2_score" => column!(Float64Array, |r| r.phase2_score),
        "quality_score" => column!(Float64Array, |r| r.quality_score),
        "final_score" => column!(Float64Array, |r| r.final_score),
        "error_type" => column!(StringArray, |r| r.error_type.as_deref()),
        "error_message" => column!(StringArray, |r| r.error_message.as_deref()),
        "is_flawed" => column!(BooleanArray, |r| r.is_flawed),
        "flaw_type" => column!(StringArray, |r| r.flaw_type.as_deref()),
        "task_id" => column!(StringArray, |r| r.task_id.as_deref()),
        "session_id" => column!(StringArray, |r| r.session_id.as_deref()),
        "timestamp" => {
            let times: TimestampMicrosecondArray = records.iter().map(|r| r.timestamp).collect();
            Arc::new(times.with_timezone("UTC"))
        }
        "process_id" => column!(StringArray, |r| r.process_id.as_deref()),
        _ => return None,
    })
}

fn extra_column(field: &Field, records: &[Record]) -> ArrayRef {
    let values = records.iter().map(|record| record.extra.get(field.name()));
    match field.data_type() {
        DataType::Boolean => Arc::new(values.map(|v| v?.as_bool()).collect::<BooleanArray>()),
        DataType::Int64 => Arc::new(values.map(|v| v?.as_i64()).collect::<Int64Array>()),
        DataType::Float64 => Arc::new(values.map(|v| v?.as_f64()).collect::<Float64Array>()),
        _ => Arc::new(values.map(|v| v.and_then(as_text)).collect::<StringArray>()),
    }
}

/// Text as it is, everything else as JSON.
fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use jiff::tz::TimeZone;

    use super::*;

    fn record(line: &str) -> Record {
        Record::parse_in(line.as_bytes(), &TimeZone::UTC).unwrap()
    }

    #[test]
    fn every_canonical_column_is_there_in_its_type() {
        let full = Record {
            timestamp: Some(7),
            ..record(r#"{"model":"m","success":true,"turns":2}"#)
        };
        let batch = to_batch(&[full]).unwrap();
        assert_eq!(batch.schema(), schema::canonical());
        let text = serde_json::to_value(record(r#"{"model":"m","success":true}"#)).unwrap();
        assert_eq!(text, serde_json::json!({"model": "m", "success": true}));
        for (name, _) in schema::CANONICAL {
            assert!(
                canonical_column(name, &[]).is_some(),
                "{name} is not written"
            );
        }
    }

    #[test]
    fn other_columns_take_the_narrowest_type() {
        let lines = [
            r#"{"model":"m","success":true,"flag":true,"count":1,"mean":1,"text":"a","mixed":1,"list":[1]}"#,
            r#"{"model":"m","success":true,"count":-2,"mean":1.5,"mixed":"b"}"#,
        ];
        let records: Vec<_> = lines.iter().map(|line| record(line)).collect();
        let batch = to_batch(&records).unwrap();
        let kind = |name: &str| batch.column_by_name(name).unwrap().data_type().clone();
        assert_eq!(kind("flag"), DataType::Boolean);
        assert_eq!(kind("count"), DataType::Int64);
        assert_eq!(kind("mean"), DataType::Float64);
        assert_eq!(kind("text"), DataType::Utf8);
        let mixed: Vec<_> = batch["mixed"].as_string::<i32>().iter().collect();
        assert_eq!(mixed, [Some("1"), Some("b")]);
        assert_eq!(batch["list"].as_string::<i32>().value(0), "[1]");
        assert!(batch["flag"].is_null(1));
    }
}
