//! The processes that are this binary itself: a writer of the library, a legacy
//! writer's look-alike, two kinds of reader. Each does one step for each line on its
//! stdin, says what came of it, and ends with its stdin.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use evaltop::internals::store::write::writer::{Durability, Writer, WriterOptions};
use evaltop::internals::store::{Record, Store};
use serde_json::json;

use crate::view::{model, say};
use crate::{legacy, look};

/// The role of a process: `<name> <life> <how>`. Absent in the process that is the test.
pub const ROLE: &str = "EVALTOP_KILL_ROLE";
const DIR: &str = "EVALTOP_KILL_DIR";

/// Starts this binary again.
pub fn command(dir: &Path, role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["worker", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(DIR, dir);
    command
}

/// What such a process does.
pub fn run(role: &str) {
    let dir = PathBuf::from(std::env::var_os(DIR).unwrap());
    let words: Vec<&str> = role.split(' ').collect();
    let (name, life) = (words[0], words[1].parse().unwrap());
    match name {
        "writer" => write(&dir, life, words[2] == "disk"),
        "legacy" => legacy::run(&dir, life, &legacy::Way::parse(words[2])),
        "rows" => each_line(|_| print_view(look::rows(&dir))),
        "scan" => {
            let mut scanner = look::Scans::new(&dir);
            each_line(|_| print_view(scanner.next()));
        }
        other => panic!("no role {other}"),
    }
}

/// Calls `step` with the numbers in each line on stdin.
pub fn each_line(mut step: impl FnMut(&[u64])) {
    for line in std::io::stdin().lock().lines() {
        let numbers: Vec<u64> = line
            .unwrap()
            .split(' ')
            .filter_map(|number| number.parse().ok())
            .collect();
        step(&numbers);
    }
}

fn print_view(view: Result<crate::view::View, evaltop::internals::store::Error>) {
    match view {
        Ok(view) => say_lines(&view.to_lines()),
        Err(error) => say(&format!("error {error}")),
    }
}

fn say_lines(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    if out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(0);
    }
}

/// One row. Some have no id, some have columns that others lack, and one column is
/// an integer here and a float there.
pub fn row(life: usize, number: u64) -> serde_json::Value {
    let mut row = json!({
        "model": model(life), "task_id": number.to_string(), "success": number.is_multiple_of(3),
        "turns": number % 7, "execution_time": number as f64 / 8.0,
    });
    if !life.is_multiple_of(4) {
        row["test_id"] = format!("{life}-{number}").into();
    }
    if life.is_multiple_of(3) {
        row["seed"] = if life.is_multiple_of(2) {
            json!(number)
        } else {
            json!(number as f64 + 0.5)
        };
    }
    if number.is_multiple_of(5) {
        row["error_message"] = "HTTP 429: line one\nline two".into();
    }
    row
}

/// A writer of the library whose segments are small and young.
fn write(dir: &Path, life: usize, disk: bool) {
    let durability = if disk {
        Durability::Disk
    } else {
        Durability::Process
    };
    let segment_age = Duration::from_millis(150);
    let options = WriterOptions {
        durability,
        segment_rows: 24,
        segment_age,
        ..WriterOptions::default()
    };
    let mut writer = Writer::open(&Store::new(dir), options).unwrap();
    each_line(|numbers| {
        let &[first, rows] = numbers else { return };
        let records =
            (first..first + rows).map(|number| serde_json::from_value(row(life, number)).unwrap());
        let records: Vec<Record> = records.collect();
        writer.append_all(records).unwrap();
        say("ack");
    });
    writer.close().unwrap();
}
