//! Journals: the rows that a writer has acknowledged and not yet published as an
//! increment, one JSON object a line.
//!
//! Promises: a journal appears under its name locked by its writer, and its writer
//! keeps the lock while it lives; a name is never reused. What is acknowledged was
//! written completely; after a failed write the journal is cut back to what was
//! acknowledged and takes no further row. A reader takes complete lines only: a
//! line without its newline is not there yet.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, ReadFile, WriteFile};
use super::error::{Error, Result};
use super::layout::{Layout, journal_name};
use super::record::Record;

/// Bytes that one [`read`] takes in, unless a single line is longer.
const CHUNK_BYTES: u64 = 8 << 20;

/// Bytes of the longest line. Only a damaged disk leaves longer ones, and they are
/// passed over as lines that are no record.
const LINE_BYTES: u64 = 64 << 20;

/// A journal that this process appends to, locked as long as this lives.
#[derive(Debug)]
pub struct Journal {
    stem: String,
    path: PathBuf,
    file: Box<dyn WriteFile>,
    bytes: u64,
    rows: u64,
    /// A write failed: nothing may be appended any more.
    broken: bool,
}

impl Journal {
    /// Creates the journal of a stem, locked, under its final name.
    pub fn create(disk: &dyn Disk, layout: &Layout, stem: &str) -> Result<Self> {
        let name = journal_name(stem);
        let path = layout.incremental().join(&name);
        let temporary = layout.incremental().join(format!(".{name}.tmp"));
        let file = disk
            .create(&temporary)
            .map_err(Error::io("create", &temporary))?;
        let ready = file.try_lock().and_then(|locked| {
            if !locked {
                return Err(io::Error::from(io::ErrorKind::ResourceBusy));
            }
            disk.publish(&temporary, &path)
        });
        if let Err(source) = ready {
            // An empty file is left at most; cleanup removes it.
            let _ = disk.remove(&layout.incremental(), &[&format!(".{name}.tmp")]);
            return Err(Error::Io {
                action: "create",
                path,
                source,
            });
        }
        Ok(Self {
            stem: stem.to_owned(),
            path,
            file,
            bytes: 0,
            rows: 0,
            broken: false,
        })
    }

    /// The part of the name that the increment will share.
    pub fn stem(&self) -> &str {
        &self.stem
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes acknowledged.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Rows acknowledged.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether a write failed, so that further rows need a new journal.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Appends complete lines in one write; `sync` also makes them survive a loss of
    /// power. After an error none of them is acknowledged and the journal is broken.
    pub fn append(&mut self, lines: &[u8], rows: u64, sync: bool) -> Result<()> {
        let written = self
            .file
            .write_all(lines)
            .and_then(|()| if sync { self.file.sync() } else { Ok(()) });
        match written {
            Ok(()) => {
                self.bytes += lines.len() as u64;
                self.rows += rows;
                Ok(())
            }
            Err(source) => {
                self.broken = true;
                if let Err(error) = self.file.truncate(self.bytes) {
                    tracing::warn!(
                        "{}: not cut back after a failed write: {error}",
                        self.path.display()
                    );
                }
                Err(Error::Io {
                    action: "write",
                    path: self.path.clone(),
                    source,
                })
            }
        }
    }
}

/// What one [`read`] found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chunk {
    /// The records of the complete lines.
    pub records: Vec<Record>,
    /// Where the line of each begins.
    pub starts: Vec<u64>,
    /// Where the next read begins.
    pub next_offset: u64,
    /// Lines that are no record: where they begin, and why.
    pub malformed: Vec<(u64, String)>,
    /// Nothing complete follows for now.
    pub at_end: bool,
}

/// Reads a journal's complete lines from an offset on, about 8 MiB at a time: call
/// again with `next_offset` until `at_end`.
pub fn read(disk: &dyn Disk, path: &Path, from_offset: u64) -> Result<Chunk> {
    let file = disk.open(path).map_err(Error::io("read", path))?;
    let bytes = file.stat().map_err(Error::io("read", path))?.bytes;
    read_open(&file, bytes, from_offset).map_err(Error::io("read", path))
}

