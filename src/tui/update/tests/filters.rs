//! Filters of the screen.

use super::*;

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
fn a_kept_filter_without_a_number_is_reported() {
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
    let reported = "“rate:>=many” has no number and hides nothing: type it as in rate:>=0.5";
    assert_eq!(model.notice.as_deref(), Some(reported));
    press(&mut model, '/');
    for _ in 0.."many".len() {
        key(&mut model, KeyCode::Backspace);
    }
    type_text(&mut model, "0.6");
    key(&mut model, KeyCode::Enter);
    assert_eq!((model.activity.len(), model.notice), (before + 1, None));
}
