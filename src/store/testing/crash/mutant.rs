//! A disk that carries out the protocol's operations in the wrong order, or leaves one
//! out: how the store would behave if its code had that fault.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::store::disk::{
    self, Disk, Entry, Known, LockFile, Move, ReadFile, Space, Stat, WriteFile,
};
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::layout::{CONSUMED, IncrementalName, MAIN, classify, journal_name, stem};
use crate::store::parquet::ParquetFile;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Consumed files are removed, and then main is replaced.
    RemovedBeforeRename,
    /// Main is replaced, and then the new one is synced.
    RenamedBeforeSync,
    /// Main is replaced, and then backed up.
    BackedUpAfterRename,
    /// A backup is copied under its final name.
    CopiedInPlace,
    /// The derived files are written, and then main is replaced.
    DerivedBeforeRename,
    /// A journal is removed when its increment is published.
    JournalRemovedEarly,
    /// An increment gets its name, and then it is synced.
    PublishedBeforeSync,
    /// Rows are acknowledged, and then written.
    AcknowledgedBeforeWrite,
    /// An unreadable file is removed, and then it gets its name in quarantine.
    RemovedBeforeQuarantine,
    /// A reader opens main and lists folders and records of commits, and then what is pending.
    MainReadFirst,
    /// A commit takes it that main is still what it was when the new one was begun.
    NoLastScan,
    /// A consumed file of other code is removed instead of moved.
    RemovedUnmoved,
    /// The folders of commits are not looked into.
    FoldersUnread,
    /// Other code rewrites its file each time that it is copied.
    RewrittenWhileCopied,
}

/// The disk of a process with that fault.
#[derive(Debug)]
pub(crate) struct Mutated {
    disk: Arc<dyn Disk>,
    mutant: Mutant,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// Files whose fsync comes later.
    unsynced: Vec<Box<dyn WriteFile>>,
    /// A link or copy that comes later: from, to.
    later: Option<(PathBuf, PathBuf)>,
    /// What is in folders and records of commits, as it was before what is pending was listed.
    folders: HashMap<PathBuf, Vec<Entry>>,
    /// Main, for whoever opens it next.
    main: Option<Arc<dyn ReadFile>>,
}

/// A file as it was once.
#[derive(Debug)]
struct Past {
    stat: Stat,
    bytes: Vec<u8>,
}

impl ReadFile for Past {
    fn stat(&self) -> io::Result<Stat> {
        Ok(self.stat)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        (&self.bytes[self.bytes.len().min(offset as usize)..]).read(buf)
    }
}

fn name(path: &Path) -> &str {
    path.file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
}

fn is_new_main(path: &Path) -> bool {
    name(path).starts_with(".test_results.") && path.parent() == Some(Path::new("/store"))
}

