//! Rows a minute as a line of blocks: whole minutes only, so that the line changes
//! once a minute, and stands still while nothing is written.

use crate::monitor::Observation;
use crate::stats::history::History;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The last second to show: the end of the last whole minute, or of the newest row's
/// minute while nothing moves.
pub(super) fn end(seen: &Observation, moving: bool) -> i64 {
    let minute = |second: i64| second - second.rem_euclid(60);
    let now = seen.at.as_second();
    match super::facts::newest(seen) {
        Some(newest) if !moving => minute(newest.as_second()) + 59,
        _ => minute(now) - 1,
    }
}

/// Rows of the `columns` minutes up to `end`.
pub(super) fn line(history: &History, end: i64, columns: usize) -> String {
    let rows: Vec<f64> = history
        .columns(end, columns as i64 * 60, columns)
        .iter()
        .map(|b| b.rows)
        .collect();
    let most = rows.iter().copied().fold(0.0, f64::max);
    rows.iter().map(|r| block(*r, most)).collect()
}

/// The block for a value: nothing is a space, the least is the lowest block. The full
/// block is left out, so that the line keeps apart from the row above.
fn block(value: f64, most: f64) -> char {
    if value <= 0.0 || most <= 0.0 {
        return ' ';
    }
    let levels = BLOCKS.len() - 1;
    let level = (value / most * levels as f64).ceil() as usize;
    BLOCKS
        .get(level.clamp(1, levels) - 1)
        .copied()
        .unwrap_or(' ')
}

/// Rates from 0 to 1 on a scale that is the same for all: the lowest block is 0.
pub(super) fn rates(rates: &[f64]) -> String {
    let block = |rate: &f64| BLOCKS.get((rate * (BLOCKS.len() - 1) as f64).round() as usize);
    rates.iter().filter_map(block).collect()
}

/// The part of a column of `value` that falls into the `row`th row from the bottom of
/// `rows`, as a block.
pub(super) fn tower(value: f64, most: f64, row: usize, rows: usize) -> char {
    if value <= 0.0 || most <= 0.0 {
        return ' ';
    }
    let eighths = ((value / most * (rows * 8) as f64).ceil() as usize).max(1);
    match eighths.saturating_sub(row * 8) {
        0 => ' ',
        n => BLOCKS.get(n.min(8) - 1).copied().unwrap_or(' '),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_grow_with_the_rows() {
        let mut history = History::default();
        for (minute, rows) in [(0, 8), (1, 0), (2, 4), (3, 1)] {
            history.add(minute * 60 + 5, rows, 0);
        }
        assert_eq!(line(&history, 239, 4), "▇ ▄▁");
    }

    #[test]
    fn rates_share_one_scale() {
        assert_eq!(rates(&[0.0, 0.05, 0.5, 0.95, 1.0]), "▁▁▅██");
    }

    #[test]
    fn towers_fill_from_the_bottom() {
        let column: String = (0..3).rev().map(|row| tower(5.0, 8.0, row, 3)).collect();
        assert_eq!(column, " ▇█");
    }
}
