//! Consolidate: merges pending rows into main, by the commit protocol of
//! `docs/format.md`.
//!
//! Promises: no row is lost and none counted twice, whenever it is stopped; what is
//! there when it starts is merged, file by file: one that can't be read, conflicts
//! or is being written stays where it is and is named, and everything else goes in.
//! Memory is bounded apart from the keys of the rows of one commit; a lot that waits
//! becomes several commits.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;

use super::base::{Base, misses, refuse_link, shrunk};
use super::fence::Fence;
use super::missing::{missing, together};
use super::old_main::mixed_groups;
use super::round::Round;
use super::summaries::Moved;
use super::{folders, removed};
use crate::config::show_counted;
use crate::limits::LIMITS;
use crate::stats::Cells;
use crate::store::disk::Entry;
use crate::store::disk::lock::StoreLock;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record;
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::layout::{IncrementalName, MAIN, classify, folder_of};
use crate::store::format::schema::may_be_naive;
use crate::store::maintain::backup;
use crate::store::parquet::ParquetFile;
use crate::store::read::snapshot;
use crate::store::read::snapshot::{Files, Increment, Lister};
use crate::store::resolve::Removed;
use crate::store::write::journal;
use crate::store::{Control, Store, disk};

mod replace;

pub use super::derived_files::rebuild as rebuild_derived;
use super::pending_files::Holds;
pub use replace::{replace, were_replaced};

/// Bytes of increments that one commit takes in, unless a single file has more.
const COMMIT_BYTES: u64 = 1 << 30;
/// So often a commit starts over where another program changed main meanwhile.
const OVERTAKEN: u32 = 4;

/// How to consolidate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Go on although main has fewer rows than its last commit left in it.
    pub accept_main: bool,
    /// Move summary rows out of a main of legacy code, after which it takes in records.
    pub convert_main: bool,
    /// Sort the row groups of main that other code left in another order.
    pub optimize: bool,
}

/// Why a file was left where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipKind {
    /// Somebody is writing it; the next time will do.
    InProgress,
    /// It can't be read.
    Unreadable,
    /// Its columns can't be united with the others'.
    Conflict,
    /// Main is a legacy table of summary rows.
    Summaries,
}

/// A file that was left where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// Its name in `incremental/`.
    pub file: String,
    /// Why, for people.
    pub reason: String,
    /// Why.
    pub kind: SkipKind,
}

/// What would be merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Increments, with their waiting rows and their size.
    pub increments: Vec<(String, u64, u64)>,
    /// Journals of dead writers, with their rows and their size.
    pub journals: Vec<(String, u64, u64)>,
    /// Rows that wait.
    pub rows: u64,
    /// Bytes of the files that hold them.
    pub bytes: u64,
    /// What would stay where it is.
    pub skipped: Vec<Skipped>,
    /// Consumed files that an earlier commit did not live to remove.
    pub leftovers: u64,
    /// Summary rows of main that would move into the file next to it.
    pub summaries: u64,
    /// Main would be taken as it is, although the last commit left more rows in it.
    pub accepts: bool,
    /// Rows of main that would be sorted.
    pub mixed: u64,
}

impl Plan {
    /// Nothing to merge.
    pub fn is_empty(&self) -> bool {
        self.increments.is_empty()
            && self.journals.is_empty()
            && self.summaries == 0
            && !self.accepts
            && self.mixed == 0
    }
}

/// What was merged.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Increments that went into main, those of recovered journals included.
    pub increments_merged: u64,
    /// Journals of dead writers that were recovered.
    pub journals_recovered: u64,
    /// Commits that it took; 0 when nothing waited.
    pub commits: u64,
    /// Rows that are in main and were not before.
    pub rows_added: u64,
    /// Attempts that newer ones replaced.
    pub rows_superseded: u64,
    /// Canonically identical rows that were left out.
    pub rows_repeated: u64,
    /// Rows that were removed on purpose, of main or of what was merged.
    pub rows_removed: u64,
    /// Summary rows that moved out of main or an increment into the file next to main.
    pub summaries_moved: u64,
    /// Rows of main in row groups that were sorted.
    pub rows_sorted: u64,
    /// Rows of main.
    pub rows_total: u64,
    /// Number of the last commit.
    pub generation: u64,
    /// What stayed where it is.
    pub skipped: Vec<Skipped>,
    /// The backup of the previous main.
    pub backup: Option<String>,
    /// Backups that were pruned.
    pub pruned: Vec<String>,
    /// What else people should know.
    pub notes: Vec<String>,
}

