//! `compare`, `merge`, and `query` sorted, with percentiles, as Markdown and as a plot.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{evaltop, evaltop_process, real_data};

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
    // The same as a picture.
    let pair = ["compare", "store", "good", "weak", "--plot"];
    let text = output(dir, &[&pair[..], &["d.svg"]].concat());
    assert!(text.contains("95% interval"), "{text}");
    let svg = fs::read_to_string(dir.join("d.svg")).unwrap();
    for part in [
        "<title>difference in success by model, 95 % intervals</title>",
        ">store, 20",
        "n = 80</text>",
        ">good – weak</text>",
        ", n = 40</text>",
    ] {
        assert!(svg.contains(part), "{part}: {svg}");
    }
    assert_eq!(svg.matches("<circle").count(), 1);
    // What is there is replaced when that was asked for.
    fs::write(dir.join("d.svg"), "mine").unwrap();
    let again = [&pair[..], &["d.svg"]].concat();
    refuses(dir, &again, 1, "is already there and was left alone");
    assert_eq!(fs::read_to_string(dir.join("d.svg")).unwrap(), "mine");
    output(dir, &[&again[..], &["--yes"]].concat());
    assert_eq!(fs::read_to_string(dir.join("d.svg")).unwrap(), svg);
    refuses(dir, &[&pair[..], &["d.png"]].concat(), 2, "ends with .svg");
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

fn code(dir: &Path, args: &[&str], code: i32) -> String {
    let assert = evaltop().args(args).current_dir(dir).assert().code(code);
    String::from_utf8(assert.get_output().stdout.clone()).unwrap()
}

/// Two nights of the same forty tests by two models; the second night breaks 14 of one.
fn nights() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut lines = Vec::new();
    for (night, session) in ["monday", "tuesday"].into_iter().enumerate() {
        for (model, broken) in [("even", 10), ("worse", 5 + 14 * night)] {
            for task in 0..40 {
                let row = json!({
                    "test_id": format!("{session}-{task}"), "task_id": format!("task-{task}"),
                    "model": model, "session_id": session, "success": task >= broken,
                    "scaffold": if task % 2 == 0 { "react" } else { "plan" }, "score": task as f64 / 10.0,
                    "timestamp": format!("2026-01-0{}T0{}:{task:02}:00Z", night + 1, task % 3),
                });
                lines.push(row.to_string());
            }
        }
    }
    let lines = lines.join("\n");
    evaltop()
        .args(["record", "store"])
        .current_dir(folder.path())
        .write_stdin(lines)
        .assert()
        .success();
    folder
}

