//! One look after another: what did not change is not read again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::files::{Files, Increment, Listing, retrying};
use super::footers::Footers;
use super::hits::Hit;
use super::main::Main;
use super::main_rows::MainRows;
use super::notes::Notes;
use super::read::Look;
use super::resolve::{Resolved, resolve};
use super::stat::same;
use super::waiting::{Content, Counted, Waiting};
use super::writers::writers;
use super::{FileState, MainKind, MainState, Snapshot, WaitingFile};
use crate::stats::Cells;
use crate::stats::clusters::Clusters;
use crate::stats::history::History;
use crate::store::consolidate::foreign::losers;
use crate::store::digest::{Activity, Digest, short};
use crate::store::disk::Stat;
use crate::store::error::{Error, Result};
use crate::store::filter::Filter;
use crate::store::kind::{Shape, shape};
use crate::store::layout::{IncrementalName, MAIN, classify, stem};
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::Union;
use crate::store::summaries::source_of;
use crate::store::summary::Summaries;
use crate::store::{Control, Store, transactions};

mod glance;
mod settled;

pub use glance::Glance;
use settled::Settled;

/// Scans a store again and again; what did not change is not read again.
#[derive(Debug, Default)]
pub struct Scanner {
    footers: Footers,
    waiting: Waiting,
    main: Option<MainRows>,
    summaries: HashMap<String, (Stat, Summaries)>,
    settled: Option<Settled>,
}

/// How much a [`View`] has to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::store) enum Depth<'a> {
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
pub(in crate::store) struct View {
    /// The files.
    pub(in crate::store) files: Files,
    /// The united columns of all records.
    pub(in crate::store) union: Union,
    /// Increments and journals that count.
    pub(in crate::store) sources: Vec<Source>,
    /// Positions of main's rows that don't count, ascending.
    pub(in crate::store) main_losers: Vec<u64>,
    /// Positions of the rows beside main (counted over all its files of summary rows)
    /// that rows elsewhere continue, ascending.
    pub(in crate::store) summary_losers: Vec<u64>,
    /// All tests after superseding.
    pub(in crate::store) cells: Cells,
    /// Trials by model and task.
    pub(in crate::store) clusters: Clusters,
    resolved: Resolved,
    waiting: Vec<WaitingFile>,
    notes: Notes,
}

/// An increment or journal whose rows count.
#[derive(Debug)]
pub(in crate::store) struct Source {
    /// File name inside `incremental/`.
    pub(in crate::store) name: String,
    /// Its records.
    pub(in crate::store) records: u64,
    /// Its number.
    id: u32,
    /// Its rows; `None` where they were digested together with others'.
    digest: Option<Arc<Digest>>,
    /// Whether it never changes: an increment of ours.
    stays: bool,
    /// Positions of its rows that don't count, ascending.
    pub(in crate::store) losers: Vec<u64>,
}

impl Scanner {
    /// A scanner that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One look at the store; [`Error::InProgress`] while legacy code is writing main.
    pub fn scan(&mut self, store: &Store, now: Timestamp, control: &Control) -> Result<Snapshot> {
        retrying(store, || self.attempt(store, now, control))
    }

    fn attempt(&mut self, store: &Store, now: Timestamp, control: &Control) -> Result<Snapshot> {
        let view = self.view(store, now, Depth::Tallies, control)?;
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
        Ok(self.snapshot(store, view, activity, history))
    }

