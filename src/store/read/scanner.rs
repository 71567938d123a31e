//! One scan after another: what did not change is not read again.

pub(crate) mod stable_sum;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::attempts::{Resolved, resolve};
use super::footer_cache::Footers;
use super::hits::Hit;
use super::identity_facts::IdentityFacts;
use super::listing::{Files, Increment, JournalFile, Listing, retrying};
use super::live::{Beat, Beats};
use super::main::Main;
use super::main_rows::MainRows;
use super::notes::Notes;
use super::pending::{Content, Counted, Waiting};
use super::scan_context::Look;
use super::snapshot::{FileState, MainKind, MainState, Snapshot, WaitingFile};
use super::stat::same;
use super::writers::writers;
use crate::stats::Cells;
use crate::stats::clusters::Clusters;
use crate::stats::history::History;
use crate::store::aggregate::summary::Summaries;
use crate::store::aggregate::{Activity, Digest, LAST_ROWS, Naive, Process, short};
use crate::store::commit::external_main::losers;
use crate::store::commit::log;
use crate::store::commit::summaries::source_of;
use crate::store::disk::{Lock, Stat};
use crate::store::error::{Error, Result, is_exhaustion};
use crate::store::format::layout::{IncrementalName, MAIN, classify, folder_of, stem};
use crate::store::format::row_kind::{Shape, shape};
use crate::store::format::schema::Union;
use crate::store::legacy::transactions;
use crate::store::parquet::ParquetFile;
use crate::store::parquet::filter::Filter;
use crate::store::resolve::{Novelty, Rank, Removed};
use crate::store::{Control, Store};

mod glance;
mod identity;
mod zone;

use stable_sum::Settled;
use zone::zone_facts;

/// Scans a store again and again; what did not change is not read again.
#[derive(Debug, Default)]
pub struct Scanner {
    footers: Footers,
    waiting: Waiting,
    main: Option<MainRows>,
    summaries: HashMap<String, (Stat, Summaries)>,
    beats: Beats,
    settled: Option<Settled>,
    /// Columns that other code changed in files, by name, size and time.
    changed: HashMap<(String, u64, i128), Option<String>>,
}

/// How much a [`View`] has to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Depth<'a> {
    /// Which rows of matching cells count. A main that a commit made need not be read
    /// for that, and of another one only the keys of those rows.
    Rows(&'a Filter),
    /// The tallies of all of them too.
    Cells,
    /// And what happened: tests over time, the last ones, trials by task.
    Tallies,
}

/// The rows that count, and where.
#[derive(Debug)]
pub(crate) struct View {
    /// The files.
    pub(crate) files: Files,
    /// The united columns of all records.
    pub(crate) union: Union,
    /// Increments and journals that count.
    pub(crate) sources: Vec<Source>,
    /// Positions of main's rows that don't count, ascending.
    pub(crate) main_losers: Vec<u64>,
    /// Positions of the rows next to main (counted over all its files of summary rows)
    /// that rows elsewhere continue, ascending.
    pub(crate) summary_losers: Vec<u64>,
    /// All tests after superseding.
    pub(crate) cells: Cells,
    /// Trials by model and task.
    pub(crate) clusters: Clusters,
    resolved: Resolved,
    waiting: Vec<WaitingFile>,
    notes: Notes,
}

/// An increment or journal whose rows count.
#[derive(Debug)]
pub(crate) struct Source {
    /// File name inside `incremental/`.
    pub(crate) name: String,
    /// Its records.
    pub(crate) records: u64,
    /// Its number.
    id: u32,
    /// Its rows; `None` where they were digested together with others'.
    digest: Option<Arc<Digest>>,
    /// Whether it never changes: an increment of ours.
    stays: bool,
    /// What it says of rows that are there already.
    novelty: Novelty,
    /// Positions of its rows that don't count, ascending.
    pub(crate) losers: Vec<u64>,
}

