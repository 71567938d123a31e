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
pub mod export;
pub mod filter;
pub mod help;
pub mod import;
pub mod jobs;
mod left_out;
mod log;
pub mod maintain;
pub mod merge;
mod metric;
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
pub mod validate;
pub mod verbosity;
pub mod watch;

use crate::sources::mailbox::url::stripped;
use cleanup::CleanupArgs;
use consolidate::ConsolidateArgs;
use remove::RemoveArgs;
use restore::RestoreArgs;
use validate::ValidateArgs;

/// How a command ended, as its exit code reports to scripts.
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
    watch: watch::WatchArgs,
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
    Watch(watch::WatchArgs),
    /// Print the state of a store
    Status(status::StatusArgs),
    /// Print filtered rows, or tallies with --group-by
    Query(query::QueryArgs),
    /// Compare models, sessions or any other values on the tests that they share
    Compare(compare::CompareArgs),
    /// Say what the tests cost, and what they will when the plan is done
    Cost(cost::CostArgs),
    /// Write what the store says as one HTML or Markdown file to send
    Report(report::ReportArgs),
    /// Read results as JSON lines from stdin and store them durably
    Record(record::RecordArgs),
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
    Import(import::ImportArgs),
    /// Take in the rows of other stores, here or on other hosts
    Pull(pull::PullArgs),
    /// Show what mailboxes do not have yet, and send it
    Spool(spool::SpoolArgs),
    /// Write a store, or part of it, for other tools
    Export(export::ExportArgs),
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
    Demo(demo::DemoArgs),
    /// One of the demo's writer processes
    #[command(hide = true)]
    DemoWriter(demo::DemoWriterArgs),
    /// What ends the tests of a run that was killed
    #[command(hide = true, name = run::GUARD)]
    RunGuard,
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
        Some(Command::Import(args)) => import::run(&args),
        Some(Command::Pull(args)) => pull::run(&args),
        Some(Command::Spool(args)) => spool::run(&args),
        Some(Command::Export(args)) => export::run(&args),
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
