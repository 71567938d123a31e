//! `query`: matching rows, or tallies of groups of them, as they are or as a picture.
//! Never changes the store.

use super::filter::FilterArgs;
use clap::{Args, ValueEnum};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::filter::note_unknown_values;
use super::progress::Shown;
use super::{Exit, Usage, dir, embed, left_out, metric, terminal_columns, verbosity};
use crate::config::{did_you_mean, show_count};
use crate::expr::Expr;
use crate::formats::{self, Form, Output, plot};
use crate::store::format::schema::DIMENSIONS;
use crate::store::read::query;
use crate::store::read::query::aggregation::{Aggregate, Aggregation, aggregate};
use crate::store::read::query::{Filter, Selection};
use crate::store::{Control, Result as StoreResult, Store};
use crate::text::locale::locale_is_utf8;
use crate::text::sanitise::sanitise;

mod sort;
mod tallies;

use sort::Order;

/// How `query` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueryFormat {
    /// For people
    Table,
    /// A Markdown table
    Md,
    /// One array of objects
    Json,
    /// One object a line
    Jsonl,
    /// Comma-separated values with a header
    Csv,
    /// One Parquet file
    Parquet,
}

/// `evaltop query`.
#[derive(Debug, Clone, Args)]
pub struct QueryArgs {
    /// The store
    pub dir: Option<PathBuf>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
    /// Tallies by these columns instead of rows; also hour(timestamp), bucket(score, 0.1)
    #[arg(long, value_name = "A,B")]
    pub group_by: Vec<String>,
    /// Of each group these instead of the usual counts: mean(score),sum(cost),p95(turns),pass@5
    #[arg(long, value_name = "LIST", requires = "group_by")]
    pub agg: Option<String>,
    /// Of each group the mean of this column, its clustered standard error and 95 % interval
    #[arg(
        long,
        value_name = "COLUMN",
        requires = "group_by",
        conflicts_with = "agg"
    )]
    pub metric: Option<String>,
    /// Only these columns
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub columns: Vec<String>,
    /// Sort by these columns: turns, or execution_time:desc
    #[arg(long, value_delimiter = ',', value_name = "A,B:desc")]
    pub sort: Vec<String>,
    /// The N largest by --sort; without it, the most successful groups or the newest rows
    #[arg(long, value_name = "N", conflicts_with = "limit")]
    pub top: Option<usize>,
    /// Percentiles of the execution time of each group, to within 9 %: 50,95
    #[arg(long, value_delimiter = ',', value_name = "P,Q", requires = "group_by")]
    pub percentiles: Vec<f64>,
    /// Bars with their 95 % intervals instead of a table; as SVG with -o FILE.svg
    #[arg(long, requires = "group_by", conflicts_with_all = ["format", "columns"])]
    pub plot: bool,
    /// At most this many rows
    #[arg(long)]
    pub limit: Option<usize>,
    /// Summary rows instead of records
    #[arg(long)]
    pub summaries: bool,
    /// How to print [default: by the name of the file, else a table]
    #[arg(long, value_enum)]
    pub format: Option<QueryFormat>,
    /// Write to a file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(short, long)]
    pub yes: bool,
}

/// Cells of a plot that is not drawn on a terminal.
const PLOT_COLUMNS: usize = 100;

/// `evaltop query`.
pub fn run(args: &QueryArgs) -> Result<Exit> {
    check(args)?;
    let grouping = Grouping::of(args)?;
    args.filter.filter(Timestamp::now(), &TimeZone::system())?;
    let form = form(args)?;
    let (store, _) = dir::existing_view(args.dir.as_deref())?;
    // To stdout, Ctrl-C may end the program at once; a file must be cleared away.
    let shown = args.output.as_ref().map(|_| Shown::new());
    let control = shown
        .as_ref()
        .map_or_else(Control::default, |shown| shown.control.clone());
    let filter = args.filter.filter_of(&store, &control)?;
    let output = match args.output.as_deref() {
        Some(path) if path != Path::new("-") => Output::file(path, &store.layout, args.yes)?,
        _ => Output::stdout(),
    };
    let written = if args.plot {
        plot(args, &grouping, &store, &filter, &output, &control)
    } else if args.group_by.is_empty() {
        rows(args, &store, filter.clone(), &output, form, &control)
    } else {
        groups(args, &grouping, &store, &filter, &control).and_then(|groups| {
            let batch = (groups.schema(), std::iter::once(Ok(groups)));
            write(form, batch, &output, &control)
        })
    };
    let mut exit = Exit::Ok;
    let ended = match written {
        Ok(written) => {
            exit = left_out::say(&control, args.filter.strict);
            if written == 0 {
                note_unknown_values(&store, &filter, &control);
            }
            output.commit()
        }
        // Whoever reads the pipe has seen enough.
        Err(_) if output.closed() => Ok(()),
        Err(error) => Err(output.explain(error)),
    };
    match ended {
        Err(crate::store::Error::Io { source, .. })
            if source.kind() == io::ErrorKind::BrokenPipe =>
        {
            Ok(Exit::Ok)
        }
        ended => Ok(ended.map(|()| exit)?),
    }
}

