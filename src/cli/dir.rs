//! Which store a command means, and the settings that go with it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::Usage;
use crate::config::Config;
use crate::formats::beside::Beside;
use crate::store::Store;
use crate::store::layout::DEFAULT_NAME;

/// The folder that a command means: the one that was named, else `$EVALTOP_DIR`, else
/// `./pilot_bench_parquet_data`, else `.` if it looks like a store.
pub fn resolve(named: Option<&Path>) -> PathBuf {
    let from_environment = || {
        std::env::var_os("EVALTOP_DIR")
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
    };
    choose(
        named.map(Path::to_path_buf).or_else(from_environment),
        Path::new("."),
    )
}

fn choose(named: Option<PathBuf>, here: &Path) -> PathBuf {
    if let Some(named) = named {
        return named;
    }
    let usual = here.join(DEFAULT_NAME);
    if !usual.exists() && Store::new(here).check().is_ok() {
        here.to_path_buf()
    } else {
        usual
    }
}

/// The store that a command means, which need not be there, and its settings.
/// The path is absolute, so that it stays right whatever the working directory.
pub fn open(named: Option<&Path>) -> Result<(Store, Config)> {
    let folder = resolve(named);
    let config = Config::load(Some(&folder))?;
    let absolute = std::path::absolute(&folder).unwrap_or(folder);
    let mut store = Store::new(absolute);
    store.zone = config.zone();
    Ok((store, config))
}

/// Like [`open`], for commands that need a store to be there.
pub fn existing(named: Option<&Path>) -> Result<(Store, Config)> {
    let (store, config) = open(named)?;
    store.check()?;
    Ok((store, config))
}

/// The JSON database that is kept beside a store, where `$STORAGE_FORMAT` asks for it.
pub fn beside(store: &Store) -> Result<Option<Beside>> {
    let format = std::env::var_os("STORAGE_FORMAT").unwrap_or_default();
    match format.to_str().map(str::to_ascii_lowercase).as_deref() {
        Some("" | "parquet") => Ok(None),
        Some("json") => Ok(Some(Beside::open(store)?)),
        _ => Err(Usage(format!(
            "STORAGE_FORMAT is '{}': it must be parquet or json",
            format.display()
        ))
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_named_one_then_the_usual_one_then_here() {
        let here = tempfile::tempdir().unwrap();
        let here = here.path();
        assert_eq!(choose(Some("x".into()), here), PathBuf::from("x"));
        assert_eq!(
            choose(None, here),
            here.join(DEFAULT_NAME),
            "what a first record would make"
        );
        std::fs::create_dir(here.join("incremental")).unwrap();
        assert_eq!(choose(None, here), here);
        std::fs::create_dir(here.join(DEFAULT_NAME)).unwrap();
        assert_eq!(choose(None, here), here.join(DEFAULT_NAME));
    }
}