#[test]
fn tonight_is_compared_with_last_night() {
    let folder = nights();
    let dir = folder.path();
    let tonight = [
        "compare",
        "store",
        "--by",
        "session",
        "--baseline",
        "previous",
    ];
    let with = |more: &[&'static str]| [&tonight[..], more].concat();
    let text = code(dir, &with(&["--flipped"]), 0);
    assert!(
        text.contains("tuesday 63.7%, monday 81.2% on 80 tests that both had"),
        "{text}"
    );
    assert!(
        text.contains("significant at 5 %: monday is better"),
        "{text}"
    );
    assert!(
        text.contains("14 tests ended otherwise:\n  task-10 (worse): only monday passed"),
        "{text}"
    );
    let found: Value =
        serde_json::from_str(&code(dir, &with(&["--format", "json", "--flipped"]), 0)).unwrap();
    assert_eq!(
        (&found["first"], &found["second"]),
        (&json!("tuesday"), &json!("monday"))
    );
    assert_eq!(found["flipped"]["count"], 14);
    assert!(found["difference"]["p"].as_f64().unwrap() < 0.001);
    // Gates: 30 where one fails, 0 where all pass, 1 where nothing can be said.
    let text = code(dir, &with(&["--fail-if-worse"]), 30);
    assert!(
        text.contains("failed: --fail-if-worse of tuesday"),
        "{text}"
    );
    code(dir, &with(&["--max-drop", "2"]), 30);
    code(dir, &with(&["--max-drop", "20"]), 0);
    code(dir, &with(&["--fail-under", "0.8"]), 30);
    code(dir, &with(&["--fail-under", "0.6"]), 0);
    code(dir, &with(&["--fail-if-worse", "--model", "even"]), 0);
    let apart = [
        "compare",
        "store",
        "react",
        "plan",
        "--by",
        "scaffold",
        "--fail-if-worse",
    ];
    let text = code(dir, &apart, 1);
    assert!(
        text.contains("no test in common: tests pair by task_id"),
        "{text}"
    );
    assert!(
        text.contains("undecided: --fail-if-worse of react"),
        "{text}"
    );
    let junit = code(dir, &with(&["--fail-if-worse", "--format", "junit"]), 30);
    assert!(
        junit.contains("tests=\"1\" failures=\"1\"") && junit.contains("<failure message="),
        "{junit}"
    );
    refuses(
        dir,
        &["compare", "store", "--by", "sesion_id"],
        1,
        "no column 'sesion_id' (did you mean 'session_id'?)",
    );
    refuses(
        dir,
        &[
            "compare",
            "store",
            "--by",
            "session",
            "--baseline",
            "sunday",
        ],
        2,
        "no record of session id 'sunday'",
    );
}

#[test]
fn a_report_shows_the_metric_that_is_asked_for() {
    let folder = nights();
    let dir = folder.path();
    let report = |more: &[&str]| output(dir, &[&["report", "store", "-o"], more].concat());
    let page = report(&["-", "--metric", "score"]);
    // Both models have the same scores, 0 to 3.9.
    for said in [
        "even is best or tied with the best, with a mean score of 1.95; no significant difference to worse.",
        "<th scope=\"col\">0 – 2.3</th><th class=\"n\" scope=\"col\"><bdi>score</bdi></th>",
        "Mean score; hatched",
        "evaltop query store --group-by model --metric 'score'",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }
    let table = report(&[
        "-",
        "--metric",
        "score",
        "--session",
        "latest",
        "--baseline",
        "previous",
        "--where",
        "model = even",
    ]);
    assert!(
        table.contains("As good as the baseline the same: +0"),
        "{table}"
    );
    report(&["report.md", "--metric", "0-score"]);
    let table = fs::read_to_string(dir.join("report.md")).unwrap();
    assert!(
        table.contains("| model | 0-score |") && table.contains("| even | -1.95 |"),
        "{table}"
    );
    refuses(
        dir,
        &["report", "store", "-o", "-", "--metric", "scroe"],
        1,
        "no column 'scroe' (did you mean 'score'?)",
    );
    // Where nothing is judged, the score is what there is.
    let rows: Vec<String> = (0..4)
        .map(|task| json!({"test_id": format!("t{task}"), "model": "m", "score": task}).to_string())
        .collect();
    evaltop()
        .args(["record", "unjudged"])
        .current_dir(dir)
        .write_stdin(rows.join("\n"))
        .assert()
        .success();
    let page = output(dir, &["report", "unjudged", "-o", "-"]);
    assert!(page.contains("m has a mean score of 1.5."), "{page}");
}

#[test]
fn a_report_is_written_again_and_again() {
    let folder = nights();
    let dir = folder.path();
    refuses(
        dir,
        &["report", "store", "-o", "-", "--every", "1s"],
        2,
        "name it with -o",
    );
    let mut child = evaltop_process()
        .args(["report", "store", "-o", "live.md", "--every", "1s"])
        .current_dir(dir)
        .spawn()
        .unwrap();
    let tests = |count: &str| {
        let begun = std::time::Instant::now();
        loop {
            let text = fs::read_to_string(dir.join("live.md")).unwrap_or_default();
            if text.contains(&format!("| {count} |")) {
                return;
            }
            assert!(begun.elapsed().as_secs() < 300, "no {count}: {text}");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    tests("80");
    evaltop()
        .args(["record", "store"])
        .current_dir(dir)
        .write_stdin("{\"test_id\":\"new\",\"model\":\"even\",\"success\":true}\n")
        .assert()
        .success();
    tests("81");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(child.wait().unwrap().success());
    refuses(
        dir,
        &["report", "store", "-o", "live.md", "--every", "1h"],
        1,
        "--yes",
    );
}

#[test]
fn a_report_is_one_file_to_send() {
    let folder = nights();
    let dir = folder.path();
    output(
        dir,
        &[
            "report",
            "store",
            "-o",
            "report.html",
            "--baseline",
            "previous",
        ],
    );
    let page = fs::read_to_string(dir.join("report.html")).unwrap();
    assert!(
        page.contains("session <bdi>tuesday</bdi>")
            && page.contains("Worse than the baseline: -17.5 points"),
        "{page}"
    );
    assert!(page.contains("14 tests ended otherwise"), "{page}");
    let short = output(
        dir,
        &["report", "store", "-o", "-", "--where", "model = even"],
    );
    assert!(
        short.starts_with("<!DOCTYPE html>") && short.contains("even succeeds in 75.0%"),
        "{short}"
    );
    output(dir, &["report", "store", "-o", "report.md"]);
    let table = fs::read_to_string(dir.join("report.md")).unwrap();
    assert!(table.contains("| even | 75.0% |"), "{table}");
    refuses(
        dir,
        &["report", "store", "-o", "x.html", "--session", "sunday"],
        2,
        "no row is of session 'sunday'",
    );
    refuses(
        dir,
        &["report", "store", "-o", "report.pdf"],
        2,
        "a report is HTML",
    );
}

#[test]
fn a_report_of_a_session_with_tests_missing_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let lines = r#"{"evaltop": "plan", "tests": 3, "session_id": "night"}
{"model": "m", "task_id": "1", "success": true, "session_id": "night"}
"#;
    let record = |lines: &'static str| {
        let mut record = evaltop();
        record.current_dir(dir);
        record.args(["record", "store", "--create"]);
        record.write_stdin(lines).assert().success();
    };
    record(lines);
    let report = |more: &[&str]| output(dir, &[&["report", "store", "-o", "-"], more].concat());
    let said = "Incomplete: 1 of 3 planned tests.";
    assert!(report(&[]).contains(said));
    assert!(report(&["--session", "night"]).contains(said));
    assert!(!report(&["--target", "1"]).contains("Incomplete"));
    // A part of the tests was never planned to be all of them.
    assert!(!report(&["--model", "m"]).contains("Incomplete"));
    record("{\"model\": \"m\", \"task_id\": \"1\", \"success\": true, \"session_id\": \"day\"}\n");
    assert!(!report(&[]).contains("Incomplete"), "two sessions");
}

#[test]
fn a_store_is_named_for_any_command() {
    let folder = store();
    let dir = folder.path();
    for args in [
        [
            "--store",
            "store",
            "query",
            "--group-by",
            "model",
            "--format",
            "csv",
        ],
        [
            "query",
            "--group-by",
            "model",
            "--format",
            "csv",
            "--store",
            "store",
        ],
    ] {
        assert_eq!(output(dir, &args).lines().count(), 4);
    }
    let text = output(dir, &["compare", "--store", "store", "good", "weak"]);
    assert!(text.contains("on 40 tests that both had"), "{text}");
    refuses(
        dir,
        &["query", "elsewhere", "--store", "store"],
        2,
        "two stores are named, elsewhere and --store store: leave one out",
    );
}

#[test]
fn any_number_of_values_has_ranks() {
    let folder = store();
    let dir = folder.path();
    let text = output(dir, &["compare", "store"]);
    assert!(
        text.contains("p-values are adjusted for 3 comparisons (Holm)"),
        "{text}"
    );
    let found: Value =
        serde_json::from_str(&output(dir, &["compare", "store", "--format", "json"])).unwrap();
    let places: Vec<(&str, i64, i64)> = found["values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|own| {
            let rank = |name: &str| own[name].as_i64().unwrap();
            (
                own["value"].as_str().unwrap(),
                rank("rank_best"),
                rank("rank_worst"),
            )
        })
        .collect();
    assert_eq!(places, [("good", 1, 2), ("new|er", 1, 3), ("weak", 2, 3)]);
    let table = output(dir, &["compare", "store", "--format", "md"]);
    assert!(
        table.contains("| new\\|er | 5 | 100.0% | best, or tied with the best (rank 1–3) |"),
        "{table}"
    );
}

