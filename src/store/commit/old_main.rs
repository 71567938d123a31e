//! What stays of the old main: which rows go, and which of its row groups are copied
//! and which encoded again.

use std::collections::HashSet;

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::choice::Choice;
use super::copy_plan;
use super::copy_plan::Group;
use super::encode::Step;
use super::external_main;
use super::external_main::Losers;
use super::merge::SORT_BYTES;
use super::merge::{Keys, complete, filtered, records};
use super::splits;
use super::splits::{Part, within};
use crate::store::Control;
use crate::store::aggregate::key_index::{TestKeys, keys_in};
use crate::store::aggregate::tallies;
use crate::store::aggregate::{Columns, Digest, short};
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::layout::MAIN;
use crate::store::format::row_kind;
use crate::store::format::row_kind::{Shape, shape};
use crate::store::format::schema::{Union, adapt, keyed, project};
use crate::store::parquet::ParquetFile;
use crate::store::parquet::filter::Filter;
use crate::store::parquet::row_group_copy::Stock;
use crate::store::parquet::table::{group_bytes, group_rows};
use crate::store::resolve::{KEY_COLUMNS, KEYED, Removed};

/// The main that a commit builds on.
pub(crate) struct Old<'a> {
    pub(crate) main: &'a ParquetFile,
    /// The index of its test keys.
    pub(crate) test_keys: Option<&'a TestKeys>,
    /// Its own commit record; `None` where other code wrote it.
    pub(crate) record: Option<&'a CommitRecord>,
    pub(crate) now: Timestamp,
    /// The united columns.
    pub(crate) schema: &'a SchemaRef,
    pub(crate) zone: &'a TimeZone,
    /// What was removed on purpose.
    pub(crate) removed: &'a Removed,
    pub(crate) control: &'a Control,
}

/// What stays and what goes.
#[derive(Debug, Default)]
pub(crate) struct Survey {
    /// Positions among the records of main, ascending: of the rows that go,
    pub(crate) lost: Vec<u64>,
    /// and of those whose keys may be those of new rows.
    attempts: Vec<u64>,
    /// 64 bits of their keys.
    pub(crate) shorts: HashSet<u64>,
    /// Attempts that others of main replaced, and rows identical to another one.
    pub(crate) losers: (u64, u64),
    /// Rows of it that were removed on purpose.
    pub(crate) removed: u64,
    /// Tallies of the others.
    pub(crate) tallies: Digest,
}

