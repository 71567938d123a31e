//! `pull`: the rows of other stores, here or on other hosts, into one. Never changes a source.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::progress::Shown;
use super::{Exit, ReportFormat, Usage, dir, out, verbosity};
use crate::config::{parse_duration, show_counted, show_size};
use crate::sources::cache;
use crate::sources::remote::{self, Options, Place, Pulled};
use crate::store::{Control, Error, Store};
use crate::text::sanitise::sanitise;

/// `evaltop pull`.
#[derive(Debug, Clone, Args)]
pub struct PullArgs {
    /// Stores to take rows from: folders, HOST:PATH over ssh, or mailboxes (s3://bucket/prefix)
    #[arg(required = true, value_name = "SRC")]
    pub sources: Vec<String>,
    /// The store; made when it is not there
    #[arg(long, value_name = "DIR")]
    pub into: Option<PathBuf>,
    /// Go on, until Ctrl-C
    #[arg(long, conflicts_with = "dry_run")]
    pub follow: bool,
    /// How often, with --follow
    #[arg(long, value_name = "TIME", default_value = "30s")]
    pub every: String,
    /// Say what would be taken and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
}

/// `evaltop pull`.
pub fn run(args: &PullArgs) -> Result<Exit> {
    let every = parse_duration(&args.every).map_err(|why| Usage(format!("--every: {why}")))?;
    let (store, _) = dir::open(args.into.as_deref())?;
    let places = places(&args.sources)?;
    let options = Options {
        cache: cache::mirrors()?,
        // With several hosts, or for days, nobody waits for questions.
        answers: io::stdin().is_terminal() && !args.follow && places.len() == 1,
        dry_run: args.dry_run,
        every: args.follow.then_some(every.as_secs().max(1)),
    };
    let shown = Shown::new();
    let control = &shown.control;
    let mut said = HashMap::new();
    let mut exit = Exit::Ok;
    loop {
        for place in &places {
            let taken = remote::pull(&store, place, &options, Timestamp::now(), control);
            match &taken {
                Err(Error::Cancelled) if args.follow => return Ok(Exit::Ok),
                Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
                Err(_) => exit = Exit::Failed,
                Ok(_) => {}
            }
            report(args, &store, place, &taken, &mut said)?;
        }
        if !args.follow {
            return Ok(exit);
        }
        if !wait(every, control) {
            return Ok(Exit::Ok);
        }
    }
}

/// Where rows are taken from, as people name it.
pub(super) fn places(named: &[String]) -> Result<Vec<Place>, Usage> {
    let place = |text: &String| Place::parse(text).map_err(|error| Usage(error.to_string()));
    named.iter().map(place).collect()
}

/// Waits; `false` when it was interrupted.
fn wait(time: Duration, control: &Control) -> bool {
    const STEP: Duration = Duration::from_millis(100);
    let mut left = time.max(STEP);
    while !left.is_zero() {
        if control.check().is_err() {
            return false;
        }
        std::thread::sleep(STEP.min(left));
        left = left.saturating_sub(STEP);
    }
    control.check().is_ok()
}

fn report(
    args: &PullArgs,
    store: &Store,
    place: &Place,
    taken: &Result<Pulled, Error>,
    said: &mut HashMap<String, String>,
) -> Result<()> {
    let name = place.name();
    if args.format == ReportFormat::Json {
        let value = match taken {
            Ok(pulled) => figures(pulled),
            Err(error) => json!({ "error": error.to_string() }),
        };
        let mut line = json!({
            "schema_version": 1, "store": store.layout.root().display().to_string(),
            "source": name, "dry_run": args.dry_run,
        });
        if let (Some(line), Some(value)) = (line.as_object_mut(), value.as_object()) {
            line.extend(value.clone());
        }
        writeln!(out::stdout(), "{line}")?;
        return Ok(());
    }
    match taken {
        // The same again, for as long as it stays so.
        Err(error) => {
            let error = error.to_string();
            if said.insert(name, error.clone()).as_ref() != Some(&error) {
                verbosity::complain(&error);
            }
        }
        Ok(pulled) => {
            let failed_before = said.remove(&name).is_some();
            for note in &pulled.notes {
                verbosity::complain(&format!("{name}: {note}"));
            }
            let quiet = args.follow && pulled.rows == 0 && !failed_before;
            if !quiet && !verbosity::quiet() {
                writeln!(
                    out::stdout(),
                    "{}",
                    sanitise(&sentence(args, &name, pulled))
                )?;
            }
        }
    }
    Ok(())
}

fn sentence(args: &PullArgs, name: &str, pulled: &Pulled) -> String {
    let rows = show_counted(pulled.rows, "new row");
    let travelled = match pulled.bytes {
        0 => String::new(),
        bytes => format!(", {} travelled", show_size(bytes)),
    };
    match (pulled.unchanged, args.dry_run) {
        (true, _) => format!("{name}: nothing changed{travelled}"),
        (false, true) => format!("{name}: would take {rows}{travelled}"),
        (false, false) => format!("{name}: {rows}{travelled}"),
    }
}

fn figures(pulled: &Pulled) -> Value {
    json!({
        "rows": pulled.rows, "bytes": pulled.bytes, "unchanged": pulled.unchanged,
        "replaced": pulled.replaced, "notes": pulled.notes,
    })
}
