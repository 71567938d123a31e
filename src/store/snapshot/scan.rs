//! One look after another: what did not change is not read again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::files::{Files, Main, list, retrying, same};
use super::footers::Footers;
use super::main_rows::MainRows;
use super::notes::Notes;
use super::resolve::{Resolved, resolve};
use super::waiting::{Content, Waiting};
use super::writers::writers;
use super::{FileState, MainKind, MainState, Snapshot, WaitingFile};
use crate::stats::clusters::Clusters;
use crate::stats::{Cell, Tally};
use crate::store::consolidate::foreign::losers;
use crate::store::digest::{Activity, Digest, Row, add};
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

/// Scans a store again and again; what did not change is not read again.
#[derive(Debug, Default)]
pub struct Scanner {
    footers: Footers,
    waiting: Waiting,
    main: Option<MainRows>,
    summaries: HashMap<String, (Stat, Summaries)>,
}

/// How much a [`View`] has to know.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::store) enum Depth<'a> {
    /// Which rows of matching cells count. A main that a commit made need not be read
    /// for that, and of another one only the keys of those rows.
    Rows(&'a Filter),
    /// The tallies of all of them too.
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
    pub(in crate::store) cells: BTreeMap<Cell, Tally>,
    clusters: Clusters,
    resolved: Resolved,
    waiting: Vec<WaitingFile>,
    notes: Notes,
}

