//! Journals: the rows that a writer has acknowledged and not yet published as an
//! increment, one JSON object a line.
//!
//! Promises: a journal appears under its name locked by its writer, and its writer
//! keeps the lock while it lives; a name is never reused. What is acknowledged was
//! written completely; after a failed write the journal is cut back to what was
//! acknowledged and takes no further row. A reader takes complete lines only: a
//! line without its newline is not there yet.
//!
//! Lines that begin with `{"evaltop":` are not rows. The first one says that locks can't
//! be believed where the writer is, the last one that the writer has sealed its journal.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::store::disk::{Disk, ReadFile, WriteFile};
use crate::store::error::{Error, Result};
use crate::store::format::layout::{Layout, journal_name};
use crate::store::format::record::Record;

/// Bytes that one [`read`] takes in, unless a single line is longer.
const CHUNK_BYTES: u64 = 8 << 20;

/// Bytes of the longest line. Only a damaged disk leaves longer ones, and they are
/// passed over as lines that are no record.
const LINE_BYTES: u64 = 64 << 20;

/// The first line of a journal whose lock may not be seen by everybody.
const SHARED: &[u8] = b"{\"evaltop\":\"opened\",\"locks\":false}\n";

/// How lines begin that are not rows. Those of records begin with another field.
const CONTROL: &[u8] = b"{\"evaltop\":";

/// Bytes of the last line of a sealed journal, at most.
const SEAL_BYTES: u64 = 64;

/// Most bytes that a journal keeps in memory, where the file system may lose them: a writer
/// begins a new one then.
pub(crate) const KEPT_BYTES: u64 = 64 << 20;

/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// A journal that this process appends to, locked as long as this lives.
#[derive(Debug)]
pub struct Journal {
    stem: String,
    path: PathBuf,
    file: Box<dyn WriteFile>,
    /// Bytes acknowledged.
    bytes: u64,
    rows: u64,
    /// Bytes before the first row.
    header: u64,
    /// The same bytes, where an open file may vanish from under its process (a network, FUSE).
    kept: Option<Vec<u8>>,
    /// A write failed: nothing may be appended any more.
    broken: bool,
    /// Bytes of the seal.
    seal: u64,
}

impl Journal {
    /// Creates the journal of a stem, locked, under its final name.
    pub fn create(disk: &dyn Disk, layout: &Layout, stem: &str) -> Result<Self> {
        let path = layout.incremental().join(journal_name(stem));
        // Where others don't see the lock, a name that is there before it misleads nobody. And
        // path-based file systems (sshfs) forget which file is open when its name changes.
        let believed = disk.believes_locks(&layout.incremental());
        let file = if believed {
            create_locked(disk, layout, stem)
        } else {
            disk.create(&path).and_then(|file| {
                // The lock is seen through the same mount at least.
                let _ = file.try_lock();
                disk.sync_folder(&layout.incremental())?;
                Ok(file)
            })
        };
        Ok(Self {
            stem: stem.to_owned(),
            file: file.map_err(Error::io("create", &path))?,
            path,
            bytes: 0,
            rows: 0,
            header: 0,
            kept: (!believed).then(Vec::new),
            broken: false,
            seal: 0,
        })
    }

    /// Writes a journal again that is gone from its place, under another stem. `sync` also
    /// makes it survive a loss of power.
    pub(crate) fn write_again(
        &self,
        disk: &dyn Disk,
        layout: &Layout,
        stem: &str,
        sync: bool,
    ) -> Result<Self> {
        let (own, mut at) = (self.content(), self.header);
        let mut buffer = vec![0; COPY_BYTES];
        let last = self.bytes.saturating_sub(1);
        if own(last, buffer.get_mut(..1).unwrap_or_default())
            .map_err(Error::io("read", &self.path))?
            == 0
        {
            return Err(self.lost(self.file.bytes_at(&self.path).ok().flatten().unwrap_or(0)));
        }
        let mut again = Self::create(disk, layout, stem)?;
        let written = loop {
            let wanted = (self.bytes - at).min(buffer.len() as u64) as usize;
            if wanted == 0 {
                break again.append(&[], self.rows, sync);
            }
            let part = buffer.get_mut(..wanted).unwrap_or_default();
            match own(at, part) {
                Ok(0) => break Err(self.lost(at)),
                Ok(read) => {
                    at += read as u64;
                    let part = buffer.get(..read).unwrap_or_default();
                    if let Err(error) = again.append(part, 0, false) {
                        break Err(error);
                    }
                }
                Err(error) => break Err(Error::io("read", &self.path)(error)),
            }
        };
        if let Err(error) = written {
            // A part of it would count twice when the whole is written later.
            let _ = disk.remove(&layout.incremental(), &[&journal_name(stem)]);
            return Err(error);
        }
        Ok(again)
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

    /// Whether it takes no more rows because it has to stay in memory.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.is_some() && self.bytes >= KEPT_BYTES
    }