impl View {
    /// The files that do not count, a sentence each.
    fn left_out(&self) -> Vec<String> {
        let sentence = |file: &WaitingFile| match &file.state {
            FileState::Ready => None,
            FileState::InProgress => {
                Some(format!("{}: it is being written at this moment", file.name))
            }
            FileState::Unreadable(why) => Some(format!(
                "{}: it can't be read ({why}): see evaltop validate",
                file.name
            )),
            FileState::Conflict(why) => Some(why.clone()),
        };
        let mut sentences: Vec<String> = self.waiting.iter().filter_map(sentence).collect();
        sentences.sort();
        sentences
    }
}

/// What is wrong with main's rows, with its name.
fn of_main(error: Error) -> Error {
    match error {
        Error::Refused(why) => Error::Refused(format!("{MAIN}: {why}")),
        other => other,
    }
}

impl Scanner {
    /// A scanner that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One scan of the store; [`Error::InProgress`] while legacy code is writing main.
    pub fn scan(&mut self, store: &Store, now: Timestamp, control: &Control) -> Result<Snapshot> {
        retrying(store, || self.attempt(store, now, control))
    }

    fn attempt(&mut self, store: &Store, now: Timestamp, control: &Control) -> Result<Snapshot> {
        let mut view = self.view(store, now, Depth::Tallies, control)?;
        let own = view.files.main.as_ref();
        if let Some(own) = own.and_then(|main| main.commit.as_deref())
            && let Some(recorded) = log::ahead(store, own, now)?
        {
            view.notes.ahead(own.generation, recorded);
        }
        let settled = self.settled.as_ref();
        let (mut activity, mut history) = settled
            .map(|settled| (settled.activity.clone(), settled.history.clone()))
            .unwrap_or_default();
        for source in view
            .sources
            .iter()
            .filter(|source| settled.is_none_or(|settled| !settled.has(source)))
        {
            if let Some(digest) = &source.digest {
                activity.merge(&digest.activity);
                add_all(&mut history, &digest.activity);
            }
        }
        activity.settle();
        let beats = self.beats.look(store);
        let identity = self.identity(store, &view, control)?;
        Ok(Snapshot {
            identity,
            ..self.snapshot(store, view, activity, history, &beats, now)
        })
    }

    /// The rows that count at this moment.
    pub(crate) fn view(
        &mut self,
        store: &Store,
        now: Timestamp,
        depth: Depth<'_>,
        control: &Control,
    ) -> Result<View> {
        let view = self.try_view(store, now, depth, control);
        if view.is_err() {
            self.footers.distrust();
        }
        view
    }

    fn try_view(
        &mut self,
        store: &Store,
        now: Timestamp,
        depth: Depth<'_>,
        control: &Control,
    ) -> Result<View> {
        let listing = Listing::of(store, now, &mut self.footers)?;
        let namer = listing.namer.clone();
        let look = Look {
            store,
            namer: &namer,
            now,
            control,
        };
        if self.waiting.named_by(&namer) {
            self.settled = None;
        }
        self.waiting.read_new(look, &listing, &mut self.footers);
        let files = listing.finish(store, now, &mut self.footers)?;
        let mut view = View {
            union: Union::new(),
            sources: Vec::new(),
            main_losers: Vec::new(),
            summary_losers: Vec::new(),
            cells: Cells::default(),
            clusters: Clusters::default(),
            resolved: Resolved::default(),
            waiting: Vec::new(),
            notes: Notes::default(),
            files,
        };
        self.read_main(store, &mut view, now, depth, control)?;
        self.waiting.begin(&view.files);
        self.read_increments(&mut view, look)?;
        self.read_journals(store, &mut view, now, control)?;
        for entry in &view.files.strays {
            let transaction = classify(&entry.name) == IncrementalName::Transaction;
            if transaction
                && transactions::look(store, entry, now) != transactions::Content::InProgress
            {
                view.notes.transaction(&entry.name);
            }
        }
        // Nothing to say of an undone commit, or where the folders have nothing.
        let moved = view
            .sources
            .iter()
            .any(|source| folder_of(&source.name).is_some());
        if let Some(newest) = view.files.folders.last().filter(|_| moved) {
            let main = view.files.main.as_ref();
            let own = main.and_then(|main| main.commit.as_deref());
            let newest = newest.generation;
            if own.is_none_or(|own| own.parent_id.is_none() || own.generation <= newest) {
                view.notes.unsettled(own.map(|own| own.generation), newest);
            }
        }
        self.count(&mut view);
        self.resolve(store, &mut view, now, control)?;
        self.count_summaries(&mut view, depth, control)?;
        if let Some(main) = &view.files.main
            && !same(&main.file.stat_now()?, &main.file.stat())
        {
            return Err(Error::Changed {
                path: store.layout.main(),
            });
        }
        control.leave_out(view.left_out());
        Ok(view)
    }

