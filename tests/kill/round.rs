//! One round: a new store, everything at once, a killer, and the reckoning.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use evaltop::internals::store::format::layout;
use evaltop::internals::store::format::layout::IncrementalName;

use crate::drive::{self, Round, evaltop};
use crate::ledger::Ledger;
use crate::look;
use crate::mounting::{Mount, bindfs, sshfs};
use crate::random::Random;
use crate::settings::Settings;
use crate::slot::{Kind, Slot};
use crate::support::python;
use crate::view::View;

/// What happened.
#[derive(Debug, Default)]
pub struct Report {
    pub rounds: u64,
    killed: BTreeMap<Kind, u64>,
    restarts: u64,
    pub rows: u64,
    pub views: u64,
    unsettled: BTreeMap<String, u64>,
    pub commits: u64,
    deleted: u64,
    torn: u64,
    pub violations: Vec<String>,
}

impl Report {
    pub fn kills(&self) -> u64 {
        self.killed.values().sum()
    }

    pub fn add(&mut self, other: Self) {
        self.rounds += other.rounds;
        other
            .killed
            .into_iter()
            .for_each(|(kind, kills)| *self.killed.entry(kind).or_default() += kills);
        self.restarts += other.restarts;
        self.rows += other.rows;
        self.views += other.views;
        other
            .unsettled
            .into_iter()
            .for_each(|(who, times)| *self.unsettled.entry(who).or_default() += times);
        self.commits += other.commits;
        self.deleted += other.deleted;
        self.torn += other.torn;
        self.violations.extend(other.violations);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let killed: Vec<_> = self
            .killed
            .iter()
            .map(|(kind, kills)| format!("{kills} {kind:?}"))
            .collect();
        let unsettled: Vec<_> = self
            .unsettled
            .iter()
            .map(|(who, times)| format!(" {times} {who}"))
            .collect();
        write!(
            f,
            "{} kills ({}), {} restarts, {} rows, {} commits, {} views (gave up:{}), \
             {} increments deleted by others, {} torn by their legacy writers, {} violations",
            self.kills(),
            killed.join(", ").to_lowercase(),
            self.restarts,
            self.rows,
            self.commits,
            self.views,
            if unsettled.is_empty() {
                " none".to_owned()
            } else {
                unsettled.join(",")
            },
            self.deleted,
            self.torn,
            self.violations.len(),
        )
    }
}

/// What the writers and the consolidators see the store through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind {
    Bindfs,
    Sshfs,
}

/// Two mounts of a folder; `None`, said loudly, where nothing can be mounted.
fn mounts(behind: Behind, folder: &Path) -> Option<[Mount; 2]> {
    let mount = |name: &str| {
        let at = folder.join(name);
        std::fs::create_dir(&at).unwrap();
        match behind {
            Behind::Bindfs => bindfs(&folder.join("disk"), &at),
            Behind::Sshfs => sshfs(&folder.join("disk"), &at),
        }
    };
    Some([mount("here")?, mount("there")?])
}

/// Runs a round of this length.
pub fn run(settings: &Settings, length: Duration, number: u64, behind: Option<Behind>) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("disk").join("store");
    std::fs::create_dir_all(dir.join("incremental")).unwrap();
    let mounts = match behind.map(|behind| mounts(behind, folder.path())) {
        Some(None) => return Report::default(),
        mounts => mounts.flatten(),
    };
    let through = |at: usize| {
        let mount = mounts
            .as_ref()
            .map(|mounts| mounts[at].path().join("store"));
        mount.unwrap_or_else(|| dir.clone())
    };
    let round = Round {
        writers: through(0),
        consolidators: through(1),
        behind,
        dir,
        ledger: Ledger::default(),
        python: python(),
        pause: 20 * settings.writers as u64,
        seed: settings.seed ^ (number << 32),
        stop: AtomicBool::new(false),
        views: AtomicU64::new(0),
        unsettled: Mutex::default(),
        deleted: AtomicU64::new(0),
    };
    let slots = slots(settings, behind.is_some());
    all_at_once(&round, &slots, length);
    let mut report = Report {
        rounds: 1,
        ..Report::default()
    };
    reckon(&round, &mut report);
    for slot in slots.iter().map(|(slot, _)| slot) {
        *report.killed.entry(slot.kind).or_default() += slot.kills.load(Ordering::Relaxed);
        report.restarts += slot.starts.load(Ordering::Relaxed).saturating_sub(1);
    }
    report.views += round.views.load(Ordering::Relaxed);
    report.unsettled = std::mem::take(&mut *round.unsettled.lock().unwrap());
    report.deleted = round.deleted.load(Ordering::Relaxed);
    report.violations = round.ledger.violations();
    if !report.violations.is_empty() {
        report
            .violations
            .push(format!("the store stays in {}", folder.keep().display()));
    }
    report
}

