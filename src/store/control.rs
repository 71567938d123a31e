//! How long work reports its progress and learns that it was cancelled.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::error::{Error, Result};
use crate::memory;

/// How far a job is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// What is being done now, in a few words.
    pub what: String,
    /// Units done.
    pub done: u64,
    /// Units in all; 0 while unknown.
    pub total: u64,
}

/// Handed down into every long operation: a place to report to and a flag to
/// look at between two steps. Clones share both.
#[derive(Clone)]
pub struct Control {
    cancelled: Arc<AtomicBool>,
    report: Arc<dyn Fn(Progress) + Send + Sync>,
    left_out: Arc<Mutex<Vec<String>>>,
}

impl Default for Control {
    fn default() -> Self {
        Self::new(|_| {})
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control")
            .field("cancelled", &self.cancelled)
            .finish_non_exhaustive()
    }
}

impl Control {
    /// Reports to `report`, which is called from the working thread.
    pub fn new(report: impl Fn(Progress) + Send + Sync + 'static) -> Self {
        Self {
            cancelled: Arc::default(),
            report: Arc::new(report),
            left_out: Arc::default(),
        }
    }

    /// Asks the work to stop at its next safe point.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// `Err(Cancelled)` once [`Control::cancel`] was called, an error too where memory ran
    /// short: for safe points.
    pub fn check(&self) -> Result<()> {
        if memory::is_short() {
            return Err(Error::no_memory());
        }
        if self.cancelled.load(Ordering::Relaxed) {
            Err(Error::Cancelled)
        } else {
            Ok(())
        }
    }

    /// Files of the store that do not count in what was read last, a sentence each: what is
    /// wrong with which file, and what to do.
    pub fn left_out(&self) -> Vec<String> {
        let left_out = self.left_out.lock();
        left_out.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes note of them, in place of those of an earlier reading.
    pub(super) fn leave_out(&self, files: Vec<String>) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        *left_out = files;
    }

    /// Takes note of more that does not count, after the last reading.
    pub(crate) fn leave_out_also(&self, more: impl IntoIterator<Item = String>) {
        let mut left_out = self.left_out.lock().unwrap_or_else(PoisonError::into_inner);
        left_out.extend(more);
    }

    /// Says how far the work is.
    pub fn progress(&self, what: &str, done: u64, total: u64) {
        (self.report)(Progress {
            what: what.to_owned(),
            done,
            total,
        });
    }
}