    fn read_main(
        &mut self,
        store: &Store,
        view: &mut View,
        now: Timestamp,
        depth: Depth<'_>,
        control: &Control,
    ) -> Result<()> {
        self.main = match &view.files.main {
            None => None,
            Some(main) => {
                let known = self
                    .main
                    .take()
                    .filter(|rows| rows.is_of(main, &view.files.zone, depth));
                let rows = match (known, depth) {
                    (Some(rows), _) => rows,
                    (None, Depth::Rows(filter)) if main.commit.is_some() || is_plain(main) => {
                        let removed = &view.files.removed;
                        view.main_losers =
                            losers_of(main, filter, &view.files.zone, removed, control)?;
                        MainRows::unread(store, main, &view.files.zone, now)?.without(removed)
                    }
                    _ => {
                        let (zone, removed) = (&view.files.zone, &view.files.removed);
                        let read = MainRows::read(store, main, zone, now, depth, removed, control);
                        main.file.changed_or(read.map_err(of_main))?
                    }
                };
                if rows.digest.records > 0 || shape(main.file.schema()) == Shape::Records {
                    view.union.add(MAIN, main.file.schema())?;
                }
                view.notes.digest(MAIN, &rows.digest);
                Some(rows)
            }
        };
        Ok(())
    }

    /// Reads the rows next to main.
    fn read_summaries(&mut self, view: &mut View, control: &Control) -> Result<()> {
        self.summaries.retain(|name, _| {
            view.files
                .summaries
                .iter()
                .any(|file| file_name(file) == *name)
        });
        for file in &view.files.summaries {
            let name = file_name(file);
            if !self
                .summaries
                .get(&name)
                .is_some_and(|(stat, _)| same(stat, &file.stat()))
            {
                let mut summaries = Summaries::default();
                for batch in file.batches(None, 0)? {
                    control.check()?;
                    summaries.push(&batch?)?;
                }
                self.summaries
                    .insert(name.clone(), (file.stat(), summaries));
            }
            if let Some((_, summaries)) = self.summaries.get(&name) {
                view.notes.summaries(&name, summaries);
            }
        }
        Ok(())
    }

