//! Student's t and the binomial distribution: their probabilities by the incomplete beta
//! function.
//!
//! I_x(a, b) is computed by its continued fraction with Lentz's method (Numerical Recipes,
//! 3rd edition, section 6.4); P(|T| > t) with ν degrees of freedom is I_{ν/(ν+t²)}(ν/2, ½).

/// Two-sided p of a t statistic with so many degrees of freedom.
pub fn p_of_t(t: f64, degrees: f64) -> f64 {
    if !t.is_finite() {
        return if t.is_nan() { f64::NAN } else { 0.0 };
    }
    incomplete_beta(degrees / 2.0, 0.5, degrees / (degrees + t * t))
}

/// The t that a two-sided test at 5 % needs.
pub fn t_95(degrees: f64) -> f64 {
    if degrees.is_nan() || degrees <= 0.0 {
        return f64::INFINITY;
    }
    let (mut low, mut high) = (1.9, 14.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if p_of_t(middle, degrees) > 0.05 {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// ln Γ(x) for x > 0, by Lanczos' series (g = 7, nine terms).
pub fn ln_gamma(x: f64) -> f64 {
    const SERIES: [f64; 8] = [
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        // Reflection, for the small arguments of ½.
        return (std::f64::consts::PI / (std::f64::consts::PI * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let terms = SERIES
        .iter()
        .zip(1_u32..)
        .map(|(c, i)| c / (x + f64::from(i)));
    let series = 0.999_999_999_999_809_9 + terms.sum::<f64>();
    let t = x + 7.5;
    0.5 * (2.0 * std::f64::consts::PI).ln() + (x + 0.5) * t.ln() - t + series.ln()
}

/// I_x(a, b).
pub fn incomplete_beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let front = (a * x.ln() + b * (-x).ln_1p() + ln_beta_inverse(a, b)).exp();
    // The fraction converges fast below the mean; the rest by symmetry.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(a, b, x) / a
    } else {
        1.0 - front * fraction(b, a, 1.0 - x) / b
    }
}

/// ln Γ(a+b) − ln Γ(a) − ln Γ(b); large a by Stirling's difference, where the logarithms of
/// gamma would cancel.
fn ln_beta_inverse(a: f64, b: f64) -> f64 {
    if a > 1e7 && b < 100.0 {
        return b * a.ln() - ln_gamma(b);
    }
    ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b)
}

fn fraction(a: f64, b: f64, x: f64) -> f64 {
    const TINY: f64 = 1e-300;
    let away = |value: f64| if value.abs() < TINY { TINY } else { value };
    let mut numerator = 1.0;
    let mut denominator = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut result = denominator;
    for step in 1..500_u32 {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        denominator = 1.0 / away(1.0 + even * denominator);
        numerator = away(1.0 + even / numerator);
        result *= denominator * numerator;
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        denominator = 1.0 / away(1.0 + odd * denominator);
        numerator = away(1.0 + odd / numerator);
        let change = denominator * numerator;
        result *= change;
        if (change - 1.0).abs() < 1e-15 {
            break;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= 1e-9 * expected.abs().max(1e-3),
            "{found} is not {expected}"
        );
    }

    #[test]
    fn agrees_with_published_tables() {
        // Critical values of the two-sided test at 5 %.
        for (degrees, t) in [
            (1.0, 12.706_204_736_432_1),
            (2.0, 4.302_652_729_911_28),
            (5.0, 2.570_581_835_636_31),
            (30.0, 2.042_272_456_301_24),
            (1_000.0, 1.962_339_080_826_41),
        ] {
            close(t_95(degrees), t);
            close(p_of_t(t, degrees), 0.05);
        }
        close(p_of_t(0.0, 7.0), 1.0);
        close(ln_gamma(10.0), 362_880_f64.ln());
        close(ln_gamma(0.5), std::f64::consts::PI.sqrt().ln());
        // P(X ≥ 3) of a binomial with n = 10 and p = 0.2.
        close(incomplete_beta(3.0, 8.0, 0.2), 0.322_200_473_6);
        assert!(p_of_t(f64::NAN, 3.0).is_nan());
    }
}
