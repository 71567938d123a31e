//! Which rows stay when several are attempts at one test: the larger timestamp,
//! then the larger hash of the canonical row. Independent of file, batch and order.

use std::num::NonZeroU32;

use crate::stats::hashed::Hashed;

/// What decides between attempts: timestamp, then hash of the canonical row.
pub(in crate::store) type Rank = (Option<i64>, u64);

#[derive(Debug)]
struct Attempts {
    best: Rank,
    /// The new row that is the best so far; `None` when a row of main is.
    best_at: Option<NonZeroU32>,
}

/// The attempts among the new rows, and what main has of them.
#[derive(Debug, Default)]
pub(in crate::store) struct Choice {
    attempts: Hashed<u128, Attempts>,
    /// Hashes of the other distinct attempts, for the few tests that have any.
    others: Hashed<u128, Vec<u64>>,
    /// For each new row, whether it goes into main.
    keep: Vec<bool>,
    /// Attempts that others replaced.
    pub(in crate::store) superseded: u64,
    /// Rows that are identical to another one.
    pub(in crate::store) repeated: u64,
}

impl Choice {
    /// For so many new rows, which all stay until some are known to be attempts at one test.
    pub(in crate::store) fn for_rows(rows: usize) -> Self {
        Self {
            keep: vec![true; rows],
            ..Self::default()
        }
    }

    /// A further new row. Rows without a key always stay.
    pub(in crate::store) fn push(&mut self, keyed: Option<(u128, Rank)>) {
        self.keep.push(true);
        if let Some((key, rank)) = keyed {
            self.attempt(self.keep.len() - 1, key, rank);
        }
    }

    /// Says what the new row of a number is an attempt at; in the order of the numbers.
    pub(in crate::store) fn attempt(&mut self, at: usize, key: u128, rank: Rank) {
        // Rows are numbered from 1 here.
        let at = u32::try_from(at + 1).ok().and_then(NonZeroU32::new);
        let Some(attempts) = self.attempts.get_mut(&key) else {
            self.attempts.insert(
                key,
                Attempts {
                    best: rank,
                    best_at: at,
                },
            );
            return;
        };
        let others = self.others.entry(key).or_default();
        let loser = if attempts.best.1 == rank.1 || others.contains(&rank.1) {
            self.repeated += 1;
            at
        } else if rank > attempts.best {
            self.superseded += 1;
            others.push(attempts.best.1);
            attempts.best = rank;
            std::mem::replace(&mut attempts.best_at, at)
        } else {
            self.superseded += 1;
            others.push(rank.1);
            at
        };
        drop_row(&mut self.keep, loser);
    }

    /// A row of main, which holds each key once; `true` when it stays.
    pub(in crate::store) fn stays(&mut self, key: u128, rank: Rank) -> bool {
        let Some(attempts) = self.attempts.get_mut(&key) else {
            return true;
        };
        if attempts.best.1 == rank.1 {
            self.repeated += 1;
        } else {
            let others = self.others.entry(key).or_default();
            if others.contains(&rank.1) {
                self.repeated += 1;
                return false;
            }
            self.superseded += 1;
            if rank < attempts.best {
                others.push(rank.1);
                return false;
            }
            others.push(attempts.best.1);
            attempts.best = rank;
        }
        drop_row(&mut self.keep, attempts.best_at.take());
        true
    }

    /// Whether the new row goes into main.
    pub(in crate::store) fn keeps(&self, at: usize) -> bool {
        self.keep.get(at).copied().unwrap_or(false)
    }

    /// New rows that go into main.
    pub(in crate::store) fn kept(&self) -> u64 {
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

    fn choose(main: &[(u128, Rank)], new: &[(Option<u128>, Rank)]) -> (Choice, Vec<bool>) {
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
        let new = [(Some(1), (Some(4), 9)), (Some(1), (Some(6), 1))];
        let (choice, stays) = choose(&[(1, (Some(5), 7))], &new);
        assert_eq!(
            (stays[0], choice.keeps(0), choice.keeps(1)),
            (false, false, true)
        );
        assert_eq!((choice.superseded, choice.repeated), (2, 0));
        let (choice, stays) = choose(&[(1, (Some(5), 7))], &[(Some(1), (None, 9))]);
        assert_eq!((stays[0], choice.kept(), choice.superseded), (true, 0, 1));
    }

    #[test]
    fn equal_times_are_decided_by_the_hash_and_identical_rows_are_repeats() {
        let new = [(Some(1), (Some(5), 8)), (Some(1), (Some(5), 7))];
        let (choice, stays) = choose(&[(1, (Some(5), 7))], &new);
        assert_eq!((stays[0], choice.kept()), (false, 1));
        assert_eq!((choice.superseded, choice.repeated), (1, 1));
        let (choice, stays) = choose(&[(1, (Some(5), 7))], &[(Some(1), (Some(5), 7))]);
        assert_eq!(
            (stays[0], choice.kept(), choice.superseded, choice.repeated),
            (true, 0, 0, 1)
        );
    }

    #[test]
    fn rows_without_a_key_stay() {
        let (choice, _) = choose(&[], &[(None, (None, 1)), (None, (None, 1))]);
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
                .map(|(key, time, hash)| (key, (Some(time), hash + 10 * time as u64)))
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
