//! The JSON database of older tools, all versions. Its leaves become summary rows,
//! keyed by the file and the cell: importing again changes nothing, and a newer
//! database takes the place of the older. Version 1 holds tests, which become records.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::Schema;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::known;
use super::objects::Objects;
use super::source::{Chunk, Source};
use super::{Kind, Options, Report, detect};
use crate::config::show_counted;
use crate::stats::Tally;
use crate::store::aggregate::summary::{Convention, Meanings, Summaries};
use crate::store::aggregate::{Columns, cell_key};
use crate::store::commit::summaries;
use crate::store::format::schema::DIMENSIONS;
use crate::store::read::query;
use crate::store::read::query::Selection;
use crate::store::{Control, Error, Result, Store};

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
pub(crate) enum Database {
    /// Tests, to be taken in as records.
    Records(Box<dyn Source>),
    /// Leaves, to become summary rows.
    Leaves(Box<Counted>),
}

/// Rows that stand for many tests each.
pub(crate) struct Counted {
    kind: Kind,
    leaves: Box<dyn Source>,
    version: Option<String>,
    /// How many tests the file says that they are.
    said: Option<u64>,
}

impl Counted {
    /// Of a file whose rows are leaves already.
    pub(crate) fn new(kind: Kind, leaves: Box<dyn Source>) -> Self {
        Self {
            kind,
            leaves,
            version: None,
            said: None,
        }
    }
}

/// Looks at a database.
pub(crate) fn open(
    path: &Path,
    options: &Options,
    zone: &TimeZone,
    control: &Control,
) -> Result<Database> {
    let size = detect::open(path)?
        .metadata()
        .map_err(Error::io("read", path))?
        .len();
    let survey = Arc::new(Survey::new(path)?);
    let place = path.to_path_buf();
    if survey.of_instances() {
        let instances = Instances {
            path: place,
            size,
            survey,
        };
        return Ok(Database::Records(Box::new(Objects::new(instances)?)));
    }
    let (aliases, halve) = (options.aliases.clone(), options.database.halve_doubled);
    let leaves = Objects::new(Leaves {
        path: place,
        size,
        survey: Arc::clone(&survey),
        aliases,
        halve,
    })?;
    if !options.database.expand {
        return Ok(Database::Leaves(Box::new(Counted {
            kind: Kind::JsonDatabase,
            version: survey.version.clone(),
            said: survey.said,
            leaves: Box::new(leaves),
        })));
    }
    let expand = Expand::new(leaves, options.database.source.clone(), zone, control)?;
    Ok(Database::Records(Box::new(Objects::new(expand)?)))
}