    /// The rows that count at this moment.
    pub(in crate::store) fn view(
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
        let zone = listing.zone.clone();
        let look = Look {
            store,
            zone: &zone,
            now,
            control,
        };
        if self.waiting.in_zone(&zone) {
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
                        view.main_losers = losers_of(main, filter, &view.files.zone, control)?;
                        MainRows::unread(store, main, &view.files.zone, now)?
                    }
                    _ => main.file.changed_or(MainRows::read(
                        store,
                        main,
                        &view.files.zone,
                        now,
                        depth,
                        control,
                    ))?,
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

    /// Reads the rows beside main.
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

    /// Adds the rows beside main, but for those that main or an increment continues. They
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
            view.waiting
                .push(waiting_file(&aside.name, &aside.stat, state));
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
                        digest,
                    } = counted;
                    let file = waiting_file(&increment.name, &increment.stat, FileState::Ready);
                    view.waiting.push(WaitingFile {
                        rows,
                        oldest,
                        ..file
                    });
                    if let Some(digest) = &digest {
                        view.notes.digest(&increment.name, digest);
                    }
                    let (name, stays) = (increment.name.clone(), !increment.legacy);
                    view.sources.push(Source {
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
            let tail = self.waiting.journal(store, journal, now, control)?;
            let (id, digest) = (tail.source, Arc::clone(&tail.digest));
            view.notes.journal(&journal.name, tail.malformed);
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
                journal: true,
                dead: !journal.locked,
                ..waiting_file(&journal.name, &journal.stat, state)
            });
            if counts {
                let (name, records) = (journal.name.clone(), digest.records);
                let (digest, stays) = (Some(digest), false);
                view.sources.push(Source {
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
        view.notes.bad_times(
            self.waiting
                .pools
                .digests()
                .map(|digest| digest.bad_times)
                .sum(),
        );
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
        if let (Some(rows), Some(main)) = (&mut self.main, &view.files.main) {
            let shorts = self.waiting.keys.unasked(!rows.asked);
            for short in main.file.changed_or(rows.look_up(main, &shorts, control))? {
                self.waiting.keys.contest(short);
            }
            self.waiting.keys.asked();
            rows.asked = true;
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
        let mut resolved = resolve(
            view.sources.len(),
            waiting,
            stored,
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
    pub(in crate::store) fn attempts(
        &mut self,
        store: &Store,
        view: &View,
        keys: &HashSet<u128>,
        control: &Control,
    ) -> Result<HashMap<u128, (Option<i64>, u64)>> {
        let mut shorts: Vec<u64> = keys.iter().map(|key| short(*key)).collect();
        shorts.sort_unstable();
        shorts.dedup();
        for &short in &shorts {
            self.waiting.keys.contest(short);
        }
        self.waiting
            .read_contested(store, &view.files, Timestamp::now(), control)?;
        let mut found: HashMap<u128, (Option<i64>, u64)> = HashMap::new();
        let mut take = |hit: &Hit| {
            let rank = found.entry(hit.key).or_insert_with(|| hit.rank());
            *rank = hit.rank().max(*rank);
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
    ) -> Snapshot {
        let mut waiting = view.waiting;
        waiting.sort_by(|a, b| (b.modified, &a.name).cmp(&(a.modified, &b.name)));
        let commit = view.files.main.as_ref().and_then(Main::record);
        Snapshot {
            main: MainState {
                expected_rows: view.files.expected_rows,
                ..main_state(view.files.main.as_ref(), self.main.as_ref())
            },
            cells: Arc::new(view.cells),
            superseded: commit.map_or(0, |commit| commit.superseded) + view.resolved.superseded,
            superseded_waiting: view.resolved.superseded,
            superseding: view.resolved.superseding,
            repeated: commit.map_or(0, |commit| commit.repeated) + view.resolved.repeated,
            writers: writers(store, &view.files, &waiting, &activity.processes),
            waiting,
            models: activity.models,
            history,
            clusters: view.clusters,
            notes: view.notes.into_sentences(),
        }
    }
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

/// The positions of main's rows that other rows of main replace, in matching cells.
fn losers_of(main: &Main, filter: &Filter, zone: &TimeZone, control: &Control) -> Result<Vec<u64>> {
    if main.commit.is_some() {
        return Ok(Vec::new());
    }
    let mut union = Union::new();
    union.add(MAIN, main.file.schema())?;
    let found = losers(&main.file, filter, &union.finish(), zone, control);
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
