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

use super::{Exit, ReportFormat, Usage, dir, loudness, progress};
use crate::config::parse_duration;
use crate::formats::text::sanitise;
use crate::health::Severity;
use crate::jobs::{self, CleanupOptions, ConsolidateOptions, Outcome, Request};
use crate::store::{Control, Error, Store};

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
    let (store, _) = if every.is_some() {
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
    loop {
        let begun = Instant::now();
        let round = round(&store, args, &options, &control);
        let exit = round.exit();
        // Nothing to be maintained yet is no news.
        let absent = every.is_some() && matches!(store.check(), Err(Error::NoStore { .. }));
        if !absent {
            report(&store, args, &round)?;
        }
        let Some(every) = every else { return Ok(exit) };
        if control.check().is_err() {
            return Ok(Exit::Interrupted);
        }
        if wait(&stopped, every.saturating_sub(begun.elapsed())) {
            return Ok(Exit::Ok);
        }
    }
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
            &Request::Consolidate(ConsolidateOptions::default()),
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
    let mut out = io::stdout().lock();
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
            Ended::Done(outcome) if loudness::quiet() && outcome.severity == Severity::Healthy => {}
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
                loudness::complain(&error.to_string());
            }
        }
    }
    if round.jobs.is_empty() && (args.every.is_none() || loudness::verbose()) && !loudness::quiet()
    {
        writeln!(out, "{now} nothing to do")?;
    }
    out.flush()
}
