//! Runs a command once a test, many at once, and records what came of each.
//!
//! Promises: a result is durable before the next test of its worker starts; a second
//! start of the same plan runs only what is missing, and one at the same time is refused;
//! whatever ends the run, no process of it is left, and what had not ended is simply
//! missing, to be run the next time.
//!
//! ```
//! use evaltop::internals::runner::missing::Again;
//! use evaltop::internals::runner::{self, Limits, Spec, Stop, plan};
//! use evaltop::internals::store::write::writer::WriterOptions;
//! use evaltop::internals::store::{Control, Store};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let store = Store::new(folder.path().join("my_store"));
//! let dimensions = plan::Dimensions { models: vec!["large".to_owned()], ..plan::Dimensions::default() };
//! let rows = plan::product(&dimensions, 3, None)?;
//! let spec = Spec {
//!     command: vec!["true".into()], // Exit status 0 is a success.
//!     workers: 2,
//!     timeout: Some(std::time::Duration::from_secs(60)),
//!     retries: 0,
//!     backoff: std::time::Duration::from_secs(1),
//!     limits: Limits::default(),
//!     infrastructure_exits: vec![75],
//!     stop_on_burst: false,
//!     again: Again::Nothing,
//!     shard: None,
//!     guard: None,
//!     adopts: false,
//!     session: None,
//!     writer: WriterOptions::default(),
//!     others: Vec::new(),
//! };
//! let stop = Stop::new()?;
//! let first = runner::run(&store, &rows, &spec, &stop, &Control::default(), &|_, _| {})?;
//! assert_eq!(first.counts.success, 3);
//! let second = runner::run(&store, &rows, &spec, &stop, &Control::default(), &|_, _| {})?;
//! assert_eq!(second.counts.there, 3); // Nothing is missing any more.
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use jiff::Timestamp;

use crate::stats::burst::Alarm;
use crate::store::format::heartbeat::{Ended, InFlight};
use crate::store::write::run_lease::Claim;
use crate::store::write::shard::Shard;
use crate::store::write::writer::{Writer, WriterOptions};
use crate::store::{Control, Error, Record, Result, Store};

mod answer;
mod burst;
mod family;
pub mod guard;
pub mod missing;
mod outcome;
pub mod plan;
mod process;
mod program;
mod queue;
pub mod stop;

pub use queue::Limits;
pub use stop::{Stop, Urgency};

use family::Family;
use guard::Guard;
use missing::Again;
use outcome::{Outcome, Reading};
use plan::{Row, Test};
use process::End;
use queue::{Job, Queue};

/// Stack of a worker: it polls, parses and hands over.
const STACK: usize = 512 << 10;
/// Files that a worker may have open, and all that is not a worker's.
const FILES: (u64, u64) = (8, 128);
/// The longest that a test waits to be tried again.
const LONGEST_BACKOFF: Duration = Duration::from_secs(300);

/// What a run is.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// How many at once.
    pub workers: usize,
    /// How long one may take.
    pub timeout: Option<Duration>,
    /// How many more attempts a test gets whose end says nothing about the model.
    pub retries: u32,
    /// How long the first of them waits; each further one twice as long.
    pub backoff: Duration,
    /// How many may start a second.
    pub limits: Limits,
    /// Exit statuses that mean a rate limit, a refused login, a lost connection.
    pub infrastructure_exits: Vec<i32>,
    /// Whether a burst of failures ends the run.
    pub stop_on_burst: bool,
    /// Which tests that have a result are run again.
    pub again: Again,
    /// The part of the plan to run; `None` for all of it.
    pub shard: Option<Shard>,
    /// The command that ends what is left when this process is killed ([`guard`]).
    pub guard: Option<Vec<OsString>>,
    /// Whether this process has no children but the run's. Then (on Linux) it adopts what a
    /// test leaves running wherever that went, and ends it with the test.
    pub adopts: bool,
    /// Recorded as `session_id`.
    pub session: Option<String>,
    /// How records are written.
    pub writer: WriterOptions,
    /// Further stores whose results count as there.
    pub others: Vec<Store>,
}

