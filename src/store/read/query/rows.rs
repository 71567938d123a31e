//! Matching rows, batch by batch, each record once.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::computed::Computed;
use super::ordered::{Ordered, Work};
use super::part::Part;
use super::{Control, Filter, Result, Selection, Store, words};
use crate::config::did_you_mean;
use crate::expr::{Bound, Context};
use crate::limits::LIMITS;
use crate::store::Error;
use crate::store::aggregate::Columns;
use crate::store::format::layout::MAIN;
use crate::store::format::row_kind;
use crate::store::format::row_kind::{Shape, shape};
use crate::store::format::schema::{DIMENSIONS, TIMESTAMP_TEXT, Union, adapt, project};
use crate::store::parquet::ParquetFile;
use crate::store::parquet::prune::readers;
use crate::store::read::snapshot::{Depth, Scanner, View, retrying};

/// Increments that are held open from the start, so that a consolidate meanwhile
/// takes none of them away.
const OPEN_AHEAD: usize = 512;

/// Bytes of increments that are held in memory: further ones, and those of legacy code,
/// because their writers may rewrite them in place meanwhile. What is beyond is opened when
/// its turn comes, and an error says so when it is gone or another by then.
const HELD_BYTES: u64 = 256 << 20;

/// Batches of matching rows, all with the columns of [`Rows::schema`]. After an
/// error there are no more.
#[derive(Debug)]
pub struct Rows {
    schema: SchemaRef,
    union: Union,
    pub(crate) reading: Reading<RecordBatch>,
    pub(crate) plan: Arc<Plan>,
    left: u64,
    pub(crate) control: Control,
    whole: bool,
    /// Main, if there is one, and the positions of its rows that don't count.
    pub(crate) main: Option<(ParquetFile, Vec<u64>)>,
    expected: Option<u64>,
}

/// Something made of each batch, with the number of its rows.
type Results<T> = Box<dyn Iterator<Item = Result<(u64, T)>>>;

/// How far they are read.
#[derive(Debug)]
pub(crate) enum Reading<T> {
    /// Not yet begun.
    Ahead(VecDeque<Part>),
    Alone(VecDeque<Part>),
    Together(Ordered<Result<T>>),
}

/// What happens to each batch.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The columns that are read, as they are after conversion.
    target: SchemaRef,
    /// The same, and then those that are made of them.
    full: SchemaRef,
    computed: Computed,
    /// Of those, the ones that are returned, in their order.
    output: Vec<usize>,
    pub(crate) filter: Filter,
    zone: TimeZone,
    summaries: bool,
    pub(super) condition: Option<Bound>,
    keyed: bool,
}

impl Rows {
    /// The columns of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The columns of the files that they come from, with what is known of their values.
    pub(crate) fn union(&self) -> &Union {
        &self.union
    }

    /// Whether these are all records with all their columns.
    pub fn are_whole(&self) -> bool {
        self.whole
    }

