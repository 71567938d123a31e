//! Stores as legacy Python code wrote them, and our own as other readers see them.

use std::fs;
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
    serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!("{error}: {text}{}", String::from_utf8_lossy(&output.stderr))
    })
}

fn status(folder: &Path) -> Value {
    json(&["status", "--format", "json"], folder)
}

fn names(folder: &Path) -> Vec<(String, u64)> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (
                entry.file_name().to_string_lossy().into_owned(),
                entry.metadata().unwrap().len(),
            )
        })
        .collect();
    names.sort();
    names
}

/// `status` and `query` count what Python counted, and change nothing.
fn agrees(kind: &str, main: &str) {
    let folder = tempfile::tempdir().unwrap();
    let Some(expected) = make(kind, folder.path()) else {
        return;
    };
    let before = names(folder.path());
    let seen = status(folder.path());
    assert_eq!(seen["main"]["kind"], main, "{seen}");
    for name in ["tests", "success", "partial"] {
        assert_eq!(seen["totals"][name], expected[name], "{name} of {kind}");
    }
    if let Some(superseded) = expected.get("superseded") {
        assert_eq!(&seen["totals"]["superseded"], superseded);
    }
    let models = json(
        &["query", "--group-by", "model", "--format", "json"],
        folder.path(),
    );
    for (model, counts) in expected["models"].as_object().unwrap() {
        let group = models
            .as_array()
            .unwrap()
            .iter()
            .find(|group| group["model"] == **model)
            .unwrap();
        let own = [&group["tests"], &group["success"], &group["partial"]];
        assert_eq!(
            own.map(Value::as_u64),
            [0, 1, 2].map(|at| counts[at].as_u64()),
            "{model} of {kind}"
        );
    }
    if let Some(turns) = expected.get("mean_turns").and_then(Value::as_f64) {
        let tests = |group: &Value| group["tests"].as_f64().unwrap();
        let groups = models.as_array().unwrap();
        let sum: f64 = groups
            .iter()
            .map(|g| g["mean_turns"].as_f64().unwrap() * tests(g))
            .sum();
        assert!((sum / groups.iter().map(tests).sum::<f64>() - turns).abs() < 1e-6);
    }
    assert_eq!(names(folder.path()), before);
}

/// Moving summary rows out of main changes no figure that anybody asks for.
fn converts(kind: &str, arguments: &[&str]) {
    let folder = tempfile::tempdir().unwrap();
    if make(kind, folder.path()).is_none() {
        return;
    }
    let asked = || {
        let exported = folder.path().join("exported.json");
        let export = ["export", "--format", "json", "-o"];
        evaltop()
            .args(export)
            .arg(&exported)
            .arg(folder.path())
            .assert()
            .success();
        let mut database: Value =
            serde_json::from_slice(&std::fs::read(&exported).unwrap()).unwrap();
        std::fs::remove_file(exported).unwrap();
        for stamp in ["created_at", "last_updated"] {
            database.as_object_mut().unwrap().remove(stamp);
        }
        let seen = status(folder.path());
        let groups = [
            "query",
            "--group-by",
            "model,prompt_type,difficulty",
            "--format",
            "json",
        ];
        let rows = json(&["query", "--summaries", "--format", "json"], folder.path());
        let rows = rows.as_array().unwrap().len();
        (
            seen["totals"].clone(),
            seen["models"].clone(),
            json(&groups, folder.path()),
            database,
            rows,
        )
    };
    let before = asked();
    evaltop()
        .args(["consolidate"])
        .args(arguments)
        .arg(folder.path())
        .assert()
        .success();
    assert!(
        !["summaries", "mixed"].contains(&status(folder.path())["main"]["kind"].as_str().unwrap())
    );
    assert_eq!(asked(), before, "{kind}");
    evaltop()
        .arg("validate")
        .arg(folder.path())
        .assert()
        .success();
}

#[test]
fn a_main_of_summary_rows_is_converted() {
    for kind in ["summaries51", "summaries18", "summaries48"] {
        converts(kind, &["--convert-main"]);
    }
}

