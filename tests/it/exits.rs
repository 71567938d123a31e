//! Exit codes: each that the guide's table lists, and none that it doesn't.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{evaltop, evaltop_process};

#[test]
fn every_exit_code_of_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let lines = "{\"model\":\"m\",\"success\":true}\n".repeat(3);
    evaltop()
        .args(["record", "store"])
        .write_stdin(lines)
        .current_dir(dir)
        .assert()
        .success();
    let mut seen = Vec::new();
    let mut ends = |args: &[&str], code: i32| {
        let ended = evaltop().args(args).current_dir(dir).assert().code(code);
        seen.push(code);
        String::from_utf8(ended.get_output().stderr.clone()).unwrap()
    };
    assert_eq!(ends(&["status", "store"], 0), "");
    assert!(ends(&["status", "nowhere"], 1).starts_with("evaltop: no store at "));
    assert!(ends(&["status", "store", "--format", "xml"], 2).contains("[possible values: text"));
    let other = "{\"model\":\"n\",\"success\":false}\n";
    evaltop()
        .args(["record", "store"])
        .write_stdin(other)
        .current_dir(dir)
        .assert()
        .success();
    ends(&["compare", "store", "--fail-under", "0.5"], 30);
    fs::write(
        dir.join("store/evaltop.toml"),
        "[thresholds]\nincrements_warning = 0\n",
    )
    .unwrap();
    ends(&["status", "store"], 10);
    let lock = File::create(dir.join("store/test_results.parquet.lock")).unwrap();
    lock.lock().unwrap();
    assert!(ends(&["consolidate", "store"], 75).contains("is locked by "));
    drop(lock);
    fs::write(
        dir.join("store/test_results.parquet"),
        "no Parquet at all, and long enough to be looked at",
    )
    .unwrap();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3_600);
    File::options()
        .write(true)
        .open(dir.join("store/test_results.parquet"))
        .unwrap()
        .set_modified(old)
        .unwrap();
    ends(&["status", "store"], 20);

    let mut child = evaltop_process()
        .args(["record", "--ack", "other"])
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // It has answered, so it listens to signals.
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    // Held open until the end, which would be another one otherwise.
    let mut input = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"{\"model\":\"m\",\"success\":true}\n").unwrap();
    std::io::BufRead::read_line(&mut out, &mut String::new()).unwrap();
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    seen.extend(child.wait().unwrap().code());
    drop(input);

    let guide = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide.md"));
    let table = guide
        .lines()
        .skip_while(|line| !line.starts_with("| exit code |"))
        .skip(2);
    let listed = table
        .map_while(|line| line.strip_prefix("| "))
        .map(|line| line.split(' ').next().unwrap());
    let mut listed: Vec<i32> = listed.map(|code| code.parse().unwrap()).collect();
    listed.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, listed);
}

#[test]
fn a_model_that_there_is_not_is_reported_with_the_one_that_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let line = "{\"model\":\"gpt-4o-mini\",\"success\":true}\n";
    evaltop()
        .args(["record", "store"])
        .write_stdin(line)
        .current_dir(dir)
        .assert()
        .success();
    for (args, said) in [
        (
            &["--model", "GPT-4o-mini"][..],
            "there is no model 'GPT-4o-mini' (did you mean 'gpt-4o-mini'?)\n",
        ),
        (
            &["--model", "gpt-4o", "--group-by", "difficulty"],
            "no model 'gpt-4o' (did you mean 'gpt-4o-mini'?)\n",
        ),
        (&["--model", "other"], "there is no model 'other'\n"),
        (&["--model", "gpt-4o-mini"], ""),
        (&["--model", "other", "--quiet"], ""),
        (
            &["--columns", "modle"],
            "no column 'modle' (did you mean 'model'?): the columns are ",
        ),
        (
            &["--group-by", "task_typ"],
            "no column 'task_typ' (did you mean 'task_type'?)",
        ),
        (
            &["--sort", "turn", "--limit", "1"],
            "cannot sort by 'turn' (did you mean 'turns'?)",
        ),
    ] {
        let ended = evaltop()
            .args(["query", "store"])
            .args(args)
            .current_dir(dir)
            .assert();
        let error = String::from_utf8(ended.get_output().stderr.clone()).unwrap();
        assert!(
            error.contains(said) && error.is_empty() == said.is_empty(),
            "{args:?}: {error}"
        );
    }
}

/// The code, and what is said on stderr.
fn said(dir: &Path, args: &[&str], input: &str) -> (i32, String) {
    let run = evaltop()
        .args(args)
        .env_remove("EVALTOP_DIR")
        .current_dir(dir)
        .write_stdin(input)
        .output()
        .unwrap();
    let error = String::from_utf8(run.stderr).unwrap();
    (run.status.code().unwrap(), error)
}

