//! Results of other tools as records: JSON lines, CSV and Parquet with any columns.
//!
//! Promises: a file is imported whole, as one increment, or not at all; importing
//! it again adds nothing; a value that does not fit is an error that names its
//! line; memory is bounded whatever the file's size (every file is read twice).
//!
//! ```
//! use evaltop::formats::import::{self, Mapping, Options};
//! use evaltop::store::{Control, Store};
//! use jiff::Timestamp;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let file = folder.path().join("scores.csv");
//! std::fs::write(&file, "question,model_name,score\n1,large,1.0\n2,large,0.25\n")?;
//! let store = Store::new(folder.path().join("my_store"));
//! let columns = ["model=model_name".to_owned(), "task_id=question".to_owned()];
//! let mapping = Mapping::parse(&columns, Some("score>=1"), Some("score>0"))?;
//! let options = Options { mapping, ..Options::default() };
//! let report = import::import(&store, &file, &options, Timestamp::now(), &Control::default())?;
//! assert_eq!((report.rows, report.new, report.success), (2, 2, 1));
//! let again = import::import(&store, &file, &options, Timestamp::now(), &Control::default())?;
//! assert_eq!((again.new, again.existing), (0, 2));
//! # Ok(())
//! # }
//! ```

use std::collections::HashSet;
use std::path::Path;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;

use crate::store::digest::{self, Columns};
use crate::store::increment::{self, Stems};
use crate::store::{Control, Error, Result, Store, schema};

mod aliases;
mod condition;
mod convert;
#[cfg(test)]
mod crash_tests;
mod csv;
mod database;
pub mod detect;
mod inspect;
mod jsonl;
mod known;
mod lm_eval;
mod mapping;
mod objects;
mod parquet;
mod pull;
mod score;
mod source;
mod unpivot;

pub use aliases::Aliases;
pub use condition::Condition;
pub use database::{DatabaseOptions, Leafage};
pub use detect::Kind;
pub use mapping::Mapping;

use database::Database;
use known::Version;
use mapping::Plan;
use objects::Objects;
use source::{Chunk, Source, bad_row};
use unpivot::Unpivot;

/// Rows that are looked up in the store at once.
const WINDOW_ROWS: usize = 262_144;
/// A window also ends at this size.
const WINDOW_BYTES: usize = 64 << 20;

/// How files are imported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// What the file is; `None` to tell by its content.
    pub kind: Option<Kind>,
    /// Which columns come from where.
    pub mapping: Mapping,
    /// Columns that are models, each with its result; none where rows name their model.
    pub models_in_columns: Vec<String>,
    /// Names of models that mean the same model.
    pub aliases: Aliases,
    /// What is done with a JSON database.
    pub database: DatabaseOptions,
    /// Change nothing, only say what would be imported.
    pub dry_run: bool,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What it was taken for.
    pub kind: Kind,
    /// Its rows.
    pub rows: u64,
    /// Rows that were not in the store.
    pub new: u64,
    /// Rows that the store has, or has a newer attempt of.
    pub existing: u64,
    /// Successes among its rows.
    pub success: u64,
    /// Where the columns of the records come from.
    pub columns: Vec<String>,
    /// Columns kept beyond those of a record.
    pub extra: Vec<String>,
    /// What else there is to tell of the file, a sentence each.
    pub notes: Vec<String>,
    /// The increment; `None` when nothing was new, or on a dry run.
    pub increment: Option<String>,
    /// What became of the leaves of a JSON database; then the rows are summary rows.
    pub leaves: Option<Leafage>,
}

impl Report {
    fn new(kind: Kind, notes: Vec<String>) -> Self {
        let (columns, extra) = (Vec::new(), Vec::new());
        Self {
            kind,
            rows: 0,
            new: 0,
            existing: 0,
            success: 0,
            columns,
            extra,
            notes,
            increment: None,
            leaves: None,
        }
    }
}

