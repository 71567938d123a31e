//! A disk in memory that knows what a crash would leave. Every inode and folder has
//! the state that programs see and the operations that no fsync has made durable yet.
//! Each primitive step (write, link, unlink, rename, fsync) has a number, so that a
//! test can stop the program at any of them, let the disk fail there, or leave an
//! fsync out, and then look at every state that the machine could wake up with.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, Entry, LockFile, ReadFile, Space, Stat, WriteFile};

/// What happens at a numbered step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process dies: this step and all later ones fail and change nothing.
    Crash,
    /// The step fails once with this error, having done nothing (a write: half of it).
    Error(io::ErrorKind),
}

/// What a mutant leaves out or swaps, to show that a test would notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// fsync of a file whose name starts with this.
    File(&'static str),
    /// fsync of a folder with this name.
    Folder(&'static str),
}

#[derive(Debug, Clone)]
enum Change {
    Write { at: u64, bytes: Vec<u8> },
    Truncate(u64),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Change>,
    modified_ns: i128,
}

#[derive(Debug, Clone)]
enum Step {
    Link(String, u64),
    Unlink(String),
    Rename(String, String, u64),
}

#[derive(Debug, Clone, Default)]
struct Folder {
    now: BTreeMap<String, u64>,
    durable: BTreeMap<String, u64>,
    pending: Vec<Step>,
}

#[derive(Debug, Default)]
struct State {
    inodes: BTreeMap<u64, Inode>,
    folders: BTreeMap<PathBuf, Folder>,
    locks: BTreeSet<u64>,
    next_inode: u64,
    clock_ns: i128,
    steps: u64,
    faults: BTreeMap<u64, Fault>,
    crashed: bool,
    skipped: Vec<Sync>,
    log: Vec<String>,
}

/// The simulated disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct SimDisk {
    state: Arc<Mutex<State>>,
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

fn split(path: &Path) -> (PathBuf, String) {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (path.parent().unwrap_or(Path::new("/")).to_path_buf(), name)
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes: new } => {
                let (at, end) = (*at as usize, *at as usize + new.len());
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[at..end].copy_from_slice(new);
            }
            Self::Truncate(len) => bytes.resize(*len as usize, 0),
        }
    }
}

impl Step {
    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            Self::Link(name, inode) => drop(names.insert(name.clone(), *inode)),
            Self::Unlink(name) => drop(names.remove(name)),
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }
}

impl State {
    /// Counts one step and lets its fault happen.
    fn step(&mut self, what: impl FnOnce() -> String) -> io::Result<()> {
        if self.crashed {
            return Err(dead());
        }
        let number = self.steps;
        self.steps += 1;
        self.log.push(what());
        match self.faults.get(&number) {
            Some(Fault::Crash) => {
                self.crashed = true;
                Err(dead())
            }
            Some(Fault::Error(kind)) => Err(io::Error::from(*kind)),
            None => Ok(()),
        }
    }

    fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(dead()) } else { Ok(()) }
    }

    fn lookup(&self, path: &Path) -> io::Result<u64> {
        let (folder, name) = split(path);
        let names = &self.folders.get(&folder).ok_or_else(missing)?.now;
        names.get(&name).copied().ok_or_else(missing)
    }

    fn change_folder(&mut self, folder: &Path, step: Step) {
        let entry = self.folders.entry(folder.to_path_buf()).or_default();
        step.apply(&mut entry.now);
        entry.pending.push(step);
    }

    fn stat(&self, inode: u64) -> Stat {
        let links = self.folders.values().flat_map(|f| f.now.values()).filter(|i| **i == inode).count();
        let node = &self.inodes[&inode];
        Stat {
            inode,
            bytes: node.now.len() as u64,
            modified_ns: node.modified_ns,
            links: links as u64,
            is_file: true,
        }
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.step(|| format!("fsync {}/", folder.display()))?;
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if self.skipped.iter().any(|s| matches!(s, Sync::Folder(f) if *f == name)) {
            return Ok(());
        }
        let entry = self.folders.get_mut(folder).ok_or_else(missing)?;
        entry.durable = entry.now.clone();
        entry.pending.clear();
        Ok(())
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.step(|| format!("unlink {}", path.display()))?;
        self.lookup(path)?;
        let (folder, name) = split(path);
        self.change_folder(&folder, Step::Unlink(name));
        Ok(())
    }

    fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| format!("link {} {}", from.display(), to.display()))?;
        let inode = self.lookup(from)?;
        if self.lookup(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (folder, name) = split(to);
        self.change_folder(&folder, Step::Link(name, inode));
        Ok(())
    }

    fn sync_file(&mut self, inode: u64, path: &Path) -> io::Result<()> {
        self.step(|| format!("fsync {}", path.display()))?;
        let (_, name) = split(path);
        if self.skipped.iter().any(|s| matches!(s, Sync::File(prefix) if name.starts_with(prefix))) {
            return Ok(());
        }
        let node = self.inodes.get_mut(&inode).ok_or_else(missing)?;
        node.durable = node.now.clone();
        node.pending.clear();
        Ok(())
    }

    fn write(&mut self, inode: u64, path: &Path, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.alive()?;
        let fault = self.step(|| format!("write {} B to {}", bytes.len(), path.display()));
        // A failing write may have written a part of what it was given.
        let written = if fault.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        if !written.is_empty() {
            self.clock_ns += 1_000_000;
            let modified_ns = self.clock_ns;
            let node = self.inodes.get_mut(&inode).ok_or_else(missing)?;
            let change = Change::Write { at, bytes: written.to_vec() };
            change.apply(&mut node.now);
            node.pending.push(change);
            node.modified_ns = modified_ns;
        }
        fault
    }
}

