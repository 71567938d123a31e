//! A folder full of things that are no data, and data that would steer a terminal:
//! every command ends, counts what is there, and prints nothing but text.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

mod absurd;

use crate::support::{evaltop, main_rows};

/// No command takes so long, unless it waits for something that never comes.
const PATIENCE: Duration = Duration::from_secs(300);

/// What a terminal, a status bar or a reader's eye would fall for.
const NASTY: &str = "\x1b[31mred\x1b]0;title\x07\x1b[2J \u{9b}31m \u{202e}dlrow\u{202c} \u{200b}\u{feff} \
    \0nul\x08\x7f\r\nsecond line\t#[bg=red]#(id) \"quoted\" \\back\\slash {brace} 模型 e\u{301}";

struct Said {
    code: i32,
    stdout: String,
    stderr: String,
}

fn run(arguments: &[&str], dir: &Path, input: &str) -> Said {
    let output = evaltop()
        .args(arguments)
        .arg(dir)
        .write_stdin(input)
        .timeout(PATIENCE)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    let code = output.status.code();
    let code = code.unwrap_or_else(|| panic!("{arguments:?} was killed or hung: {stdout}{stderr}"));
    assert!(
        code != 101 && !stderr.contains("mistake in its code"),
        "{arguments:?}: {stderr}"
    );
    Said {
        code,
        stdout,
        stderr,
    }
}

/// Nothing in it steers a terminal or hides what is there.
fn is_plain(what: &str, text: &str) {
    let bad = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{feff}')
    };
    let found = text.lines().find(|line| line.contains(bad));
    assert_eq!(found, None, "{what}");
}

fn lines(text: &str, texts: usize) -> String {
    (0..texts)
        .map(|at| {
            let own = format!("{text}{at}");
            let row = json!({
                "model": own, "task_type": own, "prompt_type": own, "difficulty": own, "error_type": own,
                "error_message": own, "flaw_type": own, "task_id": own, "session_id": own,
                "process_id": own, "note": own, own.clone(): own, "success": at % 2 == 0,
            });
            row.to_string() + "\n"
        })
        .collect()
}

#[test]
fn text_that_would_steer_a_terminal_is_only_text_in_every_output() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    assert_eq!(run(&["record"], &dir, &lines(NASTY, 5)).code, 0);
    for committed in [false, true] {
        for arguments in [
            &["status"][..],
            &["status", "--format", "tmux"],
            &["query", "--format", "table"],
            &[
                "query",
                "--group-by",
                "model,task_type",
                "--format",
                "table",
            ],
            &["validate"],
            &["consolidate", "--dry-run"],
            &["cleanup", "--dry-run"],
        ] {
            let said = run(arguments, &dir, "");
            is_plain(
                &format!("{arguments:?}, committed: {committed}"),
                &(said.stdout + &said.stderr),
            );
        }
        // A wrong column lists those that there are.
        let said = run(&["query", "--columns", "nothing"], &dir, "");
        assert_ne!(said.code, 0);
        is_plain("the list of columns", &said.stderr);
        machines(&dir);
        if !committed {
            assert_eq!(run(&["consolidate"], &dir, "").code, 0);
        }
    }
}

/// What programs read has every character of the data, in its own quoting.
fn machines(dir: &Path) {
    let expected: Vec<String> = (0..5).map(|at| format!("{NASTY}{at}")).collect();
    let sorted = |mut texts: Vec<String>| {
        texts.sort();
        assert_eq!(texts, expected);
    };
    let csv = run(
        &[
            "query",
            "--columns",
            "error_message,model",
            "--format",
            "csv",
        ],
        dir,
        "",
    )
    .stdout;
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    sorted(
        reader
            .records()
            .map(|record| record.unwrap()[0].to_owned())
            .collect(),
    );
    let jsonl = run(
        &["query", "--columns", "note,model", "--format", "jsonl"],
        dir,
        "",
    )
    .stdout;
    let rows = jsonl
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    sorted(
        rows.map(|row| row["note"].as_str().unwrap().to_owned())
            .collect(),
    );
    let status: Value =
        serde_json::from_str(&run(&["status", "--format", "json"], dir, "").stdout).unwrap();
    let models = status["models"].as_array().unwrap();
    sorted(
        models
            .iter()
            .map(|model| model["model"].as_str().unwrap().to_owned())
            .collect(),
    );
    let metrics = run(&["status", "--format", "prometheus"], dir, "").stdout;
    let label = |line: &str| {
        let (_, label) = line
            .strip_prefix("evaltop_model_tests{")?
            .split_once("model=\"")?;
        let label = label
            .rsplit_once("\"} ")
            .expect("a label holds no line end")
            .0;
        Some(
            label
                .replace("\\n", "\n")
                .replace("\\\"", "\"")
                .replace("\\\\", "\\"),
        )
    };
    sorted(metrics.split('\n').filter_map(label).collect());
    let tmux = run(&["status", "--format", "tmux"], dir, "").stdout;
    assert!(
        tmux.ends_with('\n') && tmux.matches('\n').count() == 1,
        "{tmux:?}"
    );
    assert!(!tmux.replace("##", "").contains('#'), "{tmux:?}");
}

