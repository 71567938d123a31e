//! A store of another host as a folder of this one. Pending files are listed before main is looked
//! at, as readers do it: a row leaves `incremental/` only after main has it.
//!
//! Files are fetched under temporary names and renamed when they are whole; a journal, which only
//! grows, is fetched from where the mirror ends. A mirror that is killed goes on.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Files, Stat};
use crate::store::format::layout::{IncrementalName, MAIN, classify, is_live};
use crate::store::write::live::LIFE_SECONDS;
use crate::store::{Control, Error, Result};

/// What the mirror's files were like on their host.
const SEEN: &str = "mirror.json";

/// What a program says of its session is no longer.
const LONGEST_NOTE: u64 = 1 << 20;

/// Heartbeats that are older, in seconds, speak of writers that are long gone.
const LONGEST_BEAT: i64 = LIFE_SECONDS;

/// Size and time of a file on its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    bytes: u64,
    modified: u32,
}

impl From<Stat> for Seen {
    fn from(stat: Stat) -> Self {
        Self {
            bytes: stat.bytes,
            modified: stat.modified,
        }
    }
}

/// Brings the mirror of the store at `path` up to date; returns the bytes that travelled.
pub(super) fn update(
    there: &mut dyn Files,
    path: &str,
    folder: &Path,
    control: &Control,
) -> Result<u64> {
    let incremental = folder.join("incremental");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&incremental)
        .map_err(Error::io("create", &incremental))?;
    let _lock = lock(folder, control)?;
    let seen_at = folder.join(SEEN);
    let mut seen: BTreeMap<String, Seen> = fs::read(&seen_at)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    // By this machine's clock.
    let last = fs::metadata(&seen_at).and_then(|meta| meta.modified()).ok();
    let last = last.and_then(|time| Timestamp::try_from(time).ok());
    let now = Timestamp::now();
    let mut bytes = 0;
    let inside = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}/{name}"),
    };
    let pending = there.list(&inside("incremental"))?;
    let main = inside(MAIN);
    let beats = there.list(&inside("live"))?;
    if pending.is_none() && beats.is_none() && there.stat(&main)?.is_none() {
        return Err(Error::NoStore {
            path: path.into(),
            remedy: "there is neither test_results.parquet nor incremental/",
        });
    }
    let mut kept = vec![MAIN.to_owned()];
    for (name, stat) in pending.into_iter().flatten() {
        control.check()?;
        let kind = classify(&name);
        let wanted = matches!(
            kind,
            IncrementalName::Increment
                | IncrementalName::LegacyIncrement
                | IncrementalName::Journal
                | IncrementalName::Transaction
        );
        // A name with a slash would lead out of the mirror.
        if !wanted || stat.is_folder || name.contains('/') {
            continue;
        }
        kept.push(name.clone());
        let own = incremental.join(&name);
        let here = fs::metadata(&own).ok();
        if here.is_some() && seen.get(&name) == Some(&stat.into()) {
            continue;
        }
        let from = inside(&format!("incremental/{name}"));
        let begin = match (&kind, &here, seen.get(&name)) {
            (IncrementalName::Journal, Some(here), Some(_)) if here.len() <= stat.bytes => {
                here.len()
            }
            _ => 0,
        };
        match fetch(there, &from, &own, begin, stat, control) {
            Ok(count) => bytes += count,
            // It was merged or published meanwhile: main, or another file, has its rows.
            Err(Error::Refused(why)) if why.ends_with("is not there") => {
                kept.pop();
                continue;
            }
            Err(error) => return Err(error),
        }
        seen.insert(name, stat.into());
        remember(&seen_at, &seen)?;
    }
    for (name, stat) in there.list(&inside("sessions"))?.into_iter().flatten() {
        let own = folder.join("sessions").join(&name);
        // Immutable, and named after its content.
        if stat.is_folder || name.contains('/') || stat.bytes > LONGEST_NOTE || own.exists() {
            continue;
        }
        fs::create_dir_all(folder.join("sessions")).map_err(Error::io("create", &own))?;
        let from = inside(&format!("sessions/{name}"));
        bytes += fetch(there, &from, &own, 0, stat, control)?;
    }
    for (name, stat) in beats.into_iter().flatten() {
        control.check()?;
        let age = now.as_second() - i64::from(stat.modified);
        let is_small = stat.bytes <= LONGEST_NOTE && !stat.is_folder;
        if !is_live(&name) || name.contains('/') || !is_small || age > LONGEST_BEAT {
            continue;
        }
        let key = format!("live/{name}");
        kept.push(key.clone());
        let (own, known) = (folder.join(&key), seen.get(&key));
        if own.exists() && known == Some(&stat.into()) {
            continue;
        }
        // What a reader must know is when the writer said it. That was after the last round, by
        // this machine's clock, if the file has changed since.
        let since = known.and(last).map_or(0, Timestamp::as_second);
        let at = since.max(i64::from(stat.modified)).min(now.as_second());
        match heartbeat(there, &inside(&key), &own, stat, at, control) {
            Ok(count) => bytes += count,
            // Nothing depends on it.
            Err(error @ Error::Cancelled) => return Err(error),
            Err(error) => {
                tracing::debug!("{key}: {error}");
                continue;
            }
        }
        seen.insert(key, stat.into());
    }
    if let Some(stat) = there.stat(&main)?
        && seen.get(MAIN) != Some(&stat.into())
    {
        bytes += fetch(there, &main, &folder.join(MAIN), 0, stat, control)?;
        seen.insert(MAIN.to_owned(), stat.into());
    }
    // What is pending no longer is in main, which was looked at later.
    let kept: HashSet<String> = kept.into_iter().collect();
    for name in seen.keys().filter(|name| !kept.contains(*name)) {
        let own = if name.starts_with("live/") {
            folder.join(name)
        } else {
            incremental.join(name)
        };
        let _ = fs::remove_file(own);
    }
    seen.retain(|name, _| kept.contains(name));
    remember(&seen_at, &seen)?;
    Ok(bytes)
}

