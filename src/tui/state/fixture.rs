//! Made-up looks at a store for the tests: the run of the design's 80×24 screen, and
//! what differs from it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::model::{Model, Prompt, Running, Settings};
use crate::config::Thresholds;
use crate::health::{Alert, Remedy, Severity};
use crate::jobs::{ConsolidateOptions, Detail, Plan, Request};
use crate::observation::{
    Burst, Detail as ModelDetail, Failure, FileState, InFlightView, MainKind, MainState, Mark,
    MarkKind, ModelView, Observation, SessionState, SessionView, ThrottleView, WaitingFile,
    WaitingView, WatchMode, WriterState, WriterView,
};
use crate::stats::history::History;
use crate::stats::levels::{Level, Levels};
use crate::stats::{Cell, Cells, ErrorCategory, Rate, Sum, Tally};
use crate::store::Progress;
use crate::tui::input::keymap::Keymap;
use crate::tui::update::message::Message;
use crate::tui::update::update;
use crate::tui::view::theme::{Depth, Palette, Theme};

/// The present of all fixtures.
pub(crate) fn now() -> Timestamp {
    "2026-01-31T14:03:20Z".parse().unwrap()
}

fn ago(seconds: i64) -> Timestamp {
    now() - SignedDuration::from_secs(seconds)
}

pub(crate) fn settings() -> Settings {
    Settings {
        store: PathBuf::from("/home/me/runs/pilot_bench_parquet_data"),
        follows: None,
        home: Some(PathBuf::from("/home/me")),
        thresholds: Thresholds::default(),
        badge: None,
        readonly: false,
        is_listed: false,
        expected: None,
        snooze: 3_600,
        log_command: Vec::new(),
        ascii: false,
        braille: true,
        theme: Theme {
            palette: Palette::Dark,
            depth: Depth::True,
        },
        zone: TimeZone::UTC,
        keymap: Keymap::new(&BTreeMap::new()).unwrap(),
    }
}

/// The models of the design's screen and some more: name, tests, full, partial, rows
/// a minute, infrastructure errors.
const MODELS: [(&str, u64, u64, u64, f64, u64); 12] = [
    ("claude-opus-4.1", 1_302, 1_010, 113, 4.1, 0),
    ("DeepSeek-V3-0324", 1_310, 861, 170, 0.2, 64),
    ("qwen2.5-72b-instruct", 1_296, 757, 181, 4.3, 2),
    ("gpt-4o", 1_288, 730, 120, 3.9, 0),
    ("llama-3.3-70b-instruct", 1_301, 690, 201, 4.0, 0),
    ("gemini-2.5-flash", 1_297, 655, 149, 4.4, 1),
    ("qwen3-32b", 1_204, 571, 155, 3.8, 0),
    ("mistral-large-2411", 1_190, 498, 140, 4.2, 0),
    ("deepseek-r1-distill-llama-70b", 1_188, 402, 130, 4.1, 0),
    ("phi-4", 1_030, 252, 112, 4.3, 0),
    ("gemma-3-27b-it", 24, 5, 3, 4.0, 0),
    ("qwen2.5-7b-instruct", 12, 0, 1, 0.0, 0),
];

fn model_view(
    name: &str,
    tests: u64,
    full: u64,
    partial: u64,
    per_minute: f64,
    infra: u64,
) -> ModelView {
    let mut errors = [0; 9];
    let failed = tests - full - partial;
    errors[ErrorCategory::Infrastructure as usize] = infra;
    errors[ErrorCategory::Timeout as usize] = (failed - infra) / 2;
    errors[ErrorCategory::ToolSelection as usize] = (failed - infra) / 3;
    errors[ErrorCategory::MaxTurns as usize] =
        failed - infra - (failed - infra) / 2 - (failed - infra) / 3;
    let tally = Tally {
        tests,
        full,
        partial,
        errors,
        execution_time: Sum::weighted(Some(42.1), tests),
        turns: Sum::weighted(Some(6.2), tests),
        tool_calls: Sum::weighted(Some(5.1), tests),
        tool_coverage_rate: Sum::weighted(Some(0.91), tests),
        ..Tally::default()
    };
    let rate = full as f64 / tests as f64;
    let trend = (0..(tests / 20).min(8))
        .map(|i| rate + 0.05 * ((i * 5 % 4) as f64 - 1.5))
        .collect();
    let last_row = Some(ago(5));
    ModelView {
        model: name.to_owned(),
        tally,
        per_minute,
        last_row,
        trend,
        ..ModelView::default()
    }
}

