//! The removed set next to main: `removed_<xxh3>.parquet`, what was taken out of the store on
//! purpose.
//!
//! Promises: like a file of summary rows it counts when the commit record names it, is never
//! changed in place, and its name carries the hash of its bytes. It holds against every file that
//! brings the rows again: memories of other programs, copies, pulls. A set that is named and
//! missing is not taken for an empty one: nothing is committed without it.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, FixedSizeBinaryBuilder, RecordBatch};
use arrow::array::{TimestampMicrosecondArray, UInt32Array};
use arrow::datatypes::{TimestampMicrosecondType, UInt32Type};
use arrow::error::ArrowError;
use jiff::tz::TimeZone;

use super::base::Base;
use super::merge::{Keys, records};
use super::named_by_hash;
use super::pending_files::columns_of_records;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::{CommitRecord, RemovedSet};
use crate::store::format::layout::{MAIN, folder_of, removed_name};
use crate::store::format::row_kind::{Shape, shape};
use crate::store::format::schema::Union;
use crate::store::parquet::filter::Filter;
use crate::store::parquet::prune::Search;
use crate::store::parquet::table::TableWriter;
use crate::store::parquet::{OpenError, ParquetFile};
use crate::store::read::snapshot::{Files, Increment};
use crate::store::resolve::{Rank, Removal, Removed};
use crate::store::{Control, Disk, Store};

/// Keys that are written at once.
const AT_ONCE: usize = 65_536;

/// The set that holds where main has its `own` record: that of the newest commit that is known to
/// have happened, because an older main that came back, from a backup or from another program's
/// memory, does not undo a removal. Where neither is there, `speaks` has to do.
pub(crate) fn in_force<'a>(
    own: Option<&'a CommitRecord>,
    done: Option<&'a CommitRecord>,
    speaks: Option<&'a CommitRecord>,
) -> Option<&'a RemovedSet> {
    let newer = |done: &&CommitRecord| own.is_none_or(|own| own.generation < done.generation);
    let newest = done.filter(newer).or(own).or(speaks);
    newest.and_then(|record| record.removed.as_ref())
}

/// Reads a set; an error that says what to do where it is missing or is not what was written.
pub(crate) fn read(store: &Store, named: Option<&RemovedSet>) -> Result<Removed> {
    named.map_or_else(
        || Ok(Removed::default()),
        |named| read_in(&*store.disk, store.layout.root(), named),
    )
}

/// The same of a main in a folder.
pub(crate) fn read_in(disk: &dyn Disk, root: &Path, named: &RemovedSet) -> Result<Removed> {
    let path = root.join(&named.name);
    let wrong = |what: String| {
        Error::Refused(format!(
            "{} {what}: {MAIN} says that rows were removed, and which ones stands there alone. Bring the file \
             back from a copy of the store, or give up the removal with evaltop consolidate --accept-main",
            path.display()
        ))
    };
    let file = match ParquetFile::open(disk, &path) {
        Ok(file) => file,
        Err(OpenError::Io(error)) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io("read", path)(error));
        }
        Err(OpenError::Io(_)) => return Err(wrong("is missing".to_owned())),
        Err(error) => return Err(wrong(format!("can't be read ({})", error.at(&path)))),
    };
    let mut removed = Removed::default();
    for batch in file.batches(None, 0)? {
        take(&batch?, &mut removed).ok_or_else(|| wrong("has other columns".to_owned()))?;
    }
    if removed.len() as u64 != named.rows {
        return Err(wrong(format!(
            "has {} keys, and the commit wrote {}",
            removed.len(),
            named.rows
        )));
    }
    Ok(removed)
}

fn take(batch: &RecordBatch, removed: &mut Removed) -> Option<()> {
    let wide = |name| batch.column_by_name(name)?.as_fixed_size_binary_opt();
    let time = |name| {
        let column = batch.column_by_name(name)?;
        column.as_primitive_opt::<TimestampMicrosecondType>()
    };
    let number = |array: &arrow::array::FixedSizeBinaryArray, row: usize| {
        Some(u128::from_le_bytes(array.value(row).try_into().ok()?))
    };
    let (keys, stays, hashes) = (wide("key")?, wide("stays")?, wide("hash")?);
    let (timestamps, recorded) = (time("timestamp")?, time("recorded_at")?);
    let values = batch.column_by_name("values")?;
    let values = values.as_primitive_opt::<UInt32Type>()?;
    for row in 0..batch.num_rows() {
        let at = |array: &TimestampMicrosecondArray| array.is_valid(row).then(|| array.value(row));
        let stays = if stays.is_valid(row) {
            Some(number(stays, row)?)
        } else {
            None
        };
        let rank = Rank {
            timestamp: at(timestamps),
            current: true,
            recorded_at: at(recorded),
            values: values.value(row),
            hash: number(hashes, row)?,
        };
        removed.add(number(keys, row)?, Removal { stays, rank });
    }
    Some(())
}

/// Calls `take` with key and rank of the records of a file whose keys are wanted.
pub(crate) fn ranks(
    file: &ParquetFile,
    zone: &TimeZone,
    wanted: &HashSet<u128>,
    control: &Control,
    take: impl FnMut(u128, Rank),
) -> Result<()> {
    each(file, zone, Some(wanted), control, take)
}

