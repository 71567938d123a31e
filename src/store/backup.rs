//! Earlier mains in `backups/`: made by every commit (a second name for the file
//! that it replaces, which costs nothing) and on request (a copy of the current
//! main, because other code rewrites main in place).
//!
//! Promises: a backup is whole or not there; pruning leaves the newest five and one
//! a day for seven days, and never touches a file that is not named like a backup.

use std::collections::HashSet;
use std::io;
use std::path::Path;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};

use super::disk::Entry;
use super::error::{Error, Result};
use super::layout;
use super::lock::StoreLock;
use super::parquet_file::ParquetFile;
use super::{Control, Store};

pub mod restore;

/// Newest backups that every commit keeps.
const NEWEST: usize = 5;
/// Days of which one backup each is kept.
const DAYS: i64 = 7;

/// The backups, newest first.
pub fn list(store: &Store) -> Result<Vec<Entry>> {
    let folder = store.layout.backups();
    let mut entries = match store.disk.list(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(Error::io("read", &folder))?,
    };
    entries.retain(|entry| entry.stat.is_file && layout::is_backup(&entry.name));
    entries.sort_by(|a, b| b.name.cmp(&a.name));
    Ok(entries)
}

/// `test_results_<YYYYmmdd_HHMMSS>[_<n>].parquet`.
fn name(now: Timestamp, attempt: u32) -> String {
    let time = now
        .to_zoned(TimeZone::UTC)
        .strftime("%Y%m%d_%H%M%S")
        .to_string();
    if attempt == 0 {
        format!("test_results_{time}.parquet")
    } else {
        format!("test_results_{time}_{attempt:02}.parquet")
    }
}

/// When a backup was made, by its name.
fn made(name: &str) -> Option<civil::DateTime> {
    let text = name.strip_prefix("test_results_")?.get(..15)?;
    civil::DateTime::strptime("%Y%m%d_%H%M%S", text).ok()
}

/// Gives a new backup its name by `make`, trying others where one is taken.
fn named(
    store: &Store,
    now: Timestamp,
    make: impl Fn(&std::path::Path) -> io::Result<()>,
) -> Result<String> {
    let folder = store.layout.backups();
    store.create_part(&folder)?;
    for attempt in 0.. {
        let name = name(now, attempt);
        match make(&folder.join(&name)) {
            Ok(()) => return Ok(name),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 99 => {}
            Err(source) => {
                return Err(Error::Io {
                    action: "back up to",
                    path: folder.join(name),
                    source,
                });
            }
        }
    }
    Err(Error::Refused("no name is left for a backup".to_owned()))
}

/// A second name for main's file, right before a commit replaces it; a copy where
/// the file system has no hard links.
pub(super) fn link_main(store: &Store, now: Timestamp) -> Result<String> {
    let main = store.layout.main();
    named(store, now, |path| match store.disk.link(&main, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(_) => copy_whole(store, path),
        Ok(()) => Ok(()),
    })
}

/// A copy of main that appears under its name when it is complete.
fn copy_whole(store: &Store, path: &Path) -> io::Result<()> {
    let folder = store.layout.backups();
    let temporary = format!(".test_results.{:032x}.tmp", store.disk.id());
    let copied = store
        .disk
        .copy(&store.layout.main(), &folder.join(&temporary))
        .and_then(|()| store.disk.publish(&folder.join(&temporary), path));
    if copied.is_err() {
        let _ = store.disk.remove(&folder, &[&temporary]);
    }
    copied
}

/// Removes backups that are main's own file: a commit died between the link and the
/// rename, and other code may rewrite main in place.
pub(super) fn unlink_own(store: &Store) -> Result<()> {
    let main = match store.disk.stat(&store.layout.main()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(Error::io("read", store.layout.main()))?,
    };
    if main.links < 2 {
        return Ok(());
    }
    let own = list(store)?
        .into_iter()
        .filter(|entry| entry.stat.inode == main.inode);
    remove(store, &own.map(|entry| entry.name).collect::<Vec<_>>())
}

/// Removes what the rule does not keep; returns the names.
pub(super) fn prune(store: &Store, now: Timestamp) -> Result<Vec<String>> {
    let backups: Vec<_> = list(store)?.into_iter().map(|entry| entry.name).collect();
    let gone = superfluous(&backups, now);
    remove(store, &gone)?;
    Ok(gone)
}

/// The backups (newest first) that the rule does not keep. Those without a readable
/// time in their name stay, and those whose time is still to come.
fn superfluous(backups: &[String], now: Timestamp) -> Vec<String> {
    let oldest = (now - SignedDuration::from_hours(24 * DAYS))
        .to_zoned(TimeZone::UTC)
        .datetime();
    let now = now.to_zoned(TimeZone::UTC).datetime();
    let mut days = HashSet::new();
    let mut gone = Vec::new();
    let made = backups.iter().filter_map(|name| Some((name, made(name)?)));
    // Those of a clock that was set back since don't take the place of newer ones.
    for (at, (name, time)) in made.filter(|(_, time)| *time <= now).enumerate() {
        let first_of_day = time >= oldest && days.insert(time.date());
        if at >= NEWEST && !first_of_day {
            gone.push(name.clone());
        }
    }
    gone
}

fn remove(store: &Store, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let folder = store.layout.backups();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    store
        .disk
        .remove(&folder, &names)
        .map_err(Error::io("clean up", folder))
}

/// A backup that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Its name in `backups/`.
    pub name: String,
    /// Its rows.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
}

/// Main, which a backup would copy; an error where there is none.
pub fn source(store: &Store) -> Result<ParquetFile> {
    store.check()?;
    let main = store.layout.main();
    ParquetFile::open(&*store.disk, &main).map_err(|error| match error.at(&main) {
        missing if missing.is_not_found() => Error::Refused(format!(
            "{} is not there yet, so there is nothing to back up: consolidate first",
            main.display()
        )),
        error => error,
    })
}

/// Copies the current main into `backups/`.
pub fn run(store: &Store, now: Timestamp, control: &Control) -> Result<Made> {
    source(store)?;
    let _lock = StoreLock::take(store, "backup", control)?;
    control.check()?;
    let main = source(store)?;
    let name = named(store, now, |path| copy_whole(store, path))?;
    Ok(Made {
        name,
        rows: main.rows(),
        bytes: main.stat().bytes,
    })
}

#[cfg(test)]
mod tests;
