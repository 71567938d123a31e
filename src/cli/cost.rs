//! `cost`: what the tests cost, and what they will. Never changes the store.

use super::filter::FilterArgs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::progress::Shown;
use super::{Exit, dir, left_out, out, terminal_columns};
use crate::config::show_counted;
use crate::formats::{self, Form, Output};
use crate::monitor::Monitor;
use crate::observation::spending::{SpendingView, Spent};
use crate::stats::money;
use crate::stats::prices::Prices;
use crate::store::read::query::spending::spending;
use crate::store::{Error, Result as StoreResult};
use crate::text::numbers::dollars;
use crate::text::sanitise::sanitise;

/// How `cost` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CostFormat {
    /// For people
    Text,
    /// For scripts
    Json,
    /// Comma-separated values with a header
    Csv,
    /// A Markdown table
    Md,
}

/// `evaltop cost`.
#[derive(Debug, Clone, Args)]
pub struct CostArgs {
    /// The store
    pub dir: Option<PathBuf>,
    /// By the values of these columns: model, session_id, or any other
    #[arg(
        long,
        value_name = "A,B",
        value_delimiter = ',',
        default_value = "model"
    )]
    pub by: Vec<String>,
    /// End with 30 when the tests cost more dollars than this, or will when the plan is done
    #[arg(long, value_name = "DOLLARS", value_parser = amount)]
    pub budget: Option<f64>,
    /// Planned number of tests, for the forecast; without it, what the session's writers plan
    #[arg(long, value_name = "N")]
    pub target: Option<u64>,
    #[command(flatten)]
    #[allow(missing_docs)]
    pub filter: FilterArgs,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    pub format: CostFormat,
}

/// Dollars, more than none.
pub(super) fn amount(text: &str) -> Result<f64, String> {
    let bare = text.strip_prefix('$').unwrap_or(text);
    match bare.parse::<f64>() {
        Ok(amount) if amount > 0.0 && amount.is_finite() => Ok(amount),
        _ => Err("write dollars, more than 0: 50 or 12.50".to_owned()),
    }
}

/// `evaltop cost`.
pub fn run(args: &CostArgs) -> Result<Exit> {
    args.filter.filter(Timestamp::now(), &TimeZone::system())?;
    let (store, mut config) = dir::existing_view(args.dir.as_deref())?;
    config.budget = args.budget.or(config.budget);
    config.target = args.target;
    let shown = Shown::new();
    let filter = args.filter.filter_of(&store, &shown.control)?;
    let by: Vec<String> = args
        .by
        .iter()
        .map(|name| match name.as_str() {
            "session" => "session_id".to_owned(),
            name => name.to_owned(),
        })
        .collect();
    let prices = Arc::clone(&config.price_table);
    let limit = config.budget;
    let groups = spending(&store, &filter, &by, &prices, &shown.control)?;
    let groups: Vec<(Vec<String>, Spent)> = groups.into_iter().collect();
    let mut all = Spent::default();
    for (_, spent) in &groups {
        all.add(spent);
    }
    // A part of the store has neither a plan nor a rate of its own.
    let whole = filter == crate::store::read::query::Filter::default();
    let live = if whole {
        let seen = Monitor::new(store.clone(), config).observe(Timestamp::now());
        seen.spending.map(|view| SpendingView::clone(&view))
    } else {
        None
    };
    let exit = left_out::say(&shown.control, args.filter.strict);
    let left_out = shown.control.left_out();
    drop(shown);
    let found = Found {
        left_out,
        by,
        groups,
        all,
        live: live.unwrap_or_default(),
        limit,
    };
    found.print(args.format, &prices)?;
    let forecast = found.live.forecast.or(found.all.dollars());
    let over = |limit: f64| forecast.is_some_and(|cost| cost > limit);
    match args.budget {
        Some(_) if found.all.dollars().is_none() => Err(anyhow::anyhow!(
            "the budget can't be judged: no test says what it cost"
        )),
        Some(limit) if over(limit) => Ok(Exit::Gate),
        _ => Ok(exit),
    }
}

struct Found {
    by: Vec<String>,
    groups: Vec<(Vec<String>, Spent)>,
    all: Spent,
    live: SpendingView,
    limit: Option<f64>,
    /// What did not count, a sentence each.
    left_out: Vec<String>,
}

