//! What the files that a commit may take in hold: records, summary rows or both.

use std::collections::HashSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, SchemaRef};

use super::consolidate::{SkipKind, Skipped};
use crate::store::Store;
use crate::store::error::{Error, Result, is_exhaustion};
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::row_kind;
use crate::store::format::row_kind::{Shape, shape, split};
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot::Increment;

/// What the rows of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// One row a test; also a file without rows.
    Records,
    /// One row for many tests.
    Summaries,
    /// Both.
    Mixed,
}

/// What the rows of a file are, from a row on.
pub(crate) fn holds(file: &ParquetFile, skip: u64) -> Result<Holds> {
    match shape(file.schema()) {
        Shape::Counts if file.rows() > skip => Ok(Holds::Summaries),
        Shape::Records | Shape::Neither | Shape::Counts => Ok(Holds::Records),
        Shape::Numeric => {
            let (mut records, mut summaries) = (false, false);
            for batch in file.batches(Some(&row_kind::NAMES), skip)? {
                let parts = split(&batch?)?;
                records |= parts.records.is_some();
                summaries |= parts.summaries.is_some();
            }
            Ok(match (records, summaries) {
                (_, false) => Holds::Records,
                (false, true) => Holds::Summaries,
                (true, true) => Holds::Mixed,
            })
        }
    }
}

/// Whether a main is legacy code's own table of summary rows, to which nothing is merged
/// unasked: no commit was ever made on it, and it holds nothing else.
pub(crate) fn main_blocks(
    main: Option<&ParquetFile>,
    record: Option<&CommitRecord>,
) -> Result<bool> {
    match (main, record) {
        (Some(main), None) => Ok(holds(main, 0)? == Holds::Summaries),
        _ => Ok(false),
    }
}

/// An increment that waits because main is a table of summary rows.
pub(crate) fn behind_summaries(name: &str) -> Skipped {
    Skipped {
        file: name.to_owned(),
        reason:
            "main is a legacy table of summary rows, so what is new stays in its increments (it counts all \
                 the same); when nothing writes summary rows any more, evaltop consolidate --convert-main \
                 moves them out of main"
                .to_owned(),
        kind: SkipKind::Summaries,
    }
}

/// An increment of summary rows that stays because there is no commit yet to put them beside.
pub(crate) fn of_summaries(name: &str) -> Skipped {
    Skipped {
        file: name.to_owned(),
        reason: "it holds summary rows and there is no main yet (they count all the same); when nothing \
                 writes summary rows any more, evaltop consolidate --convert-main takes them in"
            .to_owned(),
        kind: SkipKind::Summaries,
    }
}

/// Why an increment can't go in, as far as a scan says; `summaries` says whether summary
/// rows alone may.
pub(crate) fn refused(
    store: &Store,
    increment: &Increment,
    summaries: bool,
) -> Result<Option<Skipped>> {
    if matches!(shape(&increment.schema), Shape::Records | Shape::Neither) {
        return Ok(None);
    }
    match increment
        .open(store)
        .and_then(|file| holds(&file, increment.skip))
    {
        Ok(Holds::Summaries) if !summaries => Ok(Some(of_summaries(&increment.name))),
        Ok(_) => Ok(None),
        Err(error) => because(&increment.name, error).map(Some),
    }
}

/// The columns in which the records of a file have a value: a file that mixes them with
/// summary rows has those of both.
pub(crate) fn columns_of_records(file: &ParquetFile, skip: u64) -> Result<SchemaRef> {
    let all = file.schema();
    if matches!(shape(all), Shape::Records | Shape::Neither) {
        return Ok(all.clone());
    }
    let mut used = HashSet::new();
    for batch in file.batches(None, skip)? {
        let Some(records) = split(&batch?)?.records else {
            continue;
        };
        let filled = records
            .columns()
            .iter()
            .enumerate()
            .filter(|(_, column)| has_value(column));
        used.extend(filled.map(|(at, _)| at));
    }
    let used: Vec<usize> = (0..all.fields().len())
        .filter(|at| used.contains(at))
        .collect();
    all.project(&used)
        .map(SchemaRef::new)
        .map_err(|error| Error::Refused(error.to_string()))
}

/// Whether a column has a value that is not missing in one way or another.
pub(crate) fn has_value(column: &dyn Array) -> bool {
    match column.data_type() {
        DataType::Null => false,
        DataType::Float64 => column
            .as_primitive::<Float64Type>()
            .iter()
            .flatten()
            .any(|v| !v.is_nan()),
        _ => column.null_count() < column.len(),
    }
}

/// An error about one file as the reason why that file stays; other errors pass on.
pub(crate) fn because(name: &str, error: Error) -> Result<Skipped> {
    let (kind, reason) = match error {
        Error::Changed { .. } => (
            SkipKind::InProgress,
            "it is being rewritten at this moment".to_owned(),
        ),
        error if error.is_not_found() => (
            SkipKind::InProgress,
            "it was moved or removed meanwhile".to_owned(),
        ),
        // What can't be converted or hashed says which column it is.
        Error::SchemaConflict { .. } | Error::Refused(_) => (SkipKind::Conflict, error.to_string()),
        Error::Unreadable { reason, .. } => {
            (SkipKind::Unreadable, format!("it can't be read ({reason})"))
        }
        Error::Io {
            action: "read",
            source,
            ..
        } if !is_exhaustion(&source) => {
            (SkipKind::Unreadable, format!("it can't be read ({source})"))
        }
        other => return Err(other),
    };
    Ok(Skipped {
        file: name.to_owned(),
        reason,
        kind,
    })
}
