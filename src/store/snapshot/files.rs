//! The files that count, listed in the order in which data moves.
//!
//! Journals are listed first, then increments, then main's footer is read: a record
//! only ever moves in that direction and is published at its new place before it is
//! removed from the old one, so it is never missed. What the footer calls consumed
//! is in main, so it is never counted twice. Main is the same when the listing begins
//! and when its footer is read: files may have been consumed, removed and forgotten
//! meanwhile, and an undo moves rows the other way.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::path::PathBuf;

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::footers::{Footer, Footers, alike, fingerprint};
use super::main::{Main, expected_rows, open_main, open_summaries, zone};
use super::read::Unread;
use super::stat::{is_fresh, same};
use crate::stats::hashed::{ByName, Names};
use crate::store::Store;
use crate::store::commit::{CommitRecord, Consumed};
use crate::store::disk::{self, Entry, Stat, Told};
use crate::store::error::{Error, Result};
use crate::store::kind::{NEITHER, Shape, shape};
use crate::store::layout::{IncrementalName, classify, increment_name, retired_name, stem};
use crate::store::parquet_file::{OpenError, ParquetFile};

/// An increment whose rows (from `skip` on) are not in main.
#[derive(Debug, Clone)]
pub struct Increment {
    /// File name inside `incremental/`.
    pub name: String,
    /// The file when it was listed.
    pub stat: Stat,
    /// Its rows.
    pub rows: u64,
    /// Of those, the ones at the beginning that main contains (legacy files only).
    pub skip: u64,
    /// Its columns.
    pub schema: SchemaRef,
    /// Whether legacy code may rewrite it in place.
    pub legacy: bool,
}

/// A journal whose rows are neither in main nor in an increment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFile {
    /// File name inside `incremental/`.
    pub name: String,
    /// The part of the name that its increment will share.
    pub stem: String,
    /// The file when it was listed.
    pub stat: Stat,
    /// Whether its writer lives.
    pub locked: bool,
}

/// A file that can't be counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// File name inside `incremental/`.
    pub name: String,
    /// The file when it was listed.
    pub stat: Stat,
    /// `None`: it is being written. Otherwise why it can't be read.
    pub reason: Option<String>,
}

/// A consistent listing of a store.
#[derive(Debug)]
pub struct Files {
    /// Main; `None` before the first commit.
    pub main: Option<Main>,
    /// How many rows the last commit left in main, where it has fewer by now or is missing.
    pub expected_rows: Option<u64>,
    /// Files of summary rows that the commit record names.
    pub summaries: Vec<ParquetFile>,
    /// Zone of naive timestamps.
    pub zone: TimeZone,
    /// Increments that count, by name.
    pub increments: Vec<Increment>,
    /// Journals that count, by name.
    pub journals: Vec<JournalFile>,
    /// Files that can't be counted, by name.
    pub set_aside: Vec<SetAside>,
    /// Journals and increments that main contains or that another file stands for:
    /// they don't count, and may be removed when a commit says so.
    pub leftovers: Vec<Entry>,
    /// Names in `incremental/` that are none of the above and no data.
    pub strays: Vec<Entry>,
}

impl Files {
    /// Lets the journal of a stem count again, because its increment can't be read.
    pub(super) fn recover_journal(&mut self, store: &Store, of: Option<&str>) -> Result<()> {
        let Some(at) = of.and_then(|of| {
            let is_journal = |entry: &Entry| classify(&entry.name) == IncrementalName::Journal;
            self.leftovers
                .iter()
                .position(|entry| is_journal(entry) && stem(&entry.name) == Some(of))
        }) else {
            return Ok(());
        };
        let entry = self.leftovers.remove(at);
        take_journal(store, self, entry, &Names::default(), &ByName::default())
    }
}

/// Lists a store consistently; opens every file that counts.
pub fn files(store: &Store, now: Timestamp) -> Result<Files> {
    Lister::default().files(store, now)
}

/// Lists a store again and again, and opens only what is new.
#[derive(Debug, Default)]
pub struct Lister(Footers);

impl Lister {
    /// The same as [`files`].
    pub fn files(&mut self, store: &Store, now: Timestamp) -> Result<Files> {
        let footers = &mut self.0;
        retrying(store, || {
            let listing = Listing::of(store, now, footers)?;
            let unread: Vec<Entry> = listing.unread(footers).into_iter().cloned().collect();
            footers.read_ahead(store, unread);
            listing.finish(store, now, footers)
        })
    }
}

