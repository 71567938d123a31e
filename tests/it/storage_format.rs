//! `STORAGE_FORMAT=json`: the JSON database that is kept next to a store.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use assert_cmd::assert::Assert;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{evaltop, evaltop_process};

fn record(folder: &TempDir, format: &str, model: &str, rows: usize) -> Assert {
    let line = |i| json!({"model": model, "task_type": "t", "success": i % 2 == 0}).to_string();
    let lines: Vec<_> = (0..rows).map(line).collect();
    let mut command = evaltop();
    command
        .args(["record", "store"])
        .current_dir(folder.path())
        .env("STORAGE_FORMAT", format);
    command.write_stdin(lines.join("\n")).assert()
}

fn database(folder: &TempDir) -> Value {
    serde_json::from_slice(&fs::read(folder.path().join("store.json")).unwrap()).unwrap()
}

fn names(folder: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn record_keeps_the_database_when_asked() {
    let folder = tempfile::tempdir().unwrap();
    record(&folder, "parquet", "m", 2).success();
    assert_eq!(names(&folder), ["store"]);
    record(&folder, "json", "m", 4).success();
    let document = database(&folder);
    assert_eq!(
        (&document["version"], &document["summary"]["total_tests"]),
        (&"3.0".into(), &6.into())
    );
    let leaf = &document["models"]["m"]["by_prompt_type"]["unknown"]["by_tool_success_rate"]["unknown"]
        ["by_difficulty"]["unknown"]["by_task_type"]["t"];
    assert_eq!((&leaf["total"], &leaf["success"]), (&6.into(), &3.into()));
    assert_eq!(
        names(&folder),
        ["store", "store.json", "store.json.lock"],
        "nothing temporary is left"
    );
    // Written again by itself: it is known as its own.
    record(&folder, "JSON", "n", 1).success();
    assert_eq!(database(&folder)["summary"]["total_tests"], 7);
}

#[test]
fn a_database_of_others_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("store.json"), "{\"models\": {}}").unwrap();
    let out = record(&folder, "json", "m", 1).code(1);
    let error = String::from_utf8_lossy(&out.get_output().stderr).into_owned();
    assert!(
        error.contains("store.json holds what others wrote"),
        "{error}"
    );
    fs::remove_file(folder.path().join("store.json")).unwrap();
    record(&folder, "json", "m", 1).success();
    fs::write(
        folder.path().join("store.json"),
        "{\"models\": {\"theirs\": {}}}",
    )
    .unwrap();
    record(&folder, "json", "m", 1).code(1);
    assert!(database(&folder)["models"].get("theirs").is_some());
    let out = record(&folder, "xml", "m", 1).code(2);
    assert!(String::from_utf8_lossy(&out.get_output().stderr).contains("must be parquet or json"));
}

#[test]
fn many_processes_keep_one_database() {
    let folder = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let folder = &folder;
            scope.spawn(move || record(folder, "json", &format!("m{writer}"), 25).success());
        }
    });
    let document = database(&folder);
    assert_eq!(document["summary"]["total_tests"], 200);
    assert_eq!(document["models"].as_object().unwrap().len(), 8);
}

/// Whoever is killed, and whenever: the database is a whole document, and the next writer
/// knows it as its own.
#[test]
fn the_database_survives_kill_9() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    for round in 0..12_u64 {
        let mut writers: Vec<_> = (0..3)
            .map(|_| {
                let mut writer = evaltop_process()
                    .arg("record")
                    .arg(&store)
                    .env("STORAGE_FORMAT", "json")
                    .stdin(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .unwrap();
                let lines = "{\"model\":\"m\",\"success\":true}\n".repeat(50);
                // One that was killed takes nothing more.
                let _ = writer.stdin.take().unwrap().write_all(lines.as_bytes());
                writer
            })
            .collect();
        // Its input has ended: it records, writes the database and ends, as far as it comes.
        std::thread::sleep(Duration::from_millis(round * 7));
        for mut writer in writers.drain(..) {
            writer.kill().unwrap();
            writer.wait().unwrap();
        }
        if folder.path().join("store.json").exists() {
            assert!(
                database(&folder)["summary"]["total_tests"].is_u64(),
                "round {round}"
            );
        }
    }
    record(&folder, "json", "last", 1).success();
    let tests = database(&folder)["summary"]["total_tests"]
        .as_u64()
        .unwrap();
    let seen = evaltop()
        .args(["status", "--format", "json"])
        .arg(&store)
        .output()
        .unwrap();
    let seen: Value = serde_json::from_slice(&seen.stdout).unwrap();
    assert_eq!(seen["totals"]["tests"], tests);
}

#[test]
fn run_keeps_it_too() {
    let folder = tempfile::tempdir().unwrap();
    let args = [
        "run",
        "store",
        "--models",
        "a,b",
        "--num-instances",
        "3",
        "--",
        "true",
    ];
    evaltop()
        .args(args)
        .current_dir(folder.path())
        .env("STORAGE_FORMAT", "json")
        .assert()
        .success();
    assert_eq!(database(&folder)["summary"]["total_tests"], 6);
}
