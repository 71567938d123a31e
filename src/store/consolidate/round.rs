//! One commit: the rows of some increments into main.

use std::collections::{HashMap, HashSet};

use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::Skipped;
use super::choice::Choice;
use super::input::{self, Input, NewKey};
use super::inputs::columns_of_records;
use super::old::{Old, Survey};
use super::pieces::{Reading, of_inputs};
use super::write::{Step, Written, write};
use crate::stats::Cells;
use crate::store::commit::base::Base;
use crate::store::commit::transaction::{Committed, Transaction};
use crate::store::commit::{CommitRecord, Consumed, Summaries};
use crate::store::error::{Error, Result};
use crate::store::kind::{Shape, shape};
use crate::store::layout::{
    self, MAIN, increment_name, journal_name, retired_name, unretired_name,
};
use crate::store::schema::{Union, keyed};
use crate::store::snapshot::Increment;
use crate::store::summaries::{Moved, source_of};
use crate::store::table::TableWriter;
use crate::store::test_keys::{TestKeys, make};
use crate::store::{Control, Store, threads};

/// How long the entry of a consumed legacy file stays when the file is gone: its
/// writer may bring it back with the old rows in it.
const LEGACY_ENTRIES: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Versions of one legacy file that have an entry, the newest first. A retired file may stay as
/// it is while the one that its writer made anew changes more often: until it is gone, all have.
const LEGACY_VERSIONS: usize = 8;

/// Why a round ended without a commit.
pub(super) enum Trouble {
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
pub(super) struct Done {
    pub(super) record: CommitRecord,
    pub(super) cells: Cells,
    pub(super) schema: SchemaRef,
    pub(super) added: u64,
    pub(super) superseded: u64,
    pub(super) repeated: u64,
    /// Summary rows that moved into the file beside main.
    pub(super) moved: u64,
    pub(super) committed: Committed,
}

/// One commit on top of `base`.
pub(super) struct Round<'a> {
    pub(super) store: &'a Store,
    pub(super) base: &'a Base,
    /// Files of summary rows that count beside main, before those of this commit.
    pub(super) summaries: &'a [Summaries],
    /// Further files whose rows main contains already.
    pub(super) contained: &'a [Consumed],
    pub(super) now: Timestamp,
    pub(super) control: &'a Control,
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
    pub(super) fn on(
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
            contained: &[],
            now,
            control,
        }
    }
}

