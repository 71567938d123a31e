//! The thread that sends what a writer publishes in its spool to the mailbox, again and again
//! until it is there.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Mailbox, Spool, open};
use crate::config::{show_counted, show_size};
use crate::store::write::writer::{Notes, Outbox, WriterOptions};
use crate::store::{Error, Result};

/// How often it looks whether something was published.
const EVERY: Duration = Duration::from_secs(1);
/// How often it takes in what writers of this machine that died left behind.
const RECOVER: Duration = Duration::from_secs(60);
/// The first wait after a failure, and the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// How long a writer that waits for an acknowledgement tries, and one that ends.
const PATIENCE: Duration = Duration::from_secs(60);
const LAST_PATIENCE: Duration = Duration::from_secs(15);
/// How long it waits for a transfer that is slow and has not failed.
const SLOW: Duration = Duration::from_secs(120);

/// A writer of a mailbox makes at most one object in this time, unless it is closed or its
/// journal is full.
const OBJECT: Duration = Duration::from_secs(60);
/// Rows and bytes of a journal at which it becomes an object sooner.
const FULL: (u64, u64) = (1 << 20, 256 << 20);

/// Sends what is in a spool.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    spool: Spool,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    notes: Option<Notes>,
    /// Rounds that were asked for; each sends what was published before it.
    asked: u64,
    /// The last of them that sent everything.
    done: u64,
    /// A round is under way, or failed.
    behind: bool,
    /// Why the last one failed.
    failure: Option<String>,
    closing: bool,
    ended: bool,
}

impl Sender {
    /// Begins to send. A mailbox that can't be opened at all is an error now.
    pub fn start(spool: &Spool) -> Result<Arc<Self>> {
        let mailbox = open(&spool.url)?;
        let shared = Arc::new(Shared {
            spool: spool.clone(),
            state: Mutex::default(),
            wake: Condvar::new(),
        });
        let worker = Arc::clone(&shared);
        std::thread::Builder::new()
            .name("outbox".to_owned())
            .spawn(move || worker.work(&*mailbox))
            .map_err(|error| Error::no_thread(&error))?;
        Ok(Arc::new(Self { shared }))
    }

    /// How a writer of the spool works.
    pub fn options(self: Arc<Self>) -> WriterOptions {
        WriterOptions {
            segment_rows: FULL.0,
            segment_bytes: FULL.1,
            segment_age: OBJECT,
            outbox: Some(self),
            ..WriterOptions::default()
        }
    }

    /// Sends what is left of writers that are gone.
    pub fn flush(&self) -> Result<()> {
        let sent = self.wait(PATIENCE);
        self.stop();
        sent
    }

    /// Waits until a round that begins now has sent everything.
    fn wait(&self, patience: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut state = self.shared.lock();
        state.asked += 1;
        let asked = state.asked;
        self.shared.wake.notify_all();
        while state.done < asked {
            let limit = match state.failure {
                Some(_) => patience,
                None => patience.max(SLOW),
            };
            let left = limit.saturating_sub(begun.elapsed());
            if left.is_zero() || state.ended {
                let name = self.shared.spool.url.name();
                let why = state.failure.clone();
                let why = why.unwrap_or_else(|| "sending takes too long".to_owned());
                drop(state);
                let there = self.shared.spool.left().unwrap_or_default();
                return Err(Error::Refused(format!(
                    "{name} does not have everything yet ({why}); in the spool: {}, {}. The next \
                     writer of this mailbox sends them, or 'evaltop spool --flush'",
                    show_counted(there.files, "file"),
                    show_size(there.bytes)
                )));
            }
            let woken = self.shared.wake.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Nobody waits for a transfer that hangs: what is not there stays in the spool.
    fn stop(&self) {
        self.shared.lock().closing = true;
        self.shared.wake.notify_all();
    }
}

impl Outbox for Sender {
    fn begin(&self, notes: Notes) {
        self.shared.lock().notes = Some(notes);
    }

    fn is_behind(&self) -> bool {
        self.shared.lock().behind
    }

    fn deliver(&self) -> Result<()> {
        self.wait(PATIENCE)
    }

    fn close(&self) -> Result<()> {
        let sent = self.wait(LAST_PATIENCE);
        self.stop();
        sent
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mailbox: &dyn Mailbox) {
        let mut noted = HashSet::new();
        let mut recovered: Option<Instant> = None;
        let mut backoff = BACKOFF.0;
        loop {
            let asked = self.lock().asked;
            let mut sent = Ok(());
            if recovered.is_none_or(|at| at.elapsed() >= RECOVER) {
                sent = self.spool.recover();
                recovered = sent.is_ok().then(Instant::now);
            }
            let stop = || self.lock().closing;
            let sent = sent.and_then(|()| {
                let begin = || self.lock().behind = true;
                self.spool.send(mailbox, &mut noted, &begin, &stop)
            });
            let mut state = self.lock();
            let wait = match sent {
                Ok(count) => {
                    if count > 0 {
                        tracing::debug!("sent {count} files");
                    }
                    if state.failure.take().is_some()
                        && let Some(notes) = &state.notes
                    {
                        notes.add(format!("{} can be reached again", self.spool.url.name()));
                    }
                    (state.behind, state.done) = (false, asked);
                    backoff = BACKOFF.0;
                    EVERY
                }
                // Another writer of this machine sends, perhaps these very files.
                Err(Error::Locked { .. }) => BACKOFF.0,
                Err(error) => {
                    let why = error.to_string();
                    tracing::warn!("not sent: {why}");
                    if state.failure.is_none()
                        && !state.closing
                        && let Some(notes) = &state.notes
                    {
                        let name = self.spool.url.name();
                        notes.add(format!("{why}: rows stay in the spool of {name} meanwhile"));
                    }
                    (state.behind, state.failure) = (true, Some(why));
                    let wait = backoff;
                    backoff = (2 * backoff).min(BACKOFF.1);
                    // Many writers whose mailbox comes back do not come back together.
                    let part = f64::from(uuid::Uuid::now_v7().as_u128() as u16) / 65_536.0;
                    wait.mul_f64(0.5 + part)
                }
            };
            self.wake.notify_all();
            if state.closing {
                state.ended = true;
                return;
            }
            // Who asks gets a round at once.
            let until = Instant::now() + wait;
            while !state.closing && state.asked == asked {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                let woken = self.wake.wait_timeout(state, left);
                state = woken.unwrap_or_else(PoisonError::into_inner).0;
            }
            if state.closing {
                state.ended = true;
                return;
            }
        }
    }
}
