//! `pull`: the rows of other stores, taken into this one again and again.
//!
//! Every row has an identity, so taking a row twice, late or in part changes nothing: what was
//! taken is remembered only to save work, and a pull that is killed goes on with the next one.
//! A store on another host is mirrored first, file by file, over `ssh` and SFTP; then it is a
//! folder like any other. Nothing is written into a source.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::known;
use super::mailbox;
use super::mailbox::Url;
use super::mailbox::url::is_url;
use crate::store::aggregate::Columns;
use crate::store::format::heartbeat::{Brought, Heartbeat};
use crate::store::format::layout::live_name;
use crate::store::format::source_note::SourceNote;
use crate::store::read::live::Beats;
use crate::store::read::query::{self, Selection};
use crate::store::write::increment::{self, Stems};
use crate::store::write::{live, session_notes, source_notes};
use crate::store::{Control, Error, Result, Store, row_hashes};

mod empty;
mod mirror;
mod sftp;

pub use empty::{Emptied, Empty, empty};

/// Rows that are looked up in the store at once.
const WINDOW: usize = 262_144;

/// A file's size and time, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) bytes: u64,
    pub(crate) modified: u32,
    pub(crate) is_folder: bool,
}

/// The files of another place, to be read. Paths have slashes.
pub(crate) trait Files {
    /// The entries of a folder; `None` where there is none.
    fn list(&mut self, path: &str) -> Result<Option<Vec<(String, Stat)>>>;

    /// What is at a path; `None` where nothing is.
    fn stat(&mut self, path: &str) -> Result<Option<Stat>>;

    /// Copies the bytes of a file from `begin` to `end` to the same places of `file`. Returns how
    /// many there were: a file may have become shorter.
    fn copy(
        &mut self,
        path: &str,
        begin: u64,
        end: u64,
        file: &std::fs::File,
        control: &Control,
    ) -> Result<u64>;
}

/// The folder of a mirror.
pub(crate) fn mirror_of(cache: &Path, name: &str) -> PathBuf {
    cache.join(format!("{:016x}", xxh3_64(name.as_bytes())))
}

/// Brings the mirror of a bucket up to date; returns the bytes that travelled.
pub(crate) fn mirror_bucket(url: &Url, folder: &Path, control: &Control) -> Result<u64> {
    let mut there = mailbox::files(url)?;
    let taken = mirror::update(&mut *there, "", folder, control);
    taken.map_err(|error| match error {
        Error::NoStore { .. } => Error::NoStore {
            path: url.name().into(),
            remedy: "nothing was put there yet",
        },
        error => error,
    })
}

/// Where rows come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A store's folder on this machine.
    Folder(PathBuf),
    /// A store's folder on a host that `ssh` reaches.
    Host {
        /// `user@host`, as `ssh` takes it.
        host: String,
        /// The folder there; a relative one begins in the user's home.
        path: String,
    },
    /// A bucket that is a mailbox, or holds a copy of a store.
    Bucket(Url),
}

impl Place {
    /// As people write it: a folder, `host:path` or a URL.
    pub fn parse(text: &str) -> Result<Self> {
        if is_url(Path::new(text)) {
            return Ok(match Url::parse(text)? {
                Url::Folder(path) => Self::Folder(path),
                bucket @ Url::Bucket { .. } => Self::Bucket(bucket),
            });
        }
        Ok(Self::parse_path(text))
    }

    fn parse_path(text: &str) -> Self {
        // A colon after a slash belongs to a file's name.
        let colon = if text.starts_with('[') {
            text.find("]:").map(|at| at + 1)
        } else {
            text.find(':').filter(|at| !text[..*at].contains('/'))
        };
        match colon.filter(|at| *at > 0).map(|at| text.split_at(at)) {
            Some((host, path)) => Self::Host {
                host: host.trim_matches(['[', ']']).to_owned(),
                path: match path.trim_start_matches(':') {
                    "" | "~" => ".".to_owned(),
                    path => path.strip_prefix("~/").unwrap_or(path).to_owned(),
                },
            },
            None => Self::Folder(PathBuf::from(text)),
        }
    }

    /// What names it in this store: a folder by its absolute path.
    pub fn name(&self) -> String {
        match self {
            Self::Folder(path) => {
                let whole = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
                whole.as_ref().unwrap_or(path).display().to_string()
            }
            Self::Host { host, path } => format!("{host}:{path}"),
            Self::Bucket(url) => url.name(),
        }
    }
}

/// How the other side is asked.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Where mirrors are kept.
    pub cache: PathBuf,
    /// Somebody is there to answer questions of `ssh`.
    pub answers: bool,
    /// Change nothing, only say what would be taken.
    pub dry_run: bool,
    /// How often it is pulled, in seconds, where that goes on.
    pub every: Option<u64>,
}

/// What a pull took.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pulled {
    /// Rows that the store did not have.
    pub rows: u64,
    /// Bytes that travelled from another host.
    pub bytes: u64,
    /// Nothing had changed since the last pull.
    pub unchanged: bool,
    /// The source is another store than it was.
    pub replaced: bool,
    /// What else there is to say.
    pub notes: Vec<String>,
}

