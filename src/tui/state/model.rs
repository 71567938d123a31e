//! Everything that the dashboard knows: plain state, changed by `update` alone and
//! read by the views.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use ratatui::layout::Rect;
use strum::{EnumIter, IntoEnumIterator, IntoStaticStr};
use tui_input::Input;

use super::alert_history::{AlertKey, Book, Change};
use super::table::Table;
use crate::config::Thresholds;
use crate::health::{Alert, Severity};
use crate::jobs::{ExportFormat, Plan, Request};
use crate::monitor::Observation;
use crate::monitor::filtered::{Condition, Filtered};
use crate::observation::{ModelView, SessionState, StoreState, WriterState};
use crate::stats::history::History;
use crate::stats::interval::Interval;
use crate::stats::metric::Metric;
use crate::stats::paired::Comparison;
use crate::stats::progress::{Expected, RunProgress};
use crate::stats::{Cells, Tally};
use crate::store::Progress;
use crate::store::read::query::sessions::Session;
use crate::tui::input::keymap::Keymap;
use crate::tui::update::message::JobId;
use crate::tui::view::theme::Theme;

/// Lines that the activity pane remembers.
pub(crate) const ACTIVITY_KEPT: usize = 500;
/// A store counts as moving for this long after its newest row, in seconds.
pub(crate) const MOVING_SECONDS: f64 = 120.0;

/// What is decided when the dashboard opens.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // each is a choice of its own
pub(crate) struct Settings {
    /// The store, as it is shown.
    pub store: PathBuf,
    /// The user's home, shown as `~`.
    pub home: Option<PathBuf>,
    /// What is followed into the store, where it lies in the cache.
    pub follows: Option<PathBuf>,
    /// Limits of the waiting gauges.
    pub thresholds: Thresholds,
    /// What the store is, where that is not obvious: "made-up figures".
    pub badge: Option<String>,
    /// Maintenance keys are off.
    pub readonly: bool,
    /// It was opened from a list, to which Esc goes back.
    pub is_listed: bool,
    /// What is expected of the run.
    pub expected: Option<Expected>,
    /// Seconds for which a snoozed alert is silent.
    pub snooze: u64,
    /// The user's own program for logs.
    pub log_command: Vec<String>,
    /// Draw with ASCII only.
    pub ascii: bool,
    /// Charts may use braille dots.
    pub braille: bool,
    /// Colours.
    pub theme: Theme,
    /// Zone of the clock times.
    pub zone: TimeZone,
    /// Keys.
    pub keymap: Keymap,
}

/// A pane that keys can act on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Focus {
    /// The models.
    #[default]
    Models,
    /// The alerts.
    Alerts,
    /// The activity.
    Activity,
}

/// What lies over the panes; the last one is on top.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Overlay {
    /// The keys.
    Help(Scroll),
    /// One model.
    Drill(String, Scroll),
    /// One alert.
    Alert(AlertKey, Scroll),
    /// Every alert that is remembered.
    AlertLog(Scroll),
    /// Two models against each other.
    Compare([String; 2], Scroll),
    /// The run over time.
    History(Scroll),
    /// What is done, and what is left.
    Progress(Scroll),
    /// Every writer.
    Writers(Scroll),
    /// Every waiting file.
    Files(Scroll),
    /// What the tests cost.
    Cost(Scroll),
    /// The sessions, to choose from.
    Sessions(Scroll),
    /// What can be measured, to choose from.
    Metrics(Scroll),
    /// The last failures of a model, to choose from.
    Failed(String, Scroll),
    /// A row whole.
    Row(RowView, Scroll),
    /// The log of a test.
    Log(LogView, Scroll),
    /// One line of the activity in full.
    Entry(Entry, Scroll),
}

/// The sessions, the newest first, and what they are shown by.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SessionList {
    /// The success rate, or what was chosen instead.
    pub metric: Metric,
    /// A session a row.
    pub rows: Vec<SessionRow>,
}

/// A session in the list.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SessionRow {
    /// Its tests.
    pub session: Session,
    /// What became of it, where that is known.
    pub state: Option<SessionState>,
    /// The mean of the metric.
    pub level: Option<f64>,
    /// Dollars.
    pub cost: Option<f64>,
    /// Compared with the one before it.
    pub against: Option<Comparison>,
}

/// One row of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RowView {
    /// Its test.
    pub title: String,
    /// Columns and values.
    pub fields: Vec<(String, String)>,
    /// Where its log is.
    pub log: Option<String>,
    /// The file that it was imported from.
    pub source: Option<String>,
    /// Which trial it is.
    pub trial: Option<i64>,
}