#[test]
fn rejected_lines_and_errors_are_reported_in_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join(NASTY.replace(['\0', '/'], ""));
    let line = json!({"model": "m", "success": NASTY, "turns": NASTY}).to_string() + "\n";
    let said = run(&["record", "--ack"], &dir, &format!("{line}\x1b[2J\n"));
    assert_eq!((said.code, said.stdout.as_str()), (1, "-\n-\n"));
    is_plain("rejected lines", &said.stderr);
    for arguments in [
        &["status"][..],
        &["validate"],
        &["query"],
        &["consolidate"],
        &["backup"],
    ] {
        let said = run(arguments, &dir, "");
        is_plain(&format!("{arguments:?}"), &(said.stdout + &said.stderr));
        let said = run(arguments, &dir.join(NASTY.replace(['\0', '/'], "")), "");
        assert_eq!(said.code, 1, "{arguments:?}");
        is_plain(
            &format!("{arguments:?} of no store"),
            &(said.stdout + &said.stderr),
        );
    }
    let file = folder.path().join("a\x1b[31m\u{202e}.csv");
    std::fs::write(
        &file,
        format!(
            "model,success,test_id\n\"{}\",perhaps,1\n",
            NASTY.replace('"', "")
        ),
    )
    .unwrap();
    let output = evaltop()
        .arg("import")
        .arg(&file)
        .arg("--into")
        .arg(&dir)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    is_plain(
        "import",
        &(String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr)),
    );
}

fn fifo(path: &Path) {
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
}

/// Everything that can lie in a folder under a name that promises data.
fn odd_things(folder: &Path, prefix: &str, suffix: &str) {
    let named = |what: &str| folder.join(format!("{prefix}{what}{suffix}"));
    std::fs::create_dir(named("folder")).unwrap();
    std::fs::write(named("folder").join("inside"), b"x").unwrap();
    fifo(&named("fifo"));
    drop(UnixListener::bind(named("socket")).unwrap());
    symlink("/dev/zero", named("zero")).unwrap();
    symlink("/dev/null", named("null")).unwrap();
    symlink(named("fifo"), named("to_fifo")).unwrap();
    symlink("nowhere", named("dangling")).unwrap();
    symlink(named("loop"), named("loop")).unwrap();
    symlink(folder, named("up")).unwrap();
    std::fs::write(named("empty"), b"").unwrap();
    let bytes = [prefix.as_bytes(), b"\xff\xfe", suffix.as_bytes()].concat();
    fifo(&folder.join(OsStr::from_bytes(&bytes)));
}

#[test]
fn what_is_no_regular_file_neither_blocks_nor_counts() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let rows = |n: std::ops::Range<u32>| -> String {
        let row = |n| {
            json!({"test_id": format!("t{n}"), "model": "m", "success": true}).to_string() + "\n"
        };
        n.map(row).collect()
    };
    assert_eq!(run(&["record"], &dir, &rows(0..3)).code, 0);
    assert_eq!(run(&["consolidate"], &dir, "").code, 0);
    assert_eq!(run(&["record"], &dir, &rows(3..6)).code, 0);
    for name in ["backups", "commits", "quarantine"] {
        std::fs::create_dir_all(dir.join(name)).unwrap();
    }
    let incremental = dir.join("incremental");
    for (folder, prefix, suffix) in [
        (&incremental, "increment_", ".parquet"),
        (
            &incremental,
            "increment_1_20260131_120000_",
            "_0a_0.parquet",
        ),
        (&incremental, "journal_1_20260131_120000_", "_0a_0.jsonl"),
        (&incremental, ".increment_", ".tmp"),
        (&incremental, "transaction_", ".tmp"),
        (&incremental, "rejected_", ".jsonl"),
        (&dir.join("commits"), "00000009_", ".done"),
        (&dir.join("commits"), "00000009_", ".pending"),
        (&dir.join("backups"), "test_results_", ".parquet"),
        (&dir.join("quarantine"), "", ".parquet"),
        (&dir, ".test_results.", ".tmp"),
        (&dir, "summaries_", ".parquet"),
    ] {
        odd_things(folder, prefix, suffix);
    }
    for name in ["model_stats.parquet", "metadata.json"] {
        std::fs::remove_file(dir.join(name)).unwrap();
        fifo(&dir.join(name));
    }
    let status = |tests: u64| {
        let said = run(&["status", "--format", "json"], &dir, "");
        let status: Value =
            serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}", said.stderr));
        assert_eq!(status["totals"]["tests"], tests);
        assert_eq!(
            run(&["query", "--format", "jsonl"], &dir, "")
                .stdout
                .lines()
                .count() as u64,
            tests
        );
    };
    status(6);
    assert_eq!(run(&["consolidate"], &dir, "").code, 0);
    status(6);
    assert_eq!(main_rows(&dir), ["t0", "t1", "t2", "t3", "t4", "t5"]);
    for arguments in [
        &["validate"][..],
        &["cleanup", "--yes", "--older-than", "0s", "--keep", "0"],
        &["backup", "--yes"],
        &["validate", "--repair", "--yes"],
    ] {
        let said = run(arguments, &dir, "");
        assert!(
            [0, 10].contains(&said.code),
            "{arguments:?}: {}{}",
            said.stdout,
            said.stderr
        );
    }
    assert_eq!(run(&["record"], &dir, &rows(6..8)).code, 0);
    assert_eq!(run(&["consolidate"], &dir, "").code, 0);
    status(8);
}

