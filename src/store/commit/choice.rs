//! Which rows of a commit stay where several are attempts at one test.

use std::num::NonZeroU32;
use std::ops::Range;

use crate::stats::collections::Hashed;
use crate::store::resolve::{Attempts, Novelty, Rank, Removed, Verdict};

/// The attempts among the new rows, and what main has of them.
#[derive(Debug, Default)]
pub(crate) struct Choice<'a> {
    /// What goes whatever else there is of its test.
    removed: Option<&'a Removed>,
    /// Each with the new row that is the best so far; `None` when a row of main is.
    attempts: Hashed<u128, (Attempts, Option<NonZeroU32>)>,
    /// For each new row, whether it goes into main.
    keep: Vec<bool>,
    /// New rows of files that may bring rows again.
    novelties: Vec<(Range<usize>, Novelty)>,
    /// Attempts that others replaced.
    pub(crate) superseded: u64,
    /// Rows that are identical to another one.
    pub(crate) repeated: u64,
    /// Rows that were removed on purpose.
    pub(crate) removed_rows: u64,
}

impl<'a> Choice<'a> {
    /// For so many new rows, which all stay until some are known to be attempts at one test.
    pub(crate) fn for_rows(rows: usize, removed: &'a Removed) -> Self {
        Self {
            removed: Some(removed),
            keep: vec![true; rows],
            ..Self::default()
        }
    }

    /// Says of what kind of file some of the new rows are.
    pub(crate) fn know(&mut self, rows: Range<usize>, novelty: Novelty) {
        if novelty != Novelty::Unknown {
            self.novelties.push((rows, novelty));
        }
    }

    fn novelty(&self, at: usize) -> Novelty {
        let found = self.novelties.iter().find(|(rows, _)| rows.contains(&at));
        found.map_or(Novelty::Unknown, |(_, novelty)| *novelty)
    }

    /// A further new row. Rows without a key always stay.
    pub(crate) fn push(&mut self, keyed: Option<(u128, Rank)>) {
        self.keep.push(true);
        if let Some((key, rank)) = keyed {
            self.attempt(self.keep.len() - 1, key, rank);
        }
    }

    /// Says what the new row of a number is an attempt at; in the order of the numbers.
    pub(crate) fn attempt(&mut self, at: usize, key: u128, rank: Rank) {
        let novelty = self.novelty(at);
        // Rows are numbered from 1 here.
        let at = u32::try_from(at + 1).ok().and_then(NonZeroU32::new);
        if self.goes(key, &rank) {
            drop_row(&mut self.keep, at);
            return;
        }
        let Some((attempts, best)) = self.attempts.get_mut(&key) else {
            self.attempts.insert(key, (Attempts::new(rank), at));
            return;
        };
        let verdict = attempts.weigh(rank);
        let loser = match verdict {
            Verdict::Newest => std::mem::replace(best, at),
            _ => at,
        };
        drop_row(&mut self.keep, loser);
        if verdict == Verdict::Newest || novelty.counts(verdict) {
            self.count(verdict);
        }
    }

    /// A row of main, which holds each key once; `true` when it stays.
    pub(crate) fn stays(&mut self, key: u128, rank: Rank) -> bool {
        if self.goes(key, &rank) {
            return false;
        }
        let Some((attempts, best)) = self.attempts.get_mut(&key) else {
            return true;
        };
        let verdict = attempts.weigh(rank);
        // Of two that are the same main's stays, so that its row group need not be encoded again.
        let stays = matches!(verdict, Verdict::Newest | Verdict::Same);
        let new = if stays { best.take() } else { None };
        drop_row(&mut self.keep, new);
        let novelty = new.map(|at| self.novelty(at.get() as usize - 1));
        if novelty.is_none_or(|novelty| novelty.counts(verdict)) {
            self.count(verdict);
        }
        stays
    }

    fn goes(&mut self, key: u128, rank: &Rank) -> bool {
        let goes = self
            .removed
            .is_some_and(|removed| removed.removes(key, rank));
        self.removed_rows += u64::from(goes);
        goes
    }

    fn count(&mut self, verdict: Verdict) {
        if verdict.supersedes() {
            self.superseded += 1;
        } else {
            self.repeated += 1;
        }
    }

    /// Whether the new row goes into main.
    pub(crate) fn keeps(&self, at: usize) -> bool {
        self.keep.get(at).copied().unwrap_or(false)
    }

