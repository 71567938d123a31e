//! Sums of doubles that people wrote as decimals: money, scores, tokens.
//!
//! Where every value is a multiple of a billionth, the sum is one of integers, exact and the
//! same in any order: ten times 0.1 is 1. Values with more digits are added with a running
//! compensation (Neumaier 1974, ZAMM 54, 39–51), which loses less than the last digit.

use serde::{Deserialize, Serialize};

const UNITS: f64 = 1e9;
/// Beyond this a double has no billionths.
const LARGEST: f64 = 9e6;

/// A sum and the number of its values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DecimalSum {
    /// Values.
    pub n: u64,
    /// Billionths.
    units: i128,
    exact: bool,
    sum: f64,
    lost: f64,
}

impl Default for DecimalSum {
    fn default() -> Self {
        Self {
            n: 0,
            units: 0,
            exact: true,
            sum: 0.0,
            lost: 0.0,
        }
    }
}

impl DecimalSum {
    /// Adds a value; what is not a finite number counts for nothing.
    pub fn push(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        self.n += 1;
        match units(value) {
            Some(units) => self.units += units,
            None => self.exact = false,
        }
        self.compensate(value);
    }

    /// Adds a whole number.
    pub fn push_whole(&mut self, value: i64) {
        self.n += 1;
        self.units += i128::from(value) * UNITS as i128;
        self.compensate(value as f64);
    }

    /// Adds another sum.
    pub fn add(&mut self, other: &Self) {
        self.n += other.n;
        self.units += other.units;
        self.exact &= other.exact;
        self.compensate(other.sum);
        self.lost += other.lost;
    }

    fn compensate(&mut self, value: f64) {
        let sum = self.sum + value;
        self.lost += if self.sum.abs() >= value.abs() {
            self.sum - sum + value
        } else {
            value - sum + self.sum
        };
        self.sum = sum;
    }

    /// The sum.
    pub fn value(&self) -> f64 {
        if self.exact {
            // Digits, so that the nearest double is found in one rounding.
            let (whole, rest) = (self.units / UNITS as i128, self.units % UNITS as i128);
            let sign = if self.units < 0 { "-" } else { "" };
            let digits = format!("{sign}{}.{:09}", whole.unsigned_abs(), rest.unsigned_abs());
            return digits.parse().unwrap_or(self.sum + self.lost);
        }
        self.sum + self.lost
    }

    /// Billionths, where the sum is exact.
    pub fn billionths(&self) -> Option<i128> {
        self.exact.then_some(self.units)
    }

    /// The sum, where it is a whole number of 64 bits.
    pub fn whole(&self) -> Option<i64> {
        let (whole, rest) = (self.units / UNITS as i128, self.units % UNITS as i128);
        i64::try_from(whole)
            .ok()
            .filter(|_| self.exact && rest == 0)
    }

    /// The mean; `None` without values.
    pub fn mean(&self) -> Option<f64> {
        (self.n > 0).then(|| self.value() / self.n as f64)
    }
}

/// A value in billionths, where it is that many.
pub fn units(value: f64) -> Option<i128> {
    if value.abs() > LARGEST {
        return (value.fract() == 0.0 && value.abs() < 1e28).then(|| value as i128 * UNITS as i128);
    }
    let units = (value * UNITS).round();
    // Dividing gives back the double that is nearest to the decimal.
    #[allow(clippy::float_cmp)]
    let same = units / UNITS == value;
    same.then_some(units as i128)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn decimals_add_up_as_on_paper() {
        let mut sum = DecimalSum::default();
        (0..10).for_each(|_| sum.push(0.1));
        assert_eq!((sum.value(), sum.billionths()), (1.0, Some(1_000_000_000)));
        sum.push(0.2);
        sum.push(f64::NAN);
        assert_eq!((sum.value(), sum.n), (1.2, 11));
        sum.push(1e-12);
        assert_eq!(sum.billionths(), None);
        assert!((sum.value() - 1.2).abs() < 1e-11 && sum.value() > 1.2);
        let mut large = DecimalSum::default();
        large.push(1e300);
        large.push(-1e300);
        large.push(1.0);
        assert!((large.value() - 1.0).abs() < f64::EPSILON);
    }

    proptest! {
        #[test]
        fn money_is_exact_in_any_order(cents in prop::collection::vec(-1_000_000_i64..100_000_000, 0..300), split in 0_usize..300) {
            let value = |units: &i64| *units as f64 / 1e6;
            let split = split.min(cents.len());
            let (mut one, mut two) = (DecimalSum::default(), DecimalSum::default());
            cents[..split].iter().for_each(|units| one.push(value(units)));
            cents[split..].iter().rev().for_each(|units| two.push(value(units)));
            two.add(&one);
            let total: i64 = cents.iter().sum();
            prop_assert_eq!(two.billionths(), Some(i128::from(total) * 1_000));
            prop_assert_eq!(two.value().to_bits(), (total as f64 / 1e6 + 0.0).to_bits());
        }
    }
}
