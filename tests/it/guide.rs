//! The guide can't rot: every command in it is run, in order, and says what it says there.
//!
//! In a `console` block, lines that begin with `$ ` are commands of the shell and the
//! others their output. `[..]` stands for any text within a line, a line `...` for any
//! lines. A block below `<!-- file: NAME -->` is written to that file first.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::SETTINGS;

const GUIDE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/guide.md"));

/// A command, and what it is to print.
struct Step {
    command: String,
    expected: Vec<String>,
}

/// The blocks of the guide: files to write (name and text) and commands.
enum Block {
    File(String, String),
    Console(Vec<Step>),
}

fn blocks() -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut file = None;
    // Run by a test of its own, see `readme`.
    let mut elsewhere = false;
    let mut lines = GUIDE.lines();
    while let Some(line) = lines.next() {
        elsewhere |= line.starts_with("<!-- tested: ");
        if let Some(name) = line
            .strip_prefix("<!-- file: ")
            .and_then(|rest| rest.strip_suffix(" -->"))
        {
            file = Some(name.to_owned());
        }
        let Some(kind) = line.strip_prefix("```") else {
            continue;
        };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if std::mem::take(&mut elsewhere) {
            continue;
        }
        if kind == "console" {
            let mut steps: Vec<Step> = Vec::new();
            for line in body {
                match line.strip_prefix("$ ") {
                    Some(command) => steps.push(Step {
                        command: command.to_owned(),
                        expected: Vec::new(),
                    }),
                    None => {
                        steps
                            .last_mut()
                            .expect("output follows a command")
                            .expected
                            .push(line.to_owned());
                    }
                }
            }
            blocks.push(Block::Console(steps));
        } else {
            let name = file
                .take()
                .expect("a block that is no console is a file: its name stands above it");
            blocks.push(Block::File(name, body.join("\n") + "\n"));
        }
    }
    blocks
}

/// Whether a line is what is expected; `[..]` matches anything.
fn same(expected: &str, line: &str) -> bool {
    let mut parts = expected.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut open = false;
    for part in parts {
        open = part.is_empty();
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    open || rest.is_empty()
}

/// Whether all lines are; a line `...` matches any number of them.
fn all_same(expected: &[String], lines: &[&str]) -> bool {
    match (expected.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((dots, rest)), _) if dots == "..." => {
            (0..=lines.len()).any(|skipped| all_same(rest, &lines[skipped..]))
        }
        (Some((first, expected)), Some((line, lines))) => {
            same(first, line) && all_same(expected, lines)
        }
        _ => false,
    }
}

pub(crate) fn shell(command: &str, dir: &Path) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_evaltop"))
        .parent()
        .unwrap()
        .to_path_buf();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path =
        std::env::join_paths(std::iter::once(program).chain(std::env::split_paths(&path))).unwrap();
    let mut shell = Command::new("sh");
    for name in ["EVALTOP_DIR", "STORAGE_FORMAT", "NO_COLOR"] {
        shell.env_remove(name);
    }
    let output = shell
        // Only where the machine's disk is nearly full does a command find more than in the text.
        .env("EVALTOP_CONFIG", SETTINGS)
        .args(["-c", &format!("{{ {command}\n}} 2>&1")])
        .current_dir(dir)
        .env("PATH", path)
        .env("TZ", "UTC")
        .env("HOME", dir)
        .env("XDG_CONFIG_HOME", dir.join("nowhere"))
        .env("XDG_STATE_HOME", dir.join("nowhere"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_of_the_guide_does_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut commands = 0;
    for block in blocks() {
        match block {
            Block::File(name, text) => fs::write(folder.path().join(name), text).unwrap(),
            Block::Console(steps) => {
                for Step { command, expected } in steps {
                    let said = shell(&command, folder.path());
                    let lines: Vec<&str> = said.lines().collect();
                    assert!(
                        all_same(&expected, &lines),
                        "$ {command}\n{said}\nbut the guide says\n{}",
                        expected.join("\n")
                    );
                    commands += 1;
                }
            }
        }
    }
    assert!(commands > 30, "{commands}");
}

#[test]
fn a_different_output_is_noticed() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (expected, said, matches) in [
        ("a [..] c", "a b c", true),
        ("a [..] c", "a b d", false),
        ("a [..]", "a anything", true),
        ("a", "a b", false),
        ("a\n...\nd", "a\nb\nc\nd", true),
        ("a\n...\nd", "a\nb\nc", false),
        ("a", "", false),
        ("", "a", false),
    ] {
        assert_eq!(
            all_same(&lines(expected), &said.lines().collect::<Vec<_>>()),
            matches,
            "{expected:?} {said:?}"
        );
    }
}

/// Every command has its place in the guide or is about the program itself.
#[test]
fn the_guide_leaves_no_command_out() {
    let help = shell("evaltop --help", Path::new("/"));
    let commands = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|l| !l.is_empty());
    for command in commands.filter_map(|line| line.split_whitespace().next()) {
        let known = matches!(command, "watch" | "demo" | "help")
            || GUIDE.contains(&format!("evaltop {command}"));
        assert!(known, "the guide does not mention {command}");
    }
}
