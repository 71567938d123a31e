//! What tests cost, and the metrics and sessions by which they are compared.

use std::fs;
#[cfg(unix)]
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::evaltop;

fn run(dir: &Path, args: &[&str], code: i32) -> (String, String) {
    let assert = evaltop().args(args).current_dir(dir).assert().code(code);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let output = assert.get_output();
    (text(&output.stdout), text(&output.stderr))
}

fn said(dir: &Path, args: &[&str]) -> String {
    run(dir, args, 0).0
}

fn parsed(dir: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&said(dir, args)).unwrap()
}

fn record(dir: &Path, rows: &[Value]) {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    evaltop()
        .args(["record", "store"])
        .current_dir(dir)
        .write_stdin(lines.join("\n"))
        .assert()
        .success();
}

/// Ten tests of a model that was billed, ten of one with tokens alone, one that says nothing.
fn spent() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = Vec::new();
    for test in 0..10 {
        rows.push(json!({
            "test_id": format!("a-{test}"), "model": "billed", "success": test < 5, "cost": 0.1,
            "judge_cost": 0.01, "session_id": "monday", "timestamp": "2026-01-31T12:00:00Z",
        }));
        rows.push(json!({
            "test_id": format!("b-{test}"), "model": "openai/tokens", "success": test < 5,
            "input_tokens": 1_000, "output_tokens": 100, "reasoning_tokens": 90, "cache_read_tokens": 500,
            "session_id": "tuesday", "timestamp": format!("2026-02-0{}T12:00:00Z", 1 + test % 2),
        }));
    }
    rows.push(json!({"test_id": "c", "model": "silent", "success": true, "session_id": "tuesday"}));
    record(folder.path(), &rows);
    let prices = "[[price]]\nmodel = 'tok*'\ninput = 2.5\noutput = 10\ncache_read = 1.25\n\
                  [[price]]\nmodel = 'tok*'\nfrom = '2026-02-02'\ninput = 5\noutput = 10\n";
    fs::write(folder.path().join("prices.toml"), prices).unwrap();
    folder
}

#[test]
fn billed_and_derived_are_distinguished_and_what_is_missing_is_said() {
    let folder = spent();
    let dir = folder.path();
    let text = said(dir, &["cost", "store"]);
    assert!(
        text.contains("$1.10, $0.10 a success: $1.00 billed, $0.10 billed for judging"),
        "{text}"
    );
    assert!(
        text.contains("not in it: 10 tests of openai/tokens with tokens and without a cost: name a price file with --prices")
            && text.contains("not in it: 1 test that says neither a cost nor tokens"),
        "{text}"
    );
    // Before February 2nd 1,000·2.5 + 100·10 + 500·1.25, from then on 1,500·5 + 100·10: 4,125 and
    // 8,500 millionths, five tests each.
    let priced = parsed(
        dir,
        &[
            "cost",
            "store",
            "--prices",
            "prices.toml",
            "--format",
            "json",
        ],
    );
    assert_eq!(priced["total"]["derived"], 0.063_125);
    assert_eq!(priced["total"]["cost"], 1.163_125);
    assert_eq!(priced["groups"][1]["model"], "openai/tokens");
    assert_eq!(priced["total"]["tests_without_cost"], 1);
    // The store's settings name the file, next to them.
    fs::rename(dir.join("prices.toml"), dir.join("store/prices.toml")).unwrap();
    fs::write(
        dir.join("store/evaltop.toml"),
        "prices = 'prices.toml'\nbudget = 1.1\n",
    )
    .unwrap();
    let (text, _) = run(dir, &["status", "store"], 10);
    assert!(
        text.contains("cost      $1.16   $0.06 of it derived   $0.11 a success")
            && text.contains("$1.16 spent, the budget is $1.10"),
        "{text}"
    );
    let status: Value =
        serde_json::from_str(&run(dir, &["status", "store", "--format", "json"], 10).0).unwrap();
    assert_eq!(status["spending"]["cost"], 1.163_125);
    assert_eq!(status["spending"]["models"][0]["billed"], 1.0);
    let (metrics, _) = run(dir, &["status", "store", "--format", "prometheus"], 10);
    assert!(
        metrics.contains("evaltop_cost_dollars{") && metrics.contains("} 1.163125"),
        "{metrics}"
    );
    assert!(
        run(dir, &["status", "store", "--format", "tmux"], 10)
            .0
            .contains(" $1.16 ")
    );
    // A plan of 42 tests costs as much again: 21 more at the mean of the 20 with a cost.
    let planned = parsed(
        dir,
        &["cost", "store", "--target", "41", "--format", "json"],
    );
    assert_eq!(planned["forecast"], 2.0 * 1.163_125);
    run(
        dir,
        &["cost", "store", "--target", "41", "--budget", "2"],
        30,
    );
    run(
        dir,
        &["cost", "store", "--target", "41", "--budget", "3"],
        0,
    );
    run(
        dir,
        &[
            "cost",
            "store",
            "--where",
            "model = silent",
            "--budget",
            "3",
        ],
        1,
    );
    let csv = said(
        dir,
        &["cost", "store", "--by", "session", "--format", "csv"],
    );
    assert!(
        csv.starts_with("session_id,tests,total_cost,billed,judge,derived,")
            && csv.contains("\nmonday,10,1.1,1.0,0.1,,0.22000000000000003,0,0\n"),
        "{csv}"
    );
    let (_, error) = run(dir, &["cost", "store", "--by", "modle"], 1);
    assert!(
        error.contains("no column 'modle' (did you mean 'model'?)"),
        "{error}"
    );
    fs::write(dir.join("store/prices.toml"), "[[price]]\nmodel = 'x'\n").unwrap();
    let (_, error) = run(dir, &["status", "store"], 1);
    assert!(
        error.contains("prices.toml line 1: missing field 'input'"),
        "{error}"
    );
}

