//! Stores whose parts lie elsewhere: links, other file systems, mounts.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::{Bindfs, evaltop, evaltop_process, main_rows, names, python};

fn record(dir: &Path, id: &str) {
    evaltop()
        .arg("record")
        .arg(dir)
        .write_stdin(format!(
            "{{\"test_id\":\"{id}\",\"model\":\"m\",\"success\":true}}\n"
        ))
        .assert()
        .success();
}

fn consolidate(dir: &Path) {
    evaltop().arg("consolidate").arg(dir).assert().success();
}

fn age(path: &Path, seconds: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
        .unwrap();
}

#[test]
fn a_main_that_is_a_link_is_read_and_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    record(&dir, "a");
    consolidate(&dir);
    let (main, elsewhere) = (
        dir.join("test_results.parquet"),
        folder.path().join("main.parquet"),
    );
    fs::rename(&main, &elsewhere).unwrap();
    symlink("../main.parquet", &main).unwrap();
    record(&dir, "b");
    let before = fs::read(&elsewhere).unwrap();
    evaltop().arg("status").arg(&dir).assert().success();
    for args in [
        &["consolidate"][..],
        &["consolidate", "--dry-run"],
        &["restore", "--yes", "--undo"],
    ] {
        let ended = evaltop().args(args).arg(&dir).assert().code(1);
        let said = String::from_utf8(ended.get_output().stderr.clone()).unwrap();
        assert!(
            said.contains("test_results.parquet is a symbolic link"),
            "{said}"
        );
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert_eq!(fs::read(&elsewhere).unwrap(), before);
    assert!(fs::symlink_metadata(&main).unwrap().is_symlink());
    // A backup is the file, not the link.
    evaltop().arg("backup").arg(&dir).assert().success();
    for entry in fs::read_dir(dir.join("backups")).unwrap() {
        let path = entry.unwrap().path();
        assert!(
            fs::symlink_metadata(&path).unwrap().is_file(),
            "{}",
            path.display()
        );
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    // As the sentence says.
    fs::rename(&elsewhere, &main).unwrap();
    consolidate(&dir);
    assert_eq!(main_rows(&dir), ["a", "b"]);
}

#[test]
fn quarantine_and_backups_may_lie_on_another_file_system() {
    let memory = Path::new("/dev/shm");
    if !memory.is_dir() {
        crate::support::missing("a second file system at /dev/shm");
        return;
    }
    let (folder, other) = (
        tempfile::tempdir().unwrap(),
        tempfile::tempdir_in(memory).unwrap(),
    );
    let dir = folder.path().join("store");
    record(&dir, "a");
    for part in ["quarantine", "backups"] {
        fs::create_dir(other.path().join(part)).unwrap();
        symlink(other.path().join(part), dir.join(part)).unwrap();
    }
    consolidate(&dir);
    record(&dir, "b");
    consolidate(&dir);
    let damaged = dir.join("incremental/increment_7_20260131_120000_h_0a_1.parquet");
    fs::write(&damaged, "no Parquet, and long enough to be looked at").unwrap();
    age(&damaged, 3_600);
    evaltop()
        .args(["validate", "--repair", "--yes"])
        .arg(&dir)
        .assert()
        .success();
    assert!(!damaged.exists());
    let mut kept: Vec<_> = fs::read_dir(other.path().join("quarantine"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    let name = "increment_7_20260131_120000_h_0a_1.parquet";
    assert_eq!(kept, [name.to_owned(), format!("{name}.reason.txt")]);
    assert!(fs::read_dir(other.path().join("backups")).unwrap().count() > 0);
    // So does a main that can't be read.
    fs::write(
        dir.join("test_results.parquet"),
        "torn, and long enough to be looked at",
    )
    .unwrap();
    age(&dir.join("test_results.parquet"), 3_600);
    let backup = fs::read_dir(dir.join("backups"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    evaltop()
        .args(["restore", "--yes", "--from"])
        .arg(backup.path())
        .arg(&dir)
        .assert()
        .success();
    assert_eq!(
        fs::read_dir(other.path().join("quarantine"))
            .unwrap()
            .count(),
        4
    );
}

/// Through a mount nobody can be seen who writes behind it: a consumed legacy file goes after a
/// minute of quiet, not after five seconds.
#[test]
fn a_legacy_file_behind_a_mount_stays_for_a_minute() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    fs::create_dir_all(dir.join("incremental")).unwrap();
    let Some(mount) = Bindfs::new(&dir) else {
        return;
    };
    let name = "increment_7_20260131_120000.parquet";
    let path: PathBuf = dir.join("incremental").join(name);
    let script = "import sys, pandas; pandas.DataFrame({'test_id': ['a'], 'model': ['m'], \
                  'success': [True]}).to_parquet(sys.argv[1])";
    let wrote = std::process::Command::new(python)
        .args(["-c", script])
        .arg(&path)
        .status()
        .unwrap();
    assert!(wrote.success());
    let consolidate = || {
        let done = evaltop_process()
            .arg("consolidate")
            .arg(mount.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
    };
    // Its writer still has it open.
    let writer = File::options().append(true).open(&path).unwrap();
    age(&path, 30);
    consolidate();
    consolidate();
    assert_eq!(main_rows(&dir), ["a"]);
    assert_eq!(names(&dir), [name]);
    drop(writer);
    age(&path, 90);
    consolidate();
    assert_eq!(names(&dir), [""; 0]);
}
