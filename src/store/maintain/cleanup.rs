//! Removes what nobody needs: consumed files that a crash left behind, temporary
//! files of dead processes, backups beyond a number, old quarantine.
//!
//! Promises: a row that is not in main is never removed, however old its file,
//! unless the caller says so; exactly the planned files are removed, and of those
//! only the ones that are still what the plan saw and whose rows main still contains.

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::backup;
use crate::stats::collections::ByName;
use crate::store::Store;
use crate::store::aggregate::key_index;
use crate::store::commit::folders::{is_finished, outdated};
use crate::store::commit::log;
use crate::store::commit::recover::is_abandoned;
use crate::store::commit::summaries::unneeded;
use crate::store::control::Control;
use crate::store::disk;
use crate::store::disk::lock::StoreLock;
use crate::store::disk::{Entry, Lock, Stat, lock_of};
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::{CommitRecord, Consumed, consumed_bytes};
use crate::store::format::layout;
use crate::store::format::layout::IncrementalName;
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot::retrying;

/// A temporary file younger than this may belong to a process that has not locked it yet.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// What may go.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Files that came into quarantine longer ago than this.
    pub older_than: SignedDuration,
    /// Backups that stay, newest first.
    pub keep: usize,
    /// Also waiting files older than `older_than`, whose rows are not in main: results are lost.
    pub include_unconsolidated: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            older_than: SignedDuration::from_hours(7 * 24),
            keep: 5,
            include_unconsolidated: false,
        }
    }
}

/// Why a file may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Main contains its rows.
    Consumed,
    /// Its process is gone.
    StaleTemporary,
    /// There are enough newer backups.
    OldBackup,
    /// Summary rows that no main and no backup counts.
    OldSummaries,
    /// It has been in quarantine for long.
    OldQuarantine,
    /// The caller wants its rows gone although main does not contain them.
    Unconsolidated,
}

impl Reason {
    /// For people and scripts.
    pub fn text(self) -> &'static str {
        match self {
            Self::Consumed => "its rows are in main",
            Self::StaleTemporary => "left by a process that ended",
            Self::OldBackup => "older than the backups to keep",
            Self::OldSummaries => "neither main nor a backup names it",
            Self::OldQuarantine => "long in quarantine",
            Self::Unconsolidated => "NOT in main: its results would be lost",
        }
    }
}

/// A file that would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Its folder.
    pub folder: PathBuf,
    /// Its name.
    pub name: String,
    /// What it was when the plan was made.
    pub stat: Stat,
    /// Why it may go.
    pub reason: Reason,
}

/// The files that would go, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// In the order of the folders.
    pub items: Vec<Item>,
}

impl Plan {
    /// Their size.
    pub fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.stat.bytes).sum()
    }
}

/// What went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Files removed.
    pub removed: Vec<PathBuf>,
    /// Their size.
    pub bytes: u64,
    /// Files that changed after the plan was made, and stayed.
    pub kept: Vec<PathBuf>,
    /// Files that are still there because somebody cancelled.
    pub left: u64,
}

/// Says what would go. Changes nothing.
pub fn plan(store: &Store, options: &Options, now: Timestamp) -> Result<Plan> {
    // What vanishes meanwhile is looked for again.
    retrying(store, || look(store, options, now))
}

fn look(store: &Store, options: &Options, now: Timestamp) -> Result<Plan> {
    let last = last_commit(store)?;
    let mut plan = Plan::default();
    let planner = Planner {
        store,
        options,
        now,
    };
    planner.consumed(&last, &mut plan)?;
    planner.unconsolidated(&last, &mut plan)?;
    planner.temporary(last.record.as_ref(), &mut plan)?;
    planner.backups(&mut plan)?;
    planner.summaries(&mut plan)?;
    planner.quarantine(&mut plan)?;
    Ok(plan)
}

