//! The thread that sends what a writer publishes in its spool to the mailbox, again and again
//! until it is there.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Mailbox, Spool, open};
use crate::config::{show_counted, show_size};
use crate::store::format::heartbeat::Heartbeat;
use crate::store::format::layout::live_name;
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
/// How long one that ended tries to say so.
const FAREWELL: Duration = Duration::from_secs(5);
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

// Facts that are independent of each other.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Default)]
struct State {
    notes: Option<Notes>,
    /// Where the writer's heartbeat lies.
    heartbeat: Option<PathBuf>,
    /// The writer waits for each answer, and publishes as often.
    delivers: bool,
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
        self.wait_at_most(patience, patience.max(SLOW))
    }

    /// Waits that long where sending fails, and so long where it is slow.
    fn wait_at_most(&self, patience: Duration, slow: Duration) -> Result<()> {
        let begun = Instant::now();
        let mut state = self.shared.lock();
        state.asked += 1;
        let asked = state.asked;
        self.shared.wake.notify_all();
        while state.done < asked {
            let limit = match state.failure {
                Some(_) => patience,
                None => slow,
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
    fn begin(&self, notes: Notes, heartbeat: PathBuf) {
        let mut state = self.shared.lock();
        (state.notes, state.heartbeat) = (Some(notes), Some(heartbeat));
    }

    fn is_behind(&self) -> bool {
        self.shared.lock().behind
    }

    fn deliver(&self) -> Result<()> {
        self.shared.lock().delivers = true;
        self.wait(PATIENCE)
    }

    fn close(&self) -> Result<()> {
        self.wait(LAST_PATIENCE)
    }

    fn end(&self) {
        // Where rows could not be sent, no word gets through either.
        if !self.shared.lock().behind {
            let _ = self.wait_at_most(FAREWELL, FAREWELL);
        }
        self.stop();
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
        let mut beat = Beat::default();
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
            if matches!(sent, Ok(_) | Err(Error::Locked { .. })) {
                let state = self.lock();
                let (path, delivers) = (state.heartbeat.clone(), state.delivers);
                drop(state);
                // With the rows that it counts.
                let now = matches!(sent, Ok(1..)) && !delivers;
                path.inspect(|path| beat.send(mailbox, path, now));
            }
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

/// The writer's heartbeat in the mailbox: replaced once a minute and with the writer's files, which
/// are as many, and when the writer ends. No row depends on it, so one that is not put is not tried again before the next is due.
#[derive(Debug, Default)]
struct Beat {
    tried: Option<Instant>,
    ended: bool,
}

impl Beat {
    fn send(&mut self, mailbox: &dyn Mailbox, path: &Path, now: bool) {
        let is_due = now || self.tried.is_none_or(|at| at.elapsed() >= OBJECT);
        let Ok(bytes) = std::fs::read(path) else {
            return;
        };
        // One that is torn at this moment is whole a second later.
        let Some(said) = Heartbeat::read(&bytes) else {
            return;
        };
        let has_ended = said.ended.is_some();
        if self.ended || !(is_due || has_ended) {
            return;
        }
        self.tried = Some(Instant::now());
        self.ended = has_ended;
        let name = format!("live/{}", live_name(&said.writer));
        if let Err(error) = mailbox.replace(&name, &bytes) {
            tracing::debug!("no heartbeat: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::format::heartbeat::{Ended, FORMAT};

    #[derive(Default)]
    struct Names(Mutex<Vec<String>>);

    impl Mailbox for Names {
        fn put(&self, _name: &str, _from: &Path) -> Result<()> {
            Ok(())
        }

        fn replace(&self, name: &str, _bytes: &[u8]) -> Result<()> {
            self.0.lock().unwrap().push(name.to_owned());
            Ok(())
        }

        fn remove(&self, _name: &str) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_heartbeat_is_put_once_a_minute_with_files_and_once_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.json");
        let (mailbox, mut beat) = (Names::default(), Beat::default());
        let say = |ended: Option<Ended>| {
            let said = Heartbeat {
                format: FORMAT,
                writer: "w".into(),
                ended,
                ..Heartbeat::default()
            };
            std::fs::write(&path, said.to_bytes()).unwrap();
        };
        beat.send(&mailbox, &path, false);
        std::fs::write(&path, "{\"format\":").unwrap();
        beat.send(&mailbox, &path, false);
        say(None);
        for _ in 0..5 {
            beat.send(&mailbox, &path, false);
        }
        assert_eq!(*mailbox.0.lock().unwrap(), ["live/w.json"]);
        beat.tried = beat.tried.map(|at| at.checked_sub(OBJECT).unwrap());
        beat.send(&mailbox, &path, false);
        beat.send(&mailbox, &path, true);
        say(Some(Ended::Finished));
        for _ in 0..5 {
            beat.send(&mailbox, &path, false);
        }
        assert_eq!(mailbox.0.lock().unwrap().len(), 4);
    }
}
