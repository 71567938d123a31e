//! What the simulated disk holds: of every inode and folder the state that programs
//! see, the durable one, and the operations in between.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::Survival;
use crate::store::disk::Stat;
use crate::store::format::layout::{IncrementalName, classify, folder_commit};

#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write { at: u64, bytes: Arc<[u8]> },
    Truncate(u64),
}

/// Copies of a disk share the bytes of their files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Inode {
    pub(crate) now: Arc<Vec<u8>>,
    pub(crate) durable: Arc<Vec<u8>>,
    pub(crate) pending: Vec<Change>,
    pub(crate) modified_ns: i128,
    /// Hashes of `now` and of `durable`: thousands of disks are compared that have a file in common.
    pub(crate) hashes: (u64, u64),
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    Link(String, u64),
    Unlink(String),
    Rename(String, String, u64),
    /// A folder in this folder.
    Folder(String),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Folder {
    pub(crate) now: BTreeMap<String, u64>,
    pub(crate) durable: BTreeMap<String, u64>,
    pub(crate) pending: Vec<Step>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) inodes: BTreeMap<u64, Inode>,
    pub(crate) folders: BTreeMap<PathBuf, Folder>,
    /// The side that a lock was taken on, and its inode.
    pub(crate) locks: BTreeSet<(u8, u64)>,
    pub(crate) next_inode: u64,
    /// How often it woke up, and how many ids were made since.
    pub(crate) ids: (u64, u64),
    pub(crate) clock_ns: i128,
    pub(crate) steps: u64,
    /// Steps that fail once, having done nothing (a write: half of it).
    pub(crate) faults: BTreeMap<u64, io::ErrorKind>,
    pub(crate) crashed: bool,
    /// fsyncs that are left out, silently.
    pub(crate) skipped: BTreeSet<String>,
    /// fsyncs that were asked for.
    pub(crate) synced: BTreeSet<String>,
    pub(crate) log: Vec<String>,
    /// What there was at each step, if it is asked for.
    pub(crate) moments: Option<Vec<Moment>>,
}

/// The disk when its process dies at a step.
#[derive(Debug, Clone)]
pub(crate) struct Moment {
    pub(crate) inodes: BTreeMap<u64, Inode>,
    pub(crate) folders: BTreeMap<PathBuf, Folder>,
}

fn dead() -> io::Error {
    io::Error::other("the process is dead")
}

pub(crate) fn missing() -> io::Error {
    io::Error::from(io::ErrorKind::NotFound)
}

pub(crate) fn split(path: &Path) -> (PathBuf, String) {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    (path.parent().unwrap_or(Path::new("/")).to_path_buf(), name)
}

/// What a file is to the store, whatever its id: fsyncs are named by it.
pub(crate) fn kind_of(path: &Path) -> String {
    let (folder, name) = split(path);
    match folder.file_name().and_then(|name| name.to_str()) {
        Some("backups") => return "backup".to_owned(),
        Some("commits") => return "announcement".to_owned(),
        Some("quarantine") if name.ends_with(".reason.txt") => return "reason".to_owned(),
        Some("quarantine") => return "quarantined file".to_owned(),
        _ => {}
    }
    let plain = name.trim_start_matches('.');
    let kind = match classify(&name) {
        IncrementalName::LegacyIncrement => "legacy file",
        IncrementalName::Rejected => "rejected lines",
        IncrementalName::Transaction => "transaction",
        _ if plain.starts_with("test_results.parquet.lock") => "lock",
        _ if plain.starts_with("test_results.") => "main",
        // A hash follows, which may begin with letters.
        _ if plain.starts_with("summaries_") => "summaries",
        _ if plain.starts_with("removed_") => "removed set",
        _ => {
            let first = plain
                .split(|c: char| c != '_' && !c.is_ascii_lowercase())
                .next();
            first.unwrap_or_default().trim_end_matches('_')
        }
    };
    kind.to_owned()
}

