//! The command line: what can be typed, and which group of commands does it.
//! One file a group; errors become one sentence on stderr and an exit code here.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, FromArgMatches, Parser, Subcommand, ValueEnum};

pub mod compare;
pub mod config;
pub mod demo;
pub mod dir;
pub mod filter;
pub mod help;
mod log;
pub mod loudness;
pub mod maintain;
pub mod merge;
pub mod progress;
pub mod query;
pub mod record;
mod report;
pub mod run;
pub mod status;
pub mod transfer;
pub mod upkeep;
pub mod watch;

/// How a command ended, as its exit code tells scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Healthy, done, or declined.
    Ok,
    /// Failed; nothing changed, or what changed was said.
    Failed,
    /// The command line was wrong.
    Usage,
    /// Warnings.
    Warning,
    /// Critical.
    Critical,
    /// Another process holds the lock.
    Locked,
    /// Interrupted by the user.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Warning => 10,
            Exit::Critical => 20,
            Exit::Locked => 75,
            Exit::Interrupted => 130,
        })
    }
}

impl From<crate::health::Severity> for Exit {
    fn from(severity: crate::health::Severity) -> Self {
        match severity {
            crate::health::Severity::Healthy => Self::Ok,
            crate::health::Severity::Warning => Self::Warning,
            crate::health::Severity::Critical => Self::Critical,
        }
    }
}

/// What was typed makes no sense; the sentence says what would.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// top for evaluations: watch, query and keep the results of long LLM-benchmark runs.
#[derive(Debug, Parser)]
#[command(name = "evaltop", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    watch: WatchArgs,
    #[command(flatten)]
    loudness: loudness::LoudnessArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open the dashboard on a store (what `evaltop [DIR]` does)
    Watch(WatchArgs),
    /// Print one look at a store
    Status(StatusArgs),
    /// Print filtered rows, or tallies with --group-by
    Query(QueryArgs),
    /// Compare two models, or two prompt types, on the tests that both had
    Compare(compare::CompareArgs),
    /// Read results as JSON lines from stdin and store them durably
    Record(RecordArgs),
    /// Run a command once per test, in parallel, and record what comes of it
    Run(run::RunArgs),
    /// Merge increments and dead writers' journals into main
    Consolidate(ConsolidateArgs),
    /// Remove leftovers: consumed files, stale temporary files, old backups and quarantine
    Cleanup(CleanupArgs),
    /// Copy main into backups/
    Backup(MaintainArgs),
    /// Bring a backup back, as a new commit
    Restore(RestoreArgs),
    /// Check every file of a store
    Validate(ValidateArgs),
    /// Read results from other files into a store
    Import(ImportArgs),
    /// Write a store, or part of it, for other tools
    Export(ExportArgs),
    /// Write several Parquet files as one, each test once
    Merge(merge::MergeArgs),
    /// Consolidate, back up and clean up: once, or every so often
    Maintain(upkeep::UpkeepArgs),
    /// Show, check or begin the settings
    Config(config::ConfigArgs),
    /// Print the completions of a shell
    Completions(help::CompletionsArgs),
    /// Print or write the manual pages
    Man(help::ManArgs),
    /// Look at a realistic live store, with writers running
    Demo(DemoArgs),
    /// One of the demo's writer processes
    #[command(hide = true)]
    DemoWriter(DemoWriterArgs),
    /// What ends the tests of a run that was killed
    #[command(hide = true, name = run::GUARD)]
    RunGuard,
}

/// `evaltop [DIR]` and `evaltop watch [DIR]`.
#[derive(Debug, Clone, Default, Args)]
pub struct WatchArgs {
    /// The store [default: $EVALTOP_DIR, ./pilot_bench_parquet_data, or . if it is a store]
    pub dir: Option<PathBuf>,
    /// Never change the store: maintenance keys are off
    #[arg(long)]
    pub readonly: bool,
    /// Planned number of tests, for the time that is left
    #[arg(long, value_name = "N")]
    pub target: Option<u64>,
    /// Planned tests by cell, as `run --plan` reads them: what is done and left by model
    #[arg(long, value_name = "FILE", conflicts_with = "target")]
    pub plan: Option<PathBuf>,
    /// Leave the mouse to the terminal
    #[arg(long)]
    pub no_mouse: bool,
    /// Draw with ASCII only
    #[arg(long)]
    pub ascii: bool,
    /// Colours: dark, light, high-contrast, colour-blind
    #[arg(long)]
    pub theme: Option<String>,
}

