//! The footers of increments, read once for as long as a file stays what it is.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use jiff::{SignedDuration, Timestamp};

use super::folders::Folder;
use super::main::Main;
use super::stat::{is_settled, same};
use crate::limits::LIMITS;
use crate::stats::collections::{ByName, Names};
use crate::store::Store;
use crate::store::commit::removed::read as read_removed;
use crate::store::disk::{self, Entry, ListAction, Stat};
use crate::store::error::{Error, Result, is_exhaustion};
use crate::store::format::commit_record::{Consumed, RemovedSet};
use crate::store::format::layout::{IncrementalName, MAIN, bare_name, classify, source_name};
use crate::store::identity::Namer;
use crate::store::legacy::format1::consumed_prefix;
use crate::store::parquet::{Ids, OpenError, ParquetFile};
use crate::store::resolve::Removed;
use crate::store::threads;
use crate::store::write::increment::JournalPart;

/// What an increment's footer says, next to what main says was consumed.
#[derive(Debug, Clone)]
pub(crate) enum Footer {
    /// No byte in it.
    Empty,
    /// No valid footer; why.
    Bad(String),
    /// The operating system does not let us read it; what it said.
    Refused(String),
    /// Main contains all of it.
    Consumed,
    /// Main lacks its rows from `skip` on.
    Good {
        /// Rows in the file.
        rows: u64,
        /// Those at the beginning that main contains.
        skip: u64,
        /// Columns.
        schema: SchemaRef,
        /// What gives its rows ids, where some bring none.
        ids: Option<Arc<dyn Ids>>,
        /// The part of a journal that it was made of.
        journal: Option<JournalPart>,
    },
}

/// A file of `incremental/`, opened.
#[derive(Debug)]
pub(crate) enum Opened {
    /// Its footer is valid.
    File(ParquetFile),
    /// There is no more to say of it than this.
    Footer(Footer),
}

/// Remembers footers, and main.
#[derive(Debug, Default)]
pub(crate) struct Footers {
    known: ByName<String, Known>,
    /// Different columns; most files share theirs.
    schemas: Vec<SchemaRef>,
    /// Main, where it will be the same until its time changes.
    main: Option<Main>,
    /// How many rows the last commit left in it, where it has fewer.
    pub(crate) expected_rows: Option<u64>,
    /// The main next to which the files were seen; nothing: next to none.
    beside: Option<Stat>,
    /// The number of the listing.
    round: u64,
    /// When every file was last asked for, not only those that may have changed.
    asked: Option<Timestamp>,
    /// Whether files of ours are believed to be what they were.
    quick: bool,
    /// What names rows that bring no id.
    namer: Namer,
    /// The id that the next commit gives to a store that has none.
    pub(crate) adopted: Option<String>,
    /// The removed set, by its name.
    removed: Option<(RemovedSet, Arc<Removed>)>,
    /// Folders of commits that need not be listed while they are settled.
    done: Names<String>,
}

/// What an entry of a commit record says: bytes, rows, hash.
type Version = (u64, u64, String);

#[derive(Debug)]
struct Known {
    stat: Stat,
    /// The last listing that it was in.
    seen: u64,
    /// Whether it is a file of ours, which never changes under its name.
    ours: bool,
    settled: bool,
    consumed: Vec<Version>,
    footer: Footer,
}

impl Footers {
    /// A listing begins. Files of ours never change under their names, so what is known of
    /// them is believed while main stays what it is, and asked for again once a minute all
    /// the same.
    pub(crate) fn begin(&mut self, main: Option<&Stat>, now: Timestamp) {
        const TRUST: SignedDuration = SignedDuration::from_secs(60);
        self.round += 1;
        self.known.retain(|_, known| known.settled);
        let lately = self
            .asked
            .is_some_and(|at| now >= at && now.duration_since(at) < TRUST);
        self.quick = lately && alike(self.beside.as_ref(), main);
        if !self.quick {
            self.asked = Some(now);
        }
    }

