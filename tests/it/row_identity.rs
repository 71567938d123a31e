//! Rows are what they say, whatever pandas rewrites their file as; stores of format 1 migrate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use evaltop::internals::store::parquet::ParquetFile;
use evaltop::internals::store::{RealDisk, row_hashes};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::support::{evaltop, python};

fn hashes(path: &Path) -> BTreeSet<u128> {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let file = ParquetFile::open(&RealDisk, path).unwrap();
    let mut hashes = BTreeSet::new();
    for batch in file.batches(None, 0).unwrap() {
        let rows = row_hashes(&batch.unwrap(), &zone).unwrap();
        hashes.extend(rows.into_iter().map(|row| row.hash));
    }
    hashes
}

#[test]
fn pandas_changes_no_row_hash_by_rewriting_a_file() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(python)
        .args(["-c", include_str!("legacy/rewritings.py")])
        .arg(folder.path())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let before = hashes(&folder.path().join("00.parquet"));
    assert_eq!(before.len(), 2);
    let reported = String::from_utf8(output.stdout).unwrap();
    let mut wrong = Vec::new();
    for line in reported.lines() {
        let reported: Value = serde_json::from_str(line).unwrap();
        let after = hashes(&folder.path().join(reported["file"].as_str().unwrap()));
        let changed = before.difference(&after).count();
        if reported["changed"] != changed {
            wrong.push(format!("{}: {changed} changed", reported["done"]));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(reported.lines().count(), 18);
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn json(arguments: &[&str], store: &Path) -> Value {
    let output = evaltop().args(arguments).arg(store).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}

fn totals(store: &Path) -> (Value, Value) {
    let seen = json(&["status", "--format", "json"], store);
    (
        seen["totals"]["tests"].clone(),
        seen["totals"]["success"].clone(),
    )
}

/// Stores that the last program of format 1 made (`format1/make.sh`).
#[test]
fn a_store_of_format_1_migrates_at_its_first_commit() {
    let fixtures = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/format1/stores");
    let mut kinds = 0;
    for entry in std::fs::read_dir(fixtures).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_name().into_string().unwrap();
        let reported = std::fs::read_to_string(entry.path().join("expected.json")).unwrap();
        let reported: Value = serde_json::from_str(&reported).unwrap();
        let expected = (reported["tests"].clone(), reported["success"].clone());
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("store");
        copy(&entry.path().join("store"), &store);
        assert_eq!(totals(&store), expected, "{kind} as it is");
        for round in 0..2 {
            let done = evaltop()
                .args(["consolidate", "--yes"])
                .arg(&store)
                .output()
                .unwrap();
            assert!(
                done.status.success(),
                "{kind}: {}",
                String::from_utf8_lossy(&done.stderr)
            );
            assert_eq!(totals(&store), expected, "{kind}, consolidated {round}");
        }
        // What the legacy writer still remembers brings nothing new.
        copy(&entry.path().join("remembered"), &store.join("incremental"));
        assert_eq!(totals(&store), expected, "{kind}, with its old files back");
        let validated = evaltop().arg("validate").arg(&store).output().unwrap();
        let said = String::from_utf8_lossy(&validated.stdout);
        assert!(validated.status.success(), "{kind}: {said}");
        if !reported["commits"].as_bool().unwrap() {
            continue;
        }
        kinds += 1;
        for copy in std::fs::read_dir(store.join("commits")).unwrap() {
            let record = std::fs::read_to_string(copy.unwrap().path()).unwrap();
            let record: Value = serde_json::from_str(&record).unwrap();
            assert_eq!(record["format"], 2, "{kind}");
            assert_eq!(record["store"].as_str().unwrap().len(), 32, "{kind}");
        }
        let rows = evaltop()
            .args(["query", "--format", "jsonl", "--columns", "test_id"])
            .arg(&store)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&rows.stdout);
        assert!(
            !text.contains("null") && rows.status.success(),
            "{kind}: {text}"
        );
    }
    assert!(kinds >= 4, "{kinds}");
}
