//! Several trials of a task: pass@k and pass^k.
//!
//! Of n trials with c successes, pass@k = 1 − C(n−c, k)/C(n, k) is the unbiased estimate of the
//! probability that at least one of k succeeds (Chen et al. 2021, arXiv 2107.03374, equation 1),
//! and pass^k = C(c, k)/C(n, k) that all k do (Yao et al. 2024, arXiv 2406.12045, section 5).
//! Both need n ≥ k.

/// The probability that at least one of k trials succeeds; `None` with fewer than k.
pub fn pass_at_k(n: u64, successes: u64, k: u64) -> Option<f64> {
    Some(1.0 - all_of(n, n.checked_sub(successes)?, k)?)
}

/// The probability that all of k trials succeed; `None` with fewer than k.
pub fn pass_hat_k(n: u64, successes: u64, k: u64) -> Option<f64> {
    all_of(n, successes, k)
}

/// C(m, k) / C(n, k) as a product, which neither overflows nor cancels.
fn all_of(n: u64, m: u64, k: u64) -> Option<f64> {
    if n < k || k == 0 || m > n {
        return None;
    }
    if m < k {
        return Some(0.0);
    }
    Some((0..k).map(|i| (m - i) as f64 / (n - i) as f64).product())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_formulas() {
        // 1 − C(7, 5)/C(10, 5) = 1 − 21/252.
        let found = pass_at_k(10, 3, 5).unwrap();
        assert!((found - (1.0 - 21.0 / 252.0)).abs() < 1e-15);
        // C(8, 2)/C(10, 2) = 28/45.
        assert!((pass_hat_k(10, 8, 2).unwrap() - 28.0 / 45.0).abs() < 1e-15);
        assert_eq!(
            (pass_at_k(4, 0, 4), pass_at_k(4, 1, 4)),
            (Some(0.0), Some(1.0))
        );
        assert_eq!(
            (pass_hat_k(4, 3, 4), pass_hat_k(4, 4, 4)),
            (Some(0.0), Some(1.0))
        );
        assert_eq!(
            (pass_at_k(3, 1, 4), pass_at_k(3, 4, 1), pass_at_k(3, 1, 0)),
            (None, None, None)
        );
        assert_eq!(pass_at_k(1_000_000, 500_000, 1), Some(0.5));
    }
}
