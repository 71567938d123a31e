//! Tests of status: its forms, its exit codes, its sentences, and that it only looks.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray};
use evaltop::internals::store::format::layout::{self, Layout};
use evaltop::internals::store::write::writer::{Writer, WriterOptions};
use evaltop::internals::store::{Record, Store};
use parquet::arrow::ArrowWriter;
use serde_json::Value;

use crate::support::{evaltop, real_data};

/// A store of five published records of model "a" (three full, one partial, one
/// rate-limited) and one waiting in a journal for model "b".
fn recorded(folder: &Path) -> PathBuf {
    let root = folder.join("store");
    let store = Store::new(&root);
    let record = |model: &str, success, partial, error: Option<&str>| Record {
        model: model.to_owned(),
        success: Some(success),
        partial_success: Some(partial),
        execution_time: Some(2.0),
        error_type: error.map(str::to_owned),
        ..Record::default()
    };
    let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
    let published = vec![
        record("a", true, false, None),
        record("a", true, false, None),
        record("a", true, false, None),
        record("a", false, true, None),
        record("a", false, false, Some("infrastructure")),
    ];
    writer.append_all(published).unwrap();
    writer.close().unwrap();
    let mut killed = Writer::open(&store, WriterOptions::default()).unwrap();
    killed
        .append(record("b", false, false, Some("timeout")))
        .unwrap();
    // What a killed writer leaves: its journal as it was, no increment, no lock.
    let stem = format!("{}_0", killed.base());
    let journal = root.join("incremental").join(layout::journal_name(&stem));
    let bytes = fs::read(&journal).unwrap();
    killed.close().unwrap();
    fs::remove_file(root.join("incremental").join(layout::increment_name(&stem))).unwrap();
    fs::write(&journal, bytes).unwrap();
    fs::remove_dir_all(root.join("live")).unwrap();
    root
}

fn status(root: &Path, format: &str) -> assert_cmd::Command {
    let mut command = evaltop();
    command.arg("status").arg(root).args(["--format", format]);
    command
}

fn json(root: &Path, code: i32) -> Value {
    let output = status(root, "json")
        .assert()
        .code(code)
        .get_output()
        .stdout
        .clone();
    serde_json::from_slice(&output).unwrap()
}

/// Every name with size, time and inode: what a command that only looks must not change.
fn listing(root: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                folders.push(entry.path());
            }
            found.insert(entry.path(), (meta.len(), meta.modified().unwrap()));
        }
    }
    found
}

/// Makes a file old enough to be unreadable rather than in progress.
fn age(path: &Path) {
    let long_ago = SystemTime::now() - Duration::from_secs(3_600);
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_modified(long_ago)
        .unwrap();
}

fn write_parquet(path: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn counts_increments_and_journals_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = recorded(folder.path());
    let before = listing(&root);
    let found = json(&root, 10);
    for format in ["text", "tmux", "prometheus"] {
        status(&root, format).assert().code(10);
    }
    assert_eq!(listing(&root), before);

    assert_eq!(found["schema_version"], 2);
    assert_eq!(found["store"], root.to_str().unwrap());
    assert_eq!(found["generation"], 0);
    assert_eq!(found["main"]["kind"], "empty");
    assert_eq!(found["increments"]["files"], 1);
    assert_eq!(found["increments"]["rows"], 5);
    assert_eq!(
        (&found["journals"]["files"], &found["journals"]["rows"]),
        (&1.into(), &1.into())
    );
    let totals = &found["totals"];
    assert_eq!(totals["tests"], 6);
    assert_eq!(
        (&totals["success"], &totals["partial"], &totals["failed"]),
        (&3.into(), &1.into(), &2.into())
    );
    assert_eq!(totals["infrastructure"], 1);
    assert_eq!(
        (&totals["success_rate"], &totals["scored_rate"]),
        (&0.5.into(), &0.6.into())
    );
    let models: Vec<&str> = found["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["model"].as_str().unwrap())
        .collect();
    assert_eq!(models, ["a", "b"]);
    assert_eq!(found["models"][0]["mean_execution_time"], 2.0);
    assert_eq!(found["models"][1]["success_rate"], 0.0);
    // The journal's lock is free and nobody closed it.
    assert_eq!(found["alerts"][0]["rule"], "lost_writers");
    assert_eq!(found["alerts"][0]["action"], "writer");
    let writers = found["writers"].as_array().unwrap();
    assert_eq!(
        writers
            .iter()
            .filter(|writer| writer["state"] == "lost")
            .count(),
        1,
        "{writers:?}"
    );
}

#[test]
fn an_empty_store_is_healthy_and_its_rates_are_null() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("incremental")).unwrap();
    let found = json(folder.path(), 0);
    assert_eq!(found["health"], "healthy");
    assert_eq!(found["totals"]["tests"], 0);
    assert!(found["totals"]["success_rate"].is_null());
    assert!(found["increments"]["oldest_age_seconds"].is_null());
    assert_eq!(
        (&found["models"], &found["alerts"]),
        (&Value::Array(vec![]), &Value::Array(vec![]))
    );
}

