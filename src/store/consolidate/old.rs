//! What stays of the old main: first which rows go, then the rest into the new one,
//! copied where whole row groups stay and encoded anew where they don't.

use std::collections::HashSet;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::choice::Choice;
use super::foreign;
use super::merge::{Keys, Merged, complete, filtered, records};
use super::parts::{Part, parts};
use crate::store::Control;
use crate::store::commit::CommitRecord;
use crate::store::digest::{Columns, Digest, short};
use crate::store::error::{Error, Result};
use crate::store::filter::Filter;
use crate::store::graft::Stock;
use crate::store::kind::{self, Shape, shape};
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::{DIMENSIONS, project};
use crate::store::table::{TableWriter, group_rows};
use crate::store::tallies;
use crate::store::test_keys::{TestKeys, each_key};

/// The main that a commit builds on.
pub(super) struct Old<'a> {
    pub(super) main: &'a ParquetFile,
    /// The index of its test keys.
    pub(super) test_keys: Option<&'a TestKeys>,
    /// Its own commit record; `None` where other code wrote it.
    pub(super) record: Option<&'a CommitRecord>,
    pub(super) now: Timestamp,
    /// The united columns.
    pub(super) schema: &'a SchemaRef,
    pub(super) zone: &'a TimeZone,
    pub(super) control: &'a Control,
}

/// What stays and what goes.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Positions of the rows that go, ascending, among the records of main.
    lost: Vec<u64>,
    /// Tallies of the others.
    tallies: Digest,
}

