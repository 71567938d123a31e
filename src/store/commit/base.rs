//! What a commit builds on: main as it is under the lock, and the record that
//! speaks for it.

use std::io;

use jiff::tz::TimeZone;
use xxhash_rust::xxh3::xxh3_64;

use super::{CommitRecord, Consumed, FORMAT, log};
use crate::config::show_counted;
use crate::store::Store;
use crate::store::disk::{Disk, Stat};
use crate::store::error::{Error, Result};
use crate::store::parquet_file::{OpenError, ParquetFile};

/// Main as it was when the commit began.
#[derive(Debug)]
pub struct Base {
    /// Main, open; `None` where there is none.
    pub main: Option<ParquetFile>,
    /// Identity of the file: what must still hold when it is replaced.
    identity: Option<(Stat, u64)>,
    /// Main's own commit record, or the one that it inherits; `None` before the first.
    pub record: Option<CommitRecord>,
    /// Main was written by other code: nobody resolved repeated tests in it.
    pub foreign: bool,
    /// Number of the last commit known.
    pub generation: u64,
    /// Main has fewer rows than the last commit left in it, and is taken as it is.
    pub shrunk: bool,
}

impl Base {
    /// Opens main and finds the record that speaks for it. `accept_main` takes main as
    /// it is although it has fewer rows than the last commit left in it.
    pub fn open(store: &Store, accept_main: bool) -> Result<Self> {
        let path = store.layout.main();
        match ParquetFile::open(&*store.disk, &path) {
            Ok(main) => Self::on(store, Some(main), accept_main),
            Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                Self::on(store, None, accept_main)
            }
            Err(error) => Err(error.at(path)),
        }
    }

    /// Like [`Base::open`], and whatever main is: for a commit that replaces it. Also
    /// says why main can't be read, where that is so.
    pub fn open_any(store: &Store) -> Result<(Self, Option<String>)> {
        match Self::open(store, true) {
            Err(Error::Unreadable { reason, .. }) => {
                Ok((Self::on(store, None, true)?, Some(reason)))
            }
            other => other.map(|base| (base, None)),
        }
    }

    fn on(store: &Store, main: Option<ParquetFile>, accept_main: bool) -> Result<Self> {
        let path = store.layout.main();
        let identity = match store.disk.stat(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            stat => {
                let stat = stat.map_err(Error::io("read", &path))?;
                let footer = footer_hash(&*store.disk, store).map_err(Error::io("read", &path))?;
                // What counts is the file that was opened, should it be another one by now.
                Some((main.as_ref().map_or(stat, ParquetFile::stat), footer))
            }
        };
        let own = main.as_ref().map(CommitRecord::of).transpose()?.flatten();
        let done = log::newest_done(store)?;
        let newest = done
            .iter()
            .chain(&own)
            .max_by_key(|record| record.generation);
        let expected_rows = newest.map(|record| record.rows);
        let generation = newest.map_or(0, |record| record.generation);
        let foreign = main
            .as_ref()
            .is_some_and(|main| own.is_none() || !main.is_ours());
        let mut record = own.or(done);
        let rows = main.as_ref().map_or(0, ParquetFile::rows);
        let expected = expected_rows.filter(|expected| rows < *expected);
        if let Some(expected) = expected {
            if !accept_main {
                return Err(shrunk(
                    store,
                    main.as_ref().map(ParquetFile::rows),
                    expected,
                ));
            }
            if let (None, Some(record)) = (&main, &mut record) {
                // What was in main is gone: files that are still there are not consumed.
                record.consumed.clear();
                record.rows = 0;
            }
        }
        Ok(Self {
            main,
            identity,
            record,
            foreign,
            generation,
            shrunk: expected.is_some(),
        })
    }

    /// The zone of naive times: fixed by the first commit.
    pub fn zone(&self, store: &Store) -> TimeZone {
        TimeZone::get(&self.zone_name(store)).unwrap_or(TimeZone::UTC)
    }

    fn zone_name(&self, store: &Store) -> String {
        match &self.record {
            Some(record) => record.zone.clone(),
            None => store.zone.iana_name().unwrap_or("UTC").to_owned(),
        }
    }

    /// The files whose rows main contains and that may still be there.
    pub fn consumed(&self) -> &[Consumed] {
        self.record.as_ref().map_or(&[], |record| &record.consumed)
    }

    /// Rows of main.
    pub fn rows(&self) -> u64 {
        self.main.as_ref().map_or(0, ParquetFile::rows)
    }

    /// The record of the next commit, without what it consumes.
    pub fn next(&self, store: &Store, now: jiff::Timestamp) -> CommitRecord {
        let last = self.record.as_ref();
        CommitRecord {
            format: FORMAT,
            generation: self.generation + 1,
            commit_id: format!("{:032x}", store.disk.id()),
            parent_id: last.map(|last| last.commit_id.clone()),
            created: now,
            zone: self.zone_name(store),
            rows: 0,
            summaries: last.map_or_else(Vec::new, |last| last.summaries.clone()),
            superseded: last.map_or(0, |last| last.superseded),
            repeated: last.map_or(0, |last| last.repeated),
            consumed: Vec::new(),
        }
    }

    /// Whether main is still the file that was opened.
    pub fn is_unchanged(&self, store: &Store) -> Result<bool> {
        let path = store.layout.main();
        let stat = match store.disk.stat(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(self.identity.is_none());
            }
            other => other.map_err(Error::io("read", &path))?,
        };
        let Some((was, footer)) = &self.identity else {
            return Ok(false);
        };
        let same =
            (was.inode, was.bytes, was.modified_ns) == (stat.inode, stat.bytes, stat.modified_ns);
        Ok(same && footer_hash(&*store.disk, store).map_err(Error::io("read", &path))? == *footer)
    }
}

/// Main has fewer rows (`None`: is missing) than the last commit left in it.
pub fn shrunk(store: &Store, rows: Option<u64>, expected: u64) -> Error {
    let path = store.layout.main();
    let what = rows.map_or_else(
        || "is missing".to_owned(),
        |rows| format!("has {}", show_counted(rows, "row")),
    );
    Error::Refused(format!(
        "{} {what}, but the last commit left {} in it: bring a backup back \
         (evaltop restore --from BACKUP), or go on with what is there (evaltop consolidate --accept-main)",
        path.display(),
        show_counted(expected, "row")
    ))
}

/// A hash of main's last bytes, the end of its footer.
fn footer_hash(disk: &dyn Disk, store: &Store) -> io::Result<u64> {
    const LENGTH: u64 = 64 << 10;
    let file = disk.open(&store.layout.main())?;
    let bytes = file.stat()?.bytes;
    let mut buffer = vec![0; LENGTH.min(bytes) as usize];
    let start = bytes.saturating_sub(LENGTH);
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(start + filled as u64, rest)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(xxh3_64(buffer.get(..filled).unwrap_or_default()))
}