/// Repeats what failed because files moved: for about five seconds, and ever less often.
/// What did not change is not read again, so that the next attempt is a short one.
pub(in crate::store) fn retrying<T>(
    store: &Store,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    const ROUNDS: u32 = 24;
    const LONGEST_MS: u64 = 250;
    for round in 0..ROUNDS {
        match attempt() {
            Err(error) if error.is_transient() => {
                let pause = LONGEST_MS.min(5 << round.min(6));
                store.disk.pause(std::time::Duration::from_millis(pause));
            }
            done => return done,
        }
    }
    Err(Error::Unstable {
        path: store.layout.root().to_path_buf(),
    })
}

/// The names in a store, and main: what is in the files is looked at afterwards.
pub(super) struct Listing {
    journals: Vec<Entry>,
    all: Vec<Entry>,
    pub(super) main: Option<Main>,
    pub(super) expected_rows: Option<u64>,
    pub(super) summaries: Vec<ParquetFile>,
    pub(super) zone: TimeZone,
}

impl Listing {
    /// One attempt at a listing.
    pub(super) fn of(store: &Store, now: Timestamp, footers: &mut Footers) -> Result<Self> {
        store.check()?;
        let stat = || store.disk.stat(&store.layout.main()).ok();
        let before = stat();
        footers.begin(before.as_ref(), now);
        let journals = entries(store, &|name, _| match classify(name) {
            IncrementalName::Journal => Told::Unknown,
            _ => Told::Passed,
        })?;
        let all = entries(store, &|name, inode| footers.stat(name, inode))?;
        // Only now: what a file that was listed loses to main from here on is there twice at worst.
        let known = stat().and_then(|stat| footers.main(&stat));
        let (main, expected_rows) = if let Some(known) = known {
            (Some(known), footers.expected_rows)
        } else {
            let main = open_main(store, now, footers)?;
            let expected_rows = expected_rows(store, main.as_ref())?;
            (main, expected_rows)
        };
        // A commit came while files were listed.
        if !alike(
            before.as_ref(),
            main.as_ref().map(|main| main.file.stat()).as_ref(),
        ) {
            return Err(Error::Changed {
                path: store.layout.main(),
            });
        }
        footers.keep_main(main.as_ref());
        footers.expected_rows = expected_rows;
        let (summaries, zone) = (
            open_summaries(store, main.as_ref())?,
            zone(store, main.as_ref()),
        );
        Ok(Self {
            journals,
            all,
            main,
            expected_rows,
            summaries,
            zone,
        })
    }

    fn consumed(&self) -> ByName<&str, Vec<&Consumed>> {
        let record = self.main.as_ref().and_then(Main::record);
        record
            .map(CommitRecord::consumed_by_name)
            .unwrap_or_default()
    }

    /// Files of ours that nobody has looked into yet, and that main does not have.
    pub(super) fn unread(&self, footers: &Footers) -> Vec<&Entry> {
        let consumed = self.consumed();
        let unread = |entry: &&Entry| {
            // First what tells most of them apart.
            let new = footers.is_new(&entry.name) && !consumed.contains_key(entry.name.as_str());
            new && entry.stat.is_file && classify(&entry.name) == IncrementalName::Increment
        };
        self.all.iter().filter(unread).collect()
    }

