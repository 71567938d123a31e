//! Several Parquet files as one: the rows of all of them, united by column and
//! deduplicated by the rule that a store follows. The files may be mains, increments or
//! what other tools wrote; they are only read.
//!
//! They are read for the tests' keys first, so many tests at a time that they and their rows
//! can be held, and then for the rows that stay. Memory grows with the rows that go alone, by
//! eight bytes each.
//!
//! ```
//! use evaltop::internals::store::maintain::merge::Merge;
//! use evaltop::internals::store::{Control, RealDisk};
//! use jiff::tz::TimeZone;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use evaltop::internals::store::write::writer::{Writer, WriterOptions};
//! # use evaltop::internals::store::{Record, Store};
//! # let folder = tempfile::tempdir()?;
//! # let store = Store::new(folder.path().join("my_store"));
//! # let mut writer = Writer::open(&store, WriterOptions::default())?;
//! # writer.append(Record { model: "large".into(), success: Some(true), ..Record::default() })?;
//! # writer.close()?;
//! # let names = std::fs::read_dir(store.layout.incremental())?.map(|entry| Ok(entry?.path()));
//! # let names: Vec<_> = names.collect::<std::io::Result<_>>()?;
//! # let increment = names.into_iter().find(|name| name.extension().is_some_and(|e| e == "parquet")).unwrap();
//! let files = [increment.clone(), increment]; // The same rows twice, as copies of a store are.
//! let control = Control::default();
//! let merge = Merge::plan(&RealDisk, &files, &TimeZone::UTC, &control)?;
//! assert_eq!((merge.rows(), merge.repeated()), (1, 1));
//! merge.run(&control, |batch| {
//!     assert_eq!(batch.num_rows(), 1); // Written by whoever asked, in any form.
//!     Ok(())
//! })?;
//! # Ok(())
//! # }
//! ```

use std::path::{Path, PathBuf};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;

use crate::limits::LIMITS;
use crate::store::aggregate::{Columns, short};
use crate::store::commit::choice::Choice;
use crate::store::commit::external_main::more_than_once;
use crate::store::commit::merge::records;
use crate::store::commit::removed;
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::row_hashes;
use crate::store::format::row_kind;
use crate::store::format::row_kind::Shape;
use crate::store::format::schema::{Union, adapt};
use crate::store::identity::Namer;
use crate::store::parquet::ParquetFile;
use crate::store::parquet::filter::Filter;
use crate::store::parquet::prune::Search;
use crate::store::resolve::Removed;
use crate::store::{Control, Disk, Error, Result};

/// Files to be merged, and which of their rows stay.
#[derive(Debug)]
pub struct Merge {
    files: Vec<ParquetFile>,
    schema: SchemaRef,
    zone: TimeZone,
    /// Records of all files.
    total: u64,
    superseded: u64,
    repeated: u64,
    /// What the stores that the files are mains or backups of removed on purpose.
    removed: Removed,
    /// Of those, the ones that go: their positions in the files one after the other, ascending.
    lost: Vec<u64>,
}

impl Merge {
    /// Reads the files' keys. Times without a zone are read in `zone`. Files whose columns
    /// can't be united, and files of summary rows, are refused.
    pub fn plan(
        disk: &dyn Disk,
        paths: &[PathBuf],
        zone: &TimeZone,
        control: &Control,
    ) -> Result<Self> {
        let mut union = Union::new();
        let (mut files, mut sets) = (Vec::new(), Vec::new());
        for path in paths {
            let file = ParquetFile::open(disk, path).map_err(|error| error.at(path))?;
            let name = path.display().to_string();
            sets.extend(removed_from(disk, &file)?);
            // Equal rows of two files are two rows, unless their time says that they are one.
            let file = Namer::without_store(zone).file(&file, &name);
            union.add(&name, file.schema())?;
            files.push(file);
        }
        // Of one store the later set says what holds.
        sets.sort_by_key(|(generation, _)| *generation);
        let mut removed = Removed::default();
        for (key, removal) in sets.iter().flat_map(|(_, set)| set.sorted()) {
            removed.add(key, removal);
        }
        let schema = union.finish();
        let total = files.iter().map(ParquetFile::rows).sum::<u64>();
        let (zone, lost) = (zone.clone(), Vec::new());
        let mut merge = Self {
            files,
            schema,
            zone,
            total,
            superseded: 0,
            repeated: 0,
            removed,
            lost,
        };
        let parts = total.div_ceil(LIMITS.merge_rows);
        for part in 0..parts {
            merge.compare(|key| short(key) % parts == part, control)?;
        }
        merge.lost.sort_unstable();
        Ok(merge)
    }

