//! The storage core: a folder of Parquet files that many processes append to at
//! once, and the protocol by which nothing is lost and nothing counted twice.
//!
//! It knows no terminal and no async runtime. Every path comes from [`format::layout`],
//! every file-system call goes through [`disk`]. `docs/format.md` has the format,
//! the commit protocol, and why it is correct.

pub mod aggregate;
pub mod commit;
pub mod format;
pub mod legacy;
pub mod maintain;
pub mod parquet;
pub mod read;
#[cfg(test)]
pub(crate) mod testing;
pub mod write;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jiff::tz::TimeZone;

use crate::stats::prices::Prices;

pub mod control;
pub mod disk;
pub mod error;

mod identity;
pub mod resolve;
mod threads;

pub use control::{Control, Progress};
pub use disk::{Disk, RealDisk};
pub use error::{Error, Result};
pub use format::layout::Layout;
pub use format::record::Record;
pub use format::{RowHash, row_hashes};

/// A store: its paths, the disk they are on, and the zone in which naive
/// timestamps of legacy files are read. Opening one touches nothing.
#[derive(Debug, Clone)]
pub struct Store {
    /// Every name and path.
    pub layout: Layout,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// Zone of naive timestamps until the first commit fixes one.
    pub zone: TimeZone,
    /// Prices of tokens, for costs that are derived while rows are read.
    pub prices: Arc<Prices>,
    /// What was said of sessions, as far as it was read: clones read it once.
    pub session_notes: Arc<Mutex<write::session_notes::Notes>>,
}

impl Store {
    /// A store on the real file system, with naive timestamps in the system's zone.
    pub fn new(root: impl AsRef<Path>) -> Self {
        Self {
            layout: Layout::new(root),
            disk: Arc::new(RealDisk),
            zone: TimeZone::system(),
            prices: Arc::default(),
            session_notes: Arc::default(),
        }
    }

    /// Makes the store's folders where they are missing.
    pub fn create(&self) -> Result<()> {
        let folder = self.layout.incremental();
        self.disk.create_folder(&folder).map_err(|error| {
            let root = self.layout.root();
            if self.disk.stat(root).is_ok_and(|stat| stat.is_file) {
                let name = root.display();
                return Error::Refused(format!(
                    "{name} is a file: name the folder of a store, or a new one"
                ));
            }
            Error::io("create", folder)(error)
        })
    }

    /// Makes a folder inside the store where it is missing, and never the store itself: one
    /// that was moved or unmounted under a job must not come to be an empty one.
    fn create_part(&self, folder: &Path) -> Result<()> {
        let there = self.disk.stat(self.layout.root());
        there
            .and_then(|_| self.disk.create_folder(folder))
            .map_err(Error::io("create", folder))
    }

    /// Whether there is a store: main, or one of the folders that go with it.
    /// `NoStore` where there is none, `Io` where the folder can't be read.
    pub fn check(&self) -> Result<()> {
        let root = self.layout.root();
        let none = |remedy| {
            Err(Error::NoStore {
                path: root.to_path_buf(),
                remedy,
            })
        };
        match self.disk.list(root) {
            Ok(entries)
                if entries
                    .iter()
                    .any(|entry| format::layout::PARTS.contains(&entry.name.as_str())) =>
            {
                Ok(())
            }
            Ok(_) => none(
                "the folder holds no test_results.parquet and no incremental/ (name the store's folder, or make one with evaltop record or evaltop import)",
            ),
            Err(error) if error.kind() == ErrorKind::NotFound => none(
                "there is no such folder (name the store's folder, or make one with evaltop record or evaltop import)",
            ),
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                none("it is a file (name the folder that holds it)")
            }
            Err(error) => Err(Error::io("read", root)(error)),
        }
    }
}