/// Main's own record.
#[derive(Default)]
struct Last {
    record: Option<CommitRecord>,
    /// Main, where a commit wrote it.
    main: Option<Stat>,
    /// Main has the rows that it left.
    whole: bool,
}

fn last_commit(store: &Store) -> Result<Last> {
    match ParquetFile::open(&*store.disk, &store.layout.main()) {
        Ok(main) => {
            let record = CommitRecord::of(&main)?;
            let whole = record
                .as_ref()
                .is_some_and(|record| main.rows() >= record.rows);
            Ok(Last {
                record,
                main: main.is_ours().then(|| main.stat()),
                whole,
            })
        }
        Err(error) => match error.at(store.layout.main()) {
            missing if missing.is_not_found() => Ok(Last::default()),
            error => Err(error),
        },
    }
}

impl Last {
    /// The files whose rows main contains. Nobody knows which rows one has lost.
    fn consumed(&self) -> ByName<&str, Vec<&Consumed>> {
        let record = self.record.as_ref().filter(|_| self.whole);
        record
            .map(CommitRecord::consumed_by_name)
            .unwrap_or_default()
    }
}

impl Last {
    /// The folders that nothing needs any more, by their paths.
    fn outdated(&self, store: &Store) -> Result<Vec<PathBuf>> {
        let (Some(record), Some(main), true) = (&self.record, &self.main, self.whole) else {
            return Ok(Vec::new());
        };
        let folders = outdated(store, main, record)?.into_iter();
        Ok(folders
            .map(|folder| store.layout.consumed().join(folder.name))
            .collect())
    }
}

/// Whether these rows are in main.
fn is_consumed(
    store: &Store,
    consumed: &ByName<&str, Vec<&Consumed>>,
    entry: &Entry,
    now: Timestamp,
) -> Result<bool> {
    Ok(match layout::classify(&entry.name) {
        IncrementalName::Increment => {
            let known = consumed.get(entry.name.as_str()).into_iter().flatten();
            let mut known = known
                .filter(|known| known.bytes == entry.stat.bytes)
                .peekable();
            known.peek().is_some() && {
                let path = store.layout.incremental().join(&entry.name);
                match disk::hash(&*store.disk, &path) {
                    // Its owner keeps it from us: whoever may read it removes it.
                    Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => false,
                    hash => {
                        let hash = hash.map_err(Error::io("read", path))?;
                        known.any(|known| known.xxh3 == hash)
                    }
                }
            }
        }
        IncrementalName::Journal => {
            let entries = layout::stem(&entry.name).and_then(|stem| consumed.get(stem));
            let bytes = entries.map_or(0, |entries| consumed_bytes(entries));
            let path = store.layout.incremental().join(&entry.name);
            match is_finished(store, &path, bytes, now) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
                // Its owner keeps it from us: whoever may read it removes it.
                finished => finished.unwrap_or(false),
            }
        }
        // Only consolidate knows how to retire what its writer may still rewrite.
        _ => false,
    })
}

/// The files of the index of test keys, as far as main's own record says, and of that of the last
/// commit: they say what an older main lacks.
fn index_of(store: &Store, record: Option<&CommitRecord>) -> Result<Vec<String>> {
    let newest = log::newest_done(store)?;
    let records = record.into_iter().chain(&newest);
    let names = records.flat_map(|record| key_index::names_of(store, &record.commit_id));
    Ok(names.collect())
}

