//! Pictures of whole screens: what people see, kept as snapshots.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use jiff::SignedDuration;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::Screen;
use super::theme::{Depth, Palette, Theme};
use crate::config::Thresholds;
use crate::health::Severity;
use crate::jobs::{CleanupOptions, ExportFormat, ExportOptions, Outcome, Plan, Request};
use crate::observation::{
    Observation, Reading, SessionState, StoreState, WaitingView, WatchMode, WriterState,
};
use crate::stats::Cell;
use crate::stats::history::History;
use crate::stats::paired::{self, Pair, Trials};
use crate::stats::progress::Expected;
use crate::store::Progress;
use crate::store::read::query::Filter;
use crate::tui::state::fixture;
use crate::tui::state::fixture::{healthy, showing, warning};
use crate::tui::state::model::{Model, Prompt};
use crate::tui::update::message::{Failure, Message};
use crate::tui::update::update;

fn draw(model: &Model) -> Terminal<TestBackend> {
    let backend = TestBackend::new(model.area.width, model.area.height);
    let mut terminal = Terminal::new(backend).unwrap();
    terminal
        .draw(|frame| frame.render_widget(&Screen(model), frame.area()))
        .unwrap();
    terminal
}

/// The screen as text, a line a row, between bars so that its width is seen.
fn text(model: &Model) -> String {
    let terminal = draw(model);
    let buffer = terminal.backend().buffer();
    let mut out = String::new();
    for row in buffer.area.rows() {
        let mut skip = 0;
        for cell in row.columns().filter_map(|c| buffer.cell((c.x, c.y))) {
            if skip > 0 {
                skip -= 1;
                continue;
            }
            out.push_str(cell.symbol());
            skip = crate::text::width::width(cell.symbol()).saturating_sub(1);
        }
        out.push_str("│\n");
    }
    out
}

