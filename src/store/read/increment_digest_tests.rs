//! What increments say in their footers is what their rows say, whatever happened to a store.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::snapshot::{Scanner, Snapshot};
use crate::store::aggregate::increment_digest;
use crate::store::commit::consolidate;
use crate::store::format::layout::increment_name;
use crate::store::format::record::to_batch;
use crate::store::maintain::remove;
use crate::store::read::query::Filter;
use crate::store::testing::fixture::{Fixture, record};
use crate::store::write::increment::{Stems, publish};
use crate::store::{Control, Record, Store};

/// A row: its test, what it is like, and how old it is.
type Row = (u8, u8, u8);

#[derive(Debug, Clone)]
enum Step {
    /// A writer of ours publishes attempts at some tests.
    Publish(Vec<Row>),
    /// The same into its journal alone.
    Journal(Vec<Row>),
    /// A file is copied under a name of another writer.
    Copy(prop::sample::Index),
    /// A file is there again as it was once, wherever it was moved since.
    Again(prop::sample::Index),
    /// An older main is copied back.
    OldMain(prop::sample::Index),
    Consolidate,
    /// A test is removed on purpose: what increments say of it must not count.
    Remove(u8),
    /// Files are looked at again a day later.
    Later,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = |most| prop::collection::vec((0_u8..12, any::<u8>(), 0_u8..40), 1..most);
    prop_oneof![
        4 => rows(20).prop_map(Step::Publish),
        // Few enough to be of one day, which is soon past.
        3 => rows(4).prop_map(Step::Publish),
        1 => rows(20).prop_map(Step::Journal),
        1 => any::<prop::sample::Index>().prop_map(Step::Copy),
        1 => any::<prop::sample::Index>().prop_map(Step::Again),
        1 => any::<prop::sample::Index>().prop_map(Step::OldMain),
        2 => Just(Step::Consolidate),
        1 => (0_u8..12).prop_map(Step::Remove),
        3 => Just(Step::Later),
    ]
}

struct History {
    fixture: Fixture,
    stems: Stems,
    files: Vec<(PathBuf, Vec<u8>)>,
    mains: Vec<Vec<u8>>,
    journals: Vec<crate::store::write::journal::Journal>,
    now: Timestamp,
    /// No two rows have one time: then the last one is the same in whichever order they come.
    rows: i64,
}

impl History {
    fn new() -> Self {
        let fixture = Fixture::new();
        let now = fixture.now;
        Self {
            stems: Stems::new(&*fixture.store.disk, now),
            fixture,
            files: Vec::new(),
            mains: Vec::new(),
            journals: Vec::new(),
            now,
            rows: 0,
        }
    }

    fn store(&self) -> &Store {
        &self.fixture.store
    }

    fn records(&mut self, rows: &[Row]) -> Vec<Record> {
        rows.iter().map(|row| self.record(*row)).collect()
    }

    fn record(&mut self, (test, like, age): Row) -> Record {
        self.rows += 1;
        // Most rows are of this day; some are older than what processes reach back to, some of
        // the future or of no time that can be.
        let age = match age {
            0..36 => SignedDuration::from_mins(i64::from(age)),
            36 => SignedDuration::from_hours(47),
            37 => SignedDuration::from_hours(60),
            38 => SignedDuration::from_mins(-20),
            _ => SignedDuration::from_hours(24 * 365 * 40),
        };
        let at = self.now.as_microsecond() - age.as_micros() as i64 - self.rows;
        let is = |bit: u8| like >> bit & 1 == 1;
        let id = (like % 16 != 3).then(|| format!("t{test}"));
        Record {
            test_id: id,
            model: if like % 32 == 5 {
                String::new()
            } else {
                format!("m{}", test % 3)
            },
            prompt_type: is(6).then(|| "p".into()),
            tool_success_rate: is(5).then_some(0.8),
            success: (like % 8 != 1).then_some(is(0)),
            partial_success: Some(is(1)),
            execution_time: is(2).then_some(f64::from(like) / 7.0 - 3.0),
            turns: is(3).then_some(i64::from(like)),
            error_type: is(4).then(|| "timeout".into()),
            error_message: is(7).then(|| format!("m{}", like % 5)),
            task_id: is(2).then(|| format!("task{}", test % 4)),
            session_id: is(3).then(|| format!("s{}", test % 2)),
            process_id: is(1).then(|| format!("{}_20260101_000000", test % 3)),
            timestamp: (like % 64 != 9).then_some(at),
            ..record("", true, 0)
        }
    }