    /// Finds those that go among the records of some tests.
    fn compare(&mut self, own: impl Fn(u128) -> bool + Sync, control: &Control) -> Result<()> {
        let mut hashes = Vec::new();
        for file in &self.files {
            hashes.append(&mut self.keys(file, control, |_, key| own(key).then(|| short(key)))?);
        }
        let mut twice = more_than_once(hashes);
        twice.extend(self.removed.shorts());
        if twice.is_empty() {
            return Ok(());
        }
        let (mut choice, mut compared) = (Choice::for_rows(0, &self.removed), Vec::new());
        let mut before = 0;
        for file in &self.files {
            let found = self.keys(file, control, |at, key| {
                twice.contains(&short(key)).then_some(at)
            })?;
            for batch in file.rows_at(None, &found)? {
                control.check()?;
                let batch = records(&batch?, &self.schema, &self.zone)?;
                let columns = Columns::new(&batch)?;
                let hashes = row_hashes(&batch, &self.zone)?;
                for (row, hash) in hashes.into_iter().enumerate() {
                    let keyed = columns.key(row).map(|key| (key, columns.rank(row, hash)));
                    choice.push(keyed);
                }
            }
            compared.extend(found.into_iter().map(|at| before + at));
            before += file.rows();
        }
        let lost = compared
            .into_iter()
            .enumerate()
            .filter(|(at, _)| !choice.keeps(*at));
        self.lost.extend(lost.map(|(_, position)| position));
        self.superseded += choice.superseded;
        self.repeated += choice.repeated;
        Ok(())
    }

    /// What `pick` makes of position and key of each record of a file that has one.
    fn keys<T: Send>(
        &self,
        file: &ParquetFile,
        control: &Control,
        pick: impl Fn(u64, u128) -> Option<T> + Sync,
    ) -> Result<Vec<T>> {
        if row_kind::shape(file.schema()) == Shape::Records {
            return Search::new(file, &Filter::default()).keys(
                &self.schema,
                &self.zone,
                control,
                pick,
            );
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
        self.superseded
    }

    /// Rows that are identical to another one.
    pub fn repeated(&self) -> u64 {
        self.repeated
    }

    /// The rows that stay, in the order of the files; no batch is empty.
    pub fn run(
        &self,
        control: &Control,
        mut take: impl FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let (mut at, mut written) = (0, 0);
        let mut lost = self.lost.iter().copied().peekable();
        for file in &self.files {
            for batch in self.batches(file)? {
                control.check()?;
                let batch = batch?;
                let end = at + batch.num_rows() as u64;
                let mask: BooleanArray = (at..end)
                    .map(|at| Some(lost.next_if_eq(&at).is_none()))
                    .collect();
                at = end;
                let kept = filter_record_batch(&batch, &mask).map_err(|error| {
                    Error::Refused(format!(
                        "the rows of {} can't be put together: {error}",
                        named(file.path())
                    ))
                })?;
                written += kept.num_rows() as u64;
                control.progress("merging", written, self.rows());
                if kept.num_rows() > 0 {
                    take(kept)?;
                }
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
            let split = row_kind::split(&batch?)?;
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

/// What was removed from the store that a file is the main or a backup of, and at which commit.
fn removed_from(disk: &dyn Disk, file: &ParquetFile) -> Result<Option<(u64, Removed)>> {
    let Some(record) = CommitRecord::of(file)? else {
        return Ok(None);
    };
    let Some(set) = &record.removed else {
        return Ok(None);
    };
    let folder = file.path().parent().unwrap_or(Path::new(""));
    let above = folder.parent().filter(|_| folder.ends_with("backups"));
    let removed = removed::read_in(disk, above.unwrap_or(folder), set).map_err(|error| match error {
        Error::Refused(_) => Error::Refused(format!(
            "{}: its store removed rows on purpose, and which ones stands in {}, which is not next to it or \
             can't be read: copy that file too",
            named(file.path()),
            set.name
        )),
        other => other,
    })?;
    Ok(Some((record.generation, removed)))
}

fn named(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use arrow::array::AsArray;
    use proptest::prelude::*;

    use super::*;
    use crate::store::RealDisk;
    use crate::store::testing::fixture::{Fixture, batch, record};

    proptest! {
        // Each case writes files.
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Of each test the newest attempt stays, wherever it is, in the order of the files.
        #[test]
        fn each_test_once(rows in prop::collection::vec((0..12_u8, 0..5_i64), 1..60), cut in 1..60_usize) {
            let fixture = Fixture::new();
            let made: Vec<_> = rows.iter().map(|(id, time)| record(&format!("t{id}"), true, *time)).collect();
            let (one, two) = made.split_at(cut.min(made.len()));
            let mut paths = Vec::new();
            for (name, rows) in [("increment_1.parquet", one), ("increment_2.parquet", two)] {
                if !rows.is_empty() {
                    fixture.increment(name, &batch(rows));
                    paths.push(fixture.store.layout.incremental().join(name));
                }
            }
            let control = Control::default();
            let merge = Merge::plan(&RealDisk, &paths, &TimeZone::UTC, &control).unwrap();
            let mut newest: HashMap<String, i64> = HashMap::new();
            for (id, time) in &rows {
                let known = newest.entry(format!("t{id}")).or_insert(*time);
                *known = (*known).max(*time);
            }
            let mut found = Vec::new();
            merge
                .run(&control, |batch| {
                    let columns = Columns::new(&batch)?;
                    let ids = batch["test_id"].as_string::<i32>();
                    found.extend((0..batch.num_rows()).map(|row| (ids.value(row).to_owned(), columns.timestamp(row).unwrap())));
                    Ok(())
                })
                .unwrap();
            prop_assert_eq!((found.len() as u64, merge.rows()), (newest.len() as u64, newest.len() as u64));
            prop_assert_eq!(merge.superseded() + merge.repeated(), (rows.len() - newest.len()) as u64);
            prop_assert_eq!(found.into_iter().collect::<HashMap<_, _>>(), newest);
        }
    }
}
