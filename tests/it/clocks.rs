//! Machines whose clocks are days apart, and clocks that jump: rows count once, and nothing that is
//! needed is removed because it seems old.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{evaltop_process, missing};

/// Whether programs can be given another clock here.
fn faketime() -> bool {
    let there = Command::new("faketime")
        .args(["-f", "+1d", "true"])
        .status()
        .is_ok_and(|status| status.success());
    if !there {
        missing("faketime, to set a program's clock");
    }
    there
}

/// The program on a machine whose clock is that far off (`+3d`, `-400d`), with the tests' settings.
fn at(clock: &str, arguments: &[&str], store: &Path, input: &str) -> String {
    let program = evaltop_process();
    let mut command = Command::new("faketime");
    command.args(["-f", clock]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let mut child = command
        .args(arguments)
        .arg(store)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?} at {clock}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

fn rows(numbers: std::ops::Range<u32>, success: bool) -> String {
    let rows = numbers
        .map(|n| format!("{{\"test_id\":\"t{n:02}\",\"model\":\"m\",\"success\":{success}}}\n"));
    rows.collect::<Vec<_>>().concat()
}

/// Tests and successes, whatever `status` thinks of the clocks.
fn totals(store: &Path) -> (u64, u64) {
    let output = evaltop_process()
        .args(["status", "--format", "json"])
        .arg(store)
        .output()
        .unwrap();
    let seen: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |name: &str| seen["totals"][name].as_u64().unwrap();
    (number("tests"), number("success"))
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_backup_from_the_future_pushes_out_no_other() {
    if !faketime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("s");
    at("+0", &["record"], &store, &rows(0..5, true));
    at("+0", &["consolidate", "--yes"], &store, "");
    for clock in ["-2d", "-1d", "+0", "+400d"] {
        at(clock, &["backup"], &store, "");
    }
    let before = names(&store.join("backups"));
    assert_eq!(before.len(), 4, "{before:?}");
    at("+0", &["cleanup", "--keep", "1", "--yes"], &store, "");
    // The newest by a clock that is right, and what bears a time to come.
    assert_eq!(names(&store.join("backups")), before[2..], "{before:?}");
}

#[test]
fn writers_and_committers_on_clocks_days_apart_lose_and_double_nothing() {
    if !faketime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("s");
    at("+3d", &["record"], &store, &rows(0..10, true));
    at("-3d", &["record"], &store, &rows(10..20, true));
    assert_eq!(totals(&store), (20, 20));
    at("-2d", &["consolidate", "--yes"], &store, "");
    assert_eq!(totals(&store), (20, 20));
    // Another attempt at half of them, by the slow clock: by the times that rows carry it is the
    // older one of t05 to t09, and the newer one of t10 to t14.
    at("-1d", &["record"], &store, &rows(5..15, false));
    assert_eq!(totals(&store), (20, 15));
    at("+2d", &["consolidate", "--yes"], &store, "");
    at("-5d", &["record"], &store, &rows(20..25, true));
    at("-5d", &["consolidate", "--yes"], &store, "");
    assert_eq!(totals(&store), (25, 20));
    at("+0", &["validate"], &store, "");
}

#[test]
fn a_clock_that_jumps_ahead_removes_no_folder_that_an_old_main_needs() {
    if !faketime() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("s");
    at("+0", &["record"], &store, &rows(0..10, true));
    at("+0", &["consolidate", "--yes"], &store, "");
    let old = fs::read(store.join("test_results.parquet")).unwrap();
    for days in 1..=4_u32 {
        let clock = format!("+{days}d");
        at(
            &clock,
            &["record"],
            &store,
            &rows(days * 10..days * 10 + 10, true),
        );
        at(&clock, &["consolidate", "--yes"], &store, "");
    }
    at("+0", &["cleanup", "--yes"], &store, "");
    at("+9d", &["cleanup", "--yes"], &store, "");
    assert_eq!(names(&store.join("incremental/.consumed")).len(), 5);
    // Other code writes back the main that it had read days ago by that clock, minutes by its own.
    fs::write(store.join("test_results.parquet"), old).unwrap();
    assert_eq!(totals(&store), (50, 50));
    at("+0", &["consolidate", "--yes"], &store, "");
    assert_eq!(totals(&store), (50, 50));
}
