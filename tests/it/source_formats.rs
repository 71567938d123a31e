//! What `import` opens, and what it says of what it can't open.

#![allow(clippy::format_collect)] // a few rows

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::evaltop;
use crate::transfer::Folder;

#[test]
fn two_columns_are_compared() {
    let folder = Folder::new();
    let rows = "model,task_id,pred,answer\nm,1,A,A\nm,2,B,A\nm,3,answer,C\nm,4,D,A\n";
    folder.write("p.csv", rows);
    folder.import(&["p.csv", "--success-from", "pred==answer"]);
    assert_eq!(folder.totals("store"), (4, 1, 0));
    // A value that no row has is refused, with those that there are.
    folder.write("v.csv", "model,verdict\nm,PASS\nm,FAIL\nm,PASS\n");
    let args = ["import", "v.csv", "--into", "other", "--success-from"];
    let error = folder.refusal(1, &[&args[..], &["verdict==pass"]].concat());
    assert!(error.contains("there are FAIL, PASS"), "{error}");
    assert!(error.contains("did you mean 'PASS'?"), "{error}");
    folder
        .run(&[&args[..], &["verdict==PASS"]].concat())
        .success();
    assert_eq!(folder.totals("other"), (3, 2, 0));
}

fn log(values: &[Value]) -> String {
    let sample = |(id, value): (usize, &Value)| json!({"id": id, "epoch": 1, "scores": {"judge": {"value": value}}});
    let samples: Vec<Value> = values.iter().enumerate().map(sample).collect();
    let eval = json!({"task": "t", "model": "m", "task_id": "T", "scorers": [{"name": "judge"}]});
    json!({"version": 2, "status": "success", "eval": eval, "samples": samples}).to_string()
}

#[test]
fn a_word_as_a_score_is_a_value() {
    let folder = Folder::new();
    folder.write(
        "l.json",
        &log(&[json!("left"), json!("right"), json!("left")]),
    );
    let report = folder.import(&["l.json"]);
    let notes = report["notes"].to_string();
    assert!(notes.contains("score_judge==WORD"), "{notes}");
    let group = |store: &str| {
        let groups = folder.rows(store, &["--group-by", "model"]);
        let count = |name: &str| groups[0][name].as_u64();
        (count("tests"), count("success"), count("unscored"))
    };
    assert_eq!(group("store"), (Some(3), Some(0), Some(3)));
    assert!(
        folder
            .rows("store", &[])
            .iter()
            .all(|row| row["error_type"].is_null())
    );
    let judged = ["l.json", "--success-from", "score_judge==left"];
    let report = folder.import(&judged);
    assert_eq!(report["notes"], json!([]), "silent when the flag was given");
    assert_eq!(folder.totals("store"), (3, 2, 0));
}

#[test]
fn scores_on_another_scale_are_no_successes() {
    let folder = Folder::new();
    folder.write("l.json", &log(&[json!(7), json!(1), json!(10)]));
    let report = folder.import(&["l.json"]);
    assert!(
        report["notes"]
            .to_string()
            .contains("scores go from 1 to 10"),
        "{report}"
    );
    assert_eq!(folder.totals("store"), (3, 0, 0));
    let rows = folder.rows("store", &[]);
    assert!(
        rows.iter()
            .all(|row| row["success"].is_null() && row["score"].is_number())
    );
    folder.import(&["l.json", "--success-from", "score>=7"]);
    assert_eq!(folder.totals("store"), (3, 2, 0));
    // A table with nothing but scores.
    folder.write("bleu.csv", "model,task_id,score\nm,1,12.5\nm,2,31\n");
    let out = folder
        .run(&["import", "bleu.csv", "--into", "bleu"])
        .success();
    let text = String::from_utf8_lossy(&out.get_output().stdout).into_owned();
    assert!(
        text.contains("nothing says which rows are successes"),
        "{text}"
    );
    assert_eq!(folder.totals("bleu"), (2, 0, 0));
}

