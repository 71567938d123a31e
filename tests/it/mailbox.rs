//! Mailboxes that are folders: what was acknowledged arrives once, whichever process is killed.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::{evaltop_process, said};

/// A machine: its own state and cache.
struct Machine(PathBuf);

impl Machine {
    fn new(folder: &Path, name: &str) -> Self {
        Self(folder.join(name))
    }

    fn evaltop(&self) -> Command {
        let mut command = evaltop_process();
        command
            .env("XDG_STATE_HOME", self.0.join("state"))
            .env("XDG_CACHE_HOME", self.0.join("cache"))
            .stdin(Stdio::null());
        command
    }

    /// What a command says on stdout, and on stderr; it must end with that code.
    fn said(&self, code: i32, arguments: &[&str]) -> (String, String) {
        said(self.evaltop().args(arguments), code)
    }

    fn recorder(&self, place: &str, more: &[&str]) -> Recorder {
        let mut child = self
            .evaltop()
            .args(["record", "--ack", place])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Recorder {
            child,
            input,
            answers,
        }
    }

    fn ids(&self, place: &str) -> Vec<String> {
        let (rows, _) = self.said(
            0,
            &["query", place, "--columns", "test_id", "--format", "csv"],
        );
        let mut ids: Vec<String> = rows.lines().skip(1).map(str::to_owned).collect();
        ids.sort();
        ids
    }

    fn files_left(&self) -> u64 {
        let (said, _) = self.said(0, &["spool", "--format", "json"]);
        let lines = said.lines().map(serde_json::from_str::<Value>);
        lines
            .map(|line| line.unwrap()["files"].as_u64().unwrap())
            .sum()
    }
}

struct Recorder {
    child: Child,
    input: ChildStdin,
    answers: BufReader<std::process::ChildStdout>,
}

impl Recorder {
    fn add(&mut self, id: &str) {
        writeln!(
            self.input,
            "{{\"model\":\"m\",\"success\":true,\"test_id\":\"{id}\"}}"
        )
        .unwrap();
        let mut answer = String::new();
        self.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), id);
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn finish(mut self) {
        drop(self.input);
        assert!(self.child.wait().unwrap().success());
    }
}

fn increments(folder: &Path) -> usize {
    fs::read_dir(folder.join("incremental")).map_or(0, Iterator::count)
}

#[test]
fn a_folder_as_mailbox_from_end_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = folder.path().join("shared/mail box");
    let url = format!("file://{}", mailbox.display()).replace(' ', "%20");
    let node = Machine::new(folder.path(), "node");
    let mut writer = node.recorder(&url, &[]);
    for row in 0..5 {
        writer.add(&format!("t{row}"));
    }
    assert_eq!(
        increments(&mailbox),
        0,
        "nothing is due before a minute or the end"
    );
    writer.finish();
    assert_eq!(increments(&mailbox), 1, "one object");
    assert_eq!(node.files_left(), 0);
    let spools = node.0.join("state/evaltop/spool");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&spools), 0o700);
    // Another machine reads it, takes it into a store, twice, and both ways.
    let other = Machine::new(folder.path(), "other");
    let expected: Vec<String> = (0..5).map(|row| format!("t{row}")).collect();
    assert_eq!(other.ids(&url), expected);
    let (status, _) = other.said(0, &["status", &url, "--format", "json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["totals"]["tests"], 5);
    let store = folder.path().join("store").display().to_string();
    let (said, _) = other.said(0, &["pull", &url, "--into", &store]);
    assert!(said.contains("5 new rows"), "{said}");
    let (said, _) = other.said(0, &["pull", &url, "--into", &store]);
    assert!(said.contains("nothing changed"), "{said}");
    let mut writer = node.recorder(&url, &[]);
    writer.add("t5");
    writer.finish();
    let (said, _) = other.said(0, &["maintain", "--from", &url, &store]);
    assert!(said.contains("1 new row"), "{said}");
    assert_eq!(other.ids(&store).len(), 6);
    assert_eq!(increments(&mailbox), 2, "a reader changes nothing");
}

#[test]
fn what_a_killed_writer_left_in_the_spool_is_sent_by_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = folder.path().join("mail");
    let url = format!("file://{}", mailbox.display());
    let node = Machine::new(folder.path(), "node");
    let mut writer = node.recorder(&url, &[]);
    writer.add("one");
    writer.kill();
    assert_eq!((node.files_left(), increments(&mailbox)), (1, 0));
    let (said, _) = node.said(0, &["spool"]);
    assert!(said.contains(&url) && said.contains("1 file"), "{said}");
    let (said, _) = node.said(0, &["spool", "--flush"]);
    assert!(said.contains("0 files"), "{said}");
    assert_eq!(node.ids(&url), ["one"]);
    // And without being asked to, by the next writer.
    let mut writer = node.recorder(&url, &[]);
    writer.add("two");
    writer.kill();
    let mut writer = node.recorder(&url, &[]);
    writer.add("three");
    writer.finish();
    assert_eq!(node.ids(&url), ["one", "three", "two"]);
    assert_eq!(node.files_left(), 0);
}

