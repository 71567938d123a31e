//! What was done to a store, by whom: `operations.jsonl`, a line each, the last
//! two hundred of them. Written by whoever did it, after it was done, so that a dashboard
//! that is open elsewhere can say so. It is for people: no reader depends on it, what
//! can't be written is left out, and what can't be read is passed over.

use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::disk::lock::StoreLock;
use crate::store::disk::{ReadFile, Stat};
use crate::store::write::increment;
use crate::store::{Control, Error, Store};

/// Lines that are kept.
const KEPT: usize = 200;
/// What is read of it at most, from its end: other programs may write what they like.
const LIMIT: u64 = 1 << 18;
/// How long to wait for others who write it.
const PATIENCE: Duration = Duration::from_secs(1);

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// When it ended.
    pub at: Timestamp,
    /// The process.
    pub pid: u32,
    /// Its machine.
    pub host: String,
    /// "consolidate", "cleanup", …
    pub operation: String,
    /// What it did, or why it failed: one line for people.
    pub summary: String,
    /// The commit that it made.
    #[serde(default)]
    pub generation: Option<u64>,
    /// It did not do what it should have.
    #[serde(default)]
    pub failed: bool,
    /// Of a run: the command of its tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Of a run: its session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl Operation {
    /// Something that this process did just now.
    pub fn now(operation: &str, summary: impl Into<String>) -> Self {
        Self {
            at: Timestamp::now(),
            pid: std::process::id(),
            host: increment::host(),
            operation: operation.to_owned(),
            summary: summary.into(),
            generation: None,
            failed: false,
            command: None,
            session: None,
        }
    }

    /// A failure just now; `None` where nothing had been begun.
    pub fn failed(operation: &str, error: &Error) -> Option<Self> {
        use Error::{Cancelled, Claimed, Locked, NoStore, Refused};
        if matches!(
            error,
            Cancelled | Claimed { .. } | Locked { .. } | NoStore { .. } | Refused(_)
        ) {
            return None;
        }
        let summary = format!("{operation} failed: {error}");
        Some(Self {
            failed: true,
            ..Self::now(operation, summary)
        })
    }

    /// Whether this process did it.
    pub fn is_own(&self) -> bool {
        self.pid == std::process::id() && self.host == increment::host()
    }

    /// "process 4711", and its machine where that is another one.
    pub fn by(&self) -> String {
        let process = format!("process {}", self.pid);
        if self.host == increment::host() {
            process
        } else {
            format!("{process} on {}", self.host)
        }
    }

    /// The same failure again.
    fn repeats(&self, other: &Self) -> bool {
        self.failed
            && other.failed
            && self.operation == other.operation
            && self.summary == other.summary
    }
}

/// Adds a line. Of a failure that comes again and again only the first is kept. Whatever
/// goes wrong here, the operation itself was done.
pub fn keep(store: &Store, operation: &Operation) {
    if let Err(error) = add(store, operation) {
        tracing::warn!("{} was not noted: {error}", operation.operation);
    }
}

fn add(store: &Store, operation: &Operation) -> io::Result<()> {
    // Without it a line that somebody else adds at this moment might get lost, and no more.
    let _lock = StoreLock::take_within(store, "note", PATIENCE, &Control::default());
    let mut operations = read(store)?;
    if operations
        .last()
        .is_some_and(|last| operation.repeats(last))
    {
        return Ok(());
    }
    operations.push(operation.clone());
    let first = operations.len().saturating_sub(KEPT);
    let mut text = Vec::new();
    for operation in operations.iter().skip(first) {
        serde_json::to_writer(&mut text, operation)?;
        text.push(b'\n');
    }
    let root = store.layout.root();
    let temporary = root.join(format!(".operations.{}.tmp", uuid::Uuid::now_v7().simple()));
    let mut file = store.disk.create(&temporary)?;
    let written = file.write_all(&text).and_then(|()| file.sync());
    written
        .and_then(|()| store.disk.replace(&temporary, &store.layout.operations()))
        .inspect_err(|_| {
            let name = temporary
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            let _ = store.disk.remove(root, &[name]);
        })
}

