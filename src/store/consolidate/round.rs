//! One commit: the rows of some increments into main.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::datatypes::SchemaRef;
use jiff::{SignedDuration, Timestamp};

use super::Skipped;
use super::choice::Choice;
use super::inputs::{because, columns_of_records};
use super::merge::{Keys, Merged, complete, filtered, records};
use super::old::Old;
use crate::stats::{Cell, Tally};
use crate::store::commit::base::Base;
use crate::store::commit::transaction::{Committed, Transaction};
use crate::store::commit::{CommitRecord, Consumed, Summaries};
use crate::store::digest::Digest;
use crate::store::disk;
use crate::store::error::{Error, Result};
use crate::store::layout::{self, MAIN, increment_name, journal_name, retired_name, unretired_name};
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::Union;
use crate::store::snapshot::{Increment, fingerprint};
use crate::store::summaries::{Moved, source_of};
use crate::store::table::TableWriter;
use crate::store::test_keys::{TestKeys, make};
use crate::store::{Control, Store};

/// How long the entry of a consumed legacy file stays when the file is gone: its
/// writer may bring it back with the old rows in it.
const LEGACY_ENTRIES: SignedDuration = SignedDuration::from_hours(7 * 24);

/// Versions of one legacy file that have an entry, the newest first.
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
    pub(super) cells: BTreeMap<Cell, Tally>,
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

struct Input<'a> {
    increment: &'a Increment,
    file: ParquetFile,
}

impl Input<'_> {
    /// An error while this input was read is a reason to leave it out.
    fn blame(&self, error: Error) -> Trouble {
        let now = self.file.stat_now();
        let was = self.increment.stat;
        let same = now.is_ok_and(|now| (now.bytes, now.modified_ns) == (was.bytes, was.modified_ns));
        let error = match error {
            Error::Cancelled => return Trouble::Other(error),
            // Whatever was found was half written.
            _ if !same => Error::Changed { path: self.file.path().to_path_buf() },
            error => error,
        };
        refuse(&self.increment.name, error)
    }
}