    /// Puts every file where it belongs.
    pub(super) fn finish(
        self,
        store: &Store,
        now: Timestamp,
        footers: &mut Footers,
    ) -> Result<Files> {
        let consumed = self
            .main
            .as_ref()
            .and_then(Main::record)
            .map(CommitRecord::consumed_by_name);
        let consumed = consumed.unwrap_or_default();
        let mut files = Files {
            summaries: self.summaries,
            zone: self.zone,
            main: None,
            expected_rows: self.expected_rows,
            increments: Vec::new(),
            journals: Vec::new(),
            set_aside: Vec::new(),
            leftovers: Vec::new(),
            strays: Vec::new(),
        };
        let mut published = Names::default();
        for entry in self.all {
            let kind = classify(&entry.name);
            let legacy = kind == IncrementalName::LegacyIncrement;
            if !entry.stat.is_file || !(legacy || kind == IncrementalName::Increment) {
                if kind != IncrementalName::Journal {
                    files.strays.push(entry);
                }
                continue;
            }
            let known = consumed
                .get(entry.name.as_str())
                .map(Vec::as_slice)
                .unwrap_or_default();
            // It may stand for one of them.
            let stem = stem(&entry.name)
                .filter(|_| !self.journals.is_empty())
                .map(str::to_owned);
            if take_increment(store, now, footers, &mut files, entry, legacy, known)? {
                published.extend(stem);
            }
        }
        footers.keep_seen();
        follow_retired(store, &mut files)?;
        for entry in self.journals {
            take_journal(store, &mut files, entry, &published, &consumed)?;
            // A lock that is free because its writer has published meanwhile is no dead writer's.
            if let Some(journal) = files.journals.last().filter(|journal| !journal.locked) {
                let increment = increment_name(&journal.stem);
                let path = store.layout.incremental().join(&increment);
                if !footers.is_seen(&increment) && store.disk.stat(&path).is_ok() {
                    return Err(Error::Changed { path });
                }
            }
        }
        drop(consumed);
        files.main = self.main;
        Ok(files)
    }
}

/// Puts an increment where it belongs; `true` when it stands for its journal.
fn take_increment(
    store: &Store,
    now: Timestamp,
    footers: &mut Footers,
    files: &mut Files,
    entry: Entry,
    legacy: bool,
    consumed: &[&Consumed],
) -> Result<bool> {
    let footer = match footers.look(store, &entry, legacy, consumed) {
        // Main has it, and it is gone by now.
        Err(error) if error.is_not_found() && consumed.iter().any(|c| !c.legacy) => {
            return Ok(true);
        }
        footer => footer?,
    };
    match footer {
        Footer::Consumed => files.leftovers.push(entry),
        // Of ours also without rows: it stands for its journal until both are consumed.
        Footer::Good { rows, skip, schema }
            if shape(schema) != Shape::Neither && (*rows > 0 || !legacy) =>
        {
            let (rows, skip, schema) = (*rows, *skip, schema.clone());
            let increment = Increment {
                name: entry.name,
                stat: entry.stat,
                rows,
                skip,
                schema,
                legacy,
            };
            files.increments.push(increment);
        }
        // What follows does not stand for its journal, where there is one.
        Footer::Good { rows, .. } if *rows > 0 => {
            set_aside(files, entry, Some(NEITHER.to_owned()));
            return Ok(false);
        }
        // Nothing in it, and nothing to say about it: the columns of an empty frame are of
        // any type, and need not fit.
        Footer::Empty | Footer::Good { .. } => {
            files.strays.push(entry);
            return Ok(false);
        }
        Footer::Bad(reason) => {
            let reason = (!is_fresh(&entry.stat, now)).then(|| reason.clone());
            set_aside(files, entry, reason);
            return Ok(false);
        }
        // That it is fresh explains nothing.
        Footer::Refused(reason) => {
            let reason = Some(reason.clone());
            set_aside(files, entry, reason);
            return Ok(false);
        }
    }
    Ok(true)
}

/// A legacy file may be there twice: its writer had it open when it was renamed to be
/// retired, wrote on into that, and then made it anew with its old rows in it. Those
/// that the retired one has count there.
fn follow_retired(store: &Store, files: &mut Files) -> Result<()> {
    let Files {
        increments,
        set_aside,
        ..
    } = files;
    let is_retired = |name: &str| retired_name(name) == name;
    let unread = set_aside
        .iter()
        .filter(|file| file.reason.is_none() && is_retired(&file.name));
    let unread: HashSet<String> = unread.map(|file| file.name.clone()).collect();
    let retired = increments
        .iter()
        .filter(|file| file.legacy && is_retired(&file.name));
    let retired: HashMap<String, Increment> = retired
        .map(|file| (file.name.clone(), file.clone()))
        .collect();
    if unread.is_empty() && retired.is_empty() {
        return Ok(());
    }
    let mut waits = HashSet::new();
    for (at, file) in increments
        .iter_mut()
        .enumerate()
        .filter(|(_, file)| file.legacy)
    {
        let name = retired_name(&file.name);
        if unread.contains(&name) {
            waits.insert(at);
        }
        let Some(retired) = retired.get(&name) else {
            continue;
        };
        if retired.name == file.name || retired.rows > file.rows || retired.rows <= file.skip {
            continue;
        }
        let (before, after) = (retired.open(store)?, file.open(store)?);
        match (
            fingerprint(&before, retired.rows),
            fingerprint(&after, retired.rows),
        ) {
            (Ok(before), Ok(after)) if before == after => file.skip = retired.rows,
            (Ok(_), Ok(_)) => {}
            // Rewritten meanwhile, or damaged: whoever reads its rows says so.
            _ => {
                retired.check(store)?;
                file.check(store)?;
            }
        }
    }
    // Nobody knows yet which of its rows the retired one will have.
    let mut at = 0;
    increments.retain(|file| {
        at += 1;
        let wait = waits.contains(&(at - 1));
        if wait {
            set_aside.push(SetAside {
                name: file.name.clone(),
                stat: file.stat,
                reason: None,
            });
        }
        !wait
    });
    set_aside.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(())
}

