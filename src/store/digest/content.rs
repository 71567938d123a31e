//! The rows of one source (an increment, a journal, main), digested.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::activity::{Activity, Event};
use super::key::{cell_key, key_in};
use super::{Columns, Outcome, is_id, row_hashes};
use crate::stats::clusters::Clusters;
use crate::stats::hashed::Hashed;
use crate::stats::{Cell, Tally};
use crate::store::error::Result;
use crate::store::kind;
use crate::store::schema::{Union, adapt};
use crate::store::summary::Summaries;

/// A record that other attempts may supersede.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The key of its test.
    pub key: u128,
    /// Microseconds since the epoch.
    pub timestamp: Option<i64>,
    /// Hash of the canonical row.
    pub hash: u64,
    /// Its cell ([`Digest::cell`]).
    pub cell: u32,
    /// Its position in the file.
    pub at: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Hash of its `task_id`, where it has one.
    pub task: Option<u64>,
}

impl Row {
    /// What decides between attempts: the larger one counts.
    pub fn rank(&self) -> (Option<i64>, u64) {
        (self.timestamp, self.hash)
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
}

/// What is kept of records with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Each of them, for files that wait; they are in no tally.
    Rows,
    /// The hashes of their keys, for main; they are tallied.
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
            process: crate::store::layout::process_id(file).map(Arc::from),
            keep: Keep::Rows,
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
    /// Records with a key, in the file's order.
    pub keyed: Vec<Row>,
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
    /// What happened.
    pub activity: Activity,
    /// Trials by task of the tallied records.
    pub clusters: Clusters,
}

impl Digest {
    /// Takes in rows as their file holds them.
    pub fn push(&mut self, batch: &RecordBatch, reading: &Reading) -> Result<()> {
        let split = kind::split(batch)?;
        if let Some(summaries) = split.summaries {
            self.summaries.push(&summaries)?;
        }
        if let Some(records) = split.records {
            let records = adapt(&records, &reading.target, &reading.zone)?;
            self.push_records(&records, &split.at, reading)?;
        }
        self.position += batch.num_rows() as u64;
        Ok(())
    }

    fn push_records(&mut self, batch: &RecordBatch, at: &[usize], reading: &Reading) -> Result<()> {
        let columns = Columns::new(batch)?;
        let rows = 0..batch.num_rows();
        let has_keys = || rows.clone().any(|row| columns.text("test_id", row).is_some_and(is_id));
        let hashes = if reading.keep == Keep::Rows && has_keys() { row_hashes(batch)? } else { Vec::new() };
        for (row, at) in rows.zip(at) {
            let cell_key = columns.cell_key(row);
            let (cell, outcome) = self.see(&columns, row, cell_key, reading.process.as_deref(), reading.now);
            let key = key_in(columns.text("test_id", row), cell_key);
            if let (Some(key), Some(&hash)) = (key, hashes.get(row)) {
                let at = self.position + *at as u64;
                let (timestamp, task) = (columns.timestamp(row), columns.task(row));
                self.keyed.push(Row { key, timestamp, hash, cell, at, outcome, task });
                continue;
            }
            self.hashes.extend(key.map(short));
            self.settle(cell, &outcome, columns.task(row));
        }
        Ok(())
    }

    /// Notes that a record is there, and what happened.
    fn see(
        &mut self,
        columns: &Columns,
        row: usize,
        cell_key: u128,
        process: Option<&str>,
        now: i64,
    ) -> (u32, Outcome) {
        let cell = self.intern(cell_key, || columns.cell(row));
        let outcome = columns.outcome(row);
        self.records += 1;
        self.bad_times += u64::from(columns.text("timestamp_text", row).is_some());
        if let Some(cell) = self.cells.get(cell as usize) {
            let process = columns.text("process_id", row).or(process);
            let message = columns.message(row).filter(|_| !outcome.full);
            let (test_id, time) = (columns.text("test_id", row), columns.timestamp(row));
            self.activity.add(Event { cell, test_id, process, time, outcome, message }, now);
        }
        (cell, outcome)
    }