impl Mutated {
    pub(crate) fn new(disk: Arc<dyn Disk>, mutant: Mutant) -> Self {
        Self {
            disk,
            mutant,
            memory: Arc::default(),
        }
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn before_rename(&self, temporary: &Path, main: &Path) -> io::Result<()> {
        let root = main.parent().unwrap_or(Path::new("/"));
        match self.mutant {
            Mutant::RemovedBeforeRename => {
                let folder = root.join("incremental");
                let entries = self.disk.list(&folder)?;
                let names: Vec<_> = entries.iter().map(|entry| entry.name.as_str()).collect();
                let ours = |name: &&&str| {
                    matches!(
                        classify(name),
                        IncrementalName::Increment | IncrementalName::Journal
                    )
                };
                let gone: Vec<&str> = names.iter().filter(ours).copied().collect();
                self.disk.remove(&folder, &gone)
            }
            Mutant::DerivedBeforeRename => {
                let new = ParquetFile::open(&*self.disk, temporary).map_err(io::Error::other)?;
                let record = CommitRecord::of(&new).map_err(io::Error::other)?;
                let generation = record.map(|record| record.generation);
                let path = root.join(".metadata.json.tmp");
                let mut file = self.disk.create(&path)?;
                file.write_all(json!({ "generation": generation }).to_string().as_bytes())?;
                file.sync()?;
                self.disk.replace(&path, &root.join("metadata.json"))
            }
            _ => Ok(()),
        }
    }

    fn after_rename(&self) -> io::Result<()> {
        let mut memory = self.memory();
        memory.main = None;
        for mut file in memory.unsynced.drain(..) {
            file.sync()?;
        }
        match memory.later.take() {
            Some((from, to)) => self.disk.link(&from, &to),
            None => Ok(()),
        }
    }
}

impl Disk for Mutated {
    fn list_knowing(&self, folder: &Path, known: Known<'_>) -> io::Result<Vec<Entry>> {
        if !folder.ends_with("incremental") {
            if self.mutant == Mutant::FoldersUnread && folder.ends_with(CONSUMED) {
                return Ok(Vec::new());
            }
            let known_before = self.memory().folders.remove(folder);
            return known_before.map_or_else(|| self.disk.list_knowing(folder, known), Ok);
        }
        if self.mutant == Mutant::MainReadFirst && self.memory().main.is_none() {
            let consumed = folder.join(CONSUMED);
            let mut folders = HashMap::new();
            if let Ok(all) = self.disk.list(&consumed) {
                for entry in &all {
                    let inside = consumed.join(&entry.name);
                    folders.insert(inside.clone(), self.disk.list(&inside)?);
                }
                folders.insert(consumed, all);
            }
            // Or the records of later commits would tell that main is an older one.
            let records = folder.with_file_name("commits");
            if let Ok(all) = self.disk.list(&records) {
                folders.insert(records, all);
            }
            self.memory().folders = folders;
        }
        if self.mutant == Mutant::MainReadFirst && self.memory().main.is_none() {
            let main = self.disk.open(&folder.with_file_name(MAIN))?;
            self.memory().main = Some(main);
        }
        self.disk.list_knowing(folder, known)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let memory = self.memory();
        let before = match self.mutant {
            Mutant::NoLastScan if path.ends_with(MAIN) => {
                memory.main.as_ref().map(|main| main.stat()).transpose()?
            }
            _ => None,
        };
        drop(memory);
        before.map_or_else(|| self.disk.stat(path), Ok)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        let before = match self.mutant {
            Mutant::MainReadFirst if path.ends_with(MAIN) => self.memory().main.take(),
            Mutant::NoLastScan if path.ends_with(MAIN) => self.memory().main.clone(),
            _ => None,
        };
        before.map_or_else(|| self.disk.open(path), Ok)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.create_folder(path)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        if is_new_main(path) && self.mutant == Mutant::NoLastScan {
            let main = path.with_file_name(MAIN);
            let past = Past {
                stat: self.disk.stat(&main)?,
                bytes: disk::read(&*self.disk, &main)?,
            };
            self.memory().main = Some(Arc::new(past));
        }
        let changed = match self.mutant {
            Mutant::RenamedBeforeSync => is_new_main(path),
            Mutant::PublishedBeforeSync => name(path).starts_with(".increment_"),
            Mutant::AcknowledgedBeforeWrite => name(path).starts_with(".journal_"),
            _ => false,
        };
        if !changed {
            return self.disk.create(path);
        }
        let file = self.disk.create(path)?;
        let (memory, mutant) = (self.memory.clone(), self.mutant);
        Ok(Box::new(LateFile {
            file: Some(file),
            mutant,
            waiting: Vec::new(),
            memory,
        }))
    }

    fn publish(&self, temporary: &Path, to: &Path) -> io::Result<()> {
        let copied = self.memory().later.take();
        if let (Mutant::CopiedInPlace, Some((from, _))) = (self.mutant, copied) {
            return self.disk.copy(&from, to);
        }
        self.disk.publish(temporary, to)?;
        if classify(name(to)) != IncrementalName::Increment {
            return Ok(());
        }
        for mut file in self.memory().unsynced.drain(..) {
            file.sync()?;
        }
        match (self.mutant, stem(name(to)), to.parent()) {
            (Mutant::JournalRemovedEarly, Some(stem), Some(folder)) => {
                self.disk.remove(folder, &[&journal_name(stem)])
            }
            _ => Ok(()),
        }
    }

