//! `import` and `export`: real files, round trips, and every way to get it wrong.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use evaltop::internals::jobs::{ExportFormat, ExportOptions, Request};
use evaltop::internals::sources::Options;
use evaltop::internals::store::read::query::Filter;
use evaltop::internals::store::{Control, Error, Store};
use proptest::prelude::*;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::query::tree;
use crate::support::{evaltop, python, real_data};

pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    pub(crate) fn run(&self, args: &[&str]) -> assert_cmd::assert::Assert {
        evaltop()
            .args(args)
            .current_dir(self.path())
            .env("TZ", "UTC")
            .assert()
    }

    /// The report of an import into `store`.
    pub(crate) fn import(&self, args: &[&str]) -> Value {
        let fixed = ["import", "--into", "store", "--format", "json"];
        let out = self.run(&[&fixed, args].concat()).success();
        let report: Value = serde_json::from_slice(&out.get_output().stdout).unwrap();
        assert_eq!(report["schema_version"], 1);
        report["files"][0].clone()
    }

    pub(crate) fn rows(&self, store: &str, args: &[&str]) -> Vec<Value> {
        let out = self
            .run(&[&["query", store, "--format", "json"], args].concat())
            .success();
        serde_json::from_slice(&out.get_output().stdout).unwrap()
    }

    /// Tests, full and partial successes of a store.
    pub(crate) fn totals(&self, store: &str) -> (u64, u64, u64) {
        let sum =
            |groups: &[Value], name: &str| groups.iter().map(|g| g[name].as_u64().unwrap()).sum();
        let groups = self.rows(store, &["--group-by", "model"]);
        (
            sum(&groups, "tests"),
            sum(&groups, "success"),
            sum(&groups, "partial"),
        )
    }

    /// What a refused command says; what is in the folder stays as it is.
    pub(crate) fn refusal(&self, code: i32, args: &[&str]) -> String {
        let before = tree(self.path());
        let out = self.run(args).code(code);
        assert_eq!(before, tree(self.path()), "{args:?} changed something");
        let error = String::from_utf8(out.get_output().stderr.clone()).unwrap();
        assert_eq!(error.trim_end().lines().count(), 1, "one sentence: {error}");
        error
    }
}

#[test]
fn livebench_agrees_with_duckdb() {
    let Some(file) = real_data("livebench.parquet") else {
        return;
    };
    let file = file.to_str().unwrap();
    let folder = Folder::new();
    let maps = [
        file,
        "--map",
        "model=model",
        "--map",
        "task_type=category",
        "--map",
        "task_id=question_id",
        "--map",
        "timestamp=tstamp",
        "--success-from",
        "score>=1",
    ];
    let report = folder.import(&maps);
    assert_eq!(
        (&report["rows"], &report["new"], &report["existing"]),
        (&json!(93_624), &json!(93_624), &json!(0))
    );
    assert_eq!(folder.totals("store"), (93_624, 28_362, 0));
    let models = folder.rows("store", &["--group-by", "model"]);
    assert_eq!(models.len(), 93);
    let o1 = models
        .iter()
        .find(|m| m["model"] == "o1-preview-2024-09-12")
        .unwrap();
    assert_eq!((&o1["tests"], &o1["success"]), (&json!(1_000), &json!(604)));

    let before = tree(&folder.path().join("store"));
    let again = folder.import(&maps);
    assert_eq!(
        (&again["new"], &again["existing"]),
        (&json!(0), &json!(93_624))
    );
    assert_eq!(again["increment"], Value::Null);
    assert_eq!(
        before,
        tree(&folder.path().join("store")),
        "nothing is added"
    );

    let Some(python) = python() else { return };
    let script = "import sys, duckdb\n\
        q = f\"select model, count(*), sum((score>=1)::int) from '{sys.argv[1]}' group by 1 order by 1\"\n\
        for row in duckdb.sql(q).fetchall(): print(*row, sep='\\t')";
    let out = Command::new(python)
        .args(["-c", script, file])
        .output()
        .unwrap();
    let mut ours: Vec<_> = models
        .iter()
        .map(|m| {
            format!(
                "{}\t{}\t{}",
                m["model"].as_str().unwrap(),
                m["tests"],
                m["success"]
            )
        })
        .collect();
    ours.sort();
    assert_eq!(
        ours,
        String::from_utf8(out.stdout)
            .unwrap()
            .lines()
            .collect::<Vec<_>>()
    );
}

