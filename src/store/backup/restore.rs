//! Restore: a backup becomes main again, as a new commit on top of the current one.
//!
//! Promises: rows that main has and the backup lacks are kept, unless the caller says
//! otherwise; of a test that both have, the backup's attempt counts; the main that is
//! replaced becomes a backup itself, or goes into quarantine when it can't be read.

use std::collections::{HashMap, HashSet};
use std::io::Write;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::store::commit::CommitRecord;
use crate::store::commit::base::Base;
use crate::store::commit::transaction::Transaction;
use crate::store::consolidate::foreign::{self, Losers};
use crate::store::consolidate::merge::{Keys, Merged, Tallies, complete, filtered, records};
use crate::store::consolidate::{derived, inputs, recover};
use crate::store::error::{Error, Result};
use crate::store::layout::MAIN;
use crate::store::lock::StoreLock;
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::Union;
use crate::store::table::TableWriter;
use crate::store::{Control, Store};

/// What is restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The backup: a path, or a name inside `backups/`.
    pub from: PathBuf,
    /// Drop the rows that main has and the backup lacks.
    pub discard_newer: bool,
}

/// What restoring would do, or did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub from: PathBuf,
    /// Rows that come from it.
    pub rows_restored: u64,
    /// Rows of main that it lacks and that are kept.
    pub rows_kept: u64,
    /// Rows of main that go.
    pub rows_dropped: u64,
    /// Rows of the new main.
    pub rows_total: u64,
    /// Why the current main can't be read, so that nothing of it is kept.
    pub unreadable: Option<String>,
    /// Number of the commit; of a plan, the number that it would have.
    pub generation: u64,
    /// Where the replaced main is now.
    pub replaced: Option<PathBuf>,
    /// What else people should know.
    pub notes: Vec<String>,
}

/// Says what restoring would do. Changes nothing.
pub fn plan(store: &Store, options: &Options, control: &Control) -> Result<Restored> {
    store.check()?;
    let restore = Restore::open(store, options, control)?;
    restore.merge(None).map(|(done, _)| done)
}

/// Restores.
pub fn run(store: &Store, options: &Options, now: Timestamp, control: &Control) -> Result<Restored> {
    store.check()?;
    let _lock = StoreLock::take(store, "restore")?;
    recover::finish(store, now)?;
    let restore = Restore::open(store, options, control)?;
    let mut transaction = Transaction::begin(store, &restore.base, now);
    let (mut done, tallies) = match restore.commit(&mut transaction) {
        Ok(done) => done,
        Err(error) => {
            transaction.discard();
            return Err(error);
        }
    };
    let record = &transaction.record;
    let source = derived::Source {
        generation: record.generation,
        created: record.created,
        rows: record.rows,
        cells: tallies.finish(),
        schema: restore.schema.clone(),
        summaries: record.summaries.clone(),
    };
    if let Err(error) = derived::write(store, &source) {
        done.notes.push(format!("the derived files are out of date: {error}"));
    }
    Ok(done)
}

struct Restore<'a> {
    store: &'a Store,
    control: &'a Control,
    base: Base,
    unreadable: Option<String>,
    from: PathBuf,
    backup: ParquetFile,
    /// Whether rows that the backup lacks are kept.
    keep: bool,
    schema: SchemaRef,
    zone: TimeZone,
}

/// The rows of the backup, as far as needed to find them again.
#[derive(Debug, Default)]
struct Held {
    keys: HashSet<u128>,
    /// Hashes of the rows without a key.
    hashes: HashMap<u64, u64>,
}

impl Held {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut keys = Keys::of(batch)?;
        for row in 0..batch.num_rows() {
            match keys.key(row) {
                Some(key) => drop(self.keys.insert(key)),
                None => *self.hashes.entry(keys.rank(batch, row)?.1).or_default() += 1,
            }
        }
        Ok(())
    }

    /// For each row whether the backup lacks it.
    fn lacks(&mut self, batch: &RecordBatch) -> Result<Vec<bool>> {
        let mut keys = Keys::of(batch)?;
        let mut lacks = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            lacks.push(match keys.key(row) {
                Some(key) => !self.keys.contains(&key),
                None => match self.hashes.get_mut(&keys.rank(batch, row)?.1) {
                    Some(left) if *left > 0 => {
                        *left -= 1;
                        false
                    }
                    _ => true,
                },
            });
        }
        Ok(lacks)
    }
}

impl<'a> Restore<'a> {
    fn open(store: &'a Store, options: &Options, control: &'a Control) -> Result<Self> {
        let (base, unreadable) = Base::open_any(store)?;
        let from = find(store, &options.from);
        let backup = ParquetFile::open(&*store.disk, &from).map_err(|error| error.at(&from))?;
        if base.main.as_ref().is_some_and(|main| main.stat().inode == backup.stat().inode) {
            return Err(Error::Refused(format!("{} is main itself: name a backup", from.display())));
        }
        for file in base.main.iter().chain([&backup]) {
            if inputs::holds(file, 0)? != inputs::Holds::Records {
                return Err(Error::Refused(format!(
                    "{} holds summary rows, which restore does not merge: stop all programs that use the store \
                     and copy the backup over {MAIN} by hand",
                    file.path().display()
                )));
            }
        }
        let mut union = Union::new();
        union.add(&from.display().to_string(), backup.schema())?;
        if let Some(main) = base.main.as_ref().filter(|_| !options.discard_newer) {
            union.add(MAIN, main.schema())?;
        }
        let (schema, zone) = (union.finish(), base.zone(store));
        let keep = !options.discard_newer;
        Ok(Self { store, control, base, unreadable, from, backup, keep, schema, zone })
    }

