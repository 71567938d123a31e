//! `run`: a command once a test, recorded, resumed, interrupted.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{evaltop, evaltop_process};

/// Runs a script for each test of the given plan and returns the report.
fn run(dir: &Path, flags: &[&str], script: &str, code: i32) -> Value {
    let assert = evaltop()
        .args(["run", "store", "--format", "json"])
        .args(flags)
        .args(["--", "sh", "-c", script])
        .current_dir(dir)
        .assert()
        .code(code);
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

fn rows(dir: &Path, columns: &str) -> Vec<Value> {
    let output = evaltop()
        .args(["query", "store", "--format", "jsonl", "--columns", columns])
        .current_dir(dir)
        .assert()
        .success();
    let text = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_product_is_run_recorded_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let flags = [
        "--models",
        "a,b",
        "--prompt-types",
        "cot,plain",
        "--tool-success-rates",
        "0.6,0.8",
        "--num-instances",
        "3",
        "--workers",
        "8",
        "--session",
        "first",
    ];
    let script = r#"read test; test -z "$EVALTOP_DIFFICULTY" && echo "{\"success\": $(test $EVALTOP_MODEL = a && echo true || echo false), \"turns\": $EVALTOP_INSTANCE, \"told\": $test}""#;
    let planned = run(dir, &[&flags[..], &["--dry-run"]].concat(), script, 0);
    assert_eq!(
        (&planned["planned"], &planned["run"], &planned["left"]),
        (&24.into(), &0.into(), &24.into())
    );
    assert!(!dir.join("store").exists());
    let done = run(dir, &flags, script, 0);
    assert_eq!(
        (&done["run"], &done["success"], &done["failed"]),
        (&24.into(), &12.into(), &12.into())
    );
    for row in rows(
        dir,
        "test_id,model,prompt_type,tool_success_rate,turns,told,session_id,success",
    ) {
        assert_eq!(row["success"], row["model"] == "a");
        assert_eq!(row["session_id"], "first");
        let reported: Value = serde_json::from_str(row["told"].as_str().unwrap()).unwrap();
        assert_eq!(reported["instance"], row["turns"]);
        for name in ["test_id", "model", "prompt_type", "tool_success_rate"] {
            assert_eq!(reported[name], row[name], "{name}");
        }
    }
    let again = run(dir, &[&flags[..], &["--consolidate"]].concat(), "exit 1", 0);
    assert_eq!((&again["existing"], &again["run"]), (&24.into(), &0.into()));
    assert_eq!(again["consolidated"]["rows_total"], 24);
    let renamed = run(dir, &["--models", "a", "--session", "second"], "true", 0);
    assert_eq!(renamed["run"], 1);
}

#[test]
fn a_plan_with_timeouts_and_rate_limits() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let plan = "{\"model\":\"slow\",\"task_id\":\"t9\"}\n{\"model\":\"limited\",\"instances\":2}\n{\"model\":\"broken\"}\n";
    std::fs::write(dir.join("plan.jsonl"), plan).unwrap();
    let script = "case $EVALTOP_MODEL in slow) sleep 60;; limited) echo later >&2; exit 42;; *) kill -9 $$;; esac";
    let flags = [
        "--plan",
        "plan.jsonl",
        "--timeout",
        "10",
        "--infrastructure-exit",
        "42",
        "--retries",
        "1",
        "--backoff",
        "0.01s",
    ];
    let done = run(dir, &flags, script, 0);
    assert_eq!(
        (
            &done["run"],
            &done["timeouts"],
            &done["infrastructure"],
            &done["retried"]
        ),
        (&4.into(), &1.into(), &2.into(), &3.into())
    );
    let mut rows: Vec<String> = rows(dir, "model,task_id,error_type,error_message")
        .iter()
        .map(|row| {
            format!(
                "{} {} {} {}",
                row["model"], row["task_id"], row["error_type"], row["error_message"]
            )
        })
        .collect();
    rows.sort();
    rows.dedup();
    assert_eq!(
        rows,
        [
            r#""broken" null null "ended by signal 9""#,
            r#""limited" null "infrastructure" "exit status 42: later""#,
            r#""slow" "t9" "timeout" "no result within 10s""#,
        ]
    );
}

/// Whether a process is there and not merely waiting for its parent to notice its end.
fn runs(pid: &str) -> bool {
    let id = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
    let ended = std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit(") ")
            .next()
            .is_some_and(|rest| rest.starts_with('Z'))
    });
    rustix::process::test_kill_process(id).is_ok() && !ended
}

