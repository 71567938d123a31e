//! States of writers for every way in, reported by real processes: Python workers however they are
//! started, programs of `run`, pandas, and the library; finished, failed, killed, stopped,
//! deadlocked, and in name spaces of their own.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use evaltop::internals::config::Config;
use evaltop::internals::monitor::Monitor;
use evaltop::internals::store::write::writer::{Writer, WriterOptions};
use evaltop::internals::store::{Record, Store};
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{evaltop, evaltop_process, missing, python};

const PATIENCE: Duration = Duration::from_secs(240);

fn status(store: &Path) -> Value {
    let run = evaltop()
        .args(["status", "--format", "json"])
        .arg(store)
        .output()
        .unwrap();
    serde_json::from_slice(&run.stdout).unwrap_or_default()
}

/// The states of the programs with these process ids, in their order.
fn states(store: &Path, pids: &[u32]) -> Vec<String> {
    let seen = status(store);
    let writers = seen["writers"].as_array().cloned().unwrap_or_default();
    let state = |pid: &u32| {
        let mut own = writers.iter().filter(|writer| writer["pid"] == *pid);
        let state = own.next().map(|writer| writer["state"].to_string());
        assert!(own.next().is_none(), "two writers of {pid}: {seen:#}");
        state.unwrap_or_default().trim_matches('"').to_owned()
    };
    pids.iter().map(state).collect()
}

