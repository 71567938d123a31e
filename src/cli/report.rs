//! `report`: what a store says, as one file to send. Never changes the store.

use super::filter::FilterArgs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::progress::{self, Shown};
use super::{Exit, Usage, dir, left_out, metric, verbosity};
use crate::config::parse_duration;
use crate::formats::Output;
use crate::monitor::Monitor;
use crate::report::{self, Request};
use crate::stats::metric::Metric;
use crate::store::Control;
use crate::store::read::query::sessions::sessions;

/// `evaltop report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArgs {
    /// The store
    pub dir: Option<PathBuf>,
    /// The file: HTML, or Markdown where its name ends with .md; - is stdout
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
    /// The session to compare with; without --session the latest one is compared
    #[arg(long, value_name = "SESSION")]
    pub baseline: Option<String>,
    /// Planned number of tests: fewer make an incomplete report, which says so [default: the
    /// plan of the session]
    #[arg(long, value_name = "N")]
    pub target: Option<u64>,
    /// Show and compare the mean of this column or expression instead of the success rate: score
    #[arg(long, value_name = "COLUMN")]
    pub metric: Option<String>,
    /// Write it again every so often, until interrupted: 5m, 1h
    #[arg(long, value_name = "TIME")]
    pub every: Option<String>,
    /// What rows say in words too: error messages, names of files, links to logs
    #[arg(long)]
    pub with_texts: bool,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
    /// Replace an existing file
    #[arg(short, long)]
    pub yes: bool,
}

/// `evaltop report`.
pub fn run(args: &ReportArgs) -> Result<Exit> {
    let every = args.every.as_deref().map(parse_duration).transpose();
    let every = every.map_err(|why| Usage(format!("--every: {why}")))?;
    if every.is_some() && args.output == Path::new("-") {
        return Err(
            Usage("--every writes a file again and again: name it with -o".to_owned()).into(),
        );
    }
    let shown = Shown::new();
    write(args, &shown.control)?;
    let mut said = shown.control.left_out();
    let exit = left_out::say(&shown.control, args.filter.strict);
    let Some(every) = every else {
        return Ok(exit);
    };
    // From now on the file is its own.
    let again = ReportArgs {
        yes: true,
        ..args.clone()
    };
    while progress::wait(every, &shown.control) {
        match write(&again, &shown.control) {
            Ok(()) => {
                let left_out = shown.control.left_out();
                if left_out != said {
                    left_out::sentences(&left_out);
                    said = left_out;
                }
            }
            Err(_) if shown.control.check().is_err() => break,
            // The next round may find the store again.
            Err(error) => {
                let error = format!("{error:#}");
                if said != [error.as_str()] {
                    verbosity::complain(&error);
                    said = vec![error];
                }
            }
        }
    }
    Ok(Exit::Ok)
}

/// Writes the report.
pub(super) fn write(args: &ReportArgs, control: &Control) -> Result<()> {
    dir::written(&args.output)?;
    report::is_markdown(&args.output).map_err(|error| Usage(error.to_string()))?;
    args.filter.filter(Timestamp::now(), &TimeZone::system())?;
    let (store, config) = dir::existing_view(args.dir.as_deref())?;
    let output = if args.output == Path::new("-") {
        Output::stdout()
    } else {
        Output::file(&args.output, &store.layout, args.yes)?
    };
    let mut filter = args.filter.filter(Timestamp::now(), &TimeZone::system())?;
    let (mut session, mut baseline) = (None, None);
    if !args.filter.session.is_empty() || args.baseline.is_some() {
        let there = sessions(&store, &filter, control)?;
        let known = |name: &String| super::filter::named(name, &there);
        let mut names = args
            .filter
            .session
            .iter()
            .map(known)
            .collect::<Result<Vec<_>>>()?;
        baseline = args.baseline.as_ref().map(known).transpose()?;
        if names.is_empty() {
            names.extend(there.first().map(|latest| latest.id.clone()));
        }
        if baseline.as_ref().is_some_and(|own| names.contains(own)) {
            return Err(Usage("a session can't be compared with itself".to_owned()).into());
        }
        match names.as_slice() {
            [only] => session = Some(only.clone()),
            _ if baseline.is_some() => {
                let why = "a --baseline is compared with one --session, not with several";
                return Err(Usage(why.to_owned()).into());
            }
            several => super::filter::in_sessions(&mut filter, several)?,
        }
    }
    let (metric, unmeasured) = match &args.metric {
        Some(name) => {
            // Of the tests that the report is about: others may be billed where these are not.
            let mut asked = filter.clone();
            let own: Vec<String> = session.iter().chain(&baseline).cloned().collect();
            if !own.is_empty() {
                super::filter::in_sessions(&mut asked, &own)?;
            }
            metric::chosen(&config, &store, &asked, name, control)?
        }
        None => (Metric::default(), None),
    };
    let seen = Monitor::new(store.clone(), config.clone()).observe(Timestamp::now());
    let mut request = Request {
        filter,
        session,
        baseline,
        metric,
        unjudged: args.metric.is_none().then(|| config.metric("score")),
        with_texts: args.with_texts,
        planned: args.target,
        prices: std::sync::Arc::clone(&config.price_table),
        marks: report::marks(&seen, args.with_texts),
        metadata: Vec::new(),
    };
    request.planned = request
        .planned
        .or_else(|| report::planned(&store, &seen, &request));
    let notes = unmeasured.into_iter().collect();
    report::write(&store, request, notes, (&args.output, &output), control)?;
    output.commit()?;
    Ok(())
}
