//! Several Parquet files as one: the rows of all of them, united by column and
//! deduplicated by the rule that a store follows. The files may be mains, increments or
//! what other tools wrote; they are only read.
//!
//! They are read twice, first for the tests' keys and then for the rows that stay, so
//! memory grows with the number of tests and not with their size.

use std::path::{Path, PathBuf};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use super::consolidate::choice::Choice;
use super::digest::{Columns, row_hashes};
use super::parquet_file::ParquetFile;
use super::schema::{Union, adapt};
use super::{Control, Disk, Error, Result, kind};

/// Files to be merged, and which of their rows stay.
#[derive(Debug)]
pub struct Merge {
    files: Vec<ParquetFile>,
    schema: SchemaRef,
    zone: TimeZone,
    choice: Choice,
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
        let mut merge = Self { files, schema, zone: zone.clone(), choice };
        let mut choice = Choice::default();
        let total = merge.files.iter().map(ParquetFile::rows).sum();
        let mut done = 0;
        for file in &merge.files {
            for batch in merge.batches(file)? {
                control.check()?;
                let batch = batch?;
                let (columns, hashes) = (Columns::new(&batch)?, row_hashes(&batch)?);
                for (row, hash) in hashes.into_iter().enumerate() {
                    choice.push(columns.key(row).map(|key| (key, (columns.timestamp(row), hash))));
                }
                done += batch.num_rows() as u64;
                control.progress("comparing", done, total);
            }
        }
        merge.choice = choice;
        Ok(merge)
    }

    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Rows that stay.
    pub fn rows(&self) -> u64 {
        self.choice.kept()
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
        for file in &self.files {
            for batch in self.batches(file)? {
                control.check()?;
                let batch = batch?;
                let mask: BooleanArray =
                    (at..at + batch.num_rows()).map(|at| Some(self.choice.keeps(at))).collect();
                at += batch.num_rows();
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
