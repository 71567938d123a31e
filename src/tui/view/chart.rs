//! Lines and towers over time, for every pane that draws one: which stretch of time a
//! chart shows, and rates from 0 to 100 % as a line of braille dots, or of blocks where
//! the terminal has no braille.

use jiff::Timestamp;
use ratatui::text::{Line, Span};

use super::spark;
use crate::monitor::Observation;
use crate::observation::MarkKind;
use crate::stats::history::History;
use crate::text::numbers::whole_percent;
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// Cells of the scale at the left.
pub(super) const AXIS: usize = 6;
/// A point of a success line rests on about so many tests.
const TESTS: f64 = 20.0;

/// The stretch of time that a chart shows, in whole minutes a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Its last second.
    pub end: i64,
    /// Seconds to a column.
    pub width: i64,
    /// Columns.
    pub columns: usize,
    /// Cells to a column.
    pub cells: usize,
}

/// Success in the points of a line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Success {
    /// Rates, 0 to 1; `None` where nothing was recorded.
    pub rates: Vec<Option<f64>>,
    /// Seconds that each point reaches back, where that is more than its own.
    pub smoothed: Option<i64>,
}

impl Stretch {
    /// The run so far, or its last `longest` seconds, in so many cells or a few less; `None`
    /// where there is no row or no cell. It ends with the last whole column, so that the
    /// picture changes only when a column is complete.
    pub(super) fn new(
        model: &Model,
        seen: &Observation,
        history: &History,
        room: usize,
        longest: Option<i64>,
    ) -> Option<Self> {
        let end = spark::end(seen, model.moving());
        let run = end - history.first()?;
        let shown = longest.map_or(run, |longest| longest - 60).max(0);
        if room == 0 {
            return None;
        }
        let width = (shown / room as i64 / 60 + 1) * 60;
        let columns = usize::try_from(shown / width + 1).unwrap_or(room).min(room);
        Some(Self {
            end: end - (end + 1).rem_euclid(width),
            width,
            columns,
            cells: room / columns,
        })
    }

    /// Its length in seconds.
    pub(super) fn seconds(&self) -> i64 {
        self.width * self.columns as i64
    }

    /// Cells that it takes.
    pub(super) fn room(&self) -> usize {
        self.columns * self.cells
    }

    /// A value for each cell, from one for each column.
    pub(super) fn spread(&self, values: impl IntoIterator<Item = f64>) -> Vec<f64> {
        values
            .into_iter()
            .flat_map(|value| std::iter::repeat_n(value, self.cells))
            .collect()
    }

    /// Rows a minute, cell by cell.
    pub(super) fn per_minute(&self, history: &History) -> Vec<f64> {
        let buckets = history.columns(self.end, self.seconds(), self.columns);
        self.spread(
            buckets
                .iter()
                .map(|bucket| bucket.rows * 60.0 / self.width as f64),
        )
    }

    /// Success at so many points of time.
    pub(super) fn success(&self, history: &History, points: usize) -> Success {
        let seconds = self.seconds();
        let begin = self.end + 1 - seconds;
        let rows = history.between(begin, self.end + 1, self.end).rows;
        let own = seconds / points.max(1) as i64;
        // Whole minutes, as many as hold enough tests where tests are evenly spread.
        let each = if rows > 0.0 {
            (seconds as f64 * TESTS / rows).ceil() as i64
        } else {
            own
        };
        let each = (each.max(own) + 59) / 60 * 60;
        let rate = |point: usize| {
            let to = begin + seconds * (point as i64 + 1) / points as i64;
            let bucket = history.between(to - each, to, self.end);
            bucket.success_rate()
        };
        Success {
            rates: (0..points).map(rate).collect(),
            smoothed: (each > own.max(60)).then_some(each),
        }
    }
}

