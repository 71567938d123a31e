//! The footers of increments, read once for as long as a file stays what it is.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::files::{is_settled, same};
use crate::store::Store;
use crate::store::commit::Consumed;
use crate::store::digest::{Fingerprint, row_hashes};
use crate::store::disk::{self, Entry, Stat};
use crate::store::error::{Error, Result};
use crate::store::parquet_file::{OpenError, ParquetFile};

/// From so many new files on they are read by threads.
const MANY: usize = 64;
/// Threads that read at once; the run on this machine wants cores too.
const MOST_READERS: usize = 4;

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

/// Remembers footers.
#[derive(Debug, Default)]
pub(super) struct Footers {
    known: HashMap<String, Known>,
    /// Different columns; most files share theirs.
    schemas: Vec<SchemaRef>,
}

/// What an entry of a commit record says: bytes, rows, hash.
type Version = (u64, u64, String);

#[derive(Debug)]
struct Known {
    stat: Stat,
    settled: bool,
    consumed: Vec<Version>,
    footer: Footer,
}

impl Footers {
    /// The footer of an increment.
    pub(super) fn look(
        &mut self,
        store: &Store,
        entry: &Entry,
        legacy: bool,
        consumed: &[&Consumed],
    ) -> Result<&Footer> {
        let entry_consumed: Vec<Version> =
            consumed.iter().map(|c| (c.bytes, c.rows, c.xxh3.clone())).collect();
        let current = self
            .known
            .get(&entry.name)
            .is_some_and(|known| same(&known.stat, &entry.stat) && known.consumed == entry_consumed);
        if !current {
            let footer = read(store, entry, legacy, consumed)?;
            self.keep(entry, legacy, entry_consumed, footer);
        }
        let known = self.known.get(&entry.name).map(|known| &known.footer);
        known.ok_or_else(|| Error::Changed { path: store.layout.incremental().join(&entry.name) })
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
        self.known.insert(entry.name.clone(), Known { stat: entry.stat, settled, consumed, footer });
    }

    /// Reads the footers of files of ours that are new and that no commit names, on all
    /// cores where there are many. What fails is tried again by [`Footers::look`].
    pub(super) fn read_ahead(&mut self, store: &Store, entries: &[&Entry]) {
        let unread = entries.iter().filter(|entry| !self.known.contains_key(&entry.name));
        let unread: Vec<&Entry> = unread.copied().collect();
        if unread.len() < MANY {
            return;
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_READERS);
        let found = std::thread::scope(|scope| {
            let parts = unread.chunks(unread.len().div_ceil(cores));
            let work = |part: &[&Entry]| -> Vec<_> {
                part.iter().map(|entry| read(store, entry, false, &[]).ok()).collect()
            };
            let threads: Vec<_> = parts.map(|part| (part, scope.spawn(move || work(part)))).collect();
            let joined = threads.into_iter().map(|(part, thread)| (part, thread.join().unwrap_or_default()));
            joined.collect::<Vec<_>>()
        });
        for (part, footers) in found {
            for (entry, footer) in part.iter().zip(footers) {
                if let Some(footer) = footer {
                    self.keep(entry, false, Vec::new(), footer);
                }
            }
        }
    }

    /// Forgets files that may have changed since without a sign of it.
    pub(super) fn forget_unsettled(&mut self) {
        self.known.retain(|_, known| known.settled);
    }

    /// Forgets files that are gone.
    pub(super) fn keep_only(&mut self, names: &HashSet<String>) {
        self.known.retain(|name, _| names.contains(name));
        self.schemas.retain(|schema| Arc::strong_count(schema) > 1);
    }
}

fn read(store: &Store, entry: &Entry, legacy: bool, consumed: &[&Consumed]) -> Result<Footer> {
    let path = store.layout.incremental().join(&entry.name);
    let (versions, whole): (Vec<&Consumed>, Vec<&Consumed>) = consumed.iter().partition(|c| c.legacy);
    if whole.iter().any(|c| c.bytes == entry.stat.bytes) {
        let hash = disk::hash(&*store.disk, &path).map_err(Error::io("read", &path))?;
        if whole.iter().any(|c| (c.bytes, &c.xxh3) == (entry.stat.bytes, &hash)) {
            return Ok(Footer::Consumed);
        }
    }
    let file = match ParquetFile::open(&*store.disk, &path) {
        Ok(file) if same(&file.stat(), &entry.stat) => file,
        Ok(_) => return Err(Error::Changed { path }),
        Err(OpenError::Empty) => return Ok(Footer::Empty),
        Err(OpenError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Io { action: "read", path, source: error });
        }
        Err(OpenError::Io(error)) => return Ok(Footer::Refused(error.to_string())),
        Err(error) => return Ok(Footer::Bad(error.to_string())),
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
    Ok(Footer::Good { rows: file.rows(), skip, schema: Arc::clone(file.schema()) })
}

/// How many rows at the beginning of a legacy file main contains: those of the
/// longest consumed version that the file still begins with, else none.
pub fn consumed_prefix(file: &ParquetFile, versions: &[&Consumed]) -> Result<u64> {
    let mut versions: Vec<&&Consumed> = versions.iter().filter(|v| v.rows <= file.rows()).collect();
    versions.sort_by_key(|version| std::cmp::Reverse(version.rows));
    for version in versions {
        if fingerprint(file, version.rows)? == version.xxh3 {
            return Ok(version.rows);
        }
    }
    Ok(0)
}

/// The fingerprint of the first rows of a legacy file, in hex: what a commit record
/// keeps of it.
pub fn fingerprint(file: &ParquetFile, rows: u64) -> Result<String> {
    let mut fingerprint = Fingerprint::default();
    'rows: for batch in file.batches(None, 0)? {
        for hash in row_hashes(&batch?)? {
            if fingerprint.rows() == rows {
                break 'rows;
            }
            fingerprint.push(hash);
        }
    }
    Ok(format!("{:016x}", fingerprint.value()))
}
