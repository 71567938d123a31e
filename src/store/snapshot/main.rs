//! Main, opened by a reader, and the commit record that speaks for it.

use std::io::ErrorKind;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::footers::Footers;
use super::stat::{is_fresh, same};
use crate::store::Store;
use crate::store::commit::{CommitRecord, log};
use crate::store::consolidate::announced;
use crate::store::error::{Error, Result};
use crate::store::kind::{NEITHER, Shape, shape};
use crate::store::parquet_file::{OpenError, ParquetFile};
use crate::store::summaries;

/// Main, open.
#[derive(Debug, Clone)]
pub struct Main {
    /// The file.
    pub file: ParquetFile,
    /// What its last commit says; `None` where other code wrote it.
    pub commit: Option<Arc<CommitRecord>>,
    /// The last commit that is known to have happened, for a main without its own.
    pub inherited: Option<Arc<CommitRecord>>,
}

impl Main {
    /// The commit record that speaks for it.
    pub fn record(&self) -> Option<&CommitRecord> {
        self.commit.as_deref().or(self.inherited.as_deref())
    }
}

/// Opens main; `None` where there is none.
pub(super) fn open_main(
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
    let (commit, inherited) = match CommitRecord::of(&file)? {
        // Some programs keep the record when they rewrite main. It still says best what it contains.
        Some(kept) if !file.is_ours() => (None, Some(kept)),
        None => (None, inherited(store, &file, footers)?),
        own => (own, None),
    };
    if commit.is_none() {
        // A commit that came in between speaks for the main that it made, not for this one.
        let stat = store.disk.stat(&path).map_err(Error::io("read", &path))?;
        if !same(&stat, &file.stat()) {
            return Err(Error::Changed { path });
        }
    }
    let (commit, inherited) = (commit.map(Arc::new), inherited.map(Arc::new));
    Ok(Some(Main {
        file,
        commit,
        inherited,
    }))
}

/// The record that speaks for a main of other code: that of the newest commit which is known
/// to have happened, or of one announced after it whose rows main has, because whoever made
/// it has not come to confirm it.
fn inherited(
    store: &Store,
    main: &ParquetFile,
    footers: &mut Footers,
) -> Result<Option<CommitRecord>> {
    for copy in log::list(store)?.iter().take_while(|copy| !copy.done) {
        // Torn, it was never synced, and the rename never came; gone, it is no longer pending.
        let Ok(announced) = log::read(store, copy) else {
            continue;
        };
        let happened = footers.announced(main, &announced.commit_id, || {
            main.changed_or(announced::happened(store, main, &announced))
        })?;
        if happened {
            return Ok(Some(announced));
        }
    }
    log::newest_done(store)
}

/// How many rows the last commit left in main, where it has fewer by now or is missing.
pub(super) fn expected_rows(store: &Store, main: Option<&Main>) -> Result<Option<u64>> {
    let own = main
        .and_then(Main::record)
        .map(|record| (record.generation, record.rows));
    let newest = log::list(store)?.into_iter().find(|copy| copy.done);
    let newer =
        newest.is_some_and(|copy| own.is_none_or(|(generation, _)| generation < copy.generation));
    let done = if newer {
        log::newest_done(store)?
    } else {
        None
    };
    let last = done
        .map(|record| (record.generation, record.rows))
        .into_iter()
        .chain(own)
        .max();
    let rows = main.map_or(0, |main| main.file.rows());
    let Some((_, expected)) = last.filter(|(_, expected)| rows < *expected) else {
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
pub(super) fn open_summaries(store: &Store, main: Option<&Main>) -> Result<Vec<ParquetFile>> {
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

/// The zone that the first commit fixed, else the store's.
pub(super) fn zone(store: &Store, main: Option<&Main>) -> TimeZone {
    let fixed = main.and_then(Main::record);
    fixed
        .and_then(|commit| TimeZone::get(&commit.zone).ok())
        .unwrap_or_else(|| store.zone.clone())
}
