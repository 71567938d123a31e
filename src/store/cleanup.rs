//! Removes what nobody needs: consumed files that a crash left behind, temporary
//! files of dead processes, backups beyond a number, old quarantine.
//!
//! Promises: a row that is not in main is never removed, however old its file,
//! unless the caller says so; exactly the planned files are removed, and of those
//! only the ones that are still what the plan saw and whose rows main still contains.

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};

use super::Store;
use super::commit::{CommitRecord, Consumed};
use super::control::Control;
use super::disk::{self, Entry, Stat};
use super::error::{Error, Result};
use super::layout::{self, IncrementalName};
use super::lock::StoreLock;
use super::parquet_file::ParquetFile;
use super::snapshot::retrying;
use super::summaries::unneeded;
use super::test_keys;
use crate::stats::hashed::ByName;

/// A temporary file younger than this may belong to a process that has not locked it yet.
const FRESH: SignedDuration = SignedDuration::from_secs(60);

/// What may go.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Quarantined files older than this.
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
            Self::OldSummaries => "neither main nor a backup counts its summary rows",
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
    // What vanishes meanwhile is looked for anew.
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
    planner.leftovers(&last, &mut plan)?;
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
            Ok(Last { record, whole })
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

/// Whether these rows are in main.
fn is_consumed(
    store: &Store,
    consumed: &ByName<&str, Vec<&Consumed>>,
    entry: &Entry,
) -> Result<bool> {
    Ok(match layout::classify(&entry.name) {
        IncrementalName::Increment => {
            let known = consumed.get(entry.name.as_str()).into_iter().flatten();
            let mut known = known
                .filter(|known| known.bytes == entry.stat.bytes)
                .peekable();
            known.peek().is_some() && {
                let path = store.layout.incremental().join(&entry.name);
                let hash = disk::hash(&*store.disk, &path).map_err(Error::io("read", path))?;
                known.any(|known| known.xxh3 == hash)
            }
        }
        IncrementalName::Journal => {
            layout::stem(&entry.name).is_some_and(|stem| consumed.contains_key(stem))
        }
        // Only consolidate knows how to retire what its writer may still rewrite.
        _ => false,
    })
}

