//! Rows a minute over the run so far, where the models leave room for it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::chart::Stretch;
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
        let Some(stretch) = Stretch::new(model, seen, &seen.history, columns, None) else { return };
        let rates = stretch.per_minute(&seen.history);
        let most = rates.iter().copied().fold(0.0, f64::max);
        let title = format!("ROWS/MIN  most {}", per_minute(most));
        let right = format!("last {}", span(stretch.seconds() as f64));
        heading(model, &title, &right, area.width, false).render(area, buffer);
        let rows = usize::from(area.height - 1);
        for (i, line) in area.rows().skip(1).enumerate() {
            let row = rows - 1 - i;
            let blocks: String = rates.iter().map(|r| spark::tower(*r, most, row, rows)).collect();
            Line::from(vec![model.span(Role::Text, " "), model.span(Role::Bar, blocks)]).render(line, buffer);
        }
    }
}
