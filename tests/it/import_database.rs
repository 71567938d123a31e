//! `import` of the JSON database of older tools, and its export.

use std::collections::BTreeMap;
use std::fs;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::query::tree;
use crate::transfer::Folder;

/// A version 3 document with one leaf a row: model, prompt, rate, difficulty, task.
fn v3(leaves: &[([&str; 5], Value)]) -> Value {
    let mut root = json!({"version": "3.0", "test_groups": {}, "models": {}});
    for ([model, prompt, rate, difficulty, task], leaf) in leaves {
        root["models"][*model]["by_prompt_type"][*prompt]["by_tool_success_rate"][*rate]["by_difficulty"]
            [*difficulty]["by_task_type"][*task] = leaf.clone();
    }
    root
}

fn simple(task: &'static str) -> [&'static str; 5] {
    ["m", "cot", "0.8", "easy", task]
}

fn write(folder: &Folder, name: &str, document: &Value) {
    folder.write(name, &document.to_string());
}

#[test]
fn leaves_become_summary_rows() {
    let folder = Folder::new();
    let mut document = v3(&[
        (
            ["a b", "cot", "0.8", "easy", "x"],
            json!({"total": 10, "success": 6, "partial": 2, "timeout_errors": 1,
            "weighted_success_score": 0.5, "avg_turns": 2.5, "success_rate": "NAN"}),
        ),
        (
            ["a b", "cot", "1.0", "easy", "x"],
            json!({"total": 4, "success": 1}),
        ),
        (
            ["c", "baseline", "unknown", "hard", "y z"],
            json!({"total": 3, "success": 0, "successful": 2}),
        ),
        (
            ["c", "baseline", "unknown", "hard", "none"],
            json!({"total": 0}),
        ),
    ]);
    document["models"]["empty"] = json!({"total_tests": 0, "by_prompt_type": {}});
    document["models"]["a b"]["total_tests"] = json!(999);
    document["models"]["a b"]["by_task_type"] = json!({"x": {"total": 14}});
    document["summary"] = json!({"total_tests": 34});
    folder.write("db.json", &document.to_string().replace("\"NAN\"", "NaN"));
    let report = folder.import(&["db.json"]);
    assert_eq!(report["taken_for"], "a JSON database");
    assert_eq!((&report["rows"], &report["new"]), (&json!(3), &json!(3)));
    assert_eq!(
        (
            &report["summaries"]["tests"],
            &report["summaries"]["version"]
        ),
        (&json!(17), &json!("3.0"))
    );
    let notes = report["notes"].to_string();
    for said in [
        "1 model without tests",
        "1 leaf without tests",
        "the root says 34 tests, the leaves have 17",
    ] {
        assert!(notes.contains(said), "{said}: {notes}");
    }
    // 0.5 per test is 4 full and 2 partial, so success has both in it.
    assert_eq!(folder.totals("store"), (17, 7, 2));
    let groups = folder.rows(
        "store",
        &[
            "--group-by",
            "model,tool_success_rate,task_type",
            "--model",
            "a b",
        ],
    );
    assert_eq!(
        (
            &groups[0]["tests"],
            &groups[0]["success"],
            &groups[0]["mean_turns"]
        ),
        (&json!(10), &json!(4), &json!(2.5))
    );
    let status: Value = serde_json::from_slice(
        &folder
            .run(&["status", "store", "--format", "json"])
            .get_output()
            .stdout
            .clone(),
    )
    .unwrap();
    assert_eq!(status["totals"]["tests"], 17);

    let names = || {
        tree(&folder.path().join("store"))
            .into_iter()
            .map(|(name, ..)| name)
            .collect::<Vec<_>>()
    };
    let before = names();
    let again = folder.import(&["db.json"]);
    assert_eq!((&again["new"], &again["existing"]), (&json!(0), &json!(3)));
    assert_eq!(before, names(), "no commit");
    assert_eq!(
        again["summaries"]["generation"],
        report["summaries"]["generation"]
    );
}