/// The rows or groups as batches, for [`super::embed`].
pub(super) fn batches(
    args: &QueryArgs,
    control: &Control,
) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    check(args)?;
    let grouping = Grouping::of(args)?;
    args.filter.filter(Timestamp::now(), &TimeZone::system())?;
    let (store, _) = dir::existing_view(args.dir.as_deref())?;
    let filter = args.filter.filter_of(&store, control)?;
    if !args.group_by.is_empty() {
        let groups = groups(args, &grouping, &store, &filter, control)?;
        return Ok((groups.schema(), vec![groups]));
    }
    Ok(match selected(args, &store, filter, control)? {
        Selected::Read(rows) => (Arc::clone(rows.schema()), embed::collected(*rows, control)?),
        Selected::Sorted(rows) => (rows.schema(), vec![rows]),
    })
}

/// What can't be meant, whatever the store holds.
fn check(args: &QueryArgs) -> Result<(), Usage> {
    args.output.as_deref().map_or(Ok(()), dir::written)?;
    let sorted = !args.sort.is_empty() || args.top.is_some();
    if sorted && args.group_by.is_empty() && args.limit.or(args.top).is_some_and(|n| n > sort::MOST)
    {
        let most = show_count(sort::MOST as u64);
        return Err(Usage(format!(
            "sorted rows are held in memory: at most {most} of them"
        )));
    }
    if args.percentiles.iter().any(|p| !(*p > 0.0 && *p < 100.0)) {
        return Err(Usage(
            "--percentiles are numbers between 0 and 100, such as 50,95".to_owned(),
        ));
    }
    if args.summaries && !args.group_by.is_empty() {
        return Err(Usage(
            "tallies count summary rows anyway: leave out --summaries".to_owned(),
        ));
    }
    Ok(())
}

fn form(args: &QueryArgs) -> Result<Form, Usage> {
    let extension = args
        .output
        .as_deref()
        .and_then(Path::extension)
        .and_then(|e| e.to_str());
    let by_name = match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("json") => QueryFormat::Json,
        Some("jsonl" | "ndjson") => QueryFormat::Jsonl,
        Some("csv") => QueryFormat::Csv,
        Some("parquet") => QueryFormat::Parquet,
        Some("md") => QueryFormat::Md,
        Some("svg") if args.plot => QueryFormat::Table,
        None | Some("txt" | "text" | "log" | "out") => QueryFormat::Table,
        // Text under such a name would be found out by whoever opens it.
        Some(other) if args.format.is_none() => {
            return Err(Usage(format!(
                "-o FILE.{other}: query writes .json, .jsonl, .csv, .parquet, .md and .txt; choose one of these, \
                 or say with --format what the file is to hold"
            )));
        }
        Some(_) => QueryFormat::Table,
    };
    let terminal = args.output.is_none() && io::stdout().is_terminal();
    Ok(match args.format.unwrap_or(by_name) {
        QueryFormat::Table => Form::Table {
            width: terminal.then(terminal_columns),
        },
        QueryFormat::Md => Form::Markdown,
        QueryFormat::Json => Form::Json,
        QueryFormat::Jsonl => Form::Jsonl,
        QueryFormat::Csv => Form::Csv,
        QueryFormat::Parquet if terminal => {
            return Err(Usage(
                "Parquet is not for terminals: write it to a file with -o FILE".to_owned(),
            ));
        }
        QueryFormat::Parquet => Form::Parquet,
    })
}

/// How the output is sorted, if at all; `usual` where only the largest are asked for.
fn order(args: &QueryArgs, usual: &str) -> Option<Order> {
    match (args.sort.is_empty(), args.top) {
        (true, None) => None,
        (true, Some(_)) => Some(Order::parse(&[usual.to_owned()], true)),
        (false, top) => Some(Order::parse(&args.sort, top.is_some())),
    }
}

/// Rows in the order in which they are read, or sorted and so in memory.
enum Selected {
    Read(Box<query::Rows>),
    Sorted(RecordBatch),
}

