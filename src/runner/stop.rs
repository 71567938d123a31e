//! How a run is asked to end, from any thread. Every worker waits with the read end of
//! one pipe among what it polls, so that all of them wake at once and none has to look.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::process::poll;

/// How soon a run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Urgency {
    /// Nothing new is started; what runs ends by itself and is recorded.
    Drain = 1,
    /// What runs is asked to end, and killed where it doesn't.
    Interrupt,
    /// What runs is killed.
    Kill,
}

/// Asks a run to end.
#[derive(Debug)]
pub struct Stop {
    level: AtomicU8,
    wake: PipeReader,
    held: Mutex<Option<PipeWriter>>,
}

impl Stop {
    /// Not stopped yet.
    pub fn new() -> std::io::Result<Self> {
        let (wake, held) = std::io::pipe()?;
        Ok(Self {
            level: AtomicU8::new(0),
            wake,
            held: Mutex::new(Some(held)),
        })
    }

    /// Asks for the end. What was asked for more urgently before stands.
    pub fn ask(&self, urgency: Urgency) {
        self.level.fetch_max(urgency as u8, Ordering::SeqCst);
        // Closing the write end makes the read end readable for good. Draining wakes
        // nobody: whoever waits for a program waits on, the others look before they start.
        if urgency > Urgency::Drain {
            drop(
                self.held
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .take(),
            );
        }
    }

    /// Whether it was asked for, this urgently or more so.
    pub fn asked(&self, urgency: Urgency) -> bool {
        self.level.load(Ordering::SeqCst) >= urgency as u8
    }

    /// Readable once the end is more urgent than draining.
    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Sleeps until `until`; false when the run ends before that.
    pub(super) fn sleep(&self, until: Instant) -> bool {
        /// How late a sleeper may learn that the run drains.
        const LOOK: Duration = Duration::from_millis(250);
        loop {
            if self.asked(Urgency::Drain) {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let mut fds = [PollFd::from_borrowed_fd(self.wake(), PollFlags::IN)];
            // Where polling fails there is nothing to wait for but time.
            if poll(&mut fds, left.min(LOOK)).is_err() {
                std::thread::sleep(left.min(LOOK));
            }
        }
    }
}
