//! What a mapping file says: which field is which column, and what success means.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::document::lookup;
use crate::store::{Error, Result};

/// A mapping file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// What the files are, for people.
    pub name: String,
    /// Where the rows are in a document; without it a file is JSON lines, or one array.
    pub(super) rows: Option<String>,
    /// The document itself is the only row.
    #[serde(default)]
    pub(super) whole: bool,
    /// Rows are those of CSV or Parquet.
    #[serde(default)]
    pub(super) table: bool,
    /// Fields that a row must have for a file to be one of these.
    #[serde(default)]
    pub(super) fields: Vec<String>,
    /// Single values that the document must have.
    #[serde(default)]
    pub(super) document: Vec<String>,
    /// Only rows whose fields have these values are tests.
    #[serde(default)]
    pub(super) only: BTreeMap<String, Value>,
    /// The first line describes the run: its values count for all rows.
    #[serde(default)]
    pub(super) header_line: bool,
    /// Fields that make up the id of a test.
    #[serde(default)]
    id: Vec<String>,
    /// Further fields of a row: sums over the members of a field.
    #[serde(default)]
    sums: BTreeMap<String, Sum>,
    /// What a success is.
    success: Option<Condition>,
    /// A partial success that is not a full one.
    partial: Option<Condition>,
    /// When the infrastructure failed, not the model.
    infrastructure: Option<Condition>,
    /// The columns of the records.
    #[serde(default)]
    columns: BTreeMap<String, Column>,
    /// Columns with one value.
    #[serde(default)]
    set: Map<String, Value>,
    /// Each row stands for many tests.
    pub(super) counts: Option<Counts>,
}

/// The counts of a row that stands for many tests.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    /// How many tests.
    tests: Column,
    /// How many of them are successes.
    success: Option<Column>,
    /// Or what share of them.
    rate: Option<Column>,
}

/// The sum over the members of a list or an object.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sum {
    of: String,
    /// Fields of a member that are multiplied; those that it lacks are 1. A member may also be a
    /// number itself.
    product: Vec<String>,
}

impl Sum {
    /// `None` where there is no member with a value.
    fn value(&self, own: &Map<String, Value>) -> Option<Value> {
        let of = |member: &Value| match member {
            Value::Object(fields) => {
                let mut factors = self.product.iter().filter_map(|name| lookup(fields, name));
                let first = number(factors.next()?)?;
                factors.try_fold(first, |product, factor| Some(product * number(factor)?))
            }
            other => number(other),
        };
        let mut found = match lookup(own, &self.of)? {
            Value::Array(members) => members.iter().filter_map(of).collect::<Vec<_>>(),
            Value::Object(members) => members.values().filter_map(of).collect(),
            _ => return None,
        };
        let first = found.pop()?;
        let sum = found.into_iter().fold(first, |sum, one| sum + one);
        // Weights of 0.2, 0.1 and 0.7 come to 1.
        Some(json!(if sum.abs() < 1e3 {
            (sum * 1e12).round() / 1e12
        } else {
            sum
        }))
    }
}

/// Where a column comes from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Column {
    /// A field.
    Field(String),
    /// The first field that has a value.
    First(Vec<String>),
    /// A field with what is done to it.
    Made(Made),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    from: Names,
    /// Multiplies a number.
    times: Option<f64>,
    /// Adds to a number.
    plus: Option<f64>,
    /// A field whose number is subtracted.
    minus: Option<String>,
    /// A field with a time: the column is the seconds since then.
    since: Option<String>,
    /// Counts the members of a list.
    #[serde(default)]
    count: bool,
}

/// One name or several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Several(Vec<String>),
}

impl Names {
    fn all(&self) -> &[String] {
        match self {
            Self::One(name) => std::slice::from_ref(name),
            Self::Several(names) => names,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    /// A field, or the first of some that has a value.
    from: Option<Names>,
    /// Fields of which each that has a value has to say so.
    #[serde(default)]
    all: Vec<String>,
    /// Whether it is enough to have a value.
    #[serde(default)]
    present: bool,
    /// Only of rows of which nothing says whether they are successes.
    #[serde(default)]
    unjudged: bool,
    at_least: Option<f64>,
    above: Option<f64>,
    /// Texts that say yes.
    #[serde(default)]
    is: Vec<String>,
}

impl Condition {
    /// `None` where the row does not say.
    fn holds(&self, row: &Row<'_>) -> Option<bool> {
        if !self.all.is_empty() {
            let mut values = self.all.iter().filter_map(|name| row.get(name)).peekable();
            values.peek()?;
            return values
                .map(|value| self.is_met(value))
                .try_fold(true, |all, one| Some(all & one?));
        }
        let value = row.first(self.from.as_ref()?.all());
        if self.present {
            return Some(value.is_some());
        }
        self.is_met(value?)
    }

    fn is_met(&self, value: &Value) -> Option<bool> {
        if let Some(limit) = self.at_least {
            return number(value).map(|number| number >= limit);
        }
        if let Some(limit) = self.above {
            return number(value).map(|number| number > limit);
        }
        if !self.is.is_empty() {
            return value
                .as_str()
                .map(|text| self.is.iter().any(|is| is == text));
        }
        match value {
            Value::Bool(truth) => Some(*truth),
            other => super::score::number(other).map(|number| number >= 1.0),
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(truth) => Some(f64::from(u8::from(*truth))),
        other => other
            .as_f64()
            .or_else(|| other.as_str()?.trim().parse().ok()),
    }
}

/// A row and what the document says around it.
struct Row<'a> {
    own: &'a Map<String, Value>,
    sums: &'a Map<String, Value>,
    shared: &'a Map<String, Value>,
}

impl Row<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        let mut all = [self.own, self.sums, self.shared].into_iter();
        all.find_map(|fields| lookup(fields, name))
            .filter(|value| !value.is_null())
    }

