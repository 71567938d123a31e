//! Increments read into digests, many of them into one: thousands of files that each hold
//! a little of everything would take more memory one by one than their rows do.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::files::Increment;
use crate::store::digest::{Columns, Digest, Keep, Place, Reading};
use crate::store::error::{Error, Result};
use crate::store::kind::{Shape, shape};
use crate::store::schema::{TIMESTAMP_TEXT, project};
use crate::store::{Control, Store};

/// Threads that read at once; the run on this machine wants cores too.
const MOST_READERS: usize = 4;
/// Rows that are digested together: what has to be read again when one file of them goes.
const ROWS: u64 = 131_072;
/// Digests kept; beyond it the smallest become one.
const MOST: usize = 16;

/// What reading one file told beside its digest.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) source: u32,
    pub(super) rows: u64,
    /// The oldest row, microseconds since the epoch.
    pub(super) oldest: Option<i64>,
}

/// Files that were digested together.
#[derive(Debug)]
pub(super) struct Part<'a> {
    pub(super) files: Vec<(&'a Increment, Read)>,
    pub(super) sources: HashSet<u32>,
    pub(super) places: Vec<Place>,
    pub(super) digest: Digest,
}

/// Digests of many files, each with the numbers of its files.
#[derive(Debug, Default)]
pub(super) struct Pools {
    pools: Vec<(HashSet<u32>, Digest)>,
    /// Goes up with each change.
    pub(super) version: u64,
}

impl Pools {
    /// Takes in a digest of files.
    pub(super) fn add(&mut self, sources: HashSet<u32>, digest: Digest) {
        self.version += 1;
        self.pools.push((sources, digest));
        if self.pools.len() > MOST {
            self.pools.sort_by_key(|(sources, _)| std::cmp::Reverse(sources.len()));
            if let Some((from, digest)) = self.pools.pop()
                && let Some((sources, sum)) = self.pools.last_mut()
            {
                sources.extend(from);
                sum.merge(&digest);
            }
        }
    }

    /// Forgets digests with one of these files in it, and adds the others of them.
    pub(super) fn dissolve(&mut self, gone: &mut HashSet<u32>) {
        let concerned = |sources: &HashSet<u32>| gone.iter().any(|source| sources.contains(source));
        let (dissolved, kept) = std::mem::take(&mut self.pools).into_iter().partition(|(s, _)| concerned(s));
        self.pools = kept;
        let dissolved: Vec<(HashSet<u32>, Digest)> = dissolved;
        if !dissolved.is_empty() {
            self.version += 1;
        }
        gone.extend(dissolved.into_iter().flat_map(|(sources, _)| sources));
    }

    /// Without digests, and another version.
    pub(super) fn emptied(self) -> Self {
        Self { pools: Vec::new(), version: self.version + 1 }
    }

    /// The digests.
    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.pools.iter().map(|(_, digest)| digest)
    }
}

/// Reads files on all cores, numbered from `first` on; those that can't be read are left out.
pub(super) fn read_many<'a>(
    store: &Store,
    increments: &[&'a Increment],
    first: u32,
    zone: &TimeZone,
    now: Timestamp,
    control: &Control,
) -> Vec<Part<'a>> {
    let numbered: Vec<(u32, &Increment)> = (first..).zip(increments.iter().copied()).collect();
    let mut jobs: Vec<Vec<(u32, &Increment)>> = Vec::new();
    let mut rows = ROWS;
    for (number, increment) in numbered {
        if rows >= ROWS {
            jobs.push(Vec::new());
            rows = 0;
        }
        rows += increment.rows;
        jobs.last_mut().into_iter().for_each(|job| job.push((number, increment)));
    }
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let parts = Mutex::new(Vec::with_capacity(jobs.len()));
    let work = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            let told = || {
                let read = done.fetch_add(1, Ordering::Relaxed) as u64;
                control.progress("reading increments", read, increments.len() as u64);
            };
            let part = read_part(store, job.clone(), zone, now, control, told);
            parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_READERS);
    std::thread::scope(|scope| {
        for _ in 1..cores.min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    parts.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn read_part<'a>(
    store: &Store,
    mut job: Vec<(u32, &'a Increment)>,
    zone: &TimeZone,
    now: Timestamp,
    control: &Control,
    told: impl Fn(),
) -> Part<'a> {
    'again: loop {
        let mut part = Part {
            files: Vec::new(),
            sources: HashSet::new(),
            places: Vec::new(),
            digest: Digest::default(),
        };
        for (at, (number, increment)) in job.iter().enumerate() {
            let Ok(read) = read(store, increment, *number, zone, now, control, &mut part.digest) else {
                // Some of its rows may be in the digest.
                job.remove(at);
                continue 'again;
            };
            part.files.push((increment, read));
            told();
        }
        part.places = std::mem::take(&mut part.digest.places);
        part.places.sort_unstable();
        part.sources = job.iter().map(|(number, _)| *number).collect();
        return part;
    }
}

/// Adds the rows of an increment to a digest. After an error some of them may be in it.
pub(super) fn read(
    store: &Store,
    increment: &Increment,
    source: u32,
    zone: &TimeZone,
    now: Timestamp,
    control: &Control,
    digest: &mut Digest,
) -> Result<Read> {
    let file = increment.open(store)?;
    let mut reading = Reading::of(&increment.name, file.schema(), zone, now)?;
    reading.keep = Keep::Places(source);
    let names = [&Columns::NAMES[..], &[TIMESTAMP_TEXT]].concat();
    // The hash of a whole row is only needed where there are several attempts.
    let columns = (shape(file.schema()) == Shape::Records).then_some(names.as_slice());
    if let Some(columns) = columns {
        reading.target = project(&reading.target, columns);
    }
    let (before, oldest) = (digest.rows(), digest.activity.oldest.take());
    digest.position = increment.skip;
    for batch in file.batches(columns, increment.skip)? {
        control.check()?;
        digest.push(&batch?, &reading)?;
    }
    if digest.position != increment.rows {
        return Err(Error::unreadable(increment.path(store), "it holds fewer rows than its footer says"));
    }
    // Pages of a newer version may have been read by an older footer.
    file.check_unchanged()?;
    let read = Read { source, rows: digest.rows() - before, oldest: digest.activity.oldest };
    digest.activity.oldest = [oldest, read.oldest].into_iter().flatten().min();
    Ok(read)
}
