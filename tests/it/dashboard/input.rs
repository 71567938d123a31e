//! What acts and what does not: keys do; what a terminal says by itself, pasted text and what
//! is not whole never do. And the screen as it is when somebody disturbed it.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::*;

/// The program's side of the terminal.
fn line(terminal: &Terminal) -> File {
    let name = terminal.master.as_ref().unwrap().tty_name().unwrap();
    let flags = rustix::fs::OFlags::NOCTTY.bits();
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(flags).unwrap())
        .open(name)
        .unwrap()
}

/// Whether keys come one by one and unseen.
fn is_raw(line: &File) -> bool {
    let modes = tcgetattr(line).unwrap().local_modes;
    !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
}

/// Somebody else writes to the terminal.
fn disturb(terminal: &Terminal) {
    let mut screen = terminal.screen.lock().unwrap();
    screen.process(b"\x1b[2J\x1b[3;5Hsyslogd: disturbed\x1b[7;1Hmore");
    assert!(!screen.screen().contents().contains("model-a"));
}

fn is_whole(screen: &vt100::Screen) -> bool {
    let text = screen.contents();
    text.starts_with(" evaltop") && text.contains("model-a") && !text.contains("disturbed")
}

#[test]
fn what_a_terminal_says_by_itself_and_pasted_text_never_act() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    // The letters of all of them are keys: b backs up, c consolidates, x cleans up, A snoozes.
    for said in [
        "\x1b]11;rgb:bbbb/bbbb/bbbb\x1b\\",
        "\x1b]11;rgb:bbbb/cccc/bbbb\x07",
        "\x1b]52;c;Y2J4dnZ1\x1b\\",
        "\x1bP1$rbcx\x1b\\",
        "\x1bP>|tmux bcxuvA\x1b\\",
        "\x1b_Gi=31;bcx\x1b\\",
        "\x1b^bcx\x1b\\",
        "\x1b[?62;1;2c\x1b[24;80R\x1b[?2026;2$y\x1b[8;24;80t",
        "\x1b[I\x1b[O",
        "\x1b[200~bcx\ryuvA\n\x1b[201~",
        // In two pieces: written apart, read as they come.
        "\x1b]11;rgb:bb",
        "bb/cccc/bbbb\x1b\\",
        "\x1b[1",
        ";5A",
    ] {
        terminal.press(said);
        thread::sleep(Duration::from_millis(20));
    }
    // What comes after them is a key, and all before has been taken in then.
    terminal.press("?");
    terminal.wait_for("KEYS");
    terminal.press("\x1b\x1b");
    terminal.wait("no help", |s| !s.contents().contains("KEYS"));
    for question in ["CONSOLIDATE?", "CLEANUP?", "UNDO?", "backup", "valid"] {
        let activity = terminal.text();
        let activity = activity.split("ACTIVITY").nth(1).unwrap();
        let above_keys = activity.rsplit_once('\n').unwrap().0;
        assert!(
            !above_keys.contains(question),
            "{question}\n{}",
            terminal.text()
        );
    }
    assert!(!run.store.join("backups").exists());
    assert!(!run.store.join("test_results.parquet").exists());
    // One that is never ended takes no keys for long.
    terminal.press("\x1b]11;rgb:bb");
    let begun = Instant::now();
    while terminal.child.try_wait().unwrap().is_none() {
        assert!(
            begun.elapsed() < PATIENCE,
            "does not end\n{}",
            terminal.text()
        );
        // Not so soon that a busy machine reads it together with what was there before.
        thread::sleep(Duration::from_millis(500));
        let _ = terminal.keys.as_mut().unwrap().write_all(b"q");
    }
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
}

#[test]
fn a_disturbed_screen_is_drawn_again_by_a_key() {
    let run = run();
    write_of_old(&run.store);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait("a whole screen", is_whole);
    for key in ["r", "\x0c"] {
        disturb(&terminal);
        terminal.press(key);
        terminal.wait("the screen drawn again", is_whole);
    }
    // Also while a line is typed, which has no use for it.
    terminal.press("/");
    terminal.wait_for("part of a name");
    terminal.press("mod");
    terminal.wait_for("/mod");
    disturb(&terminal);
    terminal.press("\x0c");
    terminal.wait("the screen drawn again", |s| {
        is_whole(s) && s.contents().contains("/mod")
    });
    terminal.press("\x1b\x1bq");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn after_every_stop_the_screen_and_the_modes_are_back() {
    let run = run();
    write_of_old(&run.store);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait("a whole screen", is_whole);
    let line = line(&terminal);
    assert!(is_raw(&line));
    let stat = format!("/proc/{}/stat", terminal.pid().as_raw_nonzero());
    for stop in [Signal::STOP, Signal::TSTP, Signal::STOP] {
        terminal.signal(stop);
        let begun = Instant::now();
        while !std::fs::read_to_string(&stat).unwrap().contains(") T ") {
            assert!(begun.elapsed() < PATIENCE, "does not stop");
            thread::sleep(Duration::from_millis(20));
        }
        if stop == Signal::TSTP {
            assert!(!is_raw(&line), "given back");
        }
        // As a shell does that takes the terminal.
        let mut modes = tcgetattr(&line).unwrap();
        modes.local_modes |= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        tcsetattr(&line, OptionalActions::Now, &modes).unwrap();
        disturb(&terminal);
        terminal.signal(Signal::CONT);
        terminal.wait("the screen is back", |s| {
            is_whole(s) && s.alternate_screen()
        });
        let begun = Instant::now();
        while !is_raw(&line) {
            assert!(begun.elapsed() < PATIENCE, "the modes are the shell's");
            thread::sleep(Duration::from_millis(20));
        }
    }
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    assert!(!is_raw(&line));
}

#[test]
fn a_terminal_without_a_size_is_taken_for_the_usual_one() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut command = CommandBuilder::new("sh");
    command.args(["-c", "stty rows 0 cols 0; exec \"$0\" \"$1\""]);
    command.args([Path::new(env!("CARGO_BIN_EXE_evaltop")), &run.store]);
    let mut terminal = Terminal::run(command);
    terminal.wait("a picture of 80×24", |s| {
        let rows: Vec<String> = s.rows(0, 80).collect();
        is_whole(s) && rows.last().is_some_and(|row| row.contains("q quit"))
    });
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}
