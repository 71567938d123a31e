//! The columns of a record, and how files that disagree on them are united.
//!
//! Promises: columns are united by name, in any order of files with the same
//! result; the wider type wins (int → double, float → double, dictionary → utf8,
//! anything over null); what can't be widened is an error that names the file, the
//! column and both types, and leaves the union as it was.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::error::{Error, Result};

mod adapt;

pub use adapt::{adapt, parse_time};

/// The dimensions of a test: its cell.
pub const DIMENSIONS: [&str; 5] = [
    "model",
    "prompt_type",
    "tool_success_rate",
    "difficulty",
    "task_type",
];

/// Where the text of a `timestamp` that is no time is kept.
pub const TIMESTAMP_TEXT: &str = "timestamp_text";

/// What a canonical column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text that only identifies something; whole numbers are accepted as text.
    Id,
    /// Text.
    Text,
    /// True or false; numbers are accepted (1 and above is true).
    Bool,
    /// Double.
    Float,
    /// 64-bit integer; widened to double where a file has doubles.
    Int,
    /// Microseconds, UTC; text, naive and numeric times are accepted.
    Time,
}

impl Kind {
    /// The column's type in files that we write.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Id | Self::Text => DataType::Utf8,
            Self::Bool => DataType::Boolean,
            Self::Float => DataType::Float64,
            Self::Int => DataType::Int64,
            Self::Time => timestamp_type(),
        }
    }
}

/// The canonical columns in the order in which they are written.
pub const CANONICAL: [(&str, Kind); 24] = [
    ("test_id", Kind::Id),
    ("model", Kind::Text),
    ("task_type", Kind::Text),
    ("prompt_type", Kind::Text),
    ("difficulty", Kind::Text),
    ("tool_success_rate", Kind::Float),
    ("success", Kind::Bool),
    ("partial_success", Kind::Bool),
    ("execution_time", Kind::Float),
    ("turns", Kind::Int),
    ("tool_calls", Kind::Int),
    ("tool_coverage_rate", Kind::Float),
    ("workflow_score", Kind::Float),
    ("phase2_score", Kind::Float),
    ("quality_score", Kind::Float),
    ("final_score", Kind::Float),
    ("error_type", Kind::Text),
    ("error_message", Kind::Text),
    ("is_flawed", Kind::Bool),
    ("flaw_type", Kind::Text),
    ("task_id", Kind::Id),
    ("session_id", Kind::Id),
    ("timestamp", Kind::Time),
    ("process_id", Kind::Id),
];

/// timestamp(us, UTC).
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The columns of a schema that are among `names`, in the schema's order.
pub fn project(schema: &SchemaRef, names: &[&str]) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .filter(|field| names.contains(&field.name().as_str()));
    Arc::new(Schema::new(fields.cloned().collect::<Vec<_>>()))
}

/// The same columns, texts that tend to repeat as dictionaries.
pub fn keyed(schema: &SchemaRef) -> SchemaRef {
    let keyed = |field: &Arc<Field>| {
        let unique = ["test_id", TIMESTAMP_TEXT].contains(&field.name().as_str());
        if unique || *field.data_type() != DataType::Utf8 {
            return Arc::clone(field);
        }
        let keys = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        Arc::new(field.as_ref().clone().with_data_type(keys))
    };
    Arc::new(Schema::new(
        schema.fields().iter().map(keyed).collect::<Vec<_>>(),
    ))
}

/// What the canonical column of that name holds; `None` for any other column.
pub fn kind_of(name: &str) -> Option<Kind> {
    if name == TIMESTAMP_TEXT {
        return Some(Kind::Text);
    }
    CANONICAL
        .iter()
        .find(|(canonical, _)| *canonical == name)
        .map(|(_, kind)| *kind)
}

/// The canonical columns alone.
pub fn canonical() -> SchemaRef {
    static CANONICAL_SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| Union::new().finish());
    CANONICAL_SCHEMA.clone()
}

/// Whether a column is pandas' stored index rather than data. It appears and
/// changes whenever pandas rewrites a file, so it is never read.
pub fn is_index(name: &str) -> bool {
    name.strip_prefix("__index_level_")
        .and_then(|rest| rest.strip_suffix("__"))
        .is_some_and(|level| !level.is_empty() && level.bytes().all(|b| b.is_ascii_digit()))
}

/// The columns of several files, united by name.
#[derive(Debug, Clone, Default)]
pub struct Union {
    columns: BTreeMap<String, Seen>,
    /// Of summary rows: no column has a type of its own.
    summaries: bool,
}

#[derive(Debug, Clone)]
struct Seen {
    data_type: DataType,
    file: String,
}

impl Union {
    /// The canonical columns, for records.
    pub fn new() -> Self {
        Self::default()
    }

    /// No columns yet, for summary rows: what files agree on is kept as it is.
    pub fn of_summaries() -> Self {
        Self {
            summaries: true,
            ..Self::default()
        }
    }

