//! What all maintenance commands have in common: plan, show, ask where it must be asked, run,
//! report. What they do is in `crate::jobs`.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::Result;
use serde_json::Value;

use super::progress::Shown;
use super::{Exit, MaintainArgs, ReportFormat, Usage, dir, left_out, out, verbosity};
use crate::health::Severity;
use crate::jobs::{self, Plan, Request};
use crate::text::sanitise::sanitise;

/// Plan, consent, run, report: the same for every job.
pub(crate) fn perform(name: &str, args: &MaintainArgs, request: &Request) -> Result<Exit> {
    let (store, _) = match request {
        Request::Export(_) => dir::existing_view(args.dir.as_deref())?,
        _ => dir::existing(args.dir.as_deref())?,
    };
    let shown = Shown::new();
    let plan = jobs::plan(&store, request, &shown.control)?;
    let json = args.format == ReportFormat::Json;
    let planned = || match request {
        Request::Export(options) => left_out::say(&shown.control, options.strict),
        Request::Remove(options) => left_out::say(&shown.control, options.strict),
        _ => Exit::Ok,
    };
    if args.dry_run {
        let would = if plan.is_empty { "" } else { "would " };
        report(
            json,
            &plan.json,
            &format!("{would}{}", plan.summary),
            &plan.lines,
        )?;
        return Ok(planned());
    }
    if plan.is_empty && !json {
        let exit = planned();
        if verbosity::quiet() {
            return Ok(exit);
        }
        report(false, &plan.json, &plan.summary, &plan.lines)?;
        return Ok(exit);
    }
    if !args.yes && !consent(name, request, &plan)? {
        verbosity::complain("declined: nothing was changed");
        return Ok(Exit::Ok);
    }
    let outcome = jobs::run(&store, &plan, &shown.control)?;
    let warned = match request {
        Request::Export(options) => left_out::say(&shown.control, options.strict),
        Request::Remove(options) => left_out::say(&shown.control, options.strict),
        _ => Exit::Ok,
    };
    drop(shown);
    // What went wrong is said all the same.
    if verbosity::quiet() && !json && outcome.severity == Severity::Healthy {
        return Ok(warned);
    }
    report(json, &outcome.json, &outcome.summary, &outcome.lines)?;
    Ok(match Exit::from(outcome.severity) {
        Exit::Ok => warned,
        other => other,
    })
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
    let mut out = out::stdout();
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
