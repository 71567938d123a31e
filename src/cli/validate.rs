//! `validate`: checks every file of a store, and mends what is safe to mend.

use anyhow::Result;
use clap::Args;

use super::jobs::perform;
use super::{Exit, MaintainArgs};
use crate::jobs::Request;

/// `evaltop validate`.
#[derive(Debug, Clone, Args)]
pub struct ValidateArgs {
    #[command(flatten)]
    #[allow(missing_docs)]
    pub common: MaintainArgs,
    /// Mend what can be mended safely
    #[arg(long)]
    pub repair: bool,
}

/// `evaltop validate`.
pub fn run(args: &ValidateArgs) -> Result<Exit> {
    let name = if args.repair {
        "validate --repair"
    } else {
        "validate"
    };
    perform(name, &args.common, &request(args))
}

/// What the arguments ask for.
pub(super) fn request(args: &ValidateArgs) -> Request {
    Request::Validate {
        repair: args.repair,
    }
}
