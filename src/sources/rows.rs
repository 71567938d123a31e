//! The rows of a file as records, and which of them a store lacks.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use xxhash_rust::xxh3::xxh3_64;

use super::convert::{self, Bad};
use super::earlier::Earlier;
use super::ledger::Version;
use super::mapping::{Ids, Plan, SOURCE};
use super::source::{Chunk, Rejected, bad_row};
use super::{Aliases, Report, known, recorded};
use crate::store::aggregate::Columns;
use crate::store::format::schema;
use crate::store::resolve::Rank;
use crate::store::{Control, Error, Result, RowHash, Store, row_hashes};

/// Rows that are looked up in the store at once.
pub(super) const WINDOW_ROWS: usize = 262_144;
/// A window also ends at this size.
pub(super) const WINDOW_BYTES: usize = 64 << 20;
/// A file that is larger has progress of its own.
const SHOWN_BYTES: u64 = 16 << 20;

/// Reads a file's rows as records, some at a time.
pub(super) struct Reader<'a> {
    pub(super) store: &'a Store,
    pub(super) path: &'a Path,
    pub(super) plan: &'a Plan,
    pub(super) aliases: &'a Aliases,
    pub(super) target: SchemaRef,
    pub(super) chunks: Box<dyn Iterator<Item = Result<Chunk>> + 'a>,
    pub(super) size: u64,
    pub(super) ids: Ids,
    pub(super) skip_bad: bool,
    pub(super) control: &'a Control,
}

/// Some rows of a file.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) batches: Vec<Keyed>,
    pub(super) rows: usize,
    pub(super) bytes: usize,
    /// Nothing follows.
    pub(super) ended: bool,
}

impl Reader<'_> {
    /// The next rows; what they say and what was left out is noted with the file.
    pub(super) fn window(&mut self, file: &mut File) -> Result<Window> {
        let mut window = Window::default();
        while window.rows < WINDOW_ROWS && window.bytes < WINDOW_BYTES {
            self.control.check()?;
            let Some(chunk) = self.chunks.next() else {
                window.ended = true;
                break;
            };
            let mut chunk = chunk?;
            file.rejected.append(&mut chunk.rejected);
            let zone = &self.store.zone;
            let records = loop {
                match self.plan.apply(&chunk.batch, zone, &mut self.ids) {
                    Ok(records) => break records,
                    Err(bad) if self.skip_bad && bad.row < chunk.batch.num_rows() => {
                        file.rejected.push(reject(&mut chunk, &bad)?);
                    }
                    Err(bad) => {
                        return Err(bad_row(self.path, &chunk.places.of(bad.row), &bad.why));
                    }
                }
            };
            let contents = self.plan.contents(&chunk.batch, zone);
            let bad = |bad: Bad| bad_row(self.path, &chunk.places.of(bad.row), &bad.why);
            for content in contents.map_err(bad)? {
                file.earlier.content = file.earlier.content.wrapping_add(content);
            }
            let records = self.aliases.apply(records)?;
            if !file.earlier.named && !self.plan.names("test_id") && !self.plan.names("session_id")
            {
                note_tasks(&records, &mut file.earlier)?;
            }
            let records = schema::adapt(&records, &self.target, zone)?;
            window.rows += records.num_rows();
            window.bytes += records.get_array_memory_size();
            let keyed = Keyed::new(records, zone)?;
            file.report.rows += keyed.rows.len() as u64;
            file.report.success += keyed.success;
            window.batches.push(keyed);
            if self.size > SHOWN_BYTES {
                self.control.progress("reading", chunk.read, self.size);
            }
        }
        Ok(window)
    }
}

/// Notes which tasks of which models a file has.
fn note_tasks(records: &RecordBatch, earlier: &mut Earlier) -> Result<()> {
    let texts = |name: &str| {
        let column = records.column_by_name(name).map(convert::texts);
        column.transpose().map_err(|bad| Error::Refused(bad.why))
    };
    if let (Some(models), Some(tasks)) = (texts("model")?, texts("task_id")?) {
        for row in (0..records.num_rows()).filter(|row| tasks.is_valid(*row)) {
            let task = format!("{}\0{}", models.value(row), tasks.value(row));
            earlier.task(xxh3_64(task.as_bytes()));
        }
    }
    Ok(())
}

/// Takes a row that does not fit out of a chunk.
fn reject(chunk: &mut Chunk, bad: &Bad) -> Result<Rejected> {
    let refused = |error: arrow::error::ArrowError| Error::Refused(error.to_string());
    let mut writer = arrow::json::LineDelimitedWriter::new(Vec::new());
    writer
        .write(&chunk.batch.slice(bad.row, 1))
        .map_err(refused)?;
    let raw = String::from_utf8_lossy(&writer.into_inner())
        .trim_end()
        .to_owned();
    let place = chunk.places.of(bad.row);
    let keep: BooleanArray = (0..chunk.batch.num_rows())
        .map(|row| Some(row != bad.row))
        .collect();
    chunk.batch = filter_record_batch(&chunk.batch, &keep).map_err(refused)?;
    chunk.places.remove(bad.row);
    Ok(Rejected {
        place,
        why: bad.why.clone(),
        raw,
    })
}

