//! An import that is stopped at every step: the file is in the store as a whole or not at
//! all, and importing it again adds what is missing.

use std::ops::Range;

use jiff::Timestamp;

use super::{Options, import};
use crate::store::testing::crash::{Case, Remedy, World, withstands};
use crate::store::{Control, Record, Result};

fn rows(ids: Range<u32>) -> Vec<Record> {
    let row = |id| Record {
        test_id: Some(format!("i{id}")),
        model: "m".to_owned(),
        success: Some(id % 2 == 0),
        task_id: Some(format!("i{id}")),
        turns: Some(0),
        timestamp: Some(1_769_900_000_000_000),
        ..Record::default()
    };
    ids.map(row).collect()
}

fn imported(world: &mut World, ids: Range<u32>) -> Result<()> {
    let rows = rows(ids);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.jsonl");
    let lines: Vec<String> = rows
        .iter()
        .map(|row| serde_json::to_string(row).unwrap())
        .collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    world.expect(&rows);
    let now: Timestamp = "2026-02-01T12:00:00Z".parse().unwrap();
    import(
        &world.store,
        &path,
        &Options::default(),
        now,
        &Control::default(),
    )?;
    world.promise(&rows);
    Ok(())
}

const IMPORT: Case = Case {
    name: "import again with more rows",
    setup: |world| imported(world, 0..3),
    run: |world| imported(world, 2..6),
    damaged: false,
    says_when_done: true,
    remedy: Remedy::Nothing,
};

#[test]
fn an_import_is_there_or_not_whatever_stops_it() {
    withstands(IMPORT).unwrap();
}
