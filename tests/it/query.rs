//! `query`: filters, groups, forms, files and every way to get it wrong.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{evaltop, python};

/// A folder with a store of eight records in it.
struct Fixture(TempDir);

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let recent = jiff::Timestamp::now() - jiff::SignedDuration::from_mins(10);
        let row = |id: u32,
                   model: &str,
                   prompt: &str,
                   rate: f64,
                   difficulty: &str,
                   task: &str,
                   full: bool| {
            json!({
                "test_id": format!("t{id}"), "model": model, "prompt_type": prompt, "tool_success_rate": rate,
                "difficulty": difficulty, "task_type": task, "success": full, "turns": id,
                "execution_time": f64::from(id) * 1.5, "timestamp": format!("2026-01-{:02}T00:00:00Z", id + 1),
            })
        };
        let mut rows = [
            row(1, "model a", "cot", 0.8, "easy", "simple", true),
            row(2, "model a", "cot", 0.8, "hard", "simple", false),
            row(3, "model a", "baseline", 0.6, "easy", "pipeline", true),
            row(4, "model a", "baseline", 0.8, "easy", "pipeline", true),
            row(5, "模型, \"b\"", "cot", 0.8, "easy", "simple", true),
            row(6, "模型, \"b\"", "cot", 0.6, "hard", "simple", false),
            row(7, "模型, \"b\"", "baseline", 0.8, "hard", "pipeline", false),
            row(
                8,
                "evil\u{1b}[31m\nname",
                "baseline",
                0.8,
                "easy",
                "simple",
                false,
            ),
        ];
        rows[1]["partial_success"] = json!(true);
        rows[6]["timestamp"] = json!(recent.to_string());
        rows[7]["error_message"] = json!("two\nlines");
        rows[7].as_object_mut().unwrap().remove("execution_time");
        let lines: Vec<_> = rows.iter().map(Value::to_string).collect();
        fs::write(folder.path().join("rows.jsonl"), lines.join("\n")).unwrap();
        let fixture = Self(folder);
        evaltop()
            .args(["import", "rows.jsonl", "--into", "store"])
            .current_dir(fixture.path())
            .assert()
            .success();
        fixture
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn query(&self, args: &[&str]) -> assert_cmd::assert::Assert {
        evaltop()
            .args(["query", "store"])
            .args(args)
            .current_dir(self.path())
            .env("TZ", "UTC")
            .assert()
    }

    fn output(&self, args: &[&str]) -> String {
        String::from_utf8(self.query(args).success().get_output().stdout.clone()).unwrap()
    }

    /// Ids of the matching rows, sorted.
    fn ids(&self, args: &[&str]) -> Vec<String> {
        let lines = self.output(&[args, &["--format", "jsonl", "--columns", "test_id"]].concat());
        let ids: BTreeSet<String> = lines
            .lines()
            .map(|l| {
                serde_json::from_str::<Value>(l).unwrap()["test_id"]
                    .as_str()
                    .unwrap()
                    .into()
            })
            .collect();
        ids.into_iter().collect()
    }

    fn refuses(&self, code: i32, args: &[&str], said: &str) {
        let before = tree(&self.path().join("store"));
        let assert = self.query(args).code(code);
        let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
        assert!(error.contains(said), "{args:?}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "one sentence: {error}");
        assert!(assert.get_output().stdout.is_empty(), "{args:?}");
        assert_eq!(
            before,
            tree(&self.path().join("store")),
            "the store is unchanged"
        );
    }
}

/// Every file below a folder with its size and time.
pub(crate) fn tree(folder: &Path) -> BTreeSet<(PathBuf, u64, std::time::SystemTime)> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        if meta.is_dir() {
            found.extend(tree(&entry.path()));
        } else {
            found.insert((entry.path(), meta.len(), meta.modified().unwrap()));
        }
    }
    found
}

