//! `import` and `export`.

use color_eyre::eyre::{Result, bail};

use super::{Exit, ExportArgs, ImportArgs};

/// `evaltop import`.
pub fn import(_args: &ImportArgs) -> Result<Exit> {
    bail!("import is not there yet")
}

/// `evaltop export`.
pub fn export(_args: &ExportArgs) -> Result<Exit> {
    bail!("export is not there yet")
}
