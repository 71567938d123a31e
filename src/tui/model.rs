//! Everything that the dashboard knows: plain state, changed by `update` alone and
//! read by the views.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::layout::Rect;
use strum::{EnumIter, IntoEnumIterator, IntoStaticStr};
use tui_input::Input;

use super::book::{AlertKey, Book, Change};
use super::keymap::Keymap;
use super::message::JobId;
use super::table::Table;
use super::theme::Theme;
use crate::config::Thresholds;
use crate::health::{Alert, Severity};
use crate::jobs::{ExportFormat, Plan, Request};
use crate::monitor::Observation;
use crate::monitor::observation::{StoreState, WriterState};
use crate::stats::paired::Comparison;
use crate::stats::progress::{Expected, RunProgress};
use crate::store::Progress;

/// Lines that the activity pane remembers.
pub(crate) const ACTIVITY_KEPT: usize = 500;
/// A store counts as moving for this long after its newest row, in seconds.
pub(crate) const MOVING_SECONDS: f64 = 120.0;

/// What is decided when the dashboard opens.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// The store, as it is shown.
    pub store: PathBuf,
    /// The user's home, shown as `~`.
    pub home: Option<PathBuf>,
    /// Limits of the waiting gauges.
    pub thresholds: Thresholds,
    /// Maintenance keys are off.
    pub readonly: bool,
    /// What is expected of the run.
    pub expected: Option<Expected>,
    /// Seconds for which a snoozed alert is silent.
    pub snooze: u64,
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
    /// One line of the activity in full.
    Entry(Entry, Scroll),
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
    /// The form of the file.
    pub format: ExportFormat,
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
    Told(String, Entry, usize),
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
    /// It was told to stop.
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
    /// One of ours ended since the last look, so a new generation is our doing.
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
    /// The look that is shown.
    pub seen: Option<Arc<Observation>>,
    /// While frozen: the newest look, not shown yet.
    pub held: Option<Arc<Observation>>,
    /// Since when the picture is held still.
    pub frozen: Option<Timestamp>,
    /// The focused pane.
    pub focus: Focus,
    /// The focused pane has the whole screen.
    pub zoomed: bool,
    /// Order, selection, filter of the models.
    pub table: Table,
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
    /// While frozen: what happened to alerts, not told in the activity yet.
    pub untold: VecDeque<Change>,
    /// Why the user's own program could not be told of alerts, the last time.
    pub hook_failed: Option<String>,
    /// What happened, newest first.
    pub activity: VecDeque<Entry>,
    /// How many lines the activity ever had.
    pub noted: u64,
    /// The newest comparison of two models.
    pub compared: Option<Compared>,
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
            help_filter: String::new(),
            typing: None,
            alert: Scroll::default(),
            entry: Scroll::default(),
            book: Book::default(),
            untold: VecDeque::new(),
            hook_failed: None,
            activity: VecDeque::new(),
            noted: 0,
            compared: None,
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
                || newest.is_some_and(|t| super::format::age(now, t) < MOVING_SECONDS)
        })
    }

    /// The moment that is shown: while the picture is held still, the one of then.
    fn present(&self) -> Timestamp {
        self.frozen.unwrap_or(self.now)
    }

    /// Seconds from then to the moment that is shown.
    pub(crate) fn age(&self, then: Timestamp) -> f64 {
        super::format::age(self.present(), then)
    }

    /// How long ago, or when: an age while the store moves, else a clock time.
    pub(crate) fn when(&self, then: Timestamp) -> String {
        if self.moving() {
            super::format::span(self.age(then))
        } else {
            self.clock(then)
        }
    }

    /// Local time of a moment to come, with its date where it is far away.
    pub(crate) fn until(&self, then: Timestamp) -> String {
        let near = super::format::age(then, self.now) < 43_200.0;
        super::format::clock(
            then,
            if near { then } else { self.now },
            &self.settings.zone,
        )
    }

    /// Local time of day.
    pub(crate) fn clock(&self, then: Timestamp) -> String {
        super::format::clock(then, self.present(), &self.settings.zone)
    }
}