/// Removes what a plan lists, except what has changed since.
pub fn run(store: &Store, plan: &Plan, control: &Control) -> Result<Outcome> {
    let _lock = StoreLock::take(store, "cleanup", control)?;
    // A restore or an import may have come to need them since.
    let unneeded: Vec<String> = unneeded(store)?
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    // As may a commit that had no index yet when the plan was made; and another main may not
    // contain what the one before did.
    let last = last_commit(store)?;
    let index = index_of(store, last.record.as_ref())?;
    let outdated = last.outdated(store)?;
    let mut outcome = Outcome::default();
    let total = plan.items.len() as u64;
    for (done, item) in (0..).zip(&plan.items) {
        control.progress("removing leftovers", done, total);
        match control.check() {
            Err(Error::Cancelled) if !outcome.removed.is_empty() => {
                outcome.left = total - done;
                break;
            }
            other => other?,
        }
        let path = item.folder.join(&item.name);
        match store.disk.stat(&path) {
            Ok(_) if item.reason == Reason::OldSummaries && !unneeded.contains(&item.name) => {
                outcome.kept.push(path);
            }
            Ok(_) if index.contains(&item.name) => outcome.kept.push(path),
            Ok(_) if item.reason == Reason::Consumed && !outdated.contains(&item.folder) => {
                outcome.kept.push(path);
            }
            Ok(stat) if stat == item.stat => {
                store
                    .disk
                    .remove(&item.folder, &[&item.name])
                    .map_err(Error::io("remove", &path))?;
                outcome.bytes += stat.bytes;
                outcome.removed.push(path);
            }
            Ok(_) => outcome.kept.push(path),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("look at", path)(error)),
        }
    }
    for folder in outdated {
        let emptied = plan.items.iter().any(|item| item.folder == folder);
        if emptied {
            let removed = store.disk.remove_folder(&folder);
            removed.map_err(Error::io("remove", folder))?;
        }
    }
    Ok(outcome)
}

struct Planner<'a> {
    store: &'a Store,
    options: &'a Options,
    now: Timestamp,
}

