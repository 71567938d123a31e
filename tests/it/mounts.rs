//! Where the users' stores live: behind sshfs, in a folder that two mounts show, under hands
//! that remove what is being written. Rows that were acknowledged stay, each once.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime};

use crate::mounting::{Mount, bindfs, is_root, sshfs, wait};
use crate::support::{evaltop_process, names};

/// `evaltop record --ack`, row by row.
struct Recorder {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Recorder {
    fn new(store: &Path) -> Self {
        let mut command = evaltop_process();
        command.args(["record", "--ack"]).arg(store);
        Self::of(command)
    }

    fn of(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// Adds rows of these numbers; each is acknowledged.
    fn add(&mut self, rows: std::ops::Range<u32>) {
        for row in rows {
            let input = self.input.as_mut().unwrap();
            writeln!(
                input,
                "{{\"model\":\"m\",\"success\":true,\"task_id\":\"{row:04}\"}}"
            )
            .unwrap();
            let mut id = String::new();
            self.output.read_line(&mut id).unwrap();
            assert!(id.len() > 2, "row {row} was not acknowledged");
        }
    }

    /// Ends its input; what it said.
    fn close(mut self) -> String {
        drop(self.input.take());
        let output = self.child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// The exit code of a command and all that it said.
fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn evaltop(arguments: &[&str], store: &Path) -> (Option<i32>, String) {
    run(evaltop_process().args(arguments).arg(store))
}

/// The rows that a query of a store shows, sorted.
fn rows(store: &Path) -> Vec<String> {
    rows_of(evaltop_process(), store)
}

fn rows_of(mut program: Command, store: &Path) -> Vec<String> {
    let output = program
        .args(["query", "--columns", "task_id", "--format", "csv"])
        .arg(store)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rows: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
    rows.sort();
    rows
}

fn numbers(rows: std::ops::Range<u32>) -> Vec<String> {
    rows.map(|row| format!("{row:04}")).collect()
}

/// Rows of main alone.
fn in_main(store: &Path) -> usize {
    crate::support::main_rows(store).len()
}

fn consolidate(store: &Path) {
    let (code, said) = evaltop(&["consolidate"], store);
    assert_eq!(code, Some(0), "{said}");
}

fn files(store: &Path, prefix: &str) -> Vec<PathBuf> {
    let names = names(store)
        .into_iter()
        .filter(|name| name.starts_with(prefix));
    names
        .map(|name| store.join("incremental").join(name))
        .collect()
}

fn journals(store: &Path) -> Vec<PathBuf> {
    files(store, "journal_")
}

/// Lets a file look as if nobody had written to it for so many hours.
fn age(path: &Path, hours: u64) {
    let then = SystemTime::now() - Duration::from_secs(hours * 3_600 + 60);
    let file = File::options().append(true).open(path).unwrap();
    file.set_modified(then).unwrap();
}

/// A folder with a store, and two others where it can be shown.
struct Places {
    folder: tempfile::TempDir,
}

impl Places {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["disk", "here", "there"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store where it is.
    fn store(&self) -> PathBuf {
        self.at("disk").join("store")
    }
}

fn store_in(mount: &Mount) -> PathBuf {
    mount.path().join("store")
}

#[test]
fn rows_recorded_through_sshfs_are_all_there() {
    let places = Places::new();
    let Some(mount) = sshfs(&places.at("disk"), &places.at("here")) else {
        return;
    };
    let (far, near) = (store_in(&mount), places.store());
    let mut recorder = Recorder::new(&far);
    recorder.add(0..50);
    // sshfs answers a write before the server has it.
    wait("the server has them", || rows(&near) == numbers(0..50));
    recorder.close();
    assert_eq!(rows(&near), numbers(0..50), "on the server");
    wait("sshfs shows what it published", || {
        rows(&far) == numbers(0..50)
    });
    let mut second = Recorder::new(&far);
    second.add(50..60);
    second.kill();
    wait("the server has the others", || {
        rows(&near) == numbers(0..60)
    });
    consolidate(&far);
    assert!(in_main(&near) >= 50);
    assert_eq!(rows(&near), numbers(0..60));
    // What is left of the killed one is taken in once it has rested.
    for path in journals(&near) {
        age(&path, 1);
    }
    consolidate(&near);
    assert_eq!((in_main(&near), rows(&near)), (60, numbers(0..60)));
    let (code, said) = evaltop(&["validate"], &near);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_consolidation_that_does_not_see_a_writers_lock_takes_nothing_from_it() {
    let places = Places::new();
    let Some(here) = bindfs(&places.at("disk"), &places.at("here")) else {
        return;
    };
    let there = bindfs(&places.at("disk"), &places.at("there")).unwrap();
    let near = places.store();
    let mut recorder = Recorder::new(&store_in(&here));
    let everywhere = |expected: u32, when: &str| {
        assert_eq!(rows(&near), numbers(0..expected), "{when}");
        // A mount may remember for a moment how long a file was.
        for mount in [&here, &there] {
            wait(when, || rows(&store_in(mount)) == numbers(0..expected));
        }
    };
    recorder.add(0..3);
    // Through the other mount, and on the machine whose disk it is.
    consolidate(&store_in(&there));
    consolidate(&near);
    recorder.add(3..5);
    everywhere(5, "after later rows");
    // It has rested for long enough to be taken in, and lives all the same.
    age(&journals(&near)[0], 1);
    consolidate(&store_in(&there));
    assert_eq!(in_main(&near), 5);
    assert_eq!(journals(&near).len(), 1, "its journal stays");
    everywhere(5, "in main");
    recorder.add(5..8);
    everywhere(8, "beyond what main has");
    age(&journals(&near)[0], 1);
    consolidate(&near);
    assert_eq!(in_main(&near), 8);
    recorder.add(8..9);
    // Now somebody takes it for dead.
    let dead = journals(&near)[0].clone();
    age(&dead, 25);
    consolidate(&store_in(&there));
    // Its writer may have written it again by now.
    assert!(!journals(&near).contains(&dead));
    everywhere(9, "without its journal");
    recorder.add(9..12);
    recorder.close();
    everywhere(12, "closed");
    consolidate(&store_in(&there));
    everywhere(12, "at the end");
    assert_eq!(in_main(&near), 12);
}

#[test]
fn a_writer_whose_increment_is_there_already_publishes_what_it_lacks() {
    let places = Places::new();
    let Some(here) = bindfs(&places.at("disk"), &places.at("here")) else {
        return;
    };
    let near = places.store();
    // A main that is longer than what the next commit may write.
    let base: Vec<String> = (0..5_000)
        .map(|row| format!("{{\"model\":\"m\",\"success\":true,\"task_id\":\"base {row}\"}}\n"))
        .collect();
    let input = places.at("base.jsonl");
    fs::write(&input, base.concat()).unwrap();
    let mut record = evaltop_process();
    record
        .arg("record")
        .arg(&near)
        .stdin(File::open(&input).unwrap());
    assert!(record.status().unwrap().success());
    consolidate(&near);
    let mut recorder = Recorder::new(&store_in(&here));
    recorder.add(0..2);
    age(&journals(&near)[0], 1);
    // It fails between the increment and the commit.
    let (code, said) = run(Command::new("sh")
        .args(["-c", "ulimit -f 40; exec \"$0\" consolidate \"$1\""])
        .arg(env!("CARGO_BIN_EXE_evaltop"))
        .arg(&near));
    assert_ne!(code, Some(0), "{said}");
    assert_eq!(files(&near, "increment_").len(), 1, "{said}");
    let recorded = || {
        let rows = rows(&near);
        assert!(rows.iter().skip(5).all(|row| row.starts_with("base")));
        (rows.len(), rows.into_iter().take(5).collect::<Vec<_>>())
    };
    recorder.add(2..5);
    assert_eq!(recorded(), (5_005, numbers(0..5)));
    recorder.close();
    let parts = files(&near, "increment_").len();
    assert_eq!(parts, 2, "the other rows are published");
    assert_eq!(recorded(), (5_005, numbers(0..5)));
    consolidate(&near);
    assert_eq!(
        (in_main(&near), recorded()),
        (5_005, (5_005, numbers(0..5)))
    );
}

/// Removes the journal of a living writer in some way, and looks whether its rows are there
/// afterwards: while it lives, after it was killed, and after it was closed.
fn removed(how: &str, remove: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    for kill in [true, false] {
        let before = if kill { 0 } else { 4 };
        let mut recorder = Recorder::new(&store);
        recorder.add(before..before + 3);
        remove(&store);
        wait(how, || {
            store.join("incremental").exists()
                && rows(&store).ends_with(&numbers(before..before + 3))
        });
        recorder.add(before + 3..before + 4);
        if kill {
            recorder.kill();
        } else {
            let said = recorder.close();
            assert!(said.contains("written again"), "{how}: {said}");
        }
        let rows = rows(&store);
        assert!(
            rows.ends_with(&numbers(before..before + 4)),
            "{how}: {rows:?}"
        );
        let mut once = rows.clone();
        once.dedup();
        assert_eq!(once, rows, "{how}");
    }
    consolidate(&store);
    assert!(rows(&store).ends_with(&numbers(4..8)), "{how}");
    assert_eq!(in_main(&store), rows(&store).len());
}

#[test]
fn a_journal_that_is_removed_under_its_writer_is_written_again() {
    removed("rm", |store| {
        for path in journals(store) {
            fs::remove_file(path).unwrap();
        }
    });
    removed("rm -r", |store| fs::remove_dir_all(store).unwrap());
    removed("git clean", |store| {
        let git = |arguments: &[&str]| {
            let (code, said) = run(Command::new("git")
                .args(arguments)
                .current_dir(store.parent().unwrap()));
            assert_eq!(code, Some(0), "{said}");
        };
        git(&["init", "-q"]);
        git(&["clean", "-fdxq"]);
    });
    let moves = std::cell::Cell::new(0);
    removed("the store moved away and a new one made", |store| {
        moves.set(moves.get() + 1);
        let away = store.with_file_name(format!("away-{}", moves.get()));
        fs::rename(store, &away).unwrap();
        fs::create_dir_all(store.join("incremental")).unwrap();
        assert!(!rows(&away).is_empty(), "they are there as well");
    });
    removed("another file in its place", |store| {
        for path in journals(store) {
            fs::remove_file(&path).unwrap();
            fs::write(&path, "").unwrap();
        }
    });
}

#[test]
fn a_journal_that_is_removed_on_the_server_is_written_again() {
    let places = Places::new();
    let Some(mount) = sshfs(&places.at("disk"), &places.at("here")) else {
        return;
    };
    let near = places.store();
    let mut recorder = Recorder::new(&store_in(&mount));
    recorder.add(0..3);
    wait("the server has them", || rows(&near) == numbers(0..3));
    fs::remove_file(&journals(&near)[0]).unwrap();
    // sshfs believes for a while that it is there.
    wait("it is written again", || rows(&near) == numbers(0..3));
    recorder.add(3..5);
    recorder.close();
    assert_eq!(rows(&near), numbers(0..5));
}

/// The program where any user may start it.
struct Shared {
    folder: tempfile::TempDir,
}

const GROUP: &str = "2100";

impl Shared {
    /// `None`, said loudly, where nobody can be another user.
    fn new() -> Option<Self> {
        if !is_root() {
            eprintln!("SKIPPED: only root can be several users, so this check did not run");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let program = folder.path().join("evaltop");
        fs::copy(env!("CARGO_BIN_EXE_evaltop"), program).unwrap();
        let shared = Self { folder };
        let group = GROUP.parse().unwrap();
        for folder in [shared.store(), shared.store().join("incremental")] {
            fs::create_dir(&folder).unwrap();
            std::os::unix::fs::chown(&folder, Some(2001), Some(group)).unwrap();
            fs::set_permissions(&folder, PermissionsExt::from_mode(0o2775)).unwrap();
        }
        Some(shared)
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// The program as it runs for a user with that umask.
    fn evaltop(&self, user: u32, umask: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--reuid",
                &user.to_string(),
                "--regid",
                &user.to_string(),
                "--groups",
                GROUP,
                "sh",
                "-c",
                &format!("umask {umask}; exec \"$0\" \"$@\""),
            ])
            .arg(self.folder.path().join("evaltop"))
            .env("HOME", "/nonexistent")
            .env_remove("EVALTOP_DIR");
        command
    }

    fn recorder(&self, user: u32, umask: &str) -> Recorder {
        let mut command = self.evaltop(user, umask);
        command.args(["record", "--ack"]).arg(self.store());
        Recorder::of(command)
    }

    fn run(&self, user: u32, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = self.evaltop(user, "022");
        run(command.args(arguments).arg(self.store()))
    }
}

#[test]
fn a_journal_that_may_not_be_read_is_set_aside_and_said() {
    let Some(shared) = Shared::new() else { return };
    let store = shared.store();
    let mut secret = shared.recorder(2001, "022");
    secret.add(0..3);
    let journal = journals(&store).remove(0);
    fs::set_permissions(&journal, PermissionsExt::from_mode(0o600)).unwrap();
    let mut open = shared.recorder(2002, "022");
    open.add(3..5);
    open.close();
    let name = journal.file_name().unwrap().to_str().unwrap();
    let rows = || rows_of(shared.evaltop(2002, "022"), &store);
    assert_eq!(rows(), numbers(3..5));
    for arguments in [
        &["status"][..],
        &["validate"],
        &["consolidate"],
        &["cleanup", "--yes"],
    ] {
        let (code, said) = shared.run(2002, arguments);
        assert!(
            matches!(code, Some(0 | 10)),
            "{arguments:?}: {code:?} {said}"
        );
        let named = said.contains(name) && said.contains("can't be read")
            || said.contains("may not be read");
        assert!(arguments[0] == "cleanup" || named, "{arguments:?}: {said}");
    }
    assert_eq!((in_main(&store), rows()), (2, numbers(3..5)));
    // Its owner sees all, and what it publishes counts for all.
    assert_eq!(rows_of(shared.evaltop(2001, "022"), &store), numbers(0..5));
    secret.add(5..6);
    secret.close();
    assert_eq!(rows(), numbers(0..6));
    let (code, said) = shared.run(2002, &["consolidate"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!((in_main(&store), rows()), (6, numbers(0..6)));
}

#[test]
fn a_file_system_without_locks_stops_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("flock.c");
    let library = folder.path().join("flock.so");
    let body = "#include <errno.h>\nint flock(int fd, int how) { (void)fd; (void)how; errno = ERROR; return -1; }\n";
    fs::write(&source, body).unwrap();
    for error in ["ENOTSUP", "ENOLCK"] {
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", &format!("-DERROR={error}"), "-o"])
            .args([&library, &source]);
        let (code, said) = run(&mut cc);
        assert_eq!(code, Some(0), "{said}");
        let program = || {
            let mut command = evaltop_process();
            command.env("LD_PRELOAD", &library);
            command
        };
        let store = folder.path().join(error);
        let recorder = || {
            let mut command = program();
            command.args(["record", "--ack"]).arg(&store);
            Recorder::of(command)
        };
        let mut killed = recorder();
        killed.add(0..3);
        killed.kill();
        let mut living = recorder();
        living.add(3..5);
        let mut closed = recorder();
        closed.add(5..7);
        closed.close();
        assert_eq!(rows_of(program(), &store), numbers(0..7), "{error}");
        for arguments in [
            &["status"][..],
            &["validate"],
            &["consolidate"],
            &["cleanup", "--yes"],
        ] {
            let (code, said) = run(program().args(arguments).arg(&store));
            assert!(
                matches!(code, Some(0 | 10)),
                "{arguments:?}: {code:?} {said}"
            );
            let reported = said.contains("no locks");
            assert!(
                reported || arguments[0] != "status",
                "{arguments:?}: {said}"
            );
        }
        assert_eq!(rows_of(program(), &store), numbers(0..7), "{error}");
        living.add(7..9);
        living.close();
        let (code, said) = run(program().arg("consolidate").arg(&store));
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(rows_of(program(), &store), numbers(0..9), "{error}");
        for path in journals(&store) {
            age(&path, 25);
        }
        let (code, said) = run(program().arg("consolidate").arg(&store));
        assert_eq!(code, Some(0), "{said}");
        assert_eq!((in_main(&store), journals(&store).len()), (9, 0));
        assert_eq!(rows_of(program(), &store), numbers(0..9), "{error}");
    }
}
