//! Containers that share a folder: all of them are process 1 of one host name, and don't see each
//! other's processes.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{evaltop_process, missing};

/// `evaltop` as process 1 of namespaces of its own, under this host name.
fn container(host: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    let own = evaltop_process();
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--uts",
            "--mount-proc",
            "sh",
            "-c",
        ])
        .arg("hostname \"$0\" && exec \"$@\"")
        .arg(host)
        .arg(own.get_program())
        .args(arguments);
    command
}

fn can_contain() -> bool {
    let tried = container("pod", &["--version"])
        .stdout(Stdio::null())
        .status();
    if tried.is_ok_and(|status| status.success()) {
        return true;
    }
    missing("unshare, and the right to make namespaces");
    false
}

struct Pod {
    child: Child,
    input: std::process::ChildStdin,
    answers: BufReader<std::process::ChildStdout>,
}

impl Pod {
    fn start(store: &str) -> Self {
        let mut child = container("pod", &["record", "--ack", store])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            answers: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    fn add(&mut self, rows: usize) {
        for _ in 0..rows {
            writeln!(self.input, "{{\"model\":\"m\",\"success\":true}}").unwrap();
            let mut id = String::new();
            self.answers.read_line(&mut id).unwrap();
            assert!(id.trim().len() > 1, "{id}");
        }
    }
}

fn status(store: &Path) -> Value {
    let output = evaltop_process()
        .args(["status", "--format", "json"])
        .arg(store)
        .output()
        .unwrap();
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn containers_that_are_all_process_one_lose_nothing_and_double_nothing() {
    if !can_contain() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let name = store.display().to_string();
    let mut pods: Vec<Pod> = (0..3).map(|_| Pod::start(&name)).collect();
    for pod in &mut pods {
        pod.add(5);
    }
    let seen = status(&store);
    assert_eq!(seen["totals"]["tests"], 15);
    let writers = seen["writers"].as_array().unwrap();
    assert_eq!(writers.len(), 3, "three, though they have one name: {seen}");
    // One of them consolidates while the others live, which it can't see.
    let done = container("pod", &["consolidate", "--yes", &name])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    for pod in &mut pods {
        pod.add(5);
    }
    // And one is killed.
    let mut killed = pods.pop().unwrap();
    killed.child.kill().unwrap();
    killed.child.wait().unwrap();
    for mut pod in pods {
        pod.add(5);
        drop(pod.input);
        assert!(pod.child.wait().unwrap().success());
    }
    // The kernel ends what was process 1's a moment later; then its journal is nobody's.
    let begun = Instant::now();
    loop {
        let done = container("pod", &["consolidate", "--yes", &name])
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        let seen = status(&store);
        assert_eq!(seen["totals"]["tests"], 40, "{seen}");
        if seen["main"]["rows"] == 40 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{seen}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
