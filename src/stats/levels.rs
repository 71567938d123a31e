//! What stood at each time, in bounded memory: the highest number of waiting files and
//! bytes of each minute of the last day, of each hour before.

use std::collections::BTreeMap;

/// Bucket widths in seconds, finest first, and how many of each are kept. The oldest of
/// one level fold into the next; the last level holds two years.
const WIDTHS: [(i64, usize); 2] = [(60, 1_440), (3_600, 17_520)];

/// What stands at one time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    /// Files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Level {
    fn most(self, other: Self) -> Self {
        Self {
            files: self.files.max(other.files),
            bytes: self.bytes.max(other.bytes),
        }
    }
}

/// What stood over time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Levels {
    buckets: [BTreeMap<i64, Level>; WIDTHS.len()],
}

impl Levels {
    /// What stands at a second.
    pub fn add(&mut self, second: i64, level: Level) {
        self.insert(0, second, level);
    }

    fn insert(&mut self, at: usize, second: i64, level: Level) {
        let (Some(&(width, keep)), Some(buckets)) = (WIDTHS.get(at), self.buckets.get_mut(at))
        else {
            return;
        };
        let bucket = buckets
            .entry(second - second.rem_euclid(width))
            .or_default();
        *bucket = bucket.most(level);
        if buckets.len() > keep
            && let Some((start, oldest)) = buckets.pop_first()
        {
            self.insert(at + 1, start, oldest);
        }
    }

    /// Start of the oldest bucket.
    pub fn first(&self) -> Option<i64> {
        self.buckets
            .iter()
            .filter_map(|level| level.keys().next().copied())
            .min()
    }

    /// The highest level of each of `columns` equal stretches of the `span` seconds up to
    /// `now`, oldest first. Nobody looked in an empty one: what stood before it stands on.
    /// `None` before the first.
    pub fn columns(&self, now: i64, span: i64, columns: usize) -> Vec<Option<Level>> {
        let begin = now + 1 - span;
        let edge = |column: usize| begin + span * column as i64 / columns as i64;
        let mut standing = self.last_before(begin);
        (0..columns)
            .map(|column| {
                let found = self.most_between(edge(column), edge(column + 1));
                standing = self.last_before(edge(column + 1)).or(standing);
                found.or(standing)
            })
            .collect()
    }

    fn most_between(&self, from: i64, to: i64) -> Option<Level> {
        let within = self
            .buckets
            .iter()
            .zip(WIDTHS)
            .flat_map(|(buckets, (width, _))| {
                buckets
                    .range(from.saturating_sub(width - 1)..to)
                    .map(|(_, level)| *level)
            });
        within.reduce(Level::most)
    }

    fn last_before(&self, second: i64) -> Option<Level> {
        let last = self
            .buckets
            .iter()
            .filter_map(|buckets| buckets.range(..second).next_back());
        last.max_by_key(|(start, _)| **start)
            .map(|(_, level)| *level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(levels: &Levels, now: i64, span: i64, columns: usize) -> Vec<Option<u64>> {
        levels
            .columns(now, span, columns)
            .into_iter()
            .map(|level| level.map(|l| l.files))
            .collect()
    }

    #[test]
    fn what_stood_before_an_empty_stretch_stands_on() {
        let mut levels = Levels::default();
        for (minute, files) in [(2, 3), (2, 9), (4, 1)] {
            levels.add(minute * 60 + 5, Level { files, bytes: 0 });
        }
        assert_eq!(
            files(&levels, 419, 420, 7),
            [None, None, Some(9), Some(9), Some(1), Some(1), Some(1)]
        );
        assert_eq!(files(&levels, 419, 120, 2), [Some(1), Some(1)]);
        assert_eq!(levels.first(), Some(120));
        assert!(levels.columns(419, 60, 0).is_empty());
    }

    #[test]
    fn months_of_minutes_stay_bounded_and_keep_their_peaks() {
        let mut levels = Levels::default();
        for minute in 0..200_000_i64 {
            levels.add(
                minute * 60,
                Level {
                    files: minute as u64 % 100,
                    bytes: 7,
                },
            );
        }
        assert!(levels.buckets.iter().map(BTreeMap::len).sum::<usize>() < 5_000);
        let all = files(&levels, 200_000 * 60 - 1, 200_000 * 60, 10);
        assert_eq!(all, [Some(99); 10]);
    }
}
