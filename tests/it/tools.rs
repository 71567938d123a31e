//! `maintain`, `config`, `completions`, `man`, help, and how loud commands are.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{evaltop, evaltop_process, main_rows};

fn record(store: &Path, ids: std::ops::Range<u32>) {
    let lines: Vec<String> = ids
        .map(|id| format!("{{\"test_id\":\"t{id}\",\"model\":\"m\",\"success\":true}}"))
        .collect();
    evaltop()
        .arg("record")
        .arg(store)
        .write_stdin(lines.join("\n"))
        .assert()
        .success();
}

fn output(args: &[&str], dir: &Path) -> String {
    let assert = evaltop().args(args).current_dir(dir).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn backups(store: &Path) -> usize {
    fs::read_dir(store.join("backups")).map_or(0, Iterator::count)
}

#[test]
fn one_round_consolidates_backs_up_and_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    record(&store, 0..3);
    let round: Value = serde_json::from_str(&output(
        &["maintain", "store", "--format", "json"],
        folder.path(),
    ))
    .unwrap();
    assert_eq!(round["jobs"]["consolidate"]["rows_total"], 3);
    assert!(round["jobs"]["backup"].is_object());
    assert_eq!((main_rows(&store).len(), backups(&store)), (3, 1));
    let again = output(&["maintain", "store"], folder.path());
    assert!(again.trim_end().ends_with("nothing to do"), "{again}");
    assert_eq!(backups(&store), 1, "no backup of what has one");
    for round in 1..6 {
        record(&store, round * 10..round * 10 + 2);
        assert_eq!(
            output(&["maintain", "store", "--keep", "2", "-q"], folder.path()),
            ""
        );
    }
    assert_eq!(main_rows(&store).len(), 13);
    assert!(backups(&store) <= 2, "{}", backups(&store));
    evaltop()
        .args(["maintain", "nowhere"])
        .current_dir(folder.path())
        .assert()
        .code(1);
    evaltop()
        .args(["maintain", "store", "--every", "never"])
        .current_dir(folder.path())
        .assert()
        .code(2);
}