impl Round<'_> {
    /// Commits the increments; `progress` is rows done before, and rows in all.
    pub(super) fn run(
        &self,
        increments: &[Increment],
        keep_backup: bool,
        progress: (u64, u64),
    ) -> Result<Done, Trouble> {
        let zone = self.base.zone(self.store);
        let (inputs, keys) = input::read(self.store, increments, &zone, self.control)?;
        let schema = self.unite(&inputs)?;
        let moved = self.summary_rows(&inputs)?;
        let moved_rows = moved.rows();
        let mut transaction = Transaction::begin(self.store, self.base, self.now);
        let written = moved
            .write(self.store, self.summaries, self.control)
            .map_err(|error| blame(self.store, &inputs, error));
        let written = written.and_then(|summaries| {
            transaction.record.summaries = summaries;
            self.write(&mut transaction, &inputs, keys, &schema, progress)
        });
        let ((written, choice), mut committed) = match written.and_then(|written| {
            let committed = transaction.commit(keep_backup, self.control)?;
            Ok((written, committed))
        }) {
            Ok(done) => done,
            Err(trouble) => {
                transaction.discard();
                return Err(trouble);
            }
        };
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
    fn summary_rows(&self, inputs: &[Input<'_>]) -> Result<Moved, Trouble> {
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
        for input in inputs.iter().filter(is_mixed) {
            let Increment { name, skip, .. } = input.increment;
            let taken = input
                .open(self.store)
                .and_then(|file| moved.take(name, &file, *skip, self.control));
            taken.map_err(|error| input.blame(self.store, error))?;
        }
        Ok(moved)
    }

    /// Writes the new main and its record; tells what that did.
    fn write(
        &self,
        transaction: &mut Transaction<'_>,
        inputs: &[Input<'_>],
        keys: Vec<NewKey>,
        schema: &SchemaRef,
        (before, total): (u64, u64),
    ) -> Result<(Written, Choice), Trouble> {
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
                control,
            }
        });
        let (choice, survey) = self.choose(old.as_ref(), inputs, keys, schema, &zone)?;
        let temporary = transaction.temporary().to_path_buf();
        let file = self
            .store
            .disk
            .create(&temporary)
            .map_err(Error::io("create", &temporary))?;
        let mut table = TableWriter::new(file, &temporary, schema)?;
        let stock = old.as_ref().map(Old::stock).transpose()?.flatten();
        let new = (
            choice.kept(),
            inputs.iter().map(|input| input.increment.stat.bytes).sum(),
        );
        let mut steps = match &old {
            Some(old) => old.steps(stock.as_ref(), &survey.lost, new)?,
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
        transaction.record.consumed = self.consumed(inputs)?;
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
    ) -> Result<(Choice, Survey), Trouble> {
        threads::sort(threads::for_rows(keys.len() as u64), &mut keys, |key| *key);
        let mut distinct: Vec<u64> = keys.iter().map(|(short, _)| *short).collect();
        distinct.dedup();
        let mut survey = old
            .map(|old| old.survey(&distinct))
            .transpose()?
            .unwrap_or_default();
        drop(distinct);
        let mut compared: Vec<u32> = Vec::new();
        for same in keys.chunk_by(|one, other| one.0 == other.0) {
            if same.len() > 1
                || same
                    .first()
                    .is_some_and(|(short, _)| survey.shorts.contains(short))
            {
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
        let mut choice = Choice::for_rows(usize::try_from(records).unwrap_or(usize::MAX));
        (choice.superseded, choice.repeated) = survey.losers;
        let mut first = 0;
        for input in inputs {
            let records = input.parts.iter().map(|part| part.records).sum::<u64>();
            let (from, to) = (first, first + records);
            first = to;
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

    /// The entries of the new record: what was consumed before and may still be
    /// there, and the files of this commit.
    fn consumed(&self, inputs: &[Input<'_>]) -> Result<Vec<Consumed>, Trouble> {
        let mut entries = self.contained.to_vec();
        for input in inputs {
            let add = || -> Result<Vec<Consumed>> {
                let increment = input.increment;
                let legacy = increment.legacy;
                // What was read is still what is there.
                increment.check(self.store)?;
                let entry = |name: String| Consumed {
                    name,
                    bytes: increment.stat.bytes,
                    rows: increment.rows,
                    xxh3: input.xxh3.clone(),
                    legacy,
                    at: self.now,
                    gone: None,
                };
                let mut added = vec![entry(increment.name.clone())];
                if legacy {
                    // Its writer may write on into it under either name.
                    let names = [
                        unretired_name(&increment.name),
                        retired_name(&increment.name),
                    ];
                    added.extend(
                        names
                            .into_iter()
                            .filter(|name| *name != increment.name)
                            .map(entry),
                    );
                }
                Ok(added)
            };
            entries.extend(add().map_err(|error| input.blame(self.store, error))?);
        }
        let new: HashSet<String> = entries
            .iter()
            .map(|entry: &Consumed| entry.name.clone())
            .collect();
        let mut versions: HashMap<String, Vec<String>> = HashMap::new();
        for entry in &entries {
            versions
                .entry(entry.name.clone())
                .or_default()
                .push(entry.xxh3.clone());
        }
        let folder = self.store.layout.incremental();
        let listed = self
            .store
            .disk
            .list(&folder)
            .map_err(Error::io("read", &folder))?;
        let there: HashSet<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
        let is_there = |name: &str| there.contains(name);
        let mut kept = |entry: &Consumed| {
            let mut entry = entry.clone();
            if entry.legacy {
                // A file that was retired in between, or that comes back as it once was.
                let known = versions.entry(entry.name.clone()).or_default();
                let stays = entry.name == retired_name(&entry.name) && is_there(&entry.name);
                if known.contains(&entry.xxh3) || (known.len() >= LEGACY_VERSIONS && !stays) {
                    return None;
                }
                known.push(entry.xxh3.clone());
                // Under whichever of its names it is there, its writer may make the other one.
                let names = [unretired_name(&entry.name), retired_name(&entry.name)];
                let is_gone = !names.iter().any(|name| is_there(name));
                entry.gone = is_gone.then(|| entry.gone.unwrap_or(self.now));
                let lately = |gone| self.now.duration_since(gone) < LEGACY_ENTRIES;
                return entry.gone.is_none_or(lately).then_some(entry);
            }
            let stem = layout::stem(&entry.name);
            let present = is_there(&entry.name)
                || stem.is_some_and(|stem| {
                    is_there(&increment_name(stem)) || is_there(&journal_name(stem))
                });
            (present && !new.contains(&entry.name)).then_some(entry)
        };
        let before = entries.len();
        entries.extend(self.base.consumed().iter().filter_map(&mut kept));
        if entries.len() - before < self.base.consumed().len() {
            // Whoever removed a file may not have lived to sync that: it must not come back when
            // its entry is gone.
            self.store
                .disk
                .sync_folder(&folder)
                .map_err(Error::io("sync", folder))?;
        }
        Ok(entries)
    }
}
