//! The demo shows a live store and leaves nothing behind, however it ends.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::evaltop;

/// Processes whose command line names a path.
fn processes_about(path: &Path) -> usize {
    let wanted = path.to_string_lossy().into_owned();
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| String::from_utf8_lossy(line).contains(&wanted))
        .count()
}

#[test]
fn without_a_terminal_it_prints_a_status_and_leaves_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    let output = evaltop()
        .arg("demo")
        .env("TMPDIR", tmp.path())
        .assert()
        .success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    assert!(text.contains("garnet-v3-0324"), "{text}");
    let farewell: Vec<&str> = text
        .lines()
        .skip_while(|line| !line.starts_with("Now on"))
        .collect();
    let command = "  evaltop import results.jsonl --into my_store --success-from 'score>=1'";
    assert_eq!(
        farewell.last(),
        Some(&command),
        "the next command to try, whole: {text}"
    );
    assert!(farewell.iter().all(|line| line.len() <= 80), "{text}");
    assert_eq!(
        std::fs::read_dir(tmp.path()).unwrap().count(),
        0,
        "the temporary store is gone"
    );
    if cfg!(target_os = "linux") {
        assert_eq!(processes_about(tmp.path()), 0, "its writers ended");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn killed_hard_its_writers_end_by_themselves() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("store");
    let mut demo = Command::new(env!("CARGO_BIN_EXE_evaltop"))
        .args(["demo", "--dir"])
        .arg(&dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_until("eight writers run", || processes_about(&dir) == 9);
    demo.kill().unwrap();
    demo.wait().unwrap();
    wait_until("the writers end", || processes_about(&dir) == 0);
    assert!(
        dir.join("incremental").is_dir(),
        "a store of one's own stays"
    );
}

#[test]
fn it_fills_no_folder_that_holds_something() {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::write(tmp.path().join("precious"), "x").unwrap();
    let failed = evaltop()
        .args(["demo", "--dir"])
        .arg(tmp.path())
        .assert()
        .failure();
    let message = String::from_utf8_lossy(&failed.get_output().stderr).into_owned();
    assert!(message.contains("is not empty"), "{message}");
}

/// Waits for something that must happen; the bound only ends a test that hangs.
fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !happened() {
        assert!(
            begun.elapsed() < Duration::from_secs(300),
            "waited in vain: {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
