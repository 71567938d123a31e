//! Files that look like results and have a name under which nobody reads them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::store::format::layout::{self, IncrementalName, Layout};

/// Endings of files that hold rows.
const ENDINGS: [&str; 4] = [".parquet", ".jsonl", ".ndjson", ".csv"];

/// Looks through the store's folders whenever names in them changed.
#[derive(Debug, Default)]
pub(super) struct Misnamed {
    /// The folders' times of change at the last scan.
    changed: [Option<SystemTime>; 2],
    found: Vec<String>,
}

impl Misnamed {
    /// The names of those files, as seen from the store, sorted.
    pub(super) fn look(&mut self, layout: &Layout) -> Vec<String> {
        let folders = [layout.root().to_path_buf(), layout.incremental()];
        let changed = folders.each_ref().map(|folder| {
            std::fs::metadata(folder)
                .and_then(|meta| meta.modified())
                .ok()
        });
        if changed != self.changed || changed == [None, None] {
            let [root, incremental] = folders;
            let mut found = names(&root, is_misnamed_in_root);
            let below = names(&incremental, is_misnamed);
            found.extend(below.into_iter().map(|name| format!("incremental/{name}")));
            (self.changed, self.found) = (changed, found);
        }
        self.found.clone()
    }
}

/// Whether a name looks like one of a file with rows.
fn holds_rows(name: &str) -> bool {
    !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// Whether it does in `incremental/`, and nobody reads it there.
fn is_misnamed(name: &str) -> bool {
    holds_rows(name) && layout::classify(name) == IncrementalName::Stray
}

/// The same next to main.
fn is_misnamed_in_root(name: &str) -> bool {
    let ours = [
        layout::MAIN,
        layout::MODEL_STATS,
        layout::OPERATIONS,
        layout::IMPORTS,
    ];
    let named = layout::summaries_hash(name).or_else(|| layout::removed_hash(name));
    holds_rows(name) && !ours.contains(&name) && named.is_none()
}

fn names(folder: &Path, wanted: fn(&str) -> bool) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Vec::new();
    };
    let is_file = |path: &PathBuf| path.is_file();
    let mut found: Vec<String> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, path)| wanted(name) && is_file(path))
        .map(|(name, _)| name)
        .collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_nobody_reads_are_found_and_forgotten_when_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        std::fs::create_dir(layout.incremental()).unwrap();
        for name in [
            "test_results.parquet",
            "operations.jsonl",
            "plan.txt",
            "late.csv",
            "incremental/increment_7.parquet",
            "incremental/journal_1_20260131_120000_h_0a_0.jsonl",
            "incremental/rejected_1.jsonl",
            "incremental/.increment_1.parquet.tmp",
            "incremental/results_7.parquet",
            "incremental/notes.md",
        ] {
            std::fs::write(folder.path().join(name), "").unwrap();
        }
        let mut misnamed = Misnamed::default();
        let expected = ["late.csv", "incremental/results_7.parquet"];
        assert_eq!(misnamed.look(&layout), expected);
        assert_eq!(misnamed.look(&layout), expected);
        let from = layout.incremental().join("results_7.parquet");
        std::fs::rename(from, layout.incremental().join("increment_8.parquet")).unwrap();
        assert_eq!(misnamed.look(&layout), ["late.csv"]);
    }
}
