//! What is done to summary rows next to main, and to commits that are undone, while it
//! crashes.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};

use super::scenarios::{
    case, main_and_increments, merge, merge_then_legacy, restore, with_a_backup,
};
use super::{Case, Scenario, World, now};
use crate::store::commit::summaries;
use crate::store::{Control, Result};

/// The model that only summary rows have.
pub(crate) const MODEL: &str = "summaries";
/// What they stand for at one time or another.
pub(crate) const TOTALS: [u64; 2] = [5, 7];

fn import(world: &mut World, total: u64) -> Result<()> {
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![total]));
    let models: ArrayRef = Arc::new(StringArray::from(vec![MODEL]));
    let columns = [
        ("model", models),
        ("total", counts.clone()),
        ("success", counts),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    summaries::replace_one(&world.store, "a.json", &batch, now()).map(drop)
}

fn main_and_summaries(world: &mut World) -> Result<()> {
    main_and_increments(world)?;
    import(world, TOTALS[0])
}

fn import_again(world: &mut World) -> Result<()> {
    import(world, TOTALS[1])
}

fn merged(world: &mut World) -> Result<()> {
    main_and_increments(world)?;
    merge(world)
}

/// Undoes the last operation.
pub(crate) fn undo(world: &mut World) -> Result<()> {
    crate::store::maintain::restore::run(
        &world.store,
        &crate::store::maintain::restore::Options::default(),
        now(),
        &Control::default(),
    )
    .map(drop)
}

fn undo_and_merge(world: &mut World) -> Result<()> {
    undo(world)?;
    merge(world)
}

fn undo_and_merge_then_legacy(world: &mut World) -> Result<()> {
    undo(world)?;
    merge_then_legacy(world)
}

fn merge_and_undo(world: &mut World) -> Result<()> {
    merge(world)?;
    undo(world)
}

fn restored(world: &mut World) -> Result<()> {
    with_a_backup(world)?;
    restore(world)
}

pub(crate) const REPLACE: Case = case("replace summary rows", main_and_summaries, import_again);
pub(crate) const UNDO: Case = undone("undo a consolidate", merged, undo_and_merge);
/// Nothing syncs the folder of increments between the two commits after the undo.
pub(crate) const UNDO_LATER: Case = undone(
    "undo, consolidate, then a legacy file",
    merged,
    undo_and_merge_then_legacy,
);
/// What it merged lies in a folder that was made a moment ago.
pub(crate) const MERGE_UNDO: Case =
    undone("consolidate and undo", main_and_increments, merge_and_undo);
pub(crate) const UNDO_RESTORE: Case = undone("undo a restore", restored, undo_and_merge);

const fn undone(name: &'static str, setup: Scenario, run: Scenario) -> Case {
    Case {
        says_when_done: false,
        ..case(name, setup, run)
    }
}
