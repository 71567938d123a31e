//! The heartbeat of one writer: a thread rewrites `live/<writer>.json` every second (every
//! 15 s on file systems that are not local), and once more at the end with how it ended.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use jiff::Timestamp;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::store::Store;
use crate::store::disk::process::Identity;
use crate::store::format::heartbeat::{Ended, FORMAT, Heartbeat, InFlight, NAMED};
use crate::store::format::layout::{is_live, live_name};
use crate::store::format::record::Record;
use crate::store::write::increment::host;

/// Files of writers that ended well are removed after this, in nanoseconds: an hour.
const ENDED_LIFE: i128 = 3_600 * 1_000_000_000;
/// Any file is removed after this: a day.
const LIFE: i128 = LIFE_SECONDS as i128 * 1_000_000_000;
/// The same in seconds.
pub const LIFE_SECONDS: i64 = 24 * 3_600;
/// So many files stay longer,
const KEPT: usize = 100;
/// but no longer than this.
const LONGEST: i128 = 30 * LIFE;

/// What a writer says of itself while it works. Copies speak for the same writer.
#[derive(Debug, Clone)]
pub struct Live {
    shared: Arc<Shared>,
}

/// The same, without keeping it.
#[derive(Debug, Clone)]
pub struct WeakLive(Weak<Shared>);

impl WeakLive {
    /// What it speaks for, if that is still there.
    pub fn upgrade(&self) -> Option<Live> {
        self.0.upgrade().map(|shared| Live { shared })
    }
}

#[derive(Debug)]
struct Shared {
    store: Store,
    state: Mutex<State>,
    /// Held while the file is written, so that the last word is the last.
    writing: Mutex<()>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    beat: Heartbeat,
    /// All tests in flight; the file names the oldest.
    in_flight: Vec<InFlight>,
    /// The session of each test, the last ones.
    tests: HashMap<u128, u64>,
    /// All sessions.
    sessions: HashSet<u64>,
    over: bool,
}

impl State {
    fn next(&mut self) -> Vec<u8> {
        self.beat.beat += 1;
        self.beat.running = self.in_flight.len() as u64;
        self.beat.in_flight = self.in_flight.iter().take(NAMED).cloned().collect();
        self.beat.to_bytes()
    }
}

/// So many tests of a writer are remembered with their sessions.
const REMEMBERED: usize = 65_536;

impl State {
    /// Whether a test that was recorded before comes again in a session of its own: then both count.
    /// One after the other, sessions may have the same tests.
    fn is_in_new_session(&mut self, record: &Record) -> bool {
        let rate = record.tool_success_rate.map(f64::to_bits);
        let texts = [
            record.test_id.as_deref(),
            Some(&*record.model),
            record.prompt_type.as_deref(),
            record.difficulty.as_deref(),
            record.task_type.as_deref(),
        ];
        let test = xxh3_128(format!("{texts:?} {rate:?}").as_bytes());
        let session = xxh3_64(record.session_id.as_deref().unwrap_or_default().as_bytes());
        if self.tests.len() >= REMEMBERED {
            self.tests.clear();
        }
        if self.sessions.len() >= REMEMBERED {
            self.sessions.clear();
        }
        let is_new = self.sessions.insert(session);
        let before = self.tests.insert(test, session);
        is_new && before.is_some_and(|before| before != session)
    }
}

/// The thread that beats.
pub(super) type Beating = Option<JoinHandle<()>>;

impl Live {
    /// Begins to beat for the writer of this name.
    pub(super) fn start(store: &Store, writer: &str, now: Timestamp) -> (Self, Beating) {
        let beat = Heartbeat {
            format: FORMAT,
            writer: writer.to_owned(),
            host: host(),
            began: now.as_microsecond(),
            ..Heartbeat::default()
        };
        let shared = Arc::new(Shared {
            store: store.clone(),
            state: Mutex::new(State {
                beat,
                ..State::default()
            }),
            writing: Mutex::default(),
            wake: Condvar::new(),
        });
        let live = Self {
            shared: Arc::clone(&shared),
        };
        // Where nothing is said, nobody need be asked who this is.
        let Some(every) = store.disk.pulse(store.layout.root()) else {
            return (live, None);
        };
        shared.lock().beat.recorder = Identity::own();
        shared.say();
        let beating = thread::Builder::new()
            .name("heartbeat".to_owned())
            .spawn(move || {
                prune(&shared.store, Timestamp::now());
                shared.beat(every);
            });
        (live, beating.ok())
    }

    /// Rows come from another process: the user's program.
    pub fn program(&self, program: Identity) {
        self.shared.lock().beat.program = Some(program);
    }

    /// A test begins.
    pub fn begin(&self, test: InFlight) {
        let mut state = self.shared.lock();
        state.beat.idle = false;
        // Said twice, it is one test that began again.
        state.in_flight.retain(|known| {
            (&known.model, &known.test_id, &known.task_id, known.trial)
                != (&test.model, &test.test_id, &test.task_id, test.trial)
        });
        state.in_flight.push(test);
    }

    /// A test was given up without a result.
    pub fn forget(&self, test: &InFlight) {
        let names = [test.test_id.as_deref(), test.task_id.as_deref()];
        let mut state = self.shared.lock();
        state
            .in_flight
            .retain(|known| !known.is_of(&test.model, names, test.trial));
    }

