//! What a store already knows of rows that are about to be imported.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::store::aggregate;
use crate::store::aggregate::Columns;
use crate::store::format::schema;
use crate::store::read::query;
use crate::store::read::query::{Known, Selection};
use crate::store::resolve::Rank;
use crate::store::{Control, Error, Result, Store};

/// Whether there is a store already; an import makes one otherwise.
pub(crate) fn there(store: &Store) -> Result<bool> {
    match store.check() {
        Ok(()) => Ok(true),
        Err(Error::NoStore { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The columns of the store's records, with what is known of their values; empty where there is
/// no store yet.
pub(crate) fn columns(store: &Store, control: &Control) -> Result<schema::Union> {
    if !there(store)? {
        return Ok(schema::Union::new());
    }
    let none = Selection {
        limit: Some(0),
        ..Selection::default()
    };
    Ok(query::rows(store, &none, control)?.union().clone())
}

/// The store's attempts at those of the tests that it has.
pub(crate) fn existing(
    store: &Store,
    keys: &HashSet<u128>,
    control: &Control,
) -> Result<HashMap<u128, Rank>> {
    Ok(of(store, keys, control)?.newest)
}

/// What the store knows of the tests, and of those that were removed on purpose.
pub(crate) fn of(store: &Store, keys: &HashSet<u128>, control: &Control) -> Result<Known> {
    if there(store)? {
        query::known(store, keys, control)
    } else {
        Ok(Known {
            newest: HashMap::new(),
            removed: Arc::default(),
            zone: store.zone.clone(),
        })
    }
}

/// The key of a row's test.
pub(crate) fn key(columns: &Columns, row: usize) -> Option<u128> {
    let session = columns.session(row);
    aggregate::key(columns.text("test_id", row), &columns.cell(row), session)
}