#[test]
fn several_keep_a_store_in_order_until_they_are_asked_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let mut keepers: Vec<_> = (0..3)
        .map(|_| {
            evaltop_process()
                .args(["maintain", "--every", "1s", "store"])
                .current_dir(folder.path())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let begun = Instant::now();
    for round in 0..4 {
        record(&store, round * 10..round * 10 + 10);
        while !store.join("test_results.parquet").exists()
            || main_rows(&store).len() < (round as usize + 1) * 10
        {
            assert!(
                begun.elapsed() < Duration::from_secs(300),
                "round {round} was not consolidated"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    for keeper in &keepers {
        kill_process(Pid::from_child(keeper), Signal::TERM).unwrap();
    }
    for keeper in keepers.drain(..) {
        let ended = keeper.wait_with_output().unwrap();
        assert!(matches!(ended.status.code(), Some(0 | 130)), "{ended:?}");
        assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    }
    assert_eq!(main_rows(&store).len(), 40);
}

#[test]
fn settings_are_begun_shown_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    output(&["config", "init", "-o", "sample.toml"], dir);
    let sample = fs::read_to_string(dir.join("sample.toml")).unwrap();
    assert!(
        sample.contains("#increments_warning = 100\n") && sample.contains("#consolidate = [\"c\"]"),
        "{sample}"
    );
    assert_eq!(output(&["config", "init", "-o", "-"], dir), sample);
    let assert = evaltop()
        .args(["config", "init", "-o", "sample.toml"])
        .current_dir(dir)
        .assert()
        .code(1);
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).contains("--yes"));
    assert!(
        output(&["config", "check", "sample.toml"], dir)
            .starts_with("the settings are right: 0 settings")
    );
    let mine = sample
        .replace("#[thresholds]", "[thresholds]")
        .replace("#oldest = \"1h\"", "oldest = \"2h\"");
    fs::write(dir.join("mine.toml"), mine).unwrap();
    let shown = evaltop()
        .args(["config", "show"])
        .env("EVALTOP_CONFIG", "mine.toml")
        .current_dir(dir)
        .assert()
        .success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert!(
        shown.contains("# thresholds.oldest: mine.toml line ") && shown.contains("oldest = \"2h\""),
        "{shown}"
    );
    let assert = evaltop()
        .args(["config", "check", "nothing.toml"])
        .current_dir(dir)
        .assert()
        .code(1);
    assert!(
        String::from_utf8_lossy(&assert.get_output().stderr).contains("there is no nothing.toml")
    );
    for (text, said) in [
        (
            "[thresholds]\nincrement = 1\n",
            "wrong.toml line 2: unknown field",
        ),
        (
            "[keys]\n\nbackup = \"c\"\n",
            "wrong.toml line 3: keys.backup: 'c' is bound to consolidate as well",
        ),
    ] {
        fs::write(dir.join("wrong.toml"), text).unwrap();
        let assert = evaltop()
            .args(["config", "check", "wrong.toml"])
            .current_dir(dir)
            .assert()
            .code(1);
        let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = output(&["completions", shell], dir);
        for word in ["consolidate", "compare", "num-instances", "group-by"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
        assert!(
            !script.contains("guard-run"),
            "{shell}: what is nobody's to type"
        );
        if shell == "powershell" {
            check_powershell(&script);
            continue;
        }
        fs::write(dir.join("script"), &script).unwrap();
        match std::process::Command::new(shell)
            .args(["-n", "script"])
            .current_dir(dir)
            .output()
        {
            Ok(checked) => {
                assert!(
                    checked.status.success() && checked.stderr.is_empty(),
                    "{shell}: {checked:?}"
                );
            }
            Err(_) => {
                eprintln!("SKIPPED: {shell} is not there, so its completions were not checked");
            }
        }
    }
    assert!(output(&["man", "-o", "man1"], dir).starts_with("wrote "));
    let help = output(&["--help"], dir);
    let commands = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty());
    let mut seen = 0;
    for command in commands
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
    {
        let page = dir.join(format!("man1/evaltop-{command}.1"));
        assert!(
            fs::read_to_string(&page).is_ok_and(|page| page.contains(".TH")),
            "{}",
            page.display()
        );
        let help = output(&[command, "--help"], dir);
        assert!(help.contains("Examples:\n  "), "{command}");
        assert!(help.contains("--quiet"), "{command}");
        seen += 1;
    }
    assert!(seen >= 18, "{help}");
    assert!(output(&["man", "run"], dir).contains(".SH EXAMPLES\n.nf\n  evaltop run my_store"));
    let pages: Vec<_> = fs::read_dir(dir.join("man1"))
        .unwrap()
        .map(|page| page.unwrap().path())
        .collect();
    match std::process::Command::new("mandoc")
        .args(["-T", "lint", "-W", "warning"])
        .args(&pages)
        .output()
    {
        Ok(checked) => {
            let said = String::from_utf8_lossy(&checked.stdout).into_owned();
            // They change with every release, which has no date of its own.
            let odd: Vec<_> = said
                .lines()
                .filter(|line| !line.contains("missing date"))
                .collect();
            assert!(odd.is_empty(), "{odd:#?}");
        }
        Err(_) => eprintln!("SKIPPED: mandoc is not there, so the manual pages were not checked"),
    }
    assert!(dir.join("man1/evaltop-config-init.1").exists());
}

/// PowerShell can't check a script without running it, and is rarely there: what opens
/// closes again, and every command has its part.
fn check_powershell(script: &str) {
    let mut open = Vec::new();
    let mut quoted = false;
    for c in script.chars() {
        match c {
            '\'' => quoted = !quoted,
            _ if quoted => {}
            '(' | '{' | '[' => open.push(c),
            ')' | '}' | ']' => {
                let pair = (open.pop(), c);
                assert!(
                    matches!(pair, (Some('('), ')') | (Some('{'), '}') | (Some('['), ']')),
                    "{pair:?}"
                );
            }
            _ => {}
        }
    }
    assert!(open.is_empty() && !quoted);
    assert!(script.contains("Register-ArgumentCompleter -Native -CommandName 'evaltop'"));
    for command in [
        "watch",
        "status",
        "query",
        "compare",
        "record",
        "run",
        "import",
        "export",
        "config;init",
    ] {
        assert!(
            script.contains(&format!("'evaltop;{command}' {{")),
            "{command}"
        );
    }
}

#[test]
fn a_slip_is_reported_and_a_closed_pipe_is_not() {
    let folder = tempfile::tempdir().unwrap();
    for (typed, said) in [
        (&["consolidte"][..], "did you mean 'consolidate'?"),
        (&["query", "--grop-by", "model"], "'--group-by'"),
        (&["man", "rnu"], "there is no command 'rnu'"),
    ] {
        let assert = evaltop()
            .args(typed)
            .current_dir(folder.path())
            .assert()
            .code(2);
        let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(error.contains(said), "{typed:?}: {error}");
    }
    for args in [
        &["man"][..],
        &["completions", "bash"],
        &["config", "init", "-o", "-"],
        &["--help"],
    ] {
        let (read, write) = std::io::pipe().unwrap();
        drop(read);
        let ended = evaltop_process()
            .args(args)
            .stdout(write)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        assert_eq!(
            (ended.status.code(), ended.stderr.as_slice()),
            (Some(0), &b""[..]),
            "{args:?}"
        );
    }
}

#[test]
fn quiet_is_quiet_and_colour_is_nowhere_in_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    record(&dir.join("store"), 0..3);
    for args in [
        &["consolidate", "store", "--quiet"][..],
        &["-q", "backup", "store"],
        &["cleanup", "store", "-q"],
        &["export", "store", "-o", "out.csv", "-q"],
        &["import", "out.csv", "--into", "other", "-q"],
        &["validate", "store", "-q"],
    ] {
        let ended = evaltop().args(args).current_dir(dir).assert().success();
        let ended = ended.get_output();
        assert!(
            ended.stdout.is_empty() && ended.stderr.is_empty(),
            "{args:?}: {ended:?}"
        );
    }
    for args in [
        &["status", "store"][..],
        &["query", "store"],
        &["--help"],
        &["run", "--help"],
    ] {
        assert!(!output(args, dir).contains('\u{1b}'), "{args:?}");
    }
    evaltop()
        .args(["status", "store", "-q", "-v"])
        .current_dir(dir)
        .assert()
        .code(2);
}

