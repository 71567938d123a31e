//! Figures as people read them: grouped digits, rates in per cent, binary sizes,
//! rounded ages, local clock times. Numbers that stand in a column have a fixed width.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

pub(crate) use super::units::{
    show_count as thousands, show_counted as plural, show_duration as span, show_size as bytes,
};

/// Grouped digits where they fit into `cells`, else rounded: "1.23M".
pub(crate) fn count(n: u64, cells: usize) -> String {
    let full = thousands(n);
    if full.len() <= cells {
        return full;
    }
    let (value, unit) = match n {
        0..1_000_000 => (n as f64 / 1e3, 'k'),
        1_000_000..1_000_000_000 => (n as f64 / 1e6, 'M'),
        _ => (n as f64 / 1e9, 'G'),
    };
    let decimals = usize::from(value < 100.0) + usize::from(value < 10.0);
    let text = format!("{value:.decimals$}{unit}");
    if text.len() <= cells {
        text
    } else {
        format!("{value:.0}{unit}")
    }
}

/// A count in a table: zero is a dot, so that what is there stands out.
pub(crate) fn count_or_dot(n: u64, cells: usize) -> String {
    if n == 0 {
        "·".to_owned()
    } else {
        count(n, cells)
    }
}

/// 14.2 → "$14.20"; what is below a cent in two digits: "$0.0041".
pub(crate) fn dollars(amount: f64) -> String {
    let sign = if amount < 0.0 { "-" } else { "" };
    let size = amount.abs();
    if size == 0.0 || size >= 0.01 {
        let cents = (size * 100.0).round();
        let whole = thousands((cents / 100.0).floor() as u64);
        return format!("{sign}${whole}.{:02}", cents % 100.0);
    }
    let places = (1.0 - size.log10().floor()).clamp(2.0, 9.0) as usize;
    let digits = format!("{size:.places$}");
    format!("{sign}${}", digits.trim_end_matches('0'))
}

/// 0.518 → "51.8%"; "–" for nothing.
pub(crate) fn percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |r| format!("{:.1}%", r * 100.0))
}

/// 0.518 → "52%"; "–" for nothing.
pub(crate) fn whole_percent(rate: Option<f64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |r| format!("{:.0}%", r * 100.0))
}

/// An interval in per cent, at most six cells: "75–80", or "±0.4" where the whole
/// numbers would be the same. Near 0 and 100 it is lopsided, so its ends stay.
pub(crate) fn interval(low: f64, high: f64) -> String {
    let (l, h) = ((low * 100.0).round(), (high * 100.0).round());
    if h - l >= 2.0 {
        return format!("{l:.0}–{h:.0}");
    }
    if low < 0.02 || high > 0.98 {
        return format!("{:.0}–{:.0}", (low * 100.0).floor(), (high * 100.0).ceil());
    }
    let half = (high - low) * 50.0;
    if half >= 0.095 {
        format!("±{half:.1}")
    } else {
        format!("±{half:.2}")
    }
}

/// A mean time, at most five cells: "4.2s", "118s", "21m".
pub(crate) fn mean_time(seconds: f64) -> String {
    match seconds {
        s if s < 9.95 => format!("{s:.1}s"),
        s if s < 999.5 => format!("{s:.0}s"),
        s => span(s),
    }
}

/// Rows a minute, at most five cells.
pub(crate) fn per_minute(rate: f64) -> String {
    match rate {
        r if !r.is_finite() || r < 0.05 => "·".to_owned(),
        r if r < 999.95 => format!("{r:.1}"),
        r => count(r.round() as u64, 5),
    }
}

/// A size against its threshold in the threshold's unit: "12.4/100 MiB".
pub(crate) fn bytes_of(n: u64, limit: u64) -> String {
    let (unit, name) = match limit {
        0..1_048_576 => (1024.0, "KiB"),
        1_048_576..1_073_741_824 => (1_048_576.0, "MiB"),
        _ => (1_073_741_824.0, "GiB"),
    };
    let (value, limit) = (n as f64 / unit, limit as f64 / unit);
    let whole = value == 0.0 || value >= 1000.0;
    let limit = format!("{limit:.1}");
    let limit = limit.strip_suffix(".0").unwrap_or(&limit);
    if whole {
        format!("{value:.0}/{limit} {name}")
    } else {
        format!("{value:.1}/{limit} {name}")
    }
}

/// Seconds until [`span`] of a growing age reads differently.
pub(crate) fn span_changes_in(seconds: f64) -> f64 {
    let s = seconds.max(0.0);
    let unit = match s as u64 {
        0..60 => 1.0,
        60..36_000 => 60.0,
        36_000..172_800 => 3_600.0,
        _ => 86_400.0,
    };
    unit - s % unit
}

/// Seconds from `then` to `now`, never negative.
pub(crate) fn age(now: Timestamp, then: Timestamp) -> f64 {
    now.duration_since(then)
        .max(SignedDuration::ZERO)
        .as_secs_f64()
}

/// Local time of day, with the date where it is a day or more ago, or to come.
pub(crate) fn clock(then: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let ago = now.duration_since(then).as_secs();
    let form = if (-60..86_400).contains(&ago) {
        "%H:%M"
    } else {
        "%d %b %H:%M"
    };
    then.to_zoned(zone.clone()).strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_fit_their_column() {
        for (n, cells, text) in [
            (0, 7, "0"),
            (12_406, 7, "12,406"),
            (123_456, 7, "123,456"),
            (1_234_567, 7, "1.23M"),
            (9_999, 4, "10k"),
            (12_345_678, 5, "12.3M"),
        ] {
            assert_eq!(count(n, cells), text);
        }
        assert_eq!(count_or_dot(0, 5), "·");
    }

    #[test]
    fn intervals_say_how_narrow_they_are() {
        assert_eq!(interval(0.75, 0.80), "75–80");
        assert_eq!(interval(0.5162, 0.5198), "±0.2");
        assert_eq!(interval(0.5179, 0.5181), "±0.01");
        assert_eq!(interval(0.0, 1.0), "0–100");
        assert_eq!(interval(0.001, 0.012), "0–2");
        assert_eq!(interval(0.9961, 1.0), "99–100");
    }

    #[test]
    fn sizes_share_the_unit_of_their_threshold() {
        assert_eq!(bytes_of(13_002_342, 100 << 20), "12.4/100 MiB");
        assert_eq!(bytes_of(0, 1 << 30), "0/1 GiB");
    }

    #[test]
    fn ages_know_when_they_read_differently() {
        for seconds in [
            0.0, 5.9, 61.0, 3_599.0, 10_200.0, 35_999.0, 40_000.0, 172_799.0, 273_600.0,
        ] {
            let next = seconds + span_changes_in(seconds);
            assert_ne!(span(next), span(seconds));
            assert_eq!(span(next - 0.1), span(seconds), "not before");
        }
    }

    #[test]
    fn clock_times_name_the_day_where_it_could_be_mistaken() {
        let now: Timestamp = "2026-01-31T14:02:00Z".parse().unwrap();
        let zone = TimeZone::UTC;
        assert_eq!(clock(now, now, &zone), "14:02");
        assert_eq!(
            clock("2026-01-30T23:59:00Z".parse().unwrap(), now, &zone),
            "23:59"
        );
        assert_eq!(
            clock("2026-01-30T13:59:00Z".parse().unwrap(), now, &zone),
            "30 Jan 13:59"
        );
    }
}
