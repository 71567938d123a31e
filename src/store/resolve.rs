//! Which attempt at a test counts: the only place that says so.
//!
//! Of each key the row with the highest rank counts. The rank depends on the row, and on whether it
//! lies in a pending folder alone (`current`). Names of files, batches, copies and their order
//! change nothing. Of two identical rows either may stay.

use crate::stats::collections::{AsItIs, Hashed};
use std::collections::HashSet;
use std::hash::BuildHasherDefault;

use super::format::RowHash;

/// The columns that a key is made of: the cell, the id in it, and the session.
pub const KEY_COLUMNS: [&str; 7] = [
    "model",
    "prompt_type",
    "tool_success_rate",
    "difficulty",
    "task_type",
    "test_id",
    "session_id",
];

/// Of these, texts that repeat.
pub const KEYED: [&str; 5] = [
    "model",
    "prompt_type",
    "difficulty",
    "task_type",
    "session_id",
];

/// What decides between attempts at one test, in this order; the larger one counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank {
    /// When the test ended, microseconds since the epoch; none is lowest.
    pub timestamp: Option<i64>,
    /// Whether it lies in main or a pending file, not in the folder of a commit that main does
    /// not contain: what other code wrote over a row of ours in main stands.
    pub current: bool,
    /// When evaltop accepted the row, microseconds since the epoch; none is lowest.
    pub recorded_at: Option<i64>,
    /// How much it says: values that are not null.
    pub values: u32,
    /// The row hash. Rows of one key with one hash are the same row.
    pub hash: u128,
}

impl Rank {
    /// Of a row with this hash.
    pub fn new(timestamp: Option<i64>, recorded_at: Option<i64>, row: RowHash) -> Self {
        Self {
            timestamp,
            current: true,
            recorded_at,
            values: row.values,
            hash: row.hash,
        }
    }
}

/// What was removed on purpose of one key: up to a rank nothing of it counts but one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// Hash of the row that stays, or [`Removal::REPLACED`]; `None`: not one, on purpose.
    pub stays: Option<u128>,
    /// The rank up to which nothing else counts. A later attempt counts.
    pub rank: Rank,
}

impl Removal {
    /// No row has this hash: an import replaced all rows of the key by others, and the next one
    /// may bring them again.
    pub const REPLACED: u128 = u128::MAX;
}

/// What was removed on purpose, by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    entries: Hashed<u128, Removal>,
    /// 64 bits of the keys.
    shorts: HashSet<u64, BuildHasherDefault<AsItIs>>,
}

impl Removed {
    /// Whether a row does not count, whatever else there is of its key.
    pub fn removes(&self, key: u128, rank: &Rank) -> bool {
        let removal = self.entries.get(&key);
        removal.is_some_and(|removal| {
            *rank <= removal.rank && removal.stays.is_none_or(|hash| hash != rank.hash)
        })
    }

    /// Whether an import replaced a row, so that another import may bring it again.
    pub fn replaces(&self, key: u128, rank: &Rank) -> bool {
        let removal = self.entries.get(&key);
        removal.is_some_and(|removal| removal.stays.is_some()) && self.removes(key, rank)
    }

    /// The keys of which an import replaced rows.
    pub fn replaced(&self) -> impl Iterator<Item = u128> + '_ {
        let replaced = self
            .entries
            .iter()
            .filter(|(_, removal)| removal.stays.is_some());
        replaced.map(|(key, _)| *key)
    }

    /// Whether it has a key with these 64 bits.
    pub fn has(&self, short: u64) -> bool {
        self.shorts.contains(&short)
    }

    /// 64 bits of each key.
    pub fn shorts(&self) -> impl Iterator<Item = u64> + '_ {
        self.shorts.iter().copied()
    }

    /// Of a key that is there already the later decision says what stays.
    pub fn add(&mut self, key: u128, removal: Removal) {
        self.shorts.insert(key as u64);
        let known = self.entries.entry(key).or_insert(removal);
        known.stays = removal.stays;
        known.rank = known.rank.max(removal.rank);
    }

    /// By key, ascending.
    pub fn sorted(&self) -> Vec<(u128, Removal)> {
        let mut sorted: Vec<_> = self.entries.iter().map(|(key, of)| (*key, *of)).collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        sorted
    }

    /// How many keys.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was removed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// The distinct attempts at one test that came so far.
#[derive(Debug, Clone)]
pub(crate) struct Attempts {
    best: Rank,
    /// Row hashes of the others.
    others: Vec<u128>,
}

/// What a further row is to those that came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It counts instead of the best so far.
    Newest,
    /// A better one is there.
    Older,
    /// The best one again.
    Same,
    /// One again that has lost.
    Again,
}