#[test]
fn a_newer_database_takes_the_place_of_the_older() {
    let folder = Folder::new();
    write(
        &folder,
        "db.json",
        &v3(&[
            (simple("x"), json!({"total": 5, "success": 2})),
            (simple("gone"), json!({"total": 1})),
        ]),
    );
    folder.import(&["db.json"]);
    write(
        &folder,
        "db.json",
        &v3(&[(simple("x"), json!({"total": 8, "success": 5}))]),
    );
    let dry = folder.import(&["db.json", "--dry-run"]);
    assert_eq!(
        (&dry["summaries"]["tests"], &dry["summaries"]["replaced"]),
        (&json!(8), &json!(2))
    );
    assert_eq!(folder.totals("store"), (6, 2, 0));
    let out = folder
        .run(&["import", "db.json", "--into", "store"])
        .success();
    let said = String::from_utf8(out.get_output().stdout.clone()).unwrap();
    assert!(
        said.contains(
            "1 summary row for 8 tests, 5 full and 0 partial successes, in place of 2 rows"
        ),
        "{said}"
    );
    assert!(
        said.contains("(taken for a JSON database, version 3.0)"),
        "{said}"
    );
    assert_eq!(folder.totals("store"), (8, 5, 0));
}

#[test]
fn cells_that_come_from_elsewhere_too_are_refused_unless_allowed() {
    let folder = Folder::new();
    folder.write(
        "r.jsonl",
        "{\"model\":\"m\",\"prompt_type\":\"cot\",\"tool_success_rate\":0.8,\"difficulty\":\"easy\",\"task_type\":\"x\",\"success\":true}\n",
    );
    folder.import(&["r.jsonl"]);
    let document = v3(&[
        (simple("x"), json!({"total": 5, "success": 2})),
        (simple("y"), json!({"total": 1})),
    ]);
    write(&folder, "db.json", &document);
    write(&folder, "copy.json", &document);
    let error = folder.refusal(1, &["import", "db.json", "--into", "store"]);
    assert!(
        error.contains("1 cell of it have records in the store already"),
        "{error}"
    );
    let report = folder.import(&["db.json", "--allow-overlap"]);
    assert!(
        report["notes"].to_string().contains("both count"),
        "{report}"
    );
    assert_eq!(folder.totals("store"), (7, 3, 0));
    let error = folder.refusal(1, &["import", "copy.json", "--into", "store"]);
    let source = report["summaries"]["source"].as_str().unwrap();
    assert!(
        error.contains("2 cells of it are in the store already") && error.contains(source),
        "{error}"
    );
    let report = folder.import(&["copy.json", "--source", source, "--allow-overlap"]);
    assert_eq!(report["existing"], 2, "the same rows of the same source");
    assert_eq!(folder.totals("store"), (7, 3, 0));
}

#[test]
fn doubled_totals_are_reported_and_halved_on_request() {
    let folder = Folder::new();
    let doubled = json!({"total": 20, "success": 6, "failed": 14, "total_errors": 4});
    write(
        &folder,
        "db.json",
        &v3(&[
            (simple("x"), doubled),
            (simple("y"), json!({"total": 4, "success": 4})),
        ]),
    );
    let report = folder.import(&["db.json"]);
    assert!(
        report["notes"]
            .to_string()
            .contains("1 leaf with a total of twice full and errors"),
        "{report}"
    );
    assert_eq!(folder.totals("store"), (24, 10, 0));
    let report = folder.import(&["db.json", "--halve-doubled"]);
    assert!(
        report["notes"].to_string().contains("which was halved"),
        "{report}"
    );
    assert_eq!(folder.totals("store"), (14, 10, 0));
}

#[test]
fn success_of_full_alone_is_known_by_evidence() {
    let folder = Folder::new();
    write(
        &folder,
        "db.json",
        &v3(&[(simple("x"), json!({"total": 9, "success": 2, "partial": 5}))]),
    );
    folder.import(&["db.json"]);
    assert_eq!(
        folder.totals("store"),
        (9, 2, 5),
        "more partial ones than successes"
    );
    write(
        &folder,
        "db.json",
        &v3(&[(simple("x"), json!({"total": 9, "success": 5, "partial": 2}))]),
    );
    let report = folder.import(&["db.json"]);
    assert!(
        report["notes"]
            .to_string()
            .contains("nothing says whether success"),
        "{report}"
    );
    assert_eq!(folder.totals("store"), (9, 3, 2));
}

