//! Which rows: the filters that `query` and `export` share, and how times are typed.

use std::io::Write;

use anyhow::Result;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use super::{FilterArgs, Usage, loudness};
use crate::config::{did_you_mean, parse_duration};
use crate::formats::text::sanitise;
use crate::stats::Rate;
use crate::store::query::{self, Filter, GroupValue};
use crate::store::{Control, Store};

impl FilterArgs {
    /// The filter that the flags stand for. Ages count back from `now`; times
    /// without an offset are in `zone`.
    pub fn filter(&self, now: Timestamp, zone: &TimeZone) -> Result<Filter> {
        let when = |flag: &str, text: &Option<String>| {
            text.as_deref()
                .map(|text| parse_when(flag, text, now, zone))
                .transpose()
        };
        let filter = Filter {
            models: self.model.clone(),
            prompt_types: self.prompt_type.clone(),
            tool_success_rates: self
                .tool_success_rate
                .iter()
                .map(|&rate| {
                    let known = Rate::new(rate).filter(|_| (0.0..=1.0).contains(&rate));
                    known.ok_or_else(|| {
                        Usage(format!("--tool-success-rate {rate} is not between 0 and 1"))
                    })
                })
                .collect::<Result<_, _>>()?,
            difficulties: self.difficulty.clone(),
            task_types: self.task_type.clone(),
            since: when("--since", &self.since)?,
            until: when("--until", &self.until)?,
        };
        if let (Some(since), Some(until)) = (filter.since, filter.until)
            && since >= until
        {
            return Err(Usage(format!(
                "--since {since} is not before --until {until}: no row can match"
            ))
            .into());
        }
        Ok(filter)
    }
}

/// Says on stderr which models of a filter the store does not have: the likely reason
/// why nothing matched.
pub(super) fn note_unknown_models(store: &Store, filter: &Filter, control: &Control) {
    if filter.models.is_empty() || loudness::quiet() {
        return;
    }
    // It is only a hint: where the store can't be read, somebody else says so.
    let Ok(groups) = query::grouped(store, &Filter::default(), &["model".to_owned()], control)
    else {
        return;
    };
    let mut there = Vec::new();
    for group in &groups {
        if let Some(GroupValue::Text(model)) = group.values.first() {
            there.push(model.as_str());
        }
    }
    for model in filter
        .models
        .iter()
        .filter(|model| !there.contains(&model.as_str()))
    {
        let meant = did_you_mean(model, there.iter().copied());
        let note = format!("evaltop: nothing matches: there is no model '{model}'{meant}");
        // A terminal that is gone can't be told.
        let _ = writeln!(std::io::stderr(), "{}", sanitise(&note));
    }
}

/// A time (2026-01-31, 2026-01-31T12:00, 2026-01-31T12:00:00Z) or an age (30m, 7d).
fn parse_when(flag: &str, text: &str, now: Timestamp, zone: &TimeZone) -> Result<Timestamp> {
    let text = text.trim();
    let naive = || {
        Some(
            text.parse::<civil::DateTime>()
                .ok()?
                .to_zoned(zone.clone())
                .ok()?
                .timestamp(),
        )
    };
    let ago = || now.checked_sub(parse_duration(text).ok()?).ok();
    text.parse::<Timestamp>().ok().or_else(naive).or_else(ago).ok_or_else(|| {
        Usage(format!(
            "{flag} '{text}' is neither a time (2026-01-31 or 2026-01-31T12:00:00Z) nor an age (30m, 2h or 7d)"
        ))
        .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn when(text: &str) -> Result<String> {
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        parse_when(
            "--since",
            text,
            "2026-02-01T00:00:00Z".parse().unwrap(),
            &zone,
        )
        .map(|t| t.to_string())
    }

    #[test]
    fn times_and_ages() {
        for (text, expected) in [
            ("2026-01-31", "2026-01-30T22:00:00Z"),
            ("2026-01-31T12:00", "2026-01-31T10:00:00Z"),
            ("2026-01-31 12:00:05", "2026-01-31T10:00:05Z"),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00Z"),
            ("2026-01-31T12:00:00+05:00", "2026-01-31T07:00:00Z"),
            ("30m", "2026-01-31T23:30:00Z"),
            ("7d", "2026-01-25T00:00:00Z"),
            ("1h30m", "2026-01-31T22:30:00Z"),
        ] {
            assert_eq!(when(text).unwrap(), expected, "{text}");
        }
        for text in ["", "yesterday", "-7d", "12", "2026-13-01"] {
            let error = when(text).unwrap_err().to_string();
            assert!(error.contains("neither a time"), "{text}: {error}");
        }
    }

    #[test]
    fn rates_and_spans_are_checked() {
        let filter =
            |args: FilterArgs| args.filter("2026-02-01T00:00:00Z".parse().unwrap(), &TimeZone::UTC);
        let rate = |rate| {
            filter(FilterArgs {
                tool_success_rate: vec![rate],
                ..FilterArgs::default()
            })
        };
        assert_eq!(
            rate(0.800_000_011_920_929).unwrap().tool_success_rates,
            rate(0.8).unwrap().tool_success_rates
        );
        assert!(rate(80.0).is_err());
        assert!(rate(f64::NAN).is_err());
        let since = Some("1h".to_owned());
        let until = Some("2h".to_owned());
        assert!(
            filter(FilterArgs {
                since: since.clone(),
                until: until.clone(),
                ..FilterArgs::default()
            })
            .is_err()
        );
        assert!(
            filter(FilterArgs {
                since: until,
                until: since,
                ..FilterArgs::default()
            })
            .is_ok()
        );
    }
}
