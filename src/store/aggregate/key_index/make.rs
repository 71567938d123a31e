//! Making the index of a new main: what the old index says of the row groups that were
//! copied, and the keys of the others, read from the new main itself.

use std::cell::Cell;
use std::collections::HashSet;
use std::io;
use std::ops::RangeInclusive;

use arrow::datatypes::SchemaRef;
use jiff::tz::TimeZone;
use xxhash_rust::xxh3::xxh3_64;

use super::sorted::{Base, Output, Sorted, Trailer, is_plain};
use super::{Entry, TestKeys, names_of};
use crate::limits::LIMITS;
use crate::store::aggregate::{CellKeys, Columns, short};
use crate::store::disk::WriteFile;
use crate::store::error::{Error, Result};
use crate::store::format::commit_record::CommitRecord;
use crate::store::format::layout;
use crate::store::format::layout::MAIN;
use crate::store::format::row_kind::{Shape, shape};
use crate::store::format::schema::{Union, adapt, keyed, project};
use crate::store::parquet::ParquetFile;
use crate::store::resolve::{KEY_COLUMNS, KEYED};
use crate::store::{Control, Store, threads};

/// The small file holds at most this part of main's rows, and at most so many.
const SHARE: u64 = 5;
const MOST: u64 = 2_000_000;

/// Calls `take` with the row group, the position in the file and the key of each record
/// of some row groups that has one.
pub(crate) fn each_key(
    main: &ParquetFile,
    zone: &TimeZone,
    groups: &[usize],
    control: &Control,
    mut take: impl FnMut(usize, u64, u128),
) -> Result<()> {
    let Some(reading) = Reading::of(main, zone, control)? else {
        return Ok(());
    };
    let mut cells = CellKeys::default();
    groups
        .iter()
        .try_for_each(|group| reading.group(*group, &mut cells, &mut take))
}

/// What `pick` makes of these, in the order of the row groups; all cores read.
pub(crate) fn keys_in<T: Send>(
    main: &ParquetFile,
    zone: &TimeZone,
    groups: &[usize],
    control: &Control,
    pick: impl Fn(usize, u64, u128) -> Option<T> + Sync,
) -> Result<Vec<T>> {
    let Some(reading) = Reading::of(main, zone, control)? else {
        return Ok(Vec::new());
    };
    let rows = groups.iter().map(|group| reading.rows(*group)).sum();
    let found = threads::each(threads::for_rows(rows), groups.to_vec(), |group| {
        let mut picked = Vec::new();
        let take = |group: usize, at, key| picked.extend(pick(group, at, key));
        reading
            .group(group, &mut CellKeys::default(), take)
            .map(|()| picked)
    });
    found.into_iter().try_fold(Vec::new(), |mut all, found| {
        all.append(&mut found?);
        Ok(all)
    })
}

/// How main's keys are read.
struct Reading<'a> {
    main: &'a ParquetFile,
    /// The same, its texts as dictionaries.
    keyed: ParquetFile,
    target: SchemaRef,
    starts: Vec<u64>,
    zone: &'a TimeZone,
    control: &'a Control,
}

impl<'a> Reading<'a> {
    /// `None` where no record has a key.
    fn of(main: &'a ParquetFile, zone: &'a TimeZone, control: &'a Control) -> Result<Option<Self>> {
        if shape(main.schema()) == Shape::Counts || !main.has_column("test_id") {
            return Ok(None);
        }
        let mut union = Union::new();
        union.add(MAIN, main.schema())?;
        let target = keyed(&project(&union.finish(), &KEY_COLUMNS));
        let mut starts = vec![0];
        for group in main.metadata().row_groups() {
            let rows = u64::try_from(group.num_rows()).unwrap_or_default();
            starts.push(starts.last().copied().unwrap_or_default() + rows);
        }
        let keyed = main.with_dictionaries(&KEYED);
        Ok(Some(Self {
            main,
            keyed,
            target,
            starts,
            zone,
            control,
        }))
    }

