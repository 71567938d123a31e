//! Which row groups of the old main are copied, and which are encoded again.

use std::ops::Range;

/// A run of row groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// Copied byte for byte.
    Copy(Range<usize>),
    /// Encoded again, together.
    Encode(Range<usize>),
}

/// A row group, and how many of its rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) rows: u64,
    /// Encoded.
    pub(crate) bytes: u64,
    pub(crate) lost: u64,
    /// Its rows are to be sorted.
    pub(crate) mixed: bool,
}

/// Cuts main into parts; new rows and bytes are to follow, and a row group is full that has
/// as many of either as `full`. What loses rows is encoded again. A small row group joins what
/// follows it unless it is at least twice as large: so each row is encoded again a few times
/// only, however many small commits there are, and at most as many small row groups stand at
/// the end as `full` can be halved.
pub(crate) fn parts(groups: &[Group], new: (u64, u64), full: (u64, u64)) -> Vec<Part> {
    let changes = |group: &Group| group.lost > 0 || group.mixed;
    let mut encode: Vec<bool> = groups.iter().map(changes).collect();
    let mut follows = Follows {
        rows: size(new, full),
        rewritten: true,
    };
    let full_rows = full.0;
    for at in (0..groups.len()).rev() {
        let Some(group) = groups.get(at) else {
            continue;
        };
        let Group {
            rows, bytes, lost, ..
        } = *group;
        let stays = rows.saturating_sub(lost);
        let rows = size((stays, share(bytes, stays, rows)), full);
        let joins = follows.takes(rows, full_rows);
        let mut set = |at: usize| {
            encode
                .get_mut(at)
                .is_some_and(|flag| std::mem::replace(flag, true))
        };
        if joins {
            set(at);
            set(at + 1);
        }
        let rewritten = joins || changes(group);
        let adds = if joins { follows.rows } else { 0 };
        follows = Follows {
            rows: rows + adds,
            rewritten,
        };
    }
    runs(&encode)
}

/// How large rows are that take so many bytes, in rows: as much of a full row group.
fn size((rows, bytes): (u64, u64), full: (u64, u64)) -> u64 {
    rows.max(share(full.0, bytes, full.1))
}

/// The part of a number that `of` is of `whole`.
fn share(number: u64, of: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(number) * u128::from(of) / u128::from(whole.max(1)))
        .unwrap_or(u64::MAX)
}

/// What stands behind a row group.
struct Follows {
    rows: u64,
    /// It is encoded in any case.
    rewritten: bool,
}

impl Follows {
    /// Whether a row group of so many rows joins it.
    fn takes(&self, rows: u64, full: u64) -> bool {
        let fits = if self.rewritten {
            rows < full
        } else {
            rows < full / 2 && self.rows < full / 2
        };
        fits && rows < 2 * self.rows
    }
}

fn runs(encode: &[bool]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for (at, encode) in encode.iter().enumerate() {
        match parts.last_mut() {
            Some(Part::Copy(run)) if !encode => run.end = at + 1,
            Some(Part::Encode(run)) if *encode => run.end = at + 1,
            _ if *encode => parts.push(Part::Encode(at..at + 1)),
            _ => parts.push(Part::Copy(at..at + 1)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::Part::{Copy, Encode};
    use super::*;

    /// Of row groups of narrow rows.
    fn parts(groups: &[(u64, u64)], new: u64, full: u64) -> Vec<Part> {
        let groups: Vec<Group> = groups
            .iter()
            .map(|(rows, lost)| Group {
                rows: *rows,
                bytes: *rows,
                lost: *lost,
                mixed: false,
            })
            .collect();
        super::parts(&groups, (new, new), (full, 1_000 * full))
    }

    #[test]
    fn what_is_full_by_its_bytes_is_full() {
        let wide = Group {
            rows: 3,
            bytes: 100,
            lost: 0,
            mixed: false,
        };
        let full = (10, 100);
        assert_eq!(super::parts(&[wide, wide], (9, 9), full), [Copy(0..2)]);
        // Half a row group of bytes, however few rows.
        let half = Group { bytes: 50, ..wide };
        assert_eq!(
            super::parts(&[wide, half], (1, 30), full),
            [Copy(0..1), Encode(1..2)]
        );
        assert_eq!(super::parts(&[wide, half], (1, 20), full), [Copy(0..2)]);
        let loses = Group { lost: 1, ..wide };
        assert_eq!(
            super::parts(&[wide, loses, wide], (1, 1), full),
            [Copy(0..1), Encode(1..2), Copy(2..3)]
        );
    }

    #[test]
    fn full_row_groups_are_copied() {
        assert_eq!(parts(&[], 1, 10), []);
        assert_eq!(parts(&[(10, 0), (10, 0)], 7, 10), [Copy(0..2)]);
        assert_eq!(parts(&[(10, 0), (9, 0)], 0, 10), [Copy(0..2)]);
    }

    #[test]
    fn what_loses_rows_is_encoded_rewritten_and_a_small_end_once_as_much_follows() {
        assert_eq!(parts(&[(10, 0), (9, 0)], 4, 10), [Copy(0..2)]);
        assert_eq!(parts(&[(10, 0), (9, 0)], 5, 10), [Copy(0..1), Encode(1..2)]);
        assert_eq!(
            parts(&[(10, 0), (9, 0), (4, 0), (2, 0)], 1, 10),
            [Copy(0..4)]
        );
        assert_eq!(
            parts(&[(10, 0), (9, 0), (4, 0), (2, 0)], 2, 10),
            [Copy(0..1), Encode(1..4)]
        );
        let groups = [(10, 0), (10, 1), (10, 0), (4, 0)];
        assert_eq!(
            parts(&groups, 3, 10),
            [Copy(0..1), Encode(1..2), Copy(2..3), Encode(3..4)]
        );
    }

    #[test]
    fn small_neighbours_become_one() {
        assert_eq!(
            parts(&[(4, 0), (10, 0), (2, 0), (3, 0)], 0, 10),
            [Copy(0..2), Encode(2..4)]
        );
        assert_eq!(
            parts(&[(10, 0), (4, 0), (10, 7), (10, 0)], 0, 10),
            [Copy(0..1), Encode(1..3), Copy(3..4)]
        );
    }

    /// Commits of a row each: row groups stay few, and no row is encoded often.
    #[test]
    fn many_small_commits_cost_little() {
        let (full, commits) = (1_000, 20_000_u64);
        let mut groups: Vec<(u64, u64)> = Vec::new();
        let mut encoded = 0;
        for _ in 0..commits {
            let mut last = 1;
            for part in parts(&groups, 1, full) {
                if let Encode(range) = part {
                    last += groups.drain(range).map(|(rows, _)| rows).sum::<u64>();
                }
            }
            encoded += last;
            while last > 0 {
                groups.push((last.min(full), 0));
                last -= last.min(full);
            }
            let small = groups.iter().filter(|(rows, _)| *rows < full / 2).count();
            assert!(
                small <= 10 && groups.len() as u64 <= 12 + 2 * commits / full,
                "{groups:?}"
            );
        }
        assert_eq!(groups.iter().map(|(rows, _)| rows).sum::<u64>(), commits);
        assert!(encoded < 12 * commits, "{encoded}");
    }
}
