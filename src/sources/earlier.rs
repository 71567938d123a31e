//! What a store has of a file from before: the source that its rows belong to, and the rows
//! of that source that a new import takes the place of.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::Path;

use arrow::array::{Array, StringArray};
use jiff::Timestamp;
use xxhash_rust::xxh3::xxh3_64;

use super::convert;
use super::known;
use super::ledger::{Kinship, Ledger, Version};
use super::mapping::{Ids, Plan, SOURCE};
use super::source::{Source, bad_row};
use crate::store::aggregate::Columns;
use crate::store::format::schema::DIMENSIONS;
use crate::store::read::query;
use crate::store::read::query::Selection;
use crate::store::{Control, Error, Result, Store};

/// Tasks by which files are found that may be two runs of the same.
const TASKS: usize = 16;

/// A row of the source that the store has.
#[derive(Debug, Clone)]
struct Old {
    /// The hash of its id.
    id: u64,
    session: Option<String>,
}

/// The source of a file, and what the store has of it.
#[derive(Debug, Clone)]
#[allow(clippy::struct_excessive_bools)] // each says something of its own
pub(crate) struct Earlier {
    /// The source's name.
    pub(crate) label: String,
    /// Whether the file names its source and its tests itself: then a newer attempt counts
    /// and what a file lacks stays.
    pub(crate) named: bool,
    /// The rows are those of the last import, or more, with the same settings.
    pub(crate) settled: bool,
    /// The file holds just what was imported last.
    pub(crate) held: bool,
    /// The import before; `None` where there is none.
    pub(crate) version: Option<Version>,
    /// Its rows that were not met in the file yet, by key.
    old: HashMap<u128, Old>,
    /// Hashes of the ids in the file.
    ids: HashSet<u64>,
    /// Sessions of the file's rows.
    sessions: HashSet<String>,
    /// The sum over the contents of the rows, for the next time.
    pub(crate) content: u128,
    /// Whether the file begins with the last version.
    grown: bool,
    /// The smallest hashes of its models' tasks.
    pub(crate) tasks: BTreeSet<u64>,
}

/// What is looked up for a file.
pub(crate) struct Search<'a> {
    pub(crate) store: &'a Store,
    pub(crate) path: &'a Path,
    pub(crate) plan: &'a Plan,
    pub(crate) source: &'a dyn Source,
    pub(crate) ledger: &'a Ledger,
    /// The hash of the settings.
    pub(crate) settings: &'a str,
    /// The source's name, where the user gave one.
    pub(crate) label: Option<&'a str>,
    /// Sources of which the store does not have all that the ledger says yet, and the keys of
    /// the rows that are on their way.
    pub(crate) coming: &'a HashSet<String>,
    pub(crate) keys: &'a HashSet<u128>,
    pub(crate) control: &'a Control,
}

