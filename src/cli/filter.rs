//! Which rows: the filters that `query` and `export` share, and how times are typed.

use clap::Args;
use std::io::Write;

use anyhow::Result;
use jiff::tz::TimeZone;
use jiff::{Timestamp, civil};

use super::{Usage, verbosity};
use crate::config::{did_you_mean, parse_duration, show_count};
use crate::expr::Expr;
use crate::stats::Rate;
use crate::store::read::query;
use crate::store::read::query::sessions::{Session, resolve, sessions};
use crate::store::read::query::{Filter, GroupValue};
use crate::store::{Control, Store};
use crate::text::sanitise::sanitise;

/// Which rows, for `query` and `export`.
#[derive(Debug, Clone, Default, Args)]
pub struct FilterArgs {
    /// Exit with 10 when a file of the store does not count
    #[arg(long)]
    pub strict: bool,
    /// Only this model (may be repeated)
    #[arg(long)]
    pub model: Vec<String>,
    /// Only this prompt type (may be repeated)
    #[arg(long)]
    pub prompt_type: Vec<String>,
    /// Only this rate of successful tool calls, 0 to 1 (may be repeated)
    #[arg(long)]
    pub tool_success_rate: Vec<f64>,
    /// Only this difficulty (may be repeated)
    #[arg(long)]
    pub difficulty: Vec<String>,
    /// Only this kind of task (may be repeated)
    #[arg(long)]
    pub task_type: Vec<String>,
    /// Only rows at or after: a time (2026-01-31, 2026-01-31T12:00:00Z) or an age (30m, 7d)
    #[arg(long)]
    pub since: Option<String>,
    /// Only rows before: a time or an age
    #[arg(long)]
    pub until: Option<String>,
    /// Only this session: its name, latest or previous (may be repeated)
    #[arg(long, value_name = "SESSION")]
    pub session: Vec<String>,
    /// Only rows that fulfil a condition on any columns: "score >= 0.8 and difficulty = hard"
    #[arg(long = "where", value_name = "CONDITION")]
    pub condition: Option<String>,
}

impl FilterArgs {
    /// The filter that the flags stand for. Ages count back from `now`; times
    /// without an offset are in `zone`.
    pub fn filter(&self, now: Timestamp, zone: &TimeZone) -> Result<Filter> {
        let when = |flag: &str, text: &Option<String>| {
            let text = text.as_deref();
            let when = text
                .map(|text| parse_when(flag, text, now, zone))
                .transpose()?;
            if let (Some(text), Some(time)) = (text, when)
                && text.trim().parse::<civil::DateTime>().is_ok()
                && text.trim().parse::<Timestamp>().is_err()
                && !verbosity::quiet()
            {
                let time = time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z");
                verbosity::complain(&format!("{flag} {text} is {time}"));
            }
            Ok::<_, anyhow::Error>(when)
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
            condition: self.condition.as_deref().map(condition).transpose()?,
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

    /// The same for rows of a store, whose sessions it knows by name.
    pub fn filter_of(&self, store: &Store, control: &Control) -> Result<Filter> {
        let mut filter = self.filter(Timestamp::now(), &TimeZone::system())?;
        if self.session.is_empty() {
            return Ok(filter);
        }
        let there = sessions(store, &filter, control)?;
        let names = self.session.iter().map(|name| named(name, &there));
        let names = names.collect::<Result<Vec<_>>>()?;
        in_sessions(&mut filter, &names)?;
        Ok(filter)
    }
}

/// The session of which rows are that `name` stands for; an error says which there are.
pub(super) fn named(name: &str, there: &[Session]) -> Result<String> {
    let found = resolve(name, there).map_err(|count| {
        Usage(format!(
            "there is no {name} session: rows name {} of them",
            show_count(count as u64)
        ))
    })?;
    if there.iter().any(|session| session.id == found) {
        return Ok(found.to_owned());
    }
    let meant = did_you_mean(found, there.iter().map(|session| session.id.as_str()));
    Err(Usage(format!("no row is of session '{found}'{meant}")).into())
}

/// Narrows a filter to these sessions.
pub(super) fn in_sessions(filter: &mut Filter, names: &[String]) -> Result<()> {
    one_of(filter, "session_id", names)
}

/// Only rows with one of these texts in a column.
pub(super) fn one_of(filter: &mut Filter, column: &str, names: &[String]) -> Result<()> {
    let quoted: Vec<String> = names
        .iter()
        .map(|name| format!("'{}'", name.replace('\'', "''")))
        .collect();
    let own = format!("{column} in ({})", quoted.join(", "));
    let all = match &filter.condition {
        Some(condition) => format!("({condition}) and {own}"),
        None => own,
    };
    filter.condition = Some(condition(&all)?);
    Ok(())
}

fn condition(text: &str) -> Result<Box<Expr>, Usage> {
    text.parse()
        .map(Box::new)
        .map_err(|error| Usage(format!("--where: {error}")))
}

/// Says on stderr which values of a filter the store does not have: the likely reason
/// why nothing matched.
pub(super) fn note_unknown_values(store: &Store, filter: &Filter, control: &Control) {
    if verbosity::quiet() {
        return;
    }
    for (column, wanted) in filter.texts() {
        if !wanted.is_empty() {
            note_unknown(store, column, wanted, control);
        }
    }
}

fn note_unknown(store: &Store, column: &str, wanted: &[String], control: &Control) {
    // It is only a hint: where the store can't be read, somebody else says so.
    let Ok(groups) = query::grouped(store, &Filter::default(), &[column.to_owned()], control)
    else {
        return;
    };
    let mut there = Vec::new();
    for group in &groups {
        if let Some(GroupValue::Text(value)) = group.values.first() {
            there.push(value.as_str());
        }
    }
    let unknown = wanted
        .iter()
        .filter(|value| !there.contains(&value.as_str()));
    for value in unknown {
        let meant = did_you_mean(value, there.iter().copied());
        let note = format!("evaltop: nothing matches: there is no {column} '{value}'{meant}");
        // A terminal that is gone gets no message.
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