/// Says what would be merged. Changes nothing and takes no lock.
pub fn plan(store: &Store, options: &Options, now: Timestamp) -> Result<Plan> {
    refuse_link(store)?;
    let files = snapshot::files(store, now)?;
    let main = files.main.as_ref().map(|main| &main.file);
    // What folders bring back is known when it is merged.
    let moved = |name: &str| folder_of(name).is_some();
    let known = files.main.is_none()
        || !(files.increments.iter().any(|file| moved(&file.name))
            || files.journals.iter().any(|file| moved(&file.name)));
    let lost = files.expected_rows.filter(|_| known);
    if let Some(expected) = lost.filter(|_| !options.accept_main) {
        return Err(shrunk(store, main.map(ParquetFile::rows), expected));
    }
    let record = files.main.as_ref().and_then(snapshot::Main::record);
    let blocked =
        !options.convert_main && crate::store::commit::pending_files::main_blocks(main, record)?;
    let summaries = options.convert_main || main.is_some();
    let leftovers = files.leftovers.len() as u64;
    let behind = files
        .main
        .as_ref()
        .is_some_and(|main| main.behind.is_some());
    let accepts = options.accept_main && (files.expected_rows.is_some() || behind);
    let mut plan = Plan {
        skipped: set_aside(&files),
        leftovers,
        accepts,
        ..Plan::default()
    };
    if let Some(main) = main.filter(|_| !blocked) {
        let mut moved = Moved::default();
        moved.take(MAIN, main, 0, &Control::default())?;
        plan.summaries = moved.rows();
        if options.optimize {
            plan.mixed = rows_of(main, &mixed_groups(main, &Control::default())?);
        }
    }
    for increment in &files.increments {
        if blocked {
            plan.skipped
                .push(crate::store::commit::pending_files::behind_summaries(
                    &increment.name,
                ));
        } else if let Some(skipped) =
            crate::store::commit::pending_files::refused(store, increment, summaries)?
        {
            plan.skipped.push(skipped);
        } else {
            let rows = increment.rows.saturating_sub(increment.skip);
            plan.increments
                .push((increment.name.clone(), rows, increment.stat.bytes));
        }
    }
    for file in files.journals.iter().filter(|_| !blocked) {
        if !crate::store::commit::recover::is_due(store, file, now) {
            continue;
        }
        let path = store.layout.incremental().join(&file.name);
        // Gone: somebody else has consolidated it since.
        if let Some(rows) = journal_rows(store, &path, file.from)? {
            let bytes = file.stat.bytes.saturating_sub(file.from);
            plan.journals.push((file.name.clone(), rows, bytes));
        }
    }
    let all = || plan.increments.iter().chain(&plan.journals);
    (plan.rows, plan.bytes) = (
        all().map(|file| file.1).sum(),
        all().map(|file| file.2).sum(),
    );
    Ok(plan)
}

/// The rows of a journal from an offset on; `None` when it is gone.
fn journal_rows(store: &Store, path: &Path, mut from: u64) -> Result<Option<u64>> {
    let mut rows = 0;
    loop {
        let chunk = match journal::read(&*store.disk, path, from) {
            Err(error) if error.is_not_found() => return Ok(None),
            chunk => chunk?,
        };
        (rows, from) = (rows + chunk.records.len() as u64, chunk.next_offset);
        if chunk.at_end {
            return Ok(Some(rows));
        }
    }
}

/// Merges pending rows.
pub fn run(store: &Store, options: &Options, now: Timestamp, control: &Control) -> Result<Outcome> {
    store.check()?;
    let _lock = StoreLock::take(store, "consolidate", control)?;
    run_locked(store, options, now, control)
}