#[test]
fn an_inspect_sample_with_all_that_it_says() {
    let folder = Folder::new();
    let usage = json!({
        "m": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 18, "reasoning_tokens": 2,
              "input_tokens_cache_read": 3, "input_tokens_cache_write": 1, "total_cost": 0.5},
        "judge": {"input_tokens": 100, "output_tokens": 50, "total_cost": 0.25},
    });
    let sample = |epoch: u32| json!({"id": "q", "epoch": epoch, "scores": {"match": {"value": "C"}}, "model_usage": usage});
    let eval =
        json!({"task": "t", "model": "m", "task_id": "T", "run_id": "R", "eval_set_id": "S"});
    let log = json!({"version": 2, "status": "success", "eval": eval,
                     "samples": [sample(1), sample(2)]});
    folder.write("l.json", &log.to_string());
    folder.import(&["l.json"]);
    let rows = folder.rows("store", &["--sort", "trial"]);
    let row = &rows[1];
    for (name, expected) in [
        ("trial", json!(2)),
        ("input_tokens", json!(10)),
        ("output_tokens", json!(5)),
        ("reasoning_tokens", json!(2)),
        ("cache_read_tokens", json!(3)),
        ("cache_write_tokens", json!(1)),
        ("cost", json!(0.5)),
        ("judge_cost", json!(0.25)),
        ("session_id", json!("S")),
        ("log", json!("l.json#q")),
        ("score", json!(1.0)),
    ] {
        assert_eq!(row[name], expected, "{name}: {row}");
    }
    // A copy elsewhere is the same log.
    fs::create_dir(folder.path().join("elsewhere")).unwrap();
    folder.write("elsewhere/l.json", &log.to_string());
    let again = folder.import(&["elsewhere/l.json"]);
    assert_eq!(
        (&again["existing"], &again["replaced"]),
        (&json!(2), &json!(0))
    );
}

#[test]
fn documents_arrays_and_nested_names() {
    let folder = Folder::new();
    let rows = json!([{"provider": {"id": "m"}, "grade": {"ok": true}},
                      {"provider": {"id": "m"}, "grade": {"ok": false}}]);
    folder.write("array.json", &rows.to_string());
    let with = ["--map", "model=provider.id", "--success-from", "grade.ok"];
    folder.import(&[&["array.json"], &with[..]].concat());
    assert_eq!(folder.totals("store"), (2, 1, 0));
    let document = json!({"run": "r", "results": {"stats": {"n": 2}, "results": rows}});
    folder.write("d.json", &serde_json::to_string_pretty(&document).unwrap());
    for more in [&[][..], &["--rows", "results.results"]] {
        let store = format!("store{}", more.len());
        let args = [&["import", "d.json", "--into", &store], &with[..], more].concat();
        folder.run(&args).success();
        assert_eq!(folder.totals(&store), (2, 1, 0));
    }
    let lines: String = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| format!("{row}\n"))
        .collect();
    folder.write("l.jsonl", &lines);
    folder
        .run(&[&["import", "l.jsonl", "--into", "lines"], &with[..]].concat())
        .success();
    assert_eq!(folder.totals("lines"), (2, 1, 0));
}

const ROWS: &str =
    "{\"model\":\"m\",\"success\":true,\"n\":1}\n{\"model\":\"m\",\"success\":false,\"n\":2}\n";

#[test]
fn packed_files_and_standard_input() {
    let folder = Folder::new();
    let gzip = |name: &str| {
        let file = fs::File::create(folder.path().join(name)).unwrap();
        let mut writer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
        writer.write_all(ROWS.as_bytes()).unwrap();
        writer.finish().unwrap();
    };
    gzip("r.jsonl.gz");
    let packed = zstd::encode_all(ROWS.as_bytes(), 1).unwrap();
    fs::write(folder.path().join("r.jsonl.zst"), packed).unwrap();
    let mut zip = ZipWriter::new(fs::File::create(folder.path().join("r.zip")).unwrap());
    for name in ["a/r.jsonl", "a/readme.txt"] {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(ROWS.as_bytes()).unwrap();
    }
    zip.finish().unwrap();
    for (at, name) in ["r.jsonl.gz", "r.jsonl.zst", "r.zip"]
        .into_iter()
        .enumerate()
    {
        let store = format!("s{at}");
        folder.run(&["import", name, "--into", &store]).success();
        assert_eq!(folder.totals(&store), (2, 1, 0), "{name}");
    }
    // One table, whatever it is packed in.
    for name in ["r.jsonl.zst", "r.zip"] {
        assert_eq!(
            folder
                .run(&["import", name, "--into", "s0"])
                .success()
                .get_output()
                .status
                .code(),
            Some(0)
        );
    }
    assert_eq!(folder.totals("s0"), (2, 1, 0));
    evaltop()
        .args(["import", "-", "--into", "piped"])
        .current_dir(folder.path())
        .write_stdin(ROWS)
        .assert()
        .success();
    assert_eq!(folder.totals("piped"), (2, 1, 0));
}

