//! What happens to the dashboard, and what it asks to be done. Both are plain data:
//! `update` turns the one into the other, and only the event loop acts.

use std::ffi::OsString;
use std::path::PathBuf;

use crossterm::event::{KeyEvent, MouseEvent};
use jiff::{SignedDuration, Timestamp};

use crate::expr::Expr;
use crate::jobs::{Outcome, Plan, Request};
use crate::monitor::Observation;
use crate::monitor::filtered::{Condition, Filtered};
use crate::observation::Failure as FailedTest;
use crate::stats::metric::Metric;
use crate::stats::paired::Comparison;
use crate::store::Progress;
use crate::tui::state::model::{LogView, RowView, SessionList};

/// Distinguishes jobs; a result with another number than the one waited for is dropped.
pub(crate) type JobId = u64;

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) enum Message {
    /// Time went on.
    Tick(Timestamp),
    /// The clock jumped: the machine slept, or the clock was set.
    Jumped(SignedDuration),
    /// A key was pressed.
    Key(KeyEvent),
    /// The mouse did something.
    Mouse(MouseEvent),
    /// Text was pasted.
    Paste(String),
    /// The terminal has this many columns and rows.
    Resize(u16, u16),
    /// What is known of the store before the first scan has read all that waits.
    Glimpsed(Box<Observation>),
    /// How many waiting files the first scan has read.
    Read(u64),
    /// A scan of the store.
    Observed(Box<Observation>),
    /// Two models were compared, or why they can't be.
    Compared([String; 2], Result<Comparison, String>),
    /// The sessions, or why they can't be read.
    Sessions(Result<SessionList, String>),
    /// What can be measured.
    Metrics(Result<Vec<String>, String>),
    /// The row of a failed test.
    Row(Result<Box<RowView>, String>),
    /// The text of a log.
    Log(Result<LogView, String>),
    /// A program of the user's own was started, or why not.
    Started(Result<(), String>),
    /// The tests that a filter leaves, or why it can't be.
    Filtered(Condition, Result<Box<Filtered>, String>),
    /// What a job would do, or why it can't be.
    Planned(JobId, Result<Box<Plan>, String>),
    /// How far a job is.
    Progress(JobId, Progress),
    /// How the user's own program took the news of alerts.
    Notified(Result<(), String>),
    /// How a job ended.
    Finished(JobId, Result<Box<Outcome>, Failure>),
}

/// Why a job did not end well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Somebody cancelled it.
    Cancelled,
    /// One sentence: what, which file, what to do.
    Failed(String),
}

/// Something to be done outside.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Look at the store now.
    Scan,
    /// Draw everything, whatever the terminal shows.
    Repaint,
    /// The alerts changed: somebody may have to be notified.
    Alerts,
    /// Compare two models, by a metric where one is chosen, on the tests that fulfil a condition.
    Compare([String; 2], Option<Box<Metric>>, Option<Box<Expr>>),
    /// Read the tests that a filter leaves.
    Filter(Condition),
    /// List the sessions, by a metric where one is chosen.
    Sessions(Option<Box<Metric>>),
    /// Compare two sessions, by a metric where one is chosen.
    CompareSessions([String; 2], Option<Box<Metric>>),
    /// Show one session alone, or all.
    Session(Option<String>),
    /// List what can be measured.
    Metrics,
    /// Show a metric, or the success rate.
    Metric(Option<String>),
    /// Read the row of a failed test of a model.
    Row(String, Box<FailedTest>),
    /// Read a log: the file, the sample in it, which trial.
    Log(PathBuf, Option<String>, Option<i64>),
    /// Start a program of the user's own, without waiting for it.
    Start(Vec<OsString>),
    /// Copy a text through the terminal.
    Copy(String),
    /// Find out what a job would do.
    Plan(JobId, Request),
    /// Do it.
    Run(JobId, Box<Plan>),
    /// Stop a plan being made, or the running job at its next safe point.
    Cancel(JobId),
    /// Back to the shell until it continues us.
    Suspend,
    /// Leave.
    Quit,
    /// Leave for the list of stores.
    Back,
}
