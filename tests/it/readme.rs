//! What the README shows works as it stands there. Above each of its code blocks stands
//! which test runs it, or why none does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::guide::shell;
use crate::support::{evaltop, python};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));

/// The code block that follows a marker in the README.
fn block(marker: &str) -> String {
    let at = README
        .find(&format!("<!-- tested: {marker} -->\n```"))
        .expect("the marker stands above a block");
    let code = README[at..]
        .split("```")
        .nth(1)
        .expect("a code block follows it");
    code.split_once('\n')
        .expect("the block has lines")
        .1
        .to_owned()
}

/// Runs a block of Python that may call the program.
fn run_python(python: &Path, marker: &str, dir: &Path) {
    let program = Path::new(env!("CARGO_BIN_EXE_evaltop"))
        .parent()
        .unwrap()
        .to_path_buf();
    let path = std::env::join_paths(
        std::iter::once(program).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let status = Command::new(python)
        .args(["-c", &block(marker)])
        .current_dir(dir)
        .env("PATH", path.unwrap())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let lines: Vec<&str> = README.lines().collect();
    let mut tested = BTreeSet::new();
    let mut inside = false;
    for (at, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with("```"))
    {
        inside = !inside;
        let above = at
            .checked_sub(1)
            .and_then(|above| lines.get(above))
            .copied()
            .unwrap_or_default();
        let marker = |begin| {
            above
                .strip_prefix(begin)
                .and_then(|rest| rest.strip_suffix(" -->"))
        };
        match (marker("<!-- tested: "), marker("<!-- not run: ")) {
            _ if !inside => {}
            (Some(name), _) => assert!(tested.insert(name), "two blocks are called {name}"),
            (None, Some(why)) => assert!(!why.is_empty()),
            (None, None) => panic!("line {}: nothing says what runs '{line}'", at + 1),
        }
    }
    assert_eq!(
        tested,
        BTreeSet::from(["own data", "reading", "recording"]),
        "a block without a test below"
    );
}

#[test]
fn results_of_ones_own_come_in_and_are_read_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::write(
        dir.join("results.jsonl"),
        "{\"model\":\"a\",\"score\":1,\"task_id\":\"1\"}\n{\"model\":\"a\",\"score\":0.5,\"task_id\":\"2\"}\n",
    )
    .unwrap();
    let said = shell(
        &format!("set -e\n{}echo reached the end", block("own data")),
        dir,
    );
    for part in [
        "results.jsonl: 2 rows, 2 new",
        "✓ HEALTHY",
        "50.0%",
        "reached the end",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let Some(python) = python() else { return };
    evaltop()
        .args(["consolidate", "my_store"])
        .current_dir(dir)
        .assert()
        .success();
    let waits = "{\"model\":\"a\",\"success\":true}\n";
    evaltop()
        .args(["record", "my_store"])
        .current_dir(dir)
        .write_stdin(waits)
        .assert()
        .success();
    run_python(&python, "reading", dir);
}

#[test]
fn a_python_runner_records_through_the_pipe() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    run_python(&python, "recording", folder.path());
    let output = evaltop()
        .args(["status", "--format", "json"])
        .arg(folder.path().join("my_store"))
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["totals"]["tests"], 2);
    assert_eq!(status["totals"]["success"], 1);
}
