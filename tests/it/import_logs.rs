//! `import` of evaluation logs of other frameworks.

use std::fs;
use std::io::Write;
use std::path::Path;

use serde_json::{Value, json};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::support::{evaltop, real_data};
use crate::transfer::Folder;

#[test]
fn inspect_documents() {
    for (name, status, full) in [
        ("inspect_popularity.json", Some("cancelled"), 2),
        ("inspect_security_guide.json", None, 3),
    ] {
        let Some(file) = real_data(name) else { return };
        let folder = Folder::new();
        let report = folder.import(&[file.to_str().unwrap()]);
        assert_eq!(report["taken_for"], "an Inspect log");
        assert_eq!(
            (&report["rows"], &report["success"]),
            (&json!(3), &json!(full))
        );
        assert_eq!(folder.totals("store"), (3, full, 0));
        let notes = report["notes"].to_string();
        assert!(
            status.is_none_or(|status| notes.contains(status)),
            "{notes}"
        );
        let rows = folder.rows("store", &[]);
        for row in &rows {
            assert_eq!(row["model"], "openai/gpt-4o-mini");
            assert_eq!(row["epoch"], 1);
            assert!(row["execution_time"].as_f64().unwrap() > 0.1, "{row}");
            assert!(row["input_tokens"].as_u64().unwrap() > 10, "{row}");
            assert_eq!((&row["turns"], &row["tool_calls"]), (&json!(1), &json!(0)));
            assert!(
                row["timestamp"]
                    .as_str()
                    .unwrap()
                    .starts_with("2025-05-13T00:28"),
                "{row}"
            );
        }
        let again = folder.import(&[file.to_str().unwrap()]);
        assert_eq!((&again["new"], &again["existing"]), (&json!(0), &json!(3)));
    }
}

#[test]
fn inspect_archive_without_scores() {
    let Some(file) = real_data("inspect_popularity.eval") else {
        return;
    };
    let folder = Folder::new();
    let report = folder.import(&[file.to_str().unwrap()]);
    assert_eq!(report["taken_for"], "an Inspect log");
    assert_eq!(report["rows"], 10);
    assert!(
        report["notes"][0]
            .as_str()
            .unwrap()
            .contains("10 samples without a score"),
        "{report}"
    );
    let rows = folder.rows("store", &[]);
    assert_eq!(rows.len(), 10);
    assert!(
        rows.iter()
            .all(|row| row["error_type"] == "infrastructure" && row["task_type"] == "popularity")
    );
    assert!(
        rows.iter()
            .all(|row| row["execution_time"].as_f64().unwrap() > 0.1),
        "from the events"
    );
}

#[test]
fn an_inspect_scorer_that_gives_several_values() {
    let folder = Folder::new();
    let sample = |id: u32, right: f64| json!({"id": id, "epoch": 1, "scores": {"graded": {"value": {"tidy": 1, "right": right}}}});
    let log = json!({
        "version": 2, "status": "success", "eval": {"task": "t", "model": "m", "task_id": "T"},
        "results": {"scores": [
            {"name": "right", "scorer": "graded", "reducer": "mean"}, {"name": "tidy", "scorer": "graded"},
            {"name": "right", "scorer": "graded", "reducer": "mode"},
        ]},
        "samples": [sample(1, 1.0), sample(2, 0.0), sample(3, 0.5)],
    });
    folder.write("log.json", &log.to_string());
    let report = folder.import(&["log.json"]);
    assert_eq!(folder.totals("store"), (3, 1, 1));
    let note = "success is score_graded_right >= 1, of score_graded_right, score_graded_tidy: \
                --success-from 'NAME>=1' takes another";
    assert_eq!(report["notes"], json!([note]));
    assert!(
        folder
            .rows("store", &[])
            .iter()
            .all(|row| row["error_type"].is_null()),
        "all were scored"
    );
    let args = [
        "import",
        "log.json",
        "--into",
        "other",
        "--success-from",
        "score_graded_tidy>=1",
    ];
    evaltop()
        .args(args)
        .current_dir(folder.path())
        .assert()
        .success();
    assert_eq!(folder.totals("other"), (3, 3, 0));
}

