//! Increments: rows that are published and not yet in main, one immutable Parquet
//! file each.
//!
//! Promises: an increment appears whole, synced and under a name that never named
//! anything else, or not at all.

use std::io::{self, Write};
use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;

use super::Store;
use super::disk::Disk;
use super::error::{Error, Result};
use super::journal;
use super::layout::{increment_name, journal_name};
use super::record::Extras;
use super::table::TableWriter;

/// The names that one writer gives to its journals and increments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stems {
    process_id: String,
    host: String,
    random: u32,
    next: u64,
}

impl Stems {
    /// For this process, from `now` on. No other process and no later call makes
    /// the same names.
    pub fn new(disk: &dyn Disk, now: Timestamp) -> Self {
        let time = now
            .to_zoned(jiff::tz::TimeZone::UTC)
            .strftime("%Y%m%d_%H%M%S");
        Self {
            process_id: format!("{}_{time}", std::process::id()),
            host: host(),
            random: disk.id() as u32,
            next: 0,
        }
    }

    /// `<pid>_<YYYYmmdd_HHMMSS>`.
    pub fn process_id(&self) -> &str {
        &self.process_id
    }

    /// The part that all stems of this writer share.
    pub fn base(&self) -> String {
        format!("{}_{}_{:08x}", self.process_id, self.host, self.random)
    }

    /// The next stem.
    pub fn next_stem(&mut self) -> String {
        let stem = format!("{}_{}", self.base(), self.next);
        self.next += 1;
        stem
    }
}

/// The host's name as far as file names take it: letters, digits and dashes.
pub fn host() -> String {
    let name = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let first = name.split('.').next().unwrap_or_default();
    let clean: String = first
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(32)
        .collect();
    if clean.is_empty() {
        "host".to_owned()
    } else {
        clean
    }
}

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The increment's name.
    pub name: String,
    /// Its rows.
    pub rows: u64,
}

/// Publishes batches as the increment of a stem. An increment of that name already
/// being there is an `AlreadyExists` error ([`already_published`]).
pub fn publish(
    store: &Store,
    stem: &str,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch>>,
) -> Result<Published> {
    let name = increment_name(stem);
    let folder = store.layout.incremental();
    let path = folder.join(&name);
    let disk = &*store.disk;
    let temporary = folder.join(format!(".{name}.{:08x}.tmp", disk.id() as u32));
    let file = disk
        .create(&temporary)
        .map_err(Error::io("create", &temporary))?;
    let written = file
        .try_lock()
        .map_err(Error::io("lock", &temporary))
        .and_then(|_| {
            let mut writer = TableWriter::new(file, &temporary, schema)?;
            let mut rows = 0;
            for batch in batches {
                let batch = batch?;
                rows += batch.num_rows() as u64;
                writer.write(&batch)?;
            }
            // The lock is held until the temporary name is gone.
            let _file = writer.finish()?;
            disk.publish(&temporary, &path)
                .map_err(Error::io("publish", &path))?;
            Ok(rows)
        });
    match written {
        Ok(rows) => Ok(Published { name, rows }),
        Err(error) => {
            if let Some(name) = temporary.file_name().and_then(|n| n.to_str()) {
                let _ = disk.remove(&folder, &[name]);
            }
            Err(error)
        }
    }
}

/// Whether publishing failed because the increment is there already.
pub fn already_published(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
}

/// Publishes a journal's rows as the increment of its stem; the journal stays. The
/// caller holds the journal's lock. Lines that are no record, which only a damaged
/// disk leaves behind, are kept in `rejected_<stem>.jsonl`. Its writer knows which
/// further columns there are; anyone else reads the journal once more to learn it.
pub fn publish_journal(store: &Store, stem: &str, extras: Option<&Extras>) -> Result<Published> {
    let disk = &*store.disk;
    let path = store.layout.incremental().join(journal_name(stem));
    let read = |at: &mut Option<u64>| {
        let from = (*at)?;
        let chunk = journal::read(disk, &path, from);
        *at = chunk
            .as_ref()
            .ok()
            .filter(|chunk| !chunk.at_end)
            .map(|chunk| chunk.next_offset);
        Some(chunk)
    };
    let learnt = if let Some(extras) = extras {
        extras.clone()
    } else {
        let (mut extras, mut at) = (Extras::default(), Some(0));
        while let Some(chunk) = read(&mut at) {
            extras.add(&chunk?.records);
        }
        extras
    };
    let (mut at, mut malformed) = (Some(0), Vec::new());
    let batches = std::iter::from_fn(|| {
        let chunk = match read(&mut at)? {
            Ok(chunk) => chunk,
            Err(error) => return Some(Err(error)),
        };
        malformed.extend(chunk.malformed.iter().map(|(start, _)| *start));
        let kept = match at {
            None if !malformed.is_empty() => {
                keep_malformed(store, stem, &path, &malformed, chunk.next_offset)
            }
            _ => Ok(()),
        };
        Some(kept.and_then(|()| learnt.to_batch(&chunk.records)))
    });
    publish(store, stem, &learnt.schema(), batches)
}

