//! Where a table is: a folder, or what else can make a file only where there is none.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use uuid::Uuid;

use super::{OWN, belongs_to_a_store};
use crate::store::{Control, Error, Result, Store};

/// The place of a table. Paths have slashes.
pub trait Place {
    /// As people write it.
    fn name(&self) -> String;

    /// The names of the files in a folder; none where there is no folder.
    fn list(&self, folder: &str) -> Result<Vec<String>>;

    /// A file's content; `None` where there is no file.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// Makes a file, whole or not at all; `false` where one with other content is there already.
    /// Of several programs that make one file, one does.
    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool>;

    /// Makes a file, or takes the place of one, unless `stays` says of its content that it stays.
    fn replace(
        &self,
        path: &str,
        bytes: &[u8],
        stays: &dyn Fn(&[u8]) -> bool,
        control: &Control,
    ) -> Result<()>;

    /// A new file, to be published once it is whole.
    fn stage(&self, name: &str) -> Result<File>;

    /// Gives a file that is whole its place.
    fn publish(&self, name: &str, staged: File) -> Result<()>;
}

/// A folder of this machine.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A folder that need not be there, for a table of a store.
    pub fn open(store: &Store, path: &Path) -> Result<Self> {
        let whole = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let is_inside = whole(path).starts_with(whole(store.layout.root()));
        if is_inside || Store::new(path).check().is_ok() {
            return Err(belongs_to_a_store(&path.display().to_string()));
        }
        Ok(Self(path.to_path_buf()))
    }

    fn make(&self, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder).map_err(Error::io("create", folder))
    }

    /// Writes a file under a name of its own, next to the one that it is for.
    fn temporary(&self, path: &Path, bytes: &[u8]) -> Result<PathBuf> {
        self.make(path)?;
        let own = path.with_file_name(format!(".{}.tmp", Uuid::now_v7().simple()));
        let written = File::create(&own).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        });
        written.map_err(Error::io("write", &own))?;
        Ok(own)
    }
}

impl Place for Folder {
    fn name(&self) -> String {
        self.0.display().to_string()
    }

    fn list(&self, folder: &str) -> Result<Vec<String>> {
        let path = self.0.join(folder);
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(Error::io("read", &path))?,
        };
        let names = entries.flatten().filter(|entry| entry.path().is_file());
        Ok(names
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect())
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let path = self.0.join(path);
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(Error::io("read", &path)),
        }
    }

    fn create(&self, path: &str, bytes: &[u8]) -> Result<bool> {
        let path = self.0.join(path);
        let own = self.temporary(&path, bytes)?;
        // A link never replaces.
        let linked = fs::hard_link(&own, &path);
        let _ = fs::remove_file(&own);
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return Ok(fs::read(&path).is_ok_and(|there| there == bytes));
            }
            linked => linked.map_err(Error::io("write", &path))?,
        }
        let folder = path.parent().unwrap_or(&self.0);
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(Error::io("write", folder))?;
        Ok(true)
    }

    fn replace(
        &self,
        path: &str,
        bytes: &[u8],
        stays: &dyn Fn(&[u8]) -> bool,
        control: &Control,
    ) -> Result<()> {
        let path = self.0.join(path);
        // From the scan to the rename nobody else comes in between.
        let guard = self.0.join(OWN).join("lock");
        self.make(&guard)?;
        let guard = File::create(&guard).map_err(Error::io("create", &guard))?;
        while let Err(TryLockError::WouldBlock) = guard.try_lock() {
            control.check()?;
            std::thread::sleep(Duration::from_millis(10));
        }
        if fs::read(&path).is_ok_and(|there| stays(&there)) {
            return Ok(());
        }
        let own = self.temporary(&path, bytes)?;
        fs::rename(&own, &path).map_err(Error::io("write", &path))
    }

    fn stage(&self, name: &str) -> Result<File> {
        let path = self.0.join(name);
        self.make(&path)?;
        File::create_new(&path).map_err(Error::io("create", &path))
    }

    // It has its name already. Nobody reads it before the log names it.
    fn publish(&self, name: &str, staged: File) -> Result<()> {
        let synced = staged.sync_all();
        synced.map_err(Error::io("write", &self.0.join(name)))
    }
}
