//! When to look at the store: soon after a hint, every few seconds while rows arrive,
//! seldom while nothing happens. Looks take at most a fifth of the time.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two looks.
const LEAST: Duration = Duration::from_millis(250);
/// Rows arrive while the last new one was seen within this time.
const BUSY_FOR: Duration = Duration::from_secs(60);
/// Pause after a look, in multiples of its length.
const REST: u32 = 4;
/// The longest such pause.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// When the next look is due.
#[derive(Debug)]
pub(crate) struct Pace {
    busy: Duration,
    idle: Duration,
    started: Option<Instant>,
    ended: Option<Instant>,
    length: Duration,
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
            length: Duration::ZERO,
            rows: 0,
            moved: None,
            hinted: true,
        }
    }

    /// Something may have changed.
    pub(crate) fn hint(&mut self) {
        self.hinted = true;
    }

    /// A look began: what changes from now on asks for another one.
    pub(crate) fn started(&mut self) {
        self.started = Some(Instant::now());
        self.hinted = false;
    }

    /// A look ended and saw this many rows.
    pub(crate) fn ended(&mut self, rows: u64) {
        let now = Instant::now();
        self.length = self.started.take().map_or(Duration::ZERO, |at| now - at);
        if self.ended.is_some() && rows != self.rows {
            self.moved = Some(now);
        }
        self.rows = rows;
        self.ended = Some(now);
    }

    /// When the next look is due; `None` while one is under way.
    pub(crate) fn due(&self) -> Option<Instant> {
        if self.started.is_some() {
            return None;
        }
        let Some(ended) = self.ended else { return Some(Instant::now()) };
        let rest = (self.length * REST).clamp(LEAST, LONGEST_REST);
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
        assert_eq!(pace.due(), Some(start + LEAST));
        pace.started();
        pace.ended(11);
        assert_eq!(pace.due(), Some(start + Duration::from_secs(5)), "rows arrive");
        tokio::time::advance(BUSY_FOR).await;
        pace.started();
        pace.ended(11);
        assert_eq!(pace.due(), Some(start + BUSY_FOR + Duration::from_secs(60)), "and no more");
    }

    #[tokio::test(start_paused = true)]
    async fn long_looks_leave_the_machine_alone() {
        let mut pace = Pace::new(5, 60);
        pace.started();
        tokio::time::advance(Duration::from_secs(3)).await;
        pace.hint();
        pace.ended(1);
        assert_eq!(pace.due(), Some(Instant::now() + Duration::from_secs(12)));
    }
}
