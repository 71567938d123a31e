//! First row: name, store, what mode it is in, generation, how changes are noticed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::monitor::observation::WatchMode;
use crate::tui::model::Model;
use crate::tui::text;
use crate::tui::theme::Role;

/// The first row.
pub(super) struct Header<'a>(pub &'a Model);

impl Widget for Header<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        let right = right(model, area.width);
        let wide: usize = right.iter().map(|s| text::width(&s.content)).sum();
        let room = usize::from(area.width).saturating_sub(wide + " evaltop  ".len() + 3);
        let path = text::truncate_front(&store(model), room);
        let left = Line::from(vec![
            model.span(Role::Title, " evaltop  "),
            model.span(Role::Text, path),
        ]);
        super::with_right(left, right, area.width).render(area, buffer);
    }
}

/// The store's folder with the home shortened.
pub(super) fn store(model: &Model) -> String {
    let path = &model.settings.store;
    let short = model
        .settings
        .home
        .as_ref()
        .and_then(|home| path.strip_prefix(home).ok());
    match short {
        Some(rest) => format!("~/{}", rest.display()),
        None => path.display().to_string(),
    }
}

fn right(model: &Model, width: u16) -> Vec<Span<'static>> {
    let mut parts = Vec::new();
    if let Some(since) = model.frozen {
        parts.push(model.span(Role::Warning, format!("held since {}", model.clock(since))));
    }
    if model.settings.readonly {
        parts.push(model.span(Role::Dim, "read-only"));
    }
    if let Some(seen) = &model.seen {
        let narrow = width < 70;
        if seen.main.generation > 0 {
            let when = seen
                .main
                .committed
                .filter(|_| !narrow)
                .map(|t| format!(", {}", model.clock(t)));
            let text = format!("gen {}{}", seen.main.generation, when.unwrap_or_default());
            parts.push(model.span(Role::Dim, text));
        }
        match &seen.watch {
            WatchMode::Off => {}
            WatchMode::Native(_) if narrow => {}
            WatchMode::Native(name) => parts.push(model.span(Role::Dim, format!("watch {name}"))),
            WatchMode::Polling(_) => parts.push(model.span(Role::Dim, "polling")),
        }
    }
    let mut spans = Vec::new();
    for (i, part) in parts.into_iter().enumerate() {
        if i > 0 {
            spans.push(Span::raw("   "));
        }
        spans.push(part);
    }
    spans
}
