//! `transaction_*.tmp`: rows that a legacy writer had put aside and never came to
//! publish, Parquet inside. They don't count until `validate --repair` takes them in.
//!
//! Promises: a file is first claimed with a rename, so that its writer can't take it
//! back meanwhile, then published as an increment under a name made of its content, and
//! only then removed. Rows without an id are named after the content, so that however
//! often this dies and begins again, each row counts once.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::store::disk;
use crate::store::disk::Entry;
use crate::store::error::{Error, Result, is_exhaustion};
use crate::store::format::layout::{IncrementalName, classify};
use crate::store::format::row_kind::refusal;
use crate::store::identity::Namer;
use crate::store::parquet::{OpenError, ParquetFile};
use crate::store::read::snapshot::Lister;
use crate::store::write::increment::{already_published, publish};
use crate::store::{Control, Store};

/// A file that was modified within this time may still become what its writer wants.
const FRESH_NS: i128 = 60 * 1_000_000_000;

/// Names of files that were claimed and not yet published.
const CLAIMED: &str = "transaction_claimed_";

/// What a transaction file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Its writer may be at it.
    InProgress,
    /// So many rows.
    Rows(u64),
    /// Nothing that can be read; why.
    Unreadable(String),
}

/// Looks into one.
pub fn look(store: &Store, entry: &Entry, now: Timestamp) -> Content {
    let path = store.layout.incremental().join(&entry.name);
    let fresh = now.as_nanosecond().saturating_sub(entry.stat.modified_ns) < FRESH_NS;
    if fresh
        || store
            .disk
            .is_open_for_writing(&path)
            .is_ok_and(|open| open == Some(true))
    {
        return Content::InProgress;
    }
    match ParquetFile::open(&*store.disk, &path) {
        Ok(file) => match refusal(file.schema()) {
            Some(why) => Content::Unreadable(why.to_owned()),
            None => Content::Rows(file.rows()),
        },
        // Nothing is known against it: looked at again the next time.
        Err(OpenError::Io(error)) if is_exhaustion(&error) => Content::InProgress,
        Err(error) => Content::Unreadable(error.to_string()),
    }
}

/// Publishes the rows of a transaction file as an increment and removes it; how many
/// they are and the increment's name, or `None` where it is gone or in use by now.
pub fn recover(
    store: &Store,
    name: &str,
    now: Timestamp,
    control: &Control,
) -> Result<Option<(u64, String)>> {
    let folder = store.layout.incremental();
    if classify(name) != IncrementalName::Transaction {
        return Ok(None);
    }
    let Ok(stat) = store.disk.stat(&folder.join(name)) else {
        return Ok(None);
    };
    let entry = Entry {
        name: name.to_owned(),
        stat,
    };
    if !matches!(look(store, &entry, now), Content::Rows(_)) {
        return Ok(None);
    }
    let claimed = claim(store, name)?;
    let path = folder.join(&claimed);
    let file = ParquetFile::open(&*store.disk, &path).map_err(|error| error.at(&path))?;
    let hash = disk::hash(&*store.disk, &path).map_err(Error::io("read", &path))?;
    // The time stays what it was when a claimed file is found again.
    let made = Timestamp::from_nanosecond(file.stat().modified_ns).unwrap_or(Timestamp::UNIX_EPOCH);
    let made = made.to_zoned(TimeZone::UTC).strftime("%Y%m%d_%H%M%S");
    let stem = format!("0_{made}_transaction_{hash}_0");
    // The claimed name is another one each time, the content stays, whatever the store's id is.
    let zone = Lister::default().files(store, now)?.zone;
    let file = Namer::without_store(&zone).file(&file, &format!("transaction_{hash}"));
    let batches = file.batches(None, 0)?.map(|batch| {
        control.check()?;
        batch
    });
    match publish(store, &stem, file.schema(), batches) {
        // An earlier attempt died before it removed the file.
        Err(error) if already_published(&error) => {}
        other => drop(other?),
    }
    store
        .disk
        .remove(&folder, &[&claimed])
        .map_err(Error::io("remove", &path))?;
    Ok(Some((
        file.rows(),
        crate::store::format::layout::increment_name(&stem),
    )))
}

