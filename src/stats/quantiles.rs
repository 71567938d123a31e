//! Quantiles of any numbers, mergeable, in bounded memory: exact while there are few values,
//! else to within 0.5 % of the value.
//!
//! Beyond [`EXACT`] values they fall into buckets that grow by a factor γ = (1+α)/(1−α),
//! each known by 2γⁱ/(γ+1), which is within α of everything in it (Masson, Rim and Lee 2019,
//! "DDSketch", PVLDB 12, section 2.1). Between neighbours in rank the value is interpolated
//! linearly (Hyndman and Fan 1996, The American Statistician 50, definition 7).

use foldhash::{HashMap, HashMapExt};

/// So many values are kept as they are.
pub const EXACT: usize = 8_192;
/// What a value may be off beyond that, as a share of it.
const ALPHA: f64 = 0.005;
/// Values closer to 0 are 0.
const SMALLEST: f64 = 1e-12;

/// Values, or counts of their buckets.
#[derive(Debug, Clone)]
pub enum Quantiles {
    /// The values, in any order.
    Exact(Vec<f64>),
    /// Counts by bucket: 0 for zero, its sign is that of the values.
    Coarse(HashMap<i32, u64>),
}

impl Default for Quantiles {
    fn default() -> Self {
        Self::Exact(Vec::new())
    }
}

impl Quantiles {
    /// Takes in a value; NaN and infinities are left out.
    pub fn add(&mut self, value: f64) {
        if !value.is_finite() {
            return;
        }
        match self {
            Self::Exact(values) => {
                values.push(value);
                if values.len() > EXACT {
                    self.coarsen();
                }
            }
            Self::Coarse(counts) => *counts.entry(bucket(value)).or_insert(0) += 1,
        }
    }

    /// Takes in all of another one.
    pub fn merge(&mut self, other: Self) {
        match other {
            Self::Exact(values) => values.into_iter().for_each(|value| self.add(value)),
            Self::Coarse(more) => {
                self.coarsen();
                if let Self::Coarse(counts) = self {
                    for (bucket, times) in more {
                        *counts.entry(bucket).or_insert(0) += times;
                    }
                }
            }
        }
    }

    /// Keeps buckets only.
    pub fn coarsen(&mut self) {
        if let Self::Exact(values) = self {
            let mut counts = HashMap::new();
            for value in values.drain(..) {
                *counts.entry(bucket(value)).or_insert(0) += 1;
            }
            *self = Self::Coarse(counts);
        }
    }

    /// Whether quantiles are those of the values themselves.
    pub fn is_exact(&self) -> bool {
        matches!(self, Self::Exact(_))
    }

    /// The values below which these shares of all values lie; `None` without values.
    pub fn quantiles(&self, shares: &[f64]) -> Vec<Option<f64>> {
        let mut sorted: Vec<(f64, u64)> = match self {
            Self::Exact(values) => values.iter().map(|value| (*value, 1)).collect(),
            Self::Coarse(counts) => counts
                .iter()
                .map(|(bucket, times)| (middle(*bucket), *times))
                .collect(),
        };
        sorted.sort_unstable_by(|(one, _), (other, _)| one.total_cmp(other));
        // How many values there are up to each.
        let mut n = 0;
        for (_, times) in &mut sorted {
            n += *times;
            *times = n;
        }
        let at = |rank: f64| {
            let place = sorted.partition_point(|(_, up_to)| *up_to as f64 <= rank);
            sorted.get(place).map(|(value, _)| *value)
        };
        let quantile = |share: &f64| {
            let rank = share.clamp(0.0, 1.0) * n.checked_sub(1)? as f64;
            let (low, high) = (at(rank.floor())?, at(rank.ceil())?);
            Some(low + (high - low) * rank.fract())
        };
        shares.iter().map(quantile).collect()
    }

    /// The value below which a share of all values lies; `None` without values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        self.quantiles(&[share]).pop()?
    }
}

fn gamma() -> f64 {
    (1.0 + ALPHA) / (1.0 - ALPHA)
}

/// Above 0 for positive values, below it for negative ones.
fn bucket(value: f64) -> i32 {
    if value.abs() < SMALLEST {
        return 0;
    }
    let at = ((value.abs() / SMALLEST).ln() / gamma().ln()).ceil() as i32 + 1;
    if value < 0.0 { -at } else { at }
}

/// The value that stands for a bucket.
fn middle(bucket: i32) -> f64 {
    if bucket == 0 {
        return 0.0;
    }
    let upper = SMALLEST * (f64::from(bucket.abs() - 1) * gamma().ln()).exp();
    (2.0 * upper / (gamma() + 1.0)).copysign(f64::from(bucket))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn interpolates_between_neighbours() {
        let mut found = Quantiles::default();
        assert_eq!(found.quantile(0.5), None);
        for value in [3.0, 1.0, 2.0, 10.0, f64::NAN] {
            found.add(value);
        }
        // As numpy.percentile([1, 2, 3, 10], [0, 25, 50, 95, 100]).
        for (share, expected) in [
            (0.0, 1.0),
            (0.25, 1.75),
            (0.5, 2.5),
            (0.95, 8.95),
            (1.0, 10.0),
        ] {
            let value = found.quantile(share).unwrap();
            assert!((value - expected).abs() < 1e-12, "{share}: {value}");
        }
        assert!(found.is_exact());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn many_values_are_within_half_a_per_cent(
            values in prop::collection::vec(prop_oneof![Just(0.0), -1e6_f64..1e6, 1e-9_f64..1.0], 9_000..12_000),
            share in 0.0_f64..=1.0,
            split in 0_usize..9_000,
        ) {
            let (mut one, mut two) = (Quantiles::default(), Quantiles::default());
            values[..split].iter().for_each(|value| one.add(*value));
            values[split..].iter().for_each(|value| two.add(*value));
            one.merge(two);
            prop_assert!(!one.is_exact());
            let mut sorted = values.clone();
            sorted.sort_by(f64::total_cmp);
            let rank = share * (sorted.len() - 1) as f64;
            let (low, high) = (sorted[rank.floor() as usize], sorted[rank.ceil() as usize]);
            let found = one.quantile(share).unwrap();
            let slack = |value: f64| 0.0051 * value.abs() + 1e-11;
            prop_assert!(found >= low - slack(low) && found <= high + slack(high), "{} {} {}", low, found, high);
        }
    }
}
