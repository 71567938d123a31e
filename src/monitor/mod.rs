//! Watching and scanning a store: turns snapshots and file-system events into
//! [`Observation`]s, the plain data that `status` prints and the dashboard draws.

use std::thread;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::config::Config;
use crate::health;
use crate::memory;
use crate::observation::{OperationView, Reading, SourceView, WriterState, WriterView, ZoneFrom};
use crate::stats::levels::{Level, Levels};
use crate::store::aggregate::LAST_ROWS;
use crate::store::format::session_note::SessionNote;
use crate::store::maintain::operations::{Followed, Operation};
use crate::store::read::query::Filter;
use crate::store::read::snapshot::{FileState, Scanner, Snapshot};
use crate::store::write::{session_notes, source_notes};
use crate::store::{Control, Error, Store};
use superseding::Superseding;

mod figures;
pub mod filtered;
mod marks;
mod metric;
mod misnamed;
mod narrow;
mod session;
mod settled;
mod spending;
mod superseding;
#[cfg(test)]
mod tests;
pub mod watch;
mod writers;

pub use crate::observation::{Observation, StoreState, WatchMode};
pub use watch::Watch;

/// How often the first scan is tried again while main is being written.
const TRIES: u32 = 10;
/// So many tests say how long a model's tests usually take.
const KNOWN_TIMES: u64 = 20;
/// So many rows read or forgotten leave memory to give back.
const MUCH: u64 = 10_000;
/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(200);
/// So long a scan waits for files that are rewritten in place.
const REWRITTEN: Duration = Duration::from_secs(1);
/// The time between two scans meanwhile.
const BETWEEN: Duration = Duration::from_millis(40);
/// So long figures of an earlier scan stand in for a file that is still being rewritten.
const STANDING_IN: SignedDuration = SignedDuration::from_secs(15);