fn run_locked(
    store: &Store,
    options: &Options,
    now: Timestamp,
    control: &Control,
) -> Result<Outcome> {
    let mut run = Run::new(store, now, control);
    if disk::lock_of(&*store.disk, &store.layout.lock()).ok() == Some(disk::Lock::Unsupported) {
        run.outcome.notes.push(
            "this file system has no locks (flock): let only one process at a time consolidate"
                .to_owned(),
        );
    }
    refuse_link(store)?;
    // Refuses a shrunken main before anything is removed.
    Base::open(store, options.accept_main)?;
    crate::store::commit::recover::finish(store, now)?;
    run.outcome.journals_recovered =
        crate::store::commit::recover::journals(store, now, &mut run.lister, &mut run.skipped)?;
    let merged = run.merge_all(options);
    let mut outcome = run.outcome;
    outcome.skipped = run.skipped.into_values().collect();
    match merged {
        Err(Error::Cancelled) if outcome.commits > 0 => {
            outcome
                .notes
                .push("cancelled: the other files stay pending".to_owned());
        }
        Err(error) if outcome.commits > 0 => {
            let merged = show_counted(outcome.increments_merged, "increment");
            return Err(Error::Partly {
                done: format!("{merged} had been merged before, the others stay pending"),
                source: Box::new(error),
            });
        }
        other => other?,
    }
    if outcome.commits > 0 {
        match backup::prune(store, now) {
            Ok(pruned) => outcome.pruned = pruned,
            Err(error) => outcome.notes.push(format!("old backups stay: {error}")),
        }
    }
    Ok(outcome)
}

struct Run<'a> {
    store: &'a Store,
    now: Timestamp,
    control: &'a Control,
    outcome: Outcome,
    /// By name.
    skipped: BTreeMap<String, Skipped>,
    /// What one round saw, the next need not read.
    lister: Lister,
    /// Only what an older main lacks is merged, from the folders.
    restores: bool,
}

impl<'a> Run<'a> {
    fn new(store: &'a Store, now: Timestamp, control: &'a Control) -> Self {
        Self {
            store,
            now,
            control,
            outcome: Outcome::default(),
            skipped: BTreeMap::new(),
            lister: Lister::default(),
            restores: false,
        }
    }