/// The text of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LogView {
    /// Where it is.
    pub title: String,
    /// What it says.
    pub text: Arc<str>,
}

/// A stretch of time up to now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, EnumIter, IntoStaticStr)]
pub(crate) enum Period {
    /// An hour.
    #[strum(serialize = "1h")]
    Hour,
    /// Six hours.
    #[strum(serialize = "6h")]
    SixHours,
    /// A day.
    #[strum(serialize = "24h")]
    Day,
    /// The whole run.
    #[default]
    #[strum(serialize = "all")]
    All,
}

impl Period {
    /// Every one, shortest first.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        Self::iter()
    }

    /// Its length; `None` for the whole run.
    pub(crate) fn seconds(self) -> Option<i64> {
        match self {
            Self::Hour => Some(3_600),
            Self::SixHours => Some(21_600),
            Self::Day => Some(86_400),
            Self::All => None,
        }
    }

    /// The one so many steps longer; beyond the ends there is none.
    pub(crate) fn step(self, by: isize) -> Self {
        let at = Self::iter().position(|period| period == self).unwrap_or(0);
        Self::iter()
            .nth(at.saturating_add_signed(by))
            .unwrap_or(self)
    }
}

/// Position in something longer than its area. Views clamp it to what there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Scroll {
    /// The selected row, or the first one shown where rows can't be selected.
    pub at: usize,
}

/// One line of the activity.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// When.
    pub at: Timestamp,
    /// Good, or how bad.
    pub severity: Severity,
    /// What happened.
    pub text: String,
    /// More, for the detail view.
    pub lines: Vec<String>,
}

/// Where an export form stands.
#[derive(Debug, Clone)]
pub(crate) struct ExportForm {
    /// The form of the file; `None` for the report.
    pub format: Option<ExportFormat>,
    /// The file's name.
    pub name: Input,
    /// Whether the name was edited; until then its ending follows the format.
    pub edited: bool,
    /// Whether keys go to the name rather than to the format.
    pub in_name: bool,
    /// The models that the filter leaves, where one is set.
    pub models: Option<Vec<String>>,
}

/// The question at the bottom, in place of the activity.
#[derive(Debug, Clone, Default)]
pub(crate) enum Prompt {
    /// None.
    #[default]
    None,
    /// What to export, and where to.
    Export(ExportForm),
    /// A plan is being made.
    Planning(JobId, Request),
    /// Shall this be done? Scrolled to a line.
    Confirm(Box<Plan>, usize),
    /// Shall the running job be cancelled?
    CancelJob,
    /// Wait for the running job, or cancel it?
    QuitJob,
    /// No question, but the answer to one that is too long for a row: a title and what
    /// came of it, scrolled to a line.
    Notice(String, Entry, usize),
}

/// The job that runs.
#[derive(Debug, Clone)]
pub(crate) struct Running {
    /// Which.
    pub id: JobId,
    /// "consolidate", …
    pub title: &'static str,
    /// How far.
    pub progress: Progress,
    /// It was asked to stop.
    pub cancelling: bool,
}

/// Jobs: one runs, the others wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Jobs {
    /// The one that runs.
    pub running: Option<Running>,
    /// Confirmed ones.
    pub queue: VecDeque<Plan>,
    /// Plans being made for jobs that ask nothing.
    pub unasked: Vec<JobId>,
    /// The last number given.
    pub last_id: JobId,
    /// One of ours ended since the last scan, so a new generation is our doing.
    pub ours: bool,
}

/// A new generation of which nobody has said where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unexplained {
    /// Main's rows before.
    pub rows: u64,
    /// When it was seen.
    pub since: Timestamp,
}

/// Two models compared, or about to be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Compared {
    /// Which.
    pub both: [String; 2],
    /// How many tests they had then.
    pub tests: u64,
    /// When it was asked for.
    pub asked: Timestamp,
    /// The answer, once it is there.
    pub result: Option<Result<Comparison, String>>,
    /// The answer before, until then.
    pub shown: Option<Result<Comparison, String>>,
}

/// A filter that chooses among tests, and when their rows were last read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filtering {
    /// Which tests.
    pub condition: Condition,
    /// Rows that the store had then.
    pub rows: u64,
    /// When it was asked for.
    pub asked: Timestamp,
    /// How long the answer took.
    pub took: SignedDuration,
    /// There is no answer yet.
    pub busy: bool,
}

/// A search or filter being typed.
#[derive(Debug, Clone)]
pub(crate) struct Typing {
    /// The line.
    pub input: Input,
    /// What to return to on Esc.
    pub before: String,
}

