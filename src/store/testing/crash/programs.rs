//! The programs that take turns on one store, and what each must see all along.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use jiff::Timestamp;

use super::explore::check_end;
use super::mutant::{Mutant, Mutated};
use super::oracle::{self, Expected};
use super::schedule::{Schedule, Turn, Turns};
use super::{Ledger, World, attempt, loose, store_on};
use crate::store::commit::consolidate;
use crate::store::disk::Disk;
use crate::store::disk::sim::SimDisk;
use crate::store::maintain::cleanup;
use crate::store::parquet::table::pack_quickly;
use crate::store::read::snapshot::Scanner;
use crate::store::write::increment;
use crate::store::write::increment::publish_journal;
use crate::store::write::journal::{Journal, to_lines};
use crate::store::{Control, Error, Record, Store};

/// One of the programs.
pub(crate) struct Program {
    pub(crate) store: Store,
    pub(crate) disk: SimDisk,
    pub(crate) turn: Turn,
    ledger: Arc<Mutex<Ledger>>,
    pub(crate) me: usize,
}

pub(crate) type Script = fn(&Program) -> Result<(), String>;

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Programs that start on the same store.
#[derive(Clone, Copy)]
pub(crate) struct Play {
    pub(crate) name: &'static str,
    pub(crate) setup: super::Scenario,
    pub(crate) scripts: &'static [Script],
    /// One of them rewrites main in place.
    pub(crate) rewrites_main: bool,
    /// Each has a mount of its own, which shows no other's locks.
    pub(crate) split: bool,
}

/// A play whose store is there.
pub(crate) struct Start {
    play: Play,
    disk: SimDisk,
    ledger: Ledger,
}

impl Start {
    pub(crate) fn of(play: Play) -> Result<Self, String> {
        let disk = SimDisk::new(super::now().as_nanosecond() - 3_600_000_000_000);
        let mut world = World::new(disk, None, Ledger::default());
        (play.setup)(&mut world).map_err(text)?;
        Ok(Self {
            play,
            disk: world.disk,
            ledger: world.ledger,
        })
    }

    /// Lets the programs take turns, the first perhaps with something wrong with it, and
    /// checks what is there in the end.
    pub(crate) fn run(
        &self,
        schedule: Schedule,
        wrong: Option<Mutant>,
    ) -> Result<Arc<Turns>, String> {
        let disk = self.disk.after_kill();
        let ledger = Arc::new(Mutex::new(self.ledger.clone()));
        let turns = Turns::new(self.play.scripts.len(), schedule, self.play.rewrites_main);
        let threads: Vec<_> = self
            .play
            .scripts
            .iter()
            .enumerate()
            .map(|(me, script)| {
                let side = if self.play.split { me as u8 } else { 0 };
                let turn = Turn {
                    disk: Arc::new(disk.on_side(side)),
                    turns: turns.clone(),
                    me,
                };
                let shared: Arc<dyn Disk> = match wrong {
                    Some(mutant) if me == 0 => {
                        Arc::new(Mutated::new(Arc::new(turn.clone()), mutant))
                    }
                    _ => Arc::new(turn.clone()),
                };
                let program = Program {
                    store: store_on(shared),
                    disk: disk.clone(),
                    turn,
                    ledger: ledger.clone(),
                    me,
                };
                let (script, turns) = (*script, turns.clone());
                thread::spawn(move || {
                    pack_quickly();
                    turns.begin(me);
                    let ended = catch_unwind(AssertUnwindSafe(|| script(&program)));
                    drop(program);
                    turns.end(me);
                    ended.unwrap_or_else(|_| Err("it panics".to_owned()))
                })
            })
            .collect();
        let ended: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect();
        for (me, ended) in ended.into_iter().enumerate() {
            if me > 0 || !turns.died() {
                ended.map_err(|why| format!("program {me}: {why}"))?;
            }
        }
        let ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
        check_end(&disk, &ledger)?;
        Ok(turns)
    }
}

impl Program {
    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a reader must see. Rows of legacy code are not there while it rewrites its file.
    fn promised(&self) -> BTreeMap<String, i64> {
        let mut promised = self.ledger().acknowledged.clone();
        promised.retain(|test, _| !test.starts_with("legacy-"));
        promised
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.disk.now_ns()).unwrap()
    }

    fn rows(&self, round: u32) -> Vec<Record> {
        (0..2)
            .map(|at| loose(&format!("p{}-{round}-{at}", self.me), 0))
            .collect()
    }
}

/// Rows as a writer of ours writes them into its journal: each has an id.
fn lines(program: &Program, round: u32) -> Vec<Record> {
    (0..2)
        .map(|at| attempt(&format!("p{}-{round}-{at}", program.me), 0))
        .collect()
}

/// Two journals, each acknowledged line by line; the first is published, and so is the
/// second, while the lock of the newest shows that the writer lives.
pub(crate) fn writer(program: &Program) -> Result<(), String> {
    let store = &program.store;
    let mut before = None;
    for round in 0..2 {
        let stem = format!("{}_20260201_110000_h_0a_{round}", program.me + 10);
        let mut journal = Journal::create(&*store.disk, &store.layout, &stem).map_err(text)?;
        drop(before.take());
        for row in lines(program, round) {
            program.ledger().attempt(std::slice::from_ref(&row));
            let lines = to_lines(std::slice::from_ref(&row)).map_err(text)?;
            journal.append(&lines, 1, false).map_err(text)?;
            program.ledger().acknowledge(std::slice::from_ref(&row));
        }
        journal.seal();
        publish_journal(store, &journal, None).map_err(text)?;
        before = Some(journal);
    }
    Ok(())
}

