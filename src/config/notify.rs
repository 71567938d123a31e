//! Who hears of it when an alert appears or clears, next to the screen.

use serde::{Deserialize, Serialize};

use crate::text::units;

/// Who is notified when an alert appears or clears.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Notify {
    /// The least severity that is reported.
    pub least: Level,
    /// Ring the terminal's bell when an alert appears.
    pub bell: bool,
    /// Ask the terminal for a desktop notification.
    pub desktop: Desktop,
    /// A program and its arguments, run without a shell, with JSON on stdin. Taken from
    /// the user's own settings only: opening somebody's store must not run a program.
    pub hook: Vec<String>,
    /// Seconds after which a hook that has not ended is killed.
    #[serde(with = "units::duration", rename = "hook_timeout")]
    pub hook_timeout_seconds: u64,
    /// The least time in seconds between two messages; what happens in between is reported together.
    #[serde(with = "units::duration", rename = "every")]
    pub every_seconds: u64,
    /// Seconds for which a snoozed alert is silent.
    #[serde(with = "units::duration", rename = "snooze")]
    pub snooze_seconds: u64,
}

impl Default for Notify {
    fn default() -> Self {
        Self {
            least: Level::Warning,
            bell: true,
            desktop: Desktop::Off,
            hook: Vec::new(),
            hook_timeout_seconds: 30,
            every_seconds: 60,
            snooze_seconds: 3_600,
        }
    }
}

/// How bad an alert has to be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Warnings and worse.
    #[default]
    Warning,
    /// Only what is critical.
    Critical,
}

/// The escape sequence that the terminal takes as a notification.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Desktop {
    /// None.
    #[default]
    Off,
    /// OSC 9: iTerm2, kitty, WezTerm, Ghostty, Windows Terminal.
    Osc9,
    /// OSC 777: urxvt, foot, WezTerm, Ghostty, VTE.
    Osc777,
}