#[test]
fn an_interrupt_leaves_nothing_running_and_the_next_start_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    // Each test that hangs writes the number of its process first.
    let script = "test $EVALTOP_INSTANCE -le 5 && exit 0; echo $$ >> pids; sleep 100 & echo $! >> pids; wait";
    let mut child = evaltop_process()
        .args([
            "run",
            "store",
            "--models",
            "m",
            "--num-instances",
            "50",
            "--workers",
            "6",
            "--",
            "sh",
            "-c",
            script,
        ])
        .current_dir(dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let pids = || std::fs::read_to_string(dir.join("pids")).unwrap_or_default();
    while pids().lines().count() < 12 {
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "the tests did not start"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let mut said = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut said)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(
        said.contains("ran 5 tests") && said.contains("45 left"),
        "{said}"
    );
    let ended = Instant::now();
    while pids().lines().any(runs) {
        assert!(
            ended.elapsed() < Duration::from_secs(300),
            "something is still there"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    let rest = run(dir, &["--models", "m", "--num-instances", "50"], "true", 0);
    assert_eq!((&rest["existing"], &rest["run"]), (&5.into(), &45.into()));
}

/// The children of a process, with their names.
fn children(of: u32) -> Vec<(rustix::process::Pid, String)> {
    let numbers = std::fs::read_dir("/proc").unwrap();
    let numbers =
        numbers.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<i32>().ok());
    let child = |id: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let (name, rest) = stat.split_once('(')?.1.rsplit_once(") ")?;
        let parent = rest.split(' ').nth(1)?.parse::<u32>().ok()?;
        (parent == of).then_some((rustix::process::Pid::from_raw(id)?, name.to_owned()))
    };
    numbers.filter_map(child).collect()
}

#[test]
fn a_killed_run_leaves_nothing_running_and_claims_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    // A test that ignores what can be ignored, and a child of it.
    let script = "trap '' TERM HUP INT; echo $$ >> pids; sleep 100 & echo $! >> pids; wait";
    let mut child = evaltop_process()
        .args([
            "run",
            "store",
            "--models",
            "m",
            "--num-instances",
            "3",
            "--workers",
            "3",
            "--",
            "sh",
            "-c",
        ])
        .arg(script)
        .current_dir(dir)
        .spawn()
        .unwrap();
    let pids = || std::fs::read_to_string(dir.join("pids")).unwrap_or_default();
    let until = |done: &dyn Fn() -> bool, what: &str| {
        let begun = Instant::now();
        while !done() {
            assert!(begun.elapsed() < Duration::from_secs(300), "{what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    until(&|| pids().lines().count() == 6, "the tests did not start");
    let refused = evaltop()
        .args([
            "run",
            "store",
            "--models",
            "m",
            "--num-instances",
            "9",
            "--",
            "true",
        ])
        .current_dir(dir)
        .assert()
        .code(75);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(
        said.contains(&format!("by process {} ", child.id())),
        "{said}"
    );
    if cfg!(target_os = "linux") {
        // Who ends every `evaltop` by its name does not meet the guard, and it heeds no such signal.
        until(
            &|| {
                children(child.id())
                    .iter()
                    .any(|(_, name)| name == "guard-run")
            },
            "no guard",
        );
        let children = children(child.id());
        assert!(
            children.iter().all(|(_, name)| !name.contains("evaltop")),
            "{children:?}"
        );
        let guard = children
            .iter()
            .find(|(_, name)| name == "guard-run")
            .unwrap()
            .0;
        for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
            rustix::process::kill_process(guard, signal).unwrap();
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    until(&|| !pids().lines().any(runs), "something is still there");
    let rest = run(dir, &["--models", "m", "--num-instances", "3"], "true", 0);
    assert_eq!((&rest["existing"], &rest["run"]), (&0.into(), &3.into()));
    let left = std::fs::read_dir(dir.join("store")).unwrap();
    let left: Vec<_> = left
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !left.iter().any(|name| name.starts_with("run_")),
        "{left:?}"
    );
}

#[test]
fn what_cannot_be_meant_is_said_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let refuses = |flags: &[&str], code: i32, said: &str| {
        let assert = evaltop()
            .arg("run")
            .arg("store")
            .args(flags)
            .current_dir(folder.path())
            .assert()
            .code(code);
        let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(error.contains(said), "{flags:?}: {error}");
        assert!(!folder.path().join("store").exists(), "{flags:?}");
    };
    refuses(&["--", "true"], 2, "--models");
    refuses(&["--models", "m"], 2, "CMD");
    refuses(
        &["--models", "m", "--timeout", "soon", "--", "true"],
        2,
        "--timeout: 'soon' is not a duration",
    );
    refuses(
        &["--models", "m", "--qps", "0", "--", "true"],
        2,
        "give tests a second",
    );
    refuses(
        &["--models", "m", "--workers", "0", "--", "true"],
        2,
        "'--workers <N>'",
    );
    refuses(
        &["--models", "m", "--qps", "other=1", "--", "true"],
        2,
        "the plan has no model of that name",
    );
    refuses(
        &["--models", "m", "--tool-success-rates", "80", "--", "true"],
        1,
        "a number from 0 to 1, not 80",
    );
    refuses(
        &["--plan", "nowhere.jsonl", "--", "true"],
        1,
        "nowhere.jsonl",
    );
    refuses(
        &["--plan", "p", "--models", "m", "--", "true"],
        2,
        "cannot be used with",
    );
}

#[test]
fn what_looks_like_a_result_and_cannot_be_read_is_an_error_of_its_test() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let long = format!(
        "print('{{\"success\": true, \"log\": \"' + 'x' * {} + '\"}}')",
        17 << 20
    );
    let scripts = [
        (
            "pretty",
            "printf '{\\n  \"success\": true\\n}\\n'".to_owned(),
            0,
        ),
        ("python", "echo \"{'success': True}\"".to_owned(), 0),
        (
            "late",
            "echo '{\"success\": true}'; echo '{\"tokens\": 5}'".to_owned(),
            0,
        ),
        (
            "long",
            format!("python3 -c '{}'", long.replace('\'', "'\"'\"'")),
            0,
        ),
        ("good", "echo log; echo '{\"success\": true}'".to_owned(), 1),
        ("none", "echo done".to_owned(), 1),
    ];
    for (model, script, success) in scripts {
        let report = run(dir, &["--models", model], &script, 0);
        assert_eq!(
            (&report["run"], &report["success"]),
            (&1.into(), &success.into()),
            "{model}: {report}"
        );
    }
    for row in rows(dir, "model,success,error_type,error_message") {
        let message = row["error_message"].as_str().unwrap_or_default();
        if row["success"] == false {
            assert!(
                message.starts_with("the command's result line is not usable: "),
                "{row}"
            );
            assert_eq!(row["error_type"], "other", "{row}");
        }
    }
}

