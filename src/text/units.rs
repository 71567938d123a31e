//! Sizes and durations as people write and read them: "100 MiB", "30s", "7d".

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer};

/// Seconds of each unit of time, longest first.
const TIMES: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];

/// Bytes of each unit of size. Sizes are binary: a plain "MB" is a MiB.
const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("KB", 1 << 10),
    ("MiB", 1 << 20),
    ("MB", 1 << 20),
    ("GiB", 1 << 30),
    ("GB", 1 << 30),
    ("TiB", 1 << 40),
    ("TB", 1 << 40),
];

/// Reads "30s", "5m", "2h", "7d", also in a row ("1h30m") and with fractions ("1.5h").
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is not a duration: write 30s, 5m, 2h or 7d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest).ok_or_else(wrong)?;
        let end = after
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let (_, length) = TIMES
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        seconds += number * *length as f64;
        rest = after.trim_start();
    }
    Duration::try_from_secs_f64(seconds).map_err(|_| wrong())
}

/// Reads "100 MiB", "1.5GiB" or a plain number of bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a size: write bytes, or 100 MiB, or 1 GiB");
    let (number, unit) = leading_number(text.trim()).ok_or_else(wrong)?;
    let unit = if unit.is_empty() { "B" } else { unit };
    let (_, bytes) = SIZES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(unit))
        .ok_or_else(wrong)?;
    Ok((number * *bytes as f64).round() as u64)
}

/// The number at the start and what follows it, without the spaces between.
fn leading_number(text: &str) -> Option<(f64, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, rest) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, rest.trim_start()))
}

/// A duration in its largest whole unit: "45s", "14m", "2h", "3d"; hours keep their
/// minutes below ten ("2h50").
pub fn show_duration(seconds: f64) -> String {
    let seconds = if seconds.is_finite() {
        seconds.max(0.0) as u64
    } else {
        return "?".to_owned();
    };
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..36_000 => match seconds % 3_600 / 60 {
            0 => format!("{}h", seconds / 3_600),
            minutes => format!("{}h{minutes:02}", seconds / 3_600),
        },
        36_000..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A size in binary units: "12.4 MiB".
pub fn show_size(bytes: u64) -> String {
    humansize::format_size(bytes, humansize::BINARY.decimal_places(1))
}

/// A number with its thousands apart: "12,406".
pub fn show_count(count: u64) -> String {
    let digits = count.to_string();
    let mut shown = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// A number with what it counts: "1 file", "2,013 files".
pub fn show_counted(count: u64, one: &str) -> String {
    format!(
        "{} {one}{}",
        show_count(count),
        if count == 1 { "" } else { "s" }
    )
}

/// serde: seconds as a duration text.
pub(crate) mod duration {
    use super::{Deserialize, Deserializer, Serializer, parse_duration, show_exact};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        parse_duration(&text)
            .map(|d| d.as_secs())
            .map_err(serde::de::Error::custom)
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(crate) fn serialize<S: Serializer>(seconds: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&show_exact(*seconds))
    }
}

/// Seconds in the largest unit that loses nothing, so that what was written can be read back.
pub fn show_exact(seconds: u64) -> String {
    TIMES
        .iter()
        .find(|(_, length)| seconds >= *length && seconds.is_multiple_of(*length))
        .map_or_else(
            || "0s".to_owned(),
            |(unit, length)| format!("{}{unit}", seconds / length),
        )
}

/// serde: bytes as a number or a size text.
pub(crate) mod size {
    use super::{Deserialize, Deserializer, Serializer, parse_size};

    #[derive(Deserialize)]
    #[serde(
        untagged,
        expecting = "a size is a number of bytes, or a text such as \"100 MiB\""
    )]
    enum Written {
        Bytes(u64),
        Text(String),
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        match Written::deserialize(from)? {
            Written::Bytes(bytes) => Ok(bytes),
            Written::Text(text) => parse_size(&text).map_err(serde::de::Error::custom),
        }
    }

    #[allow(clippy::trivially_copy_pass_by_ref)] // serde's signature
    pub(crate) fn serialize<S: Serializer>(bytes: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(*bytes)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(
            [0, 1, 2013].map(|n| show_counted(n, "file")),
            ["0 files", "1 file", "2,013 files"]
        );
    }

    #[test]
    fn reads_durations() {
        for (text, seconds) in [
            ("30s", 30.0),
            ("5m", 300.0),
            ("2h", 7_200.0),
            ("7d", 604_800.0),
            ("1h30m", 5_400.0),
            (" 1.5h ", 5_400.0),
            ("0s", 0.0),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_secs_f64(seconds)),
                "{text}"
            );
        }
        for text in [
            "",
            "5",
            "m",
            "5x",
            "-5m",
            "5 minutes",
            "1..5s",
            "999999999999999999999d",
            "5m!",
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains("is not a duration"), "{text}: {error}");
        }
    }

    #[test]
    fn reads_sizes() {
        for (text, bytes) in [
            ("100 MiB", 100 << 20),
            ("1GiB", 1 << 30),
            ("1.5 gib", 3 << 29),
            ("100 MB", 100 << 20),
            ("77", 77),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "MiB", "1 furlong", "-1", "1 2"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_what_fits_a_line() {
        let shown: Vec<String> = [
            0.0,
            59.9,
            840.0,
            3_600.0,
            10_200.0,
            40_000.0,
            864_000.0,
            f64::NAN,
            -3.0,
        ]
        .into_iter()
        .map(show_duration)
        .collect();
        assert_eq!(
            shown,
            ["0s", "59s", "14m", "1h", "2h50", "11h", "10d", "?", "0s"]
        );
        assert_eq!(show_size(13_002_342), "12.4 MiB");
        assert_eq!(
            [0, 999, 1_000, 12_406, 1_234_567].map(show_count),
            ["0", "999", "1,000", "12,406", "1,234,567"]
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in 0_u64..10_000_000) {
            prop_assert_eq!(parse_duration(&show_exact(seconds)), Ok(Duration::from_secs(seconds)));
        }

        #[test]
        fn any_text_is_answered(text in ".*") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
