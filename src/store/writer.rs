//! A writer: the way in for records of one process.
//!
//! Promises: a record is acknowledged (its id returned) once it is in a journal,
//! and from then on survives the death of any process, or with
//! [`Durability::Disk`] a loss of power; every snapshot counts it at once. Full or
//! old segments become increments in a background thread; the journal stays until
//! a commit has consumed its increment. The newest journal stays locked while the
//! writer lives, so that anyone can tell a dead writer from a silent one.
//!
//! ```
//! use evaltop::store::writer::{Durability, Writer, WriterOptions};
//! use evaltop::store::{Record, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = Store::new(folder.path().join("my_store"));
//! let options = WriterOptions { durability: Durability::Disk, ..WriterOptions::default() };
//! let mut writer = Writer::open(&store, options)?;
//! let record = Record { model: "large".into(), success: true, turns: Some(4), ..Record::default() };
//! let ids = writer.append_all(vec![record.clone(), record])?; // One fsync for both.
//! assert_ne!(ids[0], ids[1]);
//! writer.close()?; // Publishes an increment; a writer that is killed loses nothing either.
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Store;
use super::error::{Error, Result};
use super::increment::{self, Stems};
use super::journal::{Journal, to_lines};
use super::record::{Extras, Record};

pub use crate::config::Durability;

/// How a writer works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterOptions {
    /// What an acknowledged record survives.
    pub durability: Durability,
    /// Rows after which a segment becomes an increment.
    pub segment_rows: u64,
    /// Bytes of journal after which a segment becomes an increment.
    pub segment_bytes: u64,
    /// Age at which a segment becomes an increment.
    pub segment_age: Duration,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Process,
            segment_rows: 131_072,
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(600),
        }
    }
}

/// Adds records to a store. Many writers, in one process or many, do so at once.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    process_id: String,
    publisher: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    options: WriterOptions,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    stems: Stems,
    /// Takes the next rows.
    current: Option<Segment>,
    /// To be published, oldest first. Each keeps its lock until it is.
    sealed: VecDeque<Segment>,
    /// Could not be published yet; tried again after the next success and at close.
    failed: Vec<(Segment, Error)>,
    /// Published and the newest: shows that the writer lives.
    newest: Option<Segment>,
    /// The publisher has one in hand.
    publishing: bool,
    closing: bool,
}

/// A journal on its way to be an increment.
#[derive(Debug)]
struct Segment {
    journal: Journal,
    born: Instant,
    /// Columns of its rows that the store does not know.
    extras: Extras,
}

impl Writer {
    /// Opens a writer; makes the store's folders where they are missing.
    pub fn open(store: &Store, options: WriterOptions) -> Result<Self> {
        store.create()?;
        if options.durability == Durability::Disk {
            // Folders may be there that a process made and did not live to sync.
            let root = store.layout.root();
            for folder in root.parent().into_iter().chain([root]) {
                let folder = if folder.as_os_str().is_empty() {
                    Path::new(".")
                } else {
                    folder
                };
                store
                    .disk
                    .sync_folder(folder)
                    .map_err(Error::io("sync", folder))?;
            }
        }
        let stems = Stems::new(&*store.disk, Timestamp::now());
        let process_id = stems.process_id().to_owned();
        let state = State {
            stems,
            current: None,
            sealed: VecDeque::new(),
            failed: Vec::new(),
            newest: None,
            publishing: false,
            closing: false,
        };
        let shared = Arc::new(Shared {
            store: store.clone(),
            options,
            state: Mutex::new(state),
            wake: Condvar::new(),
        });
        let worker = shared.clone();
        let publisher = thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || worker.publish_until_closed())
            .map_err(Error::io("start a thread for", store.layout.root()))?;
        Ok(Self {
            shared,
            process_id,
            publisher: Some(publisher),
        })
    }

    /// `<pid>_<YYYYmmdd_HHMMSS>`, stamped on records that have none.
    pub fn process_id(&self) -> &str {
        &self.process_id
    }

    /// The part of file names that is this writer's own.
    pub fn base(&self) -> String {
        self.shared.lock().stems.base()
    }

    /// Adds one record; returns its `test_id` once it is durable.
    pub fn append(&mut self, record: Record) -> Result<String> {
        let ids = self.append_all(vec![record])?;
        ids.into_iter()
            .next()
            .ok_or_else(|| Error::Refused("a record was lost on its way".to_owned()))
    }

    /// Adds records in one write, acknowledged together; returns their `test_id`s.
    /// After an error none of them is acknowledged.
    pub fn append_all(&mut self, mut records: Vec<Record>) -> Result<Vec<String>> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let now = Timestamp::now().as_microsecond();
        let ids = records
            .iter_mut()
            .map(|record| self.complete(record, now))
            .collect();
        let lines = to_lines(&records)?;
        self.shared.append(&lines, &records)?;
        Ok(ids)
    }

    /// Fills in what a writer stamps.
    fn complete(&self, record: &mut Record, now: i64) -> String {
        record.timestamp.get_or_insert(now);
        record
            .process_id
            .get_or_insert_with(|| self.process_id.clone());
        record
            .test_id
            .get_or_insert_with(|| uuid::Uuid::now_v7().to_string())
            .clone()
    }

    /// Publishes what was added so far as an increment, and waits for it.
    pub fn publish(&mut self) -> Result<()> {
        let mut state = self.shared.lock();
        state.seal();
        self.shared.wake.notify_all();
        while state.publishing || !state.sealed.is_empty() {
            state = self
                .shared
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        let again = std::mem::take(&mut state.failed);
        let (segments, errors): (Vec<_>, Vec<_>) = again.into_iter().unzip();
        // Tried again in the background; their rows are safe and count meanwhile.
        state.sealed.extend(segments);
        errors.into_iter().next().map_or(Ok(()), Err)
    }

    /// Publishes what is left and ends. Where that fails, nothing is lost: the rows
    /// are in journals, which the next consolidation takes in.
    pub fn close(mut self) -> Result<()> {
        self.finish()
    }

    fn finish(&mut self) -> Result<()> {
        let Some(publisher) = self.publisher.take() else {
            return Ok(());
        };
        {
            let mut state = self.shared.lock();
            state.closing = true;
            let again = std::mem::take(&mut state.failed);
            state
                .sealed
                .extend(again.into_iter().map(|(segment, _)| segment));
            state.seal();
        }
        self.shared.wake.notify_all();
        if publisher.join().is_err() {
            return Err(Error::Refused(
                "publishing ended early; the rows are safe in their journal".to_owned(),
            ));
        }
        let mut state = self.shared.lock();
        state.newest = None;
        std::mem::take(&mut state.failed)
            .into_iter()
            .next()
            .map_or(Ok(()), |(_, error)| Err(error))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let Err(error) = self.finish() {
            tracing::warn!("not published, safe in its journal: {error}");
        }
    }
}

