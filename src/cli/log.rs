//! The log: `evaltop.log` in the XDG state folder, never the terminal. Commands log
//! only where `RUST_LOG` asks for it; the dashboard, which may run for days, keeps its
//! warnings. Where the file can't be made there is no log, and nobody is told.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::sync::Mutex;

use etcetera::BaseStrategy;
use tracing_subscriber::EnvFilter;

/// A log larger than this becomes `evaltop.old.log` at the next start.
const LIMIT: u64 = 4 << 20;

/// Starts the log of this process; `warnings` without `RUST_LOG` too.
pub(super) fn start(warnings: bool) {
    let asked = std::env::var("RUST_LOG").ok().filter(|filter| !filter.is_empty());
    let Some(filter) = asked.or_else(|| warnings.then(|| "warn".to_owned())) else { return };
    let state = etcetera::choose_base_strategy().ok().and_then(|folders| folders.state_dir());
    if let Some(file) = state.and_then(|state| open(&state.join("evaltop")).ok()) {
        // An error means that this process has a log already.
        let _ = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new(filter))
            .with_writer(Mutex::new(file))
            .with_ansi(false)
            .try_init();
    }
}

fn open(folder: &Path) -> std::io::Result<File> {
    fs::create_dir_all(folder)?;
    let path = folder.join("evaltop.log");
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > LIMIT) {
        fs::rename(&path, folder.join("evaltop.old.log"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn appends_and_sets_a_large_one_aside() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("evaltop");
        writeln!(open(&logs).unwrap(), "one").unwrap();
        writeln!(open(&logs).unwrap(), "two").unwrap();
        assert_eq!(fs::read_to_string(logs.join("evaltop.log")).unwrap(), "one\ntwo\n");
        open(&logs).unwrap().set_len(LIMIT + 1).unwrap();
        assert_eq!(open(&logs).unwrap().metadata().unwrap().len(), 0);
        assert_eq!(fs::metadata(logs.join("evaltop.old.log")).unwrap().len(), LIMIT + 1);
    }

    #[test]
    fn an_impossible_folder_is_an_error_not_a_panic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(open(file.path()).is_err());
    }
}
