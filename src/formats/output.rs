//! Where rows are written to: stdout, or a file that appears complete or not at all.
//!
//! A file is written under a temporary name next to its own, fsynced, then given its
//! name, replacing nothing unless that was asked for. Whatever ends the work early
//! removes the temporary file. Names that belong to a store are refused.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::disk::{ReadFile, WriteFile, copy_range};
use crate::store::format::layout;
use crate::store::format::layout::Layout;
use crate::store::{Disk, Error, RealDisk, Result};

/// Where rows are written to. Dropped before [`Output::commit`], a file leaves nothing.
#[derive(Debug)]
pub struct Output {
    shared: Arc<Mutex<Shared>>,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// Stdout, or a path that names no regular file (a pipe, a device).
    Stream(PathBuf),
    File {
        temporary: PathBuf,
        path: PathBuf,
        overwrite: bool,
    },
}

/// What the writers handed out and the output itself both hold.
#[derive(Debug)]
struct Shared {
    sink: BufWriter<Sink>,
    /// The first failure, since libraries in between turn it into mere text.
    failure: Option<(io::ErrorKind, String)>,
}

#[derive(Debug)]
enum Sink {
    Stdout(io::Stdout),
    Special(fs::File),
    File(Box<dyn WriteFile>),
}

impl Write for Sink {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(buf),
            Self::Special(out) => out.write(buf),
            Self::File(out) => out.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::Special(out) => out.flush(),
            Self::File(out) => out.flush(),
        }
    }
}

/// A handle to write through; clones write to the same place.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Mutex<Shared>>);

impl Handle {
    fn with<T>(&self, work: impl FnOnce(&mut BufWriter<Sink>) -> io::Result<T>) -> io::Result<T> {
        let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = work(&mut shared.sink);
        if let (Err(error), None) = (&result, &shared.failure) {
            shared.failure = Some((error.kind(), error.to_string()));
        }
        result
    }
}

impl Write for Handle {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.with(|sink| sink.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(Write::flush)
    }
}

/// So that whole row groups can be copied.
impl WriteFile for Handle {
    fn sync(&mut self) -> io::Result<()> {
        self.with(|out| {
            out.flush()?;
            match out.get_mut() {
                Sink::File(file) => file.sync(),
                Sink::Stdout(_) | Sink::Special(_) => Ok(()),
            }
        })
    }

    fn truncate(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn try_lock(&self) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn read_back(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn bytes_at(&self, _: &Path) -> io::Result<Option<u64>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn copy_from(&mut self, source: &dyn ReadFile, range: Range<u64>) -> io::Result<()> {
        self.with(|out| {
            out.flush()?;
            match out.get_mut() {
                Sink::File(file) => file.copy_from(source, range),
                stream => copy_range(source, range, stream),
            }
        })
    }
}

impl Output {
    /// Standard output.
    pub fn stdout() -> Self {
        Self::over(
            Sink::Stdout(io::stdout()),
            Target::Stream("standard output".into()),
        )
    }

    /// A file, which must not be one of `store`'s own. Nothing appears under its
    /// name before [`Output::commit`]; an existing file is refused at once unless
    /// it may be replaced.
    pub fn file(path: &Path, store: &Layout, overwrite: bool) -> Result<Self> {
        check(path, store, overwrite)?;
        if special(path) {
            let file = fs::OpenOptions::new()
                .write(true)
                .open(path)
                .map_err(Error::io("write to", path))?;
            return Ok(Self::over(
                Sink::Special(file),
                Target::Stream(path.to_path_buf()),
            ));
        }
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        let temporary =
            path.with_file_name(format!(".{name}.{}.tmp", uuid::Uuid::now_v7().simple()));
        let file = RealDisk
            .create_private(&temporary)
            .map_err(Error::io("write", path))?;
        let target = Target::File {
            temporary,
            path: path.to_path_buf(),
            overwrite,
        };
        Ok(Self::over(Sink::File(file), target))
    }

    fn over(sink: Sink, target: Target) -> Self {
        let shared = Shared {
            sink: BufWriter::with_capacity(64 << 10, sink),
            failure: None,
        };
        Self {
            shared: Arc::new(Mutex::new(shared)),
            target,
        }
    }

    /// A handle to write through.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Whether the reader of a pipe went away, which is not a failure of ours.
    pub fn closed(&self) -> bool {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        matches!(&shared.failure, Some((io::ErrorKind::BrokenPipe, _)))
    }

    /// Replaces an error of a format's library by the failure of the file behind it.
    pub fn explain(&self, error: Error) -> Error {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        match &shared.failure {
            Some((kind, message)) => {
                Error::io("write", self.path())(io::Error::new(*kind, message.clone()))
            }
            None => error,
        }
    }

    /// Its path, for messages.
    pub(super) fn path(&self) -> &Path {
        match &self.target {
            Target::Stream(path) | Target::File { path, .. } => path,
        }
    }

    /// The temporary file with all that was written so far.
    pub(super) fn written(&self) -> Result<&Path> {
        self.handle()
            .flush()
            .map_err(|error| Error::io("write", self.path())(error))?;
        Ok(match &self.target {
            Target::File { temporary, .. } => temporary,
            Target::Stream(path) => path,
        })
    }

    /// Ends the output: what was written is there, complete and durable.
    pub fn commit(mut self) -> Result<()> {
        self.end().map_err(|error| self.explain(error))
    }

    fn end(&mut self) -> Result<()> {
        let io = |error| Error::io("write", self.path())(error);
        self.handle().flush().map_err(io)?;
        let Target::File {
            temporary,
            path,
            overwrite,
        } = &self.target
        else {
            return Ok(());
        };
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Sink::File(file) = shared.sink.get_mut() {
            file.sync().map_err(io)?;
        }
        if *overwrite {
            return RealDisk.replace(temporary, path).map_err(io);
        }
        match RealDisk.publish(temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(exists(path)),
            // Some file systems have no second names; there a rename has to do.
            Err(error) if no_links(&error) && !path.exists() => {
                RealDisk.replace(temporary, path).map_err(io)
            }
            result => result.map_err(io),
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Target::File { temporary, .. } = &self.target {
            // Gone already after a commit.
            let _ = fs::remove_file(temporary);
        }
    }
}

/// Refuses a path that can't be written, belongs to a store, or names what is
/// already there. Changes nothing, so plans can ask first.
pub fn check(path: &Path, store: &Layout, overwrite: bool) -> Result<()> {
    if path.is_dir() {
        return Err(Error::Refused(format!(
            "{} is a folder: name a file inside it",
            path.display()
        )));
    }
    if path.file_name().is_none() {
        return Err(Error::Refused(format!(
            "'{}' names no file: give a path to write to",
            path.display()
        )));
    }
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let real = fs::canonicalize(folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::Refused(format!(
            "cannot write {}: there is no folder {}, make it first",
            path.display(),
            folder.display()
        )),
        _ => Error::io("write", path)(error),
    })?;
    if belongs_to(&real, path, store) {
        return Err(Error::Refused(format!(
            "{} is one of the store's own names, so nothing was written: choose a path outside of the store",
            path.display()
        )));
    }
    if !overwrite && path.symlink_metadata().is_ok() && !special(path) {
        return Err(exists(path));
    }
    Ok(())
}

/// Whether the path names a pipe, a terminal or a device, which is written in place.
fn special(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_dir())
}

fn exists(path: &Path) -> Error {
    Error::Refused(format!(
        "{} is already there and was left alone: choose another name, or say --yes to replace it",
        path.display()
    ))
}

fn no_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
    )
}

