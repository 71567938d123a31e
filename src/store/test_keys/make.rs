//! Making the index of a new main: what the old index says of the row groups that were
//! copied, and the keys of the others, read from the new main itself.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::RangeInclusive;

use jiff::tz::TimeZone;
use xxhash_rust::xxh3::xxh3_64;

use super::{BLOCK, Entry, MAGIC, TestKeys};
use crate::store::commit::CommitRecord;
use crate::store::digest::{Columns, short};
use crate::store::disk::WriteFile;
use crate::store::error::{Error, Result};
use crate::store::kind::{Shape, shape};
use crate::store::layout::{self, MAIN};
use crate::store::parquet_file::ParquetFile;
use crate::store::schema::{DIMENSIONS, Union, adapt, project};
use crate::store::{Control, Store};

/// Keys that are sorted at once; beyond it main is read once for each so many.
const AT_ONCE: u64 = if cfg!(test) { 50 } else { 8_000_000 };

/// Calls `take` with the row group, the position in the file and the key of each record
/// of some row groups that has one.
pub(in crate::store) fn each_key(
    main: &ParquetFile,
    zone: &TimeZone,
    groups: &[usize],
    control: &Control,
    mut take: impl FnMut(usize, u64, u128),
) -> Result<()> {
    if shape(main.schema()) == Shape::Counts || !main.has_column("test_id") {
        return Ok(());
    }
    let names = [&DIMENSIONS[..], &["test_id"]].concat();
    let mut union = Union::new();
    union.add(MAIN, main.schema())?;
    let target = project(&union.finish(), &names);
    let rows = |group: usize| {
        let group = main.metadata().row_groups().get(group);
        group.and_then(|group| u64::try_from(group.num_rows()).ok()).unwrap_or_default()
    };
    let mut starts = vec![0];
    for group in 0..main.metadata().num_row_groups() {
        starts.push(starts.last().copied().unwrap_or_default() + rows(group));
    }
    for &group in groups {
        let mut at = starts.get(group).copied().unwrap_or_default();
        control.progress("looking for earlier attempts", at, main.rows());
        for batch in main.row_groups(Some(&names), vec![group])? {
            control.check()?;
            let batch = batch?;
            let columns = Columns::new(&adapt(&batch, &target, zone)?)?;
            for row in 0..batch.num_rows() {
                if let Some(key) = columns.key(row) {
                    take(group, at + row as u64, key);
                }
            }
            at += batch.num_rows() as u64;
        }
    }
    Ok(())
}

/// Makes the index of main as `record`'s commit left it, and removes earlier ones.
/// `copied` has the row groups that were taken over: their numbers now, and before.
pub(in crate::store) fn make(
    store: &Store,
    record: &CommitRecord,
    zone: &TimeZone,
    old: Option<&TestKeys>,
    copied: &[(usize, usize)],
) -> Result<()> {
    let main = ParquetFile::open(&*store.disk, &store.layout.main());
    let main = main.map_err(|error| error.at(store.layout.main()))?;
    let root = store.layout.root();
    let name = layout::test_keys_name(&record.commit_id);
    let path = root.join(&name);
    let temporary = root.join(format!("{name}.tmp"));
    if u16::try_from(main.metadata().num_row_groups()).is_ok() {
        let file = store.disk.create(&temporary).map_err(Error::io("create", &temporary))?;
        let written = write(&main, record, zone, old, copied, file)
            .and_then(|()| store.disk.replace(&temporary, &path).map_err(Error::io("replace", &path)));
        if let Err(error) = written {
            let _ = store.disk.remove(root, &[&format!("{name}.tmp")]);
            return Err(error);
        }
    }
    let stale = stale(store, &record.commit_id)?;
    if stale.is_empty() {
        return Ok(());
    }
    let stale: Vec<&str> = stale.iter().map(String::as_str).collect();
    store.disk.remove(root, &stale).map_err(Error::io("clean up", root))
}

/// The names of indexes of other commits.
fn stale(store: &Store, current: &str) -> Result<Vec<String>> {
    let root = store.layout.root();
    let entries = store.disk.list(root).map_err(Error::io("read", root))?;
    let names = entries.into_iter().map(|entry| entry.name);
    Ok(names.filter(|name| layout::test_keys_of(name).is_some_and(|of| of != current)).collect())
}

