//! Any sequence of keys and messages leaves a screen that can be drawn.

use super::*;

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
                        Effect::Plan(..)
                            | Effect::Cancel(_)
                            | Effect::Metrics
                            | Effect::Sessions(_)
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
        1 => any::<bool>().prop_map(|good| Message::Notified(if good { Ok(()) } else { Err("no".to_owned()) })),
        1 => text.prop_map(|text| Message::Notified(Err(text))),
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
