//! What a commit builds on: main as it is under the lock, and the record that
//! speaks for it.

use std::collections::HashSet;
use std::io;

use jiff::tz::TimeZone;
use xxhash_rust::xxh3::xxh3_64;

use super::standing::Standing;
use super::{log, removed};
use crate::config::show_counted;
use crate::store::Store;
use crate::store::disk::{Disk, Stat};
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::{CommitRecord, Consumed, FORMAT, RemovedSet};
use crate::store::format::layout::folder_of;
use crate::store::format::zone;
use crate::store::identity::Namer;
use crate::store::parquet::{OpenError, ParquetFile};
use crate::store::read::folders;
use crate::store::read::footer_cache::alike;
use crate::store::resolve::Removed;

/// So often a main that another program changes is looked at again.
const OVERTAKEN: u32 = 5;

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
    /// Main is not the one that the newest commit made, and is taken as it is.
    pub(crate) accepted: bool,
    /// How many rows the last commit left in it, where it has fewer and folders may bring them
    /// back.
    pub(crate) lacking: Option<u64>,
    /// The id of the newest commit, where main is not the one that it made.
    pub(crate) behind: Option<String>,
    /// What the newest commit took in and could not move into its folder yet; known where main
    /// lacks its rows.
    pub(crate) taken_in: HashSet<String>,
    /// What was removed on purpose; empty where that can't be read and main is taken as it is.
    pub(crate) removed: Removed,
    /// The file that says so.
    pub(crate) in_force: Option<RemovedSet>,
    /// The store's id: that of the record, or a new one that the next commit gives.
    pub(crate) store_id: String,
}

impl Base {
    /// Opens main and finds the record that speaks for it. `accept_main` takes main as
    /// it is although it has fewer rows than the last commit left in it.
    pub fn open(store: &Store, accept_main: bool) -> Result<Self> {
        let stat = || store.disk.stat(&store.layout.main()).ok();
        let mut before = stat();
        for _ in 0..OVERTAKEN {
            let opened = Self::open_once(store, accept_main);
            let after = stat();
            // What is known of other commits must be of the time of this main.
            if alike(before.as_ref(), after.as_ref()) {
                return opened;
            }
            before = after;
        }
        Err(Error::MainChanged {
            path: store.layout.main(),
        })
    }

    fn open_once(store: &Store, accept_main: bool) -> Result<Self> {
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
        let standing = Standing::of(store, main.as_ref())?;
        if standing.of_other && !accept_main {
            return Err(other_store(store));
        }
        let folders = folders::list(store)?;
        let newest = standing.newest.as_ref();
        let expected_rows = newest.map(|record| record.rows);
        let here = newest.map_or(&[][..], |record| &record.consumed).iter();
        let here = here.filter(|entry| folder_of(&entry.name).is_none());
        let taken_in: HashSet<String> = here.map(|entry| entry.name.clone()).collect();
        // No two commits have one number, whatever main was meanwhile.
        let copies = log::list(store)?;
        let copies = copies.iter().map(|copy| copy.generation);
        let seen = folders.iter().map(|folder| folder.generation);
        let seen = seen.chain(copies).max();
        let generation = newest.map_or(0, |record| record.generation);
        let generation = generation.max(seen.unwrap_or_default());
        let Standing {
            mut record,
            foreign,
            in_force,
            behind,
            ..
        } = standing;
        let identified = !foreign && record.as_ref().is_some_and(CommitRecord::identifies);
        let removed = match removed::read(store, in_force.as_ref()) {
            Err(_) if accept_main => Removed::default(),
            removed => removed?,
        };
        if let Some(record) = &mut record {
            record.removed = in_force.clone().filter(|_| !removed.is_empty());
        }
        let known = record.as_ref().map(|record| record.store.clone());
        let store_id = known
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| format!("{:032x}", store.disk.id()));
        let main = match main {
            Some(main) if !identified => {
                Some(Self::named(store, &main, record.as_ref(), &store_id)?)
            }
            main => main,
        };
        let rows = main.as_ref().map_or(0, ParquetFile::rows);
        let expected = expected_rows.filter(|expected| rows < *expected);
        let believed = record.as_ref().filter(|_| !foreign && main.is_some());
        let pending = folders
            .iter()
            .any(|folder| believed.is_none_or(|own| !own.has_merged(&folder.commit_id)));
        let lacking = expected.filter(|_| !accept_main && pending && main.is_some());
        if let Some(expected) = expected {
            if !accept_main && lacking.is_none() {
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
        let accepted = accept_main && behind.is_some();
        let behind = behind.filter(|_| !accept_main);
        Ok(Self {
            main,
            identity,
            record,
            foreign,
            generation,
            shrunk: expected.is_some() && lacking.is_none(),
            accepted,
            behind,
            taken_in: lacking.map_or_else(HashSet::new, |_| taken_in),
            lacking,
            removed,
            in_force,
            store_id,
        })
    }

    /// A main of which some rows may bring no id.
    fn named(
        store: &Store,
        main: &ParquetFile,
        record: Option<&CommitRecord>,
        store_id: &str,
    ) -> Result<ParquetFile> {
        let namer = Namer {
            store: store_id.to_owned(),
            zone: zone_of(&zone_name(store, record)),
        };
        let named = namer.main(main);
        if named.lacks_ids()? {
            Ok(named)
        } else {
            Ok(main.clone())
        }
    }

    /// What names rows that bring no id.
    pub(crate) fn namer(&self, store: &Store) -> Namer {
        Namer {
            store: self.store_id.clone(),
            zone: self.zone(store),
        }
    }

    /// The zone of naive times: fixed by the first commit.
    pub fn zone(&self, store: &Store) -> TimeZone {
        zone_of(&zone_name(store, self.record.as_ref()))
    }

    /// The files whose rows main contains and that may still be there. Of a main that other code
    /// wrote nobody knows; programs of format 1 took it to have what the last commit had.
    pub fn consumed(&self) -> &[Consumed] {
        let believed = |record: &&CommitRecord| !self.foreign || record.format < FORMAT;
        let record = self.record.as_ref().filter(believed);
        record.map_or(&[], |record| &record.consumed)
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
            store: self.store_id.clone(),
            generation: self.generation + 1,
            commit_id: format!("{:032x}", store.disk.id()),
            parent_id: last.map(|last| last.commit_id.clone()),
            created: now,
            zone: zone_name(store, last),
            rows: 0,
            summaries: last.map_or_else(Vec::new, |last| last.summaries.clone()),
            removed: last.and_then(|last| last.removed.clone()),
            superseded: last.map_or(0, |last| last.superseded),
            repeated: last.map_or(0, |last| last.repeated),
            consumed: Vec::new(),
            lineage: Vec::new(),
            rewritten: last.and_then(|last| last.rewritten),
            format1: Vec::new(),
        }
    }

