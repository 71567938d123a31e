//! The rows of one source (an increment, a journal, main), digested.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::activity::Activity;
use super::key::key_in;
use super::{Columns, Outcome, is_id, row_hashes};
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
    /// How it ended.
    pub outcome: Outcome,
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
    /// Whether records with a key are kept one by one; otherwise all are tallied.
    pub keep_keyed: bool,
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
            keep_keyed: true,
        })
    }
}

/// The digested rows.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    cells: Vec<Cell>,
    by_key: HashMap<u128, u32>,
    /// Records with a key, in the file's order.
    pub keyed: Vec<Row>,
    tallied: Vec<Tally>,
    /// Summary rows.
    pub summaries: Summaries,
    /// Records.
    pub records: u64,
    /// Times that are no times.
    pub bad_times: u64,
    /// What recently happened.
    pub activity: Activity,
}

impl Digest {
    /// Takes in rows as their file holds them.
    pub fn push(&mut self, batch: &RecordBatch, reading: &Reading) -> Result<()> {
        let split = kind::split(batch)?;
        if let Some(summaries) = split.summaries {
            self.summaries.push(&summaries)?;
        }
        if let Some(records) = split.records {
            self.push_records(&adapt(&records, &reading.target, &reading.zone)?, reading)?;
        }
        Ok(())
    }

    fn push_records(&mut self, batch: &RecordBatch, reading: &Reading) -> Result<()> {
        let columns = Columns::new(batch)?;
        let rows = 0..batch.num_rows();
        let has_keys = || rows.clone().any(|row| columns.text("test_id", row).is_some_and(is_id));
        let hashes = if reading.keep_keyed && has_keys() { row_hashes(batch)? } else { Vec::new() };
        for row in rows {
            let cell_key = columns.cell_key(row);
            let cell = self.intern(cell_key, || columns.cell(row));
            let outcome = columns.outcome(row);
            let timestamp = columns.timestamp(row);
            self.records += 1;
            self.bad_times += u64::from(columns.text("timestamp_text", row).is_some());
            let process = columns.text("process_id", row).or(reading.process.as_deref());
            if let Some(model) = self.cells.get(cell as usize).map(|cell| cell.model.clone()) {
                self.activity.add(&model, process, timestamp, &outcome, reading.now);
            }
            let key = hashes
                .get(row)
                .and_then(|hash| Some((key_in(columns.text("test_id", row), cell_key)?, *hash)));
            match key {
                Some((key, hash)) => self.keyed.push(Row { key, timestamp, hash, cell, outcome }),
                None => {
                    if let Some(tally) = self.tallied.get_mut(cell as usize) {
                        tally.add(&outcome.tally());
                    }
                }
            }
        }
        Ok(())
    }

    fn intern(&mut self, key: u128, cell: impl FnOnce() -> Cell) -> u32 {
        *self.by_key.entry(key).or_insert_with(|| {
            self.cells.push(cell());
            self.tallied.push(Tally::default());
            self.cells.len() as u32 - 1
        })
    }

    /// The cell of a kept row.
    pub fn cell(&self, row: &Row) -> Option<&Cell> {
        self.cells.get(row.cell as usize)
    }

    /// Rows, a summary row counting as one.
    pub fn rows(&self) -> u64 {
        self.records + self.summaries.rows()
    }

    /// Adds everything that no other attempt can supersede: records without a key
    /// and summary rows.
    pub fn add_settled(&self, cells: &mut BTreeMap<Cell, Tally>) {
        let own = self.cells.iter().zip(&self.tallied).filter(|(_, tally)| tally.tests > 0);
        for (cell, tally) in own {
            add(cells, cell, tally);
        }
        for (cell, tally) in &self.summaries.cells() {
            add(cells, cell, tally);
        }
    }
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