#[test]
fn filters_are_alternatives_within_and_conditions_between_columns() {
    let store = Fixture::new();
    for (args, expected) in [
        (&[][..], "t1 t2 t3 t4 t5 t6 t7 t8"),
        (&["--model", "model a"], "t1 t2 t3 t4"),
        (
            &["--model", "model a", "--model", "模型, \"b\""],
            "t1 t2 t3 t4 t5 t6 t7",
        ),
        (&["--prompt-type", "cot", "--difficulty", "hard"], "t2 t6"),
        (&["--tool-success-rate", "0.6"], "t3 t6"),
        (
            &["--tool-success-rate", "0.800000011920929"],
            "t1 t2 t4 t5 t7 t8",
        ),
        (&["--task-type", "pipeline"], "t3 t4 t7"),
        (
            &["--since", "2026-01-04", "--until", "2026-01-06T00:00:00Z"],
            "t3 t4",
        ),
        (&["--since", "1h"], "t7"),
        (&["--until", "1h"], "t1 t2 t3 t4 t5 t6 t8"),
        (&["--model", "nobody"], ""),
    ] {
        let expected: Vec<_> = expected.split_whitespace().collect();
        assert_eq!(store.ids(args), expected, "{args:?}");
    }
}

#[test]
fn a_time_that_names_no_zone_is_said_in_full() {
    let store = Fixture::new();
    let said = |since: &str| {
        let ran = store.query(&["--since", since]).success();
        String::from_utf8(ran.get_output().stderr.clone()).unwrap()
    };
    assert!(said("2026-01-04").contains("--since 2026-01-04 is 2026-01-04 00:00:00"));
    for exact in ["2026-01-04T00:00:00Z", "2026-01-04 00:00:00+05:00", "1h"] {
        assert_eq!(said(exact), "", "{exact}");
    }
}

#[test]
fn every_form_has_the_same_rows() {
    let store = Fixture::new();
    let array: Vec<Value> = serde_json::from_str(&store.output(&["--format", "json"])).unwrap();
    let lines = store.output(&["--format", "jsonl"]);
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(array, lines);
    assert_eq!(array.len(), 8);
    let eighth = array.iter().find(|row| row["test_id"] == "t8").unwrap();
    assert_eq!(eighth["timestamp"], "2026-01-09T00:00:00Z");
    assert!(eighth["execution_time"].is_null());
    assert_eq!(eighth["model"], "evil\u{1b}[31m\nname");

    let text = store.output(&["--format", "csv"]);
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    let header = csv.headers().unwrap().clone();
    let rows: Vec<_> = csv.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 8);
    for (row, object) in rows.iter().zip(&array) {
        for (name, field) in header.iter().zip(row) {
            match &object[name] {
                Value::Null => assert_eq!(field, ""),
                Value::String(text) => assert_eq!(field, text),
                Value::Number(number) => assert_eq!(field.parse::<f64>().ok(), number.as_f64()),
                other => assert_eq!(field, other.to_string()),
            }
        }
    }

    let table = store.output(&[]);
    assert_eq!(
        table.lines().count(),
        9,
        "a header and a line a row:\n{table}"
    );
    assert!(
        !table.contains('\u{1b}'),
        "control characters never reach the terminal"
    );
}

#[test]
fn other_readers_read_the_parquet_that_query_writes() {
    let store = Fixture::new();
    store.query(&["-o", "out.parquet"]).success();
    let Some(python) = python() else { return };
    let script = "import sys, pandas, polars, duckdb, pyarrow.parquet as pq\n\
        p = sys.argv[1]\n\
        n = duckdb.sql(f\"select count(*), sum(success::int) from '{p}'\").fetchall()[0]\n\
        print(len(pandas.read_parquet(p)), len(polars.read_parquet(p)), pq.read_table(p).num_rows, *n)";
    let out = Command::new(python)
        .args(["-c", script, "out.parquet"])
        .current_dir(store.path())
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&out.stdout).trim(),
        "8 8 8 8 4",
        "{out:?}"
    );
}