    /// Whether it is where its rows were acknowledged: under its name, with all its bytes.
    pub(crate) fn is_there(&self) -> io::Result<bool> {
        let there = self.file.bytes_at(&self.path)?;
        Ok(there.is_some_and(|bytes| bytes >= self.bytes))
    }

    /// Reads the acknowledged bytes, whatever has become of the name.
    pub(crate) fn content(&self) -> impl Fn(u64, &mut [u8]) -> io::Result<usize> {
        move |offset, buffer: &mut [u8]| match &self.kept {
            Some(kept) => {
                let from = kept.get(offset as usize..).unwrap_or_default();
                Read::read(&mut &*from, buffer)
            }
            None => self.file.read_back(offset, buffer),
        }
    }

    /// Bytes that an increment with all its rows stands for.
    pub(crate) fn end(&self) -> u64 {
        let end = self.bytes + self.seal;
        // What follows the acknowledged rows after a failed write, and could not be cut off.
        let more = self.broken.then(|| self.file.bytes_at(&self.path));
        let more = more.and_then(io::Result::ok).flatten();
        more.map_or(end, |bytes| bytes.max(end))
    }

    /// Acknowledged bytes can't be read any more.
    pub(crate) fn lost(&self, read: u64) -> Error {
        let (path, all) = (self.path.display(), self.bytes);
        Error::Refused(format!(
            "{path}: only {read} of its {all} bytes can be read, so its {} are not published: \
             something else wrote to it",
            crate::config::show_counted(self.rows, "row")
        ))
    }

    /// Appends complete lines in one write; `sync` also makes them survive a loss of
    /// power. After an error none of them is acknowledged and the journal is broken.
    pub fn append(&mut self, lines: &[u8], rows: u64, sync: bool) -> Result<()> {
        let begun = if self.bytes == 0 && self.kept.is_some() {
            Some([SHARED, lines].concat())
        } else {
            None
        };
        let all = begun.as_deref().unwrap_or(lines);
        let written = self
            .file
            .write_all(all)
            .and_then(|()| if sync { self.file.sync() } else { Ok(()) });
        match written {
            Ok(()) => {
                if begun.is_some() {
                    self.header = SHARED.len() as u64;
                }
                self.bytes += all.len() as u64;
                self.rows += rows;
                if let Some(kept) = &mut self.kept {
                    kept.extend_from_slice(all);
                }
                Ok(())
            }
            Err(source) => {
                self.broken = true;
                self.cut_back();
                Err(Error::Io {
                    action: "write",
                    path: self.path.clone(),
                    source,
                })
            }
        }
    }

    /// Says that no row will follow: then anybody may take it in and away, whatever its
    /// lock says. It counts without the seal too.
    pub fn seal(&mut self) {
        if self.broken || self.seal > 0 || self.rows == 0 {
            return;
        }
        let seal = format!("{{\"evaltop\":\"sealed\",\"rows\":{}}}\n", self.rows);
        match self.file.write_all(seal.as_bytes()) {
            Ok(()) => self.seal = seal.len() as u64,
            Err(error) => {
                tracing::debug!("{}: not sealed: {error}", self.path.display());
                self.broken = true;
                self.cut_back();
            }
        }
    }

    fn cut_back(&mut self) {
        if let Err(error) = self.file.truncate(self.bytes) {
            tracing::warn!(
                "{}: not cut back after a failed write: {error}",
                self.path.display()
            );
        }
    }
}

/// Creates a file under a temporary name, locks it and gives it its own: it is never seen
/// unlocked.
fn create_locked(disk: &dyn Disk, layout: &Layout, stem: &str) -> io::Result<Box<dyn WriteFile>> {
    let name = journal_name(stem);
    let folder = layout.incremental();
    let temporary = folder.join(format!(".{name}.tmp"));
    let file = disk.create(&temporary)?;
    let ready = file.try_lock().and_then(|locked| {
        if !locked {
            return Err(io::Error::from(io::ErrorKind::ResourceBusy));
        }
        disk.publish(&temporary, &folder.join(&name))
    });
    match ready {
        Ok(()) => Ok(file),
        Err(error) => {
            // An empty file is left at most; cleanup removes it.
            let _ = disk.remove(&folder, &[&format!(".{name}.tmp")]);
            Err(error)
        }
    }
}

