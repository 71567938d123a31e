//! Rules that turn an observation of the store into alerts: each a small type with
//! a name, a severity, thresholds from the config, a message that says what to do,
//! and the action that does it.

use crate::config::Thresholds;
use crate::observation::Observation;

pub use crate::observation::alert::{Alert, Remedy, Severity};

/// Applies every rule to one look at the store; the worst alert first.
pub fn check(_seen: &Observation, _thresholds: &Thresholds) -> Vec<Alert> {
    Vec::new()
}
