//! The 95 % interval of a success rate. Wilson's, because Wald's has zero width at
//! 0 of n and real cells are 0 of 48.
//!
//! ```
//! use evaltop::internals::stats::interval::wilson;
//!
//! let interval = wilson(81, 263).expect("there are tests");
//! assert!((interval.low - 0.2553).abs() < 1e-4 && (interval.high - 0.3662).abs() < 1e-4);
//! assert_eq!(wilson(0, 0), None);
//! ```

/// Two-sided 95 % quantile of the standard normal distribution.
pub const Z95: f64 = 1.959_963_984_540_054;

/// An interval of a rate; both ends lie within 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The 95 % Wilson score interval of `successes` out of `n`; `None` at n = 0.
/// Successes beyond `n` count as `n`.
///
/// `(p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n)`
/// (Wilson 1927, J. Am. Stat. Assoc. 22, 209–212).
pub fn wilson(successes: u64, n: u64) -> Option<Interval> {
    if n == 0 {
        return None;
    }
    let successes = successes.min(n);
    Some(wilson_of(successes as f64 / n as f64, n as f64))
}

/// [`wilson`] of a rate among an effective number of tests, above zero, which
/// repeated tasks make smaller than the number of tests ([`super::clusters`]).
pub fn wilson_of(rate: f64, size: f64) -> Interval {
    let z2 = Z95 * Z95;
    let centre = rate + z2 / (2.0 * size);
    let half = Z95 * (rate * (1.0 - rate) / size + z2 / (4.0 * size * size)).sqrt();
    let scale = 1.0 + z2 / size;
    // The ends are exact at 0 of n and n of n, where rounding would leave 1e-17.
    let low = if rate <= 0.0 {
        0.0
    } else {
        ((centre - half) / scale).max(0.0)
    };
    let high = if rate >= 1.0 {
        1.0
    } else {
        ((centre + half) / scale).min(1.0)
    };
    Interval { low, high }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn agrees_with_published_figures() {
        // Newcombe 1998, Statistics in Medicine 17, table I, method 3.
        for (successes, n, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let found = wilson(successes, n).unwrap();
            assert!((found.low - low).abs() < 5e-5, "{successes}/{n}: {found:?}");
            assert!(
                (found.high - high).abs() < 5e-5,
                "{successes}/{n}: {found:?}"
            );
        }
        assert_eq!(wilson(0, 0), None);
    }

    proptest! {
        #[test]
        fn holds_the_rate_and_stays_within_bounds(n in 1_u64..1_000_000_000, share in 0.0_f64..=1.0) {
            let successes = ((n as f64 * share) as u64).min(n);
            let found = wilson(successes, n).unwrap();
            let rate = successes as f64 / n as f64;
            prop_assert!(0.0 <= found.low && found.low <= rate && rate <= found.high && found.high <= 1.0);
            prop_assert!(found.low < found.high);
        }

        #[test]
        fn mirrors_failures(n in 1_u64..100_000, share in 0.0_f64..=1.0) {
            let successes = ((n as f64 * share) as u64).min(n);
            let passes = wilson(successes, n).unwrap();
            let failures = wilson(n - successes, n).unwrap();
            prop_assert!((passes.low - (1.0 - failures.high)).abs() < 1e-9);
            prop_assert!((passes.high - (1.0 - failures.low)).abs() < 1e-9);
        }

        #[test]
        fn narrows_with_more_tests(n in 1_u64..10_000, share in 0.0_f64..=1.0) {
            let successes = ((n as f64 * share) as u64).min(n);
            let few = wilson(successes, n).unwrap();
            let many = wilson(successes * 4, n * 4).unwrap();
            prop_assert!(many.high - many.low < few.high - few.low);
        }
    }
}