impl Found {
    fn print(&self, format: CostFormat, prices: &Prices) -> Result<()> {
        let mut out = out::stdout();
        let written = match format {
            CostFormat::Json => writeln!(out, "{:#}", self.json()),
            CostFormat::Text => {
                let terminal = io::stdout().is_terminal();
                self.table(Form::Table {
                    width: terminal.then(terminal_columns),
                })?;
                let lines = self.sentences(prices).join("\n");
                writeln!(out, "\n{lines}")
            }
            CostFormat::Csv => return Ok(self.table(Form::Csv)?),
            CostFormat::Md => return Ok(self.table(Form::Markdown)?),
        };
        match written {
            Err(error) if !out::is_closed(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn table(&self, form: Form) -> StoreResult<()> {
        let batch = self.batch()?;
        let output = Output::stdout();
        let mut writer = formats::writer(form, &batch.schema(), output.handle())?;
        let written = writer.write(&batch).and_then(|()| writer.finish());
        match written {
            Err(_) if output.closed() => Ok(()),
            Err(error) => Err(output.explain(error)),
            Ok(()) => output.commit(),
        }
    }

    fn batch(&self) -> StoreResult<RecordBatch> {
        let spent = || self.groups.iter().map(|(_, spent)| spent);
        let money = |of: &dyn Fn(&Spent) -> Option<f64>| -> ArrayRef {
            Arc::new(spent().map(of).collect::<Float64Array>())
        };
        let part = |own: money::Money| (own.n > 0).then(|| money::dollars(own.billionths));
        let count = |of: &dyn Fn(&Spent) -> u64| -> ArrayRef {
            Arc::new(
                spent()
                    .map(|own| Some(of(own) as i64))
                    .collect::<Int64Array>(),
            )
        };
        let mut columns: Vec<(String, ArrayRef)> = Vec::new();
        for (at, name) in self.by.iter().enumerate() {
            let values = self.groups.iter().map(|(key, _)| key.get(at).cloned());
            columns.push((name.clone(), Arc::new(values.collect::<StringArray>())));
        }
        for (name, column) in [
            ("tests", count(&|own| own.tests)),
            ("total_cost", money(&Spent::dollars)),
            ("billed", money(&|own| part(own.billed))),
            ("judge", money(&|own| part(own.judge))),
            ("derived", money(&|own| part(own.derived))),
            ("cost_per_pass", money(&Spent::per_pass)),
            ("tokens", count(&|own| own.tokens)),
            ("tests_without_cost", count(&Spent::unknown)),
        ] {
            columns.push((name.to_owned(), column));
        }
        let columns = columns
            .into_iter()
            .map(|(name, column)| (name, column, true));
        RecordBatch::try_from_iter_with_nullable(columns)
            .map_err(|error| Error::Refused(format!("the costs can't be shown: {error}")))
    }

    /// What the figures come to.
    fn sentences(&self, prices: &Prices) -> Vec<String> {
        let (all, live) = (&self.all, &self.live);
        let Some(total) = all.dollars() else {
            let mut lines = vec!["no test says what it cost".to_owned()];
            lines.extend(self.unknown(prices));
            return lines;
        };
        let part = |own: money::Money, what: &str| {
            (own.n > 0).then(|| format!("{} {what}", dollars(money::dollars(own.billionths))))
        };
        let parts = [
            part(all.billed, "billed"),
            part(all.judge, "billed for judging"),
            part(all.derived, "derived from the prices of tokens"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let each = all
            .per_pass()
            .map_or_else(String::new, |each| format!(", {} a success", dollars(each)));
        let mut lines = vec![format!("{}{each}: {}", dollars(total), parts.join(", "))];
        lines.extend(live.retried.map(|retried| {
            format!(
                "≈ {} more for attempts that newer ones replaced",
                dollars(retried)
            )
        }));
        lines.extend(
            live.per_hour
                .map(|rate| format!("{} an hour at the rate of now", dollars(rate))),
        );
        let limit = self.limit.map_or_else(String::new, |limit| {
            format!(", the budget is {}", dollars(limit))
        });
        match live.forecast {
            Some(forecast) => lines.push(format!(
                "{} when the plan is done, if the tests left cost what those so far did{limit}",
                dollars(forecast)
            )),
            None if !limit.is_empty() => lines.push(format!("{} spent{limit}", dollars(total))),
            None => {}
        }
        lines.extend(self.unknown(prices));
        lines
    }

    /// What the total lacks.
    fn unknown(&self, prices: &Prices) -> Vec<String> {
        let mut lines = Vec::new();
        if self.all.unpriced > 0 {
            let mut names: Vec<String> = Vec::new();
            if let Some(at) = self.by.iter().position(|name| name == "model") {
                for (key, _) in self.groups.iter().filter(|(_, own)| own.unpriced > 0) {
                    let name = key.get(at).map(|name| sanitise(name).into_owned());
                    names.extend(name.filter(|name| !names.contains(name)));
                }
            }
            names.truncate(10);
            let of = if names.is_empty() {
                String::new()
            } else {
                format!(" of {}", names.join(", "))
            };
            let how = if prices.is_empty() {
                "name a price file with --prices"
            } else {
                "no price file has a price of theirs"
            };
            lines.push(format!(
                "not in it: {}{of} with tokens and without a cost: {how}",
                show_counted(self.all.unpriced, "test")
            ));
        }
        let silent = self.all.unknown().saturating_sub(self.all.unpriced);
        if silent > 0 {
            lines.push(format!(
                "not in it: {} that {} neither a cost nor tokens",
                show_counted(silent, "test"),
                if silent == 1 { "says" } else { "say" },
            ));
        }
        lines
    }

    fn json(&self) -> Value {
        let group = |(key, spent): &(Vec<String>, Spent)| {
            let names = self.by.iter().zip(key);
            let mut all: serde_json::Map<String, Value> = names
                .map(|(name, value)| (name.clone(), json!(value)))
                .collect();
            if let Value::Object(figures) = figures(spent) {
                all.extend(figures);
            }
            Value::Object(all)
        };
        json!({
            "schema_version": 1,
            "left_out": self.left_out,
            "by": self.by,
            "total": figures(&self.all),
            "retried": self.live.retried,
            "per_hour": self.live.per_hour,
            "forecast": self.live.forecast,
            "budget": self.limit,
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
        })
    }
}

/// The figures of some tests, in dollars.
pub(super) fn figures(spent: &Spent) -> Value {
    let part = |own: money::Money| (own.n > 0).then(|| money::dollars(own.billionths));
    json!({
        "tests": spent.tests,
        "cost": spent.dollars(),
        "billed": part(spent.billed),
        "judge": part(spent.judge),
        "derived": part(spent.derived),
        "cost_per_pass": spent.per_pass(),
        "tokens": spent.tokens,
        "tests_without_cost": spent.unknown(),
        "tests_without_price": spent.unpriced,
    })
}
