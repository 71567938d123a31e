//! Some files that are imported one after another. Looking through the store is what an import
//! costs, so the rows of many small files are looked up at once and published together.
//!
//! Each file is taken in as if those before it were in the store: a file that may take the
//! place of rows that are not there yet waits until they are.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use jiff::Timestamp;

use super::database::Counting;
use super::earlier::{Olds, Search};
use super::ledger::Ledger;
use super::mapping::{Ids, Plan};
use super::rows::{File, Fresh, Keyed, Origins, Reader, WINDOW_BYTES, WINDOW_ROWS, Window, keys};
use super::source::{Rejected, Source};
use super::{
    Kind, Options, Report, database, jsonl, known, open, recorded, unknown_word, unpivoted,
};
use crate::config::show_counted;
use crate::store::commit::consolidate;
use crate::store::format::schema;
use crate::store::resolve::Rank;
use crate::store::write::increment;
use crate::store::write::increment::{Staged, Stems};
use crate::store::{Control, Error, Result, Store};

/// Rows are published at the latest so long after they were read.
const PATIENCE: Duration = Duration::from_secs(1);
/// Or after so many times what the last publishing took: it is a small part of the whole.
const SHARE: u32 = 4;
/// Columns of one increment: files with others than these go into another one.
const MOST_COLUMNS: usize = 512;

/// What became of a file, by its number.
pub type Done = (usize, Result<Report>);

/// Imports files into a store, which is made when it is not there.
pub struct Run<'a> {
    store: &'a Store,
    control: &'a Control,
    ledger: Option<Ledger>,
    origins: Origins,
    /// What the store has of the sources, while it does not change.
    olds: Olds,
    /// Sources with rows that are read and not in the store yet, and the keys of these.
    coming: HashSet<String>,
    keys: HashSet<u128>,
    read: Vec<Read>,
    /// Files of summary rows that are not in the store yet.
    counts: Vec<(usize, Counting)>,
    now: Timestamp,
    rows: usize,
    bytes: usize,
    begun: Option<Instant>,
    patience: Duration,
    done: Vec<Done>,
}

/// A file whose rows are read.
#[derive(Debug)]
struct Read {
    at: usize,
    file: File,
    batches: Vec<Keyed>,
}

impl<'a> Run<'a> {
    /// Begins.
    pub fn new(store: &'a Store, control: &'a Control) -> Self {
        Self {
            store,
            control,
            ledger: None,
            origins: Origins::default(),
            olds: Olds::default(),
            coming: HashSet::new(),
            keys: HashSet::new(),
            read: Vec::new(),
            counts: Vec::new(),
            now: Timestamp::UNIX_EPOCH,
            rows: 0,
            bytes: 0,
            begun: None,
            patience: PATIENCE,
            done: Vec::new(),
        }
    }

    /// Takes in a file that the caller knows by a number; what has become of files since the last
    /// call, in order. Rows of a file of which nothing was said yet may not be in the store.
    pub fn add(&mut self, at: usize, path: &Path, options: &Options, now: Timestamp) -> Vec<Done> {
        if let Err(error) = self.take(at, path, options, now) {
            self.done.push((at, Err(error)));
        }
        let late = self
            .begun
            .is_some_and(|begun| begun.elapsed() >= self.patience);
        // A dry run says of each file what it would be alone.
        if options.dry_run || late || self.rows >= WINDOW_ROWS || self.bytes >= WINDOW_BYTES {
            self.publish();
        }
        self.ended()
    }

    /// Takes in what was read; what has become of the other files.
    pub fn finish(mut self) -> Vec<Done> {
        self.publish();
        self.ended()
    }

    /// What became of files of which nothing is on its way any more, in order.
    fn ended(&mut self) -> Vec<Done> {
        let read = self.read.first().map(|read| read.at);
        let first = read.or(self.counts.first().map(|(at, _)| *at));
        let first = first.unwrap_or(usize::MAX);
        self.done.sort_by_key(|(at, _)| *at);
        let end = self.done.partition_point(|(at, _)| *at < first);
        self.done.drain(..end).collect()
    }

