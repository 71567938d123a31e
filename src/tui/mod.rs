//! The dashboard.

use color_eyre::eyre::{Result, bail};

use crate::config::Config;
use crate::store::Store;

/// What the dashboard is opened with.
#[derive(Debug, Clone)]
pub struct Options {
    /// The store; need not be there yet.
    pub store: Store,
    /// Thresholds, keys, theme.
    pub config: Config,
    /// Maintenance keys are off.
    pub readonly: bool,
    /// Planned number of tests.
    pub target: Option<u64>,
    /// Take the mouse.
    pub mouse: bool,
    /// Draw with ASCII only.
    pub ascii: bool,
    /// dark, light, high-contrast or colour-blind.
    pub theme: String,
    /// The first line of the activity pane, if any.
    pub greeting: Option<String>,
}

/// How the dashboard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Somebody quit.
    Quit,
    /// A signal, or the terminal vanished.
    Interrupted,
}

/// Shows the dashboard until somebody quits.
pub fn run(options: Options) -> Result<End> {
    bail!("the dashboard of {} is not there yet", options.store.layout.root().display())
}