    fn first(&self, names: &[String]) -> Option<&Value> {
        names.iter().find_map(|name| self.get(name))
    }
}

impl Spec {
    /// Reads a mapping file.
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
        Self::parse(&text).map_err(|why| {
            Error::Refused(format!("{} is not a mapping file: {why}", path.display()))
        })
    }

    pub(super) fn parse(text: &str) -> std::result::Result<Self, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let lines: Vec<String> = error
                .to_string()
                .lines()
                .map(|l| l.trim().to_owned())
                .collect();
            lines.join(" ")
        })
    }
}

impl Spec {
    /// The columns that it fills.
    #[cfg(test)]
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.keys().map(String::as_str)
    }

    /// What a row is.
    pub(super) fn apply(
        &self,
        own: &Map<String, Value>,
        shared: &Map<String, Value>,
    ) -> Map<String, Value> {
        let sum = |(name, sum): (&String, &Sum)| Some((name.clone(), sum.value(own)?));
        let sums = &self.sums.iter().filter_map(sum).collect();
        let row = Row { own, sums, shared };
        let mut fields = self.set.clone();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value.filter(|value| !value.is_null()) {
                fields.insert(name.to_owned(), value);
            }
        };
        let success = self
            .success
            .as_ref()
            .and_then(|success| success.holds(&row));
        put("success", success.map(Value::from));
        let partial = self
            .partial
            .as_ref()
            .and_then(|partial| partial.holds(&row));
        put(
            "partial_success",
            partial.map(|partial| (partial && success != Some(true)).into()),
        );
        let parts: Option<Vec<String>> =
            self.id.iter().map(|name| row.get(name).map(text)).collect();
        put(
            "test_id",
            parts
                .filter(|parts| !parts.is_empty())
                .map(|parts| parts.join("/").into()),
        );
        for (name, column) in &self.columns {
            put(name, column.value(&row));
        }
        let infrastructure = self.infrastructure.as_ref();
        let infrastructure =
            infrastructure.filter(|condition| success.is_none() || !condition.unjudged);
        if infrastructure.and_then(|condition| condition.holds(&row)) == Some(true) {
            put("error_type", Some("infrastructure".into()));
        }
        // A grader's comment on a success is not an error.
        if success == Some(true) {
            fields.remove("error_message");
        }
        if let Some(counts) = &self.counts {
            counts.put(&row, &mut fields);
        }
        fields
    }
}

impl Counts {
    /// The tests and the successes of a row; none where it does not say both.
    fn put(&self, row: &Row<'_>, fields: &mut Map<String, Value>) {
        let of = |column: &Column| column.value(row).as_ref().and_then(number);
        let Some(tests) = of(&self.tests) else { return };
        let success = self.success.as_ref().and_then(of);
        let rate = self
            .rate
            .as_ref()
            .and_then(of)
            .filter(|rate| (0.0..=1.0).contains(rate));
        let Some(success) = success.or_else(|| rate.map(|rate| (rate * tests).round())) else {
            return;
        };
        fields.insert("total".to_owned(), json!(tests.round() as i64));
        fields.insert("success".to_owned(), json!(success.round() as i64));
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

impl Column {
    fn value(&self, row: &Row<'_>) -> Option<Value> {
        match self {
            Self::Field(name) => row.get(name).cloned(),
            Self::First(names) => row.first(names).cloned(),
            Self::Made(made) => {
                let value = row.first(made.from.all())?;
                if made.count {
                    return value.as_array().map(|values| json!(values.len()));
                }
                if let Some(since) = &made.since {
                    let (from, to) = (time(row.get(since)?)?, time(value)?);
                    return Some(json!(to.duration_since(from).as_secs_f64()));
                }
                let minus = made.minus.as_ref().and_then(|name| row.get(name));
                if made.times.is_none() && made.plus.is_none() && minus.is_none() {
                    return Some(value.clone());
                }
                if let (None, None, Some(one), Some(other)) = (
                    made.times,
                    made.plus,
                    value.as_i64(),
                    minus.and_then(Value::as_i64),
                ) {
                    return Some(json!(one - other));
                }
                let minus = minus.and_then(number).unwrap_or_default();
                let number =
                    (number(value)? - minus) * made.times.unwrap_or(1.0) + made.plus.unwrap_or(0.0);
                Some(json!(number))
            }
        }
    }
}

/// A time with a zone, or one in UTC.
fn time(value: &Value) -> Option<jiff::Timestamp> {
    let text = value.as_str()?;
    text.parse().ok().or_else(|| {
        let time: jiff::civil::DateTime = text.parse().ok()?;
        time.to_zoned(jiff::tz::TimeZone::UTC)
            .ok()
            .map(|time| time.timestamp())
    })
}