    fn take(&mut self, at: usize, path: &Path, options: &Options, now: Timestamp) -> Result<()> {
        let kind = options.kind_of(path)?;
        let name = options.name.as_deref().unwrap_or(path);
        let source: Box<dyn Source> = if kind == Kind::JsonDatabase {
            match database::open(path, options, &self.store.zone, self.control)? {
                database::Database::Records(records) => records,
                database::Database::Leaves(leaves) => {
                    return self.count(at, path, leaves, options, now);
                }
            }
        } else {
            open(path, name, kind, options)?
        };
        if kind.counts() {
            let counted = database::Counted::new(kind, source);
            return self.count(at, path, Box::new(counted), options, now);
        }
        // What counts takes in is judged by what comes before.
        self.publish_counts();
        let refused = |why: String| Error::Refused(format!("{} {why}", path.display()));
        let source = unpivoted(source, options).map_err(refused)?;
        let (torn, notes) = source
            .notes()
            .into_iter()
            .partition(|note| note == jsonl::TORN);
        let mut report = Report::new(kind, notes);
        report.left_out = torn;
        // A log in which nothing has ended yet has no columns either.
        if source.columns().is_empty() {
            self.done.push((at, Ok(report)));
            return Ok(());
        }
        // What names its tests itself also says which have no verdict.
        let own = matches!(
            kind,
            Kind::Inspect | Kind::LmEval | Kind::Mapped(_) | Kind::PromptfooTable
        );
        let plan = Plan::with(&options.mapping, source.columns(), own).map_err(refused)?;
        if let Some(why) = unknown_word(&*source, &plan, self.control)? {
            return Err(refused(why));
        }
        if options.mapping.success.is_some() {
            report.notes.retain(|note| !note.contains("--success-from"));
        } else if !plan.judges() && !own {
            report.notes.push(
                "nothing says which rows are successes, so their scores count: --success-from \
                 'score>=1' says so"
                    .to_owned(),
            );
        }
        // Those that name their tests have tasks of their own.
        if !own && !plan.names("task_id") && !plan.names("test_id") {
            report.notes.push(
                "nothing says which task a row is of, so compare will find no pairs: \
                 --map task_id=COLUMN says so"
                    .to_owned(),
            );
        }
        let settings = options.settings();
        self.ledger()?;
        let earlier = loop {
            let search = Search {
                store: self.store,
                path,
                plan: &plan,
                source: &*source,
                ledger: self.ledger.get_or_insert_default(),
                settings: &settings,
                label: options.source.as_deref(),
                coming: &self.coming,
                keys: &self.keys,
                control: self.control,
            };
            if let Some(earlier) = search.run(&mut self.olds)? {
                break earlier;
            }
            self.publish();
            self.ledger()?;
        };
        self.origins.add([earlier.label.as_str()])?;
        let mut union = schema::Union::new();
        union.add(&path.display().to_string(), &plan.schema())?;
        let (target, known) = (union.finish(), union.known());
        (report.columns, report.extra) = (plan.describe(), plan.extra());
        let ids = Ids::new(&earlier.label);
        let mut file = File {
            path: path.to_path_buf(),
            target: target.clone(),
            known,
            earlier,
            report,
            rejected: Vec::new(),
            settings,
            dry_run: options.dry_run,
            now,
        };
        let mut reader = Reader {
            store: self.store,
            path,
            plan: &plan,
            aliases: &options.aliases,
            target,
            chunks: source.chunks()?,
            size: source.size(),
            ids,
            skip_bad: options.skip_bad,
            control: self.control,
        };
        let window = reader.window(&mut file)?;
        if !window.ended {
            self.publish();
            let report = self.large(file, reader, window)?;
            self.done.push((at, Ok(report)));
            return Ok(());
        }
        if let Some(version) = file.news() {
            let twin = self.ledger()?.twin(&version.label, &version.tasks);
            if let Some(twin) = twin.map(|twin| last_part(twin).to_owned()) {
                file.report.notes.push(format!(
                    "these are tests that {twin} has too, so both count: --set session_id=NAME at \
                     each import tells two runs apart"
                ));
            }
            self.coming.insert(version.label.clone());
            self.ledger()?.push(version);
        }
        self.keys.extend(keys(&window.batches));
        self.rows += window.rows;
        self.bytes += window.bytes;
        self.begun.get_or_insert_with(Instant::now);
        self.read.push(Read {
            at,
            file,
            batches: window.batches,
        });
        Ok(())
    }

    /// Takes in summary rows, which are a commit of their own: one for all files until other rows
    /// come.
    fn count(
        &mut self,
        at: usize,
        path: &Path,
        counted: Box<database::Counted>,
        options: &Options,
        now: Timestamp,
    ) -> Result<()> {
        let counting = Counting::new(path, counted, options)?;
        self.publish_rows();
        let twice = |(_, own): &(usize, Counting)| own.source() == counting.source();
        if self.counts.iter().any(twice) {
            self.publish_counts();
        }
        self.bytes += usize::try_from(counting.size()).unwrap_or(usize::MAX);
        self.begun.get_or_insert_with(Instant::now);
        self.counts.push((at, counting));
        self.now = now;
        Ok(())
    }

