//! Many stores on one screen: a line each, which Enter opens and Esc leaves again.

use super::super::support::evaltop;
use super::*;

#[test]
fn a_folder_of_stores_is_a_list_that_lives() {
    let run = run();
    let folder = run.store.parent().unwrap().join("runs");
    write(&folder.join("monday"), "model-a", 3);
    write(&folder.join("tuesday"), "model-b", 4);
    std::fs::create_dir(folder.join("notes")).unwrap();
    let mut terminal = Terminal::open(&folder, &[]);
    terminal.wait_for("2 stores");
    terminal.wait("figures of both", |screen| {
        let text = screen.contents();
        let line = |name: &str, tests: &str| {
            let mut lines = text.lines();
            lines.any(|line| line.contains(name) && line.contains(tests))
        };
        line("monday", " 3 ") && line("tuesday", " 4 ")
    });
    terminal.press("\x1b[B\r");
    terminal.wait_for("model-b");
    terminal.wait_for("all stores");
    terminal.press("\x1b");
    terminal.wait_for("2 stores");
    // The list goes on meanwhile, and so does its selection.
    write(&folder.join("friday"), "model-c", 5);
    terminal.wait_for("3 stores");
    write(&folder.join("tuesday"), "model-b", 6);
    terminal.wait("new rows", |screen| {
        let text = screen.contents();
        text.lines()
            .any(|line| line.contains("›tuesday") && line.contains(" 10 "))
    });
    terminal.press("\r");
    terminal.wait_for("model-b");
    terminal.press("q");
    assert!(terminal.ended().success());
    terminal.is_given_back();
}

#[test]
fn several_stores_have_one_status() {
    let run = run();
    let folder = run.store.parent().unwrap();
    write(&folder.join("a"), "model-a", 3);
    write(&folder.join("b"), "model-b", 4);
    let said = |arguments: &[&str]| {
        let ended = evaltop().args(arguments).current_dir(folder).assert();
        let output = ended.get_output().clone();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for text in [
        said(&["status", "a", "b"]),
        said(&["status", "."]),
        said(&["a", "b"]),
    ] {
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            lines[0].starts_with("STORE") && lines[0].contains("TESTS"),
            "{text}"
        );
        assert!(
            lines[1].starts_with('a') && lines[1].contains(" 3 "),
            "{text}"
        );
        assert!(
            lines[2].starts_with('b') && lines[2].contains(" 4 "),
            "{text}"
        );
    }
    let json: serde_json::Value =
        serde_json::from_str(&said(&["status", "a", "b", "--format", "json"])).unwrap();
    assert_eq!(json[1]["totals"]["tests"], 4);
    let failed = evaltop()
        .args(["status", "a", "nothing"])
        .current_dir(folder)
        .assert()
        .code(1);
    let error = String::from_utf8(failed.get_output().stderr.clone()).unwrap();
    assert!(error.contains("no store at"), "{error}");
}