#[test]
fn attempts_that_are_replaced_leave_an_exact_total() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let rows = |attempt: u32| -> Vec<Value> {
        (0..200)
            .map(|test| {
                json!({
                    "test_id": format!("t{test}"), "model": "m", "success": true,
                    "cost": f64::from(attempt * 1_000 + test) / 1e9 + 0.1,
                    "timestamp": format!("2026-01-31T12:0{attempt}:00Z"),
                })
            })
            .collect()
    };
    record(dir, &rows(0));
    said(dir, &["consolidate", "store", "--yes"]);
    record(dir, &rows(1));
    let total =
        |dir: &Path| parsed(dir, &["cost", "store", "--format", "json"])["total"]["cost"].clone();
    let live = parsed(dir, &["status", "store", "--format", "json"])["spending"]["cost"].clone();
    // 200 · (0.1 + 1,000 billionths) + (0 + … + 199) billionths.
    let expected = json!(20.000_219_9);
    assert_eq!((total(dir), live), (expected.clone(), expected.clone()));
    said(dir, &["consolidate", "store", "--yes"]);
    let live = parsed(dir, &["status", "store", "--format", "json"])["spending"].clone();
    assert_eq!(
        (total(dir), live["cost"].clone()),
        (expected.clone(), expected)
    );
    let retried = live["retried"].as_f64().unwrap();
    assert!((retried - 20.0).abs() < 0.01, "{retried}");
}

/// Two nights: a score from 1 to 10 that falls by half a point, seconds that rise, nothing judged.
fn scored() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut rows = Vec::new();
    for (night, session) in ["monday", "tuesday"].into_iter().enumerate() {
        for task in 0..30_u32 {
            let noise = f64::from(task * 7 % 5) / 10.0;
            rows.push(json!({
                "test_id": format!("t{task}"), "task_id": format!("task-{task}"), "model": "m",
                "session_id": session, "score": 5.0 + f64::from(task % 4) - 0.5 * night as f64 - noise * night as f64,
                "execution_time": 10.0 + noise + night as f64,
                "timestamp": format!("2026-01-0{}T00:00:00Z", night + 1),
            }));
        }
    }
    record(folder.path(), &rows);
    folder
}