/// A file that is imported.
#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) path: PathBuf,
    /// The columns of its records.
    pub(super) target: SchemaRef,
    /// The same, with what is known of their values.
    pub(super) known: SchemaRef,
    pub(super) earlier: Earlier,
    pub(super) report: Report,
    /// What was left out.
    pub(super) rejected: Vec<Rejected>,
    /// The hash of the settings.
    pub(super) settings: String,
    pub(super) dry_run: bool,
    pub(super) now: Timestamp,
}

/// Rows that the store lacks, and those that they take the place of.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    pub(super) batches: Vec<RecordBatch>,
    /// The attempts that these rows are.
    pub(super) ranks: Vec<(u128, Rank)>,
    /// Keys of the store's rows that go.
    pub(super) replaced: HashSet<u128>,
}

impl File {
    /// What the list of imports has to learn.
    pub(super) fn news(&self) -> Option<Version> {
        let rows = self.report.rows;
        (rows > 0 && self.earlier.is_news(rows, &self.settings))
            .then(|| self.earlier.version(rows, &self.settings, self.now))
    }

    /// The tests of which the store has an attempt of the same time that says something else: it
    /// may have been recorded while the test ran.
    pub(super) fn may_be_recorded(
        &self,
        batches: &[Keyed],
        known: &HashMap<u128, Rank>,
        origins: &Origins,
    ) -> HashSet<u128> {
        // What names no tests itself can't have been recorded under the same ids.
        if !(self.earlier.named && self.earlier.settled) {
            return HashSet::new();
        }
        let differs = |row: &&Row| {
            known.get(&row.key).is_some_and(|there| {
                there.timestamp == row.time && !origins.is_same(there.hash, row.hash)
            })
        };
        let rows = batches.iter().flat_map(|batch| &batch.rows);
        rows.filter(differs).map(|row| row.key).collect()
    }

    /// Of what was recorded, the tests whose rows say what the file says.
    pub(super) fn recorded(
        &self,
        store: &Store,
        batches: &[Keyed],
        found: &HashMap<u128, u128>,
    ) -> Result<HashSet<u128>> {
        let mut same = HashSet::new();
        for batch in batches {
            let hashes = recorded::hashes(store, &batch.records, &self.target)?;
            let rows = batch.rows.iter().zip(hashes);
            let rows = rows.filter(|(row, hash)| found.get(&row.key) == Some(hash));
            same.extend(rows.map(|(row, _)| row.key));
        }
        Ok(same)
    }

    /// Whether this file can't be judged before others are in the store: it may take the place of
    /// rows that are `coming`, or has tests whose rows are `going`.
    pub(super) fn meets(
        &self,
        batches: &[Keyed],
        coming: &HashMap<u128, Rank>,
        going: &HashSet<u128>,
        origins: &Origins,
    ) -> bool {
        let differs = |row: &Row| {
            coming.get(&row.key).is_some_and(|there| {
                let attempt = self.earlier.named && row.time != there.timestamp;
                !attempt && !origins.is_same(there.hash, row.hash)
            })
        };
        let mut rows = batches.iter().flat_map(|batch| &batch.rows);
        (!coming.is_empty() || !going.is_empty())
            && rows.any(|row| going.contains(&row.key) || differs(row))
    }

    /// Leaves out the rows that the store has.
    pub(super) fn judge(
        &mut self,
        batches: &[Keyed],
        known: &HashMap<u128, Rank>,
        recorded: &HashSet<u128>,
        origins: &Origins,
        fresh: &mut Fresh,
    ) -> Result<()> {
        let origin = origins.of(&self.earlier.label);
        for batch in batches {
            let mut keep = Vec::with_capacity(batch.rows.len());
            for row in &batch.rows {
                let there = known.get(&row.key);
                let recorded = recorded.contains(&row.key);
                let is_fresh = self.is_fresh(row, there, recorded, origins, &mut fresh.replaced);
                if is_fresh {
                    fresh.ranks.push((row.key, row.rank(origin)));
                }
                keep.push(Some(is_fresh));
            }
            let keep = BooleanArray::from(keep);
            let new = keep.true_count() as u64;
            self.report.new += new;
            self.report.existing += keep.len() as u64 - new;
            let records = filter_record_batch(&batch.records, &keep)
                .map_err(|error| Error::Refused(format!("the rows can't be taken in: {error}")))?;
            if records.num_rows() > 0 {
                fresh.batches.push(records);
            }
        }
        Ok(())
    }

    /// Whether the store lacks a row, of whose test it has the attempt `there`; `recorded` says
    /// that this attempt is the row.
    fn is_fresh(
        &mut self,
        row: &Row,
        there: Option<&Rank>,
        recorded: bool,
        origins: &Origins,
        replaced: &mut HashSet<u128>,
    ) -> bool {
        let of_source = self.earlier.meet(row.key, &row.id, row.session.as_deref());
        let Some(there) = there else {
            return true;
        };
        let same = recorded || origins.is_same(there.hash, row.hash);
        if same || (self.earlier.settled && (self.earlier.held || !self.earlier.named)) {
            return false;
        }
        match row.time.cmp(&there.timestamp) {
            // The source says it in another way now, with the same settings or with others.
            Ordering::Equal => {
                replaced.insert(row.key);
                true
            }
            _ if of_source && !self.earlier.named => {
                replaced.insert(row.key);
                true
            }
            newer => newer == Ordering::Greater,
        }
    }

