//! Programs that take turns: each runs in a thread of its own and hands on the turn at
//! every operation of the simulated disk. Who is next comes from a seed, so a schedule
//! can be played again.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::disk::{Disk, Entry, LockFile, ReadFile, Space, Stat, WriteFile};
use crate::store::layout::LOCK;

/// Longer than any schedule takes; a test that hangs says so.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schedule {
    /// At each operation perhaps another one, by this seed.
    Seed(u64),
    /// The first program stops at this operation until the others have ended.
    Stop(u64),
}

#[derive(Debug)]
struct State {
    schedule: Schedule,
    random: u64,
    current: usize,
    /// Those that can go on.
    ready: Vec<bool>,
    /// Those that wait for the store's lock.
    blocked: Vec<bool>,
    /// Operations of the first program.
    first: u64,
    trace: Vec<usize>,
}

/// The turn of several programs.
#[derive(Debug)]
pub(super) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

impl State {
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) as usize % below.max(1)
    }

    fn others(&self, me: usize) -> Vec<usize> {
        (0..self.ready.len()).filter(|&at| at != me && self.ready[at] && !self.blocked[at]).collect()
    }

    /// The next one; `stay` when the current one could go on.
    fn choose(&mut self, me: usize, stay: bool) -> Option<usize> {
        let others = self.others(me);
        if others.is_empty() {
            return stay.then_some(me);
        }
        let next = match self.schedule {
            Schedule::Seed(seed) => {
                let rarely = [2, 6, 24][seed as usize % 3];
                if stay && self.random(rarely) > 0 {
                    return Some(me);
                }
                self.random(others.len())
            }
            Schedule::Stop(at) => {
                let stops = me == 0 && self.first == at;
                if stay && !stops {
                    return Some(me);
                }
                // The first one goes on last.
                usize::from(others.len() > 1 && others[0] == 0)
            }
        };
        Some(others[next])
    }
}

impl Turns {
    pub(super) fn new(programs: usize, schedule: Schedule) -> Arc<Self> {
        let seed = match schedule {
            Schedule::Seed(seed) => seed,
            Schedule::Stop(_) => 1,
        };
        let state = State {
            schedule,
            random: seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            current: 0,
            ready: vec![true; programs],
            blocked: vec![false; programs],
            first: 0,
            trace: Vec::new(),
        };
        Arc::new(Self { state: Mutex::new(state), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, mut state: MutexGuard<'_, State>, me: usize) {
        while state.current != me {
            let (next, timeout) =
                self.changed.wait_timeout(state, PATIENCE).unwrap_or_else(PoisonError::into_inner);
            state = next;
            assert!(!timeout.timed_out(), "program {me} never gets its turn");
        }
    }

    /// Waits for the first turn.
    pub(super) fn begin(&self, me: usize) {
        self.wait(self.lock(), me);
    }

    /// Hands on the turn, perhaps, and waits for the next.
    pub(super) fn step(&self, me: usize) {
        let mut state = self.lock();
        state.trace.push(me);
        state.first += u64::from(me == 0);
        let next = state.choose(me, true).unwrap_or(me);
        self.hand_on(state, me, next);
    }

    fn hand_on(&self, mut state: MutexGuard<'_, State>, me: usize, next: usize) {
        if next != me {
            state.current = next;
            self.changed.notify_all();
        }
        self.wait(state, me);
    }

    /// Lets others go on until somebody gives the store's lock back; `false` when nobody will.
    fn block(&self, me: usize) -> bool {
        let mut state = self.lock();
        state.blocked[me] = true;
        let next = state.choose(me, false);
        if let Some(next) = next {
            self.hand_on(state, me, next);
        } else {
            state.blocked[me] = false;
        }
        next.is_some()
    }

    fn unblock(&self) {
        self.lock().blocked.fill(false);
    }

    /// A program has ended.
    pub(super) fn end(&self, me: usize) {
        let mut state = self.lock();
        state.ready[me] = false;
        if state.others(me).is_empty() {
            state.blocked.fill(false);
        }
        if let Some(next) = state.choose(me, false) {
            state.current = next;
        }
        self.changed.notify_all();
    }

    /// Who had the turn at each operation.
    pub(super) fn trace(&self) -> Vec<usize> {
        self.lock().trace.clone()
    }
}

/// The disk as one of the programs sees it.
#[derive(Debug, Clone)]
pub(super) struct Turn {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) turns: Arc<Turns>,
    pub(super) me: usize,
}

impl Turn {
    pub(super) fn step(&self) {
        self.turns.step(self.me);
    }
}

impl Disk for Turn {
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.step();
        self.disk.list(folder)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.step();
        self.disk.stat(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        self.step();
        Ok(Arc::new(TurnRead { file: self.disk.open(path)?, turn: self.clone() }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.step();
        self.disk.create_folder(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        self.step();
        Ok(Box::new(TurnWrite { file: self.disk.create(path)?, turn: self.clone() }))
    }

    fn publish(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        self.step();
        self.disk.publish(temporary, name)
    }

    fn replace(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        self.step();
        self.disk.replace(temporary, name)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step();
        self.disk.link(from, to)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step();
        self.disk.copy(from, to)
    }

    fn remove(&self, folder: &Path, names: &[&str]) -> io::Result<()> {
        for name in names {
            self.step();
            self.disk.remove(folder, &[name])?;
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    /// Waits for the store's lock while somebody else can give it back.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        loop {
            self.step();
            match self.disk.try_lock(path)? {
                Some(file) => {
                    let turns = self.turns.clone();
                    return Ok(Some(Box::new(TurnLock { file: Some(file), turns })));
                }
                None if path.ends_with(LOCK) && self.turns.block(self.me) => {}
                None => return Ok(None),
            }
        }
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.step();
        self.disk.is_locked(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn pause(&self, time: Duration) {
        self.disk.pause(time);
        self.step();
    }
}

#[derive(Debug)]
struct TurnRead {
    file: Arc<dyn ReadFile>,
    turn: Turn,
}

impl ReadFile for TurnRead {
    fn stat(&self) -> io::Result<Stat> {
        self.turn.step();
        self.file.stat()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.turn.step();
        self.file.read_at(offset, buf)
    }
}

#[derive(Debug)]
struct TurnWrite {
    file: Box<dyn WriteFile>,
    turn: Turn,
}

impl Write for TurnWrite {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.turn.step();
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl WriteFile for TurnWrite {
    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.turn.step();
        self.file.truncate(len)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.turn.step();
        self.file.try_lock()
    }

    fn copy_from(&mut self, source: &dyn ReadFile, range: Range<u64>) -> io::Result<()> {
        self.turn.step();
        self.file.copy_from(source, range)
    }
}

#[derive(Debug)]
struct TurnLock {
    file: Option<Box<dyn LockFile>>,
    turns: Arc<Turns>,
}

impl LockFile for TurnLock {
    fn describe(&mut self, holder: &str) -> io::Result<()> {
        self.file.as_mut().map_or(Ok(()), |file| file.describe(holder))
    }
}

impl Drop for TurnLock {
    fn drop(&mut self) {
        self.file = None;
        self.turns.unblock();
    }
}