/// Fetches a heartbeat, which gets the time at which it was said.
fn heartbeat(
    there: &mut dyn Files,
    from: &str,
    to: &Path,
    stat: Stat,
    at: i64,
    control: &Control,
) -> Result<u64> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    let copied = fetch(there, from, to, 0, stat, control)?;
    let time = UNIX_EPOCH + Duration::from_secs(u64::try_from(at).unwrap_or_default());
    let dated = File::options().write(true).open(to);
    dated
        .and_then(|file| file.set_modified(time))
        .map_err(Error::io("write", to))?;
    Ok(copied)
}

/// One process at a time brings a mirror up to date.
fn lock(folder: &Path, control: &Control) -> Result<File> {
    const STEP: Duration = Duration::from_millis(50);
    let path = folder.join("mirror.lock");
    let file = File::create(&path).map_err(Error::io("create", &path))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => {
                control.check()?;
                std::thread::sleep(STEP);
            }
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", &path)(error)),
        }
    }
}

fn remember(path: &Path, seen: &BTreeMap<String, Seen>) -> Result<()> {
    let text = serde_json::to_vec(seen).unwrap_or_default();
    let temporary = path.with_extension("tmp");
    fs::write(&temporary, text)
        .and_then(|()| fs::rename(&temporary, path))
        .map_err(Error::io("write", path))
}

/// Fetches a file, or what of it comes after `begin`.
fn fetch(
    there: &mut dyn Files,
    from: &str,
    to: &Path,
    begin: u64,
    stat: Stat,
    control: &Control,
) -> Result<u64> {
    if begin > 0 {
        let file = OpenOptions::new()
            .write(true)
            .open(to)
            .map_err(Error::io("open", to))?;
        return there.copy(from, begin, stat.bytes, &file, control);
    }
    let temporary = to.with_extension("part");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&temporary)
        .map_err(Error::io("create", &temporary))?;
    let copied = there.copy(from, 0, stat.bytes, &file, control)?;
    // A main that was replaced while it was read is torn: it does not take the mirror's place.
    if copied < stat.bytes {
        let _ = fs::remove_file(&temporary);
        return Err(Error::Refused(format!(
            "{from} changed while it was read: pull again"
        )));
    }
    if to.file_name().is_some_and(|name| name == MAIN) && !ends_like_parquet(&file, stat.bytes) {
        let _ = fs::remove_file(&temporary);
        return Err(Error::Refused(format!(
            "{from} is being written, or damaged: pull again"
        )));
    }
    fs::rename(&temporary, to).map_err(Error::io("rename", to))?;
    Ok(copied)
}

fn ends_like_parquet(file: &File, bytes: u64) -> bool {
    let mut last = [0; 4];
    let at = bytes.saturating_sub(4);
    file.read_exact_at(&mut last, at).is_ok() && &last == b"PAR1"
}
