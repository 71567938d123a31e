//! The bytes of an open file as Parquet's reader wants them.
//!
//! Promises: a page that says that it is larger than any real one is refused before
//! memory is taken for it.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use crate::store::disk::{ReadFile, Stat};

/// Bytes of the largest page that is read, packed or not. Real ones have one MiB, or
/// a few values.
const PAGE_BYTES: u64 = 256 << 20;

/// Bytes that the header of a page takes at the most, mostly. Where a file does not say where
/// its pages are, all headers are read.
const HEADER: usize = 512;

/// Files of up to this many bytes are read whole, at once: to read them in parts takes longer.
const WHOLE: u64 = 1 << 20;
/// Of others, the bytes at the end that are read at once: most footers are shorter.
const TAIL: u64 = 64 << 10;

/// The open file.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) file: Arc<dyn ReadFile>,
    pub(crate) bytes: u64,
    /// Its last bytes, or all of them, as they were when it was opened.
    held: Bytes,
}

impl Source {
    /// With the end of a file in memory, or all of it where it is small.
    pub(crate) fn of(file: Arc<dyn ReadFile>, bytes: u64) -> Self {
        let held = bytes.min(if bytes <= WHOLE { WHOLE } else { TAIL });
        let mut source = Self {
            file,
            bytes,
            held: Bytes::new(),
        };
        // What can't be read now is an error when it is wanted.
        source.held = source.read(bytes - held, held as usize).unwrap_or_default();
        source
    }

    /// The bytes of a file that are all in memory.
    pub(crate) fn in_memory(file: Memory) -> Self {
        let held = file.bytes.clone();
        Self {
            bytes: held.len() as u64,
            file: Arc::new(file),
            held,
        }
    }

    /// The footer was read: what is only its end is no longer held.
    pub(crate) fn opened(&mut self) {
        if (self.held.len() as u64) < self.bytes {
            self.held = Bytes::new();
        }
    }

    fn read(&self, start: u64, length: usize) -> io::Result<Bytes> {
        let mut buffer = vec![0; length];
        Cursor {
            file: self.file.clone(),
            at: start,
        }
        .read_exact(&mut buffer)?;
        Ok(buffer.into())
    }

    /// The bytes from a position on, as far as they are held; `None` where they are not.
    fn held(&self, start: u64) -> Option<Bytes> {
        let before = self.bytes.checked_sub(self.held.len() as u64)?;
        let start = usize::try_from(start.checked_sub(before)?).ok()?;
        (start < self.held.len()).then(|| self.held.slice(start..))
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Source {
    type T = Onwards;

    /// Pages are read in this way, from their headers on. What begins like none may be the
    /// end of the file, or a page whose header was read before.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        if let Some(held) = self.held(start) {
            check(&held)?;
            return Ok(Onwards::Held(held.reader()));
        }
        let cursor = Cursor {
            file: self.file.clone(),
            at: start,
        };
        let mut onwards = io::BufReader::with_capacity(HEADER, cursor);
        check(onwards.fill_buf()?)?;
        Ok(Onwards::File(onwards))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start
            .checked_add(length as u64)
            .filter(|end| *end <= self.bytes);
        if end.is_none() {
            return Err(ParquetError::EOF(format!(
                "{length} bytes at {start} lie outside of the file"
            )));
        }
        let held = self
            .held(start)
            .filter(|held| held.len() >= length)
            .map(|held| held.slice(..length));
        let bytes = held.map_or_else(|| self.read(start, length), Ok)?;
        // Where the file says where its pages are, they are read with their headers.
        check(&bytes)?;
        Ok(bytes)
    }
}

/// Reads onwards from a position.
pub(crate) enum Onwards {
    Held(Reader<Bytes>),
    File(io::BufReader<Cursor>),
}

impl Read for Onwards {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Held(held) => held.read(buf),
            Self::File(file) => file.read(buf),
        }
    }
}

/// Refuses a page that claims an absurd size; what is not a page is something else.
fn check(head: &[u8]) -> Result<()> {
    if let Some((size, stored)) = page_sizes(head)
        && size.max(stored) > PAGE_BYTES
    {
        let limit = PAGE_BYTES >> 20;
        return Err(ParquetError::General(format!(
            "a page of {stored} bytes claims to hold {size}, and pages over {limit} MiB are not read"
        )));
    }
    Ok(())
}

/// The sizes that a page's header begins with, unpacked and stored; `None` where this
/// is not a page. The decoder trusts them and takes as much memory.
fn page_sizes(head: &[u8]) -> Option<(u64, u64)> {
    let mut rest = head.iter();
    // Three integers of Thrift's compact protocol, each one field after the last.
    let mut number = || {
        (*rest.next()? == 0x15).then_some(())?;
        let mut value = 0_u64;
        for shift in (0..70).step_by(7) {
            let byte = *rest.next()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Some(value >> 1);
            }
        }
        None
    };
    let (_kind, size, stored) = (number()?, number()?, number()?);
    Some((size, stored))
}

/// The bytes of a file as it was.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) bytes: Bytes,
    pub(crate) stat: Stat,
}

impl ReadFile for Memory {
    fn stat(&self) -> io::Result<Stat> {
        Ok(self.stat)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.bytes.get(offset..));
        rest.unwrap_or_default().read(buf)
    }
}

/// A position in the file.
#[derive(Debug)]
pub(crate) struct Cursor {
    file: Arc<dyn ReadFile>,
    at: u64,
}

impl Read for Cursor {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(self.at, buf)?;
        self.at = self.at.saturating_add(read as u64);
        Ok(read)
    }
}