impl Old<'_> {
    /// Looks for main's rows that new ones may be attempts at the same tests as: those with
    /// keys of which 64 bits are among `new` (ascending). Where the footer does not say the
    /// tallies, the columns that they need are read too.
    pub(crate) fn survey(&self, new: &[u64]) -> Result<Survey> {
        let losers = if self.record.is_some() {
            Losers::default()
        } else {
            external_main::losers(
                self.main,
                &Filter::default(),
                self.schema,
                self.zone,
                self.removed,
                self.control,
            )?
        };
        let reported = self
            .record
            .and_then(|record| tallies::of(self.main, record));
        let mut survey = Survey {
            losers: (losers.superseded, losers.repeated),
            removed: losers.removed,
            ..Survey::default()
        };
        if let Some(reported) = reported {
            survey.tallies = reported;
            if new.is_empty() {
                return Ok(survey);
            }
            if self.is_plain() {
                self.look(new, &mut survey)?;
                return Ok(survey);
            }
            return self.read(&KEY_COLUMNS, new, &losers, false, survey);
        }
        self.read(&Columns::NAMES, new, &losers, true, survey)
    }

    /// Finds them by the index of test keys, or by all keys.
    fn look(&self, new: &[u64], survey: &mut Survey) -> Result<()> {
        let entries = self.test_keys.and_then(|index| index.find(new).ok());
        let all = || (0..self.main.metadata().num_row_groups()).collect();
        let (wanted, groups): (HashSet<u64>, Vec<usize>) = match entries {
            Some(entries) => {
                let mut groups: Vec<usize> = entries
                    .iter()
                    .map(|(_, group)| usize::from(*group))
                    .collect();
                groups.sort_unstable();
                groups.dedup();
                (entries.into_iter().map(|(hash, _)| hash).collect(), groups)
            }
            None => (new.iter().copied().collect(), all()),
        };
        let pick = |_, at, key| Some((at, short(key))).filter(|(_, short)| wanted.contains(short));
        for (at, short) in keys_in(self.main, self.zone, &groups, self.control, pick)? {
            survey.attempts.push(at);
            survey.shorts.insert(short);
        }
        Ok(())
    }

    /// Reads the rows one after the other: where these are to be counted, or summary rows lie
    /// between the records.
    fn read(
        &self,
        columns: &[&str],
        new: &[u64],
        losers: &Losers,
        count: bool,
        mut survey: Survey,
    ) -> Result<Survey> {
        let names = [columns, &row_kind::NAMES[..]].concat();
        let target = project(self.schema, &names);
        let (wanted, now) = (
            new.iter().copied().collect::<HashSet<u64>>(),
            self.now.as_microsecond(),
        );
        let (mut read, mut position) = (0, 0);
        for batch in self.main.batches(Some(&names), 0)? {
            self.control.check()?;
            self.control
                .progress("reading main", read, self.main.rows());
            let batch = batch?;
            read += batch.num_rows() as u64;
            let batch = records(&batch, &target, self.zone)?;
            let rows = position..position + batch.num_rows() as u64;
            position = rows.end;
            let keep: Vec<bool> = rows.clone().map(|at| !losers.rows.contains(&at)).collect();
            let kept = rows
                .zip(&keep)
                .filter(|(_, keep)| **keep)
                .map(|(at, _)| at)
                .collect::<Vec<_>>();
            let batch = filtered(&batch, keep)?;
            let columns = Columns::new(&batch)?;
            if count {
                survey
                    .tallies
                    .tally(&columns, batch.num_rows(), Some((now, None)));
            }
            if wanted.is_empty() {
                continue;
            }
            for (row, at) in kept.into_iter().enumerate() {
                let short = columns
                    .key(row)
                    .map(short)
                    .filter(|short| wanted.contains(short));
                if let Some(short) = short {
                    survey.attempts.push(at);
                    survey.shorts.insert(short);
                }
            }
        }
        complete(self.main, read)?;
        survey.lost.extend(&losers.rows);
        survey.lost.sort_unstable();
        Ok(survey)
    }

    /// Whether all rows are records: then a row's position is that in the file.
    fn is_plain(&self) -> bool {
        shape(self.main.schema()) == Shape::Records
    }

    /// Decides with `choice` between the rows that were found and the new ones.
    pub(crate) fn decide(&self, choice: &mut Choice<'_>, survey: &mut Survey) -> Result<()> {
        let positions = std::mem::take(&mut survey.attempts);
        if positions.is_empty() {
            return Ok(());
        }
        // Where summary rows lie between the records, all rows are read to find these.
        let all = !self.is_plain();
        let mut left = positions.iter().copied().peekable();
        let mut position = 0;
        let batches = if all {
            self.main.batches(None, 0)?
        } else {
            self.main.rows_at(None, &positions)?
        };
        for batch in batches {
            self.control.check()?;
            let batch = records(&batch?, self.schema, self.zone)?;
            let columns = Columns::new(&batch)?;
            let mut keys = Keys::of(&batch, self.zone)?;
            for row in 0..batch.num_rows() {
                position += 1;
                let Some(at) = left.next_if(|at| !all || *at == position - 1) else {
                    continue;
                };
                let Some(key) = keys.key(row) else { continue };
                if !choice.stays(key, keys.rank(&batch, row)?) {
                    survey.lost.push(at);
                    survey.tallies.subtract(&columns, row);
                }
            }
        }
        if left.next().is_some() {
            return Err(Error::unreadable(
                self.main.path(),
                "it has fewer rows than its footer says",
            ));
        }
        survey.lost.sort_unstable();
        Ok(())
    }

    /// What of main comes before `new` rows that take so many bytes. Row groups that are known to
    /// be `mixed` are sorted.
    pub(crate) fn steps<'s>(
        &'s self,
        stock: Option<&Stock<'_>>,
        lost: &'s [u64],
        mixed: &[bool],
        (new, bytes): (u64, u64),
    ) -> Result<Vec<Step<'s>>> {
        let mut starts = vec![0];
        let mut groups = Vec::new();
        let is_mixed = |at: usize| mixed.get(at).copied().unwrap_or(false);
        for (at, group) in self.main.metadata().row_groups().iter().enumerate() {
            let start = starts.last().copied().unwrap_or_default();
            let end = start + u64::try_from(group.num_rows()).unwrap_or_default();
            starts.push(end);
            let bytes = u64::try_from(group.compressed_size()).unwrap_or_default();
            groups.push(Group {
                rows: end - start,
                bytes,
                lost: within(lost, start..end).len() as u64,
                mixed: is_mixed(at),
            });
        }
        if stock.is_none() {
            let parts = self.counted(Part::of(self.main, 0..groups.len()))?;
            return Ok(vec![Step::Rows {
                jobs: splits::of_main(self.main, parts, 0, lost),
                // Other code may have written it in any order.
                sorted: true,
            }]);
        }
        // What was closed for its bytes has about so many: how many it would have was a guess.
        let full = (group_rows() as u64, group_bytes() as u64 / 2);
        let step = |part| {
            let range = match part {
                copy_plan::Part::Copy(range) => return Step::Copy(range),
                copy_plan::Part::Encode(range) => range,
            };
            let start = starts.get(range.start).copied().unwrap_or_default();
            let end = starts.get(range.end).copied().unwrap_or_default();
            // What is long was sorted before, in its own runs.
            let joins =
                new > 0 && end == self.main.rows() && end - start <= 2 * group_rows() as u64;
            let sorted = joins || range.clone().any(is_mixed);
            let jobs = splits::of_main(self.main, Part::of(self.main, range), start, lost);
            Step::Rows { jobs, sorted }
        };
        Ok(copy_plan::parts(&groups, (new, bytes), full)
            .into_iter()
            .map(step)
            .collect())
    }

    /// Main as far as its row groups can be copied. Nobody resolved repeated tests in one that
    /// other code wrote, and its columns are seldom ours.
    pub(crate) fn stock(&self) -> Result<Option<Stock<'_>>> {
        if self.record.is_some() && self.is_plain() && self.main.ids().is_none() {
            Stock::of(self.main, self.schema)
        } else {
            Ok(None)
        }
    }

    /// Counts the records of each part, where summary rows lie between them.
    fn counted(&self, mut parts: Vec<Part>) -> Result<Vec<Part>> {
        if self.is_plain() {
            return Ok(parts);
        }
        for part in &mut parts {
            let mut records = 0;
            for batch in part.batches(self.main, Some(&row_kind::NAMES), 0)? {
                self.control.check()?;
                records += row_kind::split(&batch?)?.at.len() as u64;
            }
            part.records = records;
        }
        Ok(parts)
    }
}

