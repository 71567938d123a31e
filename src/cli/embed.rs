//! The commands as values, for a program that holds this one, such as the Python module: the
//! same arguments, and results instead of printed text.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Result;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use clap::FromArgMatches;
use jiff::Timestamp;

use super::{Cli, Command, Usage, compare, dir, export, help, missing, query, report, status};
use crate::jobs::{self, Request};
use crate::monitor::{Monitor, StoreState};
use crate::sources;
use crate::store::{Control, Error};

/// The words of a command line, without the program's name, as its command.
fn parse(args: Vec<OsString>) -> Result<Command> {
    let words = std::iter::once(OsString::from("evaltop")).chain(args);
    let parsed = help::command()
        .try_get_matches_from(words)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = parsed.map_err(|error| {
        let said = error.to_string();
        // The first paragraph: usage and hints are for the command line.
        let first = said.lines().take_while(|line| !line.is_empty());
        let first: Vec<&str> = first.map(str::trim).collect();
        Usage(first.join(" ").trim_start_matches("error: ").to_owned())
    })?;
    cli.command
        .ok_or_else(|| Usage("a command is missing".to_owned()).into())
}

/// `evaltop status DIR --format json`. Never changes the store.
pub fn status(dir: &Path) -> Result<String> {
    let (store, config) = dir::existing_view(Some(dir))?;
    let seen = Monitor::new(store, config).observe(Timestamp::now());
    if let StoreState::Unreadable(sentence) = &seen.state {
        return Err(Error::Refused(sentence.clone()).into());
    }
    Ok(status::json::render(&seen))
}

/// `evaltop query ARGS…`: rows, or groups with `--group-by`. Never changes the store.
pub fn query(args: Vec<OsString>, control: &Control) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let words = std::iter::once(OsString::from("query")).chain(args);
    match parse(words.collect())? {
        Command::Query(args) => query::batches(&args, control),
        _ => Err(Usage("a query was expected".to_owned()).into()),
    }
}

/// `evaltop compare ARGS… --format json`: the document, and the number that the command would end
/// with (30 where a gate fails).
pub fn compare(args: Vec<OsString>, control: &Control) -> Result<(String, u8)> {
    let words = ["compare", "--format", "json"].map(OsString::from);
    match parse(words.into_iter().chain(args).collect())? {
        Command::Compare(args) => {
            let (text, exit) = compare::rendered(&args, control)?;
            Ok((text, exit.code()))
        }
        _ => Err(Usage("a comparison was expected".to_owned()).into()),
    }
}

/// `evaltop missing ARGS…`: the missing tests of a plan as a JSON array. Never changes the store.
pub fn missing(args: Vec<OsString>, control: &Control) -> Result<String> {
    let words = std::iter::once(OsString::from("missing")).chain(args);
    match parse(words.collect())? {
        Command::Missing(args) => {
            let lines = missing::lines(&args, control)?;
            Ok(serde_json::Value::Array(lines).to_string())
        }
        _ => Err(Usage("a plan was expected".to_owned()).into()),
    }
}

/// `evaltop import FILE --into DIR`: the number of new rows.
pub fn import(dir: &Path, file: &Path, control: &Control) -> Result<u64> {
    let (store, _) = dir::open(Some(dir))?;
    let options = sources::Options::default();
    let report = sources::import(&store, file, &options, Timestamp::now(), control)?;
    Ok(report.new)
}

/// `evaltop report ARGS…`: writes the file. Never changes the store.
pub fn report(args: Vec<OsString>, control: &Control) -> Result<()> {
    let words = std::iter::once(OsString::from("report")).chain(args);
    match parse(words.collect())? {
        Command::Report(args) => report::write(&args, control),
        _ => Err(Usage("a report was expected".to_owned()).into()),
    }
}

/// A maintenance command (`consolidate`, `cleanup`, `backup`, `restore`, `remove`, `validate`, `export`)
/// with its arguments; its outcome as JSON. Calling it is the consent that a terminal is asked
/// for. With `--dry-run`, the plan.
pub fn job(args: Vec<OsString>, control: &Control) -> Result<String> {
    let (request, common) = match parse(args)? {
        Command::Export(args) if export::is_delta(&args) => {
            return Ok(export::export_table(&args, control)?.1.to_string());
        }
        Command::Consolidate(args) => (super::consolidate::request(&args), args.common),
        Command::Cleanup(args) => (super::cleanup::request(&args)?, args.common),
        Command::Backup(args) if args.to.is_none() => (Request::Backup, args.common),
        Command::Restore(args) => (super::restore::request(&args)?, args.common),
        Command::Remove(args) => (super::remove::request(&args, control)?, args.common),
        Command::Validate(args) => (super::validate::request(&args), args.common),
        Command::Export(args) => export::export_request(&args)?,
        _ => return Err(Usage("this command is not a job".to_owned()).into()),
    };
    let (store, _) = match request {
        Request::Export(_) => dir::existing_view(common.dir.as_deref())?,
        _ => dir::existing(common.dir.as_deref())?,
    };
    let plan = jobs::plan(&store, &request, control)?;
    if common.dry_run || plan.is_empty {
        return Ok(plan.json.to_string());
    }
    Ok(jobs::run(&store, &plan, control)?.json.to_string())
}

/// Batches as they come, until the work is cancelled.
pub(super) fn collected(
    batches: impl Iterator<Item = crate::store::Result<RecordBatch>>,
    control: &Control,
) -> Result<Vec<RecordBatch>> {
    let mut all = Vec::new();
    for batch in batches {
        control.check()?;
        all.push(batch?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_argument_is_one_sentence_that_names_it() {
        let words = ["query", "store", "--agg", "count()"];
        let error = parse(words.iter().map(OsString::from).collect()).unwrap_err();
        let said = error.to_string();
        assert!(
            said.contains("not provided: --group-by") && !said.contains('\n'),
            "{said}"
        );
    }
}
