//! What the tests share: the program, a fresh store, the real data beside the project.

#![allow(dead_code)]

use std::path::PathBuf;

use assert_cmd::Command;

/// The program under test, with nothing of the caller's environment that steers it.
pub fn evaltop() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evaltop"));
    for name in ["EVALTOP_DIR", "STORAGE_FORMAT", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.env("EVALTOP_CONFIG", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/config.toml"));
    let nowhere = std::env::temp_dir().join("evaltop-no-such-config");
    command.env("XDG_CONFIG_HOME", &nowhere).env("XDG_STATE_HOME", &nowhere);
    command
}

/// A file of the real data beside the project, or `None` (said loudly) where it is absent.
pub fn real_data(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not there, so this check did not run", path.display());
    None
}

/// A Python with pandas, pyarrow, DuckDB and polars: `$EVALTOP_TEST_PYTHON`, else
/// `.venv/bin/python` in the project, else `python3`; `None` (said loudly) without them.
pub fn python() -> Option<PathBuf> {
    let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    let named = std::env::var_os("EVALTOP_TEST_PYTHON").map(PathBuf::from);
    let found = named.into_iter().chain([venv, PathBuf::from("python3")]).find(|python| {
        std::process::Command::new(python)
            .args(["-c", "import pandas, pyarrow, duckdb, polars"])
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if found.is_none() {
        eprintln!("SKIPPED: no Python with pandas, pyarrow, duckdb and polars, so this check did not run");
    }
    found
}