/// [`read`] for a journal that is open, up to `bytes`.
pub(crate) fn read_open(
    file: &Arc<dyn ReadFile>,
    bytes: u64,
    from_offset: u64,
) -> io::Result<Chunk> {
    let mut chunk = Chunk {
        next_offset: from_offset,
        ..Chunk::default()
    };
    let mut wanted = CHUNK_BYTES;
    let (lines, at_end) = loop {
        let end = from_offset.saturating_add(wanted).min(bytes);
        let mut buffer = Vec::new();
        let range = Range {
            file: &**file,
            at: from_offset,
            end,
        };
        range.take(wanted).read_to_end(&mut buffer)?;
        let complete = buffer
            .iter()
            .rposition(|&byte| byte == b'\n')
            .map_or(0, |at| at + 1);
        if complete > 0 || end >= bytes {
            buffer.truncate(complete);
            break (buffer, end >= bytes);
        }
        if wanted >= LINE_BYTES {
            return pass_over(file, bytes, from_offset);
        }
        wanted = wanted.saturating_mul(2).min(LINE_BYTES);
    };
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let offset = chunk.next_offset;
        chunk.next_offset += line.len() as u64;
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(record) => {
                chunk.records.push(record);
                chunk.starts.push(offset);
            }
            Err(error) => chunk.malformed.push((offset, error.to_string())),
        }
    }
    chunk.at_end = at_end;
    Ok(chunk)
}

/// What follows a line that is too long to be a record.
fn pass_over(file: &Arc<dyn ReadFile>, bytes: u64, from_offset: u64) -> io::Result<Chunk> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = from_offset;
    while at < bytes {
        let read = file.read_at(at, &mut buffer)?;
        let part = buffer.get(..read).unwrap_or_default();
        if let Some(newline) = part.iter().position(|&byte| byte == b'\n') {
            let next_offset = at + newline as u64 + 1;
            let malformed = vec![(from_offset, format!("longer than {} MiB", LINE_BYTES >> 20))];
            return Ok(Chunk {
                next_offset,
                malformed,
                at_end: next_offset >= bytes,
                ..Chunk::default()
            });
        }
        if read == 0 {
            break;
        }
        at += read as u64;
    }
    Ok(Chunk {
        next_offset: from_offset,
        at_end: true,
        ..Chunk::default()
    })
}

/// Part of an open file, read onwards.
struct Range<'a> {
    file: &'a dyn ReadFile,
    at: u64,
    end: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = left.min(buf.len());
        let read = self
            .file
            .read_at(self.at, buf.get_mut(..most).unwrap_or_default())?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The lines of records, as [`Journal::append`] wants them.