#[test]
fn a_mailbox_that_is_not_there_costs_no_row() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("blocked");
    fs::write(&blocked, "a file\n").unwrap();
    let mailbox = blocked.join("mail");
    let url = format!("file://{}", mailbox.display());
    let node = Machine::new(folder.path(), "node");
    let mut writer = node.recorder(&url, &[]);
    writer.add("one");
    drop(writer.input);
    assert_eq!(writer.child.wait().unwrap().code(), Some(1), "it is said");
    assert_eq!(node.files_left(), 1);
    fs::remove_file(&blocked).unwrap();
    node.said(0, &["spool", "--flush"]);
    assert_eq!(node.ids(&url), ["one"]);
}

#[test]
fn remote_durability_answers_when_the_mailbox_has_the_row() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = folder.path().join("mail");
    let url = format!("file://{}", mailbox.display());
    let node = Machine::new(folder.path(), "node");
    let other = Machine::new(folder.path(), "other");
    let mut writer = node.recorder(&url, &["--durability", "remote"]);
    for row in 0..3_usize {
        writer.add(&format!("t{row}"));
        assert_eq!(other.ids(&url).len(), row + 1);
    }
    // The machine is lost.
    writer.kill();
    fs::remove_dir_all(&node.0).unwrap();
    assert_eq!(other.ids(&url), ["t0", "t1", "t2"]);
    let store = folder.path().join("store").display().to_string();
    let (_, said) = node.said(2, &["record", &store, "--durability", "remote"]);
    assert!(said.contains("mailbox"), "{said}");
}

#[test]
fn writers_and_pullers_that_are_killed_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().join("mail").display());
    let store = folder.path().join("store").display().to_string();
    let node = Machine::new(folder.path(), "node");
    let mut acknowledged = BTreeSet::new();
    for round in 0..10_u64 {
        let more: &[&str] = match round % 3 {
            0 => &["--durability", "remote"],
            _ => &[],
        };
        let mut writers: Vec<Recorder> = (0..3).map(|_| node.recorder(&url, more)).collect();
        for (nth, writer) in writers.iter_mut().enumerate() {
            for row in 0..4 {
                let id = format!("r{round}w{nth}t{row}");
                writer.add(&id);
                acknowledged.insert(id);
            }
        }
        let mut pull = node
            .evaltop()
            .args(["pull", &url, "--into", &store])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for (nth, writer) in writers.into_iter().enumerate() {
            if nth == 0 {
                // It sends at this moment.
                let mut child = writer.child;
                drop(writer.input);
                std::thread::sleep(Duration::from_millis(round * 7 % 40));
                let _ = child.kill();
                child.wait().unwrap();
            } else {
                writer.kill();
            }
        }
        pull.kill().unwrap();
        pull.wait().unwrap();
    }
    node.said(0, &["spool", "--flush"]);
    assert_eq!(node.files_left(), 0);
    node.said(0, &["pull", &url, "--into", &store]);
    let acknowledged: Vec<String> = acknowledged.into_iter().collect();
    assert_eq!(node.ids(&store), acknowledged);
}

