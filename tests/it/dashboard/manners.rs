//! Terminals and environments that are not as they should be: nothing of it may hang
//! the dashboard, make it spin, or leave the terminal in disorder.

use super::*;

/// The program in an environment of its own: `env` with these arguments before it.
fn open_in(run: &Run, environment: &[&str], state: &Path) -> Terminal {
    let mut command = CommandBuilder::new("env");
    command.args(environment);
    command.args([Path::new(env!("CARGO_BIN_EXE_evaltop")), &run.store]);
    let settings = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/config.toml"));
    Terminal::run_with(command, settings, state)
}

fn open(run: &Run, environment: &[&str]) -> Terminal {
    open_in(run, environment, &run.store.with_extension("state"))
}

/// Whether every thread of a process sleeps at this moment: one that spins never does, however
/// little of a busy machine it gets.
#[cfg(target_os = "linux")]
fn sleeps(pid: Pid) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).unwrap();
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        !stat.contains(") R ")
    })
}

/// Makes the terminal take nothing more, with more on its way than it holds.
fn block(terminal: &mut Terminal) {
    terminal.held.store(true, Ordering::SeqCst);
    // What every size takes to be drawn soon fills what the system keeps for a reader.
    for step in 0..24 {
        terminal.resize(100 + step % 2, 300);
        terminal.press("z");
        thread::sleep(Duration::from_millis(70));
    }
}

#[test]
fn a_terminal_that_takes_nothing_for_a_while_shows_what_is_true_afterwards() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    block(&mut terminal);
    #[cfg(target_os = "linux")]
    {
        // Now and then there is a scan of the store; between them nothing.
        let (begun, mut quiet) = (Instant::now(), 0);
        while quiet < 25 {
            assert!(begun.elapsed() < PATIENCE, "spins");
            thread::sleep(Duration::from_millis(10));
            quiet = if sleeps(terminal.pid()) { quiet + 1 } else { 0 };
        }
    }
    write(&run.store, "model-b", 4);
    terminal.resize(24, 80);
    terminal.held.store(false, Ordering::SeqCst);
    terminal.wait("the picture of the last size", |s| {
        let rows: Vec<String> = s.rows(0, 80).collect();
        rows.first().is_some_and(|row| row.starts_with(" evaltop"))
            && s.contents().contains("7 tests")
            && rows.last().is_some_and(|row| row.contains("q quit"))
    });
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
}

#[test]
fn a_terminal_that_takes_nothing_does_not_hold_up_the_end() {
    let run = run();
    write(&run.store, "model-a", 3);
    for end in ["q", "signal"] {
        let mut terminal = Terminal::open(&run.store, &[]);
        terminal.wait_for("model-a");
        block(&mut terminal);
        if end == "q" {
            terminal.press("q");
        } else {
            terminal.signal(Signal::TERM);
        }
        assert_eq!(
            terminal.ended().exit_code(),
            if end == "q" { 0 } else { 130 }
        );
    }
}

#[test]
#[cfg(debug_assertions)]
fn a_mistake_gives_the_terminal_back_and_names_its_report() {
    let run = run();
    write(&run.store, "model-a", 3);
    let state = run.store.with_extension("state");
    let mut terminal = open_in(&run, &["EVALTOP_TEST_MISTAKE=screen"], &state);
    terminal.resize(24, 200);
    terminal.press("j");
    assert_eq!(terminal.ended().exit_code(), 101);
    terminal.is_given_back();
    terminal.wait_for("evaltop stopped because of a mistake in the code (a report is in ");
    let report = std::fs::read_dir(state.join("evaltop"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let report = report
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .collect::<Vec<_>>();
    let [report] = &report[..] else {
        panic!("{report:?}")
    };
    let shown = terminal.text().replace('\n', "");
    assert!(shown.contains(report.to_str().unwrap()), "{shown}");
    assert!(
        std::fs::read_to_string(report)
            .unwrap()
            .contains("asked for by a test")
    );
}

#[test]
#[cfg(debug_assertions)]
fn a_mistake_in_the_background_is_reported_and_the_dashboard_goes_on() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = open(&run, &["EVALTOP_TEST_MISTAKE=job"]);
    terminal.resize(24, 200);
    terminal.wait_for("3 tests");
    terminal.press("c");
    terminal.wait_for("CONSOLIDATE?");
    terminal.press("y");
    terminal.wait_for("the job stopped because of a mistake in the code (a report is in ");
    // The whole sentence.
    terminal.press("\t\t\r");
    terminal.wait_for("evaltop-panic-");
    terminal.press("\u{1b}\u{1b}");
    write(&run.store, "model-a", 3);
    terminal.wait_for("6 tests");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
}

#[test]
fn the_smallest_terminal_is_survived() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    for (rows, cols) in [(1, 1), (1, 200), (60, 1), (2, 2)] {
        terminal.resize(rows, cols);
        terminal.press("?z\u{1b}\u{1b}c\u{1b}\u{1b}");
    }
    terminal.resize(24, 80);
    terminal.wait("a whole screen", |s| {
        let text = s.contents();
        text.starts_with(" evaltop") && text.contains("model-a") && text.contains("3 tests")
    });
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
fn junk_on_the_line_is_survived() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_evaltop"));
    command.arg(&run.store);
    command.cwd(run.store.parent().unwrap());
    let mut terminal = Terminal::run(command);
    terminal.wait_for("model-a");
    // Into the filter: a line of it at most.
    terminal.press("/");
    terminal.press(&format!(
        "\u{1b}[200~{}\u{1b}[201~",
        "x\u{7}\u{1b}[2J\n".repeat(3_000)
    ));
    terminal.press("\u{1b}\u{1b}");
    // Sequences that mean nothing, that are never ended, that are no text.
    for junk in [
        "\u{1b}[999;999;999Z",
        "\u{1b}[?1;2c",
        "\u{1b}[>0;1;2u",
        "\u{1b}O\u{1b}O",
        "\u{1b}[<99;1;1M",
    ] {
        terminal.press(junk);
    }
    let mut seed = 7_u32;
    let bytes: Vec<u8> = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    })
    // Not those that leave, stop, or begin a paste that would have no end.
    .filter(|byte| ![3, 0x1a, b'q', 0x1b].contains(byte))
    .take(4_000)
    .collect();
    terminal.keys.as_mut().unwrap().write_all(&bytes).unwrap();
    let begun = Instant::now();
    while terminal.child.try_wait().unwrap().is_none() {
        assert!(
            begun.elapsed() < PATIENCE,
            "does not end\n{}",
            terminal.text()
        );
        let _ = terminal.keys.as_mut().unwrap().write_all(b"\x03");
        thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
}

