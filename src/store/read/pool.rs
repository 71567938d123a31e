//! Digests of many files in one: thousands of files that each hold a little of everything
//! would take more memory one by one than their rows do.

use std::collections::HashSet;

use crate::store::aggregate::Digest;

/// Digests of many files, each with the numbers of its files.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    /// Each of at least twice as many files as the next: every one of them may hold every
    /// cell, so there should be few.
    pools: Vec<(HashSet<u32>, Digest)>,
    /// Goes up with each change.
    pub(crate) version: u64,
}

impl Pools {
    /// Takes in a digest of files.
    pub(crate) fn add(&mut self, sources: HashSet<u32>, digest: Digest) {
        self.version += 1;
        self.pools.push((sources, digest));
        self.pools
            .sort_by_key(|(sources, _)| std::cmp::Reverse(sources.len()));
        // What two become may be too large for the one before them.
        let alike = |pair: &[(HashSet<u32>, Digest)]| match pair {
            [(more, _), (less, _)] => more.len() < 2 * less.len(),
            _ => false,
        };
        while let Some(at) = self.pools.windows(2).rposition(alike) {
            let (from, digest) = self.pools.remove(at + 1);
            if let Some((sources, sum)) = self.pools.get_mut(at) {
                sources.extend(from);
                sum.merge(&digest);
            }
        }
    }

    /// Forgets digests with one of these files in it, and adds the others of them.
    pub(crate) fn dissolve(&mut self, gone: &mut HashSet<u32>) {
        let concerned = |sources: &HashSet<u32>| gone.iter().any(|source| sources.contains(source));
        let (dissolved, kept) = std::mem::take(&mut self.pools)
            .into_iter()
            .partition(|(s, _)| concerned(s));
        self.pools = kept;
        let dissolved: Vec<(HashSet<u32>, Digest)> = dissolved;
        if !dissolved.is_empty() {
            self.version += 1;
        }
        gone.extend(dissolved.into_iter().flat_map(|(sources, _)| sources));
    }

    /// Without digests, and another version.
    pub(crate) fn emptied(self) -> Self {
        Self {
            pools: Vec::new(),
            version: self.version + 1,
        }
    }

    /// The digests with the numbers of their files.
    pub(crate) fn all(&self) -> impl Iterator<Item = &(HashSet<u32>, Digest)> {
        self.pools.iter()
    }

    /// The digests.
    pub(crate) fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.pools.iter().map(|(_, digest)| digest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However many files come at a time, few digests are kept.
        #[test]
        fn each_pool_is_twice_as_large_as_the_next(sizes in prop::collection::vec(1_u32..200, 1..60)) {
            let (mut pools, mut next) = (Pools::default(), 0);
            for size in sizes {
                pools.add((next..next + size).collect(), Digest::default());
                next += size;
            }
            let found: Vec<usize> = pools.pools.iter().map(|(sources, _)| sources.len()).collect();
            prop_assert!(found.windows(2).all(|pair| pair[0] >= 2 * pair[1]), "{found:?}");
            prop_assert_eq!(found.iter().sum::<usize>(), next as usize);
        }
    }
}
