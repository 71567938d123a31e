//! What evaltop computes, against scipy and statsmodels.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{evaltop, python_with};

#[test]
fn figures_agree_with_scipy_and_statsmodels() {
    let Some(python) = python_with("scipy, statsmodels") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    // Three models, fifty tasks, two to four trials each; the numbers are arbitrary but fixed.
    let mut state = 12_345_u64;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / f64::from(1_u32 << 31)
    };
    let mut lines = Vec::new();
    for task in 0..50 {
        let hard = random();
        for (model, skill) in [("a", 0.3), ("b", 0.1), ("c", 0.0)] {
            for trial in 0..2 + task % 3 {
                let score = ((hard + skill + random()) * 50.0).round() / 10.0;
                let row = json!({
                    "test_id": format!("{task}-{trial}"), "task_id": format!("task-{task:02}"), "trial": trial,
                    "model": model, "success": score > 5.0, "score": score,
                });
                lines.push(row.to_string());
            }
        }
    }
    fs::write(dir.join("rows.jsonl"), lines.join("\n")).unwrap();
    evaltop()
        .args(["record", "store"])
        .current_dir(dir)
        .write_stdin(lines.join("\n"))
        .assert()
        .success();
    let query = ["query", "store", "--format", "json", "--group-by", "model"];
    for (name, more) in [
        ("metric.json", ["--metric", "score"]),
        (
            "percentiles.json",
            ["--agg", "median(score),p95(score),stddev(score)"],
        ),
        ("trials.json", ["--agg", "pass@2,pass^2"]),
        ("rates.json", ["--sort", "model"]),
    ] {
        write(dir, name, &[&query[..], &more].concat());
    }
    let compare = ["compare", "store", "--format", "json"];
    write(
        dir,
        "single.json",
        &[&compare[..], &["--where", "trial = 0"]].concat(),
    );
    write(dir, "several.json", &compare);
    let metric = [&compare[..], &["--metric", "score"]].concat();
    write(
        dir,
        "metric_single.json",
        &[&metric[..], &["--where", "trial = 0"]].concat(),
    );
    write(dir, "metric_several.json", &metric);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/statistics.py");
    let output = Command::new(python).arg(script).arg(dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "agreed\n");
}

