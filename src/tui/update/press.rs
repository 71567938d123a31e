//! Keys and pasted text: into the line being typed, else to the question, the
//! overlay or the pane that they are for.

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use strum::IntoEnumIterator;
use tui_input::Input;
use tui_input::backend::crossterm::EventHandler;

use super::{act, filter, job};
use crate::health::Severity;
use crate::jobs::ExportFormat;
use crate::tui::input::action::Action;
use crate::tui::input::keymap::Key;
use crate::tui::state::model::{Entry, ExportForm, Model, Overlay, Prompt, Typing};
use crate::tui::update::message::Effect;
use crate::tui::view::{layout, prompt};

/// A key was pressed.
pub(super) fn key(model: &mut Model, key: KeyEvent) -> Vec<Effect> {
    if key.kind == KeyEventKind::Release {
        return Vec::new();
    }
    model.notice = None;
    let interrupt = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    if interrupt {
        return job::quit(model);
    }
    // A disturbed screen is drawn again whatever it shows, and no line has a use for the key.
    let action = model.settings.keymap.action(Key::from(key));
    if action == Some(Action::Rescan) && key.modifiers.contains(KeyModifiers::CONTROL) {
        return act::act(model, Action::Rescan);
    }
    if let Some(typing) = model.typing.take() {
        return type_filter(model, typing, key);
    }
    match std::mem::take(&mut model.prompt) {
        Prompt::None => action.map(|a| act::act(model, a)).unwrap_or_default(),
        Prompt::Export(form) => fill_in(model, form, key, action),
        Prompt::Notice(title, entry, line) => notice(model, title, entry, line, action),
        prompt => {
            model.prompt = prompt;
            action
                .map(|a| answer(model, a, key.code))
                .unwrap_or_default()
        }
    }
}

/// Pasted text goes into the line being typed, and nowhere else.
pub(super) fn paste(model: &mut Model, text: &str) -> Vec<Effect> {
    let line: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let insert = |input: &mut Input| {
        for c in line.chars() {
            input.handle(tui_input::InputRequest::InsertChar(c));
        }
    };
    if let Some(mut typing) = model.typing.take() {
        insert(&mut typing.input);
        filter::show(model, typing.input.value());
        model.typing = Some(typing);
    } else if let Prompt::Export(form) = &mut model.prompt
        && form.in_name
    {
        insert(&mut form.name);
        form.edited = true;
    }
    Vec::new()
}

fn type_filter(model: &mut Model, mut typing: Typing, key: KeyEvent) -> Vec<Effect> {
    let of_help = matches!(model.overlays.last(), Some(Overlay::Help(_)));
    match key.code {
        KeyCode::Enter => {
            if let Some(word) = model.table.pointless().filter(|_| !of_help) {
                let text =
                    format!("“{word}” has no number and hides nothing: type it as in rate:>=0.5");
                model.note(Severity::Warning, text);
            }
        }
        KeyCode::Esc => filter::show(model, &typing.before),
        _ => {
            typing.input.handle_event(&Event::Key(key));
            filter::show(model, typing.input.value());
            model.typing = Some(typing);
            return Vec::new();
        }
    }
    if of_help {
        Vec::new()
    } else {
        filter::keep(model)
    }
}

/// What was reported stays until a key says that it was read, or does something else.
fn notice(
    model: &mut Model,
    title: String,
    entry: Entry,
    line: usize,
    action: Option<Action>,
) -> Vec<Effect> {
    let last = prompt::last_notice_line(&entry, layout::areas_asking(model).prompt);
    let line = match action {
        Some(Action::Down | Action::PageDown) if last > 0 => (line + 1).min(last),
        Some(Action::Up | Action::PageUp) if last > 0 => line.saturating_sub(1),
        None => line,
        Some(Action::Open | Action::Back | Action::Yes | Action::No) => return Vec::new(),
        Some(action) => return act::act(model, action),
    };
    model.prompt = Prompt::Notice(title, entry, line);
    Vec::new()
}

fn fill_in(
    model: &mut Model,
    mut form: ExportForm,
    key: KeyEvent,
    action: Option<Action>,
) -> Vec<Effect> {
    match key.code {
        KeyCode::Esc => return Vec::new(),
        KeyCode::Enter if form.in_name => {
            if !form.name.value().trim().is_empty() {
                return job::export(model, &form);
            }
        }
        KeyCode::Enter | KeyCode::Tab | KeyCode::BackTab | KeyCode::Up | KeyCode::Down => {
            form.in_name = !form.in_name;
        }
        _ if form.in_name => {
            let changed = form.name.handle_event(&Event::Key(key));
            form.edited |= changed.is_some_and(|c| c.value);
        }
        _ => match action {
            Some(Action::Left) => form.choose(-1),
            Some(Action::Right) => form.choose(1),
            Some(Action::Quit) => {
                model.prompt = Prompt::Export(form);
                return job::quit(model);
            }
            _ => {}
        },
    }
    model.prompt = Prompt::Export(form);
    Vec::new()
}

impl ExportForm {
    /// The formats in the order of the form; the report comes last.
    pub(crate) fn formats() -> Vec<Option<ExportFormat>> {
        ExportFormat::iter().map(Some).chain([None]).collect()
    }

    fn choose(&mut self, step: isize) {
        let formats = Self::formats();
        let at = formats.iter().position(|f| *f == self.format).unwrap_or(0);
        let next = (at as isize + step).rem_euclid(formats.len().max(1) as isize) as usize;
        if let Some(format) = formats.get(next) {
            self.format = *format;
        }
        if !self.edited {
            self.name = Input::new(job::export_name(self.format));
        }
    }
}

fn answer(model: &mut Model, action: Action, code: KeyCode) -> Vec<Effect> {
    let area = layout::areas(model).prompt;
    match (&mut model.prompt, action) {
        (_, Action::Quit) => return job::quit(model),
        (Prompt::Confirm(plan, _), Action::Yes | Action::Open)
            if action == Action::Yes || !plan.needs_yes =>
        {
            let plan = plan.as_ref().clone();
            model.prompt = Prompt::None;
            return job::start(model, plan);
        }
        (Prompt::Confirm(plan, line), Action::Down | Action::PageDown) => {
            *line = (*line + 1).min(prompt::last_plan_line(plan, area));
        }
        (Prompt::Confirm(_, line), Action::Up | Action::PageUp) => *line = line.saturating_sub(1),
        (Prompt::CancelJob, Action::Yes) => return job::cancel(model),
        (Prompt::QuitJob, Action::Open | Action::Yes) => {
            model.leaving = true;
            model.prompt = Prompt::None;
        }
        // The letter that the question names, whatever it is bound to elsewhere.
        (Prompt::QuitJob, _) if code == KeyCode::Char('c') => {
            model.leaving = true;
            return job::cancel(model);
        }
        (Prompt::Planning(id, _), Action::No | Action::Back) => {
            let id = *id;
            model.prompt = Prompt::None;
            return vec![Effect::Cancel(id)];
        }
        (_, Action::No | Action::Back) => model.prompt = Prompt::None,
        _ => {}
    }
    Vec::new()
}
