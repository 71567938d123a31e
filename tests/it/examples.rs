//! The examples below every command's `--help` are run as they stand there, in a folder that has what
//! they name.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::guide::shell;

/// Examples that are not run, and why.
const NOT_RUN: &[(&str, &str)] = &[
    (
        "evaltop maintain --every 30m --older-than 7d --keep 10 my_store",
        "it goes on until it is stopped",
    ),
    (
        "evaltop pull node7:/runs/nightly node8:/runs/nightly --into all_runs --follow --every 30s",
        "it needs other machines",
    ),
    (
        "evaltop pull s3://my-bucket/nightly --into all_runs --empty --older-than 7d",
        "it needs a bucket, and may not ask the network for one",
    ),
];

/// Examples that ask before they replace something, and are answered here.
const ASK: &[&str] = &["evaltop restore --from test_results_20260131_120000.parquet my_store"];

/// The commands that `evaltop --help` lists, and none for the program as a whole.
fn commands() -> Vec<String> {
    let help = shell("evaltop --help", Path::new("/"));
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = listed
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.split_whitespace().next());
    std::iter::once(String::new())
        .chain(names.filter(|name| *name != "help").map(str::to_owned))
        .collect()
}

fn examples(command: &str) -> Vec<String> {
    let help = shell(&format!("evaltop {command} --help"), Path::new("/"));
    let below = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let examples: Vec<_> = below
        .map_while(|line| line.strip_prefix("  "))
        .map(str::to_owned)
        .collect();
    assert!(
        !examples.is_empty(),
        "evaltop {command} --help has no examples"
    );
    examples
}

fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A store with the models and prompt types of the examples, and the files next to it.
fn prepare(dir: &Path) {
    let record = |model: &str, prompt: &str, n: usize| {
        format!(
            "{{\"model\":\"{model}\",\"prompt_type\":\"{prompt}\",\"difficulty\":\"easy\",\"task_id\":\"{n}\",\
             \"success\":{},\"execution_time\":{n}.5}}\n",
            !n.is_multiple_of(3)
        )
    };
    let mut lines = String::new();
    for model in ["gpt-4o-mini", "qwen2.5-72b-instruct"] {
        for prompt in ["baseline", "cot"] {
            lines.extend((0..5).map(|n| record(model, prompt, n)));
        }
    }
    fs::write(dir.join("lines.jsonl"), &lines).unwrap();
    let result = "{\"model\":\"a\",\"task_id\":\"1\",\"score\":1,\"success\":true}\n";
    fs::write(dir.join("results.jsonl"), result).unwrap();
    fs::write(
        dir.join("scores.csv"),
        "model_name,success\na,true\nb,false\n",
    )
    .unwrap();
    fs::write(
        dir.join("plan.jsonl"),
        "{\"model\":\"a\",\"task_id\":\"p1\"}\n",
    )
    .unwrap();
    // Two sessions, of which the examples name the latest and the previous.
    let session = |name: &str, day: u8| {
        format!(
            "{{\"model\":\"gpt-4o-mini\",\"task_id\":\"1\",\"session_id\":\"{name}\",\"success\":true,\
             \"timestamp\":\"2026-01-{day}T12:00:00Z\"}}\n"
        )
    };
    fs::write(
        dir.join("sessions.jsonl"),
        session("monday", 26) + &session("tuesday", 27),
    )
    .unwrap();
    program(&dir.join("one_test.sh"), "echo '{\"success\":true}'");
    program(&dir.join("bin/python"), "exec ./one_test.sh");
    program(&dir.join("bin/my_runner"), "cat lines.jsonl");
    let made = shell(
        "set -e; evaltop record my_store < lines.jsonl; evaltop record my_store < sessions.jsonl; evaltop consolidate my_store; evaltop backup my_store; \
         cp my_store/backups/*.parquet my_store/backups/test_results_20260131_120000.parquet; \
         evaltop export my_store -o one.parquet; cp one.parquet two.parquet; \
         mkdir -p ~/runs; cp -r my_store ~/runs/nightly; mkdir -p .local/share/bash-completion/completions; echo reached the end",
        dir,
    );
    assert!(made.contains("reached the end"), "{made}");
}

#[test]
fn every_example_can_be_typed() {
    let mut not_run: BTreeSet<&str> = NOT_RUN.iter().map(|(example, _)| *example).collect();
    let mut ask: BTreeSet<&str> = ASK.iter().copied().collect();
    let mut ran = BTreeSet::new();
    for command in commands() {
        // Each command finds the folder fresh, so that no example lives on what another left.
        let folder = tempfile::tempdir().unwrap();
        prepare(folder.path());
        for example in examples(&command) {
            if not_run.remove(example.as_str()) || ran.contains(&example) {
                continue;
            }
            let yes = if ask.remove(example.as_str()) {
                " --yes"
            } else {
                ""
            };
            let said = shell(
                &format!("PATH=$PWD/bin:$PATH; {example}{yes}\necho exit $?"),
                folder.path(),
            );
            assert!(said.ends_with("exit 0\n"), "$ {example}\n{said}");
            ran.insert(example);
        }
    }
    assert!(
        not_run.is_empty() && ask.is_empty(),
        "no such examples: {not_run:?} {ask:?}"
    );
    assert!(ran.len() > 35, "{}", ran.len());
}