    /// How many there are, where that is known without reading them.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// Does something with each batch where it is read: on all cores, where that pays.
    /// Each result comes with the number of its rows.
    pub fn through<T: Send + 'static>(
        mut self,
        work: impl Fn(&RecordBatch) -> Result<T> + Send + Sync + 'static,
    ) -> Result<Results<T>> {
        let counted = move |batch: &RecordBatch| Ok((batch.num_rows() as u64, work(batch)?));
        if let Reading::Ahead(parts) = &mut self.reading
            && self.left == u64::MAX
            && let Some(threads) = threads(parts, self.left)
        {
            let parts = std::mem::take(parts);
            let mut together = together(parts, threads, self.plan, move |batch| counted(&batch))?;
            let control = self.control;
            let next = move || {
                control
                    .check()
                    .and_then(|()| taken(&mut together))
                    .transpose()
            };
            return Ok(Box::new(until_an_error(next)));
        }
        Ok(Box::new(self.map(move |batch| counted(&batch?))))
    }

    fn step(&mut self) -> Result<Option<RecordBatch>> {
        while self.left > 0 {
            self.control.check()?;
            let batch = match &mut self.reading {
                Reading::Ahead(parts) => {
                    let parts = std::mem::take(parts);
                    self.reading = match threads(&parts, self.left) {
                        Some(threads) => {
                            Reading::Together(together(parts, threads, Arc::clone(&self.plan), Ok)?)
                        }
                        None => Reading::Alone(parts),
                    };
                    continue;
                }
                Reading::Together(together) => match taken(together)? {
                    Some(batch) => batch,
                    None => return Ok(None),
                },
                Reading::Alone(parts) => {
                    let Some(part) = parts.front_mut() else {
                        return Ok(None);
                    };
                    let Some(batch) = self.plan.next(part)? else {
                        parts.pop_front();
                        continue;
                    };
                    batch
                }
            };
            if batch.num_rows() > 0 {
                let rows = usize::try_from(self.left)
                    .unwrap_or(usize::MAX)
                    .min(batch.num_rows());
                self.left -= rows as u64;
                return Ok(Some(batch.slice(0, rows)));
            }
        }
        Ok(None)
    }
}

/// How many threads read; `None` where one is enough.
fn threads(parts: &VecDeque<Part>, limit: u64) -> Option<usize> {
    let rows: u64 = parts.iter().map(|part| part.rows).sum();
    let threads = readers(parts.len());
    (threads > 1 && rows.min(limit) >= LIMITS.query_rows).then_some(threads)
}

fn together<T: Send + 'static>(
    parts: VecDeque<Part>,
    threads: usize,
    plan: Arc<Plan>,
    work: impl Fn(RecordBatch) -> Result<T> + Send + Sync + 'static,
) -> Result<Ordered<Result<T>>> {
    let read = move |mut part: Part, give: &mut dyn FnMut(Result<T>) -> bool| {
        loop {
            let result = match plan.next(&mut part) {
                Ok(Some(batch)) if batch.num_rows() == 0 => continue,
                Ok(Some(batch)) => work(batch),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            let failed = result.is_err();
            if !give(result) || failed {
                return;
            }
        }
    };
    let work: Arc<Work<Part, Result<T>>> = Arc::new(read);
    Ordered::start(parts, threads, &work).map_err(|error| Error::no_thread(&error))
}

fn taken<T: Send + 'static>(together: &mut Ordered<Result<T>>) -> Result<Option<T>> {
    together.next().map_err(unread)?.transpose()
}

/// What `next` gives, and nothing after an error.
fn until_an_error<T>(
    mut next: impl FnMut() -> Option<Result<T>>,
) -> impl Iterator<Item = Result<T>> {
    let mut over = false;
    std::iter::from_fn(move || {
        let step = if over { None } else { next() };
        over = !matches!(step, Some(Ok(_)));
        step
    })
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
fn unread(error: std::io::Error) -> Error {
    Error::Refused(format!("the rows can't be read on ({error}): try again"))
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step().transpose();
        if !matches!(step, Some(Ok(_))) {
            self.left = 0;
        }
        step
    }
}

/// The matching rows of a consistent view of the store. Unknown columns are refused
/// in one sentence that lists those there are.
pub fn rows(store: &Store, selection: &Selection, control: &Control) -> Result<Rows> {
    let choose = |_: &SchemaRef, _: &TimeZone| Ok(selection.clone());
    rows_chosen(
        store,
        &selection.filter,
        selection.summaries,
        &choose,
        control,
    )
}

/// The columns that can be asked for: those of the records, and those that are made of them.
pub fn columns(store: &Store, control: &Control) -> Result<Vec<String>> {
    let names = std::cell::RefCell::default();
    let choose = |schema: &SchemaRef, _: &TimeZone| {
        let own = schema.fields().iter().map(|field| field.name().clone());
        names.replace(own.collect());
        Ok(Selection {
            limit: Some(0),
            ..Selection::default()
        })
    };
    rows_chosen(store, &Filter::default(), false, &choose, control)?;
    Ok(names.into_inner())
}