pub fn to_lines(records: &[Record]) -> Result<Vec<u8>> {
    let mut lines = Vec::with_capacity(records.len() * 256);
    for record in records {
        let before = lines.len();
        serde_json::to_writer(&mut lines, record).map_err(|error| {
            Error::Refused(format!("a record can't be written as JSON: {error}"))
        })?;
        lines.push(b'\n');
        if (lines.len() - before) as u64 > LINE_BYTES {
            let most = LINE_BYTES >> 20;
            return Err(Error::Refused(format!(
                "a record is longer than {most} MiB: shorten its texts"
            )));
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::disk::RealDisk;

    const STEM: &str = "12_20260131_120000_host_0a1b_0";

    fn journal() -> (tempfile::TempDir, Layout, Journal) {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        RealDisk.create_folder(&layout.incremental()).unwrap();
        let journal = Journal::create(&RealDisk, &layout, STEM).unwrap();
        (folder, layout, journal)
    }

    fn records(n: i64) -> Vec<Record> {
        (0..n)
            .map(|at| Record {
                test_id: Some(format!("t{at}")),
                model: "m".into(),
                timestamp: Some(at),
                extra: [("note".to_owned(), at.into())].into_iter().collect(),
                ..Record::default()
            })
            .collect()
    }

    #[test]
    fn what_is_appended_is_read_from_any_line_on() {
        let (_folder, _, mut journal) = journal();
        let lines = to_lines(&records(3)).unwrap();
        journal.append(&lines, 3, true).unwrap();
        let chunk = read(&RealDisk, journal.path(), 0).unwrap();
        assert_eq!(chunk.records, records(3));
        assert!(chunk.at_end && chunk.malformed.is_empty());
        assert_eq!(chunk.next_offset, journal.bytes());
        journal
            .append(&to_lines(&records(1)).unwrap(), 1, false)
            .unwrap();
        assert_eq!(
            read(&RealDisk, journal.path(), chunk.next_offset)
                .unwrap()
                .records,
            records(1)
        );
    }

    #[test]
    fn a_line_without_newline_is_not_there_and_a_broken_one_is_told() {
        let (_folder, _, mut journal) = journal();
        journal
            .append(
                b"{\"model\":\"a\",\"success\":true}\nnonsense\n\n{\"model\":\"b\"",
                0,
                false,
            )
            .unwrap();
        let chunk = read(&RealDisk, journal.path(), 0).unwrap();
        assert_eq!(chunk.records.len(), 1);
        assert_eq!(chunk.malformed.len(), 1);
        assert_eq!(chunk.malformed[0].0, 29);
        assert_eq!(chunk.next_offset, 29 + 9 + 1);
        assert!(chunk.at_end);
    }

    #[test]
    fn a_line_longer_than_a_chunk_is_read_whole() {
        let (_folder, _, mut journal) = journal();
        let long = Record {
            model: "x".repeat(CHUNK_BYTES as usize + 5),
            ..Record::default()
        };
        let all = [vec![long], records(2)].concat();
        journal.append(&to_lines(&all).unwrap(), 3, false).unwrap();
        let first = read(&RealDisk, journal.path(), 0).unwrap();
        let rest = read(&RealDisk, journal.path(), first.next_offset).unwrap();
        assert_eq!([first.records, rest.records].concat(), all);
        assert!(rest.at_end);
    }

    #[test]
    fn a_line_that_is_no_record_for_its_length_is_passed_over() {
        let (_folder, _, mut journal) = journal();
        journal.append(b"x", 0, false).unwrap();
        // A hole: nothing of it is on the disk.
        journal.file.truncate(LINE_BYTES + 7).unwrap();
        assert_eq!(
            read(&RealDisk, journal.path(), 0).unwrap().next_offset,
            0,
            "no newline yet"
        );
        journal.append(b"\n", 0, false).unwrap();
        journal
            .append(&to_lines(&records(1)).unwrap(), 1, false)
            .unwrap();
        let long = read(&RealDisk, journal.path(), 0).unwrap();
        assert_eq!(
            (long.malformed.len(), long.next_offset, long.at_end),
            (1, LINE_BYTES + 8, false)
        );
        assert_eq!(
            read(&RealDisk, journal.path(), long.next_offset)
                .unwrap()
                .records,
            records(1)
        );
        let record = Record {
            model: "x".repeat(LINE_BYTES as usize),
            ..Record::default()
        };
        assert!(
            to_lines(&[record]).is_err(),
            "what could not be read again is not written"
        );
    }

    #[test]
    fn the_name_is_locked_while_its_writer_lives_and_never_taken_twice() {
        let (_folder, layout, journal) = journal();
        let path = journal.path().to_path_buf();
        assert!(RealDisk.is_locked(&path).unwrap());
        assert!(Journal::create(&RealDisk, &layout, STEM).is_err());
        drop(journal);
        assert!(!RealDisk.is_locked(&path).unwrap());
        let names: Vec<_> = RealDisk
            .list(&layout.incremental())
            .unwrap()
            .into_iter()
            .map(|e| e.name)
            .collect();
        assert_eq!(names, [journal_name(STEM)]);
    }
}
