//! A week in a few seconds: looks, ticks, keys, jobs, alerts that come and go; then a
//! store that is written, consolidated and cleaned up all week under the real scanner.
//! What the dashboard holds must not grow with the time that it is open.

use std::path::Path;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseEvent, MouseEventKind};
use jiff::{SignedDuration, Timestamp};

use super::message::{Effect, Failure, Message};
use super::update;
use crate::config::{Config, Notify};
use crate::health::{Alert, Remedy, Severity};
use crate::jobs::{self, CleanupOptions, ConsolidateOptions, Outcome, Request};
use crate::monitor::Monitor;
use crate::observation::{Observation, StoreState, WriterState};
use crate::store::write::increment;
use crate::store::write::journal;
use crate::store::write::journal::Journal;
use crate::store::{Control, Progress, Record, Store};
use crate::tui::runtime::notify::Notifier;
use crate::tui::state::fixture;
use crate::tui::state::fixture::{now, plan};
use crate::tui::state::model::Model;

/// Seconds between two scans.
const LOOK: i64 = 60;
const DAY: i64 = 86_400;
/// Keys of every kind, also those that open, close, hold still and silence.
const KEYS: &str = "jkjkGg?jj?iaALLwwffzzpprsS/qw\u{1b}\u{1b}\tjA\tcn";

fn outcome(text: &str) -> Outcome {
    Outcome {
        summary: text.to_owned(),
        lines: vec![text.to_owned(); 3],
        json: serde_json::Value::Null,
        severity: Severity::Healthy,
        changed: true,
    }
}