    fn play(&mut self, step: &Step) {
        self.now += SignedDuration::from_secs(5);
        let incremental = self.store().layout.incremental();
        match step {
            Step::Publish(rows) => {
                let rows = self.records(rows);
                let stem = self.stems.next_stem();
                let batch = to_batch(&rows).unwrap();
                publish(self.store(), &stem, &batch.schema(), [Ok(batch)]).unwrap();
                let path = incremental.join(increment_name(&stem));
                self.files.push((path.clone(), fs::read(path).unwrap()));
            }
            Step::Journal(rows) => {
                let rows = self.records(rows);
                let stem = self.stems.next_stem();
                self.journals.push(self.fixture.journal(&stem, &rows));
            }
            Step::Copy(at) if !self.files.is_empty() => {
                let (_, bytes) = at.get(&self.files);
                let name = increment_name(&self.stems.next_stem());
                put(
                    &incremental.join(name.replacen("increment_", "increment_9", 1)),
                    bytes,
                );
            }
            Step::Again(at) if !self.files.is_empty() => {
                let (path, bytes) = at.get(&self.files);
                put(path, bytes);
            }
            Step::OldMain(at) if !self.mains.is_empty() => {
                let bytes: &Vec<u8> = at.get(&self.mains);
                put(&self.store().layout.main(), bytes);
            }
            Step::Consolidate => {
                let options = consolidate::Options::default();
                let _ = consolidate::run(self.store(), &options, self.now, &Control::default());
                self.mains.extend(fs::read(self.store().layout.main()));
            }
            Step::Remove(test) => {
                let filter = Filter {
                    condition: Some(Box::new(format!("test_id = 't{test}'").parse().unwrap())),
                    ..Filter::default()
                };
                let control = Control::default();
                if let Ok(plan) = remove::plan(self.store(), &filter, &control) {
                    let _ = remove::run(self.store(), &plan, self.now, &control);
                }
            }
            Step::Later => self.now += SignedDuration::from_hours(24),
            Step::Copy(_) | Step::Again(_) | Step::OldMain(_) => {}
        }
    }
}

fn put(path: &Path, bytes: &[u8]) {
    let temporary = path.with_extension("putting");
    fs::write(&temporary, bytes).unwrap();
    fs::rename(temporary, path).unwrap();
}

