//! `run`: a command once a test, in parallel, recorded. What it does is in `runner`;
//! here are its flags, its signals, what it shows and what it reports.

use super::record::DurabilityArg;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::dir::Target;
use super::missing::shard;
use super::{Exit, ReportFormat, Usage, dir, left_out, out, progress, verbosity};
use crate::config::{Config, parse_duration, show_count, show_counted, show_duration};
use crate::formats::json_mirror::Beside;
use crate::jobs::{self, ConsolidateOptions, Request};
use crate::runner::missing::{Again, missing};
use crate::runner::plan::{self, Dimensions, Row};
use crate::runner::{self, Counts, Early, Event, Limits, Spec, Stop, Summary, Urgency};
use crate::sources::mailbox::{Url, View};
use crate::stats::money;
use crate::stats::money::Tokens;
use crate::stats::prices::{Prices, in_billionths};
use crate::stats::spent::Spent;
use crate::store::format::record::{REPEATED, SURROGATES};
use crate::store::format::session_note::SessionNote;
use crate::store::maintain::operations::{self, Followed, Operation};
use crate::store::read::query::Filter;
use crate::store::read::query::spending::spending;
use crate::store::write::session_notes::{self, BEGAN, PLAN_HASH};
use crate::store::{Control, Error, Record, Store};
use crate::text::numbers::dollars;
use crate::text::sanitise::sanitise;

/// Where there is no terminal, a line at most so often.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// The name of the hidden command that [`guard`] is.
pub(super) const GUARD: &str = "guard-run";

/// `evaltop run`.
#[derive(Debug, Clone, Args)]
#[allow(clippy::struct_excessive_bools)] // each is a flag that can be typed
pub struct RunArgs {
    /// The store; made when it is not there
    pub dir: Option<PathBuf>,
    /// Models to test
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "A,B",
        required_unless_present = "plan"
    )]
    pub models: Vec<String>,
    /// Prompt types
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub prompt_types: Vec<String>,
    /// Difficulties
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub difficulties: Vec<String>,
    /// Kinds of task
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub task_types: Vec<String>,
    /// Rates of successful tool calls, 0 to 1
    #[arg(long, value_delimiter = ',', value_name = "A,B")]
    pub tool_success_rates: Vec<f64>,
    /// Run what a file lists instead: JSON lines, or CSV with a header
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["models", "prompt_types", "difficulties", "task_types", "tool_success_rates"]
    )]
    pub plan: Option<PathBuf>,
    /// Tests of each combination, or of each row of the plan
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub num_instances: u64,
    /// Tests at once
    #[arg(long, value_name = "N", default_value = "4")]
    pub workers: NonZeroUsize,
    /// The longest that a test may take: seconds, or 90s, 5m, 1h
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<String>,
    /// More attempts after a crash or an error of the infrastructure
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub retries: u32,
    /// How long the first of them waits; each further one waits twice as long
    #[arg(long, value_name = "TIME", default_value = "1s")]
    pub backoff: String,
    /// Tests started a second: of all models (N), or of one (MODEL=N; may be repeated)
    #[arg(long, value_name = "N|MODEL=N")]
    pub qps: Vec<String>,
    /// Tests started a second of each model that --qps does not name
    #[arg(long, value_name = "N")]
    pub qps_per_model: Option<f64>,
    /// An exit status that means a rate limit and the like (may be repeated)
    #[arg(long, value_name = "CODE")]
    pub infrastructure_exit: Vec<i32>,
    /// Run again what the infrastructure failed in an earlier run; the newer attempt counts
    #[arg(long)]
    pub rerun_infrastructure: bool,
    /// Run one part of the plan only, such as 1/8; slurm takes it from the job array. Parts are
    /// divided by the test, before what is done is left out: start them whenever you like
    #[arg(long, value_name = "I/N|slurm")]
    pub shard: Option<String>,
    /// End early when a model suddenly fails far more often than it did
    #[arg(long)]
    pub stop_on_burst: bool,
    /// A name for this run: the same plan under another name is run again. `auto` goes on with the
    /// newest session of this plan and commit that is not done, else makes a name of date and commit
    #[arg(long, value_name = "NAME|auto")]
    pub session: Option<String>,
    /// What is to be known of the session: prompt=v12 (may be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    pub meta: Vec<String>,
    /// Start no more tests when those of the session cost so many dollars, and end with 30
    #[arg(long, value_name = "DOLLARS", value_parser = super::cost::amount)]
    pub max_cost: Option<f64>,
    /// Merge the results into main at the end
    #[arg(long)]
    pub consolidate: bool,
    /// What a recorded result survives: kill -9, or loss of power [default: process]
    #[arg(long, value_enum)]
    pub durability: Option<DurabilityArg>,
    /// Say what would be run and run nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How to report
    #[arg(long, value_enum, default_value = "text")]
    pub format: ReportFormat,
    /// The program that runs one test, and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// `evaltop run`.
