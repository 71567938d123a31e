//! What one scan of a store says: plain data without behaviour, the same for
//! `status` and for the dashboard.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use strum::{EnumIter, IntoStaticStr};

use crate::stats::history::History;
use crate::stats::interval::{self, Interval};
use crate::stats::levels::Levels;
use crate::stats::metric::Metric;
use crate::stats::{Cells, ErrorCategory, Tally};

pub mod alert;
pub mod detail;
mod identity;
pub mod overview;
pub mod spending;
mod zone;

pub use crate::store::read::snapshot::{FileState, MainKind, MainState, WaitingFile};
pub use alert::Alert;
pub use detail::{Detail, Failure};
pub use identity::IdentityView;
pub use zone::{OffView, ZoneFrom, ZoneView};

/// What is at the store's path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum StoreState {
    /// A store (it may be empty).
    #[default]
    Ready,
    /// Nothing, or a folder that is not a store: the dashboard waits for one.
    Missing,
    /// Something that can't be read; the sentence says why and what to do.
    Unreadable(String),
}

/// How changes are noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WatchMode {
    /// Not watching: a single scan.
    #[default]
    Off,
    /// Native events, by their name: "inotify", "fsevent", …
    Native(&'static str),
    /// Polling, with the reason.
    Polling(String),
}

/// Everything that waits to be consolidated.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WaitingView {
    /// Increment files that hold rows not in main.
    pub increments: u64,
    /// Their size.
    pub increment_bytes: u64,
    /// Their rows.
    pub increment_rows: u64,
    /// Increments that are being written by legacy code at this moment.
    pub in_progress: u64,
    /// Files that can't be read.
    pub unreadable: u64,
    /// Journals whose stem has no increment yet.
    pub journals: u64,
    /// Their acknowledged rows.
    pub journal_rows: u64,
    /// Journals whose writer is dead and that no commit has consumed.
    pub dead_journals: u64,
    /// When the oldest waiting row began to wait.
    pub oldest: Option<Timestamp>,
    /// The same, of increments alone.
    pub oldest_increment: Option<Timestamp>,
    /// Every waiting file, newest first.
    pub files: Arc<Vec<WaitingFile>>,
}

/// One model's figures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ModelView {
    /// Name as the data has it; sanitise before drawing.
    pub model: String,
    /// Its counts and sums.
    pub tally: Tally,
    /// Rows a minute over the throughput window.
    pub per_minute: f64,
    /// Its newest row.
    pub last_row: Option<Timestamp>,
    /// Set while the CUSUM of its failures is over the alarm level.
    pub burst: Option<Burst>,
    /// Success over its last tests, twenty to a point, oldest first; 0 to 1.
    pub trend: Vec<f64>,
    /// How many independent tests its own stand for, where a task was tried more than
    /// once.
    pub effective: Option<f64>,
    /// What it cost in dollars, where that is known.
    pub cost: Option<f64>,
    /// The mean of the chosen metric.
    pub measured: Option<Measured>,
    /// What its drill-down shows beyond its tally.
    pub detail: Arc<Detail>,
}

impl ModelView {
    /// The 95 % interval of its success rate, clustered by task where tasks repeat.
    pub fn interval(&self) -> Option<Interval> {
        match (self.effective, self.tally.success_rate()) {
            (Some(effective), Some(rate)) => Some(interval::wilson_of(rate, effective)),
            _ => interval::wilson(self.tally.full, self.tally.judged()),
        }
    }
}

/// The mean of a metric that somebody chose instead of the success rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measured {
    /// Values.
    pub n: u64,
    /// Their mean.
    pub mean: f64,
    /// The mean, turned so that more is better.
    pub gain: f64,
    /// Its 95 % interval.
    pub interval: Option<Interval>,
}

/// What is known of the metric that somebody chose.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MetricView {
    /// Which.
    pub metric: Metric,
    /// Tests with a value.
    pub n: u64,
    /// Their mean.
    pub mean: Option<f64>,
    /// By model.
    pub models: BTreeMap<String, Measured>,
    /// From where to where bars and lines go.
    pub range: Option<(f64, f64)>,
    /// Over time, as a share of the range.
    pub history: History,
    /// Why it is unknown.
    pub failed: Option<String>,
}

