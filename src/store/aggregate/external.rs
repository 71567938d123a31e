//! Adds up what is known of many keys and says it in their order, in bounded memory:
//! when the keys are more than allowed, they go to a temporary file as a sorted run, and
//! the runs are merged at the end.
//!
//! The file has no name and is gone with whoever made it. It stands in the system's folder
//! for temporary files (`$TMPDIR`), since readers never write into a store.

use std::collections::{BinaryHeap, HashMap};
use std::fs::File;
use std::hash::Hash;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::vec;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::{Error, Result};

/// What a run is read in.
const BUFFER: usize = 32 << 10;

/// Values by key, still being added up.
#[derive(Debug)]
pub(crate) struct Gather<K, V> {
    held: HashMap<K, V>,
    most: usize,
    add: fn(&mut V, V),
    file: Option<File>,
    /// Where in the file each run ends.
    ends: Vec<u64>,
}

impl<K, V> Gather<K, V>
where
    K: Ord + Hash + Serialize + DeserializeOwned,
    V: Default + Serialize + DeserializeOwned,
{
    /// Holds at most so many keys at a time; values of one key are put together by `add`.
    pub(crate) fn new(most: usize, add: fn(&mut V, V)) -> Self {
        Self {
            held: HashMap::new(),
            most,
            add,
            file: None,
            ends: Vec::new(),
        }
    }

    /// The value of a key, to be added to.
    pub(crate) fn of(&mut self, key: K) -> Result<&mut V> {
        if self.held.len() >= self.most && !self.held.contains_key(&key) {
            self.put_away().map_err(failed)?;
        }
        Ok(self.held.entry(key).or_default())
    }

    fn sorted(&mut self) -> Vec<(K, V)> {
        let mut sorted: Vec<_> = self.held.drain().collect();
        sorted.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        sorted
    }

    fn put_away(&mut self) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => tempfile::tempfile()?,
        };
        let mut out = BufWriter::with_capacity(BUFFER, file);
        for entry in self.sorted() {
            out.write_all(&serde_json::to_vec(&entry)?)?;
            out.write_all(b"\n")?;
        }
        let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
        self.ends.push(file.stream_position()?);
        self.file = Some(file);
        Ok(())
    }

    /// Everything, in the order of the keys.
    pub(crate) fn finish(mut self) -> Result<Gathered<K, V>> {
        let mut runs = vec![Run::Held(self.sorted().into_iter())];
        // Its room is not needed while the runs are merged.
        self.held = HashMap::new();
        let file = self.file.map(Arc::new);
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        for (at, end) in starts.zip(self.ends.iter().copied()) {
            let Some(file) = file.clone() else { continue };
            runs.push(Run::Away(BufReader::with_capacity(
                BUFFER,
                Stretch { file, at, end },
            )));
        }
        let mut heads = BinaryHeap::new();
        for (run, lines) in runs.iter_mut().enumerate() {
            heads.extend(lines.next()?.map(|(key, value)| Head { key, value, run }));
        }
        Ok(Gathered {
            runs,
            heads,
            add: self.add,
        })
    }
}

#[allow(clippy::needless_pass_by_value)] // as map_err wants it
fn failed(error: io::Error) -> Error {
    Error::Refused(format!(
        "a temporary file in {} can't be written or read ({error}): set TMPDIR to a folder with room",
        std::env::temp_dir().display()
    ))
}

/// All keys with their values, each once, in order.
#[derive(Debug)]
pub(crate) struct Gathered<K, V> {
    runs: Vec<Run<K, V>>,
    heads: BinaryHeap<Head<K, V>>,
    add: fn(&mut V, V),
}

impl<K: Ord + DeserializeOwned, V: DeserializeOwned> Gathered<K, V> {
    fn pop(&mut self) -> Result<Option<(K, V)>> {
        let Some(Head { key, value, run }) = self.heads.pop() else {
            return Ok(None);
        };
        if let Some(next) = self.runs.get_mut(run).map_or(Ok(None), Run::next)? {
            self.heads.push(Head {
                key: next.0,
                value: next.1,
                run,
            });
        }
        Ok(Some((key, value)))
    }

    fn step(&mut self) -> Result<Option<(K, V)>> {
        let Some((key, mut value)) = self.pop()? else {
            return Ok(None);
        };
        while self.heads.peek().is_some_and(|head| head.key == key) {
            if let Some((_, more)) = self.pop()? {
                (self.add)(&mut value, more);
            }
        }
        Ok(Some((key, value)))
    }
}

impl<K: Ord + DeserializeOwned, V: DeserializeOwned> Gathered<K, V> {
    /// The next one, if its key is wanted.
    pub(crate) fn next_if(&mut self, wanted: impl FnOnce(&K) -> bool) -> Option<Result<(K, V)>> {
        if self.heads.peek().is_some_and(|head| wanted(&head.key)) {
            self.next()
        } else {
            None
        }
    }
}

impl<K: Ord + DeserializeOwned, V: DeserializeOwned> Iterator for Gathered<K, V> {
    type Item = Result<(K, V)>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.heads.clear();
        }
        step.transpose()
    }
}

/// One sorted run.
#[derive(Debug)]
enum Run<K, V> {
    Held(vec::IntoIter<(K, V)>),
    Away(BufReader<Stretch>),
}

impl<K: DeserializeOwned, V: DeserializeOwned> Run<K, V> {
    fn next(&mut self) -> Result<Option<(K, V)>> {
        let lines = match self {
            Self::Held(entries) => return Ok(entries.next()),
            Self::Away(lines) => lines,
        };
        let mut line = Vec::new();
        lines.read_until(b'\n', &mut line).map_err(failed)?;
        if line.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&line)
            .map(Some)
            .map_err(|error| failed(error.into()))
    }
}

/// Part of a file that several are read from at once.
#[derive(Debug)]
struct Stretch {
    file: Arc<File>,
    at: u64,
    end: u64,
}

impl Read for Stretch {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at)
            .unwrap_or(usize::MAX)
            .min(buf.len());
        let read = self
            .file
            .read_at(buf.get_mut(..left).unwrap_or_default(), self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The first entry of a run that is left; the smallest key is the greatest of these.
#[derive(Debug)]
struct Head<K, V> {
    key: K,
    value: V,
    run: usize,
}

impl<K: Ord, V> Ord for Head<K, V> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.key.cmp(&self.key)
    }
}

impl<K: Ord, V> PartialOrd for Head<K, V> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: Ord, V> PartialEq for Head<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: Ord, V> Eq for Head<K, V> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_does_not_fit_is_reported_all_the_same(
            added in prop::collection::vec((0_u128..40, 0_u64..9), 0..200),
            most in 1_usize..50,
        ) {
            let mut gather = Gather::new(most, |sum: &mut u64, more| *sum += more);
            let mut expected = BTreeMap::new();
            for (key, value) in added {
                let key = ("a\n".to_owned(), u128::MAX - key);
                *gather.of(key.clone()).unwrap() += value;
                *expected.entry(key).or_insert(0) += value;
                prop_assert!(gather.held.len() <= most);
            }
            let reported: Vec<_> = gather.finish().unwrap().map(Result::unwrap).collect();
            prop_assert_eq!(reported, expected.into_iter().collect::<Vec<_>>());
        }
    }
}
