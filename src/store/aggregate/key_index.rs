//! The index of main's test keys: next to main, carried on by each commit from the one
//! before, so that earlier attempts are found without reading main's keys.
//!
//! A key is 64 bits of a hash, with the number of its row group: a hit says where to
//! look, and the rows there decide. A large file, the base, holds the entries of the
//! row groups that the commits since only copied; a small one those of the others, and
//! it alone is written at each commit, until it has grown to a fifth of main.
//!
//! Promises: it is believed only when its length, the commit id, main's size and every
//! checksum on the way agree; otherwise main's keys are read instead. Losing it loses
//! nothing.

use std::collections::HashSet;
use std::io;

use xxhash_rust::xxh3::xxh3_64;

use self::sorted::{Base, Sorted, damaged};
use crate::store::Store;
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::layout;
use crate::store::parquet::ParquetFile;

mod make;
mod sorted;

pub(crate) use make::{Made, each_key, keys_in, make};

/// A hash and the row group that holds its record.
pub(crate) type Entry = (u64, u16);

/// The index of one main.
#[derive(Debug, Clone)]
pub(crate) struct TestKeys {
    /// The commit's id.
    id: String,
    own: Sorted,
    /// The file with the entries of the first row groups, and how many these are.
    base: Option<(Base, Sorted)>,
}

impl TestKeys {
    /// The index of a main that a commit made; `None` where there is none to believe.
    pub(crate) fn of(store: &Store, main: &ParquetFile, record: &CommitRecord) -> Option<Self> {
        // Keys of format 1 had no session.
        let known = record.identifies().then_some(&record.commit_id)?;
        let index = Self::open(store, known).ok()?;
        (index.own.trailer.main == main.stat().bytes).then_some(index)
    }

    /// 64 bits of each key that the main of a commit had, ascending and each once, whatever main is
    /// by now.
    pub(crate) fn shorts_of(store: &Store, id: &str) -> Option<Vec<u64>> {
        let entries = Self::open(store, id).ok()?.entries().ok()?;
        let mut shorts: Vec<u64> = entries.into_iter().map(|(short, _)| short).collect();
        shorts.dedup();
        Some(shorts)
    }

    fn open(store: &Store, id: &str) -> io::Result<Self> {
        let open = |id: &str| -> io::Result<Sorted> {
            let path = store.layout.root().join(layout::test_keys_name(id));
            let sorted = Sorted::open(store.disk.open(&path)?)?;
            let right = sorted.trailer.commit == xxh3_64(id.as_bytes());
            right.then_some(sorted).ok_or_else(damaged)
        };
        let own = open(id)?;
        let base = match &own.trailer.base {
            None => None,
            Some(base) => {
                let sorted = open(&base.id)?;
                let right = sorted.checksum == base.checksum && sorted.trailer.base.is_none();
                Some((base.clone(), right.then_some(sorted).ok_or_else(damaged)?))
            }
        };
        Ok(Self {
            id: id.to_owned(),
            own,
            base,
        })
    }

    /// All entries, ascending.
    pub(crate) fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = self.own.all()?;
        if let Some((base, sorted)) = &self.base {
            entries.extend(
                sorted
                    .all()?
                    .into_iter()
                    .filter(|(_, group)| usize::from(*group) < base.groups),
            );
            entries.sort_unstable();
        }
        Ok(entries)
    }

    /// Which of these hashes (ascending) may be in it: every one that is.
    pub(crate) fn present(&self, wanted: &[u64]) -> io::Result<Vec<u64>> {
        let mut found = self.own.present(wanted)?;
        if let Some((_, base)) = &self.base {
            found.extend(base.present(wanted)?);
        }
        Ok(found)
    }

    /// The entries of some keys (their hashes, ascending).
    pub(crate) fn find(&self, wanted: &[u64]) -> io::Result<Vec<Entry>> {
        let mut found = Vec::new();
        if let Some((base, keys)) = &self.base {
            found = keys.find(wanted)?;
            found.retain(|(_, group)| usize::from(*group) < base.groups);
        }
        found.extend(self.own.find(wanted)?);
        Ok(found)
    }

    /// The row groups that may hold some keys, ascending.
    pub(crate) fn groups(&self, wanted: &HashSet<u64>) -> io::Result<Vec<usize>> {
        let mut sorted: Vec<u64> = wanted.iter().copied().collect();
        sorted.sort_unstable();
        let found: HashSet<usize> = self
            .find(&sorted)?
            .into_iter()
            .map(|(_, group)| usize::from(group))
            .collect();
        let mut groups: Vec<usize> = found.into_iter().collect();
        groups.sort_unstable();
        Ok(groups)
    }
}

/// The names of the files that a commit's index consists of.
pub(crate) fn names_of(store: &Store, commit_id: &str) -> Vec<String> {
    let base = TestKeys::open(store, commit_id)
        .ok()
        .and_then(|index| index.base);
    let base = base.map(|(base, _)| layout::test_keys_name(&base.id));
    [layout::test_keys_name(commit_id)]
        .into_iter()
        .chain(base)
        .collect()
}

#[cfg(test)]
mod tests;
