//! Focus, selection, overlays, comparisons.

use super::*;

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