/// The same, where what is wanted is chosen once the columns and the zone are known; the filter
/// and whether it is summary rows stand before.
pub(crate) fn rows_chosen(
    store: &Store,
    filter: &Filter,
    summaries: bool,
    choose: &dyn Fn(&SchemaRef, &TimeZone) -> Result<Selection>,
    control: &Control,
) -> Result<Rows> {
    // What one scan found damaged, the next one knows.
    let mut scanner = Scanner::new();
    let rows = retrying(store, || {
        open(&mut scanner, store, filter, summaries, choose, control)
    })?;
    if let Some(condition) = &rows.plan.condition {
        words::check(store, condition, control)?;
    }
    Ok(rows)
}

fn open(
    scanner: &mut Scanner,
    store: &Store,
    filter: &Filter,
    summaries: bool,
    choose: &dyn Fn(&SchemaRef, &TimeZone) -> Result<Selection>,
    control: &Control,
) -> Result<Rows> {
    let view = scanner.view(store, Timestamp::now(), Depth::Rows(filter), control)?;
    let union = if summaries {
        summary_columns(&view)?
    } else {
        view.union.clone()
    };
    let stored = union.finish();
    let computed = if summaries {
        Computed::default()
    } else {
        Computed::of(store, &stored)
    };
    let selection = &choose(&computed.with(&stored), &view.files.zone)?;
    let plan = Plan::new(selection, &stored, computed, &view.files.zone)?;
    let mut output = plan.full.project(&plan.output).map_err(refused)?;
    output.metadata.clear();
    let main = view
        .files
        .main
        .as_ref()
        .map(|main| (main.file.clone(), view.main_losers.clone()));
    let everything = *selection
        == Selection {
            columns: selection.columns.clone(),
            ..Selection::default()
        };
    Ok(Rows {
        schema: output.into(),
        union,
        whole: everything && selection.columns.is_none(),
        main,
        expected: expected(&view).filter(|_| everything),
        reading: Reading::Ahead(parts(store, view, &plan)?),
        plan: Arc::new(plan),
        left: selection.limit.unwrap_or(u64::MAX),
        control: control.clone(),
    })
}

/// The number of records, where no file holds anything else.
fn expected(view: &View) -> Option<u64> {
    let main = view.files.main.as_ref();
    let increments = view
        .files
        .increments
        .iter()
        .map(|increment| shape(&increment.schema));
    let mut shapes = main
        .map(|main| shape(main.file.schema()))
        .into_iter()
        .chain(increments);
    let main = main.map_or(0, |main| main.file.rows() - view.main_losers.len() as u64);
    let waiting = view
        .sources
        .iter()
        .map(|source| source.records - source.losers.len() as u64);
    shapes
        .all(|shape| shape == Shape::Records)
        .then(|| main + waiting.sum::<u64>())
}

/// The columns of all files that may hold summary rows.
fn summary_columns(view: &View) -> Result<Union> {
    let mut union = Union::of_summaries();
    let main = view.files.main.iter().map(|main| &main.file);
    for file in main
        .chain(&view.files.summaries)
        .filter(|file| shape(file.schema()) != Shape::Records)
    {
        union.add(&file_name(file), &without_id(file.schema()))?;
    }
    for increment in view
        .files
        .increments
        .iter()
        .filter(|file| shape(&file.schema) != Shape::Records)
    {
        union.add(&increment.name, &without_id(&increment.schema))?;
    }
    Ok(union)
}

/// Rows with an id are records.
fn without_id(schema: &SchemaRef) -> Schema {
    let others = schema
        .fields()
        .iter()
        .filter(|field| field.name() != "test_id");
    Schema::new(others.cloned().collect::<Vec<_>>())
}