    /// The removed set that main names, or why it can't be read.
    pub(crate) fn removed(
        &mut self,
        store: &Store,
        main: Option<&Main>,
    ) -> Result<(Arc<Removed>, Option<String>)> {
        let named = main.and_then(|main| main.removed.as_ref());
        // A file of that name has these bytes for ever.
        let known = self.removed.take();
        let known = known.filter(|(known, _)| Some(known) == named);
        match (known, named) {
            (_, None) => Ok((Arc::default(), None)),
            (Some((named, removed)), _) => {
                self.removed = Some((named, Arc::clone(&removed)));
                Ok((removed, None))
            }
            (None, Some(named)) => match read_removed(store, Some(named)) {
                Ok(removed) => {
                    let removed = Arc::new(removed);
                    self.removed = Some((named.clone(), Arc::clone(&removed)));
                    Ok((removed, None))
                }
                Err(Error::Refused(why)) => {
                    // Another commit may name another set by now, and this one may be gone.
                    let path = store.layout.main();
                    let now = store.disk.stat(&path).ok();
                    if !alike(now.as_ref(), main.map(|main| main.file.stat()).as_ref()) {
                        return Err(Error::Changed { path });
                    }
                    Ok((Arc::default(), Some(why)))
                }
                Err(error) => Err(error),
            },
        }
    }

    /// From now on ids are made by this; those made by another one are forgotten.
    pub(crate) fn name_by(&mut self, namer: &Namer) {
        if self.namer == *namer {
            return;
        }
        self.namer.clone_from(namer);
        self.known
            .retain(|_, known| !matches!(known.footer, Footer::Good { ids: Some(_), .. }));
    }

    /// Forgets the folders of commits that are gone.
    pub(crate) fn keep_folders(&mut self, there: &[Folder]) {
        self.done
            .retain(|name| there.iter().any(|folder| folder.name == *name));
    }

    /// A folder need not be listed any more while it is settled.
    pub(crate) fn done_with(&mut self, folder: &str) {
        self.done.insert(folder.to_owned());
    }

    /// Whether that is so.
    pub(crate) fn is_done_with(&self, folder: &str) -> bool {
        self.done.contains(folder)
    }

    /// Something moved: the next listing asks for everything.
    pub(crate) fn distrust(&mut self) {
        self.asked = None;
    }

    /// What is known of a file that can't have changed.
    pub(crate) fn stat(&self, name: &str, inode: u64) -> ListAction {
        match self.known.get(name) {
            Some(known) if self.quick && known.stat.inode == inode && known.ours => {
                ListAction::Known(known.stat)
            }
            _ => ListAction::Unknown,
        }
    }

    /// Main, where it is still what it was.
    pub(crate) fn main(&self, stat: &Stat) -> Option<Main> {
        self.main
            .clone()
            .filter(|main| same(&main.file.stat(), stat))
    }

    /// Remembers main.
    pub(crate) fn keep_main(&mut self, main: Option<&Main>) {
        self.beside = main.map(|main| main.file.stat());
        // Which commit speaks for one that other code wrote is reported by another file.
        let stays = |main: &&Main| main.commit.is_some() && is_settled(&main.file.stat());
        self.main = main.filter(stays).cloned();
    }

    /// The footer of an increment.
    pub(crate) fn look(
        &mut self,
        store: &Store,
        entry: &Entry,
        legacy: bool,
        consumed: &[&Consumed],
    ) -> Result<&Footer> {
        let entry_consumed: Vec<Version> = consumed
            .iter()
            .map(|c| (c.bytes, c.rows, c.xxh3.clone()))
            .collect();
        let known = self.known.get_mut(&entry.name);
        let is_current =
            |known: &&mut Known| same(&known.stat, &entry.stat) && known.consumed == entry_consumed;
        if let Some(known) = known.filter(is_current) {
            known.seen = self.round;
        } else {
            let footer = read(store, entry, legacy, consumed, &self.namer)?;
            self.keep(entry, legacy, entry_consumed, footer);
        }
        let known = self.known.get(&entry.name).map(|known| &known.footer);
        known.ok_or_else(|| Error::Changed {
            path: store.layout.incremental().join(&entry.name),
        })
    }

    /// Reads footers of files of ours that no commit names, on all cores. What fails is tried
    /// again by [`Footers::look`], which says why.
    pub(crate) fn read_ahead(&mut self, store: &Store, entries: Vec<Entry>) {
        let threads = threads::for_rows(entries.len() as u64 * LIMITS.footer_rows);
        let namer = &self.namer;
        let footers = threads::each(threads, entries, |entry| {
            let footer = read(store, &entry, false, &[], namer);
            (entry, footer)
        });
        for (entry, footer) in footers {
            if let Ok(footer) = footer {
                self.learn(&entry, footer);
            }
        }
    }

