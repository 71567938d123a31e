//! Keys that begin a job: its plan, its confirmation, its end.

use super::*;

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
fn what_is_reported_names_files_of_the_store_as_seen_from_it() {
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
fn a_plan_with_nothing_to_do_is_reported_rather_than_asked() {
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
fn a_report_is_the_last_of_the_formats() {
    let mut model = showing(80, 24, healthy());
    press(&mut model, '/');
    type_text(&mut model, "qwen");
    key(&mut model, KeyCode::Enter);
    press(&mut model, 'e');
    key(&mut model, KeyCode::Right);
    key(&mut model, KeyCode::Enter);
    let effects = key(&mut model, KeyCode::Enter);
    let [Effect::Plan(_, Request::Report(options))] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    assert_eq!(options.output, std::path::Path::new("report.html"));
    assert_eq!(options.request.filter.models.len(), 3);
    assert!(!options.overwrite && !options.request.with_texts);
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
fn a_refusal_that_is_too_long_for_a_row_is_reported_in_full() {
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
        matches!(model.prompt, Prompt::Notice(..)),
        "a key without a meaning leaves it"
    );
    key(&mut model, KeyCode::Esc);
    assert!(matches!(model.prompt, Prompt::None) && newest(&model) == why);

    // A short one stands in the activity, unless something covers that.
    for (keys, reported) in [("", false), ("H", true)] {
        type_text(&mut model, keys);
        let effects = press(&mut model, 'u');
        let [Effect::Plan(id, _)] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        update(
            &mut model,
            Message::Planned(*id, Err("nothing to undo".to_owned())),
        );
        assert_eq!(
            matches!(model.prompt, Prompt::Notice(..)),
            reported,
            "{keys}"
        );
    }
    press(&mut model, 't');
    assert!(
        matches!(model.prompt, Prompt::None),
        "another key does what it does"
    );
    assert!(matches!(model.overlays.last(), Some(Overlay::Progress(_))));
}
