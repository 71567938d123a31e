//! A disk in memory that knows what a crash would leave. Every inode and folder has
//! the state that programs see and the operations that no fsync has made durable yet.
//! Each primitive step (write, link, unlink, rename, mkdir, fsync) has a number, so that
//! a test can look at every state that the machine could wake up with if the program died
//! there, let the disk fail there, or leave an fsync out.
//!
//! An fsync has a name: `sync <kind>` for that of a file, and for that of a folder the
//! operation that it belongs to and the kind of file, like `replace main`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{
    Disk, Entry, Known, ListAction, LockFile, Move, ReadFile, Space, Stat, WriteFile, stays_behind,
};
use crate::store::format::layout::LOCK;

mod handles;
mod state;
#[cfg(test)]
mod tests;

use handles::{SimRead, SimWrite};
use state::{Change, Folder, Moment, State, Step, kind_of, missing, split};

/// What becomes of a pending operation when power is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Survival {
    /// It reached the disk.
    Kept,
    /// It did not.
    Lost,
    /// Half of a write did; for other operations the same as `Kept`.
    Torn,
    /// The length of a write did, its bytes did not; for others the same as `Kept`.
    Hollow,
}

/// The simulated disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
    /// The mount through which it is seen.
    side: u8,
}

const FOLDER: Stat = Stat {
    inode: 0,
    bytes: 0,
    modified_ns: 0,
    links: 1,
    is_file: false,
};

