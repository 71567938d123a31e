//! The JSON database of older tools, all versions. Its leaves become summary rows,
//! keyed by the file and the cell: importing again changes nothing, and a newer
//! database takes the place of the older. Version 1 holds tests, which become records.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::Schema;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::known;
use super::objects::Objects;
use super::source::{Chunk, Source};
use super::{Kind, Options, Report, detect};
use crate::config::{show_count, show_counted};
use crate::formats::export::Tree;
use crate::stats::{Cell, Tally};
use crate::store::digest::Columns;
use crate::store::query::{self, Selection};
use crate::store::schema::DIMENSIONS;
use crate::store::summary::{Convention, Summaries};
use crate::store::{Control, Error, Result, Store, summaries};

mod expand;
mod instances;
mod leaf;
mod leaves;
mod survey;
mod walk;

use expand::Expand;
use instances::Instances;
use leaves::Leaves;
use survey::Survey;

/// More records than these are not made of counts.
const MOST_RECORDS: u64 = 1_000_000_000;

/// How a database is imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseOptions {
    /// Where its rows are said to come from; `None` for its path. With `expand`, what
    /// the ids begin with.
    pub source: Option<String>,
    /// Make records of its counts.
    pub expand: bool,
    /// Halve totals that are twice full and errors.
    pub halve_doubled: bool,
    /// Take in cells that the store has from elsewhere already.
    pub allow_overlap: bool,
}

/// What became of the leaves of a database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leafage {
    /// The version that the database says it is.
    pub version: Option<String>,
    /// Where its rows say they come from.
    pub source: String,
    /// Tests that its leaves stand for.
    pub tests: Tally,
    /// Rows of an earlier import that these take the place of.
    pub replaced: u64,
    /// The commit that has them.
    pub generation: u64,
}

/// A database that was looked at.
pub(super) enum Database {
    /// Tests, to be taken in as records.
    Records(Box<dyn Source>),
    /// Leaves, to become summary rows.
    Leaves(Box<Counted>),
}

/// A database of leaves.
pub(super) struct Counted {
    leaves: Objects<Leaves>,
    survey: Arc<Survey>,
}

/// Looks at a database.
pub(super) fn open(path: &Path, options: &Options, zone: &TimeZone, control: &Control) -> Result<Database> {
    let size = detect::open(path)?.metadata().map_err(Error::io("read", path))?.len();
    let survey = Arc::new(Survey::new(path)?);
    let place = path.to_path_buf();
    if survey.of_instances() {
        let instances = Instances { path: place, size, survey };
        return Ok(Database::Records(Box::new(Objects::new(instances)?)));
    }
    let (aliases, halve) = (options.aliases.clone(), options.database.halve_doubled);
    let leaves = Objects::new(Leaves { path: place, size, survey: Arc::clone(&survey), aliases, halve })?;
    if !options.database.expand {
        return Ok(Database::Leaves(Box::new(Counted { leaves, survey })));
    }
    let mut tree = Tree::default();
    tree.add_summaries(leaves.chunks()?.map(|chunk| Ok(chunk?.batch)), zone, control)?;
    let tests = tree.totals().tests;
    if tests > MOST_RECORDS {
        return Err(Error::Refused(format!(
            "{} stands for {} tests, too many to make records of: import it without --expand",
            path.display(),
            show_count(tests)
        )));
    }
    let expand = Expand { tree, source: options.database.source.clone(), notes: leaves.notes() };
    Ok(Database::Records(Box::new(Objects::new(expand)?)))
}

