//! Stores of what `evaltop PATH…` opened: in the XDG cache folder, for this user alone. What was
//! not opened for longest goes when they take too much room.

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use xxhash_rust::xxh3::xxh3_128;

use crate::store::{Error, Result};

/// Bytes of all of them.
const LIMIT: u64 = 10 << 30;
/// The file whose time says when a store was opened last.
const OPENED: &str = "opened";

/// The folder of all such stores.
///
/// # Errors
/// Neither `$XDG_CACHE_HOME` nor `$HOME` names a folder.
pub fn root() -> Result<PathBuf> {
    place("sources")
}

/// The folder of what `pull` keeps of stores on other hosts.
///
/// # Errors
/// Neither `$XDG_CACHE_HOME` nor `$HOME` names a folder.
pub fn mirrors() -> Result<PathBuf> {
    place("pull")
}

fn place(name: &str) -> Result<PathBuf> {
    let named = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
    base.map(|base| base.join("evaltop").join(name))
        .ok_or_else(|| {
            Error::Refused(
                "there is no place for a cache: set XDG_CACHE_HOME, or import into a store"
                    .to_owned(),
            )
        })
}

/// The folder for what these paths name, made where it is missing.
///
/// # Errors
/// It can't be made.
pub fn folder(paths: &[PathBuf]) -> Result<PathBuf> {
    let root = root()?;
    let mut names = Vec::new();
    for path in paths {
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        names.extend_from_slice(path.as_os_str().as_encoded_bytes());
        names.push(0);
    }
    let folder = root.join(format!("{:032x}", xxh3_128(&names)));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(Error::io("create", &folder))?;
    // One that was there already may be open to others.
    for own in [&root, &folder] {
        std::fs::set_permissions(own, std::fs::Permissions::from_mode(0o700))
            .map_err(Error::io("protect", own))?;
    }
    let opened = folder.join(OPENED);
    std::fs::write(&opened, b"").map_err(Error::io("write", &opened))?;
    // Held until this process ends: nobody removes a store that is open. Without locks the
    // newest time still protects it.
    if let Ok(file) = File::open(&opened)
        && file.try_lock_shared().is_ok()
    {
        let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
        held.push(file);
    }
    evict(&root, &folder, LIMIT);
    Ok(folder)
}

/// Locks of the stores that this process has open.
static HELD: Mutex<Vec<File>> = Mutex::new(Vec::new());

/// Whether a process has a store open.
fn is_open(folder: &Path) -> bool {
    let Ok(file) = File::open(folder.join(OPENED)) else {
        return false;
    };
    matches!(file.try_lock(), Err(std::fs::TryLockError::WouldBlock))
}

/// Removes all that no process has open; returns the bytes that they took.
///
/// # Errors
/// One can't be removed.
pub fn clear() -> Result<u64> {
    clear_in(&root()?)
}

fn clear_in(root: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(root).into_iter().flatten().flatten() {
        let path = entry.path();
        if !path.is_dir() || is_open(&path) {
            continue;
        }
        let own = size(&path);
        std::fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
        bytes += own;
    }
    // Where nothing is left, nor need the folder be.
    let _ = std::fs::remove_dir(root);
    Ok(bytes)
}

/// Removes what was not opened for longest, until the rest is no larger than that.
fn evict(root: &Path, own: &Path, limit: u64) {
    let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
    let mut stores: Vec<(SystemTime, PathBuf, u64)> = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .map(|path| {
            let opened = std::fs::metadata(path.join(OPENED)).and_then(|meta| meta.modified());
            let bytes = size(&path);
            (opened.unwrap_or(SystemTime::UNIX_EPOCH), path, bytes)
        })
        .collect();
    stores.sort();
    let mut total: u64 = stores.iter().map(|(_, _, bytes)| bytes).sum();
    for (_, path, bytes) in stores {
        if total <= limit {
            return;
        }
        if path != own && !is_open(&path) && std::fs::remove_dir_all(&path).is_ok() {
            total -= bytes;
        }
    }
}

fn size(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_opened_for_longest_goes_first() {
        let root = tempfile::tempdir().unwrap();
        let make = |name: &str, age: u64| {
            let folder = root.path().join(name);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join("data"), [0; 100]).unwrap();
            let opened = std::fs::File::create(folder.join(OPENED)).unwrap();
            opened
                .set_modified(SystemTime::now() - Duration::from_secs(age))
                .unwrap();
            folder
        };
        let (old, young, own) = (make("a", 50), make("b", 5), make("c", 500));
        evict(root.path(), &own, 250);
        assert_eq!(
            [old.exists(), young.exists(), own.exists()],
            [false, true, true]
        );
        // One that is open stays, however old it is.
        let held = File::open(own.join(OPENED)).unwrap();
        held.lock_shared().unwrap();
        evict(root.path(), &young, 0);
        assert_eq!([young.exists(), own.exists()], [true, true]);
        assert!(clear_in(root.path()).unwrap() > 0);
        assert_eq!([young.exists(), own.exists()], [false, true]);
        drop(held);
        clear_in(root.path()).unwrap();
        assert!(!own.exists());
    }
}