impl Change {
    pub(crate) fn apply(&self, bytes: &mut Vec<u8>) {
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

    /// What a loss of power leaves of it.
    fn survive(&self, how: Survival, bytes: &mut Vec<u8>) {
        match (how, self) {
            (Survival::Lost, _) => {}
            (Survival::Torn, Self::Write { at, bytes: new }) => {
                Self::Write {
                    at: *at,
                    bytes: new[..new.len() / 2].into(),
                }
                .apply(bytes);
            }
            (Survival::Hollow, Self::Write { at, bytes: new }) => {
                Self::Write {
                    at: *at,
                    bytes: vec![0; new.len()].into(),
                }
                .apply(bytes);
            }
            (_, change) => change.apply(bytes),
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
            Self::Folder(_) => {}
        }
    }
}

/// Of nothing the same as of a file that was never written to.
fn hash(bytes: &[u8]) -> u64 {
    if bytes.is_empty() { 0 } else { xxh3_64(bytes) }
}

impl Inode {
    /// What a lock says of its holder, at once.
    pub(crate) fn describe(&mut self, holder: &[u8]) {
        self.now = Arc::new(holder.to_vec());
        self.durable.clone_from(&self.now);
        self.hashes = (hash(holder), hash(holder));
    }

    fn change(&mut self, change: Change) {
        change.apply(Arc::make_mut(&mut self.now));
        self.hashes.0 = hash(&self.now);
        self.pending.push(change);
    }

    /// After a loss of power.
    pub(crate) fn survive(&mut self, keep: &mut impl FnMut() -> Survival) {
        for change in std::mem::take(&mut self.pending) {
            let how = keep();
            if how != Survival::Lost {
                change.survive(how, Arc::make_mut(&mut self.durable));
                self.hashes.1 = hash(&self.durable);
            }
        }
        self.now.clone_from(&self.durable);
        self.hashes.0 = self.hashes.1;
    }
}

impl Folder {
    /// After a loss of power; returns the folders in it that are gone.
    pub(crate) fn survive(&mut self, keep: &mut impl FnMut() -> Survival) -> Vec<String> {
        let mut names = std::mem::take(&mut self.durable);
        let mut gone = Vec::new();
        for step in std::mem::take(&mut self.pending) {
            match (keep(), step) {
                (Survival::Lost, Step::Folder(name)) => gone.push(name),
                (Survival::Lost, _) => {}
                (_, step) => step.apply(&mut names),
            }
        }
        self.now.clone_from(&names);
        self.durable = names;
        gone
    }
}

impl State {
    /// Counts one step, remembers the moment, and lets its fault happen.
    pub(crate) fn step(&mut self, what: impl FnOnce() -> String) -> io::Result<()> {
        self.alive()?;
        let number = self.steps;
        self.steps += 1;
        self.log.push(what());
        if let Some(moments) = &mut self.moments {
            moments.push(Moment {
                inodes: self.inodes.clone(),
                folders: self.folders.clone(),
            });
        }
        self.faults
            .get(&number)
            .map_or(Ok(()), |kind| Err(io::Error::from(*kind)))
    }

    pub(crate) fn alive(&self) -> io::Result<()> {
        if self.crashed { Err(dead()) } else { Ok(()) }
    }

    pub(crate) fn lookup(&self, path: &Path) -> io::Result<u64> {
        let (folder, name) = split(path);
        let names = &self.folders.get(&folder).ok_or_else(missing)?.now;
        names.get(&name).copied().ok_or_else(missing)
    }

    pub(crate) fn change_folder(&mut self, folder: &Path, step: Step) -> io::Result<()> {
        let entry = self.folders.get_mut(folder).ok_or_else(missing)?;
        step.apply(&mut entry.now);
        entry.pending.push(step);
        Ok(())
    }

    pub(crate) fn stat(&self, inode: u64) -> Stat {
        let links = self
            .folders
            .values()
            .flat_map(|f| f.now.values())
            .filter(|i| **i == inode)
            .count();
        let node = &self.inodes[&inode];
        Stat {
            inode,
            bytes: node.now.len() as u64,
            modified_ns: node.modified_ns,
            links: links as u64,
            is_file: true,
        }
    }

    fn leaves_out(&mut self, site: String) -> bool {
        let skipped = self.skipped.contains(&site);
        self.synced.insert(site);
        skipped
    }

