//! `demo`: a realistic live store under the dashboard, and nothing left behind.

use super::status::{StatusArgs, StatusFormat};
use super::watch::WatchArgs;
use clap::Args;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::dir::local;
use super::verbosity::complain;
use super::{Exit, out, status, watch};
use crate::demo::story::{Story, WRITERS};
use crate::demo::{history, writer};
use crate::store::Store;
use crate::store::format::layout;

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

/// How long the demo runs where there is no terminal to watch it in.
const BLIND: Duration = Duration::from_secs(10);
/// What a test of the simulation takes on average, in seconds of its own time.
const MEAN_TEST_SECONDS: f64 = 40.0;
/// Six hours at this rate are written within a second.
const MOST_PER_MINUTE: f64 = 300.0;

/// `evaltop demo`.
pub fn run(args: &DemoArgs) -> Result<Exit> {
    if !(args.speed > 0.0 && args.speed.is_finite()) {
        return Err(super::Usage(format!("--speed {}: give a number above 0", args.speed)).into());
    }
    let temporary = tempfile::Builder::new().prefix("evaltop-demo-").tempdir();
    let temporary = temporary
        .context("the demo needs a temporary folder: set TMPDIR to one that is writable")?;
    let dir = match &args.dir {
        None => temporary.path().join(layout::DEFAULT_NAME),
        Some(dir) => {
            local(dir)?;
            if dir
                .read_dir()
                .is_ok_and(|mut entries| entries.next().is_some())
            {
                bail!(
                    "{} is not empty: the demo fills a new or empty folder with made-up results",
                    dir.display()
                );
            }
            dir.clone()
        }
    };
    let store = Store::new(std::path::absolute(&dir)?);
    let per_minute = (WRITERS as f64 * args.speed * 60.0 / MEAN_TEST_SECONDS).min(MOST_PER_MINUTE);
    history::fill(&store, args.seed, per_minute, Timestamp::now())?;

    let program = super::program().context("the demo starts writers of its own program")?;
    let story = Story::begin(&program, &store, args.speed, args.seed)?;
    let shown = show(store.layout.root().to_path_buf());
    drop(story);
    drop(temporary);
    let exit = shown?;
    if let Some(dir) = &args.dir {
        let _ = writeln!(
            out::stdout(),
            "The demo's store stays in {}: evaltop {0}",
            dir.display()
        );
    }
    let _ = writeln!(
        out::stdout(),
        "Now on your own data. A folder of increment_*.parquet files is a store already:\n  \
         evaltop FOLDER\n\
         Other results are imported into one:\n  \
         evaltop import results.jsonl --into my_store --success-from 'score>=1'"
    );
    Ok(exit)
}

fn show(dir: std::path::PathBuf) -> Result<Exit> {
    if io::stdout().is_terminal() && io::stdin().is_terminal() {
        return watch::run(&WatchArgs {
            dir: Some(dir),
            badge: Some("made-up figures".to_owned()),
            ..WatchArgs::default()
        });
    }
    complain("no terminal: the demo runs for ten seconds and prints its status");
    std::thread::sleep(BLIND);
    // The demo shows alerts on purpose; they are no failure of it.
    status::run(&StatusArgs {
        more: Vec::new(),
        dir: Some(dir),
        format: StatusFormat::Text,
        target: None,
        budget: None,
        session: None,
    })
    .map(|_| Exit::Ok)
}

/// One writer process of the demo.
pub fn writer(args: &DemoWriterArgs) -> Result<Exit> {
    writer::run(&Store::new(&args.dir), args.index, args.speed, args.seed)?;
    Ok(Exit::Ok)
}
