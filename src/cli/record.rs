//! `record`: JSON lines to durable records.

use color_eyre::eyre::{Result, bail};

use super::{Exit, RecordArgs};

/// `evaltop record`.
pub fn run(_args: &RecordArgs) -> Result<Exit> {
    bail!("record is not there yet")
}
