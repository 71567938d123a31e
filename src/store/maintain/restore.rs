//! Restore: a backup becomes main again, as a new commit on top of the current one.
//!
//! Promises: rows that the store has and the backup lacks are kept, unless the caller
//! says otherwise; of a test that both have, the newest attempt counts, as everywhere. What was
//! removed on purpose and the backup has counts again. An undo brings
//! back what the last operation replaced: its folder is pending again, so that every row counts
//! as before. The main that is replaced becomes a backup itself,
//! or goes into quarantine when it can't be read, so that a restore can be undone too.

use std::path::PathBuf;

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::show_counted;
use crate::store::aggregate::Digest;
use crate::store::commit::base::{Base, refuse_link};
use crate::store::commit::external_main;
use crate::store::commit::external_main::Losers;
use crate::store::commit::fence::Fence;
use crate::store::commit::merge::{Keys, Merged, complete, filtered, records};
use crate::store::commit::pending_files::columns_of_records;
use crate::store::commit::removed;
use crate::store::commit::summaries;
use crate::store::commit::summaries::Moved;
use crate::store::commit::transaction::Transaction;
use crate::store::commit::{derived_files, recover};
use crate::store::disk::lock::StoreLock;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::{Ancestor, CommitRecord, Summaries};
use crate::store::format::layout::MAIN;
use crate::store::format::schema::Union;
use crate::store::parquet::ParquetFile;
use crate::store::parquet::filter::Filter;
use crate::store::parquet::table::TableWriter;
use crate::store::read::folders;
use crate::store::read::query::{self, Selection};
use crate::store::resolve::{Removal, Removed};
use crate::store::{Control, Store};

mod rows;
mod source;

use rows::{Held, Newer};

