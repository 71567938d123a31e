//! What the activity and the alerts report of a new observation.

use super::*;

#[test]
fn what_another_process_did_is_reported_and_what_we_did_is_not_reported_twice() {
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
    // Who opens it later is shown the past, and is not asked to read it now.
    let model = showing(80, 24, seen);
    assert_eq!(
        newest(&model),
        "backup failed: the disk is full (process 4711)"
    );
    assert_eq!((model.activity.len(), model.notice), (3, None));
}

#[test]
fn alerts_that_come_and_go_are_reported() {
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
fn alerts_are_reported_while_the_picture_is_held_and_noted_when_it_goes_on() {
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
fn a_hook_that_fails_is_reported_once_until_it_works() {
    let mut model = showing(80, 24, healthy());
    let fails = || Message::Notified(Err("notify.hook: page failed".to_owned()));
    let before = model.noted;
    for message in [
        fails(),
        fails(),
        Message::Notified(Ok(())),
        Message::Notified(Ok(())),
        fails(),
    ] {
        update(&mut model, message);
    }
    assert_eq!(model.noted - before, 3);
}

#[test]
fn a_store_that_vanishes_and_comes_back_is_reported() {
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
fn the_end_of_a_planned_run_is_reported_once() {
    let mut model = Model::new(fixture::settings(), now());
    model.settings.expected = Some(Expected::Tests(healthy().totals.tests + 1));
    update(&mut model, Message::Observed(Box::new(healthy())));
    assert!(!newest(&model).contains("done"), "{}", newest(&model));
    let mut all = healthy();
    all.totals.tests += 5;
    for _ in 0..2 {
        update(&mut model, Message::Observed(Box::new(all.clone())));
    }
    let reported = model
        .activity
        .iter()
        .filter(|e| e.text.starts_with("the run is done: all 12,443"))
        .count();
    assert_eq!(reported, 1, "{:?}", model.activity);
    let mut late = Model::new(fixture::settings(), now());
    late.settings.expected = Some(Expected::Tests(10));
    update(&mut late, Message::Observed(Box::new(all)));
    assert!(
        !late.activity.iter().any(|e| e.text.contains("done")),
        "it was done before the start"
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
    let reported = |model: &Model| {
        model
            .activity
            .iter()
            .map(|entry| entry.text.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(reported(&model), reported(&at_once));
    // One that comes late shows nothing old.
    update(&mut model, Message::Glimpsed(Box::new(early)));
    update(&mut model, Message::Read(13));
    assert_eq!(model.seen.as_ref().unwrap().reading, None);
}
