//! Restore: a backup becomes main again, as a new commit on top of the current one.
//!
//! Promises: rows that the store has and the backup lacks are kept, unless the caller
//! says otherwise; of a test that both have, the backup's attempt counts. An undo brings
//! back what the last operation replaced: what that had put into main waits again, so
//! that every row counts as before. The main that is replaced becomes a backup itself,
//! or goes into quarantine when it can't be read, so that a restore can be undone too.

use std::io::ErrorKind;
use std::path::PathBuf;

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::store::commit::base::Base;
use crate::store::commit::transaction::Transaction;
use crate::store::commit::{CommitRecord, Consumed, Summaries, log};
use crate::store::consolidate::foreign::{self, Losers};
use crate::store::consolidate::inputs::columns_of_records;
use crate::store::consolidate::merge::{Merged, complete, filtered, records};
use crate::store::consolidate::{self, derived, recover};
use crate::store::digest::Digest;
use crate::store::disk::{self, Entry};
use crate::store::error::{Error, Result};
use crate::store::filter::Filter;
use crate::store::layout::{MAIN, is_staged};
use crate::store::lock::StoreLock;
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::Union;
use crate::store::snapshot::{self, Increment};
use crate::store::summaries::{self, Moved};
use crate::store::table::TableWriter;
use crate::store::{Control, Store};

mod rows;
mod source;
mod staged;

use rows::{Held, Newer};

/// What is restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The backup: a path, or a name inside `backups/`. `None` undoes the last operation.
    pub from: Option<PathBuf>,
    /// Drop the rows that the store has and the backup lacks.
    pub discard_newer: bool,
}

/// What restoring would do, or did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub from: PathBuf,
    /// Rows that come from it.
    pub rows_restored: u64,
    /// Rows of main that it lacks and that stay in main.
    pub rows_kept: u64,
    /// Rows of main that it lacks and that wait again.
    pub rows_waiting: u64,
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
    let restore = Restore::open(store, options, Timestamp::now(), control)?;
    let (held, _) = restore.held()?;
    let rows = held.rows;
    let mut newer = Newer::new(&restore, held)?;
    for batch in &mut newer {
        batch?;
    }
    Ok(restore.told(rows, &newer.found))
}

