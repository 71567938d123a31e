//! The sessions of a store: all rows with one `session_id`.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType};

use super::aggregation::{Aggregate, Aggregation, aggregate};
use super::{Control, Filter, Result, Store};
use crate::store::Error;

/// One session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Its `session_id`.
    pub id: String,
    /// Tests.
    pub tests: u64,
    /// Those that succeeded in full.
    pub full: u64,
    /// Those without a verdict.
    pub unscored: u64,
    /// Its first row, in microseconds since the epoch.
    pub first: Option<i64>,
    /// Its newest row.
    pub last: Option<i64>,
}

impl Session {
    /// Successes over tests with a verdict.
    pub fn rate(&self) -> Option<f64> {
        let judged = self.tests.saturating_sub(self.unscored);
        (judged > 0).then(|| self.full as f64 / judged as f64)
    }
}

/// The sessions of the matching records, the one with the newest row first. Rows without one
/// are in none.
pub fn sessions(store: &Store, filter: &Filter, control: &Control) -> Result<Vec<Session>> {
    let mut aggregates = Aggregate::list("min(timestamp),max(timestamp)")?;
    aggregates.push(Aggregate::tally());
    let id = "session_id".parse();
    let aggregation = Aggregation {
        filter: filter.clone(),
        by: vec![id.map_err(|error: crate::expr::Error| Error::Refused(error.to_string()))?],
        aggregates,
    };
    let batch = aggregate(store, &aggregation, control)?.batch;
    let ids = super::contrast::texts(&batch, "session_id")?;
    let count = |name: &str, row: usize| {
        let column = batch
            .column_by_name(name)?
            .as_primitive_opt::<Int64Type>()?;
        Some(column.value(row) as u64)
    };
    let time = |name: &str, row: usize| {
        let column = batch.column_by_name(name)?;
        let column = column.as_primitive_opt::<TimestampMicrosecondType>()?;
        column.is_valid(row).then(|| column.value(row))
    };
    let mut sessions: Vec<Session> = (0..batch.num_rows())
        .filter(|row| ids.is_valid(*row) && !ids.value(*row).is_empty())
        .map(|row| Session {
            id: ids.value(row).to_owned(),
            tests: count("tests", row).unwrap_or(0),
            full: count("success", row).unwrap_or(0),
            unscored: count("unscored", row).unwrap_or(0),
            first: time("min_timestamp", row),
            last: time("max_timestamp", row),
        })
        .collect();
    sessions.sort_by(|one, other| (other.last, &other.id).cmp(&(one.last, &one.id)));
    Ok(sessions)
}

/// What `latest` and `previous` stand for among sessions, the newest first; another name stands
/// for itself. `Err`: there are too few.
pub fn resolve<'a>(name: &'a str, sessions: &'a [Session]) -> std::result::Result<&'a str, usize> {
    let place = match name {
        _ if sessions.iter().any(|session| session.id == name) => return Ok(name),
        "latest" => 0,
        "previous" => 1,
        _ => return Ok(name),
    };
    let found = sessions.get(place).map(|session| session.id.as_str());
    found.ok_or(sessions.len())
}
