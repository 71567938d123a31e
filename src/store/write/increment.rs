//! Increments: rows that are published and not yet in main, one immutable Parquet
//! file each.
//!
//! Promises: an increment appears whole, synced and under a name that never named
//! anything else, or not at all. One that was made of a journal says of which of its bytes:
//! what lies beyond them counts on.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::journal::{self, Journal, ReadAt};
use crate::store::Store;
use crate::store::aggregate::increment_digest::Digester;
use crate::store::disk::{Disk, WriteFile};
use crate::store::error::{Error, Result};
use crate::store::format::layout::{increment_name, journal_name, stem};
use crate::store::format::record::Extras;
use crate::store::identity;
use crate::store::parquet::table::TableWriter;
use crate::store::parquet::{OpenError, ParquetFile};

/// The footer's key of [`JournalPart`].
const JOURNAL_KEY: &str = "evaltop.journal";

/// The bytes of a journal whose rows a file has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct JournalPart {
    /// The journal's stem.
    pub stem: String,
    /// Where they begin.
    pub from: u64,
    /// Where they end.
    pub journal_bytes: u64,
}

impl JournalPart {
    /// What an increment says of its journal; `None` where it says nothing.
    pub fn of(file: &ParquetFile) -> Option<Self> {
        serde_json::from_str(file.key_value(JOURNAL_KEY)?).ok()
    }

    /// How many bytes at the beginning of a journal some parts of it have, end to end.
    pub fn covered<'a>(parts: &(impl Iterator<Item = &'a Self> + Clone)) -> u64 {
        let mut covered = 0;
        while let Some(end) = parts
            .clone()
            .filter(|part| part.from <= covered && part.journal_bytes > covered)
            .map(|part| part.journal_bytes)
            .max()
        {
            covered = end;
        }
        covered
    }
}

/// The stem under which a part of a journal is published. A name never means two contents, and
/// two programs that publish the same part meet at one name.
fn stem_of_part(stem: &str, from: u64, to: u64) -> String {
    let hash = xxhash_rust::xxh3::xxh3_64(format!("{stem} {from} {to}").as_bytes()) as u32;
    let mut parts: Vec<&str> = stem.split('_').collect();
    let random = format!("{hash:08x}");
    if let Some(part) = parts.get_mut(4) {
        *part = &random;
    }
    parts.join("_")
}

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

/// An increment that is written and synced under a temporary name, and does not count yet.
#[derive(Debug)]
pub struct Staged {
    /// The name that it will have.
    pub name: String,
    /// Its name in `incremental/` until then.
    pub temporary: String,
    /// Its rows.
    pub rows: u64,
    // Shows that the temporary file is in use.
    file: Box<dyn WriteFile>,
}

impl Staged {
    /// Removes it.
    pub fn discard(self, store: &Store) {
        let _ = store
            .disk
            .remove(&store.layout.incremental(), &[&self.temporary]);
    }

    /// Gives it its name: from here on it counts.
    pub fn publish(self, store: &Store) -> Result<Published> {
        let folder = store.layout.incremental();
        let path = folder.join(&self.name);
        let published = store.disk.publish(&folder.join(&self.temporary), &path);
        // The lock is held until the temporary name is gone.
        let Self {
            name, rows, file, ..
        } = match published {
            Ok(()) => self,
            Err(error) => {
                self.discard(store);
                return Err(Error::io("publish", &path)(error));
            }
        };
        drop(file);
        Ok(Published { name, rows })
    }
}

/// Writes batches as what is to be the increment of a stem.
pub fn stage(
    store: &Store,
    stem: &str,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch>>,
) -> Result<Staged> {
    stage_part(store, stem, schema, batches, None::<(u64, fn(u64) -> _)>)
}

/// The same with the bytes of its journal, and what it says of that, which is asked for after the
/// last batch.
fn stage_part(
    store: &Store,
    stem: &str,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch>>,
    part: Option<(u64, impl FnOnce(u64) -> Result<JournalPart>)>,
) -> Result<Staged> {
    let name = increment_name(stem);
    let folder = store.layout.incremental();
    let disk = &*store.disk;
    let temporary = format!(".{name}.{:08x}.tmp", disk.id() as u32);
    let path = folder.join(&temporary);
    let file = disk.create(&path).map_err(Error::io("create", &path))?;
    let written = file
        .try_lock()
        .map_err(Error::io("lock", &path))
        .and_then(|_| {
            let mut writer = match &part {
                Some((bytes, _)) => TableWriter::passing(file, &path, schema, *bytes)?,
                None => TableWriter::new(file, &path, schema)?,
            };
            let (mut rows, mut identified) = (0, true);
            let mut digester = Digester::new(&name, schema);
            for batch in batches {
                let batch = batch?;
                rows += batch.num_rows() as u64;
                identified = identified && identity::have_ids(&batch)?;
                writer.write(&batch)?;
                digester.push(&batch);
            }
            if identified {
                writer.key_value(identity::IDENTIFIED, "all".to_owned());
                digester.write(&mut writer)?;
            }
            if let Some((_, part)) = part {
                let part = part(rows)?;
                let text = serde_json::to_string(&part)
                    .map_err(|error| Error::Refused(format!("{name}: {error}")))?;
                writer.key_value(JOURNAL_KEY, text);
            }
            Ok((rows, writer.finish()?))
        });
    match written {
        Ok((rows, file)) => Ok(Staged {
            name,
            temporary,
            rows,
            file,
        }),
        Err(error) => {
            let _ = disk.remove(&folder, &[&temporary]);
            Err(error)
        }
    }
}