    /// Makes the summary rows that were read those of their sources.
    fn publish_counts(&mut self) {
        let (places, files): (Vec<usize>, Vec<Counting>) =
            std::mem::take(&mut self.counts).into_iter().unzip();
        if files.is_empty() {
            return;
        }
        let begun = Instant::now();
        (self.rows, self.bytes, self.begun) = (0, 0, None);
        let (store, control, now) = (self.store, self.control, self.now);
        match database::import(store, &files, now, control) {
            Ok(reports) => self.done.extend(places.into_iter().zip(reports)),
            Err(error) if files.len() == 1 => {
                self.done.extend(places.into_iter().zip([Err(error)]));
            }
            // Each stands for itself: what is wrong with one may not be with another.
            Err(_) => {
                for (at, file) in places.into_iter().zip(&files) {
                    let one = database::import(store, std::slice::from_ref(file), now, control);
                    let one = one.and_then(|mut one| one.pop().unwrap_or(Err(Error::Cancelled)));
                    self.done.push((at, one));
                }
            }
        }
        self.changed();
        self.patience = PATIENCE.max(begun.elapsed() * SHARE);
    }

    /// The list of imports, with those that are on their way.
    fn ledger(&mut self) -> Result<&mut Ledger> {
        if self.ledger.is_none() {
            let ledger = if known::there(self.store)? {
                Ledger::read(self.store)
            } else {
                Ledger::default()
            };
            self.origins.add(ledger.labels())?;
            self.ledger = Some(ledger);
        }
        Ok(self.ledger.get_or_insert_default())
    }

    /// Puts all that was read into the store. There are rows or counts, never both.
    fn publish(&mut self) {
        self.publish_rows();
        self.publish_counts();
    }

    fn publish_rows(&mut self) {
        if self.read.is_empty() {
            return;
        }
        let begun = Instant::now();
        let mut reads = std::mem::take(&mut self.read);
        (self.rows, self.bytes, self.begun) = (0, 0, None);
        while !reads.is_empty() {
            reads = self.publish_some(reads);
        }
        self.changed();
        self.patience = PATIENCE.max(begun.elapsed() * SHARE);
    }

    /// What was known of the store may hold no longer.
    fn changed(&mut self) {
        (self.ledger, self.olds) = (None, Olds::default());
        self.coming.clear();
        self.keys.clear();
    }

    /// Puts files into the store; those that have to wait until these are in.
    fn publish_some(&mut self, mut reads: Vec<Read>) -> Vec<Read> {
        let mut batch = Batch::default();
        let judged = batch.judge(self, &reads);
        // What comes after those that were judged waits for them.
        let rest = match judged {
            Ok(()) => reads.split_off(batch.files.len()),
            Err(_) => Vec::new(),
        };
        let published = judged.and_then(|()| batch.publish(self.store, self.control));
        let (mut versions, mut left) = (Vec::new(), Vec::new());
        let mut judged = std::mem::take(&mut batch.files).into_iter();
        for read in reads {
            match judged.next() {
                Some(Judged {
                    refused: Some(error),
                    ..
                }) => self.done.push((read.at, Err(error))),
                Some(judged) if batch.has(&judged, published.is_ok()) => {
                    versions.extend(judged.file.news().filter(|_| !judged.file.dry_run));
                    self.done.push((read.at, Ok(judged.file.report)));
                }
                _ => left.push(read),
            }
        }
        if !versions.is_empty() {
            Ledger::keep(self.store, versions);
        }
        match published {
            Ok(()) => rest,
            Err(error) => self.failed(error, left, rest),
        }
    }

    /// What to do with files that could not be published, and those behind them.
    fn failed(&mut self, error: Error, left: Vec<Read>, rest: Vec<Read>) -> Vec<Read> {
        match error {
            // The job was cancelled: nothing more is asked.
            Error::Cancelled => {
                let first = left.first().map(|read| read.at);
                self.done
                    .extend(first.map(|at| (at, Err(Error::Cancelled))));
                Vec::new()
            }
            Error::Locked { path, holder } => {
                let locked = || Error::Locked {
                    path: path.clone(),
                    holder: holder.clone(),
                };
                let all = left.iter().chain(&rest);
                self.done.extend(all.map(|read| (read.at, Err(locked()))));
                Vec::new()
            }
            error if left.len() == 1 => {
                self.done
                    .extend(left.first().map(|read| (read.at, Err(error))));
                rest
            }
            // Each stands for itself: what is wrong with one may not be with another.
            _ => {
                for read in left {
                    self.publish_some(vec![read]);
                }
                rest
            }
        }
    }

