//! Limits that the system sets on a dashboard while it runs: its picture says that it is not
//! current, it recovers when they go, and it can be left meanwhile.

use std::process::Command;

use super::*;

/// Sets a limit of a running process, the soft one, as its own user may.
fn limit(pid: Pid, limit: &str) {
    let set = Command::new("setpriv")
        .args(["--reuid=65533", "--clear-groups", "prlimit"])
        .arg(format!("--pid={}", pid.as_raw_nonzero()))
        .arg(limit)
        .status()
        .unwrap();
    assert!(set.success(), "{limit}");
}

/// The dashboard of somebody whom the number of processes limits.
fn as_nobody(run: &Run) -> Terminal {
    let opened = Command::new("chmod")
        .args(["-R", "a+rwX"])
        .arg(run.store.parent().unwrap())
        .status();
    assert!(opened.unwrap().success());
    let mut command = CommandBuilder::new("setpriv");
    command.args(["--reuid=65533", "--clear-groups", "--"]);
    command.args([Path::new(env!("CARGO_BIN_EXE_evaltop")), &run.store]);
    Terminal::run(command)
}

fn root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: only root can be somebody else, so this check did not run");
    }
    root
}

#[test]
fn a_running_dashboard_without_files_says_so_recovers_and_can_be_left() {
    if !root() {
        return;
    }
    let run = run();
    write(&run.store, "model-a", 40);
    let mut terminal = as_nobody(&run);
    terminal.wait_for("40 tests");
    limit(terminal.pid(), "--nofile=3:");
    write(&run.store, "model-b", 10);
    terminal.wait("the picture says that it is old", |screen| {
        let text = screen.contents();
        text.contains("not current: Too many open files")
            && text.contains("40 tests")
            && !text.contains("HEALTHY")
    });
    limit(terminal.pid(), "--nofile=1000:");
    terminal.wait("the picture is current again", |screen| {
        let text = screen.contents();
        text.contains("50 tests") && !text.contains("open files")
    });
    limit(terminal.pid(), "--nofile=3:");
    write(&run.store, "model-c", 10);
    terminal.wait_for("open files");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
}

#[test]
fn a_running_dashboard_without_threads_goes_on_or_says_so_and_can_be_left() {
    if !root() {
        return;
    }
    let run = run();
    write(&run.store, "model-a", 40);
    let mut terminal = as_nobody(&run);
    terminal.wait_for("40 tests");
    limit(terminal.pid(), "--nproc=1:");
    write(&run.store, "model-b", 10);
    // What it needs to look it has; or it says that it has not.
    terminal.wait(
        "a current picture, or one that says that it is old",
        |screen| {
            let text = screen.contents();
            text.contains("50 tests") || (text.contains("threads") && !text.contains("HEALTHY"))
        },
    );
    let before = terminal.text();
    terminal.press("c");
    terminal.wait("an answer to the key", |screen| screen.contents() != before);
    terminal.press("y");
    limit(terminal.pid(), "--nproc=64:");
    write(&run.store, "model-c", 10);
    terminal.wait_for("60 tests");
    limit(terminal.pid(), "--nproc=1:");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
}

#[test]
fn a_running_dashboard_without_memory_says_so_recovers_or_ends_with_a_sentence() {
    if !root() {
        return;
    }
    let run = run();
    write(&run.store, "model-a", 40);
    let mut terminal = as_nobody(&run);
    terminal.wait_for("40 tests");
    // As much as it has, and no more.
    let status = format!("/proc/{}/statm", terminal.pid().as_raw_nonzero());
    let pages = std::fs::read_to_string(status).unwrap();
    let pages: u64 = pages.split_whitespace().next().unwrap().parse().unwrap();
    limit(terminal.pid(), &format!("--as={}:", pages * 4_096));
    for round in 0..30 {
        write(&run.store, &format!("model-{round}"), 2_000);
    }
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let text = terminal.text();
        let current = text.contains("60,040 tests");
        if current || text.contains("memory") || terminal.child.try_wait().unwrap().is_some() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    if let Some(status) = terminal.child.try_wait().unwrap() {
        terminal.is_given_back();
        assert_eq!(status.exit_code(), 1, "{}", terminal.text());
        terminal.wait_for("memory");
        return;
    }
    limit(terminal.pid(), "--as=unlimited:");
    terminal.wait_for("60,040 tests");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    terminal.is_given_back();
}