#[test]
fn folders_and_patterns() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path().join("logs/deep")).unwrap();
    folder.write("logs/deep/l.json", &log(&[json!("C"), json!("I")]));
    folder.write("logs/r.jsonl", ROWS);
    folder.write("logs/readme.md", "# results, and more\n");
    folder.write("logs/settings.json", "{\n  \"a\": [{\"b\": 1}]\n}\n");
    folder.write("logs/.hidden.jsonl", ROWS);
    let out = folder.run(&["import", "logs", "--into", "store"]).success();
    let text = String::from_utf8_lossy(&out.get_output().stdout).into_owned();
    assert!(text.contains("2 other files passed over"), "{text}");
    assert_eq!(folder.totals("store"), (4, 2, 0));
    // A store is not a log, and neither is a folder of stores.
    folder
        .run(&["import", "logs/r.jsonl", "--into", "logs/own"])
        .success();
    let out = folder.run(&["import", "logs", "--into", "logs/own"]);
    let out = out.success();
    let text = String::from_utf8_lossy(&out.get_output().stdout).into_owned();
    assert!(
        text.contains("logs/own passed over: it is a store"),
        "{text}"
    );
    assert_eq!(folder.totals("logs/own"), (4, 2, 0));
    folder
        .run(&["import", "logs/*.jsonl", "--into", "matched"])
        .success();
    assert_eq!(folder.totals("matched"), (2, 1, 0));
    let error = folder.refusal(1, &["import", "nothing/*.jsonl", "--into", "matched"]);
    assert!(error.contains("nothing/*.jsonl"), "{error}");
}

