//! Data moves at any moment of a reading: a disk that lets something happen before
//! its n-th operation, for every n.

use jiff::Timestamp;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use super::snapshot::tests::totals;
use super::snapshot::*;
use crate::store::commit::consolidate;
use crate::store::disk::{
    Disk, Entry, Known, LockFile, Move, ReadFile, RealDisk, Space, Stat, WriteFile,
};
use crate::store::format::layout;
use crate::store::maintain::restore;
use crate::store::testing::fixture::{Fixture, LEGACY, STEM, batch, legacy, record, records};
use crate::store::write::increment;
use crate::store::{Control, Store};

const DEAD: &str = "12_20260131_120000_host_0a1b_1";

type Happening = Box<dyn FnOnce() + Send>;

/// The real disk; before the `left`-th look at it, something happens.
struct Interrupted {
    left: AtomicU64,
    happening: Mutex<Option<Happening>>,
    /// Names are listed twice, as when files are renamed over others meanwhile.
    twice: bool,
}

impl std::fmt::Debug for Interrupted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Interrupted")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl Interrupted {
    fn at(moment: u64, happening: impl FnOnce() + Send + 'static) -> Arc<Self> {
        let happening = Mutex::new(Some(Box::new(happening) as Happening));
        Arc::new(Self {
            left: AtomicU64::new(moment),
            happening,
            twice: false,
        })
    }

    fn tick(&self) {
        if self.left.fetch_sub(1, SeqCst) == 1
            && let Some(happening) = self.happening.lock().unwrap().take()
        {
            happening();
        }
    }
}

/// Readers only look: the other operations are the real disk's.
impl Disk for Interrupted {
    fn list_knowing(&self, folder: &Path, known: Known<'_>) -> io::Result<Vec<Entry>> {
        self.tick();
        let mut entries = RealDisk.list_knowing(folder, known)?;
        if self.twice {
            entries.extend(entries.clone());
        }
        Ok(entries)
    }
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.tick();
        RealDisk.stat(path)
    }
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        self.tick();
        RealDisk.open(path)
    }
    fn try_share(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        RealDisk.try_share(path)
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        RealDisk.touch(path)
    }

    fn believes_locks(&self, folder: &Path) -> bool {
        RealDisk.believes_locks(folder)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.tick();
        RealDisk.is_locked(path)
    }
    fn create_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_folder(path)
    }
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        RealDisk.create(path)
    }
    fn publish(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        RealDisk.publish(temporary, name)
    }
    fn replace(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        RealDisk.replace(temporary, name)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.link(from, to)
    }
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.copy(from, to)
    }
    fn relocate(&self, from: &Path, to: &Path, moves: &[Move<'_>]) -> io::Result<()> {
        RealDisk.relocate(from, to, moves)
    }
    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove_folder(path)
    }
    fn remove(&self, folder: &Path, names: &[&str]) -> io::Result<()> {
        RealDisk.remove(folder, names)
    }
    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        RealDisk.sync_folder(folder)
    }
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        RealDisk.try_lock(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        RealDisk.space(path)
    }
}

fn consolidate(store: &Store) {
    consolidate::run(
        store,
        &consolidate::Options::default(),
        Timestamp::now(),
        &Control::default(),
    )
    .unwrap();
}

/// A main of five rows, an increment of legacy code, and two segments of ours, as a
/// journal next to its increment and a dead writer's journal, or as increments alone:
/// twelve tests in all.
fn store(journals: bool) -> Fixture {
    let fixture = Fixture::new();
    fixture.increment(LEGACY, &batch(&records(0, 5)));
    consolidate(&fixture.store);
    fixture.increment(
        "increment_8_20260131_120000.parquet",
        &legacy(&["a", "b"], &[true, false]),
    );
    fixture.increment(&layout::increment_name(STEM), &batch(&records(5, 8)));
    if journals {
        drop(fixture.journal(STEM, &records(5, 8)));
        drop(fixture.journal(DEAD, &records(8, 10)));
    } else {
        fixture.increment(&layout::increment_name(DEAD), &batch(&records(8, 10)));
    }
    fixture
}