    fn start(&self, group: usize) -> u64 {
        self.starts.get(group).copied().unwrap_or_default()
    }

    fn rows(&self, group: usize) -> u64 {
        self.start(group + 1).saturating_sub(self.start(group))
    }

    fn group(
        &self,
        group: usize,
        cells: &mut CellKeys,
        mut take: impl FnMut(usize, u64, u128),
    ) -> Result<()> {
        let mut at = self.start(group);
        self.control
            .progress("looking for earlier attempts", at, self.main.rows());
        for batch in self.keyed.row_groups(Some(&KEY_COLUMNS), vec![group])? {
            self.control.check()?;
            let batch = batch?;
            let columns = Columns::new(&adapt(&batch, &self.target, self.zone)?)?;
            for (row, key) in cells.keys(&columns, batch.num_rows()).enumerate() {
                if let Some(key) = key {
                    take(group, at + row as u64, key);
                }
            }
            at += batch.num_rows() as u64;
        }
        Ok(())
    }
}

/// What a commit made of main, as far as its index has to know.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// The row groups that were taken over: their numbers now, and before.
    pub(crate) copied: Vec<(usize, usize)>,
    /// The entries of all others; `None` where these are to be read.
    pub(crate) entries: Option<Vec<Entry>>,
}

/// Makes the index of main as `record`'s commit left it, and removes earlier ones.
pub(crate) fn make(
    store: &Store,
    record: &CommitRecord,
    zone: &TimeZone,
    old: Option<&TestKeys>,
    mut made: Made,
) -> Result<()> {
    let main = ParquetFile::open(&*store.disk, &store.layout.main());
    let main = main.map_err(|error| error.at(store.layout.main()))?;
    let root = store.layout.root();
    let name = layout::test_keys_name(&record.commit_id);
    let path = root.join(&name);
    let temporary = root.join(format!("{name}.tmp"));
    if u16::try_from(main.metadata().num_row_groups()).is_ok() {
        let file = store
            .disk
            .create(&temporary)
            .map_err(Error::io("create", &temporary))?;
        if let Some(entries) = &mut made.entries {
            threads::sort(threads::for_rows(entries.len() as u64), entries, |entry| {
                *entry
            });
        }
        let making = Making {
            main: &main,
            record,
            zone,
            made,
        };
        let written = making.write(old, file).and_then(|()| {
            store
                .disk
                .replace(&temporary, &path)
                .map_err(Error::io("replace", &path))
        });
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
    store
        .disk
        .remove(root, &stale)
        .map_err(Error::io("clean up", root))
}

/// The names of files that are no part of a commit's index.
fn stale(store: &Store, current: &str) -> Result<Vec<String>> {
    let root = store.layout.root();
    let entries = store.disk.list(root).map_err(Error::io("read", root))?;
    let names = entries.into_iter().map(|entry| entry.name);
    let used = names_of(store, current);
    Ok(names
        .filter(|name| layout::test_keys_of(name).is_some() && !used.contains(name))
        .collect())
}

/// What an index is made of.
struct Making<'a> {
    main: &'a ParquetFile,
    record: &'a CommitRecord,
    zone: &'a TimeZone,
    made: Made,
}

