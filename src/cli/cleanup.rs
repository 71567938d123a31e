//! `cleanup`: removes leftovers of a store, or the stores of logs in the cache.

use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use jiff::SignedDuration;

use super::jobs::perform;
use super::{Exit, MaintainArgs, Usage, verbosity};
use crate::config::parse_duration;
use crate::jobs::{CleanupOptions, Request};
use crate::sources::cache;
use crate::text::units::show_size;

/// `evaltop cleanup`.
#[derive(Debug, Clone, Args)]
pub struct CleanupArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: MaintainArgs,
    /// Remove quarantined files older than this: 30s, 5m, 2h, 7d
    #[arg(long, value_name = "AGE", default_value = "7d")]
    pub older_than: String,
    /// Keep this many backups
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub keep: usize,
    /// Also remove increments that were never merged: their results are lost
    #[arg(long)]
    pub include_unconsolidated: bool,
    /// Instead, remove the stores of logs that were opened with 'evaltop PATH'
    #[arg(long)]
    pub cache: bool,
}

/// `evaltop cleanup`.
pub fn run(args: &CleanupArgs) -> Result<Exit> {
    if args.cache {
        let root = cache::root()?;
        let said = if args.common.dry_run {
            format!("would remove {}", root.display())
        } else {
            let size = show_size(cache::clear()?);
            format!("removed {size} from {}", root.display())
        };
        if !verbosity::quiet() {
            writeln!(io::stdout().lock(), "{said}")?;
        }
        return Ok(Exit::Ok);
    }
    perform("cleanup", &args.common, &request(args)?)
}

/// What the arguments ask for.
pub(super) fn request(args: &CleanupArgs) -> Result<Request> {
    let older_than =
        parse_duration(&args.older_than).map_err(|why| Usage(format!("--older-than: {why}")))?;
    let options = CleanupOptions {
        older_than: SignedDuration::try_from(older_than).unwrap_or(SignedDuration::MAX),
        keep: args.keep,
        include_unconsolidated: args.include_unconsolidated,
    };
    Ok(Request::Cleanup(options))
}