fn key(model: &mut Model, c: char) -> Vec<Effect> {
    let code = match c {
        '\u{1b}' => KeyCode::Esc,
        '\t' => KeyCode::Tab,
        c => KeyCode::Char(c),
    };
    update(model, Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

/// What the store looks like at a second of the week.
fn look(base: &Observation, second: i64) -> Observation {
    let at = now() + SignedDuration::from_secs(second);
    let mut seen = Observation {
        at,
        alerts: Vec::new(),
        ..base.clone()
    };
    let minute = second / LOOK;
    let gone = |n: i64| -> Alert {
        let about = format!("writer {n}");
        fixture::alert(
            "stalled_writer",
            Severity::Warning,
            &format!("{about} is quiet"),
            Remedy::Writer,
            &about,
        )
    };
    if minute % 3 == 0 {
        seen.alerts.extend([gone(minute), gone(minute % 7)]);
    }
    if minute % 11 == 0 {
        seen.notes = vec![format!("a note of minute {minute}")];
    }
    seen.main.generation = 7 + (minute / 30) as u64;
    seen.totals.tests += minute as u64;
    seen.state = if minute % 500 == 499 {
        StoreState::Missing
    } else {
        StoreState::Ready
    };
    for (i, model) in seen.models.iter_mut().enumerate() {
        model.tally.full =
            (model.tally.full + minute as u64 * (i as u64 % 3)).min(model.tally.tests);
    }
    seen
}

/// Everything that is held, as text: what grows in memory grows in it.
fn held(model: &Model, notifier: &Notifier) -> usize {
    format!("{model:?} {notifier:?}").len()
}

#[test]
fn a_week_of_events_leaves_memory_flat() {
    let mut base = fixture::healthy();
    Arc::make_mut(&mut base.waiting.files).truncate(3);
    base.writers.truncate(3);
    let mut model = fixture::showing(80, 24, base.clone());
    let mut notifier = Notifier::new(
        Notify {
            every_seconds: 0,
            ..Notify::default()
        },
        Path::new("/runs"),
    );
    let mut sizes = Vec::new();
    let mut events = 0_u64;
    let mut send = |model: &mut Model, message: Message| {
        events += 1;
        update(model, message)
    };
    let mut keys = KEYS.chars().cycle();
    for second in 0..7 * DAY {
        let at = now() + SignedDuration::from_secs(second);
        for part in 0..2 {
            send(
                &mut model,
                Message::Tick(at + SignedDuration::from_millis(500 * part)),
            );
        }
        if second % LOOK == 0 {
            for effect in send(&mut model, Message::Observed(Box::new(look(&base, second)))) {
                assert!(
                    matches!(effect, Effect::Alerts | Effect::Scan),
                    "{effect:?}"
                );
                notifier.look(&model.book);
            }
            notifier.take(&model.book);
        }
        if second % 30 == 0 {
            key(&mut model, keys.next().unwrap());
        }
        if second % 600 == 0 {
            let wheel = MouseEventKind::ScrollDown;
            let wheel = MouseEvent {
                kind: wheel,
                column: 3,
                row: 9,
                modifiers: KeyModifiers::NONE,
            };
            send(&mut model, Message::Mouse(wheel));
            let columns = 40 + (second / 600 % 160) as u16;
            send(
                &mut model,
                Message::Resize(columns, 10 + (second / 600 % 50) as u16),
            );
            send(
                &mut model,
                Message::Notified(if second % 1_200 == 0 {
                    Ok(())
                } else {
                    Err("no".to_owned())
                }),
            );
        }
        // Backups and plans that wait, run, fail and are cancelled.
        if second % 1_800 == 0 {
            model.overlays.clear();
            for effect in key(&mut model, 'b') {
                if let Effect::Plan(id, request) = effect {
                    let plan = crate::jobs::Plan { request, ..plan() };
                    send(&mut model, Message::Planned(id, Ok(Box::new(plan))));
                }
            }
            if let Some(id) = model.jobs.running.as_ref().map(|running| running.id) {
                for done in 0..50 {
                    let progress = Progress {
                        what: format!("file {done}"),
                        done,
                        total: 50,
                    };
                    send(&mut model, Message::Progress(id, progress));
                }
                let result = match second / 1_800 % 3 {
                    0 => Ok(Box::new(outcome("done"))),
                    1 => Err(Failure::Cancelled),
                    _ => Err(Failure::Failed("the disk is full".to_owned())),
                };
                send(&mut model, Message::Finished(id, result));
            }
        }
        if second % DAY == DAY - 1 {
            sizes.push(held(&model, &notifier));
        }
    }
    assert!(events > 1_200_000, "{events}");
    let (second, last) = (sizes[1], sizes[6]);
    assert!(last < second + second / 5, "grows: {sizes:?}");
}

/// Hours between two rounds of the store below.
const ROUND: i64 = 3;

/// Results of one model: the same tests come again and again, others are new.
fn results(model: usize, round: i64, at: Timestamp) -> Vec<Record> {
    let record = |n: i64| Record {
        test_id: Some(if n < 4 {
            format!("again-{n}")
        } else {
            format!("new-{round}-{n}")
        }),
        model: format!("model-{model}"),
        task_type: Some("t".to_owned()),
        success: Some((n + round) % 3 > 0),
        error_message: Some(format!("message {n} of round {round}")),
        timestamp: Some(at.as_microsecond() + n),
        ..Record::default()
    };
    (0..8).map(record).collect()
}

fn job(store: &Store, request: &Request) {
    let control = Control::default();
    let plan = jobs::plan(store, request, &control).unwrap();
    jobs::run(store, &plan, &control).unwrap();
}

#[test]
fn a_week_of_a_real_store_leaves_memory_flat() {
    // Nothing here is about disks, so where memory can stand in for one it does.
    let memory = Path::new("/dev/shm");
    let folder = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    }
    .unwrap();
    let root = folder.path().join("results");
    let store = Store::new(&root);
    store.create().unwrap();
    let mut monitor = Monitor::new(store.clone(), Config::default());
    let mut model = Model::new(fixture::settings(), now());
    let (mut tests, mut dead, mut missing) = (0, 0, 0);
    let begin = Timestamp::now() - SignedDuration::from_hours(7 * 24);
    for round in 0..7 * 24 / ROUND {
        let at = begin + SignedDuration::from_hours(round * ROUND);
        let mut open = Vec::new();
        for writer in 0..3 {
            let seconds = at.as_second();
            let stem = format!(
                "{}_20260131_120000_{}_{seconds:08x}_{writer}",
                1_000 + round * 3 + writer,
                increment::host()
            );
            let mut journal = Journal::create(&*store.disk, &store.layout, &stem).unwrap();
            let records = results(writer as usize, round, at);
            journal
                .append(
                    &journal::to_lines(&records).unwrap(),
                    records.len() as u64,
                    false,
                )
                .unwrap();
            open.push(journal);
        }
        let stray = store
            .layout
            .incremental()
            .join(format!("increment_{round}_20260131_120000.parquet"));
        std::fs::write(&stray, "a legacy writer has begun").unwrap();
        // The clock is set back for a while, and forward again.
        let clock = if round % 40 == 39 {
            at - SignedDuration::from_hours(30)
        } else {
            at
        };
        let mut look = |model: &mut Model| {
            let seen = monitor.observe(clock);
            update(model, Message::Tick(clock));
            update(model, Message::Observed(Box::new(seen.clone())));
            seen
        };
        let seen = look(&mut model);
        assert_eq!(seen.waiting.in_progress + seen.waiting.unreadable, 1);
        // Its writers die, all of them.
        drop(open);
        std::fs::remove_file(&stray).unwrap();
        dead += look(&mut model)
            .writers
            .iter()
            .filter(|w| w.state == WriterState::Lost)
            .count();
        if round % 3 == 2 {
            job(&store, &Request::Consolidate(ConsolidateOptions::default()));
            job(
                &store,
                &Request::Cleanup(CleanupOptions {
                    keep: 2,
                    ..CleanupOptions::default()
                }),
            );
        }
        if round % 9 == 8 {
            let away = root.with_extension("away");
            std::fs::rename(&root, &away).unwrap();
            missing += u32::from(look(&mut model).state == StoreState::Missing);
            std::fs::rename(&away, &root).unwrap();
        }
        let seen = look(&mut model);
        tests = seen.totals.tests;
    }
    // 12 tests came again and again, 4 of each model in each round did not.
    assert_eq!(tests as i64, 12 + 7 * 24 / ROUND * 12);
    assert_eq!((dead > 100, missing), (true, 6));
    // A main that was just written is not kept open; whether this one was depends on the machine.
    let main = std::fs::File::options()
        .append(true)
        .open(store.layout.main())
        .unwrap();
    main.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3_600))
        .unwrap();
    // Who opens it now knows as much as who looked on all week, and holds about as much.
    let mut fresh = Monitor::new(store.clone(), Config::default());
    assert_eq!(
        fresh.observe(Timestamp::now()).totals,
        monitor.observe(Timestamp::now()).totals
    );
    let (fresh, old) = (format!("{fresh:?}").len(), format!("{monitor:?}").len());
    assert!(old < fresh + fresh / 4, "holds {old}, a new one {fresh}");
}
