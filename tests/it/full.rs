//! A disk that is full to any degree, and a process that may write no further: every
//! command that writes ends with one clear sentence, loses nothing, and succeeds once
//! there is room again.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use arrow::array::AsArray;
use evaltop::internals::store::read::query::{Selection, rows};
use evaltop::internals::store::{Control, Store};

use crate::support::{evaltop, evaltop_process, names};

/// A command for the folder that [`prepare`] makes.
struct Case {
    arguments: &'static [&'static str],
    input: &'static str,
    /// Whether it brings a row in.
    adds: bool,
}

const fn adds(arguments: &'static [&'static str], input: &'static str) -> Case {
    Case {
        arguments,
        input,
        adds: true,
    }
}

const fn case(arguments: &'static [&'static str]) -> Case {
    Case {
        arguments,
        input: "",
        adds: false,
    }
}

const NEW: &str = "{\"test_id\":\"new\",\"model\":\"m\",\"success\":true,\"session_id\":\"new\"}\n";

const CASES: [Case; 14] = [
    adds(&["record", "store"], NEW),
    adds(&["record", "store", "--durability", "disk"], NEW),
    adds(
        &[
            "run",
            "store",
            "--models",
            "m",
            "--session",
            "new",
            "--",
            "true",
        ],
        "",
    ),
    adds(&["import", "new.jsonl", "--into", "store"], ""),
    case(&["import", "new.json", "--into", "store"]),
    case(&["consolidate", "store"]),
    case(&["backup", "store"]),
    case(&["restore", "store", "--undo", "--yes"]),
    case(&["export", "store", "--format", "csv", "--yes", "-o", "out"]),
    case(&[
        "export", "store", "--format", "parquet", "--yes", "-o", "out",
    ]),
    case(&["export", "store", "--format", "json", "--yes", "-o", "out"]),
    case(&["merge", "one.parquet", "two.parquet", "--yes", "-o", "out"]),
    case(&["validate", "store", "--repair", "--yes"]),
    case(&["maintain", "store"]),
];

/// A store whose main has two rows, of which one came with the last commit; two rows wait,
/// a file can't be read, and the derived files are out of date. Next to it what commands read.
fn prepare(folder: &Path) {
    let store = folder.join("store");
    for id in ["a", "b", "c", "d"] {
        let note = "x".repeat(3_000);
        let line = format!(
            "{{\"test_id\":\"{id}\",\"model\":\"m\",\"success\":true,\"note\":\"{note}\"}}\n"
        );
        evaltop()
            .arg("record")
            .arg(&store)
            .write_stdin(line)
            .assert()
            .success();
        if id < "c" {
            evaltop().arg("consolidate").arg(&store).assert().success();
        }
    }
    for (name, waits) in ["one.parquet", "two.parquet"].iter().zip(names(&store)) {
        fs::copy(store.join("incremental").join(waits), folder.join(name)).unwrap();
    }
    fs::write(folder.join("new.jsonl"), NEW).unwrap();
    let leaf = r#""by_difficulty": {"easy": {"by_task_type": {"t": {"total": 4, "success": 2}}}}"#;
    let model = format!(
        r#"{{"by_prompt_type": {{"p": {{"by_tool_success_rate": {{"0.8": {{{leaf}}}}}}}}}}}"#
    );
    let database = format!(r#"{{"version": "3.0", "models": {{"old": {model}}}}}"#);
    fs::write(folder.join("new.json"), database).unwrap();
    fs::write(store.join("metadata.json"), "{}").unwrap();
    fs::write(store.join(TORN), "PAR1 and no more").unwrap();
}

const TORN: &str = "incremental/increment_1_20260131_120000.parquet";

/// Copies a folder; the torn file is old in each copy.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
            if target.ends_with(TORN) {
                let old = SystemTime::now() - Duration::from_secs(100);
                File::options()
                    .write(true)
                    .open(target)
                    .unwrap()
                    .set_modified(old)
                    .unwrap();
            }
        }
    }
}

/// The sessions and ids that the store has, sorted: a new row is known by its session.
fn ids(folder: &Path) -> Vec<String> {
    let store = Store::new(folder.join("store"));
    let columns = Some(["test_id", "session_id"].map(str::to_owned).into());
    let selection = Selection {
        columns,
        ..Selection::default()
    };
    let mut ids = Vec::new();
    for batch in rows(&store, &selection, &Control::default()).unwrap() {
        let batch = batch.unwrap();
        let texts = |name: &str| batch[name].as_string::<i32>().clone();
        let (tests, sessions) = (texts("test_id"), texts("session_id"));
        ids.extend(
            sessions
                .iter()
                .zip(&tests)
                .filter_map(|(session, test)| Some(session.or(test)?.to_owned())),
        );
    }
    ids.sort();
    ids
}

