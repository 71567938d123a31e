//! The footers of increments, read once for as long as a file stays what it is.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use jiff::{SignedDuration, Timestamp};

use super::main::Main;
use super::stat::{is_settled, same};
use crate::stats::hashed::ByName;
use crate::store::Store;
use crate::store::commit::Consumed;
use crate::store::digest::{Fingerprint, row_hashes};
use crate::store::disk::{self, Entry, Stat, Told};
use crate::store::error::{Error, Result};
use crate::store::layout::{IncrementalName, classify};
use crate::store::parquet_file::{OpenError, ParquetFile};
use crate::store::threads;

/// As much work as a footer, in rows.
const FOOTER: u64 = if cfg!(test) { 4 } else { 256 };

/// What an increment's footer says, next to what main says was consumed.
#[derive(Debug, Clone)]
pub(super) enum Footer {
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
    },
}

/// A file of `incremental/`, opened.
#[derive(Debug)]
pub(super) enum Opened {
    /// Its footer is valid.
    File(ParquetFile),
    /// There is no more to say of it than this.
    Footer(Footer),
}

/// Remembers footers, and main.
#[derive(Debug, Default)]
pub(super) struct Footers {
    known: ByName<String, Known>,
    /// Different columns; most files share theirs.
    schemas: Vec<SchemaRef>,
    /// Main, where it will be the same until its time changes.
    main: Option<Main>,
    /// How many rows the last commit left in it, where it has fewer.
    pub(super) expected_rows: Option<u64>,
    /// The main beside which the files were seen; nothing: beside none.
    beside: Option<Stat>,
    /// The number of the listing.
    round: u64,
    /// When every file was last asked for, not only those that may have changed.
    asked: Option<Timestamp>,
    /// Whether files of ours are believed to be what they were.
    quick: bool,
    /// A main of other code, the id of an announced commit, and whether that is in it.
    announced: Option<(Stat, String, bool)>,
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
    /// them is believed while main stays what it is, and asked for anew once a minute all
    /// the same.
    pub(super) fn begin(&mut self, main: Option<&Stat>, now: Timestamp) {
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

    /// Something moved: the next listing asks for everything.
    pub(super) fn distrust(&mut self) {
        self.asked = None;
    }

    /// What is known of a file that can't have changed.
    pub(super) fn stat(&self, name: &str, inode: u64) -> Told {
        match self.known.get(name) {
            Some(known) if self.quick && known.stat.inode == inode && known.ours => {
                Told::Known(known.stat)
            }
            _ => Told::Unknown,
        }
    }

    /// Main, where it is still what it was.
    pub(super) fn main(&self, stat: &Stat) -> Option<Main> {
        self.main
            .clone()
            .filter(|main| same(&main.file.stat(), stat))
    }

    /// Remembers main.
    pub(super) fn keep_main(&mut self, main: Option<&Main>) {
        self.beside = main.map(|main| main.file.stat());
        // Which commit speaks for one that other code wrote is told by another file.
        let stays = |main: &&Main| main.commit.is_some() && is_settled(&main.file.stat());
        self.main = main.filter(stays).cloned();
    }

    /// The footer of an increment.
    pub(super) fn look(
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
            let footer = read(store, entry, legacy, consumed)?;
            self.keep(entry, legacy, entry_consumed, footer);
        }
        let known = self.known.get(&entry.name).map(|known| &known.footer);
        known.ok_or_else(|| Error::Changed {
            path: store.layout.incremental().join(&entry.name),
        })
    }

    /// Reads footers of files of ours that no commit names, on all cores. What fails is tried
    /// again by [`Footers::look`], which says why.
    pub(super) fn read_ahead(&mut self, store: &Store, entries: Vec<Entry>) {
        let threads = threads::for_rows(entries.len() as u64 * FOOTER);
        let footers = threads::each(threads, entries, |entry| {
            let footer = read(store, &entry, false, &[]);
            (entry, footer)
        });
        for (entry, footer) in footers {
            if let Ok(footer) = footer {
                self.learn(&entry, footer);
            }
        }
    }