impl Making<'_> {
    fn write(&self, old: Option<&TestKeys>, file: Box<dyn WriteFile>) -> Result<()> {
        let name = layout::test_keys_name(&self.record.commit_id);
        let failed = |error| Error::io("write", &name)(error);
        let mut output = Output::new(file);
        let base = match old.and_then(|old| Some((old, self.base(old)?))) {
            Some((old, base)) => self.little(old, base, &mut output).map_err(failed)?,
            None => None,
        };
        if base.is_none() {
            self.all(old, &mut output, failed)?;
        }
        let commit = xxh3_64(self.record.commit_id.as_bytes());
        output
            .finish(&Trailer {
                commit,
                main: self.main.stat().bytes,
                base,
            })
            .map_err(failed)
    }

    /// Rows of the row groups from a number on.
    fn rows_from(&self, group: usize) -> u64 {
        let groups = self.main.metadata().row_groups().iter().skip(group);
        groups
            .map(|group| u64::try_from(group.num_rows()).unwrap_or_default())
            .sum()
    }

    /// The large file of the old index, where it goes on to be one: the row groups before
    /// the first that is not what it was have kept their numbers, few rows come after
    /// these, and none of them has its entry in that file only.
    fn base(&self, old: &TestKeys) -> Option<Base> {
        let same = self
            .made
            .copied
            .iter()
            .enumerate()
            .take_while(|(at, copied)| **copied == (*at, *at))
            .count();
        let (base, until) = if let Some((base, _)) = &old.base {
            (
                Base {
                    groups: base.groups.min(same),
                    ..base.clone()
                },
                base.groups,
            )
        } else {
            (
                Base {
                    id: old.id.clone(),
                    checksum: old.own.checksum,
                    groups: same,
                },
                usize::MAX,
            )
        };
        let moved = self
            .made
            .copied
            .iter()
            .any(|(_, before)| (base.groups..until).contains(before));
        let few = self.rows_from(base.groups) <= (self.main.rows() / SHARE).min(MOST);
        (few && !moved && is_plain(&base.id)).then_some(base)
    }

    /// The entries of the row groups that the base does not know; `None` when the old
    /// ones can't be read.
    fn little(&self, old: &TestKeys, base: Base, output: &mut Output) -> io::Result<Option<Base>> {
        let taken = match &old.base {
            Some(_) => old.own.all(),
            None => Ok(Vec::new()),
        };
        let Ok(taken) = taken else { return Ok(None) };
        let now = self.numbers();
        let mut entries: Vec<Entry> = taken
            .into_iter()
            .filter_map(|entry| now.of(entry))
            .collect();
        let stale: Vec<usize> = self.stale().into_iter().map(|(group, _)| group).collect();
        let Ok(found) = self.entries_of(&stale, 0..=u64::MAX) else {
            return Ok(None);
        };
        entries.extend(found);
        entries.sort_unstable();
        entries
            .into_iter()
            .try_for_each(|entry| output.push(entry))?;
        Ok(Some(base))
    }

    /// The entries of row groups that were encoded again, or of all; those of some hashes.
    fn entries_of(&self, groups: &[usize], range: RangeInclusive<u64>) -> Result<Vec<Entry>> {
        if let Some(entries) = self
            .made
            .entries
            .as_ref()
            .filter(|_| groups.len() == self.stale().len())
        {
            let from = entries.partition_point(|(hash, _)| hash < range.start());
            let to = entries.partition_point(|(hash, _)| hash <= range.end());
            return Ok(entries.get(from..to).unwrap_or_default().to_vec());
        }
        keys_in(
            self.main,
            self.zone,
            groups,
            &Control::default(),
            |group, _, key| {
                Some((short(key), group as u16)).filter(|(hash, _)| range.contains(hash))
            },
        )
    }

    /// The numbers that the row groups which were copied have now.
    fn numbers(&self) -> Numbers {
        let mut now = Numbers::default();
        for (number, before) in &self.made.copied {
            now.0.resize(now.0.len().max(before + 1), None);
            if let Some(place) = now.0.get_mut(*before) {
                *place = u16::try_from(*number).ok();
            }
        }
        now
    }

    /// The row groups that were not copied, with their rows.
    fn stale(&self) -> Vec<(usize, u64)> {
        self.but(&self.made.copied.iter().map(|(now, _)| *now).collect())
    }

    /// All row groups but some, with their rows.
    fn but(&self, some: &HashSet<usize>) -> Vec<(usize, u64)> {
        let groups = self.main.metadata().row_groups().iter().enumerate();
        let others = groups.filter(|(now, _)| !some.contains(now));
        others
            .map(|(now, group)| (now, u64::try_from(group.num_rows()).unwrap_or_default()))
            .collect()
    }

    /// All entries: a new base.
    fn all(
        &self,
        old: Option<&TestKeys>,
        output: &mut Output,
        failed: impl Fn(io::Error) -> Error,
    ) -> Result<()> {
        let lost = Cell::new(false);
        let known = old.and_then(|old| Known::of(old, self.numbers(), &lost));
        let (small, large, stale) = match known {
            Some(known) => (known.small, Some(known.large), self.stale()),
            None => (Vec::new(), None, self.but(&HashSet::new())),
        };
        let (mut small, mut before) = (small, large.into_iter().flatten().peekable());
        let groups: Vec<usize> = stale.iter().map(|(group, _)| *group).collect();
        let passes = stale
            .iter()
            .map(|(_, rows)| rows)
            .sum::<u64>()
            .div_ceil(LIMITS.sorted_keys)
            .max(1);
        for pass in 0..passes {
            let range = part(pass, passes);
            let mut found: Vec<Entry> = small
                .extract_if(.., |(hash, _)| range.contains(hash))
                .collect();
            found.extend(self.entries_of(&groups, range.clone())?);
            found.sort_unstable();
            for entry in found {
                while let Some(earlier) = before.next_if(|old| *old <= entry) {
                    output.push(earlier).map_err(&failed)?;
                }
                output.push(entry).map_err(&failed)?;
            }
        }
        before
            .try_for_each(|entry| output.push(entry))
            .map_err(&failed)?;
        if lost.get() {
            Err(failed(io::Error::other(
                "a part of the old one can't be read again",
            )))
        } else {
            Ok(())
        }
    }
}

