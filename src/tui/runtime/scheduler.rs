//! When to look at the store: soon after a hint, every few seconds while rows arrive,
//! seldom while nothing happens. Looks take at most a fifth of the time.

use std::time::Duration;

use tokio::time::Instant;

/// The time between two scans of which the first may have come a moment too early. It doubles
/// while looks follow each other…
const SOON: Duration = Duration::from_millis(20);
/// …up to this.
const LEAST: Duration = Duration::from_millis(250);
/// After so long without a scan the next ones come soon again.
const CALM: Duration = Duration::from_millis(300);
/// Rows arrive while the last new one was seen within this time.
const BUSY_FOR: Duration = Duration::from_secs(60);
/// Pause after a scan, in multiples of its length.
const REST: u32 = 4;
/// The longest such pause.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// When the next scan is due.
#[derive(Debug)]
pub(crate) struct Pace {
    busy: Duration,
    idle: Duration,
    started: Option<Instant>,
    ended: Option<Instant>,
    /// Lengths of the last scans: a single long one, that read everything, says little of the next.
    lengths: [Duration; 2],
    /// The least time until the next one.
    least: Duration,
    rows: u64,
    moved: Option<Instant>,
    hinted: bool,
}

impl Pace {
    /// Scans every `busy` seconds while rows arrive, else every `idle` seconds.
    pub(crate) fn new(busy: u64, idle: u64) -> Self {
        Self {
            busy: Duration::from_secs(busy.max(1)),
            idle: Duration::from_secs(idle.max(1)),
            started: None,
            ended: None,
            lengths: [Duration::ZERO; 2],
            least: SOON,
            rows: 0,
            moved: None,
            hinted: true,
        }
    }

    /// Something may have changed.
    pub(crate) fn hint(&mut self) {
        self.hinted = true;
    }

    /// A scan began: what changes from now on asks for another one.
    pub(crate) fn started(&mut self) {
        let now = Instant::now();
        let calm = self.ended.is_none_or(|ended| now - ended >= CALM);
        self.least = if calm {
            SOON
        } else {
            (2 * self.least).min(LEAST)
        };
        self.started = Some(now);
        self.hinted = false;
    }

    /// A scan ended and saw this many rows.
    pub(crate) fn ended(&mut self, rows: u64) {
        let now = Instant::now();
        let length = self.started.take().map_or(Duration::ZERO, |at| now - at);
        let [_, before] = self.lengths;
        self.lengths = [before, length];
        if self.ended.is_some() && rows != self.rows {
            self.moved = Some(now);
        }
        self.rows = rows;
        self.ended = Some(now);
    }

    /// The last scan failed: it is tried again as often as while rows arrive.
    pub(crate) fn retry(&mut self) {
        self.moved = Some(Instant::now());
    }

    /// When the next scan is due; `None` while one is under way.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.started.is_some() {
            return None;
        }
        let Some(ended) = self.ended else {
            return Some(Instant::now());
        };
        let [before, last] = self.lengths;
        let rest = (before.min(last) * REST).clamp(self.least, LONGEST_REST);
        if self.hinted {
            return Some(ended + rest);
        }
        let busy = self.moved.is_some_and(|at| at.elapsed() < BUSY_FOR);
        Some(ended + rest.max(if busy { self.busy } else { self.idle }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn looks_at_once_then_seldom_then_often_while_rows_arrive() {
        let mut pace = Pace::new(5, 60);
        let start = Instant::now();
        assert_eq!(pace.due(), Some(start));
        pace.started();
        assert_eq!(pace.due(), None, "one at a time");
        pace.ended(10);
        assert_eq!(pace.due(), Some(start + Duration::from_secs(60)));
        pace.hint();
        assert_eq!(pace.due(), Some(start + SOON));
        pace.started();
        pace.ended(11);
        assert_eq!(
            pace.due(),
            Some(start + Duration::from_secs(5)),
            "rows arrive"
        );
        tokio::time::advance(BUSY_FOR).await;
        pace.started();
        pace.ended(11);
        assert_eq!(
            pace.due(),
            Some(start + BUSY_FOR + Duration::from_secs(60)),
            "and no more"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_failed_is_tried_again_soon() {
        let mut pace = Pace::new(5, 60);
        for _ in 0..3 {
            pace.started();
            pace.ended(0);
            pace.retry();
            assert_eq!(pace.due(), Some(Instant::now() + Duration::from_secs(5)));
            tokio::time::advance(BUSY_FOR).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn long_looks_leave_the_machine_alone() {
        let mut pace = Pace::new(5, 60);
        for rest in [SOON, Duration::from_secs(12)] {
            pace.started();
            tokio::time::advance(Duration::from_secs(3)).await;
            pace.hint();
            pace.ended(1);
            assert_eq!(
                pace.due(),
                Some(Instant::now() + rest),
                "one that is long says nothing, two do"
            );
            tokio::time::advance(rest).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_stops_changing_is_looked_at_four_times_a_second() {
        let mut pace = Pace::new(5, 60);
        let mut rests = Vec::new();
        for _ in 0..7 {
            pace.started();
            pace.ended(1);
            pace.hint();
            let rest = pace.due().unwrap() - Instant::now();
            rests.push(rest.as_millis());
            tokio::time::advance(rest).await;
        }
        assert_eq!(rests, [20, 40, 80, 160, 250, 250, 250]);
        tokio::time::advance(CALM).await;
        pace.started();
        pace.ended(1);
        pace.hint();
        assert_eq!(
            pace.due(),
            Some(Instant::now() + SOON),
            "quiet for a moment"
        );
    }
}
