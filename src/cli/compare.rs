//! `compare`: two models, or two prompt types, on the tests that both had.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::progress::Shown;
use super::{Exit, FilterArgs, ReportFormat, Usage, dir};
use crate::config::{did_you_mean, show_count, show_counted};
use crate::formats::text::sanitise;
use crate::stats::paired::{self, Comparison, Difference, Method, Verdict};
use crate::store::query::{self, Filter, GroupValue, Side};
use crate::store::{Control, Store};

/// So many names are listed of those there are.
const LISTED: usize = 10;

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// Two models
    Model,
    /// Two prompt types
    #[value(name = "prompt_type", alias = "prompt-type")]
    PromptType,
}

impl From<By> for Side {
    fn from(by: By) -> Self {
        match by {
            By::Model => Self::Model,
            By::PromptType => Self::PromptType,
        }
    }
}

/// `evaltop compare`.
#[derive(Debug, Clone, Args)]
#[command(override_usage = "evaltop compare [OPTIONS] [DIR] <A> <B>")]
pub struct CompareArgs {
    /// The two names, after the store where that is not the usual one
    #[arg(num_args = 2..=3, required = true, value_names = ["DIR", "A", "B"])]
    pub names: Vec<String>,
    /// What the names are
    #[arg(long, value_enum, default_value = "model")]
    pub by: By,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
}

/// `evaltop compare`.
pub fn run(args: &CompareArgs) -> Result<Exit> {
    let (named, first, second) = match args.names.as_slice() {
        [first, second] => (None, first, second),
        [dir, first, second] => (Some(PathBuf::from(dir)), first, second),
        _ => {
            return Err(
                Usage("compare takes two names, and the store before them".to_owned()).into(),
            );
        }
    };
    let side = Side::from(args.by);
    if named.is_none() && Store::new(first).check().is_ok() {
        let what = side.column().replace('_', " ");
        return Err(Usage(format!(
            "'{first}' is a store, so the second {what} is missing: evaltop compare {first} {second} B"
        ))
        .into());
    }
    if first == second {
        return Err(Usage(format!("'{first}' can't be compared with itself")).into());
    }
    let clash = match side {
        Side::Model => !args.filter.model.is_empty(),
        Side::PromptType => !args.filter.prompt_type.is_empty(),
    };
    if clash {
        let flag = side.column().replace('_', "-");
        return Err(Usage(format!("--{flag} is what is compared: leave it out")).into());
    }
    let filter = args.filter.filter(Timestamp::now(), &TimeZone::system())?;
    let (store, _) = dir::existing(named.as_deref())?;
    let shown = Shown::new();
    let pairs = query::pairs(&store, &filter, side, [first, second], &shown.control)?;
    let found = paired::compare(pairs)?;
    for (name, trials) in [
        (first, found.pairs + found.unmatched_first),
        (second, found.pairs + found.unmatched_second),
    ] {
        if trials == 0 {
            return Err(nobody(&store, &filter, side, name, &shown.control)?.into());
        }
    }
    drop(shown);
    let mut out = io::stdout().lock();
    match args.format {
        ReportFormat::Json => writeln!(out, "{}", json(side, [first, second], &found))?,
        ReportFormat::Text => {
            for line in lines([&sanitise(first), &sanitise(second)], &found) {
                writeln!(out, "{line}")?;
            }
        }
    }
    Ok(Exit::Ok)
}

/// Says which names there are.
fn nobody(
    store: &Store,
    filter: &Filter,
    side: Side,
    name: &str,
    control: &Control,
) -> Result<Usage> {
    let filter = match side {
        Side::Model => Filter {
            models: Vec::new(),
            ..filter.clone()
        },
        Side::PromptType => Filter {
            prompt_types: Vec::new(),
            ..filter.clone()
        },
    };
    let column = side.column();
    let groups = query::grouped(store, &filter, &[column.to_owned()], control)?;
    let mut names: Vec<String> = groups
        .into_iter()
        .filter_map(|group| match group.values.into_iter().next() {
            Some(GroupValue::Text(text)) => Some(sanitise(&text).into_owned()),
            _ => None,
        })
        .collect();
    let what = column.replace('_', " ");
    let name = sanitise(name);
    let meant = did_you_mean(&name, names.iter().map(String::as_str));
    // The likely ones first: a long list is cut.
    let typed = name.to_lowercase();
    names.sort_by_cached_key(|there| !there.to_lowercase().starts_with(&typed));
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let there_are = match (names.as_slice(), more) {
        ([], _) => "no test at all".to_owned(),
        (names, 0) => names.join(", "),
        (names, more) => format!("{} and {} more", names.join(", "), show_count(more as u64)),
    };
    Ok(Usage(format!(
        "no record of {what} '{name}' matches{meant}: there are {there_are}"
    )))
}