    /// Takes in the footer of a file of ours that no commit names.
    pub(crate) fn learn(&mut self, entry: &Entry, footer: Footer) {
        self.keep(entry, false, Vec::new(), footer);
    }

    fn keep(&mut self, entry: &Entry, legacy: bool, consumed: Vec<Version>, mut footer: Footer) {
        // Whoever changes the mode of a file leaves no sign of it in its time.
        let settled = (!legacy || is_settled(&entry.stat)) && !matches!(footer, Footer::Refused(_));
        if let Footer::Good { schema, .. } = &mut footer {
            match self.schemas.iter().find(|known| *known == schema) {
                Some(known) => *schema = Arc::clone(known),
                None => self.schemas.push(Arc::clone(schema)),
            }
        }
        let ours = classify(&entry.name) == IncrementalName::Increment;
        let known = Known {
            stat: entry.stat,
            seen: self.round,
            ours,
            settled,
            consumed,
            footer,
        };
        self.known.insert(entry.name.clone(), known);
    }

    /// Whether a file of that name was looked at since the listing began.
    pub(crate) fn is_seen(&self, name: &str) -> bool {
        self.known
            .get(name)
            .is_some_and(|known| known.seen == self.round)
    }

    /// Whether nothing is known of a file of that name.
    pub(crate) fn is_new(&self, name: &str) -> bool {
        !self.known.contains_key(name)
    }

    /// Forgets files that nobody looked at since the listing began: they are gone.
    pub(crate) fn keep_seen(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.seen == round);
        self.schemas.retain(|schema| Arc::strong_count(schema) > 1);
    }
}

/// Whether two scans found the same file, or none.
pub(crate) fn alike(one: Option<&Stat>, other: Option<&Stat>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Opens a file as it was listed.
pub(crate) fn open(store: &Store, name: &str, stat: &Stat, namer: &Namer) -> Result<Opened> {
    let path = store.layout.incremental().join(name);
    match ParquetFile::open(&*store.disk, &path) {
        Ok(file) if same(&file.stat(), stat) => Ok(Opened::File(if bare_name(name) == MAIN {
            namer.main(&file)
        } else {
            namer.file(&file, &source_name(name))
        })),
        Ok(_) => Err(Error::Changed { path }),
        Err(OpenError::Empty) => Ok(Opened::Footer(Footer::Empty)),
        // That a limit of the process is reached says nothing about the file.
        Err(OpenError::Io(error))
            if error.kind() == std::io::ErrorKind::NotFound || is_exhaustion(&error) =>
        {
            Err(Error::Io {
                action: "read",
                path,
                source: error,
            })
        }
        Err(OpenError::Io(error)) => Ok(Opened::Footer(Footer::Refused(error.to_string()))),
        Err(error) => Ok(Opened::Footer(Footer::Bad(error.to_string()))),
    }
}

fn read(
    store: &Store,
    entry: &Entry,
    legacy: bool,
    consumed: &[&Consumed],
    namer: &Namer,
) -> Result<Footer> {
    let path = store.layout.incremental().join(&entry.name);
    let (versions, whole): (Vec<&Consumed>, Vec<&Consumed>) =
        consumed.iter().partition(|c| c.legacy);
    if whole.iter().any(|c| c.bytes == entry.stat.bytes) {
        let hash = disk::hash(&*store.disk, &path).map_err(Error::io("read", &path))?;
        if whole
            .iter()
            .any(|c| (c.bytes, &c.xxh3) == (entry.stat.bytes, &hash))
        {
            return Ok(Footer::Consumed);
        }
    }
    let file = match open(store, &entry.name, &entry.stat, namer)? {
        Opened::File(file) => file,
        Opened::Footer(footer) => return Ok(footer),
    };
    let skip = if legacy {
        match consumed_prefix(&file, &versions) {
            Ok(skip) => skip,
            Err(_) if !file.stat_now().is_ok_and(|stat| same(&stat, &entry.stat)) => {
                return Err(Error::Changed { path });
            }
            Err(Error::Unreadable { reason, .. }) => return Ok(Footer::Bad(reason)),
            Err(error) => return Err(error),
        }
    } else {
        0
    };
    if skip > 0 && skip == file.rows() {
        return Ok(Footer::Consumed);
    }
    Ok(Footer::Good {
        rows: file.rows(),
        skip,
        schema: Arc::clone(file.schema()),
        ids: file.ids().cloned(),
        journal: JournalPart::of(&file),
    })
}