impl Search<'_> {
    /// Finds the source of the file and what the store has of it; `None` where that depends on
    /// rows that have to go into the store first.
    pub(crate) fn run(&self, olds: &mut Olds) -> Result<Option<Earlier>> {
        if let Some(label) = self.source.label() {
            let label = self.label.map_or(label, str::to_owned);
            let version = self.ledger.newest(&label).cloned();
            let settled = version
                .as_ref()
                .is_none_or(|version| version.settings == self.settings);
            let mut earlier = Earlier::new(label, version);
            (earlier.named, earlier.settled) = (true, settled);
            if settled {
                earlier.held = self.is_held(earlier.version.as_ref())?;
            } else if self.coming.contains(&earlier.label) {
                return Ok(None);
            } else {
                earlier.old = olds.get(&earlier.label, self)?;
                if earlier.has_any(self.keys) {
                    return Ok(None);
                }
            }
            return Ok(Some(earlier));
        }
        let path = match self.label {
            Some(label) => label.to_owned(),
            None => std::fs::canonicalize(self.path)
                .unwrap_or_else(|_| self.path.to_path_buf())
                .display()
                .to_string(),
        };
        let kinship = self.kinship(&path)?;
        let (label, same, grown) = match kinship {
            Kinship::Held(label) | Kinship::Grown(label) => (label, true, true),
            Kinship::Older(label) => (label, false, false),
            Kinship::New => (path, false, false),
        };
        let version = self.ledger.newest(&label).cloned();
        let settled = same
            && version
                .as_ref()
                .is_some_and(|version| version.settings == self.settings);
        let mut earlier = Earlier::new(label, version);
        (earlier.settled, earlier.held, earlier.grown) = (settled, settled, grown);
        if earlier.version.is_none() || settled {
            return Ok(Some(earlier));
        }
        if self.coming.contains(&earlier.label) {
            return Ok(None);
        }
        earlier.old = olds.get(&earlier.label, self)?;
        // They may take the place of these.
        if earlier.has_any(self.keys) {
            return Ok(None);
        }
        if !same && !self.related(&earlier)? {
            // Another file of the same name: both count.
            let label = self.ledger.another(&earlier.label);
            return Ok(Some(Earlier::new(label, None)));
        }
        Ok(Some(earlier))
    }

    /// Whether a log holds just what a version held.
    fn is_held(&self, version: Option<&Version>) -> Result<bool> {
        let Some(version) = version else {
            return Ok(false);
        };
        let (mut rows, mut sum) = (0_u64, 0_u128);
        self.contents(|content| {
            rows += 1;
            sum = sum.wrapping_add(content);
        })?;
        Ok((rows, format!("{sum:x}")) == (version.rows, version.content.clone()))
    }

    /// Reads the contents of all rows.
    fn contents(&self, mut each: impl FnMut(u128)) -> Result<()> {
        for chunk in self.source.chunks()? {
            self.control.check()?;
            let chunk = chunk?;
            let contents = self.plan.contents(&chunk.batch, &self.store.zone);
            let contents =
                contents.map_err(|bad| bad_row(self.path, &chunk.places.of(bad.row), &bad.why))?;
            contents.into_iter().for_each(&mut each);
        }
        Ok(())
    }

    /// What the file's contents are to those that were imported before.
    fn kinship(&self, path: &str) -> Result<Kinship> {
        let marks = self.ledger.marks();
        if marks.is_empty() {
            return Ok(Kinship::New);
        }
        let (mut rows, mut sum, mut sums) = (0_u64, 0_u128, HashMap::new());
        self.contents(|content| {
            rows += 1;
            sum = sum.wrapping_add(content);
            if marks.contains(&rows) {
                sums.insert(rows, sum);
            }
        })?;
        Ok(self.ledger.kinship(path, rows, &sums))
    }

    /// Whether at least half of the rows are those of the import before.
    fn related(&self, earlier: &Earlier) -> Result<bool> {
        let there: HashSet<u64> = earlier.old.values().map(|old| old.id).collect();
        let (mut rows, mut hits) = (0_usize, 0_usize);
        let mut ids = Ids::new(&earlier.label);
        for chunk in self.source.chunks()? {
            self.control.check()?;
            let chunk = chunk?;
            let made = self.plan.ids(&chunk.batch, &self.store.zone, &mut ids);
            let made =
                made.map_err(|bad| bad_row(self.path, &chunk.places.of(bad.row), &bad.why))?;
            rows += made.len();
            hits += made
                .iter()
                .flatten()
                .filter(|id| there.contains(&xxh3_64(id.as_bytes())))
                .count();
        }
        Ok(hits * 2 >= rows.min(there.len()))
    }
}

/// The rows that a store has of each source, for as long as it does not change.
#[derive(Debug, Default)]
pub(crate) struct Olds {
    of: HashMap<String, HashMap<u128, Old>>,
    /// Whether all sources were read.
    read: bool,
}

impl Olds {
    /// Rows of all sources that are held at once.
    const MOST: usize = 262_144;

    /// The rows of a source. Those of the others are kept: the next file may be one of them.
    fn get(&mut self, label: &str, search: &Search<'_>) -> Result<HashMap<u128, Old>> {
        if self.read {
            return Ok(self.of.get(label).cloned().unwrap_or_default());
        }
        let (mut held, mut whole) = (0, true);
        let all = &mut self.of;
        each_row(search, |source, key, old| {
            if source != label && whole {
                held += 1;
                if held > Self::MOST {
                    whole = false;
                    all.retain(|other, _| other == label);
                }
            }
            if source == label || whole {
                match all.get_mut(source) {
                    Some(rows) => rows.insert(key, old),
                    None => all.entry(source.to_owned()).or_default().insert(key, old),
                };
            }
        })?;
        self.read = whole;
        Ok(self.of.get(label).cloned().unwrap_or_default())
    }
}