    /// That main and the folders lack rows, unless another program has changed main meanwhile.
    pub(crate) fn lacks(&self, store: &Store, rows: u64, expected: u64) -> Error {
        match self.is_unchanged(store) {
            Ok(true) => lacks(store, rows, expected),
            Ok(false) => Error::MainChanged {
                path: store.layout.main(),
            },
            Err(error) => error,
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

fn zone_name(store: &Store, record: Option<&CommitRecord>) -> String {
    match record {
        Some(record) => record.zone.clone(),
        None => zone::name(&store.zone),
    }
}

fn zone_of(name: &str) -> TimeZone {
    zone::of(name).unwrap_or(TimeZone::UTC)
}

/// Refuses a main that is a symbolic link: the rename that commits would replace the link,
/// and leave the file behind it as it was.
pub fn refuse_link(store: &Store) -> Result<()> {
    let path = store.layout.main();
    if store
        .disk
        .is_link(&path)
        .map_err(Error::io("read", &path))?
    {
        return Err(Error::Refused(format!(
            "{} is a symbolic link, and a commit would replace the link, not the file behind it: \
             move that file here, or make the store's whole folder a link",
            path.display()
        )));
    }
    Ok(())
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

/// Main and what lies in the folders have fewer rows than the last commit left in main.
fn lacks(store: &Store, rows: u64, expected: u64) -> Error {
    Error::Refused(format!(
        "{} and what incremental/ keeps of it have {} together, but the last commit left {} in it: \
         bring a backup back (evaltop restore --from BACKUP), or go on with what is there \
         (evaltop consolidate --accept-main)",
        store.layout.main().display(),
        show_counted(rows, "row"),
        show_counted(expected, "row")
    ))
}

/// Tests of the last commit are nowhere any more.
pub(crate) fn misses(store: &Store, tests: u64) -> Error {
    Error::Refused(format!(
        "{} lacks {} that the last commit had, and nothing here brings them back: bring a backup back \
         (evaltop restore --from BACKUP), or go on with what is there (evaltop consolidate --accept-main)",
        store.layout.main().display(),
        show_counted(tests, "test")
    ))
}

fn other_store(store: &Store) -> Error {
    Error::Refused(format!(
        "{} is the main of another store: bring this store's own back (evaltop restore --from BACKUP), and \
         take the other one's rows in with evaltop merge",
        store.layout.main().display()
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
