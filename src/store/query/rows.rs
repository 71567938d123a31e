//! Matching rows, batch by batch, each record once.

use std::collections::{HashMap, VecDeque};

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::part::Part;
use super::{Control, Filter, Result, Selection, Store};
use crate::store::Error;
use crate::store::digest::Columns;
use crate::store::kind::{self, Shape, shape};
use crate::store::layout::MAIN;
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::{DIMENSIONS, TIMESTAMP_TEXT, Union, adapt, project};
use crate::store::snapshot::{Depth, Scanner, View, retrying};

/// Increments that are held open from the start, so that a consolidate meanwhile
/// takes none of them away; more are opened when their turn comes.
const OPEN_AHEAD: usize = 512;

/// Bytes of legacy increments that are held in memory, because their writers may
/// rewrite them in place meanwhile; of larger ones an error says so.
const HELD_BYTES: u64 = 256 << 20;

/// Batches of matching rows, all with the columns of [`Rows::schema`]. After an
/// error there are no more.
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    parts: VecDeque<Part>,
    plan: Plan,
    left: u64,
    control: Control,
}

/// What happens to each batch.
#[derive(Debug)]
pub(super) struct Plan {
    /// The columns that are read, as they are after conversion.
    target: SchemaRef,
    /// Of those, the ones that are returned, in their order.
    output: Vec<usize>,
    pub(super) filter: Filter,
    zone: TimeZone,
    summaries: bool,
}

impl Rows {
    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        while self.left > 0 {
            self.control.check()?;
            let Some(part) = self.parts.front_mut() else { return Ok(None) };
            let Some((position, batch)) = part.next(&self.plan)? else {
                self.parts.pop_front();
                continue;
            };
            let batch = self.plan.apply(&batch, part.beside_main, |at| part.counts(position + at as u64))?;
            if batch.num_rows() > 0 {
                let rows = usize::try_from(self.left).unwrap_or(usize::MAX).min(batch.num_rows());
                self.left -= rows as u64;
                return Ok(Some(batch.slice(0, rows)));
            }
        }
        Ok(None)
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if !matches!(step, Some(Ok(_))) {
            self.left = 0;
        }
        step
    }
}

/// The matching rows of a consistent view of the store. Unknown columns are refused
/// in one sentence that lists those there are.
pub fn rows(store: &Store, selection: &Selection, control: &Control) -> Result<Rows> {
    retrying(store, || open(store, selection, control))
}

fn open(store: &Store, selection: &Selection, control: &Control) -> Result<Rows> {
    let view = Scanner::new().view(store, Timestamp::now(), Depth::Rows, control)?;
    let union = if selection.summaries { summary_columns(&view)? } else { view.union.clone() };
    let plan = Plan::new(selection, &union.finish(), &view.files.zone)?;
    let mut output = plan.target.project(&plan.output).map_err(refused)?;
    output.metadata.clear();
    Ok(Rows {
        schema: output.into(),
        parts: parts(store, view, selection.summaries)?,
        plan,
        left: selection.limit.unwrap_or(u64::MAX),
        control: control.clone(),
    })
}

/// The columns of all files that may hold summary rows.
fn summary_columns(view: &View) -> Result<Union> {
    let mut union = Union::of_summaries();
    let main = view.files.main.iter().map(|main| &main.file);
    for file in main.chain(&view.files.summaries).filter(|file| shape(file.schema()) != Shape::Records) {
        union.add(&file_name(file), file.schema())?;
    }
    for increment in view.files.increments.iter().filter(|file| shape(&file.schema) != Shape::Records) {
        union.add(&increment.name, &increment.schema)?;
    }
    Ok(union)
}

fn file_name(file: &ParquetFile) -> String {
    file.path().file_name().map_or_else(|| MAIN.to_owned(), |name| name.to_string_lossy().into_owned())
}