pub fn run(args: &RunArgs) -> Result<Exit> {
    let Target {
        store,
        config,
        options,
        url,
    } = dir::target(args.dir.as_deref(), None, args.durability)?;
    if let Some(url) = &url {
        mailbox(args, url)?;
    }
    // What others put into the mailbox is done; where nothing lies there yet, nothing is.
    let others = url.iter().map(View::open).collect::<Result<Vec<_>, _>>()?;
    for view in &others {
        match view.refresh(None, &Control::default()) {
            Err(Error::NoStore { .. }) => {}
            taken => drop(taken?),
        }
    }
    let place = match &url {
        None => store.layout.root().display().to_string(),
        Some(url) => url.name(),
    };
    let meta = meta(&args.meta)?;
    let named;
    let args = if args.session.as_deref() == Some("auto") {
        named = RunArgs {
            session: Some(automatic(args, &store)?),
            ..args.clone()
        };
        &named
    } else {
        args
    };
    let spec = Spec {
        command: args.command.clone(),
        workers: args.workers.get(),
        timeout: args
            .timeout
            .as_deref()
            .map(|text| time("--timeout", text))
            .transpose()?,
        retries: args.retries,
        backoff: time("--backoff", &args.backoff)?,
        limits: limits(args)?,
        infrastructure_exits: args.infrastructure_exit.clone(),
        stop_on_burst: args.stop_on_burst,
        again: again(args),
        shard: args.shard.as_deref().map(shard).transpose()?,
        guard: super::program().ok().map(|mut words| {
            words.push(GUARD.into());
            words
        }),
        adopts: true,
        session: args.session.clone(),
        writer: options,
        others: others.into_iter().map(|view| view.store).collect(),
    };
    let rows = rows(args)?;
    let known = runner::models(&rows);
    if let Some(unknown) = spec
        .limits
        .models
        .keys()
        .find(|model| !known.contains(model.as_str()))
    {
        return Err(Usage(format!(
            "--qps {unknown}=…: the plan has no model of that name"
        ))
        .into());
    }
    let control = Control::default();
    if args.dry_run {
        let due = missing(
            &store,
            &spec.others,
            &rows,
            spec.again,
            spec.shard,
            spec.session.as_deref(),
            &control,
        )?;
        left_out::sentences(&control.left_out());
        let there = due.there;
        let counts = Counts {
            planned: due.missing.len() as u64 + there,
            there,
            ..Counts::default()
        };
        let text = format!(
            "would run {} of {} in {}, {} at once; {} there already",
            show_counted(counts.left(), "test"),
            show_count(counts.planned),
            show_counted(rows.len() as u64, "cell"),
            show_count(spec.workers as u64),
            show_count(there),
        );
        report(args, &text, &figures(&place, &counts, None, true))?;
        return Ok(Exit::Ok);
    }
    keep(args, &store, &rows, meta)?;
    let budget = Budget::new(args, &store, &config, &control)?;
    let beside = match &url {
        None => dir::beside(&store)?,
        Some(_) => None,
    };
    let begun = Instant::now();
    let stop = Arc::new(Stop::new()?);
    let asked = Arc::clone(&stop);
    let interrupted = control.clone();
    progress::on_signals(move |nth| {
        interrupted.cancel();
        asked.ask(if nth == 1 {
            Urgency::Interrupt
        } else {
            Urgency::Kill
        });
    });
    let shown = Shown::new();
    let command = command_line(&spec.command);
    let other = other_command(&store, &command, spec.session.as_deref());
    let ended = runner::run(&store, &rows, &spec, &stop, &control, &|counts, event| {
        if let (Some(beside), Event::Recorded(_)) = (&beside, event) {
            beside.changed();
        }
        if let Event::Recorded(record) | Event::Again(record, _) = event
            && budget.take(record)
        {
            stop.ask(Urgency::Drain);
        }
        shown.report(counts, event);
    });
    drop(shown);
    let summary = ended?;
    left_out::sentences(&control.left_out());
    if summary.counts.done > 0 {
        operations::keep(
            &store,
            &Operation {
                command: Some(command),
                session: spec.session.clone(),
                ..Operation::now(
                    "run",
                    format!("ran {}", show_counted(summary.counts.done, "test")),
                )
            },
        );
    }
    if let (Some(other), 1..) = (other, summary.counts.there) {
        verbosity::complain(&format!(
            "the tests that were there are results of another command ({other}), and count as done; \
             --session NAME makes another run of this one"
        ));
    }
    let counts = &summary.counts;
    for (results, what) in [(counts.mended, SURROGATES), (counts.repeated, REPEATED)] {
        if results > 0 {
            let results = show_counted(results, "result");
            verbosity::complain(&format!("{results} had {what}"));
        }
    }
    beside.map_or(Ok(()), Beside::finish)?;
    let consolidated = if args.consolidate && summary.early != Some(Early::Asked) {
        Some(consolidate(&store)?)
    } else {
        None
    };
    let over = budget.is_spent() && summary.counts.left() > 0;
    let mut text = sentence(&summary, begun.elapsed());
    if let (true, Some(limit)) = (over, args.max_cost) {
        let spent = dollars(budget.spent());
        text = text.replacen(
            "; stopped",
            &format!("; stopped, because {spent} are spent of {}", dollars(limit)),
            1,
        );
    }
    if let Some(outcome) = &consolidated {
        text = format!("{text}\n{}", outcome.summary);
    }
    let mut value = figures(&place, &summary.counts, summary.early.as_ref(), false);
    if let Some(fields) = value.as_object_mut() {
        fields.insert(
            "consolidated".to_owned(),
            consolidated.map_or(Value::Null, |outcome| outcome.json),
        );
        fields.insert("session".to_owned(), json!(args.session));
        if args.max_cost.is_some() {
            fields.insert("cost".to_owned(), json!(budget.spent()));
        }
        if over {
            fields.insert("stopped".to_owned(), json!("max_cost"));
        }
    }
    report(args, &text, &value)?;
    Ok(match summary.early {
        _ if over => Exit::Gate,
        None => Exit::Ok,
        Some(Early::Asked) => Exit::Interrupted,
        Some(Early::Burst(..)) => Exit::Failed,
    })
}