    /// Adds the rows next to main, but for those that main or an increment continues. They
    /// need not be read to know which rows count, where none of them can be continued.
    fn count_summaries(
        &mut self,
        view: &mut View,
        depth: Depth<'_>,
        control: &Control,
    ) -> Result<()> {
        let sources = view
            .sources
            .iter()
            .filter_map(|source| source.digest.as_deref());
        let newer = self.main.iter().map(|rows| &rows.digest).chain(sources);
        if matches!(depth, Depth::Rows(_))
            && newer.into_iter().all(|digest| digest.summaries.rows() == 0)
        {
            return Ok(());
        }
        self.read_summaries(view, control)?;
        let main = self.main.iter().map(|rows| (MAIN, &rows.digest));
        let of = |source: &'_ Source| {
            source
                .digest
                .clone()
                .map(|digest| (source.name.clone(), digest))
        };
        let own: Vec<(String, Arc<Digest>)> = view.sources.iter().filter_map(of).collect();
        let waiting = own.iter().map(|(name, digest)| (name.as_str(), &**digest));
        let newer: Vec<_> = main
            .chain(waiting)
            .filter(|(_, digest)| digest.summaries.rows() > 0)
            .collect();
        let mut first = 0;
        for file in &view.files.summaries {
            let Some((_, summaries)) = self.summaries.get(&file_name(file)) else {
                continue;
            };
            let mut losers: Vec<u64> = newer
                .iter()
                .flat_map(|(name, digest)| {
                    summaries.continued_by(&source_of(name), &digest.summaries)
                })
                .collect();
            losers.sort_unstable();
            summaries.each_without(&losers, |cell, tally| view.cells.add(cell, tally));
            view.summary_losers
                .extend(losers.into_iter().map(|at| first + at));
            first += summaries.rows();
        }
        Ok(())
    }

    fn read_increments(&mut self, view: &mut View, look: Look<'_>) -> Result<()> {
        for aside in &view.files.set_aside {
            let state = match &aside.reason {
                None => FileState::InProgress,
                Some(reason) => FileState::Unreadable(reason.clone()),
            };
            view.waiting.push(WaitingFile {
                journal: classify(&aside.name) == IncrementalName::Journal,
                ..waiting_file(&aside.name, &aside.stat, state)
            });
        }
        let increments = std::mem::take(&mut view.files.increments);
        let conflicts = self.unite(view, &increments, look)?;
        let good: Vec<&Increment> = increments
            .iter()
            .filter(|file| !conflicts.contains_key(file.name.as_str()))
            .collect();
        self.waiting.read_ahead(look, &good);
        let mut conflicts = conflicts;
        for increment in increments {
            let content = match conflicts.remove(&increment.name) {
                Some(conflict) => Content::Conflict(conflict),
                None => self.waiting.increment(look, &increment)?,
            };
            let state = match content {
                Content::Rows(counted) => {
                    let Counted {
                        source: id,
                        rows,
                        records,
                        oldest,
                        naive,
                        digest,
                    } = counted;
                    let file = waiting_file(&increment.name, &increment.stat, FileState::Ready);
                    view.waiting.push(WaitingFile {
                        rows,
                        oldest,
                        naive,
                        ..file
                    });
                    if let Some(digest) = &digest {
                        view.notes.digest(&increment.name, digest);
                    }
                    let (name, stays) = (increment.name.clone(), !increment.legacy);
                    view.sources.push(Source {
                        novelty: increment.novelty(),
                        name,
                        records,
                        id,
                        digest,
                        stays,
                        losers: Vec::new(),
                    });
                    view.files.increments.push(increment);
                    continue;
                }
                Content::Conflict(sentence) => FileState::Conflict(sentence),
                Content::Unreadable(reason) => {
                    // Its journal, where there is one, still has the rows.
                    view.files
                        .recover_journal(look.store, stem(&increment.name))?;
                    FileState::Unreadable(reason)
                }
            };
            view.waiting
                .push(waiting_file(&increment.name, &increment.stat, state));
        }
        Ok(())
    }

    /// Unites the columns of increments; returns those that conflict, and why.
    fn unite(
        &mut self,
        view: &mut View,
        increments: &[Increment],
        look: Look<'_>,
    ) -> Result<HashMap<String, String>> {
        let mut conflicts = HashMap::new();
        let mut united: Vec<&SchemaRef> = Vec::new();
        for increment in increments {
            // Files of one writer, and most of one store, share their columns.
            if united
                .iter()
                .any(|schema| Arc::ptr_eq(schema, &increment.schema))
            {
                continue;
            }
            let records = shape(&increment.schema) == Shape::Records;
            let counts = records
                || matches!(self.waiting.increment(look, increment)?, Content::Rows(rows) if rows.records > 0);
            match if counts {
                view.union.add(&increment.name, &increment.schema)
            } else {
                continue;
            } {
                Ok(()) if records => united.push(&increment.schema),
                Ok(()) => {}
                Err(conflict) => {
                    conflicts.insert(increment.name.clone(), conflict.to_string());
                }
            }
        }
        self.waiting.forget(conflicts.keys().map(String::as_str));
        Ok(conflicts)
    }

    fn read_journals(
        &mut self,
        store: &Store,
        view: &mut View,
        now: Timestamp,
        control: &Control,
    ) -> Result<()> {
        let mut conflicting = Vec::new();
        for journal in &view.files.journals {
            let tail = match self.waiting.journal(store, journal, now, control) {
                // Its disk fails, or its owner takes it away from us: the other files can be read.
                Err(Error::Io { source, .. })
                    if source.kind() != std::io::ErrorKind::NotFound && !is_exhaustion(&source) =>
                {
                    let state = FileState::Unreadable(source.to_string());
                    view.waiting.push(waiting_journal(journal, state));
                    conflicting.push(journal.name.clone());
                    continue;
                }
                tail => tail?,
            };
            let (id, digest) = (tail.source, Arc::clone(&tail.digest));
            view.notes.journal(&journal.name, tail.malformed);
            if journal.lock == Lock::Unsupported {
                view.notes.no_locks();
            }
            if digest.rows() == 0 {
                continue;
            }
            let conflict = view.union.add(&journal.name, &tail.schema()).err();
            let state = conflict.map_or(FileState::Ready, |conflict| {
                FileState::Conflict(conflict.to_string())
            });
            let counts = state == FileState::Ready;
            view.waiting.push(WaitingFile {
                rows: digest.rows(),
                oldest: digest.activity.oldest,
                dead: journal.lock == Lock::Free,
                ..waiting_journal(journal, state)
            });
            if counts {
                let (name, records) = (journal.name.clone(), digest.records);
                let (digest, stays) = (Some(digest), false);
                view.sources.push(Source {
                    novelty: match folder_of(&name) {
                        Some(_) => Novelty::TakenIn,
                        None => Novelty::Unknown,
                    },
                    name,
                    records,
                    id,
                    digest,
                    stays,
                    losers: Vec::new(),
                });
            } else {
                conflicting.push(journal.name.clone());
            }
        }
        self.waiting.forget(conflicting.iter().map(String::as_str));
        Ok(())
    }

    /// Counts all rows, as if each were a test of its own.
    fn count(&mut self, view: &mut View) {
        let main = view.files.main.as_ref().map(|main| main.file.stat());
        let asked = self.main.as_ref().is_none_or(|rows| rows.asked);
        let gone = std::mem::take(&mut self.waiting.gone);
        let known = self
            .settled
            .take()
            .filter(|known| asked && known.stands(main.as_ref(), &gone));
        let settled = Settled::with(
            known,
            main,
            self.main.as_ref(),
            &self.waiting.pools,
            &view.sources,
        );
        view.cells.clone_from(&settled.cells);
        view.clusters.clone_from(&settled.clusters);
        for digest in self.waiting.pools.digests() {
            view.notes.times(digest);
        }
        for source in view.sources.iter().filter(|source| !settled.has(source)) {
            if let Some(digest) = &source.digest {
                digest.add_settled(&mut view.cells);
                view.clusters.merge(&digest.clusters);
            }
        }
        self.settled = Some(settled);
    }

    /// Takes the rows that others replace out again.
    fn resolve(
        &mut self,
        store: &Store,
        view: &mut View,
        now: Timestamp,
        control: &Control,
    ) -> Result<()> {
        let removed = Arc::clone(&view.files.removed);
        if self.main.is_some() || !removed.is_empty() {
            let another = self.main.as_ref().is_none_or(|rows| !rows.asked);
            let shorts = self.waiting.keys.unasked(another);
            if let (Some(rows), Some(main)) = (&mut self.main, &view.files.main) {
                for short in main.file.changed_or(rows.look_up(main, &shorts, control))? {
                    self.waiting.keys.contest(short);
                }
                rows.asked = true;
            }
            for short in shorts.into_iter().filter(|short| removed.has(*short)) {
                self.waiting.keys.contest(short);
            }
            self.waiting.keys.asked();
        }
        self.waiting
            .read_contested(store, &view.files, now, control)?;
        let rows = self.main.as_ref();
        let stored = |key| rows.and_then(|rows| rows.get(key));
        let sources = view.sources.iter().enumerate();
        let waiting = sources.flat_map(|(at, source)| {
            self.waiting
                .hits(source.id)
                .iter()
                .map(move |hit| (at, hit))
        });
        let novelties: Vec<Novelty> = view.sources.iter().map(|source| source.novelty).collect();
        let mut resolved = resolve(
            view.sources.len(),
            |at| novelties.get(at).copied().unwrap_or_default(),
            waiting,
            stored,
            &removed,
            &mut view.cells,
            &mut view.clusters,
        );
        for (source, losers) in view
            .sources
            .iter_mut()
            .zip(std::mem::take(&mut resolved.losers))
        {
            source.losers = losers;
        }
        // What of a file is in main already is not pending.
        let losers: HashMap<&str, u64> = view
            .sources
            .iter()
            .filter(|source| source.novelty == Novelty::TakenIn)
            .map(|source| (source.name.as_str(), source.losers.len() as u64))
            .collect();
        for file in &mut view.waiting {
            let lost = losers.get(file.name.as_str()).copied().unwrap_or_default();
            file.rows = file.rows.saturating_sub(lost);
        }
        view.main_losers.append(&mut resolved.main_losers);
        if let Some(rows) = rows {
            view.main_losers
                .extend(rows.resolved.losers.iter().flatten());
            view.main_losers.sort_unstable();
            resolved.superseded += rows.resolved.superseded;
            resolved.repeated += rows.resolved.repeated;
        }
        view.resolved = resolved;
        Ok(())
    }

    /// The newest attempts at some tests, wherever they are.
    pub(crate) fn attempts(
        &mut self,
        store: &Store,
        view: &View,
        keys: &HashSet<u128>,
        control: &Control,
    ) -> Result<HashMap<u128, Rank>> {
        let mut shorts: Vec<u64> = keys.iter().map(|key| short(*key)).collect();
        shorts.sort_unstable();
        shorts.dedup();
        for &short in &shorts {
            self.waiting.keys.contest(short);
        }
        self.waiting
            .read_contested(store, &view.files, Timestamp::now(), control)?;
        let mut found: HashMap<u128, Rank> = HashMap::new();
        let mut take = |hit: &Hit| {
            if view.files.removed.removes(hit.key, &hit.rank) {
                return;
            }
            let rank = found.entry(hit.key).or_insert(hit.rank);
            *rank = hit.rank.max(*rank);
        };
        let waiting = view
            .sources
            .iter()
            .flat_map(|source| self.waiting.hits(source.id));
        waiting
            .filter(|hit| keys.contains(&hit.key))
            .for_each(&mut take);
        if let (Some(rows), Some(main)) = (&mut self.main, &view.files.main) {
            main.file.changed_or(rows.look_up(main, &shorts, control))?;
            keys.iter().filter_map(|key| rows.get(*key)).for_each(take);
        }
        Ok(found)
    }

    fn snapshot(
        &self,
        store: &Store,
        view: View,
        activity: Activity,
        history: History,
        beats: &[Beat],
        now: Timestamp,
    ) -> Snapshot {
        let mut waiting = view.waiting;
        waiting.sort_by(|a, b| (b.modified, &a.name).cmp(&(a.modified, &b.name)));
        let commit = view.files.main.as_ref().and_then(Main::record);
        // What folders bring back is not lost.
        let kept = |source: &Source| match folder_of(&source.name) {
            Some(_) => source.records.saturating_sub(source.losers.len() as u64),
            None => 0,
        };
        let of_main = view.files.main.as_ref().map_or(0, |main| main.file.rows());
        let rows = of_main.saturating_sub(view.main_losers.len() as u64)
            + view.sources.iter().map(kept).sum::<u64>();
        let no_folder = view.files.folders.is_empty() || view.files.main.is_none();
        let expected = view.files.expected_rows;
        let removed = &view.files.removed;
        let is_lost =
            |short: &&u64| self.waiting.keys.of(**short).next().is_none() && !removed.has(**short);
        let lacks = self.main.iter().flat_map(|main| &main.lacks);
        let lacking_tests = lacks.filter(is_lost).count() as u64;
        let zone = zone_facts(&view.files, self.main.as_ref(), &waiting);
        Snapshot {
            main: MainState {
                expected_rows: expected.filter(|expected| no_folder || rows < *expected),
                lacking_tests,
                ..main_state(view.files.main.as_ref(), self.main.as_ref())
            },
            cells: Arc::new(view.cells),
            superseded: commit.map_or(0, |commit| commit.superseded) + view.resolved.superseded,
            superseded_waiting: view.resolved.superseded,
            superseding: view.resolved.superseding,
            repeated: commit.map_or(0, |commit| commit.repeated) + view.resolved.repeated,
            writers: writers(store, &view.files, &waiting, &activity.processes, beats),
            waiting,
            times: recent(activity.processes, now),
            models: activity.models,
            history,
            clusters: view.clusters,
            identity: IdentityFacts::default(),
            zone,
            removed_unread: view.files.removed_unread,
            notes: view.notes.into_sentences(),
        }
    }
}

