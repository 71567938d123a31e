//! What the README shows works as it stands there.

use std::path::Path;
use std::process::Command;

use crate::support::{evaltop, python};

/// The code block that follows a marker in the README.
fn block(marker: &str) -> String {
    let readme = include_str!("../../README.md");
    let at = readme.find(&format!("<!-- tested: {marker} -->")).expect("the marker is in the README");
    let code = readme[at..].split("```").nth(1).expect("a code block follows it");
    code.split_once('\n').expect("the block has lines").1.to_owned()
}

#[test]
fn a_python_runner_records_through_the_pipe() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_evaltop")).parent().unwrap().to_path_buf();
    let path = std::env::join_paths(
        std::iter::once(program).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let status = Command::new(python)
        .args(["-c", &block("recording")])
        .current_dir(folder.path())
        .env("PATH", path.unwrap())
        .status()
        .unwrap();
    assert!(status.success());
    let output =
        evaltop().args(["status", "--format", "json"]).arg(folder.path().join("my_store")).output().unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["totals"]["tests"], 2);
    assert_eq!(status["totals"]["success"], 1);
}
