//! The JSON database kept next to a store, for old tools that read nothing else: always
//! the whole of what the store held at one moment.
//!
//! Promises: whoever reads it sees one whole document, of before or after; any number of
//! processes may keep it, one at a time writes it, and after the last has ended it holds
//! every record of all. A file that somebody else wrote or changed is never replaced.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Output, export};
use crate::store::read::query::Filter;
use crate::store::{Control, Error, RealDisk, Result, Store, disk};

/// The file is written again at most so often while records come in,
const PAUSE: Duration = Duration::from_secs(5);
/// and never for more than this share of the time.
const SHARE: u32 = 20;

/// Keeps the database of one store while its writer lives.
#[derive(Debug)]
pub struct Beside {
    target: Target,
    wanted: Arc<(Mutex<Wanted>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

/// What is kept where.
#[derive(Debug, Clone)]
struct Target {
    store: Store,
    path: PathBuf,
}

#[derive(Debug, Default)]
struct Wanted {
    /// When the last record came that the file may not have yet.
    since: Option<Timestamp>,
    ended: bool,
}

/// Where the database of a store is: next to its folder, under the same name.
pub fn path(store: &Store) -> PathBuf {
    let root = store.layout.root();
    let root = std::fs::canonicalize(root).unwrap_or_else(|_| root.to_path_buf());
    root.with_file_name(format!(
        "{}.json",
        root.file_name().unwrap_or_default().to_string_lossy()
    ))
}

impl Beside {
    /// Begins to keep it. A file under its name that is somebody else's is refused.
    pub fn open(store: &Store) -> Result<Self> {
        let target = Target {
            store: store.clone(),
            path: path(store),
        };
        Turn::take(&target.path)?.own()?;
        let wanted = Arc::new((Mutex::new(Wanted::default()), Condvar::new()));
        let (own, shared) = (target.clone(), Arc::clone(&wanted));
        let thread = std::thread::Builder::new()
            .name("database".to_owned())
            .spawn(move || keep(&own, &shared));
        let thread = thread.map_err(Error::io("write", &target.path))?;
        Ok(Self {
            target,
            wanted,
            thread: Some(thread),
        })
    }

    /// Records have come in, and are durable.
    pub fn changed(&self) {
        let (wanted, wake) = &*self.wanted;
        wanted.lock().unwrap_or_else(PoisonError::into_inner).since = Some(Timestamp::now());
        wake.notify_one();
    }

    /// Writes what is still missing.
    pub fn finish(mut self) -> Result<()> {
        let since = self.end();
        if since.is_some() || !self.target.path.exists() {
            self.target.write(since)
        } else {
            Ok(())
        }
    }

    /// Ends the thread; what it left to do.
    fn end(&mut self) -> Option<Timestamp> {
        let (wanted, wake) = &*self.wanted;
        wanted.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // It panics no more than this one.
            let _ = thread.join();
        }
        wanted.lock().unwrap_or_else(PoisonError::into_inner).since
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end();
        }
    }
}

/// Writes now and then while records come in.
fn keep(target: &Target, (wanted, wake): &(Mutex<Wanted>, Condvar)) {
    loop {
        let idle = |wanted: &mut Wanted| wanted.since.is_none() && !wanted.ended;
        let guard = wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut guard = wake
            .wait_while(guard, idle)
            .unwrap_or_else(PoisonError::into_inner);
        if guard.ended {
            return;
        }
        let since = guard.since.take();
        drop(guard);
        let begun = Instant::now();
        let failed = target.write(since).is_err();
        let pause = PAUSE.max(begun.elapsed() * SHARE);
        let mut guard = wanted.lock().unwrap_or_else(PoisonError::into_inner);
        if failed {
            // Tried again at the end, which says why.
            guard.since = guard.since.or(since);
        }
        let running = |wanted: &mut Wanted| !wanted.ended;
        if wake
            .wait_timeout_while(guard, pause, running)
            .is_ok_and(|(wanted, _)| wanted.ended)
        {
            return;
        }
    }
}

