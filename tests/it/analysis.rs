//! `compare`, `merge`, and `query` sorted, with percentiles, as Markdown and as a plot.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{evaltop, real_data};

/// A store of 40 tests a model: "good" passes 32, "weak" 12, "new" had only five, all passed.
fn store() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    for (model, tests, passes) in [("good", 40, 32), ("weak", 40, 12), ("new|er", 5, 5)] {
        for test in 0..tests {
            let row = json!({
                "test_id": format!("t{test}"), "model": model, "success": test < passes,
                "execution_time": f64::from(test + 1), "turns": test % 7,
                "timestamp": format!("2026-01-01T00:00:{test:02}Z"),
            });
            lines.push(row.to_string());
        }
    }
    fs::write(folder.path().join("rows.jsonl"), lines.join("\n")).unwrap();
    output(folder.path(), &["import", "rows.jsonl", "--into", "store"]);
    folder
}

fn output(dir: &Path, args: &[&str]) -> String {
    let assert = evaltop().args(args).current_dir(dir).assert().success();
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

fn refuses(dir: &Path, args: &[&str], code: i32, said: &str) {
    let assert = evaltop().args(args).current_dir(dir).assert().code(code);
    let error = String::from_utf8(assert.get_output().stderr.clone()).unwrap();
    assert!(
        error.contains(said) && error.trim_end().lines().count() == 1,
        "{args:?}: {error}"
    );
}

#[test]
fn a_wrong_name_is_answered_with_the_one_that_was_meant_and_ten_others() {
    let folder = tempfile::tempdir().unwrap();
    let names = std::iter::once("o1-preview-2024-09-12".to_owned());
    let names = names.chain((0..20).map(|number| format!("model-{number:02}")));
    let rows: String = names.map(|name| name + ",true,t\n").collect();
    let csv = format!("model,success,task_id\n{rows}");
    std::fs::write(folder.path().join("results.csv"), csv).unwrap();
    output(folder.path(), &["import", "results.csv", "--into", "store"]);
    let said = "no record of model 'o1-preview' matches (did you mean 'o1-preview-2024-09-12'?): \
                there are o1-preview-2024-09-12, model-00, model-01, model-02, model-03, model-04, model-05, \
                model-06, model-07, model-08 and 11 more";
    refuses(
        folder.path(),
        &["compare", "store", "model-00", "o1-preview"],
        2,
        said,
    );
}

#[test]
fn two_models_are_compared_on_the_tests_that_both_had() {
    let folder = store();
    let dir = folder.path();
    let found: Value = serde_json::from_str(&output(
        dir,
        &["compare", "store", "good", "weak", "--format", "json"],
    ))
    .unwrap();
    assert_eq!(
        (&found["pairs"], &found["only_first"], &found["only_second"]),
        (&json!(40), &json!(20.0), &json!(0.0))
    );
    assert_eq!(found["difference"]["value"], 0.5);
    assert_eq!(found["difference"]["verdict"], "separated");
    let text = output(dir, &["compare", "store", "good", "new|er"]);
    assert!(
        text.contains("on 5 tests that both had") && text.contains("without a partner: 35 of good"),
        "{text}"
    );
    refuses(
        dir,
        &["compare", "store", "good", "best"],
        2,
        "no record of model 'best' matches: there are good, new|er, weak",
    );
    refuses(
        dir,
        &["compare", "store", "good"],
        2,
        "the second model is missing: evaltop compare store good B",
    );
    refuses(
        dir,
        &["compare", "store", "good", "good"],
        2,
        "can't be compared with itself",
    );
    refuses(
        dir,
        &["compare", "store", "a", "b", "--model", "good"],
        2,
        "--model is what is compared",
    );
    refuses(dir, &["compare", "nowhere", "a", "b"], 1, "no store at");
}

#[test]
fn published_pairs_come_out_right() {
    let Some(file) = real_data("routellm_mmlu_anatomy.csv") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut rows = csv::Reader::from_path(file).unwrap();
    let header = rows.headers().unwrap().clone();
    let sides: Vec<usize> = header
        .iter()
        .enumerate()
        .filter(|(_, name)| {
            name.contains("mixtral") || name.contains("Mixtral") || name.contains("gpt")
        })
        .map(|(at, _)| at)
        .collect();
    assert_eq!(sides.len(), 2, "{header:?}");
    let mut lines = Vec::new();
    for (test, row) in rows.records().enumerate() {
        let row = row.unwrap();
        for (model, at) in ["a", "b"].into_iter().zip(&sides) {
            let success = row[*at].trim().eq_ignore_ascii_case("true") || row[*at].trim() == "1";
            lines.push(
                json!({"task_id": test.to_string(), "model": model, "success": success})
                    .to_string(),
            );
        }
    }
    evaltop()
        .args(["record", "store"])
        .current_dir(folder.path())
        .write_stdin(lines.join("\n"))
        .assert()
        .success();
    let text = output(
        folder.path(),
        &["compare", "store", "a", "b", "--format", "json"],
    );
    let found: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["pairs"], 135);
    let mut only =
        [&found["only_first"], &found["only_second"]].map(|n| n.as_f64().unwrap().round() as u64);
    only.sort_unstable();
    assert_eq!(only, [5, 26]);
}