/// Whether the writer of a journal said that its lock may not be seen, or is yet to say it: it
/// does so with its first row.
pub(crate) fn is_shared(file: &dyn ReadFile) -> io::Result<bool> {
    let mut buffer = [0; SHARED.len()];
    let read = file.read_at(0, &mut buffer)?;
    Ok(SHARED.starts_with(buffer.get(..read).unwrap_or_default()))
}

/// Whether the first `bytes` of a journal end with its writer's seal.
pub(crate) fn is_sealed(file: &dyn ReadFile, bytes: u64) -> io::Result<bool> {
    let from = bytes.saturating_sub(SEAL_BYTES);
    let mut tail = Vec::new();
    let range = Range {
        read: &|at, buffer| file.read_at(at, buffer),
        at: from,
        end: bytes,
    };
    range.take(SEAL_BYTES).read_to_end(&mut tail)?;
    let Some(lines) = tail.strip_suffix(b"\n") else {
        return Ok(false);
    };
    if from > 0 && !lines.contains(&b'\n') {
        return Ok(false);
    }
    let last = lines.rsplit(|&byte| byte == b'\n').next();
    Ok(last.is_some_and(|line| matches!(Control::of(line), Some(Control::Sealed))))
}

/// Whether a complete line follows in a journal.
pub(crate) fn has_line(file: &dyn ReadFile, bytes: u64, from: u64) -> io::Result<bool> {
    let mut buffer = vec![0; 1 << 16];
    let mut at = from;
    while at < bytes {
        let wanted = (bytes - at).min(buffer.len() as u64) as usize;
        let read = file.read_at(at, buffer.get_mut(..wanted).unwrap_or_default())?;
        let part = buffer.get(..read).unwrap_or_default();
        if part.contains(&b'\n') {
            return Ok(true);
        }
        if read == 0 {
            break;
        }
        at += read as u64;
    }
    Ok(false)
}

/// Where the last complete line ends of those that begin at an offset.
pub(crate) fn end_of_lines(source: ReadAt<'_>, bytes: u64, from: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 16];
    let mut end = bytes;
    while end > from {
        let wanted = (end - from).min(buffer.len() as u64) as usize;
        let (at, mut filled) = (end - wanted as u64, 0);
        while let Some(rest) = buffer
            .get_mut(filled..wanted)
            .filter(|rest| !rest.is_empty())
        {
            match source(at + filled as u64, rest)? {
                0 => break,
                read => filled += read,
            }
        }
        let part = buffer.get(..filled).unwrap_or_default();
        if let Some(newline) = part.iter().rposition(|&byte| byte == b'\n') {
            return Ok(at + newline as u64 + 1);
        }
        end = at;
    }
    Ok(from)
}

/// What a line says that is not a row.
enum Control {
    Sealed,
    /// Whatever later versions say.
    Other,
}

impl Control {
    /// `None` for any other line.
    fn of(line: &[u8]) -> Option<Self> {
        #[derive(serde::Deserialize)]
        struct Said {
            evaltop: String,
        }
        if !line.starts_with(CONTROL) {
            return None;
        }
        let said: Said = serde_json::from_slice(line).ok()?;
        Some(if said.evaltop == "sealed" {
            Self::Sealed
        } else {
            Self::Other
        })
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
    read_lines(&|at, buffer| file.read_at(at, buffer), bytes, from_offset)
}

/// Reads up to as many bytes as the buffer takes at an offset; 0 at the end.
pub(crate) type ReadAt<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<usize>;

/// [`read`] for the content of a journal, up to `bytes`.
pub(crate) fn read_lines(source: ReadAt<'_>, bytes: u64, from_offset: u64) -> io::Result<Chunk> {
    let mut chunk = Chunk {
        next_offset: from_offset,
        ..Chunk::default()
    };
    let mut wanted = CHUNK_BYTES;
    let (lines, at_end) = loop {
        let end = from_offset.saturating_add(wanted).min(bytes);
        let mut buffer = Vec::new();
        let range = Range {
            read: source,
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
            return pass_over(source, bytes, from_offset);
        }
        wanted = wanted.saturating_mul(2).min(LINE_BYTES);
    };
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let offset = chunk.next_offset;
        chunk.next_offset += line.len() as u64;
        if line.iter().all(u8::is_ascii_whitespace) || Control::of(line).is_some() {
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
fn pass_over(source: ReadAt<'_>, bytes: u64, from_offset: u64) -> io::Result<Chunk> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = from_offset;
    while at < bytes {
        let read = source(at, &mut buffer)?;
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
    read: ReadAt<'a>,
    at: u64,
    end: u64,
}

impl Read for Range<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = left.min(buf.len());
        let read = (self.read)(self.at, buf.get_mut(..most).unwrap_or_default())?;
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
    fn a_line_without_newline_is_not_there_and_a_broken_one_is_reported() {
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
