//! The log: `evaltop.log` in the XDG state folder, never the terminal. Commands log
//! only where `RUST_LOG` asks for it; the dashboard, which may run for days, keeps its
//! warnings and its activity. Where the file can't be made there is no log, and nobody
//! is reported.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use etcetera::BaseStrategy;
use tracing_subscriber::filter::{Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// A log larger than this becomes `evaltop.old.log`, and a new one begins.
const LIMIT: u64 = 4 << 20;
/// What the dashboard logs.
const DASHBOARD: &str = "warn,activity=info";

/// Starts the log of this process; that of the dashboard without `RUST_LOG` too.
pub(super) fn start(dashboard: bool) {
    let asked = std::env::var("RUST_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    let filter = match (dashboard, asked) {
        (false, None) => return,
        (false, Some(asked)) => asked,
        (true, None) => DASHBOARD.to_owned(),
        (true, Some(asked)) => format!("{DASHBOARD},{asked}"),
    };
    let state = etcetera::choose_base_strategy()
        .ok()
        .and_then(|folders| folders.state_dir());
    if let Some(log) = state.and_then(|state| Log::open(state.join("evaltop")).ok()) {
        // An error means that this process has a log already.
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(Mutex::new(log))
            .with_ansi(false);
        let _ = tracing_subscriber::registry()
            .with(lines)
            .with(targets(&filter))
            .with(filter_fn(|said| is_own(said.target())))
            .try_init();
    }
}

/// Whether a part of this program says it. What libraries say of requests, their headers and
/// signatures, goes nowhere, whatever `RUST_LOG` asks for.
fn is_own(target: &str) -> bool {
    let part = target.split("::").next().unwrap_or_default();
    ["evaltop", "activity"].contains(&part)
}

/// What is logged: levels, and modules with theirs, separated by commas. What can't be
/// read is left out; the last that is said of a module counts.
fn targets(filter: &str) -> Targets {
    let parts = filter
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let wanted = parts.filter_map(|part| part.parse::<Targets>().ok());
    wanted.fold(Targets::new(), |all, part| {
        let all = match part.default_level() {
            Some(level) => all.with_default(level),
            None => all,
        };
        all.with_targets(
            part.iter()
                .map(|(target, level)| (target.to_owned(), level)),
        )
    })
}

/// The file, which is set aside when it is full: a dashboard may log for weeks.
struct Log {
    folder: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    fn open(folder: PathBuf) -> io::Result<Self> {
        let file = open(&folder)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            folder,
            file,
            bytes,
        })
    }
}

impl Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        if self.bytes > LIMIT {
            self.file = open(&self.folder)?;
            self.bytes = 0;
        }
        let written = self.file.write(text)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let path = folder.join("evaltop.log");
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > LIMIT) {
        fs::rename(&path, folder.join("evaltop.old.log"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_levels_and_modules() {
        use tracing::Level;
        let all = targets("warn,activity=info,nonsense=loud,[span]=debug, evaltop=debug,trace");
        assert!(
            all.would_enable("anything", &Level::TRACE),
            "the last level counts"
        );
        assert!(all.would_enable("evaltop::store", &Level::DEBUG));
        assert!(!all.would_enable("evaltop::store", &Level::TRACE));
        assert!(
            !all.would_enable("activity", &Level::DEBUG)
                && all.would_enable("activity", &Level::INFO)
        );
        assert!(!targets("").would_enable("evaltop", &Level::ERROR));
    }

    #[test]
    fn appends_and_sets_a_large_one_aside() {
        let folder = tempfile::tempdir().unwrap();
        let logs = folder.path().join("evaltop");
        writeln!(open(&logs).unwrap(), "one").unwrap();
        writeln!(open(&logs).unwrap(), "two").unwrap();
        assert_eq!(
            fs::read_to_string(logs.join("evaltop.log")).unwrap(),
            "one\ntwo\n"
        );
        open(&logs).unwrap().set_len(LIMIT + 1).unwrap();
        assert_eq!(open(&logs).unwrap().metadata().unwrap().len(), 0);
        assert_eq!(
            fs::metadata(logs.join("evaltop.old.log")).unwrap().len(),
            LIMIT + 1
        );
    }

    #[test]
    fn a_log_that_fills_up_while_it_is_written_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path().join("logs")).unwrap();
        let size =
            |name: &str| fs::metadata(folder.path().join("logs").join(name)).map_or(0, |m| m.len());
        let line = vec![b'x'; 1 << 20];
        for _ in 0..14 {
            log.write_all(&line).unwrap();
        }
        assert_eq!(
            (size("evaltop.old.log"), size("evaltop.log")),
            (5 << 20, 4 << 20)
        );
    }

    #[test]
    fn an_impossible_folder_is_an_error_not_a_panic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(open(file.path()).is_err());
    }
}
