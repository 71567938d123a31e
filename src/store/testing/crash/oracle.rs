//! What must hold on any disk that a machine wakes up with: acknowledged ⊆ visible ⊆
//! attempted, no row twice, of each test the newest attempt; every main and backup is
//! whole, also to a reader that is not ours; derived files are never ahead of main; the
//! next consolidation takes everything in and leaves nothing behind; `validate` agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::reader::{FileReader, SerializedFileReader};
use xxhash_rust::xxh3::xxh3_64;

use super::aside::{ASIDE, repair};
use super::beside;
use super::known::{self, Seen, once};
use super::scenarios::{LEGACY_TEST, legacy, legacy_rows};
use super::{Ledger, Remedy, World, now, store_on};
use crate::store::commit::consolidate;
use crate::store::disk::sim::SimDisk;
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::layout::{CONSUMED, IncrementalName, classify, is_backup, is_temporary};
use crate::store::maintain::validate;
use crate::store::maintain::validate::Level;
use crate::store::maintain::{backup, restore};
use crate::store::parquet::ParquetFile;
use crate::store::read::query::{Selection, rows};
use crate::store::read::snapshot::Scanner;
use crate::store::{Control, Error, Store};

/// What is expected of a disk.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) struct Expected<'a> {
    /// The newest promised attempt of each test.
    pub(crate) must: &'a BTreeMap<String, i64>,
    /// What may be there.
    pub(crate) may: &'a BTreeSet<(String, i64)>,
    /// Hashes of files that are there under some name.
    pub(crate) kept: &'a [u64],
    /// Files that are there.
    pub(crate) made: &'a [(PathBuf, u64)],
    /// Files that can't be read are part of it.
    pub(crate) damaged: bool,
    /// What has to be said to consolidate.
    pub(crate) remedy: Remedy,
}