/// An increment or journal whose rows count.
#[derive(Debug)]
pub(in crate::store) struct Source {
    /// File name inside `incremental/`.
    pub(in crate::store) name: String,
    /// Its rows.
    pub(in crate::store) digest: Arc<Digest>,
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
        let mut activity = self.main.as_ref().map(|rows| rows.digest.activity.clone()).unwrap_or_default();
        for source in &view.sources {
            activity.merge(&source.digest.activity);
        }
        activity.settle();
        Ok(self.snapshot(store, view, activity))
    }

    /// The rows that count at this moment.
    pub(in crate::store) fn view(
        &mut self,
        store: &Store,
        now: Timestamp,
        depth: Depth<'_>,
        control: &Control,
    ) -> Result<View> {
        let files = list(store, now, &mut self.footers)?;
        self.waiting.begin(&files);
        let mut view = View {
            union: Union::new(),
            sources: Vec::new(),
            main_losers: Vec::new(),
            summary_losers: Vec::new(),
            cells: BTreeMap::new(),
            clusters: Clusters::default(),
            resolved: Resolved::default(),
            waiting: Vec::new(),
            notes: Notes::default(),
            files,
        };
        self.read_main(store, &mut view, now, depth, control)?;
        self.read_increments(store, &mut view, now, control)?;
        self.read_journals(store, &mut view, now, control)?;
        for entry in &view.files.strays {
            let transaction = classify(&entry.name) == IncrementalName::Transaction;
            if transaction && transactions::look(store, entry, now) != transactions::Content::InProgress {
                view.notes.transaction(&entry.name);
            }
        }
        self.resolve(&mut view, control)?;
        self.count_summaries(&mut view);
        if let Some(main) = &view.files.main
            && !same(&main.file.stat_now()?, &main.file.stat())
        {
            return Err(Error::Changed { path: store.layout.main() });
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
                let known = self.main.take().filter(|rows| rows.is_of(main, &view.files.zone, depth));
                let rows = match (known, depth) {
                    (Some(rows), _) => rows,
                    (None, Depth::Rows(filter)) if main.commit.is_some() || is_plain(main) => {
                        view.main_losers = losers_of(main, filter, &view.files.zone, control)?;
                        MainRows::unread(store, main, &view.files.zone, now)?
                    }
                    _ => changed_or(main, MainRows::read(store, main, &view.files.zone, now, control))?,
                };
                if rows.digest.records > 0 || shape(main.file.schema()) == Shape::Records {
                    view.union.add(MAIN, main.file.schema())?;
                }
                view.cells.clone_from(&rows.cells);
                view.clusters.clone_from(&rows.digest.clusters);
                view.notes.digest(MAIN, &rows.digest);
                Some(rows)
            }
        };
        self.summaries.retain(|name, _| view.files.summaries.iter().any(|file| file_name(file) == *name));
        for file in &view.files.summaries {
            let name = file_name(file);
            if !self.summaries.get(&name).is_some_and(|(stat, _)| same(stat, &file.stat())) {
                let mut summaries = Summaries::default();
                for batch in file.batches(None, 0)? {
                    control.check()?;
                    summaries.push(&batch?)?;
                }
                self.summaries.insert(name.clone(), (file.stat(), summaries));
            }
            if let Some((_, summaries)) = self.summaries.get(&name) {
                view.notes.summaries(&name, summaries);
            }
        }
        Ok(())
    }

    /// Adds the rows beside main, but for those that main or an increment continues.
    fn count_summaries(&self, view: &mut View) {
        let main = self.main.iter().map(|rows| (MAIN, &rows.digest));
        let waiting = view.sources.iter().map(|source| (source.name.as_str(), &*source.digest));
        let newer: Vec<_> = main.chain(waiting).filter(|(_, digest)| digest.summaries.rows() > 0).collect();
        let mut first = 0;
        for file in &view.files.summaries {
            let Some((_, summaries)) = self.summaries.get(&file_name(file)) else { continue };
            let mut losers: Vec<u64> = newer
                .iter()
                .flat_map(|(name, digest)| summaries.continued_by(&source_of(name), &digest.summaries))
                .collect();
            losers.sort_unstable();
            for (cell, tally) in &summaries.cells_without(&losers) {
                add(&mut view.cells, cell, tally);
            }
            view.summary_losers.extend(losers.into_iter().map(|at| first + at));
            first += summaries.rows();
        }
    }

    fn read_increments(
        &mut self,
        store: &Store,
        view: &mut View,
        now: Timestamp,
        control: &Control,
    ) -> Result<()> {
        for aside in &view.files.set_aside {
            let state = match &aside.reason {
                None => FileState::InProgress,
                Some(reason) => FileState::Unreadable(reason.clone()),
            };
            view.waiting.push(waiting_file(&aside.name, &aside.stat, state));
        }
        let increments = std::mem::take(&mut view.files.increments);
        let total = increments.len() as u64;
        self.waiting.read_ahead(store, &increments, now, control);
        for (at, increment) in increments.into_iter().enumerate() {
            control.progress("reading increments", at as u64, total);
            let mut content = self.waiting.increment(store, &increment, now, control)?;
            if let Content::Rows(digest) = &content
                && (digest.records > 0 || shape(&increment.schema) == Shape::Records)
                && let Err(conflict) = view.union.add(&increment.name, &increment.schema)
            {
                content = Content::Conflict(conflict.to_string());
            }
            let state = match content {
                Content::Rows(digest) => {
                    let file = WaitingFile {
                        rows: digest.rows(),
                        oldest: digest.activity.oldest,
                        ..waiting_file(&increment.name, &increment.stat, FileState::Ready)
                    };
                    view.waiting.push(file);
                    view.notes.digest(&increment.name, &digest);
                    let name = increment.name.clone();
                    view.sources.push(Source { name, digest, losers: Vec::new() });
                    view.files.increments.push(increment);
                    continue;
                }
                Content::Conflict(sentence) => FileState::Conflict(sentence),
                Content::Unreadable(reason) => {
                    // Its journal, where there is one, still has the rows.
                    view.files.recover_journal(store, stem(&increment.name))?;
                    FileState::Unreadable(reason)
                }
            };
            view.waiting.push(waiting_file(&increment.name, &increment.stat, state));
        }
        Ok(())
    }

    fn read_journals(
        &mut self,
        store: &Store,
        view: &mut View,
        now: Timestamp,
        control: &Control,
    ) -> Result<()> {
        for journal in &view.files.journals {
            let tail = self.waiting.journal(store, journal, now, control)?;
            let digest = Arc::clone(&tail.digest);
            view.notes.journal(&journal.name, tail.malformed);
            if digest.rows() == 0 {
                continue;
            }
            let conflict = view.union.add(&journal.name, &tail.schema()).err();
            let state =
                conflict.map_or(FileState::Ready, |conflict| FileState::Conflict(conflict.to_string()));
            let counts = state == FileState::Ready;
            view.waiting.push(WaitingFile {
                rows: digest.rows(),
                oldest: digest.activity.oldest,
                journal: true,
                dead: !journal.locked,
                ..waiting_file(&journal.name, &journal.stat, state)
            });
            if counts {
                let name = journal.name.clone();
                view.sources.push(Source { name, digest, losers: Vec::new() });
            }
        }
        Ok(())
    }

    fn resolve(&mut self, view: &mut View, control: &Control) -> Result<()> {
        if let (Some(rows), Some(main)) = (&mut self.main, &view.files.main) {
            let keys = view.sources.iter().flat_map(|source| source.digest.keyed.iter().map(|row| row.key));
            changed_or(main, rows.look_up(main, keys, control))?;
        }
        let digests: Vec<&Digest> = view.sources.iter().map(|source| &*source.digest).collect();
        for digest in &digests {
            digest.add_settled(&mut view.cells);
            view.clusters.merge(&digest.clusters);
        }
        let rows = self.main.as_ref();
        let stored = |key| rows.and_then(|rows| rows.get(key));
        let mut resolved = resolve(&digests, stored, &mut view.cells, &mut view.clusters);
        for (source, losers) in view.sources.iter_mut().zip(std::mem::take(&mut resolved.losers)) {
            source.losers = losers;
        }
        view.main_losers.append(&mut resolved.main_losers);
        if let Some(rows) = rows {
            view.main_losers.extend(rows.resolved.losers.iter().flatten());
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
        view: &View,
        keys: &HashSet<u128>,
        control: &Control,
    ) -> Result<HashMap<u128, (Option<i64>, u64)>> {
        let mut found: HashMap<u128, (Option<i64>, u64)> = HashMap::new();
        let mut take = |row: &Row| {
            let rank = found.entry(row.key).or_insert_with(|| row.rank());
            *rank = row.rank().max(*rank);
        };
        for row in view.sources.iter().flat_map(|source| &source.digest.keyed) {
            if keys.contains(&row.key) {
                take(row);
            }
        }
        if let (Some(rows), Some(main)) = (&mut self.main, &view.files.main) {
            rows.look_up(main, keys.iter().copied(), control)?;
            keys.iter().filter_map(|key| rows.get(*key)).for_each(|hit| take(&hit.row));
        }
        Ok(found)
    }

    fn snapshot(&self, store: &Store, view: View, activity: Activity) -> Snapshot {
        let mut waiting = view.waiting;
        waiting.sort_by(|a, b| (b.modified, &a.name).cmp(&(a.modified, &b.name)));
        let commit = view.files.main.as_ref().and_then(Main::record);
        Snapshot {
            main: main_state(view.files.main.as_ref(), self.main.as_ref()),
            cells: Arc::new(view.cells),
            superseded: commit.map_or(0, |commit| commit.superseded) + view.resolved.superseded,
            superseded_waiting: view.resolved.superseded,
            superseding: view.resolved.superseding,
            repeated: commit.map_or(0, |commit| commit.repeated) + view.resolved.repeated,
            writers: writers(store, &view.files, &waiting, &activity.processes),
            waiting,
            models: activity.models,
            clusters: view.clusters,
            notes: view.notes.into_sentences(),
        }
    }
}

/// An error while main was read means nothing when main was rewritten meanwhile.
fn changed_or<T>(main: &Main, result: Result<T>) -> Result<T> {
    result.map_err(|error| match main.file.stat_now() {
        Ok(now) if !same(&now, &main.file.stat()) => Error::Changed { path: main.file.path().to_path_buf() },
        _ => error,
    })
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
    Ok(changed_or(main, found)?.rows.into_iter().collect())
}

fn main_state(main: Option<&Main>, rows: Option<&MainRows>) -> MainState {
    let (Some(main), Some(rows)) = (main, rows) else { return MainState::default() };
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
    file.path().file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
