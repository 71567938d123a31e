//! Records to columns: the canonical ones in their fixed types, the others in the
//! narrowest type that holds what they have.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use serde_json::{Number, Value};

use super::Record;
use crate::store::error::{Error, Result};
use crate::store::format::schema::{self, Kind, Range};

/// The records as one batch: the canonical columns, then the others by name.
pub fn to_batch(records: &[Record]) -> Result<RecordBatch> {
    let mut extras = Extras::default();
    extras.add(records);
    extras.to_batch(records)
}

/// The types of the columns that not every file has, gathered from all records of a file
/// before the first batch of it is made.
#[derive(Debug, Clone, Default)]
pub struct Extras {
    types: BTreeMap<String, Extra>,
}

/// What a column has so far.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Extra {
    Truth,
    /// Whole numbers.
    Whole(Range),
    /// Numbers, some with a fraction.
    Double,
    Time,
    Text,
}

impl Extra {
    fn of(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => return None,
            Value::Bool(_) => Self::Truth,
            Value::Number(number) => match whole(number) {
                Some(whole) => Self::Whole(Range::of(whole)),
                None => Self::Double,
            },
            Value::String(_) | Value::Array(_) | Value::Object(_) => Self::Text,
        })
    }

    /// What holds each value of both exactly.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (one, two) if one == two => one,
            (Self::Whole(one), Self::Whole(two)) => Self::Whole(one.and(two)),
            (Self::Whole(range), Self::Double) | (Self::Double, Self::Whole(range))
                if !range.wide =>
            {
                Self::Double
            }
            _ => Self::Text,
        }
    }

    fn field(self, name: &str) -> Field {
        let field = |data_type| Field::new(name, data_type, true);
        match self {
            Self::Truth => field(DataType::Boolean),
            Self::Whole(range) if range.huge && range.negative => {
                field(DataType::Decimal128(LONG_DIGITS, 0))
            }
            Self::Whole(range) if range.huge => range.mark(&field(DataType::UInt64)),
            Self::Whole(range) => range.mark(&field(DataType::Int64)),
            Self::Double => field(DataType::Float64),
            Self::Time => field(schema::timestamp_type()),
            Self::Text => field(DataType::Utf8),
        }
    }
}

/// Digits of the largest 64-bit number.
const LONG_DIGITS: u8 = 20;

fn whole(number: &Number) -> Option<i128> {
    let signed = number.as_i64().map(i128::from);
    signed.or_else(|| number.as_u64().map(i128::from))
}

impl Extras {
    /// Widens the types so that they hold these records too.
    pub fn add(&mut self, records: &[Record]) {
        for record in records {
            for (name, kind) in schema::optional().filter(|(name, _)| has(record, name)) {
                let own = match kind {
                    Kind::Time => Extra::Time,
                    Kind::Float => Extra::Double,
                    _ => optional_value(record, name)
                        .and_then(|value| Extra::of(&value))
                        .unwrap_or(Extra::Text),
                };
                self.widen(name, own);
            }
            for (name, value) in &record.extra {
                if let Some(own) = Extra::of(value) {
                    self.widen(name, own);
                }
            }
        }
    }

    fn widen(&mut self, name: &str, own: Extra) {
        match self.types.get_mut(name) {
            Some(seen) => *seen = seen.and(own),
            None => {
                self.types.insert(name.to_owned(), own);
            }
        }
    }

    /// The columns of the file.
    pub fn schema(&self) -> SchemaRef {
        let optional = schema::optional()
            .filter_map(|(name, _)| Some(Arc::new(self.types.get(name)?.field(name))));
        let extra = self
            .types
            .iter()
            .filter(|(name, _)| !schema::is_optional(name))
            .map(|(name, extra)| Arc::new(extra.field(name)));
        let fields: Vec<_> = schema::canonical()
            .fields()
            .iter()
            .cloned()
            .chain(optional)
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
                    // Of a column that was not always canonical there may be other values.
                    Some(column) if !is_mixed(field, &column, records) => column,
                    _ => extra_column(field, records),
                });
        RecordBatch::try_new(schema.clone(), columns.collect())
            .map_err(|error| Error::Refused(format!("records don't fit their columns: {error}")))
    }
}

