//! `query`: matching rows, or tallies of groups of them. Never changes the store.

use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::progress::Shown;
use super::{Exit, QueryArgs, QueryFormat, Usage, dir};
use crate::formats::{self, Form, Output};
use crate::stats::{Tally, interval};
use crate::store::query::{self, Filter, Group, GroupValue, Selection};
use crate::store::schema::DIMENSIONS;
use crate::store::{Control, Result as StoreResult, Store};

/// `evaltop query`.
pub fn run(args: &QueryArgs) -> Result<Exit> {
    check(args)?;
    let filter = args.filter.filter(Timestamp::now(), &TimeZone::system())?;
    let form = form(args)?;
    let (store, _) = dir::existing(args.dir.as_deref())?;
    // To stdout, Ctrl-C may end the program at once; a file must be cleared away.
    let shown = args.output.as_ref().map(|_| Shown::new());
    let control = shown.as_ref().map_or_else(Control::default, |shown| shown.control.clone());
    let output = match args.output.as_deref() {
        Some(path) if path != Path::new("-") => Output::file(path, &store.layout, args.yes)?,
        _ => Output::stdout(),
    };
    let written = if args.group_by.is_empty() {
        rows(args, &store, filter, &control).and_then(|rows| write(form, rows, &output, &control))
    } else {
        groups(args, &store, &filter, &control).and_then(|groups| {
            let batch = (groups.schema(), std::iter::once(Ok(groups)));
            write(form, batch, &output, &control)
        })
    };
    let ended = match written {
        Ok(()) => output.commit(),
        // Whoever reads the pipe has seen enough.
        Err(_) if output.closed() => Ok(()),
        Err(error) => Err(output.explain(error)),
    };
    match ended {
        Err(crate::store::Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
            Ok(Exit::Ok)
        }
        ended => Ok(ended.map(|()| Exit::Ok)?),
    }
}

/// What can't be meant, whatever the store holds.
fn check(args: &QueryArgs) -> Result<(), Usage> {
    if let Some(unknown) = args.group_by.iter().find(|name| !DIMENSIONS.contains(&name.as_str())) {
        let there_are = DIMENSIONS.join(", ");
        return Err(Usage(format!("cannot group by '{unknown}': the columns to group by are {there_are}")));
    }
    if args.summaries && !args.group_by.is_empty() {
        return Err(Usage("tallies count summary rows anyway: leave out --summaries".to_owned()));
    }
    Ok(())
}

fn form(args: &QueryArgs) -> Result<Form, Usage> {
    let extension = args.output.as_deref().and_then(Path::extension).and_then(|e| e.to_str());
    let by_name = match extension.map(str::to_ascii_lowercase).as_deref() {
        Some("json") => QueryFormat::Json,
        Some("jsonl" | "ndjson") => QueryFormat::Jsonl,
        Some("csv") => QueryFormat::Csv,
        Some("parquet") => QueryFormat::Parquet,
        _ => QueryFormat::Table,
    };
    let terminal = args.output.is_none() && io::stdout().is_terminal();
    Ok(match args.format.unwrap_or(by_name) {
        QueryFormat::Table => {
            let width = || crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
            Form::Table { width: terminal.then(width) }
        }
        QueryFormat::Json => Form::Json,
        QueryFormat::Jsonl => Form::Jsonl,
        QueryFormat::Csv => Form::Csv,
        QueryFormat::Parquet if terminal => {
            return Err(Usage("Parquet is not for terminals: write it to a file with -o FILE".to_owned()));
        }
        QueryFormat::Parquet => Form::Parquet,
    })
}

fn rows(
    args: &QueryArgs,
    store: &Store,
    filter: Filter,
    control: &Control,
) -> StoreResult<(SchemaRef, query::Rows)> {
    let selection = Selection {
        filter,
        columns: (!args.columns.is_empty()).then(|| args.columns.clone()),
        limit: args.limit.map(|limit| limit as u64),
        summaries: args.summaries,
    };
    let rows = query::rows(store, &selection, control)?;
    Ok((Arc::clone(rows.schema()), rows))
}

fn write(
    form: Form,
    (schema, batches): (SchemaRef, impl Iterator<Item = StoreResult<RecordBatch>>),
    output: &Output,
    control: &Control,
) -> StoreResult<()> {
    let mut writer = formats::writer(form, &schema, output.handle())?;
    for batch in batches {
        control.check()?;
        writer.write(&batch?)?;
    }
    writer.finish()
}

/// Tallies as rows, so that every form writes them.
fn groups(args: &QueryArgs, store: &Store, filter: &Filter, control: &Control) -> StoreResult<RecordBatch> {
    let mut groups = query::grouped(store, filter, &args.group_by, control)?;
    groups.truncate(args.limit.unwrap_or(usize::MAX));
    let batch = table(&args.group_by, &groups)?;
    if args.columns.is_empty() {
        return Ok(batch);
    }
    let schema = batch.schema();
    let at = |name: &String| {
        schema.index_of(name).map_err(|_| {
            let there_are: Vec<_> = schema.fields().iter().map(|f| f.name().as_str()).collect();
            let there_are = there_are.join(", ");
            crate::store::Error::Refused(format!("no column '{name}': grouped tallies have {there_are}"))
        })
    };
    let chosen = args.columns.iter().map(at).collect::<StoreResult<Vec<_>>>()?;
    batch.project(&chosen).map_err(refused)
}

fn table(by: &[String], groups: &[Group]) -> StoreResult<RecordBatch> {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (at, name) in by.iter().enumerate() {
        let values = groups.iter().map(|group| group.values.get(at));
        let column: ArrayRef = if name == "tool_success_rate" {
            let rate = |value: Option<&GroupValue>| match value {
                Some(GroupValue::Rate(rate)) => *rate,
                _ => None,
            };
            Arc::new(values.map(rate).collect::<Float64Array>())
        } else {
            let text = |value: Option<&GroupValue>| match value {
                Some(GroupValue::Text(text)) => Some(text.clone()),
                _ => None,
            };
            Arc::new(values.map(text).collect::<StringArray>())
        };
        columns.push((name, column));
    }
    let count = |of: fn(&Tally) -> u64| -> ArrayRef {
        Arc::new(groups.iter().map(|group| Some(of(&group.tally) as i64)).collect::<Int64Array>())
    };
    let figure = |of: fn(&Tally) -> Option<f64>| -> ArrayRef {
        Arc::new(groups.iter().map(|group| of(&group.tally)).collect::<Float64Array>())
    };
    columns.extend([
        ("tests", count(|t| t.tests)),
        ("success", count(|t| t.full)),
        ("partial", count(|t| t.partial)),
        ("failed", count(Tally::failed)),
        ("success_rate", figure(Tally::success_rate)),
        ("ci_low", figure(|t| interval::wilson(t.full, t.tests).map(|i| i.low))),
        ("ci_high", figure(|t| interval::wilson(t.full, t.tests).map(|i| i.high))),
        ("mean_execution_time", figure(|t| t.execution_time.mean())),
        ("mean_turns", figure(|t| t.turns.mean())),
        ("mean_tool_calls", figure(|t| t.tool_calls.mean())),
        ("mean_tool_coverage_rate", figure(|t| t.tool_coverage_rate.mean())),
    ]);
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true)))
        .map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> crate::store::Error {
    crate::store::Error::Refused(format!("cannot arrange the tallies: {error}"))
}
