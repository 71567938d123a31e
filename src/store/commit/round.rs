//! One commit: the rows of some increments into main.

use std::cell::Cell;
use std::collections::HashSet;

use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::choice::Choice;
use super::consolidate::Skipped;
use super::encode::{Step, Written, write};
use super::fence::Fence;
use super::folders;
use super::input::{self, Input, NewKey};
use super::old_main::{Old, Survey};
use super::pending_files::columns_of_records;
use super::splits::{Reading, of_inputs};
use crate::stats::Cells;
use crate::store::aggregate::key_index::{TestKeys, make};
use crate::store::commit::base::Base;
use crate::store::commit::summaries::{Moved, source_of};
use crate::store::commit::transaction::{Committed, Transaction};
use crate::store::disk::{self, Entry};
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::{
    Ancestor, CommitRecord, Consumed, FORMAT, RemovedSet, Summaries,
};
use crate::store::format::layout;
use crate::store::format::layout::{
    IncrementalName, MAIN, bare_name, classify, increment_name, journal_name,
};
use crate::store::format::row_kind::{Shape, shape};
use crate::store::format::schema::{Union, keyed};
use crate::store::parquet::table::TableWriter;
use crate::store::read::folders::{files, files_of_others, list as folders_of};
use crate::store::read::snapshot::Increment;
use crate::store::resolve::Removed;
use crate::store::{Control, Store, threads};

