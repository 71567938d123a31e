//! Takes attempts that don't count out of what was counted.

use std::collections::BTreeMap;

use super::hits::Hit;
use crate::stats::Cells;
use crate::stats::clusters::Clusters;
use crate::store::resolve::{Attempts, Novelty, Removed, Verdict};

/// What resolving found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Resolved {
    /// Attempts that a newer one replaced.
    pub(crate) superseded: u64,
    /// Rows that are canonically identical to another one.
    pub(crate) repeated: u64,
    /// Times of the waiting rows that replaced others, microseconds since the epoch.
    pub(crate) superseding: Vec<i64>,
    /// Positions of the rows that don't count, ascending, by source.
    pub(crate) losers: Vec<Vec<u64>>,
    /// Positions of main's rows that don't count, ascending.
    pub(crate) main_losers: Vec<u64>,
    /// How many rows two sources share.
    pub(crate) identical: BTreeMap<(usize, usize), u64>,
}

/// Resolves rows of `sources` files and of main that may be attempts at one test, each
/// with the number of its file. All of them are in `cells` and `clusters`: those that
/// don't count are taken out. Of a key that several rows may have, all rows of the sources are here,
/// and main has at most one. Of main's rows none was removed.
pub(crate) fn resolve<'a>(
    sources: usize,
    novelty: impl Fn(usize) -> Novelty,
    rows: impl Iterator<Item = (usize, &'a Hit)>,
    main: impl Fn(u128) -> Option<&'a Hit>,
    removed: &Removed,
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
        (a.key, b.rank, source, a.at).cmp(&(b.key, a.rank, other, b.at))
    });
    let mut take_out = |hit: &Hit| {
        cells.subtract(&hit.cell, &hit.outcome.tally());
        if let Some((task, trials)) = hit.task.zip(hit.outcome.trials()) {
            clusters.subtract(&hit.cell.model, task, trials);
        }
    };
    if !removed.is_empty() {
        rows.retain(|(source, row)| {
            let goes = removed.removes(row.key, &row.rank);
            if goes {
                take_out(row);
                if let Some(losers) = resolved.losers.get_mut(*source) {
                    losers.push(row.at);
                }
            }
            !goes
        });
    }
    for group in rows.chunk_by(|(_, a), (_, b)| a.key == b.key) {
        let Some((_, best)) = group.first() else {
            continue;
        };
        let stored = main(best.key);
        if group.len() == 1 && stored.is_none() {
            continue;
        }
        let mut attempts = Attempts::new(best.rank);
        let others = group.iter().skip(1).map(|(_, row)| row.rank);
        let verdicts: Vec<Verdict> = others
            .chain(stored.map(|hit| hit.rank))
            .map(|rank| attempts.weigh(rank))
            .collect();
        // The loser of each.
        let winner = group.first().map(|(source, _)| novelty(*source));
        for (at, (source, row)) in group.iter().enumerate() {
            let before = group.get(..at).unwrap_or_default();
            let same =
                |(other, hit): &&(usize, &Hit)| hit.rank.hash == row.rank.hash && other != source;
            if let Some((other, _)) = before.iter().rfind(same) {
                let pair = (*other.min(source), *other.max(source));
                *resolved.identical.entry(pair).or_default() += 1;
            }
        }
        let news = group
            .iter()
            .skip(1)
            .map(|(source, _)| novelty(*source))
            .chain(stored.map(|_| Novelty::Unknown));
        let counted = verdicts
            .iter()
            .zip(news)
            .enumerate()
            .filter(|(at, (verdict, loser))| {
                let main = *at + 1 == group.len();
                // Of two that are the same main's stays.
                let stays = main && !verdict.supersedes();
                loser.counts(**verdict)
                    && !(stays && winner.is_some_and(|winner| winner != Novelty::Unknown))
            })
            .map(|(_, (verdict, _))| verdict);
        let counted: Vec<&Verdict> = counted.collect();
        // Of two that are the same main's stays.
        let last = verdicts.last().filter(|_| stored.is_some());
        let wins = last.is_none_or(|main| matches!(main, Verdict::Older | Verdict::Again));
        let superseded = counted
            .iter()
            .filter(|verdict| verdict.supersedes())
            .count();
        resolved.superseded += superseded as u64;
        resolved.repeated += (counted.len() - superseded) as u64;
        if wins && superseded > 0 {
            resolved.superseding.extend(best.rank.timestamp);
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
    use crate::store::aggregate::Outcome;
    use crate::store::resolve::Rank;

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
        // The hash is of the time too.
        let rank = Rank {
            timestamp,
            hash: u128::from(hash) + 10 * (timestamp.unwrap_or(-1) + 1) as u128,
            ..Rank::default()
        };
        let full = hash.is_multiple_of(2);
        let outcome = Outcome {
            full,
            partial: false,
            unscored: false,
            error: None,
            execution_time: hash as f64,
            turns: f64::NAN,
            tool_calls: f64::NAN,
            tool_coverage_rate: f64::NAN,
            cost: hash as f64 * 0.1,
            judge_cost: f64::NAN,
            tokens: crate::stats::money::Tokens {
                n: 1,
                input: hash,
                ..Default::default()
            },
        };
        let (key, cell) = (u128::from(key), cell(key % 2).into());
        Hit {
            key,
            rank,
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
            |_| Novelty::Unknown,
            rows,
            |key| stored.get(&key),
            &Removed::default(),
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
