//! Main's rows: tallied once for as long as main stays what it is, and looked up by
//! key when a waiting record may be an attempt at a test that main has.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::files::{Main, same};
use super::resolve::{Resolved, resolve};
use super::scan::Depth;
use crate::stats::{Cell, Tally};
use crate::store::digest::{Columns, Digest, Keep, Reading, Row, row_hashes, short};
use crate::store::disk::Stat;
use crate::store::error::Result;
use crate::store::kind::{self, Shape, shape};
use crate::store::layout::MAIN;
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::{adapt, project};
use crate::store::summary;
use crate::store::tallies;
use crate::store::test_keys::{TestKeys, each_key};
use crate::store::{Control, Store};

/// Above this number of rows main's key hashes are not kept (8 bytes each); each
/// look-up then streams its key columns.
const INDEXED_ROWS: u64 = 16_000_000;

/// A record of main.
#[derive(Debug, Clone)]
pub(super) struct Hit {
    pub(super) row: Row,
    pub(super) cell: Cell,
}

/// What is known of one main.
#[derive(Debug)]
pub(super) struct MainRows {
    stat: Stat,
    reading: Reading,
    /// Whether its rows were read at all.
    tallied: bool,
    /// Its tests after superseding, by cell.
    pub(super) cells: BTreeMap<Cell, Tally>,
    /// Everything else about its rows.
    pub(super) digest: Digest,
    /// Attempts and repeats inside a main that other code wrote.
    pub(super) resolved: Resolved,
    /// The index beside it, where there is one to believe.
    test_keys: Option<TestKeys>,
    /// Without it, sorted hashes of its keys; `None` where there are too many.
    index: Option<Vec<u64>>,
    hits: HashMap<u128, Hit>,
    looked_up: HashSet<u128>,
}

impl MainRows {
    /// Reads nothing yet: enough to look up single tests of a main that a commit made.
    pub(super) fn unread(store: &Store, main: &Main, zone: &TimeZone, now: Timestamp) -> Result<Self> {
        Ok(Self {
            stat: main.file.stat(),
            reading: Reading::of_main(MAIN, main.file.schema(), zone, now)?,
            tallied: false,
            cells: BTreeMap::new(),
            digest: Digest::default(),
            resolved: Resolved::default(),
            test_keys: main.commit.as_ref().and_then(|commit| TestKeys::of(store, &main.file, commit)),
            index: None,
            hits: HashMap::new(),
            looked_up: HashSet::new(),
        })
    }

    /// Takes what the footer tells, or reads the columns that statistics need.
    pub(super) fn read(
        store: &Store,
        main: &Main,
        zone: &TimeZone,
        now: Timestamp,
        control: &Control,
    ) -> Result<Self> {
        let file = &main.file;
        let mut rows = Self::unread(store, main, zone, now)?;
        if let Some(told) = main.commit.as_ref().and_then(|commit| tallies::of(file, commit)) {
            rows.digest = told;
            rows.digest.add_settled(&mut rows.cells);
            rows.tallied = true;
            return Ok(rows);
        }
        let mut reading = rows.reading.clone();
        let mut columns: Vec<&str> = Columns::NAMES.into();
        columns.extend(kind::NAMES);
        if shape(file.schema()) != Shape::Records {
            columns.extend(summary::NAMES);
        }
        reading.target = project(&reading.target, &columns);
        for batch in file.batches(Some(&columns), 0)? {
            control.check()?;
            rows.digest.push(&batch?, &reading)?;
            control.progress("reading main", rows.digest.position, file.rows());
        }
        rows.digest.add_settled(&mut rows.cells);
        rows.settle(main, control)?;
        rows.tallied = true;
        Ok(rows)
    }

    /// Sorts the index, and resolves duplicates where no commit has done so.
    fn settle(&mut self, main: &Main, control: &Control) -> Result<()> {
        let mut hashes = std::mem::take(&mut self.digest.hashes);
        hashes.sort_unstable();
        if main.commit.is_none() {
            let twice: HashSet<u64> = hashes
                .windows(2)
                .filter_map(|pair| (pair.first() == pair.last()).then(|| pair.first().copied())?)
                .collect();
            if !twice.is_empty() {
                self.resolve_own(main, &twice, control)?;
            }
        }
        self.index = (main.file.rows() <= INDEXED_ROWS).then_some(hashes);
        Ok(())
    }