fn file_name(file: &ParquetFile) -> String {
    file.path().file_name().map_or_else(
        || MAIN.to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// Where the rows are, oldest first: main, increments, journals.
fn parts(store: &Store, view: View, plan: &Plan) -> Result<VecDeque<Part>> {
    let summaries = plan.summaries;
    let mut parts = VecDeque::new();
    let View {
        files,
        mut sources,
        main_losers,
        summary_losers,
        ..
    } = view;
    if let Some(main) = files.main {
        parts.extend(Part::pieces(
            &plan.read_as(main.file.clone()),
            plan,
            main_losers,
        ));
    }
    if summaries {
        let mut first = 0;
        for file in files.summaries {
            let own = first..first + file.rows();
            let losers = summary_losers
                .iter()
                .filter(|at| own.contains(at))
                .map(|at| at - first);
            parts.push_back(Part::summaries(file, losers.collect()));
            first = own.end;
        }
    }
    let mut losers: HashMap<String, (Vec<u64>, u64)> = sources
        .drain(..)
        .map(|source| (source.name, (source.losers, source.records)))
        .collect();
    let mut held = 0;
    for (at, increment) in files.increments.into_iter().enumerate() {
        let Some((losers, _)) = losers.remove(&increment.name) else {
            continue;
        };
        let hold =
            (increment.legacy || at >= OPEN_AHEAD) && held + increment.stat.bytes <= HELD_BYTES;
        let open = if hold {
            held += increment.stat.bytes;
            Some(increment.open(store)?.into_memory()?)
        } else if at < OPEN_AHEAD {
            Some(increment.open(store)?)
        } else {
            None
        };
        parts.push_back(Part::increment(store, increment, open, losers));
    }
    for journal in files.journals.into_iter().filter(|_| !summaries) {
        if let Some((losers, rows)) = losers.remove(&journal.name) {
            parts.push_back(Part::journal(store, &journal, rows, losers)?);
        }
    }
    Ok(parts)
}

impl Plan {
    fn new(
        selection: &Selection,
        stored: &SchemaRef,
        computed: Computed,
        zone: &TimeZone,
    ) -> Result<Self> {
        let all = &computed.with(stored);
        let wanted: Vec<&str> = match &selection.columns {
            None => stored
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect(),
            Some(columns) => columns.iter().map(String::as_str).collect(),
        };
        if let Some(unknown) = wanted
            .iter()
            .find(|name| all.field_with_name(name).is_err())
        {
            let there_are: Vec<&str> = all
                .fields()
                .iter()
                .map(|field| field.name().as_str())
                .collect();
            let meant = did_you_mean(unknown, there_are.iter().copied());
            let there_are = there_are.join(", ");
            return Err(Error::Refused(format!(
                "no column '{unknown}'{meant}: the columns are {there_are}"
            )));
        }
        let context = Context {
            zone: zone.clone(),
            now: Timestamp::now(),
        };
        let condition = selection.filter.condition.as_ref();
        let condition = condition
            .map(|condition| condition.bind(all, &context))
            .transpose()
            .map_err(|error| Error::Refused(error.to_string()))?;
        let mut read = wanted.clone();
        if let Some(condition) = &condition {
            read.extend(condition.columns());
        }
        if selection.filter != Filter::default() {
            read.extend(DIMENSIONS);
            read.push("timestamp");
        }
        let mut made: Vec<&str> = read.clone();
        made.retain(|name| computed.field(name).is_some());
        made.sort_unstable();
        made.dedup();
        read.extend(made.iter().flat_map(|name| computed.needs(name)));
        let target = project(stored, &read);
        let fields = made.iter().filter_map(|name| computed.field(name));
        let fields = target.fields().iter().cloned().chain(fields.map(Arc::new));
        let full = Schema::new(fields.collect::<Vec<_>>());
        let full = Arc::new(full.with_metadata(target.metadata().clone()));
        let output = wanted
            .iter()
            .map(|name| full.index_of(name).map_err(refused));
        Ok(Self {
            output: output.collect::<Result<_>>()?,
            target,
            full,
            computed,
            filter: selection.filter.clone(),
            zone: zone.clone(),
            summaries: selection.summaries,
            condition,
            keyed: selection.keyed,
        })
    }

    /// The columns to read of a file.
    pub(crate) fn columns(&self, schema: &SchemaRef) -> Vec<&str> {
        let mut names: Vec<&str> = self
            .target
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        if names.contains(&TIMESTAMP_TEXT) {
            names.push("timestamp");
        }
        // What distinguishes records from summary rows, whatever is wanted of them.
        match shape(schema) {
            Shape::Records => names.push("success"),
            _ => names.extend(row_kind::NAMES),
        }
        names
    }

    /// A file as it is read: with dictionaries, where they are wanted.
    pub(super) fn read_as(&self, file: ParquetFile) -> ParquetFile {
        if !self.keyed {
            return file;
        }
        let fields = self.target.fields().iter();
        let texts = fields.filter(|field| *field.data_type() == DataType::Utf8);
        let texts: Vec<&str> = texts.map(|field| field.name().as_str()).collect();
        file.with_dictionaries(&file.keyed(&texts))
    }

    /// The next batch of a part as it is returned.
    pub(crate) fn next(&self, part: &mut Part) -> Result<Option<RecordBatch>> {
        let batch = part.next(self)?;
        batch
            .map(|batch| self.apply(batch, part.beside_main))
            .transpose()
    }

    /// An adapted batch with the columns that are made of it.
    fn completed(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let made = self.full.fields().iter().skip(rows.num_columns());
        if made.len() == 0 {
            return Ok(rows);
        }
        let made = made.map(|field| self.computed.column(field.name(), &rows));
        let columns = rows.columns().iter().cloned().map(Ok).chain(made);
        let fields = rows.schema().fields().iter().cloned().collect::<Vec<_>>();
        let more = self.full.fields().iter().skip(rows.num_columns()).cloned();
        let schema = Schema::new(fields.into_iter().chain(more).collect::<Vec<_>>());
        RecordBatch::try_new(schema.into(), columns.collect::<Result<_>>()?).map_err(refused)
    }

    /// What of a batch is returned; `beside_main` says that all its rows are summary rows.
    fn apply(&self, batch: RecordBatch, beside_main: bool) -> Result<RecordBatch> {
        let rows = if beside_main {
            Some(batch)
        } else {
            let split = row_kind::split(&batch)?;
            if self.summaries {
                split.summaries
            } else {
                split.records
            }
        };
        let Some(rows) = rows else {
            return RecordBatch::new_empty(self.full.clone())
                .project(&self.output)
                .map_err(refused);
        };
        let target = if self.keyed {
            &keyed_alike(&self.target, &rows.schema())
        } else {
            &self.target
        };
        let mut rows = self.completed(adapt(&rows, target, &self.zone)?)?;
        if let Some(condition) = &self.condition {
            let matches = condition
                .matches(&rows)
                .map_err(|error| Error::Refused(error.to_string()))?;
            rows = filter_record_batch(&rows, &matches).map_err(refused)?;
        }
        if self.filter != Filter::default() {
            let columns = Columns::new(&rows)?;
            let matches = (0..rows.num_rows()).map(|row| Some(self.filter.matches(&columns, row)));
            rows = filter_record_batch(&rows, &matches.collect()).map_err(refused)?;
        }
        rows.project(&self.output).map_err(refused)
    }
}

/// The same columns; text that a batch has as a dictionary stays one.
fn keyed_alike(target: &SchemaRef, batch: &SchemaRef) -> SchemaRef {
    let alike = |field: &Arc<Field>| {
        let own = batch.field_with_name(field.name()).map(Field::data_type);
        match own {
            Ok(keyed @ DataType::Dictionary(..)) if *field.data_type() == DataType::Utf8 => {
                Arc::new(field.as_ref().clone().with_data_type(keyed.clone()))
            }
            _ => Arc::clone(field),
        }
    };
    let fields = target.fields().iter().map(alike);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
pub(crate) fn refused(error: arrow::error::ArrowError) -> Error {
    Error::Refused(format!("the rows can't be put together: {error}"))
}