#[test]
fn any_column_is_grouped_and_asked_for() {
    let folder = nights();
    let dir = folder.path();
    let query = |more: &[&str]| {
        output(
            dir,
            &[&["query", "store", "--format", "csv"], more].concat(),
        )
    };
    assert_eq!(
        query(&["--group-by", "scaffold,session_id", "--agg", "count(),mean(score),count_distinct(task_id)", "--where", "model = worse"]),
        "scaffold,session_id,count,mean_score,count_distinct_task_id\n\
         plan,monday,20,2,20\nplan,tuesday,20,2,20\nreact,monday,20,1.9,20\nreact,tuesday,20,1.9,20\n"
            .replace(",2,", ",2.0,")
    );
    assert_eq!(
        query(&[
            "--group-by",
            "hour(timestamp)",
            "--columns",
            "hour(timestamp),tests,success",
            "--where",
            "session_id = monday"
        ]),
        "hour(timestamp),tests,success\n0,28,22\n1,26,21\n2,26,22\n"
    );
    assert_eq!(
        query(&[
            "--where",
            "score > 3.8 and not success = false",
            "--columns",
            "model",
            "--limit",
            "9"
        ])
        .lines()
        .count(),
        5
    );
    refuses(
        dir,
        &["query", "store", "--group-by", "scafold"],
        1,
        "no column 'scafold' (did you mean 'scaffold'?)",
    );
    refuses(
        dir,
        &["query", "store", "--where", "score >"],
        2,
        "--where: the expression ends where",
    );
    refuses(
        dir,
        &[
            "query",
            "store",
            "--group-by",
            "model",
            "--agg",
            "maen(score)",
        ],
        2,
        "no aggregate 'maen' (did you mean 'mean'?)",
    );
    refuses(
        dir,
        &[
            "export",
            "store",
            "-o",
            "x.csv",
            "--where",
            "scaffold = raect",
        ],
        1,
        "'raect' is neither a column nor a value of scaffold (did you mean 'react'?)",
    );
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
        "merged 2 files into out.parquet: 4 rows, 1 retried, 1 repeated\n"
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
