//! `evaltop export`.

use super::filter::FilterArgs;
use clap::Args;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::progress::Shown;
use super::{Exit, MaintainArgs, ReportFormat, Usage, dir, jobs, left_out, out, verbosity};
use crate::config::show_counted;
use crate::formats::{delta, eee};
use crate::jobs::{ExportFormat, ExportOptions, Request};
use crate::store::Control;
use crate::text::sanitise::sanitise;

/// `evaltop export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
    /// The store
    pub dir: Option<PathBuf>,
    /// The form: json, jsonl, csv, parquet, or delta or eee (Every Eval Ever), which are folders
    /// [default: by the name of the file]
    #[arg(long)]
    pub format: Option<String>,
    /// The file to write, or the folder
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Say what would be written and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    pub report: ReportFormat,
    /// Replace an existing file without asking
    #[arg(short, long)]
    pub yes: bool,
}

/// `evaltop export`.
pub fn run(args: &ExportArgs) -> Result<Exit> {
    if is_delta(args) {
        let shown = Shown::new();
        let (text, value) = export_table(args, &shown.control)?;
        let exit = left_out::say(&shown.control, args.filter.strict);
        if args.report == ReportFormat::Json {
            writeln!(out::stdout(), "{value}")?;
        } else if !verbosity::quiet() {
            writeln!(out::stdout(), "{text}")?;
        }
        return Ok(exit);
    }
    if is_eee(args) {
        return export_eee(args);
    }
    let (request, common) = export_request(args)?;
    jobs::perform("export", &common, &request)
}

/// Whether the form of Every Eval Ever is meant.
fn is_eee(args: &ExportArgs) -> bool {
    let named = args.format.as_deref();
    named.is_some_and(|name| name.eq_ignore_ascii_case("eee"))
}

/// Writes a folder in the form of Every Eval Ever.
fn export_eee(args: &ExportArgs) -> Result<Exit> {
    dir::written(&args.output)?;
    if args.dry_run {
        return Err(Usage("--format eee has no --dry-run: it makes a new folder".into()).into());
    }
    let shown = Shown::new();
    let (store, _) = dir::existing(args.dir.as_deref())?;
    let filter = args.filter.filter_of(&store, &shown.control)?;
    let done = eee::export(
        &store,
        &filter,
        &args.output,
        Timestamp::now(),
        &shown.control,
    )?;
    let exit = left_out::say(&shown.control, args.filter.strict);
    let left_out = shown.control.left_out();
    drop(shown);
    if args.report == ReportFormat::Json {
        let value = json!({
            "schema_version": 1, "format": "eee", "output": args.output, "models": done.models,
            "tests": done.tests, "unscored": done.unscored, "left_out": left_out,
        });
        writeln!(out::stdout(), "{value}")?;
    } else if !verbosity::quiet() {
        let unscored = match done.unscored {
            0 => String::new(),
            n => format!("; {} without a verdict left out", show_counted(n, "test")),
        };
        let line = format!(
            "exported {} of {} to {}{unscored}",
            show_counted(done.tests, "test"),
            show_counted(done.models as u64, "model"),
            args.output.display()
        );
        writeln!(out::stdout(), "{}", sanitise(&line))?;
    }
    Ok(exit)
}

/// Whether a Delta table is meant.
pub(super) fn is_delta(args: &ExportArgs) -> bool {
    match &args.format {
        Some(name) => name.eq_ignore_ascii_case("delta"),
        None => delta::is_table(&args.output),
    }
}

/// Brings a Delta table up to date; what there is to say, for people and for scripts.
pub(super) fn export_table(args: &ExportArgs, control: &Control) -> Result<(String, Value)> {
    if args.dry_run {
        return Err(
            Usage("a Delta table has no --dry-run: nothing of it is replaced".into()).into(),
        );
    }
    let url = dir::url(&args.output)?;
    let (store, _) = dir::existing_view(args.dir.as_deref())?;
    let filter = args.filter.filter_of(&store, control)?;
    let place = dir::table(&store, &args.output, url.as_ref())?;
    let done = delta::export(&store, &filter, &*place, Timestamp::now(), control)?;
    let path = place.name();
    let mut text = format!(
        "table {path}, version {}: {} in {}; {} written, {} added, {} removed",
        done.version,
        show_counted(done.rows, "row"),
        show_counted(done.parts as u64, "part"),
        show_counted(done.written, "row"),
        show_counted(done.added as u64, "part"),
        show_counted(done.removed as u64, "file"),
    );
    for note in &done.notes {
        text = format!("{text}\n  {}", sanitise(note));
    }
    let value = json!({
        "schema_version": 1, "format": "delta", "output": path, "version": done.version,
        "rows": done.rows, "parts": done.parts, "written": done.written, "added": done.added,
        "removed": done.removed, "notes": done.notes, "left_out": control.left_out(),
    });
    Ok((text, value))
}

pub(super) fn export_request(args: &ExportArgs) -> Result<(Request, MaintainArgs)> {
    dir::written(&args.output)?;
    let filter = if args.filter.session.is_empty() {
        args.filter.filter(Timestamp::now(), &TimeZone::system())?
    } else {
        let (store, _) = dir::existing_view(args.dir.as_deref())?;
        args.filter.filter_of(&store, &Control::default())?
    };
    let request = Request::Export(ExportOptions {
        format: export_format(args)?,
        output: args.output.clone(),
        filter,
        overwrite: args.yes,
        strict: args.filter.strict,
    });
    let common = MaintainArgs {
        dir: args.dir.clone(),
        dry_run: args.dry_run,
        format: args.report,
        yes: args.yes,
    };
    Ok((request, common))
}

fn export_format(args: &ExportArgs) -> Result<ExportFormat, Usage> {
    let known = "json, jsonl, csv, parquet, delta or eee";
    let named = args.format.as_deref().map(|name| {
        let format = name.to_ascii_lowercase().parse();
        format.map_err(|_| Usage(format!("--format '{name}' is not {known}")))
    });
    let by_name = || {
        let extension = args
            .output
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        extension.to_ascii_lowercase().parse().map_err(|_| {
            Usage(format!(
                "the name {} does not say the form: give --format {known}",
                args.output.display()
            ))
        })
    };
    named.unwrap_or_else(by_name)
}
