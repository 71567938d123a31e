//! Earlier mains in `backups/`: made by every commit (a second name for the file
//! that it replaces, which costs nothing) and on request (a copy of the current
//! main, because other code rewrites main in place).
//!
//! Promises: a backup is whole or not there; pruning leaves the newest five and one
//! a day for seven days, and never touches a file that is not named like a backup.

use std::collections::HashSet;
use std::io;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, civil};

use crate::store::disk;
use crate::store::disk::Entry;
use crate::store::disk::lock::StoreLock;
use crate::store::error::{Error, Result};
use crate::store::format::layout;
use crate::store::parquet::ParquetFile;
use crate::store::{Control, Store};

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
pub(crate) fn made(name: &str) -> Option<civil::DateTime> {
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
pub(crate) fn link_main(store: &Store, now: Timestamp) -> Result<String> {
    let main = store.layout.main();
    named(store, now, |path| disk::second(&*store.disk, &main, path))
}

/// Removes backups that are main's own file: a commit died between the link and the
/// rename, and other code may rewrite main in place.
pub(crate) fn unlink_own(store: &Store) -> Result<()> {
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
pub(crate) fn prune(store: &Store, now: Timestamp) -> Result<Vec<String>> {
    let backups: Vec<_> = list(store)?.into_iter().map(|entry| entry.name).collect();
    let gone = superfluous(&backups, now);
    remove(store, &gone)?;
    Ok(gone)
}

/// The backups (newest first) that the rule does not keep. Those without a readable
/// time in their name stay, and those whose time is still to come.
fn superfluous(backups: &[String], now: Timestamp) -> Vec<String> {
    let oldest = utc(now - SignedDuration::from_hours(24 * DAYS));
    let (made, _) = by_time(backups, now);
    let mut days = HashSet::new();
    let mut gone = Vec::new();
    for (at, (name, time)) in made.into_iter().enumerate() {
        let first_of_day = time >= oldest && days.insert(time.date());
        if at >= NEWEST && !first_of_day {
            gone.push(name.clone());
        }
    }
    gone
}

/// The backups (newest first) beyond the `keep` newest. Those of a clock that was ahead are
/// counted apart, so that they don't take the place of real ones; those without a readable
/// time in their name stay.
pub(crate) fn beyond(backups: &[String], keep: usize, now: Timestamp) -> Vec<String> {
    let (made, to_come) = by_time(backups, now);
    let beyond = made.into_iter().skip(keep);
    let beyond = beyond.chain(to_come.into_iter().skip(keep));
    beyond.map(|(name, _)| name.clone()).collect()
}

type Timed<'a> = Vec<(&'a String, civil::DateTime)>;

/// Backups with the time in their name: those made by now, and those still to come.
fn by_time(backups: &[String], now: Timestamp) -> (Timed<'_>, Timed<'_>) {
    // Another machine's clock may be a little ahead.
    let now = utc(now + SignedDuration::from_mins(5));
    let made = backups.iter().filter_map(|name| Some((name, made(name)?)));
    made.partition(|(_, time)| *time <= now)
}

fn utc(time: Timestamp) -> civil::DateTime {
    time.to_zoned(TimeZone::UTC).datetime()
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
    let main_file = store.layout.main();
    let name = named(store, now, |path| {
        disk::copy_whole(&*store.disk, &main_file, path)
    })?;
    Ok(Made {
        name,
        rows: main.rows(),
        bytes: main.stat().bytes,
    })
}

#[cfg(test)]
mod tests;
