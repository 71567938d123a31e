//! Main's rows: tallied once for as long as main stays what it is, and looked up by
//! key when a waiting record may be an attempt at a test that main has.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::attempts::{Resolved, resolve};
use super::hits::{Hit, Hits};
use super::main::Main;
use super::main_tally::tally;
use super::scanner::Depth;
use super::stat::same;
use crate::stats::Cells;
use crate::store::aggregate::key_index::{TestKeys, each_key};
use crate::store::aggregate::summary;
use crate::store::aggregate::tallies;
use crate::store::aggregate::{Columns, Digest, Reading, short};
use crate::store::disk::Stat;
use crate::store::error::Result;
use crate::store::format::layout::MAIN;
use crate::store::format::row_kind;
use crate::store::format::row_kind::{Shape, shape};
use crate::store::format::schema::project;
use crate::store::parquet::ParquetFile;
use crate::store::resolve::{Novelty, Removed};
use crate::store::{Control, Store};

/// Above this number of rows main's key hashes are not kept (8 bytes each); each
/// look-up then streams its key columns.
const INDEXED_ROWS: u64 = 16_000_000;

/// What is known of one main.
#[derive(Debug)]
pub(crate) struct MainRows {
    stat: Stat,
    /// What it was compared with.
    behind: Option<String>,
    reading: Reading,
    /// Whether its rows were read at all.
    tallied: bool,
    /// Whether only their cells were counted.
    cells_only: bool,
    /// Its tests after superseding, by cell.
    pub(crate) cells: Cells,
    /// Everything else about its rows.
    pub(crate) digest: Digest,
    /// Attempts and repeats inside a main that other code wrote.
    pub(crate) resolved: Resolved,
    /// The index next to it, where there is one to believe.
    test_keys: Option<TestKeys>,
    /// Without it, sorted hashes of its keys; `None` where there are too many.
    index: Option<Vec<u64>>,
    /// Of a main that the last commit did not make: 64 bits of the keys that it lacks of that.
    pub(crate) lacks: Vec<u64>,
    /// Its records that waiting ones may be attempts at, by the hash of their key.
    hits: HashMap<u64, Vec<Hit>>,
    /// What was removed on purpose: a main that other code wrote may have it yet.
    removed: Arc<Removed>,
    /// Whether it was asked about what waited at an earlier scan.
    pub(crate) asked: bool,
}

impl MainRows {
    /// Reads nothing yet: enough to look up single tests of a main that a commit made.
    pub(crate) fn unread(
        store: &Store,
        main: &Main,
        zone: &TimeZone,
        now: Timestamp,
    ) -> Result<Self> {
        Ok(Self {
            stat: main.file.stat(),
            behind: main.behind.clone(),
            reading: Reading::of(MAIN, main.file.schema(), zone, now)?,
            tallied: false,
            cells_only: false,
            cells: Cells::default(),
            digest: Digest::default(),
            resolved: Resolved::default(),
            test_keys: main
                .commit
                .as_ref()
                .and_then(|commit| TestKeys::of(store, &main.file, commit)),
            index: None,
            lacks: Vec::new(),
            hits: HashMap::new(),
            removed: Arc::default(),
            asked: false,
        })
    }

    /// The same, but for rows that were removed on purpose.
    pub(crate) fn without(self, removed: &Arc<Removed>) -> Self {
        Self {
            removed: Arc::clone(removed),
            ..self
        }
    }

    /// Takes what the footer says; `None` where it does not.
    pub(crate) fn from_footer(
        store: &Store,
        main: &Main,
        zone: &TimeZone,
        now: Timestamp,
    ) -> Result<Option<Self>> {
        let known = main
            .commit
            .as_ref()
            .and_then(|commit| tallies::of(&main.file, commit));
        let Some(digest) = known else { return Ok(None) };
        let mut rows = Self {
            digest,
            tallied: true,
            ..Self::unread(store, main, zone, now)?
        };
        rows.digest.add_settled(&mut rows.cells);
        rows.digest.forget_cells();
        if main.behind.is_some() {
            // An older main of ours.
            let own = hashes(&main.file, &rows.reading, &Control::default())?;
            rows.lacks = lacks(store, main, &own);
        }
        Ok(Some(rows))
    }

