//! The index of main's test keys: beside main, made anew by each commit from the one
//! before, so that earlier attempts are found without reading main's keys.
//!
//! A key is 64 bits of a hash, with the number of its row group: a hit says where to
//! look, and the rows there decide. Sorted, in blocks that each have a checksum;
//! then the directory of the blocks, then the trailer.
//!
//! Promises: it is believed only when its length, the commit id, main's size and every
//! checksum on the way agree; otherwise main's keys are read instead. Losing it loses
//! nothing.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::Store;
use super::commit::CommitRecord;
use super::disk::{ReadFile, bytes_at};
use super::layout;
use super::parquet_file::ParquetFile;

mod make;

pub(super) use make::{each_key, make};

const MAGIC: u64 = u64::from_le_bytes(*b"evtkeys1");
/// Entries in a full block.
const BLOCK: usize = if cfg!(test) { 8 } else { 4_096 };
/// Bytes of an entry: hash and row group.
const ENTRY: usize = 10;
/// Bytes of a block's place in the directory: its first hash, its checksum.
const PLACE: usize = 16;
/// Bytes of the trailer: magic, commit, size of main, entries, checksum.
const TRAILER: usize = 40;

/// A hash and the row group that holds its record.
pub(super) type Entry = (u64, u16);

/// The index of one main.
#[derive(Debug, Clone)]
pub(super) struct TestKeys {
    file: Arc<dyn ReadFile>,
    entries: usize,
    /// First hash and checksum of each block.
    places: Vec<(u64, u64)>,
}

fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(8).map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes))
}

impl TestKeys {
    /// The index of a main that a commit made; `None` where there is none to believe.
    pub(super) fn of(store: &Store, main: &ParquetFile, record: &CommitRecord) -> Option<Self> {
        let path = store.layout.root().join(layout::test_keys_name(&record.commit_id));
        Self::open(store.disk.open(&path).ok()?, main.stat().bytes, &record.commit_id).ok()
    }

    fn open(file: Arc<dyn ReadFile>, main: u64, commit: &str) -> io::Result<Self> {
        let length = file.stat()?.bytes;
        let end = length.checked_sub(TRAILER as u64).ok_or_else(damaged)?;
        let trailer = bytes_at(&*file, end, TRAILER)?;
        let mut numbers_of = numbers(&trailer);
        let mut next = || numbers_of.next().unwrap_or_default();
        let (magic, id, size, entries, checksum) = (next(), next(), next(), next(), next());
        if (magic, id, size) != (MAGIC, xxh3_64(commit.as_bytes()), main) {
            return Err(damaged());
        }
        let entries = usize::try_from(entries).map_err(|_| damaged())?;
        let body = entries.checked_mul(ENTRY).ok_or_else(damaged)?;
        let directory = entries.div_ceil(BLOCK) * PLACE;
        if (body + directory + TRAILER) as u64 != length {
            return Err(damaged());
        }
        let mut ending = bytes_at(&*file, body as u64, directory)?;
        ending.extend(trailer.get(..TRAILER - 8).unwrap_or_default());
        if xxh3_64(&ending) != checksum {
            return Err(damaged());
        }
        let all: Vec<u64> = numbers(ending.get(..directory).unwrap_or_default()).collect();
        let places = all.chunks_exact(2).filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
        Ok(Self { file, entries, places: places.collect() })
    }

    /// Number of blocks.
    pub(super) fn blocks(&self) -> usize {
        self.places.len()
    }

    /// The entries of a block, ascending.
    pub(super) fn block(&self, at: usize) -> io::Result<Vec<Entry>> {
        let n = BLOCK.min(self.entries.saturating_sub(at * BLOCK));
        let content = bytes_at(&*self.file, (at * BLOCK * ENTRY) as u64, n * ENTRY)?;
        let (_, checksum) = self.places.get(at).ok_or_else(damaged)?;
        if xxh3_64(&content) != *checksum {
            return Err(damaged());
        }
        let (hashes, groups) = content.split_at(n * 8);
        let groups = groups.chunks_exact(2).map(|bytes| bytes.try_into().map_or(0, u16::from_le_bytes));
        Ok(numbers(hashes).zip(groups).collect())
    }

    /// The row groups that may hold some keys, ascending. Only the blocks in which they
    /// would be are read.
    pub(super) fn groups(&self, wanted: &HashSet<u64>) -> io::Result<Vec<usize>> {
        let mut sorted: Vec<u64> = wanted.iter().copied().collect();
        sorted.sort_unstable();
        let mut found = HashSet::new();
        let mut current: Option<(usize, Vec<Entry>)> = None;
        for hash in sorted {
            let first = self.places.partition_point(|(first, _)| *first < hash).saturating_sub(1);
            let last = self.places.partition_point(|(first, _)| *first <= hash);
            for at in first..last {
                let entries = match current.take() {
                    Some((block, entries)) if block == at => entries,
                    _ => self.block(at)?,
                };
                let from = entries.partition_point(|(other, _)| *other < hash);
                let same = entries.iter().skip(from).take_while(|(other, _)| *other == hash);
                found.extend(same.map(|(_, group)| usize::from(*group)));
                current = Some((at, entries));
            }
        }
        let mut groups: Vec<usize> = found.into_iter().collect();
        groups.sort_unstable();
        Ok(groups)
    }
}

#[cfg(test)]
mod tests;
