//! The one place that touches the file system. Operations bundle their fsyncs, so
//! that no call site can forget one; a simulated disk can stand in for the real
//! one to crash at every operation.

pub mod lock;
pub mod process;

use std::fmt::Debug;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

mod lease;
mod owner;
mod real;
#[cfg(test)]
pub(crate) mod sim;

pub use owner::Lost;
pub use real::RealDisk;

/// What `stat` says that matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stat {
    /// Inode number: a rename over a name changes it.
    pub inode: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// Modification time in nanoseconds since the Unix epoch.
    pub modified_ns: i128,
    /// Hard links to the inode.
    pub links: u64,
    /// Whether it is a regular file (symbolic links are followed).
    pub is_file: bool,
}

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The file name; names that are not UTF-8 are converted lossily and never match ours.
    pub name: String,
    /// What it names.
    pub stat: Stat,
}

/// Room on the file system that holds a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that this user can still write.
    pub free: u64,
    /// Bytes in all.
    pub total: u64,
}

/// A file open for reading. Reads are positional, so one handle serves many threads.
pub trait ReadFile: Debug + Send + Sync {
    /// What the open file is now (the name may already be another inode's).
    fn stat(&self) -> io::Result<Stat>;
    /// Reads up to `buf.len()` bytes at `offset`; 0 at the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// The operating system's file behind it, where there is one.
    fn as_file(&self) -> Option<&File> {
        None
    }
}

/// A file that this process created and appends to.
pub trait WriteFile: Debug + Write + Send {
    /// fsync. After an error the file must be discarded; never retry.
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file back to `len` bytes and continues there.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Takes the exclusive flock for as long as the handle lives; `false` when
    /// another process holds it.
    fn try_lock(&self) -> io::Result<bool>;
    /// Reads what was written, through this very handle: no name can be another file's, and no
    /// size that a file system remembers by name is in the way. 0 at the end.
    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize>;
    /// The size of what a path names where that is this very file; `None` where the name is
    /// gone or another file's.
    fn bytes_at(&self, path: &Path) -> io::Result<Option<u64>>;
    /// Appends a range of another file; fails when the range is not all there.
    fn copy_from(&mut self, source: &dyn ReadFile, range: Range<u64>) -> io::Result<()>;
}

/// An flock held until it is dropped.
pub trait LockFile: Debug + Send {
    /// Replaces the content of the lock file (who holds it, for people).
    fn describe(&mut self, holder: &str) -> io::Result<()>;
}

/// What a listing does with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListAction {
    /// It is left out.
    Passed,
    /// It names this: nobody need ask the system.
    Known(Stat),
    /// The system is asked.
    Unknown,
}

/// What is known already of a name and the number of its inode.
pub type Known<'a> = &'a dyn Fn(&str, u64) -> ListAction;

/// A file that moves into another folder.
#[derive(Debug, Clone)]
pub struct Move<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its name there.
    pub to: String,
    /// Whether it may take the place of one that has that name.
    pub replaces: bool,
}