/// A writer that dies before it publishes.
pub(crate) fn writer_that_dies(program: &Program) -> Result<(), String> {
    let store = &program.store;
    let stem = format!("{}_20260201_110000_h_0a_0", program.me + 10);
    let mut journal = Journal::create(&*store.disk, &store.layout, &stem).map_err(text)?;
    for row in lines(program, 0) {
        program.ledger().attempt(std::slice::from_ref(&row));
        journal
            .append(
                &to_lines(std::slice::from_ref(&row)).map_err(text)?,
                1,
                false,
            )
            .map_err(text)?;
        program.ledger().acknowledge(std::slice::from_ref(&row));
    }
    Ok(())
}

fn consolidated(program: &Program, now: Timestamp) -> Result<(), String> {
    let done = consolidate::run(
        &program.store,
        &consolidate::Options::default(),
        now,
        &Control::default(),
    );
    // Some of it may have been done before.
    let done = done.map_err(|error| match error {
        Error::Partly { source, .. } => *source,
        error => error,
    });
    match done {
        // Other code changed main: nothing was done, and the next one does it.
        Ok(_)
        | Err(
            Error::MainChanged { .. }
            // Somebody else commits, or took this one for dead.
            | Error::Locked { .. }
            | Error::Revoked { .. }
            | Error::Changed { .. }
            | Error::Unstable { .. }
            | Error::InProgress { .. },
        ) => Ok(()),
        // Other code is writing it.
        Err(Error::Unreadable { path, .. }) if path == program.store.layout.main() => Ok(()),
        Err(error) => Err(format!("consolidate fails: {error}")),
    }
}

pub(crate) fn consolidator(program: &Program) -> Result<(), String> {
    (0..2).try_for_each(|_| consolidated(program, program.now()))
}

/// One that comes when everything seems to have rested for a while.
pub(crate) fn patient(program: &Program) -> Result<(), String> {
    (0..2).try_for_each(|_| {
        let later = program.now() + jiff::SignedDuration::from_mins(11);
        consolidated(program, later)
    })
}

/// One that finds every legacy file quiet.
pub(crate) fn impatient_consolidator(program: &Program) -> Result<(), String> {
    (0..2).try_for_each(|_| {
        consolidated(program, program.now() + jiff::SignedDuration::from_secs(61))
    })
}

/// Publishes an increment and consolidates, again and again: what was consumed is
/// forgotten soon.
pub(crate) fn busy(program: &Program) -> Result<(), String> {
    consolidated(program, program.now())?;
    for round in 0..2 {
        let rows = program.rows(round);
        let batch = crate::store::format::record::to_batch(&rows).map_err(text)?;
        let stem = format!("{}_20260201_110000_h_0a_{round}", program.me + 10);
        program.ledger().attempt(&rows);
        increment::publish(&program.store, &stem, &batch.schema(), [Ok(batch.clone())])
            .map_err(text)?;
        program.ledger().acknowledge(&rows);
        consolidated(program, program.now())?;
    }
    Ok(())
}

/// What a reader may say of a store that others change.
const EXCUSES: [&str; 3] = [
    "kept changing",
    "was changed while",
    "is being written by another program",
];

/// A dashboard and a query, both of which see what was acknowledged before they began.
pub(crate) fn reader(program: &Program) -> Result<(), String> {
    let mut scanner = Scanner::new();
    for _ in 0..3 {
        let must = program.promised();
        let seen = scanner.scan(&program.store, program.now(), &Control::default());
        let most = program.ledger().attempted.len() as u64;
        match seen {
            Ok(snapshot) => {
                let tests: u64 = snapshot.cells.values().map(|tally| tally.tests).sum();
                if tests < must.len() as u64 || tests > most {
                    return Err(format!(
                        "{tests} tests are counted, of {} to {most}",
                        must.len()
                    ));
                }
            }
            Err(Error::Unstable { .. } | Error::InProgress { .. }) => {}
            Err(error) => return Err(format!("a reader fails: {error}")),
        }
        let must = program.promised();
        let seen = oracle::read(&program.store);
        let may = program.ledger().attempted.clone();
        let expected = Expected::among(&must, &may);
        match seen {
            Ok(seen) => expected.of(&seen)?,
            Err(why) if EXCUSES.iter().any(|excuse| why.contains(excuse)) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

pub(crate) fn cleaner(program: &Program) -> Result<(), String> {
    let options = cleanup::Options::default();
    (0..2).try_for_each(
        |_| match cleanup::plan(&program.store, &options, program.now()) {
            Ok(plan) => cleanup::run(&program.store, &plan, &Control::default())
                .map(drop)
                .map_err(text),
            Err(Error::Unstable { .. }) => Ok(()),
            Err(error) => Err(text(error)),
        },
    )
}