/// Times of the last rows of the processes that wrote in the last minutes, in an order of
/// their own.
fn recent(processes: HashMap<Arc<str>, Process>, now: Timestamp) -> Vec<Vec<i64>> {
    const MINUTES: i64 = 5 * 60 * 1_000_000;
    let since = now.as_microsecond().saturating_sub(MINUTES);
    let writes = |of: &Process| of.last_row.is_some_and(|last| last > since);
    let mut times: Vec<Vec<i64>> = processes
        .into_values()
        .filter(writes)
        .map(|mut of| {
            of.times.sort_unstable();
            of.times.drain(..of.times.len().saturating_sub(LAST_ROWS));
            of.times
        })
        .collect();
    times.sort_unstable();
    times
}

/// Adds the tests of all models.
fn add_all(history: &mut History, activity: &Activity) {
    for model in activity.models.values() {
        history.merge(&model.history);
    }
}

/// Whether all of main's rows are records.
fn is_plain(main: &Main) -> bool {
    shape(main.file.schema()) == Shape::Records
}

/// The positions of main's rows that other rows of main replace, in matching cells, and of those
/// that were removed on purpose.
fn losers_of(
    main: &Main,
    filter: &Filter,
    zone: &TimeZone,
    removed: &Removed,
    control: &Control,
) -> Result<Vec<u64>> {
    if main.commit.is_some() {
        return Ok(Vec::new());
    }
    let mut union = Union::new();
    union.add(MAIN, main.file.schema())?;
    let found = losers(&main.file, filter, &union.finish(), zone, removed, control);
    Ok(main.file.changed_or(found)?.rows.into_iter().collect())
}

