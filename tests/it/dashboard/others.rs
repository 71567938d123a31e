//! What other processes do to the store while the dashboard is open.

use super::super::support::evaltop;
use super::*;

#[test]
fn what_other_processes_do_is_reported_with_what_they_did() {
    let run = run();
    write(&run.store, "model-a", 3);
    let mut terminal = Terminal::open(&run.store, &[]);
    terminal.resize(60, 220);
    terminal.wait_for("3 tests");
    let command = |arguments: &[&str]| {
        let mut command = evaltop();
        command.args(arguments).arg(&run.store).assert().success();
    };
    command(&["consolidate"]);
    terminal.wait_for("consolidated 1 file, 3 rows");
    command(&["backup"]);
    terminal.wait_for("backed up 3 rows as backups/");
    let more = run.store.with_extension("jsonl");
    std::fs::write(
        &more,
        "{\"model\":\"model-b\",\"success\":true}\n{\"model\":\"model-b\",\"success\":false}\n",
    )
    .unwrap();
    evaltop()
        .arg("import")
        .arg(&more)
        .arg("--into")
        .arg(&run.store)
        .assert()
        .success();
    terminal.wait_for("imported 2 rows from results.jsonl");
    command(&["maintain", "--no-backup"]);
    terminal.wait_for("consolidated 1 file, 2 rows");
    command(&["cleanup", "--keep", "0", "--yes"]);
    terminal.wait_for("removed ");
    terminal.wait("who did it", |s| {
        s.contents().matches("(process ").count() == 5
    });
    assert!(
        !terminal.text().contains("another process committed"),
        "{}",
        terminal.text()
    );
    // Our own job says so itself, once.
    terminal.press("b");
    terminal.wait_for("backed up 5 rows");
    command(&["cleanup", "--keep", "0", "--yes"]);
    terminal.wait("the next one", |s| {
        s.contents().matches("(process ").count() == 6
    });
    assert_eq!(
        terminal.text().matches("backed up 5 rows").count(),
        1,
        "{}",
        terminal.text()
    );
    terminal.press("q");
    assert_eq!(terminal.ended().exit_code(), 0);
    // Who opens it later is notified too.
    let mut later = Terminal::open(&run.store, &[]);
    later.resize(60, 220);
    later.wait_for("imported 2 rows from results.jsonl");
    later.press("q");
    later.ended();
}
