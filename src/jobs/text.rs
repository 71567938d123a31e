//! How figures stand in the sentences of plans and outcomes.

use std::time::Duration;

pub(super) use crate::config::show_counted as count;

/// "0.4 s".
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
