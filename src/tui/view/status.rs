//! Second row: the one sentence that matters most now, with its key.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Widget;

use super::facts::newest;
use crate::health::{Alert, Remedy, Severity};
use crate::monitor::Observation;
use crate::observation::{StoreState, WriterState};
use crate::text::numbers::{plural, thousands};
use crate::text::width;
use crate::tui::input::action::Action;
use crate::tui::state::alert_history::alert_key;
use crate::tui::state::model::{Focus, Model, Overlay};
use crate::tui::view::theme::Role;

/// The second row.
pub(super) struct Status<'a>(pub &'a Model);

impl Widget for Status<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let model = self.0;
        let (sign, word, message, hint) = sentence(model);
        // Where every cell counts, the sign says as much as the word.
        let needs_room = area.width < 60 && !message.is_empty() && sign != Role::Healthy;
        let short = word.split(' ').next().filter(|_| needs_room);
        let word = short.unwrap_or(word);
        let left = Line::from(vec![
            model.span(sign, format!(" {word}")),
            model.span(
                Role::Text,
                if message.is_empty() {
                    String::new()
                } else {
                    format!("  {message}")
                },
            ),
        ]);
        super::with_right(left, vec![model.span(Role::Key, hint)], area.width).render(area, buffer);
    }
}

fn sentence(model: &Model) -> (Role, &'static str, String, String) {
    let none = String::new;
    let Some(seen) = &model.seen else {
        return (Role::Dim, "…", "reading the store".into(), none());
    };
    if seen.state == StoreState::Missing && !model.was_there {
        return (Role::Dim, "…", "waiting for a store".into(), none());
    }
    if let Some(reading) = seen.reading {
        let (read, files) = (thousands(reading.read), thousands(reading.files));
        let message = format!("{read} of {files} pending files; below is main alone");
        return (Role::Dim, "… READING", message, none());
    }
    let alerts = model.alerts();
    if let StoreState::Unreadable(_) = &seen.state
        && model.overlays.is_empty()
    {
        // Why stands below, in full.
        let hint = alerts
            .first()
            .and_then(|alert| job(model, alert))
            .unwrap_or_default();
        return (
            Role::Critical,
            "✖ CRITICAL",
            "the store can't be read".into(),
            hint,
        );
    }
    if let Some(why) = seen.behind.as_ref().filter(|_| seen.exhausted) {
        // Which file it was says less than what ran out.
        let why = why.split_once(": ").map_or(why.as_str(), |(_, why)| why);
        let message = format!("not current: {}", width::clean(why));
        return (Role::Warning, "▲ WARNING", message, none());
    }
    if let Some(alert) = alerts.first().filter(|a| !model.is_quiet(a)) {
        let word = match alert.severity {
            Severity::Critical => "✖ CRITICAL",
            Severity::Warning => "▲ WARNING",
            Severity::Healthy => "· NOTE",
        };
        let hint = hint(model, alert);
        return (alert.severity.into(), word, said(alert, &hint), hint);
    }
    match &seen.state {
        StoreState::Missing => {
            return (
                Role::Critical,
                "✖ CRITICAL",
                "the store is gone: waiting for it to come back".into(),
                none(),
            );
        }
        StoreState::Unreadable(why) => {
            return (
                Role::Critical,
                "✖ CRITICAL",
                width::clean(why).into_owned(),
                none(),
            );
        }
        StoreState::Ready => {}
    }
    if let Some(worst) = seen.alerts.first() {
        let what = format!("{}, silenced", plural(alerts.len() as u64, "alert"));
        return (worst.severity.into(), "·", what, none());
    }
    let message = match &model.progress {
        Some(progress) if progress.is_done() => {
            format!(
                "all {} planned tests are there",
                thousands(progress.total.planned)
            )
        }
        _ if seen.totals.tests == 0 => "no test yet".to_owned(),
        _ => seen
            .behind
            .as_ref()
            .map_or_else(|| pulse(model, seen), |why| width::clean(why).into_owned()),
    };
    (Role::Healthy, "✓ HEALTHY", message, none())
}

/// Whether the run goes on, where nothing more urgent is to be said.
fn pulse(model: &Model, seen: &Observation) -> String {
    let live = seen
        .writers
        .iter()
        .filter(|w| w.state == WriterState::Live)
        .count() as u64;
    match newest(seen) {
        _ if live > 0 => format!("{} at work", plural(live, "writer")),
        _ if seen.session.is_some() => session(model, seen),
        _ if model.moving() => "rows arrive".to_owned(),
        Some(newest) => format!(
            "nothing is being written; newest row {}",
            model.clock(newest)
        ),
        None => "nothing is being written".to_owned(),
    }
}

/// "finished 12:31, 2,000 of 2,000": what became of the last session.
fn session(model: &Model, seen: &Observation) -> String {
    let Some(session) = &seen.session else {
        return String::new();
    };
    let mut said = <&str>::from(session.state).to_owned();
    if let Some(ended) = session.ended {
        said = format!("{said} {}", model.clock(ended));
    }
    match session.planned {
        Some(planned) => {
            format!(
                "{said}, {} of {}",
                thousands(session.done),
                thousands(planned)
            )
        }
        None => said,
    }
}

/// The key that helps with the worst alert from where the focus is now.
fn hint(model: &Model, alert: &Alert) -> String {
    if let Some(job) = job(model, alert) {
        return job;
    }
    let here = model.overlays.is_empty()
        && match model.focus {
            Focus::Models => alert.subject.is_some() && alert.subject == model.table.selected,
            Focus::Alerts => model.alert.at == 0,
            Focus::Activity => false,
        };
    let open =
        matches!(model.overlays.last(), Some(Overlay::Alert(key, _)) if *key == alert_key(alert));
    if open {
        return String::new();
    }
    if alert.action == Remedy::Writer && !here {
        return format!("{}: workers", model.settings.keymap.key(Action::Writers));
    }
    let action = if here { Action::Open } else { Action::Inspect };
    format!("{}: why", model.settings.keymap.key(action))
}

/// An alert's message, without the advice that the key next to it gives too.
pub(super) fn said(alert: &Alert, hint: &str) -> String {
    let advice = hint.split_once(": ").map_or("", |(_, advice)| advice);
    let message = width::clean(&alert.message);
    let short = message
        .strip_suffix(advice)
        .and_then(|rest| rest.strip_suffix(": ").or_else(|| rest.strip_suffix(", ")));
    short
        .filter(|_| !advice.is_empty())
        .unwrap_or(&message)
        .to_owned()
}

/// The key of the job that helps, where one does.
pub(super) fn job(model: &Model, alert: &Alert) -> Option<String> {
    let action = match alert.action {
        Remedy::Consolidate => Action::Consolidate,
        Remedy::Cleanup => Action::Cleanup,
        Remedy::Validate => Action::Validate,
        Remedy::Errors | Remedy::Writer | Remedy::None => return None,
    };
    let key = model.settings.keymap.key(action);
    (!model.settings.readonly && !key.is_empty()).then(|| format!("{key}: {}", action.about().hint))
}