/// Makes the leaves of a database the summary rows of its source.
pub(super) fn import(
    store: &Store,
    path: &Path,
    Counted { leaves, survey }: &Counted,
    options: &Options,
    now: Timestamp,
    control: &Control,
) -> Result<Report> {
    let read = |chunk: Result<Chunk>| {
        control.check()?;
        let chunk = chunk?;
        control.progress("reading", chunk.read, leaves.size());
        Ok(chunk.batch)
    };
    let source = match &options.database.source {
        Some(source) => source.clone(),
        None => std::fs::canonicalize(path).map_err(Error::io("read", path))?.display().to_string(),
    };
    let mut report = Report::new(Kind::JsonDatabase, leaves.notes());
    let version = survey.version.clone();
    let mut leafage = Leafage { version, source: source.clone(), ..Leafage::default() };
    // What is counted here is let go before the store begins to count.
    let there = {
        let mut rows = Summaries::default();
        for chunk in leaves.chunks()? {
            rows.push(&read(chunk)?)?;
        }
        let cells = rows.cells();
        for tally in cells.values() {
            leafage.tests.add(tally);
        }
        (report.rows, report.success) = (rows.rows(), leafage.tests.full);
        if rows.convention() == Convention::Assumed {
            let note = "nothing tells whether success has the partial ones in it: taken for yes";
            report.notes.push(note.to_owned());
        }
        drop(rows);
        There::new(store, &source, &cells, control)?
    };
    if let Some(said) = survey.said.filter(|said| *said != leafage.tests.tests) {
        report.notes.push(format!(
            "the root says {}, the leaves have {}: the leaves count",
            show_counted(said, "test"),
            show_counted(leafage.tests.tests, "test")
        ));
    }
    if !there.overlaps.is_empty() {
        if !options.database.allow_overlap {
            return Err(there.refusal(path));
        }
        report.notes.extend(there.overlaps.iter().map(Overlap::note));
    }
    leafage.replaced = there.own;
    report.new = report.rows;
    let schema = leaves
        .columns()
        .iter()
        .map(|column| arrow::datatypes::Field::new(&column.name, column.data_type.clone(), true));
    let schema = Arc::new(Schema::new(schema.collect::<Vec<_>>()));
    if !options.dry_run && (report.rows > 0 || there.own > 0) {
        let batches =
            leaves.chunks()?.map(read).filter(|batch| batch.as_ref().map_or(true, |b| b.num_rows() > 0));
        let done = summaries::replace(store, &source, &schema, batches, now, control)?;
        if !done.changed {
            (report.new, report.existing) = (0, report.rows);
        }
        leafage.generation = done.generation;
        report.notes.extend(done.notes);
    }
    report.leaves = Some(leafage);
    Ok(report)
}

/// What the store has already of the cells of a database.
struct There {
    /// Rows of the same source.
    own: u64,
    overlaps: Vec<Overlap>,
}

/// Cells that come from elsewhere too.
struct Overlap {
    cells: u64,
    /// The other source; none for records.
    source: Option<String>,
}

impl There {
    fn new(store: &Store, source: &str, cells: &BTreeMap<Cell, Tally>, control: &Control) -> Result<Self> {
        let mut there = Self { own: 0, overlaps: Vec::new() };
        if !known::there(store)? {
            return Ok(there);
        }
        let mut rows = Summaries::default();
        for batch in query::rows(store, &Selection { summaries: true, ..Selection::default() }, control)? {
            rows.push(&batch?)?;
        }
        let mut others = BTreeMap::<Option<&str>, BTreeSet<&Cell>>::new();
        for (cell, of) in rows.sources() {
            if of == Some(source) {
                there.own += 1;
            } else if cells.contains_key(cell) {
                others.entry(of).or_default().insert(cell);
            }
        }
        there.overlaps.extend(others.into_iter().map(|(source, cells)| Overlap {
            cells: cells.len() as u64,
            source: Some(source.unwrap_or("a legacy file").to_owned()),
        }));
        let columns = DIMENSIONS.iter().map(|name| (*name).to_owned()).collect();
        let mut records = BTreeSet::new();
        for batch in
            query::rows(store, &Selection { columns: Some(columns), ..Selection::default() }, control)?
        {
            control.check()?;
            let batch = batch?;
            let columns = Columns::new(&batch)?;
            let shared =
                (0..batch.num_rows()).map(|row| columns.cell(row)).filter(|cell| cells.contains_key(cell));
            records.extend(shared);
        }
        if !records.is_empty() {
            there.overlaps.push(Overlap { cells: records.len() as u64, source: None });
        }
        Ok(there)
    }

    fn refusal(&self, path: &Path) -> Error {
        let what: Vec<_> = self.overlaps.iter().map(Overlap::what).collect();
        let other = self.overlaps.iter().find_map(|overlap| overlap.source.as_ref());
        let replace = match other {
            Some(other) => format!(" (to take the place of those rows: --source '{other}')"),
            None => String::new(),
        };
        Error::Refused(format!(
            "{}: {}, so the same tests might count twice{replace}; give --allow-overlap if they are different \
             tests; nothing was imported from this file",
            path.display(),
            what.join(" and "),
        ))
    }
}

impl Overlap {
    fn what(&self) -> String {
        let cells = show_counted(self.cells, "cell");
        match &self.source {
            Some(source) => format!("{cells} of it are in the store already, from {source}"),
            None => format!("{cells} of it have records in the store already"),
        }
    }

    fn note(&self) -> String {
        format!("{}: both count", self.what())
    }
}