impl MetricView {
    /// A mean's place in the range, 0 to 1.
    pub fn share(&self, mean: f64) -> Option<f64> {
        let (low, high) = self.range?;
        Some(((mean - low) / (high - low)).clamp(0.0, 1.0))
    }
}

/// A failure burst of one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Burst {
    /// Failures since the burst began.
    pub failed: u64,
    /// Tests since the burst began.
    pub of: u64,
    /// The model's usual failure rate, 0 to 1.
    pub usual: f64,
    /// The most frequent category among them.
    pub category: Option<ErrorCategory>,
}

/// What is known of a writer.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumIter,
    IntoStaticStr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum WriterState {
    /// Killed, or died with tests in flight.
    Lost,
    /// Ended with an error that it named, or a non-zero exit status.
    Failed,
    /// Alive, but neither rows nor a young test in flight for longer than is usual for it.
    Stalled,
    /// Can't be seen from here, and its heartbeat has stopped.
    Silent,
    /// Rows, or a young test in flight.
    Live,
    /// Alive, and says that it has nothing to do.
    Idle,
    /// Gone or at the end of its input, nothing said, and nothing shows a violent death.
    Ended,
    /// It said that it is through.
    Finished,
    /// Nothing can be known.
    #[default]
    Unknown,
}

impl WriterState {
    /// Whether it goes on, as far as anybody knows.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Live | Self::Idle | Self::Stalled | Self::Silent)
    }
}

/// A test in flight.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct InFlightView {
    /// The model under test.
    pub model: String,
    /// Its task, else its id, or nothing.
    pub name: String,
    /// Its id, where its row will have one.
    pub test_id: Option<String>,
    /// Its task.
    pub task_id: Option<String>,
    /// Which try at the task.
    pub trial: Option<i64>,
    /// Since when.
    pub since: Timestamp,
    /// How often it was tried again.
    pub retries: u64,
    /// Seconds that 95 % of its model's tests take at most, where enough of them are known.
    pub p95: Option<f64>,
}

/// What became of a session: one start of an evaluation, with all its writers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum SessionState {
    /// A writer goes on.
    Running,
    /// A writer goes on, and others have finished.
    Finishing,
    /// All have ended, and nothing shows that a test is missing.
    Finished,
    /// All have ended, and tests are missing, or a writer failed.
    Incomplete,
    /// It was stopped on purpose.
    Interrupted,
    /// No writer is left, and some were lost.
    Dead,
}

/// The session that runs, or ran last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionView {
    /// What became of it.
    pub state: SessionState,
    /// Its id, where its writers name it.
    pub id: Option<String>,
    /// Tests that it means to run, where its writers say so.
    pub planned: Option<u64>,
    /// Rows of its writers, and tests that were there before.
    pub done: u64,
    /// When its first writer began.
    pub began: Option<Timestamp>,
    /// When its last writer ended.
    pub ended: Option<Timestamp>,
}

/// A place that rows are pulled from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SourceView {
    /// A folder, or `host:path`.
    pub name: String,
    /// When a pull ended well, the last time.
    pub at: Option<Timestamp>,
    /// Why the last one did not.
    pub error: Option<String>,
    /// Rows that came from there.
    pub rows: u64,
    /// Pulls go on, and have not ended well for too long.
    pub stale: bool,
}

/// How much a model's requests were turned away lately.
#[derive(Debug, Clone, PartialEq)]
pub struct ThrottleView {
    /// The model.
    pub model: String,
    /// Retries a minute.
    pub per_minute: f64,
    /// Share of its writers' time spent waiting, 0 to 1.
    pub share: f64,
    /// The last status that caused one.
    pub status: Option<i64>,
    /// Since when, without a pause.
    pub since: Timestamp,
}

impl ThrottleView {
    /// Fewer retries a minute, or a smaller share of time, are the usual course of things.
    const RETRIES: f64 = 5.0;
    const SHARE: f64 = 0.25;

    /// Whether the model waits more than usual.
    pub fn is_much(&self) -> bool {
        self.per_minute >= Self::RETRIES || (self.per_minute >= 1.0 && self.share >= Self::SHARE)
    }
}

