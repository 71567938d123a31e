//! Main, opened by a reader, and the commit record that speaks for it.

use std::io::ErrorKind;
use std::sync::Arc;

use jiff::Timestamp;

use super::footer_cache::Footers;
use super::stat::{is_fresh, same};
use crate::store::Store;
use crate::store::commit::standing::Standing;
use crate::store::commit::summaries;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::{CommitRecord, FORMAT, RemovedSet};
use crate::store::format::row_kind::{NEITHER, Shape, shape};
use crate::store::format::zone;
use crate::store::identity::Namer;
use crate::store::parquet::{OpenError, ParquetFile};

/// Main, open.
#[derive(Debug, Clone)]
pub struct Main {
    /// The file.
    pub file: ParquetFile,
    /// What its last commit says; `None` where other code wrote it.
    pub commit: Option<Arc<CommitRecord>>,
    /// The last commit that is known to have happened, for a main without its own.
    pub inherited: Option<Arc<CommitRecord>>,
    /// The set of rows that were removed on purpose.
    pub removed: Option<RemovedSet>,
    /// How many rows the last commit that is known to have happened left in the main that it made.
    pub newest_rows: Option<u64>,
    /// The id of that commit, where it did not make this main.
    pub behind: Option<String>,
    /// It was copied here from another store.
    pub of_other: bool,
}

impl Main {
    /// The commit record that speaks for it.
    pub fn record(&self) -> Option<&CommitRecord> {
        self.commit.as_deref().or(self.inherited.as_deref())
    }

    /// The commit record that says what it contains. Of a main that other code wrote nobody
    /// knows; programs of format 1 took it to have what the last commit had.
    pub fn contained(&self) -> Option<&CommitRecord> {
        let inherited = self.inherited.as_deref();
        let first = inherited.filter(|record| record.format < FORMAT);
        self.commit.as_deref().or(first)
    }
}

/// Opens main; `None` where there is none.
pub(crate) fn open_main(
    store: &Store,
    now: Timestamp,
    footers: &mut Footers,
) -> Result<Option<Main>> {
    let path = store.layout.main();
    let file = match ParquetFile::open(&*store.disk, &path) {
        Ok(file) => file,
        Err(OpenError::Io(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(OpenError::Io(error)) => return Err(Error::io("read", &path)(error)),
        Err(error) => {
            // Other code has rewritten it while it was opened.
            if ParquetFile::open(&*store.disk, &path).is_ok() {
                return Err(Error::Changed { path });
            }
            let stat = store.disk.stat(&path).map_err(Error::io("read", &path))?;
            let locked = store.disk.is_locked(&store.layout.lock()).unwrap_or(false);
            if locked || (stat.bytes > 0 && is_fresh(&stat, now)) {
                return Err(Error::InProgress { path });
            }
            return Err(error.at(path));
        }
    };
    if file.rows() > 0 && shape(file.schema()) == Shape::Neither {
        return Err(Error::unreadable(path, NEITHER));
    }
    let standing = Standing::of(store, Some(&file))?;
    // Some programs keep the record when they rewrite main. It still says best what it contains.
    let (commit, inherited) = match standing.record {
        record if standing.foreign => (None, record),
        own => (own, None),
    };
    if commit.is_none() || standing.behind.is_some() {
        // A commit that came in between speaks for the main that it made, not for this one.
        let stat = store.disk.stat(&path).map_err(Error::io("read", &path))?;
        if !same(&stat, &file.stat()) {
            return Err(Error::Changed { path });
        }
    }
    // Of a main that this version committed every row has an id.
    let identified = commit.as_ref().is_some_and(CommitRecord::identifies);
    let file = if identified {
        file
    } else {
        let record = commit.as_ref().or(inherited.as_ref());
        namer(store, record, footers.adopted.as_deref()).main(&file)
    };
    let (commit, inherited) = (commit.map(Arc::new), inherited.map(Arc::new));
    Ok(Some(Main {
        file,
        commit,
        inherited,
        removed: standing.in_force,
        newest_rows: standing.newest.map(|newest| newest.rows),
        behind: standing.behind,
        of_other: standing.of_other,
    }))
}

/// How many rows the last commit left in main, where it has fewer by now or is missing.
pub(crate) fn expected_rows(store: &Store, main: Option<&Main>) -> Result<Option<u64>> {
    let left = match main {
        Some(main) => main.newest_rows,
        None => Standing::of(store, None)?.newest.map(|newest| newest.rows),
    };
    let rows = main.map_or(0, |main| main.file.rows());
    let Some(expected) = left.filter(|expected| rows < *expected) else {
        return Ok(None);
    };
    // A commit that came in between speaks for the main that it made, not for this one.
    let path = store.layout.main();
    let unchanged = match (store.disk.stat(&path), main) {
        (Ok(stat), Some(main)) => same(&stat, &main.file.stat()),
        (Err(error), None) => error.kind() == ErrorKind::NotFound,
        _ => false,
    };
    if unchanged {
        Ok(Some(expected))
    } else {
        Err(Error::Changed { path })
    }
}

/// The files of summary rows that main's commit record names.
pub(crate) fn open_summaries(store: &Store, main: Option<&Main>) -> Result<Vec<ParquetFile>> {
    let Some(main) = main else {
        return Ok(Vec::new());
    };
    let named = main.record().map(|commit| commit.summaries.as_slice());
    summaries::open(store, named.unwrap_or_default()).map_err(|error| {
        // Another commit may name other files by now, and these may be gone.
        match store.disk.stat(&store.layout.main()) {
            Ok(stat) if same(&stat, &main.file.stat()) => error,
            _ => Error::Changed {
                path: store.layout.main(),
            },
        }
    })
}

/// What names rows that bring no id: the store's id and the zone that the first commit fixed.
pub(crate) fn namer(store: &Store, record: Option<&CommitRecord>, adopted: Option<&str>) -> Namer {
    let own = record
        .map(|record| record.store.as_str())
        .filter(|id| !id.is_empty());
    Namer {
        store: own.or(adopted).unwrap_or_default().to_owned(),
        zone: record
            .and_then(CommitRecord::time_zone)
            .unwrap_or_else(|| zone::named(&store.zone)),
    }
}
