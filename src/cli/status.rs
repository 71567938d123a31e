//! `status`: one look at a store.

use color_eyre::eyre::{Result, bail};

use super::{Exit, StatusArgs};

/// `evaltop status`.
pub fn run(_args: &StatusArgs) -> Result<Exit> {
    bail!("status is not there yet")
}
