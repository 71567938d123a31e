//! `maintain`: consolidate, back up and clean up, once (for cron and systemd timers) or
//! every so often (for those who have neither).
//!
//! Each round is the same jobs that the commands run. Several at once do no harm: who
//! finds the lock held says so and leaves it to the next round.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use jiff::{SignedDuration, Timestamp, Zoned};
use serde_json::{Value, json};

use super::{Exit, ReportFormat, Usage, dir, out, progress, pull, verbosity};
use crate::config::{parse_duration, show_counted};
use crate::health::Severity;
use crate::jobs::{self, CleanupOptions, ConsolidateOptions, Outcome, Request};
use crate::sources::cache;
use crate::sources::remote::{self, Options, Place};
use crate::store::{Control, Error, Store};
use crate::text::sanitise::sanitise;
#[cfg(feature = "tui")]
use crate::tui::headless::Sentry;

/// Shorter would be nothing but rounds.
const SHORTEST: Duration = Duration::from_secs(1);

/// `evaltop maintain`.
#[derive(Debug, Clone, Args)]
pub struct UpkeepArgs {
    /// The store
    pub dir: Option<PathBuf>,
    /// Do it again every so often, until interrupted: 30m, 2h
    #[arg(long, value_name = "TIME")]
    pub every: Option<String>,
    /// Before each round, take in the rows of a mailbox or another store, as pull does (may be
    /// repeated)
    #[arg(long, value_name = "SRC")]
    pub from: Vec<String>,
    /// Sort main where other code (pandas, DuckDB) wrote it in another order, so that queries
    /// read less of it
    #[arg(long)]
    pub optimize: bool,
    /// Make no extra backup of what was consolidated
    #[arg(long)]
    pub no_backup: bool,
    /// Remove quarantined files older than this: 30s, 5m, 2h, 7d
    #[arg(long, value_name = "AGE", default_value = "7d")]
    pub older_than: String,
    /// Keep this many backups
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub keep: usize,
    /// How to report: a line a job, or a JSON object a round
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
}

/// What a round did: the name of each job and how it ended.
struct Round {
    jobs: Vec<(&'static str, Ended)>,
}

/// How a job ended.
enum Ended {
    /// It was done.
    Done(Outcome),
    /// Another process holds the lock: the next round does it.
    Locked(Error),
    /// It failed.
    Failed(Error),
}

/// `evaltop maintain`.
pub fn run(args: &UpkeepArgs) -> Result<Exit> {
    let every = args
        .every
        .as_deref()
        .map(|text| time("--every", text))
        .transpose()?;
    if every.is_some_and(|every| every < SHORTEST) {
        return Err(Usage("--every: give at least 1s".to_owned()).into());
    }
    let options = CleanupOptions {
        older_than: SignedDuration::try_from(time("--older-than", &args.older_than)?)
            .unwrap_or(SignedDuration::MAX),
        keep: args.keep,
        include_unconsolidated: false,
    };
    let places = pull::places(&args.from)?;
    let (store, config) = if every.is_some() || !places.is_empty() {
        dir::open(args.dir.as_deref())?
    } else {
        dir::existing(args.dir.as_deref())?
    };
    let control = Control::default();
    let (send, stopped) = channel();
    let cancelled = control.clone();
    progress::on_signals(move |nth| {
        cancelled.cancel();
        // Nobody listens any more only when the program is about to end.
        let _ = send.send(());
        if nth > 1 {
            std::process::exit(130);
        }
    });
    #[cfg(feature = "tui")]
    let mut sentry = every.map(|_| Sentry::open(&store, &config));
    #[cfg(not(feature = "tui"))]
    drop(config);
    loop {
        let begun = Instant::now();
        let pulled = Options {
            cache: cache::mirrors()?,
            every: every.map(|every| every.as_secs()),
            ..Options::default()
        };
        let taken = take(&store, &places, &pulled, &control);
        let mut round = round(&store, args, &options, &control);
        round.jobs.splice(0..0, taken);
        let exit = round.exit();
        // Nothing to be maintained yet is not news.
        let absent = every.is_some() && matches!(store.check(), Err(Error::NoStore { .. }));
        if !absent {
            report(&store, args, &round)?;
        }
        let Some(every) = every else { return Ok(exit) };
        if control.check().is_err() {
            return Ok(Exit::Interrupted);
        }
        // Meanwhile people are notified of alerts; what a round is for is none.
        let left = every.saturating_sub(begun.elapsed());
        #[cfg(feature = "tui")]
        let stop = match &mut sentry {
            Some(sentry) => sentry.watch(left, &stopped, super::watch::say),
            None => wait(&stopped, left),
        };
        #[cfg(not(feature = "tui"))]
        let stop = wait(&stopped, left);
        if stop {
            return Ok(Exit::Ok);
        }
    }
}

/// Takes in what is new at other places. One that fails holds up none of the others.
fn take(
    store: &Store,
    places: &[Place],
    options: &Options,
    control: &Control,
) -> Vec<(&'static str, Ended)> {
    let take = |place| {
        let taken = remote::pull(store, place, options, Timestamp::now(), control);
        let ended = match taken {
            Ok(pulled) if pulled.rows == 0 && pulled.notes.is_empty() => return None,
            Ok(pulled) => {
                let name = place.name();
                let rows = show_counted(pulled.rows, "new row");
                Ended::Done(Outcome {
                    severity: Severity::Healthy,
                    summary: format!("{name}: {rows}"),
                    lines: pulled.notes,
                    json: json!({"source": name, "rows": pulled.rows, "bytes": pulled.bytes}),
                    changed: pulled.rows > 0,
                })
            }
            Err(error @ Error::Locked { .. }) => Ended::Locked(error),
            Err(error) => Ended::Failed(error),
        };
        Some(("pull", ended))
    };
    places.iter().filter_map(take).collect()
}

fn time(flag: &str, text: &str) -> Result<Duration, Usage> {
    parse_duration(text).map_err(|why| Usage(format!("{flag}: {why}")))
}

/// Whether a signal came before the time was over.
fn wait(stopped: &Receiver<()>, time: Duration) -> bool {
    stopped.recv_timeout(time) != Err(RecvTimeoutError::Timeout)
}

fn round(store: &Store, args: &UpkeepArgs, options: &CleanupOptions, control: &Control) -> Round {
    let before = generation(store);
    let mut round = Round { jobs: Vec::new() };
    if !round.take(
        "consolidate",
        job(
            store,
            &Request::Consolidate(ConsolidateOptions {
                optimize: args.optimize,
                ..ConsolidateOptions::default()
            }),
            control,
        ),
    ) {
        return round;
    }
    // A backup of the same main again would only push older ones out.
    let committed = generation(store) != before;
    if committed && !args.no_backup && !round.take("backup", job(store, &Request::Backup, control))
    {
        return round;
    }
    round.take(
        "cleanup",
        job(store, &Request::Cleanup(options.clone()), control),
    );
    round
}

fn generation(store: &Store) -> Option<u64> {
    crate::store::commit::base::Base::open(store, true)
        .ok()
        .map(|base| base.generation)
}

fn job(store: &Store, request: &Request, control: &Control) -> Result<Option<Outcome>, Error> {
    let plan = jobs::plan(store, request, control)?;
    if plan.is_empty {
        return Ok(None);
    }
    jobs::run(store, &plan, control).map(Some)
}

impl Round {
    /// Keeps how a job ended; whether the round goes on.
    fn take(&mut self, name: &'static str, ended: Result<Option<Outcome>, Error>) -> bool {
        let ended = match ended {
            Ok(None) => return true,
            Ok(Some(outcome)) => Ended::Done(outcome),
            Err(error @ Error::Locked { .. }) => Ended::Locked(error),
            Err(error) => Ended::Failed(error),
        };
        let goes_on = matches!(ended, Ended::Done(_));
        self.jobs.push((name, ended));
        goes_on
    }