#[test]
#[allow(clippy::too_many_lines)] // one file a format
fn formats_are_known_by_their_content() {
    let folder = Folder::new();
    let promptfoo = json!({"evalId": "eval-1", "results": {"version": 3, "results": [
        {"provider": {"id": "echo"}, "promptIdx": 0, "testIdx": 0, "success": true, "score": 1,
         "latencyMs": 250, "cost": 0.5, "prompt": {"label": "p"},
         "response": {"tokenUsage": {"prompt": 3, "completion": 4, "cached": 1}}},
        {"provider": {"id": "echo"}, "promptIdx": 0, "testIdx": 1, "success": false, "score": 0,
         "latencyMs": 1, "error": "API error", "failureReason": 2, "prompt": {"label": "p"}},
    ]}, "config": {}});
    let tau = json!({"info": {"agent_info": {"llm": "m"}, "environment_info": {"domain_name": "retail"}},
        "tasks": [], "simulations": [
        {"id": "s1", "task_id": "1", "trial": 0, "reward_info": {"reward": 1.0}, "messages": [{}, {}]},
        {"id": "s2", "task_id": "1", "trial": 1, "reward_info": {"reward": 0.5}, "messages": [{}]}]});
    let bench = json!({"results": [
        {"id": "1", "trial_name": "a.1", "task_id": "a", "is_resolved": true},
        {"id": "2", "trial_name": "a.2", "task_id": "a", "is_resolved": false}], "accuracy": 0.5});
    let alpaca = json!([
        {"instruction": "i", "generator_1": "base", "generator_2": "m", "preference": 1.9, "annotator": "j"},
        {"instruction": "k", "generator_1": "base", "generator_2": "m", "preference": 1.2, "annotator": "j"}]);
    let lines = |rows: &[Value]| -> String { rows.iter().map(|row| format!("{row}\n")).collect() };
    let human = lines(&[
        json!({"task_id": "HumanEval/0", "completion": "x", "result": "passed", "passed": true}),
        json!({"task_id": "HumanEval/0", "completion": "x", "result": "passed", "passed": true}),
        json!({"task_id": "HumanEval/0", "completion": "y", "result": "failed", "passed": false}),
    ]);
    let openai = lines(&[
        json!({"spec": {"completion_fns": ["m"], "base_eval": "e"}, "run_id": "R"}),
        json!({"run_id": "R", "event_id": 0, "sample_id": "s.0", "type": "sampling", "data": {}}),
        json!({"run_id": "R", "event_id": 1, "sample_id": "s.0", "type": "match", "data": {"correct": true}}),
        json!({"final_report": {"accuracy": 1.0}}),
    ]);
    let mt = lines(&[
        json!({"question_id": 81, "model": "m", "judge": ["g", "s"], "score": 9, "turn": 1}),
        json!({"question_id": 81, "model": "m", "judge": ["g", "s"], "score": 1, "turn": 2}),
    ]);
    let verifiers = lines(&[
        json!({"example_id": 1, "prompt": [], "completion": [], "task": "t", "reward": 1.0}),
        json!({"example_id": 2, "prompt": [], "completion": [], "task": "t", "reward": 0.25}),
    ]);
    let trace = |id: &str, rewards: Value, errors: Value| {
        json!({"id": id, "task": {"type": "T", "key": id, "data": {}}, "nodes": [], "calls": [{}, {}],
            "agent": {"config": {"model": "m"}, "name": "solver"}, "rewards": rewards, "errors": errors,
            "timing": {"start": 1_790_000_000.5}})
    };
    let reward = |score: f64, weight: f64| json!({"score": score, "weight": weight});
    let traces = lines(&[
        trace(
            "a",
            json!({"right": reward(1.0, 1.0), "tidy": reward(0.5, 0.1)}),
            json!([]),
        ),
        trace(
            "b",
            json!({"right": reward(1.0, 0.5), "tidy": reward(1.0, 0.25), "late": null}),
            json!([]),
        ),
        trace(
            "c",
            json!({"right": 1.0, "tidy": reward(-1.0, 1.0)}),
            json!([]),
        ),
        trace(
            "d",
            json!({"right": null}),
            json!([{"type": "ProviderError", "message": "429"}]),
        ),
        trace(
            "e",
            json!({"a": reward(1.0, 0.2), "b": reward(1.0, 0.1), "c": reward(1.0, 0.7)}),
            json!([]),
        ),
    ]);
    let swe = json!({"total_instances": 3, "submitted_ids": ["a__a-1", "a__a-2", "a__a-3"],
        "resolved_ids": ["a__a-1"], "unresolved_ids": ["a__a-2"], "error_ids": ["a__a-3"]});
    let instance = |sample: &str, correct: bool| {
        json!({"schema_version": "instance_level_eval_0.2.1", "evaluation_id": "gsm8k/m/1", "model_id": "m",
            "evaluation_name": "GSM8K", "sample_id": sample, "interaction_type": "single_turn",
            "input": {"raw": "q", "reference": ["a"]}, "output": {"raw": ["a"]}, "answer_attribution": [],
            "evaluation": {"score": f64::from(u8::from(correct)), "is_correct": correct},
            "token_usage": {"input_tokens": 3, "output_tokens": 4, "total_tokens": 7}})
    };
    let every = lines(&[
        instance("1", true),
        instance("2", false),
        instance("3", true),
    ]);
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    for (name, text, taken, set, expected) in [
        (
            "promptfoo.json",
            pretty(&promptfoo),
            "promptfoo results",
            "",
            (2, 1, 0),
        ),
        (
            "one-line.json",
            promptfoo.to_string(),
            "promptfoo results",
            "",
            (2, 1, 0),
        ),
        (
            "tau.json",
            tau.to_string(),
            "tau2-bench simulations",
            "",
            (2, 1, 1),
        ),
        (
            "results.json",
            pretty(&bench),
            "terminal-bench results",
            "model=m",
            (2, 1, 0),
        ),
        (
            "instances.jsonl",
            every,
            "Every Eval Ever instances",
            "",
            (3, 2, 0),
        ),
        (
            "annotations.json",
            alpaca.to_string(),
            "AlpacaEval annotations",
            "",
            (2, 1, 0),
        ),
        (
            "h.jsonl_results.jsonl",
            human,
            "HumanEval results",
            "model=m",
            (3, 2, 0),
        ),
        (
            "events.jsonl",
            openai,
            "a log of OpenAI evals",
            "",
            (1, 1, 0),
        ),
        ("mt.jsonl", mt, "MT-bench judgments", "", (2, 0, 0)),
        (
            "verifiers.jsonl",
            verifiers,
            "verifiers results",
            "model=m",
            (2, 1, 1),
        ),
        ("traces.jsonl", traces, "verifiers traces", "", (5, 2, 1)),
        (
            "gpt.run1.json",
            swe.to_string(),
            "a SWE-bench report",
            "",
            (3, 1, 0),
        ),
        (
            "ids.json",
            json!({"a__a-1": true, "a__a-2": false}).to_string(),
            "a SWE-bench report",
            "model=m",
            (2, 1, 0),
        ),
    ] {
        folder.write(name, &text);
        let set: Vec<&str> = if set.is_empty() {
            vec![]
        } else {
            vec!["--set", set]
        };
        let report = folder.import(&[&[name][..], &set].concat());
        assert_eq!(report["taken_for"], taken, "{name}");
        assert_eq!(folder.totals("store"), expected, "{name}: {report}");
        let again = folder.import(&[&[name][..], &set].concat());
        assert_eq!(
            (&again["new"], &again["replaced"]),
            (&json!(0), &json!(0)),
            "{name}"
        );
        if name == "traces.jsonl" {
            let rows = folder.rows("store", &["--sort", "task_id"]);
            let scores: Vec<&Value> = rows.iter().map(|row| &row["score"]).collect();
            assert_eq!(
                scores,
                [
                    &json!(1.05),
                    &json!(0.75),
                    &json!(0.0),
                    &Value::Null,
                    &json!(1.0)
                ]
            );
            assert_eq!(
                (&rows[3]["error_type"], &rows[0]["turns"]),
                (&json!("infrastructure"), &json!(2))
            );
        }
        if name == "promptfoo.json" {
            let rows = folder.rows("store", &["--sort", "task_id"]);
            assert_eq!(
                (&rows[0]["execution_time"], &rows[0]["cost"]),
                (&json!(0.25), &json!(0.5))
            );
            assert_eq!(rows[0]["input_tokens"], 3);
            assert_eq!(rows[1]["error_type"], "infrastructure");
        }
        fs::remove_dir_all(folder.path().join("store")).unwrap();
    }
}

