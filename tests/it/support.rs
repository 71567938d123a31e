//! What the tests share: the program, a fresh store, the real data next to the project.

#![allow(dead_code)]

use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// Settings under which it doesn't matter how full this machine's disk is.
pub const SETTINGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/config.toml");

/// The program under test, with nothing of the caller's environment that steers it.
pub fn evaltop() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaltop"));
    for name in ["EVALTOP_DIR", "STORAGE_FORMAT", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.env("EVALTOP_CONFIG", SETTINGS);
    let nowhere = std::env::temp_dir().join("evaltop-no-such-config");
    command
        .env("XDG_CONFIG_HOME", &nowhere)
        .env("XDG_STATE_HOME", &nowhere);
    command
}

/// The same as a process of its own, for tests that talk to it or send it signals.
pub fn evaltop_process() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_evaltop"));
    for name in ["EVALTOP_DIR", "STORAGE_FORMAT", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.env("EVALTOP_CONFIG", SETTINGS);
    let nowhere = std::env::temp_dir().join("evaltop-no-such-config");
    command
        .env("XDG_CONFIG_HOME", &nowhere)
        .env("XDG_STATE_HOME", &nowhere);
    command
}

/// What a command says on stdout and on stderr; it must end with that code.
pub fn said(command: &mut std::process::Command, code: i32) -> (String, String) {
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (said, complaints) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(
        output.status.code(),
        Some(code),
        "{command:?}: {said}{complaints}"
    );
    (said, complaints)
}

/// The `test_id`s of main, sorted.
pub fn main_rows(store: &Path) -> Vec<String> {
    let file = std::fs::File::open(store.join("test_results.parquet")).unwrap();
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let mut rows = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let ids = batch.column_by_name("test_id").unwrap();
        let ids = arrow::array::AsArray::as_string::<i32>(ids).iter();
        rows.extend(ids.map(|id| id.unwrap_or_default().to_owned()));
    }
    rows.sort();
    rows
}

/// The names in `incremental/`, sorted.
pub fn names(store: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(store.join("incremental"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name != ".consumed")
        .collect();
    names.sort();
    names
}

/// A file of the real data next to the project, or `None` (said loudly) where it is absent.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/data")
        .join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!(
        "SKIPPED: {} is not there, so this check did not run",
        path.display()
    );
    None
}

/// A Python with pandas, pyarrow, DuckDB and polars.
pub fn python() -> Option<PathBuf> {
    python_with("pandas, pyarrow, duckdb, polars")
}

/// A Python with these modules: `$EVALTOP_TEST_PYTHON`, else `.venv/bin/python` in the project,
/// else `python3`; `None` (said loudly) without them.
pub fn python_with(modules: &str) -> Option<PathBuf> {
    let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let named = std::env::var_os("EVALTOP_TEST_PYTHON").map(PathBuf::from);
    let found = named
        .into_iter()
        .chain([venv, PathBuf::from("python3")])
        .find(|python| {
            std::process::Command::new(python)
                .args(["-c", &format!("import {modules}")])
                .stderr(std::process::Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        });
    if found.is_none() {
        eprintln!("SKIPPED: no Python with {modules}, so this check did not run");
    }
    found
}

/// Says loudly that something which a check needs is not there; a failure where `CI=true`.
pub fn missing(what: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "missing: {what}"
    );
    eprintln!("SKIPPED: missing {what}, so this check did not run");
}

/// A second way into a folder, through FUSE, until it is dropped.
pub struct Bindfs {
    mount: tempfile::TempDir,
}

impl Bindfs {
    /// `None` (said loudly) without bindfs or `/dev/fuse`.
    pub fn new(folder: &Path) -> Option<Self> {
        let mount = tempfile::tempdir().unwrap();
        let mounted = Path::new("/dev/fuse").exists()
            && std::process::Command::new("bindfs")
                .args([folder, mount.path()])
                .status()
                .is_ok_and(|status| status.success());
        if !mounted {
            missing("bindfs and /dev/fuse");
            return None;
        }
        Some(Self { mount })
    }

    /// The folder as seen through the mount.
    pub fn path(&self) -> &Path {
        self.mount.path()
    }
}

impl Drop for Bindfs {
    fn drop(&mut self) {
        for program in ["fusermount3", "fusermount"] {
            let ended = std::process::Command::new(program)
                .arg("-uz")
                .arg(self.mount.path())
                .status();
            if ended.is_ok_and(|status| status.success()) {
                return;
            }
        }
    }
}
