//! One atomic replacement of main: announced, checked, backed up, renamed. The rename is the
//! commit.
//!
//! Promises: before the rename nothing that counts has changed, and an error leaves
//! nothing behind but what the next holder of the lock removes; after it the commit
//! stands whatever fails.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::base::{Base, refuse_link};
use super::fence::Fence;
use super::{folders, log};
use crate::store::aggregate::Digest;
use crate::store::aggregate::tallies;
use crate::store::disk::WriteFile;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::{CommitRecord, KEY};
use crate::store::maintain::backup;
use crate::store::parquet::ParquetFile;
use crate::store::parquet::table::TableWriter;
use crate::store::{Control, Store};

/// A commit under way. The caller holds the store's lock.
#[derive(Debug)]
pub struct Transaction<'a> {
    store: &'a Store,
    base: &'a Base,
    fence: Fence,
    temporary: PathBuf,
    /// Whether the main that it replaces is one of its inputs: its rows may be nowhere else, and
    /// other code that has it open writes into it yet.
    takes_main: bool,
    /// The new main lacks rows of that, which count where it lies: in the folder.
    main_is_pending: bool,
    /// What the commit will say.
    pub record: CommitRecord,
    notes: Vec<String>,
}

/// What a commit left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Committed {
    /// The backup of the previous main, by name.
    pub backup: Option<String>,
    /// Things that did not work and don't matter to the rows.
    pub notes: Vec<String>,
}

impl<'a> Transaction<'a> {
    /// Begins a commit on top of `base`, which was opened after the fence was taken.
    pub fn begin(store: &'a Store, base: &'a Base, fence: Fence, now: Timestamp) -> Self {
        let mut record = base.next(store, now);
        fence.id().clone_into(&mut record.commit_id);
        let takes_main = base.foreign && base.main.is_some();
        if takes_main {
            record.rewritten = Some(now);
        }
        Self {
            store,
            base,
            temporary: fence.path(),
            fence,
            takes_main,
            main_is_pending: false,
            record,
            notes: Vec::new(),
        }
    }

    /// Where the new main is written.
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Creates the new main, to be written and synced before [`Transaction::commit`], with
    /// owner, group and mode of the one that it replaces.
    pub fn create(&mut self) -> Result<Box<dyn WriteFile>> {
        refuse_link(self.store)?;
        let disk = &*self.store.disk;
        let file = self
            .fence
            .file()
            .ok_or_else(|| Error::Refused("a commit was begun twice".to_owned()))?;
        if self.base.main.is_some() {
            let main = self.store.layout.main();
            match disk.adopt(&main, &self.temporary) {
                Ok(None) => {}
                Ok(Some(lost)) => self.notes.push(format!("{}: {lost}", main.display())),
                Err(error) => self.notes.push(format!(
                    "{}: its owner and mode can't be kept ({error})",
                    main.display()
                )),
            }
        }
        Ok(file)
    }

    /// Puts the record and what main says of its rows into the new main, and finishes
    /// the file.
    pub fn seal(&mut self, mut table: TableWriter<'_>, rows: &Digest) -> Result<()> {
        let is_read = self.takes_main && !self.main_is_pending;
        if let Some(main) = self.base.main.as_ref().filter(|_| is_read) {
            let entry = folders::entry_of_main(&self.record, main);
            self.record.consumed.push(entry);
        }
        table.key_value(KEY, self.record.to_json()?);
        tallies::write(&mut table, &self.record, rows)?;
        table.finish().map(drop)
    }

    /// Replaces main. With `keep`, the previous main becomes a backup.
    pub fn commit(&mut self, keep: bool, control: &Control) -> Result<Committed> {
        log::announce(self.store, &self.record)?;
        let taken = self.takes_main;
        let mut done = Committed {
            notes: self.notes.clone(),
            ..Committed::default()
        };
        let ready = || -> Result<Option<String>> {
            control.check()?;
            if !self.base.is_unchanged(self.store)? {
                return Err(Error::MainChanged {
                    path: self.store.layout.main(),
                });
            }
            if keep && self.base.main.is_some() {
                return backup::link_main(self.store, self.record.created).map(Some);
            }
            Ok(None)
        };
        match ready() {
            Ok(name) => done.backup = name,
            Err(error) => {
                let _ = log::withdraw(self.store, &self.record);
                return Err(error);
            }
        }
        let main = self.store.layout.main();
        // From here on nothing is undone: a failing fsync may come after the rename,
        // and the next holder of the lock sees in main's footer what happened.
        self.fence.rest();
        match self.store.disk.replace(&self.temporary, &main) {
            // Somebody took this process for a dead one, unless its rename was asked for twice, as NFS
            // does.
            Err(error) if error.kind() == ErrorKind::NotFound && !self.is_main()? => {
                let _ = log::withdraw(self.store, &self.record);
                return Err(Error::Revoked { path: main });
            }
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::io("replace", &main)(error));
            }
            _ => self.fence.renamed(),
        }
        let followed = folders::make(self.store, &self.record)
            .and_then(|()| match (&done.backup, taken) {
                (Some(backup), true) => {
                    folders::keep_main(self.store, &self.record, backup, self.main_is_pending)
                }
                _ => Ok(()),
            })
            .and_then(|()| log::prune(self.store, &self.record));
        if let Err(error) = followed {
            done.notes.push(format!(
                "the commit stands, but a main that other code writes would not know of it: {error}"
            ));
        }
        Ok(done)
    }

    /// Whether main is what this commit wrote.
    fn is_main(&self) -> Result<bool> {
        let main = ParquetFile::open(&*self.store.disk, &self.store.layout.main());
        let record = main.ok().map(|main| CommitRecord::of(&main)).transpose()?;
        Ok(record
            .flatten()
            .is_some_and(|own| own.commit_id == self.record.commit_id))
    }

    /// What the main that it replaces has, where other code wrote it, does not go into the new one.
    pub(crate) fn leave_pending(&mut self) {
        self.main_is_pending = true;
    }

    /// Keeps the main that it replaces out of its folder. One with summary rows must stay out: they
    /// move into a file of their own, which counts wherever other code rewrites main, and would
    /// count in the folder once more.
    pub(crate) fn leave_main(&mut self) {
        self.takes_main = false;
    }
}