/// Summary rows: tests and successes.
fn counted(folder: &Folder, file: &str, more: &[&str]) -> (Value, Value, Value) {
    let report = folder.import(&[&[file], more].concat());
    let again = folder.import(&[&[file], more].concat());
    assert_eq!(again["existing"], again["rows"], "{file}: {again}");
    let of = |name: &str| report["summaries"][name].clone();
    (report["taken_for"].clone(), of("tests"), of("success"))
}

#[test]
fn counts_become_summary_rows() {
    let folder = Folder::new();
    let results = json!({"results": {"arc": {"acc,none": 0.75, "acc_stderr,none": 0.1}},
        "n-samples": {"arc": {"original": 4, "effective": 4}}, "n-shot": {"arc": 0},
        "model_name": "m", "configs": {}, "versions": {}});
    let every = json!({"schema_version": "0.3.0", "model_info": {"id": "org/m"}, "evaluation_results": [
        {"evaluation_name": "gsm8k", "metric_config": {"lower_is_better": false, "min_score": 0, "max_score": 1},
         "score_details": {"score": 0.5, "uncertainty": {"num_samples": 10}}}]});
    let bfcl = "{\"accuracy\": 0.5, \"correct_count\": 1, \"total_count\": 2}\n\
                {\"id\": \"simple_1\", \"model_name\": \"b\", \"test_category\": \"simple\", \"valid\": false}\n";
    let alpaca = ",win_rate,standard_error,n_wins,n_wins_base,n_draws,n_total,mode\n\
                  m-1,50.0,1.0,10,10,0,20,verified\nm-2,25.0,1.0,5,15,0,20,verified\n";
    for (name, text, taken, tests, success) in [
        (
            "results_2026-01-31T10-11-12.123456.json",
            results.to_string(),
            "results of lm-evaluation-harness",
            4,
            3,
        ),
        (
            "every.json",
            serde_json::to_string_pretty(&every).unwrap(),
            "an aggregate of Every Eval Ever",
            10,
            5,
        ),
        (
            "BFCL_v4_simple_score.json",
            bfcl.to_owned(),
            "a score file of BFCL",
            2,
            1,
        ),
        (
            "leaderboard.csv",
            alpaca.to_owned(),
            "AlpacaEval's leaderboard",
            40,
            15,
        ),
    ] {
        folder.write(name, &text);
        let found = counted(&folder, name, &[]);
        assert_eq!(
            found,
            (json!(taken), json!(tests), json!(success)),
            "{name}"
        );
    }
    let groups = folder.rows("store", &["--group-by", "model", "--sort", "model"]);
    let models: Vec<&str> = groups
        .iter()
        .filter_map(|group| group["model"].as_str())
        .collect();
    assert_eq!(models, ["b", "m", "m-1", "m-2", "org/m"]);
}