    /// Takes in the footer of a file of ours that no commit names.
    pub(super) fn learn(&mut self, entry: &Entry, footer: Footer) {
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

    /// Whether an announced commit is in a main of other code: `look` tells, once for as long
    /// as main stays what it is, or nothing where it has nothing to compare.
    pub(super) fn announced(
        &mut self,
        main: &ParquetFile,
        commit_id: &str,
        look: impl FnOnce() -> Result<Option<bool>>,
    ) -> Result<bool> {
        let stat = main.stat();
        match &self.announced {
            Some((known, id, happened)) if same(known, &stat) && id == commit_id => {
                return Ok(*happened);
            }
            _ => {}
        }
        let found = look()?;
        if let Some(happened) = found.filter(|_| is_settled(&stat)) {
            self.announced = Some((stat, commit_id.to_owned(), happened));
        }
        Ok(found.unwrap_or(false))
    }

    /// Whether a file of that name was looked at since the listing began.
    pub(super) fn is_seen(&self, name: &str) -> bool {
        self.known
            .get(name)
            .is_some_and(|known| known.seen == self.round)
    }

    /// Whether nothing is known of a file of that name.
    pub(super) fn is_new(&self, name: &str) -> bool {
        !self.known.contains_key(name)
    }

    /// Forgets files that nobody looked at since the listing began: they are gone.
    pub(super) fn keep_seen(&mut self) {
        let round = self.round;
        self.known.retain(|_, known| known.seen == round);
        self.schemas.retain(|schema| Arc::strong_count(schema) > 1);
    }
}

/// Whether two looks found the same file, or none.
pub(super) fn alike(one: Option<&Stat>, other: Option<&Stat>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Opens a file as it was listed.
pub(super) fn open(store: &Store, name: &str, stat: &Stat) -> Result<Opened> {
    let path = store.layout.incremental().join(name);
    match ParquetFile::open(&*store.disk, &path) {
        Ok(file) if same(&file.stat(), stat) => Ok(Opened::File(file)),
        Ok(_) => Err(Error::Changed { path }),
        Err(OpenError::Empty) => Ok(Opened::Footer(Footer::Empty)),
        Err(OpenError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
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

fn read(store: &Store, entry: &Entry, legacy: bool, consumed: &[&Consumed]) -> Result<Footer> {
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
    let file = match open(store, &entry.name, &entry.stat)? {
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
    })
}

/// How many rows at the beginning of a legacy file main contains: those of the
/// longest consumed version that the file still begins with, else none.
pub fn consumed_prefix(file: &ParquetFile, versions: &[&Consumed]) -> Result<u64> {
    let versions: Vec<&&Consumed> = versions
        .iter()
        .filter(|version| version.rows <= file.rows())
        .collect();
    let Some(longest) = versions.iter().map(|version| version.rows).max() else {
        return Ok(0);
    };
    let lengths: HashSet<u64> = versions.iter().map(|version| version.rows).collect();
    let mut found = 0;
    prefixes(file, longest, |prefix| {
        if lengths.contains(&prefix.rows()) {
            let own = hex(prefix);
            if versions
                .iter()
                .any(|version| (version.rows, &version.xxh3) == (prefix.rows(), &own))
            {
                found = prefix.rows();
            }
        }
    })?;
    Ok(found)
}

/// The fingerprint of the first rows of a legacy file, in hex: what a commit record
/// keeps of it.
pub fn fingerprint(file: &ParquetFile, rows: u64) -> Result<String> {
    prefixes(file, rows, |_| {}).map(|whole| hex(&whole))
}

fn hex(fingerprint: &Fingerprint) -> String {
    format!("{:016x}", fingerprint.value())
}

/// Calls `look` after each of the first rows of a file, and gives the fingerprint of all of them.
fn prefixes(
    file: &ParquetFile,
    rows: u64,
    mut look: impl FnMut(&Fingerprint),
) -> Result<Fingerprint> {
    let mut fingerprint = Fingerprint::default();
    for batch in file.batches(None, 0)? {
        for hash in row_hashes(&batch?)? {
            if fingerprint.rows() == rows {
                return Ok(fingerprint);
            }
            fingerprint.push(hash);
            look(&fingerprint);
        }
    }
    Ok(fingerprint)
}
