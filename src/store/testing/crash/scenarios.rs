//! What is done to a store while it crashes.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use jiff::{SignedDuration, Timestamp};
use parquet::arrow::ArrowWriter;
use serde_json::json;

pub(crate) use super::aside::{ACCEPT, CONVERT, OPTIMIZE, TRANSACTION};
pub(crate) use super::beside::{MERGE_UNDO, REPLACE, UNDO, UNDO_LATER, UNDO_RESTORE};
use super::{Case, Remedy, Scenario, World, loose, now, records, with_ids};
use crate::store::commit::consolidate;
use crate::store::format::record::to_batch;
use crate::store::maintain::{backup, restore};
use crate::store::maintain::{cleanup, validate};
use crate::store::write::increment::{Stems, publish, publish_journal};
use crate::store::write::journal::{Journal, to_lines};
use crate::store::write::writer::{Durability, Writer, WriterOptions};
use crate::store::{Control, Error, Record, Result};

fn write(world: &mut World, durability: Durability, batches: &[Vec<Record>]) -> Result<Writer> {
    let mut writer = Writer::open(
        &world.store,
        WriterOptions {
            durability,
            ..WriterOptions::default()
        },
    )?;
    let mut failed = None;
    for batch in batches {
        world.note(|ledger, _| ledger.attempt(batch));
        match writer.append_all(batch.clone()) {
            Ok(_) if durability == Durability::Disk => {
                world.note(|ledger, _| ledger.acknowledge_durably(batch));
            }
            Ok(_) => world.note(|ledger, _| ledger.acknowledge(batch)),
            // A writer goes on: what comes later must not be glued to what failed.
            Err(error) => failed = Some(error),
        }
    }
    failed.map_or(Ok(writer), Err)
}

// A scenario like the others.
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn nothing(_: &mut World) -> Result<()> {
    Ok(())
}

fn append(world: &mut World) -> Result<()> {
    let batches = [
        with_ids(0..2),
        with_ids(2..3),
        with_ids(3..6),
        with_ids(6..7),
    ];
    let written = write(world, Durability::Process, &batches);
    // The process ends without closing its writer.
    world.disk.stop();
    written.map(drop)
}

pub(crate) fn append_durably(world: &mut World) -> Result<()> {
    let written = write(
        world,
        Durability::Disk,
        &[with_ids(100..102), with_ids(102..103)],
    );
    world.disk.stop();
    written.map(drop)
}

fn append_and_publish(world: &mut World) -> Result<()> {
    write(
        world,
        Durability::Process,
        &[with_ids(0..3), with_ids(3..5)],
    )?
    .close()?;
    world.note(|ledger, _| ledger.all_durable());
    Ok(())
}

fn journal(world: &mut World, batch: &[Record]) -> Result<Journal> {
    world.store.create()?;
    world.note(|ledger, _| ledger.attempt(batch));
    let store = &world.store;
    let mut journal = Journal::create(
        &*store.disk,
        &store.layout,
        &Stems::new(&*store.disk, now()).next_stem(),
    )?;
    journal.append(&to_lines(batch)?, batch.len() as u64, true)?;
    world.note(|ledger, _| ledger.acknowledge_durably(batch));
    Ok(journal)
}

/// A writer died: its journal is there, its increment is not.
fn dead_writer(world: &mut World) -> Result<()> {
    journal(world, &with_ids(20..24)).map(drop)
}

pub(crate) fn increment(world: &mut World, batch: &[Record]) -> Result<()> {
    world.store.create()?;
    world.note(|ledger, _| ledger.attempt(batch));
    let rows = to_batch(batch)?;
    let stem = Stems::new(&*world.store.disk, now()).next_stem();
    publish(&world.store, &stem, &rows.schema(), [Ok(rows)])?;
    world.note(|ledger, _| ledger.acknowledge_durably(batch));
    Ok(())
}

fn increments(world: &mut World) -> Result<()> {
    increment(world, &records(0..3, 0))?;
    increment(world, &records(3..6, 1))
}

