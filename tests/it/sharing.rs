//! Several users with one store: what one makes, the others can use.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{evaltop, main_rows, missing};

const ANNA: u32 = 54_001;
const BERT: u32 = 54_002;
const GROUP: u32 = 54_100;

/// A folder that everybody may enter, with a copy of the program that everybody may run.
struct Users {
    folder: tempfile::TempDir,
}

impl Users {
    /// `None` (said loudly) where this process can't be another user.
    fn new() -> Option<Self> {
        let able = rustix::process::geteuid().is_root()
            && Command::new("setpriv")
                .args(["--reuid=54001", "--regid=54001", "--clear-groups", "true"])
                .status()
                .is_ok_and(|status| status.success());
        if !able {
            missing("root and setpriv, to be several users");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let users = Self { folder };
        fs::copy(env!("CARGO_BIN_EXE_evaltop"), users.program()).unwrap();
        fs::set_permissions(users.program(), Permissions::from_mode(0o755)).unwrap();
        // A copy, since other users may not be able to read this project's folder.
        fs::write(users.settings(), include_str!("config.toml")).unwrap();
        fs::set_permissions(users.settings(), Permissions::from_mode(0o644)).unwrap();
        Some(users)
    }

    fn program(&self) -> PathBuf {
        self.folder.path().join("evaltop")
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("settings.toml")
    }

    /// A folder of this user, group and mode.
    fn folder(&self, name: &str, user: u32, group: u32, mode: u32) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::create_dir(&path).unwrap();
        chown(&path, Some(user), Some(group)).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    }

    /// Runs the program as a user whose files nobody else may read.
    fn run(&self, user: u32, groups: &str, line: &str, dir: &Path) -> Output {
        let program = format!("umask 077; {line}");
        Command::new("setpriv")
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={user}"))
            .arg(if groups.is_empty() {
                "--clear-groups".to_owned()
            } else {
                format!("--groups={groups}")
            })
            .args(["sh", "-c", &program])
            .env("EVALTOP", self.program())
            .env("DIR", dir)
            .env("EVALTOP_CONFIG", self.settings())
            .env("HOME", "/nonexistent")
            .current_dir("/")
            .output()
            .unwrap()
    }

    fn succeeds(&self, user: u32, groups: &str, line: &str, dir: &Path) -> String {
        let ran = self.run(user, groups, line, dir);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        );
        assert!(
            ran.status.success(),
            "{line} as {user}: {:?} {said}",
            ran.status
        );
        said
    }
}

fn record(id: &str) -> String {
    format!(
        "echo '{{\"test_id\":\"{id}\",\"model\":\"m\",\"success\":true}}' | $EVALTOP record $DIR"
    )
}

fn all(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all(&path, found);
        }
        found.push(path);
    }
}

#[test]
fn a_group_shares_a_store_whatever_the_umask() {
    let Some(users) = Users::new() else { return };
    let shared = users.folder("shared", 0, GROUP, 0o2770);
    let dir = shared.join("store");
    let groups = GROUP.to_string();
    let mut expected = Vec::new();
    for turn in 0..3 {
        for user in [ANNA, BERT] {
            let id = format!("{user}-{turn}");
            users.succeeds(user, &groups, &record(&id), &dir);
            let other = if user == ANNA { BERT } else { ANNA };
            // The other one reads, takes in and backs up what this one wrote.
            users.succeeds(other, &groups, "$EVALTOP status $DIR", &dir);
            users.succeeds(other, &groups, "$EVALTOP consolidate $DIR", &dir);
            users.succeeds(other, &groups, "$EVALTOP backup $DIR", &dir);
            users.succeeds(other, &groups, "$EVALTOP cleanup --yes --keep 2 $DIR", &dir);
            expected.push(id);
        }
    }
    expected.sort();
    assert_eq!(main_rows(&dir), expected);
    let mut paths = vec![dir.clone()];
    all(&dir, &mut paths);
    for path in paths {
        let meta = fs::metadata(&path).unwrap();
        let mode = if meta.is_dir() { 0o2770 } else { 0o660 };
        let is = (meta.gid(), meta.mode() & 0o7777);
        assert_eq!(is, (GROUP, mode), "{}", path.display());
    }
}

#[test]
fn a_commit_by_root_leaves_the_store_to_its_owner() {
    let Some(users) = Users::new() else { return };
    let dir = users.folder("hers", ANNA, ANNA, 0o755);
    let none = ANNA.to_string();
    users.succeeds(ANNA, &none, &record("a"), &dir);
    users.succeeds(ANNA, &none, "$EVALTOP consolidate $DIR", &dir);
    let main = dir.join("test_results.parquet");
    fs::set_permissions(&main, Permissions::from_mode(0o640)).unwrap();
    for id in ["b", "c"] {
        users.succeeds(ANNA, &none, &record(id), &dir);
        let said = users.succeeds(0, "0", "$EVALTOP maintain $DIR", &dir);
        assert!(!said.contains("let this user keep"), "{said}");
        let meta = fs::metadata(&main).unwrap();
        assert_eq!(
            (meta.uid(), meta.gid(), meta.mode() & 0o777),
            (ANNA, ANNA, 0o640)
        );
    }
    users.succeeds(ANNA, &none, &record("d"), &dir);
    users.succeeds(ANNA, &none, "$EVALTOP consolidate $DIR", &dir);
    users.succeeds(ANNA, &none, "$EVALTOP validate $DIR", &dir);
    assert_eq!(main_rows(&dir), ["a", "b", "c", "d"]);
}

#[test]
fn what_the_system_refuses_is_said_once_and_is_no_failure() {
    let Some(users) = Users::new() else { return };
    let dir = users.folder("open", ANNA, ANNA, 0o777);
    users.succeeds(ANNA, "", &record("a"), &dir);
    users.succeeds(ANNA, "", "$EVALTOP consolidate $DIR", &dir);
    let consolidated = |id| {
        users.succeeds(BERT, "", &record(id), &dir);
        users.succeeds(BERT, "", "$EVALTOP consolidate $DIR", &dir)
    };
    let said = consolidated("b");
    assert_eq!(
        said.matches("does not let this user keep").count(),
        1,
        "{said}"
    );
    assert!(said.contains(&format!("keep {ANNA}")), "{said}");
    let said = consolidated("c");
    assert!(!said.contains("let this user keep"), "{said}");
    assert_eq!(main_rows(&dir), ["a", "b", "c"]);
}

#[test]
fn what_is_written_outside_of_a_store_follows_the_umask() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    evaltop()
        .arg("record")
        .arg(&dir)
        .write_stdin("{\"model\":\"m\",\"success\":true}\n")
        .assert()
        .success();
    let outside = folder.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::set_permissions(&outside, Permissions::from_mode(0o777)).unwrap();
    let out = outside.join("rows.csv");
    let line = "umask 077; exec \"$0\" query \"$1\" -o \"$2\"";
    let status = Command::new("sh")
        .args(["-c", line, env!("CARGO_BIN_EXE_evaltop")])
        .args([&dir, &out])
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(fs::metadata(&out).unwrap().mode() & 0o777, 0o600);
}