/// Which row groups are not sorted by cell, so that a query of one cell reads all of them: such
/// as other code writes.
pub(crate) fn mixed_groups(main: &ParquetFile, control: &Control) -> Result<Vec<bool>> {
    /// Sorted runs that may share a row group of few bytes. Of wide rows a commit sorts as many at
    /// once as fit into memory, and a group has more runs, however often it is sorted.
    const RUNS: usize = 3;
    let mut union = Union::new();
    union.add(MAIN, main.schema())?;
    let names = KEY_COLUMNS.map(|name| if name == "test_id" { "" } else { name });
    let target = keyed(&project(&union.finish(), &names));
    let main = main.with_dictionaries(&KEYED);
    let groups = 0..main.metadata().num_row_groups();
    let is_mixed = |group| {
        let (mut digest, mut changes, mut last) = (Digest::default(), 0, None);
        for batch in main.row_groups(Some(&names), vec![group])? {
            control.check()?;
            let batch = adapt(&batch?, &target, &TimeZone::UTC)?;
            for cell in digest.cells_of(&Columns::new(&batch)?, batch.num_rows()) {
                changes += usize::from(last.replace(cell) != Some(cell));
            }
        }
        let bytes = main.metadata().row_group(group).total_byte_size();
        let wide = usize::try_from(bytes).unwrap_or_default() / SORT_BYTES;
        Ok(changes > (RUNS + 2 * wide) * digest.cells_known())
    };
    groups.map(is_mixed).collect()
}
