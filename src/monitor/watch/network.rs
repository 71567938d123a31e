//! Whether a file system reports changes made elsewhere. Network file systems
//! don't: their events cover this machine only, so they are polled.

use std::path::Path;

/// Why the store in `root` must be polled; `None` where native events are complete
/// or where the store is not there yet.
pub(super) fn reason_to_poll(root: &Path) -> Option<String> {
    let name = network_name(&rustix::fs::statfs(root).ok()?)?;
    Some(format!("{name} reports nothing about other machines"))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn network_name(stat: &rustix::fs::StatFs) -> Option<&'static str> {
    // From linux/magic.h and the file systems' own sources; compared as 32 bits,
    // which is how the kernel defines them whatever the width of the field.
    match stat.f_type as u32 {
        0x6969 => Some("NFS"),
        0x517b | 0xff53_4d42 | 0xfe53_4d42 => Some("SMB"),
        0x6573_5546 => Some("FUSE"),
        0x0102_1997 => Some("9P"),
        0x00c3_6400 => Some("Ceph"),
        0x0bd0_0bd0 => Some("Lustre"),
        0x4750_4653 => Some("GPFS"),
        0x1983_0326 => Some("BeeGFS"),
        0x5346_414f | 0x6b41_4653 => Some("AFS"),
        0x7375_7245 => Some("Coda"),
        0x786f_4256 => Some("a VirtualBox folder"),
        0x0116_1970 => Some("GFS2"),
        0x7461_636f => Some("OCFS2"),
        _ => None,
    }
}

#[cfg(target_os = "macos")]
fn network_name(stat: &rustix::fs::StatFs) -> Option<&'static str> {
    // MNT_LOCAL of sys/mount.h: the file system is stored on this machine.
    (stat.f_flags & 0x1000 == 0).then_some("a network file system")
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
fn network_name(_: &rustix::fs::StatFs) -> Option<&'static str> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_no_reason() {
        assert_eq!(reason_to_poll(Path::new("/no/such/folder")), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn proc_is_no_network() {
        assert_eq!(reason_to_poll(Path::new("/proc")), None);
    }
}