/// Its log has nothing but what a person should see to.
#[test]
fn a_quiet_maintain_reports_only_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let maintain = |code: i32| {
        let ended = evaltop()
            .args(["maintain", "store", "-q"])
            .current_dir(folder.path())
            .assert()
            .code(code);
        let ended = ended.get_output();
        [&ended.stdout, &ended.stderr].map(|reported| String::from_utf8(reported.clone()).unwrap())
    };
    record(&store, 0..3);
    for _ in 0..2 {
        assert_eq!(maintain(0), ["", ""]);
    }
    let torn = store.join("incremental/increment_1_20260131_120000.parquet");
    fs::write(&torn, "PAR1 and no more").unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(300);
    fs::File::options()
        .write(true)
        .open(&torn)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let [reported, failed] = maintain(10);
    assert!(
        reported.contains("1 file left")
            && reported.contains("it can't be read")
            && failed.is_empty(),
        "{reported}{failed}"
    );
    let main = store.join("test_results.parquet");
    fs::write(&main, "no Parquet").unwrap();
    fs::File::options()
        .write(true)
        .open(&main)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let [reported, failed] = maintain(1);
    assert!(
        reported.is_empty() && failed.starts_with("evaltop: ") && failed.lines().count() == 1,
        "{reported}{failed}"
    );
}