impl Old<'_> {
    /// Decides with `choice` between main's rows and new attempts at their tests. Where
    /// the footer does not tell the tallies, the columns that they need are read too.
    pub(super) fn survey(&self, choice: &mut Choice) -> Result<Survey> {
        let losers = if self.record.is_some() {
            HashSet::new()
        } else {
            let found = foreign::losers(self.main, &Filter::default(), self.schema, self.zone, self.control)?;
            choice.superseded += found.superseded;
            choice.repeated += found.repeated;
            found.rows
        };
        let told = self.record.and_then(|record| tallies::of(self.main, record));
        let count = told.is_none();
        let mut survey = Survey { lost: Vec::new(), tallies: told.unwrap_or_default() };
        if !count && choice.is_keyless() {
            return Ok(survey);
        }
        if let (false, Some(attempts)) = (count, self.indexed(choice)?) {
            self.decide(&attempts, choice, &mut survey)?;
            return Ok(survey);
        }
        let mut names: Vec<&str> = kind::NAMES.into();
        if count {
            names.extend(Columns::NAMES);
        } else {
            names.extend(DIMENSIONS);
        }
        let target = project(self.schema, &names);
        let now = self.now.as_microsecond();
        let mut attempts = Vec::new();
        let (mut read, mut position) = (0, 0);
        for batch in self.main.batches(Some(&names), 0)? {
            self.control.check()?;
            self.control.progress("reading main", read, self.main.rows());
            let batch = batch?;
            read += batch.num_rows() as u64;
            let batch = records(&batch, &target, self.zone)?;
            let columns = Columns::new(&batch)?;
            for row in 0..batch.num_rows() {
                let at = position + row as u64;
                if losers.contains(&at) {
                    survey.lost.push(at);
                    continue;
                }
                if count {
                    survey.tallies.tally(&columns, row, now);
                }
                if !choice.is_keyless() && columns.key(row).is_some_and(|key| choice.concerns(key)) {
                    attempts.push(at);
                }
            }
            position += batch.num_rows() as u64;
        }
        complete(self.main, read)?;
        self.decide(&attempts, choice, &mut survey)?;
        Ok(survey)
    }

    /// Positions of main's rows that new ones may be attempts at, where the index finds
    /// them; `None` where there is no index to believe.
    fn indexed(&self, choice: &Choice) -> Result<Option<Vec<u64>>> {
        let Some(index) = self.test_keys.filter(|_| self.is_plain()) else { return Ok(None) };
        let wanted = choice.keys().map(short).collect();
        let Ok(groups) = index.groups(&wanted) else { return Ok(None) };
        let mut attempts = Vec::new();
        each_key(self.main, self.zone, &groups, self.control, |_, at, key| {
            if choice.concerns(key) {
                attempts.push(at);
            }
        })?;
        Ok(Some(attempts))
    }

    /// Whether all rows are records: then a row's position is that in the file.
    fn is_plain(&self) -> bool {
        shape(self.main.schema()) == Shape::Records
    }

    /// Compares main's rows at these positions with the new attempts.
    fn decide(&self, positions: &[u64], choice: &mut Choice, survey: &mut Survey) -> Result<()> {
        if positions.is_empty() {
            return Ok(());
        }
        // Where summary rows lie between the records, all rows are read to find these.
        let all = !self.is_plain();
        let mut left = positions.iter().copied().peekable();
        let mut position = 0;
        let batches = if all { self.main.batches(None, 0)? } else { self.main.rows_at(None, positions)? };
        for batch in batches {
            self.control.check()?;
            let batch = records(&batch?, self.schema, self.zone)?;
            let columns = Columns::new(&batch)?;
            let mut keys = Keys::of(&batch)?;
            for row in 0..batch.num_rows() {
                position += 1;
                let Some(at) = left.next_if(|at| !all || *at == position - 1) else { continue };
                let Some(key) = keys.key(row) else { continue };
                if !choice.stays(key, keys.rank(&batch, row)?) {
                    survey.lost.push(at);
                    survey.tallies.subtract(&columns, row);
                }
            }
        }
        if left.next().is_some() {
            return Err(Error::unreadable(self.main.path(), "it has fewer rows than its footer says"));
        }
        survey.lost.sort_unstable();
        Ok(())
    }

    /// Begins the new main with what stays; `new` rows are to follow.
    pub(super) fn write<'t>(&self, table: TableWriter<'t>, survey: Survey, new: u64) -> Result<Merged<'t>> {
        let merged = Merged::new(table, self.now);
        let mut merged = merged.continuing(survey.tallies);
        let lost = &survey.lost;
        let mut starts = vec![0];
        let mut groups = Vec::new();
        for group in self.main.metadata().row_groups() {
            let start = starts.last().copied().unwrap_or_default();
            let end = start + u64::try_from(group.num_rows()).unwrap_or_default();
            starts.push(end);
            groups.push((end - start, within(lost, start..end).len() as u64));
        }
        // Nobody resolved repeated tests in a main that other code wrote, and its
        // columns are seldom ours.
        let ours = self.record.is_some() && self.is_plain();
        let stock = if ours { Stock::of(self.main, self.schema)? } else { None };
        let cut = match &stock {
            Some(_) => parts(&groups, new, group_rows() as u64),
            None => vec![Part::Encode(0..groups.len())],
        };
        for part in cut {
            self.control.check()?;
            let range = match &part {
                Part::Copy(range) | Part::Encode(range) => range.clone(),
            };
            let start = starts.get(range.start).copied().unwrap_or_default();
            let end = starts.get(range.end).copied().unwrap_or_default();
            self.control.progress("copying main", start, self.main.rows());
            match (part, &stock) {
                (Part::Copy(groups), Some(stock)) => merged.graft(stock, groups)?,
                (Part::Copy(groups) | Part::Encode(groups), stock) => {
                    // What is long was sorted before, in its own runs.
                    let short = end - start <= 2 * group_rows() as u64;
                    let joins = stock.is_some() && new > 0 && end == self.main.rows() && short;
                    let add = |batch: RecordBatch| {
                        if joins { merged.joins(batch) } else { merged.stays(&batch) }
                    };
                    self.encode(groups, start..end, within(lost, start..end), add)?;
                }
            }
        }
        Ok(merged)
    }

    fn encode(
        &self,
        groups: Range<usize>,
        rows: Range<u64>,
        lost: &[u64],
        mut add: impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let (mut read, mut position) = (rows.start, rows.start);
        for batch in self.main.row_groups(None, groups.collect())? {
            self.control.check()?;
            self.control.progress("copying main", read, self.main.rows());
            let batch = batch?;
            read += batch.num_rows() as u64;
            let batch = records(&batch, self.schema, self.zone)?;
            let end = position + batch.num_rows() as u64;
            let here = within(lost, position..end);
            let keep = (position..end).map(|at| here.binary_search(&at).is_err());
            add(if here.is_empty() { batch } else { filtered(&batch, keep.collect())? })?;
            position = end;
        }
        if read == rows.end {
            return Ok(());
        }
        Err(Error::unreadable(self.main.path(), "it has fewer rows than its footer says"))
    }
}

/// The positions that lie within a range.
fn within(positions: &[u64], range: Range<u64>) -> &[u64] {
    let from = positions.partition_point(|at| *at < range.start);
    let to = positions.partition_point(|at| *at < range.end);
    positions.get(from..to).unwrap_or_default()
}
