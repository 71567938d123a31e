//! What is known of one model beyond its tally: bounded, and filled from the store, so
//! that a restart shows the run so far.

use std::sync::Arc;

use jiff::Timestamp;

use crate::stats::history::History;
use crate::stats::spread::Spread;
use crate::stats::{Cell, ErrorCategory};

/// A model's tests over time, how long they took, and its last failures.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Detail {
    /// Its tests over time, every attempt.
    pub history: Arc<History>,
    /// How long they took, in seconds.
    pub times: Spread,
    /// Its last failures, newest first.
    pub failures: Vec<Failure>,
}

/// A test that did not succeed, not even in part.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// When it ended.
    pub at: Option<Timestamp>,
    /// What went wrong.
    pub category: Option<ErrorCategory>,
    /// The beginning of what its runner said; sanitise before drawing.
    pub message: String,
    /// Its id, or nothing; sanitise before drawing.
    pub test_id: String,
    /// What was tested.
    pub cell: Cell,
}
