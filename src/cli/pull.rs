//! `pull`: the rows of other stores, here or on other hosts, into one. Never changes a source.

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::progress::{Shown, wait};
use super::{Exit, ReportFormat, Usage, dir, out, verbosity};
use crate::config::{parse_duration, show_counted, show_size};
use crate::sources::cache;
use crate::sources::mailbox::url::is_url;
use crate::sources::remote::{self, Emptied, Empty, Options, Place, Pulled};
use crate::store::{Error, Store};
use crate::text::sanitise::sanitise;

/// `evaltop pull`.
#[derive(Debug, Clone, Args)]
pub struct PullArgs {
    /// Stores to take rows from: folders, HOST:PATH over ssh, or mailboxes (s3://,
    /// gs:// or az://bucket/prefix, file:///folder)
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
    /// Then remove from the mailbox the files that main of the store has all rows of
    #[arg(long)]
    pub empty: bool,
    /// With --empty, only files older than this: 30s, 5m, 2h, 7d
    #[arg(long, value_name = "AGE", default_value = "7d", requires = "empty")]
    pub older_than: String,
    /// Say what would be taken, and removed, and change nothing
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
    let older_than = parse_duration(&args.older_than);
    let older_than = older_than.map_err(|why| Usage(format!("--older-than: {why}")))?;
    let empty = Empty {
        older_than: SignedDuration::try_from(older_than).unwrap_or(SignedDuration::MAX),
        dry_run: args.dry_run,
    };
    if let Some(source) = args.sources.iter().find(|source| !is_url(source.as_ref()))
        && args.empty
    {
        return Err(Usage(format!(
            "--empty is for mailboxes (s3://, gs:// or az://bucket/prefix, file:///folder), and \
             {source} is a store"
        ))
        .into());
    }
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
            if !args.empty || taken.is_err() {
                continue;
            }
            let now = Timestamp::now();
            let emptied = remote::empty(&store, place, &options.cache, empty, now, control);
            match &emptied {
                Err(Error::Cancelled) if args.follow => return Ok(Exit::Ok),
                Err(Error::Cancelled) => return Err(Error::Cancelled.into()),
                Err(_) => exit = Exit::Failed,
                Ok(_) => {}
            }
            report_emptied(args, place, &emptied)?;
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

fn report_emptied(args: &PullArgs, place: &Place, emptied: &Result<Emptied, Error>) -> Result<()> {
    let name = place.name();
    if args.format == ReportFormat::Json {
        let line = match emptied {
            Ok(emptied) => json!({
                "schema_version": 1, "mailbox": name, "dry_run": args.dry_run,
                "removed": emptied.removed, "bytes": emptied.bytes, "young": emptied.young,
                "needed": emptied.needed,
            }),
            Err(error) => json!({"schema_version": 1, "mailbox": name, "error": error.to_string()}),
        };
        writeln!(out::stdout(), "{line}")?;
        return Ok(());
    }
    let emptied = match emptied {
        Ok(emptied) => emptied,
        Err(error) => {
            verbosity::complain(&error.to_string());
            return Ok(());
        }
    };
    if verbosity::quiet() || (args.follow && emptied.removed == 0) {
        return Ok(());
    }
    let files = |count: u64| show_counted(count, "file");
    let verb = if args.dry_run {
        "would remove"
    } else {
        "removed"
    };
    let mut text = format!(
        "{name}: {verb} {}, {}",
        files(emptied.removed),
        show_size(emptied.bytes)
    );
    if emptied.young > 0 {
        text = format!(
            "{text}; {} younger than {}",
            files(emptied.young),
            args.older_than
        );
    }
    if emptied.needed > 0 {
        text = format!(
            "{text}; {} with rows that main does not have (evaltop consolidate)",
            files(emptied.needed)
        );
    }
    writeln!(out::stdout(), "{}", sanitise(&text))?;
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