    /// Takes what the footer says, or reads the columns that statistics need.
    pub(crate) fn read(
        store: &Store,
        main: &Main,
        zone: &TimeZone,
        now: Timestamp,
        depth: Depth<'_>,
        removed: &Arc<Removed>,
        control: &Control,
    ) -> Result<Self> {
        if let Some(known) = Self::from_footer(store, main, zone, now)? {
            return Ok(known);
        }
        let file = &main.file;
        let mut rows = Self {
            removed: Arc::clone(removed),
            ..Self::unread(store, main, zone, now)?
        };
        let mut reading = rows.reading.clone();
        let mut columns: Vec<&str> = Columns::NAMES.into();
        columns.extend(row_kind::NAMES);
        if depth == Depth::Cells {
            reading.cells_only = true;
            rows.cells_only = true;
            columns.retain(|name| !Columns::ACTIVITY.contains(name));
        }
        if shape(file.schema()) != Shape::Records {
            columns.extend(summary::NAMES);
        }
        reading.target = project(&reading.target, &columns);
        if shape(file.schema()) == Shape::Records {
            rows.digest = tally(file, &columns, &reading, control)?;
        } else {
            for batch in file.batches(Some(&columns), 0)? {
                control.check()?;
                rows.digest.push(&batch?, &reading)?;
                control.progress("reading main", rows.digest.position, file.rows());
            }
        }
        rows.digest.add_settled(&mut rows.cells);
        rows.digest.forget_cells();
        rows.settle(store, main, control)?;
        rows.tallied = true;
        Ok(rows)
    }

    /// Sorts the index, and resolves duplicates where no commit has done so.
    fn settle(&mut self, store: &Store, main: &Main, control: &Control) -> Result<()> {
        let mut hashes = std::mem::take(&mut self.digest.hashes);
        hashes.sort_unstable();
        if main.commit.is_none() {
            self.lacks = lacks(store, main, &hashes);
            let mut twice: HashSet<u64> = hashes
                .windows(2)
                .filter_map(|pair| (pair.first() == pair.last()).then(|| pair.first().copied())?)
                .collect();
            let removed = self.removed.shorts();
            twice.extend(removed.filter(|short| hashes.binary_search(short).is_ok()));
            if !twice.is_empty() {
                self.resolve_own(main, &twice, control)?;
            }
        }
        self.index = (main.file.rows() <= INDEXED_ROWS).then_some(hashes);
        Ok(())
    }

    fn resolve_own(&mut self, main: &Main, twice: &HashSet<u64>, control: &Control) -> Result<()> {
        let found = fetch(&main.file, &self.reading, twice, &all(&main.file), control)?;
        let rows = found.iter().map(|hit| (0, hit));
        self.resolved = resolve(
            1,
            |_| Novelty::Unknown,
            rows,
            |_| None,
            &self.removed,
            &mut self.cells,
            &mut self.digest.clusters,
        );
        let losers: HashSet<u64> = self.resolved.losers.iter().flatten().copied().collect();
        self.keep(found.into_iter().filter(|hit| !losers.contains(&hit.at)));
        Ok(())
    }

    fn keep(&mut self, hits: impl Iterator<Item = Hit>) {
        for hit in hits {
            if self.removed.removes(hit.key, &hit.rank) {
                continue;
            }
            let known = self.hits.entry(short(hit.key)).or_default();
            match known.iter_mut().find(|known| known.key == hit.key) {
                Some(known) if known.rank >= hit.rank => {}
                Some(known) => *known = hit,
                None => known.push(hit),
            }
        }
    }