    fn resolve_own(&mut self, main: &Main, twice: &HashSet<u64>, control: &Control) -> Result<()> {
        let found = fetch(&main.file, &self.reading, twice, &all(&main.file), control)?;
        for hit in &found {
            if let Some(tally) = self.cells.get_mut(&hit.cell) {
                tally.subtract(&hit.row.outcome.tally());
            }
            if let Some(task) = hit.row.task {
                self.digest.clusters.subtract(&hit.cell.model, task, hit.row.outcome.trials());
            }
        }
        let digest = Digest::of_rows(found.iter().map(|hit| (&hit.row, &hit.cell)));
        self.resolved = resolve(&[&digest], |_| None, &mut self.cells, &mut self.digest.clusters);
        let losers: HashSet<u64> = self.resolved.losers.iter().flatten().copied().collect();
        for hit in found {
            if !losers.contains(&hit.row.at) {
                self.looked_up.insert(hit.row.key);
                self.hits.insert(hit.row.key, hit);
            }
        }
        Ok(())
    }

    /// Whether this is still what is known of `main`.
    pub(super) fn is_of(&self, main: &Main, zone: &TimeZone, depth: Depth<'_>) -> bool {
        (self.tallied || (depth != Depth::Tallies && main.commit.is_some()))
            && same(&self.stat, &main.file.stat())
            && self.reading.zone == *zone
    }

    /// Makes sure that [`MainRows::get`] knows these keys.
    pub(super) fn look_up(
        &mut self,
        main: &Main,
        keys: impl Iterator<Item = u128>,
        control: &Control,
    ) -> Result<()> {
        let mut keys = keys.peekable();
        let indexed = self.test_keys.is_some() || self.index.is_some();
        if self.tallied && !indexed && main.file.rows() <= INDEXED_ROWS && keys.peek().is_some() {
            self.index = Some(hashes(&main.file, &self.reading, control)?);
        }
        let mut wanted = HashSet::new();
        for key in keys {
            let possible = self.index.as_ref().is_none_or(|index| index.binary_search(&short(key)).is_ok());
            if possible && self.looked_up.insert(key) {
                wanted.insert(short(key));
            }
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let groups = match self.test_keys.as_ref().map(|index| index.groups(&wanted)) {
            Some(Ok(groups)) => groups,
            _ => all(&main.file),
        };
        for hit in fetch(&main.file, &self.reading, &wanted, &groups, control)? {
            let losing = self.hits.get(&hit.row.key).is_some_and(|known| known.row.rank() >= hit.row.rank());
            if !losing {
                self.hits.insert(hit.row.key, hit);
            }
        }
        Ok(())
    }

    /// Main's record of a test, if it has one.
    pub(super) fn get(&self, key: u128) -> Option<&Hit> {
        self.hits.get(&key)
    }
}

/// All row groups.
fn all(file: &ParquetFile) -> Vec<usize> {
    (0..file.metadata().num_row_groups()).collect()
}

/// The hashes of all keys of a file, sorted.
fn hashes(file: &ParquetFile, reading: &Reading, control: &Control) -> Result<Vec<u64>> {
    let mut hashes = Vec::new();
    each_key(file, &reading.zone, &all(file), control, |_, _, key| hashes.push(short(key)))?;
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
    if positions.is_empty() {
        return Ok(Vec::new());
    }
    let mut hits = Vec::with_capacity(positions.len());
    let mut positions_left = positions.iter().copied();
    for batch in file.rows_at(None, &positions)? {
        control.check()?;
        take_hits(&batch?, reading, &mut positions_left, &mut hits)?;
    }
    Ok(hits)
}

fn take_hits(
    batch: &RecordBatch,
    reading: &Reading,
    positions: &mut impl Iterator<Item = u64>,
    hits: &mut Vec<Hit>,
) -> Result<()> {
    let batch = adapt(batch, &reading.target, &reading.zone)?;
    let columns = Columns::new(&batch)?;
    for ((row, hash), at) in row_hashes(&batch)?.into_iter().enumerate().zip(positions) {
        let Some(key) = columns.key(row) else { continue };
        let (timestamp, outcome) = (columns.timestamp(row), columns.outcome(row));
        let row_of = Row { key, timestamp, hash, cell: 0, at, outcome, task: columns.task(row) };
        hits.push(Hit { row: row_of, cell: columns.cell(row) });
    }
    Ok(())
}

impl Reading {
    /// For main: its keyed records are tallied.
    fn of_main(file: &str, schema: &SchemaRef, zone: &TimeZone, now: Timestamp) -> Result<Self> {
        Ok(Self { keep: Keep::Hashes, ..Self::of(file, schema, zone, now)? })
    }
}