fn detail() -> ModelDetail {
    let mut detail = ModelDetail::default();
    for minute in 1..350_i64 {
        let full = if minute / 35 % 3 == 0 {
            0
        } else {
            2 + minute as u64 % 2
        };
        Arc::make_mut(&mut detail.history).add(now().as_second() - minute * 60, 4, full);
    }
    for test in 0..110 {
        detail
            .times
            .add(8.0 * 1.4_f64.powi(test * 7919 % 11 + test * 31 % 7 - 8));
    }
    detail.failures = (0..7)
        .map(|i| Failure {
            at: Some(ago(i * 61 + 5)),
            category: (i % 3 > 0).then_some(ErrorCategory::Infrastructure),
            message: match i {
                0 => "expected a call of `book_flight`, got text; the whole answer was \u{1b}[31m\u{202e}red"
                    .to_owned(),
                1 => String::new(),
                _ => "HTTP 429: rate limit exceeded, retry after 20 s".to_owned(),
            },
            test_id: format!("{i:04x}"),
            cell: Cell {
                model: "m".into(),
                prompt_type: "optimal".into(),
                tool_success_rate: Rate::new(0.8),
                difficulty: "hard".into(),
                task_type: "multi_stage".into(),
            },
        })
        .collect();
    detail
}

fn writer(pid: u32, state: WriterState, model: &str, last: i64) -> WriterView {
    WriterView {
        writer: format!("{pid}_20260131_080000_node7_0a1b"),
        process_id: format!("{pid}_20260131_080000"),
        host: Some("node7".to_owned()),
        pid: Some(pid),
        state,
        rows: 161,
        journal_bytes: 26_300,
        last_row: Some(ago(last)),
        model: Some(model.to_owned()),
        limit_seconds: 75.0,
        ..WriterView::default()
    }
}

/// A run in which all is well.
pub(crate) fn healthy() -> Observation {
    let mut models: Vec<_> = MODELS
        .iter()
        .map(|(name, tests, full, partial, rate, infra)| {
            model_view(name, *tests, *full, *partial, *rate, *infra)
        })
        .collect();
    let detail = Arc::new(detail());
    for model in &mut models {
        model.detail = Arc::clone(&detail);
    }
    models.sort_by(|a, b| a.model.cmp(&b.model));
    let mut writers: Vec<_> = (0..11)
        .map(|i| writer(48_200 + i, WriterState::Live, MODELS[i as usize].0, 5))
        .collect();
    writers.extend((0..3).map(|i| writer(48_300 + i, WriterState::Finished, MODELS[0].0, 4_000)));
    let mut history = History::default();
    for minute in 0..360_i64 {
        let rows = 30 + (minute * 7919 % 13) as u64 + if minute % 60 < 20 { 8 } else { 0 };
        history.add(now().as_second() - (minute + 1) * 60, rows, rows / 2);
    }
    let mut levels = Levels::default();
    for minute in 0..300_u64 {
        let files = (299 - minute) % 110;
        levels.add(
            now().as_second() - minute as i64 * 60,
            Level {
                files,
                bytes: files * 342_166,
            },
        );
    }
    let mut totals = Tally::default();
    for model in &models {
        totals.add(&model.tally);
    }
    Observation {
        at: now(),
        store: settings().store,
        watch: WatchMode::Native("inotify"),
        main: MainState {
            exists: true,
            expected_rows: None,
            lacking_tests: 0,
            of_other: false,
            generation: 7,
            committed: Some(ago(80)),
            rows: 10_452,
            bytes: 3_250_586,
            kind: MainKind::Records,
            modified: Some(ago(80)),
        },
        waiting: WaitingView {
            increments: 38,
            increment_bytes: 13_002_342,
            increment_rows: 1_900,
            journals: 3,
            journal_rows: 78,
            oldest: Some(ago(14 * 60 + 3)),
            files: Arc::new((0..38).map(file).collect()),
            ..WaitingView::default()
        },
        totals,
        superseded: 24,
        cells: Arc::new(cells(&models)),
        models,
        writers,
        history,
        levels,
        per_minute: 41.3,
        disk: Some((400 << 30, 900 << 30)),
        ..Observation::default()
    }
}