    /// A test is tried again, after a wait of so many seconds.
    pub fn retry(&self, test: &InFlight, status: Option<i64>, waited: f64, now: Timestamp) {
        let mut state = self.shared.lock();
        let names = [test.test_id.as_deref(), test.task_id.as_deref()];
        let known = state
            .in_flight
            .iter_mut()
            .find(|known| known.is_of(&test.model, names, test.trial));
        if let Some(known) = known {
            known.retries += 1;
        }
        state
            .beat
            .retried(&test.model, now.as_second(), waited, status);
    }

    /// How many tests its session means to run.
    pub fn plan(&self, tests: u64, session: Option<String>) {
        let mut state = self.shared.lock();
        state.beat.plan = Some(tests);
        state.beat.session = session.or(state.beat.session.take());
    }

    /// How many of the planned tests were there before.
    pub fn there(&self, tests: u64) {
        self.shared.lock().beat.there = tests;
    }

    /// There is nothing to do for now.
    pub fn idle(&self) {
        self.shared.lock().beat.idle = true;
    }

    /// How many tests are in flight.
    pub fn running(&self) -> u64 {
        self.shared.lock().in_flight.len() as u64
    }

    /// Says how the writer ends; the first word stands.
    pub fn end(&self, ended: Ended, reason: Option<String>, now: Timestamp) {
        let mut state = self.shared.lock();
        if state.beat.ended.is_none() {
            state.beat.ended = Some(ended);
            state.beat.ended_at = Some(now.as_microsecond());
            state.beat.reason = reason;
        }
    }

    /// Says at once how the process ends, as there may be no later; the first word stands.
    pub fn last_word(&self, ended: Ended, reason: Option<String>, now: Timestamp) {
        self.end(ended, reason, now);
        let state = self.shared.lock();
        let says = !state.over && state.beat.beat > 0;
        drop(state);
        if says {
            self.shared.say();
        }
    }

    /// A handle that does not keep it.
    pub fn downgrade(&self) -> WeakLive {
        WeakLive(Arc::downgrade(&self.shared))
    }

    /// It is stopped on purpose.
    pub fn interrupted(&self) {
        self.shared.lock().beat.interrupted = true;
    }

    /// Rows were acknowledged: their tests are no longer in flight.
    pub(super) fn recorded(&self, records: &[Record]) {
        let mut state = self.shared.lock();
        state.beat.idle = false;
        state.beat.rows += records.len() as u64;
        let last = records.iter().filter_map(|record| record.recorded_at).max();
        state.beat.last_row = state.beat.last_row.max(last);
        let mut again = 0;
        for record in records {
            again += u64::from(state.is_in_new_session(record));
        }
        state.beat.several_sessions += again;
        for record in records {
            if state.in_flight.is_empty() {
                return;
            }
            let names = [record.test_id.as_deref(), record.task_id.as_deref()];
            let place = state
                .in_flight
                .iter()
                .position(|test| test.is_of(&record.model, names, record.trial));
            if let Some(place) = place {
                state.in_flight.remove(place);
            }
        }
    }

    /// Writes the last word; nothing is written after it.
    pub(super) fn stop(&self, beating: Beating) {
        self.shared.lock().over = true;
        self.shared.wake.notify_all();
        let Some(beating) = beating else { return };
        // It can't panic, and if it does there is nothing to be done.
        let _ = beating.join();
        self.shared.say();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn beat(&self, every: Duration) {
        let mut state = self.lock();
        while !state.over {
            let woken = self.wake.wait_timeout(state, every);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            if !state.over {
                drop(state);
                self.say();
                state = self.lock();
            }
        }
    }

    fn say(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        let bytes = state.next();
        let path = self.store.layout.live().join(live_name(&state.beat.writer));
        drop(state);
        if let Err(error) = self.store.disk.write_hint(&path, &bytes) {
            tracing::debug!("{}: no heartbeat: {error}", path.display());
        }
    }
}

/// Removes what nobody looks at any more: everything after 30 days, and of all but the newest
/// files those of writers that ended well after an hour, others after a day.
pub fn prune(store: &Store, now: Timestamp) {
    let folder = store.layout.live();
    let age = |modified: i128| now.as_nanosecond().saturating_sub(modified);
    let old = |entry: &crate::store::disk::Entry| {
        let age = age(entry.stat.modified_ns);
        let ended = || {
            let bytes = crate::store::disk::read(&*store.disk, &folder.join(&entry.name)).ok();
            let beat = bytes.as_deref().and_then(Heartbeat::read);
            let ended = beat.and_then(|beat| beat.ended);
            matches!(ended, Some(Ended::Finished | Ended::Ended))
        };
        is_live(&entry.name) && age > ENDED_LIFE && (age > LIFE || ended())
    };
    let mut entries = store.disk.list(&folder).unwrap_or_default();
    // The newest speak of the last session for as long as somebody may ask.
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.stat.modified_ns));
    let is_last = |at: usize, entry: &crate::store::disk::Entry| {
        at < KEPT && age(entry.stat.modified_ns) <= LONGEST
    };
    let names: Vec<String> = entries
        .into_iter()
        .enumerate()
        .filter(|(at, entry)| !is_last(*at, entry) && old(entry))
        .map(|(_, entry)| entry.name)
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if !names.is_empty()
        && let Err(error) = store.disk.remove(&folder, &names)
    {
        tracing::debug!("{}: {error}", folder.display());
    }
}
