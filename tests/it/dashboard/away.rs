//! A store that is not what it was: gone, something else, closed to us, flooded. It is
//! said, survived, and taken up again by itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use super::*;

#[test]
fn a_store_that_becomes_a_file_is_said_and_taken_up_again() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.wait_for("3 tests");
    let away = run.store.with_extension("away");
    for round in 0..2 {
        fs::rename(&run.store, &away).unwrap();
        if round == 0 {
            fs::write(&run.store, "a file").unwrap();
        } else {
            fs::create_dir(&run.store).unwrap();
        }
        terminal.wait_for("The store is gone");
        if round == 0 {
            fs::remove_file(&run.store).unwrap();
        } else {
            fs::remove_dir(&run.store).unwrap();
        }
        fs::rename(&away, &run.store).unwrap();
        terminal.wait("the store again", |s| {
            s.contents().contains("model-a") && s.contents().contains("3 tests")
        });
    }
    // Deleted for good, and begun again.
    fs::remove_dir_all(&run.store).unwrap();
    terminal.wait_for("The store is gone");
    write(&run.store, "model-z", 2);
    terminal.wait("the new store", |s| {
        s.contents().contains("model-z") && !s.contents().contains("model-a")
    });
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}

/// The program as somebody whom permissions stop; `None` (said loudly) where we can be
/// nobody else.
fn as_somebody(run: &Run) -> Option<Terminal> {
    let program = env!("CARGO_BIN_EXE_evaltop");
    if !rustix::process::geteuid().is_root() {
        return Some(Terminal::open(&run.store, &[]));
    }
    let nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let may_run = std::process::Command::new("setpriv")
        .args(nobody)
        .args([program, "--version"])
        .output();
    if !may_run.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: the program can't be run as another user, so this check did not run");
        return None;
    }
    fs::set_permissions(run.store.parent().unwrap(), Permissions::from_mode(0o755)).unwrap();
    let mut command = CommandBuilder::new("setpriv");
    command.args(nobody);
    command.args([Path::new(program), &run.store]);
    Some(Terminal::run(command))
}

#[test]
fn a_store_that_is_closed_to_us_is_said_and_taken_up_again() {
    let run = run();
    write(&run.store, "model-a", 3);
    let Some(mut terminal) = as_somebody(&run) else {
        return;
    };
    terminal.wait_for("3 tests");
    for closed in [run.store.join("incremental"), run.store.clone()] {
        fs::set_permissions(&closed, Permissions::from_mode(0o000)).unwrap();
        terminal.press("r");
        terminal.wait_for("check the owner and mode");
        fs::set_permissions(&closed, Permissions::from_mode(0o755)).unwrap();
        terminal.press("r");
        terminal.wait("the store again", |s| {
            s.contents().contains("3 tests") && !s.contents().contains("CRITICAL")
        });
    }
    write(&run.store, "model-b", 4);
    terminal.wait_for("7 tests");
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
}
