//! What happens to the dashboard, and what it asks to be done. Both are plain data:
//! `update` turns the one into the other, and only the event loop acts.

use crossterm::event::{KeyEvent, MouseEvent};
use jiff::{SignedDuration, Timestamp};

use crate::jobs::{Outcome, Plan, Request};
use crate::monitor::Observation;
use crate::stats::paired::Comparison;
use crate::store::Progress;

/// Tells jobs apart; a result with another number than the one waited for is dropped.
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
    /// What is known of the store before the first look has read all that waits.
    Glimpsed(Box<Observation>),
    /// How many waiting files the first look has read.
    Read(u64),
    /// A look at the store.
    Observed(Box<Observation>),
    /// Something went wrong in the background.
    Trouble(String),
    /// Two models were compared, or why they can't be.
    Compared([String; 2], Result<Comparison, String>),
    /// What a job would do, or why it can't be.
    Planned(JobId, Result<Box<Plan>, String>),
    /// How far a job is.
    Progress(JobId, Progress),
    /// How the user's own program took the news of alerts.
    Told(Result<(), String>),
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
    /// The alerts changed: somebody may have to be told.
    Alerts,
    /// Compare two models.
    Compare([String; 2]),
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
}