fn ended(mut command: Command, folder: &Path, input: &str) -> Output {
    command
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// The command without a limit.
fn unlimited(case: &Case) -> Command {
    let mut command = evaltop_process();
    command.args(case.arguments);
    command
}

/// Whether it did what it could: a file can't be read, which some warn of.
fn is_done(output: &Output) -> bool {
    matches!(output.status.code(), Some(0 | 10))
}

/// Runs every command in `folder` with a little more room each time, until it succeeds:
/// `limited` makes the command and takes the room away, `freed` gives it back.
fn with_ever_more_room(
    folder: &Path,
    limited: impl Fn(&Case, u64) -> Command,
    freed: impl Fn(),
    remedy: &str,
) {
    let made = tempfile::tempdir().unwrap();
    prepare(made.path());
    let before = ids(made.path());
    for case in &CASES {
        let mut met = false;
        let (mut room, mut tries) = (0, 0);
        loop {
            let own = folder.join("own");
            copy(made.path(), &own);
            let first = ended(limited(case, room), &own, case.input);
            let reported = String::from_utf8_lossy(&first.stderr).into_owned();
            let what = format!(
                "{:?}, room {room}, {:?}: {reported}",
                case.arguments, first.status
            );
            let done = is_done(&first);
            if !done {
                met = true;
                let sentences: Vec<&str> = reported
                    .lines()
                    .filter(|line| line.starts_with("evaltop: "))
                    .collect();
                assert!(
                    first.status.code() == Some(1) && sentences.len() == 1,
                    "{what}"
                );
                assert!(reported.contains(remedy), "{what}");
            }
            let seen = ids(&own);
            let mut all = before.clone();
            all.extend(case.adds.then(|| "new".to_owned()));
            all.sort();
            assert!(seen == all || (!done && seen == before), "{what}{seen:?}");
            freed();
            let again = ended(unlimited(case), &own, case.input);
            let reported = String::from_utf8_lossy(&again.stderr).into_owned();
            assert!(
                is_done(&again),
                "{what}and again: {:?} {reported}",
                again.status
            );
            assert_eq!(ids(&own), all, "{what}");
            fs::remove_dir_all(&own).unwrap();
            // tmpfs counts its pages on each processor, so some may be left where it seems full.
            match (done, met) {
                (true, false) if tries < 20 => tries += 1,
                (true, _) => break,
                (false, _) => room += 1,
            }
        }
        assert!(met, "{:?} never met the limit", case.arguments);
    }
}

/// The command in a process that may make no file longer than so many pages of 4 KiB.
fn limited(case: &Case, pages: u64) -> Command {
    let command = unlimited(case);
    let mut shell = Command::new("sh");
    // The shell's blocks have 512 bytes.
    let script = "trap '' XFSZ; ulimit -f \"$0\" && exec \"$@\"";
    shell
        .args(["-c", script, &(8 * pages).to_string()])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

#[test]
fn a_process_that_may_write_no_further() {
    let folder = tempfile::tempdir().unwrap();
    with_ever_more_room(folder.path(), limited, || {}, "ulimit -f");
}

#[test]
fn cleanup_needs_no_room() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let before = ids(folder.path());
    let stale = folder
        .path()
        .join("store/incremental/.increment_1_20260131_120000_h_0a_0.parquet.tmp");
    fs::write(&stale, [0; 5_000]).unwrap();
    let old = SystemTime::now() - Duration::from_secs(86_400);
    File::options()
        .write(true)
        .open(&stale)
        .unwrap()
        .set_modified(old)
        .unwrap();
    let output = ended(
        limited(&case(&["cleanup", "store", "--yes"]), 0),
        folder.path(),
        "",
    );
    let reported = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success() && reported.starts_with("removed 1 file"),
        "{output:?}"
    );
    assert!(!stale.exists());
    assert_eq!(ids(folder.path()), before);
}

/// A file system of two MiB; `None` (said loudly) where it can't be mounted.
struct Small(tempfile::TempDir);

impl Small {
    fn mounted() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=2m", "none"])
            .arg(folder.path())
            .stderr(Stdio::null());
        if cfg!(target_os = "linux") && mount.status().is_ok_and(|status| status.success()) {
            return Some(Self(folder));
        }
        eprintln!("SKIPPED: a small file system can't be mounted here, so this check did not run");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk() {
    let Some(small) = Small::mounted() else {
        return;
    };
    let filler = small.0.path().join("filler");
    let limited = |case: &Case, room: u64| {
        let mut file = File::create(&filler).unwrap();
        while file.write_all(&[7; 4096]).is_ok() {}
        let length = file.metadata().unwrap().len();
        file.set_len(length - 4096 * room).unwrap();
        unlimited(case)
    };
    with_ever_more_room(
        small.0.path(),
        limited,
        || fs::remove_file(&filler).unwrap(),
        "free some space",
    );
}
