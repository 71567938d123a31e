//! What the runs of a store are working on, so that two of them never do the same work.
//!
//! A claim is a file `run_<id>.lock` in the store's folder: who made it, the part of the work
//! where it is one (`shard 1/8`), then the hashes of what it covers, one a line. It holds only while its maker keeps the flock of it, so
//! a process that died claims nothing. Claims are made one at a time, under the flock of
//! `runs.lock`, which is never removed.

use std::collections::HashSet;
use std::fmt::Write as _;

use jiff::Timestamp;
use uuid::Uuid;

use crate::store::disk;
use crate::store::disk::lock;
use crate::store::disk::{Lock, LockFile, lock_of};
use crate::store::error::{Error, Result};
use crate::store::format::layout;
use crate::store::write::shard::Shard;
use crate::store::{Control, Store};

/// What begins the line that says which part of the work is claimed.
const SHARD: &str = "shard ";

/// A claim, held until this is dropped.
#[derive(Debug)]
pub struct Claim {
    store: Store,
    name: String,
    _file: Box<dyn LockFile>,
}

impl Claim {
    /// Claims some work by its hashes, or one part of it; [`Error::Claimed`] where another
    /// process has claimed any of that. The store's folder must be there.
    pub fn take(store: &Store, work: &HashSet<u128>, shard: Option<Shard>) -> Result<Self> {
        let _one_at_a_time = lock::wait_for(
            store,
            &store.layout.runs_lock(),
            "run",
            lock::PATIENCE,
            &Control::default(),
        )?;
        let root = store.layout.root();
        for entry in store.disk.list(root).map_err(Error::io("read", root))? {
            if layout::is_run_claim(&entry.name) {
                Self::look_at(store, &entry.name, work, shard)?;
            }
        }
        let name = layout::run_claim_name(&Uuid::now_v7().simple().to_string());
        let path = root.join(&name);
        let mut text = lock::describe("run", Timestamp::now());
        if let Some(shard) = shard {
            let _ = writeln!(text, "{SHARD}{shard}");
        }
        for hash in work {
            // Writing to a string can't fail.
            let _ = writeln!(text, "{hash:032x}");
        }
        let taken = store
            .disk
            .try_lock(&path)
            .map_err(Error::io("lock", &path))?;
        let mut file =
            taken.ok_or_else(|| Error::Refused(format!("{} is locked already", path.display())))?;
        file.describe(&text).map_err(Error::io("write", &path))?;
        Ok(Self {
            store: store.clone(),
            name,
            _file: file,
        })
    }

    /// Refuses what a living claim covers; removes the claim of a dead process.
    fn look_at(
        store: &Store,
        name: &str,
        work: &HashSet<u128>,
        shard: Option<Shard>,
    ) -> Result<()> {
        let root = store.layout.root();
        let path = root.join(name);
        match lock_of(&*store.disk, &path).map_err(Error::io("look at", &path))? {
            Lock::Held => {}
            // Whether its maker lives can't be seen: it claims nothing, and stays.
            Lock::Unsupported => return Ok(()),
            Lock::Free | Lock::Unknown => {
                return store
                    .disk
                    .remove(root, &[name])
                    .map_err(Error::io("remove", &path));
            }
        }
        let text = match disk::read(&*store.disk, &path) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            // It ended this moment.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let mut lines = text.lines();
        let holder = lines.next().unwrap_or("another process").to_owned();
        let other = text
            .lines()
            .find_map(|line| Shard::parse(line.strip_prefix(SHARD)?));
        if let (Some(own), Some(other)) = (shard, other)
            && !own.overlaps(other)
        {
            return Ok(());
        }
        let mut claimed = lines.filter_map(|line| u128::from_str_radix(line, 16).ok());
        if claimed.any(|hash| work.contains(&hash)) {
            return Err(Error::Claimed {
                path: root.to_path_buf(),
                holder,
            });
        }
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // What is left behind counts for nothing once its lock is free.
        let _ = self
            .store
            .disk
            .remove(self.store.layout.root(), &[&self.name]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_work_is_claimed_once_and_other_work_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let work = |hashes: &[u128]| hashes.iter().copied().collect::<HashSet<_>>();
        let claims = || {
            let names = std::fs::read_dir(folder.path()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| layout::is_run_claim(name)).count()
        };
        let first = Claim::take(&store, &work(&[1, u128::MAX]), None).unwrap();
        let beside = Claim::take(&store, &work(&[2, 3]), None).unwrap();
        let error = Claim::take(&store, &work(&[9, u128::MAX]), None).unwrap_err();
        assert!(matches!(error, Error::Claimed { .. }));
        assert!(
            error
                .to_string()
                .contains(&format!("process {} ", std::process::id())),
            "{error}"
        );
        assert_eq!(claims(), 2);
        drop(first);
        drop(beside);
        assert_eq!(claims(), 0);
        // As a killed process leaves it.
        std::fs::write(folder.path().join("run_dead.lock"), "somebody\n1\n").unwrap();
        Claim::take(&store, &work(&[1]), None).unwrap();
        assert_eq!(claims(), 0);
    }

    #[test]
    fn parts_of_one_plan_are_claimed_side_by_side() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        let work: HashSet<u128> = [1, 2].into();
        let take = |shard: Option<&str>| {
            let shard = shard.map(|text| Shard::parse(text).unwrap());
            Claim::take(&store, &work, shard)
        };
        let _first = take(Some("1/3")).unwrap();
        let _second = take(Some("2/3")).unwrap();
        for taken in [Some("2/3"), Some("1/2"), None] {
            let error = take(taken).unwrap_err();
            assert!(matches!(error, Error::Claimed { .. }), "{taken:?}");
        }
        take(Some("3/3")).unwrap();
    }
}