/// Something that charts over time show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: MarkKind,
}

/// What a mark is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MarkKind {
    /// Requests of a model began to be turned away.
    Throttled,
    /// A writer was lost or failed.
    Lost,
}

/// One writer: a program of the user that records results.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct WriterView {
    /// What all names of its files share.
    pub writer: String,
    /// `<pid>_<YYYYmmdd_HHMMSS>` of the process that writes its rows.
    pub process_id: String,
    /// Its machine, where that is known.
    pub host: Option<String>,
    /// The user's program.
    pub pid: Option<u32>,
    /// Its name.
    pub program: Option<String>,
    /// Alive or not.
    pub state: WriterState,
    /// Why, where that is known.
    pub reason: Option<String>,
    /// Tests that it recorded again, each in a session of its own.
    pub several_sessions: u64,
    /// Since when it is silent, or when it ended.
    pub since: Option<Timestamp>,
    /// How many tests it has in flight; of a lost one, had.
    pub running: u64,
    /// The oldest of them, oldest first.
    pub tests: Vec<InFlightView>,
    /// Of a lost one: its tests have results from elsewhere.
    pub settled: bool,
    /// Whether it was stopped on purpose.
    pub interrupted: bool,
    /// When it began, where it says so.
    pub began: Option<Timestamp>,
    /// Its session.
    pub session: Option<String>,
    /// Tests that its session means to run.
    pub planned: Option<u64>,
    /// Of these, the ones that were there when it began.
    pub there: u64,
    /// Rows that it recorded.
    pub recorded: u64,
    /// Rows that it wrote and that still wait.
    pub rows: u64,
    /// Its newest row.
    pub last_row: Option<Timestamp>,
    /// The model that it last wrote for.
    pub model: Option<String>,
    /// Bytes of its journals, those included that wait for nothing but their removal.
    pub journal_bytes: u64,
    /// The silence after which it counts as stalled, in seconds.
    pub limit_seconds: f64,
}

impl WriterView {
    /// The test that it has had in flight for longest.
    pub fn oldest(&self) -> Option<&InFlightView> {
        self.tests.first()
    }

    /// Whether it died and left tests without a result.
    pub fn is_missed(&self) -> bool {
        self.state == WriterState::Lost && !self.settled
    }

    /// `host:pid` of the user's program, as far as it is known.
    pub fn label(&self) -> String {
        let pid = self.pid.map(|pid| pid.to_string());
        match (&self.host, pid) {
            (Some(host), Some(pid)) => format!("{host}:{pid}"),
            (None, Some(pid)) => format!("pid {pid}"),
            _ => self.process_id.clone(),
        }
    }
}

/// Something that was done to the store, as its doer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationView {
    /// When it ended.
    pub at: Timestamp,
    /// This process did it.
    pub own: bool,
    /// Which process did it.
    pub by: String,
    /// What it did, or why it failed; sanitise before drawing.
    pub summary: String,
    /// The commit that it made.
    pub generation: Option<u64>,
    /// It did not do what it should have.
    pub failed: bool,
}

/// How far a first scan is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reading {
    /// Waiting files that were read.
    pub read: u64,
    /// Waiting files to read.
    pub files: u64,
}