/// How far a run is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tests of the plan.
    pub planned: u64,
    /// Those that the store had already.
    pub there: u64,
    /// Tests run and recorded now.
    pub done: u64,
    /// Of these, full successes.
    pub success: u64,
    /// Partial ones.
    pub partial: u64,
    /// Those without a verdict.
    pub unscored: u64,
    /// Those that the infrastructure failed.
    pub infrastructure: u64,
    /// Those that ran out of time.
    pub timeouts: u64,
    /// Results with half a surrogate pair in a text, read as U+FFFD.
    pub mended: u64,
    /// Results in which a field is there twice.
    pub repeated: u64,
    /// Attempts that were made again.
    pub retried: u64,
    /// Running at this moment.
    pub running: u64,
}

impl Counts {
    /// Recorded without any success.
    pub fn failed(&self) -> u64 {
        self.done
            .saturating_sub(self.success + self.partial + self.unscored)
    }

    /// Tests that are still to be run.
    pub fn left(&self) -> u64 {
        self.planned.saturating_sub(self.there + self.done)
    }
}

/// What just happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// An attempt began.
    Started,
    /// A test was recorded.
    Recorded(&'a Record),
    /// A test will be tried again.
    Again(&'a Record, Duration),
}

/// Why a run ended before its plan did.
#[derive(Debug, Clone, PartialEq)]
pub enum Early {
    /// It was asked to.
    Asked,
    /// A model fails in a burst.
    Burst(String, Alarm),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// What was done.
    pub counts: Counts,
    /// Why not everything was.
    pub early: Option<Early>,
}

/// Runs what the store does not have yet. `say` hears of everything as it happens,
/// from the thread that did it, one at a time.
pub fn run(
    store: &Store,
    rows: &[Row],
    spec: &Spec,
    stop: &Stop,
    control: &Control,
    report: &(dyn Fn(&Counts, &Event<'_>) + Sync),
) -> Result<Summary> {
    if rows.iter().all(|row| row.instances == 0) {
        return Ok(Summary {
            counts: Counts::default(),
            early: None,
        });
    }
    if let Some(program) = spec.command.first() {
        program::check(program).map_err(Error::Refused)?;
    }
    // Claimed first: what another run recorded before its end is there when we look.
    store.create()?;
    let work = rows.iter().filter_map(Row::key).collect();
    let _claim = Claim::take(store, &work, spec.shard)?;
    let due = missing::missing(
        store,
        &spec.others,
        rows,
        spec.again,
        spec.shard,
        spec.session.as_deref(),
        control,
    )?;
    let (missing, there) = (due.missing, due.there);
    let planned = missing.len() as u64 + there;
    let counts = Counts {
        planned,
        there,
        ..Counts::default()
    };
    if missing.is_empty() {
        return Ok(Summary {
            counts,
            early: None,
        });
    }
    let workers = spec.workers.clamp(1, missing.len());
    allow_files(workers as u64);
    let state = State {
        queue: Queue::new(rows, &missing, &spec.limits, Instant::now()),
        writer: Writer::open(store, spec.writer.clone())?,
        counts,
        bursts: burst::Bursts::default(),
        early: None,
        failure: None,
    };
    // All parts of one plan say the same of it, so that it counts as one.
    let live = state.writer.live();
    live.plan(due.planned_of_all, spec.session.clone());
    live.there(due.there_of_all);
    let reading = Reading {
        infrastructure: spec.infrastructure_exits.clone(),
        timeout: spec.timeout.unwrap_or_default(),
        session: spec.session.clone(),
        zone: Some(store.zone.clone()),
    };
    let family = Family::new(spec.adopts);
    let guard = spec
        .guard
        .as_deref()
        .and_then(|command| Guard::start(command, &family));
    let run = Run {
        rows,
        spec,
        stop,
        report,
        reading,
        guard,
        family,
        state: Mutex::new(state),
    };
    std::thread::scope(|scope| {
        for at in 0..workers {
            let builder = std::thread::Builder::new()
                .name(format!("worker {at}"))
                .stack_size(STACK);
            if let Err(error) = builder.spawn_scoped(scope, || run.work()) {
                run.fail(Error::Refused(format!(
                    "cannot start worker {at} ({error}): run with fewer --workers"
                )));
                break;
            }
        }
    });
    let state = run
        .state
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    say_end(
        &state,
        stop.asked(Urgency::Drain) && state.counts.left() > 0,
    );
    // What is recorded is safe in its journal even where publishing fails.
    let closed = state.writer.close();
    if let Some(failure) = state.failure {
        return Err(failure);
    }
    closed?;
    let asked = stop.asked(Urgency::Drain) && state.counts.left() > 0;
    Ok(Summary {
        early: state.early.or(asked.then_some(Early::Asked)),
        counts: state.counts,
    })
}

/// Says to those who watch the store how the run ended.
fn say_end(state: &State, asked: bool) {
    let live = state.writer.live();
    let (ended, reason) = match (&state.failure, &state.early) {
        (Some(error), _) => (Ended::Failed, Some(error.to_string())),
        (None, Some(Early::Burst(model, _))) => (
            Ended::Failed,
            Some(format!("stopped: {model} fails in a burst")),
        ),
        (None, Some(Early::Asked)) => (Ended::Ended, Some("interrupted".to_owned())),
        (None, None) if asked => (Ended::Ended, Some("interrupted".to_owned())),
        (None, None) => (Ended::Finished, None),
    };
    if asked || matches!(state.early, Some(Early::Asked)) {
        live.interrupted();
    }
    live.end(ended, reason, Timestamp::now());
}

/// A test that begins.
fn in_flight(row: &Row, test_id: &str) -> InFlight {
    InFlight {
        model: row.cell.model.to_string(),
        test_id: Some(test_id.to_owned()),
        task_id: row
            .fields
            .get("task_id")
            .and_then(|task| task.as_str())
            .map(str::to_owned),
        since: Timestamp::now().as_microsecond(),
        ..InFlight::default()
    }
}

/// Lets this process have as many files open as its workers need.
fn allow_files(workers: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let needed = workers * FILES.0 + FILES.1;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |maximum| needed.min(maximum)));
        // Where that is refused, starting a command says what is missing.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

struct Run<'a> {
    rows: &'a [Row],
    spec: &'a Spec,
    stop: &'a Stop,
    report: &'a (dyn Fn(&Counts, &Event<'_>) + Sync),
    reading: Reading,
    // Before the family, which ends all that is left.
    guard: Option<Guard>,
    family: Family,
    state: Mutex<State>,
}

