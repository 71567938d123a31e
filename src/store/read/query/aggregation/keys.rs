//! Which group each row of a batch is in.

use std::cmp::Ordering;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use foldhash::{HashMap, HashMapExt};

use crate::stats::cell::UNKNOWN;

/// A value that rows are grouped by; groups come in this order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Key {
    Bool(bool),
    Int(i64),
    Float(Double),
    Text(Box<str>),
    Time(i64),
    Null,
}

/// A double by its value; 0 and −0 are one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Double(pub(super) f64);

impl Double {
    fn bits(self) -> u64 {
        (self.0 + 0.0).to_bits()
    }
}

impl PartialEq for Double {
    fn eq(&self, other: &Self) -> bool {
        self.bits() == other.bits()
    }
}

impl Eq for Double {}

impl std::hash::Hash for Double {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bits().hash(state);
    }
}

impl PartialOrd for Double {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Double {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.0 + 0.0).total_cmp(&(other.0 + 0.0))
    }
}

/// The groups of a batch.
pub(super) struct Groups {
    /// The group of each row.
    pub(super) of: Vec<u32>,
    /// The values of each group.
    pub(super) keys: Vec<Vec<Key>>,
}

impl Groups {
    /// By columns that were evaluated; `unknown` says which of them are dimensions, in which
    /// what is missing reads "unknown".
    pub(super) fn new(columns: &[(ArrayRef, bool)], rows: usize) -> Self {
        let mut of = vec![0_u32; rows];
        let mut keys: Vec<Vec<Key>> = vec![Vec::new(); usize::from(rows > 0)];
        for (column, unknown) in columns {
            let (codes, values) = codes(column, *unknown);
            let (groups, many) = (keys.len(), values.len());
            let mut joined: Vec<Vec<Key>> = Vec::new();
            let mut join = |group: u32, code: u32| {
                let mut own = keys.get(group as usize).cloned().unwrap_or_default();
                own.extend(values.get(code as usize).cloned());
                joined.push(own);
                joined.len() as u32 - 1
            };
            let place = |group: u32, code: u32| group as usize * many + code as usize;
            if groups.saturating_mul(many) <= DENSE {
                let mut known = vec![u32::MAX; groups * many];
                for (group, code) in of.iter_mut().zip(codes) {
                    let Some(slot) = known.get_mut(place(*group, code)) else {
                        continue;
                    };
                    if *slot == u32::MAX {
                        *slot = join(*group, code);
                    }
                    *group = *slot;
                }
            } else {
                let mut known: HashMap<usize, u32> = HashMap::new();
                for (group, code) in of.iter_mut().zip(codes) {
                    *group = *known
                        .entry(place(*group, code))
                        .or_insert_with(|| join(*group, code));
                }
            }
            keys = joined;
        }
        Self { of, keys }
    }
}

/// Combinations for which a table is made rather than a map.
const DENSE: usize = 1 << 16;

/// Each value of a column once, and for each row which one it is.
fn codes(column: &ArrayRef, unknown: bool) -> (Vec<u32>, Vec<Key>) {
    let missing = || {
        if unknown {
            Key::Text(UNKNOWN.into())
        } else {
            Key::Null
        }
    };
    let text = |text: Option<&str>| match text {
        Some("") if unknown => missing(),
        Some(text) => Key::Text(text.into()),
        None => missing(),
    };
    match column.data_type() {
        DataType::Dictionary(..) => {
            let dictionary = column.as_dictionary::<Int32Type>();
            let values = dictionary.values().as_string::<i32>();
            let mut known = vec![u32::MAX; values.len() + 1];
            let mut keys: Vec<Key> = Vec::new();
            let codes = dictionary.keys().iter().map(|key| {
                let at = key.map_or(values.len(), |key| (key as usize).min(values.len()));
                match known.get_mut(at) {
                    Some(slot) if *slot == u32::MAX => {
                        let found =
                            (at < values.len() && values.is_valid(at)).then(|| values.value(at));
                        *slot = keys.len() as u32;
                        keys.push(text(found));
                        *slot
                    }
                    Some(slot) => *slot,
                    None => 0,
                }
            });
            (codes.collect(), keys)
        }
        DataType::Utf8 => coded(column.as_string::<i32>().iter(), text),
        DataType::Boolean => coded(column.as_boolean().iter(), |value| {
            value.map_or_else(missing, Key::Bool)
        }),
        DataType::Int64 => coded(column.as_primitive::<Int64Type>().iter(), |value| {
            value.map_or_else(missing, Key::Int)
        }),
        DataType::Float64 => {
            let doubles = column.as_primitive::<Float64Type>().iter();
            let doubles = doubles.map(|value| value.filter(|value| !value.is_nan()).map(Double));
            coded(doubles, |value| value.map_or(Key::Null, Key::Float))
        }
        DataType::Timestamp(..) => {
            let times = column.as_primitive::<TimestampMicrosecondType>().iter();
            coded(times, |value| value.map_or(Key::Null, Key::Time))
        }
        _ => (vec![0; column.len()], vec![Key::Null]),
    }
}

fn coded<T: Eq + std::hash::Hash + Copy>(
    values: impl Iterator<Item = Option<T>>,
    key: impl Fn(Option<T>) -> Key,
) -> (Vec<u32>, Vec<Key>) {
    let mut known: HashMap<Option<T>, u32> = HashMap::new();
    let mut keys = Vec::new();
    let mut last: Option<(Option<T>, u32)> = None;
    let codes = values.map(|value| {
        // Rows of one group tend to stand together.
        if let Some((same, code)) = last
            && same == value
        {
            return code;
        }
        let code = *known.entry(value).or_insert_with(|| {
            keys.push(key(value));
            keys.len() as u32 - 1
        });
        last = Some((value, code));
        code
    });
    (codes.collect(), keys)
}

/// Keys as a column again.
pub(super) fn column(keys: &[&Key], data_type: &DataType) -> ArrayRef {
    use std::sync::Arc;
    let keys = keys.iter();
    match data_type {
        DataType::Boolean => Arc::new(
            keys.map(|key| match key {
                Key::Bool(value) => Some(*value),
                _ => None,
            })
            .collect::<BooleanArray>(),
        ),
        DataType::Int64 => Arc::new(
            keys.map(|key| match key {
                Key::Int(value) => Some(*value),
                _ => None,
            })
            .collect::<Int64Array>(),
        ),
        DataType::Float64 => Arc::new(
            keys.map(|key| match key {
                Key::Float(value) => Some(value.0),
                _ => None,
            })
            .collect::<Float64Array>(),
        ),
        DataType::Timestamp(..) => Arc::new(
            keys.map(|key| match key {
                Key::Time(value) => Some(*value),
                _ => None,
            })
            .collect::<TimestampMicrosecondArray>()
            .with_timezone("UTC"),
        ),
        _ => Arc::new(
            keys.map(|key| match key {
                Key::Text(value) => Some(&**value),
                _ => None,
            })
            .collect::<StringArray>(),
        ),
    }
}
