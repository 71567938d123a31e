//! Rows that take the place of others, whatever their ranks: in one commit, so that no
//! reader ever sees both, or neither.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::{Options, Outcome, derived_of, run_locked};
use crate::store::commit::base::Base;
use crate::store::commit::fence::Fence;
use crate::store::commit::round::{Round, Trouble};
use crate::store::commit::{derived_files, folders, removed};
use crate::store::disk::lock::StoreLock;
use crate::store::error::{Error, Result};
use crate::store::maintain::backup;
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot::Increment;
use crate::store::resolve::{Rank, Removal, Removed};
use crate::store::write::increment::Staged;
use crate::store::{Control, Store};

/// Takes the rows of some tests (`format::key`) out of the store and puts the
/// staged ones in. What is pending is consolidated first: only main's rows can go.
///
/// # Errors
/// As of [`super::run()`]; then the staged rows are gone and nothing was taken out.
#[allow(clippy::implicit_hasher)] // one caller's set
pub fn replace(
    store: &Store,
    gone: &HashSet<u128>,
    staged: Vec<Staged>,
    now: Timestamp,
    control: &Control,
) -> Result<Outcome> {
    let done = locked(store, gone, &staged, now, control);
    // They are in the commit's folder, or the replacement did not happen.
    for staged in staged {
        staged.discard(store);
    }
    done
}

fn locked(
    store: &Store,
    gone: &HashSet<u128>,
    staged: &[Staged],
    now: Timestamp,
    control: &Control,
) -> Result<Outcome> {
    let _lock = StoreLock::take(store, "import", control)?;
    let mut outcome = run_locked(store, &Options::default(), now, control)?;
    let increments = staged
        .iter()
        .map(|staged| increment(store, staged))
        .collect::<Result<Vec<Increment>>>()?;
    let fence = Fence::ahead(store, control)?;
    let base = Base::open(store, false)?;
    let removed = gone_with(store, &base, gone, &increments, control)?;
    let named = removed::write(store, &removed)?;
    let round = Round {
        removed: (&removed, named.as_ref()),
        removes: true,
        fence: Cell::new(fence),
        ..Round::on(store, &base, now, control)
    };
    let rows = staged.iter().map(|staged| staged.rows).sum();
    let done = round
        .run(&increments, true, (0, rows))
        .map_err(|trouble| match trouble {
            Trouble::Other(error) => error,
            Trouble::Input(skipped) => Error::Refused(skipped.reason),
        })?;
    outcome.commits += 1;
    outcome.rows_added += done.added;
    outcome.rows_superseded += done.superseded + done.removed;
    outcome.rows_total = done.record.rows;
    outcome.generation = done.record.generation;
    outcome.backup = done.committed.backup.or(outcome.backup);
    outcome.notes.extend(done.committed.notes);
    for staged in staged {
        let kept = folders::keep(store, &done.record, &staged.temporary, &staged.name);
        if let Err(error) = kept {
            outcome.notes.push(format!(
                "the commit stands, and to undo it would drop its rows: {error}"
            ));
        }
    }
    match backup::prune(store, now) {
        Ok(pruned) => outcome.pruned.extend(pruned),
        Err(error) => outcome.notes.push(format!("old backups stay: {error}")),
    }
    let source = derived_of(done.record, done.cells, done.schema);
    if let Err(error) = derived_files::write(store, &source) {
        outcome
            .notes
            .push(format!("the derived files are out of date: {error}"));
    }
    Ok(outcome)
}

/// Whether imports replaced some of these rows before: then only [`replace`] brings them again.
///
/// # Errors
/// The store can't be read.
pub fn were_replaced(store: &Store, rows: &[(u128, Rank)]) -> Result<bool> {
    if store.check().is_err() {
        return Ok(false);
    }
    let removed = Base::open(store, false)?.removed;
    Ok(rows.iter().any(|(key, rank)| removed.replaces(*key, rank)))
}

/// What was removed, and now the rows of main with these keys, but for those of the increments,
/// which stay also where an import replaced them before.
fn gone_with(
    store: &Store,
    base: &Base,
    gone: &HashSet<u128>,
    increments: &[Increment],
    control: &Control,
) -> Result<Removed> {
    let zone = base.zone(store);
    let mut removed = base.removed.clone();
    let wanted: HashSet<u128> = gone.iter().copied().chain(removed.replaced()).collect();
    let mut stays = HashMap::new();
    for increment in increments {
        let file = increment.open(store)?;
        removed::ranks(&file, &zone, &wanted, control, |key, rank| {
            stays.insert(key, rank);
        })?;
    }
    if let Some(main) = &base.main {
        removed::ranks(main, &zone, gone, control, |key, rank| {
            let stays = stays.get(&key).map_or(Removal::REPLACED, |rank| rank.hash);
            let stays = Some(stays);
            removed.add(key, Removal { stays, rank });
        })?;
    }
    for (key, rank) in stays {
        if removed.replaces(key, &rank) {
            let stays = Some(rank.hash);
            removed.add(key, Removal { stays, rank });
        }
    }
    Ok(removed)
}

/// The staged file as an input of a commit.
fn increment(store: &Store, staged: &Staged) -> Result<Increment> {
    let path = store.layout.incremental().join(&staged.temporary);
    let file = ParquetFile::open(&*store.disk, &path).map_err(|error| error.at(&path))?;
    Ok(Increment {
        name: staged.temporary.clone(),
        stat: file.stat(),
        rows: file.rows(),
        skip: 0,
        again: false,
        schema: file.schema().clone(),
        legacy: false,
        // Every imported row has an id.
        ids: None,
        journal: None,
    })
}