#[test]
fn livebench_by_question_counts_the_newest_attempt() {
    let Some(file) = real_data("livebench.parquet") else {
        return;
    };
    let folder = Folder::new();
    let maps = [
        file.to_str().unwrap(),
        "--map",
        "task_type=category",
        "--map",
        "task_id=question_id",
        "--map",
        "test_id=question_id",
        "--map",
        "timestamp=tstamp",
        "--success-from",
        "score>=1",
    ];
    assert_eq!(folder.import(&maps)["rows"], 93_624);
    assert_eq!(folder.totals("store"), (93_034, 28_212, 0));
    let again = folder.import(&maps);
    assert_eq!(
        (&again["new"], &again["existing"]),
        (&json!(0), &json!(93_624)),
        "older attempts stay out too"
    );
}

#[test]
fn tau_bench_lines() {
    let Some(file) = real_data("tau_bench_gpt4o_airline.jsonl") else {
        return;
    };
    let folder = Folder::new();
    let report = folder.import(&[file.to_str().unwrap(), "--success-from", "reward>=1"]);
    assert_eq!(report["taken_for"], "JSON lines");
    assert_eq!(folder.totals("store"), (200, 84, 0));
    // Naive standard error 0.0349, clustered by task 0.0522: Wilson at 89 tests, not 200.
    let interval = |by: &str, more: &[&str]| {
        let group = folder
            .rows("store", &[&["--group-by", by], more].concat())
            .remove(0);
        [&group["ci_low"], &group["ci_high"]]
            .map(|end| (end.as_f64().unwrap() * 1e3).round() as u64)
    };
    assert_eq!(interval("model", &[]), [323, 524]);
    folder.run(&["consolidate", "store"]).success();
    assert_eq!(interval("model", &[]), [323, 524]);
    assert_eq!(interval("difficulty", &[]), [323, 524], "all of one model");
    let row = &folder.rows("store", &["--limit", "1"])[0];
    assert!(row["task_id"].is_string(), "a number becomes an id: {row}");
    assert!(
        row["timestamp"].is_null(),
        "a missing time stays missing: {row}"
    );
    assert_eq!(row["domain"], "airline");
    assert!(row.get("trial").is_some_and(Value::is_number));
}

#[test]
fn csv_with_quotes_and_lines() {
    let folder = Folder::new();
    folder.write(
        "r.csv",
        "\u{feff}model,prompt,passed,half,when,seed\n\
         \"a, \"\"b\"\"\",\"one\ntwo\",True,False,1725259444,007\n\
         c,,false,True,2024-09-02T06:44:04Z,12\n\
         c,,False,,,3\n",
    );
    let report = folder.import(&[
        "r.csv",
        "--success-from",
        "passed",
        "--partial-from",
        "half",
        "--map",
        "timestamp=when",
    ]);
    assert_eq!(report["taken_for"], "CSV");
    assert_eq!(folder.totals("store"), (3, 1, 1));
    let rows = folder.rows("store", &["--model", "a, \"b\""]);
    assert_eq!(rows[0]["prompt"], "one\ntwo");
    assert_eq!(
        rows[0]["seed"], "007",
        "a name with figures is not a number"
    );
    assert_eq!(rows[0]["timestamp"], "2024-09-02T06:44:04Z");
    assert_eq!(rows[0]["passed"], true);
    assert_eq!(rows[0]["test_id"].as_str().unwrap().len(), 32);
}

