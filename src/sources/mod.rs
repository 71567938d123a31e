//! Results of other tools as records: JSON lines, CSV and Parquet with any columns.
//!
//! Promises: a file is imported whole, as one increment, or not at all; importing
//! it again adds nothing; a value that does not fit is an error that names its
//! line; memory is bounded whatever the file's size (every file is read twice).
//!
//! ```
//! use evaltop::internals::sources::{self, Mapping, Options};
//! use evaltop::internals::store::{Control, Store};
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
//! let report = sources::import(&store, &file, &options, Timestamp::now(), &Control::default())?;
//! assert_eq!((report.rows, report.new, report.success), (2, 2, 1));
//! let again = sources::import(&store, &file, &options, Timestamp::now(), &Control::default())?;
//! assert_eq!((again.new, again.existing), (0, 2));
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Map;
use xxhash_rust::xxh3::xxh3_64;

use crate::config::did_you_mean;
use crate::store::{Control, Error, Result, Store};

mod aliases;
pub mod cache;
mod condition;
mod content;
mod convert;
mod counts;
#[cfg(test)]
mod crash_tests;
mod csv;
mod database;
pub mod detect;
mod document;
mod earlier;
pub mod follow;
pub mod input;
pub mod inspect;
mod json_reader;
mod jsonl;
mod known;
mod ledger;
mod lm_eval;
pub mod mailbox;
mod mapped;
mod mapping;
mod objects;
mod parquet;
mod promptfoo;
mod recorded;
pub mod remote;
mod rows;
mod run;
mod score;
mod source;
mod spec;
mod swe_bench;
mod table;
pub mod transcript;
mod unpivot;

pub use aliases::Aliases;
pub use counts::Counted;
pub use database::{DatabaseOptions, Leafage};
pub use detect::Kind;
pub use mapping::Mapping;

pub use run::{Done, Run};
pub use spec::Spec;

use counts::Counts;
use document::{Document, Nested};
use mapping::Plan;
use objects::Objects;
use promptfoo::PromptfooTable;
use source::Source;
use swe_bench::SweBench;
use unpivot::Unpivot;

/// How files are imported.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// What the file is; `None` to detect it by content.
    pub kind: Option<Kind>,
    /// Which columns come from where.
    pub mapping: Mapping,
    /// Columns that are models, each with its result; none where rows name their model.
    pub models_in_columns: Vec<String>,
    /// How people know the file, where it is not its path.
    pub name: Option<PathBuf>,
    /// The name of the source; `None` for what the file says, or its path.
    pub source: Option<String>,
    /// Names of models that mean the same model.
    pub aliases: Aliases,
    /// What is done with a JSON database.
    pub database: DatabaseOptions,
    /// Leave out rows that can't be taken in, and keep them as rejected, rather than refuse
    /// the file.
    pub skip_bad: bool,
    /// Change nothing, only say what would be imported.
    pub dry_run: bool,
}

impl Options {
    /// What a file is.
    fn kind_of(&self, path: &Path) -> Result<Kind> {
        match self.kind {
            Some(kind) => Ok(kind),
            None if self.mapping.rows.is_some() => Ok(Kind::Document),
            None => detect::detect(path),
        }
    }

    /// The hash of all that decides what a row becomes.
    fn settings(&self) -> String {
        let all = format!(
            "{:?} {:?} {:?} {:?} {:?}",
            self.kind, self.mapping, self.models_in_columns, self.aliases, self.database
        );
        format!("{:016x}", xxh3_64(all.as_bytes()))
    }
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
    /// Rows that were left out because they can't be taken in.
    pub rejected: u64,
    /// What does not count, a sentence each.
    pub left_out: Vec<String>,
    /// Rows of an earlier import that these take the place of.
    pub replaced: u64,
    /// When that import was, where it is known.
    pub replaced_of: Option<Timestamp>,
    /// Where the columns of the records come from.
    pub columns: Vec<String>,
    /// Columns kept beyond those of a record.
    pub extra: Vec<String>,
    /// What else there is to say of the file, a sentence each.
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
            rejected: 0,
            left_out: Vec::new(),
            replaced: 0,
            replaced_of: None,
            columns,
            extra,
            notes,
            increment: None,
            leaves: None,
        }
    }
}

