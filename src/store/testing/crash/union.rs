//! The union theorem (`docs/format.md`, "Identity"): what counts is the set of rows in main and in
//! pending files, and of each test its newest attempt. Files are read late, again, in older
//! versions and in two places, and other code rewrites main: each row counts once all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use arrow::array::RecordBatch;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::prelude::*;

use super::oracle::{read, rewrite_main};
use super::schedule::{Schedule, Turn, Turns};
use super::{now, store_on};
use crate::store::commit::consolidate::{self, Options};
use crate::store::disk::sim::SimDisk;
use crate::store::format::record::to_batch;
use crate::store::maintain::remove;
use crate::store::parquet::table::pack_quickly;
use crate::store::read::query::Filter;
use crate::store::read::snapshot::Scanner;
use crate::store::write::increment::{Stems, publish};
use crate::store::{Control, Disk, Error, Record, Store};

/// Test and attempt.
type Row = (u8, i64);

/// Names of tests with their attempts.
type Rows = BTreeSet<(String, i64)>;

/// What happens to a store.
#[derive(Debug, Clone)]
enum Step {
    /// A writer of ours publishes attempts at some tests.
    Ours(Vec<Row>),
    /// A legacy writer rewrites its file with these rows at its end.
    Legacy(Vec<Row>),
    /// It brings back as many of its rows as it had once.
    Older(prop::sample::Index),
    /// Its file is copied under another name.
    Copied,
    /// A mirror brings back a file as it was once.
    Mirrored(prop::sample::Index),
    Consolidate,
    /// Two programs that see nothing of each other but their files do so at once; the seed says
    /// who is next.
    Raced(u64),
    /// A test that counts is removed on purpose.
    Removed(prop::sample::Index),
    /// Other code reads main and writes it again.
    Rewritten,
    /// Other code does so with those of the legacy writer's rows that it has not taken yet.
    TakenIn,
    /// Other code writes back a main that it had read before.
    Stale(prop::sample::Index),
    /// An older main is copied back.
    OldMain(prop::sample::Index),
    /// Two hours pass: folders may go, and nobody remembers an older main.
    Later,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = || prop::collection::vec((0_u8..6, 0_i64..4), 1..4);
    prop_oneof![
        2 => rows().prop_map(Step::Ours),
        3 => rows().prop_map(Step::Legacy),
        1 => any::<prop::sample::Index>().prop_map(Step::Older),
        1 => Just(Step::Copied),
        2 => any::<prop::sample::Index>().prop_map(Step::Mirrored),
        3 => Just(Step::Consolidate),
        1 => (0..u64::from(u32::MAX)).prop_map(Step::Raced),
        1 => any::<prop::sample::Index>().prop_map(Step::Removed),
        1 => Just(Step::Rewritten),
        1 => Just(Step::TakenIn),
        1 => any::<prop::sample::Index>().prop_map(Step::Stale),
        1 => any::<prop::sample::Index>().prop_map(Step::OldMain),
        1 => Just(Step::Later),
    ]
}

/// A row as a program writes it: the same one whenever it writes it.
fn record((test, attempt): Row, has_id: bool) -> Record {
    let test = if has_id {
        format!("t{test}")
    } else {
        format!("loose-{test}-{attempt}")
    };
    Record {
        test_id: has_id.then(|| test.clone()),
        model: "m".into(),
        success: Some(attempt % 2 == 0),
        task_id: Some(test),
        turns: Some(attempt),
        timestamp: Some(now().as_microsecond() - 3_599_999_999 + attempt * 1_000),
        ..Record::default()
    }
}

fn legacy(rows: &[Row]) -> Vec<u8> {
    let records: Vec<Record> = rows.iter().map(|row| record(*row, false)).collect();
    parquet(&[to_batch(&records).unwrap()])
}

fn parquet(batches: &[RecordBatch]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, batches[0].schema(), None).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
    out
}

/// A store, and the rows that are anywhere in it: test names with their attempts.
struct History {
    disk: SimDisk,
    store: Store,
    stems: Stems,
    main: Rows,
    pending: BTreeMap<PathBuf, Rows>,
    /// Every file that there ever was.
    versions: Vec<(PathBuf, Vec<u8>, Rows)>,
    /// Every main of the last hour, with its rows.
    mains: Vec<(Vec<u8>, Rows, BTreeSet<Row>)>,
    /// The rows of main after the last commit.
    committed: Rows,
    /// The newest attempt of each test that was removed.
    removed: BTreeMap<String, i64>,
    /// What the legacy writer remembers.
    memory: Vec<Row>,
    /// What other code took into main since the last commit. Twice in one file, a row without an
    /// id is two rows; after a commit both copies would have the one id.
    taken: BTreeSet<Row>,
    now: Timestamp,
}

