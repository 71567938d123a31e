//! Many stores, a line each.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::{ascii, fit, with_right};
use crate::config::show_counted;
use crate::health::Severity;
use crate::observation::overview::{Overview, TITLES};
use crate::text::sanitise::sanitise;
use crate::text::width;
use crate::tui::view::theme::{Role, Theme};

/// Cells of the columns after the name, without that of the alerts.
const CELLS: [usize; 5] = [16, 10, 9, 7, 10];
/// Names get so many cells at most.
const NAME: usize = 40;

/// What the list shows.
#[derive(Debug, Clone)]
pub(crate) struct Picture {
    /// What stands in the first row.
    pub title: String,
    /// Names and lines of the stores.
    pub lines: Vec<(String, Overview)>,
    /// Which one a key opens.
    pub selected: usize,
    /// The whole screen.
    pub area: Rect,
    /// Colours.
    pub theme: Theme,
    /// Draw with ASCII only.
    pub ascii: bool,
    /// When somebody looked last.
    pub looked: Option<Timestamp>,
}

impl Picture {
    fn span<'t>(&self, role: Role, text: impl Into<std::borrow::Cow<'t, str>>) -> Span<'t> {
        Span::styled(text, self.theme.style(role))
    }

    /// The whole screen.
    pub(crate) fn draw(&self) -> Buffer {
        let mut buffer = Buffer::empty(self.area);
        self.render(&mut buffer);
        if self.ascii {
            ascii::fold(&mut buffer);
        }
        buffer
    }

    fn render(&self, buffer: &mut Buffer) {
        let wide = usize::from(self.area.width);
        let mut rows = self.area.rows();
        let (Some(first), Some(titles)) = (rows.next(), rows.next()) else {
            return;
        };
        let looked = self.looked.map(|at| {
            let at = at.to_zoned(TimeZone::system());
            at.strftime("%H:%M %Z").to_string()
        });
        let right = vec![self.span(Role::Dim, looked.unwrap_or_default())];
        let left = Line::from(vec![
            self.span(Role::Title, " evaltop  "),
            self.span(Role::Text, sanitise(&self.title).into_owned()),
            self.span(
                Role::Dim,
                format!("   {}", show_counted(self.lines.len() as u64, "store")),
            ),
        ]);
        with_right(left, right, self.area.width).render(first, buffer);
        let names = self.lines.iter().map(|(name, _)| width::width(name));
        let most = wide.saturating_sub(CELLS.iter().sum::<usize>() + 12).max(8);
        let name = names.max().unwrap_or(0).clamp(8, NAME).min(most);
        let mut line = vec![self.span(Role::Dim, format!(" {:<name$}", "STORE"))];
        for (at, title) in TITLES.iter().take(CELLS.len()).enumerate() {
            line.push(self.span(Role::Dim, aligned(title, at)));
        }
        line.push(self.span(Role::Dim, format!("  {}", TITLES.last().unwrap_or(&""))));
        fit(Line::from(line), wide).render(titles, buffer);
        let mut rows: Vec<Rect> = rows.collect();
        let Some(footer) = rows.pop() else { return };
        if self.lines.is_empty()
            && self.looked.is_some()
            && let Some(row) = rows.first()
        {
            let text = " no store is here yet";
            self.span(Role::Dim, text).render(*row, buffer);
        }
        // The selected one is always to be seen.
        let skip = (self.selected + 1).saturating_sub(rows.len());
        for (at, row) in rows.into_iter().enumerate() {
            if let Some((text, line)) = self.lines.get(skip + at) {
                fit(self.line(skip + at, text, name, line), wide).render(row, buffer);
            }
        }
        let mut keys = Line::from(" ");
        for (key, what) in [("Enter", "open"), ("↑/↓", "choose"), ("q", "quit")] {
            keys.push_span(self.span(Role::Key, key));
            keys.push_span(self.span(Role::Dim, format!(" {what}  ")));
        }
        keys.render(footer, buffer);
    }

    fn line(&self, at: usize, name: &str, cells: usize, line: &Overview) -> Line<'static> {
        let is_selected = at == self.selected;
        let (mark, role) = if is_selected {
            ("›", Role::Selected)
        } else {
            (" ", Role::Text)
        };
        let name = width::left_middle(&sanitise(name), cells);
        let mut spans = vec![self.span(role, format!("{mark}{name}"))];
        for (at, text) in line.cells().iter().enumerate() {
            spans.push(self.span(role, aligned(text, at)));
        }
        let (sign, colour) = match line.severity {
            Severity::Healthy => ("", role),
            Severity::Warning => ("▲ ", Role::Warning),
            Severity::Critical => ("✖ ", Role::Critical),
        };
        spans.push(self.span(colour, format!("  {sign}{}", line.alarm())));
        Line::from(spans)
    }
}

/// A text in its column: a word at the left, a number at the right.
fn aligned(text: &str, at: usize) -> String {
    let cells = CELLS.get(at).map_or(0, |cells| cells - 2);
    let text = match at {
        0 => width::left(text, cells),
        _ => width::right(text, cells),
    };
    format!("  {text}")
}
