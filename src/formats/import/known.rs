//! What a store already knows of rows that are about to be imported.

use std::collections::{HashMap, HashSet};

use crate::store::digest::{self, Columns};
use crate::store::query::{self, Selection};
use crate::store::schema;
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
        let none = Selection {
            limit: Some(0),
            ..Selection::default()
        };
        union.add(
            &store.layout.root().display().to_string(),
            query::rows(store, &none, control)?.schema(),
        )?;
    }
    Ok(union)
}

/// The store's attempts at those of the tests that it has.
pub(super) fn existing(
    store: &Store,
    keys: &HashSet<u128>,
    control: &Control,
) -> Result<HashMap<u128, Version>> {
    if there(store)? {
        query::existing(store, keys, control)
    } else {
        Ok(HashMap::new())
    }
}

/// The key of a row's test.
pub(super) fn key(columns: &Columns, row: usize) -> Option<u128> {
    digest::key(columns.text("test_id", row), &columns.cell(row))
}