/// Publishes batches as the increment of a stem. An increment of that name already
/// being there is an `AlreadyExists` error ([`already_published`]).
pub fn publish(
    store: &Store,
    stem: &str,
    schema: &SchemaRef,
    batches: impl IntoIterator<Item = Result<RecordBatch>>,
) -> Result<Published> {
    stage(store, stem, schema, batches)?.publish(store)
}

/// Whether publishing failed because the increment is there already.
pub fn already_published(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.kind() == io::ErrorKind::AlreadyExists)
}

/// Publishes the rows of a journal of this process, read through its own handle; the journal
/// stays. All acknowledged rows or none: an error where they can't be read. What somebody else
/// has published of them meanwhile is left out, and `None` when that is all.
pub fn publish_journal(
    store: &Store,
    journal: &Journal,
    extras: Option<&Extras>,
) -> Result<Option<Published>> {
    let read = journal.content();
    let content = Content {
        stem: journal.stem(),
        read: &read,
        bytes: journal.bytes(),
        from: 0,
        whole: true,
        own: Some(journal),
    };
    content.publish(store, extras)
}

/// Publishes the rows of somebody's journal, by its place in `incremental/`, from an offset on;
/// the journal stays. `ended` says
/// that its writer adds nothing more. Lines that are no record, which only
/// a damaged disk leaves behind, are kept in `rejected_<stem>.jsonl`. `None` when an increment
/// with these rows is there.
pub fn recover_journal(
    store: &Store,
    name: &str,
    from: u64,
    ended: bool,
) -> Result<Option<Published>> {
    let path = store.layout.incremental().join(name);
    let stem = stem(name).unwrap_or_default();
    let file = store.disk.open(&path).map_err(Error::io("read", &path))?;
    let bytes = file.stat().map_err(Error::io("read", &path))?.bytes;
    let read = |at, buffer: &mut [u8]| file.read_at(at, buffer);
    let content = Content {
        stem,
        read: &read,
        // Half a line may be finished yet.
        bytes: journal::end_of_lines(&read, bytes, from).map_err(Error::io("read", &path))?,
        from,
        whole: ended && from == 0,
        own: None,
    };
    content.publish(store, None)
}

/// What is to be published of a journal.
struct Content<'a> {
    stem: &'a str,
    read: ReadAt<'a>,
    bytes: u64,
    from: u64,
    /// Nothing was published of it before, and nothing follows: then it has the journal's stem.
    whole: bool,
    /// The journal, where its writer publishes it.
    own: Option<&'a Journal>,
}