fn keep_malformed(
    store: &Store,
    stem: &str,
    journal: &Path,
    starts: &[u64],
    end: u64,
) -> Result<()> {
    let disk = &*store.disk;
    let path = store
        .layout
        .incremental()
        .join(format!("rejected_{stem}.jsonl"));
    let kept = || -> io::Result<()> {
        let source = disk.open(journal)?;
        let mut target = match disk.create(&path) {
            // An earlier attempt at the same journal kept them.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            other => other?,
        };
        for &start in starts {
            let mut at = start;
            'line: while at < end {
                let mut buffer = [0_u8; 4096];
                let read = source.read_at(at, &mut buffer)?;
                let bytes = buffer.get(..read).unwrap_or_default();
                let line = bytes
                    .iter()
                    .position(|&b| b == b'\n')
                    .map(|newline| newline + 1);
                target.write_all(bytes.get(..line.unwrap_or(read)).unwrap_or_default())?;
                if line.is_some() || read == 0 {
                    break 'line;
                }
                at += read as u64;
            }
        }
        target.sync()?;
        disk.sync_folder(&store.layout.incremental())
    };
    kept().map_err(Error::io("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::parquet_file::ParquetFile;
    use crate::store::record::{Record, to_batch};

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path());
        store
            .disk
            .create_folder(&store.layout.incremental())
            .unwrap();
        (folder, store)
    }

    fn names(store: &Store) -> Vec<String> {
        let mut names: Vec<_> = store
            .disk
            .list(&store.layout.incremental())
            .unwrap()
            .into_iter()
            .map(|e| e.name)
            .collect();
        names.sort();
        names
    }

    #[test]
    fn an_increment_appears_once_and_leaves_no_temporary_file() {
        let (_folder, store) = store();
        let stem = Stems::new(&*store.disk, Timestamp::now()).next_stem();
        let batch = to_batch(&[Record {
            model: "m".into(),
            ..Record::default()
        }])
        .unwrap();
        let published = publish(&store, &stem, &batch.schema(), [Ok(batch.clone())]).unwrap();
        assert_eq!(
            (published.rows, names(&store)),
            (1, vec![increment_name(&stem)])
        );
        let again = publish(&store, &stem, &batch.schema(), [Ok(batch)]).unwrap_err();
        assert!(already_published(&again), "{again}");
        assert_eq!(names(&store), [increment_name(&stem)]);
    }

    #[test]
    fn a_failing_source_publishes_nothing() {
        let (_folder, store) = store();
        let schema = crate::store::schema::canonical();
        assert!(
            publish(
                &store,
                "1_20260131_120000_h_0_0",
                &schema,
                [Err(Error::Cancelled)]
            )
            .is_err()
        );
        assert!(names(&store).is_empty());
    }

    #[test]
    fn a_damaged_line_of_a_journal_is_kept() {
        let (_folder, store) = store();
        let mut journal =
            journal::Journal::create(&*store.disk, &store.layout, "1_20260131_120000_h_0_0")
                .unwrap();
        journal
            .append(
                b"{\"model\":\"m\",\"success\":true}\n\0\0\0\n{\"model\":\"torn",
                1,
                false,
            )
            .unwrap();
        let published = publish_journal(&store, journal.stem(), None).unwrap();
        assert_eq!(published.rows, 1);
        let path = store.layout.incremental().join(&published.name);
        assert_eq!(ParquetFile::open(&*store.disk, &path).unwrap().rows(), 1);
        let rejected = store
            .layout
            .incremental()
            .join("rejected_1_20260131_120000_h_0_0.jsonl");
        assert_eq!(std::fs::read(rejected).unwrap(), b"\0\0\0\n");
    }

    #[test]
    fn stems_are_what_layout_expects() {
        let mut stems = Stems::new(&crate::store::disk::RealDisk, Timestamp::now());
        for _ in 0..2 {
            let name = journal_name(&stems.next_stem());
            assert!(crate::store::layout::stem(&name).is_some(), "{name}");
            assert_eq!(
                crate::store::layout::process_id(&name),
                Some(stems.process_id())
            );
        }
    }
}
