//! The bytes of an open file as Parquet's reader wants them.
//!
//! Promises: a page that says that it is larger than any real one is refused before
//! memory is taken for it.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::super::disk::{ReadFile, Stat};

/// Bytes of the largest page that is read, packed or not. Real ones have one MiB, or
/// a few values.
const PAGE_BYTES: u64 = 256 << 20;

/// The open file.
#[derive(Debug, Clone)]
pub(super) struct Source {
    pub(super) file: Arc<dyn ReadFile>,
    pub(super) bytes: u64,
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for Source {
    type T = io::BufReader<Cursor>;

    /// Pages are read in this way, from their headers on. What begins like none may be the
    /// end of the file, or a page whose header was read before.
    fn get_read(&self, start: u64) -> Result<Self::T> {
        let mut head = [0; 24];
        let read = self.file.read_at(start, &mut head)?;
        check(head.get(..read).unwrap_or_default())?;
        Ok(io::BufReader::new(Cursor { file: self.file.clone(), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.bytes);
        if end.is_none() {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} lie outside of the file")));
        }
        let mut buffer = vec![0; length];
        Cursor { file: self.file.clone(), at: start }.read_exact(&mut buffer)?;
        // Where the file says where its pages are, they are read with their headers.
        check(buffer.get(..length.min(24)).unwrap_or_default())?;
        Ok(buffer.into())
    }
}

/// Refuses a page that claims an absurd size; what is no page is something else.
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
/// is no page. The decoder trusts them and takes as much memory.
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
pub(super) struct Memory {
    pub(super) bytes: Bytes,
    pub(super) stat: Stat,
}

impl ReadFile for Memory {
    fn stat(&self) -> io::Result<Stat> {
        Ok(self.stat)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.bytes.get(offset..));
        rest.unwrap_or_default().read(buf)
    }
}

/// Reads onwards from a position.
#[derive(Debug)]
pub(super) struct Cursor {
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
