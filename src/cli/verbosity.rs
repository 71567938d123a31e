//! How much a command says beside what it was asked for: `--quiet` and `--verbose`,
//! which every command takes. Errors are always said.

use std::io::{self, Write};
use std::sync::OnceLock;

use clap::Args;

use crate::text::sanitise::sanitise;

/// The flags, before or after the command's name.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct LoudnessArgs {
    /// Say nothing but errors and what was asked for
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Everywhere"
    )]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true, help_heading = "Everywhere")]
    pub verbose: bool,
}

static CHOSEN: OnceLock<LoudnessArgs> = OnceLock::new();

/// Remembers what was typed, once a process.
pub(crate) fn choose(args: LoudnessArgs) {
    // Only the first command line of a process counts.
    let _ = CHOSEN.set(args);
}

/// Whether progress, notes and summaries are left out.
pub(crate) fn quiet() -> bool {
    CHOSEN.get().is_some_and(|chosen| chosen.quiet)
}

/// Says on stderr what is wrong. Where nobody listens any more, the work goes on.
pub(crate) fn complain(sentence: &str) {
    let _ = writeln!(io::stderr(), "evaltop: {}", sanitise(sentence));
}

/// Whether more is said.
pub(crate) fn verbose() -> bool {
    CHOSEN.get().is_some_and(|chosen| chosen.verbose)
}