/// The run of the design's screens: a session with a plan, tests in flight, a lost writer,
/// a model that is turned away.
pub(crate) fn session() -> Observation {
    let mut seen = healthy();
    seen.session = Some(SessionView {
        state: SessionState::Running,
        id: Some("2026-01-31-4f2c1e".to_owned()),
        planned: Some(2_000),
        done: 1_214,
        began: Some(ago(41 * 60)),
        ended: None,
    });
    seen.writers.truncate(8);
    let tests = [
        ("gpqa/17", "gpt-4o", 252, 90.0),
        ("gpqa/31", "claude-opus-4.1", 62, 95.0),
        ("mmlu/442", "qwen3-32b", 31, 40.0),
        ("tau/airline-9", "claude-opus-4.1", 12, 95.0),
    ];
    for (i, writer) in seen.writers.iter_mut().enumerate() {
        (writer.session, writer.began) = (Some("2026-01-31-4f2c1e".to_owned()), Some(ago(2_460)));
        writer.recorded = 150 + i as u64;
        writer.running = 3;
        writer.tests = tests
            .iter()
            .skip(i % 4)
            .take(1)
            .map(|(task, model, age, p95)| InFlightView {
                model: (*model).to_owned(),
                name: (*task).to_owned(),
                task_id: Some((*task).to_owned()),
                since: ago(age + i as i64),
                p95: Some(*p95),
                ..InFlightView::default()
            })
            .collect();
    }
    if let Some(writer) = seen.writers.first_mut() {
        writer.state = WriterState::Lost;
        writer.reason = Some("killed by SIGKILL".to_owned());
        writer.since = Some(ago(240));
        writer.last_row = Some(ago(262));
    }
    seen.throttled = vec![ThrottleView {
        model: "DeepSeek-V3-0324".to_owned(),
        per_minute: 38.2,
        share: 0.61,
        status: Some(429),
        since: ago(540),
    }];
    seen.marks = vec![
        Mark {
            at: ago(540),
            kind: MarkKind::Throttled,
        },
        Mark {
            at: ago(240),
            kind: MarkKind::Lost,
        },
    ];
    seen.alerts = crate::health::check(&seen, &Thresholds::default());
    seen
}

fn file(i: u64) -> WaitingFile {
    WaitingFile {
        name: format!(
            "increment_{}_20260131_1349{:02}_lab7_0a1b{i:02x}_1.parquet",
            48_200 + i % 11,
            i
        ),
        bytes: 342_166,
        rows: 50,
        modified: ago(20 * i as i64 + 9),
        state: FileState::Ready,
        journal: false,
        dead: false,
        oldest: None,
        naive: crate::store::read::snapshot::Naive::default(),
    }
}

fn cells(models: &[ModelView]) -> Cells {
    let prompts = ["baseline", "cot", "optimal"];
    let tasks = [
        "api_integration",
        "basic_task",
        "data_pipeline",
        "multi_stage",
        "simple_task",
    ];
    let mut cells = Cells::default();
    for (m, model) in models.iter().enumerate() {
        for (p, prompt) in prompts.iter().enumerate() {
            for (t, task) in tasks.iter().enumerate() {
                let tests = model.tally.tests / 15;
                let full = tests * ((m + 2 * p + 3 * t) as u64 % 9 + 1) / 10;
                let cell = Cell {
                    model: model.model.as_str().into(),
                    prompt_type: (*prompt).into(),
                    tool_success_rate: Rate::new(if t % 2 == 0 { 0.8 } else { 0.6 }),
                    difficulty: (*["easy", "medium", "hard"].get((t + p) % 3).unwrap()).into(),
                    task_type: (*task).into(),
                };
                cells.add(
                    &cell,
                    &Tally {
                        tests,
                        full,
                        ..Tally::default()
                    },
                );
            }
        }
    }
    cells
}

pub(crate) fn alert(
    rule: &str,
    severity: Severity,
    message: &str,
    action: Remedy,
    subject: &str,
) -> Alert {
    Alert {
        rule: rule.to_owned(),
        severity,
        message: message.to_owned(),
        action,
        subject: (!subject.is_empty()).then(|| subject.to_owned()),
        explanation: "A model that suddenly fails far more often than it did before is more likely to \
                      suffer from its provider than to have become weaker. Look at the categories of its \
                      errors; rate limits and authentication are the usual causes."
            .to_owned(),
    }
}

/// The run of the design's screen: a burst, and a writer that is quiet.
pub(crate) fn warning() -> Observation {
    let mut seen = healthy();
    let burst = Burst {
        failed: 31,
        of: 40,
        usual: 0.34,
        category: Some(ErrorCategory::Infrastructure),
    };
    for model in seen
        .models
        .iter_mut()
        .filter(|m| m.model == "DeepSeek-V3-0324")
    {
        model.burst = Some(burst.clone());
    }
    seen.writers.push(writer(
        48_213,
        WriterState::Stalled,
        "qwen2.5-72b-instruct",
        380,
    ));
    seen.alerts = vec![
        alert(
            "failure_burst",
            Severity::Warning,
            "DeepSeek-V3-0324: 31 of last 40 failed (usual 34%)",
            Remedy::Errors,
            "DeepSeek-V3-0324",
        ),
        alert(
            "stalled_writer",
            Severity::Warning,
            "node7:48213 (qwen2.5-72b) stalled for 6m, process alive",
            Remedy::Writer,
            "48213_20260131_080000",
        ),
    ];
    seen
}