    /// Takes in a file of more rows than are held at once, of which a window was read.
    fn large(&mut self, file: File, reader: Reader<'_>, window: Window) -> Result<Report> {
        let (store, control) = (self.store, self.control);
        let (path, dry_run, now) = (file.path.clone(), file.dry_run, file.now);
        let target = file.target.clone();
        let schema = reader.plan.schema();
        let mut rows = NewRows {
            reader,
            file,
            next: Some(window),
            origins: &self.origins,
            fresh: Fresh::default(),
            again: false,
            batches: Vec::new().into_iter(),
        };
        // Nothing is made, not even the store, before there is something to publish.
        let first = rows.next().transpose()?;
        let mut staged = Vec::new();
        if let Some(first) = first {
            // Refuses what can't be united with the store's columns.
            known::columns(store, control)?.add(&path.display().to_string(), &schema)?;
            if dry_run {
                rows.by_ref().try_for_each(|batch| batch.map(drop))?;
            } else {
                let batches = std::iter::once(Ok(first)).chain(rows.by_ref());
                staged.push(stage(store, &target, batches, now)?);
            }
        }
        let (mut file, mut replaced, again) = rows.end();
        file.settle(&mut replaced);
        keep_rejected(store, &mut file)?;
        if dry_run {
            return Ok(file.report);
        }
        if !replaced.is_empty() || again {
            let done = consolidate::replace(store, &replaced, staged, now, control)?;
            file.report.notes.extend(done.notes);
        } else if let Some(staged) = staged.pop() {
            file.report.increment = Some(staged.publish(store)?.name);
        }
        if let Some(version) = file.news() {
            Ledger::keep(store, vec![version]);
        }
        self.changed();
        Ok(file.report)
    }
}

/// Files whose rows go into the store together.
#[derive(Debug, Default)]
struct Batch {
    files: Vec<Judged>,
    groups: Vec<Group>,
    replaced: HashSet<u128>,
    /// Imports replaced some of the rows before.
    again: bool,
}

/// A file, and what the store lacks of it.
#[derive(Debug)]
struct Judged {
    file: File,
    /// Why it can't go into this store.
    refused: Option<Error>,
    /// The group that its rows are in.
    group: Option<usize>,
}

/// Rows that become one increment.
#[derive(Debug, Default)]
struct Group {
    columns: BTreeMap<String, DataType>,
    schema: schema::Union,
    batches: Vec<RecordBatch>,
    published: bool,
}

impl Batch {
    /// Decides what the store lacks of the first files: up to one that has to wait for these.
    fn judge(&mut self, run: &Run<'_>, reads: &[Read]) -> Result<()> {
        let (store, control, origins) = (run.store, run.control, &run.origins);
        let all: HashSet<u128> = reads.iter().flat_map(|read| keys(&read.batches)).collect();
        let mut known = known::existing(store, &all, control)?;
        let mut columns = None;
        let recorded = recorded_of(run, reads, &known)?;
        let (mut coming, mut new) = (HashMap::<u128, Rank>::new(), Vec::new());
        for (read, recorded) in reads.iter().zip(recorded) {
            if read
                .file
                .meets(&read.batches, &coming, &self.replaced, origins)
            {
                break;
            }
            let (mut file, mut fresh) = (read.file.clone(), Fresh::default());
            file.judge(&read.batches, &known, &recorded, origins, &mut fresh)?;
            file.settle(&mut fresh.replaced);
            let (mut refused, mut group) = (None, None);
            if !fresh.batches.is_empty() {
                // Refuses what can't be united with the store's columns.
                let there = match columns.take() {
                    Some(columns) => columns,
                    None => known::columns(store, control)?,
                };
                let mut with = there.clone();
                match with.add(&file.path.display().to_string(), &file.known) {
                    Ok(()) => {
                        columns = Some(with);
                        group = Some(self.group(&file.target)?);
                    }
                    Err(error) => {
                        columns = Some(there);
                        refused = Some(error);
                    }
                }
            }
            if refused.is_none() {
                new.extend_from_slice(&fresh.ranks);
                self.replaced.extend(fresh.replaced);
                for (key, rank) in fresh.ranks {
                    for map in [&mut known, &mut coming] {
                        let best = map.entry(key).or_insert(rank);
                        *best = rank.max(*best);
                    }
                }
                if let Some(group) = group.and_then(|at| self.groups.get_mut(at)) {
                    group.batches.append(&mut fresh.batches);
                }
            }
            self.files.push(Judged {
                file,
                refused,
                group,
            });
        }
        self.again = consolidate::were_replaced(store, &new)?;
        Ok(())
    }

