//! Whether a double holds a decimal number.

/// Whether the double nearest to a number gives its digits back: written with as many
/// significant digits, it is the same number. So `0.1` and `0.10000000000000000555` are held,
/// `9007199254740993` and forty digits of a third are not.
pub fn double_holds(text: &str, number: f64) -> bool {
    let Some((digits, exponent)) = significant(text) else {
        return false;
    };
    if digits.is_empty() || digits.len() <= 15 {
        return number.is_finite();
    }
    let written = format!("{number:.*e}", digits.len() - 1);
    significant(&written) == Some((digits, exponent))
}

/// The digits of a decimal number from the first to the last that is not zero, and the power
/// of ten of the first.
fn significant(text: &str) -> Option<(String, i64)> {
    let text = text.trim().trim_start_matches(['-', '+']);
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let mut digits = format!("{whole}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let zeros = digits.len() - digits.trim_start_matches('0').len();
    digits.drain(..zeros);
    digits.truncate(digits.trim_end_matches('0').len());
    if digits.is_empty() {
        return Some((digits, 0));
    }
    Some((digits, exponent + whole.len() as i64 - 1 - zeros as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_holds_what_it_gives_back() {
        for (text, holds) in [
            ("0.1", true),
            ("0.10000000000000000555", true),
            ("0.1000000000000000055511151231257827", true),
            ("0.10000000000000000001", false),
            ("0.30000000000000004", true),
            ("3.14159265358979323846", false),
            ("9007199254740992", true),
            ("9007199254740993", false),
            ("9007199254740993.0", false),
            ("-9007199254740993", false),
            ("18446744073709551616", true),
            ("18446744073709551615", false),
            ("1e300", true),
            ("123456789012345678e-10", false),
            ("0.000", true),
            ("-0", true),
            ("00012.50", true),
            ("0.83333333333333333333", false),
        ] {
            assert_eq!(double_holds(text, text.parse().unwrap()), holds, "{text}");
        }
        assert!(!double_holds("a", 1.0));
    }
}