/// An error that names one of the inputs is a reason to leave that one out.
fn blame(inputs: &[Input<'_>], error: Error) -> Trouble {
    let of = match &error {
        Error::SchemaConflict { file, .. } => {
            inputs.iter().find(|input| source_of(&input.increment.name) == *file)
        }
        _ => None,
    };
    match of {
        Some(input) => input.blame(error),
        None => Trouble::Other(error),
    }
}

fn refuse(name: &str, error: Error) -> Trouble {
    because(name, error).map_or_else(Trouble::Other, Trouble::Input)
}

impl<'a> Round<'a> {
    /// A round that keeps the summary rows that count.
    pub(super) fn on(store: &'a Store, base: &'a Base, now: Timestamp, control: &'a Control) -> Self {
        let summaries = base.record.as_ref().map_or(&[][..], |record| &record.summaries);
        Self { store, base, summaries, contained: &[], now, control }
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
        let inputs = self.open(increments)?;
        let schema = self.unite(&inputs)?;
        let mut choice = self.attempts(&inputs, &schema)?;
        let moved = self.summary_rows(&inputs)?;
        let moved_rows = moved.rows();
        let mut transaction = Transaction::begin(self.store, self.base, self.now);
        let written =
            moved.write(self.store, self.summaries, self.control).map_err(|error| blame(&inputs, error));
        let written = written.and_then(|summaries| {
            transaction.record.summaries = summaries;
            self.write(&mut transaction, &inputs, &schema, &mut choice, progress)
        });
        let ((tallies, copied), mut committed) = match written.and_then(|written| {
            let committed = transaction.commit(keep_backup, self.control)?;
            Ok((written, committed))
        }) {
            Ok(done) => done,
            Err(trouble) => {
                transaction.discard();
                return Err(trouble);
            }
        };
        let zone = self.base.zone(self.store);
        let index = self.test_keys();
        if let Err(error) = make(self.store, &transaction.record, &zone, index.as_ref(), &copied) {
            committed
                .notes
                .push(format!("the index of test keys is missing, so the next run reads them: {error}"));
        }
        Ok(Done {
            record: transaction.record,
            cells: tallies.cells().map(|(cell, tally)| (cell.clone(), tally.clone())).collect(),
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

    fn open<'i>(&self, increments: &'i [Increment]) -> Result<Vec<Input<'i>>, Trouble> {
        let open = |increment: &'i Increment| match increment.open(self.store) {
            Ok(file) => Ok(Input { increment, file }),
            Err(error) => Err(match increment.check(self.store) {
                Ok(()) => refuse(&increment.name, error),
                Err(changed) => refuse(&increment.name, changed),
            }),
        };
        increments.iter().map(open).collect()
    }

    fn unite(&self, inputs: &[Input<'_>]) -> Result<SchemaRef, Trouble> {
        let mut union = Union::new();
        if let Some(main) = &self.base.main {
            union.add(MAIN, &*columns_of_records(main, 0)?)?;
        }
        for input in inputs {
            let columns = columns_of_records(&input.file, input.increment.skip);
            let added = columns.and_then(|columns| union.add(&input.increment.name, &columns));
            added.map_err(|error| input.blame(error))?;
        }
        Ok(union.finish())
    }

    /// The summary rows of main and of the inputs, which don't go into main.
    fn summary_rows(&self, inputs: &[Input<'_>]) -> Result<Moved, Trouble> {
        let mut moved = Moved::default();
        if let Some(main) = &self.base.main {
            moved.take(MAIN, main, 0, self.control)?;
        }
        for input in inputs {
            let taken = moved.take(&input.increment.name, &input.file, input.increment.skip, self.control);
            taken.map_err(|error| input.blame(error))?;
        }
        Ok(moved)
    }

    /// Reads the new rows once to find attempts at one test among them.
    fn attempts(&self, inputs: &[Input<'_>], schema: &SchemaRef) -> Result<Choice, Trouble> {
        let zone = self.base.zone(self.store);
        let waiting = inputs.iter().map(|input| input.increment.rows.saturating_sub(input.increment.skip));
        let mut choice = Choice::for_rows(waiting.sum());
        for input in inputs {
            self.control.check()?;
            let mut rows = input.increment.skip;
            let mut read = || -> Result<()> {
                for batch in input.file.batches(None, input.increment.skip)? {
                    let batch = batch?;
                    rows += batch.num_rows() as u64;
                    let batch = records(&batch, schema, &zone)?;
                    let mut keys = Keys::of(&batch)?;
                    for row in 0..batch.num_rows() {
                        let keyed = match keys.key(row) {
                            Some(key) => Some((key, keys.rank(&batch, row)?)),
                            None => None,
                        };
                        choice.push(keyed);
                    }
                }
                complete(&input.file, rows)
            };
            read().map_err(|error| input.blame(error))?;
        }
        Ok(choice)
    }

    /// Writes the new main and its record; tells its tallies, and which row groups were
    /// copied: their numbers now, and before.
    fn write(
        &self,
        transaction: &mut Transaction<'_>,
        inputs: &[Input<'_>],
        schema: &SchemaRef,
        choice: &mut Choice,
        (before, total): (u64, u64),
    ) -> Result<(Digest, Vec<(usize, usize)>), Trouble> {
        let temporary = transaction.temporary().to_path_buf();
        let file = self.store.disk.create(&temporary).map_err(Error::io("create", &temporary))?;
        let table = TableWriter::new(file, &temporary, schema)?;
        let zone = self.base.zone(self.store);
        let mut merged = match &self.base.main {
            None => Merged::new(table, self.now),
            Some(main) => {
                let (record, now, control) = (self.own_record(), self.now, self.control);
                let index = self.test_keys();
                let old = Old { main, test_keys: index.as_ref(), record, now, schema, zone: &zone, control };
                let survey = old.survey(choice)?;
                old.write(table, survey, choice.kept())?
            }
        };
        let mut at = 0;
        for input in inputs {
            let batches = input.file.batches(None, input.increment.skip).map_err(|e| input.blame(e))?;
            for batch in batches {
                self.control.check()?;
                let batch = batch.and_then(|batch| records(&batch, schema, &zone));
                let batch = batch.map_err(|error| input.blame(error))?;
                let keep = (at..at + batch.num_rows()).map(|at| choice.keeps(at)).collect();
                at += batch.num_rows();
                merged.new_rows(filtered(&batch, keep)?)?;
                self.control.progress("merging", before + at as u64, total);
            }
        }
        let (table, tallies) = merged.finish()?;
        transaction.record.rows = tallies.records;
        transaction.record.superseded += choice.superseded;
        transaction.record.repeated += choice.repeated;
        transaction.record.consumed = self.consumed(inputs)?;
        let copied = table.copied().to_vec();
        transaction.seal(table, &tallies)?;
        Ok((tallies, copied))
    }

    /// The entries of the new record: what was consumed before and may still be
    /// there, and the files of this commit.
    fn consumed(&self, inputs: &[Input<'_>]) -> Result<Vec<Consumed>, Trouble> {
        let mut entries = self.contained.to_vec();
        for input in inputs {
            let add = || -> Result<Vec<Consumed>> {
                let increment = input.increment;
                let legacy = increment.legacy;
                let xxh3 = if legacy {
                    fingerprint(&input.file, increment.rows)?
                } else {
                    let path = increment.path(self.store);
                    disk::hash(&*self.store.disk, &path).map_err(Error::io("read", path))?
                };
                // What was read is still what is there.
                let stat = input.file.stat_now()?;
                if (stat.bytes, stat.modified_ns) != (increment.stat.bytes, increment.stat.modified_ns) {
                    return Err(Error::Changed { path: increment.path(self.store) });
                }
                increment.check(self.store)?;
                let entry = |name: String| Consumed {
                    name,
                    bytes: increment.stat.bytes,
                    rows: increment.rows,
                    xxh3: xxh3.clone(),
                    legacy,
                    at: self.now,
                };
                let mut added = vec![entry(increment.name.clone())];
                if legacy {
                    // Its writer may write on into it under either name.
                    let names = [unretired_name(&increment.name), retired_name(&increment.name)];
                    added.extend(names.into_iter().filter(|name| *name != increment.name).map(entry));
                }
                Ok(added)
            };
            entries.extend(add().map_err(|error| input.blame(error))?);
        }
        let new: HashSet<String> = entries.iter().map(|entry: &Consumed| entry.name.clone()).collect();
        let mut versions: HashMap<String, Vec<String>> = HashMap::new();
        for entry in &entries {
            versions.entry(entry.name.clone()).or_default().push(entry.xxh3.clone());
        }
        let folder = self.store.layout.incremental();
        let listed = self.store.disk.list(&folder).map_err(Error::io("read", folder))?;
        let there: HashSet<&str> = listed.iter().map(|entry| entry.name.as_str()).collect();
        let mut keep = |entry: &&Consumed| {
            if entry.legacy {
                // A file that was retired in between, or that comes back as it once was.
                let known = versions.entry(entry.name.clone()).or_default();
                if known.contains(&entry.xxh3) || known.len() >= LEGACY_VERSIONS {
                    return false;
                }
                known.push(entry.xxh3.clone());
            } else if new.contains(&entry.name) {
                return false;
            }
            let present = there.contains(entry.name.as_str())
                || layout::stem(&entry.name).is_some_and(|stem| {
                    there.contains(increment_name(stem).as_str())
                        || there.contains(journal_name(stem).as_str())
                });
            present || (entry.legacy && self.now.duration_since(entry.at) < LEGACY_ENTRIES)
        };
        entries.extend(self.base.consumed().iter().filter(|entry| keep(entry)).cloned());
        Ok(entries)
    }
}