/// What needs a store that main and all sessions are in is refused of a mailbox.
fn mailbox(args: &RunArgs, url: &Url) -> Result<(), Usage> {
    let asked = [
        (args.consolidate, "--consolidate"),
        (args.session.as_deref() == Some("auto"), "--session auto"),
        (args.max_cost.is_some(), "--max-cost"),
    ];
    match asked.iter().find(|(asked, _)| *asked) {
        None => Ok(()),
        Some((_, flag)) => Err(Usage(format!(
            "{flag} needs a store, and {} is a mailbox: run into a folder, or leave it out",
            url.name()
        ))),
    }
}

/// `key=value` pairs.
fn meta(pairs: &[String]) -> Result<Map<String, Value>, Usage> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => {
            Ok((key.trim().to_owned(), Value::from(value)))
        }
        _ => Err(Usage(format!(
            "--meta '{text}': write KEY=VALUE, such as prompt=v12"
        ))),
    };
    pairs.iter().map(pair).collect()
}

/// What the program itself says of a session, unless the user does.
const COMMIT: &str = "commit";

/// Keeps what is known of the session, where that is more than its name.
fn keep(args: &RunArgs, store: &Store, rows: &[Row], mut meta: Map<String, Value>) -> Result<()> {
    if args.session.is_none() && meta.is_empty() {
        return Ok(());
    }
    store.create()?;
    meta.insert(PLAN_HASH.to_owned(), plan_hash(rows).into());
    if let Some(commit) = commit() {
        meta.entry(COMMIT).or_insert_with(|| commit.into());
    }
    let planned = rows.iter().map(|row| row.instances).sum();
    // The same command again says nothing new.
    let known = |own: &SessionNote| {
        let mut said = own.meta.clone();
        said.remove(BEGAN);
        (&own.session, own.plan, &said) == (&args.session, Some(planned), &meta)
    };
    if session_notes::all(store)?.iter().any(known) {
        return Ok(());
    }
    let mut said = meta.clone();
    said.insert(BEGAN.to_owned(), Timestamp::now().to_string().into());
    if let Some(note) = SessionNote::new(args.session.clone(), Some(planned), said) {
        session_notes::keep(store, &note)?;
    }
    Ok(())
}

