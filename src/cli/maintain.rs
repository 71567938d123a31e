//! Maintenance commands: each makes its plan, shows it and asks where it must, runs
//! it, and prints the outcome. What they do is in `jobs`.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use anyhow::{Result, bail};
use jiff::SignedDuration;
use serde_json::Value;

use super::progress::Shown;
use super::{
    CleanupArgs, ConsolidateArgs, Exit, MaintainArgs, ReportFormat, RestoreArgs, Usage,
    ValidateArgs, dir, loudness,
};
use crate::config::parse_duration;
use crate::formats::text::sanitise;
use crate::health::Severity;
use crate::jobs::{self, CleanupOptions, ConsolidateOptions, Plan, Request, RestoreOptions};

/// Backups that are named where one that was asked for is not there.
const NAMED: usize = 5;

/// `evaltop consolidate`.
pub fn consolidate(args: &ConsolidateArgs) -> Result<Exit> {
    perform(
        "consolidate",
        &args.common,
        &Request::Consolidate(ConsolidateOptions {
            accept_main: args.accept_main,
            convert_main: args.convert_main,
        }),
    )
}

/// `evaltop cleanup`.
pub fn cleanup(args: &CleanupArgs) -> Result<Exit> {
    let older_than =
        parse_duration(&args.older_than).map_err(|why| Usage(format!("--older-than: {why}")))?;
    let options = CleanupOptions {
        older_than: SignedDuration::try_from(older_than).unwrap_or(SignedDuration::MAX),
        keep: args.keep,
        include_unconsolidated: args.include_unconsolidated,
    };
    perform("cleanup", &args.common, &Request::Cleanup(options))
}

/// `evaltop backup`.
pub fn backup(args: &MaintainArgs) -> Result<Exit> {
    perform("backup", args, &Request::Backup)
}

/// `evaltop restore`.
pub fn restore(args: &RestoreArgs) -> Result<Exit> {
    if let Some(from) = &args.from {
        let (store, _) = dir::existing(args.common.dir.as_deref())?;
        there_is(from, &store.layout.backups())?;
    }
    let options = RestoreOptions {
        from: args.from.clone(),
        discard_newer: args.discard_newer,
    };
    perform("restore", &args.common, &Request::Restore(options))
}

/// Says which backups there are where the one that was named is not.
fn there_is(named: &Path, backups: &Path) -> Result<()> {
    if named.exists() || backups.join(named).exists() {
        return Ok(());
    }
    let entries = std::fs::read_dir(backups).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort_unstable_by(|one, two| two.cmp(one));
    names.truncate(NAMED);
    let there_are = match names.as_slice() {
        [] => "the store has none".to_owned(),
        names => format!("the newest are {}", names.join(", ")),
    };
    bail!("there is no backup '{}': {there_are}", named.display())
}

/// `evaltop validate`.
pub fn validate(args: &ValidateArgs) -> Result<Exit> {
    let name = if args.repair {
        "validate --repair"
    } else {
        "validate"
    };
    perform(
        name,
        &args.common,
        &Request::Validate {
            repair: args.repair,
        },
    )
}

/// Plan, consent, run, report: the same for every job.
pub(super) fn perform(name: &str, args: &MaintainArgs, request: &Request) -> Result<Exit> {
    let (store, _) = dir::existing(args.dir.as_deref())?;
    let shown = Shown::new();
    let plan = jobs::plan(&store, request, &shown.control)?;
    let json = args.format == ReportFormat::Json;
    if args.dry_run {
        let would = if plan.is_empty { "" } else { "would " };
        report(
            json,
            &plan.json,
            &format!("{would}{}", plan.summary),
            &plan.lines,
        )?;
        return Ok(Exit::Ok);
    }
    if plan.is_empty && !json {
        if loudness::quiet() {
            return Ok(Exit::Ok);
        }
        report(false, &plan.json, &plan.summary, &plan.lines)?;
        return Ok(Exit::Ok);
    }
    if !args.yes && !consent(name, request, &plan)? {
        loudness::complain("declined: nothing was changed");
        return Ok(Exit::Ok);
    }
    let outcome = jobs::run(&store, &plan, &shown.control)?;
    drop(shown);
    // What went wrong is said all the same.
    if loudness::quiet() && !json && outcome.severity == Severity::Healthy {
        return Ok(Exit::Ok);
    }
    report(json, &outcome.json, &outcome.summary, &outcome.lines)?;
    Ok(outcome.severity.into())
}

/// Whether the plan may run. On a terminal, what removes or replaces something is shown and
/// asked; elsewhere nothing is asked, and what loses files needs `--yes`.
fn consent(name: &str, request: &Request, plan: &Plan) -> Result<bool> {
    let changes = plan.needs_yes || matches!(request, Request::Consolidate(_));
    if !changes || plan.is_empty {
        return Ok(true);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        if plan.needs_yes {
            let why = format!(
                "would {}: run `evaltop {name}` again with --yes, or with --dry-run to see more",
                plan.summary
            );
            return Err(Usage(why).into());
        }
        return Ok(true);
    }
    let mut out = io::stderr().lock();
    text(&mut out, &plan.summary, &plan.lines)?;
    // What loses files needs a yes; the rest is done on Enter.
    write!(
        out,
        "Go on? {} ",
        if plan.needs_yes { "[y/N]" } else { "[Y/n]" }
    )?;
    out.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => true,
        "" => !plan.needs_yes && answer.ends_with('\n'),
        _ => false,
    })
}

fn report(json: bool, value: &Value, summary: &str, lines: &[String]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return writeln!(out, "{value}");
    }
    text(&mut out, summary, lines)
}

/// For people: names of files come from whoever made them.
fn text(out: &mut impl Write, summary: &str, lines: &[String]) -> io::Result<()> {
    writeln!(out, "{}", sanitise(summary))?;
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "  {}", sanitise(line)))
}