/// All slots, each with its number among those of its kind.
fn slots(settings: &Settings, mounted: bool) -> Vec<(Slot, usize)> {
    let of = |kind, count| (0..count).map(move |number| (Slot::new(kind), number));
    // Where nobody sees a lock, one process at a time consolidates.
    let (legacy, consolidators, others) = if mounted {
        (0, 1, 0)
    } else {
        (7 * settings.legacy(), 2, 1)
    };
    of(Kind::Writer, settings.writers)
        .chain(of(Kind::Legacy, legacy))
        .chain(of(Kind::Consolidate, consolidators))
        .chain(of(Kind::Maintain, others))
        .chain(of(Kind::Reader, 3))
        .collect()
}

fn all_at_once(round: &Round, slots: &[(Slot, usize)], length: Duration) {
    thread::scope(|scope| {
        for (slot, number) in slots {
            scope.spawn(move || match slot.kind {
                Kind::Writer | Kind::Legacy => drive::add(round, slot, *number),
                Kind::Consolidate | Kind::Maintain => drive::maintain(round, slot, *number),
                Kind::Reader if *number == 2 => drive::query(round, slot),
                Kind::Reader => drive::read(round, slot, *number),
            });
        }
        // Through sshfs a file that another machine has removed seems to be there for a while.
        if round.behind != Some(Behind::Sshfs) {
            scope.spawn(move || drive::delete(round));
        }
        kill_some(round, slots, length);
        round.stop.store(true, Ordering::Relaxed);
    });
}

/// Kills one after another, and lets some be slow.
fn kill_some(round: &Round, slots: &[(Slot, usize)], length: Duration) {
    let mut random = Random::new(round.seed, 0);
    let begun = Instant::now();
    while begun.elapsed() < length {
        thread::sleep(random.millis(120));
        let kind = match random.below(20) {
            0..7 => Kind::Writer,
            7..10 => Kind::Legacy,
            10..16 => Kind::Consolidate,
            16..18 => Kind::Maintain,
            _ => Kind::Reader,
        };
        let of_kind: Vec<&Slot> = slots
            .iter()
            .map(|(slot, _)| slot)
            .filter(|slot| slot.kind == kind)
            .collect();
        if of_kind.is_empty() {
            continue;
        }
        let victim = of_kind[random.below(of_kind.len() as u64) as usize];
        if random.one_in(8) {
            victim.hold(random.millis(300));
        } else {
            victim.kill();
        }
    }
}

/// Nobody writes any more: what does the store hold?
fn reckon(round: &Round, report: &mut Report) {
    let (dir, ledger) = (&round.dir, &round.ledger);
    report.torn = remove_torn(dir);
    let floors = ledger.last_floors();
    let mut look = |who: &str, view: View| {
        ledger.check(who, &view, &floors);
        report.views += 1;
        view
    };
    let before = look("the last reader", look::rows(dir).unwrap());
    look("the last scan", look::Scans::new(dir).next().unwrap());
    // For a day where locks prove nothing: then a journal is a dead writer's.
    let hours = if round.behind.is_some() { 25 } else { 1 };
    age(dir, hours * 3_600);
    for _ in 0..2 {
        let (code, said) = evaltop(&["consolidate"], dir);
        if code != Some(0) {
            ledger.violation(format!("the last consolidate ended with {code:?}: {said}"));
        }
    }
    look("a reader after it", look::rows(dir).unwrap());
    let main = look("main", look::file(&dir.join(layout::MAIN)).unwrap());
    if main != before {
        ledger.violation("main holds other rows than the last reader saw".to_owned());
    }
    let left = || -> Vec<String> {
        let left = files(dir).into_iter();
        left.map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    // What killed writers left half written goes with the next commit; after the last one, by cleanup.
    let data: Vec<String> = left()
        .into_iter()
        .filter(|name| !layout::is_temporary(name))
        .collect();
    if !data.is_empty() {
        ledger.violation(format!("files are left: {data:?}"));
    }
    let (code, said) = evaltop(&["cleanup", "--yes"], dir);
    if code != Some(0) || !left().is_empty() {
        ledger.violation(format!(
            "the last cleanup ended with {code:?} and left {:?}: {said}",
            left()
        ));
    }
    let (code, said) = evaltop(&["validate"], dir);
    if code != Some(0) {
        ledger.violation(format!("validate ends with {code:?}: {said}"));
    }
    report.rows = main.rows();
    let store = evaltop::internals::store::Store::new(dir);
    let record = evaltop::internals::store::commit::log::newest_done(&store).unwrap();
    report.commits = record.map_or(0, |record| record.generation);
}

/// Removes what killed legacy writers tore or left half written: nobody else's rows.
fn remove_torn(dir: &Path) -> u64 {
    let mut torn = 0;
    for path in files(dir) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let legacy = layout::classify(&name) == IncrementalName::LegacyIncrement;
        let is_torn = legacy && look::file(&path).is_err();
        torn += u64::from(is_torn);
        if is_torn || name.ends_with(".parquet.new") {
            std::fs::remove_file(path).unwrap();
        }
    }
    torn
}

/// Lets every increment look as if it had rested for long, so that consolidate need
/// not wait for their writers.
fn age(dir: &Path, seconds: u64) {
    let then = SystemTime::now() - Duration::from_secs(seconds);
    for path in files(dir) {
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(then).unwrap();
    }
}

/// What lies in `incremental/` itself; what commits took in lies in folders below.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("incremental")).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| !path.is_dir()).collect()
}