impl Target {
    /// Writes the whole database, unless somebody has since `since`.
    fn write(&self, since: Option<Timestamp>) -> Result<()> {
        let Self { store, path } = self;
        let mut turn = Turn::take(path)?;
        let there = turn.own()?;
        if since.is_some_and(|since| turn.begun.is_some_and(|begun| begun > since)) && path.exists()
        {
            return Ok(());
        }
        let begun = Timestamp::now();
        let output = Output::file(path, &store.layout, true)?;
        let tree = export::tree(store, &Filter::default(), &Control::default())?;
        tree.write(begun, &output)
            .map_err(|error| output.explain(error))?;
        // Noted first: after a crash between, the file has one of the two hashes.
        let hash = disk::hash(&RealDisk, output.written()?).map_err(Error::io("read", path))?;
        turn.note(begun, &hash, there.as_deref())?;
        output.commit()
    }
}

/// The turn to write: a lock next to the file, which also notes what was written.
#[derive(Debug)]
struct Turn {
    path: PathBuf,
    file: File,
    /// When the reading for the last writing began.
    begun: Option<Timestamp>,
    /// The hashes that the file may have: of the last writing, and of what it replaced.
    hashes: Vec<String>,
}

impl Turn {
    fn take(path: &Path) -> Result<Self> {
        let lock = path.with_extension("json.lock");
        let failed = |error| Error::io("lock", &lock)(error);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&lock);
        let mut file = file.map_err(failed)?;
        file.lock().map_err(failed)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(failed)?;
        let mut words = text.split_whitespace();
        let begun = words.next().and_then(|time| time.parse().ok());
        let hashes = words.map(str::to_owned).collect();
        Ok(Self {
            path: path.to_path_buf(),
            file,
            begun,
            hashes,
        })
    }

    /// The hash of the file, which must be as it was written last; none where there is none.
    fn own(&self) -> Result<Option<String>> {
        if self.path.symlink_metadata().is_err() {
            return Ok(None);
        }
        let hash = disk::hash(&RealDisk, &self.path).map_err(Error::io("read", &self.path))?;
        if self.hashes.contains(&hash) {
            return Ok(Some(hash));
        }
        Err(Error::Refused(format!(
            "{} holds what others wrote, so STORAGE_FORMAT=json does not replace it: import it into the store \
             (evaltop import) and move it away",
            self.path.display()
        )))
    }

    /// Notes what is about to take the place of the file that has the hash `there`.
    fn note(&mut self, begun: Timestamp, hash: &str, there: Option<&str>) -> Result<()> {
        let there = there.unwrap_or_default();
        let text = format!("{begun} {hash} {there}\n");
        let lock = self.path.with_extension("json.lock");
        let mut write = || {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(text.as_bytes())?;
            self.file.set_len(text.len() as u64)?;
            self.file.sync_all()
        };
        write().map_err(Error::io("write", &lock))?;
        self.begun = Some(begun);
        self.hashes = vec![hash.to_owned(), there.to_owned()];
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Killed between the note and the rename, more than once.
    #[test]
    fn a_file_that_is_never_replaced_stays_ours() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.json");
        let write = |text: &str, renamed: bool| {
            let mut turn = Turn::take(&path).unwrap();
            let there = turn.own().unwrap();
            let new = folder.path().join("new");
            std::fs::write(&new, text).unwrap();
            let hash = disk::hash(&RealDisk, &new).unwrap();
            turn.note(Timestamp::now(), &hash, there.as_deref())
                .unwrap();
            if renamed {
                std::fs::rename(&new, &path).unwrap();
            }
        };
        write("one", true);
        for round in 0..3 {
            write(&format!("killed {round}"), false);
        }
        write("two", true);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two");
        std::fs::write(&path, "somebody's").unwrap();
        assert!(Turn::take(&path).unwrap().own().is_err());
    }
}