#[test]
fn a_mixed_main_is_separated() {
    converts("mixed", &[]);
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
    // A scan finds one of its versions whole, or none while it is being written.
    assert!(
        looks
            .iter()
            .all(|tests| tests % 40 == 0 && *tests <= expected["tests"].as_u64().unwrap())
    );
    let totals = &status(folder.path())["totals"];
    assert_eq!(
        (&totals["tests"], &totals["success"]),
        (&expected["tests"], &expected["success"])
    );
    assert_eq!(totals["repeated"], 0);
}

/// Lines for `record` with everything that a row may hold.
fn lines(from: usize, to: usize) -> String {
    let line = |at: usize| {
        let model = ["claude-opus-4.1", "模型 \"一\""][at % 2];
        let mut row = serde_json::json!({
            "test_id": format!("t{at}"), "model": model,
            "task_type": "api_integration", "prompt_type": "cot", "difficulty": "hard",
            "tool_success_rate": 0.8, "success": at.is_multiple_of(3), "partial_success": at % 3 == 1,
            "execution_time": at as f64 / 7.0, "turns": at % 9, "tool_calls": at % 5,
            "timestamp": format!("2026-01-31T12:{:02}:{:02}.25Z", at / 60 % 60, at % 60),
            "note": format!("line {at}"), "seed": at, "flags": {"deep": [1, 2]},
        });
        if at.is_multiple_of(4) {
            row["error_type"] = "timeout".into();
            row.as_object_mut().unwrap().remove("turns");
        }
        row.to_string() + "\n"
    };
    (from..to).map(line).collect()
}

fn run(arguments: &[&str], folder: &Path, input: String) {
    let output = evaltop()
        .args(arguments)
        .arg(folder)
        .write_stdin(input)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Four libraries read the files, and find the rows that `query` returns.
fn read_by_all(python: &Path, files: &[std::path::PathBuf], folder: &Path) -> usize {
    let rows = evaltop()
        .args(["query", "--format", "jsonl"])
        .arg(folder)
        .output()
        .unwrap();
    let mut readers = Command::new(python)
        .args(["-c", include_str!("legacy/readers.py")])
        .args(files)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut readers.stdin.take().unwrap(), &rows.stdout).unwrap();
    let output = readers.wait_with_output().unwrap();
    assert!(output.status.success(), "{files:?}");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn other_readers_find_every_row_that_we_wrote() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    run(&["record"], folder, lines(0, 300));
    let increments = || -> Vec<_> {
        let names = names(&folder.join("incremental")).into_iter();
        let names = names.filter(|(name, _)| name.starts_with("increment_"));
        names
            .map(|(name, _)| folder.join("incremental").join(name))
            .collect()
    };
    assert_eq!(read_by_all(&python, &increments(), folder), 300);
    run(&["consolidate"], folder, String::new());
    let main = folder.join("test_results.parquet");
    assert_eq!(
        read_by_all(&python, std::slice::from_ref(&main), folder),
        300
    );
    // Newer attempts at some of them, and a legacy increment with columns of its own.
    run(
        &["record"],
        folder,
        lines(250, 350).replace("2026-01-31", "2026-02-01"),
    );
    if make("grow", folder).is_some() {
        run(&["consolidate"], folder, String::new());
        assert_eq!(read_by_all(&python, &[main], folder), 350 + 1_200);
    }
    let exported = folder.join("exported.parquet");
    let output = evaltop()
        .args(["export", "--format", "parquet", "-o"])
        .arg(&exported)
        .arg(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(read_by_all(&python, &[exported], folder), 350 + 1_200);
}

/// A byte that changes inside a page leaves a value that looks like any other: only the
/// checksum that its writer added says.
#[test]
fn a_page_that_does_not_match_its_checksum_is_found() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("test_results.parquet");
    let script = "import sys, pyarrow as pa, pyarrow.parquet as pq\n\
        t = pa.table({'model': ['m'] * 100, 'success': [True] * 100, 'final_score': [0.5 + i for i in range(100)]})\n\
        pq.write_table(t, sys.argv[1], compression='none', use_dictionary=False, write_page_checksum=True)";
    assert!(
        Command::new(python)
            .args(["-c", script])
            .arg(&main)
            .status()
            .unwrap()
            .success()
    );
    evaltop()
        .arg("validate")
        .arg(folder.path())
        .assert()
        .success();
    let mut bytes = std::fs::read(&main).unwrap();
    let value = 57.5_f64.to_le_bytes();
    let at = bytes.windows(8).position(|window| window == value).unwrap();
    bytes[at] ^= 1;
    std::fs::write(&main, bytes).unwrap();
    let run = evaltop()
        .arg("validate")
        .arg(folder.path())
        .assert()
        .code(20);
    let reported = String::from_utf8_lossy(&run.get_output().stdout).into_owned();
    assert!(
        reported.contains("critical: test_results.parquet"),
        "{reported}"
    );
}

