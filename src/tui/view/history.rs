//! Rows a minute over the run so far, where the models leave room for it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::{heading, spark};
use crate::tui::format::{per_minute, span};
use crate::tui::model::Model;
use crate::tui::theme::Role;

/// The chart with its heading.
pub(super) struct Chart<'a>(pub &'a Model);

impl Widget for Chart<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        let Some(seen) = model.seen.as_ref().filter(|_| area.height > 1) else { return };
        let columns = usize::from(area.width.saturating_sub(2));
        let end = spark::end(seen, model.moving());
        let run = seen.history.first().map_or(0, |first| end - first);
        // Whole minutes a column, so that the columns hold whole buckets.
        let width = (run / columns.max(1) as i64 / 60 + 1) * 60;
        let end = end - (end + 1).rem_euclid(width);
        let buckets = seen.history.columns(end, width * columns as i64, columns);
        let rates: Vec<f64> = buckets.iter().map(|b| b.rows * 60.0 / width as f64).collect();
        let most = rates.iter().copied().fold(0.0, f64::max);
        let title = format!("ROWS/MIN  most {}", per_minute(most));
        let right = format!("last {}", span(width as f64 * columns as f64));
        heading(model, &title, &right, area.width, false).render(area, buffer);
        let rows = usize::from(area.height - 1);
        for (i, line) in area.rows().skip(1).enumerate() {
            let row = rows - 1 - i;
            let blocks: String = rates.iter().map(|r| spark::tower(*r, most, row, rows)).collect();
            Line::from(vec![model.span(Role::Text, " "), model.span(Role::Bar, blocks)]).render(line, buffer);
        }
    }
}