/// Where the rows are, oldest first: main, increments, journals.
fn parts(store: &Store, view: View, summaries: bool) -> Result<VecDeque<Part>> {
    let mut parts = VecDeque::new();
    let View { files, mut sources, main_losers, summary_losers, .. } = view;
    if let Some(main) = files.main {
        parts.push_back(Part::file(main.file, main_losers));
    }
    if summaries {
        let mut first = 0;
        for file in files.summaries {
            let own = first..first + file.rows();
            let losers = summary_losers.iter().filter(|at| own.contains(at)).map(|at| at - first);
            parts.push_back(Part::summaries(file, losers.collect()));
            first = own.end;
        }
    }
    let mut losers: HashMap<String, (Vec<u64>, u64)> =
        sources.drain(..).map(|source| (source.name, (source.losers, source.digest.records))).collect();
    let mut held = 0;
    for (at, increment) in files.increments.into_iter().enumerate() {
        let Some((losers, _)) = losers.remove(&increment.name) else { continue };
        let hold = increment.legacy && held + increment.stat.bytes <= HELD_BYTES;
        let open = if hold {
            held += increment.stat.bytes;
            Some(increment.open(store)?.into_memory()?)
        } else if at < OPEN_AHEAD {
            Some(increment.open(store)?)
        } else {
            None
        };
        parts.push_back(Part::increment(store, increment, open, losers));
    }
    for journal in files.journals.into_iter().filter(|_| !summaries) {
        if let Some((losers, rows)) = losers.remove(&journal.name) {
            parts.push_back(Part::journal(store, &journal, rows, losers)?);
        }
    }
    Ok(parts)
}

impl Plan {
    fn new(selection: &Selection, all: &SchemaRef, zone: &TimeZone) -> Result<Self> {
        let wanted: Vec<&str> = match &selection.columns {
            None => all.fields().iter().map(|field| field.name().as_str()).collect(),
            Some(columns) => columns.iter().map(String::as_str).collect(),
        };
        if let Some(unknown) = wanted.iter().find(|name| all.field_with_name(name).is_err()) {
            let there_are: Vec<&str> = all.fields().iter().map(|field| field.name().as_str()).collect();
            let there_are = there_are.join(", ");
            return Err(Error::Refused(format!("no column '{unknown}': the columns are {there_are}")));
        }
        let mut read = wanted.clone();
        if selection.filter != Filter::default() {
            read.extend(DIMENSIONS);
            read.push("timestamp");
        }
        let target = project(all, &read);
        let output = wanted.iter().map(|name| target.index_of(name).map_err(refused));
        Ok(Self {
            output: output.collect::<Result<_>>()?,
            target,
            filter: selection.filter.clone(),
            zone: zone.clone(),
            summaries: selection.summaries,
        })
    }

    /// The columns to read of a file.
    pub(super) fn columns(&self, schema: &SchemaRef) -> Vec<&str> {
        let mut names: Vec<&str> = self.target.fields().iter().map(|field| field.name().as_str()).collect();
        if names.contains(&TIMESTAMP_TEXT) {
            names.push("timestamp");
        }
        // What tells records from summary rows, whatever is wanted of them.
        match shape(schema) {
            Shape::Records => names.push("success"),
            _ => names.extend(kind::NAMES),
        }
        names
    }

    /// What of a batch is returned; `beside_main` says that all its rows are summary rows.
    fn apply(
        &self,
        batch: &RecordBatch,
        beside_main: bool,
        counts: impl Fn(usize) -> bool,
    ) -> Result<RecordBatch> {
        let (rows, at) = match kind::split(batch)? {
            _ if beside_main => (Some(batch.clone()), (0..batch.num_rows()).collect()),
            split if self.summaries => {
                let others = (0..batch.num_rows()).filter(|at| split.at.binary_search(at).is_err());
                (split.summaries, others.collect())
            }
            split => (split.records, split.at),
        };
        let Some(rows) = rows else {
            return RecordBatch::new_empty(self.target.clone()).project(&self.output).map_err(refused);
        };
        let rows = adapt(&rows, &self.target, &self.zone)?;
        let columns = Columns::new(&rows)?;
        let counted = |row: usize| at.get(row).is_some_and(|at| counts(*at));
        let everything = self.filter == Filter::default();
        let mask: arrow::array::BooleanArray = (0..rows.num_rows())
            .map(|row| Some(counted(row) && (everything || self.filter.matches(&columns, row))))
            .collect();
        let rows = filter_record_batch(&rows, &mask).map_err(refused)?;
        rows.project(&self.output).map_err(refused)
    }
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
fn refused(error: arrow::error::ArrowError) -> Error {
    Error::Refused(format!("the rows can't be put together: {error}"))
}
