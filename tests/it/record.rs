//! `record`: lines in, answers out, nothing acknowledged ever lost.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Stdio};

use crate::support::{evaltop, evaltop_process, main_rows, names};

fn line(id: &str) -> String {
    format!("{{\"test_id\":\"{id}\",\"model\":\"m\",\"success\":true}}\n")
}

/// `record --ack` with pipes.
fn recording(dir: &Path) -> Child {
    evaltop_process()
        .args(["record", "--ack"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn consolidate(dir: &Path) {
    evaltop().arg("consolidate").arg(dir).assert().success();
}

#[test]
fn every_line_is_answered_in_order_and_a_bad_one_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("new/store");
    let mut input = Vec::new();
    input.extend(line("a").bytes());
    input.extend(b"nonsense\n");
    input.extend(b"{\"model\":\"m\",\"success\":\"yes\"}\r\n");
    input.extend(b"{\"model\":\"\xff\",\"success\":true}\n");
    input.extend(b"{\"model\":\"m\",\"success\":0,\"note\":NaN}");
    let run = evaltop()
        .args(["record", "--ack"])
        .arg(&store)
        .write_stdin(input)
        .assert()
        .code(1);
    let output = run.get_output();
    let answers: Vec<_> = std::str::from_utf8(&output.stdout)
        .unwrap()
        .lines()
        .collect();
    assert_eq!(
        (answers.len(), &answers[..4]),
        (5, &["a", "-", "-", "-"][..])
    );
    assert_eq!(answers[4].len(), 36, "a generated id");
    let reported = String::from_utf8_lossy(&output.stderr).into_owned();
    for part in [
        "line 2 rejected: not JSON",
        "line 3 rejected: field 'success' must be true or false",
        "line 4 rejected: not UTF-8",
        "3 lines are kept in",
    ] {
        assert!(reported.contains(part), "{reported}");
    }
    let rejected = names(&store)
        .into_iter()
        .find(|name| name.starts_with("rejected_"))
        .unwrap();
    let kept = fs::read(store.join("incremental").join(rejected)).unwrap();
    assert_eq!(kept.split(|b| *b == b'\n').count(), 4);
    assert!(kept.starts_with(b"nonsense\n"));
    consolidate(&store);
    assert_eq!(main_rows(&store), [answers[4], "a"]);
}

#[test]
fn a_wrong_file_is_not_reported_line_by_line_and_who_stops_listening_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let input = format!("{}{}", "nonsense\n".repeat(30_000), line("a"));
    let run = evaltop()
        .arg("record")
        .arg(&store)
        .write_stdin(input.clone())
        .assert()
        .code(1);
    let reported = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert_eq!(reported.lines().count(), 21, "{reported}");
    assert!(reported.contains("30,000 lines are kept in"), "{reported}");
    // Answers are read, complaints are not.
    let mut child = recording(&store);
    drop(child.stderr.take());
    let mut stdin = child.stdin.take().unwrap();
    let writing =
        std::thread::spawn(move || stdin.write_all(input.replace("\"a\"", "\"b\"").as_bytes()));
    let mut answers = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut answers)
        .unwrap();
    writing.join().unwrap().unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(
        (answers.lines().count(), answers.lines().last()),
        (30_001, Some("b"))
    );
    consolidate(&store);
    assert_eq!(main_rows(&store), ["a", "b"]);
}

#[test]
fn a_line_without_end_is_rejected_and_the_next_goes_in() {
    let dir = tempfile::tempdir().unwrap();
    let mut input = vec![b'x'; (16 << 20) + 10];
    input.push(b'\n');
    input.extend(line("a").bytes());
    let run = evaltop()
        .args(["record", "--ack"])
        .arg(dir.path())
        .write_stdin(input)
        .assert()
        .code(1);
    assert_eq!(run.get_output().stdout, b"-\na\n");
    assert!(String::from_utf8_lossy(&run.get_output().stderr).contains("longer than 16 MiB"));
}

#[test]
fn nothing_is_said_when_all_is_well() {
    let dir = tempfile::tempdir().unwrap();
    let run = evaltop()
        .arg("record")
        .arg(dir.path())
        .write_stdin(line("a"))
        .assert()
        .success();
    assert!(run.get_output().stdout.is_empty() && run.get_output().stderr.is_empty());
    assert_eq!(names(dir.path()).len(), 2, "an increment and its journal");
}