    /// Counts what it took the place of, once all of its rows were judged.
    pub(super) fn settle(&mut self, replaced: &mut HashSet<u128>) {
        replaced.extend(self.earlier.gone());
        self.report.replaced = replaced.len() as u64;
        self.report.new = self.report.new.saturating_sub(self.report.replaced);
        if self.report.replaced > 0 {
            self.report.replaced_of = self.earlier.version.as_ref().map(|version| version.at);
        }
    }
}

/// What each known source adds to the hash of a row: rows that differ in nothing else are
/// the same.
#[derive(Debug, Default)]
pub(super) struct Origins {
    of: HashMap<String, u128>,
    all: HashSet<u128>,
}

impl Origins {
    /// Takes in the names of sources.
    pub(super) fn add<'a>(&mut self, labels: impl IntoIterator<Item = &'a str>) -> Result<()> {
        let new: HashSet<&str> = labels
            .into_iter()
            .filter(|label| !self.of.contains_key(*label))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let labels: Vec<&str> = new.into_iter().collect();
        let column: StringArray = labels.iter().copied().map(Some).collect();
        let batch = RecordBatch::try_from_iter([(SOURCE, Arc::new(column) as ArrayRef)])
            .map_err(|error| Error::Refused(error.to_string()))?;
        let hashes = row_hashes(&batch, &TimeZone::UTC)?;
        // Rows that a program recorded have no source.
        self.all.insert(0);
        self.all.extend(hashes.iter().map(|row| row.hash));
        let hashes = hashes.iter().map(|row| row.hash);
        let labels = labels.into_iter().map(str::to_owned);
        self.of.extend(labels.zip(hashes));
        Ok(())
    }

    fn of(&self, label: &str) -> u128 {
        self.of.get(label).copied().unwrap_or_default()
    }

    /// Whether a row of some source with the hash `there` says what one says whose values, but
    /// for its source, have the hash `own`.
    fn is_same(&self, there: u128, own: u128) -> bool {
        self.all.contains(&there.wrapping_sub(own))
    }
}

/// What is known of a row that may go in.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: u128,
    id: String,
    session: Option<String>,
    time: Option<i64>,
    /// The hash of its values but its source.
    hash: u128,
    /// How many these are.
    values: u32,
}

impl Row {
    /// The attempt that it is, of a source that adds `origin` to its hash.
    fn rank(&self, origin: u128) -> Rank {
        let hash = RowHash {
            hash: self.hash.wrapping_add(origin),
            values: self.values + 1,
        };
        Rank::new(self.time, None, hash)
    }
}

/// Records with what says whether the store has them.
#[derive(Debug)]
pub(super) struct Keyed {
    pub(super) records: RecordBatch,
    pub(super) rows: Vec<Row>,
    success: u64,
}

impl Keyed {
    fn new(records: RecordBatch, zone: &TimeZone) -> Result<Self> {
        let columns = Columns::new(&records)?;
        let schema = records.schema();
        let others: Vec<usize> = (0..records.num_columns())
            .filter(|at| {
                schema
                    .fields()
                    .get(*at)
                    .is_none_or(|field| field.name() != SOURCE)
            })
            .collect();
        let others = records
            .project(&others)
            .map_err(|error| Error::Refused(error.to_string()))?;
        let hashes = row_hashes(&others, zone)?;
        let texts = |name: &str| {
            let column = records.column_by_name(name).map(convert::texts);
            column.transpose().map_err(|bad| Error::Refused(bad.why))
        };
        let (ids, sessions) = (texts("test_id")?, texts("session_id")?);
        let text = |texts: &Option<StringArray>, row: usize| {
            let texts = texts.as_ref().filter(|texts| texts.is_valid(row))?;
            Some(texts.value(row).to_owned())
        };
        let row = |(row, hash): (usize, &RowHash)| {
            // Every imported row has an id, so every row has a key.
            known::key(&columns, row).map(|key| Row {
                key,
                id: text(&ids, row).unwrap_or_default(),
                session: text(&sessions, row),
                time: columns.timestamp(row),
                hash: hash.hash,
                values: hash.values,
            })
        };
        let rows = hashes.iter().enumerate().filter_map(row).collect();
        let success =
            (0..records.num_rows()).filter(|row| columns.truth("success", *row) == Some(true));
        let success = success.count() as u64;
        Ok(Self {
            records,
            rows,
            success,
        })
    }
}

/// The keys of some batches.
pub(super) fn keys(batches: &[Keyed]) -> impl Iterator<Item = u128> {
    batches
        .iter()
        .flat_map(|batch| &batch.rows)
        .map(|row| row.key)
}
