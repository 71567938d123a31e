//! The files that count, listed in the order in which data moves.
//!
//! Journals are listed first, then increments, then the folders of commits, then main's footer
//! is read: a record only ever moves in that direction and is published at its new place before
//! it is removed from the old one, so it is never missed. A file leaves `incremental/` only after
//! the rename of a main that has its rows, and into a folder: if the listing lacks it, then main
//! has the rows, or main does not name the folder's commit and the files there count. To count a
//! row twice changes nothing.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::folders::{self, Folder, entries_of, is_as_read};
use super::footer_cache::{Footer, Footers, alike};
use super::main::{Main, expected_rows, namer, open_main, open_summaries};
use super::scan_context::Unread;
use super::stat::{is_fresh, same};
use crate::stats::collections::{ByName, Names};
use crate::store::Store;
use crate::store::disk::{self, Entry, ListAction, Lock, Stat, lock_of};
use crate::store::error::{Error, Result, is_exhaustion};
use crate::store::format::commit_record::{CommitRecord, Consumed, consumed_bytes};
use crate::store::format::layout::{
    CONSUMED, IncrementalName, bare_name, classify, folder_of, increment_name, moved_place, stem,
};
use crate::store::format::row_kind::{Shape, refusal, shape};
use crate::store::identity::Namer;
use crate::store::parquet::{Ids, OpenError, ParquetFile};
use crate::store::resolve::{Novelty, Removed};
use crate::store::write::increment::JournalPart;
use crate::store::write::journal;

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
    /// What gives its rows ids, where some bring none.
    pub(crate) ids: Option<Arc<dyn Ids>>,
    /// Whether a commit took in this file before, in this version or another: what of it is in
    /// main already is nothing to count.
    pub(crate) again: bool,
    /// The part of a journal that it was made of.
    pub journal: Option<JournalPart>,
}

/// A journal with rows that are neither in main nor in an increment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFile {
    /// File name inside `incremental/`.
    pub name: String,
    /// The part of the name that its increment will share.
    pub stem: String,
    /// The file when it was listed.
    pub stat: Stat,
    /// Where those rows begin.
    pub from: u64,
    /// Whether its writer lives, as far as its lock says.
    pub lock: Lock,
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
    /// What was removed on purpose: rows that don't count wherever they are found.
    pub removed: Arc<Removed>,
    /// Why that can't be read, where it can't: then such rows count if a file brings them back.
    pub removed_unread: Option<String>,
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
    /// The folders of commits that main does not contain: their files count.
    pub folders: Vec<Folder>,
}