const ONE: &str = "{\"model\":\"m\",\"success\":true,\"difficulty\":\"hard\",\"task_type\":\"code\",\
                   \"prompt_type\":\"cot\",\"session_id\":\"monday\",\"scaffold\":\"react\"}\n";

#[test]
fn slips_in_any_filter_and_in_commands_are_answered_with_what_was_meant() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert_eq!(said(dir, &["record", "store"], ONE).0, 0);
    for (args, meant) in [
        (&["--difficulty", "hrad"][..], "(did you mean 'hard'?)"),
        (&["--task-type", "cdoe"], "(did you mean 'code'?)"),
        (&["--prompt-type", "cto"], "(did you mean 'cot'?)"),
        (&["--session", "mondey"], "(did you mean 'monday'?)"),
        (&["--where", "scaffold = raect"], "(did you mean 'react'?)"),
        (
            &["--where", "scafold = react"],
            "(did you mean 'scaffold'?)",
        ),
    ] {
        let (_, error) = said(dir, &[&["query", "store"], args].concat(), "");
        assert!(error.contains(meant), "{args:?}: {error}");
    }
    for (typed, meant) in [("staus", "status"), ("querry", "query")] {
        let (code, error) = said(dir, &[typed, "store"], "");
        let meant = format!("did you mean '{meant}'?");
        assert!(code == 2 && error.contains(&meant), "{typed}: {error}");
    }
}

#[test]
fn an_ending_that_is_no_format_is_refused_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    assert_eq!(said(dir, &["record", "store"], ONE).0, 0);
    for name in ["x.png", "x.PDF", "x.xlsx", "x.html"] {
        let (code, error) = said(dir, &["query", "store", "-o", name], "");
        assert!(
            code == 2 && error.contains("query writes .json"),
            "{name}: {error}"
        );
        assert!(!dir.join(name).exists(), "{name}");
    }
    for name in ["y.pdf", "y.PNG", "y.docx"] {
        let (code, error) = said(dir, &["report", "store", "-o", name], "");
        assert!(
            code == 2 && error.contains("report.html or report.md"),
            "{name}: {error}"
        );
        assert!(!dir.join(name).exists(), "{name}");
    }
    for name in ["y", "y.html", "y.md"] {
        assert_eq!(
            said(dir, &["report", "store", "-o", name], ""),
            (0, String::new())
        );
    }
    for name in ["x", "x.txt", "/dev/stdout"] {
        assert_eq!(
            said(dir, &["query", "store", "-o", name], ""),
            (0, String::new())
        );
    }
}

#[test]
fn a_store_that_nobody_named_is_made_with_a_yes_only() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::write(dir.join("a.csv"), "model,success\nm,1\n").unwrap();
    let usual = dir.join("pilot_bench_parquet_data");
    for (args, input) in [(&["record"][..], ONE), (&["import", "a.csv"], "")] {
        let (code, error) = said(dir, args, input);
        assert!(code == 2 && error.contains("--create"), "{args:?}: {error}");
        assert!(!usual.exists(), "{args:?}");
        let (code, error) = said(dir, &[args, &["--create"]].concat(), input);
        assert!(
            code == 0 && error.contains("makes the store"),
            "{args:?}: {error}"
        );
        std::fs::remove_dir_all(&usual).unwrap();
    }
    for url in ["gopher://host/x", "ftp://host/x"] {
        let (code, error) = said(dir, &["record", url], ONE);
        assert!(code == 2 && error.contains("is a URL"), "{error}");
    }
    let left: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["a.csv"]);
}

