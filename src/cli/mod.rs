//! The command line. One file a command; errors become one sentence on stderr and an exit code
//! here.

use std::ffi::OsString;
use std::panic::{catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Args, FromArgMatches, Parser, Subcommand, ValueEnum};

pub mod backup;
pub mod cleanup;
pub mod compare;
pub mod config;
pub mod consolidate;
pub mod cost;
pub mod demo;
pub mod dir;
pub mod embed;
mod exhaustion;
pub mod filter;
pub mod help;
pub mod jobs;
mod left_out;
mod log;
pub mod maintain;
pub mod merge;
pub mod missing;
mod out;
pub mod progress;
pub mod pull;
pub mod query;
pub mod record;
pub mod remove;
pub mod report;
pub mod restore;
pub mod run;
pub mod spool;
pub mod status;
mod stores;
pub mod transfer;
pub mod validate;
pub mod verbosity;
pub mod watch;

use crate::sources::mailbox::url::stripped;
use cleanup::CleanupArgs;
use consolidate::ConsolidateArgs;
use remove::RemoveArgs;
use restore::RestoreArgs;
use validate::ValidateArgs;

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
    /// A gate for CI failed.
    Gate,
    /// Another process holds the lock.
    Locked,
    /// Interrupted by the user.
    Interrupted,
}

impl Exit {
    /// The number that the process ends with.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Warning => 10,
            Self::Critical => 20,
            Self::Gate => 30,
            Self::Locked => 75,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
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

/// Why a command failed: a [`Usage`], a [`crate::store::Error`], or another sentence.
pub type Failure = anyhow::Error;

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
    loudness: verbosity::LoudnessArgs,
    /// The store, for any command: the same as DIR where a command takes one
    #[arg(long, global = true, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Prices of tokens, for tests that bring no cost: TOML, LiteLLM's JSON or Inspect's cost file
    #[arg(long, global = true, value_name = "FILE")]
    prices: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Open the dashboard on a store (what `evaltop [DIR]` does)
    Watch(WatchArgs),
    /// Print the state of a store
    Status(StatusArgs),
    /// Print filtered rows, or tallies with --group-by
    Query(QueryArgs),
    /// Compare models, sessions or any other values on the tests that they share
    Compare(compare::CompareArgs),
    /// Say what the tests cost, and what they will when the plan is done
    Cost(cost::CostArgs),
    /// Write what the store says as one HTML or Markdown file to send
    Report(report::ReportArgs),
    /// Read results as JSON lines from stdin and store them durably
    Record(RecordArgs),
    /// Run a command once per test, in parallel, and record what comes of it
    Run(run::RunArgs),
    /// Print the tests of a plan that a store does not have yet
    Missing(missing::MissingArgs),
    /// Merge increments and dead writers' journals into main
    Consolidate(ConsolidateArgs),
    /// Remove leftovers: consumed files, stale temporary files, old backups and quarantine
    Cleanup(CleanupArgs),
    /// Copy main into backups/, or the whole store into another folder
    Backup(backup::BackupArgs),
    /// Bring a backup back, as a new commit
    Restore(RestoreArgs),
    /// Take rows out of a store on purpose: they stay out, whatever brings them again
    Remove(RemoveArgs),
    /// Check every file of a store
    Validate(ValidateArgs),
    /// Read results from other files into a store
    Import(ImportArgs),
    /// Take in the rows of other stores, here or on other hosts
    Pull(pull::PullArgs),
    /// Show what mailboxes do not have yet, and send it
    Spool(spool::SpoolArgs),
    /// Write a store, or part of it, for other tools
    Export(ExportArgs),
    /// Write several Parquet files as one, each test once
    Merge(merge::MergeArgs),
    /// Consolidate, back up and clean up: once, or every so often
    Maintain(maintain::UpkeepArgs),
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
// Flags are independent of each other.
#[allow(clippy::struct_excessive_bools)]
pub struct WatchArgs {
    /// The store, a folder of stores, or logs and files to follow
    /// [default: $EVALTOP_DIR, ./pilot_bench_parquet_data, or . if it is a store]
    pub dir: Option<PathBuf>,
    /// Further stores, or logs and files to follow
    #[arg(value_name = "PATH")]
    pub more: Vec<PathBuf>,
    /// No screen: say on stdout which alerts come and go, and tell hooks and notifications
    #[arg(long)]
    pub headless: bool,
    /// What the first row says of the store
    #[arg(skip)]
    pub badge: Option<String>,
    /// What people call the store, where that is not its folder
    #[arg(skip)]
    pub name: Option<String>,
    /// Never change the store: maintenance keys are off
    #[arg(long)]
    pub readonly: bool,
    /// Planned number of tests, for the time that is left
    #[arg(long, value_name = "N")]
    pub target: Option<u64>,
    /// What the tests may cost, in dollars: an alert at it, and when the forecast exceeds it
    #[arg(long, value_name = "DOLLARS", value_parser = cost::amount)]
    pub budget: Option<f64>,
    /// Only this session: its name, latest or previous
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
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
    /// The store, or a folder of stores: a line each
    pub dir: Option<PathBuf>,
    /// Further stores
    #[arg(value_name = "DIR")]
    pub more: Vec<PathBuf>,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    pub format: StatusFormat,
    /// Planned number of tests, for the forecast of what they cost
    #[arg(long, value_name = "N")]
    pub target: Option<u64>,
    /// What the tests may cost, in dollars: an alert at it, and when the forecast exceeds it
    #[arg(long, value_name = "DOLLARS", value_parser = cost::amount)]
    pub budget: Option<f64>,
    /// Only this session: its name, latest or previous
    #[arg(long, value_name = "SESSION")]
    pub session: Option<String>,
}

/// Which rows, for `query` and `export`.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Exit with 10 when a file of the store does not count
    #[arg(long)]
    pub strict: bool,
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
    /// Only this session: its name, latest or previous (may be repeated)
    #[arg(long, value_name = "SESSION")]
    pub session: Vec<String>,
    /// Only rows that fulfil a condition on any columns: "score >= 0.8 and difficulty = hard"
    #[arg(long = "where", value_name = "CONDITION")]
    pub condition: Option<String>,
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

/// `evaltop record`.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    /// The store; made when it is not there
    pub dir: Option<PathBuf>,
    /// Make ./pilot_bench_parquet_data where no store is named and it is not there
    #[arg(long)]
    pub create: bool,
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
    /// Loss of this machine: every acknowledgement waits until the mailbox has it
    Remote,
}

