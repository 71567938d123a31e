//! The operating system's file system.

use crate::limits::LIMITS;
use std::borrow::Cow;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::owner::{self, Lost};
use super::{
    Disk, Entry, Known, ListAction, LockFile, Move, ReadFile, Space, Stat, WriteFile, stays_behind,
};

/// The operating system's file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

fn stat_of(meta: &fs::Metadata) -> Stat {
    Stat {
        inode: meta.ino(),
        bytes: meta.len(),
        modified_ns: i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()),
        links: meta.nlink(),
        is_file: meta.is_file(),
    }
}

/// What is there under a name and is not a file.
const NOTHING: Stat = Stat {
    inode: 0,
    bytes: 0,
    modified_ns: 0,
    links: 1,
    is_file: false,
};

/// Opens what is a regular file, and does not wait for the other end of what is a FIFO.
fn open_file(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = options.custom_flags(nonblocking).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok(file)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).read(true).create_new(true).open(path)
}

impl RealDisk {
    /// Creates a new file that belongs to no store: who may read it is for the umask to say.
    pub fn create_private(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        Ok(Box::new(create_new(path)?))
    }
}

/// Opens a lock file, or makes it. To lock one it is enough to be allowed to read it.
fn open_lock(path: &Path) -> io::Result<File> {
    use io::ErrorKind::{AlreadyExists, NotFound, PermissionDenied};
    match open_file(OpenOptions::new().read(true).write(true), path) {
        Err(error) if error.kind() == NotFound => match create_new(path) {
            Ok(file) => {
                owner::share(&file, parent(path));
                Ok(file)
            }
            // Another process was faster.
            Err(error) if error.kind() == AlreadyExists => {
                open_file(OpenOptions::new().read(true).write(true), path)
            }
            Err(error) => Err(error),
        },
        Err(error) if error.kind() == PermissionDenied => {
            open_file(OpenOptions::new().read(true), path).map_err(|_| error)
        }
        opened => opened,
    }
}

/// Makes a folder, and those above it that are missing. What is made inside a store, or in a
/// folder that a group shares, is shared as well.
fn make_folder(disk: RealDisk, path: &Path, inside: bool) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    make_folder(disk, above, false)?;
    match fs::create_dir(path) {
        Ok(()) => {
            if inside || owner::is_shared(above) {
                owner::share(&File::open(path)?, above);
            }
            disk.sync_folder(above)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

impl ReadFile for File {
    fn stat(&self) -> io::Result<Stat> {
        Ok(stat_of(&self.metadata()?))
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn as_file(&self) -> Option<&File> {
        Some(self)
    }
}

impl WriteFile for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(drop)
    }

    fn try_lock(&self) -> io::Result<bool> {
        try_flock(self)
    }

    fn read_back(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn bytes_at(&self, path: &Path) -> io::Result<Option<u64>> {
        let is_gone = |error: &io::Error| {
            // NFS: the file was removed on another machine.
            error.kind() == io::ErrorKind::NotFound
                || error.kind() == io::ErrorKind::StaleNetworkFileHandle
        };
        let (own, named) = match (self.metadata(), fs::metadata(path)) {
            (Err(error), _) | (_, Err(error)) if is_gone(&error) => return Ok(None),
            (own, named) => (own?, named?),
        };
        let same = (own.dev(), own.ino()) == (named.dev(), named.ino());
        Ok(same.then_some(named.len()))
    }

    fn copy_from(&mut self, source: &dyn ReadFile, mut range: Range<u64>) -> io::Result<()> {
        if let Some(file) = source.as_file() {
            range.start = copy_in_kernel(file, range.clone(), self)?;
        }
        super::copy_range(source, range, self)
    }
}

/// Copies as much of a range as the kernel does by itself, sharing the blocks of both
/// files where the file system can; returns where the rest begins.
fn copy_in_kernel(source: &File, range: Range<u64>, target: &mut File) -> io::Result<u64> {
    let target = &*target;
    std::thread::scope(|scope| {
        let (copied, pieces) = std::sync::mpsc::sync_channel(1);
        let write = move || pieces.iter().try_for_each(|()| target.sync_data());
        let long = range.end.saturating_sub(range.start) > 2 * LIMITS.copy_bytes;
        // Without a second thread the sync at the end does it all.
        let writing = long
            .then(|| std::thread::Builder::new().spawn_scoped(scope, write).ok())
            .flatten();
        let at = copy_pieces(source, range, target, || {
            let _ = copied.try_send(());
        })?;
        drop(copied);
        // What failed to be written must not be synced as if nothing had happened.
        let written = writing.map(|writing| {
            writing
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("sync")))
        });
        written.transpose().map(|_| at)
    })
}