/// Reads the store's rows that have a source.
fn each_row(search: &Search<'_>, mut take: impl FnMut(&str, u128, Old)) -> Result<()> {
    let has = known::columns(search.store, search.control)?
        .finish()
        .field_with_name(SOURCE)
        .is_ok();
    if !has {
        return Ok(());
    }
    let names = [&DIMENSIONS[..], &["test_id", "session_id", SOURCE]].concat();
    let selection = Selection {
        columns: Some(names.iter().map(|name| (*name).to_owned()).collect()),
        ..Selection::default()
    };
    for batch in query::rows(search.store, &selection, search.control)? {
        search.control.check()?;
        let batch = batch?;
        let columns = Columns::new(&batch)?;
        let text = |name: &str| -> Result<Option<StringArray>> {
            let column = batch.column_by_name(name).map(convert::texts);
            column
                .transpose()
                .map_err(|bad| Error::Refused(format!("column '{name}': {}", bad.why)))
        };
        let (Some(sources), Some(ids)) = (text(SOURCE)?, text("test_id")?) else {
            continue;
        };
        let sessions = text("session_id")?;
        for row in (0..batch.num_rows()).filter(|row| sources.is_valid(*row)) {
            let Some(key) = known::key(&columns, row) else {
                continue;
            };
            let session = sessions.as_ref().filter(|texts| texts.is_valid(row));
            let old = Old {
                id: xxh3_64(ids.value(row).as_bytes()),
                session: session.map(|texts| texts.value(row).to_owned()),
            };
            take(sources.value(row), key, old);
        }
    }
    Ok(())
}

impl Earlier {
    fn new(label: String, version: Option<Version>) -> Self {
        Self {
            label,
            named: false,
            settled: false,
            held: false,
            version,
            old: HashMap::new(),
            ids: HashSet::new(),
            sessions: HashSet::new(),
            content: 0,
            grown: false,
            tasks: BTreeSet::new(),
        }
    }

    /// Whether some keys are those of the source's rows.
    pub(crate) fn has_any(&self, keys: &HashSet<u128>) -> bool {
        !keys.is_empty() && self.old.keys().any(|key| keys.contains(key))
    }

    /// Takes note of a row of the file; whether the source's rows had its test.
    pub(crate) fn meet(&mut self, key: u128, id: &str, session: Option<&str>) -> bool {
        if self.old.is_empty() && self.ids.is_empty() {
            return false;
        }
        if self.named {
            self.ids.insert(xxh3_64(id.as_bytes()));
        }
        if let Some(session) = session.filter(|session| !self.sessions.contains(*session)) {
            self.sessions.insert(session.to_owned());
        }
        self.old.remove(&key).is_some()
    }

    /// Keys of the rows that the file takes the place of without having their tests: cells
    /// or ids were others, or the rows are gone from it. Other sessions stay.
    pub(crate) fn gone(&self) -> impl Iterator<Item = u128> + '_ {
        let goes = |old: &Old| {
            let session = match &old.session {
                Some(session) => self.sessions.contains(session),
                None => true,
            };
            session && (!self.named || self.ids.contains(&old.id))
        };
        self.old
            .iter()
            .filter(move |(_, old)| goes(old))
            .map(|(key, _)| *key)
    }

    /// Takes note of a task of a model.
    pub(crate) fn task(&mut self, hash: u64) {
        self.tasks.insert(hash);
        if self.tasks.len() > TASKS {
            self.tasks.pop_last();
        }
    }

    /// The version to remember.
    pub(crate) fn version(&self, rows: u64, settings: &str, at: Timestamp) -> Version {
        Version {
            label: self.label.clone(),
            at,
            rows,
            content: format!("{:x}", self.content),
            settings: settings.to_owned(),
            grown: self.grown,
            tasks: self.tasks.iter().copied().collect(),
        }
    }

    /// Whether the list of imports has to learn of this one.
    pub(crate) fn is_news(&self, rows: u64, settings: &str) -> bool {
        let now = self.version(rows, settings, Timestamp::UNIX_EPOCH);
        self.version.as_ref().is_none_or(|before| {
            (before.rows, &before.content, &before.settings)
                != (now.rows, &now.content, &now.settings)
        })
    }
}
