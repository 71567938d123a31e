//! Maintenance commands: what they say and with which exit code, and that bad input
//! leaves the store as it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{evaltop, evaltop_process, main_rows, names};

/// A store with ids recorded, one increment a call.
fn record(dir: &Path, ids: &[&str]) {
    let line = |id: &&str| format!("{{\"test_id\":\"{id}\",\"model\":\"m\",\"success\":true}}\n");
    let lines: Vec<String> = ids.iter().map(line).collect();
    evaltop()
        .arg("record")
        .arg(dir)
        .write_stdin(lines.concat())
        .assert()
        .success();
}

fn store(ids: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    record(dir.path(), ids);
    evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
    dir
}

/// Every file of a folder and what is in it, but locks.
fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_none_or(|e| e != "lock") {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Makes a file look as if nobody had touched it for a while.
fn age(path: &Path) {
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    fs::File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(old)
        .unwrap();
}

/// Runs a command that must fail with one sentence and change nothing; returns the sentence.
fn refused(dir: &Path, args: &[&str], code: i32) -> String {
    let before = content(dir);
    let run = evaltop().args(args).arg(dir).assert().code(code);
    assert_eq!(content(dir), before, "{args:?} changed something");
    let reported = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert_eq!(reported.lines().count(), 1, "{reported}");
    assert!(reported.starts_with("evaltop: "), "{reported}");
    reported
}

fn json(dir: &Path, args: &[&str]) -> serde_json::Value {
    let run = evaltop()
        .args(args)
        .args(["--format", "json"])
        .arg(dir)
        .output()
        .unwrap();
    serde_json::from_slice(&run.stdout)
        .unwrap_or_else(|_| panic!("{args:?}: {}", String::from_utf8_lossy(&run.stderr)))
}

#[test]
fn consolidate_reports_in_the_agreed_form() {
    let dir = store(&["a", "b"]);
    record(dir.path(), &["b", "c"]);
    let before = content(dir.path());
    let planned = json(dir.path(), &["consolidate", "--dry-run"]);
    assert_eq!(
        (&planned["dry_run"], &planned["rows"]),
        (&true.into(), &2.into())
    );
    assert_eq!(content(dir.path()), before, "a dry run changed something");
    let done = json(dir.path(), &["consolidate"]);
    let figures = [
        "schema_version",
        "increments_merged",
        "rows_added",
        "rows_superseded",
        "rows_repeated",
    ];
    let figures: Vec<_> = figures
        .iter()
        .map(|name| done[name].as_u64().unwrap())
        .collect();
    assert_eq!(figures, [1, 1, 2, 1, 0]);
    assert_eq!(
        (&done["rows_total"], &done["generation"]),
        (&3.into(), &2.into())
    );
    assert_eq!(done["skipped"], serde_json::json!([]));
    let run = evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
    assert!(
        String::from_utf8_lossy(&run.get_output().stdout).starts_with("nothing to consolidate")
    );
}

#[test]
fn there_is_no_store() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("missing");
    for command in ["consolidate", "cleanup", "backup", "validate"] {
        let run = evaltop().arg(command).arg(&missing).assert().code(1);
        let reported = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(
            reported.contains("no store at") && reported.contains("evaltop record"),
            "{reported}"
        );
        let reported = refused(dir.path(), &[command], 1);
        assert!(reported.contains("no store at"), "{reported}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_folder_that_cannot_be_read() {
    // Root reads everything; a file in the folder's place is as unreadable for everybody.
    let dir = store(&["a"]);
    record(dir.path(), &["b"]);
    let incremental = dir.path().join("incremental");
    fs::rename(&incremental, dir.path().join("away")).unwrap();
    fs::write(&incremental, b"").unwrap();
    let reported = refused(dir.path(), &["consolidate"], 1);
    assert!(
        reported.contains("cannot read") && reported.contains("incremental"),
        "{reported}"
    );
}

#[test]
fn a_torn_main_and_one_that_is_no_parquet() {
    let dir = store(&["a"]);
    record(dir.path(), &["b"]);
    let main = dir.path().join("test_results.parquet");
    let whole = fs::read(&main).unwrap();
    for broken in [&whole[..whole.len() / 2], b"model,success\nm,true\n", b""] {
        fs::write(&main, broken).unwrap();
        age(&main);
        for command in ["consolidate", "backup"] {
            let reported = refused(dir.path(), &[command], 1);
            assert!(
                reported.contains("test_results.parquet can't be read as Parquet"),
                "{reported}"
            );
            assert!(reported.contains("evaltop restore"), "{reported}");
        }
    }
    fs::write(&main, whole).unwrap();
    evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
    assert_eq!(main_rows(dir.path()), ["a", "b"]);
}

#[test]
fn columns_that_conflict_stay_and_the_rest_goes_in() {
    let dir = store(&[]);
    let with = |id: &str, note: &str| {
        let line =
            format!("{{\"test_id\":\"{id}\",\"model\":\"m\",\"success\":true,\"note\":{note}}}\n");
        evaltop()
            .arg("record")
            .arg(dir.path())
            .write_stdin(line)
            .assert()
            .success();
    };
    with("a", "\"text\"");
    evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
    with("b", "1");
    record(dir.path(), &["c"]);
    let run = evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .code(10);
    let reported = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    for part in ["column 'note' is int64", "text in", "stays"] {
        assert!(reported.contains(part), "{reported}");
    }
    assert_eq!(main_rows(dir.path()), ["a", "c"]);
    let again = evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .code(10);
    assert!(String::from_utf8_lossy(&again.get_output().stdout).contains("'note'"));
}

#[test]
fn files_that_are_no_parquet_are_in_progress_first_and_unreadable_later() {
    let dir = store(&["a"]);
    record(dir.path(), &["b"]);
    let torn = dir
        .path()
        .join("incremental/increment_1_20260131_120000.parquet");
    fs::write(&torn, b"PAR1 and no more").unwrap();
    evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
    age(&torn);
    record(dir.path(), &["c"]);
    let run = evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .code(10);
    assert!(String::from_utf8_lossy(&run.get_output().stdout).contains("it can't be read"));
    assert_eq!(main_rows(dir.path()), ["a", "b", "c"]);
    assert!(torn.exists());
}

#[test]
fn the_second_one_learns_who_holds_the_lock() {
    let dir = store(&["a"]);
    record(dir.path(), &["b"]);
    // Another program that locks, as legacy writers of main do.
    let lock = fs::File::options()
        .write(true)
        .open(dir.path().join("test_results.parquet.lock"))
        .unwrap();
    lock.lock().unwrap();
    let reported = refused(dir.path(), &["consolidate"], 75);
    assert!(reported.contains("locked by"), "{reported}");
    if cfg!(target_os = "linux") {
        assert!(
            reported.contains(&format!("process {}", std::process::id())),
            "{reported}"
        );
    }
    drop(lock);
    evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
}

#[test]
fn a_main_that_lost_rows_is_refused_until_somebody_decides() {
    let dir = store(&["a", "b"]);
    record(dir.path(), &["c"]);
    let main = dir.path().join("test_results.parquet");
    fs::remove_file(&main).unwrap();
    let reported = refused(dir.path(), &["consolidate"], 1);
    assert!(
        reported.contains("--accept-main") && reported.contains("restore"),
        "{reported}"
    );
    evaltop()
        .args(["consolidate", "--accept-main"])
        .arg(dir.path())
        .assert()
        .success();
    assert_eq!(main_rows(dir.path()), ["c"]);
}

#[test]
fn a_backup_is_made_and_brought_back() {
    let dir = store(&["a"]);
    let made = json(dir.path(), &["backup"]);
    let name = PathBuf::from(made["backup"].as_str().unwrap());
    record(dir.path(), &["b"]);
    evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
    let from = name.file_name().unwrap().to_str().unwrap();
    let reported = refused(dir.path(), &["restore", "--from", from], 2);
    assert!(reported.contains("--yes"), "{reported}");
    let planned = json(dir.path(), &["restore", "--dry-run", "--from", from]);
    assert_eq!(
        (&planned["rows_restored"], &planned["rows_kept"]),
        (&1.into(), &1.into())
    );
    evaltop()
        .args(["restore", "--yes", "--from", from])
        .arg(dir.path())
        .assert()
        .success();
    assert_eq!(main_rows(dir.path()), ["a", "b"]);
    let args = ["restore", "--yes", "--discard-newer", "--from"];
    evaltop()
        .args(args)
        .arg(&name)
        .arg(dir.path())
        .assert()
        .success();
    assert_eq!(main_rows(dir.path()), ["a"]);
    let reported = refused(
        dir.path(),
        &["restore", "--yes", "--from", "nothing.parquet"],
        1,
    );
    assert!(
        reported.contains("no backup 'nothing.parquet': the newest are test_results_"),
        "{reported}"
    );
}

#[test]
fn rows_are_removed_after_a_plan_and_a_yes() {
    let dir = store(&["a", "b"]);
    record(dir.path(), &["c"]);
    let reported = refused(dir.path(), &["remove", "--yes"], 2);
    assert!(reported.contains("say which rows"), "{reported}");
    let of_c = ["remove", "--where", "test_id = c"];
    let reported = refused(dir.path(), &of_c, 2);
    assert!(
        reported.contains("would remove 1 row: run `evaltop remove` again with --yes"),
        "{reported}"
    );
    let planned = json(dir.path(), &[&of_c[..], &["--dry-run"]].concat());
    assert_eq!(
        (&planned["rows"], &planned["dry_run"]),
        (&1.into(), &true.into())
    );
    let done = json(dir.path(), &[&of_c[..], &["--yes"]].concat());
    assert_eq!(
        (
            &done["rows_removed"],
            &done["rows_pending"],
            &done["rows_total"]
        ),
        (&1.into(), &1.into(), &2.into())
    );
    json(dir.path(), &["consolidate"]);
    assert_eq!(main_rows(dir.path()), ["a", "b"]);
    let operations = fs::read_to_string(dir.path().join("operations.jsonl")).unwrap();
    assert!(
        operations.contains("removed 1 row, all of them pending"),
        "{operations}"
    );
    let reported = evaltop()
        .args(["remove", "--where", "turns > 5", "--yes"])
        .arg(dir.path())
        .output()
        .unwrap();
    let reported = String::from_utf8(reported.stdout).unwrap();
    assert_eq!(reported, "nothing to remove: not one row matches\n");
}

#[test]
fn a_consolidate_is_undone_and_done_again() {
    let dir = store(&["a"]);
    record(dir.path(), &["b"]);
    evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
    let planned = json(dir.path(), &["restore", "--dry-run", "--undo"]);
    assert_eq!(
        (&planned["rows_restored"], &planned["rows_waiting"]),
        (&1.into(), &1.into())
    );
    let reported = refused(dir.path(), &["restore", "--undo"], 2);
    assert!(
        reported.contains("--yes") && reported.contains("1 row of main are pending again"),
        "{reported}"
    );
    evaltop()
        .args(["restore", "--yes", "--undo"])
        .arg(dir.path())
        .assert()
        .success();
    assert_eq!(main_rows(dir.path()), ["a"]);
    let seen = json(dir.path(), &["status"]);
    assert_eq!(
        (&seen["totals"]["tests"], &seen["increments"]["rows"]),
        (&2.into(), &1.into())
    );
    evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
    assert_eq!(main_rows(dir.path()), ["a", "b"]);
}

#[test]
fn cleanup_needs_a_yes_and_never_takes_waiting_rows() {
    let dir = store(&["a"]);
    record(dir.path(), &["b"]);
    for _ in 0..3 {
        evaltop().arg("backup").arg(dir.path()).assert().success();
    }
    let reported = refused(dir.path(), &["cleanup", "--keep", "1"], 2);
    assert!(reported.contains("--yes"), "{reported}");
    let waiting = names(dir.path());
    evaltop()
        .args(["cleanup", "--keep", "1", "--older-than", "0s", "--yes"])
        .arg(dir.path())
        .assert()
        .success();
    assert_eq!(names(dir.path()), waiting);
    assert_eq!(fs::read_dir(dir.path().join("backups")).unwrap().count(), 1);
    evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
    assert_eq!(main_rows(dir.path()), ["a", "b"]);
}

#[test]
fn every_commit_keeps_the_main_before_it_and_prunes_the_oldest() {
    let dir = store(&["0"]);
    for n in 1..8 {
        record(dir.path(), &[&n.to_string()]);
        evaltop()
            .arg("consolidate")
            .arg(dir.path())
            .assert()
            .success();
    }
    // The newest five, one of which is also the one of today.
    assert_eq!(fs::read_dir(dir.path().join("backups")).unwrap().count(), 5);
    assert_eq!(main_rows(dir.path()).len(), 8);
}

#[test]
fn a_killed_consolidation_leaves_a_store_that_the_next_one_mends() {
    let dir = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..12 {
        let ids: Vec<_> = (0..200).map(|n| format!("{round:02}-{n:03}")).collect();
        record(
            dir.path(),
            &ids.iter().map(String::as_str).collect::<Vec<_>>(),
        );
        expected.extend(ids);
        let mut child = evaltop_process()
            .arg("consolidate")
            .arg(dir.path())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(round * 4));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    evaltop()
        .arg("consolidate")
        .arg(dir.path())
        .assert()
        .success();
    assert_eq!(main_rows(dir.path()), expected);
    assert!(names(dir.path()).is_empty());
}