fn copy_pieces(
    source: &File,
    range: Range<u64>,
    target: &File,
    mut then: impl FnMut(),
) -> io::Result<u64> {
    let mut at = range.start;
    #[cfg(target_os = "linux")]
    {
        use rustix::io::Errno;
        /// Only whole blocks can be shared.
        const BLOCK: u64 = 4096;
        for end in [range.end / BLOCK * BLOCK, range.end] {
            while at < end {
                let length = (end - at).min(LIMITS.copy_bytes) as usize;
                match rustix::fs::copy_file_range(source, Some(&mut at), target, None, length) {
                    Ok(0) | Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV) => {
                        return Ok(at);
                    }
                    Ok(_) if at < end => then(),
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (source, target, &mut then);
    Ok(at)
}

impl LockFile for File {
    fn describe(&mut self, holder: &str) -> io::Result<()> {
        self.set_len(0)?;
        self.seek(SeekFrom::Start(0))?;
        self.write_all(holder.as_bytes())
    }
}

/// Takes an flock. A file system without locks keeps nobody away, and stops nobody either.
fn try_flock(file: &File) -> io::Result<bool> {
    taken(file.try_lock())
}

fn taken(lock: Result<(), fs::TryLockError>) -> io::Result<bool> {
    match lock {
        Ok(()) => Ok(true),
        Err(fs::TryLockError::WouldBlock) => Ok(false),
        Err(fs::TryLockError::Error(error)) if super::has_no_locks(&error) => Ok(true),
        Err(fs::TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a file system of this machine alone keeps the locks of a folder.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn has_local_locks(folder: &Path) -> bool {
    /// `f_type` of ext2 to ext4, XFS, btrfs, tmpfs, overlayfs.
    const LOCAL: [u32; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630];
    rustix::fs::statfs(folder).is_ok_and(|stat| LOCAL.contains(&(stat.f_type as u32)))
}

/// Whether a file system of this machine alone keeps the locks of a folder.
#[cfg(target_vendor = "apple")]
fn has_local_locks(folder: &Path) -> bool {
    /// `MNT_LOCAL`.
    const LOCAL: u32 = 0x1000;
    rustix::fs::statfs(folder).is_ok_and(|stat| stat.f_flags & LOCAL != 0)
}

/// Whether a file system of this machine alone keeps the locks of a folder: nothing says.
#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
fn has_local_locks(_folder: &Path) -> bool {
    false
}

/// Renames in one step, so that the name can't be replaced by its owner between two;
/// `None` where the system or the file system can't.
fn rename_without_replacing(from: &Path, to: &Path) -> Option<io::Result<()>> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => None,
            other => Some(other.map_err(io::Error::from)),
        }
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    {
        let _ = (from, to);
        None
    }
}

/// The same in two steps: a second name, then the first one goes.
fn link_and_remove(from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        Ok(()) => fs::remove_file(from),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(error),
        // Without hard links either (FAT, some network and FUSE mounts) a scan before the
        // rename must do: names that we publish carry a random part, so nobody else takes them.
        Err(_) => match fs::symlink_metadata(to) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
            Err(error) => Err(error),
        },
    }
}

/// Calls `then` with each name in a folder and the number of its inode. The names are not
/// copied: most of them are known.
#[cfg(target_os = "linux")]
fn each_name(folder: &Path, mut then: impl FnMut(&OsStr, u64) -> io::Result<()>) -> io::Result<()> {
    use rustix::fs::{Mode, OFlags, RawDir};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let open = rustix::fs::open(folder, flags, Mode::empty())?;
    let mut buffer = Vec::with_capacity(32 << 10);
    let mut names = RawDir::new(open, buffer.spare_capacity_mut());
    while let Some(entry) = names.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            then(OsStr::from_bytes(name), entry.ino())?;
        }
    }
    Ok(())
}

/// Calls `then` with each name in a folder and the number of its inode.
#[cfg(not(target_os = "linux"))]
fn each_name(folder: &Path, mut then: impl FnMut(&OsStr, u64) -> io::Result<()>) -> io::Result<()> {
    use std::os::unix::fs::DirEntryExt;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        then(&entry.file_name(), entry.ino())?;
    }
    Ok(())
}