/// An archive as the framework writes one: the beginning first, the header last.
fn archive(path: &Path, samples: usize, finished: bool) {
    let mut zip = ZipWriter::new(fs::File::create(path).unwrap());
    let options = SimpleFileOptions::default();
    let mut put = |name: &str, value: &Value| {
        zip.start_file(name, options).unwrap();
        zip.write_all(value.to_string().replace("\"nan\"", "NaN").as_bytes())
            .unwrap();
    };
    let eval =
        json!({"task": "t", "model": "m", "task_id": "T", "created": "2026-01-01T00:00:00+00:00"});
    put("_journal/start.json", &json!({"version": 2, "eval": eval}));
    for i in 0..samples {
        let sample = json!({
            "id": i, "epoch": 1, "scores": {"match": {"value": if i % 2 == 0 { "C" } else { "I" }}},
            "metadata": {"weight": "nan"}, "total_time": 1.5,
        });
        put(&format!("samples/{i}_epoch_1.json"), &sample);
    }
    if finished {
        put(
            "header.json",
            &json!({"version": 2, "status": "success", "eval": eval}),
        );
    }
    zip.finish().unwrap();
}

#[test]
fn inspect_logs_that_are_not_finished() {
    let folder = Folder::new();
    let path = folder.path().join("log.eval");
    archive(&path, 3, false);
    let report = folder.import(&["log.eval"]);
    assert_eq!(report["new"], 3);
    assert!(
        report["notes"][0]
            .as_str()
            .unwrap()
            .contains("not finished"),
        "{report}"
    );

    archive(&path, 5, true);
    let report = folder.import(&["log.eval"]);
    assert_eq!(
        (&report["new"], &report["existing"]),
        (&json!(2), &json!(3))
    );
    assert_eq!(report["notes"], json!([]));
    assert_eq!(folder.totals("store"), (5, 3, 0));
}

#[test]
fn an_inspect_archive_that_is_torn_off_gives_its_complete_samples() {
    let folder = Folder::new();
    let path = folder.path().join("log.eval");
    archive(&path, 5, true);
    let bytes = fs::read(&path).unwrap();
    let end = bytes
        .windows(8)
        .position(|bytes| bytes == b"4_epoch_")
        .unwrap()
        + 40;
    fs::write(&path, &bytes[..end]).unwrap();
    let report = folder.import(&["log.eval"]);
    assert_eq!(report["rows"], 4);
    assert!(
        report["notes"][0].as_str().unwrap().contains("has no end"),
        "{report}"
    );
}