    /// Puts a record into the tallies.
    fn settle(&mut self, cell: u32, outcome: &Outcome, task: Option<u64>) {
        if let Some(tally) = self.tallied.get_mut(cell as usize) {
            tally.add(&outcome.tally());
        }
        if let (Some(task), Some(cell)) = (task, self.cells.get(cell as usize)) {
            self.clusters.add(&cell.model, task, outcome.trials());
        }
    }

    /// Takes in a record that no other attempt supersedes, as main's; tells the number of
    /// its cell.
    pub fn tally(&mut self, columns: &Columns, row: usize, now: i64) -> u32 {
        let (cell, outcome) = self.see(columns, row, columns.cell_key(row), None, now);
        self.settle(cell, &outcome, columns.task(row));
        cell
    }

    /// The number of a row's cell.
    pub fn number_of_cell(&mut self, columns: &Columns, row: usize) -> u32 {
        self.intern(columns.cell_key(row), || columns.cell(row))
    }

    /// By the number of a cell, its place among all cells in their order.
    pub fn places_of_cells(&self) -> Vec<u32> {
        let mut sorted: Vec<(&Cell, usize)> = self.cells.iter().zip(0..).collect();
        sorted.sort_unstable();
        let mut places = vec![0; sorted.len()];
        for ((_, number), place) in sorted.into_iter().zip(0..) {
            places.get_mut(number).into_iter().for_each(|at| *at = place);
        }
        places
    }

    /// Takes a record that was taken in out of the tallies. What happened stays.
    pub fn subtract(&mut self, columns: &Columns, row: usize) {
        let Some(&cell) = self.by_key.get(&columns.cell_key(row)) else { return };
        let outcome = columns.outcome(row);
        self.records -= 1;
        if let Some(tally) = self.tallied.get_mut(cell as usize) {
            tally.subtract(&outcome.tally());
        }
        if let (Some(task), Some(cell)) = (columns.task(row), self.cells.get(cell as usize)) {
            self.clusters.subtract(&cell.model, task, outcome.trials());
        }
    }

    /// The tallied cells.
    pub fn cells(&self) -> impl Iterator<Item = (&Cell, &Tally)> {
        self.cells.iter().zip(&self.tallied).filter(|(_, tally)| tally.tests > 0)
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
        *self.by_key.entry(key).or_insert_with(|| {
            self.cells.push(cell());
            self.keys.push(key);
            self.tallied.push(Tally::default());
            self.cells.len() as u32 - 1
        })
    }

    /// For rows from a position of their file on.
    pub fn starting_at(position: u64) -> Self {
        Self { position, ..Self::default() }
    }

    /// A digest of records that were found before.
    pub fn of_rows<'a>(rows: impl IntoIterator<Item = (&'a Row, &'a Cell)>) -> Self {
        let mut digest = Self::default();
        for (row, cell) in rows {
            let cell = digest.intern(cell_key(cell), || cell.clone());
            digest.keyed.push(Row { cell, ..row.clone() });
            digest.records += 1;
        }
        digest
    }

    /// The cell of a kept row.
    pub fn cell(&self, row: &Row) -> Option<&Cell> {
        self.cells.get(row.cell as usize)
    }

    /// The [`cell_key`] of a kept row's cell.
    pub fn key_of_cell(&self, row: &Row) -> u128 {
        self.keys.get(row.cell as usize).copied().unwrap_or_default()
    }

    /// Rows, a summary row counting as one.
    pub fn rows(&self) -> u64 {
        self.records + self.summaries.rows()
    }

    /// Adds everything that no other attempt can supersede: records without a key
    /// and summary rows.
    pub fn add_settled(&self, cells: &mut BTreeMap<Cell, Tally>) {
        for (cell, tally) in self.cells() {
            add(cells, cell, tally);
        }
        for (cell, tally) in &self.summaries.cells() {
            add(cells, cell, tally);
        }
    }
}

/// The 64 bits of a key that stand for it in an index of main.
pub fn short(key: u128) -> u64 {
    key as u64
}

/// Adds a tally to its cell.
pub fn add(cells: &mut BTreeMap<Cell, Tally>, cell: &Cell, tally: &Tally) {
    match cells.get_mut(cell) {
        Some(sum) => sum.add(tally),
        None => {
            cells.insert(cell.clone(), tally.clone());
        }
    }
}
