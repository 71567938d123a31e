//! `watch`: the dashboard.

use color_eyre::eyre::{Result, bail};

use super::{Exit, WatchArgs};

/// `evaltop watch`.
pub fn run(_args: &WatchArgs) -> Result<Exit> {
    bail!("watch is not there yet")
}