impl Planner<'_> {
    /// Regular files of a folder by name; none where there is no folder.
    fn list(&self, folder: &PathBuf) -> Result<Vec<Entry>> {
        let mut entries = match self.store.disk.list(folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list", folder)(error)),
        };
        entries.retain(|entry| entry.stat.is_file);
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    fn older(&self, stat: &Stat, than: SignedDuration) -> bool {
        self.now.as_nanosecond() - stat.modified_ns > than.as_nanos()
    }

    /// The folders of commits that nothing needs any more.
    fn consumed(&self, last: &Last, plan: &mut Plan) -> Result<()> {
        for folder in last.outdated(self.store)? {
            for entry in self.list(&folder)? {
                plan.items.push(Item {
                    folder: folder.clone(),
                    name: entry.name,
                    stat: entry.stat,
                    reason: Reason::Consumed,
                });
            }
        }
        Ok(())
    }

    /// Pending files, where the caller wants them gone.
    fn unconsolidated(&self, last: &Last, plan: &mut Plan) -> Result<()> {
        if !self.options.include_unconsolidated {
            return Ok(());
        }
        let folder = self.store.layout.incremental();
        let consumed = last.consumed();
        for entry in self.list(&folder)? {
            let path = folder.join(&entry.name);
            let data = matches!(
                layout::classify(&entry.name),
                IncrementalName::Increment
                    | IncrementalName::LegacyIncrement
                    | IncrementalName::Journal
            );
            // What main contains is moved by the next consolidate.
            if !data
                || !self.older(&entry.stat, self.options.older_than)
                || is_consumed(self.store, &consumed, &entry, self.now)?
            {
                continue;
            }
            // A locked journal says that its writer lives; it goes when the writer does. Where
            // nothing can be seen, it stays.
            let lock = lock_of(&*self.store.disk, &path);
            let is_journal = layout::classify(&entry.name) == IncrementalName::Journal;
            let free = lock.is_ok_and(|lock| match lock {
                Lock::Held => false,
                Lock::Free => true,
                Lock::Unknown | Lock::Unsupported => !is_journal,
            });
            if free {
                plan.items.push(Item {
                    folder: folder.clone(),
                    name: entry.name,
                    stat: entry.stat,
                    reason: Reason::Unconsolidated,
                });
            }
        }
        Ok(())
    }

    fn temporary(&self, record: Option<&CommitRecord>, plan: &mut Plan) -> Result<()> {
        let used = index_of(self.store, record)?;
        for folder in [
            self.store.layout.root().to_path_buf(),
            self.store.layout.incremental(),
        ] {
            for entry in self.list(&folder)? {
                let path = folder.join(&entry.name);
                let outdated =
                    layout::test_keys_of(&entry.name).is_some() && !used.contains(&entry.name);
                let ours = layout::is_temporary(&entry.name) || outdated;
                let age = self.now.as_nanosecond() - entry.stat.modified_ns;
                if ours && self.older(&entry.stat, FRESH) && is_abandoned(self.store, &path, age) {
                    let (folder, stat) = (folder.clone(), entry.stat);
                    plan.items.push(Item {
                        folder,
                        name: entry.name,
                        stat,
                        reason: Reason::StaleTemporary,
                    });
                }
            }
        }
        Ok(())
    }

    fn backups(&self, plan: &mut Plan) -> Result<()> {
        let folder = self.store.layout.backups();
        let entries = backup::list(self.store)?;
        let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        let beyond = backup::beyond(&names, self.options.keep, self.now);
        for entry in entries {
            if beyond.contains(&entry.name) {
                plan.items.push(Item {
                    folder: folder.clone(),
                    name: entry.name,
                    stat: entry.stat,
                    reason: Reason::OldBackup,
                });
            }
        }
        Ok(())
    }

    fn summaries(&self, plan: &mut Plan) -> Result<()> {
        for entry in unneeded(self.store)? {
            // Younger ones may belong to a commit under way.
            if self.older(&entry.stat, FRESH) {
                let (folder, stat) = (self.store.layout.root().to_path_buf(), entry.stat);
                plan.items.push(Item {
                    folder,
                    name: entry.name,
                    stat,
                    reason: Reason::OldSummaries,
                });
            }
        }
        Ok(())
    }

    /// What has been there for long, however old it was when it came. A file and the reason
    /// next to it go together.
    fn quarantine(&self, plan: &mut Plan) -> Result<()> {
        let folder = self.store.layout.quarantine();
        let entries = self.list(&folder)?;
        let mut arrived: HashMap<String, i128> = HashMap::new();
        for entry in &entries {
            let path = folder.join(&entry.name);
            let at = match self.store.disk.arrived_ns(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                at => at.map_err(Error::io("look at", path))?,
            };
            let latest = arrived.entry(layout::quarantined(&entry.name).to_owned());
            latest
                .and_modify(|latest| *latest = at.max(*latest))
                .or_insert(at);
        }
        let now = self.now.as_nanosecond();
        for entry in entries {
            let at = arrived.get(layout::quarantined(&entry.name));
            if at.is_some_and(|at| now - at > self.options.older_than.as_nanos()) {
                let (folder, stat) = (folder.clone(), entry.stat);
                plan.items.push(Item {
                    folder,
                    name: entry.name,
                    stat,
                    reason: Reason::OldQuarantine,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::commit::consolidate;
    use crate::store::maintain::validate;
    use crate::store::read::snapshot::Scanner;
    use crate::store::testing::fixture::{Fixture, STEM, batch, records};

    fn consolidate(f: &Fixture) {
        consolidate::run(
            &f.store,
            &consolidate::Options::default(),
            f.now,
            &Control::default(),
        )
        .unwrap();
    }

    fn tests(f: &Fixture) -> u64 {
        let seen = Scanner::new()
            .scan(&f.store, f.now, &Control::default())
            .unwrap();
        seen.cells.values().map(|tally| tally.tests).sum()
    }

    #[test]
    fn quarantine_is_aged_by_arrival() {
        let f = Fixture::new();
        // Damaged long ago, noticed now.
        let damaged = f
            .store
            .layout
            .incremental()
            .join(layout::increment_name(STEM));
        std::fs::write(&damaged, "no Parquet, and long enough to be looked at").unwrap();
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(30 * 86_400);
        let file = std::fs::File::options().write(true).open(&damaged).unwrap();
        file.set_modified(old).unwrap();
        drop(file);
        let found = validate::check(&f.store, f.now, &Control::default()).unwrap();
        let done = validate::repair(&f.store, &found, f.now, &Control::default()).unwrap();
        assert_eq!(done.len(), 1, "{done:?}");
        assert!(!damaged.exists());
        let after = |hours| {
            let now = f.now + SignedDuration::from_hours(hours);
            plan(&f.store, &Options::default(), now).unwrap().items
        };
        assert_eq!(after(0), []);
        assert_eq!(after(6 * 24), []);
        let names: Vec<String> = after(8 * 24).into_iter().map(|item| item.name).collect();
        let name = layout::increment_name(STEM);
        assert_eq!(names, [name.clone(), name + ".reason.txt"]);
    }

    #[test]
    fn a_backup_from_the_future_takes_no_real_ones_place() {
        let f = Fixture::new();
        std::fs::create_dir(f.store.layout.backups()).unwrap();
        let ahead = "test_results_20990101_000000.parquet".to_owned();
        let real: Vec<String> = (1..=3)
            .map(|day| format!("test_results_2026010{day}_120000.parquet"))
            .collect();
        let named = "test_results_before_the_move.parquet".to_owned();
        for name in real.iter().chain([&ahead, &named]) {
            std::fs::write(f.store.layout.backups().join(name), "x").unwrap();
        }
        let gone = |keep| {
            let options = Options {
                keep,
                ..Options::default()
            };
            let planned = plan(&f.store, &options, f.now).unwrap().items;
            planned
                .into_iter()
                .map(|item| item.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(gone(3), [""; 0]);
        assert_eq!(gone(1), [real[1].clone(), real[0].clone()]);
        let all = [&ahead, &real[2], &real[1], &real[0]].map(String::clone);
        assert_eq!(gone(0), all);
    }

    /// More than an hour passes: by the clock of commits, and by that of the file system.
    fn wait(f: &mut Fixture) {
        wait_hours(f, 2);
    }

    fn wait_hours(f: &mut Fixture, hours: u32) {
        f.now += SignedDuration::from_hours(hours.into());
        for folder in std::fs::read_dir(f.store.layout.consumed()).unwrap() {
            let folder = std::fs::File::open(folder.unwrap().path()).unwrap();
            let modified = folder.metadata().unwrap().modified().unwrap();
            let before = modified - std::time::Duration::from_secs(u64::from(hours) * 3_600);
            folder.set_modified(before).unwrap();
        }
    }

    /// Commits an increment of ours with these rows.
    fn commit(f: &Fixture, rows: std::ops::Range<i64>) {
        let stem = format!("12_20260131_120000_host_0a1b_{}", rows.start);
        f.increment(
            &layout::increment_name(&stem),
            &batch(&records(rows.start, rows.end)),
        );
        consolidate(f);
    }

    fn folders(f: &Fixture) -> Vec<u64> {
        let all = crate::store::read::folders::list(&f.store).unwrap();
        all.into_iter().map(|folder| folder.generation).collect()
    }

    #[test]
    fn a_folder_goes_two_commits_and_an_hour_later() {
        let mut f = Fixture::new();
        commit(&f, 0..3);
        wait(&mut f);
        commit(&f, 3..4);
        assert_eq!(folders(&f), [1, 2]);
        commit(&f, 4..5);
        assert_eq!(folders(&f), [2, 3]);
        // Two commits, and no hour yet.
        commit(&f, 5..6);
        assert_eq!((folders(&f), tests(&f)), (vec![2, 3, 4], 6));
        // Cleanup removes what it has planned.
        wait(&mut f);
        let planned = |f: &Fixture| plan(&f.store, &Options::default(), f.now).unwrap();
        assert_eq!(planned(&f).items.len(), 0, "main is as old as the folder");
        commit(&f, 6..7);
        assert_eq!((folders(&f), tests(&f)), (vec![4, 5], 7));
    }

    #[test]
    fn where_other_code_wrote_main_a_folder_stays_for_a_day() {
        let mut f = Fixture::new();
        let oldest = |f: &Fixture| folders(f)[0];
        commit(&f, 0..3);
        f.main(&batch(&records(0, 4)), None);
        commit(&f, 4..5);
        wait(&mut f);
        commit(&f, 5..6);
        commit(&f, 6..7);
        assert_eq!(oldest(&f), 1);
        // It comes back with what it read before all of these.
        f.main(&batch(&records(0, 3)), None);
        assert_eq!(tests(&f), 7);
        commit(&f, 7..8);
        wait_hours(&mut f, 23);
        commit(&f, 8..9);
        commit(&f, 9..10);
        assert_eq!((oldest(&f), tests(&f)), (1, 10));
        wait(&mut f);
        commit(&f, 10..11);
        assert!(oldest(&f) > 4, "{:?}", folders(&f));
        // A week without it: an hour is enough again.
        wait_hours(&mut f, 7 * 24);
        commit(&f, 11..12);
        commit(&f, 12..13);
        wait(&mut f);
        commit(&f, 13..14);
        assert_eq!((folders(&f).len(), tests(&f)), (2, 14));
    }

    #[test]
    fn beside_a_main_of_other_code_no_folder_goes() {
        let mut f = Fixture::new();
        commit(&f, 0..3);
        commit(&f, 3..4);
        commit(&f, 4..5);
        wait(&mut f);
        let main = ParquetFile::open(&*f.store.disk, &f.store.layout.main()).unwrap();
        let mut record = CommitRecord::of(&main).unwrap().unwrap();
        for ancestor in &mut record.lineage {
            ancestor.at -= SignedDuration::from_hours(2);
        }
        let last = || {
            let last = last_commit(&f.store).unwrap();
            Last {
                record: Some(record.clone()),
                ..last
            }
        };
        let old = last().outdated(&f.store).unwrap();
        assert_eq!(old.len(), 1);
        let items = |plan: &Plan| {
            plan.items
                .iter()
                .filter(|item| item.reason == Reason::Consumed)
                .count()
        };
        let mut plan = Plan::default();
        let options = Options::default();
        let planner = Planner {
            store: &f.store,
            options: &options,
            now: f.now,
        };
        planner.consumed(&last(), &mut plan).unwrap();
        assert_eq!(items(&plan), 1);
        // Other code dropped rows after the plan.
        f.main(&batch(&records(1, 3)), None);
        assert_eq!(tests(&f), 5);
        let done = run(&f.store, &plan, &Control::default()).unwrap();
        assert_eq!((done.removed.len(), done.kept.len()), (0, 1));
        assert_eq!((folders(&f), tests(&f)), (vec![1, 2, 3], 5));
    }

    #[test]
    fn a_moved_file_into_which_other_code_wrote_on_stays_until_it_is_read() {
        let mut f = Fixture::new();
        let name = "increment_7_20260131_120000.parquet";
        let here = f.store.layout.incremental().join(name);
        f.increment(name, &batch(&records(0, 2)));
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
        std::fs::File::options()
            .append(true)
            .open(&here)
            .unwrap()
            .set_modified(old)
            .unwrap();
        consolidate(&f);
        let moved = f.store.layout.consumed();
        let moved = std::fs::read_dir(moved)
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        let moved = moved.join(layout::moved_name(name));
        assert!(moved.exists() && !here.exists());
        f.increment(name, &batch(&records(0, 3)));
        std::fs::copy(&here, &moved).unwrap();
        std::fs::remove_file(&here).unwrap();
        assert_eq!(tests(&f), 3);
        wait(&mut f);
        commit(&f, 10..11);
        assert_eq!((folders(&f), tests(&f)), (vec![1, 2], 4));
        commit(&f, 11..12);
        assert_eq!((folders(&f), tests(&f)), (vec![2, 3], 5));
    }
}