impl History {
    fn new() -> Self {
        let disk = SimDisk::new(now().as_nanosecond());
        let store = store_on(Arc::new(disk.clone()));
        store.create().unwrap();
        let stems = Stems::new(&disk, now());
        Self {
            disk,
            store,
            stems,
            main: BTreeSet::new(),
            pending: BTreeMap::new(),
            versions: Vec::new(),
            mains: Vec::new(),
            committed: BTreeSet::new(),
            removed: BTreeMap::new(),
            memory: Vec::new(),
            taken: BTreeSet::new(),
            now: now() + SignedDuration::from_hours(1),
        }
    }

    fn put(&mut self, path: PathBuf, bytes: Vec<u8>, rows: Rows) {
        self.disk.rewrite(&path).unwrap().write_all(&bytes).unwrap();
        self.pending.insert(path.clone(), rows.clone());
        self.versions.push((path, bytes, rows));
    }

    fn legacy_path(&self, number: u8) -> PathBuf {
        let name = format!("increment_{number}_20260131_120000.parquet");
        self.store.layout.incremental().join(name)
    }

    fn remembered(&self) -> Rows {
        named(self.memory.iter().map(|row| record(*row, false)))
    }

    fn play(&mut self, step: &Step) {
        self.now += SignedDuration::from_mins(2);
        match step {
            Step::Ours(rows) => {
                let records: Vec<Record> = rows.iter().map(|row| record(*row, true)).collect();
                let (batch, stem) = (to_batch(&records).unwrap(), self.stems.next_stem());
                let schema = batch.schema();
                let name = publish(&self.store, &stem, &schema, [Ok(batch)])
                    .unwrap()
                    .name;
                let path = self.store.layout.incremental().join(name);
                let file = crate::store::disk::read(&self.disk, &path).unwrap();
                let rows = named(records.into_iter());
                self.pending.insert(path.clone(), rows.clone());
                self.versions.push((path, file, rows));
            }
            Step::Legacy(rows) => {
                for row in rows {
                    if !self.memory.contains(row) {
                        self.memory.push(*row);
                    }
                }
                self.put(self.legacy_path(7), legacy(&self.memory), self.remembered());
            }
            Step::Older(at) if !self.memory.is_empty() => {
                self.memory.truncate(at.index(self.memory.len()) + 1);
                self.put(self.legacy_path(7), legacy(&self.memory), self.remembered());
            }
            Step::Copied if !self.memory.is_empty() => {
                self.put(self.legacy_path(8), legacy(&self.memory), self.remembered());
            }
            Step::Mirrored(at) if !self.versions.is_empty() => {
                let (path, bytes, rows) = at.get(&self.versions).clone();
                self.put(path, bytes, rows);
            }
            Step::Consolidate => {
                let control = Control::default();
                let run = consolidate::run(&self.store, &Options::default(), self.now, &control);
                self.consolidated(run.unwrap().commits);
            }
            Step::Raced(seed) => self.race(*seed),
            Step::Removed(at) => self.remove(*at),
            Step::Rewritten => drop(rewrite_main(&self.disk, &self.store)),
            Step::TakenIn => self.take_in(),
            Step::Stale(at) if !self.mains.is_empty() => {
                self.put_main(*at);
                rewrite_main(&self.disk, &self.store);
            }
            Step::OldMain(at) if !self.mains.is_empty() => self.put_main(*at),
            Step::Later => {
                self.now += SignedDuration::from_hours(2);
                self.mains.clear();
            }
            Step::Older(_)
            | Step::Copied
            | Step::Mirrored(_)
            | Step::Stale(_)
            | Step::OldMain(_) => {}
        }
    }

    fn consolidated(&mut self, commits: u64) {
        self.main
            .extend(std::mem::take(&mut self.pending).into_values().flatten());
        if commits > 0 {
            self.taken.clear();
            self.committed.clone_from(&self.main);
        }
    }

    fn race(&mut self, seed: u64) {
        let turns = Turns::new(2, Schedule::Seed(seed), false);
        let now = self.now;
        let committers: Vec<_> = (0..2)
            .map(|me| {
                let turn = Turn {
                    disk: Arc::new(self.disk.on_side(me as u8 + 1)),
                    turns: turns.clone(),
                    me,
                };
                let (store, turns) = (store_on(Arc::new(turn)), turns.clone());
                thread::spawn(move || {
                    pack_quickly();
                    turns.begin(me);
                    let control = Control::default();
                    let run = consolidate::run(&store, &Options::default(), now, &control);
                    drop(store);
                    turns.end(me);
                    run.map_or_else(committed_before, |done| done.commits)
                })
            })
            .collect();
        let raced: u64 = committers
            .into_iter()
            .map(|committer| committer.join().unwrap())
            .sum();
        // Whoever won: nothing is gone, and nothing counts twice.
        let expected = self.expected();
        assert_eq!(read(&self.store).as_ref(), Ok(&expected), "after a race");
        // One of them may have given up before it took in everything.
        let control = Control::default();
        let run = consolidate::run(&self.store, &Options::default(), self.now, &control);
        self.consolidated(raced + run.unwrap().commits);
    }