impl State {
    /// Hands the current segment to the publisher.
    fn seal(&mut self) {
        self.sealed.extend(self.current.take());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, lines: &[u8], records: &[Record]) -> Result<()> {
        let mut state = self.lock();
        if state.current.is_none() {
            let stem = state.stems.next_stem();
            let journal = Journal::create(&*self.store.disk, &self.store.layout, &stem)?;
            state.current = Some(Segment {
                journal,
                born: Instant::now(),
                extras: Extras::default(),
            });
            // There is a newer one now.
            state.newest = None;
            self.wake.notify_all();
        }
        let Some(Segment {
            journal, extras, ..
        }) = state.current.as_mut()
        else {
            return Ok(());
        };
        let sync = self.options.durability == Durability::Disk;
        extras.add(records);
        let written = journal.append(lines, records.len() as u64, sync);
        let full = journal.rows() >= self.options.segment_rows
            || journal.bytes() >= self.options.segment_bytes
            || journal.is_broken();
        if full {
            state.seal();
            self.wake.notify_all();
        }
        written
    }

    fn publish_until_closed(&self) {
        let mut state = self.lock();
        loop {
            if let Some(segment) = state.sealed.pop_front() {
                state.publishing = true;
                drop(state);
                let published = self.publish(&segment);
                state = self.lock();
                state.publishing = false;
                self.wake.notify_all();
                match published {
                    Ok(()) => {
                        tracing::debug!("published {}", segment.journal.path().display());
                        if state.current.is_none() && state.sealed.is_empty() {
                            state.newest = Some(segment);
                        }
                        if !state.closing {
                            let again = std::mem::take(&mut state.failed);
                            state
                                .sealed
                                .extend(again.into_iter().map(|(segment, _)| segment));
                        }
                    }
                    Err(error) => {
                        tracing::warn!("not published yet: {error}");
                        state.failed.push((segment, error));
                    }
                }
                continue;
            }
            if state.closing {
                return;
            }
            let due = state.current.as_ref().map(|segment| {
                (self
                    .options
                    .segment_age
                    .saturating_sub(segment.born.elapsed()))
                .max(Duration::from_millis(1))
            });
            state = match due {
                None => self
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let (mut state, _) = self
                        .wake
                        .wait_timeout(state, due)
                        .unwrap_or_else(PoisonError::into_inner);
                    let old =
                        |segment: &Segment| segment.born.elapsed() >= self.options.segment_age;
                    if state.current.as_ref().is_some_and(old) {
                        state.seal();
                    }
                    state
                }
            };
        }
    }

    fn publish(&self, segment: &Segment) -> Result<()> {
        let journal = &segment.journal;
        if journal.rows() == 0 {
            // Only a failed first write leaves such a journal.
            return Ok(());
        }
        match increment::publish_journal(&self.store, journal.stem(), Some(&segment.extras)) {
            Err(error) if increment::already_published(&error) => Ok(()),
            // A commit has consumed an earlier attempt whose last step had failed.
            Err(error) if error.is_not_found() && self.is_consumed(journal) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Whether a journal is gone from a folder that is still there.
    fn is_consumed(&self, journal: &Journal) -> bool {
        let disk = &self.store.disk;
        disk.stat(journal.path()).is_err() && disk.stat(&self.store.layout.incremental()).is_ok()
    }
}

#[cfg(test)]
mod tests;