#[test]
fn a_url_is_refused_where_only_a_store_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    fs::write(here.join("plan.csv"), "model\nm\n").unwrap();
    fs::write(
        here.join("rows.jsonl"),
        "{\"model\":\"m\",\"success\":true}\n",
    )
    .unwrap();
    let refused = |args: &[&str], said: &str| {
        let ended = evaltop()
            .args(args)
            .write_stdin("{\"model\":\"m\",\"success\":true}\n")
            .current_dir(here)
            .assert()
            .code(2);
        let error = String::from_utf8(ended.get_output().stderr.clone()).unwrap();
        assert_eq!(error.trim_end().lines().count(), 1, "{args:?}: {error}");
        assert!(
            error.starts_with(&format!("evaltop: {said}")),
            "{args:?}: {error}"
        );
    };
    for place in ["s3:/bucket/x", "host:/path/x", "host:"] {
        for arguments in [
            &["record", place][..],
            &["run", place, "--models", "m", "--", "true"],
            &["import", "rows.jsonl", "--into", place],
        ] {
            refused(arguments, &format!("{place} is a place on another machine"));
        }
        let first = place.split('/').next().unwrap();
        assert!(!here.join(first).exists(), "{place}");
    }
    for (url, of_readers) in [
        ("s3://bucket/runs", false),
        ("file:///nowhere/x", false),
        ("az+blob://x", true),
    ] {
        let changing: &[&[&str]] = &[
            &["consolidate", url],
            &["cleanup", url, "--yes"],
            &["backup", url],
            &["restore", url, "--undo", "--yes"],
            &["validate", url],
            &["import", "rows.jsonl", "--into", url],
            &["import", url],
            &["merge", url, "-o", "out.parquet"],
            &["maintain", url],
            &["maintain", url, "--every", "1s"],
            &["config", "show", url],
            &["config", "check", url],
            &["demo", "--dir", url],
        ];
        let reading: &[&[&str]] = &[
            &[url],
            &["watch", url],
            &["status", url],
            &["query", url],
            &["compare", url, "a", "b"],
            &["record", url],
            &["run", url, "--plan", "plan.csv", "--", "true"],
            &["export", url, "-o", "out.csv"],
            &["pull", url, "--into", "store"],
        ];
        let plot = format!("{url}.svg");
        let writing: &[&[&str]] = &[
            &["merge", "rows.jsonl", "-o", url],
            &["query", "store", "-o", url],
            &["export", "store", "-o", url],
            &["export", "store", "--format", "eee", "-o", url],
            &["report", "store", "-o", url],
            &["backup", "store", "--to", url],
            &["compare", "store", "a", "b", "--plot", &plot],
        ];
        for args in writing {
            let named = args.last().unwrap();
            refused(
                args,
                &format!("{named} is a URL, and evaltop writes files and folders"),
            );
        }
        let said = if of_readers {
            let table = ["export", "store", "--format", "delta", "-o", url];
            refused(&table, &format!("{url} is a URL that evaltop can't open"));
            format!("{url} is a URL that evaltop can't open")
        } else {
            format!("{url} is a mailbox")
        };
        let reading = if of_readers { reading } else { &[] };
        for args in changing.iter().chain(reading) {
            refused(args, &said);
        }
    }
    // What nobody can open is refused before anything is made.
    if !cfg!(feature = "cloud") {
        let ended = evaltop()
            .arg("record")
            .env("EVALTOP_DIR", "s3://bucket/runs")
            .env("XDG_STATE_HOME", here.join("state"))
            .write_stdin("{\"model\":\"m\",\"success\":true}\n")
            .current_dir(here)
            .assert()
            .code(1);
        let error = String::from_utf8(ended.get_output().stderr.clone()).unwrap();
        assert!(error.contains("the feature cloud"), "{error}");
        fs::remove_dir_all(here.join("state")).unwrap_or_default();
    }
    let mut left: Vec<_> = fs::read_dir(here)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(
        left,
        ["plan.csv", "rows.jsonl"],
        "no folder was made of a URL"
    );
}

/// `/dev/full` takes nothing: what can't be written is said of its stream, never passed over.
#[test]
#[cfg(target_os = "linux")]
fn an_output_that_takes_nothing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let recorded = crate::support::evaltop()
        .args(["record", "store"])
        .current_dir(dir)
        .write_stdin("{\"model\":\"a\",\"success\":true}\n{\"model\":\"b\",\"success\":true}\n")
        .assert();
    recorded.success();
    let consolidated = crate::support::evaltop()
        .args(["consolidate", "store", "-y"])
        .current_dir(dir)
        .assert();
    consolidated.success();
    for arguments in [
        &["status", "store"][..],
        &["status", "store", "--format", "json"],
        &["query", "store"],
        &["query", "store", "--group-by", "model", "--format", "json"],
        &["query", "store", "--format", "csv"],
        &["query", "store", "--group-by", "model", "--plot"],
        &["compare", "store", "a", "b"],
        &["validate", "store"],
        &["consolidate", "store", "--dry-run"],
        &["cleanup", "store", "--dry-run"],
        &["backup", "store", "--dry-run"],
        &["export", "store", "--dry-run", "-o", "x.csv"],
        &["run", "store", "--models", "m", "--dry-run", "--", "true"],
        &["config", "show"],
        &["man"],
        &["completions", "bash"],
        &["help"],
        &["--version"],
        &["record", "store", "--ack"],
    ] {
        let full = std::fs::OpenOptions::new()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let mut child = crate::support::evaltop_process();
        child
            .args(arguments)
            .current_dir(dir)
            .stdin(std::process::Stdio::piped())
            .stdout(full)
            .stderr(std::process::Stdio::piped());
        let mut child = child.spawn().unwrap();
        {
            use std::io::Write as _;
            let _ = child
                .stdin
                .take()
                .unwrap()
                .write_all(b"{\"model\":\"a\",\"success\":true}\n");
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("standard output"), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
    }
}
