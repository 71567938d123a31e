//! `status`: one scan of a store. Never changes it: no file, not even a lock.

pub(crate) mod forms;
pub(crate) mod json;
pub(crate) mod prometheus;
pub(crate) mod text;
pub(crate) mod tmux;

use clap::{Args, ValueEnum};
use std::io::{IsTerminal, Write, stdout};
use std::path::PathBuf;

use anyhow::{Result, bail};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::verbosity::complain;
use super::{Exit, cost, dir, out, stores, terminal_columns};
use crate::health::worst;
use crate::monitor::{Monitor, StoreState};
use crate::store::read::query::Filter;
use crate::store::read::query::sessions::sessions;
use crate::store::{Control, Error};

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

/// `evaltop status`.
pub fn run(args: &StatusArgs) -> Result<Exit> {
    if let Some(many) = stores::many(args.dir.as_deref(), &args.more) {
        return stores::run(args, &many);
    }
    if let Some(other) = args
        .more
        .iter()
        .chain(&args.dir)
        .find(|path| !args.more.is_empty() && dir::existing(Some(path)).is_err())
    {
        dir::existing(Some(other))?;
    }
    let (store, mut config) = dir::view(args.dir.as_deref())?;
    config.target = args.target;
    config.budget = args.budget.or(config.budget);
    if let Err(error @ Error::NoStore { .. }) = store.check() {
        return Err(error.into());
    }
    let session = args.session.as_deref().map(|name| session(&store, name));
    let session = session.transpose()?;
    let mut monitor = Monitor::new(store, config);
    monitor.set_session(session);
    let seen = monitor.observe(Timestamp::now());
    if let (true, StoreState::Unreadable(why)) = (monitor.is_exhausted(), &seen.state) {
        bail!("{why}");
    }
    let text = match args.format {
        StatusFormat::Text => {
            let columns = stdout().is_terminal().then(terminal_columns);
            text::render(&seen, &TimeZone::system(), columns)
        }
        StatusFormat::Json => json::render(&seen),
        StatusFormat::Tmux => tmux::render(&seen),
        StatusFormat::Prometheus => prometheus::render(&seen),
    };
    let mut out = out::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if out::is_closed(&error) => {}
        result => result?,
    }
    if let StoreState::Unreadable(sentence) = &seen.state {
        complain(sentence);
    }
    Ok(worst(&seen.alerts).into())
}

/// The session of a store that a name stands for.
pub(super) fn session(store: &crate::store::Store, name: &str) -> Result<String> {
    let control = Control::default();
    let there = sessions(store, &Filter::default(), &control)?;
    super::filter::named(name, &there)
}
