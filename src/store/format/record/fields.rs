//! The fields of one JSON object, those that the store knows apart from the others.
//!
//! Every result passes through here on its way in, and once more from its journal, so
//! nothing is made for a field but its value: known fields have a place each, no name.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::{Map, Value};

use super::Record;
use crate::store::format::schema::CANONICAL;

/// A JSON object. Of a name that is there twice, the last counts.
#[derive(Debug)]
pub struct Fields {
    /// By position in [`CANONICAL`].
    known: [Option<Value>; CANONICAL.len()],
    /// The others, in their order.
    pub(crate) extra: Map<String, Value>,
    /// A name was there twice.
    pub(crate) repeated: bool,
}

impl Default for Fields {
    fn default() -> Self {
        Self {
            known: [const { None }; CANONICAL.len()],
            extra: Map::new(),
            repeated: false,
        }
    }
}

impl Fields {
    /// Sets a field. `after` is where the last known one stood, for fields that come in the order
    /// of the columns.
    pub fn set(&mut self, name: &str, value: Value, after: &mut usize) {
        match position(name, *after).and_then(|at| Some((at, self.known.get_mut(at)?))) {
            Some((at, place)) => {
                *place = Some(value);
                *after = at + 1;
            }
            None => {
                self.extra.insert(name.to_owned(), value);
            }
        }
    }

    /// Takes a known field out; null is absent.
    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        position(name, 0)
            .and_then(|at| self.known.get_mut(at)?.take())
            .filter(|value| !value.is_null())
    }
}

/// Where a known column stands. Fields mostly come in one order, so looking begins
/// where the last one was found.
fn position(name: &str, from: usize) -> Option<usize> {
    let is = |at: &usize| CANONICAL.get(*at).is_some_and(|(known, _)| *known == name);
    (from..CANONICAL.len())
        .find(is)
        .or_else(|| (0..from).find(is))
}

/// The name of a field: borrowed from the text where it has no escapes.
struct Name {
    at: Option<usize>,
    other: String,
}

/// Reads a name, looking from a position on.
struct NameAfter(usize);

impl<'de> DeserializeSeed<'de> for NameAfter {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameAfter {
    type Value = Name;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("the name of a field")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        let at = position(name, self.0);
        Ok(Name {
            at,
            other: if at.is_some() {
                String::new()
            } else {
                name.to_owned()
            },
        })
    }
}

/// A JSON object with all its names.
#[derive(Debug, Default)]
pub(crate) struct Object {
    /// Of a name that is there twice, the last counts.
    pub(crate) fields: Map<String, Value>,
    /// A name was there twice.
    pub(crate) repeated: bool,
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Object;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut object = Object::default();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    object.repeated |= object.fields.insert(name, value).is_some();
                }
                Ok(object)
            }
        }

        deserializer.deserialize_map(Any)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Known;

        impl<'de> Visitor<'de> for Known {
            type Value = Fields;

            fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
                to.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields, A::Error> {
                let mut fields = Fields::default();
                let mut next = 0;
                while let Some(name) = object.next_key_seed(NameAfter(next))? {
                    let value = object.next_value()?;
                    match name.at.and_then(|at| Some((at, fields.known.get_mut(at)?))) {
                        Some((at, place)) => {
                            fields.repeated |= place.replace(value).is_some();
                            next = at + 1;
                        }
                        None => {
                            fields.repeated |= fields.extra.insert(name.other, value).is_some();
                        }
                    }
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Known)
    }
}