/// Opens a file of a kind, of which people know it as `name`.
fn open(path: &Path, name: &Path, kind: Kind, options: &Options) -> Result<Box<dyn Source>> {
    Ok(match kind {
        Kind::Jsonl => {
            let lines = jsonl::Jsonl::open(path)?.skip_bad(options.skip_bad);
            let wanted = options.mapping.nested();
            Box::new(Objects::new(Nested::new(
                Box::new(lines),
                wanted,
                Map::new(),
            ))?)
        }
        Kind::Document => {
            let document = Document::open(path, options.mapping.rows.as_deref())?;
            let (wanted, shared) = (options.mapping.nested(), document.shared().clone());
            Box::new(Objects::new(Nested::new(
                Box::new(document),
                wanted,
                shared,
            ))?)
        }
        Kind::SweBench => Box::new(Objects::new(SweBench::open(path, name)?)?),
        Kind::Mapped(spec) => Box::new(Objects::new(spec.open(path, name)?)?),
        Kind::PromptfooTable => Box::new(Objects::new(PromptfooTable::open(path)?)?),
        Kind::Counts(of) => Box::new(Objects::new(Counts::open(path, name, of)?)?),
        Kind::Csv => Box::new(csv::Csv::open(path, options.skip_bad)?),
        Kind::Parquet => Box::new(parquet::Parquet::open(path)?),
        Kind::Inspect => Box::new(Objects::new(inspect::Inspect::open(path, name)?)?),
        Kind::LmEval => Box::new(Objects::new(lm_eval::LmEval::open(path)?)?),
        Kind::JsonDatabase => {
            return Err(Error::Refused(format!(
                "{} is a JSON database",
                path.display()
            )));
        }
    })
}

/// The columns of a file, with a value each.
///
/// # Errors
/// The file can't be read, or is nothing that can be imported.
pub fn preview(path: &Path, options: &Options) -> Result<Vec<(String, String)>> {
    let kind = options.kind_of(path)?;
    let source = open(path, path, kind, options)?;
    let mut columns = Vec::new();
    for chunk in source.chunks()?.take(1) {
        let chunk = chunk?;
        for (column, array) in source.columns().iter().zip(chunk.batch.columns()) {
            let texts = convert::texts(array).map_err(|bad| Error::Refused(bad.why))?;
            let first = texts.iter().flatten().find(|text| !text.trim().is_empty());
            let value = first.map_or_else(|| "nothing".to_owned(), convert::brief);
            columns.push((column.name.clone(), value));
        }
    }
    Ok(columns)
}

/// Makes rows of the columns that are models, where there are such.
fn unpivoted(source: Box<dyn Source>, options: &Options) -> Result<Box<dyn Source>, String> {
    if options.models_in_columns.is_empty() {
        return Ok(source);
    }
    let mapping = &options.mapping;
    let tasks = mapping
        .columns
        .iter()
        .any(|(column, _)| column == "task_id");
    let judged = mapping.success.is_some();
    let rows = Unpivot::new(source, &options.models_in_columns, judged, tasks)?;
    Ok(Box::new(rows))
}

/// Imports one file into a store, which is made when it is not there.
///
/// # Errors
/// The file or the store can't be read; then nothing of it is imported.
pub fn import(
    store: &Store,
    path: &Path,
    options: &Options,
    now: Timestamp,
    control: &Control,
) -> Result<Report> {
    let mut run = Run::new(store, control);
    let mut done = run.add(0, path, options, now);
    done.extend(run.finish());
    // Each file has one outcome.
    done.pop()
        .map_or(Err(Error::Cancelled), |(_, report)| report)
}

/// What is wrong with a condition whose word no row has: the values that there are.
fn unknown_word(source: &dyn Source, plan: &Plan, control: &Control) -> Result<Option<String>> {
    /// Values that are named.
    const SHOWN: usize = 8;
    for (at, column, word) in plan.words() {
        let mut values = BTreeSet::new();
        let mut found = false;
        for chunk in source.chunks()? {
            control.check()?;
            let chunk = chunk?;
            let Some(array) = chunk.batch.columns().get(at) else {
                break;
            };
            let texts = convert::texts(array).map_err(|bad| Error::Refused(bad.why))?;
            for text in texts.iter().flatten() {
                found |= text == word;
                if values.len() <= SHOWN && !values.contains(text) {
                    values.insert(text.to_owned());
                }
            }
            if found {
                break;
            }
        }
        if !found && !values.is_empty() {
            let more = if values.len() > SHOWN { ", …" } else { "" };
            let shown: Vec<String> = values
                .iter()
                .take(SHOWN)
                .map(|value| convert::brief(value))
                .collect();
            let meant = did_you_mean(&word, values.iter().map(String::as_str));
            return Ok(Some(format!(
                "has no '{word}' in column '{column}'{meant}: there are {}{more}",
                shown.join(", ")
            )));
        }
    }
    Ok(None)
}
