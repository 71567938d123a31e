//! The columns of a record, and how files that disagree on them are united.
//!
//! Promises: columns are united by name, in any order of files with the same
//! result; the narrowest type wins that holds every value exactly (int → double where
//! no number is beyond 2^53, else decimal; float → double, dictionary → utf8, anything
//! over null); what can't be widened is an error that names the file, the
//! column and both types, and leaves the union as it was.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use crate::store::error::{Error, Result};

mod adapt;
mod held;
mod range;

pub use adapt::{adapt, may_be_naive, naive_rows, parse_time, times, unix_micros, unix_time};
use held::{Held, describe, normal};
pub use range::{EXACT_DECIMAL, EXACT_IN_DOUBLE, Range};

/// The dimensions of a test: its cell.
pub const DIMENSIONS: [&str; 5] = [
    "model",
    "prompt_type",
    "tool_success_rate",
    "difficulty",
    "task_type",
];

/// Where the text of a `timestamp` that is not a time is kept.
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

/// The canonical columns in the order in which they are written. The first
/// `ALWAYS` are in every file of ours, the others where a row has a value.
pub const CANONICAL: [(&str, Kind); 35] = [
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
    ("recorded_at", Kind::Time),
    ("trial", Kind::Int),
    ("score", Kind::Float),
    ("input_tokens", Kind::Int),
    ("output_tokens", Kind::Int),
    ("reasoning_tokens", Kind::Int),
    ("cache_read_tokens", Kind::Int),
    ("cache_write_tokens", Kind::Int),
    ("cost", Kind::Float),
    ("judge_cost", Kind::Float),
    ("log", Kind::Text),
];

/// How many canonical columns every file of ours has.
const ALWAYS: usize = 24;

/// The canonical columns that a file has only where a row has a value.
pub fn optional() -> impl Iterator<Item = (&'static str, Kind)> {
    CANONICAL.into_iter().skip(ALWAYS)
}

/// Whether a canonical column may be left out. Stores from before it was canonical
/// may have it with values of another type, which then stay what they are.
pub fn is_optional(name: &str) -> bool {
    optional().any(|(optional, _)| optional == name)
}

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
        let unique = ["test_id", TIMESTAMP_TEXT, "log"].contains(&field.name().as_str());
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

/// The canonical columns that every file of ours has.
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
    held: Held,
    file: String,
}

impl Seen {
    fn data_type(&self) -> DataType {
        self.held.data_type().unwrap_or(DataType::Null)
    }
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
            if is_index(field.name()) {
                continue;
            }
            if !own.insert(field.name().as_str()) {
                let name = field.name();
                return Err(Error::Refused(format!(
                    "{file}: two columns are named '{name}': rename one of them"
                )));
            }
            let kind = kind_of(field.name()).filter(|_| !self.summaries);
            take(&mut columns, file, field, kind)?;
            let unsure = field.name() == "timestamp" && may_be_no_time(field.data_type());
            let unsure = unsure && kind == Some(Kind::Time);
            if unsure && !columns.contains_key(TIMESTAMP_TEXT) {
                let text = Field::new(TIMESTAMP_TEXT, DataType::Utf8, true);
                take(&mut columns, file, &text, Some(Kind::Text))?;
            }
        }
        self.columns = columns;
        Ok(())
    }

    /// The united columns as those of one file, with what is known of their values.
    pub fn known(&self) -> SchemaRef {
        let united = self.finish();
        let known = |field: &Arc<Field>| match self.columns.get(field.name()) {
            Some(seen) => seen.held.range().mark(field),
            None => Field::clone(field),
        };
        Arc::new(Schema::new(
            united.fields().iter().map(known).collect::<Vec<_>>(),
        ))
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
                .filter(|(_, seen)| !seen.held.is_null());
            let fields = present.map(|(name, seen)| Field::new(name, seen.data_type(), true));
            return Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        }
        let canonical = CANONICAL.iter().filter_map(|(name, kind)| {
            let seen = self.columns.get(*name).filter(|seen| !seen.held.is_null());
            match seen {
                Some(seen) => Some(Field::new(*name, seen.data_type(), true)),
                None if is_optional(name) => None,
                None => Some(Field::new(*name, kind.data_type(), true)),
            }
        });
        let extra = self.columns.iter().filter(|(name, seen)| {
            !seen.held.is_null() && !CANONICAL.iter().any(|(canonical, _)| canonical == name)
        });
        let extra = extra.map(|(name, seen)| Field::new(name, seen.data_type(), true));
        Arc::new(Schema::new(canonical.chain(extra).collect::<Vec<_>>()))
    }
}

fn take(
    columns: &mut BTreeMap<String, Seen>,
    file: &str,
    field: &Field,
    kind: Option<Kind>,
) -> Result<()> {
    let found = Held::of(field);
    let conflict = |expected: String, other: &str| Error::SchemaConflict {
        file: file.to_owned(),
        column: field.name().clone(),
        found: match &found {
            Held::Other(_) => describe(field.data_type()),
            held => held.describe(),
        },
        expected,
        other: other.to_owned(),
    };
    let own = match kind {
        Some(kind) => match accepted(kind, &found) {
            Some(accepted) => accepted,
            None if is_optional(field.name()) => found.clone(),
            None => return Err(conflict(describe(&kind.data_type()), "evaltop's format")),
        },
        None => found.clone(),
    };
    match columns.get_mut(field.name()) {
        Some(seen) => {
            let both = (seen.held.and(&own))
                // A canonical column of whole numbers widens to doubles and no further.
                .filter(|held| {
                    let fits = |kind| accepted(kind, held).is_some();
                    kind.is_none_or(fits) || is_optional(field.name())
                })
                .ok_or_else(|| conflict(seen.held.describe(), &seen.file))?;
            if both != seen.held {
                if both.data_type() != seen.held.data_type() {
                    file.clone_into(&mut seen.file);
                }
                seen.held = both;
            }
        }
        None => {
            columns.insert(
                field.name().clone(),
                Seen {
                    held: own,
                    file: file.to_owned(),
                },
            );
        }
    }
    Ok(())
}

/// What a canonical column holds when a file has it as `found`; `None` when its values
/// can't be converted, each exactly.
fn accepted(kind: Kind, found: &Held) -> Option<Held> {
    let is = |data_type: DataType| Some(Held::plain(data_type));
    if found.is_null() {
        return Some(found.clone());
    }
    match (kind, found) {
        (Kind::Text | Kind::Id, Held::Other(DataType::Utf8)) => Some(found.clone()),
        (Kind::Id, Held::Numbers(_)) => is(DataType::Utf8),
        (Kind::Bool, Held::Numbers(_) | Held::Other(DataType::Boolean)) => is(DataType::Boolean),
        (Kind::Float, Held::Numbers(_)) => found.as_doubles(),
        (Kind::Int, Held::Numbers(_)) => match found.data_type()? {
            DataType::Int64 | DataType::Float64 => Some(found.clone()),
            // Others write averages and sums as decimals.
            _ => found.as_doubles(),
        },
        (
            Kind::Time,
            Held::Times(_)
            | Held::Numbers(_)
            | Held::Other(DataType::Utf8 | DataType::Date32 | DataType::Date64),
        ) => is(timestamp_type()),
        _ => None,
    }
}

fn is_text(data_type: &DataType) -> bool {
    normal(data_type) == DataType::Utf8
}

/// Whether a column of this type may hold what is not a time, which is then kept as text.
fn may_be_no_time(data_type: &DataType) -> bool {
    is_text(data_type) || normal(data_type).is_numeric()
}

#[cfg(test)]
mod tests;
