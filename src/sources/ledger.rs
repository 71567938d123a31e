//! Which files were imported, and what they held: `imports.jsonl`, a line an import.
//!
//! A file is known by its contents, so that a copy, the same table in another format, and a
//! file that grew or moved are the source that they were. No row depends on it: without it
//! a file is known by its path alone.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::store::disk::lock::StoreLock;
use crate::store::{Control, Store};

/// Versions of one source that are kept.
const VERSIONS: usize = 16;
/// How long to wait for another process that writes it.
const PATIENCE: Duration = Duration::from_secs(1);
/// A file that begins with at least so many rows of another one is that one, grown and moved.
const MOVED: u64 = 10;

/// One import of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Version {
    /// The source of its rows.
    pub(crate) label: String,
    /// When it was imported.
    pub(crate) at: Timestamp,
    /// Its rows.
    pub(crate) rows: u64,
    /// The sum over their contents, as hexadecimal figures.
    pub(crate) content: String,
    /// The hash of the settings that it was imported with.
    pub(crate) settings: String,
    /// It begins with the version before.
    #[serde(default)]
    pub(crate) grown: bool,
    /// Of its models' tasks those with the smallest hashes; none where its rows have sessions or
    /// ids of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tasks: Vec<u64>,
}

impl Version {
    /// The sum over the contents of its rows.
    fn sum(&self) -> Option<u128> {
        u128::from_str_radix(&self.content, 16).ok()
    }
}

/// The imports of a store, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Vec<Version>);

/// What a file is to the versions that were imported before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kinship {
    /// Nothing is known of it.
    New,
    /// It holds what the newest version of this source holds, or its beginning.
    Held(String),
    /// It begins with the newest version of this source.
    Grown(String),
    /// It is an older version of this source, which was changed since.
    Older(String),
}

impl Ledger {
    /// Reads it; what can't be read is passed over.
    pub(crate) fn read(store: &Store) -> Self {
        match lines(store) {
            Ok(versions) => Self(versions),
            Err(error) => {
                tracing::warn!("the list of imports can't be read: {error}");
                Self::default()
            }
        }
    }

    /// The newest version of a source.
    pub(crate) fn newest(&self, label: &str) -> Option<&Version> {
        self.0.iter().rev().find(|version| version.label == label)
    }

    /// Another source with about the same tasks of the same models, the newest.
    pub(crate) fn twin(&self, label: &str, tasks: &[u64]) -> Option<&str> {
        let alike = |version: &&Version| {
            let both = version.tasks.iter().filter(|task| tasks.contains(task));
            version.label != label && both.count() * 2 > tasks.len()
        };
        let twin = self
            .0
            .iter()
            .rev()
            .find(alike)
            .filter(|_| !tasks.is_empty());
        twin.map(|version| version.label.as_str())
    }

    /// The names of all sources.
    pub(crate) fn labels(&self) -> HashSet<&str> {
        self.0
            .iter()
            .map(|version| version.label.as_str())
            .collect()
    }

    /// A name for another source of the same path.
    pub(crate) fn another(&self, label: &str) -> String {
        let labels = self.labels();
        let mut names = (2..).map(|n| format!("{label} ({n})"));
        names
            .find(|name| !labels.contains(name.as_str()))
            .unwrap_or_else(|| label.to_owned())
    }

    /// The numbers of rows after which a file may be one of the versions.
    pub(crate) fn marks(&self) -> HashSet<u64> {
        let rows = self.0.iter().map(|version| version.rows);
        rows.filter(|rows| *rows > 0).collect()
    }

    /// What a file of so many rows is, of which `sums` are the sums over the contents of
    /// its first rows at the [`Ledger::marks`]. `path` is the source that its path names.
    pub(crate) fn kinship(&self, path: &str, rows: u64, sums: &HashMap<u64, u128>) -> Kinship {
        let begins_with = |version: &&Version| {
            version.rows > 0
                && version
                    .sum()
                    .is_some_and(|sum| sums.get(&version.rows) == Some(&sum))
        };
        let is_of_path = |label: &str| label == path || label.starts_with(&format!("{path} ("));
        let best = self
            .0
            .iter()
            .enumerate()
            .filter(|(_, version)| begins_with(version))
            .filter(|(_, version)| {
                is_of_path(&version.label) || version.rows == rows || version.rows >= MOVED
            })
            .max_by_key(|(at, version)| (version.rows, is_of_path(&version.label), *at));
        let Some((at, version)) = best else {
            return Kinship::New;
        };
        let label = version.label.clone();
        let later: Vec<&Version> = self
            .0
            .iter()
            .skip(at + 1)
            .filter(|later| later.label == label)
            .collect();
        // The newest version begins with all those that it grew from.
        if later.iter().all(|later| later.grown) {
            if later.is_empty() && version.rows < rows {
                Kinship::Grown(label)
            } else if version.rows == rows {
                Kinship::Held(label)
            } else {
                Kinship::Older(label)
            }
        } else {
            Kinship::Older(label)
        }
    }