    fn merge_all(&mut self, options: &Options) -> Result<()> {
        let first = self.lister.files(self.store, self.now)?;
        for skipped in set_aside(&first) {
            self.skipped.insert(skipped.file.clone(), skipped);
        }
        let mut left: BTreeSet<String> = first
            .increments
            .iter()
            .map(|file| file.name.clone())
            .collect();
        let total = first
            .increments
            .iter()
            .map(|file| file.rows.saturating_sub(file.skip))
            .sum();
        drop(first);
        let mut derived = None;
        let mut overtaken = 0;
        let mut optimizes = options.optimize;
        loop {
            let fence = Fence::ahead(self.store, self.control)?;
            let mut base = Base::open(self.store, options.accept_main)?;
            self.lister.adopt(&base.store_id);
            let files = self.lister.files(self.store, self.now)?;
            self.settle(&base, &files)?;
            (self.outcome.rows_total, self.outcome.generation) = (base.rows(), base.generation);
            let (main, record) = (base.main.as_ref(), base.record.as_ref());
            if !options.convert_main
                && crate::store::commit::pending_files::main_blocks(main, record)?
            {
                for name in &left {
                    self.skipped.insert(
                        name.clone(),
                        crate::store::commit::pending_files::behind_summaries(name),
                    );
                }
                return Ok(());
            }
            let summaries = options.convert_main || main.is_some();
            self.leave_refused(&files, &mut left, summaries)?;
            let from = match (&base.lacking, base.shrunk) {
                (Some(_), _) => From::Folders,
                (None, true) => From::Outside,
                (None, false) if self.restores => From::Folders,
                (None, false) => From::Anywhere,
            };
            let fitting = choose(&files, &left, from, &base.taken_in);
            let chosen = fitting.iter().copied().take_while(fits_one_commit());
            let chosen: Vec<Increment> = chosen.cloned().collect();
            if self.restores && base.lacking.is_none() && chosen.is_empty() {
                break;
            }
            let settles = settled_by(&files, &chosen, from);
            let known = known_before(&base, &files);
            let kind = main
                .map(|main| crate::store::commit::pending_files::holds(main, 0))
                .transpose()?;
            let settled = settles.is_empty() && known.is_empty();
            let mixed = match main.filter(|_| optimizes) {
                Some(main) => mixed_groups(main, self.control)?,
                None => Vec::new(),
            };
            let sorts = main.map_or(0, |main| rows_of(main, &mixed));
            let accepts = base.shrunk || base.accepted;
            let nothing = chosen.is_empty() && settled && !accepts && sorts == 0;
            if let Some(expected) = base.lacking.filter(|_| nothing) {
                match base.lacks(self.store, base.rows(), expected) {
                    Error::MainChanged { .. } if overtaken < OVERTAKEN => {
                        overtaken += 1;
                        continue;
                    }
                    error => return Err(error),
                }
            }
            if nothing && kind.is_none_or(|kind| kind == Holds::Records) {
                break;
            }
            // Also where rows lack: as many new ones may hide them from the count.
            let gone = missing(self.store, &base, &files, self.control)?;
            if gone > 0 {
                if overtaken < OVERTAKEN && !base.is_unchanged(self.store)? {
                    overtaken += 1;
                    continue;
                }
                return Err(misses(self.store, gone));
            }
            if let Some(expected) = base.lacking.filter(|_| chosen.len() < fitting.len()) {
                // After this commit nobody counts them any more.
                let together = together(self.store, &base, &fitting, self.control)?;
                if together < expected {
                    return Err(base.lacks(self.store, together, expected));
                }
                base.lacking = None;
            }
            let keep_backup = self.outcome.commits == 0;
            let taken = match from {
                From::Outside => Some(removed::accepting(self.store, &base, &files, self.control)?),
                From::Anywhere | From::Folders => None,
            };
            let named = match &taken {
                Some(removed) => removed::write(self.store, removed)?,
                None => base.in_force.clone().filter(|_| !base.removed.is_empty()),
            };
            let round = Round {
                removed: (taken.as_ref().unwrap_or(&base.removed), named.as_ref()),
                mixed: &mixed,
                settles: &settles,
                known: &known,
                fence: Cell::new(fence),
                ..Round::on(self.store, &base, self.now, self.control)
            };
            match round.run(&chosen, keep_backup, (self.outcome.rows_added, total)) {
                Ok(done) => {
                    self.outcome
                        .notes
                        .extend(fixed_zone(&base, &chosen, &done.record));
                    for increment in &chosen {
                        left.remove(&increment.name);
                    }
                    derived = Some(self.take(done, chosen.len() as u64));
                    self.outcome.rows_sorted += sorts;
                    optimizes = false;
                }
                Err(crate::store::commit::round::Trouble::Input(skipped)) => {
                    left.remove(&skipped.file);
                    self.skipped.insert(skipped.file.clone(), skipped);
                }
                // Another program was faster: what it left is listed again.
                Err(crate::store::commit::round::Trouble::Other(
                    Error::MainChanged { .. } | Error::Revoked { .. },
                )) if overtaken < OVERTAKEN => overtaken += 1,
                Err(crate::store::commit::round::Trouble::Other(error)) => return Err(error),
            }
        }
        if self.outcome.summaries_moved > 0 {
            self.outcome.notes.push(format!(
                "{} summary rows moved into the file next to main; they count as before",
                self.outcome.summaries_moved
            ));
        }
        if let Some(source) = derived {
            // Any reader can live without them.
            if let Err(error) = crate::store::commit::derived_files::write(self.store, &source) {
                self.outcome
                    .notes
                    .push(format!("the derived files are out of date: {error}"));
            }
        }
        Ok(())
    }

    /// Moves what main contains into the folder of its last commit, and removes folders that
    /// nothing needs any more.
    fn settle(&mut self, base: &Base, files: &Files) -> Result<()> {
        let own = base.record.as_ref().filter(|_| !base.foreign);
        let (Some(main), Some(record)) = (&base.main, own) else {
            return Ok(());
        };
        let mut notes = folders::settle(self.store, record, files, self.now)?;
        notes.extend(folders::clean(self.store, &main.stat(), record));
        notes.retain(|note| !self.outcome.notes.contains(note));
        self.outcome.notes.extend(notes);
        Ok(())
    }

    /// Leaves out what holds summary rows alone, where these can't go anywhere yet.
    fn leave_refused(
        &mut self,
        files: &Files,
        left: &mut BTreeSet<String>,
        summaries: bool,
    ) -> Result<()> {
        if summaries {
            return Ok(());
        }
        for increment in files
            .increments
            .iter()
            .filter(|increment| left.contains(&increment.name))
        {
            if let Some(skipped) =
                crate::store::commit::pending_files::refused(self.store, increment, summaries)?
            {
                self.skipped.insert(increment.name.clone(), skipped);
            }
        }
        left.retain(|name| !self.skipped.contains_key(name));
        Ok(())
    }

