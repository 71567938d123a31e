//! What legacy code left in a store, taken in while it crashes: rows that it had put
//! aside, a main of summary rows, a main that has lost rows.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::compute::take_record_batch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::beside::{MODEL, TOTALS};
use super::scenarios::{case, increment, legacy_bytes, main_and_increments, merge, merge_with};
use super::{Case, Remedy, World, loose, now, oracle, records};
use crate::store::maintain::validate;
use crate::store::{Control, Error, Result, Store, disk};

/// How tests of rows that were put aside begin.
pub(crate) const ASIDE: &str = "aside-";

fn write(world: &World, path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = world.disk.rewrite(path).map_err(Error::io("write", path))?;
    file.write_all(bytes).map_err(Error::io("write", path))
}

fn parquet(batches: &[RecordBatch]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batches[0].schema(), None).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
    bytes
}

fn read(world: &World, path: &Path) -> Result<Vec<RecordBatch>> {
    let bytes = disk::read(&world.disk, path).map_err(Error::io("read", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).unwrap();
    Ok(reader.build().unwrap().map(Result::unwrap).collect())
}

fn with_a_transaction(world: &mut World) -> Result<()> {
    main_and_increments(world)?;
    let rows = [loose("aside-0", 0), loose("aside-1", 0)];
    world.note(|ledger, _| ledger.attempt(&rows));
    let path = world.store.layout.incremental().join("transaction_9.tmp");
    write(world, &path, &legacy_bytes(&rows))
}

pub(crate) fn repair(store: &Store) -> Result<()> {
    let report = validate::check(store, now(), &Control::default())?;
    validate::repair(store, &report, now(), &Control::default()).map(drop)
}

fn take_in(world: &mut World) -> Result<()> {
    repair(&world.store)?;
    let rows = [loose("aside-0", 0), loose("aside-1", 0)];
    world.note(|ledger, _| ledger.acknowledge_durably(&rows));
    Ok(())
}

/// A legacy main of summary rows, and records that wait.
fn main_of_summaries(world: &mut World) -> Result<()> {
    world.store.create()?;
    let counts: ArrayRef = Arc::new(UInt64Array::from(vec![TOTALS[0]]));
    let models: ArrayRef = Arc::new(StringArray::from(vec![MODEL]));
    let columns = [
        ("model", models),
        ("total", counts.clone()),
        ("success", counts),
    ];
    let main = world.store.layout.main();
    write(
        world,
        &main,
        &parquet(&[RecordBatch::try_from_iter(columns).unwrap()]),
    )?;
    increment(world, &records(0..3, 0))?;
    world.note(|ledger, disk| ledger.keep(disk, &main));
    Ok(())
}

fn convert(world: &mut World) -> Result<()> {
    merge_with(world, Remedy::ConvertMain)
}

/// Other code rewrote main and dropped the first row of it.
fn main_that_shrank(world: &mut World) -> Result<()> {
    increment(world, &records(0..3, 0))?;
    merge(world)?;
    increment(world, &records(6..8, 0))?;
    let main = world.store.layout.main();
    let rows = read(world, &main)?;
    let rows = [rows[0].slice(1, rows[0].num_rows() - 1)];
    write(world, &main, &parquet(&rows))?;
    // What it was made of is kept no longer.
    let moved: Vec<_> = world
        .disk
        .files()
        .into_iter()
        .filter(|(path, _)| path.starts_with(world.store.layout.consumed()))
        .collect();
    for (path, _) in moved {
        let (folder, name) = (path.parent().unwrap(), path.file_name().unwrap());
        let removed = world.store.disk.remove(folder, &[name.to_str().unwrap()]);
        removed.map_err(Error::io("remove", &path))?;
    }
    let left = oracle::read(&world.store).unwrap();
    world.note(|ledger, disk| {
        ledger
            .acknowledged
            .retain(|test, _| left.contains_key(test));
        ledger.keep(disk, &main);
    });
    Ok(())
}

/// Other code rewrote main in an order in which no two rows of a cell lie together.
fn main_in_disorder(world: &mut World) -> Result<()> {
    let ids = 5..15;
    increment(world, &records(ids.clone(), 0))?;
    merge(world)?;
    let main = world.store.layout.main();
    let rows = read(world, &main)?;
    let places = rows.iter().flat_map(|rows| 0..rows.num_rows() as u32);
    let mut places: Vec<u32> = places.collect();
    places.sort_by_key(|place| (place % 5, place / 5));
    let rows = [take_record_batch(&rows[0], &UInt32Array::from(places)).unwrap()];
    write(world, &main, &parquet(&rows))?;
    increment(world, &records(20..22, 0))?;
    world.note(|ledger, disk| ledger.keep(disk, &main));
    Ok(())
}

fn optimize(world: &mut World) -> Result<()> {
    merge_with(world, Remedy::Optimize)
}

fn accept(world: &mut World) -> Result<()> {
    merge_with(world, Remedy::AcceptMain)
}

pub(crate) const TRANSACTION: Case = case("take in a transaction", with_a_transaction, take_in);
pub(crate) const CONVERT: Case = Case {
    remedy: Remedy::ConvertMain,
    ..case("convert main", main_of_summaries, convert)
};
pub(crate) const ACCEPT: Case = Case {
    remedy: Remedy::AcceptMain,
    ..case("accept a main that shrank", main_that_shrank, accept)
};
pub(crate) const OPTIMIZE: Case = Case {
    remedy: Remedy::Optimize,
    ..case("sort main", main_in_disorder, optimize)
};
