//! Which files a commit may take in: records only, in columns that unite.

use super::{SkipKind, Skipped};
use crate::store::Store;
use crate::store::error::{Error, Result};
use crate::store::kind::{self, Shape, shape, split};
use crate::store::parquet_file::ParquetFile;
use crate::store::snapshot::{Increment, Main};

/// Whether a file holds summary rows.
pub(in crate::store) fn has_summaries(file: &ParquetFile) -> Result<bool> {
    match shape(file.schema()) {
        Shape::Records | Shape::Neither => Ok(false),
        Shape::Counts => Ok(file.rows() > 0),
        Shape::Numeric => {
            for batch in file.batches(Some(&kind::NAMES), 0)? {
                if split(&batch?)?.summaries.is_some() {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}

/// Whether main holds summary rows: nothing is merged into such a main.
pub(in crate::store) fn main_blocks(main: Option<&Main>) -> Result<bool> {
    main.map_or(Ok(false), |main| has_summaries(&main.file))
}

/// An increment of records that waits because main holds summary rows.
pub(in crate::store) fn behind_summaries(name: &str) -> Skipped {
    Skipped {
        file: name.to_owned(),
        reason: "main holds summary rows, so records stay in their increments (they count all the same)"
            .to_owned(),
        kind: SkipKind::Summaries,
    }
}

/// An increment that stays because it holds summary rows.
pub(in crate::store) fn of_summaries(name: &str) -> Skipped {
    Skipped {
        file: name.to_owned(),
        reason: "it holds summary rows, which main does not take in (they count all the same)".to_owned(),
        kind: SkipKind::Summaries,
    }
}

/// Why an increment can't go in, as far as a look tells.
pub(in crate::store) fn refused(store: &Store, increment: &Increment) -> Result<Option<Skipped>> {
    match increment.open(store).and_then(|file| has_summaries(&file)) {
        Ok(false) => Ok(None),
        Ok(true) => Ok(Some(of_summaries(&increment.name))),
        Err(error) => because(&increment.name, error).map(Some),
    }
}

/// An error about one file as the reason why that file stays; other errors pass on.
pub(in crate::store) fn because(name: &str, error: Error) -> Result<Skipped> {
    let (kind, reason) = match error {
        Error::Changed { .. } => (SkipKind::InProgress, "it is being rewritten at this moment".to_owned()),
        error if error.is_not_found() => {
            (SkipKind::InProgress, "it was moved or removed meanwhile".to_owned())
        }
        // What can't be converted or hashed says which column it is.
        Error::SchemaConflict { .. } | Error::Refused(_) => (SkipKind::Conflict, error.to_string()),
        Error::Unreadable { reason, .. } => (SkipKind::Unreadable, format!("it can't be read ({reason})")),
        Error::Io { action: "read", source, .. } => {
            (SkipKind::Unreadable, format!("it can't be read ({source})"))
        }
        other => return Err(other),
    };
    Ok(Skipped { file: name.to_owned(), reason, kind })
}
