//! `import` and `export`.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::progress::Shown;
use super::{
    Exit, ExportArgs, ImportArgs, ImportFormat, MaintainArgs, ReportFormat, Usage, dir, loudness,
    maintain,
};
use crate::config::{show_count, show_counted};
use crate::formats::import::{
    self, Aliases, DatabaseOptions, Kind, Leafage, Mapping, Options, Report,
};
use crate::formats::text::sanitise;
use crate::jobs::{ExportFormat, ExportOptions, Request};
use crate::store::operations::{self, Operation};
use crate::store::{Error, Store};

/// `evaltop import`.
pub fn import(args: &ImportArgs) -> Result<Exit> {
    let mapping = Mapping::parse(
        &args.map,
        args.success_from.as_deref(),
        args.partial_from.as_deref(),
    );
    let kind = match args.from {
        ImportFormat::Auto => None,
        ImportFormat::Jsonl => Some(Kind::Jsonl),
        ImportFormat::Csv => Some(Kind::Csv),
        ImportFormat::Parquet => Some(Kind::Parquet),
        ImportFormat::Inspect => Some(Kind::Inspect),
        ImportFormat::LmEval => Some(Kind::LmEval),
        ImportFormat::JsonDatabase => Some(Kind::JsonDatabase),
    };
    let options = Options {
        kind,
        mapping: mapping.map_err(Usage)?,
        models_in_columns: args.models_in_columns.clone(),
        aliases: match &args.aliases {
            None => Aliases::default(),
            Some(path) => Aliases::load(path.as_deref())?,
        },
        database: DatabaseOptions {
            source: args.database.source.clone(),
            expand: args.database.expand,
            halve_doubled: args.database.halve_doubled,
            allow_overlap: args.database.allow_overlap,
        },
        dry_run: args.dry_run,
    };
    let (store, _) = dir::open(args.into.as_deref())?;
    let shown = Shown::new();
    let text = args.format == ReportFormat::Text;
    let aloud = text && !loudness::quiet();
    let (mut files, mut exit) = (Vec::new(), Exit::Ok);
    for path in &args.files {
        match import::import(&store, path, &options, Timestamp::now(), &shown.control) {
            Ok(report) => {
                note(&store, path, &report, args);
                if aloud {
                    say(path, &report, args)?;
                }
                files.push(json(path, &report));
            }
            Err(error) => {
                // Each file stands for itself: the others are imported all the same.
                let own = error
                    .path()
                    .is_some_and(|at| at.starts_with(store.layout.root()));
                if let Some(failed) =
                    Operation::failed("import", &error).filter(|_| own && !args.dry_run)
                {
                    operations::keep(&store, &failed);
                }
                let stop = matches!(error, Error::Cancelled);
                let error = if stop {
                    format!("cancelled: nothing was imported from {}", path.display())
                } else {
                    error.to_string()
                };
                loudness::complain(&error);
                files.push(json!({ "file": path.display().to_string(), "error": error }));
                exit = if stop {
                    Exit::Interrupted
                } else {
                    Exit::Failed
                };
                if stop {
                    break;
                }
            }
        }
    }
    drop(shown);
    if !text {
        let store = store.layout.root().display().to_string();
        let report = json!({
            "schema_version": 1, "store": store, "dry_run": args.dry_run, "files": files,
        });
        writeln!(io::stdout().lock(), "{report}")?;
    }
    Ok(exit)
}

/// Notes in the store what came into it.
fn note(store: &Store, path: &Path, report: &Report, args: &ImportArgs) {
    let (new, noun) = match &report.leaves {
        None => (report.new, "row"),
        Some(_) => (
            report.rows - report.existing.min(report.rows),
            "summary row",
        ),
    };
    if new == 0 || args.dry_run {
        return;
    }
    let name = path
        .file_name()
        .unwrap_or(path.as_os_str())
        .to_string_lossy();
    let summary = format!("imported {} from {name}", show_counted(new, noun));
    let generation = report
        .leaves
        .as_ref()
        .map(|leaves| leaves.generation)
        .filter(|n| *n > 0);
    operations::keep(
        store,
        &Operation {
            generation,
            ..Operation::now("import", summary)
        },
    );
}

/// What became of a file, for people.
fn say(path: &Path, report: &Report, args: &ImportArgs) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let would = if args.dry_run { "would import " } else { "" };
    if let Some(leaves) = &report.leaves {
        return say_leaves(path, report, leaves, would, &mut out);
    }
    writeln!(
        out,
        "{}: {would}{} row{}, {} new, {} already there, {} successful (taken for {})",
        sanitise(&path.display().to_string()),
        show_count(report.rows),
        if report.rows == 1 { "" } else { "s" },
        show_count(report.new),
        show_count(report.existing),
        show_count(report.success),
        report.kind.name(),
    )?;
    let mut columns = format!("  columns: {}", report.columns.join(", "));
    if !report.extra.is_empty() {
        columns = format!("{columns}; kept as they are: {}", report.extra.join(", "));
    }
    writeln!(out, "{}", sanitise(&columns))?;
    say_notes(report, &mut out)
}

/// What became of a JSON database.
fn say_leaves(
    path: &Path,
    report: &Report,
    leaves: &Leafage,
    would: &str,
    out: &mut impl Write,
) -> io::Result<()> {
    let version = leaves
        .version
        .as_ref()
        .map(|version| format!(", version {}", sanitise(version)));
    let version = version.unwrap_or_default();
    let unchanged = report.rows > 0 && report.existing == report.rows;
    let place = match leaves.replaced {
        _ if unchanged => ", already there".to_owned(),
        0 => String::new(),
        replaced => format!(", in place of {}", show_counted(replaced, "row")),
    };
    writeln!(
        out,
        "{}: {would}{} for {}, {} full and {} partial successes{place} (taken for {}{version})",
        path.display(),
        show_counted(report.rows, "summary row"),
        show_counted(leaves.tests.tests, "test"),
        show_count(leaves.tests.full),
        show_count(leaves.tests.partial),
        report.kind.name(),
    )?;
    say_notes(report, out)
}

fn say_notes(report: &Report, out: &mut impl Write) -> io::Result<()> {
    report
        .notes
        .iter()
        .try_for_each(|note| writeln!(out, "  note: {}", sanitise(note)))
}

fn json(path: &Path, report: &Report) -> Value {
    let summaries = report.leaves.as_ref().map(|leaves| {
        json!({
            "version": leaves.version,
            "source": leaves.source,
            "tests": leaves.tests.tests,
            "success": leaves.tests.full,
            "partial": leaves.tests.partial,
            "replaced": leaves.replaced,
            "generation": leaves.generation,
        })
    });
    json!({
        "file": path.display().to_string(),
        "taken_for": report.kind.name(),
        "rows": report.rows,
        "new": report.new,
        "existing": report.existing,
        "success": report.success,
        "columns": report.columns,
        "extra": report.extra,
        "notes": report.notes,
        "increment": report.increment,
        "summaries": summaries,
    })
}

/// `evaltop export`.
pub fn export(args: &ExportArgs) -> Result<Exit> {
    let request = Request::Export(ExportOptions {
        format: export_format(args)?,
        output: args.output.clone(),
        filter: args.filter.filter(Timestamp::now(), &TimeZone::system())?,
        overwrite: args.yes,
    });
    let common = MaintainArgs {
        dir: args.dir.clone(),
        dry_run: args.dry_run,
        format: args.report,
        yes: args.yes,
    };
    maintain::perform("export", &common, &request)
}

fn export_format(args: &ExportArgs) -> Result<ExportFormat, Usage> {
    let known = "json, jsonl, csv or parquet";
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
