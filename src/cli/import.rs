//! `evaltop import`.

use clap::{Args, ValueEnum};
use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::progress::Shown;
use super::{Exit, ReportFormat, Usage, dir, left_out, out, verbosity};
use crate::config::{show_count, show_counted};
use crate::sources;
use crate::sources::follow::Follower;
use crate::sources::input::Input;
use crate::sources::{
    Aliases, DatabaseOptions, Done, Kind, Leafage, Mapping, Options, Report, Run, Spec, input,
};
use crate::store::maintain::operations;
use crate::store::maintain::operations::Operation;
use crate::store::{Control, Error, Store};
use crate::text::sanitise::sanitise;

/// What a file to import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ImportFormat {
    /// Tell by content
    Auto,
    /// JSON lines
    Jsonl,
    /// CSV with a header
    Csv,
    /// Parquet
    Parquet,
    /// A log of the Inspect framework (.eval or JSON)
    Inspect,
    /// Samples of lm-evaluation-harness (samples_*.jsonl, with the results file next to them)
    LmEval,
    /// The JSON database of older tools, versions 1 to 3
    JsonDatabase,
    /// One JSON document with rows in it
    Json,
    /// A report of SWE-bench
    SweBench,
}

/// What `import` does with a JSON database.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// Of a JSON database: what its rows are kept under and replaced by [default: its path]; with --expand, what
    /// the ids begin with
    #[arg(long, value_name = "NAME")]
    pub source: Option<String>,
    /// Of a JSON database: make a record of each test that its counts stand for
    #[arg(long)]
    pub expand: bool,
    /// Of a JSON database: halve totals that are twice full and errors
    #[arg(long)]
    pub halve_doubled: bool,
    /// Of a JSON database: take in cells that have records or come from elsewhere already
    #[arg(long)]
    pub allow_overlap: bool,
}

/// `evaltop import`.
#[derive(Debug, Clone, Args)]
// Flags are independent of each other.
#[allow(clippy::struct_excessive_bools)]
pub struct ImportArgs {
    /// Files, folders, patterns, or - for standard input; .gz, .zst and .zip are unpacked
    #[arg(required = true, value_name = "PATH")]
    pub files: Vec<PathBuf>,
    /// The store; made when it is not there
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// Make ./pilot_bench_parquet_data where no store is named and it is not there
    #[arg(long)]
    pub create: bool,
    /// What the files are
    #[arg(long, value_enum, default_value = "auto")]
    pub from: ImportFormat,
    /// Take a column from another one: model=model_name (may be repeated)
    #[arg(long, value_name = "COLUMN=SOURCE")]
    pub map: Vec<String>,
    /// Where the rows are in a JSON document: results.results, or . for the whole
    #[arg(long, value_name = "NAME")]
    pub rows: Option<String>,
    /// Read the files by a mapping file
    #[arg(long, value_name = "FILE", conflicts_with = "rows")]
    pub mapping: Option<PathBuf>,
    /// The column that is the score
    #[arg(long, value_name = "COLUMN")]
    pub score_from: Option<String>,
    /// Give every row a value: session_id=2026-01-31 (may be repeated)
    #[arg(long, value_name = "COLUMN=VALUE")]
    pub set: Vec<String>,
    /// When a row is a full success: a boolean column, 'score>=1', 'verdict==pass', 'answer==target'
    #[arg(long, value_name = "TEST")]
    pub success_from: Option<String>,
    /// When a row is a partial success: a boolean column, or 'score>0'
    #[arg(long, value_name = "TEST")]
    pub partial_from: Option<String>,
    /// Columns that are models, each holding its result: gpt-4,llama-3. Each row becomes one per model;
    /// what the column held is 'value' for --success-from, and says itself without
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    pub models_in_columns: Vec<String>,
    /// Count variants of a model's name as one model, by the rules that come along or those of a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub aliases: Option<Option<PathBuf>>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub database: DatabaseArgs,
    /// Go on taking in what is added to the files and folders, until Ctrl-C
    #[arg(long, conflicts_with = "dry_run")]
    pub follow: bool,
    /// Leave out rows that can't be taken in, and keep them in incremental/rejected_*.jsonl
    #[arg(long)]
    pub skip_bad: bool,
    /// Exit with 10 when a row or file does not count
    #[arg(long)]
    pub strict: bool,
    /// Say what would be read and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
}