/// What a name in a folder is; nothing where it is passed over, or gone.
fn entry(folder: &Path, name: &OsStr, inode: u64, known: Known<'_>) -> io::Result<Option<Entry>> {
    let is_link = || fs::symlink_metadata(folder.join(name)).is_ok_and(|meta| meta.is_symlink());
    let named = name.to_string_lossy();
    let stat = match known(&named, inode) {
        ListAction::Passed => return Ok(None),
        ListAction::Known(stat) => stat,
        ListAction::Unknown => match fs::metadata(folder.join(name)) {
            // One whose name is not text can't be opened by the name that is reported.
            Ok(meta) => Stat {
                is_file: meta.is_file() && matches!(named, Cow::Borrowed(_)),
                ..stat_of(&meta)
            },
            // Gone since, or a dangling link.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            // A link in a circle, or to where we may not look. Not every file system says what
            // is a link while it lists.
            Err(_) if is_link() => NOTHING,
            Err(error) => return Err(error),
        },
    };
    Ok(Some(Entry {
        name: named.into_owned(),
        stat,
    }))
}

/// How often a writer says that it lives on a local file system, and on any other.
const PULSE: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(15)];

/// Types of file systems of this machine alone: ext4, XFS, btrfs, tmpfs, ramfs, overlayfs, ZFS,
/// F2FS, bcachefs.
#[cfg(target_os = "linux")]
const LOCAL: [u64; 9] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x8584_58f6,
    0x794c_7630,
    0x2fc1_2fc1,
    0xf2f5_2010,
    0xca45_1a4e,
];

/// Whether a file system is one of this machine alone.
#[cfg(target_os = "linux")]
fn is_local(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| LOCAL.contains(&(found.f_type as u64 & 0xffff_ffff)))
}

#[cfg(not(target_os = "linux"))]
fn is_local(_: &Path) -> bool {
    true
}

impl Disk for RealDisk {
    fn pulse(&self, root: &Path) -> Option<Duration> {
        let [local, other] = PULSE;
        Some(if is_local(root) { local } else { other })
    }