impl Files {
    /// Lets the journal of a stem count again, because its increment can't be read.
    pub(crate) fn recover_journal(&mut self, store: &Store, of: Option<&str>) -> Result<()> {
        let Some(at) = of.and_then(|of| {
            let is_journal = |entry: &Entry| classify(&entry.name) == IncrementalName::Journal;
            self.leftovers
                .iter()
                .position(|entry| is_journal(entry) && stem(&entry.name) == Some(of))
        }) else {
            return Ok(());
        };
        let entry = self.leftovers.remove(at);
        take_journal(store, self, entry, 0)
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
    /// Rows without ids are named by the id that the next commit gives to a store without one.
    pub(crate) fn adopt(&mut self, store_id: &str) {
        self.0.adopted = Some(store_id.to_owned());
    }

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
pub(crate) fn retrying<T>(store: &Store, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
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
pub(crate) struct Listing {
    journals: Vec<Entry>,
    all: Vec<Entry>,
    pub(crate) main: Option<Main>,
    pub(crate) expected_rows: Option<u64>,
    pub(crate) summaries: Vec<ParquetFile>,
    removed: (Arc<Removed>, Option<String>),
    pub(crate) namer: Namer,
    folders: Vec<Folder>,
    /// Folders of commits that main does not contain and that can't be read.
    refused: Vec<SetAside>,
}

impl Listing {
    /// One attempt at a listing.
    pub(crate) fn of(store: &Store, now: Timestamp, footers: &mut Footers) -> Result<Self> {
        store.check()?;
        let stat = || store.disk.stat(&store.layout.main()).ok();
        let before = stat();
        footers.begin(before.as_ref(), now);
        let mut journals = entries(store, &|name, _| match classify(name) {
            IncrementalName::Journal => ListAction::Unknown,
            _ => ListAction::Passed,
        })?;
        let mut all = entries(store, &|name, inode| footers.stat(name, inode))?;
        let folders = moved(store, footers, &all)?;
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
        let summaries = open_summaries(store, main.as_ref())?;
        let removed = footers.removed(store, main.as_ref())?;
        let record = main.as_ref().and_then(Main::record);
        let namer = namer(store, record, footers.adopted.as_deref());
        footers.name_by(&namer);
        let own = main.as_ref().and_then(Main::contained);
        let known = own.map(CommitRecord::consumed_by_name).unwrap_or_default();
        let (mut pending, mut unread) = (Vec::new(), Vec::new());
        for Moved {
            folder,
            files,
            is_last,
            refused,
        } in folders
        {
            let is_settled = own.is_some_and(|own| own.has_merged(&folder.commit_id));
            let Some(files) = files else {
                if !is_settled {
                    footers.keep_folders(&[]);
                    return Err(Error::Changed {
                        path: store.layout.main(),
                    });
                }
                continue;
            };
            let is_legacy =
                |entry: &Entry| classify(&entry.name) == IncrementalName::LegacyIncrement;
            if let Some(reason) = refused {
                if !is_settled {
                    let name = moved_place(&folder.name, "");
                    let stat = folder.stat;
                    unread.push(SetAside {
                        name,
                        stat,
                        reason: Some(reason),
                    });
                    pending.push(folder);
                }
                continue;
            }
            if is_settled && !is_last && !files.iter().any(is_legacy) {
                footers.done_with(&folder.name);
            }
            for entry in files {
                let is_read = || is_as_read(&entries_of(&known, &entry.name), &entry.stat);
                if is_settled && (!is_legacy(&entry) || is_read()) {
                    continue;
                }
                if classify(&entry.name) == IncrementalName::Journal {
                    journals.push(entry);
                } else {
                    all.push(entry);
                }
            }
            pending.extend((!is_settled).then_some(folder));
        }
        drop(known);
        let folders = pending;
        Ok(Self {
            journals,
            all,
            main,
            expected_rows,
            summaries,
            removed,
            namer,
            folders,
            refused: unread,
        })
    }

    fn consumed(&self) -> ByName<&str, Vec<&Consumed>> {
        let record = self.main.as_ref().and_then(Main::contained);
        record
            .map(CommitRecord::consumed_by_name)
            .unwrap_or_default()
    }

    /// Files of ours that nobody has looked into yet, and that main does not have.
    pub(crate) fn unread(&self, footers: &Footers) -> Vec<&Entry> {
        let consumed = self.consumed();
        let unread = |entry: &&Entry| {
            // First what distinguishes most of them.
            let new = footers.is_new(&entry.name) && !consumed.contains_key(entry.name.as_str());
            new && entry.stat.is_file && classify(&entry.name) == IncrementalName::Increment
        };
        self.all.iter().filter(unread).collect()
    }

    /// Puts every file where it belongs.
    pub(crate) fn finish(
        self,
        store: &Store,
        now: Timestamp,
        footers: &mut Footers,
    ) -> Result<Files> {
        let consumed = self
            .main
            .as_ref()
            .and_then(Main::contained)
            .map(CommitRecord::consumed_by_name);
        let consumed = consumed.unwrap_or_default();
        // What a commit took in before, believed or not: other code makes a file that was moved into
        // a folder once more, with all its rows.
        let before = self.main.as_ref().and_then(Main::record);
        let before = before.map_or(&[][..], |record| &record.consumed).iter();
        let before: Names<&str> = before.map(|entry| bare_name(&entry.name)).collect();
        let (removed, removed_unread) = self.removed;
        let mut files = Files {
            removed,
            removed_unread,
            summaries: self.summaries,
            zone: self.namer.zone,
            main: None,
            expected_rows: self.expected_rows,
            increments: Vec::new(),
            journals: Vec::new(),
            set_aside: self.refused,
            leftovers: Vec::new(),
            strays: Vec::new(),
            folders: self.folders,
        };
        // An increment may stand for one of them.
        let any_journal = !self.journals.is_empty();
        let mut published: ByName<String, Vec<JournalPart>> = ByName::default();
        for entry in self.all {
            let kind = classify(&entry.name);
            let legacy = kind == IncrementalName::LegacyIncrement;
            if !entry.stat.is_file || !(legacy || kind == IncrementalName::Increment) {
                if kind != IncrementalName::Journal {
                    files.strays.push(entry);
                }
                continue;
            }
            let moved = folder_of(&entry.name).map(|_| entries_of(&consumed, &entry.name));
            let known = match &moved {
                Some(moved) => moved.as_slice(),
                None => consumed
                    .get(entry.name.as_str())
                    .map(Vec::as_slice)
                    .unwrap_or_default(),
            };
            let again = folder_of(&entry.name).is_some() || before.contains(entry.name.as_str());
            let part = take_increment(
                store,
                now,
                footers,
                &mut files,
                entry,
                (legacy, again),
                known,
            )?;
            if let Some(part) = part.filter(|_| any_journal) {
                published.entry(part.stem.clone()).or_default().push(part);
            }
        }
        footers.keep_seen();
        skip_published(&mut files.increments, &consumed);
        for entry in self.journals {
            let Some(stem) = stem(&entry.name) else {
                continue;
            };
            let parts = published.get(stem).into_iter().flatten();
            let main = consumed.get(stem).map(Vec::as_slice).unwrap_or_default();
            // What is in main and pending rows follow each other in any order.
            let in_main = main.iter().filter_map(|entry| entry.journal.as_ref());
            let covered = JournalPart::covered(&parts.chain(in_main)).max(consumed_bytes(main));
            take_journal(store, &mut files, entry, covered)?;
            // A lock that is free because its writer has published meanwhile is not a dead writer's.
            let last = files.journals.last();
            if let Some(journal) = last.filter(|journal| journal.lock == Lock::Free) {
                let increment = increment_name(&journal.stem);
                let path = store.layout.incremental().join(&increment);
                if !footers.is_seen(&increment) && store.disk.stat(&path).is_ok() {
                    return Err(Error::Changed { path });
                }
            }
        }
        drop((consumed, before));
        files.main = self.main;
        Ok(files)
    }
}

/// The parts of one journal may overlap: somebody took in the beginning, and its writer published
/// the whole. The rows of a smaller part that come first in a larger one count there.
fn skip_published(increments: &mut [Increment], consumed: &ByName<&str, Vec<&Consumed>>) {
    type Rows = (u64, u64, u64);
    let mut parts: ByName<String, Vec<Rows>> = ByName::default();
    for file in increments.iter() {
        if let Some(part) = &file.journal {
            let rows = (part.from, part.journal_bytes, file.rows);
            parts.entry(part.stem.clone()).or_default().push(rows);
        }
    }
    for file in increments.iter_mut() {
        let Some(part) = &file.journal else { continue };
        let main = consumed.get(part.stem.as_str()).into_iter().flatten();
        let main = main.filter_map(|entry| {
            let part = entry.journal.as_ref()?;
            Some((part.from, part.journal_bytes, entry.rows))
        });
        let pending = parts.get(&part.stem).into_iter().flatten().copied();
        // Of ranges that end alike there is one: a name says where its part ends.
        let pending = pending.filter(|(from, to, _)| {
            *to < part.journal_bytes || (*to == part.journal_bytes && *from > part.from)
        });
        let smaller: Vec<Rows> = main.chain(pending).collect();
        let (mut at, mut skip) = (part.from, 0);
        while let Some((_, to, rows)) = smaller
            .iter()
            .filter(|(from, to, _)| *from == at && *to > at && *to <= part.journal_bytes)
            .max_by_key(|(_, to, _)| *to)
        {
            (at, skip) = (*to, skip + rows);
        }
        file.skip = file.skip.max(skip.min(file.rows));
    }
}

/// Puts an increment where it belongs; reports which part of its journal it has the rows, and
/// of all of it where it does not say. `None` when it stands for none.
fn take_increment(
    store: &Store,
    now: Timestamp,
    footers: &mut Footers,
    files: &mut Files,
    entry: Entry,
    (legacy, again): (bool, bool),
    consumed: &[&Consumed],
) -> Result<Option<JournalPart>> {
    let footer = match footers.look(store, &entry, legacy, consumed) {
        // Main has it, and it is gone by now.
        Err(error)
            if error.is_not_found()
                && if legacy {
                    is_as_read(consumed, &entry.stat)
                } else {
                    consumed.iter().any(|c| c.bytes == entry.stat.bytes)
                } =>
        {
            return Ok(None);
        }
        footer => footer?,
    };
    match footer {
        // Main's record says which part of a journal it had.
        Footer::Consumed => {
            files.leftovers.push(entry);
            Ok(None)
        }
        // Of ours also without rows: it stands for its journal until both are consumed.
        Footer::Good {
            rows,
            skip,
            schema,
            ids,
            journal,
        } if refusal(schema).is_none() && (*rows > 0 || !legacy) => {
            let (rows, skip, schema, ids) = (*rows, *skip, schema.clone(), ids.clone());
            let journal = journal.clone();
            let part = journal.clone().or_else(|| {
                // Earlier versions took in all of a journal, or nothing.
                stem(&entry.name).map(|stem| JournalPart {
                    stem: stem.to_owned(),
                    from: 0,
                    journal_bytes: u64::MAX,
                })
            });
            let increment = Increment {
                name: entry.name,
                stat: entry.stat,
                rows,
                skip,
                schema,
                legacy,
                ids,
                again,
                journal,
            };
            files.increments.push(increment);
            Ok(part)
        }
        // What follows does not stand for its journal, where there is one.
        Footer::Good { rows, schema, .. } if *rows > 0 => {
            let reason = refusal(schema).map(str::to_owned);
            set_aside(files, entry, reason);
            Ok(None)
        }
        // Whoever rewrites a file in place has emptied it first: its rows come in a moment.
        Footer::Empty if is_fresh(&entry.stat, now) => {
            set_aside(files, entry, None);
            Ok(None)
        }
        // Nothing in it, and nothing to say about it: the columns of an empty frame are of
        // any type, and need not fit.
        Footer::Empty | Footer::Good { .. } => {
            files.strays.push(entry);
            Ok(None)
        }
        Footer::Bad(reason) => {
            let reason = (!is_fresh(&entry.stat, now)).then(|| reason.clone());
            set_aside(files, entry, reason);
            Ok(None)
        }
        // That it is fresh explains nothing.
        Footer::Refused(reason) => {
            let reason = Some(reason.clone());
            set_aside(files, entry, reason);
            Ok(None)
        }
    }
}

impl Increment {
    /// What it says of rows that are there already.
    pub(crate) fn novelty(&self) -> Novelty {
        match (self.again, self.legacy) {
            (true, _) => Novelty::TakenIn,
            (false, true) => Novelty::Rewritten,
            (false, false) => Novelty::Unknown,
        }
    }

    /// Whether it is not expected to change any more: one of ours, or one that its legacy
    /// writer has left alone for a while.
    pub(crate) fn is_calm(&self, now: Timestamp) -> bool {
        const CALM_NS: i128 = 600 * 1_000_000_000;
        let records = shape(&self.schema) == Shape::Records;
        records
            && (!self.legacy || now.as_nanosecond().saturating_sub(self.stat.modified_ns) > CALM_NS)
    }

    pub(crate) fn unread(&self) -> Unread<'_> {
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
            Ok(file.with_ids(self.ids.clone()))
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

/// Puts a journal where it belongs, of which increments and main have the first `covered` bytes.
fn take_journal(store: &Store, files: &mut Files, entry: Entry, covered: u64) -> Result<()> {
    let Some(stem) = stem(&entry.name)
        .filter(|_| entry.stat.is_file)
        .map(str::to_owned)
    else {
        return Ok(());
    };
    // What was added since it was listed is for the next scan.
    if covered >= entry.stat.bytes && covered > 0 {
        files.leftovers.push(entry);
        return Ok(());
    }
    let path = store.layout.incremental().join(&entry.name);
    let disk = &*store.disk;
    let stat = disk.stat(&path).map_err(Error::io("read", &path))?;
    let looked = disk.open(&path).and_then(|file| {
        // What follows may be half a line, of a writer that died.
        let more = covered == 0 || journal::has_line(&*file, stat.bytes, covered)?;
        let lock = match lock_of(disk, &path)? {
            Lock::Free if journal::is_shared(&*file)? => Lock::Unknown,
            lock => lock,
        };
        Ok((more, lock))
    });
    match looked {
        Ok((false, _)) => files.leftovers.push(entry),
        Ok((true, lock)) => files.journals.push(JournalFile {
            name: entry.name,
            stem,
            stat,
            from: covered,
            lock,
        }),
        Err(error) if error.kind() == ErrorKind::NotFound || is_exhaustion(&error) => {
            return Err(Error::io("read", path)(error));
        }
        // Its owner keeps it from us, or the disk does: the other files can be read.
        Err(error) => set_aside(files, entry, Some(error.to_string())),
    }
    Ok(())
}

/// What is in the folder of a commit.
struct Moved {
    folder: Folder,
    /// `None` where nothing of it counts while it is settled.
    files: Option<Vec<Entry>>,
    /// Whether files may be moved into it yet.
    is_last: bool,
    /// Why it can't be read, where that is so.
    refused: Option<String>,
}

/// The folders of commits, and what is in them. What is in a settled one is listed once, unless
/// it is the last, into which files are still moved.
fn moved(store: &Store, footers: &mut Footers, all: &[Entry]) -> Result<Vec<Moved>> {
    if !all.iter().any(|entry| entry.name == CONSUMED) {
        return Ok(Vec::new());
    }
    let all = folders::list(store)?;
    let last = all.last().map(|folder| folder.name.clone());
    footers.keep_folders(&all);
    let mut found = Vec::with_capacity(all.len());
    for folder in all {
        let mut refused = None;
        let files = if footers.is_done_with(&folder.name) {
            None
        } else {
            match folders::files(store, &folder.name) {
                // Its owner keeps it from us: the other files can be read.
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::PermissionDenied => {
                    refused = Some(source.to_string());
                    Some(Vec::new())
                }
                files => Some(files?),
            }
        };
        let is_last = last.as_ref() == Some(&folder.name);
        found.push(Moved {
            folder,
            files,
            is_last,
            refused,
        });
    }
    Ok(found)
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