/// Makes rows that stand for many tests the summary rows of their source.
pub(crate) fn import(
    store: &Store,
    path: &Path,
    counted: &Counted,
    options: &Options,
    now: Timestamp,
    control: &Control,
) -> Result<Report> {
    let leaves = &counted.leaves;
    let read = |chunk: Result<Chunk>| {
        control.check()?;
        let chunk = chunk?;
        control.progress("reading", chunk.read, leaves.size());
        Ok(chunk.batch)
    };
    let source = match &options.database.source {
        Some(source) => source.clone(),
        None => std::fs::canonicalize(path)
            .map_err(Error::io("read", path))?
            .display()
            .to_string(),
    };
    let mut report = Report::new(counted.kind, leaves.notes());
    let mut leafage = Leafage {
        version: counted.version.clone(),
        source: source.clone(),
        ..Leafage::default()
    };
    // Read over and over rather than held: a database may have millions of leaves.
    let mut meanings = Meanings::default();
    for chunk in leaves.chunks()? {
        let batch = read(chunk)?;
        meanings.push(&batch)?;
        report.rows += batch.num_rows() as u64;
    }
    let mut there = There::new(store, &source, control)?;
    for chunk in leaves.chunks()? {
        meanings.each(&read(chunk)?, |cell, tally| {
            leafage.tests.add(&tally);
            there.look_up(cell_key(&cell));
        })?;
    }
    report.success = leafage.tests.full;
    if meanings.convention() == Convention::Assumed {
        let note = "nothing says whether success has the partial ones in it: taken for yes";
        report.notes.push(note.to_owned());
    }
    let overlaps = there.overlaps();
    if let Some(said) = counted.said.filter(|said| *said != leafage.tests.tests) {
        report.notes.push(format!(
            "the root says {}, the leaves have {}: the leaves count",
            show_counted(said, "test"),
            show_counted(leafage.tests.tests, "test")
        ));
    }
    if !overlaps.is_empty() {
        if !options.database.allow_overlap {
            return Err(refusal(path, &overlaps));
        }
        report.notes.extend(overlaps.iter().map(Overlap::note));
    }
    leafage.replaced = there.own;
    report.new = report.rows;
    let schema = leaves
        .columns()
        .iter()
        .map(|column| arrow::datatypes::Field::new(&column.name, column.data_type.clone(), true));
    let schema = Arc::new(Schema::new(schema.collect::<Vec<_>>()));
    if !options.dry_run && (report.rows > 0 || there.own > 0) {
        let batches = leaves
            .chunks()?
            .map(read)
            .filter(|batch| batch.as_ref().map_or(true, |b| b.num_rows() > 0));
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

/// What the store has already.
#[derive(Default)]
struct There {
    /// Rows of the same source.
    own: u64,
    /// Where else its cells come from, by [`cell_key`]: places in the list of origins.
    cells: HashMap<u128, Vec<u32>>,
    /// Other sources, none for a legacy file; the records come last.
    origins: Vec<(Origin, u64)>,
}

/// Where the store has a cell from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Source(Option<String>),
    Records,
}

/// Cells that come from elsewhere too.
struct Overlap {
    cells: u64,
    /// The other source; none for records.
    source: Option<String>,
}

impl There {
    fn new(store: &Store, source: &str, control: &Control) -> Result<Self> {
        let mut there = Self::default();
        if !known::there(store)? {
            return Ok(there);
        }
        for batch in query::rows(
            store,
            &Selection {
                summaries: true,
                ..Selection::default()
            },
            control,
        )? {
            let mut rows = Summaries::default();
            rows.push(&batch?)?;
            for (cell, of) in rows.sources() {
                if of == Some(source) {
                    there.own += 1;
                } else {
                    there.add(cell_key(cell), Origin::Source(of.map(str::to_owned)));
                }
            }
        }
        let columns = DIMENSIONS.iter().map(|name| (*name).to_owned()).collect();
        for batch in query::rows(
            store,
            &Selection {
                columns: Some(columns),
                ..Selection::default()
            },
            control,
        )? {
            control.check()?;
            let batch = batch?;
            let columns = Columns::new(&batch)?;
            for row in 0..batch.num_rows() {
                there.add(columns.cell_key(row), Origin::Records);
            }
        }
        Ok(there)
    }

    fn add(&mut self, key: u128, origin: Origin) {
        // There are few, and mostly the same as before.
        let at = self
            .origins
            .iter()
            .rposition(|(known, _)| *known == origin)
            .unwrap_or_else(|| {
                self.origins.push((origin, 0));
                self.origins.len() - 1
            }) as u32;
        let from = self.cells.entry(key).or_default();
        if !from.contains(&at) {
            from.push(at);
        }
    }

    /// Counts a cell of the database, once.
    fn look_up(&mut self, key: u128) {
        for at in self.cells.remove(&key).into_iter().flatten() {
            if let Some((_, count)) = self.origins.get_mut(at as usize) {
                *count += 1;
            }
        }
    }

    /// What was found of the cells that were looked up.
    fn overlaps(&self) -> Vec<Overlap> {
        let mut found: Vec<_> = self
            .origins
            .iter()
            .filter(|(_, cells)| *cells > 0)
            .collect();
        found.sort();
        let overlap = |(origin, cells): &(Origin, u64)| Overlap {
            cells: *cells,
            source: match origin {
                Origin::Source(source) => {
                    Some(source.clone().unwrap_or_else(|| "a legacy file".to_owned()))
                }
                Origin::Records => None,
            },
        };
        found.into_iter().map(overlap).collect()
    }
}

fn refusal(path: &Path, overlaps: &[Overlap]) -> Error {
    let what: Vec<_> = overlaps.iter().map(Overlap::what).collect();
    let other = overlaps.iter().find_map(|overlap| overlap.source.as_ref());
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