#[test]
fn any_metric_is_compared_in_its_direction() {
    let folder = scored();
    let dir = folder.path();
    let by = [
        "compare",
        "store",
        "--by",
        "session",
        "--baseline",
        "previous",
    ];
    let with = |more: &[&'static str]| [&by[..], more].concat();
    // Nothing is judged: the score is what there is to compare.
    let text = said(dir, &by);
    assert!(
        text.starts_with("score: tuesday 5.733, monday 6.433 on 30 tests that both had\ndifference -0.7, 95% interval ")
            && text.contains("paired t, clustered by task")
            && text.ends_with("significant at 5 %: monday is better\n"),
        "{text}"
    );
    let found = parsed(dir, &with(&["--metric", "score", "--format", "json"]));
    assert_eq!(
        found["metric"],
        json!({"name": "score", "better": "higher", "range": null})
    );
    assert_eq!(found["difference"]["method"], "paired_t");
    assert_eq!(
        (&found["first_higher"], &found["second_higher"]),
        (&json!(0.0), &json!(30.0))
    );
    assert_eq!(found["values"][0]["n"], 30);
    // Less time is better, so tonight is worse although its mean is higher.
    let text = run(
        dir,
        &with(&["--metric", "execution_time", "--fail-if-worse"]),
        30,
    )
    .0;
    assert!(
        text.contains("significant at 5 %: monday is better"),
        "{text}"
    );
    run(
        dir,
        &with(&["--metric", "execution_time", "--max-drop", "0.5"]),
        30,
    );
    run(
        dir,
        &with(&["--metric", "execution_time", "--max-drop", "2"]),
        0,
    );
    run(
        dir,
        &with(&["--metric", "execution_time", "--fail-over", "11"]),
        30,
    );
    run(dir, &with(&["--metric", "score", "--fail-under", "5"]), 0);
    // Where the settings turn it round, so is the verdict; with a range there are ties.
    fs::write(
        dir.join("store/evaltop.toml"),
        "[metrics.score]\nbetter = 'lower'\nrange = [1, 100]\n",
    )
    .unwrap();
    let text = run(dir, &with(&["--metric", "score", "--fail-if-worse"]), 0).0;
    assert!(
        text.contains("significant at 5 %: tuesday is better"),
        "{text}"
    );
    let (_, error) = run(dir, &with(&["--metric", "model"]), 1);
    assert!(
        error.contains("model can't be averaged: it holds text"),
        "{error}"
    );
    let (_, error) = run(dir, &with(&["--metric", "scroe"]), 1);
    assert!(
        error.contains("no column 'scroe' (did you mean 'score'?)"),
        "{error}"
    );
    fs::write(
        dir.join("store/evaltop.toml"),
        "[metrics.score]\nrange = [10, 1]\n",
    )
    .unwrap();
    let (_, error) = run(dir, &by, 1);
    assert!(error.contains("[10, 1] is not a range"), "{error}");
}

#[test]
fn a_gate_that_cannot_be_decided_is_a_failure_of_its_own() {
    let folder = spent();
    let dir = folder.path();
    let gate =
        |more: &[&'static str]| [&["compare", "store", "--by", "session"][..], more].concat();
    for (args, why) in [
        (
            gate(&[
                "--where",
                "session_id = monday",
                "--baseline",
                "previous",
                "--fail-if-worse",
            ]),
            "there is no previous session",
        ),
        (
            gate(&[
                "--where",
                "session_id = monday",
                "--fail-under",
                "0.4",
                "--baseline",
                "sunday",
            ]),
            "no record of session id 'sunday'",
        ),
    ] {
        let (_, error) = run(dir, &args, 1);
        assert!(
            error.starts_with("evaltop: the gate can't be decided: ") && error.contains(why),
            "{error}"
        );
    }
    // One value is enough for a limit.
    run(
        dir,
        &gate(&["--where", "session_id = monday", "--fail-under", "0.4"]),
        0,
    );
    run(
        dir,
        &gate(&["--where", "session_id = monday", "--fail-under", "0.6"]),
        30,
    );
    // Without a gate a comparison of one is a mistake of the command line.
    run(dir, &gate(&["--where", "session_id = monday"]), 2);
}

#[test]
fn a_session_is_chosen_everywhere() {
    let folder = spent();
    let dir = folder.path();
    let count = |session: &str| {
        let args = [
            "query",
            "store",
            "--columns",
            "test_id",
            "--format",
            "jsonl",
            "--session",
            session,
        ];
        said(dir, &args).lines().count()
    };
    assert_eq!(
        ["latest", "previous", "monday", "tuesday"].map(count),
        [11, 10, 10, 11]
    );
    let both = [
        "query",
        "store",
        "--session",
        "monday",
        "--session",
        "tuesday",
        "--group-by",
        "session_id",
        "--format",
        "csv",
    ];
    assert_eq!(said(dir, &both).lines().count(), 3);
    let (_, error) = run(dir, &["query", "store", "--session", "monda"], 2);
    assert!(
        error.contains("no row is of session 'monda' (did you mean 'monday'?)"),
        "{error}"
    );
    said(
        dir,
        &[
            "export",
            "store",
            "--session",
            "previous",
            "-o",
            "monday.jsonl",
        ],
    );
    assert_eq!(
        fs::read_to_string(dir.join("monday.jsonl"))
            .unwrap()
            .lines()
            .count(),
        10
    );
    let status = parsed(
        dir,
        &[
            "status",
            "store",
            "--session",
            "previous",
            "--format",
            "json",
        ],
    );
    assert_eq!(
        (
            &status["only_session"],
            &status["totals"]["tests"],
            &status["spending"]["cost"]
        ),
        (&json!("monday"), &json!(10), &json!(1.1))
    );
    let text = said(dir, &["compare", "store", "--session", "tuesday"]);
    assert!(
        text.contains("openai/tokens") && !text.contains("billed"),
        "{text}"
    );
    said(
        dir,
        &["report", "store", "--session", "previous", "-o", "r.md"],
    );
    assert!(
        fs::read_to_string(dir.join("r.md"))
            .unwrap()
            .contains("| billed | 50.0% |")
    );
}

#[test]
#[cfg(unix)]
fn a_run_stops_at_its_budget_and_goes_on_with_its_session() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let script = "#!/bin/sh\necho '{\"success\": true, \"cost\": 0.25}'\n";
    fs::write(dir.join("one.sh"), script).unwrap();
    fs::set_permissions(dir.join("one.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    let command = |more: &[&'static str]| -> Vec<&'static str> {
        let first = [
            "run",
            "store",
            "--models",
            "m",
            "--num-instances",
            "12",
            "--workers",
            "1",
        ];
        [&first[..], more, &["--", "./one.sh"]].concat()
    };
    let args = command(&[
        "--session",
        "auto",
        "--max-cost",
        "1",
        "--meta",
        "prompt=v12",
        "--format",
        "json",
    ]);
    let stopped: Value = serde_json::from_str(&run(dir, &args, 30).0).unwrap();
    assert_eq!(
        (&stopped["run"], &stopped["cost"], &stopped["stopped"]),
        (&json!(4), &json!(1.0), &json!("max_cost"))
    );
    let session = stopped["session"].as_str().unwrap().to_owned();
    // The same again has nothing left to spend: one more test says so; without a limit the same
    // session goes on to its end, and only then another one begins.
    let (text, _) = run(dir, &command(&["--session", "auto", "--max-cost", "1"]), 30);
    assert!(
        text.contains("stopped, because $1.25 are spent of $1.00"),
        "{text}"
    );
    let rest: Value = serde_json::from_str(&said(
        dir,
        &command(&["--session", "auto", "--format", "json"]),
    ))
    .unwrap();
    assert_eq!(
        (&rest["session"], &rest["run"]),
        (&json!(session), &json!(7))
    );
    let next: Value = serde_json::from_str(&said(
        dir,
        &command(&["--session", "auto", "--format", "json"]),
    ))
    .unwrap();
    assert_eq!(
        (&next["session"], &next["run"]),
        (&json!(format!("{session}-2")), &json!(12))
    );
    assert!(fs::read_dir(dir.join("store/sessions")).unwrap().count() >= 2);
    said(
        dir,
        &["report", "store", "--session", &session, "-o", "r.html"],
    );
    let page = fs::read_to_string(dir.join("r.html")).unwrap();
    assert!(page.contains("prompt <bdi>v12</bdi>"), "{page}");
    let (_, error) = run(dir, &command(&["--meta", "prompt"]), 2);
    assert!(
        error.contains("--meta 'prompt': write KEY=VALUE"),
        "{error}"
    );
}

#[test]
fn a_report_says_what_it_cost_and_shows_examples_where_texts_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let rows: Vec<Value> = (0..12)
        .map(|test| {
            json!({
                "test_id": format!("t{test}"), "task_id": format!("task-{test}"), "model": "tokens", "success": test > 3,
                "input_tokens": 1_000, "output_tokens": 10, "execution_time": test,
                "error_type": (test < 4).then_some(if test < 2 { "rate limit" } else { "timeout" }),
                "error_message": (test < 4).then(|| format!("said {test}")),
                "log": if test == 1 { "javascript:alert(1)" } else { "logs/a.eval#7" },
                "timestamp": format!("2026-01-31T12:{test:02}:00Z"),
            })
        })
        .collect();
    record(dir, &rows);
    fs::write(
        dir.join("p.toml"),
        "[[price]]\nmodel = 'tokens'\ninput = 1\noutput = 2\n",
    )
    .unwrap();
    let report = |more: &[&str]| said(dir, &[&["report", "store", "-o", "-"][..], more].concat());
    let plain = report(&["--prices", "p.toml"]);
    assert!(
        plain.contains("It cost $0.01, $0.0015 a success; $0.01 of it derived from prices.")
            && plain.contains(
                "Price of <bdi>tokens</bdi>: $1 in, $2 out a million tokens (<bdi>p.toml</bdi>)"
            ),
        "{plain}"
    );
    assert!(
        plain.contains("Slowest tests") && !plain.contains("said 1") && !plain.contains("a.eval")
    );
    assert!(plain.contains("rate limit</bdi> (infra)"), "{plain}");
    let texts = report(&["--with-texts"]);
    assert!(
        texts.contains("One of each kind")
            && texts.contains("<a href=\"logs/a.eval#7\" rel=\"noreferrer\">")
            && !texts.contains("href=\"javascript"),
        "{texts}"
    );
    assert!(
        texts.contains("models with tokens and without a price: tokens"),
        "{texts}"
    );
    assert!(
        texts.contains("download=\"cells.csv\" href=\"data:text/csv"),
        "{texts}"
    );
}

#[test]
fn derived_costs_are_a_column_of_their_own() {
    let folder = spent();
    let dir = folder.path();
    let priced =
        |args: &[&str], code| run(dir, &[args, &["--prices", "prices.toml"]].concat(), code);
    let (csv, notes) = priced(
        &[
            "query",
            "store",
            "--group-by",
            "model",
            "--agg",
            "count(),sum(cost),sum(derived_cost),count(derived_cost)",
            "--format",
            "csv",
        ],
        0,
    );
    // The same as `cost` says of them.
    assert_eq!(
        csv,
        "model,count,sum_cost,sum_derived_cost,count_derived_cost\nbilled,10,1.0,,0\n\
         openai/tokens,10,,0.063125,10\nsilent,1,,,0\n"
    );
    assert_eq!(notes, "");
    let sum = [
        "query",
        "store",
        "--group-by",
        "session_id",
        "--agg",
        "sum(cost)",
    ];
    let (_, notes) = priced(&sum, 0);
    assert!(
        notes.contains("10 tests without a bill have a derived_cost instead, which is not in it"),
        "{notes}"
    );
    assert_eq!(
        run(dir, &sum, 0).1,
        "",
        "without prices there is nothing to say"
    );
    let (csv, _) = priced(
        &[
            "query",
            "store",
            "--where",
            "derived_cost > 0.005",
            "--columns",
            "test_id,derived_cost",
            "--sort",
            "test_id",
            "--format",
            "csv",
        ],
        0,
    );
    assert!(
        csv.starts_with("test_id,derived_cost\nb-1,0.0085\n") && csv.lines().count() == 6,
        "{csv}"
    );
    // It is part of no whole row, and unknown where nothing can be derived.
    let (json, _) = priced(&["query", "store", "--format", "jsonl"], 0);
    assert!(!json.contains("derived"), "{json}");
    let (_, error) = run(dir, &["query", "store", "--columns", "derived_cost"], 1);
    assert!(error.contains("no column 'derived_cost'"), "{error}");
    let (csv, _) = priced(
        &[
            "query",
            "store",
            "--where",
            "cost is null and derived_cost is null",
            "--format",
            "csv",
        ],
        0,
    );
    assert!(csv.lines().count() == 2 && csv.contains("silent"), "{csv}");
}

#[test]
fn costs_are_compared_billed_or_derived_and_never_both_as_one() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let row = |model: &str, task: u32, cost: Option<f64>| {
        json!({
            "test_id": format!("{model}-{task}"), "model": model, "task_id": format!("task-{task}"),
            "success": true, "cost": cost, "input_tokens": 1_000 + 10 * task,
            "timestamp": "2026-01-31T12:00:00Z",
        })
    };
    let tasks = || 0..20_u32;
    let mut rows: Vec<Value> = tasks().map(|task| row("dear", task, None)).collect();
    rows.extend(tasks().map(|task| row("cheap", task, None)));
    record(dir, &rows);
    fs::write(
        dir.join("prices.toml"),
        "[[price]]\nmodel = 'dear'\ninput = 5\noutput = 10\n[[price]]\nmodel = 'cheap'\ninput = 1\noutput = 2\n",
    )
    .unwrap();
    let compare = ["compare", "store", "dear", "cheap", "--metric", "cost"];
    let priced = [&compare[..], &["--prices", "prices.toml"]].concat();
    let text = said(dir, &priced);
    // 1,095 tokens of input on average.
    assert!(
        text.starts_with(
            "derived_cost: dear $0.005475, cheap $0.001095 on 20 tests that both had\n"
        ) && text.ends_with("significant at 5 %: cheap is better\n"),
        "{text}"
    );
    let page = [
        "report",
        "store",
        "-o",
        "-",
        "--metric",
        "cost",
        "--prices",
        "prices.toml",
    ];
    let page = said(dir, &page);
    assert!(
        page.contains("cheap is best, with a mean derived_cost of $0.001095"),
        "{page}"
    );
    // As soon as tests are billed, a cost is what was billed.
    let billed: Vec<Value> = (0..20)
        .flat_map(|task| {
            [
                row("dear", task, Some(0.03)),
                row("cheap", task, (task < 15).then_some(0.01)),
            ]
        })
        .map(|mut row| {
            row["timestamp"] = json!("2026-01-31T13:00:00Z");
            row
        })
        .collect();
    record(dir, &billed);
    let (text, notes) = run(dir, &priced, 0);
    assert!(
        text.starts_with("cost: dear $0.03, cheap $0.01 on 15 tests that both had\n"),
        "{text}"
    );
    let left_out = "cost is what rows were billed; 5 tests without a bill have a derived_cost instead, which is not in it";
    assert!(notes.contains(left_out), "{notes}");
    let json = parsed(dir, &[&priced[..], &["--format", "json"]].concat());
    assert_eq!(json["left_out"], json!([left_out]));
    run(dir, &[&priced[..], &["--strict"]].concat(), 10);
    run(dir, &[&compare[..], &["--strict"]].concat(), 0);
}