/// Too many increments, some of them unreadable.
pub(crate) fn critical() -> Observation {
    let mut seen = warning();
    seen.waiting.increments = 1_204;
    seen.waiting.increment_bytes = 1_300 << 20;
    seen.waiting.increment_rows = 61_204;
    seen.waiting.unreadable = 2;
    seen.waiting.in_progress = 1;
    seen.waiting.oldest = Some(ago(5_000));
    let files = Arc::make_mut(&mut seen.waiting.files);
    files[1].state = FileState::Unreadable("no footer, and not written to for 3m".to_owned());
    files[2].state = FileState::InProgress;
    files[3].state = FileState::Conflict(
        "increment_48203_20260131_134903.parquet: column 'turns' holds text, and a number elsewhere: convert it, \
         or move the file out of the store"
            .to_owned(),
    );
    for (at, dead) in [(4, false), (5, true)] {
        files[at].journal = true;
        files[at].dead = dead;
        files[at].name = format!("journal_{at}_20260131_1349{at:02}_lab7_0a1b0c_1.jsonl");
    }
    seen.alerts.insert(
        0,
        alert(
            "too_many_increments",
            Severity::Critical,
            "1,204 pending increments (critical above 1,000)",
            Remedy::Consolidate,
            "",
        ),
    );
    seen.alerts.push(alert(
        "unreadable_files",
        Severity::Warning,
        "2 files can't be read",
        Remedy::Validate,
        "",
    ));
    seen
}

/// A run that ended: no writer lives.
pub(crate) fn ended() -> Observation {
    let mut seen = healthy();
    for writer in &mut seen.writers {
        writer.state = WriterState::Finished;
        writer.last_row = Some(ago(4_000));
    }
    for model in &mut seen.models {
        model.last_row = Some(ago(4_000));
        model.per_minute = 0.0;
    }
    seen.per_minute = 0.0;
    seen
}

/// Just made: nothing in it.
pub(crate) fn empty() -> Observation {
    Observation {
        at: now(),
        store: settings().store,
        watch: WatchMode::Native("inotify"),
        ..Observation::default()
    }
}

/// This many models, all alike.
pub(crate) fn many(models: usize) -> Observation {
    let mut seen = healthy();
    seen.models = (0..models)
        .map(|i| {
            model_view(
                &format!("model-{i:03}"),
                100 + i as u64,
                90 - (i as u64 * 89 / 500),
                5,
                1.0,
                0,
            )
        })
        .collect();
    seen.alerts.clear();
    seen
}

/// A dashboard of this size that shows a scan.
pub(crate) fn showing(columns: u16, rows: u16, seen: Observation) -> Model {
    let mut model = Model::new(settings(), now());
    update(&mut model, Message::Resize(columns, rows));
    update(&mut model, Message::Observed(Box::new(seen)));
    model
}

pub(crate) fn model(columns: u16, rows: u16) -> Model {
    showing(columns, rows, warning())
}

pub(crate) fn with_models(columns: u16, rows: u16, models: usize) -> Model {
    showing(columns, rows, many(models))
}

/// A plan to consolidate.
pub(crate) fn plan() -> Plan {
    Plan {
        request: Request::Consolidate(ConsolidateOptions::default()),
        summary: "consolidate 38 files, 1,900 rows, 12.4 MiB into test_results.parquet".to_owned(),
        lines: vec![
            "38 increments and 3 journals of writers that live on".to_owned(),
            "main grows from 10,452 to about 12,352 rows; 9 tests are retried".to_owned(),
            "the main of now is kept as backups/test_results_20260131_140320.parquet".to_owned(),
        ],
        removes: Vec::new(),
        needs_yes: false,
        is_empty: false,
        json: Value::Null,
        detail: Detail::None,
    }
}

/// Starts a job.
pub(crate) fn run(model: &mut Model) {
    model.jobs.running = Some(Running {
        id: 99,
        title: "consolidate",
        progress: Progress {
            what: "reading increments".to_owned(),
            done: 23,
            total: 41,
        },
        cancelling: false,
    });
}

/// Opens a question.
pub(crate) fn ask(model: &mut Model) {
    model.prompt = Prompt::Confirm(Box::new(plan()), 0);
}
