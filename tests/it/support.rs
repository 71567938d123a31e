//! What the tests share: the program, a fresh store, the real data beside the project.

#![allow(dead_code)]

use std::path::{Path, PathBuf};

use assert_cmd::Command;

/// The program under test, with nothing of the caller's environment that steers it.
pub fn evaltop() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaltop"));
    for name in ["EVALTOP_DIR", "STORAGE_FORMAT", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.env(
        "EVALTOP_CONFIG",
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/config.toml"),
    );
    let nowhere = std::env::temp_dir().join("evaltop-no-such-config");
    command
        .env("XDG_CONFIG_HOME", &nowhere)
        .env("XDG_STATE_HOME", &nowhere);
    command
}

/// The same as a process of its own, for tests that talk to it or send it signals.
pub fn evaltop_process() -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_evaltop"));
    for name in [
        "EVALTOP_DIR",
        "EVALTOP_CONFIG",
        "STORAGE_FORMAT",
        "NO_COLOR",
    ] {
        command.env_remove(name);
    }
    let nowhere = std::env::temp_dir().join("evaltop-no-such-config");
    command
        .env("XDG_CONFIG_HOME", &nowhere)
        .env("XDG_STATE_HOME", &nowhere);
    command
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
        .collect();
    names.sort();
    names
}

/// A file of the real data beside the project, or `None` (said loudly) where it is absent.
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

/// A Python with pandas, pyarrow, DuckDB and polars: `$EVALTOP_TEST_PYTHON`, else
/// `.venv/bin/python` in the project, else `python3`; `None` (said loudly) without them.
pub fn python() -> Option<PathBuf> {
    let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let named = std::env::var_os("EVALTOP_TEST_PYTHON").map(PathBuf::from);
    let found = named
        .into_iter()
        .chain([venv, PathBuf::from("python3")])
        .find(|python| {
            std::process::Command::new(python)
                .args(["-c", "import pandas, pyarrow, duckdb, polars"])
                .stderr(std::process::Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        });
    if found.is_none() {
        eprintln!(
            "SKIPPED: no Python with pandas, pyarrow, duckdb and polars, so this check did not run"
        );
    }
    found
}