#[test]
fn no_store_is_one_sentence_and_stays_no_store() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let output = status(&missing, "json")
        .assert()
        .code(1)
        .get_output()
        .clone();
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(
        sentence.starts_with("evaltop: no store at ") && sentence.contains("missing"),
        "{sentence}"
    );
    assert_eq!(sentence.lines().count(), 1, "{sentence}");
    assert!(output.stdout.is_empty());
    assert!(!missing.exists());

    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    status(&empty, "text").assert().code(1);
    assert_eq!(fs::read_dir(&empty).unwrap().count(), 0);

    let file = folder.path().join("file");
    fs::write(&file, "x").unwrap();
    let output = status(&file, "text").assert().code(1).get_output().clone();
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("it is a file")
    );
}

#[test]
fn a_main_that_cannot_be_read_is_critical_and_never_zero() {
    let folder = tempfile::tempdir().unwrap();
    let root = recorded(folder.path());
    let main = root.join("test_results.parquet");
    let torn = || {
        write_parquet(
            &main,
            vec![
                (
                    "model",
                    Arc::new(StringArray::from(vec!["a"; 50])) as ArrayRef,
                ),
                ("success", Arc::new(BooleanArray::from(vec![true; 50]))),
            ],
        );
        let length = fs::metadata(&main).unwrap().len();
        File::options()
            .write(true)
            .open(&main)
            .unwrap()
            .set_len(length - 20)
            .unwrap();
    };
    let text = || fs::write(&main, "id,model\n1,a\n").unwrap();
    for spoil in [&torn as &dyn Fn(), &text] {
        spoil();
        age(&main);
        let before = listing(&root);
        let output = status(&root, "json").assert().code(20).get_output().clone();
        let sentence = String::from_utf8(output.stderr).unwrap();
        assert!(
            sentence.contains("test_results.parquet") && sentence.lines().count() == 1,
            "{sentence}"
        );
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found["health"], "critical");
        assert_eq!(found["alerts"][0]["rule"], "store_unreadable");
        assert!(
            found["totals"]["tests"].is_null() && found["main"]["rows"].is_null(),
            "{found}"
        );
        let shown = status(&root, "text")
            .assert()
            .code(20)
            .get_output()
            .stdout
            .clone();
        let shown = String::from_utf8(shown).unwrap();
        assert!(
            shown.contains("CRITICAL") && !shown.contains("tests"),
            "{shown}"
        );
        assert_eq!(listing(&root), before);
    }
}

#[test]
fn an_unreadable_folder_is_critical() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let root = recorded(folder.path());
    let set = |mode| fs::set_permissions(&root, fs::Permissions::from_mode(mode)).unwrap();
    set(0o000);
    if fs::read_dir(&root).is_ok() {
        eprintln!("SKIPPED: this user may read every folder, so this check did not run");
        set(0o755);
        return;
    }
    let output = status(&root, "text").assert().code(20).get_output().clone();
    set(0o755);
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(
        sentence.contains("cannot read") && sentence.contains("check the owner and mode"),
        "{sentence}"
    );
}

#[test]
fn strange_files_beside_the_data_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let root = recorded(folder.path());
    let incremental = root.join("incremental");
    for name in [
        ".DS_Store",
        "increment_1_20260131_120000.parquet.lock",
        "notes.txt",
    ] {
        fs::write(incremental.join(name), "x").unwrap();
        fs::write(root.join(name), "x").unwrap();
    }
    let backup: Vec<(&str, ArrayRef)> = vec![
        ("model", Arc::new(StringArray::from(vec!["a"; 9]))),
        ("success", Arc::new(BooleanArray::from(vec![true; 9]))),
    ];
    write_parquet(
        &root.join("test_results_backup_20260131_120000.parquet"),
        backup,
    );
    File::create(root.join("test_results.parquet.backup")).unwrap();
    assert_eq!(json(&root, 10)["totals"]["tests"], 6);
}