/// The dashboard's state.
#[derive(Debug, Clone)]
pub(crate) struct Model {
    /// The present moment.
    pub now: Timestamp,
    /// The whole terminal.
    pub area: Rect,
    /// What was decided at the start.
    pub settings: Settings,
    /// The scan that is shown.
    pub seen: Option<Arc<Observation>>,
    /// While frozen: the newest scan, not shown yet.
    pub held: Option<Arc<Observation>>,
    /// Since when the picture is held still.
    pub frozen: Option<Timestamp>,
    /// The focused pane.
    pub focus: Focus,
    /// The focused pane has the whole screen.
    pub zoomed: bool,
    /// Order, selection, filter of the models.
    pub table: Table,
    /// The filter's choice among tests, where it makes one.
    pub filtering: Option<Filtering>,
    /// The figures of the tests that it leaves, once they were read.
    pub filtered: Option<Arc<Filtered>>,
    /// What the help is searched for.
    pub help_filter: String,
    /// The filter being typed, of the models or of the help.
    pub typing: Option<Typing>,
    /// The selected alert.
    pub alert: Scroll,
    /// The selected line of the activity, 0 being the newest.
    pub entry: Scroll,
    /// The alerts over time.
    pub book: Book,
    /// While frozen: what happened to alerts, not reported in the activity yet.
    pub unshown: VecDeque<Change>,
    /// Why the user's own program could not be notified of alerts, the last time.
    pub hook_failed: Option<String>,
    /// What happened, newest first.
    pub activity: VecDeque<Entry>,
    /// How many lines the activity ever had.
    pub noted: u64,
    /// The newest comparison of two models.
    pub compared: Option<Compared>,
    /// The sessions, once they are read.
    pub sessions: Option<Result<SessionList, String>>,
    /// Those to compare.
    pub marked_sessions: Vec<String>,
    /// What can be measured, once it is read.
    pub metrics: Option<Result<Vec<String>, String>>,
    /// The stretch of time that charts show.
    pub period: Period,
    /// How far the run is, where something is expected of it.
    pub progress: Option<RunProgress>,
    /// What lies over the panes.
    pub overlays: Vec<Overlay>,
    /// The question at the bottom.
    pub prompt: Prompt,
    /// Jobs.
    pub jobs: Jobs,
    /// A commit by another process that has not said what it did, yet.
    pub unexplained: Option<Unexplained>,
    /// Leave as soon as the running job ends.
    pub leaving: bool,
    /// The newest line of the activity, until a key is pressed.
    pub notice: Option<String>,
    /// The store was there at some time.
    pub was_there: bool,
}

impl Model {
    /// An empty dashboard.
    pub(crate) fn new(settings: Settings, now: Timestamp) -> Self {
        Self {
            now,
            area: Rect::new(0, 0, 80, 24),
            settings,
            seen: None,
            held: None,
            frozen: None,
            focus: Focus::default(),
            zoomed: false,
            table: Table::default(),
            filtering: None,
            filtered: None,
            help_filter: String::new(),
            typing: None,
            alert: Scroll::default(),
            entry: Scroll::default(),
            book: Book::default(),
            unshown: VecDeque::new(),
            hook_failed: None,
            activity: VecDeque::new(),
            noted: 0,
            compared: None,
            sessions: None,
            marked_sessions: Vec::new(),
            metrics: None,
            progress: None,
            period: Period::default(),
            overlays: Vec::new(),
            prompt: Prompt::None,
            jobs: Jobs::default(),
            unexplained: None,
            leaving: false,
            notice: None,
            was_there: false,
        }
    }

    /// Figures by model, of the tests that the filter leaves.
    pub(crate) fn models(&self) -> &[ModelView] {
        match (&self.filtered, &self.seen) {
            (Some(filtered), _) => &filtered.models,
            (None, Some(seen)) => &seen.models,
            (None, None) => &[],
        }
    }

    /// The figures of one model.
    pub(crate) fn model(&self, name: &str) -> Option<&ModelView> {
        let models = self.models();
        let found = models.binary_search_by(|model| model.model.as_str().cmp(name));
        found.ok().and_then(|at| models.get(at))
    }

    /// All tests that the filter leaves.
    pub(crate) fn totals(&self) -> Tally {
        match (&self.filtered, &self.seen) {
            (Some(filtered), _) => filtered.totals.clone(),
            (None, Some(seen)) => seen.totals.clone(),
            (None, None) => Tally::default(),
        }
    }