/// Restores.
pub fn run(
    store: &Store,
    options: &Options,
    now: Timestamp,
    control: &Control,
) -> Result<Restored> {
    store.check()?;
    let _lock = StoreLock::take(store, "restore", control)?;
    recover::finish(store, now)?;
    let mut restore = Restore::open(store, options, now, control)?;
    let mut waiting = None;
    if restore.keep && restore.waits() {
        let (held, _) = restore.held()?;
        let mut newer = Newer::new(&restore, held)?;
        waiting = staged::write(&restore, &mut newer, now)?;
        let keyless = newer.found.keyless;
        if let Some(staged) = &waiting {
            if keyless > 0 {
                consolidate::with_consumed(
                    store,
                    &restore.base,
                    std::slice::from_ref(&staged.entry),
                    now,
                    control,
                )?;
                restore = restore.again(now)?;
            }
            staged::publish(&restore, staged)?;
        }
    }
    let waiting = waiting.map(|staged| staged.entry);
    let mut transaction = Transaction::begin(store, &restore.base, now);
    let (mut done, tallies) = match restore.commit(&mut transaction, waiting.as_ref()) {
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
        cells: tallies
            .cells()
            .map(|(cell, tally)| (cell.clone(), tally.clone()))
            .collect(),
        schema: restore.schema.clone(),
        summaries: record.summaries.clone(),
    };
    if let Err(error) = derived::write(store, &source) {
        done.notes
            .push(format!("the derived files are out of date: {error}"));
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
    /// What the backup's own record says.
    own: Option<CommitRecord>,
    /// Staged increments of an earlier undo: rows that had been in main before.
    staged: Vec<(Increment, ParquetFile)>,
    /// Whether rows that the backup lacks are kept.
    keep: bool,
    /// Whether the last operation is undone.
    undo: bool,
    schema: SchemaRef,
    zone: TimeZone,
}

impl<'a> Restore<'a> {
    fn open(
        store: &'a Store,
        options: &Options,
        now: Timestamp,
        control: &'a Control,
    ) -> Result<Self> {
        let (base, unreadable) = Base::open_any(store)?;
        let from = match &options.from {
            Some(named) => source::named(store, named),
            None => source::last(store, &base)?,
        };
        let kind = (!options.discard_newer, options.from.is_none());
        Self::of(store, base, unreadable, from, kind, now, control)
    }

    /// The same on the main that is there by now.
    fn again(self, now: Timestamp) -> Result<Self> {
        let (base, unreadable) = Base::open_any(self.store)?;
        Self::of(
            self.store,
            base,
            unreadable,
            self.from,
            (self.keep, self.undo),
            now,
            self.control,
        )
    }

    fn of(
        store: &'a Store,
        base: Base,
        unreadable: Option<String>,
        from: PathBuf,
        (keep, undo): (bool, bool),
        now: Timestamp,
        control: &'a Control,
    ) -> Result<Self> {
        let backup = ParquetFile::open(&*store.disk, &from).map_err(|error| error.at(&from))?;
        if base
            .main
            .as_ref()
            .is_some_and(|main| main.stat().inode == backup.stat().inode)
        {
            return Err(Error::Refused(format!(
                "{} is main itself: name a backup",
                from.display()
            )));
        }
        let own = CommitRecord::of(&backup)?;
        let staged = match base.main {
            Some(_) => staged_increments(store, now)?,
            None => staged_alone(store)?,
        };
        let mut union = Union::new();
        union.add(
            &from.display().to_string(),
            &*columns_of_records(&backup, 0)?,
        )?;
        if keep {
            if let Some(main) = &base.main {
                union.add(MAIN, &*columns_of_records(main, 0)?)?;
            }
            for (increment, file) in &staged {
                union.add(&increment.name, file.schema())?;
            }
        }
        let (schema, zone) = (union.finish(), base.zone(store));
        Ok(Self {
            store,
            control,
            base,
            unreadable,
            from,
            backup,
            own,
            staged,
            keep,
            undo,
            schema,
            zone,
        })
    }

    /// The rows of the backup, and which of them another one of it replaces.
    fn held(&self) -> Result<(Held, Losers)> {
        // Other code may keep the record in what it writes.
        let lost = if self.own.is_some() && self.backup.is_ours() {
            Losers::default()
        } else {
            foreign::losers(
                &self.backup,
                &Filter::default(),
                &self.schema,
                &self.zone,
                self.control,
            )?
        };
        let mut held = Held::default();
        self.each(&lost, |batch| held.add(batch))?;
        Ok((held, lost))
    }

    /// Calls `take` with the rows of the backup.
    fn each(
        &self,
        lost: &Losers,
        mut take: impl FnMut(&arrow::array::RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let (mut read, mut position) = (0, 0);
        for batch in self.backup.batches(None, 0)? {
            self.control.check()?;
            self.control.progress("restoring", read, self.backup.rows());
            let batch = batch?;
            read += batch.num_rows() as u64;
            let batch = records(&batch, &self.schema, &self.zone)?;
            let rows = position..position + batch.num_rows() as u64;
            position = rows.end;
            take(&filtered(
                &batch,
                rows.map(|at| !lost.rows.contains(&at)).collect(),
            )?)?;
        }
        complete(&self.backup, read)
    }

    fn commit(
        &self,
        transaction: &mut Transaction<'_>,
        waiting: Option<&Consumed>,
    ) -> Result<(Restored, Digest)> {
        let temporary = transaction.temporary().to_path_buf();
        let file = self
            .store
            .disk
            .create(&temporary)
            .map_err(Error::io("create", &temporary))?;
        let table = TableWriter::new(file, &temporary, &self.schema)?;
        let mut merged = Merged::new(table, &self.schema, transaction.record.created);
        let (held, lost) = self.held()?;
        self.each(&lost, |batch| merged.old(batch))?;
        let rows = held.rows;
        let mut newer = Newer::new(self, held)?;
        for batch in &mut newer {
            let batch = batch?;
            if self.keep && !self.waits() {
                merged.new_rows(batch)?;
            }
        }
        let mut done = self.told(rows, &newer.found);
        let (table, tallies) = merged.finish()?;
        let record = &mut transaction.record;
        record.rows = tallies.records;
        if self.waits() {
            // Attempts that had replaced others wait again, and will do so once more.
            record.superseded =
                record.superseded.saturating_sub(newer.found.attempts) + newer.found.older;
        } else {
            record.superseded += lost.superseded;
            record.repeated += lost.repeated;
        }
        if self.keep {
            record.superseded += newer.found.superseded;
            record.repeated += newer.found.repeated;
        }
        record.consumed = self.consumed(waiting, record.created)?;
        record.summaries = self.summaries()?;
        transaction.seal(table, &tallies)?;
        if let Some(reason) = &self.unreadable {
            done.replaced = Some(source::quarantine(
                self.store,
                &transaction.record.commit_id,
                reason,
            )?);
        }
        let committed = transaction.commit(true, self.control)?;
        if let Some(name) = committed.backup {
            done.replaced = Some(self.store.layout.backups().join(name));
        }
        done.generation = transaction.record.generation;
        done.notes.extend(committed.notes);
        Ok((done, tallies))
    }

    /// What the new main contains, or knows to be gone.
    fn consumed(&self, waiting: Option<&Consumed>, now: Timestamp) -> Result<Vec<Consumed>> {
        let inherited = if self.base.main.is_none() && self.own.is_none() {
            log::speaks_for(self.store, &self.backup)?
        } else {
            None
        };
        let contained = if self.base.main.is_none() {
            // Only what the backup itself contains is consumed; later files that are
            // still there go in again.
            self.own
                .as_ref()
                .or(inherited.as_ref())
                .map_or(&[][..], |record| &record.consumed)
        } else {
            self.base.consumed()
        };
        let staged = |entry: &Consumed| {
            self.staged
                .iter()
                .any(|(increment, _)| increment.name == entry.name)
        };
        let waits = |entry: &Consumed| waiting.is_some_and(|waiting| waiting.name == entry.name);
        let stays = |entry: &&Consumed| !waits(entry) && !staged(entry);
        let mut consumed: Vec<Consumed> = contained.iter().filter(stays).cloned().collect();
        for (increment, _) in &self.staged {
            let path = increment.path(self.store);
            consumed.push(Consumed {
                name: increment.name.clone(),
                bytes: increment.stat.bytes,
                rows: increment.rows,
                xxh3: disk::hash(&*self.store.disk, &path).map_err(Error::io("read", path))?,
                legacy: false,
                at: now,
                gone: None,
            });
        }
        Ok(consumed)
    }

    /// The summary rows that count afterwards. Those that came out of the store's own
    /// files stay; what was imported stays where the backup has nothing of its source,
    /// and an undo takes it away.
    fn summaries(&self) -> Result<Vec<Summaries>> {
        let old = self
            .own
            .as_ref()
            .map_or(&[][..], |record| &record.summaries);
        let mut moved = Moved::default();
        moved.take(MAIN, &self.backup, 0, self.control)?;
        if self.keep {
            let named = self
                .base
                .record
                .as_ref()
                .map_or(&[][..], |record| &record.summaries);
            if named != old {
                let held = summaries::read(&summaries::open(self.store, old)?, self.control)?;
                let stays = |source: &str| {
                    summaries::is_of_store(source)
                        || (!self.undo && held.of_source(source).is_empty())
                };
                moved.take_sources(&summaries::open(self.store, named)?, stays, self.control)?;
            }
            if let Some(main) = &self.base.main {
                moved.take(MAIN, main, 0, self.control)?;
            }
        }
        moved.write(self.store, old, self.control)
    }

    /// Whether what the backup lacks waits again. Where main can't be read nothing has put these
    /// rows into it.
    fn waits(&self) -> bool {
        self.undo && self.base.main.is_some()
    }

    fn told(&self, rows_restored: u64, found: &rows::Found) -> Restored {
        let (kept, waiting, dropped) = match (self.keep, self.waits()) {
            (false, _) => (0, 0, found.newer),
            (true, false) => (found.newer, 0, 0),
            (true, true) => (0, found.newer, 0),
        };
        Restored {
            from: self.from.clone(),
            rows_restored,
            rows_kept: kept,
            rows_waiting: waiting,
            rows_dropped: dropped,
            rows_total: rows_restored + kept,
            unreadable: self.unreadable.clone(),
            generation: self.base.generation + 1,
            ..Restored::default()
        }
    }
}

/// The staged increments that wait.
fn staged_increments(store: &Store, now: Timestamp) -> Result<Vec<(Increment, ParquetFile)>> {
    let waiting = snapshot::files(store, now)?.increments.into_iter();
    let staged = waiting.filter(|increment| is_staged(&increment.name));
    staged
        .map(|increment| increment.open(store).map(|file| (increment, file)))
        .collect()
}

/// All that are there, where no main says which of them it contains: rows that were in main.
fn staged_alone(store: &Store) -> Result<Vec<(Increment, ParquetFile)>> {
    let folder = store.layout.incremental();
    let entries = match store.disk.list(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io("read", &folder))?,
    };
    let staged = entries
        .into_iter()
        .filter(|entry| entry.stat.is_file && is_staged(&entry.name));
    let open = |entry: Entry| {
        // One that can't be read waits as before, and whoever reads it says so.
        let file = ParquetFile::open(&*store.disk, &folder.join(&entry.name)).ok()?;
        let (rows, schema) = (file.rows(), file.schema().clone());
        let Entry { name, stat } = entry;
        Some((
            Increment {
                name,
                stat,
                rows,
                skip: 0,
                schema,
                legacy: false,
            },
            file,
        ))
    };
    Ok(staged.filter_map(open).collect())
}
