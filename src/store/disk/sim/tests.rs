//! The simulated disk itself.

use super::*;

fn disk() -> SimDisk {
    let disk = SimDisk::new(0);
    disk.create_folder(Path::new("/s")).unwrap();
    disk
}

fn read(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(path)).ok()?;
    let mut bytes = vec![0; file.stat().unwrap().bytes as usize];
    file.read_at(0, &mut bytes).unwrap();
    Some(bytes)
}

#[test]
fn only_what_was_synced_survives_power_loss_for_sure() {
    let disk = disk();
    let mut file = disk.create(Path::new("/s/a")).unwrap();
    file.write_all(b"one").unwrap();
    file.sync().unwrap();
    disk.sync_folder(Path::new("/s")).unwrap();
    file.write_all(b"two!").unwrap();
    assert_eq!(read(&disk.after_kill(), "/s/a").unwrap(), b"onetwo!");
    assert_eq!(
        read(&disk.after_power_loss(|| Survival::Lost), "/s/a").unwrap(),
        b"one"
    );
    assert_eq!(
        read(&disk.after_power_loss(|| Survival::Torn), "/s/a").unwrap(),
        b"onetw"
    );
}

#[test]
fn a_name_without_its_folders_fsync_may_vanish() {
    let disk = disk();
    let mut file = disk.create(Path::new("/s/a")).unwrap();
    file.write_all(b"x").unwrap();
    file.sync().unwrap();
    assert_eq!(
        read(&disk.after_power_loss(|| Survival::Lost), "/s/a"),
        None
    );
    disk.replace(Path::new("/s/a"), Path::new("/s/b")).unwrap();
    assert_eq!(
        read(&disk.after_power_loss(|| Survival::Lost), "/s/b").unwrap(),
        b"x"
    );
}

#[test]
fn a_moment_is_what_a_process_leaves_that_dies_at_its_step() {
    let disk = disk();
    disk.record();
    let mut file = disk.create(Path::new("/s/a")).unwrap();
    file.write_all(b"four").unwrap();
    file.sync().unwrap();
    let moments = disk.moments();
    assert_eq!(moments.len(), 3);
    assert_eq!(read(&moments[0], "/s/a"), None);
    assert_eq!(read(&moments[1], "/s/a").unwrap(), b"fo");
    assert_eq!(read(&moments[2], "/s/a").unwrap(), b"four");
}

#[test]
fn a_folder_may_vanish_with_what_is_in_it() {
    let disk = SimDisk::new(0);
    disk.skip("make s");
    disk.create_folder(Path::new("/s")).unwrap();
    let mut file = disk.create(Path::new("/s/a")).unwrap();
    file.sync().unwrap();
    disk.sync_folder(Path::new("/s")).unwrap();
    assert_eq!(read(&disk.after_kill(), "/s/a").unwrap(), b"");
    assert_eq!(
        read(&disk.after_power_loss(|| Survival::Lost), "/s/a"),
        None
    );
}

#[test]
fn a_process_that_ended_changes_nothing() {
    let disk = disk();
    let mut file = disk.create(Path::new("/s/a")).unwrap();
    disk.stop();
    assert!(file.write_all(b"x").is_err() && disk.list(Path::new("/s")).is_err());
    assert_eq!(read(&disk.after_kill(), "/s/a").unwrap(), b"");
}

#[test]
fn a_lock_ends_with_its_handle() {
    let disk = disk();
    let path = Path::new("/s/lock");
    let held = disk.try_lock(path).unwrap();
    assert!(held.is_some());
    assert!(disk.try_lock(path).unwrap().is_none());
    assert!(disk.is_locked(path).unwrap());
    drop(held);
    assert!(!disk.is_locked(path).unwrap());
}