    fn commit(&self, transaction: &mut Transaction<'_>) -> Result<(Restored, Tallies)> {
        let temporary = transaction.temporary().to_path_buf();
        let file = self.store.disk.create(&temporary).map_err(Error::io("create", &temporary))?;
        let mut merged = Merged::new(TableWriter::new(file, &temporary, &self.schema)?, self.schema.clone());
        let (mut done, lost) = self.merge(Some(&mut merged))?;
        let (table, tallies) = merged.finish()?;
        transaction.record.rows = tallies.rows;
        transaction.record.superseded += lost.superseded;
        transaction.record.repeated += lost.repeated;
        transaction.record.consumed = match &self.base.main {
            Some(_) => self.base.consumed().to_vec(),
            // Only what the backup itself contains is consumed; later files that are
            // still there go in again.
            None => CommitRecord::of(&self.backup)?.map_or_else(Vec::new, |record| record.consumed),
        };
        transaction.seal(table)?;
        if let Some(reason) = &self.unreadable {
            done.replaced = Some(quarantine(self.store, &transaction.record.commit_id, reason)?);
        }
        let committed = transaction.commit(true, self.control)?;
        if let Some(name) = committed.backup {
            done.replaced = Some(self.store.layout.backups().join(name));
        }
        done.notes.extend(committed.notes);
        Ok((done, tallies))
    }

    /// Reads both files, and writes where there is something to write to.
    fn merge(&self, mut into: Option<&mut Merged<'_>>) -> Result<(Restored, Losers)> {
        let own = CommitRecord::of(&self.backup)?;
        let lost = match own {
            Some(_) => Losers::default(),
            None => foreign::losers(&self.backup, &self.schema, &self.zone, self.control)?,
        };
        let mut done = Restored {
            from: self.from.clone(),
            generation: self.base.generation + 1,
            unreadable: self.unreadable.clone(),
            ..Restored::default()
        };
        let main = self.base.main.as_ref();
        let total = self.backup.rows() + main.map_or(0, ParquetFile::rows);
        let mut held = Held::default();
        let mut position = 0;
        for batch in self.backup.batches(None, 0)? {
            self.control.check()?;
            self.control.progress("restoring", position, total);
            let batch = records(&batch?, &self.schema, &self.zone)?;
            let rows = position..position + batch.num_rows() as u64;
            position = rows.end;
            let batch = filtered(&batch, rows.map(|at| !lost.rows.contains(&at)).collect())?;
            held.add(&batch)?;
            done.rows_restored += batch.num_rows() as u64;
            if let Some(into) = &mut into {
                into.old(&batch)?;
            }
        }
        complete(&self.backup, position)?;
        let mut read = 0;
        for batch in main.map(|main| main.batches(None, 0)).transpose()?.into_iter().flatten() {
            self.control.check()?;
            self.control.progress("restoring", position + read, total);
            let batch = records(&batch?, &self.schema, &self.zone)?;
            read += batch.num_rows() as u64;
            let newer = filtered(&batch, held.lacks(&batch)?)?;
            if !self.keep {
                done.rows_dropped += newer.num_rows() as u64;
                continue;
            }
            done.rows_kept += newer.num_rows() as u64;
            if let Some(into) = &mut into {
                into.new_rows(newer)?;
            }
        }
        if let Some(main) = main {
            complete(main, read)?;
        }
        done.rows_total = done.rows_restored + done.rows_kept;
        Ok((done, lost))
    }
}

/// A path, or a name inside `backups/`.
fn find(store: &Store, named: &Path) -> PathBuf {
    let inside = store.layout.backups().join(named);
    if store.disk.stat(named).is_err() && store.disk.stat(&inside).is_ok() {
        inside
    } else {
        named.to_path_buf()
    }
}

/// Keeps a main that can't be read: a second name in `quarantine/`, with the reason.
fn quarantine(store: &Store, id: &str, reason: &str) -> Result<PathBuf> {
    let folder = store.layout.quarantine();
    store.disk.create_folder(&folder).map_err(Error::io("create", &folder))?;
    let main = store.layout.main();
    let path = folder.join(format!("test_results_{id}.parquet"));
    let why = folder.join(format!("test_results_{id}.parquet.reason.txt"));
    let kept = store.disk.link(&main, &path).or_else(|_| store.disk.copy(&main, &path));
    kept.map_err(Error::io("keep as", &path))?;
    let written = store.disk.create(&why).and_then(|mut file| {
        file.write_all(format!("{reason}\n").as_bytes())?;
        file.sync()?;
        store.disk.sync_folder(&folder)
    });
    written.map_err(Error::io("write", why))?;
    Ok(path)
}