struct State {
    queue: Queue,
    writer: Writer,
    counts: Counts,
    bursts: burst::Bursts,
    early: Option<Early>,
    failure: Option<Error>,
}

impl Run<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One worker: test after test, until there is none or the run ends. A test that is
    /// tried again finds a worker, since the one that gave it back goes on.
    fn work(&self) {
        loop {
            let next = self.lock().queue.next(Instant::now());
            let Some((job, start)) = next else { return };
            if !self.stop.sleep(start) {
                return;
            }
            let Some(row) = self.rows.get(job.test.row as usize) else {
                return;
            };
            if !self.attempt(job, row) {
                return;
            }
        }
    }

    /// One attempt at a test; false when the run ends.
    fn attempt(&self, job: Job, row: &Row) -> bool {
        let test_id = row.test_id(job.test.instance.into());
        {
            let mut state = self.lock();
            state.counts.running += 1;
            state.writer.live().begin(in_flight(row, &test_id));
            (self.report)(&state.counts, &Event::Started);
        }
        let environment = environment(row, &test_id, job);
        let input = input(row, &test_id, job.test);
        let (command, guard) = (&self.spec.command, self.guard.as_ref());
        let ended = process::run(
            &test_id,
            command,
            &environment,
            input,
            self.spec.timeout,
            self.stop,
            &self.family,
            guard,
        );
        let mut state = self.lock();
        state.counts.running -= 1;
        match ended {
            Err(error) => {
                drop(state);
                self.fail(self.cannot_start(&error));
                false
            }
            Ok(ended) if ended.end == End::Stopped => false,
            Ok(ended) => {
                let outcome = self.reading.read(row, &test_id, &ended);
                let timed_out = ended.end == End::TimedOut;
                if outcome.broken && job.attempt <= self.spec.retries {
                    let wait = self.backoff(job.attempt);
                    state.queue.again(
                        Job {
                            attempt: job.attempt + 1,
                            ..job
                        },
                        Instant::now() + wait,
                    );
                    state.counts.retried += 1;
                    let (test, waited) = (in_flight(row, &test_id), wait.as_secs_f64());
                    state
                        .writer
                        .live()
                        .retry(&test, None, waited, Timestamp::now());
                    (self.report)(&state.counts, &Event::Again(&outcome.record, wait));
                    return true;
                }
                state.counts.mended += u64::from(ended.mended.surrogates);
                state.counts.repeated += u64::from(ended.mended.repeated);
                self.record(&mut state, row, outcome, timed_out)
            }
        }
    }

    /// Makes a result durable; false when that fails.
    fn record(&self, state: &mut State, row: &Row, outcome: Outcome, timed_out: bool) -> bool {
        let record = outcome.record;
        if let Err(error) = state.writer.append(record.clone()) {
            state.failure.get_or_insert(error);
            self.stop.ask(Urgency::Interrupt);
            return false;
        }
        let counts = &mut state.counts;
        counts.done += 1;
        let partial = record.success == Some(false) && record.partial_success == Some(true);
        counts.success += u64::from(record.success == Some(true));
        counts.partial += u64::from(partial);
        counts.unscored += u64::from(record.success.is_none());
        counts.infrastructure += u64::from(outcome.infrastructure);
        counts.timeouts += u64::from(timed_out);
        (self.report)(counts, &Event::Recorded(&record));
        let judged = record.success.map(|success| !success);
        let alarm = judged.and_then(|failed| state.bursts.add(&row.cell.model, failed));
        if let Some(alarm) = alarm.filter(|_| self.spec.stop_on_burst) {
            state
                .early
                .get_or_insert_with(|| Early::Burst(row.cell.model.to_string(), alarm));
            self.stop.ask(Urgency::Drain);
        }
        true
    }

    /// Twice as long each time, and a little more or less, so that tests that were
    /// refused together do not come back together.
    fn backoff(&self, attempt: u32) -> Duration {
        let doubled = self
            .spec
            .backoff
            .saturating_mul(1 << (attempt - 1).min(16))
            .min(LONGEST_BACKOFF);
        let part = f64::from(uuid::Uuid::now_v7().as_u128() as u16) / f64::from(u16::MAX);
        doubled.mul_f64(0.75 + part / 2.0)
    }

    /// Ends the run with an error; the first one stands.
    fn fail(&self, error: Error) {
        self.lock().failure.get_or_insert(error);
        self.stop.ask(Urgency::Interrupt);
    }

    fn cannot_start(&self, error: &io::Error) -> Error {
        let program = self.spec.command.first();
        Error::Refused(program.map_or_else(
            || "there is no command to run".to_owned(),
            |program| program::why_not(program, error),
        ))
    }
}