#[test]
fn keys_come_from_the_terminal_also_where_the_input_does_not() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut command = CommandBuilder::new("sh");
    command.args(["-c", "exec \"$0\" \"$1\" < /dev/null"]);
    command.args([Path::new(env!("CARGO_BIN_EXE_evaltop")), &run.store]);
    let mut terminal = Terminal::run(command);
    terminal.wait_for("model-a");
    terminal.press("?");
    terminal.wait_for("KEYS");
    terminal.press("\u{1b}\u{1b}q");
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
}

#[test]
fn a_terminal_that_can_do_nothing_gets_one_look() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = open(&run, &["TERM=dumb"]);
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.wait_for("model-a");
    assert!(!terminal.raw.lock().unwrap().contains(&0x1b));
}

#[test]
fn a_terminal_of_which_nothing_is_known_gets_ascii() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = open(
        &run,
        &["-u", "TERM", "-u", "LANG", "-u", "LC_ALL", "-u", "LC_CTYPE"],
    );
    terminal.wait_for("model-a");
    terminal.wait_for("3 tests");
    assert!(terminal.text().is_ascii(), "{}", terminal.text());
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
fn every_frame_is_drawn_at_one_go() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    terminal.press("?");
    terminal.wait_for("KEYS");
    terminal.press("\u{1b}\u{1b}q");
    terminal.ended();
    terminal.is_given_back();
    let raw = String::from_utf8_lossy(&terminal.raw.lock().unwrap()).into_owned();
    let (_, frames) = raw.split_once("\u{1b}[?2026h").unwrap();
    for frame in frames.split("\u{1b}[?2026h") {
        let (_, after) = frame
            .split_once("\u{1b}[?2026l")
            .expect("every frame has an end");
        assert!(
            !after.contains("model-a"),
            "drawn outside of a frame: {after:?}"
        );
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_size_that_changes_while_it_is_stopped_is_taken_up() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    terminal.press("\u{1a}");
    terminal.is_given_back();
    let stat = format!("/proc/{}/stat", terminal.pid().as_raw_nonzero());
    let begun = Instant::now();
    while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
        assert!(begun.elapsed() < PATIENCE, "does not stop");
        thread::sleep(Duration::from_millis(20));
    }
    write(&run.store, "model-b", 4);
    terminal.resize(30, 100);
    terminal.signal(Signal::CONT);
    terminal.wait("the picture of the new size", |s| {
        let rows: Vec<String> = s.rows(0, 100).collect();
        s.alternate_screen()
            && s.contents().contains("7 tests")
            && rows.last().is_some_and(|row| row.contains("q quit"))
    });
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
fn a_job_that_waits_for_the_lock_says_for_whom_and_can_be_cancelled_or_left() {
    let run = run();
    write(&run.store, "model-a", 3);
    let lock = std::fs::File::create(run.store.join("test_results.parquet.lock")).unwrap();
    lock.lock().unwrap();
    let begin = |terminal: &mut Terminal| {
        terminal.wait_for("3 tests");
        terminal.press("c");
        terminal.wait_for("CONSOLIDATE?");
        terminal.press("y");
        terminal.wait_for("waiting for process ");
    };
    let mut terminal = Terminal::open(&run.store, &[]);
    begin(&mut terminal);
    terminal.press("\u{1b}\u{1b}");
    terminal.wait_for("CANCEL?");
    terminal.press("y");
    terminal.wait_for("consolidate cancelled: nothing was changed");
    // To wait until it ends is the other answer; the lock comes free in time.
    begin(&mut terminal);
    terminal.press("q");
    terminal.wait_for("QUIT?");
    terminal.press("n");
    drop(lock);
    terminal.wait_for("consolidated 1 file");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    assert!(run.store.join("test_results.parquet").exists());
}
