//! The one place where the dashboard's state changes: a message comes in, effects go
//! out. Pure: no clock, no file, no terminal.

pub(crate) mod message;
#[cfg(test)]
pub(crate) mod week;

use self::message::{Effect, Message};
use super::state::model::Model;

mod act;
mod choose;
mod compare;
mod filter;
mod job;
mod mouse;
mod observe;
mod press;

#[cfg(test)]
mod tests;

pub(super) use job::title;

/// Takes a message in; returns what is to be done outside.
pub(crate) fn update(model: &mut Model, message: Message) -> Vec<Effect> {
    match message {
        Message::Tick(now) => observe::tick(model, now),
        Message::Jumped(by) => observe::jumped(model, by),
        Message::Resize(columns, rows) => {
            model.area.width = columns;
            model.area.height = rows;
            Vec::new()
        }
        Message::Key(key) => press::key(model, key),
        Message::Paste(text) => press::paste(model, &text),
        Message::Mouse(event) => mouse::mouse(model, event),
        Message::Glimpsed(observation) => observe::glimpsed(model, *observation),
        Message::Read(files) => observe::read(model, files),
        Message::Observed(observation) => observe::observed(model, *observation),
        Message::Compared(both, result) => {
            compare::compared(model, &both, result);
            Vec::new()
        }
        Message::Sessions(found) => {
            model.sessions = Some(found);
            Vec::new()
        }
        Message::Metrics(found) => {
            model.metrics = Some(found);
            Vec::new()
        }
        Message::Row(row) => {
            choose::found(model, row);
            Vec::new()
        }
        Message::Log(log) => {
            choose::read(model, log);
            Vec::new()
        }
        Message::Started(started) => {
            if let Err(why) = started {
                choose::unopened(model, crate::health::Severity::Warning, &why);
            }
            Vec::new()
        }
        Message::Filtered(condition, result) => {
            filter::answered(model, &condition, result);
            Vec::new()
        }
        Message::Planned(id, plan) => job::planned(model, id, plan),
        Message::Progress(id, progress) => job::progress(model, id, progress),
        Message::Notified(ended) => observe::notified(model, ended),
        Message::Finished(id, result) => job::finished(model, id, result),
    }
}