impl Increment {
    /// Whether it is not expected to change any more: one of ours, or one that its legacy
    /// writer has left alone for a while.
    pub(super) fn is_calm(&self, now: Timestamp) -> bool {
        const CALM_NS: i128 = 600 * 1_000_000_000;
        let records = shape(&self.schema) == Shape::Records;
        records
            && (!self.legacy || now.as_nanosecond().saturating_sub(self.stat.modified_ns) > CALM_NS)
    }

    pub(super) fn unread(&self) -> Unread<'_> {
        Unread {
            name: &self.name,
            stat: &self.stat,
            skip: self.skip,
        }
    }

    /// Its path.
    pub fn path(&self, store: &Store) -> PathBuf {
        store.layout.incremental().join(&self.name)
    }

    /// Opens it; an error when it is no longer what was listed.
    pub fn open(&self, store: &Store) -> Result<ParquetFile> {
        let path = self.path(store);
        let file = ParquetFile::open(&*store.disk, &path).map_err(|error| match error {
            OpenError::Io(_) => error.at(&path),
            _ => Error::Changed { path: path.clone() },
        })?;
        if same(&file.stat(), &self.stat) {
            Ok(file)
        } else {
            Err(Error::Changed { path })
        }
    }

    /// An error when it is gone or no longer what was listed.
    pub fn check(&self, store: &Store) -> Result<()> {
        let path = self.path(store);
        let now = store.disk.stat(&path).map_err(Error::io("read", &path))?;
        if same(&now, &self.stat) {
            Ok(())
        } else {
            Err(Error::Changed { path })
        }
    }
}

fn set_aside(files: &mut Files, entry: Entry, reason: Option<String>) {
    files.set_aside.push(SetAside {
        name: entry.name,
        stat: entry.stat,
        reason,
    });
}

fn take_journal(
    store: &Store,
    files: &mut Files,
    entry: Entry,
    published: &Names<String>,
    consumed: &ByName<&str, Vec<&Consumed>>,
) -> Result<()> {
    let Some(stem) = stem(&entry.name)
        .filter(|_| entry.stat.is_file)
        .map(str::to_owned)
    else {
        return Ok(());
    };
    if published.contains(&stem)
        || consumed.contains_key(stem.as_str())
        || consumed.contains_key(increment_name(&stem).as_str())
    {
        files.leftovers.push(entry);
        return Ok(());
    }
    let path = store.layout.incremental().join(&entry.name);
    let stat = store.disk.stat(&path).map_err(Error::io("read", &path))?;
    let locked = store
        .disk
        .is_locked(&path)
        .map_err(Error::io("read", &path))?;
    files.journals.push(JournalFile {
        name: entry.name,
        stem,
        stat,
        locked,
    });
    Ok(())
}

/// The names in `incremental/`, sorted.
fn entries(store: &Store, known: disk::Known<'_>) -> Result<Vec<Entry>> {
    let folder = store.layout.incremental();
    match store.disk.list_knowing(&folder, known) {
        Ok(mut entries) => {
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            // Some file systems give a name twice while a file is renamed over it.
            entries.dedup_by(|a, b| a.name == b.name);
            Ok(entries)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("read", folder)(error)),
    }
}