#[test]
fn sorted_and_the_largest() {
    let folder = store();
    let dir = folder.path();
    let groups = [
        "query",
        "store",
        "--group-by",
        "model",
        "--format",
        "csv",
        "--columns",
        "model,tests",
    ];
    let with = |more: &[&str]| output(dir, &[&groups[..], more].concat());
    assert_eq!(
        with(&["--sort", "tests:desc,model"]),
        "model,tests\ngood,40\nweak,40\nnew|er,5\n"
    );
    assert_eq!(with(&["--top", "1", "--sort", "tests"]).lines().count(), 2);
    let top = output(
        dir,
        &[
            "query",
            "store",
            "--group-by",
            "model",
            "--format",
            "csv",
            "--top",
            "2",
        ],
    );
    assert!(
        top.lines().nth(1).unwrap().starts_with("new|er,5,5"),
        "the most successful first: {top}"
    );
    let rows = [
        "query",
        "store",
        "--format",
        "csv",
        "--columns",
        "model,test_id",
    ];
    let rows = |more: &[&str]| output(dir, &[&rows[..], more].concat());
    assert_eq!(
        rows(&["--sort", "execution_time:desc,model", "--limit", "3"]),
        "model,test_id\ngood,t39\nweak,t39\ngood,t38\n"
    );
    assert!(rows(&["--top", "2"]).contains(",t39\n"), "the newest");
    assert_eq!(
        rows(&["--sort", "execution_time"]).lines().count(),
        rows(&[]).lines().count()
    );
    refuses(
        dir,
        &["query", "store", "--sort", "turns", "--limit", "2000000"],
        2,
        "at most 1,000,000",
    );
    refuses(
        dir,
        &["query", "store", "--sort", "colour", "--limit", "3"],
        1,
        "cannot sort by 'colour'",
    );
    refuses(
        dir,
        &["query", "store", "--group-by", "model", "--sort", "colour"],
        1,
        "cannot sort by 'colour'",
    );
}