impl SimDisk {
    /// An empty disk whose clock shows `now_ns`.
    pub(crate) fn new(now_ns: i128) -> Self {
        let disk = Self::default();
        {
            let mut state = disk.lock();
            state.clock_ns = now_ns;
            state.next_inode = 1;
            state.folders.insert(PathBuf::from("/"), Folder::default());
        }
        disk
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps taken so far.
    pub(crate) fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// The same disk through a mount of this number. None sees the locks of another, and only
    /// the machine whose disk it is (0) believes in them.
    pub(crate) fn on_side(&self, side: u8) -> Self {
        Self {
            side,
            ..self.clone()
        }
    }

    /// What the steps were, for the message of a failing test.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// What the disk's clock shows.
    pub(crate) fn now_ns(&self) -> i128 {
        self.lock().clock_ns
    }

    /// The names of all fsyncs that were asked for.
    pub(crate) fn syncs(&self) -> BTreeSet<String> {
        self.lock().synced.clone()
    }

    /// Lets step `number` fail once, having done nothing (a write: half of it).
    pub(crate) fn fault(&self, number: u64, kind: io::ErrorKind) {
        self.lock().faults.insert(number, kind);
    }

    /// Remembers from here on what there is at each step.
    pub(crate) fn record(&self) {
        self.lock().moments = Some(Vec::new());
    }

    /// The disks that a process would leave behind that dies at each of its steps.
    pub(crate) fn moments(&self) -> Vec<Self> {
        let mut state = self.lock();
        let moments = state.moments.take().unwrap_or_default();
        let disk = |Moment { inodes, folders }| {
            Self::awake(
                State {
                    inodes,
                    folders,
                    ..State::default()
                },
                &state,
            )
        };
        moments.into_iter().map(disk).collect()
    }

    /// Leaves out the fsyncs of this name, silently.
    pub(crate) fn skip(&self, sync: &str) {
        self.lock().skipped.insert(sync.to_owned());
    }

    /// The process ends here: it can do nothing more.
    pub(crate) fn stop(&self) {
        self.lock().crashed = true;
    }

    /// For each operation that no fsync has made durable, over all inodes and folders, whether
    /// it is a write.
    pub(crate) fn pending(&self) -> Vec<bool> {
        let state = self.lock();
        let changes = state.inodes.values().flat_map(|inode| &inode.pending);
        let steps = state.folders.values().flat_map(|folder| &folder.pending);
        let is_write = |change: &Change| matches!(change, Change::Write { .. });
        changes.map(is_write).chain(steps.map(|_| false)).collect()
    }

    /// Every file with its bytes, by path.
    pub(crate) fn files(&self) -> Vec<(PathBuf, Arc<Vec<u8>>)> {
        let state = self.lock();
        let names = state
            .folders
            .iter()
            .flat_map(|(path, folder)| folder.now.iter().map(move |n| (path, n)));
        names
            .map(|(path, (name, inode))| (path.join(name), state.inodes[inode].now.clone()))
            .collect()
    }

    /// A hash of everything that matters to programs: two disks with the same are the
    /// same to them. Numbers of inodes don't, but which names share one; nor does who
    /// held a lock.
    pub(crate) fn content(&self) -> u64 {
        let state = self.lock();
        let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
        let mut seen = BTreeMap::new();
        for (path, folder) in &state.folders {
            hasher.update(path.as_os_str().as_encoded_bytes());
            for (name, inode) in &folder.now {
                let first = seen.len();
                let number = *seen.entry(inode).or_insert(first);
                let own = &state.inodes[inode];
                let own = if name == LOCK { 0 } else { own.hashes.0 };
                for part in [name.as_bytes(), &number.to_le_bytes(), &own.to_le_bytes()] {
                    hasher.update(&part.len().to_le_bytes());
                    hasher.update(part);
                }
            }
        }
        hasher.digest()
    }

    /// The disk after every process died: what programs saw is still there, locks are free.
    pub(crate) fn after_kill(&self) -> Self {
        let state = self.lock();
        let (inodes, folders) = (state.inodes.clone(), state.folders.clone());
        Self::awake(
            State {
                inodes,
                folders,
                ..State::default()
            },
            &state,
        )
    }

    /// The disk after power was lost: of the pending operations those survive whose turn
    /// in `keep` (called once each, in a fixed order) says so.
    pub(crate) fn after_power_loss(&self, mut keep: impl FnMut() -> Survival) -> Self {
        let state = self.lock();
        let (mut inodes, mut folders) = (state.inodes.clone(), state.folders.clone());
        for node in inodes.values_mut() {
            node.survive(&mut keep);
        }
        let mut gone = Vec::new();
        for (path, folder) in &mut folders {
            gone.extend(
                folder
                    .survive(&mut keep)
                    .into_iter()
                    .map(|name| path.join(name)),
            );
        }
        folders.retain(|path, _| !gone.iter().any(|gone| path.starts_with(gone)));
        Self::awake(
            State {
                inodes,
                folders,
                ..State::default()
            },
            &state,
        )
    }

    fn awake(new: State, old: &State) -> Self {
        let clock_ns = old.clock_ns + 1_000_000_000;
        let (next_inode, ids) = (old.next_inode, (old.ids.0 + 1, 0));
        let state = State {
            next_inode,
            ids,
            clock_ns,
            skipped: old.skipped.clone(),
            ..new
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            side: 0,
        }
    }

    /// Empties a file in place, or makes one: how other programs rewrite theirs.
    pub(crate) fn rewrite(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let mut state = self.lock();
        let inode = match state.lookup(path) {
            Ok(inode) => {
                state.truncate(inode, path, 0)?;
                inode
            }
            Err(_) => state.create(path)?,
        };
        drop(state);
        Ok(Box::new(self.handle(path, inode)))
    }

    fn handle(&self, path: &Path, inode: u64) -> SimWrite {
        SimWrite {
            disk: self.clone(),
            path: path.to_path_buf(),
            inode,
            at: 0,
            locked: Mutex::new(false),
        }
    }
}

impl Disk for SimDisk {
    fn list_knowing(&self, folder: &Path, known: Known<'_>) -> io::Result<Vec<Entry>> {
        let state = self.lock();
        state.alive()?;
        let names = &state.folders.get(folder).ok_or_else(missing)?.now;
        let files = names.iter().filter_map(|(name, inode)| {
            let stat = match known(name, *inode) {
                ListAction::Passed => return None,
                ListAction::Known(stat) => stat,
                ListAction::Unknown => state.stat(*inode),
            };
            Some(Entry {
                name: name.clone(),
                stat,
            })
        });
        let inside = state
            .folders
            .keys()
            .filter(|path| path.parent() == Some(folder));
        let folders = inside.map(|path| Entry {
            name: split(path).1,
            stat: FOLDER,
        });
        Ok(files.chain(folders).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.lock();
        state.alive()?;
        if state.folders.contains_key(path) {
            return Ok(FOLDER);
        }
        Ok(state.stat(state.lookup(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let state = self.lock();
        state.alive()?;
        let inode = state.lookup(path)?;
        drop(state);
        Ok(Arc::new(SimRead {
            disk: self.clone(),
            inode,
        }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        state.make_folder(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let inode = self.lock().create(path)?;
        Ok(Box::new(self.handle(path, inode)))
    }

    fn publish(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.link(temporary, name)?;
        state.unlink(temporary)?;
        state.sync_folder(&split(name).0, &format!("publish {}", kind_of(name)))
    }

    fn replace(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step(|| format!("rename {} {}", temporary.display(), name.display()))?;
        let inode = state.lookup(temporary)?;
        let ((folder, from), (_, to)) = (split(temporary), split(name));
        state.change_folder(&folder, Step::Rename(from, to, inode))?;
        state.sync_folder(&folder, &format!("replace {}", kind_of(name)))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.link(from, to)?;
        state.sync_folder(&split(to).0, &format!("link {}", kind_of(to)))
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let bytes = {
            let state = self.lock();
            state.alive()?;
            state.inodes[&state.lookup(from)?].now.clone()
        };
        let mut file = self.create(to)?;
        file.write_all(&bytes)?;
        file.sync()?;
        self.lock()
            .sync_folder(&split(to).0, &format!("copy {}", kind_of(to)))
    }

    fn relocate(&self, from: &Path, to: &Path, moves: &[Move<'_>]) -> io::Result<()> {
        let mut state = self.lock();
        for one in moves {
            let (old, new) = (from.join(one.name), to.join(&one.to));
            if one.replaces && state.lookup(&old).is_ok() && state.lookup(&new).is_ok() {
                state.unlink(&new)?;
            }
            let moved = state.link(&old, &new);
            if !stays_behind(&moved) {
                moved?;
                state.unlink(&old)?;
            }
        }
        state.sync_folder(to, "move consumed")?;
        state.sync_folder(from, "move out of incremental")
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step(|| format!("rmdir {}", path.display()))?;
        let is_empty = |folder: &Folder| folder.now.is_empty();
        if state.folders.get(path).is_some_and(is_empty) {
            state.folders.remove(path);
        }
        Ok(())
    }

    fn remove(&self, folder: &Path, names: &[&str]) -> io::Result<()> {
        let mut state = self.lock();
        for name in names {
            match state.unlink(&folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let first = names
            .first()
            .map(|name| folder.join(name))
            .unwrap_or_default();
        let temporary = if split(&first).1.starts_with('.') {
            "temporary "
        } else {
            ""
        };
        state.sync_folder(folder, &format!("remove {temporary}{}", kind_of(&first)))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let name = folder
            .file_name()
            .unwrap_or(OsStr::new("above"))
            .to_string_lossy();
        self.lock().sync_folder(folder, &format!("folder {name}"))
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        let found = {
            let state = self.lock();
            state.alive()?;
            state.lookup(path)
        };
        let inode = match found {
            Ok(inode) => inode,
            Err(_) => self.lock().create(path)?,
        };
        let file = self.handle(path, inode);
        Ok(if file.try_lock()? {
            Some(Box::new(file))
        } else {
            None
        })
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let state = self.lock();
        state.alive()?;
        Ok(state
            .lookup(path)
            .is_ok_and(|inode| state.locks.contains(&(self.side, inode))))
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.alive()?;
        let inode = state.lookup(path)?;
        state.touch(inode)
    }

    fn try_share(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        let inode = self.lock().lookup(path)?;
        let file = self.handle(path, inode);
        Ok(if file.try_lock()? {
            Some(Box::new(file))
        } else {
            None
        })
    }

    fn believes_locks(&self, _folder: &Path) -> bool {
        self.side == 0
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space {
            free: 1 << 40,
            total: 1 << 41,
        })
    }

    /// The same at each play of a scenario; never one from before the disk woke up.
    fn id(&self) -> u128 {
        let mut state = self.lock();
        state.ids.1 += 1;
        let (woken, made) = state.ids;
        xxhash_rust::xxh3::xxh3_128(&[woken.to_le_bytes(), made.to_le_bytes()].concat())
    }

    fn pause(&self, time: Duration) {
        self.lock().clock_ns += time.as_nanos() as i128;
    }
}