/// Parquet with two columns, as other code writes it.
fn table(path: &Path, columns: Vec<(&str, arrow::array::ArrayRef)>) {
    let batch = arrow::array::RecordBatch::try_from_iter(columns).unwrap();
    let file = fs::File::create(path).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn scores_and_rows_of_nobody_are_left_out_with_a_sentence() {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray};

    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let incremental = store.join("incremental");
    fs::create_dir_all(&incremental).unwrap();
    let text =
        |values: &[Option<&str>]| -> ArrayRef { Arc::new(StringArray::from(values.to_vec())) };
    let (m, ids) = (
        || text(&[Some("m"), Some("m")]),
        || text(&[Some("a"), Some("b")]),
    );
    let truths = || -> ArrayRef { Arc::new(BooleanArray::from(vec![true, false])) };
    let scores: ArrayRef = Arc::new(Float64Array::from(vec![0.73, 1.0]));
    let good = incremental.join("increment_7_20260131_120000.parquet");
    table(
        &good,
        vec![("model", m()), ("test_id", ids()), ("success", truths())],
    );
    for (name, columns, why) in [
        (
            "increment_8_20260131_120000.parquet",
            vec![("model", m()), ("test_id", ids()), ("success", scores)],
            "column 'success' holds 0.73, which is a score",
        ),
        (
            "increment_9_20260131_120000.parquet",
            vec![("test_id", ids()), ("success", truths())],
            "it has no column 'model'",
        ),
        (
            "increment_10_20260131_120000.parquet",
            vec![
                ("model", text(&[Some("m"), None])),
                ("test_id", ids()),
                ("success", truths()),
            ],
            "column 'model' is empty in some of its rows",
        ),
    ] {
        let path = incremental.join(name);
        table(&path, columns);
        // Old enough not to be taken for one that is being written.
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(old)
            .unwrap();
        let status = evaltop()
            .args(["status", "--format", "json"])
            .arg(&store)
            .output()
            .unwrap();
        let seen: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!(seen["totals"]["tests"], 2, "{seen:#}");
        let alerts = seen["alerts"].to_string();
        assert!(
            alerts.contains(why) && alerts.contains(name),
            "{why}: {alerts}"
        );
        let query = evaltop()
            .args(["query", "--format", "json"])
            .arg(&store)
            .output()
            .unwrap();
        let rows: serde_json::Value = serde_json::from_slice(&query.stdout).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), 2);
        let said = |args: &[&str], code: i32| {
            let run = evaltop()
                .args(args)
                .arg(&store)
                .arg("--yes")
                .assert()
                .code(code);
            let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
            assert!(
                said.contains("evaltop: left out: ") && said.contains(why),
                "{args:?}: {said}"
            );
        };
        said(&["query"], 0);
        said(&["query", "--group-by", "model", "--strict"], 10);
        let out = dir.path().join("out.csv");
        said(&["export", "-o", out.to_str().unwrap()], 0);
        said(&["export", "--strict", "-o", out.to_str().unwrap()], 10);
        for (command, more) in [
            ("cost", &[][..]),
            ("compare", &["a", "b", "--by", "test_id"]),
        ] {
            let run = evaltop()
                .args([command, "--format", "json"])
                .arg(&store)
                .args(more)
                .output()
                .unwrap();
            let found: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
            let left_out = found["left_out"].to_string();
            assert!(left_out.contains(why), "{command}: {found}");
        }
        let reported = evaltop().arg("consolidate").arg(&store).output().unwrap();
        let reported = String::from_utf8_lossy(&reported.stderr).into_owned()
            + &String::from_utf8_lossy(&reported.stdout);
        assert!(reported.contains(why), "{reported}");
        assert!(path.exists(), "it stays where it is");
        fs::remove_file(path).unwrap();
    }
}
