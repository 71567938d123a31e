//! `consolidate`: merges pending files into main.

use anyhow::Result;
use clap::Args;

use super::jobs::perform;
use super::{Exit, MaintainArgs};
use crate::jobs::{ConsolidateOptions, Request};

/// `evaltop consolidate`.
#[derive(Debug, Clone, Args)]
pub struct ConsolidateArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: MaintainArgs,
    /// Go on although main has fewer rows than the last commit left in it
    #[arg(long)]
    pub accept_main: bool,
    /// Move the summary rows of a legacy main into a file next to it, so that it takes in records
    /// (stop what writes summary rows first)
    #[arg(long)]
    pub convert_main: bool,
}

/// `evaltop consolidate`.
pub fn run(args: &ConsolidateArgs) -> Result<Exit> {
    perform("consolidate", &args.common, &request(args))
}

/// What the arguments ask for.
pub(super) fn request(args: &ConsolidateArgs) -> Request {
    Request::Consolidate(ConsolidateOptions {
        accept_main: args.accept_main,
        convert_main: args.convert_main,
        optimize: false,
    })
}