#[test]
fn an_unreadable_increment_and_a_conflict_are_warnings_and_the_rest_counts() {
    let folder = tempfile::tempdir().unwrap();
    let root = recorded(folder.path());
    let incremental = root.join("incremental");
    let torn = incremental.join("increment_7_20260131_120000.parquet");
    fs::write(&torn, "PAR1 and then nothing").unwrap();
    age(&torn);
    let nested: ArrayRef = Arc::new(arrow::array::StructArray::from(vec![(
        Arc::new(arrow::datatypes::Field::new(
            "seconds",
            arrow::datatypes::DataType::Int64,
            true,
        )),
        Arc::new(Int64Array::from(vec![1])) as ArrayRef,
    )]));
    let conflict = incremental.join("increment_8_20260131_120000.parquet");
    write_parquet(
        &conflict,
        vec![
            ("model", Arc::new(StringArray::from(vec!["a"])) as ArrayRef),
            ("success", Arc::new(BooleanArray::from(vec![true]))),
            ("execution_time", nested),
        ],
    );
    age(&conflict);
    let found = json(&root, 10);
    assert_eq!(found["totals"]["tests"], 6);
    assert_eq!(found["increments"]["unreadable"], 1);
    let rules: Vec<&str> = found["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|alert| alert["rule"].as_str().unwrap())
        .collect();
    assert!(
        rules.contains(&"unreadable_files") && rules.contains(&"schema_conflict"),
        "{rules:?}"
    );
}

#[test]
fn settings_inside_the_store_count_and_wrong_ones_name_their_line() {
    let folder = tempfile::tempdir().unwrap();
    let root = recorded(folder.path());
    let settings = root.join("evaltop.toml");
    fs::write(&settings, "[thresholds]\nincrements_critical = 0\n").unwrap();
    let found = json(&root, 20);
    assert_eq!(found["alerts"][0]["rule"], "too_many_increments");
    fs::write(&settings, "[thresholds]\nincrements_critcal = 0\n").unwrap();
    let output = status(&root, "json").assert().code(1).get_output().clone();
    let sentence = String::from_utf8(output.stderr).unwrap();
    assert!(
        sentence.contains("evaltop.toml line 2: unknown field 'increments_critcal'"),
        "{sentence}"
    );
}

#[test]
fn the_store_is_found_by_environment_and_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = recorded(folder.path());
    evaltop()
        .arg("status")
        .env("EVALTOP_DIR", &root)
        .assert()
        .code(10);
    let usual = folder.path().join("pilot_bench_parquet_data");
    evaltop()
        .arg("status")
        .current_dir(folder.path())
        .assert()
        .code(1);
    fs::rename(&root, &usual).unwrap();
    evaltop()
        .arg("status")
        .current_dir(folder.path())
        .assert()
        .code(10);
    evaltop()
        .arg("status")
        .current_dir(&usual)
        .assert()
        .code(10);
}

#[test]
fn tmux_is_one_line_and_prometheus_is_typed() {
    let folder = tempfile::tempdir().unwrap();
    let root = recorded(folder.path());
    let text = |format| {
        let output = status(&root, format)
            .assert()
            .code(10)
            .get_output()
            .stdout
            .clone();
        String::from_utf8(output).unwrap()
    };
    let line = text("tmux");
    assert!(
        line.starts_with("▲ 6 tests 50.0%") && line.lines().count() == 1,
        "{line}"
    );
    let page = text("prometheus");
    assert!(
        page.contains("# TYPE evaltop_tests gauge\nevaltop_tests{store=\""),
        "{page}"
    );
    assert!(page.contains(",model=\"b\"} 1\n"), "{page}");
}

#[test]
fn real_results_count_the_same_as_in_other_tools() {
    let Some(file) = real_data("livebench.parquet") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let maps = [
        "model=model",
        "task_type=category",
        "task_id=question_id",
        "timestamp=tstamp",
    ];
    for (store, more, tests, full, superseded) in [
        ("rows", None, 93_624, 28_362, 0),
        ("tests", Some("test_id=question_id"), 93_034, 28_212, 590),
    ] {
        let root = folder.path().join(store);
        let mut import = evaltop();
        import
            .arg("import")
            .arg(&file)
            .arg("--into")
            .arg(&root)
            .args(["--success-from", "score>=1"]);
        for map in maps.iter().copied().chain(more) {
            import.args(["--map", map]);
        }
        import.assert().success();
        let found = json(&root, 0);
        let totals = &found["totals"];
        assert_eq!(
            (&totals["tests"], &totals["success"]),
            (&tests.into(), &full.into())
        );
        assert_eq!(totals["superseded"], superseded);
        assert_eq!(found["models"].as_array().unwrap().len(), 93);
        // Old tests that came in just now are neither late nor failing now.
        assert_eq!(found["alerts"], Value::Array(vec![]));
    }
}