#[test]
fn columns_and_limit() {
    let store = Fixture::new();
    let text = store.output(&[
        "--columns",
        "model,turns",
        "--format",
        "csv",
        "--limit",
        "3",
    ]);
    assert!(text.starts_with("model,turns\n"), "{text}");
    assert_eq!(text.lines().count(), 4);
    assert_eq!(
        store.output(&["--format", "json", "--limit", "0"]).trim(),
        "[]"
    );
    assert_eq!(
        store
            .output(&["--model", "nobody", "--format", "json"])
            .trim(),
        "[]"
    );
    assert_eq!(
        store.output(&["--model", "nobody", "--columns", "model", "--format", "csv"]),
        "model\n"
    );
}

#[test]
fn groups_have_the_promised_figures() {
    let store = Fixture::new();
    let groups: Vec<Value> =
        serde_json::from_str(&store.output(&["--group-by", "model", "--format", "json"])).unwrap();
    assert_eq!(groups.len(), 3);
    let a = groups
        .iter()
        .find(|group| group["model"] == "model a")
        .unwrap();
    let keys: Vec<_> = a.as_object().unwrap().keys().cloned().collect();
    assert_eq!(
        keys,
        [
            "model",
            "tests",
            "success",
            "partial",
            "failed",
            "unscored",
            "success_rate",
            "ci_low",
            "ci_high",
            "mean_execution_time",
            "mean_turns",
            "mean_tool_calls",
            "mean_tool_coverage_rate",
        ]
    );
    assert_eq!(
        (&a["tests"], &a["success"], &a["partial"], &a["failed"]),
        (&json!(4), &json!(3), &json!(1), &json!(0))
    );
    assert_eq!(a["success_rate"], 0.75);
    assert!(
        (a["ci_low"].as_f64().unwrap() - 0.300_642).abs() < 1e-5,
        "Wilson, 3 of 4: {a}"
    );
    assert!(
        (a["ci_high"].as_f64().unwrap() - 0.954_412).abs() < 1e-5,
        "{a}"
    );
    assert_eq!(a["mean_turns"], 2.5);
    assert_eq!(a["mean_execution_time"], 3.75);
    assert!(a["mean_tool_calls"].is_null());

    let two = store.output(&[
        "--group-by",
        "prompt_type,tool_success_rate",
        "--format",
        "csv",
        "--columns",
        "prompt_type,tool_success_rate,tests",
    ]);
    let mut lines: Vec<_> = two.lines().collect();
    assert_eq!(lines.remove(0), "prompt_type,tool_success_rate,tests");
    lines.sort_unstable();
    assert_eq!(
        lines,
        ["baseline,0.6,1", "baseline,0.8,3", "cot,0.6,1", "cot,0.8,3"]
    );

    let filtered = store.output(&[
        "--group-by",
        "model",
        "--difficulty",
        "hard",
        "--format",
        "jsonl",
    ]);
    let tests: u64 = filtered
        .lines()
        .map(|line| {
            serde_json::from_str::<Value>(line).unwrap()["tests"]
                .as_u64()
                .unwrap()
        })
        .sum();
    assert_eq!(tests, 3);
    let table = store.output(&["--group-by", "model"]);
    assert!(table.contains("75.0%"), "per cent on screen:\n{table}");
    assert!(!table.contains('\u{1b}'));
}

#[test]
fn wrong_questions_get_one_sentence() {
    let store = Fixture::new();
    for (code, args, said) in [
        (
            1,
            &["--group-by", "modle"][..],
            "no column 'modle' (did you mean 'model'?)",
        ),
        (1, &["--columns", "modle"], "test_id, model"),
        (
            1,
            &["--group-by", "model", "--columns", "turns"],
            "mean_turns",
        ),
        (2, &["--since", "yesterday"], "neither a time"),
        (2, &["--since", "1h", "--until", "2h"], "no row can match"),
        (2, &["--tool-success-rate", "80"], "between 0 and 1"),
        (
            2,
            &["--group-by", "model", "--summaries"],
            "leave out --summaries",
        ),
    ] {
        store.refuses(code, args, said);
    }
    let nowhere = evaltop()
        .args(["query", "nowhere"])
        .current_dir(store.path())
        .assert()
        .code(1);
    assert!(String::from_utf8_lossy(&nowhere.get_output().stderr).contains("no store at"));
    assert!(
        !store.path().join("nowhere").exists(),
        "query makes nothing"
    );
}

