//! Who owns what we make, and who may use it: several users may share a store, and each
//! has a umask of their own.
//!
//! Files and folders of a store take group and mode from the folder in which they lie, a
//! new main those of the old one. What the system refuses changes nothing but that.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::Path;

/// A folder in which anybody may make files that nobody else may remove.
const STICKY: u32 = 0o1000;
const SETGID: u32 = 0o2000;
const GROUP: u32 = 0o070;
const FILE: u32 = 0o666;

/// What of an earlier file's owner and mode a new one could not take over, as a sentence.
pub type Lost = Option<String>;

/// Gives a new file, or a new folder, group and mode of the folder in which it lies.
pub(crate) fn share(made: &File, folder: &Path) {
    // One without it is as good to whoever made it.
    let _ = try_share(made, folder);
}

fn try_share(made: &File, folder: &Path) -> io::Result<()> {
    let (of, own) = (fs::metadata(folder)?, made.metadata()?);
    let grouped = take_group(made, &own, &of);
    let mut mode = of.mode() & 0o7777;
    if mode & STICKY != 0 {
        mode &= !0o002;
    }
    if own.is_file() {
        mode &= FILE;
    }
    if !grouped {
        // Its group is another one, to which nobody has opened the folder.
        mode = mode & !(GROUP | SETGID) | own.mode() & (GROUP | SETGID);
    }
    if mode != own.mode() & 0o7777 {
        made.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Gives it the group of the folder, and where root makes it its owner; whether it has the group.
fn take_group(made: &File, own: &Metadata, of: &Metadata) -> bool {
    if rustix::process::geteuid().is_root() && own.uid() != of.uid() {
        let _ = fchown(made, Some(of.uid()), None);
    }
    own.gid() == of.gid() || fchown(made, None, Some(of.gid())).is_ok()
}

/// Whether a folder that is missing is to be as the one above it: a group shares that.
pub(crate) fn is_shared(above: &Path) -> bool {
    fs::metadata(above).is_ok_and(|meta| meta.mode() & (SETGID | STICKY) == SETGID)
}

/// Gives a new file owner, group and mode of an earlier one.
pub(crate) fn adopt(from: &Path, made: &Path) -> io::Result<Lost> {
    let (of, file) = (fs::metadata(from)?, File::open(made)?);
    let own = file.metadata()?;
    if own.uid() != of.uid() {
        let _ = fchown(&file, Some(of.uid()), None);
    }
    if own.gid() != of.gid() {
        let _ = fchown(&file, None, Some(of.gid()));
    }
    let own = file.metadata()?;
    let mut mode = of.mode() & 0o777;
    if own.gid() != of.gid() {
        mode &= !GROUP;
    }
    if mode != own.mode() & 0o777 {
        let _ = file.set_permissions(Permissions::from_mode(mode));
    }
    let own = file.metadata()?;
    let others = |mode: u32| if own.gid() == of.gid() { mode >> 3 } else { mode } & 7;
    // Whoever owned it is a member of its group or one of the others from now on.
    let owner = own.uid() != of.uid() && (of.mode() >> 6 & 6) & !others(own.mode()) != 0;
    Ok(if own.gid() != of.gid() {
        Some(format!(
            "its group is {} from now on: the system does not let this user keep {}",
            own.gid(),
            of.gid()
        ))
    } else if owner {
        Some(format!(
            "its owner is user {} from now on: the system does not let this user keep {}",
            own.uid(),
            of.uid()
        ))
    } else if own.mode() & 0o777 != of.mode() & 0o777 {
        Some(format!(
            "its mode is {:03o} from now on: the system does not let this user keep {:03o}",
            own.mode() & 0o777,
            of.mode() & 0o777
        ))
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn files_and_folders_take_the_mode_of_their_folder() {
        let folder = tempfile::tempdir().unwrap();
        let made = |of: u32| {
            let (inside, file) = (folder.path().join("inside"), folder.path().join("file"));
            fs::set_permissions(folder.path(), Permissions::from_mode(of)).unwrap();
            fs::create_dir(&inside).unwrap();
            fs::write(&file, "x").unwrap();
            share(&File::open(&inside).unwrap(), folder.path());
            share(&File::open(&file).unwrap(), folder.path());
            let modes = (mode(&inside), mode(&file));
            fs::remove_dir(inside).unwrap();
            fs::remove_file(file).unwrap();
            modes
        };
        assert_eq!(made(0o2770), (0o2770, 0o660));
        assert_eq!(made(0o700), (0o700, 0o600));
        assert_eq!(made(0o755), (0o755, 0o644));
        assert_eq!(made(0o1777), (0o1775, 0o664));
    }

    #[test]
    fn a_new_file_takes_over_what_the_earlier_one_had() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        fs::write(&old, "x").unwrap();
        fs::write(&new, "x").unwrap();
        fs::set_permissions(&old, Permissions::from_mode(0o640)).unwrap();
        fs::set_permissions(&new, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(adopt(&old, &new).unwrap(), None);
        assert_eq!(mode(&new), 0o640);
    }
}
