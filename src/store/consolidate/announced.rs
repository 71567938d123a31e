//! Whether a commit that was announced and never confirmed is in a main that other code
//! has rewritten since: its rows tell.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use super::merge::{Keys, records};
use crate::store::Store;
use crate::store::commit::{CommitRecord, log};
use crate::store::error::Result;
use crate::store::layout::{MAIN, unretired_name};
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::Union;
use crate::store::snapshot::fingerprint;

/// What tells a row from others.
#[derive(PartialEq, Eq, Hash)]
enum Row {
    /// The key of its test: a later attempt at it will do.
    Keyed(u128),
    /// The hash of all of it.
    Loose(u64),
}

/// Whether main contains all rows of the commit's files that are still there; `None` where
/// nothing is left to compare. "No" is the safe answer where main can't be compared: rows
/// with an id find each other again.
pub(in crate::store) fn happened(
    store: &Store,
    main: &ParquetFile,
    announced: &CommitRecord,
) -> Result<Option<bool>> {
    if adds_nothing(store, main, announced)? {
        return Ok(Some(false));
    }
    let zone = TimeZone::get(&announced.zone).unwrap_or(TimeZone::UTC);
    let mut union = Union::new();
    if union.add(MAIN, main.schema()).is_err() {
        return Ok(Some(false));
    }
    let files = files(store, announced);
    for (file, _) in &files {
        if union
            .add(&file.path().display().to_string(), file.schema())
            .is_err()
        {
            return Ok(Some(false));
        }
    }
    let schema = union.finish();
    let mut missing: HashMap<Row, u64> = HashMap::new();
    for (file, rows) in &files {
        let mut own = Vec::new();
        // Damaged, or being rewritten at this moment: the others tell.
        if each(file, *rows, &schema, &zone, |row| own.push(row)).is_err() {
            continue;
        }
        for row in own {
            *missing.entry(row).or_default() += 1;
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    each(main, main.rows(), &schema, &zone, |row| {
        match (missing.get_mut(&row), &row) {
            (Some(times), Row::Loose(_)) if *times > 1 => *times -= 1,
            (Some(_), _) => drop(missing.remove(&row)),
            (None, _) => {}
        }
    })?;
    Ok(Some(missing.is_empty()))
}

/// Whether main has no more rows than before a commit that adds some: what it has of theirs
/// are older rows that equal them.
fn adds_nothing(store: &Store, main: &ParquetFile, announced: &CommitRecord) -> Result<bool> {
    let Some(parent) = &announced.parent_id else {
        return Ok(false);
    };
    let before = log::newest_done(store)?.filter(|done| done.commit_id == *parent);
    Ok(before.is_some_and(|before| announced.rows > before.rows && main.rows() <= before.rows))
}

/// The commit's files that are still there, with the number of rows at their beginning that it
/// took in. A legacy file may be there under two names, and the record names each version
/// under both: the longest that one of them begins with has the rows of the others.
fn files(store: &Store, announced: &CommitRecord) -> Vec<(ParquetFile, u64)> {
    let mut found: HashMap<String, (ParquetFile, u64)> = HashMap::new();
    for entry in announced
        .consumed
        .iter()
        .filter(|entry| entry.at == announced.created)
    {
        let path = store.layout.incremental().join(&entry.name);
        let Ok(file) = ParquetFile::open(&*store.disk, &path) else {
            continue;
        };
        let is_it = || fingerprint(&file, entry.rows).is_ok_and(|own| own == entry.xxh3);
        if entry.legacy && !(file.rows() >= entry.rows && is_it()) {
            continue;
        }
        let name = if entry.legacy {
            unretired_name(&entry.name)
        } else {
            entry.name.clone()
        };
        if found.get(&name).is_none_or(|(_, rows)| *rows < entry.rows) {
            found.insert(name, (file, entry.rows));
        }
    }
    found.into_values().collect()
}

/// Calls `take` with the records among the first rows of a file.
fn each(
    file: &ParquetFile,
    rows: u64,
    schema: &SchemaRef,
    zone: &TimeZone,
    mut take: impl FnMut(Row),
) -> Result<()> {
    let mut left = usize::try_from(rows).unwrap_or(usize::MAX);
    for batch in file.batches(None, 0)? {
        let batch = batch?;
        let batch = batch.slice(0, left.min(batch.num_rows()));
        left -= batch.num_rows();
        let batch = records(&batch, schema, zone)?;
        let mut keys = Keys::of(&batch)?;
        for row in 0..batch.num_rows() {
            take(match keys.key(row) {
                Some(key) => Row::Keyed(key),
                None => Row::Loose(keys.rank(&batch, row)?.1),
            });
        }
    }
    Ok(())
}
