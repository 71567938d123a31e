//! Whether the tests that lost writers had in flight have results by now: somebody ran them again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::observation::{InFlightView, WriterView};
use crate::store::aggregate::Columns;
use crate::store::read::query::{Filter, Selection, rows_chosen};
use crate::store::{Control, Result, Store};

/// Looking for results takes at most about this share of the time.
const SHARE: u32 = 20;
/// And happens at most so often.
const EVERY: Duration = Duration::from_secs(2);
/// The columns that say whose result a row is.
const COLUMNS: [&str; 4] = ["model", "test_id", "task_id", "timestamp"];

/// What is known of lost writers, from scan to scan.
#[derive(Debug, Default)]
pub(super) struct Settled {
    /// By writer: its tests that had no result at the last scan.
    open: BTreeMap<String, Vec<InFlightView>>,
    /// Rows in the store at the last scan.
    rows: Option<u64>,
    /// When the next one may be.
    next: Option<Instant>,
}

impl Settled {
    /// Marks the lost writers all of whose tests have results. `rows` grows with what the
    /// store holds.
    pub(super) fn look(
        &mut self,
        store: &Store,
        writers: &mut [WriterView],
        rows: u64,
        control: &Control,
    ) {
        let lost = |writer: &&mut WriterView| writer.is_missed() && !writer.tests.is_empty();
        let mut fresh = false;
        let mut names = BTreeSet::new();
        for writer in writers.iter_mut().filter(lost) {
            names.insert(writer.writer.clone());
            self.open.entry(writer.writer.clone()).or_insert_with(|| {
                fresh = true;
                writer.tests.clone()
            });
        }
        self.open.retain(|writer, _| names.contains(writer));
        let due = self.next.is_none_or(|next| Instant::now() >= next);
        let unsettled = self.open.values().any(|tests| !tests.is_empty());
        if unsettled && (fresh || (due && self.rows != Some(rows))) {
            let began = Instant::now();
            // Where it can't be read now, the next scan tries again.
            if self.find(store, control).is_ok() {
                self.rows = Some(rows);
            }
            self.next = Some(Instant::now() + EVERY.max(began.elapsed() * SHARE));
        }
        for writer in writers.iter_mut().filter(lost) {
            if let Some(open) = self.open.get(&writer.writer) {
                // More tests than are named may have been in flight.
                let unnamed = writer.running > writer.tests.len() as u64;
                writer.settled = open.is_empty() && !unnamed;
            }
        }
    }

    /// Takes out the tests that have results.
    fn find(&mut self, store: &Store, control: &Control) -> Result<()> {
        let tests = || self.open.values().flatten();
        let models: BTreeSet<String> = tests().map(|test| test.model.clone()).collect();
        let selection = Selection {
            filter: Filter {
                models: models.into_iter().collect(),
                since: tests().map(|test| test.since).min(),
                ..Filter::default()
            },
            ..Selection::default()
        };
        let choose = |schema: &SchemaRef, _: &TimeZone| {
            let there = COLUMNS
                .into_iter()
                .filter(|name| schema.index_of(name).is_ok());
            Ok(Selection {
                columns: Some(there.map(str::to_owned).collect()),
                ..selection.clone()
            })
        };
        for batch in rows_chosen(store, &selection.filter, false, &choose, control)? {
            let batch = batch?;
            let columns = Columns::new(&batch)?;
            for row in 0..batch.num_rows() {
                let time = columns
                    .timestamp(row)
                    .and_then(|time| Timestamp::from_microsecond(time).ok());
                for open in self.open.values_mut() {
                    open.retain(|test| {
                        let later = time.is_some_and(|time| time >= test.since);
                        !(later && is_of(test, &columns, row))
                    });
                }
            }
        }
        Ok(())
    }
}

/// Whether a row is the result of a test.
fn is_of(test: &InFlightView, columns: &Columns, row: usize) -> bool {
    let same = |own: &Option<String>, name| {
        let both = own.as_deref().zip(columns.text(name, row));
        both.map(|(own, other)| own == other)
    };
    // Another test of the same task is another test.
    let own = same(&test.test_id, "test_id").or_else(|| same(&test.task_id, "task_id"));
    test.model == columns.model(row) && own == Some(true)
}