    /// Adds up what one commit did.
    fn take(
        &mut self,
        done: crate::store::commit::round::Done,
        increments: u64,
    ) -> crate::store::commit::derived_files::Source {
        let outcome = &mut self.outcome;
        outcome.commits += 1;
        outcome.increments_merged += increments;
        outcome.rows_added += done.added;
        outcome.rows_superseded += done.superseded;
        outcome.rows_repeated += done.repeated;
        outcome.rows_removed += done.removed;
        outcome.summaries_moved += done.moved;
        outcome.notes.extend(done.committed.notes);
        if outcome.backup.is_none() {
            outcome.backup = done.committed.backup;
        }
        derived_of(done.record, done.cells, done.schema)
    }
}

fn derived_of(
    record: CommitRecord,
    cells: Cells,
    schema: SchemaRef,
) -> crate::store::commit::derived_files::Source {
    let (generation, created, rows) = (record.generation, record.created, record.rows);
    crate::store::commit::derived_files::Source {
        generation,
        created,
        rows,
        cells,
        schema,
        summaries: record.summaries,
    }
}

fn alone(
    round: &crate::store::commit::round::Round<'_>,
    keep_backup: bool,
) -> Result<crate::store::commit::round::Done> {
    round
        .run(&[], keep_backup, (0, 0))
        .map_err(|trouble| match trouble {
            crate::store::commit::round::Trouble::Other(error) => error,
            crate::store::commit::round::Trouble::Input(skipped) => Error::Refused(skipped.reason),
        })
}

/// Makes ready for a commit of main alone: finishes what killed commits began, and brings back from
/// the folders what an older main lacks. The caller holds the lock.
pub(crate) fn prepare(store: &Store, now: Timestamp, control: &Control) -> Result<()> {
    crate::store::commit::recover::finish(store, now)?;
    if Base::open(store, false)?.lacking.is_some() {
        // A commit that takes in no files would find fewer rows than the last one left, and refuse.
        // What is pending stays so: the next consolidate was not asked for.
        let mut run = Run::new(store, now, control);
        run.restores = true;
        run.merge_all(&Options::default())?;
    }
    // Main becomes ours, and nothing knows any more what it lacked.
    let base = Base::open(store, false)?;
    if base.behind.is_some() {
        let files = snapshot::files(store, now)?;
        let gone = missing(store, &base, &files, control)?;
        if gone > 0 {
            return Err(misses(store, gone));
        }
    }
    Ok(())
}

/// Commits main as it is, with other summary rows next to it. The caller holds the lock.
pub(crate) fn with_summaries(
    store: &Store,
    base: &Base,
    fence: Option<Fence>,
    summaries: &[commit_record::Summaries],
    now: Timestamp,
    control: &Control,
) -> Result<Outcome> {
    let round = Round {
        summaries,
        fence: Cell::new(fence),
        ..Round::on(store, base, now, control)
    };
    committed(store, &round, now)
}

/// Commits main without the rows that were removed on purpose. The caller holds the lock.
pub(crate) fn with_removed(
    store: &Store,
    base: &Base,
    fence: Option<Fence>,
    removed: &Removed,
    now: Timestamp,
    control: &Control,
) -> Result<Outcome> {
    let named = removed::write(store, removed)?;
    let round = Round {
        removed: (removed, named.as_ref()),
        removes: true,
        fence: Cell::new(fence),
        ..Round::on(store, base, now, control)
    };
    committed(store, &round, now)
}

fn committed(store: &Store, round: &Round<'_>, now: Timestamp) -> Result<Outcome> {
    let done = alone(round, true)?;
    let mut outcome = Outcome {
        rows_removed: done.removed,
        commits: 1,
        rows_total: done.record.rows,
        generation: done.record.generation,
        backup: done.committed.backup,
        notes: done.committed.notes,
        ..Outcome::default()
    };
    match backup::prune(store, now) {
        Ok(pruned) => outcome.pruned = pruned,
        Err(error) => outcome.notes.push(format!("old backups stay: {error}")),
    }
    if let Err(error) = crate::store::commit::derived_files::write(
        store,
        &derived_of(done.record, done.cells, done.schema),
    ) {
        outcome
            .notes
            .push(format!("the derived files are out of date: {error}"));
    }
    Ok(outcome)
}

