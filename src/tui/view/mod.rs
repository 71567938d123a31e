//! The screen, top to bottom; each pane has a file of its own and draws itself from
//! the model, which it never changes.
//!
//! ```text
//! header      name, store, generation, how changes are noticed
//! status      one sentence with its key, or HEALTHY
//! facts       totals, waiting, main, writers
//! models      the table of models                    ┐
//! history     the run over time, where there is room │ overlays cover these
//! alerts      what needs somebody                    │
//! activity    what happened                          ┘
//! prompt      a question or the running job, in place of the activity
//! footer      keys
//! ```

pub(crate) mod ascii;
#[cfg(test)]
pub(crate) mod pictures;
pub(crate) mod theme;

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use self::theme::Role;
use super::state::model::Model;
use crate::observation::StoreState;
use crate::text::width;

pub(super) mod activity;
mod alert;
mod alert_log;
pub(super) mod alerts;
mod chart;
mod choose;
mod compare;
mod cost;
mod drill;
mod facts;
mod files;
mod footer;
mod header;
mod help;
mod history;
pub(super) mod layout;
mod missing;
pub(super) mod models;
pub(super) mod overlay;
mod progress;
pub(super) mod prompt;
mod row;
pub(super) mod rows;
mod spark;
mod status;
pub(crate) mod stores;
mod work;
mod writers;

/// The whole screen.
#[derive(Debug)]
pub(crate) struct Screen<'a>(pub &'a Model);

impl Widget for &Screen<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        if layout::fits(area) {
            draw(model, buffer);
        } else {
            let (columns, rows) = layout::SMALLEST;
            let message = format!("too small: needs {columns}×{rows}");
            let line = Line::styled(
                width::truncate(&message, area.width.into()),
                model.style(Role::Dim),
            );
            let row = Rect {
                y: area.y + area.height / 2,
                height: area.height.min(1),
                ..area
            };
            line.centered().render(row, buffer);
        }
        if model.settings.ascii {
            ascii::fold(buffer);
        }
    }
}

impl Screen<'_> {
    /// Where the cursor stands, while something is being typed.
    pub(crate) fn cursor(&self) -> Option<Position> {
        if !layout::fits(self.0.area) {
            return None;
        }
        footer::cursor(self.0).or_else(|| prompt::cursor(self.0))
    }
}

fn draw(model: &Model, buffer: &mut Buffer) {
    let areas = layout::areas(model);
    header::Header(model).render(areas.header, buffer);
    status::Status(model).render(areas.status, buffer);
    let there = matches!(model.store_state(), Some(StoreState::Ready));
    if let Some(top) = model.overlays.last() {
        overlay::Pane(model, top).render(areas.body, buffer);
    } else if there {
        facts::Facts(model).render(areas.facts, buffer);
        models::Models(model).render(areas.models, buffer);
        work::Work(model).render(areas.work, buffer);
        history::Chart(model).render(areas.history, buffer);
        alerts::Alerts(model).render(areas.alerts, buffer);
        activity::Activity(model).render(areas.activity, buffer);
    } else if model.seen.is_some() {
        missing::Missing(model).render(areas.body, buffer);
    }
    prompt::Bottom(model).render(areas.prompt, buffer);
    footer::Footer(model).render(areas.footer, buffer);
}

impl Model {
    /// How a role looks.
    pub(super) fn style(&self, role: Role) -> Style {
        self.settings.theme.style(role)
    }

    /// Text in a role.
    pub(super) fn span<'t>(
        &self,
        role: Role,
        text: impl Into<std::borrow::Cow<'t, str>>,
    ) -> Span<'t> {
        Span::styled(text, self.style(role))
    }
}

/// A heading: a rule with a title at its left and something at its right.
fn heading(model: &Model, title: &str, right: &str, width: u16, focused: bool) -> Line<'static> {
    let width = usize::from(width);
    let title = width::truncate(title, width.saturating_sub(2));
    let room = width.saturating_sub(width::width(&title) + 4);
    let right = if width::width(right) <= room {
        width::clean(right).into_owned()
    } else {
        String::new()
    };
    let rule = width.saturating_sub(2 + width::width(&title) + width::width(&right));
    let role = if focused { Role::Title } else { Role::Dim };
    Line::from(vec![
        model.span(Role::Rule, "─"),
        model.span(role, title),
        model.span(Role::Rule, "─".repeat(rule)),
        model.span(Role::Dim, right),
        model.span(Role::Rule, "─"),
    ])
}

/// Groups of text in a row with a gap between them; those that do not fit any more
/// are left out rather than cut in the middle.
fn groups(groups: Vec<Vec<Span<'_>>>, gap: usize, width: u16) -> Line<'_> {
    let mut line = Line::default();
    let mut used = 0;
    for (i, group) in groups.into_iter().filter(|g| !g.is_empty()).enumerate() {
        let gap = if i == 0 { 0 } else { gap };
        let wide: usize = group.iter().map(|s| width::width(&s.content)).sum();
        if used + gap + wide > usize::from(width) && i > 0 {
            break;
        }
        used += gap + wide;
        line.push_span(Span::raw(" ".repeat(gap)));
        line.extend(group);
    }
    line
}

/// A row with something at its right end, which stays whole; one column of margin.
fn with_right<'t>(left: Line<'t>, right: Vec<Span<'t>>, width: u16) -> Line<'t> {
    let wide: usize = right.iter().map(|s| width::width(&s.content)).sum();
    let room = usize::from(width).saturating_sub(wide + 1);
    let mut line = fit(left, room.saturating_sub(usize::from(wide > 0)));
    let gap = room.saturating_sub(line.width());
    line.push_span(Span::raw(" ".repeat(gap)));
    line.extend(right);
    line
}

/// A line cut to `cells`, with an ellipsis.
fn fit(line: Line<'_>, cells: usize) -> Line<'_> {
    if line.width() <= cells {
        return line;
    }
    let mut out = Line::default();
    let mut room = cells;
    for span in line.spans {
        let wide = width::width(&span.content);
        if wide < room {
            room -= wide;
            out.push_span(span);
        } else {
            // One cell is kept for the ellipsis, also where the span itself just fits.
            let cut = width::truncate(&format!("{}  ", span.content), room);
            out.push_span(Span::styled(cut, span.style));
            break;
        }
    }
    out
}

/// A bar of whole cells: filled up to `share` of `cells`.
fn gauge(model: &Model, share: f64, cells: usize, role: Role) -> Vec<Span<'static>> {
    let filled = ((share.clamp(0.0, 1.0) * cells as f64).round() as usize).min(cells);
    vec![
        model.span(role, "█".repeat(filled)),
        model.span(Role::Rest, "·".repeat(cells - filled)),
    ]
}