/// Takes what is new at a place into the store, which is made when it is not there.
pub fn pull(
    store: &Store,
    place: &Place,
    options: &Options,
    now: Timestamp,
    control: &Control,
) -> Result<Pulled> {
    let name = place.name();
    let mut note = source_notes::of(store, &name);
    let pulled = pull_into(store, place, &mut note, options, now, control);
    if options.dry_run {
        return pulled;
    }
    note.every = options.every;
    match &pulled {
        Ok(pulled) => {
            note.at = Some(now);
            note.error = None;
            note.rows += pulled.rows;
        }
        Err(Error::Cancelled) => return pulled,
        Err(error) => note.error = Some(error.to_string()),
    }
    if store.check().is_ok() {
        source_notes::keep(store, &note)?;
    }
    pulled
}

fn pull_into(
    store: &Store,
    place: &Place,
    note: &mut SourceNote,
    options: &Options,
    now: Timestamp,
    control: &Control,
) -> Result<Pulled> {
    let mut pulled = Pulled::default();
    let folder = match place {
        Place::Folder(path) => path.clone(),
        Place::Host { host, path } => {
            let folder = mirror_of(&options.cache, &note.name);
            let mut there = sftp::Sftp::connect(host, options.answers)?;
            let taken = mirror::update(&mut there, path, &folder, control);
            pulled.bytes = taken.map_err(|error| there.explain(error))?;
            folder
        }
        Place::Bucket(url) => {
            let folder = mirror_of(&options.cache, &note.name);
            pulled.bytes = mirror_bucket(url, &folder, control)?;
            folder
        }
    };
    let mut source = Store::new(&folder);
    source.zone = store.zone.clone();
    source.check()?;
    same_folder(store, &source)?;
    let id = store_id(&source);
    if let (Some(id), Some(before)) = (&id, &note.store)
        && id != before
    {
        pulled.replaced = true;
        pulled.notes.push(
            "the source is another store than at the last pull: what was taken before stays".into(),
        );
    }
    let seen = fingerprint(&source)?;
    pulled.unchanged = note.seen.as_ref() == Some(&seen) && !pulled.replaced;
    if !pulled.unchanged {
        let left_out;
        (pulled.rows, left_out) = take(store, &source, options.dry_run, now, control)?;
        let sentence = |file: String| format!("left out: {file}");
        pulled.notes.extend(left_out.into_iter().map(sentence));
    }
    if !options.dry_run && store.check().is_ok() {
        for session in session_notes::all(&source)? {
            session_notes::keep(store, &session)?;
        }
        heartbeats(store, &source, note, options, now);
    }
    if pulled.unchanged {
        return Ok(pulled);
    }
    note.store = id.or(note.store.take());
    note.seen = Some(seen);
    Ok(pulled)
}

/// Brings along what the source's writers say of themselves. No row depends on it.
fn heartbeats(store: &Store, source: &Store, note: &SourceNote, options: &Options, now: Timestamp) {
    let micros = |at: Timestamp| at.as_microsecond();
    let own = Beats::default().look(store);
    let own: HashMap<&str, &Heartbeat> = own
        .iter()
        .map(|beat| (beat.said.writer.as_str(), &*beat.said))
        .collect();
    for beat in Beats::default().look(source) {
        let known = own.get(beat.said.writer.as_str());
        // Its own writer, or a copy that came by another way, may be ahead.
        if known.is_some_and(|known| known.beat >= beat.said.beat) {
            continue;
        }
        // It was said after the last pull, if it is new since then.
        let since = known.and(note.at).map_or(0, micros);
        let at = since.max(beat.at.map_or(0, micros)).min(micros(now));
        if micros(now) - at > live::LIFE_SECONDS * 1_000_000 {
            continue;
        }
        let said = Heartbeat {
            brought: Some(Brought {
                at,
                every: options.every,
            }),
            ..Heartbeat::clone(&beat.said)
        };
        let path = store.layout.live().join(live_name(&said.writer));
        if let Err(error) = store.disk.write_hint(&path, &said.to_bytes()) {
            tracing::debug!("{}: no heartbeat: {error}", path.display());
        }
    }
    live::prune(store, now);
}

/// A store that is pulled into itself would only waste time.
fn same_folder(store: &Store, source: &Store) -> Result<()> {
    let whole = |store: &Store| std::fs::canonicalize(store.layout.root());
    match (whole(store), whole(source)) {
        (Ok(own), Ok(other)) if own == other => Err(Error::Refused(format!(
            "{} is the store itself: name another one to pull from",
            other.display()
        ))),
        _ => Ok(()),
    }
}

/// The id of a store, once it had a commit.
fn store_id(source: &Store) -> Option<String> {
    let main = crate::store::parquet::ParquetFile::open(&*source.disk, &source.layout.main());
    let record = crate::store::format::commit_record::CommitRecord::of(&main.ok()?);
    record.ok()??.store.into()
}

