//! Programs that know nothing of the protocol, as they take turns with those that do:
//! they rewrite their own increment, or main, in place.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use arrow::compute::cast;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::loose;
use super::programs::{Program, text};
use super::scenarios::{legacy_bytes, legacy_rows};
use crate::store::disk::Disk;
use crate::store::format::record;
use crate::store::{Record, disk};

fn own_file(program: &Program) -> PathBuf {
    program
        .store
        .layout
        .incremental()
        .join("increment_7_20260131_120000.parquet")
}

/// Writes a file again, in place; whoever has the turn meanwhile sees half of it.
fn rewrite(program: &Program, path: &Path, bytes: &[u8]) -> Result<(), String> {
    let mut file = program.disk.rewrite(path).map_err(text)?;
    for half in bytes.chunks(bytes.len().div_ceil(2)) {
        program.turn.step().map_err(text)?;
        file.write_all(half).map_err(text)?;
    }
    Ok(())
}

fn new_row(program: &Program, rows: &mut Vec<Record>, round: u32) -> Result<(), String> {
    rows.push(loose(&format!("legacy-{}-{round}", program.me), 0));
    program.ledger().attempt(rows);
    program.turn.step().map_err(text)
}

fn rows_there(program: &Program) -> Vec<Record> {
    if program.disk.stat(&own_file(program)).is_ok() {
        legacy_rows().to_vec()
    } else {
        Vec::new()
    }
}

/// Reads its file where it is there, and writes it again with a row more. Each row that
/// it wrote counts in the end; while it writes, nobody can know.
pub(crate) fn writer(program: &Program) -> Result<(), String> {
    let path = own_file(program);
    let mut rows = rows_there(program);
    for round in 0..3 {
        program.turn.step().map_err(text)?;
        // A consumed file is gone, and its writer begins with nothing.
        if program.disk.stat(&path).is_err() {
            rows.clear();
        }
        new_row(program, &mut rows, round)?;
        rewrite(program, &path, &legacy_bytes(&rows))?;
        program.ledger().late.extend(rows.iter().cloned());
    }
    Ok(())
}

/// One that keeps all its rows in memory, whatever became of its file.
pub(crate) fn writer_that_remembers(program: &Program) -> Result<(), String> {
    let mut rows = rows_there(program);
    for round in 0..3 {
        new_row(program, &mut rows, round)?;
        rewrite(program, &own_file(program), &legacy_bytes(&rows))?;
        program.ledger().late.extend(rows.iter().cloned());
    }
    Ok(())
}

/// One that remembers, and whose file vanishes now and then.
pub(crate) fn writer_that_removes(program: &Program) -> Result<(), String> {
    let path = own_file(program);
    let mut rows = rows_there(program);
    for round in 0..3 {
        new_row(program, &mut rows, round)?;
        rewrite(program, &path, &legacy_bytes(&rows))?;
        if round < 2 {
            program.turn.step().map_err(text)?;
            let (folder, name) = (
                path.parent().unwrap(),
                path.file_name().unwrap().to_str().unwrap(),
            );
            program.disk.remove(folder, &[name]).map_err(text)?;
        }
    }
    program.ledger().late.extend(rows);
    Ok(())
}

/// One that remembers, and renames a new file over its own.
pub(crate) fn writer_that_replaces(program: &Program) -> Result<(), String> {
    let path = own_file(program);
    let mut rows = rows_there(program);
    for round in 0..3 {
        new_row(program, &mut rows, round)?;
        let aside = path.with_file_name("increment_7.new");
        rewrite(program, &aside, &legacy_bytes(&rows))?;
        program.turn.step().map_err(text)?;
        program.disk.replace(&aside, &path).map_err(text)?;
        program.ledger().late.extend(rows.iter().cloned());
    }
    Ok(())
}

/// Main's bytes with a row more and without a commit record; `None` where nothing can be read.
fn with_a_row(bytes: Vec<u8>, row: &Record) -> Option<Vec<u8>> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(bytes)).ok()?;
    let mut schema = (**reader.schema()).clone();
    schema.metadata.clear();
    let schema = Arc::new(schema);
    let new = record::to_batch(std::slice::from_ref(row)).unwrap();
    let columns = schema
        .fields()
        .iter()
        .map(|field| match new.column_by_name(field.name()) {
            Some(column) => cast(column, field.data_type()).unwrap(),
            None => new_null_array(field.data_type(), 1),
        });
    let new = RecordBatch::try_new(schema.clone(), columns.collect()).unwrap();
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, schema, None).unwrap();
    for batch in reader.build().unwrap() {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.write(&new).unwrap();
    writer.close().unwrap();
    Some(out)
}

fn add_to_main(program: &Program, round: u32) -> Result<(), String> {
    let path = program.store.layout.main();
    let row = loose(&format!("main-{}-{round}", program.me), 0);
    program.ledger().attempt(std::slice::from_ref(&row));
    program.turn.step().map_err(text)?;
    // Nobody has the turn between the reading and the first change: who writes back what
    // was read long ago undoes what happened since.
    let bytes = disk::read(&program.disk, &path).map_err(text)?;
    if let Some(bytes) = with_a_row(bytes, &row) {
        rewrite(program, &path, &bytes)?;
        program.ledger().late.push(row);
    }
    Ok(())
}

/// Writes back a main that it had read before, with a row more: what was committed since is not
/// in it.
pub(crate) fn stale_rewriter_of_main(program: &Program) -> Result<(), String> {
    let path = program.store.layout.main();
    for round in 0..2 {
        let row = loose(&format!("stale-{}-{round}", program.me), 0);
        program.ledger().attempt(std::slice::from_ref(&row));
        program.turn.step().map_err(text)?;
        let Ok(bytes) = disk::read(&program.disk, &path) else {
            continue;
        };
        for _ in 0..12 {
            program.turn.step().map_err(text)?;
        }
        if let Some(bytes) = with_a_row(bytes, &row) {
            rewrite(program, &path, &bytes)?;
        }
    }
    Ok(())
}

/// Adds rows to main, without the lock.
pub(crate) fn rewriter_of_main(program: &Program) -> Result<(), String> {
    (0..2).try_for_each(|round| add_to_main(program, round))
}

/// Adds rows to main under the lock.
pub(crate) fn locking_rewriter_of_main(program: &Program) -> Result<(), String> {
    (0..2).try_for_each(|round| {
        let lock = program
            .store
            .disk
            .try_lock(&program.store.layout.lock())
            .map_err(text)?;
        let added = add_to_main(program, round);
        drop(lock);
        added
    })
}