/// The examples of `docs/statistics.md`, as the program computes them.
#[test]
fn the_examples_of_the_page_are_right() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/statistics.md");
    let page = fs::read_to_string(page).unwrap().replace('\n', " ");
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let record = |store: &str, rows: Vec<Value>| {
        let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
        let mut command = evaltop();
        command.args(["record", store]).current_dir(dir);
        command.write_stdin(lines.join("\n")).assert().success();
    };
    let said = |args: &[&str]| -> Value {
        let assert = evaltop()
            .args(args)
            .args(["--format", "json"])
            .current_dir(dir)
            .assert();
        serde_json::from_slice(&assert.success().get_output().stdout).unwrap()
    };
    let close = |found: &Value, expected: f64, within: f64, example: &str| {
        let found = found.as_f64().unwrap();
        assert!((found - expected).abs() < within, "{example}: {found}");
        assert!(page.contains(example), "the page lacks: {example}");
    };
    let pass = |model: &str, task: usize, success: bool| json!({"model": model, "task_id": format!("t{task}"), "success": success});
    record(
        "interval",
        (0..100).map(|task| pass("m", task, task < 61)).collect(),
    );
    let groups = said(&["query", "interval", "--group-by", "model"]);
    close(
        &groups[0]["ci_low"],
        0.512,
        5e-4,
        "61 of 100 are 51.2 to 70.0 %",
    );
    close(
        &groups[0]["ci_high"],
        0.700,
        5e-4,
        "61 of 100 are 51.2 to 70.0 %",
    );
    let trials = (0..40).map(|trial| {
        let task = trial % 10;
        json!({"model": "m", "task_id": format!("t{task}"), "trial": trial / 10, "test_id": format!("{trial}"), "success": task < 5})
    });
    record("trials", trials.collect());
    let groups = said(&["query", "trials", "--group-by", "model"]);
    let example = "40 tests count like 9: 22.7 to 77.3 % instead of 35.2 to 64.8 %";
    close(&groups[0]["ci_low"], 0.2265, 5e-5, example);
    close(&groups[0]["ci_high"], 0.7735, 5e-5, example);
    record(
        "alone",
        (0..40).map(|task| pass("m", task, task < 20)).collect(),
    );
    let groups = said(&["query", "alone", "--group-by", "model"]);
    close(&groups[0]["ci_low"], 0.352, 5e-4, example);
    close(&groups[0]["ci_high"], 0.648, 5e-4, example);
    let three = (0..30).flat_map(|task| {
        [
            pass("a", task, true),
            pass("b", task, task >= 8),
            pass("c", task, !(8..14).contains(&task)),
        ]
    });
    record("three", three.collect());
    let found = said(&["compare", "three"]);
    for (at, p, adjusted, significant) in [
        (0, 0.0078, 0.0234, true),
        (1, 0.03125, 0.0625, false),
        (2, 0.7905, 0.7905, false),
    ] {
        let found = &found["comparisons"][at]["difference"];
        let example = "p = 0.0078, 0.031 and 0.79 become 0.023, 0.063 and 0.79";
        close(&found["p"], p, 5e-5, example);
        close(&found["p_adjusted"], adjusted, 5e-5, example);
        assert_eq!(found["significant"], significant, "{found}");
    }
    // 24 tests that only one side passed against 12, and 14 that both passed.
    let pairs = (0..50).flat_map(|task| {
        [
            pass("a", task, !(24..36).contains(&task)),
            pass("b", task, task >= 24),
        ]
    });
    record("pairs", pairs.collect());
    let found = said(&["compare", "pairs", "a", "b"]);
    assert_eq!(found["difference"]["significant"], false);
    close(
        &found["difference"]["p"],
        0.065,
        5e-4,
        "against 12 have p = 0.065",
    );
    let score = |model: &str, task: usize, score: f64| json!({"model": model, "task_id": format!("t{task}"), "score": score, "success": null});
    let scores = [(0, 0.0), (0, 0.2), (1, 0.4), (1, 0.6)];
    record(
        "scores",
        scores
            .iter()
            .map(|(task, value)| score("m", *task, *value))
            .collect(),
    );
    let groups = said(&[
        "query",
        "scores",
        "--group-by",
        "model",
        "--metric",
        "score",
    ]);
    close(
        &groups[0]["mean_score"],
        0.3,
        1e-9,
        "x̄ = 0.3, SE = √(2·0.32)/4 = 0.2",
    );
    close(
        &groups[0]["standard_error_score"],
        0.2,
        1e-9,
        "x̄ = 0.3, SE = √(2·0.32)/4 = 0.2",
    );
    let slept = [
        [0.7, 1.9],
        [-1.6, 0.8],
        [-0.2, 1.1],
        [-1.2, 0.1],
        [-0.1, -0.1],
        [3.4, 4.4],
        [3.7, 5.5],
        [0.8, 1.6],
        [0.0, 4.6],
        [2.0, 3.4],
    ];
    let slept = slept.iter().enumerate();
    let rows = slept.flat_map(|(at, [one, other])| [score("a", at, *one), score("b", at, *other)]);
    record("student", rows.collect());
    let found = said(&["compare", "student", "a", "b", "--metric", "score"]);
    close(
        &found["difference"]["value"],
        -1.58,
        1e-9,
        "Δ = −1.58, t = −4.062, p = 0.0028",
    );
    close(
        &found["difference"]["p"],
        0.0028,
        5e-5,
        "Δ = −1.58, t = −4.062, p = 0.0028",
    );
    let six = (0..6).flat_map(|task| [score("a", task, 1.5), score("b", task, 1.0)]);
    record("six", six.collect());
    let found = said(&["compare", "six", "a", "b", "--metric", "score"]);
    close(
        &found["difference"]["p"],
        2.0 * 0.5_f64.powi(6),
        1e-9,
        "p = 2·½^C, so six clusters are significant",
    );
    let ten = (0..10).map(|trial| json!({"model": "m", "task_id": "t", "trial": trial, "test_id": format!("{trial}"), "success": trial < 3}));
    record("ten", ten.collect());
    let groups = said(&["query", "ten", "--group-by", "model", "--agg", "pass@5"]);
    close(
        &groups[0]["pass@5"],
        0.917,
        5e-4,
        "3 of 10: pass@5 = 1 − 21/252 = 0.917",
    );
    record(
        "money",
        vec![
            json!({"model": "m", "test_id": "1", "success": true, "input_tokens": 4_000, "output_tokens": 500}),
        ],
    );
    fs::write(
        dir.join("prices.toml"),
        "[[price]]\nmodel = 'm'\ninput = 2.5\noutput = 10\n",
    )
    .unwrap();
    let cost = said(&["cost", "money", "--prices", "prices.toml"]);
    close(
        &cost["total"]["derived"],
        0.015,
        1e-9,
        "output at $10 are $0.015",
    );
}

fn write(dir: &Path, name: &str, args: &[&str]) {
    let assert = evaltop().args(args).current_dir(dir).assert().success();
    fs::write(dir.join(name), &assert.get_output().stdout).unwrap();
}
