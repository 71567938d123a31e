//! Which row groups of the old main are copied, and which are encoded anew.

use std::ops::Range;

/// A run of row groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Copied byte for byte.
    Copy(Range<usize>),
    /// Encoded anew, together.
    Encode(Range<usize>),
}

/// Cuts main into parts. `groups` has the rows of each row group and how many of them
/// go; `full` is the size of a full one. What loses rows is encoded anew, and so is
/// the last one when `more` rows follow and it is not full. Small neighbours are
/// encoded together, so that there are never many small row groups.
pub(super) fn parts(groups: &[(u64, u64)], more: bool, full: u64) -> Vec<Part> {
    let last = groups.len().saturating_sub(1);
    let anew: Vec<bool> = groups
        .iter()
        .enumerate()
        .map(|(at, (rows, lost))| *lost > 0 || (more && at == last && *rows < full))
        .collect();
    let small: Vec<bool> =
        groups.iter().zip(&anew).map(|((rows, lost), anew)| *anew || rows - lost < full / 2).collect();
    let is = |flags: &[bool], at: Option<usize>| at.and_then(|at| flags.get(at)).copied().unwrap_or(false);
    let mut parts: Vec<Part> = Vec::new();
    for at in 0..groups.len() {
        let here = Some(at);
        let beside = is(&small, at.checked_sub(1)) || is(&small, at.checked_add(1));
        let encode = is(&anew, here) || (is(&small, here) && beside);
        match parts.last_mut() {
            Some(Part::Copy(run)) if !encode => run.end = at + 1,
            Some(Part::Encode(run)) if encode => run.end = at + 1,
            _ if encode => parts.push(Part::Encode(at..at + 1)),
            _ => parts.push(Part::Copy(at..at + 1)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::Part::{Copy, Encode};
    use super::*;

    #[test]
    fn full_row_groups_are_copied() {
        assert_eq!(parts(&[], true, 10), []);
        assert_eq!(parts(&[(10, 0), (10, 0)], true, 10), [Copy(0..2)]);
        assert_eq!(parts(&[(10, 0), (9, 0)], false, 10), [Copy(0..2)]);
    }

    #[test]
    fn what_loses_rows_or_is_not_full_at_the_end_is_encoded_anew() {
        assert_eq!(parts(&[(10, 0), (9, 0)], true, 10), [Copy(0..1), Encode(1..2)]);
        let groups = [(10, 0), (10, 1), (10, 0), (4, 0)];
        assert_eq!(parts(&groups, true, 10), [Copy(0..1), Encode(1..2), Copy(2..3), Encode(3..4)]);
    }

    #[test]
    fn small_neighbours_become_one() {
        assert_eq!(parts(&[(4, 0), (10, 0), (2, 0), (3, 0)], false, 10), [Copy(0..2), Encode(2..4)]);
        assert_eq!(
            parts(&[(10, 0), (4, 0), (10, 7), (10, 0)], false, 10),
            [Copy(0..1), Encode(1..3), Copy(3..4)]
        );
    }
}
