//! Settings: plain data with defaults, read from TOML. Flags beat the environment,
//! the environment beats `evaltop.toml` inside the store, that beats the user's file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// When the rules of `health` raise an alert.
    pub thresholds: Thresholds,
    /// How the dashboard looks.
    pub dashboard: Dashboard,
    /// Keys of the dashboard by action: `consolidate = ["c", "f5"]`. Checked by the
    /// dashboard's keymap, which refuses unknown actions, unknown keys and doubles.
    pub keys: BTreeMap<String, Vec<String>>,
}

/// How the dashboard looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dashboard {
    /// dark, light, high-contrast or colour-blind.
    pub theme: String,
    /// Draw with ASCII only.
    pub ascii: bool,
    /// Whether the dashboard takes the mouse.
    pub mouse: bool,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self { theme: "dark".to_owned(), ascii: false, mouse: true }
    }
}

/// When the rules of `health` raise an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Increment files: a warning above this number.
    pub increments_warning: u64,
    /// Increment files: critical above this number.
    pub increments_critical: u64,
    /// Bytes of increments: a warning above.
    pub bytes_warning: u64,
    /// Bytes of increments: critical above.
    pub bytes_critical: u64,
    /// Age of the oldest waiting row in seconds: a warning above.
    pub oldest_seconds: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            increments_warning: 100,
            increments_critical: 1_000,
            bytes_warning: 100 << 20,
            bytes_critical: 1 << 30,
            oldest_seconds: 3_600,
        }
    }
}