    /// `why` is the operation that it belongs to.
    pub(crate) fn sync_folder(&mut self, folder: &Path, why: &str) -> io::Result<()> {
        self.step(|| format!("fsync {}/ ({why})", folder.display()))?;
        if self.leaves_out(why.to_owned()) {
            return Ok(());
        }
        let entry = self.folders.get_mut(folder).ok_or_else(missing)?;
        entry.durable = entry.now.clone();
        entry.pending.clear();
        Ok(())
    }

    pub(crate) fn sync_file(&mut self, inode: u64, path: &Path) -> io::Result<()> {
        self.step(|| format!("fsync {}", path.display()))?;
        if self.leaves_out(format!("sync {}", kind_of(path))) {
            return Ok(());
        }
        let node = self.inodes.get_mut(&inode).ok_or_else(missing)?;
        node.durable = node.now.clone();
        node.hashes.1 = node.hashes.0;
        node.pending.clear();
        Ok(())
    }

    pub(crate) fn make_folder(&mut self, path: &Path) -> io::Result<()> {
        if self.folders.contains_key(path) {
            return Ok(());
        }
        let (above, name) = split(path);
        self.make_folder(&above)?;
        self.step(|| format!("mkdir {}", path.display()))?;
        self.folders.insert(path.to_path_buf(), Folder::default());
        let why = match folder_commit(&name) {
            Some(_) => "make folder of a commit".to_owned(),
            None => format!("make {name}"),
        };
        self.change_folder(&above, Step::Folder(name))?;
        self.sync_folder(&above, &why)
    }

    pub(crate) fn unlink(&mut self, path: &Path) -> io::Result<()> {
        self.step(|| format!("unlink {}", path.display()))?;
        self.lookup(path)?;
        let (folder, name) = split(path);
        self.change_folder(&folder, Step::Unlink(name))
    }

    pub(crate) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(|| format!("link {} {}", from.display(), to.display()))?;
        let inode = self.lookup(from)?;
        if self.lookup(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (folder, name) = split(to);
        self.change_folder(&folder, Step::Link(name, inode))
    }

    pub(crate) fn create(&mut self, path: &Path) -> io::Result<u64> {
        self.step(|| format!("create {}", path.display()))?;
        let (folder, name) = split(path);
        if self.lookup(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = self.next_inode;
        self.change_folder(&folder, Step::Link(name, inode))?;
        self.next_inode += 1;
        let modified_ns = self.tick();
        self.inodes.insert(
            inode,
            Inode {
                modified_ns,
                ..Inode::default()
            },
        );
        Ok(inode)
    }

    pub(crate) fn write(
        &mut self,
        inode: u64,
        path: &Path,
        at: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        self.alive()?;
        let fault = self.step(|| format!("write {} B to {}", bytes.len(), path.display()));
        // A write that fails or is interrupted may have written a part of what it was given.
        let half = &bytes[..bytes.len() / 2];
        if let Some(moment) = self.moments.as_mut().and_then(|moments| moments.last_mut()) {
            let node = moment.inodes.get_mut(&inode).ok_or_else(missing)?;
            node.change(Change::Write {
                at,
                bytes: half.into(),
            });
        }
        let written = if fault.is_ok() { bytes } else { half };
        if !written.is_empty() {
            self.change(
                inode,
                Change::Write {
                    at,
                    bytes: written.into(),
                },
            )?;
        }
        fault
    }

    pub(crate) fn truncate(&mut self, inode: u64, path: &Path, len: u64) -> io::Result<()> {
        self.step(|| format!("truncate {} to {len}", path.display()))?;
        self.change(inode, Change::Truncate(len))
    }

    fn change(&mut self, inode: u64, change: Change) -> io::Result<()> {
        let modified_ns = self.tick();
        let node = self.inodes.get_mut(&inode).ok_or_else(missing)?;
        node.change(change);
        node.modified_ns = modified_ns;
        Ok(())
    }

    /// Nothing that a loss of power could take: the time alone.
    pub(crate) fn touch(&mut self, inode: u64) -> io::Result<()> {
        let modified_ns = self.tick();
        self.inodes.get_mut(&inode).ok_or_else(missing)?.modified_ns = modified_ns;
        Ok(())
    }

    fn tick(&mut self) -> i128 {
        self.clock_ns += 1_000_000;
        self.clock_ns
    }
}
