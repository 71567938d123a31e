//! Maintenance commands: each shows its plan, asks where it must, runs it.

use color_eyre::eyre::{Result, bail};

use super::{CleanupArgs, ConsolidateArgs, Exit, MaintainArgs, RestoreArgs, ValidateArgs};

/// `evaltop consolidate`.
pub fn consolidate(_args: &ConsolidateArgs) -> Result<Exit> {
    bail!("consolidate is not there yet")
}

/// `evaltop cleanup`.
pub fn cleanup(_args: &CleanupArgs) -> Result<Exit> {
    bail!("cleanup is not there yet")
}

/// `evaltop backup`.
pub fn backup(_args: &MaintainArgs) -> Result<Exit> {
    bail!("backup is not there yet")
}

/// `evaltop restore`.
pub fn restore(_args: &RestoreArgs) -> Result<Exit> {
    bail!("restore is not there yet")
}

/// `evaltop validate`.
pub fn validate(_args: &ValidateArgs) -> Result<Exit> {
    bail!("validate is not there yet")
}