/// The same for the same tests, whatever the session.
fn plan_hash(rows: &[Row]) -> String {
    let mut lines: Vec<String> = rows
        .iter()
        .map(|row| format!("{:?} {} {:?}", row.cell, row.instances, row.fields))
        .collect();
    lines.sort_unstable();
    format!("{:016x}", xxh3_64(lines.join("\n").as_bytes()))
}

/// The commit of the folder that the run starts in, `+dirty` where something is changed there.
fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = std::process::Command::new("git").args(args).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        output.status.success().then(|| text.trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=7", "HEAD"])?;
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]);
    let dirty = dirty.is_none_or(|changes| !changes.is_empty());
    Some(if dirty {
        format!("{commit}+dirty")
    } else {
        commit
    })
}

/// The newest session of this plan and commit that is not done, else a new name.
fn automatic(args: &RunArgs, store: &Store) -> Result<String> {
    // The ids of tests are of their session, and so are the rows of a plan.
    let of = |session: Option<&str>| {
        rows(&RunArgs {
            session: session.map(str::to_owned),
            ..args.clone()
        })
    };
    let rows = of(None)?;
    let (hash, commit) = (plan_hash(&rows), commit());
    let mut notes = session_notes::all(store)?;
    let text = |note: &SessionNote, name: &str| {
        let value = note.meta.get(name).and_then(Value::as_str);
        value.map(str::to_owned)
    };
    // The newest first: times in UTC sort as texts.
    notes.sort_by_key(|note| std::cmp::Reverse(text(note, BEGAN)));
    let own = |note: &&SessionNote| {
        text(note, PLAN_HASH).as_ref() == Some(&hash) && text(note, COMMIT) == commit
    };
    for note in notes.iter().filter(own) {
        let Some(session) = &note.session else {
            continue;
        };
        let due = missing(
            store,
            &[],
            &of(Some(session))?,
            again(args),
            None,
            Some(session),
            &Control::default(),
        )?;
        if !due.missing.is_empty() {
            return Ok(session.clone());
        }
    }
    let day = Timestamp::now().to_zoned(TimeZone::system()).date();
    let name = match commit {
        Some(commit) => format!("{day}-{commit}"),
        None => day.to_string(),
    };
    let is_taken = |name: &str| {
        let named = notes.iter().filter_map(|note| note.session.as_deref());
        named.into_iter().any(|own| own == name)
    };
    let numbered = (2..).map(|nth| format!("{name}-{nth}"));
    let free = std::iter::once(name.clone())
        .chain(numbered)
        .find(|name| !is_taken(name));
    Ok(free.unwrap_or(name))
}

/// What the session's tests cost so far, in trillionths of a dollar.
struct Budget {
    limit: Option<f64>,
    prices: Arc<Prices>,
    spent: Mutex<i128>,
}

impl Budget {
    fn new(args: &RunArgs, store: &Store, config: &Config, control: &Control) -> Result<Self> {
        let prices = Arc::clone(&config.price_table);
        let mut spent = 0;
        if args.max_cost.is_some() && store.check().is_ok() {
            let condition = match &args.session {
                Some(session) => format!("session_id = '{}'", session.replace('\'', "''")),
                None => "session_id is null".to_owned(),
            };
            let filter = Filter {
                condition: Some(Box::new(condition.parse()?)),
                ..Filter::default()
            };
            let there = spending(store, &filter, &[], &prices, control)?;
            spent = there.values().filter_map(Spent::total).sum::<i128>() * 1_000;
        }
        Ok(Self {
            limit: args.max_cost,
            prices,
            spent: Mutex::new(spent),
        })
    }

    /// Takes in what an attempt cost; whether that was the last one that may be started.
    fn take(&self, record: &Record) -> bool {
        if self.limit.is_none() {
            return false;
        }
        let mut cost = 0;
        for billed in [record.cost, record.judge_cost].into_iter().flatten() {
            cost += money::billionths(billed) * 1_000;
        }
        let count = |tokens: Option<i64>| tokens.unwrap_or(0).max(0) as u64;
        let tokens = Tokens {
            n: 1,
            input: count(record.input_tokens),
            output: count(record.output_tokens),
            reasoning: count(record.reasoning_tokens),
            cache_read: count(record.cache_read_tokens),
            cache_write: count(record.cache_write_tokens),
        };
        if record.cost.is_none() && tokens.total() > 0 {
            let price = self.prices.of(&record.model, Some(Timestamp::now()));
            cost += price.map_or(0, |price| price.cost(&tokens));
        }
        *self.spent.lock().unwrap_or_else(PoisonError::into_inner) += cost;
        self.is_spent()
    }