/// Imports one file into a store, which is made when it is not there.
pub fn import(
    store: &Store,
    path: &Path,
    options: &Options,
    now: Timestamp,
    control: &Control,
) -> Result<Report> {
    let kind = match options.kind {
        Some(kind) => kind,
        None => detect::detect(path)?,
    };
    let source: Box<dyn Source> = match kind {
        Kind::Jsonl => Box::new(Objects::new(jsonl::Jsonl::open(path)?)?),
        Kind::Csv => Box::new(csv::Csv::open(path)?),
        Kind::Parquet => Box::new(parquet::Parquet::open(path)?),
        Kind::Inspect => Box::new(Objects::new(inspect::Inspect::open(path)?)?),
        Kind::LmEval => Box::new(Objects::new(lm_eval::LmEval::open(path)?)?),
        Kind::JsonDatabase => match database::open(path, options, &store.zone, control)? {
            Database::Records(records) => records,
            Database::Leaves(leaves) => {
                return database::import(store, path, &leaves, options, now, control);
            }
        },
    };
    let refused = |why: String| Error::Refused(format!("{} {why}", path.display()));
    let source = if options.models_in_columns.is_empty() {
        source
    } else {
        let mapping = &options.mapping;
        let tasks = mapping
            .columns
            .iter()
            .any(|(column, _)| column == "task_id");
        let rows = Unpivot::new(
            source,
            &options.models_in_columns,
            mapping.success.is_some(),
            tasks,
        );
        Box::new(rows.map_err(refused)?)
    };
    let mut report = Report::new(kind, source.notes());
    // A log in which nothing has ended yet has no columns either.
    if source.columns().is_empty() {
        return Ok(report);
    }
    let plan = Plan::new(&options.mapping, source.columns()).map_err(refused)?;
    let target = united(store, path, &plan, control)?;
    (report.columns, report.extra) = (plan.describe(), plan.extra());
    let mut rows = NewRows {
        store,
        path,
        plan: &plan,
        aliases: &options.aliases,
        target: target.clone(),
        chunks: source.chunks()?,
        size: source.size(),
        control,
        window: Vec::new().into_iter(),
        report,
    };
    // Nothing is made, not even the store, before there is something to publish.
    let first = rows.next().transpose()?;
    if let Some(first) = first {
        if options.dry_run {
            rows.by_ref().try_for_each(|batch| batch.map(drop))?;
        } else {
            let folder = store.layout.incremental();
            store
                .disk
                .create_folder(&folder)
                .map_err(Error::io("create", &folder))?;
            let stem = Stems::new(&*store.disk, now).next_stem();
            let batches = std::iter::once(Ok(first)).chain(rows.by_ref());
            rows.report.increment = Some(increment::publish(store, &stem, &target, batches)?.name);
        }
    }
    Ok(rows.report)
}

/// The columns of the increment; refuses what can't be united with the store's.
fn united(store: &Store, path: &Path, plan: &Plan, control: &Control) -> Result<SchemaRef> {
    let mut union = schema::Union::new();
    union.add(&path.display().to_string(), &plan.schema())?;
    let target = union.finish();
    known::columns(store, control)?.add(&path.display().to_string(), &target)?;
    Ok(target)
}

/// The rows of a file that the store does not have, as batches of records.
struct NewRows<'a> {
    store: &'a Store,
    path: &'a Path,
    plan: &'a Plan,
    aliases: &'a Aliases,
    target: SchemaRef,
    chunks: Box<dyn Iterator<Item = Result<Chunk>> + 'a>,
    size: u64,
    control: &'a Control,
    window: std::vec::IntoIter<RecordBatch>,
    report: Report,
}

impl Iterator for NewRows<'_> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(batch) = self.window.next() {
                return Some(Ok(batch));
            }
            match self.fill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl NewRows<'_> {
    /// Takes the next rows of the file and leaves out those that the store has;
    /// `false` at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        let mut batches = Vec::new();
        let (mut rows, mut bytes) = (0, 0);
        while rows < WINDOW_ROWS && bytes < WINDOW_BYTES {
            self.control.check()?;
            let Some(chunk) = self.chunks.next() else {
                break;
            };
            let chunk = chunk?;
            let records = self.plan.apply(&chunk.batch, &self.store.zone);
            let records =
                records.map_err(|bad| bad_row(self.path, &chunk.places.of(bad.row), &bad.why))?;
            let records = self.aliases.apply(records)?;
            let records = schema::adapt(&records, &self.target, &self.store.zone)?;
            rows += records.num_rows();
            bytes += records.get_array_memory_size();
            batches.push(Keyed::new(records)?);
            self.control.progress("reading", chunk.read, self.size);
        }
        if batches.is_empty() {
            return Ok(false);
        }
        let keys: HashSet<u128> = batches.iter().flat_map(Keyed::keys).collect();
        let known = known::existing(self.store, &keys, self.control)?;
        let mut window = Vec::with_capacity(batches.len());
        for batch in batches {
            let fresh: BooleanArray = batch
                .versions
                .iter()
                .map(|(key, version)| Some(known.get(key).is_none_or(|there| version > there)))
                .collect();
            self.report.rows += fresh.len() as u64;
            self.report.new += fresh.true_count() as u64;
            self.report.existing += (fresh.len() - fresh.true_count()) as u64;
            self.report.success += batch.success;
            let records = filter_record_batch(&batch.records, &fresh)
                .map_err(|error| Error::Refused(format!("the rows can't be taken in: {error}")))?;
            if records.num_rows() > 0 {
                window.push(records);
            }
        }
        self.window = window.into_iter();
        Ok(true)
    }
}

/// Records with the keys of their tests and what decides between attempts.
struct Keyed {
    records: RecordBatch,
    versions: Vec<(u128, Version)>,
    success: u64,
}

impl Keyed {
    fn new(records: RecordBatch) -> Result<Self> {
        let columns = Columns::new(&records)?;
        let hashes = digest::row_hashes(&records)?;
        let version = |(row, hash): (usize, &u64)| {
            // Every imported row has an id, so every row has a key.
            known::key(&columns, row).map(|key| (key, (columns.timestamp(row), *hash)))
        };
        let versions = hashes.iter().enumerate().filter_map(version).collect();
        let success =
            (0..records.num_rows()).filter(|row| columns.truth("success", *row) == Some(true));
        let success = success.count() as u64;
        Ok(Self {
            records,
            versions,
            success,
        })
    }

    fn keys(&self) -> impl Iterator<Item = u128> {
        self.versions.iter().map(|(key, _)| *key)
    }
}
