//! `remove`: takes rows out of the store on purpose.

use super::filter::FilterArgs;
use anyhow::Result;
use clap::Args;

use super::jobs::perform;
use super::progress::Shown;
use super::{Exit, MaintainArgs, Usage, dir};
use crate::jobs::{RemoveOptions, Request};
use crate::store::Control;
use crate::store::read::query::Filter;

/// `evaltop remove`.
#[derive(Debug, Clone, Args)]
pub struct RemoveArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: MaintainArgs,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
}

/// `evaltop remove`.
pub fn run(args: &RemoveArgs) -> Result<Exit> {
    let request = request(args, &Shown::new().control)?;
    perform("remove", &args.common, &request)
}

/// What the arguments ask for.
pub(super) fn request(args: &RemoveArgs, control: &Control) -> Result<Request> {
    let (store, _) = dir::existing(args.common.dir.as_deref())?;
    let filter = args.filter.filter_of(&store, control)?;
    if filter == Filter::default() {
        return Err(Usage(
            "say which rows: --where 'model = old', --model, --session, --since, … (query shows the same ones)"
                .to_owned(),
        )
        .into());
    }
    let strict = args.filter.strict;
    Ok(Request::Remove(RemoveOptions { filter, strict }))
}
