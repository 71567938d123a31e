//! What is done where the system gives no more files, threads or memory: commands end with one
//! sentence; a dashboard says that its picture is old, and recovers.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use evaltop::internals::store::write::writer::{Writer, WriterOptions};
use evaltop::internals::store::{Record, Store};

use super::support::evaltop_process;

/// A store with a main and increments, which everybody may read and write.
fn store(folder: &Path) -> std::path::PathBuf {
    let root = folder.join("store");
    let store = Store::new(&root);
    for round in 0..12 {
        let mut writer = Writer::open(&store, WriterOptions::default()).unwrap();
        let record = |at: usize| Record {
            model: format!("model-{}", at % 3),
            test_id: Some(format!("{round}-{at}")),
            success: Some(at.is_multiple_of(2)),
            ..Record::default()
        };
        writer.append_all((0..20).map(record).collect()).unwrap();
        writer.close().unwrap();
        if round == 4 {
            let consolidated = evaltop_process()
                .args(["consolidate", "-y", "-q"])
                .arg(&root)
                .status();
            assert!(consolidated.unwrap().success());
        }
    }
    let opened = Command::new("chmod")
        .args(["-R", "a+rwX"])
        .arg(folder)
        .status();
    assert!(opened.unwrap().success());
    root
}

/// Every command that reads or writes a store, in a folder of its own.
fn commands() -> Vec<Vec<&'static str>> {
    vec![
        vec!["status", "store"],
        vec!["query", "store", "--group-by", "model"],
        vec!["query", "store", "--sort", "test_id", "--limit", "3"],
        vec!["compare", "store", "model-0", "model-1"],
        vec!["export", "store", "-y", "-o", "out.parquet"],
        vec!["export", "store", "-y", "-o", "out.csv"],
        vec!["watch", "store"],
        vec!["validate", "store"],
        vec!["record", "other"],
        vec![
            "run",
            "other",
            "--models",
            "m",
            "--num-instances",
            "2",
            "--workers",
            "2",
            "--",
            "true",
        ],
        vec!["backup", "store", "-y"],
        vec!["cleanup", "store", "-y"],
        vec!["consolidate", "store", "-y"],
    ]
}

/// Runs one under a limit as `ulimit` sets it; as somebody whom the number of processes
/// limits, where that is asked for.
fn limited(folder: &Path, limit: &str, as_nobody: bool, arguments: &[&str]) -> Output {
    let mut command = if as_nobody {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--clear-groups", "bash"]);
        command
    } else {
        Command::new("bash")
    };
    command
        .args(["-c", "ulimit $0 || exit 99; exec \"$@\"", limit])
        .arg(env!("CARGO_BIN_EXE_evaltop"))
        .args(arguments)
        .current_dir(folder)
        .env(
            "EVALTOP_CONFIG",
            concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/config.toml"),
        )
        .env("XDG_STATE_HOME", folder.join("state"))
        .env_remove("RUST_BACKTRACE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    {
        use std::io::Write as _;
        let mut stdin = child.stdin.take().unwrap();
        let _ = stdin.write_all(b"{\"model\":\"m\",\"success\":true}\n");
    }
    child.wait_with_output().unwrap()
}

/// It worked, or it said why in one sentence. How it ended.
fn ends_well(limit: &str, arguments: &[&str], output: &Output) -> i32 {
    let said = String::from_utf8_lossy(&output.stderr);
    let what = format!("ulimit {limit}; evaltop {}: {said}", arguments.join(" "));
    assert_eq!(output.status.signal(), None, "{what}");
    let code = output.status.code().unwrap();
    assert!(!said.contains("panicked"), "{what}");
    // A validation that could not be made says nothing about the store.
    assert!(matches!(code, 0 | 1), "{code}: {what}");
    if code == 1 {
        let sentences: Vec<&str> = said.lines().collect();
        assert!(
            sentences.len() == 1 && said.starts_with("evaltop: "),
            "{what}"
        );
    }
    code
}

#[test]
fn too_few_files_are_said_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let root = store(folder.path());
    let before = std::fs::read_dir(root.join("incremental")).unwrap().count();
    let mut failed = 0;
    for files in [4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 20, 24] {
        let limit = format!("-n {files}");
        for arguments in commands() {
            let writes = matches!(arguments[0], "consolidate" | "cleanup" | "backup");
            if writes && files >= 12 {
                continue;
            }
            let output = limited(folder.path(), &limit, false, &arguments);
            failed += ends_well(&limit, &arguments, &output);
        }
    }
    assert!(failed > 20, "{failed}");
    // Nothing was taken for damaged.
    assert!(!root.join("quarantine").exists());
    let after = std::fs::read_dir(root.join("incremental")).unwrap().count();
    assert!(after <= before);
    let output = limited(
        folder.path(),
        "-n 1024",
        false,
        &[
            "query",
            "store",
            "--group-by",
            "prompt_type",
            "--format",
            "json",
        ],
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("\"tests\":240"), "{text}");
}

/// The C library and Rust's runtime abort with a line of their own where the few bytes are missing
/// that they want before code of ours runs, or to pass a panic on.
fn aborted_below_us(output: &Output) -> bool {
    const LINES: [&str; 3] = [
        // A new thread's signal stack.
        "failed to allocate an alternative stack",
        // The first thread-local value of a thread.
        "Fatal glibc error: failed to register TLS destructor",
        "fatal runtime error: failed to initiate panic",
    ];
    let said = String::from_utf8_lossy(&output.stderr);
    output.status.code().is_none()
        && said.lines().count() <= 2
        && LINES.iter().any(|line| said.contains(line))
}

#[test]
fn too_little_memory_is_said_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    let (mut failed, mut aborted, mut runs) = (0, 0, 0);
    let starts = |megabytes: &u64| {
        let limit = format!("-v {}", megabytes * 1024);
        // With less the system can't even load it.
        let started = limited(folder.path(), &limit, false, &["--version"]);
        started.status.success()
    };
    for megabytes in (8..400).step_by(2).filter(starts).take(14) {
        let limit = format!("-v {}", megabytes * 1024);
        for arguments in commands() {
            let output = limited(folder.path(), &limit, false, &arguments);
            runs += 1;
            if aborted_below_us(&output) {
                aborted += 1;
                continue;
            }
            failed += ends_well(&limit, &arguments, &output);
        }
    }
    assert!(failed > 5, "{failed}");
    // Few limits are as narrow as that.
    assert!(aborted * 10 < runs, "{aborted} of {runs}");
}

#[test]
#[cfg(target_os = "linux")]
fn too_few_threads_are_made_up_for_or_said_in_one_sentence() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can be somebody else, so this check did not run");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    store(folder.path());
    for threads in [1, 2, 3, 4] {
        let limit = format!("-u {threads}");
        for arguments in commands() {
            let output = limited(folder.path(), &limit, true, &arguments);
            let code = ends_well(&limit, &arguments, &output);
            // What only reads needs one thread.
            if matches!(arguments[0], "status" | "query" | "validate" | "compare") {
                let said = String::from_utf8_lossy(&output.stderr);
                assert_eq!(code, 0, "{limit} {arguments:?}: {said}");
            }
        }
    }
}