impl SimDisk {
    /// An empty disk whose clock shows `now_ns`.
    pub(crate) fn new(now_ns: i128) -> Self {
        let disk = Self::default();
        disk.lock().clock_ns = now_ns;
        disk.lock().next_inode = 1;
        disk
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Steps taken so far.
    pub(crate) fn steps(&self) -> u64 {
        self.lock().steps
    }

    /// What the steps were, for the message of a failing test.
    pub(crate) fn log(&self) -> Vec<String> {
        self.lock().log.clone()
    }

    /// Lets `fault` happen at step `number`.
    pub(crate) fn fault(&self, number: u64, fault: Fault) {
        self.lock().faults.insert(number, fault);
    }

    /// Leaves these fsyncs out, silently.
    pub(crate) fn skip(&self, sync: Sync) {
        self.lock().skipped.push(sync);
    }

    /// Whether a fault of kind `Crash` happened.
    pub(crate) fn crashed(&self) -> bool {
        self.lock().crashed
    }

    /// Operations that no fsync has made durable, over all inodes and folders.
    pub(crate) fn pending(&self) -> usize {
        let state = self.lock();
        state.inodes.values().map(|i| i.pending.len()).sum::<usize>()
            + state.folders.values().map(|f| f.pending.len()).sum::<usize>()
    }

    /// A hash of everything that programs see: two disks with the same are the same to them.
    pub(crate) fn content(&self) -> u64 {
        let state = self.lock();
        let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
        for (path, folder) in &state.folders {
            for (name, inode) in &folder.now {
                for part in [path.as_os_str().as_encoded_bytes(), name.as_bytes(), &state.inodes[inode].now] {
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
        Self::awake(&state, state.inodes.clone(), state.folders.clone())
    }

    /// The disk after power was lost: of the pending operations those survive whose turn
    /// in `keep` (called once each, in a fixed order) says so; a write may survive by half.
    pub(crate) fn after_power_loss(&self, mut keep: impl FnMut() -> Survival) -> Self {
        let state = self.lock();
        let mut inodes = state.inodes.clone();
        for node in inodes.values_mut() {
            let mut bytes = node.durable.clone();
            for change in &node.pending {
                match (keep(), change) {
                    (Survival::Lost, _) => {}
                    (Survival::Torn, Change::Write { at, bytes: new }) => {
                        let half = new[..new.len() / 2].to_vec();
                        Change::Write { at: *at, bytes: half }.apply(&mut bytes);
                    }
                    (_, change) => change.apply(&mut bytes),
                }
            }
            *node =
                Inode { now: bytes.clone(), durable: bytes, pending: vec![], modified_ns: node.modified_ns };
        }
        let mut folders = state.folders.clone();
        for folder in folders.values_mut() {
            let mut names = folder.durable.clone();
            for step in &folder.pending {
                if keep() != Survival::Lost {
                    step.apply(&mut names);
                }
            }
            *folder = Folder { now: names.clone(), durable: names, pending: vec![] };
        }
        Self::awake(&state, inodes, folders)
    }

    fn awake(old: &State, inodes: BTreeMap<u64, Inode>, folders: BTreeMap<PathBuf, Folder>) -> Self {
        let state = State {
            inodes,
            folders,
            next_inode: old.next_inode,
            clock_ns: old.clock_ns + 1_000_000_000,
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }
}

/// What becomes of a pending operation when power is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Survival {
    /// It reached the disk.
    Kept,
    /// It did not.
    Lost,
    /// Half of a write did; for other operations the same as `Kept`.
    Torn,
}

#[derive(Debug)]
struct SimRead {
    disk: SimDisk,
    inode: u64,
}

impl ReadFile for SimRead {
    fn stat(&self) -> io::Result<Stat> {
        let state = self.disk.lock();
        state.alive()?;
        Ok(state.stat(self.inode))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let state = self.disk.lock();
        state.alive()?;
        let bytes = &state.inodes[&self.inode].now;
        let from = (offset as usize).min(bytes.len());
        let n = buf.len().min(bytes.len() - from);
        buf[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }
}

/// A handle that writes, and holds its lock for as long as it and its process live.
#[derive(Debug)]
struct SimWrite {
    disk: SimDisk,
    path: PathBuf,
    inode: u64,
    at: u64,
    locked: Mutex<bool>,
}

impl SimWrite {
    fn take_lock(&self) -> io::Result<bool> {
        let mut state = self.disk.lock();
        state.alive()?;
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner);
        *locked = *locked || state.locks.insert(self.inode);
        Ok(*locked)
    }
}

impl Drop for SimWrite {
    fn drop(&mut self) {
        if *self.locked.lock().unwrap_or_else(PoisonError::into_inner) {
            self.disk.lock().locks.remove(&self.inode);
        }
    }
}

impl Write for SimWrite {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.disk.lock().write(self.inode, &self.path, self.at, buf)?;
        self.at += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for SimWrite {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.lock().sync_file(self.inode, &self.path)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.step(|| format!("truncate {} to {len}", self.path.display()))?;
        let node = state.inodes.get_mut(&self.inode).ok_or_else(missing)?;
        Change::Truncate(len).apply(&mut node.now);
        node.pending.push(Change::Truncate(len));
        self.at = len;
        Ok(())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.take_lock()
    }

    fn copy_from(&mut self, source: &dyn ReadFile, range: std::ops::Range<u64>) -> io::Result<()> {
        super::copy_range(source, range, self)
    }
}

impl LockFile for SimWrite {
    fn describe(&mut self, holder: &str) -> io::Result<()> {
        let mut state = self.disk.lock();
        state.alive()?;
        let node = state.inodes.get_mut(&self.inode).ok_or_else(missing)?;
        node.now = holder.as_bytes().to_vec();
        node.durable.clone_from(&node.now);
        Ok(())
    }
}

impl SimDisk {
    fn handle(&self, path: &Path, inode: u64) -> SimWrite {
        SimWrite { disk: self.clone(), path: path.to_path_buf(), inode, at: 0, locked: Mutex::new(false) }
    }

    fn create_inode(&self, path: &Path) -> io::Result<SimWrite> {
        let mut state = self.lock();
        state.step(|| format!("create {}", path.display()))?;
        let (folder, name) = split(path);
        if !state.folders.contains_key(&folder) {
            return Err(missing());
        }
        if state.lookup(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = state.next_inode;
        state.next_inode += 1;
        let modified_ns = state.clock_ns;
        state.inodes.insert(inode, Inode { modified_ns, ..Inode::default() });
        state.change_folder(&folder, Step::Link(name, inode));
        drop(state);
        Ok(self.handle(path, inode))
    }
}

impl Disk for SimDisk {
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        let state = self.lock();
        state.alive()?;
        let names = &state.folders.get(folder).ok_or_else(missing)?.now;
        let files = names.iter().map(|(name, inode)| Entry { name: name.clone(), stat: state.stat(*inode) });
        let folders = state.folders.keys().filter(|path| path.parent() == Some(folder)).map(|path| Entry {
            name: split(path).1,
            stat: Stat { inode: 0, bytes: 0, modified_ns: 0, links: 1, is_file: false },
        });
        Ok(files.chain(folders).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let state = self.lock();
        state.alive()?;
        if state.folders.contains_key(path) {
            return Ok(Stat { inode: 0, bytes: 0, modified_ns: 0, links: 1, is_file: false });
        }
        Ok(state.stat(state.lookup(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let state = self.lock();
        state.alive()?;
        let inode = state.lookup(path)?;
        drop(state);
        Ok(Arc::new(SimRead { disk: self.clone(), inode }))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        // Folders are durable at once: losing one loses nothing that its files' fsyncs promised.
        let mut state = self.lock();
        state.alive()?;
        let mut at = path.to_path_buf();
        loop {
            state.folders.entry(at.clone()).or_default();
            if !at.pop() {
                return Ok(());
            }
        }
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(self.create_inode(path)?))
    }

    fn publish(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.link(temporary, name)?;
        state.unlink(temporary)?;
        state.sync_folder(&split(name).0)
    }

    fn replace(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.step(|| format!("rename {} {}", temporary.display(), name.display()))?;
        let inode = state.lookup(temporary)?;
        let ((folder, from), (_, to)) = (split(temporary), split(name));
        state.change_folder(&folder, Step::Rename(from, to, inode));
        state.sync_folder(&folder)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.lock();
        state.link(from, to)?;
        state.sync_folder(&split(to).0)
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let bytes = {
            let state = self.lock();
            state.alive()?;
            state.inodes[&state.lookup(from)?].now.clone()
        };
        let mut file = self.create_inode(to)?;
        file.write_all(&bytes)?;
        file.sync()?;
        self.sync_folder(&split(to).0)
    }

    fn remove(&self, folder: &Path, names: &[&str]) -> io::Result<()> {
        let mut state = self.lock();
        for name in names {
            match state.unlink(&folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        state.sync_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.lock().sync_folder(folder)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        let found = {
            let state = self.lock();
            state.alive()?;
            state.lookup(path).ok()
        };
        let file = match found {
            Some(inode) => self.handle(path, inode),
            None => self.create_inode(path)?,
        };
        Ok(if file.take_lock()? { Some(Box::new(file)) } else { None })
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let state = self.lock();
        state.alive()?;
        Ok(state.lookup(path).is_ok_and(|inode| state.locks.contains(&inode)))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        Ok(Space { free: 1 << 40, total: 1 << 41 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> SimDisk {
        let disk = SimDisk::new(0);
        disk.create_folder(Path::new("/s")).unwrap();
        disk
    }

    fn read(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
        let file = disk.open(Path::new(path)).ok()?;
        let mut bytes = vec![0; file.stat().unwrap().bytes as usize];
        file.read_at(0, &mut bytes).unwrap();
        Some(bytes)
    }

    #[test]
    fn only_what_was_synced_survives_power_loss_for_sure() {
        let disk = disk();
        let mut file = disk.create(Path::new("/s/a")).unwrap();
        file.write_all(b"one").unwrap();
        file.sync().unwrap();
        disk.sync_folder(Path::new("/s")).unwrap();
        file.write_all(b"two!").unwrap();
        assert_eq!(read(&disk.after_kill(), "/s/a").unwrap(), b"onetwo!");
        assert_eq!(read(&disk.after_power_loss(|| Survival::Lost), "/s/a").unwrap(), b"one");
        assert_eq!(read(&disk.after_power_loss(|| Survival::Torn), "/s/a").unwrap(), b"onetw");
    }

    #[test]
    fn a_name_without_its_folders_fsync_may_vanish() {
        let disk = disk();
        let mut file = disk.create(Path::new("/s/a")).unwrap();
        file.write_all(b"x").unwrap();
        file.sync().unwrap();
        assert_eq!(read(&disk.after_power_loss(|| Survival::Lost), "/s/a"), None);
        disk.replace(Path::new("/s/a"), Path::new("/s/b")).unwrap();
        assert_eq!(read(&disk.after_power_loss(|| Survival::Lost), "/s/b").unwrap(), b"x");
    }

    #[test]
    fn a_crash_changes_nothing_from_its_step_on() {
        let disk = disk();
        disk.fault(1, Fault::Crash);
        let mut file = disk.create(Path::new("/s/a")).unwrap();
        assert!(file.write_all(b"x").is_err());
        assert!(disk.list(Path::new("/s")).is_err());
        assert_eq!(disk.after_kill().steps(), 0);
        assert_eq!(disk.after_kill().list(Path::new("/s")).unwrap().len(), 1);
    }

    #[test]
    fn a_lock_ends_with_its_handle() {
        let disk = disk();
        let path = Path::new("/s/lock");
        let held = disk.try_lock(path).unwrap();
        assert!(held.is_some());
        assert!(disk.try_lock(path).unwrap().is_none());
        assert!(disk.is_locked(path).unwrap());
        drop(held);
        assert!(!disk.is_locked(path).unwrap());
    }
}