/// What is restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The backup: a path, or a name inside `backups/`. `None` undoes the last operation.
    pub from: Option<PathBuf>,
    /// Remove what the store has and the backup lacks, pending rows too.
    pub exactly: bool,
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
    let restore = Restore::open(store, options, control)?;
    let (held, _) = restore.held()?;
    let (removed, dropped) = restore.removed(&held)?;
    let (held, found) = Newer::count(&restore, held)?;
    Ok(restore.outcome(&held, &found, (&removed, dropped)))
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
    let ahead = Fence::ahead(store, control)?;
    let restore = Restore::open(store, options, control)?;
    let fence = match ahead {
        Some(fence) => fence,
        None => Fence::take(store, control)?,
    };
    let mut transaction = Transaction::begin(store, &restore.base, fence, now);
    let (mut done, tallies) = restore.commit(&mut transaction)?;
    let record = &transaction.record;
    let source = derived_files::Source {
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
    if let Err(error) = derived_files::write(store, &source) {
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
    /// Whether rows that the backup lacks are kept.
    keep: bool,
    /// Whether the last operation is undone.
    undo: bool,
    schema: SchemaRef,
    zone: TimeZone,
    /// What is removed on purpose now.
    removed: Removed,
}

impl<'a> Restore<'a> {
    fn open(store: &'a Store, options: &Options, control: &'a Control) -> Result<Self> {
        refuse_link(store)?;
        let (base, unreadable) = Base::open_any(store)?;
        let from = match &options.from {
            Some(named) => source::named(store, named),
            None => source::last(store, &base)?,
        };
        let (keep, undo) = (!options.exactly, options.from.is_none());
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
        let namer = base.namer(store);
        let identified = backup.is_ours() && own.as_ref().is_some_and(CommitRecord::identifies);
        let backup = if identified {
            backup
        } else {
            namer.main(&backup)
        };
        let mut union = Union::new();
        union.add(
            &from.display().to_string(),
            &*columns_of_records(&backup, 0)?,
        )?;
        if let Some(main) = base.main.as_ref().filter(|_| keep) {
            union.add(MAIN, &*columns_of_records(main, 0)?)?;
        }
        let (schema, zone) = (union.finish(), base.zone(store));
        // What an undo brings back is the set of that main. A set that is missing is not forgotten.
        let removed = match own.as_ref().filter(|_| undo && backup.is_ours()) {
            Some(own) => own.removed.as_ref(),
            None => base.in_force.as_ref(),
        };
        let removed = removed::read(store, removed)?;
        Ok(Self {
            store,
            control,
            base,
            unreadable,
            from,
            backup,
            own,
            keep,
            undo,
            schema,
            zone,
            removed,
        })
    }

    /// The rows of the backup, and which of them another one of it replaces.
    fn held(&self) -> Result<(Held, Losers)> {
        // Other code may keep the record in what it writes.
        let lost = if self.own.is_some() && self.backup.is_ours() {
            Losers::default()
        } else {
            external_main::losers(
                &self.backup,
                &Filter::default(),
                &self.schema,
                &self.zone,
                &Removed::default(),
                self.control,
            )?
        };
        let mut held = Held::default();
        self.each(&lost, |batch| held.add(batch, &self.zone))?;
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

    fn commit(&self, transaction: &mut Transaction<'_>) -> Result<(Restored, Digest)> {
        let temporary = transaction.temporary().to_path_buf();
        let file = transaction.create()?;
        let table = TableWriter::new(file, &temporary, &self.schema)?;
        let mut merged = Merged::new(table, &self.schema, transaction.record.created);
        let (held, lost) = self.held()?;
        let (removed, dropped) = self.removed(&held)?;
        let (held, found) = Newer::count(self, held)?;
        let mut done = self.outcome(&held, &found, (&removed, dropped));
        self.each(&lost, |batch| {
            let keys = Keys::of(batch, &self.zone)?;
            let beaten = |key: Option<u128>| key.is_some_and(|key| found.beaten.contains(&key));
            let stays = (0..batch.num_rows()).map(|row| !beaten(keys.key(row)));
            merged.old(&filtered(batch, stays.collect())?)
        })?;
        if self.keep && !self.waits() {
            for batch in Newer::new(self, held)? {
                merged.new_rows(batch?)?;
            }
        }
        let (table, tallies) = merged.finish()?;
        let record = &mut transaction.record;
        record.rows = tallies.records;
        if self.waits() {
            // Attempts that had replaced others wait again, and will do so once more.
            record.superseded = record.superseded.saturating_sub(found.attempts) + found.older;
        } else {
            record.superseded += lost.superseded;
            record.repeated += lost.repeated;
        }
        if self.keep {
            record.superseded += found.superseded;
            record.repeated += found.repeated;
        }
        let contained = self.contained();
        let consumed = contained.map_or(&[][..], |record| &record.consumed).iter();
        let before = contained.map_or(&[][..], |record| &record.format1).iter();
        (record.format1, record.consumed) = consumed
            .chain(before)
            .cloned()
            .partition(|entry| entry.legacy);
        record.lineage = self.lineage(record)?;
        record.summaries = self.summaries()?;
        record.removed = removed::write(self.store, &removed)?;
        if self.waits() {
            transaction.leave_pending();
        }
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

    /// What is removed on purpose afterwards, and how many rows that count now are among it: where
    /// exactly the backup is to count, all that it lacks, wherever it comes from. What the backup has
    /// is no longer removed.
    fn removed(&self, held: &Held) -> Result<(Removed, u64)> {
        let (mut removed, mut dropped) = (self.removed.clone(), 0);
        if self.undo {
            return Ok((removed, 0));
        }
        for (key, rank) in held.ranks() {
            if self.removed.removes(key, &rank) {
                let stays = Some(rank.hash);
                removed.add(key, Removal { stays, rank });
            }
        }
        // Of a main that can't be read nothing is known.
        if !self.keep && self.unreadable.is_none() {
            for batch in query::rows(self.store, &Selection::default(), self.control)? {
                self.control.check()?;
                let batch = batch?;
                let mut keys = Keys::of(&batch, &self.zone)?;
                for row in 0..batch.num_rows() {
                    let rank = keys.rank(&batch, row)?;
                    let Some(key) = keys.key(row) else { continue };
                    let own = held.rank(key);
                    // What the backup has a newer attempt of loses anyway.
                    if own.is_none_or(|own| own.hash != rank.hash && *own < rank) {
                        let stays = own.map(|own| own.hash);
                        removed.add(key, Removal { stays, rank });
                        dropped += 1;
                    }
                }
            }
        }
        Ok((removed, dropped))
    }

    /// The record of the main that says which files and folders the new one contains: that of the
    /// main of which all rows stay.
    fn contained(&self) -> Option<&CommitRecord> {
        if self.waits() || self.base.main.is_none() {
            self.own.as_ref().filter(|_| self.backup.is_ours())
        } else {
            self.base.record.as_ref().filter(|_| !self.base.foreign)
        }
    }

    /// The commits that the new main contains. What an undone commit took in is in its folder, and
    /// pending from here on.
    fn lineage(&self, new: &CommitRecord) -> Result<Vec<Ancestor>> {
        let merged = |id: String| Ancestor {
            id,
            generation: new.generation,
            at: new.created,
        };
        let mut lineage = Vec::new();
        for folder in folders::list(self.store)? {
            let id = folder.commit_id;
            let backup = self.own.as_ref().filter(|_| self.backup.is_ours());
            let old = [self.contained(), backup];
            let old = old
                .into_iter()
                .flatten()
                .find(|record| record.has_merged(&id));
            let entry = old.and_then(|old| old.lineage.iter().find(|merged| merged.id == id));
            match entry {
                Some(entry) => lineage.push(entry.clone()),
                // What the caller wants gone must not come back.
                None if old.is_some() || !self.keep => lineage.push(merged(id)),
                None => {}
            }
        }
        lineage.push(merged(new.commit_id.clone()));
        Ok(lineage)
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

    fn outcome(
        &self,
        held: &Held,
        found: &rows::Found,
        (removed, rows_dropped): (&Removed, u64),
    ) -> Restored {
        let (kept, waiting) = match (self.keep, self.waits()) {
            (false, _) => (0, 0),
            (true, false) => (found.newer, 0),
            (true, true) => (0, found.newer),
        };
        let rows_restored = held.rows - found.beaten.len() as u64;
        let mut notes = Vec::new();
        let again = held
            .ranks()
            .filter(|(key, rank)| self.removed.removes(*key, rank) && !removed.removes(*key, rank))
            .count() as u64;
        if again > 0 {
            notes.push(format!(
                "{} that had been removed on purpose: the backup has {} again",
                show_counted(again, "row"),
                if again == 1 { "it" } else { "them" }
            ));
        }
        Restored {
            from: self.from.clone(),
            rows_restored,
            rows_kept: kept,
            rows_waiting: waiting,
            rows_dropped,
            rows_total: rows_restored + kept,
            unreadable: self.unreadable.clone(),
            generation: self.base.generation + 1,
            notes,
            ..Restored::default()
        }
    }
}