    /// The group whose columns have the types that these have, where they have the same names.
    fn group(&mut self, target: &SchemaRef) -> Result<usize> {
        let fits = |group: &Group| {
            let mut new = 0;
            let same = target.fields().iter().all(|field| {
                let there = group.columns.get(field.name());
                new += usize::from(there.is_none());
                there.is_none_or(|there| there == field.data_type())
            });
            same && (new == 0 || group.columns.len() + new <= MOST_COLUMNS)
        };
        let at = self.groups.iter().position(fits).unwrap_or_else(|| {
            self.groups.push(Group::default());
            self.groups.len() - 1
        });
        if let Some(group) = self.groups.get_mut(at) {
            group.schema.add("the files before", target)?;
            let fields = target.fields().iter();
            let columns = fields.map(|field| (field.name().clone(), field.data_type().clone()));
            group.columns.extend(columns);
        }
        Ok(at)
    }

    /// Publishes the groups; where that fails, those before stay.
    fn publish(&mut self, store: &Store, control: &Control) -> Result<()> {
        let Some(now) = self.files.iter().map(|judged| judged.file.now).max() else {
            return Ok(());
        };
        for judged in &mut self.files {
            if judged.refused.is_none() {
                keep_rejected(store, &mut judged.file)?;
            }
        }
        if self.files.iter().any(|judged| judged.file.dry_run) {
            return Ok(());
        }
        let mut replacing = Vec::new();
        for (at, group) in self.groups.iter_mut().enumerate() {
            if group.batches.is_empty() {
                continue;
            }
            control.check()?;
            let target = std::mem::take(&mut group.schema).finish();
            let batches = std::mem::take(&mut group.batches).into_iter();
            let batches = batches.map(|batch| schema::adapt(&batch, &target, &store.zone));
            let staged = stage(store, &target, batches, now);
            let staged = match staged {
                Ok(staged) if self.replaced.is_empty() && !self.again => staged,
                Ok(staged) => {
                    replacing.push(staged);
                    continue;
                }
                Err(error) => {
                    for staged in replacing {
                        staged.discard(store);
                    }
                    return Err(error);
                }
            };
            let name = staged.publish(store)?.name;
            group.published = true;
            let files = self.files.iter_mut();
            for judged in files.filter(|judged| judged.group == Some(at)) {
                judged.file.report.increment = Some(name.clone());
            }
        }
        if !self.replaced.is_empty() || !replacing.is_empty() {
            let done = consolidate::replace(store, &self.replaced, replacing, now, control)?;
            if let Some(judged) = self
                .files
                .iter_mut()
                .find(|judged| judged.file.report.replaced > 0)
            {
                judged.file.report.notes.extend(done.notes);
            }
        }
        Ok(())
    }

    /// Whether the store has all of a file; `whole` where nothing went wrong.
    fn has(&self, judged: &Judged, whole: bool) -> bool {
        let group = judged.group.and_then(|at| self.groups.get(at));
        whole || group.is_some_and(|group| group.published)
    }
}

/// Of each file the tests that a program recorded while they ran, and that the file says nothing
/// else of. The store is read once for all files of the same columns.
fn recorded_of(
    run: &Run<'_>,
    reads: &[Read],
    known: &HashMap<u128, Rank>,
) -> Result<Vec<HashSet<u128>>> {
    let mut all: Vec<HashSet<u128>> = reads
        .iter()
        .map(|read| {
            read.file
                .may_be_recorded(&read.batches, known, &run.origins)
        })
        .collect();
    let mut found: Vec<(&SchemaRef, HashSet<u128>)> = Vec::new();
    for (read, keys) in reads.iter().zip(&all).filter(|(_, keys)| !keys.is_empty()) {
        let target = &read.file.target;
        match found.iter_mut().find(|(other, _)| *other == target) {
            Some((_, there)) => there.extend(keys),
            None => found.push((target, keys.clone())),
        }
    }
    for (target, keys) in found {
        let there = recorded::recorded(run.store, &keys, target, run.control)?;
        for (read, keys) in reads.iter().zip(&mut all) {
            if read.file.target == *target && !keys.is_empty() {
                *keys = read.file.recorded(run.store, &read.batches, &there)?;
            }
        }
    }
    Ok(all)
}