/// Whether a record has a value in a canonical column that may be left out.
fn has(record: &Record, name: &str) -> bool {
    match name {
        "recorded_at" => record.recorded_at.is_some(),
        "trial" => record.trial.is_some(),
        "score" => record.score.is_some(),
        "input_tokens" => record.input_tokens.is_some(),
        "output_tokens" => record.output_tokens.is_some(),
        "reasoning_tokens" => record.reasoning_tokens.is_some(),
        "cache_read_tokens" => record.cache_read_tokens.is_some(),
        "cache_write_tokens" => record.cache_write_tokens.is_some(),
        "cost" => record.cost.is_some(),
        "judge_cost" => record.judge_cost.is_some(),
        "log" => record.log.is_some(),
        _ => false,
    }
}

/// Whether some values of a canonical column lie among the other ones.
fn is_mixed(field: &Field, column: &ArrayRef, records: &[Record]) -> bool {
    let name = field.name();
    let elsewhere = || records.iter().any(|record| record.extra.contains_key(name));
    schema::is_optional(name) && (field.data_type() != column.data_type() || elsewhere())
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
        "success" => column!(BooleanArray, |r| r.success),
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
        "timestamp" => times(records.iter().map(|r| r.timestamp)),
        "process_id" => column!(StringArray, |r| r.process_id.as_deref()),
        "recorded_at" => times(records.iter().map(|r| r.recorded_at)),
        "trial" => column!(Int64Array, |r| r.trial),
        "score" => column!(Float64Array, |r| r.score),
        "input_tokens" => column!(Int64Array, |r| r.input_tokens),
        "output_tokens" => column!(Int64Array, |r| r.output_tokens),
        "reasoning_tokens" => column!(Int64Array, |r| r.reasoning_tokens),
        "cache_read_tokens" => column!(Int64Array, |r| r.cache_read_tokens),
        "cache_write_tokens" => column!(Int64Array, |r| r.cache_write_tokens),
        "cost" => column!(Float64Array, |r| r.cost),
        "judge_cost" => column!(Float64Array, |r| r.judge_cost),
        "log" => column!(StringArray, |r| r.log.as_deref()),
        _ => return None,
    })
}

fn times(times: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let times: TimestampMicrosecondArray = times.collect();
    Arc::new(times.with_timezone("UTC"))
}

fn extra_column(field: &Field, records: &[Record]) -> ArrayRef {
    let values = records.iter().map(|record| {
        let other = record.extra.get(field.name()).map(Cow::Borrowed);
        other.or_else(|| optional_value(record, field.name()).map(Cow::Owned))
    });
    match field.data_type() {
        DataType::Boolean => Arc::new(values.map(|v| v?.as_bool()).collect::<BooleanArray>()),
        DataType::Int64 => Arc::new(values.map(|v| v?.as_i64()).collect::<Int64Array>()),
        DataType::UInt64 => Arc::new(values.map(|v| v?.as_u64()).collect::<UInt64Array>()),
        DataType::Decimal128(..) => {
            let numbers = values.map(|v| whole(v?.as_number()?));
            let numbers = numbers.collect::<Decimal128Array>();
            Arc::new(numbers.with_data_type(field.data_type().clone()))
        }
        DataType::Float64 => Arc::new(values.map(|v| v?.as_f64()).collect::<Float64Array>()),
        _ => Arc::new(values.map(|v| as_text(&*v?)).collect::<StringArray>()),
    }
}