/// The operations on a file system that the store is built from.
pub trait Disk: Debug + Send + Sync {
    /// The names in a folder, in no particular order. Entries that vanish while
    /// the folder is read are left out.
    fn list(&self, folder: &Path) -> io::Result<Vec<Entry>> {
        self.list_knowing(folder, &|_, _| ListAction::Unknown)
    }
    /// The same, but what `known` says of a name and the number of its inode is believed
    /// rather than asked of the system: in a folder of thousands that is most of the work.
    fn list_knowing(&self, folder: &Path, known: Known<'_>) -> io::Result<Vec<Entry>>;
    /// What a path names (symbolic links are followed).
    fn stat(&self, path: &Path) -> io::Result<Stat>;
    /// When a file came to have its name, in nanoseconds since the Unix epoch, as far as the
    /// system says: a link or a copy keeps an old modification time.
    fn arrived_ns(&self, path: &Path) -> io::Result<i128> {
        Ok(self.stat(path)?.modified_ns)
    }
    /// Opens for reading. Never blocks on a FIFO; refuses what is not a regular file.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>>;
    /// Creates a folder and its missing parents, each fsynced into its parent. It takes group
    /// and mode from the folder in which it lies.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Creates a new file for writing, with group and mode from the folder in which it lies;
    /// fails when the name exists. Not yet durable.
    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>>;
    /// Gives a file that this process created owner, group and mode of another one, which it
    /// will replace; says what of these the system refuses.
    fn adopt(&self, from: &Path, made: &Path) -> io::Result<Lost> {
        let _ = (from, made);
        Ok(None)
    }
    /// Whether a name is a symbolic link.
    fn is_link(&self, path: &Path) -> io::Result<bool> {
        let _ = path;
        Ok(false)
    }
    /// Gives a complete, synced file its final name without ever replacing one
    /// (`AlreadyExists`), removes the temporary name, fsyncs the folder.
    fn publish(&self, temporary: &Path, name: &Path) -> io::Result<()>;
    /// Renames a complete, synced file over `name`, fsyncs the folder.
    fn replace(&self, temporary: &Path, name: &Path) -> io::Result<()>;
    /// A second name for a file's inode (fails when the name exists), folder fsynced.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// A complete copy under a new name (reflinked where possible), file and folder fsynced.
    fn copy(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Moves files into another folder, each under the name that is given with it. One that is
    /// gone stays behind, and one whose name is taken unless it may replace the other. fsyncs
    /// both folders once.
    fn relocate(&self, from: &Path, to: &Path, moves: &[Move<'_>]) -> io::Result<()>;
    /// Removes an empty folder; one that is not empty or gone is fine.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Removes names from one folder, then fsyncs it once. Missing names are fine.
    fn remove(&self, folder: &Path, names: &[&str]) -> io::Result<()>;
    /// fsyncs a folder, for names created in it without their own.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Opens or creates a lock file and takes its flock; `None` when it is held.
    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>>;
    /// Takes a shared flock on a file that is there, which needs no permission to write; `None`
    /// when somebody holds it alone.
    fn try_share(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>>;
    /// Whether some process holds the flock of a file; `false` when the file is gone.
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
    /// Whether an flock in a folder is seen by everybody who can reach it. Elsewhere (NFS, FUSE,
    /// shared folders of virtual machines) one that seems free proves nothing.
    fn believes_locks(&self, folder: &Path) -> bool;
    /// Whether some process has a file open for writing; `None` where that is unknown.
    fn is_open_for_writing(&self, path: &Path) -> io::Result<Option<bool>> {
        let _ = path;
        Ok(None)
    }
    /// How often a writer may say that it lives; `None` where nobody would read it.
    fn pulse(&self, root: &Path) -> Option<Duration> {
        let _ = root;
        None
    }
    /// Says that a file is in use: its modification time becomes now.
    fn touch(&self, path: &Path) -> io::Result<()>;
    /// Overwrites a small file that nothing depends on, and makes its folder, but not the one
    /// above. Not durable, and a reader may see half of it.
    fn write_hint(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let _ = (path, bytes);
        Ok(())
    }
    /// The user that owns a file; `None` where that is not known.
    fn owner(&self, path: &Path) -> Option<u32> {
        let _ = path;
        None
    }
    /// Room on the file system.
    fn space(&self, path: &Path) -> io::Result<Space>;
    /// An id that nobody else makes: for commits and for names of files.
    fn id(&self) -> u128 {
        uuid::Uuid::now_v7().as_u128()
    }
    /// Waits for other processes to do something.
    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

/// Whether a file stays behind when it is moved: it is gone, or its name is taken.
fn stays_behind(moved: &io::Result<()>) -> bool {
    let kind = moved.as_ref().err().map(io::Error::kind);
    matches!(
        kind,
        Some(io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists)
    )
}

/// A second name for a file, or a complete copy where a file system has no hard links or
/// `to` lies on another one. Fails when the name exists.
pub fn second(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let error = match disk.link(from, to) {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    let named = |stat: Stat| disk.stat(from).is_ok_and(|own| own.inode == stat.inode);
    match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound => Err(error),
        // It has its name, and something else failed.
        _ if disk.stat(to).is_ok_and(named) => Err(error),
        _ => copy_whole(disk, from, to),
    }
}

/// A copy that appears under its name when it is complete; fails when the name exists.
pub fn copy_whole(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let temporary = format!(".test_results.{:032x}.tmp", disk.id());
    let copied = disk
        .copy(from, &folder.join(&temporary))
        .and_then(|()| disk.publish(&folder.join(&temporary), to));
    if copied.is_err() {
        let _ = disk.remove(folder, &[&temporary]);
    }
    copied
}

/// What the flock of a file says about the process that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Somebody holds it.
    Held,
    /// Nobody does.
    Free,
    /// Nobody that can be seen from here.
    Unknown,
    /// The file system has no locks.
    Unsupported,
}

/// What the flock of a file says; `Free` when the file is gone.
pub fn lock_of(disk: &dyn Disk, path: &Path) -> io::Result<Lock> {
    match disk.is_locked(path) {
        Ok(true) => Ok(Lock::Held),
        Ok(false) if disk.believes_locks(path.parent().unwrap_or(path)) => Ok(Lock::Free),
        Ok(false) => Ok(Lock::Unknown),
        Err(error) if has_no_locks(&error) => Ok(Lock::Unsupported),
        Err(error) => Err(error),
    }
}

/// Whether an error of flock says that the file system has none.
pub fn has_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    errno.is_some_and(|errno| {
        [Errno::NOLCK, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS].contains(&errno)
    })
}

/// Appends a range of another file by reading and writing.
pub fn copy_range(
    source: &dyn ReadFile,
    range: Range<u64>,
    target: &mut impl Write,
) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = range.start;
    while at < range.end {
        let wanted = buffer
            .len()
            .min(usize::try_from(range.end - at).unwrap_or(usize::MAX));
        let read = source.read_at(at, buffer.get_mut(..wanted).unwrap_or_default())?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        target.write_all(buffer.get(..read).unwrap_or_default())?;
        at += read as u64;
    }
    Ok(())
}

/// `n` bytes at `offset`; an error when the file has fewer.
pub fn bytes_at(file: &dyn ReadFile, offset: u64, n: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; n];
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(offset.saturating_add(filled as u64), rest)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    Ok(buffer)
}

/// A whole small file; an error where it is none.
pub fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    const LIMIT: u64 = 256 << 20;
    let file = disk.open(path)?;
    if file.stat()?.bytes > LIMIT {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "it is larger than any file of its kind",
        ));
    }
    let mut content = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = file.read_at(content.len() as u64, &mut buffer)?;
        if read == 0 {
            return Ok(content);
        }
        content.extend_from_slice(buffer.get(..read).unwrap_or_default());
    }
}

/// xxh3 of a whole file's bytes, in hex: what a commit record keeps of an immutable file.
pub fn hash(disk: &dyn Disk, path: &Path) -> io::Result<String> {
    hash_of(&*disk.open(path)?)
}

/// The same of an open file.
pub fn hash_of(file: &dyn ReadFile) -> io::Result<String> {
    let mut hasher = xxhash_rust::xxh3::Xxh3Default::new();
    let mut buffer = vec![0; 1 << 16];
    let mut offset = 0;
    loop {
        let read = file.read_at(offset, &mut buffer)?;
        if read == 0 {
            return Ok(format!("{:016x}", hasher.digest()));
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        offset += read as u64;
    }
}
