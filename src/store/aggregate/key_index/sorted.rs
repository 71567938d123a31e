//! One file of an index: entries in ascending order, in blocks that each have a
//! checksum; then the directory of the blocks, then the trailer.

use std::io::{self, Write};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::Entry;
use crate::limits::LIMITS;
use crate::store::disk::{ReadFile, WriteFile, bytes_at};
use crate::store::threads;

const MAGIC: u64 = u64::from_le_bytes(*b"evtkeys2");
/// Bytes of an entry: hash and row group.
const ENTRY: usize = 10;
/// Bytes of a block's place in the directory: its first hash, its checksum.
const PLACE: usize = 16;
/// Bytes of a commit's id.
const ID: usize = 32;
/// Numbers of the trailer: magic, commit, size of main, entries, base's id, checksum and
/// row groups, checksum.
const NUMBERS: usize = 7 + ID / 8;
const TRAILER: usize = NUMBERS * 8;

/// What a file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Hash of its commit's id.
    pub(crate) commit: u64,
    /// Size of that commit's main.
    pub(crate) main: u64,
    /// The file that holds the entries of the first row groups.
    pub(crate) base: Option<Base>,
}

/// A file that another one builds on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Base {
    /// Its commit.
    pub(crate) id: String,
    /// Its checksum.
    pub(crate) checksum: u64,
    /// The row groups from here on are not its business any more.
    pub(crate) groups: usize,
}

/// An open file.
#[derive(Debug, Clone)]
pub(crate) struct Sorted {
    file: Arc<dyn ReadFile>,
    pub(crate) entries: usize,
    /// First hash and checksum of each block.
    places: Vec<(u64, u64)>,
    pub(crate) trailer: Trailer,
    pub(crate) checksum: u64,
}

pub(crate) fn damaged() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = u64> {
    bytes
        .chunks_exact(8)
        .map(|bytes| bytes.try_into().map_or(0, u64::from_le_bytes))
}

/// Whether a commit's id can stand in a trailer.
pub(crate) fn is_plain(id: &str) -> bool {
    (1..=ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl Sorted {
    pub(crate) fn open(file: Arc<dyn ReadFile>) -> io::Result<Self> {
        let length = file.stat()?.bytes;
        let end = length.checked_sub(TRAILER as u64).ok_or_else(damaged)?;
        let trailer = bytes_at(&*file, end, TRAILER)?;
        let mut numbers_of = numbers(&trailer);
        let mut next = || numbers_of.next().unwrap_or_default();
        let (magic, commit, main, entries) = (next(), next(), next(), next());
        let id: Vec<u8> = (0..ID / 8)
            .flat_map(|_| next().to_le_bytes())
            .filter(|byte| *byte != 0)
            .collect();
        let (base, groups, checksum) = (next(), next(), next());
        let entries = usize::try_from(entries).map_err(|_| damaged())?;
        let body = entries.checked_mul(ENTRY).ok_or_else(damaged)?;
        let directory = entries.div_ceil(LIMITS.index_block) * PLACE;
        let whole = body
            .checked_add(directory)
            .and_then(|bytes| bytes.checked_add(TRAILER));
        if magic != MAGIC || whole.map(|bytes| bytes as u64) != Some(length) {
            return Err(damaged());
        }
        let mut ending = bytes_at(&*file, body as u64, directory)?;
        ending.extend(trailer.get(..TRAILER - 8).unwrap_or_default());
        if xxh3_64(&ending) != checksum {
            return Err(damaged());
        }
        let all: Vec<u64> = numbers(ending.get(..directory).unwrap_or_default()).collect();
        let places = all
            .chunks_exact(2)
            .filter_map(|pair| Some((*pair.first()?, *pair.last()?)));
        let id = String::from_utf8(id).map_err(|_| damaged())?;
        let base = Base {
            id,
            checksum: base,
            groups: usize::try_from(groups).map_err(|_| damaged())?,
        };
        let trailer = Trailer {
            commit,
            main,
            base: is_plain(&base.id).then_some(base),
        };
        Ok(Self {
            file,
            entries,
            places: places.collect(),
            trailer,
            checksum,
        })
    }

    /// Number of blocks.
    pub(crate) fn blocks(&self) -> usize {
        self.places.len()
    }

    /// The entries of a block, ascending.
    pub(crate) fn block(&self, at: usize) -> io::Result<Vec<Entry>> {
        let content = self.content(at)?;
        let (hashes, groups) = content.split_at(content.len() / ENTRY * 8);
        let groups = groups
            .chunks_exact(2)
            .map(|bytes| bytes.try_into().map_or(0, u16::from_le_bytes));
        Ok(numbers(hashes).zip(groups).collect())
    }

    /// The bytes of a block: its hashes, then its row groups.
    fn content(&self, at: usize) -> io::Result<Vec<u8>> {
        let n = LIMITS
            .index_block
            .min(self.entries.saturating_sub(at * LIMITS.index_block));
        let content = bytes_at(
            &*self.file,
            (at * LIMITS.index_block * ENTRY) as u64,
            n * ENTRY,
        )?;
        let (_, checksum) = self.places.get(at).ok_or_else(damaged)?;
        if xxh3_64(&content) == *checksum {
            Ok(content)
        } else {
            Err(damaged())
        }
    }

    /// Whether every block is what it was.
    pub(crate) fn check(&self) -> io::Result<()> {
        (0..self.blocks()).try_for_each(|at| self.content(at).map(drop))
    }

    /// All entries, ascending.
    pub(crate) fn all(&self) -> io::Result<Vec<Entry>> {
        let mut all = Vec::with_capacity(self.entries);
        for block in 0..self.blocks() {
            all.extend(self.block(block)?);
        }
        Ok(all)
    }

    /// Which of these hashes (ascending) it has. Each block in which one would be is read
    /// once, by two threads where there are many.
    pub(crate) fn present(&self, wanted: &[u64]) -> io::Result<Vec<u64>> {
        halves(wanted, |wanted| self.present_of(wanted))
    }

    fn present_of(&self, mut wanted: &[u64]) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for (at, (first, _)) in self.places.iter().enumerate() {
            let next = self.places.get(at + 1).map(|(next, _)| *next);
            wanted = wanted
                .get(wanted.partition_point(|hash| hash < first)..)
                .unwrap_or_default();
            let end = next.map_or(wanted.len(), |next| {
                wanted.partition_point(|hash| *hash < next)
            });
            let (here, rest) = wanted.split_at(end);
            wanted = rest;
            if here.is_empty() {
                continue;
            }
            let block = self.block(at)?;
            let mut entries = block.iter().map(|(hash, _)| *hash).peekable();
            for hash in here {
                while entries.next_if(|entry| entry < hash).is_some() {}
                if entries.peek() == Some(hash) {
                    found.push(*hash);
                }
            }
        }
        Ok(found)
    }

    /// The entries of these hashes (ascending). Only the blocks in which they would be are read.
    pub(crate) fn find(&self, wanted: &[u64]) -> io::Result<Vec<Entry>> {
        halves(wanted, |wanted| self.find_of(wanted))
    }

    fn find_of(&self, wanted: &[u64]) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        let mut current: Option<(usize, Vec<Entry>)> = None;
        for &hash in wanted {
            let first = self
                .places
                .partition_point(|(first, _)| *first < hash)
                .saturating_sub(1);
            let last = self.places.partition_point(|(first, _)| *first <= hash);
            for at in first..last {
                let entries = match current.take() {
                    Some((block, entries)) if block == at => entries,
                    _ => self.block(at)?,
                };
                let from = entries.partition_point(|(other, _)| *other < hash);
                found.extend(
                    entries
                        .iter()
                        .skip(from)
                        .take_while(|(other, _)| *other == hash),
                );
                current = Some((at, entries));
            }
        }
        Ok(found)
    }
}