/// The comparison in words.
fn lines(names: [&str; 2], found: &Comparison) -> Vec<String> {
    let [first, second] = names;
    let mut lines = Vec::new();
    if found.pairs == 0 {
        lines.push(format!("{first} and {second} have no test in common"));
    } else {
        lines.push(format!(
            "{first} {:.1}%, {second} {:.1}% on {}",
            found.first_rate * 100.0,
            found.second_rate * 100.0,
            if found.pairs == found.tests {
                format!("{} that both had", show_counted(found.tests, "test"))
            } else {
                format!(
                    "{} that both had, {}",
                    show_counted(found.tests, "test"),
                    show_counted(found.pairs, "trial")
                )
            }
        ));
    }
    if let Some(difference) = &found.difference {
        lines.push(format!(
            "difference {:+.1} points, 95% interval {:+.1} to {:+.1} ({})",
            difference.value * 100.0,
            difference.interval.low * 100.0,
            difference.interval.high * 100.0,
            method(difference),
        ));
    }
    if found.pairs > 0 {
        lines.push(format!(
            "only {first} passed {}, only {second} passed {}",
            number(found.only_first),
            number(found.only_second)
        ));
    }
    if found.unmatched_first + found.unmatched_second > 0 {
        lines.push(format!(
            "without a partner: {} of {first}, {} of {second}",
            show_count(found.unmatched_first),
            show_count(found.unmatched_second)
        ));
    }
    lines.push(
        match found.difference.map(|difference| difference.verdict) {
            None => "undecided: too few tests in common".to_owned(),
            Some(Verdict::Separated) => "separated".to_owned(),
            Some(Verdict::Tied) => "tied".to_owned(),
            Some(Verdict::More(tests)) => {
                format!(
                    "undecided: about {} needed",
                    show_counted(tests, "more test")
                )
            }
        },
    );
    lines
}

fn method(difference: &Difference) -> String {
    match (difference.method, difference.p) {
        (_, Some(p)) if p < 0.001 => "exact, p < 0.001".to_owned(),
        (_, Some(p)) => format!("exact, p = {p:.3}"),
        (Method::Clustered, None) => "clustered by task".to_owned(),
        (_, None) => "paired".to_owned(),
    }
}

/// Whole where it is.
fn number(value: f64) -> String {
    if value.fract().abs() < 1e-9 {
        show_count(value as u64)
    } else {
        format!("{value:.1}")
    }
}

fn json(side: Side, [first, second]: [&String; 2], found: &Comparison) -> Value {
    let difference = found.difference.map(|difference| {
        let (verdict, more) = match difference.verdict {
            Verdict::Separated => ("separated", None),
            Verdict::Tied => ("tied", None),
            Verdict::More(tests) => ("undecided", Some(tests)),
        };
        let method = match difference.method {
            Method::Normal => "normal",
            Method::Exact => "exact",
            Method::Clustered => "clustered",
        };
        json!({
            "value": difference.value, "standard_error": difference.error,
            "ci_low": difference.interval.low, "ci_high": difference.interval.high,
            "p": difference.p, "method": method, "verdict": verdict, "more_tests": more,
        })
    });
    json!({
        "schema_version": 1, "by": side.column(), "first": first, "second": second,
        "pairs": found.pairs, "tests": found.tests,
        "first_rate": found.first_rate, "second_rate": found.second_rate,
        "only_first": found.only_first, "only_second": found.only_second,
        "unmatched_first": found.unmatched_first, "unmatched_second": found.unmatched_second,
        "difference": difference,
    })
}
