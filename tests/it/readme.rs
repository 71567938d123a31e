//! What the README shows works as it stands there. Above each of its code blocks stands
//! which test runs it, or why none does.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::guide::shell;
use crate::support::{evaltop, python};

const README: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"));

const GUIDE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide.md"));

/// The code block that follows a marker in the README or the guide.
fn block(marker: &str) -> String {
    let marker = format!("<!-- tested: {marker} -->\n```");
    let found = [README, GUIDE]
        .into_iter()
        .find_map(|text| text.find(&marker).map(|at| &text[at..]));
    let code = found
        .expect("the marker stands above a block")
        .split("```")
        .nth(1)
        .expect("a code block follows it");
    code.split_once('\n')
        .expect("the block has lines")
        .1
        .to_owned()
}

/// Runs a block of Python that may call the program.
fn run_python(python: &Path, marker: &str, dir: &Path) {
    let program = Path::new(env!("CARGO_BIN_EXE_evaltop"))
        .parent()
        .unwrap()
        .to_path_buf();
    let path = std::env::join_paths(
        std::iter::once(program).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let status = Command::new(python)
        .args(["-c", &block(marker)])
        .current_dir(dir)
        .env("PATH", path.unwrap())
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn every_block_is_run_or_says_why_not() {
    let lines: Vec<&str> = README.lines().collect();
    let mut tested = BTreeSet::new();
    let mut inside = false;
    for (at, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.starts_with("```"))
    {
        inside = !inside;
        let above = at
            .checked_sub(1)
            .and_then(|above| lines.get(above))
            .copied()
            .unwrap_or_default();
        let marker = |begin| {
            above
                .strip_prefix(begin)
                .and_then(|rest| rest.strip_suffix(" -->"))
        };
        match (marker("<!-- tested: "), marker("<!-- not run: ")) {
            _ if !inside => {}
            (Some(name), _) => assert!(tested.insert(name), "two blocks are called {name}"),
            (None, Some(why)) => assert!(!why.is_empty()),
            (None, None) => panic!("line {}: nothing says what runs '{line}'", at + 1),
        }
    }
    assert_eq!(
        tested,
        // "python" is run by python/tests/test_docs.py.
        BTreeSet::from(["own data", "python", "reading"]),
        "a block without a test below"
    );
}

/// The code blocks of a page, without comments and without what is printed in a sentence.
fn blocks(text: &str) -> Vec<String> {
    let code = text.split("```").skip(1).step_by(2);
    let bare = |line: &str| line.split('#').next().unwrap_or(line).trim_end().to_owned();
    code.map(|block| block.lines().map(bare).collect::<Vec<_>>().join("\n"))
        .collect()
}

#[test]
fn the_chinese_readme_has_the_same_commands_and_links() {
    const CHINESE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/README.zh-CN.md"));
    assert_eq!(blocks(README), blocks(CHINESE));
    let links = |text: &'static str| -> BTreeSet<&str> {
        let rest = text.split("](").skip(1);
        let found = rest.filter_map(|rest| rest.split(')').next());
        found.filter(|link| !link.starts_with("README")).collect()
    };
    assert_eq!(links(README), links(CHINESE));
    assert!(blocks(README).len() > 3 && links(README).len() > 10);
}

#[test]
fn results_of_ones_own_come_in_and_are_read_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    std::fs::write(
        dir.join("results.jsonl"),
        "{\"model\":\"a\",\"score\":1,\"task_id\":\"1\"}\n{\"model\":\"a\",\"score\":0.5,\"task_id\":\"2\"}\n",
    )
    .unwrap();
    let said = shell(
        &format!("set -e\n{}echo reached the end", block("own data")),
        dir,
    );
    for part in [
        "results.jsonl: 2 rows, 2 new",
        "✓ HEALTHY",
        "50.0%",
        "reached the end",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let Some(python) = python() else { return };
    run_python(&python, "reading", dir);
}

#[test]
fn a_python_runner_records_through_the_pipe() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    run_python(&python, "recording", folder.path());
    let output = evaltop()
        .args(["status", "--format", "json"])
        .arg(folder.path().join("my_store"))
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status["totals"]["tests"], 2);
    assert_eq!(status["totals"]["success"], 1);
}

/// The recipe up to its first result, in 6 workers of 100 tests each, started twice.
#[test]
fn the_recipe_holds_in_workers_that_are_forked_or_spawned() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let recipe = block("recording");
    let recipe = recipe.split("\nrecord(test_id=").next().unwrap();
    let script = format!(
        "{recipe}\n\n{}",
        r#"
import multiprocessing, sys
import numpy

def work(worker):
    for task in range(100):
        name = f"{worker}-{task}"
        told = record(test_id=name, task_id=name, model="m", success=numpy.bool_(task % 2 == 0),
                      execution_time=numpy.float32(0.5), turns=numpy.int64(task))
        assert told == name, (told, name)
    finish()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    workers = [context.Process(target=work, args=(number,)) for number in range(6)]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    print(sum(100 for worker in workers if worker.exitcode == 0))
"#
    );
    let path = folder.path().join("workers.py");
    std::fs::write(&path, script).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_evaltop")).parent().unwrap();
    let search = std::env::var_os("PATH").unwrap();
    let search = std::env::join_paths(
        std::iter::once(program.to_path_buf()).chain(std::env::split_paths(&search)),
    )
    .unwrap();
    for method in ["fork", "spawn", "fork"] {
        let run = Command::new(&python)
            .arg(&path)
            .arg(method)
            .current_dir(folder.path())
            .env("PATH", &search)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&run.stderr).into_owned();
        assert_eq!(
            String::from_utf8_lossy(&run.stdout).trim(),
            "600",
            "{method}: {said}"
        );
        assert!(!said.contains("write into this one recorder"), "{said}");
        let status = evaltop()
            .args(["status", "my_store", "--format", "json"])
            .current_dir(folder.path())
            .output()
            .unwrap();
        let seen: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
        assert_eq!(
            (&seen["totals"]["tests"], &seen["totals"]["success"]),
            (&600.into(), &300.into())
        );
        let writers = seen["writers"].as_array().unwrap();
        assert!(
            writers.iter().all(|writer| writer["state"] == "finished"),
            "{writers:?}"
        );
    }
}
