//! Watching and scanning a store: turns snapshots and file-system events into
//! [`Observation`]s, the plain data that `status` prints and the dashboard draws.

use std::thread;
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Config;
use crate::health;
use crate::memory;
use crate::stats::levels::{Level, Levels};
use crate::store::operations::{Followed, Operation};
use crate::store::snapshot::{Scanner, Snapshot};
use crate::store::{Control, Error, Store};
use observation::{OperationView, Reading};
use superseding::Superseding;

mod figures;
mod superseding;
#[cfg(test)]
mod tests;
pub mod watch;
mod writers;

pub use crate::observation::{self, Observation, StoreState, WatchMode};
pub use watch::Watch;

/// How often the first look is tried again while main is being written.
const TRIES: u32 = 10;
/// So many rows read or forgotten leave memory to give back.
const MUCH: u64 = 10_000;
/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(200);

/// Looks at one store again and again. What it remembers between two looks makes
/// the next one cheaper, tells what became of a writer, and stands in for what
/// can't be read at the moment: a figure is never wrong, at worst it is old, and
/// then the observation says so.
#[derive(Debug)]
pub struct Monitor {
    store: Store,
    config: Config,
    watch: WatchMode,
    scanner: Scanner,
    writers: writers::Writers,
    levels: Levels,
    superseding: Superseding,
    operations: Followed,
    last: Option<Observation>,
    /// Generation of main and rows that waited when memory was last given back.
    tidied: Option<(u64, u64)>,
}

impl Monitor {
    /// A monitor that has not looked yet. Touches nothing.
    pub fn new(store: Store, config: Config) -> Self {
        Self {
            store,
            config,
            watch: WatchMode::Off,
            scanner: Scanner::new(),
            writers: writers::Writers::default(),
            levels: Levels::default(),
            superseding: Superseding::default(),
            operations: Followed::default(),
            last: None,
            tidied: None,
        }
    }

    /// Says how changes are noticed, for the observations to come.
    pub fn set_watch(&mut self, mode: WatchMode) {
        self.watch = mode;
    }

    /// Before the first look, where that will take a while: main's figures, marked as such.
    pub fn glance(&mut self, now: Timestamp) -> Option<Observation> {
        if self.last.is_some() {
            return None;
        }
        // Why it can't be read is for the look to say.
        let mut glance = self.scanner.glance(&self.store, now).ok().flatten()?;
        let mut seen = Observation {
            at: now,
            ..Observation::default()
        };
        figures::fill(&mut seen, &mut glance.main_alone);
        seen.waiting.increments = glance.files;
        seen.waiting.increment_bytes = glance.bytes;
        seen.reading = Some(Reading {
            read: 0,
            files: glance.files,
        });
        seen.store = self.store.layout.root().to_path_buf();
        seen.watch = self.watch.clone();
        Some(seen)
    }

    /// One look. Blocks while it reads; never fails and never writes: what can't be
    /// read becomes a state or an alert.
    pub fn observe(&mut self, now: Timestamp) -> Observation {
        self.observe_telling(now, &Control::default())
    }

    /// The same, and tells how far it is.
    pub fn observe_telling(&mut self, now: Timestamp, control: &Control) -> Observation {
        let mut seen = match self.look(now, control) {
            Ok(seen) => seen,
            Err(error) => self.stand_in(&error),
        };
        let root = self.store.layout.root();
        seen.at = now;
        seen.store = root.to_path_buf();
        seen.watch = self.watch.clone();
        seen.disk = self
            .store
            .disk
            .space(root)
            .ok()
            .map(|space| (space.free, space.total));
        seen.operations = self.operations.look(&self.store).iter().map(view).collect();
        seen.alerts = health::check(&seen, &self.config.thresholds);
        self.last = Some(seen.clone());
        seen
    }

    fn look(&mut self, now: Timestamp, control: &Control) -> Result<Observation, Error> {
        self.store.check()?;
        let mut tries = 0;
        let mut snapshot = loop {
            match self.scanner.scan(&self.store, now, control) {
                // With nothing to show instead, waiting for a moment is the better answer.
                Err(error) if passing(&error) && !self.has_figures() && tries < TRIES => {
                    tries += 1;
                    thread::sleep(PAUSE);
                }
                result => break result?,
            }
        };
        self.tidy(&snapshot);
        let mut seen = Observation {
            at: now,
            ..Observation::default()
        };
        figures::fill(&mut seen, &mut snapshot);
        seen.superseded_lately =
            self.superseding
                .lately(now.as_second(), snapshot.superseded, &snapshot.superseding);
        seen.levels = self.stand(&seen);
        seen.writers = self
            .writers
            .update(&snapshot.writers, now, &self.config.thresholds);
        Ok(seen)
    }

    /// Gives memory back after a look that read or forgot much.
    fn tidy(&mut self, snapshot: &Snapshot) {
        let rows: u64 = snapshot.waiting.iter().map(|file| file.rows).sum();
        let little = |(generation, before): (u64, u64)| {
            generation == snapshot.main.generation && rows.abs_diff(before) < MUCH
        };
        if !self.tidied.is_some_and(little) {
            memory::give_back();
            self.tidied = Some((snapshot.main.generation, rows));
        }
    }

    /// How many files wait, now and before. At the start the files themselves tell when
    /// each of those that still wait began to.
    fn stand(&mut self, seen: &Observation) -> Levels {
        let now = seen.at.as_second();
        if self.levels.first().is_none() {
            let mut files: Vec<_> = seen
                .waiting
                .files
                .iter()
                .filter(|file| !file.journal)
                .collect();
            files.sort_by_key(|file| file.modified);
            let mut level = Level::default();
            for file in files
                .into_iter()
                .filter(|file| file.modified.as_second() < now)
            {
                level.files += 1;
                level.bytes += file.bytes;
                self.levels.add(file.modified.as_second(), level);
            }
        }
        let (files, bytes) = (seen.waiting.increments, seen.waiting.increment_bytes);
        self.levels.add(now, Level { files, bytes });
        self.levels.clone()
    }

    fn has_figures(&self) -> bool {
        self.last.as_ref().is_some_and(Observation::has_figures)
    }

    /// The figures of the last look that worked, and why they are old.
    fn stand_in(&self, error: &Error) -> Observation {
        let has_figures = self.has_figures();
        let mut seen = self.last.clone().unwrap_or_default();
        seen.behind = has_figures.then(|| error.to_string());
        seen.state = match error {
            Error::NoStore { .. } => StoreState::Missing,
            error if passing(error) && has_figures => StoreState::Ready,
            error => StoreState::Unreadable(error.to_string()),
        };
        // Once, not at every look while it lasts.
        if self
            .last
            .as_ref()
            .is_none_or(|last| last.state != seen.state)
        {
            tracing::warn!("the store could not be read: {error}");
        }
        seen
    }
}

fn view(operation: &Operation) -> OperationView {
    OperationView {
        at: operation.at,
        own: operation.is_own(),
        by: operation.by(),
        summary: operation.summary.clone(),
        generation: operation.generation,
        failed: operation.failed,
    }
}

/// Whether the next look may well work without anybody doing anything.
fn passing(error: &Error) -> bool {
    matches!(
        error,
        Error::InProgress { .. }
            | Error::Changed { .. }
            | Error::Unstable { .. }
            | Error::Cancelled
    ) || error.is_not_found()
}

/// A row's time; `None` beyond what a calendar holds.
fn time(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}
