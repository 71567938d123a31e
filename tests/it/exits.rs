//! Exit codes: each that the guide's table lists, and none that it doesn't.

use std::fs::{self, File};
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
fn a_model_that_there_is_not_is_told_with_the_one_that_was_meant() {
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
            "cannot group by 'task_typ' (did you mean 'task_type'?)",
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