/// Names, sizes and times of everything that rows are in.
fn fingerprint(source: &Store) -> Result<String> {
    let incremental = source.layout.incremental();
    let mut all = Vec::new();
    let mut folders = vec![(incremental.clone(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            entries => entries.map_err(Error::io("read", &folder))?,
        };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() && depth < 2 => folders.push((entry.path(), depth + 1)),
                Ok(meta) => all.push(line(&entry.path(), &meta)),
                Err(_) => {}
            }
        }
    }
    let main = source.layout.main();
    if let Ok(meta) = std::fs::metadata(&main) {
        all.push(line(&main, &meta));
    }
    all.sort();
    Ok(format!("{:016x}", xxh3_64(all.concat().as_bytes())))
}

fn line(path: &Path, meta: &std::fs::Metadata) -> String {
    let modified = meta.modified().ok();
    let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |age| age.as_nanos());
    format!("{} {} {modified}\n", path.display(), meta.len())
}

/// Takes the rows of a source that the store lacks; returns how many those are, and the files of
/// the source that do not count there, a sentence each.
fn take(
    store: &Store,
    source: &Store,
    dry_run: bool,
    now: Timestamp,
    control: &Control,
) -> Result<(u64, Vec<String>)> {
    let rows = query::rows(source, &Selection::default(), control)?;
    let left_out = control.left_out();
    let schema = rows.schema().clone();
    // Refuses what can't be united with the store's columns.
    let own = rows.union().known();
    known::columns(store, control)?.add(&source.layout.root().display().to_string(), &own)?;
    let mut fresh = Fresh::new(store, rows, control);
    // Nothing is made, not even the store, before there is something to publish.
    let Some(first) = fresh.next().transpose()? else {
        return Ok((0, left_out));
    };
    if dry_run {
        fresh.by_ref().try_for_each(|batch| batch.map(drop))?;
        return Ok((fresh.count, left_out));
    }
    store.create()?;
    let stem = Stems::new(&*store.disk, now).next_stem();
    let batches = std::iter::once(Ok(first)).chain(fresh.by_ref());
    let staged = increment::stage(store, &stem, &schema, batches)?;
    staged.publish(store)?;
    Ok((fresh.count, left_out))
}

/// The rows of a source that the store lacks, or has an older attempt of.
struct Fresh<'a> {
    store: &'a Store,
    rows: Box<dyn Iterator<Item = Result<RecordBatch>> + 'a>,
    window: std::vec::IntoIter<RecordBatch>,
    control: &'a Control,
    /// Rows that the store lacked, of all that were read.
    count: u64,
    read: u64,
}

impl Iterator for Fresh<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.window.next() {
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

impl<'a> Fresh<'a> {
    fn new(store: &'a Store, rows: query::Rows, control: &'a Control) -> Self {
        Self {
            store,
            rows: Box::new(rows),
            window: Vec::new().into_iter(),
            control,
            count: 0,
            read: 0,
        }
    }

    /// Reads the next rows; `false` at the end.
    fn fill(&mut self) -> Result<bool> {
        let mut batches = Vec::new();
        let mut rows = 0;
        while rows < WINDOW
            && let Some(batch) = self.rows.next()
        {
            self.control.check()?;
            let batch = batch?;
            rows += batch.num_rows();
            self.read += batch.num_rows() as u64;
            batches.push((keys(&batch)?, batch));
        }
        if batches.is_empty() {
            return Ok(false);
        }
        let all = batches.iter().flat_map(|(keys, _)| keys.iter().flatten());
        let there = known::of(self.store, &all.copied().collect(), self.control)?;
        let mut window = Vec::new();
        for (keys, batch) in batches {
            let (columns, hashes) = (Columns::new(&batch)?, row_hashes(&batch, &there.zone)?);
            let newer = |(row, hash)| {
                let Some(key) = keys.get(row).copied().flatten() else {
                    return false;
                };
                let rank = columns.rank(row, hash);
                // What was removed on purpose would not count.
                let known = there.newest.get(&key);
                known.is_none_or(|known| rank > *known) && !there.removed.removes(key, &rank)
            };
            let rows = hashes.into_iter().enumerate();
            let keep: BooleanArray = rows.map(|row| Some(newer(row))).collect();
            let kept = filter_record_batch(&batch, &keep)
                .map_err(|error| Error::Refused(format!("the rows can't be taken in: {error}")))?;
            self.count += kept.num_rows() as u64;
            if kept.num_rows() > 0 {
                window.push(kept);
            }
        }
        self.window = window.into_iter();
        Ok(true)
    }
}

/// The key of each row; `None` for one that is not a test.
fn keys(batch: &RecordBatch) -> Result<Vec<Option<u128>>> {
    let columns = Columns::new(batch)?;
    let rows = 0..batch.num_rows();
    Ok(rows.map(|row| known::key(&columns, row)).collect())
}

#[cfg(test)]
mod tests;
