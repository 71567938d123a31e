//! What can go wrong in the store. Each message is one plain sentence: what
//! happened, to which file, what to do.

use std::io;
use std::path::{Path, PathBuf};

/// A result of the storage core.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the storage core.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no store in the folder.
    #[error("no store at {}: {remedy}", path.display())]
    NoStore {
        /// The folder.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// A verb: "read", "write", "create", …
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A data file that can't be read.
    #[error("{} can't be read as Parquet ({reason}): {remedy}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Two files disagree on a column in a way that no wider type reconciles.
    #[error(
        "{file}: column '{column}' is {found}, but {expected} in {other}: \
         convert the column in one of them, or move the file out of the store"
    )]
    SchemaConflict {
        /// The file that was left out.
        file: String,
        /// The column.
        column: String,
        /// Its type in the file.
        found: String,
        /// Its type elsewhere.
        expected: String,
        /// Where it has that type.
        other: String,
    },
    /// Another process changes main at this moment.
    #[error("the store is locked by {holder}: wait for it to end, then run this again ({})", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who holds it, as far as is known.
        holder: String,
    },
    /// Another process runs some of the same tests at this moment.
    #[error(
        "some of these tests are being run already, by {holder}: wait for it to end, then run this again, \
         or plan other tests ({})",
        path.display()
    )]
    Claimed {
        /// The store.
        path: PathBuf,
        /// Who runs them.
        holder: String,
    },
    /// Main was replaced or rewritten by another program while we worked.
    #[error("{} was changed by another program during the commit, so nothing was committed: run this again", path.display())]
    MainChanged {
        /// Main.
        path: PathBuf,
    },
    /// Another process took this one for dead, because its file did not change for a minute.
    #[error("another process took this commit for that of a dead one, so nothing was committed: run this again ({})", path.display())]
    Revoked {
        /// Main.
        path: PathBuf,
    },
    /// A file was rewritten while it was read: readers start over.
    #[error("{} was changed while it was read: run this again", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Main has no footer yet, because legacy code is writing it.
    #[error("{} is being written by another program at this moment: run this again in a minute", path.display())]
    InProgress {
        /// Main.
        path: PathBuf,
    },
    /// The snapshot kept changing under the reader.
    #[error("{} kept changing while it was read: try again when fewer programs rewrite it", path.display())]
    Unstable {
        /// The store.
        path: PathBuf,
    },
    /// A precondition does not hold; the message says which, and the remedy.
    #[error("{0}")]
    Refused(String),
    /// It failed when a part of it was done already, which stays.
    #[error("{source} ({done})")]
    Partly {
        /// What stays, and what does not.
        done: String,
        /// Why the rest was not done.
        source: Box<Error>,
    },
    /// The process may have no more threads or memory; says nothing about any file.
    #[error("{0}")]
    Exhausted(String),
    /// The user cancelled; nothing was changed unless the message of the caller says so.
    #[error("cancelled: nothing was changed")]
    Cancelled,
}

/// Whether the process, or the machine, has as many files open as it may.
fn too_many_open(source: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(source);
    errno == Some(Errno::MFILE) || errno == Some(Errno::NFILE)
}

/// Whether files or memory ran out, so that nothing is known against the file itself.
pub fn is_exhaustion(source: &io::Error) -> bool {
    too_many_open(source)
        || source.kind() == io::ErrorKind::OutOfMemory
        || rustix::io::Errno::from_io_error(source) == Some(rustix::io::Errno::NOMEM)
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        _ if too_many_open(source) => " (allow more open files, ulimit -n, then run this again)",
        io::ErrorKind::OutOfMemory => " (allow more memory, ulimit -v, then run this again)",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            " (free some space, then run this again; nothing was lost)"
        }
        io::ErrorKind::FileTooLarge => {
            " (raise the limit on the size of files, ulimit -f, then run this again; nothing was lost)"
        }
        io::ErrorKind::PermissionDenied => " (check the owner and mode of the file and its folder)",
        _ => "",
    }
}

impl Error {
    /// Wraps an I/O error with what was being done to which path.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }

    /// The system gave no further thread.
    pub fn no_thread(source: &io::Error) -> Self {
        Self::Exhausted(format!(
            "cannot start a thread ({source}): allow more processes (ulimit -u) or memory (ulimit -v), \
             then run this again"
        ))
    }

    /// There was not enough memory.
    pub fn no_memory() -> Self {
        Self::Exhausted(crate::memory::EXHAUSTED.to_owned())
    }

    /// A data file that can't be read, with the usual remedy.
    pub fn unreadable(path: impl Into<PathBuf>, reason: impl Into<String>) -> Self {
        Self::Unreadable {
            path: path.into(),
            reason: reason.into(),
            remedy: "bring back a backup (evaltop restore), or see what can be mended (evaltop validate)",
        }
    }

    /// The file that it is about, where it is about one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::NoStore { path, .. }
            | Self::Io { path, .. }
            | Self::Unreadable { path, .. }
            | Self::Locked { path, .. }
            | Self::Claimed { path, .. }
            | Self::MainChanged { path }
            | Self::Revoked { path }
            | Self::Changed { path }
            | Self::InProgress { path }
            | Self::Unstable { path } => Some(path),
            Self::Partly { source, .. } => source.path(),
            Self::SchemaConflict { .. }
            | Self::Refused(_)
            | Self::Exhausted(_)
            | Self::Cancelled => None,
        }
    }

    /// Whether files, threads or memory ran out.
    pub fn is_exhausted(&self) -> bool {
        match self {
            Self::Exhausted(_) => true,
            Self::Io { source, .. } => is_exhaustion(source),
            Self::Partly { source, .. } => source.is_exhausted(),
            _ => false,
        }
    }

    /// Whether a file was there a moment ago and is gone.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether files moved under a reader, which then starts over.
    pub fn is_transient(&self) -> bool {
        self.is_not_found() || matches!(self, Self::Changed { .. })
    }
}