    fn remove(&mut self, at: prop::sample::Index) {
        let counts: Vec<(String, i64)> = self.expected().into_iter().collect();
        if counts.is_empty() {
            return;
        }
        let (test, attempt) = at.get(&counts);
        let filter = Filter {
            condition: Some(Box::new(format!("task_id = '{test}'").parse().unwrap())),
            ..Filter::default()
        };
        let control = Control::default();
        let plan = remove::plan(&self.store, &filter, &control).unwrap();
        assert_eq!(plan.rows, 1, "{test}");
        remove::run(&self.store, &plan, self.now, &control).unwrap();
        self.removed.insert(test.clone(), *attempt);
        // That is a commit, of main alone.
        self.taken.clear();
        self.committed.clone_from(&self.main);
    }

    fn put_main(&mut self, at: prop::sample::Index) {
        let main = self.store.layout.main();
        let (bytes, rows, taken) = at.get(&self.mains);
        self.disk.rewrite(&main).unwrap().write_all(bytes).unwrap();
        // What other code had put into main alone, since the last commit, is gone.
        self.main = rows.union(&self.committed).cloned().collect();
        self.taken.clone_from(taken);
    }

    /// Somebody may remember main as it is now.
    fn remember_main(&mut self) {
        let main = crate::store::disk::read(&self.disk, &self.store.layout.main());
        self.mains
            .extend(main.map(|bytes| (bytes, self.main.clone(), self.taken.clone())));
    }

    /// A legacy program appends the legacy writer's rows to main, wherever else they are.
    fn take_in(&mut self) {
        let main = self.store.layout.main();
        let new = self.memory.iter().filter(|row| !self.taken.contains(row));
        let new: Vec<Row> = new.copied().collect();
        if new.is_empty() || self.disk.stat(&main).is_err() {
            return;
        }
        let before = crate::store::disk::read(&self.disk, &main).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(before)).unwrap();
        let schema = reader.schema().clone();
        let mut batches: Vec<RecordBatch> = reader
            .build()
            .unwrap()
            .map(|batch| batch.unwrap())
            .collect();
        let records: Vec<Record> = new.iter().map(|row| record(*row, false)).collect();
        self.taken.extend(new);
        let new = to_batch(&records).unwrap();
        let columns = schema
            .fields()
            .iter()
            .map(|field| match new.column_by_name(field.name()) {
                Some(column) => arrow::compute::cast(column, field.data_type()).unwrap(),
                None => arrow::array::new_null_array(field.data_type(), new.num_rows()),
            });
        let columns = columns.collect();
        batches.push(RecordBatch::try_new(schema, columns).unwrap());
        let after = parquet(&batches);
        self.disk.rewrite(&main).unwrap().write_all(&after).unwrap();
        self.main.extend(self.remembered());
    }

    /// The newest attempt at each test, wherever it is.
    fn expected(&self) -> BTreeMap<String, i64> {
        let mut newest = BTreeMap::new();
        let all = self.main.iter().chain(self.pending.values().flatten());
        let stays = |(test, attempt): &&(String, i64)| {
            self.removed.get(test).is_none_or(|gone| attempt > gone)
        };
        for (test, attempt) in all.filter(stays) {
            let best = newest.entry(test.clone()).or_insert(*attempt);
            *best = (*best).max(*attempt);
        }
        newest
    }
}

/// The commits of one that gave way to another, or was fenced off by it.
fn committed_before(error: Error) -> u64 {
    match error {
        Error::Partly { source, .. } => 1 + committed_before(*source),
        Error::Locked { .. }
        | Error::Revoked { .. }
        | Error::MainChanged { .. }
        | Error::Changed { .. }
        | Error::Unstable { .. } => 0,
        error => panic!("a committer fails: {error}"),
    }
}

fn named(records: impl Iterator<Item = Record>) -> Rows {
    records
        .map(|record| (record.task_id.unwrap(), record.turns.unwrap()))
        .collect()
}

fn histories() -> u32 {
    let number = std::env::var("EVALTOP_SCHEDULES")
        .ok()
        .and_then(|n| n.parse().ok());
    number.unwrap_or(48)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: histories(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_row_counts_once_whatever_happens_to_its_files(steps in prop::collection::vec(step(), 1..16)) {
        let mut history = History::new();
        let mut scanner = Scanner::new();
        for step in &steps {
            history.play(step);
            history.remember_main();
            let expected = history.expected();
            let seen = read(&history.store);
            prop_assert_eq!(seen.as_ref(), Ok(&expected), "a query after {:?}", step);
            // One that has looked before, too.
            let seen = scanner.scan(&history.store, history.now, &Control::default()).unwrap();
            let tests: u64 = seen.cells.values().map(|tally| tally.tests).sum();
            prop_assert_eq!(tests, expected.len() as u64, "a dashboard after {:?}", step);
        }
    }
}