    fn exit(&self) -> Exit {
        let mut exit = Exit::Ok;
        for (_, ended) in &self.jobs {
            match ended {
                Ended::Failed(Error::Cancelled) => return Exit::Interrupted,
                Ended::Failed(_) => return Exit::Failed,
                Ended::Locked(_) => exit = Exit::Locked,
                Ended::Done(outcome) if outcome.severity > Severity::Healthy => {
                    exit = outcome.severity.into();
                }
                Ended::Done(_) => {}
            }
        }
        exit
    }
}

fn report(store: &Store, args: &UpkeepArgs, round: &Round) -> io::Result<()> {
    let mut out = out::stdout();
    if args.format == ReportFormat::Json {
        let jobs: serde_json::Map<String, Value> = round
            .jobs
            .iter()
            .map(|(name, ended)| {
                let value = match ended {
                    Ended::Done(outcome) => outcome.json.clone(),
                    Ended::Locked(error) => json!({"locked": error.to_string()}),
                    Ended::Failed(error) => json!({"error": error.to_string()}),
                };
                ((*name).to_owned(), value)
            })
            .collect();
        let store = store.layout.root().display().to_string();
        let line = json!({"schema_version": 1, "store": store, "at": Timestamp::now().to_string(), "jobs": jobs});
        writeln!(out, "{line}")?;
        return out.flush();
    }
    let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    for (_, ended) in &round.jobs {
        match ended {
            Ended::Done(outcome) if verbosity::quiet() && outcome.severity == Severity::Healthy => {
            }
            Ended::Done(outcome) => {
                writeln!(out, "{now} {}", sanitise(&outcome.summary))?;
                for line in &outcome.lines {
                    writeln!(out, "{now}   {}", sanitise(line))?;
                }
            }
            Ended::Locked(error) => {
                writeln!(
                    out,
                    "{now} left to the next round: {}",
                    sanitise(&error.to_string())
                )?;
            }
            // That was asked for, and the next round does it.
            Ended::Failed(Error::Cancelled) => {}
            // Whoever reads the log of a service looks there for what went wrong.
            Ended::Failed(error) => {
                verbosity::complain(&error.to_string());
            }
        }
    }
    if round.jobs.is_empty()
        && (args.every.is_none() || verbosity::verbose())
        && !verbosity::quiet()
    {
        writeln!(out, "{now} nothing to do")?;
    }
    out.flush()
}