    /// New rows that go into main.
    pub(crate) fn kept(&self) -> u64 {
        self.keep.iter().filter(|keep| **keep).count() as u64
    }
}

fn drop_row(keep: &mut [bool], at: Option<NonZeroU32>) {
    if let Some(keep) = at.and_then(|at| keep.get_mut(at.get() as usize - 1)) {
        *keep = false;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn rank(timestamp: impl Into<Option<i64>>, hash: u128) -> Rank {
        Rank {
            timestamp: timestamp.into(),
            hash,
            ..Rank::default()
        }
    }

    fn choose(main: &[(u128, Rank)], new: &[(Option<u128>, Rank)]) -> (Choice<'static>, Vec<bool>) {
        let mut choice = Choice::default();
        for (key, rank) in new {
            choice.push(key.map(|key| (key, *rank)));
        }
        let stays = main
            .iter()
            .map(|(key, rank)| choice.stays(*key, *rank))
            .collect();
        (choice, stays)
    }

    #[test]
    fn the_newest_attempt_wins_wherever_it_is() {
        let new = [(Some(1), rank(4, 9)), (Some(1), rank(6, 1))];
        let (choice, stays) = choose(&[(1, rank(5, 7))], &new);
        assert_eq!(
            (stays[0], choice.keeps(0), choice.keeps(1)),
            (false, false, true)
        );
        assert_eq!((choice.superseded, choice.repeated), (2, 0));
        let (choice, stays) = choose(&[(1, rank(5, 7))], &[(Some(1), rank(None, 9))]);
        assert_eq!((stays[0], choice.kept(), choice.superseded), (true, 0, 1));
    }

    #[test]
    fn equal_times_are_decided_by_the_hash_and_identical_rows_are_repeats() {
        let new = [(Some(1), rank(5, 8)), (Some(1), rank(5, 7))];
        let (choice, stays) = choose(&[(1, rank(5, 7))], &new);
        assert_eq!((stays[0], choice.kept()), (false, 1));
        assert_eq!((choice.superseded, choice.repeated), (1, 1));
        let (choice, stays) = choose(&[(1, rank(5, 7))], &[(Some(1), rank(5, 7))]);
        assert_eq!(
            (stays[0], choice.kept(), choice.superseded, choice.repeated),
            (true, 0, 0, 1)
        );
    }

    #[test]
    fn rows_without_a_key_stay() {
        let (choice, _) = choose(&[], &[(None, rank(None, 1)), (None, rank(None, 1))]);
        assert_eq!((choice.kept(), choice.repeated), (2, 0));
    }

    proptest! {
        #[test]
        fn the_order_of_rows_does_not_matter(
            rows in prop::collection::vec((0_u128..4, 0_i64..3, 0_u64..3), 1..20),
            split in 0_usize..20,
        ) {
            let best = |rows: &[(u128, Rank)]| {
                let mut best: HashMap<u128, Rank> = HashMap::new();
                for (key, rank) in rows {
                    let entry = best.entry(*key).or_insert(*rank);
                    *entry = (*entry).max(*rank);
                }
                let mut best: Vec<_> = best.into_iter().collect();
                best.sort_unstable();
                best
            };
            let rows: Vec<_> = rows
                .into_iter()
                .map(|(key, time, hash)| (key, rank(time, u128::from(hash) + 10 * time as u128)))
                .collect();
            // Main holds each key once: its share of the rows is resolved first.
            let split = split.min(rows.len());
            let main = best(&rows[..split]);
            let new: Vec<_> = rows[split..].iter().map(|(key, rank)| (Some(*key), *rank)).collect();
            let (choice, stays) = choose(&main, &new);
            let of_main = main.iter().zip(&stays).filter(|(_, stays)| **stays).map(|(row, _)| *row);
            let of_new = new.iter().enumerate().filter(|(at, _)| choice.keeps(*at));
            let mut left: Vec<_> = of_main.chain(of_new.map(|(_, (key, rank))| (key.unwrap(), *rank))).collect();
            left.sort_unstable();
            prop_assert_eq!(&left, &best(&rows));
            let gone = (main.len() + new.len() - left.len()) as u64;
            prop_assert_eq!(choice.superseded + choice.repeated, gone);
        }
    }
}
