//! The JSON database of older tools, all versions. Its leaves become summary rows,
//! keyed by the file and the cell: importing again changes nothing, and a newer
//! database takes the place of the older. Version 1 holds tests, which become records.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
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

/// A file of rows that stand for many tests each, on their way into the store.
pub(crate) struct Counting {
    pub(crate) path: PathBuf,
    pub(crate) counted: Box<Counted>,
    pub(crate) options: Options,
    source: String,
}

impl Counting {
    /// Of a file that was looked at.
    pub(crate) fn new(path: &Path, counted: Box<Counted>, options: &Options) -> Result<Self> {
        let source = match &options.database.source {
            Some(source) => source.clone(),
            None => std::fs::canonicalize(path)
                .map_err(Error::io("read", path))?
                .display()
                .to_string(),
        };
        Ok(Self {
            path: path.to_path_buf(),
            counted,
            options: options.clone(),
            source,
        })
    }

    /// Where its rows say they come from.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Bytes of the file.
    pub(crate) fn size(&self) -> u64 {
        self.counted.leaves.size()
    }

    fn read(&self, chunk: Result<Chunk>, control: &Control) -> Result<RecordBatch> {
        control.check()?;
        let chunk = chunk?;
        control.progress("reading", chunk.read, self.size());
        Ok(chunk.batch)
    }

    /// What it brings, where that is to be taken in. Its rows count as there from then on.
    fn judge(&self, there: &mut There, control: &Control) -> Result<Judged> {
        let leaves = &self.counted.leaves;
        let mut report = Report::new(self.counted.kind, leaves.notes());
        let mut leafage = Leafage {
            version: self.counted.version.clone(),
            source: self.source.clone(),
            ..Leafage::default()
        };
        // Read over and over rather than held: a database may have millions of leaves.
        let mut meanings = Meanings::default();
        for chunk in leaves.chunks()? {
            let batch = self.read(chunk, control)?;
            meanings.push(&batch)?;
            report.rows += batch.num_rows() as u64;
        }
        let mut cells = HashSet::new();
        for chunk in leaves.chunks()? {
            meanings.each(&self.read(chunk, control)?, |cell, tally| {
                leafage.tests.add(&tally);
                cells.insert(cell_key(&cell));
            })?;
        }
        report.success = leafage.tests.full;
        if meanings.convention() == Convention::Assumed {
            let note = "nothing says whether success has the partial ones in it: taken for yes";
            report.notes.push(note.to_owned());
        }
        let overlaps = there.overlaps(&self.source, &cells);
        if let Some(said) = self
            .counted
            .said
            .filter(|said| *said != leafage.tests.tests)
        {
            report.notes.push(format!(
                "the root says {}, the leaves have {}: the leaves count",
                show_counted(said, "test"),
                show_counted(leafage.tests.tests, "test")
            ));
        }
        if !overlaps.is_empty() {
            if !self.options.database.allow_overlap {
                return Err(refusal(&self.path, &overlaps));
            }
            report.notes.extend(overlaps.iter().map(Overlap::note));
        }
        leafage.replaced = there.replace(&self.source, cells, report.rows);
        report.new = report.rows;
        let schema = leaves
            .columns()
            .iter()
            .map(|column| Field::new(&column.name, column.data_type.clone(), true));
        Ok(Judged {
            schema: Arc::new(Schema::new(schema.collect::<Vec<_>>())),
            report,
            leafage,
        })
    }
}

/// What a file brings.
struct Judged {
    schema: SchemaRef,
    report: Report,
    leafage: Leafage,
}