/// One scan of a store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// When.
    pub at: Timestamp,
    /// The store's folder, as the user named it, made absolute.
    pub store: PathBuf,
    /// Whether there is one.
    pub state: StoreState,
    /// How changes are noticed.
    pub watch: WatchMode,
    /// Main.
    pub main: MainState,
    /// What waits.
    pub waiting: WaitingView,
    /// All tests: main, increments, journals, summary rows.
    pub totals: Tally,
    /// Attempts replaced by newer ones, over the store's life.
    pub superseded: u64,
    /// Of these, the ones of the last hour, as far as anybody looked.
    pub superseded_lately: u64,
    /// Canonically identical rows seen again, over the store's life.
    pub repeated: u64,
    /// Figures by model, sorted by name.
    pub models: Vec<ModelView>,
    /// The same tests by cell: what one model's figures are made of.
    pub cells: Arc<Cells>,
    /// Writers, sorted by state, then by id.
    pub writers: Vec<WriterView>,
    /// Models that were retried in the last minutes.
    pub throttled: Vec<ThrottleView>,
    /// What charts show, as far as anybody looked: in order of time.
    pub marks: Vec<Mark>,
    /// Places that rows are pulled from, by name.
    pub sources: Vec<SourceView>,
    /// What the writers come to.
    pub session: Option<SessionView>,
    /// The figures are those of this session alone.
    pub only_session: Option<String>,
    /// The metric that somebody chose instead of the success rate.
    pub metric: Option<Arc<MetricView>>,
    /// What the tests cost, where their rows speak of money or tokens.
    pub spending: Option<Arc<spending::SpendingView>>,
    /// Rows over time, for the sparkline and the rates.
    pub history: History,
    /// Waiting files over time, as far as anybody looked.
    pub levels: Levels,
    /// Rows a minute now.
    pub per_minute: f64,
    /// Errors by category over all models.
    pub errors: BTreeMap<ErrorCategory, u64>,
    /// Free and total bytes of the store's file system.
    pub disk: Option<(u64, u64)>,
    /// What rows without ids of their own give to say.
    pub identity: IdentityView,
    /// In which zone times were read that name none.
    pub zone: ZoneView,
    /// Why the rows that were removed on purpose are not known, where they are not.
    pub removed_unread: Option<String>,
    /// What people should know about the data, a sentence each.
    pub notes: Vec<String>,
    /// Files that look like results and have a name under which nobody reads them.
    pub misnamed: Vec<String>,
    /// The last things that were done to the store, oldest first.
    pub operations: Vec<OperationView>,
    /// What waits has not been read yet: the figures are those of main alone.
    pub reading: Option<Reading>,
    /// Why the figures are those of an earlier scan, when they are.
    pub behind: Option<String>,
    /// They are because files, threads or memory ran out.
    pub exhausted: bool,
    /// What needs a person, worst first.
    pub alerts: Vec<Alert>,
}

/// The 95 % interval of all tests of some models.
pub fn interval_of(models: &[ModelView], totals: &Tally) -> Option<Interval> {
    match models {
        [only] => only.interval(),
        models if models.iter().any(|model| model.effective.is_some()) => None,
        _ => interval::wilson(totals.full, totals.judged()),
    }
}

impl Observation {
    /// The 95 % interval of the success rate over all tests: the only model's own, else the
    /// plain one. None where a model of several tried a task more than once.
    pub fn interval(&self) -> Option<Interval> {
        interval_of(&self.models, &self.totals)
    }

    /// How many tests the writers that go on have in flight, and the one that began first.
    pub fn in_flight(&self) -> Option<(u64, &InFlightView)> {
        let open = || self.writers.iter().filter(|writer| writer.state.is_open());
        let oldest = open().filter_map(WriterView::oldest);
        let oldest = oldest.min_by_key(|test| test.since)?;
        Some((open().map(|writer| writer.running).sum(), oldest))
    }

    /// Whether the figures are those of a scan that worked, this one or an earlier
    /// one. Without, they are all zero and mean nothing: show none.
    pub fn has_figures(&self) -> bool {
        self.state == StoreState::Ready || self.behind.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tests_have_an_interval_unless_tasks_repeat_within_one_of_several_models() {
        let model = |effective| {
            let tally = Tally {
                tests: 100,
                full: 50,
                ..Tally::default()
            };
            ModelView {
                tally,
                effective,
                ..ModelView::default()
            }
        };
        let of = |models: Vec<ModelView>| {
            let mut seen = Observation {
                models,
                ..Observation::default()
            };
            for model in &seen.models {
                seen.totals.add(&model.tally);
            }
            seen.interval()
        };
        assert_eq!(of(vec![]), None);
        assert_eq!(
            of(vec![model(None), model(None)]),
            interval::wilson(100, 200)
        );
        assert_eq!(
            of(vec![model(Some(30.0))]),
            Some(interval::wilson_of(0.5, 30.0))
        );
        assert_eq!(of(vec![model(None), model(Some(30.0))]), None);
    }
}
