//! States of writers, reported by real processes: killed, failed, finished, gone without a word.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{evaltop, evaltop_process, python};

fn status(store: &Path) -> Value {
    let run = evaltop()
        .args(["status", "--format", "json"])
        .arg(store)
        .output()
        .unwrap();
    serde_json::from_slice(&run.stdout).unwrap_or_default()
}

/// The first writer of which something holds; other ones may be there too.
fn writer(store: &Path, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let seen = status(store);
        let writers = seen["writers"].as_array().cloned().unwrap_or_default();
        if let Some(found) = writers.iter().find(|writer| is(writer)) {
            return found.clone();
        }
        assert!(
            begun.elapsed() < Duration::from_secs(180),
            "{what}: {seen:#}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn in_state(store: &Path, state: &str) -> Value {
    writer(store, state, |writer| writer["state"] == state)
}

fn alerts(store: &Path) -> String {
    status(store)["alerts"].to_string()
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// A shell that runs a script, with the program as `$1` and the store as `$2`.
fn shell(script: &str, store: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-c", script, "sh"])
        .arg(env!("CARGO_BIN_EXE_evaltop"))
        .arg(store);
    command
}

const ROW: &str = r#"{"test_id":"a","model":"m","task_id":"x","success":true}"#;

#[test]
fn what_a_program_says_stands_and_a_pipeline_that_says_nothing_is_no_alarm() {
    let dir = tempfile::tempdir().unwrap();
    for (script, state, reason) in [
        (
            r#"printf '%s\n' "$3" '{"evaltop":"finished"}' | "$1" record "$2""#,
            "finished",
            None,
        ),
        (
            r#"printf '%s\n' "$3" '{"evaltop":"failed","reason":"no key"}' | "$1" record "$2""#,
            "failed",
            Some("no key"),
        ),
        (r#"printf '%s\n' "$3" | "$1" record "$2""#, "ended", None),
        (
            r#"printf '%s\n' "$3" >"$2.in"; "$1" record "$2" <"$2.in""#,
            "ended",
            None,
        ),
        (
            r#"(printf '%s\n' "$3"; sleep 0.2) | "$1" record "$2" & exit 0"#,
            "ended",
            None,
        ),
        (
            r#"(printf '%s\n' "$3"; until grep -q '"program"' "$2"/live/* 2>/dev/null; do sleep 0.1; done; exit 3) |
               "$1" record "$2""#,
            "failed",
            Some("exit status 3"),
        ),
    ] {
        let store = dir.path().join(format!("store{}", script.len()));
        assert!(shell(script, &store).arg(ROW).status().unwrap().success());
        let found = in_state(&store, state);
        assert_eq!(found["reason"].as_str(), reason, "{script}: {found}");
        let alarm = alerts(&store);
        assert_eq!(
            alarm.contains("writers"),
            state == "failed",
            "{script}: {alarm}"
        );
        // Consolidating changes no state.
        evaltop().arg("consolidate").arg(&store).assert().success();
        assert_eq!(in_state(&store, state)["reason"].as_str(), reason);
    }
}

/// As `nohup`, cron, systemd and daemons start writers: with no terminal, input, output or parent.
#[test]
fn a_writer_without_a_terminal_that_ends_is_no_alarm() {
    let dir = tempfile::tempdir().unwrap();
    for (name, script) in [
        (
            "nohup",
            r#"nohup sh -c '(printf "%s\n" "$3"; sleep 0.2) | "$1" record "$2"' sh "$1" "$2" "$3" >/dev/null 2>&1 & exit 0"#,
        ),
        (
            "setsid",
            r#"setsid sh -c '(printf "%s\n" "$3"; sleep 0.2) | "$1" record "$2"' sh "$1" "$2" "$3" </dev/null >/dev/null 2>&1 & exit 0"#,
        ),
        (
            "cron",
            r#"env -i PATH="$PATH" HOME=/ sh -c 'printf "%s\n" "$3" | "$1" record "$2"' sh "$1" "$2" "$3" </dev/null >/dev/null 2>&1"#,
        ),
        (
            "closed",
            r#"(printf '%s\n' "$3") <&- 2>&- | "$1" record "$2" >&- 2>&-"#,
        ),
        (
            "daemon",
            r#"( (printf '%s\n' "$3"; sleep 0.3) | "$1" record "$2" & ) </dev/null >/dev/null 2>&1; exit 0"#,
        ),
    ] {
        let store = dir.path().join(name);
        assert!(shell(script, &store).arg(ROW).status().unwrap().success());
        let found = in_state(&store, "ended");
        assert_eq!(found["reason"], Value::Null, "{name}: {found}");
        let seen = status(&store);
        let alerts = seen["alerts"].to_string();
        assert!(!alerts.contains("writers"), "{name}: {alerts}");
        assert_eq!(seen["session"]["state"], "finished", "{name}: {seen:#}");
        assert_eq!(seen["totals"]["tests"], 1, "{name}");
    }
}

/// `nohup` has the end of the terminal ignored, and a shell Ctrl-C for what it starts in the background.
#[test]
fn signals_that_are_ignored_end_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let script = r#"trap '' INT HUP; exec "$1" record "$2" --ack"#;
    let mut recorder = shell(script, &store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = recorder.stdin.take().unwrap();
    let mut answers = BufReader::new(recorder.stdout.take().unwrap()).lines();
    let mut record = |id: u32| {
        writeln!(input, r#"{{"test_id":"{id}","model":"m","success":true}}"#).unwrap();
        answers.next().unwrap().unwrap()
    };
    let first = record(1);
    for _ in 0..3 {
        signal(&recorder, Signal::INT);
        signal(&recorder, Signal::HUP);
    }
    assert_eq!(record(2).len(), first.len());
    drop(input);
    assert!(recorder.wait().unwrap().success());
    assert_eq!(status(&store)["totals"]["tests"], 2);
    // The same of `run`.
    let plan = dir.path().join("plan.jsonl");
    std::fs::write(&plan, "{\"model\":\"m\",\"task_id\":\"a\"}\n").unwrap();
    let go = dir.path().join("go");
    let begun = dir.path().join("begun");
    let script = r#"trap '' INT HUP; exec "$1" run --plan "$3" "$2" -- sh -c 'touch "$1"; until [ -e "$0" ]; do sleep 0.05; done' "$4" "$5""#;
    let store = dir.path().join("run");
    let mut run = shell(script, &store)
        .args([&plan, &go, &begun])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !begun.exists() {
        assert!(run.try_wait().unwrap().is_none());
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..3 {
        signal(&run, Signal::INT);
        signal(&run, Signal::HUP);
    }
    std::fs::write(&go, "").unwrap();
    assert!(run.wait().unwrap().success());
    let seen = status(&store);
    assert_eq!(seen["session"]["state"], "finished", "{seen:#}");
}

#[test]
fn a_killed_program_is_lost_with_its_pid_and_its_unfinished_test() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let script = r#"
import subprocess, sys, time
record = subprocess.Popen([sys.argv[1], "record", "--ack", sys.argv[2]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def say(line):
    record.stdin.write(line + "\n"); record.stdin.flush()
    return record.stdout.readline().strip()
assert say('{"test_id":"a","model":"m","task_id":"x","success":true}') == "a"
assert say('{"evaltop":"start","model":"m","task_id":"gpqa/31"}') == "+"
assert say('{"evaltop":"start"}') == "-"
print("ready", flush=True)
time.sleep(600)
"#;
    let mut child = Command::new(python)
        .args(["-c", script, env!("CARGO_BIN_EXE_evaltop")])
        .arg(&store)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "ready\n");
    let live = writer(&store, "its test in flight", |writer| {
        writer["in_flight"] == 1
    });
    assert_eq!(
        (&live["state"], &live["pid"]),
        (&"live".into(), &child.id().into())
    );
    assert_eq!(live["longest"]["test"], "gpqa/31");
    assert_eq!(status(&store)["in_flight"]["count"], 1);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    let lost = in_state(&store, "lost");
    assert_eq!(
        (&lost["pid"], &lost["in_flight"]),
        (&child.id().into(), &1.into())
    );
    let alarm = alerts(&store);
    let pid = child.id().to_string();
    assert!(
        alarm.contains("lost_writers") && alarm.contains("m gpqa/31 in flight"),
        "{alarm}"
    );
    assert!(alarm.contains(&format!(":{pid} lost")), "{alarm}");
    evaltop().arg("consolidate").arg(&store).assert().success();
    in_state(&store, "lost");
}

#[test]
fn a_program_that_is_killed_between_tests_is_lost_where_the_system_tells() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    // The shell of the pipe's writing end is killed while it lives; the outer one waits for it.
    let script = r#"sh -c 'printf "%s\n" "$1"; echo $$ >"$2.pid"; sleep 600' sh "$3" "$2" | "$1" record "$2""#;
    let mut child = shell(script, &store).arg(ROW).spawn().unwrap();
    writer(&store, "its program", |writer| writer["program"] == "sh");
    let pid = std::fs::read_to_string(dir.path().join("store.pid")).unwrap();
    let pid: i32 = pid.trim().parse().unwrap();
    // Its sleeping child holds the pipe too.
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    let children = children.split_whitespace().map(|pid| pid.parse().unwrap());
    for pid in std::iter::once(pid).chain(children) {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
    let lost = in_state(&store, "lost");
    assert_eq!(lost["reason"], "killed by SIGKILL");
    child.wait().unwrap();
}

/// Node.js gives a child a socket for its stdin, and a script may name its pipe.
#[test]
#[cfg(target_os = "linux")]
fn a_killed_program_is_lost_behind_a_socket_and_a_named_pipe() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let socket = r#"
import os, socket, subprocess, sys, time
ours, theirs = socket.socketpair()
record = subprocess.Popen(sys.argv[1:4], stdin=theirs)
theirs.close()
ours.sendall(sys.argv[4].encode() + b"\n")
print(os.getpid(), flush=True)
time.sleep(600)
"#;
    let named = r#"
import os, subprocess, sys, time
name = sys.argv[3] + ".fifo"
os.mkfifo(name)
record = subprocess.Popen(["sh", "-c", 'exec "$1" "$2" "$3" < "$4"', "sh", *sys.argv[1:4], name], start_new_session=True)
program = subprocess.Popen(["sh", "-c", 'exec > "$1"; printf "%s\\n" "$2"; echo $$ >&2; exec sleep 600', "sh", name, sys.argv[4]], stderr=subprocess.PIPE, text=True)
print(program.stderr.readline(), flush=True)
program.wait()
record.wait()
"#;
    for (name, script) in [("socket", socket), ("named", named)] {
        let store = dir.path().join(name);
        let mut child = Command::new(&python)
            .args(["-c", script, env!("CARGO_BIN_EXE_evaltop"), "record"])
            .arg(&store)
            .arg(ROW)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        let pid: i32 = line.trim().parse().unwrap();
        writer(&store, "its program", |writer| writer["pid"] == pid);
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        let lost = in_state(&store, "lost");
        assert_eq!(lost["reason"], "killed by SIGKILL", "{name}");
        child.wait().unwrap();
    }
}

#[test]
fn a_recorder_that_is_killed_is_lost_and_one_that_is_stopped_lives() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut child = evaltop_process()
        .arg("record")
        .arg(&store)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.as_mut().unwrap(), "{ROW}").unwrap();
    writer(&store, "its row", |writer| writer["rows"] == 1);
    signal(&child, Signal::STOP);
    assert_eq!(in_state(&store, "live")["rows"], 1);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    in_state(&store, "lost");
    evaltop().arg("consolidate").arg(&store).assert().success();
    assert_eq!(
        in_state(&store, "lost")["rows"],
        0,
        "consolidating changes no state"
    );
}

#[test]
fn forked_workers_on_one_recorder_are_warned_about_once() {
    let Some(python) = python() else { return };
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let script = r#"
import multiprocessing, subprocess, sys, time
record = subprocess.Popen([sys.argv[1], "record", sys.argv[2]], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
context = multiprocessing.get_context("fork")
workers = [context.Process(target=time.sleep, args=(600,)) for _ in range(3)]
for worker in workers: worker.start()
print(record.stderr.readline(), flush=True)
for worker in workers: worker.kill(); worker.join()
record.stdin.close()
record.wait()
print(record.stderr.read(), flush=True)
"#;
    let run = Command::new(python)
        .args(["-c", script, env!("CARGO_BIN_EXE_evaltop")])
        .arg(&store)
        .output()
        .unwrap();
    let reported = String::from_utf8_lossy(&run.stdout).into_owned();
    assert_eq!(
        reported
            .matches("processes write into this one recorder")
            .count(),
        1,
        "{reported}"
    );
    assert!(
        reported.contains("start one evaltop record in each process"),
        "{reported}"
    );
}

#[test]
fn a_run_reports_what_is_in_flight_and_that_it_finished() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let plan = dir.path().join("plan.jsonl");
    std::fs::write(&plan, "{\"model\":\"m\",\"task_id\":\"long\"}\n").unwrap();
    let go = dir.path().join("go");
    let mut child = evaltop_process()
        .args(["run", "--plan"])
        .arg(&plan)
        .arg(&store)
        .args([
            "--",
            "sh",
            "-c",
            "while [ ! -e \"$0\" ]; do sleep 0.05; done",
        ])
        .arg(&go)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let live = writer(&store, "its test in flight", |writer| {
        writer["in_flight"] == 1
    });
    assert_eq!(live["longest"]["test"], "long");
    let session = status(&store)["session"].clone();
    assert_eq!(session["state"], "running", "{session}");
    assert_eq!(
        (&session["planned"], &session["done"]),
        (&1.into(), &0.into())
    );
    std::fs::write(&go, "").unwrap();
    assert!(child.wait().unwrap().success());
    let done = in_state(&store, "finished");
    let session = status(&store)["session"].clone();
    assert_eq!(session["state"], "finished", "{session}");
    assert_eq!(
        (&session["planned"], &session["done"]),
        (&1.into(), &1.into())
    );
    assert_eq!(
        (&done["in_flight"], &done["longest"]),
        (&0.into(), &Value::Null)
    );
}

#[test]
fn a_session_that_ends_too_early_is_incomplete_and_retries_are_throttling() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut child = evaltop_process()
        .arg("record")
        .arg(&store)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let plan = r#"{"evaltop":"plan","tests":3,"session_id":"s"}"#;
    writeln!(stdin, "{plan}").unwrap();
    writeln!(stdin, "{ROW}").unwrap();
    for _ in 0..40 {
        let retry = r#"{"evaltop":"retry","model":"m","task_id":"y","status":429,"wait":30}"#;
        writeln!(stdin, "{retry}").unwrap();
    }
    let begun = Instant::now();
    while !alerts(&store).contains("m throttled (429)") {
        assert!(
            begun.elapsed() < Duration::from_secs(180),
            "{}",
            status(&store)
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let seen = status(&store);
    assert_eq!(seen["throttled"][0]["waiting_share"], 1.0);
    assert_eq!(
        (&seen["session"]["id"], &seen["session"]["state"]),
        (&"s".into(), &"running".into())
    );
    drop(stdin);
    child.wait().unwrap();
    let seen = status(&store);
    assert_eq!(seen["session"]["state"], "incomplete", "{seen:#}");
    assert_eq!(
        (&seen["session"]["planned"], &seen["session"]["done"]),
        (&3.into(), &1.into())
    );
    assert!(alerts(&store).contains("session incomplete with 1 of 3 tests"));
}
