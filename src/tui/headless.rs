//! Watching without a screen: the store is scanned as the dashboard does it, and people are
//! notified of alerts in the same ways.

use std::io::{IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::runtime::hook;
use super::runtime::notify::Notifier;
use super::state::alert_history::Book;
use crate::config::Config;
use crate::health::Severity;
use crate::monitor::{Monitor, Observation, Watch, WatchMode, watch};
use crate::store::Store;

/// Changes are taken together for so long.
const TOGETHER: Duration = Duration::from_millis(250);

/// An alert that came or went.
#[derive(Debug, Clone, PartialEq)]
pub struct News {
    /// When that was seen.
    pub at: Timestamp,
    /// How bad it is; healthy where it is over.
    pub severity: Severity,
    /// The alert, in a sentence.
    pub message: String,
}

/// Scans a store again and again, and reports its alerts.
#[derive(Debug)]
pub struct Sentry {
    monitor: Monitor,
    book: Book,
    notifier: Notifier,
    watch: Option<Watch>,
    busy: Duration,
    idle: Duration,
    looked: Option<Instant>,
    rows: Option<u64>,
    moving: bool,
}

impl Sentry {
    /// A sentry that has not looked yet.
    pub fn open(store: &Store, config: &Config) -> Self {
        let busy = Duration::from_secs(config.refresh.busy_seconds);
        Self {
            monitor: Monitor::new(store.clone(), config.clone()),
            book: Book::default(),
            // Nobody looks, so nobody knows of the first alerts.
            notifier: Notifier::unread(config.notify.clone(), store.layout.root()),
            watch: watch::start(store.layout.root(), busy).ok(),
            busy,
            idle: Duration::from_secs(config.refresh.idle_seconds),
            looked: None,
            rows: None,
            moving: true,
        }
    }

    /// Watches for so long, or until somebody says stop (then true). Says what changed.
    pub fn watch(
        &mut self,
        time: Duration,
        stop: &Receiver<()>,
        mut say: impl FnMut(&News),
    ) -> bool {
        let until = Instant::now() + time;
        loop {
            if self.is_due() {
                self.look().iter().for_each(&mut say);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            if stop.recv_timeout(left.min(TOGETHER)) != Err(RecvTimeoutError::Timeout) {
                return true;
            }
        }
    }

    fn is_due(&mut self) -> bool {
        let hinted = self
            .watch
            .as_mut()
            .is_some_and(|watch| watch.hints.try_recv().is_ok());
        let since = self.looked.map(|at| at.elapsed());
        let pause = if self.moving { self.busy } else { self.idle };
        hinted || since.is_none_or(|since| since >= pause)
    }

    /// Scans once.
    fn look(&mut self) -> Vec<News> {
        self.looked = Some(Instant::now());
        let now = Timestamp::now();
        let mode = self.watch.as_ref().map_or(WatchMode::Off, Watch::mode);
        self.monitor.set_watch(mode);
        let seen = self.monitor.observe(now);
        let first = self.rows.is_none();
        let rows = Some(count(&seen));
        // Rows that stand still are looked at less often.
        self.moving = self.rows != rows;
        self.rows = rows;
        self.book.wake(now);
        let mut changes = self.book.follow(&seen);
        // A store that comes to be there is no news about an alert.
        changes.retain(|change| change.appeared || change.alert.rule != "store_missing");
        let mut news: Vec<News> = changes
            .into_iter()
            .map(|change| News {
                at: change.at,
                severity: if change.appeared {
                    change.alert.severity
                } else {
                    Severity::Healthy
                },
                message: change.alert.message,
            })
            .collect();
        if first {
            // What is there at the start is news to those who never looked.
            let there = seen.alerts.iter().map(|alert| News {
                at: now,
                severity: alert.severity,
                message: alert.message.clone(),
            });
            news = there.collect();
        }
        self.notifier.look(&self.book);
        if let Some(reported) = self.notifier.take(&self.book) {
            let mut terminal = std::io::stderr();
            if terminal.is_terminal() {
                let tmux = std::env::var_os("TMUX").is_some();
                let _ = terminal.write_all(&self.notifier.bytes(&reported, tmux));
            }
            if let Some(call) = self.notifier.hook(&reported, &self.book, now) {
                // One that hangs is killed in time.
                let failed = hook::run(&call).err();
                news.extend(failed.map(|message| News {
                    at: now,
                    severity: Severity::Warning,
                    message,
                }));
            }
        }
        news
    }
}

fn count(seen: &Observation) -> u64 {
    seen.totals.tests + seen.superseded + seen.repeated
}
