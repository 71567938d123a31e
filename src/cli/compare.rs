//! `compare`: any values of one column on the tests that they share, as text, JSON, Markdown
//! or JUnit, with gates for CI. Never changes the store.

use super::filter::FilterArgs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::progress::Shown;
use super::{Exit, Usage, dir, left_out, metric, out};
use crate::config::{did_you_mean, show_count};
use crate::formats::Output;
use crate::stats::metric::Metric;
use crate::store::format::schema::DIMENSIONS;
use crate::store::read::query::contrast::{Contender, contrasts, flips, means};
use crate::store::read::query::sessions::sessions;
use crate::store::read::query::{self, Filter, GroupValue};
use crate::store::{Control, Store};
use crate::text::sanitise::sanitise;

mod gates;
mod print;
mod ranks;

use gates::Gates;
use ranks::Standing;

/// So many names are listed of those there are.
const LISTED: usize = 10;
/// So many values are compared where none are named.
const MOST: usize = 30;

/// How `compare` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompareFormat {
    /// For people
    Text,
    /// For scripts
    Json,
    /// Tables for a pull request
    Md,
    /// For CI: a test case for each comparison
    Junit,
}

/// `evaltop compare`.
#[derive(Debug, Clone, Args)]
#[command(override_usage = "evaltop compare [OPTIONS] [DIR] [VALUE]...")]
pub struct CompareArgs {
    /// The store, where it is not the usual one, and the values [default: all there are]
    #[arg(value_names = ["DIR|VALUE"])]
    pub names: Vec<String>,
    /// The column whose values are compared: model, prompt_type, session, or any other
    #[arg(long, value_name = "COLUMN", default_value = "model")]
    pub by: String,
    /// Compare with this value only; of sessions also latest and previous
    #[arg(long, value_name = "VALUE")]
    pub baseline: Option<String>,
    /// Compare the mean of this column or expression instead of the success rate: score, cost
    #[arg(long, value_name = "COLUMN")]
    pub metric: Option<String>,
    /// List the tests that ended otherwise on the other side
    #[arg(long, conflicts_with = "metric")]
    pub flipped: bool,
    /// End with 30 when a value is significantly worse than the baseline, with 1 when that can't
    /// be decided
    #[arg(long)]
    pub fail_if_worse: bool,
    /// End with 30 when a value is worse than the baseline by more than so many points, or so
    /// much of the --metric; a gate that can't be decided ends with 1
    #[arg(long, value_name = "POINTS")]
    pub max_drop: Option<f64>,
    /// End with 30 when a success rate is below this, 0 to 1, or the mean of the --metric is
    #[arg(long, value_name = "RATE")]
    pub fail_under: Option<f64>,
    /// End with 30 when the mean of the --metric is above this
    #[arg(long, value_name = "MEAN", requires = "metric")]
    pub fail_over: Option<f64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    pub format: CompareFormat,
    /// Draw the differences with their intervals into this SVG file too
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Replace an existing file
    #[arg(short, long, requires = "plot")]
    pub yes: bool,
}

/// `evaltop compare`.
pub fn run(args: &CompareArgs) -> Result<Exit> {
    let shown = Shown::new();
    let (text, exit) = rendered(args, &shown.control)?;
    let warned = left_out::say(&shown.control, args.filter.strict);
    drop(shown);
    match out::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(match exit {
            Exit::Ok => warned,
            failed => failed,
        }),
    }
}