    fn touch(&self, path: &Path) -> io::Result<()> {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from)
    }

    fn write_hint(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let open = |new: bool| {
            let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
            OpenOptions::new()
                .write(true)
                .create_new(new)
                .custom_flags(flags.bits().cast_signed())
                .open(path)
        };
        let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        let file = match open(false) {
            Err(error) if missing(&error) => {
                let folder = parent(path);
                match fs::create_dir(folder) {
                    Ok(()) => owner::share(&File::open(folder)?, parent(folder)),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                    Err(error) => return Err(error),
                }
                let made = open(true)?;
                owner::share(&made, folder);
                made
            }
            other => other?,
        };
        file.write_all_at(bytes, 0)?;
        file.set_len(bytes.len() as u64)
    }

    fn owner(&self, path: &Path) -> Option<u32> {
        fs::metadata(path).ok().map(|found| found.uid())
    }

    fn list_knowing(&self, folder: &Path, known: Known<'_>) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        each_name(folder, |name, inode| {
            entries.extend(entry(folder, name, inode, known)?);
            Ok(())
        })?;
        Ok(entries)
    }

    fn stat(&self, path: &Path) -> io::Result<Stat> {
        Ok(stat_of(&fs::metadata(path)?))
    }

    fn arrived_ns(&self, path: &Path) -> io::Result<i128> {
        let meta = fs::metadata(path)?;
        let changed = i128::from(meta.ctime()) * 1_000_000_000 + i128::from(meta.ctime_nsec());
        Ok(changed.max(stat_of(&meta).modified_ns))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn ReadFile>> {
        Ok(Arc::new(open_file(OpenOptions::new().read(true), path)?))
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        make_folder(*self, path, true)
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn WriteFile>> {
        let file = create_new(path)?;
        owner::share(&file, parent(path));
        Ok(Box::new(file))
    }

    fn adopt(&self, from: &Path, made: &Path) -> io::Result<Lost> {
        owner::adopt(from, made)
    }

    fn is_link(&self, path: &Path) -> io::Result<bool> {
        match fs::symlink_metadata(path) {
            Ok(meta) => Ok(meta.is_symlink()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn publish(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        match rename_without_replacing(temporary, name) {
            Some(done) => done?,
            None => link_and_remove(temporary, name)?,
        }
        self.sync_folder(parent(name))
    }

    fn replace(&self, temporary: &Path, name: &Path) -> io::Result<()> {
        fs::rename(temporary, name)?;
        self.sync_folder(parent(name))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)?;
        self.sync_folder(parent(to))
    }

    fn copy(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut source = open_file(OpenOptions::new().read(true), from)?;
        let mut target = create_new(to)?;
        owner::share(&target, parent(to));
        // `io::copy` uses copy_file_range (and so reflinks) where the system has it.
        io::copy(&mut source, &mut target)?;
        target.sync_all()?;
        self.sync_folder(parent(to))
    }

    fn relocate(&self, from: &Path, to: &Path, moves: &[Move<'_>]) -> io::Result<()> {
        for one in moves {
            let (old, new) = (from.join(one.name), to.join(&one.to));
            let moved = if one.replaces {
                fs::rename(&old, &new)
            } else {
                match rename_without_replacing(&old, &new) {
                    Some(done) => done,
                    None => link_and_remove(&old, &new),
                }
            };
            if !stays_behind(&moved) {
                moved?;
            }
        }
        self.sync_folder(to)?;
        self.sync_folder(from)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        match fs::remove_dir(path) {
            Err(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
                ) =>
            {
                Err(error)
            }
            _ => Ok(()),
        }
    }

    fn remove(&self, folder: &Path, names: &[&str]) -> io::Result<()> {
        for name in names {
            match fs::remove_file(folder.join(name)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.sync_folder(folder)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        use rustix::io::Errno;
        let synced = File::open(folder)?.sync_all();
        // Some file systems have no fsync for folders: names are as durable there as they get.
        let unsupported = |error: &io::Error| {
            let errno = Errno::from_io_error(error);
            errno.is_some_and(|errno| {
                [Errno::INVAL, Errno::NOTSUP, Errno::OPNOTSUPP, Errno::NOSYS].contains(&errno)
            })
        };
        match synced {
            Err(error) if unsupported(&error) => Ok(()),
            synced => synced,
        }
    }

    fn try_lock(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        let file = open_lock(path)?;
        Ok(if try_flock(&file)? {
            Some(Box::new(file))
        } else {
            None
        })
    }

    fn try_share(&self, path: &Path) -> io::Result<Option<Box<dyn LockFile>>> {
        let file = open_file(OpenOptions::new().read(true), path)?;
        Ok(if taken(file.try_lock_shared())? {
            Some(Box::new(file))
        } else {
            None
        })
    }

    fn believes_locks(&self, folder: &Path) -> bool {
        has_local_locks(folder)
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let file = match open_file(OpenOptions::new().read(true), path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        // A shared lock conflicts with the holder's exclusive one and with no other asker's.
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(fs::TryLockError::WouldBlock) => Ok(true),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    fn is_open_for_writing(&self, path: &Path) -> io::Result<Option<bool>> {
        Ok(super::lease::open_for_writing(&File::open(path)?))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_listing_has_every_name_that_nobody_passes_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // More than are read at once.
        let many =
            |at: u32| format!("a_name_that_is_as_long_as_those_of_increments_{at:05}.parquet");
        (0..1_500).for_each(|at| fs::write(path(&many(at)), "rows").unwrap());
        fs::create_dir(path("folder")).unwrap();
        symlink("nowhere", path("dangling")).unwrap();
        symlink("circle", path("circle")).unwrap();
        fs::write(folder.path().join(OsStr::from_bytes(b"\xff")), "x").unwrap();
        let reported = Stat {
            inode: 1,
            bytes: 77,
            modified_ns: 0,
            links: 1,
            is_file: true,
        };
        let known = |name: &str, inode: u64| {
            assert!(inode > 0);
            match name {
                name if name == many(7) => ListAction::Known(reported),
                name if name == many(8) => ListAction::Passed,
                _ => ListAction::Unknown,
            }
        };
        let mut entries = RealDisk.list_knowing(folder.path(), &known).unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        let expected = (0..1_500).filter(|at| *at != 8).map(many);
        let expected: Vec<String> = expected
            .chain(["circle", "folder", "\u{fffd}"].map(str::to_owned))
            .collect();
        assert_eq!(names, expected);
        assert_eq!((entries[7].stat, entries[0].stat.bytes), (reported, 4));
        let files = entries.iter().filter(|entry| entry.stat.is_file).count();
        assert_eq!(
            files, 1_499,
            "no folder, no circle, nothing without a proper name"
        );
        let missing = RealDisk.list(&path("nowhere")).unwrap_err();
        let no_folder = RealDisk.list(&path(&many(0))).unwrap_err();
        let kinds = [missing.kind(), no_folder.kind()];
        assert_eq!(
            kinds,
            [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory]
        );
    }
}
