//! `import` of the same rows again: corrected, copied, grown, in other formats.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::python;
use crate::transfer::Folder;

fn counts(report: &Value) -> (u64, u64, u64) {
    let count = |name: &str| report[name].as_u64().unwrap();
    (count("new"), count("existing"), count("replaced"))
}

const EIGHTS: &str = "q,model,score\n1,m,8\n2,m,8\n3,m,8\n4,m,8\n5,m,8\n6,m,8\n";

#[test]
fn a_corrected_condition_replaces_wholly() {
    for map in [&[][..], &["--map", "test_id=q"]] {
        let folder = Folder::new();
        folder.write("s.csv", EIGHTS);
        let import = |more: &[&str]| folder.import(&[&["s.csv"], map, more].concat());
        assert_eq!(counts(&import(&["--success-from", "score>=7"])), (6, 0, 0));
        assert_eq!(folder.totals("store"), (6, 6, 0));
        let corrected = import(&["--success-from", "score>=9"]);
        assert_eq!(counts(&corrected), (0, 0, 6), "{corrected}");
        assert!(corrected["replaced_of"].as_str().is_some(), "{corrected}");
        assert_eq!(folder.totals("store"), (6, 0, 0));
        let cell = ["--success-from", "score>=9", "--map", "task_type=q"];
        assert_eq!(counts(&import(&cell)), (0, 0, 6));
        assert_eq!(folder.totals("store"), (6, 0, 0));
        assert_eq!(counts(&import(&cell)), (0, 6, 0), "again");
        // And back.
        assert_eq!(counts(&import(&["--success-from", "score>=7"])), (0, 0, 6));
        assert_eq!(folder.totals("store"), (6, 6, 0));
        folder.run(&["consolidate", "store"]).success();
        folder.run(&["validate", "store"]).success();
        assert_eq!(folder.totals("store"), (6, 6, 0));
    }
}

#[test]
fn a_replacement_says_of_what() {
    let folder = Folder::new();
    folder.write("s.csv", EIGHTS);
    let import = |condition: &str| {
        let args = [
            "import",
            "s.csv",
            "--into",
            "store",
            "--success-from",
            condition,
        ];
        let out = folder.run(&args).success();
        String::from_utf8(out.get_output().stdout.clone()).unwrap()
    };
    import("score>=7");
    let text = import("score>=9");
    let said = text.split("replaces 6 rows of ").nth(1).expect(&text);
    let clock: Vec<&str> = said.split(' ').next().unwrap().split(':').collect();
    assert!(
        clock.len() == 2 && clock.iter().all(|part| part.parse::<u8>().is_ok()),
        "{text}"
    );
}

#[test]
fn an_id_that_is_mapped_later_is_the_same_row() {
    let folder = Folder::new();
    folder.write("s.csv", EIGHTS);
    folder.import(&["s.csv", "--success-from", "score>=7"]);
    let mapped = folder.import(&["s.csv", "--success-from", "score>=7", "--map", "test_id=q"]);
    assert_eq!(counts(&mapped), (0, 0, 6));
    assert_eq!(folder.totals("store"), (6, 6, 0));
}

#[test]
fn a_corrected_row_replaces_the_old_one() {
    let folder = Folder::new();
    let with = ["s.csv", "--success-from", "score>=9"];
    folder.write("s.csv", EIGHTS);
    folder.import(&with);
    folder.write("s.csv", &EIGHTS.replace("3,m,8", "3,m,9"));
    assert_eq!(counts(&folder.import(&with)), (0, 5, 1));
    assert_eq!(folder.totals("store"), (6, 1, 0));
    // The older file again wins again.
    folder.write("s.csv", EIGHTS);
    assert_eq!(counts(&folder.import(&with)), (0, 5, 1));
    assert_eq!(folder.totals("store"), (6, 0, 0));
}

#[test]
fn another_file_of_the_same_name_is_another_file() {
    let folder = Folder::new();
    let with = ["s.csv", "--success-from", "score>=7"];
    folder.write("s.csv", EIGHTS);
    folder.import(&with);
    folder.write("s.csv", &EIGHTS.replace(",m,8", ",m,7"));
    assert_eq!(counts(&folder.import(&with)), (6, 0, 0));
    assert_eq!(folder.totals("store"), (12, 12, 0));
    assert_eq!(counts(&folder.import(&with)), (0, 6, 0), "again");
    folder.write("s.csv", EIGHTS);
    assert_eq!(
        counts(&folder.import(&with)),
        (0, 6, 0),
        "and the first again"
    );
    assert_eq!(folder.totals("store"), (12, 12, 0));
}

