//! `demo`: a realistic live store under the dashboard.

use color_eyre::eyre::{Result, bail};

use super::{DemoArgs, DemoWriterArgs, Exit};

/// `evaltop demo`.
pub fn run(_args: &DemoArgs) -> Result<Exit> {
    bail!("demo is not there yet")
}

/// One writer process of the demo.
pub fn writer(_args: &DemoWriterArgs) -> Result<Exit> {
    bail!("demo is not there yet")
}