#[test]
fn version_2_has_models_and_kinds_of_task() {
    let folder = Folder::new();
    let groups = json!({"g": {"instances": [{"success": true}]}});
    let document = json!({"version": "2.0", "test_groups": groups, "models": {
        "m": {"total_tests": 30, "by_task_type": {"x": {"total": 10, "success": 5}, "y": {"total": 20, "success": 1}}},
        "n": {"total_tests": 4, "overall_stats": {"success": 3}},
    }});
    write(&folder, "db.json", &document);
    let report = folder.import(&["db.json"]);
    assert_eq!(folder.totals("store"), (34, 9, 0));
    let notes = report["notes"].to_string();
    assert!(
        notes.contains("1 instance in test groups left out"),
        "{notes}"
    );
    assert!(notes.contains("1 model with counts alone"), "{notes}");
    let tasks = folder.rows("store", &["--group-by", "task_type"]);
    let names: Vec<_> = tasks
        .iter()
        .map(|group| group["task_type"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["unknown", "x", "y"]);
}

#[test]
fn version_1_has_tests() {
    let folder = Folder::new();
    let document = json!({"version": "1.0", "test_groups": {
        "g 1": {"model": "m", "prompt_type": "cot", "difficulty": "easy", "timestamp": "2026-01-01T00:00:00",
            "statistics": {"success_rate": 50.0},
            "instances": [
                {"success": true, "execution_time": 1.5, "task_type": "x"},
                {"success": true, "execution_time": 1.5, "task_type": "x"},
                {"success_level": "partial_success", "test_id": "own", "task_type": "y"},
            ]},
        "g 2": {"model": "n", "statistics": {"success_rate": 10.0}, "instances": []},
    }});
    write(&folder, "db.json", &document);
    let report = folder.import(&["db.json"]);
    assert_eq!(
        (&report["rows"], &report["success"]),
        (&json!(3), &json!(2))
    );
    assert!(
        report["notes"]
            .to_string()
            .contains("1 group with statistics alone"),
        "{report}"
    );
    assert_eq!(
        folder.totals("store"),
        (3, 2, 1),
        "equal instances are different tests"
    );
    let rows = folder.rows("store", &["--task-type", "y"]);
    assert_eq!(
        (&rows[0]["test_id"], &rows[0]["model"]),
        (&json!("own"), &json!("m"))
    );
    assert_eq!(rows[0]["timestamp"], "2026-01-01T00:00:00Z");
    assert_eq!(folder.import(&["db.json"])["new"], 0);
    let mut wrong = document;
    wrong["test_groups"]["g 1"]["instances"][1] = json!({"task_type": "x"});
    write(&folder, "wrong.json", &wrong);
    let error = folder.refusal(1, &["import", "wrong.json", "--into", "store"]);
    assert!(
        error.contains("instance 1 of group g 1: neither 'success' nor 'success_level'"),
        "{error}"
    );
}

#[test]
fn expanded_counts_are_records() {
    let folder = Folder::new();
    let leaf = |total: u64, success: u64| {
        json!({"total": total, "full_success": success, "success": success, "partial": 2, "timeout_errors": 1,
            "avg_execution_time": 2.5, "avg_quality_score": 0.25, "last_updated": "2026-01-31T10:00:00"})
    };
    write(
        &folder,
        "db.json",
        &v3(&[(simple("a_b"), leaf(7, 3)), (simple("y"), leaf(3, 0))]),
    );
    let report = folder.import(&["db.json", "--expand"]);
    assert_eq!((&report["rows"], &report["new"]), (&json!(10), &json!(10)));
    assert_eq!(folder.totals("store"), (10, 3, 4));
    let rows = folder.rows("store", &["--task-type", "a_b"]);
    let ids: Vec<_> = rows
        .iter()
        .map(|row| row["test_id"].as_str().unwrap())
        .collect();
    assert!(ids.contains(&"m_cot_0.8_easy_a%5Fb_failed_1"), "{ids:?}");
    assert!(
        rows.iter()
            .all(|row| row["quality_score"] == 0.25 && row["timestamp"] == "2026-01-31T10:00:00Z")
    );
    assert_eq!(
        rows.iter()
            .filter(|row| row["error_type"] == "timeout")
            .count(),
        1
    );
    let groups = folder.rows("store", &["--group-by", "model"]);
    assert_eq!(groups[0]["mean_execution_time"], 2.5);
    assert_eq!(folder.import(&["db.json", "--expand"])["new"], 0);
    write(
        &folder,
        "db.json",
        &v3(&[(simple("a_b"), leaf(9, 4)), (simple("y"), leaf(3, 0))]),
    );
    assert_eq!(
        folder.import(&["db.json", "--expand"])["new"],
        2,
        "it has grown"
    );
    assert_eq!(folder.totals("store"), (12, 4, 4));
    let absurd = v3(&[(simple("x"), json!({"total": 1e12, "success": 1}))]);
    write(&folder, "absurd.json", &absurd);
    let error = folder.refusal(1, &["import", "absurd.json", "--expand", "--into", "store"]);
    assert!(error.contains("without --expand"), "{error}");
}

/// A rate that is written in two ways, and the meaning of success that another leaf says.
#[test]
fn leaves_of_one_cell_are_numbered_on() {
    let folder = Folder::new();
    let leaf = |turns: f64| json!({"total": 4, "success": 2, "partial": 1, "avg_turns": turns});
    let document = v3(&[
        (["m", "cot", "0.8", "easy", "x"], leaf(2.0)),
        (["m", "cot", "0.80", "easy", "x"], leaf(6.0)),
        (
            ["n", "cot", "0.8", "easy", "x"],
            json!({"total": 9, "success": 2, "partial": 5}),
        ),
    ]);
    write(&folder, "db.json", &document);
    let report = folder.import(&["db.json", "--expand"]);
    assert_eq!((&report["rows"], &report["new"]), (&json!(17), &json!(17)));
    assert_eq!(
        folder.totals("store"),
        (17, 6, 7),
        "success is of full ones alone: n has more partial ones"
    );
    let rows = folder.rows("store", &["--model", "m"]);
    let ids: std::collections::BTreeSet<_> =
        rows.iter().map(|row| row["test_id"].to_string()).collect();
    assert_eq!(ids.len(), 8);
    assert_eq!(rows.iter().filter(|row| row["turns"] == 6.0).count(), 4);
}

#[test]
fn variants_of_a_name_are_one_model_when_asked() {
    let folder = Folder::new();
    let of = |model| [model, "cot", "0.8", "easy", "x"];
    let leaf = json!({"total": 5, "success": 2});
    write(
        &folder,
        "db.json",
        &v3(&[
            (of("deepseek-v3-0324"), leaf.clone()),
            (of("DeepSeek-V3-0324-2"), leaf),
        ]),
    );
    folder
        .run(&["import", "db.json", "--into", "plain"])
        .success();
    assert_eq!(folder.rows("plain", &["--group-by", "model"]).len(), 2);
    folder.import(&["db.json", "--aliases"]);
    let groups = folder.rows("store", &["--group-by", "model"]);
    assert_eq!(
        (groups.len(), &groups[0]["model"], &groups[0]["tests"]),
        (1, &json!("DeepSeek-V3-0324"), &json!(10))
    );
    folder.write("own.toml", "\"mine\" = [\"m-#\"]\n");
    folder.write("r.csv", "model,success\nM-7,1\n");
    folder.import(&["r.csv", "--aliases=own.toml"]);
    assert_eq!(folder.rows("store", &[])[0]["model"], "mine");
    folder.write("wrong.toml", "mine = 3\n");
    let error = folder.refusal(
        1,
        &["import", "r.csv", "--aliases=wrong.toml", "--into", "store"],
    );
    assert!(
        error.contains("wrong.toml has no aliases") && error.contains("list of patterns"),
        "{error}"
    );
}

#[test]
fn what_is_not_a_database_is_reported_with_what_it_looks_like() {
    let folder = Folder::new();
    let whole = v3(&[(simple("x"), json!({"total": 5, "success": 2}))]).to_string();
    folder.write("torn.json", &whole[..whole.len() - 1]);
    folder.write("r.csv", "model,success\nm,1\n");
    folder.write("config.json", "{\"name\": 1, \"list\": []}");
    folder.write("array.json", "[1]");
    folder.write("empty.json", "");
    folder.write("more.json", &format!("{whole} {{}}"));
    folder.write(
        "rows.jsonl",
        "{\"model\":\"m\",\"success\":true}\n{\"model\":\"m\",\"success\":true}\n",
    );
    folder.write("page.json", "<html></html>");
    for (file, said) in [
        (
            "torn.json",
            format!(
                "torn.json, byte {}: expected ',' or '}}', found the end",
                whole.len()
            ),
        ),
        (
            "r.csv",
            "is not a JSON database, it looks like CSV: import it with --from csv".to_owned(),
        ),
        ("config.json", "it has name, list".to_owned()),
        ("array.json", "it looks like a JSON document".to_owned()),
        ("empty.json", "is empty".to_owned()),
        (
            "rows.jsonl",
            "it looks like JSON lines: import it with --from jsonl".to_owned(),
        ),
        ("page.json", "is HTML or XML".to_owned()),
        ("more.json", "nothing more after the document".to_owned()),
        ("missing.json", "cannot read missing.json".to_owned()),
    ] {
        let error = folder.refusal(
            1,
            &["import", file, "--from", "json-database", "--into", "store"],
        );
        assert!(error.contains(&said), "{file}: {error}");
    }
    assert!(!folder.path().join("store").exists());
}

/// The leaves of an exported tree by their path; checks that counts add up on the way.
fn leaves(node: &Value, path: &str, found: &mut BTreeMap<String, Value>) -> [u64; 3] {
    let object = node.as_object().unwrap();
    let below = object.iter().find(|(name, _)| name.starts_with("by_"));
    let own = |node: &Map<String, Value>| {
        ["total", "success", "partial"].map(|name| node.get(name).and_then(Value::as_u64).unwrap())
    };
    let Some((_, below)) = below else {
        found.insert(path.to_owned(), node.clone());
        return own(object);
    };
    let mut sum = [0; 3];
    for (name, node) in below.as_object().unwrap() {
        let counts = leaves(node, &format!("{path}/{name}"), found);
        sum.iter_mut()
            .zip(counts)
            .for_each(|(sum, count)| *sum += count);
    }
    let counts = object
        .get("overall_stats")
        .and_then(Value::as_object)
        .map_or_else(|| own(object), own);
    assert_eq!(counts, sum, "{path}");
    sum
}

fn all_leaves(folder: &Folder, name: &str) -> BTreeMap<String, Value> {
    let document: Value =
        serde_json::from_slice(&fs::read(folder.path().join(name)).unwrap()).unwrap();
    let mut found = BTreeMap::new();
    let mut sum = [0; 3];
    for (model, node) in document["models"].as_object().unwrap() {
        let counts = leaves(node, model, &mut found);
        sum.iter_mut()
            .zip(counts)
            .for_each(|(sum, count)| *sum += count);
    }
    let root = ["total_tests", "total_success", "total_partial"];
    assert_eq!(
        root.map(|name| document["summary"][name].as_u64().unwrap()),
        sum
    );
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_export_comes_back_as_it_was(
        rows in proptest::collection::vec(
            (0..3_u8, "[a-c/ _\"]{0,3}x", proptest::option::of(0..3_u8), proptest::option::of(0.0..1e3_f64),
             proptest::option::of(0..9_usize), proptest::option::of(0.0..1.0_f64)), 1..25),
        summary in proptest::option::of((1..50_u64, 0..50_u64, 0..50_u64)),
    ) {
        const ERRORS: [&str; 9] = ["timeout", "tool_call_format", "tool_selection", "parameter_config",
            "sequence_order", "dependency", "max_turns", "infrastructure", "other"];
        let folder = Folder::new();
        let lines: Vec<_> = rows.iter().enumerate().map(|(i, (outcome, task, rate, time, error, score))| {
            json!({
                "test_id": format!("t{i}"), "model": if i % 2 == 0 { "a" } else { "b c" }, "success": *outcome == 0,
                "partial_success": *outcome == 1, "task_type": task, "execution_time": time,
                "tool_success_rate": rate.map(|rate| f64::from(rate) / 4.0), "quality_score": score,
                "error_type": error.filter(|_| *outcome != 0).map(|at| ERRORS[at]),
                "timestamp": time.map(|_| format!("2026-01-01T00:00:{i:02}.123456Z")),
            }).to_string()
        }).collect();
        folder.write("r.jsonl", &lines.join("\n"));
        folder.import(&["r.jsonl"]);
        if let Some((total, success, partial)) = summary {
            let full = success.min(total);
            let leaf = json!({"total": total, "full_success": full, "success": full, "partial": partial.min(total - full),
                "tests_with_assistance": 2, "avg_turns": 1.0 / 3.0});
            write(&folder, "own.json", &v3(&[(["s", "p", "0.5", "d", "t"], leaf)]));
            folder.import(&["own.json"]);
        }
        folder.run(&["export", "store", "-o", "db.json"]).success();
        let original = all_leaves(&folder, "db.json");
        folder.run(&["import", "db.json", "--into", "back"]).success();
        folder.run(&["export", "back", "-o", "again.json"]).success();
        prop_assert_eq!(&original, &all_leaves(&folder, "again.json"));
        prop_assert_eq!(folder.totals("store"), folder.totals("back"));
        folder.run(&["import", "db.json", "--expand", "--into", "expanded"]).success();
        prop_assert_eq!(folder.totals("store"), folder.totals("expanded"));
    }
}