/// The comparison in the form that is asked for, and what its gates say.
pub(super) fn rendered(args: &CompareArgs, control: &Control) -> Result<(String, Exit)> {
    let column = match args.by.as_str() {
        "session" => "session_id",
        "prompt-type" => "prompt_type",
        other => other,
    };
    let clash = match column {
        "model" => !args.filter.model.is_empty(),
        "prompt_type" => !args.filter.prompt_type.is_empty(),
        "difficulty" => !args.filter.difficulty.is_empty(),
        "task_type" => !args.filter.task_type.is_empty(),
        "session_id" => !args.filter.session.is_empty(),
        _ => false,
    };
    if clash {
        let flag = column.trim_end_matches("_id").replace('_', "-");
        return Err(Usage(format!("--{flag} is what is compared: leave it out")).into());
    }
    if args
        .fail_under
        .is_some_and(|rate| args.metric.is_none() && !(0.0..=1.0).contains(&rate))
    {
        return Err(Usage("--fail-under is a rate between 0 and 1, such as 0.8".to_owned()).into());
    }
    let is_svg = |path: &PathBuf| {
        path.extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("svg"))
    };
    if args.plot.as_ref().is_some_and(|path| !is_svg(path)) {
        return Err(Usage("--plot draws SVG: give a name that ends with .svg".to_owned()).into());
    }
    args.plot.as_deref().map_or(Ok(()), dir::written)?;
    let (named, values) = split(args, column)?;
    // What is typed wrong is said before a store is looked for.
    args.filter.filter(Timestamp::now(), &TimeZone::system())?;
    let (store, config) = dir::existing_view(named.as_deref())?;
    let filter = args.filter.filter_of(&store, control)?;
    let gated = args.fail_if_worse
        || args.max_drop.is_some()
        || args.fail_under.is_some()
        || args.fail_over.is_some();
    // A gate that can't be decided, such as on the first night, is a failure of its own.
    let undecided = |error: anyhow::Error| match error.downcast::<Usage>() {
        Ok(Usage(why)) if gated => anyhow::anyhow!("the gate can't be decided: {why}"),
        Ok(usage) => usage.into(),
        Err(error) => error,
    };
    let chosen = Chosen::of(args, &store, &filter, column, values, control).map_err(undecided)?;
    let found = |metric: &Metric| {
        contrasts(
            &store,
            &filter,
            (column, metric),
            &chosen.values,
            MOST,
            control,
        )
    };
    let name = args.metric.as_deref().unwrap_or("success");
    // Of the tests that are compared: others may be billed where these are not.
    let mut asked = filter.clone();
    if ["model", "session_id"].contains(&column) && !chosen.values.is_empty() {
        super::filter::one_of(&mut asked, column, &chosen.values)?;
    }
    let (mut metric, unmeasured) = metric::chosen(&config, &store, &asked, name, control)?;
    let (mut contenders, mut contrasts) = found(&metric)?;
    // Where nothing is judged, the score is what there is to compare.
    let judged = |own: &Contender| own.tally.judged() > 0;
    if args.metric.is_none() && !contenders.is_empty() && !contenders.iter().any(judged) {
        let all = query::Selection {
            limit: Some(0),
            ..query::Selection::default()
        };
        let there = query::rows(&store, &all, control)?;
        if there.schema().field_with_name("score").is_ok() {
            metric = config.metric("score");
            (contenders, contrasts) = found(&metric)?;
        }
    }
    if let Some(none) = contenders.iter().find(|own| own.tally.tests == 0) {
        return Err(undecided(
            nobody(&store, &filter, column, &none.value, control)?.into(),
        ));
    }
    let alone = gated && !args.fail_if_worse && args.max_drop.is_none();
    if contenders.len() < 2 && !(alone && contenders.len() == 1) {
        let there = contenders.first().map_or("none", |own| &own.value);
        return Err(undecided(
            Usage(format!(
                "a comparison needs two values of {column}, and there is {}",
                sanitise(there)
            ))
            .into(),
        ));
    }
    let baseline = chosen.baseline.as_ref().and_then(|baseline| {
        contenders
            .iter()
            .position(|contender| contender.value == *baseline)
    });
    if let (Some(missing), None) = (&chosen.baseline, baseline) {
        return Err(undecided(
            nobody(&store, &filter, column, missing, control)?.into(),
        ));
    }
    let mut standing = Standing::new(metric, contenders, contrasts, baseline);
    if !standing.metric.is_success() {
        let means = means(&store, &filter, (column, &standing.metric), control)?;
        let of = |own: &Contender| means.get(&own.value).copied();
        standing.means = standing.contenders.iter().map(of).collect();
    }
    let flipped = match (args.flipped, standing.sides()) {
        (false, _) => None,
        (true, Some([first, second])) => {
            Some(flips(&store, &filter, column, [&first, &second], control)?)
        }
        (true, None) => {
            return Err(Usage(
                "--flipped compares two values: name two, or one and a --baseline".to_owned(),
            )
            .into());
        }
    };
    let gates = Gates::judge(args, &standing);
    let report = print::Report {
        column,
        standing: &standing,
        flipped: flipped.as_ref(),
        gates: &gates,
        left_out: {
            control.leave_out_also(unmeasured);
            control.left_out()
        },
    };
    if let Some(path) = &args.plot {
        let drawn = report.plot(&store);
        let output = Output::file(path, &store.layout, args.yes)?;
        let written = output.handle().write_all(drawn.as_bytes());
        written.map_err(crate::store::Error::io("write", path))?;
        output.commit()?;
    }
    let text = match args.format {
        CompareFormat::Text => report.text(),
        CompareFormat::Json => format!("{}\n", report.json()),
        CompareFormat::Md => report.markdown(),
        CompareFormat::Junit => report.junit(),
    };
    Ok((text, gates.exit()))
}

