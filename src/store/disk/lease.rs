//! Whether anybody has a file open for writing, by the one call that shows it: a read
//! lease (`fcntl(F_SETLEASE)`, Linux) is granted only while nobody has. It is given
//! back at once. It is asked for only on file systems whose files no other machine and no
//! other mount reaches: NFS refuses one as if somebody had the file open, and FUSE grants one
//! while somebody writes through the folder behind the mount. There, and for other users'
//! files, the answer is that nobody knows.

use std::fs::File;

/// `Some(true)` when somebody has the file open for writing, `None` when that is unknown.
#[cfg(target_os = "linux")]
// The three calls take an open descriptor and plain numbers; the crate that wraps the
// others has none for leases.
#[allow(unsafe_code)]
pub(crate) fn open_for_writing(file: &File) -> Option<bool> {
    use std::os::fd::AsRawFd;

    /// As in the kernel's `asm-generic/fcntl.h`; the crate has no name for it.
    const F_SETSIG: libc::c_int = 10;
    if !is_local(rustix::fs::fstatfs(file).ok()?.f_type as u64) {
        return None;
    }
    let descriptor = file.as_raw_fd();
    // Who opens the file meanwhile makes the kernel send a signal to this process. The
    // usual one, SIGIO, would end it; SIGURG is ignored unless somebody asks for it.
    // SAFETY: the descriptor is open for as long as `file` is borrowed.
    if unsafe { libc::fcntl(descriptor, F_SETSIG, libc::SIGURG) } != 0 {
        return None;
    }
    // SAFETY: as above.
    if unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_RDLCK) } != 0 {
        let error = std::io::Error::last_os_error();
        return (error.kind() == std::io::ErrorKind::WouldBlock).then_some(true);
    }
    // SAFETY: as above. Closing the file gives it back too.
    let _ = unsafe { libc::fcntl(descriptor, libc::F_SETLEASE, libc::F_UNLCK) };
    Some(false)
}

/// Whether a file system, by its number in the kernel's `magic.h`, is this machine's alone.
#[cfg(target_os = "linux")]
fn is_local(magic: u64) -> bool {
    const EXT: u64 = 0xef53;
    const XFS: u64 = 0x5846_5342;
    const BTRFS: u64 = 0x9123_683e;
    const F2FS: u64 = 0xf2f5_2010;
    const TMPFS: u64 = 0x0102_1994;
    const OVERLAY: u64 = 0x794c_7630;
    // Some systems give the number with its sign.
    let magic = magic & 0xffff_ffff;
    [EXT, XFS, BTRFS, F2FS, TMPFS, OVERLAY].contains(&magic)
}

/// Nobody knows.
#[cfg(not(target_os = "linux"))]
pub(crate) fn open_for_writing(_: &File) -> Option<bool> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::fs::OpenOptions;

    use super::*;

    #[test]
    fn no_lease_is_asked_of_network_and_fuse_file_systems() {
        let (nfs, smb, cifs, fuse, v9fs) =
            (0x6969, 0xfe53_4d42, 0xff53_4d42, 0x6573_5546, 0x0102_1997);
        for magic in [nfs, smb, cifs, fuse, v9fs, 0] {
            assert!(!is_local(magic), "{magic:x}");
        }
        assert!(is_local(0xef53) && is_local(0xffff_ffff_9123_683e));
    }

    #[test]
    fn who_writes_is_noticed_and_who_reads_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"x").unwrap();
        let file = File::open(&path).unwrap();
        let reader = File::open(&path).unwrap();
        let free = open_for_writing(&file);
        // A file system without leases has no answer to either question.
        assert_ne!(free, Some(true));
        let writer = OpenOptions::new().append(true).open(&path).unwrap();
        assert_eq!(open_for_writing(&file), free.map(|_| true));
        drop((reader, writer));
        assert_eq!(open_for_writing(&file), free);
    }

    /// The lease is given back before anybody could wait for it, and taking one while
    /// others open the file ends nobody.
    #[test]
    fn writers_that_come_meanwhile_neither_wait_nor_kill() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"x").unwrap();
        let file = File::open(&path).unwrap();
        std::thread::scope(|scope| {
            let writing = scope.spawn(|| {
                for _ in 0..500 {
                    drop(OpenOptions::new().append(true).open(&path).unwrap());
                }
            });
            while !writing.is_finished() {
                open_for_writing(&file);
            }
        });
        assert_ne!(open_for_writing(&file), Some(true));
    }
}
