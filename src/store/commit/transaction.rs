//! One atomic replacement of main: announced, checked, backed up, renamed,
//! confirmed. The rename is the commit.
//!
//! Promises: before the rename nothing that counts has changed, and an error leaves
//! nothing behind but what the next holder of the lock removes; after it the commit
//! stands whatever fails.

use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::base::Base;
use super::{CommitRecord, KEY, log};
use crate::store::backup;
use crate::store::digest::Digest;
use crate::store::error::{Error, Result};
use crate::store::table::TableWriter;
use crate::store::tallies;
use crate::store::{Control, Store};

/// A commit under way. The caller holds the store's lock.
#[derive(Debug)]
pub struct Transaction<'a> {
    store: &'a Store,
    base: &'a Base,
    temporary: PathBuf,
    /// What the commit will say.
    pub record: CommitRecord,
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
    /// Begins a commit on top of `base`.
    pub fn begin(store: &'a Store, base: &'a Base, now: Timestamp) -> Self {
        let record = base.next(store, now);
        let temporary = store
            .layout
            .root()
            .join(format!(".test_results.{}.tmp", record.commit_id));
        Self {
            store,
            base,
            temporary,
            record,
        }
    }

    /// The new main, to be written and synced before [`Transaction::commit`].
    pub fn temporary(&self) -> &Path {
        &self.temporary
    }

    /// Puts the record and what main tells of its rows into the new main, and finishes
    /// the file.
    pub fn seal(&self, mut table: TableWriter<'_>, rows: &Digest) -> Result<()> {
        table.key_value(KEY, self.record.to_json()?);
        tallies::write(&mut table, &self.record, rows)?;
        table.finish().map(drop)
    }

    /// Replaces main. With `keep`, the previous main becomes a backup.
    pub fn commit(&self, keep: bool, control: &Control) -> Result<Committed> {
        log::announce(self.store, &self.record)?;
        let mut done = Committed::default();
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
        self.store
            .disk
            .replace(&self.temporary, &main)
            .map_err(Error::io("replace", &main))?;
        if let Err(error) = log::confirm(self.store, &self.record) {
            done.notes.push(format!(
                "the commit stands, but its copy is not confirmed: {error}"
            ));
        }
        Ok(done)
    }

    /// Removes what the commit wrote; for use after an error before the rename.
    pub fn discard(&self) {
        if let Some(name) = self.temporary.file_name().and_then(|name| name.to_str()) {
            let _ = self.store.disk.remove(self.store.layout.root(), &[name]);
        }
    }
}