/// The store that stands before the values, and the values.
fn split(args: &CompareArgs, column: &str) -> Result<(Option<PathBuf>, Vec<String>)> {
    let Some((first, rest)) = args.names.split_first() else {
        return Ok((None, Vec::new()));
    };
    let what = column.replace('_', " ");
    if dir::chosen().is_some() && dir::chosen() != Some(std::path::Path::new(first)) {
        return Ok((None, args.names.clone()));
    }
    if Store::new(first).check().is_ok() {
        return match rest {
            [only] if args.baseline.is_none() => Err(Usage(format!(
                "'{first}' is a store, so the second {what} is missing: evaltop compare {first} {only} B"
            ))
            .into()),
            _ => Ok((Some(PathBuf::from(first)), rest.to_vec())),
        };
    }
    if rest.is_empty() && args.baseline.is_none() {
        return Err(Usage(format!(
            "'{first}' is neither a store nor enough: name two values of {what}, or none for all"
        ))
        .into());
    }
    // Three names used to be a store and two values: where there is no usual store, the first
    // is a store that is missing.
    if rest.len() == 2 && dir::existing(None).is_err() {
        return Ok((Some(PathBuf::from(first)), rest.to_vec()));
    }
    Ok((None, args.names.clone()))
}

/// What is compared.
struct Chosen {
    values: Vec<String>,
    baseline: Option<String>,
}

impl Chosen {
    fn of(
        args: &CompareArgs,
        store: &Store,
        filter: &Filter,
        column: &str,
        mut values: Vec<String>,
        control: &Control,
    ) -> Result<Self> {
        let relative = |value: &String| ["latest", "previous"].contains(&value.as_str());
        let mut baseline = args.baseline.clone();
        if column == "session_id" && values.iter().chain(&baseline).any(relative) {
            let sessions = sessions(store, filter, control)?;
            for value in values.iter_mut().chain(&mut baseline) {
                if relative(value) {
                    *value = super::filter::named(value, &sessions)?;
                }
            }
            // `--baseline previous` alone is the newest session against the one before.
            if let (true, Some(latest)) = (values.is_empty(), sessions.first()) {
                values.push(latest.id.clone());
            }
        }
        if let Some(baseline) = baseline.as_ref().filter(|_| !values.is_empty())
            && !values.contains(baseline)
        {
            values.push(baseline.clone());
        }
        for (at, value) in values.iter().enumerate() {
            if values.iter().skip(at + 1).any(|other| other == value) {
                return Err(Usage(format!("'{value}' can't be compared with itself")).into());
            }
        }
        // Of two values the second is what the first is measured by.
        if baseline.is_none() && values.len() == 2 {
            baseline = values.last().cloned();
        }
        let gated = args.fail_if_worse || args.max_drop.is_some();
        if gated && baseline.is_none() {
            return Err(Usage(
                "--fail-if-worse and --max-drop need a --baseline, or two values of which the second is it"
                    .to_owned(),
            )
            .into());
        }
        Ok(Self { values, baseline })
    }
}

/// Says which names there are.
fn nobody(
    store: &Store,
    filter: &Filter,
    column: &str,
    name: &str,
    control: &Control,
) -> Result<Usage> {
    let mut names: Vec<String> = if DIMENSIONS.contains(&column) {
        let filter = match column {
            "model" => Filter {
                models: Vec::new(),
                ..filter.clone()
            },
            "prompt_type" => Filter {
                prompt_types: Vec::new(),
                ..filter.clone()
            },
            _ => filter.clone(),
        };
        let groups = query::grouped(store, &filter, &[column.to_owned()], control)?;
        let text = |group: query::Group| match group.values.into_iter().next() {
            Some(GroupValue::Text(text)) => Some(sanitise(&text).into_owned()),
            Some(GroupValue::Rate(rate)) => rate.map(|rate| rate.to_string()),
            None => None,
        };
        groups.into_iter().filter_map(text).collect()
    } else {
        let (there, _) = contrasts(
            store,
            filter,
            (column, &Metric::default()),
            &[],
            MOST,
            control,
        )?;
        there
            .into_iter()
            .map(|own| sanitise(&own.value).into_owned())
            .collect()
    };
    let what = column.replace('_', " ");
    let name = sanitise(name);
    let meant = did_you_mean(&name, names.iter().map(String::as_str));
    // The likely ones first: a long list is cut.
    let typed = name.to_lowercase();
    names.sort_by_cached_key(|there| !there.to_lowercase().starts_with(&typed));
    let more = names.len().saturating_sub(LISTED);
    names.truncate(LISTED);
    let there_are = match (names.as_slice(), more) {
        ([], _) => "no tests at all".to_owned(),
        (names, 0) => names.join(", "),
        (names, more) => format!("{} and {} more", names.join(", "), show_count(more as u64)),
    };
    Ok(Usage(format!(
        "no record of {what} '{name}' matches{meant}: there are {there_are}"
    )))
}
