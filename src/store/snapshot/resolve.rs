//! Attempts at one test: which one counts.
//!
//! Of all records with one key, those with one hash are repeats of each other, and
//! of the different ones the newest counts: larger timestamp (none is lowest), then
//! larger hash. So the winner depends on the rows alone, not on files or order.

use std::collections::HashSet;

use super::hits::Hit;
use crate::stats::Cells;
use crate::stats::clusters::Clusters;

/// What resolving found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Resolved {
    /// Attempts that a newer one replaced.
    pub(super) superseded: u64,
    /// Rows that are canonically identical to another one.
    pub(super) repeated: u64,
    /// Times of the waiting rows that replaced others, microseconds since the epoch.
    pub(super) superseding: Vec<i64>,
    /// Positions of the rows that don't count, ascending, by source.
    pub(super) losers: Vec<Vec<u64>>,
    /// Positions of main's rows that don't count, ascending.
    pub(super) main_losers: Vec<u64>,
}

/// Resolves rows of `sources` files and of main that may be attempts at one test, each
/// with the number of its file. All of them are in `cells` and `clusters`: those that
/// don't count are taken out.
pub(super) fn resolve<'a>(
    sources: usize,
    rows: impl Iterator<Item = (usize, &'a Hit)>,
    main: impl Fn(u128) -> Option<&'a Hit>,
    cells: &mut Cells,
    clusters: &mut Clusters,
) -> Resolved {
    let mut resolved = Resolved {
        losers: vec![Vec::new(); sources],
        ..Resolved::default()
    };
    let mut rows: Vec<(usize, &Hit)> = rows.collect();
    if rows.is_empty() {
        return resolved;
    }
    // Of one key the winner comes first; sources and positions only order repeats.
    rows.sort_unstable_by(|(source, a), (other, b)| {
        (a.key, b.rank(), source, a.at).cmp(&(b.key, a.rank(), other, b.at))
    });
    let mut take_out = |hit: &Hit| {
        cells.subtract(&hit.cell, &hit.outcome.tally());
        if let Some(task) = hit.task {
            clusters.subtract(&hit.cell.model, task, hit.outcome.trials());
        }
    };
    for group in rows.chunk_by(|(_, a), (_, b)| a.key == b.key) {
        let Some((_, best)) = group.first() else {
            continue;
        };
        let stored = main(best.key);
        if group.len() == 1 && stored.is_none() {
            continue;
        }
        let wins = stored.is_none_or(|hit| best.rank() > hit.rank());
        let mut hashes: HashSet<u64> = group.iter().map(|(_, row)| row.hash).collect();
        hashes.extend(stored.map(|hit| hit.hash));
        let attempts = group.len() + usize::from(stored.is_some());
        resolved.superseded += hashes.len() as u64 - 1;
        resolved.repeated += (attempts - hashes.len()) as u64;
        if wins && hashes.len() > 1 {
            resolved.superseding.extend(best.timestamp);
        }
        for (source, row) in group.iter().skip(usize::from(wins)) {
            take_out(row);
            if let Some(losers) = resolved.losers.get_mut(*source) {
                losers.push(row.at);
            }
        }
        if let Some(hit) = stored.filter(|_| wins) {
            take_out(hit);
            resolved.main_losers.push(hit.at);
        }
    }
    resolved.main_losers.sort_unstable();
    for losers in &mut resolved.losers {
        losers.sort_unstable();
    }
    resolved
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::stats::{Cell, Rate};
    use crate::store::digest::Outcome;

    fn cell(model: u8) -> Cell {
        Cell {
            model: format!("m{model}").into(),
            prompt_type: "p".into(),
            tool_success_rate: Rate::new(0.8),
            difficulty: "d".into(),
            task_type: "t".into(),
        }
    }

    fn hit(key: u8, timestamp: Option<i64>, hash: u64, at: u64) -> Hit {
        let full = hash.is_multiple_of(2);
        let outcome = Outcome {
            full,
            partial: false,
            error: None,
            execution_time: hash as f64,
            turns: f64::NAN,
            tool_calls: f64::NAN,
            tool_coverage_rate: f64::NAN,
        };
        let (key, cell) = (u128::from(key), cell(key % 2).into());
        Hit {
            key,
            timestamp,
            hash,
            cell,
            at,
            outcome,
            task: Some(hash % 2),
        }
    }

    type Made = (u8, Option<i64>, u64);

    /// Resolves rows laid out over files; the result without what depends on files.
    fn run(files: &[Vec<Made>], main: &[Made]) -> (Cells, u64, u64) {
        let mut cells = Cells::default();
        let mut stored = BTreeMap::new();
        let mut made = |(at, (key, timestamp, hash)): (usize, &Made)| {
            let hit = hit(*key, *timestamp, *hash, at as u64);
            cells.add(&hit.cell, &hit.outcome.tally());
            hit
        };
        stored.extend(
            main.iter()
                .enumerate()
                .map(&mut made)
                .map(|hit| (hit.key, hit)),
        );
        let rows: Vec<(usize, Hit)> = files
            .iter()
            .enumerate()
            .flat_map(|(source, rows)| rows.iter().enumerate().map(move |row| (source, row)))
            .map(|(source, row)| (source, made(row)))
            .collect();
        let rows = rows.iter().map(|(source, hit)| (*source, hit));
        let mut clusters = Clusters::default();
        let resolved = resolve(
            files.len(),
            rows,
            |key| stored.get(&key),
            &mut cells,
            &mut clusters,
        );
        let lost: usize =
            resolved.losers.iter().map(Vec::len).sum::<usize>() + resolved.main_losers.len();
        assert_eq!(lost as u64, resolved.superseded + resolved.repeated);
        (cells, resolved.superseded, resolved.repeated)
    }

    #[test]
    fn the_newest_attempt_counts_and_repeats_are_no_attempts() {
        // Two attempts, one repeated, one older than main's.
        let (cells, superseded, repeated) = run(
            &[
                vec![(0, Some(5), 1), (0, Some(5), 1)],
                vec![(0, Some(7), 2), (2, None, 4)],
            ],
            &[(2, Some(1), 3)],
        );
        let tally = cells.get(&cell(0)).unwrap();
        assert_eq!((tally.tests, tally.full), (2, 1));
        assert_eq!((superseded, repeated), (2, 1));
    }

    #[test]
    fn a_repeat_of_mains_row_leaves_main_as_it_is() {
        let (cells, superseded, repeated) = run(&[vec![(0, Some(5), 1)]], &[(0, Some(5), 1)]);
        assert_eq!(
            (cells.get(&cell(0)).unwrap().tests, superseded, repeated),
            (1, 0, 1)
        );
    }

    fn made() -> impl Strategy<Value = Vec<Made>> {
        let row = (0_u8..6, prop::option::of(0_i64..3), 0_u64..5);
        prop::collection::vec(row, 1..40)
    }

    proptest! {
        /// However the rows lie in files, and in whatever order, the same ones count.
        #[test]
        fn files_and_order_do_not_matter(rows in made(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4), seed: u64) {
            let expected = run(std::slice::from_ref(&rows), &[]);
            let mut shuffled = rows.clone();
            shuffled.rotate_left(seed as usize % rows.len());
            if seed % 2 == 0 {
                shuffled.reverse();
            }
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(rows.len())).collect();
            ends.extend([0, rows.len()]);
            ends.sort_unstable();
            let files: Vec<Vec<Made>> = ends.windows(2).map(|w| shuffled[w[0]..w[1]].to_vec()).collect();
            prop_assert_eq!(&run(&files, &[]), &expected);
            // One of each test already in main: what counts in the end is the same.
            let first = shuffled[0];
            let rest: Vec<Made> = shuffled[1..].to_vec();
            prop_assert_eq!(&run(&[rest], &[first]), &expected);
        }
    }
}
