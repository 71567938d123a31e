//! The dashboard in a real pseudo-terminal: what it shows, which keys it obeys, and
//! how it leaves the terminal behind, however it ends.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use evaltop::internals::store::write::writer::{Writer, WriterOptions};
use evaltop::internals::store::{Record, Store};
use portable_pty::{Child, CommandBuilder, ExitStatus, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

mod away;
#[cfg(target_os = "linux")]
mod exhausted;
mod input;
mod list;
mod logs;
mod manners;
mod opened;
mod others;

/// Longer than anything takes on a busy machine: a limit, not a measure.
const PATIENCE: Duration = Duration::from_secs(240);

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

/// The program in a terminal of its own.
struct Terminal {
    master: Option<Box<dyn MasterPty + Send>>,
    keys: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    screen: Arc<Mutex<vt100::Parser>>,
    bytes: Arc<AtomicUsize>,
    raw: Arc<Mutex<Vec<u8>>>,
    closing: Arc<AtomicBool>,
    held: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    fn open(store: &Path, arguments: &[&str]) -> Self {
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_evaltop"));
        command.arg(store);
        command.args(arguments);
        Self::run(command)
    }

    fn run(command: CommandBuilder) -> Self {
        let settings = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/config.toml"));
        let nowhere = std::env::temp_dir().join("evaltop-no-such-config");
        Self::run_with(command, settings, &nowhere)
    }

    fn run_with(mut command: CommandBuilder, settings: &Path, nowhere: &Path) -> Self {
        for name in [
            "EVALTOP_DIR",
            "STORAGE_FORMAT",
            "NO_COLOR",
            "COLORTERM",
            "TMUX",
        ] {
            command.env_remove(name);
        }
        command.env("EVALTOP_CONFIG", settings);
        command.env("XDG_CONFIG_HOME", nowhere);
        command.env("XDG_STATE_HOME", nowhere);
        command.env("TERM", "xterm-256color");
        command.env("LC_ALL", "C.UTF-8");
        command.env("TZ", "UTC");
        let size = PtySize {
            rows: 24,
            cols: 80,
            pixel_width: 0,
            pixel_height: 0,
        };
        let pty = native_pty_system().openpty(size).unwrap();
        let child = pty.slave.spawn_command(command).unwrap();
        drop(pty.slave);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(24), cells(80), 0)));
        let bytes = Arc::new(AtomicUsize::new(0));
        let raw = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&raw);
        let mut reader = pty.master.try_clone_reader().unwrap();
        let closing = Arc::new(AtomicBool::new(false));
        let held = Arc::new(AtomicBool::new(false));
        let (shown, counted, over) = (
            Arc::clone(&screen),
            Arc::clone(&bytes),
            Arc::clone(&closing),
        );
        let stopped = Arc::clone(&held);
        let reader = Some(thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(n @ 1..) = reader.read(&mut buffer) {
                shown.lock().unwrap().process(&buffer[..n]);
                kept.lock().unwrap().extend_from_slice(&buffer[..n]);
                counted.fetch_add(n, Ordering::SeqCst);
                while stopped.load(Ordering::SeqCst) && !over.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(5));
                }
                if over.load(Ordering::SeqCst) {
                    break;
                }
            }
        }));
        let keys = pty.master.take_writer().unwrap();
        Self {
            master: Some(pty.master),
            keys: Some(keys),
            child,
            screen,
            bytes,
            raw,
            closing,
            held,
            reader,
        }
    }

    fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Waits until the screen is as it should be; shows it when it never is.
    fn wait(&self, what: &str, condition: impl Fn(&vt100::Screen) -> bool) {
        let begun = Instant::now();
        while !condition(self.screen.lock().unwrap().screen()) {
            assert!(
                begun.elapsed() < PATIENCE,
                "never came: {what}\n{}",
                self.text()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn wait_for(&self, text: &str) {
        self.wait(text, |screen| screen.contents().contains(text));
    }

    fn press(&mut self, keys: &str) {
        let writer = self.keys.as_mut().unwrap();
        writer.write_all(keys.as_bytes()).unwrap();
        writer.flush().unwrap();
    }

    /// Gives the terminal another size.
    fn resize(&self, rows: u16, cols: u16) {
        self.screen
            .lock()
            .unwrap()
            .screen_mut()
            .set_size(cells(rows), cells(cols));
        let size = PtySize {
            rows,
            cols,
            pixel_width: 0,
            pixel_height: 0,
        };
        self.master.as_ref().unwrap().resize(size).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.process_id().unwrap()).unwrap()).unwrap()
    }

    /// Waits for the end of the process.
    fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "does not end\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// The terminal is as it was before.
    fn is_given_back(&self) {
        self.wait("the terminal given back", |screen| {
            !screen.alternate_screen()
                && !screen.hide_cursor()
                && !screen.bracketed_paste()
                && screen.mouse_protocol_mode() == vt100::MouseProtocolMode::None
        });
    }

    /// Everything closed, as when a terminal emulator is killed.
    fn vanish(&mut self) {
        // The reader holds the terminal too; it lets go after the next byte.
        self.closing.store(true, Ordering::SeqCst);
        self.press("?");
        self.reader.take().unwrap().join().unwrap();
        self.keys = None;
        self.master = None;
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

struct Run {
    _folder: tempfile::TempDir,
    store: PathBuf,
}

fn run() -> Run {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("results");
    Run {
        _folder: folder,
        store,
    }
}

fn record(model: &str, success: bool) -> Record {
    Record {
        model: model.to_owned(),
        success: Some(success),
        ..Record::default()
    }
}

/// Adds records, published as an increment when the writer closes.
fn write(store: &Path, model: &str, tests: usize) {
    let mut writer = Writer::open(&Store::new(store), WriterOptions::default()).unwrap();
    writer
        .append_all((0..tests).map(|i| record(model, i % 2 == 0)).collect())
        .unwrap();
    writer.close().unwrap();
}

/// Adds a row of long ago: nothing moves, so nothing on the screen is about to change.
fn write_of_old(store: &Path) {
    let mut writer = Writer::open(&Store::new(store), WriterOptions::default()).unwrap();
    let timestamp = Some(1_767_225_600_000_000);
    writer
        .append(Record {
            timestamp,
            ..record("model-a", true)
        })
        .unwrap();
    writer.close().unwrap();
}

#[test]
fn shows_what_arrives_consolidates_with_keys_and_leaves_the_terminal_as_it_was() {
    let run = run();
    write(&run.store, "model-a", 40);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    terminal.wait_for("40 tests");
    terminal.wait("the terminal taken over", |s| {
        s.alternate_screen() && s.hide_cursor()
    });

    // An increment, then a journal that no increment has taken over yet.
    write(&run.store, "model-b", 10);
    terminal.wait_for("50 tests");
    let mut writer = Writer::open(&Store::new(&run.store), WriterOptions::default()).unwrap();
    writer.append(record("model-c", true)).unwrap();
    terminal.wait_for("51 tests");
    terminal.wait_for("1 live");
    drop(writer);

    terminal.press("c");
    terminal.wait_for("CONSOLIDATE?");
    terminal.press("y");
    terminal.wait_for("consolidated 3 files");
    terminal.wait_for("51 tests");
    assert!(run.store.join("test_results.parquet").exists());

    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
}

/// The program with settings of the user's own.
fn open_with(run: &Run, settings: &str) -> Terminal {
    let path = run.store.with_extension("toml");
    std::fs::write(
        &path,
        format!("[thresholds]\ndisk_percent = 0\ndisk_bytes = 0\n{settings}"),
    )
    .unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_evaltop"));
    command.arg(&run.store);
    Terminal::run_with(command, &path, &run.store.with_extension("state"))
}

#[test]
fn an_alert_rings_notifies_and_runs_the_users_program_but_not_the_stores() {
    let run = run();
    write(&run.store, "model-a", 4);
    let (ours, theirs) = (
        run.store.with_extension("ours"),
        run.store.with_extension("theirs"),
    );
    let hook = |path: &Path| {
        format!(
            "hook = [\"sh\", \"-c\", 'cat >> \"$0\"', {:?}]\n",
            path.to_str().unwrap()
        )
    };
    std::fs::write(
        run.store.join("evaltop.toml"),
        format!("[notify]\n{}", hook(&theirs)),
    )
    .unwrap();
    let settings = format!(
        "increments_warning = 1\n[notify]\nevery = \"0s\"\ndesktop = \"osc9\"\n{}",
        hook(&ours)
    );
    let mut terminal = open_with(&run, &settings);
    terminal.wait_for("evaltop.toml line 2: notify.hook is ignored");
    terminal.wait_for("HEALTHY");
    assert!(
        !terminal.raw.lock().unwrap().contains(&7),
        "silent while all is well"
    );
    write(&run.store, "model-a", 4);
    terminal.wait_for("WARNING");
    let reported = |terminal: &Terminal, what: &str| {
        let begun = Instant::now();
        loop {
            let text = std::fs::read_to_string(&ours).unwrap_or_default();
            let found = text.lines().find_map(|line| {
                let line: serde_json::Value = serde_json::from_str(line).ok()?;
                line[what]
                    .as_array()?
                    .iter()
                    .any(|a| a["rule"] == "too_many_increments")
                    .then_some(())
            });
            if found.is_some() {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "not told of what {what}: {text}\n{}",
                terminal.text()
            );
            thread::sleep(Duration::from_millis(20));
        }
    };
    reported(&terminal, "appeared");
    let raw = String::from_utf8_lossy(&terminal.raw.lock().unwrap()).into_owned();
    assert!(
        raw.contains("\u{7}\u{1b}]9;evaltop: 2 pending increments"),
        "{raw:?}"
    );
    terminal.press("c");
    terminal.wait_for("CONSOLIDATE?");
    terminal.press("y");
    reported(&terminal, "cleared");
    terminal.press("L");
    terminal.wait_for("ALERT HISTORY 1");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    assert!(!theirs.exists());
}

#[test]
fn jobs_and_their_outcomes_are_kept_in_a_log() {
    let run = run();
    write(&run.store, "model-a", 4);
    let mut terminal = open_with(&run, "");
    terminal.wait_for("HEALTHY");
    terminal.press("c");
    terminal.wait_for("CONSOLIDATE?");
    terminal.press("y");
    terminal.wait_for("consolidated 1");
    terminal.press("q");
    terminal.ended();
    let log = std::fs::read_to_string(
        run.store
            .with_extension("state")
            .join("evaltop/evaltop.log"),
    )
    .unwrap();
    assert!(
        log.contains("begins: consolidate 1 file") && log.contains(": consolidated 1 file"),
        "{log}"
    );
}

#[test]
fn declining_changes_nothing() {
    let run = run();
    write(&run.store, "model-a", 40);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("40 tests");
    terminal.press("c");
    terminal.wait_for("CONSOLIDATE?");
    terminal.press("n");
    terminal.wait("no question", |s| !s.contents().contains("CONSOLIDATE?"));
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    assert!(!run.store.join("test_results.parquet").exists());
}

#[test]
fn waits_for_a_store_that_is_not_there_yet() {
    let run = run();
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("There is no store here yet");
    write(&run.store, "model-a", 3);
    terminal.wait_for("model-a");
    std::fs::rename(&run.store, run.store.with_extension("away")).unwrap();
    terminal.wait_for("The store is gone");
    std::fs::rename(run.store.with_extension("away"), &run.store).unwrap();
    terminal.wait_for("model-a");
    terminal.press("\u{3}");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
fn an_empty_folder_waits_for_logs_too() {
    let run = run();
    std::fs::create_dir(&run.store).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_evaltop"));
    command.arg(&run.store);
    command.env("XDG_CACHE_HOME", run.store.with_extension("cache"));
    let mut terminal = Terminal::run(command);
    terminal.wait_for("There is no store here yet");
    let sample = serde_json::json!({"id": 1, "epoch": 1, "scores": {"s": {"value": "C"}}});
    let eval = serde_json::json!({"task": "t", "model": "model-a", "task_id": "T", "scorers": [{"name": "s"}]});
    let log =
        serde_json::json!({"version": 2, "status": "success", "eval": eval, "samples": [sample]});
    std::fs::write(run.store.join("l.json"), log.to_string()).unwrap();
    terminal.wait_for("model-a");
    // The folder's name stands in the header, and its keys are taken.
    terminal.wait_for("results");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    let names: Vec<_> = std::fs::read_dir(&run.store).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing is made there");
}

#[test]
fn a_file_in_place_of_a_store_is_refused() {
    let run = run();
    write(&run.store, "m", 1);
    let file = std::fs::read_dir(run.store.join("incremental"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut terminal = Terminal::open(&file, &[]);
    terminal.wait("the refusal", |screen| {
        screen
            .contents()
            .replace('\n', "")
            .contains("it is a file (name the folder that holds it)")
    });
    assert_eq!(terminal.ended().exit_code(), 1);
}

#[test]
fn a_consolidation_is_undone_with_a_key() {
    let run = run();
    write(&run.store, "model-a", 20);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("20 tests");
    for (generation, rows) in [(1, "main 20 rows"), (2, "main 25 rows")] {
        terminal.press("c");
        terminal.wait_for("CONSOLIDATE?");
        terminal.press("y");
        terminal.wait_for(rows);
        if generation == 1 {
            write(&run.store, "model-a", 5);
            terminal.wait_for("25 tests");
        }
    }
    terminal.press("u");
    terminal.wait_for("UNDO?");
    terminal.press("y");
    terminal.wait_for("main 20 rows");
    terminal.wait_for("25 tests");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
fn every_key_leaves_a_whole_screen() {
    let run = run();
    for model in ["model-a", "model-b"] {
        write(&run.store, model, 6);
    }
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_evaltop"));
    command.arg(&run.store);
    command.cwd(run.store.parent().unwrap());
    let mut terminal = Terminal::run(command);
    terminal.wait_for("12 tests");
    let mut keys: Vec<String> = (' '..='~')
        .filter(|c| *c != 'q')
        .map(String::from)
        .collect();
    // Ctrl with a letter, except those that leave, stop, or are keys of their own; Esc, Tab, Enter,
    // the arrows, Home, End, the pages, function keys, mouse reports, pasted text.
    keys.extend(
        ('a'..='z')
            .filter(|c| !"cz".contains(*c))
            .map(|c| char::from(c as u8 - b'a' + 1).to_string()),
    );
    let named = [
        "A",
        "B",
        "C",
        "D",
        "H",
        "F",
        "5~",
        "6~",
        "3~",
        "Z",
        "15~",
        "<0;5;9M",
        "<64;5;9M",
        "<65;5;21M",
        "<0;9;2M",
        "200~text\u{1b}[201~",
    ];
    keys.extend(named.map(|end| format!("\u{1b}[{end}")));
    for (number, key) in keys.iter().enumerate() {
        terminal.press(key);
        // Whatever the key opened is left. Twice in a row Esc is one key, not the start of another.
        terminal.press(&"\u{1b}\u{1b}".repeat(3));
        if number % 8 == 7 {
            terminal.wait("the first row", |s| s.contents().starts_with(" evaltop"));
        }
    }
    terminal.wait("the first row", |s| s.contents().starts_with(" evaltop"));
    // Asked again and again it leaves, also while a job runs.
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
fn a_storm_of_sizes_ends_in_the_last_one() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    for step in 0..120_u16 {
        let last = step == 119;
        let (rows, cols) = if last {
            (30, 100)
        } else {
            (1 + step * 7 % 70, 1 + step * 13 % 220)
        };
        terminal.resize(rows, cols);
    }
    terminal.wait("the picture of the last size", |s| {
        let rows: Vec<String> = s.rows(0, 100).collect();
        rows.first().is_some_and(|row| row.starts_with(" evaltop"))
            && rows.last().is_some_and(|row| row.contains("q quit"))
            && rows
                .iter()
                .any(|row| row.contains("model-a") && row.contains("66.7%"))
    });
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
fn files_that_arrive_during_a_job_are_counted_once() {
    let run = run();
    for _ in 0..12 {
        write(&run.store, "model-a", 20);
    }
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("240 tests");
    terminal.press("c");
    terminal.wait_for("CONSOLIDATE?");
    let store = run.store.clone();
    let writing = thread::spawn(move || {
        for _ in 0..12 {
            write(&store, "model-b", 10);
        }
    });
    terminal.press("y");
    let done = |n: u8| format!("consolidated {n}");
    terminal.wait("the outcome", |s| {
        [1, 2].iter().any(|n| s.contents().contains(&done(*n)))
    });
    writing.join().unwrap();
    terminal.wait_for("360 tests");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
fn a_store_that_is_replaced_is_followed() {
    let run = run();
    write(&run.store, "model-a", 3);
    let other = run.store.with_extension("other");
    write(&other, "model-z", 5);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    std::fs::rename(&run.store, run.store.with_extension("old")).unwrap();
    std::fs::rename(&other, &run.store).unwrap();
    terminal.wait("the other store", |s| {
        s.contents().contains("model-z") && !s.contents().contains("model-a")
    });
    write(&run.store, "model-y", 2);
    terminal.wait_for("7 tests");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
fn follows_the_size_of_the_terminal() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    for (rows, cols, expected) in [
        (5, 30, "too small"),
        (40, 140, "TIME"),
        (10, 40, "model-a"),
        (24, 80, "INFRA"),
    ] {
        terminal.resize(rows, cols);
        terminal.wait_for(expected);
    }
    terminal.press("q");
    terminal.ended();
    terminal.is_given_back();
}

#[test]
fn obeys_the_mouse_only_when_it_may_have_it() {
    let run = run();
    for (name, tests) in [("model-a", 4), ("model-b", 6)] {
        write(&run.store, name, tests);
    }
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-b");
    // A click on the second row of models: SGR, one-based.
    terminal.press("\u{1b}[<0;5;9M\u{1b}[<0;5;9m");
    terminal.wait_for("›model-b");
    terminal.press("q");
    terminal.ended();
    let terminal = Terminal::open(&run.store, &["--no-mouse"]);
    terminal.wait_for("model-b");
    let mode = terminal
        .screen
        .lock()
        .unwrap()
        .screen()
        .mouse_protocol_mode();
    assert_eq!(mode, vt100::MouseProtocolMode::None);
}

#[test]
fn a_signal_ends_it_and_the_terminal_is_given_back() {
    let run = run();
    write(&run.store, "model-a", 3);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT] {
        let mut terminal = Terminal::open(&run.store, &[]);
        terminal.wait_for("model-a");
        terminal.signal(signal);
        assert_eq!(terminal.ended().exit_code(), 130, "{signal:?}");
        terminal.is_given_back();
    }
}

#[test]
fn a_terminal_that_vanishes_takes_it_along() {
    let run = run();
    // Nothing is drawn any more, so nothing but the hangup itself says.
    write_of_old(&run.store);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    terminal.vanish();
    terminal.ended();
}

#[test]
#[cfg(target_os = "linux")]
fn a_terminal_that_vanishes_without_a_signal_takes_it_along() {
    let run = run();
    write_of_old(&run.store);
    // In a session of its own the process has the terminal, but gets no signal at its end.
    let id = run.store.with_extension("pid");
    let mut command = CommandBuilder::new("sh");
    command.args([
        "-c",
        "setsid sh -c 'echo $$ > \"$2\"; exec \"$0\" \"$1\"' \"$0\" \"$1\" \"$2\"; sleep 60",
    ]);
    command.args([Path::new(env!("CARGO_BIN_EXE_evaltop")), &run.store, &id]);
    let mut terminal = Terminal::run(command);
    terminal.wait_for("model-a");
    let stat = format!(
        "/proc/{}/stat",
        std::fs::read_to_string(&id).unwrap().trim()
    );
    terminal.vanish();
    let begun = Instant::now();
    // Where nobody collects it, what has ended stays as a zombie.
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(begun.elapsed() < PATIENCE, "does not end");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn stops_and_goes_on() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    let is_stopped = |pid: Pid| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('T'))
    };
    for stop in ["key", "signal"] {
        if stop == "key" {
            terminal.press("\u{1a}");
        } else {
            terminal.signal(Signal::TSTP);
        }
        terminal.is_given_back();
        let begun = Instant::now();
        while !is_stopped(terminal.pid()) {
            assert!(begun.elapsed() < PATIENCE, "does not stop by {stop}");
            thread::sleep(Duration::from_millis(20));
        }
        terminal.signal(Signal::CONT);
        terminal.wait("the picture is back", |s| {
            s.alternate_screen() && s.contents().contains("model-a")
        });
    }
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}

#[test]
fn an_idle_dashboard_writes_no_byte() {
    let run = run();
    write_of_old(&run.store);
    let terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("model-a");
    terminal.wait_for("1 finished");
    // Whatever the first scans still bring, on a busy machine for a while.
    let begun = Instant::now();
    loop {
        let before = terminal.bytes.load(Ordering::SeqCst);
        // The store is looked at again, and nothing in it is new.
        let stray = format!("stray {:?}", begun.elapsed());
        std::fs::write(run.store.join(".DS_Store"), stray).unwrap();
        thread::sleep(Duration::from_secs(4));
        if terminal.bytes.load(Ordering::SeqCst) == before {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", terminal.text());
    }
}

#[test]
fn readonly_writes_nothing() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &["--readonly"]);
    terminal.wait_for("model-a");
    terminal.press("c");
    terminal.wait_for("opened with --readonly");
    terminal.press("q");
    terminal.ended();
    assert!(!run.store.join("test_results.parquet").exists());
}

#[test]
fn without_a_terminal_it_prints_one_look() {
    let run = run();
    write(&run.store, "model-a", 4);
    let output = super::support::evaltop().arg(&run.store).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("model-a") && !text.contains('\u{1b}'),
        "{text}"
    );
}

#[test]
fn wrong_keys_in_the_settings_are_refused_with_their_line() {
    let run = run();
    write(&run.store, "model-a", 4);
    std::fs::write(run.store.join("evaltop.toml"), "[keys]\n\nbackup = \"c\"\n").unwrap();
    let mut terminal = Terminal::open(&run.store, &[]);
    assert_eq!(terminal.ended().exit_code(), 1);
    terminal.wait_for("evaltop.toml line 3");
    terminal.wait_for("bound to consolidate");
}

#[test]
fn nothing_in_the_data_steers_the_terminal() {
    let run = run();
    let nasty = "\x1b]0;title\x07\x1b[?1000h \u{9b}31m \u{202e}dlrow\u{202c}\r\nsecond\tnul\0";
    let own = |at: usize| Record {
        model: format!("{nasty}{at}"),
        task_type: Some(nasty.to_owned()),
        error_type: Some(nasty.to_owned()),
        error_message: Some(nasty.to_owned()),
        process_id: Some(nasty.to_owned()),
        ..record("", false)
    };
    let mut writer = Writer::open(&Store::new(&run.store), WriterOptions::default()).unwrap();
    writer
        .append_all((0..3).map(own).collect::<Vec<_>>())
        .unwrap();
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("nul2");
    // Its failures, with their messages.
    terminal.press("\r");
    terminal.wait_for("last failures");
    terminal.signal(Signal::TERM);
    terminal.ended();
    let raw = terminal.raw.lock().unwrap().clone();
    let text = String::from_utf8_lossy(&raw);
    for steering in ["\x1b]0;title", "\u{9b}", "\u{202e}", "\0"] {
        assert!(!text.contains(steering), "{steering:?}");
    }
}
