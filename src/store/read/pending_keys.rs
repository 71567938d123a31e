//! The keys of all records that wait, 16 bytes each, and which of them occur more than
//! once. Kept from scan to scan: what is new is compared with what is there.

use std::collections::HashSet;

use crate::store::aggregate::Place;
use crate::store::threads;

/// A batch of new places at least this part of all is merged with them rather than
/// looked up one by one.
const WORTH_MERGING: usize = 8;

/// Where each waiting record with a key is.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Sorted runs, each at least twice as long as the next.
    runs: Vec<Vec<Place>>,
    /// Hashes that more than one row has, or main too.
    contested: HashSet<u64>,
    /// Of those, the ones with rows that nobody has looked at yet.
    unread: Vec<u64>,
    /// Hashes that main was not asked about; `None`: about none.
    unasked: Option<Vec<u64>>,
}

impl Keys {
    /// Takes in where records are.
    pub(crate) fn add(&mut self, mut new: Vec<Place>) {
        if new.is_empty() {
            return;
        }
        threads::sort(threads::for_rows(new.len() as u64), &mut new, |place| {
            *place
        });
        if let Some(unasked) = &mut self.unasked {
            unasked.extend(new.iter().map(|place| place.short));
        }
        let all: usize = self.runs.iter().map(Vec::len).sum();
        if new.len() >= all / WORTH_MERGING {
            for run in self.runs.drain(..) {
                new.extend(run);
            }
            // Stable sorting merges runs that are sorted already.
            new.sort();
            for pair in new
                .chunk_by(|a, b| a.short == b.short)
                .filter(|same| same.len() > 1)
            {
                let short = pair.first().map(|place| place.short);
                self.contested.extend(short);
                self.unread.extend(short);
            }
            new.shrink_to_fit();
            self.runs.push(new);
            return;
        }
        for same in new.chunk_by(|a, b| a.short == b.short) {
            let Some(short) = same.first().map(|place| place.short) else {
                continue;
            };
            if same.len() > 1 || self.contested.contains(&short) || self.of(short).next().is_some()
            {
                self.contest(short);
            }
        }
        new.shrink_to_fit();
        self.runs.push(new);
        while let [.., longer, last] = self.runs.as_slice()
            && longer.len() < 2 * last.len()
        {
            let last = self.runs.pop().unwrap_or_default();
            if let Some(longer) = self.runs.last_mut() {
                longer.extend(last);
                longer.sort();
            }
        }
    }

    /// Forgets the rows of some sources.
    pub(crate) fn forget(&mut self, gone: &HashSet<u32>) {
        if gone.is_empty() {
            return;
        }
        for run in &mut self.runs {
            run.retain(|place| !gone.contains(&place.source));
            run.shrink_to_fit();
        }
        self.runs.retain(|run| !run.is_empty());
        self.runs.sort_by_key(|run| std::cmp::Reverse(run.len()));
        let contested = std::mem::take(&mut self.contested);
        self.contested = contested
            .into_iter()
            .filter(|short| self.of(*short).next().is_some())
            .collect();
    }

    /// The rows with a key's hash.
    pub(crate) fn of(&self, short: u64) -> impl Iterator<Item = Place> + '_ {
        self.runs.iter().flat_map(move |run| {
            let from = run.partition_point(|place| place.short < short);
            run.iter()
                .skip(from)
                .take_while(move |place| place.short == short)
                .copied()
        })
    }

    /// Notes that the rows with this hash have to be compared.
    pub(crate) fn contest(&mut self, short: u64) {
        self.contested.insert(short);
        self.unread.push(short);
    }

    /// The rows to read before attempts can be compared; [`Keys::read`] says that they were.
    pub(crate) fn unread(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self
            .unread
            .iter()
            .flat_map(|short| self.of(*short))
            .collect();
        places.sort_unstable_by_key(|place| (place.source, place.at));
        places.dedup();
        places
    }

    /// All rows that have to be compared were read.
    pub(crate) fn read(&mut self) {
        self.unread = Vec::new();
    }

    /// The hashes that main has not been asked about, ascending: all of them when it is
    /// `another` one. [`Keys::asked`] says that it was.
    pub(crate) fn unasked(&mut self, another: bool) -> Vec<u64> {
        let mut shorts = match self.unasked.take().filter(|_| !another) {
            Some(shorts) => shorts,
            None => self
                .runs
                .iter()
                .flatten()
                .map(|place| place.short)
                .collect(),
        };
        shorts.sort_unstable();
        shorts.dedup();
        shorts
    }

    /// Main was asked about all of them.
    pub(crate) fn asked(&mut self) {
        self.unasked = Some(Vec::new());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However the rows come and go, the same ones are found to be contested.
        #[test]
        fn what_occurs_twice_is_contested(
            batches in prop::collection::vec((prop::collection::vec(0_u64..60, 1..30), any::<bool>()), 1..12),
        ) {
            let mut keys = Keys::default();
            let mut there: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
            for (source, (shorts, goes)) in batches.iter().enumerate() {
                let source = source as u32;
                let place = |(at, short): (usize, &u64)| Place { short: *short, source, at: at as u32 };
                keys.add(shorts.iter().enumerate().map(place).collect());
                there.insert(source, shorts.clone());
                if *goes && let Some((gone, _)) = there.pop_first() {
                    keys.forget(&HashSet::from([gone]));
                }
                for short in 0..60 {
                    let n: usize = there.values().map(|all| all.iter().filter(|s| **s == short).count()).sum();
                    prop_assert_eq!(keys.of(short).count(), n);
                    prop_assert!(n < 2 || keys.contested.contains(&short));
                    prop_assert!(n > 0 || !keys.contested.contains(&short));
                }
            }
            let mut all: Vec<u64> = there.values().flatten().copied().collect();
            all.sort_unstable();
            all.dedup();
            prop_assert_eq!(keys.unasked(true), all);
        }
    }

    #[test]
    fn only_what_is_new_is_asked_and_read() {
        let place = |short, source| Place {
            short,
            source,
            at: 0,
        };
        let mut keys = Keys::default();
        keys.add((0..100).map(|short| place(short, 0)).collect());
        assert_eq!(keys.unasked(false).len(), 100);
        keys.asked();
        assert_eq!(keys.unread(), []);
        keys.add(vec![place(7, 1), place(200, 1)]);
        assert_eq!(keys.unasked(false), [7, 200]);
        keys.asked();
        assert_eq!(keys.unread(), [place(7, 0), place(7, 1)]);
        keys.read();
        keys.add(vec![place(7, 2)]);
        assert_eq!(keys.unread().len(), 3);
    }
}
