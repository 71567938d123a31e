//! What keys and messages do, and that nothing that can happen breaks the screen.

use std::convert::Infallible;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use jiff::SignedDuration;
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::widgets::Widget;

use super::update;
use crate::health::{Remedy, Severity};
use crate::jobs::{
    CleanupOptions, ConsolidateOptions, ExportFormat, Outcome, Plan, Request, RestoreOptions,
};
use crate::observation::{Observation, OperationView, Reading, StoreState};
use crate::stats::Cell;
use crate::stats::paired::{Comparison, Pair, Trials, compare};
use crate::stats::progress::Expected;
use crate::store::Progress;
use crate::store::read::query::Filter;
use crate::tui::input::action::Action;
use crate::tui::state::fixture;
use crate::tui::state::fixture::{healthy, now, plan, showing, warning};
use crate::tui::state::model::{Focus, Model, Overlay, Period, Prompt};
use crate::tui::state::table::Column;
use crate::tui::update::message::{Effect, Failure, Message};
use crate::tui::view::Screen;

fn key(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn press(model: &mut Model, c: char) -> Vec<Effect> {
    key(model, KeyCode::Char(c))
}

fn type_text(model: &mut Model, text: &str) {
    for c in text.chars() {
        press(model, c);
    }
}

/// Asks for a job and hands in its plan.
fn planned(model: &mut Model, c: char, plan: Plan) -> Vec<Effect> {
    let effects = press(model, c);
    let [Effect::Plan(id, _)] = effects.as_slice() else {
        panic!("no plan asked for: {effects:?}")
    };
    update(model, Message::Planned(*id, Ok(Box::new(plan))))
}

fn outcome() -> Outcome {
    Outcome {
        summary: "consolidated 38 files".to_owned(),
        lines: Vec::new(),
        json: serde_json::Value::Null,
        severity: Severity::Healthy,
        changed: true,
    }
}

fn running(model: &mut Model) -> u64 {
    planned(model, 'c', plan());
    let effects = press(model, 'y');
    let [Effect::Run(id, _)] = effects.as_slice() else {
        panic!("not started: {effects:?}")
    };
    *id
}

/// The screen as text.
fn shown(model: &Model) -> String {
    let mut buffer = Buffer::empty(model.area);
    Screen(model).render(model.area, &mut buffer);
    buffer
        .content
        .iter()
        .map(ratatui::buffer::Cell::symbol)
        .collect()
}

fn newest(model: &Model) -> &str {
    &model.activity.front().unwrap().text
}

fn cleanup() -> Plan {
    Plan {
        request: Request::Cleanup(CleanupOptions::default()),
        needs_yes: true,
        ..plan()
    }
}

#[test]
fn y_and_enter_confirm_n_and_esc_decline() {
    for code in [KeyCode::Char('y'), KeyCode::Enter] {
        let mut model = showing(80, 24, healthy());
        planned(&mut model, 'c', plan());
        assert!(
            matches!(key(&mut model, code).as_slice(), [Effect::Run(..)]),
            "{code:?}"
        );
    }
    for code in [KeyCode::Char('n'), KeyCode::Esc] {
        let mut model = showing(80, 24, healthy());
        planned(&mut model, 'c', plan());
        assert!(key(&mut model, code).is_empty());
        assert!(
            matches!(model.prompt, Prompt::None) && model.jobs.running.is_none(),
            "{code:?}"
        );
    }
}

#[test]
fn what_removes_needs_y() {
    let mut model = showing(80, 24, healthy());
    planned(&mut model, 'x', cleanup());
    assert!(key(&mut model, KeyCode::Enter).is_empty());
    assert!(matches!(model.prompt, Prompt::Confirm(..)), "still asking");
    assert!(matches!(
        press(&mut model, 'y').as_slice(),
        [Effect::Run(..)]
    ));
}

#[test]
fn undo_asks_for_the_last_operation_and_needs_y() {
    let mut model = showing(80, 24, healthy());
    let request = Request::Restore(RestoreOptions {
        from: None,
        exactly: false,
    });
    planned(
        &mut model,
        'u',
        Plan {
            request: request.clone(),
            needs_yes: true,
            ..plan()
        },
    );
    assert!(shown(&model).contains("UNDO?"));
    assert!(key(&mut model, KeyCode::Enter).is_empty());
    let effects = press(&mut model, 'y');
    let [Effect::Run(_, plan)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(plan.request, request);
}

#[test]
fn what_is_told_names_files_of_the_store_as_seen_from_it() {
    let mut model = showing(100, 30, healthy());
    let backup = model
        .settings
        .store
        .join("backups/test_results_20260131_120000.parquet");
    let text = format!(
        "restored 80,497 rows of {}; 5,987 rows are pending",
        backup.display()
    );
    model.note(Severity::Healthy, text);
    let rows = shown(&model);
    let row = "restored 80,497 rows of backups/test_results_20260131_120000.parquet; 5,987 rows are pending";
    assert!(rows.contains(row), "{rows}");
    let mut small = showing(100, 16, healthy());
    small.notice = Some(backup.display().to_string());
    assert!(shown(&small).contains(" backups/test_results"));
}

#[test]
fn backup_and_validate_ask_nothing() {
    for c in ['b', 'v'] {
        let mut model = showing(80, 24, healthy());
        let effects = planned(&mut model, c, plan());
        assert!(matches!(effects.as_slice(), [Effect::Run(..)]), "{c}");
        assert!(matches!(model.prompt, Prompt::None));
    }
}

#[test]
fn a_plan_that_comes_too_late_is_dropped() {
    let mut model = showing(80, 24, healthy());
    let effects = press(&mut model, 'c');
    let [Effect::Plan(id, _)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(key(&mut model, KeyCode::Esc), [Effect::Cancel(*id)]);
    update(&mut model, Message::Planned(*id, Ok(Box::new(plan()))));
    assert!(matches!(model.prompt, Prompt::None));
}

#[test]
fn a_plan_with_nothing_to_do_is_told_rather_than_asked() {
    let mut model = showing(80, 24, healthy());
    let nothing = Plan {
        is_empty: true,
        summary: "nothing waits".to_owned(),
        ..plan()
    };
    planned(&mut model, 'c', nothing);
    assert!(matches!(model.prompt, Prompt::None));
    assert_eq!(newest(&model), "nothing waits");
}

#[test]
fn esc_asks_before_it_cancels() {
    let mut model = showing(80, 24, healthy());
    let id = running(&mut model);
    assert!(key(&mut model, KeyCode::Esc).is_empty());
    key(&mut model, KeyCode::Esc);
    assert!(
        !model.jobs.running.as_ref().unwrap().cancelling,
        "Esc goes back"
    );
    key(&mut model, KeyCode::Esc);
    assert_eq!(press(&mut model, 'y'), [Effect::Cancel(id)]);
    update(&mut model, Message::Finished(id, Err(Failure::Cancelled)));
    assert!(newest(&model).contains("cancelled"));
}

#[test]
fn esc_closes_what_is_open_before_it_thinks_of_the_job() {
    let mut model = showing(80, 24, healthy());
    running(&mut model);
    press(&mut model, '?');
    key(&mut model, KeyCode::Esc);
    assert!(model.overlays.is_empty() && matches!(model.prompt, Prompt::None));
    key(&mut model, KeyCode::Esc);
    assert!(matches!(model.prompt, Prompt::CancelJob));
}

#[test]
fn quitting_during_a_job_waits_or_cancels() {
    let mut model = showing(80, 24, healthy());
    let id = running(&mut model);
    assert!(press(&mut model, 'q').is_empty());
    assert!(key(&mut model, KeyCode::Enter).is_empty(), "waits");
    assert_eq!(
        update(&mut model, Message::Finished(id, Ok(Box::new(outcome())))),
        [Effect::Quit]
    );

    let mut model = showing(80, 24, healthy());
    let id = running(&mut model);
    press(&mut model, 'q');
    assert_eq!(press(&mut model, 'c'), [Effect::Cancel(id)]);
    assert_eq!(
        update(&mut model, Message::Finished(id, Err(Failure::Cancelled))),
        [Effect::Quit]
    );

    let mut model = showing(80, 24, healthy());
    running(&mut model);
    press(&mut model, 'q');
    key(&mut model, KeyCode::Esc);
    assert!(!model.leaving, "stays");
}

#[test]
fn jobs_run_one_at_a_time() {
    let mut model = showing(80, 24, healthy());
    let first = running(&mut model);
    assert!(
        planned(
            &mut model,
            'b',
            Plan {
                request: Request::Backup,
                ..plan()
            }
        )
        .is_empty()
    );
    assert_eq!(model.jobs.queue.len(), 1);
    let effects = update(
        &mut model,
        Message::Finished(first, Ok(Box::new(outcome()))),
    );
    assert!(
        matches!(effects.as_slice(), [Effect::Scan, Effect::Run(..)]),
        "{effects:?}"
    );
}

#[test]
fn readonly_turns_maintenance_off_visibly() {
    let mut model = showing(80, 24, healthy());
    model.settings.readonly = true;
    for c in ['c', 'x', 'e', 'b', 'u', 'v'] {
        assert!(press(&mut model, c).is_empty());
        assert!(matches!(model.prompt, Prompt::None));
        assert!(newest(&model).contains("--readonly"));
    }
}

#[test]
fn an_export_asks_for_format_and_name() {
    let mut model = showing(80, 24, healthy());
    press(&mut model, 'e');
    key(&mut model, KeyCode::Left);
    key(&mut model, KeyCode::Enter);
    for _ in 0.."results.csv".len() {
        key(&mut model, KeyCode::Backspace);
    }
    type_text(&mut model, "quiet q.csv");
    let effects = key(&mut model, KeyCode::Enter);
    let [Effect::Plan(_, Request::Export(options))] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(
        (options.format, options.output.as_path()),
        (ExportFormat::Csv, "quiet q.csv".as_ref())
    );
    assert_eq!(
        (&options.filter, options.overwrite),
        (&Filter::default(), false)
    );
}

#[test]
fn an_export_of_the_filtered_view_names_its_models() {
    let mut model = showing(80, 24, healthy());
    press(&mut model, '/');
    type_text(&mut model, "qwen");
    key(&mut model, KeyCode::Enter);
    press(&mut model, 'e');
    key(&mut model, KeyCode::Enter);
    let effects = key(&mut model, KeyCode::Enter);
    let [Effect::Plan(_, Request::Export(options))] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(options.filter.models.len(), 3);
}

#[test]
fn a_filter_by_any_column_reads_the_tests_and_all_figures_follow() {
    let mut model = showing(80, 24, healthy());
    let all = model.totals().tests;
    press(&mut model, '/');
    type_text(&mut model, "q difficulty:hard");
    assert_eq!(model.table.order.len(), 3, "words choose models at once");
    let effects = key(&mut model, KeyCode::Enter);
    let [Effect::Filter(condition)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let condition = condition.clone();
    let of = |tests: u64| {
        let mut models = healthy().models;
        models.truncate(5);
        for model in &mut models {
            model.tally.tests = tests;
        }
        let mut totals = crate::stats::Tally::default();
        for model in &models {
            totals.add(&model.tally);
        }
        crate::monitor::filtered::Filtered {
            models,
            totals,
            ..crate::monitor::filtered::Filtered::default()
        }
    };
    let answer = |model: &mut Model, tests| {
        let found = Ok(Box::new(of(tests)));
        update(model, Message::Filtered(condition.clone(), found));
    };
    answer(&mut model, 7);
    assert_eq!((model.totals().tests, model.models().len()), (35, 5));
    assert!(
        model
            .seen
            .as_ref()
            .is_some_and(|seen| seen.totals.tests == all)
    );
    // More rows: read again, but not more often than every few seconds.
    let mut later = healthy();
    later.totals.tests += 10;
    assert!(
        !update(&mut model, Message::Observed(Box::new(later.clone())))
            .iter()
            .any(|effect| matches!(effect, Effect::Filter(_)))
    );
    let now = model.now + SignedDuration::from_secs(6);
    update(&mut model, Message::Tick(now));
    let effects = update(&mut model, Message::Observed(Box::new(later)));
    assert!(
        effects.contains(&Effect::Filter(condition.clone())),
        "{effects:?}"
    );
    answer(&mut model, 8);
    assert_eq!(model.totals().tests, 40);
    key(&mut model, KeyCode::Esc);
    assert_eq!(
        (model.filtered.is_none(), model.table.filter.as_str()),
        (true, "")
    );
    // One that can't be is said, and hides nothing.
    press(&mut model, '/');
    type_text(&mut model, "x = 1");
    key(&mut model, KeyCode::Enter);
    let wrong = crate::monitor::filtered::Condition::Expression("x = 1".to_owned());
    let why = Err("there is no column 'x'".to_owned());
    update(&mut model, Message::Filtered(wrong, why));
    assert_eq!(
        model.notice.as_deref(),
        Some("no filter: there is no column 'x'")
    );
    assert_eq!(model.table.order.len(), 12);
}

#[test]
fn esc_undoes_a_filter_being_typed_and_clears_a_kept_one() {
    let mut model = showing(80, 24, healthy());
    press(&mut model, '/');
    type_text(&mut model, "q");
    key(&mut model, KeyCode::Esc);
    assert_eq!(
        (model.table.filter.as_str(), model.table.order.len()),
        ("", 12)
    );
    press(&mut model, '/');
    type_text(&mut model, "q");
    key(&mut model, KeyCode::Enter);
    key(&mut model, KeyCode::Esc);
    assert_eq!(model.table.filter, "");
}

#[test]
fn a_kept_filter_without_a_number_is_told() {
    let mut model = showing(80, 24, healthy());
    let before = model.activity.len();
    press(&mut model, '/');
    type_text(&mut model, "q rate:>=many");
    assert_eq!(
        (model.activity.len(), model.table.order.len()),
        (before, 3),
        "nothing is said of half a word"
    );
    key(&mut model, KeyCode::Enter);
    let told = "“rate:>=many” has no number and hides nothing: type it as in rate:>=0.5";
    assert_eq!(model.notice.as_deref(), Some(told));
    press(&mut model, '/');
    for _ in 0.."many".len() {
        key(&mut model, KeyCode::Backspace);
    }
    type_text(&mut model, "0.6");
    key(&mut model, KeyCode::Enter);
    assert_eq!((model.activity.len(), model.notice), (before + 1, None));
}

#[test]
fn what_another_process_did_is_told_and_what_we_did_is_not_told_twice() {
    let later = |generation| {
        let mut seen = healthy();
        seen.main.generation = generation;
        seen.main.rows += 2_013;
        Message::Observed(Box::new(seen))
    };
    let mut model = showing(80, 24, healthy());
    let before = model.noted;
    assert!(
        update(&mut model, later(8)).contains(&Effect::Scan),
        "its maker may still say what it did"
    );
    assert_eq!(model.noted, before);
    update(
        &mut model,
        Message::Tick(now() + SignedDuration::from_secs(6)),
    );
    assert!(!update(&mut model, later(8)).contains(&Effect::Scan));
    assert_eq!(
        newest(&model),
        "another process committed generation 8: 2,013 more rows"
    );
    update(&mut model, later(8));
    assert_eq!(model.noted, before + 1, "once");

    let mut model = showing(80, 24, healthy());
    let id = running(&mut model);
    update(&mut model, Message::Finished(id, Ok(Box::new(outcome()))));
    update(&mut model, later(8));
    assert_eq!(newest(&model), "consolidated 38 files");
}

#[test]
fn other_processes_say_themselves_what_they_did() {
    let done = |summary: &str, generation, own| OperationView {
        at: now(),
        own,
        by: "process 4711".to_owned(),
        summary: summary.to_owned(),
        generation,
        failed: summary.contains("failed"),
    };
    let mut seen = healthy();
    let look = |seen: &Observation| Message::Observed(Box::new(seen.clone()));
    let mut model = showing(80, 24, seen.clone());
    seen.main.generation = 8;
    update(&mut model, look(&seen));
    seen.operations = vec![
        OperationView {
            at: now() - SignedDuration::from_hours(3),
            ..done("of another store", None, false)
        },
        done("consolidated 4 files", Some(8), false),
        done("our own", None, true),
    ];
    assert!(
        !update(&mut model, look(&seen)).contains(&Effect::Scan),
        "told, so nothing is waited for"
    );
    assert_eq!(newest(&model), "consolidated 4 files (process 4711)");
    seen.operations
        .push(done("backup failed: the disk is full", None, false));
    update(&mut model, look(&seen));
    let noted = model.noted;
    assert_eq!(
        newest(&model),
        "backup failed: the disk is full (process 4711)"
    );
    assert_eq!(model.activity[0].severity, Severity::Warning);
    update(
        &mut model,
        Message::Tick(now() + SignedDuration::from_secs(60)),
    );
    update(&mut model, look(&seen));
    assert_eq!(model.noted, noted, "once");
    // Who opens it later is told of the past, and is not asked to read it now.
    let model = showing(80, 24, seen);
    assert_eq!(
        newest(&model),
        "backup failed: the disk is full (process 4711)"
    );
    assert_eq!((model.activity.len(), model.notice), (3, None));
}

#[test]
fn alerts_that_come_and_go_are_told() {
    let mut model = showing(80, 24, healthy());
    update(&mut model, Message::Observed(Box::new(warning())));
    assert_eq!(
        newest(&model),
        "node7:48213 (qwen2.5-72b) stalled for 6m, process alive"
    );
    update(&mut model, Message::Observed(Box::new(healthy())));
    assert!(newest(&model).starts_with("over: "));
}

#[test]
fn an_acknowledged_alert_leads_no_more_until_it_is_worse_or_comes_again() {
    let burst = |severity| {
        let mut seen = warning();
        seen.alerts[0].severity = severity;
        Message::Observed(Box::new(seen))
    };
    let leads = |model: &Model| model.alerts()[0].rule.clone();
    let mut model = showing(80, 24, warning());
    press(&mut model, 'a');
    assert_eq!(leads(&model), "stalled_writer");
    update(&mut model, burst(Severity::Warning));
    assert_eq!(leads(&model), "stalled_writer");
    update(&mut model, burst(Severity::Critical));
    assert_eq!(leads(&model), "failure_burst", "worse");
    press(&mut model, 'a');
    update(&mut model, Message::Observed(Box::new(healthy())));
    update(&mut model, burst(Severity::Critical));
    assert_eq!(leads(&model), "failure_burst", "again");
}

#[test]
fn a_snoozed_alert_is_silent_until_its_time_is_over() {
    let leads = |model: &Model| model.alerts()[0].rule.clone();
    let mut model = showing(80, 24, warning());
    assert_eq!(press(&mut model, 'A'), [Effect::Alerts]);
    assert_eq!(leads(&model), "stalled_writer");
    update(&mut model, Message::Observed(Box::new(healthy())));
    update(&mut model, Message::Observed(Box::new(warning())));
    assert_eq!(leads(&model), "stalled_writer", "also when it comes again");
    let hour = now() + SignedDuration::from_secs(3_600);
    assert_eq!(update(&mut model, Message::Tick(hour)), [Effect::Alerts]);
    assert_eq!(leads(&model), "failure_burst");
}

#[test]
fn alerts_are_told_while_the_picture_is_held_and_noted_when_it_goes_on() {
    let mut model = showing(80, 24, healthy());
    press(&mut model, 'p');
    let effects = update(&mut model, Message::Observed(Box::new(warning())));
    assert_eq!(
        (effects.as_slice(), model.activity.len()),
        (&[Effect::Alerts][..], 1)
    );
    update(
        &mut model,
        Message::Tick(now() + SignedDuration::from_secs(600)),
    );
    press(&mut model, 'p');
    assert_eq!(
        newest(&model),
        "node7:48213 (qwen2.5-72b) stalled for 6m, process alive"
    );
    assert_eq!(model.activity[0].at, now(), "as of when it was seen");
}

#[test]
fn a_hook_that_fails_is_told_once_until_it_works() {
    let mut model = showing(80, 24, healthy());
    let fails = || Message::Told(Err("notify.hook: page failed".to_owned()));
    let before = model.noted;
    for message in [
        fails(),
        fails(),
        Message::Told(Ok(())),
        Message::Told(Ok(())),
        fails(),
    ] {
        update(&mut model, message);
    }
    assert_eq!(model.noted - before, 3);
}

#[test]
fn a_store_that_vanishes_and_comes_back_is_told() {
    let mut model = showing(80, 24, healthy());
    let gone = Observation {
        state: StoreState::Missing,
        ..fixture::empty()
    };
    update(&mut model, Message::Observed(Box::new(gone)));
    assert!(newest(&model).contains("gone"));
    update(&mut model, Message::Observed(Box::new(healthy())));
    assert_eq!(newest(&model), "the store is there");
}

#[test]
fn a_picture_that_is_held_shows_the_newest_look_when_let_go() {
    let mut model = showing(80, 24, healthy());
    press(&mut model, 'p');
    let mut seen = healthy();
    seen.per_minute = 99.0;
    update(&mut model, Message::Observed(Box::new(seen)));
    update(
        &mut model,
        Message::Tick(now() + SignedDuration::from_hours(1)),
    );
    let held = model.seen.as_ref().unwrap().per_minute;
    assert!((held - 41.3).abs() < 1e-9);
    assert_eq!(
        model.when(now() - SignedDuration::from_secs(9)),
        "9s",
        "ages stand still too"
    );
    press(&mut model, 'p');
    assert!((model.seen.as_ref().unwrap().per_minute - 99.0).abs() < 1e-9);
}

#[test]
fn clicks_focus_and_select_and_the_wheel_scrolls() {
    let mut model = showing(80, 24, warning());
    let mouse = |kind, row| {
        Message::Mouse(MouseEvent {
            kind,
            column: 5,
            row,
            modifiers: KeyModifiers::NONE,
        })
    };
    update(
        &mut model,
        mouse(MouseEventKind::Down(MouseButton::Left), 9),
    );
    assert_eq!(model.table.row(), 2);
    update(&mut model, mouse(MouseEventKind::ScrollDown, 10));
    assert_eq!(model.table.row(), 5);
    update(
        &mut model,
        mouse(MouseEventKind::Down(MouseButton::Left), 20),
    );
    assert_eq!((model.focus, model.alert.at), (Focus::Alerts, 1));
    assert!(model.overlays.is_empty());
    update(
        &mut model,
        mouse(MouseEventKind::Down(MouseButton::Left), 20),
    );
    assert!(
        matches!(model.overlays.last(), Some(Overlay::Alert((rule, _), _)) if rule == "stalled_writer")
    );
    model.overlays.clear();
    update(
        &mut model,
        mouse(MouseEventKind::Down(MouseButton::Left), 1),
    );
    assert!(
        matches!(model.overlays.last(), Some(Overlay::Alert(..))),
        "the sentence"
    );
    model.overlays.clear();
    update(
        &mut model,
        mouse(MouseEventKind::Down(MouseButton::Left), 6),
    );
    update(
        &mut model,
        mouse(MouseEventKind::Down(MouseButton::Left), 6),
    );
    assert!(model.overlays.is_empty(), "a heading is no row");
    let click = |column| MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column,
        row: 6,
        modifiers: KeyModifiers::NONE,
    };
    let mut model = showing(80, 24, warning());
    for (column, expected) in [
        (5, (Column::Name, false)),
        (5, (Column::Name, true)),
        (30, (Column::Partial, false)),
        (50, (Column::Rate, false)),
        (64, (Column::Tests, false)),
        (76, (Column::Infra, false)),
    ] {
        update(&mut model, Message::Mouse(click(column)));
        assert_eq!(
            (model.table.column, model.table.reversed),
            expected,
            "{column}"
        );
    }
}

#[test]
fn the_help_is_searched_by_all_words_that_are_typed() {
    let mut model = showing(80, 24, healthy());
    press(&mut model, '?');
    press(&mut model, '/');
    type_text(&mut model, "Alert SNOOZE");
    key(&mut model, KeyCode::Enter);
    assert_eq!(
        (model.help_filter.as_str(), model.table.filter.as_str()),
        ("Alert SNOOZE", "")
    );
    let shown = shown(&model);
    assert!(
        shown.contains("silence an alert") && !shown.contains("explain the selected alert"),
        "{shown}"
    );
    key(&mut model, KeyCode::Esc);
    assert_eq!(
        (model.help_filter.as_str(), model.overlays.len()),
        ("", 1),
        "Esc shows all keys again"
    );
    key(&mut model, KeyCode::Esc);
    assert!(model.overlays.is_empty());
}

#[test]
fn enter_opens_what_is_selected_and_esc_goes_back() {
    let mut model = showing(80, 24, warning());
    key(&mut model, KeyCode::Enter);
    assert!(
        matches!(model.overlays.last(), Some(Overlay::Drill(name, _)) if name == "DeepSeek-V3-0324")
    );
    key(&mut model, KeyCode::Esc);
    key(&mut model, KeyCode::Tab);
    key(&mut model, KeyCode::Enter);
    assert!(
        matches!(model.overlays.last(), Some(Overlay::Alert(..))),
        "its explanation"
    );
    key(&mut model, KeyCode::Enter);
    assert!(
        matches!(model.overlays.last(), Some(Overlay::Drill(..))),
        "the alert's errors"
    );
    press(&mut model, 'q');
}

#[test]
fn the_end_of_a_planned_run_is_told_once() {
    let mut model = Model::new(fixture::settings(), now());
    model.settings.expected = Some(Expected::Tests(healthy().totals.tests + 1));
    update(&mut model, Message::Observed(Box::new(healthy())));
    assert!(!newest(&model).contains("done"), "{}", newest(&model));
    let mut all = healthy();
    all.totals.tests += 5;
    for _ in 0..2 {
        update(&mut model, Message::Observed(Box::new(all.clone())));
    }
    let told = model
        .activity
        .iter()
        .filter(|e| e.text.starts_with("the run is done: all 12,443"))
        .count();
    assert_eq!(told, 1, "{:?}", model.activity);
    let mut late = Model::new(fixture::settings(), now());
    late.settings.expected = Some(Expected::Tests(10));
    update(&mut late, Message::Observed(Box::new(all)));
    assert!(
        !late.activity.iter().any(|e| e.text.contains("done")),
        "it was done before the start"
    );
}

#[test]
fn left_and_right_choose_the_period_of_the_history() {
    let mut model = showing(80, 24, healthy());
    key(&mut model, KeyCode::Left);
    assert_eq!(
        model.period,
        Period::All,
        "elsewhere they do what they always do"
    );
    press(&mut model, 'H');
    let mut periods = Vec::new();
    for code in [
        KeyCode::Right,
        KeyCode::Left,
        KeyCode::Left,
        KeyCode::Left,
        KeyCode::Left,
        KeyCode::Right,
    ] {
        key(&mut model, code);
        periods.push(model.period.seconds());
    }
    let hours = |hours: i64| Some(hours * 3_600);
    assert_eq!(
        periods,
        [None, hours(24), hours(6), hours(1), hours(1), hours(6)]
    );
}

#[test]
fn an_alert_does_not_repeat_the_advice_of_its_key() {
    let mut seen = healthy();
    let advice = "104 pending increments (limit 100): consolidate";
    seen.alerts = vec![fixture::alert(
        "too_many",
        Severity::Warning,
        advice,
        Remedy::Consolidate,
        "",
    )];
    let mut model = showing(80, 24, seen);
    for readonly in [false, true] {
        model.settings.readonly = readonly;
        let mut buffer = Buffer::empty(model.area);
        Screen(&model).render(model.area, &mut buffer);
        let text: String = buffer
            .content
            .iter()
            .map(ratatui::buffer::Cell::symbol)
            .collect();
        // Without the key the sentence stands as it is.
        assert_eq!(
            text.matches("(limit 100): consolidate").count(),
            if readonly { 2 } else { 0 }
        );
        assert_eq!(
            text.matches("c: consolidate").count(),
            if readonly { 0 } else { 2 }
        );
    }
}

fn compared(model: &mut Model, both: [&str; 2], comparison: Comparison) {
    update(
        model,
        Message::Compared(both.map(str::to_owned), Ok(comparison)),
    );
}

#[test]
fn two_marked_models_are_compared() {
    let mut model = showing(80, 24, healthy());
    assert!(press(&mut model, '=').is_empty());
    assert_eq!(newest(&model), "mark two models with Space to compare them");
    press(&mut model, ' ');
    let first = model.table.selected.clone().unwrap();
    assert!(press(&mut model, '=').is_empty(), "it is not added twice");
    key(&mut model, KeyCode::Down);
    let second = model.table.selected.clone().unwrap();
    assert_eq!(
        press(&mut model, '='),
        [Effect::Compare([first.clone(), second.clone()], None, None)]
    );
    press(&mut model, '=');
    assert!(model.overlays.is_empty());
    for _ in 0..2 {
        key(&mut model, KeyCode::Down);
        press(&mut model, ' ');
    }
    assert_eq!(model.table.marked.len(), 2);
    assert!(!model.table.marked.contains(&first), "the oldest mark goes");
    press(&mut model, ' ');
    assert_eq!(model.table.marked.len(), 1);
}

#[test]
fn a_comparison_is_made_again_when_there_is_more_to_compare() {
    let mut model = showing(80, 24, healthy());
    press(&mut model, ' ');
    key(&mut model, KeyCode::Down);
    let effects = press(&mut model, '=');
    let [Effect::Compare([first, second], ..)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let later = |model: &mut Model, seconds: i64, seen: Observation| {
        update(
            model,
            Message::Tick(now() + SignedDuration::from_secs(seconds)),
        );
        update(model, Message::Observed(Box::new(seen)))
    };
    let mut more = healthy();
    more.models.iter_mut().for_each(|m| m.tally.tests += 1);
    assert_eq!(
        later(&mut model, 60, more.clone()),
        [Effect::Alerts],
        "still at the first one"
    );
    let comparison = compare([Ok::<_, Infallible>(Pair::default())]).unwrap();
    compared(&mut model, ["somebody", "else"], comparison);
    assert_eq!(model.compared.as_ref().unwrap().result, None);
    compared(&mut model, [first, second], comparison);
    assert_eq!(
        model.compared.as_ref().unwrap().result,
        Some(Ok(comparison))
    );
    assert_eq!(
        later(&mut model, 5, more.clone()),
        [Effect::Alerts],
        "too soon"
    );
    assert_eq!(
        later(&mut model, 61, healthy()),
        [Effect::Alerts],
        "nothing new"
    );
    let effects = later(&mut model, 62, more);
    assert_eq!(
        effects,
        [
            Effect::Alerts,
            Effect::Compare([first.clone(), second.clone()], None, None)
        ]
    );
    assert_eq!(
        model.compared.as_ref().unwrap().shown,
        Some(Ok(comparison)),
        "shown until then"
    );
    key(&mut model, KeyCode::Esc);
    assert_eq!(later(&mut model, 99, healthy()), [Effect::Alerts]);
}

#[test]
fn a_refusal_that_is_too_long_for_a_row_is_told_in_full() {
    let why = "generation 7 can't be taken back: its backup backups/test_results_20260131_140200.parquet is gone; \
               bring back another one with evaltop restore --from BACKUP";
    let mut model = showing(80, 24, healthy());
    let effects = press(&mut model, 'u');
    let [Effect::Plan(id, _)] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    update(&mut model, Message::Planned(*id, Err(why.to_owned())));
    let words: String = shown(&model).split_whitespace().collect();
    assert!(
        words.contains(&why.split_whitespace().collect::<String>()),
        "{words}"
    );
    assert!(words.contains("UNDO:NOTDONE"));
    press(&mut model, '%');
    assert!(
        matches!(model.prompt, Prompt::Told(..)),
        "a key without a meaning leaves it"
    );
    key(&mut model, KeyCode::Esc);
    assert!(matches!(model.prompt, Prompt::None) && newest(&model) == why);

    // A short one stands in the activity, unless something covers that.
    for (keys, told) in [("", false), ("H", true)] {
        type_text(&mut model, keys);
        let effects = press(&mut model, 'u');
        let [Effect::Plan(id, _)] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        update(
            &mut model,
            Message::Planned(*id, Err("nothing to undo".to_owned())),
        );
        assert_eq!(matches!(model.prompt, Prompt::Told(..)), told, "{keys}");
    }
    press(&mut model, 't');
    assert!(
        matches!(model.prompt, Prompt::None),
        "another key does what it does"
    );
    assert!(matches!(model.overlays.last(), Some(Overlay::Progress(_))));
}

#[test]
fn left_and_right_go_from_model_to_model() {
    let mut model = showing(80, 24, healthy());
    let names = model.table.order.clone();
    key(&mut model, KeyCode::Enter);
    for (code, row) in [
        (KeyCode::Left, 0),
        (KeyCode::Right, 1),
        (KeyCode::Char('l'), 2),
        (KeyCode::Char('h'), 1),
        (KeyCode::Right, 2),
    ] {
        key(&mut model, code);
        assert!(
            matches!(model.overlays.last(), Some(Overlay::Drill(name, _)) if *name == names[row]),
            "{code:?}"
        );
        assert_eq!(
            model.table.selected.as_ref(),
            Some(&names[row]),
            "the selection goes along"
        );
    }
}

#[test]
fn what_is_covered_is_not_changed() {
    for overlay in ["H", "t", "w", "f", "L", "?"] {
        let mut model = showing(80, 24, warning());
        press(&mut model, overlay.chars().next().unwrap());
        let (table, focus) = (format!("{:?}", model.table), model.focus);
        for c in ['s', 'S', 'z', ' ', 'a', 'A'] {
            press(&mut model, c);
        }
        assert_eq!(
            (format!("{:?}", model.table), model.focus),
            (table, focus),
            "{overlay}"
        );
        assert!(!model.zoomed && model.overlays.len() == 1, "{overlay}");
        assert!(
            !model
                .alerts()
                .into_iter()
                .any(|alert| model.is_quiet(alert)),
            "{overlay}"
        );
    }
}

/// Every key of the help in every view: nothing breaks, nothing is begun that was not asked
/// for, and as many Escs as steps were taken lead back to the panes.
#[test]
fn every_key_in_every_view_can_be_taken_back() {
    use strum::IntoEnumIterator;
    let views = [
        "", "?", "H", "t", "w", "f", "L", "i", "\n", "z", "\t", "\t\t", "p", "c", "e",
    ];
    let enter = |c| match c {
        '\n' => KeyCode::Enter,
        '\t' => KeyCode::Tab,
        c => KeyCode::Char(c),
    };
    for view in views {
        for action in Action::iter() {
            let mut model = showing(80, 24, warning());
            for c in view.chars() {
                key(&mut model, enter(c));
            }
            let event = model.settings.keymap.events(action);
            for event in event {
                let effects = update(&mut model, Message::Key(event));
                let harmless = |effect: &Effect| {
                    matches!(
                        effect,
                        Effect::Plan(..) | Effect::Cancel(_) | Effect::Metrics | Effect::Sessions
                    ) || matches!(
                        (effect, action),
                        (Effect::Quit, Action::Quit)
                            | (Effect::Scan | Effect::Repaint, Action::Rescan)
                    ) || matches!((effect, action), (Effect::Suspend, Action::Suspend))
                        || matches!(
                            (effect, action),
                            (
                                Effect::Alerts,
                                Action::Acknowledge | Action::Snooze | Action::Freeze
                            )
                        )
                };
                assert!(
                    effects.iter().all(harmless),
                    "{action:?} in {view:?}: {effects:?}"
                );
                shown(&model);
            }
            for _ in 0..6 {
                key(&mut model, KeyCode::Esc);
            }
            assert!(
                model.overlays.is_empty() && !model.zoomed,
                "{action:?} in {view:?}"
            );
            assert!(
                matches!(model.prompt, Prompt::None) && model.typing.is_none(),
                "{action:?} in {view:?}"
            );
        }
    }
}

fn any_key() -> impl Strategy<Value = Message> {
    let codes = prop_oneof![
        5 => prop::sample::select("cxebuvrsS/iwfzkjhlgGyn?qpaAL qwen:>0.".chars().collect::<Vec<_>>())
            .prop_map(KeyCode::Char),
        3 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down,
            KeyCode::Left, KeyCode::Right, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End,
            KeyCode::Backspace, KeyCode::Delete, KeyCode::F(1),
        ]),
        1 => any::<char>().prop_map(KeyCode::Char),
    ];
    let modifiers = prop_oneof![9 => Just(KeyModifiers::NONE), 1 => Just(KeyModifiers::CONTROL)];
    (codes, modifiers).prop_map(|(code, modifiers)| Message::Key(KeyEvent::new(code, modifiers)))
}

/// Text as it comes from data: anything, and what was made to deceive or to break.
fn any_text() -> impl Strategy<Value = String> {
    let nasty = [
        "\u{1b}[2J\u{1b}]52;c;AAAA\u{7}",
        "\u{9b}31m",
        "\u{202e}gnp.exe\u{202c}",
        "\u{2066}x\u{2069}\u{61c}",
        "zero\u{200b}width\u{200d}\u{feff}",
        "\u{e0041}\u{e0042}",
        "a\u{ad}b\u{2028}c\r\n\td",
        "通义千问👩\u{200d}👩\u{200d}👧e\u{301}\u{301}\u{301}ﷺ",
        "\u{301}\u{301}",
    ];
    let piece = prop_oneof![
        any::<String>(),
        prop::sample::select(nasty.to_vec()).prop_map(str::to_owned)
    ];
    prop::collection::vec(piece, 0..3).prop_map(|pieces| pieces.concat())
}

fn any_observation() -> impl Strategy<Value = Message> {
    let base = prop_oneof![
        Just(healthy as fn() -> Observation),
        Just(warning as fn() -> Observation),
        Just(fixture::critical as fn() -> Observation),
        Just(fixture::ended as fn() -> Observation),
        Just(fixture::empty as fn() -> Observation),
    ];
    let names = prop::collection::vec(any_text(), 0..20);
    (base, names, any_text(), 0_u8..4, any::<(u64, u32, f64)>()).prop_map(
        |(base, names, text, state, (big, small, rate))| {
            let mut seen = base();
            for (model, name) in seen.models.iter_mut().zip(names) {
                model.model = name;
                model.tally.tests = big;
                model.per_minute = rate;
            }
            seen.models.sort_by(|a, b| a.model.cmp(&b.model));
            seen.models.dedup_by(|a, b| a.model == b.model);
            for model in &mut seen.models {
                let detail = Arc::make_mut(&mut model.detail);
                for failure in &mut detail.failures {
                    failure.message.clone_from(&text);
                    failure.test_id.clone_from(&text);
                }
            }
            let cells = seen.cells.iter().map(|(cell, tally)| {
                let cell = Cell {
                    task_type: format!("{}{text}", cell.task_type).into(),
                    ..cell.clone()
                };
                (cell, tally.clone())
            });
            seen.cells = Arc::new(cells.collect());
            for alert in &mut seen.alerts {
                alert.message.clone_from(&text);
                alert.explanation.clone_from(&text);
                alert.subject = Some(text.clone());
            }
            for writer in &mut seen.writers {
                writer.process_id.clone_from(&text);
                writer.model = Some(text.clone());
                writer.limit_seconds = rate;
            }
            for file in Arc::make_mut(&mut seen.waiting.files) {
                file.name.clone_from(&text);
                file.bytes = big;
            }
            seen.waiting.increments = u64::from(small);
            seen.totals.tests = big;
            seen.notes = vec![text.clone()];
            seen.state = match state {
                0 => StoreState::Missing,
                1 => StoreState::Unreadable(text),
                _ => StoreState::Ready,
            };
            Message::Observed(Box::new(seen))
        },
    )
}

fn any_message() -> impl Strategy<Value = Message> {
    let text = any_text();
    let id = 0_u64..6;
    let planned = (id.clone(), any_text(), any::<[bool; 3]>()).prop_map(|(id, text, flags)| {
        let plan = Plan {
            request: Request::Consolidate(ConsolidateOptions::default()),
            summary: text.clone(),
            lines: vec![text; 9],
            needs_yes: flags[0],
            is_empty: flags[1],
            ..plan()
        };
        let refused = format!("refused: {}", plan.summary).repeat(3);
        let plan = if flags[2] {
            Ok(Box::new(plan))
        } else {
            Err(refused)
        };
        Message::Planned(id, plan)
    });
    let finished = (id.clone(), any::<bool>()).prop_map(|(id, good)| {
        Message::Finished(
            id,
            if good {
                Ok(Box::new(outcome()))
            } else {
                Err(Failure::Failed("no".to_owned()))
            },
        )
    });
    let mouse = (0_u16..250, 0_u16..80, 0_u8..3).prop_map(|(column, row, kind)| {
        let kind = match kind {
            0 => MouseEventKind::ScrollDown,
            1 => MouseEventKind::ScrollUp,
            _ => MouseEventKind::Down(MouseButton::Left),
        };
        Message::Mouse(MouseEvent {
            kind,
            column,
            row,
            modifiers: KeyModifiers::NONE,
        })
    });
    prop_oneof![
        12 => any_key(),
        2 => any_observation(),
        2 => (0_u16..250, 0_u16..80).prop_map(|(columns, rows)| Message::Resize(columns, rows)),
        1 => (-9_000_i64..9_000).prop_map(|s| Message::Tick(now() + SignedDuration::from_secs(s))),
        1 => any::<i64>().prop_map(|s| Message::Jumped(SignedDuration::from_secs(s))),
        2 => mouse,
        1 => any_text().prop_map(Message::Paste),
        2 => planned,
        1 => finished,
        1 => (id, any_text(), any::<(u64, u64)>())
            .prop_map(|(id, what, (done, total))| Message::Progress(id, Progress { what, done, total })),
        1 => any::<bool>().prop_map(|good| Message::Told(if good { Ok(()) } else { Err("no".to_owned()) })),
        1 => text.prop_map(|text| Message::Told(Err(text))),
        2 => (any::<[(u64, u64); 4]>(), 0_usize..9).prop_map(|(trials, repeat)| {
            let trials = trials.map(|(n, full)| Trials { n: n % 1_000, full: full % 1_000 });
            let pair = |at: usize, task| Pair { first: trials[at], second: trials[at + 1], task };
            let pairs = [pair(0, None), pair(2, Some(7))];
            let pairs = pairs.into_iter().cycle().take(repeat);
            let found = compare(pairs.map(Ok::<_, Infallible>)).unwrap();
            let both = ["claude-opus-4.1", "DeepSeek-V3-0324"].map(str::to_owned);
            Message::Compared(both, if repeat == 8 { Err("\u{1b}[31m".to_owned()) } else { Ok(found) })
        }),
    ]
}

/// Whether a symbol may reach the terminal: nothing in it steers it, turns its direction, or
/// is there without being seen.
fn is_harmless(symbol: &str) -> bool {
    !symbol.chars().any(|c| {
        c.is_control()
            || matches!(
                c,
                '\u{ad}'
                    | '\u{61c}'
                    | '\u{200b}'..='\u{200f}'
                    | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}'
                    | '\u{fe00}'..='\u{fe0f}'
                    | '\u{feff}'
                    | '\u{fff9}'..='\u{fffb}'
                    | '\u{e0000}'..='\u{e007f}'
            )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_sequence_of_messages_breaks_anything(
        messages in prop::collection::vec(any_message(), 1..40), ascii: bool, readonly: bool,
    ) {
        let mut model = showing(80, 24, healthy());
        model.settings.ascii = ascii;
        model.settings.readonly = readonly;
        model.settings.expected = Some(Expected::Tests(20_000));
        for message in messages {
            update(&mut model, message);
            let mut buffer = Buffer::empty(model.area);
            let screen = Screen(&model);
            screen.render(model.area, &mut buffer);
            for cell in &buffer.content {
                prop_assert!(is_harmless(cell.symbol()), "{:?}", cell.symbol());
                prop_assert!(!ascii || cell.symbol().is_ascii(), "{:?}", cell.symbol());
            }
            if let Some(cursor) = screen.cursor() {
                prop_assert!(model.area.contains(cursor), "{cursor:?} in {:?}", model.area);
            }
        }
    }

    #[test]
    fn panes_stay_inside_their_areas(width in 40_u16..220, height in 10_u16..70, models in 0_usize..60) {
        let model = fixture::with_models(width, height, models);
        let margin = ratatui::layout::Rect::new(0, 0, width + 7, height + 7);
        let mut buffer = Buffer::filled(margin, ratatui::buffer::Cell::new("X"));
        Screen(&model).render(model.area, &mut buffer);
        for row in margin.rows() {
            for at in row.columns().filter(|c| c.x >= width || c.y >= height) {
                prop_assert_eq!(buffer.cell((at.x, at.y)).map(ratatui::buffer::Cell::symbol), Some("X"));
            }
        }
    }
}

#[test]
fn what_is_shown_before_the_first_look_is_no_news() {
    let mut model = Model::new(fixture::settings(), now());
    let mut early = fixture::many(2);
    (early.alerts, early.reading) = (Vec::new(), Some(Reading { read: 0, files: 70 }));
    assert_eq!(
        update(&mut model, Message::Glimpsed(Box::new(early.clone()))),
        []
    );
    update(&mut model, Message::Read(12));
    assert_eq!(
        model.seen.as_ref().unwrap().reading,
        Some(Reading {
            read: 12,
            files: 70
        })
    );
    assert!(model.activity.is_empty(), "{:?}", model.activity);
    update(&mut model, Message::Observed(Box::new(fixture::many(2))));
    let mut at_once = Model::new(fixture::settings(), now());
    update(&mut at_once, Message::Observed(Box::new(fixture::many(2))));
    let told = |model: &Model| {
        model
            .activity
            .iter()
            .map(|entry| entry.text.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(told(&model), told(&at_once));
    // One that comes late shows nothing old.
    update(&mut model, Message::Glimpsed(Box::new(early)));
    update(&mut model, Message::Read(13));
    assert_eq!(model.seen.as_ref().unwrap().reading, None);
}