    /// Whether this is still what is known of `main`.
    pub(crate) fn is_of(&self, main: &Main, zone: &TimeZone, depth: Depth<'_>) -> bool {
        let rows = matches!(depth, Depth::Rows(_)) && main.commit.is_some();
        let counted = self.tallied && (depth != Depth::Tallies || !self.cells_only);
        let known = rows || (counted && self.behind == main.behind);
        known && same(&self.stat, &main.file.stat()) && self.reading.zone == *zone
    }

    /// Which of these hashes of keys (ascending) main has: those [`MainRows::get`] knows
    /// from then on.
    pub(crate) fn look_up(
        &mut self,
        main: &Main,
        shorts: &[u64],
        control: &Control,
    ) -> Result<Vec<u64>> {
        let indexed = self.test_keys.is_some() || self.index.is_some();
        if self.tallied && !indexed && main.file.rows() <= INDEXED_ROWS && !shorts.is_empty() {
            self.index = Some(hashes(&main.file, &self.reading, control)?);
        }
        let possible = |short: &u64| {
            let known = self.hits.contains_key(short);
            !known
                && self
                    .index
                    .as_ref()
                    .is_none_or(|index| index.binary_search(short).is_ok())
        };
        let mut wanted: Vec<u64> = shorts.iter().copied().filter(possible).collect();
        if let Some(Ok(present)) = self.test_keys.as_ref().map(|index| index.present(&wanted)) {
            wanted = present;
        }
        if !wanted.is_empty() {
            let wanted: HashSet<u64> = wanted.into_iter().collect();
            let groups = match self.test_keys.as_ref().map(|index| index.groups(&wanted)) {
                Some(Ok(groups)) => groups,
                _ => all(&main.file),
            };
            let found = fetch(&main.file, &self.reading, &wanted, &groups, control)?;
            self.keep(found.into_iter());
        }
        Ok(shorts
            .iter()
            .copied()
            .filter(|short| self.hits.contains_key(short))
            .collect())
    }

    /// Main's record of a test, if it has one.
    pub(crate) fn get(&self, key: u128) -> Option<&Hit> {
        self.hits
            .get(&short(key))?
            .iter()
            .find(|hit| hit.key == key)
    }
}

/// 64 bits of the keys that the last commit had and of which main, with these, has none.
fn lacks(store: &Store, main: &Main, own: &[u64]) -> Vec<u64> {
    let last = main.behind.as_deref();
    let mut had = last.and_then(|id| TestKeys::shorts_of(store, id));
    let had = had.get_or_insert_default();
    had.retain(|short| own.binary_search(short).is_err());
    had.shrink_to_fit();
    std::mem::take(had)
}

/// All row groups.
fn all(file: &ParquetFile) -> Vec<usize> {
    (0..file.metadata().num_row_groups()).collect()
}

/// The hashes of all keys of a file, sorted.
fn hashes(file: &ParquetFile, reading: &Reading, control: &Control) -> Result<Vec<u64>> {
    let mut hashes = Vec::new();
    each_key(file, &reading.zone, &all(file), control, |_, _, key| {
        hashes.push(short(key));
    })?;
    hashes.sort_unstable();
    Ok(hashes)
}

/// The records of a file whose key's hash is wanted: first their positions, by the
/// key columns alone, then the rows themselves.
fn fetch(
    file: &ParquetFile,
    reading: &Reading,
    wanted: &HashSet<u64>,
    groups: &[usize],
    control: &Control,
) -> Result<Vec<Hit>> {
    let mut positions = Vec::new();
    each_key(file, &reading.zone, groups, control, |_, at, key| {
        if wanted.contains(&short(key)) {
            positions.push(at);
        }
    })?;
    let mut hits = Hits::default();
    if !positions.is_empty() {
        hits.take_at(file, reading, &positions, control)?;
    }
    Ok(hits.found)
}
