//! What is measured: its name, which direction is better, and the range in which it lies.

use serde::{Deserialize, Serialize};

use super::paired::TIE;

/// Which values are better.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Larger ones.
    #[default]
    Higher,
    /// Smaller ones.
    Lower,
}

/// A numeric or boolean column, or an expression, whose mean is shown and compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The column or expression, as it was typed.
    pub name: String,
    /// Which direction is better.
    pub better: Better,
    /// The least and the greatest value that can be, where that is known.
    pub range: Option<(f64, f64)>,
}

impl Default for Metric {
    fn default() -> Self {
        Self::of("success")
    }
}

impl Metric {
    /// What is known of a column by its name alone.
    pub fn of(name: &str) -> Self {
        let (better, range) = match name {
            "success" | "partial_success" | "tool_coverage_rate" | "tool_success_rate" => {
                (Better::Higher, Some((0.0, 1.0)))
            }
            "execution_time" | "turns" | "tool_calls" | "cost" | "judge_cost" | "derived_cost"
            | "input_tokens" | "output_tokens" | "reasoning_tokens" | "cache_read_tokens"
            | "cache_write_tokens" => (Better::Lower, None),
            _ => (Better::Higher, None),
        };
        Self {
            name: name.to_owned(),
            better,
            range,
        }
    }

    /// Whether it is the success rate, which has its own tests and is shown in per cent.
    pub fn is_success(&self) -> bool {
        self.name == "success"
    }

    /// Whether it is money.
    fn is_money(&self) -> bool {
        matches!(self.name.as_str(), "cost" | "judge_cost" | "derived_cost")
    }

    /// A difference that is as good as none: 2 points, or 2 % of the range. `None` where the
    /// range is not known.
    pub fn tie(&self) -> Option<f64> {
        self.range.map(|(low, high)| TIE * (high - low))
    }

    /// A difference as far as it is for the better.
    pub fn gain(&self, difference: f64) -> f64 {
        match self.better {
            Better::Higher => difference,
            Better::Lower => -difference,
        }
    }

    /// A value's place in the range, 0 to 1; `None` where the range is not known.
    pub fn share(&self, value: f64) -> Option<f64> {
        let (low, high) = self.range?;
        Some(((value - low) / (high - low)).clamp(0.0, 1.0))
    }

    /// A value as people read it.
    pub fn show(&self, value: f64) -> String {
        if self.is_success() {
            return format!("{:.1}%", value * 100.0);
        }
        let money = if self.is_money() { "$" } else { "" };
        let sign = if value < 0.0 { "-" } else { "" };
        format!("{sign}{money}{}", digits(value.abs()))
    }

    /// A value in two significant digits, for a narrow column.
    pub fn brief(&self, value: f64) -> String {
        let size = value.abs().log10().floor();
        if value == 0.0 || !(-4.0..9.0).contains(&size) {
            return self.show(value);
        }
        let unit = 10_f64.powf(size - 1.0);
        self.show((value / unit).round() * unit)
    }

    /// A difference without its unit.
    pub fn signed(&self, difference: f64) -> String {
        if self.is_success() {
            return format!("{:+.1}", difference * 100.0);
        }
        let sign = if difference < 0.0 { "" } else { "+" };
        format!("{sign}{}", self.show(difference))
    }

    /// A difference with its unit.
    pub fn difference(&self, difference: f64) -> String {
        let unit = if self.is_success() { " points" } else { "" };
        format!("{}{unit}", self.signed(difference))
    }

    /// What a tie lies within, in words.
    pub fn within(&self) -> String {
        match self.tie() {
            _ if self.is_success() => "within ±2 points".to_owned(),
            Some(tie) => format!("within ±{}", self.show(tie)),
            None => "the same".to_owned(),
        }
    }
}

/// Four significant digits, and none for nothing.
pub fn digits(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let size = value.abs().log10().floor();
    if !(-6.0..15.0).contains(&size) {
        return format!("{value:.3e}");
    }
    let places = (3.0 - size).clamp(0.0, 9.0) as usize;
    let text = format!("{value:.places$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_differences_are_shown_in_their_unit() {
        let success = Metric::default();
        assert_eq!(
            (success.show(0.613), success.difference(-0.02)),
            ("61.3%".to_owned(), "-2.0 points".to_owned())
        );
        let score = Metric {
            range: Some((1.0, 10.0)),
            ..Metric::of("score")
        };
        assert_eq!(
            (score.show(7.25), score.difference(0.5), score.within()),
            (
                "7.25".to_owned(),
                "+0.5".to_owned(),
                "within ±0.18".to_owned()
            )
        );
        assert_eq!(
            (score.share(5.5), score.share(99.0)),
            (Some(0.5), Some(1.0))
        );
        let cost = Metric::of("cost");
        assert_eq!(
            (cost.show(0.004_123), cost.difference(-12.5), cost.tie()),
            ("$0.004123".to_owned(), "-$12.5".to_owned(), None)
        );
        assert_eq!(
            (score.brief(0.384_7), score.brief(0.0)),
            ("0.38".to_owned(), "0".to_owned())
        );
        assert!(cost.gain(-1.0) > 0.0 && score.gain(-1.0) < 0.0);
        assert_eq!(
            (digits(123_456.7), digits(1e-9), digits(100.0)),
            ("123457".to_owned(), "1.000e-9".to_owned(), "100".to_owned())
        );
    }
}
