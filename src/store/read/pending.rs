//! What waits, digested: each increment is read once for as long as it stays what it is,
//! each journal from where the last reading ended. Of single rows only their keys are
//! kept ([`Keys`]), and whole rows where several may be attempts at one test.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::footer_cache::Footers;
use super::hits::{Hit, Hits};
use super::listing::{Files, Increment, JournalFile, Listing};
use super::pending_keys::Keys;
use super::pool::Pools;
use super::scan_context::{Look, Part, Plan, Read, Unread, read, read_all};
use super::stat::{is_settled, same};
use crate::stats::collections::{ByName, Names};
use crate::store::aggregate::{Digest, Keep, Naive, Reading};
use crate::store::disk::Stat;
use crate::store::error::{Error, Result};
use crate::store::format::layout::folder_of;
use crate::store::format::record::Extras;
use crate::store::identity::Namer;
use crate::store::write::journal;
use crate::store::{Control, Store};

/// So many digests of single files are merged into one.
const SINGLES: usize = 32;

/// What one reading found.
#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Its rows.
    Rows(Counted),
    /// Its pages can't be read; why.
    Unreadable(String),
    /// Its columns conflict; the whole sentence.
    Conflict(String),
}

/// Rows that count.
#[derive(Debug, Clone)]
pub(crate) struct Counted {
    /// The number under which [`Keys`] knows the file.
    pub(crate) source: u32,
    /// Rows, a summary row counting as one.
    pub(crate) rows: u64,
    /// Records.
    pub(crate) records: u64,
    /// The oldest row, microseconds since the epoch.
    pub(crate) oldest: Option<i64>,
    /// Rows whose time names no zone.
    pub(crate) naive: Naive,
    /// What they are; `None`: in the digest of many files.
    pub(crate) digest: Option<Arc<Digest>>,
}

/// Increments and journals as far as they were read.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    namer: Option<Namer>,
    next: u32,
    increments: ByName<String, Known>,
    journals: ByName<String, Tail>,
    /// The keys of all rows that count.
    pub(crate) keys: Keys,
    /// Digests of many files.
    pub(crate) pools: Pools,
    /// The numbers of the files that were forgotten since somebody asked.
    pub(crate) gone: HashSet<u32>,
    /// The rows of each source that may be attempts at a test that other rows are about.
    hits: HashMap<u32, Vec<Hit>>,
}

#[derive(Debug)]
struct Known {
    stat: Stat,
    settled: bool,
    skip: u64,
    content: Content,
}

/// A journal as far as it was read.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    /// The number under which [`Keys`] knows it.
    pub(crate) source: u32,
    inode: u64,
    /// Where the rows begin that count here.
    from: u64,
    offset: u64,
    /// Where each record begins.
    starts: Vec<u64>,
    extras: Extras,
    /// Its rows so far.
    pub(crate) digest: Arc<Digest>,
    /// Lines that are not records.
    pub(crate) malformed: u64,
}

impl Tail {
    /// Its columns.
    pub(crate) fn schema(&self) -> SchemaRef {
        self.extras.schema()
    }
}

impl Waiting {
    /// Forgets everything when ids and naive times mean something else now; says whether they do.
    pub(crate) fn named_by(&mut self, namer: &Namer) -> bool {
        let another = self.namer.as_ref() != Some(namer);
        if another {
            let pools = std::mem::take(&mut self.pools).emptied();
            *self = Self {
                namer: Some(namer.clone()),
                pools,
                ..Self::default()
            };
        }
        another
    }

    /// Reads files that nobody has looked into yet: their footers and, where they hold records,
    /// their rows. What fails is tried again by [`Waiting::increment`], which says why.
    pub(crate) fn read_new(&mut self, look: Look<'_>, listing: &Listing, footers: &mut Footers) {
        let entries = listing.unread(footers);
        let files: Vec<Unread<'_>> = entries
            .iter()
            .map(|entry| Unread {
                name: &entry.name,
                stat: &entry.stat,
                skip: 0,
            })
            .collect();
        // A scan that failed half-way may have left their rows here, and forgotten the files.
        self.forget(files.iter().map(|file| file.name));
        for mut part in self.read_unread(look, &files) {
            for (at, footer) in std::mem::take(&mut part.footers) {
                entries
                    .get(at)
                    .into_iter()
                    .for_each(|entry| footers.learn(entry, footer.clone()));
            }
            self.take(part, &files, |_| true);
        }
    }

