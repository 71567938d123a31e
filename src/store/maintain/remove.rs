//! Takes rows out of the store on purpose.
//!
//! Promises: what the plan showed goes, and nothing else: each of these tests up to the attempt
//! that counted then. That holds against every file that brings the rows again, and a later attempt
//! counts. The main that is replaced becomes a backup, so that the removal can be undone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use jiff::Timestamp;

use crate::store::aggregate::Columns;
use crate::store::commit::base::{Base, refuse_link};
use crate::store::commit::fence::Fence;
use crate::store::commit::merge::Keys;
use crate::store::commit::{consolidate, pending_files};
use crate::store::disk::lock::StoreLock;
use crate::store::error::{Error, Result};
use crate::store::read::query::{Filter, Selection, rows};
use crate::store::resolve::{Removal, Removed};
use crate::store::{Control, Store};

/// The rows that would go.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    filter: Filter,
    removed: Arc<Removed>,
    /// How many.
    pub rows: u64,
    /// How many of each model.
    pub models: BTreeMap<String, u64>,
    /// The times of the first and the last of them, microseconds since the epoch.
    pub times: Option<(i64, i64)>,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Rows that no longer count.
    pub rows: u64,
    /// Of those, the ones that main had; the others lie in pending files.
    pub of_main: u64,
    /// Rows of main.
    pub rows_total: u64,
    /// Number of the commit.
    pub generation: u64,
    /// The backup of the previous main.
    pub backup: Option<String>,
    /// What else people should know.
    pub notes: Vec<String>,
}

/// Says which rows match. Changes nothing.
pub fn plan(store: &Store, filter: &Filter, control: &Control) -> Result<Plan> {
    store.check()?;
    let mut removed = Removed::default();
    let mut plan = Plan {
        filter: filter.clone(),
        ..Plan::default()
    };
    let selection = Selection {
        filter: filter.clone(),
        ..Selection::default()
    };
    let zone = Base::open_any(store)?.0.zone(store);
    for batch in rows(store, &selection, control)? {
        control.check()?;
        let batch = batch?;
        let (columns, mut keys) = (Columns::new(&batch)?, Keys::of(&batch, &zone)?);
        for row in 0..batch.num_rows() {
            let Some(key) = keys.key(row) else { continue };
            let (stays, rank) = (None, keys.rank(&batch, row)?);
            removed.add(key, Removal { stays, rank });
            if let Some(time) = columns.timestamp(row) {
                let (first, last) = plan.times.unwrap_or((time, time));
                plan.times = Some((first.min(time), last.max(time)));
            }
        }
        plan.rows += batch.num_rows() as u64;
        count_models(&batch, &mut plan.models);
    }
    plan.removed = Arc::new(removed);
    Ok(plan)
}

fn count_models(batch: &RecordBatch, models: &mut BTreeMap<String, u64>) {
    let Some(column) = batch.column_by_name("model") else {
        return;
    };
    for model in column.as_string_opt::<i32>().into_iter().flatten() {
        let model = model.unwrap_or_default();
        match models.get_mut(model) {
            Some(count) => *count += 1,
            None => {
                models.insert(model.to_owned(), 1);
            }
        }
    }
}

/// Removes what the plan showed.
pub fn run(store: &Store, plan: &Plan, now: Timestamp, control: &Control) -> Result<Outcome> {
    store.check()?;
    refuse_link(store)?;
    let _lock = StoreLock::take(store, "remove", control)?;
    let base = Base::open(store, false)?;
    if pending_files::main_blocks(base.main.as_ref(), base.record.as_ref())? {
        return Err(Error::Refused(format!(
            "{} holds summary rows itself: stop what writes them and move them out first \
             (evaltop consolidate --convert-main)",
            store.layout.main().display()
        )));
    }
    consolidate::prepare(store, now, control)?;
    let mut fence = Fence::ahead(store, control)?;
    let mut base = Base::open(store, false)?;
    let mut wanted = Arc::clone(&plan.removed);
    let has_id = |base: &Base| {
        base.record
            .as_ref()
            .is_some_and(|own| !own.store.is_empty())
    };
    if !has_id(&base) {
        // The first commit gives the store's id, by which rows are named that bring none.
        consolidate::with_removed(store, &base, fence, &Removed::default(), now, control)?;
        fence = Fence::ahead(store, control)?;
        base = Base::open(store, false)?;
        wanted = self::plan(store, &plan.filter, control)?.removed;
    }
    let mut removed = base.removed.clone();
    for (key, removal) in wanted.sorted() {
        removed.add(key, removal);
    }
    let done = consolidate::with_removed(store, &base, fence, &removed, now, control)?;
    Ok(Outcome {
        rows: wanted.len() as u64,
        of_main: done.rows_removed,
        rows_total: done.rows_total,
        generation: done.generation,
        backup: done.backup,
        notes: done.notes,
    })
}

#[cfg(test)]
mod tests;