#[test]
fn further_formats_are_known_by_their_content() {
    let folder = Folder::new();
    let lines = |rows: &[Value]| -> String { rows.iter().map(|row| format!("{row}\n")).collect() };
    let evalplus = json!({"date": "2026-01-31", "hash": "h", "eval": {
        "HumanEval/0": [{"task_id": "HumanEval/0", "solution": "a", "base_status": "pass", "plus_status": "pass"},
                        {"task_id": "HumanEval/0", "solution": "b", "base_status": "pass", "plus_status": "fail"}],
        "HumanEval/1": [{"task_id": "HumanEval/1", "solution": "c", "base_status": "fail", "plus_status": null}]}});
    let bigcode = json!({"date": "2026-01-31", "eval": {
        "BigCodeBench/0": [{"task_id": "BigCodeBench/0", "solution": "a", "status": "pass", "details": {}}],
        "BigCodeBench/1": [{"task_id": "BigCodeBench/1", "solution": "b", "status": "timeout", "details": {}}]}});
    let harbor = |reward: Option<f64>, exception: Option<&str>| {
        json!({"id": format!("{reward:?}{exception:?}"), "task_name": "t", "trial_name": "t__1", "trial_uri": "file:///x",
            "task_id": {"path": "t"}, "source": "terminal-bench", "config": {"agent": {"name": "a"}},
            "agent_info": {"name": "a", "version": "1", "model_info": {"name": "m", "provider": "p"}},
            "agent_result": {"n_input_tokens": 100, "n_cache_tokens": 40, "n_output_tokens": 7, "cost_usd": 0.25},
            "verifier_result": reward.map(|reward| json!({"rewards": {"reward": reward}})),
            "exception_info": exception.map(|name| json!({"exception_type": name, "exception_message": "why"})),
            "started_at": "2026-01-31T10:00:00Z", "finished_at": "2026-01-31T10:01:30Z"})
    };
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap();
    let evalscope = lines(&[
        json!({"index": 0, "sample_score": {"score": {"value": {"acc": 1.0}}, "sample_id": 0, "group_id": 0}}),
        json!({"index": 1, "sample_score": {"score": {"value": {"acc": 0.0}}, "sample_id": 1, "group_id": 1}}),
    ]);
    let table = "q,[openai:m] p one,Status,Score,Named Scores,Grader Reason,Comment,[echo] p one,Status,Score,Named Scores,Grader Reason,Comment\n\
                 a,out,PASS,1.00,,,,out,FAIL,0.50,,too long,\nb,out,ERROR,0.00,,,,,,,,,\n";
    let old = "q,[openai:m] p\na,\"[PASS] (1.00)\n\nout\"\nb,\"[FAIL] (0.00, x: 0.00)\n\nout\"\n";
    for (name, text, taken, set, expected) in [
        (
            "x_eval_results.json",
            evalplus.to_string(),
            "EvalPlus results",
            "model=m",
            (3, 1, 0),
        ),
        (
            "y_eval_results.json",
            pretty(&bigcode),
            "BigCodeBench results",
            "model=m",
            (2, 1, 0),
        ),
        (
            "result.json",
            pretty(&harbor(Some(1.0), None)),
            "Harbor trials",
            "",
            (1, 1, 0),
        ),
        (
            "lost.json",
            harbor(None, Some("DaytonaError")).to_string(),
            "Harbor trials",
            "",
            (1, 0, 0),
        ),
        (
            "gsm8k_main.jsonl",
            evalscope,
            "EvalScope reviews",
            "",
            (2, 1, 0),
        ),
        (
            "out.csv",
            table.to_owned(),
            "a table of promptfoo",
            "",
            (3, 1, 0),
        ),
        (
            "old.csv",
            old.to_owned(),
            "a table of promptfoo",
            "",
            (2, 1, 0),
        ),
    ] {
        folder.write(name, &text);
        let set: Vec<&str> = if set.is_empty() {
            vec![]
        } else {
            vec!["--set", set]
        };
        let report = folder.import(&[&[name][..], &set].concat());
        assert_eq!(report["taken_for"], taken, "{name}");
        assert_eq!(folder.totals("store"), expected, "{name}: {report}");
        let again = folder.import(&[&[name][..], &set].concat());
        assert_eq!(
            (&again["new"], &again["replaced"]),
            (&json!(0), &json!(0)),
            "{name}"
        );
        let rows = folder.rows("store", &["--sort", "task_id,model"]);
        match name {
            "result.json" => {
                let row = &rows[0];
                let said = [
                    "model",
                    "input_tokens",
                    "cache_read_tokens",
                    "cost",
                    "execution_time",
                ]
                .map(|name| &row[name]);
                assert_eq!(
                    said,
                    [
                        &json!("m"),
                        &json!(60),
                        &json!(40),
                        &json!(0.25),
                        &json!(90.0)
                    ]
                );
            }
            "lost.json" => assert_eq!(rows[0]["error_type"], "infrastructure"),
            "out.csv" => {
                assert_eq!(
                    (&rows[0]["model"], &rows[0]["error_message"]),
                    (&json!("echo"), &json!("too long"))
                );
                assert_eq!(rows[2]["error_type"], "infrastructure");
            }
            _ => {}
        }
        fs::remove_dir_all(folder.path().join("store")).unwrap();
    }
}

/// Details as lighteval 0.13 writes them: a sample is a structure of structures.
#[test]
fn details_of_lighteval() {
    let folder = Folder::new();
    let detail = |id: u32, correct: f64, loose: f64| {
        json!({
            "doc": {"query": format!("{id} + 1?"), "choices": ["1", "2"], "gold_index": [1], "id": id.to_string(),
                "task_name": "local|sums|0", "specific": null, "fewshot_samples": [], "num_samples": 1},
            "model_response": {"input": "x", "text": ["2"], "input_tokens": [1, 2], "output_tokens": [[3]],
                "logprobs": [-0.5], "truncated_tokens_count": 0},
            "metric": {"acc": correct, "acc_norm": loose},
        })
    };
    let rows = [(0, 1.0, 0.0), (1, 0.0, 1.0), (2, 0.5, 1.0), (3, 1.0, 1.0)];
    let rows = rows.map(|(id, correct, loose)| detail(id, correct, loose));
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let inferred = arrow::json::reader::infer_json_schema(lines.as_bytes(), None);
    let schema = std::sync::Arc::new(inferred.unwrap().0);
    let mut reader = arrow::json::ReaderBuilder::new(schema)
        .build(lines.as_bytes())
        .unwrap();
    let name = "details_local|sums|0_2026-01-31T12-00-00.000000.parquet";
    let path = folder.path().join(name);
    crate::values::write(&path, &reader.next().unwrap().unwrap());
    let error = folder.refusal(1, &["import", name, "--into", "store"]);
    assert!(error.contains("--set model=NAME"), "{error}");
    let report = folder.import(&[name, "--set", "model=m"]);
    assert_eq!(report["taken_for"], "lighteval details");
    assert_eq!(folder.totals("store"), (4, 2, 1));
    let rows = folder.rows("store", &[]);
    let mut rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            json!([
                row["task_id"],
                row["task_type"],
                row["score"],
                row["success"]
            ])
        })
        .collect();
    rows.sort_by_key(Value::to_string);
    let expected = [
        (0, 1.0, true),
        (1, 0.0, false),
        (2, 0.5, false),
        (3, 1.0, true),
    ];
    let expected = expected.map(|(id, score, full): (u32, f64, bool)| {
        json!([id.to_string(), "local|sums|0", score, full])
    });
    assert_eq!(rows, expected);
}

