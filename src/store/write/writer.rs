//! A writer: the way in for records of one process.
//!
//! Promises: a record is acknowledged (its id returned) once it is in a journal,
//! and from then on survives the death of any process, or with
//! [`Durability::Disk`] a loss of power; every snapshot counts it at once. Full or
//! old segments become increments in a background thread; the journal stays until
//! a commit has consumed its increment. The newest journal stays locked while the
//! writer lives, so that anyone can distinguish a dead writer from a silent one. A journal
//! that is gone before it was published (removed, or its store moved away) is written
//! again within a second.
//!
//! ```
//! use evaltop::internals::store::write::writer::{Durability, Writer, WriterOptions};
//! use evaltop::internals::store::{Record, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = Store::new(folder.path().join("my_store"));
//! let options = WriterOptions { durability: Durability::Disk, ..WriterOptions::default() };
//! let mut writer = Writer::open(&store, options)?;
//! let record = Record { model: "large".into(), success: Some(true), turns: Some(4), ..Record::default() };
//! let ids = writer.append_all(vec![record.clone(), record])?; // One fsync for both.
//! assert_ne!(ids[0], ids[1]);
//! writer.close()?; // Publishes an increment; a writer that is killed loses nothing either.
//! # Ok(())
//! # }
//! ```

use std::collections::VecDeque;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::increment::{self, Stems};
use super::journal::{Journal, to_lines};
use super::live::{Beating, Live};
use crate::config::show_counted;
use crate::store::Store;
use crate::store::error::{Error, Result};
use crate::store::format::heartbeat::Ended;
use crate::store::format::layout::live_name;
use crate::store::format::record::{Extras, Record};

pub use crate::config::Durability;

/// How often a writer looks whether its journal is still where it was.
const LOOK: Duration = Duration::from_secs(1);

/// What sends increments on to where they belong, for a writer whose store is only a spool.
pub trait Outbox: Debug + Send + Sync {
    /// Takes sentences for the writer's user, and where the writer's heartbeat lies.
    fn begin(&self, notes: Notes, heartbeat: PathBuf);
    /// Whether increments are still here. Then age alone publishes no further one: the next is
    /// larger instead.
    fn is_behind(&self) -> bool;
    /// Waits until everything that was published is there.
    fn deliver(&self) -> Result<()>;
    /// Sends what is left.
    fn close(&self) -> Result<()>;
    /// The writer said its last word: sends that, if it can be done soon, and ends.
    fn end(&self);
}

/// How a writer works.
#[derive(Debug, Clone)]
pub struct WriterOptions {
    /// What an acknowledged record survives.
    pub durability: Durability,
    /// Rows after which a segment becomes an increment.
    pub segment_rows: u64,
    /// Bytes of journal after which a segment becomes an increment.
    pub segment_bytes: u64,
    /// Age at which a segment becomes an increment.
    pub segment_age: Duration,
    /// What sends increments on, where the store is a spool.
    pub outbox: Option<Arc<dyn Outbox>>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            durability: Durability::Process,
            segment_rows: 131_072,
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(600),
            outbox: None,
        }
    }
}

/// Adds records to a store. Many writers, in one process or many, do so at once.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    process_id: String,
    /// When the newest record was accepted, microseconds since the epoch.
    recorded_at: i64,
    publisher: Option<JoinHandle<()>>,
    live: Live,
    beating: Beating,
}

/// What a writer's user should know, as it comes up.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    /// The sentences since the last call.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn add(&self, sentence: String) {
        tracing::warn!("{sentence}");
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(sentence);
    }
}

