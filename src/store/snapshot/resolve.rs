//! Attempts at one test: which one counts.
//!
//! Of all records with one key, those with one hash are repeats of each other, and
//! of the different ones the newest counts: larger timestamp (none is lowest), then
//! larger hash. So the winner depends on the rows alone, not on files or order.

use std::collections::{BTreeMap, HashSet};

use super::main_rows::Hit;
use crate::stats::clusters::Clusters;
use crate::stats::hashed::Hashed;
use crate::stats::{Cell, Tally};
use crate::store::digest::{Digest, Row, add};

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

/// Resolves the keyed records of `sources` and of main, and puts into `cells` and
/// `clusters` what they add to main's tests (which are in there already).
pub(super) fn resolve<'a>(
    sources: &[&Digest],
    main: impl Fn(u128) -> Option<&'a Hit>,
    cells: &mut BTreeMap<Cell, Tally>,
    clusters: &mut Clusters,
) -> Resolved {
    let mut resolved = Resolved { losers: vec![Vec::new(); sources.len()], ..Resolved::default() };
    // Sorted with their keys beside them: looking the rows up costs more than sorting does.
    let mut rows: Vec<(u128, usize, usize)> = Vec::with_capacity(sources.iter().map(|s| s.keyed.len()).sum());
    for (source, digest) in sources.iter().enumerate() {
        rows.extend(digest.keyed.iter().enumerate().map(|(index, row)| (row.key, source, index)));
    }
    rows.sort_unstable();
    let mut group: Vec<(usize, &Row)> = Vec::new();
    // By the cell's key, which is cheaper to compare than its five names.
    let mut gains: Hashed<u128, (&Cell, Tally)> = Hashed::default();
    for attempts in rows.chunk_by(|(a, ..), (b, ..)| a == b) {
        group.clear();
        group.extend(
            attempts
                .iter()
                .filter_map(|(_, source, index)| Some((*source, sources.get(*source)?.keyed.get(*index)?))),
        );
        // The winner comes first; sources and positions only order repeats.
        group.sort_unstable_by(|(source, a), (other, b)| {
            (b.rank(), source, a.at).cmp(&(a.rank(), other, b.at))
        });
        let Some((source, best)) = group.first() else { continue };
        let stored = main(best.key);
        let wins = stored.is_none_or(|hit| best.rank() > hit.row.rank());
        // Nearly all tests have one attempt.
        if group.len() > 1 || stored.is_some() {
            let mut hashes: HashSet<u64> = group.iter().map(|(_, row)| row.hash).collect();
            hashes.extend(stored.map(|hit| hit.row.hash));
            let attempts = group.len() + usize::from(stored.is_some());
            resolved.superseded += hashes.len() as u64 - 1;
            resolved.repeated += (attempts - hashes.len()) as u64;
            if wins && hashes.len() > 1 {
                resolved.superseding.extend(best.timestamp);
            }
        }
        for (source, row) in group.iter().skip(usize::from(wins)) {
            if let Some(losers) = resolved.losers.get_mut(*source) {
                losers.push(row.at);
            }
        }
        if !wins {
            continue;
        }
        if let Some(hit) = stored {
            resolved.main_losers.push(hit.row.at);
            if let Some(tally) = cells.get_mut(&hit.cell) {
                tally.subtract(&hit.row.outcome.tally());
            }
            if let Some(task) = hit.row.task {
                clusters.subtract(&hit.cell.model, task, hit.row.outcome.trials());
            }
        }
        if let Some((digest, cell)) =
            sources.get(*source).and_then(|digest| Some((digest, digest.cell(best)?)))
        {
            let (_, gain) = gains.entry(digest.key_of_cell(best)).or_insert((cell, Tally::default()));
            gain.add(&best.outcome.tally());
            if let Some(task) = best.task {
                clusters.add(&cell.model, task, best.outcome.trials());
            }
        }
    }
    for (cell, gain) in gains.values() {
        add(cells, cell, gain);
    }
    resolved.main_losers.sort_unstable();
    for losers in &mut resolved.losers {
        losers.sort_unstable();
    }
    cells.retain(|_, tally| tally.tests > 0);
    resolved
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::stats::Rate;
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

    fn row(key: u8, timestamp: Option<i64>, hash: u64, at: u64) -> Row {
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
        Row { key: u128::from(key), timestamp, hash, cell: 0, at, outcome, task: Some(hash % 2) }
    }

    type Made = (u8, Option<i64>, u64);

    /// Resolves rows laid out over files; the result without what depends on files.
    fn run(files: &[Vec<Made>], main: &[Made]) -> (BTreeMap<Cell, Tally>, u64, u64) {
        let mut cells = BTreeMap::new();
        let mut stored = BTreeMap::new();
        for (at, (key, timestamp, hash)) in main.iter().enumerate() {
            let hit = Hit { row: row(*key, *timestamp, *hash, at as u64), cell: cell(key % 2) };
            add(&mut cells, &hit.cell, &hit.row.outcome.tally());
            stored.insert(hit.row.key, hit);
        }
        let digests: Vec<Digest> = files
            .iter()
            .map(|rows| {
                let rows: Vec<(Row, Cell)> = rows
                    .iter()
                    .enumerate()
                    .map(|(at, (k, t, h))| (row(*k, *t, *h, at as u64), cell(k % 2)))
                    .collect();
                Digest::of_rows(rows.iter().map(|(row, cell)| (row, cell)))
            })
            .collect();
        let sources: Vec<&Digest> = digests.iter().collect();
        let resolved = resolve(&sources, |key| stored.get(&key), &mut cells, &mut Clusters::default());
        let lost: usize = resolved.losers.iter().map(Vec::len).sum::<usize>() + resolved.main_losers.len();
        assert_eq!(lost as u64, resolved.superseded + resolved.repeated);
        (cells, resolved.superseded, resolved.repeated)
    }

    #[test]
    fn the_newest_attempt_counts_and_repeats_are_no_attempts() {
        // Two attempts, one repeated, one older than main's.
        let (cells, superseded, repeated) = run(
            &[vec![(0, Some(5), 1), (0, Some(5), 1)], vec![(0, Some(7), 2), (2, None, 4)]],
            &[(2, Some(1), 3)],
        );
        let tally = &cells[&cell(0)];
        assert_eq!((tally.tests, tally.full), (2, 1));
        assert_eq!((superseded, repeated), (2, 1));
    }

    #[test]
    fn a_repeat_of_mains_row_leaves_main_as_it_is() {
        let (cells, superseded, repeated) = run(&[vec![(0, Some(5), 1)]], &[(0, Some(5), 1)]);
        assert_eq!((cells[&cell(0)].tests, superseded, repeated), (1, 0, 1));
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