impl From<DurabilityArg> for crate::config::Durability {
    fn from(named: DurabilityArg) -> Self {
        match named {
            DurabilityArg::Process => Self::Process,
            DurabilityArg::Disk => Self::Disk,
            DurabilityArg::Remote => Self::Remote,
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
    crate::store::parquet::silence_caught_panics();
    exhaustion::silence();
    let ended = catch_unwind(|| run(std::env::args_os().collect()));
    ended
        .unwrap_or_else(|mistake| match exhaustion::of(&*mistake) {
            Some(sentence) => {
                verbosity::complain(&sentence);
                Exit::Failed
            }
            None => resume_unwind(mistake),
        })
        .into()
}

/// Words that start this program, where that is not its own executable file: `run` and `demo`
/// start it again.
static PROGRAM: OnceLock<Vec<OsString>> = OnceLock::new();

/// Like [`main`], for a program that another one holds, such as a Python interpreter: `args`
/// begin with the program's name, `program` are the words that start it again.
pub fn main_as(args: Vec<OsString>, program: Vec<OsString>) -> u8 {
    crate::store::parquet::silence_caught_panics();
    // A second call in one process starts the same program.
    let _ = PROGRAM.set(program);
    run(args).code()
}

/// The words that start this program again.
fn program() -> std::io::Result<Vec<OsString>> {
    match PROGRAM.get() {
        Some(words) => Ok(words.clone()),
        None => Ok(vec![std::env::current_exe()?.into()]),
    }
}

fn run(args: Vec<OsString>) -> Exit {
    let typed = args
        .iter()
        .map(|arg| stripped(&arg.to_string_lossy()).into_owned())
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
            let printed = error.print().and_then(|()| out::flush());
            return match printed.map_err(|error| out::named(&error)) {
                Err(error) if exit == Exit::Ok && !out::is_closed(&error) => {
                    verbosity::complain(&error.to_string());
                    Exit::Failed
                }
                _ => exit,
            };
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return Exit::Usage;
        }
    };
    verbosity::choose(cli.loudness);
    dir::choose_store(cli.store);
    dir::choose_prices(cli.prices);
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
        Some(Command::Maintain(args)) => maintain::run(&args),
        Some(Command::Config(args)) => config::run(&args),
        Some(Command::Completions(args)) => help::completions(&args),
        Some(Command::Man(args)) => help::man(&args),
        Some(Command::Compare(args)) => compare::run(&args),
        Some(Command::Cost(args)) => cost::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::Merge(args)) => merge::run(&args),
        Some(Command::Record(args)) => record::run(&args),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Missing(args)) => missing::run(&args),
        Some(Command::Consolidate(args)) => consolidate::run(&args),
        Some(Command::Cleanup(args)) => cleanup::run(&args),
        Some(Command::Backup(args)) => backup::run(&args),
        Some(Command::Restore(args)) => restore::run(&args),
        Some(Command::Remove(args)) => remove::run(&args),
        Some(Command::Validate(args)) => validate::run(&args),
        Some(Command::Import(args)) => transfer::import(&args),
        Some(Command::Pull(args)) => pull::run(&args),
        Some(Command::Spool(args)) => spool::run(&args),
        Some(Command::Export(args)) => transfer::export(&args),
        Some(Command::Demo(args)) => demo::run(&args),
        Some(Command::DemoWriter(args)) => demo::writer(&args),
        Some(Command::RunGuard) => Ok(run::guard()),
    };
    let result = result.and_then(|exit| {
        out::flush()?;
        Ok(exit)
    });
    let exit = result.unwrap_or_else(|error| {
        if error
            .downcast_ref::<std::io::Error>()
            .is_some_and(out::is_closed)
        {
            return Exit::Ok;
        }
        tracing::error!("{error}");
        verbosity::complain(&error.to_string());
        if error.is::<Usage>() {
            return Exit::Usage;
        }
        match error.downcast_ref::<crate::store::Error>() {
            Some(
                crate::store::Error::Locked { .. }
                | crate::store::Error::Claimed { .. }
                | crate::store::Error::Revoked { .. },
            ) => Exit::Locked,
            Some(crate::store::Error::Cancelled) => Exit::Interrupted,
            _ => Exit::Failed,
        }
    });
    tracing::debug!("ended: {exit:?}");
    exit
}