/// Whether a name in `folder` (canonical) is one that the store writes or reads.
fn belongs_to(folder: &Path, path: &Path, store: &Layout) -> bool {
    let own_folders = [
        store.incremental(),
        store.commits(),
        store.backups(),
        store.quarantine(),
    ];
    let inside = |own: &PathBuf| fs::canonicalize(own).is_ok_and(|own| folder.starts_with(own));
    if own_folders.iter().any(inside) {
        return true;
    }
    let Some(name) = path.file_name().map(|name| name.to_string_lossy()) else {
        return false;
    };
    let reserved = name.starts_with(layout::MAIN)
        || name.starts_with("test_results")
        || name.starts_with(".test_results")
        || (["summaries_", "removed_"]
            .iter()
            .any(|own| name.starts_with(own))
            && name.ends_with(".parquet"))
        || [
            layout::MODEL_STATS,
            layout::METADATA,
            "evaltop.toml",
            "incremental",
            "commits",
            "backups",
            "quarantine",
        ]
        .contains(&name.as_ref());
    reserved && fs::canonicalize(store.root()).is_ok_and(|root| folder == root)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(folder: &Path) -> Layout {
        fs::create_dir_all(folder.join("store/incremental/deeper")).unwrap();
        Layout::new(folder.join("store"))
    }

    #[test]
    fn a_file_appears_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = (store(folder.path()), folder.path().join("out.csv"));
        let output = Output::file(&path, &store, false).unwrap();
        output.handle().write_all(b"half").unwrap();
        assert!(!path.exists());
        drop(output);
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            1,
            "only the store is left"
        );

        let output = Output::file(&path, &store, false).unwrap();
        output.handle().write_all(b"whole").unwrap();
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(
            fs::read_dir(folder.path()).unwrap().count(),
            2,
            "no temporary file is left"
        );
    }

    #[test]
    fn replaces_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (store, path) = (store(folder.path()), folder.path().join("out.csv"));
        let racing = Output::file(&path, &store, false).unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(Output::file(&path, &store, false).is_err());
        assert!(
            racing.commit().is_err(),
            "a file that came up meanwhile is not replaced either"
        );
        assert_eq!(fs::read(&path).unwrap(), b"mine");
        let output = Output::file(&path, &store, true).unwrap();
        output.handle().write_all(b"new").unwrap();
        output.commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn the_stores_own_names_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let store = store(folder.path());
        let root = folder.path().join("store");
        std::os::unix::fs::symlink(root.join("incremental"), folder.path().join("link")).unwrap();
        for own in [
            root.join("incremental/x.csv"),
            root.join("incremental/deeper/x.csv"),
            root.join("incremental/../incremental/x.csv"),
            folder.path().join("link/x.csv"),
            root.join("test_results.parquet"),
            root.join("test_results_backup_1.parquet"),
            root.join("metadata.json"),
            root.join("summaries_1.parquet"),
            root.join("removed_1.parquet"),
        ] {
            let error = check(&own, &store, true).unwrap_err().to_string();
            assert!(error.contains("store's own"), "{own:?}: {error}");
        }
        for other in ["store/export.csv", "test_results.parquet", "out.json"] {
            check(&folder.path().join(other), &store, false).unwrap();
        }
        let nowhere = check(&folder.path().join("no/such/x.csv"), &store, false).unwrap_err();
        assert!(
            nowhere.to_string().contains("there is no folder"),
            "{nowhere}"
        );
        assert!(
            check(folder.path(), &store, false)
                .unwrap_err()
                .to_string()
                .contains("is a folder")
        );
    }
}
