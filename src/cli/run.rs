//! `run`: a command once a test, in parallel, recorded. What it does is in `runner`;
//! here are its flags, its signals, what it shows and what it reports.

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
use serde_json::{Value, json};

use super::{DurabilityArg, Exit, ReportFormat, Usage, dir, loudness, progress};
use crate::config::{parse_duration, show_count, show_counted, show_duration};
use crate::formats::beside::Beside;
use crate::formats::text::sanitise;
use crate::jobs::{self, ConsolidateOptions, Request};
use crate::runner::plan::{self, Dimensions, Row};
use crate::runner::{self, Counts, Early, Event, Limits, Spec, Stop, Summary, Urgency};
use crate::store::writer::WriterOptions;
use crate::store::{Control, Store};

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
    /// End early when a model suddenly fails far more often than it did
    #[arg(long)]
    pub stop_on_burst: bool,
    /// A name for this run: the same plan under another name is run again
    #[arg(long, value_name = "NAME")]
    pub session: Option<String>,
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
    let (store, config) = dir::open(args.dir.as_deref())?;
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
        rerun_infrastructure: args.rerun_infrastructure,
        guard: std::env::current_exe()
            .ok()
            .map(|program| vec![program.into(), GUARD.into()]),
        session: args.session.clone(),
        writer: WriterOptions {
            durability: args.durability.map_or(config.durability, Into::into),
            ..WriterOptions::default()
        },
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
        let (missing, there) = plan::missing(&store, &rows, args.rerun_infrastructure, &control)?;
        let counts = Counts {
            planned: missing.len() as u64 + there,
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
        report(args, &text, &figures(&store, &counts, None, true))?;
        return Ok(Exit::Ok);
    }
    let beside = dir::beside(&store)?;
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
    let ended = runner::run(&store, &rows, &spec, &stop, &control, &|counts, event| {
        if let (Some(beside), Event::Recorded(_)) = (&beside, event) {
            beside.changed();
        }
        shown.tell(counts, event);
    });
    drop(shown);
    let summary = ended?;
    beside.map_or(Ok(()), Beside::finish)?;
    let consolidated = if args.consolidate && summary.early != Some(Early::Asked) {
        Some(consolidate(&store)?)
    } else {
        None
    };
    let mut text = sentence(&summary, begun.elapsed());
    if let Some(outcome) = &consolidated {
        text = format!("{text}\n{}", outcome.summary);
    }
    let mut value = figures(&store, &summary.counts, summary.early.as_ref(), false);
    if let Some(fields) = value.as_object_mut() {
        fields.insert(
            "consolidated".to_owned(),
            consolidated.map_or(Value::Null, |outcome| outcome.json),
        );
    }
    report(args, &text, &value)?;
    Ok(match summary.early {
        None => Exit::Ok,
        Some(Early::Asked) => Exit::Interrupted,
        Some(Early::Burst(..)) => Exit::Failed,
    })
}

/// The process that ends the tests of a run that was killed. Who ends every `evaltop` by
/// its name means the run: the end of the pipe is the only end of this one.
pub fn guard() -> Exit {
    progress::on_signals(|_| {});
    let _ = std::fs::write("/proc/self/comm", GUARD);
    runner::guard::keep(io::stdin().lock());
    Exit::Ok
}

fn rows(args: &RunArgs) -> Result<Vec<Row>> {
    let session = args.session.as_deref();
    if let Some(path) = &args.plan {
        return Ok(plan::read(path, args.num_instances, session)?);
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

fn figures(store: &Store, counts: &Counts, early: Option<&Early>, dry_run: bool) -> Value {
    json!({
        "schema_version": 1, "store": store.layout.root().display().to_string(), "dry_run": dry_run,
        "planned": counts.planned, "existing": counts.there, "run": counts.done,
        "success": counts.success, "partial": counts.partial, "failed": counts.failed(),
        "timeouts": counts.timeouts, "infrastructure": counts.infrastructure, "retried": counts.retried,
        "left": counts.left(),
        "stopped": early.map(|early| match early {
            Early::Asked => "interrupted".to_owned(),
            Early::Burst(model, _) => format!("burst: {model}"),
        }),
    })
}

fn report(args: &RunArgs, text: &str, value: &Value) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match args.format {
        ReportFormat::Json => writeln!(out, "{value}"),
        ReportFormat::Text if loudness::quiet() => Ok(()),
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
        let bar = (io::stderr().is_terminal() && !loudness::quiet()).then(|| ProgressBar::new(0));
        if let (Some(bar), Ok(style)) = (&bar, style) {
            bar.set_style(style.progress_chars("█▌·"));
        }
        Self {
            bar,
            last: Mutex::new(Instant::now()),
        }
    }

    fn tell(&self, counts: &Counts, event: &Event<'_>) {
        if loudness::quiet() {
            return;
        }
        if loudness::verbose() {
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
            Event::Recorded(record) if record.success => (record, "success".to_owned()),
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
            // A terminal that is gone is no reason to stop.
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