    fn read_unread(&mut self, look: Look<'_>, files: &[Unread<'_>]) -> Vec<Part> {
        let first = self.next + 1;
        self.next += files.len() as u32;
        read_all(look, files, first)
    }

    /// Takes in what was read; `settled` says which files won't change.
    fn take(&mut self, part: Part, files: &[Unread<'_>], settled: impl Fn(&Unread<'_>) -> bool) {
        let sources = part.sources();
        let Part {
            files: found,
            places,
            digest,
            together,
            ..
        } = part;
        let digest = Arc::new(digest);
        for (
            at,
            Read {
                source,
                rows,
                oldest,
                naive,
            },
        ) in found
        {
            let Some(file) = files.get(at) else { continue };
            let own = (!together).then(|| Arc::clone(&digest));
            let counted = Counted {
                source,
                rows,
                records: rows,
                oldest,
                naive,
                digest: own,
            };
            self.keep(file, settled(file), Content::Rows(counted));
        }
        self.keys.add(places);
        if together {
            self.pools.add(sources, Arc::unwrap_or_clone(digest));
        }
    }

    /// Forgets what is gone or changed.
    pub(crate) fn begin(&mut self, files: &Files) {
        let stay = files
            .increments
            .iter()
            .filter(|file| self.known(file).is_some_and(|known| known.settled));
        let gone = if stay.count() == self.increments.len() {
            Vec::new()
        } else {
            self.gone(files)
        };
        let journals: ByName<&str, &JournalFile> = files
            .journals
            .iter()
            .map(|file| (file.name.as_str(), file))
            .collect();
        let stays = |name: &str, tail: &Tail| {
            journals.get(name).is_some_and(|file| {
                (file.stat.inode, file.from) == (tail.inode, tail.from)
                    && tail.offset <= file.stat.bytes
            })
        };
        let cut: Vec<String> = self
            .journals
            .iter()
            .filter(|(name, tail)| !stays(name, tail))
            .map(|(n, _)| n.clone())
            .collect();
        self.forget(gone.iter().chain(&cut).map(String::as_str));
    }

    /// The names of increments that are gone, changed or not settled.
    fn gone(&self, files: &Files) -> Vec<String> {
        let there: ByName<&str, &Increment> = files
            .increments
            .iter()
            .map(|file| (file.name.as_str(), file))
            .collect();
        let stays = |name: &str, known: &Known| {
            known.settled && there.get(name).is_some_and(|file| known.is_of(file))
        };
        let known = self
            .increments
            .iter()
            .filter(|(name, known)| !stays(name, known));
        known.map(|(name, _)| name.clone()).collect()
    }

    /// Forgets files, and those that were digested together with them.
    pub(crate) fn forget<'a>(&mut self, names: impl Iterator<Item = &'a str>) {
        let mut gone = HashSet::new();
        for name in names {
            gone.extend(self.journals.remove(name).map(|tail| tail.source));
            if let Some(Known {
                content: Content::Rows(counted),
                ..
            }) = self.increments.remove(name)
            {
                gone.insert(counted.source);
            }
        }
        if gone.is_empty() {
            return;
        }
        self.pools.dissolve(&mut gone);
        self.increments.retain(|_, known| match &known.content {
            Content::Rows(counted) => !gone.contains(&counted.source),
            _ => true,
        });
        self.keys.forget(&gone);
        self.hits.retain(|source, _| !gone.contains(source));
        self.gone.extend(gone);
    }

    fn zone(&self) -> TimeZone {
        let namer = self.namer.as_ref();
        namer.map_or(TimeZone::UTC, |namer| namer.zone.clone())
    }

    fn known(&self, increment: &Increment) -> Option<&Known> {
        self.increments
            .get(&increment.name)
            .filter(|known| known.is_of(increment))
    }

    fn number(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn keep(&mut self, file: &Unread<'_>, settled: bool, content: Content) {
        let known = Known {
            stat: *file.stat,
            settled,
            skip: file.skip,
            content,
        };
        self.increments.insert(file.name.to_owned(), known);
    }

    fn keep_increment(&mut self, increment: &Increment, content: Content) {
        let settled = !increment.legacy || is_settled(&increment.stat);
        self.keep(&increment.unread(), settled, content);
    }

    /// Reads increments of records that are not known, which is seldom: those of legacy code,
    /// and those of which others were digested with one that is gone. What fails is tried
    /// again by [`Waiting::increment`], which says why.
    pub(crate) fn read_ahead(&mut self, look: Look<'_>, increments: &[&Increment]) {
        let unread = increments
            .iter()
            .filter(|file| self.known(file).is_none() && file.is_calm(look.now));
        let unread: Vec<&Increment> = unread.copied().collect();
        let legacy: Names<&str> = unread
            .iter()
            .filter(|file| file.legacy)
            .map(|file| file.name.as_str())
            .collect();
        let files: Vec<Unread<'_>> = unread.iter().map(|file| file.unread()).collect();
        for part in self.read_unread(look, &files) {
            self.take(part, &files, |file| {
                !legacy.contains(file.name) || is_settled(file.stat)
            });
        }
        self.merge_singles(look.now, increments);
    }

    /// Digests of single files become one, where there are many.
    fn merge_singles(&mut self, now: Timestamp, increments: &[&Increment]) {
        let single =
            |known: &&Known| matches!(&known.content, Content::Rows(c) if c.digest.is_some());
        if self.increments.values().filter(single).count() < SINGLES {
            return;
        }
        let calm: Names<&str> = increments
            .iter()
            .filter(|file| file.is_calm(now))
            .map(|file| file.name.as_str())
            .collect();
        let mut singles: Vec<&mut Counted> = Vec::new();
        for (name, known) in &mut self.increments {
            match &mut known.content {
                Content::Rows(counted)
                    if known.settled
                        && counted.digest.is_some()
                        && calm.contains(name.as_str()) =>
                {
                    singles.push(counted);
                }
                _ => {}
            }
        }
        if singles.len() >= SINGLES {
            let (mut sources, mut all) = (HashSet::new(), Digest::default());
            for counted in singles {
                sources.insert(counted.source);
                if let Some(digest) = counted.digest.take() {
                    all.merge(&digest);
                }
            }
            self.pools.add(sources, all);
        }
    }

    /// The rows of an increment that main lacks.
    pub(crate) fn increment(&mut self, look: Look<'_>, increment: &Increment) -> Result<Content> {
        if let Some(known) = self.known(increment) {
            return Ok(known.content.clone());
        }
        let (source, mut digest) = (self.number(), Digest::default());
        let content = match read(
            look,
            &increment.unread(),
            source,
            &mut Plan::default(),
            &mut digest,
        ) {
            Ok(Read { oldest, naive, .. }) => {
                self.keys.add(std::mem::take(&mut digest.places));
                let (rows, records) = (digest.rows(), digest.records);
                Content::Rows(Counted {
                    source,
                    rows,
                    records,
                    oldest,
                    naive,
                    digest: Some(Arc::new(digest)),
                })
            }
            Err(error) => {
                increment.check(look.store)?;
                match error {
                    Error::Unreadable { reason, .. } => Content::Unreadable(reason),
                    Error::SchemaConflict { .. } => Content::Conflict(error.to_string()),
                    Error::Refused(why) => Content::Conflict(format!("{}: {why}", increment.name)),
                    other => return Err(other),
                }
            }
        };
        self.keep_increment(increment, content.clone());
        Ok(content)
    }

    /// The complete lines of a journal.
    pub(crate) fn journal(
        &mut self,
        store: &Store,
        file: &JournalFile,
        now: Timestamp,
        control: &Control,
    ) -> Result<&Tail> {
        let zone = self.zone();
        let next = &mut self.next;
        let tail = self.journals.entry(file.name.clone()).or_insert_with(|| {
            // Each once: they would be used up within weeks, if each scan took one.
            *next += 1;
            Tail {
                source: *next,
                inode: file.stat.inode,
                from: file.from,
                offset: file.from,
                ..Tail::default()
            }
        });
        let path = store.layout.incremental().join(&file.name);
        while tail.offset < file.stat.bytes {
            control.check()?;
            let chunk = journal::read(&*store.disk, &path, tail.offset)?;
            if !chunk.records.is_empty() {
                let mut extras = Extras::default();
                extras.add(&chunk.records);
                let batch = extras.to_batch(&chunk.records)?;
                let reading = Reading::of(&file.name, &batch.schema(), &zone, now)?;
                let digest = Arc::make_mut(&mut tail.digest);
                digest.push(
                    &batch,
                    &Reading {
                        keep: Keep::Places(tail.source),
                        ..reading
                    },
                )?;
                self.keys.add(std::mem::take(&mut digest.places));
                tail.extras.add(&chunk.records);
                tail.starts.extend(chunk.starts);
            }
            tail.malformed += chunk.malformed.len() as u64;
            let nothing = chunk.next_offset == tail.offset;
            tail.offset = chunk.next_offset;
            if chunk.at_end || nothing {
                break;
            }
        }
        Ok(tail)
    }

    /// Reads the rows that have to be compared with others and were not read yet.
    pub(crate) fn read_contested(
        &mut self,
        store: &Store,
        files: &Files,
        now: Timestamp,
        control: &Control,
    ) -> Result<()> {
        let mut places = self.keys.unread();
        places.retain(|place| {
            let known = self.hits.get(&place.source);
            known.is_none_or(|hits| {
                hits.binary_search_by_key(&u64::from(place.at), |hit| hit.at)
                    .is_err()
            })
        });
        if places.is_empty() {
            self.keys.read();
            return Ok(());
        }
        let zone = self.zone();
        let mut names: HashMap<u32, String> = self
            .journals
            .iter()
            .map(|(name, tail)| (tail.source, name.clone()))
            .collect();
        for (name, known) in &self.increments {
            if let Content::Rows(counted) = &known.content {
                names.insert(counted.source, name.clone());
            }
        }
        let increments: ByName<&str, &Increment> = files
            .increments
            .iter()
            .map(|file| (file.name.as_str(), file))
            .collect();
        for group in places.chunk_by(|a, b| a.source == b.source) {
            let Some((source, name)) = group
                .first()
                .and_then(|place| Some((place.source, names.get(&place.source)?)))
            else {
                continue;
            };
            let positions: Vec<u64> = group.iter().map(|place| u64::from(place.at)).collect();
            let found = match increments.get(name.as_str()) {
                Some(increment) => match rows_at(store, increment, &positions, &zone, now, control)
                {
                    // A page that nobody had to read before.
                    Err(Error::Unreadable { reason, .. }) => {
                        increment.check(store)?;
                        self.forget([name.as_str()].into_iter());
                        self.keep_increment(increment, Content::Unreadable(reason));
                        return Err(Error::Changed {
                            path: increment.path(store),
                        });
                    }
                    found => found?,
                },
                None => self.lines_at(store, name, &positions, &zone, now)?,
            };
            let current = folder_of(name).is_none();
            let hits = self.hits.entry(source).or_default();
            hits.extend(found.into_iter().map(|mut hit| {
                hit.rank.current = current;
                hit
            }));
            hits.sort_unstable_by_key(|hit| hit.at);
        }
        self.keys.read();
        Ok(())
    }

    fn lines_at(
        &self,
        store: &Store,
        name: &str,
        positions: &[u64],
        zone: &TimeZone,
        now: Timestamp,
    ) -> Result<Vec<Hit>> {
        let path = store.layout.incremental().join(name);
        let Some(tail) = self.journals.get(name) else {
            return Ok(Vec::new());
        };
        let file = store.disk.open(&path).map_err(Error::io("read", &path))?;
        let mut records = Vec::with_capacity(positions.len());
        for &at in positions {
            let Some(start) = tail.starts.get(at as usize) else {
                continue;
            };
            let end = tail
                .starts
                .get(at as usize + 1)
                .copied()
                .unwrap_or(tail.offset);
            let line = journal::read_open(&file, end, *start).map_err(Error::io("read", &path))?;
            records.extend(line.records.into_iter().next());
        }
        if records.len() != positions.len() {
            return Err(Error::Changed { path });
        }
        let batch = tail.extras.to_batch(&records)?;
        let mut hits = Hits::default();
        let reading = Reading::of(name, &batch.schema(), zone, now)?;
        hits.take(&batch, &reading, positions.iter().copied())?;
        Ok(hits.found)
    }

    /// The rows of a source that have to be compared with others.
    pub(crate) fn hits(&self, source: u32) -> &[Hit] {
        self.hits
            .get(&source)
            .map(Vec::as_slice)
            .unwrap_or_default()
    }
}

