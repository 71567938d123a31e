//! Where the items of a list stand whose texts may be broken into several lines: long
//! ones are read in full where there is room, and cut where there is not.

use ratatui::layout::Rect;

/// From this many rows on, the heading included, texts are broken.
const WRAPPING: u16 = 4;

/// Whether a pane of this size breaks texts at the cost of other items.
pub(crate) fn wraps(area: Rect) -> bool {
    area.height >= WRAPPING
}

/// Which of `len` items stands in which row below the heading, and which of its lines:
/// `height` says how many lines an item would like to have. The chosen one is among
/// those shown, and no row stays empty that an item before it could fill.
pub(crate) fn place(
    len: usize,
    height: impl Fn(usize) -> usize,
    chosen: usize,
    area: Rect,
) -> Vec<(usize, usize)> {
    let rows = usize::from(area.height.saturating_sub(1));
    if len == 0 || rows == 0 {
        return Vec::new();
    }
    let wanted = |item: usize| height(item).clamp(1, rows);
    let chosen = chosen.min(len - 1);
    let (mut first, mut used) = (chosen, wanted(chosen));
    while first > 0 && used + wanted(first - 1) <= rows {
        first -= 1;
        used += wanted(first);
    }
    (first..len)
        .flat_map(|item| (0..wanted(item)).map(move |line| (item, line)))
        .take(rows)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed(heights: &[usize], chosen: usize, rows: u16) -> Vec<(usize, usize)> {
        place(
            heights.len(),
            |item| heights[item],
            chosen,
            Rect::new(0, 0, 80, rows + 1),
        )
    }

    #[test]
    fn long_ones_are_broken_where_there_is_room() {
        assert_eq!(placed(&[1, 1, 1], 0, 2), [(0, 0), (1, 0)]);
        assert_eq!(placed(&[1, 1, 1], 2, 2), [(1, 0), (2, 0)]);
        assert_eq!(
            placed(&[2, 1, 3], 0, 9),
            [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)]
        );
        assert_eq!(
            placed(&[2, 1, 3], 2, 4),
            [(1, 0), (2, 0), (2, 1), (2, 2)],
            "the chosen one is whole"
        );
        assert_eq!(placed(&[9], 0, 4).len(), 4);
        assert_eq!(placed(&[], 0, 4), []);
        assert_eq!(placed(&[1, 1], 0, 0), []);
    }
}