#[test]
#[cfg(target_os = "linux")]
fn what_detached_itself_ends_with_its_test() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    // Forked twice, in a session of its own, and with children of its own; one hides whose it is.
    let script = "
        (setsid sh -c 'echo $$ >> pids; sleep 600 & echo $! >> pids; wait' < /dev/null > /dev/null 2>&1 &)
        (env -i PATH=\"$PATH\" setsid sh -c 'echo $$ >> pids; exec sleep 600' < /dev/null > /dev/null 2>&1 &)
        while test \"$(wc -l < pids)\" -lt 3; do sleep 0.05; done
        sleep 600";
    std::fs::write(dir.join("pids"), "").unwrap();
    let report = run(dir, &["--models", "m", "--timeout", "5s"], script, 0);
    assert_eq!(report["timeouts"], 1, "{report}");
    let pids = std::fs::read_to_string(dir.join("pids")).unwrap();
    assert_eq!(pids.lines().count(), 3, "{pids}");
    for pid in pids.lines() {
        assert!(!runs(pid), "{pid} is left");
    }
}

/// A program that touches the terminal would be stopped, and wait for ever, were it a group
/// in the background of one.
#[test]
#[cfg(target_os = "linux")]
fn a_command_that_touches_the_terminal_does_not_stop_the_run() {
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};

    let folder = tempfile::tempdir().unwrap();
    let pty = native_pty_system().openpty(PtySize::default()).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_evaltop"));
    command.args([
        "run",
        "store",
        "--models",
        "a,b",
        "--workers",
        "2",
        "--",
        "sh",
        "-c",
    ]);
    command.arg("stty sane < /dev/tty; stty -echo < /dev/tty; (echo x > /dev/tty); echo '{\"success\": true}'");
    command.cwd(folder.path());
    command.env("EVALTOP_CONFIG", "/dev/null");
    let mut child = pty.slave.spawn_command(command).unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        assert!(begun.elapsed() < Duration::from_secs(240), "it was stopped");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.exit_code(), 0);
    assert_eq!(rows(folder.path(), "model,success").len(), 2);
}

#[test]
fn what_is_wrong_with_the_program_is_said() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("test.sh");
    for (text, said) in [
        ("echo '{}'\n", "it is a script without an interpreter"),
        (
            "#!/no/such/python\n",
            "its interpreter '/no/such/python' does not exist",
        ),
    ] {
        std::fs::write(&script, text).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let output = evaltop()
            .args(["run", "store", "--models", "m", "--", "./test.sh"])
            .current_dir(folder.path())
            .assert()
            .code(1);
        let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(stderr.contains(said), "{stderr}");
    }
}
