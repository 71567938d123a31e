//! What waits, digested: each increment is read once for as long as it stays what
//! it is, each journal from where the last reading ended.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::files::{Files, Increment, JournalFile, is_settled, same};
use crate::store::digest::{Digest, Reading};
use crate::store::disk::Stat;
use crate::store::error::{Error, Result};
use crate::store::journal;
use crate::store::record::Extras;
use crate::store::{Control, Store};

/// Fewer files than this are read before threads would have begun.
const WORTH_THREADS: usize = 64;
/// Threads that read at once; the run on this machine wants cores too.
const MOST_READERS: usize = 4;

/// What one reading found.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Its rows.
    Rows(Arc<Digest>),
    /// Its pages can't be read; why.
    Unreadable(String),
    /// Its columns conflict; the whole sentence.
    Conflict(String),
}

/// Digests of increments and journals.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    zone: Option<TimeZone>,
    increments: HashMap<String, Known>,
    journals: HashMap<String, Tail>,
}

#[derive(Debug)]
struct Known {
    stat: Stat,
    settled: bool,
    skip: u64,
    content: Content,
}

/// A journal as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Tail {
    inode: u64,
    offset: u64,
    extras: Extras,
    /// Its rows so far.
    pub(super) digest: Arc<Digest>,
    /// Lines that are no records.
    pub(super) malformed: u64,
}

impl Tail {
    /// Its columns.
    pub(super) fn schema(&self) -> SchemaRef {
        self.extras.schema()
    }
}

impl Waiting {
    /// Forgets what is gone, and everything when naive times mean something else now.
    pub(super) fn begin(&mut self, files: &Files) {
        if self.zone.as_ref() != Some(&files.zone) {
            *self = Self { zone: Some(files.zone.clone()), ..Self::default() };
        }
        let increments: HashSet<&str> = files.increments.iter().map(|file| file.name.as_str()).collect();
        self.increments.retain(|name, known| known.settled && increments.contains(name.as_str()));
        let journals: HashSet<&str> = files.journals.iter().map(|file| file.name.as_str()).collect();
        self.journals.retain(|name, _| journals.contains(name.as_str()));
    }

    /// Reads increments that are new on all cores, where there are many. What fails is
    /// tried again by [`Waiting::increment`], which says why.
    pub(super) fn read_ahead(
        &mut self,
        store: &Store,
        increments: &[Increment],
        now: Timestamp,
        control: &Control,
    ) {
        let unread: Vec<&Increment> = increments.iter().filter(|file| self.known(file).is_none()).collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_READERS);
        if unread.len() < WORTH_THREADS || cores == 1 {
            return;
        }
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(unread.len())));
        std::thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    while let Some(increment) = unread.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let settled = !increment.legacy || is_settled(&increment.stat);
                        let Ok(digest) = read(store, increment, &zone, now, control) else { continue };
                        let content = Content::Rows(Arc::new(digest));
                        let known = Known { stat: increment.stat, settled, skip: increment.skip, content };
                        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
                        done.push((increment.name.clone(), known));
                        control.progress("reading increments", done.len() as u64, unread.len() as u64);
                    }
                });
            }
        });
        self.increments.extend(done.into_inner().unwrap_or_else(PoisonError::into_inner));
    }

    fn known(&self, increment: &Increment) -> Option<&Known> {
        let known = self.increments.get(&increment.name)?;
        (same(&known.stat, &increment.stat) && known.skip == increment.skip).then_some(known)
    }

    /// The rows of an increment that main lacks.
    pub(super) fn increment(
        &mut self,
        store: &Store,
        increment: &Increment,
        now: Timestamp,
        control: &Control,
    ) -> Result<Content> {
        if let Some(known) = self.known(increment) {
            return Ok(known.content.clone());
        }
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        let settled = !increment.legacy || is_settled(&increment.stat);
        let content = match read(store, increment, &zone, now, control) {
            Ok(digest) => Content::Rows(Arc::new(digest)),
            Err(error) => {
                increment.check(store)?;
                match error {
                    Error::Unreadable { reason, .. } => Content::Unreadable(reason),
                    Error::SchemaConflict { .. } => Content::Conflict(error.to_string()),
                    other => return Err(other),
                }
            }
        };
        let known = Known { stat: increment.stat, settled, skip: increment.skip, content: content.clone() };
        self.increments.insert(increment.name.clone(), known);
        Ok(content)
    }

    /// The complete lines of a journal.
    pub(super) fn journal(
        &mut self,
        store: &Store,
        file: &JournalFile,
        now: Timestamp,
        control: &Control,
    ) -> Result<&Tail> {
        let zone = self.zone.clone().unwrap_or(TimeZone::UTC);
        let tail = self.journals.entry(file.name.clone()).or_default();
        if tail.inode != file.stat.inode || tail.offset > file.stat.bytes {
            *tail = Tail { inode: file.stat.inode, ..Tail::default() };
        }
        let path = store.layout.incremental().join(&file.name);
        while tail.offset < file.stat.bytes {
            control.check()?;
            let chunk = journal::read(&*store.disk, &path, tail.offset)?;
            if !chunk.records.is_empty() {
                let mut extras = Extras::default();
                extras.add(&chunk.records);
                let batch = extras.to_batch(&chunk.records)?;
                let reading = Reading::of(&file.name, &batch.schema(), &zone, now)?;
                Arc::make_mut(&mut tail.digest).push(&batch, &reading)?;
                tail.extras.add(&chunk.records);
            }
            tail.malformed += chunk.malformed.len() as u64;
            let nothing = chunk.next_offset == tail.offset;
            tail.offset = chunk.next_offset;
            if chunk.at_end || nothing {
                break;
            }
        }
        Ok(tail)
    }
}

fn read(
    store: &Store,
    increment: &Increment,
    zone: &TimeZone,
    now: Timestamp,
    control: &Control,
) -> Result<Digest> {
    let file = increment.open(store)?;
    let reading = Reading::of(&increment.name, file.schema(), zone, now)?;
    let mut digest = Digest::starting_at(increment.skip);
    for batch in file.batches(None, increment.skip)? {
        control.check()?;
        digest.push(&batch?, &reading)?;
    }
    if digest.position != increment.rows {
        return Err(Error::unreadable(increment.path(store), "it holds fewer rows than its footer says"));
    }
    // Pages of a newer version may have been read by an older footer.
    file.check_unchanged()?;
    Ok(digest)
}