/// What a command learns from its environment. A dimension that the plan leaves out is
/// not inherited from ours.
fn environment(row: &Row, test_id: &str, job: Job) -> Vec<(&'static str, Option<String>)> {
    let text = |name| plan::dimension(row, name).map(str::to_owned);
    vec![
        ("EVALTOP_TEST_ID", Some(test_id.to_owned())),
        ("EVALTOP_MODEL", text("model")),
        ("EVALTOP_PROMPT_TYPE", text("prompt_type")),
        ("EVALTOP_DIFFICULTY", text("difficulty")),
        ("EVALTOP_TASK_TYPE", text("task_type")),
        (
            "EVALTOP_TOOL_SUCCESS_RATE",
            row.cell.tool_success_rate.map(|rate| rate.to_string()),
        ),
        ("EVALTOP_INSTANCE", Some(job.test.instance.to_string())),
        ("EVALTOP_ATTEMPT", Some(job.attempt.to_string())),
    ]
}

/// What a command reads on stdin: the test as one JSON object on a line.
fn input(row: &Row, test_id: &str, test: Test) -> Vec<u8> {
    let mut fields = row.fields.clone();
    fields.insert("test_id".to_owned(), test_id.into());
    fields.insert("instance".to_owned(), test.instance.into());
    let mut line = Value::Object(fields).to_string().into_bytes();
    line.push(b'\n');
    line
}

/// The models of a plan.
pub fn models(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().map(|row| &*row.cell.model).collect()
}

#[cfg(test)]
mod tests;