#[test]
fn every_eval_ever_goes_out_and_comes_back() {
    let folder = Folder::new();
    let row = |n: u32| {
        json!({"model": format!("org/m{}", n % 2), "task_id": format!("q{n}"), "task_type": "t",
        "success": n.is_multiple_of(3), "input_tokens": n, "output_tokens": 1, "execution_time": 0.5})
    };
    let mut text: String = (0..12).map(|n| format!("{}\n", row(n))).collect();
    text.push_str("{\"model\":\"org/m0\",\"task_id\":\"u\",\"success\":null,\"score\":0.5}\n");
    folder.write("r.jsonl", &text);
    folder.import(&["r.jsonl"]);
    let export = ["export", "store", "--format", "eee", "-o", "out"];
    let said = folder.run(&export).success();
    let said = String::from_utf8_lossy(&said.get_output().stdout).into_owned();
    assert!(
        said.contains("exported 12 tests of 2 models") && said.contains("1 test without a verdict"),
        "{said}"
    );
    let error = folder.refusal(1, &export);
    assert!(error.contains("out is there already"), "{error}");
    // Each model has two files of one name.
    let files = |model: &str| {
        let place = format!("out/data/evaltop/org/{model}");
        let names = fs::read_dir(folder.path().join(&place)).unwrap();
        let mut names: Vec<String> = names
            .map(|entry| format!("{place}/{}", entry.unwrap().file_name().display()))
            .collect();
        names.sort();
        <[String; 2]>::try_from(names).unwrap()
    };
    let [aggregate, samples] = files("m0");
    assert_eq!(samples, aggregate.replace(".json", "_samples.jsonl"));
    let text = fs::read_to_string(folder.path().join(&aggregate)).unwrap();
    let document: Value = serde_json::from_str(&text).unwrap();
    let result = &document["evaluation_results"][0]["score_details"];
    assert_eq!(
        (&result["score"], &result["uncertainty"]["num_samples"]),
        (&json!(2.0 / 6.0), &json!(6))
    );
    let error = folder.refusal(1, &["import", &aggregate, "--into", "store"]);
    assert!(error.contains("is the sum of the samples in"), "{error}");
    // A folder's samples count, and the aggregates next to them don't count again.
    folder.run(&["import", "out", "--into", "back"]).success();
    assert_eq!(folder.totals("back"), (12, 4, 0));
    for model in ["m0", "m1"] {
        let [aggregate, samples] = files(model);
        fs::remove_file(folder.path().join(samples)).unwrap();
        folder
            .run(&["import", &aggregate, "--into", "counts"])
            .success();
    }
    let groups = |store: &str| {
        let groups = folder.rows(store, &["--group-by", "model", "--sort", "model"]);
        groups
            .iter()
            .map(|group| (group["tests"].clone(), group["success"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(groups("counts"), groups("back"));
}

#[test]
fn a_mapping_file_of_ones_own() {
    let folder = Folder::new();
    folder.write("mine.toml", "name = \"my results\"\nrows = \"items\"\n[success]\nfrom = \"verdict\"\nis = [\"ok\"]\n\
                               [columns]\nmodel = \"who\"\nexecution_time = { from = \"ms\", times = 0.001 }\n");
    folder.write(
        "r.json",
        "{\"who\": \"m\", \"items\": [{\"verdict\": \"ok\", \"ms\": 1500}, {\"verdict\": \"no\"}]}",
    );
    let report = folder.import(&["r.json", "--mapping", "mine.toml"]);
    assert_eq!(report["taken_for"], "my results");
    assert_eq!(folder.totals("store"), (2, 1, 0));
    folder.write("wrong.toml", "name = \"x\"\ncolums = 1\n");
    let error = folder.refusal(
        1,
        &[
            "import",
            "r.json",
            "--into",
            "store",
            "--mapping",
            "wrong.toml",
        ],
    );
    assert!(
        error.contains("wrong.toml is not a mapping file"),
        "{error}"
    );
}

#[test]
fn what_can_not_be_opened_is_said_in_one_sentence() {
    let folder = Folder::new();
    let big: Vec<Value> = (0..3_000)
        .map(|n| json!({"name": format!("row {n}"), "n": n}))
        .collect();
    let two = json!({"first": big, "second": big});
    let ids: serde_json::Map<String, Value> = (0..730)
        .map(|n| (format!("a-rather-long-id-{n}"), json!(true)))
        .collect();
    let wide: String = (0..730)
        .map(|n| format!("a_rather_long_column_{n},"))
        .collect();
    for (name, text, said) in [
        (
            "pretty.json",
            serde_json::to_string_pretty(&two).unwrap(),
            "give --rows",
        ),
        (
            "y.yaml",
            "model: m\nresults:\n  - ok: true\n".to_owned(),
            "YAML",
        ),
        (
            "lfs.parquet",
            "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n".to_owned(),
            "git lfs pull",
        ),
        ("ids.json", Value::Object(ids).to_string(), "--success-from"),
        ("wide.csv", format!("{wide}last\n"), "--success-from"),
        (
            "gaps.csv",
            "model,success\nm,True\nm,\n".to_owned(),
            "--skip-bad",
        ),
        (
            "results_1.json",
            "{\"results\": {\"t\": {}}, \"versions\": {}, \"config\": {}}".to_owned(),
            "does not say the model",
        ),
    ] {
        folder.write(name, &text);
        let error = folder.refusal(1, &["import", name, "--into", "store"]);
        assert!(error.contains(said), "{name}: {error}");
        let length = error.trim_end().chars().count();
        assert!(
            length <= 300 + "evaltop: ".len(),
            "{name}: {length} letters: {error}"
        );
    }
}

#[test]
fn where_no_format_fits_the_columns_are_shown() {
    let folder = Folder::new();
    folder.write("r.csv", "llm,question,is_correct\nm,why,1\nm,how,0\n");
    let out = folder.run(&["import", "r.csv", "--into", "store"]).code(1);
    let text = String::from_utf8_lossy(&out.get_output().stdout).into_owned();
    assert!(text.contains("  question = why"), "{text}");
    let tried = text.split("try: evaltop ").nth(1).expect(&text).trim();
    let tried: Vec<&str> = tried
        .split(' ')
        .map(|word| word.trim_matches('\''))
        .collect();
    folder.run(&tried).success();
    assert_eq!(folder.totals("store"), (2, 1, 0));
}

#[test]
fn a_folder_is_followed_until_it_is_interrupted() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("logs")).unwrap();
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin("evaltop"))
        .args(["import", "logs", "--follow", "--into", "store"])
        .current_dir(folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let wait_for = |tests: u64| {
        let begin = std::time::Instant::now();
        while !folder.path().join("store").exists() || folder.totals("store").0 != tests {
            assert!(begin.elapsed().as_secs() < 180, "{tests} tests");
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    };
    folder.write("logs/r.jsonl", ROWS);
    wait_for(2);
    folder.write(
        "logs/r.jsonl",
        &format!("{ROWS}{{\"model\":\"m\",\"success\":true,\"n\":3}}\n{{\"mod"),
    );
    wait_for(3);
    folder.write("logs/l.json", &log(&[json!("C")]));
    wait_for(4);
    // Killed at any point and started again, it adds nothing twice.
    child.kill().unwrap();
    child.wait().unwrap();
    folder.run(&["import", "logs", "--into", "store"]).success();
    assert_eq!(folder.totals("store").0, 4);
}

#[test]
fn logs_are_opened_without_a_store() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("logs")).unwrap();
    folder.write("logs/l.json", &log(&[json!("C"), json!("I")]));
    let cache = folder.path().join("cache");
    let look = || {
        let out = evaltop()
            .arg("logs")
            .current_dir(folder.path())
            .env("XDG_CACHE_HOME", &cache)
            .assert();
        String::from_utf8(out.get_output().stdout.clone()).unwrap()
    };
    // A log that has just begun is followed too, though nothing of it can be read yet.
    fs::create_dir(folder.path().join("begun")).unwrap();
    fs::write(folder.path().join("begun/x.eval"), b"PK").unwrap();
    let begun = evaltop()
        .arg("begun")
        .current_dir(folder.path())
        .env("XDG_CACHE_HOME", &cache)
        .assert();
    let begun = String::from_utf8(begun.get_output().stdout.clone()).unwrap();
    assert!(begun.contains("tests     0"), "{begun}");
    let first = look();
    assert!(first.contains('2') && first.contains("50.0%"), "{first}");
    folder.write("logs/m.json", &log(&[json!("C")]).replace("\"T\"", "\"U\""));
    let second = look();
    assert!(second.contains("66.7%"), "{second}");
    let names: Vec<_> = fs::read_dir(folder.path().join("logs")).unwrap().collect();
    assert_eq!(names.len(), 2, "nothing is written there");
    let mode = fs::metadata(cache.join("evaltop/sources"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o700);
    evaltop()
        .args(["cleanup", "--cache"])
        .env("XDG_CACHE_HOME", &cache)
        .assert()
        .success();
    assert!(!cache.join("evaltop/sources").exists());
}