/// A file as legacy code writes it, an hour old by the disk's clock.
pub(crate) fn legacy(world: &mut World) -> Result<()> {
    let rows = legacy_rows();
    world.note(|ledger, _| ledger.attempt(&rows));
    let path = world
        .store
        .layout
        .incremental()
        .join("increment_7_20260131_120000.parquet");
    let mut file = world
        .disk
        .rewrite(&path)
        .map_err(Error::io("write", &path))?;
    file.write_all(&legacy_bytes(&rows))
        .map_err(Error::io("write", &path))?;
    world.note(|ledger, _| ledger.acknowledge(&rows));
    Ok(())
}

pub(crate) fn legacy_rows() -> [Record; 2] {
    [loose(LEGACY_TEST, 0), loose("legacy-1", 0)]
}

/// A test that [`legacy`] writes.
pub(crate) const LEGACY_TEST: &str = "legacy-0";

/// Columns as legacy code writes them.
pub(crate) fn legacy_bytes(rows: &[Record]) -> Vec<u8> {
    let text = |get: fn(&Record) -> &str| {
        Arc::new(
            rows.iter()
                .map(|row| Some(get(row)))
                .collect::<StringArray>(),
        )
    };
    let batch = RecordBatch::try_from_iter([
        ("model", text(|row| &row.model) as ArrayRef),
        (
            "task_id",
            text(|row| row.task_id.as_deref().unwrap_or_default()),
        ),
        (
            "turns",
            Arc::new(rows.iter().map(|row| row.turns).collect::<Int64Array>()),
        ),
        (
            "success",
            Arc::new(rows.iter().map(|row| row.success).collect::<BooleanArray>()),
        ),
    ]);
    let batch = batch.unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

pub(crate) fn main_and_increments(world: &mut World) -> Result<()> {
    increments(world)?;
    merge(world)?;
    increment(world, &records(6..9, 0))?;
    let main = world.store.layout.main();
    world.note(|ledger, disk| ledger.keep(disk, &main));
    Ok(())
}

/// Second attempts at tests in main and at each other, and a repeat.
fn second_attempts(world: &mut World) -> Result<()> {
    main_and_increments(world)?;
    increment(world, &records(2..7, 2))?;
    increment(world, &with_ids(5..8))?;
    increment(world, &with_ids(5..8))
}

fn new_column(world: &mut World) -> Result<()> {
    main_and_increments(world)?;
    let mut batch = records(9..12, 0);
    for record in &mut batch {
        record.extra.insert("tokens".to_owned(), json!(17));
    }
    increment(world, &batch)
}

fn legacy_and_main(world: &mut World) -> Result<()> {
    main_and_increments(world)?;
    legacy(world)
}

fn everything(world: &mut World) -> Result<()> {
    second_attempts(world)?;
    legacy(world)?;
    dead_writer(world)
}

pub(crate) fn merge(world: &mut World) -> Result<()> {
    merge_with(world, Remedy::Nothing)
}

pub(crate) fn merge_with(world: &mut World, remedy: Remedy) -> Result<()> {
    merge_at(world, remedy, now())
}

fn merge_at(world: &mut World, remedy: Remedy, at: Timestamp) -> Result<()> {
    let outcome = consolidate::run(&world.store, &remedy.options(), at, &Control::default())?;
    world.note(|ledger, _| ledger.all_durable());
    if let Some(name) = outcome.backup {
        let path = world.store.layout.backups().join(name);
        world.note(|ledger, disk| ledger.made(disk, &path));
    }
    Ok(())
}

/// Commits hours apart: the first one's folder goes, and main alone has its rows.
fn merge_for_hours(world: &mut World) -> Result<()> {
    for hours in 0..4 {
        let at = now() + SignedDuration::from_hours(2 * hours);
        merge_at(world, Remedy::Nothing, at)?;
        let from = 50 + 3 * u32::try_from(hours).unwrap();
        increment(world, &records(from..from + 2, 0))?;
    }
    Ok(())
}

fn merge_twice(world: &mut World) -> Result<()> {
    merge(world)?;
    increment(world, &records(30..32, 0))?;
    merge(world)
}

/// Two commits with nothing between them that syncs the folder of increments.
pub(crate) fn merge_then_legacy(world: &mut World) -> Result<()> {
    merge(world)?;
    legacy(world)?;
    merge(world)
}

/// A commit that nothing syncs the folder of increments for.
pub(crate) fn legacy_then_merge(world: &mut World) -> Result<()> {
    legacy(world)?;
    merge(world)
}

/// A writer lives on while its published rows are consumed: its journal stays.
fn merge_beside_a_live_writer(world: &mut World) -> Result<()> {
    let journal = journal(world, &with_ids(40..42))?;
    publish_journal(&world.store, &journal, None)?;
    world.live.push(journal);
    merge_twice(world)
}

/// Legacy code answers a question by deleting every increment; the journals remain.
fn publish_and_legacy_query(world: &mut World) -> Result<()> {
    append_and_publish(world)?;
    // With `Durability::Process` the journal alone survives processes, not loss of power.
    world.note(|ledger, _| ledger.durable.clear());
    let (disk, folder) = (&world.store.disk, world.store.layout.incremental());
    let entries = disk.list(&folder).map_err(Error::io("list", &folder))?;
    let names: Vec<_> = entries
        .iter()
        .map(|e| e.name.as_str())
        .filter(|n| n.ends_with(".parquet"))
        .collect();
    disk.remove(&folder, &names)
        .map_err(Error::io("remove", &folder))
}

fn back_up(world: &mut World) -> Result<()> {
    let made = backup::run(&world.store, now(), &Control::default())?;
    let path = world.store.layout.backups().join(made.name);
    world.note(|ledger, disk| ledger.made(disk, &path));
    Ok(())
}

/// Two commits, so that there is a backup, and rows that wait.
pub(crate) fn with_a_backup(world: &mut World) -> Result<()> {
    main_and_increments(world)?;
    merge(world)?;
    increment(world, &records(50..52, 0))?;
    let main = world.store.layout.main();
    world.note(|ledger, disk| ledger.keep(disk, &main));
    Ok(())
}

pub(crate) fn restore(world: &mut World) -> Result<()> {
    let backups = backup::list(&world.store)?;
    let from = backups
        .first()
        .map(|entry| entry.name.clone())
        .unwrap_or_default();
    let options = restore::Options {
        from: Some(from.into()),
        exactly: false,
    };
    let done = restore::run(&world.store, &options, now(), &Control::default())?;
    let replaced = done.replaced.unwrap_or_default();
    world.note(|ledger, disk| ledger.made(disk, replaced.parent().unwrap_or(&replaced)));
    Ok(())
}

/// The end of main was overwritten; only what the backup holds can come back.
fn with_a_damaged_main(world: &mut World) -> Result<()> {
    increments(world)?;
    merge(world)?;
    back_up(world)?;
    increment(world, &records(60..62, 0))?;
    let path = world.store.layout.main();
    let mut file = world
        .disk
        .rewrite(&path)
        .map_err(Error::io("write", &path))?;
    file.write_all(b"PAR1 and nothing that follows")
        .map_err(Error::io("write", &path))?;
    world.note(|ledger, disk| ledger.keep(disk, &path));
    Ok(())
}

/// An increment that can't be read, and a dead writer.
fn with_a_damaged_increment(world: &mut World) -> Result<()> {
    main_and_increments(world)?;
    dead_writer(world)?;
    let path = world
        .store
        .layout
        .incremental()
        .join("increment_9_20260131_120000.parquet");
    let mut file = world
        .disk
        .rewrite(&path)
        .map_err(Error::io("write", &path))?;
    file.write_all(b"PAR1 and nothing that follows")
        .map_err(Error::io("write", &path))?;
    world.note(|ledger, disk| ledger.keep(disk, &path));
    Ok(())
}

fn repair(world: &mut World) -> Result<()> {
    let report = validate::check(&world.store, now(), &Control::default())?;
    validate::repair(&world.store, &report, now(), &Control::default())?;
    let folder = world.store.layout.quarantine();
    world.note(|ledger, disk| ledger.made(disk, &folder));
    Ok(())
}

/// A crash left the consumed increments behind, and a temporary file.
fn with_leftovers(world: &mut World) -> Result<()> {
    increments(world)?;
    let folder = world.store.layout.incremental();
    let files = world.disk.files();
    merge(world)?;
    let consumed = files
        .into_iter()
        .filter(|(path, _)| path.starts_with(&folder));
    let temporary = (
        folder.join(".increment_5_20260131_120000_h_0a_0.parquet.1.tmp"),
        Arc::new(b"PAR1".to_vec()),
    );
    for (path, bytes) in consumed.chain([temporary]) {
        let mut file = world
            .disk
            .rewrite(&path)
            .map_err(Error::io("write", &path))?;
        file.write_all(&bytes).map_err(Error::io("write", &path))?;
    }
    dead_writer(world)
}

fn clean_up(world: &mut World) -> Result<()> {
    let plan = cleanup::plan(&world.store, &cleanup::Options::default(), now())?;
    cleanup::run(&world.store, &plan, &Control::default()).map(drop)
}

pub(crate) const fn case(name: &'static str, setup: Scenario, run: Scenario) -> Case {
    Case {
        name,
        setup,
        run,
        damaged: false,
        says_when_done: true,
        remedy: Remedy::Nothing,
    }
}

pub(crate) const APPEND: Case = case("append", nothing, append);
pub(crate) const APPEND_DURABLY: Case = case("append durably", nothing, append_durably);
pub(crate) const PUBLISH: Case = case("append and publish", nothing, append_and_publish);
pub(crate) const RECOVER: Case = case("recover a journal", dead_writer, merge);
pub(crate) const CONSOLIDATE: Case = case("consolidate", main_and_increments, merge);
pub(crate) const ATTEMPTS: Case = case("consolidate second attempts", second_attempts, merge);
pub(crate) const COLUMN: Case = case("consolidate a new column", new_column, merge);
pub(crate) const EVERYTHING: Case = case("consolidate everything, twice", everything, merge_twice);
pub(crate) const LIVE: Case = case(
    "consolidate beside a live writer",
    main_and_increments,
    merge_beside_a_live_writer,
);
pub(crate) const LEGACY: Case = case("consolidate a legacy file", legacy_and_main, merge);
pub(crate) const LATER: Case = case(
    "consolidate, then a legacy file",
    main_and_increments,
    merge_then_legacy,
);
pub(crate) const JOURNAL_LATER: Case = case(
    "recover a journal, then a legacy file",
    dead_writer,
    merge_then_legacy,
);
pub(crate) const LEGACY_QUERY: Case = case("legacy query", nothing, publish_and_legacy_query);
pub(crate) const BACKUP: Case = case("backup", main_and_increments, back_up);
pub(crate) const RESTORE: Case = case("restore", with_a_backup, restore);
pub(crate) const RESTORE_DAMAGED: Case = Case {
    damaged: true,
    ..case("restore over a damaged main", with_a_damaged_main, restore)
};
pub(crate) const REPAIR: Case = Case {
    damaged: true,
    ..case("repair", with_a_damaged_increment, repair)
};
pub(crate) const CLEANUP: Case = case("cleanup", with_leftovers, clean_up);

/// What main has is in no folder any more.
pub(crate) const AGED: Case = case(
    "consolidate until folders go",
    main_and_increments,
    merge_for_hours,
);

pub(crate) const ALL: [Case; 27] = [
    APPEND,
    APPEND_DURABLY,
    PUBLISH,
    RECOVER,
    CONSOLIDATE,
    ATTEMPTS,
    COLUMN,
    EVERYTHING,
    LIVE,
    AGED,
    LEGACY,
    LATER,
    JOURNAL_LATER,
    LEGACY_QUERY,
    BACKUP,
    RESTORE,
    RESTORE_DAMAGED,
    REPAIR,
    CLEANUP,
    REPLACE,
    UNDO,
    UNDO_LATER,
    UNDO_RESTORE,
    TRANSACTION,
    CONVERT,
    ACCEPT,
    OPTIMIZE,
];