#[test]
fn inspect_logs_that_are_wrong_get_one_sentence() {
    let folder = Folder::new();
    let eval = r#"{"task": "t", "model": "m"}"#;
    folder.write(
        "torn.json",
        &format!(r#"{{"eval": {eval}, "status": "success", "samples": [{{"id": 1}}, "#),
    );
    folder.write(
        "noid.json",
        &format!(r#"{{"eval": {eval}, "status": "success", "samples": [{{"epoch": 1}}]}}"#),
    );
    folder.write(
        "nomodel.json",
        r#"{"eval": {"task": "t"}, "status": "success", "samples": []}"#,
    );
    folder.write("other.json", r#"{"a": 1}"#);
    for (file, said) in [
        (
            "torn.json",
            "torn.json, byte 83: expected a value, found the end of the file; nothing was imported",
        ),
        ("noid.json", "byte 72: a sample without an id"),
        ("nomodel.json", "does not name the task and the model"),
        ("other.json", "does not name the task and the model"),
    ] {
        let error = folder.refusal(1, &["import", file, "--into", "store", "--from", "inspect"]);
        assert!(error.contains(said), "{file}: {error}");
    }
    let mut zip = ZipWriter::new(fs::File::create(folder.path().join("x.zip")).unwrap());
    zip.start_file("a.txt", SimpleFileOptions::default())
        .unwrap();
    zip.finish().unwrap();
    let error = folder.refusal(1, &["import", "x.zip", "--into", "store"]);
    assert!(error.contains("without results in it"), "{error}");
}

/// What the harness leaves of a run: samples of two tasks, and the results.
fn lm_eval_run(folder: &Folder) {
    let date = "2026-01-31T10-11-12.123456";
    fs::create_dir_all(folder.path().join("org__m")).unwrap();
    let sample = |id: usize, filter: &str, acc: Value| {
        let sample = json!({
            "doc_id": id, "doc": {"question": "?"}, "target": "4", "arguments": {}, "resps": [["4"]],
            "filtered_resps": ["4"], "filter": filter, "metrics": ["ppl", "acc"], "ppl": 2.5, "acc": acc,
        });
        format!("{sample}\n")
    };
    let math: String = (0..4)
        .map(|i| sample(i, "strict", json!(f64::from(u8::from(i % 2 == 0)))))
        .collect();
    let loose: String = (0..4).map(|i| sample(i, "loose", json!(1.0))).collect();
    folder.write(
        &format!("org__m/samples_math_{date}.jsonl"),
        &format!("{math}{loose}"),
    );
    folder.write(
        &format!("org__m/samples_words_{date}.jsonl"),
        &sample(0, "none", json!(0.25)),
    );
    let results = json!({
        "results": {}, "configs": {}, "n-shot": {"math": 5}, "model_name": "org/m", "date": 1_769_854_272.5,
        "higher_is_better": {"math": {"ppl": false}, "words": {"ppl": false}},
    });
    folder.write(&format!("org__m/results_{date}.json"), &results.to_string());
}

#[test]
fn of_lm_eval_samples_without_a_filter_the_first_of_each_document_counts() {
    let folder = Folder::new();
    let sample = |id: usize, answer: &str, acc: f64| {
        let sample = json!({
            "doc_id": id, "doc": {"question": "?"}, "target": "4", "arguments": {}, "resps": [[answer]],
            "filtered_resps": [answer], "acc": acc,
        });
        format!("{sample}\n")
    };
    // Two filters a document, as older harnesses list them: document by document.
    let lines: String = (0..6)
        .map(|id| sample(id, "strict", f64::from(u8::from(id < 2))) + &sample(id, "loose", 1.0))
        .collect();
    fs::create_dir_all(folder.path().join("org__m")).unwrap();
    let name = "org__m/samples_math_2026-01-31T10-11-12.123456.jsonl";
    folder.write(name, &lines);
    let results = json!({"results": {}, "configs": {}, "model_name": "org/m"}).to_string();
    folder.write("org__m/results_2026-01-31T10-11-12.123456.json", &results);
    let report = folder.import(&[name]);
    assert_eq!(
        (&report["rows"], &report["success"]),
        (&json!(6), &json!(2)),
        "{report}"
    );
    assert!(
        report["notes"].to_string().contains("6 lines of other"),
        "{report}"
    );
}

#[test]
fn lm_eval_samples() {
    let folder = Folder::new();
    lm_eval_run(&folder);
    let math = "org__m/samples_math_2026-01-31T10-11-12.123456.jsonl";
    let report = folder.import(&[math]);
    assert_eq!(report["taken_for"], "samples of lm-evaluation-harness");
    assert_eq!(
        (&report["rows"], &report["success"]),
        (&json!(4), &json!(2))
    );
    assert!(
        report["notes"][0]
            .as_str()
            .unwrap()
            .contains("4 lines of other answer filters"),
        "{report}"
    );
    let row = &folder.rows("store", &["--limit", "1"])[0];
    for (name, expected) in [
        ("model", json!("org/m")),
        ("task_type", json!("math")),
        ("prompt_type", json!("5-shot")),
        ("task_id", json!("math/0")),
        ("timestamp", json!("2026-01-31T10:11:12.500Z")),
        ("score_ppl", json!(2.5)),
    ] {
        assert_eq!(row[name], expected, "{row}");
    }
    folder.import(&["org__m/samples_words_2026-01-31T10-11-12.123456.jsonl"]);
    assert_eq!(folder.totals("store"), (5, 2, 1));
    assert_eq!(folder.import(&[math])["new"], 0);

    let error = folder.refusal(
        1,
        &[
            "import",
            "org__m/results_2026-01-31T10-11-12.123456.json",
            "--into",
            "store",
        ],
    );
    let said = "the sum of the samples in samples_math_2026-01-31T10-11-12.123456.jsonl";
    assert!(error.contains(said), "{error}");
}

#[test]
fn lm_eval_runs_under_other_names_and_without_metrics() {
    let date = "2026-01-31T10-11-12.123456";
    let folder = Folder::new();
    let sample = |metrics: Value| {
        let mut sample = json!({
            "doc_id": 0, "doc": {}, "target": "4", "arguments": {"gen_args_0": {"arg_0": "q"}},
            "resps": [["4", "5"]], "filtered_resps": [["4", "5"]], "filter": "none", "doc_hash": "d",
            "prompt_hash": "p", "target_hash": "t",
            "metrics": metrics.as_object().unwrap().keys().collect::<Vec<_>>(),
        });
        sample
            .as_object_mut()
            .unwrap()
            .extend(metrics.as_object().unwrap().clone());
        format!("{sample}\n")
    };
    folder.write(
        &format!("mine_{date}.json"),
        "{\"model_name\": \"org/m\", \"loss\": NaN}",
    );
    // Of another run, and newer.
    folder.write(
        "results_2026-02-01T00-00-00.json",
        "{\"model_name\": \"org/other\"}",
    );
    let words = format!("samples_words_{date}.jsonl");
    folder.write(&words, &sample(json!({"bleu_max": 23.5, "bleu_acc": 0})));
    let report = folder.import(&[&words]);
    assert_eq!(folder.rows("store", &[])[0]["model"], "org/m");
    let note = "scores go from 23.5 to 23.5, so none is a success: --success-from 'score>=23.5' says which are";
    assert_eq!(report["notes"], json!([note]));
    let unscored = format!("samples_unscored_{date}.jsonl");
    folder.write(&unscored, &sample(json!({"bypass": 999})));
    let error = folder.refusal(1, &["import", &unscored, "--into", "store"]);
    assert!(
        error.contains("line 1: no metric that is a number"),
        "{error}"
    );
    fs::remove_file(folder.path().join(format!("mine_{date}.json"))).unwrap();
    let error = folder.refusal(1, &["import", &words, "--into", "store"]);
    assert!(
        error.contains("does not say the model"),
        "not that of another run: {error}"
    );
}

#[test]
fn lm_eval_samples_without_results() {
    let folder = Folder::new();
    lm_eval_run(&folder);
    fs::remove_file(
        folder
            .path()
            .join("org__m/results_2026-01-31T10-11-12.123456.json"),
    )
    .unwrap();
    let words = "org__m/samples_words_2026-01-31T10-11-12.123456.jsonl";
    let report = folder.import(&[words]);
    assert!(
        report["notes"][0]
            .as_str()
            .unwrap()
            .contains("no results file"),
        "{report}"
    );
    let row = &folder.rows("store", &[])[0];
    assert_eq!(
        (&row["model"], &row["success"]),
        (&json!("org/m"), &Value::Null),
        "ppl decides unless told, and is on another scale"
    );
    assert_eq!(row["timestamp"], "2026-01-31T10:11:12.123456Z");
    fs::rename(
        folder.path().join(words),
        folder.path().join("samples_words.jsonl"),
    )
    .unwrap();
    let error = folder.refusal(1, &["import", "samples_words.jsonl", "--into", "store"]);
    assert!(
        error.contains("keep it next to its results_*.json"),
        "{error}"
    );
    folder.write(
        "samples_bad.jsonl",
        "{\"doc_id\": 1, \"resps\": [], \"metrics\": [\"f1\"], \"f1\": null}\n",
    );
    folder.write("results.json", "{\"model_name\": \"m\"}");
    let error = folder.refusal(1, &["import", "samples_bad.jsonl", "--into", "store"]);
    assert!(
        error.contains("line 1: no metric that is a number"),
        "{error}"
    );
}

#[test]
fn one_column_per_model() {
    let models = "mistralai/Mixtral-8x7B-Instruct-v0.1,gpt-4-1106-preview";
    for (name, prompts, passes) in [
        ("routellm_mmlu_anatomy.csv", 135, [89, 110]),
        ("routellm_mmlu_high_school_us_history.csv", 204, [170, 189]),
    ] {
        let Some(file) = real_data(name) else { return };
        let folder = Folder::new();
        let args = [file.to_str().unwrap(), "--models-in-columns", models];
        let report = folder.import(&args);
        assert_eq!(report["rows"], 2 * prompts);
        let groups = folder.rows("store", &["--group-by", "model"]);
        for (model, passes) in models.split(',').zip(passes) {
            let group = groups.iter().find(|group| group["model"] == model).unwrap();
            assert_eq!(
                (&group["tests"], &group["success"]),
                (&json!(prompts), &json!(passes))
            );
        }
        assert_eq!(folder.import(&args)["new"], 0);
        let rows = folder.rows("store", &["--columns", "model,task_id"]);
        let tasks: std::collections::BTreeSet<_> =
            rows.iter().map(|row| row["task_id"].to_string()).collect();
        assert_eq!(tasks.len(), prompts, "both models share a prompt's task");
    }
}

#[test]
fn one_column_per_model_with_scores() {
    let folder = Folder::new();
    folder.write("s.csv", "q,a,b\nq1,0.9,1\nq2,1,0\n");
    let args = [
        "s.csv",
        "--models-in-columns",
        "a,b",
        "--map",
        "task_id=q",
        "--success-from",
        "value>=1",
    ];
    folder.import(&args);
    assert_eq!(folder.totals("store"), (4, 2, 0));
    assert_eq!(
        folder
            .rows("store", &["--model", "a", "--task-type", "unknown"])
            .len(),
        2
    );
    let refused =
        |args: &[&str]| folder.refusal(1, &[&["import", "--into", "store"], args].concat());
    let error = refused(&["s.csv", "--models-in-columns", "a,c"]);
    assert!(
        error.contains("has no column 'c' for a model, it has q, a, b"),
        "{error}"
    );
    let error = refused(&["s.csv", "--models-in-columns", "a,b"]);
    assert!(
        error.contains("line 2: column 'success': '0.9' is neither true nor false"),
        "{error}"
    );
}