    /// Takes in a version that is on its way into the store.
    pub(crate) fn push(&mut self, version: Version) {
        self.0.push(version);
    }

    /// Writes versions that the store has by now. What can't be written costs knowledge, no row.
    pub(crate) fn keep(store: &Store, versions: Vec<Version>) {
        if let Err(error) = keep(store, versions) {
            tracing::warn!("the import was not noted: {error}");
        }
    }
}

fn keep(store: &Store, new: Vec<Version>) -> io::Result<()> {
    // Without it a line that another process adds at this moment might get lost, and no more.
    let _lock = StoreLock::take_within(store, "note", PATIENCE, &Control::default());
    let mut versions = lines(store)?;
    versions.extend(new);
    let mut left: HashMap<String, usize> = HashMap::new();
    for version in &versions {
        *left.entry(version.label.clone()).or_default() += 1;
    }
    versions.retain(|version| {
        let left = left.entry(version.label.clone()).or_default();
        *left -= 1;
        *left < VERSIONS
    });
    let mut text = Vec::new();
    for version in &versions {
        serde_json::to_writer(&mut text, version)?;
        text.push(b'\n');
    }
    let root = store.layout.root();
    let name = format!(".imports.{:08x}.tmp", store.disk.id() as u32);
    let temporary = root.join(&name);
    let mut file = store.disk.create(&temporary)?;
    let written = file.write_all(&text).and_then(|()| file.sync());
    written
        .and_then(|()| store.disk.replace(&temporary, &store.layout.imports()))
        .inspect_err(|_| {
            let _ = store.disk.remove(root, &[&name]);
        })
}

fn lines(store: &Store) -> io::Result<Vec<Version>> {
    let file = match store.disk.open(&store.layout.imports()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    let mut text = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read_at(text.len() as u64, &mut buffer)?;
        if read == 0 {
            break;
        }
        text.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
    let lines = text.split(|byte| *byte == b'\n');
    Ok(lines
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(label: &str, rows: u64, sum: u128, grown: bool) -> Version {
        Version {
            label: label.to_owned(),
            at: Timestamp::UNIX_EPOCH,
            rows,
            content: format!("{sum:x}"),
            settings: String::new(),
            grown,
            tasks: Vec::new(),
        }
    }

    #[test]
    fn a_file_is_known_by_its_contents() {
        let ledger = Ledger(vec![
            version("a", 2, 20, false),
            version("b", 12, 7, false),
            version("a", 4, 44, true),
            version("c", 3, 3, false),
            version("c", 3, 4, false),
        ]);
        let kinship = |path: &str, rows: u64, sums: &[(u64, u128)]| {
            ledger.kinship(path, rows, &sums.iter().copied().collect())
        };
        assert_eq!(
            kinship("x", 4, &[(2, 20), (4, 44)]),
            Kinship::Held("a".into()),
            "a copy"
        );
        assert_eq!(
            kinship("a", 6, &[(2, 20), (4, 44)]),
            Kinship::Grown("a".into())
        );
        assert_eq!(
            kinship("x", 6, &[(2, 20), (4, 44)]),
            Kinship::New,
            "few rows in common"
        );
        assert_eq!(
            kinship("x", 13, &[(12, 7)]),
            Kinship::Grown("b".into()),
            "and moved"
        );
        assert_eq!(
            kinship("a", 2, &[(2, 20)]),
            Kinship::Held("a".into()),
            "its beginning"
        );
        assert_eq!(
            kinship("a", 4, &[(2, 20), (4, 45)]),
            Kinship::Older("a".into())
        );
        assert_eq!(
            kinship("c", 3, &[(3, 3)]),
            Kinship::Older("c".into()),
            "before a correction"
        );
        assert_eq!(kinship("a", 3, &[(2, 21)]), Kinship::New);
        assert_eq!(ledger.another("a"), "a (2)");
    }

    #[test]
    fn what_is_kept_of_a_source_has_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        for rows in 0..20 {
            Ledger::keep(&store, vec![version("a", rows, 1, false)]);
        }
        Ledger::keep(&store, vec![version("b", 1, 1, false)]);
        let kept = Ledger::read(&store).0;
        assert_eq!(kept.len(), VERSIONS + 1);
        assert_eq!((kept[0].rows, kept[VERSIONS].label.as_str()), (4, "b"));
    }
}