#[test]
fn an_answer_comes_before_the_next_line_is_sent() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = recording(dir.path());
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for id in ["a", "b", "c"] {
        input.write_all(line(id).as_bytes()).unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), id);
    }
    drop(input);
    assert!(child.wait().unwrap().success());
}

#[test]
fn what_was_answered_survives_a_kill_and_a_polite_end() {
    for (signal, code) in [(9, None), (15, Some(130)), (2, Some(130))] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = recording(dir.path());
        let mut input = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        input.write_all(line("a").as_bytes()).unwrap();
        assert_eq!(answers.next().unwrap().unwrap(), "a");
        input.write_all(b"{\"model\":\"never comp").unwrap();
        let status = std::process::Command::new("kill")
            .args([format!("-{signal}"), child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
        assert_eq!(child.wait().unwrap().code(), code);
        let published = names(dir.path())
            .iter()
            .any(|name| name.starts_with("increment_"));
        assert_eq!(published, code.is_some());
        consolidate(dir.path());
        assert_eq!(main_rows(dir.path()), ["a"]);
        assert!(names(dir.path()).is_empty());
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_with_everything_kept() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = recording(dir.path());
    drop(child.stdout.take());
    let mut input = child.stdin.take().unwrap();
    input.write_all(line("a").as_bytes()).unwrap();
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(1));
    consolidate(dir.path());
    assert_eq!(main_rows(dir.path()), ["a"]);
}

#[test]
fn a_folder_that_cannot_be_made_is_one_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let run = evaltop()
        .arg("record")
        .arg(&file)
        .write_stdin(line("a"))
        .assert()
        .code(1);
    let reported = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(
        reported.contains("is a file: name the folder of a store") && reported.lines().count() == 1,
        "{reported}"
    );
}

#[test]
fn durability_can_be_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["record", "--ack", "--durability", "disk"];
    evaltop()
        .args(args)
        .arg(dir.path())
        .write_stdin(line("a"))
        .assert()
        .success()
        .stdout("a\n");
}

#[test]
fn tests_without_a_verdict_are_counted_apart_wherever_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let lines = [
        r#"{"test_id":"a","model":"m","success":true,"task_id":"x"}"#,
        r#"{"test_id":"b","model":"m","success":false,"task_id":"x","error_type":"timeout"}"#,
        r#"{"test_id":"c","model":"m","score":0.25,"task_id":"y"}"#,
        r#"{"test_id":"d","model":"m","success":null,"error_type":"rate_limit"}"#,
        r#"{"test_id":"e","model":"m","task_id":"z"}"#,
        r#"{"test_id":"f","model":"m","success":0.25}"#,
    ];
    let reported = evaltop()
        .arg("record")
        .arg(&store)
        .write_stdin(lines.join("\n"))
        .assert()
        .code(1);
    let reported = String::from_utf8_lossy(&reported.get_output().stderr).into_owned();
    for part in [
        "line 5 rejected: field 'success' is missing, and neither 'score' nor 'error_type'",
        "line 6 rejected: field 'success' must be true or false (or 1 or 0), not a number (0.25): \
         put a score into 'score'",
    ] {
        assert!(reported.contains(part), "{reported}");
    }
    let json = |args: &[&str]| -> serde_json::Value {
        let run = evaltop().args(args).arg(&store).output().unwrap();
        serde_json::from_slice(&run.stdout).unwrap()
    };
    // First from the journal or its increment, then from main's rows, then from its footer.
    for _ in 0..3 {
        let seen = json(&["status", "--format", "json"]);
        let totals = &seen["totals"];
        for (name, count) in [
            ("tests", 4),
            ("success", 1),
            ("failed", 1),
            ("unscored", 2),
            ("infrastructure", 1),
        ] {
            assert_eq!(totals[name], count, "{name}: {totals}");
        }
        assert_eq!(
            (&totals["success_rate"], &totals["scored_rate"]),
            (&0.5.into(), &0.5.into())
        );
        let rows = json(&["query", "--group-by", "model", "--format", "json"]);
        let group = &rows[0];
        assert_eq!(
            (&group["tests"], &group["unscored"]),
            (&4.into(), &2.into()),
            "{rows}"
        );
        assert_eq!(group["success_rate"], 0.5);
        let rows = json(&["query", "--format", "json"]);
        let scored = rows
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["test_id"] == "c");
        assert_eq!(scored.unwrap()["score"], 0.25);
        assert!(scored.unwrap()["success"].is_null() && scored.unwrap().get("cost").is_none());
        consolidate(&store);
    }
}
