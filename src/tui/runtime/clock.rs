//! Notices that the wall clock jumped: the machine slept, or somebody set the clock.
//! What was seen before is old then, so the store is looked at again.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// A smaller difference is the ordinary correction of a clock.
const JUMP: SignedDuration = SignedDuration::from_secs(30);

/// The wall clock next to one that only runs on.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: Option<(Duration, Timestamp)>,
}

impl Clock {
    /// Takes in both clocks; by how much the wall clock jumped since the last time, if it did.
    pub(crate) fn jumped(&mut self, running: Duration, wall: Timestamp) -> Option<SignedDuration> {
        let (before, then) = self.last.replace((running, wall))?;
        let passed = SignedDuration::try_from(running.saturating_sub(before)).ok()?;
        let jump = wall.duration_since(then).saturating_sub(passed);
        (jump.abs() >= JUMP).then_some(jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::state::fixture::now;

    #[test]
    fn distinguishes_sleep_and_set_clocks_from_time_going_on() {
        let mut clock = Clock::default();
        let at = |s: i64| now() + SignedDuration::from_secs(s);
        let steps = [
            (0, 0, None),
            (3_600, 3_600, None),
            (3_601, 3_611, None),
            (3_602, 3_611 + 7_201, Some(7_200)),
            (3_700, 3_611 + 7_299, None),
            (3_701, 100, Some(100 - 3_611 - 7_300)),
        ];
        for (running, wall, jump) in steps {
            let jumped = clock.jumped(Duration::from_secs(running), at(wall));
            assert_eq!(jumped, jump.map(SignedDuration::from_secs), "{running}");
        }
    }
}