/// The time below a chart: clock times at its beginning, in between, and at its end, which is now
/// while the store moves.
pub(super) fn times(model: &Model, stretch: &Stretch) -> Line<'static> {
    const APART: usize = 20;
    let room = stretch.room();
    let begin = stretch.end + 1 - stretch.seconds();
    let clock = |second: i64| {
        let at = Timestamp::from_second(second).ok();
        at.map_or_else(String::new, |at| model.clock(at))
    };
    let end = if model.moving() {
        "now".to_owned()
    } else {
        clock(stretch.end + 1)
    };
    let mut text = String::new();
    let parts = (room / APART).max(1);
    for part in 0..parts {
        let at = room * part / parts;
        let time = clock(begin + stretch.seconds() * part as i64 / parts as i64);
        let fits = at + width::width(&time) + 2 + width::width(&end) <= room;
        if fits && width::width(&text) <= at {
            text = format!("{}{time}", width::left(&text, at));
        }
    }
    let text = width::left(&text, room.saturating_sub(width::width(&end)));
    Line::from(model.span(Role::Dim, format!("{}{text}{end}", " ".repeat(AXIS))))
}

/// Draws marks over the top row of a chart: × where a writer was lost, ! where a model began to
/// be throttled.
pub(super) fn mark(model: &Model, seen: &Observation, stretch: &Stretch, top: &mut Line<'static>) {
    let begin = stretch.end + 1 - stretch.seconds();
    let mut cells: Vec<Span<'static>> = Vec::new();
    for span in &top.spans {
        let each = |c: char| Span::styled(c.to_string(), span.style);
        cells.extend(span.content.chars().map(each));
    }
    let mut marked = false;
    for mark in &seen.marks {
        let from = mark.at.as_second() - begin;
        // What is newer than the last whole column stands at the end.
        let Ok(column) = usize::try_from(from / stretch.width) else {
            continue;
        };
        if from < 0 {
            continue;
        }
        let at = AXIS + column.min(stretch.columns - 1) * stretch.cells;
        if let Some(cell) = cells.get_mut(at) {
            *cell = model.span(Role::Warning, symbol(mark.kind));
            marked = true;
        }
    }
    if marked {
        top.spans = cells;
    }
}

/// What the marks of a stretch mean.
pub(super) fn legend(seen: &Observation, stretch: &Stretch) -> String {
    let begin = stretch.end + 1 - stretch.seconds();
    let shown = |kind: MarkKind| {
        let mut marks = seen.marks.iter();
        marks.any(|mark| mark.kind == kind && mark.at.as_second() >= begin)
    };
    let mut legend = String::new();
    for (kind, word) in [(MarkKind::Lost, "lost"), (MarkKind::Throttled, "throttled")] {
        if shown(kind) {
            legend = format!("{legend}  {} {word}", symbol(kind));
        }
    }
    legend
}

fn symbol(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Lost => "×",
        MarkKind::Throttled => "!",
    }
}

/// Points to a cell: two where there is braille.
pub(super) fn dots(model: &Model) -> usize {
    if has_braille(model) { 2 } else { 1 }
}

fn has_braille(model: &Model) -> bool {
    model.settings.braille && !model.settings.ascii
}

/// Rates as a line, a row of the screen each, with the scale at the left.
pub(super) fn line(
    model: &Model,
    rates: &[Option<f64>],
    columns: usize,
    rows: usize,
) -> Vec<Vec<Span<'static>>> {
    let drawn: Vec<String> = if has_braille(model) {
        braille(rates, columns, rows)
    } else {
        let tower = |row| {
            rates
                .iter()
                .map(|r| r.map_or(' ', |r| spark::tower(r.max(1e-9), 1.0, row, rows)))
                .collect()
        };
        (0..rows).rev().map(tower).collect()
    };
    let label = |row: usize| match row {
        0 => whole_percent(Some(1.0)),
        row if row + 1 == rows => whole_percent(Some(0.0)),
        _ => String::new(),
    };
    drawn
        .into_iter()
        .enumerate()
        .map(|(row, text)| {
            let label = format!("{} ", width::right(&label(row), AXIS - 1));
            vec![model.span(Role::Dim, label), model.span(Role::Bar, text)]
        })
        .collect()
}

