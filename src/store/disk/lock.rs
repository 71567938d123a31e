//! The lock of every operation that changes main: an flock on
//! `test_results.parquet.lock`, which other programs that write main take too. The
//! file is never removed, so all of them lock one inode.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use super::LockFile;
use crate::store::error::{Error, Result};
use crate::store::{Control, Store};

/// How long to wait for the other one before saying who it is.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4);
const STEP: Duration = Duration::from_millis(50);

/// The store's lock, held until this is dropped.
#[derive(Debug)]
pub struct StoreLock {
    file: Box<dyn LockFile>,
}

impl StoreLock {
    /// Waits a few seconds at most, unless cancelled, then says who holds it. `purpose`
    /// says others what it is held for.
    pub fn take(store: &Store, purpose: &str, control: &Control) -> Result<Self> {
        Self::take_within(store, purpose, PATIENCE, control)
    }

    pub(crate) fn take_within(
        store: &Store,
        purpose: &str,
        patience: Duration,
        control: &Control,
    ) -> Result<Self> {
        Ok(Self {
            file: wait_for(store, &store.layout.lock(), purpose, patience, control)?,
        })
    }
}

/// Takes the flock of a lock file, or says who holds it.
pub(crate) fn wait_for(
    store: &Store,
    path: &Path,
    purpose: &str,
    patience: Duration,
    control: &Control,
) -> Result<Box<dyn LockFile>> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(mut file) = store.disk.try_lock(path).map_err(Error::io("lock", path))? {
            // Only for people: a lock without it is as good.
            let _ = file.describe(&describe(purpose, Timestamp::now()));
            return Ok(file);
        }
        control.check()?;
        if waited.is_zero() {
            control.progress(&format!("waiting for {}", holder(store, path)), 0, 0);
        }
        if waited >= patience {
            return Err(Error::Locked {
                holder: holder(store, path),
                path: path.to_path_buf(),
            });
        }
        store.disk.pause(STEP);
        waited += STEP;
    }
}

impl Drop for StoreLock {
    fn drop(&mut self) {
        // A name left behind would mislead when a program that leaves none holds it next.
        let _ = self.file.describe("");
    }
}

/// This process and what it does, for people.
pub(crate) fn describe(purpose: &str, now: Timestamp) -> String {
    let host = rustix::system::uname();
    let mut text = String::new();
    let _ = writeln!(
        text,
        "process {} on {} ({purpose}, since {})",
        std::process::id(),
        host.nodename().to_string_lossy(),
        now.strftime("%Y-%m-%d %H:%M:%SZ")
    );
    text
}

/// Who holds the lock, as far as is known.
fn holder(store: &Store, path: &Path) -> String {
    let Ok(file) = store.disk.open(path) else {
        return "another process".to_owned();
    };
    let mut buffer = [0_u8; 256];
    let read = file.read_at(0, &mut buffer).unwrap_or(0);
    let text = String::from_utf8_lossy(buffer.get(..read).unwrap_or_default());
    let said: String = text.chars().filter(|c| !c.is_control()).collect();
    let pid = file.stat().ok().and_then(|stat| flock_owner(stat.inode));
    match pid {
        // What is written may be an earlier holder's.
        Some(pid) if !said.starts_with(&format!("process {pid} ")) => {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let name = name.trim();
            if name.is_empty() {
                format!("process {pid}")
            } else {
                format!("process {pid} ({name})")
            }
        }
        _ if said.is_empty() => "another process".to_owned(),
        _ => said,
    }
}

/// The process that holds an exclusive flock on an inode, where the system says
/// (Linux: `/proc/locks`).
fn flock_owner(inode: u64) -> Option<u32> {
    owner_in(&std::fs::read_to_string("/proc/locks").ok()?, inode)
}

fn owner_in(locks: &str, inode: u64) -> Option<u32> {
    locks.lines().find_map(|line| {
        // "1: FLOCK  ADVISORY  WRITE 708 08:01:1835023 0 EOF"; waiting ones have "->".
        let mut fields = line.split_whitespace().skip(1);
        let held = fields.next() == Some("FLOCK") && fields.nth(1) == Some("WRITE");
        let pid = fields.next()?.parse().ok()?;
        let file = fields.next()?.rsplit(':').next()?.parse::<u64>().ok()?;
        (held && file == inode).then_some(pid)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn the_second_one_learns_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let held = StoreLock::take(&store, "consolidate", &Control::default()).unwrap();
        let take =
            |control: &Control| StoreLock::take_within(&store, "backup", Duration::ZERO, control);
        let said = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&said);
        let control = Control::new(move |progress| heard.lock().unwrap().push_str(&progress.what));
        let error = take(&control).unwrap_err().to_string();
        let pid = format!("process {} ", std::process::id());
        assert!(
            error.contains(&pid) && error.contains("consolidate"),
            "{error}"
        );
        assert!(
            said.lock()
                .unwrap()
                .starts_with(&format!("waiting for {pid}"))
        );
        control.cancel();
        assert!(matches!(take(&control), Err(Error::Cancelled)));
        drop(held);
        assert_eq!(std::fs::read(store.layout.lock()).unwrap(), b"");
        take(&Control::default()).unwrap();
    }

    #[test]
    fn finds_the_owner_in_the_kernels_list() {
        let locks = "1: POSIX  ADVISORY  WRITE 5 08:01:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 708 08:01:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 709 08:01:78 0 EOF\n";
        assert_eq!(owner_in(locks, 77), Some(708));
        assert_eq!(owner_in(locks, 78), None);
    }
}