/// The hashes of one pass.
fn part(pass: u64, passes: u64) -> RangeInclusive<u64> {
    let width = u64::MAX / passes;
    let end = if pass + 1 == passes {
        u64::MAX
    } else {
        (pass + 1) * width - 1
    };
    pass * width..=end
}

/// The entries of an old index as they are now: those of the large file one after the other,
/// the others at once.
struct Known<'a> {
    large: Blocks<'a>,
    small: Vec<Entry>,
}

impl<'a> Known<'a> {
    /// `None` when a part is damaged: then it says nothing.
    fn of(old: &'a TestKeys, now: Numbers, lost: &'a Cell<bool>) -> Option<Self> {
        let (keys, until, small) = match &old.base {
            Some((base, keys)) => (keys, base.groups, old.own.all().ok()?),
            None => (&old.own, usize::MAX, Vec::new()),
        };
        keys.check().ok()?;
        let small = small
            .into_iter()
            .filter_map(|entry| now.of(entry))
            .collect();
        let entries = Vec::new().into_iter();
        Some(Self {
            large: Blocks {
                keys,
                until,
                now,
                block: 0,
                entries,
                lost,
            },
            small,
        })
    }
}

/// The entries of a file that belong to the row groups before a number.
struct Blocks<'a> {
    keys: &'a Sorted,
    until: usize,
    now: Numbers,
    block: usize,
    entries: std::vec::IntoIter<Entry>,
    /// Whether a block could not be read any more.
    lost: &'a Cell<bool>,
}

impl Iterator for Blocks<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        loop {
            for entry in self.entries.by_ref() {
                let now = self
                    .now
                    .of(entry)
                    .filter(|_| usize::from(entry.1) < self.until);
                if now.is_some() {
                    return now;
                }
            }
            if self.block >= self.keys.blocks() {
                return None;
            }
            let Ok(entries) = self.keys.block(self.block) else {
                self.lost.set(true);
                return None;
            };
            self.entries = entries.into_iter();
            self.block += 1;
        }
    }
}

/// The numbers that row groups have now, by those before.
#[derive(Default)]
struct Numbers(Vec<Option<u16>>);

impl Numbers {
    /// An entry as it is now; `None` where its row group was not copied.
    fn of(&self, (hash, group): Entry) -> Option<Entry> {
        self.0
            .get(usize::from(group))
            .copied()
            .flatten()
            .map(|now| (hash, now))
    }
}