#[test]
fn percentiles_markdown_and_plots() {
    let folder = store();
    let dir = folder.path();
    let args = [
        "query",
        "store",
        "--group-by",
        "model",
        "--percentiles",
        "50,95",
        "--format",
        "json",
    ];
    let groups: Value = serde_json::from_str(&output(dir, &args)).unwrap();
    let good = &groups[0];
    for (name, exact) in [("p50_execution_time", 20.0), ("p95_execution_time", 38.0)] {
        let found = good[name].as_f64().unwrap();
        assert!((found / exact - 1.0).abs() < 0.1, "{name}: {found}");
    }
    let md = [
        "query",
        "store",
        "--group-by",
        "model",
        "--columns",
        "model,tests,success_rate",
        "-o",
        "table.md",
    ];
    output(dir, &md);
    let table = fs::read_to_string(dir.join("table.md")).unwrap();
    assert_eq!(
        table,
        "| model | tests | success\\_rate |\n| --- | ---: | ---: |\n| good | 40 | 80.0% |\n\
         | new\\|er | 5 | 100.0% |\n| weak | 40 | 30.0% |\n"
    );
    let plot = output(
        dir,
        &[
            "query",
            "store",
            "--group-by",
            "model",
            "--plot",
            "--top",
            "3",
        ],
    );
    assert_eq!(plot.lines().count(), 3);
    assert!(
        plot.starts_with("new|er  ██") && plot.contains("80.0%  65–90  n 40"),
        "{plot}"
    );
    output(
        dir,
        &[
            "query",
            "store",
            "--group-by",
            "model",
            "--plot",
            "-o",
            "plot.svg",
        ],
    );
    let svg = fs::read_to_string(dir.join("plot.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches("<path").count(), 3);
    refuses(
        dir,
        &[
            "query",
            "store",
            "--plot",
            "-o",
            "plot.svg",
            "--group-by",
            "model",
        ],
        1,
        "plot.svg",
    );
}

#[test]
fn files_are_merged_each_test_once() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let record = |store: &str, rows: &[Value]| {
        let lines = rows
            .iter()
            .map(Value::to_string)
            .collect::<Vec<_>>()
            .join("\n");
        evaltop()
            .args(["record", store])
            .current_dir(dir)
            .write_stdin(lines)
            .assert()
            .success();
        output(dir, &["consolidate", store]);
    };
    let row = |id: &str, success: bool, time: &str| json!({"test_id": id, "model": "m", "success": success, "process_id": "1", "timestamp": time});
    let early = "2026-01-01T00:00:00Z";
    record(
        "one",
        &[
            row("a", false, early),
            row("b", false, early),
            json!({"model": "m", "success": true}),
        ],
    );
    record(
        "two",
        &[
            row("a", true, "2026-01-02T00:00:00Z"),
            row("b", false, early),
            row("c", true, early),
        ],
    );
    let files = ["one/test_results.parquet", "two/test_results.parquet"];
    let merge = |more: &[&str]| {
        output(
            dir,
            &[&["merge"][..], &files, &["-o", "out.parquet"], more].concat(),
        )
    };
    assert!(
        merge(&["--dry-run"]).starts_with("would have merged 2 files into out.parquet: 4 rows")
    );
    assert!(!dir.join("out.parquet").exists());
    assert_eq!(
        merge(&[]),
        "merged 2 files into out.parquet: 4 rows, 1 superseded, 1 repeated\n"
    );
    let first = fs::read(dir.join("out.parquet")).unwrap();
    refuses(
        dir,
        &["merge", files[0], "-o", "out.parquet"],
        1,
        "out.parquet",
    );
    assert_eq!(fs::read(dir.join("out.parquet")).unwrap(), first);
    output(dir, &["import", "out.parquet", "--into", "three"]);
    let rows = output(
        dir,
        &[
            "query",
            "three",
            "--group-by",
            "model",
            "--format",
            "csv",
            "--columns",
            "tests,success",
        ],
    );
    assert_eq!(rows, "tests,success\n4,3\n", "a has its newest attempt");
    fs::write(dir.join("bad.parquet"), "no Parquet").unwrap();
    refuses(
        dir,
        &["merge", files[0], "bad.parquet", "-o", "x.parquet"],
        1,
        "bad.parquet",
    );
    fs::write(dir.join("rows.csv"), "model,success\nm,1\n").unwrap();
    refuses(
        dir,
        &["merge", "rows.csv", "-o", "x.parquet"],
        1,
        "rows.csv looks like CSV",
    );
    assert!(!dir.join("x.parquet").exists());
}
