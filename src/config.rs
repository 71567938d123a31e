//! Settings: plain data with defaults, read from TOML. Flags beat the environment,
//! the environment beats `evaltop.toml` inside the store, that beats the user's file.
//!
//! ```
//! use std::time::Duration;
//!
//! use evaltop::config::{parse_duration, parse_size, show_duration};
//!
//! assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
//! assert_eq!(parse_size("100MiB"), Ok(100 << 20));
//! assert_eq!(show_duration(7_380.0), "2h03");
//! assert!(parse_duration("soon").is_err());
//! ```

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

mod load;
mod near;
mod notify;
mod units;

pub use load::{ConfigError, STORE_FILE};
pub use near::{did_you_mean, nearest};
pub use notify::{Desktop, Level, Notify};
pub use units::{
    parse_duration, parse_size, show_count, show_counted, show_duration, show_exact, show_size,
};

/// The colour schemes of the dashboard.
pub const THEMES: [&str; 4] = ["dark", "light", "high-contrast", "colour-blind"];

/// All settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Zone of times without one in legacy files, such as "Europe/Berlin"; the system's by default.
    #[serde(
        deserialize_with = "zone_name",
        skip_serializing_if = "Option::is_none"
    )]
    pub time_zone: Option<String>,
    /// What an acknowledged record survives.
    pub durability: Durability,
    /// When the rules of `health` raise an alert.
    pub thresholds: Thresholds,
    /// How often the store is scanned.
    pub refresh: Refresh,
    /// How the dashboard looks.
    pub dashboard: Dashboard,
    /// Who is told when an alert appears or clears.
    pub notify: Notify,
    /// Keys of the dashboard by action: `consolidate = "c"` or `["c", "f5"]`. Checked by
    /// the dashboard's keymap, which refuses unknown actions, unknown keys and doubles.
    #[serde(deserialize_with = "keys")]
    pub keys: BTreeMap<String, Vec<String>>,
    /// File and line of each key that a file sets.
    #[serde(skip)]
    places: BTreeMap<String, String>,
    /// Settings that were passed over, a sentence each.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

impl Config {
    /// Zone of times without one.
    pub fn zone(&self) -> TimeZone {
        let named = self
            .time_zone
            .as_deref()
            .and_then(|name| TimeZone::get(name).ok());
        named.unwrap_or_else(TimeZone::system)
    }
}

/// What an acknowledged record survives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// The death of any process.
    #[default]
    Process,
    /// Loss of power.
    Disk,
}

/// How often the store is scanned, beside the hints of the file system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Refresh {
    /// Seconds between two scans while rows arrive.
    #[serde(rename = "busy", with = "units::duration")]
    pub busy_seconds: u64,
    /// Seconds between two scans while nothing happens.
    #[serde(rename = "idle", with = "units::duration")]
    pub idle_seconds: u64,
}

impl Default for Refresh {
    fn default() -> Self {
        Self {
            busy_seconds: 5,
            idle_seconds: 60,
        }
    }
}

/// How the dashboard looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dashboard {
    /// One of [`THEMES`].
    #[serde(deserialize_with = "theme")]
    pub theme: String,
    /// Whether colours are used at all (`NO_COLOR` turns them off too).
    pub color: bool,
    /// Draw with ASCII only.
    pub ascii: bool,
    /// Whether the dashboard takes the mouse.
    pub mouse: bool,
}

impl Default for Dashboard {
    fn default() -> Self {
        Self {
            theme: "dark".to_owned(),
            color: true,
            ascii: false,
            mouse: true,
        }
    }
}

/// When the rules of `health` raise an alert. Counts, sizes and ages alarm above,
/// free space below.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Thresholds {
    /// Increment files: a warning above this number.
    pub increments_warning: u64,
    /// Increment files: critical above this number.
    pub increments_critical: u64,
    /// Bytes of increments: a warning above.
    #[serde(with = "units::size")]
    pub bytes_warning: u64,
    /// Bytes of increments: critical above.
    #[serde(with = "units::size")]
    pub bytes_critical: u64,
    /// Age of the oldest waiting row in seconds: a warning above.
    #[serde(rename = "oldest", with = "units::duration")]
    pub oldest_seconds: u64,
    /// The least silence in seconds after which a writer is quiet; five times its
    /// usual gap where that is longer.
    #[serde(rename = "stalled", with = "units::duration")]
    pub stalled_seconds: u64,
    /// How far in the future, in seconds, a file may be.
    #[serde(rename = "future", with = "units::duration")]
    pub future_seconds: u64,
    /// Rows that replace others, in per cent of an hour's rows: a warning above.
    pub superseding_percent: f64,
    /// Throughput over five minutes, in per cent of the last hour's median: a warning
    /// below, while writers live.
    pub slow_percent: f64,
    /// Free share of the file system in per cent: a warning below.
    pub disk_percent: f64,
    /// Free bytes of the file system: a warning below.
    #[serde(with = "units::size")]
    pub disk_bytes: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            increments_warning: 100,
            increments_critical: 1_000,
            bytes_warning: 100 << 20,
            bytes_critical: 1 << 30,
            oldest_seconds: 3_600,
            stalled_seconds: 60,
            future_seconds: 300,
            superseding_percent: 1.0,
            slow_percent: 20.0,
            disk_percent: 10.0,
            disk_bytes: 1 << 30,
        }
    }
}

fn theme<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let name = String::deserialize(from)?;
    if THEMES.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(serde::de::Error::custom(format!(
        "'{name}' is no theme: use {}",
        THEMES.join(", ")
    )))
}

fn zone_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    match name.as_deref().map(TimeZone::get) {
        Some(Err(_)) => Err(serde::de::Error::custom(format!(
            "'{}' is no time zone: use a name such as Europe/Berlin or UTC",
            name.unwrap_or_default()
        ))),
        _ => Ok(name),
    }
}

/// One key or several.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "a key is a text such as \"c\", or a list of them"
)]
enum Keys {
    One(String),
    Several(Vec<String>),
}

fn keys<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, Vec<String>>, D::Error> {
    let written = BTreeMap::<String, Keys>::deserialize(from)?;
    Ok(written
        .into_iter()
        .map(|(action, keys)| match keys {
            Keys::One(key) => (action, vec![key]),
            Keys::Several(keys) => (action, keys),
        })
        .collect())
}
