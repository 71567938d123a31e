//! First row: name, store, session, what mode it is in, time and zone, how changes are noticed.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use super::layout::WIDE;
use crate::observation::{WatchMode, ZoneView};
use crate::text::width;
use crate::tui::state::model::Model;
use crate::tui::view::theme::Role;

/// The first row.
pub(super) struct Header<'a>(pub &'a Model);

impl Widget for Header<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        let right = right(model, area.width);
        let wide: usize = right.iter().map(|s| width::width(&s.content)).sum();
        let room = usize::from(area.width).saturating_sub(wide + " evaltop  ".len() + 3);
        let path = width::truncate_front(&store(model), room);
        let mut spans = vec![
            model.span(Role::Title, " evaltop  "),
            model.span(Role::Text, path.clone()),
        ];
        // Whole or not at all.
        let session = session(model)
            .filter(|id| width::width(&path) + "   session ".len() + width::width(id) <= room);
        if let Some(id) = session {
            spans.push(model.span(Role::Dim, "   session "));
            spans.push(model.span(Role::Text, id));
        }
        super::with_right(Line::from(spans), right, area.width).render(area, buffer);
    }
}

/// The id of the session that runs, or ran last.
fn session(model: &Model) -> Option<String> {
    let seen = model.seen.as_ref()?;
    // Where one alone is shown, it stands at the right.
    let session = seen
        .session
        .as_ref()
        .filter(|_| seen.only_session.is_none())?;
    Some(width::name(session.id.as_deref()?).into_owned())
}

/// The store's folder, or the logs that are followed, with the home shortened.
pub(super) fn store(model: &Model) -> String {
    let path = model.settings.follows.as_ref();
    let path = path.unwrap_or(&model.settings.store);
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

fn right(model: &Model, cells: u16) -> Vec<Span<'static>> {
    let mut parts = Vec::new();
    if let Some(badge) = &model.settings.badge {
        parts.push(model.span(Role::Warning, badge.clone()));
    }
    if model.filtering.is_some() {
        parts.push(model.span(Role::Key, "filtered"));
    }
    if model.settings.readonly {
        parts.push(model.span(Role::Dim, "read-only"));
    }
    let only = model
        .seen
        .as_ref()
        .and_then(|seen| seen.only_session.as_ref());
    if let Some(session) = only {
        let room = usize::from(cells / 3).max(12);
        let name = width::truncate_middle(&width::name(session), room);
        parts.push(model.span(Role::Title, format!("session {name}")));
    }
    if let Some(seen) = &model.seen {
        let generation = seen.main.generation;
        if generation > 0 && cells >= WIDE {
            let committed = seen.main.committed;
            let when = committed.map_or_else(String::new, |at| format!(", {}", model.clock(at)));
            parts.push(model.span(Role::Dim, format!("gen {generation}{when}")));
        }
        if cells >= 60 {
            parts.push(model.span(Role::Dim, clock(model)));
            parts.extend(naive(model, &seen.zone, cells));
        }
        let mode = match (&seen.watch, model.frozen) {
            (_, Some(since)) => {
                let held = format!("held since {}", model.clock(since));
                Some(model.span(Role::Warning, held))
            }
            (WatchMode::Off, None) => None,
            (WatchMode::Native(_), None) => Some(model.span(Role::Dim, "live")),
            (WatchMode::Polling(_), None) => Some(model.span(Role::Dim, "polling")),
        };
        parts.extend(mode);
    }
    let mut spans = Vec::new();
    for (i, part) in parts.into_iter().enumerate() {
        if i > 0 {
            spans.push(Span::raw("  "));
        }
        spans.push(part);
    }
    spans
}

/// The time of day while the store moves, and the zone of all times.
fn clock(model: &Model) -> String {
    let zone = model.now.to_zoned(model.settings.zone.clone());
    let name = zone.strftime("%Z").to_string();
    if model.moving() {
        format!("{} {name}", zone.strftime("%H:%M"))
    } else {
        name
    }
}

/// The zone of times that name none, where there are some: it may be another one than the clock's.
fn naive(model: &Model, zone: &ZoneView, cells: u16) -> Option<Span<'static>> {
    let own = model.settings.zone.iana_name() == Some(zone.name.as_str());
    if zone.naive == 0 || (own && zone.off.is_none() && cells < WIDE) {
        return None;
    }
    let role = if zone.off.is_some() {
        Role::Warning
    } else {
        Role::Dim
    };
    Some(model.span(role, format!("naive times {}", zone.name)))
}