pub(crate) fn hash(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// The tests that a reader sees, with their attempts.
fn visible(disk: &SimDisk, store: &Store) -> Result<Seen, String> {
    known::seen(disk.content(), || look(store))
}

fn look(store: &Store) -> Result<Seen, String> {
    let control = Control::default();
    let snapshot = Scanner::new().scan(store, now(), &control);
    let snapshot = snapshot.map_err(|error| format!("a reader fails: {error}"))?;
    let seen = read(store)?;
    let beside = |model: &str| model == beside::MODEL;
    let records = snapshot
        .cells
        .iter()
        .filter(|(cell, _)| !beside(&cell.model));
    let counted: u64 = records.map(|(_, tally)| tally.tests).sum();
    let mut summaries = snapshot
        .cells
        .iter()
        .filter(|(cell, _)| beside(&cell.model));
    if let Some((cell, tally)) = summaries.find(|(_, tally)| !beside::TOTALS.contains(&tally.tests))
    {
        return Err(format!("{cell:?} stands for {} tests", tally.tests));
    }
    if counted != seen.len() as u64 {
        return Err(format!(
            "{counted} tests are counted and {} rows are there",
            seen.len()
        ));
    }
    Ok(seen)
}

/// The rows that a query returns.
pub(crate) fn read(store: &Store) -> Result<Seen, String> {
    let columns = Some(vec!["task_id".to_owned(), "turns".to_owned()]);
    let selection = Selection {
        columns,
        ..Selection::default()
    };
    let found = match rows(store, &selection, &Control::default()) {
        // No file with rows, so no such columns.
        Err(Error::Refused(why)) if why.starts_with("no column") => return Ok(BTreeMap::new()),
        found => found.map_err(|error| format!("a query fails: {error}"))?,
    };
    let mut seen = BTreeMap::new();
    for batch in found {
        let batch = batch.map_err(|error| format!("a query fails: {error}"))?;
        let attempts = batch["turns"].as_primitive::<Int64Type>();
        for (test, attempt) in batch["task_id"].as_string::<i32>().iter().zip(attempts) {
            let (test, attempt) = (test.unwrap_or("(nameless)"), attempt.unwrap_or(-1));
            if let Some(other) = seen.insert(test.to_owned(), attempt) {
                return Err(format!(
                    "{test} is there twice, as attempts {other} and {attempt}"
                ));
            }
        }
    }
    Ok(seen)
}

impl<'a> Expected<'a> {
    /// Nothing but rows.
    pub(crate) fn among(must: &'a Seen, may: &'a BTreeSet<(String, i64)>) -> Self {
        Self {
            must,
            may,
            kept: &[],
            made: &[],
            damaged: false,
            remedy: Remedy::Nothing,
        }
    }
}

impl Expected<'_> {
    /// Whether what is seen keeps the promises.
    pub(crate) fn of(&self, seen: &Seen) -> Result<(), String> {
        for (test, promised) in self.must {
            match seen.get(test) {
                None => return Err(format!("{test} is lost")),
                Some(attempt) if attempt < promised => {
                    return Err(format!(
                        "of {test} attempt {attempt} counts instead of {promised}"
                    ));
                }
                Some(_) => {}
            }
        }
        let invented = seen
            .iter()
            .find(|(test, attempt)| !self.may.contains(&((*test).clone(), **attempt)));
        invented.map_or(Ok(()), |row| Err(format!("{row:?} was never written")))
    }

    /// Looks at the files, reads, consolidates, reads again. Changes the disk.
    pub(crate) fn check(&self, disk: &SimDisk) -> Result<(), String> {
        once(("all", disk.content(), self), || self.check_all(disk))
    }

    fn check_all(&self, disk: &SimDisk) -> Result<(), String> {
        let store = store_on(Arc::new(disk.clone()));
        self.files(disk, &store)?;
        if self.damaged && ParquetFile::open(disk, &store.layout.main()).is_err() {
            restore(&store)?;
        }
        if store.check().is_err() {
            return if self.must.is_empty() {
                Ok(())
            } else {
                Err("the whole store is lost".to_owned())
            };
        }
        let mut seen = visible(disk, &store)?;
        self.of(&seen)?;
        if self.take_in_transactions(disk, &store)? {
            seen = visible(disk, &store)?;
            self.of(&seen)?;
        }
        self.consolidated(disk, &store, Some(&seen))?;
        self.legacy_code_returns(disk, &store)
    }

    /// Repairs where rows lie that legacy code had put aside; then they count.
    fn take_in_transactions(&self, disk: &SimDisk, store: &Store) -> Result<bool, String> {
        let aside = |name: &str| classify(name) == IncrementalName::Transaction;
        if !disk.files().iter().any(|(path, _)| aside(&name(path))) {
            return Ok(false);
        }
        repair(store).map_err(|error| format!("the next repair fails: {error}"))?;
        let seen = visible(disk, store)?;
        match self
            .may
            .iter()
            .find(|(test, _)| test.starts_with(ASIDE) && !seen.contains_key(test))
        {
            Some((test, _)) => Err(format!("{test} is lost in the repair")),
            None => Ok(true),
        }
    }

    /// The same after other code has rewritten main and so dropped its commit record.
    pub(crate) fn check_after_other_code(&self, disk: &SimDisk) -> Result<(), String> {
        once(("other code", disk.content(), self), || {
            self.check_all_after_other_code(disk)
        })
    }

    fn check_all_after_other_code(&self, disk: &SimDisk) -> Result<(), String> {
        let store = store_on(Arc::new(disk.clone()));
        // Main's own bytes are gone then, and so is what they were kept for.
        let expected = Expected {
            kept: &[],
            made: &[],
            ..*self
        };
        if !self.damaged && rewrite_main(disk, &store) {
            let before = visible(disk, &store);
            match expected.consolidated(disk, &store, before.as_ref().ok()) {
                // Nothing distinguishes this main from one that lost rows, so a person is asked.
                Err(why) if why.contains("--accept-main") => Ok(()),
                other => other
                    .and_then(|()| expected.of(&before?))
                    .and_then(|()| expected.legacy_code_returns(disk, &store)),
            }
        } else {
            Ok(())
        }
    }

    /// A legacy writer still knows its old rows and writes them again.
    fn legacy_code_returns(&self, disk: &SimDisk, store: &Store) -> Result<(), String> {
        let legacy_tests = self
            .may
            .iter()
            .filter(|(test, _)| test.starts_with("legacy-"))
            .count();
        if !self.must.contains_key(LEGACY_TEST) || legacy_tests > legacy_rows().len() {
            return Ok(());
        }
        once(("legacy code returns", disk.content(), self), || {
            let mut world = World::new(disk.clone(), None, Ledger::default());
            legacy(&mut world).map_err(|error| error.to_string())?;
            self.consolidated(disk, store, None)
        })
    }

    fn consolidated(
        &self,
        disk: &SimDisk,
        store: &Store,
        before: Option<&Seen>,
    ) -> Result<(), String> {
        // Also a journal is a dead writer's by then, whose lock proves nothing.
        let later = now() + SignedDuration::from_hours(26);
        let control = Control::default();
        let consolidate = || {
            let outcome = consolidate::run(store, &self.remedy.options(), later, &control);
            outcome.map_err(|error| format!("the next consolidation fails: {error}"))
        };
        let outcome = consolidate()?;
        let seen = visible(disk, store)?;
        if before.is_some_and(|before| *before != seen) {
            return Err(format!(
                "the next consolidation makes {seen:?} of {before:?}"
            ));
        }
        self.of(&seen)?;
        if outcome.rows_total != seen.len() as u64 {
            return Err(format!(
                "main has {} of {} rows",
                outcome.rows_total,
                seen.len()
            ));
        }
        self.files(disk, store)?;
        if self.nothing_is_left(disk).is_err() {
            // A legacy file that has two names loses one at a time.
            consolidate()?;
            self.nothing_is_left(disk)?;
        }
        once(("valid", disk.content(), self.damaged), || {
            self.is_valid(store, later)
        })
    }

    fn is_valid(&self, store: &Store, later: Timestamp) -> Result<(), String> {
        let report = validate::check(store, later, &Control::default())
            .map_err(|error| error.to_string())?;
        let bad = report
            .findings
            .iter()
            .filter(|finding| finding.level > Level::Note);
        let known = |finding: &&validate::Finding| {
            let torn = finding.file.contains("_7_20260131_120000.parquet");
            (self.damaged || torn) && finding.message.contains("can't be read")
        };
        let mut bad = bad.filter(|finding| !known(finding));
        bad.next()
            .map_or(Ok(()), |finding| Err(format!("validate finds {finding:?}")))
    }

    fn files(&self, disk: &SimDisk, store: &Store) -> Result<(), String> {
        once(("files", disk.content(), self), || {
            self.all_files(disk, store)
        })
    }

    fn all_files(&self, disk: &SimDisk, store: &Store) -> Result<(), String> {
        let files = disk.files();
        let hashes: BTreeSet<u64> = files.iter().map(|(_, bytes)| hash(bytes)).collect();
        if self.kept.iter().any(|kept| !hashes.contains(kept)) {
            return Err("a file that was to be kept is gone".to_owned());
        }
        for (made, content) in self.made {
            if !files
                .iter()
                .any(|(path, bytes)| path == made && hash(bytes) == *content)
            {
                return Err(format!(
                    "{} was made and is gone or another",
                    made.display()
                ));
            }
        }
        let main = files.iter().find(|(path, _)| *path == store.layout.main());
        let damaged = |bytes: &[u8]| self.damaged && self.kept.contains(&hash(bytes));
        let mut generation = 0;
        if let Some((_, bytes)) = main.filter(|(_, bytes)| !damaged(bytes)) {
            generation = parse(bytes).map_err(|why| format!("main is not whole: {why}"))?;
        }
        let backups = store.layout.backups();
        for (path, bytes) in files
            .iter()
            .filter(|(path, _)| path.parent() == Some(&backups))
        {
            if is_backup(&name(path)) && !damaged(bytes) {
                parse(bytes).map_err(|why| format!("{} is not whole: {why}", path.display()))?;
            }
        }
        for (path, bytes) in &files {
            let derived = if *path == store.layout.metadata() {
                let json: serde_json::Value = serde_json::from_slice(bytes)
                    .map_err(|error| format!("metadata.json: {error}"))?;
                json["generation"].as_u64().unwrap_or_default()
            } else if *path == store.layout.model_stats() {
                parse(bytes).map_err(|why| format!("model_stats.parquet is not whole: {why}"))?
            } else {
                continue;
            };
            // A main that other code wrote has no number.
            if generation > 0 && derived > generation {
                return Err(format!("{} is ahead of main", path.display()));
            }
        }
        Ok(())
    }

    fn nothing_is_left(&self, disk: &SimDisk) -> Result<(), String> {
        for (path, bytes) in disk.files() {
            let name = name(&path);
            let moved = path.starts_with(Path::new("/store/incremental").join(CONSUMED));
            let waits =
                path.starts_with("/store/incremental") && !name.starts_with("rejected_") && !moved;
            let left = waits || is_temporary(&name) || name.ends_with(".pending");
            let damaged = self.damaged && self.kept.contains(&hash(&bytes));
            // Other code died while it wrote its file.
            let torn =
                classify(&name) == IncrementalName::LegacyIncrement && parse(&bytes).is_err();
            if left && !damaged && !torn {
                return Err(format!("{} is left", path.display()));
            }
        }
        Ok(())
    }
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// Reads every row of a Parquet file without any of our code, nor Arrow; returns the
/// number of its commit.
fn parse(bytes: &[u8]) -> Result<u64, String> {
    known::whole(hash(bytes), || read_whole(bytes))
}

fn read_whole(bytes: &[u8]) -> Result<u64, String> {
    let file = SerializedFileReader::new(Bytes::copy_from_slice(bytes))
        .map_err(|error| error.to_string())?;
    let footer = file.metadata().file_metadata();
    let mut rows = 0;
    for row in file.get_row_iter(None).map_err(|error| error.to_string())? {
        row.map_err(|error| error.to_string())?;
        rows += 1;
    }
    if rows != footer.num_rows() {
        return Err(format!("{rows} rows instead of {}", footer.num_rows()));
    }
    let values = footer.key_value_metadata().into_iter().flatten();
    let mut generations = values.filter_map(|pair| match (pair.key.as_str(), &pair.value) {
        ("evaltop.commit", Some(text)) => Some(
            CommitRecord::parse(text, Path::new("main"))
                .ok()?
                .generation,
        ),
        ("evaltop.generation", Some(text)) => text.parse().ok(),
        _ => None,
    });
    Ok(generations.next_back().unwrap_or_default())
}

/// Brings the newest backup back.
pub(crate) fn restore(store: &Store) -> Result<(), String> {
    let newest = backup::list(store).map_err(|error| error.to_string())?;
    let newest = newest.first().ok_or("no backup is left")?;
    let options = restore::Options {
        from: Some(newest.name.clone().into()),
        exactly: false,
    };
    restore::run(store, &options, now(), &Control::default())
        .map(drop)
        .map_err(|error| format!("the restore fails: {error}"))
}

/// What other code does to main: reads it, and writes it in place without our metadata.
/// `false` where there is none.
pub(crate) fn rewrite_main(disk: &SimDisk, store: &Store) -> bool {
    let files = disk.files();
    let Some((path, bytes)) = files.iter().find(|(path, _)| *path == store.layout.main()) else {
        return false;
    };
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::copy_from_slice(bytes)).unwrap();
    let mut schema = (**reader.schema()).clone();
    schema.metadata.clear();
    let schema = Arc::new(schema);
    let mut out = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut out, schema, None).unwrap();
    for batch in reader.build().unwrap() {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.close().unwrap();
    disk.rewrite(path).unwrap().write_all(&out).unwrap();
    true
}
