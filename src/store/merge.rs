//! Several Parquet files as one: the rows of all of them, united by column and
//! deduplicated by the rule that a store follows. The files may be mains, increments or
//! what other tools wrote; they are only read.
//!
//! They are read twice, first for the tests' keys and then for the rows that stay; rows whose
//! key comes more than once are compared in between. So memory grows with the number of
//! tests, by eight bytes each, and not with their size.

use std::path::{Path, PathBuf};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use super::consolidate::choice::Choice;
use super::consolidate::foreign::more_than_once;
use super::consolidate::merge::records;
use super::digest::{Columns, row_hashes, short};
use super::filter::Filter;
use super::kind::Shape;
use super::parquet_file::ParquetFile;
use super::schema::{Union, adapt};
use super::search::Search;
use super::{Control, Disk, Error, Result, kind};

/// Files to be merged, and which of their rows stay.
#[derive(Debug)]
pub struct Merge {
    files: Vec<ParquetFile>,
    schema: SchemaRef,
    zone: TimeZone,
    choice: Choice,
    /// Records of all files.
    total: u64,
    /// Of those, the ones that go: their positions in the files one after the other, ascending.
    lost: Vec<u64>,
}

impl Merge {
    /// Reads the files' keys. Times without a zone are read in `zone`. Files whose columns
    /// can't be united, and files of summary rows, are refused.
    pub fn plan(disk: &dyn Disk, paths: &[PathBuf], zone: &TimeZone, control: &Control) -> Result<Self> {
        let mut union = Union::new();
        let mut files = Vec::new();
        for path in paths {
            let file = ParquetFile::open(disk, path).map_err(|error| error.at(path))?;
            union.add(&path.display().to_string(), file.schema())?;
            files.push(file);
        }
        let (schema, choice) = (union.finish(), Choice::default());
        let total = files.iter().map(ParquetFile::rows).sum();
        let mut merge = Self { files, schema, zone: zone.clone(), choice, total, lost: Vec::new() };
        let mut hashes = Vec::new();
        for file in &merge.files {
            hashes.append(&mut merge.keys(file, control, |_, key| Some(short(key)))?);
        }
        let twice = more_than_once(hashes);
        let (mut choice, mut compared) = (Choice::default(), Vec::new());
        let mut before = 0;
        for file in merge.files.iter().filter(|_| !twice.is_empty()) {
            let found = merge.keys(file, control, |at, key| twice.contains(&short(key)).then_some(at))?;
            for batch in file.rows_at(None, &found)? {
                control.check()?;
                let batch = records(&batch?, &merge.schema, zone)?;
                let (columns, hashes) = (Columns::new(&batch)?, row_hashes(&batch)?);
                for (row, hash) in hashes.into_iter().enumerate() {
                    choice.push(columns.key(row).map(|key| (key, (columns.timestamp(row), hash))));
                }
            }
            compared.extend(found.into_iter().map(|at| before + at));
            before += file.rows();
        }
        let lost = compared.into_iter().enumerate().filter(|(at, _)| !choice.keeps(*at));
        merge.lost = lost.map(|(_, position)| position).collect();
        merge.choice = choice;
        Ok(merge)
    }

    /// What `pick` makes of position and key of each record of a file that has one.
    fn keys<T: Send>(
        &self,
        file: &ParquetFile,
        control: &Control,
        pick: impl Fn(u64, u128) -> Option<T> + Sync,
    ) -> Result<Vec<T>> {
        if kind::shape(file.schema()) == Shape::Records {
            return Search::new(file, &Filter::default()).keys(&self.schema, &self.zone, control, pick);
        }
        let (mut picked, mut at) = (Vec::new(), 0);
        for batch in self.batches(file)? {
            control.check()?;
            let batch = batch?;
            let columns = Columns::new(&batch)?;
            let rows = (0..batch.num_rows()).map(|row| (at + row as u64, columns.key(row)));
            picked.extend(rows.filter_map(|(at, key)| pick(at, key?)));
            at += batch.num_rows() as u64;
        }
        Ok(picked)
    }

    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows that stay.
    pub fn rows(&self) -> u64 {
        self.total - self.lost.len() as u64
    }

    /// Attempts that newer ones replace.
    pub fn superseded(&self) -> u64 {
        self.choice.superseded
    }

    /// Rows that are identical to another one.
    pub fn repeated(&self) -> u64 {
        self.choice.repeated
    }

    /// The rows that stay, in the order of the files.
    pub fn run(&self, control: &Control, mut take: impl FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let (mut at, mut written) = (0, 0);
        let mut lost = self.lost.iter().copied().peekable();
        for file in &self.files {
            for batch in self.batches(file)? {
                control.check()?;
                let batch = batch?;
                let end = at + batch.num_rows() as u64;
                let mask: BooleanArray = (at..end).map(|at| Some(lost.next_if_eq(&at).is_none())).collect();
                at = end;
                let kept = filter_record_batch(&batch, &mask).map_err(|error| {
                    Error::Refused(format!(
                        "the rows of {} can't be put together: {error}",
                        named(file.path())
                    ))
                })?;
                written += kept.num_rows() as u64;
                control.progress("merging", written, self.rows());
                take(kept)?;
            }
        }
        Ok(())
    }

    /// The records of a file with the united columns.
    fn batches<'a>(
        &'a self,
        file: &'a ParquetFile,
    ) -> Result<impl Iterator<Item = Result<RecordBatch>> + 'a> {
        Ok(file.batches(None, 0)?.map(move |batch| {
            let split = kind::split(&batch?)?;
            if split.summaries.is_some() {
                let name = named(file.path());
                return Err(Error::Refused(format!(
                    "{name} holds summary rows, of which nobody knows the tests: merge files of records"
                )));
            }
            let none = || RecordBatch::new_empty(self.schema.clone());
            split.records.map_or_else(|| Ok(none()), |records| adapt(&records, &self.schema, &self.zone))
        }))
    }
}

fn named(path: &Path) -> String {
    path.display().to_string()
}