/// The files of the index of test keys, as far as main's own record tells.
fn index_of(store: &Store, record: Option<&CommitRecord>) -> Vec<String> {
    record.map_or_else(Vec::new, |record| {
        test_keys::names_of(store, &record.commit_id)
    })
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
    let index = index_of(store, last.record.as_ref());
    let consumed = last.consumed();
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
            Ok(stat)
                if item.reason == Reason::Consumed
                    && !is_consumed(
                        store,
                        &consumed,
                        &Entry {
                            name: item.name.clone(),
                            stat,
                        },
                    )? =>
            {
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

    fn leftovers(&self, last: &Last, plan: &mut Plan) -> Result<()> {
        let folder = self.store.layout.incremental();
        let consumed = last.consumed();
        for entry in self.list(&folder)? {
            let path = folder.join(&entry.name);
            if !matches!(
                layout::classify(&entry.name),
                IncrementalName::Increment
                    | IncrementalName::LegacyIncrement
                    | IncrementalName::Journal
            ) {
                continue;
            }
            let in_main = is_consumed(self.store, &consumed, &entry)?;
            // A locked journal says that its writer lives; it goes when the writer does.
            let locked = || {
                self.store
                    .disk
                    .is_locked(&path)
                    .map_err(Error::io("look at", &path))
            };
            let reason = if in_main {
                Reason::Consumed
            } else if self.options.include_unconsolidated
                && self.older(&entry.stat, self.options.older_than)
            {
                Reason::Unconsolidated
            } else {
                continue;
            };
            if !locked()? {
                plan.items.push(Item {
                    folder: folder.clone(),
                    name: entry.name,
                    stat: entry.stat,
                    reason,
                });
            }
        }
        Ok(())
    }

    fn temporary(&self, record: Option<&CommitRecord>, plan: &mut Plan) -> Result<()> {
        let used = index_of(self.store, record);
        for folder in [
            self.store.layout.root().to_path_buf(),
            self.store.layout.incremental(),
        ] {
            for entry in self.list(&folder)? {
                let path = folder.join(&entry.name);
                let outdated =
                    layout::test_keys_of(&entry.name).is_some() && !used.contains(&entry.name);
                let ours = layout::is_temporary(&entry.name) || outdated;
                if ours
                    && self.older(&entry.stat, FRESH)
                    && !self
                        .store
                        .disk
                        .is_locked(&path)
                        .map_err(Error::io("look at", &path))?
                {
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
        let mut entries = self.list(&folder)?;
        entries.retain(|entry| layout::is_backup(&entry.name));
        entries.reverse();
        for entry in entries.into_iter().skip(self.options.keep) {
            let (folder, stat) = (folder.clone(), entry.stat);
            plan.items.push(Item {
                folder,
                name: entry.name,
                stat,
                reason: Reason::OldBackup,
            });
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

    fn quarantine(&self, plan: &mut Plan) -> Result<()> {
        let folder = self.store.layout.quarantine();
        for entry in self.list(&folder)? {
            if self.older(&entry.stat, self.options.older_than) {
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
    use crate::store::backup::restore;
    use crate::store::consolidate;
    use crate::store::fixture::{Fixture, STEM, batch, records};
    use crate::store::snapshot::Scanner;

    fn consolidate(f: &Fixture) {
        consolidate::run(
            &f.store,
            &consolidate::Options::default(),
            f.now,
            &Control::default(),
        )
        .unwrap();
    }

    /// An increment that a commit has consumed and did not live to remove.
    fn leftover(f: &Fixture) -> PathBuf {
        let name = layout::increment_name(STEM);
        let path = f.store.layout.incremental().join(&name);
        f.increment(&name, &batch(&records(0, 3)));
        let bytes = std::fs::read(&path).unwrap();
        consolidate(f);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn tests(f: &Fixture) -> u64 {
        let seen = Scanner::new()
            .scan(&f.store, f.now, &Control::default())
            .unwrap();
        seen.cells.values().map(|tally| tally.tests).sum()
    }

    #[test]
    fn what_main_no_longer_contains_stays() {
        let f = Fixture::new();
        f.increment("increment_1.parquet", &batch(&records(3, 4)));
        consolidate(&f);
        let backup = super::super::backup::run(&f.store, f.now, &Control::default())
            .unwrap()
            .name;
        let path = leftover(&f);
        let planned = plan(&f.store, &Options::default(), f.now).unwrap();
        assert!(
            planned
                .items
                .iter()
                .any(|item| item.reason == Reason::Consumed),
            "{planned:?}"
        );
        // A backup is restored in between, because main was damaged: it does not contain them.
        std::fs::write(f.store.layout.main(), b"PAR1 torn").unwrap();
        let options = restore::Options {
            from: Some(backup.into()),
            discard_newer: false,
        };
        restore::run(&f.store, &options, f.now, &Control::default()).unwrap();
        assert_eq!(tests(&f), 4);
        run(&f.store, &planned, &Control::default()).unwrap();
        assert!(path.exists());
        assert_eq!(tests(&f), 4);
    }

    #[test]
    fn beside_a_main_that_lost_rows_nothing_counts_as_consumed() {
        let f = Fixture::new();
        let path = leftover(&f);
        let record = last_commit(&f.store).unwrap().record.unwrap();
        // Other code that keeps the record dropped a row.
        f.main_with(&batch(&records(1, 3)), &record);
        let planned = plan(&f.store, &Options::default(), f.now).unwrap();
        assert!(
            planned
                .items
                .iter()
                .all(|item| item.reason != Reason::Consumed),
            "{planned:?}"
        );
        // As it may after the plan.
        std::fs::remove_file(f.store.layout.main()).unwrap();
        f.main_with(&batch(&records(0, 3)), &record);
        let planned = plan(&f.store, &Options::default(), f.now).unwrap();
        assert!(
            planned
                .items
                .iter()
                .any(|item| item.reason == Reason::Consumed),
            "{planned:?}"
        );
        f.main_with(&batch(&records(1, 3)), &record);
        run(&f.store, &planned, &Control::default()).unwrap();
        assert!(path.exists());
    }
}