fn selected(
    args: &QueryArgs,
    store: &Store,
    filter: Filter,
    control: &Control,
) -> StoreResult<Selected> {
    let order = order(args, "timestamp");
    let limit = args.limit.or(args.top);
    let mut selection = Selection {
        filter,
        columns: (!args.columns.is_empty()).then(|| args.columns.clone()),
        limit: limit.filter(|_| order.is_none()).map(|limit| limit as u64),
        summaries: args.summaries,
        ..Selection::default()
    };
    let Some(order) = order else {
        return Ok(Selected::Read(Box::new(query::rows(
            store, &selection, control,
        )?)));
    };
    // Columns that only the order needs are read and left out again.
    if let Some(columns) = &mut selection.columns {
        for name in order.names() {
            if !columns.iter().any(|column| column == name) {
                columns.push(name.to_owned());
            }
        }
    }
    let rows = query::rows(store, &selection, control)?;
    let schema = Arc::clone(rows.schema());
    let sorted = order.first(&schema, rows, limit)?;
    let wanted = if args.columns.is_empty() {
        schema.fields().len()
    } else {
        args.columns.len()
    };
    let sorted = sorted.project(&(0..wanted).collect::<Vec<_>>());
    Ok(Selected::Sorted(sorted.map_err(refused)?))
}

fn rows(
    args: &QueryArgs,
    store: &Store,
    filter: Filter,
    output: &Output,
    form: Form,
    control: &Control,
) -> StoreResult<u64> {
    match selected(args, store, filter, control)? {
        Selected::Read(rows) => formats::write_rows(form, *rows, output, |_| control.check()),
        Selected::Sorted(rows) => {
            let batches = (rows.schema(), std::iter::once(Ok(rows)));
            write(form, batches, output, control)
        }
    }
}

fn write(
    form: Form,
    (schema, batches): (SchemaRef, impl Iterator<Item = StoreResult<RecordBatch>>),
    output: &Output,
    control: &Control,
) -> StoreResult<u64> {
    let mut writer = formats::writer(form, &schema, output.handle())?;
    let mut rows = 0;
    for batch in batches {
        control.check()?;
        let batch = batch?;
        rows += batch.num_rows() as u64;
        writer.write(&batch)?;
    }
    writer.finish()?;
    Ok(rows)
}

/// How rows are grouped, and what is computed of each group.
struct Grouping {
    by: Vec<Expr>,
    /// The columns' names.
    names: Vec<String>,
    /// None where the usual counts are wanted.
    aggregates: Vec<Aggregate>,
    /// The column by which bars are drawn and groups sorted.
    usual: String,
}

impl Grouping {
    fn of(args: &QueryArgs) -> Result<Self, Usage> {
        let by = if args.group_by.is_empty() {
            Vec::new()
        } else {
            Expr::list(&args.group_by.join(","))
                .map_err(|error| Usage(format!("--group-by: {error}")))?
        };
        let mut aggregates = match &args.agg {
            Some(list) => {
                Aggregate::list(list).map_err(|error| Usage(format!("--agg: {error}")))?
            }
            None => Vec::new(),
        };
        let mut usual = "success_rate".to_owned();
        if let Some(first) = aggregates.first() {
            usual.clone_from(&first.name);
        }
        // The rate of successes has its own interval.
        if let Some(metric) = args.metric.as_deref().filter(|metric| *metric != "success") {
            let metric: Expr = metric
                .parse()
                .map_err(|error| Usage(format!("--metric: {error}")))?;
            let metric = Aggregate::metric(metric);
            usual = format!("mean_{}", metric.name);
            aggregates.push(metric);
        }
        Ok(Self {
            names: by.iter().map(|expr| expr.text().to_owned()).collect(),
            by,
            aggregates,
            usual,
        })
    }

    /// Whether tallies by cell answer it.
    fn is_of_cells(&self) -> bool {
        let dimension = |name: &String| DIMENSIONS.contains(&name.as_str());
        self.aggregates.is_empty() && self.names.iter().all(dimension)
    }
}