/// How `status` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StatusFormat {
    /// For people
    Text,
    /// For scripts
    Json,
    /// One short line for a tmux status bar
    Tmux,
    /// For a textfile collector
    Prometheus,
}

/// `evaltop status`.
#[derive(Debug, Clone, Args)]
pub struct StatusArgs {
    /// The store
    pub dir: Option<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    pub format: StatusFormat,
}

/// Which rows, for `query` and `export`.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Only this model (may be repeated)
    #[arg(long)]
    pub model: Vec<String>,
    /// Only this prompt type (may be repeated)
    #[arg(long)]
    pub prompt_type: Vec<String>,
    /// Only this rate of successful tool calls, 0 to 1 (may be repeated)
    #[arg(long)]
    pub tool_success_rate: Vec<f64>,
    /// Only this difficulty (may be repeated)
    #[arg(long)]
    pub difficulty: Vec<String>,
    /// Only this kind of task (may be repeated)
    #[arg(long)]
    pub task_type: Vec<String>,
    /// Only rows at or after: a time (2026-01-31, 2026-01-31T12:00:00Z) or an age (30m, 7d)
    #[arg(long)]
    pub since: Option<String>,
    /// Only rows before: a time or an age
    #[arg(long)]
    pub until: Option<String>,
}

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
    /// Tallies by these columns instead of rows
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub group_by: Vec<String>,
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

/// `evaltop record`.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// The store; made when it is not there
    pub dir: Option<PathBuf>,
    /// Answer each line on stdout: its test_id once it is durable, - when rejected
    #[arg(long)]
    pub ack: bool,
    /// What an acknowledged record survives: kill -9, or loss of power [default: process]
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityArg>,
}

/// What an acknowledged record survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DurabilityArg {
    /// The death of any process
    Process,
    /// Loss of power: every acknowledgement waits for an fsync
    Disk,
}

impl From<DurabilityArg> for crate::config::Durability {
    fn from(named: DurabilityArg) -> Self {
        match named {
            DurabilityArg::Process => Self::Process,
            DurabilityArg::Disk => Self::Disk,
        }
    }
}

/// How maintenance reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Text,
    /// For scripts
    Json,
}

/// What all maintenance commands take.
#[derive(Debug, Clone, Args)]
pub struct MaintainArgs {
    /// The store
    pub dir: Option<PathBuf>,
    /// Say what would happen and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
    /// Ask nothing
    #[arg(short, long)]
    pub yes: bool,
}

/// `evaltop consolidate`.
#[derive(Debug, Clone, Args)]
pub struct ConsolidateArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: MaintainArgs,
    /// Go on although main has fewer rows than the last commit left in it
    #[arg(long)]
    pub accept_main: bool,
    /// Move the summary rows of a legacy main into a file beside it, so that it takes in records
    /// (stop what writes summary rows first)
    #[arg(long)]
    pub convert_main: bool,
}

/// `evaltop cleanup`.
#[derive(Debug, Clone, Args)]
pub struct CleanupArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: MaintainArgs,
    /// Remove quarantined files older than this: 30s, 5m, 2h, 7d
    #[arg(long, value_name = "AGE", default_value = "7d")]
    pub older_than: String,
    /// Keep this many backups
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub keep: usize,
    /// Also remove increments that were never merged: their results are lost
    #[arg(long)]
    pub include_unconsolidated: bool,
}

/// `evaltop restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: MaintainArgs,
    /// The backup: a path, or a name inside backups/
    #[arg(long, value_name = "BACKUP", required_unless_present = "undo")]
    pub from: Option<PathBuf>,
    /// Bring back what the last operation replaced; what it had put into main waits again
    #[arg(long, conflicts_with = "from")]
    pub undo: bool,
    /// Drop the rows that the backup lacks instead of keeping them
    #[arg(long)]
    pub discard_newer: bool,
}