    /// Dollars.
    fn spent(&self) -> f64 {
        let spent = *self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        money::dollars(in_billionths(spent))
    }

    fn is_spent(&self) -> bool {
        self.limit.is_some_and(|limit| self.spent() >= limit)
    }
}

/// A command as people type it.
fn command_line(command: &[OsString]) -> String {
    let words: Vec<_> = command.iter().map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// The command of the last run of this session, where it is another one.
fn other_command(store: &Store, command: &str, session: Option<&str>) -> Option<String> {
    let mut followed = Followed::default();
    let operations = followed.look(store);
    let last = operations
        .iter()
        .rev()
        .find(|operation| operation.command.is_some() && operation.session.as_deref() == session)?;
    last.command.clone().filter(|other| other != command)
}

/// The process that ends the tests of a run that was killed. Who ends every `evaltop` by
/// its name means the run: the end of the pipe is the only end of this one.
pub fn guard() -> Exit {
    progress::on_signals(|_| {});
    let _ = std::fs::write("/proc/self/comm", GUARD);
    runner::guard::keep(io::stdin().lock());
    Exit::Ok
}

fn again(args: &RunArgs) -> Again {
    if args.rerun_infrastructure {
        Again::Infrastructure
    } else {
        Again::Nothing
    }
}

fn rows(args: &RunArgs) -> Result<Vec<Row>> {
    let session = args.session.as_deref();
    if let Some(path) = &args.plan {
        return Ok(plan::read(
            path,
            args.num_instances,
            session,
            &mut verbosity::complain,
        )?);
    }
    let dimensions = Dimensions {
        models: args.models.clone(),
        prompt_types: args.prompt_types.clone(),
        difficulties: args.difficulties.clone(),
        task_types: args.task_types.clone(),
        tool_success_rates: args.tool_success_rates.clone(),
    };
    Ok(plan::product(&dimensions, args.num_instances, session)?)
}

/// Seconds as a plain number, or a time with its unit.
fn time(flag: &str, text: &str) -> Result<Duration, Usage> {
    let plain = text
        .trim()
        .parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let time = plain.map_or_else(|| parse_duration(text), Ok);
    time.map_err(|why| Usage(format!("{flag}: {why}")))
}

fn limits(args: &RunArgs) -> Result<Limits, Usage> {
    let rate = |flag: &str, text: &str| match text.trim().parse::<f64>() {
        Ok(rate) if rate.is_finite() && (1e-6..=1e6).contains(&rate) => Ok(rate),
        _ => Err(Usage(format!(
            "{flag} '{text}': give tests a second, such as 5 or 0.2"
        ))),
    };
    let mut limits = Limits {
        all: None,
        models: BTreeMap::new(),
        each: None,
    };
    for text in &args.qps {
        match text.rsplit_once('=') {
            Some((model, number)) => {
                limits
                    .models
                    .insert(model.to_owned(), rate("--qps", number)?);
            }
            None => limits.all = Some(rate("--qps", text)?),
        }
    }
    if let Some(each) = args.qps_per_model {
        limits.each = Some(rate("--qps-per-model", &each.to_string())?);
    }
    Ok(limits)
}

fn consolidate(store: &Store) -> Result<jobs::Outcome> {
    let shown = progress::Shown::new();
    let plan = jobs::plan(
        store,
        &Request::Consolidate(ConsolidateOptions::default()),
        &shown.control,
    )?;
    Ok(jobs::run(store, &plan, &shown.control)?)
}

/// What was done, in words.
fn sentence(summary: &Summary, took: Duration) -> String {
    let counts = &summary.counts;
    let done = if counts.done == 0 && counts.left() == 0 {
        format!(
            "nothing to run: {} there already",
            show_counted(counts.there, "test")
        )
    } else {
        let time = show_duration(took.as_secs_f64());
        format!(
            "ran {} in {time}: {}",
            show_counted(counts.done, "test"),
            results(counts)
        )
    };
    let mut parts = vec![done];
    if counts.there > 0 && counts.done > 0 {
        parts.push(format!("{} there already", show_count(counts.there)));
    }
    match &summary.early {
        None => {}
        Some(Early::Asked) => parts.push("stopped".to_owned()),
        Some(Early::Burst(model, alarm)) => parts.push(format!(
            "stopped, because {} of the last {} of {} failed",
            show_count(alarm.failed),
            show_counted(alarm.of, "test"),
            sanitise(model)
        )),
    }
    if counts.infrastructure > 0 && summary.early.is_none() {
        parts.push(
            "--rerun-infrastructure runs what the infrastructure failed once more".to_owned(),
        );
    }
    if counts.left() > 0 {
        parts.push(format!(
            "{} left: start the same command again to go on",
            show_count(counts.left())
        ));
    }
    parts.join("; ")
}

fn results(counts: &Counts) -> String {
    let mut parts = vec![format!("{} successful", show_count(counts.success))];
    for (n, what) in [
        (counts.partial, "partial"),
        (counts.failed(), "failed"),
        (counts.unscored, "unscored"),
        (counts.timeouts, "timed out"),
        (counts.infrastructure, "infrastructure"),
        (counts.retried, "retried"),
    ] {
        if n > 0 {
            parts.push(format!("{} {what}", show_count(n)));
        }
    }
    parts.join(", ")
}

fn figures(place: &str, counts: &Counts, early: Option<&Early>, dry_run: bool) -> Value {
    json!({
        "schema_version": 1, "store": place, "dry_run": dry_run,
        "planned": counts.planned, "existing": counts.there, "run": counts.done,
        "success": counts.success, "partial": counts.partial, "failed": counts.failed(),
        "unscored": counts.unscored,
        "timeouts": counts.timeouts, "infrastructure": counts.infrastructure, "retried": counts.retried,
        "left": counts.left(),
        "stopped": early.map(|early| match early {
            Early::Asked => "interrupted".to_owned(),
            Early::Burst(model, _) => format!("burst: {model}"),
        }),
    })
}

fn report(args: &RunArgs, text: &str, value: &Value) -> io::Result<()> {
    let mut out = out::stdout();
    match args.format {
        ReportFormat::Json => writeln!(out, "{value}"),
        ReportFormat::Text if verbosity::quiet() => Ok(()),
        ReportFormat::Text => writeln!(out, "{text}"),
    }
}

/// What is shown meanwhile: a bar on a terminal, a line now and then elsewhere.
struct Shown {
    bar: Option<ProgressBar>,
    last: Mutex<Instant>,
}

impl Shown {
    fn new() -> Self {
        let style =
            ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len}  {msg}  {eta} left");
        let bar = (io::stderr().is_terminal() && !verbosity::quiet()).then(|| ProgressBar::new(0));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style.progress_chars("█▌·"));
        }
        Self {
            bar,
            last: Mutex::new(Instant::now()),
        }
    }

    fn report(&self, counts: &Counts, event: &Event<'_>) {
        if verbosity::quiet() {
            return;
        }
        if verbosity::verbose() {
            self.say_event(event);
        }
        let results = format!(
            "{}, {} running",
            results(counts),
            show_count(counts.running)
        );
        if let Some(bar) = &self.bar {
            bar.set_length(counts.planned - counts.there);
            bar.set_position(counts.done);
            bar.set_message(results);
            return;
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= BETWEEN_LINES && matches!(event, Event::Recorded(_)) {
            *last = Instant::now();
            let all = counts.planned - counts.there;
            self.say(&format!(
                "{} of {}: {results}",
                show_count(counts.done),
                show_count(all)
            ));
        }
    }

    fn say_event(&self, event: &Event<'_>) {
        let (record, end) = match event {
            Event::Started => return,
            Event::Recorded(record) if record.success == Some(true) => {
                (record, "success".to_owned())
            }
            Event::Recorded(record) if record.success.is_none() => (record, "unscored".to_owned()),
            Event::Recorded(record) if record.partial_success == Some(true) => {
                (record, "partial".to_owned())
            }
            Event::Recorded(record) => (record, "failed".to_owned()),
            Event::Again(record, wait) => (record, format!("again in {:.1} s", wait.as_secs_f64())),
        };
        let why = record.error_message.as_deref().unwrap_or_default();
        let why = why.lines().last().unwrap_or_default();
        let dimensions = [&record.prompt_type, &record.difficulty, &record.task_type];
        let cell: Vec<&str> = dimensions
            .into_iter()
            .filter_map(|text| text.as_deref())
            .collect();
        let line = format!("{end}: {} {} {why}", record.model, cell.join(" "));
        self.say(sanitise(line.trim_end()).as_ref());
    }

    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.println(line),
            // A terminal that is gone is not a reason to stop.
            None => drop(writeln!(io::stderr().lock(), "{line}")),
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