#[test]
fn names_that_steer_a_terminal_are_reported_in_plain_text() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    assert_eq!(
        run(&["record"], &dir, "{\"model\":\"m\",\"success\":true}\n").code,
        0
    );
    assert_eq!(run(&["consolidate"], &dir, "").code, 0);
    let name = format!("increment_{}.parquet", NASTY.replace(['\0', '/'], ""));
    let odd = dir.join("incremental").join(&name);
    std::fs::copy(dir.join("test_results.parquet"), &odd).unwrap();
    let torn = dir.join("incremental").join(name.replace("second", "torn"));
    std::fs::write(&torn, b"no Parquet at all").unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::options()
        .write(true)
        .open(&torn)
        .unwrap()
        .set_modified(old)
        .unwrap();
    for arguments in [
        &["status"][..],
        &["status", "--format", "tmux"],
        &["consolidate", "--dry-run"],
        &["consolidate"],
        &["validate"],
        &[
            "cleanup",
            "--dry-run",
            "--include-unconsolidated",
            "--older-than",
            "0s",
        ],
        &["validate", "--repair", "--yes"],
    ] {
        let said = run(arguments, &dir, "");
        is_plain(&format!("{arguments:?}"), &(said.stdout + &said.stderr));
    }
}

#[test]
fn what_stands_in_mains_place_is_reported_at_once() {
    for (what, make) in [
        ("a fifo", fifo as fn(&Path)),
        ("a folder", |path| std::fs::create_dir(path).unwrap()),
        ("a device", |path| symlink("/dev/zero", path).unwrap()),
        ("a loop", |path| symlink(path, path).unwrap()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        assert_eq!(
            run(&["record"], dir, "{\"model\":\"m\",\"success\":true}\n").code,
            0
        );
        make(&dir.join("test_results.parquet"));
        assert_eq!(run(&["status"], dir, "").code, 20, "{what}");
        for arguments in [
            &["query"][..],
            &["consolidate"],
            &["backup", "--yes"],
            &["cleanup", "--yes"],
        ] {
            let said = run(arguments, dir, "");
            assert_eq!(said.code, 1, "{what}, {arguments:?}: {}", said.stdout);
            assert!(
                said.stderr.contains("test_results.parquet"),
                "{what}: {}",
                said.stderr
            );
            assert_eq!(said.stderr.lines().count(), 1, "{what}: {}", said.stderr);
        }
        assert_eq!(run(&["validate"], dir, "").code, 20, "{what}");
    }
}

#[test]
fn settings_that_are_no_file_neither_block_nor_fill_the_memory() {
    for make in [
        fifo as fn(&Path),
        |path| std::fs::create_dir(path).unwrap(),
        |path| symlink("/dev/zero", path).unwrap(),
        |path| {
            std::fs::File::create(path)
                .unwrap()
                .set_len(1 << 34)
                .unwrap();
        },
    ] {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            run(
                &["record"],
                folder.path(),
                "{\"model\":\"m\",\"success\":true}\n"
            )
            .code,
            0
        );
        make(&folder.path().join("evaltop.toml"));
        let said = run(&["status"], folder.path(), "");
        assert_eq!(said.code, 1, "{}", said.stdout);
        assert!(
            said.stderr.contains("evaltop.toml") && said.stderr.lines().count() == 1,
            "{}",
            said.stderr
        );
    }
}

#[test]
fn a_lock_that_is_no_file_is_an_error_and_a_linked_store_is_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    let link = folder.path().join("link");
    symlink("store", &link).unwrap();
    std::fs::create_dir(&dir).unwrap();
    let line = "{\"test_id\":\"a\",\"model\":\"m\",\"success\":true}\n";
    assert_eq!(run(&["record"], &link, line).code, 0);
    assert_eq!(run(&["consolidate"], &link, "").code, 0);
    assert_eq!(main_rows(&dir), ["a"]);
    assert_eq!(run(&["validate"], &link, "").code, 0);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    std::fs::remove_file(dir.join("test_results.parquet.lock")).unwrap();
    fifo(&dir.join("test_results.parquet.lock"));
    assert_eq!(
        run(&["record"], &link, &line.replace("\"a\"", "\"b\"")).code,
        0
    );
    let said = run(&["status", "--format", "json"], &link, "");
    assert!(
        said.stdout.contains("\"tests\": 2"),
        "{}{}",
        said.stdout,
        said.stderr
    );
    let said = run(&["consolidate"], &link, "");
    assert!(
        said.code == 1 && said.stderr.contains("test_results.parquet.lock"),
        "{}",
        said.stderr
    );
}
