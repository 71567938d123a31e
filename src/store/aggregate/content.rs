//! The rows of one source (an increment, a journal, main), digested.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::activity::{Activity, Event};
use super::{Columns, Outcome};
use crate::stats::clusters::Clusters;
use crate::stats::collections::Hashed;
use crate::stats::paired::Trials;
use crate::stats::{Cell, Cells, Tally};
use crate::store::aggregate::summary::Summaries;
use crate::store::error::{Error, Result};
use crate::store::format::is_derived;
use crate::store::format::key::{cell_key, key_in};
use crate::store::format::row_kind;
use crate::store::format::schema::{Union, adapt, naive_rows};

/// Where a record is that has a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// 64 bits of the key ([`short`]).
    pub short: u64,
    /// Number of its source ([`Keep::Places`]).
    pub source: u32,
    /// Its position in the file.
    pub at: u32,
}

/// Rows whose time names no zone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Naive {
    /// How many.
    pub rows: u64,
    /// The newest row of the batches with some, as the store's zone has it; microseconds since
    /// the epoch.
    pub newest: Option<i64>,
}

impl Naive {
    /// Adds those of other rows.
    pub fn add(&mut self, other: Self) {
        self.rows += other.rows;
        self.newest = self.newest.max(other.newest);
    }
}

/// How batches are read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The united columns that records are converted to.
    pub target: SchemaRef,
    /// Zone of naive timestamps.
    pub zone: TimeZone,
    /// Now, in microseconds since the epoch.
    pub now: i64,
    /// The process id of rows that have none.
    pub process: Option<Arc<str>>,
    /// What is kept of records with a key.
    pub keep: Keep,
    /// Whether what happened is left out.
    pub cells_only: bool,
    /// Whether a row without a model is an error. In a main it counts as "unknown": older
    /// versions took such rows in.
    pub needs_model: bool,
}

/// What is kept of records with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Where they are, for files that wait; the number is the file's.
    Places(u32),
    /// The hashes of their keys, for main.
    Hashes,
}

impl Reading {
    /// For a file with these columns, on its own; an error when they conflict with
    /// the canonical ones.
    pub fn of(file: &str, schema: &SchemaRef, zone: &TimeZone, now: Timestamp) -> Result<Self> {
        let mut union = Union::new();
        union.add(file, schema)?;
        Ok(Self {
            target: union.finish(),
            zone: zone.clone(),
            now: now.as_microsecond(),
            process: crate::store::format::layout::process_id(file).map(Arc::from),
            keep: Keep::Hashes,
            cells_only: false,
            needs_model: false,
        })
    }
}

/// The digested rows.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    cells: Vec<Cell>,
    /// Their keys, in the same order.
    keys: Vec<u128>,
    by_key: Hashed<u128, u32>,
    /// The same by [`Columns::quick_cells`].
    by_quick: Hashed<u128, u32>,
    names: HashSet<Arc<str>>,
    /// Records with a key.
    pub places: Vec<Place>,
    tallied: Vec<Tally>,
    /// 64 bits of the key of each tallied record that has one.
    pub hashes: Vec<u64>,
    /// The position of the next row.
    pub position: u64,
    /// Summary rows.
    pub summaries: Summaries,
    /// Records.
    pub records: u64,
    /// Times that are no times.
    pub bad_times: u64,
    /// Rows with a negative time, or a rate outside 0 to 1.
    pub bad_values: u64,
    /// Rows that bring neither an id nor a time.
    pub bare: u64,
    /// Rows whose time names no zone.
    pub naive: Naive,
    /// What happened.
    pub activity: Activity,
    /// Trials by task of the tallied records.
    pub clusters: Clusters,
}