/// Makes rows that stand for many tests the summary rows of their sources, each source once, in one
/// commit. Each file is judged as if those before it were in the store.
pub(crate) fn import(
    store: &Store,
    files: &[Counting],
    now: Timestamp,
    control: &Control,
) -> Result<Vec<Result<Report>>> {
    let mut there = There::new(store, control)?;
    let judged = files.iter().map(|file| file.judge(&mut there, control));
    let mut judged: Vec<Result<Judged>> = judged.collect();
    let taken = |file: &Counting, judged: &Result<Judged>| {
        judged.as_ref().is_ok_and(|own| {
            !file.options.dry_run && (own.report.rows > 0 || own.leafage.replaced > 0)
        })
    };
    let mut sources = Vec::new();
    for (file, judged) in files.iter().zip(&judged) {
        if let (true, Ok(own)) = (taken(file, judged), judged) {
            let batches = file.counted.leaves.chunks()?;
            let batches = batches.map(move |chunk| file.read(chunk, control));
            let filled = |batch: &Result<RecordBatch>| {
                batch.as_ref().map_or(true, |batch| batch.num_rows() > 0)
            };
            sources.push(summaries::New {
                source: &file.source,
                schema: &own.schema,
                rows: Box::new(batches.filter(filled)),
            });
        }
    }
    let mut done = summaries::replace(store, sources, now, control)?.into_iter();
    for (file, judged) in files.iter().zip(&mut judged) {
        let taken = taken(file, judged);
        if let Ok(own) = judged
            && let Some(done) = if taken { done.next() } else { None }
        {
            if !done.changed {
                (own.report.new, own.report.existing) = (0, own.report.rows);
            }
            own.leafage.generation = done.generation;
            own.report.notes.extend(done.notes);
        }
    }
    let report = |judged: Result<Judged>| {
        judged.map(|mut own| {
            own.report.leaves = Some(own.leafage);
            own.report
        })
    };
    Ok(judged.into_iter().map(report).collect())
}

/// What the store has already, and what is on its way.
#[derive(Default)]
struct There {
    /// Where its cells come from, by [`cell_key`]: places in the list of origins.
    cells: HashMap<u128, Vec<u32>>,
    /// None for a legacy file.
    origins: Vec<Origin>,
    places: HashMap<Origin, u32>,
    /// Rows and cells of each source.
    sources: HashMap<u32, (u64, HashSet<u128>)>,
}

/// Where the store has a cell from. The records come last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    fn new(store: &Store, control: &Control) -> Result<Self> {
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
                let at = there.place(Origin::Source(of.map(str::to_owned)));
                let own = there.sources.entry(at).or_default();
                own.0 += 1;
                own.1.insert(cell_key(cell));
                there.add(cell_key(cell), at);
            }
        }
        let columns = DIMENSIONS.iter().map(|name| (*name).to_owned()).collect();
        let records = there.place(Origin::Records);
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
                there.add(columns.cell_key(row), records);
            }
        }
        Ok(there)
    }

    fn place(&mut self, origin: Origin) -> u32 {
        let next = self.origins.len() as u32;
        *self.places.entry(origin).or_insert_with_key(|origin| {
            self.origins.push(origin.clone());
            next
        })
    }

    fn add(&mut self, key: u128, at: u32) {
        let from = self.cells.entry(key).or_default();
        if !from.contains(&at) {
            from.push(at);
        }
    }

    /// Makes these the cells of a source; the rows that it had.
    fn replace(&mut self, source: &str, cells: HashSet<u128>, rows: u64) -> u64 {
        let at = self.place(Origin::Source(Some(source.to_owned())));
        let (before, old) = self.sources.remove(&at).unwrap_or_default();
        for key in old {
            if let Some(from) = self.cells.get_mut(&key) {
                from.retain(|own| *own != at);
            }
        }
        for key in &cells {
            self.add(*key, at);
        }
        self.sources.insert(at, (rows, cells));
        before
    }

    /// What other origins have of some cells.
    fn overlaps(&self, source: &str, cells: &HashSet<u128>) -> Vec<Overlap> {
        let mut counts: BTreeMap<&Origin, u64> = BTreeMap::new();
        let from = cells.iter().filter_map(|key| self.cells.get(key)).flatten();
        for origin in from.filter_map(|at| self.origins.get(*at as usize)) {
            if *origin != Origin::Source(Some(source.to_owned())) {
                *counts.entry(origin).or_default() += 1;
            }
        }
        let overlap = |(origin, cells): (&Origin, u64)| Overlap {
            cells,
            source: match origin {
                Origin::Source(source) => {
                    Some(source.clone().unwrap_or_else(|| "a legacy file".to_owned()))
                }
                Origin::Records => None,
            },
        };
        counts.into_iter().map(overlap).collect()
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
