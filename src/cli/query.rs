//! `query`: matching rows, or tallies of groups of them, as they are or as a picture.
//! Never changes the store.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::filter::note_unknown_models;
use super::progress::Shown;
use super::{Exit, QueryArgs, QueryFormat, Usage, dir, terminal_columns};
use crate::config::{did_you_mean, show_count};
use crate::formats::{self, Form, Output, plot};
use crate::store::query::{self, Filter, Selection};
use crate::store::schema::DIMENSIONS;
use crate::store::{Control, Result as StoreResult, Store};
use crate::tui::locale_is_utf8;

mod sort;
mod tallies;

use sort::Order;

/// Cells of a plot that is not drawn on a terminal.
const PLOT_COLUMNS: usize = 100;

/// `evaltop query`.
pub fn run(args: &QueryArgs) -> Result<Exit> {
    check(args)?;
    let filter = args.filter.filter(Timestamp::now(), &TimeZone::system())?;
    let form = form(args)?;
    let (store, _) = dir::existing(args.dir.as_deref())?;
    // To stdout, Ctrl-C may end the program at once; a file must be cleared away.
    let shown = args.output.as_ref().map(|_| Shown::new());
    let control = shown
        .as_ref()
        .map_or_else(Control::default, |shown| shown.control.clone());
    let output = match args.output.as_deref() {
        Some(path) if path != Path::new("-") => Output::file(path, &store.layout, args.yes)?,
        _ => Output::stdout(),
    };
    let written = if args.plot {
        plot(args, &store, &filter, &output, &control)
    } else if args.group_by.is_empty() {
        rows(args, &store, filter.clone(), &output, form, &control)
    } else {
        groups(args, &store, &filter, &control).and_then(|groups| {
            let batch = (groups.schema(), std::iter::once(Ok(groups)));
            write(form, batch, &output, &control)
        })
    };
    let ended = match written {
        Ok(written) => {
            if written == 0 {
                note_unknown_models(&store, &filter, &control);
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
        ended => Ok(ended.map(|()| Exit::Ok)?),
    }
}

/// What can't be meant, whatever the store holds.
fn check(args: &QueryArgs) -> Result<(), Usage> {
    if let Some(unknown) = args
        .group_by
        .iter()
        .find(|name| !DIMENSIONS.contains(&name.as_str()))
    {
        let (meant, there_are) = (did_you_mean(unknown, DIMENSIONS), DIMENSIONS.join(", "));
        return Err(Usage(format!(
            "cannot group by '{unknown}'{meant}: the columns to group by are {there_are}"
        )));
    }
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
        _ => QueryFormat::Table,
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

fn rows(
    args: &QueryArgs,
    store: &Store,
    filter: Filter,
    output: &Output,
    form: Form,
    control: &Control,
) -> StoreResult<u64> {
    let order = order(args, "timestamp");
    let limit = args.limit.or(args.top);
    let mut selection = Selection {
        filter,
        columns: (!args.columns.is_empty()).then(|| args.columns.clone()),
        limit: limit.filter(|_| order.is_none()).map(|limit| limit as u64),
        summaries: args.summaries,
    };
    let Some(order) = order else {
        let rows = query::rows(store, &selection, control)?;
        return formats::write_rows(form, rows, output, |_| control.check());
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
    let sorted = sorted
        .project(&(0..wanted).collect::<Vec<_>>())
        .map_err(refused)?;
    write(
        form,
        (sorted.schema(), std::iter::once(Ok(sorted))),
        output,
        control,
    )
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

/// Tallies as rows, so that every form writes them.
fn groups(
    args: &QueryArgs,
    store: &Store,
    filter: &Filter,
    control: &Control,
) -> StoreResult<RecordBatch> {
    let groups = query::grouped(store, filter, &args.group_by, control)?;
    let mut batch = tallies::table(&args.group_by, &groups)?;
    if !args.percentiles.is_empty() {
        let spreads = query::spreads(store, filter, &args.group_by, control)?;
        batch = tallies::with_percentiles(&batch, &groups, &spreads, &args.percentiles)?;
    }
    let limit = args.limit.or(args.top).unwrap_or(usize::MAX);
    batch = match order(args, "success_rate") {
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

/// The groups as bars: SVG where the file's name says so, else text.
fn plot(
    args: &QueryArgs,
    store: &Store,
    filter: &Filter,
    output: &Output,
    control: &Control,
) -> StoreResult<u64> {
    let groups = groups(args, store, filter, control)?;
    let bars = tallies::bars(&groups, &args.group_by);
    let extension = args
        .output
        .as_deref()
        .and_then(Path::extension)
        .and_then(|e| e.to_str());
    let drawn = if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
        plot::svg::render(&bars)
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

fn refused(error: impl std::fmt::Display) -> crate::store::Error {
    crate::store::Error::Refused(format!("cannot arrange the rows: {error}"))
}