    /// Takes in the columns of one file, or none of them when one conflicts.
    pub fn add(&mut self, file: &str, schema: &Schema) -> Result<()> {
        let mut columns = self.columns.clone();
        let mut own = HashSet::new();
        for field in schema.fields() {
            // Of two columns with one name the first counts, as in pandas.
            if is_index(field.name()) || !own.insert(field.name().as_str()) {
                continue;
            }
            let kind = kind_of(field.name()).filter(|_| !self.summaries);
            take(&mut columns, file, field.name(), field.data_type(), kind)?;
            let text_time = kind == Some(Kind::Time) && is_text(field.data_type());
            if text_time && !columns.contains_key(TIMESTAMP_TEXT) {
                take(
                    &mut columns,
                    file,
                    TIMESTAMP_TEXT,
                    &DataType::Utf8,
                    Some(Kind::Text),
                )?;
            }
        }
        self.columns = columns;
        Ok(())
    }

    /// The united columns: the canonical ones first, the others by name. A column
    /// without a single value in any file is left out.
    pub fn finish(&self) -> SchemaRef {
        if self.summaries {
            let dimensions = DIMENSIONS
                .iter()
                .filter_map(|name| self.columns.get_key_value(*name));
            let others = self
                .columns
                .iter()
                .filter(|(name, _)| !DIMENSIONS.contains(&name.as_str()));
            let present = dimensions
                .chain(others)
                .filter(|(_, seen)| seen.data_type != DataType::Null);
            let fields = present.map(|(name, seen)| Field::new(name, seen.data_type.clone(), true));
            return Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        }
        let canonical = CANONICAL.iter().map(|(name, kind)| {
            let seen = self
                .columns
                .get(*name)
                .map_or_else(|| kind.data_type(), |c| c.data_type.clone());
            let data_type = if seen == DataType::Null {
                kind.data_type()
            } else {
                seen
            };
            Field::new(*name, data_type, true)
        });
        let extra = self.columns.iter().filter(|(name, seen)| {
            seen.data_type != DataType::Null
                && !CANONICAL.iter().any(|(canonical, _)| canonical == name)
        });
        let extra = extra.map(|(name, seen)| Field::new(name, seen.data_type.clone(), true));
        Arc::new(Schema::new(canonical.chain(extra).collect::<Vec<_>>()))
    }
}

fn take(
    columns: &mut BTreeMap<String, Seen>,
    file: &str,
    name: &str,
    found: &DataType,
    kind: Option<Kind>,
) -> Result<()> {
    let conflict = |expected: &DataType, other: &str| Error::SchemaConflict {
        file: file.to_owned(),
        column: name.to_owned(),
        found: describe(found),
        expected: describe(expected),
        other: other.to_owned(),
    };
    let own = match kind {
        Some(kind) => {
            accepted(kind, found).ok_or_else(|| conflict(&kind.data_type(), "evaltop's format"))?
        }
        None => normal(found),
    };
    match columns.get_mut(name) {
        Some(seen) => {
            let wider = wider(&seen.data_type, &own)
                .ok_or_else(|| conflict(&seen.data_type, &seen.file))?;
            if wider != seen.data_type {
                *seen = Seen {
                    data_type: wider,
                    file: file.to_owned(),
                };
            }
        }
        None => {
            columns.insert(
                name.to_owned(),
                Seen {
                    data_type: own,
                    file: file.to_owned(),
                },
            );
        }
    }
    Ok(())
}

/// The type that a canonical column takes when a file has it as `found`; `None`
/// when its values can't be converted.
fn accepted(kind: Kind, found: &DataType) -> Option<DataType> {
    let found = normal(found);
    let number = found.is_integer() || found == DataType::Float64;
    match (kind, &found) {
        (_, DataType::Null) => Some(DataType::Null),
        (Kind::Text | Kind::Id, DataType::Utf8) => Some(DataType::Utf8),
        (Kind::Id, _) if number => Some(DataType::Utf8),
        (Kind::Bool, _) if number || found == DataType::Boolean => Some(DataType::Boolean),
        (Kind::Float, _) if number => Some(DataType::Float64),
        (Kind::Int, DataType::Float64) => Some(DataType::Float64),
        (Kind::Int, _) if number => Some(DataType::Int64),
        (
            Kind::Time,
            DataType::Utf8 | DataType::Timestamp(..) | DataType::Date32 | DataType::Date64,
        ) => Some(timestamp_type()),
        (Kind::Time, _) if number => Some(timestamp_type()),
        _ => None,
    }
}

/// A type without what only concerns its storage.
fn normal(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, value) => normal(value),
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        // Unsigned 64-bit values beyond i64 are no real data.
        integer if integer.is_integer() => DataType::Int64,
        number if number.is_numeric() => DataType::Float64,
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some("UTC".into())),
        other => other.clone(),
    }
}

/// The narrowest type that holds both; both are [`normal`].
fn wider(a: &DataType, b: &DataType) -> Option<DataType> {
    match (a, b) {
        _ if a == b => Some(a.clone()),
        (DataType::Null, other) | (other, DataType::Null) => Some(other.clone()),
        (DataType::Int64, DataType::Float64) | (DataType::Float64, DataType::Int64) => {
            Some(DataType::Float64)
        }
        (DataType::Timestamp(one, zone), DataType::Timestamp(two, other)) if zone == other => {
            Some(DataType::Timestamp((*one).max(*two), zone.clone()))
        }
        _ => None,
    }
}

fn is_text(data_type: &DataType) -> bool {
    normal(data_type) == DataType::Utf8
}

/// A type's name for people.
fn describe(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".into(),
        DataType::Boolean => "boolean".into(),
        DataType::Null => "null".into(),
        DataType::Float32 => "float".into(),
        DataType::Float64 => "double".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Dictionary(_, value) => describe(value),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests;