/// What is found of these hashes, by two threads where there are many.
fn halves<T: Send>(
    wanted: &[u64],
    find: impl Fn(&[u64]) -> io::Result<Vec<T>> + Sync,
) -> io::Result<Vec<T>> {
    const MANY: usize = 100_000;
    if wanted.len() < MANY {
        return find(wanted);
    }
    let (low, high) = wanted.split_at(wanted.len() / 2);
    std::thread::scope(|scope| {
        let helper = threads::helper(scope, || find(high));
        let mut found = find(low)?;
        found.extend(match helper {
            Some(helper) => helper.join().map_err(|_| damaged())??,
            None => find(high)?,
        });
        Ok(found)
    })
}

/// Writes entries in ascending order.
pub(crate) struct Output {
    file: io::BufWriter<Box<dyn WriteFile>>,
    /// The block that is being filled.
    hashes: Vec<u8>,
    groups: Vec<u8>,
    directory: Vec<u8>,
    entries: u64,
}

impl Output {
    pub(crate) fn new(file: Box<dyn WriteFile>) -> Self {
        let file = io::BufWriter::with_capacity(1 << 20, file);
        let (hashes, groups) = (
            Vec::with_capacity(LIMITS.index_block * ENTRY),
            Vec::with_capacity(LIMITS.index_block * 2),
        );
        Self {
            file,
            hashes,
            groups,
            directory: Vec::new(),
            entries: 0,
        }
    }

    pub(crate) fn push(&mut self, (hash, group): Entry) -> io::Result<()> {
        if self.hashes.is_empty() {
            self.directory.extend(hash.to_le_bytes());
        }
        self.hashes.extend(hash.to_le_bytes());
        self.groups.extend(group.to_le_bytes());
        self.entries += 1;
        if self.hashes.len() == LIMITS.index_block * 8 {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.hashes.is_empty() {
            return Ok(());
        }
        self.hashes.append(&mut self.groups);
        self.directory.extend(xxh3_64(&self.hashes).to_le_bytes());
        self.file.write_all(&self.hashes)?;
        self.hashes.clear();
        Ok(())
    }

    /// Nothing is synced: after a loss of power the checksums say.
    pub(crate) fn finish(mut self, trailer: &Trailer) -> io::Result<()> {
        self.flush()?;
        let mut ending = self.directory;
        for number in [MAGIC, trailer.commit, trailer.main, self.entries] {
            ending.extend(number.to_le_bytes());
        }
        let none = Base {
            id: String::new(),
            checksum: 0,
            groups: 0,
        };
        let base = trailer.base.as_ref().unwrap_or(&none);
        let mut id = base.id.clone().into_bytes();
        id.resize(ID, 0);
        ending.extend(id);
        for number in [base.checksum, base.groups as u64] {
            ending.extend(number.to_le_bytes());
        }
        let checksum = xxh3_64(&ending);
        ending.extend(checksum.to_le_bytes());
        self.file.write_all(&ending)?;
        self.file.flush()
    }
}
