//! Settings: plain data with defaults, read from TOML. Flags beat the environment,
//! the environment beats `evaltop.toml` inside the store, that beats the user's file.
//!
//! ```
//! use std::time::Duration;
//!
//! use evaltop::internals::config::{parse_duration, parse_size, show_duration};
//!
//! assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
//! assert_eq!(parse_size("100MiB"), Ok(100 << 20));
//! assert_eq!(show_duration(7_380.0), "2h03");
//! assert!(parse_duration("soon").is_err());
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize};

use crate::stats::metric::{Better, Metric};
use crate::stats::prices::Prices;

mod load;
mod notify;
mod prices;

pub use crate::text::suggest::{did_you_mean, nearest};
pub use crate::text::units::{
    parse_duration, parse_size, show_count, show_counted, show_duration, show_exact, show_size,
};
pub use load::ConfigError;
pub use notify::{Desktop, Level, Notify};

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
    /// Who is notified when an alert appears or clears.
    pub notify: Notify,
    /// How the log of a test is opened.
    pub log: Log,
    /// Direction and range of metrics by column: `[metrics.score]`, `better = "higher"`,
    /// `range = [1, 10]`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metrics: BTreeMap<String, MetricSettings>,
    /// Files with prices of tokens, for tests that bring no cost; relative to the settings that
    /// name them.
    #[serde(deserialize_with = "paths", skip_serializing_if = "Vec::is_empty")]
    pub prices: Vec<PathBuf>,
    /// What all tests may cost, in dollars: an alert at it, and when the forecast exceeds it.
    #[serde(deserialize_with = "budget", skip_serializing_if = "Option::is_none")]
    pub budget: Option<f64>,
    /// Tests that are planned in all, where a flag says so.
    #[serde(skip)]
    pub target: Option<u64>,
    /// What those files say.
    #[serde(skip)]
    pub price_table: Arc<Prices>,
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
    /// Direction and range of a metric: as the settings say, else as its name suggests.
    pub fn metric(&self, name: &str) -> Metric {
        let mut metric = Metric::of(name);
        if let Some(own) = self.metrics.get(name).filter(|_| !metric.is_success()) {
            metric.better = own.better.unwrap_or(metric.better);
            metric.range = own.range.map(|[low, high]| (low, high)).or(metric.range);
        }
        metric
    }

    /// Takes in the prices of one more file.
    pub fn add_prices(&mut self, path: &Path) -> Result<(), ConfigError> {
        let prices = prices::read(path)?;
        Arc::make_mut(&mut self.price_table).extend(prices);
        Ok(())
    }

    /// Zone of times without one.
    pub fn zone(&self) -> TimeZone {
        let named = self
            .time_zone
            .as_deref()
            .and_then(|name| TimeZone::get(name).ok());
        named.unwrap_or_else(TimeZone::system)
    }
}

/// What the settings say of a metric.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricSettings {
    /// Which direction is better; guessed by the column's name where it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub better: Option<Better>,
    /// The least and the greatest value that can be.
    #[serde(deserialize_with = "range", skip_serializing_if = "Option::is_none")]
    pub range: Option<[f64; 2]>,
}

/// One path or several.
fn paths<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a file's name, or a list of them")]
    enum Paths {
        One(PathBuf),
        Several(Vec<PathBuf>),
    }
    Ok(match Paths::deserialize(from)? {
        Paths::One(path) => vec![path],
        Paths::Several(paths) => paths,
    })
}

fn budget<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    match Option::<f64>::deserialize(from)? {
        Some(budget) if !(budget > 0.0 && budget.is_finite()) => Err(serde::de::Error::custom(
            format!("{budget} is not a budget: write dollars, more than 0"),
        )),
        budget => Ok(budget),
    }
}

fn range<'de, D: Deserializer<'de>>(from: D) -> Result<Option<[f64; 2]>, D::Error> {
    let range = Option::<[f64; 2]>::deserialize(from)?;
    match range {
        Some([low, high]) if !(low < high && low.is_finite() && high.is_finite()) => {
            Err(serde::de::Error::custom(format!(
                "[{low}, {high}] is not a range: write the least value, then the greatest one"
            )))
        }
        range => Ok(range),
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
    /// Loss of this machine: it is in the mailbox. Only mailboxes can promise that.
    #[serde(skip)]
    Remote,
}

/// How often the store is scanned, next to the hints of the file system.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Refresh {
    /// Seconds between two scans while rows arrive.
    #[serde(rename = "busy", with = "crate::text::units::duration")]
    pub busy_seconds: u64,
    /// Seconds between two scans while nothing happens.
    #[serde(rename = "idle", with = "crate::text::units::duration")]
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

/// How the log of a test is opened.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A program and its arguments, run without a shell; the log is the argument `{}`, or the last
    /// one. Without it the dashboard shows the text itself. Taken from the user's own settings only.
    pub open: Vec<String>,
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
    #[serde(with = "crate::text::units::size")]
    pub bytes_warning: u64,
    /// Bytes of increments: critical above.
    #[serde(with = "crate::text::units::size")]
    pub bytes_critical: u64,
    /// Age of the oldest waiting row in seconds: a warning above.
    #[serde(rename = "oldest", with = "crate::text::units::duration")]
    pub oldest_seconds: u64,
    /// The least silence in seconds after which a writer is quiet; five times its
    /// usual gap where that is longer.
    #[serde(rename = "stalled", with = "crate::text::units::duration")]
    pub stalled_seconds: u64,
    /// How far in the future, in seconds, a file may be.
    #[serde(rename = "future", with = "crate::text::units::duration")]
    pub future_seconds: u64,
    /// Rows that replace others, in per cent of an hour's rows: a warning above.
    pub superseding_percent: f64,
    /// Throughput over five minutes, in per cent of the last hour's median: a warning
    /// below, while writers live.
    pub slow_percent: f64,
    /// Free share of the file system in per cent: a warning below.
    pub disk_percent: f64,
    /// Free bytes of the file system: a warning below.
    #[serde(with = "crate::text::units::size")]
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
        "'{name}' is not a theme: use {}",
        THEMES.join(", ")
    )))
}

fn zone_name<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let name = Option::<String>::deserialize(from)?;
    match name.as_deref().map(TimeZone::get) {
        Some(Err(_)) => Err(serde::de::Error::custom(format!(
            "'{}' is not a time zone: use a name such as Europe/Berlin or UTC",
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
