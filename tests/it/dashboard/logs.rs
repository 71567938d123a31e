//! A real run of Inspect, followed while it writes its logs: in a terminal, and by a program that
//! is killed and started again.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::*;
use crate::support::{evaltop_process, missing, python_with};

#[test]
fn a_run_of_inspect_is_followed_to_its_own_results() {
    let Some(python) = python_with("inspect_ai") else {
        return missing("a Python with inspect_ai");
    };
    let folder = tempfile::tempdir().unwrap();
    let (logs, store) = (folder.path().join("logs"), folder.path().join("store"));
    std::fs::create_dir(&logs).unwrap();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/it/dashboard/inspect_live.py"
    );
    let mut run = Command::new(python)
        .arg(script)
        .arg(&logs)
        .env("INSPECT_TRACE_FILE", folder.path().join("trace"))
        .env("XDG_DATA_HOME", folder.path().join("data"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_evaltop"));
    command.arg(&logs);
    command.env("XDG_CACHE_HOME", folder.path().join("cache"));
    let mut terminal = Terminal::run(command);
    let follow = || {
        evaltop_process()
            .args(["import", "--follow", "--quiet", "--into"])
            .args([&store, &logs])
            .arg("--create")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    // Whatever it was doing when it was killed, the next one goes on.
    let mut pause = 37;
    while run.try_wait().unwrap().is_none() {
        let mut follower = follow();
        thread::sleep(Duration::from_millis(pause));
        follower.kill().unwrap();
        follower.wait().unwrap();
        pause = pause * 13 % 2_003 + 50;
    }
    let out = run.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let own: BTreeMap<String, (u64, u64)> =
        serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!(own.len(), 3, "{said}");
    let found = || {
        let out = evaltop_process()
            .arg("query")
            .arg(&store)
            .args(["--group-by", "task_type", "--format", "json"])
            .output()
            .unwrap();
        let groups: Vec<Value> = serde_json::from_slice(&out.stdout).unwrap_or_default();
        let count = |group: &Value, name: &str| group[name].as_u64().unwrap();
        let group = |group: &Value| {
            let name = group["task_type"].as_str().unwrap().to_owned();
            (name, (count(group, "tests"), count(group, "success")))
        };
        groups.iter().map(group).collect::<BTreeMap<_, _>>()
    };
    let mut follower = follow();
    let begun = Instant::now();
    while found() != own {
        assert!(begun.elapsed() < PATIENCE, "{:?} is not {own:?}", found());
        thread::sleep(Duration::from_millis(100));
    }
    follower.kill().unwrap();
    follower.wait().unwrap();
    // Once more from the beginning adds nothing.
    let again = evaltop_process()
        .args(["import", "--quiet", "--into"])
        .args([&store, &logs])
        .status();
    assert!(again.unwrap().success());
    assert_eq!(found(), own);
    let tests: u64 = own.values().map(|(tests, _)| tests).sum();
    terminal.wait_for(&format!("{tests} tests"));
    let rate = own.values().map(|(_, right)| right).sum::<u64>() as f64 / tests as f64;
    terminal.wait_for(&format!("{:.1}%", rate * 100.0));
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}