fn write(
    main: &ParquetFile,
    record: &CommitRecord,
    zone: &TimeZone,
    old: Option<&TestKeys>,
    copied: &[(usize, usize)],
    file: Box<dyn WriteFile>,
) -> Result<()> {
    // A damaged old index tells nothing.
    let old = old.filter(|old| (0..old.blocks()).all(|block| old.block(block).is_ok()));
    let taken: BTreeMap<usize, usize> = match old {
        Some(_) => copied.iter().map(|(now, before)| (*before, *now)).collect(),
        None => BTreeMap::new(),
    };
    let groups = main.metadata().row_groups().iter().enumerate();
    let anew = groups.filter(|(now, _)| !taken.values().any(|taken| taken == now));
    let (anew, rows): (Vec<usize>, Vec<u64>) =
        anew.map(|(now, group)| (now, u64::try_from(group.num_rows()).unwrap_or_default())).unzip();
    let passes = rows.iter().sum::<u64>().div_ceil(AT_ONCE).max(1);
    let mut output = Output::new(file);
    let failed = |error| Error::io("write", layout::test_keys_name(&record.commit_id))(error);
    let mut before =
        old.map(|old| Taken { old, block: 0, entries: Vec::new().into_iter(), now: &taken }.peekable());
    for pass in 0..passes {
        let range = part(pass, passes);
        let mut found: Vec<Entry> = Vec::new();
        each_key(main, zone, &anew, &Control::default(), |group, _, key| {
            if range.contains(&short(key)) {
                found.push((short(key), group as u16));
            }
        })?;
        found.sort_unstable();
        for entry in found {
            while let Some(earlier) = before.as_mut().and_then(|before| before.next_if(|old| *old <= entry)) {
                output.push(earlier).map_err(failed)?;
            }
            output.push(entry).map_err(failed)?;
        }
    }
    for entry in before.into_iter().flatten() {
        output.push(entry).map_err(failed)?;
    }
    output.finish(main.stat().bytes, &record.commit_id).map_err(failed)
}

/// The hashes of one pass.
fn part(pass: u64, passes: u64) -> RangeInclusive<u64> {
    let width = u64::MAX / passes;
    let end = if pass + 1 == passes { u64::MAX } else { (pass + 1) * width - 1 };
    pass * width..=end
}

/// The entries of an old index whose row groups were taken over, with their new numbers.
struct Taken<'a> {
    old: &'a TestKeys,
    block: usize,
    entries: std::vec::IntoIter<Entry>,
    now: &'a BTreeMap<usize, usize>,
}

impl Iterator for Taken<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            for (hash, group) in self.entries.by_ref() {
                if let Some(now) = self.now.get(&usize::from(group)) {
                    return Some((hash, *now as u16));
                }
            }
            if self.block >= self.old.blocks() {
                return None;
            }
            self.entries = self.old.block(self.block).unwrap_or_default().into_iter();
            self.block += 1;
        }
    }
}

/// Writes entries in ascending order.
struct Output {
    file: io::BufWriter<Box<dyn WriteFile>>,
    block: Vec<Entry>,
    directory: Vec<u8>,
    entries: u64,
}

impl Output {
    fn new(file: Box<dyn WriteFile>) -> Self {
        let file = io::BufWriter::with_capacity(1 << 20, file);
        Self { file, block: Vec::with_capacity(BLOCK), directory: Vec::new(), entries: 0 }
    }

    fn push(&mut self, entry: Entry) -> io::Result<()> {
        self.block.push(entry);
        self.entries += 1;
        if self.block.len() == BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some((first, _)) = self.block.first() else { return Ok(()) };
        let mut bytes: Vec<u8> = self.block.iter().flat_map(|(hash, _)| hash.to_le_bytes()).collect();
        bytes.extend(self.block.iter().flat_map(|(_, group)| group.to_le_bytes()));
        self.directory.extend(first.to_le_bytes());
        self.directory.extend(xxh3_64(&bytes).to_le_bytes());
        self.block.clear();
        self.file.write_all(&bytes)
    }

    /// Nothing is synced: after a loss of power the checksums tell.
    fn finish(mut self, main: u64, commit: &str) -> io::Result<()> {
        self.flush()?;
        let mut ending = self.directory;
        for number in [MAGIC, xxh3_64(commit.as_bytes()), main, self.entries] {
            ending.extend(number.to_le_bytes());
        }
        let checksum = xxh3_64(&ending);
        ending.extend(checksum.to_le_bytes());
        self.file.write_all(&ending)?;
        self.file.flush()
    }
}