/// `evaltop import`.
pub fn run(args: &ImportArgs) -> Result<Exit> {
    let score = args.score_from.iter().map(|score| format!("score={score}"));
    let maps: Vec<String> = args.map.iter().cloned().chain(score).collect();
    let mapping = Mapping::parse(
        &maps,
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
        ImportFormat::Json => Some(Kind::Document),
        ImportFormat::SweBench => Some(Kind::SweBench),
    };
    let kind = match &args.mapping {
        // Settings of the whole command live as long as it does.
        Some(path) => Some(Kind::Mapped(Box::leak(Box::new(Spec::load(path)?)))),
        None => kind,
    };
    let mut mapping = mapping
        .and_then(|mapping| mapping.with_set(&args.set))
        .map_err(Usage)?;
    mapping.rows.clone_from(&args.rows);
    let options = Options {
        kind,
        mapping,
        name: None,
        source: args.database.source.clone(),
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
        skip_bad: args.skip_bad,
        dry_run: args.dry_run,
    };
    args.files.iter().try_for_each(|file| dir::local(file))?;
    let (store, _) = if args.dry_run {
        dir::open(args.into.as_deref())?
    } else {
        dir::made(args.into.as_deref(), args.create)?
    };
    let shown = Shown::new();
    if args.follow {
        return follow(&store, args, options, &shown.control);
    }
    let text = args.format == ReportFormat::Text;
    let aloud = text && !verbosity::quiet();
    let (mut files, mut missed, mut exit) = (Vec::new(), Vec::new(), Exit::Ok);
    let (inputs, lost) = inputs(&args.files);
    for (path, error) in lost {
        verbosity::complain(&error);
        files.push(json!({ "file": path.display().to_string(), "error": error }));
        missed.push(format!("{}: {error}", path.display()));
        exit = Exit::Failed;
    }
    if let (true, Some(first)) = (aloud, inputs.others.first()) {
        let others = show_counted(inputs.others.len() as u64, "other file");
        let first = sanitise(&first.display().to_string()).into_owned();
        writeln!(
            io::stdout().lock(),
            "{others} passed over: no results ({first} …)"
        )?;
    }
    for path in inputs.stores.iter().filter(|_| aloud) {
        let line = format!(
            "{} passed over: it is a store (evaltop merge takes it in)",
            path.display()
        );
        writeln!(io::stdout().lock(), "{}", sanitise(&line))?;
    }
    let mut run = Run::new(&store, &shown.control);
    let mut reported = |done: Vec<Done>| -> Result<bool> {
        let new = done.iter().filter_map(|(at, report)| {
            let name = &inputs.files.get(*at)?.name;
            Some((name.as_path(), report.as_ref().ok()?))
        });
        note(&store, new, args);
        for (at, report) in done {
            let Some(input) = inputs.files.get(at) else {
                continue;
            };
            match report {
                Ok(report) => {
                    if aloud {
                        say(&input.name, &report, args)?;
                    }
                    let own = missing(&input.name, &report);
                    left_out::sentences(&own);
                    missed.extend(own);
                    files.push(json(&input.name, &report));
                }
                Err(error) => {
                    exit = complain(&store, input, &error, args);
                    let error = sentence(input, &error);
                    if aloud && (error.contains("does not say") || error.contains("has no column"))
                    {
                        preview(&input.path, &input.name, &input.options(&options), args)?;
                    }
                    let file = input.name.display().to_string();
                    missed.push(format!("{file}: {error}"));
                    files.push(json!({ "file": file, "error": error }));
                    if exit == Exit::Interrupted {
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    };
    let mut goes_on = true;
    let total = inputs.files.len() as u64;
    for (at, input) in inputs.files.iter().enumerate() {
        shown.control.progress("importing", at as u64, total);
        let done = run.add(at, &input.path, &input.options(&options), Timestamp::now());
        goes_on = reported(done)?;
        if !goes_on {
            break;
        }
    }
    if goes_on {
        reported(run.finish())?;
    }
    drop(shown);
    if !text {
        let store = store.layout.root().display().to_string();
        let report = json!({
            "schema_version": 1, "store": store, "dry_run": args.dry_run, "files": files,
            "left_out": missed,
        });
        writeln!(out::stdout(), "{report}")?;
    }
    Ok(match exit {
        Exit::Ok if args.strict && !missed.is_empty() => Exit::Warning,
        other => other,
    })
}

/// What of a file does not count, a sentence each.
fn missing(path: &Path, report: &Report) -> Vec<String> {
    let sentence = |why: &String| format!("{}: {why}", path.display());
    report.left_out.iter().map(sentence).collect()
}

/// Says of a file that was not imported. Each stands for itself: the others are imported all
/// the same.
fn complain(store: &Store, input: &Input, error: &Error, args: &ImportArgs) -> Exit {
    let own = error
        .path()
        .is_some_and(|at| at.starts_with(store.layout.root()));
    if let Some(failed) = Operation::failed("import", error).filter(|_| own && !args.dry_run) {
        operations::keep(store, &failed);
    }
    verbosity::complain(&sentence(input, error));
    match error {
        Error::Cancelled => Exit::Interrupted,
        _ => Exit::Failed,
    }
}

/// What is wrong with a file, by the name that people know it by.
fn sentence(input: &Input, error: &Error) -> String {
    let name = input.name.display().to_string();
    if matches!(error, Error::Cancelled) {
        return format!("cancelled: nothing was imported from {name}");
    }
    let own = input.path.display().to_string();
    error.to_string().replace(&own, &name)
}

/// `import --follow`: takes in what changes until it is interrupted.
fn follow(store: &Store, args: &ImportArgs, options: Options, control: &Control) -> Result<Exit> {
    let mut follower = Follower::new(store.clone(), args.files.clone(), options, None);
    let mut reported: HashMap<PathBuf, String> = HashMap::new();
    loop {
        let taken = match follower.round(control) {
            Err(Error::Cancelled) => return Ok(Exit::Ok),
            taken => taken?,
        };
        let new = taken.iter().filter_map(|(path, report)| {
            let report = report.as_ref().ok()?;
            Some((path.as_path(), report))
        });
        note(store, new, args);
        for (path, report) in taken {
            match report {
                Ok(report) => {
                    reported.remove(&path);
                    if report.new + report.replaced > 0 && !verbosity::quiet() {
                        say(&path, &report, args)?;
                        left_out::sentences(&missing(&path, &report));
                    }
                }
                // The same again, for as long as the file stays so.
                Err(error) => {
                    let error = error.to_string();
                    if reported.insert(path, error.clone()).as_ref() != Some(&error) {
                        verbosity::complain(&error);
                    }
                }
            }
        }
        for _ in 0..10 {
            if control.check().is_err() {
                return Ok(Exit::Ok);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// What the paths name; those that name nothing, with what is wrong.
fn inputs(paths: &[PathBuf]) -> (input::Inputs, Vec<(PathBuf, String)>) {
    let (mut all, mut lost) = (input::Inputs::default(), Vec::new());
    for path in paths {
        match input::find(std::slice::from_ref(path)) {
            Ok(found) => {
                all.files.extend(found.files);
                all.others.extend(found.others);
                all.stores.extend(found.stores);
            }
            Err(error) => lost.push((path.clone(), error.to_string())),
        }
    }
    (all, lost)
}

/// The columns of a file that did not say enough, with a value each, and what might say it.
fn preview(path: &Path, name: &Path, options: &Options, args: &ImportArgs) -> io::Result<()> {
    const SHOWN: usize = 30;
    let Ok(columns) = sources::preview(path, options) else {
        return Ok(());
    };
    let mut out = io::stdout().lock();
    for (column, value) in columns.iter().take(SHOWN) {
        let line = format!("  {column} = {value}");
        writeln!(out, "{}", sanitise(&line))?;
    }
    if columns.len() > SHOWN {
        writeln!(
            out,
            "  … {} more",
            show_count((columns.len() - SHOWN) as u64)
        )?;
    }
    let has = |wanted: &[&str]| {
        wanted.iter().find_map(|wanted| {
            let find = |(name, _): &&(String, String)| name.to_lowercase().contains(wanted);
            columns.iter().find(find).map(|(name, _)| name.as_str())
        })
    };
    let model = match has(&["model", "provider", "generator", "llm", "agent"]) {
        Some("model") => String::new(),
        Some(column) => format!(" --map model={column}"),
        None => " --set model=NAME".to_owned(),
    };
    let truth = ["passed", "correct", "resolved", "success", "valid"];
    let success = match (has(&truth), has(&["score", "reward", "acc", "metric"])) {
        (Some("success"), _) => String::new(),
        (Some(column), _) => format!(" --success-from {column}"),
        (None, Some(column)) => format!(" --success-from '{column}>=1'"),
        (None, None) => " --success-from 'COLUMN>=1'".to_owned(),
    };
    let into = args
        .into
        .as_ref()
        .map(|into| format!(" --into {}", into.display()));
    let line = format!(
        "  try: evaltop import {}{}{model}{success}",
        name.display(),
        into.unwrap_or_default()
    );
    writeln!(out, "{}", sanitise(&line))
}

/// Notes in the store what came into it.
fn note<'a>(store: &Store, done: impl Iterator<Item = (&'a Path, &'a Report)>, args: &ImportArgs) {
    if args.dry_run {
        return;
    }
    let (mut rows, mut files, mut first) = (0, 0_u64, None);
    for (path, report) in done {
        let Some(leaves) = &report.leaves else {
            rows += report.new;
            files += u64::from(report.new > 0);
            first = first.or(Some(path).filter(|_| report.new > 0));
            continue;
        };
        let new = report.rows - report.existing.min(report.rows);
        if new > 0 {
            let summary = format!(
                "imported {} from {}",
                show_counted(new, "summary row"),
                last(path)
            );
            let generation = Some(leaves.generation).filter(|n| *n > 0);
            operations::keep(
                store,
                &Operation {
                    generation,
                    ..Operation::now("import", summary)
                },
            );
        }
    }
    // One line a look-through: a folder may have thousands of files.
    if let Some(first) = first {
        let of = match files {
            1 => last(first),
            files => show_counted(files, "file"),
        };
        let summary = format!("imported {} from {of}", show_counted(rows, "row"));
        operations::keep(store, &Operation::now("import", summary));
    }
}

/// The last part of a path.
fn last(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str());
    name.to_string_lossy().into_owned()
}

/// What became of a file, for people.
fn say(path: &Path, report: &Report, args: &ImportArgs) -> io::Result<()> {
    let mut out = out::stdout();
    let would = if args.dry_run { "would import " } else { "" };
    if let Some(leaves) = &report.leaves {
        return say_leaves(path, report, leaves, would, &mut out);
    }
    let replaced = match (report.replaced, report.replaced_of) {
        (0, _) => String::new(),
        (rows, of) => format!(
            ", replaces {} of {}",
            show_counted(rows, "row"),
            of.map_or_else(|| "an earlier import".to_owned(), clock)
        ),
    };
    writeln!(
        out,
        "{}: {would}{} row{}, {} new, {} already there, {} successful{replaced} (taken for {})",
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

/// A time of today as a clock has it, another one with its date.
fn clock(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::system());
    let today = Timestamp::now().to_zoned(TimeZone::system()).date() == at.date();
    at.strftime(if today { "%H:%M" } else { "%Y-%m-%d %H:%M" })
        .to_string()
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
        "rejected": report.rejected,
        "replaced": report.replaced,
        "replaced_of": report.replaced_of.map(|at| at.to_string()),
        "columns": report.columns,
        "extra": report.extra,
        "notes": report.notes,
        "left_out": report.left_out,
        "increment": report.increment,
        "summaries": summaries,
    })
}
