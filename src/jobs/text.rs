//! How figures stand in the sentences of plans and outcomes.

use std::time::Duration;

use crate::config::show_count;

/// "1 file", "2,013 files".
pub(super) fn count(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", show_count(n), if n == 1 { "" } else { "s" })
}

/// "0.4 s".
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.1} s", duration.as_secs_f64())
}