/// Reads with `happening`, which adds so many repeats, before each operation in turn, until a reading needs fewer.
fn at_every_moment(journals: bool, adds: u64, happening: fn(&Store)) {
    for moment in 1.. {
        let fixture = store(journals);
        let store = fixture.store.clone();
        let disk = Interrupted::at(moment, move || happening(&store));
        let read = Store {
            disk: disk.clone(),
            ..fixture.store.clone()
        };
        // What it knows from before must not mislead it either.
        let mut scanner = Scanner::new();
        scanner
            .scan(&fixture.store, fixture.now, &Control::default())
            .unwrap();
        for scanner in [&mut scanner, &mut Scanner::new()] {
            let seen = scanner
                .scan(&read, fixture.now, &Control::default())
                .unwrap();
            assert_eq!(totals(&seen), (12, 6, 0), "before operation {moment}");
            // A record with an id that counted twice would be a repeat.
            assert!(
                seen.superseded == 0 && seen.repeated <= adds,
                "before operation {moment}"
            );
        }
        if disk.happening.lock().unwrap().is_some() {
            assert!(moment > 10);
            return;
        }
    }
}

#[test]
fn a_commit_at_any_moment() {
    at_every_moment(true, 0, consolidate);
    at_every_moment(false, 0, consolidate);
}

#[test]
fn commits_that_forget_what_they_consumed_at_any_moment() {
    at_every_moment(false, 2, |store| {
        consolidate(store);
        for at in 0..2 {
            let row = [record("t0", true, 0)];
            let stem = format!("99_20260131_120000_host_0a1b_{at}");
            increment::publish(store, &stem, &batch(&row).schema(), [Ok(batch(&row))]).unwrap();
            consolidate(store);
        }
    });
}

#[test]
fn a_publication_at_any_moment() {
    at_every_moment(true, 0, |store| {
        increment::recover_journal(store, &layout::journal_name(DEAD), 0, true).unwrap();
    });
}

/// Its journal is free once its increment is there; whoever asked for the lock later than
/// for the increments must not take it for dead.
#[test]
fn a_writer_that_publishes_at_any_moment_is_never_dead() {
    for moment in 1.. {
        let fixture = Fixture::new();
        let (journal, store) = (fixture.journal(STEM, &records(0, 3)), fixture.store.clone());
        let happening = move || {
            increment::recover_journal(&store, &layout::journal_name(STEM), 0, true).unwrap();
            drop(journal);
        };
        let disk = Interrupted::at(moment, happening);
        let read = Store {
            disk: disk.clone(),
            ..fixture.store.clone()
        };
        let seen = Scanner::new()
            .scan(&read, fixture.now, &Control::default())
            .unwrap();
        assert_eq!(totals(&seen).0, 3, "before operation {moment}");
        assert!(
            seen.writers.iter().all(|writer| !writer.unclosed),
            "before operation {moment}"
        );
        if disk.happening.lock().unwrap().is_some() {
            assert!(moment > 5);
            return;
        }
    }
}

/// Legacy code removes an increment when it is asked a question, and whoever recovers its
/// journal brings it back: a scan that fails in between must not leave its rows to the next.
#[test]
fn an_increment_that_comes_back_at_any_moment_counts_once() {
    let fixture = Fixture::new();
    let name = |at: i64| format!("increment_12_20260131_120000_host_0a1b_{at}.parquet");
    // So many are digested together.
    for at in 100..100 + super::scan_context::MANY as i64 {
        fixture.increment(&name(at), &batch(&records(at, at + 1)));
    }
    drop(fixture.journal(STEM, &records(0, 3)));
    let tests = 3 + super::scan_context::MANY as u64;
    let came_back = || {
        increment::recover_journal(&fixture.store, &layout::journal_name(STEM), 0, true).unwrap()
    };
    came_back();
    for moment in 1.. {
        let mut scanner = Scanner::new();
        assert_eq!(
            totals(
                &scanner
                    .scan(&fixture.store, fixture.now, &Control::default())
                    .unwrap()
            )
            .0,
            tests
        );
        let path = fixture
            .store
            .layout
            .incremental()
            .join(layout::increment_name(STEM));
        std::fs::remove_file(path).unwrap();
        let store = fixture.store.clone();
        let happening = move || {
            drop(increment::recover_journal(&store, &layout::journal_name(STEM), 0, true).unwrap());
        };
        let disk = Interrupted::at(moment, happening);
        let read = Store {
            disk: disk.clone(),
            ..fixture.store.clone()
        };
        let seen = scanner
            .scan(&read, fixture.now, &Control::default())
            .unwrap();
        assert_eq!(totals(&seen).0, tests, "before operation {moment}");
        if disk.happening.lock().unwrap().is_some() {
            assert!(moment > 5);
            return;
        }
    }
}