#[track_caller]
fn until<T: PartialEq + std::fmt::Debug>(what: &str, expected: &T, found: impl Fn() -> T) {
    let begun = Instant::now();
    loop {
        let found = found();
        if found == *expected {
            return;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{what}: {found:?}, not {expected:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// A process that is killed when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A store in which writers are stalled soon.
fn hasty(folder: &Path) -> PathBuf {
    let store = folder.join("store");
    std::fs::create_dir_all(store.join("incremental")).unwrap();
    let settings = "[thresholds]\nstalled = \"2s\"\n";
    std::fs::write(store.join("evaltop.toml"), settings).unwrap();
    store
}

/// Workers with a recorder each; what they do is their fate. Lines of the parent's output are
/// `fate pid`, once the worker has recorded its rows.
const WORKERS: &str = include_str!("states/workers.py");

fn workers(how: &str) {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = hasty(folder.path());
    let script = folder.path().join("workers.py");
    std::fs::write(&script, WORKERS).unwrap();
    let mut parent = Running(
        Command::new(python)
            .arg(&script)
            .arg(how)
            .arg(env!("CARGO_BIN_EXE_evaltop"))
            .arg(&store)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let fates = ["finish", "leave", "fail", "kill", "stop", "deadlock"];
    let mut pids = [0; 6];
    let mut lines = BufReader::new(parent.0.stdout.take().unwrap()).lines();
    for _ in fates {
        let line = lines.next().unwrap().unwrap();
        let (fate, pid) = line.split_once(' ').unwrap();
        let at = fates.iter().position(|own| *own == fate).unwrap();
        pids[at] = pid.parse().unwrap();
    }
    let [.., killed, stopped, deadlocked] = pids;
    // Before it is killed, its unfinished test is known.
    until("in flight", &Value::from(1), || {
        let seen = status(&store);
        let writers = seen["writers"].as_array().cloned().unwrap_or_default();
        let own = writers.iter().find(|writer| writer["pid"] == killed);
        own.map_or(Value::Null, |own| own["in_flight"].clone())
    });
    signal(stopped, Signal::STOP);
    signal(killed, Signal::KILL);
    let expected = ["finished", "ended", "failed", "lost", "stalled", "stalled"].map(str::to_owned);
    until(how, &expected.to_vec(), || states(&store, &pids));
    let seen = status(&store);
    let alerts = seen["alerts"].to_string();
    assert!(alerts.contains(&format!(":{killed} lost")), "{alerts}");
    assert!(alerts.contains("m gpqa/31 in flight"), "{alerts}");
    assert_eq!(seen["session"]["state"], "finishing", "{seen:#}");
    assert_eq!(seen["totals"]["tests"], 180, "{seen:#}");
    // Consolidating changes no state, and one that goes on again is live.
    evaltop().arg("consolidate").arg(&store).assert().success();
    assert_eq!(states(&store, &pids), expected, "{how}, consolidated");
    signal(stopped, Signal::CONT);
    signal(stopped, Signal::KILL);
    signal(deadlocked, Signal::KILL);
    until(how, &"dead".to_owned(), || {
        status(&store)["session"]["state"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    });
    for state in states(&store, &[stopped, deadlocked]) {
        assert_eq!(state, "lost", "{how}");
    }
    parent.0.wait().unwrap();
}

#[test]
fn workers_of_multiprocessing_fork() {
    workers("fork");
}

#[test]
fn workers_of_multiprocessing_spawn() {
    workers("spawn");
}

#[test]
fn workers_of_subprocess() {
    workers("subprocess");
}

#[test]
fn workers_of_asyncio() {
    workers("asyncio");
}

/// The library's writer in a process of its own: this test in this binary, with a store.
#[test]
fn library_writer() {
    let Some(store) = std::env::var_os("EVALTOP_TEST_LIBRARY_STORE") else {
        return;
    };
    let mut writer = Writer::open(&Store::new(store), WriterOptions::default()).unwrap();
    for n in 0..30 {
        let record = Record {
            model: "m".into(),
            test_id: Some(format!("{}/{n}", std::process::id())),
            success: Some(n % 2 == 0),
            ..Record::default()
        };
        writer.append(record).unwrap();
    }
    println!("\nready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    match line.trim() {
        "close" => writer.close().unwrap(),
        "drop" => drop(writer),
        _ => std::process::exit(3),
    }
}

fn library(store: &Path) -> Running {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "states::library_writer", "--nocapture"])
        .env("EVALTOP_TEST_LIBRARY_STORE", store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "ready"));
    std::thread::spawn(move || lines.for_each(drop));
    Running(child)
}

#[test]
fn the_librarys_writers() {
    let folder = tempfile::tempdir().unwrap();
    let store = hasty(folder.path());
    let mut writers: Vec<Running> = (0..5).map(|_| library(&store)).collect();
    let pids: Vec<u32> = writers.iter().map(|own| own.0.id()).collect();
    for (writer, word) in writers.iter_mut().zip(["close", "drop", "exit"]) {
        let mut stdin = writer.0.stdin.take().unwrap();
        writeln!(stdin, "{word}").unwrap();
    }
    signal(pids[3], Signal::KILL);
    signal(pids[4], Signal::STOP);
    for writer in writers.iter_mut().take(4) {
        writer.0.wait().unwrap();
    }
    let expected = ["finished", "ended", "lost", "lost", "stalled"].map(str::to_owned);
    until("library", &expected.to_vec(), || states(&store, &pids));
    evaltop().arg("consolidate").arg(&store).assert().success();
    assert_eq!(states(&store, &pids), expected, "consolidated");
}

/// pandas, which knows nothing of us: rows into its own file again and again.
const PANDAS: &str = r#"
import os, sys, time
import pandas
from datetime import datetime
store = sys.argv[1]
path = os.path.join(store, "incremental", f"increment_{os.getpid()}_{datetime.now():%Y%m%d_%H%M%S}.parquet")
rows = [{"test_id": f"{os.getpid()}/{n}", "model": "m", "success": n % 2 == 0, "timestamp": datetime.now().isoformat()} for n in range(30)]
pandas.DataFrame(rows).to_parquet(path)
print("ready", flush=True)
sys.stdin.readline()
"#;

#[test]
fn writers_of_pandas() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = hasty(folder.path());
    let mut writers: Vec<Running> = (0..4)
        .map(|_| {
            let child = Command::new(&python)
                .args(["-c", PANDAS])
                .arg(&store)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            Running(child)
        })
        .collect();
    for writer in &mut writers {
        let mut line = String::new();
        let stdout = writer.0.stdout.as_mut().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
    }
    let pids: Vec<u32> = writers.iter().map(|own| own.0.id()).collect();
    // A dashboard sees them alive, and then gone.
    let own = Store::new(&store);
    let config = Config::load(Some(&store)).unwrap();
    let monitor = std::cell::RefCell::new(Monitor::new(own, config));
    let seen = |pids: &[u32]| -> Vec<String> {
        let seen = monitor.borrow_mut().observe(Timestamp::now());
        let state = |pid: &u32| {
            let own = seen.writers.iter().find(|writer| writer.pid == Some(*pid));
            own.map_or("", |writer| writer.state.into()).to_owned()
        };
        pids.iter().map(state).collect()
    };
    let all = |state: &str| vec![state.to_owned(); 4];
    until("a deadlock is silence", &all("stalled"), || seen(&pids));
    signal(pids[1], Signal::KILL);
    signal(pids[2], Signal::STOP);
    drop(writers[0].0.stdin.take());
    for at in [0, 1] {
        writers[at].0.wait().unwrap();
    }
    let expected = ["ended", "ended", "stalled", "stalled"]
        .map(str::to_owned)
        .to_vec();
    until("pandas", &expected, || seen(&pids));
    evaltop().arg("consolidate").arg(&store).assert().success();
    assert_eq!(seen(&pids), expected, "consolidated");
    assert_eq!(status(&store)["totals"]["tests"], 120);
}

/// The same, with times of UTC that don't say so.
const NAIVE: &str = r#"
import os, sys
import pandas
from datetime import datetime, timedelta, timezone
store = sys.argv[1]
now = datetime.now(timezone.utc).replace(tzinfo=None)
path = os.path.join(store, "incremental", f"increment_{os.getpid()}_{now:%Y%m%d_%H%M%S}.parquet")
rows = [{"test_id": f"{n}", "model": "m", "success": n % 2 == 0, "timestamp": now - timedelta(seconds=30 - n)} for n in range(31)]
pandas.DataFrame(rows).to_parquet(path)
print("ready", flush=True)
sys.stdin.readline()
"#;

#[test]
fn nothing_is_concluded_from_times_without_a_zone_but_that_it_is_another_one() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    std::fs::create_dir_all(store.join("incremental")).unwrap();
    let mut writer = Running(
        Command::new(&python)
            .args(["-c", NAIVE])
            .arg(&store)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut line = String::new();
    let stdout = writer.0.stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    let reported = |zone: &str, format: &str| {
        let run = evaltop()
            .env("TZ", zone)
            .args(["status", "--format", format])
            .arg(&store)
            .output()
            .unwrap();
        String::from_utf8(run.stdout).unwrap()
    };
    let json = |zone: &str| -> Value { serde_json::from_str(&reported(zone, "json")).unwrap() };
    for (zone, off) in [
        ("UTC", None),
        ("Asia/Shanghai", Some(28_800)),
        ("CST-8", Some(28_800)),
        ("Etc/GMT+5", Some(-18_000)),
    ] {
        let seen = json(zone);
        assert_eq!(seen["writers"][0]["state"], "live", "{zone}: {seen:#}");
        let oldest = &seen["increments"]["oldest_age_seconds"];
        assert!(oldest.as_f64().unwrap() < 900.0, "{zone}: {oldest}");
        let of_zone = &seen["time_zone"];
        assert_eq!(of_zone["rows_without_zone"], 31, "{zone}: {of_zone}");
        assert_eq!(of_zone["from"], "machine", "{zone}");
        assert_eq!(of_zone["off_seconds"], Value::from(off), "{zone}");
        let alerts = seen["alerts"].as_array().unwrap();
        let rules: Vec<&Value> = alerts.iter().map(|alert| &alert["rule"]).collect();
        let expected = off.map(|_| "times_of_another_zone");
        assert_eq!(rules, Vec::from_iter(expected), "{zone}: {alerts:?}");
    }
    let page = reported("Asia/Shanghai", "text");
    let line = "31 times without a zone read as Asia/Shanghai, this machine's zone";
    assert!(page.contains(line), "{page}");
    assert!(
        page.contains("times read as Asia/Shanghai are 8h off: UTC fits"),
        "{page}"
    );
    // The first commit fixes the zone, and says so.
    let run = evaltop()
        .env("TZ", "CST-8")
        .arg("consolidate")
        .arg(&store)
        .output()
        .unwrap();
    let said =
        String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr);
    assert!(
        said.contains("times without a zone are read as CST-8 from now on"),
        "{said}"
    );
    let seen = json("UTC");
    assert_eq!(seen["time_zone"]["from"], "store");
    assert_eq!(seen["time_zone"]["name"], "CST-8");
    // What a commit has read names its zone.
    assert_eq!(seen["time_zone"]["rows_without_zone"], 0);
    let run = evaltop()
        .args(["query", "--format", "json", "--limit", "1"])
        .arg(&store)
        .output()
        .unwrap();
    let row = String::from_utf8(run.stdout).unwrap();
    let age = Timestamp::now().duration_since(first_time(&row)).as_hours();
    assert_eq!(age, 8, "{row}");
}

/// The first value of `timestamp` in a JSON document.
fn first_time(document: &str) -> Timestamp {
    let (_, rest) = document.split_once("\"timestamp\"").unwrap();
    rest.split('"').nth(1).unwrap().parse().unwrap()
}

#[test]
fn runs_that_are_killed_stopped_and_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let plan = folder.path().join("plan.jsonl");
    std::fs::write(&plan, "{\"model\":\"m\",\"task_id\":\"long\"}\n").unwrap();
    let begin = |name: &str| {
        let store = folder.path().join(name);
        let child = evaltop_process()
            .args(["run", "--plan"])
            .arg(&plan)
            .arg(&store)
            .args(["--", "sleep", "600"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let running = Running(child);
        let pid = running.0.id();
        until("in flight", &Value::from(1), || {
            status(&store)["in_flight"]["count"].clone()
        });
        assert_eq!(states(&store, &[pid]), ["live"]);
        (store, running, pid)
    };
    let session = |store: &Path| {
        let session = status(store)["session"].clone();
        let state = session["state"].as_str().unwrap_or_default().to_owned();
        (state, session["planned"].clone(), session["done"].clone())
    };
    let (store, mut run, pid) = begin("killed");
    signal(pid, Signal::KILL);
    run.0.wait().unwrap();
    until("killed", &vec!["lost".to_owned()], || {
        states(&store, &[pid])
    });
    assert_eq!(session(&store), ("dead".to_owned(), 1.into(), 0.into()));
    let alerts = status(&store)["alerts"].to_string();
    assert!(alerts.contains("m long in flight"), "{alerts}");
    // Its test has a result once another run has done it: the alert goes, and so does the state.
    let again = evaltop()
        .args(["run", "--plan"])
        .arg(&plan)
        .arg(&store)
        .args(["--", "true"])
        .output()
        .unwrap();
    assert!(again.status.success());
    until(
        "settled",
        &("finished".to_owned(), 1.into(), 1.into()),
        || session(&store),
    );
    let alerts = status(&store)["alerts"].to_string();
    assert!(!alerts.contains("lost"), "{alerts}");
    // A test in flight is young for long, also while its run is stopped.
    let (store, mut run, pid) = begin("stopped");
    signal(pid, Signal::STOP);
    assert_eq!(states(&store, &[pid]), ["live"]);
    signal(pid, Signal::CONT);
    signal(pid, Signal::INT);
    run.0.wait().unwrap();
    until(
        "interrupted",
        &("interrupted".to_owned(), 1.into(), 0.into()),
        || session(&store),
    );
}

#[test]
fn containers_that_are_all_pid_1_on_one_host_are_two_writers() {
    let folder = tempfile::tempdir().unwrap();
    let store = hasty(folder.path());
    // Each in name spaces of its own for process ids and the host's name.
    let script = r#"hostname box && exec "$1" record "$2""#;
    let begin = || {
        let child = Command::new("unshare")
            .args([
                "--user",
                "--map-root-user",
                "--pid",
                "--uts",
                "--fork",
                "--kill-child",
            ])
            .args([
                "--mount-proc",
                "sh",
                "-c",
                script,
                "sh",
                env!("CARGO_BIN_EXE_evaltop"),
            ])
            .arg(&store)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        child.ok().map(Running)
    };
    let allowed = Command::new("unshare")
        .args([
            "--user",
            "--map-root-user",
            "--pid",
            "--uts",
            "--fork",
            "--mount-proc",
            "true",
        ])
        .status();
    if !allowed.is_ok_and(|status| status.success()) {
        missing("unshare with name spaces");
        return;
    }
    let (mut one, mut two) = (begin().unwrap(), begin().unwrap());
    for (at, writer) in [&mut one, &mut two].into_iter().enumerate() {
        let stdin = writer.0.stdin.as_mut().unwrap();
        for n in 0..30 {
            let row = format!(r#"{{"test_id":"{at}/{n}","model":"m","success":true}}"#);
            writeln!(stdin, "{row}").unwrap();
        }
    }
    let writers = || {
        let seen = status(&store);
        let writers = seen["writers"].as_array().cloned().unwrap_or_default();
        let own = |writer: &Value| (writer["host"] == "box").then(|| writer["state"].to_string());
        let mut states: Vec<_> = writers.iter().filter_map(own).collect();
        states.sort();
        states
    };
    let seen = |states: [&str; 2]| states.map(|state| format!("\"{state}\"")).to_vec();
    until("both", &Value::from(60), || {
        status(&store)["totals"]["tests"].clone()
    });
    until("both stall", &seen(["stalled", "stalled"]), writers);
    one.0.kill().unwrap();
    one.0.wait().unwrap();
    // Two minutes without a heartbeat, as far as the file's time says.
    until("silent", &seen(["silent", "stalled"]), || {
        age_quiet_heartbeats(&store);
        writers()
    });
    drop(two.0.stdin.take());
    two.0.wait().unwrap();
    until("ended", &seen(["ended", "silent"]), writers);
    evaltop().arg("consolidate").arg(&store).assert().success();
    assert_eq!(writers(), seen(["ended", "silent"]), "consolidated");
    assert_eq!(status(&store)["totals"]["tests"], 60);
}

/// Makes heartbeats that have not changed for three seconds three minutes old.
fn age_quiet_heartbeats(store: &Path) {
    for entry in std::fs::read_dir(store.join("live")).unwrap() {
        let file = std::fs::File::options()
            .append(true)
            .open(entry.unwrap().path())
            .unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        let quiet = modified.elapsed().unwrap_or_default() > Duration::from_secs(3);
        if quiet {
            let before = SystemTime::now() - Duration::from_secs(180);
            file.set_modified(before).unwrap();
        }
    }
}
