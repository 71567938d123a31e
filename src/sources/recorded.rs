//! Rows that a program recorded while it ran (a hook of a framework), met again in the log of
//! that run, and rows of a log that lies elsewhere now. They have what a writer adds, such as
//! `process_id`, and may name the log in another way; where they agree in everything else, the
//! log adds nothing.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, RecordBatch};
use arrow::datatypes::SchemaRef;

use super::mapping::SOURCE;
use super::{convert, known};
use crate::store::aggregate::Columns;
use crate::store::read::query;
use crate::store::read::query::Selection;
use crate::store::{Control, Error, Result, Store, row_hashes};

/// What may differ: who wrote the row, and how the log is named.
const APART: [&str; 3] = [SOURCE, "process_id", "log"];

/// The hash of what each row says in the columns of `target`, but its origin.
pub(crate) fn hashes(store: &Store, batch: &RecordBatch, target: &SchemaRef) -> Result<Vec<u128>> {
    let schema = batch.schema();
    let there = |name: &str| !APART.contains(&name) && target.index_of(name).is_ok();
    let columns: Vec<usize> = (0..batch.num_columns())
        .filter(|at| {
            let field = schema.fields().get(*at);
            field.is_some_and(|field| there(field.name()))
        })
        .collect();
    let batch = batch
        .project(&columns)
        .map_err(|error| Error::Refused(error.to_string()))?;
    let rows = row_hashes(&batch, &store.zone)?;
    Ok(rows.iter().map(|row| row.hash).collect())
}

/// What the store's rows of these tests say, as [`hashes`]: recorded ones in the columns of the
/// file, imported ones in all of theirs.
pub(crate) fn recorded(
    store: &Store,
    keys: &HashSet<u128>,
    target: &SchemaRef,
    control: &Control,
) -> Result<HashMap<u128, u128>> {
    let there = known::columns(store, control)?.finish();
    let mut found = HashMap::new();
    for batch in query::rows(store, &Selection::default(), control)? {
        control.check()?;
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        let sources = batch.column_by_name(SOURCE).map(convert::texts);
        let sources = sources
            .transpose()
            .map_err(|bad| Error::Refused(format!("column '{SOURCE}': {}", bad.why)))?;
        let imported = |row: usize| sources.as_ref().is_some_and(|texts| texts.is_valid(row));
        let wanted = |row: usize| {
            let key = known::key(&columns, row)?;
            keys.contains(&key).then_some((row, key))
        };
        let rows: Vec<(usize, u128)> = (0..batch.num_rows()).filter_map(wanted).collect();
        if rows.is_empty() {
            continue;
        }
        let [of_file, of_all] = [target, &there].map(|columns| hashes(store, &batch, columns));
        let (of_file, of_all) = (of_file?, of_all?);
        found.extend(rows.iter().filter_map(|(row, key)| {
            let said = if imported(*row) { &of_all } else { &of_file };
            Some((*key, *said.get(*row)?))
        }));
    }
    Ok(found)
}
