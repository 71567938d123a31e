//! Who may commit where processes don't see each other's locks: the one with a temporary file in the
//! store's folder that nobody has removed.
//!
//! Promises: the file is made before anything is listed, so of two committers one sees the other's.
//! One that grows or is touched is alive, and the newcomer goes. One that is left alone for a
//! minute of the newcomer's own time is taken for a dead process's and removed: that is the fence.
//! A rename without its source fails everywhere, however late it comes. Times are never compared:
//! only whether they change.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::store::disk::{Disk, Stat, WriteFile};
use crate::store::error::{Error, Result};
use crate::store::{Control, Store};

/// How long a file is left alone before it is taken for a dead process's.
const SILENCE: u32 = 60;
/// How often one's own is touched, in the same steps.
const TOUCH: u32 = 10;
const STEP: Duration = Duration::from_secs(1);
/// How often others are waited for.
const ROUNDS: u32 = 5;

/// The right to commit, until somebody removes the file.
#[derive(Debug)]
pub struct Fence {
    disk: Arc<dyn Disk>,
    root: PathBuf,
    /// The id of the commit.
    id: String,
    name: String,
    file: Option<Box<dyn WriteFile>>,
    /// It is main now.
    renamed: bool,
    touching: Option<(Arc<Ended>, JoinHandle<()>)>,
}

#[derive(Debug, Default)]
struct Ended {
    over: Mutex<bool>,
    wake: Condvar,
}

/// Whether a name is that of a commit under way.
pub(crate) fn is_commit(name: &str) -> bool {
    let id = name
        .strip_prefix(".test_results.")
        .and_then(|rest| rest.strip_suffix(".tmp"));
    id.is_some_and(|id| !id.contains('.'))
}

impl Fence {
    /// The same before anything is listed, where others may commit unseen. Elsewhere the store's lock,
    /// which the caller holds, keeps them away, and the file is made when there is something to
    /// commit.
    pub fn ahead(store: &Store, control: &Control) -> Result<Option<Self>> {
        if store.disk.believes_locks(store.layout.root()) {
            return Ok(None);
        }
        Self::take(store, control).map(Some)
    }

    /// Makes the file of a commit, unless another process commits. The caller holds the store's
    /// lock as far as it can be seen.
    pub fn take(store: &Store, control: &Control) -> Result<Self> {
        let mut other = PathBuf::new();
        for round in 1..=ROUNDS {
            let fence = Self::make(store)?;
            match fence.others(store, control)? {
                None => return Ok(fence),
                Some(alive) => other = alive,
            }
            // The file goes first: two that wait for each other would do so for ever.
            drop(fence);
            if round < ROUNDS {
                let some = store.disk.id() as u64 % 4_000;
                control.progress("waiting for another commit", 0, 0);
                store.disk.pause(Duration::from_millis(500 + some));
            }
        }
        let name = other.file_name().unwrap_or_default().to_string_lossy();
        Err(Error::Locked {
            holder: format!("another process, whose {name} changes"),
            path: other,
        })
    }

    fn make(store: &Store) -> Result<Self> {
        let id = format!("{:032x}", store.disk.id());
        let (root, name) = (
            store.layout.root().to_path_buf(),
            format!(".test_results.{id}.tmp"),
        );
        let path = root.join(&name);
        let file = store
            .disk
            .create(&path)
            .map_err(Error::io("create", &path))?;
        Ok(Self {
            touching: touching(store, &path),
            disk: Arc::clone(&store.disk),
            root,
            id,
            name,
            file: Some(file),
            renamed: false,
        })
    }

    /// Another commit that is alive. Files of dead ones are removed.
    fn others(&self, store: &Store, control: &Control) -> Result<Option<PathBuf>> {
        let mut before: BTreeMap<String, Stat> = BTreeMap::new();
        let mut silence = 0;
        loop {
            let listed = store
                .disk
                .list(&self.root)
                .map_err(Error::io("read", &self.root))?;
            let others = listed.into_iter().filter(|entry| {
                entry.stat.is_file && entry.name != self.name && is_commit(&entry.name)
            });
            let others: BTreeMap<String, Stat> =
                others.map(|entry| (entry.name, entry.stat)).collect();
            if others.is_empty() {
                return Ok(None);
            }
            // Where locks are believed, and ours is held, nobody else commits.
            let believed = store.disk.believes_locks(&self.root);
            let changed = |(name, stat): (&String, &Stat)| {
                let known = before.get(name)?;
                let same = (known.bytes, known.modified_ns) == (stat.bytes, stat.modified_ns);
                (!same).then(|| self.root.join(name))
            };
            if let Some(alive) = others.iter().find_map(changed).filter(|_| !believed) {
                return Ok(Some(alive));
            }
            let is_known = others.keys().all(|name| before.contains_key(name));
            silence = if is_known { silence + 1 } else { 0 };
            if believed || silence > SILENCE {
                let names: Vec<&str> = others.keys().map(String::as_str).collect();
                let removed = store.disk.remove(&self.root, &names);
                removed.map_err(Error::io("clean up", &self.root))?;
                return Ok(None);
            }
            if silence % TOUCH == 0 {
                // A committer that waits for us sees that we live. Removed by somebody: the rename will fail.
                let _ = store.disk.touch(&self.root.join(&self.name));
            }
            before = others;
            control.check()?;
            if silence == 1 {
                control.progress("waiting: another process seems to commit", 0, 0);
            }
            store.disk.pause(STEP);
        }
    }

    /// The id of the commit.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// Its handle, once.
    pub(crate) fn file(&mut self) -> Option<Box<dyn WriteFile>> {
        self.file.take()
    }

    /// It is main now.
    pub(crate) fn renamed(&mut self) {
        self.renamed = true;
    }

    /// Touches it no more: it is about to be main.
    pub(crate) fn rest(&mut self) {
        if let Some((ended, thread)) = self.touching.take() {
            *ended.over.lock().unwrap_or_else(PoisonError::into_inner) = true;
            ended.wake.notify_all();
            let _ = thread.join();
        }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        self.rest();
        if self.renamed {
            return;
        }
        let _ = self.disk.remove(&self.root, &[&self.name]);
    }
}

/// A thread that touches a file again and again: what a commit reads may take long.
fn touching(store: &Store, path: &Path) -> Option<(Arc<Ended>, JoinHandle<()>)> {
    // A simulated disk has no threads.
    store.disk.pulse(store.layout.root())?;
    let (disk, path) = (Arc::clone(&store.disk), path.to_path_buf());
    let ended = Arc::new(Ended::default());
    let seen = Arc::clone(&ended);
    let touch = move || {
        let mut over = seen.over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*over {
            let waited = seen.wake.wait_timeout(over, STEP * TOUCH);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            over = again;
            if timeout.timed_out() && !*over {
                let _ = disk.touch(&path);
            }
        }
    };
    let thread = thread::Builder::new()
        .name("commit".to_owned())
        .spawn(touch);
    Some((ended, thread.ok()?))
}

#[cfg(test)]
mod tests;