#[test]
fn a_main_that_is_gone_or_lost_rows_is_critical_until_it_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let root = recorded(folder.path());
    evaltop().arg("consolidate").arg(&root).assert().success();
    let main = root.join(layout::MAIN);
    let alert = |root: &Path| {
        let seen = json(root, 20);
        let alerts = seen["alerts"].as_array().unwrap().clone();
        let alert = alerts
            .iter()
            .find(|alert| alert["rule"] == "main_shrunk")
            .unwrap();
        alert["message"].as_str().unwrap().to_owned()
    };
    let refused = |arguments: &[&str]| {
        let output = evaltop()
            .args(arguments)
            .arg(&root)
            .assert()
            .code(1)
            .get_output()
            .stderr
            .clone();
        let reported = String::from_utf8(output).unwrap();
        assert!(
            reported.contains("the last commit left 6 rows in it"),
            "{arguments:?}: {reported}"
        );
    };
    // Another program writes it again, without a word of the commit.
    let model: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let success: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let rows = RecordBatch::try_from_iter([("model", model), ("success", success)]).unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(&main).unwrap(), rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    // What the commit took in is there yet, and counts.
    let seen: Value = serde_json::from_slice(
        &evaltop()
            .args(["status", "--format", "json"])
            .arg(&root)
            .output()
            .unwrap()
            .stdout,
    )
    .unwrap();
    assert_eq!(seen["totals"]["tests"], 7);
    let moved = Layout::new(&root).consumed();
    for folder in fs::read_dir(moved).unwrap() {
        for file in fs::read_dir(folder.unwrap().path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    assert_eq!(
        alert(&root),
        "main has 1 row, but the last commit left 6 rows"
    );
    refused(&["consolidate"]);
    fs::remove_file(&main).unwrap();
    assert_eq!(
        alert(&root),
        "main is gone: the last commit left 6 rows in it"
    );
    for arguments in [
        &["consolidate"][..],
        &["consolidate", "--dry-run"],
        &["maintain"],
    ] {
        refused(arguments);
    }
    let report = evaltop()
        .arg("validate")
        .arg(&root)
        .assert()
        .code(20)
        .get_output()
        .stdout
        .clone();
    assert!(String::from_utf8(report).unwrap().contains("it is missing"));
    evaltop()
        .args(["consolidate", "--accept-main"])
        .arg(&root)
        .assert()
        .success();
    assert_eq!(json(&root, 0)["totals"]["tests"], 0);
    evaltop().arg("validate").arg(&root).assert().success();
    evaltop().arg("consolidate").arg(&root).assert().success();
}

#[test]
fn repeated_tasks_widen_the_interval_as_query_has_it() {
    let Some(file) = real_data("tau_bench_gpt4o_airline.jsonl") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("store");
    let mut import = evaltop();
    import
        .arg("import")
        .arg(&file)
        .arg("--into")
        .arg(&root)
        .args(["--success-from", "reward>=1"]);
    import.assert().success();
    let mut query = evaltop();
    query
        .arg("query")
        .arg(&root)
        .args(["--group-by", "model", "--format", "json"]);
    let groups = query.assert().success().get_output().stdout.clone();
    let groups: Value = serde_json::from_slice(&groups).unwrap();
    let found = json(&root, 0);
    let page = status(&root, "prometheus")
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    let page = String::from_utf8(page).unwrap();
    for (end, expected) in [("ci_low", "0.323"), ("ci_high", "0.524")] {
        let queried = groups[0][end].as_f64().unwrap();
        assert_eq!(format!("{queried:.3}"), expected);
        assert_eq!(found["models"][0][end].as_f64(), Some(queried));
        assert_eq!(found["totals"][end].as_f64(), Some(queried));
        let of = |metric: &str| {
            let line = page
                .lines()
                .find(|line| line.starts_with(&format!("{metric}_{end}{{")))?;
            line.rsplit_once(' ')?.1.parse::<f64>().ok()
        };
        assert_eq!(of("evaltop_success_rate"), Some(queried));
        assert_eq!(of("evaltop_model_success_rate"), Some(queried));
    }
    let page = status(&root, "text")
        .assert()
        .success()
        .get_output()
        .stdout
        .clone();
    let page = String::from_utf8(page).unwrap();
    assert_eq!(page.matches("32–52").count(), 2, "{page}");
}