/// How long entries of format 1 about files of other code stay.
const FORMAT1: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Why a round ended without a commit.
pub(crate) enum Trouble {
    /// One file can't go in; the others may.
    Input(Skipped),
    /// The commit can't be made.
    Other(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

/// What a round committed.
pub(crate) struct Done {
    pub(crate) record: CommitRecord,
    pub(crate) cells: Cells,
    pub(crate) schema: SchemaRef,
    pub(crate) added: u64,
    pub(crate) superseded: u64,
    pub(crate) repeated: u64,
    /// Rows that were removed on purpose.
    pub(crate) removed: u64,
    /// Summary rows that moved into the file next to main.
    pub(crate) moved: u64,
    pub(crate) committed: Committed,
}

/// One commit on top of `base`.
pub(crate) struct Round<'a> {
    pub(crate) store: &'a Store,
    pub(crate) base: &'a Base,
    /// Files of summary rows that count next to main, before those of this commit.
    pub(crate) summaries: &'a [Summaries],
    /// What was removed on purpose, and the file that says so.
    pub(crate) removed: (&'a Removed, Option<&'a RemovedSet>),
    /// Whether this commit removes something, so that main may have rows of it.
    pub(crate) removes: bool,
    /// Row groups of main that are to be sorted.
    pub(crate) mixed: &'a [bool],
    /// Commits whose folders are settled with this one: the increments have all that is in them.
    pub(crate) settles: &'a [String],
    /// Files that main contains by entries of format 1.
    pub(crate) known: &'a [Entry],
    /// Where others may commit unseen, what keeps them away: taken before anything was listed.
    pub(crate) fence: Cell<Option<Fence>>,
    pub(crate) now: Timestamp,
    pub(crate) control: &'a Control,
}

/// An error that names one of the inputs is a reason to leave that one out.
fn blame(store: &Store, inputs: &[Input<'_>], error: Error) -> Trouble {
    let of = match &error {
        Error::SchemaConflict { file, .. } => inputs
            .iter()
            .find(|input| source_of(&input.increment.name) == *file),
        _ => None,
    };
    match of {
        Some(input) => input.blame(store, error),
        None => Trouble::Other(error),
    }
}

impl<'a> Round<'a> {
    /// A round that keeps the summary rows that count.
    pub(crate) fn on(
        store: &'a Store,
        base: &'a Base,
        now: Timestamp,
        control: &'a Control,
    ) -> Self {
        let summaries = base
            .record
            .as_ref()
            .map_or(&[][..], |record| &record.summaries);
        Self {
            store,
            base,
            summaries,
            removed: (&base.removed, base.in_force.as_ref()),
            removes: false,
            mixed: &[],
            settles: &[],
            known: &[],
            fence: Cell::new(None),
            now,
            control,
        }
    }
}

impl Round<'_> {
    /// Commits the increments; `progress` is rows done before, and rows in all.
    pub(crate) fn run(
        &self,
        increments: &[Increment],
        keep_backup: bool,
        progress: (u64, u64),
    ) -> Result<Done, Trouble> {
        let zone = self.base.zone(self.store);
        let (inputs, keys) = input::read(self.store, increments, &zone, self.control)?;
        let schema = self.unite(&inputs)?;
        let (moved, moved_rows) = self.summary_rows(&inputs)?;
        let fence = match self.fence.take() {
            Some(fence) => fence,
            None => Fence::take(self.store, self.control)?,
        };
        let mut transaction = Transaction::begin(self.store, self.base, fence, self.now);
        if moved.has(MAIN) {
            transaction.leave_main();
        }
        let written = moved
            .write(self.store, self.summaries, self.control)
            .map_err(|error| blame(self.store, &inputs, error));
        let written = written.and_then(|summaries| {
            transaction.record.summaries = summaries;
            let (removed, named) = self.removed;
            transaction.record.removed = named.filter(|_| !removed.is_empty()).cloned();
            self.write(&mut transaction, &inputs, keys, &schema, progress)
        });
        let (written, choice) = written?;
        let mut committed = transaction.commit(keep_backup, self.control)?;
        let index = self.test_keys();
        if let Err(error) = make(
            self.store,
            &transaction.record,
            &zone,
            index.as_ref(),
            written.made,
        ) {
            committed.notes.push(format!(
                "the index of test keys is missing, so the next run reads them: {error}"
            ));
        }
        Ok(Done {
            record: transaction.record,
            cells: written
                .tallies
                .cells()
                .map(|(cell, tally)| (cell.clone(), tally.clone()))
                .collect(),
            schema,
            added: choice.kept(),
            superseded: choice.superseded,
            repeated: choice.repeated,
            removed: choice.removed_rows,
            moved: moved_rows,
            committed,
        })
    }

    /// Main's own record; `None` where other code wrote it.
    fn own_record(&self) -> Option<&CommitRecord> {
        self.base.record.as_ref().filter(|_| !self.base.foreign)
    }

    /// The index of the main that the commit builds on.
    fn test_keys(&self) -> Option<TestKeys> {
        let main = self.base.main.as_ref()?;
        TestKeys::of(self.store, main, self.own_record()?)
    }

    fn unite(&self, inputs: &[Input<'_>]) -> Result<SchemaRef, Trouble> {
        let mut union = Union::new();
        if let Some(main) = &self.base.main {
            union.add(MAIN, &*columns_of_records(main, 0)?)?;
        }
        for input in inputs {
            let added = union.add(&input.increment.name, &input.columns);
            added.map_err(|error| input.blame(self.store, error))?;
        }
        Ok(union.finish())
    }

    /// The summary rows of main and of the inputs, which don't go into main.
    fn summary_rows(&self, inputs: &[Input<'_>]) -> Result<(Moved, u64), Trouble> {
        let mut moved = Moved::default();
        if let Some(main) = &self.base.main {
            moved.take(MAIN, main, 0, self.control)?;
        }
        let is_mixed = |input: &&Input<'_>| {
            !matches!(
                shape(&input.increment.schema),
                Shape::Records | Shape::Neither
            )
        };
        // What was taken in before is counted as moved no second time.
        let mut news = 0;
        for again in [false, true] {
            let mixed = inputs.iter().filter(is_mixed);
            for input in mixed.filter(|input| input.increment.again == again) {
                let Increment { name, skip, .. } = input.increment;
                let taken = input
                    .open(self.store)
                    .and_then(|file| moved.take(name, &file, *skip, self.control));
                taken.map_err(|error| input.blame(self.store, error))?;
            }
            if !again {
                news = moved.rows();
            }
        }
        Ok((moved, news))
    }

    /// Writes the new main and its record; says what that did.
    fn write(
        &self,
        transaction: &mut Transaction<'_>,
        inputs: &[Input<'_>],
        keys: Vec<NewKey>,
        schema: &SchemaRef,
        (before, total): (u64, u64),
    ) -> Result<(Written, Choice<'_>), Trouble> {
        let zone = self.base.zone(self.store);
        let (record, index) = (self.own_record(), self.test_keys());
        let old = self.base.main.as_ref().map(|main| {
            let (now, control) = (self.now, self.control);
            Old {
                main,
                test_keys: index.as_ref(),
                record,
                now,
                schema,
                zone: &zone,
                removed: self.removed.0,
                control,
            }
        });
        let (choice, survey) = self.choose(old.as_ref(), inputs, keys, schema, &zone)?;
        let temporary = transaction.temporary().to_path_buf();
        let file = transaction.create()?;
        let mut table = TableWriter::new(file, &temporary, schema)?;
        let stock = old.as_ref().map(Old::stock).transpose()?.flatten();
        let new = (
            choice.kept(),
            inputs.iter().map(|input| input.increment.stat.bytes).sum(),
        );
        let mut steps = match &old {
            Some(old) => old.steps(stock.as_ref(), &survey.lost, self.mixed, new)?,
            None => Vec::new(),
        };
        let mut jobs = of_inputs(inputs);
        // Rows at main's end are sorted together with the new ones.
        match steps.last_mut() {
            Some(Step::Rows {
                jobs: joined,
                sorted: true,
            }) => joined.append(&mut jobs),
            _ => steps.push(Step::Rows { jobs, sorted: true }),
        }
        let (store, control) = (self.store, self.control);
        let reading = Reading {
            store,
            target: keyed(schema),
            zone: &zone,
            choice: &choice,
            control,
        };
        let progress = |read: u64| control.progress("merging", (before + read).min(total), total);
        let now = self.now.as_microsecond();
        let written = write(
            &mut table,
            stock.as_ref(),
            steps,
            survey.tallies,
            &reading,
            now,
            &progress,
        )?;
        transaction.record.rows = written.tallies.records;
        transaction.record.superseded += choice.superseded;
        transaction.record.repeated += choice.repeated;
        if let Some(expected) = self
            .base
            .lacking
            .filter(|rows| *rows > written.tallies.records)
        {
            let rows = written.tallies.records;
            return Err(self.base.lacks(self.store, rows, expected).into());
        }
        transaction.record.consumed = self.consumed(inputs)?;
        transaction.record.lineage = self.lineage(&transaction.record)?;
        transaction.record.format1 = self.format1();
        transaction.seal(table, &written.tallies)?;
        Ok((written, choice))
    }

    /// Decides which of the new rows go in, and which of main's go. Ranks are only made of
    /// rows that may have other attempts: most have none.
    fn choose(
        &self,
        old: Option<&Old<'_>>,
        inputs: &[Input<'_>],
        mut keys: Vec<NewKey>,
        schema: &SchemaRef,
        zone: &TimeZone,
    ) -> Result<(Choice<'_>, Survey), Trouble> {
        threads::sort(threads::for_rows(keys.len() as u64), &mut keys, |key| *key);
        let mut distinct: Vec<u64> = keys.iter().map(|(short, _)| *short).collect();
        let (removed, _) = self.removed;
        if self.removes {
            distinct.extend(removed.shorts());
            distinct.sort_unstable();
        }
        distinct.dedup();
        let mut survey = old
            .map(|old| old.survey(&distinct))
            .transpose()?
            .unwrap_or_default();
        drop(distinct);
        let mut compared: Vec<u32> = Vec::new();
        for same in keys.chunk_by(|one, other| one.0 == other.0) {
            let alone =
                |(short, _): &NewKey| !survey.shorts.contains(short) && !removed.has(*short);
            if same.len() > 1 || !same.first().is_none_or(alone) {
                compared.extend(same.iter().map(|(_, at)| *at));
            }
        }
        drop(keys);
        compared.sort_unstable();
        let records = inputs
            .iter()
            .flat_map(|input| &input.parts)
            .map(|part| part.records)
            .sum::<u64>();
        let mut choice = Choice::for_rows(usize::try_from(records).unwrap_or(usize::MAX), removed);
        (choice.superseded, choice.repeated) = survey.losers;
        choice.removed_rows = survey.removed;
        let mut first = 0;
        for input in inputs {
            let records = input.parts.iter().map(|part| part.records).sum::<u64>();
            let (from, to) = (first, first + records);
            first = to;
            choice.know(from as usize..to as usize, input.increment.novelty());
            let own = compared.partition_point(|at| u64::from(*at) < from);
            let own: Vec<u64> = compared
                .iter()
                .skip(own)
                .map(|at| u64::from(*at))
                .take_while(|at| *at < to)
                .collect();
            if !own.is_empty() {
                self.control.check()?;
                let ranked = input.ranked(self.store, &own, from, schema, zone, |at, key, rank| {
                    choice.attempt(at as usize, key, rank);
                });
                ranked.map_err(|error| input.blame(self.store, error))?;
            }
        }
        if let Some(old) = old {
            old.decide(&mut choice, &mut survey)?;
        }
        Ok((choice, survey))
    }

    /// The entries of the new record: the files of this commit, and what main contains already and
    /// may still be there.
    fn consumed(&self, inputs: &[Input<'_>]) -> Result<Vec<Consumed>, Trouble> {
        let mut entries = Vec::with_capacity(inputs.len());
        for input in inputs {
            let increment = input.increment;
            // What was read is still what is there.
            let checked = increment.check(self.store);
            checked.map_err(|error| input.blame(self.store, error))?;
            entries.push(Consumed {
                name: increment.name.clone(),
                bytes: increment.stat.bytes,
                rows: increment.rows,
                xxh3: input.xxh3.clone(),
                legacy: false,
                modified: folders::modified(&increment.stat),
                at: self.now,
                journal: increment.journal.clone(),
            });
        }
        for entry in self.known {
            let path = self.store.layout.incremental().join(&entry.name);
            let hash = disk::hash(&*self.store.disk, &path).map_err(Error::io("read", path))?;
            entries.push(Consumed {
                name: entry.name.clone(),
                bytes: entry.stat.bytes,
                rows: 0,
                xxh3: hash,
                legacy: false,
                modified: folders::modified(&entry.stat),
                at: self.now,
                journal: None,
            });
        }
        let folder = self.store.layout.incremental();
        let listed = self.store.disk.list(&folder);
        let mut there = listed.map_err(Error::io("read", &folder))?;
        for folder in folders_of(self.store)? {
            let id = &folder.commit_id;
            let old = self.own_record();
            let settled =
                self.settles.contains(id) || old.is_some_and(|record| record.has_merged(id));
            // What is settled is asked for no more, unless other code may write on into it.
            let moved = if settled {
                files_of_others(self.store, &folder.name)?
            } else {
                files(self.store, &folder.name)?
            };
            for moved in moved {
                let name = bare_name(&moved.name).to_owned();
                there.extend(settled.then_some(Entry {
                    name,
                    ..moved.clone()
                }));
                there.push(moved);
            }
        }
        let names: HashSet<&str> = there.iter().map(|entry| entry.name.as_str()).collect();
        let versions: HashSet<(&str, u64)> = there
            .iter()
            .map(|entry| (entry.name.as_str(), entry.stat.bytes))
            .collect();
        let new: HashSet<(String, u64, i64)> = entries.iter().map(version).collect();
        let stays = |entry: &&Consumed| {
            let part = entry.journal.as_ref();
            let stem = part.map_or_else(|| layout::stem(&entry.name), |part| Some(&part.stem));
            let present = if classify(&entry.name) == IncrementalName::LegacyIncrement {
                versions.contains(&(entry.name.as_str(), entry.bytes))
            } else {
                names.contains(entry.name.as_str())
                    || stem.is_some_and(|stem| {
                        names.contains(increment_name(stem).as_str())
                            || names.contains(journal_name(stem).as_str())
                    })
            };
            present && !entry.legacy && !new.contains(&version(entry))
        };
        let before: Vec<Consumed> = self.base.consumed().iter().filter(stays).cloned().collect();
        if before.len() < self.base.consumed().len() {
            // A program that moved a file may not have lived to sync that: it must not come back
            // when its entry is gone.
            let synced = self.store.disk.sync_folder(&folder);
            synced.map_err(Error::io("sync", folder))?;
        }
        entries.extend(before);
        Ok(entries)
    }

    /// What is left of the entries of format 1 about files of other code.
    fn format1(&self) -> Vec<Consumed> {
        let Some(record) = &self.base.record else {
            return Vec::new();
        };
        let first = record.format < FORMAT;
        let entries = if first {
            &record.consumed
        } else {
            &record.format1
        };
        let entries = entries.iter().filter(|entry| entry.legacy).cloned();
        if first {
            let at = self.now;
            return entries.map(|entry| Consumed { at, ..entry }).collect();
        }
        let lately = |entry: &Consumed| self.now.duration_since(entry.at) < FORMAT1;
        entries.filter(lately).collect()
    }

    /// What main contains after this commit, as far as it has a folder.
    fn lineage(&self, record: &CommitRecord) -> Result<Vec<Ancestor>> {
        let there: HashSet<String> = folders_of(self.store)?
            .into_iter()
            .map(|folder| folder.commit_id)
            .collect();
        let old = self.own_record();
        let old = old.into_iter().flat_map(|record| &record.lineage);
        let mut lineage: Vec<Ancestor> = old
            .filter(|merged| there.contains(&merged.id))
            .cloned()
            .collect();
        let merged = |id: &String| Ancestor {
            id: id.clone(),
            generation: record.generation,
            at: record.created,
        };
        lineage.extend(self.settles.iter().map(merged));
        lineage.push(merged(&record.commit_id));
        Ok(lineage)
    }
}

/// A version of a file.
fn version(entry: &Consumed) -> (String, u64, i64) {
    (entry.name.clone(), entry.bytes, entry.modified)
}