fn press(model: &mut Model, keys: &str) {
    for key in keys.split(' ') {
        let code = match key {
            "enter" => KeyCode::Enter,
            "esc" => KeyCode::Esc,
            "tab" => KeyCode::Tab,
            "end" => KeyCode::End,
            "down" => KeyCode::Down,
            "left" => KeyCode::Left,
            "up" => KeyCode::Up,
            "right" => KeyCode::Right,
            "pagedown" => KeyCode::PageDown,
            "space" => KeyCode::Char(' '),
            other => KeyCode::Char(other.chars().next().unwrap()),
        };
        update(model, Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
}

fn after(columns: u16, rows: u16, seen: Observation, keys: &str) -> Model {
    let mut model = showing(columns, rows, seen);
    press(&mut model, keys);
    model
}

macro_rules! picture {
    ($name:ident, $model:expr) => {
        #[test]
        fn $name() {
            insta::assert_snapshot!(text(&$model));
        }
    };
}

picture!(the_design, {
    let mut model = Model::new(fixture::settings(), fixture::now());
    model.settings.expected = Some(Expected::Tests(20_000));
    update(&mut model, Message::Observed(Box::new(warning())));
    model
});
picture!(a_session, showing(80, 24, fixture::session()));
picture!(a_session_at_140_by_40, showing(140, 40, fixture::session()));
picture!(
    the_workers_of_a_session,
    after(100, 24, fixture::session(), "w")
);
picture!(a_session_in_each_state, {
    let states = [
        SessionState::Finishing,
        SessionState::Finished,
        SessionState::Incomplete,
        SessionState::Interrupted,
        SessionState::Dead,
    ];
    let mut model = showing(80, 24, fixture::session());
    model.area.height = 10;
    let mut rows = String::new();
    for state in states {
        let mut seen = fixture::session();
        seen.at = fixture::now();
        let ended = state != SessionState::Finishing;
        if let Some(session) = &mut seen.session {
            session.state = state;
            session.ended = ended.then_some(fixture::now() - SignedDuration::from_mins(9));
            session.done = if state == SessionState::Finished {
                2_000
            } else {
                1_944
            };
        }
        if ended {
            for writer in &mut seen.writers {
                writer.state = WriterState::Finished;
            }
            seen.per_minute = 0.0;
        }
        seen.alerts = crate::health::check(&seen, &Thresholds::default());
        update(&mut model, Message::Observed(Box::new(seen)));
        rows.extend(text(&model).lines().take(3).flat_map(|line| [line, "\n"]));
    }
    insta::assert_snapshot!("each_state", rows);
    model
});
picture!(all_is_well, showing(80, 24, healthy()));
picture!(critical, showing(80, 24, fixture::critical()));
picture!(
    nothing_seen_yet,
    Model::new(fixture::settings(), fixture::now())
);
picture!(what_waits_being_read, {
    let mut model = Model::new(fixture::settings(), fixture::now());
    let mut seen = fixture::many(3);
    seen.waiting = WaitingView {
        increments: 1_000,
        increment_bytes: 83 << 20,
        ..WaitingView::default()
    };
    (seen.alerts, seen.writers, seen.reading) = (
        Vec::new(),
        Vec::new(),
        Some(Reading {
            read: 0,
            files: 1_000,
        }),
    );
    update(&mut model, Message::Glimpsed(Box::new(seen)));
    update(&mut model, Message::Read(312));
    model
});
picture!(an_empty_store, showing(80, 24, fixture::empty()));
picture!(a_run_that_ended, {
    let mut model = Model::new(fixture::settings(), fixture::now());
    model.settings.expected = Some(Expected::Tests(12_000));
    update(&mut model, Message::Observed(Box::new(fixture::ended())));
    model
});
picture!(no_store, {
    let seen = Observation {
        state: StoreState::Missing,
        ..fixture::empty()
    };
    showing(80, 24, seen)
});
picture!(an_unreadable_store, {
    let why = "cannot read /home/me/runs/pilot_bench_parquet_data: Permission denied (check the owner and \
               mode of the file and its folder)";
    let seen = Observation {
        state: StoreState::Unreadable(why.to_owned()),
        ..fixture::empty()
    };
    showing(80, 24, seen)
});
picture!(one_model, showing(80, 24, fixture::many(1)));
picture!(
    the_end_of_500_models,
    after(80, 24, fixture::many(500), "end")
);
picture!(hostile_names, {
    let mut seen = healthy();
    let names = [
        "\u{1b}[2J\u{1b}]0;gone\u{7}",
        "",
        "通义千问-72B-指令",
        "e\u{301}te\u{301}-model",
        "a\nb\tc",
        "\u{202e}evil",
        "👩‍👩‍👧‍👦-family",
        "a-very-long-name-that-does-not-fit-into-the-column-at-all",
    ];
    seen.models.truncate(names.len());
    for (model, name) in seen.models.iter_mut().zip(names) {
        name.clone_into(&mut model.model);
    }
    seen.models.sort_by(|a, b| a.model.cmp(&b.model));
    showing(80, 24, seen)
});
picture!(
    the_alerts_focused,
    after(80, 24, fixture::critical(), "tab down")
);
picture!(an_alert_explained, after(80, 24, warning(), "i"));
picture!(alerts_acknowledged, after(80, 24, warning(), "a"));
picture!(an_alert_snoozed, after(80, 24, warning(), "tab A"));
picture!(the_alert_history, {
    let mut model = after(80, 24, warning(), "a");
    let mut later = fixture::critical();
    later.at = fixture::now() + SignedDuration::from_mins(11);
    later.alerts.remove(1);
    update(&mut model, Message::Tick(later.at));
    update(&mut model, Message::Observed(Box::new(later)));
    press(&mut model, "L");
    model
});
picture!(an_alert_that_is_over, {
    let mut model = after(80, 24, warning(), "i");
    update(&mut model, Message::Observed(Box::new(healthy())));
    model
});
picture!(the_help, after(80, 24, healthy(), "?"));
picture!(the_help_searched, after(80, 24, healthy(), "? / f i l e"));
picture!(a_drill_down, after(80, 24, warning(), "enter"));
picture!(the_history, after(80, 24, healthy(), "H"));
picture!(
    an_hour_of_it,
    after(80, 24, healthy(), "H left left left right left")
);
picture!(the_history_without_braille, {
    let mut model = after(60, 16, healthy(), "H");
    model.settings.ascii = true;
    model
});
picture!(the_history_of_nothing, after(80, 24, fixture::empty(), "H"));

/// A plan of the models' cells: the first one's are all there, and one has not begun.
fn more_of_each() -> Expected {
    let seen = healthy();
    let first = seen.cells.keys().next().unwrap().model.clone();
    let mut plan: BTreeMap<Cell, u64> = BTreeMap::new();
    for (cell, tally) in seen.cells.iter() {
        plan.insert(
            cell.clone(),
            if cell.model == first {
                tally.tests
            } else {
                tally.tests + 20
            },
        );
        plan.insert(
            Cell {
                model: "not-begun-1b".into(),
                ..cell.clone()
            },
            20,
        );
    }
    Expected::Cells(Arc::new(plan))
}

/// A scan of a run that is expected to go further.
fn expecting(columns: u16, rows: u16, expected: Option<Expected>, keys: &str) -> Model {
    let mut model = Model::new(fixture::settings(), fixture::now());
    model.settings.expected = expected;
    update(&mut model, Message::Resize(columns, rows));
    update(&mut model, Message::Observed(Box::new(healthy())));
    press(&mut model, keys);
    model
}

picture!(
    a_plan_by_model,
    expecting(100, 24, Some(more_of_each()), "t")
);
picture!(
    a_plan_beside_the_models,
    expecting(80, 24, Some(more_of_each()), "down")
);
picture!(
    a_number_of_tests,
    expecting(80, 24, Some(Expected::Tests(20_000)), "t")
);
picture!(throughput_without_a_plan, expecting(80, 24, None, "t"));

/// Two models compared on so many pairs: both, only the first, only the second, neither.
fn against(
    columns: u16,
    rows: u16,
    [both, first, second, neither]: [usize; 4],
    repeated: bool,
) -> Model {
    let mut model = after(columns, rows, healthy(), "space down =");
    let trials = |full| Trials {
        n: 1 + u64::from(repeated),
        full: u64::from(full),
    };
    let pairs = [
        (both, true, true),
        (first, true, false),
        (second, false, true),
        (neither, false, false),
    ]
    .into_iter()
    .flat_map(|(n, a, b)| {
        std::iter::repeat_n(
            Pair {
                first: trials(a),
                second: trials(b),
                task: None,
            },
            n,
        )
    });
    let alone = Pair {
        first: Trials { n: 112, full: 60 },
        ..Pair::default()
    };
    let names = ["claude-opus-4.1", "DeepSeek-V3-0324"].map(str::to_owned);
    let found = paired::compare(pairs.chain([alone]).map(Ok::<_, Infallible>)).unwrap();
    update(&mut model, Message::Compared(names, Ok(found)));
    model
}

picture!(
    two_models_marked,
    after(80, 24, healthy(), "space down space down down space up")
);
picture!(
    a_comparison_asked_for,
    after(80, 24, healthy(), "space down =")
);
picture!(
    a_comparison_separated,
    against(80, 24, [700, 150, 90, 250], false)
);
picture!(
    a_comparison_undecided,
    against(100, 24, [70, 9, 5, 25], true)
);
picture!(
    a_comparison_tied_at_60,
    against(60, 16, [3_000, 100, 97, 800], false)
);
picture!(nothing_to_compare, against(80, 24, [0; 4], false));

picture!(a_drill_down_to_its_end, {
    let mut seen = warning();
    for model in &mut seen.models {
        model.effective = Some(412.4);
    }
    after(140, 110, seen, "enter")
});
picture!(a_drill_down_without_braille, {
    let mut model = after(80, 24, warning(), "enter pagedown");
    model.settings.braille = false;
    model
});
picture!(
    a_drill_down_further_down,
    after(80, 24, warning(), "enter pagedown")
);
picture!(the_writers, after(80, 24, warning(), "w"));
picture!(the_files, after(80, 24, fixture::critical(), "f"));
picture!(a_filter_being_typed, after(80, 24, healthy(), "/ q w e n"));
picture!(a_filter_kept, after(80, 24, healthy(), "/ q w e n enter s"));
picture!(read_only, {
    let mut model = showing(80, 24, healthy());
    model.settings.readonly = true;
    press(&mut model, "c");
    model
});
picture!(held_still_and_zoomed, after(80, 24, healthy(), "z p"));
picture!(polling, {
    let seen = Observation {
        watch: WatchMode::Polling("a network file system".to_owned()),
        ..healthy()
    };
    showing(80, 24, seen)
});

fn planned(keys: &str, plan: Plan) -> Model {
    let mut model = after(80, 24, warning(), keys);
    let id = model.jobs.last_id;
    update(&mut model, Message::Planned(id, Ok(Box::new(plan))));
    model
}

fn cleanup() -> Plan {
    Plan {
        request: Request::Cleanup(CleanupOptions::default()),
        summary: "remove 9 files, 2.1 MiB".to_owned(),
        lines: (1..10)
            .map(|i| format!("backups/test_results_2026010{i}_120000.parquet  240 KiB"))
            .collect(),
        needs_yes: true,
        ..fixture::plan()
    }
}

picture!(a_plan_to_consolidate, planned("c", fixture::plan()));
picture!(a_plan_to_clean_up, planned("x", cleanup()));
picture!(
    an_export_being_filled_in,
    after(80, 24, healthy(), "/ q w e n enter e right enter")
);
picture!(a_plan_to_export, {
    let options = ExportOptions {
        format: ExportFormat::Csv,
        output: "results.csv".into(),
        filter: Filter::default(),
        overwrite: true,
        strict: false,
    };
    let plan = Plan {
        request: Request::Export(options),
        summary: "write 12,442 rows as csv to results.csv".to_owned(),
        lines: vec!["results.csv is there and would be replaced".to_owned()],
        removes: vec!["results.csv".into()],
        needs_yes: true,
        ..fixture::plan()
    };
    planned("e enter enter", plan)
});

fn running() -> Model {
    let mut model = planned("c", fixture::plan());
    press(&mut model, "y");
    let id = model.jobs.running.as_ref().unwrap().id;
    let progress = Progress {
        what: "reading increments".to_owned(),
        done: 23,
        total: 41,
    };
    update(&mut model, Message::Progress(id, progress));
    model
}

picture!(a_running_job, running());
picture!(a_job_about_to_be_cancelled, {
    let mut model = running();
    press(&mut model, "esc");
    model
});
picture!(quitting_while_a_job_runs, {
    let mut model = running();
    press(&mut model, "q");
    model
});
picture!(an_outcome, {
    let mut model = running();
    let outcome = Outcome {
        summary: "consolidated 41 files, 2,013 rows, 9 retried, 0.4 s".to_owned(),
        lines: Vec::new(),
        json: serde_json::Value::Null,
        severity: Severity::Healthy,
        changed: true,
    };
    let id = model.jobs.last_id;
    update(&mut model, Message::Finished(id, Ok(Box::new(outcome))));
    let mut seen = healthy();
    seen.main.generation = 8;
    update(&mut model, Message::Observed(Box::new(seen)));
    press(&mut model, "z tab tab");
    model
});
picture!(a_failure, {
    let mut model = running();
    let id = model.jobs.last_id;
    let why =
        "the store is locked by process 4711: wait for it to end, then run this again".to_owned();
    update(&mut model, Message::Finished(id, Err(Failure::Failed(why))));
    model
});

picture!(a_refusal_in_full, {
    let mut model = after(80, 24, healthy(), "u");
    let id = model.jobs.last_id;
    let why = "the last operation on this store was a consolidate of another process after the one that you \
               mean: take that one back first, or bring back a backup with evaltop restore --from BACKUP";
    update(&mut model, Message::Planned(id, Err(why.to_owned())));
    model
});
picture!(
    a_filter_that_leaves_nothing,
    after(80, 24, healthy(), "/ x x enter")
);
picture!(a_filter_to_be_typed, after(80, 24, healthy(), "/"));
picture!(a_run_that_began_a_moment_ago, {
    let mut seen = fixture::many(2);
    seen.history = History::default();
    for minute in 1..5 {
        seen.history
            .add(fixture::now().as_second() - minute * 60, 3, 2);
    }
    showing(80, 40, seen)
});
picture!(
    a_drill_down_at_200_by_60,
    after(200, 60, warning(), "enter")
);
picture!(a_single_long_alert, {
    let mut seen = warning();
    seen.alerts.truncate(1);
    let more = "; 29 of 31 failures are HTTP 429, and the last one said so a moment ago";
    seen.alerts[0].message.push_str(more);
    showing(80, 24, seen)
});
picture!(alerts_without_room_at_80_by_28, {
    let mut seen = fixture::critical();
    for alert in &mut seen.alerts {
        alert.message = format!("{0}, and then {0}", alert.message);
    }
    showing(80, 28, seen)
});
picture!(long_messages_at_40_by_60, {
    let mut seen = fixture::critical();
    seen.notes =
        vec!["another process removed 9 files, 2.1 MiB, from backups and quarantine".to_owned()];
    showing(40, 60, seen)
});
picture!(at_140_by_40, showing(140, 40, warning()));
picture!(at_200_by_60, showing(200, 60, fixture::critical()));
picture!(
    at_200_by_60_with_many_models,
    showing(200, 60, fixture::many(93))
);
picture!(at_40_by_10, showing(40, 10, warning()));
picture!(tall_and_narrow, showing(60, 60, warning()));
picture!(a_job_on_a_wide_terminal, {
    let mut model = showing(140, 40, warning());
    fixture::run(&mut model);
    model
});
picture!(at_60_by_16, showing(60, 16, warning()));
picture!(a_plan_at_40_by_10, {
    let mut model = showing(40, 10, warning());
    model.prompt = Prompt::Confirm(Box::new(fixture::plan()), 0);
    model
});
picture!(too_small, showing(39, 9, warning()));
picture!(in_ascii, {
    let mut model = showing(80, 24, warning());
    model.settings.ascii = true;
    model
});
picture!(in_ascii_at_40_by_10, {
    let mut model = showing(40, 10, fixture::critical());
    model.settings.ascii = true;
    model
});
picture!(the_help_in_ascii, {
    let mut model = after(80, 24, healthy(), "? end");
    model.settings.ascii = true;
    model
});
picture!(a_drill_down_without_colours, {
    let mut model = after(80, 24, warning(), "enter pagedown");
    model.settings.theme = Theme {
        palette: Palette::Dark,
        depth: Depth::None,
    };
    model
});

/// Each distinct look of the cells of a row, with how often it stands in a row.
fn colours(model: &Model) -> String {
    let terminal = draw(model);
    let buffer = terminal.backend().buffer();
    let mut out = String::new();
    for row in buffer.area.rows() {
        let mut looks: Vec<(String, usize)> = Vec::new();
        for cell in row.columns().filter_map(|c| buffer.cell((c.x, c.y))) {
            let mut look = String::new();
            for (colour, sign) in [(cell.fg, ""), (cell.bg, "on ")] {
                if colour != Color::Reset {
                    look.extend([sign, &colour.to_string(), " "]);
                }
            }
            if !cell.modifier.is_empty() {
                look.extend([format!("{:?}", cell.modifier)]);
            }
            match looks.last_mut() {
                Some((last, n)) if *last == look => *n += 1,
                _ => looks.push((look, 1)),
            }
        }
        let row: Vec<String> = looks
            .iter()
            .map(|(look, n)| format!("{n}×{}", look.trim()))
            .collect();
        out.push_str(&row.join(" | "));
        out.push('\n');
    }
    out
}

#[test]
fn colours_of_the_screen() {
    insta::assert_snapshot!(colours(&showing(80, 24, fixture::critical())));
}

fn coloured(palette: Palette, depth: Depth) -> String {
    let mut model = showing(80, 24, fixture::critical());
    model.settings.theme = Theme { palette, depth };
    colours(&model)
}

#[test]
fn light_in_256_colours() {
    insta::assert_snapshot!(coloured(Palette::Light, Depth::Ansi256));
}

#[test]
fn high_contrast_in_16_colours() {
    insta::assert_snapshot!(coloured(Palette::HighContrast, Depth::Ansi16));
}

#[test]
fn colour_blind_in_all_colours() {
    insta::assert_snapshot!(coloured(Palette::ColourBlind, Depth::True));
}

#[test]
fn without_colours_there_are_none() {
    let mut model = showing(80, 24, fixture::critical());
    model.settings.theme = Theme {
        palette: Palette::Dark,
        depth: Depth::None,
    };
    let terminal = draw(&model);
    for cell in &terminal.backend().buffer().content {
        assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset));
    }
}