/// Tallies as rows, so that every form writes them.
fn groups(
    args: &QueryArgs,
    grouping: &Grouping,
    store: &Store,
    filter: &Filter,
    control: &Control,
) -> StoreResult<RecordBatch> {
    let mut batch = if grouping.is_of_cells() {
        let groups = query::grouped(store, filter, &grouping.names, control)?;
        let batch = tallies::table(&grouping.names, &groups)?;
        if args.percentiles.is_empty() {
            batch
        } else {
            let spreads = query::spreads(store, filter, &grouping.names, control)?;
            tallies::with_percentiles(&batch, &groups, &spreads, &args.percentiles)?
        }
    } else {
        free_groups(args, grouping, store, filter, control)?
    };
    let limit = args.limit.or(args.top).unwrap_or(usize::MAX);
    batch = match order(args, &grouping.usual) {
        Some(order) => order.sort(&batch, Some(limit.min(batch.num_rows())))?,
        None => batch.slice(0, limit.min(batch.num_rows())),
    };
    if args.columns.is_empty() {
        return Ok(batch);
    }
    let schema = batch.schema();
    let at = |name: &String| {
        schema.index_of(name).map_err(|_| {
            let there_are: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            let meant = did_you_mean(name, there_are.iter().copied());
            let there_are = there_are.join(", ");
            crate::store::Error::Refused(format!(
                "no column '{name}'{meant}: grouped tallies have {there_are}"
            ))
        })
    };
    let chosen = args
        .columns
        .iter()
        .map(at)
        .collect::<StoreResult<Vec<_>>>()?;
    batch.project(&chosen).map_err(refused)
}

/// Groups that only rows can say.
fn free_groups(
    args: &QueryArgs,
    grouping: &Grouping,
    store: &Store,
    filter: &Filter,
    control: &Control,
) -> StoreResult<RecordBatch> {
    let mut aggregates = grouping.aggregates.clone();
    if aggregates.is_empty() {
        aggregates.push(Aggregate::tally());
    }
    for percentile in &args.percentiles {
        aggregates.extend(Aggregate::list(&format!("p{percentile}(execution_time)"))?);
    }
    let aggregation = Aggregation {
        filter: filter.clone(),
        by: grouping.by.clone(),
        aggregates,
    };
    let found = aggregate(store, &aggregation, control)?;
    let summaries = Selection {
        summaries: true,
        limit: Some(1),
        ..Selection::default()
    };
    let mut notes = found.notes;
    let arguments = grouping
        .aggregates
        .iter()
        .filter_map(|own| own.argument.as_ref());
    let names: Vec<&str> = arguments.flat_map(Expr::names).collect();
    if names.contains(&"cost") && !names.contains(&query::DERIVED_COST) {
        let (_, derived) = metric::costs(store, filter, control)?;
        notes.extend(metric::beyond(derived));
    }
    if query::rows(store, &summaries, control)?.next().is_some() {
        notes.push("summary rows are left out: only their own columns are known".to_owned());
    }
    for note in notes.iter().filter(|_| !verbosity::quiet()) {
        // A closed stderr loses nothing but the note.
        let _ = writeln!(io::stderr(), "evaltop: {}", sanitise(note));
    }
    Ok(found.batch)
}

/// The groups as bars: SVG where the file's name says so, else text.
fn plot(
    args: &QueryArgs,
    grouping: &Grouping,
    store: &Store,
    filter: &Filter,
    output: &Output,
    control: &Control,
) -> StoreResult<u64> {
    let groups = groups(args, grouping, store, filter, control)?;
    let bars = tallies::bars(&groups, &grouping.names, &grouping.usual)?;
    let extension = args
        .output
        .as_deref()
        .and_then(Path::extension)
        .and_then(|e| e.to_str());
    let drawn = if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
        let title = format!(
            "{} by {}, 95 % intervals",
            grouping.usual,
            grouping.names.join(", ")
        );
        let below = below(store, bars.iter().map(|bar| bar.tests).sum());
        plot::svg::render(&bars, &title, &below)
    } else {
        let terminal = args.output.is_none() && io::stdout().is_terminal();
        let columns = if terminal {
            terminal_columns()
        } else {
            PLOT_COLUMNS
        };
        let ascii = terminal && !locale_is_utf8(|name| std::env::var(name).ok());
        plot::text::render(&bars, columns, ascii)
    };
    let written = output.handle().write_all(drawn.as_bytes());
    let place = args.output.as_deref().unwrap_or(Path::new("stdout"));
    written.map_err(crate::store::Error::io("write", place))?;
    Ok(groups.num_rows() as u64)
}

/// Of which store a picture is, when it was drawn, and of how many tests.
pub(super) fn below(store: &Store, tests: u64) -> String {
    let root = store.layout.name();
    let name = root.file_name().unwrap_or(root.as_os_str());
    let at = Timestamp::now().to_zoned(TimeZone::system());
    format!(
        "{}, {}, n = {}",
        name.to_string_lossy(),
        at.strftime("%Y-%m-%d %H:%M %Z"),
        show_count(tests)
    )
}

fn refused(error: impl std::fmt::Display) -> crate::store::Error {
    crate::store::Error::Refused(format!("cannot arrange the rows: {error}"))
}
