//! A week in a few seconds: looks, ticks, keys, jobs, alerts that come and go. What
//! the dashboard holds must not grow with the time that it is open.

use std::path::Path;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseEvent, MouseEventKind};
use jiff::SignedDuration;

use super::fixture::{self, now, plan};
use super::message::{Effect, Failure, Message};
use super::model::Model;
use super::notify::Notifier;
use super::update::update;
use crate::config::Notify;
use crate::health::{Alert, Remedy, Severity};
use crate::jobs::Outcome;
use crate::observation::{Observation, StoreState};
use crate::store::Progress;

/// Seconds between two looks.
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
    let mut seen = Observation { at, alerts: Vec::new(), ..base.clone() };
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
    seen.state = if minute % 500 == 499 { StoreState::Missing } else { StoreState::Ready };
    for (i, model) in seen.models.iter_mut().enumerate() {
        model.tally.full = (model.tally.full + minute as u64 * (i as u64 % 3)).min(model.tally.tests);
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
    base.waiting.files.truncate(3);
    base.writers.truncate(3);
    let mut model = fixture::showing(80, 24, base.clone());
    let mut notifier = Notifier::new(Notify { every_seconds: 0, ..Notify::default() }, Path::new("/runs"));
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
            send(&mut model, Message::Tick(at + SignedDuration::from_millis(500 * part)));
        }
        if second % LOOK == 0 {
            for effect in send(&mut model, Message::Observed(Box::new(look(&base, second)))) {
                assert!(matches!(effect, Effect::Alerts | Effect::Scan), "{effect:?}");
                notifier.look(&model.book);
            }
            notifier.take(&model.book);
        }
        if second % 30 == 0 {
            key(&mut model, keys.next().unwrap());
        }
        if second % 600 == 0 {
            let wheel = MouseEventKind::ScrollDown;
            let wheel = MouseEvent { kind: wheel, column: 3, row: 9, modifiers: KeyModifiers::NONE };
            send(&mut model, Message::Mouse(wheel));
            let columns = 40 + (second / 600 % 160) as u16;
            send(&mut model, Message::Resize(columns, 10 + (second / 600 % 50) as u16));
            send(&mut model, Message::Told(if second % 1_200 == 0 { Ok(()) } else { Err("no".to_owned()) }));
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
                    let progress = Progress { what: format!("file {done}"), done, total: 50 };
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