/// What is known of the file that a row comes from, for statistics: only what somebody did counts
/// as an attempt or as a repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Novelty {
    /// Nothing: its rows are new.
    #[default]
    Unknown,
    /// Other code writes it again and again, with all its rows: a repeat says nothing.
    Rewritten,
    /// A commit took it in before, in this version or another: whatever of it does not count was
    /// there already.
    TakenIn,
}

impl Novelty {
    /// Whether a row that goes is worth counting.
    pub(crate) fn counts(self, verdict: Verdict) -> bool {
        match self {
            Self::Unknown => true,
            Self::Rewritten => verdict.supersedes(),
            Self::TakenIn => false,
        }
    }
}

impl Verdict {
    /// Whether one of two different attempts goes, rather than a repeat.
    pub(crate) fn supersedes(self) -> bool {
        matches!(self, Self::Newest | Self::Older)
    }
}

impl Attempts {
    pub(crate) fn new(first: Rank) -> Self {
        Self {
            best: first,
            others: Vec::new(),
        }
    }

    /// The one that counts.
    #[cfg(test)]
    pub(crate) fn best(&self) -> &Rank {
        &self.best
    }

    /// Takes in a further row.
    pub(crate) fn weigh(&mut self, rank: Rank) -> Verdict {
        if rank.hash == self.best.hash {
            // Which of them says when it was recorded must not depend on their order.
            self.best = self.best.max(rank);
            Verdict::Same
        } else if self.others.contains(&rank.hash) {
            Verdict::Again
        } else if rank > self.best {
            self.others.push(self.best.hash);
            self.best = rank;
            Verdict::Newest
        } else {
            self.others.push(rank.hash);
            Verdict::Older
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_later_row_counts_then_one_recorded_later_then_one_that_says_more() {
        let rank = |timestamp, recorded_at, values, hash| Rank {
            timestamp,
            current: false,
            recorded_at,
            values,
            hash,
        };
        let ascending = [
            rank(None, None, 9, 9),
            rank(None, Some(9), 1, 1),
            rank(Some(1), None, 5, 5),
            rank(Some(1), None, 6, 4),
            rank(Some(1), Some(-1), 1, 1),
            rank(Some(1), Some(2), 1, 1),
            rank(Some(1), Some(2), 1, 2),
            rank(Some(2), None, 0, 0),
        ];
        assert!(ascending.is_sorted(), "{ascending:?}");
        let edited = Rank {
            current: true,
            ..rank(Some(1), None, 1, 1)
        };
        assert!(edited > ascending[5] && edited < ascending[7]);
    }

    #[test]
    fn up_to_its_rank_nothing_of_a_removed_key_counts_but_what_stays() {
        let rank = |timestamp, hash| Rank {
            timestamp: Some(timestamp),
            current: true,
            hash,
            ..Rank::default()
        };
        let mut removed = Removed::default();
        let removal = |stays, rank| Removal { stays, rank };
        removed.add(1, removal(None, rank(5, 9)));
        assert!(removed.removes(1, &rank(5, 9)) && removed.removes(1, &rank(4, 1)));
        assert!(!removed.removes(1, &rank(6, 1)) && !removed.removes(2, &rank(1, 1)));
        // A restore to an older row, and then to another one.
        removed.add(1, removal(Some(1), rank(7, 2)));
        assert!(!removed.removes(1, &rank(4, 1)) && removed.removes(1, &rank(7, 2)));
        removed.add(1, removal(Some(9), rank(5, 9)));
        assert!(removed.removes(1, &rank(7, 2)) && !removed.removes(1, &rank(5, 9)));
        assert_eq!((removed.len(), removed.shorts().count()), (1, 1));
    }

    proptest! {
        /// However attempts come, the same one counts, and each row is counted once.
        #[test]
        fn the_order_of_rows_does_not_matter(rows in prop::collection::vec((0_i64..3, 0_u128..4), 1..12), seed: u64) {
            // The hash is of the time too.
            let rank = |(time, hash): &(i64, u128)| Rank {
                timestamp: Some(*time),
                hash: hash * 3 + *time as u128,
                ..Rank::default()
            };
            let outcome = |rows: &[(i64, u128)]| {
                let mut attempts = Attempts::new(rank(&rows[0]));
                let mut superseded = 0;
                for row in &rows[1..] {
                    superseded += u64::from(attempts.weigh(rank(row)).supersedes());
                }
                (*attempts.best(), superseded)
            };
            let mut others = rows.clone();
            others.rotate_left(seed as usize % rows.len());
            if seed % 2 == 0 {
                others.reverse();
            }
            prop_assert_eq!(outcome(&rows), outcome(&others));
            prop_assert_eq!(Some(outcome(&rows).0), rows.iter().map(rank).max());
        }
    }
}