fn look(scanner: &mut Scanner, store: &Store, now: Timestamp) -> Result<Snapshot, String> {
    scanner
        .scan(store, now, &Control::default())
        .map_err(|error| error.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn footers_say_what_rows_say(steps in prop::collection::vec(step(), 1..14)) {
        let mut history = History::new();
        let (mut open, mut reading) = (Scanner::new(), Scanner::new());
        for step in &steps {
            history.play(step);
            let (store, now) = (history.store(), history.now);
            let found = look(&mut Scanner::new(), store, now);
            let read = increment_digest::passed_over(|| look(&mut Scanner::new(), store, now));
            prop_assert_eq!(&found, &read, "after {:?}", step);
            // Those that were open all along, too.
            let found = look(&mut open, store, now);
            let read = increment_digest::passed_over(|| look(&mut reading, store, now));
            prop_assert_eq!(found, read, "a dashboard after {:?}", step);
        }
    }
}

/// Rows of one model, of this hour.
fn hour(from: i64, to: i64, now: Timestamp) -> Vec<Record> {
    let at = |row: i64| now.as_microsecond() - 3_000_000_000 + row * 1_000;
    (from..to)
        .map(|row| record(&format!("t{row}"), row % 3 == 0, at(row)))
        .collect()
}

fn publish_all(fixture: &Fixture, stems: &mut Stems, rows: &[Record]) -> PathBuf {
    let (stem, batch) = (stems.next_stem(), to_batch(rows).unwrap());
    publish(&fixture.store, &stem, &batch.schema(), [Ok(batch)]).unwrap();
    let folder = fixture.store.layout.incremental();
    folder.join(increment_name(&stem))
}

fn tests(snapshot: &Snapshot) -> u64 {
    snapshot.cells.values().map(|tally| tally.tests).sum()
}

#[test]
fn rows_are_not_read_where_the_footer_tells() {
    let fixture = Fixture::new();
    let mut stems = Stems::new(&*fixture.store.disk, fixture.now);
    let path = publish_all(&fixture, &mut stems, &hour(0, 50, fixture.now));
    // Every page, and nothing that a footer says.
    let file = crate::store::parquet::ParquetFile::open(&*fixture.store.disk, &path).unwrap();
    let chunks = file.metadata().row_group(0).columns().iter();
    let end = chunks
        .map(|chunk| {
            let (from, bytes) = chunk.byte_range();
            from + bytes
        })
        .max()
        .unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[4..end as usize].fill(0xee);
    put(&path, &bytes);
    let seen = look(&mut Scanner::new(), &fixture.store, fixture.now).unwrap();
    assert_eq!((tests(&seen), seen.notes.len()), (50, 0));
    let read =
        increment_digest::passed_over(|| look(&mut Scanner::new(), &fixture.store, fixture.now));
    assert_eq!(tests(&read.unwrap()), 0);
    // A footer's tallies are believed with their checksum only.
    bytes[end as usize + 3] ^= 1;
    put(&path, &bytes);
    let seen = look(&mut Scanner::new(), &fixture.store, fixture.now).unwrap();
    assert_eq!(tests(&seen), 0);
}

#[test]
fn many_files_are_reported_as_they_are_read() {
    let (one, other) = (Fixture::new(), Fixture::new());
    let mut stems = Stems::new(&*one.store.disk, one.now);
    let mut same = stems.clone();
    for file in 0..80 {
        // Each file has attempts at tests of the one before it.
        let rows = hour(
            file * 20,
            file * 20 + 25,
            one.now - SignedDuration::from_secs(80 - file),
        );
        publish_all(&one, &mut stems, &rows);
        increment_digest::passed_over(|| publish_all(&other, &mut same, &rows));
    }
    let [found, read] = [&one, &other].map(|fixture| {
        let seen = look(&mut Scanner::new(), &fixture.store, one.now).unwrap();
        assert_eq!(tests(&seen), 80 * 20 + 5);
        Snapshot {
            waiting: Vec::new(),
            writers: Vec::new(),
            ..seen
        }
    });
    assert_eq!(found, read);
}

#[test]
fn a_file_of_many_rows_reports_nothing() {
    let fixture = Fixture::new();
    let mut stems = Stems::new(&*fixture.store.disk, fixture.now);
    let size = |path: &Path| fs::metadata(path).unwrap().len();
    let rows = hour(0, 140_000, fixture.now);
    let large = publish_all(&fixture, &mut stems, &rows);
    let plain = increment_digest::passed_over(|| publish_all(&fixture, &mut stems, &rows));
    assert!(size(&large) < size(&plain) + 4_096);
    let small = publish_all(&fixture, &mut stems, &rows[..1_000]);
    let plain = increment_digest::passed_over(|| publish_all(&fixture, &mut stems, &rows[..1_000]));
    let added = size(&small) - size(&plain);
    assert!((8_000..30_000).contains(&added), "{added} bytes");
}
