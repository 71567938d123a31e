//! What keys and messages do, and that nothing that can happen breaks the screen.

mod filters;
mod jobs;
mod navigation;
mod news;
mod sequences;

use std::convert::Infallible;
use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use jiff::SignedDuration;
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::widgets::Widget;

use super::update;
use crate::health::{Remedy, Severity};
use crate::jobs::{
    CleanupOptions, ConsolidateOptions, ExportFormat, Outcome, Plan, Request, RestoreOptions,
};
use crate::observation::{Observation, OperationView, Reading, StoreState};
use crate::stats::Cell;
use crate::stats::paired::{Comparison, Pair, Trials, compare};
use crate::stats::progress::Expected;
use crate::store::Progress;
use crate::store::read::query::Filter;
use crate::tui::input::action::Action;
use crate::tui::state::fixture;
use crate::tui::state::fixture::{healthy, now, plan, showing, warning};
use crate::tui::state::model::{Focus, Model, Overlay, Period, Prompt};
use crate::tui::state::table::Column;
use crate::tui::update::message::{Effect, Failure, Message};
use crate::tui::view::Screen;

fn key(model: &mut Model, code: KeyCode) -> Vec<Effect> {
    update(model, Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
}

fn press(model: &mut Model, c: char) -> Vec<Effect> {
    key(model, KeyCode::Char(c))
}

fn type_text(model: &mut Model, text: &str) {
    for c in text.chars() {
        press(model, c);
    }
}

/// Asks for a job and hands in its plan.
fn planned(model: &mut Model, c: char, plan: Plan) -> Vec<Effect> {
    let effects = press(model, c);
    let [Effect::Plan(id, _)] = effects.as_slice() else {
        panic!("no plan asked for: {effects:?}")
    };
    update(model, Message::Planned(*id, Ok(Box::new(plan))))
}

fn outcome() -> Outcome {
    Outcome {
        summary: "consolidated 38 files".to_owned(),
        lines: Vec::new(),
        json: serde_json::Value::Null,
        severity: Severity::Healthy,
        changed: true,
    }
}

fn running(model: &mut Model) -> u64 {
    planned(model, 'c', plan());
    let effects = press(model, 'y');
    let [Effect::Run(id, _)] = effects.as_slice() else {
        panic!("not started: {effects:?}")
    };
    *id
}

/// The screen as text.
fn shown(model: &Model) -> String {
    let mut buffer = Buffer::empty(model.area);
    Screen(model).render(model.area, &mut buffer);
    buffer
        .content
        .iter()
        .map(ratatui::buffer::Cell::symbol)
        .collect()
}

fn newest(model: &Model) -> &str {
    &model.activity.front().unwrap().text
}

fn cleanup() -> Plan {
    Plan {
        request: Request::Cleanup(CleanupOptions::default()),
        needs_yes: true,
        ..plan()
    }
}