impl Known {
    fn is_of(&self, increment: &Increment) -> bool {
        same(&self.stat, &increment.stat) && self.skip == increment.skip
    }
}

fn rows_at(
    store: &Store,
    increment: &Increment,
    positions: &[u64],
    zone: &TimeZone,
    now: Timestamp,
    control: &Control,
) -> Result<Vec<Hit>> {
    let file = increment.open(store)?;
    let reading = Reading::of(&increment.name, file.schema(), zone, now)?;
    let mut hits = Hits::default();
    hits.take_at(&file, &reading, positions, control)?;
    file.check_unchanged()?;
    Ok(hits.found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::format::record::Record;
    use crate::store::read::listing;
    use crate::store::testing::fixture::{Fixture, STEM};

    #[test]
    fn a_journal_has_the_same_number_at_every_look() {
        let fixture = Fixture::new();
        let _writer = fixture.journal(STEM, &[Record::default()]);
        let listed = listing::files(&fixture.store, fixture.now).unwrap();
        let mut waiting = Waiting::default();
        for _ in 0..3 {
            for file in &listed.journals {
                waiting
                    .journal(&fixture.store, file, fixture.now, &Control::default())
                    .unwrap();
            }
        }
        assert_eq!((listed.journals.len(), waiting.next), (1, 1));
    }
}