#[test]
fn files_appear_whole_and_replace_nothing_unasked() {
    let store = Fixture::new();
    store.query(&["-o", "out.csv"]).success().stdout("");
    let whole = fs::read_to_string(store.path().join("out.csv")).unwrap();
    assert_eq!(
        whole,
        store.output(&["--format", "csv"]),
        "the name says the form"
    );
    store.refuses(1, &["-o", "out.csv", "--model", "model a"], "already there");
    assert_eq!(
        fs::read_to_string(store.path().join("out.csv")).unwrap(),
        whole
    );
    store
        .query(&["-o", "out.csv", "--model", "model a", "--yes"])
        .success();
    assert!(
        fs::read_to_string(store.path().join("out.csv"))
            .unwrap()
            .len()
            < whole.len()
    );

    for own in [
        "store/incremental/x.csv",
        "store/test_results.parquet",
        "store/metadata.json",
    ] {
        store.refuses(1, &["-o", own], "store's own");
    }
    store.refuses(1, &["-o", "no/folder/x.csv"], "there is no folder");
    store.refuses(1, &["-o", "store"], "is a folder");
    store.refuses(1, &["-o", "wrong.csv", "--columns", "modle"], "modle");
    let left: Vec<_> = fs::read_dir(store.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 3, "no temporary file is left: {left:?}");
}

#[test]
fn a_closed_pipe_is_quiet() {
    let store = Fixture::new();
    // More than a pipe holds, so that the writer meets the closed end.
    let row = |i: usize| json!({"model": "m", "success": true, "test_id": i.to_string(), "error_message": "x".repeat(100)});
    let lines: Vec<_> = (0..5_000).map(|i| row(i).to_string()).collect();
    fs::write(store.path().join("many.jsonl"), lines.join("\n")).unwrap();
    evaltop()
        .args(["import", "many.jsonl", "--into", "store"])
        .current_dir(store.path())
        .assert()
        .success();
    for format in ["table", "json", "jsonl", "csv", "parquet"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_evaltop"))
            .args(["query", "store", "--format", format])
            .current_dir(store.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let out = child.wait_with_output().unwrap();
        assert_eq!(out.status.code(), Some(0), "{format}: {out:?}");
        assert!(out.stderr.is_empty(), "{format}: {out:?}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_no_success() {
    let store = Fixture::new();
    store.refuses(1, &["--format", "csv", "-o", "/dev/full"], "cannot write");
}

#[test]
fn duckdb_finds_the_same_rows() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/query/same.py");
    let out = Command::new(python)
        .args([script, env!("CARGO_BIN_EXE_evaltop")])
        .arg(folder.path())
        .env("TZ", "UTC")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8_lossy(&out.stdout).trim(),
        "the same",
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}

#[test]
fn a_terminal_that_does_not_say_its_width_has_eighty_columns() {
    let fixture = Fixture::new();
    let unsaid = PtySize {
        rows: 0,
        cols: 0,
        pixel_width: 0,
        pixel_height: 0,
    };
    let pty = native_pty_system().openpty(unsaid).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_evaltop"));
    command.args(["query", "store", "--columns", "test_id,model,success"]);
    command.cwd(fixture.path());
    let mut child = pty.slave.spawn_command(command).unwrap();
    drop(pty.slave);
    let mut said = Vec::new();
    // The end of a terminal is an error on Linux.
    let _ = pty
        .master
        .try_clone_reader()
        .unwrap()
        .read_to_end(&mut said);
    assert!(child.wait().unwrap().success());
    let said = String::from_utf8(said).unwrap();
    assert!(
        said.contains("test_id") && said.contains("model a"),
        "{said}"
    );
}