/// Looks at one store again and again. What it remembers between two scans makes
/// the next one cheaper, says what became of a writer, and stands in for what
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
    derived: spending::Derived,
    /// The only session whose tests are shown.
    narrow: Option<narrow::Narrow>,
    /// The metric instead of the success rate.
    chosen: Option<metric::Chosen>,
    /// The score, where nothing is judged and nobody chose.
    score: Option<metric::Chosen>,
    settled: settled::Settled,
    marks: marks::Marks,
    misnamed: misnamed::Misnamed,
    operations: Followed,
    last: Option<Observation>,
    /// When every file could be read.
    whole: Option<Timestamp>,
    /// The last scan failed because files, threads or memory ran out.
    exhausted: bool,
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
            derived: spending::Derived::default(),
            narrow: None,
            chosen: None,
            score: None,
            settled: settled::Settled::default(),
            marks: marks::Marks::default(),
            misnamed: misnamed::Misnamed::default(),
            operations: Followed::default(),
            last: None,
            whole: None,
            exhausted: false,
            tidied: None,
        }
    }

    /// A monitor that knows nothing but the last picture, to stand in where the next scan fails.
    pub fn after(store: Store, config: Config, last: Option<Observation>) -> Self {
        Self {
            last,
            ..Self::new(store, config)
        }
    }

    /// Says how changes are noticed, for the observations to come.
    pub fn set_watch(&mut self, mode: WatchMode) {
        self.watch = mode;
    }

    /// Shows the tests of one session alone from the next scan on, or all again.
    pub fn set_session(&mut self, session: Option<String>) {
        if self.narrow.as_ref().map(narrow::Narrow::session) != session.as_deref() {
            self.narrow = session.map(narrow::Narrow::new);
            self.derived = spending::Derived::default();
            self.score = None;
            let metric = self.chosen.take();
            self.set_metric(metric.map(|own| own.name().to_owned()));
        }
    }

    /// Shows the mean of a column or expression from the next scan on, or success again.
    pub fn set_metric(&mut self, metric: Option<String>) {
        if self.chosen.as_ref().map(metric::Chosen::name) != metric.as_deref() {
            let metric = metric.map(|name| self.config.metric(&name));
            self.chosen = metric.map(metric::Chosen::new);
        }
    }

    /// Before the first scan, where that will take a while: main's figures, marked as such.
    pub fn glance(&mut self, now: Timestamp) -> Option<Observation> {
        if self.last.is_some() {
            return None;
        }
        // Why it can't be read is for the scan to say.
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
        seen.store = self.store.layout.name().to_path_buf();
        seen.watch = self.watch.clone();
        Some(seen)
    }

    /// One scan. Blocks while it reads; never fails and never writes: what can't be
    /// read becomes a state or an alert.
    pub fn observe(&mut self, now: Timestamp) -> Observation {
        self.observe_with(now, &Control::default())
    }

    /// The same, and says how far it is.
    pub fn observe_with(&mut self, now: Timestamp, control: &Control) -> Observation {
        self.exhausted = false;
        let seen = match self.look(now, control) {
            Ok(seen) => seen,
            Err(error) => self.stand_in(&error),
        };
        self.complete(seen, now)
    }

    /// Whether the last scan failed because files, threads or memory ran out, so that it says
    /// nothing about the store.
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }

    /// What a scan that failed for this reason leaves to be seen.
    pub fn failed(&mut self, now: Timestamp, error: &Error) -> Observation {
        let seen = self.stand_in(error);
        self.complete(seen, now)
    }

    fn complete(&mut self, mut seen: Observation, now: Timestamp) -> Observation {
        let root = self.store.layout.root();
        seen.at = now;
        seen.store = self.store.layout.name().to_path_buf();
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
        let mut snapshot = self.scan(now, control)?;
        let began = Instant::now();
        let mut missing = None;
        while let Some(name) = self.rewritten(&snapshot) {
            control.check()?;
            if began.elapsed() >= REWRITTEN {
                if let Some(seen) = self.meanwhile(&name, now) {
                    return Ok(seen);
                }
                missing = Some(name);
                break;
            }
            thread::sleep(BETWEEN);
            snapshot = self.scan(now, control)?;
        }
        self.whole = Some(now);
        self.tidy(&snapshot);
        let mut seen = Observation {
            at: now,
            ..Observation::default()
        };
        figures::fill(&mut seen, &mut snapshot);
        seen.notes.extend(missing.map(|name| {
            format!("{name} is being written again and again: its rows don't count until a look finds it whole")
        }));
        if self.config.time_zone.is_some() && seen.zone.from == ZoneFrom::Machine {
            seen.zone.from = ZoneFrom::Settings;
        }
        seen.superseded_lately =
            self.superseding
                .lately(now.as_second(), snapshot.superseded, &snapshot.superseding);
        seen.levels = self.stand(&seen);
        let usual = |model: &str| {
            let times = &snapshot.models.get(model)?.times;
            (times.n() >= KNOWN_TIMES).then(|| times.quantile(0.95))?
        };
        let limits = &self.config.thresholds;
        let mut writers = self.writers.update(&snapshot.writers, now, limits, &usual);
        let rows = seen.totals.tests + seen.superseded + seen.repeated;
        self.settled.look(&self.store, &mut writers, rows, control);
        let session = |notes: &[SessionNote]| session::session(&writers, notes);
        let found = session_notes::with(&self.store, session);
        seen.session = found.unwrap_or_else(|_| session(&[]));
        writers.retain(|writer| writers::stays(writer, now));
        seen.writers = writers;
        seen.misnamed = self.misnamed.look(&self.store.layout);
        seen.throttled = session::throttled(&snapshot.writers, now);
        self.marks.fill(&mut seen);
        let notes = source_notes::all(&self.store).unwrap_or_default();
        seen.sources = notes
            .into_iter()
            .map(|note| SourceView {
                stale: note.is_stale(now),
                name: note.name,
                at: note.at,
                error: note.error,
                rows: note.rows,
            })
            .collect();
        pace(&mut seen, &snapshot, now);
        let mut filter = Filter::default();
        if let Some(narrow) = &mut self.narrow {
            narrow.fill(&mut seen, &self.store, control)?;
            filter = narrow::filter(narrow.session())?;
        }
        self.derived
            .fill(&mut seen, (&self.store, &filter), &self.config, control);
        if let Some(chosen) = &mut self.chosen {
            chosen.fill(&mut seen, &self.store, &filter, control);
        } else if seen.totals.tests > 0 && seen.totals.judged() == 0 {
            let score = || metric::Chosen::new(self.config.metric("score"));
            let score = self.score.get_or_insert_with(score);
            score.fill_known(&mut seen, &self.store, &filter, control);
        } else {
            self.score = None;
        }
        Ok(seen)
    }

    fn scan(&mut self, now: Timestamp, control: &Control) -> Result<Snapshot, Error> {
        let mut tries = 0;
        loop {
            match self.scanner.scan(&self.store, now, control) {
                // With nothing to show instead, waiting for a moment is the better answer.
                Err(error) if passing(&error) && !self.has_figures() && tries < TRIES => {
                    tries += 1;
                    thread::sleep(PAUSE);
                }
                result => return result,
            }
        }
    }

    /// A file that other code is writing at the moment and whose rows counted in the last
    /// look; at the first scan any such file, as its rows may have been there before.
    fn rewritten(&self, snapshot: &Snapshot) -> Option<String> {
        let mut unfinished = snapshot
            .waiting
            .iter()
            .filter(|file| file.state == FileState::InProgress);
        let last = self.last.as_ref().filter(|last| last.has_figures());
        let counted = |name: &str| {
            last.is_none_or(|last| {
                let mut files = last.waiting.files.iter();
                files.any(|file| file.name == name && file.rows > 0)
            })
        };
        unfinished
            .find(|file| counted(&file.name))
            .map(|file| file.name.clone())
    }

    /// The figures of the last scan, while a file is being rewritten.
    fn meanwhile(&mut self, name: &str, now: Timestamp) -> Option<Observation> {
        let last = self.last.as_ref().filter(|last| last.has_figures())?;
        let since = self.whole.unwrap_or(now);
        if now.duration_since(since).abs() > STANDING_IN {
            return None;
        }
        let mut seen = last.clone();
        seen.behind = Some(format!("{name} is being rewritten"));
        seen.exhausted = false;
        Some(seen)
    }

    /// Gives memory back after a scan that read or forgot much.
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

    /// How many files wait, now and before. At the start the files themselves say when
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

    /// The figures of the last scan that worked, and why they are old.
    fn stand_in(&mut self, error: &Error) -> Observation {
        self.exhausted = error.is_exhausted();
        let has_figures = self.has_figures();
        let mut seen = self.last.clone().unwrap_or_default();
        seen.exhausted = self.exhausted && has_figures;
        seen.behind = has_figures.then(|| error.to_string());
        seen.state = match error {
            Error::NoStore { .. } => StoreState::Missing,
            error if (passing(error) || self.exhausted) && has_figures => StoreState::Ready,
            error => StoreState::Unreadable(error.to_string()),
        };
        // Once, not at every scan while it lasts.
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

/// Whether the next scan may well work without anybody doing anything.
fn passing(error: &Error) -> bool {
    matches!(
        error,
        Error::InProgress { .. }
            | Error::Changed { .. }
            | Error::Unstable { .. }
            | Error::Cancelled
    ) || error.is_not_found()
}

/// Rows a minute now: none where nobody writes any more. The models share it as they shared
/// the last minutes.
fn pace(seen: &mut Observation, snapshot: &Snapshot, now: Timestamp) {
    let writes =
        |writer: &WriterView| writer.state.is_open() || writer.state == WriterState::Unknown;
    let over = !seen.writers.is_empty() && !seen.writers.iter().any(writes);
    let before: f64 = seen.models.iter().map(|model| model.per_minute).sum();
    // Rows that name no process are known by the minute only.
    let known = snapshot.times.iter().any(|times| !times.is_empty());
    if over {
        seen.per_minute = 0.0;
    } else if known {
        seen.per_minute = session::per_minute(&snapshot.times, LAST_ROWS, now);
    }
    let share = if before > 0.0 {
        seen.per_minute / before
    } else {
        0.0
    };
    for model in &mut seen.models {
        model.per_minute *= share;
    }
}

/// A row's time; `None` beyond what a calendar holds.
fn time(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}
