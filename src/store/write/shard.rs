//! One part of work that several processes divide among them, each without asking the others.

/// The `index`-th of `of` parts, counted from 1. Work belongs to a part by its hash, so what a
/// part has to do does not depend on what is done already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    /// The `index`-th of `of` parts; `None` unless 1 ≤ `index` ≤ `of`.
    pub fn new(index: u32, of: u32) -> Option<Self> {
        (1..=of).contains(&index).then_some(Self { index, of })
    }

    /// As it is written: `1/8`.
    pub fn parse(text: &str) -> Option<Self> {
        let (index, of) = text.trim().split_once('/')?;
        Self::new(index.trim().parse().ok()?, of.trim().parse().ok()?)
    }

    /// Whether work with this hash belongs to the part.
    pub fn has(self, hash: u128) -> bool {
        hash % u128::from(self.of) == u128::from(self.index - 1)
    }

    /// Whether some work could belong to both parts.
    pub fn overlaps(self, other: Self) -> bool {
        let (mut a, mut b) = (self.of, other.of);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        // Two remainders meet where their divisors' greatest common one divides the difference.
        self.index.abs_diff(other.index).is_multiple_of(a)
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        assert_eq!(Shard::parse("3/8").unwrap().to_string(), "3/8");
        for wrong in ["", "3", "0/8", "9/8", "1/0", "-1/8", "a/b", "1/8/2"] {
            assert_eq!(Shard::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn parts_divide_and_overlap_as_their_hashes_do() {
        for of in 1..=6 {
            for other_of in 1..=6 {
                for (index, other) in (1..=of).flat_map(|a| (1..=other_of).map(move |b| (a, b))) {
                    let (a, b) = (
                        Shard { index, of },
                        Shard {
                            index: other,
                            of: other_of,
                        },
                    );
                    let meet = (0..60_u128).any(|hash| a.has(hash) && b.has(hash));
                    assert_eq!(a.overlaps(b), meet, "{a} {b}");
                }
            }
            for hash in 0..60_u128 {
                let owners = (1..=of).filter(|index| Shard { index: *index, of }.has(hash));
                assert_eq!(owners.count(), 1);
            }
        }
    }
}
