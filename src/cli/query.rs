//! `query`: rows and tallies.

use color_eyre::eyre::{Result, bail};

use super::{Exit, QueryArgs};

/// `evaltop query`.
pub fn run(_args: &QueryArgs) -> Result<Exit> {
    bail!("query is not there yet")
}