#[derive(Debug)]
struct Shared {
    store: Store,
    options: WriterOptions,
    state: Mutex<State>,
    wake: Condvar,
    notes: Notes,
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
    /// When it was looked last whether the journals are there.
    looked: Instant,
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
        let now = Timestamp::now();
        let stems = Stems::new(&*store.disk, now);
        let base = stems.base();
        let process_id = stems.process_id().to_owned();
        let state = State {
            stems,
            current: None,
            sealed: VecDeque::new(),
            failed: Vec::new(),
            newest: None,
            publishing: false,
            closing: false,
            looked: Instant::now(),
        };
        let shared = Arc::new(Shared {
            store: store.clone(),
            options,
            state: Mutex::new(state),
            wake: Condvar::new(),
            notes: Notes::default(),
        });
        if let Some(outbox) = &shared.options.outbox {
            let heartbeat = store.layout.live().join(live_name(&base));
            outbox.begin(shared.notes.clone(), heartbeat);
        }
        let worker = shared.clone();
        let publisher = thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || worker.publish_until_closed())
            .map_err(|error| Error::no_thread(&error))?;
        let (live, beating) = Live::start(store, &base, now);
        Ok(Self {
            live,
            beating,
            shared,
            process_id,
            recorded_at: 0,
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

    /// What it says of itself to those who watch the store.
    pub fn live(&self) -> &Live {
        &self.live
    }

    /// What its user should know, also after it was closed.
    pub fn notes(&self) -> Notes {
        self.shared.notes.clone()
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
        let mut ids = Vec::with_capacity(records.len());
        for record in &mut records {
            ids.push(self.complete(record, now));
        }
        let lines = to_lines(&records)?;
        self.shared.append(&lines, &records)?;
        self.live.recorded(&records);
        if self.shared.options.durability == Durability::Remote {
            self.publish()?;
            if let Some(outbox) = &self.shared.options.outbox {
                outbox.deliver()?;
            }
        }
        Ok(ids)
    }

    /// Fills in what a writer stamps.
    fn complete(&mut self, record: &mut Record, now: i64) -> String {
        record.timestamp.get_or_insert(now);
        // Later ones have later times, whatever the clock does: it decides between attempts.
        self.recorded_at = now.max(self.recorded_at + 1);
        record.recorded_at = Some(self.recorded_at);
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
        let closed = self.finish();
        self.say(Ended::Finished, &closed);
        closed
    }

    /// The last heartbeat; what was said before about the end stands.
    fn say(&mut self, ended: Ended, closed: &Result<()>) {
        let (ended, reason) = match closed {
            Ok(()) => (ended, None),
            Err(error) => (Ended::Failed, Some(error.to_string())),
        };
        self.live.end(ended, reason, Timestamp::now());
        self.live.stop(self.beating.take());
        if let Some(outbox) = &self.shared.options.outbox {
            outbox.end();
        }
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
        let failed = {
            let mut state = self.shared.lock();
            state.newest = None;
            std::mem::take(&mut state.failed)
        };
        let outbox = self.shared.options.outbox.as_ref();
        let sent = outbox.map_or(Ok(()), |outbox| outbox.close());
        let failed = failed.into_iter().next();
        failed.map_or(sent, |(_, error)| Err(error))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.publisher.is_none() {
            return;
        }
        let closed = self.finish();
        if let Err(error) = &closed {
            tracing::warn!("not published, safe in its journal: {error}");
        }
        let ended = if thread::panicking() {
            Ended::Failed
        } else {
            Ended::Ended
        };
        self.say(ended, &closed);
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
            let journal = self.begin(&mut state.stems)?;
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
            || journal.is_full()
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
            if let Some(mut segment) = state.sealed.pop_front() {
                state.publishing = true;
                drop(state);
                let published = self.publish(&mut segment);
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
                let due = self.options.segment_age;
                due.saturating_sub(segment.born.elapsed())
                    .clamp(Duration::from_millis(1), LOOK)
            });
            let due = due.or_else(|| (!state.failed.is_empty()).then_some(LOOK));
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
                    let behind = || {
                        let outbox = self.options.outbox.as_ref();
                        outbox.is_some_and(|outbox| outbox.is_behind())
                    };
                    let old = |segment: &Segment| {
                        segment.born.elapsed() >= self.options.segment_age && !behind()
                    };
                    if state.current.as_ref().is_some_and(old) {
                        state.seal();
                    }
                    if state.looked.elapsed() >= LOOK {
                        self.look(&mut state);
                        state.looked = Instant::now();
                    }
                    state
                }
            };
        }
    }

    /// A new journal. The folder may have been removed since the last one.
    fn begin(&self, stems: &mut Stems) -> Result<Journal> {
        let Store { disk, layout, .. } = &self.store;
        let stem = stems.next_stem();
        match Journal::create(&**disk, layout, &stem) {
            Err(error) if error.is_not_found() => {
                self.store.create()?;
                Journal::create(&**disk, layout, &stem)
            }
            journal => journal,
        }
    }

    /// Looks after what is not published: what is gone is written again. Where that fails it is
    /// tried again.
    fn look(&self, state: &mut State) {
        let State {
            stems,
            current,
            failed,
            ..
        } = state;
        let failed = failed.iter_mut().map(|(segment, _)| segment);
        for segment in current.iter_mut().chain(failed) {
            if let Err(error) = self.keep(segment, || stems.next_stem()) {
                tracing::debug!("{}: {error}", segment.journal.path().display());
            }
        }
    }

    /// Writes the journal again where it is gone or another file has its name: that it was
    /// consumed can't be, because nobody takes one away whose writer has not sealed it.
    fn keep(&self, segment: &mut Segment, stem: impl FnOnce() -> String) -> Result<()> {
        let journal = &segment.journal;
        if journal.rows() == 0 {
            return Ok(());
        }
        let path = journal.path();
        if journal.is_there().map_err(Error::io("look at", path))? {
            return Ok(());
        }
        self.store.create()?;
        let sync = self.options.durability == Durability::Disk;
        let Store { disk, layout, .. } = &self.store;
        let again = journal.write_again(&**disk, layout, &stem(), sync)?;
        let (rows, were) = match journal.rows() {
            1 => ("its row".to_owned(), "was"),
            rows => (format!("its {}", show_counted(rows, "row")), "were"),
        };
        self.notes.add(format!(
            "{} was removed, moved or cut by another program: {rows} {were} written again, to {}",
            path.display(),
            again.path().display()
        ));
        segment.journal = again;
        Ok(())
    }

    fn publish(&self, segment: &mut Segment) -> Result<()> {
        // Only a failed first write leaves a journal without rows.
        if segment.journal.rows() == 0 {
            return Ok(());
        }
        self.keep(segment, || self.lock().stems.next_stem())?;
        segment.journal.seal();
        increment::publish_journal(&self.store, &segment.journal, Some(&segment.extras)).map(drop)
    }
}

#[cfg(test)]
mod tests;
