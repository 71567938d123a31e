//! How many rows replaced others within the last hour. The store keeps their number
//! over its life, so scans are compared; at the first one the waiting rows say.

use std::collections::VecDeque;

/// How far back, in seconds.
const SPAN: i64 = 3_600;
/// The least time between two numbers that are kept, in seconds.
const STEP: i64 = 60;

/// The numbers of earlier scans, oldest first.
#[derive(Debug, Default)]
pub(super) struct Superseding {
    known: VecDeque<(i64, u64)>,
}

impl Superseding {
    /// Takes in the number at `now`, and when the waiting rows that replaced others were
    /// recorded (microseconds since the epoch); returns how many did in the last hour.
    pub(super) fn lately(&mut self, now: i64, all: u64, waiting: &[i64]) -> u64 {
        // A clock that was set back, or a store that was replaced: begin again.
        if self
            .known
            .back()
            .is_some_and(|(at, number)| *at > now || *number > all)
        {
            self.known.clear();
        }
        if self.known.is_empty() {
            let lately = waiting
                .iter()
                .filter(|time| **time > (now - SPAN) * 1_000_000)
                .count() as u64;
            self.known
                .push_back((now - SPAN, all.saturating_sub(lately)));
        }
        if self.known.back().is_some_and(|(at, _)| now - at >= STEP) {
            self.known.push_back((now, all));
        }
        // The newest number that is an hour old stands for the time before.
        while self.known.get(1).is_some_and(|(at, _)| *at <= now - SPAN) {
            self.known.pop_front();
        }
        self.known
            .front()
            .map_or(0, |(_, before)| all.saturating_sub(*before))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_compared_over_an_hour() {
        let mut superseding = Superseding::default();
        let now = 1_769_860_800;
        let recent = |ago: i64| (now - ago) * 1_000_000;
        // Fifty over the store's life, two of them waiting and of the last hour.
        assert_eq!(
            superseding.lately(now, 50, &[recent(10), recent(600), recent(4_000)]),
            2
        );
        assert_eq!(
            superseding.lately(now + 5, 53, &[]),
            5,
            "consolidated meanwhile"
        );
        for minute in 1..=59 {
            superseding.lately(now + minute * 60, 53, &[]);
        }
        assert_eq!(
            superseding.lately(now + 3_599, 54, &[]),
            6,
            "the first look is not an hour ago"
        );
        assert_eq!(superseding.lately(now + 3_700, 54, &[]), 1);
        assert_eq!(superseding.lately(now + 9_000, 54, &[]), 0);
        assert!(superseding.known.len() < 65, "{}", superseding.known.len());
    }

    #[test]
    fn another_store_or_clock_begins_anew() {
        let mut superseding = Superseding::default();
        assert_eq!(superseding.lately(10_000, 50, &[]), 0);
        assert_eq!(superseding.lately(10_060, 3, &[]), 0);
        assert_eq!(superseding.lately(9_000, 9, &[]), 0);
        assert_eq!(superseding.lately(9_060, 10, &[]), 1);
    }
}
