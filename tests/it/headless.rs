//! Nobody looks, and people are notified all the same: `watch --headless` and `maintain --every`.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::evaltop;

const PATIENCE: Duration = Duration::from_secs(300);

/// A program that is ended with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A store that is well, and settings with a hook that keeps what it is reported.
fn store(folder: &Path) {
    evaltop()
        .arg("record")
        .arg(folder.join("store"))
        .write_stdin("{\"model\":\"m\",\"success\":true}\n")
        .assert()
        .success();
    let reported = folder.join("told");
    let settings = format!(
        "[thresholds]\ndisk_percent = 0\ndisk_bytes = 0\n[refresh]\nbusy = \"1s\"\nidle = \"1s\"\n[notify]\nevery = \"0s\"\n\
         hook = [\"sh\", \"-c\", 'cat >> \"$0\"', {:?}]\n",
        reported.to_str().unwrap()
    );
    std::fs::write(folder.join("config.toml"), settings).unwrap();
}

fn start(folder: &Path, arguments: &[&str]) -> Running {
    let output = std::fs::File::create(folder.join("said")).unwrap();
    let child = Command::new(env!("CARGO_BIN_EXE_evaltop"))
        .args(arguments)
        .arg(folder.join("store"))
        .env("EVALTOP_CONFIG", folder.join("config.toml"))
        .env("XDG_CONFIG_HOME", folder)
        .env("XDG_STATE_HOME", folder)
        .env("TZ", "UTC")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    Running(child)
}

/// Waits until a file says something.
fn wait_for(file: &Path, what: &str) {
    let begun = Instant::now();
    loop {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        if text.contains(what) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: {text}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A file that nobody reads needs somebody, whatever is consolidated.
fn misplace(folder: &Path) {
    std::fs::write(folder.join("store/incremental/late.csv"), "model\nm\n").unwrap();
}

#[test]
fn a_hook_is_called_while_no_dashboard_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store(folder);
    misplace(folder);
    let _watch = start(folder, &["watch", "--headless"]);
    // What is wrong at the start is news to those who never looked.
    wait_for(&folder.join("told"), "misnamed_files");
    wait_for(&folder.join("said"), "UTC warning: incremental/late.csv");
    std::fs::remove_file(folder.join("store/incremental/late.csv")).unwrap();
    wait_for(&folder.join("told"), "\"cleared\":[{");
    wait_for(&folder.join("said"), "over: incremental/late.csv");
}

#[test]
fn maintenance_reports_alerts_between_its_rounds() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    store(folder);
    let _maintain = start(folder, &["maintain", "--every", "1h"]);
    wait_for(&folder.join("said"), "consolidated");
    misplace(folder);
    wait_for(&folder.join("told"), "misnamed_files");
}