fn each(
    file: &ParquetFile,
    zone: &TimeZone,
    wanted: Option<&HashSet<u128>>,
    control: &Control,
    mut take: impl FnMut(u128, Rank),
) -> Result<()> {
    let is_wanted = |key: &u128| wanted.is_none_or(|wanted| wanted.contains(key));
    let mut union = Union::new();
    union.add(MAIN, &*columns_of_records(file, 0)?)?;
    let schema = union.finish();
    let batches = if wanted.is_some() && shape(file.schema()) == Shape::Records {
        let search = Search::new(file, &Filter::default());
        let pick = |at, key| is_wanted(&key).then_some(at);
        file.rows_at(None, &search.keys(&schema, zone, control, pick)?)?
    } else {
        file.batches(None, 0)?
    };
    for batch in batches {
        control.check()?;
        let batch = records(&batch?, &schema, zone)?;
        let mut keys = Keys::of(&batch, zone)?;
        for row in 0..batch.num_rows() {
            if let Some(key) = keys.key(row).filter(is_wanted) {
                take(key, keys.rank(&batch, row)?);
            }
        }
    }
    Ok(())
}

/// What is removed when main is taken as it is: all that lies in folders and that main lacks.
pub(crate) fn accepting(
    store: &Store,
    base: &Base,
    files: &Files,
    control: &Control,
) -> Result<Removed> {
    let zone = base.zone(store);
    let mut best: HashMap<u128, Rank> = HashMap::new();
    let moved = |increment: &&Increment| folder_of(&increment.name).is_some();
    for increment in files.increments.iter().filter(moved) {
        let file = increment.open(store)?;
        each(&file, &zone, None, control, |key, rank| {
            let known = best.entry(key).or_insert(rank);
            *known = rank.max(*known);
        })?;
    }
    let mut own = HashMap::new();
    if let Some(main) = &base.main {
        let wanted = best.keys().copied().collect();
        ranks(main, &zone, &wanted, control, |key, rank| {
            own.insert(key, rank);
        })?;
    }
    let mut removed = base.removed.clone();
    for (key, rank) in best {
        let stays = own.get(&key).map(|own| own.hash);
        removed.add(key, Removal { stays, rank });
    }
    Ok(removed)
}

/// Writes a set, durably; `None` where it is empty. The same set is the same file.
pub(crate) fn write(store: &Store, removed: &Removed) -> Result<Option<RemovedSet>> {
    if removed.is_empty() {
        return Ok(None);
    }
    let root = store.layout.root();
    let temporary = format!(".removed_{}.tmp", uuid::Uuid::now_v7().simple());
    let path = root.join(&temporary);
    let clean = || drop(store.disk.remove(root, &[&temporary]));
    let write = || -> Result<()> {
        let entries = removed.sorted();
        let mut batches = entries.chunks(AT_ONCE).map(batch);
        let mut next = || batches.next().transpose().map_err(refused);
        let first = next()?;
        let Some(first) = first else { return Ok(()) };
        let file = store
            .disk
            .create(&path)
            .map_err(Error::io("create", &path))?;
        let mut table = TableWriter::new(file, &path, &first.schema())?;
        table.write(&first)?;
        while let Some(batch) = next()? {
            table.write(&batch)?;
        }
        table.finish().map(drop)
    };
    write().inspect_err(|_| clean())?;
    let name = named_by_hash::publish(store, &temporary, removed_name)?;
    let rows = removed.len() as u64;
    Ok(Some(RemovedSet { name, rows }))
}

fn batch(entries: &[(u128, Removal)]) -> std::result::Result<RecordBatch, ArrowError> {
    let wide = |values: &mut dyn Iterator<Item = Option<u128>>| -> std::result::Result<ArrayRef, ArrowError> {
        let mut built = FixedSizeBinaryBuilder::with_capacity(entries.len(), 16);
        for value in values {
            match value {
                Some(value) => built.append_value(value.to_le_bytes())?,
                None => built.append_null(),
            }
        }
        Ok(Arc::new(built.finish()))
    };
    let time = |of: fn(&Rank) -> Option<i64>| -> ArrayRef {
        let values = entries.iter().map(|(_, removal)| of(&removal.rank));
        Arc::new(
            values
                .collect::<TimestampMicrosecondArray>()
                .with_timezone("UTC"),
        )
    };
    let values = entries.iter().map(|(_, removal)| removal.rank.values);
    let columns: [(&str, ArrayRef, bool); 6] = [
        (
            "key",
            wide(&mut entries.iter().map(|(key, _)| Some(*key)))?,
            false,
        ),
        (
            "stays",
            wide(&mut entries.iter().map(|(_, removal)| removal.stays))?,
            true,
        ),
        ("timestamp", time(|rank| rank.timestamp), true),
        ("recorded_at", time(|rank| rank.recorded_at), true),
        ("values", Arc::new(values.collect::<UInt32Array>()), false),
        (
            "hash",
            wide(&mut entries.iter().map(|(_, removal)| Some(removal.rank.hash)))?,
            false,
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns)
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
fn refused(error: ArrowError) -> Error {
    Error::Refused(format!("a removed set can't be put together: {error}"))
}
