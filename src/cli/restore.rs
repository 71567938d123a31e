//! `restore`: brings a backup back as a new commit, or undoes the last one.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use super::jobs::perform;
use super::{Exit, MaintainArgs, dir};
use crate::jobs::{Request, RestoreOptions};

/// Backups that are named where one that was asked for is not there.
const NAMED: usize = 5;

/// `evaltop restore`.
#[derive(Debug, Clone, Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: MaintainArgs,
    /// The backup: a path, or a name inside backups/
    #[arg(long, value_name = "BACKUP", required_unless_present = "undo")]
    pub from: Option<PathBuf>,
    /// Bring back what the last operation replaced; what it had put into main is pending again
    #[arg(long, conflicts_with = "from")]
    pub undo: bool,
    /// Remove what the backup lacks instead of keeping it, pending rows too; a later attempt counts
    #[arg(long, alias = "discard-newer", conflicts_with = "undo")]
    pub exactly: bool,
}

/// `evaltop restore`.
pub fn run(args: &RestoreArgs) -> Result<Exit> {
    perform("restore", &args.common, &request(args)?)
}

/// What the arguments ask for.
pub(super) fn request(args: &RestoreArgs) -> Result<Request> {
    if let Some(from) = &args.from {
        let (store, _) = dir::existing(args.common.dir.as_deref())?;
        there_is(from, &store.layout.backups())?;
    }
    let options = RestoreOptions {
        from: args.from.clone(),
        exactly: args.exactly,
    };
    Ok(Request::Restore(options))
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
