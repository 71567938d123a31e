//! Programs that take turns: each runs in a thread of its own and hands on the turn at
//! every operation of the simulated disk. Who is next comes from a seed, so a schedule
//! can be played again.

use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::store::disk::{Disk, Entry, Known, LockFile, Move, ReadFile, Space, Stat, WriteFile};
use crate::store::format::layout::{IncrementalName, LOCK, MAIN, classify};

/// Longer than any schedule takes; a test that hangs says so.
const PATIENCE: Duration = Duration::from_secs(120);

/// Who is next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// At each operation perhaps another one, by this seed.
    Seed(u64),
    /// The first program stops at this operation until the others have ended.
    Stop(u64),
    /// As by a seed, and the first program dies at the operation of this number.
    Dies(u64),
}

/// What an operation may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Goes,
    /// The program dies in it.
    Ends,
    /// It is dead.
    Over,
}

impl Life {
    fn check(self) -> io::Result<()> {
        if self == Self::Goes {
            Ok(())
        } else {
            Err(io::Error::other("the process is dead"))
        }
    }
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
    /// Whether a program changes main in place.
    main_is_rewritten: bool,
    /// Whoever has looked at main for the last time before it replaces it: in this moment
    /// the promises to code that takes no lock don't hold.
    last_scan: Option<usize>,
}

/// The turn of several programs.
#[derive(Debug)]
pub(crate) struct Turns {
    state: Mutex<State>,
    /// One for each program.
    changed: Vec<Condvar>,
}

