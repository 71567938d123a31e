//! What a store already knows of rows that are about to be imported.

use std::collections::{HashMap, HashSet};

use crate::store::digest::{self, Columns};
use crate::store::query::{self, Selection};
use crate::store::schema::{self, DIMENSIONS};
use crate::store::{Control, Error, Result, Store};

/// What decides between two attempts at one test, the larger being the newer:
/// timestamp (null lowest), then the hash of the row.
pub(super) type Version = (Option<i64>, u64);

/// Whether there is a store already; an import makes one otherwise.
pub(super) fn there(store: &Store) -> Result<bool> {
    match store.check() {
        Ok(()) => Ok(true),
        Err(Error::NoStore { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The columns of the store's records; empty where there is no store yet.
pub(super) fn columns(store: &Store, control: &Control) -> Result<schema::Union> {
    let mut union = schema::Union::new();
    if there(store)? {
        let none = Selection { limit: Some(0), ..Selection::default() };
        union
            .add(&store.layout.root().display().to_string(), query::rows(store, &none, control)?.schema())?;
    }
    Ok(union)
}

/// The store's attempts at those of the tests that it has.
pub(super) fn existing(
    store: &Store,
    keys: &HashSet<u128>,
    control: &Control,
) -> Result<HashMap<u128, Version>> {
    let mut found = HashMap::new();
    // Most imports are of new rows, which a look at the keys alone tells.
    if !there(store)? || !any(store, keys, control)? {
        return Ok(found);
    }
    for batch in query::rows(store, &Selection::default(), control)? {
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        let hits: Vec<_> = (0..batch.num_rows())
            .filter_map(|row| Some((row, key(&columns, row).filter(|key| keys.contains(key))?)))
            .collect();
        if !hits.is_empty() {
            let hashes = digest::row_hashes(&batch)?;
            found.extend(
                hits.into_iter()
                    .filter_map(|(row, key)| Some((key, (columns.timestamp(row), *hashes.get(row)?)))),
            );
        }
    }
    Ok(found)
}

fn any(store: &Store, keys: &HashSet<u128>, control: &Control) -> Result<bool> {
    let names = DIMENSIONS.iter().chain(&["test_id"]).map(|name| (*name).to_owned()).collect();
    let selection = Selection { columns: Some(names), ..Selection::default() };
    for batch in query::rows(store, &selection, control)? {
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        if (0..batch.num_rows()).any(|row| key(&columns, row).is_some_and(|key| keys.contains(&key))) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The key of a row's test.
pub(super) fn key(columns: &Columns, row: usize) -> Option<u128> {
    digest::key(columns.text("test_id", row), &columns.cell(row))
}
