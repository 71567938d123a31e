//! Stores as legacy Python code wrote them, and our own as other readers see them.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::{evaltop, python};

/// Makes a look-alike with pandas; what it holds, as Python counts it. `None`
/// where there is no Python.
fn make(kind: &str, folder: &Path) -> Option<Value> {
    let output = Command::new(python()?)
        .args(["-c", include_str!("legacy/stores.py"), kind])
        .arg(folder)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

fn json(arguments: &[&str], folder: &Path) -> Value {
    let output = evaltop().args(arguments).arg(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr)))
}

fn status(folder: &Path) -> Value {
    json(&["status", "--format", "json"], folder)
}

fn names(folder: &Path) -> Vec<(String, u64)> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.metadata().unwrap().len()))
        .collect();
    names.sort();
    names
}

/// `status` and `query` count what Python counted, and change nothing.
fn agrees(kind: &str, main: &str) {
    let folder = tempfile::tempdir().unwrap();
    let Some(expected) = make(kind, folder.path()) else { return };
    let before = names(folder.path());
    let seen = status(folder.path());
    assert_eq!(seen["main"]["kind"], main, "{seen}");
    for name in ["tests", "success", "partial"] {
        assert_eq!(seen["totals"][name], expected[name], "{name} of {kind}");
    }
    if let Some(superseded) = expected.get("superseded") {
        assert_eq!(&seen["totals"]["superseded"], superseded);
    }
    let models = json(&["query", "--group-by", "model", "--format", "json"], folder.path());
    for (model, counts) in expected["models"].as_object().unwrap() {
        let group = models.as_array().unwrap().iter().find(|group| group["model"] == **model).unwrap();
        let own = [&group["tests"], &group["success"], &group["partial"]];
        assert_eq!(own.map(Value::as_u64), [0, 1, 2].map(|at| counts[at].as_u64()), "{model} of {kind}");
    }
    if let Some(turns) = expected.get("mean_turns").and_then(Value::as_f64) {
        let tests = |group: &Value| group["tests"].as_f64().unwrap();
        let groups = models.as_array().unwrap();
        let sum: f64 = groups.iter().map(|g| g["mean_turns"].as_f64().unwrap() * tests(g)).sum();
        assert!((sum / groups.iter().map(tests).sum::<f64>() - turns).abs() < 1e-6);
    }
    assert_eq!(names(folder.path()), before);
}

#[test]
fn records_with_group_totals_on_every_row() {
    agrees("records", "records");
}

#[test]
fn summary_rows_with_all_columns_and_stale_rates() {
    agrees("summaries51", "summaries");
}

#[test]
fn summary_rows_whose_success_counts_full_alone() {
    agrees("summaries18", "summaries");
}

#[test]
fn summary_rows_with_zero_filled_columns() {
    agrees("summaries48", "summaries");
}

#[test]
fn a_main_that_mixes_both() {
    agrees("mixed", "mixed");
}

#[test]
fn an_increment_that_its_writer_rewrites_while_we_read() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("incremental")).unwrap();
    let mut writer = Command::new(python)
        .args(["-c", include_str!("legacy/stores.py"), "grow"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut looks = Vec::new();
    while writer.try_wait().unwrap().is_none() {
        looks.push(status(folder.path())["totals"]["tests"].as_u64().unwrap());
    }
    let output = writer.wait_with_output().unwrap();
    assert!(output.status.success());
    let expected: Value = serde_json::from_slice(&output.stdout).unwrap();
    // A look finds one of its versions whole, or none while it is being written.
    assert!(looks.iter().all(|tests| tests % 40 == 0 && *tests <= expected["tests"].as_u64().unwrap()));
    let totals = &status(folder.path())["totals"];
    assert_eq!((&totals["tests"], &totals["success"]), (&expected["tests"], &expected["success"]));
    assert_eq!(totals["repeated"], 0);
}