#[test]
fn a_rescored_log_replaces_its_scores() {
    let folder = Folder::new();
    let log = |value: &str| {
        let sample = |id: u32| {
            json!({"id": id, "epoch": 1, "completed_at": "2026-01-01T00:00:01+00:00",
                   "scores": {"match": {"value": value}}})
        };
        let eval = json!({"task": "t", "model": "m", "task_id": "T"});
        json!({"version": 2, "status": "success", "eval": eval,
               "samples": [sample(1), sample(2), sample(3)]})
        .to_string()
    };
    folder.write("first.json", &log("I"));
    folder.write("scored.json", &log("C"));
    folder.import(&["first.json"]);
    assert_eq!(folder.totals("store"), (3, 0, 0));
    assert_eq!(counts(&folder.import(&["scored.json"])), (0, 0, 3));
    assert_eq!(folder.totals("store"), (3, 3, 0));
    assert_eq!(counts(&folder.import(&["scored.json"])), (0, 3, 0));
    assert_eq!(counts(&folder.import(&["first.json"])), (0, 0, 3));
    assert_eq!(folder.totals("store"), (3, 0, 0));
    let cell = ["first.json", "--set", "difficulty=hard"];
    assert_eq!(counts(&folder.import(&cell)), (0, 0, 3), "other cells");
    assert_eq!(folder.totals("store"), (3, 0, 0));
}

const TWICE: &str = "{\"model\":\"m\",\"task_id\":\"T/0\",\"completion\":\"return 1\",\"passed\":true}\n\
                     {\"model\":\"m\",\"task_id\":\"T/0\",\"completion\":\"return 1\",\"passed\":true}\n\
                     {\"model\":\"m\",\"task_id\":\"T/0\",\"completion\":\"return 2\",\"passed\":false}\n";

#[test]
fn identical_rows_of_a_file_are_so_many_tests() {
    let folder = Folder::new();
    folder.write("r.jsonl", TWICE);
    let with = |name| [name, "--success-from", "passed"];
    assert_eq!(counts(&folder.import(&with("r.jsonl"))), (3, 0, 0));
    assert_eq!(folder.totals("store"), (3, 2, 0));
    assert_eq!(counts(&folder.import(&with("r.jsonl"))), (0, 3, 0));
    folder.write("copy.jsonl", TWICE);
    assert_eq!(
        counts(&folder.import(&with("copy.jsonl"))),
        (0, 3, 0),
        "a copy"
    );
    let first = TWICE.lines().next().unwrap();
    folder.write("r.jsonl", &format!("{TWICE}{first}\n"));
    assert_eq!(
        counts(&folder.import(&with("r.jsonl"))),
        (1, 3, 0),
        "grown by an equal row"
    );
    assert_eq!(folder.totals("store"), (4, 3, 0));
    assert_eq!(
        counts(&folder.import(&with("copy.jsonl"))),
        (0, 3, 0),
        "the older version"
    );
    assert_eq!(folder.totals("store"), (4, 3, 0));
}

