//! The cell that a test belongs to: its model and the four other dimensions.
//! Tallies are kept by cell, and two attempts at one test share their cell.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name under which rows without a value for a dimension are grouped.
pub const UNKNOWN: &str = "unknown";

/// A rate rounded to four decimals, so that 0.8 stored as `f32`
/// (0.800000011920929) and as `f64` are one and the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "f64", from = "f64")]
pub struct Rate(i64);

impl Rate {
    /// Rounds to four decimals; `None` for NaN and infinities, which mean "absent".
    pub fn new(value: f64) -> Option<Self> {
        value
            .is_finite()
            .then(|| Self((value * 1e4).round() as i64))
    }

    /// The rounded rate.
    pub fn get(self) -> f64 {
        self.0 as f64 / 1e4
    }
}

impl From<Rate> for f64 {
    fn from(rate: Rate) -> Self {
        rate.get()
    }
}

impl From<f64> for Rate {
    fn from(value: f64) -> Self {
        Self::new(value).unwrap_or(Self(0))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.get())
    }
}

/// Model and the four other dimensions; missing text is [`UNKNOWN`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cell {
    /// The model under test.
    pub model: Arc<str>,
    /// How the task was put to the model.
    pub prompt_type: Arc<str>,
    /// The share of tool calls that the environment lets succeed.
    pub tool_success_rate: Option<Rate>,
    /// The difficulty of the task.
    pub difficulty: Arc<str>,
    /// The kind of task.
    pub task_type: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_and_double_precision_are_one_rate() {
        assert_eq!(Rate::new(f64::from(0.8_f32)), Rate::new(0.8));
        assert_eq!(
            Rate::new(0.8).map(|rate| rate.to_string()),
            Some("0.8".to_owned())
        );
        assert_eq!(
            Rate::new(1.0).map(|rate| rate.to_string()),
            Some("1".to_owned())
        );
        assert_ne!(Rate::new(0.8), Rate::new(0.8001));
    }

    #[test]
    fn what_is_no_number_is_no_rate() {
        assert_eq!(Rate::new(f64::NAN), None);
        assert_eq!(Rate::new(f64::INFINITY), None);
    }

    #[test]
    fn a_cell_survives_json() {
        let cell = Cell {
            model: "a \"model\"".into(),
            prompt_type: UNKNOWN.into(),
            tool_success_rate: Rate::new(0.95),
            difficulty: "easy".into(),
            task_type: "simple_task".into(),
        };
        let text = serde_json::to_string(&cell).unwrap();
        assert!(text.contains("0.95"));
        assert_eq!(serde_json::from_str::<Cell>(&text).unwrap(), cell);
    }
}