impl Digest {
    /// Takes in rows as their file holds them.
    pub fn push(&mut self, batch: &RecordBatch, reading: &Reading) -> Result<()> {
        let split = row_kind::split(batch)?;
        if let Some(summaries) = split.summaries {
            self.summaries.push(&summaries)?;
        }
        if let Some(records) = split.records {
            let naive = naive_rows(&records);
            let records = adapt(&records, &reading.target, &reading.zone)?;
            if naive > 0 {
                let times = Columns::new(&records)?;
                let times = (0..records.num_rows()).filter_map(|row| times.timestamp(row));
                let newest = times.max();
                self.naive.add(Naive {
                    rows: naive,
                    newest,
                });
            }
            self.push_records(&records, &split.at, reading)?;
        }
        self.position += batch.num_rows() as u64;
        Ok(())
    }

    fn push_records(&mut self, batch: &RecordBatch, at: &[usize], reading: &Reading) -> Result<()> {
        let columns = Columns::new(batch)?;
        if reading.needs_model {
            check_models(&columns, batch.num_rows())?;
        }
        let happened = (!reading.cells_only).then_some((reading.now, reading.process.as_deref()));
        let cells = self.tally(&columns, batch.num_rows(), happened);
        for ((row, at), cell) in at.iter().enumerate().zip(cells) {
            let test_id = columns.text("test_id", row);
            let key = key_in(test_id, self.key_of(cell), columns.session(row));
            if columns.timestamp(row).is_none() {
                self.bare += u64::from(test_id.is_some_and(is_derived));
            }
            if let Some(short) = key.map(short) {
                match reading.keep {
                    Keep::Hashes => self.hashes.push(short),
                    Keep::Places(source) => {
                        let at =
                            u32::try_from(self.position + *at as u64).map_err(|_| too_many())?;
                        self.places.push(Place { short, source, at });
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes in the first `rows` of a batch, records that no other attempt supersedes;
    /// returns the numbers of their cells. What happened is left out without `happened`: now,
    /// and the process of rows that have none.
    pub fn tally(
        &mut self,
        columns: &Columns,
        rows: usize,
        happened: Option<(i64, Option<&str>)>,
    ) -> Vec<u32> {
        let cells = self.cells_of(columns, rows);
        let mut events = Vec::with_capacity(cells.len());
        let mut trials: Vec<(usize, u32, u64, Trials)> = Vec::new();
        for (row, &cell) in cells.iter().enumerate() {
            let outcome = columns.outcome(row);
            self.bad_times += u64::from(columns.text("timestamp_text", row).is_some());
            self.bad_values += u64::from(columns.is_out_of_range(row));
            if let Some(tally) = self.tallied.get_mut(cell as usize) {
                outcome.add_to(tally);
            }
            if let Some((of, (_, process))) = self.cells.get(cell as usize).zip(happened) {
                events.push(event(columns, row, of, outcome, process));
                let model = of.model.as_ptr() as usize;
                let task = columns.task(row).zip(outcome.trials());
                trials.extend(task.map(|(task, of)| (model, cell, task, of)));
            }
        }
        self.records += cells.len() as u64;
        if let Some((now, _)) = happened {
            self.activity.add_all(&events, now);
        }
        trials.sort_unstable_by_key(|(model, ..)| *model);
        for group in trials.chunk_by(|(one, ..), (other, ..)| one == other) {
            if let Some(cell) = group
                .first()
                .and_then(|(_, cell, ..)| self.cells.get(*cell as usize))
            {
                let of_model = group.iter().map(|(.., task, trials)| (*task, *trials));
                self.clusters.add_all(&cell.model, of_model);
            }
        }
        cells
    }

    /// [`cell_key`] of the cell of a number.
    pub fn key_of(&self, cell: u32) -> u128 {
        self.keys.get(cell as usize).copied().unwrap_or_default()
    }

    /// The numbers of the rows' cells.
    pub fn cells_of(&mut self, columns: &Columns, rows: usize) -> Vec<u32> {
        let number = |(row, quick): (usize, u128)| {
            self.by_quick
                .get(&quick)
                .copied()
                .unwrap_or_else(|| self.learn(quick, columns, row))
        };
        columns
            .quick_cells(rows)
            .into_iter()
            .enumerate()
            .map(number)
            .collect()
    }

    /// The number of a row's cell, which is then known by `quick` too.
    fn learn(&mut self, quick: u128, columns: &Columns, row: usize) -> u32 {
        let cell = self.intern(columns.cell_key(row), || columns.cell(row));
        self.by_quick.insert(quick, cell);
        cell
    }

    /// Adds tests of a cell that were tallied before; `quick` is [`Columns::quick_cells`] of it.
    pub(crate) fn add_cell(
        &mut self,
        quick: u128,
        cell: impl FnOnce() -> Option<Cell>,
        tally: &Tally,
    ) {
        let at = self.by_quick.get(&quick).copied().or_else(|| {
            let cell = cell()?;
            let at = self.intern(cell_key(&cell), || cell);
            self.by_quick.insert(quick, at);
            Some(at)
        });
        if let Some(sum) = at.and_then(|at| self.tallied.get_mut(at as usize)) {
            sum.add(tally);
        }
    }

    /// Adds what another digest has of records; not where they are. Says the numbers
    /// that its cells have here.
    pub fn merge(&mut self, other: &Self) -> Vec<u32> {
        let mut numbers = Vec::with_capacity(other.cells.len());
        for ((cell, key), tally) in other.cells.iter().zip(&other.keys).zip(&other.tallied) {
            let at = self.intern(*key, || cell.clone());
            if let Some(sum) = self.tallied.get_mut(at as usize) {
                sum.add(tally);
            }
            numbers.push(at);
        }
        self.records += other.records;
        self.bad_times += other.bad_times;
        self.bad_values += other.bad_values;
        self.bare += other.bare;
        self.naive.add(other.naive);
        self.activity.merge(&other.activity);
        self.clusters.merge(&other.clusters);
        numbers
    }

    /// Takes a record that was taken in out of the tallies. What happened stays.
    pub fn subtract(&mut self, columns: &Columns, row: usize) {
        let Some(&cell) = self.by_key.get(&columns.cell_key(row)) else {
            return;
        };
        let outcome = columns.outcome(row);
        self.records -= 1;
        if let Some(tally) = self.tallied.get_mut(cell as usize) {
            tally.subtract(&outcome.tally());
        }
        let task = columns.task(row).zip(outcome.trials());
        if let (Some((task, trials)), Some(cell)) = (task, self.cells.get(cell as usize)) {
            self.clusters.subtract(&cell.model, task, trials);
        }
    }

    /// How many cells have a number.
    pub fn cells_known(&self) -> usize {
        self.cells.len()
    }

    /// The tallied cells.
    pub fn cells(&self) -> impl Iterator<Item = (&Cell, &Tally)> {
        self.cells
            .iter()
            .zip(&self.tallied)
            .filter(|(_, tally)| tally.tests > 0)
    }

    /// Forgets the cells, which are elsewhere; everything else stays.
    pub fn forget_cells(&mut self) {
        (self.cells, self.keys, self.tallied) = (Vec::new(), Vec::new(), Vec::new());
        (self.by_key, self.by_quick) = (Hashed::default(), Hashed::default());
        self.names = HashSet::new();
    }

    /// A digest of records that were tallied before.
    pub fn of_cells(cells: Vec<(Cell, Tally)>) -> Self {
        let mut digest = Self::default();
        for (cell, tally) in cells {
            digest.records += tally.tests;
            let at = digest.intern(cell_key(&cell), || cell);
            if let Some(sum) = digest.tallied.get_mut(at as usize) {
                sum.add(&tally);
            }
        }
        digest
    }

    fn intern(&mut self, key: u128, cell: impl FnOnce() -> Cell) -> u32 {
        if let Some(&at) = self.by_key.get(&key) {
            return at;
        }
        let cell = self.share_names(cell());
        self.cells.push(cell);
        self.keys.push(key);
        self.tallied.push(Tally::default());
        let at = self.cells.len() as u32 - 1;
        self.by_key.insert(key, at);
        at
    }

    /// The cell with the names that other cells have already: few names make many cells.
    fn share_names(&mut self, cell: Cell) -> Cell {
        let mut share = |name: Arc<str>| {
            if let Some(known) = self.names.get(&name) {
                return Arc::clone(known);
            }
            self.names.insert(Arc::clone(&name));
            name
        };
        Cell {
            model: share(cell.model),
            prompt_type: share(cell.prompt_type),
            difficulty: share(cell.difficulty),
            task_type: share(cell.task_type),
            ..cell
        }
    }

    /// For rows from a position of their file on.
    pub fn starting_at(position: u64) -> Self {
        Self {
            position,
            ..Self::default()
        }
    }

    /// Rows, a summary row counting as one.
    pub fn rows(&self) -> u64 {
        self.records + self.summaries.rows()
    }

    /// Adds everything to what is there.
    pub fn add_settled(&self, cells: &mut Cells) {
        for (cell, tally) in self.cells() {
            cells.add(cell, tally);
        }
        self.summaries
            .each_without(&[], |cell, tally| cells.add(cell, tally));
    }
}

fn event<'a>(
    columns: &'a Columns,
    row: usize,
    cell: &'a Cell,
    outcome: Outcome,
    process: Option<&'a str>,
) -> Event<'a> {
    let process = columns.text("process_id", row).or(process);
    let message = columns.message(row).filter(|_| !outcome.full);
    let (test_id, time) = (columns.text("test_id", row), columns.timestamp(row));
    Event {
        cell,
        test_id,
        process,
        time,
        outcome,
        message,
    }
}

/// Refuses records of which nobody knows the model.
pub fn check_models(columns: &Columns, rows: usize) -> Result<()> {
    match columns.without_model(rows) {
        None => Ok(()),
        Some(_) => Err(Error::Refused(
            "column 'model' is empty in some of its rows: say whose tests these are".to_owned(),
        )),
    }
}

fn too_many() -> Error {
    Error::Refused("a file has more than four billion rows: split it".to_owned())
}

/// For each digest, by the numbers of its cells, their places among the cells of all
/// digests in their order.
pub fn places_of_cells(digests: &[Digest]) -> Vec<Vec<u32>> {
    let mut places: Vec<Vec<u32>> = digests
        .iter()
        .map(|digest| vec![0; digest.cells.len()])
        .collect();
    let mut sorted: Vec<(&Cell, usize, usize)> = Vec::new();
    for (of, digest) in digests.iter().enumerate() {
        sorted.extend(
            digest
                .cells
                .iter()
                .enumerate()
                .map(|(number, cell)| (cell, of, number)),
        );
    }
    sorted.sort_unstable();
    for (place, same) in sorted
        .chunk_by(|(one, ..), (other, ..)| one == other)
        .enumerate()
    {
        for &(_, of, number) in same {
            let at = places.get_mut(of).and_then(|places| places.get_mut(number));
            if let Some(at) = at {
                *at = place as u32;
            }
        }
    }
    places
}

/// [`cell_key`]s of rows, each made once.
#[derive(Debug, Default)]
pub struct CellKeys {
    /// By [`Columns::quick_cells`].
    known: Hashed<u128, u128>,
}

impl CellKeys {
    /// `format::key` of each of the first rows.
    pub fn keys(&mut self, columns: &Columns, rows: usize) -> impl Iterator<Item = Option<u128>> {
        columns
            .quick_cells(rows)
            .into_iter()
            .enumerate()
            .map(|(row, quick)| {
                let test_id = columns.text("test_id", row)?;
                let cell = *self
                    .known
                    .entry(quick)
                    .or_insert_with(|| columns.cell_key(row));
                key_in(Some(test_id), cell, columns.session(row))
            })
    }
}

/// The 64 bits of a key that stand for it in an index of main.
pub fn short(key: u128) -> u64 {
    key as u64
}
