//! Whether a commit that was announced and never confirmed is in a main that other code
//! has rewritten since: its rows tell.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use super::merge::{Keys, records};
use crate::store::Store;
use crate::store::commit::CommitRecord;
use crate::store::error::Result;
use crate::store::layout::MAIN;
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::Union;

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
    let zone = TimeZone::get(&announced.zone).unwrap_or(TimeZone::UTC);
    let mut union = Union::new();
    let mut files = Vec::new();
    if union.add(MAIN, main.schema()).is_err() {
        return Ok(Some(false));
    }
    for entry in announced.consumed.iter().filter(|entry| entry.at == announced.created) {
        let Ok(file) = ParquetFile::open(&*store.disk, &store.layout.incremental().join(&entry.name)) else {
            continue;
        };
        if union.add(&entry.name, file.schema()).is_err() {
            return Ok(Some(false));
        }
        files.push((file, entry.rows));
    }
    let schema = union.finish();
    let mut missing: HashMap<Row, u64> = HashMap::new();
    for (file, most) in &files {
        let mut own = Vec::new();
        // Damaged, or being rewritten at this moment: the others tell.
        if each(file, &schema, &zone, |row| own.push(row)).is_err() {
            continue;
        }
        own.truncate(usize::try_from(*most).unwrap_or(usize::MAX));
        for row in own {
            let times = missing.entry(row).or_default();
            *times += 1;
        }
    }
    if missing.is_empty() {
        return Ok(None);
    }
    each(main, &schema, &zone, |row| match (missing.get_mut(&row), &row) {
        (Some(times), Row::Loose(_)) if *times > 1 => *times -= 1,
        (Some(_), _) => drop(missing.remove(&row)),
        (None, _) => {}
    })?;
    Ok(Some(missing.is_empty()))
}

/// Calls `take` with every record of a file.
fn each(file: &ParquetFile, schema: &SchemaRef, zone: &TimeZone, mut take: impl FnMut(Row)) -> Result<()> {
    for batch in file.batches(None, 0)? {
        let batch = records(&batch?, schema, zone)?;
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
