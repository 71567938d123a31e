//! An exact copy of a store, while programs go on writing it.
//!
//! Promises: all rows that count when it begins count in the copy, each once: commits are kept away
//! meanwhile, and files are copied in the order in which rows move. Main comes last, so that a copy
//! that was broken off says that its main is missing.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::store::commit::fence::Fence;
use crate::store::disk::Entry;
use crate::store::disk::lock::StoreLock;
use crate::store::error::{Error, Result};
use crate::store::format::layout::{LOCK, MAIN, is_run_claim, is_temporary};
use crate::store::{Control, Store};

/// Copied first.
const INCREMENTAL: &str = "incremental";
/// What is of this moment and this folder alone.
const LEFT: [&str; 3] = ["live", "runs.lock", INCREMENTAL];
/// So often a file is copied that changes meanwhile.
const ROUNDS: u32 = 5;

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that other code rewrote each time while they were copied.
    pub torn: Vec<PathBuf>,
}

/// Copies a store into a folder that is not there, or is empty.
pub fn run(store: &Store, to: &Path, control: &Control) -> Result<Copied> {
    store.check()?;
    let refused =
        |why: &str| Error::Refused(format!("{} {why}: name another folder", to.display()));
    match store.disk.list(to) {
        Ok(there) if !there.is_empty() => return Err(refused("is not empty")),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => {
            store
                .disk
                .create_folder(to)
                .map_err(Error::io("make", to))?;
        }
        Err(error) => return Err(Error::io("read", to)(error)),
    }
    let _lock = StoreLock::take(store, "copy", control)?;
    let _fence = Fence::ahead(store, control)?;
    let mut copied = Copied::default();
    let root = store.layout.root();
    // What is pending first: it may become an increment while it is copied, and then is there twice.
    copied.folder(
        store,
        &root.join(INCREMENTAL),
        &to.join(INCREMENTAL),
        control,
    )?;
    copied.folder(store, root, to, control)?;
    Ok(copied)
}

impl Copied {
    fn folder(&mut self, store: &Store, from: &Path, to: &Path, control: &Control) -> Result<()> {
        let mut entries = match store.disk.list(from) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(Error::io("read", from))?,
        };
        let is_kept = |name: &str| {
            !is_temporary(name) && !is_run_claim(name) && name != LOCK && !LEFT.contains(&name)
        };
        entries.retain(|entry| is_kept(&entry.name));
        // Journals before increments, folders after both, and main last.
        let rank = |entry: &Entry| {
            (
                entry.name == MAIN,
                !entry.stat.is_file,
                !entry.name.starts_with("journal_"),
            )
        };
        entries.sort_by(|a, b| (rank(a), &a.name).cmp(&(rank(b), &b.name)));
        store
            .disk
            .create_folder(to)
            .map_err(Error::io("make", to))?;
        for entry in entries {
            control.check()?;
            let (from, to) = (from.join(&entry.name), to.join(&entry.name));
            if entry.stat.is_file {
                self.file(store, &from, &to)?;
            } else {
                self.folder(store, &from, &to, control)?;
            }
            control.progress("copying", self.files, 0);
        }
        Ok(())
    }

    /// One that other code rewrites meanwhile is copied again.
    fn file(&mut self, store: &Store, from: &Path, to: &PathBuf) -> Result<()> {
        let disk = &*store.disk;
        for round in 1.. {
            let before = match disk.stat(from) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                stat => stat.map_err(Error::io("read", from))?,
            };
            disk.copy(from, to).map_err(Error::io("copy to", to))?;
            let same = disk.stat(from).is_ok_and(|after| {
                (before.inode, before.bytes, before.modified_ns)
                    == (after.inode, after.bytes, after.modified_ns)
            });
            // A journal that grows has its first lines, which is all that a copy is about.
            let grows = from.extension().is_some_and(|ending| ending == "jsonl");
            if same || grows || round == ROUNDS {
                if !same && !grows {
                    self.torn.push(from.to_path_buf());
                }
                self.files += 1;
                self.bytes += before.bytes;
                return Ok(());
            }
            let folder = to.parent().unwrap_or(Path::new("."));
            let name = to
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            disk.remove(folder, &[&name])
                .map_err(Error::io("clean up", folder))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::store::commit::consolidate;
    use crate::store::maintain::validate;
    use crate::store::read::snapshot::Scanner;
    use crate::store::testing::fixture::{Fixture, LEGACY, STEM, batch, records};

    #[test]
    fn all_that_counts_is_in_the_copy_which_goes_on_by_itself() {
        let f = Fixture::new();
        f.increment(LEGACY, &batch(&records(0, 3)));
        let options = consolidate::Options::default();
        let merge = |store: &Store| {
            consolidate::run(store, &options, Timestamp::now(), &Control::default()).unwrap()
        };
        merge(&f.store);
        f.increment(
            "increment_8_20260131_120000.parquet",
            &batch(&records(3, 5)),
        );
        let writer = f.journal(STEM, &records(5, 7));
        let folder = tempfile::tempdir().unwrap();
        let to = folder.path().join("copy");
        let control = Control::default();
        let copied = run(&f.store, &to, &control).unwrap();
        assert!(copied.files >= 5, "{copied:?}");
        let copy = Store {
            zone: f.store.zone.clone(),
            ..Store::new(&to)
        };
        let tests = |store: &Store| {
            let seen = Scanner::new()
                .scan(store, Timestamp::now(), &control)
                .unwrap();
            seen.cells.iter().map(|(_, tally)| tally.tests).sum::<u64>()
        };
        assert_eq!((tests(&f.store), tests(&copy)), (7, 7));
        drop(writer);
        merge(&copy);
        assert_eq!((tests(&f.store), tests(&copy)), (7, 7));
        let report = validate::check(&copy, Timestamp::now(), &control).unwrap();
        let bad = |finding: &&validate::Finding| finding.level != validate::Level::Note;
        assert_eq!(report.findings.iter().find(bad), None);
        let refused = run(&f.store, &to, &control).unwrap_err().to_string();
        assert!(refused.contains("is not empty"), "{refused}");
    }
}