fn read(store: &Store) -> io::Result<Vec<Operation>> {
    match store.disk.open(&store.layout.operations()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        file => lines(&*file?),
    }
}

fn lines(file: &dyn ReadFile) -> io::Result<Vec<Operation>> {
    let bytes = file.stat()?.bytes;
    let mut text = Vec::new();
    let mut at = bytes.saturating_sub(LIMIT);
    let mut buffer = vec![0; 1 << 16];
    while at < bytes {
        let read = file.read_at(at, &mut buffer)?;
        if read == 0 {
            break;
        }
        text.extend_from_slice(buffer.get(..read).unwrap_or_default());
        at += read as u64;
    }
    let lines = text.split(|byte| *byte == b'\n');
    let mut operations: Vec<Operation> = lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    operations.drain(..operations.len().saturating_sub(KEPT));
    Ok(operations)
}

/// The operations as far as somebody has read them.
#[derive(Debug, Default)]
pub struct Followed {
    seen: Option<Stat>,
    operations: Vec<Operation>,
}

impl Followed {
    /// All that are kept, oldest first. Reads the file only when it is another one.
    pub fn look(&mut self, store: &Store) -> &[Operation] {
        // A store that is away for a moment comes back with the same past.
        let stat = store.disk.stat(&store.layout.operations()).ok();
        if let Some(stat) = stat.filter(|stat| self.seen != Some(*stat))
            && let Ok(operations) = read(store)
        {
            (self.seen, self.operations) = (Some(stat), operations);
        }
        &self.operations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::format::layout::OPERATIONS;

    fn summaries(store: &Store) -> Vec<String> {
        Followed::default()
            .look(store)
            .iter()
            .map(|o| o.summary.clone())
            .collect()
    }

    #[test]
    fn the_last_ones_are_kept_whatever_else_is_in_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        keep(&store, &Operation::now("backup", "first"));
        let path = folder.path().join(OPERATIONS);
        let mut text = std::fs::read(&path).unwrap();
        text.extend_from_slice(b"{\"at\":\"never\"}\n\xff\x00\n[]\n{\"at\":");
        std::fs::write(&path, text).unwrap();
        let mut followed = Followed::default();
        assert_eq!(followed.look(&store).len(), 1);
        for number in 0..KEPT {
            keep(&store, &Operation::now("cleanup", number.to_string()));
        }
        let all = followed.look(&store);
        assert_eq!((all.len(), all[0].summary.as_str()), (KEPT, "0"));
        assert!(all[0].is_own() && all[0].by() == format!("process {}", std::process::id()));
        assert_eq!(
            std::fs::read_dir(folder.path()).unwrap().count(),
            2,
            "the log and the lock"
        );
    }

    #[test]
    fn a_failure_that_comes_again_is_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        for summary in ["full", "full", "empty", "full"] {
            keep(
                &store,
                &Operation {
                    failed: true,
                    ..Operation::now("consolidate", summary)
                },
            );
        }
        keep(&store, &Operation::now("backup", "done"));
        keep(&store, &Operation::now("backup", "done"));
        assert_eq!(summaries(&store), ["full", "empty", "full", "done", "done"]);
    }

    #[test]
    fn a_huge_file_is_read_from_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        keep(&store, &Operation::now("backup", "at the end"));
        let path = folder.path().join(OPERATIONS);
        let last = std::fs::read(&path).unwrap();
        let mut text = vec![b'x'; 2 * LIMIT as usize];
        text.push(b'\n');
        text.extend(last);
        std::fs::write(&path, text).unwrap();
        assert_eq!(summaries(&store), ["at the end"]);
        keep(&store, &Operation::now("backup", "after it"));
        assert_eq!(summaries(&store), ["at the end", "after it"]);
        assert!(std::fs::metadata(&path).unwrap().len() < 1_000);
    }

    #[test]
    fn where_there_is_no_store_none_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("gone"));
        keep(&store, &Operation::now("backup", "done"));
        assert!(!folder.path().join("gone").exists());
        assert!(summaries(&store).is_empty());
    }
}