impl State {
    fn random(&mut self, below: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) as usize % below.max(1)
    }

    fn others(&self, me: usize) -> Vec<usize> {
        (0..self.ready.len())
            .filter(|&at| at != me && self.ready[at] && !self.blocked[at])
            .collect()
    }

    fn life(&self, me: usize) -> Life {
        match self.schedule {
            Schedule::Dies(at) if me == 0 && self.first >= at => Life::Over,
            _ => Life::Goes,
        }
    }

    /// The next one; `stay` when the current one could go on.
    fn choose(&mut self, me: usize, stay: bool) -> Option<usize> {
        let others = self.others(me);
        if others.is_empty() {
            return stay.then_some(me);
        }
        let next = match self.schedule {
            Schedule::Seed(seed) | Schedule::Dies(seed) => {
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
    pub(crate) fn new(programs: usize, schedule: Schedule, main_is_rewritten: bool) -> Arc<Self> {
        let seed = match schedule {
            Schedule::Seed(seed) | Schedule::Dies(seed) => seed,
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
            main_is_rewritten,
            last_scan: None,
        };
        let changed = (0..programs).map(|_| Condvar::new()).collect();
        Arc::new(Self {
            state: Mutex::new(state),
            changed,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, mut state: MutexGuard<'_, State>, me: usize) {
        while state.current != me {
            let (next, timeout) = self.changed[me]
                .wait_timeout(state, PATIENCE)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            assert!(
                state.current == me || !timeout.timed_out(),
                "program {me} never gets its turn"
            );
        }
    }

    /// Waits for the first turn.
    pub(crate) fn begin(&self, me: usize) {
        self.wait(self.lock(), me);
    }

    /// Hands on the turn, perhaps, and waits for the next.
    fn step(&self, me: usize) -> Life {
        let mut state = self.lock();
        let life = state.life(me);
        if life == Life::Over {
            return life;
        }
        state.trace.push(me);
        state.first += u64::from(me == 0);
        let life = match state.life(me) {
            Life::Goes => Life::Goes,
            _ => return Life::Ends,
        };
        if state.last_scan == Some(me) {
            return life;
        }
        let next = state.choose(me, true).unwrap_or(me);
        self.hand_on(state, me, next);
        life
    }

    /// Whether some program changes the bytes of such a file in place. To read those of
    /// another one concerns nobody, so nobody else gets the turn there.
    fn is_rewritten(&self, path: &Path) -> bool {
        let kind = path
            .file_name()
            .and_then(|name| name.to_str())
            .map(classify);
        let grows = matches!(
            kind,
            Some(IncrementalName::LegacyIncrement | IncrementalName::Journal)
        );
        grows || (path.ends_with(MAIN) && self.lock().main_is_rewritten)
    }

    /// Lets nobody else have the turn until main is replaced, or not.
    fn last_scan(&self, me: usize, begins: bool) {
        let mut state = self.lock();
        if begins && state.main_is_rewritten {
            state.last_scan = Some(me);
        } else if state.last_scan == Some(me) {
            state.last_scan = None;
        }
    }

    /// Whether the first program died.
    pub(crate) fn died(&self) -> bool {
        self.lock().life(0) != Life::Goes
    }

    fn hand_on(&self, mut state: MutexGuard<'_, State>, me: usize, next: usize) {
        if next != me {
            state.current = next;
            // A program may read with several threads.
            self.changed[next].notify_all();
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
    pub(crate) fn end(&self, me: usize) {
        let mut state = self.lock();
        state.ready[me] = false;
        state.last_scan = None;
        if state.others(me).is_empty() {
            state.blocked.fill(false);
        }
        if let Some(next) = state.choose(me, false) {
            state.current = next;
            // A program may read with several threads.
            self.changed[next].notify_all();
        }
    }

    /// Who had the turn at each operation.
    pub(crate) fn trace(&self) -> Vec<usize> {
        self.lock().trace.clone()
    }
}

/// The disk as one of the programs sees it.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) turns: Arc<Turns>,
    pub(crate) me: usize,
}

impl Turn {
    pub(crate) fn step(&self) -> io::Result<()> {
        self.turns.step(self.me).check()
    }
}

impl Disk for Turn {
    fn list_knowing(&self, folder: &Path, known: Known<'_>) -> io::Result<Vec<Entry>> {
        self.step()?;
        self.disk.list_knowing(folder, known)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        self.step()?;
        self.disk.stat(path)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        self.step()?;
        let (file, rewritten) = (self.disk.open(path)?, self.turns.is_rewritten(path));
        Ok(Arc::new(TurnRead {
            file,
            rewritten,
            turn: self.clone(),
        }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.create_folder(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        self.step()?;
        Ok(Box::new(TurnWrite {
            file: self.disk.create(path)?,
            turn: self.clone(),
        }))
    }

    fn publish(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.publish(temporary, name)
    }

    fn replace(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        self.step()?;
        let replaced = self.disk.replace(temporary, name);
        if name.ends_with(MAIN) {
            self.turns.last_scan(self.me, false);
        }
        replaced
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.link(from, to)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.copy(from, to)
    }

    fn relocate(&self, from: &Path, to: &Path, moves: &[Move<'_>]) -> io::Result<()> {
        for one in moves {
            self.step()?;
            self.disk.relocate(from, to, std::slice::from_ref(one))?;
        }
        Ok(())
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.remove_folder(path)
    }

    fn remove(&self, folder: &Path, names: &[&str]) -> io::Result<()> {
        for name in names {
            // The copy that is withdrawn, when main is not what it was.
            if folder.ends_with("commits") {
                self.turns.last_scan(self.me, false);
            }
            self.step()?;
            self.disk.remove(folder, &[name])?;
        }
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        if folder.ends_with("commits") {
            self.turns.last_scan(self.me, true);
        }
        self.disk.sync_folder(folder)
    }

    /// Waits for the store's lock while somebody else can give it back.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        loop {
            self.step()?;
            match self.disk.try_lock(path)? {
                Some(file) => {
                    let turns = self.turns.clone();
                    return Ok(Some(Box::new(TurnLock {
                        file: Some(file),
                        turns,
                    })));
                }
                None if path.ends_with(LOCK) && self.turns.block(self.me) => {}
                None => return Ok(None),
            }
        }
    }

    fn try_share(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        self.step()?;
        self.disk.try_share(path)
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        self.disk.touch(path)
    }

    fn believes_locks(&self, folder: &Path) -> bool {
        self.disk.believes_locks(folder)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.step()?;
        self.disk.is_locked(path)
    }

    fn is_open_for_writing(&self, path: &Path) -> io::Result<Option<bool>> {
        self.step()?;
        self.disk.is_open_for_writing(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn id(&self) -> u128 {
        self.disk.id()
    }

    fn pause(&self, time: Duration) {
        self.disk.pause(time);
        let _ = self.step();
    }
}

#[derive(Debug)]
struct TurnRead {
    file: Arc<dyn ReadFile>,
    rewritten: bool,
    turn: Turn,
}

impl ReadFile for TurnRead {
    fn stat(&self) -> io::Result<Stat> {
        self.turn.step()?;
        self.file.stat()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        if self.rewritten {
            self.turn.step()?;
        }
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
        let life = self.turn.turns.step(self.turn.me);
        if life == Life::Ends {
            self.file.write_all(&buf[..buf.len() / 2])?;
        }
        life.check()?;
        self.file.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl WriteFile for TurnWrite {
    fn sync(&mut self) -> io::Result<()> {
        self.turn.step()?;
        self.file.sync()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.turn.step()?;
        self.file.truncate(len)
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.turn.step()?;
        self.file.try_lock()
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.turn.step()?;
        self.file.read_back(offset, buf)
    }

    fn bytes_at(&self, path: &Path) -> io::Result<Option<u64>> {
        self.turn.step()?;
        self.file.bytes_at(path)
    }

    fn copy_from(&mut self, source: &dyn ReadFile, range: Range<u64>) -> io::Result<()> {
        self.turn.step()?;
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
        self.file
            .as_mut()
            .map_or(Ok(()), |file| file.describe(holder))
    }
}

impl Drop for TurnLock {
    fn drop(&mut self) {
        self.file = None;
        self.turns.unblock();
    }
}