#[test]
fn two_files_of_one_model_are_distinguished() {
    let folder = Folder::new();
    let file = |passed: usize| -> String {
        let row = |task| {
            let row =
                json!({"model": "m", "task_id": format!("t{task}"), "success": task < passed});
            format!("{row}\n")
        };
        (0..10).map(row).collect()
    };
    folder.write("monday.jsonl", &file(9));
    folder.write("tuesday.jsonl", &file(6));
    assert_eq!(
        folder.import(&["monday.jsonl"])["notes"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    let notes = folder.import(&["tuesday.jsonl"])["notes"].to_string();
    assert!(
        notes.contains("monday.jsonl") && notes.contains("--set session_id="),
        "{notes}"
    );
    assert_eq!(folder.totals("store"), (20, 15, 0));
    for name in ["monday.jsonl", "tuesday.jsonl"] {
        assert_eq!(counts(&folder.import(&[name])), (0, 10, 0));
    }
    // One file under two sessions is two sessions.
    let named = |session: &str| folder.import(&["monday.jsonl", "--set", session]);
    assert_eq!(
        counts(&named("session_id=mon")),
        (0, 0, 10),
        "the session got a name"
    );
    assert_eq!(counts(&named("session_id=tue")), (10, 0, 0), "another one");
    assert_eq!(folder.totals("store"), (30, 24, 0));
}

#[test]
fn one_table_in_three_formats_is_one() {
    let Some(python) = python() else { return };
    let folder = Folder::new();
    let script = r#"
import pandas as pd
d = pd.DataFrame({
    "model": ["m"] * 4, "score": [1.0, 0.25, 5.9e-06, 3.0], "ok": [True, False, True, True],
    "n": [1, 2, 3, 4], "day": pd.to_datetime(["2026-01-31", "2026-02-01", "2026-02-01", "2026-02-02"]),
    "gap": [1.0, None, 3.0, 4.0], "text": ["a", "b", "", "007"],
})
d.to_csv("t.csv", index=False)
d.to_json("t.jsonl", orient="records", lines=True, date_format="iso", double_precision=15)
d.to_parquet("t.parquet")
"#;
    let run = Command::new(python)
        .args(["-c", script])
        .current_dir(folder.path())
        .status();
    assert!(run.unwrap().success());
    let with = |name| [name, "--success-from", "ok"];
    for (first, others) in [
        ("t.csv", ["t.jsonl", "t.parquet"]),
        ("t.parquet", ["t.csv", "t.jsonl"]),
        ("t.jsonl", ["t.parquet", "t.csv"]),
    ] {
        assert_eq!(counts(&folder.import(&with(first))), (4, 0, 0));
        for other in others {
            let report = folder.import(&with(other));
            assert_eq!(
                counts(&report),
                (0, 4, 0),
                "{other} after {first}: {report}"
            );
        }
        assert_eq!(folder.totals("store"), (4, 3, 0));
        fs::remove_dir_all(folder.path().join("store")).unwrap();
    }
}

#[test]
fn a_torn_last_line_is_not_there_yet() {
    let folder = Folder::new();
    let whole = "{\"model\":\"m\",\"success\":true}\n{\"model\":\"m\",\"success\":false}\n";
    folder.write("r.jsonl", &whole[..whole.len() - 9]);
    let report = folder.import(&["r.jsonl"]);
    assert_eq!(counts(&report), (1, 0, 0));
    assert!(
        report["left_out"].to_string().contains("not whole yet"),
        "{report}"
    );
    folder.write("r.jsonl", whole);
    assert_eq!(counts(&folder.import(&["r.jsonl"])), (1, 1, 0));
    let whole = "model,success,note\nn,1,x\nn,0,\"a\nb\"\nn,0,z\n";
    for torn in ["n,0", "n,", "n"] {
        let store = format!("csv{}", torn.len());
        folder.write("r.csv", &whole.replace("n,0,z\n", torn));
        let run = |args: &[&str]| {
            let args = [
                &["import", "r.csv", "--into", &store, "--format", "json"],
                args,
            ]
            .concat();
            let out = folder.run(&args).success();
            serde_json::from_slice::<Value>(&out.get_output().stdout).unwrap()["files"][0].clone()
        };
        let report = run(&[]);
        assert_eq!(counts(&report), (2, 0, 0), "{torn}");
        assert!(
            report["left_out"].to_string().contains("not whole yet"),
            "{report}"
        );
        folder.write("r.csv", whole);
        assert_eq!(counts(&run(&[])), (1, 2, 0), "{torn}");
    }
}

#[test]
fn a_torn_last_value_is_not_there_yet() {
    let whole = "model,task_id,score,success\na,1,0.5,true\na,2,1,false\na,3,0.25,false\n";
    let order = "model,task_id,success,score\na,1,true,0.5\na,2,false,1\na,3,false,0.25\n";
    let quoted = "model,task_id,success,note\na,1,true,\"x\"\na,2,false,y\na,3,false,\"zz\"\n";
    for (whole, torn) in [
        (whole, "fal"),
        (order, "0.25e-"),
        (order, "-"),
        (quoted, "\"z"),
    ] {
        let folder = Folder::new();
        let lines: Vec<&str> = whole.lines().collect();
        let end = lines[3].rfind(',').unwrap() + 1;
        let begun = format!("{}\n{}{torn}", lines[..3].join("\n"), &lines[3][..end]);
        folder.write("r.csv", &begun);
        let report = folder.import(&["r.csv"]);
        assert_eq!(counts(&report), (2, 0, 0), "{torn}: {report}");
        let left_out = report["left_out"].to_string();
        assert!(left_out.contains("not whole yet"), "{torn}: {report}");
        folder.write("r.csv", whole);
        assert_eq!(counts(&folder.import(&["r.csv"])), (1, 2, 0), "{torn}");
        assert_eq!(folder.totals("store"), (3, 1, 0), "{torn}");
        // A whole line without an end is there.
        folder.write("r.csv", whole.trim_end());
        assert_eq!(counts(&folder.import(&["r.csv"])), (0, 3, 0), "{torn}");
    }
}

#[test]
fn a_row_that_is_no_text_is_left_out_on_request() {
    let folder = Folder::new();
    let path = folder.path().join("r.csv");
    fs::write(&path, b"model,success\na\xff,1\nb,1\n").unwrap();
    let error = folder.refusal(1, &["import", "r.csv", "--into", "store"]);
    assert!(error.contains("line 2: not UTF-8"), "{error}");
    let report = folder.import(&["r.csv", "--skip-bad"]);
    assert_eq!(
        (counts(&report), &report["rejected"]),
        ((1, 0, 0), &json!(1))
    );
    // A last line may end within a character.
    fs::write(&path, b"model,note\na,x\nb,\xc3").unwrap();
    let set = ["r.csv", "--success-from", "note = 'x'", "--into", "torn"];
    let out = folder.run(&[&["import"], &set[..]].concat()).success();
    let said = String::from_utf8_lossy(&out.get_output().stderr).into_owned();
    assert!(said.contains("not whole yet"), "{said}");
    assert_eq!(folder.totals("torn"), (1, 1, 0));
}

#[test]
fn an_import_without_tasks_says_that_nothing_pairs() {
    let folder = Folder::new();
    folder.write("s.csv", "question,model,success\n1,a,1\n1,b,0\n");
    let notes = folder.import(&["s.csv"])["notes"].to_string();
    assert!(notes.contains("--map task_id=COLUMN"), "{notes}");
    let out = folder.run(&["compare", "store", "a", "b"]).success();
    let text = String::from_utf8_lossy(&out.get_output().stdout).into_owned();
    assert!(text.contains("--map task_id=COLUMN"), "{text}");
    let mapped = folder.import(&["s.csv", "--map", "task_id=question"]);
    assert_eq!(mapped["notes"], json!([]));
}

#[test]
fn bad_rows_are_left_out_on_request_and_kept() {
    let folder = Folder::new();
    folder.write(
        "r.jsonl",
        "{\"model\":\"m\",\"success\":true}\r\n{\"model\":\"m\",\"succ\r\n\r\n{\"model\":\"m\",\"success\":3}\r\n{\"model\":\"m\",\"success\":false}\r\n",
    );
    let error = folder.refusal(1, &["import", "r.jsonl", "--into", "store"]);
    assert!(error.contains("r.jsonl, line 2: not JSON"), "{error}");
    let report = folder.import(&["r.jsonl", "--skip-bad"]);
    assert_eq!(
        (&report["rows"], &report["rejected"]),
        (&json!(2), &json!(2))
    );
    let said = "2 rows (line 2: not JSON";
    let left_out = report["left_out"][0].as_str().unwrap();
    assert!(left_out.starts_with(said), "{left_out}");
    let again = [
        "import",
        "r.jsonl",
        "--skip-bad",
        "--into",
        "other",
        "--create",
    ];
    let strict = folder.run(&[&again[..], &["--strict"]].concat()).code(10);
    let reported = String::from_utf8_lossy(&strict.get_output().stderr).into_owned();
    assert!(
        reported.contains(&format!("evaltop: left out: r.jsonl: {said}")),
        "{reported}"
    );
    folder.run(&again).success();
    assert_eq!(folder.totals("store"), (2, 1, 0));
    let kept: Vec<_> = fs::read_dir(folder.path().join("store/incremental"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("rejected_")
        })
        .collect();
    let text = fs::read_to_string(&kept[0]).unwrap();
    assert!(text.contains("line 2") && text.contains("line 4"), "{text}");
}

#[test]
fn lines_are_counted_as_an_editor_does() {
    let folder = Folder::new();
    let csv = "model,success,note\nm,1,\"two\nlines\"\nm,1,x\n\nm,maybe,y\n";
    for (text, line) in [(csv.to_owned(), 6), (csv.replace('\n', "\r\n"), 6)] {
        folder.write("r.csv", &text);
        let error = folder.refusal(1, &["import", "r.csv", "--into", "store"]);
        assert!(error.contains(&format!("r.csv, line {line}: ")), "{error}");
        folder.write("r.csv", &text.replace("m,maybe,y", "m,1"));
        let error = folder.refusal(1, &["import", "r.csv", "--into", "store"]);
        assert!(
            error.contains(&format!("r.csv, line {line}: 2 fields")),
            "{error}"
        );
    }
}
