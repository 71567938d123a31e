//! Which backup is restored, and where a main that can't be read goes.

use std::io::Write;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use crate::store::Store;
use crate::store::commit::base::Base;
use crate::store::disk;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::CommitRecord;
use crate::store::maintain::backup::{list, made};
use crate::store::parquet::ParquetFile;

/// A path, or a name inside `backups/`.
pub(crate) fn named(store: &Store, named: &Path) -> PathBuf {
    let inside = store.layout.backups().join(named);
    if store.disk.stat(named).is_err() && store.disk.stat(&inside).is_ok() {
        inside
    } else {
        named.to_path_buf()
    }
}

/// The main that the last operation replaced: the backup that carries its time, and of
/// several of one second the latest.
pub(crate) fn last(store: &Store, base: &Base) -> Result<PathBuf> {
    let Some(record) = &base.record else {
        return Err(Error::Refused(
            "no commit was made yet, so there is nothing to undo".to_owned(),
        ));
    };
    let created = record
        .created
        .to_zoned(TimeZone::UTC)
        .strftime("%Y%m%d_%H%M%S")
        .to_string();
    let mut found: Option<(u64, PathBuf)> = None;
    for entry in list(store)? {
        if made(&entry.name)
            .is_none_or(|time| time.strftime("%Y%m%d_%H%M%S").to_string() != created)
        {
            continue;
        }
        let path = store.layout.backups().join(&entry.name);
        let Ok(file) = ParquetFile::open(&*store.disk, &path) else {
            continue;
        };
        // Other code's main comes before every commit.
        let generation = CommitRecord::of(&file)?.map_or(0, |own| own.generation);
        if generation < base.generation && found.as_ref().is_none_or(|(best, _)| generation > *best)
        {
            found = Some((generation, path));
        }
    }
    found.map(|(_, path)| path).ok_or_else(|| {
        Error::Refused(
            "no backup of what the last commit replaced is there: the first one replaces nothing, and backups \
             are pruned (name one of backups/ with evaltop restore --from)"
                .to_owned(),
        )
    })
}

/// Keeps a main that can't be read: a second name in `quarantine/`, with the reason.
pub(crate) fn quarantine(store: &Store, id: &str, reason: &str) -> Result<PathBuf> {
    let folder = store.layout.quarantine();
    store.create_part(&folder)?;
    let main = store.layout.main();
    let path = folder.join(format!("test_results_{id}.parquet"));
    let why = folder.join(format!("test_results_{id}.parquet.reason.txt"));
    disk::second(&*store.disk, &main, &path).map_err(Error::io("keep as", &path))?;
    let written = store.disk.create(&why).and_then(|mut file| {
        file.write_all(format!("{reason}\n").as_bytes())?;
        file.sync()?;
        store.disk.sync_folder(&folder)
    });
    written.map_err(Error::io("write", why))?;
    Ok(path)
}