/// The rows of some row groups.
fn rows_of(main: &ParquetFile, groups: &[bool]) -> u64 {
    let all = main.metadata().row_groups().iter().zip(groups);
    let rows = all
        .filter(|(_, wanted)| **wanted)
        .map(|(group, _)| group.num_rows());
    rows.map(|rows| u64::try_from(rows).unwrap_or_default())
        .sum()
}

/// Which files a commit takes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    Anywhere,
    /// Main lacks rows: what commits took in comes first, and alone, where it is known that this
    /// brings all of them back.
    Folders,
    /// Main is taken as it is, although it lacks rows that lie in folders.
    Outside,
}

/// The files that are left of those that are to be taken in now. Files in `taken_in` are to move
/// into a folder.
fn choose<'a>(
    files: &'a Files,
    left: &BTreeSet<String>,
    from: From,
    taken_in: &HashSet<String>,
) -> Vec<&'a Increment> {
    let is_moved = |increment: &Increment| folder_of(&increment.name).is_some();
    let waiting = files.increments.iter().filter(|increment| {
        left.contains(&increment.name)
            && match from {
                From::Anywhere => true,
                From::Folders => is_moved(increment) || taken_in.contains(&increment.name),
                From::Outside => !is_moved(increment),
            }
    });
    waiting.collect()
}

/// Whether one commit takes one more file.
fn fits_one_commit() -> impl FnMut(&&Increment) -> bool {
    let (mut count, mut rows, mut bytes) = (0, 0, 0);
    move |increment| {
        count += 1;
        rows += increment.rows.saturating_sub(increment.skip);
        bytes += increment.stat.bytes;
        let fits = rows <= LIMITS.commit_rows && bytes <= COMMIT_BYTES;
        count == 1 || (count <= LIMITS.commit_files && fits)
    }
}

/// The commits whose folders hold nothing more when main has the rows of these files.
fn settled_by(files: &Files, chosen: &[Increment], from: From) -> Vec<String> {
    let chosen: BTreeSet<&str> = chosen.iter().map(|file| file.name.as_str()).collect();
    let increments = files.increments.iter().map(|file| file.name.as_str());
    let journals = files.journals.iter().map(|file| file.name.as_str());
    let set_aside = files.set_aside.iter().map(|file| file.name.as_str());
    let left: BTreeSet<&str> = increments
        .chain(journals)
        .chain(set_aside)
        .filter(|name| !chosen.contains(name))
        .filter_map(folder_of)
        .collect();
    let settled = files
        .folders
        .iter()
        .filter(|folder| from == From::Outside || !left.contains(folder.name.as_str()));
    settled.map(|folder| folder.commit_id.clone()).collect()
}

/// The files of other code that main contains by entries of format 1.
fn known_before(base: &Base, files: &Files) -> Vec<Entry> {
    let first = |record: &CommitRecord| record.format < commit_record::FORMAT;
    if !base.record.as_ref().is_some_and(first) {
        return Vec::new();
    }
    let legacy = |entry: &&Entry| classify(&entry.name) == IncrementalName::LegacyIncrement;
    files.leftovers.iter().filter(legacy).cloned().collect()
}

/// That this commit, the first one, fixed the zone of times that name none.
fn fixed_zone(base: &Base, chosen: &[Increment], record: &CommitRecord) -> Option<String> {
    let main = base.main.as_ref().map(ParquetFile::schema);
    let mut schemas = chosen.iter().map(|file| &file.schema).chain(main);
    let is_first = base.record.is_none() && schemas.any(|schema| may_be_naive(schema));
    is_first.then(|| {
        let zone = &record.zone;
        format!("times without a zone are read as {zone} from now on: the first commit fixes it")
    })
}

/// The files that can't be counted, as skipped.
fn set_aside(files: &Files) -> Vec<Skipped> {
    let skipped = files.set_aside.iter().map(|file| match &file.reason {
        None => Skipped {
            file: file.name.clone(),
            reason: "it is being written at this moment".to_owned(),
            kind: SkipKind::InProgress,
        },
        Some(reason) => Skipped {
            file: file.name.clone(),
            reason: format!("it can't be read ({reason})"),
            kind: SkipKind::Unreadable,
        },
    });
    skipped.collect()
}

#[cfg(test)]
mod cores_tests;
#[cfg(test)]
mod drift_tests;
#[cfg(test)]
mod legacy_tests;
#[cfg(test)]
mod sorting_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod values_tests;
