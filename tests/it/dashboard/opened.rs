//! What is opened from a list: the log of a failed test with the user's own program, a session.

use std::os::unix::fs::PermissionsExt;

use super::*;

/// A program that writes down its arguments, each ended by a zero byte.
fn witness(path: &Path, to: &Path) {
    let (draft, to) = (to.with_extension("draft"), to.display());
    let text = format!(
        "#!/bin/sh\nprintf '%s\\0' \"$@\" > '{draft}'\nmv '{draft}' '{to}'\n",
        draft = draft.display()
    );
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn arguments(to: &Path, terminal: &Terminal) -> Vec<String> {
    let begun = Instant::now();
    loop {
        if let Ok(text) = std::fs::read_to_string(to) {
            std::fs::remove_file(to).unwrap();
            return text.split_terminator('\0').map(str::to_owned).collect();
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "nothing was opened\n{}",
            terminal.text()
        );
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_log_opens_with_the_users_program_as_one_argument_and_never_with_the_stores() {
    let run = run();
    let name = "a b; touch hacked $(touch hacked) `touch hacked` 'x' \"y\" *.log";
    let mut writer = Writer::open(&Store::new(&run.store), WriterOptions::default()).unwrap();
    writer
        .append(Record {
            test_id: Some("t1".to_owned()),
            error_type: Some("wrong_answer".to_owned()),
            log: Some(format!("{name}#s1")),
            ..record("model-a", false)
        })
        .unwrap();
    writer.close().unwrap();
    let (ours, theirs) = (
        run.store.with_extension("ours"),
        run.store.with_extension("theirs"),
    );
    let program = |to: &Path| to.with_extension("sh");
    let (own, of_store) = (ours.join("x"), theirs.join("x"));
    for to in [&own, &of_store] {
        std::fs::create_dir(to.parent().unwrap()).unwrap();
        witness(&program(to), to);
    }
    let of_store_program = program(&of_store);
    std::fs::write(
        run.store.join("evaltop.toml"),
        format!("[log]\nopen = [{:?}]\n", of_store_program.to_str().unwrap()),
    )
    .unwrap();
    let open = |terminal: &mut Terminal| {
        terminal.wait_for("model-a");
        terminal.press("\r");
        terminal.wait_for("Enter failed tests");
        terminal.press("\r");
        terminal.wait_for("FAILED TESTS OF model-a");
        terminal.press("\r");
        terminal.wait_for("wrong_answer");
        terminal.wait_for("o its log");
        terminal.press("o");
    };
    let path = run.store.join(name);
    let path = path.to_str().unwrap().to_owned();
    let word = "$HOME; touch hacked";
    for (settings, expected) in [
        (
            format!("[{:?}, {word:?}, \"{{}}\", \"--end\"]", program(&own)),
            vec![word.to_owned(), path.clone(), "--end".to_owned()],
        ),
        (format!("[{:?}]", program(&own)), vec![path.clone()]),
    ] {
        let mut terminal = open_with(&run, &format!("[log]\nopen = {settings}\n"));
        terminal.wait_for("evaltop.toml line 2: log.open is ignored");
        open(&mut terminal);
        assert_eq!(arguments(&own, &terminal), expected);
        terminal.press("q");
        assert_eq!(terminal.ended().exit_code(), 0);
    }
    // Without a program of the user's the viewer of the dashboard opens, whatever the store says.
    let mut terminal = open_with(&run, "");
    terminal.wait_for("evaltop.toml line 2: log.open is ignored");
    open(&mut terminal);
    terminal.wait_for("NOT OPENED");
    terminal.wait_for("No such file");
    terminal.press("\u{1b}");
    terminal.wait_for("o its log");
    std::fs::write(&path, "the transcript of this test\n").unwrap();
    terminal.press("o");
    terminal.wait_for("the transcript of this test");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    assert!(!of_store.exists(), "the store's program was started");
    let hacked = |folder: &Path| folder.join("hacked").exists();
    assert!(!hacked(&run.store) && !hacked(run.store.parent().unwrap()) && !hacked(Path::new(".")));
}

#[test]
fn sessions_are_listed_shown_alone_and_compared() {
    let run = run();
    let mut writer = Writer::open(&Store::new(&run.store), WriterOptions::default()).unwrap();
    for (night, session) in ["monday", "tuesday"].into_iter().enumerate() {
        for task in 0..40 {
            writer
                .append(Record {
                    test_id: Some(format!("t{task}")),
                    task_id: Some(format!("t{task}")),
                    session_id: Some(session.to_owned()),
                    score: Some(5.0 + f64::from(task % 3) - 2.0 * night as f64),
                    cost: Some(0.25),
                    timestamp: Some(1_769_860_800_000_000 + night as i64 * 86_400_000_000),
                    ..record("model-a", task >= 10 + 20 * night as i32)
                })
                .unwrap();
        }
    }
    writer.close().unwrap();
    let line = |terminal: &Terminal, name: &str| {
        let text = terminal.text();
        let found = text.lines().find(|line| line.contains(name));
        let words = found.unwrap_or_default().split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    };
    let mut terminal = open_with(&run, "");
    terminal.wait_for("model-a");
    terminal.press("R");
    terminal.wait_for("AGAINST LAST");
    assert_eq!(
        line(&terminal, "tuesday"),
        "›tuesday 40 25.0% $10.00 -50.0 worse"
    );
    assert_eq!(line(&terminal, "monday"), "monday 40 75.0% $10.00 –");
    terminal.press("=");
    terminal.wait_for("monday passes 50.0 points more than tuesday");
    terminal.press("\u{1b}");
    terminal.wait_for("AGAINST LAST");
    terminal.press("\r");
    terminal.wait_for("only session tuesday is shown");
    terminal.press("R");
    terminal.wait_for("tuesday ◂");
    terminal.press("R");
    let closed = |screen: &vt100::Screen| !screen.contents().contains("AGAINST LAST");
    terminal.wait("the list closed", closed);
    // The metric that is chosen is what sessions are compared by.
    terminal.press("m");
    terminal.wait_for("›success");
    terminal.press("j");
    terminal.wait_for("›score");
    terminal.press("\r");
    terminal.wait_for("█ score");
    terminal.press("R");
    terminal.wait_for("-2 worse");
    assert_eq!(line(&terminal, "monday"), "monday 40 6 $10.00 –");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}