#[test]
fn what_was_said_of_a_session_is_a_column() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    fs::write(dir.join("plan.csv"), "model,task_id\nm,t1\nm,t2\nm,t3\n").unwrap();
    for (session, prompt, answer) in [("monday", "v11", "false"), ("tuesday", "v12", "true")] {
        let prompt = format!("prompt={prompt}");
        let command = format!("echo '{{\"success\": {answer}}}'");
        run(
            dir,
            &[
                "run",
                "store",
                "--plan",
                "plan.csv",
                "--session",
                session,
                "--meta",
                &prompt,
                "--meta",
                "temperature=0.7",
                "--quiet",
                "--",
                "sh",
                "-c",
                &command,
            ],
            0,
        );
    }
    // Said again, the later word counts; rows without a session have none.
    record(
        dir,
        &[json!({"test_id": "x", "model": "m", "success": true})],
    );
    let csv = said(
        dir,
        &[
            "query",
            "store",
            "--group-by",
            "meta.prompt",
            "--agg",
            "count(),mean(success)",
            "--format",
            "csv",
        ],
    );
    assert_eq!(
        csv,
        "meta.prompt,count,mean_success\nv11,3,0.0\nv12,3,1.0\n,1,1.0\n"
    );
    let csv = said(
        dir,
        &[
            "query",
            "store",
            "--group-by",
            "model,meta.temperature",
            "--format",
            "csv",
            "--columns",
            "model,meta.temperature,tests",
        ],
    );
    assert_eq!(csv, "model,meta.temperature,tests\nm,0.7,6\nm,,1\n");
    for args in [
        &["query", "store", "--group-by", "model"][..],
        &["query", "store", "--group-by", "model,session_id"],
    ] {
        let csv = said(
            dir,
            &[
                args,
                &[
                    "--where",
                    "meta.prompt = v12",
                    "--format",
                    "csv",
                    "--columns",
                    "tests,success",
                ],
            ]
            .concat(),
        );
        assert_eq!(csv, "tests,success\n3,3\n", "{args:?}");
    }
    let text = said(
        dir,
        &["compare", "store", "--by", "meta.prompt", "v12", "v11"],
    );
    assert!(
        text.contains("v12 100.0%, v11 0.0% on 3 tests that both had"),
        "{text}"
    );
    let csv = said(
        dir,
        &["cost", "store", "--by", "meta.prompt", "--format", "csv"],
    );
    assert!(csv.contains("\nv11,3,"), "{csv}");
    let (_, error) = run(dir, &["query", "store", "--where", "meta.prompt = v13"], 1);
    assert!(
        error.contains("'v13' is neither a column nor a value of meta.prompt"),
        "{error}"
    );
    let (_, error) = run(dir, &["query", "store", "--group-by", "temperature"], 1);
    assert!(
        error.contains("no column 'temperature' (did you mean 'meta.temperature'?)"),
        "{error}"
    );
    let row = parsed(dir, &["query", "store", "--limit", "1", "--format", "json"]);
    assert!(!row.to_string().contains("meta."), "{row}");
}