impl Content<'_> {
    fn publish(&self, store: &Store, extras: Option<&Extras>) -> Result<Option<Published>> {
        /// Others take journals in one piece, or two.
        const ROUNDS: u32 = 64;
        let (mut from, mut before) = (self.from, 0);
        let name = |from| stem_of_part(self.stem, from, self.bytes);
        let mut stem = if self.whole {
            self.stem.to_owned()
        } else {
            name(from)
        };
        for _ in 0..ROUNDS {
            match self.publish_from(store, &stem, from, before, extras) {
                Err(error) if already_published(&error) => {}
                // Somebody who sees no lock took the temporary file for a dead process's.
                Err(Error::Io {
                    action: "publish",
                    source,
                    ..
                }) if source.kind() == io::ErrorKind::NotFound => continue,
                published => return published.map(Some),
            }
            let path = store.layout.incremental().join(increment_name(&stem));
            match ParquetFile::open(&*store.disk, &path) {
                Ok(there) => match JournalPart::of(&there) {
                    Some(part) if part.stem == self.stem && part.from == from => {
                        if part.journal_bytes >= self.bytes {
                            return Ok(None);
                        }
                        (from, before) = (part.journal_bytes, before + there.rows());
                        stem = name(from);
                    }
                    // Earlier versions took in all or nothing.
                    None if self.own.is_none_or(|own| own.rows() == there.rows()) => {
                        return Ok(None);
                    }
                    _ => stem = stem_of_part(&stem, from, u64::MAX),
                },
                // Consolidated meanwhile.
                Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                // Its journal counts until it can be read.
                Err(_) => stem = stem_of_part(&stem, from, u64::MAX),
            }
        }
        Err(Error::Unstable {
            path: store.layout.incremental(),
        })
    }

    /// Publishes what follows `before` rows, from an offset on.
    fn publish_from(
        &self,
        store: &Store,
        stem: &str,
        from: u64,
        before: u64,
        extras: Option<&Extras>,
    ) -> Result<Published> {
        let path = store.layout.incremental().join(journal_name(self.stem));
        let read = |at: &mut Option<u64>| {
            let chunk = journal::read_lines(self.read, self.bytes, (*at)?);
            *at = chunk
                .as_ref()
                .ok()
                .filter(|chunk| !chunk.at_end)
                .map(|chunk| chunk.next_offset);
            Some(chunk.map_err(Error::io("read", &path)))
        };
        let learnt = if let Some(extras) = extras {
            extras.clone()
        } else {
            let (mut extras, mut at) = (Extras::default(), Some(from));
            while let Some(chunk) = read(&mut at) {
                extras.add(&chunk?.records);
            }
            extras
        };
        let (mut at, mut malformed, end) = (Some(from), Vec::new(), std::cell::Cell::new(from));
        let batches = std::iter::from_fn(|| {
            let chunk = match read(&mut at)? {
                Ok(chunk) => chunk,
                Err(error) => return Some(Err(error)),
            };
            end.set(chunk.next_offset);
            malformed.extend(chunk.malformed.iter().map(|(start, _)| *start));
            let kept = match at {
                None if !malformed.is_empty() && self.own.is_none() => {
                    self.keep_malformed(store, &malformed, chunk.next_offset)
                }
                _ => Ok(()),
            };
            Some(kept.and_then(|()| learnt.to_batch(&chunk.records)))
        });
        let part = |rows| {
            let mut journal_bytes = end.get();
            if let Some(own) = self.own {
                if journal_bytes < self.bytes || before + rows != own.rows() {
                    return Err(own.lost(journal_bytes));
                }
                journal_bytes = own.end();
            }
            let stem = self.stem.to_owned();
            Ok(JournalPart {
                stem,
                from,
                journal_bytes,
            })
        };
        let part = Some((self.bytes.saturating_sub(from), part));
        stage_part(store, stem, &learnt.schema(), batches, part)?.publish(store)
    }

    fn keep_malformed(&self, store: &Store, starts: &[u64], end: u64) -> Result<()> {
        let disk = &*store.disk;
        let folder = store.layout.incremental();
        let path = folder.join(format!("rejected_{}.jsonl", self.stem));
        let kept = || -> io::Result<()> {
            let mut target = match disk.create(&path) {
                // An earlier attempt at the same journal kept them.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                other => other?,
            };
            for &start in starts {
                let mut at = start;
                'line: while at < end {
                    let mut buffer = [0_u8; 4096];
                    let read = (self.read)(at, &mut buffer)?;
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
            disk.sync_folder(&folder)
        };
        kept().map_err(Error::io("write", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::format::record::{Record, to_batch};
    use crate::store::parquet::ParquetFile;

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
        let schema = crate::store::format::schema::canonical();
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
    fn random_ids_of_many_rows_take_little() {
        let (_folder, store) = store();
        let per_row = |rows: u128| {
            let stem = format!("1_20260131_120000_h_0_{rows}");
            let mut journal = Journal::create(&*store.disk, &store.layout, &stem).unwrap();
            let record = |at: u128| {
                let random = xxhash_rust::xxh3::xxh3_128(&at.to_le_bytes());
                Record {
                    test_id: Some(uuid::Uuid::from_u128(random).to_string()),
                    model: "m".into(),
                    error_message: Some("what a program says of what it could not do".into()),
                    ..Record::default()
                }
            };
            let records: Vec<_> = (0..rows).map(record).collect();
            let lines = journal::to_lines(&records).unwrap();
            journal.append(&lines, rows as u64, false).unwrap();
            let published = publish_journal(&store, &journal, None).unwrap().unwrap();
            let path = store.layout.incremental().join(&published.name);
            let file = ParquetFile::open(&*store.disk, &path).unwrap();
            assert_eq!(file.rows(), rows as u64);
            let group = file.metadata().row_group(0);
            let mut columns = group.columns().iter();
            let ids = columns.find(|column| column.column_path().string() == "test_id");
            ids.unwrap().compressed_size() as u64 / rows as u64
        };
        // 36 characters, of which 16 bytes are random.
        let many = per_row(1_000);
        assert!(many < 24, "{many}");
        // Of a few rows there is nothing to save.
        assert!(per_row(20) > 36);
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
        let published = recover_journal(&store, &journal_name(journal.stem()), 0, true)
            .unwrap()
            .unwrap();
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
            assert!(
                crate::store::format::layout::stem(&name).is_some(),
                "{name}"
            );
            assert_eq!(
                crate::store::format::layout::process_id(&name),
                Some(stems.process_id())
            );
        }
    }
}