/// `evaltop validate`.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: MaintainArgs,
    /// Mend what can be mended safely
    #[arg(long)]
    pub repair: bool,
}

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
    /// Samples of lm-evaluation-harness (samples_*.jsonl, with the results file beside)
    LmEval,
    /// The JSON database of older tools, versions 1 to 3
    JsonDatabase,
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
pub struct ImportArgs {
    /// The files to read
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The store; made when it is not there
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// What the files are
    #[arg(long, value_enum, default_value = "auto")]
    pub from: ImportFormat,
    /// Take a column from another one: model=model_name (may be repeated)
    #[arg(long, value_name = "COLUMN=SOURCE")]
    pub map: Vec<String>,
    /// When a row is a full success: a boolean column, or 'score>=1'
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
    /// Say what would be read and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
}

/// `evaltop export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
    /// The store
    pub dir: Option<PathBuf>,
    /// The form [default: by the name of the file]
    #[arg(long)]
    pub format: Option<String>,
    /// The file to write
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

/// `evaltop demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Keep the store in this folder instead of a temporary one
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// How much faster than life the tests run
    #[arg(long, default_value_t = 20.0)]
    pub speed: f64,
    /// Seed of the made-up results
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
}

/// One writer process of the demo.
#[derive(Debug, Clone, Args)]
pub struct DemoWriterArgs {
    /// The store
    pub dir: PathBuf,
    /// Which writer, 0 to 7
    #[arg(long)]
    pub index: u64,
    /// How much faster than life the tests run
    #[arg(long)]
    pub speed: f64,
    /// Seed of the made-up results
    #[arg(long)]
    pub seed: u64,
}

/// The width of the terminal; 80 where it doesn't say.
fn terminal_columns() -> usize {
    let sized = crossterm::terminal::size()
        .ok()
        .filter(|(columns, _)| *columns > 0);
    sized.map_or(80, |(columns, _)| usize::from(columns))
}

/// Parses the command line, runs the command, prints its error, returns the exit code.
pub fn main() -> ExitCode {
    crate::store::parquet_file::silence_caught_panics();
    run(std::env::args_os().collect()).into()
}

fn run(args: Vec<OsString>) -> Exit {
    let typed = args
        .iter()
        .map(|arg| arg.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ");
    let matches = match help::command().try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => {
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            // A closed pipe while printing help is no failure.
            let _ = error.print();
            return exit;
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return Exit::Usage;
        }
    };
    loudness::choose(cli.loudness);
    log::start(matches!(
        cli.command,
        None | Some(Command::Watch(_) | Command::Demo(_))
    ));
    tracing::info!("{typed}");
    let result = match cli.command {
        None => watch::run(&cli.watch),
        Some(Command::Watch(args)) => watch::run(&args),
        Some(Command::Status(args)) => status::run(&args),
        Some(Command::Query(args)) => query::run(&args),
        Some(Command::Maintain(args)) => upkeep::run(&args),
        Some(Command::Config(args)) => config::run(&args),
        Some(Command::Completions(args)) => help::completions(&args),
        Some(Command::Man(args)) => help::man(&args),
        Some(Command::Compare(args)) => compare::run(&args),
        Some(Command::Merge(args)) => merge::run(&args),
        Some(Command::Record(args)) => record::run(&args),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Consolidate(args)) => maintain::consolidate(&args),
        Some(Command::Cleanup(args)) => maintain::cleanup(&args),
        Some(Command::Backup(args)) => maintain::backup(&args),
        Some(Command::Restore(args)) => maintain::restore(&args),
        Some(Command::Validate(args)) => maintain::validate(&args),
        Some(Command::Import(args)) => transfer::import(&args),
        Some(Command::Export(args)) => transfer::export(&args),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::DemoWriter(args)) => demo::writer(&args),
        Some(Command::RunGuard) => Ok(run::guard()),
    };
    let exit = result.unwrap_or_else(|error| {
        // Whoever reads the pipe has seen enough.
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(|e| e.kind() == ErrorKind::BrokenPipe)
        {
            return Exit::Ok;
        }
        tracing::error!("{error}");
        loudness::complain(&error.to_string());
        if error.is::<Usage>() {
            return Exit::Usage;
        }
        match error.downcast_ref::<crate::store::Error>() {
            Some(crate::store::Error::Locked { .. } | crate::store::Error::Claimed { .. }) => {
                Exit::Locked
            }
            Some(crate::store::Error::Cancelled) => Exit::Interrupted,
            _ => Exit::Failed,
        }
    });
    tracing::debug!("ended: {exit:?}");
    exit
}
