//! Money as whole numbers of billionths of a dollar, so that adding and taking out in any order
//! gives the same total to the last digit, and counts of tokens.

use serde::{Deserialize, Serialize};

/// Billionths of a dollar.
pub const BILLION: i128 = 1_000_000_000;
/// Amounts beyond this are no costs of tests; they are cut.
const LARGEST: f64 = 1e12;

/// What tests cost, as their rows say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Money {
    /// Tests with a cost.
    pub n: u64,
    /// The sum in billionths.
    pub billionths: i128,
}

impl Money {
    /// Adds one cost in dollars; what is not a finite number counts for nothing.
    #[inline]
    pub fn push(&mut self, dollars: f64) {
        if dollars.is_finite() {
            self.n = self.n.saturating_add(1);
            self.billionths = self.billionths.saturating_add(billionths(dollars));
        }
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        self.billionths = self.billionths.saturating_add(other.billionths);
    }

    /// Takes out what was added before.
    pub fn subtract(&mut self, other: &Self) {
        self.n = self.n.saturating_sub(other.n);
        self.billionths = self.billionths.saturating_sub(other.billionths);
    }
}

/// A cost in billionths, rounded half away from zero.
pub fn billionths(dollars: f64) -> i128 {
    (dollars.clamp(-LARGEST, LARGEST) * BILLION as f64).round() as i128
}

/// Billionths as the nearest double in dollars.
pub fn dollars(billionths: i128) -> f64 {
    // Digits, so that there is one rounding.
    let sign = if billionths < 0 { "-" } else { "" };
    let (whole, rest) = (billionths / BILLION, billionths % BILLION);
    let digits = format!("{sign}{}.{:09}", whole.unsigned_abs(), rest.unsigned_abs());
    digits.parse().unwrap_or(0.0)
}

/// Tokens of tests, as their rows count them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Tests that say how many.
    pub n: u64,
    /// Input that no cache served.
    pub input: u64,
    /// Output, reasoning included.
    pub output: u64,
    /// Reasoning, a part of the output.
    pub reasoning: u64,
    /// Input that a cache served.
    pub cache_read: u64,
    /// Input that a cache took in.
    pub cache_write: u64,
}

impl Tokens {
    /// All but the reasoning, which the output has.
    pub fn total(&self) -> u64 {
        let parts = [self.input, self.output, self.cache_read, self.cache_write];
        parts.into_iter().fold(0, u64::saturating_add)
    }

    /// Adds others.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    /// Takes out what was added before.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, u64::saturating_sub);
    }

    fn combine(&mut self, other: &Self, with: fn(u64, u64) -> u64) {
        self.n = with(self.n, other.n);
        self.input = with(self.input, other.input);
        self.output = with(self.output, other.output);
        self.reasoning = with(self.reasoning, other.reasoning);
        self.cache_read = with(self.cache_read, other.cache_read);
        self.cache_write = with(self.cache_write, other.cache_write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A million costs come and half of them go again, in another order: what is left is exact.
    #[test]
    fn a_million_costs_added_and_superseded_leave_the_exact_total() {
        let mut state = 88_172_645_463_325_252_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let costs: Vec<u64> = (0..1_000_000).map(|_| random() % 3_000_000_000).collect();
        // As rows hold them: doubles.
        let of = |units: u64| units as f64 / BILLION as f64;
        let mut sum = Money::default();
        let mut halves = [Money::default(); 2];
        for (at, units) in costs.iter().enumerate() {
            sum.push(of(*units));
            halves[at % 2].push(of(*units));
        }
        for units in costs.iter().rev().step_by(2) {
            let mut gone = Money::default();
            gone.push(of(*units));
            sum.subtract(&gone);
        }
        let expected: u64 = costs.iter().rev().skip(1).step_by(2).sum();
        assert_eq!((sum.n, sum.billionths), (500_000, i128::from(expected)));
        halves[0].subtract(&halves[0].clone());
        assert_eq!(halves[0], Money::default());
        assert_eq!(dollars(sum.billionths).to_string(), {
            let (whole, rest) = (expected / 1_000_000_000, expected % 1_000_000_000);
            format!("{whole}.{rest:09}")
                .trim_end_matches('0')
                .to_owned()
        });
    }

    #[test]
    fn what_is_no_amount_counts_for_nothing() {
        let mut sum = Money::default();
        for value in [f64::NAN, f64::INFINITY] {
            sum.push(value);
        }
        assert_eq!(sum, Money::default());
        (0..10).for_each(|_| sum.push(0.1));
        assert_eq!((sum.billionths, dollars(sum.billionths)), (BILLION, 1.0));
        assert_eq!((dollars(-1), dollars(-1_500_000_000)), (-1e-9, -1.5));
    }
}
