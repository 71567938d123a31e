//! The programs that take turns on one store, and what each must see all along.

use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::Timestamp;

use super::explore::check_end;
use super::oracle::{self, Expected};
use super::scenarios::{legacy_bytes, legacy_rows};
use super::schedule::{Schedule, Turn, Turns};
use super::{Ledger, World, loose, store_on};
use crate::store::disk::Disk;
use crate::store::disk::sim::SimDisk;
use crate::store::increment::publish_journal;
use crate::store::journal::{Journal, to_lines};
use crate::store::snapshot::Scanner;
use crate::store::{Control, Error, Record, Store, cleanup, consolidate, increment};

/// One of the programs.
pub(super) struct Program {
    pub(super) store: Store,
    disk: SimDisk,
    turn: Turn,
    ledger: Arc<Mutex<Ledger>>,
    me: usize,
}

pub(super) type Script = fn(&Program) -> Result<(), String>;

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Lets programs take turns on a store, and
/// checks what is there in the end. The trace says who had each turn.
pub(super) fn run(
    setup: super::Scenario,
    scripts: &[Script],
    schedule: Schedule,
) -> Result<Vec<usize>, String> {
    let mut world =
        World::new(SimDisk::new(super::now().as_nanosecond() - 3_600_000_000_000), None, Ledger::default());
    setup(&mut world).map_err(text)?;
    let disk = world.disk.after_kill();
    let ledger = Arc::new(Mutex::new(world.ledger.clone()));
    let turns = Turns::new(scripts.len(), schedule);
    let threads: Vec<_> = scripts
        .iter()
        .enumerate()
        .map(|(me, script)| {
            let turn = Turn { disk: Arc::new(disk.clone()), turns: turns.clone(), me };
            let shared: Arc<dyn Disk> = Arc::new(turn.clone());
            let program =
                Program { store: store_on(shared), disk: disk.clone(), turn, ledger: ledger.clone(), me };
            let (script, turns) = (*script, turns.clone());
            thread::spawn(move || {
                turns.begin(me);
                let ended = catch_unwind(AssertUnwindSafe(|| script(&program)));
                drop(program);
                turns.end(me);
                ended.unwrap_or_else(|_| Err("it panics".to_owned()))
            })
        })
        .collect();
    let ended: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for (me, ended) in ended.into_iter().enumerate() {
        ended.map_err(|why| format!("program {me}: {why}"))?;
    }
    let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
    check_end(&disk, &ledger)?;
    Ok(turns.trace())
}

impl Program {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.disk.now_ns()).unwrap()
    }

    fn rows(&self, round: u32) -> Vec<Record> {
        (0..2).map(|at| loose(&format!("p{}-{round}-{at}", self.me), 0)).collect()
    }
}

/// Two journals, each acknowledged line by line; the first is published, and so is the
/// second, while the lock of the newest shows that the writer lives.
pub(super) fn writer(program: &Program) -> Result<(), String> {
    let store = &program.store;
    let mut before = None;
    for round in 0..2 {
        let stem = format!("{}_20260201_110000_h_0a_{round}", program.me + 10);
        let mut journal = Journal::create(&*store.disk, &store.layout, &stem).map_err(text)?;
        drop(before.take());
        for row in program.rows(round) {
            program.ledger().attempt(std::slice::from_ref(&row));
            let lines = to_lines(std::slice::from_ref(&row)).map_err(text)?;
            journal.append(&lines, 1, false).map_err(text)?;
            program.ledger().acknowledge(std::slice::from_ref(&row));
        }
        match publish_journal(store, &stem, None) {
            Err(error) if !increment::already_published(&error) => return Err(text(error)),
            _ => before = Some(journal),
        }
    }
    Ok(())
}

/// A writer that dies before it publishes.
pub(super) fn writer_that_dies(program: &Program) -> Result<(), String> {
    let store = &program.store;
    let stem = format!("{}_20260201_110000_h_0a_0", program.me + 10);
    let mut journal = Journal::create(&*store.disk, &store.layout, &stem).map_err(text)?;
    for row in program.rows(0) {
        program.ledger().attempt(std::slice::from_ref(&row));
        journal.append(&to_lines(std::slice::from_ref(&row)).map_err(text)?, 1, false).map_err(text)?;
        program.ledger().acknowledge(std::slice::from_ref(&row));
    }
    Ok(())
}