#[test]
fn a_run_into_a_mailbox_goes_on_where_others_were() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().join("mail").display());
    let run = |machine: &str| {
        let machine = Machine::new(folder.path(), machine);
        let (said, _) = machine.said(
            0,
            &[
                "run",
                &url,
                "--models",
                "a,b",
                "--num-instances",
                "3",
                "--",
                "true",
            ],
        );
        said
    };
    assert!(run("node").contains("ran 6 tests"));
    assert!(run("node").contains("nothing to run"), "the same machine");
    assert!(run("other").contains("nothing to run"), "another one");
    let machine = Machine::new(folder.path(), "node");
    let (_, said) = machine.said(
        2,
        &["run", &url, "--models", "a", "--consolidate", "--", "true"],
    );
    assert!(said.contains("--consolidate needs a store"), "{said}");
}

/// What a status says of the only writer that has not ended in order, and of its session.
fn writer(machine: &Machine, place: &str) -> (Value, Value) {
    let output = machine
        .evaltop()
        .args(["status", place, "--format", "json"])
        .output()
        .unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    // A pull itself is a writer that ended.
    let mut writers = status["writers"].as_array().into_iter().flatten();
    let writer = writers.find(|writer| writer["state"] != "ended");
    (
        writer.cloned().unwrap_or_default(),
        status["session"].clone(),
    )
}

/// The heartbeat in a mailbox, as if from another machine, said so many seconds ago.
fn elsewhere(mailbox: &Path, ago: u64) {
    let entry = fs::read_dir(mailbox.join("live")).unwrap().next();
    let path = entry.unwrap().unwrap().path();
    let mut said: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    said["recorder"]["boot"] = "another machine".into();
    said["program"] = Value::Null;
    // Of the last beat too, should it be pulled again.
    said["beat"] = (said["beat"].as_u64().unwrap() + 1).into();
    fs::write(&path, said.to_string()).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(ago))
        .unwrap();
}

fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(
            begun.elapsed() < Duration::from_secs(180),
            "it does not come about that {what}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn how_a_writer_is_travels_through_the_mailbox_and_with_a_pull() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = folder.path().join("mail");
    let url = format!("file://{}", mailbox.display());
    let store = folder.path().join("store").display().to_string();
    let node = Machine::new(folder.path(), "node");
    let other = Machine::new(folder.path(), "other");
    let mut first = node.recorder(&url, &["--durability", "remote"]);
    first.add("t0");
    wait("the heartbeat is there", || mailbox.join("live").exists());
    wait("it is whole", || writer(&other, &url).0["state"] == "live");
    // It says nothing more that would get in between.
    first.kill();
    other.said(0, &["pull", &url, "--into", &store]);
    elsewhere(&mailbox, 5);
    assert_eq!(writer(&other, &url).0["state"], "live");
    elsewhere(&mailbox, 130);
    let (silent, session) = writer(&other, &url);
    assert_eq!(silent["state"], "silent");
    assert_eq!(session["state"], "running");
    // What was pulled once says of that time only.
    fs::remove_dir_all(Path::new(&store).join("live")).unwrap();
    other.said(0, &["pull", &url, "--into", &store]);
    assert_eq!(writer(&other, &store).0["state"], "unknown");
    elsewhere(&mailbox, 200);
    let mut follow = other
        .evaltop()
        .args(["pull", &url, "--into", &store, "--follow", "--every", "1s"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // The beat is new since the last pull, a moment ago.
    wait("the pull brings it", || {
        writer(&other, &store).0["state"] == "live"
    });
    follow.kill().unwrap();
    follow.wait().unwrap();
}

#[test]
fn the_last_word_of_a_writer_is_in_the_mailbox() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = folder.path().join("mail");
    let url = format!("file://{}", mailbox.display());
    let store = folder.path().join("store").display().to_string();
    let node = Machine::new(folder.path(), "node");
    let other = Machine::new(folder.path(), "other");
    let mut recorder = node.recorder(&url, &[]);
    for line in [
        "{\"evaltop\":\"plan\",\"tests\":5}",
        "{\"evaltop\":\"start\",\"model\":\"m\",\"test_id\":\"t1\",\"task_id\":\"gpqa/17\"}",
    ] {
        writeln!(recorder.input, "{line}").unwrap();
        let mut answer = String::new();
        recorder.answers.read_line(&mut answer).unwrap();
        assert_eq!(answer.trim(), "+", "a line that is no row");
    }
    recorder.add("t0");
    let failed = "{\"evaltop\":\"failed\",\"reason\":\"no room\"}";
    writeln!(recorder.input, "{failed}").unwrap();
    drop(recorder.input);
    recorder.child.wait().unwrap();
    other.said(0, &["pull", &url, "--into", &store]);
    for place in [&url, &store] {
        let (ended, session) = writer(&other, place);
        assert_eq!(
            (&ended["state"], &ended["reason"]),
            (&"failed".into(), &"no room".into())
        );
        assert_eq!(
            (&session["planned"], &session["done"]),
            (&5.into(), &1.into())
        );
    }
    assert_eq!(fs::read_dir(mailbox.join("live")).unwrap().count(), 1);
}

#[test]
fn a_mailbox_is_emptied_of_what_main_has_and_of_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = folder.path().join("mail");
    let url = format!("file://{}", mailbox.display());
    let store = folder.path().join("store").display().to_string();
    let node = Machine::new(folder.path(), "node");
    let empty = |more: &[&str]| {
        let pull = ["pull", &url, "--into", &store, "--empty"];
        let arguments: Vec<&str> = pull.iter().chain(more).copied().collect();
        let (said, _) = node.said(0, &arguments);
        said.lines().last().unwrap().to_owned()
    };
    let record = |id: &str| {
        let mut writer = node.recorder(&url, &[]);
        writer.add(id);
        writer.finish();
    };
    record("t0");
    record("t1");
    let now = ["--older-than", "0s"];
    // Young, then not yet in main.
    assert!(empty(&[]).contains("removed 0 files, 0 B; 2 files younger than 7d"));
    let age = || {
        for file in fs::read_dir(mailbox.join("incremental")).unwrap() {
            let file = fs::File::options().write(true).open(file.unwrap().path());
            let old = SystemTime::now() - Duration::from_secs(100);
            file.unwrap().set_modified(old).unwrap();
        }
    };
    age();
    assert!(
        empty(&now).contains("removed 0 files, 0 B; 2 files with rows that main does not have")
    );
    node.said(0, &["consolidate", &store]);
    // A file that comes afterwards, and one that is not understood.
    record("t2");
    let torn = mailbox.join("incremental/increment_7_20260131_120000_h_0a_1.parquet");
    fs::write(&torn, "PAR1 and no more of it").unwrap();
    age();
    assert!(empty(&["--older-than", "0s", "--dry-run"]).contains("would remove 2 files"));
    assert_eq!(increments(&mailbox), 4);
    assert!(empty(&now).contains("removed 2 files"));
    assert_eq!(increments(&mailbox), 2);
    assert!(torn.exists());
    assert!(empty(&now).contains("removed 0 files"));
    node.said(0, &["consolidate", &store]);
    assert!(empty(&now).contains("removed 1 file,"));
    assert_eq!(node.ids(&store), ["t0", "t1", "t2"]);
    let elsewhere = folder.path().join("elsewhere").display().to_string();
    let refused = |code: i32, source: &str| {
        let pull = ["pull", source, "--into", &elsewhere, "--empty"];
        node.said(code, &pull).1
    };
    let said = refused(2, &store);
    assert!(said.contains("is a store"), "{said}");
    let said = refused(1, &format!("file://{store}"));
    assert!(said.contains("is not a mailbox"), "{said}");
}

#[test]
fn a_secret_in_a_url_is_refused_and_nowhere_to_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let node = Machine::new(folder.path(), "node");
    for url in [
        "s3://AKIDEXAMPLE:wJalrXUtnFEMI/K7@bucket/runs",
        "s3://bucket/runs?X-Amz-Signature=wJalrXUtnFEMI",
        "https://me:wJalrXUtnFEMI@host/x",
    ] {
        for command in ["record", "status", "watch", "consolidate", "validate"] {
            let output = node
                .evaltop()
                .env("RUST_LOG", "trace")
                .args([command, url])
                .output()
                .unwrap();
            assert_eq!(output.status.code(), Some(2));
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!said.contains("wJalr") && !said.contains("AKID"), "{said}");
        }
    }
    let mut log = String::new();
    fs::File::open(node.0.join("state/evaltop/evaltop.log"))
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert!(log.contains("s3://bucket/runs"), "{log}");
    assert!(!log.contains("wJalr") && !log.contains("AKID"), "{log}");
}