/// A commit that is undone takes rows out of main again, against the order in which a reader looks.
#[test]
fn an_undo_at_any_moment() {
    for loose in [false, true] {
        for moment in 1.. {
            let fixture = Fixture::new();
            for at in 0..2 {
                let mut rows = records(3 * at, 3 * at + 3);
                rows.iter_mut()
                    .filter(|_| loose)
                    .for_each(|row| row.test_id = None);
                let stem = format!("99_20260131_120000_host_0a1b_{at}");
                increment::publish(
                    &fixture.store,
                    &stem,
                    &batch(&rows).schema(),
                    [Ok(batch(&rows))],
                )
                .unwrap();
                consolidate(&fixture.store);
            }
            let store = fixture.store.clone();
            let undo = move || {
                let options = restore::Options::default();
                restore::run(&store, &options, Timestamp::now(), &Control::default()).unwrap();
            };
            let disk = Interrupted::at(moment, undo);
            let read = Store {
                disk: disk.clone(),
                ..fixture.store.clone()
            };
            let mut scanner = Scanner::new();
            scanner
                .scan(&fixture.store, fixture.now, &Control::default())
                .unwrap();
            for scanner in [&mut scanner, &mut Scanner::new()] {
                let seen = scanner
                    .scan(&read, fixture.now, &Control::default())
                    .unwrap();
                assert_eq!(totals(&seen).0, 6, "before operation {moment}");
            }
            if disk.happening.lock().unwrap().is_some() {
                assert!(moment > 5);
                break;
            }
        }
    }
}

/// A writer whose first row comes while its journal is looked at, and that dies then.
#[test]
fn a_writer_that_writes_and_dies_at_any_moment_of_a_commit_loses_nothing() {
    for moment in 1.. {
        let fixture = Fixture::new();
        let mut journal = fixture.journal(STEM, &[]);
        let happening = move || {
            journal
                .append(
                    &crate::store::write::journal::to_lines(&records(0, 1)).unwrap(),
                    1,
                    false,
                )
                .unwrap();
        };
        let disk = Interrupted::at(moment, happening);
        let store = Store {
            disk: disk.clone(),
            ..fixture.store.clone()
        };
        consolidate(&store);
        let over = disk
            .happening
            .lock()
            .unwrap()
            .take()
            .map(|late| late())
            .is_some();
        let seen = Scanner::new()
            .scan(&fixture.store, fixture.now, &Control::default())
            .unwrap();
        assert_eq!(totals(&seen).0, 1, "before operation {moment}");
        if over {
            assert!(moment > 5);
            return;
        }
    }
}

/// A folder may give a name twice while others rename files over it.
#[test]
fn a_name_that_is_listed_twice_counts_once() {
    let f = Fixture::new();
    let disk = Arc::new(Interrupted {
        left: AtomicU64::new(0),
        happening: Mutex::new(None),
        twice: true,
    });
    let store = Store {
        disk,
        ..f.store.clone()
    };
    f.increment(LEGACY, &legacy(&["a", "b"], &[true, false]));
    let _journal = f.journal(STEM, &records(0, 3));
    let seen = Scanner::new()
        .scan(&store, f.now, &Control::default())
        .unwrap();
    assert_eq!(totals(&seen).0, 5);
    consolidate(&store);
    let seen = Scanner::new()
        .scan(&f.store, f.now, &Control::default())
        .unwrap();
    assert_eq!(totals(&seen).0, 5);
}