/// The examples for cron and systemd name commands and flags that there are.
#[test]
fn the_timers_can_be_taken_over() {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let folder = tempfile::tempdir().unwrap();
    record(&folder.path().join("store"), 0..3);
    let mut lines = Vec::new();
    for name in ["evaltop.cron", "evaltop-maintain@.service"] {
        for line in fs::read_to_string(assets.join(name)).unwrap().lines() {
            let command = line
                .split_once("evaltop ")
                .filter(|_| !line.starts_with('#'));
            lines.extend(
                command
                    .filter(|_| !line.contains("Description"))
                    .map(|(_, rest)| rest.to_owned()),
            );
        }
    }
    assert_eq!(lines.len(), 5, "{lines:?}");
    for line in lines {
        let line = line
            .split(['>', ';'])
            .next()
            .unwrap()
            .replace("\"$STORE\"", "store")
            .replace("%f", "store");
        evaltop()
            .args(line.split_whitespace())
            .current_dir(folder.path())
            .assert()
            .success();
    }
    let timer = fs::read_to_string(assets.join("evaltop-maintain@.timer")).unwrap();
    assert!(timer.contains("OnCalendar="));
    check_cron(&fs::read_to_string(assets.join("evaltop.cron")).unwrap());
    let unit = fs::read_to_string(assets.join("evaltop-maintain@.service")).unwrap();
    let unit = unit.replace("%h/.cargo/bin/evaltop", env!("CARGO_BIN_EXE_evaltop"));
    fs::write(folder.path().join("evaltop-maintain@.service"), unit).unwrap();
    fs::write(folder.path().join("evaltop-maintain@.timer"), timer).unwrap();
    let checked = std::process::Command::new("systemd-analyze")
        .args([
            "verify",
            "--user",
            "--man=no",
            "./evaltop-maintain@.service",
            "./evaltop-maintain@.timer",
        ])
        .current_dir(folder.path())
        .env("XDG_RUNTIME_DIR", folder.path())
        .output();
    match checked {
        // An unknown key is said, and no failure.
        Ok(checked) => assert!(
            checked.status.success() && checked.stderr.is_empty(),
            "{checked:?}"
        ),
        Err(_) => eprintln!("SKIPPED: systemd-analyze is not there, so the units were not checked"),
    }
}

/// Five fields of times, then a command in which no % stands, which cron takes for a line's
/// end; or a name and its value.
fn check_cron(table: &str) {
    let mut commands = 0;
    for line in table
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line
            .split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase()))
        {
            continue;
        }
        let mut fields = line.split_whitespace();
        for (least, most) in [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)] {
            let field = fields.next().unwrap();
            let (of, step) = field.split_once('/').unwrap_or((field, "1"));
            assert!(
                of == "*" || (least..=most).contains(&of.parse().unwrap()),
                "{line}"
            );
            assert!((1..=most).contains(&step.parse().unwrap()), "{line}");
        }
        assert!(fields.next().is_some() && !line.contains('%'), "{line}");
        commands += 1;
    }
    assert_eq!(commands, 4);
}

#[test]
fn the_log_has_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let state = folder.path().join("state");
    let command = |args: &[&str], asked: &str| {
        let mut command = evaltop();
        command
            .args(args)
            .arg(&store)
            .env("XDG_STATE_HOME", &state)
            .env("RUST_LOG", asked);
        command
            .write_stdin("{\"model\":\"m\",\"success\":true}\n")
            .output()
            .unwrap()
    };
    command(&["record"], "");
    assert!(!state.exists(), "nobody asked");
    command(&["record"], "evaltop=debug");
    command(&["consolidate"], "evaltop=info");
    command(&["restore", "--yes", "--from", "none"], "error");
    let log = fs::read_to_string(state.join("evaltop/evaltop.log")).unwrap();
    for part in [
        "evaltop record ",
        "published ",
        "ended: Ok",
        "consolidated 2 files",
        "ERROR",
        "none",
    ] {
        assert!(log.contains(part), "{part}: {log}");
    }
    assert_eq!(log.matches("ended: ").count(), 1, "{log}");
}