/// The rows of a large file that the store does not have.
struct NewRows<'a> {
    reader: Reader<'a>,
    file: File,
    /// A window that was read already.
    next: Option<Window>,
    origins: &'a Origins,
    fresh: Fresh,
    again: bool,
    batches: std::vec::IntoIter<RecordBatch>,
}

impl NewRows<'_> {
    /// The file, what it takes the place of, and whether imports replaced its rows before.
    fn end(self) -> (File, HashSet<u128>, bool) {
        (self.file, self.fresh.replaced, self.again)
    }

    /// Takes the next rows of the file and leaves out those that the store has;
    /// `false` at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        let window = match self.next.take() {
            Some(window) => window,
            None => self.reader.window(&mut self.file)?,
        };
        if window.batches.is_empty() {
            return Ok(false);
        }
        let (store, control) = (self.reader.store, self.reader.control);
        let (file, batches) = (&mut self.file, &window.batches);
        let known = known::existing(store, &keys(batches).collect(), control)?;
        let mut recorded = file.may_be_recorded(batches, &known, self.origins);
        if !recorded.is_empty() {
            let there = recorded::recorded(store, &recorded, &file.target, control)?;
            recorded = file.recorded(store, batches, &there)?;
        }
        file.judge(batches, &known, &recorded, self.origins, &mut self.fresh)?;
        let new = std::mem::take(&mut self.fresh.ranks);
        self.again = self.again || consolidate::were_replaced(store, &new)?;
        self.batches = std::mem::take(&mut self.fresh.batches).into_iter();
        Ok(true)
    }
}

impl Iterator for NewRows<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.batches.next() {
                return Some(Ok(batch));
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// The file's name in the name of a source.
fn last_part(label: &str) -> &str {
    label.rsplit('/').next().unwrap_or(label)
}

/// Writes rows as what is to be an increment; makes the store where there is none.
fn stage(
    store: &Store,
    target: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch>>,
    now: Timestamp,
) -> Result<Staged> {
    increment::stage(store, &new_stem(store, now)?, target, batches)
}

/// A stem for a new file in `incremental/`, which is made where it is missing.
fn new_stem(store: &Store, now: Timestamp) -> Result<String> {
    let folder = store.layout.incremental();
    store
        .disk
        .create_folder(&folder)
        .map_err(Error::io("create", &folder))?;
    Ok(Stems::new(&*store.disk, now).next_stem())
}

/// Says what was left out of a file, and keeps it in `incremental/rejected_<stem>.jsonl`.
fn keep_rejected(store: &Store, file: &mut File) -> Result<()> {
    file.report.rejected = file.rejected.len() as u64;
    let (Some(first), Some(last)) = (file.rejected.first(), file.rejected.last()) else {
        return Ok(());
    };
    let kept = if file.dry_run {
        String::new()
    } else {
        let name = write_rejected(store, &file.path, &file.rejected, file.now)?;
        format!(", kept in incremental/{name}")
    };
    let last = match file.rejected.len() {
        1 => String::new(),
        _ => format!(" … {}", last.place),
    };
    let note = format!(
        "{} ({}: {}{last}){kept}",
        show_counted(file.report.rejected, "row"),
        first.place,
        first.why,
    );
    file.report.left_out.push(note);
    Ok(())
}

/// Keeps what was left out: file, place, what is wrong with it, and the row.
fn write_rejected(
    store: &Store,
    path: &Path,
    rejected: &[Rejected],
    now: Timestamp,
) -> Result<String> {
    let name = format!("rejected_{}.jsonl", new_stem(store, now)?);
    let folder = store.layout.incremental();
    let place = folder.join(&name);
    let mut text = String::new();
    for row in rejected {
        let line = serde_json::json!({
            "file": path.display().to_string(), "place": row.place, "why": row.why, "row": row.raw,
        });
        text.push_str(&line.to_string());
        text.push('\n');
    }
    let kept = store.disk.create(&place).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync()?;
        store.disk.sync_folder(&folder)
    });
    kept.map_err(Error::io("write", &place))?;
    Ok(name)
}

#[cfg(test)]
mod tests;