#[test]
fn real_csv() {
    let Some(file) = real_data("routellm_mmlu_anatomy.csv") else {
        return;
    };
    let folder = Folder::new();
    let report = folder.import(&[
        file.to_str().unwrap(),
        "--map",
        "model=prompt",
        "--success-from",
        "gpt-4-1106-preview",
    ]);
    assert_eq!(
        (&report["rows"], &report["success"]),
        (&json!(135), &json!(110))
    );
}

#[test]
fn equal_rows_of_a_file_are_tests_of_their_own() {
    let folder = Folder::new();
    folder.write("r.jsonl", "{\"model\":\"m\",\"success\":true}\n\n{\"success\":true,\"model\":\"m\"}\n{\"model\":\"m\",\"success\":false}\n");
    folder.import(&["r.jsonl"]);
    assert_eq!(folder.totals("store"), (3, 2, 0));
    assert_eq!(folder.import(&["r.jsonl"])["new"], 0);
}

#[test]
fn a_grown_file_adds_what_is_new() {
    let folder = Folder::new();
    folder.write("r.jsonl", "{\"model\":\"m\",\"success\":1,\"note\":NaN}\n");
    folder.import(&["r.jsonl"]);
    folder.write(
        "r.jsonl",
        "{\"model\":\"m\",\"success\":1,\"note\":NaN}\n{\"model\":\"m\",\"success\":0}\n",
    );
    let report = folder.import(&["r.jsonl"]);
    assert_eq!(
        (&report["new"], &report["existing"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(folder.totals("store"), (2, 1, 0));
}

#[test]
fn a_dry_run_changes_nothing() {
    let folder = Folder::new();
    folder.write("r.csv", "model,success\nm,1\n");
    let out = folder
        .run(&["import", "r.csv", "--into", "store", "--dry-run"])
        .success();
    let text = String::from_utf8(out.get_output().stdout.clone()).unwrap();
    assert!(
        text.contains("would import 1 row, 1 new, 0 already there"),
        "{text}"
    );
    assert!(text.contains("taken for CSV"), "{text}");
    assert!(!folder.path().join("store").exists());
}

#[test]
fn wrong_imports_get_one_sentence_and_leave_nothing() {
    let folder = Folder::new();
    folder.write("a.csv", "model,score\nm,1\nm,high\n");
    folder.write("short.csv", "model,score\nm,1\nm\n");
    folder.write(
        "bad.jsonl",
        "{\"model\":\"m\",\"success\":true}\n{\"model\":\n",
    );
    folder.write(
        "nomodel.jsonl",
        "{\"model\":\"m\",\"success\":true}\n{\"model\":null,\"success\":true}\n",
    );
    folder.write("two.jsonl", "{\"model\":\"m\",\"success\":2}\n");
    folder.write(
        "when.jsonl",
        "{\"model\":\"m\",\"success\":true,\"timestamp\":\"soon\"}\n",
    );
    folder.write("array.json", "[{\"model\":\"m\"}]");
    folder.write("database.json", "{\n  \"version\": \"3.0\"\n}\n");
    folder.write("empty.csv", "");
    folder.write("torn.parquet", "PAR1 and then nothing");
    let with_score = &["--success-from", "score>=1"][..];
    for (code, file, args, said) in [
        (1, "a.csv", &[][..], "does not say which rows are successes"),
        (
            1,
            "a.csv",
            with_score,
            "a.csv, line 3: column 'score': 'high' is not a number; nothing was imported",
        ),
        (
            1,
            "a.csv",
            &["--success-from", "points>1"],
            "has no column 'points'",
        ),
        (
            1,
            "a.csv",
            &["--success-from", "score>0", "--map", "task_id=q"],
            "has no column 'q', it has model, score",
        ),
        (
            2,
            "a.csv",
            &["--success-from", "score>"],
            "is not a condition",
        ),
        (
            2,
            "a.csv",
            &["--map", "modle=model"],
            "a record has no column 'modle'",
        ),
        (
            1,
            "short.csv",
            with_score,
            "short.csv, line 3: 1 fields, but the header has 2",
        ),
        (1, "bad.jsonl", &[], "bad.jsonl, line 2: not JSON"),
        (
            1,
            "nomodel.jsonl",
            &[],
            "nomodel.jsonl, line 2: column 'model': empty",
        ),
        (
            1,
            "two.jsonl",
            &[],
            "line 1: column 'success': '2' is neither true nor false",
        ),
        (
            1,
            "when.jsonl",
            &[],
            "line 1: column 'timestamp': 'soon' is not a time",
        ),
        (
            1,
            "array.json",
            &[],
            "does not say which rows are successes",
        ),
        (1, "database.json", &[], "without a list of objects"),
        (1, "empty.csv", &[], "is empty"),
        (1, "torn.parquet", &[], "torn.parquet"),
        (1, "missing.csv", &[], "cannot read missing.csv"),
    ] {
        let error = folder.refusal(code, &[&["import", file, "--into", "store"], args].concat());
        assert!(error.contains(said), "{file} {args:?}: {error}");
    }
    assert!(
        !folder.path().join("store").exists(),
        "not even the store is made"
    );
}

#[test]
fn each_file_stands_for_itself() {
    let folder = Folder::new();
    folder.write("good.jsonl", "{\"model\":\"m\",\"success\":true}\n");
    folder.write(
        "bad.jsonl",
        "{\"model\":\"m\",\"success\":true}\nnonsense\n",
    );
    let out = folder
        .run(&["import", "bad.jsonl", "good.jsonl", "--into", "store"])
        .code(1);
    assert!(String::from_utf8_lossy(&out.get_output().stderr).contains("bad.jsonl, line 2"));
    assert_eq!(folder.totals("store"), (1, 1, 0));
}

#[test]
fn a_column_of_another_type_is_refused() {
    let folder = Folder::new();
    folder.write("a.jsonl", "{\"model\":\"m\",\"success\":true,\"seed\":1}\n");
    folder.write(
        "b.jsonl",
        "{\"model\":\"m\",\"success\":true,\"seed\":\"x\"}\n",
    );
    folder.import(&["a.jsonl"]);
    let error = folder.refusal(1, &["import", "b.jsonl", "--into", "store"]);
    assert!(error.contains("column 'seed' is text"), "{error}");
}

/// A store with records of two models.
fn sample() -> Folder {
    let folder = Folder::new();
    let lines: Vec<_> = (0..40)
        .map(|i| {
            json!({
                "model": if i % 2 == 0 { "a" } else { "b c" }, "prompt_type": "cot", "difficulty": "easy",
                "task_type": if i < 20 { "x" } else { "y" }, "tool_success_rate": 0.8, "success": i % 3 == 0,
                "partial_success": i % 3 == 1, "execution_time": i, "workflow_score": 0.5,
                "timestamp": format!("2026-01-01T00:00:{i:02}Z"), "test_id": format!("t{i}"),
                "error_type": if i % 3 == 2 { json!("timeout") } else { Value::Null }, "note": "ä\n\"",
            })
            .to_string()
        })
        .collect();
    folder.write("r.jsonl", &lines.join("\n"));
    folder.import(&["r.jsonl"]);
    folder
}

#[test]
fn rows_go_out_and_come_back() {
    let folder = sample();
    let original = folder.rows("store", &[]);
    for name in ["out.jsonl", "out.csv", "out.parquet"] {
        let out = folder.run(&["export", "store", "-o", name]).success();
        let said = String::from_utf8(out.get_output().stdout.clone()).unwrap();
        assert!(said.contains("exported 40 rows"), "{said}");
        let back = format!("back-{name}");
        folder.run(&["import", name, "--into", &back]).success();
        let sorted = |mut rows: Vec<Value>| {
            rows.sort_by_key(|row| row["test_id"].as_str().unwrap().to_owned());
            rows
        };
        let pairs = sorted(folder.rows(&back, &[]))
            .into_iter()
            .zip(sorted(original.clone()));
        for (returned, original) in pairs {
            assert_eq!(returned, original, "{name}");
        }
        let again = folder.import(&[name]);
        assert_eq!(
            (&again["new"], &again["existing"]),
            (&json!(0), &json!(40)),
            "{name}: the same rows"
        );
    }
}

#[test]
fn the_tree_agrees_with_the_rows() {
    let folder = sample();
    folder.run(&["export", "store", "-o", "db.json"]).success();
    let tree: Value =
        serde_json::from_slice(&fs::read(folder.path().join("db.json")).unwrap()).unwrap();
    assert_eq!(tree["summary"]["total_tests"], 40);
    let b = &tree["models"]["b c"];
    assert_eq!(b["total_tests"], 20);
    let leaf = &b["by_prompt_type"]["cot"]["by_tool_success_rate"]["0.8"]["by_difficulty"]["easy"]
        ["by_task_type"]["x"];
    let group = &folder.rows(
        "store",
        &[
            "--group-by",
            "model,task_type",
            "--model",
            "b c",
            "--task-type",
            "x",
        ],
    )[0];
    for (ours, theirs) in [
        ("total", "tests"),
        ("success", "success"),
        ("partial", "partial"),
        ("failed", "failed"),
    ] {
        assert_eq!(leaf[ours], group[theirs], "{ours}");
    }
    assert_eq!(leaf["timeout_errors"], leaf["failed"]);
    assert_eq!(leaf["avg_workflow_score"], 0.5);

    folder
        .run(&["export", "store", "-o", "a.json", "--model", "a"])
        .success();
    let tree: Value =
        serde_json::from_slice(&fs::read(folder.path().join("a.json")).unwrap()).unwrap();
    assert_eq!(tree["models"].as_object().unwrap().len(), 1);
}

#[test]
fn an_export_never_replaces_unasked() {
    let folder = sample();
    folder.write("out.csv", "mine");
    let error = folder.refusal(2, &["export", "store", "-o", "out.csv"]);
    assert!(error.contains("--yes"), "{error}");
    folder
        .run(&["export", "store", "-o", "out.csv", "--yes", "--model", "a"])
        .success();
    assert_eq!(
        fs::read_to_string(folder.path().join("out.csv"))
            .unwrap()
            .matches("cot")
            .count(),
        20
    );
    let before = tree(folder.path());
    let out = folder
        .run(&[
            "export",
            "store",
            "-o",
            "dry.csv",
            "--dry-run",
            "--report",
            "json",
        ])
        .success();
    let plan: Value = serde_json::from_slice(&out.get_output().stdout).unwrap();
    assert_eq!(
        (&plan["rows"], &plan["replaces"], &plan["format"]),
        (&json!(40), &json!(false), &json!("csv"))
    );
    assert!(plan["bytes_estimate"].as_u64().unwrap() > 1_000);
    assert_eq!(before, tree(folder.path()));
}

#[test]
fn wrong_exports_get_one_sentence() {
    let folder = sample();
    for (code, args, said) in [
        (
            1,
            &["store", "-o", "store/incremental/x.csv"][..],
            "store's own",
        ),
        (
            1,
            &["store", "-o", "store/test_results.parquet"],
            "store's own",
        ),
        (1, &["store", "-o", "no/folder.csv"], "there is no folder"),
        (1, &["nowhere", "-o", "x.csv"], "no store at"),
        (
            2,
            &["store", "-o", "x.txt"],
            "give --format json, jsonl, csv, parquet, delta or eee",
        ),
        (
            2,
            &["store", "-o", "x.csv", "--format", "xml"],
            "is not json, jsonl, csv, parquet, delta or eee",
        ),
        (
            2,
            &["store", "-o", "x.csv", "--since", "never"],
            "neither a time",
        ),
    ] {
        let error = folder.refusal(code, &[&["export"], args].concat());
        assert!(error.contains(said), "{args:?}: {error}");
    }
}

/// A control that is cancelled at its first report of progress.
fn cancelled_on_the_way() -> Control {
    let own: Arc<OnceLock<Control>> = Arc::default();
    let later = Arc::clone(&own);
    let control = Control::new(move |_| later.get().into_iter().for_each(Control::cancel));
    own.set(control.clone()).unwrap();
    control
}

#[test]
fn a_cancelled_export_leaves_no_file() {
    let folder = sample();
    let store = Store::new(folder.path().join("store"));
    for format in [
        ExportFormat::Json,
        ExportFormat::Jsonl,
        ExportFormat::Csv,
        ExportFormat::Parquet,
    ] {
        let options = ExportOptions {
            format,
            output: folder.path().join("out"),
            filter: Filter::default(),
            overwrite: false,
            strict: false,
        };
        let request = Request::Export(options);
        let plan = evaltop::internals::jobs::plan(&store, &request, &Control::default()).unwrap();
        let before = tree(folder.path());
        let error =
            evaltop::internals::jobs::run(&store, &plan, &cancelled_on_the_way()).unwrap_err();
        assert!(matches!(error, Error::Cancelled), "{format:?}: {error}");
        assert_eq!(before, tree(folder.path()), "{format:?}");
        evaltop::internals::jobs::run(&store, &plan, &Control::default()).unwrap();
        fs::remove_file(folder.path().join("out")).unwrap();
    }
}

#[test]
fn a_cancelled_import_leaves_the_store_as_it_was() {
    let folder = sample();
    // Of several batches: the first progress comes before the last row.
    let lines: Vec<_> = (0..20_000)
        .map(|i| json!({"model": "m", "success": true, "n": i}).to_string())
        .collect();
    folder.write("many.jsonl", &lines.join("\n"));
    let store = Store::new(folder.path().join("store"));
    let before = tree(folder.path());
    let import = |control: &Control| {
        let file = folder.path().join("many.jsonl");
        evaltop::internals::sources::import(
            &store,
            &file,
            &Options::default(),
            jiff::Timestamp::now(),
            control,
        )
    };
    let error = import(&cancelled_on_the_way()).unwrap_err();
    assert!(matches!(error, Error::Cancelled), "{error}");
    assert_eq!(before, tree(folder.path()));
    assert_eq!(import(&Control::default()).unwrap().new, 20_000);
}

#[test]
fn a_file_that_turns_bad_late_leaves_nothing() {
    let folder = Folder::new();
    // More than a window: the increment is being written when the bad line comes.
    let rows = "m,1\n".repeat(300_000);
    folder.write("late.csv", &format!("model,success\n{rows}m,maybe\n"));
    let out = folder
        .run(&["import", "late.csv", "--into", "store"])
        .code(1);
    assert!(
        String::from_utf8_lossy(&out.get_output().stderr).contains("line 300002"),
        "{out:?}"
    );
    assert!(
        tree(&folder.path().join("store")).is_empty(),
        "no row, and no temporary file"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tallies_survive_csv_and_json_lines(rows in proptest::collection::vec(
        (any::<bool>(), any::<bool>(), "[a-c\"',\n ]{1,4}x", proptest::option::of("\\PC{0,6}"),
         proptest::option::of(0.0..1.0_f64), proptest::option::of(-5_i64..500)), 1..30)) {
        let folder = Folder::new();
        let lines: Vec<_> = rows.iter().enumerate().map(|(i, (full, partial, model, task, time, turns))| {
            json!({
                "test_id": format!("t{i}"), "model": model, "success": full, "partial_success": partial,
                "task_type": task, "execution_time": time, "turns": turns,
            }).to_string()
        }).collect();
        folder.write("r.jsonl", &lines.join("\n"));
        folder.import(&["r.jsonl"]);
        let groups = folder.rows("store", &["--group-by", "model,task_type"]);
        prop_assert_eq!(folder.totals("store").0, rows.len() as u64);
        for name in ["out.csv", "out.jsonl"] {
            folder.run(&["export", "store", "-o", name]).success();
            folder.run(&["import", name, "--into", &format!("back-{name}")]).success();
            prop_assert_eq!(&groups, &folder.rows(&format!("back-{name}"), &["--group-by", "model,task_type"]));
        }
    }
}
