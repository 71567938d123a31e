//! How measured times are spread, in buckets that grow by a quarter of a doubling:
//! a few hundred numbers at most, whatever was measured, that merge in any order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Buckets to each doubling; a value is known from its bucket to within 9 %.
const PER_DOUBLING: f64 = 4.0;
/// Exponents of the smallest and the largest bucket: a microsecond and thirty years.
const RANGE: (f64, f64) = (-20.0, 30.0);

/// Counts by bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    counts: BTreeMap<i16, u64>,
    n: u64,
}

impl FromIterator<(i16, u64)> for Spread {
    fn from_iter<T: IntoIterator<Item = (i16, u64)>>(counts: T) -> Self {
        let counts: BTreeMap<i16, u64> = counts.into_iter().collect();
        let n = counts.values().fold(0, |n, count| count.saturating_add(n));
        Self { counts, n }
    }
}

impl Spread {
    /// Takes in a value; what is not a positive, finite number is left out.
    pub fn add(&mut self, value: f64) {
        if value.is_finite() && value > 0.0 {
            *self.counts.entry(bucket(value)).or_default() += 1;
            self.n += 1;
        }
    }

    /// Takes in many values.
    pub fn add_all(&mut self, values: impl Iterator<Item = f64>) {
        const BUCKETS: usize = ((RANGE.1 - RANGE.0) * PER_DOUBLING) as usize + 1;
        let mut counts = [0_u64; BUCKETS];
        let lowest = bucket(0.0);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            if let Some(count) = counts.get_mut(usize::from(bucket(value).abs_diff(lowest))) {
                *count += 1;
            }
        }
        for (bucket, count) in (lowest..).zip(counts).filter(|(_, count)| *count > 0) {
            *self.counts.entry(bucket).or_default() += count;
            self.n += count;
        }
    }

    /// Adds other values.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.counts {
            *self.counts.entry(*bucket).or_default() += count;
        }
        self.n += other.n;
    }

    /// How many values are in each bucket.
    pub fn counts(&self) -> impl Iterator<Item = (i16, u64)> {
        self.counts.iter().map(|(bucket, count)| (*bucket, *count))
    }

    /// Values taken in.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The value that a share of all values does not exceed (by nearest rank, as the
    /// middle of its bucket); `None` without values.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = ((share.clamp(0.0, 1.0) * self.n as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (bucket, count) in &self.counts {
            seen += count;
            if seen >= rank {
                return Some(edge(f64::from(*bucket) + 0.5));
            }
        }
        None
    }

    /// The values in at most `most` stretches of equal width on the logarithmic scale:
    /// lower and upper end, and how many. Empty stretches between others are there.
    pub fn stretches(&self, most: usize) -> Vec<(f64, f64, u64)> {
        let (Some((&first, _)), Some((&last, _))) =
            (self.counts.first_key_value(), self.counts.last_key_value())
        else {
            return Vec::new();
        };
        let buckets = usize::from(last.abs_diff(first)) + 1;
        let width = buckets.div_ceil(most.max(1)) as i16;
        let stretch = |from: i16| {
            let count = self.counts.range(from..from + width).map(|(_, n)| n).sum();
            (edge(f64::from(from)), edge(f64::from(from + width)), count)
        };
        (first..=last)
            .step_by(width as usize)
            .map(stretch)
            .collect()
    }
}

fn bucket(value: f64) -> i16 {
    (value.log2().clamp(RANGE.0, RANGE.1) * PER_DOUBLING).floor() as i16
}

fn edge(bucket: f64) -> f64 {
    (bucket / PER_DOUBLING).exp2()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f64]) -> Spread {
        let mut spread = Spread::default();
        for value in values {
            spread.add(*value);
        }
        spread
    }

    #[test]
    fn quantiles_are_within_nine_per_cent() {
        let spread = of(&(1..=1_000).map(f64::from).collect::<Vec<_>>());
        for (share, expected) in [(0.5, 500.0), (0.95, 950.0), (1.0, 1_000.0), (0.0, 1.0)] {
            let found = spread.quantile(share).unwrap();
            assert!((found / expected - 1.0).abs() < 0.1, "{share}: {found}");
        }
        assert_eq!(of(&[f64::NAN, -1.0, 0.0]).quantile(0.5), None);
    }

    #[test]
    fn stretches_show_gaps() {
        let found = of(&[1.0, 1.0, 8.0]).stretches(4);
        assert_eq!(found.len(), 4);
        assert_eq!(
            found.iter().map(|(.., n)| *n).collect::<Vec<_>>(),
            [2, 0, 0, 1]
        );
        assert!((found[0].0 - 1.0).abs() < 1e-9);
        assert!(of(&[]).stretches(4).is_empty());
    }

    proptest! {
        #[test]
        fn many_at_once_are_the_same(values in prop::collection::vec(prop_oneof![1e-9_f64..1e12, Just(0.0), Just(f64::NAN)], 0..60)) {
            let mut spread = Spread::default();
            spread.add_all(values.iter().copied());
            prop_assert_eq!(spread, of(&values));
        }

        #[test]
        fn parts_merge_into_the_whole(values in prop::collection::vec(1e-9_f64..1e12, 0..60), cut: prop::sample::Index, most in 1_usize..30) {
            let cut = cut.index(values.len() + 1);
            let mut merged = of(&values[cut..]);
            merged.merge(&of(&values[..cut]));
            prop_assert_eq!(&merged, &of(&values));
            let stretches = merged.stretches(most);
            prop_assert!(stretches.len() <= most);
            prop_assert_eq!(stretches.iter().map(|(.., n)| n).sum::<u64>(), merged.n());
        }
    }
}