    fn replace(&self, temporary: &Path, to: &Path) -> io::Result<()> {
        let commit = name(to) == MAIN;
        if commit {
            self.before_rename(temporary, to)?;
        }
        self.disk.replace(temporary, to)?;
        if commit { self.after_rename() } else { Ok(()) }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        match self.mutant {
            Mutant::BackedUpAfterRename if name(from) == MAIN => {
                self.memory().later = Some((from.to_path_buf(), to.to_path_buf()));
                Ok(())
            }
            Mutant::RemovedBeforeQuarantine if to.starts_with("/store/quarantine") => {
                let bytes = disk::read(&*self.disk, from)?;
                self.disk
                    .remove(from.parent().unwrap_or(Path::new("/")), &[name(from)])?;
                let mut file = self.disk.create(to)?;
                file.write_all(&bytes)?;
                file.sync()?;
                self.disk.sync_folder(to.parent().unwrap_or(Path::new("/")))
            }
            _ => self.disk.link(from, to),
        }
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        if self.mutant == Mutant::CopiedInPlace {
            self.memory().later = Some((from.to_path_buf(), to.to_path_buf()));
            return Ok(());
        }
        self.disk.copy(from, to)?;
        let legacy = classify(name(from)) == IncrementalName::LegacyIncrement;
        if self.mutant == Mutant::RewrittenWhileCopied && legacy {
            self.disk.touch(from)?;
        }
        Ok(())
    }

    fn relocate(&self, from: &Path, to: &Path, moves: &[Move<'_>]) -> io::Result<()> {
        if self.mutant == Mutant::RemovedUnmoved {
            let names: Vec<&str> = moves.iter().map(|one| one.name).collect();
            return self.disk.remove(from, &names);
        }
        self.disk.relocate(from, to, moves)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_folder(path)
    }

    fn remove(&self, folder: &Path, names: &[&str]) -> io::Result<()> {
        if names.iter().any(|name| is_new_main(&folder.join(name))) {
            *self.memory() = Memory::default();
        }
        self.disk.remove(folder, names)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        self.disk.try_lock(path)
    }

    fn try_share(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        self.disk.try_share(path)
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        self.disk.touch(path)
    }

    fn believes_locks(&self, folder: &Path) -> bool {
        self.disk.believes_locks(folder)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.disk.is_locked(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }

    fn is_open_for_writing(&self, path: &Path) -> io::Result<Option<bool>> {
        self.disk.is_open_for_writing(path)
    }

    fn id(&self) -> u128 {
        self.disk.id()
    }

    fn pause(&self, time: Duration) {
        self.disk.pause(time);
    }
}

/// A file whose bytes or fsync come later than its owner believes.
#[derive(Debug)]
struct LateFile {
    file: Option<Box<dyn WriteFile>>,
    mutant: Mutant,
    waiting: Vec<u8>,
    memory: Arc<Mutex<Memory>>,
}

impl LateFile {
    fn missing() -> io::Error {
        io::Error::other("the file is not there yet")
    }

    fn inner(&mut self) -> io::Result<&mut Box<dyn WriteFile>> {
        self.file.as_mut().ok_or_else(Self::missing)
    }
}

impl Write for LateFile {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self.mutant {
            Mutant::AcknowledgedBeforeWrite => {
                let earlier = std::mem::replace(&mut self.waiting, buf.to_vec());
                self.inner()?.write_all(&earlier)?;
            }
            _ => return self.inner()?.write(buf),
        }
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl WriteFile for LateFile {
    fn sync(&mut self) -> io::Result<()> {
        match self.mutant {
            Mutant::AcknowledgedBeforeWrite => self.inner()?.sync(),
            _ => Ok(()),
        }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.inner()?.truncate(len)
    }

    fn try_lock(&self) -> io::Result<bool> {
        let file = self.file.as_ref().ok_or_else(Self::missing)?;
        file.try_lock()
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let file = self.file.as_ref().ok_or_else(Self::missing)?;
        file.read_back(offset, buf)
    }

    fn bytes_at(&self, path: &Path) -> io::Result<Option<u64>> {
        let file = self.file.as_ref().ok_or_else(Self::missing)?;
        file.bytes_at(path)
    }

    fn copy_from(&mut self, source: &dyn ReadFile, range: Range<u64>) -> io::Result<()> {
        self.inner()?.copy_from(source, range)
    }
}

impl Drop for LateFile {
    fn drop(&mut self) {
        let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        match (self.mutant, self.file.take()) {
            (Mutant::AcknowledgedBeforeWrite, Some(mut file)) => {
                let _ = file.write_all(&self.waiting);
            }
            (_, None) => {}
            (_, Some(file)) => memory.unsynced.push(file),
        }
    }
}