/// Two points a cell across and four up, joined so that no step is left open.
fn braille(rates: &[Option<f64>], columns: usize, rows: usize) -> Vec<String> {
    /// Bits of a cell's dots, from the bottom up, left and right.
    const DOTS: [[u32; 2]; 4] = [[0x40, 0x80], [0x04, 0x20], [0x02, 0x10], [0x01, 0x08]];
    let top = (rows * 4).saturating_sub(1);
    let height = |rate: f64| ((rate * top as f64).round() as usize).min(top);
    let mut cells = vec![vec![0_u32; columns]; rows];
    let mut before: Option<usize> = None;
    for (x, rate) in rates.iter().enumerate() {
        let Some(at) = rate.map(height) else {
            before = None;
            continue;
        };
        let from = before.map_or(at, |before| {
            if before < at {
                before + 1
            } else {
                before.saturating_sub(1).max(at)
            }
        });
        for y in from.min(at)..=from.max(at) {
            let row = rows - 1 - (y / 4).min(rows - 1);
            let dot = DOTS
                .get(y % 4)
                .and_then(|pair| pair.get(x % 2))
                .copied()
                .unwrap_or(0);
            if let Some(cell) = cells.get_mut(row).and_then(|row| row.get_mut(x / 2)) {
                *cell |= dot;
            }
        }
        before = Some(at);
    }
    let symbol = |bits: &u32| match bits {
        0 => ' ',
        bits => char::from_u32(0x2800 + bits).unwrap_or(' '),
    };
    cells
        .iter()
        .map(|row| row.iter().map(symbol).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::state::fixture;

    fn history(minutes: i64, rows: u64, full: u64) -> History {
        let mut history = History::default();
        for minute in 0..minutes {
            history.add(fixture::now().as_second() - (minute + 1) * 60, rows, full);
        }
        history
    }

    #[test]
    fn a_line_rises_without_gaps() {
        assert_eq!(
            braille(&[Some(0.0), Some(1.0), None, Some(0.5)], 2, 1),
            ["\u{2878}\u{2810}"]
        );
        assert_eq!(
            braille(&[Some(1.0), Some(0.0)], 1, 2),
            ["\u{28b1}", "\u{28b8}"]
        );
    }

    #[test]
    fn the_stretch_is_whole_columns_of_whole_minutes() {
        let seen = fixture::healthy();
        let model = fixture::showing(80, 24, seen.clone());
        let run = history(600, 4, 2);
        let stretch = Stretch::new(&model, &seen, &run, 60, None).unwrap();
        assert_eq!(
            (stretch.width % 60, (stretch.end + 1) % stretch.width),
            (0, 0)
        );
        assert!((35_000..43_200).contains(&stretch.seconds()), "{stretch:?}");
        let hour = Stretch::new(&model, &seen, &run, 60, Some(3_600)).unwrap();
        assert_eq!((hour.seconds(), hour.cells), (3_600, 1));
        let wide = Stretch::new(&model, &seen, &run, 134, Some(3_600)).unwrap();
        assert_eq!(
            (wide.seconds(), wide.room()),
            (3_600, 120),
            "an hour is an hour at any width"
        );
        assert_eq!(wide.per_minute(&run).len(), 120);
        let young = Stretch::new(&model, &seen, &history(10, 4, 2), 60, None).unwrap();
        assert_eq!(
            (young.seconds(), young.room()),
            (600, 60),
            "a young run fills the chart"
        );
        assert_eq!(
            Stretch::new(&model, &seen, &History::default(), 60, None),
            None
        );
        assert_eq!(Stretch::new(&model, &seen, &run, 0, None), None);
    }

    #[test]
    fn points_rest_on_enough_tests() {
        let seen = fixture::healthy();
        let model = fixture::showing(80, 24, seen.clone());
        let rare = history(600, 1, 1);
        let stretch = Stretch::new(&model, &seen, &rare, 60, None).unwrap();
        let found = stretch.success(&rare, 120);
        assert!(
            found
                .smoothed
                .is_some_and(|each| (1_200..2_400).contains(&each)),
            "{found:?}"
        );
        assert_eq!(found.rates.last(), Some(&Some(1.0)));
        let many = history(600, 100, 25);
        let found = Stretch::new(&model, &seen, &many, 60, None)
            .unwrap()
            .success(&many, 60);
        assert_eq!(
            (found.smoothed, found.rates.last()),
            (None, Some(&Some(0.25)))
        );
    }
}