/// Takes the file out of its writer's reach; its name now.
fn claim(store: &Store, name: &str) -> Result<String> {
    if name.starts_with(CLAIMED) {
        return Ok(name.to_owned());
    }
    let folder = store.layout.incremental();
    let claimed = format!("{CLAIMED}{:032x}.tmp", store.disk.id());
    let (from, to) = (folder.join(name), folder.join(&claimed));
    store
        .disk
        .publish(&from, &to)
        .map_err(Error::io("rename", from))?;
    Ok(claimed)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use arrow::array::RecordBatch;

    use super::*;
    use crate::store::commit::consolidate;
    use crate::store::read::snapshot::Scanner;
    use crate::store::testing::fixture::{Fixture, batch, legacy, record};

    const OLD: std::time::Duration = std::time::Duration::from_secs(3_600);

    impl Fixture {
        fn transaction(&self, name: &str, rows: &RecordBatch) -> std::path::PathBuf {
            self.increment("increment_9.parquet", rows);
            let path = self.store.layout.incremental().join(name);
            fs::rename(
                self.store.layout.incremental().join("increment_9.parquet"),
                &path,
            )
            .unwrap();
            age(&path);
            path
        }

        fn recover(&self, name: &str) -> Option<(u64, String)> {
            recover(&self.store, name, Timestamp::now(), &Control::default()).unwrap()
        }

        fn count(&self) -> u64 {
            let seen = Scanner::new()
                .scan(&self.store, self.now, &Control::default())
                .unwrap();
            seen.cells.values().map(|tally| tally.tests).sum()
        }

        fn merge(&self) {
            let options = consolidate::Options::default();
            consolidate::run(&self.store, &options, self.now, &Control::default()).unwrap();
        }
    }

    fn age(path: &std::path::Path) {
        let file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::now() - OLD)
            .unwrap();
    }

    #[test]
    fn rows_come_in_once_however_often_it_is_tried() {
        let f = Fixture::new();
        let rows = legacy(&["m", "m", "n"], &[true, true, false]);
        let path = f.transaction("transaction_9.tmp", &rows);
        let bytes = fs::read(&path).unwrap();
        let seen = Scanner::new()
            .scan(&f.store, f.now, &Control::default())
            .unwrap();
        assert!(
            seen.cells.is_empty() && seen.notes[0].starts_with("transaction_9.tmp:"),
            "{:?}",
            seen.notes
        );
        let (count, increment) = f.recover("transaction_9.tmp").unwrap();
        assert_eq!((count, f.count(), path.exists()), (3, 3, false));
        assert!(f.recover("transaction_9.tmp").is_none());
        // It died before it removed the claimed file.
        let claimed = f
            .store
            .layout
            .incremental()
            .join("transaction_claimed_x.tmp");
        assert!(f.store.layout.incremental().join(&increment).exists());
        fs::write(&claimed, &bytes).unwrap();
        age(&claimed);
        f.recover("transaction_claimed_x.tmp").unwrap();
        assert_eq!(f.count(), 3);
        // The same after a commit took the increment in.
        f.merge();
        fs::write(&claimed, &bytes).unwrap();
        age(&claimed);
        f.recover("transaction_claimed_x.tmp").unwrap();
        assert_eq!(f.count(), 3);
        f.merge();
        assert_eq!(f.count(), 3);
    }

    #[test]
    fn ids_that_are_there_stay() {
        let f = Fixture::new();
        f.increment("increment_1.parquet", &batch(&[record("a", true, 1)]));
        f.transaction(
            "transaction_9.tmp",
            &batch(&[record("a", true, 1), record("b", true, 1)]),
        );
        f.recover("transaction_9.tmp").unwrap();
        assert_eq!(f.count(), 2);
    }

    #[test]
    fn what_is_in_use_or_no_table_is_left() {
        let f = Fixture::new();
        let path = f.transaction("transaction_9.tmp", &batch(&[record("a", true, 1)]));
        let writer = fs::OpenOptions::new().append(true).open(&path).unwrap();
        if f.store.disk.is_open_for_writing(&path).unwrap() == Some(true) {
            assert!(f.recover("transaction_9.tmp").is_none());
        }
        drop(writer);
        fs::File::open(&path)
            .unwrap()
            .set_modified(std::time::SystemTime::now())
            .unwrap();
        assert!(f.recover("transaction_9.tmp").is_none());
        fs::write(&path, b"x").unwrap();
        age(&path);
        assert!(f.recover("transaction_9.tmp").is_none() && path.exists());
        assert!(f.recover("increment_1.parquet").is_none());
    }
}