    /// The interval of their success rate.
    pub(crate) fn interval(&self) -> Option<Interval> {
        match (&self.filtered, &self.seen) {
            (Some(filtered), _) => filtered.interval(),
            (None, seen) => seen.as_ref()?.interval(),
        }
    }

    /// The tests that the filter leaves, by cell.
    pub(crate) fn cells(&self) -> Arc<Cells> {
        match (&self.filtered, &self.seen) {
            (Some(filtered), _) => Arc::clone(&filtered.cells),
            (None, Some(seen)) => Arc::clone(&seen.cells),
            (None, None) => Arc::default(),
        }
    }

    /// The tests that the filter leaves, over time.
    pub(crate) fn history<'a>(&'a self, seen: &'a Observation) -> &'a History {
        match &self.filtered {
            Some(filtered) => &filtered.history,
            None => &seen.history,
        }
    }

    /// Whether a word is a part of a model's name.
    pub(crate) fn is_name(&self, word: &str) -> bool {
        let word = word.to_lowercase();
        let models = self.seen.iter().flat_map(|seen| &seen.models);
        models
            .into_iter()
            .any(|model| model.model.to_lowercase().contains(&word))
    }

    /// Sorts and filters the models now.
    pub(crate) fn reorder(&mut self) {
        let mut table = std::mem::take(&mut self.table);
        table.reorder(self.models(), self.now);
        self.table = table;
    }

    /// The same, where it is due.
    pub(crate) fn refresh(&mut self) {
        let mut table = std::mem::take(&mut self.table);
        table.refresh(self.models(), self.now);
        self.table = table;
    }

    /// Remembers that something happened.
    pub(crate) fn note(&mut self, severity: Severity, text: impl Into<String>) {
        self.note_with(severity, text, Vec::new());
    }

    /// Remembers that something happened, with more to read.
    pub(crate) fn note_with(
        &mut self,
        severity: Severity,
        text: impl Into<String>,
        lines: Vec<String>,
    ) {
        let text = text.into();
        self.notice = Some(text.clone());
        self.activity.push_front(Entry {
            at: self.now,
            severity,
            text,
            lines,
        });
        self.activity.truncate(ACTIVITY_KEPT);
        self.noted += 1;
        if self.entry.at > 0 {
            self.entry.at = (self.entry.at + 1).min(self.activity.len() - 1);
        }
    }

    /// The alerts of the shown look: those that nobody took note of, then the others,
    /// each worst first.
    pub(crate) fn alerts(&self) -> Vec<&Alert> {
        let mut alerts: Vec<&Alert> = self.seen.iter().flat_map(|o| &o.alerts).collect();
        alerts.sort_by_key(|alert| self.is_quiet(alert));
        alerts
    }

    /// Whether somebody took note of an alert, or snoozed it.
    pub(crate) fn is_quiet(&self, alert: &Alert) -> bool {
        self.book.quiet(alert).is_some()
    }

    /// What is at the store's path, as far as it is known.
    pub(crate) fn store_state(&self) -> Option<&StoreState> {
        self.seen.as_ref().map(|o| &o.state)
    }

    /// Whether writers are at work, or were a moment ago. While nothing moves, ages are
    /// shown as clock times, so that the picture stands still.
    pub(crate) fn moving(&self) -> bool {
        let now = self.present();
        self.seen.as_ref().is_some_and(|o| {
            let newest = o.writers.iter().filter_map(|w| w.last_row).max();
            o.writers.iter().any(|w| w.state == WriterState::Live)
                || newest.is_some_and(|t| crate::text::numbers::age(now, t) < MOVING_SECONDS)
        })
    }

    /// The moment that is shown: while the picture is held still, the one of then.
    fn present(&self) -> Timestamp {
        self.frozen.unwrap_or(self.now)
    }

    /// Seconds from then to the moment that is shown.
    pub(crate) fn age(&self, then: Timestamp) -> f64 {
        crate::text::numbers::age(self.present(), then)
    }

    /// How long ago, or when: an age while the store moves, else a clock time.
    pub(crate) fn when(&self, then: Timestamp) -> String {
        if self.moving() {
            crate::text::numbers::span(self.age(then))
        } else {
            self.clock(then)
        }
    }

    /// Local time of a moment to come, with its date where it is far away.
    pub(crate) fn until(&self, then: Timestamp) -> String {
        let near = crate::text::numbers::age(then, self.now) < 43_200.0;
        crate::text::numbers::clock(
            then,
            if near { then } else { self.now },
            &self.settings.zone,
        )
    }

    /// Local time of day.
    pub(crate) fn clock(&self, then: Timestamp) -> String {
        crate::text::numbers::clock(then, self.present(), &self.settings.zone)
    }
}