fn main_state(main: Option<&Main>, rows: Option<&MainRows>) -> MainState {
    let (Some(main), Some(rows)) = (main, rows) else {
        return MainState::default();
    };
    let kind = match (rows.digest.records > 0, rows.digest.summaries.rows() > 0) {
        (false, false) => MainKind::Empty,
        (true, false) => MainKind::Records,
        (false, true) => MainKind::Summaries,
        (true, true) => MainKind::Mixed,
    };
    MainState {
        exists: true,
        generation: main.record().map_or(0, |commit| commit.generation),
        committed: main.record().map(|commit| commit.created),
        rows: main.file.rows(),
        bytes: main.file.stat().bytes,
        kind,
        modified: Some(modified(&main.file.stat())),
        expected_rows: None,
        lacking_tests: 0,
        of_other: main.of_other,
    }
}

fn waiting_file(name: &str, stat: &Stat, state: FileState) -> WaitingFile {
    WaitingFile {
        name: name.to_owned(),
        bytes: stat.bytes,
        rows: 0,
        modified: modified(stat),
        state,
        journal: false,
        dead: false,
        oldest: None,
        naive: Naive::default(),
    }
}

fn waiting_journal(journal: &JournalFile, state: FileState) -> WaitingFile {
    WaitingFile {
        journal: true,
        bytes: journal.stat.bytes.saturating_sub(journal.from),
        ..waiting_file(&journal.name, &journal.stat, state)
    }
}

fn modified(stat: &Stat) -> Timestamp {
    Timestamp::from_nanosecond(stat.modified_ns).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn file_name(file: &ParquetFile) -> String {
    file.path()
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