fn consolidated(program: &Program, now: Timestamp) -> Result<(), String> {
    match consolidate::run(&program.store, &consolidate::Options::default(), now, &Control::default()) {
        // Other code changed main: nothing was done, and the next one does it.
        Ok(_) | Err(Error::MainChanged { .. } | Error::Changed { .. } | Error::Unstable { .. }) => Ok(()),
        Err(error) => Err(format!("consolidate fails: {error}")),
    }
}

pub(super) fn consolidator(program: &Program) -> Result<(), String> {
    (0..2).try_for_each(|_| consolidated(program, program.now()))
}

/// One that finds every legacy file quiet.
pub(super) fn impatient_consolidator(program: &Program) -> Result<(), String> {
    (0..2).try_for_each(|_| consolidated(program, program.now() + jiff::SignedDuration::from_secs(61)))
}

/// Publishes an increment and consolidates, again and again: what was consumed is
/// forgotten soon.
pub(super) fn busy(program: &Program) -> Result<(), String> {
    consolidated(program, program.now())?;
    for round in 0..2 {
        let rows = program.rows(round);
        let batch = crate::store::record::to_batch(&rows).map_err(text)?;
        let stem = format!("{}_20260201_110000_h_0a_{round}", program.me + 10);
        program.ledger().attempt(&rows);
        increment::publish(&program.store, &stem, &batch.schema(), [Ok(batch.clone())]).map_err(text)?;
        program.ledger().acknowledge(&rows);
        consolidated(program, program.now())?;
    }
    Ok(())
}

/// A dashboard and a query, both of which see what was acknowledged before they began.
pub(super) fn reader(program: &Program) -> Result<(), String> {
    let mut scanner = Scanner::new();
    for _ in 0..3 {
        let must = program.ledger().acknowledged.clone();
        let seen = scanner.scan(&program.store, program.now(), &Control::default());
        let most = program.ledger().attempted.len() as u64;
        match seen {
            Ok(snapshot) => {
                let tests: u64 = snapshot.cells.values().map(|tally| tally.tests).sum();
                if tests < must.len() as u64 || tests > most {
                    return Err(format!("{tests} tests are counted, of {} to {most}", must.len()));
                }
            }
            Err(Error::Unstable { .. }) => {}
            Err(error) => return Err(format!("a reader fails: {error}")),
        }
        let must = program.ledger().acknowledged.clone();
        let seen = oracle::read(&program.store);
        let may = program.ledger().attempted.clone();
        let expected = Expected { must: &must, may: &may, kept: &[], made: &[], damaged: false };
        match seen {
            Ok(seen) => expected.of(&seen)?,
            Err(why) if why.contains("kept changing") || why.contains("was changed while") => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

pub(super) fn cleaner(program: &Program) -> Result<(), String> {
    let options = cleanup::Options::default();
    (0..2).try_for_each(|_| {
        match cleanup::plan(&program.store, &options, program.now()) {
            Ok(plan) => cleanup::run(&program.store, &plan, &Control::default()).map(drop).map_err(text),
            // A file went while it was looked at.
            Err(error) if error.is_transient() => Ok(()),
            Err(error) => Err(text(error)),
        }
    })
}

fn legacy_path(program: &Program) -> PathBuf {
    program.store.layout.incremental().join("increment_7_20260131_120000.parquet")
}

/// Reads its file where it is there, and writes it anew with a row more. What it wrote
/// counts in the end; while it writes, nobody can tell.
pub(super) fn legacy_writer(program: &Program) -> Result<(), String> {
    let path = legacy_path(program);
    let mut rows = if program.disk.stat(&path).is_ok() { legacy_rows().to_vec() } else { Vec::new() };
    for round in 0..3 {
        program.turn.step();
        // A consumed file is gone, and its writer begins with nothing.
        if program.disk.stat(&path).is_err() {
            rows.clear();
        }
        rows.push(loose(&format!("legacy-{}-{round}", program.me), 0));
        program.ledger().attempt(&rows);
        program.turn.step();
        let mut file = program.disk.rewrite(&path).map_err(text)?;
        let bytes = legacy_bytes(&rows);
        for half in bytes.chunks(bytes.len().div_ceil(2)) {
            program.turn.step();
            file.write_all(half).map_err(text)?;
        }
    }
    program.ledger().late.extend(rows);
    Ok(())
}