/// A line of a journal: what [`Record`] serializes to, and nothing lenient.
impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = |value| {
            if let Value::String(text) = value {
                Some(text)
            } else {
                None
            }
        };
        let truth = |value: Value| value.as_bool();
        let float = |value: Value| value.as_f64();
        let int = |value: Value| value.as_i64();
        let mut fields = Fields::deserialize(deserializer)?;
        let f = &mut fields;
        Ok(Self {
            test_id: strict(f, "test_id", text)?,
            model: strict(f, "model", text)?.unwrap_or_default(),
            task_type: strict(f, "task_type", text)?,
            prompt_type: strict(f, "prompt_type", text)?,
            difficulty: strict(f, "difficulty", text)?,
            tool_success_rate: strict(f, "tool_success_rate", float)?,
            success: strict(f, "success", truth)?,
            partial_success: strict(f, "partial_success", truth)?,
            execution_time: strict(f, "execution_time", float)?,
            turns: strict(f, "turns", int)?,
            tool_calls: strict(f, "tool_calls", int)?,
            tool_coverage_rate: strict(f, "tool_coverage_rate", float)?,
            workflow_score: strict(f, "workflow_score", float)?,
            phase2_score: strict(f, "phase2_score", float)?,
            quality_score: strict(f, "quality_score", float)?,
            final_score: strict(f, "final_score", float)?,
            error_type: strict(f, "error_type", text)?,
            error_message: strict(f, "error_message", text)?,
            is_flawed: strict(f, "is_flawed", truth)?,
            flaw_type: strict(f, "flaw_type", text)?,
            task_id: strict(f, "task_id", text)?,
            session_id: strict(f, "session_id", text)?,
            timestamp: strict(f, "timestamp", int)?,
            process_id: strict(f, "process_id", text)?,
            recorded_at: loose(f, "recorded_at", Value::as_i64),
            trial: loose(f, "trial", Value::as_i64),
            score: loose(f, "score", Value::as_f64),
            input_tokens: loose(f, "input_tokens", Value::as_i64),
            output_tokens: loose(f, "output_tokens", Value::as_i64),
            reasoning_tokens: loose(f, "reasoning_tokens", Value::as_i64),
            cache_read_tokens: loose(f, "cache_read_tokens", Value::as_i64),
            cache_write_tokens: loose(f, "cache_write_tokens", Value::as_i64),
            cost: loose(f, "cost", Value::as_f64),
            judge_cost: loose(f, "judge_cost", Value::as_f64),
            log: loose(f, "log", |value| value.as_str().map(str::to_owned)),
            extra: fields.extra,
        })
    }
}

/// A field that older versions did not know: a value of another type stays what it is,
/// among the others.
fn loose<T>(fields: &mut Fields, name: &str, read: impl FnOnce(&Value) -> Option<T>) -> Option<T> {
    let value = fields.take(name)?;
    let found = read(&value);
    if found.is_none() {
        fields.extra.insert(name.to_owned(), value);
    }
    found
}

/// A field in its one type, or absent.
fn strict<T, E: Error>(
    fields: &mut Fields,
    name: &str,
    taken: impl Fn(Value) -> Option<T>,
) -> Result<Option<T>, E> {
    let wrong = || E::custom(format_args!("field '{name}' is of the wrong type"));
    fields
        .take(name)
        .map(|value| taken(value).ok_or_else(wrong))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_in_any_order_and_the_last_of_a_name_counts() {
        let mut fields: Fields = serde_json::from_str(
            r#"{"turns":1,"model":"a","b":2,"model":"m","a":null,"turns":null}"#,
        )
        .unwrap();
        assert_eq!(fields.take("model"), Some("m".into()));
        assert_eq!(fields.take("turns"), None);
        assert_eq!(fields.extra.keys().collect::<Vec<_>>(), ["b", "a"]);
        for (at, (name, _)) in CANONICAL.iter().enumerate() {
            for from in 0..CANONICAL.len() {
                assert_eq!(position(name, from), Some(at));
            }
        }
        assert_eq!(position("models", 3), None);
        assert!(serde_json::from_str::<Fields>("[1]").is_err());
    }

    #[test]
    fn a_journal_is_read_strictly() {
        let read =
            |line: &str| serde_json::from_str::<Record>(line).map_err(|error| error.to_string());
        assert_eq!(
            read(r#"{"model":"m","success":true,"turns":2,"x":1}"#)
                .unwrap()
                .extra
                .len(),
            1
        );
        assert!(
            read(r#"{"model":"m","success":1}"#)
                .unwrap_err()
                .contains("'success'")
        );
        assert!(
            read(r#"{"model":"m","timestamp":"2026-01-31"}"#)
                .unwrap_err()
                .contains("'timestamp'")
        );
    }
}