/// The value that a record has in a canonical column that may be left out.
fn optional_value(record: &Record, name: &str) -> Option<Value> {
    match name {
        "recorded_at" => record.recorded_at.map(Value::from),
        "trial" => record.trial.map(Value::from),
        "score" => record.score.map(Value::from),
        "input_tokens" => record.input_tokens.map(Value::from),
        "output_tokens" => record.output_tokens.map(Value::from),
        "reasoning_tokens" => record.reasoning_tokens.map(Value::from),
        "cache_read_tokens" => record.cache_read_tokens.map(Value::from),
        "cache_write_tokens" => record.cache_write_tokens.map(Value::from),
        "cost" => record.cost.map(Value::from),
        "judge_cost" => record.judge_cost.map(Value::from),
        "log" => record.log.clone().map(Value::from),
        _ => None,
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
        let mut all = Record {
            recorded_at: Some(1),
            ..record(
                r#"{"model":"m","success":true,"trial":1,"score":1,"input_tokens":1,"output_tokens":1,
                "reasoning_tokens":1,"cache_read_tokens":1,"cache_write_tokens":1,"cost":1,
                "judge_cost":1,"log":"l"}"#,
            )
        };
        let fields = to_batch(&[all.clone()]).unwrap().schema().fields().clone();
        let kinds: Vec<_> = fields
            .iter()
            .map(|f| (f.name().as_str(), f.data_type().clone()))
            .collect();
        assert_eq!(
            kinds,
            schema::CANONICAL.map(|(name, kind)| (name, kind.data_type()))
        );
        all.extra.insert("none".into(), Value::Null);
        for (name, _) in schema::optional() {
            assert!(
                has(&all, name) && optional_value(&all, name).is_some(),
                "{name}"
            );
        }
    }

    #[test]
    fn columns_that_no_record_uses_are_left_out() {
        let lines = [
            r#"{"model":"m","success":true,"input_tokens":3}"#,
            r#"{"model":"m","score":0.25,"cost":0.5,"log":"a.eval#17","trial":2}"#,
        ];
        let records: Vec<_> = lines.iter().map(|line| record(line)).collect();
        let batch = to_batch(&records).unwrap();
        let schema = batch.schema();
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .skip(24)
            .map(|f| f.name().as_str())
            .collect();
        assert_eq!(names, ["trial", "score", "input_tokens", "cost", "log"]);
        assert!(batch["success"].is_null(1) && batch["score"].is_null(0));
        assert_eq!(batch["log"].as_string::<i32>().value(1), "a.eval#17");
    }

    #[test]
    fn what_a_column_held_before_it_was_canonical_stays() {
        // Lines of a journal, as older versions wrote them.
        let lines = [
            r#"{"model":"m","success":true,"score":"C","trial":1.5,"log":[1]}"#,
            r#"{"model":"m","success":true,"score":0.5,"trial":2,"log":"x"}"#,
        ];
        let records: Vec<Record> = lines
            .iter()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let batch = to_batch(&records).unwrap();
        let text = |name: &str| -> Vec<_> {
            batch[name]
                .as_string::<i32>()
                .iter()
                .map(|v| v.unwrap().to_owned())
                .collect()
        };
        assert_eq!(text("score"), ["C", "0.5"]);
        assert_eq!(text("log"), ["[1]", "x"]);
        let trials = batch["trial"].as_primitive::<arrow::datatypes::Float64Type>();
        assert_eq!(trials.values(), &[1.5, 2.0]);
        let back = serde_json::to_string(&records[0]).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&back).unwrap(), records[0]);
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

    #[test]
    fn no_number_is_rounded_for_its_neighbours() {
        let lines = [
            r#"{"model":"m","success":true,"a":9007199254740993,"b":18446744073709551615,"c":18446744073709551615,"d":1,"e":9007199254740993}"#,
            r#"{"model":"m","success":true,"a":1.5,"b":7,"c":-7,"d":0.5,"e":-1}"#,
        ];
        let records: Vec<_> = lines.iter().map(|line| record(line)).collect();
        let batch = to_batch(&records).unwrap();
        let shown = |name: &str| {
            let texts = crate::store::format::cast::cast(&batch[name], &DataType::Utf8).unwrap();
            let texts = texts.as_string::<i32>();
            (texts.value(0).to_owned(), texts.value(1).to_owned())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(shown("a"), pair("9007199254740993", "1.5"));
        assert_eq!(shown("b"), pair("18446744073709551615", "7"));
        assert_eq!(shown("c"), pair("18446744073709551615", "-7"));
        assert_eq!(shown("d"), pair("1.0", "0.5"));
        assert_eq!(shown("e"), pair("9007199254740993", "-1"));
        assert_eq!(*batch["a"].data_type(), DataType::Utf8);
        assert_eq!(*batch["c"].data_type(), DataType::Decimal128(20, 0));
    }
}
